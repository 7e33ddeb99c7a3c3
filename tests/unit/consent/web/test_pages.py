"""What the patient's pages show, what a patient signs on them, and the attacks on that."""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import replace
from unittest.mock import patch

import pytest

from consent.vocabulary import PURPOSES
from consent.web import kinds
from consent.web.words import PATIENT_WORDS
from fhir_bridge.browse.reading import Reading
from fhir_bridge.disclosures import KeptDisclosures
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import parse_scopes
from medchain.encoding import canonical, parse_canonical
from medchain.errors import NotFoundError, UnavailableError
from medchain.ledger.bundle import verify_bundle
from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.looks import roots_key
from medchain.ledger.object import map_key
from medchain.node.emergency import EmergencyDesk
from medchain.node.exchange_client import GRANTS
from medchain.node.look_book import LookBook
from medchain.node.proofs import PROVE
from medchain.node.records import NewRecord
from medchain.store.accesses import Access as Noted
from medchain.web.words import WORDS
from tests.unit.consent.web.conftest import KEY, PORTAL, code_of
from tests.unit.medchain.ledger.world import fresh, genesis
from tests.unit.medchain.node.desks import phone_of
from tests.unit.medchain.node.federation import ANXIN, ORIGIN, RENHE, TONGJI

ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def records(world, patient: str, *more: dict) -> None:
    """Store a patient's records and anchor them."""
    site, service = world.desks.federation.sites[RENHE], world.server.service
    assert KEY
    rows = [
        {"resourceType": "Patient", "id": patient, "name": [{"text": f"王{patient}"}]},
        {
            "resourceType": "Observation",
            "id": f"{patient}-o1",
            "status": "final",
            "code": {"text": "血糖"},
            "subject": {"reference": f"Patient/{patient}"},
            "effectiveDateTime": "2026-11-02",
        },
        *more,
    ]
    for row in rows:
        content = json.dumps(row, ensure_ascii=False).encode()
        service.create(NewRecord(row["resourceType"], row["id"], content, patient))
    while site.records.pending(1, kind="anchor"):
        site.node.anchor.round()
        world.desks.federation.wait()


def condition(patient: str, number: int, label: str = "") -> dict:
    meta = {"meta": {"security": [{"system": ACT_CODE, "code": label}]}} if label else {}
    return {
        "resourceType": "Condition",
        "id": f"{patient}-c{number}",
        "code": {"text": f"诊断{number}"},
        "subject": {"reference": f"Patient/{patient}"},
        "recordedDate": "2026-10-01",
        **meta,
    }


def english(browser, path: str, status: int = 200) -> str:
    page = browser.text(f"{path}{'&' if '?' in path else '?'}lang=en", status)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def noticed(world, name: str) -> list[dict]:
    """List what the hospital's node tells a patient."""
    asked = {"patient": name, "subjects": [world.subjects[name]]}
    return world.local.call("notices.list", asked)["notices"]


def test_the_first_page_says_who_looked_and_what_waits(world):
    browser = world.patient("home")
    assert "0 people looked at your record this week" in english(browser, "/my")
    ask = world.ask("home")
    # What the nodes tell of the enrolment is no matter to decide on.
    assert {"ask.came", "subject.enrol"} >= {row["kind"] for row in noticed(world, "home")}
    page = english(browser, "/my")
    assert "1 needs your attention" in page
    assert f'href="/my/asks/{ask}"' in browser.text("/my")
    assert "核对三月的住院理赔" in page


