"""The staff asks a patient of another organisation, and clinicians see what a patient permits; attacks."""

from __future__ import annotations

import html
import re

import pytest

from consent.web.kinds import KINDS
from medchain.errors import UnavailableError
from medchain.store.accounts import Role
from tests.unit.fhir_bridge.staff.test_desk import form_of, opened
from tests.unit.fhir_bridge.staff.test_paper import code_of, decided, on_paper, proposed, text_of
from tests.unit.medchain.node.federation import RENHE, TONGJI

PAGE = "/asks"
WISH = {
    "custodian": TONGJI,
    "days": "30",
    "kind": ["tests"],
    "named": "person",
    "patient": "p-17",
    "purpose": "TREAT",
    "reason": "<b>for the operation</b>",
}


def asked(browser, **changes: object):
    return browser.post(f"{PAGE}?lang=en", form_of(browser, PAGE) | WISH | changes)


def waiting(world, patient: str) -> list[dict]:
    return world.desks.local(TONGJI).call("ask.list", {"patient": patient})["asks"]


@pytest.mark.parametrize("role", [Role.CLINICIAN, Role.DESK])
def test_the_staff_asks_under_its_own_name_and_sees_what_was_asked(world, role):
    patient, browser = f"asked-{role}", world.staff(role)
    answer = asked(browser, patient=patient)
    assert (answer.status_code, answer.headers["Location"]) == (303, PAGE)
    (row,) = waiting(world, patient)
    assert (row["asker"], row["person"], row["reason"]) == (RENHE, "李医生", WISH["reason"])
    assert (row["purpose"], row["days"], row["resource_types"]) == ("TREAT", 30, sorted(KINDS["tests"]))
    page = browser.get(f"{PAGE}?lang=en")
    assert html.escape(WISH["reason"]) in page.text
    assert "<b>" not in page.text
    assert patient in page.text
    assert "can be answered until" in text_of(page)
    assert "None at the moment." in text_of(page)


def test_an_ask_in_the_organisations_name_names_nobody_and_a_name_that_is_sent_along_counts_for_nothing(world):
    asked(world.staff(), patient="asked-org", named="organisation", person="somebody else")
    assert [row["person"] for row in waiting(world, "asked-org")] == [""]
    asked(world.staff(), patient="asked-forged", person="somebody else")
    assert [row["person"] for row in waiting(world, "asked-forged")] == ["李医生"]


def test_what_has_ended_says_so(world):
    asked(world.staff(), patient="asked-over")
    world.desks.federation.time += 31 * 86400
    try:
        assert "ended on" in text_of(world.staff().get(f"{PAGE}?lang=en"))
    finally:
        world.desks.federation.time -= 31 * 86400


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"custodian": RENHE}, "Choose the organisation"),
        ({"custodian": "nobody"}, "Choose the organisation"),
        ({"purpose": "MARKT"}, "Choose what it is for"),
        ({"kind": []}, "Choose at least one kind"),
        ({"kind": ["everything"]}, "Choose at least one kind"),
        ({"days": "9999"}, "Choose for how long"),
        ({"reason": " "}, "Write 1 to 200 characters"),
        ({"patient": "x" * 201}, "Write 1 to 200 characters"),
    ],
)
def test_attack_nothing_is_asked_that_is_not_offered(world, changes, said):
    answer = asked(world.staff(), **({"patient": "asked-bad"} | changes))
    assert answer.status_code == 400
    assert said in text_of(answer)
    assert waiting(world, "asked-bad") == []


def test_attack_a_form_that_is_sent_again_asks_nobody_twice(world):
    browser = world.staff()
    form = form_of(browser, PAGE) | WISH | {"patient": "asked-twice"}
    assert browser.post(PAGE, form).status_code == 303
    assert code_of(browser.post(PAGE, form)) == "desk.repeated"
    assert len(waiting(world, "asked-twice")) == 1
    stolen = form_of(world.staff(), PAGE) | WISH | {"csrf": browser.csrf(PAGE)}
    assert browser.post(PAGE, stolen).status_code == 403


def test_where_the_other_organisation_cannot_be_reached_nothing_is_listed(world):
    send = world.local.operations["ask.send"]

    def away(_document):
        raise UnavailableError("peer.unreachable")

    world.local.operations["ask.send"] = away
    try:
        assert asked(world.staff(), patient="asked-away").status_code == 503
    finally:
        world.local.operations["ask.send"] = send
    assert "asked-away" not in world.staff().get(PAGE).text


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.ADMINISTRATOR, Role.PATIENT])
def test_attack_no_other_role_asks_or_sees_permissions(world, role):
    browser, clinician = world.staff(role), world.staff()
    form = form_of(clinician, PAGE) | WISH
    assert [browser.get(path).status_code for path in (PAGE, "/permissions")] == [403, 403]
    for path in (PAGE, "/permissions/find", "/permissions/open"):
        assert browser.post(path, form).status_code == 403


def test_a_clinician_sees_what_a_patient_permits_and_stops_nothing(world):
    subject, _ = on_paper(world, "permits-1")
    decided(world.staff(Role.DESK), proposed(world.staff(Role.DESK), "permits-1"))
    browser = world.staff()
    csrf = browser.csrf("/permissions")
    found = browser.post("/permissions/find?lang=en", {"csrf": csrf, "text": "MRN-permits-1"})
    assert 'action="/permissions/open"' in found.text
    answer = browser.post("/permissions/open", {"csrf": csrf, "patient": "permits-1"})
    place = answer.headers["Location"]
    page = browser.get(f"{place}?lang=en")
    assert "anxin-insurance · payment and claims" in text_of(page)
    assert "/stop" not in page.text
    (row,) = world.local.call("patient.consents", {"subjects": [subject.hex()]})["consents"]
    form = form_of(browser, PAGE) | {"key": row["key"]}
    for deed in ("stop", "let-in"):
        assert browser.post(f"{place}/{deed}", form).status_code == 403
    assert browser.get(place.removesuffix("/permissions")).status_code == 403
    assert "Nobody was found" in browser.post("/permissions/find?lang=en", {"csrf": csrf, "text": "zzz"}).text
    # A case of the desk's is none of a clinician's.
    desk = world.staff(Role.DESK)
    assert browser.get(f"{opened(desk, 'permits-1')}/permissions").status_code == 404


def test_an_ask_is_on_the_audit(world):
    asked(world.staff(person="Practitioner/asks"), patient="asked-audit")
    world.core.catch_up()
    texts = [
        world.core.service.read("AuditEvent", one).content.decode()
        for one in world.core.search.ids("AuditEvent", "agent=Practitioner/asks", 50)
    ]
    assert any(re.search(r'"permission-asked"', one) for one in texts)
    assert not any("asked-audit" in one for one in texts)
