"""What a grant stands on: a consent, or a mandate of the law. What both say, read in one way.

Keeps true: whoever asks for the terms of one gets those of its kind alone, and nothing of a kind that permits nothing.
Source: `docs/spec/consent.md` 9, `docs/spec/mandate.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from medchain.encoding import Json
from medchain.errors import InputError
from medchain.ledger.kinds import consent, mandate
from medchain.ledger.kinds.consent import Consent
from medchain.ledger.kinds.mandate import Mandate

PERMITTING: Final = frozenset({"consent", "mandate"})
"""Kinds on which a grant may stand."""

Permission = Consent | Mandate
"""Content of one of them; both name custodians, recipient, purpose, types, period and dates."""


def read(kind: str, content: Mapping[str, Json]) -> Permission:
    """Read a whole content strictly.

    Args:
        kind: of the object.
        content: of its body.

    Raises:
        InputError: for a malformed content; ``content.fields`` for a kind that permits nothing.
    """
    if kind not in PERMITTING:
        raise InputError("content.fields")
    return mandate.read(content) if kind == "mandate" else consent.read(content)


def read_any(content: Mapping[str, Json]) -> Permission:
    """Read a content of which only the content is known: a mandate alone has a basis; raises as `read`."""
    return read("mandate" if "basis" in content else "consent", content)
