"""What a hospital tells for a claim: who wrote what and when, and statements of what is not shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from secrets import token_bytes
from typing import Any

import pytest

import sample_data
from fhir_bridge import claim_case, claim_statements
from fhir_bridge.claim_case import NodeRecords
from fhir_bridge.claim_facts import FhirClaimFacts
from fhir_bridge.claim_profile import category_of, is_in, is_surgery, opened_kind, opened_numbers, pattern_of
from fhir_bridge.smart.scopes import parse_scopes
from medchain.encoding import canonical
from medchain.ledger.citation import Ask, citation_of
from medchain.ledger.evidence.disclosure import MAX_CHANGED, MAX_POINTER_BYTES, As
from medchain.node.emergency import EmergencyDesk
from medchain.node.records import NewRecord
from medchain.node.release_ports import CitedRecord, ClaimCase, ClaimSaid
from tests.unit.fhir_bridge.conftest import NODE, NOW, Server

DAYS = ("2026-11-10", "2026-11-14")
ICD_10 = "http://hl7.org/fhir/sid/icd-10"
ICD_9_CM = "http://hl7.org/fhir/sid/icd-9-cm"
SNOMED = "http://snomed.info/sct"
ABOUT = {"subject": {"reference": "Patient/p1"}}
AT = {"encounter": {"reference": "Encounter/e1"}}


def put(server: Server, type_name: str, record_id: str, **members: object) -> str:
    """Store a record as a client does, and return its reference."""
    body = {"resourceType": type_name, "id": record_id, **members}
    answer = server.call("PUT", f"/fhir/{type_name}/{record_id}", body)
    assert answer.status_code in (200, 201), answer.get_data(as_text=True)
    return f"{type_name}/{record_id}"


def visit(
    server: Server, record_id: str, start: str, end: str | None = None, *, code: str = "IMP", **more: object
) -> str:
    period = {"start": start} if end is None else {"start": start, "end": end}
    kind = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": code}
    members = {"status": "finished", "class": kind, "period": period, **ABOUT, **more}
    return put(server, "Encounter", record_id, **members)


def coded(system: str, code: str) -> dict[str, Any]:
    return {"code": {"coding": [{"system": system, "code": code}]}}


@pytest.fixture
def hospital(server):
    put(server, "Patient", "p1", name=[{"text": "Zhang Sample"}], birthDate="1971-03-04")
    put(server, "Practitioner", "d1", name=[{"family": "Lin", "given": ["Mei"]}])
    return server


def tell(
    server: Server,
    *references: str,
    asks: tuple[Ask, ...] = (),
    shown: int | None = None,
    kept_back: tuple[str, ...] = (),
    created: int = NOW,
    services: tuple[str, str] = DAYS,
    zone: timezone = UTC,
) -> ClaimSaid:
    """Ask for what is told of records, of the version named or the newest."""
    while server.drain():
        pass
    records = []
    for reference in sorted(references):
        name = reference.split("/")
        newest = server.store.get(*name)
        versions = tuple(server.store.get(*name, at) for at in range(1, newest.version + 1))
        records.append(CitedRecord(reference, versions[(shown or newest.version) - 1], (), versions))
    case = ClaimCase(
        citation=citation_of(references, created, services, b"\x66" * 32, asks),
        patient=server.service.patient_token("p1"),
        records=records,
        time=NOW,
        counts=lambda row: f"{row.type}/{row.id}" not in kept_back,
    )
    return FhirClaimFacts(NodeRecords(server.core.search, server.store, server.service, zone)).tell(case)


def value_of(said: ClaimSaid, name: str, **arguments: str | int) -> object:
    found = [one.value for one in said.facts if one.name == name and arguments.items() <= dict(one.arguments).items()]
    assert len(found) == 1, (name, found)
    return found[0]


def names_of(said: ClaimSaid) -> list[str]:
    return [one.name for one in said.facts]


# Versions


def test_a_record_that_names_nobody_was_written_with_the_client_that_stored_it(hospital):
    condition = put(hospital, "Condition", "c1", **ABOUT)
    edition = tell(hospital, condition).rows[0].versions[0]
    assert (edition.author, edition.system) == (None, "test")


def test_of_each_version_the_audit_says_with_what_it_was_stored_and_not_who_read_it_since(hospital):
    condition = put(hospital, "Condition", "c1", **ABOUT)
    read = {"request": {"method": "GET", "url": condition}}
    batch = json.dumps({"resourceType": "Bundle", "type": "batch", "entry": [read]}).encode()
    token = hospital.tokens.issue("reader", parse_scopes("system/*.rs"))
    kind = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
    assert hospital.client.post("/fhir", data=batch, headers=kind).status_code == 200
    put(hospital, "Condition", "c1", **ABOUT, recordedDate="2026-11-10")
    systems = [one.system for one in tell(hospital, condition).rows[0].versions]
    assert systems == ["test", "test"]


def test_attack_a_client_stores_an_event_that_says_who_wrote_a_record(hospital):
    """It would be the first by its own date: an author and a system of the client's choice."""
    condition = put(hospital, "Condition", "c1", **ABOUT)
    client = {
        "who": {"identifier": {"system": "urn:medchain:client", "value": "a-system-of-renown"}},
        "requestor": True,
    }
    person = {"who": {"reference": "Practitioner/d1"}, "requestor": True}
    event = {
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "subtype": [{"system": "http://hl7.org/fhir/restful-interaction", "code": "create"}],
        "action": "C",
        "recorded": "2020-01-01T00:00:00Z",
        "outcome": "0",
        "agent": [client, person],
        "source": {"observer": {"display": "x"}},
        "entity": [{"what": {"reference": f"{condition}/_history/1"}}],
    }
    put(hospital, "AuditEvent", "forged", **event)
    edition = tell(hospital, condition).rows[0].versions[0]
    assert (edition.author, edition.system) == (None, "test")


