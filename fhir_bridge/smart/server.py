"""Access tokens: signed statements of this node, for itself, short-lived, and checked on every request.

Keeps true: only ES384 under a key of this node, of its own type (RFC 9068), so that no other token passes for one; a
token counts only while what it came of does: the person's authorisation, the client's registration, the member's
standing, each looked at anew every second. Every doubt is a refusal. Trusts joserfc for the JWS, the store for what
counts.
Source: RFC 9068, RFC 8725, SMART App Launch 2.2; `docs/spec/smart.md`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from joserfc import jwt
from joserfc.errors import JoseError

from fhir_bridge.smart.access import Access
from fhir_bridge.smart.assertions import MAX_TOKEN_CHARS, SKEW_S
from fhir_bridge.smart.authorisation import parse_authorisation
from fhir_bridge.smart.clients import LOOK_AGAIN_S, ClientBook
from fhir_bridge.smart.keys import ACCESS, SigningKeys
from fhir_bridge.smart.proofs import ProofCheck, Shown
from fhir_bridge.smart.scopes import Asked, Scope, Special, covers, parse_granted
from medchain.errors import AccessDeniedError, InputError
from medchain.node.clock import Clock
from medchain.store.accounts import AccountStore

TOKEN_SECONDS: Final = 300
"""How long an access token lives, in seconds (SMART: at most five minutes)."""

MAX_TOKEN_SECONDS: Final = 3600
"""Longest life of a token that an operator issues by hand."""

_ACCESS_TYPE: Final = "at+jwt"
_MAX_KNOWN: Final = 4096


@dataclass(frozen=True, slots=True)
class Issued:
    """An access token that was verified.

    Attributes:
        access: who it was given to, and for what.
        special: scopes without resources that it was given with.
        id: its own id.
        begins: when it was issued, Unix seconds.
        ends: when it ends.
        is_registered: whether it counts only while its client is registered; one from the operator's hand counts by
            itself.
        key: thumbprint of the key that it is bound to; empty for none.
    """

    access: Access
    special: frozenset[Special]
    id: str
    begins: int
    ends: int
    is_registered: bool
    key: str = ""

    @property
    def text(self) -> str:
        """All its scopes, as the answer said them that it came with."""
        return str(Asked(self.access.scopes, self.special))


class TokenServer:
    """Gives and checks the access tokens of one node. Threads may share it."""

    __slots__ = ("_accounts", "_clients", "_clock", "_keys", "_known", "_member_counts", "_node", "_proofs")

    def __init__(
        self,
        *,
        node: str,
        accounts: AccountStore,
        keys: SigningKeys,
        clients: ClientBook,
        member_counts: Callable[[str], bool],
        proofs: ProofCheck,
        clock: Clock,
    ) -> None:
        """Prepare.

        Args:
            node: org_id; issuer and audience of access tokens.
            accounts: tells which authorisations count.
            keys: sign the tokens.
            clients: who is registered.
            member_counts: tells whether an organisation is an active member of the ledger.
            proofs: tell whose key a request shows, for tokens that are bound to one.
            clock: gives Unix seconds.
        """
        self._node = node
        self._accounts = accounts
        self._keys = keys
        self._clients = clients
        self._member_counts = member_counts
        self._proofs = proofs
        self._clock = clock
        self._known: dict[bytes, tuple[float, Issued]] = {}

    def issue(
        self,
        client: str,
        scopes: Collection[Scope],
        lifetime_s: int = TOKEN_SECONDS,
        *,
        special: Collection[Special] = (),
        grant: str = "",
        registered: bool = False,
        key: str = "",
    ) -> str:
        """Sign an access token.

        Args:
            client: for whom.
            scopes: what it allows.
            lifetime_s: for how long.
            special: scopes without resources, which it tells and which allow nothing.
            grant: id of the authorisation that it comes of; empty for a client that acts for itself.
            registered: whether it ends with its client's registration.
            key: thumbprint of the key that it is bound to (RFC 9449 §6.1); empty for none.

        Returns:
            The token.

        Raises:
            InputError: ``token.lifetime`` for one of more than `MAX_TOKEN_SECONDS`.
        """
        if not 0 < lifetime_s <= MAX_TOKEN_SECONDS:
            raise InputError("token.lifetime", limit=MAX_TOKEN_SECONDS)
        now, signing = self._clock(), self._keys.newest(ACCESS)
        claims = {
            "aud": self._node,
            "client_id": client,
            "exp": now + lifetime_s,
            "iat": now,
            "iss": self._node,
            "jti": secrets.token_hex(16),
            "scope": str(Asked(tuple(scopes), frozenset(special))),
            "sub": client,
        }
        if grant:
            claims["grant"] = grant
        if registered:
            claims["registered"] = True
        if key:
            claims["cnf"] = {"jkt": key}
        header = {"alg": ACCESS, "kid": signing.kid, "typ": _ACCESS_TYPE}
        return jwt.encode(header, claims, signing.key, algorithms=[ACCESS])

    def check(self, token: str) -> Access:
        """Check an access token that is brought by itself.

        Args:
            token: compact JWS.

        Returns:
            Who it was given to, and for what.

        Raises:
            AccessDeniedError: ``token.invalid``, whatever is wrong with it; also for one that is bound to a key, which
                does not suffice by itself (RFC 9449 §7.2).
        """
        issued = self.inspect(token)
        if issued.key:
            raise AccessDeniedError("token.invalid")
        return issued.access

    def check_bound(self, token: str, shown: Shown) -> Access:
        """Check an access token that is brought with a proof of the key that it is bound to (RFC 9449 §7.1).

        Args:
            token: compact JWS.
            shown: the proof.

        Returns:
            As `check`.

        Raises:
            AccessDeniedError: ``token.invalid``, also for one that is bound to none; ``token.proof``.
            UnavailableError: as `ProofCheck.key`.
        """
        issued = self.inspect(token)
        if not issued.key:
            raise AccessDeniedError("token.invalid")
        if not hmac.compare_digest(self._proofs.key(shown, token), issued.key):
            raise AccessDeniedError("token.proof")
        return issued.access

    def shown_key(self, shown: Shown) -> str:
        """Tell whose key a request for a token shows; errors as `ProofCheck.key`."""
        return self._proofs.key(shown)

    def inspect(self, token: str) -> Issued:
        """Check an access token, whoever has it, and tell all of it; errors as in `check`."""
        name, now = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest(), time.monotonic()
        held = self._known.get(name)
        if held is None:
            looked, issued = -LOOK_AGAIN_S, self._verified(token)
        else:
            looked, issued = held
        if not issued.begins - SKEW_S <= self._clock() < issued.ends:
            raise AccessDeniedError("token.invalid")
        if now - looked >= LOOK_AGAIN_S:
            if not self._counts(issued):
                self._known.pop(name, None)
                raise AccessDeniedError("token.invalid")
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[name] = (now, issued)
        return issued

    def revoke(self, issued: Issued) -> None:
        """Let a token count no more, and with it the authorisation that it came of (RFC 7009 §2.1)."""
        now = self._clock()
        if issued.access.grant:
            self._accounts.revoke_grant(issued.access.grant, now)
        else:
            self._accounts.revoke_token(issued.id, issued.ends, now)
        self.forget()

    def forget(self) -> None:
        """Look at every token anew: something was revoked here."""
        self._known.clear()

    def _counts(self, issued: Issued) -> bool:
        """Tell whether what a token came of still counts."""
        access = issued.access
        client = self._clients.find(access.client, fresh=False)
        if client is not None and client.is_bound and not issued.key:
            # It was given before the client had to bind its tokens, by whomever.
            return False
        if access.grant:
            if not self._accounts.grant_counts(access.grant, self._clock()):
                return False
        elif self._accounts.is_revoked(issued.id):
            return False
        elif not issued.is_registered:
            return True
        if client is None or (client.member and not self._member_counts(client.member)):
            return False
        return all(covers(client.scopes, scope) for scope in access.scopes)

    def _verified(self, token: str) -> Issued:
        """Verify what a token says."""
        kid = _kid_of(token)
        key = None if kid is None else self._keys.find(ACCESS, kid)
        if key is None:
            raise AccessDeniedError("token.invalid")
        try:
            decoded = jwt.decode(token, key.key, algorithms=[ACCESS])
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise AccessDeniedError("token.invalid") from error
        claims: Mapping[str, Any] = decoded.claims
        begins, ends = claims.get("iat"), claims.get("exp")
        texts = [claims.get(name) for name in ("sub", "scope", "jti")]
        if (
            decoded.header.get("typ") != _ACCESS_TYPE
            or claims.get("iss") != self._node
            or claims.get("aud") != self._node
            or type(ends) is not int
            or type(begins) is not int
            or ends > begins + MAX_TOKEN_SECONDS
            or not all(type(text) is str for text in texts)
        ):
            raise AccessDeniedError("token.invalid")
        client, scope, unique = map(str, texts)
        try:
            granted = parse_granted(scope)
        except InputError as error:
            raise AccessDeniedError("token.invalid") from error
        access = self._access(client, granted.resources, str(claims.get("grant", "")))
        is_registered, bound_to = claims.get("registered") is True, str(claims.get("cnf", {}).get("jkt", ""))
        return Issued(access, granted.special, unique, begins, ends, is_registered, bound_to)

    def _access(self, client: str, scopes: tuple[Scope, ...], grant_id: str) -> Access:
        """Put together who calls."""
        try:
            registered = self._clients.find(client, fresh=False)
            member = "" if registered is None or registered.member == self._node else registered.member
            if not grant_id:
                return Access(client, scopes, member=member)
            grant = self._accounts.grant(grant_id)
            if grant is None or grant.client != client:
                raise AccessDeniedError("token.invalid")
            found = parse_authorisation(grant.document)
        except InputError as error:
            raise AccessDeniedError("token.invalid") from error
        return Access(client, scopes, found.user, found.role, found.patient, found.encounter, grant_id, member)


def _kid_of(token: str) -> str | None:
    """Read which key a token says it was signed with, only to choose the key under which it is verified."""
    if len(token) > MAX_TOKEN_CHARS:
        return None
    try:
        header = orjson.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))
    except ValueError:
        return None
    kid = header.get("kid") if isinstance(header, dict) else None
    return kid if isinstance(kid, str) else None
