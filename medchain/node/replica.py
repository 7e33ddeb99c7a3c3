"""The replica: applies blocks to this node's copy of the ledger, and proves what it holds.

Functional core, imperative shell: the machine says what a block changes, the log and the map follow from it, and the
store keeps all of it in one transaction. Keeps true: a block is kept only if its checkpoint, under the orderer's log
key, has the size and root that this node reaches by itself; no proof leaves here that does not verify. Trusts its own
store, whose damage it finds when it proves, and the driver for the time.
Source: `docs/spec/ordering.md` 1; `docs/spec/transaction.md` 9; `docs/spec/proof-bundle.md`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from medchain.encoding import Json
from medchain.errors import ConflictError, InputError, MedchainError, NotFoundError, VerificationError
from medchain.ledger.genesis import (
    Genesis,
    line_key,
    parse_genesis,
    policy_digest,
    succeeded,
    trusted_policy_text,
    verify_genesis,
)
from medchain.ledger.machine import (
    MAX_BLOCK_BYTES,
    BlockEffects,
    Checks,
    apply_block,
    apply_genesis,
    block_context,
    named_keys,
    parse_state_leaf,
    state_leaf,
)
from medchain.ledger.members import LOG_KEY, Members
from medchain.ledger.object import StateRecord
from medchain.ledger.transaction import parse_envelope
from medchain.node.policy_steps import PolicySteps
from medchain.ordering.block import Block
from medchain.ordering.driver import MAX_WRITE_ENTRIES, Applied, Proposal
from medchain.ordering.takeover import taker_of
from medchain.store.draft import LedgerDraft
from medchain.store.faults import corrupt
from medchain.store.ledger import BlockWrite, LedgerStore
from medchain.store.notes import StoredCheckpoint
from medchain.tlog.checkpoint import Checkpoint, parse_checkpoint, verify_log_signature
from medchain.tlog.merkle import leaf_hash, verify_consistency, verify_inclusion
from medchain.tlog.note import MAX_SIGNATURES, Note, Signature, VerifierKey, parse_note
from medchain.tlog.policy import Policy
from medchain.tlog.statemap import MapProof, check_ways, prove, update, verify_map
from medchain.tlog.tiles import consistency_proof, inclusion_proof, tiles_for_append

LogPen = Callable[[Checkpoint], Note]
"""Signs a checkpoint with this organisation's log key: `medchain.tlog.checkpoint.sign_checkpoint` with its signer."""

_TIMESTAMP_BYTES: Final = 8
_MAX_ENDS: Final = 32
# Of blocks of a busy ledger the newest fifteen: who is further behind is read from the file.
_NEWEST_BYTES: Final = 4 << 20
_ABOUT_OBJECTS: Final = frozenset({"transaction.version", "transaction.ref", "stop.unknown"})


@dataclass(frozen=True, slots=True)
class EntryProof:
    """That the log holds a leaf.

    Attributes:
        leaf: its bytes.
        position: its index.
        size: size of the tree that the proof is for.
        hashes: inclusion proof, from the leaf's sibling up.
    """

    leaf: bytes
    position: int
    size: int
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RecordProof:
    """What the state after a block holds under a key.

    Attributes:
        record: the head at that block, or None if absence is proven.
        map: proof against the map root in the state leaf.
        state: proof of that state leaf, the last leaf of its tree.
    """

    record: StateRecord | None
    map: MapProof
    state: EntryProof


@dataclass(frozen=True, slots=True)
class _Standing:
    """The members of now, since which block they are in force, their policy, and what state leaves name it by."""

    members: Members
    since_height: int
    since_size: int
    policy: Policy
    named: bytes


@dataclass(frozen=True, slots=True)
class _End:
    """Where one of the newest blocks ends: asked for with each note."""

    height: int
    root: bytes


