"""Who is calling: node-to-node assertions, and their check. The one door to the JOSE library on this floor.

A caller signs, with its organisation's authentication key, a short-lived statement about exactly one request: method,
path with query, hash of the body, ledger and organisation called (private_key_jwt's form, RFC 7523, bound to the
request in the manner of RFC 9449). Keeps true: an assertion counts for one request, once, within a minute, and only
while the ledger lists its key for an organisation that may call this; whatever else it says is refused, and nothing of
it is looked at before its size; all but the body's hash is checked before a body is read. Trusts the members snapshot,
the clock within `MAX_SKEW_S`, and OpenSSL through joserfc.
Source: RFC 7515, RFC 7518 §3.4, RFC 7523 §3, `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Final, Protocol

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from medchain.crypto.es384 import ES384, Es384Signer, public_jwk
from medchain.crypto.signing import key_id
from medchain.encoding import Json, as_number, canonical, digest, members, parse_canonical
from medchain.errors import AccessDeniedError, InputError
from medchain.node.clock import Clock
from medchain.node.directory import ANY, MEMBERS, Standing
from medchain.node.peer_session import OpenSessions, Session
from medchain.store.secret import KEPT_ENDED_S

SCHEME: Final = "MedChain-Peer"
"""Scheme of the Authorization header; not Bearer, so that no token of SMART is ever taken for one of these."""

MAX_LIFETIME_S: Final = 60
"""Longest lifetime of an assertion."""

MAX_SKEW_S: Final = 30
"""How far ahead of ours a caller's clock may be."""

MAX_ASSERTION_BYTES: Final = 2048
"""Largest assertion that is looked at."""

_ALGORITHM: Final = "ES384"
_MINUTE_S: Final = 60
_ORDERING: Final = "/ordering/"
_TYPE: Final = "medchain-peer+jwt"
_JTI: Final = re.compile(r"[0-9a-f]{32}")
_CLAIMS: Final = {
    "aud": str,
    "body": str,
    "exp": int,
    "htm": str,
    "htu": str,
    "iat": int,
    "iss": str,
    "jti": str,
    "sub": str,
}


class Directory(Protocol):
    """The members of the ledger, as of now."""

    def authentication_key(self, org_id: str, name: str, allowed: Collection[Standing] = MEMBERS) -> bytes | None:
        """Find an organisation's key.

        Args:
            org_id: the organisation.
            name: key id.
            allowed: standings of which it has to have one; a member's where none are given.

        Returns:
            The public point, 97 bytes, if the organisation has one and the key is listed for authentication now.
        """
        ...


class SingleUse(Protocol):
    """Remembers what was used."""

    def use_once(self, jti: str, until: int) -> bool:
        """Use an id.

        Args:
            jti: the id.
            until: Unix seconds after which it may be forgotten.

        Returns:
            Whether this is its first use, in whatever process.
        """
        ...


@dataclass(frozen=True, slots=True)
class PeerRequest:
    """What an assertion is bound to.

    Attributes:
        method: upper case.
        target: path with its query string, as sent.
        body: all of it.
    """

    method: str
    target: str
    body: bytes


@dataclass(frozen=True, slots=True)
class PeerClaim:
    """An assertion that holds but for its body; from `PeerVerifier.begin`.

    Attributes:
        issuer: the caller.
        key_name: id of the key that signed.
        jti: id of the assertion, not used up yet.
        expires: Unix seconds.
        body_hash: hexadecimal, of the body that must follow.
        is_harmless: whether a repetition changes nothing.
        session: of which it is a call; None for an assertion.
        number: of the call in its session.
        allowed: standings of which the caller has to have one.
    """

    issuer: str
    key_name: str
    jti: str
    expires: int
    body_hash: str
    is_harmless: bool
    session: Session | None = None
    number: int = 0
    allowed: Collection[Standing] = MEMBERS