def test_a_record_that_came_without_a_client_is_told_without_a_system(hospital):
    made = {"resourceType": "Condition", "id": "c9", **ABOUT}
    hospital.service.create(NewRecord("Condition", "c9", json.dumps(made).encode(), "p1"))
    assert tell(hospital, "Condition/c9").rows[0].versions[0].system is None


@pytest.mark.parametrize(
    ("type_name", "members", "author"),
    [
        ("Condition", {"recorder": {"reference": "Practitioner/d1"}}, "Mei Lin"),
        ("Condition", {"recorder": {"reference": "Practitioner/none", "display": "Zhang Sample"}}, None),
        ("Condition", {"asserter": {"reference": "Patient/p1", "display": "Zhang Sample"}}, None),
        ("Condition", {"recorder": {"display": "Zhang Sample"}}, None),
        ("Procedure", {"status": "completed", "performer": [{"actor": {"reference": "Practitioner/d1"}}]}, "Mei Lin"),
        (
            "DiagnosticReport",
            {
                "status": "final",
                "code": {"text": "x"},
                "performer": [{"reference": "Organization/o1"}],
                "resultsInterpreter": [{"reference": "Practitioner/d1"}],
            },
            "Mei Lin",
        ),
        ("Invoice", {"status": "issued", "issuer": {"reference": "Organization/o1"}}, "Renhe Hospital"),
    ],
)
def test_an_author_is_staff_or_an_organisation_by_its_own_record_and_never_a_patient(
    hospital, type_name, members, author
):
    put(hospital, "Organization", "o1", name="Renhe Hospital")
    record = put(hospital, type_name, "r1", **ABOUT, **members)
    said = tell(hospital, record)
    assert said.rows[0].versions[0].author == author
    assert b"Zhang" not in canonical([one.to_json() for one in said.rows])


def test_a_condition_happened_at_its_visit_and_not_when_the_illness_began(hospital):
    visit(hospital, "e1", "2026-11-10T09:00:00Z", "2026-11-14T10:00:00Z")
    whole = {"onsetDateTime": "2019-05", "recordedDate": "2026-11-12", **ABOUT}
    within = put(hospital, "Condition", "c1", **whole, **AT)
    alone = put(hospital, "Condition", "c2", **whole)
    bare = put(hospital, "Condition", "c3", **ABOUT)
    said = tell(hospital, within, alone, bare)
    starts = [one.versions[0].event and one.versions[0].event.start for one in said.rows]
    # 2026-11-10T09:00:00Z, 2026-11-12T00:00:00Z.
    assert starts == [1_794_301_200, 1_794_441_600, None]
    hidden = tell(hospital, within, kept_back=("Encounter/e1",))
    assert hidden.rows[0].versions[0].event.start == 1_794_441_600


def test_names_of_changed_fields_are_told_and_what_they_say_is_not(hospital):
    first = put(hospital, "Condition", "c1", **ABOUT, onsetDateTime="2019-05", note=[{"text": "since long"}])
    put(hospital, "Condition", "c1", **ABOUT, onsetDateTime="2024-06", recordedDate="2026-11-10")
    said = tell(hospital, first, shown=1)
    assert said.rows[0].versions[1].changed == ("/note/0/text", "/onsetDateTime", "/recordedDate")
    assert b"2024-06" not in canonical([one.to_json() for one in said.rows]) + said.openings[0]


def test_of_very_many_changed_fields_the_first_are_named(hospital):
    many = [{"text": f"n{at}"} for at in range(MAX_CHANGED + 20)]
    condition = put(hospital, "Condition", "c1", **ABOUT, note=many)
    put(hospital, "Condition", "c1", **ABOUT, recordedDate="2026-11-10")
    assert len(tell(hospital, condition).rows[0].versions[1].changed) == MAX_CHANGED


