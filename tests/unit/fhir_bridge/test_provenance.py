"""Provenance from the ledger: what it says of every version, who may see it, how it is found (FHIR R4 Provenance)."""

from __future__ import annotations

import base64
import io
import itertools
import json
import zipfile
from dataclasses import dataclass, field, replace

import pytest

from fhir_bridge.document import parse
from fhir_bridge.rest.front import Front
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import parse_scopes
from fhir_bridge.validation.check import check
from medchain.errors import ConflictError
from medchain.node.proofs import Traced
from tests.unit.fhir_bridge.conftest import NODE, NOW

pytestmark = pytest.mark.usefixtures("ledger")

BLOCK_TIME = NOW + 60
OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"


@dataclass
class Ledger:
    """Says where versions stand, as the daemon would."""

    org_id: str = NODE
    ledger: bytes = bytes(32)
    behind: bool = False
    asked: list = field(default_factory=list)

    def trace(self, stored) -> Traced:
        self.asked.append(stored.seq)
        if self.behind:
            raise ConflictError("trace.not_final")
        return Traced(
            position=stored.position,
            time=BLOCK_TIME,
            signed=BLOCK_TIME + 5,
            creator=NODE,
            signers=((NODE, "creator"), ("health-commission", "independent")),
            names={NODE: {"en": "Renhe", "zh": "仁和医院"}, "health-commission": {"en": "Commission"}},
            files={"entry.bin": stored.object_id},
        )


def observation(patient: str, **more: object) -> dict:
    subject = {"reference": f"Patient/{patient}"}
    return {"resourceType": "Observation", "status": "final", "code": {"text": "w"}, "subject": subject, **more}


@pytest.fixture
def ledger(server):
    """Two patients with an observation each, that of p1 in three versions, of which the last is not final."""
    made = Ledger()
    server.core = replace(server.core, tracer=made)
    server.app.wsgi_app = Front(server.core, server.app.wsgi_app)
    for name in ("p1", "p2"):
        server.call("PUT", f"/fhir/Patient/{name}", {"resourceType": "Patient", "id": name})
        server.call("PUT", f"/fhir/Observation/of-{name}", observation(name, id=f"of-{name}"))
    server.call("PUT", "/fhir/Observation/of-p1", observation("p1", id="of-p1", status="amended"))
    server.anchor_all(7)
    server.final[0] = 8
    server.time[0] += 3600
    server.call("PUT", "/fhir/Observation/of-p1", observation("p1", id="of-p1", status="corrected"))
    return made


def rows(response) -> list[dict]:
    assert response.status_code == 200, response.data
    return [row["resource"] for row in json.loads(response.data).get("entry", ())]


def targets(response) -> list[str]:
    return [row["target"][0]["reference"] for row in rows(response)]


def test_every_version_has_its_provenance_with_the_ledgers_signature(server):
    newest, changed, first = rows(server.call("GET", "/fhir/Provenance?target=Observation/of-p1"))
    assert [one["target"][0]["reference"] for one in (newest, changed, first)] == [
        f"Observation/of-p1/_history/{version}" for version in (3, 2, 1)
    ]
    assert [one["activity"]["coding"][0] for one in (first, changed)] == [
        {"system": OPERATION, "code": code} for code in ("CREATE", "UPDATE")
    ]
    assert "entity" not in first
    assert changed["entity"] == [
        {"role": "revision", "what": {"reference": "Observation/of-p1/_history/1", "type": "Observation"}}
    ]
    assert first["occurredDateTime"] == "2026-12-01T00:00:00Z"
    assert first["recorded"] == "2026-12-01T00:01:00Z"
    roles = [(one["type"]["coding"][0]["code"], one["who"]["identifier"]["value"]) for one in first["agent"]]
    assert roles == [
        ("author", NODE),
        ("custodian", NODE),
        ("attester", NODE),
        ("verifier", "health-commission"),
    ]
    (signature,) = first["signature"]
    assert signature["targetFormat"] == "application/fhir+json"
    stored = server.store.get("Observation", "of-p1", 1)
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(signature["data"]))) as bundle:
        assert bundle.read("entry.bin") == stored.object_id
    assert signature["who"]["identifier"] == {"system": "urn:medchain:ledger", "value": "00" * 32}


