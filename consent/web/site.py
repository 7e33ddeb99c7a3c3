"""Who the patient is that a page is for, and what the pages ask of the node.

Keeps true: a page is for the patient of its session, or for the one for whom that patient acts, within the limits that
the ledger names; every answer of the daemon is about the subjects that this node has joined to that patient. Trusts the
session, the daemon of this node, and the ports for the records.
Source: `docs/spec/patient-pages.md`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final

from flask import Response, g, request

from consent.decision import Resource
from consent.web.acting import NOTHING, OWN, chosen_in, cookie_name, limits_of
from consent.web.person import Delegation, Person, person_of, represented_of
from consent.web.ports import Links, Local, PatientRecord, PatientRecords
from consent.web.replay import Replay, facts_shown
from consent.web.view import Given, hidings_of
from medchain.encoding import Json
from medchain.errors import AccessDeniedError, NotFoundError, UnavailableError
from medchain.ledger.genesis import Genesis
from medchain.ledger.kinds.capacity import CONSENT, READ, STOP
from medchain.ledger.kinds.content import ANY_TYPE
from medchain.node import asking
from medchain.node.notices import ASKED
from medchain.node.peers import Limits
from medchain.node.proofs import TRUSTED_POLICY, read_trusted_policy
from medchain.store.accounts import Role
from medchain.web.pages import LANGUAGES, Pages, language
from medchain.web.session import SignedIn

QUICK: Final = Limits(timeout_s=5.0, max_bytes=16 << 20)
"""For what the daemon only looks up."""

SLOW: Final = Limits(timeout_s=45.0, max_bytes=16 << 20)
"""For what waits until it is final."""

REFERENCE: Final = "Patient/"
"""How the reference of a patient begins."""

_TYPE: Final = re.compile(r"[A-Z][A-Za-z]{1,63}")
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")


@dataclass(frozen=True, slots=True)
class Acting:
    """That a patient acts for another one.

    Attributes:
        delegation: as the ledger has it.
        may: what it allows here, of ``consent``, ``read``, ``stop``.
        own: who acts.
    """

    delegation: Delegation
    may: frozenset[str]
    own: Patient


@dataclass(frozen=True, slots=True)
class Patient:
    """The patient whom a page is for: that of the session, or the one for whom that patient acts.

    Attributes:
        id: of the Patient here.
        signed_in: the session, of who acts.
        token: keyed token by which the records file knows the patient.
        subjects: map keys of the patient's subject objects.
        acting: who acts, and within which limits; None for the patient of the session.
    """

    id: str
    signed_in: SignedIn
    token: str
    subjects: tuple[bytes, ...]
    acting: Acting | None = None

    def may(self, deed: str) -> bool:
        """Tell whether who is signed in may do something for the patient: `OWN`, a delegate's deed, or `NOTHING`."""
        return self.acting is None or deed == NOTHING or deed in self.acting.may

    def check_may(self, deed: str) -> None:
        """See that it may; raises `AccessDeniedError` ``patient.own``, ``patient.limits``."""
        if not self.may(deed):
            raise AccessDeniedError("patient.own" if deed == OWN else "patient.limits")

    @property
    def types(self) -> tuple[str, ...]:
        """FHIR types within which who is signed in may permit, or ``*`` alone."""
        return (ANY_TYPE,) if self.acting is None else self.acting.delegation.resource_types

    def may_release(self) -> bool:
        """Tell whether who is signed in may end a hiding, which opens what refers to a record, of whatever type."""
        return self.may(CONSENT) and ANY_TYPE in self.types


