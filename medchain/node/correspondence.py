"""This node's letters to people: whom a notice goes to, what is written, and the jobs that send it.

Keeps true: people are sent to a portal at which they can sign in: this organisation's own where it knows them as a
patient, else that of the organisation that enrolled them. Trusts the shelf for that organisation's name.
Source: `docs/spec/notice.md` 6-8.
"""

from __future__ import annotations

from collections.abc import Sequence

from medchain.encoding import digest
from medchain.ledger.transaction import ID_BYTES
from medchain.node import letters
from medchain.node.daemon import Job
from medchain.node.dispatching import Channel, Dispatcher
from medchain.node.ledger_node import LedgerNode
from medchain.node.letters import Letter, Sender
from medchain.node.notices import Addressee, NoticeBook
from medchain.store.notices import Dispatch
from medchain.store.records import RecordStore


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
        """Return what runs for as long as the daemon: one a channel."""
        clock = self._side.judge.clock
        return tuple(
            Job(f"send-{channel.name}", Dispatcher(channel, self._records, self.opened, clock).run)
            for channel in self._channels
        )

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
        members = self._side.replica.store.members.organisations
        own = members[self._org_id]
        enroller = "" if addressee.patient or self._is_known(addressee.subject) else self._enroller(addressee.subject)
        if enroller in members:
            return Sender(own.name, next(iter(members[enroller].origins), ""), is_witness=True)
        return Sender(own.name, self._portal or next(iter(own.origins), ""))

    def _is_known(self, subject: bytes) -> bool:
        """Tell whether somebody is a patient of this organisation."""
        return self._records.patient_of(subject) is not None

    def _enroller(self, subject: bytes) -> str:
        """Name who enrolled somebody, as far as that is shown here; empty otherwise."""
        found = self._side.shelf.head(subject)
        return "" if found is None else str(found[1].content.get("enroller", ""))
