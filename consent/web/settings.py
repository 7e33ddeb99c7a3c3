"""The patient's settings: passkeys, lost ones, language, and what was done to the enrolment.

Keeps true: a passkey comes or goes under the signature of one that the ledger's head lists, never the last; who signs
in here with one that was removed is signed out; a recovery can be cancelled wherever it is shown. Trusts
`consent.web.signing` for what was signed, and the endorsers to check all of it again.
Source: `docs/spec/patient-pages.md` 13; `docs/spec/subject.md` 1, 8.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import partial
from typing import Final

from flask import Blueprint, Response

from consent.web.acting import NOTHING, OWN
from consent.web.person import Change, Key, Person, Recovery, changes_of
from consent.web.signing import Signing, answering
from consent.web.site import QUICK, SLOW, Patient, PatientSite
from medchain.crypto.assertion import AssertionRequest, encode_credential_key
from medchain.crypto.registration import check_registration
from medchain.encoding import Json, base64_text, base64url, members, unbase64, unbase64url
from medchain.errors import AccessDeniedError, ConflictError, NotFoundError
from medchain.ledger.kinds.capacity import STOP
from medchain.ledger.kinds.passkeys import read_passkeys
from medchain.ledger.kinds.recovery import RECOVERY_DAYS
from medchain.ledger.kinds.subject import Operation
from medchain.node.drafts import ToSign
from medchain.node.log import Log
from medchain.store.accounts import Passkey
from medchain.web.deeds import Kind, by
from medchain.web.routing import Caller, callers
from medchain.web.sign_in import CHALLENGE_S, MAX_BYTES, json_answer

SETTINGS: Final = "/my/settings"
"""Where they are."""

_NEW: Final = "new"
_MAKE: Final = "patient-passkey-make"
_ADD: Final = "patient-passkey-add"
_REMOVE: Final = "patient-passkey-remove"
_CANCEL: Final = "patient-recovery-cancel"
_LOG: Final = Log("patient")


class SettingsPages:
    """Settings, and the steps that the script of these pages calls."""

    __slots__ = ("_signing", "_site")

    def __init__(self, site: PatientSite) -> None:
        """Use what the pages are made from."""
        self._site = site
        self._signing = Signing(site)

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        blueprint = Blueprint("patient_settings", __name__)
        blueprint.add_url_rule(SETTINGS, "settings", callers(Caller.PUBLIC)(partial(self.settings)), methods=["GET"])
        for path, view, may in (
            ("/my/passkeys/<name>/make", self.make, OWN),
            ("/my/passkeys/<name>/begin", self.begin_passkey, OWN),
            ("/my/passkeys/<name>/finish", self.finish_passkey, OWN),
            ("/my/recoveries/<name>/begin", self.begin_cancel, NOTHING),
            ("/my/recoveries/<name>/finish", self.finish_cancel, NOTHING),
        ):
            answered = callers(Caller.PUBLIC)(answering(self._site, view, may))
            blueprint.add_url_rule(path, view.__name__, answered, methods=["POST"])
        return blueprint

    def settings(self) -> Response:
        """Show the patient's settings."""
        me = self._site.require(OWN)
        person = self._site.person(me)
        known = {row.credential: row for row in self._site.pages.site.accounts.passkeys_of(me.signed_in.account.id)}
        return self._site.render(
            "settings.html",
            me,
            name=me.signed_in.account.display,
            keys=[] if person is None else [self._key_row(one, known.get(one.credential)) for one in person.keys],
            changes=[] if person is None else [self._change_row(me, one) for one in self._changes(person)],
            elsewhere=self._elsewhere(me, person),
            others=[] if person is None else self._others(me, person),
            wait_days=self._site.genesis.members.policy.terms.get(RECOVERY_DAYS),
            can_sign=self._site.can_sign(),
        )

    def make(self, me: Patient, name: str, given: Mapping[str, Json]) -> Response:
        """Give a challenge to make a further passkey with."""
        members(dict(given), {"csrf": str})
        _check_new(name)
        person, site = self._mine(me), self._site.pages.site
        bound: dict[str, Json] = {"account": me.signed_in.account.id}
        begun = site.signed.sign(_MAKE, bound, site.clock() + CHALLENGE_S)
        shown = me.signed_in.account.display or self._site.pages.say("patient.you")
        answer: Json = {
            "begun": begun,
            "challenge": base64url(begun.encode()),
            "display": shown,
            "known": [base64url(one.credential) for one in person.keys],
            "name": shown,
            "rp_id": self._site.genesis.rp_id,
            "rp_name": site.name[0],
            "user": base64url(secrets.token_bytes(32)),
        }
        return json_answer(answer, 200, {})

    def begin_passkey(self, me: Patient, name: str, given: Mapping[str, Json]) -> Response:
        """Draft that a passkey comes, or goes."""
        person = self._mine(me)
        if name == _NEW:
            return self._signing.to_sign(me, person.subject, self._drafted(me, person, given), _ADD, name)
        members(dict(given), {"csrf": str})
        key = _key(person, name)
        if len(person.keys) == 1:
            raise ConflictError("patient.last_passkey")
        asked: Json = {
            "credential_id": base64_text(key.credential),
            "operation": Operation.REMOVE_PASSKEY.value,
            "subject": person.subject.hex(),
        }
        draft = self._site.local.call("subject.draft", asked, QUICK)
        return self._signing.to_sign(me, person.subject, draft, _REMOVE, name)

    def finish_passkey(self, me: Patient, name: str, given: Mapping[str, Json]) -> Response:
        """Bring to the ledger that a passkey comes, or goes; this node's list follows."""
        person, purpose = self._mine(me), _ADD if name == _NEW else _REMOVE
        signed = self._signing.signed(me, given, purpose, name)
        changed: Json = {"assertions": [signed["assertion"]], "draft": signed["draft"]}
        self._site.local.call("subject.change", changed, SLOW)
        if name == _NEW:
            added = read_passkeys(ToSign.decode(unbase64(signed["draft"])).body.content)[-1]
            self._list(me, added.credential_id, encode_credential_key(added.key))
            _LOG.info("patient.passkey_added")
        else:
            self._forget(me, _key(person, name))
            _LOG.info("patient.passkey_removed")
        return json_answer({"next": SETTINGS}, 200, {})

    def begin_cancel(self, me: Patient, name: str, given: Mapping[str, Json]) -> Response:
        """Draft the cancellation of a recovery."""
        members(dict(given), {"csrf": str})
        whose, recovery = self._recovery(me, name)
        whose.check_may(STOP)
        signer = self._signing.signer(whose)
        asked: Json = {"recovery": recovery.key, "signer": signer.hex()}
        draft = self._site.local.call("recovery.draft-cancel", asked, QUICK)
        return self._signing.to_sign(me, signer, draft, _CANCEL, name)

    def finish_cancel(self, me: Patient, name: str, given: Mapping[str, Json]) -> Response:
        """Cancel a recovery; it binds this organisation when it answers."""
        self._site.local.call("recovery.cancel", self._signing.signed(me, given, _CANCEL, name), SLOW)
        _LOG.info("patient.recovery_cancelled")
        return json_answer({"next": "/my" if me.acting else SETTINGS}, 200, {})

    def _recovery(self, me: Patient, name: str) -> tuple[Patient, Recovery]:
        """Find a recovery that is shown on a page: of whom it is for, and of who acts; raises `NotFoundError`."""
        for whose in (me, *(() if me.acting is None else (me.acting.own,))):
            person = self._site.person(whose)
            for one in () if person is None else person.recoveries:
                if one.key == name:
                    return whose, one
        raise NotFoundError("page.unknown")

    def _drafted(self, me: Patient, person: Person, given: Mapping[str, Json]) -> Json:
        """Check that a passkey was made for this account, and draft that it comes."""
        names = ("authenticator_data", "begun", "client_data", "csrf")
        texts = {name: str(value) for name, value in members(dict(given), dict.fromkeys(names, str)).items()}
        site = self._site.pages.site
        if site.signed.open(_MAKE, texts["begun"], site.clock()).get("account") != me.signed_in.account.id:
            raise AccessDeniedError("page.ended")
        asked = AssertionRequest(texts["begun"].encode(), self._site.genesis.rp_id, frozenset(site.origins))
        made = check_registration(
            asked,
            unbase64url(texts["client_data"], max_bytes=MAX_BYTES),
            unbase64url(texts["authenticator_data"], max_bytes=MAX_BYTES),
        )
        if site.accounts.passkey(made.credential_id) is not None:
            raise ConflictError("passkey.exists")
        document: Json = {
            "credential": {
                "credential_id": base64_text(made.credential_id),
                "public_key": base64_text(encode_credential_key(made.key)),
            },
            "operation": Operation.ADD_PASSKEY.value,
            "subject": person.subject.hex(),
        }
        return self._site.local.call("subject.draft", document, QUICK)

    def _list(self, me: Patient, credential: bytes, public: bytes) -> None:
        """Have this node know whose a passkey is."""
        account, site = me.signed_in.account, self._site.pages.site
        with site.deeds.doing(by(account, Kind.ACCOUNT, subject=account.id)):
            site.accounts.put_passkey(Passkey(credential, account.id, public, site.clock(), None))

    def _forget(self, me: Patient, key: Key) -> None:
        """Have this node forget a passkey, and sign out who may have signed in with it."""
        account, site = me.signed_in.account, self._site.pages.site
        known = site.accounts.passkey(key.credential)
        if known is not None and known.account == account.id:
            with site.deeds.doing(by(account, Kind.ACCOUNT, subject=account.id)):
                site.accounts.drop_passkey(known, me.signed_in.session.token)

    def _mine(self, me: Patient) -> Person:
        """Return the patient's subject, if this organisation changes it; raises `ConflictError`, `NotFoundError`."""
        person = self._site.require_person(me)
        if person.enroller != self._site.org_id:
            raise ConflictError("subject.elsewhere", org_id=person.enroller)
        return person

    def _changes(self, person: Person) -> list[Change]:
        """Ask the daemon what was done to a subject."""
        answer = self._site.local.call("subject.history", {"subject": person.subject.hex()}, QUICK)
        return changes_of(answer) if isinstance(answer, dict) else []

    def _elsewhere(self, me: Patient, person: Person | None) -> str:
        """Name the organisation that changes the subject, where that is another one."""
        is_here = person is None or person.enroller == self._site.org_id
        return "" if is_here or person is None else self._site.organisation(me, person.enroller)

    def _others(self, me: Patient, person: Person) -> list[str]:
        """Name the organisations that can start a recovery: those that hold the records, but not the enroller."""
        return [self._site.organisation(me, one) for one in person.custodians if one != person.enroller]

    def _key_row(self, key: Key, known: Passkey | None) -> dict[str, object]:
        """Word a passkey."""
        used = None if known is None else known.used
        say = self._site.pages.say
        return {
            "name": key.name,
            "short": key.name[:6],
            "since": self._site.day(key.since),
            "used": say("settings.key.never") if used is None else self._site.moment(used),
        }

    def _change_row(self, me: Patient, change: Change) -> dict[str, object]:
        """Word something that was done."""
        return {
            "what": self._site.pages.say_or(f"change.{change.operation}", change.operation),
            "when": self._site.moment(change.time),
            "by": self._site.organisation(me, change.by),
            "position": change.position if change.is_final else None,
        }


def _check_new(name: str) -> None:
    """See that an address is the one for a further passkey; raises `NotFoundError` ``page.unknown``."""
    if name != _NEW:
        raise NotFoundError("page.unknown")


def _key(person: Person, name: str) -> Key:
    """Find a passkey; raises `NotFoundError` ``page.unknown`` for one that is not the patient's."""
    found = next((one for one in person.keys if one.name == name), None)
    if found is None:
        raise NotFoundError("page.unknown")
    return found
