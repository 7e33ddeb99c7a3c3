"""The simulator: any number of organisations in memory, real machine, real log, real signatures, a network that lies.

Time stands until a test moves it; chance comes from a seed; only the orderers' committer threads run by themselves, and
every call waits until they rest (`QuietDriver`), so a seed always plays the same. `Consortium.check` judges all ledgers
from outside (`tests/audit.py`).
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from itertools import count
from string import ascii_lowercase, ascii_uppercase, digits
from threading import get_ident
from time import sleep
from typing import Self

from medchain.crypto.signing import Ed25519Signer, MlDsa44Signer
from medchain.encoding import base64_text
from medchain.errors import (
    AccessDeniedError,
    InputError,
    MedchainError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.ledger.genesis import Genesis, build_genesis, policy_digest, succeeded
from medchain.ledger.machine import DrawState, apply_block, apply_genesis, block_context, state_leaf
from medchain.ledger.members import (
    COSIGN_MLDSA44_KEY,
    LEDGER_KEY,
    LOG_KEY,
    Key,
    Members,
    Organisation,
    ProtocolRules,
    organisation_content,
    proof_message,
    protocol_content,
    quorum_floor,
)
from medchain.ledger.object import StateRecord, map_key, public_body_hash, public_owner
from medchain.ledger.policy import default_policy
from medchain.ledger.transaction import (
    SUBMITTER,
    Change,
    ObjectRow,
    Payload,
    Signer,
    Stop,
    Transaction,
    pae,
    parse_envelope,
    payload_bytes,
    seal,
)
from medchain.node.directory import MEMBERS, MembersDirectory, Standing
from medchain.node.suspended import SuspendedStops
from medchain.ordering.block import Block, accepted_id, accepted_ids, blocks_answer, parse_blocks
from medchain.ordering.cosign import SPLIT_VIEW, Vouched
from medchain.ordering.driver import Applied, Proposal
from medchain.ordering.embedded import EmbeddedDriver, Ports
from medchain.ordering.entry import Entry, parse_entry
from medchain.ordering.lines import FinalNote, Line, LineName
from medchain.ordering.notary import CosignKeys, LedgerNotary, log_pen
from medchain.ordering.orderer import OrdererLimits
from medchain.ordering.promises import Broken
from medchain.ordering.receipt import Outcome, Receipt, Refused, outcomes_bytes, parse_outcomes
from medchain.ordering.round import Ask, Round, parse_round, round_answer
from medchain.tlog.checkpoint import parse_checkpoint, verify_log_signature
from medchain.tlog.merkle import Frontier, leaf_hash
from medchain.tlog.note import KeyType, VerifierKey, parse_note
from medchain.tlog.statemap import MapRoot, update
from tests.audit import Auditor, merkle_root
from tests.promises import Promises
from tests.roll import COSIGN_USES, taker
from tests.unit.medchain.ledger.world import key, organisation, seed

START = 1_796_083_200
DAY_S = 86_400
GENERATIONS = range(1, 16)
"""So often at most an organisation exchanges its ledger key in one life."""
BASE64 = (ascii_uppercase + ascii_lowercase + digits + "+/").encode()
ROLES = ("regulator", "hospital", "insurer", "hospital", "insurer", "authority")


def log_signer(org_id: str, generation: int = 1) -> Ed25519Signer:
    """Return an organisation's log key."""
    return signer(org_id, LOG_KEY, generation)


@cache
def cosign_keys(org_id: str, generation: int = 1) -> CosignKeys:
    """Return an organisation's cosigning keys."""
    ed25519, mldsa44 = (signer(org_id, use, generation) for use in COSIGN_USES)
    return CosignKeys(org_id, ed25519, mldsa44)


@cache
def signer(org_id: str, use: str, generation: int = 1) -> Ed25519Signer | MlDsa44Signer:
    """Return an organisation's private key of a use that signs, but authentication."""
    make = MlDsa44Signer if use == COSIGN_MLDSA44_KEY else Ed25519Signer
    return make(seed(org_id, use, generation))


@cache
def ledger_pens(names: tuple[str, ...]) -> dict[str, Ed25519Signer]:
    """Return the ledger keys of organisations, by their ids."""
    rows = [(name, LEDGER_KEY, generation) for name in names for generation in GENERATIONS]
    return {key(*row).id: signer(*row) for row in rows}


@cache
def generation_of(listed: Key) -> int:
    """Tell the how manieth key of its use one of the simulator's is."""
    return next(number for number in count(1) if key(listed.org_id, listed.use, number) == listed)


