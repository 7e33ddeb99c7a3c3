"""Signing in with a passkey, enrolling one with a code from an administrator, one's own account.

Keeps true: a challenge is this node's, for one purpose, young, and counts once over all processes; a code to enrol with
counts once; who fails again and again waits; after signing in a browser goes to an address of this node only. Trusts
`medchain.crypto.assertion` and `medchain.crypto.registration` for the ceremonies.
Source: W3C WebAuthn Level 3 §7.1, §7.2; `docs/spec/smart.md`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from flask import Blueprint, Response, g, request
from orjson import JSONDecodeError, loads

from medchain.crypto.assertion import AssertionRequest, check_assertion, encode_credential_key, parse_credential_key
from medchain.crypto.registration import check_registration
from medchain.encoding import Json, as_object, base64url, canonical, members, parse_canonical, unbase64url
from medchain.errors import AccessDeniedError, InputError, MedchainError, UnavailableError
from medchain.node.log import Log
from medchain.store.accounts import STAFF, Account, Passkey, Role
from medchain.store.authorisations import Grant
from medchain.web.deeds import Deed, Kind, by
from medchain.web.pages import Pages, language, redirected
from medchain.web.routing import Caller, callers

ENROL: Final = "enrol"
"""Kind of the ticket that a code to enrol with is."""

ENROL_S: Final = 24 * 3600
"""How long such a code waits."""

CHALLENGE_S: Final = 180
"""How long a challenge waits."""

CONSENT: Final = "/auth/consent"
"""Where a request of an application goes on once the person is signed in."""

_SIGN_IN: Final = "sign-in"
MAX_BYTES: Final = 16 * 1024
"""Largest message of a ceremony."""

_SIGNED: Final = re.compile(r"[A-Za-z0-9_-]{0,32768}")
_GRANT: Final = re.compile(r"[A-Za-z0-9_-]{32}")
_LOG: Final = Log("sign-in")


@dataclass(frozen=True, slots=True)
class Floor:
    """What the floor above tells the pages of signing in.

    Attributes:
        application: signed request of an application → the application's name, empty where it has none.
        described: authorisation → (name of its application, what it allows).
        revoked: called after an authorisation was taken back.
        has_provider: whether people may sign in at an identity provider.
        since: signed request of an application → from when on a person must have signed in for it, Unix seconds.
    """

    application: Callable[[str], str]
    described: Callable[[Grant], tuple[str, str]]
    revoked: Callable[[], None]
    has_provider: bool = False
    since: Callable[[str], int] = lambda _then: 0


def sign_in_blueprint(pages: Pages, floor: Floor) -> Blueprint:
    """Make the routes.

    Args:
        pages: renders them.
        floor: what the floor above tells.

    Returns:
        The blueprint.
    """
    blueprint = Blueprint("sign_in", __name__)
    site = pages.site

    @blueprint.get("/sign-in")
    @callers(Caller.PUBLIC)
    def page() -> Response:
        then = signed_request(request.args.get("request", ""))
        me = site.current()
        if me is not None and me.account.role in STAFF and me.session.shown_at >= floor.since(then):
            return redirected(after(then))
        name = floor.application(then) if then else ""
        return pages.render("sign_in.html", then=then, application=name, has_provider=floor.has_provider)

    @blueprint.post("/sign-out")
    @callers(Caller.PUBLIC)
    def leave() -> Response:
        me = site.check_form(*Role)
        response = redirected("/my/sign-in" if me.account.role is Role.PATIENT else "/sign-in")
        site.end(response)
        return response

    @blueprint.get("/enrol")
    @callers(Caller.PUBLIC)
    def enrol() -> Response:
        return pages.render("enrol.html")

    _add_account(blueprint, pages, floor)
    _add_ceremonies(blueprint, pages)
    return pages.guard(blueprint)


def _add_account(blueprint: Blueprint, pages: Pages, floor: Floor) -> None:
    """Add one's own account."""
    site = pages.site

    @blueprint.get("/account")
    @callers(Caller.PUBLIC)
    def account() -> Response:
        me = site.require()
        passkeys = len(site.accounts.passkeys_of(me.account.id))
        rows = [
            (pages.say("account.name"), me.account.name),
            (pages.say("account.role"), pages.say(f"role.{me.account.role.value}")),
            (pages.say("account.person"), me.account.fhir_user or pages.say("account.none")),
            (pages.say("account.passkeys"), str(passkeys)),
            (pages.say("account.since"), pages.moment(me.session.created)),
        ]
        grants = []
        for grant in site.accounts.grants_of(me.account.id, site.clock()):
            name, scopes = floor.described(grant)
            grants.append({"id": grant.id, "name": name, "scopes": scopes, "created": pages.moment(grant.created)})
        return pages.render("account.html", rows=rows, grants=grants)

    @blueprint.post("/account/revoke")
    @callers(Caller.PUBLIC)
    def revoke() -> Response:
        me = site.check_form()
        grant_id = request.form.get("grant", "")
        grant = site.accounts.grant(grant_id) if _GRANT.fullmatch(grant_id) else None
        if grant is not None and grant.account == me.account.id:
            with site.deeds.doing(by(me.account, Kind.REVOCATION, client=grant.client)):
                site.accounts.revoke_grant(grant.id, site.clock())
            floor.revoked()
        return redirected("/account")