@dataclass(frozen=True, slots=True)
class PatientSite:
    """What the patient's pages are made from.

    Attributes:
        pages: renders them.
        local: the daemon.
        records: the patient's own records.
        links: what the records file knows.
        token: patient's id → keyed token.
        genesis: of the ledger.
        api: base address of the FHIR API.
        sign_origin: address at which patients sign, another one than the pages'; empty where none does here.
    """

    pages: Pages
    local: Local
    records: PatientRecords
    links: Links
    token: Callable[[str], str]
    genesis: Genesis
    api: str
    sign_origin: str = ""

    @property
    def org_id(self) -> str:
        """Whose node it is."""
        return self.pages.site.org_id

    @property
    def zone(self) -> tzinfo:
        """Of dates without one, and in which times are shown."""
        return self.pages.site.zone

    def current(self) -> Patient | None:
        """Tell whom a page is for; None for nobody and for the staff.

        Raises:
            AccessDeniedError: ``patient.ended`` for who acted for somebody, and does no more.
        """
        found = self.pages.site.current()
        if found is None or found.account.role is not Role.PATIENT:
            return None
        if "patient_me" not in g:
            g.patient_me = self._acting(self._of(found))
        me: Patient = g.patient_me
        return me

    def own(self) -> Patient:
        """Return the patient of the session, for whomever that patient acts; raises `AccessDeniedError`."""
        return self._of(self.pages.site.require(Role.PATIENT))

    def require(self, may: str = READ) -> Patient:
        """Return whom a page is for.

        Args:
            may: what who acts for somebody else must be allowed to do; `OWN` for what only the person may.

        Raises:
            AccessDeniedError: ``session.none``, also for the staff; ``patient.ended``, ``patient.limits``,
                ``patient.own``.
        """
        found = self.current()
        if found is None:
            raise AccessDeniedError("session.none")
        found.check_may(may)
        return found

    def check_going_on(self, me: Patient) -> None:
        """See, while an answer takes long, that nobody has ended the session or the delegation under which it began.

        That the session's own time is over meanwhile ends nothing.

        Raises:
            AccessDeniedError: ``session.none``, ``patient.ended``.
        """
        site, session = self.pages.site, me.signed_in.session
        now = site.clock()
        if now < session.until and not site.accounts.session_lives(session.token, now):
            raise AccessDeniedError("session.none")
        if me.acting is not None and me.acting.delegation not in self._represented(me.acting.delegation.delegate):
            raise AccessDeniedError("patient.ended")

    def check_form(self, may: str = OWN) -> Patient:
        """See that a form comes from the patient's page; raises as `require` and `Site.check_form`."""
        self.pages.site.check_form(Role.PATIENT)
        return self.require(may)

    def represented(self, own: Patient) -> list[Delegation]:
        """Ask the daemon for whom a patient may act here now, those whom this organisation does not know left out."""
        person = self.person(own)
        if person is None or not person.is_able:
            return []
        return [one for one in self._represented(person.subject) if self.patient_of(one.person)]

    def patient_of(self, subject: bytes) -> str:
        """Find the id of the patient whom a subject is here; empty for one that is not known."""
        token = self.links.patient_of(subject)
        return "" if token is None else self.records.patient_of(token)

    def display_of(self, patient: str) -> str:
        """Name a patient who signs in here; empty for one who does not."""
        account = self.pages.site.accounts.account_named(account_name(patient)) if patient else None
        return "" if account is None else account.display

    def who(self, subject: bytes) -> str:
        """Name who has a subject (map key) and signs in here; a word for nobody in particular where nobody does."""
        return self.display_of(self.patient_of(subject)) or self.pages.say("family.unnamed")

    def name_of(self, me: Patient) -> str:
        """Name whom a page is for; may be empty."""
        if me.acting is None:
            return me.signed_in.account.display
        return self.display_of(me.id) or self.records_of(me).name(me.id, language())

    def records_of(self, me: Patient) -> PatientRecords:
        """Return the records, asked for under the name of who is signed in."""
        return self.records if me.acting is None else self.records.read_by(me.acting.own.id)

    def consents(self, me: Patient) -> Mapping[str, Json]:
        """Ask the daemon for the patient's consents, once a request."""
        if "patient_consents" not in g:
            asked: Json = {"patient": me.id, "subjects": [key.hex() for key in me.subjects]}
            answer = self.local.call("patient.consents", asked, QUICK)
            g.patient_consents = answer if isinstance(answer, dict) else {}
        found: Mapping[str, Json] = g.patient_consents
        return found

    def consent(self, me: Patient, key: str) -> Mapping[str, Json]:
        """Find what the daemon told of one of the patient's consents (map key in hexadecimal); empty for none."""
        rows = self.consents(me).get("consents")
        found = (row for row in (rows if isinstance(rows, list) else []) if isinstance(row, dict))
        return next((row for row in found if row.get("key") == key), {})

    def content(self, me: Patient, key: str) -> Mapping[str, Json]:
        """Return what was signed; empty for none of the patient's consents."""
        content = self.consent(me, key).get("content")
        return content if isinstance(content, dict) else {}

    def hidings(self, me: Patient) -> list[Given]:
        """List what the patient hides here."""
        return hidings_of(self.consents(me), self.org_id)

    def replay(self, me: Patient) -> Replay:
        """Give all of the patient's records to replay decisions over."""
        return self._replay(me, self.records_of(me).facts(me.id, language()))

    def replay_of(self, me: Patient, records: Sequence[PatientRecord]) -> Replay:
        """Give some of the patient's records, which a page has opened, to replay decisions over."""
        now = self.pages.site.clock()
        return self._replay(me, [facts_shown(one, now, self.zone) for one in records])

    def _replay(self, me: Patient, records: Sequence[Resource]) -> Replay:
        """Replay over records what the patient hides."""
        hidden = frozenset(one.hides for one in self.hidings(me) if one.hides is not None)
        return Replay(records, hidden, self.pages.site.clock(), self.zone)

    def asks(self, me: Patient) -> list[Mapping[str, Json]]:
        """Ask the daemon what the patient is asked, once a request; those that were answered too."""
        if "patient_asks" not in g:
            answer = self.local.call(asking.LIST, {"patient": me.id}, QUICK)
            rows = answer.get("asks") if isinstance(answer, dict) else None
            g.patient_asks = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        found: list[Mapping[str, Json]] = g.patient_asks
        return found

    def notices(self, me: Patient) -> list[Mapping[str, Json]]:
        """Ask the daemon what the patient is told and has not acknowledged, the newest first, but for own asks."""
        asked: Json = {"patient": me.id, "subjects": [key.hex() for key in me.subjects]}
        answer = self.local.call("notices.list", asked, QUICK)
        rows = answer.get("notices") if isinstance(answer, dict) else None
        found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        # What the patient is asked is shown itself, until it is answered; of a child the guardian is told.
        own = {key.hex() for key in me.subjects}
        shown = [row for row in found if not (row.get("kind") == ASKED and row.get("about") in own)]
        return [row for row in shown if row.get("acknowledged") is None]

    def acknowledge(self, me: Patient, name: str) -> None:
        """Note that the patient has seen a notice; raises `NotFoundError` for one that is not the patient's."""
        asked: Json = {"id": name, "patient": me.id, "subjects": [key.hex() for key in me.subjects]}
        self.local.call("notices.acknowledge", asked, QUICK)

    def organisation(self, me: Patient, org_id: str) -> str:
        """Name an organisation in the reader's language."""
        return organisation_name(self.consents(me).get("organisations"), org_id)

    def person(self, me: Patient) -> Person | None:
        """Ask the daemon for the patient's subject in force, once a request; None for a patient without one."""
        return self.person_of(me.subjects)

    def person_of(self, subjects: tuple[bytes, ...]) -> Person | None:
        """Ask the daemon, once a request, which of some subjects (map keys) is in force; None for none."""
        known: dict[tuple[bytes, ...], Person | None] = g.setdefault("patient_persons", {})
        if subjects not in known:
            known[subjects] = next(filter(None, map(self._shown, subjects)), None)
        return known[subjects]

    def beside(self, me: Patient) -> list[bytes]:
        """List who must sign what permits more with who acts for the patient (map keys): guardians who disagree."""
        person = None if me.acting is None else self.person(me)
        return [] if me.acting is None or person is None else person.beside(me.acting.delegation.delegate)

    def require_person(self, me: Patient) -> Person:
        """Return the patient's subject in force; raises `NotFoundError` ``subject.unknown`` where there is none."""
        found = self.person(me)
        if found is None:
            raise NotFoundError("subject.unknown")
        return found

    def render(self, template: str, me: Patient | None, **values: Any) -> Response:  # noqa: ANN401  # a template's
        """Render a page of the patient's, which says at once if somebody is about to replace the passkeys."""
        return self.pages.render(
            f"patient/{template}",
            patient=me,
            csrf="" if me is None else me.signed_in.csrf,
            acting=None if me is None or me.acting is None else self._acting_row(me, me.acting),
            warnings=[] if me is None else self._warnings(me),
            can_sign=self.can_sign(),
            forms_to=self.sign_origin if self.can_sign() else "",
            **values,
        )

    def policy(self) -> str:
        """Return the policy of the members that are final (C2SP tlog-policy)."""
        return read_trusted_policy(self.local.call(TRUSTED_POLICY, {}, QUICK))

    def can_sign(self) -> bool:
        """Tell whether a passkey's signature counts where this node has patients sign (genesis, ``sign_origins``).

        Never at an address of the portal, where what gets into its pages could ask for one.
        """
        return self.sign_origin in self.genesis.sign_origins and self.sign_origin not in self.pages.site.origins

    def day(self, seconds: int) -> str:
        """Write a date as the reader does."""
        return self.pages.day(seconds)

    def moment(self, seconds: int) -> str:
        """Write a date and time as the reader does."""
        return self.pages.moment(seconds)

    def purpose(self, code: str) -> str:
        """Word a purpose of use; its code where there is no word."""
        return self.pages.say_or(f"purpose.{code}", code)

    def _represented(self, delegate: bytes) -> list[Delegation]:
        """Ask for whom a subject (map key) may act now."""
        answer = self.local.call("subject.represented", {"subject": delegate.hex()}, QUICK)
        return represented_of(answer) if isinstance(answer, dict) else []

    def _shown(self, subject: bytes) -> Person | None:
        """Ask what is known of a subject; None for one that is not in force."""
        try:
            answer = self.local.call("subject.show", {"subject": subject.hex()}, QUICK)
        except NotFoundError:
            return None
        return person_of(subject, answer) if isinstance(answer, dict) else None

    def _acting_row(self, me: Patient, acting: Acting) -> dict[str, object]:
        """Word for whom somebody acts."""
        return {
            "name": self.name_of(me) or self.pages.say("family.unnamed"),
            "role": self.pages.say(f"family.role.{acting.delegation.role}"),
            "me": acting.own.signed_in.account.display or self.pages.say("patient.you"),
        }

    def _warnings(self, me: Patient) -> list[dict[str, object]]:
        """Word the recoveries that are under way; a page that needs no daemon goes without them while it is away.

        Who acts for somebody else sees the own ones, too.
        """
        try:
            found = [(one, self.person(one)) for one in (*(() if me.acting is None else (me.acting.own,)), me)]
        except UnavailableError:
            return []
        return [
            {
                "key": one.key,
                "title": self._recovery_title(whose, one.operation),
                "by": self.organisation(me, one.by),
                "method": self.pages.say_or(f"method.{one.method}", one.method),
                "announced": self.moment(one.announced),
                "takes_effect": self.moment(one.takes_effect),
                "may_cancel": whose.may(STOP),
            }
            for whose, person in found
            for one in (() if person is None else person.recoveries)
        ]

    def _recovery_title(self, whose: Patient, operation: str) -> str:
        """Say what a recovery would do, and to whom."""
        if whose.acting is None:
            return self.pages.say_or(f"recovery.{operation}", operation)
        return self.pages.say("recovery.other", name=self.name_of(whose) or self.pages.say("family.unnamed"))

    def _acting(self, own: Patient) -> Patient:
        """Return for whom a patient acts, the patient if for nobody else."""
        site = self.pages.site
        chosen = chosen_in(request.cookies.get(cookie_name(site), ""), site, own.signed_in)
        return own if chosen is None else self.acting_for(own, chosen)

    def acting_for(self, own: Patient, chosen: bytes) -> Patient:
        """Return somebody for whom a patient acts (map key); raises `AccessDeniedError` ``patient.ended``."""
        delegation = next((one for one in self.represented(own) if one.person == chosen), None)
        person = None if delegation is None else self._shown(chosen)
        if delegation is None or person is None:
            raise AccessDeniedError("patient.ended")
        patient = self.patient_of(chosen)
        token = self.token(patient)
        subjects = tuple(self.links.subjects_of(token))
        acting = Acting(delegation, limits_of(delegation, person), own)
        return Patient(patient, own.signed_in, token, subjects, acting)

    def _of(self, found: SignedIn) -> Patient:
        """Find the patient of an account."""
        patient = found.account.fhir_user.removeprefix(REFERENCE)
        token = self.token(patient)
        return Patient(patient, found, token, tuple(self.links.subjects_of(token)))


def organisation_name(organisations: Json, org_id: str) -> str:
    """Name an organisation in the reader's language.

    Args:
        organisations: as ``patient.consents`` tells them.
        org_id: which.

    Returns:
        Its name, the org_id where that is not known.
    """
    row = organisations.get(org_id) if isinstance(organisations, dict) else None
    names = row.get("name") if isinstance(row, dict) else None
    if not isinstance(names, dict) or not names:
        return org_id
    other = LANGUAGES[1 - LANGUAGES.index(language())]
    return str(names.get(language()) or names.get(other) or org_id)


def account_name(patient: str) -> str:
    """Name the account of a patient; a name of the staff's accounts cannot begin so."""
    return f"patient:{hashlib.sha256(patient.encode()).hexdigest()[:40]}"


def check_place(type_name: str, record_id: str) -> None:
    """See that an address names a record; raises `NotFoundError` ``page.unknown``."""
    if _TYPE.fullmatch(type_name) is None or _ID.fullmatch(record_id) is None:
        raise NotFoundError("page.unknown")
