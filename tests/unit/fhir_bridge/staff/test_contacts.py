"""Contacts at the desk, with a real mail server: a code is read out, two of the staff attest; and the attacks."""

from __future__ import annotations

import re

import pytest

from medchain.errors import VerificationError
from medchain.node.contact_address import CODE_S
from medchain.store.accounts import Role
from tests.mail_server import MailBox
from tests.unit.fhir_bridge.staff.test_desk import form_of, opened
from tests.unit.fhir_bridge.staff.test_paper import code_of, decided, on_paper, text_of
from tests.unit.fhir_bridge.staff.test_recoveries import lost, tongji  # noqa: F401  # a fixture
from tests.unit.medchain.node.federation import RENHE
from tests.unit.medchain.node.test_correspondence import post_office


@pytest.fixture
def box(world):
    with post_office(world) as running:
        yield running


def sent(browser, place: str, step: str, address: str, **more: str):
    form = form_of(browser, f"{place}/contacts") | {"address": address, "channel": "email"} | more
    return browser.post(f"{place}/contacts/{step}?lang=en", form)


def read_out(box: MailBox, address: str) -> str:
    return re.findall(r"\b\d{6}\b", box.messages(address)[-1].get_content())[0]


def contacts(world, subject: bytes) -> list[str]:
    return [row["address"] for row in world.local.call("contacts.show", {"subject": subject.hex()})["contacts"]]


def test_who_has_no_passkey_is_written_to_once_a_code_was_read_out_and_two_attest_it(world, box):
    subject, _ = on_paper(world, "reached")
    first, second = world.staff(Role.DESK, "Practitioner/c1"), world.staff(Role.DESK, "Practitioner/c2")
    place = opened(first, "reached")
    assert f"{place}/contacts" in first.get(place).text
    assert "There is none yet" in text_of(first.get(f"{place}/contacts?lang=en"))
    assert "Have the person read it out" in text_of(sent(first, place, "code", "li@mail.example"))
    answer = sent(first, place, "confirm", "li@mail.example", code=read_out(box, "li@mail.example"))
    waiting = answer.headers["Location"]
    assert "li@mail.example" in text_of(second.get(f"{waiting}?lang=en"))
    assert contacts(world, subject) == []
    assert code_of(decided(first, waiting)) == "attesting.same"
    assert contacts(world, subject) == []
    assert decided(second, waiting).status_code == 303
    assert contacts(world, subject) == ["li@mail.example"]
    world.desks.everywhere(subject.hex(), 2)
    body = world.desks.federation.sites[RENHE].node.shelf.head(subject)[1]
    assert body.evidence.value == {"attested_by": ["Practitioner/c1", "Practitioner/c2"]}
    assert code_of(sent(first, place, "code", "li@mail.example")) == "contact.known"


def test_attack_an_address_from_which_no_code_came_back_is_proposed_by_nobody(world, box):
    subject, _ = on_paper(world, "unread")
    browser = world.staff(Role.DESK)
    place = opened(browser, "unread")
    sent(browser, place, "code", "unread@mail.example")
    right = read_out(box, "unread@mail.example")
    wrong = f"{(int(right) + 1) % 10**6:06}"
    assert sent(browser, place, "confirm", "unread@mail.example", code=wrong).status_code == 400
    assert sent(browser, place, "confirm", "another@mail.example", code=right).status_code == 400
    world.desks.federation.time += CODE_S
    assert sent(browser, opened(browser, "unread"), "confirm", "unread@mail.example", code=right).status_code == 400
    assert "unread@mail.example" not in browser.get("/desk").text
    assert contacts(world, subject) == []


def test_attack_who_guesses_waits_whoever_of_the_staff_types_it(world, box):
    on_paper(world, "guessed")
    first, second = world.staff(Role.DESK), world.staff(Role.DESK)
    place = opened(first, "guessed")
    sent(first, place, "code", "guessed@mail.example")
    right = read_out(box, "guessed@mail.example")
    for number in range(1, 6):
        code = f"{(int(right) + number) % 10**6:06}"
        assert sent(first, place, "confirm", "guessed@mail.example", code=code).status_code == 400
    place = opened(second, "guessed")
    assert code_of(sent(second, place, "confirm", "guessed@mail.example", code=right)) == "session.locked"


def test_attack_the_desk_turns_no_notice_of_who_can_sign_to_an_address(world, tongji, box):  # noqa: F811  # the fixture
    signs = lost(world, tongji, "signs-herself")
    on_paper(world, "form-of-another")
    browser = world.staff(Role.DESK)
    place = opened(browser, signs.name)
    assert "/contacts" not in browser.get(place).text
    assert code_of(browser.get(f"{place}/contacts")) == "desk.contacts"
    form = form_of(browser, f"{opened(browser, 'form-of-another')}/contacts")
    form |= {"address": "thief@mail.example", "channel": "email", "code": "000000"}
    assert code_of(browser.post(f"{place}/contacts/code", form)) == "desk.contacts"
    assert box.said == []
    # Nor by calling the daemon without the desk: an endorser refuses it.
    asked = {"contacts": [{"address": "thief@mail.example", "channel": "email"}], "staff": ["a", "b"]}
    with pytest.raises(VerificationError, match=r"subject\.unsigned"):
        world.local.call("subject.attest-contacts", asked | {"subject": signs.subject})