@cache
def genesis(count: int) -> Genesis:
    """Return the genesis of so many organisations; ``org-0``, a regulator, orders."""
    made = [organisation(f"org-{number}", ROLES[number % len(ROLES)]) for number in range(count)]
    return build_genesis(
        made,
        origin="medchain.example/simulated",
        policy=default_policy(),
        protocol=ProtocolRules("org-0", quorum_floor(count), 1),
        rp_id="consent.example",
        sign_origins=["https://sign.consent.example"],
        time=START,
    )


class Dice:
    """Chance from a seed."""

    def __init__(self, start: int) -> None:
        """Begin with a seed."""
        self._state = sha256(b"dice %d" % start).digest()

    def below(self, bound: int) -> int:
        """Return a number below a bound."""
        self._state = sha256(self._state).digest()
        return int.from_bytes(self._state[:8], "big") % bound

    def falls(self, percent: int) -> bool:
        """Tell whether something that happens so often happens now."""
        return self.below(100) < percent

    def bytes(self, size: int) -> bytes:
        """Return up to 32 bytes."""
        self._state = sha256(self._state).digest()
        return self._state[:size]


class MemoryReplica:
    """A replica (`medchain.ordering.driver.Replica`) without a disk."""

    def __init__(self, founding: Genesis, signer: Ed25519Signer) -> None:
        """Begin with height 0."""
        self.genesis = founding
        self.signer = signer
        self.members: Members = founding.members
        self.snapshots: list[Members] = []
        self.records: dict[bytes, StateRecord] = {}
        self.draw_states: dict[str, DrawState] = {}
        self.seeds: dict[int, bytes] = {}
        self.pages: dict[bytes, bytes] = {}
        self.map_root = MapRoot.empty()
        self.frontier = Frontier.empty()
        self.leaves: list[bytes] = []
        self.chain: list[tuple[Block, int, bytes]] = []
        self.places: dict[bytes, int] = {}
        self.aside: list[Block] = []
        self._add(apply_genesis(founding), founding.time, "")

    @property
    def ledger(self) -> bytes:
        return self.genesis.ledger

    @property
    def height(self) -> int:
        return len(self.chain) - 1

    @property
    def time(self) -> int:
        return self.chain[-1][0].time

    @property
    def size(self) -> int:
        return self.frontier.size

    @property
    def root(self) -> bytes:
        return self.frontier.root()

    def record(self, name: bytes) -> StateRecord | None:
        return self.records.get(name)

    def draws(self, creator: str) -> DrawState:
        return self.draw_states.get(creator, DrawState())

    def heads(self, keys: Sequence[bytes]) -> dict[bytes, StateRecord | None]:
        return {key: self.records.get(key) for key in keys}

    def seed(self, height: int) -> bytes | None:
        return self.seeds.get(height)

    def page(self, name: bytes) -> bytes | None:
        return self.pages.get(name)

    def members_at(self, height: int) -> Members:
        # As a node's store answers, for a liar's block of any height.
        if height < 0:
            raise NotFoundError("store.block", height=height)
        return self.snapshots[min(height, self.height)]

    def members_changes(self) -> list[int]:
        pairs = zip(self.snapshots, self.snapshots[1:], strict=False)
        return [0, *(height for height, (before, after) in enumerate(pairs, 1) if before is not after)]

    def fork(self) -> MemoryReplica:
        """Copy it: a lying orderer keeps two."""
        other = copy(self)
        for name in ("records", "draw_states", "seeds", "pages", "leaves", "chain", "places", "snapshots"):
            setattr(other, name, copy(getattr(self, name)))
        return other

    def apply(self, block: Block) -> Applied:
        return self.apply_all([block])[0]

    def apply_all(self, blocks: Sequence[Block]) -> list[Applied]:
        applied: list[Applied] = []
        before = self.members
        for block in blocks:
            try:
                after = self._after(block)
            except VerificationError:
                if applied:
                    break
                raise
            if applied and after.members is not before:
                break
            self.__dict__.update(after.__dict__)
            applied.append(Applied(self.height, self.time, self.size, self.root, accepted_ids(block)))
            if self.members is not before:
                break
        return applied

    def _after(self, block: Block) -> MemoryReplica:
        if block.height != self.height + 1:
            raise VerificationError("block.height", height=block.height)
        if block.time < self.time:
            raise VerificationError("block.time", time=block.time)
        if not block.transactions:
            raise VerificationError("block.empty", height=block.height)
        size, root, signed = self._read(block.checkpoint)
        before = self.members
        is_current = signed(_log_key(before))
        effects = self._execute(block.transactions, block.time, strict=True)
        named = taker(block.transactions[0]) if len(block.transactions) == 1 else None
        is_takeover = before.protocol.orderer != named == effects.members.protocol.orderer
        if not is_current and not (is_takeover and signed(_log_key(effects.members))):
            raise VerificationError("block.checkpoint", height=block.height)
        after = self.fork()
        after._add(effects, block.time, block.checkpoint)  # noqa: SLF001  # a copy of itself
        if after.size != size:
            raise VerificationError("block.size", size=size)
        if after.root != root:
            raise VerificationError("block.root", size=size)
        return after

    def propose(self, leaves: Sequence[bytes], time: int, *, takeover: bool = False) -> Proposal:
        effects = self._execute(leaves, time, strict=False)
        refusals = {index: refusal.code for index, refusal in effects.refusals}
        if not effects.leaves:
            return Proposal(None, refusals)
        orderer = effects.members if takeover else self.members
        if _log_key(orderer) != self.signer.public:
            raise VerificationError("block.protocol")
        self._add(effects, time, None)
        return Proposal(self.chain[-1][0], refusals, effects.ids)

    def blocks(self, first: int, max_bytes: int) -> list[Block]:
        found: list[Block] = []
        for block, _, _ in self.chain[first : first + 64]:
            max_bytes -= sum(map(len, block.transactions))
            if found and max_bytes < 0:
                break
            found.append(block)
        return found

    def transaction_height(self, transaction_id: bytes) -> int | None:
        return self.places.get(transaction_id)

    def root_at(self, size: int) -> bytes | None:
        return next((root for _, end, root in reversed(self.chain) if end == size), None)

    def height_of(self, size: int) -> int | None:
        return next((block.height for block, end, _ in reversed(self.chain) if end == size), None)

    def entry_proof(self, position: int, size: int) -> tuple[bytes, list[bytes]]:
        if not 0 <= position < size <= self.size:
            raise NotFoundError("store.leaf", position=position)
        hashes = [leaf_hash(leaf) for leaf in self.leaves[:size]]
        return hashes[position], _path(position, hashes)

    def version_at(self, name: bytes, size: int) -> int:
        assert name == map_key("protocol", *public_owner("protocol", {})), "no other is asked for"
        leaves = [leaf for block, end, _ in self.chain[1:] if end <= size for leaf in block.transactions]
        payloads = [parse_envelope(leaf).transaction for leaf in leaves]
        changes = [change for item in payloads if isinstance(item, Transaction) for change in item.changes]
        return (size > 0) + sum(change.kind == "protocol" for change in changes)

    def rewind(self, height: int) -> None:
        blocks = [block for block, _, _ in self.chain[1:]]
        kept, aside = blocks[:height], self.aside or blocks[height:]
        self.__init__(self.genesis, self.signer)
        for block in kept:
            self.apply(block)
        self.aside = aside

    def lose(self, height: int) -> None:
        """Be what a backup holds."""
        self.rewind(height)
        self.forget_dropped()

    def dropped(self) -> list[Block]:
        return self.aside

    def forget_dropped(self) -> None:
        self.aside = []

    def _read(self, note: str) -> tuple[int, bytes, Callable[[bytes], bool]]:
        try:
            parsed = parse_note(note.encode())
            checkpoint = parse_checkpoint(parsed.text)
        except InputError as error:
            raise VerificationError("block.checkpoint") from error
        if checkpoint.origin != self.genesis.origin or len(parsed.signatures) != 1:
            raise VerificationError("block.checkpoint")

        def signed(public: bytes) -> bool:
            try:
                log_key = VerifierKey(checkpoint.origin, KeyType.ED25519, public)
                verify_log_signature(checkpoint, log_key, parsed.signatures[0])
            except VerificationError:
                return False
            return True

        return checkpoint.size, checkpoint.root, signed

    def _execute(self, leaves, time, *, strict):
        context = block_context(self.height + 1, time, self.size, self.genesis)
        effects = apply_block(self, context, leaves, strict=strict)
        return replace(effects, members=succeeded(self.members, effects.members, self.genesis.origin))

    def _add(self, effects, time: int, checkpoint: str | None) -> None:
        changed = update(self.map_root, {name: r.digest for name, r in effects.records.items()}, self)
        self.pages.update(changed.pages)
        self.map_root = changed.root
        self.records.update(effects.records)
        self.draw_states.update(effects.draws)
        self.members = effects.members
        self.snapshots.append(effects.members)
        height = len(self.chain)
        self.seeds[height] = changed.root.hash
        closing = state_leaf(height, time, changed.root.hash, policy_digest(self.members, self.genesis.origin))
        self.append(effects.leaves, time, closing, checkpoint)

    def append(self, accepted: Sequence[bytes], time: int, *rest: bytes | str | None) -> None:
        """Append leaves as a block; a liar chooses what comes after the transactions."""
        *closing, checkpoint = rest
        added = [*accepted, *closing]
        self.leaves += added
        self.frontier = self.frontier.append([leaf_hash(leaf) for leaf in added])
        height = len(self.chain)
        if checkpoint is None:
            checkpoint = log_pen(self.signer, self.genesis.origin, self.size, self.root)
        self.chain.append((Block(height, time, tuple(accepted), checkpoint), self.size, self.root))
        if height:
            self.places.update((accepted_id(leaf), height) for leaf in accepted)


