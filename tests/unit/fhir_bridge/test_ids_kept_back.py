"""Of ids that the node gives no write tells whether there is a record that is kept back (`docs/spec/consent.md` C5)."""

from __future__ import annotations

import orjson
import pytest

from fhir_bridge.references import is_given, random_id
from medchain.node.records import NewRecord
from tests.unit.fhir_bridge.consent_oracle import CALLERS, Caller, deny, label
from tests.unit.fhir_bridge.test_bundles_kept_back import stored
from tests.unit.fhir_bridge.test_enforcement import Ward, condition, of_targets

UNKNOWN = random_id()
GIVEN = {name: condition("x", code, "2024-01-01") for name, code in (("hiv", "B20"), ("cold", "J06.9"))}


class Here:
    """A node with a patient, and who asks it; of two records under ids that the node gave one is kept back."""

    def __init__(self, server, caller: str = "d1") -> None:
        """Store them."""
        self.server = server
        stored(server, {"resourceType": "Patient", "id": "p1"})
        self.ids = {name: self.posted(one) for name, one in GIVEN.items()}
        self.ward = Ward(server, CALLERS[caller], [deny(securityLabel=label("HIV"))])
        assert self.ward.ask(f"Condition/{self.ids['hiv']}").status_code == 404
        assert self.ward.ask(f"Condition/{self.ids['cold']}").status_code == 200

    def posted(self, resource: dict) -> str:
        """Have a record stored under an id of the node's."""
        sent = {name: value for name, value in resource.items() if name != "id"}
        answer = self.server.call("POST", f"/fhir/{resource['resourceType']}", sent)
        record_id = answer.headers["Location"].split("/")[-3]
        assert is_given(record_id)
        return record_id

    def answered(self, record_id: str, method: str, path: str, body=None, **headers: str) -> tuple[int, bytes]:
        """Ask about a record, whose id stands as ``ID``; the answer has it so as well."""
        sent = None if body is None else orjson.loads(orjson.dumps(body).replace(b"ID", record_id.encode()))
        answer = self.ward.ask(path.replace("ID", record_id), method, sent, **headers)
        return answer.status_code, answer.data.replace(record_id.encode(), b"ID")


@pytest.fixture(params=["d1", "system"])
def here(server, request):
    return Here(server, request.param)


def condition_of(record_id: str = "ID") -> dict:
    return condition(record_id, "J06.9", "2024-01-01")


def entries(*rows: tuple[str, str, dict], kind: str = "transaction", **more: str) -> dict:
    entry = [
        {"request": {"method": method, "url": url} | more}
        | ({"resource": one, "fullUrl": f"urn:uuid:{at}"} if one else {})
        for at, (method, url, one) in enumerate(rows)
    ]
    return {"resourceType": "Bundle", "type": kind, "entry": entry}


POSTED = {name: value for name, value in of_targets("x", "Condition/ID").items() if name != "id"}
PUT = ("PUT", "Condition/ID", condition_of())
# What is asked → status.
WRITES = {
    "a PUT": (("PUT", "Condition/ID", condition_of()), 404),
    "a PUT by condition": (("PUT", "Condition?code=urn:x|none", condition_of()), 404),
    "a PUT in a transaction": (("POST", "/fhir", entries(PUT)), 404),
    "a PUT of a version in a transaction": (("POST", "/fhir", entries(PUT, ifMatch='W/"1"')), 412),
    "a PUT by condition in a transaction": (
        ("POST", "/fhir", entries(("PUT", "Condition?code=urn:x|none", condition_of()))),
        404,
    ),
    "a PUT in a batch": (("POST", "/fhir", entries(PUT, kind="batch")), 200),
    "a Provenance": (("POST", "Provenance", POSTED), 400),
    "a Provenance under an id": (("PUT", "Provenance/v1", of_targets("v1", "Condition/ID")), 400),
    "a Provenance of a version": (
        ("POST", "Provenance", POSTED | {"target": [{"reference": "Condition/ID/_history/1"}]}),
        400,
    ),
    "a Provenance by this node's address": (
        ("POST", "Provenance", POSTED | {"target": [{"reference": "http://127.0.0.1:41000/fhir/Condition/ID"}]}),
        400,
    ),
    "a Provenance in a transaction": (("POST", "/fhir", entries(("POST", "Provenance", POSTED))), 400),
    "a Provenance in a batch": (("POST", "/fhir", entries(("POST", "Provenance", POSTED), kind="batch")), 200),
    "a Provenance beside a deletion": (
        ("POST", "/fhir", entries(("POST", "Provenance", POSTED), ("DELETE", "Condition/ID", {}))),
        400,
    ),
}


