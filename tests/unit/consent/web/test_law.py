"""What the law opens is on the patient's pages, with its basis, and is not the patient's to end."""

from __future__ import annotations

import pytest

from tests.unit.consent.web.conftest import made
from tests.unit.consent.web.test_pages import records
from tests.unit.medchain.node.federation import ANXIN, COMMISSION, RENHE
from tests.unit.medchain.node.lawful import lawful_desks, terms


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with lawful_desks(tmp_path_factory.mktemp("law")) as desks:
        yield from made(desks)


@pytest.fixture(scope="module")
def opened(world):
    """A patient whose observation a court has opened, and who was read under that."""
    browser = world.patient("judged")
    records(world, "judged")
    mandate = world.desks.local(COMMISSION).call("mandate.issue", terms("judged"))["key"]
    world.desks.everywhere(mandate, 1)
    grant = world.desks.local(RENHE).call("grant.give", {"consent": mandate})["key"]
    world.desks.everywhere(grant, 1)
    asked = {"custodian": RENHE, "grant": grant, "purpose": "HLEGAL", "resource_types": ["Observation"]}
    assert len(world.desks.local(ANXIN).call("request", asked)["records"]) == 1
    return browser, mandate


def shown(browser, path: str, language: str) -> str:
    return browser.text(f"{path}{'&' if '?' in path else '?'}lang={language}")


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("Court order", "District Court, 2026/123", "You cannot stop it")),
        ("zh", ("法院命令", "District Court，2026/123", "您不能停止它")),
    ],
)
def test_who_can_see_names_the_basis_and_offers_no_stop(opened, language, words):
    browser, mandate = opened
    for path in ("/my/access", "/my/access?by=kind", f"/my/access/{mandate}"):
        page = shown(browser, path, language)
        assert all(word in page for word in words), page
        assert f"/my/access/{mandate}/withdraw" not in page
        assert f"/my/access/{mandate}/stop" not in page
        assert f"/my/access/{mandate}/open" not in page
        assert f'{mandate}#stop"' not in page
    one = shown(browser, f"/my/access/{mandate}", language)
    assert "hospital stay of March 2026" in one
    assert f"/my/access/{mandate}/receipt" not in one
    assert f"/my/access/{mandate}/proof" in one


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", ("Court order", "Under this legal basis")), ("zh", ("法院命令", "依此法律依据"))],
)
def test_who_has_looked_names_the_basis(opened, language, words):
    browser, mandate = opened
    page = shown(browser, "/my/looked", language)
    assert all(word in page for word in words), page
    assert f'href="/my/access/{mandate}"' in page
    assert browser.get(f"/my/access/{mandate}/proof").status_code == 200


@pytest.mark.parametrize("step", ["stop", "withdraw", "open"])
def test_the_patient_neither_ends_nor_opens_it(world, opened, step):
    browser, mandate = opened
    answer = browser.post(f"/my/access/{mandate}/{step}", {"csrf": browser.csrf()})
    assert answer.status_code == 404
    rows = world.desks.local(RENHE).call("mandate.list", {})["mandates"]
    assert next(one["in_force"] for one in rows if one["key"] == mandate)
    assert browser.get(f"/my/access/{mandate}/receipt").status_code == 404


def test_another_patient_sees_nothing_of_it(world, opened):
    browser = world.patient("stranger")
    assert browser.get(f"/my/access/{opened[1]}").status_code == 404
    assert "Court order" not in shown(browser, "/my/access", "en")


@pytest.mark.parametrize(("language", "word"), [("en", "legal basis other than your consent"), ("zh", "有法律依据")])
def test_the_patient_is_told_on_the_first_page(world, opened, language, word):
    rounds = world.desks.nodes[RENHE].notices
    while rounds.round():
        pass
    assert word in shown(opened[0], "/my", language)


def test_a_hiding_does_not_hold_up_what_the_law_opens_and_who_says_no_is_told_of_it(world, opened):
    browser, mandate = opened
    page = browser.text("/my/record/Observation/judged-o1/hide?lang=en")
    assert "Who may see by law is still given it:" in page
    assert browser.step("/my/record/Observation/judged-o1/hide").status_code == 200
    grant = next(
        row["key"]
        for row in world.desks.local(ANXIN).call("grants.received", {})["grants"]
        if row["consent"] == mandate
    )
    asked = {"custodian": RENHE, "grant": grant, "purpose": "HLEGAL", "resource_types": ["Observation"]}
    assert len(world.desks.local(ANXIN).call("request", asked)["records"]) == 1
    assert browser.post("/my/leave", {"csrf": browser.csrf()}).status_code == 303
    assert len(world.desks.local(ANXIN).call("request", asked)["records"]) == 1
    page = browser.text(f"/my/asks/{world.ask('judged')}?lang=en")
    assert "is given all the same" in page
    assert "could see 0 records today" in page


def test_one_that_was_stopped_is_among_those_that_ended(world, opened):
    browser, mandate = opened
    world.desks.local(COMMISSION).call("mandate.stop", {"object": mandate})
    world.desks.federation.sites[COMMISSION].node.driver.outbox.step()
    world.desks.everywhere(mandate, 2)
    page = shown(browser, f"/my/access/{mandate}", "en")
    assert "stopped by" in page
    assert "You cannot stop it" not in page
