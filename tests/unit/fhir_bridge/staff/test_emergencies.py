"""Breaking the glass and reviewing it on pages: what they do, and the attacks on that."""

from __future__ import annotations

import html
import json
import re
from itertools import count
from pathlib import Path

import pytest

from consent.web.contact_words import CONTACT_WORDS
from consent.web.words import PATIENT_WORDS
from fhir_bridge import staff
from fhir_bridge.browse.words import BROWSE_WORDS
from fhir_bridge.smart.words import SMART_WORDS
from fhir_bridge.staff import counter, emergencies, guardians
from fhir_bridge.staff.attesting import Attested
from fhir_bridge.staff.paper import PURPOSES
from fhir_bridge.staff.words import STAFF_WORDS
from medchain.ledger.kinds.recovery import GUARDIANSHIP, REPLACE
from medchain.ledger.kinds.registry import KINDS
from medchain.ledger.kinds.subject import CHANNELS
from medchain.ledger.object import map_key
from medchain.node.concern import ANSWERS, ConcernKind
from medchain.node.emergency import EMERGENCY
from medchain.node.records import NewRecord
from medchain.store.accounts import Role
from medchain.web.words import WORDS
from tests.unit.fhir_bridge.consent_oracle import ACT_REASON, actor, consent, label
from tests.unit.medchain.node.federation import RENHE

PAGE, REVIEWS = "/emergencies", "/emergencies/reviews"
REASON = "found unconscious, <b>no history</b>"
CHINESE = re.compile(r"[\u4e00-\u9fff]")
_NUMBERS = count(1)
DERIVED = {
    "answers.choice.": [f"{step}.{kind}" for step in ANSWERS for kind in ConcernKind],
    "answers.lead.": ConcernKind,
    "answers.title.": ConcernKind,
    "contacts.add.": CHANNELS,
    "contacts.channel.": CHANNELS,
    "desk.deed.": Attested,
    "desk.standing.": ("dead", "incapable", "minor"),
    "guardians.": (Attested.CHILD, Attested.GUARDIANSHIP),
    "guardians.lead.": (Attested.CHILD, Attested.GUARDIANSHIP),
    "method.": (*counter.METHODS, *guardians.METHODS, guardians.DEATH),
    "oversight.concern.": ConcernKind,
    "oversight.kind.": KINDS.keys() - {"state"},
    "oversight.witness.": ("amiss", "late"),
    "paper.signature.": ("person", "guardian", "first", "second"),
    "permissions.ended.": ("attested", "patient", "organisation", "expired", "superseded"),
    "permissions.how.": ("attested", "law", "passkey", "unknown"),
    "proposed.check.": ("certificate", "guardians", "person"),
    "purpose.": PURPOSES,
    "recoveries.": (REPLACE, GUARDIANSHIP),
    "recoveries.told.": ("seen", "sent", "undelivered", "waiting"),
    "reviews.finding.": emergencies.FINDINGS,
}
"""Words whose keys are put together: their beginnings, and all ends."""


def person() -> str:
    return f"Practitioner/d{next(_NUMBERS)}"