class _Newest:
    """The newest blocks that this process has kept: asked for by every member, and read back from no disk.

    One thread changes it; others may read.
    """

    __slots__ = ("blocks", "ends")

    def __init__(self) -> None:
        """Know of none."""
        self.ends: dict[int, _End] = {}
        self.blocks: dict[int, Block] = {}

    def add(self, writes: Sequence[BlockWrite]) -> None:
        """Take blocks that were kept, and forget the oldest of too many, or of too many bytes."""
        ends = {made.frontier.size: _End(made.height, made.root) for made in writes}
        self.ends = dict([*self.ends.items(), *ends.items()][-_MAX_ENDS:])
        made = {write.height: _block(write) for write in writes[-_MAX_ENDS:]}
        left, kept = _NEWEST_BYTES, list[Block]()
        for block in reversed([*self.blocks.values(), *made.values()][-_MAX_ENDS:]):
            left -= _size(block)
            if left < 0:
                break
            kept.append(block)
        self.blocks = {block.height: block for block in reversed(kept)}

    def of(self, first: int, max_bytes: int) -> list[Block]:
        """Return blocks from a height on as `Replica.blocks` does, as far as they are known; none without the first."""
        known, found, left = self.blocks, list[Block](), max_bytes
        while (block := known.get(first + len(found))) is not None:
            left -= _size(block)
            if found and left < 0:
                break
            found.append(block)
        return found


