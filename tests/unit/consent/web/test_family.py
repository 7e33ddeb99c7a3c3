"""Helpers and guardians: named by a code, acting within limits, ended at once; and the attacks on that."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from consent.web.acting import cookie_name
from consent.web.sign_in import account_of
from medchain.crypto.assertion import encode_credential_key
from medchain.encoding import base64url, unhex
from medchain.errors import UnavailableError
from medchain.node.records import NewRecord
from medchain.store.accounts import Passkey
from tests.unit.consent.web.conftest import code_of
from tests.unit.consent.web.test_settings import announce, credential, patient_record, place, said
from tests.unit.medchain.node.desks import phone_of, signed
from tests.unit.medchain.node.federation import DAY_S, NOW, RENHE

STAFF = ["doctor", "nurse"]
ASKED = {"days": "30", "kind": ["diagnoses", "tests"], "sensitive": []}


def someone(world, name: str):
    """Give the browser of a patient whom this hospital knows by name."""
    if name not in world.subjects:
        patient_record(world, name)
    return world.patient(name)


def code(browser) -> str:
    """Have a helper's page show a code."""
    page = browser.post("/my/family/code", {"csrf": browser.csrf()}).text
    return re.search(r'mc-mono">([A-Z2-9]{5}-[A-Z2-9]{5})<', page)[1]


def confirmed(browser, shown: str, **limits: object):
    """Type a code and choose limits; gives the page that is to be signed."""
    form = {"csrf": browser.csrf(), "code": shown, "may": "decide", "kind": ["tests"], "days": "365"} | limits
    return browser.post("/my/family/new?lang=en", form)


def name_helper(browser, helper, **limits: object):
    """Name a helper, and sign it."""
    page = confirmed(browser, code(helper), **limits)
    assert page.status_code == 200, page.text
    choice = re.search(r'name="choice" value="([^"]+)"', page.text)[1]
    return browser.step("/my/helpers/new/sign", choice=choice)


def pair(world, name: str, **limits: object):
    """Give a person and a helper who was named, both in their browsers."""
    person, helper = someone(world, name), someone(world, f"{name}-helper")
    done = name_helper(person, helper, **limits)
    assert done.status_code == 200, done.text
    return person, helper


def delegation_of(world, name: str) -> str:
    """Return the map key of the delegation under which somebody's helper acts."""
    (row,) = world.local.call("subject.show", {"subject": world.subjects[name]})["delegates"]
    return row["delegate"]["delegation"]


def act(world, helper, name: str):
    """Have a helper choose for whom to act."""
    return helper.post("/my/acting", {"csrf": helper.csrf("/my/verify"), "for": world.subjects[name]})


def acting(world, name: str, **limits: object):
    """Give a person, and the helper who acts for that person."""
    person, helper = pair(world, name, **limits)
    answer = act(world, helper, name)
    assert answer.headers["Location"] == "/my", answer.text
    return person, helper


def observe(world, name: str) -> None:
    """Store something that was measured."""
    row = {
        "resourceType": "Observation",
        "id": f"{name}-o1",
        "status": "final",
        "code": {"text": "血糖"},
        "subject": {"reference": f"Patient/{name}"},
    }
    content = json.dumps(row, ensure_ascii=False).encode()
    world.server.service.create(NewRecord("Observation", row["id"], content, name))


def token(helper, path: str = "/my/verify") -> str:
    return helper.csrf(path)


def give(helper, ask: str, **changes: object):
    """Have a helper sign a permission, as the script of the page does; gives the last answer."""
    return helper.signed(helper.agree(ask, token(helper), **changes))


def sign_link(helper, ask: str):
    """Have a permission drafted; gives the portal's answer, which leads to where it is signed."""
    form = {"csrf": token(helper), "days": "30", "kind": ["tests"], "step": "sign"}
    return helper.post(f"/my/asks/{ask}", form)


def stop(helper, consent: str):
    return helper.signed(helper.led(helper.post(f"/my/access/{consent}/withdraw", {"csrf": token(helper)})))


