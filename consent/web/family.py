"""Family and helpers: who may act for the patient, and for whom the patient acts.

Keeps true: a helper is named by a code that the helper has shown, never by a search; who names one signs it; an end,
signed or not, is a stop, which binds this organisation before the ledger has it; who acts for somebody does so
within what the ledger says at that moment (`consent.web.site`). Trusts the endorsers to check every signature again.
Source: `docs/spec/patient-pages.md` 14; `docs/spec/subject.md` 1, 4.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Final

from flask import Blueprint, Response, request

from consent.web import joint, restoring
from consent.web.acting import FAMILY, OWN, begin_acting, end_acting
from consent.web.kinds import KINDS, kinds_of
from consent.web.person import Delegation, Person
from consent.web.signing import Signing, Way
from consent.web.site import QUICK, REFERENCE, SLOW, Patient, PatientSite
from consent.web.ticket import Act
from consent.web.view import Given, given_of
from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import AccessDeniedError, ConflictError, InputError, NotFoundError
from medchain.ledger.kinds.capacity import CONSENT, GUARDIAN, HELPER, READ, STOP
from medchain.ledger.kinds.content import ANY_TYPE, DAY_S
from medchain.ledger.kinds.subject import Operation
from medchain.ledger.transaction import HASH_BYTES
from medchain.node import asking
from medchain.node.log import Log
from medchain.store.accounts import Role
from medchain.web.pages import add_views, language, redirected

CODE_S: Final = 3600
"""How long a helper's code counts."""

DAYS: Final = (365, 180, 90, 30)
"""For how many days a helper may be named; the first is chosen beforehand."""

DECIDE: Final = "decide"
"""Choice of limits: see, and decide on requests."""

VIEW: Final = "view"
"""Choice of limits: see, and nothing else."""

# Without letters and digits that look alike; ten of them are 50 bits, and who guesses is locked.
_LETTERS: Final = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
_LENGTH: Final = 10
_CODE: Final = "patient-helper-code"
_CHOICE: Final = "patient-helper-choice"
_CHOICE_S: Final = 600
_LOOKS_S: Final = 365 * DAY_S
_NEW: Final = "new"
_MAX_BYTES: Final = 4096
_LOG: Final = Log("patient")


