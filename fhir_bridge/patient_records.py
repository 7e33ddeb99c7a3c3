"""A patient's own records for the patient's pages: fills `consent.web.ports.PatientRecords`.

Keeps true: a patient is given what a token for that one patient gives any client, and what consents keep from others,
no more, through the same gate and onto the same audit; of who has looked only what is about this patient is told.
Trusts the pages for who is signed in.
Source: `docs/spec/patient-pages.md`; FHIR R4 compartment-patient; IHE BALP 1.1.3.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cache
from typing import Final
from urllib.parse import urlencode

from consent.decision import Resource as Decided
from consent.decision import unversioned
from consent.web.ports import Listing, Look, Opened, PatientRecord
from fhir_bridge.audit_events import ORGANISATION, REST_TYPE
from fhir_bridge.browse.reading import Listed, Reading, RefusedError
from fhir_bridge.browse.view import Row, line_of, rows_of, when_of, words_of
from fhir_bridge.browse.wording import marks_in
from fhir_bridge.browse.words import ELEMENTS
from fhir_bridge.concerning import concerning
from fhir_bridge.definitions.parameters import compartment, parameters_of
from fhir_bridge.document import Element, Resource, objects_of, write
from fhir_bridge.outcome import outcome_of
from fhir_bridge.patient_facts import PatientFacts
from fhir_bridge.references import instant
from fhir_bridge.rest.core import Core
from fhir_bridge.search.cursor import PARAMETER
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.patients import name_text
from fhir_bridge.smart.scopes import parse_scopes
from medchain.errors import NotFoundError, UnavailableError
from medchain.node.looks import covered_looks, looks_proof
from medchain.node.own_consents import RECORD_TYPE, is_kept
from medchain.node.proofs import zip_bundle
from medchain.store.accounts import Role
from medchain.store.records import CONCERN
from medchain.web.dates import day_of, written

CLIENT: Final = "(patient)"
"""As which client the patient's pages are on the audit."""

_OWN: Final = parse_scopes("patient/*.rs")
_AUDIT: Final = parse_scopes("user/AuditEvent.rs user/Practitioner.rs user/PractitionerRole.rs")
_NEWEST: Final = "-_lastUpdated"
_VISIT: Final = "Encounter"
_PERSON: Final = "Patient"
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_BESIDE: Final = " · "
_VISITS: Final = 20
_LISTED: Final = 50
_NAMED: Final = 1_000
_SCANS: Final = 5
_SCANNED: Final = 100
_MOST: Final = 1_000
_VERSIONS: Final = 50
_LOOKS: Final = "_count=100&_sort=-date"
_REFUSED: Final = "4"
# What one patient may see, and is there no more.
_GONE: Final = 404
_ELSEWHERE: Final = frozenset({"AuditEvent", "Provenance"})
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_MAX_NAMES: Final = 50
_STAFF: Final = re.compile(r"Practitioner(?:Role)?/[A-Za-z0-9.-]{1,64}")