def test_of_a_field_that_lies_very_deep_what_holds_it_is_named(hospital):
    """A verdict names fields of each record, and must be short enough to be read."""
    deep: dict = {"url": "urn:x", "valueString": "1"}
    for _ in range(20):
        deep = {"url": "urn:x", "extension": [deep]}
    condition = put(hospital, "Condition", "c1", **ABOUT, extension=[deep])
    put(hospital, "Condition", "c1", **ABOUT, recordedDate="2026-11-10")
    names = tell(hospital, condition).rows[0].versions[1].changed
    assert max(len(one) for one in names) == len("/extension/0" * 21 + "/url") == MAX_POINTER_BYTES
    assert "/extension/0" * 21 in names


def test_of_a_version_that_was_a_deletion_nothing_is_told_but_that_it_was(hospital):
    condition = put(hospital, "Condition", "c1", **ABOUT, recordedDate="2026-11-10")
    hospital.call("DELETE", f"/fhir/{condition}")
    put(hospital, "Condition", "c1", **ABOUT, recordedDate="2026-11-11")
    versions = tell(hospital, condition).rows[0].versions
    assert [(one.entered, one.changed) for one in versions][1] == (None, ())
    assert [one.number for one in versions] == [1, 2, 3]


# Statements


@pytest.mark.parametrize(
    ("born", "day", "years", "value"),
    [
        ("2008-11-10", "2026-11-10", 18, True),
        ("2008-11-11", "2026-11-10", 18, False),
        ("2008-02-29", "2026-02-28", 18, False),
        ("2008-02-29", "2026-03-01", 18, True),
        ("2008-11", "2026-11-10", 18, None),
        (None, "2026-11-10", 18, None),
    ],
)
def test_an_age_is_told_by_the_day_or_not_at_all(hospital, born, day, years, value):
    put(hospital, "Patient", "p1", **({} if born is None else {"birthDate": born}))
    seen = visit(hospital, "e1", f"{day}T09:00:00Z", f"{day}T10:00:00Z", code="AMB")
    assert value_of(tell(hospital, seen, asks=(Ask.age(day, years),), services=(day, day)), "age_at_least") is value


def test_attack_an_insurer_moves_the_day_of_an_age_until_it_has_the_birthday(hospital):
    """Of a day on which nothing was done that is told of, no age is told: the hospital's records say which days are."""
    put(hospital, "Patient", "p1", birthDate="2008-11-05")
    seen = visit(hospital, "e1", "2026-11-10T09:00:00Z", "2026-11-10T10:00:00Z", code="AMB")
    for day in ("2026-11-04", "2026-11-05", "2026-11-09", "2026-11-11"):
        said = tell(hospital, seen, asks=(Ask.age(day, 18),), services=(day, "2026-11-14"))
        assert value_of(said, "age_at_least") is None
    said = tell(hospital, seen, asks=(Ask.age("2026-11-10", 18),), services=("2026-11-10", "2026-11-14"))
    assert value_of(said, "age_at_least") is True


@pytest.mark.parametrize(
    ("start", "end", "days", "value"),
    [
        ("2026-11-10T23:00:00Z", "2026-11-13T01:00:00Z", 3, True),
        ("2026-11-10T09:00:00Z", "2026-11-14T08:00:00Z", 3, False),
        ("2026-11-10T09:00:00Z", None, 3, None),
    ],
)
def test_the_length_of_a_stay_is_told_by_days(hospital, start, end, days, value):
    encounter = visit(hospital, "e1", start, end)
    assert value_of(tell(hospital, encounter, asks=(Ask.stay(encounter, days),)), "stay_at_most") is value


def test_days_are_those_of_the_hospitals_clocks(hospital):
    encounter = visit(hospital, "e1", "2026-11-10T17:00:00Z", "2026-11-11T15:00:00Z")
    asks = (Ask.stay(encounter, 0),)
    assert value_of(tell(hospital, encounter, asks=asks), "stay_at_most") is False
    # In China both are the 11th.
    assert value_of(tell(hospital, encounter, asks=asks, zone=timezone(timedelta(hours=8))), "stay_at_most") is True


