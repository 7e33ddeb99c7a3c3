"""Consents of the ledger about this organisation are kept back like any other (`docs/spec/consent.md` C10)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Event, Thread

import orjson
import pytest

from consent.decision import Permit, passes
from consent.directive import SUBJECT
from consent.facts import facts_of
from consent.hiding import Hidden, hiding_of
from fhir_bridge import consent_records
from fhir_bridge.consent_records import ConsentRecords
from fhir_bridge.enforcement import Enforcement
from fhir_bridge.smart.access import Access
from medchain.errors import UnavailableError
from medchain.ledger.kinds.consent import Consent
from medchain.ledger.kinds.content import Period
from tests.unit.fhir_bridge.conftest import NODE, NOW
from tests.unit.fhir_bridge.consent_oracle import consent, deny

KEY = bytes(range(32))
OBSERVATION = {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "x"}}
SINCE = Period(NOW - 1, None)
PATH = f"/fhir/Consent/{KEY.hex()}"


@dataclass(frozen=True)
class Told:
    key: bytes
    patient: str
    content: Consent
    version: int = 1
    is_inside: bool = True
    is_in_force: bool = True


@pytest.fixture
def ward(server):
    server.call("PUT", "/fhir/Patient/p1", {"resourceType": "Patient", "id": "p1"})
    return server


def told(server, fhir: dict, **more: object) -> Told:
    return Told(KEY, server.service.patient_token("p1"), terms(fhir), **more)


def terms(fhir: dict, **changes: object) -> Consent:
    """What a consent of the ledger about the ward's own organisation says."""
    values = {
        "subject": b"s" * 32,
        "acting_for": None,
        "custodians": (NODE,),
        "recipient": NODE,
        "purpose": "TREAT",
        "resource_types": ("*",),
        "period": SINCE,
        "data_period": None,
        "fhir": fhir,
        "operation": "create",
        "nonce": bytes(16),
        "stop": bytes(32),
        "signed_at": NOW,
    }
    return Consent(**(values | changes))


def job(server, held: list) -> ConsentRecords:
    return ConsentRecords(lambda: held, server.store, server.service, server.core.clock)


def test_what_the_ledger_has_is_a_consent_record_and_denies_at_once_until_it_ends(ward):
    held = [told(ward, deny() | {"patient": {"reference": "Patient/subject"}})]
    keeper = job(ward, held)
    assert (keeper.round(), keeper.round()) == (1, 0)
    assert ward.call("GET", "/fhir/Patient/p1").status_code == 404
    kept = orjson.loads(ward.call("GET", PATH).data)
    assert (kept["status"], kept["patient"], kept["meta"]["versionId"]) == ("active", {"reference": "Patient/p1"}, "1")
    assert kept["provision"] == {"type": "deny", "period": {"start": "2026-11-30T23:59:59+00:00"}}
    held[0] = replace(held[0], is_in_force=False)
    assert keeper.round() == 1
    assert ward.call("GET", "/fhir/Patient/p1").status_code == 200
    assert orjson.loads(ward.call("GET", PATH).data)["status"] == "inactive"


def test_a_hiding_takes_nothing_from_the_custodians_own_people_and_all_from_other_hospitals_in_an_emergency(ward):
    ward.call("PUT", "/fhir/Observation/o1", {**OBSERVATION, "subject": {"reference": "Patient/p1"}})
    enforcement = Enforcement(NODE, ward.core.search, ward.store, ward.service, ward.core.clock)
    patient = ward.service.patient_token("p1")
    assert isinstance(enforcement.in_emergency("tongji-hospital", patient, set()), Permit)
    assert job(ward, [told(ward, hiding_of(Hidden.of_record("Observation/o1"), NODE))]).round() == 1
    for access in (Access("ehr", ()), Access("ehr", (), user="Practitioner/d1", role="clinician")):
        assert enforcement.sight(access) is None
    decision = enforcement.in_emergency("tongji-hospital", patient, set())
    rows = [OBSERVATION, OBSERVATION | {"id": "o2"}]
    assert [passes(decision, facts_of(orjson.dumps(row), SUBJECT, None)) for row in rows] == [False, True]