class Replica:
    """This node's copy of the ledger (`medchain.ordering.driver.Replica`). Threads may share it."""

    def __init__(self, store: LedgerStore, *, pen: LogPen | None = None, checks: Checks | None = None) -> None:
        """Open a copy that `create` started.

        Args:
            store: the ledger file.
            pen: signs checkpoints; needed to order.
            checks: checks the signatures of many transactions at once.

        Raises:
            NotFoundError: ``store.empty`` if there is no ledger yet.
            VerificationError: ``store.corrupt``.
        """
        if store.head.height < 0:
            raise NotFoundError("store.empty")
        self.store = store
        try:
            self.genesis = parse_genesis(store.leaf(0))
        except InputError as error:
            raise corrupt("leaf", 0) from error
        self._pen, self._checks = pen, checks
        self._lock = threading.RLock()
        self._standing: _Standing | None = None
        self._newest = _Newest()
        self.policy_steps = PolicySteps(store, self.genesis.origin, self.prove_entry)

    @classmethod
    def create(
        cls,
        store: LedgerStore,
        genesis: Genesis,
        signatures: Json,
        *,
        pen: LogPen | None = None,
        checks: Checks | None = None,
    ) -> Replica:
        """Start a copy from the genesis; one that was started from it before is opened.

        Args:
            store: an empty ledger file, or one of this ledger.
            genesis: whose ledger id the caller knows from elsewhere.
            signatures: content of ``genesis.signatures.json``.
            pen: signs checkpoints; needed to order.
            checks: checks the signatures of many transactions at once.

        Returns:
            The replica.

        Raises:
            VerificationError: ``organisation.proof``, or ``replica.ledger`` for a file of another ledger.
        """
        verify_genesis(genesis, signatures)
        if store.head.height < 0:
            named = policy_digest(genesis.members, genesis.origin)
            draft = LedgerDraft(store)
            write = _write(draft, genesis.time, apply_genesis(genesis), named)
            # Every node makes block 0 from the genesis by itself: its checkpoint needs nobody's signature.
            made = Checkpoint(genesis.origin, write.frontier.size, write.root)
            draft.add(replace(write, checkpoint=made.text()))
            draft.keep()
        replica = cls(store, pen=pen, checks=checks)
        if replica.genesis.ledger != genesis.ledger:
            raise VerificationError("replica.ledger", own=replica.genesis.ledger.hex())
        return replica

    @property
    def ledger(self) -> bytes:
        """Ledger id, 32 bytes."""
        return self.genesis.ledger

    @property
    def height(self) -> int:
        """Height of the newest block; 0 after the genesis."""
        return self.store.head.height

    @property
    def time(self) -> int:
        """Time of the newest block, Unix seconds."""
        return self.store.head.time

    @property
    def size(self) -> int:
        """Leaves of the log."""
        return self.store.head.size

    @property
    def root(self) -> bytes:
        """Root of the log, 32 bytes."""
        return self.store.head.root

    @property
    def members(self) -> Members:
        """The members after the newest block."""
        return self.store.members

    def members_at(self, height: int) -> Members:
        """Return the members after a block; raises `NotFoundError` ``store.block``."""
        return self.store.members_at(height)

    def members_changes(self) -> list[int]:
        """Return the heights of the blocks that changed the members, height 0 included, in order."""
        return self.store.members_changes()

    def apply(self, block: Block) -> Applied:
        """Execute a block of another orderer, compare everything, and keep it; as `apply_all` for one block."""
        return self.apply_all([block])[0]

    def apply_all(self, blocks: Sequence[Block]) -> list[Applied]:
        """Execute blocks of another orderer, compare everything, and keep as many as one transaction may hold.

        A block that changes the members is kept alone: whoever is told of one finds the members that it was made under.

        Args:
            blocks: exactly the next ones, at least one; how near their times are to the clock is the driver's business.

        Returns:
            What is kept: at least the first block, and none behind one that does not hold.

        Raises:
            VerificationError: ``block.height``, ``block.time``, ``block.empty``, ``block.transaction``,
                ``block.checkpoint`` (origin, form or log line), ``block.size``, ``block.root``, of the first block.
                Nothing is kept then, and it is an alarm.
            UnavailableError: as `LedgerStore.commit_blocks`; the blocks may have been kept then, `height` tells.
        """
        with self._lock:
            draft = LedgerDraft(self.store)
            for block in _of_one_write(blocks):
                try:
                    write = self._judge(block, draft)
                except MedchainError:
                    if draft.writes:
                        # It is asked for again, and told of then.
                        break
                    raise
                if draft.writes and write.members is not None:
                    break
                draft.add(write)
                if write.members is not None:
                    break
            self._keep(draft)
            return [Applied(made.height, made.time, made.frontier.size, made.root, made.ids) for made in draft.writes]

    def _judge(self, block: Block, draft: LedgerDraft) -> BlockWrite:
        """Execute a block behind those of a draft, and compare everything; raises as `apply_all`."""
        head, before = draft.head, draft.members
        if block.height != head.height + 1:
            raise VerificationError("block.height", height=block.height, own=head.height)
        if block.time < head.time:
            raise VerificationError("block.time", height=block.height, time=block.time)
        if not block.transactions:
            raise VerificationError("block.empty", height=block.height)
        claimed, line = _read(block.checkpoint, self.genesis.origin)
        is_current = _is_signed(claimed, line, self._log_key(before))
        # Only the block that names a new orderer may be that one's own, and it holds nothing else.
        if not is_current and len(block.transactions) > 1:
            raise VerificationError("block.checkpoint", height=block.height)
        effects = self._execute(draft, block.transactions, block.time, strict=True)
        if not is_current and not (
            _is_takeover(block.transactions[0], before, effects.members)
            and _is_signed(claimed, line, self._log_key(effects.members))
        ):
            raise VerificationError("block.checkpoint", height=block.height)
        write = _write(draft, block.time, effects, self._named(effects.members), is_compared=True)
        if claimed.size != write.frontier.size:
            raise VerificationError("block.size", height=block.height, size=claimed.size)
        if claimed.root != write.root:
            _check_pages(draft, [key for key, _, _ in write.history])
            raise VerificationError("block.root", height=block.height, size=claimed.size)
        return replace(write, checkpoint=block.checkpoint)

    def propose(self, leaves: Sequence[bytes], time: int, *, takeover: bool = False) -> Proposal:
        """Make the next block of the transactions that the machine accepts, sign it and keep it.

        Args:
            leaves: envelopes, in order.
            time: Unix seconds; a time before the newest block's is raised to it.
            takeover: whether this is the block by which a new orderer takes over from a lost one: one transaction.

        Returns:
            The block, and what was refused.

        Raises:
            VerificationError: ``block.protocol`` if this organisation's log key is not the one that must sign;
                ``store.corrupt``, also where a damaged page hides what a transaction is about: it is not refused then.
            UnavailableError: as `LedgerStore.commit_blocks`; the block may have been kept then, `height` tells.
        """
        with self._lock:
            draft = LedgerDraft(self.store)
            before = draft.members
            if self._pen is None or (takeover and len(leaves) != 1):
                raise VerificationError("block.protocol", takeover=int(takeover))
            time = max(time, draft.head.time)
            effects = self._execute(draft, leaves, time, strict=False)
            refusals = {index: refusal.code for index, refusal in effects.refusals}
            _check_missing(draft, [leaves[index] for index, code in refusals.items() if code in _ABOUT_OBJECTS])
            if not effects.leaves:
                return Proposal(None, refusals)
            if takeover and not _is_takeover(leaves[0], before, effects.members):
                raise VerificationError("block.protocol", takeover=1)
            write = _write(draft, time, effects, self._named(effects.members))
            made = Checkpoint(self.genesis.origin, write.frontier.size, write.root)
            note = self._pen(made)
            if not _is_signed(made, note.signatures[0], self._log_key(effects.members if takeover else before)):
                raise VerificationError("block.protocol", takeover=int(takeover))
            checkpoint = note.to_bytes().decode()
            draft.add(replace(write, checkpoint=checkpoint))
            self._keep(draft)
            return Proposal(_block(draft.writes[0]), refusals, effects.ids)

    def blocks(self, first: int, max_bytes: int) -> list[Block]:
        """Return blocks from a height on, at least one if there is one, else as many as ``max_bytes`` of leaves."""
        return self._newest.of(first, max_bytes) or [
            Block(block.height, block.time, tuple(leaves), block.checkpoint)
            for block, leaves in self.store.blocks(first, max_bytes)
        ]

    def transaction_height(self, transaction_id: bytes) -> int | None:
        """Return the height of the block that holds a transaction, or None."""
        position = self.store.transaction_position(transaction_id)
        return None if position is None else self.store.block_at(position).height

    def root_at(self, size: int) -> bytes | None:
        """Return the root of the log at a block end, or None if no block of ours ends there."""
        found = self._newest.ends.get(size)
        try:
            return self._root_of(size) if found is None else found.root
        except NotFoundError:
            return None

    def height_of(self, size: int) -> int | None:
        """Return the height of the block that ends at a size, or None."""
        found = self._newest.ends.get(size)
        try:
            return self.store.block_of_size(size).height if found is None else found.height
        except NotFoundError:
            return None

    def version_at(self, key: bytes, size: int) -> int:
        """Return the version that an object has in the state after so many leaves; 0 where there is none."""
        record = self.store.record_at(key, size - 1)
        return 0 if record is None else record.version

    def rewind(self, height: int) -> None:
        """Drop the blocks above a height that never became final (`docs/spec/ordering.md` 5); they are kept aside.

        Raises:
            ConflictError: ``replica.final`` if one of them is final.
        """
        with self._lock:
            final = self.store.final()
            if final is not None and self.store.block(height).size < final.size:
                raise ConflictError("replica.final", height=height, final=final.size)
            self._newest = _Newest()
            self.store.rewind(height)

    def dropped(self) -> list[Block]:
        """Return the blocks that `rewind` has dropped and nobody has forgotten since, in order."""
        return [Block(height, time, tuple(leaves), note) for height, time, leaves, note in self.store.dropped()]

    def forget_dropped(self) -> None:
        """Forget them."""
        self.store.forget_dropped()

    def prove_entry(self, position: int, size: int | None = None) -> EntryProof:
        """Prove that the log holds a leaf.

        Args:
            position: its index.
            size: size of an earlier tree, such as the newest final one; None for the newest.

        Raises:
            NotFoundError: ``store.leaf`` if that tree has no such leaf.
            VerificationError: ``store.corrupt``.
        """
        size = self.size if size is None else size
        if not 0 <= position < size <= self.size:
            raise NotFoundError("store.leaf", position=position)
        leaf = self.store.leaf(position)
        hashes = inclusion_proof(position, size, self.store)
        try:
            verify_inclusion(leaf_hash(leaf), position, size, hashes, self._root_of(size))
        except VerificationError as error:
            raise corrupt("tile", position) from error
        return EntryProof(leaf, position, size, tuple(hashes))

    def entry_proof(self, position: int, size: int) -> tuple[bytes, tuple[bytes, ...]]:
        """Return the leaf hash at a position with its proof, see `medchain.ordering.driver.Replica`."""
        proof = self.prove_entry(position, size)
        return leaf_hash(proof.leaf), proof.hashes

    def prove_state(self, size: int | None = None) -> EntryProof:
        """Prove the state leaf that closes a block.

        Args:
            size: size of the log after that block; None for the newest.

        Raises:
            NotFoundError: ``store.block`` if no block ends there.
            VerificationError: ``store.corrupt``.
        """
        block = self.store.block_of_size(self.size if size is None else size)
        proof = self.prove_entry(block.size - 1, block.size)
        try:
            state = parse_state_leaf(proof.leaf)
        except InputError as error:
            raise corrupt("block", block.height) from error
        if (state.height, state.time, state.map_root) != (block.height, block.time, block.map_root):
            raise corrupt("block", block.height)
        return proof

    def prove_record(self, key: bytes, size: int | None = None) -> RecordProof:
        """Prove what the state after a block holds under a key: the record, or that there is none.

        Args:
            key: map key, 32 bytes.
            size: size of the log after that block, such as the newest final one; None for the newest.

        Raises:
            NotFoundError: ``store.block`` if no block ends there.
            UnavailableError: ``store.map_moved_on`` if the map of that block is not kept any more; a later one is.
            VerificationError: ``store.corrupt``.
        """
        block = self.store.block_of_size(self.size if size is None else size)
        state = self.prove_state(block.size)
        with self.store.map_at(block.height) as snapshot:
            try:
                proof = prove(snapshot.root, key, snapshot)
                verify_map(block.map_root, proof)
            except VerificationError as error:
                raise corrupt("map_page", key) from error
        record = self.store.record_at(key, block.size - 1)
        if (None if record is None else record.digest) != proof.value:
            raise corrupt("state_record", key)
        return RecordProof(record, proof, state)

    def prove_growth(self, old_size: int, size: int | None = None) -> tuple[bytes, ...]:
        """Prove that the log only grew from one block end to another (RFC 6962 §2.1.2).

        Raises:
            NotFoundError: ``store.block`` if no block ends there.
            VerificationError: ``store.corrupt``.
        """
        size = self.size if size is None else size
        old_root, root = self._root_of(old_size), self._root_of(size)
        proof = consistency_proof(old_size, size, self.store)
        try:
            verify_consistency(old_size, old_root, size, root, proof)
        except VerificationError as error:
            raise corrupt("tile", f"{old_size}-{size}") from error
        return tuple(proof)

    def _root_of(self, size: int) -> bytes:
        """Return the root of the log of a size at which a block ends."""
        head = self.store.head
        return head.root if size == head.size else self.store.block_of_size(size).root

    def put_note(self, note: bytes, *, verified: bool = False) -> StoredCheckpoint:
        """Keep what a note with cosignatures adds to what is known, and tell whether a quorum has cosigned.

        It must have a quorum of every set of members since the newest final checkpoint (`docs/spec/ordering.md` 4); one
        that makes a change of members final is kept for ever.

        Args:
            note: a checkpoint of a block end of this node.
            verified: whether the caller has verified each line under the key that the ledger lists for it now; of a
                block end up to the last change of members they are verified here all the same. One that is final is
                held in memory until `LedgerStore.write_held`.

        Returns:
            The checkpoint with all lines known; ``time`` is when the quorum was last complete.

        Raises:
            InputError: ``tlog.*`` for another form.
            VerificationError: ``replica.checkpoint`` for another log, size or root; ``tlog.signature`` or
                ``tlog.cosignature`` for a false line of a member, ``tlog.log_signature`` without the log's. Nothing is
                kept then.
        """
        given = parse_note(note)
        checkpoint = parse_checkpoint(given.text)
        if checkpoint.origin != self.genesis.origin or self.root_at(checkpoint.size) != checkpoint.root:
            raise VerificationError("replica.checkpoint", size=checkpoint.size)
        policies = self._policies(checkpoint.size)
        names = {(key.name, key.key_id) for policy in policies for key in _keys(policy)}
        given = replace(given, signatures=tuple(s for s in given.signatures if (s.name, s.key_id) in names))
        times_of = _times if verified and len(policies) == 1 else _cosigners
        cosigners = times_of(policies, given)
        with self._lock:
            known = self.store.checkpoint(checkpoint.size)
            merged = given if known is None else _newest_lines(parse_note(known.note.encode()), given)
            merged = _fitting(merged, names)
            time = _quorum_time(policies, cosigners if merged is given else times_of(policies, merged))
            pinned, final = len(policies) > 1, time > 0
            if known is not None and known.final:
                # What was final stays so, and by those who made it so: fewer are asked for where it is final already.
                time, pinned, final = max(time, known.time), pinned or known.pinned, True
            stored = StoredCheckpoint(checkpoint.size, time, final, pinned, merged.to_bytes().decode())
            if stored != known and verified and stored.final and not stored.pinned:
                self.store.hold_checkpoint(stored)
            elif stored != known:
                self.store.put_checkpoint(
                    stored.note, size=stored.size, time=time, final=stored.final, pinned=stored.pinned
                )
            return stored

    def put_outside_lines(self, size: int, lines: Sequence[Signature]) -> None:
        """Keep lines of outside witnesses, which count for no quorum, with the checkpoint of a size.

        Args:
            size: of the checkpoint; where it is kept no more, so are they.
            lines: verified by the caller; those that do not fit behind the members' are left out.

        Raises:
            VerificationError: ``replica.outside_line`` for a line under name and id of a key that counts: one that was
                ground out to look like a member's would spoil the note for everybody (C2SP signed-note).
        """
        policies = self._policies(size)
        names = {(key.name, key.key_id) for policy in policies for key in _keys(policy)}
        if any((line.name, line.key_id) in names for line in lines):
            raise VerificationError("replica.outside_line", size=size)
        with self._lock:
            known = self.store.checkpoint(size)
            if known is None:
                return
            note = _fitting(_newest_lines(parse_note(known.note.encode()), Note("", tuple(lines))), names)
            self.store.put_checkpoint(
                note.to_bytes().decode(), size=size, time=known.time, final=known.final, pinned=known.pinned
            )

    def _policies(self, size: int) -> list[Policy]:
        """Return the policies that the checkpoint at a block end must satisfy, of members in their order.

        Those since the newest final checkpoint; of a block end that is final already, before and after its block.
        """
        standing, final = self._now_standing(), self.store.final()
        base = 0 if final is None else final.size
        if min(size - 1, base) >= standing.since_size:
            return [standing.policy]
        found = self._newest.ends.get(size)
        height = self.store.block_of_size(size).height if found is None else found.height
        since = self.store.block_of_size(base).height if 0 < base < size else 0 if base < size else max(height - 1, 0)
        heights = [since, *(change for change in self.store.members_changes() if since < change <= height)]
        policies = [_policy(self.store.members_at(change), self.genesis.origin) for change in heights]
        # The block that names a new orderer is signed by the old one, or in a takeover by the new one.
        logs = tuple(dict.fromkeys(log for policy in policies for log in policy.logs))
        return [replace(policy, logs=logs) for policy in policies]

    @property
    def members_since(self) -> int:
        """Size of the log after the block that changed the members last; later block ends are the present members'."""
        return self._now_standing().since_size

    def _now_standing(self) -> _Standing:
        """Return the present members with their policy, which is written anew only when they change."""
        standing, snapshot = self._standing, self.store.members
        if standing is None or standing.members is not snapshot:
            height = self.store.members_changes()[-1]
            policy = _policy(snapshot, self.genesis.origin)
            named, size = policy_digest(snapshot, self.genesis.origin), self.store.block(height).size
            standing = self._standing = _Standing(snapshot, height, size, policy, named)
        return standing

    def _log_key(self, members: Members) -> VerifierKey:
        """Return the log key of who orders; that of the present members is in their policy."""
        standing = self._now_standing()
        if standing.members is members:
            return standing.policy.log_keys[0]
        return line_key(members.organisations[members.protocol.orderer], self.genesis.origin, LOG_KEY)

    def _named(self, members: Members) -> bytes:
        """Return what the state leaf names the policy after a block by; written anew only where it is another's."""
        standing = self._now_standing()
        return standing.named if standing.members is members else policy_digest(members, self.genesis.origin)

    def _execute(self, draft: LedgerDraft, leaves: Sequence[bytes], time: int, *, strict: bool) -> BlockEffects:
        """Run the machine for the next block, and continue the lineage of the members."""
        head = draft.head
        context = block_context(head.height + 1, time, head.size, self.genesis)
        try:
            effects = apply_block(draft, context, leaves, strict=strict, checks=self._checks)
        except VerificationError as error:
            if error.code == "block.transaction":
                # What is refused may be right, and the object that it is about be hidden by a damaged page.
                _check_pages(draft, named_keys(leaves))
            raise
        members = succeeded(draft.members, effects.members, self.genesis.origin)
        return effects if members is effects.members else replace(effects, members=members)

    def _keep(self, draft: LedgerDraft) -> None:
        """Keep blocks."""
        draft.keep()
        self._newest.add(draft.writes)