class PeerSigner:
    """Makes assertions for one organisation."""

    __slots__ = ("_clock", "_header", "_key", "_ledger_hex", "_org_id")

    def __init__(self, org_id: str, ledger: bytes, signer: Es384Signer, clock: Clock) -> None:
        """Prepare the key.

        Args:
            org_id: whose assertions.
            ledger: ledger id, 32 bytes.
            signer: its authentication key.
            clock: gives Unix seconds.
        """
        self._org_id = org_id
        self._ledger_hex = ledger.hex()
        self._key = ECKey.import_key(dict(signer.private_jwk()))
        self._header = {"alg": _ALGORITHM, "kid": key_id(ES384, signer.public), "typ": _TYPE}
        self._clock = clock

    def __repr__(self) -> str:
        """Name the key without showing it."""
        return f"PeerSigner(org_id={self._org_id}, key_id={self._header['kid']})"

    @property
    def key_name(self) -> str:
        """Id of the key."""
        return self._header["kid"]

    @property
    def org_id(self) -> str:
        """Whose assertions it makes."""
        return self._org_id

    @property
    def clock(self) -> Clock:
        """Gives Unix seconds."""
        return self._clock

    def audience(self, org_id: str) -> str:
        """Name another organisation of the ledger, as the claim ``aud`` does."""
        return audience_of(self._ledger_hex, org_id)

    def assertion(self, audience: str, request: PeerRequest) -> str:
        """Sign an assertion for one request.

        Args:
            audience: the organisation called.
            request: what it is bound to.

        Returns:
            JWS compact serialisation.
        """
        now = self._clock()
        claims: Json = {
            "aud": audience_of(self._ledger_hex, audience),
            "body": body_hash(request.body),
            "exp": now + MAX_LIFETIME_S,
            "htm": request.method,
            "htu": request.target,
            "iat": now,
            "iss": self._org_id,
            "jti": secrets.token_hex(16),
            "sub": self._org_id,
        }
        return jws.serialize_compact(dict(self._header), canonical(claims), self._key, [_ALGORITHM])


