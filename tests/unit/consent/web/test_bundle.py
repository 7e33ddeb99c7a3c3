"""A patient takes records along: a FHIR Bundle in which each has its proof, verified with nothing but a policy."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from typing import Any

import pytest

from consent.web import record
from fhir_bridge import resources
from fhir_bridge.document import parse
from fhir_bridge.validation.check import Mode
from medchain.ledger.bundle import verify_bundle
from medchain.ledger.genesis import trusted_policy_text
from tests.unit.consent.web.conftest import code_of
from tests.unit.consent.web.test_family import acting, observe
from tests.unit.consent.web.test_pages import condition, records
from tests.unit.medchain.ledger.world import genesis


def bundled(browser, place: str) -> list[dict[str, Any]]:
    """Download a Bundle; gives its resources."""
    answer = browser.get(f"/my/record/{place}")
    assert (answer.status_code, answer.mimetype) == (200, "application/fhir+json")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    resources.check(parse(answer.data), "Bundle", Mode.STRICT)
    return [one["resource"] for one in json.loads(answer.data)["entry"]]


def proven(world, provenance: dict[str, Any]) -> bytes:
    """Verify the proof in a Provenance; gives the content that it shows."""
    (signature,) = provenance["signature"]
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(signature["data"]))) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    policy = trusted_policy_text(genesis().members, genesis().origin)
    return verify_bundle(files, policy, now=world.time).opened


def test_a_record_comes_with_its_provenance_whose_proof_verifies_and_shows_the_same_content(world):
    records(world, "takes", condition("takes", 1))
    browser = world.patient("takes")
    taken, provenance = bundled(browser, "Condition/takes-c1/bundle")
    assert (taken["resourceType"], taken["id"]) == ("Condition", "takes-c1")
    assert provenance["target"] == [{"reference": "Condition/takes-c1/_history/1", "type": "Condition"}]
    shown = json.loads(proven(world, provenance))
    assert {name: taken[name] for name in ("code", "id", "subject")} == {
        name: shown[name] for name in ("code", "id", "subject")
    }
    assert 'href="/my/record/Condition/takes-c1/bundle"' in browser.text("/my/record/Condition/takes-c1")


def test_all_records_come_in_one_file_the_newest_of_many(world, monkeypatch):
    records(world, "packs", condition("packs", 1), condition("packs", 2))
    browser = world.patient("packs")
    found = bundled(browser, "bundle")
    kinds = [one["resourceType"] for one in found]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "Condition": 2,
        "Observation": 1,
        "Patient": 1,
        "Provenance": 4,
    }
    assert "(100 at most, the newest)" in browser.text("/my/record?lang=en")
    monkeypatch.setattr(record, "BUNDLED", 1)
    assert [one["id"] for one in bundled(browser, "bundle") if one["resourceType"] != "Provenance"] == ["packs-o1"]
    assert "(1 at most, the newest)" in browser.text("/my/record?lang=en")


@pytest.mark.parametrize("place", ["Observation/packed-o1", "Observation/no-such", "observation/x"])
def test_attack_another_patients_record_is_in_no_file(world, place):
    if "packed" not in world.subjects:
        records(world, "packed")
        world.patient("packed")
    answer = world.patient("steals").get(f"/my/record/{place}/bundle")
    assert (answer.status_code, code_of(answer)) == (404, "page.unknown")


def test_who_is_not_signed_in_is_given_none_and_a_helper_those_of_whom_it_acts_for(world):
    assert world.browser("nobody").get("/my/record/bundle").status_code == 303
    _, helper = acting(world, "carries", may="view", kind=[])
    observe(world, "carries")
    (record, *_) = bundled(helper, "Observation/carries-o1/bundle")
    assert record["subject"] == {"reference": "Patient/carries"}
