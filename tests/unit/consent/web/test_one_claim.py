"""A patient permits one claim: what the page shows, what is signed, and what nobody can make of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.index_job import IndexJob
from medchain.encoding import base64_text, canonical, parse_canonical, unbase64
from medchain.errors import MedchainError, NotFoundError
from medchain.ledger.citation import citation_of
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.one_claim import OneClaim, one_claim_in
from medchain.node.exchange import ClaimWish
from tests.unit.consent.web.conftest import code_of
from tests.unit.consent.web.test_family import acting, observe, token
from tests.unit.consent.web.test_joint import Family, next_of
from tests.unit.consent.web.test_pages import condition, english, records
from tests.unit.medchain.node.federation import ANXIN, NOW, RENHE

DIGEST = "0c" * 32


def claim_of(patient: str, *more: str, **changes: object) -> dict[str, object]:
    """Say for which claim an insurer asks, which cites a diagnosis and a measurement of a patient."""
    cited = sorted((f"Condition/{patient}-c1", f"Observation/{patient}-o1", *more))
    given = {"amount": 123_450, "cited": cited, "currency": "CNY", "digest": DIGEST, "hospital": RENHE}
    return given | {"number": "AX-2026-0317"} | changes


def asked(world, patient: str, *more: str, **changes: object) -> str:
    return world.ask(patient, claim=claim_of(patient, *more, **changes))


def allow(browser, ask: str, **changes: object):
    """Have a permission for a claim drafted, and open what is to be signed."""
    form = {"csrf": browser.csrf(f"/my/asks/{ask}"), "step": "sign"}
    return browser.led(browser.post(f"/my/asks/{ask}", form | changes))


def given(browser, ask: str, **changes: object) -> str:
    done = browser.signed(allow(browser, ask, **changes))
    assert done.status_code == 200, done.text
    return re.search(r"/my/access/([0-9a-f]{64})\?new=1", json.loads(done.data)["next"])[1]


def content_of(world, patient: str, key: str) -> dict[str, object]:
    asked_for = {"patient": patient, "subjects": [world.subjects[patient]]}
    rows = world.local.call("patient.consents", asked_for)["consents"]
    return next(row["content"] for row in rows if row["key"] == key)


def test_the_page_says_who_for_which_claim_what_is_told_of_which_records_and_until_when(world):
    records(world, "shown", condition("shown", 1), condition("shown", 2))
    browser = world.patient("shown")
    ask = asked(world, "shown", "Observation/elsewhere")
    page = english(browser, f"/my/asks/{ask}")
    for said in (
        ANXIN,
        "王晓梅",
        "AX-2026-0317, 1,234.50 CNY",
        "this hospital has not checked them",
        "The records that it is about (2)",
        "诊断1",
        "血糖",
        "no record as a whole",
        "whether there was surgery",
        "Of one more that it names nothing is told",
        "(30 days)",
    ):
        assert said in page, said
    assert "诊断2" not in page
    assert "asks to check your record for one claim" in english(browser, "/my")
    chinese = browser.text(f"/my/asks/{ask}?lang=zh")
    assert "AX-2026-0317，1,234.50 元" in chinese
    assert "同意，只为这一笔" in chinese


def test_one_tap_gives_a_permission_for_that_claim_and_those_records_alone(world):
    records(world, "taps", condition("taps", 1))
    browser = world.patient("taps")
    key = given(browser, asked(world, "taps"))
    content = content_of(world, "taps", key)
    one = one_claim_in(content)
    assert (one.digest.hex(), one.cited) == (DIGEST, ("Condition/taps-c1", "Observation/taps-o1"))
    assert "PSY" in one.kept
    assert (content["recipient"], content["purpose"], content["custodians"]) == (ANXIN, "HPAYMT", [RENHE])
    period = content["period"]
    assert period["end"] - period["start"] == 30 * DAY_S + 60
    page = english(browser, f"/my/access/{key}?new=1")
    assert "in force, for this one claim" in page
    assert "AX-2026-0317, 1,234.50 CNY" in page
    assert DIGEST in page
    assert "for one claim" in english(browser, "/my/access")
    assert browser.get(f"/my/access/{key}/receipt").status_code == 200
    (row,) = world.local.call("ask.list", {"patient": "taps"})["asks"]
    assert row["answer"] == "given"


def test_what_was_told_for_a_claim_is_shown_as_parts_and_what_was_given_as_records(world):
    records(world, "parts", condition("parts", 1))
    browser = world.patient("parts")
    once = given(browser, asked(world, "parts"))
    told(world, once, "Condition/parts-c1", "Observation/parts-o1")
    page = english(browser, f"/my/access/{once}")
    assert "parts of 2 records, told for a claim" in page
    general = world.give(browser, world.ask("parts"))
    told(world, general, "Observation/parts-o1")
    assert "parts of 1 record, told for a claim" in english(browser, f"/my/access/{general}")
    world.read(general)
    looked = english(browser, "/my/looked")
    assert looked.count("told for a claim") == 2
    assert "2 records" in looked.replace("parts of 2 records", "")
    assert "为理赔告知 2 条记录的部分内容" in browser.text("/my/looked?lang=zh")


def told(world, consent: str, *cited: str) -> None:
    """Have the hospital tell an insurer what a claim needs of records, under a permission."""
    grants = world.desks.local(ANXIN).call("grants.received", {})["grants"]
    grant = next(row["key"] for row in grants if row["consent"] == consent)
    site = world.desks.federation.sites[RENHE]
    job = IndexJob(site.records, site.service, SearchIndex(site.records), world.desks.federation.clock)
    while job.step():
        pass
    citation = citation_of(cited, NOW, ("2026-11-20", "2026-11-20"), b"\x66" * 32)
    wish = ClaimWish(RENHE, bytes.fromhex(grant), bytes.fromhex(DIGEST), citation)
    world.desks.nodes[ANXIN].asker.request_disclosure(wish)


def test_attack_an_insurer_asks_for_whole_records_under_a_permission_for_one_claim(world):
    records(world, "whole1", condition("whole1", 1))
    browser = world.patient("whole1")
    key = given(browser, asked(world, "whole1"))
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        world.read(key)
    assert "No disclosure is recorded." in english(browser, f"/my/access/{key}")


def test_who_says_no_gives_nothing(world):
    records(world, "refuses1")
    browser, ask = world.patient("refuses1"), asked(world, "refuses1")
    form = {"csrf": browser.csrf(f"/my/asks/{ask}"), "step": "decline"}
    assert browser.post(f"/my/asks/{ask}", form).headers["Location"] == "/my"
    assert browser.get(f"/my/asks/{ask}").status_code == 404


def test_sensitive_records_are_told_of_by_their_own_choice_only(world):
    records(world, "minds", condition("minds", 1, "PSY"), condition("minds", 2))
    browser = world.patient("minds")
    ask = asked(world, "minds")
    page = english(browser, f"/my/asks/{ask}")
    assert "mental health (1)" in page
    assert "The record that it is about" in page
    kept = one_claim_in(content_of(world, "minds", given(browser, ask)))
    assert "PSY" in kept.kept
    again = asked(world, "minds", digest="0d" * 32)
    chosen = one_claim_in(content_of(world, "minds", given(browser, again, sensitive=["mental"])))
    assert "PSY" not in chosen.kept
    assert "HIV" in chosen.kept
    refused = allow(browser, asked(world, "minds", digest="0e" * 32), sensitive=["everything"])
    assert code_of(refused) == "patient.choice"


def test_a_page_without_sensitive_records_asks_for_none(world):
    records(world, "plain1", condition("plain1", 1))
    browser = world.patient("plain1")
    assert 'name="sensitive"' not in browser.text(f"/my/asks/{asked(world, 'plain1')}")


def test_an_ask_for_records_that_are_not_here_says_so(world):
    browser = world.patient("empty1")
    page = english(browser, f"/my/asks/{asked(world, 'empty1')}")
    assert "None of the records that it names is here" in page


def test_what_is_permitted_for_one_claim_counts_as_no_permission_for_records(world):
    records(world, "beside1", condition("beside1", 1))
    browser = world.patient("beside1")
    given(browser, asked(world, "beside1"))
    page = english(browser, f"/my/asks/{world.ask('beside1')}")
    assert "Nothing else lets" in page
    assert "Against the permission" not in page
    again = english(browser, f"/my/asks/{asked(world, 'beside1')}")
    assert "You have permitted this claim already." in again


def test_hiding_a_record_shows_that_fewer_are_told_for_the_claim(world):
    records(world, "hides1", condition("hides1", 1))
    browser = world.patient("hides1")
    given(browser, asked(world, "hides1"))
    page = english(browser, "/my/record/Condition/hides1-c1/hide")
    assert "2 records today, 1 once it is hidden." in page


def altered(opened, change) -> str:
    """Change the content of a draft as a portal that lies would, after the patient's page has shown it."""
    draft = parse_canonical(unbase64(json.loads(opened.data)["draft"]), max_bytes=1 << 20)
    rows = draft["body"]["fields"]
    draft["body"]["fields"] = [[name, salt, change(name, value)] for name, salt, value in rows]
    return base64_text(canonical(draft))