def _path(position: int, hashes: Sequence[bytes]) -> list[bytes]:
    """Return an inclusion proof (RFC 6962 §2.1.1), from the definition."""
    if len(hashes) < 2:
        return []
    middle = 1 << (len(hashes) - 1).bit_length() - 1
    left, right = hashes[:middle], hashes[middle:]
    if position < middle:
        return [*_path(position, left), merkle_root(right)]
    return [*_path(position - middle, right), merkle_root(left)]


def _log_key(members: Members) -> bytes:
    return members.organisations[members.protocol.orderer].key(LOG_KEY).public


@dataclass
class Disk:
    """What a node keeps beside its ledger."""

    vouched: Vouched = field(default_factory=Vouched)
    notes: dict[int, tuple[str, bool]] = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)

    def load(self) -> Vouched:
        return self.vouched

    def save(self, vouched: Vouched) -> None:
        self.vouched = vouched

    def put(self, item: str | Receipt, size: int = 0, *, final: bool = False) -> None:
        if isinstance(item, Receipt):
            self.receipts.append(item)
        elif final or not self.notes.get(size, ("", False))[1]:
            # What was final stays so, with the lines that made it, also when a node begins anew with its own alone.
            before, was_final = self.notes.get(size, ("", False))
            self.notes[size] = (_joined(item, before) if was_final else item, final)

    def put_broken(self, broken: Broken) -> None:
        self.broken.append(broken)

    def put_void(self) -> None:
        self.receipts.clear()

    def newest(self) -> tuple[list[Receipt], list[Broken]]:
        return self.receipts, self.broken

    def flush(self) -> None:
        """Everything is written at once."""

    def final(self) -> FinalNote | None:
        found = [FinalNote(size, note) for size, (note, final) in self.notes.items() if final]
        return max(found, default=None)

    def first_final(self, size: int) -> FinalNote | None:
        found = [FinalNote(at, note) for at, (note, final) in self.notes.items() if final and at >= size]
        return min(found, default=None)


