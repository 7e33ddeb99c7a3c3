"""Kind record: the anchor of a record version, a commitment without a body.

Anchors come in batches, mixed over patients, so that a transaction links nothing. ``body_hash`` is the record's
commitment. Source: `docs/spec/record-envelope.md`.
"""

from __future__ import annotations

from typing import Final

from medchain.ledger.kind import Kind, no_sealed_body
from medchain.ledger.object import ACTIVE

ENTERED_IN_ERROR: Final = "entered-in-error"
"""Status of a record that was wrong from the start (FHIR)."""

DELETED: Final = "deleted"
"""Status of a record whose version was deleted over the API; a later update revives it (FHIR R4 §3.1.0.4)."""

_ANY: Final = frozenset({ACTIVE, ENTERED_IN_ERROR, DELETED})

KIND: Final = Kind(
    name="record",
    number=4,
    transitions={
        None: frozenset({ACTIVE, ENTERED_IN_ERROR}),
        ACTIVE: _ANY,
        ENTERED_IN_ERROR: _ANY,
        DELETED: _ANY - {DELETED},
    },
    check=no_sealed_body,
    batch=True,
)
"""Many a change; the creator alone."""
