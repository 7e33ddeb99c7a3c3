"""What a frame of the audit means for the patients whose records it is about: who looked, or was refused.

Keeps true: whoever was shown, or refused, a version of a patient's records is in the list of that patient; a patient's
own looks and changes that were made are in none. Trusts the frame, and the names of the versions that it touched.
Source: `docs/spec/looks.md` 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from fhir_bridge.audit import BEGUN, RECEIVE, RELEASE, Happening
from fhir_bridge.audit_events import Version
from medchain.ledger.looks import LookRow

_FIRST_ERROR: Final = 400
# What stands in the ledger's own chain of accesses, which is proven by itself.
_CHAINED: Final = frozenset({RECEIVE, RELEASE})
# What changes a record and shows nothing of another one; the record's own versions tell of it.
_CHANGES: Final = frozenset({"create", "delete", "meta-add", "meta-delete", "patch", "update"})


def looks_of(event_id: str, happening: Happening, versions: Sequence[Version]) -> Iterator[tuple[str, LookRow]]:
    """Tell who looked at whose records.

    Args:
        event_id: id of the AuditEvent that the frame becomes.
        happening: what the frame says.
        versions: what it touched.

    Yields:
        Id of the Patient, and what is entered in that patient's list.
    """
    is_refused = happening.status >= _FIRST_ERROR
    if happening.status == BEGUN or happening.interaction in _CHAINED:
        return
    if happening.interaction in _CHANGES and not is_refused:
        return
    for patient in dict.fromkeys(one.patient for one in versions if one.patient):
        if happening.user == f"Patient/{patient}":
            continue
        yield (
            patient,
            LookRow(
                time=happening.time,
                action=happening.interaction,
                client=happening.client,
                who=happening.user,
                role=happening.role,
                purpose=happening.purpose,
                types=tuple(sorted({one.type for one in versions if one.patient == patient})),
                is_refused=is_refused,
                event=event_id,
            ),
        )