def test_notices_are_told_until_the_patient_has_seen_them(world):
    browser = world.patient("noticed")
    rows = [
        {"acknowledged": None, "id": "ab" * 16, "kind": "recovery.announced", "time": world.time},
        {"acknowledged": None, "id": "cd" * 16, "kind": "consent.given", "time": world.time},
        {"acknowledged": 7, "id": "ef" * 16, "kind": "delegate.named", "time": world.time},
        {"acknowledged": None, "id": "01" * 16, "kind": "unheard.of", "time": world.time},
        {"acknowledged": None, "id": "23" * 16, "kind": "recovery.stopped", "time": world.time},
    ]
    asked = []
    before = dict(world.local.operations)
    world.local.operations["notices.list"] = lambda _document: {"notices": rows}
    world.local.operations["notices.acknowledge"] = lambda document: asked.append(document) or {"acknowledged": True}
    try:
        page = english(browser, "/my")
        assert "2 need your attention" in page
        assert "Somebody asks to replace your passkeys" in page
        assert "A permission, or the hiding of a record, was signed in your name." in page
        assert "unheard.of" in page
        assert "or to appoint guardians for you, was cancelled." in page
        assert "Who may act for you" not in page
        answer = browser.post("/my/notices/" + "ab" * 16, {"csrf": browser.csrf()})
        assert answer.headers["Location"] == "/my"
    finally:
        world.local.operations.update(before)
    (document,) = asked
    assert (document["id"], document["patient"]) == ("ab" * 16, "noticed")
    assert document["subjects"] == [world.subjects["noticed"]]


def test_a_notice_of_another_patient_is_not_there_to_be_acknowledged(world):
    browser = world.patient("snoops")
    assert browser.post("/my/notices/" + "ab" * 16, {"csrf": browser.csrf()}).status_code == 404


def test_an_ask_says_who_why_which_records_and_what_it_would_let_through(world):
    records(world, "asks", condition("asks", 1), condition("asks", 2, "PSY"))
    browser = world.patient("asks")
    ask = world.ask("asks")
    page = english(browser, f"/my/asks/{ask}")
    for said in ("王晓梅", "Payment and claims", "核对三月的住院理赔", "诊断1", "血糖", "What if I say no?"):
        assert said in page
    assert "could see 2 records today" in page
    assert "mental health (1 labelled)" in page
    form = {"csrf": browser.csrf(f"/my/asks/{ask}"), "kind": ["diagnoses", "tests"], "days": "7", "step": "preview"}
    narrowed = browser.post(f"/my/asks/{ask}?lang=en", form | {"kind": ["tests"]}).text
    assert "could see 1 record today" in narrowed
    wider = browser.post(f"/my/asks/{ask}?lang=en", form | {"sensitive": ["mental"]}).text
    assert "could see 3 records today" in wider


def test_a_patient_agrees_the_insurer_reads_what_was_previewed_and_after_a_stop_nothing(world):
    records(world, "whole", condition("whole", 1), condition("whole", 2, "PSY"))
    browser = world.patient("whole")
    consent = world.give(browser, world.ask("whole"))
    assert "Your permission is in force" in browser.text(f"/my/access/{consent}?new=1&lang=en")
    assert "in force" in english(browser, f"/my/access/{consent}")
    assert {row["id"] for row in world.read(consent)["records"]} == {"whole-o1", "whole-c1"}
    assert "2 records" in english(browser, f"/my/access/{consent}")
    # Told from the ledger, and not once more from the audit.
    page = english(browser, "/my/looked")
    assert ("2 records" in page, page.count(ANXIN)) == (True, 1)
    assert "1 person looked at your record this week" in english(browser, "/my")
    assert browser.step(f"/my/access/{consent}/withdraw").status_code == 200
    # A refusal counts as about the patient also when the consent's newest body is the withdrawal.
    world.desks.settle(consent, 2)
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        world.read(consent)
    page = english(browser, "/my/looked")
    assert re.search(r"refused .* payment and claims Asked for: Diagnoses, Tests and measurements", page)
    assert "cannot be called back" in english(browser, f"/my/access/{consent}")
    assert "One request was given nothing this week" in english(browser, "/my")


def test_a_stop_without_a_passkey_binds_and_is_said_to_be_the_hospitals(world):
    records(world, "plain")
    browser = world.patient("plain")
    consent = world.give(browser, world.ask("plain"))
    form = {"csrf": browser.csrf()}
    assert browser.post(f"/my/access/{consent}/stop", form).headers["Location"] == f"/my/access/{consent}"
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        world.read(consent)
    assert "withdrawn by you" not in english(browser, f"/my/access/{consent}")


