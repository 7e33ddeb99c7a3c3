"""The authorisation code flow: what an application gets, and the attacks on it."""

from __future__ import annotations

import base64
import json
import re

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from fhir_bridge.smart.launch import Launch, put_launch
from fhir_bridge.smart.scopes import MAX_SCOPES
from medchain.store.accounts import Role
from tests.unit.fhir_bridge.consent_oracle import deny
from tests.unit.fhir_bridge.smart.conftest import BACK, NOW, ORIGIN, VERIFIER, back

OTHER = "https://evil.example/cb"


def test_a_standalone_launch_gives_a_token_with_the_patient_and_who_signed_in(world):
    world.sign_in()
    answer = world.decide(world.begin(nonce="n-1"), patient="p1")
    told = back(answer)
    assert (answer.status_code, told["state"], told["iss"]) == (303, "s" * 22, ORIGIN)
    given = world.turn_in(told["code"])
    assert (given.status_code, given.headers["Cache-Control"]) == (200, "no-store")
    document = json.loads(given.data)
    assert document["patient"] == "p1"
    assert document["need_patient_banner"] is True
    assert document["smart_style_url"] == f"{ORIGIN}/auth/style-1.json"
    assert document["scope"] == "openid fhirUser launch/patient offline_access patient/*.rs"
    access = world.parts.tokens.check(document["access_token"])
    assert (access.patient, access.user, access.role, access.client) == ("p1", "Practitioner/17", "clinician", "growth")
    keys = KeySet.import_key_set(json.loads(world.get("/auth/jwks.json").data))
    claims = jwt.decode(document["id_token"], keys, algorithms=["RS256"]).claims
    assert claims["fhirUser"] == f"{ORIGIN}/fhir/Practitioner/17"
    assert (claims["iss"], claims["aud"], claims["nonce"], claims["exp"]) == (ORIGIN, "growth", "n-1", NOW + 300)
    assert claims["sub"] == world.accounts[Role.CLINICIAN].id


def test_a_launch_from_the_record_system_brings_its_context_and_counts_once(world):
    world.sign_in()
    launch, address = put_launch(world.parts, Launch("growth", "p1", "e1", "", "reconcile"))
    assert address.startswith("https://app.example/launch?iss=https%3A%2F%2Ffhir.renhe.example%2Ffhir&launch=")
    signed = world.begin(scope="launch patient/*.rs", launch=launch)
    page = world.get(f"/auth/consent?request={signed}").text
    assert "王芳" in page
    assert 'name="search"' not in page
    document = json.loads(world.turn_in(back(world.decide(signed))["code"]).data)
    assert (document["patient"], document["encounter"], document["intent"]) == ("p1", "e1", "reconcile")
    assert document["need_patient_banner"] is False
    assert "refresh_token" not in document
    again = world.get("/auth/authorize")
    assert again.status_code == 400
    assert world.decide(signed).status_code == 400


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"state": None}, "invalid_request"),
        ({"aud": None}, "invalid_request"),
        ({"aud": "https://evil.example/fhir"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"request": "x"}, "request_not_supported"),
        ({"request_uri": "https://x.example"}, "request_uri_not_supported"),
        ({"prompt": "none"}, "interaction_required"),
        ({"prompt": "login none"}, "interaction_required"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"scope": "nonsense"}, "invalid_scope"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "launch patient/*.rs"}, "invalid_request"),
        ({"launch": "x"}, "invalid_request"),
        ({"scope": "launch patient/*.rs", "launch": "never-was"}, "invalid_request"),
    ],
)
def test_a_wrong_request_is_told_to_the_application_with_the_issuers_name(world, changes, error):
    world.sign_in()
    from urllib.parse import urlencode  # noqa: PLC0415  # one use

    told = back(world.get("/auth/authorize?" + urlencode(world.request(**changes))))
    assert (told["error"], told["iss"]) == (error, ORIGIN)
    assert told.get("state") == world.request(**changes).get("state")


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": OTHER},
        {"redirect_uri": BACK + "/more"},
        {"redirect_uri": BACK + "?x=1"},
        {"redirect_uri": BACK + "#x"},
        {"redirect_uri": "https://app.example:444/cb"},
        {"redirect_uri": "https://app.example@evil.example/cb"},
        {"redirect_uri": "https://APP.example/cb"},
        {"redirect_uri": "https://\u0430pp.example/cb"},
        {"redirect_uri": "https://xn--pp-6kc.example/cb"},
        {"redirect_uri": "https://app.example/cb/../evil"},
        {"redirect_uri": "https://app.example\\@evil.example/cb"},
        {"redirect_uri": "https://app.example/cb%2f"},
        {"redirect_uri": "//evil.example/cb"},
        {"redirect_uri": "http://[::1]/cb"},
        {"redirect_uri": "http://localhost/cb"},
        {"redirect_uri": "http://127.1/cb"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": 'https://app.example/cb"'},
        {"redirect_uri": "http://127.0.0.1:x/cb"},
        {"redirect_uri": "http://127.0.0.1.evil.example/cb"},
        {"redirect_uri": "http://127.0.0.1:1@evil.example/cb"},
        {"redirect_uri": None},
        {"client_id": "nobody"},
        {"client_id": None},
        {"response_type": "token", "redirect_uri": OTHER},
    ],
)
def test_nobody_is_sent_to_an_address_that_is_not_registered(world, changes):
    from urllib.parse import urlencode  # noqa: PLC0415  # one use

    answer = world.get("/auth/authorize?" + urlencode(world.request(**changes)))
    assert (answer.status_code, "Location" in answer.headers) == (400, False)
    assert "evil" not in answer.text


