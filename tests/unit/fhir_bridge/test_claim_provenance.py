"""`$claim-provenance` and `$verify-claim-evidence` over whole nodes (docs/spec/rest.md, 16)."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import closing
from dataclasses import replace

import pytest

from fhir_bridge.document import parse
from fhir_bridge.provenance import COMMITMENT
from fhir_bridge.rest import claims
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import Action, parse_scopes
from fhir_bridge.validation.check import check
from medchain.errors import AccessDeniedError
from medchain.node.packed import unpack_bundle
from medchain.node.proofs import zip_bundle
from tests.unit.fhir_bridge.conftest import NOW as SERVER_NOW
from tests.unit.fhir_bridge.test_gate import code_of
from tests.unit.medchain.claims.hospitals import running_hospitals
from tests.unit.medchain.claims.office import AMOUNT, NUMBER, Office
from tests.unit.medchain.node.federation import NOW, RENHE

INVOICE = {
    "name": "invoice",
    "part": [
        {"name": "issuer", "valueString": "99010001"},
        {"name": "code", "valueString": "99060225"},
        {"name": "number", "valueString": NUMBER},
        {"name": "date", "valueDate": "2026-11-14"},
        {"name": "check-code", "valueString": "rha0jt"},
        {"name": "amount", "valueMoney": AMOUNT},
    ],
}
POLICY = {
    "name": "policy",
    "part": [{"name": "start", "valueDate": "2024-03-01"}, {"name": "waiting-days", "valueUnsignedInt": 90}],
}
READING = "system/Claim.crus"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with running_hospitals(tmp_path_factory.mktemp("provenance")) as made:
        made.federation.time = NOW
        yield Office(made)


@pytest.fixture
def office(opened):
    opened.anew()
    return opened


@pytest.fixture
def insurer(server, office):
    """An insurer's API, over the daemon of its node."""
    object.__setattr__(server.core, "cases", office.cases())
    server.time[0] = office.hospitals.federation.time + 10
    assert server.time[0] >= SERVER_NOW
    return server


def asking(claim: bytes, *more: dict) -> dict:
    """What an insurer's system sends."""
    return {"resourceType": "Parameters", "parameter": [{"name": "claim", "resource": json.loads(claim)}, *more]}


def asked(server, body: object, *, scope: str = READING, **headers: str):
    return server.call("POST", "/fhir/$claim-provenance", body, scope=scope, **headers)


def verifying(server, packed: bytes):
    """Have the API verify a zip."""
    return server.call("POST", "/fhir/$verify-claim-evidence", packed, scope=READING, Content_Type="application/zip")


def named(answer) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for row in json.loads(answer.data)["parameter"]:
        found.setdefault(row["name"], []).append(row)
    return found


def parts(row: dict) -> dict[str, dict]:
    return {one["name"]: one for one in row["part"]}


def test_a_claim_is_judged_and_answered_with_lines_provenance_and_bundle(insurer, office):
    answer = asked(insurer, asking(office.claim(), INVOICE, POLICY), Accept_Language="en")
    assert answer.status_code == 200, answer.data
    told = named(answer)
    lines = {parts(row)["name"]["valueCode"]: parts(row) for row in told["line"]}
    assert [*lines] == ["source", "unaltered", "complete", "consent", "unclaimed", "coverage", "flags"]
    assert lines["unclaimed"]["colour"]["valueCode"] == "green"
    assert lines["unclaimed"]["text"]["valueString"] == "Not claimed elsewhere"
    finding = parts(lines["coverage"]["finding"])
    assert (finding["code"]["valueCode"], finding["argument-first"]["valueString"]) == (
        "coverage.covered",
        "2026-11-10",
    )
    assert told["colour"][0]["valueCode"] in ("green", "amber")
    [provenance] = (row["resource"] for row in told["provenance"])
    assert check(parse(json.dumps(provenance).encode())) == []
    targets = {one["reference"]: one["extension"][0] for one in provenance["target"]}
    assert {f"urn:medchain:organisation:{RENHE}/{one}/_history/1" for one in office.stay.cited} == targets.keys()
    site = office.hospitals.federation.sites[RENHE]
    stored = site.records.get("Condition", f"{office.stay.local}-c")
    target = next(value for name, value in targets.items() if "/Condition/" in name)
    assert target == {"url": COMMITMENT, "valueString": stored.commitment.hex()}
    bundle = base64.b64decode(told["bundle"][0]["resource"]["data"])
    assert json.loads(unpack_bundle(bundle)["verdict.json"])["colour"] == told["colour"][0]["valueCode"]
    assert check(parse(answer.data)) == []


