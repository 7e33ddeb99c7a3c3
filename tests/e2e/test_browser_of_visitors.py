"""A visitor of the demo takes the claim that its summary names from the insurer's question to the money."""

from __future__ import annotations

import re

import pytest

from medchain.claims.cases import CaseClient
from medchain.commands.demo_story import RECIPIENT
from tests.e2e.browser import Browser, is_there
from tests.e2e.test_browse_browser import signed_in
from tests.e2e.test_browser_of_claims import shown
from tests.waiting import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not is_there(), reason="needs Debian's chromium and chromium-driver (`make browser`)"),
]

LANGUAGES = ("zh", "en")
STILL_OPEN = "[...document.querySelectorAll('main a[href^=\"/my/asks/\"]')].map((one) => one.getAttribute('href'))"


@pytest.fixture(scope="module")
def desk(demo, tmp_path_factory):
    """The browser of the insurer's desk, with an account as the summary says."""
    made = signed_in(demo, tmp_path_factory.mktemp("desk"), "claims-1", "desk", RECIPIENT)
    try:
        yield made
    finally:
        made.close()


def seen(browser: Browser, url: str, pictures, name: str) -> list[str]:
    """Look at a page in both languages on a phone and at a desk, with what is folded unfolded; tells its faults."""
    found = []
    for language in LANGUAGES:
        browser.open(f"{url}?lang={language}")
        browser.wait_for("#main")
        unfold(browser)
        found += shown(browser, pictures, f"visit-{name}-{language}")
    return found


def unfold(browser: Browser) -> None:
    browser.script("document.querySelectorAll('details').forEach((one) => { one.open = true })")


def refusals(phone: Browser, home: str) -> int:
    phone.open(f"{home}/looked?lang=zh")
    phone.wait_for("#main")
    return phone.text.count("被拒绝")


def is_permitted(desk: Browser, place: str) -> bool:
    """Tell whether the desk has heard of the permission: its next step is to gather the evidence then."""
    desk.open(f"{place}?lang=zh")
    desk.wait_for("#main")
    return bool(desk.script("return document.querySelector('form[action$=\"/judge\"] button').offsetHeight"))


def ask_for(phone: Browser, home: str, number: str) -> str:
    """Find the patient's page of the ask for a claim among all that wait."""
    phone.open(f"{home}?lang=zh")
    phone.wait_for("#main")
    for href in phone.script(f"return {STILL_OPEN}"):
        url = re.sub("/my$", href, home)
        phone.open(f"{url}?lang=zh")
        if number in phone.text:
            return url
    pytest.fail(f"no ask for {number}")


def test_the_claim_of_the_summary_goes_from_the_ask_to_the_money(demo, consortium, desk, phone, home, pictures):
    claim = demo.said["person"]["claim"]
    place = f"{demo.said['nodes'][RECIPIENT]['web']}/claims/cases/{claim['case']}"
    found = seen(desk, place, pictures, "case-new")
    assert claim["number"] in desk.text
    desk.type("#reason", "核对这次门诊的费用")
    desk.leave("form[action$='/ask'] button")
    before = refusals(phone, home)
    asked = ask_for(phone, home, claim["number"])
    found += seen(phone, asked, pictures, "ask")
    phone.resize(390, 844)
    # As the words of the page say: one tap, and the passkey.
    phone.open(f"{asked}?lang=zh")
    phone.click("button[name=step][value=sign]")
    phone.click("[data-passkey=sign] button")
    phone.wait_until("许可已生效，只为这一笔理赔")
    found += seen(phone, phone.url.partition("?")[0], pictures, "allowed")
    phone.resize(390, 844)
    assert eventually(lambda: is_permitted(desk, place))
    desk.leave("form[action$='/judge'] button")
    desk.wait_for(".mc-seven")
    assert (
        desk.script("return [...document.querySelectorAll('.mc-seven > li')].map((one) => one.dataset.colour)")
        == ["green"] * 7
    )
    found += seen(desk, place, pictures, "green")
    for deed in ("reserve", "settle"):
        desk.open(f"{place}?lang=zh")
        unfold(desk)
        desk.leave(f"form[action$='/{deed}'] button")
    desk.wait_until("已赔付")
    found += seen(desk, place, pictures, "paid")
    case = CaseClient(consortium.nodes[RECIPIENT].local).show(claim["case"])
    assert [one["action"] for one in case["deeds"]] == ["reserve", "settle"]
    assert case["status"] == "settled"
    # The permission opens no record, and nobody tries.
    assert refusals(phone, home) == before
    assert re.findall(r"[0-9]:[0-9]{2}(?! UTC\+8)", desk.text) == []
    assert found == []