def _joined(note: str, before: str) -> str:
    """Add lines of keys that a note has no line of, as a node's store does."""

    def by(line: str) -> tuple[str, bytes]:
        _, name, signature = line.split(" ")
        return name, b64decode(signature)[:4]

    lines, old = (text.partition("\n\n")[2].splitlines(keepends=True) for text in (note, before))
    return note + "".join(line for line in old if by(line) not in {*map(by, lines)})


@dataclass
class Faults:
    """How bad the network is, in per cent of calls."""

    drop: int = 0
    lose_answer: int = 0
    delay: int = 0
    tamper: int = 0


COSIGNERS = frozenset({Standing.ACTIVE, Standing.LEAVING})
"""Who may call what is about blocks and their cosignatures, as `medchain.web.peer` declares it."""
SUBMITTERS = frozenset({Standing.ACTIVE, Standing.SUSPENDED})
"""Who may submit."""


def sets_since_final(node: Node) -> list[Members]:
    """List the sets of members since a node's newest final block, as its ledger file does."""
    height = node.replica.height_of(node.driver.cosigner.final_size) or 0
    heights = [height, *(at for at in node.replica.members_changes() if at > height)]
    return [node.replica.members_at(at) for at in heights]


class Link:
    """The way from one organisation to another (`medchain.ordering.driver.OrdererClient`), through bytes."""

    def __init__(self, consortium: Consortium, source: str, target: str) -> None:
        """Connect two nodes."""
        self._consortium = consortium
        self._source = source
        self._target = target

    def submit(self, leaves: Sequence[bytes]) -> list[Outcome]:
        self._admit(SUBMITTERS)
        if self._consortium.guarded and MEMBERS.isdisjoint(self._standings()):
            self._consortium.stops.check(self._source, leaves)
        answer = self._call(lambda node: outcomes_bytes(node.lie("submit", leaves) or node.driver.order(leaves)))
        return parse_outcomes(answer, len(leaves))

    def _standings(self) -> frozenset[Standing]:
        node = self._consortium.nodes[self._target]
        return MembersDirectory(lambda: node.replica.members, lambda: sets_since_final(node)).standings(self._source)

    def _admit(self, allowed: frozenset[Standing]) -> None:
        """Let in whom the routes of a real node let in, where the test asks for that."""
        if self._consortium.guarded and self._standings().isdisjoint(allowed):
            raise AccessDeniedError("peer_auth.unknown")

    def blocks(self, first: int, wait_s: int) -> list[Block]:
        source, wait_s = self._source, min(wait_s, self._consortium.patience_s)

        self._admit(COSIGNERS)

        def ask(node: Node) -> bytes:
            return _lied(node, "blocks", source, first) or node.driver.frames(first, wait_s)

        return parse_blocks(self._call(ask, changes=False))

    def round(self, ask: Ask) -> Round:
        source, ask = self._source, replace(ask, wait_s=min(ask.wait_s, self._consortium.patience_s))

        self._admit(COSIGNERS)

        def answer(node: Node) -> bytes:
            lied, said = _lied(node, "blocks", source, ask.first), node.lie("round", source, ask)
            if not lied and not said:
                return node.driver.round(ask)
            note, meeting = said or (None, 0)
            return round_answer(note, meeting, lied or node.driver.frames(ask.first))

        return parse_round(self._call(answer))

    def checkpoint(self, final: int | None = None) -> str | None:
        self._admit(COSIGNERS)
        if (self._target, self._source) in self._consortium.withheld:
            return None
        return self._read(self._call(lambda node: (node.driver.checkpoint(final) or "").encode(), changes=False))

    def cosign(self, note: str) -> None:
        self._admit(COSIGNERS)
        if (self._source, self._target) not in self._consortium.withheld:
            self._call(lambda node: node.driver.cosign(note) or b"")

    def entry(self, position: int, size: int) -> Entry:
        self._admit(MEMBERS)

        def answer(node: Node) -> bytes:
            return node.lie("entry", position, size) or node.driver.entry(position, size)

        return parse_entry(self._call(answer, changes=False))

    def stand_down(self, leaf: bytes) -> str | None:
        self._admit(MEMBERS)
        return self._read(self._call(lambda node: (node.driver.stand_down(leaf) or "").encode()))

    def _read(self, text: bytes) -> str | None:
        """Read a note, which may have been tampered with."""
        try:
            return text.decode() or None
        except UnicodeDecodeError:
            raise UnavailableError("peer.broken", peer=self._target) from None

    def _call(self, action: Callable[[Node], bytes], *, changes: bool = True) -> bytes:
        consortium, faults, dice = self._consortium, self._consortium.faults, self._consortium.dice
        node = consortium.nodes[self._target]
        cut = {self._source, self._target} & consortium.cut_off
        if cut or not node.is_up or dice.falls(faults.drop):
            raise UnavailableError("peer.unreachable", peer=self._target)
        if changes and dice.falls(faults.delay):
            consortium.late.append((node, action))
            raise UnavailableError("peer.timeout", peer=self._target)
        try:
            answer = action(node)
        except KilledError:
            raise UnavailableError("peer.broken", peer=self._target) from None
        if dice.falls(faults.lose_answer):
            raise UnavailableError("peer.broken", peer=self._target)
        if answer and dice.falls(faults.tamper):
            at = dice.below(len(answer))
            answer = answer[:at] + bytes([_spoiled(answer[at], dice)]) + answer[at + 1 :]
            try:
                answer.decode("ascii" if answer.isascii() else "latin-1")
            except UnicodeDecodeError:
                raise UnavailableError("peer.broken", peer=self._target) from None
        return answer


