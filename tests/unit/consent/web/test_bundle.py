"""A patient takes records along: a FHIR Bundle in which each has its proof, verified with nothing but a policy."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from typing import Any

import pytest

from fhir_bridge import patient_records, resources
from fhir_bridge.browse.reading import Reading, RefusedError
from fhir_bridge.document import parse
from fhir_bridge.validation.check import Mode
from medchain.errors import NotFoundError
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


def test_all_records_come_in_one_file_however_many_there_are(world, monkeypatch):
    records(world, "packs", condition("packs", 1), condition("packs", 2))
    browser = world.patient("packs")
    monkeypatch.setattr(patient_records, "_LISTED", 1)
    monkeypatch.setattr(patient_records, "MAX_PAGES", 1)
    found = bundled(browser, "bundle")
    kinds = [one["resourceType"] for one in found]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "Condition": 2,
        "Observation": 1,
        "Patient": 1,
        "Provenance": 4,
    }
    assert len({(one["resourceType"], one["id"]) for one in found}) == len(found)
    assert "Download all your records" in browser.text("/my/record?lang=en")


def test_a_file_is_made_while_it_is_taken_a_record_at_a_time(world, monkeypatch):
    records(world, "streams", *(condition("streams", number) for number in range(4)))
    browser = world.patient("streams")
    monkeypatch.setattr(patient_records, "_LISTED", 2)
    read, plain = [], Reading.resource
    monkeypatch.setattr(Reading, "resource", lambda reading, place: read.append(place) or plain(reading, place))
    pieces = browser.get("/my/record/bundle").iter_encoded()
    next(pieces)
    before = len([one for one in read if not one.startswith("Patient/")])
    assert before <= 2
    assert len(list(pieces)) >= 5
    assert len([one for one in read if not one.startswith("Patient/")]) == 5


def test_attack_a_file_that_breaks_off_is_taken_for_whole(world, monkeypatch):
    """A record that cannot be read any more, or a proof that cannot be made, leaves no file that can be read."""
    records(world, "breaks", condition("breaks", 1), condition("breaks", 2))
    browser = world.patient("breaks")
    plain = Reading.resource

    def fails(reading, place):
        if place == "Condition/breaks-c1":
            raise RefusedError(404, "gone")
        return plain(reading, place)

    monkeypatch.setattr(Reading, "resource", fails)
    pieces = []
    with pytest.raises(NotFoundError, match=r"page\.unknown"):
        pieces.extend(browser.get("/my/record/bundle").iter_encoded())
    assert not b"".join(pieces).endswith(b"]}")


def test_who_has_no_records_is_given_an_empty_file(world):
    """As no list in FHIR may be empty (R4 §2.6.2)."""
    (only,) = world.site.records.bundle("nobody", [], "en")
    assert json.loads(only).keys() == {"resourceType", "type", "timestamp"}


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
