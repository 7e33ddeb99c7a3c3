"""Codes by which somebody shows to read what comes to a contact, asked for on a patient's page or at the desk.

Keeps true: until a code has come back the address is kept nowhere; who asks for codes, or guesses one, waits longer and
longer, and so does everybody who has one sent to the same address. Trusts the daemon to send them.
Source: `docs/spec/patient-pages.md` 20; `docs/spec/notice.md` 10.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import request

from consent.web.person import Person
from consent.web.site import QUICK, SLOW, PatientSite
from medchain.encoding import Json, canonical
from medchain.errors import ConflictError, UnavailableError
from medchain.ledger.kinds.subject import MAX_CONTACTS, Contact, read_contacts
from medchain.node.contact_address import CODE, CODE_S, SHOW, address_of

_TICKET: Final = "contact-code"


class ContactCodes:
    """Sends codes, and takes them back; tells which contacts there are."""

    __slots__ = ("_site",)

    def __init__(self, site: PatientSite) -> None:
        """Use what the pages are made from."""
        self._site = site

    def send(self, who: str, contact: Contact) -> None:
        """Send a code to a contact.

        Args:
            who: names who asks: what is asked for in one name counts together, and a code counts for that name alone.
            contact: where it goes.

        Raises:
            AccessDeniedError: ``session.locked`` for who has to wait.
            UnavailableError: ``contact.unsent`` where it cannot be sent.
        """
        site = self._site.pages.site
        site.attempt(f"contact-code/{who}", f"contact-address/{contact.address}", note="contact-code")
        now, code = site.clock(), self._sent(contact)
        site.accounts.put_ticket(_TICKET, b"", now + CODE_S, now, _secret(who, contact, code))

    def use(self, who: str, contact: Contact, code: str) -> bool:
        """Use a code up; tells whether it was right. Who guesses waits (`AccessDeniedError` ``session.locked``)."""
        site, tried = self._site.pages.site, f"contact-guess/{who}"
        site.attempt(tried, note="contact-guess")
        typed = "".join(code.split())
        if site.accounts.take_ticket(_TICKET, _secret(who, contact, typed), site.clock()) is None:
            return False
        site.accounts.forget_failures(tried)
        return True

    def known(self, person: Person) -> list[Contact]:
        """List somebody's contacts."""
        rows = self.shown(person).get("contacts")
        named: list[Json] = [
            {"address": row.get("address"), "channel": row.get("channel")}
            for row in (rows if isinstance(rows, list) else [])
            if isinstance(row, dict)
        ]
        return list(read_contacts({"contacts": named}))

    def check_new(self, person: Person, contact: Contact) -> list[Contact]:
        """List somebody's contacts, of which one is to be none, nor one too many.

        Raises:
            ConflictError: ``contact.known``, ``contact.many``.
        """
        known = self.known(person)
        if contact in known:
            raise ConflictError("contact.known")
        if len(known) >= MAX_CONTACTS:
            raise ConflictError("contact.many")
        return known

    def shown(self, person: Person) -> Mapping[str, Json]:
        """Ask the daemon for somebody's contacts, and for the channels that there are here."""
        answer = self._site.local.call(SHOW, {"subject": person.subject.hex()}, QUICK)
        return answer if isinstance(answer, dict) else {}

    def _sent(self, contact: Contact) -> str:
        """Have the daemon send a code."""
        try:
            answer = self._site.local.call(CODE, {"address": contact.address, "channel": contact.channel}, SLOW)
        except UnavailableError as error:
            raise UnavailableError("contact.unsent") from error
        return str(answer.get("code")) if isinstance(answer, dict) else ""


def contact_of_form() -> Contact:
    """Read a contact from a form; raises `InputError` ``contact.email``, ``contact.sms``, ``contact.channel``."""
    channel = request.form.get("channel", "")
    return Contact(channel, address_of(channel, request.form.get("address", "")))


def _secret(who: str, contact: Contact, code: str) -> str:
    """Write what is kept of a code as a hash: it counts for one name and one address."""
    return canonical([who, contact.channel, contact.address, code]).decode()
