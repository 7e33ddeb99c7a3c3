"""A patient enrols a passkey with a desk's code and signs in with it, and the attacks on that."""

from __future__ import annotations

import json

import pytest

from consent.web.codes import CODE_S
from consent.web.sign_in import account_of
from medchain.crypto.assertion import encode_credential_key
from medchain.encoding import canonical
from medchain.errors import InputError, UnavailableError
from medchain.store.accounts import Account, Passkey, Role
from medchain.web.sign_in import ENROL
from tests.unit.consent.web.conftest import PORTAL
from tests.unit.medchain.node.desks import phone_of
from tests.unit.medchain.node.federation import RENHE


def test_a_patient_enrols_with_a_desks_code_and_is_signed_in(world):
    browser = world.browser("enrol-1")
    assert json.loads(browser.enrol(world.code("enrol-1")).data) == {"next": "/my"}
    (subject,) = world.site.links.subjects_of(world.site.token("enrol-1"))
    body = world.desks.federation.sites[RENHE].node.shelf.head(subject)[1]
    assert body.content["verified_by"]["method"] == "identity-card"
    assert len(body.content["passkeys"]) == 1
    assert browser.get("/my").status_code == 200


def test_a_code_counts_once(world):
    code = world.code("enrol-2")
    assert world.browser("enrol-2").enrol(code).status_code == 200
    again = world.browser("enrol-2 again").send("/my/enrol/begin", {"code": code})
    assert (again.status_code, json.loads(again.data)) == (403, {"code": "session.refused"})


def test_a_code_ends_after_a_day(world):
    code = world.code("enrol-3")
    world.desks.federation.time += CODE_S
    try:
        assert world.browser("enrol-3").send("/my/enrol/begin", {"code": code}).status_code == 403
    finally:
        world.desks.federation.time -= CODE_S


def test_a_code_is_still_good_when_nothing_came_of_it(world):
    browser, code = world.browser("enrol-4"), world.code("enrol-4")
    before = world.local.operations["subject.enrol"]

    def away(_document):
        raise UnavailableError("submit.no_endorser")

    world.local.operations["subject.enrol"] = away
    try:
        assert browser.enrol(code).status_code == 503
    finally:
        world.local.operations["subject.enrol"] = before
    world.desks.federation.time += 61
    assert browser.enrol(code).status_code == 200


def test_who_is_enrolled_gets_no_second_first_passkey(world):
    assert world.browser("enrol-5").enrol(world.code("enrol-5")).status_code == 200
    assert world.browser("enrol-5 thief").send("/my/enrol/begin", {"code": world.code("enrol-5")}).status_code == 403


def test_a_challenge_for_one_patient_is_none_for_another(world):
    browser, mine, other = world.browser("enrol-6"), world.code("enrol-6"), world.code("enrol-7")
    begun = json.loads(browser.send("/my/enrol/begin", {"code": mine}).data)
    assert browser.enrol(other, begun).status_code == 403
    assert world.site.links.subjects_of(world.site.token("enrol-7")) == []


def test_a_code_of_the_staff_enrols_no_patient(world):
    accounts = world.site.pages.site.accounts
    code = accounts.put_ticket(ENROL, canonical({"account": "0" * 32}), world.time + 60, world.time)
    assert world.browser("enrol-8").send("/my/enrol/begin", {"code": code}).status_code == 403


def test_a_patient_signs_in_with_a_cookie_for_this_host_alone(world):
    world.patient("signs")
    answer = world.browser("signs").sign_in()
    assert json.loads(answer.data) == {"next": "/my"}
    (cookie,) = [one for one in answer.headers.getlist("Set-Cookie") if one.startswith(f"__Host-medchain-{RENHE}=")]
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"} <= set(cookie.split("; "))


def test_a_log_in_counts_once(world):
    browser = world.patient("twice")
    begun = json.loads(browser.send("/my/sign-in/begin", {}).data)
    given = browser.answered(begun) | {"request": ""}
    assert browser.send("/my/sign-in/finish", given).status_code == 200
    assert browser.send("/my/sign-in/finish", given).status_code == 403


def test_a_passkey_that_the_ledger_does_not_list_signs_nobody_in(world):
    world.patient("stolen")
    accounts, thief = world.site.pages.site.accounts, phone_of("thief of the pages")
    account = account_of(accounts, "stolen", "", world.time)
    # Who can write into the node's own list of passkeys has not written into the ledger.
    public = encode_credential_key(thief.credential)
    accounts.put_passkey(Passkey(thief.credential_id, account.id, public, world.time, None))
    assert world.browser("stolen").sign_in(thief).status_code == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "http://sign.consent.example"])
def test_a_log_in_made_at_another_address_is_refused(world, origin):
    world.patient("phished")
    assert world.browser("phished").sign_in(origin=origin).status_code == 403


