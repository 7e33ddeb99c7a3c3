"""A patient hides a record from other organisations and releases it again; and the attacks on that."""

from __future__ import annotations

import json
import re

import pytest

from consent.hiding import Hidden, hiding_terms
from consent.web import hiding
from fhir_bridge import patient_records
from medchain.encoding import unhex
from medchain.errors import NotFoundError, VerificationError
from medchain.node.records import NewRecord, RecordService
from tests.unit.consent.web.conftest import PORTAL, code_of
from tests.unit.consent.web.test_family import act, acting, observe, token
from tests.unit.consent.web.test_joint import Family
from tests.unit.consent.web.test_pages import condition, english, records
from tests.unit.consent.web.test_record import visit
from tests.unit.medchain.node.desks import signed
from tests.unit.medchain.node.federation import ANXIN, RENHE


def hide(browser, place: str):
    """Hide a record, and sign it; gives the last answer."""
    return browser.step(f"/my/record/{place}/hide")


def release(browser, place: str):
    """Release a record, and sign that; gives the last answer."""
    return browser.step(f"/my/record/{place}/release")


def given(world, consent: str) -> set[str]:
    """Tell what the insurer is given under a consent."""
    return {row["id"] for row in world.read(consent)["records"]}


def of_visit(patient: str, number: int) -> dict:
    """Give a condition, and an observation that refers to it."""
    return {
        "resourceType": "Observation",
        "id": f"{patient}-of{number}",
        "status": "final",
        "code": {"text": "随诊"},
        "subject": {"reference": f"Patient/{patient}"},
        "focus": [{"reference": f"Condition/{patient}-c{number}"}],
        "effectiveDateTime": "2026-11-03",
    }


def test_what_is_hidden_is_given_to_nobody_else_until_the_patient_releases_it(world):
    records(world, "hides", condition("hides", 1), condition("hides", 2), of_visit("hides", 1))
    browser = world.patient("hides")
    consent = world.give(browser, world.ask("hides"))
    assert given(world, consent) == {"hides-o1", "hides-c1", "hides-c2", "hides-of1"}
    page = english(browser, "/my/record/Condition/hides-c1/hide")
    assert "4 records today, 2 once it is hidden" in page
    assert "Hidden with it: one record that refers to it 随诊" in page
    done = hide(browser, "Condition/hides-c1")
    assert json.loads(done.data)["next"] == f"{PORTAL}/my/record/Condition/hides-c1"
    assert given(world, consent) == {"hides-o1", "hides-c2"}
    page = english(browser, "/my/record/Condition/hides-c1")
    assert "Hidden from other organisations since" in page
    assert "entry" in page
    page = english(browser, "/my/record/Observation/hides-of1")
    assert "It is not given, because it refers to what you hide: 诊断1" in page
    assert browser.text("/my/record?lang=en").count(">hidden<") == 2
    assert release(browser, "Condition/hides-c1").status_code == 200
    assert "It is not hidden" in english(browser, "/my/record/Condition/hides-c1")
    assert given(world, consent) == {"hides-o1", "hides-c1", "hides-c2", "hides-of1"}