def test_a_helper_is_named_by_the_code_that_it_shows_with_limits_and_an_end(world):
    person, helper = someone(world, "names"), someone(world, "names-helper")
    page = confirmed(person, code(helper), kind=["tests", "medicines"])
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text))
    assert "Let 王names-helper act for you?" in text
    assert "Medicines, Tests and measurements" in text or "Tests and measurements, Medicines" in text
    choice = re.search(r'name="choice" value="([^"]+)"', page.text)[1]
    assert person.step("/my/helpers/new/sign", choice=choice).status_code == 200
    (row,) = world.local.call("subject.show", {"subject": world.subjects["names"]})["delegates"]
    limits = row["delegate"]
    assert limits["role"] == "helper"
    assert limits["may"] == ["consent", "read", "stop"]
    assert limits["until"] == world.time // DAY_S + 365
    assert "Observation" in limits["resource_types"]
    assert "Condition" not in limits["resource_types"]
    mine = said(person, "/my/family")
    assert "王names-helper" in mine
    assert "Nothing is recorded." in mine
    assert "王names" in said(helper, "/my/family")
    assert "替王names办理" in said(helper, "/my/family", "zh")


def test_an_end_date_and_limits_are_required(world):
    person, helper = someone(world, "vague"), someone(world, "vague-helper")
    shown = code(helper)
    for wrong in ({"days": ""}, {"days": "36500"}, {"may": ""}, {"kind": []}, {"kind": ["no-such"]}):
        answer = confirmed(person, shown, **wrong)
        assert answer.status_code == 400
        assert "Choose what the person may do" in answer.text
    assert confirmed(person, shown, may="view", kind=[]).status_code == 200


def test_who_guesses_codes_is_locked_and_ones_own_code_names_nobody(world):
    person = someone(world, "guesses")
    own = code(person)
    assert "cannot name yourself" in confirmed(person, own).text
    for _ in range(6):
        assert confirmed(person, "AAAAA-AAAAA").status_code in (403, 404)
    assert confirmed(person, own).status_code == 403


def test_what_was_chosen_by_another_account_is_not_signed_here(world):
    person, other, helper = (someone(world, name) for name in ("chooses", "other-chooser", "chosen"))
    choice = re.search(r'name="choice" value="([^"]+)"', confirmed(person, code(helper)).text)[1]
    assert code_of(other.step("/my/helpers/new/sign", choice=choice)) == "page.ended"


def test_every_page_says_for_whom_a_helper_acts_and_settings_are_the_persons_own(world):
    _, helper = acting(world, "banner")
    for path in ("/my", "/my/access", "/my/looked", "/my/record", "/my/verify"):
        page = said(helper, path)
        assert "You are acting for 王banner (helper)" in page
        assert "recorded under your own name (王banner-helper)" in page
    assert "您正在替王banner办理" in said(helper, "/my", "zh")
    assert helper.get("/my/settings").status_code == 403
    assert helper.get("/my/family").status_code == 403
    answer = helper.post("/my/acting", {"csrf": token(helper), "for": ""})
    assert answer.headers["Location"] == "/my/family"
    assert "You are acting" not in said(helper, "/my")


def test_what_a_helper_signs_and_sees_is_under_the_helpers_name(world):
    person, helper = acting(world, "helped")
    observe(world, "helped")
    assert "血糖" in said(helper, "/my/record")
    ask = world.ask("helped")
    page = said(helper, f"/my/asks/{ask}")
    assert "beyond what you may decide on" in page
    done = give(helper, ask, kind=["tests"])
    assert done.status_code == 200, done.text
    consent = re.search(r"/my/access/([0-9a-f]{64})", json.loads(done.data)["next"])[1]
    assert "The passkey of 王helped-helper, acting for you" in said(person, f"/my/access/{consent}")
    family = said(person, "/my/family")
    assert re.search(r"let anxin-insurance see records \(.*\)|let .* see records", family)
    assert re.search(r"looked at your records \d+ times", family)
    looked = said(person, "/my/looked")
    assert "王helped-helper · acting for you" in looked
    receipt = json.loads(person.get(f"/my/access/{consent}/receipt").data)
    assert receipt["pii_principal_id"] == world.subjects["helped"]
    assert receipt["events"][0]["entity_id"] == world.subjects["helped-helper"]
    # The person ends with the own passkey what the helper has signed.
    assert stop(person, consent).status_code == 200
    assert "withdrawn by you" in said(person, f"/my/access/{consent}")