def test_a_patient_says_no_and_the_ask_is_gone(world):
    browser, ask = world.patient("declines"), world.ask("declines")
    form = {"csrf": browser.csrf(f"/my/asks/{ask}"), "step": "decline"}
    assert browser.post(f"/my/asks/{ask}", form).headers["Location"] == "/my"
    assert "0 need your attention" in english(browser, "/my")
    assert browser.get(f"/my/asks/{ask}").status_code == 404


@pytest.mark.parametrize(
    "chosen",
    [
        {"kind": []},
        {"kind": ["claims"]},
        {"sensitive": ["everything"]},
        {"days": "31"},
        {"days": "-1"},
    ],
)
def test_nothing_beyond_what_was_asked_for_is_drafted(world, chosen):
    browser, ask = world.patient("narrow"), world.ask("narrow")
    answer = browser.agree(ask, **{"kind": ["tests"]} | chosen)
    assert (answer.status_code, code_of(answer)) == (400, "patient.choice")


def test_another_passkeys_signature_gives_nothing(world):
    browser = world.patient("forgery")
    done = browser.signed(browser.agree(world.ask("forgery")), phone_of("thief of the pages"))
    assert (done.status_code, code_of(done)) == (422, "signing.credential")
    assert "You have let no other organisation see your record." in english(browser, "/my/access")


def test_a_log_in_is_no_consent(world):
    browser = world.patient("login")
    opened = json.loads(browser.agree(world.ask("login")).data)
    login = json.loads(browser.send("/my/sign-in/begin", {}).data)
    answer = browser.answered(login, origin=ORIGIN) | {"begun": opened["begun"]}
    assert code_of(browser.at_sign("/sign/finish", answer)) == "assertion.challenge"


def test_attack_a_signature_that_a_script_in_the_portal_got_gives_nothing(world):
    browser = world.patient("elsewhere")
    for origin in (PORTAL, "https://login.renhe.example"):
        done = browser.signed(browser.agree(world.ask("elsewhere")), origin=origin)
        assert (done.status_code, code_of(done)) == (422, "assertion.origin")
    assert "You have let no other organisation see your record." in english(browser, "/my/access")


def test_another_patients_ask_and_consent_are_not_there(world):
    other, ask = world.patient("owner"), world.ask("owner")
    consent = world.give(other, ask)
    waiting = world.ask("owner")
    browser = world.patient("nosy")
    csrf = browser.csrf()
    assert browser.get(f"/my/asks/{waiting}").status_code == 404
    assert browser.get(f"/my/access/{consent}").status_code == 404
    assert browser.get(f"/my/access/{consent}/receipt").status_code == 404
    assert browser.post(f"/my/access/{consent}/stop", {"csrf": csrf}).status_code == 404
    assert browser.agree(waiting).status_code == 404
    assert browser.step(f"/my/access/{consent}/withdraw").status_code == 404


@pytest.mark.parametrize("csrf", ["", "wrong", None, 7])
def test_a_step_without_the_sessions_token_is_refused(world, csrf):
    browser = world.patient("csrf")
    answer = browser.send("/my/passkeys/new/make", {"csrf": csrf})
    assert (answer.status_code, json.loads(answer.data)) == (403, {"code": "session.form"})


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_a_form_or_step_that_another_site_sends_is_refused(world, origin):
    browser, ask = world.patient("cross"), world.ask("cross")
    csrf = browser.csrf()
    assert browser.post(f"/my/asks/{ask}", {"csrf": csrf, "step": "decline"}, origin).status_code == 403
    assert browser.send("/my/passkeys/new/make", {"csrf": csrf}, Origin=origin).status_code == 403


def test_what_is_no_json_is_refused(world):
    browser = world.patient("json")
    headers = {"Origin": PORTAL, "Content-Type": "application/json"}
    for data in (b"{", b"[1]"):
        answer = browser.client.post("/my/passkeys/new/make", base_url=PORTAL, data=data, headers=headers)
        assert answer.status_code in (400, 403)
    assert browser.post("/my/passkeys/new/make", {}).status_code == 400