@pytest.mark.parametrize(
    ("system", "code", "category", "listed"),
    [
        (ICD_10, "E11.9", "E11", True),
        ("http://hl7.org/fhir/sid/icd-10-cm", "S72.001A", "S72", False),
        (ICD_10, "K80", "K80", False),
        (SNOMED, "44054006", None, None),
    ],
)
def test_of_a_diagnosis_its_category_is_told(hospital, system, code, category, listed):
    condition = put(hospital, "Condition", "c1", **ABOUT, **coded(system, code))
    said = tell(hospital, condition, asks=(Ask.code(condition, "E10-E14"),))
    assert value_of(said, "category", reference=condition) == category
    assert value_of(said, "code_in", reference=condition) is listed
    assert code == category or code.encode() not in canonical([one.to_json() for one in said.facts]) + said.openings[0]


def test_records_of_an_encounter_are_counted_by_type_but_for_those_that_are_kept_back(hospital):
    encounter = visit(hospital, "e1", "2026-11-10T09:00:00Z", "2026-11-14T10:00:00Z")
    final = {"status": "final", "code": {"text": "x"}, **ABOUT, **AT}
    for at in range(3):
        put(hospital, "Observation", f"o{at}", **final)
    put(hospital, "DiagnosticReport", "r1", **final)
    put(hospital, "Observation", "elsewhere", status="final", code={"text": "x"}, **ABOUT)
    said = tell(hospital, encounter, kept_back=("Observation/o1",))
    counted = {one.arguments["type"]: one.value for one in said.facts if one.name == "record_count"}
    assert counted == {"DiagnosticReport": 1, "Observation": 2}


def test_of_more_records_than_are_counted_it_is_not_said_how_many_there_are(hospital, monkeypatch):
    monkeypatch.setattr(claim_case, "MAX_COUNTED", 1)
    encounter = visit(hospital, "e1", "2026-11-10T09:00:00Z", "2026-11-14T10:00:00Z")
    visit(hospital, "e2", "2026-11-10T09:00:00Z", "2026-11-14T10:00:00Z")
    for at in range(2):
        put(hospital, "Procedure", f"p{at}", status="completed", **ABOUT, **AT, **coded(ICD_9_CM, "88.56"))
    said = tell(hospital, encounter)
    assert value_of(said, "record_count", encounter=encounter, type="Procedure") is None
    assert value_of(said, "surgery", encounter=encounter) is None
    assert value_of(said, "overlapping_stays") is None


@pytest.mark.parametrize(
    ("procedures", "value"),
    [
        ([], False),
        ([coded(ICD_9_CM, "51.23")], True),
        ([coded(ICD_9_CM, "88.56")], False),
        ([coded(ICD_9_CM, "44.13")], False),
        ([coded(ICD_9_CM, "88.56"), coded(ICD_9_CM, "81.54")], True),
        ([coded(ICD_9_CM, "88.56"), coded(SNOMED, "80146002")], None),
        ([coded(SNOMED, "80146002") | {"category": {"coding": [{"system": SNOMED, "code": "387713003"}]}}], True),
    ],
)
def test_whether_there_was_surgery_is_told_where_the_codes_say(hospital, procedures, value):
    encounter = visit(hospital, "e1", "2026-11-10T09:00:00Z", "2026-11-14T10:00:00Z")
    for at, one in enumerate(procedures):
        put(hospital, "Procedure", f"p{at}", status="completed", **ABOUT, **AT, **one)
    assert value_of(tell(hospital, encounter), "surgery", encounter=encounter) is value


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("00.66", False),
        ("36.07", True),
        ("45.23", False),
        ("73.59", None),
        ("94.39", False),
        ("45", None),
        ("K1", None),
    ],
)
def test_operations_are_the_chapters_of_operations_without_their_diagnostic_categories(code, value):
    assert is_surgery({"code": {"coding": [{"system": ICD_9_CM, "code": code}]}}) is value


def test_what_is_of_another_system_is_no_operation_by_its_number():
    assert is_surgery({"code": {"coding": [{"system": "urn:ours", "code": "51.23"}]}}) is None
    assert category_of({"code": {"coding": [{"system": "urn:ours", "code": "E11"}]}}) is None


def test_a_category_lies_in_a_list_by_its_ranges():
    assert [is_in(one, "E10-E14,I10") for one in ("E09", "E10", "E12", "E14", "E15", "I10", "I11")] == [
        False,
        True,
        True,
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("died", "value"),
    [
        ({}, True),
        ({"deceasedDateTime": "2026-11-14T01:00:00Z"}, True),
        ({"deceasedDateTime": "2026-11"}, True),
        ({"deceasedDateTime": "2026-11-13"}, True),
        ({"deceasedDateTime": "2026-11-12"}, False),
        ({"deceasedBoolean": False}, True),
    ],
)
def test_whether_the_patient_lived_is_told_by_the_day(hospital, died, value):
    put(hospital, "Patient", "p1", **died)
    encounter = visit(hospital, "e1", "2026-11-10T09:00:00Z", "2026-11-14T10:00:00Z")
    # Who is discharged on the 14th was a patient up to the 13th.
    assert value_of(tell(hospital, encounter), "alive_on", day="2026-11-13") is value