def _lied(node: Node, what: str, source: str, first: int) -> bytes:
    """Ask a liar for blocks."""
    blocks = node.lie(what, source, first)
    return blocks_answer(blocks) if blocks else b""


def _spoiled(byte: int, dice: Dice) -> int:
    """Change one byte, to one that means as much or as little whatever it was.

    ML-DSA signatures are made with fresh chance. Were one's digit flipped by a bit, the new one would be base64 in one
    run and none in the next, and a seed would not play the same again.
    """
    shift = 1 + dice.below(63)
    known = BASE64.find(byte)
    if known < 0:
        return byte ^ 1 << shift % 7
    # In base64's own order, so that bits that must be zero are so or not, whatever they were.
    return BASE64[(known + shift) % len(BASE64)]


class KilledError(BaseException):
    """The process ends here: nothing may handle it."""


class Killer:
    """Ends a node in front of one of its writes: of its ledger, or of what it keeps beside it.

    Attributes:
        is_done: whether there was such a write.
    """

    def __init__(self, node: Node, at: int) -> None:
        """Let so many writes be, and end the node in front of the next one."""
        self.is_done = False
        self._node = node
        self._thread = get_ident()
        self._left = at
        self._is_writing = False
        self._patched: list[tuple[object, str]] = []

    def __enter__(self) -> Self:
        """Stand between the node and its disk."""
        writes = ("apply_all", "propose", "rewind", "forget_dropped")
        for holder, names in ((self._node.disk, ("save", "put")), (self._node.replica, writes)):
            for name in names:
                setattr(holder, name, self._watched(getattr(holder, name)))
                self._patched.append((holder, name))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> bool:
        """Step aside; a node that ended is down until it is started anew."""
        for holder, name in self._patched:
            delattr(holder, name)
        return kind is KilledError

    def _watched(self, write: Callable[..., object]) -> Callable[..., object]:
        def watched(*args: object, **named: object) -> object:
            if self._is_writing or get_ident() != self._thread:
                # A write that is part of another: both are one transaction. Or one of the orderer's own thread.
                return write(*args, **named)
            if self._left == 0:
                self.is_done, self._node.is_up = True, False
                raise KilledError
            self._left -= 1
            self._is_writing = True
            try:
                return write(*args, **named)
            finally:
                self._is_writing = False

        return watched