WAYS = {
    "fragment": {"reference": "Encounter/{0}-e1#part"},
    "version": {"reference": "Encounter/{0}-e1/_history/1"},
    "absolute": {"reference": "https://renhe.example/fhir/Encounter/{0}-e1"},
    "absolute-version": {"reference": "https://renhe.example/fhir/Encounter/{0}-e1/_history/1#part"},
    "identifier": {"identifier": {"system": "urn:visits", "value": "V-{0}"}},
    "type-and-case": {"type": "Encounter", "identifier": {"system": "urn:visits", "value": "v-{0}"}},
    "without-system": {"identifier": {"value": "V-{0}"}},
    "one-of-two": {"identifier": {"system": "urn:visits", "value": "both-{0}"}},
    "other-system": {"identifier": {"system": "urn:others", "value": "V-{0}"}},
    "other-type": {"type": "EpisodeOfCare", "identifier": {"system": "urn:visits", "value": "V-{0}"}},
    "unknown": {"identifier": {"system": "urn:visits", "value": "elsewhere"}},
    "condition": {"reference": "https://elsewhere.example/Encounter?date=2026&identifier=urn:visits%7Cv-{0}"},
    "condition-one-of-two": {"reference": "Encounter?identifier=x\\,y,urn:visits|both-{0}"},
    "condition-modifier": {"reference": "https://renhe.example/fhir/Encounter?identifier:of-type=urn:t|VN|V-{0}"},
    "condition-id": {"reference": "https://elsewhere.example/Encounter?_id={0}-e1"},
    "condition-apostrophe": {"reference": "https://elsewhere.example/Encounter?type=d'or&identifier=urn:visits|V-{0}"},
    "condition-encoded": {"reference": "https://elsewhere.example/Encounter?i%64entifier=urn:visits%7CV-{0}"},
    "other-condition": {"reference": "https://elsewhere.example/Encounter?identifier=urn:others|V-{0}"},
    "condition-of-other-type": {"reference": "https://elsewhere.example/EpisodeOfCare?identifier=V-{0}"},
}


CONTAINED = {"resourceType": "Encounter", "id": "v", "status": "finished", "class": {"code": "AMB"}}
LINK = '<div xmlns="http://www.w3.org/1999/xhtml"><a href="/fhir/Encounter?a=1&amp;identifier=V-{0}">Visit</a></div>'
MEMBERS = {way: {"encounter": place} for way, place in WAYS.items()} | {
    "contained-identifier": {
        "encounter": {"reference": "#v"},
        "contained": [CONTAINED | {"identifier": [{"system": "urn:visits", "value": "V-{0}"}]}],
    },
    "contained-id": {"encounter": {"reference": "#{0}-e1"}, "contained": [CONTAINED | {"id": "{0}-e1"}]},
    "contained-part": {
        "encounter": {"reference": "#v"},
        "contained": [CONTAINED | {"partOf": {"reference": "Encounter/{0}-e1"}}],
    },
    "extension": {"extension": [{"url": "urn:at", "valueReference": {"reference": "Encounter/{0}-e1"}}]},
    "link-condition": {"text": {"status": "generated", "div": LINK}},
}


def named(name: str) -> list[dict]:
    """Give observations, each of which names the patient's first visit in another way, or nearly."""
    rows = [
        of_visit(name, 1) | json.loads(json.dumps({"id": f"{name}-{way}", **members}).replace("{0}", name))
        for way, members in MEMBERS.items()
    ]
    return [{key: value for key, value in row.items() if key != "focus"} for row in rows]


def test_attack_a_record_names_a_hidden_visit_in_another_way(world):
    """By a fragment, a version, a whole address, an identifier, a condition, what it contains: it is of that visit."""
    name = "ways"
    rows = named(name)
    visits = [
        visit(name, number)
        | {"identifier": [{"system": "urn:visits", "value": value} for value in (own, f"both-{name}")]}
        for number, own in ((1, f"V-{name}"), (2, f"W-{name}"))
    ]
    # Those that name the visit come before it does.
    records(world, name, *rows, *visits)
    browser = world.patient(name)
    consent = world.give(browser, world.ask(name))
    every = {f"{name}-{way}" for way in (*MEMBERS, "o1")}
    assert given(world, consent) == every
    page = english(browser, f"/my/record/Encounter/{name}-e1/hide")
    assert "Hidden with it: 19 records" in page
    assert hide(browser, f"Encounter/{name}-e1").status_code == 200
    others = ("other-system", "other-type", "other-condition", "condition-of-other-type", "unknown", "o1")
    left = {f"{name}-{way}" for way in others}
    assert given(world, consent) == left
    assert "It is not given, because it refers to what you hide" in english(
        browser, f"/my/record/Observation/{name}-identifier"
    )


