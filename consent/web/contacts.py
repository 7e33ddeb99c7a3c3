"""Where a patient's notices go: contacts listed, added once a code has come back from them, and removed.

Keeps true: no notice goes to an address that nobody has shown to read; contacts change under the patient's signature
alone; until a code has come back the address is kept nowhere; who asks for codes, or guesses one, waits longer and
longer, and so does everybody who has one sent to the same address. Trusts the endorsers to check the signature again.
Source: `docs/spec/patient-pages.md` 20; `docs/spec/subject.md` 10; `docs/spec/notice.md` 10.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from flask import Blueprint, Response, request

from consent.web.acting import OWN
from consent.web.person import Person
from consent.web.signing import Signing, Way
from consent.web.site import QUICK, SLOW, Patient, PatientSite
from consent.web.ticket import Act
from medchain.encoding import Json, canonical
from medchain.errors import ConflictError, NotFoundError, UnavailableError
from medchain.ledger.kinds.subject import MAX_CONTACTS, Contact, Operation, read_contacts
from medchain.node.contact_address import CODE, CODE_S, SHOW, address_of
from medchain.web.pages import add_views, redirected

CONTACTS: Final = "/my/contacts"
"""Where they are."""

_TICKET: Final = "contact-code"
_NAME_DIGITS: Final = 32


class ContactPages:
    """The page."""

    __slots__ = ("_signing", "_site")

    def __init__(self, site: PatientSite) -> None:
        """Use what the pages are made from."""
        self._site = site
        self._signing = Signing(site)

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            (CONTACTS, self.contacts, "GET"),
            (f"{CONTACTS}/code", self.back, "GET"),
            (f"{CONTACTS}/code", self.code, "POST"),
            (f"{CONTACTS}/confirm", self.confirm, "POST"),
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
        person, contact = self._mine(me), _contact()
        _check_new(contact, self._known(person))
        site = self._site.pages.site
        asker, address = f"contact-code/{me.signed_in.account.id}", f"contact-address/{contact.address}"
        site.attempt(asker, address, note="contact-code")
        now = site.clock()
        code = self._sent(contact)
        site.accounts.put_ticket(_TICKET, b"", now + CODE_S, now, _secret(me, contact, code))
        return self._page(me, asked=contact)

    def confirm(self) -> Response:
        """Take a code that came back, draft that the contact comes, and lead to where that is signed."""
        me = self._site.check_form(OWN)
        person, contact = self._mine(me), _contact()
        known = self._known(person)
        _check_new(contact, known)
        if not self._is_right(me, contact, "".join(request.form.get("code", "").split())):
            response = self._page(me, asked=contact, is_wrong=True)
            response.status_code = 400
            return response
        return self._lead(me, person, [*known, contact])

    def remove(self, name: str) -> Response:
        """Draft that a contact goes, and lead to where that is signed."""
        me = self._site.check_form(OWN)
        person = self._mine(me)
        known = self._known(person)
        kept = [one for one in known if _name(one) != name]
        if len(kept) == len(known):
            raise NotFoundError("page.unknown")
        return self._lead(me, person, kept)

    def _page(self, me: Patient, asked: Contact | None = None, *, is_wrong: bool = False) -> Response:
        """Show the page; `asked` is a contact that a code was sent to, `is_wrong` that another one came back."""
        person = self._site.person(me)
        shown = self._shown(person) if person is not None else {}
        channels, rows = shown.get("channels"), shown.get("contacts")
        is_here = person is not None and person.enroller == self._site.org_id
        return self._site.render(
            "contacts.html",
            me,
            channels=channels if isinstance(channels, list) else [],
            contacts=[_row(one) for one in rows if isinstance(one, dict)] if isinstance(rows, list) else [],
            may_change=is_here and self._site.can_sign(),
            elsewhere="" if person is None or is_here else self._site.organisation(me, person.enroller),
            asked=asked,
            is_wrong=is_wrong,
            minutes=CODE_S // 60,
        )

    def _lead(self, me: Patient, person: Person, contacts: list[Contact]) -> Response:
        """Draft what the contacts are to be, and lead to where it is signed."""
        asked: Json = {
            "contacts": [one.to_json() for one in contacts],
            "operation": Operation.CHANGE_CONTACTS.value,
            "subject": person.subject.hex(),
        }
        draft = self._site.local.call("subject.draft", asked, QUICK)
        return self._signing.lead(me, person.subject, draft, Act.CHANGE, Way(CONTACTS, CONTACTS))

    def _sent(self, contact: Contact) -> str:
        """Have the daemon send a code; raises `UnavailableError` ``contact.unsent`` where it cannot."""
        try:
            answer = self._site.local.call(CODE, {"address": contact.address, "channel": contact.channel}, SLOW)
        except UnavailableError as error:
            raise UnavailableError("contact.unsent") from error
        return str(answer.get("code")) if isinstance(answer, dict) else ""

    def _is_right(self, me: Patient, contact: Contact, code: str) -> bool:
        """Use a code up; who guesses waits longer and longer (`AccessDeniedError` ``session.locked``)."""
        site, tried = self._site.pages.site, f"contact-guess/{me.signed_in.account.id}"
        site.attempt(tried, note="contact-guess")
        if site.accounts.take_ticket(_TICKET, _secret(me, contact, code), site.clock()) is None:
            return False
        site.accounts.forget_failures(tried)
        return True

    def _mine(self, me: Patient) -> Person:
        """Return the patient's subject, if this organisation changes it."""
        person = self._site.require_person(me)
        if person.enroller != self._site.org_id:
            raise ConflictError("subject.elsewhere", org_id=person.enroller)
        return person

    def _known(self, person: Person) -> list[Contact]:
        """List the patient's contacts."""
        rows = self._shown(person).get("contacts")
        named: list[Json] = [
            {"address": row.get("address"), "channel": row.get("channel")}
            for row in (rows if isinstance(rows, list) else [])
            if isinstance(row, dict)
        ]
        return list(read_contacts({"contacts": named}))

    def _shown(self, person: Person) -> dict[str, Json]:
        """Ask the daemon for contacts and channels."""
        answer = self._site.local.call(SHOW, {"subject": person.subject.hex()}, QUICK)
        return answer if isinstance(answer, dict) else {}


def _contact() -> Contact:
    """Read a contact from a form; raises `InputError` ``contact.email``, ``contact.channel``."""
    channel = request.form.get("channel", "")
    return Contact(channel, address_of(channel, request.form.get("address", "")))


def _check_new(contact: Contact, known: list[Contact]) -> None:
    """See that a contact is new, and not one too many; raises `ConflictError`."""
    if contact in known:
        raise ConflictError("contact.known")
    if len(known) >= MAX_CONTACTS:
        raise ConflictError("contact.many")


def _secret(me: Patient, contact: Contact, code: str) -> str:
    """Write what is kept of a code as a hash: it counts for one account and one address."""
    return canonical([me.signed_in.account.id, contact.channel, contact.address, code]).decode()


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