def _add_ceremonies(blueprint: Blueprint, pages: Pages) -> None:
    """Add what the script of these pages calls."""
    desk = Ceremonies(pages)
    for path, view in (
        ("/sign-in/passkey/begin", desk.begin_sign_in),
        ("/sign-in/passkey/finish", desk.finish_sign_in),
        ("/enrol/begin", desk.begin_enrol),
        ("/enrol/finish", desk.finish_enrol),
    ):
        answered = callers(Caller.PUBLIC)(answering(pages, view))
        blueprint.add_url_rule(path, path.strip("/").replace("/", "_").replace("-", "_"), answered, methods=["POST"])


def answering(pages: Pages, view: Callable[[Mapping[str, Json]], Response]) -> Callable[[], Response]:
    """Have a ceremony's step take JSON from our own pages, and have failures counted and all look alike.

    Args:
        pages: whose site it is.
        view: takes what came.

    Returns:
        The view.
    """

    def answer() -> Response:
        site, place = pages.site, f"place/{pages.site.place()}"
        now = site.clock()
        try:
            site.check_origin()
        except AccessDeniedError:
            # Not counted: a page of others, opened in the hospital, could lock out everybody there.
            return json_answer({"code": "session.refused"}, 403, {})
        try:
            if request.mimetype != "application/json" or (request.content_length or 0) > MAX_BYTES:
                raise InputError("session.form")
            given = loads(request.get_data(cache=False))
            return view(as_object(given))
        except (MedchainError, JSONDecodeError) as error:
            if isinstance(error, UnavailableError):
                raise
            code = error.code if isinstance(error, MedchainError) else "session.form"
            wait = site.accounts.put_attempt([place], now, "sign-in")
            if wait:
                # Only who fails again waits: nobody in a hospital must be able to keep all others there out.
                return json_answer({"code": "session.locked"}, 429, {"Retry-After": str(wait)})
            _LOG.info("sign_in.refused", code=code)
            # Whose account it was tried on, where that is known; how many there are is bounded by the lock-out.
            site.deeds.refused(g.get("tried", Deed(Kind.LOGIN)), 403)
            return json_answer({"code": "session.refused"}, 403, {})

    return answer


