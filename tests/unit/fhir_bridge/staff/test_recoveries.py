"""Recoveries at the desk: two of the staff of another organisation begin one, the enroller carries it out; attacks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from consent.web.codes import RECOVERY_CODE_S
from fhir_bridge.staff.attesting import WAITS_S
from medchain.crypto.assertion import encode_credential_key
from medchain.encoding import base64_text, unhex
from medchain.errors import UnavailableError
from medchain.ledger.kinds.content import DAY_S
from medchain.store.accounts import Role
from tests.unit.fhir_bridge.staff.conftest import World
from tests.unit.fhir_bridge.staff.conftest import opened as put_up
from tests.unit.fhir_bridge.staff.test_desk import code_of, enrolled, form_of, opened
from tests.unit.medchain.node.desks import Desks, phone_of, signed
from tests.unit.medchain.node.federation import RENHE, TONGJI

LIST = "/desk/recoveries"
RECOVER = "/my/recover"


@dataclass
class Lost:
    """A patient whom Renhe enrolled, whom Tongji knows, too, and who has lost the phone."""

    name: str
    subject: str


@pytest.fixture(scope="module")
def tongji(desks) -> Iterator[World]:
    with ExitStack() as stack:
        yield put_up(desks, TONGJI, stack)


def lost(world: World, tongji: World, name: str) -> Lost:
    desks: Desks = world.desks
    for one in (world, tongji):
        one.patient(name)
    phone = phone_of(f"{name} before")
    credential = {
        "credential_id": base64_text(phone.credential_id),
        "public_key": base64_text(encode_credential_key(phone.credential)),
    }
    asked = {"credentials": [credential], "custodians": [TONGJI], "method": "identity-card", "patient": name}
    subject = str(desks.local(RENHE).call("subject.enrol", asked)["key"])
    desks.everywhere(subject, 1)
    desks.local(TONGJI).call("patient", {"patient": name, "subject": subject})
    return Lost(name, subject)


def proposed(browser, name: str, **changes: str) -> str:
    """Propose a recovery as the page does; returns the address of what waits."""
    place = opened(browser, name)
    answer = browser.post(f"{place}/recovery", form_of(browser, place) | {"method": "identity-card"} | changes)
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


def decided(browser, place: str, step: str = "confirm"):
    return browser.post(f"{place}?lang=en", form_of(browser, place) | {"step": step})


def recovery_of(world, one: Lost) -> dict:
    (row,) = world.local.call("subject.show", {"subject": one.subject})["recoveries"]
    return row


def test_two_of_the_staff_begin_a_recovery_and_the_enroller_carries_it_out_after_the_wait(world, tongji):
    one = lost(world, tongji, "lost-1")
    first, second = tongji.staff(Role.DESK, "Practitioner/first"), tongji.staff(Role.DESK, "Practitioner/second")
    place = proposed(first, one.name)
    assert "another member of the staff confirms" in first.get("/desk?lang=en").text
    page = second.get("/desk?lang=en").text
    assert f'href="{place}"' in page
    assert one.name not in page
    shown = second.get(f"{place}?lang=en").text
    assert "王lost-1" in shown
    assert "identity card" in shown
    done = enrolled(tongji, code_of(decided(second, place)), "lost-1 new", RECOVER)
    assert json.loads(done.data) == {"next": "/my/recover/done"}
    row = recovery_of(tongji, one)
    world.desks.everywhere(row["key"], 1)
    body = world.desks.federation.sites[RENHE].node.shelf.head(unhex(row["key"], 32))[1]
    assert body.evidence.value == {"attested_by": ["Practitioner/first", "Practitioner/second"]}
    desk = world.staff(Role.DESK)
    page = desk.get(f"{LIST}?lang=en").text
    assert "王lost-1" in page
    assert "Announced by tongji-hospital" in page
    assert f"{row['key']}/carry-out" not in page
    assert f"{row['key']}/carry-out" not in tongji.staff(Role.DESK).get(LIST).text
    world.desks.federation.time += 7 * DAY_S
    desk = world.staff(Role.DESK)
    answer = desk.post(f"{LIST}/{row['key']}/carry-out", form_of(desk, LIST))
    assert (answer.status_code, answer.headers["Location"]) == (303, LIST)
    found = world.local.call("subject.show", {"subject": one.subject})
    assert [key["credential_id"] for key in found["passkeys"]] == [base64_text(phone_of("lost-1 new").credential_id)]
    assert "No recovery is under way" in desk.get(f"{LIST}?lang=en").text


def test_attack_nobody_confirms_what_they_proposed_under_whatever_account(world, tongji):
    one = lost(world, tongji, "lost-2")
    browser, again = (tongji.staff(Role.DESK, "Practitioner/twice") for _ in range(2))
    place = proposed(browser, one.name)
    form = form_of(browser, place)
    assert 'value="confirm"' not in browser.get(place).text
    for who, sent in ((browser, form), (again, form_of(again, place))):
        answer = who.post(place, sent | {"step": "confirm"})
        assert (answer.status_code, 'data-code="attesting.same"' in answer.text) == (403, True)
        assert RECOVER not in answer.text
    # It waits still for somebody else.
    assert code_of(decided(tongji.staff(Role.DESK), place))


def test_attack_a_confirmation_counts_once_and_a_form_that_is_sent_again_does_nothing(world, tongji):
    one = lost(world, tongji, "lost-3")
    place, second = proposed(tongji.staff(Role.DESK), one.name), tongji.staff(Role.DESK)
    form = form_of(second, place) | {"step": "confirm"}
    other = form_of(tongji.staff(Role.DESK), place)
    assert code_of(second.post(place, form))
    assert second.post(place, form).status_code == 409
    third = tongji.staff(Role.DESK)
    answer = third.post(place, other | {"csrf": third.csrf("/desk"), "step": "confirm"})
    assert answer.status_code == 403
    fresh = form_of(third, opened(third, one.name))
    answer = third.post(place, fresh | {"step": "confirm"})
    assert (answer.status_code, 'data-code="attesting.unknown"' in answer.text) == (404, True)


def test_attack_who_no_longer_works_at_the_desk_attests_nothing(world, tongji):
    one = lost(world, tongji, "lost-4")
    place, second = proposed(tongji.staff(Role.DESK, "Practitioner/leaver"), one.name), tongji.staff(Role.DESK)
    accounts = tongji.site.accounts
    (leaver,) = [row for row in accounts.accounts() if row.fhir_user == "Practitioner/leaver"]
    accounts.change_account(leaver.id, display="x", role=Role.CLINICIAN, fhir_user=leaver.fhir_user)
    answer = decided(second, place)
    assert (answer.status_code, 'data-code="attesting.first"' in answer.text) == (403, True)


def test_what_is_turned_down_taken_back_or_too_old_is_confirmed_by_nobody(world, tongji):
    one = lost(world, tongji, "lost-5")
    first, second = tongji.staff(Role.DESK), tongji.staff(Role.DESK)
    for who, step in ((second, "drop"), (first, "drop")):
        place = proposed(first, one.name)
        assert decided(who, place, step).headers["Location"] == "/desk"
        assert second.get(place).status_code == 404
    place = proposed(first, one.name)
    tongji.desks.federation.time += WAITS_S
    try:
        assert tongji.staff(Role.DESK).get(place).status_code == 404
    finally:
        tongji.desks.federation.time -= WAITS_S


def test_attack_a_code_for_another_passkey_counts_once_and_for_an_hour(world, tongji):
    one = lost(world, tongji, "lost-6")
    code = code_of(decided(tongji.staff(Role.DESK), proposed(tongji.staff(Role.DESK), one.name)))
    federation = world.desks.federation
    federation.time += RECOVERY_CODE_S
    try:
        assert enrolled(tongji, code, "lost-6 late", RECOVER).status_code == 403
    finally:
        federation.time -= RECOVERY_CODE_S
    # It is none for a first passkey, and one for that is none here.
    assert enrolled(tongji, code, "lost-6 thief").status_code == 403
    assert enrolled(tongji, code, "lost-6 new", RECOVER).status_code == 200
    assert enrolled(tongji, code, "lost-6 thief", RECOVER).status_code == 403


def test_a_code_is_still_good_when_nothing_came_of_it(world, tongji):
    one = lost(world, tongji, "lost-7")
    code = code_of(decided(tongji.staff(Role.DESK), proposed(tongji.staff(Role.DESK), one.name)))
    announce = tongji.local.operations["recovery.announce"]

    def away(_document):
        raise UnavailableError("submit.no_endorser")

    tongji.local.operations["recovery.announce"] = away
    try:
        assert enrolled(tongji, code, "lost-7 new", RECOVER).status_code == 503
    finally:
        tongji.local.operations["recovery.announce"] = announce
    world.desks.federation.time += 61
    assert enrolled(tongji, code, "lost-7 new", RECOVER).status_code == 200


def test_who_enrolled_a_patient_begins_no_recovery_of_it_and_is_told_where_to_go(world, tongji):
    one, browser = lost(world, tongji, "lost-8"), world.staff(Role.DESK)
    place = opened(browser, one.name)
    page = browser.get(f"{place}?lang=en").text
    assert f"{place}/recovery" not in page
    assert "asks another organisation" in page
    form = form_of_other(browser, world) | {"method": "identity-card"}
    answer = browser.post(f"{place}/recovery", form)
    assert (answer.status_code, 'data-code="recovery.second"' in answer.text) == (409, True)


def form_of_other(browser, world) -> dict[str, str]:
    """Take the mark of a form from another page of the same person's."""
    return form_of(browser, opened(browser, world.patient("lost-form")))


