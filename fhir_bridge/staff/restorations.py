"""The desk's page by which a declared death or incapacity is taken back: two attest it, and the person signs it.

Keeps true: it is the enroller's desk, of whom something is declared and who has a passkey to sign with, or of a child
with guardians; what two have confirmed changes nothing before the person, or all guardians, have signed. Trusts two of
the staff for who stands before them.
Source: `docs/spec/smart.md` 31; `docs/spec/subject.md` 1, 7.
"""

from __future__ import annotations

from flask import Blueprint, Response

from consent.web.person import Person
from consent.web.restoring import RESTORE_S, attest
from fhir_bridge.staff.attesting import Attested, Attesting, Confirmed, Proposal
from fhir_bridge.staff.counter import Attended, Counter
from medchain.errors import ConflictError
from medchain.web.pages import redirected
from medchain.web.session import SignedIn


class RestorationPages:
    """The pages of one node; fills `fhir_bridge.staff.proposed.SecondHand`."""

    __slots__ = ("_attesting", "_counter")

    def __init__(self, counter: Counter, attesting: Attesting) -> None:
        """Use what the pages of the desk share, and what waits for a second hand."""
        self._attesting = attesting
        self._counter = counter

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        return self._counter.blueprint("restorations", (("/desk/<case>/restoration", self.propose, "POST"),))

    def propose(self, case: str) -> Response:
        """Propose it, as the first of two."""
        me = self._counter.check_form()
        attended, method = self._counter.identified(me, case)
        self._restorable(attended)
        made = self._attesting.propose(me, Attested.RESTORATION, attended.who.id, {"method": method})
        return redirected(f"/desk/proposed/{made.id}")

    def preview(self, proposal: Proposal) -> dict[str, object]:
        """Word what the second hand confirms."""
        return {"method": self._counter.site.pages.say(f"method.{proposal.terms.get('method')}")}

    def confirmed(self, me: SignedIn, confirmed: Confirmed) -> Response:
        """Have it wait for the person's signature, and say how it is given."""
        attended = self._counter.open(me, confirmed.proposal.patient)
        site, person = self._counter.site.pages.site, self._restorable(attended)
        now = site.clock()
        attest(site.accounts, person.subject.hex(), confirmed.staff, now)
        return self._counter.site.pages.render(
            "staff/restoration.html",
            one=attended,
            is_by_guardians=_is_by_guardians(person),
            until=self._counter.site.moment(now + RESTORE_S),
        )

    def _restorable(self, attended: Attended) -> Person:
        """Return the subject of somebody of whom something can be taken back here; raises `ConflictError`."""
        person = self._counter.enrolled(attended)
        if not can_restore(person, self._counter.site.org_id):
            raise ConflictError("desk.restoration")
        return person


def can_restore(person: Person, org_id: str) -> bool:
    """Tell whether the person, or a child's guardians, can sign here that what was declared is taken back."""
    return person.enroller == org_id and bool(person.standing) and (bool(person.keys) or _is_by_guardians(person))


def _is_by_guardians(person: Person) -> bool:
    """Tell whether guardians sign it, of a child who cannot."""
    return not person.keys and person.is_minor and bool(person.guardians)