def _block(write: BlockWrite) -> Block:
    """Return a block as it travels: without its state leaf, which execution makes."""
    return Block(write.height, write.time, tuple(write.leaves[:-1]), write.checkpoint)


def _size(block: Block) -> int:
    """Return about how many bytes a block takes."""
    return sum(map(len, block.transactions))


def _of_one_write(blocks: Sequence[Block]) -> Iterator[Block]:
    """Choose the first blocks that one transaction may hold: always the first one."""
    entries, size = MAX_WRITE_ENTRIES, MAX_BLOCK_BYTES
    for number, block in enumerate(blocks):
        entries -= len(block.transactions)
        size -= sum(map(len, block.transactions))
        if number and (entries < 0 or size < 0):
            return
        yield block


def _read(checkpoint: str, origin: str) -> tuple[Checkpoint, Signature]:
    """Read a block's checkpoint: of this log, and with one line; raises `VerificationError` ``block.checkpoint``."""
    try:
        note = parse_note(checkpoint.encode())
        claimed = parse_checkpoint(note.text)
    except InputError as error:
        raise VerificationError("block.checkpoint") from error
    if claimed.origin != origin or len(note.signatures) != 1:
        raise VerificationError("block.checkpoint")
    return claimed, note.signatures[0]


def _is_signed(checkpoint: Checkpoint, line: Signature, log_key: VerifierKey) -> bool:
    """Tell whether a line is by a log key."""
    try:
        verify_log_signature(checkpoint, log_key, line)
    except VerificationError:
        return False
    return True


