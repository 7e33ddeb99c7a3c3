"""DPoP: that who asks for a token, or brings one, has the key that it is bound to.

A client that wants this draws a key, and signs with it each request that it makes: method, address, token. A token that
was asked for so is bound to that key, and is of no use to who has the token alone. Keeps true: a proof counts once over
all processes, for one request to this node, and for a minute; its key is public, and of the kind of its algorithm; all
refusals look alike. Trusts joserfc for the JWS, and the store for single use.
Source: RFC 9449 §4 (proofs), §7 (protected resources); RFC 7638 (thumbprints); RFC 8725.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from fhir_bridge.smart.assertions import SKEW_S
from medchain.errors import AccessDeniedError
from medchain.node.clock import Clock

SCHEME: Final = "DPoP"
"""Of the Authorization header, and type of a token that is bound; its header field has the same name."""

ALGORITHMS: Final[Mapping[str, str]] = {"ES256": "P-256", "ES384": "P-384"}
"""How a proof may be signed → curve of its key."""

PROOF_S: Final = 60
"""How long a proof counts, in seconds."""

_TYPE: Final = "dpop+jwt"
_MAX_CHARS: Final = 4_096
_MAX_ID_CHARS: Final = 256
_PUBLIC: Final = ("crv", "kty", "x", "y")
_PORTS: Final = {"http": ":80", "https": ":443"}


class Shown(NamedTuple):
    """A proof as a request shows it.

    Attributes:
        proof: compact JWS; empty for none.
        method: of the request.
        path: of its address, from the origin on.
    """

    proof: str
    method: str
    path: str


class ProofCheck:
    """Tells which key a proof is of. Threads may share it."""

    __slots__ = ("_clock", "_origins", "_use_once")

    def __init__(
        self, origins: Callable[[], Collection[str]], use_once: Callable[[str, int], bool], clock: Clock
    ) -> None:
        """Prepare.

        Args:
            origins: gives the origins of this node now.
            use_once: tells whether an id is new, and remembers it until a time (Unix seconds).
            clock: gives Unix seconds.
        """
        self._origins = origins
        self._use_once = use_once
        self._clock = clock

    def key(self, shown: Shown, token: str = "") -> str:
        """Check a proof; it counts once.

        Args:
            shown: the proof, and the request that it came with.
            token: access token that came with it; empty for none.

        Returns:
            Thumbprint of its key: SHA-256 (RFC 7638) in base64url.

        Raises:
            AccessDeniedError: ``token.proof``, whatever is wrong.
            UnavailableError: the proof could not be marked as used.
        """
        key, algorithm = _key_of(shown.proof)
        try:
            claims: Mapping[str, Any] = jwt.decode(shown.proof, key, algorithms=[algorithm]).claims
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise AccessDeniedError("token.proof") from error
        made, unique, now = claims.get("iat"), claims.get("jti"), self._clock()
        if (
            claims.get("htm") != shown.method
            or _plain(claims.get("htu")) not in {_plain(origin + shown.path) for origin in self._origins()}
            or (token and claims.get("ath") != _hash(token))
            or type(made) is not int
            or not now - PROOF_S <= made <= now + SKEW_S
            or type(unique) is not str
            or not 0 < len(unique) <= _MAX_ID_CHARS
        ):
            raise AccessDeniedError("token.proof")
        thumbprint = key.thumbprint()
        # Last, so that nobody without the key can use up an id.
        if not self._use_once(f"proof/{thumbprint}/{unique}", made + PROOF_S + 1):
            raise AccessDeniedError("token.proof")
        return thumbprint


def _key_of(proof: str) -> tuple[ECKey, str]:
    """Take the key that a proof brings, and the one algorithm that it is for."""
    try:
        if len(proof) > _MAX_CHARS:
            raise AccessDeniedError("token.proof")
        header = orjson.loads(base64.urlsafe_b64decode(proof.partition(".")[0] + "=="))
        jwk, algorithm = header["jwk"], str(header["alg"])
        is_right = header["typ"] == _TYPE and jwk["kty"] == "EC" and jwk["crv"] == ALGORITHMS[algorithm]
        if not is_right or "d" in jwk:
            raise AccessDeniedError("token.proof")
        return ECKey.import_key({name: str(jwk[name]) for name in _PUBLIC}), algorithm
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise AccessDeniedError("token.proof") from error


def _plain(url: object) -> str:
    """Write an address in one form, without its query (RFC 9449 §4.3; RFC 3986 §6.2.2, §6.2.3); empty for none."""
    if not isinstance(url, str):
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    host = parts.netloc.lower().removesuffix(_PORTS.get(parts.scheme, ":"))
    return f"{parts.scheme}://{host}{unquote(parts.path).rstrip('/')}"


def _hash(token: str) -> str:
    """Compute what a proof says of the token that it comes with (`ath`)."""
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
