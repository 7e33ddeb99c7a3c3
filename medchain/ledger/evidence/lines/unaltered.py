"""Line 2, unaltered: is each record still what it was when the claim was made, and the insurer's copy that one?

Pure. Source: `docs/spec/claim-verdict.md`, rows ``unaltered``.
"""

from __future__ import annotations

from collections.abc import Iterator

from medchain.ledger.evidence.checked import Checked, ShownRecord
from medchain.ledger.evidence.document import Held
from medchain.ledger.evidence.verdict import Finding, listed
from medchain.ledger.object import ACTIVE, StateRecord


def unaltered(case: Checked) -> Iterator[Finding]:
    """Find what was changed, and when."""
    same: list[ShownRecord] = []
    shown = [(one, head) for one in case.records if (head := one.head) is not None]
    for record, head in shown:
        found = list(_of_record(record, head, _made(case)))
        yield from found
        if not found:
            same.append(record)
    if same:
        numbers = tuple(sorted(number for one in same for number in one.items))
        yield Finding("unaltered.same", {"count": len(same)}, numbers)
    if not shown:
        yield Finding("unaltered.none", {})
    yield from _held(case)


def altered(case: Checked) -> list[ShownRecord]:
    """List the records that were altered after the claim was made."""
    return [one for one in case.records if _base(one, _made(case)) is not None]


def _made(case: Checked) -> int:
    """Return when the claim was made: as it says, and not after a hospital was shown its digest."""
    times = [one.heard for one in case.given]
    created = case.state.time if case.claim.created is None else case.claim.created
    return min([*times, case.state.time, created])


def _of_record(record: ShownRecord, head: StateRecord, made: int) -> Iterator[Finding]:
    """Find it for one record; nothing for one that has one version."""
    base = _base(record, made)
    if head.status != ACTIVE:
        yield Finding("unaltered.deleted", record.name, record.items)
    if base is not None:
        fields = listed(name for one in record.row.versions[base:] for name in one.changed)
        told: dict[str, str | int] = {"fields": fields, "when": record.changed or 0}
        yield Finding("unaltered.altered", record.name | told, record.items)
    elif head.version > 1:
        yield Finding("unaltered.corrected", record.name | {"versions": head.version}, record.items)


def _base(record: ShownRecord, made: int) -> int | None:
    """Return the last version that stood when the claim was made, of a record that was altered since; else None.

    Of one that was registered after the claim, such as by a hospital that joined later, the first version counts.
    """
    head, proven = record.head, record.proven
    if head is None or proven is None or head.version == 1 or (record.changed is not None and record.changed <= made):
        return None
    stood = record.registered is not None and record.registered <= made
    return proven.version if stood else 1


def _held(case: Checked) -> Iterator[Finding]:
    """Compare the insurer's copies with what was registered; what cannot be compared is said."""
    shown = {(one.hospital, one.row.reference): one for one in case.records}
    for copy in case.evidence.held:
        record = shown.get((copy.hospital, copy.reference))
        code = "unaltered.uncompared" if record is None else _compared(copy, record)
        if code is not None:
            named: dict[str, str | int] = {
                "hospital": copy.hospital,
                "reference": copy.reference,
                "version": copy.version,
            }
            yield Finding(code, named, () if record is None else record.items)


def _compared(copy: Held, record: ShownRecord) -> str | None:
    """Compare a copy with the version that it is said to be of; None where it is that."""
    head = record.head
    if record.placed is None or head is None:
        return "unaltered.uncompared"
    if not 1 <= copy.version <= head.version:
        # Of a version that never was nothing was registered.
        return "unaltered.held"
    hashes = {one.body_hash for one in record.placed.item.records if one.version == copy.version}
    if not hashes:
        return "unaltered.uncompared"
    return None if copy.commitment in hashes else "unaltered.held"
