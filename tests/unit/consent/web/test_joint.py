"""Two guardians who disagree sign a permission for a child one after another; and the attacks on that."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from consent.web import joint
from medchain.encoding import unbase64, unhex
from medchain.errors import ConflictError, NotFoundError, UnavailableError
from medchain.node.drafts import ToSign
from tests.unit.consent.web.conftest import PORTAL, code_of
from tests.unit.consent.web.test_family import act, give, someone
from tests.unit.consent.web.test_settings import patient_record, said
from tests.unit.medchain.node.desks import signed
from tests.unit.medchain.node.federation import ANXIN, DAY_S, NOW, RENHE

_NUMBERS = count(1)


class Family:
    """A child, and two guardians who disagree, each acting for it in a browser."""

    def __init__(self, world) -> None:
        """Enrol them."""
        self.world, number = world, next(_NUMBERS)
        self.child, self.names = f"joint-child{number}", [f"joint-{one}{number}" for one in ("mother", "father")]
        self.mother, self.father = (someone(world, name) for name in self.names)
        patient_record(world, self.child)
        guardian = {"may": ["consent", "read", "stop"], "resource_types": ["*"], "role": "guardian"}
        guardian |= {"until": NOW // DAY_S + 3650}
        rows = [guardian | {"subject": subject} for subject in sorted(world.subjects[name] for name in self.names)]
        asked = {"credentials": [], "custodians": [], "method": "identity-card", "patient": self.child}
        asked |= {"guardians": rows, "of_age": NOW // DAY_S + 400, "staff": ["doctor", "nurse"]}
        world.subjects[self.child] = self.local.call("subject.enrol", asked)["key"]
        self.everywhere(1)
        for browser in (self.mother, self.father):
            assert act(world, browser, self.child).headers["Location"] == "/my"

    @property
    def local(self):
        return self.world.desks.local(RENHE)

    def subject(self, browser) -> str:
        return self.world.subjects[self.names[0 if browser is self.mother else 1]]

    def everywhere(self, version: int) -> None:
        key = unhex(self.world.subjects[self.child], 32)
        for site in self.world.desks.federation.sites.values():
            site.node.submitter.wait_final(key, version, 60)

    def disagree(self) -> None:
        """Have the father say so."""
        asked = {"operation": "dispute", "signers": [self.subject(self.father)]}
        asked["subject"] = self.world.subjects[self.child]
        given = signed(self.father.phone, self.local.call("subject.draft", asked))
        self.local.call("subject.change", {"assertions": [given["assertion"]], "draft": given["draft"]})
        self.everywhere(2)

    def joined(self, browser, ask: str):
        """Sign what another one has signed; gives the last answer."""
        form = {"csrf": browser.csrf("/my/verify"), "step": "sign"}
        return browser.signed(browser.led(browser.post(f"/my/asks/{ask}", form)))

    def kept(self, ask: str) -> joint.Joint | None:
        return joint.find(self.world.site.pages.site.accounts, ask, self.world.time)


@pytest.fixture
def family(world):
    return Family(world)


def at_one_moment(add: Callable[[str], object], what: Sequence[str]) -> list[object]:
    """Do something with each of some at one moment; returns what came of it, refusals as well."""
    together = threading.Barrier(len(what))

    def tried(one: str) -> object:
        together.wait(60)
        try:
            return add(one)
        except ConflictError as error:
            return error.code

    with ThreadPoolExecutor(len(what)) as pool:
        return list(pool.map(tried, what))


def next_of(answer) -> str:
    assert answer.status_code == 200, answer.text
    return json.loads(answer.data)["next"].removeprefix(PORTAL)


def test_guardians_who_agree_sign_alone(family, world):
    assert re.fullmatch(r"/my/access/[0-9a-f]{64}\?new=1", next_of(give(family.mother, world.ask(family.child))))


def test_guardians_who_disagree_sign_one_after_another_and_nothing_counts_before_the_last(family, world):
    family.disagree()
    ask = world.ask(family.child)
    page = said(family.mother, f"/my/asks/{ask}")
    assert f"nothing counts before 王{family.names[1]} has signed after you" in page
    assert next_of(give(family.mother, ask)) == f"/my/asks/{ask}"
    page = said(family.mother, f"/my/asks/{ask}")
    assert "All guardians must sign this" in page
    assert re.search(r"Which records may be seen\s+Diagnoses, Tests and measurements", page)
    assert re.search(r"Sensitive records among them\s+None", page)
    assert re.search(rf"Signed by\s+王{family.names[0]}\s+Waiting for\s+王{family.names[1]}", page)
    assert 'value="sign"' not in family.mother.get(f"/my/asks/{ask}").text
    assert family.local.call("patient.consents", {"subjects": [world.subjects[family.child]]})["consents"] == []
    assert 'value="sign"' in family.father.get(f"/my/asks/{ask}").text
    place = next_of(family.joined(family.father, ask))
    key = re.fullmatch(r"/my/access/([0-9a-f]{64})\?new=1", place)[1]
    (given,) = family.local.call("patient.consents", {"subjects": [world.subjects[family.child]]})["consents"]
    assert (given["key"], given["content"]["joined"]) == (key, [family.subject(family.father)])
    assert family.kept(ask) is None
    grants = world.desks.local(ANXIN).call("grants.received", {})["grants"]
    assert key in {row["consent"] for row in grants}


def test_who_says_no_ends_it_with_the_signatures_that_were_given(family, world):
    family.disagree()
    ask = world.ask(family.child)
    give(family.mother, ask)
    form = {"csrf": family.father.csrf("/my/verify"), "step": "decline"}
    assert family.father.post(f"/my/asks/{ask}", form).headers["Location"] == "/my"
    assert family.kept(ask) is None
    assert family.joined(family.father, ask).status_code == 404


def test_a_first_signature_waits_three_days_and_is_forgotten_then(family, world):
    family.disagree()
    ask = world.ask(family.child)
    give(family.mother, ask)
    kept = family.kept(ask)
    assert kept.until == world.time + joint.JOINT_S
    accounts = world.site.pages.site.accounts
    assert joint.find(accounts, ask, kept.until) is None
    assert joint.find(accounts, ask, kept.until - 1) == kept


def test_attack_one_guardian_signs_for_both(family, world):
    family.disagree()
    ask = world.ask(family.child)
    give(family.mother, ask)
    assert family.joined(family.mother, ask).status_code == 404
    # With her own phone on what the father was led to.
    form = {"csrf": family.father.csrf("/my/verify"), "step": "sign"}
    opened = family.father.led(family.father.post(f"/my/asks/{ask}", form))
    assert opened.status_code == 200
    refused = family.father.signed(opened, family.mother.phone)
    assert refused.status_code >= 400, refused.text
    assert family.local.call("patient.consents", {"subjects": [world.subjects[family.child]]})["consents"] == []


def test_attack_somebody_else_signs_or_sees_it(family, world):
    family.disagree()
    ask = world.ask(family.child)
    give(family.mother, ask)
    other = world.patient("joint-uninvolved")
    assert other.get(f"/my/asks/{ask}").status_code == 404
    assert family.joined(other, ask).status_code == 404


def test_attack_the_second_one_chooses_something_else_in_a_form_of_before(family, world):
    family.disagree()
    ask = world.ask(family.child)
    # Both have been led to sign a choice of their own before either has signed.
    ours = family.father.agree(ask, family.father.csrf("/my/verify"), kind=["tests"])
    assert next_of(give(family.mother, ask)) == f"/my/asks/{ask}"
    refused = family.father.signed(ours)
    assert (refused.status_code, code_of(refused)) == (409, "patient.joint_other")
    assert family.kept(ask).missing == [family.subject(family.father)]


def test_a_ledger_that_cannot_be_reached_keeps_all_signatures_for_another_try(family, world):
    family.disagree()
    ask = world.ask(family.child)
    give(family.mother, ask)
    form = {"csrf": family.father.csrf("/my/verify"), "step": "sign"}
    opened = family.father.led(family.father.post(f"/my/asks/{ask}", form))
    real = world.local.operations["consent.give"]

    def fails(_document: object) -> None:
        raise UnavailableError("submit.not_final")

    world.local.operations["consent.give"] = fails
    try:
        assert family.father.signed(opened).status_code == 503
    finally:
        world.local.operations["consent.give"] = real
    assert family.kept(ask).missing == []
    assert re.fullmatch(r"/my/access/[0-9a-f]{64}\?new=1", next_of(family.father.signed(opened)))


def test_what_is_kept_says_who_must_sign_what_in_which_order(family, world):
    family.disagree()
    ask = world.ask(family.child)
    give(family.mother, ask)
    kept = family.kept(ask)
    draft = ToSign.decode(unbase64(kept.draft))
    mother, father = family.subject(family.mother), family.subject(family.father)
    assert kept.signers == [row["subject"] for row in draft.documents] == [mother, father]
    assert kept.challenge(father) == draft.challenges[1].hex()
    assert kept.content.acting_for.hex() == world.subjects[family.child]
    for who in (mother, "00" * 32):
        with pytest.raises(NotFoundError):
            kept.challenge(who)
    assert joint.is_joint(kept.draft)
    accounts = world.site.pages.site.accounts
    with pytest.raises(ConflictError, match=r"patient\.joint_other"):
        joint.add(accounts, ask, "another", (father, {}), world.time)


def test_attack_guardians_who_sign_at_one_moment_lose_no_signature(world):
    accounts = world.site.pages.site.accounts
    for turn in range(5):
        name, signers = f"at-once-{turn}", [f"{number:02x}" * 32 for number in range(6)]
        so_far = at_one_moment(lambda one: joint.add(accounts, name, "draft", (one, one), world.time), signers)  # noqa: B023  # done at once
        assert joint.find(accounts, name, world.time).given == {one: one for one in signers}
        # Each sees those before it, so that one alone is the last.
        assert sorted(len(one.given) for one in so_far) == [1, 2, 3, 4, 5, 6]


def test_attack_a_first_signature_that_comes_while_another_guardian_begins_is_not_forgotten(monkeypatch, world):
    accounts = world.site.pages.site.accounts
    first, real = ("11" * 32, {}), joint.find

    def signed_behind(accounts, name, now):
        found = real(accounts, name, now)
        joint.add(accounts, name, "draft", first, now)
        return found

    monkeypatch.setattr(joint, "find", signed_behind)
    fresh = joint.Joint("another", {}, 0)
    assert joint.begun(accounts, "begun", fresh, world.time) == fresh
    assert real(accounts, "begun", world.time).given == dict([first])


def test_of_guardians_who_choose_differently_at_one_moment_one_is_kept_and_the_other_is_told(world):
    accounts = world.site.pages.site.accounts
    for turn in range(5):
        name = f"other-{turn}"
        so_far = at_one_moment(lambda one: joint.add(accounts, name, one, ("11" * 32, {}), world.time), ["a", "b"])  # noqa: B023  # done at once
        (kept,) = (one for one in so_far if isinstance(one, joint.Joint))
        assert "patient.joint_other" in so_far
        assert joint.find(accounts, name, world.time) == kept