def test_a_helper_stops_a_permission_and_the_person_sees_who_it_was(world):
    person, helper = acting(world, "stopped")
    consent = world.give(someone(world, "stopped"), world.ask("stopped"))
    refused = helper.post(f"/my/access/{consent}/stop", {"csrf": token(helper)})
    assert refused.status_code == 403
    assert stop(helper, consent).status_code == 200
    assert "withdrawn by 王stopped-helper, acting for you" in said(person, f"/my/access/{consent}")
    assert "stopped the permission of" in said(person, "/my/family")


def test_a_helper_says_no_and_the_person_sees_who_it_was(world):
    person, helper = acting(world, "declined")
    ask = world.ask("declined")
    answer = helper.post(f"/my/asks/{ask}", {"csrf": token(helper), "step": "decline"})
    assert answer.headers["Location"] == "/my"
    assert "declined a request of" in said(person, "/my/family")
    (row,) = world.local.call("ask.list", {"patient": "declined"})["asks"]
    assert (row["answer"], row["answered_by"]) == ("declined", world.subjects["declined-helper"])


def test_a_helper_who_may_view_only_decides_and_stops_nothing(world):
    _, helper = acting(world, "viewed", may="view", kind=[])
    ask = world.ask("viewed")
    page = said(helper, f"/my/asks/{ask}")
    assert "You may see this, but not decide on it." in page
    assert 'value="sign"' not in helper.text(f"/my/asks/{ask}")
    assert code_of(give(helper, ask)) == "patient.limits"
    for step in ("decline", "preview"):
        form = {"csrf": token(helper), "step": step, **ASKED}
        assert helper.post(f"/my/asks/{ask}", form).status_code == 403
    consent = world.give(someone(world, "viewed"), ask)
    assert code_of(stop(helper, consent)) == "patient.limits"
    assert helper.post(f"/my/access/{consent}/open", {"csrf": token(helper)}).status_code == 403
    assert 'id="stop"' not in helper.text(f"/my/access/{consent}")


def test_a_helper_permits_nothing_beyond_its_kinds(world):
    _, helper = acting(world, "limited", kind=["tests"])
    ask = world.ask("limited")
    assert code_of(give(helper, ask)) == "patient.limits"
    assert code_of(give(helper, ask, kind=["diagnoses"])) == "patient.limits"
    assert world.local.call("patient.consents", {"subjects": [world.subjects["limited"]]})["consents"] == []


@pytest.mark.parametrize("way", ["signed", "plain"])
def test_a_helper_who_was_ended_does_nothing_more_from_that_moment(world, way):
    name = f"ended-{way}"
    person, helper = acting(world, name)
    ask = world.ask(name)
    delegate = world.subjects[f"{name}-helper"]
    opened, waits = helper.agree(ask, token(helper), kind=["tests"]), sign_link(helper, ask)
    assert opened.status_code == 200
    key = delegation_of(world, name)
    if way == "signed":
        assert person.step(f"/my/helpers/{delegate}/sign").status_code == 200
    else:
        answer = person.post(f"/my/helpers/{delegate}/end", {"csrf": person.csrf()})
        assert answer.headers["Location"] == "/my/family"
    # It binds here before the ledger has it.
    family = said(person, "/my/family")
    assert "The other organisations do as soon as the shared ledger has it." in family
    assert "End it with your passkey" not in family
    # What was begun before is not finished, and nothing is shown; the browser acts for nobody then.
    assert code_of(helper.signed(opened)) == "patient.ended"
    assert code_of(helper.led(waits)) == "patient.ended"
    refused = helper.get("/my/record?lang=en")
    assert refused.status_code == 403
    assert "You may act for this person no more" in refused.text
    assert "You are acting" not in said(helper, "/my")
    assert act(world, helper, name).status_code == 404
    assert "You act for nobody." in said(helper, "/my/family")
    world.desks.settle(key, 2)
    assert "as soon as the shared ledger has it" not in said(person, "/my/family")
    assert "Somebody no longer acts for you" in said(person, "/my/settings")
    ending = world.desks.federation.sites[RENHE].node.stops.ending(unhex(key, 32))
    assert ending.how.value == {"plain": "organisation", "signed": "patient"}[way]