def test_only_the_port_of_a_loopback_address_is_free(world):
    world.sign_in()
    address = "http://127.0.0.1:53123/cb"
    code = back(world.decide(world.begin(redirect_uri=address), patient="p1"))["code"]
    assert world.turn_in(code, redirect_uri=address).status_code == 200


def test_a_parameter_that_stands_twice_is_refused(world):
    from urllib.parse import urlencode  # noqa: PLC0415  # one use

    query = urlencode(world.request()) + "&redirect_uri=" + OTHER
    assert world.get(f"/auth/authorize?{query}").status_code == 400


def test_a_code_counts_once_and_a_second_use_ends_all_that_came_of_it(world):
    world.sign_in()
    code = world.code()
    first = json.loads(world.turn_in(code).data)
    assert world.parts.tokens.check(first["access_token"])
    assert json.loads(world.turn_in(code).data)["error"] == "invalid_grant"
    assert introspected(world, first["access_token"]) is False
    assert json.loads(world.refresh(first["refresh_token"]).data)["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": "w" * 43},
        {"code_verifier": None},
        {"redirect_uri": "http://127.0.0.1/cb"},
        {"redirect_uri": None},
        {"client_id": "other"},
        {"client_id": None},
    ],
)
def test_a_code_that_was_stolen_is_good_for_nothing_and_is_used_up(world, changes):
    world.sign_in()
    code = world.code()
    if changes.get("client_id") == "other":
        from dataclasses import replace  # noqa: PLC0415  # one use

        from fhir_bridge.smart.clients import client_document  # noqa: PLC0415  # as above
        from tests.unit.fhir_bridge.smart.conftest import PUBLIC  # noqa: PLC0415  # as above

        world.store.put_client("other", client_document(replace(PUBLIC, id="other")), NOW)
    assert world.turn_in(code, **changes).status_code in (400, 401)
    if "client_id" not in changes:
        assert world.turn_in(code).status_code == 400


def test_a_code_ends_after_a_minute(world):
    world.sign_in()
    code = world.code()
    world.time[0] = NOW + 60
    assert json.loads(world.turn_in(code).data)["error"] == "invalid_grant"


def introspected(world, token: str) -> bool:
    from medchain.errors import AccessDeniedError  # noqa: PLC0415  # one use

    try:
        world.parts.tokens.check(token)
    except AccessDeniedError:
        return False
    return True


