"""The policy chain of this node's bundles: from each policy that somebody may trust to the one in force.

A checkpoint leads from every policy of which a quorum is among its lines to the policy at its own end, however many
changes lie between; so the chain is made from its end backwards, of the checkpoints that are kept for ever. Keeps true:
it is made anew only when the policy changes, or while it does not lead on from each policy; what costs nothing to pass
over, such as an address, is in no step. Trusts the replica: the lines of what it keeps are verified.
Source: `docs/spec/proof-bundle.md` 7.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from medchain.encoding import unbase64
from medchain.ledger.genesis import cosigner_name, policy_text
from medchain.ledger.lineage import GROUP
from medchain.ledger.members import ACTIVE, COSIGN_ED25519_KEY, COSIGN_MLDSA44_KEY
from medchain.ledger.object import map_key, public_owner
from medchain.ledger.policy_steps import PolicyChange, PolicyStep, write_chain
from medchain.store.ledger import LedgerStore, PolicyRow, SignerKeys
from medchain.store.notes import StoredCheckpoint
from medchain.tlog.note import KeyType, VerifierKey, parse_note

CHAIN_BUDGET_BYTES: Final = 8 << 20
"""How much of the chain may be changes that others have made needless; of more, the oldest are left out."""

_LEDGER_OBJECT: Final = ""
_MAX_KEYS: Final = 4096

LineId = tuple[str, bytes]
"""Name and key id of a signature line."""


class Proven(Protocol):
    """A leaf that the log holds, see `medchain.node.replica.EntryProof`."""

    @property
    def leaf(self) -> bytes:
        """Its bytes."""
        ...

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """Inclusion proof."""
        ...


@dataclass(frozen=True, slots=True)
class _Policy:
    """A policy, from the block on that made it.

    Attributes:
        row: what it is made of.
        size: of the log after that block.
        changed: org_ids of what is other than in the policy before, `_LEDGER_OBJECT` for orderer and k.
        pairs: both cosigning lines of each active organisation.
        log: line of who orders.
        digest: what a lineage hashes of it.
    """

    row: PolicyRow
    size: int
    changed: frozenset[str]
    pairs: tuple[frozenset[LineId], ...]
    log: LineId
    digest: bytes

    def has_quorum(self, lines: Collection[LineId]) -> bool:
        """Tell whether a quorum is among lines."""
        return sum(pair.issubset(lines) for pair in self.pairs) >= self.row.quorum


class _Note(NamedTuple):
    """A checkpoint, the number of the policy at its end, and its lines."""

    stored: StoredCheckpoint
    policy: int
    lines: frozenset[LineId]


class PolicySteps:
    """Makes the chain. Threads may share it."""

    def __init__(self, store: LedgerStore, origin: str, prove: Callable[[int, int], Proven]) -> None:
        """Use a ledger.

        Args:
            store: the ledger file.
            origin: origin line of checkpoints.
            prove: proves that the log of a size holds the leaf at a position (position, size).
        """
        self._store, self._origin, self._prove = store, origin, prove
        self._lock = threading.Lock()
        self._policies: list[_Policy] = []
        self._newest: PolicyRow | None = None
        self._made: tuple[object, bytes] | None = None

    def chain(self, final: StoredCheckpoint) -> bytes | None:
        """Return ``policy-chain.json`` for bundles under a final checkpoint; None where the policy never changed.

        Args:
            final: the newest final checkpoint, or one that was.

        Raises:
            VerificationError: ``store.corrupt``.
        """
        with self._lock:
            self._meet(self._store.block_of_size(final.size).height)
            known = bisect_right(self._policies, final.size, key=lambda policy: policy.size)
            if known < 2:  # noqa: PLR2004  # that of the genesis alone
                return None
            made, now = self._made, (known, self._store.pins, final.size)
            if made is None or made[0] not in (known, now):
                chain, is_complete = self._make(self._policies[:known], final)
                made = self._made = known if is_complete else now, chain
            return made[1]

    def _meet(self, height: int) -> None:
        """Look at the blocks up to a final one that changed the members since the last look: they are never dropped."""
        newest = self._newest
        for row in self._store.policies(-1 if newest is None else newest.height, height):
            before = self._policies[-1] if self._policies else None
            if before is None or _text(before.row) != _text(row):
                self._policies.append(self._policy(row, None if before is None else before.row))
            self._newest = row

    def _policy(self, row: PolicyRow, before: PolicyRow | None) -> _Policy:
        """Compare a policy with the one before."""
        past = row.organisations if before is None else before.organisations
        changed = {name for name, keys in row.organisations.items() if past.get(name) != keys}
        if before and (before.orderer, before.quorum) != (row.orderer, row.quorum):
            changed.add(_LEDGER_OBJECT)
        active = [(name, keys) for name, keys in row.organisations.items() if keys.status == ACTIVE]
        pairs = tuple(frozenset(_cosign_lines(self._origin, name, keys)) for name, keys in active)
        log = _line(self._origin, KeyType.ED25519, row.organisations[row.orderer].log)
        digest = _set_digest(self._origin, row)
        return _Policy(row, self._store.block(row.height).size, frozenset(changed), pairs, log, digest)

    def _make(self, policies: Sequence[_Policy], final: StoredCheckpoint) -> tuple[bytes, bool]:
        """Choose steps from the end backwards; returns the chain, and whether it leads on from each policy."""
        notes = _Notes(self._store, policies, final)
        steps: list[tuple[int, _Note]] = []
        end, is_complete = len(policies) - 1, True
        while end:
            low, note = min(((_reach(policies, note), note) for note in notes.at(end)), key=lambda found: found[0])
            start = next((at for at in range(low, end) if at == 0 or notes.at(at)), None)
            if start is None:
                # Nothing leads here from the policies before: who trusts one of them may need a newer one. A step that
                # starts where no checkpoint led would have its changes asked of those who trust what is older still.
                start = next((at for at in range(end - 1, 0, -1) if notes.at(at)), 0)
            is_complete = is_complete and low <= start
            steps.append((start, note))
            end = start
        return write_chain(self._steps(policies, steps)), is_complete

    def _steps(self, policies: Sequence[_Policy], steps: Sequence[tuple[int, _Note]]) -> list[PolicyStep]:
        """Prove the changes of each step, the last step first, until the needless ones of the oldest are too much."""
        left, found = CHAIN_BUDGET_BYTES, []
        positions = _Positions(self._store)
        for start, note in steps:
            changes: list[PolicyChange] = []
            later: set[str] = set()
            for number in range(note.policy, start, -1):
                policy = policies[number]
                is_needless = policy.changed <= later
                if is_needless and left <= 0:
                    continue
                for position in positions.of(policy):
                    proven = self._prove(position, note.stored.size)
                    changes.append(PolicyChange(proven.leaf, position, proven.hashes))
                    left -= len(proven.leaf) if is_needless else 0
                # What the step's last change makes needless may hold the log key that signed the checkpoint.
                later |= policy.changed if number < note.policy else set()
            unique = {change.position: change for change in changes}
            sets = tuple(policy.digest for policy in policies[start + 1 : note.policy + 1])
            found.append(PolicyStep(tuple(unique[at] for at in sorted(unique)), note.stored.note, sets))
        return found[::-1]


class _Notes:
    """The checkpoints at whose end a policy is in force, and that have its quorum; each is read once."""

    def __init__(self, store: LedgerStore, policies: Sequence[_Policy], final: StoredCheckpoint) -> None:
        """Find out for each policy which may be."""
        self._store, self._policies, self._final = store, policies, final
        self._sizes: dict[int, list[int]] = {}
        self._known: dict[int, list[_Note]] = {}
        for size in store.pinned_sizes():
            number = bisect_right(policies, size, key=lambda policy: policy.size) - 1
            if number > 0 and size < final.size:
                self._sizes.setdefault(number, []).append(size)

    def at(self, number: int) -> list[_Note]:
        """Return those of a policy; of the last one the newest final checkpoint, which has a quorum, comes last."""
        if number not in self._known:
            stored = [self._store.checkpoint(size) for size in self._sizes.get(number, ())]
            found = [_Note(one, number, _lines(one)) for one in stored if one is not None]
            self._known[number] = [note for note in found if self._is_fit(note)]
            if number == len(self._policies) - 1:
                self._known[number].append(_Note(self._final, number, _lines(self._final)))
        return self._known[number]

    def _is_fit(self, note: _Note) -> bool:
        """Tell whether a checkpoint has the quorum, and the line of who orders before or after the change."""
        logs = {policy.log for policy in self._policies[note.policy - 1 : note.policy + 1]}
        return self._policies[note.policy].has_quorum(note.lines) and not logs.isdisjoint(note.lines)


class _Positions:
    """Where objects were changed; each object's history is read once."""

    def __init__(self, store: LedgerStore) -> None:
        """Use a ledger."""
        self._store = store
        self._known: dict[str, list[int]] = {}

    def of(self, policy: _Policy) -> Iterator[int]:
        """List the entries that made of the objects that changed what they are in a policy."""
        for name in policy.changed:
            yield next(position for position in self._since(name) if position < policy.size)

    def _since(self, name: str) -> list[int]:
        """Return the positions of an object's versions, the newest first."""
        if name not in self._known:
            kind = "organisation" if name else "protocol"
            key = map_key(kind, *public_owner(kind, {"org_id": name}))
            self._known[name] = [record.since for record in self._store.history(key)]
        return self._known[name]


