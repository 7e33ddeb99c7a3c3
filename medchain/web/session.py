"""Who is signed in: a cookie, what it stands for, and forms that only this site's pages can send.

Keeps true: the cookie's value is new at each sign-in and is kept as a hash only; it goes to this host alone, over TLS
alone, and with no request that another site begins; a form counts only with the token of its session and from one of
this node's own addresses. Trusts the store for sessions.
Source: RFC 6265bis §4.1.3 (`__Host-`), OWASP session management; `docs/spec/smart.md`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Final

from flask import Response, g, request

from medchain.encoding import base64url
from medchain.errors import AccessDeniedError
from medchain.node.clock import Clock
from medchain.store.accounts import STAFF, Account, AccountStore, Role, Session
from medchain.web.deeds import Deeds, Kind, NoDeeds, by
from medchain.web.limits import place_of
from medchain.web.signed import Signed

IDLE_S: Final = 30 * 60
"""After how long without a word a session ends."""

LONGEST_S: Final = 8 * 3600
"""How long a session lasts at most: a working day."""

_UNKNOWN: Final = "192.0.2.0"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody who is signed in.

    Attributes:
        account: who.
        session: since when, and until when.
        csrf: token of this session's forms.
    """

    account: Account
    session: Session
    csrf: str


@dataclass(frozen=True, slots=True)
class Site:
    """What all pages share.

    Attributes:
        org_id: whose node.
        name: of the organisation, (Chinese, English).
        origins: this node's own addresses, the first is the one that people are told.
        accounts: people.
        signed: signs what goes through browsers.
        use_once: tells whether an id is new, and remembers it until a time.
        clock: gives Unix seconds.
        is_proxied: whether a proxy forwards requests.
        deeds: keeps who comes and goes.
        zone: in which times are shown.
    """

    org_id: str
    name: tuple[str, str]
    origins: tuple[str, ...]
    accounts: AccountStore
    signed: Signed
    use_once: Callable[[str, int], bool]
    clock: Clock
    is_proxied: bool = False
    deeds: Deeds = field(default_factory=NoDeeds)
    zone: tzinfo = UTC

    @property
    def cookie(self) -> str:
        """Name of the session's cookie, one an organisation."""
        return f"__Host-medchain-{self.org_id}"

    def current(self) -> SignedIn | None:
        """Tell who is signed in; None for nobody."""
        if "signed_in" not in g:
            secret = request.cookies.get(self.cookie, "")
            found = self.accounts.session(secret, self.clock(), IDLE_S) if secret else None
            g.signed_in = None if found is None else SignedIn(found[1], found[0], _csrf(secret))
        signed_in: SignedIn | None = g.signed_in
        return signed_in

    def require(self, *roles: Role) -> SignedIn:
        """Return who is signed in.

        Args:
            roles: that may go on; none for all of the staff.

        Returns:
            The person.

        Raises:
            AccessDeniedError: ``session.none``, ``session.role``.
        """
        found = self.current()
        if found is None:
            raise AccessDeniedError("session.none")
        if found.account.role not in (roles or STAFF):
            raise AccessDeniedError("session.role")
        return found

    def check_form(self, *roles: Role) -> SignedIn:
        """See that a form comes from one of our pages, in a session.

        Args:
            roles: as for `require`.

        Raises:
            AccessDeniedError: ``session.none``, ``session.role``, ``session.form``.
        """
        found = self.require(*roles)
        self.check_origin()
        if not hmac.compare_digest(request.form.get("csrf", "").encode(), found.csrf.encode()):
            raise AccessDeniedError("session.form")
        return found

    def check_origin(self) -> None:
        """See that one of our own pages has sent a request; raises `AccessDeniedError` ``session.form``.

        A browser that sends neither header is too old for what it is asked here.
        """
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
        if origin is None and site is None:
            raise AccessDeniedError("session.form")
        if (origin is not None and origin not in self.origins) or site not in (None, "same-origin"):
            raise AccessDeniedError("session.form")

    def attempt(self, *tried: str, note: str) -> None:
        """Count that something is tried which can be guessed, before it is looked at.

        Args:
            tried: by whom, and at what, each counted.
            note: what.

        Raises:
            AccessDeniedError: ``session.locked`` for who has to wait.
        """
        if self.accounts.put_attempt(tried, self.clock(), note):
            raise AccessDeniedError("session.locked")

    def begin(  # a session's members
        self,
        response: Response,
        account: Account,
        method: str,
        credential: bytes | None = None,
        signed_in: int | None = None,
    ) -> None:
        """Sign somebody in: an earlier session of this browser ends, and the cookie gets another value.

        Args:
            response: gets the cookie.
            account: whose.
            method: how, as `Session.method` has it.
            credential: the passkey that was used.
            signed_in: when the person did, elsewhere; None for now.
        """
        before, now = request.cookies.get(self.cookie), self.clock()
        with self.deeds.doing(by(account, Kind.LOGIN)):
            if before:
                self.accounts.end_session(before)
            secret = self.accounts.begin_session(account.id, method, now, now + LONGEST_S, credential, signed_in)
        self._set(response, self.cookie, secret, "Strict")

    def end(self, response: Response) -> None:
        """Sign out who is signed in."""
        with self.deeds.doing(by(self.require(*Role).account, Kind.LOGOUT)):
            self.accounts.end_session(request.cookies.get(self.cookie, ""))
        response.set_cookie(self.cookie, "", max_age=0, secure=True, httponly=True, samesite="Strict", path="/")
        response.headers["Clear-Site-Data"] = '"cache"'

    def place(self) -> str:
        """Name where a request comes from: the address that the proxy before us saw, if there is one."""
        address = request.remote_addr or _UNKNOWN
        if self.is_proxied:
            address = request.headers.get("X-Forwarded-For", address).rpartition(",")[2].strip()
        try:
            return place_of(address)
        except ValueError:
            return place_of(_UNKNOWN)

    def _set(self, response: Response, name: str, value: str, same_site: str) -> None:
        """Set a cookie that goes to this host alone, over TLS alone, and is gone when the browser is closed."""
        response.set_cookie(name, value, secure=True, httponly=True, samesite=same_site, path="/")

    def set_passing(self, response: Response, name: str, value: str) -> None:
        """Set the cookie of a log-in elsewhere that is under way; it must come back with a link from there."""
        self._set(response, f"{self.cookie}-{name}", value, "Lax")

    def take_passing(self, response: Response, name: str) -> str:
        """Read such a cookie, and take it away."""
        full = f"{self.cookie}-{name}"
        response.set_cookie(full, "", max_age=0, secure=True, httponly=True, samesite="Lax", path="/")
        return request.cookies.get(full, "")


def _csrf(secret: str) -> str:
    """Compute the token of a session's forms from its secret, which no page can read."""
    digest = hashlib.sha256(b"medchain/csrf/v1\n" + secret.encode("utf-8", "surrogatepass")).digest()
    return base64url(digest)