class FamilyPages:
    """The pages."""

    __slots__ = ("_signing", "_site")

    def __init__(self, site: PatientSite) -> None:
        """Use what the pages are made from."""
        self._site = site
        self._signing = Signing(site)

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            (FAMILY, self.family, "GET"),
            (f"{FAMILY}/new", self.back, "GET"),
            (f"{FAMILY}/new", self.new, "POST"),
            (f"{FAMILY}/code", self.back, "GET"),
            (f"{FAMILY}/code", self.code, "POST"),
            ("/my/acting", self.act, "POST"),
            ("/my/helpers/<name>/end", self.end, "POST"),
            ("/my/helpers/<name>/sign", self.sign, "POST"),
            ("/my/represented/<name>/sign", self.leave, "POST"),
        )
        return add_views(Blueprint("patient_family", __name__), rows)

    def family(self) -> Response:
        """Show who may act for the patient, and for whom the patient acts."""
        return self._page(self._site.require(OWN))

    def back(self) -> Response:
        """Lead from the address of a form to the page."""
        return redirected(FAMILY)

    def code(self) -> Response:
        """Give the code by which somebody else names this patient a helper."""
        me = self._site.check_form(OWN)
        person, accounts = self._site.require_person(me), self._site.pages.site.accounts
        if not person.is_able:
            raise AccessDeniedError("patient.unable")
        now = self._site.pages.site.clock()
        code = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
        accounts.put_ticket(_CODE, canonical({"subject": person.subject.hex()}), now + CODE_S, now, code)
        return self._page(me, code=f"{code[:5]}-{code[5:]}", code_until=self._site.moment(now + CODE_S))

    def new(self) -> Response:
        """Show whom a code names and what that person could do, to be signed."""
        me = self._site.check_form(OWN)
        person = self._mine(me)
        helper, site = self._of_code(me, request.form.get("code", "")), self._site.pages.site
        if helper == person.subject:
            raise InputError("patient.helper_self")
        if any(one.delegate == helper and not one.is_ended for one in person.delegations):
            raise ConflictError("patient.helper_known")
        may, types, days = _limits()
        until = (site.clock() + days * DAY_S) // DAY_S
        chosen: dict[str, Json] = {
            "account": me.signed_in.account.id,
            "may": list[Json](may),
            "resource_types": list[Json](types),
            "subject": helper.hex(),
            "until": until,
        }
        limits = Delegation(person.subject, helper, HELPER, until, may, types, is_in_force=True, since=0)
        return self._site.render(
            "helper.html",
            me,
            helper=self._row(limits),
            choice=site.signed.sign(_CHOICE, chosen, site.clock() + _CHOICE_S),
        )

    def end(self, name: str) -> Response:
        """Stop a delegation without a passkey, in this organisation's own name."""
        me = self._site.check_form(OWN)
        person = self._site.require_person(me)
        ending = _delegation(person, name)
        if not person.is_able:
            # Who cannot decide takes no proxy away, by this organisation's hand neither.
            raise AccessDeniedError("patient.unable")
        self._site.local.call("stop", {"object": _key_of(ending)}, SLOW)
        return redirected(FAMILY)

    def act(self) -> Response:
        """Act for somebody from now on, or for nobody else."""
        # Judged as the patient of the session: who acts for somebody and may no more must be able to stop.
        self._site.pages.site.check_form(Role.PATIENT)
        own, chosen = self._site.own(), request.form.get("for", "")
        response = redirected("/my" if chosen else FAMILY)
        if not chosen:
            end_acting(response, self._site.pages.site)
            return response
        found = next((one for one in self._site.represented(own) if one.person.hex() == chosen), None)
        if found is None:
            raise NotFoundError("page.unknown")
        begin_acting(response, self._site.pages.site, own.signed_in, found.person)
        _LOG.info("patient.acts")
        return response

    def sign(self, name: str) -> Response:
        """Draft that a helper is named, or is one no more, and lead to where that is signed."""
        me = self._site.check_form(OWN)
        if name == _NEW:
            return self._name_one(me, self._chosen(me, request.form.get("choice", "")))
        person = self._site.require_person(me)
        ending = _delegation(person, name)
        return self._end_signed(me, person.subject, ending, {_key_of(ending): self._site.who(ending.delegate)})

    def leave(self, name: str) -> Response:
        """Draft that the patient acts for somebody no more, and lead to where that is signed."""
        me = self._site.check_form(OWN)
        found, own = self._represents(me, name), self._site.require_person(me)
        names = {found.person.hex(): str(self._row(found)["patient_name"])}
        if found.role != GUARDIAN:
            return self._end_signed(me, own.subject, found, names)
        asked: Json = {
            "operation": Operation.END_DELEGATE.value,
            "represented_by": own.subject.hex(),
            "signers": [own.subject.hex()],
            "subject": found.person.hex(),
        }
        draft = self._site.local.call("subject.draft", asked, QUICK)
        return self._signing.lead(me, own.subject, draft, Act.CHANGE, Way(FAMILY, FAMILY, names=names))

    def _page(self, me: Patient, **values: str) -> Response:
        """Show the page."""
        person = self._site.person(me)
        given = given_of(self._site.consents(me))
        return self._site.render(
            "family.html",
            me,
            delegates=[self._helper_row(me, one, given) for one in (person.delegations if person else ())],
            represented=[{**self._row(one), "restoring": self._restoring(one)} for one in self._site.represented(me)],
            kinds=[(kind, self._site.pages.say(f"kind.{kind}")) for kind in KINDS],
            days=[(one, self._site.pages.say("ask.days", days=one)) for one in DAYS],
            may_name=person is not None and person.is_able and person.enroller == self._site.org_id,
            may_help=person is not None and person.is_able,
            **values,
        )

    def _name_one(self, me: Patient, chosen: dict[str, Json]) -> Response:
        """Draft that somebody is a helper, and lead to where it is signed."""
        person = self._mine(me)
        asked: Json = {
            "delegate": chosen,
            "operation": Operation.NAME_DELEGATE.value,
            "subject": person.subject.hex(),
        }
        draft = self._site.local.call("subject.draft", asked, QUICK)
        known = [*(one.delegate for one in person.delegations), unhex(chosen["subject"], HASH_BYTES)]
        names = {key.hex(): self._site.who(key) for key in known}
        return self._signing.lead(me, person.subject, draft, Act.CHANGE, Way(FAMILY, FAMILY, names=names))

    def _end_signed(self, me: Patient, signer: bytes, ending: Delegation, names: dict[str, str]) -> Response:
        """Draft the end of a delegation, for either of the two to sign, and lead there."""
        asked: Json = {"delegation": _key_of(ending), "signer": signer.hex()}
        draft = self._site.local.call("delegation.draft-end", asked, QUICK)
        return self._signing.lead(me, signer, draft, Act.END_HELPER, Way(FAMILY, FAMILY, names=names))

    def _mine(self, me: Patient) -> Person:
        """Return the patient's subject, if this organisation changes it."""
        person = self._site.require_person(me)
        if person.enroller != self._site.org_id:
            raise ConflictError("subject.elsewhere", org_id=person.enroller)
        return person

    def _represents(self, me: Patient, name: str) -> Delegation:
        """Find for whom the patient acts; raises `NotFoundError` ``page.unknown``."""
        found = next((one for one in self._site.represented(me) if one.person.hex() == name), None)
        if found is None:
            raise NotFoundError("page.unknown")
        return found

    def _of_code(self, me: Patient, text: str) -> bytes:
        """Find whose a code is; who guesses waits longer and longer."""
        site, tried = self._site.pages.site, f"helper-code/{me.signed_in.account.id}"
        now = site.clock()
        site.attempt(tried, note="helper-code")
        code = "".join(one for one in text.upper() if one in _LETTERS)
        document = site.accounts.see_ticket(_CODE, code, now)
        if document is None:
            raise NotFoundError("patient.helper_code")
        site.accounts.forget_failures(tried)
        return unhex(members(parse_canonical(document, max_bytes=_MAX_BYTES), {"subject": str})["subject"], HASH_BYTES)

    def _chosen(self, me: Patient, text: str) -> dict[str, Json]:
        """Read what was chosen on the page before, as the ledger has a delegate."""
        site = self._site.pages.site
        chosen = site.signed.open(_CHOICE, text, site.clock())
        if chosen.pop("account", None) != me.signed_in.account.id:
            raise AccessDeniedError("page.ended")
        return {**chosen, "role": HELPER}

    def _row(self, one: Delegation) -> dict[str, object]:
        """Word a delegation, as it looks from either side."""
        say = self._site.pages.say
        patient = self._site.patient_of(one.person)
        types = one.resource_types
        kinds = [] if CONSENT not in one.may or ANY_TYPE in types else [say(f"kind.{kind}") for kind in kinds_of(types)]
        return {
            "person": one.person.hex(),
            "delegate": one.delegate.hex(),
            "patient_name": self._site.display_of(patient) or self._name(patient) or say("family.unnamed"),
            "delegate_name": self._site.who(one.delegate),
            "role": say(f"family.role.{one.role}"),
            "is_guardian": one.role == GUARDIAN,
            "may": [say(f"family.may.{deed}") for deed in (READ, CONSENT, STOP) if deed in one.may],
            "kinds": kinds,
            "is_whole": CONSENT in one.may and ANY_TYPE in types,
            "until": self._site.day(one.until * DAY_S),
            "since": self._site.day(one.since),
            "is_in_force": one.is_in_force,
            "is_ended": one.is_ended,
            "is_ordered": one.is_ordered,
        }

    def _restoring(self, one: Delegation) -> str:
        """Tell whether a guardian is to sign that a child's death is taken back, or waits for others who must."""
        if not restoring.is_attested_child(self._site, one):
            return ""
        site = self._site.pages.site
        kept = joint.find(site.accounts, restoring.joint_name(one.person.hex()), site.clock())
        return "sign" if kept is None or one.delegate.hex() in kept.missing else "waits"

    def _name(self, patient: str) -> str:
        """Name somebody for whom the patient acts and who does not sign in here: a child, for example."""
        own = self._site.own()
        return self._site.records.read_by(own.id).name(patient, language()) if patient and patient != own.id else ""

    def _helper_row(self, me: Patient, one: Delegation, given: list[Given]) -> dict[str, object]:
        """Word who may act for the patient, with what was done."""
        return {**self._row(one), "deeds": list(self._deeds(me, one, given))}

    def _deeds(self, me: Patient, one: Delegation, given: list[Given]) -> Iterator[dict[str, str]]:
        """Tell what a delegate has done: signed, ended, declined, looked."""
        say, name = self._site.pages.say, one.delegate.hex()
        for row in given:
            recipient = self._site.organisation(me, row.recipient)
            if row.signer == name:
                when = self._site.moment(row.signed_at)
                yield {"text": say("family.deed.gave", name=recipient, when=when), "key": row.key}
            if row.withdrawn_by == name:
                yield {"text": say("family.deed.ended", name=recipient), "key": row.key}
        for ask in self._site.asks(me):
            if ask.get("answered_by") == name and ask.get("answer") == asking.DECLINED:
                asker, answered = self._site.organisation(me, str(ask["asker"])), int(str(ask["answered"]))
                yield {"text": say("family.deed.declined", name=asker, when=self._site.moment(answered)), "key": ""}
        try:
            since = self._site.pages.site.clock() - _LOOKS_S
            looks = self._site.records.looks(me.id, since, language())
        except NotFoundError:
            yield {"text": say("looked.behind"), "key": ""}
            return
        delegate = self._site.patient_of(one.delegate)
        count = sum(look.who == REFERENCE + delegate for look in looks) if delegate else 0
        if count:
            yield {"text": say("family.deed.looked", count=count), "key": ""}