def _reach(policies: Sequence[_Policy], note: _Note) -> int:
    """Return the number of the first policy from which on a checkpoint leads from each to the one at its end."""
    low = note.policy
    while low and policies[low - 1].has_quorum(note.lines):
        low -= 1
    return low


def _lines(stored: StoredCheckpoint) -> frozenset[LineId]:
    """Return the signature lines of a checkpoint."""
    return frozenset((line.name, line.key_id) for line in parse_note(stored.note.encode()).signatures)


def _text(row: PolicyRow) -> tuple[object, ...]:
    """Return all that stands in a trusted policy."""
    active = {name: keys[:3] for name, keys in row.organisations.items() if keys.status == ACTIVE}
    return active, row.organisations[row.orderer].log, row.quorum


def _set_digest(origin: str, row: PolicyRow) -> bytes:
    """Name the members of a policy, as `medchain.ledger.genesis.set_digest` does of decoded ones."""
    active = sorted((name, keys) for name, keys in row.organisations.items() if keys.status == ACTIVE)
    cosigners = [(name, unbase64(keys.cosign_ed25519), unbase64(keys.cosign_mldsa44)) for name, keys in active]
    log = unbase64(row.organisations[row.orderer].log)
    return sha256(policy_text(origin, log, cosigners, row.quorum, GROUP).encode()).digest()


def _cosign_lines(origin: str, name: str, keys: SignerKeys) -> Iterator[LineId]:
    """List the lines by which an organisation cosigns."""
    ed25519, mldsa44 = (cosigner_name(name, origin, use) for use in (COSIGN_ED25519_KEY, COSIGN_MLDSA44_KEY))
    yield _line(ed25519, KeyType.COSIGNATURE_ED25519, keys.cosign_ed25519)
    yield _line(mldsa44, KeyType.COSIGNATURE_MLDSA44, keys.cosign_mldsa44)


@lru_cache(maxsize=_MAX_KEYS)
def _line(name: str, kind: KeyType, public: str) -> LineId:
    """Return name and id of the lines by a key."""
    return name, VerifierKey(name, kind, unbase64(public)).key_id