def test_what_is_done_on_the_day_of_a_discharge_is_a_service_of_that_day(hospital):
    put(hospital, "Patient", "p1", deceasedDateTime="2026-11-13T13:26:00Z")
    stay = visit(hospital, "e1", "2026-11-10T09:00:00Z", "2026-11-14T10:00:00Z")
    bill = put(hospital, "Invoice", "i1", status="issued", subject={"reference": "Patient/p1"}, date="2026-11-14")
    assert value_of(tell(hospital, stay, bill), "alive_on", day="2026-11-13") is True
    kind = {"status": "completed", "code": {"text": "x"}, "performedDateTime": "2026-11-14T08:00:00Z"}
    done = put(hospital, "Procedure", "r1", **ABOUT, **kind)
    assert value_of(tell(hospital, stay, done), "alive_on", day="2026-11-14") is False


def test_of_who_died_on_a_day_that_nobody_wrote_down_nothing_is_said(hospital):
    put(hospital, "Patient", "p1", deceasedBoolean=True)
    encounter = visit(hospital, "e1", "2026-11-10T09:00:00Z", "2026-11-14T10:00:00Z")
    assert "alive_on" not in names_of(tell(hospital, encounter))


def test_to_certify_a_death_after_it_is_no_service_to_the_dead(hospital):
    put(hospital, "Patient", "p1", deceasedDateTime="2026-11-12T03:00:00Z")
    kind = {"type": [{"coding": [{"system": SNOMED, "code": "308646001"}]}]}
    stay = visit(hospital, "e1", "2026-11-10T09:00:00Z", "2026-11-12T03:00:00Z")
    certified = visit(hospital, "e2", "2026-11-14T09:00:00Z", "2026-11-14T09:15:00Z", code="AMB", **kind)
    cause = put(hospital, "Condition", "c1", **ABOUT, encounter={"reference": certified})
    # Who dies in a stay is discharged after it: the day before is the last one that says something.
    assert value_of(tell(hospital, stay, certified, cause), "alive_on", day="2026-11-11") is True
    bill = put(hospital, "Invoice", "i1", status="issued", subject={"reference": "Patient/p1"}, date="2026-11-20")
    assert value_of(tell(hospital, stay, certified, bill), "alive_on", day="2026-11-11") is True
    assert "alive_on" not in names_of(tell(hospital, certified))
    late = visit(hospital, "e3", "2026-11-13T09:00:00Z", "2026-11-13T10:00:00Z", code="AMB")
    assert value_of(tell(hospital, stay, certified, late), "alive_on", day="2026-11-13") is False


def test_other_stays_that_overlap_by_more_than_a_day_are_counted(hospital):
    mine = visit(hospital, "e1", "2026-11-10T09:00:00Z", "2026-11-14T10:00:00Z")
    visit(hospital, "e2", "2026-11-12T09:00:00Z", "2026-11-20T10:00:00Z")
    visit(hospital, "e3", "2026-11-13T20:00:00Z", "2026-11-16T10:00:00Z")  # a transfer of fourteen hours
    visit(hospital, "e4", "2026-11-10T09:00:00Z", "2026-11-14T10:00:00Z", code="AMB")
    put(hospital, "Patient", "p2")
    visit(hospital, "e5", "2026-11-10T09:00:00Z", "2026-11-14T10:00:00Z", subject={"reference": "Patient/p2"})
    assert value_of(tell(hospital, mine), "overlapping_stays", start=DAYS[0], end=DAYS[1]) == 1
    assert value_of(tell(hospital, mine, kept_back=("Encounter/e2",)), "overlapping_stays") == 0


def test_without_an_encounter_the_days_of_the_services_are_what_is_overlapped(hospital):
    visit(hospital, "e2", "2026-11-11T09:00:00Z", "2026-11-13T10:00:00Z")
    condition = put(hospital, "Condition", "c1", **ABOUT)
    assert value_of(tell(hospital, condition), "overlapping_stays") == 1
    seen = visit(hospital, "e3", "2026-11-12T09:00:00Z", "2026-11-12T10:00:00Z", code="AMB")
    assert value_of(tell(hospital, condition, seen), "overlapping_stays") == 0


