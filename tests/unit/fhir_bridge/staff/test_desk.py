"""The desk: whom it finds, the code that it gives, and the attacks on that."""

from __future__ import annotations

import html
import json
import re
from hashlib import sha256
from itertools import count
from urllib.parse import urlsplit

import pytest

from consent.web.codes import CODE_S
from fhir_bridge.staff.counter import CASE_S
from medchain.crypto.assertion import encode_credential_key
from medchain.encoding import base64url
from medchain.node.records import NewRecord
from medchain.store.accounts import Role
from tests.unit.fhir_bridge.consent_oracle import consent
from tests.unit.medchain.node.desks import phone_of
from tests.unit.medchain.node.federation import ORIGIN, RENHE

PAGE = "/desk"
_PLACES = count(1)


def found(browser, text: str):
    return browser.post("/desk/find?lang=en", {"csrf": browser.csrf(PAGE), "text": text})


def opened(browser, patient: str) -> str:
    """Open a patient as the page does; returns the address."""
    answer = browser.post("/desk/open", {"csrf": browser.csrf(PAGE), "patient": patient})
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


def form_of(browser, place: str) -> dict[str, str]:
    """Read what a page's own form carries."""
    text = browser.get(place).text
    return {name: re.search(rf'name="{name}" value="([^"]+)"', text)[1] for name in ("csrf", "form")}


def given(browser, place: str, **changes: str):
    return browser.post(f"{place}/code?lang=en", form_of(browser, place) | {"method": "identity-card"} | changes)


def code_of(answer) -> str:
    """Read the code that a page shows."""
    return urlsplit(
        re.search(r"https://[^\s<]+/my/(?:enrol|recover)#[A-Za-z0-9_-]+", html.unescape(answer.text))[0]
    ).fragment


def enrolled(world, code: str, name: str, page: str = "/my/enrol"):
    """Make a passkey with a code as the patient's browser does; returns the last answer."""
    phone, client = phone_of(name), world.app.test_client()
    # Each from a place of its own, or one that fails would have all others wait.
    client.environ_base["REMOTE_ADDR"] = f"198.51.100.{next(_PLACES)}"
    named = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}

    def send(path: str, document: dict[str, str]):
        return client.post(path, base_url=ORIGIN, json=document, headers=named)

    answer = send(f"{page}/begin", {"code": code})
    if answer.status_code != 200:
        return answer
    begun = json.loads(answer.data)
    made = {"type": "webauthn.create", "challenge": begun["challenge"], "origin": ORIGIN, "crossOrigin": False}
    data = sha256(phone.rp_id.encode()).digest() + bytes([0x45]) + bytes(4 + 16)
    data += len(phone.credential_id).to_bytes(2, "big") + phone.credential_id + encode_credential_key(phone.credential)
    told = {"client_data": base64url(json.dumps(made).encode()), "authenticator_data": base64url(data)}
    return send(f"{page}/finish", {"begun": begun["begun"], "code": code} | told)


def test_the_desk_finds_a_patient_and_gives_a_code_with_which_the_patient_enrols(world):
    patient, browser = world.patient("desk-1"), world.staff(Role.DESK)
    page = found(browser, "MRN-desk-1").text
    assert "王desk-1" in page
    assert f'name="patient" value="{patient}"' in page
    place = opened(browser, patient)
    assert "Not enrolled" in browser.get(f"{place}?lang=en").text
    answer = given(browser, place, method="passport")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "It is good once, until" in answer.text
    assert enrolled(world, code_of(answer), "desk-1").status_code == 200
    (subject,) = world.patients.links.subjects_of(world.patients.token(patient))
    body = world.desks.federation.sites[RENHE].node.shelf.head(subject)[1]
    assert body.content["verified_by"]["method"] == "passport"
    page = browser.get(f"{place}?lang=en").text
    assert "Enrolled by renhe-hospital" in page
    assert "Passkeys: 1" in page
    assert "/code" not in page


def test_who_is_enrolled_gets_no_further_code_though_the_form_was_open(world):
    patient, browser = world.patient("desk-2"), world.staff(Role.DESK)
    place = opened(browser, patient)
    form = form_of(browser, place)
    assert enrolled(world, code_of(given(browser, place)), "desk-2").status_code == 200
    answer = browser.post(f"{place}/code", form | {"method": "identity-card"})
    assert (answer.status_code, 'data-code="patient.enrolled"' in answer.text) == (409, True)


def test_attack_a_form_that_is_sent_again_gives_no_second_code(world):
    place = opened(browser := world.staff(Role.DESK), world.patient("desk-3"))
    form = form_of(browser, place) | {"method": "identity-card"}
    assert browser.post(f"{place}/code", form).status_code == 200
    answer = browser.post(f"{place}/code", form)
    assert (answer.status_code, 'data-code="desk.repeated"' in answer.text) == (409, True)
    assert "/my/enrol#" not in answer.text


def test_attack_a_code_counts_once_and_ends(world):
    browser = world.staff(Role.DESK)
    place = opened(browser, world.patient("desk-4"))
    first, second = code_of(given(browser, place)), code_of(given(browser, place))
    world.desks.federation.time += CODE_S
    try:
        assert enrolled(world, first, "desk-4").status_code == 403
    finally:
        world.desks.federation.time -= CODE_S
    assert enrolled(world, first, "desk-4").status_code == 200
    assert enrolled(world, first, "desk-4 thief").status_code == 403
    assert enrolled(world, second, "desk-4 thief").status_code == 403


