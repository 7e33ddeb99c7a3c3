"""A patient takes records along: a FHIR Bundle in which each has its proof, verified with nothing but a policy."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from typing import Any

import pytest

from fhir_bridge import patient_records, resources
from fhir_bridge.browse.reading import Reading, RefusedError
from fhir_bridge.document import parse
from fhir_bridge.search import cursor
from fhir_bridge.validation.check import Mode
from medchain.errors import AccessDeniedError, UnavailableError
from medchain.ledger.bundle import verify_bundle
from medchain.ledger.genesis import trusted_policy_text
from medchain.node.records import NewRecord
from medchain.web.session import LONGEST_S
from tests.unit.consent.web.conftest import code_of
from tests.unit.consent.web.test_family import acting, observe
from tests.unit.consent.web.test_pages import condition, records
from tests.unit.medchain.ledger.world import genesis
from tests.waiting import eventually


def bundled(browser, place: str) -> list[dict[str, Any]]:
    """Download a Bundle; gives its resources."""
    answer = browser.get(f"/my/record/{place}")
    assert (answer.status_code, answer.mimetype) == (200, "application/fhir+json")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    resources.check(parse(answer.data), "Bundle", Mode.STRICT)
    return [one["resource"] for one in json.loads(answer.data)["entry"]]


def signed(provenance: dict[str, Any]) -> dict[str, bytes]:
    """Give the files of the proof in a Provenance."""
    (signature,) = provenance["signature"]
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(signature["data"]))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def proven(world, provenance: dict[str, Any]) -> bytes:
    """Verify the proof in a Provenance; gives the content that it shows."""
    files = signed(provenance)
    policy = trusted_policy_text(genesis().members, genesis().origin)
    return verify_bundle(files, policy, now=world.time).opened


def test_a_record_comes_with_its_provenance_whose_proof_verifies_and_shows_the_same_content(world):
    records(world, "takes", condition("takes", 1))
    browser = world.patient("takes")
    taken, provenance = bundled(browser, "Condition/takes-c1/bundle")
    assert (taken["resourceType"], taken["id"]) == ("Condition", "takes-c1")
    (target,) = provenance["target"]
    assert (target["reference"], target["type"]) == ("Condition/takes-c1/_history/1", "Condition")
    # The digest is the one that the ledger has, as the proof says.
    assert target["extension"][0]["valueString"] == json.loads(signed(provenance)["record.json"])["body_hash"]
    shown = json.loads(proven(world, provenance))
    assert {name: taken[name] for name in ("code", "id", "subject")} == {
        name: shown[name] for name in ("code", "id", "subject")
    }
    assert 'href="/my/record/Condition/takes-c1/bundle"' in browser.text("/my/record/Condition/takes-c1")


def test_all_records_come_in_one_file_however_many_there_are(world, monkeypatch):
    records(world, "packs", condition("packs", 1), condition("packs", 2))
    browser = world.patient("packs")
    monkeypatch.setattr(patient_records, "_NAMED", 1)
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


class Download:
    """A file that is taken slowly: nothing but its first record has come."""

    def __init__(self, browser, place: str = "bundle") -> None:
        """Begin."""
        self._pieces = browser.get(f"/my/record/{place}").iter_encoded()
        self.taken = [next(self._pieces)]

    def end(self) -> list[dict[str, Any]]:
        """Take what is left; gives the resources."""
        self.taken += self._pieces
        whole = parse(b"".join(self.taken))
        resources.check(whole, "Bundle", Mode.STRICT)
        return [one["resource"] for one in json.loads(b"".join(self.taken))["entry"]]

    def breaks_off(self, error: type[Exception], code: str) -> bool:
        """Take what comes; tells whether it broke off, and nobody takes it for whole."""
        with pytest.raises(error, match=re.escape(code)):
            self.taken += self._pieces
        with pytest.raises(json.JSONDecodeError):
            json.loads(b"".join(self.taken))
        return True


def names_of(found: list[dict[str, Any]], *others: str) -> list[str]:
    """Name the records of a file, Provenances and others left out."""
    return sorted(one["id"] for one in found if one["resourceType"] not in ("Provenance", *others))


def several(world, name: str, many: int = 4):
    """Give a browser of a patient with some records."""
    records(world, name, *(condition(name, number) for number in range(many)))
    return world.patient(name)


def test_a_file_is_made_while_it_is_taken_a_record_at_a_time(world, monkeypatch):
    browser = several(world, "streams")
    read, plain = [], Reading.resource
    monkeypatch.setattr(Reading, "resource", lambda reading, place: read.append(place) or plain(reading, place))
    download = Download(browser)
    assert len([one for one in read if not one.startswith("Patient/")]) <= 1
    assert len(names_of(download.end())) == 6
    assert len([one for one in read if not one.startswith("Patient/")]) == 5


def test_a_download_takes_longer_than_the_pages_of_a_search_count(world, monkeypatch):
    """Once it has begun, no page of a search is asked for, however long the line takes."""
    monkeypatch.setattr(patient_records, "_NAMED", 2)
    download = Download(several(world, "hours"))
    monkeypatch.setattr(cursor, "LIFE_S", -1)
    assert names_of(download.end()) == ["hours", *(f"hours-c{number}" for number in range(4)), "hours-o1"]


def test_a_download_that_waits_keeps_nothing_open_in_the_file_of_records(world):
    """Else a slow line would have the write-ahead log grow for hours."""
    download = Download(several(world, "waits"))
    records(world, "writes-meanwhile")
    # Others read now and then; who keeps an earlier state open does it for ever.
    assert eventually(world.server.store.database.checkpoint)
    assert len(names_of(download.end())) == 6


def test_what_changes_meanwhile_comes_once_as_it_is_and_what_is_gone_is_told(world):
    browser = several(world, "moves")
    download, service = Download(browser), world.server.service
    changed = condition("moves", 1) | {"code": {"text": "复查"}}
    for record, version in ((changed, 2), (condition("moves", 7), 1)):
        content = json.dumps(record).encode()
        service.create(NewRecord("Condition", record["id"], content, "moves", version))
    service.delete("Condition", "moves-c0")
    found = download.end()
    assert names_of(found, "OperationOutcome") == ["moves", "moves-c1", "moves-c2", "moves-c3", "moves-o1"]
    assert [one["code"]["text"] for one in found if one.get("id") == "moves-c1"] == ["复查"]
    (issue,) = next(one["issue"] for one in found if one["resourceType"] == "OperationOutcome")
    assert (issue["severity"], issue["code"], issue["diagnostics"]) == ("warning", "not-found", "Condition/moves-c0")
    assert issue["details"]["text"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_attack_a_file_that_breaks_off_is_taken_for_whole(world, monkeypatch, status):
    """A record that cannot be read now, or a proof that cannot be made, leaves no file that can be read."""
    name = f"breaks{status}"
    browser, plain = several(world, name), Reading.resource

    def fails(reading, place):
        if place == f"Condition/{name}-c1":
            raise RefusedError(status, "not now")
        return plain(reading, place)

    monkeypatch.setattr(Reading, "resource", fails)
    assert Download(browser).breaks_off(UnavailableError, "page.broken_off")
    answer = browser.get(f"/my/record/Condition/{name}-c1/bundle")
    assert (answer.status_code, code_of(answer)) == (503, "page.broken_off")


def test_attack_a_download_goes_on_after_its_session_was_ended(world):
    """As a recovery ends those of a stolen telephone."""
    browser = several(world, "ends")
    download = Download(browser)
    assert browser.post("/sign-out", {"csrf": browser.csrf()}).status_code == 303
    assert download.breaks_off(AccessDeniedError, "session.none")


def test_a_download_goes_on_when_the_time_of_its_session_is_over(world, monkeypatch):
    download = Download(several(world, "lasts"))
    monkeypatch.setattr(type(world.site.pages.site), "clock", property(lambda _: lambda: world.time + LONGEST_S))
    assert len(names_of(download.end())) == 6


def test_attack_a_helpers_download_goes_on_after_the_helper_was_ended(world):
    person, helper = acting(world, "trusts", may="view", kind=[])
    observe(world, "trusts")
    download = Download(helper)
    delegate = world.subjects["trusts-helper"]
    assert person.post(f"/my/helpers/{delegate}/end", {"csrf": person.csrf()}).status_code == 303
    assert download.breaks_off(AccessDeniedError, "patient.ended")


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
