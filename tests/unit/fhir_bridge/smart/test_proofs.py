"""Tokens that are bound to a key: proofs of it (RFC 9449, DPoP), and who has a token alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from fhir_bridge.smart import discovery
from fhir_bridge.smart.clients import Client, Right, client_document, parse_client
from fhir_bridge.smart.proofs import PROOF_S, ProofCheck, Shown
from fhir_bridge.smart.scopes import parse_scopes
from medchain.encoding import canonical
from medchain.errors import AccessDeniedError
from tests.unit.fhir_bridge.smart.conftest import NOW, ORIGIN
from tests.unit.fhir_bridge.smart.test_endpoints import COUNT, public, put, shown
from tests.unit.fhir_bridge.smart.test_endpoints import EC as CLIENT_KEY

# RFC 9449, figures 2 and 9: a proof, and the thumbprint of its key.
RFC_PROOF = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0Rs"
    "cEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2"
    "In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2V"
    "uIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xR"
    "ZT3Lg"
)
RFC_TIME = 1_562_262_616
RFC_THUMBPRINT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
NODE = "http://127.0.0.1:41000"
KEY = ECKey.generate_key("P-256")
OTHER = ECKey.generate_key("P-384")
TOKEN = Shown("", "POST", "/token")


def check(time: int = NOW, *, origin: str = NODE) -> ProofCheck:
    used: set[str] = set()

    def use_once(name: str, _until: int) -> bool:
        return name not in used and not used.add(name)

    return ProofCheck(lambda: (origin,), use_once, lambda: time)


def proof(
    method: str, path: str, token: str = "", *, key: ECKey = KEY, header: dict | None = None, **changes: object
) -> str:
    """Sign what a request shows; None leaves a claim out."""
    algorithm = "ES384" if key is OTHER else "ES256"
    claims = {"htm": method, "htu": f"{NODE}{path}", "iat": NOW, "jti": f"d-{next(COUNT)}"}
    if token:
        claims["ath"] = base64.urlsafe_b64encode(sha256(token.encode()).digest()).rstrip(b"=").decode()
    named = {"alg": algorithm, "typ": "dpop+jwt", "jwk": key.as_dict(private=False)} | (header or {})
    given = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(named, given, key, algorithms=[str(named["alg"])])


def test_the_proof_of_the_specification_is_of_the_key_of_the_specification():
    """RFC 9449 §4.1, figure 2; §6, figure 9."""
    shown_at = Shown(RFC_PROOF, "POST", "/token")
    assert check(RFC_TIME, origin="https://server.example.com").key(shown_at) == RFC_THUMBPRINT


def changed(made: str) -> str:
    """Change one character in the middle of a signature."""
    head, said, signature = made.split(".")
    return ".".join([head, said, signature[:40] + ("A" if signature[40] != "A" else "B") + signature[41:]])


def headed(header: object) -> str:
    """Put another header before what a proof says."""
    _, *rest = proof("POST", "/token").split(".")
    return ".".join([base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode(), *rest])


@pytest.mark.parametrize("key", [KEY, OTHER], ids=["ES256", "ES384"])
def test_a_proof_tells_the_thumbprint_of_its_key(key):
    assert check().key(TOKEN._replace(proof=proof("POST", "/token", key=key))) == key.thumbprint()


@pytest.mark.parametrize(
    "htu",
    [f"{NODE}/token?a=b", f"{NODE}/token#c", "HTTP://127.0.0.1:41000/token", f"{NODE}/%74oken"],
)
def test_an_address_may_be_written_in_several_ways(htu):
    """RFC 9449 §4.3, check 9: without query and fragment, and normalised (RFC 3986 §6.2.2, §6.2.3)."""
    assert check().key(TOKEN._replace(proof=proof("POST", "/token", htu=htu)))


def test_the_usual_port_need_not_be_said():
    made = proof("POST", "/token", htu="https://fhir.renhe.example:443/token")
    assert check(origin=ORIGIN).key(TOKEN._replace(proof=made))


RSA = RSAKey.generate_key(2048)
WRONG: dict[str, Callable[[], str]] = {
    "nothing": lambda: "",
    "no token": lambda: "x.y.z",
    "too long": lambda: proof("POST", "/token", more="x" * 4096),
    "another method": lambda: proof("GET", "/token"),
    "another address": lambda: proof("POST", "/auth/revoke"),
    "another server": lambda: proof("POST", "/token", htu="https://evil.example/token"),
    "no address": lambda: proof("POST", "/token", htu=7),
    "an address that is none": lambda: proof("POST", "/token", htu="http://[/token"),
    "too old": lambda: proof("POST", "/token", iat=NOW - PROOF_S - 1),
    "of the future": lambda: proof("POST", "/token", iat=NOW + 60),
    "no time": lambda: proof("POST", "/token", iat=None),
    "a time that is text": lambda: proof("POST", "/token", iat=str(NOW)),
    "no id": lambda: proof("POST", "/token", jti=None),
    "a long id": lambda: proof("POST", "/token", jti="j" * 257),
    "another type": lambda: proof("POST", "/token", header={"typ": "JWT"}),
    "another's key": lambda: proof("POST", "/token", header={"jwk": OTHER.as_dict(private=False), "alg": "ES256"}),
    "a private key": lambda: proof("POST", "/token", header={"jwk": KEY.as_dict(private=True)}),
    "no key": lambda: headed({"alg": "ES256", "typ": "dpop+jwt", "jwk": "x"}),
    "half a key": lambda: headed({"alg": "ES256", "typ": "dpop+jwt", "jwk": {"kty": "EC", "crv": "P-256", "x": "x"}}),
    "an address of a key": lambda: headed({"alg": "ES256", "typ": "dpop+jwt", "jku": "https://evil.example"}),
    "signed otherwise": lambda: changed(proof("POST", "/token")),
    "no signature": lambda: headed({"alg": "none", "typ": "dpop+jwt", "jwk": KEY.as_dict(private=False)}),
    "no signature, and no curve": lambda: headed(
        {"alg": "none", "typ": "dpop+jwt", "jwk": KEY.as_dict(private=False) | {"crv": None}}
    ),
    "a header that is none": lambda: headed([]),
    "a shared key": lambda: jwt.encode(
        {"alg": "HS256", "typ": "dpop+jwt", "jwk": {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}},
        {"htm": "POST", "htu": f"{NODE}/token", "iat": NOW, "jti": "h"},
        OctKey.import_key("secret-secret-secret-secret"),
        algorithms=["HS256"],
    ),
    "an algorithm that is not listed": lambda: jwt.encode(
        {"alg": "RS256", "typ": "dpop+jwt", "jwk": RSA.as_dict(private=False)},
        {"htm": "POST", "htu": f"{NODE}/token", "iat": NOW, "jti": "r"},
        RSA,
        algorithms=["RS256"],
    ),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_a_proof_that_does_not_hold_is_refused_and_all_refusals_look_alike(name):
    """RFC 9449 §4.3, checks 2 to 11."""
    with pytest.raises(AccessDeniedError) as refused:
        check().key(TOKEN._replace(proof=WRONG[name]()))
    assert refused.value.code == "token.proof"


def test_attack_a_proof_is_shown_again():
    """RFC 9449 §11.1."""
    checking, made = check(), TOKEN._replace(proof=proof("POST", "/token"))
    assert checking.key(made)
    with pytest.raises(AccessDeniedError, match=r"token\.proof"):
        checking.key(made)


# At the token address, and with a token.


def asked(world, form: dict, made: str | None) -> tuple[int, dict]:
    """Ask for a token, with a proof."""
    headers = {} if made is None else {"DPoP": made}
    answer = world.app.test_client().post("/token", base_url=ORIGIN, data=form, headers=headers)
    return answer.status_code, json.loads(answer.data)


@pytest.fixture
def lab(world) -> dict:
    """What a system asks for a token with."""
    put(world, Client("lab", parse_scopes("system/*.rs"), jwks=(public(CLIENT_KEY),)))
    return {"grant_type": "client_credentials", "scope": "system/*.rs"}


def bound(world, form: dict, key: ECKey = KEY) -> str:
    status, answer = asked(world, form | shown("lab"), proof("POST", "/token", key=key))
    assert (status, answer["token_type"]) == (200, "DPoP")
    return answer["access_token"]


def read(world, token: str, made: str | None, *, scheme: str = "DPoP", method: str = "GET", path: str = "Patient/p1"):
    """Read with a token, over the FHIR API."""
    headers = {"Authorization": f"{scheme} {token}"} | ({} if made is None else {"DPoP": made})
    return world.server.client.open(f"/fhir/{path}", method=method, headers=headers)


def test_a_token_that_is_asked_for_with_a_proof_is_good_with_proofs_of_the_same_key(world, lab):
    """RFC 9449 §5, §7.1; each request has a proof of its own."""
    token = bound(world, lab)
    for path in ("Patient/p1", "Observation?patient=Patient/p1", "metadata", "Patient/p1?_format=json"):
        assert read(world, token, proof("GET", f"/fhir/{path}", token), path=path).status_code == 200
    again = proof("GET", "/fhir/Patient/p1", token)
    assert [read(world, token, again).status_code for _ in range(2)] == [200, 401]
    assert read(world, token, proof("HEAD", "/fhir/Patient/p1", token), method="HEAD").status_code == 200


def test_attack_who_has_a_bound_token_alone_gets_nothing(world, lab):
    """RFC 9449 §7.2: under the scheme Bearer, without a proof, with a proof of another key, token, address, method."""
    token = bound(world, lab)
    other = bound(world, lab)
    plain = asked(world, lab | shown("lab"), None)[1]["access_token"]
    tries = {
        "bearer": read(world, token, None, scheme="Bearer"),
        "bearer with its proof": read(world, token, proof("GET", "/fhir/Patient/p1", token), scheme="Bearer"),
        "no proof": read(world, token, None),
        "no token in the proof": read(world, token, proof("GET", "/fhir/Patient/p1")),
        "another token in it": read(world, token, proof("GET", "/fhir/Patient/p1", other)),
        "another key": read(world, token, proof("GET", "/fhir/Patient/p1", token, key=OTHER)),
        "another address": read(world, token, proof("GET", "/fhir/Patient/p2", token)),
        "another method": read(world, token, proof("DELETE", "/fhir/Patient/p1", token)),
        "one that is bound to nothing": read(world, plain, proof("GET", "/fhir/Patient/p1", plain)),
    }
    assert {name: answer.status_code for name, answer in tries.items()} == dict.fromkeys(tries, 401)
    challenge = tries["another key"].headers["WWW-Authenticate"]
    assert challenge == 'DPoP error="invalid_dpop_proof", algs="ES256 ES384"'
    assert read(world, plain, None, scheme="Bearer").status_code == 200


def test_a_proof_that_does_not_hold_gives_no_token(world, lab):
    for made in ("x", proof("GET", "/token"), ""):
        status, answer = asked(world, lab | shown("lab"), made)
        if made:
            assert (status, answer) == (400, {"error": "invalid_dpop_proof"})
        else:
            assert (status, answer["token_type"]) == (200, "Bearer")


def application(world, code: str, made: str | None, **changes: str) -> tuple[int, dict]:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": "https://app.example/cb"}
    return asked(world, form | {"client_id": "growth", "code_verifier": "v" * 43} | changes, made)


def test_the_refresh_token_of_a_public_client_is_bound_too_and_is_not_used_up_without_its_key(world):
    """RFC 9449 §5: public clients have nothing else to show."""
    world.sign_in()
    status, given = application(world, world.code(), proof("POST", "/token"))
    assert (status, given["token_type"]) == (200, "DPoP")
    form = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"], "client_id": "growth"}
    for made in (None, proof("POST", "/token", key=OTHER)):
        assert asked(world, form, made) == (400, {"error": "invalid_grant"})
    assert asked(world, form, "x") == (400, {"error": "invalid_dpop_proof"})
    status, given = asked(world, form, proof("POST", "/token"))
    assert (status, given["token_type"]) == (200, "DPoP")
    token = given["access_token"]
    assert read(world, token, proof("GET", "/fhir/Patient/p1", token)).status_code == 200


def test_a_code_may_be_bound_to_a_key_before_there_is_a_token(world):
    """RFC 9449 §10: `dpop_jkt`; who lacks the key has used the code up."""
    world.sign_in()
    for made, status in ((None, 400), (proof("POST", "/token", key=OTHER), 400), (proof("POST", "/token"), 200)):
        code = world.code(dpop_jkt=KEY.thumbprint())
        assert application(world, code, made)[0] == status
        assert application(world, code, proof("POST", "/token"))[0] == 400


def test_introspection_tells_the_key_and_discovery_the_algorithms(world, lab):
    """RFC 9449 §5.1, §6.2."""
    rights = frozenset({Right.INTROSPECT})
    put(world, Client("gateway", parse_scopes("system/*.rs"), jwks=(public(CLIENT_KEY),), rights=rights))
    form = {"token": bound(world, lab), **shown("gateway")}
    told = json.loads(world.app.test_client().post(discovery.INTROSPECT, base_url=ORIGIN, data=form).data)
    assert (told["token_type"], told["cnf"]) == ("DPoP", {"jkt": KEY.thumbprint()})
    configuration = json.loads(world.get("/fhir/.well-known/smart-configuration").data)
    assert configuration["dpop_signing_alg_values_supported"] == ["ES256", "ES384"]


def test_the_record_system_may_bind_its_token_as_well(world):
    rights = frozenset({Right.LAUNCH})
    put(world, Client("lab", parse_scopes("system/*.rs"), jwks=(public(CLIENT_KEY),), rights=rights))
    token = bound(world, {"grant_type": "client_credentials", "scope": "system/*.rs"})
    for made, status in ((None, 401), (proof("POST", "/auth/launch", token), 201)):
        headers = {"Authorization": f"DPoP {token}"} | ({} if made is None else {"DPoP": made})
        document = {"client": "growth", "patient": "p1"}
        answer = world.app.test_client().post("/auth/launch", base_url=ORIGIN, json=document, headers=headers)
        assert answer.status_code == status


# Clients whose registration demands it (RFC 9449 §5.2, `dpop_bound_access_tokens`).


@pytest.fixture
def strict(world) -> dict:
    """What a system asks for a token with that must bind each."""
    put(world, Client("lab", parse_scopes("system/*.rs"), jwks=(public(CLIENT_KEY),), is_bound=True))
    return {"grant_type": "client_credentials", "scope": "system/*.rs"}


def test_attack_a_client_that_must_bind_its_tokens_is_made_to_ask_without_a_proof(world, strict):
    """RFC 9449 §5.2: the server MUST reject such requests; what it does get is of no use to who has it alone."""
    refused = {"error": "invalid_dpop_proof", "error_description": "This client must show a DPoP proof."}
    for made in (None, ""):
        assert asked(world, strict | shown("lab"), made) == (400, refused)
    assert asked(world, strict | shown("lab"), "x") == (400, {"error": "invalid_dpop_proof"})
    token = bound(world, strict)
    assert read(world, token, None, scheme="Bearer").status_code == 401
    assert read(world, token, None).status_code == 401
    assert read(world, token, proof("GET", "/fhir/Patient/p1", token)).status_code == 200


def test_a_bearer_token_of_before_the_demand_counts_no_more(world, lab):
    plain = asked(world, lab | shown("lab"), None)[1]["access_token"]
    assert read(world, plain, None, scheme="Bearer").status_code == 200
    registered = parse_client(world.store.client("lab"))
    world.store.put_client("lab", client_document(replace(registered, is_bound=True)), NOW, replace=True)
    assert read(world, plain, None, scheme="Bearer").status_code == 401
    token = bound(world, lab)
    assert read(world, token, proof("GET", "/fhir/Patient/p1", token)).status_code == 200


def test_a_token_by_the_operators_hand_of_before_the_demand_counts_no_more(world):
    """`medchain token issue` gives bearer tokens, also for clients that are not registered."""
    token = world.server.parts.tokens.issue("lab", parse_scopes("system/*.rs"), 600)
    assert read(world, token, None, scheme="Bearer").status_code == 200
    put(world, Client("lab", parse_scopes("system/*.rs"), jwks=(public(CLIENT_KEY),)))
    assert read(world, token, None, scheme="Bearer").status_code == 200
    registered = parse_client(world.store.client("lab"))
    world.store.put_client("lab", client_document(replace(registered, is_bound=True)), NOW, replace=True)
    assert read(world, token, None, scheme="Bearer").status_code == 401


def test_who_shows_no_proof_uses_up_no_code_and_no_refresh_token(world):
    registered = parse_client(world.store.client("growth"))
    world.store.put_client("growth", client_document(replace(registered, is_bound=True)), NOW, replace=True)
    world.sign_in()
    code = world.code()
    assert application(world, code, None)[1]["error"] == "invalid_dpop_proof"
    status, given = application(world, code, proof("POST", "/token"))
    assert (status, given["token_type"]) == (200, "DPoP")
    form = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"], "client_id": "growth"}
    assert asked(world, form, None)[1]["error"] == "invalid_dpop_proof"
    assert asked(world, form, proof("POST", "/token"))[0] == 200


def test_attack_a_refresh_token_of_before_the_demand_is_bound_to_a_key_of_who_stole_it(world):
    """RFC 9449 §5: those of public clients are bound; who got one without a key signs in anew."""
    world.sign_in()
    given = application(world, world.code(), None)[1]
    registered = parse_client(world.store.client("growth"))
    world.store.put_client("growth", client_document(replace(registered, is_bound=True)), NOW, replace=True)
    form = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"], "client_id": "growth"}
    assert asked(world, form, proof("POST", "/token", key=OTHER)) == (400, {"error": "invalid_grant"})
    world.store.put_client("growth", client_document(registered), NOW, replace=True)
    assert asked(world, form, proof("POST", "/token"))[0] == 200


def test_a_client_that_must_bind_its_tokens_revokes_them_without_a_proof(world, strict):
    """RFC 9449 §5.2 is of token requests; a proof is nothing that a revocation needs (RFC 7009 §2.1)."""
    token = bound(world, strict)
    answer = world.app.test_client().post(discovery.REVOKE, base_url=ORIGIN, data={"token": token, **shown("lab")})
    assert answer.status_code == 200
    assert read(world, token, proof("GET", "/fhir/Patient/p1", token)).status_code == 401


def test_a_registration_of_before_demands_nothing(world, lab):
    document = json.loads(client_document(parse_client(world.store.client("lab"))))
    del document["dpop_bound_access_tokens"]
    world.store.put_client("lab", canonical(document), NOW, replace=True)
    assert not parse_client(world.store.client("lab")).is_bound
    assert asked(world, lab | shown("lab"), None)[1]["token_type"] == "Bearer"
