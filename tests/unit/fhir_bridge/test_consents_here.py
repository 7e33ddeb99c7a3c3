"""Consents at the custodian: when they count, what may go wrong with them, what the audit keeps (C2 to C8).

What comes out on every way of the server is `test_enforcement`; here is what changes it.
"""

from __future__ import annotations

import json
from unittest.mock import patch

import orjson
import pytest

from fhir_bridge import enforcement
from fhir_bridge.search.tree import Sighted
from fhir_bridge.smart.access import Access, access_document, parse_access
from fhir_bridge.smart.clients import Client, client_document
from fhir_bridge.smart.scopes import parse_scopes
from medchain.errors import VerificationError
from medchain.node.looks import unpack_looks
from medchain.node.records import NewRecord
from medchain.store.consents import ConsentRows
from tests.unit.fhir_bridge.conftest import NOW
from tests.unit.fhir_bridge.consent_oracle import ACT_REASON, actor, consent, deny, label

DAY = 86_400
UNNAMED = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}


def patient(name: str = "p1") -> dict:
    return {"resourceType": "Patient", "id": name}


def observation(name: str, of: str = "p1", **more: object) -> dict:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{of}"},
        **more,
    }


@pytest.fixture
def ward(server):
    """A patient with an observation."""
    server.call("PUT", "/fhir/Patient/p1", patient())
    server.call("PUT", "/fhir/Observation/o1", observation("o1"))
    return server


def give(server, given: dict, name: str = "c1"):
    made = server.call("PUT", f"/fhir/Consent/{name}", given | {"id": name})
    assert made.status_code in (200, 201), made.data


def status(server, path: str = "/fhir/Observation/o1", **headers: str) -> int:
    return server.call("GET", path, **headers).status_code


def test_a_denial_counts_for_the_next_request_and_ends_with_the_consent(ward):
    assert status(ward) == 200
    give(ward, deny())
    assert status(ward) == 404
    ward.core.service.delete("Consent", "c1")
    assert status(ward) == 200


def test_a_denial_that_another_process_stored_counts(ward):
    assert status(ward) == 200
    content = json.dumps(deny() | {"id": "c9"}).encode()
    ward.service.create(NewRecord("Consent", "c9", content, "p1"))
    assert status(ward) == 404


def test_a_consent_that_becomes_inactive_counts_no_more(ward):
    give(ward, deny())
    assert status(ward) == 404
    give(ward, deny() | {"status": "inactive"})
    assert status(ward) == 200


def test_a_consent_that_becomes_another_patients_is_that_patients(ward):
    ward.call("PUT", "/fhir/Patient/p2", patient("p2"))
    ward.call("PUT", "/fhir/Observation/o2", observation("o2", "p2"))
    give(ward, deny())
    give(ward, deny() | {"patient": {"reference": "Patient/p2"}})
    assert (status(ward), status(ward, "/fhir/Observation/o2")) == (200, 404)


def test_a_denial_begins_and_ends_with_its_period(ward):
    give(ward, deny(period={"start": "2026-12-03", "end": "2026-12-04"}))
    seen = []
    for day in range(6):
        ward.time[0] = NOW + day * DAY
        seen.append(status(ward))
    # NOW is 2026-12-01.
    assert seen == [200, 200, 404, 404, 200, 200]


def test_a_record_that_comes_after_the_consent_is_looked_at(ward):
    give(ward, deny(securityLabel=label("HIV")))
    assert status(ward) == 200
    ward.call("PUT", "/fhir/Observation/o2", observation("o2", meta={"security": label("HIV")}))
    ward.call("PUT", "/fhir/Observation/o3", observation("o3"))
    assert [status(ward, f"/fhir/Observation/{one}") for one in ("o1", "o2", "o3")] == [200, 404, 200]
    found = orjson.loads(ward.call("GET", "/fhir/Observation?_total=accurate").data)
    assert found["total"] == 2


def test_a_record_that_gets_a_denied_label_is_hidden_with_all_its_versions(ward):
    give(ward, deny(securityLabel=label("HIV")))
    ward.call("PUT", "/fhir/Observation/o1", observation("o1", meta={"security": label("HIV")}))
    assert [status(ward, f"/fhir/Observation/o1{one}") for one in ("", "/_history/1", "/_history/2")] == [404] * 3