class RecordsOfPatients:
    """Asks in a patient's name."""

    __slots__ = ("_core", "_facts", "_reader")

    def __init__(self, core: Core, reader: str = "", facts: PatientFacts | None = None) -> None:
        """Use the REST server's parts.

        Args:
            core: the parts.
            reader: id of the patient who asks, where that is another one than the records are of; who may is decided
                by the pages, from the ledger.
            facts: what is known of patients' records; None to begin.
        """
        zone = core.search.index.setting.zone
        self._core = core
        self._facts = facts or PatientFacts(core.store, core.service, core.enforcement, self.types(), zone)
        self._reader = reader

    def read_by(self, reader: str) -> RecordsOfPatients:
        """Give the same, read by another patient, who acts for the first one and is on the audit for it."""
        return RecordsOfPatients(self._core, reader, self._facts)

    def patient_of(self, token: str) -> str:
        """Give the id of the patient whom the records file knows by a keyed token; empty for one without a record."""
        found = self._core.store.by_patient(token, {"Patient"}, limit=1)
        return found[0].id if found else ""

    def name(self, patient: str, language: str) -> str:
        """Give the patient's name; empty where the record has none."""
        try:
            resource, _ = self._reading(patient, language).resource(f"Patient/{patient}")
        except RefusedError:
            return ""
        names = objects_of(resource.get("name"))
        return name_text(names[0]) if names else ""

    def facts(self, patient: str, language: str) -> Sequence[Decided]:
        """Give what the decision asks of each of the patient's records; see the port."""
        # Asked for as the patient, so that the audit has that all of them were looked at.
        types = urlencode({"_type": ",".join(sorted(self.types()))})
        self._reading(patient, language).count(f"Patient/{patient}/*", types)
        return self._facts.of(self._access(patient), patient)

    def some(self, patient: str, references: Collection[str], language: str) -> Mapping[str, PatientRecord]:
        """Give some of the patient's records by their references; see the port."""
        reading, names = self._reading(patient, language), sorted(references)
        query = {
            "_id": ",".join(one.partition("/")[2] for one in names),
            "_type": ",".join(sorted({one.partition("/")[0] for one in names})),
            "_count": str(_NAMED),
        }
        found = _page(reading, f"Patient/{patient}/*", "", **query).resources
        wanted = set(names)
        records = self._records(patient, reading, (one for one in found if _place(one) in wanted))
        return {one.reference: one for one in records}

    def visits(self, patient: str, begin: str, language: str) -> Listing:
        """Give some of the patient's visits, the newest first; see the port."""
        reading = self._reading(patient, language)
        found = _page(reading, f"Patient/{patient}/{_VISIT}", begin, _sort="-date", _count=_VISITS)
        return Listing(self._records(patient, reading, found.resources), found.cursor)

    def in_visit(self, patient: str, visit: str, begin: str, language: str) -> Listing:
        """Give some of the records that belong to a visit; see the port."""
        reading, types = self._reading(patient, language), ",".join(sorted(_filed()))
        found = _page(reading, f"{_VISIT}/{visit}/*", begin, _sort=_NEWEST, _count=_LISTED, _type=types)
        return Listing(self._records(patient, reading, found.resources), found.cursor)

    def outside_visits(self, patient: str, begin: str, language: str) -> Listing:
        """Give some of the records that belong to no visit that is here; see the port."""
        reading, types = self._reading(patient, language), ",".join(sorted(self.types() - {_VISIT, _PERSON}))
        resources: list[Resource] = []
        for _ in range(_SCANS):
            found = _page(reading, f"Patient/{patient}/*", begin, _sort=_NEWEST, _count=_SCANNED, _type=types)
            resources += _outside(reading, patient, found.resources)
            begin = found.cursor
            if not begin or len(resources) >= _LISTED:
                break
        return Listing(self._records(patient, reading, resources), begin)

    def of_types(self, patient: str, types: Collection[str], begin: str, language: str) -> Listing:
        """Give some of the records of some FHIR types; see the port."""
        reading, named = self._reading(patient, language), ",".join(sorted(types))
        found = _page(reading, f"Patient/{patient}/*", begin, _sort=_NEWEST, _count=_LISTED, _type=named)
        return Listing(self._records(patient, reading, found.resources), found.cursor)

    def count(self, patient: str, types: Collection[str], language: str) -> int:
        """Count the patient's records of some FHIR types."""
        reading, query = self._reading(patient, language), urlencode({"_type": ",".join(sorted(types))})
        counted = reading.count(f"Patient/{patient}/*", query)
        if RECORD_TYPE not in types:
            return counted
        consents = reading.listed(f"Patient/{patient}/{RECORD_TYPE}", urlencode({"_count": _MOST}))
        return counted - sum(_is_kept(one) for one in consents.resources)

    def types(self) -> frozenset[str]:
        """List the FHIR types of which a patient may have records."""
        return frozenset({"Patient", *compartment("Patient")}) - _ELSEWHERE

    def one(self, patient: str, type_name: str, record_id: str, language: str) -> Opened:
        """Give a record; raises `NotFoundError` ``page.unknown`` for one that is not the patient's."""
        reading, place = self._reading(patient, language), f"{type_name}/{record_id}"
        try:
            resource, _ = reading.resource(place)
            versions = len(reading.listed(f"{place}/_history", "_count=50").entries)
        except RefusedError as error:
            raise NotFoundError("page.unknown") from error
        names, zone = _Names(reading), self._core.search.index.setting.zone

        def value_of(row: Row) -> str:
            named = names.of(row.link) if row.link and row.value.startswith(row.link) else ""
            return named or row.words(lambda text: written(text, zone, language))

        rows = [(row.depth, _called(row.name, language), value_of(row), row.codes) for row in rows_of(resource)]
        return Opened(self._record(patient, reading, resource, names), rows, versions)

    def proof(self, patient: str, type_name: str, record_id: str, language: str) -> bytes:
        """Give a record's proof bundle (zip); raises as `one`."""
        try:
            reply = self._reading(patient, language).get(f"{type_name}/{record_id}/$proof", native=True)
        except RefusedError as error:
            raise NotFoundError("page.unknown") from error
        return reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)

    def references(self, patient: str, language: str, visit: str = "") -> Sequence[str]:
        """List all that a patient has now, or what belongs to a visit, by type and id; see the port."""
        reading, types = self._reading(patient, language), _filed() if visit else self.types()
        place = f"{_VISIT}/{visit}/*" if visit else f"Patient/{patient}/*"
        found = _page(reading, place, "", _sort=_NEWEST, _count=_NAMED, _elements="id", _type=",".join(sorted(types)))
        resources = list(found.resources)
        while found.cursor:
            found = _page(reading, place, found.cursor)
            resources += found.resources
        return [_place(one) for one in resources if not _is_kept(one)]

    def bundle(self, patient: str, references: Iterable[str], language: str) -> Iterator[bytes]:
        """Give records as a FHIR Bundle with their Provenance; see the port."""
        reading = self._reading(patient, language)
        head = write({"resourceType": "Bundle", "type": "collection", "timestamp": instant(self._core.clock())})
        before, end = head.removesuffix(b"}") + b',"entry":[', head
        for place in references:
            yield before + b",".join(map(write, self._entries(reading, place, is_first=end is head)))
            before, end = b",", b"]}"
        yield end

    def looks(self, patient: str, since: int, language: str) -> Sequence[Look]:
        """Give who of this organisation looked since a time (Unix seconds), the newest first."""
        reading = self._auditing(patient, language)
        day = datetime.fromtimestamp(since, UTC).isoformat().replace("+00:00", "Z")
        # What went to other organisations is told from the ledger, with its proof.
        query = urlencode({"patient": f"Patient/{patient}", "date": f"ge{day}", "type": REST_TYPE})
        try:
            found = reading.listed("AuditEvent", f"{_LOOKS}&{query}")
        except RefusedError:
            # Events that are still to be made: the page says that there may be more, and never that there are none.
            raise NotFoundError("patient.audit_behind") from None
        return list(self._looks(reading, found, patient))

    def staff(self, patient: str, reference: str, language: str) -> str:
        """Name one of the staff; see the port."""
        found = _Names(self._auditing(patient, language)).of(reference) if _STAFF.fullmatch(reference) else ""
        return found or reference

    def entered(self, patient: str) -> Collection[str]:
        """Give the ids of events and refusals that are entered in the patient's list under a final root."""
        return covered_looks(self._core.store, self._core.service.patient_token(patient))

    def looks_proof(self, patient: str, language: str) -> bytes:
        """Give the proof of the patient's list of looks (zip); raises as `medchain.node.looks.looks_proof`."""
        # Asked for as the patient, so that the audit has that it was given.
        self._reading(patient, language).resource(f"Patient/{patient}")
        return zip_bundle(looks_proof(self._core.store, self._core.service, self._core.prove, patient))

    def concerning(self, patient: str, interaction: str) -> AbstractContextManager[list[int]]:
        """Keep on the audit what is seen or changed of the patient's concerns; see the port."""
        return concerning(self._core.audit, self._access(patient), interaction)

    def concern_proof(self, record_id: str) -> bytes:
        """Give the proof of a concern (zip); see the port."""
        stored = self._core.store.get(CONCERN, record_id)
        if stored is None:
            raise NotFoundError("concern.unknown")
        return zip_bundle(self._core.prove(stored))

    def _auditing(self, patient: str, language: str) -> Reading:
        """Ask in the patient's name for what the audit has, and for who that was."""
        access = Access(CLIENT, _AUDIT, user=f"Patient/{self._reader or patient}", role="auditor")
        return Reading(self._core, access, language)

    def _records(self, patient: str, reading: Reading, resources: Iterable[Resource]) -> list[PatientRecord]:
        """Say what is shown of resources, the newest first; consents of the ledger have pages of their own."""
        names = _Names(reading)
        own = [one for one in resources if one.get("resourceType") not in _ELSEWHERE and not _is_kept(one)]
        shown = (self._record(patient, reading, one, names) for one in own)
        return sorted(shown, key=lambda one: one.when, reverse=True)

    def _record(self, patient: str, reading: Reading, resource: Resource, names: _Names) -> PatientRecord:
        """Say what is shown of a record."""
        kind, record_id, meta = str(resource.get("resourceType")), str(resource.get("id")), resource.get("meta")
        version = str(meta.get("versionId")) if isinstance(meta, dict) else "1"
        content, when = write(resource), when_of(resource)
        return PatientRecord(
            type=kind,
            id=record_id,
            version=version,
            when=day_of(when, self._core.search.index.setting.zone),
            title=_title(resource, names),
            content=content,
            anchored=reading.anchored(kind, record_id, int(version) if version.isdigit() else 1),
            meant=self._core.enforcement.meant(self._core.service.patient_token(patient), content),
            is_birth=bool(when) and when == resource.get("birthDate"),
        )

    def _looks(self, reading: Reading, found: Listed, patient: str) -> Iterator[Look]:
        """Read events; the patient's own looks are left out."""
        names = _Names(reading)
        for event in found.resources:
            person = next((one for one in objects_of(event.get("agent")) if _is_person(one)), {})
            reference = _reference(person.get("who"))
            if reference == f"Patient/{patient}":
                continue
            # Another patient, who acts for this one, is named by the pages: asking for that record would be a look.
            is_staff = reference and not reference.startswith("Patient/")
            name = names.of(reference) if is_staff else ""
            roles = objects_of(person.get("role"))
            codings = objects_of(roles[0].get("coding")) if roles else []
            yield Look(
                time=str(event.get("recorded", "")),
                who=name or reference or _identifier(person.get("who")),
                role=str(codings[0].get("code", "")) if codings else "",
                client=_client(event),
                action=next((str(one.get("code")) for one in objects_of(event.get("subtype"))), ""),
                types=_types(event),
                is_refused=event.get("outcome") == _REFUSED,
                purpose=_purpose(event),
                event=str(event.get("id", "")),
                asker=_asker(event),
            )

    def _entries(self, reading: Reading, place: str, *, is_first: bool) -> list[Resource]:
        """Write the entries of a Bundle of a record: it and its Provenance, or that it is there no more."""
        try:
            found = list(_with_provenance(reading, place))
        except RefusedError as error:
            if error.status != _GONE:
                raise UnavailableError("page.broken_off") from error
            if is_first:
                raise NotFoundError("page.unknown") from error
            return [{"resource": outcome_of([_gone(place, error)])}]
        return [{"fullUrl": f"{self._core.base_url}/{_place(one)}", "resource": one} for one in found]

    def _reading(self, patient: str, language: str) -> Reading:
        """Ask as a token for this one patient would."""
        return Reading(self._core, self._access(patient), language)

    def _access(self, patient: str) -> Access:
        """Give what a token for this one patient would."""
        user = f"Patient/{self._reader or patient}"
        return Access(CLIENT, _OWN, user=user, role=Role.PATIENT.value, patient=patient)


