"""Signing in at an identity provider, played by hand, and the attacks on it."""

from __future__ import annotations

import base64
import json
import re
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from fhir_bridge.mount import seen_by
from fhir_bridge.smart.fetch import Fetcher
from fhir_bridge.smart.mount import register
from fhir_bridge.smart.patients import Patients
from fhir_bridge.smart.provider import Provider, read_provider
from medchain.errors import InputError, UnavailableError
from medchain.store.accounts import Role
from medchain.web.service import check_callers, prepare
from tests.unit.fhir_bridge.smart.conftest import NOW, ORIGIN

ISSUER = "https://idp.renhe.example"
KEY = RSAKey.generate_key(2048, parameters={"kid": "k1"})
OTHER = RSAKey.generate_key(2048, parameters={"kid": "k1"})
PROVIDER = Provider(ISSUER, "medchain", {"doctor": Role.CLINICIAN, "it": Role.ADMINISTRATOR}, role_claim="groups")


class Idp:
    """What the provider answers."""

    def __init__(self) -> None:
        """Begin as a good one."""
        self.described = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys",
        }
        self.answer: object = {}
        self.asked: dict[str, list[str]] = {}
        self.looks = 0

    def check_url(self, url: str) -> None:
        Fetcher().check_url(url)

    def json(self, url: str, body: bytes | None = None, *_more: str) -> object:
        if url.endswith("/keys"):
            return {"keys": [KEY.as_dict(private=False)]}
        if body is not None:
            self.asked = parse_qs(body.decode())
            return self.answer
        self.looks += 1
        if not self.described:
            raise UnavailableError("peer.unreachable")
        return self.described


@pytest.fixture
def idp(world) -> Idp:
    made = Idp()
    app = Flask("test-provider", static_folder=None)
    prepare(app)
    register(
        app,
        world.site,
        world.parts,
        Patients(world.server.service, world.server.core.search, seen_by(world.server.core.audit)),
        made,
        PROVIDER,
    )
    check_callers(app)
    world.app, world.browser = app, app.test_client()
    return made


def begin(world, then: str = "") -> dict[str, str]:
    page = world.post("/sign-in/provider", {"request": then})
    assert page.status_code == 200, page.text
    target = re.search(r'content="0;url=([^"]+)"', page.text)[1].replace("&amp;", "&")
    assert target.startswith(f"{ISSUER}/authorize?")
    return {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}


def token(asked: dict[str, str], key=KEY, alg: str = "RS256", **changes: object) -> str:
    claims = {
        "iss": ISSUER,
        "sub": "u-1",
        "aud": "medchain",
        "exp": NOW + 300,
        "iat": NOW,
        "nonce": asked["nonce"],
        "groups": ["doctor", "choir"],
        "name": "王医生",
        "fhirUser": "https://fhir.renhe.example/fhir/Practitioner/17",
    } | changes
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": alg, "kid": "k1"}, kept, key, algorithms=[alg])


def finish(world, asked: dict[str, str], **changes: str):
    query = {"state": asked["state"], "code": "c-1", "iss": ISSUER} | changes
    return world.browser.get("/sign-in/provider/callback", base_url=ORIGIN, query_string=query)


def test_somebody_whom_the_provider_knows_is_signed_in_with_the_role_it_gives(world, idp):
    signed = world.begin()
    asked = begin(world, signed)
    assert (asked["response_type"], asked["scope"], asked["code_challenge_method"]) == (
        "code",
        "openid profile",
        "S256",
    )
    idp.answer = {"id_token": token(asked), "access_token": "x"}
    answer = finish(world, asked)
    assert answer.status_code == 200
    assert f"/auth/consent?request={signed}" in answer.text
    page = world.get("/account").text
    assert "王医生" in page
    assert "Practitioner/17" in page
    verifier = idp.asked["code_verifier"][0]
    challenge = base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    assert challenge == asked["code_challenge"]
    assert idp.asked["redirect_uri"] == [f"{ORIGIN}/sign-in/provider/callback"]
    kid = world.parts.keys.newest("ES384")
    claims = jwt.decode(idp.asked["client_assertion"][0], kid.key, algorithms=["ES384"]).claims
    assert (claims["iss"], claims["aud"]) == ("medchain", f"{ISSUER}/token")


