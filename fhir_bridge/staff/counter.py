"""What the pages of the desk share: whom they are about, found with the rights of who asks, and forms that count once.

Keeps true: a page about a patient is opened by a case, which is drawn, is of one member of the staff and ends; no
address names a patient; each look at who it is goes through the gate and is on the audit. Trusts the session for who
asks, and the daemon for what the ledger says of the patient.
Source: `docs/spec/smart.md` 29.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

from flask import Blueprint, Response, request

from consent.web.person import Person
from consent.web.site import QUICK, PatientSite, organisation_name
from fhir_bridge.browse.pages import showing_refusals
from fhir_bridge.browse.reading import Reading, RefusedError, access_of
from fhir_bridge.document import Resource, objects_of
from fhir_bridge.rest.core import Core
from fhir_bridge.smart.patients import name_text
from medchain.dates import majority_of, may_be_minor
from medchain.encoding import Json, canonical, members, parse_canonical
from medchain.errors import AccessDeniedError, ConflictError, InputError, NotFoundError
from medchain.ledger.kinds.capacity import GUARDIAN
from medchain.store.accounts import Role
from medchain.web.pages import add_views, language
from medchain.web.session import SignedIn

CASE_S: Final = 3600
"""How long a page about a patient can be opened again, and a form of it counts."""

METHODS: Final = ("identity-card", "passport", "insurance-card")
"""How the desk may have checked who somebody is."""

_CASE: Final = "desk-case"
_FORM: Final = "desk-form"
_ACTIVE: Final = "active"
_MAX_CASE_BYTES: Final = 4096
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is, as far as it is compared with a paper.

    Attributes:
        id: of the Patient.
        name: as shown; the id where the record has none.
        birth_date: as recorded; empty for none.
        identifiers: values.
    """

    id: str
    name: str
    birth_date: str
    identifiers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attended:
    """A patient who is attended at the desk.

    Attributes:
        who: the patient.
        place: address of the page.
        subjects: map keys of the patient's subject objects.
    """

    who: Identity
    place: str
    subjects: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Counter:
    """What the pages of the desk are made from.

    Attributes:
        site: what the patient's pages are made from.
        core: the REST server's.
    """

    site: PatientSite
    core: Core

    def blueprint(self, name: str, rows: Iterable[tuple[str, Callable[..., Response], str]]) -> Blueprint:
        """Make the routes of some pages; rows as of `add_views`."""
        blueprint = Blueprint(name, __name__, template_folder="templates")
        return showing_refusals(self.site.pages, add_views(blueprint, rows))

    def form(self, me: SignedIn) -> str:
        """Make what a form carries so that it counts once."""
        site = self.site.pages.site
        return site.signed.sign(_FORM, {"account": me.account.id}, site.clock() + CASE_S)

    def check_form(self, *roles: Role) -> SignedIn:
        """See that a form comes from a page of this session's, and carries what `form` made for the first time.

        Args:
            roles: that may send it; none for the desk alone.

        Returns:
            Who sends it.

        Raises:
            AccessDeniedError: ``session.*``, ``page.ended``.
            ConflictError: ``desk.repeated``.
        """
        site = self.site.pages.site
        me, now, given = site.check_form(*(roles or (Role.DESK,))), site.clock(), request.form.get("form", "")
        if site.signed.open(_FORM, given, now) != {"account": me.account.id}:
            raise AccessDeniedError("session.form")
        if not site.use_once(f"{_FORM}/{given}", now + CASE_S):
            raise ConflictError("desk.repeated")
        return me

    def find(self, me: SignedIn, text: str) -> list[Identity]:
        """Find patients by what a member of the staff typed; raises `RefusedError`."""
        text = text.strip()
        found = self._reading(me).patients(text).resources if text else []
        return [_identity(one) for one in found]

    def open(self, me: SignedIn, patient: str) -> Attended:
        """Open a case of a patient.

        Raises:
            NotFoundError: ``desk.patient`` for what is no id.
            RefusedError: for a patient who is not here, or whom this person may not see.
        """
        if _ID.fullmatch(patient) is None:
            raise NotFoundError("desk.patient")
        who = self.identity(me, patient)
        site, document = self.site.pages.site, canonical({"account": me.account.id, "patient": patient})
        case = site.accounts.put_ticket(_CASE, document, site.clock() + CASE_S, site.clock())
        return self._attended(who, case)

    def attended(self, me: SignedIn, case: str) -> Attended:
        """Return whom a case is about.

        Raises:
            NotFoundError: ``desk.case`` for one that has ended, or is somebody else's.
            RefusedError: as for `open`.
        """
        site = self.site.pages.site
        document = site.accounts.see_ticket(_CASE, case, site.clock())
        if document is None:
            raise NotFoundError("desk.case")
        found = members(parse_canonical(document, max_bytes=_MAX_CASE_BYTES), {"account": str, "patient": str})
        if found["account"] != me.account.id:
            raise NotFoundError("desk.case")
        return self._attended(self.identity(me, str(found["patient"])), case)

    def identified(self, me: SignedIn, case: str) -> tuple[Attended, str]:
        """Return whom a case is about, and how a form says that the desk has checked who it is.

        Raises:
            InputError: ``desk.method``.
            NotFoundError: as `attended`; `RefusedError` likewise.
        """
        attended, method = self.attended(me, case), request.form.get("method", "")
        if method not in METHODS:
            raise InputError("desk.method")
        return attended, method

    def identity(self, me: SignedIn, patient: str) -> Identity:
        """Read who a patient is, in the name of one of the staff; raises `RefusedError`."""
        return _identity(self._reading(me).resource(f"Patient/{patient}")[0])

    def name_of(self, me: SignedIn, subject: bytes) -> str:
        """Name whose a subject (map key) is, who is known here, and whom this person may see; empty for others."""
        patient = self.site.patient_of(subject)
        try:
            return self.identity(me, patient).name if patient else ""
        except RefusedError:
            return ""

    def guardians(self, me: SignedIn, person: Person) -> list[str]:
        """Name the guardians of somebody that count now."""
        found = [one.delegate for one in person.delegations if one.role == GUARDIAN and one.is_in_force]
        return [self.name_of(me, one) or self.site.pages.say("family.unnamed") for one in found]

    def subjects(self, patient: str) -> tuple[bytes, ...]:
        """Return the map keys of a patient's subject objects."""
        return tuple(self.site.links.subjects_of(self.site.token(patient)))

    def person(self, attended: Attended) -> Person | None:
        """Ask the daemon for the patient's subject in force; None for one who is not enrolled."""
        return self.site.person_of(attended.subjects)

    def enrolled(self, attended: Attended) -> Person:
        """Ask for the same of who is enrolled; raises `NotFoundError` ``subject.unknown`` for who is not."""
        person = self.person(attended)
        if person is None:
            raise NotFoundError("subject.unknown")
        return person

    def check_new(self, attended: Attended) -> None:
        """See that somebody can be enrolled alone; raises `ConflictError` ``patient.enrolled``, ``desk.minor``."""
        self._check_unknown(attended)
        if self.may_be_minor(attended.who):
            raise ConflictError("desk.minor")

    def check_child(self, attended: Attended) -> None:
        """See that somebody can be enrolled with guardians; raises `ConflictError` as `check_new`, ``desk.of_age``."""
        self._check_unknown(attended)
        if not self.may_be_minor(attended.who):
            raise ConflictError("desk.of_age")

    def _check_unknown(self, attended: Attended) -> None:
        """See that somebody is not enrolled."""
        if self.person(attended) is not None:
            raise ConflictError("patient.enrolled")

    def may_be_minor(self, who: Identity) -> bool:
        """Tell whether somebody is under age by the record: a child signs by guardians (`docs/spec/subject.md` 4)."""
        return may_be_minor(who.birth_date, self.core.majority_years(), self.site.pages.site.clock())

    def majority(self, who: Identity) -> date | None:
        """Tell when somebody is of age by the record; None for who has no birth date there."""
        return majority_of(who.birth_date, self.core.majority_years())

    def organisations(self) -> Json:
        """Ask the daemon how the members are called."""
        answer = self.site.local.call("patient.consents", {"subjects": []}, QUICK)
        return answer.get("organisations") if isinstance(answer, dict) else None

    def others(self) -> dict[str, str]:
        """Name the members that are active, this organisation left out."""
        known = self.organisations()
        rows = known.items() if isinstance(known, dict) else ()
        return {
            org_id: organisation_name(known, org_id)
            for org_id, row in rows
            if org_id != self.site.org_id and isinstance(row, dict) and row.get("status") == _ACTIVE
        }

    def named(self, org_ids: Iterable[str]) -> list[str]:
        """Name organisations in the reader's language."""
        known = self.organisations()
        return [organisation_name(known, one) for one in org_ids]

    def _attended(self, who: Identity, case: str) -> Attended:
        """Say whom a case is about."""
        return Attended(who, f"/desk/{case}", self.subjects(who.id))

    def _reading(self, me: SignedIn) -> Reading:
        """Ask in the name of one of the staff."""
        return Reading(self.core, access_of(me), language())


def _identity(resource: Resource) -> Identity:
    """Read who a Patient is."""
    names, birth_date = objects_of(resource.get("name")), resource.get("birthDate")
    values = [one.get("value") for one in objects_of(resource.get("identifier"))]
    name, patient = name_text(names[0]) if names else "", str(resource.get("id"))
    return Identity(
        patient,
        name or patient,
        birth_date if isinstance(birth_date, str) else "",
        tuple(one for one in values if isinstance(one, str)),
    )
