"""The desk's page of contacts, for who has no passkey: a code goes to the address, comes back, and two attest it.

Keeps true: no notice goes to an address that nobody has shown to read; two of the staff attest that it comes, or that
one goes, which the ledger takes for nobody who, or in whose stead somebody, can sign; the last one never goes, and the
one that goes is told. Trusts two of the staff for who stands before them.
Source: `docs/spec/smart.md` 31; `docs/spec/subject.md` 10.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import Blueprint, Response, request

from consent.web.contact_codes import ContactCodes, contact_of_form
from consent.web.person import Person
from consent.web.site import SLOW
from fhir_bridge.staff.attesting import Attested, Attesting, Confirmed, Proposal
from fhir_bridge.staff.counter import Attended, Counter
from medchain.encoding import Json
from medchain.errors import ConflictError
from medchain.ledger.kinds.capacity import DEAD
from medchain.ledger.kinds.subject import Contact
from medchain.node.contact_address import CODE_S
from medchain.store.accounts import Role
from medchain.web.pages import redirected
from medchain.web.session import SignedIn

_PLACE: Final = "/desk/<case>/contacts"


class ContactPages:
    """The pages of one node; fills `fhir_bridge.staff.proposed.SecondHand`."""

    __slots__ = ("_attesting", "_codes", "_counter")

    def __init__(self, counter: Counter, attesting: Attesting) -> None:
        """Use what the pages of the desk share, and what waits for a second hand."""
        self._attesting = attesting
        self._codes = ContactCodes(counter.site)
        self._counter = counter

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            (_PLACE, self.contacts, "GET"),
            (f"{_PLACE}/code", self.back, "GET"),
            (f"{_PLACE}/code", self.code, "POST"),
            (f"{_PLACE}/confirm", self.back, "GET"),
            (f"{_PLACE}/confirm", self.confirm, "POST"),
            (f"{_PLACE}/remove", self.back, "GET"),
            (f"{_PLACE}/remove", self.remove, "POST"),
        )
        return self._counter.blueprint("desk_contacts", rows)

    def contacts(self, case: str) -> Response:
        """Show where somebody's notices go."""
        me = self._counter.site.pages.site.require(Role.DESK)
        return self._page(me, self._counter.attended(me, case))

    def back(self, case: str) -> Response:
        """Lead from the address of a form to the page."""
        self._counter.site.pages.site.require(Role.DESK)
        return redirected(f"/desk/{case}/contacts")

    def code(self, case: str) -> Response:
        """Send a code to an address, and ask for it."""
        me = self._counter.check_form()
        attended, contact = self._counter.attended(me, case), contact_of_form()
        self._codes.check_new(self._unable(attended), contact)
        self._codes.send(_who(attended), contact)
        return self._page(me, attended, contact)

    def confirm(self, case: str) -> Response:
        """Take a code that came back, and propose that the contact comes, as the first of two."""
        me = self._counter.check_form()
        attended, contact = self._counter.attended(me, case), contact_of_form()
        self._codes.check_new(self._unable(attended), contact)
        if not self._codes.use(_who(attended), contact, request.form.get("code", "")):
            return self._page(me, attended, contact, status=400)
        return self._propose(me, attended, Attested.CONTACT, contact)

    def remove(self, case: str) -> Response:
        """Propose that a contact goes, as the first of two."""
        me = self._counter.check_form()
        # As it stands there: what could not be sent to any more must go all the same.
        contact = Contact(request.form.get("channel", ""), request.form.get("address", ""))
        attended = self._counter.attended(me, case)
        self._without(self._unable(attended), contact)
        return self._propose(me, attended, Attested.CONTACT_GONE, contact)

    def preview(self, proposal: Proposal) -> dict[str, object]:
        """Word what the second hand confirms."""
        return {"contact": _proposed(proposal)}

    def confirmed(self, me: SignedIn, confirmed: Confirmed) -> Response:
        """Bring it to the ledger; final when this answers."""
        attended, contact = self._counter.open(me, confirmed.proposal.patient), _proposed(confirmed.proposal)
        person = self._unable(attended)
        if confirmed.proposal.deed is Attested.CONTACT_GONE:
            contacts = self._without(person, contact)
        else:
            contacts = [*self._codes.check_new(person, contact), contact]
        asked: Json = {
            "contacts": [one.to_json() for one in contacts],
            "staff": list(confirmed.staff),
            "subject": person.subject.hex(),
        }
        self._counter.site.local.call("subject.attest-contacts", asked, SLOW)
        return redirected(f"{attended.place}/contacts")

    def _propose(self, me: SignedIn, attended: Attended, deed: Attested, contact: Contact) -> Response:
        """Propose what becomes of a contact."""
        terms: Mapping[str, Json] = {"address": contact.address, "channel": contact.channel}
        made = self._attesting.propose(me, deed, attended.who.id, terms)
        return redirected(f"/desk/proposed/{made.id}")

    def _without(self, person: Person, contact: Contact) -> list[Contact]:
        """List somebody's contacts but for one that goes.

        Raises:
            ConflictError: ``contact.unknown`` for one that is none, ``contact.last`` for the only one.
        """
        known = self._codes.known(person)
        if contact not in known:
            raise ConflictError("contact.unknown")
        if len(known) == 1:
            raise ConflictError("contact.last")
        return [one for one in known if one != contact]

    def _page(self, me: SignedIn, attended: Attended, asked: Contact | None = None, status: int = 200) -> Response:
        """Show the page; `asked` is a contact that a code was sent to."""
        shown = self._codes.shown(self._unable(attended))
        channels, rows = shown.get("channels"), shown.get("contacts")
        return self._counter.site.pages.render(
            "staff/contacts.html",
            status,
            one=attended,
            channels=channels if isinstance(channels, list) else [],
            contacts=rows if isinstance(rows, list) else [],
            asked=asked,
            minutes=CODE_S // 60,
            form=self._counter.form(me),
        )

    def _unable(self, attended: Attended) -> Person:
        """Return the subject of somebody whose contacts the desk takes; raises `ConflictError` ``desk.contacts``."""
        person = self._counter.enrolled(attended)
        if not can_take_contacts(person, self._counter.site.org_id):
            raise ConflictError("desk.contacts")
        return person


def can_take_contacts(person: Person, org_id: str) -> bool:
    """Tell whether the desk takes somebody's contacts: nobody can sign for them."""
    is_signing = bool(person.keys) or any(one.is_in_force for one in person.delegations)
    return person.enroller == org_id and not is_signing and person.standing != DEAD


def _who(attended: Attended) -> str:
    """Name in whose name a code is asked for: whoever of the staff types it, it is the patient's."""
    return f"desk/{attended.who.id}"


def _proposed(proposal: Proposal) -> Contact:
    """Read what was proposed."""
    return Contact(str(proposal.terms.get("channel")), str(proposal.terms.get("address")))
