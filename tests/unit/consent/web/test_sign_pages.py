"""The origin at which patients sign: what it serves, what opens there and how often, and the attacks on that."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from consent.web.sign_words import SIGN_WORDS
from consent.web.ticket import SIGN_S
from medchain.errors import UnavailableError
from medchain.web.gateway import REFUSAL
from tests.unit.consent.web.conftest import PORTAL, code_of
from tests.unit.medchain.ledger.world import genesis
from tests.unit.medchain.node.federation import ORIGIN


def place_of(browser, ask: str) -> str:
    """Have a permission drafted; gives where the portal leads."""
    form = {"csrf": browser.csrf(), "days": "30", "kind": ["tests"], "step": "sign"}
    answer = browser.post(f"/my/asks/{ask}", form)
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


def test_the_portal_leads_to_the_signing_origin_with_a_secret_that_only_the_fragment_has(world):
    browser = world.patient("led")
    ask = world.ask("led")
    place = urlsplit(place_of(browser, ask))
    assert f"{place.scheme}://{place.netloc}{place.path}" == f"{ORIGIN}/sign"
    assert re.fullmatch(r"lang=(zh|en)&text=usual", place.query)
    assert len(place.fragment) >= 32
    policy = browser.get(f"/my/asks/{ask}").headers["Content-Security-Policy"]
    assert f"form-action 'self' {ORIGIN}" in policy


def test_the_page_is_the_same_for_all_and_nothing_else_is_served_beside_it(world):
    browser, nobody = world.patient("page"), world.browser("nobody")
    cookie = browser.client.get_cookie(world.site.pages.site.cookie, domain=urlsplit(PORTAL).hostname)
    browser.sign.set_cookie(cookie.key, cookie.value, domain=urlsplit(ORIGIN).hostname, secure=True)
    pages = [one.sign.get("/sign?lang=en", base_url=ORIGIN) for one in (browser, nobody)]
    assert pages[0].data == pages[1].data
    for path in ("/my", "/my/sign-in", "/fhir/metadata", "/sign-in", "/account", "/token"):
        assert browser.sign.get(path, base_url=ORIGIN).status_code == 404
    assert {rule.rule for rule in world.sign_app.url_map.iter_rules()} == {
        "/sign",
        "/sign/begin",
        "/sign/finish",
        "/static/<name>",
    }


def test_the_page_may_run_its_own_scripts_only_and_send_no_form(world):
    answer = world.browser("strict").sign.get("/sign", base_url=ORIGIN)
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert re.findall(r"<script(?![^>]*\bsrc=\"/static/)", answer.text) == []


def test_a_ticket_opens_once(world):
    browser = world.patient("once")
    secret = urlsplit(place_of(browser, world.ask("once"))).fragment
    opened = browser.at_sign("/sign/begin", {"ticket": secret})
    again = world.browser("again").at_sign("/sign/begin", {"ticket": secret})
    assert (again.status_code, code_of(again)) == (403, "page.ended")
    assert browser.signed(opened).status_code == 200
    assert code_of(browser.signed(opened)) == "page.ended"


def test_a_ticket_is_no_secret_to_sign_under_nor_the_other_way_round(world):
    browser = world.patient("kinds")
    opened = browser.agree(world.ask("kinds"))
    begun = json.loads(opened.data)["begun"]
    assert code_of(browser.at_sign("/sign/begin", {"ticket": begun})) == "page.ended"
    secret = urlsplit(place_of(browser, world.ask("kinds"))).fragment
    answer = browser.answered(json.loads(opened.data), origin=ORIGIN) | {"begun": secret}
    assert code_of(browser.at_sign("/sign/finish", answer)) == "page.ended"


def test_what_was_opened_is_tried_again_after_a_failure_and_ends_with_its_time(world):
    browser = world.patient("retries")
    opened = browser.agree(world.ask("retries"))
    assert code_of(browser.signed(opened, origin=PORTAL)) == "assertion.origin"
    world.desks.federation.time += SIGN_S
    try:
        assert code_of(browser.signed(opened)) == "page.ended"
    finally:
        world.desks.federation.time -= SIGN_S
    assert browser.signed(opened).status_code == 200


def test_the_page_that_opened_a_draft_is_given_it_again_for_the_other_language(world):
    browser = world.patient("turns")
    opened = browser.agree(world.ask("turns"))
    begun = json.loads(opened.data)["begun"]
    for language, other in (("zh", "en"), ("en", "zh")):
        page = browser.sign.get(f"/sign?lang={language}", base_url=ORIGIN).text
        assert f'href="/sign?lang={other}"' in page
        again = browser.at_sign("/sign/begin", {"begun": begun})
        assert json.loads(again.data) == json.loads(opened.data)
    for strange in ({"begun": begun, "ticket": begun}, {"begun": "x" * 43}):
        assert browser.at_sign("/sign/begin", strange).status_code in (400, 403)
    world.desks.federation.time += SIGN_S
    try:
        assert code_of(browser.at_sign("/sign/begin", {"begun": begun})) == "page.ended"
    finally:
        world.desks.federation.time -= SIGN_S
    assert browser.signed(again).status_code == 200
    assert code_of(browser.at_sign("/sign/begin", {"begun": begun})) == "page.ended"


def test_what_the_door_of_the_signing_origin_refuses_is_done_by_nobody(world):
    refused = world.sign_app.test_client().get("/sign", environ_overrides={REFUSAL: UnavailableError("request.busy")})
    assert (refused.status_code, code_of(refused)) == (503, "request.busy")


def test_signing_out_at_the_portal_ends_what_was_to_be_signed(world):
    browser = world.patient("leaves")
    place, opened = place_of(browser, world.ask("leaves")), browser.agree(world.ask("leaves"))
    browser.post("/sign-out", {"csrf": browser.csrf()})
    assert code_of(browser.at_sign("/sign/begin", {"ticket": urlsplit(place).fragment})) == "page.ended"
    assert code_of(browser.at_sign("/sign/begin", {"begun": json.loads(opened.data)["begun"]})) == "page.ended"
    assert code_of(browser.signed(opened)) == "page.ended"


@pytest.mark.parametrize("path", ["/sign/begin", "/sign/finish"])
def test_attack_a_script_of_the_portal_or_of_a_strange_site_reaches_no_step(world, path):
    browser = world.patient("scripts")
    for origin in (PORTAL, "https://evil.example", "null"):
        refused = browser.at_sign(path, {"ticket": "x"}, origin)
        assert (refused.status_code, code_of(refused)) == (403, "session.form")


def test_attack_another_patients_passkey_does_not_sign_what_it_was_led_to(world):
    thief, victim = world.patient("leads"), world.patient("led-astray")
    opened = thief.agree(world.ask("leads"))
    assert code_of(thief.signed(opened, victim.phone)) == "signing.credential"


@pytest.mark.parametrize("origin", ["", PORTAL, "https://elsewhere.consent.example"])
def test_a_node_signs_nowhere_but_at_an_address_of_its_own_that_the_genesis_lists(world, origin):
    assert replace(world.site, sign_origin=origin).can_sign() is False
    both = genesis_with(PORTAL)
    assert replace(world.site, sign_origin=PORTAL, genesis=both).can_sign() is False
    assert world.site.can_sign() is True


def genesis_with(origin: str):
    """Give a genesis by which signatures at some other address count as well."""
    return replace(genesis(), sign_origins=frozenset({*genesis().sign_origins, origin}))


def test_every_operation_and_row_that_the_script_words_has_a_word():
    script = (world_static() / "sign.js").read_text()
    rows = set(re.findall(r"words\.([a-z_]+)", script)) | set(re.findall(r"\[\"([a-z_]+)\", ", script))
    assert {f"sign.row.{name}" for name in rows - {"dt", "dd"}} <= SIGN_WORDS.keys()


def world_static():
    from importlib.resources import files  # noqa: PLC0415  # for this test alone

    return files("consent.web") / "static"