def test_a_refresh_token_counts_once_and_a_second_use_ends_the_authorisation(world):
    world.sign_in()
    first = json.loads(world.turn_in(world.code()).data)
    second = json.loads(world.refresh(first["refresh_token"]).data)
    assert second["refresh_token"] != first["refresh_token"]
    assert second["patient"] == "p1"
    assert world.parts.tokens.check(second["access_token"])
    assert json.loads(world.refresh(first["refresh_token"]).data)["error"] == "invalid_grant"
    assert json.loads(world.refresh(second["refresh_token"]).data)["error"] == "invalid_grant"
    assert introspected(world, second["access_token"]) is False


def test_a_public_client_need_not_name_itself_at_a_refresh(world):
    # RFC 6749 §6; fhirclient does not.
    world.sign_in()
    first = json.loads(world.turn_in(world.code()).data)
    second = world.refresh(first["refresh_token"], client_id=None)
    assert second.status_code == 200
    assert world.refresh(first["refresh_token"], client_id=None).status_code == 400
    assert introspected(world, json.loads(second.data)["access_token"]) is False
    assert world.refresh("unknown", client_id=None).status_code == 401


def test_a_refresh_can_narrow_scopes_and_never_widen_them(world):
    world.sign_in()
    first = json.loads(world.turn_in(world.code(scope="offline_access launch/patient patient/Observation.rs")).data)
    wider = world.refresh(first["refresh_token"], scope="patient/*.cruds")
    assert json.loads(wider.data)["error"] == "invalid_scope"
    narrow = json.loads(world.refresh(first["refresh_token"], scope="offline_access").data)
    assert narrow["scope"] == "offline_access"
    assert world.parts.tokens.check(narrow["access_token"]).scopes == ()
    # RFC 6749 §6: the next refresh token is as the one before, also where this time it was not asked for.
    narrow = json.loads(world.refresh(narrow["refresh_token"], scope="patient/Observation.rs").data)
    assert narrow["scope"] == "patient/Observation.rs"
    assert json.loads(world.refresh(narrow["refresh_token"]).data)["scope"] == first["scope"]


def test_online_access_ends_with_the_session_and_offline_access_does_not(world):
    secret = world.sign_in()
    online = json.loads(world.turn_in(world.code(scope="online_access launch/patient patient/*.rs")).data)
    offline = json.loads(world.turn_in(world.code()).data)
    world.store.end_session(secret)
    assert introspected(world, online["access_token"]) is False
    assert world.refresh(online["refresh_token"]).status_code == 400
    assert introspected(world, offline["access_token"]) is True
    assert world.refresh(offline["refresh_token"]).status_code == 200


def test_a_code_that_nobody_has_turned_in_ends_with_the_session(world):
    secret = world.sign_in()
    code = world.code(scope="online_access openid launch/patient patient/*.rs")
    world.store.end_session(secret)
    assert json.loads(world.turn_in(code).data)["error"] == "invalid_grant"


def test_who_is_closed_or_gets_another_role_has_no_authorisations_any_more(world):
    world.sign_in()
    token = json.loads(world.turn_in(world.code()).data)
    world.store.close_account(world.accounts[Role.CLINICIAN].id, NOW)
    assert introspected(world, token["access_token"]) is False
    assert world.refresh(token["refresh_token"]).status_code == 400


def test_a_client_that_is_disabled_has_none_either(world):
    world.sign_in()
    token = json.loads(world.turn_in(world.code()).data)
    world.store.disable_client("growth", NOW)
    assert introspected(world, token["access_token"]) is False
    assert world.refresh(token["refresh_token"]).status_code == 401


def test_a_person_can_leave_out_scopes_and_offline_access(world):
    world.sign_in()
    signed = world.begin(scope="launch/patient offline_access patient/Observation.rs patient/Condition.rs")
    answer = world.decide(signed, patient="p1", scope=["patient/Condition.rs", "patient/*.cruds"], offline=None)
    document = json.loads(world.turn_in(back(answer)["code"]).data)
    assert document["scope"] == "launch/patient patient/Condition.rs"
    assert "refresh_token" not in document


