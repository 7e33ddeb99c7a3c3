"""Signing in with a passkey, enrolling one, sessions, lock-outs, and the attacks on them."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from hashlib import sha256
from urllib.parse import urlencode

import pytest

from fhir_bridge.smart.clients import client_document
from medchain.crypto.assertion import encode_credential_key
from medchain.crypto.authenticator import SoftwareAuthenticator
from medchain.crypto.es384 import Es384Signer, public_jwk
from medchain.encoding import base64url, canonical, unbase64url
from medchain.errors import AccessDeniedError
from medchain.store.accounts import Passkey, Role
from medchain.store.secret import hashed
from medchain.web.sign_in import ENROL
from medchain.web.signed import Signed
from tests.unit.fhir_bridge.smart.conftest import NOW, ORIGIN, PUBLIC

HOST = "fhir.renhe.example"
KEY = SoftwareAuthenticator(b"s" * 32, HOST)


def ask(world, path: str, document: object, **headers: str):
    named = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"} | headers
    return world.browser.post(path, base_url=ORIGIN, json=document, headers=named)


def enrolled(world, role: Role = Role.CLINICIAN) -> None:
    account = world.accounts[role]
    world.store.put_passkey(Passkey(KEY.credential_id, account.id, encode_credential_key(KEY.credential), NOW, None))


def answered(world, origin: str = ORIGIN, key: SoftwareAuthenticator = KEY, **changes: str) -> dict[str, str]:
    begun = json.loads(ask(world, "/sign-in/passkey/begin", {}).data)
    signed = key.sign(unbase64url(begun["challenge"], max_bytes=4096), origin)
    return {
        "begun": begun["begun"],
        "request": "",
        "credential": base64url(signed.credential_id),
        "client_data": base64url(signed.client_data_json),
        "authenticator_data": base64url(signed.authenticator_data),
        "signature": base64url(signed.signature),
    } | changes


def test_a_passkey_signs_its_owner_in_with_a_cookie_for_this_host_alone(world):
    enrolled(world)
    answer = ask(world, "/sign-in/passkey/finish", answered(world))
    assert (answer.status_code, json.loads(answer.data)) == (200, {"next": "/account"})
    (cookie,) = [one for one in answer.headers.getlist("Set-Cookie") if one.startswith("__Host-medchain-renhe")]
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    assert "clinician Wang" in world.get("/account").text


def test_signing_in_goes_on_with_the_request_that_was_under_way(world):
    enrolled(world)
    signed = world.begin()
    answer = ask(world, "/sign-in/passkey/finish", answered(world, request=signed))
    assert json.loads(answer.data)["next"] == f"/auth/consent?request={signed}"


def test_an_answer_counts_once(world):
    enrolled(world)
    given = answered(world)
    assert ask(world, "/sign-in/passkey/finish", given).status_code == 200
    assert ask(world, "/sign-in/passkey/finish", given).status_code == 403


def test_an_answer_that_took_too_long_counts_for_nothing(world):
    enrolled(world)
    given = answered(world)
    world.time[0] = NOW + 180
    assert ask(world, "/sign-in/passkey/finish", given).status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "https://evil.example"},
        {"origin": "https://fhir.renhe.example:444"},
        {"key": SoftwareAuthenticator(b"o" * 32, HOST)},
        {"begun": "x"},
        {"signature": "AAAA"},
        {"credential": "!"},
        {"credential": base64url(b"unknown")},
    ],
)
def test_what_is_wrong_signs_nobody_in_and_all_refusals_look_alike(world, change):
    enrolled(world)
    answer = ask(world, "/sign-in/passkey/finish", answered(world, **change))
    assert (answer.status_code, json.loads(answer.data)) == (403, {"code": "session.refused"})
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Content-Type": "text/plain"}]
)
def test_another_site_can_sign_nobody_in(world, headers):
    enrolled(world)
    given = answered(world)
    named = {"Origin": ORIGIN, "Content-Type": "application/json"} | headers
    answer = world.browser.post("/sign-in/passkey/finish", base_url=ORIGIN, data=json.dumps(given), headers=named)
    assert answer.status_code == 403


def test_a_closed_account_cannot_sign_in_and_is_signed_out(world):
    enrolled(world)
    ask(world, "/sign-in/passkey/finish", answered(world))
    given = answered(world)
    world.store.close_account(world.accounts[Role.CLINICIAN].id, NOW)
    assert world.get("/account").headers["Location"] == "/sign-in"
    assert ask(world, "/sign-in/passkey/finish", given).status_code == 403


def test_a_session_that_somebody_planted_is_not_the_one_that_begins(world):
    enrolled(world)
    planted = world.sign_in(Role.DESK)
    answer = ask(world, "/sign-in/passkey/finish", answered(world))
    assert planted not in str(answer.headers)
    assert world.store.session(planted, NOW, 1800) is None


def test_a_session_ends_when_nothing_is_heard_and_after_a_working_day(world):
    secret = world.sign_in()
    for minutes in range(0, 8 * 60, 25):
        world.time[0] = NOW + minutes * 60
        assert world.get("/account").status_code == 200
    world.time[0] = NOW + 8 * 3600
    assert world.get("/account").status_code == 303
    assert world.store.session(secret, world.time[0], 1800) is None
    world.time[0] = NOW
    world.sign_in(Role.DESK)
    world.time[0] = NOW + 1800
    assert world.get("/account").status_code == 303


def test_signing_out_needs_a_form_of_this_site_and_ends_the_session(world):
    secret = world.sign_in()
    csrf = world.csrf(world.get("/account").text)
    assert world.post("/sign-out", {"csrf": "no"}).status_code == 403
    assert world.post("/sign-out", {"csrf": csrf}, origin="https://evil.example").status_code == 403
    assert world.get("/account").status_code == 200
    assert world.post("/sign-out", {"csrf": csrf}).status_code == 303
    assert world.store.session(secret, NOW, 1800) is None


def test_a_secret_is_kept_as_a_hash_only(world):
    secret = world.sign_in()
    content = world.server.folder.joinpath("records.db").read_bytes()
    assert secret.encode() not in content
    assert hashed(secret) != secret.encode()


def test_who_fails_again_and_again_waits_longer_each_time_and_for_good_behaviour_no_more(world):
    enrolled(world)
    given = answered(world)
    for _ in range(5):
        assert ask(world, "/sign-in/passkey/finish", given | {"signature": "AAAA"}).status_code == 403
    locked = ask(world, "/sign-in/passkey/finish", given)
    assert (locked.status_code, locked.headers["Retry-After"]) == (429, "30")
    world.time[0] = NOW + 31
    assert ask(world, "/sign-in/passkey/finish", answered(world) | {"signature": "AAAA"}).status_code == 403
    assert ask(world, "/sign-in/passkey/finish", answered(world)).headers["Retry-After"] == "60"
    world.time[0] = NOW + 31 + 3601
    assert ask(world, "/sign-in/passkey/finish", answered(world)).status_code == 200


def test_nobody_who_fails_keeps_the_others_of_a_hospital_out(world):
    enrolled(world)
    answers = [ask(world, "/sign-in/passkey/finish", answered(world, credential="AAAA")) for _ in range(9)]
    assert [one.status_code for one in answers] == [403] * 5 + [429] * 4
    assert ask(world, "/sign-in/passkey/finish", answered(world)).status_code == 200
    # Nor does this forgive who fails.
    assert ask(world, "/sign-in/passkey/finish", answered(world, credential="AAAA")).status_code == 429


def test_an_account_under_attack_from_many_places_is_locked_for_a_while(world):
    mine = f"account/{world.accounts[Role.CLINICIAN].id}"
    enrolled(world)
    for _ in range(6):
        world.store.put_attempt([mine], NOW, "passkey")
    assert ask(world, "/sign-in/passkey/finish", answered(world)).status_code == 403


def test_a_client_that_fails_again_and_again_waits(world):
    form = {"grant_type": "client_credentials", "scope": "system/*.r", "client_assertion_type": "x"}
    for _ in range(5):
        assert world.token(form).status_code == 401
    assert world.token(form).status_code == 429


def test_pages_of_others_lock_nobody_out(world):
    enrolled(world)
    for _ in range(8):
        refused = ask(
            world, "/sign-in/passkey/begin", {}, Origin="https://evil.example", **{"Sec-Fetch-Site": "cross-site"}
        )
        assert refused.status_code == 403
    assert ask(world, "/sign-in/passkey/finish", answered(world)).status_code == 200
    # Forms that anybody's browser can send, in the name of nobody or of one client.
    form = {"grant_type": "client_credentials", "scope": "system/*.r", "client_assertion_type": "x"}
    for name in (None, "growth"):
        for _ in range(8):
            assert world.token(form | {"client_id": name}).status_code in (401, 429)
    # From the page of an attacker, which says so, only such pages wait.
    keyed = replace(PUBLIC, id="apart", jwks=(public_jwk(Es384Signer(b"k" * 32).public),))
    world.store.put_client("apart", client_document(keyed), NOW)
    for origin in ("https://evil.example", "null"):
        for _ in range(8):
            sent = {name: value for name, value in (form | {"client_id": "apart"}).items() if value}
            world.app.test_client().post("/token", base_url=ORIGIN, data=sent, headers={"Origin": origin})
    asked = {"grant_type": "refresh_token", "refresh_token": "x", "client_id": "apart"}
    for origin, status in ((None, 401), ("https://app.example", 401), ("https://evil.example", 429)):
        headers = {} if origin is None else {"Origin": origin}
        answer = world.app.test_client().post("/token", base_url=ORIGIN, data=asked, headers=headers)
        assert answer.status_code == status
    world.store.put_client("other", client_document(replace(PUBLIC, id="other")), NOW)
    refused = world.turn_in("nonsense", client_id="other")
    assert (refused.status_code, json.loads(refused.data)["error"]) == (400, "invalid_grant")


def code_for(world, role: Role = Role.CLINICIAN) -> str:
    document = canonical({"account": world.accounts[role].id})
    return world.store.put_ticket(ENROL, document, NOW + 3600, NOW)


def made(begun: dict, key: SoftwareAuthenticator = KEY) -> dict[str, str]:
    data = {"type": "webauthn.create", "challenge": begun["challenge"], "origin": ORIGIN, "crossOrigin": False}
    head = sha256(HOST.encode()).digest() + bytes((0x45,)) + bytes(20)
    size = len(key.credential_id).to_bytes(2, "big")
    authenticator = head + size + key.credential_id + encode_credential_key(key.credential)
    client_data = base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()
    return {"begun": begun["begun"], "client_data": client_data, "authenticator_data": base64url(authenticator)}


def test_a_code_enrols_a_passkey_once(world):
    code = code_for(world)
    begun = json.loads(ask(world, "/enrol/begin", {"code": code}).data)
    assert begun["name"] == "clinician"
    answer = ask(world, "/enrol/finish", made(begun) | {"code": code})
    assert (answer.status_code, json.loads(answer.data)) == (200, {"next": "/account"})
    assert world.get("/account").status_code == 200
    assert ask(world, "/enrol/begin", {"code": code}).status_code == 403
    other = SoftwareAuthenticator(b"o" * 32, HOST)
    assert ask(world, "/enrol/finish", made(begun, other) | {"code": code}).status_code == 403
    assert ask(world, "/sign-in/passkey/finish", answered(world)).status_code == 200


def test_a_code_of_one_person_enrols_no_passkey_for_another(world):
    begun = json.loads(ask(world, "/enrol/begin", {"code": code_for(world)}).data)
    answer = ask(world, "/enrol/finish", made(begun) | {"code": code_for(world, Role.ADMINISTRATOR)})
    assert answer.status_code == 403
    assert world.store.passkeys_of(world.accounts[Role.ADMINISTRATOR].id) == []


@pytest.mark.parametrize("code", ["", "x", "../"])
def test_without_a_code_nothing_is_enrolled(world, code):
    assert ask(world, "/enrol/begin", {"code": code}).status_code == 403


def test_one_can_take_back_what_one_authorised_and_nothing_of_others(world):
    world.sign_in(Role.DESK)
    others = json.loads(world.turn_in(world.code()).data)["access_token"]
    world.sign_in()
    mine = json.loads(world.turn_in(world.code()).data)["access_token"]
    page = world.get("/account").text
    assert "生长曲线" in page
    (grant,) = [one.id for one in world.store.grants_of(world.accounts[Role.CLINICIAN].id, NOW)]
    (other,) = [one.id for one in world.store.grants_of(world.accounts[Role.DESK].id, NOW)]
    for one in (grant, other, "x"):
        assert world.post("/account/revoke", {"csrf": world.csrf(page), "grant": one}).status_code == 303
    assert world.parts.tokens.check(others)
    with pytest.raises(AccessDeniedError):
        world.parts.tokens.check(mine)


def form_of(world, **changes: str) -> dict[str, str]:
    page = world.get("/clients").text
    given = {"id": "new", "name": "New", "scopes": "patient/*.rs", "redirects": "https://new.example/cb", "csrf": ""}
    return given | {"csrf": world.csrf(page)} | changes


def test_an_administrator_registers_shuts_out_and_lets_in_again(world):
    world.sign_in(Role.ADMINISTRATOR)
    assert world.post("/clients", form_of(world)).status_code == 303
    assert world.parts.clients.find("new").redirects == ("https://new.example/cb",)
    csrf = form_of(world)["csrf"]
    world.post("/clients/disable", {"csrf": csrf, "client": "new"})
    assert world.parts.clients.find("new") is None
    assert "Enable" in world.get("/clients?lang=en").text
    world.post("/clients/enable", {"csrf": csrf, "client": "new"})
    assert world.parts.clients.find("new") is not None


def test_an_administrator_registers_a_client_that_must_bind_its_tokens(world):
    """RFC 9449 §5.2."""
    world.sign_in(Role.ADMINISTRATOR)
    assert world.post("/clients", form_of(world, dpop="yes")).status_code == 303
    assert world.parts.clients.find("new").is_bound
    assert "no key (PKCE); DPoP" in world.get("/clients?lang=en").text
    assert world.post("/clients", form_of(world, id="other")).status_code == 303
    assert not world.parts.clients.find("other").is_bound
    # What was not kept stands in the form as it was sent.
    refused = world.post("/clients", form_of(world, dpop="yes", redirects="x"))
    assert 'name="dpop" value="yes" checked' in refused.text


def test_attack_an_administrators_page_opens_what_a_restore_shut_by_shutting_it_first(world):
    world.sign_in(Role.ADMINISTRATOR)
    csrf, accounts = world.csrf(world.get("/clients").text), world.parts.accounts
    accounts.shut_all(world.parts.clock())
    accounts.confirm_account(world.accounts[Role.ADMINISTRATOR].id, keep_passkeys=True)
    for path in ("/clients/enable", "/clients/disable", "/clients/enable"):
        assert world.post(path, {"csrf": csrf, "client": "growth"}).status_code == 409
        assert accounts.client("growth").disabled is not None
    accounts.confirm_client("growth")
    assert world.post("/clients/disable", {"csrf": csrf, "client": "growth"}).status_code == 303
    assert world.post("/clients/enable", {"csrf": csrf, "client": "growth"}).status_code == 303
    assert accounts.client("growth").disabled is None


@pytest.mark.parametrize(
    "changes",
    [
        {"scopes": "system/*.rs"},
        {"scopes": "nonsense"},
        {"redirects": ""},
        {"redirects": "http://new.example/cb"},
        {"redirects": "javascript:alert(1)"},
        {"jwks_uri": "http://10.0.0.1/keys"},
        {"launch": "http://new.example"},
        {"id": "growth"},
        {"id": "a b"},
    ],
)
def test_a_registration_that_does_not_hold_is_not_kept(world, changes):
    world.sign_in(Role.ADMINISTRATOR)
    assert world.post("/clients", form_of(world, **changes)).status_code == 400
    assert world.parts.clients.find("new") is None


@pytest.mark.parametrize("role", [Role.CLINICIAN, Role.DESK, Role.AUDITOR])
def test_nobody_else_sees_or_changes_applications(world, role):
    world.sign_in(role)
    assert world.get("/clients").status_code == 403
    csrf = world.csrf(world.get("/account").text)
    for path in ("/clients", "/clients/disable", "/clients/enable"):
        assert world.post(path, {"csrf": csrf, "client": "growth", "id": "new"}).status_code == 403
    assert world.parts.clients.find("growth") is not None


def test_a_proxy_tells_where_requests_come_from_only_where_there_is_one(world):
    with world.app.test_request_context("/", headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.9"}):
        assert world.site.place() == "192.0.2.0" or world.site.place() == "127.0.0.1"
        from dataclasses import replace  # noqa: PLC0415  # one use

        assert replace(world.site, is_proxied=True).place() == "203.0.113.9"
    with world.app.test_request_context("/", headers={"X-Forwarded-For": "nonsense"}):
        assert replace(world.site, is_proxied=True).place() == "192.0.2.0"


def test_what_was_signed_opens_for_its_purpose_only_and_until_it_ends():
    signed = Signed(b"k" * 32)
    text = signed.sign("a", {"x": 1}, 100)
    assert signed.open("a", text, 99) == {"x": 1}
    for purpose, given, now in (("b", text, 99), ("a", text, 100), ("a", text[:-2], 99), ("a", "", 99), ("a", "é", 9)):
        with pytest.raises(AccessDeniedError, match=r"page\.ended"):
            signed.open(purpose, given, now)
    with pytest.raises(AccessDeniedError):
        Signed(b"o" * 32).open("a", text, 99)
    with pytest.raises(AccessDeniedError):
        signed.open("a", "x" * 30_000, 99)


def test_files_of_the_pages_may_be_kept_by_their_version(world):
    page = world.get("/sign-in").text
    (path,) = [one for one in page.split('"') if one.startswith("/static/pages.css")]
    assert "immutable" in world.get(path).headers["Cache-Control"]
    assert world.get("/static/pages.css").headers["Cache-Control"] == "no-cache"
    assert world.get("/static/other.css").status_code == 404
    assert world.get("/static/passkey.js").mimetype == "text/javascript"
    css = world.get("/static/pages.css").text
    assert "http" not in css.replace("http://www.w3.org", "")
    assert urlencode({}) == ""