def test_a_consent_stands_where_the_recipient_could_not_be_let_in_and_that_can_be_tried_again(world, monkeypatch):
    browser, ask = world.patient("delayed"), world.ask("delayed")
    before = world.local.operations["grant.give"]

    def away(_document):
        raise UnavailableError("submit.no_endorser")

    monkeypatch.setitem(world.local.operations, "grant.give", away)
    consent = world.give(browser, ask)
    assert "has not let the recipient in yet" in english(browser, f"/my/access/{consent}")
    monkeypatch.setitem(world.local.operations, "grant.give", before)
    assert browser.post(f"/my/access/{consent}/open", {"csrf": browser.csrf()}).status_code == 303
    assert "has not let the recipient in yet" not in english(browser, f"/my/access/{consent}")


def test_a_receipt_says_what_was_agreed_to_and_where_its_proof_is(world):
    browser = world.patient("keeps")
    consent = world.give(browser, world.ask("keeps"))
    answer = browser.get(f"/my/access/{consent}/receipt")
    assert "attachment" in answer.headers["Content-Disposition"]
    receipt = json.loads(answer.data)
    (purpose,) = receipt["pii_processing"]["purposes"]
    assert (purpose["purpose"], purpose["recipient_third_parties"]) == ("HPAYMT", [ANXIN])
    assert [row["pii_type"] for row in purpose["pii_information"]] == ["Condition", "Observation"]
    head = world.desks.federation.sites[RENHE].node.shelf.head(bytes.fromhex(consent))
    assert receipt["evidence"]["position"] == head[0].since
    assert receipt["evidence"]["content_root"] == head[1].content_root.hex()
    assert receipt["events"][0]["event_type"] == "explicit"
    assert purpose["withdrawal_method"] == f"{PORTAL}/my/access/{consent}"


def test_a_consents_proof_is_given_as_files(world, monkeypatch):
    browser = world.patient("proves")
    consent = world.give(browser, world.ask("proves"))

    def prove(document):
        return {"files": {"asked.txt": "eA==", "key": "eQ=="}} if document == {"key": consent} else {}

    monkeypatch.setitem(world.local.operations, PROVE, prove)
    packed = browser.get(f"/my/access/{consent}/proof")
    with zipfile.ZipFile(io.BytesIO(packed.data)) as archive:
        assert archive.read("asked.txt") == b"x"


def test_what_was_given_under_a_permission_is_proven_with_that_nothing_else_is_recorded(world):
    records(world, "counts", condition("counts", 1))
    browser = world.patient("counts")
    consent = world.give(browser, world.ask("counts"))
    page = f"/my/access/{consent}"
    (place,) = re.findall(rf'href="({page}/disclosures/[0-9a-f]{{64}})"', browser.text(page))
    for count in (0, 1, 2):
        answer = browser.get(place)
        assert (answer.status_code, answer.content_type) == (200, "application/zip")
        with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        verdict = verify_bundle(files, trusted_policy_text(genesis().members, genesis().origin), now=world.time)
        told = [(one.recipient, one.access.count) for one in verdict.disclosures.listed]
        assert (verdict.answer, told) == ("disclosures", [(ANXIN, 2)] * count)
        world.read(consent)
    # It stays once the permission has ended.
    browser.post(f"{page}/stop", {"csrf": browser.csrf()})
    assert browser.get(place).status_code == 200


