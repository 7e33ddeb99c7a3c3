"""Promises: judges every receipt that this node was given, also those of before a restart.

Keeps true: only what the orderer has signed, in time, counts as its promise; one that is broken is an alarm, once, with
the receipt as evidence; one that is open is known again after a restart; what a takeover made void binds nobody, also
while the node is still going over to it: who is told of blocks, and of takeovers, judges what is not there. Trusts the
replica and the node's own file of receipts.
Source: `docs/spec/ordering.md` 2.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from medchain.errors import VerificationError
from medchain.ledger.members import LOG_KEY, Key, Members
from medchain.ordering.block import Block, accepted_ids
from medchain.ordering.driver import MAX_WRITE_ENTRIES, Alarm, Clock, Replica
from medchain.ordering.lines import Notary
from medchain.ordering.receipt import Receipt, verify_receipt
from medchain.ordering.takeover import ended_log_keys

WITHHELD: Final = "ordering.withheld"
"""Alarm: a receipt's height has passed without its transaction."""

REORDERED: Final = "ordering.reordered"
"""Alarm: a transaction came in a later block than its receipt promised."""

DENIED: Final = "ordering.denied"
"""Alarm: who has promised a block says that there is none."""

RECEIPT_OTHER: Final = "receipt.other"
"""Alarm: a receipt that does not speak of what was submitted."""

RECEIPT_TIME: Final = "receipt.time"
"""Alarm: a receipt's time is not the time at which it came, so that nobody could tell when it is broken."""

PROMISE_S: Final = 60
"""How long a promise may take, whatever height it names: a block this much younger than the receipt breaks it."""

DENIED_S: Final = 10
"""For how long the block that was promised has to be denied before that is an alarm."""

MAX_PROMISES: Final = 131_072
"""Most promises that are held: those for what is under way, and as many of before."""


class Broken(NamedTuple):
    """A promise of which an alarm has told: transaction id, 32 bytes, and the height that was promised."""

    id: bytes
    height_at_most: int


class Receipts(Protocol):
    """Keeps receipts and broken ones, on disk in a node."""

    def put(self, receipt: Receipt) -> None:
        """Keep a verified receipt."""
        ...

    def put_broken(self, broken: Broken) -> None:
        """Keep that an alarm has told of a promise: no later start tells of it again."""
        ...

    def put_void(self) -> None:
        """Keep that all that was promised so far binds nobody any more."""
        ...

    def newest(self) -> tuple[Sequence[Receipt], Collection[Broken]]:
        """Return the newest receipts that may bind, and which promises of theirs an alarm has told of."""
        ...


@dataclass(slots=True)
class _Promise:
    """What was promised of a transaction.

    Attributes:
        receipt: that promises it.
        giver: log key that signed it, 32 bytes.
        number: in the order in which promises came.
        is_broken: whether an alarm has told of it.
        denied_at: when the giver first said that there is no such block, Unix seconds.
    """

    receipt: Receipt
    giver: bytes
    number: int
    is_broken: bool = False
    denied_at: int | None = None