def test_attack_an_insurer_names_wide_days_to_hear_of_stays_and_emergencies_of_many_years(hospital):
    """The hospital does not see the claim: how far its services reach is the insurer's word."""
    visit(hospital, "e2", "2019-03-01T09:00:00Z", "2019-03-20T10:00:00Z")
    visit(hospital, "e3", "2026-11-01T09:00:00Z", "2026-11-13T10:00:00Z")
    report = put(
        hospital, "DiagnosticReport", "r1", status="final", **coded(ICD_10, "x"), **ABOUT, issued="2026-11-12T00:00:00Z"
    )
    said = tell(hospital, report, created=0, services=("1970-01-01", "2029-12-31"))
    assert value_of(said, "overlapping_stays", start="2026-08-12", end="2027-02-12") == 1
    began = int(datetime(2026, 8, 12, tzinfo=UTC).timestamp()) - 30 * 86_400
    assert value_of(said, "emergency_accesses", **{"from": began, "to": began}) == 0
    assert value_of(said, "alive_on", day="2027-02-12") is True


def test_the_days_of_a_visit_that_is_told_of_are_stated_whatever_days_the_insurer_names(hospital):
    """Else an insurer that names a day of its choice is told of that alone, and the stay's own days look clean."""
    other = visit(hospital, "e2", "2026-11-02T09:00:00Z", "2026-11-13T10:00:00Z")
    stay = visit(hospital, "e1", "2026-11-03T23:00:00-05:00", "2026-11-14T10:00:00+08:00")
    said = tell(hospital, stay, services=("2026-11-12", "2026-11-12"))
    assert value_of(said, "overlapping_stays", start="2026-11-03", end="2026-11-14") == 1
    began = int(datetime(2026, 11, 3, tzinfo=UTC).timestamp()) - 30 * 86_400
    assert value_of(said, "emergency_accesses", **{"from": began, "to": NOW}) == 0
    assert other == "Encounter/e2"


def test_a_visit_of_before_1970_is_of_its_own_day(hospital):
    """Versions name no event before 1970; the day of the visit that is told of is known all the same."""
    put(hospital, "Patient", "p1", deceasedDateTime="1961-05-23T22:57:06Z")
    visited = visit(hospital, "e1", "1938-09-30T22:15:52Z", "1938-09-30T22:30:52Z", code="AMB")
    said = tell(hospital, visited, services=("1938-09-30", "1938-09-30"))
    assert value_of(said, "alive_on", day="1938-09-30") is True
    assert value_of(said, "overlapping_stays", start="1938-09-30", end="1938-09-30") == 0


def test_attack_services_of_other_years_than_what_is_told_of_tell_nothing_of_those(hospital):
    visit(hospital, "e2", "2019-03-01T09:00:00Z", "2019-03-20T10:00:00Z")
    report = put(
        hospital, "DiagnosticReport", "r1", status="final", **coded(ICD_10, "x"), **ABOUT, issued="2026-11-12T00:00:00Z"
    )
    said = tell(hospital, report, services=("2019-03-01", "2019-03-20"))
    assert value_of(said, "overlapping_stays", start="2026-08-12", end="2026-08-12") == 0


def test_of_a_visit_that_may_not_be_counted_it_is_not_told_that_a_death_was_certified_at_it(hospital):
    kind = {"type": [{"coding": [{"system": SNOMED, "code": "308646001"}]}]}
    certified = visit(hospital, "e2", "2026-11-12T09:00:00Z", "2026-11-12T09:15:00Z", code="AMB", **kind)
    cause = put(hospital, "Condition", "c1", **ABOUT, encounter={"reference": certified}, recordedDate="2026-11-12")
    assert "alive_on" not in names_of(tell(hospital, cause))
    assert value_of(tell(hospital, cause, kept_back=(certified,)), "alive_on", day=DAYS[1]) is True


def test_how_long_somebody_is_insured_opens_no_other_years(hospital):
    visit(hospital, "e2", "2019-03-01T09:00:00Z", "2019-03-20T10:00:00Z")
    period = {"start": "2000-01-01", "end": "9999-12-31"}
    party = {"payor": [{"display": "x"}], "beneficiary": {"reference": "Patient/p1"}}
    policy = put(hospital, "Coverage", "v1", status="active", period=period, **party)
    said = tell(hospital, policy, services=("2019-03-01", "2029-12-31"))
    assert value_of(said, "overlapping_stays") == 0


@pytest.mark.parametrize("end", ["9999-12-31", "9999-12-31T23:59:59-12:00"])
def test_attack_a_time_at_the_end_of_the_calendar_stops_no_disclosure(hospital, end):
    """It would stop every request of the same entry as well."""
    started = put(hospital, "Procedure", "o1", status="completed", **ABOUT, performedDateTime=end)
    seen = visit(hospital, "e1", "2026-11-10T09:00:00Z", end)
    said = tell(hospital, started, seen, asks=(Ask.stay(seen, 5),))
    assert value_of(said, "stay_at_most") is False


def test_of_a_patient_who_is_no_record_here_other_stays_are_not_known(server):
    condition = put(server, "Condition", "c1", **ABOUT)
    said = tell(server, condition)
    assert value_of(said, "overlapping_stays") is None
    assert "alive_on" not in names_of(said)