def test_it_is_answered_in_the_callers_language(insurer, office):
    told = named(asked(insurer, asking(office.claim(), INVOICE, POLICY), Accept_Language="zh"))
    assert parts(told["line"][0])["text"]["valueString"] == "来源"


def test_a_zip_is_answered_where_a_zip_is_asked_for_and_verifies(insurer, office):
    answer = asked(insurer, asking(office.claim(), INVOICE), Accept="application/zip")
    assert (answer.status_code, answer.content_type) == (200, "application/zip")
    files = unpack_bundle(answer.data)
    verified = insurer.call(
        "POST", "/fhir/$verify-claim-evidence", answer.data, scope=READING, Content_Type="application/zip"
    )
    told = named(verified)
    assert told["valid"][0]["valueBoolean"] is True
    assert told["colour"][0]["valueCode"] == json.loads(files["verdict.json"])["colour"]
    assert told["digest"][0]["valueString"] == json.loads(files["verdict.json"])["claim"]


def test_a_bundle_can_come_as_a_binary_too(insurer, office):
    packed = asked(insurer, asking(office.claim(), INVOICE), Accept="application/zip").data
    binary = {"resourceType": "Binary", "contentType": "application/zip", "data": base64.b64encode(packed).decode()}
    for row in ({"resource": binary}, {"valueBase64Binary": binary["data"]}):
        body = {"resourceType": "Parameters", "parameter": [{"name": "bundle", **row}]}
        answer = insurer.call("POST", "/fhir/$verify-claim-evidence", body, scope=READING)
        assert named(answer)["valid"][0]["valueBoolean"] is True, answer.data


def test_a_bundle_whose_verdict_was_changed_is_refused_with_the_code(insurer, office):
    files = unpack_bundle(asked(insurer, asking(office.claim(), INVOICE), Accept="application/zip").data)
    verdict = json.loads(files["verdict.json"])
    forged = json.dumps({**verdict, "colour": "green"}, sort_keys=True, separators=(",", ":")).encode()
    for changed, code in (
        ({**files, "verdict.json": forged + b" "}, "bundle.verdict"),
        ({name: content for name, content in files.items() if name != "evidence.json"}, "bundle.files"),
        ({**files, "items/0/record.json": b"{}"}, "bundle.record"),
    ):
        packed = zip_bundle(changed)
        answer = insurer.call(
            "POST", "/fhir/$verify-claim-evidence", packed, scope=READING, Content_Type="application/zip"
        )
        told = named(answer)
        assert (told["valid"][0]["valueBoolean"], told["code"][0]["valueCode"]) == (False, code)
        assert "line" not in told


@pytest.mark.parametrize("data", [b"", b"PK", b"\x00" * 100])
def test_what_is_no_bundle_is_refused(insurer, data):
    answer = verifying(insurer, data)
    assert named(answer)["valid"][0]["valueBoolean"] is False


def test_a_claim_alone_is_a_call_and_a_stored_one_is_named(insurer, office):
    assert asked(insurer, json.loads(office.claim())).status_code == 200
    claim = json.loads(office.claim())
    assert insurer.call("PUT", f"/fhir/Claim/{claim['id']}", storable(claim)).status_code == 201
    site = office.hospitals.federation.sites["anxin-insurance"]
    # The daemon's own records are another file than this server's: it does not have that claim.
    body = {"resourceType": "Parameters", "parameter": [{"name": "reference", "valueString": f"Claim/{claim['id']}"}]}
    answer = asked(insurer, body)
    assert (answer.status_code, code_of(answer), site.records.get("Claim", claim["id"])) == (
        404,
        "record.unknown",
        None,
    )


def storable(made: dict) -> dict:
    """The same with what FHIR wants of a Claim that is stored."""
    more = {
        "status": "active",
        "use": "claim",
        "type": {"text": "x"},
        "priority": {"text": "normal"},
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"display": "x"}}],
    }
    return {name: value for name, value in (made | more).items() if name not in ("item", "supportingInfo")}


