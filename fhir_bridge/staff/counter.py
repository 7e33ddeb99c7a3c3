"""What the pages of the desk share: whom they are about, found with the rights of who asks, and forms that count once.

Keeps true: a page about a patient is opened by a case, which is drawn, is of one member of the staff and ends; no
address names a patient; each look at who it is goes through the gate and is on the audit. Trusts the session for who
asks, and the daemon for what the ledger says of the patient.
Source: `docs/spec/smart.md` 29.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from consent.web.person import Person
from consent.web.site import QUICK, PatientSite, organisation_name
from fhir_bridge.browse.reading import Reading, access_of, objects_in
from fhir_bridge.document import Resource
from fhir_bridge.rest.core import Core
from fhir_bridge.smart.patients import name_text
from medchain.encoding import Json, canonical, members, parse_canonical
from medchain.errors import AccessDeniedError, ConflictError, NotFoundError
from medchain.store.accounts import Role
from medchain.web.pages import language
from medchain.web.session import SignedIn

CASE_S: Final = 3600
"""How long a page about a patient can be opened again, and a form of it counts."""

ADULT_YEARS: Final = 18
"""From which birthday on the desk enrols somebody as of age, as the default policy's terms have it."""

_LATEST_DAY: Final = "9999-12-31"
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

    def form(self, me: SignedIn) -> str:
        """Make what a form carries so that it counts once."""
        site = self.site.pages.site
        return site.signed.sign(_FORM, {"account": me.account.id}, site.clock() + CASE_S)

    def check_form(self, given: str, *roles: Role) -> SignedIn:
        """See that a form comes from a page of this session's, and for the first time.

        Args:
            given: what `form` made.
            roles: that may send it; none for the desk alone.

        Returns:
            Who sends it.

        Raises:
            AccessDeniedError: ``session.*``, ``page.ended``.
            ConflictError: ``desk.repeated``.
        """
        site = self.site.pages.site
        me, now = site.check_form(*(roles or (Role.DESK,))), site.clock()
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

    def open(self, me: SignedIn, patient: str) -> str:
        """Open a case of a patient; returns the address of its page at the desk.

        Raises:
            NotFoundError: ``desk.patient`` for what is no id.
            RefusedError: for a patient who is not here, or whom this person may not see.
        """
        if _ID.fullmatch(patient) is None:
            raise NotFoundError("desk.patient")
        self.identity(me, patient)
        site, document = self.site.pages.site, canonical({"account": me.account.id, "patient": patient})
        return f"/desk/{site.accounts.put_ticket(_CASE, document, site.clock() + CASE_S, site.clock())}"

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
        patient = str(found["patient"])
        return Attended(self.identity(me, patient), f"/desk/{case}", self.subjects(patient))

    def identity(self, me: SignedIn, patient: str) -> Identity:
        """Read who a patient is, in the name of one of the staff; raises `RefusedError`."""
        return _identity(self._reading(me).resource(f"Patient/{patient}")[0])

    def subjects(self, patient: str) -> tuple[bytes, ...]:
        """Return the map keys of a patient's subject objects."""
        return tuple(self.site.links.subjects_of(self.site.token(patient)))

    def person(self, attended: Attended) -> Person | None:
        """Ask the daemon for the patient's subject in force; None for one who is not enrolled."""
        return self.site.person_of(attended.subjects)

    def check_new(self, who: Identity) -> None:
        """See that somebody can be enrolled here; raises `ConflictError` ``patient.enrolled``, ``desk.minor``."""
        if self.site.person_of(self.subjects(who.id)) is not None:
            raise ConflictError("patient.enrolled")
        if self.may_be_minor(who):
            raise ConflictError("desk.minor")

    def may_be_minor(self, who: Identity) -> bool:
        """Tell whether somebody is under age by the record: on the latest day that a birth date may mean.

        Whoever is enrolled here signs alone, and a child signs by its guardians (`docs/spec/subject.md` 4).
        """
        today = datetime.fromtimestamp(self.site.pages.site.clock(), UTC).date()
        adult = f"{today.year - ADULT_YEARS:04}-{today.month:02}-{today.day:02}"
        latest = who.birth_date + _LATEST_DAY[len(who.birth_date) :]
        return bool(who.birth_date) and latest > adult

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

    def _reading(self, me: SignedIn) -> Reading:
        """Ask in the name of one of the staff."""
        return Reading(self.core, access_of(me), language())


def _identity(resource: Resource) -> Identity:
    """Read who a Patient is."""
    names, birth_date = objects_in(resource.get("name")), resource.get("birthDate")
    values = [one.get("value") for one in objects_in(resource.get("identifier"))]
    name, patient = name_text(names[0]) if names else "", str(resource.get("id"))
    return Identity(
        patient,
        name or patient,
        birth_date if isinstance(birth_date, str) else "",
        tuple(one for one in values if isinstance(one, str)),
    )