@pytest.mark.parametrize("role", [Role.CLINICIAN, Role.AUDITOR, Role.ADMINISTRATOR, Role.PATIENT])
def test_attack_no_other_role_opens_the_desk(world, role):
    desk, patient = world.staff(Role.DESK), world.patient(f"desk-role-{role}")
    place, browser = opened(desk, patient), world.staff(role)
    assert [browser.get(path).status_code for path in (PAGE, place)] == [403, 403]
    form = form_of(desk, place) | {"method": "identity-card", "patient": patient, "text": "MRN"}
    for path in ("/desk/find", "/desk/open", f"{place}/code"):
        assert browser.post(path, form).status_code == 403


def test_who_is_not_signed_in_is_sent_to_do_so(world):
    place = opened(world.staff(Role.DESK), world.patient("desk-5"))
    stranger = type(world.staff())(world.app.test_client())
    for path in (PAGE, "/desk/find", "/desk/open", place, f"{place}/code"):
        answer = stranger.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
        if path != place:
            assert stranger.post(path, {"patient": "desk-5"}).status_code in (403, 404, 405)


def test_attack_a_case_is_of_one_person_and_ends(world):
    mine, other = world.staff(Role.DESK), world.staff(Role.DESK)
    place = opened(mine, world.patient("desk-6"))
    assert mine.get(place).status_code == 200
    assert other.get(place).status_code == 404
    form = form_of(other, opened(other, "desk-6")) | {"method": "identity-card"}
    assert other.post(f"{place}/code", form).status_code == 404
    world.desks.federation.time += CASE_S
    try:
        # Its own session has ended by then, too.
        assert world.staff(Role.DESK).get(place).status_code == 404
    finally:
        world.desks.federation.time -= CASE_S


def test_attack_a_form_of_another_session_or_site_gives_nothing(world):
    mine, other = world.staff(Role.DESK), world.staff(Role.DESK)
    place = opened(mine, world.patient("desk-7"))
    form, strange = form_of(mine, place), form_of(other, opened(other, "desk-7"))
    for forged in ({"csrf": strange["csrf"]}, {"csrf": ""}, {"form": strange["form"]}, {"form": ""}, {"form": "x"}):
        answer = mine.post(f"{place}/code", form | {"method": "identity-card"} | forged)
        assert answer.status_code == 403, forged
    sent = form | {"method": "identity-card"}
    assert mine.post(f"{place}/code", sent, origin="https://evil.example").status_code == 403
    assert mine.post(f"{place}/code", form | {"method": "a friend's word"}).status_code == 400


@pytest.mark.parametrize("patient", ["nobody-here", "../x", "", "Patient/desk-1", "desk-1/_history/1"])
def test_attack_nobody_elses_patient_is_opened(world, patient):
    browser = world.staff(Role.DESK)
    answer = browser.post("/desk/open", {"csrf": browser.csrf(PAGE), "patient": patient})
    assert answer.status_code == 404


def test_whom_a_consent_keeps_from_the_desk_it_neither_finds_nor_opens(world):
    patient, browser = world.patient("desk-9"), world.staff(Role.DESK)
    place = opened(browser, patient)
    denied = consent({"type": "deny"}, id="desk-9-c", patient={"reference": f"Patient/{patient}"})
    content = json.dumps(denied).encode()
    world.core.service.create(NewRecord("Consent", "desk-9-c", content, patient))
    assert "Nobody was found" in found(browser, "MRN-desk-9").text
    assert browser.post("/desk/open", {"csrf": browser.csrf(PAGE), "patient": patient}).status_code == 404
    assert browser.get(place).status_code == 404


def test_no_address_has_data_of_a_patient_and_nobody_is_found_by_nothing(world):
    patient, browser = world.patient("desk-10"), world.staff(Role.DESK)
    pages = [found(browser, "王desk-10").text, browser.get(opened(browser, patient)).text]
    addresses = [html.unescape(one) for page in pages for one in re.findall(r'(?:href|action)="([^"]+)"', page)]
    assert not [one for one in addresses if "desk-10" in one or "MRN" in one or "%E7" in one]
    assert "Nobody was found" in found(browser, "   ").text
    assert [browser.get(path).headers["Location"] for path in ("/desk/find", "/desk/open")] == [PAGE, PAGE]


def test_what_the_desk_sees_and_gives_is_on_the_audit(world):
    world.patient("desk-11")
    browser = world.staff(Role.DESK, "Practitioner/at-the-desk")
    found(browser, "MRN-desk-11")
    given(browser, opened(browser, "desk-11"))
    world.core.catch_up()
    ids = world.core.search.ids("AuditEvent", "agent=Practitioner/at-the-desk", 50)
    events = [json.loads(world.core.service.read("AuditEvent", one).content) for one in ids]
    done = {coding["code"] for event in events for coding in event["subtype"]}
    assert {"search-type", "search", "read", "account-change"} & done >= {"read", "account-change"}
    assert "/my/enrol#" not in json.dumps(events)