def _page(reading: Reading, place: str, begin: str, **asked: str | int) -> Listed:
    """Ask for a page of a search, or for the one that begins at a cursor.

    Raises:
        NotFoundError: ``page.unknown`` for a cursor that is none, or is too old.
    """
    try:
        return reading.listed(place, urlencode({PARAMETER: begin} if begin else asked))
    except RefusedError as error:
        raise NotFoundError("page.unknown") from error


def _place(resource: Resource) -> str:
    """Name a resource by its type and id."""
    return f"{resource.get('resourceType')}/{resource.get('id')}"


def _gone(place: str, error: RefusedError) -> Resource:
    """Say of a record that was to be taken along that it is not there any more."""
    return {"severity": "warning", "code": "not-found", "details": {"text": error.text}, "diagnostics": place}


@cache
def _filed() -> dict[str, tuple[tuple[str, ...], ...]]:
    """List the types of which a visit has records, each with the elements that name the visit (FHIR R4 §2.45)."""
    found = {}
    for type_name, codes in compartment(_VISIT).items():
        texts = [parameters_of(type_name)[code].expression for code in codes if type_name != _VISIT]
        paths = [path for text in texts for path in re.findall(rf"\b{type_name}((?:\.[a-z]\w*)+)", text)]
        found[type_name] = tuple(tuple(path.removesuffix(".where").split(".")[1:]) for path in paths)
    del found[_VISIT]
    return found


