"""The script that works out what a passkey will sign, run by Node.js on drafts of the node and on tampered ones."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from copy import deepcopy
from importlib.resources import files
from typing import Any

import pytest

from consent.hiding import Hidden, hiding_of
from consent.web.kinds import SENSITIVE
from consent.web.offer import Choice, terms_of
from medchain.encoding import base64_text, base64url, canonical
from medchain.ledger.kinds import consent as consents
from medchain.ledger.kinds import signing
from medchain.ledger.kinds.content import names, period
from medchain.ledger.object import build_body
from medchain.ledger.one_claim import OneClaim
from medchain.node.drafts import Target, ToSign
from tests.unit.medchain.ledger.world import ANXIN, RENHE, TIME, fresh, genesis, seed

HARNESS = """import { check, forOneClaim, hidden, keptBack } from "./signed.js";
import { readFileSync } from "node:fs";
const told = [];
for (const [begun, ledger] of JSON.parse(readFileSync("cases.json", "utf8"))) {
  try {
    const { content, root, signed } = await check(begun, ledger);
    const says = () => hidden(content) ?? forOneClaim(content) ?? keptBack(content);
    told.push(signed.operation === "consent/create" ? [root, says()] : [root]);
  }
  catch (error) { told.push(`${error.constructor.name} ${error.message}`); }
}
console.log(JSON.stringify(told));
"""
ASK = {"asker": ANXIN, "days": 30, "purpose": "HPAYMT", "resource_types": ["Condition", "Observation"]}
DAY_S = 86400
RECORD, KIND = Hidden.of_record("Observation/o1"), Hidden.of_types(["Observation", "DiagnosticReport"])
TYPES = "http://hl7.org/fhir/resource-types"
OTHERS = [code for codes in SENSITIVE.values() for code in codes]

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")


@pytest.fixture
def judged(tmp_path) -> Callable[..., list[Any]]:
    """Have the script judge what the server begins with, each on a ledger."""

    def judge(*cases: tuple[dict[str, Any], str]) -> list[Any]:
        (tmp_path / "package.json").write_text('{"type": "module"}')
        for package, name in (("consent.web", "signed.js"), ("medchain.web", "webauthn.js")):
            (tmp_path / name).write_bytes((files(package) / "static" / name).read_bytes())
        (tmp_path / "harness.mjs").write_text(HARNESS)
        (tmp_path / "cases.json").write_text(json.dumps(cases))
        done = subprocess.run(
            ["node", "harness.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    return judge


def consent_of(sensitive: frozenset[str] = frozenset()) -> consents.Consent:
    """Make a consent as the patient's page has it drafted."""
    terms = terms_of(ASK, Choice(frozenset({"tests"}), sensitive, 30), RENHE, seed("patient").hex(), TIME)
    return consents.Consent(
        subject=seed("patient"),
        acting_for=None,
        custodians=names(terms["custodians"]),
        recipient=terms["recipient"],
        purpose=terms["purpose"],
        resource_types=names(terms["resource_types"]),
        period=period(terms["period"]),
        data_period=None,
        fhir=terms["fhir"],
        operation="create",
        nonce=fresh(16),
        stop=fresh(32),
        signed_at=TIME,
    )


def drafted(content: dict[str, Any], signed: signing.Signed) -> dict[str, Any]:
    """Make a draft of a content, opened."""
    body = build_body("consent", content, None, fresh)
    target = Target(fresh(16), seed("object"), 1, None)
    document = signing.signed_document(
        genesis().ledger, target.object, target.version, target.previous, body.content_root, signed
    )
    return json.loads(ToSign("consent", target.object_id, target.object, 1, body, (document,)).encode())


def begun(draft: dict[str, Any], challenge: bytes | None = None) -> dict[str, Any]:
    """Write what the server answers."""
    asked = signing.challenge_of(draft["documents"][0]) if challenge is None else challenge
    return {"challenge": base64url(asked), "draft": base64_text(canonical(draft))}


LEDGER = genesis().ledger.hex()


@pytest.fixture
def draft() -> dict[str, Any]:
    consent = consent_of()
    return drafted(consent.to_content(), consent.signed()[0])


def test_the_root_is_that_of_the_ledgers_own_code(judged):
    consent = consent_of()
    content = consent.to_content() | {"purpose": 'é "中\u2028\\ \x7f', "z": [1, {}]}
    made = drafted(content, consent.signed()[0])
    assert judged((begun(made), LEDGER)) == [[made["documents"][0]["content_root"], sorted(OTHERS)]]


def test_a_draft_is_signed_and_told_what_it_keeps_back(judged, draft):
    assert judged((begun(draft), LEDGER)) == [[draft["documents"][0]["content_root"], sorted(OTHERS)]]