def _keys(policy: Policy) -> list[VerifierKey]:
    """Return all keys that a policy knows."""
    return [*policy.log_keys, *(witness.key for witness in policy.witnesses)]


def _policy(members: Members, origin: str) -> Policy:
    """Return the policy of a set of members."""
    return Policy.parse(trusted_policy_text(members, origin).encode())


def _newest_lines(known: Note, other: Note) -> Note:
    """Merge two copies of a note; of two cosignatures by one key the later one stays."""
    mine = {(line.name, line.key_id): line for line in known.signatures}
    later = [
        line
        for line in other.signatures
        if (line.name, line.key_id) not in mine
        or line.data[:_TIMESTAMP_BYTES] > mine[line.name, line.key_id].data[:_TIMESTAMP_BYTES]
    ]
    return known.add(later)


def _fitting(note: Note, names: Container[tuple[str, bytes]]) -> Note:
    """Leave out lines of outside witnesses where a note has more lines than it may have; the members' come first."""
    if len(note.signatures) <= MAX_SIGNATURES:
        return note
    ours = [line for line in note.signatures if (line.name, line.key_id) in names]
    others = [line for line in note.signatures if (line.name, line.key_id) not in names]
    return replace(note, signatures=(*ours, *others)[:MAX_SIGNATURES])