class Ceremonies:
    """The steps of both ceremonies."""

    __slots__ = ("_pages", "_site")

    def __init__(self, pages: Pages) -> None:
        """Use the pages' site."""
        self._pages = pages
        self._site = pages.site

    def begin_sign_in(self, _given: Mapping[str, Json]) -> Response:
        """Give a challenge; nothing is written for it."""
        begun = self._begun(_SIGN_IN, {})
        return json_answer({"begun": begun, "challenge": base64url(begun.encode()), "rp_id": self._rp_id()}, 200, {})

    def finish_sign_in(self, given: Mapping[str, Json]) -> Response:
        """Check what the passkey says, and sign its owner in."""
        names = ("begun", "request", "credential", "client_data", "authenticator_data", "signature")
        texts = {name: str(value) for name, value in members(dict(given), dict.fromkeys(names, str)).items()}
        site, now = self._site, self._site.clock()
        site.signed.open(_SIGN_IN, texts["begun"], now)
        passkey = site.accounts.passkey(unbase64url(texts["credential"], max_bytes=1023))
        account = None if passkey is None else site.accounts.account(passkey.account)
        if passkey is None or account is None or account.disabled is not None or account.role not in STAFF:
            raise AccessDeniedError("session.account")
        g.tried = by(account, Kind.LOGIN)
        mine = f"account/{account.id}"
        site.attempt(mine, note="passkey")
        check_assertion(
            self._asked(texts["begun"]),
            parse_credential_key(passkey.public),
            unbase64url(texts["client_data"], max_bytes=MAX_BYTES),
            unbase64url(texts["authenticator_data"], max_bytes=MAX_BYTES),
            unbase64url(texts["signature"], max_bytes=1024),
        )
        self._use_once(texts["begun"])
        site.accounts.forget_failures(mine)
        response = json_answer({"next": after(signed_request(texts["request"]))}, 200, {})
        site.begin(response, account, "passkey", passkey.credential)
        _LOG.info("sign_in.done", account=account.id, method="passkey")
        return response

    def begin_enrol(self, given: Mapping[str, Json]) -> Response:
        """Give a challenge to who has a code."""
        code = str(members(dict(given), {"code": str})["code"])
        account = self._account_of(self._site.accounts.see_ticket(ENROL, code, self._site.clock()))
        begun = self._begun(ENROL, {"account": account.id})
        known = [base64url(one.credential) for one in self._site.accounts.passkeys_of(account.id)]
        names = {"display": account.display, "name": account.name, "rp_name": self._site.name[language() == "en"]}
        document: dict[str, Json] = {
            "begun": begun,
            "challenge": base64url(begun.encode()),
            "known": list[Json](known),
            "rp_id": self._rp_id(),
            "user": base64url(account.id.encode()),
            **names,
        }
        return json_answer(document, 200, {})

    def finish_enrol(self, given: Mapping[str, Json]) -> Response:
        """Keep the passkey, use the code up, and sign its owner in."""
        names = ("begun", "code", "client_data", "authenticator_data")
        texts = {name: str(value) for name, value in members(dict(given), dict.fromkeys(names, str)).items()}
        site, now = self._site, self._site.clock()
        opened = site.signed.open(ENROL, texts["begun"], now)
        made = check_registration(
            self._asked(texts["begun"]),
            unbase64url(texts["client_data"], max_bytes=MAX_BYTES),
            unbase64url(texts["authenticator_data"], max_bytes=MAX_BYTES),
        )
        self._use_once(texts["begun"])
        account = self._account_of(site.accounts.take_ticket(ENROL, texts["code"], now))
        if account.id != opened.get("account"):
            raise AccessDeniedError("session.account")
        passkey = Passkey(made.credential_id, account.id, encode_credential_key(made.key), now, None)
        with site.deeds.doing(by(account, Kind.ACCOUNT, subject=account.id)):
            site.accounts.put_passkey(passkey)
        response = json_answer({"next": "/account"}, 200, {})
        site.begin(response, account, "passkey", made.credential_id)
        _LOG.info("sign_in.enrolled", account=account.id)
        return response

    def _begun(self, purpose: str, document: dict[str, Json]) -> str:
        """Sign what a step begins with; it is its own challenge."""
        return self._site.signed.sign(purpose, document, self._site.clock() + CHALLENGE_S)

    def _asked(self, begun: str) -> AssertionRequest:
        """Say what was asked of the passkey."""
        origins = frozenset(one for one in self._site.origins if urlsplit(one).hostname == self._rp_id())
        return AssertionRequest(begun.encode(), self._rp_id(), origins)

    def _use_once(self, begun: str) -> None:
        """Use up a challenge."""
        if not self._site.use_once(f"challenge/{begun}", self._site.clock() + CHALLENGE_S):
            raise AccessDeniedError("session.used")

    def _rp_id(self) -> str:
        """Name the relying party: the host that people are told."""
        return urlsplit(self._site.origins[0]).hostname or ""

    def _account_of(self, document: bytes | None) -> Account:
        """Find whose code it is."""
        if document is None:
            raise AccessDeniedError("session.code")
        found = members(parse_canonical(document, max_bytes=MAX_BYTES), {"account": str})
        account = self._site.accounts.account(str(found["account"]))
        if account is None or account.disabled is not None:
            raise AccessDeniedError("session.account")
        return account


def after(then: str) -> str:
    """Say where a browser goes after signing in: on with an application's request, or to the account."""
    return f"{CONSENT}?request={then}" if then else "/account"


def signed_request(text: str) -> str:
    """Take a signed request from outside; what cannot be one is none."""
    return text if _SIGNED.fullmatch(text) else ""


def json_answer(document: Json, status: int, headers: Mapping[str, str]) -> Response:
    """Answer a document to a script of our pages."""
    return Response(canonical(document), status, dict(headers), content_type="application/json")