def test_attack_the_list_of_records_is_altered_after_it_was_signed(world):
    records(world, "alters", condition("alters", 1), condition("alters", 2))
    browser = world.patient("alters")
    opened = allow(browser, asked(world, "alters"))
    answered = browser.answered(json.loads(opened.data))
    more = OneClaim(bytes.fromhex(DIGEST), ("Condition/alters-c1", "Condition/alters-c2", "Observation/alters-o1"))
    kept = one_claim_in_draft(opened)
    wider = replace(more, kept=kept.kept).fhir()
    draft = altered(opened, lambda name, value: wider if name == "fhir" else value)
    assertion = {
        "authenticator_data": standard(answered["authenticator_data"]),
        "client_data_json": standard(answered["client_data"]),
        "credential_id": standard(answered["credential"]),
        "signature": standard(answered["signature"]),
    }
    with pytest.raises(MedchainError, match=r"assertion\.|draft\."):
        world.local.call("consent.give", {"assertion": assertion, "draft": draft})


def one_claim_in_draft(opened) -> OneClaim:
    draft = parse_canonical(unbase64(json.loads(opened.data)["draft"]), max_bytes=1 << 20)
    return one_claim_in({name: value for name, _salt, value in draft["body"]["fields"]})


def standard(text: str) -> str:
    """Write what a browser sends as the daemon reads it."""
    return text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)