def _cosigners(policies: Sequence[Policy], note: Note) -> list[Mapping[str, int]]:
    """Verify a note's lines; returns for each policy who cosigned, and when."""
    data = note.to_bytes()
    return [replace(policy, quorum="none").check(data).cosigners for policy in policies]


def _times(policies: Sequence[Policy], note: Note) -> list[Mapping[str, int]]:
    """Read what `_cosigners` gives off lines that were verified before; raises as it does without a log's line."""
    lines = {(line.name, line.key_id): line for line in note.signatures}
    if not all(any((key.name, key.key_id) in lines for key in policy.log_keys) for policy in policies):
        raise VerificationError("tlog.log_signature")
    return [
        {
            witness.name: int.from_bytes(line.data[:_TIMESTAMP_BYTES], "big")
            for witness in policy.witnesses
            if (line := lines.get((witness.key.name, witness.key.key_id))) is not None
        }
        for policy in policies
    ]


def _quorum_time(policies: Sequence[Policy], cosigned: Sequence[Mapping[str, int]]) -> int:
    """Return the latest time such that the cosignatures since then are a quorum under each policy; 0 if never.

    Who exchanges a key has promised with the new one what it would have promised with the old one: lines that count
    under a later policy count under the ones before it (`docs/spec/ordering.md` 4).
    """
    times, cosigners = [], dict[str, int]()
    for policy, more in zip(reversed(policies), reversed(cosigned), strict=True):
        cosigners = {name: max(cosigners.get(name, 0), more.get(name, 0)) for name in {*cosigners, *more}}
        complete = (
            moment
            for moment in sorted(set(cosigners.values()), reverse=True)
            if policy.is_quorum({name for name, time in cosigners.items() if time >= moment})
        )
        times.append(next(complete, 0))
    return min(times)