def test_each_target_has_the_digest_that_the_ledger_holds_of_that_version(server):
    found = rows(server.call("GET", "/fhir/Provenance?target=Observation/of-p1"))
    digests = [one["target"][0]["extension"] for one in found]
    url = "https://medchain.example/fhir/StructureDefinition/commitment"
    held = [server.store.get("Observation", "of-p1", version).commitment.hex() for version in (3, 2, 1)]
    assert digests == [[{"url": url, "valueString": one}] for one in held]
    assert len(set(held)) == 3


def test_what_is_not_final_yet_says_so_and_is_not_signed(server, ledger):
    newest = rows(server.call("GET", "/fhir/Provenance?target=Observation/of-p1/_history/3"))[0]
    assert newest["extension"] == [{"url": "urn:medchain:anchored", "valueString": "pending"}]
    assert "signature" not in newest
    assert newest["recorded"] == newest["occurredDateTime"] == "2026-12-01T01:00:00Z"
    ledger.behind = True
    older = rows(server.call("GET", "/fhir/Provenance?target=Observation/of-p1/_history/1"))[0]
    assert "signature" not in older


@pytest.mark.parametrize("early", range(10))
def test_what_becomes_final_while_it_is_answered_is_final_and_signed_or_neither(server, early):
    looks = itertools.count()
    server.core = replace(server.core, final_size=lambda: 0 if next(looks) < early else 8)
    server.app.wsgi_app = Front(server.core, server.app.wsgi_app)
    (made,) = rows(server.call("GET", "/fhir/Provenance?target=Observation/of-p1/_history/1"))
    is_final = made["extension"][0]["valueString"].startswith("final")
    assert ("signature" in made, made["meta"]["versionId"]) == (is_final, "2" if is_final else "1")


def test_it_is_valid_by_our_own_strict_validator(server):
    server.call("DELETE", "/fhir/Observation/of-p1")
    found = server.call("GET", "/fhir/Provenance?target=Observation/of-p1")
    assert check(parse(found.data)) == []
    for row in rows(found):
        alone = server.call("GET", f"/fhir/Provenance/{row['id']}")
        assert json.loads(alone.data) == row
        assert check(parse(alone.data)) == []
        assert server.call("POST", "/fhir/Provenance/$validate", row).status_code == 200


def test_a_deletion_has_its_provenance_too(server):
    server.call("DELETE", "/fhir/Observation/of-p1")
    gone = rows(server.call("GET", "/fhir/Provenance?target=Observation/of-p1/_history/4"))[0]
    assert gone["activity"]["coding"][0]["code"] == "DELETE"
    assert gone["entity"][0]["role"] == "removal"


def test_a_search_joins_what_clients_wrote_and_pages_go_through_both(server):
    own = {
        "resourceType": "Provenance",
        "target": [{"reference": "Observation/of-p1"}],
        "recorded": "2026-12-01T00:00:00Z",
        "agent": [{"who": {"display": "a clerk"}}],
    }
    assert server.call("POST", "/fhir/Provenance", own).status_code == 201
    whole = json.loads(server.call("GET", "/fhir/Provenance?target=Observation/of-p1").data)
    assert (whole["total"], len(whole["entry"])) == (4, 4)
    for size in (1, 2, 3):
        url, found = f"/fhir/Provenance?target=Observation/of-p1&_count={size}", []
        while url:
            page = json.loads(server.call("GET", url).data)
            assert len(page.get("entry", ())) <= size
            found += [row["resource"]["id"] for row in page.get("entry", ())]
            links = {row["relation"]: row["url"] for row in page["link"]}
            url = links.get("next", "").partition("http://127.0.0.1:41000")[2]
            assert "of-p1" not in url
        assert found == [row["resource"]["id"] for row in whole["entry"]], size
    counted = json.loads(server.call("GET", "/fhir/Provenance?target=Observation/of-p1&_summary=count").data)
    assert counted["total"] == 4
    first = json.loads(server.call("GET", "/fhir/Provenance?target=Observation/of-p1&_count=2&_total=accurate").data)
    assert (first["total"], len(first["entry"])) == (4, 2)


