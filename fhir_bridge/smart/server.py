"""Access tokens: given to backend services that sign an assertion with their own key, and checked on every request.

Keeps true: only ES384, chosen by us and not by the token's header; a client assertion counts once, for this node's
token address only, and for five minutes at most; an access token is short-lived, of its own type (RFC 9068), signed by
and addressed to this node alone, so that no other token under the node's key passes for one. Every doubt is a refusal,
and all refusals of a client look alike. Trusts joserfc for the JWS and the store for single use over all processes.
Source: SMART App Launch 2.2 (Backend Services), RFC 6749 §4.4, RFC 7523, RFC 9068.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import orjson
from flask import Blueprint, Response, request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from fhir_bridge.smart.access import Access
from fhir_bridge.smart.clients import Client
from fhir_bridge.smart.scopes import Context, Scope, covers, parse_scopes, scopes_text
from medchain.crypto.es384 import Es384Signer, public_jwk
from medchain.encoding import Json, canonical
from medchain.errors import AccessDeniedError, InputError
from medchain.node.clock import Clock
from medchain.web.routing import Caller, callers

TOKEN_SECONDS: Final = 300
"""How long an access token lives, in seconds (SMART: at most five minutes)."""

MAX_TOKEN_SECONDS: Final = 3600
"""Longest life of a token that an operator issues by hand."""

MAX_ASSERTION_SECONDS: Final = 300
"""How far ahead an assertion's end may lie."""

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
"""The only way in which a client shows who it is."""

_ALGORITHM: Final = "ES384"
_ACCESS_TYPE: Final = "at+jwt"
_SKEW_S: Final = 10
_MAX_TOKEN_CHARS: Final = 8192
_MAX_ID_CHARS: Final = 256
_MAX_FORM_BYTES: Final = 16 * 1024


class TokenServer:
    """Gives and checks the access tokens of one node."""

    __slots__ = ("_audience", "_clients", "_clock", "_key", "_node", "_public", "_use_once")

    def __init__(
        self,
        *,
        node: str,
        signer: Es384Signer,
        audience: Collection[str],
        clients: Callable[[], Mapping[str, Client]],
        use_once: Callable[[str, int], bool],
        clock: Clock,
    ) -> None:
        """Prepare.

        Args:
            node: org_id; issuer and audience of access tokens.
            signer: the node's authentication key.
            audience: addresses of the token endpoint that an assertion may name.
            clients: reads who is registered.
            use_once: tells whether an id is new, and remembers it until a time (Unix seconds).
            clock: gives Unix seconds.
        """
        self._node = node
        self._key = ECKey.import_key(dict(signer.private_jwk()))
        self._public = ECKey.import_key(dict(public_jwk(signer.public)))
        self._audience = frozenset(audience)
        self._clients = clients
        self._use_once = use_once
        self._clock = clock

    def issue(self, client: str, scopes: Collection[Scope], lifetime_s: int = TOKEN_SECONDS) -> str:
        """Sign an access token; raises `InputError` ``token.lifetime`` for one of more than `MAX_TOKEN_SECONDS`."""
        if not 0 < lifetime_s <= MAX_TOKEN_SECONDS:
            raise InputError("token.lifetime", limit=MAX_TOKEN_SECONDS)
        now = self._clock()
        claims = {
            "aud": self._node,
            "client_id": client,
            "exp": now + lifetime_s,
            "iat": now,
            "iss": self._node,
            "jti": secrets.token_hex(16),
            "scope": scopes_text(scopes),
            "sub": client,
        }
        return jwt.encode({"alg": _ALGORITHM, "typ": _ACCESS_TYPE}, claims, self._key, algorithms=[_ALGORITHM])

    def check(self, token: str) -> Access:
        """Check an access token.

        Args:
            token: compact JWS.

        Returns:
            Who it was given to, and for what.

        Raises:
            AccessDeniedError: ``token.invalid``, whatever is wrong with it.
        """
        header, claims = _decoded(token, self._public, "token.invalid")
        now = self._clock()
        ends, begins = claims.get("exp"), claims.get("iat")
        client, scope = claims.get("sub"), claims.get("scope")
        if (
            header.get("typ") != _ACCESS_TYPE
            or claims.get("iss") != self._node
            or claims.get("aud") != self._node
            or type(ends) is not int
            or type(begins) is not int
            or not begins - _SKEW_S <= now < ends <= begins + MAX_TOKEN_SECONDS
            or type(client) is not str
            or type(scope) is not str
        ):
            raise AccessDeniedError("token.invalid")
        try:
            return Access(client, parse_scopes(scope))
        except InputError as error:
            raise AccessDeniedError("token.invalid") from error

    def grant(self, form: Mapping[str, str]) -> tuple[str, tuple[Scope, ...]]:
        """Answer a request for a token.

        Args:
            form: the members of the request.

        Returns:
            The token, and what it allows.

        Raises:
            InputError: ``token.grant`` for another grant, ``scope.malformed``.
            AccessDeniedError: ``token.client`` for a client that cannot show who it is, ``token.scope`` for more than
                it may ask for.
            UnavailableError: the assertion could not be marked as used.
        """
        if form.get("grant_type") != "client_credentials":
            raise InputError("token.grant")
        client = self._client(form)
        asked = parse_scopes(form.get("scope", ""))
        if not all(scope.context is Context.SYSTEM and covers(client.scopes, scope) for scope in asked):
            raise AccessDeniedError("token.scope")
        return self.issue(client.id, asked), asked

    def _client(self, form: Mapping[str, str]) -> Client:
        """Find out who signed an assertion; it counts once."""
        assertion = form.get("client_assertion", "")
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise AccessDeniedError("token.client")
        client = self._clients().get(_unverified_issuer(assertion))
        if client is None:
            raise AccessDeniedError("token.client")
        _, claims = _decoded(
            assertion, ECKey.import_key({name: str(value) for name, value in client.jwk.items()}), "token.client"
        )
        ends, unique, now = claims.get("exp"), claims.get("jti"), self._clock()
        audience = claims.get("aud")
        named = audience if isinstance(audience, list) else [audience]
        if (
            claims.get("iss") != client.id
            or claims.get("sub") != client.id
            or not all(isinstance(item, str) for item in named)
            or self._audience.isdisjoint(named)
            or type(ends) is not int
            or not now < ends <= now + MAX_ASSERTION_SECONDS + _SKEW_S
            or type(unique) is not str
            or not 0 < len(unique) <= _MAX_ID_CHARS
            or not _has_begun(claims, now)
        ):
            raise AccessDeniedError("token.client")
        # Last, so that nobody can use up an id without the client's key.
        if not self._use_once(f"client/{client.id}/{unique}", ends):
            raise AccessDeniedError("token.client")
        return client