@pytest.mark.parametrize("what", WRITES)
def test_attack_a_write_tells_that_a_record_is_there(here, what):
    """Whoever knows an id, such as from before, finds out by no write whether there is (still) a record of it."""
    (method, path, body), status = WRITES[what]
    before = here.server.store.get("Condition", here.ids["hiv"]).seq
    answers = [here.answered(one, method, path, body) for one in (here.ids["hiv"], UNKNOWN)]
    assert answers[0] == answers[1]
    assert answers[0][0] == status, answers[0]
    for one in (here.ids["hiv"], UNKNOWN):
        assert here.ward.ask(f"Condition/{one}").status_code == 404
    assert here.server.store.get("Condition", here.ids["hiv"]).seq == before
    assert here.server.store.count("Provenance") == 0


@pytest.mark.parametrize("headers", [{"If_Match": 'W/"1"'}, {"If_None_Match": "*"}])
def test_attack_a_condition_on_a_version_tells_that_a_record_is_there(here, headers):
    answers = [
        here.answered(one, "PUT", "Condition/ID", condition_of(), **headers) for one in (*here.ids.values(), UNKNOWN)
    ]
    assert answers[0] == answers[2]
    assert answers[0][0] == (412 if "If_Match" in headers else 404)


def test_attack_a_binary_under_an_id_tells_that_one_is_there(here):
    scan = {"resourceType": "Binary", "contentType": "image/png", "data": "eA==", "meta": {"security": label("HIV")}}
    kept = here.posted(scan | {"securityContext": {"reference": "Patient/p1"}})
    answers = [here.ward.ask(f"Binary/{one}", "PUT", b"y", Content_Type="image/png") for one in (kept, UNKNOWN)]
    assert {one.status_code for one in answers} == {404}
    assert answers[0].data == answers[1].data


def test_a_patch_makes_a_provenance_of_nothing_that_is_kept_back(here):
    stored(here.server, of_targets("v1", f"Condition/{here.ids['cold']}"))
    rows = [{"op": "replace", "path": "/target/0/reference", "value": "Condition/ID"}]
    kind = {"Content_Type": "application/json-patch+json"}
    answers = [here.answered(one, "PATCH", "Provenance/v1", rows, **kind) for one in (here.ids["hiv"], UNKNOWN)]
    assert answers[0] == answers[1]
    assert answers[0][0] == 400


def test_who_may_see_a_record_writes_on_and_of_it(here):
    cold = here.ids["cold"]
    assert here.answered(cold, "PUT", "Condition/ID", condition_of())[0] == 200
    assert here.answered(cold, "POST", "Provenance", POSTED)[0] == 201
    assert here.answered(cold, "PUT", "Provenance/v1", of_targets("v1", "Condition/ID"))[0] == 201
    assert here.server.call("DELETE", f"/fhir/Condition/{cold}").status_code == 204
    # Of what is deleted a Provenance tells, too; and it may be made again.
    assert here.answered(cold, "POST", "Provenance", POSTED)[0] == 201
    assert here.answered(cold, "PUT", "Condition/ID", condition_of())[0] == 201


