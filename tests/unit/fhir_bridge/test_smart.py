"""Tokens, clients and scopes, and the attacks on them."""

from __future__ import annotations

import json

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from fhir_bridge.smart import server as tokens_of
from fhir_bridge.smart.clients import client_document, make_client, parse_client
from fhir_bridge.smart.keys import ACCESS
from fhir_bridge.smart.scopes import Action, covers, parse_scope, parse_scopes, permits
from medchain.crypto.es384 import Es384Signer, public_jwk
from medchain.errors import InputError

NOW = 1_796_083_200
NODE = "renhe-hospital"
URL = "http://127.0.0.1:41000/token"
CLIENT = Es384Signer(b"c" * 32)
OTHER = Es384Signer(b"o" * 32)
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def signed(signer: Es384Signer, claims: dict, header: dict | None = None) -> str:
    head = {"alg": "ES384", "typ": "JWT"} | (header or {})
    return jwt.encode(head, claims, ECKey.import_key(signer.private_jwk()), algorithms=["ES384"])


def assertion(signer: Es384Signer = CLIENT, **changes: object) -> str:
    claims = {"iss": "his", "sub": "his", "aud": URL, "exp": NOW + 60, "jti": "j-1"} | changes
    return signed(signer, {name: value for name, value in claims.items() if value is not None})


def ask(server, text: str, scope: str = "system/Patient.r", **form: str):
    given = {
        "grant_type": "client_credentials",
        "scope": scope,
        "client_assertion_type": TYPE,
        "client_assertion": text,
    }
    return server.client.post("/token", data=given | form)


@pytest.fixture
def registered(server):
    made = make_client("his", public_jwk(CLIENT.public), "system/*.cr")
    server.store.accounts.put_client("his", client_document(made), NOW)
    return server


def test_a_registered_client_gets_a_token_that_works_for_what_it_asked(registered):
    answer = json.loads(ask(registered, assertion()).data)
    assert (answer["token_type"], answer["scope"], answer["expires_in"]) == ("Bearer", "system/Patient.r", 300)
    headers = {"Authorization": f"Bearer {answer['access_token']}"}
    assert registered.client.get("/fhir/Patient/none", headers=headers).status_code == 404
    body = {"resourceType": "Patient"}
    assert registered.client.post("/fhir/Patient", json=body, headers=headers).status_code == 403


def test_an_assertion_counts_once(registered):
    text = assertion()
    assert ask(registered, text).status_code == 200
    again = ask(registered, text)
    assert (again.status_code, json.loads(again.data)) == (401, {"error": "invalid_client"})


@pytest.mark.parametrize(
    "changes",
    [
        {"signer": OTHER},
        {"iss": "lab", "sub": "lab"},
        {"sub": "lab"},
        {"aud": "https://another.example/token"},
        {"aud": None},
        {"aud": [URL, 1]},
        {"exp": NOW},
        {"exp": NOW + 3600},
        {"exp": None},
        {"exp": str(NOW + 60)},
        {"exp": True},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"nbf": NOW + 60},
        {"iat": "now"},
    ],
)
def test_a_client_that_cannot_show_who_it_is_gets_nothing_and_no_reason(registered, changes):
    answer = ask(registered, assertion(**changes))
    assert (answer.status_code, json.loads(answer.data)) == (401, {"error": "invalid_client"})


def test_a_refused_assertion_uses_up_no_id(registered):
    assert ask(registered, assertion(OTHER)).status_code == 401
    assert ask(registered, assertion()).status_code == 200


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_a_token_cannot_choose_its_algorithm(registered, algorithm):
    claims = {"iss": "his", "sub": "his", "aud": URL, "exp": NOW + 60, "jti": "j"}
    if algorithm == "none":
        text = "eyJhbGciOiJub25lIn0." + assertion().split(".")[1] + "."
    else:
        public = json.dumps(public_jwk(CLIENT.public)).encode()
        text = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(public), algorithms=["HS256"])
    assert ask(registered, text).status_code == 401


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "a.W10.c", "a" * 9000, "a.bnVsbA.c"])
def test_what_is_no_token_is_refused(registered, text):
    assert ask(registered, text).status_code == 401
    assert registered.client.get("/fhir/Patient/x", headers={"Authorization": f"Bearer {text}"}).status_code == 401


def test_a_client_that_was_removed_gets_no_further_token(registered):
    registered.store.accounts.drop_client("his", NOW)
    assert ask(registered, assertion()).status_code == 401


@pytest.mark.parametrize("scope", ["system/*.cru", "system/Patient.d", "patient/*.r", "", "system/*.rc", "openid"])
def test_a_scope_beyond_what_is_registered_or_not_understood_is_refused(registered, scope):
    answer = ask(registered, assertion(), scope)
    assert (answer.status_code, json.loads(answer.data)["error"]) == (400, "invalid_scope")