VISIT = {
    "resourceType": "Encounter",
    "id": "e1",
    "status": "finished",
    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
    "subject": {"reference": "Patient/p1"},
    "identifier": [{"system": "urn:visits", "value": "V-1"}],
}
BY_NUMBER = {"encounter": {"identifier": {"system": "urn:visits", "value": "V-1"}}}
OF_VISIT = [{"meaning": "dependents", "reference": {"reference": "Encounter/e1"}}]


def test_a_record_that_names_a_denied_visit_by_its_number_alone_is_kept_back_once_the_visit_is_here(ward):
    """The visit may come later, get the number later, and lose it again."""
    ward.call("PUT", "/fhir/Observation/o2", observation("o2", **BY_NUMBER))
    give(ward, deny(data=OF_VISIT))
    assert status(ward, "/fhir/Observation/o2") == 200
    for version, (more, seen) in enumerate((({}, 404), ({"identifier": [{"value": "V-2"}]}, 200), ({}, 404)), 1):
        ward.service.create(NewRecord("Encounter", "e1", json.dumps(VISIT | more).encode(), "p1", version))
        assert status(ward, "/fhir/Observation/o2") == seen
    assert status(ward) == 200


def test_of_a_number_that_two_visits_have_a_denial_of_one_holds_and_a_permit_of_one_does_not(ward):
    for name in ("e1", "e2"):
        assert ward.call("PUT", f"/fhir/Encounter/{name}", {**VISIT, "id": name}).status_code == 201
    ward.call("PUT", "/fhir/Observation/o2", observation("o2", **BY_NUMBER))
    give(ward, deny(data=OF_VISIT))
    assert status(ward, "/fhir/Observation/o2") == 404
    give(ward, consent({"type": "permit", "data": OF_VISIT}))
    assert [status(ward, f"/fhir/{one}") for one in ("Encounter/e1", "Observation/o2")] == [200, 404]
    ward.core.service.delete("Encounter", "e2")
    assert status(ward, "/fhir/Observation/o2") == 200


@pytest.mark.parametrize(
    "written",
    [
        {"type": "http://hl7.org/fhir/StructureDefinition/Encounter"},
        {"reference": "https://other.example/fhir/Encounter/9"},
        {"reference": "urn:uuid:0e7f9e6c-1a3b-4c55-9a3c-0a1f6d4b7c11"},
    ],
)
def test_attack_a_record_names_a_denied_visit_by_its_number_beside_what_names_it_otherwise(ward, written):
    assert ward.call("PUT", "/fhir/Encounter/e1", VISIT).status_code == 201
    named = {"encounter": {**BY_NUMBER["encounter"], **written}}
    ward.service.create(NewRecord("Observation", "o2", json.dumps(observation("o2", **named)).encode(), "p1"))
    give(ward, deny(data=OF_VISIT))
    assert status(ward, "/fhir/Observation/o2") == 404
    assert status(ward) == 200


def inside(resource: dict, **more: object) -> dict:
    """Members of an Observation that contains a resource, and refers to it."""
    return {"contained": [{"id": "c", **resource}], "focus": [{"reference": f"#{resource.get('id', 'c')}"}], **more}


