"""Refusals of what other organisations ask this one's records for, noted where the patient and the operator find them.

Keeps true: the same document is noted once; what is noted is in the audit; one requester fills no disk; the reason
stays here. Trusts the caller for who asked.
Source: `docs/spec/release.md` 8, 17.
"""

from __future__ import annotations

from typing import Final

from medchain.encoding import canonical, digest
from medchain.errors import ConflictError
from medchain.ledger.transaction import ID_BYTES
from medchain.node.log import Log
from medchain.node.release_ports import CustodianParts, Refused
from medchain.store.accesses import Access

REFUSED: Final = "refused"
"""Direction of a noted access: a release that was refused."""

MAX_NOTED: Final = 100
"""Most refusals of one requester that are noted each by itself on one day; further ones are only counted."""

_LOG: Final = Log("release")


def note_refusal(parts: CustodianParts, refused: Refused, counted: str = "") -> None:
    """Note a refusal with its reason.

    Args:
        parts: of the custodian.
        refused: what was refused.
        counted: reason under which it is counted, where that must be the same for several; empty for its own.

    Raises:
        UnavailableError: the disk, or the audit cannot keep it; nothing may be answered then.
    """
    digested = digest("medchain/refused-document/v1", refused.document).hex()
    detail = canonical(
        {
            "purpose": refused.purpose,
            "reason": refused.reason,
            "request": digested,
            "requester": refused.peer,
            "types": list(refused.types),
        }
    )
    name = digest("medchain/refusal/v1", refused.document, refused.reason.encode("ascii"))[:ID_BYTES]
    _LOG.warning("release.refused", code=refused.reason, peer=refused.peer)
    now = parts.clock()
    # What stands for several bounds guessing, which being refused for many reasons first must be no way around.
    if parts.records.count_refusal(refused.peer, counted or refused.reason, now, is_apart=bool(counted)) > MAX_NOTED:
        return
    # First the audit: were it last, a second attempt would be noted already and have no event.
    parts.refused(refused)
    try:
        parts.records.put_accesses([Access(name, refused.patient, REFUSED, now, detail)])
    except ConflictError:
        return