def test_a_role_narrows_what_an_application_gets(world):
    world.sign_in(Role.DESK)
    code = world.code(scope="user/*.cruds launch/patient patient/Observation.rs patient/Patient.rs")
    scope = json.loads(world.turn_in(code).data)["scope"].split()
    assert "user/Claim.crus" in scope
    assert "patient/Patient.rs" in scope
    assert not any("Observation" in one or "*" in one for one in scope)


def test_a_role_may_make_more_scopes_of_what_was_asked_for_than_anybody_may_ask_for(world):
    """Of each scope of all types one for each type of the desk's; the person was told an error after the decision."""
    world.sign_in(Role.DESK)
    asked = " ".join(f"user/*.rs?_tag={tag}" for tag in "abc")
    given = json.loads(world.turn_in(world.code(scope=f"{asked} offline_access")).data)
    access = world.parts.tokens.check(given["access_token"])
    assert len(access.scopes) > MAX_SCOPES
    assert {*map(str, access.scopes), "offline_access"} == {*given["scope"].split()}
    assert json.loads(world.refresh(given["refresh_token"]).data)["scope"] == given["scope"]


def test_scopes_that_no_token_could_say_are_not_given(world):
    """A header field has an end: a token that is longer than what is read would never count."""
    world.sign_in(Role.DESK)
    answer = world.decide(world.begin(scope=f"user/*.rs?_tag={'a' * 400}"))
    assert back(answer)["error"] == "invalid_scope"


def test_who_leaves_nothing_in_gives_no_code(world):
    """RFC 6749 §4.1.2.1; of a system's scopes a person has none to give."""
    world.sign_in()
    for scope, picked in (("system/*.rs", None), ("user/*.rs", [])):
        assert back(world.decide(world.begin(scope=scope), scope=picked))["error"] == "invalid_scope"


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.ADMINISTRATOR])
def test_who_may_choose_no_patient_hands_on_nothing_of_one(world, role):
    world.sign_in(role)
    document = json.loads(world.turn_in(world.code()).data)
    assert "patient" not in document
    assert "patient/" not in document["scope"].replace("launch/patient", "")


def test_a_patient_is_needed_and_found_by_identifier(world):
    world.sign_in()
    signed = world.begin()
    assert world.decide(signed).status_code == 400
    assert world.decide(signed, patient="nobody").status_code == 400
    found = world.decide(signed, step="find", search="urn:mrn|MRN-1")
    assert found.status_code == 200
    assert "王芳" in found.text
    assert "1980年1月2日" in found.text
    assert world.decide(signed, step="find", search="MRN-2").status_code == 400
    assert "王芳" in world.decide(signed, step="find", search="王芳").text
    assert world.decide(signed, step="find", search="a|b|c,$\\").status_code == 400
    assert back(world.decide(signed, search="MRN-1"))["code"]


def test_what_is_shown_of_patients_is_on_the_audit(world):
    world.sign_in()
    signed = world.begin()
    world.server.drain()
    before = len(world.server.store.by_patient(world.server.service.patient_token(""), ["AuditEvent"]))
    assert world.decide(signed, step="find", search="王芳").status_code == 200
    world.server.drain()
    rows = world.server.store.by_patient(world.server.service.patient_token(""), ["AuditEvent"])[before:]
    (event,) = [json.loads(world.server.service.open(row).content) for row in rows]
    assert event["subtype"][0]["code"] == "search"
    assert "Patient/p1" in [row["what"].get("reference") for row in event["entity"] if "what" in row]
    assert event["agent"][1]["role"][0]["coding"][0]["code"] == "clinician"
    assert event["agent"][0]["who"]["identifier"]["value"] == "growth"


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.ADMINISTRATOR])
def test_who_may_choose_no_patient_learns_of_none(world, role):
    world.sign_in(role)
    signed = world.begin(scope="launch/patient openid user/Organization.rs")
    told = [world.decide(signed, step="find", search=text).status_code for text in ("王芳", "nobody at all")]
    assert told == [200, 200]
    launch, _ = put_launch(world.parts, Launch("growth", "p1"))
    page = world.get(f"/auth/consent?request={world.begin(scope='launch openid user/Organization.rs', launch=launch)}")
    assert (page.status_code, "王芳" in page.text) == (200, False)