def attested(world, subject: bytes, version: int, *names: str) -> None:
    """Have two attest what the contacts are, without the desk."""
    named = [{"address": f"{name}@mail.example", "channel": "email"} for name in names]
    asked = {"contacts": named, "staff": ["a", "b"], "subject": subject.hex()}
    world.local.call("subject.attest-contacts", asked)
    world.desks.everywhere(subject.hex(), version)


def removed(browser, place: str, address: str):
    return sent(browser, place, "remove", address)


@pytest.mark.usefixtures("box")
def test_a_contact_is_removed_once_two_attest_it_and_is_told_so(world):
    subject, _ = on_paper(world, "moves")
    attested(world, subject, 2, "old")
    attested(world, subject, 3, "old", "new")
    first, second = world.staff(Role.DESK, "Practitioner/c1"), world.staff(Role.DESK, "Practitioner/c2")
    place = opened(first, "moves")
    assert "Propose to remove old@mail.example" in first.get(f"{place}/contacts?lang=en").text
    waiting = removed(first, place, "old@mail.example").headers["Location"]
    page = text_of(second.get(f"{waiting}?lang=en"))
    assert "Removal of a contact for notices" in page
    assert "old@mail.example" in page
    assert code_of(decided(first, waiting)) == "attesting.same"
    assert contacts(world, subject) == ["old@mail.example", "new@mail.example"]
    assert decided(second, waiting).status_code == 303
    assert contacts(world, subject) == ["new@mail.example"]
    world.desks.everywhere(subject.hex(), 4)
    body = world.desks.federation.sites[RENHE].node.shelf.head(subject)[1]
    assert body.evidence.value == {"attested_by": ["Practitioner/c1", "Practitioner/c2"]}
    world.desks.nodes[RENHE].notices.round()
    notices = world.local.call("notices.list", {"subjects": [subject.hex()]})["notices"]
    (told,) = (one for one in notices if one["version"] == 4)
    assert told["kind"] == "subject.change-contacts"
    assert {one["address"] for one in told["contacts"]} == {"old@mail.example", "new@mail.example"}


@pytest.mark.usefixtures("box")
def test_the_last_contact_is_not_removed_nor_one_that_is_none(world):
    subject, _ = on_paper(world, "one-left")
    attested(world, subject, 2, "only")
    first, second = world.staff(Role.DESK, "Practitioner/c1"), world.staff(Role.DESK, "Practitioner/c2")
    place = opened(first, "one-left")
    assert "The only contact is not removed" in text_of(first.get(f"{place}/contacts?lang=en"))
    assert code_of(removed(first, place, "only@mail.example")) == "contact.last"
    assert code_of(removed(first, place, "other@mail.example")) == "contact.unknown"
    # Nor where the other one has gone since it was proposed.
    attested(world, subject, 3, "only", "more")
    waiting = [removed(first, place, f"{name}@mail.example").headers["Location"] for name in ("only", "more")]
    assert decided(second, waiting[0]).status_code == 303
    assert code_of(decided(second, waiting[1])) == "contact.last"
    assert contacts(world, subject) == ["more@mail.example"]


def test_attack_the_staff_turns_notices_away_at_once(world, box):
    """A contact for another in one version, the last one, or two: who is told would be nobody who knows."""
    subject, _ = on_paper(world, "kept-address")
    asked = {"staff": ["a", "b"], "subject": subject.hex()}
    one, more, other = ({"address": f"{name}@mail.example", "channel": "email"} for name in ("kept", "more", "thief"))
    attested(world, subject, 2, "kept")
    for named in ([], [other]):
        with pytest.raises(VerificationError, match=r"subject\.changed"):
            world.local.call("subject.attest-contacts", asked | {"contacts": named})
    attested(world, subject, 3, "kept", "more")
    for named in ([], [one, other], [other, more], [other]):
        with pytest.raises(VerificationError, match=r"subject\.changed"):
            world.local.call("subject.attest-contacts", asked | {"contacts": named})
    assert contacts(world, subject) == ["kept@mail.example", "more@mail.example"]
    assert box.said == []


def test_who_gets_a_passkey_before_the_second_hand_signs_for_the_own_contacts(world, box, monkeypatch):
    on_paper(world, "in-between")
    first, second = world.staff(Role.DESK), world.staff(Role.DESK)
    place = opened(first, "in-between")
    sent(first, place, "code", "between@mail.example")
    code = read_out(box, "between@mail.example")
    waiting = sent(first, place, "confirm", "between@mail.example", code=code).headers["Location"]
    show = world.local.operations["subject.show"]
    passkey = [{"credential_id": "AAAA", "since": 1}]
    monkeypatch.setitem(world.local.operations, "subject.show", lambda asked: {**show(asked), "passkeys": passkey})
    assert code_of(decided(second, waiting)) == "desk.contacts"