class PromiseBook:
    """Promises of whoever orders, or ordered. Safe for many threads."""

    def __init__(
        self,
        replica: Replica,
        notary: Notary,
        clock: Clock,
        receipts: Receipts,
        raise_alarm: Callable[[Alarm], None],
    ) -> None:
        """Know of none.

        Args:
            replica: the node's ledger.
            notary: reads notes.
            clock: gives Unix seconds.
            receipts: keeps receipts.
            raise_alarm: told of broken ones.
        """
        self._replica = replica
        self._notary = notary
        self._clock = clock
        self._receipts = receipts
        self._raise_alarm = raise_alarm
        self._lock = threading.Lock()
        self._promises: dict[bytes, _Promise] = {}
        self._taken = 0
        self.voided = 0

    def __len__(self) -> int:
        """Count what was promised and has not come."""
        return len(self._promises)

    @property
    def taken(self) -> int:
        """How many promises have come so far: what is asked now may deny those and no others."""
        return self._taken

    def receipt(self, known: bytes) -> Receipt | None:
        """Return the receipt that promises a transaction which is in no block yet; None for none."""
        promise = self._promises.get(known)
        return None if promise is None else promise.receipt

    def take(self, rows: Sequence[tuple[bytes, Receipt]], asked: Members, voided: int) -> dict[bytes, int | None]:
        """Take the receipts that answer a submission; one that speaks of many transactions is verified and kept once.

        Args:
            rows: transaction id → the receipt that is to promise it.
            asked: the members when it was submitted.
            voided: `voided` as it was then.

        Returns:
            For each transaction that a true receipt speaks of the height of our block that holds it, None for none.
        """
        givers: dict[int, bytes | None] = {}
        news: dict[int, Receipt] = {}
        found: dict[bytes, int | None] = {}
        for known, receipt in rows:
            name = id(receipt)
            if name not in givers:
                givers[name] = self._giver(receipt, asked)
            giver = givers[name]
            if giver is None or not self._covers(receipt, known):
                continue
            if self._add(known, receipt, giver, voided):
                news[name] = receipt
            found[known] = self._found(known)
        for receipt in news.values():
            self._receipts.put(receipt)
        return found

    def recall(self) -> None:
        """Know again, after a start, what was promised for heights that had not been judged.

        A receipt for a height of before was judged when its block came. The newest blocks may have been applied without
        that, as many as are kept in one write, if the node ended between the two.
        """
        receipts, told = self._receipts.newest()
        unjudged = self._unjudged() if receipts else []
        first = unjudged[0].height if unjudged else self._replica.height
        reigns: list[bytes] | None = None
        for receipt in receipts:
            if receipt.height_at_most < first:
                continue
            if reigns is None:
                reigns = self._reigns()
            giver = next((key for key in reigns if _is_by(receipt, self._replica.ledger, key)), None)
            for known in receipt.ids if giver is not None else ():
                if Broken(known, receipt.height_at_most) not in told:
                    self._add(known, receipt, giver or b"", self.voided)
        for block in unjudged if self._promises else ():
            self.seen(block, frozenset(accepted_ids(block)))

    def seen(self, block: Block, ids: Collection[bytes]) -> list[bytes]:
        """Judge by a block that the replica has applied.

        Args:
            block: the newest one.
            ids: of its transactions.

        Returns:
            Of which transactions it shows that they are withheld.
        """
        withheld: list[bytes] = []
        with self._lock:
            rows = list(self._promises.items())
        for known, promise in rows:
            if known in ids:
                self._arrived(known, block.height)
            elif _is_over(promise.receipt, block) and not promise.is_broken and self._found(known) is None:
                self._break(WITHHELD, known, promise, block.height)
                withheld.append(known)
        return withheld

    def denied(self, first: int, taken: int) -> None:
        """Judge by the word of who orders that there is no block from a height on, and all before it are here.

        A receipt is given when its block is on the orderer's disk. One that promises and orders nothing would never be
        found out by a block, nor one that promises what our blocks should have had.

        Args:
            first: the height.
            taken: `taken` as it was before it was asked.
        """
        now, giver = self._clock(), _log_key(self._replica.members).public
        with self._lock:
            rows = list(self._promises.items())
        for known, promise in rows:
            is_asked = promise.number < taken and promise.giver == giver and not promise.is_broken
            if not is_asked:
                continue
            if promise.receipt.height_at_most < first:
                if self._found(known) is None:
                    self._break(WITHHELD, known, promise, first - 1)
            elif promise.denied_at is None:
                promise.denied_at = now
            elif now - promise.denied_at >= DENIED_S:
                self._break(DENIED, known, promise, first - 1)

    def void(self) -> None:
        """Forget all: after a takeover, receipts of the lost orderer bind nobody."""
        with self._lock:
            self.voided += 1
            self._promises.clear()
        self._receipts.put_void()

    def _giver(self, receipt: Receipt, asked: Members) -> bytes | None:
        """Verify a receipt of who was asked, and return its log key; a false one is an alarm.

        The block that it promises may hand over, and be here before the receipt: then another orders by now.
        """
        failure: VerificationError | None = None
        for log_key in dict.fromkeys((_log_key(asked).public, _log_key(self._replica.members).public)):
            try:
                verify_receipt(receipt, self._replica.ledger, log_key)
                _check_time(receipt, self._clock())
            except VerificationError as error:
                failure = failure or error
            else:
                return log_key
        if failure is not None:
            self._raise_alarm(Alarm(failure.code, self._replica.height, failure.fields))
        return None

    def _covers(self, receipt: Receipt, known: bytes) -> bool:
        """Check that a receipt speaks of what was submitted; one that does not is an alarm."""
        covers = receipt.covers(known)
        if not covers:
            self._raise_alarm(Alarm(RECEIPT_OTHER, self._replica.height, {"id": known.hex()}))
        return covers

    def _add(self, known: bytes, receipt: Receipt, giver: bytes, voided: int) -> bool:
        """Hold a promise, beside which a later one counts for nothing; tells whether it is news."""
        with self._lock:
            held = self._promises.get(known)
            if held is None:
                is_news = voided == self.voided and len(self._promises) < MAX_PROMISES
            else:
                is_news = receipt.height_at_most < held.receipt.height_at_most
            if is_news:
                is_broken = held is not None and held.is_broken
                self._promises[known] = _Promise(receipt, giver, self._taken, is_broken)
                self._taken += 1
            return is_news

    def _found(self, known: bytes) -> int | None:
        """Look for a promised transaction in our whole ledger; returns the height of the block that holds it."""
        height = self._replica.transaction_height(known)
        if height is not None:
            self._arrived(known, height)
        return height

    def _arrived(self, known: bytes, height: int) -> None:
        """Judge what has come, and be done with it."""
        with self._lock:
            promise = self._promises.pop(known, None)
        if promise is not None and promise.receipt.height_at_most < height:
            self._break(REORDERED, known, promise, height)

    def _break(self, code: str, known: bytes, promise: _Promise, height: int) -> None:
        """Raise the alarm over a broken promise, unless one has told of it while its transaction was not there."""
        if promise.is_broken and code != REORDERED:
            return
        promise.is_broken = True
        at_most = promise.receipt.height_at_most
        fields: dict[str, int | str | None] = {"id": known.hex(), "height_at_most": at_most}
        self._raise_alarm(Alarm(code, height, fields, latched=True))
        self._receipts.put_broken(Broken(known, at_most))

    def _unjudged(self) -> list[Block]:
        """Return the blocks that may have been kept together with the newest, in order."""
        blocks: list[Block] = []
        entries = MAX_WRITE_ENTRIES
        # A block that is damaged is told of where it is served; a node starts without it.
        with suppress(VerificationError):
            for height in range(self._replica.height, 0, -1):
                block = self._replica.blocks(height, 0)[0]
                entries -= len(block.transactions)
                if blocks and entries < 0:
                    break
                blocks.insert(0, block)
        return blocks

    def _reigns(self) -> list[bytes]:
        """List the log keys of all who order, or ordered and were not replaced by a takeover, the newest first."""
        ended = ended_log_keys(self._replica, self._notary)
        keys = [_log_key(self._replica.members_at(height)) for height in self._replica.members_changes()]
        return list(dict.fromkeys(key.public for key in reversed(keys) if key.id not in ended))


def _log_key(members: Members) -> Key:
    """Return the log key of who orders."""
    return members.organisations[members.protocol.orderer].key(LOG_KEY)


def _check_time(receipt: Receipt, now: int) -> None:
    """Refuse a receipt of another time than the one at which it came; raises `VerificationError` `RECEIPT_TIME`."""
    if abs(receipt.time - now) > PROMISE_S:
        raise VerificationError(RECEIPT_TIME, time=receipt.time)


def _is_by(receipt: Receipt, ledger: bytes, log_key: bytes) -> bool:
    """Tell whether a receipt for a ledger is by a log key."""
    with suppress(VerificationError):
        verify_receipt(receipt, ledger, log_key)
        return True
    return False


def _is_over(receipt: Receipt, block: Block) -> bool:
    """Tell whether a block that lacks a receipt's transaction breaks the promise: by its height, or by its time."""
    return receipt.height_at_most <= block.height or receipt.time + PROMISE_S < block.time
