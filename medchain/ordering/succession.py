"""Succession: how the members go on when the orderer is lost, and how one who was away finds out.

Keeps true: nothing is dropped that may be final; a block is dropped only for a takeover whose signatures were checked
first; who has stood down cosigns nothing for the lost orderer, also after a restart. Trusts the replica and the
cosigner's memory.
Source: `docs/spec/ordering.md` 5.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from medchain.errors import MedchainError, UnavailableError, VerificationError
from medchain.ledger.machine import MAX_BLOCK_BYTES, PROTOCOL
from medchain.ledger.object import map_key, public_owner
from medchain.ledger.transaction import Transaction, parse_envelope, transaction_id
from medchain.ordering.block import Block
from medchain.ordering.cosign import Cosigner, Notary, Reading, complete
from medchain.ordering.driver import Clock, OrdererClient, Replica
from medchain.ordering.follower import MAX_CLOCK_DIFFERENCE_S, Follower
from medchain.ordering.takeover import kept_size, new_orderer


class Succession:
    """Takeovers, seen from one node."""

    def __init__(  # noqa: PLR0913  # its ports
        self,
        replica: Replica,
        notary: Notary,
        cosigner: Cosigner,
        follower: Follower,
        clock: Clock,
        *,
        org_id: str,
        pen: threading.Lock,
        peers: Callable[[], Mapping[str, OrdererClient]],
        on_takeover: Callable[[Block, Sequence[bytes]], None],
        on_dropped: Callable[[Sequence[bytes]], None],
    ) -> None:
        """Prepare.

        Args:
            replica: the node's ledger.
            notary: reads notes.
            cosigner: stands down and resumes.
            follower: applies blocks.
            clock: gives Unix seconds.
            org_id: the node's organisation.
            pen: held by whoever writes to the replica.
            peers: gives the other active members, the lost one too.
            on_takeover: told of the takeover's block and the transactions that were dropped.
            on_dropped: told of those that were dropped where the takeover's block could not be kept.
        """
        self._replica = replica
        self._notary = notary
        self._cosigner = cosigner
        self._follower = follower
        self._clock = clock
        self._org_id = org_id
        self._pen = pen
        self._peers = peers
        self._on_takeover = on_takeover
        self._on_dropped = on_dropped

    def stand_down(self, leaf: bytes) -> str | None:
        """Stop cosigning for an orderer that the members replace.

        Args:
            leaf: the protocol change agreed upon.

        Returns:
            The note of the largest size that this node cosigned, or the newest it knows; None if there is none.

        Raises:
            VerificationError: ``takeover.*``, for a takeover that the policy does not allow.
        """
        named = new_orderer(leaf, self._replica.ledger, self._replica.members)
        self._check_is_new(leaf, self._replica.height + 1)
        self._check_is_next(leaf)
        with self._pen:
            # No block may be under way that is kept afterwards.
            self._cosigner.stand_down(named)
        return self._cosigner.note(self._cosigner.vouched.floor) or self._cosigner.note()

    def take_over(self, leaf: bytes) -> Block:
        """Become the orderer.

        Args:
            leaf: the protocol change that names this organisation, signed as its policy asks.

        Returns:
            The first block of the new order, committed.

        Raises:
            VerificationError: ``takeover.transaction``, ``takeover.policy``, ``takeover.quorum`` if too few members
                answer, ``takeover.catch_up`` if no member gives the blocks that must stay, ``checkpoint.split_view``;
                or the code for which the machine refuses the change.
            UnavailableError: the disk.
        """
        members = self._replica.members
        if new_orderer(leaf, self._replica.ledger, members) != self._org_id:
            raise VerificationError("takeover.transaction", reason="other")
        lost = members.protocol.orderer
        notes = self._ask_to_stand_down(leaf)
        cosigned, roots = self._read_notes(notes)
        size = kept_size(cosigned, members, self._cosigner.final_size)
        dropped = self._go_to(size, roots.get(size))
        try:
            with self._pen:
                base = self._replica.size, self._replica.root
                now = max(self._clock(), self._replica.time)
                proposal = self._replica.propose([leaf], now, takeover=True)
            if proposal.block is None:
                raise VerificationError(proposal.refusals.get(0, "takeover.transaction"))
        except MedchainError:
            self._on_dropped(dropped)
            raise
        self._cosigner.resume(*base, lost)
        self._on_takeover(proposal.block, dropped)
        return proposal.block

    def recover(self) -> bool:
        """Go on after a takeover whose block is kept although the node ended, or the disk failed, before it went on.

        Returns:
            Whether it had stood down for a takeover that is done.

        Raises:
            MedchainError: the disk.
        """
        named = self._cosigner.vouched.stood_down
        members = self._replica.members
        if not named or members.protocol.orderer != named:
            return False
        base, lost = self._replica.size, ""
        for height in range(self._replica.height, 0, -1):
            block = self._replica.blocks(height, 1)[0]
            reading = self._notary.read(block.checkpoint, members)
            if reading.log_org != named:
                lost = reading.log_org
                break
            base = reading.size - len(block.transactions) - 1
        self._cosigner.resume(base, self._replica.root_at(base) or b"", lost)
        return True

    def look_at(self, client: OrdererClient) -> bool:
        """Look whether a peer's ledger has left ours at a takeover after our last final block; go over to it if so.

        Args:
            client: the way to the peer.

        Returns:
            Whether our ledger changed.
        """
        start = (self._replica.height_of(self._cosigner.final_size) or 0) + 1
        try:
            while start <= self._replica.height:
                theirs = client.blocks(start, 0)
                ours = {block.height: block for block in self._replica.blocks(start, MAX_BLOCK_BYTES)}
                for block in theirs:
                    mine = ours.get(block.height)
                    if mine is None:
                        break
                    if mine != block:
                        return self._go_over(block)
                    start = block.height + 1
                if not theirs or theirs[0].height not in ours:
                    return False
        except MedchainError:
            return False
        return False

    def _go_over(self, block: Block) -> bool:
        """Drop our blocks from a takeover on, if it is one; raises as `new_orderer`."""
        if len(block.transactions) != 1:
            return False
        members = self._replica.members
        named = new_orderer(block.transactions[0], self._replica.ledger, members)
        self._check_is_new(block.transactions[0], block.height)
        # Whoever was shown the change can show it on; only who takes over makes a block of it.
        if self._notary.read(block.checkpoint, members).log_org != named:
            return False
        self._follower.forget_level()
        dropped = self._rewind(block.height - 1)
        try:
            # Whoever is told of each block notices the new orderer, and lets the cosigner go on from the block before.
            self._follower.apply(block)
        except MedchainError:
            # The disk, or a block that does not hold: what was dropped is in no block of ours now.
            self._on_dropped(dropped)
            raise
        self._on_takeover(block, dropped)
        return True

    def _check_is_new(self, leaf: bytes, height: int) -> None:
        """Refuse a change of the past: its signatures hold for ever, and anybody could show it once more."""
        ordered = self._replica.transaction_height(transaction_id(parse_envelope(leaf).payload))
        if ordered is not None and ordered < height:
            raise VerificationError("takeover.transaction", reason="ordered")

    def _check_is_next(self, leaf: bytes) -> None:
        """Refuse a change that can come no more: its time is over, or another has taken its version for good.

        Whoever holds one that was agreed upon and never made could else stop all members with it, years later.
        """
        payload = parse_envelope(leaf).transaction
        until = payload.until
        if until is not None and until + MAX_CLOCK_DIFFERENCE_S < self._clock():
            raise VerificationError("takeover.transaction", reason="until")
        key = map_key(PROTOCOL, *public_owner(PROTOCOL, {}))
        version = payload.changes[0].objects[0].version if isinstance(payload, Transaction) else 0
        if self._replica.version_at(key, self._cosigner.final_size) >= version:
            raise VerificationError("takeover.transaction", reason="version")

    def _ask_to_stand_down(self, leaf: bytes) -> dict[str, str | None]:
        """Ask all members, this one first."""
        notes = {self._org_id: self.stand_down(leaf)}
        for org_id, client in self._peers().items():
            try:
                notes[org_id] = client.stand_down(leaf)
            except MedchainError:
                continue
        return notes

    def _read_notes(self, notes: Mapping[str, str | None]) -> tuple[dict[str, int], dict[int, bytes]]:
        """Find the largest size that each member who answered has cosigned, and the root at each size."""
        members = self._replica.members
        cosigned = dict.fromkeys(notes, 0)
        roots: dict[int, bytes] = {}
        readings: list[Reading] = []
        for note in notes.values():
            # One that cannot be read is worth as much as none: whoever sent it answered, and has stood down or lies.
            with suppress(MedchainError):
                readings += [] if note is None else [self._notary.read(note, members)]
        lost = members.protocol.orderer
        for reading in sorted(readings, key=lambda item: item.log_org != lost):
            if roots.setdefault(reading.size, reading.root) != reading.root:
                if reading.log_org != lost:
                    # A member's own line beside the orderer's: it can make that for any root.
                    continue
                raise VerificationError("checkpoint.split_view", size=reading.size)
            for org_id in complete(reading.lines, members) & cosigned.keys():
                cosigned[org_id] = max(cosigned[org_id], reading.size)
        return cosigned, roots

    def _go_to(self, size: int, root: bytes | None) -> list[bytes]:
        """Bring our replica to a block end, forwards with the peers' blocks or backwards; returns what was dropped."""
        self._follower.forget_level()
        for client in self._peers().values():
            self._fetch_to(size, client)
        height = self._replica.height_of(size) if size else 0
        if height is None or (root is not None and self._replica.root_at(size) != root):
            raise VerificationError("takeover.catch_up", size=size, own=self._replica.size)
        return self._rewind(height)

    def _rewind(self, height: int) -> list[bytes]:
        """Drop the blocks above a height; returns their transactions, which have to be submitted again."""
        dropped: list[bytes] = []
        with self._pen:
            first = height + 1
            while first <= self._replica.height:
                for block in self._replica.blocks(first, MAX_BLOCK_BYTES):
                    dropped += block.transactions
                    first = block.height + 1
            if first > height + 1:
                self._replica.rewind(height)
        return dropped

    def _fetch_to(self, size: int, client: OrdererClient) -> None:
        """Apply a peer's blocks while we are short of a size."""
        try:
            while self._replica.size < size:
                blocks = client.blocks(self._replica.height + 1, 0)
                if not blocks:
                    return
                for block in blocks:
                    if self._replica.size < size:
                        self._follower.apply(block)
        except (UnavailableError, VerificationError):
            return
