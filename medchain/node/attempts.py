"""What lies on disk for a version of an object: its body, or those of several attempts at it.

An attempt that failed may still be ordered, also after the next one was made: whichever the ledger takes, its body must
be here. Keeps true: they lie in one row, so that they are replaced and destroyed together. Trusts the ledger file.
Source: `docs/spec/node-protocol.md`, "What members send each other about bodies", 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from medchain.encoding import canonical, parse_canonical
from medchain.ledger.object import MAX_BODY_BYTES, Body

MAX_ATTEMPTS: Final = 4
"""Most bodies of one version: an attempt may be ordered for a minute or two, and takes most of one to fail."""


def write_attempts(bodies: Sequence[Body]) -> bytes:
    """Write bodies of one version, the newest last; a single one as it is."""
    rows = [body.to_json() for body in bodies]
    return canonical(rows[0] if len(rows) == 1 else rows)


def read_attempts(data: bytes) -> list[Body]:
    """Read what `write_attempts` wrote; raises `InputError` for what is malformed."""
    found = parse_canonical(data, max_bytes=MAX_ATTEMPTS * (MAX_BODY_BYTES + 1) + 1)
    return [Body.from_json(row) for row in (found if type(found) is list else [found])]