def test_a_hiding_is_shown_as_no_permission_and_its_proof_is_there(world):
    records(world, "quiet")
    browser = world.patient("quiet")
    assert hide(browser, "Observation/quiet-o1").status_code == 200
    assert "You have let no other organisation see your record." in english(browser, "/my/access")
    assert "You have let no other organisation see your record." in english(browser, "/my")
    page = browser.text("/my/record/Observation/quiet-o1")
    key = re.search(r"/my/access/([0-9a-f]{64})/proof", page)[1]
    assert browser.get(f"/my/access/{key}/proof").status_code == 200
    for path in ("", "/receipt"):
        assert browser.get(f"/my/access/{key}{path}").status_code == 404
    # Without a passkey's signature nothing is released here, and nobody is let in.
    for path in ("stop", "withdraw", "open"):
        answer = browser.post(f"/my/access/{key}/{path}", {"csrf": browser.csrf()})
        assert (answer.status_code, code_of(answer)) == (404, "page.unknown")


def test_a_preview_of_a_permission_leaves_out_what_is_hidden(world):
    records(world, "later", condition("later", 1))
    browser = world.patient("later")
    assert hide(browser, "Condition/later-c1").status_code == 200
    ask = world.ask("later")
    page = english(browser, f"/my/asks/{ask}")
    assert "could see 1 record today" in page
    assert "What you hide is not counted" in page
    assert given(world, world.give(browser, ask)) == {"later-o1"}


def test_previews_count_all_records_and_open_a_few_of_them(world, monkeypatch):
    """However many there are: what is counted was opened once, and what is named is searched for by its id."""
    place, row = "Encounter/many-e1", {"encounter": {"reference": "Encounter/many-e1"}}
    records(
        world,
        "many",
        visit("many", 1),
        *(condition("many", number) | row for number in range(4)),
        *(condition("many", number, "PSY") for number in range(4, 7)),
    )
    browser, ask = world.patient("many"), world.ask("many")
    monkeypatch.setattr(patient_records, "_LISTED", 1)
    monkeypatch.setattr(hiding, "LISTED", 3)
    page = english(browser, f"/my/asks/{ask}")
    assert "could see 5 records today" in page
    assert "mental health (3 labelled)" in page
    page = english(browser, f"/my/record/{place}/hide")
    assert "(5 records)" in page
    assert "Hidden with it: 4 records that refer to it" in page
    assert "… and one more." in page
    page = english(browser, "/my/record/kinds/diagnoses/hide")
    assert "(7 records)" in page
    assert re.search(r"诊断. \(1 Oct 2026\); 诊断. \(1 Oct 2026\); 诊断. \(1 Oct 2026\) …", page)
    opened, plain = [], RecordService.open
    monkeypatch.setattr(RecordService, "open", lambda service, row: opened.append(row.id) or plain(service, row))
    for path in (f"/my/asks/{ask}", f"/my/record/{place}/hide", "/my/record/kinds/diagnoses/hide"):
        browser.text(path)
    assert not [one for one in opened if one.startswith("many-")]
    # What comes, changes or goes counts at once.
    changed = condition("many", 4)
    for record, version in ((changed, 2), (condition("many", 8), 1)):
        content = json.dumps(record).encode()
        world.server.service.create(NewRecord("Condition", record["id"], content, "many", version))
    world.server.service.delete("Condition", "many-c0")
    page = english(browser, f"/my/asks/{ask}")
    assert "could see 6 records today" in page
    assert "mental health (2 labelled)" in page


def test_what_a_preview_counts_is_what_is_given(world):
    """Over records that name a hidden one in every way, some of them by identifiers."""
    records(
        world, "same", visit("same", 1) | {"identifier": [{"system": "urn:visits", "value": "V-same"}]}, *named("same")
    )
    browser, ask = world.patient("same"), world.ask("same")
    assert hide(browser, "Encounter/same-e1").status_code == 200
    counted = int(re.search(r"could see ([0-9]+) records? today", english(browser, f"/my/asks/{ask}"))[1])
    assert counted == len(given(world, world.give(browser, ask))) == 8


