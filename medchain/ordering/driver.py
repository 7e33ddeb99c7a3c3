"""The seams of ordering: what a driver gives, what it needs from a replica, and how it reaches other organisations.

A driver decides order and nothing else: each node's `Replica` executes every block and refuses what is wrong, and the
members' cosignatures make a block final. Keeps true: whatever a driver or a peer sends is only a claim.
Source: `docs/spec/ordering.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from medchain.ledger.members import Members
from medchain.ordering.block import Block
from medchain.ordering.entry import Entry
from medchain.ordering.receipt import Outcome
from medchain.ordering.round import Ask, Round

Clock: TypeAlias = Callable[[], int]
"""Gives Unix seconds (UTC)."""

MAX_WRITE_ENTRIES: Final = 512
"""Most transactions of blocks that a replica keeps together; one block alone may have more."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A block that a replica has committed.

    Attributes:
        height: of the block.
        time: of the block, Unix seconds.
        size: leaves of the log after it.
        root: root of the log after it.
        ids: ids of its transactions, in order.
    """

    height: int
    time: int
    size: int
    root: bytes
    ids: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What an orderer's replica made of the transactions offered.

    Attributes:
        block: the block, committed to disk; None if every transaction was refused.
        refusals: index among the leaves offered → code; all others are in the block, in order.
        ids: ids of the block's transactions, in order.
    """

    block: Block | None
    refusals: Mapping[int, str] = field(default_factory=dict)
    ids: Sequence[bytes] = ()


class Replica(Protocol):
    """The machine, log and map of one node on its own disk. Called by one thread at a time, read by many."""

    @property
    def ledger(self) -> bytes:
        """Ledger id, 32 bytes."""
        ...

    @property
    def height(self) -> int:
        """Height of the newest block; 0 after the genesis."""
        ...

    @property
    def time(self) -> int:
        """Time of the newest block, Unix seconds."""
        ...

    @property
    def size(self) -> int:
        """Leaves of the log."""
        ...

    @property
    def root(self) -> bytes:
        """Root of the log, 32 bytes."""
        ...

    @property
    def members(self) -> Members:
        """The members after the newest block."""
        ...

    def members_at(self, height: int) -> Members:
        """Return the members after a block of ours."""
        ...

    def members_changes(self) -> Sequence[int]:
        """Return the heights of the blocks that changed the members, height 0 included, in order."""
        ...

    def apply_all(self, blocks: Sequence[Block]) -> Sequence[Applied]:
        """Execute blocks of another orderer, compare everything, commit as many as one transaction may hold.

        At least the first; none behind one that does not hold, and one that changes the members alone: who is told of a
        block finds the members that it was made under. Nobody sees one of them before all are committed.

        Raises:
            VerificationError: as `apply`, for the first block.
            UnavailableError: the disk; all may have been kept all the same, `height` tells.
        """
        ...

    def apply(self, block: Block) -> Applied:
        """Execute a block of another orderer, compare everything, commit it in one transaction.

        Accepts exactly the next height; time not before the newest block's; at least one transaction, none refused;
        the checkpoint's origin, size and root as reached by itself; its log line under the log key of the orderer in
        force before the block, or, in a takeover (`docs/spec/ordering.md` 5), of the one that the block names.

        Raises:
            VerificationError: ``block.height``, ``block.time``, ``block.empty``, ``block.transaction``,
                ``block.checkpoint`` (origin, form or log line), ``block.size``, ``block.root``, ``block.protocol``.
            UnavailableError: the disk.
        """
        ...

    def propose(self, leaves: Sequence[bytes], time: int, *, takeover: bool = False) -> Proposal:
        """Execute transactions as the next block, leave out what is refused, sign the checkpoint, commit.

        Args:
            leaves: envelopes in order; nobody has looked at them.
            time: Unix seconds, not before the newest block's.
            takeover: the first block of a new orderer after the old one is lost: exactly one transaction.

        Returns:
            The block, and what was refused.

        Raises:
            UnavailableError: the disk; the block may have been kept all the same, `height` tells.
            VerificationError: ``block.protocol``, ``store.corrupt``: ordering must end, but where the table is
                ``map_page``: then what needs that page can be left out.
        """
        ...

    def blocks(self, first: int, max_bytes: int) -> list[Block]:
        """Return blocks from a height on, at least one if there is one, else as many as ``max_bytes`` of leaves."""
        ...

    def transaction_height(self, transaction_id: bytes) -> int | None:
        """Return the height of the block that holds a transaction, or None."""
        ...

    def root_at(self, size: int) -> bytes | None:
        """Return the root of the log at a block end, or None if no block of ours ends there."""
        ...

    def height_of(self, size: int) -> int | None:
        """Return the height of the block that ends at a size, or None."""
        ...

    def entry_proof(self, position: int, size: int) -> tuple[bytes, Sequence[bytes]]:
        """Return the leaf hash at a position, and the proof that our log of a size holds it, from its sibling up.

        Raises:
            NotFoundError: ``store.leaf`` for a log that has no such leaf.
            VerificationError: ``store.corrupt``.
        """
        ...

    def version_at(self, key: bytes, size: int) -> int:
        """Return the version that an object has in the state after so many leaves; 0 where there is none."""
        ...

    def rewind(self, height: int) -> None:
        """Drop the blocks above a height that never became final (`docs/spec/ordering.md` 5).

        They are kept aside in the same step until `forget_dropped`; where others are kept already, those stay.
        """
        ...

    def dropped(self) -> list[Block]:
        """Return the blocks that are kept aside, in order."""
        ...

    def forget_dropped(self) -> None:
        """Forget them: they are back, or others are in their place for good."""
        ...


