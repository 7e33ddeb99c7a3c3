"""Signing in at the hospital's own identity provider: this node as an OpenID relying party, on Authlib.

Keeps true: an answer counts for the browser that asked, once, for ten minutes, and only from the provider that was
asked (state, RFC 9207's issuer, nonce, PKCE all bound to one cookie); an id token is verified under the provider's own
keys with an algorithm of ours, and says who, for whom, until when, and, where somebody has to sign in anew, that she
did; somebody to whom the provider gives no role, or two, does not get in. No secret is shared: the node signs its own
assertion to the provider. Trusts the provider for who people are, when they showed it, and what they do.
Source: OpenID Connect Core §3.1, §9 (private_key_jwt), Discovery §4; RFC 7636, RFC 9207, RFC 9700.
"""

from __future__ import annotations

import hashlib
import secrets
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from flask import Blueprint, Response, request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from fhir_bridge.outcome import status_of
from fhir_bridge.smart.assertions import ASSERTION_TYPE, MAX_TOKEN_CHARS
from fhir_bridge.smart.fetch import KEEP_S, Fetcher, RemoteKeys
from fhir_bridge.smart.keys import ACCESS
from fhir_bridge.smart.oauth import Parts
from medchain.errors import AccessDeniedError, ConflictError, InputError, MedchainError
from medchain.node.log import Log
from medchain.store.accounts import DATED, STAFF, UNDATED, Account, Role
from medchain.web.deeds import Deed, Kind, by
from medchain.web.pages import Pages
from medchain.web.routing import Caller, callers
from medchain.web.sign_in import after, signed_request

LOGIN_S: Final = 600
"""How long a log-in at the provider may take."""

CALLBACK: Final = "/sign-in/provider/callback"
"""Where the provider sends people back to."""

ALGORITHMS: Final = ("RS256", "RS384", "PS256", "ES256", "ES384")
"""How an id token may be signed."""

_COOKIE: Final = "provider"
_PURPOSE: Final = "provider"
_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_FORM: Final = "application/x-www-form-urlencoded"
_SKEW_S: Final = 60
_MAX_AGE_S: Final = 600
_MAX_CLAIM_CHARS: Final = 255
_MAX_DISPLAY: Final = 128
_ROLES: Final = {role.value: role for role in STAFF}
_MAX_FILE_BYTES: Final = 64 * 1024
_LOG: Final = Log("provider")


@dataclass(frozen=True, slots=True)
class Provider:
    """The identity provider, as the operator describes it.

    Attributes:
        issuer: its issuer.
        client_id: how it calls this node.
        roles: value of the role claim → role here.
        role_claim: name of the claim with what the person does; its value is a text or a list.
        name_claim: name of the claim with the person's name.
        user_claim: name of the claim with the resource that is the person.
        scope: what is asked for.
    """

    issuer: str
    client_id: str
    roles: Mapping[str, Role]
    role_claim: str = "roles"
    name_claim: str = "name"
    user_claim: str = "fhirUser"
    scope: str = "openid profile"


def read_provider(path: Path, fetcher: Fetcher) -> Provider:
    """Read the file of the setting `login.provider`.

    Args:
        path: TOML: ``issuer``, ``client_id``, ``[roles]`` (role → list of values of the claim), and optionally
            ``role_claim``, ``name_claim``, ``user_claim``, ``scope``.
        fetcher: judges the issuer's address.

    Returns:
        The provider.

    Raises:
        InputError: ``login.provider`` with what is wrong.
    """
    try:
        with path.open("rb") as file:
            top = tomllib.loads(file.read(_MAX_FILE_BYTES).decode("utf-8"))
        roles = {str(value): _ROLES[name] for name, values in top.pop("roles").items() for value in values}
        texts = {name: value for name, value in top.items() if isinstance(value, str)}
        found = Provider(roles=roles, **texts)
        fetcher.check_url(found.issuer)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError) as error:
        raise InputError("login.provider", path=str(path)) from error
    if len(texts) != len(top) or not roles or "openid" not in found.scope.split():
        raise InputError("login.provider", path=str(path))
    return found