def test_attack_a_preview_counts_what_consents_keep_from_the_patient(world):
    """A doctor may have denied a record to its own patient: that it is there is not told by a number either."""
    records(world, "kept", condition("kept", 1), condition("kept", 2))
    denial = {
        "resourceType": "Consent",
        "id": "kept-denial",
        "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": "Patient/kept"},
        "policyRule": {"coding": [{"code": "OPTIN"}]},
        "provision": {
            "type": "deny",
            "actor": [{"role": {"coding": [{"code": "IRCP"}]}, "reference": {"reference": "Patient/kept"}}],
            "data": [{"meaning": "instance", "reference": {"reference": "Condition/kept-c1"}}],
        },
    }
    browser, ask = world.patient("kept"), world.ask("kept")
    assert "could see 3 records today" in english(browser, f"/my/asks/{ask}")
    content = json.dumps(denial).encode()
    world.server.service.create(NewRecord("Consent", "kept-denial", content, "kept"))
    assert "could see 2 records today" in english(browser, f"/my/asks/{ask}")


def test_what_is_hidden_is_hidden_once_and_what_is_not_is_not_released(world):
    records(world, "once")
    browser = world.patient("once")
    assert code_of(release(browser, "Observation/once-o1")) == "page.unknown"
    assert hide(browser, "Observation/once-o1").status_code == 200
    again = hide(browser, "Observation/once-o1")
    assert (again.status_code, code_of(again)) == (409, "hide.hidden")


@pytest.mark.parametrize("place", ["Patient/mine", "Observation/other-o1", "Observation/no-such", "observation/x"])
def test_nothing_else_is_hidden_neither_the_patient_nor_what_is_another_ones(world, place):
    if "mine" not in world.subjects:
        records(world, "mine")
        records(world, "other")
    browser = world.patient("mine")
    assert browser.get(f"/my/record/{place}/hide").status_code == 404
    for step in (hide, release):
        assert code_of(step(browser, place)) == "page.unknown"


def test_attack_a_hiding_that_somebody_elses_passkey_signed_counts_for_nothing(world):
    records(world, "signs")
    browser, other = world.patient("signs"), world.patient("stranger")
    opened = browser.led(browser.post("/my/record/Observation/signs-o1/hide", {"csrf": browser.csrf()}))
    assert browser.signed(opened, other.phone).status_code == 422
    assert "It is not hidden" in english(browser, "/my/record/Observation/signs-o1")


def test_attack_a_form_of_another_site_hides_and_releases_nothing(world):
    records(world, "forged")
    browser = world.patient("forged")
    for step in ("hide", "release"):
        form = {"csrf": browser.csrf()}
        answer = browser.post(f"/my/record/Observation/forged-o1/{step}", form, "https://evil.example")
        assert (answer.status_code, code_of(answer)) == (403, "session.form")
        answer = browser.post(f"/my/record/Observation/forged-o1/{step}", {"csrf": "x" * 43})
        assert (answer.status_code, code_of(answer)) == (403, "session.form")


def test_attack_an_organisation_that_endorsed_a_hiding_stops_it_and_the_record_stays_hidden(world):
    records(world, "stopped")
    browser = world.patient("stopped")
    consent = world.give(browser, world.ask("stopped"))
    assert hide(browser, "Observation/stopped-o1").status_code == 200
    key = re.search(r"/my/access/([0-9a-f]{64})/proof", browser.text("/my/record/Observation/stopped-o1"))[1]
    world.desks.everywhere(key, 1)
    sites = world.desks.federation.sites
    holder = next(one for one, site in sites.items() if one != RENHE and site.node.shelf.terms(unhex(key, 32)))
    world.desks.local(holder).call("stop", {"object": key})
    sites[holder].node.driver.outbox.step()
    world.desks.everywhere(key, 2)
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        world.read(consent)
    page = english(browser, "/my/record/Observation/stopped-o1")
    assert "Hidden from other organisations since" in page
    assert "You cannot release it here" in page


def test_the_hospitals_own_stop_ends_a_hiding_and_the_page_says_so(world):
    records(world, "ended")
    browser = world.patient("ended")
    consent = world.give(browser, world.ask("ended"))
    assert hide(browser, "Observation/ended-o1").status_code == 200
    key = re.search(r"/my/access/([0-9a-f]{64})/proof", browser.text("/my/record/Observation/ended-o1"))[1]
    world.local.call("stop", {"object": key})
    assert given(world, consent) == {"ended-o1"}
    assert "It is not hidden" in english(browser, "/my/record/Observation/ended-o1")


