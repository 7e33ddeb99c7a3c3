"""The pages of received proofs: brought, verified, shown, destroyed; what does not hold says which rule it breaks."""

from __future__ import annotations

import io
import zipfile

import pytest

from fhir_bridge.claims_desk import proofs
from medchain.claims.cases import CaseClient
from medchain.node.packed import unpack_bundle
from medchain.store.accounts import Role
from tests.unit.fhir_bridge.claims_desk.conftest import code_of, form_of, text_of
from tests.unit.medchain.claims.filed import content
from tests.unit.medchain.claims.questions import row
from tests.unit.medchain.node.federation import ROLES

PAGE = "/claims/proofs"


@pytest.fixture(scope="module")
def evidence(insurance) -> bytes:
    """The evidence for a claim, as an insurer's node gives it."""
    client = CaseClient(insurance.insurer.local)
    case = client.take(content(identifier=[{"value": "PROVEN"}]), {"row": row().to_json()})
    client.judge(str(case["id"]))
    return client.bundle(str(case["id"]))


def brought(browser, packed: bytes):
    return browser.post(f"{PAGE}?lang=en", form_of(browser, PAGE) | {"bundle": (io.BytesIO(packed), "b.zip")})


def packed(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


def test_the_evidence_for_a_claim_is_verified_and_its_lines_are_shown(insurance, evidence):
    browser = insurance.desk()
    place = brought(browser, evidence).headers["Location"]
    page = browser.get(f"{place}?lang=en")
    said = text_of(page)
    assert "it holds" in said
    assert "The evidence for a claim" in said
    assert page.text.count("mc-seven") == 1
    # Each member once, and none of its keys.
    cosigners = said.partition("Cosigned by ")[2].partition(" Objects")[0].split(", ")
    assert len(cosigners) == len(set(cosigners)) > 1
    assert set(cosigners) <= ROLES.keys()
    assert "Practitioner/" not in page.text
    assert "No hospital has given any record under a permission for this insurer." in said
    assert f"{PAGE}/{place[-64:]}" in browser.get(PAGE).text
    assert browser.get(f"{place}/file").get_data() == evidence
    store, now = insurance.insurer.core.store, insurance.federation.time
    assert store.proofs(now)[0].answer == "claim"
    # By it an erasure finds the proof, once the claim is a patient's of this node.
    kept = store.proof(bytes.fromhex(place[-64:]), now)
    assert kept.claim is not None
    assert store.case_of(kept.claim).number == "PROVEN"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda files: files | {"verdict.json": files["verdict.json"].replace(b'"red"', b'"green"')}, ""),
        (lambda files: files | {"evidence.json": files["evidence.json"].replace(b"anxin", b"taihe")}, ""),
        (lambda files: {name: data for name, data in files.items() if name != "entry.bin"}, "bundle.files"),
    ],
)
def test_attack_what_was_changed_does_not_hold_and_nothing_of_it_is_shown(insurance, evidence, change, code):
    browser = insurance.desk()
    page = browser.get(f"{brought(browser, packed(change(unpack_bundle(evidence)))).headers['Location']}?lang=en")
    assert "it does not hold" in text_of(page)
    assert "mc-seven" not in page.text
    assert code in page.text
    assert "it does not hold" in text_of(browser.get(f"{PAGE}?lang=en"))


def test_what_is_no_proof_says_so(insurance):
    browser = insurance.desk()
    page = browser.get(f"{brought(browser, b'no zip').headers['Location']}?lang=en")
    assert "This is no proof." in text_of(page)


def test_what_is_shown_is_computed_anew_and_not_what_was_noted(insurance, evidence, monkeypatch):
    browser = insurance.desk()
    place = brought(browser, evidence).headers["Location"]
    monkeypatch.setattr(proofs, "unpack_bundle", lambda _packed: {})
    assert "it does not hold" in text_of(browser.get(f"{place}?lang=en"))


@pytest.mark.parametrize("size", [0, 101])
def test_a_file_that_is_empty_or_too_large_is_said(insurance, monkeypatch, size):
    monkeypatch.setattr(proofs, "MAX_PROOF_BYTES", 100)
    answer = brought(insurance.desk(), b"x" * size)
    assert answer.status_code == 400
    assert "Choose a zip file" in text_of(answer)


def test_a_form_without_a_file_is_said(insurance):
    browser = insurance.desk()
    assert browser.post(PAGE, form_of(browser, PAGE)).status_code == 400


def test_one_is_destroyed(insurance):
    browser = insurance.desk()
    place = brought(browser, b"to be destroyed").headers["Location"]
    assert browser.post(f"{place}/drop", form_of(browser, place)).headers["Location"] == PAGE
    assert code_of(browser.get(place)) == "proofs.unknown"
    assert code_of(browser.get(f"{PAGE}/x")) == "proofs.unknown"


def test_an_auditor_reads_what_was_found_and_gets_no_file(insurance, evidence):
    place = brought(insurance.desk(), evidence).headers["Location"]
    auditor = insurance.desk(role=Role.AUDITOR)
    page = auditor.get(place)
    assert page.status_code == 200
    assert "<form" not in page.text.partition("<main")[2]
    assert code_of(auditor.get(f"{place}/file")) == "session.role"
    form = form_of(insurance.desk(), PAGE) | {"csrf": auditor.csrf("/account")}
    for path in (PAGE, f"{place}/drop"):
        assert code_of(auditor.post(path, form)) == "session.role"


def test_attack_others_see_no_proofs(insurance):
    for who in ("hospital", "regulator"):
        assert code_of(insurance.desk(who).get(PAGE)) == "claims.role"
    assert code_of(insurance.desk(role=Role.CLINICIAN).get(PAGE)) == "session.role"