def _is_takeover(leaf: bytes, before: Members, after: Members) -> bool:
    """Tell whether with a transaction that was accepted its creator orders from now on in another's place."""
    orderer = after.protocol.orderer
    return before.protocol.orderer != orderer == taker_of(parse_envelope(leaf).transaction)


def _write(
    draft: LedgerDraft, time: int, effects: BlockEffects, policy: bytes, *, is_compared: bool = False
) -> BlockWrite:
    """Compute map, state leaf and log after the next block; the checkpoint is still to be set.

    Args:
        draft: the state before it.
        time: of the block, Unix seconds.
        effects: of its transactions.
        policy: `policy_digest` of the members after it.
        is_compared: whether the caller compares the log's root, in which the map's is, with one that it was given.

    Raises:
        VerificationError: ``store.corrupt``.
    """
    history = [(record.key, record, record.encode()) for record in effects.history]
    changes = {key: sha256(data).digest() for key, _, data in history}
    try:
        changed = update(draft.map_root, changes, draft, is_compared=is_compared)
    except VerificationError as error:
        raise _page_corrupt(error) from error
    head = draft.head
    height = head.height + 1
    leaves = (*effects.leaves, state_leaf(height, time, changed.root.hash, policy))
    hashes = [leaf_hash(leaf) for leaf in leaves]
    tiles, frontier = tiles_for_append(head.size, hashes, draft), head.frontier.append(hashes)
    members = None if height and effects.members is draft.members else effects.members
    return BlockWrite(
        height,
        time,
        leaves,
        frontier,
        frontier.root(),
        tiles,
        changed,
        history,
        members,
        effects.draws,
        "",
        effects.ids,
        effects.drawn,
    )


def _check_pages(draft: LedgerDraft, keys: Sequence[bytes]) -> None:
    """Tell whether it comes of a damaged page that a block does not hold; raises ``store.corrupt`` then."""
    try:
        check_ways(draft.map_root, keys, draft)
    except VerificationError as error:
        raise _page_corrupt(error) from error


def _check_missing(draft: LedgerDraft, refused: Sequence[bytes]) -> None:
    """Tell whether objects that refused transactions name are missing because of a damaged page; as `_check_pages`."""
    if refused:
        _check_pages(draft, [key for key, record in draft.heads(named_keys(refused)).items() if record is None])


def _page_corrupt(error: VerificationError) -> VerificationError:
    """Say which page of this node's map is damaged: not the block's fault, nor the orderer's."""
    return corrupt("map_page", str(error.fields.get("key", "")))
