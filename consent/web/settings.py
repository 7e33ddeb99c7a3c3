"""The patient's settings: passkeys, lost ones, language, and what was done to the enrolment.

Keeps true: a passkey comes or goes under the signature of one that the ledger's head lists, never the last; a recovery
can be cancelled wherever it is shown. Trusts `consent.web.sign_pages` for what is signed and what follows from it, and
the endorsers to check all of it again.
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
from consent.web.signing import Signing, Way, answering
from consent.web.site import QUICK, Patient, PatientSite
from consent.web.ticket import Act
from medchain.crypto.assertion import AssertionRequest, encode_credential_key
from medchain.crypto.registration import check_registration
from medchain.encoding import Json, base64_text, base64url, members, unbase64url
from medchain.errors import AccessDeniedError, ConflictError, NotFoundError
from medchain.ledger.kinds.capacity import STOP
from medchain.ledger.kinds.recovery import RECOVERY_DAYS
from medchain.ledger.kinds.subject import Operation
from medchain.node.policy_terms import TERMS
from medchain.store.accounts import Passkey
from medchain.web.routing import Caller, callers
from medchain.web.sign_in import CHALLENGE_S, MAX_BYTES, json_answer

SETTINGS: Final = "/my/settings"
"""Where they are."""

_NEW: Final = "new"
_MAKE: Final = "patient-passkey-make"


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
        for path, view in (
            ("/my/passkeys/<name>/make", self.make),
            ("/my/passkeys/<name>/begin", self.add),
        ):
            answered = callers(Caller.PUBLIC)(answering(self._site, view, OWN))
            blueprint.add_url_rule(path, view.__name__, answered, methods=["POST"])
        for path, form in (("/my/passkeys/<name>/remove", self.remove), ("/my/recoveries/<name>/cancel", self.cancel)):
            blueprint.add_url_rule(path, form.__name__, callers(Caller.PUBLIC)(partial(form)), methods=["POST"])
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
            wait_days=self._terms().get(RECOVERY_DAYS),
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

    def add(self, me: Patient, name: str, given: Mapping[str, Json]) -> Response:
        """Draft that a passkey comes, and tell where that is signed."""
        _check_new(name)
        person = self._mine(me)
        draft = self._drafted(me, person, given)
        place = self._signing.place(me, person.subject, draft, Act.ADD_PASSKEY, Way(SETTINGS, SETTINGS))
        return json_answer({"next": place}, 200, {})

    def remove(self, name: str) -> Response:
        """Draft that a passkey goes, and lead to where that is signed."""
        me = self._site.check_form(OWN)
        person = self._mine(me)
        key = _key(person, name)
        if len(person.keys) == 1:
            raise ConflictError("patient.last_passkey")
        asked: Json = {
            "credential_id": base64_text(key.credential),
            "operation": Operation.REMOVE_PASSKEY.value,
            "subject": person.subject.hex(),
        }
        draft = self._site.local.call("subject.draft", asked, QUICK)
        return self._signing.lead(me, person.subject, draft, Act.REMOVE_PASSKEY, Way(SETTINGS, SETTINGS, name))

    def cancel(self, name: str) -> Response:
        """Draft the cancellation of a recovery, and lead to where it is signed."""
        me = self._site.check_form(NOTHING)
        whose, recovery = self._recovery(me, name)
        whose.check_may(STOP)
        signer = self._signing.signer(whose)
        asked: Json = {"recovery": recovery.key, "signer": signer.hex()}
        draft = self._site.local.call("recovery.draft-cancel", asked, QUICK)
        home = "/my" if me.acting else SETTINGS
        names = {recovery.key: self._site.organisation(me, recovery.by)}
        return self._signing.lead(whose, signer, draft, Act.CANCEL, Way(home, home, names=names))

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

    def _terms(self) -> Mapping[str, Json]:
        """Ask the daemon for the terms of the policy in force, which members may have changed since the genesis."""
        answer = self._site.local.call(TERMS, {}, QUICK)
        return answer if isinstance(answer, dict) else {}

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