NUMBERED = {"identifier": VISIT["identifier"]}
AT_VISIT = {"reference": "Encounter/e1"}
HINT = [{"url": "urn:hint", "valueReference": AT_VISIT}]
BARE = {name: VISIT[name] for name in ("resourceType", "status", "class")}
NAMING = {
    "contained visit of that number": inside(BARE | NUMBERED, encounter={"reference": "#c"}, focus=[]),
    "contained visit of that number, system unknown": inside(BARE | {"identifier": [{"value": "v-1"}]}),
    "contained visit of that id": inside(BARE | {"id": "e1"}),
    "contained part of that visit": inside(BARE | {"partOf": AT_VISIT}),
    "contained diagnosis of that visit": inside({"resourceType": "Condition", "encounter": AT_VISIT}),
    "contained diagnosis of that number": inside({"resourceType": "Condition", **BY_NUMBER}),
    "contained parameters": inside(
        {
            "resourceType": "Parameters",
            "parameter": [{"name": "at", "part": [{"name": "x", "valueReference": AT_VISIT}]}],
        }
    ),
    "visit in contained parameters": inside(
        {"resourceType": "Parameters", "parameter": [{"name": "at", "resource": BARE | NUMBERED}]}
    ),
    "contained document": inside({"resourceType": "Composition", "section": [{"section": [{"entry": [AT_VISIT]}]}]}),
    "contained bundle": inside(
        {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": BARE | {"id": "e1"}}]}
    ),
    "extension": {"extension": HINT},
    "extension of a primitive": {"_status": {"extension": HINT}},
    "extension of the narrative": {"text": {"status": "empty", "extension": HINT}},
    "extension of meta": {"meta": {"extension": HINT}},
    "extension with the number": {"extension": [{"url": "urn:hint", "valueReference": BY_NUMBER["encounter"]}]},
    "address": {"extension": [{"url": "urn:hint", "valueUrl": "https://renhe.example/fhir/Encounter/e1"}]},
    "fragment": {"encounter": {"reference": "Encounter/e1#c"}},
    "percent-encoded": {"encounter": {"reference": "Encounter/e%31"}},
}


@pytest.mark.parametrize("members", NAMING.values(), ids=NAMING)
def test_attack_a_record_names_a_denied_visit_by_what_it_contains(ward, members):
    assert ward.call("PUT", "/fhir/Encounter/e1", VISIT).status_code == 201
    content = json.dumps({**observation("o2"), **members}).encode()
    ward.service.create(NewRecord("Observation", "o2", content, "p1"))
    assert status(ward, "/fhir/Observation/o2") == 200
    give(ward, deny(data=OF_VISIT))
    assert [status(ward, f"/fhir/Observation/{one}") for one in ("o1", "o2")] == [200, 404]
    found = orjson.loads(ward.call("GET", "/fhir/Observation?_total=accurate").data)
    assert found["total"] == 1


def test_what_a_record_contains_is_of_a_visit_once_that_has_the_number(ward):
    content = json.dumps({**observation("o2"), **NAMING["contained visit of that number"]}).encode()
    ward.service.create(NewRecord("Observation", "o2", content, "p1"))
    give(ward, deny(data=OF_VISIT))
    assert status(ward, "/fhir/Observation/o2") == 200
    assert ward.call("PUT", "/fhir/Encounter/e1", VISIT).status_code == 201
    assert status(ward, "/fhir/Observation/o2") == 404


def test_a_permit_of_a_visit_holds_for_no_record_that_only_contains_one_of_its_number(ward):
    """It says that it is that visit; whether it is nobody knows."""
    assert ward.call("PUT", "/fhir/Encounter/e1", VISIT).status_code == 201
    for name, members in (("o2", NAMING["contained visit of that number"]), ("o3", {"encounter": AT_VISIT})):
        content = json.dumps({**observation(name), **members}).encode()
        ward.service.create(NewRecord("Observation", name, content, "p1"))
    give(ward, consent({"type": "permit", "data": OF_VISIT}))
    assert [status(ward, f"/fhir/Observation/{one}") for one in ("o2", "o3")] == [404, 200]


def test_a_document_is_named_by_its_master_identifier_too(ward):
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": "Patient/p1"},
        "masterIdentifier": {"system": "urn:documents", "value": "D-1"},
        "content": [{"attachment": {"title": "x"}}],
    }
    assert ward.call("PUT", "/fhir/DocumentReference/d1", document | {"id": "d1"}).status_code == 201
    named = {"derivedFrom": [{"identifier": document["masterIdentifier"]}]}
    assert ward.call("PUT", "/fhir/Observation/o2", observation("o2", **named)).status_code == 201
    give(ward, deny(data=[{"meaning": "dependents", "reference": {"reference": "DocumentReference/d1"}}]))
    assert [status(ward, f"/fhir/Observation/{one}") for one in ("o1", "o2")] == [200, 404]


def test_attack_a_binary_names_a_denied_visit_by_its_number_beside_the_patient(ward):
    assert ward.call("PUT", "/fhir/Encounter/e1", VISIT).status_code == 201
    context = {"reference": "Patient/p1", **BY_NUMBER["encounter"]}
    shell = json.dumps({"resourceType": "Binary", "id": "b1", "securityContext": context}).encode()
    ward.service.create(NewRecord("Binary", "b1", b"scan", "p1", content_type="image/png", head=shell))
    assert status(ward, "/fhir/Binary/b1") == 200
    give(ward, deny(data=OF_VISIT))
    assert status(ward, "/fhir/Binary/b1") == 404