def test_the_proof_of_what_was_given_is_of_the_patients_own_permission_here(world, monkeypatch):
    browser, other = world.patient("own-proof"), world.patient("others-proof")
    mine, theirs = (world.give(one, world.ask(name)) for one, name in ((browser, "own-proof"), (other, "others-proof")))
    (place,) = re.findall(r'href="([^"]+/disclosures/[0-9a-f]{64})"', browser.text(f"/my/access/{mine}"))
    grant = place.rpartition("/")[2]
    for path in (place.replace(mine, theirs), place[:-1] + ("0" if grant[-1] != "0" else "1"), f"{place}/x"):
        assert browser.get(path).status_code == 404
    assert other.get(place).status_code == 404
    # What another custodian gives, that one proves.
    before = world.local.operations["patient.consents"]

    def elsewhere(document):
        answer = before(document)
        for row in answer["consents"]:
            row["grants"] = [one | {"custodian": TONGJI} for one in row["grants"]]
        return answer

    monkeypatch.setitem(world.local.operations, "patient.consents", elsewhere)
    assert "disclosures/" not in browser.text(f"/my/access/{mine}")
    assert browser.get(place).status_code == 404


def test_who_can_see_is_shown_by_organisation_and_by_kind(world):
    browser = world.patient("sees")
    world.give(browser, world.ask("sees"), kind=["tests"])
    assert "Tests and measurements" in english(browser, "/my/access")
    page = re.sub(r"<[^>]+>", "", browser.text("/my/access?by=kind&lang=en"))
    assert "Tests and measurements" in page
    assert "Diagnoses" not in page


def test_another_patients_record_is_not_there(world):
    records(world, "private")
    browser = world.patient("curious")
    for path in (
        "Observation/private-o1",
        "Patient/private",
        "Observation/none",
        "x/y",
        "Observation/private-o1/proof",
    ):
        assert browser.get(f"/my/record/{path}").status_code == 404


def test_everything_may_be_asked_for_and_permitted(world):
    records(world, "everything", condition("everything", 1))
    browser = world.patient("everything")
    ask = world.ask("everything", resource_types=["*"])
    everything = [*kinds.KINDS, kinds.OTHER]
    consent = world.give(browser, ask, kind=everything)
    assert "All kinds of records" in english(browser, f"/my/access/{consent}")
    assert len(world.read(consent, ("*",))["records"]) == 3
    some = world.ask("everything", resource_types=["*"])
    narrower = world.give(browser, some, kind=["tests"])
    assert {row["type"] for row in world.read(narrower, ("*",))["records"]} == {"Observation"}


def test_an_error_is_a_page_of_the_patients_with_a_way_back(world):
    browser = world.patient("errs")
    page = browser.text("/my/access/" + "0" * 64, 404)
    assert 'href="/my"' in page


@pytest.mark.parametrize("path", ["/my", "/my/access", "/my/looked", "/my/record", "/my/verify", "/my/settings"])
def test_a_page_runs_no_inline_script_and_loads_nothing_from_elsewhere(world, path):
    browser = world.patient("strict")
    answer = browser.get(path)
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    page = answer.text
    assert re.findall(r"<script(?![^>]*\bsrc=\"/static/)", page) == []
    assert re.findall(r"\sstyle=|\son[a-z]+=|<style", page) == []
    assert re.findall(r"(?:src|href)=\"(?!/|#|\?)", page) == []


def test_a_page_is_small(world):
    browser = world.patient("small")
    first = browser.client.get("/my", base_url=PORTAL)
    places = re.findall(r'(?:src|href)="(/static/[^"]+)"', first.text)
    files = [browser.get(place, **{"Accept-Encoding": "gzip"}) for place in places]
    assert all(one.headers["Content-Encoding"] == "gzip" for one in files)
    assert len(first.data) + sum(len(one.data) for one in files) < 70 * 1024


@pytest.mark.parametrize("key", sorted(PATIENT_WORDS))
def test_every_word_is_there_in_both_languages_with_the_same_fields(key):
    chinese, said = PATIENT_WORDS[key]
    assert chinese
    assert said
    assert set(re.findall(r"{(\w+)}", chinese)) == set(re.findall(r"{(\w+)}", said))
    assert re.search(r"[\u4e00-\u9fff]", said) is None