@pytest.mark.usefixtures("idp")
def test_who_must_sign_in_anew_does_so_at_the_provider(world):
    """OpenID Connect Core §3.1.2.1: a provider that knows the person still would let anybody at the screen pass."""
    asked = [begin(world, world.begin(**more)) for more in ({"prompt": "login"}, {"max_age": "60"}, {})]
    assert [one.get("prompt") for one in [*asked, begin(world)]] == ["login", "login", None, None]
    # With it the provider has to say in the id token when that was.
    assert [one.get("max_age") for one in [*asked, begin(world)]] == ["1", "60", None, None]


@pytest.mark.parametrize(
    ("more", "oldest"), [({"prompt": "login"}, NOW), ({"max_age": "300"}, NOW - 300), ({"max_age": "0"}, NOW)]
)
def test_who_must_sign_in_anew_is_let_in_once_the_provider_says_when_she_did(world, idp, more, oldest):
    """OpenID Connect Core §3.1.3.7, 13; a minute is granted for clocks that differ."""
    for auth_time, status in (
        (None, 403),
        (0, 403),
        (oldest - 61, 403),
        (str(NOW), 403),
        (True, 403),
        (NOW + 61, 403),
        (oldest - 60, 200),
        (float(NOW), 200),
    ):
        signed = world.begin(**more)
        asked = begin(world, signed)
        idp.answer = {"id_token": token(asked, auth_time=auth_time)}
        answer = finish(world, asked)
        assert answer.status_code == status, auth_time
        if status != 200:
            assert world.get("/account").status_code == 303
    assert f"/auth/consent?request={signed}" in answer.text
    assert world.get(f"/auth/consent?request={signed}").status_code == 200


@pytest.mark.parametrize("auth_time", [NOW - 40_000, None, NOW + 61])
def test_who_need_not_sign_in_anew_may_have_signed_in_whenever_it_was(world, idp, auth_time):
    asked = begin(world, world.begin())
    idp.answer = {"id_token": token(asked, auth_time=auth_time)}
    assert finish(world, asked).status_code == 200


@pytest.mark.parametrize("auth_time", [NOW - 40_000, None])
def test_who_passes_for_nothing_in_particular_has_not_signed_in_anew_for_an_application(world, idp, auth_time):
    """The way round: a page of sign-in of one's own asks the provider for no proof."""
    signed = world.begin(prompt="login")
    asked = begin(world)
    idp.answer = {"id_token": token(asked, auth_time=auth_time)}
    assert finish(world, asked).status_code == 200
    answer = world.get(f"/auth/consent?request={signed}")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/sign-in?request={signed}")
    assert world.get(f"/sign-in?request={signed}").status_code == 200


def test_when_the_provider_signed_somebody_in_goes_into_the_id_token_and_nothing_where_it_does_not_say(world, idp):
    """OpenID Connect Core §2, auth_time: what is not known is not told."""
    for auth_time, told in ((NOW - 500, NOW - 500), (None, None)):
        asked = begin(world)
        idp.answer = {"id_token": token(asked, auth_time=auth_time)}
        assert finish(world, asked).status_code == 200
        part = world.turn_in(world.code()).get_json()["id_token"].split(".")[1]
        assert json.loads(base64.urlsafe_b64decode(part + "==")).get("auth_time") == told


def test_who_is_let_pass_without_signing_in_anew_is_told_so(world, idp):
    asked = begin(world, world.begin(prompt="login"))
    idp.answer = {"id_token": token(asked, auth_time=NOW - 3600)}
    page = finish(world, asked)
    assert "没有证明您已重新登录" in page.text


def test_a_person_keeps_the_account_and_gets_the_role_of_today(world, idp):
    for groups, role in (("doctor", Role.CLINICIAN), (["it"], Role.ADMINISTRATOR)):
        asked = begin(world)
        idp.answer = {"id_token": token(asked, groups=groups)}
        assert finish(world, asked).status_code == 200
        (mine,) = [one for one in world.store.accounts() if one.identity is not None]
        assert mine.role is role


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": ["medchain", "other"]},
        {"aud": ["medchain", "other"], "azp": "other"},
        {"azp": "other"},
        {"exp": NOW - 61},
        {"exp": None},
        {"iat": NOW - 3600},
        {"iat": NOW + 3600},
        {"iat": None},
        {"nonce": "other"},
        {"nonce": None},
        {"sub": ""},
        {"sub": None},
        {"sub": 7},
        {"at_hash": "wrong"},
        {"key": OTHER},
        {"key": ECKey.generate_key("P-256", parameters={"kid": "k1"}), "alg": "ES256"},
        {"key": OctKey.import_key(str(KEY.as_dict(private=False)["n"]), {"kid": "k1"}), "alg": "HS256"},
        {"groups": []},
        {"groups": None},
        {"groups": ["doctor", "it"]},
        {"groups": ["nobody"]},
    ],
)
def test_an_id_token_that_does_not_hold_signs_nobody_in(world, idp, changes):
    asked = begin(world)
    idp.answer = {"id_token": token(asked, **changes), "access_token": "x"}
    assert finish(world, asked).status_code == 403
    assert world.get("/account").status_code == 303