class QuietDriver(EmbeddedDriver):
    """A driver whose committer thread has nothing left to do when a call returns.

    Attributes:
        refused: envelopes that whoever orders has refused.
    """

    refused: frozenset[bytes] = frozenset()

    def submit(self, leaves: Sequence[bytes]) -> list[Outcome]:
        """Submit, and remember what was refused."""
        outcomes = super().submit(leaves)
        rows = zip(leaves, outcomes, strict=True)
        self.refused |= {leaf for leaf, outcome in rows if isinstance(outcome, Refused)}
        return outcomes

    def order(self, leaves: Sequence[bytes]) -> list[Outcome]:
        """Order, and wait for what the thread does after it has answered: else it runs beside the next steps.

        `Orderer.turns` is odd from the beginning of a block to the end of what follows from it.
        """
        try:
            return super().order(leaves)
        finally:
            while (self.orderer.turns % 2 or self.orderer.waiting) and self.orderer.failure is None:
                sleep(0)


class WatchedNotary(LedgerNotary):
    """A notary that tells of what it cosigns, before it does."""

    def __init__(self, origin: str, keys: CosignKeys, watch: Callable[[int, bytes], None]) -> None:
        """Prepare."""
        super().__init__(origin, keys)
        self._watch = watch

    def cosign(self, size: int, root: bytes, time: int) -> Mapping[LineName, Line]:
        """Make this organisation's two lines."""
        self._watch(size, root)
        return super().cosign(size, root, time)


class Node:
    """One organisation."""

    def __init__(self, consortium: Consortium, org_id: str) -> None:
        """Start a node."""
        self.org_id = org_id
        self.is_up = True
        self.disk = Disk()
        self.lies: dict[str, Callable[..., object]] = {}
        self.intents: dict[bytes, bytes] = {}
        self._consortium = consortium
        self.replica = MemoryReplica(consortium.genesis, log_signer(org_id))
        self.driver = self._open(restored=False)

    def lie(self, what: str, *about: object) -> object:
        """Return what a liar says instead of the truth, or None."""
        return self.lies[what](*about) if what in self.lies else None

    def restart(self, *, restored: bool = False) -> None:
        """Stop and start with what is on disk; what was only in memory is gone."""
        self.driver.orderer.stop()
        self.is_up = True
        # The keys that the ledger lists, as a node's keystore gives them.
        self.replica.signer = log_signer(self.org_id, self._generation(LOG_KEY))
        self.driver = self._open(restored=restored)

    def start_anew(self) -> None:
        """Restart, and take on again whatever was to be submitted, which a node has on disk."""
        self.restart()
        for leaf in self.intents.values():
            self.driver.outbox.add(leaf)

    def submit(self, leaf: bytes) -> bytes:
        """Have a transaction submitted until it is in a block, restarts or not; returns its id."""
        known = self.driver.outbox.add(leaf)
        self.intents[known] = leaf
        return known

    @property
    def has_listed_keys(self) -> bool:
        """Tell whether it runs with the keys that its ledger lists."""
        return self._keys == {use: self._generation(use) for use in (*COSIGN_USES, LOG_KEY)}

    def _generation(self, use: str) -> int:
        return generation_of(self.replica.members.organisations[self.org_id].key(use))

    def acknowledge(self) -> None:
        """Have the operator acknowledge what stopped the node, and start it anew."""
        self.disk.settled += [
            str(alarm.fields[side])
            for alarm in self.driver.health().alarms
            for side in ("ours", "theirs")
            if alarm.code == SPLIT_VIEW and alarm.fields.get(side)
        ]
        self.restart()

    def restore(self, height: int) -> None:
        """Come back from a backup of the ledger and of nothing else."""
        self.replica.lose(min(height, self.replica.height))
        self.disk = Disk()
        self.restart(restored=True)

    def _open(self, *, restored: bool) -> QuietDriver:
        consortium = self._consortium
        self._keys = {use: self._generation(use) for use in (*COSIGN_USES, LOG_KEY)}
        keys = cosign_keys(self.org_id, self._generation(COSIGN_MLDSA44_KEY))
        ports = Ports(
            self.replica,
            WatchedNotary(consortium.genesis.origin, keys, self._promise),
            self.disk,
            self.disk,
            self.disk,
            lambda: consortium.now,
            lambda target: Link(consortium, self.org_id, target),
            settled=tuple(self.disk.settled),
        )
        driver = QuietDriver(
            self.org_id, self.replica.signer, ports, limits=OrdererLimits(window_s=0), restored=restored
        )
        driver.prepare()
        return driver

    def _promise(self, size: int, root: bytes) -> None:
        # Where a test puts a node on a disk, this judge does not look. Who lies promises nothing: its honest half is
        # reminded of what the other one has signed.
        if isinstance(self.replica, MemoryReplica) and self.org_id not in self._consortium.liars:
            self._consortium.promises.signed(self.org_id, self.replica.chain, size, root)

    def step(self) -> None:
        """Do each thing once that a node's threads do all the time."""
        if self.is_up:
            self.driver.follow_once()
            if self.driver.cosign_once():
                # The next poll takes the lines along.
                self.driver.follow_once()
            self.driver.gather_once()
            self.driver.outbox.step()

    def alarms(self) -> set[str]:
        """Return the codes of what is wrong now."""
        return {alarm.code for alarm in self.driver.health().alarms}