def test_every_word_that_a_page_says_exists():
    from pathlib import Path  # noqa: PLC0415  # for this test alone

    import consent.web.pages as pages  # noqa: PLC0415, PLR0402  # as above

    folder = Path(pages.__file__).parent
    sources = [*folder.glob("*.py"), *folder.glob("templates/patient/*.html")]
    said = {
        key for path in sources for key in re.findall(r"\b(?:t|say)\(\s*[\"']([a-z_.]+)[\"']", path.read_text("utf-8"))
    }
    assert said - {key for key in said if key.endswith(".")} <= PATIENT_WORDS.keys() | WORDS.keys()
    for kind in (*kinds.KINDS, kinds.OTHER):
        assert f"kind.{kind}" in PATIENT_WORDS
    for kind in kinds.SENSITIVE:
        assert f"sensitive.{kind}" in PATIENT_WORDS


def test_a_chain_of_disclosures_that_does_not_hold_is_said_to_be_broken(world):
    browser = world.patient("chained")
    world.give(browser, world.ask("chained"))
    before = world.local.operations["patient.consents"]

    def told(document):
        answer = before(document)
        for row in answer["consents"]:
            for grant in row["grants"]:
                grant["broken"] = "disclosures.history"
        return answer

    world.local.operations["patient.consents"] = told
    try:
        assert "does not hold together" in english(browser, "/my/looked")
    finally:
        world.local.operations["patient.consents"] = before
    assert "does not hold together" not in english(browser, "/my/looked")


def test_a_patient_sees_an_emergency_with_its_reason_and_objects_once(world):
    records(world, "urgent")
    browser = world.patient("urgent")
    site = world.desks.federation.sites[RENHE]
    desk = EmergencyDesk(RENHE, site.records, world.server.service, world.desks.federation.clock, fresh)
    declared = desk.declare("urgent", "doctor-17", "unconscious after a fall")
    page = english(browser, "/my/looked")
    assert "doctor-17" in page
    assert "Reason given: unconscious after a fall" in page
    name = declared.object_id.hex()
    form = {"csrf": browser.csrf("/my/looked"), "reason": "I was awake"}
    other = world.patient("uninvolved")
    assert other.post(f"/my/emergencies/{name}", form | {"csrf": other.csrf()}).status_code == 404
    asked = []
    before = world.local.operations["emergency.object"]
    world.local.operations["emergency.object"] = lambda document: asked.append(document) or {}
    try:
        assert "Your objection is recorded" in browser.post(f"/my/emergencies/{name}?lang=en", form).text
    finally:
        world.local.operations["emergency.object"] = before
    (document,) = asked
    assert document["object"] == map_key("emergency", RENHE, declared.object_id).hex()
    assert document["reason"] == "I was awake"


def test_who_broke_the_glass_here_is_named_and_nobody_of_another_hospital(world):
    records(world, "named")
    browser = world.patient("named")
    doctor = {"resourceType": "Practitioner", "id": "d55", "name": [{"text": "陈静"}]}
    content = json.dumps(doctor, ensure_ascii=False).encode()
    world.server.service.create(NewRecord("Practitioner", "d55", content, ""))
    site = world.desks.federation.sites[RENHE]
    desk = EmergencyDesk(RENHE, site.records, world.server.service, world.desks.federation.clock, fresh)
    desk.declare("named", "Practitioner/d55", "unconscious")
    page = english(browser, "/my/looked")
    assert "陈静" in page
    assert "staff d55" not in page
    # There, the same reference is of somebody else.
    (noted,) = [one for one in site.records.accesses(world.server.service.patient_token("named")) if one.detail]
    detail = parse_canonical(noted.detail, max_bytes=1 << 20) | {"recipient": TONGJI}
    elsewhere = replace(noted, detail=canonical(detail))
    with patch.object(type(site.records), "accesses", lambda *_: [elsewhere]):
        page = english(browser, "/my/looked")
    assert "Member of staff d55" in page
    assert "陈静" not in page


def test_one_who_is_no_party_reads_nothing_under_a_patients_consent(world):
    records(world, "party")
    browser = world.patient("party")
    consent = world.give(browser, world.ask("party"))
    grant = next(
        row["key"]
        for row in world.desks.local(ANXIN).call("grants.received", {})["grants"]
        if row["consent"] == consent
    )
    asked = {"custodian": RENHE, "grant": grant, "purpose": "HPAYMT", "resource_types": ["Observation"]}
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        world.desks.local(TONGJI).call("request", asked)
    assert "refused" in english(browser, "/my/looked")


