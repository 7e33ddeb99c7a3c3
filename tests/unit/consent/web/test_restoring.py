"""A declared death is taken back: attested by two of the staff, signed by the person; neither alone, and no other's."""

from __future__ import annotations

import re

import pytest

from consent.web import restoring
from consent.web.restoring import RESTORATION, RESTORE_S, attest
from tests.unit.consent.web.conftest import PORTAL, Browser, code_of
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
