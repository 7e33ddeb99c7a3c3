"""The judge from outside: leaves, checkpoints and public keys, and code that shares nothing with what made them.

Merkle root, map root, notes and cosignatures are computed anew in the plainest way that the specifications allow; the
transactions are replayed by the machine on a dictionary. Each note is judged by the members that the ledger itself had
where it was signed (`tests/roll.py`), whatever they are now. Source: RFC 6962 §2.1; C2SP signed-note, tlog-cosignature;
`docs/spec/log.md`, `docs/spec/ordering.md` and `docs/spec/transaction.md`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from medchain.ledger.genesis import Genesis, succeeded
from medchain.ledger.machine import DrawState, apply_block, apply_genesis, block_context
from medchain.ledger.members import Members
from medchain.ledger.object import StateRecord
from tests.roll import COSIGN_USES, Roll, taker


def h(*parts: bytes) -> bytes:
    """Hash the parts, one after the other."""
    return hashlib.sha256(b"".join(parts)).digest()


def merkle_root(hashes: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if not hashes:
        return h()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return h(b"\x01", merkle_root(hashes[:split]), merkle_root(hashes[split:]))


def map_root(entries: Mapping[bytes, bytes]) -> bytes:
    """Root of the compressed trie: keys as strings of bits, split by hand."""
    rows = sorted((f"{int.from_bytes(key, 'big'):0256b}", value) for key, value in entries.items())
    zeros, ones = ([row for row in rows if row[0][0] == bit] for bit in "01")
    no_child = _node(_node(h(b"\x00"), 0, b"\x01" * 32), 0, b"\x01" * 32)
    left = _subtree(zeros) if zeros else no_child
    right = _subtree(ones) if ones else no_child
    return _node(h(left, right), 0, bytes(32))


def _subtree(rows: Sequence[tuple[str, bytes]]) -> bytes:
    """Hash the topmost node over at least one entry."""
    if len(rows) == 1:
        return _node(rows[0][1], 256, int(rows[0][0], 2).to_bytes(32, "big"))
    first, last = rows[0][0], rows[-1][0]
    shared = next(at for at in range(256) if first[at] != last[at])
    middle = next(at for at, row in enumerate(rows) if row[0][shared] == "1")
    label = int(first[:shared].ljust(256, "0"), 2).to_bytes(32, "big")
    return _node(h(_subtree(rows[:middle]), _subtree(rows[middle:])), shared, label)


def _node(value: bytes, bits: int, label: bytes) -> bytes:
    return h(value, h(bits.to_bytes(4, "big"), label))


@dataclass
class Replay:
    """One ledger, replayed."""

    members: Members
    rolls: list[Roll] = field(default_factory=list)
    records: dict[bytes, StateRecord] = field(default_factory=dict)
    draw_states: dict[str, DrawState] = field(default_factory=dict)
    seeds: dict[int, bytes] = field(default_factory=dict)
    leaves: list[bytes] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    ends: list[tuple[int, bytes]] = field(default_factory=list)
    time: int = 0

    def record(self, key: bytes) -> StateRecord | None:
        return self.records.get(key)

    def draws(self, creator: str) -> DrawState:
        return self.draw_states.get(creator, DrawState())

    def heads(self, keys: Sequence[bytes]) -> dict[bytes, StateRecord | None]:
        return {key: self.records.get(key) for key in keys}

    def seed(self, height: int) -> bytes | None:
        return self.seeds.get(height)


class Auditor:
    """Judges the ledgers of all nodes, and remembers what it has judged."""

    def __init__(self, founding: Genesis) -> None:
        """Judge the ledgers of one genesis."""
        self._genesis = founding
        self._replays: dict[str, Replay] = {}
        self._final: list[bytes] = []
        self._judged: set[tuple[str, str]] = set()
        self._own: dict[str, dict[int, bytes]] = {}

    def audit(self, name: str, leaves: Sequence[bytes], checkpoints: Sequence[str]) -> None:
        """Judge one node's whole ledger; what it showed before and still shows is not judged twice."""
        replay = self._replays.get(name)
        if replay is None or replay.leaves != leaves[: len(replay.leaves)]:
            replay = self._replays[name] = Replay(self._genesis.members)
        for height in range(len(replay.ends), len(checkpoints)):
            start = replay.ends[-1][0] if replay.ends else 0
            end = next(at for at in range(start, len(leaves)) if b'"medchain/state/v2"' in leaves[at]) + 1
            self._block(replay, height, leaves[start:end], checkpoints[height])
        assert len(replay.leaves) == len(leaves), "leaves outside any block"
        # What others call final may be news to it: an orderer that was replaced while it was cut off goes on for a
        # while, alone. Nothing of that becomes final (`audit_final`), and it comes back to the others' ledger.
        for size, root in self._own.get(name, {}).items():
            known = [end_root for end, end_root in replay.ends if end == size]
            assert known in ([], [root]), f"{name} has left a final block"

    def audit_final(self, name: str, note: str) -> None:
        """Judge a checkpoint that a node calls final: whatever any two nodes call so, of any sizes, is of one log.

        It goes by the members at the last end before that it calls final, and at each one since, under the keys that
        these or later ones of them list (`docs/spec/ordering.md` 4).
        """
        _, size, root = self._text(note)
        own = self._own.setdefault(name, {})
        if (name, note) in self._judged and own.get(size) == root:
            return
        replay = self._replays[name]
        assert (size, root) in replay.ends, f"{name} has no block that ends at what it calls final"
        at = replay.ends.index((size, root))
        # A block that exchanges a log key, or hands over, is signed under the old one.
        assert self._is_logged(note, replay.rolls[max(at - 1, 0) :]), "no line of who orders"
        base = max((height for height, (end, _) in enumerate(replay.ends) if end in own and end < size), default=0)
        rolls = replay.rolls[base : at + 1]
        lines = {*self._cosigners(note, rolls)}
        for number, roll in enumerate(rolls):
            cosigned = self._cosigned(lines, roll.active, rolls[number:])
            assert len(cosigned) >= roll.quorum, f"{name} calls {size} final with {cosigned}"
        # From now on `audit` holds this node to it.
        own[size] = root
        hashes = replay.hashes[:size]
        assert hashes[: len(self._final)] == self._final[:size], "two final histories"
        self._final += hashes[len(self._final) :]
        self._judged.add((name, note))

    def _block(self, replay: Replay, height: int, leaves: Sequence[bytes], checkpoint: str) -> None:
        """Judge one block, and move on."""
        state = json.loads(leaves[-1])
        assert (state["height"], state["type"]) == (height, "medchain/state/v2")
        assert set(state) == {"height", "map_root", "policy", "time", "type"}
        assert state["time"] >= replay.time
        if height == 0:
            effects = apply_genesis(self._genesis)
            assert list(effects.leaves) == list(leaves[:-1])
        else:
            assert len(leaves) > 1
            context = block_context(height, state["time"], len(replay.leaves), self._genesis)
            effects = apply_block(replay, context, leaves[:-1], strict=True)
        replay.records.update(effects.records)
        replay.draw_states.update(effects.draws)
        replay.members = succeeded(replay.members, effects.members, self._genesis.origin)
        replay.time = state["time"]
        root_of_map = map_root({key: h(record.encode()) for key, record in replay.records.items()})
        assert state["map_root"] == root_of_map.hex()
        replay.seeds[height] = root_of_map
        roll = replay.rolls[-1] if height else Roll.of_genesis(leaves[0])
        before = roll
        for leaf in leaves[:-1] if height else ():
            roll = roll.after(leaf)
        roll = roll.ending(before if height else None, self._genesis.origin)
        replay.rolls.append(roll)
        assert state["policy"] == h(roll.policy(self._genesis.origin).encode()).hex()
        _compare(roll, effects.members)
        replay.leaves += leaves
        replay.hashes += [h(b"\x00", leaf) for leaf in leaves]
        replay.ends.append((len(replay.hashes), merkle_root(replay.hashes)))
        if height:
            # The lost orderer signs nothing more: who takes over signs the block that says so, and no other.
            named = taker(leaves[0]) if len(leaves) == 2 else None
            signers = [before.orderer, *([roll.orderer] if named == roll.orderer else [])]
            assert (replay.ends[-1]) == self._text(checkpoint)[1:]
            assert len(self._lines(checkpoint)) == 1
            assert self._log_signers(checkpoint, [before], signers), "nobody who may has signed the checkpoint"

    def _is_logged(self, note: str, rolls: Sequence[Roll]) -> bool:
        """Tell whether somebody who orders, at the end of a note or behind it, has signed it."""
        return bool(self._log_signers(note, rolls, {roll.orderer for roll in rolls}))

    def _log_signers(self, note: str, rolls: Sequence[Roll], names: Iterable[str]) -> list[str]:
        """List who of some organisations has signed a note with a log key; a false line of a known key fails."""
        text, lines = self._text(note)[0], self._lines(note)
        found = []
        for org_id in names:
            for public in frozenset().union(*(roll.listed(org_id, "log") for roll in rolls)):
                name = h(self._genesis.origin.encode(), b"\n\x01", public)[:4]
                for raw in (raw for line, raw in lines if line == self._genesis.origin and raw[:4] == name):
                    Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], text.encode())
                    found.append(org_id)
        return found

    @staticmethod
    def _cosigned(lines: Collection[tuple[str, str, bytes]], names: Iterable[str], rolls: Sequence[Roll]) -> list[str]:
        """List who of some has cosigned with keys of both uses that one of the rolls lists."""

        def has(org_id: str, use: str) -> bool:
            return any((org_id, use, public) in lines for roll in rolls for public in roll.listed(org_id, use))

        return [org_id for org_id in names if all(has(org_id, use) for use in COSIGN_USES)]

    def _cosigners(self, note: str, rolls: Sequence[Roll]) -> Iterator[tuple[str, str, bytes]]:
        """Verify the cosignature lines of a note by listed keys; gives whose they are, of which use and key.

        A false one condemns the note.
        """
        text, size, root = self._text(note)
        host, origin = self._genesis.origin.partition("/")[0], self._genesis.origin.encode()
        tree = b"\0" * 8 + size.to_bytes(8, "big") + root
        listed = {(*item, public) for roll in rolls for item, publics in roll.keys.items() for public in publics}
        for org_id, use, public in listed:
            if use not in COSIGN_USES:
                continue
            name = f"{org_id}.{host}/cosigner/{use.removeprefix('cosign-')}"
            kind = b"\x04" if use == COSIGN_USES[0] else b"\x06"
            key_id = h(name.encode(), b"\n" + kind, public)[:4]
            for raw in (raw for line, raw in self._lines(note) if line == name and raw[:4] == key_id):
                time = raw[4:12]
                if use == COSIGN_USES[0]:
                    signed = f"cosignature/v1\ntime {int.from_bytes(time, 'big')}\n{text}".encode()
                    Ed25519PublicKey.from_public_bytes(public).verify(raw[12:], signed)
                else:
                    labels = bytes([len(name)]) + name.encode() + time + bytes([len(origin)]) + origin
                    MLDSA44PublicKey.from_public_bytes(public).verify(raw[12:], b"subtree/v1\n\0" + labels + tree)
                yield org_id, use, public

    def _text(self, note: str) -> tuple[str, int, bytes]:
        """Take a note's text apart."""
        text = note.partition("\n\n")[0] + "\n"
        origin, size, root, end = text.split("\n")
        assert (origin, end) == (self._genesis.origin, "")
        return text, int(size), base64.b64decode(root, validate=True)

    @staticmethod
    def _lines(note: str) -> list[tuple[str, bytes]]:
        """Take a note's signature lines apart."""
        rows = [line.split(" ") for line in note.partition("\n\n")[2].splitlines()]
        return [(name, base64.b64decode(signature, validate=True)) for _, name, signature in rows]


def _compare(roll: Roll, members: Members) -> None:
    """See that the machine's members are those that the entries themselves name."""
    assert (roll.orderer, roll.quorum) == (members.protocol.orderer, members.protocol.quorum)
    assert roll.active == [organisation.org_id for organisation in members.active]
    for organisation in members.organisations.values():
        for use in {use for _, use in roll.keys}:
            listed = {item.public for item in organisation.keys if item.use == use}
            assert roll.listed(organisation.org_id, use) == listed