class PeerVerifier:
    """Checks assertions and codes sent to one organisation."""

    __slots__ = ("_audience", "_clock", "_directory", "_durable", "_sessions", "_used")

    def __init__(self, org_id: str, ledger: bytes, directory: Directory, durable: SingleUse, clock: Clock) -> None:
        """Say who is called.

        Args:
            org_id: the organisation called.
            ledger: ledger id, 32 bytes.
            directory: the members, asked anew for every request.
            durable: remembers used assertions across processes and restarts; those of reads and of ordering are
                remembered here only, since a repeated envelope or note changes nothing and a long poll is not worth a
                synced write.
            clock: gives Unix seconds.
        """
        self._audience = audience_of(ledger.hex(), org_id)
        self._directory = directory
        self._durable = durable
        self._used = MemorySingleUse(clock)
        self._sessions = OpenSessions(self._audience, clock)
        self._clock = clock

    def verify(self, assertion: str, request: PeerRequest) -> str:
        """Check an assertion and use it up.

        Args:
            assertion: JWS compact serialisation.
            request: the request that it came with.

        Returns:
            The org_id of the caller.

        Raises:
            AccessDeniedError: ``peer_auth.malformed`` (size, form, header, algorithm, claims), ``peer_auth.audience``,
                ``peer_auth.request`` (other method, path or body), ``peer_auth.time``, ``peer_auth.unknown`` (no active
                member with that key), ``peer_auth.signature``, ``peer_auth.replayed``.
        """
        return self.finish(self.begin(assertion, request.method, request.target), request.body)

    def begin(self, assertion: str, method: str, target: str, allowed: Collection[Standing] = MEMBERS) -> PeerClaim:
        """Check all of an assertion but the body's hash, before any of the body is read. Uses nothing up.

        Args:
            assertion: JWS compact serialisation.
            method: upper case.
            target: path with its query string, as sent.
            allowed: standings of which the caller has to have one.

        Returns:
            What `finish` needs.

        Raises:
            AccessDeniedError: see `verify`; not ``peer_auth.replayed``.
        """
        signed, key_name, claims = _parse(assertion)
        self._check_claims(claims, method, target)
        issuer = str(claims["iss"])
        if not _is_signed(signed, self._key(issuer, key_name, allowed)):
            raise AccessDeniedError("peer_auth.signature")
        is_harmless = method == "GET" or target.startswith(_ORDERING)
        expires = as_number(claims["exp"])
        return PeerClaim(
            issuer, key_name, str(claims["jti"]), expires, str(claims["body"]), is_harmless, allowed=allowed
        )

    def resume(self, credential: str, method: str, target: str, allowed: Collection[Standing] = MEMBERS) -> PeerClaim:
        """Do the same as `begin` for a call in a session.

        Args:
            credential: see `medchain.node.peer_session`.
            method: upper case.
            target: path with its query string, as sent.
            allowed: standings of which the caller has to have one.

        Returns:
            What `finish` needs.

        Raises:
            AccessDeniedError: ``peer_auth.malformed``, ``peer_auth.session`` (none, or not any more: open another),
                ``peer_auth.signature`` (a code of another request or key), ``peer_auth.time``, ``peer_auth.unknown``.
        """
        code = self._sessions.begin(credential, method, target)
        session, expires, now = code.session, code.time + MAX_LIFETIME_S, self._clock()
        self._check_listed(session, allowed)
        if code.time > now + MAX_SKEW_S or expires <= now:
            raise AccessDeniedError("peer_auth.time")
        return PeerClaim(
            session.issuer,
            session.key_name,
            session.id,
            expires,
            code.body_hash,
            is_harmless=True,
            session=session,
            number=code.number,
            allowed=allowed,
        )

    def open_session(self, issuer: str, key_name: str, document: bytes) -> bytes:
        """Open a session for a caller, see `OpenSessions.open`; raises ``peer_auth.unknown`` too."""
        return self._sessions.open(issuer, key_name, self._key(issuer, key_name, ANY), document)

    def finish(self, claim: PeerClaim, body: bytes) -> str:
        """Compare the body and use the assertion up.

        Args:
            claim: from `begin` or `resume`, for the same request.
            body: all of it.

        Returns:
            The org_id of the caller.

        Raises:
            AccessDeniedError: ``peer_auth.request`` (other body), ``peer_auth.replayed``; ``peer_auth.time``,
                ``peer_auth.unknown`` for what has ended while the body came.
        """
        if claim.body_hash != body_hash(body):
            raise AccessDeniedError("peer_auth.request")
        # A used id is forgotten once it has ended, so one that has ended meanwhile must not count.
        if claim.expires <= self._clock():
            raise AccessDeniedError("peer_auth.time")
        # Last, so that nobody can use up an id that is not his.
        if claim.session is not None:
            self._check_listed(claim.session, claim.allowed)
            is_first = claim.session.use(claim.number)
        else:
            self._key(claim.issuer, claim.key_name, claim.allowed)
            once = self._used if claim.is_harmless else self._durable
            is_first = once.use_once(f"peer:{claim.issuer}:{claim.jti}", claim.expires)
        if not is_first:
            raise AccessDeniedError("peer_auth.replayed")
        return claim.issuer

    def is_active(self, claim: PeerClaim) -> bool:
        """Tell whether the caller is a member, which it need not be where a route is open to others."""
        return self._directory.authentication_key(claim.issuer, claim.key_name, MEMBERS) is not None

    def _check_listed(self, session: Session, allowed: Collection[Standing]) -> None:
        """Refuse a session whose key the ledger lists no more, and end it; one of who may not call this goes on."""
        if self._directory.authentication_key(session.issuer, session.key_name, ANY) != session.public:
            self._sessions.forget(session.id)
            raise AccessDeniedError("peer_auth.unknown")
        self._key(session.issuer, session.key_name, allowed)

    def _key(self, issuer: str, name: str, allowed: Collection[Standing]) -> bytes:
        """Find the key that the ledger lists now, or refuse."""
        public = self._directory.authentication_key(issuer, name, allowed)
        if public is None:
            raise AccessDeniedError("peer_auth.unknown")
        return public

    def _check_claims(self, claims: dict[str, Json], method: str, target: str) -> None:
        """Check what the assertion says of itself against the request's head and the clock."""
        if claims["aud"] != self._audience:
            raise AccessDeniedError("peer_auth.audience")
        if (claims["htm"], claims["htu"]) != (method, target):
            raise AccessDeniedError("peer_auth.request")
        now, issued, expires = self._clock(), as_number(claims["iat"]), as_number(claims["exp"])
        lives = issued < expires <= issued + MAX_LIFETIME_S
        if not lives or issued > now + MAX_SKEW_S or expires <= now:
            raise AccessDeniedError("peer_auth.time")


