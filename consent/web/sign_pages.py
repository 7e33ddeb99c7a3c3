"""The signing origin: the one page at which a patient's passkey is asked for consents, and the steps of its script.

Nothing else of the node is served there, so that a script that gets into the portal can ask for no signature that the
ledger takes. Keeps true: the page is the same for everybody and shows nothing but what its script reads in the draft
itself; no cookie says here who somebody is; a ticket opens its draft once, while the portal's session of its person
lives, and the page that opened it may ask for it again, to show it in the other language; what is submitted is that
draft with the passkey's answer. Trusts the endorsers to check all of it again. An authenticator shows no text: no page
says that it did.
Source: `docs/spec/patient-pages.md` 6; `docs/spec/consent.md` 7, 8;
`docs/adr/0050-patients-sign-at-an-origin-of-its-own.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from flask import Blueprint, Flask, Response, request
from orjson import JSONDecodeError, loads

from consent.web import joint, restoring, ticket
from consent.web.kinds import KINDS, SENSITIVE
from consent.web.person import key_name, represented_of
from consent.web.ports import Local
from consent.web.signing import SIGN, let_in
from consent.web.site import QUICK, SLOW
from consent.web.ticket import Act, Ticket
from medchain.crypto.assertion import encode_credential_key
from medchain.encoding import Json, base64_text, base64url, canonical, members, unbase64, unbase64url, unhex
from medchain.errors import AccessDeniedError, ConflictError, InputError, MedchainError, VerificationError
from medchain.ledger.genesis import Genesis
from medchain.ledger.kinds.passkeys import read_passkeys
from medchain.ledger.transaction import HASH_BYTES
from medchain.node import asking
from medchain.node.drafts import ToSign
from medchain.node.log import Log
from medchain.store.accounts import Passkey
from medchain.web.deeds import Kind, by
from medchain.web.pages import Pages
from medchain.web.routing import Caller, callers, status_of
from medchain.web.session import SignedIn, Site
from medchain.web.sign_in import json_answer

SIGN_ASSETS: Final = ("sign.js", "signed.js")
"""The scripts of the page, of this floor."""

_SCRIPTS: Final = (*SIGN_ASSETS, "webauthn.js")

_MAX_BYTES: Final = 64 << 10
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_PERMISSIONS: Final = "camera=(), geolocation=(), microphone=(), publickey-credentials-create=()"
_LOG: Final = Log("signing")


@dataclass(frozen=True, slots=True)
class SigningSite(Site):
    """What the page shares with the portal, but its sessions: its origins are its own."""

    def current(self) -> SignedIn | None:
        """Tell who is signed in: nobody, ever."""
        return None


@dataclass(frozen=True, slots=True)
class SigningParts:
    """What the page is made from.

    Attributes:
        pages: renders it; its site is a `SigningSite`.
        local: the daemon.
        genesis: of the ledger.
        portal: where the portal is, for who comes without a ticket.
    """

    pages: Pages
    local: Local
    genesis: Genesis
    portal: str


def mount_signing(app: Flask, parts: SigningParts) -> None:
    """Register the page and its steps.

    Args:
        app: prepared by `medchain.web.service.prepare`.
        parts: what the page is made from.
    """
    blueprint = Blueprint("signing", __name__, template_folder="templates")
    desk = SigningDesk(parts)

    @blueprint.get(SIGN)
    @callers(Caller.PUBLIC)
    def page() -> Response:
        response = parts.pages.render(
            "patient/sign.html",
            ledger=parts.genesis.ledger.hex(),
            portal=parts.portal,
            words=canonical(words_of(parts.pages)).decode(),
            zone=str(parts.pages.site.zone),
        )
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Permissions-Policy"] = _PERMISSIONS
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    for path, step in ((f"{SIGN}/begin", desk.begin), (f"{SIGN}/finish", desk.finish)):
        blueprint.add_url_rule(path, step.__name__, callers(Caller.PUBLIC)(_answering(parts, step)), methods=["POST"])
    app.register_blueprint(parts.pages.guard(blueprint))
    for name in _SCRIPTS:
        _LOG.info("signing.script", name=name, sha256=parts.pages.assets[name].sha256)


def words_of(pages: Pages) -> dict[str, Json]:
    """List the words with which the script says what a draft is about, in the reader's language."""
    say = pages.say
    return {
        "kinds": [[say(f"kind.{kind}"), list(types)] for kind, types in KINDS.items()],
        "operations": {**pages.words("sign.do.")},
        "sensitive": [[say(f"sensitive.{kind}"), list(codes)] for kind, codes in SENSITIVE.items()],
        **{name: {**pages.words(area)} for name, area in _AREAS.items()},
    }


_AREAS: Final = {"may": "family.may.", "purposes": "purpose.", "roles": "family.role.", "rows": "sign.row."}