def test_who_was_ended_is_named_anew_and_what_was_done_before_stays_listed(world):
    person, helper = acting(world, "anew")
    delegate, key = world.subjects["anew-helper"], delegation_of(world, "anew")
    assert give(helper, world.ask("anew"), kind=["tests"]).status_code == 200
    assert person.step(f"/my/helpers/{delegate}/sign").status_code == 200
    world.desks.settle(key, 2)
    assert "let anxin-insurance see records" in said(person, "/my/family")
    assert code_of(person.step(f"/my/helpers/{delegate}/sign")) == "stop.not_stoppable"
    assert helper.get("/my/record").status_code == 403
    assert name_helper(person, helper).status_code == 200
    assert delegation_of(world, "anew") != key
    assert act(world, helper, "anew").headers["Location"] == "/my"


def test_an_end_that_the_signing_page_cannot_bring_is_signed_again(world):
    person, helper = acting(world, "offline")
    delegate = world.subjects["offline-helper"]
    before = dict(world.local.operations)

    def away(_document):
        raise UnavailableError("local.unreachable")

    world.local.operations["delegation.end"] = away
    try:
        assert person.step(f"/my/helpers/{delegate}/sign").status_code == 503
    finally:
        world.local.operations.update(before)
    assert helper.get("/my/record").status_code == 200
    assert person.step(f"/my/helpers/{delegate}/sign").status_code == 200
    assert helper.get("/my/record").status_code == 403


def test_who_cannot_decide_takes_no_proxy_away_by_the_hospitals_hand_either(world):
    person, _ = pair(world, "declared")
    delegate = world.subjects["declared-helper"]
    show = world.local.operations["subject.show"]
    declared = {"method": "court-order", "state": "incapable", "time": NOW}
    world.local.operations["subject.show"] = lambda document: {**show(document), "standing": declared}
    try:
        answer = person.post(f"/my/helpers/{delegate}/end", {"csrf": person.csrf("/my/verify")})
        assert answer.status_code == 403
        assert "End it now" not in said(person, "/my/family")
    finally:
        world.local.operations["subject.show"] = show
    assert not world.desks.federation.sites[RENHE].node.stops.is_stopped(unhex(delegation_of(world, "declared"), 32))


def test_a_helper_acts_for_nobody_else_and_reads_nothing_of_theirs(world):
    _, helper = acting(world, "mine")
    other = someone(world, "somebody-else")
    consent, ask = world.give(other, world.ask("somebody-else")), world.ask("somebody-else")
    observe(world, "somebody-else")
    assert act(world, helper, "somebody-else").status_code == 404
    for path in (f"/my/access/{consent}", f"/my/asks/{ask}", "/my/record/Observation/somebody-else-o1"):
        assert helper.get(path).status_code == 404
    assert code_of(give(helper, ask, kind=["tests"])) == "ask.unknown"
    assert code_of(stop(helper, consent)) == "page.unknown"
    # Nor does anybody end, or sign for, the helpers of others.
    delegate = world.subjects["mine-helper"]
    assert code_of(other.step(f"/my/helpers/{delegate}/sign")) == "page.unknown"
    assert other.post(f"/my/helpers/{delegate}/end", {"csrf": other.csrf()}).status_code == 404


def test_a_helper_changes_neither_passkeys_nor_helpers_nor_notices(world):
    person, helper = acting(world, "guarded")
    csrf = token(helper)
    for path in ("/my/passkeys/new/make", "/my/passkeys/new/begin"):
        assert code_of(helper.send(path, {"csrf": csrf})) == "patient.own"
    for path in (f"{place(person.phone)}/remove", "/my/helpers/new/sign"):
        assert code_of(helper.post(path, {"csrf": csrf})) == "patient.own"
    for path in ("/my/family/code", "/my/family/new", "/my/notices/" + "ab" * 16):
        assert helper.post(path, {"csrf": csrf}).status_code == 403
    assert helper.post(f"/my/helpers/{world.subjects['guarded-helper']}/end", {"csrf": csrf}).status_code == 403
    assert helper.post("/my/emergencies/" + "ab" * 16, {"csrf": csrf, "reason": "no"}).status_code == 403