def _visits_of(resource: Resource) -> set[str]:
    """List the ids of the visits to which a record belongs, as the compartment of an Encounter has it."""
    paths = _filed().get(str(resource.get("resourceType")), ())
    places = (unversioned(_reference(one)) for path in paths for one in _at(resource, path))
    return {one.removeprefix(f"{_VISIT}/") for one in places if one.startswith(f"{_VISIT}/")}


def _at(value: Element, path: Sequence[str]) -> Iterator[Element]:
    """List what stands at a path of elements, each of which may be repeated."""
    if isinstance(value, list):
        for one in value:
            yield from _at(one, path)
    elif not path:
        yield value
    elif isinstance(value, dict):
        yield from _at(value.get(path[0]), path[1:])


def _outside(reading: Reading, patient: str, resources: Sequence[Resource]) -> list[Resource]:
    """Leave out what belongs to a visit that is here; what names one that is not is shown nowhere else."""
    named = {visit for one in resources for visit in _visits_of(one)}
    here: set[str] = set()
    if named:
        query = urlencode({"_id": ",".join(sorted(named)), "_count": len(named)})
        here = {str(one.get("id")) for one in reading.listed(f"Patient/{patient}/{_VISIT}", query).resources}
    return [one for one in resources if not here & _visits_of(one)]