def test_a_hiding_signed_elsewhere_about_this_hospital_is_none_of_another_recipient(world):
    """One of the same form that names another organisation is a permission for it, and hides nothing."""
    records(world, "lookalike")
    browser = world.patient("lookalike")
    subject = world.subjects["lookalike"]
    odd = hiding_terms(Hidden.of_record("Observation/lookalike-o1"), ANXIN, subject, world.time) | {
        "custodians": [RENHE]
    }
    draft = world.local.call("consent.draft", odd)
    world.local.call("consent.give", signed(browser.phone, draft))
    assert "It is not hidden" in english(browser, "/my/record/Observation/lookalike-o1")


def test_a_helper_who_may_decide_hides_and_one_who_may_not_does_not(world):
    person, helper = acting(world, "hid-by")
    observe(world, "hid-by")
    place = "Observation/hid-by-o1"
    form = {"csrf": token(helper)}
    assert helper.signed(helper.led(helper.post(f"/my/record/{place}/hide", form))).status_code == 200
    assert "Hidden from other organisations since" in english(helper, f"/my/record/{place}")
    # Its end would open what refers to it, of types that this helper does not decide on.
    assert "Release it, and sign that" not in english(helper, f"/my/record/{place}/hide")
    assert code_of(helper.post(f"/my/record/{place}/release", form)) == "patient.limits"
    own = {"csrf": token(person)}
    assert person.signed(person.led(person.post(f"/my/record/{place}/release", own))).status_code == 200
    _, reader = acting(world, "seen-by", may="view", kind=[])
    observe(world, "seen-by")
    place, form = "Observation/seen-by-o1", {"csrf": token(reader)}
    page = english(reader, f"/my/record/{place}/hide")
    assert "but not decide on it" in page
    assert "Hide it, and sign that" not in page
    for step in ("hide", "release"):
        assert code_of(reader.post(f"/my/record/{place}/{step}", form)) == "patient.limits"


def test_guardians_who_disagree_hide_alone_and_none_of_them_releases_it(world):
    family = Family(world)
    place = f"Observation/{family.child}-o1"
    observe(world, family.child)
    family.disagree()
    for browser in (family.mother, family.father):
        act(world, browser, family.child)
    form = {"csrf": token(family.mother)}
    opened = family.mother.led(family.mother.post(f"/my/record/{place}/hide", form))
    assert family.mother.signed(opened).status_code == 200
    for browser in (family.mother, family.father):
        page = english(browser, f"/my/record/{place}")
        assert "Hidden from other organisations since" in page
        assert "none releases them alone" in page
        assert "Release it, and sign that" not in page
        answer = browser.post(f"/my/record/{place}/release", {"csrf": token(browser)})
        assert (answer.status_code, code_of(answer)) == (409, "hide.joint")


def test_attack_a_guardian_who_disagrees_brings_a_signed_end_past_the_pages_and_it_ends_nothing(world):
    family = Family(world)
    place = f"Observation/{family.child}-o1"
    observe(world, family.child)
    act(world, family.mother, family.child)
    form = {"csrf": token(family.mother)}
    assert (
        family.mother.signed(family.mother.led(family.mother.post(f"/my/record/{place}/hide", form))).status_code == 200
    )
    key = re.search(r"/my/access/([0-9a-f]{64})/proof", family.mother.text(f"/my/record/{place}"))[1]
    family.disagree()
    asked = {"consent": key, "signer": family.subject(family.father)}
    draft = world.local.call("withdrawal.draft", asked)
    with pytest.raises(VerificationError, match=r"consent\.guardians"):
        world.local.call("withdrawal.give", signed(family.father.phone, draft))
    assert "Hidden from other organisations since" in english(family.mother, f"/my/record/{place}")


def hide_kind(browser, kind: str, step: str = "hide"):
    """Hide a whole kind, or release it, and sign that; gives the last answer."""
    return browser.step(f"/my/record/kinds/{kind}/{step}")