def test_another_patients_visit_with_the_same_number_says_nothing(ward):
    ward.call("PUT", "/fhir/Patient/p2", patient("p2"))
    assert (
        ward.call(
            "PUT", "/fhir/Encounter/e2", {**VISIT, "id": "e2", "subject": {"reference": "Patient/p2"}}
        ).status_code
        == 201
    )
    ward.call("PUT", "/fhir/Observation/o2", observation("o2", **BY_NUMBER))
    give(ward, deny(data=[{"meaning": "dependents", "reference": {"reference": "Encounter/e2"}}]))
    assert status(ward, "/fhir/Observation/o2") == 200


def test_a_search_under_way_shows_nothing_that_was_not_looked_at(ward):
    """Attack: a record that is stored between what is known of the patient and the search itself."""
    give(ward, deny(securityLabel=label("HIV")))
    access = Access("test", parse_scopes("system/*.cruds"))
    within = ward.core.gate.within(access)
    assert isinstance(within[-1], Sighted)
    ward.call("PUT", "/fhir/Observation/o2", observation("o2", meta={"security": label("HIV")}))
    ward.call("PUT", "/fhir/Patient/p2", patient("p2"))
    ward.call("PUT", "/fhir/Observation/o3", observation("o3", "p2"))
    found = ward.core.search.ids("Observation", "status=final", 10, within=within)
    assert sorted(found) == ["o1", "o3"]


def test_writes_that_ask_nothing_are_followed_now_and_then(ward, monkeypatch):
    """Each would look at what came before it; without any look, who asks after thousands of them would wait."""
    looks = []
    monkeypatch.setattr(enforcement, "KEEP_UP", 3)
    monkeypatch.setattr(ConsentRows, "after", lambda _rows, number: looks.append(number) or [])
    for _ in range(6):
        assert ward.call("POST", "/fhir/Observation", UNNAMED).status_code == 201
    assert len(looks) == 2


def test_a_condition_of_a_write_is_asked_with_what_consents_keep_back(ward):
    """What is kept back from who writes is not there for his conditions, so that they tell nothing of it."""
    give(ward, deny())
    made = ward.call("POST", "/fhir/Observation", UNNAMED, If_None_Exist="_id=o1")
    assert made.status_code == 201


def test_a_consent_that_is_damaged_denies_all_of_its_patient(ward):
    give(ward, consent({"type": "permit"}))
    with patch.object(type(ward.service), "open", side_effect=VerificationError("envelope.authentication")):
        assert status(ward) == 404


def test_a_record_that_cannot_be_read_is_kept_back_where_a_consent_needs_to_know_it(ward):
    give(ward, deny(securityLabel=label("HIV")))
    plain = type(ward.service).open

    def damaged(service, stored):
        if stored.type == "Observation":
            raise VerificationError("envelope.authentication")
        return plain(service, stored)

    with patch.object(type(ward.service), "open", damaged):
        assert (status(ward), status(ward, "/fhir/Patient/p1")) == (404, 200)


def test_a_consent_of_nobody_here_denies_nobody(ward):
    give(ward, deny() | {"patient": {"reference": "https://elsewhere.example/Patient/p1"}})
    assert status(ward) == 200


def test_a_consent_that_denies_all_does_not_hide_itself_from_who_is_to_end_it(ward):
    give(ward, deny())
    assert status(ward, "/fhir/Consent/c1") == 200
    assert orjson.loads(ward.call("GET", "/fhir/Consent?patient=Patient/p1&_total=accurate").data)["total"] == 1
    assert ward.call("DELETE", "/fhir/Consent/c1").status_code == 204
    assert status(ward) == 200


def test_who_joins_a_care_team_is_seen_to_have(ward):
    give(ward, deny(actor=actor("CareTeam/t1")))
    access = Access("app", parse_scopes("user/*.cruds"), user="Practitioner/d1", role="clinician")
    with patch.object(type(ward.tokens), "check", lambda _self, _token: access):
        assert status(ward) == 200
        member = [{"member": {"reference": "Practitioner/d1"}}]
        ward.call("PUT", "/fhir/CareTeam/t1", {"resourceType": "CareTeam", "id": "t1", "participant": member})
        assert status(ward) == 404