def test_a_request_that_another_site_sends_is_refused(world):
    browser = world.patient("forged")
    begun = json.loads(browser.send("/my/sign-in/begin", {}).data)
    answer = browser.send(
        "/my/sign-in/finish", browser.answered(begun) | {"request": ""}, Origin="https://evil.example"
    )
    assert answer.status_code == 403


def test_the_staffs_passkeys_open_no_patients_pages_and_a_patients_no_staffs(world):
    browser = world.patient("roles")
    begun = json.loads(browser.send("/sign-in/passkey/begin", {}).data)
    assert browser.send("/sign-in/passkey/finish", browser.answered(begun) | {"request": ""}).status_code == 403
    assert browser.get("/account").status_code == 403
    assert browser.get("/sign-in").status_code == 200
    accounts, doctor = world.site.pages.site.accounts, world.browser("doctor")
    account = Account("d" * 32, "doctor", "Dr Li", Role.CLINICIAN, "Practitioner/17", None, None, world.time)
    accounts.put_account(account)
    secret = accounts.begin_session(account.id, "passkey", world.time, world.time + 100, None)
    doctor.client.set_cookie(f"__Host-medchain-{RENHE}", secret, domain="sign.consent.example", secure=True)
    assert doctor.get("/my").headers["Location"] == "/my/sign-in"
    assert doctor.post("/my/asks/" + "0" * 32, {}).status_code == 403


def test_who_is_not_signed_in_is_sent_to_sign_in(world):
    answer = world.browser("nobody").get("/my/looked")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/my/sign-in")


def test_signing_out_ends_the_session(world):
    browser = world.patient("leaves")
    assert browser.post("/sign-out", {"csrf": browser.csrf()}).headers["Location"] == "/my/sign-in"
    assert browser.get("/my").status_code == 303


def test_who_fails_again_and_again_waits(world):
    browser = world.browser("fails")
    answers = [browser.send("/my/enrol/begin", {"code": "x"}).status_code for _ in range(30)]
    assert set(answers) <= {403, 429}
    assert answers[-1] == 429


def test_an_id_that_can_be_none_makes_no_account(world):
    with pytest.raises(InputError, match=r"account\.malformed"):
        account_of(world.site.pages.site.accounts, "", "", world.time)


PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
ANDROID = "Mozilla/5.0 (Linux; Android 13; V2218A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/111.0"


@pytest.mark.parametrize(
    ("agent", "names"),
    [
        (f"{PHONE} Mobile/15E148 MicroMessenger/8.0.42(0x18002a32) NetType/WIFI Language/zh_CN", ("微信", "WeChat")),
        (f"{PHONE} Mobile/15E148 Ariver/1.1.0 AliApp(AP/10.5.30) AlipayClient/10.5.30", ("支付宝", "Alipay")),
        (f"{ANDROID} Mobile Safari/537.36 V1_AND_SQ_8.9.50 QQ/8.9.50.10650", ("QQ", "QQ")),
        (f"{PHONE} Mobile/15E148 [FBAN/FBIOS;FBAV/443.0.0.26.69]", ("Facebook", "Facebook")),
        (f"{ANDROID} Mobile Safari/537.36", ("另一个应用", "another app")),
    ],
)
@pytest.mark.parametrize("page", ["sign-in", "enrol", "recover"])
def test_in_another_apps_browser_a_page_says_so_and_leads_out_of_it_without_a_script(world, page, agent, names):
    browser = world.browser("in app")
    for language, said in zip(("zh", "en"), (f"您正在{names[0]}里打开", f"inside {names[1]}. "), strict=True):
        text = browser.get(f"/my/{page}?lang={language}", **{"User-Agent": agent}).text
        assert said in text
        assert 'href="/my/without"' in text


@pytest.mark.parametrize(
    "agent",
    [
        f"{PHONE} Version/17.0 Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (Linux; U; Android 12; zh-cn) AppleWebKit/537.36 Chrome/98.0 MQQBrowser/13.5 Mobile Safari/537.36",
        "",
    ],
)
def test_in_a_browser_of_its_own_a_page_names_no_app(world, agent):
    text = world.browser("own").get("/my/sign-in?lang=en", **{"User-Agent": agent}).text
    assert "You have opened this page inside" not in text


@pytest.mark.parametrize(
    ("language", "words"),
    [("zh", ("在浏览器打开", "自助机", "服务窗口")), ("en", ("Open in browser", "kiosk", "Go to the desk"))],
)
def test_without_passkeys_there_is_the_phones_browser_a_kiosk_and_the_desk(world, language, words):
    text = world.browser("nobody").text(f"/my/without?lang={language}")
    assert all(word in text for word in words)
    assert f"{PORTAL}/my/sign-in" in text
    assert "<script" not in text