def test_a_choice_of_another_session_or_a_forged_one_counts_for_nothing(world):
    _, helper = acting(world, "cookie")
    name = cookie_name(world.site.pages.site)
    stolen = helper.client.get_cookie(name, domain="renhe.consent.example").value
    other = someone(world, "thieving")
    for value in (stolen, stolen[:-2] + "AA", "x"):
        other.client.set_cookie(name, value, domain="renhe.consent.example", secure=True)
        assert "You are acting" not in said(other, "/my")
        assert "王thieving" in said(other, "/my")


def test_a_draft_that_was_begun_for_oneself_stays_ones_own_whomever_one_acts_for_since(world):
    _, helper = pair(world, "crossed")
    opened = helper.agree(world.ask("crossed-helper"), token(helper))
    assert act(world, helper, "crossed").headers["Location"] == "/my"
    assert helper.signed(opened).status_code == 200
    for name, count in (("crossed", 0), ("crossed-helper", 1)):
        found = world.local.call("patient.consents", {"subjects": [world.subjects[name]]})["consents"]
        assert len(found) == count, name


def test_a_helper_gives_up_its_own_place(world):
    person, helper = pair(world, "leaves")
    key = delegation_of(world, "leaves")
    done = helper.step(f"/my/represented/{world.subjects['leaves']}/sign")
    assert done.status_code == 200, done.text
    assert "ended" in said(person, "/my/family")
    assert "You act for nobody." in said(helper, "/my/family")
    world.desks.settle(key, 2)
    assert "Somebody no longer acts for you" in said(person, "/my/settings")
    assert code_of(helper.step(f"/my/represented/{world.subjects['leaves']}/sign")) == "page.unknown"


def cancel(helper, recovery: str):
    return helper.signed(helper.led(helper.post(f"/my/recoveries/{recovery}/cancel", {"csrf": token(helper)})))


def test_a_helper_who_may_stop_cancels_a_recovery_of_the_person(world):
    person, helper = acting(world, "robbed")
    recovery = announce(world, "robbed", phone_of("robber"))
    assert "replace the passkeys or guardians of 王robbed" in said(helper, "/my")
    assert cancel(helper, recovery).status_code == 200
    assert "Cancel it with my passkey" not in said(person, "/my")


def test_a_helper_who_may_view_only_cancels_the_own_recovery_and_not_the_persons(world):
    _, helper = acting(world, "watched", may="view", kind=[])
    theirs = announce(world, "watched", phone_of("robber-2"))
    assert helper.text("/my?lang=en").count("Cancel it with my passkey") == 0
    assert code_of(cancel(helper, theirs)) == "patient.limits"
    mine = announce(world, "watched-helper", phone_of("robber-3"))
    assert "Somebody asks to replace your passkeys" in said(helper, "/my")
    assert cancel(helper, mine).status_code == 200