def test_what_is_hidden_beside_other_consents_is_kept_back_in_an_emergency_before_it_is_a_record(ward):
    enforcement = Enforcement(NODE, ward.core.search, ward.store, ward.service, ward.core.clock)
    patient = ward.service.patient_token("p1")
    ward.call("PUT", "/fhir/Consent/c1", deny(code=[{"coding": [{"system": "urn:s", "code": "c"}]}]) | {"id": "c1"})
    hidden = {Hidden.of_record("Observation/o1"), Hidden.of_types(["Claim"])}
    decision = enforcement.in_emergency("tongji-hospital", patient, hidden)
    rows = [
        OBSERVATION,
        OBSERVATION | {"id": "o2"},
        {"resourceType": "Claim", "id": "x"},
        OBSERVATION | {"id": "o3", "code": {"coding": [{"system": "urn:s", "code": "c"}]}},
    ]
    told = [facts_of(orjson.dumps(row), SUBJECT, None) for row in rows]
    assert [passes(decision, one) for one in told] == [False, True, False, False]


def test_a_start_anew_stores_nothing_twice(ward):
    held = [told(ward, deny())]
    assert (job(ward, held).round(), job(ward, held).round()) == (1, 0)


def test_what_ended_before_it_was_here_leaves_nothing(ward):
    assert job(ward, [told(ward, deny(), is_in_force=False)]).round() == 0
    assert ward.call("GET", PATH).status_code == 404


def test_a_permission_for_others_takes_nothing_from_this_organisation(ward):
    job(ward, [told(ward, consent({"type": "permit"}))]).round()
    assert ward.call("GET", "/fhir/Patient/p1").status_code == 200


def test_one_without_rules_is_found_and_says_nothing_of_this_organisations_own(ward):
    content = terms({"resourceType": "Consent", "status": "active"}, resource_types=("Observation",))
    assert job(ward, [replace(told(ward, {}), content=content)]).round() == 1
    assert ward.call("GET", "/fhir/Patient/p1").status_code == 200
    assert ward.call("GET", PATH).status_code == 200


def test_a_later_version_that_says_something_else_is_one_of_the_record(ward):
    held = [told(ward, consent({"type": "permit"}))]
    keeper = job(ward, held)
    assert keeper.round() == 1
    held[0] = replace(held[0], content=terms(deny()), version=2)
    assert keeper.round() == 1
    assert ward.call("GET", "/fhir/Patient/p1").status_code == 404


def test_what_may_deny_waits_for_no_others(ward, monkeypatch):
    monkeypatch.setattr(consent_records, "MANY", 1)
    others = [replace(release(ward), key=bytes([number]) * 32) for number in range(2)]
    keeper = job(ward, [*others, told(ward, deny())])
    assert keeper.round() == 1
    assert ward.call("GET", "/fhir/Patient/p1").status_code == 404
    assert (keeper.round(), keeper.round(), keeper.round()) == (1, 1, 0)


# Of releases


def release(server, fhir: dict | None = None, **changes: object) -> Told:
    """A consent by which this organisation may release to another one."""
    given = {"resourceType": "Consent", "status": "active"} if fhir is None else fhir
    content = terms(given, **({"recipient": "anxin"} | changes))
    return Told(KEY, server.service.patient_token("p1"), content, is_inside=False)


def found(ward, query: str) -> list[str]:
    answer = ward.call("GET", f"/fhir/Consent?{query}")
    assert answer.status_code == 200, answer.data
    return [one["resource"]["id"] for one in orjson.loads(answer.data).get("entry", [])]


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ("patient=Patient/p1", True),
        ("patient=p1&status=active", True),
        ("patient=p1&status=inactive", False),
        ("actor=Organization/anxin", True),
        ("actor=Organization/other", False),
        ("purpose=TREAT", True),
        ("purpose=HPAYMT", False),
        ("category=http://loinc.org|59284-0", True),
        ("category=57016-8", False),
        (f"_id={KEY.hex()}", True),
        (f"identifier=urn:medchain:consent|{KEY.hex()}", True),
        ("period=ge2026-12-01", True),
        ("period=lt2020-01-01", False),
        (f"organization=Organization/{NODE}", True),
        ("scope=patient-privacy", True),
    ],
)
def test_a_consent_of_releases_is_found_by_what_it_says(ward, query, is_found):
    job(ward, [release(ward)]).round()
    assert (KEY.hex() in found(ward, query)) is is_found


def test_of_who_is_not_known_here_it_names_the_subject_until_that_is_linked_to_a_patient(ward):
    of_nobody = replace(release(ward), patient="")
    held = [of_nobody]
    kept = job(ward, held)
    assert kept.round() == 1
    subject = f"patient:identifier=urn:medchain:subject|{(b's' * 32).hex()}"
    assert found(ward, subject) == [KEY.hex()]
    assert found(ward, f"{subject}&actor=Organization/anxin&status=active") == [KEY.hex()]
    assert found(ward, f"patient:identifier=urn:medchain:subject|{(b't' * 32).hex()}") == []
    assert found(ward, "patient=Patient/p1") == []
    shown = orjson.loads(ward.call("GET", PATH).data)
    assert shown["patient"] == {
        "type": "Patient",
        "identifier": {"system": "urn:medchain:subject", "value": (b"s" * 32).hex()},
    }
    assert "performer" not in shown
    held[0] = release(ward)
    assert (kept.round(), kept.round()) == (1, 0)
    assert found(ward, "patient=Patient/p1") == [KEY.hex()]
    assert found(ward, subject) == []
    held[0] = replace(release(ward), is_in_force=False)
    assert kept.round() == 1
    assert found(ward, "patient=Patient/p1&status=inactive") == [KEY.hex()]


