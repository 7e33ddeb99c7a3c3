"""Who the patient is that a page is for, and what the pages ask of the node.

Keeps true: a page is for the patient of its session alone; every answer of the daemon is about the subjects that this
node has joined to that patient. Trusts the session, the daemon of this node, and the ports for the records.
Source: `docs/spec/patient-pages.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Any, Final

from flask import Response, g

from consent.web.person import Person, person_of
from consent.web.ports import Links, Local, PatientRecords
from medchain.encoding import Json, canonical
from medchain.errors import AccessDeniedError, NotFoundError, UnavailableError
from medchain.ledger.genesis import Genesis, trusted_policy_text
from medchain.node import asking
from medchain.node.peers import Limits
from medchain.node.witnesses import WITNESSES
from medchain.store.accounts import Role
from medchain.web.pages import LANGUAGES, Pages, language
from medchain.web.session import SignedIn

QUICK: Final = Limits(timeout_s=5.0, max_bytes=16 << 20)
"""For what the daemon only looks up."""

SLOW: Final = Limits(timeout_s=45.0, max_bytes=16 << 20)
"""For what waits until it is final."""

_REFERENCE: Final = "Patient/"


@dataclass(frozen=True, slots=True)
class Patient:
    """The patient of a session.

    Attributes:
        id: of the Patient here.
        signed_in: the session.
        token: keyed token by which the records file knows the patient.
        subjects: map keys of the patient's subject objects.
    """

    id: str
    signed_in: SignedIn
    token: str
    subjects: tuple[bytes, ...]


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
        zone: in which times are shown.
        api: base address of the FHIR API.
    """

    pages: Pages
    local: Local
    records: PatientRecords
    links: Links
    token: Callable[[str], str]
    genesis: Genesis
    zone: tzinfo
    api: str

    @property
    def org_id(self) -> str:
        """Whose node it is."""
        return self.pages.site.org_id

    def current(self) -> Patient | None:
        """Tell which patient is signed in; None for nobody and for the staff."""
        found = self.pages.site.current()
        return None if found is None or found.account.role is not Role.PATIENT else self._of(found)

    def require(self) -> Patient:
        """Return the patient who is signed in; raises `AccessDeniedError` ``session.none``, also for the staff."""
        found = self.current()
        if found is None:
            raise AccessDeniedError("session.none")
        return found

    def check_form(self) -> Patient:
        """See that a form comes from the patient's page; raises as `medchain.web.session.Site.check_form`."""
        return self._of(self.pages.site.check_form(Role.PATIENT))

    def consents(self, me: Patient) -> Mapping[str, Json]:
        """Ask the daemon for the patient's consents, once a request."""
        if "patient_consents" not in g:
            asked: Json = {"subjects": [key.hex() for key in me.subjects]}
            answer = self.local.call("patient.consents", asked, QUICK)
            g.patient_consents = answer if isinstance(answer, dict) else {}
        found: Mapping[str, Json] = g.patient_consents
        return found

    def asks(self, me: Patient) -> list[Mapping[str, Json]]:
        """Ask the daemon what the patient is asked, once a request; those that were answered too."""
        if "patient_asks" not in g:
            answer = self.local.call(asking.LIST, {"patient": me.id}, QUICK)
            rows = answer.get("asks") if isinstance(answer, dict) else None
            g.patient_asks = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        found: list[Mapping[str, Json]] = g.patient_asks
        return found

    def notices(self, me: Patient) -> list[Mapping[str, Json]]:
        """Ask the daemon what the patient is told and has not acknowledged, the newest first."""
        asked: Json = {"patient": me.id, "subjects": [key.hex() for key in me.subjects]}
        answer = self.local.call("notices.list", asked, QUICK)
        rows = answer.get("notices") if isinstance(answer, dict) else None
        found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        return [row for row in found if row.get("acknowledged") is None]

    def acknowledge(self, me: Patient, name: str) -> None:
        """Note that the patient has seen a notice; raises `NotFoundError` for one that is not the patient's."""
        asked: Json = {"id": name, "patient": me.id, "subjects": [key.hex() for key in me.subjects]}
        self.local.call("notices.acknowledge", asked, QUICK)

    def organisation(self, me: Patient, org_id: str) -> str:
        """Name an organisation in the reader's language."""
        known = self.consents(me).get("organisations")
        row = known.get(org_id) if isinstance(known, dict) else None
        names = row.get("name") if isinstance(row, dict) else None
        if not isinstance(names, dict) or not names:
            return org_id
        other = LANGUAGES[1 - LANGUAGES.index(language())]
        return str(names.get(language()) or names.get(other) or org_id)

    def person(self, me: Patient) -> Person | None:
        """Ask the daemon for the patient's subject in force, once a request; None for a patient without one."""
        if "patient_person" not in g:
            g.patient_person = next(filter(None, map(self._shown, me.subjects)), None)
        found: Person | None = g.patient_person
        return found

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
            warnings=[] if me is None else self._warnings(me),
            signs_here=self.can_sign(),
            signs=self.signs,
            **values,
        )

    def policy(self) -> str:
        """Write the policy that the founders' keys make, with who orders now (C2SP tlog-policy)."""
        members = self.genesis.members
        answer = self.local.call(WITNESSES, {}, QUICK)
        log = answer.get("log") if isinstance(answer, dict) else None
        orderer = log.get("orderer") if isinstance(log, dict) else None
        if isinstance(orderer, str):
            members = replace(members, protocol=replace(members.protocol, orderer=orderer))
        return trusted_policy_text(members, self.genesis.origin)

    def can_sign(self) -> bool:
        """Tell whether a passkey's signature counts at the address of this page (genesis, ``sign_origins``)."""
        return bool(self.genesis.sign_origins.intersection(self.pages.site.origins))

    def signs(self, operation: str, **exactly: Json) -> str:
        """Say what a passkey's signature on a page is for; the page's script signs nothing else.

        Args:
            operation: as in `docs/spec/consent.md` 7.
            exactly: fields of the content, as the page shows them.

        Returns:
            Canonical JSON, for the attribute ``data-signs``.
        """
        ledger = self.genesis.ledger.hex()
        return canonical({"exactly": exactly, "ledger": ledger, "operation": operation}).decode()

    def day(self, seconds: int) -> str:
        """Write a date as the reader does."""
        at = datetime.fromtimestamp(seconds, self.zone)
        return f"{at.year}年{at.month}月{at.day}日" if language() == "zh" else f"{at.day} {at:%b} {at.year}"

    def moment(self, seconds: int) -> str:
        """Write a date and time as the reader does."""
        at = datetime.fromtimestamp(seconds, self.zone)
        return f"{self.day(seconds)} {at:%H:%M}" if language() == "zh" else f"{self.day(seconds)}, {at:%H:%M}"

    def purpose(self, code: str) -> str:
        """Word a purpose of use; its code where there is no word."""
        return self.pages.say_or(f"purpose.{code}", code)

    def _shown(self, subject: bytes) -> Person | None:
        """Ask what is known of a subject; None for one that is not in force."""
        try:
            answer = self.local.call("subject.show", {"subject": subject.hex()}, QUICK)
        except NotFoundError:
            return None
        return person_of(subject, answer) if isinstance(answer, dict) else None

    def _warnings(self, me: Patient) -> list[dict[str, str]]:
        """Word the recoveries that are under way; a page that needs no daemon goes without them while it is away."""
        try:
            person = self.person(me)
        except UnavailableError:
            return []
        return [
            {
                "key": one.key,
                "title": self.pages.say_or(f"recovery.{one.operation}", one.operation),
                "by": self.organisation(me, one.by),
                "method": self.pages.say_or(f"method.{one.method}", one.method),
                "announced": self.moment(one.announced),
                "takes_effect": self.moment(one.takes_effect),
            }
            for one in (() if person is None else person.recoveries)
        ]

    def _of(self, found: SignedIn) -> Patient:
        """Find the patient of an account."""
        patient = found.account.fhir_user.removeprefix(_REFERENCE)
        token = self.token(patient)
        return Patient(patient, found, token, tuple(self.links.subjects_of(token)))
