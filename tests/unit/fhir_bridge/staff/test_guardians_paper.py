"""A child's permission on paper: one guardian signs, two of the staff attest; not where the guardians disagree."""

from __future__ import annotations

from itertools import count

import pytest

from medchain.encoding import unhex
from medchain.errors import VerificationError
from medchain.store.accounts import Role
from tests.unit.fhir_bridge.staff.test_desk import form_of, opened
from tests.unit.fhir_bridge.staff.test_guardians import BORN, declared_dead, proposed
from tests.unit.fhir_bridge.staff.test_paper import TERMS, code_of, consents, decided, drafted, text_of
from tests.unit.fhir_bridge.staff.test_paper import proposed as proposed_paper
from tests.unit.fhir_bridge.staff.test_recoveries import lost, tongji  # noqa: F401  # a fixture
from tests.unit.medchain.node.federation import ANXIN, RENHE

_NUMBERS = count(1)


@pytest.fixture
def child(world, tongji) -> tuple[str, bytes, list[str]]:  # noqa: F811  # the fixture
    """A child with two guardians: its id, its subject's map key, and theirs."""
    name = f"small-{next(_NUMBERS)}"
    guardians = [lost(world, tongji, f"{name}-{one}").subject for one in ("mother", "father")]
    world.patient(name, BORN)
    first, second = world.staff(Role.DESK), world.staff(Role.DESK)
    assert decided(second, proposed(first, name, f"MRN-{name}-mother", f"MRN-{name}-father")).status_code == 303
    (subject,) = world.patients.links.subjects_of(world.patients.token(name))
    world.desks.everywhere(subject.hex(), 1)
    return name, subject, guardians


def dispute(world, subject: bytes) -> None:
    world.local.call("subject.declare-dispute", {"staff": ["a", "b"], "subject": subject.hex()})


def test_a_guardian_permits_on_paper_for_a_child_and_is_named(world, child):
    name, subject, (mother, _) = child
    first, second = world.staff(Role.DESK, "Practitioner/g1"), world.staff(Role.DESK, "Practitioner/g2")
    case = opened(first, name)
    assert "Guardian who signs" in text_of(first.get(f"{case}/paper?lang=en"))
    page = text_of(drafted(first, case, guardian=mother))
    assert f"Signed in the person's stead by the guardian 王{name}-mother (born: 4 Mar 1958)" in page
    assert "The guardian's signature, date" in page
    waiting = proposed_paper(first, name, guardian=mother)
    assert f"by the guardian 王{name}-mother" in text_of(second.get(f"{waiting}?lang=en"))
    assert consents(world, subject) == []
    assert decided(second, waiting).status_code == 303
    (row,) = consents(world, subject)
    key = row["key"]
    body = world.desks.federation.sites[RENHE].node.shelf.head(unhex(key, 32))[1]
    assert (body.content["acting_for"], body.content["subject"]) == (subject.hex(), mother)
    assert body.evidence.value == {"attested_by": ["Practitioner/g1", "Practitioner/g2"]}
    # The recipient has judged and taken it, too.
    world.desks.everywhere(key, 1)
    assert world.desks.federation.sites[ANXIN].node.shelf.head(unhex(key, 32)) is not None


@pytest.mark.parametrize("who", ["", "another", "child"])
def test_attack_nobody_but_a_guardian_signs_a_childs_paper(world, child, tongji, who):  # noqa: F811  # the fixture
    name, subject, _ = child
    keys = {"": "", "child": subject.hex()}
    guardian = keys[who] if who in keys else lost(world, tongji, f"{name}-stranger").subject
    first = world.staff(Role.DESK)
    for step in ("preview", "propose"):
        answer = drafted(first, opened(first, name), step, guardian=guardian)
        assert (answer.status_code, "Choose the guardian who signs" in text_of(answer)) == (400, True)


def test_attack_a_paper_of_who_decides_alone_names_no_guardian(world, tongji):  # noqa: F811  # the fixture
    adult, other = lost(world, tongji, "adult-paper"), lost(world, tongji, "adult-other")
    first = world.staff(Role.DESK)
    assert drafted(first, opened(first, adult.name), guardian=other.subject).status_code == 400
    assert "Guardian who signs" not in text_of(first.get(f"{opened(first, adult.name)}/paper?lang=en"))


def test_attack_one_guardian_permits_on_paper_what_the_other_disagrees_with(world, child):
    name, subject, (mother, _) = child
    first, second = world.staff(Role.DESK), world.staff(Role.DESK)
    waiting = proposed_paper(first, name, guardian=mother)
    dispute(world, subject)
    assert code_of(decided(second, waiting)) == "paper.disputed"
    assert consents(world, subject) == []
    case = opened(first, name)
    assert code_of(first.get(f"{case}/paper")) == "paper.disputed"
    form = form_of(first, case) | TERMS | {"guardian": mother, "step": "propose"}
    assert code_of(first.post(f"{case}/paper", form)) == "paper.disputed"


def test_a_guardian_who_has_died_signs_nothing_on_paper(world, child):
    name, subject, guardians = child
    first, second = world.staff(Role.DESK), world.staff(Role.DESK)
    waiting = proposed_paper(first, name, guardian=guardians[0])
    declared_dead(world, guardians[0])
    assert code_of(decided(second, waiting)) == "paper.guardian"
    declared_dead(world, guardians[1])
    assert code_of(decided(second, waiting)) == "paper.nobody"
    assert consents(world, subject) == []


def test_attack_a_hospital_attests_a_paper_of_a_dead_guardian(world, child):
    """Its own desk refuses; an endorser must, too, for who calls the daemon without the desk."""
    _, subject, (mother, _) = child
    declared_dead(world, mother)
    world.desks.everywhere(mother, 2)
    now = world.site.clock()
    terms = {
        "acting_for": subject.hex(),
        "custodians": [RENHE],
        "fhir": {"resourceType": "Consent", "status": "active"},
        "period": {"end": now + 86_400, "start": now},
        "purpose": "HPAYMT",
        "recipient": ANXIN,
        "resource_types": ["Observation"],
        "subject": mother,
    }
    draft = world.local.call("consent.draft", terms)["draft"]
    with pytest.raises(VerificationError, match=r"consent\.delegate"):
        world.local.call("consent.attest", {"draft": draft, "staff": ["a", "b"]})