def entered(world) -> None:
    """Have what the audit left entered in the patients' lists, under a root that is final."""
    site = world.desks.federation.sites[RENHE]

    def newest() -> int:
        record = site.replica.store.record(roots_key(RENHE))
        return 0 if record is None else record.version

    world.server.catch_up()
    LookBook(RENHE, site.records, world.server.service, world.desks.federation.clock, newest).round()
    while site.records.pending(1, kind="anchor"):
        site.node.anchor.round()
        world.desks.federation.wait()


def test_what_each_insurer_got_is_listed_by_insurer(world):
    records(world, "insured", condition("insured", 1))
    browser = world.patient("insured")
    page = "/my/looked?by=insurer"
    assert "No insurer was permitted anything" in english(browser, page)
    consent = world.give(browser, world.ask("insured"))
    assert "No disclosure is recorded." in english(browser, page)
    for _ in range(2):
        world.read(consent)
    seen_by_staff(world, "Observation/insured-o1")
    shown = english(browser, page)
    assert "Records given: 4, counting each time; disclosures: 2" in shown
    assert "staff d17" not in shown
    assert "Member of staff d17" in english(browser, "/my/looked")
    browser.post(f"/my/access/{consent}/stop", {"csrf": browser.csrf()})
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        world.read(consent)
    # What it was refused is no disclosure, and what it got stays.
    shown = english(browser, page)
    assert "disclosures: 2" in shown
    assert "refused" in shown
    assert "共得到 4 条记录（分 2 次，重复计入）" in browser.text(f"{page}&lang=zh")


def test_attack_who_is_refused_writes_on_the_patients_page_what_it_asked_for(world):
    """A purpose is a text of the asker's: what is none that is known is not shown. Notes of before say neither."""
    browser = world.patient("refuser")
    records(world, "refuser")
    token = world.server.service.patient_token("refuser")
    site, told = world.desks.federation.sites[RENHE], {"reason": "release.denied", "request": "00", "requester": ANXIN}
    more = {"purpose": "call 555-0100", "types": ["*"]}
    for number, detail in enumerate((told, told | more)):
        noted = Noted(bytes([0x51 + number]) * 16, token, "refused", world.time, canonical(detail))
        site.records.put_accesses([noted])
    page = english(browser, "/my/looked")
    assert page.count("refused") == 2
    assert "555-0100" not in page
    assert page.count("Asked for: all kinds of records") == 1


def test_who_asks_without_a_permission_is_said_to_have_none_and_not_that_the_patient_has_refused(world):
    browser = world.patient("unpermitted")
    records(world, "unpermitted")
    world.ask("unpermitted")
    asked = {"about": "Patient/unpermitted", "custodian": RENHE, "purpose": "HPAYMT"}
    found = world.desks.local(ANXIN).call(GRANTS, asked | {"resource_types": ["Observation"]})
    assert found["grants"] == []
    for path in ("/my/looked", "/my/looked?by=insurer", "/my"):
        page = english(browser, path)
        assert "not permitted, nothing given" in page
        assert "refused" not in page


def test_looks_for_several_purposes_are_told_apart_and_each_says_for_what(world):
    browser = world.patient("purposes")
    records(world, "purposes")
    for purpose in ("TREAT", "TREAT", "PATSFTY"):
        seen_by_staff(world, "Observation/purposes-o1", asked_for=purpose)
    page = english(browser, "/my/looked")
    assert re.search(r"2 times · treatment", page)
    assert page.count("patient safety") == 1


