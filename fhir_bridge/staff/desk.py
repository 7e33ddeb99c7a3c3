"""The desk's pages of patients: who somebody is, whether enrolled, and the code with which a passkey is enrolled.

Keeps true: the desk alone gives codes, for a patient whom it may see, who is not enrolled yet; a code is shown once, on
the page that answers the form, and no form gives a second one. Trusts the desk for having seen the person's paper: who
has the code becomes that patient.
Source: `docs/spec/smart.md` 29; `docs/spec/patient-pages.md` 2.
"""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, request

from consent.web.codes import CODE, CODE_S, enrol_url, give_code
from consent.web.person import Person
from consent.web.site import QUICK
from fhir_bridge.browse.reading import RefusedError
from fhir_bridge.staff.attesting import Attesting, Proposal
from fhir_bridge.staff.contacts import can_take_contacts
from fhir_bridge.staff.counter import METHODS, Attended, Counter, Identity
from fhir_bridge.staff.guardians import may_dispute
from fhir_bridge.staff.restorations import can_restore
from medchain.claims.disputes import WAITING
from medchain.encoding import Json, as_object
from medchain.errors import NotFoundError, UnavailableError
from medchain.ledger.kinds.capacity import DEAD
from medchain.store.accounts import Role
from medchain.web.deeds import Kind, by
from medchain.web.pages import redirected
from medchain.web.session import SignedIn

DESK: Final = "/desk"
"""The desk's first page."""


class DeskPages:
    """The pages of one node."""

    __slots__ = ("_attesting", "_counter", "_pages", "_site")

    def __init__(self, counter: Counter, attesting: Attesting) -> None:
        """Use what the pages of the desk share, and what waits for a second hand."""
        self._attesting = attesting
        self._counter = counter
        self._pages = counter.site.pages
        self._site = counter.site.pages.site

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            (DESK, self.begin, "GET"),
            ("/desk/find", self.again, "GET"),
            ("/desk/find", self.find, "POST"),
            ("/desk/open", self.again, "GET"),
            ("/desk/open", self.open, "POST"),
            ("/desk/<case>", self.patient, "GET"),
            ("/desk/<case>/code", self.after_code, "GET"),
            ("/desk/<case>/code", self.code, "POST"),
        )
        return self._counter.blueprint("desk", rows)

    def begin(self) -> Response:
        """Show the search for a patient."""
        return self._show(self._site.require(Role.DESK))

    def again(self) -> Response:
        """Show the search, where a reader has changed the language of what was found."""
        self._site.require(Role.DESK)
        return redirected(DESK)

    def find(self) -> Response:
        """Find the patient by what was typed."""
        me, text = self._site.check_form(Role.DESK), request.form.get("text", "")
        try:
            return self._show(me, text, self._counter.find(me, text))
        except RefusedError as error:
            return self._show(me, text, problem=error)

    def open(self) -> Response:
        """Open the page of a patient who was found."""
        me = self._site.check_form(Role.DESK)
        return redirected(self._counter.open(me, request.form.get("patient", "")).place)

    def patient(self, case: str) -> Response:
        """Show a patient, and what can be done."""
        me = self._site.require(Role.DESK)
        attended = self._counter.attended(me, case)
        return self._pages.render(
            "staff/desk_patient.html",
            one=attended,
            state=self._state(me, self._counter.person(attended)),
            is_minor=self._counter.may_be_minor(attended.who),
            methods=METHODS,
            form=self._counter.form(me),
        )

    def after_code(self, case: str) -> Response:
        """Show the patient, where a reader has changed the language of a code: it is shown once."""
        self._site.require(Role.DESK)
        return redirected(f"{DESK}/{case}")

    def code(self, case: str) -> Response:
        """Give a code to enrol with, and show it."""
        me = self._counter.check_form()
        attended, method = self._counter.identified(me, case)
        self._counter.check_new(attended)
        return self._given(me, attended, method)

    def _given(self, me: SignedIn, attended: Attended, method: str) -> Response:
        """Give a code."""
        now = self._site.clock()
        with self._site.deeds.doing(by(me.account, Kind.ACCOUNT, subject=CODE)):
            code = give_code(self._site.accounts, attended.who.id, method, now)
        url = enrol_url(self._site.origins, self._counter.site.genesis.rp_id, code)
        until = self._counter.site.moment(now + CODE_S)
        return self._pages.render("staff/desk_code.html", one=attended, url=url, until=until)

    def _state(self, me: SignedIn, person: Person | None) -> dict[str, object] | None:
        """Word how a patient is enrolled; None for one who is not."""
        if person is None:
            return None
        enroller, *custodians = self._counter.named((person.enroller, *person.custodians))
        return {
            "can_die": person.enroller == self._site.org_id and person.standing != DEAD,
            "can_dispute": may_dispute(person, self._site.org_id),
            "can_take_contacts": can_take_contacts(person, self._site.org_id),
            "can_restore": can_restore(person, self._site.org_id),
            "can_recover": person.enroller != self._site.org_id and person.standing != DEAD,
            "enroller": enroller,
            "guardians": self._counter.guardians(me, person),
            "is_own": person.enroller == self._site.org_id,
            "custodians": custodians,
            "is_disputed": person.is_disputed,
            "passkeys": len(person.keys),
            "recoveries": len(person.recoveries),
            "standing": person.standing or ("minor" if person.is_minor else ""),
        }

    def _show(
        self,
        me: SignedIn,
        text: str = "",
        found: list[Identity] | None = None,
        problem: RefusedError | None = None,
    ) -> Response:
        """Show the search and what it found, and what waits for a second hand."""
        status, said = (200, "") if problem is None else (problem.status, problem.text)
        return self._pages.render(
            "staff/desk.html",
            status,
            text=text,
            found=found,
            problem=said,
            waiting=[self._waiting(me, one) for one in self._attesting.waiting()],
            disputes=self._disputes(),
        )

    def _disputes(self) -> dict[str, Json]:
        """Count the disputes about claims that wait for this organisation; none where the daemon does not tell."""
        try:
            return as_object(self._counter.site.local.call(WAITING, {}, QUICK))
        except (NotFoundError, UnavailableError):
            # It is a notice: a daemon that is away, or of before, keeps nobody from the desk.
            return {}

    def _waiting(self, me: SignedIn, one: Proposal) -> dict[str, object]:
        """Word what waits, without whom it is about: whoever opens it is on the audit for that."""
        first = self._attesting.proposer(one)
        return {
            "id": one.id,
            "deed": one.deed,
            "time": self._counter.site.moment(one.time),
            "first": "" if first is None else first.display,
            "is_own": one.account == me.account.id,
        }