@pytest.mark.parametrize(
    ("query", "versions"),
    [
        ("target=Observation/of-p1&recorded=lt2026-12-01T00:30:00Z", [2, 1]),
        ("target=Observation/of-p1&recorded=ge2026-12-01T01:00:00Z", [3]),
        ("target:Observation=of-p1&signature-type=urn:iso-astm:E1762-95:2013|1.2.840.10065.1.12.1.18", [2, 1]),
        ("target=Observation/of-p1&entity=Observation/of-p1/_history/2", [3]),
        ("target=Observation/of-p1&agent-type=verifier", [2, 1]),
        ("target=Observation/of-p1&agent-type=enterer", []),
        ("target=Observation/none", []),
    ],
)
def test_other_parameters_narrow_what_the_ledger_tells(server, query, versions):
    found = targets(server.call("GET", f"/fhir/Provenance?{query}"))
    assert found == [f"Observation/of-p1/_history/{version}" for version in versions]


def test_it_is_found_by_its_id_by_patient_in_a_compartment_and_beside_its_target(server):
    (of_patient,) = rows(server.call("GET", "/fhir/Provenance?patient=Patient/p1"))
    assert of_patient["target"][0]["reference"] == "Patient/p1/_history/1"
    assert targets(server.call("GET", f"/fhir/Provenance?_id={of_patient['id']}")) == ["Patient/p1/_history/1"]
    assert targets(server.call("GET", "/fhir/Patient/p1/Provenance")) == ["Patient/p1/_history/1"]
    beside = rows(server.call("GET", "/fhir/Observation?_id=of-p1&_revinclude=Provenance:target"))
    assert [one["resourceType"] for one in beside] == ["Observation", "Provenance"]
    assert beside[1]["target"][0]["reference"] == "Observation/of-p1/_history/3"
    both = rows(server.call("GET", f"/fhir/Provenance?_id={of_patient['id']}&_include=Provenance:target"))
    assert [one["resourceType"] for one in both] == ["Provenance", "Patient"]


def test_it_is_shown_to_who_may_read_its_target_and_absent_and_forbidden_look_alike(server, monkeypatch):
    hidden, own = (
        rows(server.call("GET", f"/fhir/Provenance?target=Observation/of-{name}"))[-1]["id"] for name in ("p2", "p1")
    )

    def asked(path: str, scopes: str):
        access = Access("app", parse_scopes(scopes), user="Patient/p1", patient="p1")
        with monkeypatch.context() as patched:
            patched.setattr(type(server.tokens), "check", lambda _self, _token: access)
            return server.call("GET", path)

    hers = "patient/*.cruds"
    assert len(rows(asked("/fhir/Provenance?target=Observation/of-p1", hers))) == 3
    assert asked(f"/fhir/Provenance/{own}", hers).status_code == 200
    for scopes in (hers, "patient/Provenance.rs system/Observation.rs", "system/Provenance.rs patient/Observation.rs"):
        nothing = json.loads(asked("/fhir/Provenance?target=Observation/of-p2", scopes).data)
        absent = json.loads(asked("/fhir/Provenance?target=Observation/none", scopes).data)
        assert nothing["total"] == absent["total"] == 0
        answers = [asked(f"/fhir/Provenance/{name}", scopes) for name in (hidden, "ledger-" + "0" * 32 + "-1")]
        assert answers[0].status_code == answers[1].status_code == 404
        assert answers[0].data == answers[1].data
    assert targets(asked("/fhir/Provenance?target=Observation/of-p1", "system/Provenance.rs")) == []
    assert asked("/fhir/Provenance?target=Observation/of-p1", "system/Observation.rs").status_code == 403
    limited = "system/Observation.rs system/Provenance.rs?recorded=lt2026-12-01T00:30:00Z"
    assert len(rows(asked("/fhir/Provenance?target=Observation/of-p1", limited))) == 2