class RelyingParty:
    """Signs people in at a provider."""

    __slots__ = ("_fetcher", "_kept", "_keys", "_pages", "_parts", "_provider", "_since", "_site")

    def __init__(
        self, provider: Provider, pages: Pages, parts: Parts, fetcher: Fetcher, since: Callable[[str], int]
    ) -> None:
        """Prepare; nothing is fetched yet.

        Args:
            provider: at which.
            pages: renders.
            parts: of the authorisation server, whose keys sign this node's assertions to the provider.
            fetcher: fetches what the provider says.
            since: tells from when on a person must have signed in for a signed request; 0 for at any time.
        """
        self._since = since
        self._kept: tuple[int, Mapping[str, str]] | None = None
        self._provider = provider
        self._pages = pages
        self._site = pages.site
        self._parts = parts
        self._fetcher = fetcher
        self._keys = RemoteKeys(fetcher.json)

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        blueprint = Blueprint("provider", __name__)

        @blueprint.post("/sign-in/provider")
        @callers(Caller.PUBLIC)
        def begin() -> Response:
            return self._begin()

        @blueprint.get(CALLBACK)
        @callers(Caller.PUBLIC)
        def back() -> Response:
            return self._back()

        return self._pages.guard(blueprint)

    def _begin(self) -> Response:
        """Send the browser to the provider; what the answer must fit stays in a cookie."""
        self._site.check_origin()
        then = signed_request(request.form.get("request", ""))
        secret = secrets.token_urlsafe(32)
        document = {"cookie": _part(secret, "state"), "then": then}
        state = self._site.signed.sign(_PURPOSE, dict(document), self._site.clock() + LOGIN_S)
        since = self._since(then) if then else 0
        # A provider that knows the person still would let her pass without a word; asked how old her signing in may be,
        # it must tell how old it is.
        anew = {"prompt": "login", "max_age": str(max(1, self._site.clock() - since))} if since else {}
        target = prepare_grant_uri(
            self._described()["authorization_endpoint"],
            client_id=self._provider.client_id,
            response_type="code",
            redirect_uri=self._address,
            scope=self._provider.scope,
            state=state,
            nonce=_part(secret, "nonce"),
            code_challenge=create_s256_code_challenge(_part(secret, "verifier")),
            code_challenge_method="S256",
            **anew,
        )
        response = self._pages.render("smart/continue.html", target=target)
        self._site.set_passing(response, _COOKIE, secret)
        return response

    def _back(self) -> Response:
        """Take the provider's answer. It goes on from a page of this site, or the session's cookie would not come."""
        taken = Response()
        secret = self._site.take_passing(taken, _COOKIE)
        document = self._site.signed.open(_PURPOSE, request.args.get("state", ""), self._site.clock())
        if not secret or document.get("cookie") != _part(secret, "state"):
            raise AccessDeniedError("page.ended")
        if not self._site.use_once(f"provider/{secret}", self._site.clock() + LOGIN_S):
            raise AccessDeniedError("page.ended")
        then = signed_request(str(document.get("then", "")))
        try:
            account, signed_in = self._signed_in(secret, self._since(then) if then else 0)
        except AccessDeniedError as error:
            self._site.deeds.refused(Deed(Kind.LOGIN), status_of(error))
            raise
        response = self._pages.render("smart/continue.html", target=after(then))
        for cookie in taken.headers.getlist("Set-Cookie"):
            response.headers.add("Set-Cookie", cookie)
        self._site.begin(response, account, UNDATED if signed_in is None else DATED, signed_in=signed_in)
        _LOG.info("sign_in.done", account=account.id, method="provider")
        return response

    def _signed_in(self, secret: str, since: int) -> tuple[Account, int | None]:
        """Tell whom the provider has signed in, and when, which must not be before; None where it does not say.

        Raises:
            AccessDeniedError: ``login.*``, ``session.account``.
        """
        # RFC 9207 §2.4: an answer of another provider is refused before its code goes anywhere.
        if request.args.get("iss", self._provider.issuer) != self._provider.issuer:
            raise AccessDeniedError("login.provider")
        code = request.args.get("code", "")
        if not code or len(code) > MAX_TOKEN_CHARS:
            raise AccessDeniedError("login.refused")
        claims = self._claims(code, secret)
        signed_in = self._time(claims.get("auth_time"))
        if since and (signed_in is None or signed_in < since - _SKEW_S):
            # §3.1.3.7, 13: it let somebody pass whom it knew from before.
            raise AccessDeniedError("login.not_anew")
        return self._account(claims), None if signed_in is None else max(signed_in, since)

    def _time(self, told: object) -> int | None:
        """Read when somebody signed in at the provider, by a clock that may differ; None for what is no such time."""
        now = self._site.clock()
        if isinstance(told, bool) or not isinstance(told, int | float):
            return None
        return min(int(told), now) if 0 < told <= now + _SKEW_S else None

    def _claims(self, code: str, secret: str) -> Mapping[str, Any]:
        """Turn a code into who it is about; raises `AccessDeniedError` ``login.refused``."""
        described = self._described()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._address,
            "client_id": self._provider.client_id,
            "code_verifier": _part(secret, "verifier"),
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self._assertion(described["token_endpoint"]),
        }
        answer = self._fetcher.json(described["token_endpoint"], urlencode(form).encode("ascii"), _FORM)
        token = answer.get("id_token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or len(token) > 2 * MAX_TOKEN_CHARS:
            raise AccessDeniedError("login.refused")
        keys = self._keys.keys(described["jwks_uri"], None)
        try:
            decoded = jwt.decode(
                token, KeySet.import_key_set({"keys": [dict(key) for key in keys]}), algorithms=list(ALGORITHMS)
            )
            self._check(dict(decoded.claims), decoded.header, _part(secret, "nonce"), answer.get("access_token"))
        except (JoseError, AuthlibBaseError, ValueError, TypeError, KeyError) as error:
            # Its keys may have been replaced since; the next log-in asks anew.
            raise AccessDeniedError("login.refused") from error
        return decoded.claims

    def _check(self, claims: dict[str, Any], header: Mapping[str, Any], nonce: str, token: object) -> None:
        """Check what an id token says (OpenID Connect Core §3.1.3.7); raises `JoseError` or `ValueError`."""
        provider, now = self._provider, self._site.clock()
        options = {"iss": {"essential": True, "value": provider.issuer}}
        parameters = {"client_id": provider.client_id, "nonce": nonce, "access_token": token}
        CodeIDToken(claims, header, options, parameters).validate(now=now, leeway=_SKEW_S)
        audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        is_ours = provider.client_id in audience and all(isinstance(one, str) for one in audience)
        is_young = type(claims["iat"]) is int and now - _MAX_AGE_S <= claims["iat"] <= now + _SKEW_S
        subject = claims["sub"]
        if not (is_ours and is_young and isinstance(subject, str) and 0 < len(subject) <= _MAX_CLAIM_CHARS):
            raise ValueError

    def _account(self, claims: Mapping[str, Any]) -> Account:
        """Find or make the account of who signed in, with the role that the provider gives."""
        provider, accounts = self._provider, self._site.accounts
        given = claims.get(provider.role_claim)
        values = given if isinstance(given, list) else [given]
        roles = {provider.roles[one] for one in values if isinstance(one, str) and one in provider.roles}
        if len(roles) != 1:
            # Roles are separated: who has two must say, at the provider, which one it is here.
            raise AccessDeniedError("login.role")
        (role,) = roles
        identity = hashlib.sha256(f"{provider.issuer}\n{claims['sub']}".encode()).digest()
        name = claims.get(provider.name_claim)
        display = name if isinstance(name, str) and name.isprintable() else "—"
        person = claims.get(provider.user_claim)
        reference = _reference(person) if isinstance(person, str) else ""
        found = accounts.account_of(identity) or self._made(identity, role)
        if found.disabled is not None:
            raise AccessDeniedError("session.account")
        shown = display[:_MAX_DISPLAY]
        if (found.display, found.role, found.fhir_user) != (shown, role, reference):
            with self._site.deeds.doing(by(found, Kind.ACCOUNT, subject=found.id)):
                accounts.change_account(found.id, display=shown, role=role, fhir_user=reference)
        return accounts.account(found.id) or found

    def _made(self, identity: bytes, role: Role) -> Account:
        """Make an account for somebody who comes for the first time, in this process or another."""
        accounts, now = self._site.accounts, self._site.clock()
        account = Account(secrets.token_hex(16), f"idp-{identity.hex()[:16]}", "—", role, "", identity, None, now)
        try:
            with self._site.deeds.doing(by(account, Kind.ACCOUNT, subject=account.id)):
                accounts.put_account(account)
        except ConflictError:
            found = accounts.account_of(identity)
            if found is None:
                raise
            return found
        return account

    def _described(self) -> Mapping[str, str]:
        """Give what the provider says of itself, fetched every `KEEP_S` seconds.

        Anybody can begin to sign in as often as he likes; the provider must not be asked as often.
        """
        now, held = self._site.clock(), self._kept
        if held is None or not 0 <= now - held[0] < KEEP_S:
            held = self._kept = (now, self._fetched())
        return held[1]

    def _fetched(self) -> Mapping[str, str]:
        """Fetch what the provider says of itself; it must be the one that was meant (Discovery §4.3)."""
        try:
            document = self._fetcher.json(self._provider.issuer.rstrip("/") + _WELL_KNOWN)
        except MedchainError as error:
            raise AccessDeniedError("login.unreachable") from error
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if not isinstance(document, dict) or document.get("issuer") != self._provider.issuer:
            raise AccessDeniedError("login.provider")
        found = {name: document.get(name) for name in names}
        for url in found.values():
            self._fetcher.check_url(url if isinstance(url, str) else "")
        return {name: str(url) for name, url in found.items()}

    def _assertion(self, audience: str) -> str:
        """Show the provider who this node is (its keys are at `/auth/jwks.json`)."""
        now, key, me = self._site.clock(), self._parts.keys.newest(ACCESS), self._provider.client_id
        claims = {"aud": audience, "exp": now + 60, "iat": now, "iss": me, "jti": secrets.token_hex(16), "sub": me}
        return jwt.encode({"alg": ACCESS, "kid": key.kid, "typ": "JWT"}, claims, key.key, algorithms=[ACCESS])

    @property
    def _address(self) -> str:
        """Where the provider sends people back to."""
        return self._site.origins[0] + CALLBACK


def _reference(person: str) -> str:
    """Take the last two parts of a resource's address; empty for what is none."""
    parts = person.split("/")[-2:]
    is_one = len(parts) == 2 and parts[0] in ("Person", "Practitioner", "PractitionerRole") and parts[1].isascii()  # noqa: PLR2004  # type and id
    return "/".join(parts) if is_one and len(parts[1]) <= 64 and parts[1].replace("-", "").isalnum() else ""  # noqa: PLR2004  # FHIR id


def _part(secret: str, use: str) -> str:
    """Derive what goes to the provider from what stays in the browser's cookie."""
    return hashlib.sha256(f"medchain/provider/v1 {use}\n{secret}".encode()).hexdigest()
