"""The clients of a node: applications and systems that may ask for tokens, how each shows who it is, what it may do.

A client is public (it can keep no secret, and shows its code verifier), has keys of its own (listed here, or at an
address of its own), or is a member of the ledger, whose keys are the ledger's. Keeps true: no secret is in a
registration; an address of a client is matched to the letter. Trusts whoever registers clients for what they may do.
Source: SMART App Launch 2.2 (client types), RFC 6749 §2, RFC 7517, RFC 9449 §5.2, RFC 9700 §2.1, RFC 8252 §7.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from fhir_bridge.smart.scopes import Context, Scope, Special, parse_scopes, scopes_text
from medchain.encoding import Json, canonical, members, parse_canonical
from medchain.errors import InputError
from medchain.ledger.members import check_org_id
from medchain.store.accounts import AccountStore
from medchain.store.authorisations import ClientRow

MAX_REDIRECTS: Final = 16
"""Most addresses to which an application may be sent back."""

MAX_KEYS: Final = 8
"""Most keys of one client."""

LOOK_AGAIN_S: Final = 1.0
"""How old what a process knows of a client may be."""

_MAX_BYTES: Final = 64 * 1024
_MAX_CLIENTS: Final = 4096
_CLIENT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAX_NAME: Final = 128
_MAX_URL: Final = 512
_MIN_RSA_BITS: Final = 2048
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
# As RFC 9449 §5.2 names it.
_BOUND: Final = "dpop_bound_access_tokens"
_EC: Final = ("crv", "kty", "x", "y")
_RSA: Final = ("e", "kty", "n")


class Right(StrEnum):
    """What some clients may do beside asking for tokens."""

    LAUNCH = "launch"
    """Make the `launch` parameter of an EHR launch: the hospital's own record system."""
    INTROSPECT = "introspect"
    """Ask about tokens of others: a resource server of the hospital."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client; Authlib asks it through the methods with names of its own.

    Attributes:
        id: name by which it calls itself.
        scopes: the most that it may ask for.
        name: as shown to people.
        jwks: its public keys.
        jwks_uri: where its public keys are; empty for none.
        member: org_id of the member that it is; empty for none.
        redirects: addresses to which a person may be sent back; none for a system that acts for itself.
        launch_uri: where an EHR launch begins; empty for none.
        special: scopes without resources that it may ask for.
        rights: what else it may do.
        is_bound: whether it gets no token but such as are bound to a key of which it shows a proof (RFC 9449 §5.2).
    """

    id: str
    scopes: tuple[Scope, ...]
    name: str = ""
    jwks: tuple[Mapping[str, Json], ...] = ()
    jwks_uri: str = ""
    member: str = ""
    redirects: tuple[str, ...] = ()
    launch_uri: str = ""
    special: frozenset[Special] = field(default_factory=lambda: frozenset(Special))
    rights: frozenset[Right] = frozenset()
    is_bound: bool = False

    @property
    def is_public(self) -> bool:
        """Whether it has no key."""
        return not (self.jwks or self.jwks_uri or self.member)

    def get_client_id(self) -> str:
        """Name it."""
        return self.id

    def get_default_redirect_uri(self) -> None:
        """An address must be given each time (RFC 9700 §2.1)."""

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """Scopes are judged by `fhir_bridge.smart.offer`."""
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Match an address to the letter; only the port of a loopback address is free (RFC 8252 §7.3)."""
        return redirect_uri in self.redirects or any(_is_loopback_of(redirect_uri, one) for one in self.redirects)

    def check_client_secret(self, _client_secret: str) -> bool:
        """There are no shared secrets."""
        return False

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """A client with a key must show it, at every endpoint; one without may only ask for tokens and revoke them."""
        if method == "none":
            return self.is_public and endpoint in ("token", "revocation")
        return method == "private_key_jwt" and not self.is_public

    def check_response_type(self, response_type: str) -> bool:
        """Codes only, and only for who has somewhere to be sent back to."""
        return response_type == "code" and bool(self.redirects)

    def check_grant_type(self, grant_type: str) -> bool:
        """Tell which grants it may use."""
        if grant_type == "client_credentials":
            return not self.is_public and any(scope.context is Context.SYSTEM for scope in self.scopes)
        return grant_type in ("authorization_code", "refresh_token") and bool(self.redirects)


class ClientBook:
    """The registered clients, as of a second ago at most; one that was disabled is not there."""

    __slots__ = ("_accounts", "_kept", "_lock")

    def __init__(self, accounts: AccountStore) -> None:
        """Prepare; nothing is read yet."""
        self._accounts = accounts
        self._kept: dict[str, tuple[float, Client | None]] = {}
        self._lock = Lock()

    def find(self, client_id: str, *, fresh: bool = True) -> Client | None:
        """Return a client that may do something.

        Args:
            client_id: its id, as somebody says it.
            fresh: whether to look now; otherwise what was known a second ago is enough.
        """
        if _CLIENT_ID.fullmatch(client_id) is None:
            return None
        now = time.monotonic()
        with self._lock:
            held = self._kept.get(client_id)
        if not fresh and held is not None and now - held[0] < LOOK_AGAIN_S:
            return held[1]
        row = self._accounts.client(client_id)
        found = None if row is None or row.disabled is not None else parse_client(row)
        with self._lock:
            if len(self._kept) >= _MAX_CLIENTS:
                self._kept.clear()
            self._kept[client_id] = (now, found)
        return found


def check_client(client: Client) -> Client:
    """Check a registration.

    Raises:
        InputError: ``client.id``, ``client.name``, ``client.keys`` (of several kinds, or too many),
            ``client.redirect``, ``client.launch``, ``client.scopes`` (a public client cannot act for itself).
    """
    if _CLIENT_ID.fullmatch(client.id) is None:
        raise InputError("client.id")
    if len(client.name) > _MAX_NAME or not client.name.isprintable():
        raise InputError("client.name")
    if sum(map(bool, (client.jwks, client.jwks_uri, client.member))) > 1 or len(client.jwks) > MAX_KEYS:
        raise InputError("client.keys")
    if client.member:
        check_org_id(client.member)
    if len(client.redirects) > MAX_REDIRECTS or not all(map(_is_redirect, client.redirects)):
        raise InputError("client.redirect")
    if client.launch_uri and not _is_web(client.launch_uri):
        raise InputError("client.launch")
    is_system = any(scope.context is Context.SYSTEM for scope in client.scopes)
    if client.is_public and (is_system or client.rights or not client.redirects):
        raise InputError("client.scopes")
    return client


def make_client(client_id: str, jwk: Json, scopes: str) -> Client:
    """Make a system with one key; raises as `check_client` and `check_jwk`, ``scope.malformed``."""
    return check_client(Client(client_id, parse_scopes(scopes), jwks=(check_jwk(jwk),)))


def check_jwk(jwk: Json) -> dict[str, Json]:
    """Read a public key for ES384 or RS384; what it says beside the key and its id is left out.

    Raises:
        InputError: ``client.jwk`` for any other kind, one that is too short, or a private one.
    """
    if not isinstance(jwk, dict):
        raise InputError("client.jwk")
    names, kind = (_EC, ECKey) if jwk.get("kty") == "EC" else (_RSA, RSAKey)
    if any(name in jwk for name in ("d", "k", "p", "q")) or not all(isinstance(jwk.get(name), str) for name in names):
        raise InputError("client.jwk")
    kept: dict[str, Json] = {name: jwk[name] for name in names}
    # Before it is looked at further: the library would only warn.
    if kind is RSAKey and len(str(kept["n"])) * 6 < _MIN_RSA_BITS:
        raise InputError("client.jwk")
    try:
        key = kind.import_key({name: str(value) for name, value in kept.items()})
    except (JoseError, ValueError, KeyError) as error:
        raise InputError("client.jwk") from error
    is_weak = key.raw_value.key_size < _MIN_RSA_BITS if isinstance(key, RSAKey) else kept["crv"] != "P-384"
    if is_weak:
        raise InputError("client.jwk")
    kid = jwk.get("kid")
    if isinstance(kid, str) and 0 < len(kid) <= _MAX_NAME:
        kept["kid"] = kid
    return kept


def client_members(client: Client) -> dict[str, Json]:
    """Tell all of a registration but its id."""
    return {
        _BOUND: client.is_bound,
        "jwks": [dict(jwk) for jwk in client.jwks],
        "jwks_uri": client.jwks_uri,
        "launch_uri": client.launch_uri,
        "member": client.member,
        "name": client.name,
        "redirects": list[Json](client.redirects),
        "rights": list[Json](sorted(right.value for right in client.rights)),
        "scopes": scopes_text(client.scopes),
        "special": list[Json](sorted(one.value for one in client.special)),
    }


def client_document(client: Client) -> bytes:
    """Write a registration, for the store."""
    return canonical(client_members(client))


def parse_client(row: ClientRow) -> Client:
    """Read a registration from the store; raises `InputError` for a damaged one."""
    lists, texts = ("jwks", "redirects", "rights", "special"), ("jwks_uri", "launch_uri", "member", "name", "scopes")
    # Registrations of before do not say whether tokens must be bound.
    given = members(
        parse_canonical(row.document, max_bytes=_MAX_BYTES),
        dict.fromkeys(lists, list) | dict.fromkeys(texts, str),
        {_BOUND: bool},
    )
    jwks = given["jwks"]
    scopes = str(given["scopes"])
    return Client(
        id=row.id,
        scopes=parse_scopes(scopes) if scopes else (),
        name=str(given["name"]),
        jwks=tuple(jwk for jwk in jwks if isinstance(jwk, dict)) if isinstance(jwks, list) else (),
        jwks_uri=str(given["jwks_uri"]),
        member=str(given["member"]),
        redirects=_texts(given["redirects"]),
        launch_uri=str(given["launch_uri"]),
        special=frozenset(map(Special, _texts(given["special"]))),
        rights=frozenset(map(Right, _texts(given["rights"]))),
        is_bound=given.get(_BOUND) is True,
    )


def origin_of(url: str) -> str:
    """Return the origin of an address, or the scheme with its colon for one of an installed application."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else f"{parts.scheme}:"