@pytest.mark.parametrize(
    ("purpose", "expected"),
    [
        ("HRESCH", 404),
        ("CLINTRCH", 404),
        (f"{ACT_REASON}|HRESCH", 404),
        ("TREAT", 200),
        ("urn:x|TREAT", 400),
        ("x", 400),
    ],
)
def test_a_request_names_its_purpose(ward, purpose, expected):
    give(ward, deny(purpose=label("HRESCH", ACT_REASON)))
    assert status(ward, Purpose_Of_Use=purpose) == expected


def test_the_purpose_goes_with_the_entries_of_a_batch_and_to_other_processes(ward):
    give(ward, deny(purpose=label("HRESCH", ACT_REASON)))
    rows = [{"request": {"method": "GET", "url": "Observation/o1"}}]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": rows}
    told = [
        orjson.loads(ward.call("POST", "/fhir", bundle, **headers).data)["entry"][0]["response"]["status"][:3]
        for headers in ({}, {"Purpose_Of_Use": "HRESCH"})
    ]
    assert told == ["200", "404"]
    access = Access("app", parse_scopes("user/*.rs"), user="u", role="clinician", member="insurer", asked_for="BTG")
    assert parse_access(access_document(access)) == access


def test_another_members_client_sees_the_directory_and_nothing_of_patients(ward):
    scopes = parse_scopes("system/*.cruds")
    document = client_document(Client("theirs", scopes, member="insurer"))
    ward.parts.accounts.put_client("theirs", document, NOW)
    ward.member_keys["insurer"] = [{"kty": "EC"}]
    ward.call("PUT", "/fhir/Practitioner/d1", {"resourceType": "Practitioner", "id": "d1"})
    token = ward.tokens.issue("theirs", scopes, registered=True)

    def asked(path: str):
        headers = {"Authorization": f"Bearer {token}", "Prefer": "respond-async"}
        return ward.client.get(path, headers=headers).status_code

    assert asked("/fhir/Practitioner/d1") == 200
    assert asked("/fhir/Observation/o1") == asked("/fhir/Observation/absent") == 404
    assert asked("/fhir/Observation") == asked("/fhir/Patient/$export") == 403


def test_the_audit_keeps_that_a_consent_refused_and_the_receipt_of_the_decisions(ward):
    give(ward, deny())
    assert status(ward, Purpose_Of_Use="HRESCH") == 404
    receipt = ward.core.gate.receipt(Access("test", parse_scopes("system/*.cruds"), asked_for="HRESCH"))
    assert len(receipt) == 64
    ward.drain()
    ward.core.service.delete("Consent", "c1")
    events = orjson.loads(ward.call("GET", "/fhir/AuditEvent?outcome=4").data)["entry"]
    (event,) = [row["resource"] for row in events]
    what = [one.get("what") for one in event["entity"]]
    assert {"reference": "Observation/o1/_history/1"} in what
    assert {"reference": "Patient/p1"} in what
    assert {"identifier": {"system": "urn:medchain:decision-receipts", "value": receipt}} in what
    assert event["purposeOfEvent"] == [{"coding": [{"system": ACT_REASON, "code": "HRESCH"}]}]


@pytest.mark.parametrize(("method", "action", "told"), [("PUT", "update", 404), ("DELETE", "delete", 204)])
def test_a_change_that_a_consent_refused_is_a_refusal_in_the_audit_whatever_was_answered(ward, method, action, told):
    give(ward, deny())
    sent = observation("o1") if method == "PUT" else None
    assert ward.call(method, "/fhir/Observation/o1", sent).status_code == told
    ward.drain()
    ((_, waiting),) = ward.store.waiting_looks(9)
    assert [(of, row.action, row.is_refused) for of, row in unpack_looks(waiting)] == [("p1", action, True)]
    ward.core.service.delete("Consent", "c1")
    (row,) = orjson.loads(ward.call("GET", "/fhir/AuditEvent?outcome=4").data)["entry"]
    assert row["resource"]["outcomeDesc"] == "HTTP 404"
    assert {"reference": "Observation/o1/_history/1"} in [one.get("what") for one in row["resource"]["entity"]]
    assert status(ward) == 200