def test_a_whole_kind_is_hidden_with_one_signature_later_records_too_and_released_again(world):
    records(world, "kind", condition("kind", 1), condition("kind", 2), of_visit("kind", 1))
    browser = world.patient("kind")
    consent = world.give(browser, world.ask("kind"))
    page = english(browser, "/my/record/kinds/diagnoses/hide")
    assert "Diagnoses (2 records)" in page
    assert "4 records today, 2 once it is hidden" in page
    assert "Records of other kinds that mention them are still given" in page
    done = hide_kind(browser, "diagnoses")
    assert json.loads(done.data)["next"] == f"{PORTAL}/my/record/kinds/diagnoses"
    assert given(world, consent) == {"kind-o1", "kind-of1"}
    page = english(browser, "/my/record/kinds/diagnoses")
    assert "Hidden from other organisations since" in page
    assert page.count(" hidden ") == 3
    page = english(browser, "/my/record/Condition/kind-c1")
    assert "It is not given, because you hide records of this kind: Diagnoses" in page
    assert "because you hide" not in english(browser, "/my/record/Observation/kind-of1")
    later = condition("kind", 3)
    content = json.dumps(later, ensure_ascii=False).encode()
    world.server.service.create(NewRecord("Condition", later["id"], content, "kind"))
    site = world.desks.federation.sites[RENHE]
    while site.records.pending(1, kind="anchor"):
        site.node.anchor.round()
        world.desks.federation.wait()
    assert given(world, consent) == {"kind-o1", "kind-of1"}
    assert "You have let no other organisation" not in english(browser, "/my/access")
    assert hide_kind(browser, "diagnoses", "release").status_code == 200
    assert "This kind is not hidden as a whole" in english(browser, "/my/record/kinds/diagnoses")
    assert given(world, consent) == {"kind-o1", "kind-c1", "kind-c2", "kind-c3", "kind-of1"}


def test_a_record_that_is_hidden_by_itself_stays_so_when_its_kind_is_released(world):
    records(world, "twofold", condition("twofold", 1), condition("twofold", 2))
    browser = world.patient("twofold")
    consent = world.give(browser, world.ask("twofold"))
    assert hide(browser, "Condition/twofold-c1").status_code == 200
    assert hide_kind(browser, "diagnoses").status_code == 200
    assert given(world, consent) == {"twofold-o1"}
    assert hide_kind(browser, "diagnoses", "release").status_code == 200
    assert given(world, consent) == {"twofold-o1", "twofold-c2"}


def test_a_kind_is_hidden_once_and_what_is_not_hidden_is_not_released(world):
    records(world, "kindonce")
    browser = world.patient("kindonce")
    assert code_of(hide_kind(browser, "tests", "release")) == "page.unknown"
    assert hide_kind(browser, "tests").status_code == 200
    again = hide_kind(browser, "tests")
    assert (again.status_code, code_of(again)) == (409, "hide.hidden")


@pytest.mark.parametrize("kind", ["person", "other", "no-such", "Observation"])
def test_what_is_no_kind_or_holds_the_patient_is_not_hidden_as_a_whole(world, kind):
    if "kinds-mine" not in world.subjects:
        records(world, "kinds-mine")
    browser = world.patient("kinds-mine")
    assert browser.get(f"/my/record/kinds/{kind}/hide").status_code == 404
    for step in ("hide", "release"):
        assert code_of(hide_kind(browser, kind, step)) == "page.unknown"
    assert "Hide all records of this kind" not in browser.text("/my/record/kinds/person?lang=en")


def test_a_helper_hides_no_kind_beyond_those_it_decides_on(world):
    _, helper = acting(world, "kind-by", may="decide", kind=["tests"])
    observe(world, "kind-by")
    form = {"csrf": token(helper)}
    answer = helper.post("/my/record/kinds/diagnoses/hide", form)
    assert code_of(answer) == "patient.limits"
    assert helper.signed(helper.led(helper.post("/my/record/kinds/tests/hide", form))).status_code == 200
    assert "Hidden from other organisations since" in english(helper, "/my/record/kinds/tests")
