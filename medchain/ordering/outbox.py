"""The outbox's client side: submits until it sees the transaction in a block.

Keeps true: what was added is submitted again until a block holds it or it is refused for good; receipts go to the book
of promises, which holds the orderer to them. A transaction counts as ordered only when our own replica has applied its
block; a receipt alone is a promise. Durable intents are the store's; after a restart they are added again, which
changes nothing for those already in a block. Trusts the replica.
Source: `docs/spec/ordering.md` 2.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from medchain.errors import MedchainError, UnavailableError
from medchain.ledger.transaction import Stop, parse_envelope, transaction_id
from medchain.ordering.backoff import backoff_s
from medchain.ordering.block import Block
from medchain.ordering.driver import Replica
from medchain.ordering.promises import PromiseBook
from medchain.ordering.receipt import Outcome, Refused

MAX_PENDING: Final = 65_536
"""Most transactions under way."""

RESEND_S: Final = 5.0
"""After how long without its block a transaction is submitted again."""

_BATCH: Final = 256
_MAX_BATCH_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ordered:
    """A transaction is in a block that our own replica applied.

    Attributes:
        id: transaction id.
        height: of the block.
    """

    id: bytes
    height: int


Fate: TypeAlias = Ordered | Refused
"""What became of a transaction."""


@dataclass(slots=True)
class _Pending:
    """A transaction under way.

    Attributes:
        leaf: its envelope.
        due: when it is submitted next, on the monotonic clock.
        failures: how often in a row that has failed.
        alone: once it was refused together with others, for which it may not be to blame.
        answered: when it was answered last, on the same clock; 0 while it is to be submitted as if it never had been.
        done: set with its fate.
        fate: what became of it; None as long as nothing has.
    """

    leaf: bytes
    due: float = 0.0
    failures: int = 0
    alone: bool = False
    answered: float = 0.0
    done: threading.Event = field(default_factory=threading.Event)
    fate: Fate | None = None


class Outbox:
    """Transactions of this node that are not in a block yet. Safe for many threads; one calls `step`."""

    def __init__(
        self, replica: Replica, submit: Callable[[Sequence[bytes]], list[Outcome]], promises: PromiseBook
    ) -> None:
        """Prepare.

        Args:
            replica: the node's ledger.
            submit: `OrderingDriver.submit`.
            promises: holds the orderer to its receipts.
        """
        self._replica = replica
        self._submit = submit
        self._promises = promises
        self._changed = threading.Condition()
        self._pending: dict[bytes, _Pending] = {}
        # Those of them that are stops.
        self._stops: dict[bytes, _Pending] = {}

    def __len__(self) -> int:
        """Count the transactions under way."""
        return len(self._pending)

    def add(self, leaf: bytes) -> bytes:
        """Take a transaction on; the same one again changes nothing.

        Args:
            leaf: its envelope.

        Returns:
            Its id.

        Raises:
            InputError: ``transaction.*`` for what is no envelope.
            UnavailableError: ``outbox.full``.
        """
        envelope = parse_envelope(leaf)
        known = transaction_id(envelope.payload)
        with self._changed:
            if known not in self._pending:
                if len(self._pending) >= MAX_PENDING:
                    raise UnavailableError("outbox.full", waiting=len(self._pending))
                self._pending[known] = pending = _Pending(leaf)
                if isinstance(envelope.transaction, Stop):
                    self._stops[known] = pending
                self._changed.notify_all()
        height = self._replica.transaction_height(known)
        if height is not None:
            self._finish(known, Ordered(known, height))
        return known

    def wait(self, known: bytes, timeout_s: float) -> Fate | None:
        """Wait for a transaction's fate; None if it has none yet, or was never added."""
        with self._changed:
            pending = self._pending.get(known)
        if pending is None:
            height = self._replica.transaction_height(known)
            return None if height is None else Ordered(known, height)
        pending.done.wait(timeout_s)
        return pending.fate

    def step(self) -> int:
        """Submit what is due, once; returns how many envelopes were answered."""
        batch = self._due(time.monotonic())
        if not batch:
            return 0
        asked, voided = self._replica.members, self._promises.voided
        try:
            outcomes = self._submit([pending.leaf for _, pending in batch])
        except MedchainError as error:
            self._delay(batch, error)
            return 0
        if voided != self._promises.voided:
            # Whoever answered was replaced meanwhile: what it promised binds nobody, and all is due again.
            return 0
        rows = [(known, outcome) for (known, _), outcome in zip(batch, outcomes, strict=True)]
        receipts = [(known, outcome) for known, outcome in rows if not isinstance(outcome, Refused)]
        found = self._promises.take(receipts, asked, voided)
        now = time.monotonic()
        for (known, outcome), (_, pending) in zip(rows, batch, strict=True):
            pending.answered = now
            if isinstance(outcome, Refused):
                self._take_refusal(known, outcome)
            elif known not in found:
                pending.failures += 1
            elif (height := found[known]) is not None:
                self._finish(known, Ordered(known, height))
        return len(outcomes)

    def wait_for_work(self, timeout_s: float) -> None:
        """Wait until something may be due."""
        with self._changed:
            now = time.monotonic()
            nearest = min((pending.due - now for pending in self._pending.values()), default=timeout_s)
            if nearest > 0:
                self._changed.wait(min(nearest, timeout_s))

    def wake(self) -> None:
        """End a `wait_for_work`."""
        with self._changed:
            self._changed.notify_all()

    def seen(self, block: Block, ids: Collection[bytes]) -> None:
        """Look for our transactions in a block that the replica has applied, and for broken promises.

        Args:
            block: the newest one.
            ids: of its transactions.
        """
        if not self._pending and not len(self._promises):
            return
        there = frozenset(ids)
        withheld = self._promises.seen(block, there)
        for known in [known for known in there if known in self._pending]:
            self._finish(known, Ordered(known, block.height))
        with self._changed:
            for known in withheld:
                if known in self._pending:
                    self._pending[known].due = self._pending[known].answered = 0.0

    def reset(self) -> None:
        """Submit everything anew: after a takeover, receipts of the lost orderer bind nobody."""
        self._promises.void()
        with self._changed:
            for pending in self._pending.values():
                pending.due = pending.answered = 0.0
            self._changed.notify_all()

    def _due(self, now: float) -> list[tuple[bytes, _Pending]]:
        """Choose what to submit now, the oldest first: stops before all else, and apart from it.

        Of a suspended member nothing is taken but stops of its own, nor a batch in which there is anything else: where
        stops are refused together, each is tried alone, or one of another's that it has heard of would hold up its own.
        So few are taken at a time, and it sees no block that has them, that those which were answered wait for others.
        """
        with self._changed:
            stops = sorted(self._stops.items(), key=lambda row: row[1].answered)
            if any(not (pending.answered or pending.alone) for _, pending in stops):
                stops = [row for row in stops if not row[1].answered]
            others = (row for row in self._pending.items() if row[0] not in self._stops)
            return _batch(stops, now) or _batch(others, now)

    def _delay(self, batch: Sequence[tuple[bytes, _Pending]], error: MedchainError) -> None:
        """Try again later, as late as the error asks for."""
        is_refused = not isinstance(error, UnavailableError)
        least = float(error.retry_after_s) if isinstance(error, UnavailableError) else 0.0
        now = time.monotonic()
        with self._changed:
            for known, pending in batch:
                pending.failures += 1
                pending.alone = is_refused and known in self._stops
                pending.due = now + max(least * (0.5 + backoff_s(1)), backoff_s(pending.failures))

    def _take_refusal(self, known: bytes, refused: Refused) -> None:
        """Take the orderer's refusal of one transaction, unless our own ledger holds it."""
        height = self._replica.transaction_height(known)
        self._finish(known, refused if height is None else Ordered(known, height))

    def _finish(self, known: bytes, fate: Fate) -> None:
        """Tell whoever waits."""
        with self._changed:
            self._stops.pop(known, None)
            pending = self._pending.pop(known, None)
        if pending is not None:
            pending.fate = fate
            pending.done.set()


def _batch(waiting: Iterable[tuple[bytes, _Pending]], now: float) -> list[tuple[bytes, _Pending]]:
    """Take what is due of some transactions, as much as is submitted at once; it is due again later."""
    batch: list[tuple[bytes, _Pending]] = []
    size = 0
    for known, pending in waiting:
        if pending.due > now:
            continue
        size += len(pending.leaf)
        if batch and (pending.alone or len(batch) == _BATCH or size > _MAX_BATCH_BYTES):
            break
        pending.due = now + RESEND_S
        batch.append((known, pending))
        if pending.alone:
            break
    return batch
