"""Where a patient's notices go: contacts listed, added once a code has come back, removed; and what word is sent of.

Keeps true: no notice goes to an address that nobody has shown to read; contacts change under the patient's signature
alone. Trusts `consent.web.contact_codes` for what has shown that, and the endorsers to check the signature again.
Source: `docs/spec/patient-pages.md` 20; `docs/spec/subject.md` 10; `docs/spec/notice.md` 10.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from flask import Blueprint, Response, request

from consent.web.acting import OWN
from consent.web.contact_codes import ContactCodes, contact_of_form
from consent.web.person import Person
from consent.web.signing import Signing, Way
from consent.web.site import QUICK, Patient, PatientSite
from consent.web.ticket import Act
from medchain.encoding import Json, canonical
from medchain.errors import ConflictError, NotFoundError
from medchain.ledger.kinds.subject import Contact, Operation
from medchain.node.contact_address import CODE_S
from medchain.node.notices import CHOICE, CHOOSE, TOPICS
from medchain.web.pages import add_views, redirected

CONTACTS: Final = "/my/contacts"
"""Where they are."""

_NAME_DIGITS: Final = 32


class ContactPages:
    """The page."""

    __slots__ = ("_codes", "_signing", "_site")

    def __init__(self, site: PatientSite) -> None:
        """Use what the pages are made from."""
        self._codes = ContactCodes(site)
        self._site = site
        self._signing = Signing(site)

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            (CONTACTS, self.contacts, "GET"),
            (f"{CONTACTS}/code", self.back, "GET"),
            (f"{CONTACTS}/code", self.code, "POST"),
            (f"{CONTACTS}/confirm", self.confirm, "POST"),
            (f"{CONTACTS}/topics", self.back, "GET"),
            (f"{CONTACTS}/topics", self.choose, "POST"),
            (f"{CONTACTS}/<name>/remove", self.remove, "POST"),
        )
        return add_views(Blueprint("patient_contacts", __name__), rows)

    def contacts(self) -> Response:
        """Show where notices go."""
        return self._page(self._site.require(OWN))

    def back(self) -> Response:
        """Lead from the address of a form to the page."""
        return redirected(CONTACTS)

    def code(self) -> Response:
        """Send a code to an address, and ask for it."""
        me = self._site.check_form(OWN)
        person, contact = self._mine(me), contact_of_form()
        self._codes.check_new(person, contact)
        self._codes.send(me.signed_in.account.id, contact)
        return self._page(me, asked=contact)

    def confirm(self) -> Response:
        """Take a code that came back, draft that the contact comes, and lead to where that is signed."""
        me = self._site.check_form(OWN)
        person, contact = self._mine(me), contact_of_form()
        known = self._codes.check_new(person, contact)
        if not self._codes.use(me.signed_in.account.id, contact, request.form.get("code", "")):
            response = self._page(me, asked=contact, is_wrong=True)
            response.status_code = 400
            return response
        return self._lead(me, person, [*known, contact])

    def choose(self) -> Response:
        """Keep of which notices the patient is sent word by this organisation; all of them are listed all the same."""
        me = self._site.check_form(OWN)
        wanted = request.form.getlist("topic")
        asked: Json = {
            "quiet": [topic for topic in sorted(TOPICS) if topic not in wanted],
            "subject": self._site.require_person(me).subject.hex(),
        }
        self._site.local.call(CHOOSE, asked, QUICK)
        return redirected(f"{CONTACTS}?chosen=1#topics")

    def remove(self, name: str) -> Response:
        """Draft that a contact goes, and lead to where that is signed."""
        me = self._site.check_form(OWN)
        person = self._mine(me)
        known = self._codes.known(person)
        kept = [one for one in known if _name(one) != name]
        if len(kept) == len(known):
            raise NotFoundError("page.unknown")
        return self._lead(me, person, kept)

    def _page(self, me: Patient, asked: Contact | None = None, *, is_wrong: bool = False) -> Response:
        """Show the page; `asked` is a contact that a code was sent to, `is_wrong` that another one came back."""
        person = self._site.person(me)
        shown = self._codes.shown(person) if person is not None else {}
        channels, rows = shown.get("channels"), shown.get("contacts")
        is_here = person is not None and person.enroller == self._site.org_id
        return self._site.render(
            "contacts.html",
            me,
            channels=channels if isinstance(channels, list) else [],
            contacts=[_row(one) for one in rows if isinstance(one, dict)] if isinstance(rows, list) else [],
            may_change=is_here and self._site.can_sign(),
            elsewhere="" if person is None or is_here else self._site.organisation(me, person.enroller),
            topics=[] if person is None else self._topics(person),
            is_chosen=request.args.get("chosen") == "1",
            asked=asked,
            is_wrong=is_wrong,
            minutes=CODE_S // 60,
        )

    def _topics(self, person: Person) -> list[tuple[str, bool]]:
        """List what may be chosen, each with whether word of it is sent."""
        answer = self._site.local.call(CHOICE, {"subject": person.subject.hex()}, QUICK)
        quiet = answer.get("quiet") if isinstance(answer, dict) else None
        return [(topic, topic not in (quiet if isinstance(quiet, list) else ())) for topic in sorted(TOPICS)]

    def _lead(self, me: Patient, person: Person, contacts: list[Contact]) -> Response:
        """Draft what the contacts are to be, and lead to where it is signed."""
        asked: Json = {
            "contacts": [one.to_json() for one in contacts],
            "operation": Operation.CHANGE_CONTACTS.value,
            "subject": person.subject.hex(),
        }
        draft = self._site.local.call("subject.draft", asked, QUICK)
        return self._signing.lead(me, person.subject, draft, Act.CHANGE, Way(CONTACTS, CONTACTS))

    def _mine(self, me: Patient) -> Person:
        """Return the patient's subject, if this organisation changes it."""
        person = self._site.require_person(me)
        if person.enroller != self._site.org_id:
            raise ConflictError("subject.elsewhere", org_id=person.enroller)
        return person


def _name(contact: Contact) -> str:
    """Name a contact in addresses of pages, where it must not stand itself."""
    return sha256(canonical([contact.channel, contact.address])).hexdigest()[:_NAME_DIGITS]


def _row(row: dict[str, Json]) -> dict[str, object]:
    """Show a contact."""
    contact = Contact(str(row.get("channel")), str(row.get("address")))
    return {
        "address": contact.address,
        "channel": contact.channel,
        "is_undelivered": row.get("undelivered") is True,
        "name": _name(contact),
    }
