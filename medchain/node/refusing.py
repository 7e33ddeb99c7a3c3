"""Refusals of what other organisations ask this one's records for, noted where the patient and the operator find them.

Keeps true: the same document is noted once; one requester fills no disk; the reason stays here. Trusts the caller for
who asked.
Source: `docs/spec/release.md` 8, 17.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from medchain.encoding import canonical, digest
from medchain.errors import ConflictError
from medchain.ledger.transaction import ID_BYTES
from medchain.node.log import Log
from medchain.node.release_ports import CustodianParts
from medchain.store.records import Access

REFUSED: Final = "refused"
"""Direction of a noted access: a release that was refused."""

MAX_NOTED: Final = 100
"""Most refusals of one requester that are noted each by itself on one day; further ones are only counted."""

_LOG: Final = Log("release")


@dataclass(frozen=True, slots=True)
class Refused:
    """What was refused.

    Attributes:
        document: as it came.
        peer: org_id of who asked.
        patient: keyed token of the patient whom it was about; empty where that cannot be told.
        reason: stable code.
    """

    document: bytes
    peer: str
    patient: str
    reason: str


def note_refusal(parts: CustodianParts, refused: Refused) -> None:
    """Note a refusal with its reason.

    Args:
        parts: of the custodian.
        refused: what was refused.
    """
    digested = digest("medchain/refused-document/v1", refused.document).hex()
    detail = canonical({"reason": refused.reason, "request": digested, "requester": refused.peer})
    name = digest("medchain/refusal/v1", refused.document, refused.reason.encode("ascii"))[:ID_BYTES]
    _LOG.warning("release.refused", code=refused.reason, peer=refused.peer)
    now = parts.clock()
    if parts.records.count_refusal(refused.peer, refused.reason, now) > MAX_NOTED:
        return
    try:
        parts.records.put_accesses([Access(name, refused.patient, REFUSED, now, detail)])
    except ConflictError:
        return