class Consortium:
    """Organisations, their network, and what was asked of them."""

    def __init__(self, count: int = 5, start: int = 0) -> None:
        """Start so many nodes; the seed decides all chance."""
        self.genesis = genesis(count)
        self.dice = Dice(start)
        self.now = START + 100
        self.patience_s = 0
        self.faults = Faults()
        self.cut_off: set[str] = set()
        self.liars: set[str] = set()
        self.withheld: set[tuple[str, str]] = set()
        self.guarded = False
        self.stops = SuspendedStops(lambda: self.now)
        self.late: list[tuple[Node, Callable[[Node], bytes]]] = []
        self.nodes: dict[str, Node] = {}
        self.promises = Promises()
        for number in range(count):
            self.nodes[f"org-{number}"] = Node(self, f"org-{number}")
        self.auditor = Auditor(self.genesis)

    def __enter__(self) -> Self:
        """Run the orderers' threads until the block ends."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End them."""
        for node in self.nodes.values():
            node.driver.orderer.stop()

    def start(self) -> None:
        """Let all nodes' threads run; time still stands."""
        self.patience_s = 1
        for node in self.nodes.values():
            node.driver.orderer.stop()
            node.driver.start()

    def stop(self) -> None:
        """End all threads."""
        for node in self.nodes.values():
            node.driver.stop()

    @property
    def orderer(self) -> Node:
        """The node that the most advanced ledger names as orderer."""
        ahead = max(self.nodes.values(), key=lambda node: node.replica.height)
        return self.nodes[ahead.replica.members.protocol.orderer]

    def anchor(self, org_id: str, count: int = 1) -> bytes:
        """Make a record anchor; returns its envelope."""
        rows = sorted(ObjectRow(self.dice.bytes(16), 1, self.dice.bytes(32)) for _ in range(count))
        return self.sign(self._payload(org_id, (Change("record", "active", tuple(rows)),), (), (), self.nodes[org_id]))

    def narrow(self, org_id: str) -> bytes:
        """Make a stop of an object that is not there; returns its envelope."""
        own = Signer(key(org_id, LEDGER_KEY).id, SUBMITTER)
        nonce, target = self.dice.bytes(16), self.dice.bytes(32)
        return self.sign(Stop(org_id, target, bytes(32), None, (own,), self.genesis.ledger, nonce, None, 1))

    def hand_over(
        self,
        target: str,
        view: Node,
        *,
        voters: Sequence[str] | None = None,
        creator: str | None = None,
        until: int | None = None,
    ) -> bytes:
        """Make the protocol change that names another orderer, signed by all but those who are down.

        It is a takeover where its creator is who is to order, as it is unless another is named.
        """
        rules = replace(view.replica.members.protocol, orderer=target)
        up = [name for name, node in self.nodes.items() if node.is_up] if voters is None else voters
        return self._agree(creator or target, [("protocol", protocol_content(rules))], up, view, until=until)

    def rotate(self, target: str, view: Node) -> bytes:
        """Make the change by which an organisation gives itself its next log key."""
        return self.exchange(target, (LOG_KEY,), view)

    def exchange(self, target: str, uses: Sequence[str], view: Node) -> bytes:
        """Make the change by which an organisation gives itself its next keys of some uses that sign."""
        before = view.replica.members.organisations[target]
        old = [before.key(use) for use in uses]
        new = [key(target, item.use, generation_of(item) + 1) for item in old]
        proofs = {
            item.id: base64_text(
                signer(target, item.use, generation_of(item)).sign(proof_message(self.genesis.ledger, item))
            )
            for item in new
        }
        keys = sorted((*(item for item in before.keys if item not in old), *new), key=lambda item: item.id)
        return self._update(replace(before, keys=tuple(keys)), proofs, view)

    def move(self, target: str, url: str, view: Node) -> bytes:
        """Make the change by which an organisation gives itself another address."""
        return self._update(replace(view.replica.members.organisations[target], url=url), {}, view)

    def stand(
        self, statuses: Mapping[str, str], view: Node, *, voters: Sequence[str], until: int | None = None
    ) -> bytes:
        """Make the change by which members are suspended, or take part again, with the least quorum that is sound."""
        members = view.replica.members
        after = {name: replace(members.organisations[name], status=status) for name, status in statuses.items()}
        contents = [("organisation", organisation_content(item, {})) for item in after.values()]
        active = [item for name, item in members.organisations.items() if after.get(name, item).status == "active"]
        if quorum_floor(len(active)) != members.protocol.quorum:
            rules = replace(members.protocol, quorum=quorum_floor(len(active)))
            contents.append(("protocol", protocol_content(rules)))
        return self._agree(voters[0], contents, voters, view, until=until)

    def _agree(self, creator, contents, voters, view: Node, *, until: int | None) -> bytes:
        """Make a change that others sign beside its creator."""
        changes = tuple(_change(view, kind, content) for kind, content in contents)
        others = [name for name in voters if name != creator]
        bodies = tuple(content for _, content in contents)
        payload = self._payload(creator, changes, bodies, others, view)
        return self.sign(replace(payload, until=self.now + DAY_S if until is None else until))

    def _update(self, after: Organisation, proofs: Mapping[str, str], view: Node) -> bytes:
        """Make an organisation's own next version."""
        content = organisation_content(after, proofs)
        change = _change(view, "organisation", content)
        return self.sign(self._payload(after.org_id, (change,), (content,), (), view))

    def sign(self, payload: Payload) -> bytes:
        """Sign with the keys of those whom a payload names."""
        data = payload_bytes(payload)
        pens = ledger_pens(tuple(self.nodes))
        return seal(data, [(row.key_id, pens[row.key_id].sign(pae(data))) for row in payload.signers]).leaf

    def _payload(self, creator, changes, bodies, members, view: Node) -> Transaction:
        rows = [(creator, "creator"), *((name, "member") for name in members)]
        known = view.replica.members.organisations
        signers = tuple(sorted(Signer(known[name].key(LEDGER_KEY).id, role) for name, role in rows))
        protocol = view.replica.members.protocol.protocol
        nonce = self.dice.bytes(16)
        return Transaction(creator, changes, bodies, signers, None, self.genesis.ledger, nonce, None, protocol)

    def step(self, seconds: int = 1) -> None:
        """Let time pass, late calls arrive in any order, and each node do its turn, in any order."""
        self.now += seconds
        self.arrive()
        names = sorted(self.nodes)
        while names:
            self.nodes[names.pop(self.dice.below(len(names)))].step()

    def arrive(self) -> None:
        """Have late calls arrive, in any order."""
        while self.late and self.dice.falls(60):
            node, action = self.late.pop(self.dice.below(len(self.late)))
            if node.is_up:
                try:
                    action(node)
                except MedchainError:
                    continue

    def settle(self, steps: int = 12) -> None:
        """Make the network good, let everybody catch up and everything be ordered and cosigned."""
        self.faults, self.cut_off, self.late = Faults(), set(), []
        for node in self.nodes.values():
            node.is_up = True
        for _ in range(steps):
            self.hurry()
            self.step(35)

    def hurry(self, *, due: float = 0.0) -> None:
        """Make everything due that waits for a time on the machine's own clock, or nothing at all till then."""
        for node in self.nodes.values():
            for pending in node.driver.outbox._pending.values():  # noqa: SLF001  # it has no other clock to move
                pending.due = due

    def check(self) -> None:
        """Judge the ledgers of all who do not lie, with nothing but leaves, checkpoints and the genesis."""
        for org_id, node in self.nodes.items():
            if org_id not in self.liars:
                chain = node.replica.chain
                self.auditor.audit(org_id, node.replica.leaves, [block.checkpoint for block, _, _ in chain])
                for _, (note, final) in sorted(node.disk.notes.items()):
                    if final:
                        self.auditor.audit_final(org_id, note)
        self.promises.judge(self.liars)


def _change(view: Node, kind: str, content: Mapping[str, object]) -> Change:
    """Make the next version of a public object."""
    owner, object_id = public_owner(kind, content)
    head = view.replica.record(map_key(kind, owner, object_id))
    return Change(kind, "active", (ObjectRow(object_id, head.version + 1, public_body_hash(kind, content)),))


def is_level(nodes: Mapping[str, Node]) -> bool:
    """Tell whether all nodes have the same roots."""
    return len({(node.replica.size, node.replica.root, node.replica.map_root.hash) for node in nodes.values()}) == 1
