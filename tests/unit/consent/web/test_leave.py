"""Leaving: what it ends and cannot undo; and large text, on the portal and where the patient signs."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from medchain.errors import NotFoundError, UnavailableError
from medchain.web.pages import TEXT_COOKIE
from tests.unit.consent.web.conftest import code_of
from tests.unit.consent.web.test_family import acting, token
from tests.unit.consent.web.test_pages import condition, english, records
from tests.unit.medchain.node.federation import ANXIN, ORIGIN

LARGE = 'class="nhsuk-template mc-large"'


def test_leaving_ends_all_permissions_at_once_and_says_what_it_cannot_undo(world):
    records(world, "leaves", condition("leaves", 1))
    browser = world.patient("leaves")
    page = english(browser, "/my/leave")
    assert "You permit no other organisation anything" in page
    assert "No disclosure is recorded." in page
    consents = [world.give(browser, world.ask("leaves")), world.give(browser, world.ask("leaves", purpose="HRESCH"))]
    for _ in range(2):
        world.read(consents[0])
    page = english(browser, "/my/leave")
    assert page.count(ANXIN) == 3
    assert "was given records: 4, counting each time; disclosures: 2" in page
    assert "cannot be called back" in page
    assert "已得到 4 条记录（分 2 次）" in browser.text("/my/leave?lang=zh")
    answer = browser.post("/my/leave", {"csrf": browser.csrf()})
    assert answer.headers["Location"] == "/my/leave"
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        world.read(consents[0])
    page = english(browser, "/my/leave")
    assert "You permit no other organisation anything" in page
    assert "was given records: 4" in page
    for consent in consents:
        assert "stopped by renhe-hospital" in english(browser, f"/my/access/{consent}")


def test_what_is_hidden_stays_hidden_and_the_page_says_so(world):
    records(world, "hidden-leaves")
    browser = world.patient("hidden-leaves")
    assert "stays hidden" not in english(browser, "/my/leave")
    assert browser.step("/my/record/Observation/hidden-leaves-o1/hide").status_code == 200
    browser.post("/my/leave", {"csrf": browser.csrf()})
    assert "What you hide from other organisations stays hidden" in english(browser, "/my/leave")
    assert "Hidden from other organisations since" in english(browser, "/my/record/Observation/hidden-leaves-o1")


def test_where_one_cannot_be_stopped_those_before_it_are_and_asking_again_goes_on(world, monkeypatch):
    browser = world.patient("half-leaves")
    for purpose in ("HPAYMT", "HRESCH"):
        world.give(browser, world.ask("half-leaves", purpose=purpose))
    before, called = world.local.operations["stop"], []

    def once(document):
        called.append(document)
        if len(called) == 2:
            raise UnavailableError("daemon.not_running")
        return before(document)

    monkeypatch.setitem(world.local.operations, "stop", once)
    assert browser.post("/my/leave", {"csrf": browser.csrf()}).status_code == 503
    assert english(browser, "/my/leave").count(ANXIN) == 1
    assert browser.post("/my/leave", {"csrf": browser.csrf()}).status_code == 303
    assert ANXIN not in english(browser, "/my/leave")


def test_attack_a_strange_form_or_a_helper_ends_nothing(world):
    browser, helper = acting(world, "stays")
    consent = world.give(browser, world.ask("stays"))
    strange = browser.post("/my/leave", {"csrf": browser.csrf()}, "https://evil.example")
    assert (strange.status_code, code_of(strange)) == (403, "session.form")
    assert code_of(browser.post("/my/leave", {"csrf": "x" * 43})) == "session.form"
    assert code_of(helper.post("/my/leave", {"csrf": token(helper)})) == "patient.own"
    assert helper.get("/my/leave").status_code == 403
    assert "in force" in english(browser, f"/my/access/{consent}")


def test_large_text_is_chosen_remembered_on_every_page_and_taken_back(world):
    browser = world.patient("reads")
    assert LARGE not in browser.text("/my/settings")
    assert 'href="/my/settings?text=large#text"' in browser.text("/my/settings")
    assert LARGE in browser.text("/my/settings?text=large")
    for path in ("/my", "/my/record", "/my/verify", "/my/access/" + "0" * 64):
        assert LARGE in browser.get(path).text
    assert 'href="/my/settings?text=usual#text"' in browser.text("/my/settings")
    assert LARGE not in browser.text("/my/settings?text=usual")
    assert LARGE not in browser.text("/my")


@pytest.mark.parametrize("text", ["huge", "", '"><script>', "large%00"])
def test_a_size_that_is_not_offered_changes_and_keeps_nothing(world, text):
    browser = world.browser("odd")
    answer = browser.get(f"/my/sign-in?text={text}")
    assert LARGE not in answer.text
    assert TEXT_COOKIE not in str(answer.headers.getlist("Set-Cookie"))


def test_where_the_patient_signs_the_text_is_as_large_and_stays_so_in_the_other_language(world):
    browser = world.patient("signs-large")
    browser.text("/my/settings?text=large")
    form = {"csrf": browser.csrf(), "days": "30", "kind": ["tests"], "step": "sign"}
    place = urlsplit(browser.post(f"/my/asks/{world.ask('signs-large')}", form).headers["Location"])
    assert re.fullmatch(r"lang=(zh|en)&text=large", place.query)
    assert LARGE in browser.sign.get(f"{place.path}?{place.query}", base_url=ORIGIN).text
    assert LARGE in browser.sign.get("/sign?lang=en", base_url=ORIGIN).text
    assert LARGE not in browser.sign.get("/sign?text=usual", base_url=ORIGIN).text
    assert LARGE not in browser.sign.get("/sign", base_url=ORIGIN).text
