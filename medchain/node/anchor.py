"""The anchor: brings the commitments of stored records to the ledger, in batches that link nothing.

Keeps true: a record version that was stored is anchored, whatever crashes when, and never twice: the ledger's own
state says what is in, and the machine takes each version once; an intent leaves the outbox only when its transaction is
final; a batch mixes whatever waits, shuffled, so that it tells nothing of who was treated when; a version that the
ledger cannot take holds up no other, and somebody is told of it. Trusts the store and the replica of this node.
Source: `docs/spec/record-envelope.md`, `docs/spec/transaction.md`, `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Final, NamedTuple

from medchain.crypto.signing import ED25519, Ed25519Signer, key_id
from medchain.errors import MedchainError
from medchain.ledger.object import ACTIVE, StateRecord, map_key
from medchain.ledger.transaction import (
    CREATOR,
    ID_BYTES,
    MAX_OBJECTS,
    Change,
    ObjectRow,
    Signer,
    Transaction,
    pae,
    payload_bytes,
    seal,
)
from medchain.node.log import Log
from medchain.node.replica import Replica
from medchain.ordering.driver import Alarm
from medchain.ordering.receipt import Outcome, Receipt
from medchain.store.outbox import ANCHOR, Intent
from medchain.store.records import RecordStore

PERIOD_S: Final = 0.2
"""Longest wait between two rounds."""

MAX_WAITING: Final = 16 * MAX_OBJECTS
"""Most intents looked at in one round."""

MAX_BACKOFF_S: Final = 10.0
"""Longest wait after failures."""

MAX_AHEAD: Final = 256
"""How many blocks a batch is waited for, whatever height its receipt promises: who withholds could promise any."""

CONFLICT: Final = "anchor.conflict"
"""Alarm: the ledger holds a version of a record with another commitment than this node."""

REFUSED: Final = "anchor.refused"
"""Alarm: the ledger cannot take a version of a record."""

_RECORD: Final = "record"
# What one object of a batch can be to blame for, and no other node's ledger will judge otherwise later.
_OF_ONE: Final = frozenset(
    {"transaction.malformed", "transaction.objects", "transaction.status", "transaction.too_large"}
)
_LOG: Final = Log("anchor")


class Flight(NamedTuple):
    """A batch that the orderer has promised.

    Attributes:
        ids: numbers of its intents.
        height: the block of this height, or an earlier one, holds it.
    """

    ids: frozenset[int]
    height: int


@dataclass(slots=True)
class Round:
    """What one round found and did.

    Attributes:
        marked: intents that are final and left the outbox.
        ordered: intents in a block that is not final yet.
        submitted: intents in batches submitted now.
        refused: codes of batches refused.
        conflicts: intents whose version the ledger holds with another commitment; somebody must look.
        narrowed: intents of refused batches that come again in batches of half the size.
        aside: intents that wait apart from now on.
    """

    marked: int = 0
    ordered: int = 0
    submitted: int = 0
    refused: list[str] = field(default_factory=list)
    conflicts: int = 0
    narrowed: int = 0
    aside: list[int] = field(default_factory=list)


class Anchor:
    """Anchors one organisation's records. One thread calls it."""

    def __init__(
        self,
        org_id: str,
        signer: Ed25519Signer,
        replica: Replica,
        records: RecordStore,
        submit: Callable[[Sequence[bytes]], list[Outcome]],
    ) -> None:
        """Prepare.

        Args:
            org_id: the organisation.
            signer: its ledger key.
            replica: the node's ledger.
            records: records and outbox.
            submit: `medchain.ordering.driver.OrderingDriver.submit`.
        """
        self._org_id = org_id
        self._signer = signer
        self._replica = replica
        self._records = records
        self._submit = submit
        self._flights: list[Flight] = []
        self._conflicts: set[int] = set()
        # Most objects of the next batch of an intent whose last one was refused.
        self._most: dict[int, int] = {}
        self._alarms: dict[str, Alarm] = {}

    def alarms(self) -> list[Alarm]:
        """Return what somebody must look at, the first of each code since the start."""
        return list(self._alarms.values())

    def run(self, stop: Event) -> None:
        """Anchor until told to stop; what is unavailable is tried again, later each time."""
        failures, is_back = 0, False
        while not stop.is_set():
            try:
                if not is_back:
                    self._records.take_back()
                    is_back = True
                done = self.round()
            except MedchainError as error:
                failures += 1
                _LOG.warning("anchor.delayed", code=error.code, failures=failures)
            else:
                failures = failures + 1 if done.refused and not (done.narrowed or done.aside) else 0
            stop.wait(min(PERIOD_S * 2**failures, MAX_BACKOFF_S))

    def round(self) -> Round:
        """Reconcile the outbox with the ledger, and submit what is not in it.

        Returns:
            What happened.

        Raises:
            UnavailableError: the orderer or the disk; nothing is lost, the next round does it.
        """
        done = Round()
        height = self._replica.height
        self._flights = [flight for flight in self._flights if flight.height > height]
        flying = frozenset().union(*(flight.ids for flight in self._flights))
        ready: list[Intent] = []
        final: int | None = None
        marks: dict[int, list[int]] = {}
        for page in self._pending():
            heads = self._replica.store.heads([self._key(intent) for intent in page])
            for intent in page:
                head = heads[self._key(intent)]
                record = self._version(intent, head)
                if record is not None:
                    # Asked once, and only where something waits: mostly nothing does.
                    final = self._final_size() if final is None else final
                    self._reconcile(intent, record, final, marks, done)
                elif intent.id not in flying and intent.version == (1 if head is None else head.version + 1):
                    # A later version waits for those before it.
                    ready.append(intent)
        for position, ids in marks.items():
            self._records.mark_ordered(ids, position)
            done.marked += len(ids)
        self._send(ready, done)
        self._records.put_aside(done.aside)
        return done

    def _pending(self) -> Iterator[list[Intent]]:
        """List what waits, page by page."""
        after = 0
        for _ in range(MAX_WAITING // MAX_OBJECTS):
            page = self._records.pending(MAX_OBJECTS, after=after, kind=ANCHOR)
            yield page
            if len(page) < MAX_OBJECTS:
                return
            after = page[-1].id

    def _reconcile(
        self, intent: Intent, record: StateRecord, final: int, marks: dict[int, list[int]], done: Round
    ) -> None:
        """Deal with an intent whose version the ledger holds."""
        if record.body_hash != intent.commitment:
            done.conflicts += 1
            if intent.id not in self._conflicts:
                # Two histories of one record: a restored records file. Nothing here may decide which is right.
                self._conflicts.add(intent.id)
                self._tell(CONFLICT, intent=intent.id, version=record.version)
            if record.since < final:
                # Before that, a takeover may still drop what the ledger holds.
                done.aside.append(intent.id)
        elif record.since < final:
            marks.setdefault(record.since, []).append(intent.id)
        else:
            done.ordered += 1

    def _version(self, intent: Intent, head: StateRecord | None) -> StateRecord | None:
        """Return the state record of an intent's version, None if the ledger does not hold it."""
        if head is None or intent.version is None or head.version < intent.version:
            return None
        if head.version == intent.version:
            return head
        return self._replica.store.version(self._key(intent), intent.version)

    def _key(self, intent: Intent) -> bytes:
        """Return the map key of an intent's object."""
        return map_key(_RECORD, self._org_id, intent.object_id or b"")

    def _tell(self, code: str, **fields: int | str) -> None:
        """Log what somebody must look at, and raise the alarm."""
        _LOG.error(code, None, **fields)
        self._alarms.setdefault(code, Alarm(code, self._replica.height, dict(fields)))

    def _batches(self, ready: Sequence[Intent]) -> Iterator[list[Intent]]:
        """Make batches; what was in one that was refused comes in smaller ones."""
        sizes: dict[int, list[Intent]] = {}
        for intent in ready:
            sizes.setdefault(self._most.get(intent.id, MAX_OBJECTS), []).append(intent)
        for size, intents in sorted(sizes.items()):
            yield from make_batches(intents, size)

    def _narrow(self, batch: Sequence[Intent], code: str, done: Round) -> None:
        """Deal with a batch in which something is refused: halve it until it is known what, and put that aside."""
        if len(batch) > 1:
            self._most |= dict.fromkeys((intent.id for intent in batch), len(batch) // 2)
            done.narrowed += len(batch)
            return
        [intent] = batch
        self._tell(REFUSED, reason=code, intent=intent.id, version=intent.version or 0)
        done.aside.append(intent.id)

    def _send(self, ready: Sequence[Intent], done: Round) -> None:
        """Submit intents in shuffled batches."""
        batches = list(self._batches(ready))
        if not batches:
            return
        outcomes = self._submit([self._envelope(batch) for batch in batches])
        self._most.clear()
        for batch, outcome in zip(batches, outcomes, strict=True):
            if isinstance(outcome, Receipt):
                height = min(outcome.height_at_most, self._replica.height + MAX_AHEAD)
                self._flights.append(Flight(frozenset(intent.id for intent in batch), height))
                done.submitted += len(batch)
            else:
                done.refused.append(outcome.code)
                _LOG.warning("anchor.batch_refused", code=outcome.code, objects=len(batch))
                if outcome.code in _OF_ONE:
                    self._narrow(batch, outcome.code, done)

    def _envelope(self, batch: Sequence[Intent]) -> bytes:
        """Sign a batch; `MAX_OBJECTS` rows fit into a leaf up to versions of 13 digits."""
        snapshot = self._replica.members
        own = key_id(ED25519, self._signer.public)
        payload = payload_bytes(
            Transaction(
                creator=self._org_id,
                changes=tuple(_changes(batch)),
                bodies=(),
                signers=(Signer(own, CREATOR),),
                draw=None,
                ledger=self._replica.ledger,
                nonce=secrets.token_bytes(ID_BYTES),
                until=None,
                protocol=snapshot.protocol.protocol,
            )
        )
        return seal(payload, [(own, self._signer.sign(pae(payload)))]).leaf

    def _final_size(self) -> int:
        """Return how many leaves are final."""
        final = self._replica.store.final()
        return 0 if final is None else final.size


def make_batches(intents: Sequence[Intent], most: int = MAX_OBJECTS) -> Iterator[list[Intent]]:
    """Shuffle intents and split them; no object is in a batch twice.

    Args:
        intents: at most one version of an object each.
        most: objects of a batch, at most `MAX_OBJECTS`.

    Yields:
        Batches; which intents meet in one is the random source's choice.
    """
    shuffled = list({intent.object_id: intent for intent in intents}.values())
    secrets.SystemRandom().shuffle(shuffled)
    for start in range(0, len(shuffled), most):
        yield shuffled[start : start + most]


def _changes(batch: Sequence[Intent]) -> Iterator[Change]:
    """Write a batch's changes, one for each status."""
    by_status: dict[str, list[ObjectRow]] = {}
    for intent in batch:
        status = intent.payload.decode("ascii") or ACTIVE
        row = ObjectRow(intent.object_id or b"", intent.version or 0, intent.commitment or b"")
        by_status.setdefault(status, []).append(row)
    for status, rows in sorted(by_status.items()):
        yield Change(_RECORD, status, tuple(sorted(rows)))
