"""The patient's pages of corrections and complaints, and the attacks on them."""

from __future__ import annotations

import html
import io
import re
import zipfile

import pytest

from fhir_bridge.browse.reading import Reading
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import parse_scopes
from medchain.encoding import canonical
from medchain.errors import UnavailableError
from medchain.ledger.bundle import verify_bundle
from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.object import map_key
from medchain.node.concern import parse_concern
from medchain.node.records import NewRecord
from medchain.node.refusing import REFUSED
from medchain.store.accesses import Access as Noted
from medchain.store.records import CONCERN
from tests.unit.consent.web.conftest import code_of
from tests.unit.consent.web.test_family import acting, observe, token
from tests.unit.consent.web.test_pages import english, records, seen_by_staff
from tests.unit.medchain.ledger.world import genesis
from tests.unit.medchain.node.federation import COMMISSION, DAY_S, NOW, RENHE

MARKUP = '<img src=x onerror="alert(1)"> & 血型应为 B 型'


def ask(browser, name: str, **changes: str):
    """Ask for a correction of the one record that `records` stores."""
    form = {"csrf": browser.csrf(), "text": MARKUP} | changes
    return browser.post(f"/my/record/Observation/{name}-o1/correction", form)


def complain(browser, look: str, **changes: str):
    return browser.post("/my/looked/complaint", {"csrf": browser.csrf(), "look": look, "text": "不认识此人"} | changes)


def listed(world, name: str) -> list[dict]:
    return world.local.call("concern.list", {"patient": name})["concerns"]


def answer(world, opened: dict, step: str, text: str) -> None:
    asked = {"by": "Practitioner/doctor-seventeen", "id": opened["id"], "kinds": ["complaint", "correction"]}
    world.local.call("concern.answer", asked | {"step": step, "text": text})


def anchored(world) -> None:
    site = world.desks.federation.sites[RENHE]
    while site.records.pending(1, kind="anchor"):
        site.node.anchor.round()
        world.desks.federation.wait()


def looks_on(browser) -> list[str]:
    """List the looks that can be complained of."""
    return [html.unescape(one) for one in re.findall(r'name="look" value="([^"]+)"', browser.text("/my/looked"))]


def concerns_of(event: dict) -> list[tuple[str, str]]:
    """List the concerns of an event, and which version of each."""
    found = [one for one in event["entity"] if "detail" in one]
    return [(one["what"]["identifier"]["value"], one["detail"][0]["valueString"]) for one in found]


def audited(world, name: str) -> list[dict]:
    access = Access("auditor", parse_scopes("user/AuditEvent.rs"), user="Practitioner/a1", role="auditor")
    found = Reading(world.server, access, "en").listed("AuditEvent", f"patient=Patient/{name}&_count=200")
    return [
        {
            "what": event["subtype"][0]["code"],
            "who": next(one["who"]["reference"] for one in event["agent"] if "reference" in one["who"]),
            "seen": concerns_of(event),
        }
        for event in found.resources
    ]


def test_a_patient_asks_for_a_correction_and_sees_clock_answer_and_corrected_version(world):
    browser = world.patient("corrected")
    records(world, "corrected")
    assert "Ask for a correction" in english(browser, "/my/record/Observation/corrected-o1")
    assert ask(browser, "corrected").headers["Location"] == "/my/concerns"
    page = english(browser, "/my/concerns")
    assert "Correction asked for waiting" in page
    assert "The hospital has to answer by" in page
    assert "not whose it is or what it says" in page
    (opened,) = listed(world, "corrected")
    assert (opened["about"], opened["shared"]) == ({"version": 1, "what": "Observation/corrected-o1"}, False)
    assert opened["steps"][0]["by"] == "Patient/corrected"
    site = world.desks.federation.sites[RENHE]
    before = site.service.read("Observation", "corrected-o1").content
    world.server.service.create(NewRecord("Observation", "corrected-o1", before, "corrected", 2))
    answer(world, opened, "accepted", "检验科已更正")
    world.desks.concerns[RENHE].round()
    page = english(browser, "/my/concerns")
    assert "accepted" in page
    assert "检验科已更正" in page
    assert "Corrected by version 2." in page
    assert "The hospital has answered a correction or complaint of yours." in english(browser, "/my")
    # Who of the staff it was stays within the hospital.
    assert "doctor-seventeen" not in page