def token_blueprint(server: TokenServer, audience: str) -> Blueprint:
    """Make `/token` and `/.well-known/smart-configuration`.

    Args:
        server: gives the tokens.
        audience: this node's token address, as clients are told.

    Returns:
        The blueprint.
    """
    blueprint = Blueprint("token", __name__)

    @blueprint.post("/token")
    @callers(Caller.PUBLIC)
    def token() -> Response:
        if request.mimetype != "application/x-www-form-urlencoded" or (request.content_length or 0) > _MAX_FORM_BYTES:
            return _refusal("invalid_request", 400)
        form = request.form
        if any(len(form.getlist(name)) > 1 for name in form):
            return _refusal("invalid_request", 400)
        try:
            made, scopes = server.grant(form)
        except AccessDeniedError as error:
            is_client = error.code == "token.client"
            return _refusal("invalid_client" if is_client else "invalid_scope", 401 if is_client else 400)
        except InputError as error:
            return _refusal("unsupported_grant_type" if error.code == "token.grant" else "invalid_scope", 400)
        document: Json = {
            "access_token": made,
            "expires_in": TOKEN_SECONDS,
            "scope": scopes_text(scopes),
            "token_type": "bearer",
        }
        return _answer(document, 200)

    @blueprint.get("/.well-known/smart-configuration")
    @blueprint.get("/fhir/.well-known/smart-configuration")
    @callers(Caller.PUBLIC)
    def configuration() -> Response:
        document: Json = {
            "capabilities": ["client-confidential-asymmetric", "permission-v2"],
            "grant_types_supported": ["client_credentials"],
            "scopes_supported": ["system/*.cru"],
            "token_endpoint": audience,
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": [_ALGORITHM],
        }
        return _answer(document, 200)

    return blueprint


def _answer(document: Json, status: int) -> Response:
    """Answer a document that nobody may keep (RFC 6749 §5.1)."""
    headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
    return Response(canonical(document), status, headers, content_type="application/json")


def _refusal(code: str, status: int) -> Response:
    """Answer an error of RFC 6749 §5.2."""
    return _answer({"error": code}, status)


def _decoded(token: str, key: ECKey, code: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Verify a JWS under one key; `Any` because a token may hold anything."""
    if len(token) > _MAX_TOKEN_CHARS:
        raise AccessDeniedError(code)
    try:
        decoded = jwt.decode(token, key, algorithms=[_ALGORITHM])
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise AccessDeniedError(code) from error
    return decoded.header, decoded.claims


def _unverified_issuer(assertion: str) -> str:
    """Read who an assertion says it is from, only to choose the key under which it is verified."""
    if len(assertion) > _MAX_TOKEN_CHARS:
        return ""
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(assertion.split(".")[1] + "=="))
    except (ValueError, IndexError):
        return ""
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else ""


def _has_begun(claims: Mapping[str, Any], now: int) -> bool:
    """Judge the optional claims about an assertion's beginning."""
    times = [claims[name] for name in ("iat", "nbf") if name in claims]
    return all(type(time) is int and time <= now + _SKEW_S for time in times)