def test_what_the_signing_page_is_told_names_claim_and_records(world):
    records(world, "names1", condition("names1", 1))
    browser = world.patient("names1")
    names = json.loads(allow(browser, asked(world, "names1")).data)["names"]
    assert names[DIGEST] == "AX-2026-0317，1,234.50 元"
    assert names["Condition/names1-c1"].startswith("诊断1")


def test_a_claim_that_cites_as_much_as_it_may_is_signed_as_any_other(world):
    records(world, "many1", condition("many1", 1))
    browser = world.patient("many1")
    more = [f"Observation/many1-{number:03}" for number in range(398)]
    key = given(browser, asked(world, "many1", *more))
    assert len(one_claim_in(content_of(world, "many1", key)).cited) == 400


def test_attack_another_patients_ask_for_a_claim_is_not_there(world):
    records(world, "owner1")
    browser, ask = world.patient("other1"), asked(world, "owner1")
    assert browser.get(f"/my/asks/{ask}").status_code == 404


def allow_for(browser, ask: str):
    """Have who acts for a patient draft a permission for a claim, and sign it."""
    return browser.signed(browser.led(browser.post(f"/my/asks/{ask}", {"csrf": token(browser), "step": "sign"})))


def test_a_guardian_permits_a_claim_for_a_child(world):
    family = Family(world)
    ask = asked(world, family.child)
    assert "AX-2026-0317" in english(family.mother, f"/my/asks/{ask}")
    key = re.fullmatch(r"/my/access/([0-9a-f]{64})\?new=1", next_of(allow_for(family.mother, ask)))[1]
    content = content_of(world, family.child, key)
    assert (content["subject"], content["acting_for"]) == (
        family.subject(family.mother),
        world.subjects[family.child],
    )
    assert one_claim_in(content).digest.hex() == DIGEST


def test_guardians_who_disagree_permit_a_claim_together(world):
    family = Family(world)
    family.disagree()
    ask = asked(world, family.child)
    assert "The guardians disagree" in english(family.mother, f"/my/asks/{ask}")
    assert next_of(allow_for(family.mother, ask)) == f"/my/asks/{ask}"
    page = english(family.father, f"/my/asks/{ask}")
    assert "All guardians must sign this" in page
    assert "AX-2026-0317, 1,234.50 CNY" in page
    key = re.fullmatch(r"/my/access/([0-9a-f]{64})\?new=1", next_of(family.joined(family.father, ask)))[1]
    assert one_claim_in(content_of(world, family.child, key)).digest.hex() == DIGEST


def test_a_helper_permits_no_claim_that_cites_what_is_beyond_its_limits(world):
    _, helper = acting(world, "limited1")
    observe(world, "limited1")
    within = world.ask(
        "limited1",
        claim=claim_of("limited1", cited=["Observation/limited1-o1"]),
        resource_types=["Observation"],
    )
    beyond = asked(world, "limited1", digest="0d" * 32)
    assert "Allow, for this claim only" not in english(helper, f"/my/asks/{beyond}")
    form = {"csrf": token(helper), "step": "sign"}
    assert code_of(helper.post(f"/my/asks/{beyond}", form)) == "patient.limits"
    assert "Allow, for this claim only" in english(helper, f"/my/asks/{within}")
    assert allow_for(helper, within).status_code == 200


def test_a_guardian_is_told_at_its_own_page_that_a_child_is_asked(world):
    family = Family(world)
    asked(world, family.child)
    family.mother.post("/my/acting", {"csrf": token(family.mother), "for": ""})
    page = english(family.mother, "/my")
    assert "Somebody asks a person for whom you act for a permission." in page
    assert "AX-2026-0317" not in page


def test_what_a_patient_is_asked_itself_is_shown_and_not_told_once_more(world):
    browser = world.patient("once1")
    asked(world, "once1")
    page = english(browser, "/my")
    assert page.count("asks to check your record for one claim") == 1
    assert "Somebody asks" not in page