def test_of_several_signers_each_signs_a_document_of_its_own(judged, draft):
    second = draft["documents"][0] | {"subject": "ab" * 32}
    both = draft | {"documents": [draft["documents"][0], second]}
    field = next(row for row in both["body"]["fields"] if row[0] == "subject")
    assert judged((begun(both), LEDGER)) == [[draft["documents"][0]["content_root"], sorted(OTHERS)]]
    assert field[2] != second["subject"]
    assert judged((begun(both, signing.challenge_of(second)), LEDGER)) == ["DiffersError subject"]


def tampered(draft: dict[str, Any], name: str, value: object) -> dict[str, Any]:
    """Change a field of a draft, and leave the rest."""
    made = deepcopy(draft)
    for row in made["body"]["fields"]:
        if row[0] == name:
            row[2] = value
    return made


@pytest.mark.parametrize(
    ("name", "value"),
    [("recipient", RENHE), ("resource_types", ["*"]), ("stop", "00" * 32), ("signed_at", 1), ("purpose", "TREAT")],
)
def test_attack_a_field_that_was_changed_under_a_root_is_not_signed(judged, draft, name, value):
    assert judged((begun(tampered(draft, name, value)), LEDGER)) == ["DiffersError content_root"]


def test_attack_a_challenge_of_something_else_is_not_signed(judged, draft):
    assert judged((begun(draft, b"c" * 32), LEDGER)) == ["DiffersError challenge"]


def test_attack_a_value_hidden_or_standing_twice_is_not_signed(judged, draft):
    twice, hidden = deepcopy(draft), deepcopy(draft)
    twice["body"]["fields"].append(["recipient", "11" * 32, ANXIN])
    twice["body"]["padding"].pop()
    hidden["body"]["hidden"] = ["22" * 32]
    hidden["body"]["padding"].pop()
    assert judged((begun(twice), LEDGER), (begun(hidden), LEDGER)) == ["DiffersError fields"] * 2


def test_a_draft_in_another_spelling_is_not_signed(judged, draft):
    loose = {"challenge": begun(draft)["challenge"], "draft": base64_text(json.dumps(draft).encode())}
    assert judged((loose, LEDGER)) == ["DiffersError draft"]


@pytest.mark.parametrize(
    ("member", "value"),
    [("nonce", "00" * 16), ("object", "00" * 32), ("operation", "consent/withdraw"), ("version", 2)],
)
def test_attack_a_document_about_something_else_than_its_draft_is_not_signed(judged, draft, member, value):
    made = deepcopy(draft)
    made["documents"][0][member] = value
    assert judged((begun(made), LEDGER)) == [f"DiffersError {member}"]


def test_attack_a_draft_for_another_ledger_is_not_signed(judged, draft):
    assert judged((begun(draft), "00" * 32)) == ["DiffersError ledger"]


def test_a_sensitive_kind_that_is_permitted_is_not_among_what_is_kept_back(judged):
    consent = consent_of(frozenset({"hiv"}))
    made = drafted(consent.to_content(), consent.signed()[0])
    ((_, kept),) = judged((begun(made), LEDGER))
    assert kept == sorted(set(OTHERS) - {"HIV"})


@pytest.mark.parametrize(
    "provision",
    [
        None,
        {"type": "deny"},
        {"provision": [{"type": "permit"}], "type": "permit"},
        {"provision": [{"period": {}, "securityLabel": None, "type": "deny"}], "type": "permit"},
        {"provision": [{"securityLabel": None, "type": "deny"}, {"type": "permit"}], "type": "permit"},
        {"provision": [{"securityLabel": None, "type": "deny"}]},
    ],
)
def test_attack_sensitive_records_are_not_let_through_by_terms_of_another_form(judged, provision):
    consent = consent_of()
    whole = dict(consent.to_content()["fhir"])
    if provision is None:
        del whole["provision"]
    else:
        labels = whole["provision"]["provision"][0]["securityLabel"]
        rows = [
            one | ({"securityLabel": labels} if "securityLabel" in one else {})
            for one in provision.get("provision", [])
        ]
        whole["provision"] = provision | ({"provision": rows} if rows else {})
    made = drafted(consent.to_content() | {"fhir": whole}, consent.signed()[0])
    assert judged((begun(made), LEDGER)) == ["DiffersError fhir"]


def hiding(**changes: object) -> dict[str, Any]:
    """Make the draft of a hiding."""
    consent = consent_of()
    terms = {"custodians": [RENHE], "fhir": hiding_of(RECORD, RENHE), "recipient": RENHE}
    return drafted(consent.to_content() | terms | changes, consent.signed()[0])