def test_a_patient_whom_a_consent_keeps_from_the_person_is_not_found_nor_chosen(world):
    """`docs/spec/consent.md` C1: what is kept back is not there, on every way."""
    world.sign_in()
    signed = world.begin()
    for text in ("p1", "MRN-1", "王芳"):
        assert "1980年1月2日" in world.decide(signed, step="find", search=text).text
    assert world.server.call("PUT", "/fhir/Consent/c1", deny() | {"id": "c1"}).status_code == 201
    for text in ("p1", "MRN-1", "王芳"):
        answer = world.decide(signed, step="find", search=text)
        assert (answer.status_code, "1980年1月2日" in answer.text) == (400, False)
    assert world.decide(signed, patient="p1").status_code == 400
    assert world.decide(signed, search="MRN-1").status_code == 400


def test_an_encounter_must_be_one_of_the_patient(world):
    world.sign_in()
    signed = world.begin(scope="launch/patient launch/encounter patient/*.rs")
    assert world.decide(signed, patient="p1", encounter="e2").status_code == 400
    document = json.loads(world.turn_in(back(world.decide(signed, patient="p1", encounter="e1"))["code"]).data)
    assert document["encounter"] == "e1"


def test_a_refusal_is_told_to_the_application(world):
    world.sign_in()
    assert back(world.decide(world.begin(), step="deny"))["error"] == "access_denied"


def test_a_launch_for_somebody_else_or_another_application_is_refused(world):
    world.sign_in()
    account = world.accounts[Role.DESK].id
    launch, _ = put_launch(world.parts, Launch("growth", "p1", account=account))
    signed = world.begin(scope="launch patient/*.rs", launch=launch)
    assert world.get(f"/auth/consent?request={signed}").status_code == 403
    other, _ = put_launch(world.parts, Launch("another", "p1"))
    from urllib.parse import urlencode  # noqa: PLC0415  # one use

    asked = world.request(scope="launch patient/*.rs", launch=other)
    assert back(world.get("/auth/authorize?" + urlencode(asked)))["error"] == "invalid_request"


def test_a_decision_needs_this_sites_page_its_session_and_its_token(world):
    world.sign_in()
    signed = world.begin()
    page = world.get(f"/auth/consent?request={signed}").text
    form = {"csrf": world.csrf(page), "request": signed, "step": "allow", "patient": "p1"}
    assert world.post("/auth/consent", form, origin="https://evil.example").status_code == 403
    assert world.post("/auth/consent", form, origin="null").status_code == 403
    assert world.post("/auth/consent", form, origin=None).status_code == 403
    assert world.post("/auth/consent", form | {"csrf": "x"}).status_code == 403
    assert world.post("/auth/consent", form | {"request": "x" + signed[1:]}).status_code == 403
    other = world.csrf(page)
    world.sign_in(Role.DESK)
    assert world.post("/auth/consent", form | {"csrf": other}).status_code == 403


def test_who_is_not_signed_in_does_so_first_and_comes_back_to_the_request(world):
    signed = world.begin()
    answer = world.get(f"/auth/consent?request={signed}")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/sign-in?request={signed}")
    assert "生长曲线" in world.get(answer.headers["Location"]).text
    world.sign_in()
    assert world.get(answer.headers["Location"]).headers["Location"] == f"/auth/consent?request={signed}"