def _with_provenance(reading: Reading, place: str) -> Iterator[Resource]:
    """Give a record, and what the ledger says of its versions; raises `RefusedError`."""
    yield reading.resource(place)[0]
    yield from reading.listed("Provenance", urlencode({"target": place, "_count": _VERSIONS})).resources


def _is_kept(resource: Resource) -> bool:
    """Tell whether a resource is a consent of the ledger."""
    return is_kept(str(resource.get("resourceType")), str(resource.get("id")))


class _Names:
    """Names people and places by the resources that they are, each of which is asked for once."""

    __slots__ = ("_found", "_reading")

    def __init__(self, reading: Reading) -> None:
        """Ask in somebody's name."""
        self._found: dict[str, str] = {}
        self._reading = reading

    @property
    def language(self) -> str:
        """Of whom they are named for."""
        return self._reading.language

    def of(self, reference: str) -> str:
        """Name what a reference names; empty where that has no name, and where many were asked for."""
        if reference not in self._found and len(self._found) < _MAX_NAMES:
            self._found[reference] = self._asked(reference)
        return self._found.get(reference, "")

    def _asked(self, reference: str) -> str:
        """Ask for a name."""
        try:
            resource, _ = self._reading.resource(reference)
        except RefusedError:
            return ""
        name = resource.get("name")
        people = objects_of(name)
        return name_text(people[0]) if people else name if isinstance(name, str) else ""


