"""The orderer: one thread that makes blocks of what is submitted, and answers after they are on disk.

Keeps true: who submits is answered exactly once, whatever happens; the queue never grows beyond its bounds; a receipt
is signed only for what is committed; whoever does not hold the role orders nothing. An orderer can delay and choose the
order; it can forge nothing, since every node executes each block. Trusts its replica.
Source: `docs/spec/ordering.md` 2.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from medchain.crypto.signing import Ed25519Signer
from medchain.errors import InputError, MedchainError, UnavailableError, VerificationError
from medchain.ledger.machine import MAX_BLOCK_BYTES
from medchain.ledger.transaction import MAX_LEAF_BYTES, parse_envelope, transaction_id
from medchain.ordering.block import MAX_BLOCK_TRANSACTIONS, Block
from medchain.ordering.driver import Alarm, Clock, Proposal, Replica
from medchain.ordering.feed import Feed
from medchain.ordering.receipt import Outcome, Refused, sign_receipt

_MALFORMED: Final = frozenset({"transaction.malformed", "transaction.too_large", "transaction.objects"})
_DAMAGED_PAGE: Final = ("store.corrupt", "map_page")
_SIZE_LEFT: Final = "transaction.size_left"


@dataclass(frozen=True, slots=True)
class OrdererLimits:
    """Bounds of the queue, and the window of the group commit.

    Attributes:
        window_s: how long the first of a group waits for others, where a block was made a moment ago: a transaction
            that comes alone waits for nobody.
        busy_s: how long ago the last block may have been made for that.
        max_waiting: envelopes in the queue.
        max_waiting_bytes: bytes in the queue.
        retry_after_s: when who found the queue full may come again.
    """

    window_s: float = 0.005
    busy_s: float = 0.02
    max_waiting: int = 16_384
    max_waiting_bytes: int = 32 * 1024 * 1024
    retry_after_s: int = 1


class _Placed(NamedTuple):
    """A transaction is in a block, on disk; a receipt for it is still to be signed."""

    id: bytes
    height: int


_Fate: TypeAlias = _Placed | Refused


@dataclass(slots=True)
class _Batch:
    """What one caller waits for."""

    outcomes: list[_Fate | None]
    left: int
    error: MedchainError | None = None
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class _Item:
    """One envelope in the queue."""

    leaf: bytes
    batch: _Batch
    index: int

    def answer(self, outcome: _Fate) -> None:
        """Give the outcome; the last one of a batch wakes its caller."""
        self.batch.outcomes[self.index] = outcome
        self._count()

    def fail(self, error: MedchainError) -> None:
        """Give no outcome: the caller gets the error."""
        self.batch.error = error
        self._count()

    def _count(self) -> None:
        self.batch.left -= 1
        if self.batch.left == 0:
            self.batch.done.set()


class Orderer:
    """Makes blocks while its organisation is the one that orders."""

    def __init__(  # noqa: PLR0913  # the parts of a node that ordering touches
        self,
        replica: Replica,
        org_id: str,
        log_signer: Ed25519Signer,
        clock: Clock,
        *,
        pen: threading.Lock,
        feed: Feed,
        on_block: Callable[[Block, Sequence[bytes]], None],
        is_barred: Callable[[], bool] = lambda: False,
        raise_alarm: Callable[[Alarm], None] = lambda _alarm: None,
        limits: OrdererLimits | None = None,
    ) -> None:
        """Prepare.

        Args:
            replica: the node's ledger.
            org_id: the node's organisation.
            log_signer: its log key.
            clock: gives Unix seconds; raises `UnavailableError` where nothing may be dated now.
            pen: held by whoever writes to the replica.
            feed: told of each block.
            on_block: told of each block, and of the ids of its transactions.
            is_barred: tells, under the pen, whether this node has stood down: then nothing is ordered, not even
                what is in the queue, since the takeover would drop it.
            raise_alarm: told of damage in the node's own store.
            limits: bounds.
        """
        self._replica = replica
        self._org_id = org_id
        self._signer = log_signer
        self._clock = clock
        self._pen = pen
        self._feed = feed
        self._on_block = on_block
        self._is_barred = is_barred
        self._raise_alarm = raise_alarm
        self._limits = limits or OrdererLimits()
        self._changed = threading.Condition()
        self._queue: deque[_Item] = deque()
        self._bytes = 0
        self._closed: MedchainError | None = UnavailableError("ordering.stopped")
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._ended = float("-inf")
        # Counts each beginning and each end of a block, so that who watches sees whether the thread gets on.
        self.turns = 0

    @property
    def waiting(self) -> int:
        """Envelopes in the queue."""
        return len(self._queue)

    @property
    def failure(self) -> MedchainError | None:
        """Why nothing can be submitted; None while it works."""
        return self._closed

    def start(self) -> None:
        """Begin to order."""
        with self._changed:
            self._closed = None
            self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="orderer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Order what is in the queue, then end. What comes meanwhile is refused with ``ordering.stopped``."""
        with self._changed:
            self._closed = self._closed or UnavailableError("ordering.stopped")
            self._is_stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def submit(self, leaves: Sequence[bytes]) -> list[Outcome]:
        """Order envelopes; returns when they are on disk, or refused.

        Args:
            leaves: envelopes; nothing of them is trusted.

        Returns:
            A receipt or the refusal's code for each, in order; what came into one block has the same receipt.

        Raises:
            InputError: ``block.frame`` for none, or more than a block may hold.
            UnavailableError: ``ordering.full``, ``ordering.stopped``, ``ordering.not_orderer``, ``ordering.clock``, or
                the disk's; an envelope may have been ordered all the same: submit it again.
        """
        if not 0 < len(leaves) <= MAX_BLOCK_TRANSACTIONS:
            raise InputError("block.frame", count=len(leaves), limit=MAX_BLOCK_TRANSACTIONS)
        batch = _Batch([None] * len(leaves), len(leaves))
        self._enqueue([_Item(leaf, batch, index) for index, leaf in enumerate(leaves)])
        batch.done.wait()
        if batch.error is not None:
            raise batch.error
        return self._signed([outcome for outcome in batch.outcomes if outcome is not None])

    def _signed(self, fates: Sequence[_Fate]) -> list[Outcome]:
        """Sign one receipt for each block that holds some of a caller's transactions."""
        now = self._clock()
        placed: dict[int, list[bytes]] = {}
        for fate in fates:
            if isinstance(fate, _Placed):
                placed.setdefault(fate.height, []).append(fate.id)
        receipts = {
            height: sign_receipt(self._signer, self._replica.ledger, ids, height, now) for height, ids in placed.items()
        }
        return [receipts[fate.height] if isinstance(fate, _Placed) else fate for fate in fates]

    def _enqueue(self, items: Sequence[_Item]) -> None:
        """Put a batch into the queue as a whole, or refuse it as a whole."""
        size = sum(len(item.leaf) for item in items)
        with self._changed:
            if self._closed is not None:
                raise self._closed
            waiting = len(self._queue) + len(items)
            if waiting > self._limits.max_waiting or self._bytes + size > self._limits.max_waiting_bytes:
                raise UnavailableError("ordering.full", retry_after_s=self._limits.retry_after_s, waiting=waiting)
            self._queue.extend(items)
            self._bytes += size
            self._changed.notify_all()

    def _run(self) -> None:
        """Order until stopped; whatever goes wrong, nobody is left waiting."""
        try:
            while items := self._take():
                self.turns += 1
                self._commit(items)
                self._ended = time.monotonic()
                self.turns += 1
        except MedchainError as error:
            self._close(UnavailableError("ordering.failed", reason=error.code))
        except Exception:
            # The outermost handler of this thread: callers must not wait for a thread that is gone.
            self._close(UnavailableError("ordering.failed", reason="internal"))
            raise

    def _take(self) -> list[_Item]:
        """Wait for work, gather more for the length of the window under load, and take what fits in a block."""
        with self._changed:
            while not self._queue:
                if self._is_stopping:
                    return []
                self._changed.wait()
        if not self._is_stopping and time.monotonic() - self._ended < self._limits.busy_s:
            time.sleep(self._limits.window_s)
        taken: list[_Item] = []
        room = MAX_BLOCK_BYTES
        with self._changed:
            while self._queue and len(taken) < MAX_BLOCK_TRANSACTIONS:
                # What is too large for any block takes no room: the machine refuses it.
                size = min(len(self._queue[0].leaf), MAX_LEAF_BYTES)
                if taken and size > room:
                    break
                room -= size
                item = self._queue.popleft()
                self._bytes -= len(item.leaf)
                taken.append(item)
        return taken

    def _commit(self, items: Sequence[_Item]) -> None:
        """Make a block and answer."""
        try:
            with self._pen:
                self._check_role()
                now = max(self._clock(), self._replica.time)
                proposal = self._replica.propose([item.leaf for item in items], now)
        except UnavailableError as error:
            for item in items:
                item.fail(error)
            return
        except VerificationError as error:
            if (error.code, error.fields.get("table")) != _DAMAGED_PAGE:
                self._requeue(items)
                raise
            self._commit_around(items, error)
            return
        except Exception:
            self._requeue(items)
            raise
        self._feed.publish()
        self._answer(items, proposal)
        if proposal.block is not None:
            with suppress(UnavailableError):
                # What watches blocks finds this one again by itself; ordering goes on.
                self._on_block(proposal.block, proposal.ids)

    def _commit_around(self, items: Sequence[_Item], damage: VerificationError) -> None:
        """Order what a damaged page is not needed for: one transaction that names it must not stop all others."""
        if len(items) == 1:
            self._raise_alarm(Alarm(damage.code, self._replica.height, damage.fields, latched=True))
            items[0].fail(UnavailableError("ordering.failed", reason=damage.code))
            return
        middle = len(items) // 2
        self._commit(items[:middle])
        self._commit(items[middle:])

    def _check_role(self) -> None:
        """Refuse to order for another: the role moves with the block that says so."""
        orderer = self._replica.members.protocol.orderer
        if orderer != self._org_id or self._is_barred():
            raise UnavailableError("ordering.not_orderer", orderer=orderer)

    def _answer(self, items: Sequence[_Item], proposal: Proposal) -> None:
        """Tell of each what became of it."""
        again: list[_Item] = []
        names = iter(proposal.ids)
        for index, item in enumerate(items):
            code = proposal.refusals.get(index)
            if code is None and proposal.block is not None:
                item.answer(_Placed(next(names), proposal.block.height))
            elif code == _SIZE_LEFT and len(item.leaf) <= MAX_LEAF_BYTES and len(items) > 1:
                again.append(item)
            else:
                try:
                    item.answer(self._refusal(item.leaf, code or "transaction.malformed"))
                except MedchainError as error:
                    # The disk: nobody may wait for ever because one look-up failed.
                    item.fail(error)
        self._requeue(again)

    def _refusal(self, leaf: bytes, code: str) -> _Fate:
        """Tell why a transaction is refused; one that is in a block already is repeated, not refused."""
        if code in _MALFORMED:
            return Refused(code)
        known = transaction_id(parse_envelope(leaf).payload)
        height = self._replica.transaction_height(known)
        return Refused(code) if height is None else _Placed(known, height)

    def _requeue(self, items: Sequence[_Item]) -> None:
        """Put items back to the front of the queue."""
        with self._changed:
            self._queue.extendleft(reversed(items))
            self._bytes += sum(len(item.leaf) for item in items)

    def _close(self, error: MedchainError) -> None:
        """Refuse everything from now on, and wake all who wait."""
        with self._changed:
            self._closed = error
            items = list(self._queue)
            self._queue.clear()
            self._bytes = 0
        for item in items:
            item.fail(error)
        self._feed.publish()