def test_emergencies_here_and_those_of_people_from_here_are_counted(hospital):
    identifier = {"system": "urn:mrn", "value": "BH100148"}
    put(hospital, "Patient", "p1", identifier=[identifier])
    condition = put(hospital, "Condition", "c1", **ABOUT)
    assert value_of(tell(hospital, condition), "emergency_accesses") == 0
    desk = EmergencyDesk(NODE, hospital.store, hospital.service, lambda: NOW - 3600, token_bytes)
    desk.declare("p1", "Practitioner/d1", "found collapsed")
    said = tell(hospital, condition)
    # 2026-11-10T00:00:00Z and thirty days before it.
    window = {"from": 1_794_268_800 - 30 * 86400, "to": NOW}
    assert value_of(said, "emergency_accesses", **window) == 1
    assert value_of(said, "last_emergency_access", **window) == NOW - 3600
    other = EmergencyDesk(NODE, hospital.store, hospital.service, lambda: NOW - 60, token_bytes)
    other.declare_elsewhere("binhai-hospital", "urn:mrn|BH100148", "Practitioner/d1", "found collapsed")
    another = EmergencyDesk(NODE, hospital.store, hospital.service, lambda: NOW - 50, token_bytes)
    another.declare_elsewhere("binhai-hospital", "urn:mrn|BH999999", "Practitioner/d1", "found collapsed")
    said = tell(hospital, condition)
    assert value_of(said, "emergency_accesses") == 2
    assert value_of(said, "last_emergency_access") == NOW - 60


def test_attack_emergencies_of_others_do_not_hide_one_before_the_claim(hospital, monkeypatch):
    monkeypatch.setattr(claim_statements, "MOST_NOTED", 2)
    condition = put(hospital, "Condition", "c1", **ABOUT)
    desk = EmergencyDesk(NODE, hospital.store, hospital.service, lambda: NOW - 3600, token_bytes)
    desk.declare("p1", "Practitioner/d1", "found collapsed")
    assert value_of(tell(hospital, condition), "emergency_accesses") == 1
    for _ in range(2):
        desk.declare_elsewhere("binhai-hospital", "urn:mrn|BH999999", "Practitioner/d1", "found collapsed")
    said = tell(hospital, condition)
    assert value_of(said, "emergency_accesses") is None
    assert value_of(said, "last_emergency_access") is None


@pytest.mark.parametrize(
    ("person", "value"),
    [
        ({}, "unknown"),
        ({"active": True, "qualification": [{"code": {"text": "x"}}]}, "unknown"),
        ({"qualification": [{"code": {"text": "x"}, "period": {"start": "2010", "end": "2026-11-10"}}]}, "valid"),
        ({"qualification": [{"code": {"text": "x"}, "period": {"end": "2026-11-09"}}]}, "revoked"),
        ({"qualification": [{"code": {"text": "x"}, "period": {"start": "2026-11-11"}}]}, "revoked"),
        (
            {
                "qualification": [
                    {"code": {"text": "x"}, "period": {"end": "2020"}},
                    {"code": {"text": "y"}, "period": {"start": "2020"}},
                ]
            },
            "valid",
        ),
        # Written after that day: whether it was so before, nobody knows.
        ({"active": False}, "unknown"),
    ],
)
def test_whether_the_author_was_qualified_that_day_is_told_by_the_hospitals_own_record(hospital, person, value):
    put(hospital, "Practitioner", "d1", **person)
    who = {"recorder": {"reference": "Practitioner/d1"}, "recordedDate": "2026-11-10"}
    condition = put(hospital, "Condition", "c1", **ABOUT, **who)
    assert value_of(tell(hospital, condition), "credential", day="2026-11-10", reference=condition) == value


def test_who_was_not_active_any_more_when_something_was_written_is_told(hospital):
    put(hospital, "Practitioner", "d1", active=False)
    put(hospital, "PractitionerRole", "x1", practitioner={"reference": "Practitioner/d1"})
    who = {"recorder": {"reference": "PractitionerRole/x1"}, "recordedDate": "2026-12-01"}
    condition = put(hospital, "Condition", "c1", **ABOUT, **who)
    assert value_of(tell(hospital, condition), "credential", day="2026-12-01") == "revoked"
    put(hospital, "PractitionerRole", "x1", practitioner={"reference": "Practitioner/none"})
    assert value_of(tell(hospital, condition), "credential", day="2026-12-01") == "unknown"


def test_statements_are_sorted_and_of_what_is_not_told_of_none_is_made(hospital):
    encounter = visit(hospital, "e1", "2026-11-10T09:00:00Z", "2026-11-14T10:00:00Z")
    said = tell(hospital, encounter)
    orders = [one.order for one in said.facts]
    assert orders == sorted(set(orders))
    assert [one.role for one in said.rows] == [As.ENCOUNTER]


