"""What lies in a stored Bundle: its records, whom each may be about or names, and what a decision asks of them. Pure.

Keeps true: every resource in a Bundle counts, those of Bundles and Parameters within it too, but what another one
contains, which is a part of that; a reference that may mean several patients means each of them, and a record that
names none may be about any of the Bundle's. Trusts its caller for tokens of patients.
Source: FHIR R4 Bundle, §2.36.4 (references in Bundles); `docs/spec/consent.md` C15.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, TypeAlias

from consent.decision import Resource as Facts
from consent.decision import unversioned
from fhir_bridge.document import Element, Resource, member, object_of, objects_of, write
from fhir_bridge.references import PATIENT_MEMBERS, Identifier, condition_in, folded, identifiers
from medchain.dates import Span
from medchain.encoding import objects_in
from medchain.node.naming import asked_in, unquoted
from medchain.node.telling import BINARY, PROVENANCE, about_in, targets_in

TYPE: Final = "Bundle"
"""The type of these resources."""

Name: TypeAlias = tuple[str, str]
"""Type and id of a record."""

_PATIENT: Final = "Patient"
_ENTRY: Final = "entry"
_CONTAINED: Final = "contained"
_OF_ENTRIES: Final = frozenset({"fullUrl", "request", "response"})
# Whatever the base: what is another server's keeps back one Bundle too many here, never one too few.
_NAMED: Final = re.compile(r"(?:.*/)?([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Whom:
    """Patients, as records name them.

    Attributes:
        tokens: keyed tokens of ids.
        identifiers: business identifiers, the system empty where none is said.
    """

    tokens: frozenset[str] = frozenset()
    identifiers: frozenset[Identifier] = frozenset()

    @property
    def keys(self) -> frozenset[str]:
        """What any two have in common that may mean the same patient."""
        return self.tokens | {one.value for one in self.identifiers}

    def may_be(self, other: Whom) -> bool:
        """Tell whether both may mean the same patient: an identifier without a system may be of any."""
        return not self.tokens.isdisjoint(other.tokens) or any(
            one.value == another.value and (one.system == another.system or not (one.system and another.system))
            for one in self.identifiers
            for another in other.identifiers
        )


NOBODY: Final = Whom()
"""What names no patient."""

KEPT_BACK: Final = Facts(None, None, None)
"""What is denied whatever is decided, since nobody knows whose it is (`docs/spec/consent.md` D14)."""


@dataclass(frozen=True, slots=True)
class Lying:
    """What one place in a Bundle holds.

    Attributes:
        record: the resource; empty where the place only names one, such as what a transaction deletes.
        names: records here that it may be, or tell of.
        about: whom it names.
    """

    record: Resource
    names: tuple[Name, ...]
    about: Whom


def whom_of(token: str, patient: Resource) -> Whom:
    """Tell how records name a patient.

    Args:
        token: keyed token of the id.
        patient: the Patient resource; empty where it is not known.
    """
    return Whom(frozenset({token}), _identifiers(patient))


def lying_in(bundle: Resource, token: Callable[[str], str]) -> list[Lying]:
    """List what lies in a Bundle.

    Args:
        bundle: it.
        token: makes the keyed token of a Patient's id.
    """
    held = list(_held(bundle))
    naming = _Naming(token)
    for place, record in held:
        if record.get("resourceType") == _PATIENT:
            naming.add(place, record)
    found = (Lying(record, tuple(_names(place, record)), naming.about(place, record)) for place, record in held)
    return [one for one in found if one.record or one.names]


def named_in(record: Resource, token: Callable[[str], str]) -> Whom:
    """Tell whom a record names, wherever in it, by references, or as Patients that it contains; `token` as above."""
    naming = _Naming(token)
    inside = [one for one in objects_in(record) if one is not record]
    contained = (naming.about({}, one) for one in inside if one.get("resourceType") == _PATIENT)
    return united([*contained, *(naming.meant(one) for one in inside if "resourceType" not in one)])


def united(named: Iterable[Whom]) -> Whom:
    """Put together who is named."""
    given = list(named)
    return Whom(
        frozenset(chain.from_iterable(one.tokens for one in given)),
        frozenset(chain.from_iterable(one.identifiers for one in given)),
    )


def facts_in(bundle: Resource, records: Sequence[Resource], told: Callable[[bytes], Facts]) -> list[Facts]:
    """Read what a decision asks of a Bundle.

    Args:
        bundle: it.
        records: those that lie in it and count.
        told: reads a resource.

    Returns:
        Each of the records, under the Bundle's labels as well as its own, and the Bundle itself, which says all that
        they say, by all of their authors, from the first to the last of their times.
    """
    shell = told(write({name: value for name, value in bundle.items() if name != _ENTRY}))
    inside = [told(write(one)) for one in records]
    inside = [replace(one, labels=_all_of([shell.labels, one.labels])) for one in inside]
    whole = replace(
        shell,
        codes=_all_of([shell.codes, *(one.codes for one in inside)]),
        authors=_all_of([one.authors for one in inside]),
        span=_around([one.span for one in inside]),
        related=shell.related.union(*(one.related for one in inside)),
    )
    return [*inside, whole]


class _Naming:
    """Tells whom the records of a Bundle are about."""

    def __init__(self, token: Callable[[str], str]) -> None:
        """Know no Patient that lies in it yet; the token is as `lying_in` takes it."""
        self._token = token
        self._patients: dict[str, Whom] = {}

    def add(self, place: Resource, patient: Resource) -> None:
        """Take over a Patient that lies in it: references name it by its full URL, or by its id."""
        whom = self._itself(place, patient)
        for name in {member(place, "fullUrl"), _own_name(patient)} - {""}:
            self._patients[name] = united([self._patients.get(name, NOBODY), whom])

    def about(self, place: Resource, record: Resource) -> Whom:
        """Tell whom a record is about: whom it names so, or else all patients whom it refers to, or contains."""
        if record.get("resourceType") == _PATIENT:
            return self._itself(place, record)
        named = united(self.meant(one) for name in PATIENT_MEMBERS for one in _listed(record.get(name)))
        if named != NOBODY:
            return named
        contained = (one for one in _listed(record.get(_CONTAINED)) if one.get("resourceType") == _PATIENT)
        referred = (self._by_name(member(one, "reference")) for one in objects_in(record))
        return united([*referred, *(self._itself({}, one) for one in contained)])

    def _itself(self, place: Resource, patient: Resource) -> Whom:
        """Tell how records name a Patient that lies in it: by what it says itself, its place, and its links."""
        created = condition_in(_PATIENT, member(object_of(place.get("request")), "ifNoneExist"))
        named = (self._addressed(text) for text in (*_addresses(place), _own_name(patient)))
        linked = (self.meant(object_of(one.get("other"))) for one in _listed(patient.get("link")))
        own = Whom(identifiers=_identifiers(patient))
        return united([own, self._fulfilling(created), *named, *linked])

    def meant(self, reference: Resource) -> Whom:
        """Tell whom a reference means: by its address, or by the identifier of what may be a patient."""
        given = object_of(reference.get("identifier"))
        is_patient = member(reference, "type").rpartition("/")[2] in ("", _PATIENT)
        named = frozenset({folded(Identifier(_PATIENT, member(given, "system"), member(given, "value")))})
        by_identifier = Whom(identifiers=named) if is_patient and member(given, "value") else NOBODY
        return united([self._by_name(member(reference, "reference")), by_identifier])

    def _by_name(self, reference: str) -> Whom:
        """Tell whom a reference means; nobody where it means no patient."""
        names = {reference, "/".join(_name_in(reference) or ())}
        return united([self._addressed(reference), *(self._patients.get(one, NOBODY) for one in names)])

    def _addressed(self, address: str) -> Whom:
        """Tell whom an address means, or a condition on Patients, by itself."""
        place, mark, condition = address.partition("?")
        is_condition = mark and place.rpartition("/")[2] == _PATIENT
        name = _name_in(address)
        by_id = Whom(frozenset({self._token(name[1])})) if name is not None and name[0] == _PATIENT else NOBODY
        return united([by_id, self._fulfilling(condition)]) if is_condition else by_id

    def _fulfilling(self, condition: str) -> Whom:
        """Tell whom a condition on Patients means by ids and identifiers, whatever else it asks."""
        listed = list(asked_in(condition))
        tokens = (self._token(one.value.rpartition("/")[2]) for one in listed if one.code == "_id")
        named = (Identifier(_PATIENT, *one.identifier) for one in listed if one.code == "identifier")
        return Whom(frozenset(tokens), frozenset(map(folded, named)))


def _held(bundle: Resource) -> Iterator[tuple[Resource, Resource]]:
    """List the places in a Bundle, each with the resource that it holds, empty for none."""
    waiting: list[Element] = [*bundle.values()]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            records = [value for value in one.values() if isinstance(value, dict) and "resourceType" in value]
            if records or not one.keys().isdisjoint(_OF_ENTRIES):
                yield from ((one, record) for record in records or [{}])
            waiting.extend(value for name, value in one.items() if name != _CONTAINED)
        elif isinstance(one, list):
            waiting.extend(one)


def _names(place: Resource, record: Resource) -> Iterator[Name]:
    """Name the records here that a place in a Bundle may hold or tell of."""
    told = (_own_name(record), *_addresses(place))
    yield from {name for text in told if (name := _name_in(text)) is not None}
    if record.get("resourceType") == PROVENANCE:
        yield from targets_in(record)
    if record.get("resourceType") == BINARY and (about := about_in(record)) is not None:
        yield about


def _addresses(place: Resource) -> Iterator[str]:
    """List the addresses by which a place in a Bundle says what it holds."""
    request, response = (object_of(place.get(name)) for name in ("request", "response"))
    yield from (member(place, "fullUrl"), member(request, "url"), member(response, "location"))


def _own_name(record: Resource) -> str:
    """Write a record's type and id."""
    return f"{member(record, 'resourceType')}/{member(record, 'id')}"


def _name_in(text: str) -> Name | None:
    """Read type and id at the end of an address; None for one of another form."""
    match = _NAMED.fullmatch(unversioned(unquoted(text)))
    return None if match is None else (match[1], match[2])


def _identifiers(patient: Resource) -> frozenset[Identifier]:
    """List a Patient's business identifiers."""
    return frozenset(folded(one) for one in identifiers(_PATIENT, patient) if one.system is not None)


def _listed(value: Element) -> list[Resource]:
    """List the objects of a member, which may be one or several."""
    return objects_of(value if isinstance(value, list) else [value])


def _all_of(sets: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    """Put sets together; what one of them leaves open stays so."""
    found: set[str] = set()
    for one in sets:
        if one is None:
            return None
        found |= one
    return frozenset(found)


def _around(spans: Iterable[Span | None]) -> Span | None:
    """Make the span that holds some; None where one of them is not known."""
    known: list[Span] = []
    for one in spans:
        if one is None:
            return None
        known.append(one)
    return Span(min(one.low for one in known), max(one.high for one in known)) if known else None
