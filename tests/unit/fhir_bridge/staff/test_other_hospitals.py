"""A clinician of one hospital breaks the glass for a patient of another one, on pages."""

from __future__ import annotations

import argparse
import html
import io
import re
from itertools import count

import pytest

from fhir_bridge.staff.other_hospitals import PLACE
from medchain.commands.command import Context
from medchain.commands.emergencies import _line
from medchain.store.accounts import Role
from tests.unit.medchain.node.federation import ANXIN, RENHE, TONGJI
from tests.unit.medchain.node.glass import Glass

REASON = "found unconscious, <b>no history</b>"
RECORDS = f"{PLACE}/records"
_NUMBERS = count(1)


@pytest.fixture(scope="module")
def patient(desks):
    made = Glass(desks)
    made.store()
    return made


@pytest.fixture
def clinician(abroad):
    browser = abroad.staff(person=f"Practitioner/o{next(_NUMBERS)}")
    yield browser
    abroad.desks.federation.down.clear()


def text_of(answer) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", answer.text)))


def declared(browser, patient, **form: str):
    given = {"csrf": browser.csrf(PLACE), "custodian": RENHE, "text": patient.identifier, "reason": REASON}
    return browser.post(PLACE, given | form)


def case_of(browser) -> str:
    return re.search(r'name="case" value="([0-9a-f]{32})"', browser.get(PLACE).text)[1]


def looked(browser, **form: str):
    return browser.post(f"{RECORDS}?lang=en", {"csrf": browser.csrf(PLACE), "case": case_of(browser)} | form)


def test_a_clinician_names_the_hospital_the_patient_and_the_reason_and_reads_what_it_gives(clinician, patient):
    answer = declared(clinician, patient)
    assert (answer.status_code, answer.headers["Location"]) == (303, PLACE)
    page = text_of(clinician.get(f"{PLACE}?lang=en"))
    assert patient.identifier in page
    assert "60 minutes left" in page
    assert REASON in page
    before = len(patient.noted())
    page = looked(clinician)
    assert page.status_code == 200
    assert "718-7" in page.text
    assert "has recorded that it gave this" in text_of(page)
    # Whose records they are, and then all of them: each is an entry of the other hospital's.
    assert [row["count"] for row in patient.noted()[before:]] == [1, 3]
    assert "病历" not in page.text


def test_more_records_than_a_page_holds_are_asked_for_one_page_after_another(clinician, patient, monkeypatch):
    monkeypatch.setattr("fhir_bridge.staff.other_hospitals._COUNT", 2)
    declared(clinician, patient)
    page = looked(clinician)
    assert page.text.count("<details") == 2
    cursor = html.unescape(re.search(r'name="cursor" value="([^"]+)"', page.text)[1])
    page = looked(clinician, cursor=cursor)
    assert page.text.count("<details") == 1
    assert 'name="cursor"' not in page.text
    assert looked(clinician, cursor=f"Observation {cursor.partition(' ')[2]}").status_code == 404
    assert looked(clinician, cursor=f"{cursor}x").status_code == 400


def test_of_a_patient_who_is_not_there_the_page_says_that_nothing_was_given(clinician, patient):
    declared(clinician, patient, text="urn:mrn|nobody-here")
    answer = looked(clinician)
    assert answer.status_code == 404
    assert "The hospital gave nothing" in text_of(answer)
    assert "emergency.patient" in patient.refusals()


def test_a_hospital_that_cannot_be_reached_is_told_as_such(clinician, patient, abroad):
    declared(clinician, patient)
    abroad.desks.federation.down.add(RENHE)
    answer = looked(clinician)
    assert answer.status_code == 503
    assert answer.text.count('role="alert"') == 1


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"custodian": ANXIN}, 400),
        ({"custodian": TONGJI}, 400),
        ({"custodian": ""}, 400),
        ({"text": " "}, 400),
        ({"reason": ""}, 400),
        ({"reason": "x" * 201}, 400),
        ({"csrf": "x"}, 403),
    ],
)
def test_what_names_no_hospital_no_patient_or_no_reason_declares_nothing(clinician, patient, form, status):
    assert declared(clinician, patient, **form).status_code == status
    assert 'name="case"' not in clinician.get(PLACE).text


