"""What lies on disk for a version of an object: its body, or those of several attempts at it.

An attempt that failed may still be ordered, also after the next one was made: whichever the ledger takes, its body must
be here. Keeps true: they lie in one row, so that they are replaced and destroyed together; what can be read by itself
can be read beside others, so that no body that is announced keeps another one away. Trusts the ledger file.
Source: `docs/spec/node-protocol.md`, "What members send each other about bodies", 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from medchain.encoding import canonical, parse_canonical
from medchain.ledger.object import MAX_BODY_BYTES, Body

MAX_ATTEMPTS: Final = 4
"""Most bodies of one version: an attempt may be ordered for a minute or two, and takes most of one to fail."""

# Canonical JSON has none outside of texts, and there it is escaped. In one array they would be deeper than each of them
# may be, and come to more brackets.
_BETWEEN: Final = b"\n"


def write_attempts(bodies: Sequence[Body]) -> bytes:
    """Write bodies of one version, the newest last, one a line; a single one as it is."""
    return _BETWEEN.join(canonical(body.to_json()) for body in bodies)


def read_attempts(data: bytes) -> list[Body]:
    """Read what `write_attempts` wrote; raises `InputError` for what is malformed."""
    rows = data.split(_BETWEEN)
    return [Body.from_json(parse_canonical(row, max_bytes=MAX_BODY_BYTES)) for row in rows]