def _limits() -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """Read from a form what a helper may do, of which types, and for how many days; raises `InputError`."""
    form = request.form
    days = {str(one): one for one in DAYS}.get(form.get("days", ""))
    chosen = form.getlist("kind")
    if days is None or form.get("may") not in (VIEW, DECIDE) or not set(chosen) <= KINDS.keys():
        raise InputError("patient.helper_limits")
    if form.get("may") == VIEW:
        return (READ,), (ANY_TYPE,), days
    if form.get("all") == "1":
        return (CONSENT, READ, STOP), (ANY_TYPE,), days
    if not chosen:
        raise InputError("patient.helper_limits")
    return (CONSENT, READ, STOP), tuple(sorted(one for kind in chosen for one in KINDS[kind])), days


def _key_of(delegation: Delegation) -> str:
    """Return the map key of what ends a delegation; raises `AccessDeniedError` ``patient.guardian``."""
    if not delegation.key:
        # Who is protected does not end it.
        raise AccessDeniedError("patient.guardian")
    return delegation.key


def _delegation(person: Person, name: str) -> Delegation:
    """Find who may act for the patient; raises `NotFoundError` ``page.unknown``."""
    found = next((one for one in person.delegations if one.delegate.hex() == name), None)
    if found is None:
        raise NotFoundError("page.unknown")
    return found