def test_attack_a_consent_of_nobody_here_takes_nothing_from_this_organisation(ward):
    ward.call("PUT", "/fhir/Observation/o1", {**OBSERVATION, "subject": {"reference": "Patient/p1"}})
    held = [replace(release(ward, deny()), patient="")]
    assert job(ward, held).round() == 1
    assert ward.call("GET", "/fhir/Observation/o1").status_code == 200


def test_one_that_ended_is_inactive_and_found_as_such(ward):
    held = [release(ward)]
    keeper = job(ward, held)
    keeper.round()
    held[0] = replace(held[0], is_in_force=False)
    assert keeper.round() == 1
    assert found(ward, "patient=p1&status=active") == []
    assert found(ward, "patient=p1&status=inactive") == [KEY.hex()]


@pytest.mark.parametrize(
    "fhir",
    [
        deny(),
        consent({"type": "permit", "class": ["Observation"]}),
        {"resourceType": "Consent", "status": 7, "provision": []},
        {**deny(), "provision": {"type": "permit", "class": 7}},
    ],
)
def test_what_it_says_of_a_release_takes_nothing_from_this_organisation(ward, fhir):
    job(ward, [release(ward, fhir)]).round()
    assert ward.call("GET", "/fhir/Patient/p1").status_code == 200
    # Nor does it take part in any decision here.
    assert ward.core.enforcement.receipt(Access("ehr", ())) == b""
    assert found(ward, "patient=p1") == [KEY.hex()]


def test_a_clients_own_consent_denies_whatever_it_is_tagged_with(ward):
    given = deny() | {"id": "own", "meta": {"tag": [{"system": "urn:medchain:consent", "code": "releases"}]}}
    assert ward.call("PUT", "/fhir/Consent/own", given | {"patient": {"reference": "Patient/p1"}}).status_code == 201
    assert ward.call("GET", "/fhir/Patient/p1").status_code == 404


def test_what_is_no_consent_denies_all(ward):
    job(ward, [told(ward, {"resourceType": "Consent", "status": 7, "provision": []})]).round()
    assert ward.call("GET", "/fhir/Patient/p1").status_code == 404


def test_its_own_period_stands(ward):
    job(ward, [told(ward, deny(period={"end": "2026-11-01"}))]).round()
    assert ward.call("GET", "/fhir/Patient/p1").status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_no_client_writes_a_consent_of_the_ledger(ward, method):
    job(ward, [told(ward, deny())]).round()
    body = deny() | {"id": KEY.hex(), "status": "inactive"} if method == "PUT" else None
    refused = ward.call(method, PATH, body)
    assert refused.status_code == 403, refused.data
    assert b"consent.kept" in refused.data
    assert ward.call("GET", "/fhir/Patient/p1").status_code == 404


def test_no_client_writes_one_in_a_transaction_or_by_a_condition_or_before_it_is_there(ward):
    given = consent({"type": "permit"}) | {"id": KEY.hex()}
    row = {"resource": given, "request": {"method": "PUT", "url": f"Consent/{KEY.hex()}"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [row]}
    assert ward.call("POST", "/fhir", bundle).status_code == 403
    assert ward.call("PUT", "/fhir/Consent?identifier=urn:x|none", given).status_code == 403
    job(ward, [told(ward, deny())]).round()
    assert ward.call("DELETE", "/fhir/Consent?status=active").status_code == 403


def test_where_the_records_cannot_be_written_it_is_tried_again(ward, monkeypatch):
    held, end = [told(ward, deny())], Event()
    keeper, stored, calls = job(ward, held), ward.service.create_many, []

    def full(records):
        calls.append(records)
        if len(calls) == 1:
            raise UnavailableError("store.full")
        end.set()
        return stored(records)

    monkeypatch.setattr(type(ward.service), "create_many", lambda _self, records: full(records))
    thread = Thread(target=keeper.run, args=(end,))
    thread.start()
    thread.join(60)
    assert len(calls) == 2
    assert ward.call("GET", "/fhir/Patient/p1").status_code == 404