def _texts(value: Json) -> tuple[str, ...]:
    """Read a list of texts."""
    rows: Sequence[Any] = value if isinstance(value, list) else ()
    return tuple(str(row) for row in rows)


def _is_web(url: str) -> bool:
    """Tell whether an address is one of HTTPS, or of this very machine."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and not set(' "<>\\^`{|}') & set(url) and len(url) <= _MAX_URL
    if not plain or "@" in parts.netloc or "#" in url or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


def _is_redirect(url: str) -> bool:
    """Tell whether people may be sent to an address: as `_is_web`, or of a scheme that names its owner (RFC 8252)."""
    scheme, colon, rest = url.partition(":")
    if colon and scheme not in ("http", "https"):
        plain = url.isascii() and url.isprintable() and not set(' "<>\\^`{|}#') & set(url) and len(url) <= _MAX_URL
        return plain and _SCHEME.fullmatch(scheme) is not None and bool(rest)
    return _is_web(url)


def _is_loopback_of(given: str, registered: str) -> bool:
    """Tell whether two loopback addresses differ in their port only."""
    ours = urlsplit(registered)
    if ours.scheme != "http" or ours.hostname not in ("127.0.0.1", "::1"):
        return False
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        return False
    netloc = f"[{ours.hostname}]" if ":" in str(ours.hostname) else str(ours.hostname)
    return given == registered.replace(ours.netloc, f"{netloc}:{port}" if port else netloc, 1)