def test_another_grant_is_refused(registered):
    answer = ask(registered, assertion(), grant_type="password")
    assert (answer.status_code, json.loads(answer.data)["error"]) == (400, "unsupported_grant_type")


def test_a_request_that_is_no_form_is_refused(registered):
    assert registered.client.post("/token", json={}).status_code == 400
    twice = "grant_type=client_credentials&grant_type=client_credentials"
    kind = "application/x-www-form-urlencoded"
    assert registered.client.post("/token", data=twice, content_type=kind).status_code == 400


def test_a_token_ends(server):
    token = server.tokens.issue("his", parse_scopes("system/*.r"))
    headers = {"Authorization": f"Bearer {token}"}
    server.time[0] = NOW + 299
    assert server.client.get("/fhir/Patient/x", headers=headers).status_code == 404
    server.time[0] = NOW + 300
    assert server.client.get("/fhir/Patient/x", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("header", "changes"),
    [
        ({}, {}),  # the one that is good
        ({"typ": "JWT"}, {}),
        ({}, {"aud": "binhai-hospital"}),
        ({}, {"iss": "binhai-hospital"}),
        ({}, {"exp": None}),
        ({}, {"exp": NOW + 86400}),
        ({}, {"iat": NOW + 600, "exp": NOW + 900}),
        ({}, {"scope": "all"}),
        ({}, {"sub": None}),
    ],
)
def test_only_its_own_kind_of_token_under_the_nodes_key_is_an_access_token(server, header, changes):
    node = server.parts.keys.newest(ACCESS)
    claims = {"aud": NODE, "exp": NOW + 60, "iat": NOW, "iss": NODE, "scope": "system/*.r", "sub": "his"} | changes
    claims["jti"] = "one"
    kept = {name: value for name, value in claims.items() if value is not None}
    head = {"alg": "ES384", "kid": node.kid, "typ": "at+jwt"} | header
    token = jwt.encode(head, kept, node.key, algorithms=["ES384"])
    answer = server.client.get("/fhir/Patient/x", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == (404 if not header and not changes else 401)


def test_the_configuration_tells_where_tokens_come_from(server):
    document = json.loads(server.client.get("/fhir/.well-known/smart-configuration").data)
    assert document["token_endpoint"] == URL
    assert document["token_endpoint_auth_signing_alg_values_supported"] == ["ES384", "RS384"]


@pytest.mark.parametrize(
    ("text", "type_name", "action", "allowed"),
    [
        ("system/*.r", "Patient", Action.READ, True),
        ("system/*.r", "Patient", Action.CREATE, False),
        ("system/Patient.cru", "Patient", Action.UPDATE, True),
        ("system/Patient.cru", "Observation", Action.READ, False),
        ("system/Observation.r system/Patient.c", "Patient", Action.READ, False),
    ],
)
def test_what_a_scope_does_not_say_is_denied(text, type_name, action, allowed):
    assert permits(parse_scopes(text), type_name, action) is allowed


@pytest.mark.parametrize(
    "text", ["system/*.", "system/*.rr", "system/*.rc", "system/patient.r", "group/*.r", "system/Pet.r"]
)
def test_a_scope_that_is_not_understood_is_refused(text):
    with pytest.raises(InputError, match=r"scope\.malformed"):
        parse_scope(text)


def test_a_scope_is_written_as_it_is_read():
    assert [str(scope) for scope in parse_scopes("system/*.cru system/Patient.ds")] == [
        "system/*.cru",
        "system/Patient.ds",
    ]


def test_scopes_may_cover_together_what_none_covers_alone():
    assert covers(parse_scopes("system/Patient.c system/*.r"), parse_scope("system/Patient.cr"))
    assert not covers(parse_scopes("system/Patient.c"), parse_scope("system/*.c"))


@pytest.mark.parametrize("client_id", ["", "a b", "x" * 65, "-x"])
def test_a_client_needs_a_plain_id(client_id):
    with pytest.raises(InputError, match=r"client\.id"):
        make_client(client_id, public_jwk(CLIENT.public), "system/*.r")


def test_a_private_key_is_not_registered():
    with pytest.raises(InputError, match=r"client\.jwk"):
        make_client("his", CLIENT.private_jwk(), "system/*.r")


def test_clients_are_read_as_they_were_written(server):
    made = make_client("his", public_jwk(CLIENT.public), "system/*.cr")
    server.store.accounts.put_client("his", client_document(made), NOW)
    row = server.store.accounts.client("his")
    assert row is not None
    assert parse_client(row) == made
    assert tokens_of.TOKEN_SECONDS == 300