def english(browser, path: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", browser.get(f"{path}?lang=en").text))


def declared(browser, patient: str, **form: str):
    """Break the glass as the page does."""
    return browser.post(PAGE, {"csrf": browser.csrf(PAGE), "patient": patient, "reason": REASON} | form)


def key_of(world, patient: str) -> str:
    """Bring a patient's newest emergency to the ledger; returns its map key."""
    world.settle()
    return map_key(EMERGENCY, RENHE, world.desk.of_patient(patient)[-1].object_id).hex()


def reviewed(browser, key: str, **form: str):
    return browser.post(REVIEWS, {"csrf": browser.csrf(REVIEWS), "key": key, "finding": "justified"} | form)


def listed(world, key: str) -> dict:
    rows = world.desks.local(RENHE).call("emergency.list", {})["emergencies"]
    return next(row for row in rows if row["key"] == key)


def test_a_clinician_finds_the_patient_says_why_and_may_look_for_an_hour(world):
    who, patient = person(), world.patient("one")
    browser = world.staff(person=who)
    found = browser.post("/emergencies/find?lang=en", {"csrf": browser.csrf(PAGE), "text": "MRN-one"})
    assert f'name="patient" value="{patient}"' in found.text
    assert "王one" in found.text
    assert world.desk.open_for(patient, who) is None
    answer = declared(browser, patient)
    assert (answer.status_code, answer.headers["Location"]) == (303, PAGE)
    made = world.desk.open_for(patient, who)
    assert (made.reason, made.until) == (REASON, world.site.clock() + 3600)
    page = browser.get(f"{PAGE}?lang=en").text
    assert f'<a href="/browse/Patient/{patient}">王one</a>' in page
    assert "60 minutes left" in page
    world.desks.federation.time += 3600
    try:
        assert "None at the moment" in english(world.staff(person=who), PAGE)
    finally:
        world.desks.federation.time -= 3600


def test_it_is_on_disk_when_the_page_answers_though_no_daemon_runs(world):
    patient = world.patient("disk")
    before = len(world.core.store.pending(1000, kind=EMERGENCY))
    browser = world.staff(person=person())
    assert declared(browser, patient).status_code == 303
    assert len(world.core.store.pending(1000, kind=EMERGENCY)) == before + 1
    assert declared(browser, patient).status_code == 303
    assert len(world.core.store.pending(1000, kind=EMERGENCY)) == before + 1


def test_what_is_kept_for_emergencies_is_shown_to_who_declared_one_and_to_nobody_else(world):
    patient, who = world.patient("kept"), person()
    breaking = {"type": "permit", "purpose": label("BTG", ACT_REASON), "actor": actor(who)}
    given = consent({"type": "deny", "provision": [breaking]}, id="kept-c", patient={"reference": f"Patient/{patient}"})
    world.core.service.create(NewRecord("Consent", "kept-c", json.dumps(given).encode(), patient))
    browser, other = world.staff(person=who), world.staff(person=person())
    place = f"/browse/Observation/{patient}-o"
    assert [one.get(place).status_code for one in (browser, other)] == [404, 404]
    assert declared(browser, patient).status_code == 303
    assert declared(other, patient).status_code == 303
    assert [one.get(place).status_code for one in (browser, other)] == [200, 404]


def test_somebody_elses_emergency_is_on_nobodys_page(world):
    patient = world.patient("others")
    declared(world.staff(person=person()), patient)
    page = world.staff(person=person()).get(f"{PAGE}?lang=en").text
    assert "None at the moment" in page
    assert "王others" not in page


def test_a_reason_is_never_markup_and_no_address_has_data_of_a_patient(world):
    patient = world.patient("markup")
    browser, auditor = world.staff(person=person()), world.staff(Role.AUDITOR)
    declared(browser, patient, reason="<script>alert(1)</script>")
    key_of(world, patient)
    for page in (browser.get(PAGE), auditor.get(REVIEWS)):
        assert "<script" not in page.text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
        assert page.headers["Cache-Control"] == "no-store"
    found = browser.post("/emergencies/find", {"csrf": browser.csrf(PAGE), "text": "王markup"}).text
    addresses = [html.unescape(one) for one in re.findall(r'(?:href|action)="([^"]+)"', found)]
    assert not [one for one in addresses if "王" in one or "MRN" in one or "%E7" in one]
    assert "王markup" not in auditor.get(REVIEWS).text


@pytest.mark.parametrize("role", [Role.DESK, Role.AUDITOR, Role.ADMINISTRATOR, Role.PATIENT])
def test_no_other_role_breaks_the_glass(world, role):
    patient, clinician = world.patient(f"role-{role}"), world.staff(person=person())
    browser = world.staff(role)
    assert browser.get(PAGE).status_code == 403
    form = {"csrf": clinician.csrf(PAGE), "patient": patient, "reason": REASON, "text": "MRN"}
    assert [browser.post(path, form).status_code for path in (PAGE, "/emergencies/find")] == [403, 403]
    assert world.desk.of_patient(patient) == []


@pytest.mark.parametrize("role", [Role.DESK, Role.CLINICIAN, Role.ADMINISTRATOR, Role.PATIENT])
def test_no_other_role_reviews(world, role):
    patient, auditor = world.patient(f"reviews-{role}"), world.staff(Role.AUDITOR)
    declared(world.staff(person=person()), patient)
    key, browser = key_of(world, patient), world.staff(role, person())
    assert browser.get(REVIEWS).status_code == 403
    form = {"csrf": auditor.csrf(REVIEWS), "key": key, "finding": "justified"}
    assert browser.post(REVIEWS, form).status_code == 403
    assert listed(world, key)["review"] is None


def test_who_is_not_signed_in_is_sent_to_do_so_and_changes_nothing(world):
    patient = world.patient("nobody")
    browser = world.staff()
    browser.client.delete_cookie(world.site.cookie, domain="fhir.renhe.example")
    stranger = type(browser)(world.app.test_client())
    for path in (PAGE, REVIEWS, "/emergencies/find"):
        answer = stranger.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
        assert stranger.post(path, {"patient": patient, "reason": REASON}).status_code == 403
    assert world.desk.of_patient(patient) == []


def test_a_form_without_its_sessions_token_or_of_another_site_does_nothing(world):
    patient, browser = world.patient("forged"), world.staff(person=person())
    form = {"csrf": browser.csrf(PAGE), "patient": patient, "reason": REASON}
    of_another = world.staff(person=person()).csrf(PAGE)
    for forged in ({**form, "csrf": ""}, {**form, "csrf": of_another}, {"patient": patient, "reason": REASON}):
        assert browser.post(PAGE, forged).status_code == 403
    assert browser.post(PAGE, form, origin="https://evil.example").status_code == 403
    assert browser.post(PAGE, form, origin=None).status_code == 403
    assert world.desk.of_patient(patient) == []
    declared(browser, patient)
    key, auditor = key_of(world, patient), world.staff(Role.AUDITOR)
    form = {"csrf": of_another, "key": key, "finding": "justified"}
    assert auditor.post(REVIEWS, form).status_code == 403
    assert (
        auditor.post(REVIEWS, form | {"csrf": auditor.csrf(REVIEWS)}, origin="https://evil.example").status_code == 403
    )
    assert listed(world, key)["review"] is None


def test_without_a_reason_or_a_patient_that_is_here_nothing_is_declared(world):
    patient, browser = world.patient("unsaid"), world.staff(person=person())
    for reason in ("", "   ", "x" * 201):
        answer = declared(browser, patient, reason=reason)
        assert answer.status_code == 400
    for other in ("", "nobody-here", "../x", "Patient/unsaid"):
        assert declared(browser, other).status_code == 404
    assert world.desk.of_patient(patient) == []


def test_an_auditor_reviews_what_waits_once(world):
    patient, who = world.patient("review"), person()
    declared(world.staff(person=who), patient)
    key, auditor = key_of(world, patient), world.staff(Role.AUDITOR, "Practitioner/auditor")
    page = auditor.get(f"{REVIEWS}?lang=en").text
    assert html.escape(REASON) in page
    assert f'<a href="/browse/{who}">' in page
    assert "6 days left" in page or "7 days left" in page
    assert reviewed(auditor, key, finding="whatever").status_code == 400
    assert reviewed(auditor, "x" * 64).status_code == 404
    answer = reviewed(auditor, key, finding="unjustified")
    assert (answer.status_code, answer.headers["Location"]) == (303, REVIEWS)
    review = listed(world, key)["review"]
    assert (review["by"], review["finding"]) == ("Practitioner/auditor", "unjustified")
    assert key not in auditor.get(REVIEWS).text
    form = {"csrf": auditor.csrf("/account"), "key": key, "finding": "justified"}
    assert auditor.post(REVIEWS, form).status_code == 409
    assert listed(world, key)["review"]["finding"] == "unjustified"


def test_who_looked_does_not_review_it_in_another_role(world):
    patient, who = world.patient("own"), person()
    declared(world.staff(person=who), patient)
    key = key_of(world, patient)
    answer = reviewed(world.staff(Role.AUDITOR, who), key)
    assert answer.status_code == 403
    assert "自己" in answer.text
    assert listed(world, key)["review"] is None


def test_an_objection_makes_it_due_sooner_and_what_is_late_is_said_first(world):
    patient = world.patient("late")
    declared(world.staff(person=person()), patient)
    key = key_of(world, patient)
    asked = {"by": "patient", "object": key, "reason": "<i>I was awake</i>"}
    world.desks.local(RENHE).call("emergency.object", asked)
    federation = world.desks.federation
    auditor, later = world.staff(Role.AUDITOR), 3 * 86400 + 1
    assert "The patient objects: &lt;i&gt;I was awake&lt;/i&gt;" in auditor.get(f"{REVIEWS}?lang=en").text
    federation.time += later
    try:
        page = english(world.staff(Role.AUDITOR), REVIEWS)
    finally:
        federation.time -= later
    assert "Overdue since" in page
    assert re.search(r"to review, [1-9]\d* of them overdue", page)


def test_what_a_clinician_sees_while_searching_is_on_the_audit(world):
    world.patient("audited")
    browser = world.staff(person="Practitioner/searching")
    browser.post("/emergencies/find", {"csrf": browser.csrf(PAGE), "text": "MRN-audited"})
    world.core.catch_up()
    found = world.core.search.ids("AuditEvent", "agent=Practitioner/searching", 10)
    assert found


def test_every_word_of_the_pages_exists_in_both_languages():
    for key, (chinese, said) in STAFF_WORDS.items():
        assert chinese, key
        assert said, key
        assert not CHINESE.search(said), key
        assert sorted(re.findall(r"{\w+}", chinese)) == sorted(re.findall(r"{\w+}", said)), key
    others = BROWSE_WORDS.keys() | SMART_WORDS.keys() | PATIENT_WORDS.keys() | WORDS.keys()
    assert not STAFF_WORDS.keys() & others
    text = "".join(one.read_text("utf-8") for one in Path(staff.__file__).parent.rglob("*.html"))
    said = set(re.findall(r"\bt\('([a-z_.]+)'", text)) - {
        "language.other.code",
        "patient.colon",
        "patient.comma",
        "ask.days",
    }
    # The desk asks for contacts in the words of the patient's own page.
    assert {one for one in said if not one.endswith(".")} <= STAFF_WORDS.keys() | CONTACT_WORDS.keys()
    assert {one for one in said if one.endswith(".")} | {"purpose."} == DERIVED.keys()
    for prefix, ends in DERIVED.items():
        assert {f"{prefix}{one}" for one in ends} <= STAFF_WORDS.keys() | PATIENT_WORDS.keys()