def test_no_client_writes_in_the_ledgers_name(server):
    told = rows(server.call("GET", "/fhir/Provenance?target=Observation/of-p1"))[0]
    refused = server.call("PUT", f"/fhir/Provenance/{told['id']}", told)
    assert refused.status_code == 403
    assert json.loads(refused.data)["issue"][0]["details"]["coding"][0]["code"] == "provenance.kept"
    entry = {"resource": told, "request": {"method": "PUT", "url": f"Provenance/{told['id']}"}}
    assert (
        server.call("POST", "/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).status_code
        == 403
    )


@pytest.mark.parametrize("method", ["DELETE", "PATCH"])
def test_what_the_ledger_tells_is_not_deleted_nor_patched(server, method):
    """FHIR R4 §3.1.0.7: a server that refuses a deletion says so; there or not, the name is the ledger's."""
    (told,) = rows(server.call("GET", "/fhir/Provenance?target=Patient/p1"))
    before = server.store.count()
    for name in (told["id"], "ledger-" + "0" * 32 + "-1"):
        entry = {"request": {"method": method, "url": f"Provenance/{name}"}}
        if method == "PATCH":
            entry["resource"] = {"resourceType": "Parameters"}
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
        single = server.call(method, f"/fhir/Provenance/{name}", [{"op": "remove", "path": "/agent"}])
        for refused in (single, server.call("POST", "/fhir", bundle)):
            assert refused.status_code == 403
            assert json.loads(refused.data)["issue"][0]["details"]["coding"][0]["code"] == "provenance.kept"
    assert server.store.count() == before


@pytest.mark.parametrize(("place", "version"), [(0, "1"), (1, "2")])
def test_its_version_its_history_and_its_tag_agree(server, place, version):
    """§3.1.0.3 and §3.1.0.12: of what changes when it is final, only the current version can be made."""
    told = rows(server.call("GET", "/fhir/Provenance?target=Observation/of-p1"))[place]
    path = f"/fhir/Provenance/{told['id']}"
    assert told["meta"]["versionId"] == version
    read = server.call("GET", path)
    assert read.headers["ETag"] == f'W/"{version}"'
    assert server.call("GET", path, If_None_Match=f'W/"{version}"').status_code == 304
    assert server.call("GET", path, If_None_Match='W/"7"').status_code == 200
    vread = server.call("GET", f"{path}/_history/{version}")
    assert (vread.status_code, vread.data, vread.headers["Last-Modified"]) == (
        200,
        read.data,
        read.headers["Last-Modified"],
    )
    assert server.call("GET", f"{path}/_history/{3 - int(version)}").status_code == 404
    past = json.loads(server.call("GET", f"{path}/_history").data)
    (entry,) = past["entry"]
    assert (past["type"], past["total"], entry["resource"]) == ("history", 1, json.loads(read.data))
    assert entry["response"]["etag"] == f'W/"{version}"'
    assert entry["response"]["lastModified"] == told["meta"]["lastUpdated"]
    assert check(parse(json.dumps(past).encode())) == []
    since = json.loads(server.call("GET", f"{path}/_history?_since=2099-01-01T00:00:00Z").data)
    assert (since["total"], since.get("entry")) == (0, None)


def test_an_order_that_would_mix_both_is_refused(server):
    assert server.call("GET", "/fhir/Provenance?target=Observation/of-p1&_sort=recorded").status_code == 400