# Fields


def test_no_field_that_the_table_does_not_name_is_opened_however_it_is_called():
    condition, invoice = pattern_of("Condition"), pattern_of("Invoice")
    for name in ("/code/text", "/code/coding/0/code", "/note/0/text", "/recordedDate/x", "/x/recordedDate", "/subject"):
        assert not condition.fullmatch(name)
    for name in ("/lineItem/0/chargeItemCodeableConcept/text", "/recipient/display", "/lineItem/x/sequence"):
        assert not invoice.fullmatch(name)
    assert condition.fullmatch("/clinicalStatus/coding/0/code")
    assert invoice.fullmatch("/lineItem/12/priceComponent/0/amount/value")


def test_a_check_code_and_numbers_of_others_are_not_opened():
    forms = "https://medchain.example/fhir/id/"
    identifier = [{"system": f"{forms}e-invoice-check", "value": "k4x9qz"}, 7, {"system": "urn:ours", "value": "1"}]
    identifier.append({"system": f"{forms}e-invoice-number", "value": "2798577178"})
    assert opened_numbers({"identifier": identifier}) == {"/identifier/3/system", "/identifier/3/value"}
    issuer = {"identifier": {"system": f"{forms}invoicing-party", "value": "99010002"}}
    assert opened_numbers({"issuer": issuer}) == {"/issuer/identifier/system", "/issuer/identifier/value"}


def test_of_what_kind_an_encounter_was_is_opened_where_a_death_was_certified_and_nowhere_else():
    other = {"coding": [{"code": "185349003"}, 7]}
    kinds = [other, 7, {"coding": [{"code": "1"}, {"system": SNOMED, "code": "308646001"}], "text": "x"}, {}]
    assert opened_kind({"resourceType": "Encounter", "type": kinds}) == {"/type/2/coding/1/code"}
    assert opened_kind({"resourceType": "Encounter", "type": [other]}) == set()
    assert opened_kind({"resourceType": "Encounter", "type": {"coding": 7}}) == set()
    assert opened_kind({"resourceType": "DocumentReference", "type": kinds}) == set()


def test_nothing_about_a_patient_of_the_sample_data_is_in_what_is_told_of_them(server):
    named = dict(sample_data.load())
    posted = {}
    for name in ("binhai-hospital.0-directory.json.gz", "binhai-hospital.p002.json.gz"):
        bundle = next(bundle for at, bundle in named.items() if str(at).endswith(name))
        answer = server.call("POST", "/fhir", sample_data.dump(bundle))
        assert answer.status_code == 200, answer.get_data(as_text=True)[:400]
        posted = bundle
    told = {"Condition", "DiagnosticReport", "Encounter", "Invoice", "MedicationRequest", "Observation", "Procedure"}
    rows = [row for one in sorted(told) for row in server.store.newest_records(one)]
    patient = server.store.newest_records("Patient")[0]
    references = [f"{row.type}/{row.id}" for row in rows]
    case = ClaimCase(
        citation=citation_of(references, NOW, DAYS, b"\x66" * 32),
        patient=patient.patient,
        records=[CitedRecord(ref, row, (), (row,)) for ref, row in sorted(zip(references, rows, strict=True))],
        time=NOW,
        counts=lambda _row: True,
    )
    said = FhirClaimFacts(NodeRecords(server.core.search, server.store, server.service)).tell(case)
    assert len(said.rows) == len(rows) > 50
    text = canonical([[one.to_json() for one in said.rows], [one.to_json() for one in said.facts]]).decode()
    text += b"".join(one for one in said.openings if one is not None).decode()
    # A doctor may have the given name of a patient.
    told_on_purpose = open_to_claims(posted)
    needles = {one for one in sample_data.needles(posted) if not any(one in shown for shown in told_on_purpose)}
    assert len(needles) > 100
    assert [one for one in needles if one in text] == []
    codes = {"E11.4", "A10BA02"}
    assert [one for one in codes if f'"{one}"' in text] == []


def open_to_claims(bundle: dict[str, Any]) -> set[str]:
    """List what is told on purpose: staff by their names, and the numbers of invoices."""
    resources = [entry["resource"] for entry in bundle["entry"]]
    numbers = {one["value"] for row in resources if row["resourceType"] == "Invoice" for one in row["identifier"][:2]}
    shown: set[str] = set()

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if str(value.get("reference", "")).startswith(("Practitioner?", "Organization?")) and "display" in value:
                shown.add(value["display"])
            for one in value.values():
                walk(one)
        elif isinstance(value, list):
            for one in value:
                walk(one)

    walk(resources)
    return shown | numbers
