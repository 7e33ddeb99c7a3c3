"""This node's letters to people: whom a notice goes to, what is written, the jobs that send it, and codes for contacts.

Keeps true: people are sent to a portal at which they can sign in: this organisation's own where it knows them as a
patient, else that of the organisation that enrolled them. Trusts the shelf for that organisation's name.
Source: `docs/spec/notice.md` 6-10.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from medchain.encoding import Json, digest, members, unhex
from medchain.errors import InputError, UnavailableError
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.node import letters
from medchain.node.contact_address import CODE, CODE_S, SHOW
from medchain.node.daemon import Job
from medchain.node.dispatching import Channel, Dispatcher
from medchain.node.ledger_node import LedgerNode
from medchain.node.letters import Letter, Sender
from medchain.node.notices import Addressee, NoticeBook
from medchain.node.subject_operations import read_contacts_or_none
from medchain.store.notices import Dispatch
from medchain.store.records import RecordStore

_DIGITS: Final = 6


class Correspondence:
    """Letters of one node. Threads may share it."""

    __slots__ = ("_channels", "_notices", "_org_id", "_portal", "_records", "_side")

    def __init__(
        self, side: LedgerNode, records: RecordStore, notices: NoticeBook, channels: Sequence[Channel], portal: str
    ) -> None:
        """Prepare.

        Args:
            side: the node's ledger side.
            records: knows what waits, and whose patient somebody is.
            notices: what people are told.
            channels: ways to people.
            portal: address of this organisation's own portal; empty for the one that the ledger names.
        """
        self._side = side
        self._org_id = side.judge.org_id
        self._records = records
        self._notices = notices
        self._channels = tuple(channels)
        self._portal = portal

    def jobs(self) -> tuple[Job, ...]:
        """Return what runs for as long as the daemon: for each channel who sends, and who watches that."""
        jobs: list[Job] = []
        for channel in self._channels:
            dispatcher = Dispatcher(channel, self._records, self.opened, self._side.judge.clock)
            jobs += [Job(f"send-{channel.name}", dispatcher.run), Job(f"watch-{channel.name}", dispatcher.watch)]
        return tuple(jobs)

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {CODE: self._send_code, SHOW: self._show}

    def _send_code(self, document: Json) -> Json:
        """Send a code to an address that somebody gives for the own one, now: that person waits for it."""
        top = members(document, {"address": str, "channel": str})
        channel = next((one for one in self._channels if one.name == top["channel"]), None)
        if channel is None:
            raise InputError("contact.channel")
        code = f"{secrets.randbelow(10**_DIGITS):0{_DIGITS}}"
        letter = letters.confirmation(secrets.token_hex(ID_BYTES), self._own(), code, CODE_S // 60)
        if not channel.send(str(top["address"]), letter):
            raise UnavailableError("contact.refused")
        return {"code": code}

    def _show(self, document: Json) -> Json:
        """Tell the contacts of a subject, whether the last letter reached each, and which channels there are here."""
        subject = unhex(members(document, {"subject": str})["subject"], HASH_BYTES)
        found = self._side.shelf.head(subject)
        contacts = read_contacts_or_none({} if found is None else found[1].content)
        rows: list[Json] = [
            {
                "address": contact.address,
                "channel": contact.channel,
                "undelivered": self._records.is_given_up(self._notices.place(Addressee(subject), contact)),
            }
            for contact in contacts
        ]
        return {"channels": [channel.name for channel in self._channels], "contacts": rows}

    def opened(self, dispatch: Dispatch, urgent: bool) -> tuple[str, Letter]:  # noqa: FBT001  # a port of Dispatcher
        """Write the letter of a dispatch.

        Args:
            dispatch: what is due.
            urgent: whether the person is to look today.

        Returns:
            Where it goes, and the letter.

        Raises:
            MedchainError: as `NoticeBook.contact`.
        """
        addressee, contact = self._notices.contact(dispatch)
        # Over the place, which is keyed: the id of a notice alone can be computed from what stands on the ledger.
        letter_id = digest("medchain/letter/v1", dispatch.notice, dispatch.place)[:ID_BYTES].hex()
        return contact.address, letters.news(letter_id, self._sender(addressee), urgent=urgent)

    def _sender(self, addressee: Addressee) -> Sender:
        """Say who writes, and where the person signs in."""
        own, organisations = self._own(), self._side.replica.store.members.organisations
        enroller = "" if addressee.patient or self._is_known(addressee.subject) else self._enroller(addressee.subject)
        if enroller not in organisations:
            return own
        return replace(own, portal=next(iter(organisations[enroller].origins), ""), is_witness=True)

    def _own(self) -> Sender:
        """Say who writes to those who sign in here."""
        own = self._side.replica.store.members.organisations[self._org_id]
        return Sender(own.name, self._portal or next(iter(own.origins), ""))

    def _is_known(self, subject: bytes) -> bool:
        """Tell whether somebody is a patient of this organisation."""
        return self._records.patient_of(subject) is not None

    def _enroller(self, subject: bytes) -> str:
        """Name who enrolled somebody, as far as that is shown here; empty otherwise."""
        found = self._side.shelf.head(subject)
        return "" if found is None else str(found[1].content.get("enroller", ""))
