"""The outbox's client side: submits until it sees the transaction in a block, and holds the orderer to its receipts.

Keeps true: what was added is submitted again until a block holds it or it is refused for good; a receipt's height that
passes without its transaction is an alarm with the receipt as evidence. A transaction counts as ordered only when our
own replica has applied its block; a receipt alone is a promise. Durable intents are the store's; after a restart they
are added again, which changes nothing for those already in a block. Trusts the replica.
Source: `docs/spec/ordering.md` 2.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from medchain.errors import MedchainError, UnavailableError, VerificationError
from medchain.ledger.members import LOG_KEY, Members
from medchain.ledger.transaction import parse_envelope, transaction_id
from medchain.ordering.backoff import backoff_s
from medchain.ordering.block import Block, accepted_id
from medchain.ordering.driver import Alarm, Clock, Replica
from medchain.ordering.receipt import Outcome, Receipt, Refused, verify_receipt

WITHHELD: Final = "ordering.withheld"
"""Alarm: a receipt's height has passed without its transaction."""

REORDERED: Final = "ordering.reordered"
"""Alarm: a transaction came in a later block than its receipt promised."""

PROMISE_S: Final = 60
"""How long a promise may take, whatever height it names: a block this much younger than the receipt breaks it."""

RECEIPT_OTHER: Final = "receipt.other"
"""Alarm: a receipt that does not speak of what was submitted."""

RECEIPT_TIME: Final = "receipt.time"
"""Alarm: a receipt's time is not the time at which it came, so that nobody could tell when it is broken."""

MAX_PENDING: Final = 65_536
"""Most transactions under way."""

RESEND_S: Final = 5.0
"""After how long without its block a transaction is submitted again."""

_BATCH: Final = 256
_MAX_BATCH_BYTES: Final = 1024 * 1024


class Receipts(Protocol):
    """Keeps receipts and broken ones, on disk in a node."""

    def put(self, receipt: Receipt) -> None:
        """Keep a verified receipt."""
        ...


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
    """A transaction under way."""

    leaf: bytes
    due: float = 0.0
    failures: int = 0
    receipt: Receipt | None = None
    is_withheld: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    fate: Fate | None = None