def test_an_insurer_that_asks_for_an_invoice_is_told_of_as_itself_and_got_no_record(world):
    browser = world.patient("invoiced")
    subject = {"reference": "Patient/invoiced"}
    records(world, "invoiced", {"resourceType": "Invoice", "id": "inv-1", "status": "issued", "subject": subject})
    site = world.desks.federation.sites[RENHE]
    invoice = site.records.get("Invoice", "inv-1").seq
    kept = KeptDisclosures(world.server.audit, RENHE, lambda: site.ledger.members, site.records)
    for is_known in (True, True, False):
        kept.questioned(ANXIN, fresh(32), [invoice], is_known=is_known)
    page = english(browser, "/my/looked")
    said = r".*?2 times · payment and claims.*?asked whether an invoice of yours is claimed"
    assert re.search(ANXIN + said, page, re.DOTALL)
    assert "Asked for: an invoice of yours, with a wrong check code" in page
    assert "a system" not in page
    zh = browser.text("/my/looked?lang=zh")
    assert "查询发票是否已理赔" in zh
    assert "要求查看：您的发票（校验码有误）" in zh
    assert "No disclosure is recorded." in english(browser, "/my/looked?by=insurer")
    assert re.search(r"\b0 people looked at your record this week", english(browser, "/my"))


@pytest.mark.parametrize("code", sorted(PURPOSES.keys() - {"PurposeOfUse"}))
def test_every_purpose_has_words(code):
    assert f"purpose.{code}" in PATIENT_WORDS


def seen_by_staff(world, path: str, user: str = "Practitioner/d17", asked_for: str = "") -> None:
    clinician = Access("ehr-1", parse_scopes("user/*.rs"), user=user, role="clinician", asked_for=asked_for)
    Reading(world.server, clinician, "en").resource(path)


def test_looks_and_refusals_are_marked_once_a_final_root_covers_them_and_their_proof_is_whole(world):
    records(world, "watched")
    browser = world.patient("watched")
    seen_by_staff(world, "Observation/watched-o1")
    consent = world.give(browser, world.ask("watched"))
    browser.post(f"/my/access/{consent}/stop", {"csrf": browser.csrf()})
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        world.read(consent)
    page = english(browser, "/my/looked")
    assert "Member of staff d17" in page
    assert "entered in your list" not in page
    assert "Download the proof" not in page
    entered(world)
    page = english(browser, "/my/looked")
    assert page.count("✓ entered in your list") == 2
    assert "A look that was never entered no ledger shows." in page
    answer = browser.get("/my/looked/proof")
    assert (answer.status_code, answer.content_type) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    policy = trusted_policy_text(genesis().members, genesis().origin)
    looks = verify_bundle(files, policy, now=world.time).looks
    told = [(row["action"], row["who"] or row["client"], row["refused"]) for row in looks.to_json()["listed"]]
    assert (looks.patient, sorted(told)) == (
        "Patient/watched",
        [("read", "Practitioner/d17", False), ("release", ANXIN, True)],
    )
    # One more of the same day: what is told as one is marked only where all of it is entered.
    seen_by_staff(world, "Observation/watched-o1")
    assert english(browser, "/my/looked").count("✓ entered in your list") == 1


def test_a_proof_of_a_list_is_the_patients_alone_and_waits_for_its_root(world):
    assert world.browser("nobody").get("/my/looked/proof").headers["Location"] == "/my/sign-in"
    records(world, "waiting")
    browser = world.patient("waiting")
    seen_by_staff(world, "Observation/waiting-o1")
    world.server.catch_up()
    site = world.desks.federation.sites[RENHE]
    before = site.replica.store.record(roots_key(RENHE))
    known = 0 if before is None else before.version
    LookBook(RENHE, site.records, world.server.service, world.desks.federation.clock, lambda: known).round()
    assert "Try again in a moment" in english(browser, "/my/looked/proof", 503)
    entered(world)
    assert browser.get("/my/looked/proof").status_code == 200


def test_one_of_the_staff_who_has_no_resource_is_named_and_no_system(world):
    records(world, "nameless")
    browser = world.patient("nameless")
    seen_by_staff(world, "Observation/nameless-o1", "account-17")
    page = english(browser, "/my/looked")
    assert "account-17" in page
    assert "a system" not in page
    assert "1 person looked at your record this week" in english(browser, "/my")