class MemorySingleUse:
    """Remembers used ids in this process, by the minute in which they end.

    Of a minute that is over, it only remembers that something was used which ends in it: should the clock be set back
    into it, nothing counts that ends in it, whether it was used or not. So no clock that was fast for a moment, by no
    more than `KEPT_ENDED_S`, makes anything count twice.
    """

    __slots__ = ("_clock", "_lock", "_minute", "_used")

    def __init__(self, clock: Clock) -> None:
        """Start with nothing used.

        Args:
            clock: gives Unix seconds.
        """
        self._clock = clock
        self._lock = Lock()
        self._minute = 0
        # None for a minute of which the ids are forgotten.
        self._used: dict[int, set[str] | None] = {}

    def use_once(self, jti: str, until: int) -> bool:
        """Use an id, see `SingleUse`."""
        with self._lock:
            self._forget(self._clock() // _MINUTE_S)
            used = self._used.setdefault(until // _MINUTE_S, set())
            if used is None or jti in used:
                return False
            used.add(jti)
            return True

    def _forget(self, minute: int) -> None:
        """Forget the ids that ended before a minute, once a minute."""
        if minute == self._minute:
            return
        self._minute = minute
        oldest = minute - KEPT_ENDED_S // _MINUTE_S
        kept = ((ends, used) for ends, used in self._used.items() if ends >= oldest)
        self._used = {ends: used if ends >= minute else None for ends, used in kept}


def audience_of(ledger_hex: str, org_id: str) -> str:
    """Name the called organisation on its ledger, as the claim ``aud`` does."""
    return f"medchain:{ledger_hex}:{org_id}"


def body_hash(body: bytes) -> str:
    """Hash a body, as the claim ``body`` does; hexadecimal."""
    return digest("medchain/peer-body/v1", body).hex()


def _parse(assertion: str) -> tuple[jws.CompactSignature, str, dict[str, Json]]:
    """Take an assertion apart strictly; nothing of it is believed yet."""
    if len(assertion) > MAX_ASSERTION_BYTES or not assertion.isascii():
        raise AccessDeniedError("peer_auth.malformed")
    try:
        signed = jws.extract_compact(assertion.encode("ascii"))
        claims = members(parse_canonical(signed.payload or b"", max_bytes=MAX_ASSERTION_BYTES), _CLAIMS)
    except (JoseError, InputError, ValueError, TypeError, AttributeError):
        # TypeError, AttributeError: the library takes a header that is JSON, but no object, for one.
        raise AccessDeniedError("peer_auth.malformed") from None
    header = signed.headers()
    name = header.get("kid")
    if type(name) is not str or header != {"alg": _ALGORITHM, "kid": name, "typ": _TYPE}:
        raise AccessDeniedError("peer_auth.malformed")
    if claims["iss"] != claims["sub"] or not _JTI.fullmatch(str(claims["jti"])):
        raise AccessDeniedError("peer_auth.malformed")
    return signed, name, claims


def _is_signed(signed: jws.CompactSignature, public: bytes) -> bool:
    """Check the signature by the key that the ledger lists, whatever the header says."""
    try:
        return jws.validate_compact(signed, _key(public), [_ALGORITHM])
    except (JoseError, ValueError):
        return False


@lru_cache(maxsize=256)
def _key(public: bytes) -> ECKey:
    """Prepare a public point; the ledger says at each request which one counts."""
    return ECKey.import_key(dict(public_jwk(public)))