def test_who_is_not_enrolled_has_nothing_to_recover(tongji):
    browser = tongji.staff(Role.DESK)
    place = opened(browser, tongji.patient("lost-9"))
    form = form_of(browser, place)
    assert browser.post(f"{place}/recovery", form | {"method": "identity-card"}).status_code == 404
    form = form_of(browser, place)
    assert browser.post(f"{place}/recovery", form | {"method": "hearsay"}).status_code == 400


def test_attack_nothing_is_carried_out_before_its_time_nor_after_the_person_cancelled_it(world, tongji):
    one = lost(world, tongji, "lost-10")
    code = code_of(decided(tongji.staff(Role.DESK), proposed(tongji.staff(Role.DESK), one.name)))
    assert enrolled(tongji, code, "lost-10 thief", RECOVER).status_code == 200
    key = recovery_of(tongji, one)["key"]
    world.desks.everywhere(key, 1)
    desk = world.staff(Role.DESK)
    sent = form_of(desk, opened(desk, world.patient("lost-10-form")))
    assert desk.post(f"{LIST}/{key}/carry-out", sent).status_code == 422
    draft = world.local.call("recovery.draft-cancel", {"recovery": key})
    world.local.call("recovery.cancel", signed(phone_of("lost-10 before"), draft))
    assert key not in desk.get(LIST).text
    world.desks.federation.time += 7 * DAY_S
    desk = world.staff(Role.DESK)
    # The stop binds as soon as it was heard of; the ledger has it later.
    for _ in range(2):
        sent = form_of(desk, opened(desk, "lost-10-form"))
        answer = desk.post(f"{LIST}/{key}/carry-out", sent)
        assert (answer.status_code, 'data-code="transaction.stopped"' in answer.text) == (409, True)
        world.desks.settle(key, 2)