def _called(element: str, language: str) -> str:
    """Name an element of a record in words."""
    words = _HUMP.sub(" ", element).capitalize()
    return ELEMENTS.get(element, words) if language == "zh" else words


def _title(resource: Resource, names: _Names) -> str:
    """Say in a line what a record is about, of a visit in which department it was."""
    kind = resource.get("resourceType")
    people = objects_of(resource.get("name")) if kind == "Patient" else []
    marks = marks_in(names.language)
    title = name_text(people[0]) if people else line_of(resource, marks, has_codes=False)
    parts = (title, *_departments(resource, names)) if kind == _VISIT else (title,)
    return _BESIDE.join(dict.fromkeys(filter(None, parts)))


def _departments(visit: Resource, names: _Names) -> Iterator[str]:
    """Say in which department a visit was: by its service, by who was responsible for it, by where that was."""
    yield words_of(visit.get("serviceType"))
    for place in (visit.get("serviceProvider"), *(one.get("location") for one in objects_of(visit.get("location")))):
        display = place.get("display") if isinstance(place, dict) else None
        reference = _reference(place)
        yield display if isinstance(display, str) else names.of(reference) if reference else ""


def _reference(who: object) -> str:
    """Read to whom something refers; empty for nobody."""
    found = who.get("reference") if isinstance(who, dict) else None
    return found if isinstance(found, str) else ""


def _is_person(agent: Resource) -> bool:
    """Tell whether an agent is a person who signed in; applications and organisations take part otherwise."""
    kind = agent.get("type")
    codings = objects_of(kind.get("coding")) if isinstance(kind, dict) else []
    return any(one.get("system") == _PARTICIPATION for one in codings)


def _identifier(who: object) -> str:
    """Read by which identifier something is named; empty for none."""
    identifier = who.get("identifier") if isinstance(who, dict) else None
    return str(identifier.get("value", "")) if isinstance(identifier, dict) else ""


def _client(event: Resource) -> str:
    """Read by which application it was done: the first agent."""
    agents = objects_of(event.get("agent"))
    return _identifier(agents[0].get("who")) if agents else ""


def _asker(event: Resource) -> str:
    """Read which other organisation asked for an invoice; empty for a look of this one's."""
    whose = next((objects_of([one.get("who")]) for one in objects_of(event.get("agent"))), [])
    named = objects_of([one.get("identifier") for one in whose])
    return str(named[0].get("value", "")) if named and named[0].get("system") == ORGANISATION else ""


def _purpose(event: Resource) -> str:
    """Read for what it was done: the code; empty where nobody said, and no consent was asked."""
    said = objects_of(event.get("purposeOfEvent"))
    codings = objects_of(said[0].get("coding")) if said else []
    return str(codings[0].get("code", "")) if codings else ""


def _types(event: Resource) -> tuple[str, ...]:
    """Read the types of what was seen."""
    places = (_reference(one.get("what")) for one in objects_of(event.get("entity")))
    return tuple(sorted({place.partition("/")[0] for place in places if "/_history/" in place}))