def test_a_proxy_of_who_has_died_stops_and_sees_nothing_and_a_dead_helper_acts_for_nobody(world):
    person, proxy = someone(world, "mourned"), someone(world, "mourned-proxy")
    row = {"may": ["consent", "read", "stop"], "resource_types": ["*"], "role": "proxy"}
    row |= {"subject": world.subjects["mourned-proxy"], "until": NOW // DAY_S + 365}
    asked = {"delegate": row, "operation": "name-delegate", "subject": world.subjects["mourned"]}
    answer = signed(person.phone, world.local.call("subject.draft", asked))
    world.local.call("subject.change", {"assertions": [answer["assertion"]], "draft": answer["draft"]})
    consent, ask = world.give(person, world.ask("mourned")), world.ask("mourned")
    assert act(world, proxy, "mourned").headers["Location"] == "/my"
    assert proxy.get("/my/record").status_code == 200
    died = {"method": "certificate", "staff": STAFF}
    world.local.call("subject.declare-death", died | {"subject": world.subjects["mourned"]})
    assert proxy.get("/my/record").status_code == 403
    csrf = proxy_token(world, proxy)
    assert code_of(proxy.agree(ask, csrf)) == "patient.limits"
    assert proxy.get("/my/concerns").status_code == 403
    said_wrong = {"csrf": csrf, "text": "x"}
    assert code_of(proxy.post("/my/record/Patient/mourned/correction", said_wrong)) == "patient.limits"
    assert proxy.signed(proxy.led(proxy.post(f"/my/access/{consent}/withdraw", {"csrf": csrf}))).status_code == 200
    world.local.call("subject.declare-death", died | {"subject": world.subjects["mourned-proxy"]})
    assert proxy.get("/my/record?lang=en").status_code == 403
    assert "You act for nobody." in said(proxy, "/my/family")


def proxy_token(world, browser) -> str:
    """Give the token of a session whose pages are all refused."""
    secret = browser.client.get_cookie(world.site.pages.site.cookie, domain="renhe.consent.example").value
    return base64url(hashlib.sha256(b"medchain/csrf/v1\n" + secret.encode()).digest())


def deny(world, name: str, *actors: str) -> None:
    """Store a consent of somebody that denies all, to whom it names or without naming anybody."""
    row = {
        "resourceType": "Consent",
        "id": f"{name}-k{len(actors)}",
        "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "patient": {"reference": f"Patient/{name}"},
        "provision": {"type": "deny"},
    }
    if actors:
        row["provision"]["actor"] = [{"reference": {"reference": f"Patient/{one}"}} for one in actors]
    content = json.dumps(row).encode()
    world.server.service.create(NewRecord("Consent", row["id"], content, name))


def test_a_consent_that_names_nobody_keeps_the_record_from_neither_the_person_nor_the_helper(world):
    """`consent.md` C2; one that names the helper does, on its pages alone."""
    person, helper = acting(world, "optout")
    observe(world, "optout")
    for named, shown in ((), (True, True)), (("optout-helper",), (True, False)):
        deny(world, "optout", *named)
        assert tuple("血糖" in browser.text("/my/record/outside") for browser in (person, helper)) == shown
        answers = [browser.get("/my/record/Observation/optout-o1").status_code for browser in (person, helper)]
        assert answers == [200 if one else 404 for one in shown]


def test_a_guardian_acts_for_a_child_and_is_not_ended_by_it(world):
    mother = someone(world, "mother")
    patient_record(world, "child")
    guardian = {"may": ["consent", "read", "stop"], "resource_types": ["*"], "role": "guardian"}
    guardian |= {"subject": world.subjects["mother"], "until": NOW // DAY_S + 3650}
    phone = phone_of("child")
    asked = {"credentials": [credential(phone)], "custodians": [], "method": "identity-card", "patient": "child"}
    asked |= {"guardians": [guardian], "of_age": NOW // DAY_S + 400, "staff": STAFF}
    world.subjects["child"] = world.desks.local(RENHE).call("subject.enrol", asked)["key"]
    for site in world.desks.federation.sites.values():
        site.node.submitter.wait_final(unhex(world.subjects["child"], 32), 1, 60)
    assert "王child" in said(mother, "/my/family")
    assert act(world, mother, "child").headers["Location"] == "/my"
    assert "You are acting for 王child (guardian)" in said(mother, "/my")
    ask = world.ask("child")
    assert give(mother, ask).status_code == 200
    child, accounts = world.browser("child"), world.site.pages.site.accounts
    account = account_of(accounts, "child", "王child", world.time)
    key = encode_credential_key(phone.credential)
    accounts.put_passkey(Passkey(phone.credential_id, account.id, key, world.time, None))
    assert child.sign_in().status_code == 200
    refused = child.post(f"/my/helpers/{world.subjects['mother']}/end", {"csrf": child.csrf()})
    assert refused.status_code == 403
    assert mother.get("/my/record").status_code == 200