def test_attack_an_emergency_of_somebody_else_or_one_that_is_over_is_used(patient, abroad):
    person, before = f"Practitioner/o{next(_NUMBERS)}", len(patient.noted())
    browser = abroad.staff(person=person)
    declared(browser, patient)
    case, federation = case_of(browser), abroad.desks.federation
    other = abroad.staff(person="Practitioner/other")
    assert other.post(RECORDS, {"csrf": other.csrf(PLACE), "case": case}).status_code == 404
    federation.time += 3600
    try:
        late = abroad.staff(person=person)
        assert late.post(RECORDS, {"csrf": late.csrf(PLACE), "case": case}).status_code == 404
    finally:
        federation.time -= 3600
    assert len(patient.noted()) == before


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.ADMINISTRATOR, Role.DESK])
def test_nobody_but_a_clinician_opens_the_pages(abroad, role):
    browser = abroad.staff(role)
    assert browser.get(PLACE).status_code == 403
    assert browser.get(RECORDS).status_code == 403
    assert browser.post(PLACE, {"csrf": "x"}).status_code == 403
    assert browser.post(RECORDS, {"csrf": "x"}).status_code == 403


def test_who_changes_the_language_of_what_was_given_is_shown_the_form(clinician):
    answer = clinician.get(RECORDS)
    assert (answer.status_code, answer.headers["Location"]) == (303, PLACE)


def test_no_address_names_the_patient(clinician, patient):
    declared(clinician, patient)
    links = re.findall(r'(?:href|action)="([^"]*)"', clinician.get(PLACE).text + looked(clinician).text)
    assert not [one for one in links if patient.local in one]


def test_the_review_pages_of_both_tell_of_the_other_and_of_the_objection(clinician, patient, abroad, world):
    declared(clinician, patient)
    looked(clinician)
    patient.settle()
    rows = world.desks.local(RENHE).call("emergency.list", {})["emergencies"]
    given = next(row for row in rows if row["count"] == 3 and row["review"] is None and row["recipient"] == TONGJI)
    world.desks.local(RENHE).call("emergency.object", {"by": "p", "object": given["key"], "reason": "I was awake"})
    patient.everywhere(bytes.fromhex(given["key"]), 2)
    there = text_of(world.staff(Role.AUDITOR).get("/emergencies/reviews?lang=en"))
    assert f"Given to {TONGJI}: 3 records" in there
    here = text_of(abroad.staff(Role.AUDITOR).get("/emergencies/reviews?lang=en"))
    assert f"Asked {RENHE} for the record" in here
    assert "The patient objects: I was awake" in here
    assert "Given to" not in here


def test_the_command_names_who_is_to_review_and_the_other_hospital(clinician, patient, abroad):
    declared(clinician, patient)
    looked(clinician)
    patient.settle()
    rows = abroad.desks.local(TONGJI).call("emergency.list", {})["emergencies"]
    silent = io.StringIO()
    context = Context(argparse.Namespace(), "en", as_json=False, out=silent, err=silent, clock=lambda: 0)
    told = {row["owner"]: _line(context, row) for row in rows if row["recipient"] == TONGJI}
    assert f"; asked {RENHE} for the record" in told[TONGJI]
    assert f" records given to {TONGJI}" in told[RENHE]


def test_the_pages_are_in_both_languages(clinician, patient):
    declared(clinician, patient)
    page = clinician.get(f"{PLACE}?lang=zh").text
    assert "紧急调阅其他医院的资料" in page
    answer = clinician.post(f"{RECORDS}?lang=zh", {"csrf": clinician.csrf(PLACE), "case": case_of(clinician)})
    assert "此处不保存这些资料" in answer.text