def test_what_is_written_is_text_wherever_it_is_shown(world):
    browser = world.patient("marked")
    records(world, "marked")
    ask(browser, "marked")
    page = browser.text("/my/concerns")
    assert "<img src=x" not in page
    assert html.escape(MARKUP, quote=False) in page.replace("&#34;", '"')


def test_a_look_that_was_not_right_is_complained_of_and_the_regulator_is_shown_what_the_patient_shares(world):
    browser = world.patient("complaining")
    records(world, "complaining")
    seen_by_staff(world, "Observation/complaining-o1")
    (look,) = looks_on(browser)
    assert complain(browser, look, shared="1").headers["Location"] == "/my/concerns"
    (opened,) = listed(world, "complaining")
    assert (opened["kind"], opened["about"], opened["due"]) == (
        "complaint",
        {"version": 0, "what": look},
        NOW + 3 * DAY_S,
    )
    assert "The regulator is shown what is written here, too." in english(browser, "/my/concerns")
    world.desks.concerns[RENHE].round()
    rows = world.desks.local(COMMISSION).call("concern.reported", {})["concerns"]
    assert [row["texts"] for row in rows if row["id"] == opened["id"]] == [["不认识此人"]]


def test_a_refused_request_can_be_complained_of_by_its_own_name(world):
    browser = world.patient("refused-look")
    records(world, "refused-look")
    token_of = world.server.service.patient_token("refused-look")
    site = world.desks.federation.sites[RENHE]
    detail = canonical({"code": "release.consent", "requester": "anxin-insurance"})
    site.records.put_accesses([Noted(b"\x21" * 16, token_of, REFUSED, NOW, detail)])
    assert f"refusal/{'21' * 16}" in looks_on(browser)
    assert complain(browser, f"refusal/{'21' * 16}").status_code == 303


@pytest.mark.parametrize("look", ["", "AuditEvent/none", "entry/7", "refusal/" + "00" * 16, "Observation/o1"])
def test_a_look_that_is_not_in_the_patients_list_is_not_complained_of(world, look):
    browser = world.patient("no-looks")
    assert code_of(complain(browser, look)) == "page.unknown"
    assert listed(world, "no-looks") == []


def test_another_patients_record_and_concern_are_not_there(world):
    mine, other = world.patient("mine"), world.patient("not-mine")
    records(world, "mine")
    records(world, "not-mine")
    form = {"csrf": other.csrf(), "text": "x"}
    assert code_of(other.post("/my/record/Observation/mine-o1/correction", form)) == "page.unknown"
    ask(mine, "mine")
    (opened,) = listed(world, "mine")
    for path in ("reopen", "close"):
        assert code_of(other.post(f"/my/concerns/{opened['id']}/{path}", form)) == "concern.unknown"
    assert code_of(other.get(f"/my/concerns/{opened['id']}/proof")) == "concern.unknown"
    assert opened["id"] not in other.text("/my/concerns")
    assert [step["step"] for step in listed(world, "mine")[0]["steps"]] == ["opened"]


def test_no_form_counts_without_the_token_of_its_session_or_from_elsewhere(world):
    browser = world.patient("forged")
    records(world, "forged")
    assert code_of(ask(browser, "forged", csrf="0" * 32)) == "session.form"
    path = "/my/record/Observation/forged-o1/correction"
    form = {"csrf": browser.csrf(), "text": "x"}
    assert browser.post(path, form, origin="https://evil.example").status_code == 403
    assert world.browser("nobody").get("/my/concerns").headers["Location"] == "/my/sign-in"
    assert listed(world, "forged") == []


@pytest.mark.parametrize("text", ["", " \r\n ", "x" * 1001])
def test_too_little_or_too_much_is_refused_in_words(world, text):
    name = f"wordy-{len(text)}"
    browser = world.patient(name)
    records(world, name)
    refused = ask(browser, name, text=text)
    assert (refused.status_code, code_of(refused)) == (400, "concern.malformed")
    assert listed(world, name) == []