def test_an_id_token_without_a_signature_signs_nobody_in(world, idp):
    asked = begin(world)
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    idp.answer = {"id_token": f"{head}.{token(asked).split('.')[1]}."}
    assert finish(world, asked).status_code == 403


@pytest.mark.parametrize("answer", [{}, [], {"id_token": 7}, {"id_token": "x"}, {"id_token": "x" * 20_000}])
def test_an_answer_that_is_none_signs_nobody_in(world, idp, answer):
    asked = begin(world)
    idp.answer = answer
    assert finish(world, asked).status_code == 403


@pytest.mark.parametrize("changes", [{"state": "x"}, {"iss": "https://e.example"}, {"code": ""}, {"code": "x" * 9000}])
def test_an_answer_of_another_or_of_none_goes_no_further(world, idp, changes):
    asked = begin(world)
    idp.answer = {"id_token": token(asked)}
    assert finish(world, asked, **changes).status_code == 403
    assert idp.asked == {}


def test_an_answer_counts_in_the_browser_that_asked_and_once(world, idp):
    asked = begin(world)
    idp.answer = {"id_token": token(asked)}
    mine, world.browser = world.browser, world.app.test_client()
    assert finish(world, asked).status_code == 403
    world.browser = mine
    cookies = [one for one in mine._cookies.values() if one.key.endswith("-provider")]  # noqa: SLF001  # werkzeug's own
    assert finish(world, asked).status_code == 200
    for one in cookies:
        mine.set_cookie(one.key, one.value, domain="fhir.renhe.example", secure=True)
    assert finish(world, asked).status_code == 403


def test_an_answer_that_comes_too_late_counts_for_nothing(world, idp):
    asked = begin(world)
    idp.answer = {"id_token": token(asked)}
    world.time[0] = NOW + 600
    assert finish(world, asked).status_code == 403


def test_another_site_cannot_begin(world, idp):
    assert idp.described
    assert world.post("/sign-in/provider", {}, origin="https://evil.example").status_code == 403


def test_a_provider_that_is_another_or_away_is_not_asked(world, idp):
    idp.described["issuer"] = "https://evil.example"
    assert world.post("/sign-in/provider", {}).status_code == 403
    idp.described = {}
    assert world.post("/sign-in/provider", {}).status_code == 403


def test_who_begins_again_and_again_has_the_provider_asked_every_five_minutes(world, idp):
    for seconds, looks in ((0, 1), (1, 1), (299, 1), (300, 2), (301, 2), (200, 3)):
        world.time[0] = NOW + seconds
        begin(world)
        assert idp.looks == looks


def test_a_closed_account_stays_closed(world, idp):
    asked = begin(world)
    idp.answer = {"id_token": token(asked)}
    finish(world, asked)
    (mine,) = [one for one in world.store.accounts() if one.identity is not None]
    world.store.close_account(mine.id, NOW)
    asked = begin(world)
    idp.answer = {"id_token": token(asked)}
    assert finish(world, asked).status_code == 403


def test_the_page_offers_both_ways(world, idp):
    assert idp.described
    page = world.get("/sign-in?lang=en").text
    assert "hospital account" in page
    assert "passkey" in page


GOOD = """issuer = "https://idp.renhe.example"
client_id = "medchain"
role_claim = "groups"
[roles]
clinician = ["doctor"]
administrator = ["it"]
"""


def test_the_operators_description_is_read(tmp_path):
    (tmp_path / "p.toml").write_text(GOOD)
    assert read_provider(tmp_path / "p.toml", Fetcher()) == PROVIDER


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("https://", "http://"),
        ("clinician", "doctor"),
        ('client_id = "medchain"', ""),
        ('"groups"', "7"),
        ("role_claim", "unknown"),
        ("[roles]", "["),
        ('clinician = ["doctor"]\nadministrator = ["it"]', ""),
        ("[roles]", 'scope = "profile"\n[roles]'),
    ],
)
def test_a_description_with_a_mistake_is_refused(tmp_path, old, new):
    (tmp_path / "p.toml").write_text(GOOD.replace(old, new))
    with pytest.raises(InputError, match=r"login\.provider"):
        read_provider(tmp_path / "p.toml", Fetcher())
