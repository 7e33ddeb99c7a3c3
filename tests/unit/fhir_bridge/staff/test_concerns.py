"""The pages on which staff answer corrections and complaints, and on which a regulator sees what is late."""

from __future__ import annotations

import html
import json
import re
from contextlib import ExitStack

import pytest

from fhir_bridge.audit_events import REST_TYPE
from fhir_bridge.browse.reading import Reading, RefusedError
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import parse_scopes
from fhir_bridge.validation.check import check
from medchain.errors import UnavailableError
from medchain.node.records import NewRecord
from medchain.store.accounts import Role
from tests.unit.consent.web.test_concerns import concerns_of
from tests.unit.fhir_bridge.staff.conftest import opened
from tests.unit.medchain.node.federation import COMMISSION, DAY_S, RENHE

MARKUP = "<b>血型</b> is wrong"
PERSON = "Practitioner/answering"


@pytest.fixture(scope="module")
def office(desks):
    with ExitStack() as stack:
        made = opened(desks, COMMISSION, stack)
        made.local.operations["status"] = lambda _document: {"alarms": []}
        yield made


def ask(world, name: str, kind: str = "correction", **changes: object) -> dict:
    """Have a patient bring something; returns what the daemon shows."""
    if not world.core.store.get("Patient", name):
        world.patient(name)
    about = {"version": 1, "what": f"Observation/{name}-o"}
    if kind == "complaint":
        about = {"version": 0, "what": f"AuditEvent/{name}.1"}
        entity = {"what": {"reference": f"Patient/{name}"}}
        event = json.dumps({"resourceType": "AuditEvent", "id": f"{name}.1", "entity": [entity]}).encode()
        world.core.service.create(NewRecord("AuditEvent", f"{name}.1", event, ""))
    asked = {"about": about, "by": f"Patient/{name}", "kind": kind, "patient": name, "shared": False, "text": MARKUP}
    return world.local.call("concern.open", asked | changes)


def correct(world, name: str) -> None:
    content = world.core.service.read("Observation", f"{name}-o").content
    world.core.service.create(NewRecord("Observation", f"{name}-o", content, name, 2))


def state(world, name: str) -> list[str]:
    rows = world.local.call("concern.list", {"patient": name})["concerns"]
    return [row["state"] for row in rows]


def answer(browser, concern: dict, step: str, text: str = "", **changes: str):
    form = {"csrf": browser.csrf("/account"), "id": concern["id"], "step": step, "text": text}
    return browser.post("/concerns", form | changes)


def code_of(response) -> str:
    found = re.search(r'data-code="([a-z_.]+)"', response.text)
    return "" if found is None else found[1]


def events(world, name: str) -> list[tuple[str, str, tuple[tuple[str, str], ...]]]:
    access = Access("auditor", parse_scopes("user/AuditEvent.rs"), user="Practitioner/a1", role="auditor")
    query = f"patient=Patient/{name}&type={REST_TYPE}&_count=200"
    found = Reading(world.core, access, "en").listed("AuditEvent", query)
    assert [check(event, warnings=False) for event in found.resources if concerns_of(event)][:1] == [[]]
    return [(event["subtype"][0]["code"], _person(event), tuple(concerns_of(event))) for event in found.resources]


def _person(event: dict) -> str:
    return next(one["who"]["reference"] for one in event["agent"] if "reference" in one["who"])


def test_a_clinician_answers_a_correction_once_the_record_has_a_later_version(world):
    concern, browser = ask(world, "wrong"), world.staff(person=PERSON)
    page = browser.get("/concerns?lang=en").text
    assert html.escape(MARKUP) in page
    assert MARKUP not in page
    assert '<a href="/browse/Observation/wrong-o">Observation wrong-o</a>' in page
    assert "About version 1; the newest is 1" in page
    assert f'id="accepted-{page.count("<form method")}"' not in page
    assert code_of(answer(browser, concern, "accepted")) == "concern.uncorrected"
    correct(world, "wrong")
    assert "About version 1; the newest is 2" in browser.get("/concerns?lang=en").text
    assert answer(browser, concern, "accepted", "done").headers["Location"] == "/concerns"
    (row,) = world.local.call("concern.list", {"patient": "wrong"})["concerns"]
    last = row["steps"][-1]
    assert (last["step"], last["by"], last["text"], last["version"]) == ("accepted", PERSON, "done", 2)
    assert concern["id"] not in browser.get("/concerns").text


def test_a_clinician_sees_no_complaint_and_answers_none_and_an_auditor_no_correction(world):
    correction, complaint = ask(world, "both"), ask(world, "both", "complaint")
    clinician, auditor = world.staff(person=PERSON), world.staff(Role.AUDITOR)
    assert correction["id"] in clinician.get("/concerns").text
    assert complaint["id"] not in clinician.get("/concerns").text
    assert complaint["id"] in auditor.get("/concerns").text
    assert correction["id"] not in auditor.get("/concerns").text
    assert code_of(answer(clinician, complaint, "declined", "x")) == "concern.unknown"
    assert code_of(answer(auditor, correction, "declined", "x")) == "concern.unknown"
    assert state(world, "both") == ["opened", "opened"]
    assert answer(auditor, complaint, "declined", "part of the ward round").status_code == 303
    assert sorted(state(world, "both")) == ["declined", "opened"]


