"""The desk's pages for people who do not decide alone: guardians of a child, or by a court, who disagree; and a death.

Keeps true: two of the staff attest each of them before it has any effect; guardians are of age, able, enrolled, known
here, and other people; a child is enrolled with guardians, until the day on which it is of age by the record and the
terms of the policy; whom a court appoints for who is enrolled, another organisation announces, and waits.
Trusts two of the staff for the paper that they have seen.
Source: `docs/spec/smart.md` 31; `docs/spec/subject.md` 3, 5, 7, 8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from flask import Blueprint, Response, request

from consent.web import restoring
from consent.web.person import Person
from consent.web.site import SLOW
from fhir_bridge.staff.attesting import Attested, Attesting, Confirmed, Proposal
from fhir_bridge.staff.counter import Attended, Counter, Identity
from fhir_bridge.staff.recoveries import RECOVERIES, check_recoverable
from medchain.encoding import Json
from medchain.errors import ConflictError, InputError
from medchain.ledger.kinds.capacity import CONSENT, DEAD, GUARDIAN, READ, STOP
from medchain.ledger.kinds.content import ANY_TYPE, DAY_S
from medchain.store.accounts import Role
from medchain.web.pages import redirected
from medchain.web.session import SignedIn

METHODS: Final = ("household-register", "birth-certificate", "court-order")
"""Papers that may show who the guardians are."""

MOST: Final = 2
"""Most guardians who are named at once."""

DEATH: Final = "death-certificate"
"""Paper that shows a death."""

_LASTS_DAYS: Final = 5 * 365
"""How long those whom a court appoints for who cannot decide count before they are appointed anew."""

_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Guardian:
    """A guardian who was found.

    Attributes:
        who: the person.
        subject: map key of the person's subject object, 32 bytes.
    """

    who: Identity
    subject: bytes

    def to_json(self, until: int) -> Json:
        """Write the row of a subject, `until` its last day."""
        return {
            "may": [CONSENT, READ, STOP],
            "resource_types": [ANY_TYPE],
            "role": GUARDIAN,
            "subject": self.subject.hex(),
            "until": until,
        }


class Guardians:
    """Finds guardians, and how long they count."""

    __slots__ = ("_counter",)

    def __init__(self, counter: Counter) -> None:
        """Use what the pages of the desk share."""
        self._counter = counter

    def found(self, me: SignedIn, attended: Identity, texts: Sequence[str]) -> list[Guardian]:
        """Find those whom a form names, each by an identifier or a name that one patient has alone.

        Raises:
            InputError: ``guardian.none``, ``.unknown``, and as `named`.
        """
        named = [self._counter.find(me, one) for one in texts if one.strip()]
        if not all(len(one) == 1 for one in named):
            raise InputError("guardian.unknown")
        return self.named(me, attended, [one[0].id for one in named])

    def named(self, me: SignedIn, attended: Identity, patients: Sequence[str]) -> list[Guardian]:
        """Look up those who were found, who may have died or come under guardians since.

        Args:
            me: who asks.
            attended: whose guardians they are to be.
            patients: ids of the guardians' Patients.

        Raises:
            InputError: ``guardian.none`` for nobody, for too many and for one who is named twice, ``guardian.same`` for
                the person itself, ``guardian.unable`` for who is not enrolled, or does not decide alone.
            RefusedError: for who is not here any more.
        """
        if not 0 < len(patients) <= MOST or len(set(patients)) != len(patients):
            raise InputError("guardian.none")
        return [self._one(self._counter.identity(me, one), attended) for one in patients]

    def _one(self, who: Identity, attended: Identity) -> Guardian:
        """Look somebody up."""
        if who.id == attended.id:
            raise InputError("guardian.same")
        person = self._counter.site.person_of(self._counter.subjects(who.id))
        if person is None or not person.is_able or self._counter.may_be_minor(who):
            raise InputError("guardian.unable")
        return Guardian(who, person.subject)

    def of_age(self, who: Identity) -> int:
        """Tell from which day on a child is of age; raises `InputError` ``guardian.birth`` where nobody can tell."""
        day = self._counter.majority(who)
        if day is None:
            raise InputError("guardian.birth")
        return (day - _EPOCH).days

    def until(self, who: Identity, person: Person) -> int:
        """Tell until which day the guardians of somebody who is enrolled count."""
        return self.of_age(who) if person.is_minor else self._counter.site.pages.site.clock() // DAY_S + _LASTS_DAYS


class Appointment:
    """What two do who attest guardians or a death; fills `fhir_bridge.staff.proposed.SecondHand`."""

    __slots__ = ("_counter", "_guardians")

    def __init__(self, counter: Counter, guardians: Guardians) -> None:
        """Use what the pages of the desk share, and what finds guardians."""
        self._counter = counter
        self._guardians = guardians

    def preview(self, proposal: Proposal) -> dict[str, object]:
        """Word what the second hand confirms."""
        me = self._counter.site.pages.site.require(Role.DESK)
        people = [self._counter.identity(me, one) for one in _patients(proposal)]
        person = self._counter.site.person_of(self._counter.subjects(proposal.patient))
        counted = [] if person is None else self._counter.guardians(me, person)
        method = str(proposal.terms.get("method", ""))
        said = self._counter.site.pages.say(f"method.{method}") if method else ""
        return {"counted": counted, "guardians": people, "method": said}

    def confirmed(self, me: SignedIn, confirmed: Confirmed) -> Response:
        """Bring it to the ledger; final when this answers."""
        attended, proposal = self._counter.open(me, confirmed.proposal.patient), confirmed.proposal
        asked: dict[str, Json] = {"method": str(proposal.terms.get("method")), "staff": list(confirmed.staff)}
        guardians = self._guardians.named(me, attended.who, _patients(proposal)) if _patients(proposal) else []
        match proposal.deed:
            case Attested.CHILD:
                self._enrol(attended, guardians, asked)
            case Attested.GUARDIANSHIP:
                self._announce(attended, guardians, asked)
                return redirected(RECOVERIES)
            case Attested.DISPUTE:
                subject = self._counter.enrolled(attended).subject.hex()
                disputed: Json = {"staff": asked["staff"], "subject": subject}
                self._counter.site.local.call("subject.declare-dispute", disputed, SLOW)
            case _:
                self._declare_death(attended, asked)
        return redirected(attended.place)

    def _declare_death(self, attended: Attended, asked: Mapping[str, Json]) -> None:
        """Declare a death; what was attested of the person before, as that an incapacity is over, counts no more."""
        subject, site = self._counter.enrolled(attended).subject.hex(), self._counter.site
        restoring.use_up(site.pages.site.accounts, subject, site.pages.site.clock())
        site.local.call("subject.declare-death", {**asked, "subject": subject}, SLOW)

    def _enrol(self, attended: Attended, guardians: Sequence[Guardian], asked: Mapping[str, Json]) -> None:
        """Enrol a child with its guardians."""
        self._counter.check_child(attended)
        of_age = self._guardians.of_age(attended.who)
        rows = [one.to_json(of_age) for one in guardians]
        more: dict[str, Json] = {"guardians": rows, "of_age": of_age, "patient": attended.who.id}
        self._counter.site.local.call("subject.enrol", {**asked, **more, "credentials": [], "custodians": []}, SLOW)

    def _announce(self, attended: Attended, guardians: Sequence[Guardian], asked: Mapping[str, Json]) -> None:
        """Announce whom a court has appointed."""
        person = self._counter.enrolled(attended)
        check_recoverable(person, self._counter.site.org_id)
        until = self._guardians.until(attended.who, person)
        rows = [one.to_json(until) for one in guardians]
        more: dict[str, Json] = {"guardians": rows, "incapable": not person.is_minor, "subject": person.subject.hex()}
        self._counter.site.local.call("recovery.announce", {**asked, **more}, SLOW)


class GuardianPages:
    """The pages of one node."""

    __slots__ = ("_attesting", "_counter", "_guardians", "_pages", "_site")

    def __init__(self, counter: Counter, attesting: Attesting, guardians: Guardians) -> None:
        """Use what the pages of the desk share, what waits for a second hand, and what finds guardians."""
        self._attesting = attesting
        self._counter = counter
        self._guardians = guardians
        self._pages = counter.site.pages
        self._site = counter.site.pages.site

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            ("/desk/<case>/guardians", self.begin, "GET"),
            ("/desk/<case>/guardians", self.name, "POST"),
            ("/desk/<case>/death", self.propose_death, "POST"),
            ("/desk/<case>/dispute", self.propose_dispute, "POST"),
        )
        return self._counter.blueprint("guardians", rows)

    def begin(self, case: str) -> Response:
        """Show an empty form."""
        me = self._site.require(Role.DESK)
        attended = self._counter.attended(me, case)
        self._deed(attended)
        return self._show(me, attended)

    def name(self, case: str) -> Response:
        """Show whom a form names, or propose them as the first of two."""
        me = self._counter.check_form()
        attended, method = self._counter.attended(me, case), request.form.get("method", "")
        deed, given = self._deed(attended), request.form.getlist("guardian")
        if method not in METHODS:
            raise InputError("desk.method")
        try:
            if request.form.get("step") != "propose":
                return self._show(me, attended, given, self._guardians.found(me, attended.who, given))
            found = self._guardians.named(me, attended.who, given)
        except InputError as error:
            return self._show(me, attended, given, problem=error)
        terms: Mapping[str, Json] = {"guardians": [one.who.id for one in found], "method": method}
        made = self._attesting.propose(me, deed, attended.who.id, terms)
        return redirected(f"/desk/proposed/{made.id}")

    def propose_death(self, case: str) -> Response:
        """Propose to declare a death, as the first of two."""
        me = self._counter.check_form()
        attended = self._counter.attended(me, case)
        person = self._counter.enrolled(attended)
        if person.enroller != self._site.org_id or person.standing == DEAD:
            raise ConflictError("desk.death")
        made = self._attesting.propose(me, Attested.DEATH, attended.who.id, {"method": DEATH})
        return redirected(f"/desk/proposed/{made.id}")

    def propose_dispute(self, case: str) -> Response:
        """Propose to declare that the guardians disagree, as the first of two."""
        me = self._counter.check_form()
        attended = self._counter.attended(me, case)
        if not may_dispute(self._counter.enrolled(attended), self._site.org_id):
            raise ConflictError("desk.dispute")
        made = self._attesting.propose(me, Attested.DISPUTE, attended.who.id, {})
        return redirected(f"/desk/proposed/{made.id}")

    def _deed(self, attended: Attended) -> Attested:
        """Tell what naming guardians comes to: a child's enrolment, or a recovery of who is enrolled."""
        person = self._counter.person(attended)
        if person is None:
            self._counter.check_child(attended)
            self._guardians.of_age(attended.who)
            return Attested.CHILD
        check_recoverable(person, self._site.org_id)
        self._guardians.until(attended.who, person)
        return Attested.GUARDIANSHIP

    def _show(
        self,
        me: SignedIn,
        attended: Attended,
        given: Sequence[str] = (),
        found: Sequence[Guardian] = (),
        *,
        problem: InputError | None = None,
    ) -> Response:
        """Show the form, with whom it names, or what is wrong with it."""
        said = "" if problem is None else self._pages.say_or(f"error.{problem.code}", problem.code)
        return self._pages.render(
            "staff/guardians.html",
            200 if problem is None else 400,
            one=attended,
            deed=self._deed(attended),
            given=[*given, *[""] * MOST][:MOST],
            found=[one.who for one in found],
            method=request.form.get("method", ""),
            methods=METHODS,
            problem=said,
            form=self._counter.form(me),
        )


def may_dispute(person: Person, org_id: str) -> bool:
    """Tell whether it can be declared here that a person's guardians disagree."""
    return person.enroller == org_id and len(person.guardians) > 1 and not person.is_disputed


def _patients(proposal: Proposal) -> list[str]:
    """Read who are to be guardians; nobody of a death."""
    found = proposal.terms.get("guardians", [])
    return [str(one) for one in found] if isinstance(found, list) else []
