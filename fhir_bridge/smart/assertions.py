"""How a client with a key shows who it is: an assertion that it signed, for one request.

Keeps true: only ES384 and RS384, chosen by the registered key and not by what the assertion says of itself; an
assertion counts once over all processes, for this node's token address only, and for five minutes at most; a member's
keys are those that the ledger lists at this moment, so that a suspended one has none. All refusals look alike. Trusts
joserfc for the JWS and the store for single use.
Source: SMART App Launch 2.2 (asymmetric client authentication), RFC 7523 §3, RFC 8725.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from fhir_bridge.smart.clients import Client, check_jwk
from medchain.encoding import Json
from medchain.errors import AccessDeniedError, InputError
from medchain.node.clock import Clock

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
"""What an assertion is called in a request."""

ALGORITHMS: Final = ("ES384", "RS384")
"""How it may be signed."""

MAX_ASSERTION_SECONDS: Final = 300
"""How far ahead an assertion's end may lie."""

MAX_TOKEN_CHARS: Final = 8192
"""Longest token or assertion that is looked at."""

SKEW_S: Final = 10
"""How far ahead of ours another clock may be."""

_MAX_ID_CHARS: Final = 256


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """Where the keys of clients come from.

    Attributes:
        of_member: org_id → the keys that the ledger lists for it now; none for one that is not active.
        at: (address, key id) → the keys that are there.
    """

    of_member: Callable[[str], Sequence[Mapping[str, Json]]]
    at: Callable[[str, str | None], Sequence[Mapping[str, Any]]]

    def of(self, client: Client, kid: str | None) -> list[Mapping[str, Json]]:
        """Return the public keys under which a client may have signed."""
        if client.member:
            found: Sequence[Mapping[str, Any]] = self.of_member(client.member)
        elif client.jwks_uri:
            found = self.at(client.jwks_uri, kid)
        else:
            found = client.jwks
        named = [jwk for jwk in found if kid is None or jwk.get("kid") in (None, kid)]
        return [jwk for jwk in map(_checked, named) if jwk is not None]


class AssertionCheck:
    """Tells which client signed an assertion."""

    __slots__ = ("_audience", "_clock", "_keys", "_use_once")

    def __init__(
        self,
        audience: Callable[[], Collection[str]],
        keys: ClientKeys,
        use_once: Callable[[str, int], bool],
        clock: Clock,
    ) -> None:
        """Prepare.

        Args:
            audience: gives the addresses of this node that an assertion may name now.
            keys: of the clients.
            use_once: tells whether an id is new, and remembers it until a time (Unix seconds).
            clock: gives Unix seconds.
        """
        self._audience = audience
        self._keys = keys
        self._use_once = use_once
        self._clock = clock

    def client(self, assertion: str, find: Callable[[str], Client | None]) -> Client:
        """Find out who signed an assertion; it counts once.

        Args:
            assertion: compact JWS.
            find: finds a client by its id.

        Returns:
            The client.

        Raises:
            AccessDeniedError: ``token.client``, whatever is wrong.
            UnavailableError: the assertion could not be marked as used.
        """
        header, unverified = _unverified(assertion)
        issuer, kid = unverified.get("iss"), header.get("kid")
        client = find(issuer) if isinstance(issuer, str) else None
        if client is None or client.is_public or not isinstance(kid, str | None):
            raise AccessDeniedError("token.client")
        claims = self._verified(assertion, self._keys.of(client, kid))
        ends, unique, now = claims.get("exp"), claims.get("jti"), self._clock()
        audience = claims.get("aud")
        named = audience if isinstance(audience, list) else [audience]
        if (
            claims.get("iss") != client.id
            or claims.get("sub") != client.id
            or not all(isinstance(item, str) for item in named)
            or frozenset(self._audience()).isdisjoint(named)
            or type(ends) is not int
            or not now < ends <= now + MAX_ASSERTION_SECONDS + SKEW_S
            or type(unique) is not str
            or not 0 < len(unique) <= _MAX_ID_CHARS
            or not _has_begun(claims, now)
        ):
            raise AccessDeniedError("token.client")
        # Last, so that nobody can use up an id without the client's key.
        if not self._use_once(f"client/{client.id}/{unique}", ends):
            raise AccessDeniedError("token.client")
        return client

    def _verified(self, assertion: str, keys: Sequence[Mapping[str, Json]]) -> dict[str, Any]:
        """Verify the signature under one of some keys, each with the one algorithm that it is for."""
        for jwk in keys:
            material: dict[str, str | list[str]] = {name: str(value) for name, value in jwk.items() if name != "kid"}
            key, algorithm = (ECKey, "ES384") if jwk["kty"] == "EC" else (RSAKey, "RS384")
            try:
                return dict(jwt.decode(assertion, key.import_key(material), algorithms=[algorithm]).claims)
            except (JoseError, ValueError, TypeError, KeyError, RecursionError):
                continue
        raise AccessDeniedError("token.client")


def issuer_of(assertion: str) -> str:
    """Read who an assertion says it is of, which nobody has verified; empty for what cannot be read."""
    try:
        issuer = _unverified(assertion)[1].get("iss")
    except AccessDeniedError:
        return ""
    return issuer if isinstance(issuer, str) else ""


def _checked(jwk: Mapping[str, Any]) -> Mapping[str, Json] | None:
    """Leave out a key that we would not register; others publish such, too."""
    try:
        return check_jwk(dict(jwk))
    except InputError:
        return None


def _unverified(assertion: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Read what an assertion says of itself, only to choose the keys under which it is verified."""
    if len(assertion) > MAX_TOKEN_CHARS:
        raise AccessDeniedError("token.client")
    try:
        parts = [orjson.loads(base64.urlsafe_b64decode(part + "==")) for part in assertion.split(".")[:2]]
    except ValueError as error:
        raise AccessDeniedError("token.client") from error
    if len(parts) != 2 or not all(isinstance(part, dict) for part in parts):  # noqa: PLR2004  # header and claims
        raise AccessDeniedError("token.client")
    return parts[0], parts[1]


def _has_begun(claims: Mapping[str, Any], now: int) -> bool:
    """Judge the optional claims about an assertion's beginning."""
    times = [claims[name] for name in ("iat", "nbf") if name in claims]
    return all(type(time) is int and time <= now + SKEW_S for time in times)