@pytest.mark.parametrize("asked", [{"prompt": "consent login"}, {"max_age": "0"}, {"max_age": "60"}])
def test_who_signed_in_too_long_ago_does_so_again(world, asked):
    """OpenID Connect Core §3.1.2.1: with prompt=login, and past max_age, whoever is there shows again who it is."""
    world.sign_in()
    world.time[0] += 61
    signed = world.begin(**asked)
    for _ in range(2):
        answer = world.get(f"/auth/consent?request={signed}")
        assert (answer.status_code, answer.headers["Location"]) == (303, f"/sign-in?request={signed}")
        assert world.get(answer.headers["Location"]).status_code == 200
    world.time[0] += 61
    world.sign_in()
    assert world.get(f"/sign-in?request={signed}").headers["Location"] == f"/auth/consent?request={signed}"
    claims = json.loads(world.turn_in(back(world.decide(signed, patient="p1"))["code"]).data)["id_token"].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["auth_time"] == world.time[0]


def test_attack_somebody_at_an_open_screen_decides_where_the_person_is_to_show_up(world):
    """The decision asks for it again: the page of another request has the same token."""
    world.sign_in()
    token = world.csrf(world.get(f"/auth/consent?request={world.begin()}").text)
    world.time[0] += 1
    signed = world.begin(prompt="login")
    form = {"csrf": token, "request": signed, "step": "allow", "patient": "p1", "scope": "patient/*.rs"}
    answer = world.post("/auth/consent", form)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/sign-in?request={signed}")


def test_who_has_signed_in_just_now_need_not_again(world):
    world.sign_in()
    world.time[0] += 59
    for asked in ({"max_age": "60"}, {"prompt": "consent"}):
        assert world.get(f"/auth/consent?request={world.begin(**asked)}").status_code == 200


def test_signing_in_leads_to_no_other_site(world):
    world.sign_in()
    for request in ("https://evil.example", "//evil.example", "/\\evil.example"):
        from urllib.parse import quote  # noqa: PLC0415  # one use

        assert world.get("/sign-in?request=" + quote(request, safe="")).headers["Location"] == "/account"


def test_a_request_that_waited_too_long_has_ended(world):
    world.sign_in()
    signed = world.begin()
    world.time[0] = NOW + 1800
    world.sign_in()
    assert world.get(f"/auth/consent?request={signed}").status_code == 403


def test_the_pages_run_no_script_of_others_and_stand_in_no_frame(world):
    world.sign_in()
    answer = world.get(f"/auth/consent?request={world.begin()}")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' https://app.example" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert "<script>" not in answer.text
    assert re.findall(r"\son[a-z]+=", answer.text) == []
    assert re.findall(r"\sstyle=", answer.text) == []


def test_an_application_cannot_put_markup_into_a_page(world):
    from dataclasses import replace  # noqa: PLC0415  # one use

    from fhir_bridge.smart.clients import client_document  # noqa: PLC0415  # as above
    from tests.unit.fhir_bridge.smart.conftest import PUBLIC  # noqa: PLC0415  # as above

    named = replace(PUBLIC, name="<script>alert(1)</script>")
    world.store.put_client("growth", client_document(named), NOW, replace=True)
    world.sign_in()
    page = world.get(f"/auth/consent?request={world.begin()}").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_pages_are_in_the_readers_language_and_remember_it(world):
    world.sign_in()
    signed = world.begin()
    path = f"/auth/consent?request={signed}"
    assert "是否允许" in world.get(path, **{"Accept-Language": "zh-CN,zh"}).text
    assert "Allow 生长曲线?" in world.get(path, **{"Accept-Language": "en-GB,en"}).text
    chosen = world.get(f"{path}&lang=en", **{"Accept-Language": "zh-CN"})
    assert "Allow 生长曲线?" in chosen.text
    assert "Allow 生长曲线?" in world.get(path, **{"Accept-Language": "zh-CN"}).text


def test_an_application_that_asks_by_post_is_understood(world):
    answer = world.browser.post("/auth/authorize", base_url=ORIGIN, data=world.request())
    assert "/auth/consent?request=" in answer.text


def test_the_verifier_is_as_the_specification_computes_it():
    # RFC 7636, appendix B.
    from authlib.oauth2.rfc7636 import create_s256_code_challenge  # noqa: PLC0415  # one use

    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert create_s256_code_challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert len(VERIFIER) == 43
