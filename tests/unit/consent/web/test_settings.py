"""A patient's passkeys: listed, added, removed, lost and replaced; and the attacks on that."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

from consent.web.person import key_name
from medchain.crypto.assertion import encode_credential_key
from medchain.encoding import base64_text, unhex
from medchain.errors import UnavailableError
from medchain.node.policy_terms import TERMS
from medchain.node.records import NewRecord
from tests.unit.consent.web.conftest import PORTAL, code_of, created
from tests.unit.medchain.node.desks import phone_of
from tests.unit.medchain.node.federation import COMMISSION, DAY_S, RENHE, TONGJI

STAFF = ["doctor", "nurse"]
NEW = "/my/passkeys/new"
HOLDERS = (TONGJI, COMMISSION)


def said(browser, path: str, language: str = "en") -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", browser.text(f"{path}?lang={language}")))


def place(phone) -> str:
    return f"/my/passkeys/{key_name(phone.credential_id)}"


def add(browser, new, signer=None, origin: str = PORTAL):
    """Make a further passkey and sign for it."""
    csrf = browser.csrf()
    made = browser.send(f"{NEW}/make", {"csrf": csrf})
    assert made.status_code == 200, made.text
    begun = browser.send(f"{NEW}/begin", created(json.loads(made.data), new, origin) | {"csrf": csrf})
    return browser.signed(browser.led(begun), signer)


def on_ledger(world, name: str) -> list[str]:
    rows = world.local.call("subject.show", {"subject": world.subjects[name]})["passkeys"]
    return [row["credential_id"] for row in rows]


def patient_record(world, name: str) -> None:
    """Store who a patient is."""
    row = {"resourceType": "Patient", "id": name, "name": [{"text": f"王{name}"}]}
    content = json.dumps(row, ensure_ascii=False).encode()
    world.server.service.create(NewRecord("Patient", name, content, name))


def credential(phone) -> dict[str, str]:
    """Write a passkey as a desk sends it."""
    return {
        "credential_id": base64_text(phone.credential_id),
        "public_key": base64_text(encode_credential_key(phone.credential)),
    }


def announce(world, name: str, phone) -> str:
    """Have another organisation that holds the subject announce that its passkeys are replaced."""
    asked = {
        "credentials": [credential(phone)],
        "method": "identity-card",
        "staff": STAFF,
        "subject": world.subjects[name],
    }
    key = unhex(world.subjects[name], 32)
    sites = world.desks.federation.sites
    holder = next(one for one in HOLDERS if sites[one].node.shelf.head(key) is not None)
    recovery = world.desks.local(holder).call("recovery.announce", asked)["key"]
    world.desks.everywhere(recovery, 1)
    return recovery


def test_the_wait_of_a_recovery_is_that_of_the_policy_in_force_and_not_of_the_genesis(world, monkeypatch):
    browser = world.patient("waits")
    founded = world.site.genesis.members.policy.terms["recovery_days"]
    assert f"after at least {founded} days" in said(browser, "/my/settings")
    monkeypatch.setitem(world.local.operations, TERMS, lambda _: {"majority_years": 18, "recovery_days": 21})
    page = said(browser, "/my/settings")
    assert ("after at least 21 days" in page, f"{founded} days" in page) == (True, False)
    # Under a policy without that term there are no recoveries, and nothing is promised of their wait.
    monkeypatch.setitem(world.local.operations, TERMS, lambda _: {"majority_years": 18})
    assert "It takes effect after at least" not in said(browser, "/my/settings")


def test_settings_list_each_passkey_with_since_when_and_when_it_was_used(world):
    browser = world.patient("lists")
    page = said(browser, "/my/settings")
    assert "Passkey 1" in page
    today = datetime.fromtimestamp(world.time, UTC)
    assert f"Last used to sign in here: {today.day} {today:%b} {today.year}" in page
    assert "cannot be removed" in page
    assert "You were enrolled" in page
    assert "通行密钥 1" in said(browser, "/my/settings", "zh")
    assert base64_text(browser.phone.credential_id) not in browser.text("/my/settings")


def test_a_further_passkey_signs_in_and_the_list_of_changes_says_that_it_came(world):
    browser, tablet = world.patient("adds"), phone_of("adds-tablet")
    done = add(browser, tablet)
    assert done.status_code == 200, done.text
    assert on_ledger(world, "adds") == [base64_text(one.credential_id) for one in (browser.phone, tablet)]
    page = said(browser, "/my/settings")
    assert "Passkey 2" in page
    assert "Last used to sign in here: never" in page
    assert "A passkey was added" in page
    assert world.browser("adds").sign_in(tablet).status_code == 200


def test_a_removed_passkey_signs_in_no_more_and_its_sessions_end(world):
    browser, tablet, thief = world.patient("loses"), phone_of("loses-tablet"), world.browser("loses")
    assert add(browser, tablet).status_code == 200
    # The lost phone is signed in elsewhere; the person removes it with the tablet.
    assert thief.sign_in().status_code == 200
    keeps = world.browser("loses")
    assert keeps.sign_in(tablet).status_code == 200
    done = keeps.step(f"{place(browser.phone)}/remove", tablet)
    assert done.status_code == 200, done.text
    assert on_ledger(world, "loses") == [base64_text(tablet.credential_id)]
    assert thief.get("/my").headers["Location"] == "/my/sign-in"
    assert world.browser("loses").sign_in().status_code == 403
    assert "A passkey was removed" in said(keeps, "/my/settings")


def test_the_last_passkey_is_not_removed(world):
    browser = world.patient("keeps")
    refused = browser.step(f"{place(browser.phone)}/remove")
    assert (refused.status_code, code_of(refused)) == (409, "patient.last_passkey")
    assert len(on_ledger(world, "keeps")) == 1


def test_a_passkey_that_only_the_new_one_signed_for_does_not_come(world):
    browser, mine = world.patient("stolen"), phone_of("thief")
    refused = add(browser, mine, signer=mine)
    assert (refused.status_code, code_of(refused)) == (422, "signing.credential")
    assert len(on_ledger(world, "stolen")) == 1
    assert world.browser("stolen").sign_in(mine).status_code == 403


def test_a_passkey_made_at_another_address_or_in_another_session_does_not_come(world):
    browser, other = world.patient("phished"), world.patient("phisher")
    assert code_of(add(browser, phone_of("x"), origin="https://evil.example")) == "assertion.origin"
    csrf = browser.csrf()
    made = json.loads(other.send(f"{NEW}/make", {"csrf": other.csrf()}).data)
    refused = browser.send(f"{NEW}/begin", created(made, phone_of("x")) | {"csrf": csrf})
    assert code_of(refused) == "page.ended"


def test_a_passkey_of_another_patient_is_not_there_to_be_removed(world):
    other, browser = world.patient("victim"), world.patient("meddles")
    refused = browser.step(f"{place(other.phone)}/remove")
    assert (refused.status_code, code_of(refused)) == (404, "page.unknown")
    assert code_of(browser.step("/my/recoveries/" + "ab" * 32 + "/cancel")) == "page.unknown"


def test_a_passkey_that_another_account_has_is_not_added(world):
    other, browser = world.patient("owner"), world.patient("copies")
    assert code_of(add(browser, other.phone)) == "passkey.exists"
    assert len(on_ledger(world, "copies")) == 1


def test_a_recovery_under_way_is_on_every_page_with_who_and_when(world):
    browser = world.patient("warned")
    assert "Somebody asks" not in said(browser, "/my")
    recovery = announce(world, "warned", phone_of("stranger"))
    for path in ("/my", "/my/access", "/my/looked", "/my/record", "/my/settings", "/my/verify"):
        page = said(browser, path)
        assert "Somebody asks to replace your passkeys" in page
        assert "identity card" in page
        # Seven days, by the founding policy's terms.
        effect = datetime.fromtimestamp(world.time + 7 * DAY_S, UTC)
        assert f"can take effect from {effect.day} {effect:%b} {effect.year}" in page
        assert f'action="/my/recoveries/{recovery}/cancel"' in browser.text(path)
    assert "有人申请更换您的通行密钥" in said(browser, "/my", "zh")


def test_an_existing_passkey_cancels_a_recovery_and_a_strange_one_does_not(world):
    browser = world.patient("cancels")
    recovery = announce(world, "cancels", phone_of("claims-to-be"))
    refused = browser.step(f"/my/recoveries/{recovery}/cancel", phone_of("claims-to-be"))
    assert code_of(refused) == "signing.credential"
    done = browser.step(f"/my/recoveries/{recovery}/cancel")
    assert done.status_code == 200, done.text
    page = said(browser, "/my/settings")
    assert "Cancel it with my passkey" not in page
    world.desks.settle(recovery, 2)
    page = said(browser, "/my/settings")
    assert "That request was cancelled" in page
    assert "Somebody asked to replace your passkeys" in page


def test_pages_that_need_no_daemon_are_shown_without_it(world):
    browser = world.patient("offline")
    before = dict(world.local.operations)

    def away(_document):
        raise UnavailableError("daemon.not_running")

    world.local.operations["subject.show"] = away
    try:
        assert browser.get("/my/record").status_code == 200
        assert browser.get("/my/settings").status_code == 503
    finally:
        world.local.operations.update(before)


def test_a_replaced_passkey_is_in_the_list_of_changes(world):
    browser, new = world.patient("replaced"), phone_of("replaced-new")
    patient_record(world, "replaced")
    recovery = announce(world, "replaced", new)
    world.desks.federation.time += 7 * DAY_S
    done = world.desks.local(RENHE).call("recovery.carry-out", {"recovery": recovery})
    world.desks.everywhere(world.subjects["replaced"], done["version"])
    # The old one counts no more, wherever it is still listed; who had signed in with it is signed out.
    assert world.browser("replaced").sign_in().status_code == 403
    thief = world.browser("replaced")
    account = world.site.pages.site.accounts.passkey(browser.phone.credential_id).account
    secret = world.site.pages.site.accounts.begin_session(account, "passkey", world.time, world.time + 3600, None)
    thief.client.set_cookie(world.site.pages.site.cookie, secret, domain=PORTAL.removeprefix("https://"), secure=True)
    assert thief.get("/my/verify").status_code == 200
    assert "Sign out" in thief.text("/my/settings?lang=en")
    assert browser.sign_in(new).status_code == 200
    assert thief.get("/my/settings").headers["Location"] == "/my/sign-in"
    page = said(browser, "/my/settings")
    assert "A recovery was carried out: passkeys or guardians were replaced" in page
    assert "Passkey 1" in page
    assert "Passkey 2" not in page