def test_no_fhir_interaction_shows_a_complaint_to_a_clinician(world):
    complaint = ask(world, "hidden", "complaint")
    clinician = Access("ehr", parse_scopes("user/*.cruds"), user=PERSON, role="clinician")
    reading = Reading(world.core, clinician, "en")
    for path, query in (
        (f"Concern/{complaint['id']}", ""),
        ("Concern", ""),
        (f"Concern/{complaint['id']}/_history", ""),
        (f"Concern/{complaint['id']}/$proof", ""),
    ):
        with pytest.raises(RefusedError) as caught:
            reading.get(path, query)
        assert caught.value.status == 404
    for path in ("Patient/hidden/$everything", "_history", "Patient/hidden/*"):
        body = reading.get(path).body
        # The audit tells that there is one, and neither what it is about nor what it says.
        assert MARKUP.encode() not in (whole := body if isinstance(body, bytes) else b"".join(body))
        assert b'"resourceType":"Concern"' not in whole


@pytest.mark.parametrize("role", [Role.DESK, Role.ADMINISTRATOR, Role.PATIENT])
def test_no_other_role_sees_or_answers_any(world, role):
    concern, browser = ask(world, f"closed-{role.value}"), world.staff(role)
    assert code_of(browser.get("/concerns")) in ("session.role", "")
    assert browser.get("/concerns").status_code == 403
    assert browser.post("/concerns", {"id": concern["id"], "step": "declined", "text": "x"}).status_code == 403
    assert state(world, f"closed-{role.value}") == ["opened"]


def test_a_form_counts_only_from_ones_own_page(world):
    concern, browser = ask(world, "foreign"), world.staff(person=PERSON)
    assert code_of(answer(browser, concern, "declined", "x", csrf="0" * 43)) == "session.form"
    form = {"csrf": browser.csrf("/account"), "id": concern["id"], "step": "declined", "text": "x"}
    assert browser.post("/concerns", form, origin="https://evil.example").status_code == 403
    assert world.app.test_client().get("/concerns").headers["Location"] == "/sign-in"
    assert state(world, "foreign") == ["opened"]


@pytest.mark.parametrize(
    ("step", "text", "code"),
    [
        ("declined", "", "concern.malformed"),
        ("declined", " \r\n", "concern.malformed"),
        ("declined", "x" * 1001, "concern.malformed"),
        ("closed", "", "concern.malformed"),
        ("", "x", "concern.malformed"),
    ],
)
def test_a_state_that_is_not_the_staffs_or_says_nothing_is_refused(world, step, text, code):
    name = f"refused-{step}{len(text)}"
    concern = ask(world, name)
    assert code_of(answer(world.staff(person=PERSON), concern, step, text)) == code
    assert state(world, name) == ["opened"]


def test_who_saw_and_who_answered_is_on_the_audit_with_the_versions(world):
    concern, browser = ask(world, "kept"), world.staff(person=PERSON)
    browser.get("/concerns")
    answer(browser, concern, "declined", "why")
    found = events(world, "kept")
    assert ("search", PERSON) in [(what, who) for what, who, seen in found if (concern["id"], "1") in seen]
    assert [(what, who) for what, who, seen in found if seen == ((concern["id"], "2"),)] == [("update", PERSON)]


def test_nothing_is_answered_that_the_audit_cannot_keep(world, monkeypatch):
    concern, browser = ask(world, "unkept"), world.staff(person=PERSON)
    csrf = browser.csrf("/account")

    def full(*_arguments: object) -> None:
        raise UnavailableError("store.full")

    monkeypatch.setattr(type(world.core.audit), "begin", full)
    assert code_of(answer(browser, concern, "declined", "x", csrf=csrf)) == "store.full"
    monkeypatch.undo()
    assert state(world, "unkept") == ["opened"]


def test_what_is_overdue_is_said_to_the_staff_and_shown_to_the_regulator_without_whose_it_is(world, office):
    shared, silent = ask(world, "late-1", "complaint", shared=True), ask(world, "late-2", "complaint")
    world.desks.concerns[RENHE].round()
    page = office.staff(Role.AUDITOR).get("/oversight?lang=en").text
    assert "past their clock: 0;" in page
    world.desks.federation.time += 4 * DAY_S
    try:
        assert "Overdue: an answer was due by" in world.staff(Role.AUDITOR).get("/concerns?lang=en").text
        auditor = office.staff(Role.AUDITOR)
        page, evidence = auditor.get("/oversight?lang=en").text, auditor.get("/oversight/evidence.json").data
    finally:
        world.desks.federation.time -= 4 * DAY_S
    assert "Corrections and complaints past their clock" in page
    assert f"{RENHE} · complaint" in page
    assert page.count(html.escape(MARKUP)) == 1
    assert MARKUP not in page
    rows = {row["id"]: row for row in json.loads(evidence)["concerns"]}
    assert (rows[shared["id"]]["texts"], rows[silent["id"]]["texts"]) == ([MARKUP], [])
    assert rows[silent["id"]]["overdue"] is True
    assert b"late-" not in evidence
    assert "late-" not in page
