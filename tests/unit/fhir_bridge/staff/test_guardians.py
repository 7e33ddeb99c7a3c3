"""Guardians and deaths at the desk: what two of the staff attest, what the ledger has of it then, and attacks."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import pytest

from consent.web import restoring
from medchain.encoding import unhex
from medchain.ledger.kinds.content import DAY_S
from medchain.store.accounts import Role
from tests.unit.fhir_bridge.staff.test_desk import form_of, opened
from tests.unit.fhir_bridge.staff.test_paper import code_of, decided, on_paper, text_of
from tests.unit.fhir_bridge.staff.test_recoveries import LIST, lost, recovery_of, tongji  # noqa: F401  # a fixture
from tests.unit.medchain.node.federation import RENHE

BORN = "2020-02-29"
OF_AGE = (date(2038, 3, 1) - date(1970, 1, 1)).days


def named(browser, name: str, *guardians: str, method: str = "household-register"):
    """Name guardians as the page does; returns the answer."""
    place = f"{opened(browser, name)}/guardians"
    form = form_of(browser, place) | {"guardian": list(guardians), "method": method}
    return browser.post(f"{place}?lang=en", form)


def proposed(browser, name: str, *guardians: str) -> str:
    """Propose guardians from the page that shows them; returns the address of what waits."""
    page = named(browser, name, *guardians)
    shown = re.search(r'<form method="post" action="/desk/[^"]+/guardians".*?</form>', page.text, re.DOTALL)[0]
    values = re.findall(r'type="hidden" name="([a-z]+)" value="([^"]*)"', shown)
    form: dict[str, object] = dict(values) | {"step": "propose"}
    form["guardian"] = [value for name, value in values if name == "guardian"]
    answer = browser.post(re.search(r'action="([^"]+)"', shown)[1], form)
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


def shown_of(world, patient: str) -> dict:
    (subject,) = world.patients.links.subjects_of(world.patients.token(patient))
    world.desks.everywhere(subject.hex(), 1)
    return world.local.call("subject.show", {"subject": subject.hex()})


def test_a_child_is_enrolled_with_its_guardians_until_it_is_of_age(world, tongji):  # noqa: F811  # the fixture
    mother, father = lost(world, tongji, "ward-mother"), lost(world, tongji, "ward-father")
    child, first, second = world.patient("ward-1", BORN), world.staff(Role.DESK), world.staff(Role.DESK)
    assert f"{opened(first, child)}/guardians"[-10:] in first.get(opened(first, child)).text
    page = text_of(named(first, child, "MRN-ward-mother", "MRN-ward-father"))
    assert "王ward-mother" in page
    assert "Checked: household register" in page
    waiting = proposed(first, child, "MRN-ward-mother", "MRN-ward-father")
    shown = text_of(second.get(f"{waiting}?lang=en"))
    assert "Enrolment of a child with its guardians" in shown
    assert "王ward-father" in shown
    assert world.patients.links.subjects_of(world.patients.token(child)) == []
    assert decided(second, waiting).status_code == 303
    found = shown_of(world, child)
    assert found["minor"]
    assert found["passkeys"] == []
    rows = [one["delegate"] for one in found["delegates"]]
    assert {row["subject"] for row in rows} == {mother.subject, father.subject}
    assert {(row["role"], row["until"], tuple(row["may"])) for row in rows} == {
        ("guardian", OF_AGE, ("consent", "read", "stop"))
    }
    (subject,) = world.patients.links.subjects_of(world.patients.token(child))
    body = world.desks.federation.sites[RENHE].node.shelf.head(subject)[1]
    assert body.content["of_age"] == OF_AGE
    assert body.content["verified_by"]["method"] == "household-register"
    assert len(body.evidence.value["attested_by"]) == 2
    page = text_of(second.get(f"{opened(second, child)}?lang=en"))
    assert "Under age" in page
    assert all(f"王ward-{one}" in page for one in ("mother", "father"))
    assert "enrolled on paper" not in page


def test_a_dispute_of_two_guardians_counts_once_two_attest_it_and_is_ended_by_no_staff(world, tongji):  # noqa: F811  # the fixture
    for name in ("ward-left", "ward-right"):
        lost(world, tongji, name)
    child, first, second = world.patient("ward-8", BORN), world.staff(Role.DESK), world.staff(Role.DESK)
    assert decided(second, proposed(first, child, "MRN-ward-left", "MRN-ward-right")).status_code == 303
    assert not shown_of(world, child)["disputed"]
    place = opened(first, child)
    waiting = first.post(f"{place}/dispute", form_of(first, place)).headers["Location"]
    page = text_of(second.get(f"{waiting}?lang=en"))
    assert "any of them still stops" in page
    # Whom the second hand is to hear, and not the person's own paper.
    assert all(f"王ward-{one}" in page for one in ("left", "right"))
    assert ("Hear the guardians yourself" in page, "See the person" in page) == (True, False)
    assert decided(second, waiting).status_code == 303
    assert shown_of(world, child)["disputed"]
    page = first.get(f"{opened(first, child)}?lang=en").text
    assert "all of them sign what permits more" in text_of(first.get(f"{opened(first, child)}?lang=en"))
    assert "/dispute" not in page
    # Not twice, nor of who has no two guardians.
    for name in (child, "ward-left"):
        place = opened(first, name)
        assert code_of(first.post(f"{place}/dispute", form_of(first, place))) == "desk.dispute"


def test_attack_who_cannot_decide_or_is_not_known_becomes_nobodys_guardian(world, tongji):  # noqa: F811  # the fixture
    lost(world, tongji, "ward-able")
    born = datetime.fromtimestamp(world.site.clock(), UTC).date() - timedelta(days=3650)
    child, browser = world.patient("ward-2", born.isoformat()), world.staff(Role.DESK)
    world.patient("ward-stranger")
    sibling = world.patient("ward-sibling", born.isoformat())
    for guardians, said in (
        ((), "Name one guardian"),
        (("MRN-ward-able", "MRN-ward-able"), "Name one guardian"),
        (("MRN-nobody",), "Nobody was found"),
        (("MRN-ward-2",), "Nobody is the own guardian"),
        (("MRN-ward-stranger",), "A guardian is enrolled here"),
        ((f"MRN-{sibling}",), "A guardian is enrolled here"),
    ):
        answer = named(browser, child, *guardians)
        assert (answer.status_code, said in text_of(answer)) == (400, True), guardians
    assert code_of(named(browser, child, "MRN-ward-able", method="passport")) == "desk.method"


def test_a_guardian_who_dies_before_the_second_hand_is_none(world, tongji):  # noqa: F811  # the fixture
    one = lost(world, tongji, "ward-mortal")
    child, first, second = world.patient("ward-3", BORN), world.staff(Role.DESK), world.staff(Role.DESK)
    waiting = proposed(first, child, "MRN-ward-mortal")
    asked = {"method": "death-certificate", "staff": ["a", "b"], "subject": one.subject}
    world.local.call("subject.declare-death", asked)
    assert code_of(decided(second, waiting)) == "guardian.unable"
    assert world.patients.links.subjects_of(world.patients.token(child)) == []


@pytest.mark.parametrize(("born", "code"), [("1990-01-01", "desk.of_age"), ("", "desk.of_age")])
def test_who_is_of_age_or_has_no_birth_date_is_enrolled_with_no_guardian(world, born, code):
    patient, browser = world.patient(f"ward-4{born}", born), world.staff(Role.DESK)
    place = opened(browser, patient)
    assert code_of(browser.get(f"{place}/guardians")) == code
    other = form_of(browser, f"{opened(browser, world.patient(f'ward-4b{born}', BORN))}/guardians")
    assert code_of(browser.post(f"{place}/guardians", other | {"guardian": ["x"], "method": "court-order"})) == code


def test_guardians_whom_a_court_appoints_are_announced_wait_and_take_the_place_of_those_before(world, tongji):  # noqa: F811  # the fixture
    person, guardian = lost(world, tongji, "ward-5"), lost(world, tongji, "ward-guardian")
    first, second = tongji.staff(Role.DESK, "Practitioner/g1"), tongji.staff(Role.DESK, "Practitioner/g2")
    waiting = proposed(first, person.name, "MRN-ward-guardian")
    assert "unable to decide" in text_of(second.get(f"{waiting}?lang=en"))
    assert decided(second, waiting).headers["Location"] == LIST
    row = recovery_of(tongji, person)
    assert (row["operation"], row["method"]) == ("guardianship", "household-register")
    world.desks.everywhere(row["key"], 1)
    body = world.desks.federation.sites[RENHE].node.shelf.head(unhex(row["key"], 32))[1]
    assert body.evidence.value == {"attested_by": ["Practitioner/g1", "Practitioner/g2"]}
    assert "Appointment of guardians" in text_of(world.staff(Role.DESK).get(f"{LIST}?lang=en"))
    world.desks.federation.time += 7 * DAY_S
    desk = world.staff(Role.DESK)
    assert desk.post(f"{LIST}/{row['key']}/carry-out", form_of(desk, LIST)).status_code == 303
    found = world.local.call("subject.show", {"subject": person.subject})
    assert found["standing"]["state"] == "incapable"
    assert [one["delegate"]["subject"] for one in found["delegates"]] == [guardian.subject]
    # Who enrolled the person cannot begin it: no organisation alone gives others power over somebody.
    assert code_of(desk.get(f"{opened(desk, 'ward-guardian')}/guardians")) == "recovery.second"


def test_a_death_counts_once_two_have_seen_the_certificate_and_at_the_enroller_alone(world, tongji):  # noqa: F811  # the fixture
    one = lost(world, tongji, "ward-6")
    first, second = world.staff(Role.DESK), world.staff(Role.DESK)
    place = opened(first, one.name)
    waiting = first.post(f"{place}/death", form_of(first, place)).headers["Location"]
    page = text_of(second.get(f"{waiting}?lang=en"))
    assert "Checked: death certificate" in page
    assert ("See the original death certificate" in page, "See the person" in page) == (True, False)
    assert world.local.call("subject.show", {"subject": one.subject})["standing"] is None
    assert code_of(decided(first, waiting)) == "attesting.same"
    assert decided(second, waiting).status_code == 303
    assert world.local.call("subject.show", {"subject": one.subject})["standing"]["state"] == "dead"
    page = first.get(f"{opened(first, one.name)}?lang=en").text
    assert "On record as dead" in page
    assert "/death" not in page
    elsewhere = tongji.staff(Role.DESK)
    place = opened(elsewhere, lost(world, tongji, "ward-7").name)
    assert "/death" not in elsewhere.get(place).text
    assert code_of(elsewhere.post(f"{place}/death", form_of(elsewhere, place))) == "desk.death"


def declared_dead(world, subject: str) -> None:
    asked = {"method": "death-certificate", "staff": ["a", "b"], "subject": subject}
    world.local.call("subject.declare-death", asked)


def attested_of(world, subject: str) -> tuple[str, ...]:
    return restoring.attested(world.site.accounts, subject, world.site.clock())


def test_a_mistaken_death_waits_for_the_persons_signature_once_two_attest_it(world, tongji):  # noqa: F811  # the fixture
    one = lost(world, tongji, "ward-alive")
    declared_dead(world, one.subject)
    first, second = world.staff(Role.DESK, "Practitioner/r1"), world.staff(Role.DESK, "Practitioner/r2")
    place = opened(first, one.name)
    form = form_of(first, place) | {"method": "identity-card"}
    waiting = first.post(f"{place}/restoration", form).headers["Location"]
    assert "once the person has signed it" in text_of(second.get(f"{waiting}?lang=en"))
    assert attested_of(world, one.subject) == ()
    assert code_of(decided(first, waiting)) == "attesting.same"
    assert "asks for the signature with a passkey" in text_of(decided(second, waiting))
    assert attested_of(world, one.subject) == ("Practitioner/r1", "Practitioner/r2")
    # The staff alone change nothing.
    assert world.local.call("subject.show", {"subject": one.subject})["standing"]["state"] == "dead"


def test_a_childs_mistaken_death_waits_for_its_guardians_once_two_attest_it(world, tongji):  # noqa: F811  # the fixture
    lost(world, tongji, "ward-keeper")
    child, first, second = world.patient("ward-9", BORN), world.staff(Role.DESK), world.staff(Role.DESK)
    assert decided(second, proposed(first, child, "MRN-ward-keeper")).status_code == 303
    (subject,) = world.patients.links.subjects_of(world.patients.token(child))
    declared_dead(world, subject.hex())
    world.desks.everywhere(subject.hex(), 2)
    place = opened(first, child)
    waiting = first.post(f"{place}/restoration", form_of(first, place) | {"method": "identity-card"}).headers[
        "Location"
    ]
    assert "for a child, once all guardians have" in text_of(second.get(f"{waiting}?lang=en"))
    page = text_of(decided(second, waiting))
    assert "Waiting for the guardians of" in page
    assert "the page of family and helpers asks for the signature" in page
    assert len(attested_of(world, subject.hex())) == 2
    assert shown_of(world, child)["standing"]["state"] == "dead"


def test_attack_what_was_attested_before_a_death_takes_it_back_in_the_hands_of_an_heir(world, tongji):  # noqa: F811  # the fixture
    """That an incapacity was over waited for a signature when the person died: it would have been the death's end."""
    one = lost(world, tongji, "ward-heir")
    restoring.attest(world.site.accounts, one.subject, ("Practitioner/r1", "Practitioner/r2"), world.site.clock())
    first, second = world.staff(Role.DESK), world.staff(Role.DESK)
    place = opened(first, one.name)
    waiting = first.post(f"{place}/death", form_of(first, place)).headers["Location"]
    assert attested_of(world, one.subject)
    assert decided(second, waiting).status_code == 303
    assert world.local.call("subject.show", {"subject": one.subject})["standing"]["state"] == "dead"
    assert attested_of(world, one.subject) == ()


def test_attack_nothing_is_taken_back_of_the_living_elsewhere_or_of_who_cannot_sign(world, tongji):  # noqa: F811  # the fixture
    living, dead = lost(world, tongji, "ward-living"), lost(world, tongji, "ward-dead")
    declared_dead(world, dead.subject)
    world.desks.everywhere(dead.subject, 2)
    paper, _ = on_paper(world, "ward-paper-dead")
    declared_dead(world, paper.hex())
    for where, name in ((world, living.name), (tongji, dead.name), (world, "ward-paper-dead")):
        browser = where.staff(Role.DESK)
        place = opened(browser, name)
        assert "/restoration" not in browser.get(place).text, name
        # The form of another patient's page, sent for this one.
        form = form_of(browser, opened(browser, where.patient(f"{name}-form"))) | {"method": "passport"}
        assert code_of(browser.post(f"{place}/restoration", form)) == "desk.restoration", name
