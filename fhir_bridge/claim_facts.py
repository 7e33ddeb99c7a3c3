"""What a hospital tells an insurer of its records for a claim: fills `medchain.node.release_ports.ClaimFacts`.

Keeps true: a field is opened only if the profile names it; of a version it is told who wrote it, when, and which fields
changed, never what they say. Each record is opened once. Trusts its caller for which records may be told of.
Source: `docs/spec/claim-disclosure.md` 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from fhir_bridge.claim_audit import NOT_KNOWN, Stored, stored_by
from fhir_bridge.claim_case import CaseReader, NodeRecords, ToldRecord
from fhir_bridge.claim_profile import AUTHORS, STAFF, opened_kind, opened_numbers, pattern_of
from fhir_bridge.claim_statements import CaseStatements
from fhir_bridge.document import Resource, member, object_of, objects_of
from medchain.crypto.commitment import NO_FIELDS
from medchain.crypto.fields import record_fields
from medchain.ledger.citation import type_of
from medchain.ledger.evidence.disclosure import MAX_CHANGED, MAX_POINTER_BYTES, Edition, Row, role_of
from medchain.node.proofs import show_fields
from medchain.node.records import OpenedRecord
from medchain.node.release_ports import ClaimCase, ClaimSaid

_MAX_TEXT: Final = 200
_UNCOUNTED: Final = frozenset({"/meta/lastUpdated", "/meta/versionId"})


class FhirClaimFacts:
    """Tells of records. Threads may share it."""

    __slots__ = ("_node",)

    def __init__(self, node: NodeRecords) -> None:
        """Use a node's records."""
        self._node = node

    def tell(self, case: ClaimCase) -> ClaimSaid:
        """Tell; arguments, result and errors as the port says."""
        reader = CaseReader(self._node, case)
        told = reader.read()
        audited = stored_by(self._node, [one.reference for one in told])
        for one in told:
            one.editions = [_edition(reader, one, at, audited) for at in range(len(one.resources))]
        rows = tuple(
            Row(role_of(one.reference), one.record.shown.object_id, one.reference, tuple(one.editions)) for one in told
        )
        facts = {fact.order: fact for fact in CaseStatements(reader).of(told)}
        return ClaimSaid(rows, tuple(facts[order] for order in sorted(facts)), tuple(map(_opening, told)))


def _edition(reader: CaseReader, told: ToldRecord, at: int, audited: Mapping[str, Stored]) -> Edition:
    """Tell of a version; of one that may not be told of, that it was."""
    resource, row = told.resources[at], told.record.versions[at]
    if row is None:
        return Edition(number=at + 1, author=None, system=None, entered=None, event=None, changed=())
    stored = audited.get(f"{told.reference}/_history/{at + 1}", NOT_KNOWN)
    staff = _author(reader, resource) or (stored.user if _is_staff(reader, stored.user) else "")
    if staff and at == told.record.shown.version - 1:
        told.staff = staff
    named = reader.find(staff)
    return Edition(
        number=at + 1,
        author=None if named is None else _name(named[1]),
        system=stored.system[:_MAX_TEXT] or None,
        entered=reader.entered(resource),
        event=None if not resource else reader.event(resource, row),
        changed=() if at == 0 else _changed(told.opened[at - 1], told.opened[at]),
    )


def _author(reader: CaseReader, resource: Resource) -> str:
    """Return the reference of who wrote a record, a person before an organisation; empty for nobody known here."""
    rows = [one for path in AUTHORS.get(member(resource, "resourceType"), ()) for one in _at(resource, path)]
    references = [member(one, "reference") for one in rows]
    found = [one for one in references if _is_staff(reader, one)]
    return min(found, key=lambda one: STAFF.index(type_of(one)) == len(STAFF) - 1, default="")


def _is_staff(reader: CaseReader, reference: str) -> bool:
    """Tell whether a reference names somebody of the staff, or an organisation, whom this node knows."""
    return type_of(reference) in STAFF and reader.find(reference) is not None


def _opening(told: ToldRecord) -> bytes | None:
    """Open what the profile names of the version shown; None where its fields are not committed to one by one."""
    opened = told.opened[told.record.shown.version - 1]
    if opened is None or opened.field_root == NO_FIELDS or told.record.shown.blob is not None:
        return None
    fields = record_fields(opened.content)
    pattern, numbers = pattern_of(type_of(told.reference)), opened_numbers(told.shown) | opened_kind(told.shown)
    names = [name.decode() for name, _ in fields]
    shown = [place for place, name in enumerate(names) if name in numbers or pattern.fullmatch(name)]
    return show_fields(opened, fields, shown)


def _at(resource: Resource, path: str) -> list[Resource]:
    """Return the objects at a path of names, through arrays."""
    found: list[Resource] = [resource]
    for name in path.split("."):
        values = [one.get(name) for one in found]
        found = [item for value in values for item in (objects_of(value) or [object_of(value)]) if item]
    return found


def _name(resource: Resource) -> str | None:
    """Return the name of a person or an organisation; None for one without."""
    name = resource.get("name")
    if isinstance(name, str):
        return name[:_MAX_TEXT] or None
    first = next(iter(objects_of(name)), {})
    given = first.get("given")
    parts = [
        *(one for one in (given if isinstance(given, list) else []) if isinstance(one, str)),
        member(first, "family"),
    ]
    return (member(first, "text") or " ".join(part for part in parts if part))[:_MAX_TEXT] or None


def _changed(before: OpenedRecord | None, after: OpenedRecord | None) -> tuple[str, ...]:
    """Name the fields by which two versions differ, without what they say; nothing of one that cannot be told."""
    if before is None or after is None or not before.content or not after.content:
        return ()
    one, other = dict(_fields(before)), dict(_fields(after))
    names = {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
    return tuple(sorted({*map(_short, names - _UNCOUNTED)} - {""})[:MAX_CHANGED])


def _short(name: str) -> str:
    """Name what holds a field, where its own name is too long; empty where nothing does."""
    while len(name.encode()) > MAX_POINTER_BYTES:
        name = name.rpartition("/")[0]
    return name


def _fields(opened: OpenedRecord) -> Iterator[tuple[str, bytes]]:
    """List a version's fields by their JSON pointers."""
    for name, value in record_fields(opened.content):
        yield name.decode(), value