def _answering(parts: SigningParts, step: Callable[[Mapping[str, Json]], Response]) -> Callable[[], Response]:
    """Have a step take JSON from the page's own script, and answer errors by their code."""

    def answer() -> Response:
        try:
            parts.pages.site.check_origin()
            if request.mimetype != "application/json" or (request.content_length or 0) > _MAX_BYTES:
                raise InputError("session.form")
            given = loads(request.get_data(cache=False))
            return step(given if isinstance(given, dict) else {})
        except (MedchainError, JSONDecodeError) as error:
            code = error.code if isinstance(error, MedchainError) else "session.form"
            _LOG.info("signing.refused", code=code)
            return json_answer({"code": code}, status_of(error) if isinstance(error, MedchainError) else 400, {})

    return answer


class SigningDesk:
    """The steps."""

    __slots__ = ("_finishes", "_parts")

    def __init__(self, parts: SigningParts) -> None:
        """Use the page's parts."""
        self._parts = parts
        self._finishes: Mapping[Act, Callable[[Ticket, dict[str, Json]], str]] = {
            Act.GIVE: self._give,
            Act.HIDE: self._hide,
            Act.STOP: self._stop,
            Act.CANCEL: self._cancel,
            Act.CHANGE: self._change,
            Act.RESTORE: self._restore,
            Act.SETTLE: self._settle,
            Act.ADD_PASSKEY: self._add_passkey,
            Act.REMOVE_PASSKEY: self._remove_passkey,
            Act.END_HELPER: self._end_helper,
        }

    def begin(self, given: Mapping[str, Json]) -> Response:
        """Use a ticket up, and give what is signed; again to the page that opened it, for its other language."""
        site = self._parts.pages.site
        if "begun" in given:
            begun = str(members(dict(given), {"begun": str})["begun"])
            found = ticket.opened(site.accounts, begun, site.clock())
        else:
            secret = str(members(dict(given), {"ticket": str})["ticket"])
            found, begun = ticket.open_once(site.accounts, secret, site.clock())
        self._check_person(found)
        answer: Json = {
            "back": found.portal + found.back,
            "begun": begun,
            "challenge": base64url(unhex(found.challenge, HASH_BYTES)),
            "credentials": list(found.credentials),
            "draft": found.draft,
            "names": dict(found.names),
            "rp_id": self._parts.genesis.rp_id,
        }
        return json_answer(answer, 200, {})

    def finish(self, given: Mapping[str, Json]) -> Response:
        """Bring what was signed to the ledger, and tell where the portal shows it."""
        texts = dict.fromkeys(("authenticator_data", "begun", "client_data", "credential", "signature"), str)
        top = {key: str(value) for key, value in members(dict(given), texts).items()}
        site = self._parts.pages.site
        found = ticket.opened(site.accounts, top["begun"], site.clock())
        self._check_person(found)
        assertion: Json = {
            "authenticator_data": _base64(top["authenticator_data"]),
            "client_data_json": _base64(top["client_data"]),
            "credential_id": _base64(top["credential"]),
            "signature": _base64(top["signature"]),
        }
        then = self._finishes[found.act](found, {"assertion": assertion, "draft": found.draft})
        ticket.use_up(site.accounts, top["begun"], site.clock())
        _LOG.info("signing.done", act=found.act.value)
        return json_answer({"next": found.portal + then}, 200, {})

    def _check_person(self, found: Ticket) -> None:
        """See that who was led here is still signed in at the portal, and may still act for whom it is.

        Raises:
            AccessDeniedError: ``page.ended``, ``patient.ended``, ``patient.limits``.
        """
        site = self._parts.pages.site
        if not site.accounts.session_lives(bytes.fromhex(found.session), site.clock()):
            raise AccessDeniedError("page.ended")
        if not found.person:
            return
        answer = self._parts.local.call("subject.represented", {"subject": found.delegate}, QUICK)
        rows = represented_of(answer) if isinstance(answer, dict) else []
        delegation = next((one for one in rows if one.person.hex() == found.person), None)
        if delegation is None:
            raise AccessDeniedError("patient.ended")
        if found.deed and found.deed not in delegation.may:
            raise AccessDeniedError("patient.limits")

    def _give(self, found: Ticket, signed: dict[str, Json]) -> str:
        """Submit the permission, answer the ask, and let the recipient in; where several sign, after the last one."""
        local = self._parts.local
        asks = local.call(asking.LIST, {"patient": found.patient}, QUICK)
        asking.require_waiting(asks if isinstance(asks, dict) else {}, found.name)
        accounts, now = self._parts.pages.site.accounts, self._parts.pages.site.clock()
        if joint.is_joint(found.draft):
            so_far = joint.add(accounts, found.name, found.draft, (found.delegate, signed["assertion"]), now)
            if so_far.missing:
                return f"/my/asks/{found.name}"
            signed = so_far.answers()
        placed = local.call("consent.give", signed, SLOW)
        joint.drop(accounts, found.name, now)
        key = str(placed.get("key")) if isinstance(placed, dict) else ""
        unhex(key, HASH_BYTES)
        answered: dict[str, Json] = {"answer": asking.GIVEN, "id": found.name, "patient": found.patient}
        local.call(asking.ANSWER, answered | ({"by": found.delegate} if found.delegate else {}), QUICK)
        let_in(local, key)
        return f"/my/access/{key}?new=1"

    def _hide(self, found: Ticket, signed: dict[str, Json]) -> str:
        """Bring to the ledger that a record is hidden; it binds this organisation when it answers."""
        self._parts.local.call("consent.give", signed, SLOW)
        return found.then

    def _stop(self, found: Ticket, signed: dict[str, Json]) -> str:
        """End a permission with the patient's signature; it binds this organisation when it answers."""
        self._parts.local.call("withdrawal.give", signed, SLOW)
        return found.then

    def _cancel(self, found: Ticket, signed: dict[str, Json]) -> str:
        """Cancel a recovery; it binds this organisation when it answers."""
        self._parts.local.call("recovery.cancel", signed, SLOW)
        return found.then

    def _change(self, found: Ticket, signed: dict[str, Json]) -> str:
        """Bring a change of the patient's subject to the ledger."""
        changed: Json = {"assertions": [signed["assertion"]], "draft": signed["draft"]}
        self._parts.local.call("subject.change", changed, SLOW)
        return found.then

    def _restore(self, found: Ticket, signed: dict[str, Json]) -> str:
        """Bring to the ledger that what was declared of the patient is taken back, as two of the staff attest."""
        accounts, now = self._parts.pages.site.accounts, self._parts.pages.site.clock()
        staff = restoring.attested(accounts, found.name, now)
        if not staff:
            raise AccessDeniedError("page.ended")
        if not joint.is_joint(found.draft):
            changed: Json = {"assertions": [signed["assertion"]], "draft": signed["draft"], "staff": list(staff)}
            self._parts.local.call("subject.change", changed, SLOW)
        elif not self._join(found, signed, restoring.joint_name(found.name), {"staff": list(staff)}):
            return found.then
        restoring.use_up(accounts, found.name, now)
        return found.then

    def _settle(self, found: Ticket, signed: dict[str, Json]) -> str:
        """Keep that a guardian agrees again, and after the last one bring it to the ledger."""
        self._join(found, signed, found.name, {})
        return found.then

    def _join(self, found: Ticket, signed: dict[str, Json], name: str, more: dict[str, Json]) -> bool:
        """Keep a guardian's signature, and after the last one bring the change to the ledger; tells whether it was."""
        accounts, now = self._parts.pages.site.accounts, self._parts.pages.site.clock()
        so_far = joint.add(accounts, name, found.draft, (found.delegate, signed["assertion"]), now)
        if so_far.missing:
            return False
        changed: Json = {"assertions": so_far.assertions(), "draft": found.draft, **more}
        try:
            self._parts.local.call("subject.change", changed, SLOW)
        except (ConflictError, VerificationError):
            # The enrolment has changed since: they begin anew.
            joint.drop(accounts, name, now)
            raise
        joint.drop(accounts, name, now)
        return True

    def _add_passkey(self, found: Ticket, signed: dict[str, Json]) -> str:
        """Bring to the ledger that a passkey comes; this node knows from then on whose it is."""
        self._change(found, signed)
        added, site = read_passkeys(ToSign.decode(unbase64(found.draft)).body.content)[-1], self._parts.pages.site
        account = site.accounts.account(found.account)
        if account is not None:
            with site.deeds.doing(by(account, Kind.ACCOUNT, subject=account.id)):
                public = encode_credential_key(added.key)
                site.accounts.put_passkey(Passkey(added.credential_id, account.id, public, site.clock(), None))
        return found.then

    def _remove_passkey(self, found: Ticket, signed: dict[str, Json]) -> str:
        """Bring to the ledger that a passkey goes; this node forgets it, and signs out who may have used it."""
        self._change(found, signed)
        site = self._parts.pages.site
        account = site.accounts.account(found.account)
        for known in site.accounts.passkeys_of(found.account):
            if account is not None and key_name(known.credential) == found.name:
                with site.deeds.doing(by(account, Kind.ACCOUNT, subject=account.id)):
                    site.accounts.drop_passkey(known, bytes.fromhex(found.session))
        return found.then

    def _end_helper(self, found: Ticket, signed: dict[str, Json]) -> str:
        """End a delegation with a signature; it binds this organisation when it answers."""
        self._parts.local.call("delegation.end", signed, SLOW)
        return found.then


def _base64(text: str) -> str:
    """Write what a browser sent as the daemon reads it."""
    return base64_text(unbase64url(text, max_bytes=16 << 10))