class Outbox:
    """Transactions of this node that are not in a block yet. Safe for many threads; one calls `step`."""

    def __init__(
        self,
        replica: Replica,
        submit: Callable[[Sequence[bytes]], list[Outcome]],
        clock: Clock,
        receipts: Receipts,
        raise_alarm: Callable[[Alarm], None],
    ) -> None:
        """Prepare.

        Args:
            replica: the node's ledger.
            submit: `OrderingDriver.submit`.
            clock: gives Unix seconds.
            receipts: keeps receipts.
            raise_alarm: told of broken ones.
        """
        self._replica = replica
        self._submit = submit
        self._clock = clock
        self._receipts = receipts
        self._raise_alarm = raise_alarm
        self._changed = threading.Condition()
        self._pending: dict[bytes, _Pending] = {}
        self._resets = 0

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
        known = transaction_id(parse_envelope(leaf).payload)
        with self._changed:
            if known not in self._pending:
                if len(self._pending) >= MAX_PENDING:
                    raise UnavailableError("outbox.full", waiting=len(self._pending))
                self._pending[known] = _Pending(leaf)
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

    def receipt(self, known: bytes) -> Receipt | None:
        """Return the receipt of a transaction under way, or None: what narrows binds on it already."""
        with self._changed:
            pending = self._pending.get(known)
            return None if pending is None else pending.receipt

    def step(self) -> int:
        """Submit what is due, once; returns how many envelopes were answered."""
        batch = self._due(time.monotonic())
        if not batch:
            return 0
        asked, resets = self._replica.members, self._resets
        try:
            outcomes = self._submit([pending.leaf for _, pending in batch])
        except MedchainError as error:
            self._delay(batch, error)
            return 0
        if resets != self._resets:
            # Whoever answered was replaced meanwhile: what it promised binds nobody, and all is due again.
            return 0
        # One receipt speaks of many transactions: it is judged once, and kept once if it is news for any.
        receipts = {id(outcome): outcome for outcome in outcomes if not isinstance(outcome, Refused)}
        true = {name for name, receipt in receipts.items() if self._is_true(receipt, asked)}
        news: dict[int, Receipt] = {}
        for (known, pending), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Refused):
                self._take_refusal(known, outcome)
            elif id(outcome) not in true or not self._covers(outcome, known):
                pending.failures += 1
            elif self._take(known, pending, outcome):
                news[id(outcome)] = outcome
        for receipt in news.values():
            self._receipts.put(receipt)
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

    def seen(self, block: Block) -> None:
        """Look for our transactions in a block that the replica has applied, and for broken receipts."""
        if not self._pending:
            return
        for known in map(accepted_id, block.transactions):
            pending = self._pending.get(known)
            if pending is not None:
                if pending.receipt is not None and pending.receipt.height_at_most < block.height:
                    self._break(REORDERED, known, pending.receipt, block.height)
                self._finish(known, Ordered(known, block.height))
        with self._changed:
            rows = list(self._pending.items())
        for known, pending in rows:
            receipt = pending.receipt
            if receipt is not None and _is_over(receipt, block) and not pending.is_withheld:
                pending.is_withheld = True
                pending.due = 0.0
                self._break(WITHHELD, known, receipt, block.height)

    def reset(self) -> None:
        """Submit everything anew: after a takeover, receipts of the lost orderer bind nobody."""
        with self._changed:
            self._resets += 1
            for pending in self._pending.values():
                pending.receipt, pending.due, pending.is_withheld = None, 0.0, False
            self._changed.notify_all()

    def _due(self, now: float) -> list[tuple[bytes, _Pending]]:
        """Choose what to submit now, the oldest first."""
        batch: list[tuple[bytes, _Pending]] = []
        size = 0
        with self._changed:
            for known, pending in self._pending.items():
                if pending.due > now:
                    continue
                size += len(pending.leaf)
                if batch and (len(batch) == _BATCH or size > _MAX_BATCH_BYTES):
                    break
                pending.due = now + RESEND_S
                batch.append((known, pending))
        return batch

    def _delay(self, batch: Sequence[tuple[bytes, _Pending]], error: MedchainError) -> None:
        """Try again later, as late as the error asks for."""
        least = float(error.retry_after_s) if isinstance(error, UnavailableError) else 0.0
        now = time.monotonic()
        with self._changed:
            for _, pending in batch:
                pending.failures += 1
                pending.due = now + max(least * (0.5 + backoff_s(1)), backoff_s(pending.failures))

    def _is_true(self, receipt: Receipt, asked: Members) -> bool:
        """Verify a receipt of who was asked; a false one is an alarm.

        The block that it promises may hand over, and be here before the receipt: then another orders by now.
        """
        failure: VerificationError | None = None
        for log_key in dict.fromkeys((_log_key(asked), _log_key(self._replica.members))):
            try:
                verify_receipt(receipt, self._replica.ledger, log_key)
                _check_time(receipt, self._clock())
            except VerificationError as error:
                failure = failure or error
            else:
                return True
        if failure is not None:
            self._raise_alarm(Alarm(failure.code, self._replica.height, failure.fields))
        return False

    def _covers(self, receipt: Receipt, known: bytes) -> bool:
        """Check that a receipt speaks of what was submitted; one that does not is an alarm."""
        covers = receipt.covers(known)
        if not covers:
            self._raise_alarm(Alarm(RECEIPT_OTHER, self._replica.height, {"id": known.hex()}))
        return covers

    def _take_refusal(self, known: bytes, refused: Refused) -> None:
        """Take the orderer's refusal of one transaction, unless our own ledger holds it."""
        height = self._replica.transaction_height(known)
        self._finish(known, refused if height is None else Ordered(known, height))

    def _take(self, known: bytes, pending: _Pending, receipt: Receipt) -> bool:
        """Take the orderer's receipt for one transaction; tells whether it promises more than what we have."""
        # A later promise does not undo an earlier one.
        held = pending.receipt
        is_news = held is None or receipt.height_at_most < held.height_at_most
        if held is None or is_news:
            held = pending.receipt = receipt
        # Our height first: a block that is applied between the two questions must not look as if it held nothing.
        own = self._replica.height
        height = self._replica.transaction_height(known)
        if height is not None:
            self._finish(known, Ordered(known, height))
        elif held.height_at_most <= own and not pending.is_withheld:
            pending.is_withheld = True
            self._break(WITHHELD, known, held, self._replica.height)
        return is_news

    def _finish(self, known: bytes, fate: Fate) -> None:
        """Tell whoever waits."""
        with self._changed:
            pending = self._pending.pop(known, None)
        if pending is not None:
            pending.fate = fate
            pending.done.set()

    def _break(self, code: str, known: bytes, receipt: Receipt, height: int) -> None:
        """Raise the alarm over a broken receipt."""
        fields: dict[str, int | str | None] = {"id": known.hex(), "height_at_most": receipt.height_at_most}
        self._raise_alarm(Alarm(code, height, fields, latched=True))


def _log_key(members: Members) -> bytes:
    """Return the log key of who orders."""
    return members.organisations[members.protocol.orderer].key(LOG_KEY).public


def _check_time(receipt: Receipt, now: int) -> None:
    """Refuse a receipt of another time than the one at which it came; raises `VerificationError` `RECEIPT_TIME`."""
    if abs(receipt.time - now) > PROMISE_S:
        raise VerificationError(RECEIPT_TIME, time=receipt.time)


def _is_over(receipt: Receipt, block: Block) -> bool:
    """Tell whether a block that lacks a receipt's transaction breaks the promise: by its height, or by its time."""
    return receipt.height_at_most <= block.height or receipt.time + PROMISE_S < block.time