def test_a_patient_asks_for_another_answer_once_and_ends_it(world):
    browser = world.patient("insisting")
    records(world, "insisting")
    ask(browser, "insisting")
    (opened,) = listed(world, "insisting")
    assert "Is this answer not right?" not in english(browser, "/my/concerns")
    answer(world, opened, "declined", "结果无误")
    assert "Is this answer not right?" in english(browser, "/my/concerns")
    form = {"csrf": browser.csrf(), "text": "请再核对"}
    assert browser.post(f"/my/concerns/{opened['id']}/reopen", form).status_code == 303
    answer(world, opened, "declined", "仍无误")
    page = english(browser, "/my/concerns")
    assert "Is this answer not right?" not in page
    assert code_of(browser.post(f"/my/concerns/{opened['id']}/reopen", form)) == "concern.state"
    assert browser.post(f"/my/concerns/{opened['id']}/close", {"csrf": browser.csrf()}).status_code == 303
    page = english(browser, "/my/concerns")
    assert "ended" in page
    assert "End this" not in page


def test_what_nobody_answered_in_time_is_said_to_be_overdue(world):
    browser = world.patient("waiting-long")
    records(world, "waiting-long")
    ask(browser, "waiting-long")
    world.desks.federation.time += 31 * DAY_S
    try:
        assert "Overdue: an answer was due by" in english(world.patient("waiting-long"), "/my/concerns")
    finally:
        world.desks.federation.time = NOW


def test_the_receipt_is_the_proof_that_the_hospital_has_it(world):
    browser = world.patient("proven")
    records(world, "proven")
    ask(browser, "proven")
    assert "once the ledger has it" in english(browser, "/my/concerns")
    anchored(world)
    (opened,) = listed(world, "proven")
    key = map_key("record", RENHE, bytes.fromhex(opened["id"]))
    world.desks.federation.sites[RENHE].node.submitter.wait_final(key, 1, 60)
    packed = browser.get(f"/my/concerns/{opened['id']}/proof")
    assert packed.headers["Content-Disposition"].startswith('attachment; filename="concern-')
    with zipfile.ZipFile(io.BytesIO(packed.data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    policy = trusted_policy_text(genesis().members, genesis().origin)
    found = verify_bundle(files, policy, now=world.time)
    stored = world.server.store.get(CONCERN, opened["id"])
    assert parse_concern(world.server.service.open(stored).content).steps[0].text == MARKUP
    assert found.position == stored.position


def test_a_helper_who_may_read_asks_in_its_own_name_and_the_audit_says_who(world):
    person, helper = acting(world, "aided")
    observe(world, "aided")
    form = {"csrf": token(helper), "text": "x"}
    assert helper.post("/my/record/Observation/aided-o1/correction", form).status_code == 303
    (opened,) = listed(world, "aided")
    assert opened["steps"][0]["by"] == "Patient/aided-helper"
    page = english(person, "/my/concerns")
    assert "王aided-helper · asked" in page
    events = audited(world, "aided")
    made = [one for one in events if one["what"] == "create"]
    assert [(one["who"], one["seen"]) for one in made] == [("Patient/aided-helper", [(opened["id"], "1")])]
    assert ("search", "Patient/aided") in {(one["what"], one["who"]) for one in events}


def test_nothing_is_changed_or_shown_that_the_audit_cannot_keep(world, monkeypatch):
    browser = world.patient("unaudited")
    records(world, "unaudited")
    csrf = browser.csrf()

    def full(*_arguments: object) -> None:
        raise UnavailableError("store.full")

    monkeypatch.setattr(type(world.server.audit), "begin", full)
    assert code_of(ask(browser, "unaudited", csrf=csrf)) == "store.full"
    monkeypatch.undo()
    assert listed(world, "unaudited") == []
    ask(browser, "unaudited")
    monkeypatch.setattr(type(world.server.audit), "note", full)
    assert code_of(browser.get("/my/concerns")) == "store.full"