class OrdererClient(Protocol):
    """The way to another organisation's daemon. Each method may raise `UnavailableError`; nothing is verified yet."""

    def submit(self, leaves: Sequence[bytes]) -> list[Outcome]:
        """Offer envelopes; answers one outcome each after they are committed; raises ``ordering.full`` and others."""
        ...

    def blocks(self, first: int, wait_s: int) -> list[Block]:
        """Ask for blocks from a height on; waits so long for the first one; may answer none."""
        ...

    def round(self, ask: Ask) -> Round:
        """Hand in one's lines and ask for blocks and for the newest final note; waits for the first news of either."""
        ...

    def checkpoint(self, final: int | None = None) -> str | None:
        """Ask for the newest note with the signature lines known there.

        Args:
            final: size up to which the ledger is final to who asks; where the members have changed since, the answer is
                the note that made the next change final.
        """
        ...

    def cosign(self, note: str) -> None:
        """Give a checkpoint with one's own lines."""
        ...

    def entry(self, position: int, size: int) -> Entry:
        """Ask for the proof that the peer's log, at the end of its block of a size, holds a leaf at a position."""
        ...

    def stand_down(self, leaf: bytes) -> str | None:
        """Show a takeover agreed upon; the peer stops cosigning for the lost one, then answers its newest note."""
        ...


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that must not be, and who looks after the node must know.

    Attributes:
        code: stable code such as ``block.root`` or ``checkpoint.split_view``.
        height: height at which it showed.
        fields: what explains it.
        latched: whether it stays until an operator has looked; it then holds evidence against a member.
    """

    code: str
    height: int
    fields: Mapping[str, int | str | None] = field(default_factory=dict)
    latched: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """How a driver is.

    Attributes:
        role: ``orderer`` or ``follower``.
        height: of the own newest block.
        orderer: org_id of the organisation that orders.
        caught_up: whether the orderer had nothing more when last asked.
        waiting: envelopes in the queue.
        alarms: what is wrong now.
        is_log_key_spent: whether the own log key has to be exchanged before this node can order.
        has_heir: whether, as far as this node knows, another member could order in the place of the one that does.
    """

    role: str
    height: int
    orderer: str
    caught_up: bool
    waiting: int
    alarms: tuple[Alarm, ...]
    is_log_key_spent: bool = False
    has_heir: bool = True


class OrderingDriver(Protocol):
    """What the node asks of ordering."""

    def start(self) -> None:
        """Begin; returns at once."""
        ...

    def stop(self) -> None:
        """Finish what was accepted and end; returns when all threads have ended."""
        ...

    def submit(self, leaves: Sequence[bytes]) -> list[Outcome]:
        """Offer envelopes and wait until they are committed.

        Raises:
            UnavailableError: ``ordering.full``, ``ordering.stopped``, ``ordering.not_orderer`` and those of the way.
        """
        ...

    def blocks(self, first: int, wait_s: float = 0) -> list[Block]:
        """Return blocks from a height on, waiting so long for the first one."""
        ...

    def height(self) -> int:
        """Height of the newest block that this node has applied."""
        ...

    def health(self) -> Health:
        """Tell how it is."""
        ...
