"""A declared death is taken back: attested by two of the staff, signed by the person; neither alone, and no other's."""

from __future__ import annotations

import json
import re

import pytest

from consent.web import restoring
from consent.web.restoring import RESTORATION, RESTORE_S, attest
from tests.unit.consent.web.conftest import PORTAL, Browser, code_of
from tests.unit.consent.web.test_joint import Family
from tests.unit.medchain.node.federation import RENHE

STAFF = ("Practitioner/a", "Practitioner/b")


def dead(world, name: str) -> Browser:
    """Enrol somebody, and declare the death."""
    browser = world.patient(name)
    asked = {"method": "death-certificate", "staff": list(STAFF), "subject": world.subjects[name]}
    world.local.call("subject.declare-death", asked)
    world.desks.everywhere(world.subjects[name], 2)
    return browser


def attested(world, name: str) -> None:
    """Have two of the staff attest that it was a mistake."""
    attest(world.site.pages.site.accounts, world.subjects[name], STAFF, world.time)


def standing(world, name: str):
    return world.local.call("subject.show", {"subject": world.subjects[name]})["standing"]


def said(browser: Browser, language: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", browser.text(f"/my?lang={language}")))


def test_who_is_on_record_as_dead_signs_on_the_first_page_what_two_of_the_staff_attest(world):
    browser = dead(world, "alive")
    assert "Sign that what is on record" not in said(browser, "en")
    attested(world, "alive")
    assert "Sign that what is on record of you is taken back" in said(browser, "en")
    assert "请签名撤销登记" in said(browser, "zh")
    done = browser.step(RESTORATION)
    assert done.status_code == 200, done.text
    assert standing(world, "alive") is None
    subject = bytes.fromhex(world.subjects["alive"])
    body = world.desks.federation.sites[RENHE].node.shelf.head(subject)[1]
    assert body.evidence.value["attested_by"] == list(STAFF)
    assert "Sign that what is on record" not in said(browser, "en")
    # What was attested counts once.
    assert code_of(browser.step(RESTORATION)) == "patient.restoration"


def test_attack_a_dead_persons_passkey_alone_takes_nothing_back(world):
    """It may be in anybody's hands."""
    browser = dead(world, "robbed-dead")
    assert code_of(browser.step(RESTORATION)) == "patient.restoration"
    attested(world, "robbed-dead")
    opened = browser.led(browser.post(RESTORATION, {"csrf": browser.csrf()}))
    restoring.use_up(world.site.pages.site.accounts, world.subjects["robbed-dead"], world.time)
    assert code_of(browser.signed(opened)) == "page.ended"
    assert standing(world, "robbed-dead")["state"] == "dead"


def test_attack_what_is_attested_of_another_person_or_long_ago_counts_for_nobody(world):
    one, other = dead(world, "not-meant"), dead(world, "meant")
    attested(world, "meant")
    assert code_of(one.step(RESTORATION)) == "patient.restoration"
    world.desks.federation.time += RESTORE_S
    other.sign_in()
    assert code_of(other.step(RESTORATION)) == "patient.restoration"
    assert {standing(world, name)["state"] for name in ("not-meant", "meant")} == {"dead"}


def test_attack_another_passkey_signs_nothing_of_it(world):
    browser, thief = dead(world, "forged-dead"), world.patient("forges-life")
    attested(world, "forged-dead")
    assert code_of(browser.step(RESTORATION, phone=thief.phone)) == "signing.credential"
    assert standing(world, "forged-dead")["state"] == "dead"


@pytest.mark.parametrize("form", [{"csrf": "x"}, {}])
def test_attack_a_form_from_elsewhere_does_nothing(world, form):
    browser = dead(world, f"framed-{len(form)}")
    attested(world, f"framed-{len(form)}")
    assert browser.post(RESTORATION, form).status_code == 403
    assert browser.post(RESTORATION, {"csrf": browser.csrf()}, origin="https://evil.example").status_code == 403
    assert PORTAL not in browser.get(RESTORATION).headers["Location"]


@pytest.fixture
def family(world):
    """A child that is on record as dead, and two guardians who act for themselves."""
    made = Family(world)
    asked = {"method": "death-certificate", "staff": list(STAFF), "subject": world.subjects[made.child]}
    made.local.call("subject.declare-death", asked)
    made.everywhere(2)
    for browser in (made.mother, made.father):
        assert browser.post("/my/acting", {"csrf": browser.csrf("/my/verify"), "for": ""}).status_code == 303
    return made


def asked_of(family, browser):
    """Have a guardian led to where it is signed."""
    place = f"{RESTORATION}/{family.world.subjects[family.child]}"
    return browser.post(place, {"csrf": browser.csrf("/my/verify")})


def signs(family, browser):
    return browser.signed(browser.led(asked_of(family, browser)))


def on_family(browser: Browser, language: str = "en") -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", browser.text(f"/my/family?lang={language}")))


def test_all_guardians_of_a_child_sign_what_two_of_the_staff_attest(family, world):
    assert "Sign that the recorded death" not in on_family(family.mother)
    assert code_of(asked_of(family, family.mother)) == "patient.restoration"
    attested(world, family.child)
    assert "Sign that the recorded death of" in on_family(family.mother)
    assert "请签名撤销" in on_family(family.mother, "zh")
    done = signs(family, family.mother)
    assert done.status_code == 200, done.text
    assert json.loads(done.data)["next"] == f"{PORTAL}/my/family"
    assert standing(world, family.child)["state"] == "dead"
    assert "The other guardians must still sign" in on_family(family.mother)
    assert signs(family, family.father).status_code == 200
    assert standing(world, family.child) is None
    body = world.desks.federation.sites[RENHE].node.shelf.head(bytes.fromhex(world.subjects[family.child]))[1]
    assert body.evidence.value["attested_by"] == list(STAFF)
    shown = family.local.call("subject.show", {"subject": world.subjects[family.child]})
    assert [one["delegate"]["role"] for one in shown["delegates"]] == ["guardian", "guardian"]
    assert "Sign that the recorded death" not in on_family(family.father)
    assert code_of(asked_of(family, family.father)) == "patient.restoration"


def test_attack_one_guardian_takes_a_death_back_alone(family, world):
    attested(world, family.child)
    assert signs(family, family.mother).status_code == 200
    assert asked_of(family, family.mother).status_code == 404
    opened = family.father.led(asked_of(family, family.father))
    assert family.father.signed(opened, family.mother.phone).status_code == 422
    assert standing(world, family.child)["state"] == "dead"


def test_attack_who_is_no_guardian_takes_no_death_back(family, world):
    attested(world, family.child)
    assert code_of(asked_of(family, world.patient("meddles"))) == "patient.ended"
    assert standing(world, family.child)["state"] == "dead"


def test_what_guardians_have_signed_ends_with_what_was_attested(family, world):
    attested(world, family.child)
    assert signs(family, family.mother).status_code == 200
    opened = family.father.led(asked_of(family, family.father))
    restoring.use_up(world.site.pages.site.accounts, world.subjects[family.child], world.time)
    assert code_of(family.father.signed(opened)) == "page.ended"
    # Attested anew, all sign anew.
    attested(world, family.child)
    assert signs(family, family.father).status_code == 200
    assert standing(world, family.child)["state"] == "dead"
    assert signs(family, family.mother).status_code == 200
    assert standing(world, family.child) is None
