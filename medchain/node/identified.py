"""Which of a patient's records another one means that names it by a business identifier.

Keeps true: a reference by an identifier means the one record of the patient that has it, as the records are now; where
several may be meant, or it names one otherwise, too, each may, and so may what a resource inside a record has the
identifier of, or a condition asks for; of what no record here has, nothing is said. Trusts the records file for whose
they are.
Source: FHIR R4 §2.3.0.2 (logical references), §2.3.0.3 (contained resources), §3.1.0.11.2 (conditional references);
`docs/spec/consent.md` D13.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

import orjson

from medchain.encoding import objects_in
from medchain.node.followed import Followed
from medchain.node.naming import PERHAPS, asked_in, conditions_in
from medchain.node.records import RecordService
from medchain.store.records import RecordStore, RecordVersion

_MAX_PATIENTS: Final = 512
# `identifier`, or `masterIdentifier`; as a member, or as a parameter, which may be percent-encoded.
_NAMED: Final = b"dentifier"
_ENCODED: Final = (b"?", b"%")

_Name: TypeAlias = tuple[str, str]


class Logical(NamedTuple):
    """A reference by an identifier, one that a condition asks for, or that of a resource inside a record.

    Attributes:
        type: of what is meant; empty where it does not say.
        system: of the identifier; empty likewise.
        value: of the identifier, case-folded.
        is_alone: whether it is a reference that names nothing otherwise; what else is named may be another record, or
            the same.
    """

    type: str
    system: str
    value: str
    is_alone: bool


@dataclass(slots=True)
class Identified:
    """What is kept of a patient's records.

    Attributes:
        names: value of an identifier → records that have it, each with its systems.
        values: record → its values.
        referring: record that names others by identifiers → by which.
    """

    names: dict[str, dict[_Name, set[str]]] = field(default_factory=dict)
    values: dict[_Name, set[str]] = field(default_factory=dict)
    referring: dict[_Name, frozenset[Logical]] = field(default_factory=dict)

    def take(self, row: RecordVersion, content: bytes) -> None:
        """Take over a version of a record."""
        name = row.type, row.id
        for value in self.values.pop(name, ()):
            del self.names[value][name]
        self.referring.pop(name, None)
        record = orjson.loads(content) if _may_name(content) else {}
        for system, value in _identifiers(record):
            self.names.setdefault(value, {}).setdefault(name, set()).add(system)
            self.values.setdefault(name, set()).add(value)
        if wanted := logical_in(record):
            self.referring[name] = wanted

    def meant(self, wanted: Iterable[Logical]) -> frozenset[str]:
        """List the records that are meant: ``Type/id``, after `PERHAPS` where that is not certain."""
        return frozenset(name for one in wanted for name in self._meant(one))

    def _meant(self, one: Logical) -> set[str]:
        """List those that one means."""
        found = {
            name: systems
            for name, systems in self.names.get(one.value, {}).items()
            if one.type in ("", name[0]) and (one.system in systems or not one.system or "" in systems)
        }
        is_the_one = bool(one.system) and [one.system in systems for systems in found.values()] == [True]
        is_certain = one.is_alone and is_the_one
        return {("" if is_certain else PERHAPS) + "/".join(name) for name in found}


class Identifiers:
    """Knows the identifiers of patients' records. Threads may share it."""

    __slots__ = ("_patients",)

    def __init__(self, records: RecordStore, service: RecordService) -> None:
        """Use a node's records."""

        def read(row: RecordVersion) -> bytes:
            # What is told beside the data of a Binary refers to nothing but its security context.
            return service.open(row).content if row.head is None else b""

        self._patients = Followed(records, service, Identified, read, _MAX_PATIENTS)

    def meant(self, patient: str, content: bytes) -> frozenset[str]:
        """List what a record means by identifiers, in its references and of the resources inside it.

        Args:
            patient: whose record it is, keyed token.
            content: its FHIR JSON.

        Returns:
            As `Identified.meant`.

        Raises:
            VerificationError: a record of the patient is damaged: which identifiers it has nobody knows.
        """
        wanted = logical_in(orjson.loads(content)) if _may_name(content) else ()
        if not wanted:
            return frozenset()
        with self._patients.of(patient) as known:
            return known.meant(wanted)

    def meant_by(self, patient: str) -> dict[_Name, frozenset[str]]:
        """List what each of a patient's records that name others so means; raises as `meant`."""
        with self._patients.of(patient) as known:
            return {name: known.meant(wanted) for name, wanted in known.referring.items()}

    def referring(self, patient: str) -> frozenset[_Name]:
        """List a patient's records that name others so; raises as `meant`."""
        with self._patients.of(patient) as known:
            return frozenset(known.referring)


def _may_name(content: bytes) -> bool:
    """Tell, before it is read, whether a record may have an identifier in it, or ask for one."""
    return _NAMED in content or all(one in content for one in _ENCODED)


def logical_in(record: object) -> frozenset[Logical]:
    """List what a record names by identifiers: by references that have one, conditions, and the resources inside it."""
    # An identifier of the record itself is none.
    members = {named for one in objects_in(record) if one is not record for named in _named(one)}
    return frozenset(members.union(*map(_asked, objects_in(record))))


def _asked(one: Mapping[str, object]) -> set[Logical]:
    """Read by which identifiers an object names records in conditions: of this node, or of another one."""
    named = ((name, asked) for name, condition in conditions_in(one) for asked in asked_in(condition))
    pairs = ((name, *asked.identifier) for name, asked in named if asked.code == "identifier")
    return {Logical(name, system, value.casefold(), is_alone=False) for name, system, value in pairs if value}


def _named(one: Mapping[str, object]) -> Iterator[Logical]:
    """Read what an object inside a record names by identifiers, if it is a resource or a reference."""
    type_name = one.get("resourceType")
    if isinstance(type_name, str):
        # What is contained is a copy of what has no record, or of what has one: both have the number.
        yield from (Logical(type_name, *read, is_alone=False) for read in _identifiers(one))
    elif (read := _identifier(one.get("identifier"))) is not None:
        yield Logical(_type_of(one), *read, is_alone="reference" not in one)


def _type_of(reference: Mapping[str, object]) -> str:
    """Read the type that a reference says, by its name or by its address (FHIR R4 Reference.type); empty for none."""
    said = reference.get("type")
    return said.rpartition("/")[2] if isinstance(said, str) else ""


def _identifiers(record: object) -> Iterator[tuple[str, str]]:
    """List a record's own identifiers, of whatever sort: system and value."""
    members = record if isinstance(record, dict) else {}
    for name in ("identifier", "masterIdentifier"):
        listed = members.get(name)
        for one in listed if isinstance(listed, list) else [listed]:
            if (read := _identifier(one)) is not None:
                yield read


def _identifier(value: object) -> tuple[str, str] | None:
    """Read system and value of an identifier; None of one without a value."""
    if not isinstance(value, dict):
        return None
    system, text = value.get("system"), value.get("value")
    if not isinstance(text, str) or not text:
        return None
    return system if isinstance(system, str) else "", text.casefold()
