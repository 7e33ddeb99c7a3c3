"""Backend services, members, keys at an address, introspection, revocation, launches, discovery, signing keys."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from fhir_bridge.smart import discovery
from fhir_bridge.smart.clients import (
    Client,
    Right,
    check_client,
    check_jwk,
    client_document,
    parse_client,
)
from fhir_bridge.smart.fetch import AGAIN_S, KEEP_S, Fetcher, RemoteKeys
from fhir_bridge.smart.keys import ACCESS, IDENTITY, ROTATE_S, SigningKeys
from fhir_bridge.smart.keys import KEEP_S as KEY_KEEP_S
from fhir_bridge.smart.mount import remembered
from fhir_bridge.smart.scopes import parse_scopes
from medchain.errors import AccessDeniedError, InputError, UnavailableError, VerificationError
from medchain.store.authorisations import SigningKeyRow
from tests.unit.fhir_bridge.smart.conftest import NOW, ORIGIN, PUBLIC, back

URL = "http://127.0.0.1:41000/token"
EC = ECKey.generate_key("P-384", parameters={"kid": "e"})
RSA = RSAKey.generate_key(2048, parameters={"kid": "r"})
STRANGER = ECKey.generate_key("P-384", parameters={"kid": "e"})
KIND = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MEMBER = "anxin-insurance"
PUBLIC_SCOPES = "launch/patient openid fhirUser offline_access patient/*.rs"
COUNT = iter(range(1_000_000))


def public(key) -> dict:
    return check_jwk({**key.as_dict(private=False), "kid": key.kid, "alg": "x", "use": "sig"})


def put(world, client: Client) -> Client:
    world.store.put_client(client.id, client_document(check_client(client)), NOW)
    return client


@pytest.fixture
def lab(world) -> Client:
    keys = (public(EC), public(RSA))
    return put(world, Client("lab", parse_scopes("system/*.rs"), jwks=keys))


def assertion(client: str, key=EC, alg: str | None = None, header: dict | None = None, **changes: object) -> str:
    claims = {"iss": client, "sub": client, "aud": URL, "exp": NOW + 60, "jti": f"j-{next(COUNT)}"} | changes
    chosen = alg or ("RS384" if isinstance(key, RSAKey) else "ES384")
    return jwt.encode({"alg": chosen, "kid": key.kid} | (header or {}), claims, key, algorithms=[chosen])


def shown(client: str, key=EC, **changes: object) -> dict[str, str]:
    return {"client_assertion_type": KIND, "client_assertion": assertion(client, key, **changes)}


def ask(world, client: str = "lab", key=EC, scope: str = "system/Patient.r", **changes: object):
    return world.token({"grant_type": "client_credentials", "scope": scope, **shown(client, key, **changes)})


def post(world, path: str, form: dict):
    return world.app.test_client().post(path, base_url=ORIGIN, data=form)


@pytest.mark.parametrize("key", [EC, RSA], ids=["ES384", "RS384"])
def test_a_system_gets_a_token_with_either_of_its_keys(world, lab, key):
    answer = json.loads(ask(world, lab.id, key).data)
    assert (answer["scope"], answer["expires_in"], "refresh_token" in answer) == ("system/Patient.r", 300, False)
    assert world.parts.tokens.check(answer["access_token"]).client == "lab"


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": STRANGER},
        {"key": EC, "header": {"kid": "other"}},
        # The header brings no key along, and names no place of one (RFC 8725 §3.10).
        {"key": STRANGER, "header": {"jku": "https://evil.example/jwks.json"}},
        {"key": STRANGER, "header": {"jwk": STRANGER.as_dict(private=False)}},
        {"key": STRANGER, "header": {"x5u": "https://evil.example/chain.pem"}},
        {"key": EC, "header": {"kid": 7}},
        {"key": RSA, "alg": "RS256"},
        {"key": OctKey.import_key(str(EC.as_dict(private=False)["x"]), {"kid": "e"}), "alg": "HS384"},
    ],
)
def test_another_key_or_algorithm_is_refused(world, lab, wrong):
    if wrong.get("header") == {"kid": 7}:
        signed = assertion("lab", EC).split(".")
        import base64  # noqa: PLC0415  # one use

        signed[0] = base64.urlsafe_b64encode(b'{"alg":"ES384","kid":7}').rstrip(b"=").decode()
        form = {"client_assertion_type": KIND, "client_assertion": ".".join(signed)}
        answer = world.token({"grant_type": "client_credentials", "scope": "system/Patient.r", **form})
    else:
        answer = ask(world, lab.id, **wrong)
    assert (answer.status_code, json.loads(answer.data)) == (401, {"error": "invalid_client"})


def test_a_system_may_not_name_another_beside_its_assertion(world, lab):
    form = {"grant_type": "client_credentials", "scope": "system/Patient.r", "client_id": "growth", **shown(lab.id)}
    assert world.token(form).status_code == 401


def test_a_client_with_a_key_cannot_do_without_it(world):
    put(world, replace(PUBLIC, id="secured", jwks=(public(EC),)))
    world.sign_in()
    code = world.code(client_id="secured")
    assert world.turn_in(code, client_id="secured").status_code == 401
    code = world.code(client_id="secured")
    answer = world.turn_in(code, client_id=None, **shown("secured"))
    assert answer.status_code == 200
    token = json.loads(answer.data)["refresh_token"]
    assert world.refresh(token, client_id=None).status_code == 401
    assert world.refresh(token, client_id=None, **shown("secured")).status_code == 200


def test_a_public_client_cannot_act_for_itself(world):
    form = {"grant_type": "client_credentials", "client_id": "growth", "scope": "patient/*.rs"}
    assert world.token(form).status_code == 401
    with pytest.raises(InputError, match=r"client\.scopes"):
        check_client(replace(PUBLIC, scopes=parse_scopes("system/*.rs")))


def test_a_members_keys_are_those_of_the_ledger_and_a_suspended_one_has_none_at_once(world):
    put(world, Client("insurer", parse_scopes("system/Claim.rs"), member=MEMBER))
    assert ask(world, "insurer", scope="system/Claim.rs").status_code == 401
    world.server.member_keys[MEMBER] = [public(EC)]
    answer = ask(world, "insurer", scope="system/Claim.rs")
    token = json.loads(answer.data)["access_token"]
    assert world.parts.tokens.check(token).client == "insurer"
    world.server.member_keys[MEMBER] = []
    assert ask(world, "insurer", scope="system/Claim.rs").status_code == 401
    with pytest.raises(AccessDeniedError):
        world.parts.tokens.check(token)


def keyed_grant(world, client: Client) -> dict:
    """Let a person authorise an application with a key; returns what it got."""
    put(world, client)
    world.sign_in()
    code = world.code(client_id=client.id)
    return json.loads(world.turn_in(code, client_id=client.id, **shown(client.id)).data)


def test_what_a_person_gave_a_member_ends_with_its_membership(world):
    world.server.member_keys[MEMBER] = [public(EC)]
    given = keyed_grant(world, replace(PUBLIC, id="insurer", member=MEMBER))
    assert world.parts.tokens.check(given["access_token"]).patient == "p1"
    world.server.member_keys[MEMBER] = []
    with pytest.raises(AccessDeniedError):
        world.parts.tokens.check(given["access_token"])
    form = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"]}
    assert world.token(form | shown("insurer")).status_code == 401


def test_what_a_person_gave_ends_with_what_the_application_is_registered_for(world):
    app = replace(PUBLIC, id="keyed", jwks=(public(EC),))
    given = keyed_grant(world, app)
    narrowed = replace(app, scopes=parse_scopes("patient/Condition.rs"))
    world.store.put_client("keyed", client_document(narrowed), NOW, replace=True)
    with pytest.raises(AccessDeniedError):
        world.parts.tokens.check(given["access_token"])


@pytest.mark.parametrize("verifier", [None, "", "w" * 43, "v" * 42], ids=["none", "empty", "another", "short"])
def test_a_key_does_not_stand_in_for_the_verifier(world, verifier):
    """RFC 9700 §2.1.1, §4.8.2: PKCE downgrade."""
    put(world, replace(PUBLIC, id="keyed", jwks=(public(EC),)))
    world.sign_in()
    code = world.code(client_id="keyed")
    answer = world.turn_in(code, client_id="keyed", code_verifier=verifier, **shown("keyed"))
    assert answer.status_code == 400
    assert "access_token" not in json.loads(answer.data)


def test_keys_at_an_address_are_used_and_weak_ones_among_them_are_not(world):
    address = "https://lab.example/keys"
    put(world, Client("remote", parse_scopes("system/*.rs"), jwks_uri=address))
    world.server.remote_keys[address] = [{"kty": "oct", "k": "x"}, public(RSA)]
    assert ask(world, "remote", RSA).status_code == 200
    assert ask(world, "remote", EC).status_code == 401


def test_a_registration_that_becomes_less_takes_effect_on_tokens(world, lab):
    token = json.loads(ask(world, lab.id).data)["access_token"]
    narrowed = replace(lab, scopes=parse_scopes("system/Claim.rs"))
    world.store.put_client("lab", client_document(narrowed), NOW, replace=True)
    with pytest.raises(AccessDeniedError):
        world.parts.tokens.check(token)


def test_a_token_can_be_revoked_by_who_has_it_and_by_nobody_else(world, lab):
    token = json.loads(ask(world, lab.id).data)["access_token"]
    other = post(world, discovery.REVOKE, {"token": token, "client_id": "growth"})
    assert json.loads(other.data)["error"] == "invalid_grant"
    assert world.parts.tokens.check(token)
    assert post(world, discovery.REVOKE, {"token": token}).status_code == 401
    assert post(world, discovery.REVOKE, {"token": token, **shown(lab.id)}).status_code == 200
    with pytest.raises(AccessDeniedError):
        world.parts.tokens.check(token)
    # RFC 7009 §2.2: one that does not count is revoked already.
    assert post(world, discovery.REVOKE, {"token": token, **shown(lab.id)}).status_code == 200
    assert post(world, discovery.REVOKE, {**shown(lab.id)}).status_code == 400


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_revoking_either_token_ends_the_authorisation(world, which):
    world.sign_in()
    given = json.loads(world.turn_in(world.code()).data)
    form = {"token": given[which], "client_id": "growth", "token_type_hint": which}
    assert post(world, discovery.REVOKE, form).status_code == 200
    assert world.refresh(given["refresh_token"]).status_code == 400
    with pytest.raises(AccessDeniedError):
        world.parts.tokens.check(given["access_token"])


def test_introspection_tells_a_client_about_its_own_tokens(world, lab):
    token = json.loads(ask(world, lab.id).data)["access_token"]
    told = json.loads(post(world, discovery.INTROSPECT, {"token": token, **shown(lab.id)}).data)
    assert (told["active"], told["client_id"], told["scope"], told["exp"]) == (
        True,
        "lab",
        "system/Patient.r",
        NOW + 300,
    )
    assert post(world, discovery.INTROSPECT, {"token": token, "client_id": "growth"}).status_code == 401
    told = json.loads(post(world, discovery.INTROSPECT, {"token": "x", **shown(lab.id)}).data)
    assert told == {"active": False}


def test_introspection_of_others_needs_a_right(world, lab):
    world.sign_in()
    given = json.loads(world.turn_in(world.code()).data)
    hidden = json.loads(post(world, discovery.INTROSPECT, {"token": given["access_token"], **shown(lab.id)}).data)
    assert hidden == {"active": False}
    rights = frozenset({Right.INTROSPECT})
    put(world, Client("gateway", parse_scopes("system/*.rs"), jwks=(public(EC),), rights=rights))
    told = json.loads(post(world, discovery.INTROSPECT, {"token": given["access_token"], **shown("gateway")}).data)
    assert (told["patient"], told["fhirUser"]) == ("p1", f"{ORIGIN}/fhir/Practitioner/17")
    assert "openid" in told["scope"]
    told = json.loads(post(world, discovery.INTROSPECT, {"token": given["refresh_token"], **shown("gateway")}).data)
    assert (told["active"], told["token_type"]) == (True, "refresh_token")
    world.time[0] = NOW + 301
    form = {"token": given["access_token"], **shown("gateway", exp=NOW + 360)}
    assert json.loads(post(world, discovery.INTROSPECT, form).data) == {"active": False}


def launched(world, document: object, token: str):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return world.app.test_client().post(discovery.LAUNCH, base_url=ORIGIN, json=document, headers=headers)


@pytest.fixture
def ehr(world) -> str:
    rights = frozenset({Right.LAUNCH})
    put(world, Client("ehr", parse_scopes("system/*.cruds"), jwks=(public(EC),), rights=rights))
    return json.loads(ask(world, "ehr").data)["access_token"]


def introspected(world, token: str) -> dict:
    """Ask about a token as a resource server of the hospital."""
    rights = frozenset({Right.INTROSPECT})
    put(world, Client("gateway", parse_scopes("system/*.rs"), jwks=(public(EC),), rights=rights))
    return json.loads(post(world, discovery.INTROSPECT, {"token": token, **shown("gateway")}).data)


def test_introspection_tells_what_the_answer_with_the_token_told(world, ehr):
    """SMART App Launch 2.2, Token Introspection, conditional fields: each parameter of the launch context."""
    context = {"patient": "p1", "encounter": "e1", "intent": "reconcile-medications", "need_patient_banner": True}
    launch = json.loads(launched(world, {"client": "growth", **context}, ehr).data)["launch"]
    world.sign_in()
    answer = world.decide(world.begin(scope="launch patient/*.rs", launch=launch))
    given = json.loads(world.turn_in(back(answer)["code"]).data)
    told = introspected(world, given["access_token"])
    names = {*context, "scope", "smart_style_url"}
    assert {name: told.get(name) for name in names} == {name: given[name] for name in names}
    # There was no id token, whose claim it is.
    assert "fhirUser" not in told


def test_introspection_of_a_token_that_a_refresh_narrowed_tells_no_more_than_it_allows(world):
    """SMART App Launch 2.2, Token Introspection, required fields: `scope` as in the answer with the token."""
    world.sign_in()
    given = json.loads(world.turn_in(world.code(scope=f"{PUBLIC_SCOPES} patient/*.cu")).data)
    narrowed = json.loads(world.refresh(given["refresh_token"], scope="patient/*.rs").data)
    told = introspected(world, narrowed["access_token"])
    assert (told["scope"], narrowed["scope"]) == ("patient/*.rs", "patient/*.rs")
    assert "fhirUser" not in told


def test_the_record_system_makes_launches_with_a_token_of_its_own(world, ehr):
    answer = launched(world, {"client": "growth", "patient": "p1", "user": "clinician"}, ehr)
    document = json.loads(answer.data)
    assert (answer.status_code, document["expires_in"]) == (201, 300)
    assert document["url"].endswith(document["launch"])
    world.sign_in()
    signed = world.begin(scope="launch patient/*.rs", launch=document["launch"])
    world.time[0] = NOW + 300
    assert world.get(f"/auth/consent?request={signed}").status_code == 400


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"client": "nobody"},
        {"client": "ehr"},
        {"client": "growth", "patient": "../1"},
        {"client": "growth", "patient": 1},
        {"client": "growth", "encounter": "a b"},
        {"client": "growth", "intent": "a b"},
        {"client": "growth", "user": "nobody"},
        {"client": "growth", "account": "x"},
        {"client": "growth", "need_patient_banner": "yes"},
    ],
)
def test_a_launch_that_does_not_hold_is_refused(world, ehr, document):
    assert launched(world, document, ehr).status_code == 400


def test_nobody_else_makes_launches(world, ehr, lab):
    good = {"client": "growth", "patient": "p1"}
    assert launched(world, good, "").status_code == 401
    assert launched(world, good, "x").headers["WWW-Authenticate"] == "Bearer"
    assert launched(world, good, json.loads(ask(world, lab.id).data)["access_token"]).status_code == 403
    world.sign_in()
    assert launched(world, good, json.loads(world.turn_in(world.code()).data)["access_token"]).status_code == 403
    assert launched(world, good, ehr).status_code == 201
    big = world.app.test_client().post(
        discovery.LAUNCH, base_url=ORIGIN, data="{" * 40_000, headers={"Authorization": f"Bearer {ehr}"}
    )
    assert big.status_code in (400, 413)
    assert launched(world, "x", ehr).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/smart-configuration",
        "/fhir/.well-known/smart-configuration",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ],
)
def test_discovery_names_what_there_is(world, path):
    answer = world.get(path)
    document = json.loads(answer.data)
    assert document["issuer"] == ORIGIN
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    rules = {rule.rule for rule in world.app.url_map.iter_rules()}
    endpoints = [value for name, value in document.items() if name.endswith(("_endpoint", "jwks_uri"))]
    assert all(value.removeprefix(ORIGIN) in rules for value in endpoints)
    if "smart" in path:
        assert "management_endpoint" in document
        assert {"launch-ehr", "launch-standalone", "permission-v2", "client-public"} <= set(document["capabilities"])


def test_the_style_of_applications_has_the_members_that_smart_names(world):
    assert "color_background" in json.loads(world.get(discovery.STYLE).data)


@pytest.mark.parametrize("path", [discovery.TOKEN, discovery.REVOKE, discovery.INTROSPECT])
def test_an_endpoint_takes_one_plain_form(world, path):
    client = world.app.test_client()
    assert client.post(path, base_url=ORIGIN, json={}).status_code == 400
    assert client.post(f"{path}?a=b", base_url=ORIGIN, data={"a": "b"}).status_code == 400
    assert client.post(path, base_url=ORIGIN, data={"grant_type": "x", "a": "b" * 40_000}).status_code == 400
    twice = "token=a&token=b"
    kind = "application/x-www-form-urlencoded"
    assert client.post(path, base_url=ORIGIN, data=twice, content_type=kind).status_code == 400


def test_signing_keys_follow_one_another_and_old_ones_stay_published_for_a_while(world):
    keys = world.parts.keys
    first = keys.newest(ACCESS)
    token = world.parts.tokens.issue("x", parse_scopes("system/*.r"))
    world.time[0] = NOW + 60
    second = keys.rotate(ACCESS)
    assert second.kid != first.kid
    assert keys.newest(ACCESS).kid == second.kid
    assert world.parts.tokens.check(token)
    published = KeySet.import_key_set(json.loads(world.get(discovery.JWKS).data))
    assert {first.kid, second.kid} <= {key.kid for key in published.keys}
    assert all("d" not in key for key in json.loads(world.get(discovery.JWKS).data)["keys"])
    world.time[0] = NOW + 60 + KEY_KEEP_S
    keys.rotate(ACCESS)
    world.time[0] += KEY_KEEP_S
    keys.rotate(ACCESS)
    assert keys.find(ACCESS, first.kid) is None
    assert keys.find(ACCESS, "unknown") is None


def test_a_key_that_is_old_gets_a_successor_by_itself(world):
    first = world.parts.keys.newest(IDENTITY).kid
    world.time[0] = NOW + ROTATE_S
    assert world.parts.keys.newest(IDENTITY).kid != first


def test_processes_that_rotate_at_once_agree_on_one_key(world):
    other = SigningKeys(world.store, b"\x00" * 32, lambda: NOW)
    row = SigningKeyRow("k", IDENTITY, b"x", NOW)
    assert world.store.put_signing_key(row, None, 0)
    assert not world.store.put_signing_key(replace(row, kid="l"), None, 0)
    with pytest.raises(VerificationError, match=r"smart\.signing_key"):
        other.newest(IDENTITY)


def test_a_signing_key_opens_under_its_own_name_and_key_only(world):
    kept = world.parts.keys.newest(ACCESS)
    (row,) = world.store.signing_keys(ACCESS)
    assert kept.kid == row.kid
    with pytest.raises(VerificationError):
        SigningKeys(world.store, b"\x01" * 32, lambda: NOW).newest(ACCESS)
    world.store.put_signing_key(SigningKeyRow("swapped", ACCESS, row.sealed, NOW + 1), row.kid, 0)
    with pytest.raises(VerificationError):
        world.parts.keys.rotate(ACCESS)


@pytest.mark.parametrize(
    "url",
    [
        "http://lab.example/keys",
        "ftp://lab.example",
        "https://",
        "https://a@lab.example/",
        "https://lab.example/#x",
        "https://lab.example/\n",
        "https://lab.example:port/",
        "https://" + "x" * 600,
        "file:///etc/passwd",
    ],
)
def test_only_plain_https_addresses_are_fetched(url):
    with pytest.raises(InputError, match=r"fetch\.url"):
        Fetcher().check_url(url)
    Fetcher(private=True).check_url("http://10.0.0.1:8080/keys")


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/k", "https://[::1]/k", "https://169.254.169.254/latest", "https://localhost/k"]
)
def test_an_inner_address_is_not_called(url):
    with pytest.raises(UnavailableError, match=r"peer\.address"):
        Fetcher().json(url)


def test_what_is_fetched_must_be_json(monkeypatch):
    from fhir_bridge.smart import fetch  # noqa: PLC0415  # replaced below
    from medchain.node.peers import Answer  # noqa: PLC0415  # as above

    bodies = {"/good?x=1": b'{"keys":[]}', "/bad": b"<html>"}
    asked = []

    class Pool:
        def __init__(self, *_arguments: object) -> None:
            """Connect to nobody."""

        def request(self, request, headers, _limits) -> Answer:
            asked.append((request.method, headers))
            if request.target not in bodies:
                raise VerificationError("peer.redirect")
            return Answer(200, bodies[request.target])

        def close(self) -> None:
            """Close nothing."""

    monkeypatch.setattr(fetch, "HttpPool", Pool)
    assert Fetcher().json("https://a.example/good?x=1") == {"keys": []}
    assert Fetcher().json("https://a.example/good?x=1", b"a=b", "text/plain", "Bearer x") == {"keys": []}
    assert asked[-1][0] == "POST"
    assert asked[-1][1]["Authorization"] == "Bearer x"
    for path in ("/bad", "/moved"):
        with pytest.raises(VerificationError, match=r"fetch\.document"):
            Fetcher().json(f"https://a.example{path}")


def test_keys_of_others_are_kept_asked_again_and_not_too_often():
    now, asked = [0.0], []
    document: list[object] = [{"keys": [{"kid": "a"}, "x", {"kid": "b"}]}]

    def fetch(url: str) -> object:
        asked.append(url)
        if document[0] is None:
            raise UnavailableError("peer.unreachable")
        return document[0]

    keys = RemoteKeys(fetch, lambda: now[0])
    assert keys.keys("u", None) == ({"kid": "a"}, {"kid": "b"})
    assert keys.keys("u", "a") == ({"kid": "a"},)
    assert keys.keys("u", "new") == ()
    assert len(asked) == 1
    document[0] = {"keys": [{"kid": "new"}]}
    now[0] = AGAIN_S
    assert keys.keys("u", "new") == ({"kid": "new"},)
    document[0] = None
    now[0] += KEEP_S
    assert keys.keys("u", "new") == ({"kid": "new"},)
    document[0] = {"no": "keys"}
    now[0] += KEEP_S
    assert keys.keys("u", "new") == ({"kid": "new"},)
    assert len(asked) == 4


def test_members_are_asked_about_once_a_second():
    now, asked = [0.0], []
    ask = remembered(lambda org_id: asked.append(org_id) or [{"kid": org_id}], lambda: now[0])
    assert ask("a") == ask("a") == [{"kid": "a"}]
    now[0] = 1.0
    ask("a")
    assert asked == ["a", "a"]


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "a b"},
        {"name": "x\n"},
        {"name": "x" * 129},
        {"jwks": (public(EC),), "member": MEMBER},
        {"member": "Not Good"},
        {"redirects": ("https://a.example/#x",)},
        {"redirects": ("http://a.example/",)},
        {"redirects": ("myapp://cb",)},
        {"redirects": ("javascript:alert(1)",)},
        {"redirects": ("https://a@b.example/",)},
        {"redirects": ("https://a.example:x/",)},
        {"redirects": ("https://a.example/ x",)},
        {"redirects": tuple(f"https://a.example/{n}" for n in range(17))},
        {"redirects": ()},
        {"launch_uri": "http://a.example/"},
        {"rights": frozenset({Right.LAUNCH})},
    ],
)
def test_a_registration_with_a_mistake_is_refused(changes):
    with pytest.raises(InputError):
        check_client(replace(PUBLIC, **changes))


def test_an_installed_application_has_a_scheme_that_names_its_owner():
    assert check_client(replace(PUBLIC, redirects=("com.example.app:/cb", "http://localhost:3000/cb")))


@pytest.mark.parametrize(
    "jwk",
    [
        None,
        {},
        EC.as_dict(private=True),
        RSA.as_dict(private=True),
        ECKey.generate_key("P-256").as_dict(private=False),
        {"kty": "RSA", "e": "AQAB", "n": "x" * 171},
        {"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"},
        {"kty": "oct", "k": "x"},
    ],
)
def test_only_public_keys_of_two_kinds_are_taken(jwk):
    with pytest.raises(InputError, match=r"client\.jwk"):
        check_jwk(jwk)


def test_a_registration_is_read_as_it_was_written(world):
    made = replace(
        PUBLIC, jwks=(public(EC),), rights=frozenset(Right), scopes=parse_scopes("system/*.rs patient/*.read")
    )
    world.store.put_client("other", client_document(made), NOW)
    assert parse_client(world.store.client("other")) == replace(made, id="other")