def of_provision(changes: dict[str, Any]) -> dict[str, Any]:
    """Write the hiding of a kind with something else in its root."""
    fhir = deepcopy(hiding_of(KIND, RENHE))
    return {**fhir, "provision": {**fhir["provision"], **changes}}


def test_a_hiding_is_told_with_the_record_that_it_names(judged):
    made = hiding()
    assert judged((begun(made), LEDGER)) == [[made["documents"][0]["content_root"], {"reference": "Observation/o1"}]]


def test_a_hiding_of_a_kind_is_told_with_all_its_types(judged):
    ((_, told),) = judged((begun(hiding(fhir=hiding_of(KIND, RENHE))), LEDGER))
    assert told == {"types": ["DiagnosticReport", "Observation"]}


@pytest.mark.parametrize(
    "changes",
    [
        {"recipient": ANXIN},
        {"custodians": [ANXIN, RENHE]},
        {"fhir": hiding_of(RECORD, ANXIN)},
        {"fhir": {**hiding_of(RECORD, RENHE), "policyRule": {"coding": [{"code": "OPTOUT"}]}}},
        {"fhir": {**hiding_of(RECORD, RENHE), "extension": []}},
        {"fhir": {**hiding_of(RECORD, RENHE), "provision": {"type": "deny"}}},
        {"fhir": of_provision({"class": []})},
        {"fhir": of_provision({"class": [{"code": 1, "system": TYPES}]})},
        {"fhir": of_provision({"class": [{"code": "Observation"}]})},
        {"fhir": of_provision({"class": [{"code": "Observation", "system": TYPES}] * 2})},
        {"fhir": of_provision({"data": hiding_of(RECORD, RENHE)["provision"]["data"]})},
    ],
)
def test_attack_a_hiding_of_another_form_is_not_signed(judged, changes):
    assert judged((begun(hiding(**changes)), LEDGER)) == ["DiffersError fhir"]


CLAIM = OneClaim(b"\x0c" * 32, ("Encounter/e1", "Invoice/i-1", "Procedure/o.3"), ("HIV", "PSY"))
CLAIM_TERMS = {
    "custodians": [RENHE],
    "fhir": CLAIM.fhir(),
    "period": {"end": TIME + 30 * DAY_S, "start": TIME - 60},
    "purpose": "HPAYMT",
    "resource_types": ["Encounter", "Invoice", "Procedure"],
}


def for_one_claim(**changes: object) -> dict[str, Any]:
    """Make the draft of a consent for one claim."""
    consent = consent_of()
    return drafted(consent.to_content() | CLAIM_TERMS | changes, consent.signed()[0])


def of_claim(**changes: object) -> dict[str, Any]:
    """Write the FHIR Consent with something else in its root."""
    fhir = deepcopy(CLAIM.fhir())
    return {**fhir, "provision": {**fhir["provision"], **changes}}


def test_a_consent_for_one_claim_is_told_with_claim_records_and_what_it_keeps_back(judged):
    ((_, told),) = judged((begun(for_one_claim()), LEDGER))
    assert told == {"cited": list(CLAIM.cited), "digest": "0c" * 32, "kept": ["HIV", "PSY"]}
    ((_, told),) = judged((begun(for_one_claim(fhir=OneClaim(CLAIM.digest, CLAIM.cited).fhir())), LEDGER))
    assert told["kept"] == []


ACTION = {"coding": [{"code": "0c" * 32, "system": "urn:medchain:claim-disclosure"}]}


@pytest.mark.parametrize(
    "changes",
    [
        {"custodians": [ANXIN, RENHE]},
        {"period": {"end": TIME + 30 * DAY_S + 1, "start": TIME - 60}},
        {"period": {"end": None, "start": TIME}},
        {"purpose": "CLMATTCH"},
        {"resource_types": ["*"]},
        {"fhir": {**CLAIM.fhir(), "policyRule": {"coding": [{"code": "OPTIN"}]}}},
        {"fhir": of_claim(action=[])},
        {"fhir": of_claim(action=[ACTION, ACTION])},
        {"fhir": of_claim(action=[{"coding": [{"code": "access"}]}])},
        {"fhir": of_claim(data=[])},
        {"fhir": of_claim(data=list(reversed(CLAIM.fhir()["provision"]["data"])))},
        {"fhir": of_claim(data=CLAIM.fhir()["provision"]["data"] * 2)},
        {"fhir": of_claim(data=[{"meaning": "dependents", "reference": {"reference": "Encounter/e1"}}])},
        {"fhir": of_claim(provision=[{"type": "permit"}])},
        {"fhir": of_claim(purpose=[{"code": "HPAYMT"}])},
    ],
)
def test_attack_a_consent_for_one_claim_of_another_form_is_not_signed(judged, changes):
    assert judged((begun(for_one_claim(**changes)), LEDGER)) == ["DiffersError fhir"]