def test_a_provenance_is_of_what_comes_with_it_of_what_is_elsewhere_and_of_ids_that_clients_choose(here):
    both = entries(
        ("POST", "Condition", {name: value for name, value in condition_of().items() if name != "id"}),
        ("POST", "Provenance", POSTED | {"target": [{"reference": "urn:uuid:0"}]}),
    )
    assert here.ward.ask("/fhir", "POST", both).status_code == 200
    for target in (f"https://lab.example/fhir/Condition/{UNKNOWN}", "Condition/of-a-client", "urn:uuid:0"):
        given = POSTED | {"target": [{"reference": target}]}
        assert here.ward.ask("Provenance", "POST", given).status_code == (400 if target == "urn:uuid:0" else 201), (
            target
        )


def test_what_a_provenance_was_of_already_it_may_stay_of(here):
    """An import brings what came before its target, under ids of another node."""
    early = orjson.dumps(of_targets("v1", f"Condition/{UNKNOWN}"))
    here.server.service.create(NewRecord("Provenance", "v1", early, ""))
    changed = of_targets("v1", "Condition/ID") | {"recorded": "2026-02-01T00:00:00Z"}
    assert here.answered(UNKNOWN, "PUT", "Provenance/v1", changed)[0] == 200
    more = changed | {"target": [{"reference": "Condition/ID"}, {"reference": f"Condition/{random_id()}"}]}
    assert here.answered(UNKNOWN, "PUT", "Provenance/v1", more)[0] == 400


RIGHTS = {
    "system/Provenance.c": False,
    "system/Provenance.c system/Condition.c": False,
    "system/Provenance.c system/Condition.r": True,
    "system/Provenance.c system/Condition.s": True,
    "system/Provenance.c system/Condition.cu": True,
}


@pytest.mark.parametrize("scopes", RIGHTS)
def test_who_may_neither_see_nor_change_a_record_learns_nothing_of_it_by_a_provenance(server, scopes):
    """Nor that there is one, which a consent keeps from nobody."""
    here = Here(server)
    here.ward.caller = Caller(scopes=scopes)
    stored(server, deny(securityLabel=label("HIV")) | {"id": "c0", "resourceType": "Consent", "status": "inactive"})
    statuses = [here.answered(one, "POST", "Provenance", POSTED)[0] for one in (here.ids["cold"], UNKNOWN)]
    assert statuses == [201 if RIGHTS[scopes] else 400, 400]


def test_no_id_of_the_nodes_form_is_chosen_though_nothing_is_kept_back(server):
    stored(server, {"resourceType": "Patient", "id": "p1"})
    one = condition(UNKNOWN, "J06.9", "2024-01-01")
    assert server.call("PUT", f"/fhir/Condition/{UNKNOWN}", one).status_code == 404
    bundle = entries(("PUT", f"Condition/{UNKNOWN}", one))
    assert server.call("POST", "/fhir", bundle).status_code == 404
    # Others are free to choose: with dashes, capital letters, or of another length.
    for free in ("0f0e0d0c-0b0a-0908-0706-050403020100", UNKNOWN.upper().replace("0", "A")[:31] + "A", UNKNOWN[:31]):
        assert server.call("PUT", f"/fhir/Condition/{free}", one | {"id": free}).status_code == 201


def test_the_audit_says_of_which_record_a_refused_provenance_was(server):
    here = Here(server, "system")
    assert here.answered(here.ids["hiv"], "POST", "Provenance", POSTED)[0] == 400
    server.drain()
    auditor = Ward(server, Caller("Practitioner/a1", "auditor", "HCOMPL", frozenset(), "user/AuditEvent.rs"), [])
    found = orjson.loads(auditor.ask(f"AuditEvent?entity=Condition/{here.ids['hiv']}&action=C&outcome=4").data)
    assert found["total"] == 1
    assert orjson.loads(here.ward.ask(f"AuditEvent?entity=Condition/{here.ids['hiv']}").data)["total"] == 0
