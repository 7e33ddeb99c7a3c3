"""Guardians say that they disagree about a child, and settle it, each with a signature; and the attacks on that."""

from __future__ import annotations

import json
import re

import pytest

from consent.web import joint
from medchain.errors import ConflictError
from tests.unit.consent.web.conftest import PORTAL, code_of
from tests.unit.consent.web.test_family import acting, give, token
from tests.unit.consent.web.test_joint import Family
from tests.unit.consent.web.test_settings import said
from tests.unit.medchain.node.desks import signed

PLACE = "/my/custody"


@pytest.fixture
def family(world):
    return Family(world)


def step(browser, name: str):
    """Have something drafted on the page, and sign it; gives the last answer."""
    return browser.signed(browser.led(browser.post(f"{PLACE}/{name}", {"csrf": token(browser)})))


def disputed(family) -> bool:
    return family.local.call("subject.show", {"subject": family.world.subjects[family.child]})["disputed"]


def kept(family) -> joint.Joint | None:
    return family.kept(family.world.subjects[family.child])


def test_one_guardian_says_alone_that_they_disagree_and_both_settle_it(family, world):
    page = said(family.mother, PLACE)
    assert all(f"王{name}" in page for name in family.names)
    assert "At present each guardian permits and stops alone" in page
    assert 'href="/my/custody"' in family.mother.text("/my")
    done = step(family.mother, "dispute")
    assert json.loads(done.data)["next"] == f"{PORTAL}{PLACE}"
    assert disputed(family)
    family.everywhere(2)
    # From then on nothing is permitted by one alone.
    ask = world.ask(family.child)
    assert json.loads(give(family.mother, ask).data)["next"] == f"{PORTAL}/my/asks/{ask}"
    page = said(family.father, PLACE)
    assert "they disagree" in page
    assert "Say that we agree again, and sign that" in page
    assert json.loads(step(family.father, "settle").data)["next"] == f"{PORTAL}{PLACE}"
    assert disputed(family)
    page = said(family.father, PLACE)
    assert re.search(rf"Signed by\s+王{family.names[1]}\s+Waiting for\s+王{family.names[0]}", page)
    assert "You have signed. The other guardians must still sign." in page
    assert step(family.mother, "settle").status_code == 200
    assert not disputed(family)
    assert kept(family) is None
    assert "At present each guardian permits and stops alone" in said(family.mother, PLACE)


def test_attack_one_guardian_does_not_settle_alone_by_signing_twice(family):
    family.disagree()
    assert step(family.mother, "settle").status_code == 200
    again = family.mother.post(f"{PLACE}/settle", {"csrf": token(family.mother)})
    assert (again.status_code, code_of(again)) == (404, "page.unknown")
    assert disputed(family)


def test_attack_the_other_guardians_signature_is_made_by_nobody_else(family):
    family.disagree()
    assert step(family.mother, "settle").status_code == 200
    opened = family.father.led(family.father.post(f"{PLACE}/settle", {"csrf": token(family.father)}))
    assert family.father.signed(opened, family.mother.phone).status_code == 422
    assert disputed(family)


def test_what_was_signed_before_the_enrolment_changed_is_drafted_anew(family, world):
    family.disagree()
    assert step(family.mother, "settle").status_code == 200
    before = kept(family).draft
    # The guardians settle at the same time in another way, and disagree once more.
    draft = family.local.call("subject.draft", {"operation": "settle", "subject": world.subjects[family.child]})
    both = joint.Joint(str(draft["draft"]), {}, 0)
    phones = {family.subject(one): one.phone for one in (family.mother, family.father)}
    rows = [{"challenge": both.challenge(one), "draft": both.draft} for one in both.signers]
    answers = [signed(phones[one], row)["assertion"] for one, row in zip(both.signers, rows, strict=True)]
    family.local.call("subject.change", {"assertions": answers, "draft": both.draft})
    family.everywhere(3)
    assert step(family.father, "dispute").status_code == 200
    family.everywhere(4)
    assert step(family.father, "settle").status_code == 200
    found = kept(family)
    assert found.draft != before
    assert list(found.given) == [family.subject(family.father)]
    assert step(family.mother, "settle").status_code == 200
    assert not disputed(family)


def test_signatures_that_the_ledger_refuses_are_forgotten_so_that_they_begin_anew(family, monkeypatch, world):
    family.disagree()
    assert step(family.mother, "settle").status_code == 200

    def refuse(_document: object) -> None:
        raise ConflictError("submit.moved")

    with monkeypatch.context() as patched:
        patched.setitem(world.local.operations, "subject.change", refuse)
        assert step(family.father, "settle").status_code == 409
    assert kept(family) is None
    assert disputed(family)


def test_nothing_is_said_that_is_so_already(family):
    answer = family.mother.post(f"{PLACE}/settle", {"csrf": token(family.mother)})
    assert (answer.status_code, code_of(answer)) == (409, "custody.settled")
    family.disagree()
    answer = family.mother.post(f"{PLACE}/dispute", {"csrf": token(family.mother)})
    assert (answer.status_code, code_of(answer)) == (409, "custody.dispute")


def test_attack_who_is_no_guardian_finds_no_such_page(world):
    _, helper = acting(world, "custody-of", may="decide", kind=["tests"])
    own = world.patient("custody-own")
    for browser in (helper, own):
        assert browser.get(PLACE).status_code == 404
        for name in ("dispute", "settle"):
            answer = browser.post(f"{PLACE}/{name}", {"csrf": token(browser)})
            assert (answer.status_code, code_of(answer)) == (404, "page.unknown")


@pytest.mark.parametrize("name", ["dispute", "settle"])
def test_attack_a_form_of_another_site_says_nothing_for_a_guardian(family, name):
    answer = family.mother.post(f"{PLACE}/{name}", {"csrf": "x" * 43})
    assert (answer.status_code, code_of(answer)) == (403, "session.form")