def test_a_case_is_asked_for_again_by_its_id(insurer, office):
    first = named(asked(insurer, asking(office.claim(), INVOICE)))
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "case", "valueString": first["case"][0]["valueString"]}],
    }
    again = named(asked(insurer, body))
    assert again["case"] == first["case"]
    assert again["digest"] == first["digest"]


def test_who_waits_too_short_a_time_is_told_to_ask_again(insurer, office):
    gate, real = threading.Event(), office.hospitals.disclose

    def slow(wish: object) -> object:
        gate.wait(30)
        return real(wish)

    office.hospitals.disclose = slow
    body = asking(office.claim(), INVOICE, {"name": "wait", "valueUnsignedInt": 0})
    try:
        answer = asked(insurer, body)
        assert (answer.status_code, answer.headers["Retry-After"]) == (202, "5")
        assert named(answer)["status"][0]["valueCode"] == "gathering"
    finally:
        gate.set()
    assert asked(insurer, {**body, "parameter": body["parameter"][:-1]}).status_code == 200


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ("system/Claim.rs", 403),
        ("system/Coverage.cruds", 403),
        ("system/Claim.crus?patient=Patient/p1", 403),
        ("patient/Claim.cruds", 403),
    ],
)
def test_who_may_not_store_any_claim_has_none_judged(insurer, office, scope, status):
    answer = asked(insurer, asking(office.claim()), scope=scope)
    assert (answer.status_code, code_of(answer)) == (status, "scope.denied")
    assert office.asked == []


def test_another_organisations_system_and_a_patient_have_none_judged(insurer):
    whole = Access("client", parse_scopes("system/*.cruds"))
    for who in (replace(whole, member=RENHE), replace(whole, patient="p1", role="patient")):
        with pytest.raises(AccessDeniedError, match=r"scope\.denied"):
            claims._require(insurer.core, who, Action.READ)  # noqa: SLF001  # what both operations ask first


def test_a_hospital_has_no_cases(server, office):
    object.__setattr__(server.core, "cases", office.cases(RENHE))
    answer = asked(server, asking(office.claim()))
    assert (answer.status_code, code_of(answer)) == (403, "case.role")


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"name": "claim", "resource": {"resourceType": "Patient"}}],
        [{"name": "claim", "valueString": "x"}],
        [{"name": "case", "valueString": "07"}, {"name": "reference", "valueString": "Claim/1"}],
        [{"name": "reference", "valueInteger": 1}],
        [{"name": "content", "valueBase64Binary": "*"}],
        [{"name": "nobody", "valueString": "x"}],
        [{"name": "case", "valueString": "x"}, {"name": "wait", "valueString": "soon"}],
        [{"name": "case", "valueString": "x"}, {"name": "held", "part": [{"name": "hospital", "valueString": "x"}]}],
        [{"name": "case", "valueString": "x"}, {"name": "invoice", "part": [{"name": "number"}]}],
        [{"name": "case", "valueString": "x"}, INVOICE, INVOICE],
    ],
)
def test_what_is_called_wrongly_is_refused_before_anybody_is_asked(insurer, office, rows):
    answer = asked(insurer, {"resourceType": "Parameters", "parameter": rows})
    assert (answer.status_code, code_of(answer)) == (400, "operation.parameter")
    assert office.asked == []


def test_a_claim_is_judged_in_the_bytes_in_which_it_is_given_as_content(insurer, office):
    data = office.claim() + b"\n"
    row = {"name": "content", "valueBase64Binary": base64.b64encode(data).decode()}
    told = named(asked(insurer, {"resourceType": "Parameters", "parameter": [row, INVOICE]}))
    evidence = json.loads(unpack_bundle(base64.b64decode(told["bundle"][0]["resource"]["data"]))["evidence.json"])
    assert base64.b64decode(evidence["claim"]["content"]) == data


def test_nothing_of_a_claim_is_in_an_error(insurer, office):
    info = [{"valueReference": {"reference": f"Observation/o{number}"}} for number in range(500)]
    broken = json.loads(office.claim(supportingInfo=info))
    answer = asked(insurer, asking(json.dumps(broken).encode()))
    assert (answer.status_code, code_of(answer)) == (400, "case.claim")
    assert office.stay.local.encode() not in answer.data


def test_the_audit_keeps_who_had_a_claim_judged(insurer, office):
    with closing(insurer.core.kept):
        asked(insurer, asking(office.claim(), INVOICE))
        assert insurer.drain() > 0