@pytest.mark.parametrize("role", [Role.CLINICIAN, Role.AUDITOR, Role.ADMINISTRATOR, Role.PATIENT])
def test_attack_no_other_role_begins_confirms_sees_or_carries_out(world, tongji, role):
    one = lost(world, tongji, f"lost-role-{role}")
    desk, browser = tongji.staff(Role.DESK), tongji.staff(role)
    case = opened(desk, one.name)
    sent = form_of(desk, case) | {"method": "identity-card", "step": "confirm"}
    place = proposed(desk, one.name)
    assert [browser.get(path).status_code for path in (LIST, place)] == [403, 403]
    for path in (f"{case}/recovery", place, f"{LIST}/{'0' * 64}/carry-out"):
        assert browser.post(path, sent).status_code == 403


def test_the_desk_sees_how_far_the_person_was_told(world, tongji):
    one = lost(world, tongji, "lost-12")
    code = code_of(decided(tongji.staff(Role.DESK), proposed(tongji.staff(Role.DESK), one.name)))
    assert enrolled(tongji, code, "lost-12 new", RECOVER).status_code == 200
    key, operations, desk = recovery_of(tongji, one)["key"], tongji.local.operations, tongji.staff(Role.DESK)
    listed = operations["notices.list"]
    told = {"acknowledged": None, "object": key, "sent": None, "undelivered": False}
    try:
        for changes, words in (
            ({}, "waits until the person signs in"),
            ({"undelivered": True}, "the contact given does not take it"),
            ({"sent": 5, "undelivered": True}, "sent, not seen yet"),
            ({"acknowledged": 6, "sent": 5}, "the person has seen it"),
        ):
            operations["notices.list"] = lambda _document, row=told | changes: {"notices": [row]}
            assert words in desk.get(f"{LIST}?lang=en").text
    finally:
        operations["notices.list"] = listed


def test_each_step_is_on_the_audit_with_who_did_it(world, tongji):
    one = lost(world, tongji, "lost-11")
    first, second = tongji.staff(Role.DESK, "Practitioner/one"), tongji.staff(Role.DESK, "Practitioner/two")
    place = proposed(first, one.name)
    name = place.rpartition("/")[2]
    decided(second, place)
    tongji.core.catch_up()
    found = {}
    for who in ("Practitioner/one", "Practitioner/two"):
        for event in tongji.core.search.ids("AuditEvent", f"agent={who}", 50):
            text = tongji.core.service.read("AuditEvent", event).content.decode()
            for code in re.findall(r'"(attestation-[a-z]+)"', text):
                found[who, code] = f'"urn:medchain:attestation","value":"{name}"' in text
            assert "#" not in text
    assert found == {
        ("Practitioner/one", "attestation-proposed"): True,
        ("Practitioner/two", "attestation-confirmed"): True,
    }
