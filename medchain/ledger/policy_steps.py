"""From the policy that a verifier trusts to the one in force, by as few checkpoints as lead there.

A step is a checkpoint, the entries that changed the policy since the step before, up to that checkpoint, and the name
of each set of members that these made. Keeps true: a policy is believed only where a quorum of the policy believed
before has cosigned a log that holds all changes shown since, and a quorum of the policy after them has cosigned that
very checkpoint; what it ends with bears the lineage of the trusted one. Trusts the policy that the verifier brought,
nothing else in the bundle.
Source: `docs/spec/proof-bundle.md` 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from medchain.encoding import Json, base64_text, canonical, members, parse_canonical, unbase64, unhex
from medchain.errors import InputError, VerificationError
from medchain.ledger.genesis import Genesis, line_key, parse_genesis, set_digest, trusted_policy_text
from medchain.ledger.lineage import asks_for_more, lineage_after, members_policy
from medchain.ledger.members import LOG_KEY, Members, parse_organisation, parse_protocol
from medchain.ledger.object import ORGANISATION
from medchain.ledger.transaction import HASH_BYTES, MAX_LEAF_BYTES, Stop, parse_envelope
from medchain.tlog.checkpoint import Checkpoint, parse_checkpoint, verify_log_signature
from medchain.tlog.merkle import leaf_hash, verify_inclusion
from medchain.tlog.note import Note, parse_note
from medchain.tlog.policy import Log, Policy

CHAIN_FILE: Final = "policy-chain.json"
"""Name of the file in a bundle."""

CHAIN_TYPE: Final = "medchain/policy-chain/v3"
"""Its type member."""

_PROTOCOL: Final = "protocol"
_PUBLIC: Final = frozenset({ORGANISATION, "policy", _PROTOCOL})


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """An entry that changed the policy, in the log of its step's checkpoint.

    Attributes:
        entry: bytes of the leaf.
        position: its index.
        hashes: inclusion proof for the checkpoint's size, from the leaf's sibling up.
    """

    entry: bytes
    position: int
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PolicyStep:
    """What changed since the step before, and a checkpoint of both quorums.

    Attributes:
        changes: in the order of the log.
        checkpoint: the note.
        sets: `medchain.ledger.genesis.set_digest` of each set of members since, also of those passed over, in order.
    """

    changes: tuple[PolicyChange, ...]
    checkpoint: str
    sets: tuple[bytes, ...]


def write_chain(steps: Iterable[PolicyStep]) -> bytes:
    """Write ``policy-chain.json``."""
    rows: list[Json] = [
        {
            "changes": [
                {
                    "entry": base64_text(change.entry),
                    "hashes": [base64_text(one) for one in change.hashes],
                    "position": change.position,
                }
                for change in step.changes
            ],
            "checkpoint": step.checkpoint,
            "sets": [one.hex() for one in step.sets],
        }
        for step in steps
    ]
    return canonical({"steps": rows, "type": CHAIN_TYPE})


def read_chain(data: bytes) -> list[PolicyStep]:
    """Read ``policy-chain.json``; raises `InputError` ``bundle.files`` or ``encoding.*``."""
    top = members(parse_canonical(data, max_bytes=len(data)), {"steps": list, "type": str})
    rows = _list(top["steps"])
    if top["type"] != CHAIN_TYPE or not rows:
        raise InputError("bundle.files", name=CHAIN_FILE)
    return [_read_step(row) for row in rows]


def chain_in_force(files: Mapping[str, bytes], policy_text: str) -> Policy:
    """Walk a bundle's policy chain.

    Args:
        files: relative name → content; ``policy-chain.json`` and ``genesis.json`` where there is a chain.
        policy_text: the trusted policy.

    Returns:
        The policy under which the bundle's own proofs must verify: the trusted one if there is no chain.

    Raises:
        InputError: ``bundle.files``, or the code of a format; ``policy.unnamed`` for a trusted policy without lineage,
            where there is a chain.
        VerificationError: ``bundle.policy_chain`` when the trusted policy is none of the chain's or a step does not
            follow, ``tlog.*`` when a step's checkpoint has not both quorums, or does not hold a change.
    """
    trusted = Policy.parse(policy_text.encode())
    if CHAIN_FILE not in files:
        return trusted
    if "genesis.json" not in files:
        raise InputError("bundle.files", name="genesis.json")
    walk = _Walk(parse_genesis(files["genesis.json"]), trusted)
    for step in read_chain(files[CHAIN_FILE]):
        walk.go(step)
    return walk.end()


def members_changed(snapshot: Members, leaf: bytes, ledger: bytes) -> Members:
    """Return members with what an entry changes; `Members.check` says whether they may be so.

    Args:
        snapshot: the members before.
        leaf: the envelope of the change.
        ledger: ledger id, 32 bytes.

    Returns:
        The members after it.

    Raises:
        InputError: as `parse_envelope` and the contents' own codes.
        VerificationError: ``bundle.policy_chain`` for a stop or another ledger's envelope.
    """
    transaction = parse_envelope(leaf).transaction
    if isinstance(transaction, Stop) or transaction.ledger != ledger:
        raise VerificationError("bundle.policy_chain")
    after = snapshot
    # Only public changes have a content here; a transaction may change other objects beside them.
    public = [change for change in transaction.changes if change.kind in _PUBLIC]
    for change, content in zip(public, transaction.bodies, strict=False):
        if change.kind == ORGANISATION:
            after = after.with_organisation(parse_organisation(content)[0])
        elif change.kind == _PROTOCOL:
            after = after.with_protocol(parse_protocol(content))
    return after


class _Walk:
    """Replays changes and the lineage, and believes them from the trusted policy on."""

    def __init__(self, genesis: Genesis, trusted: Policy) -> None:
        """Start at the genesis."""
        self._genesis, self._trusted = genesis, trusted
        self._known = members_policy(trusted)
        self._snapshot = genesis.members
        self._position = 0
        self._in_force: Policy | None = None
        if self._snapshot.lineage == self._known.lineage:
            self._in_force = self._met([self._digest()])

    def go(self, step: PolicyStep) -> None:
        """Apply a step's changes; where a policy before one of them is believed, its checkpoint must bear them all."""
        before, lineage, digests = self._in_force, self._snapshot.lineage, [self._digest()]
        logs, is_met = list[Log](), False
        for digest in step.sets:
            lineage = lineage_after(lineage, digest)
            is_met = is_met or (before is None and lineage == self._known.lineage)
        for change in step.changes:
            self._snapshot = members_changed(self._snapshot, change.entry, self._genesis.ledger)
            digests.append(self._digest())
            logs += [] if digests[-1] is None else [self._log()]
        self._snapshot = replace(self._snapshot, lineage=lineage)
        if lineage == self._known.lineage:
            # Nothing has changed behind it: its own quorum is asked for by what it is to verify.
            self._in_force = self._met(digests[-1:])
            return
        if is_met:
            before = self._met(digests)
        if before is not None:
            self._in_force = self._led(step, before, [*before.logs, *logs])

    def end(self) -> Policy:
        """Return the policy believed last; raises `VerificationError` ``bundle.policy_chain`` if none is."""
        if self._in_force is None:
            raise VerificationError("bundle.policy_chain")
        return self._in_force

    def _met(self, digests: Sequence[bytes | None]) -> Policy:
        """Return the trusted policy where it is among those that follow from the changes: all else is a lie."""
        if self._known.digest not in digests:
            raise VerificationError("bundle.policy_chain")
        return self._trusted

    def _led(self, step: PolicyStep, before: Policy, logs: Sequence[Log]) -> Policy:
        """Return the policy after a step, under which its checkpoint holds as it does under the one before."""
        # Between the changes there may be one less than there was; what is believed must be a policy.
        self._snapshot.check()
        if self._digest() != step.sets[-1] or asks_for_more(before):
            # Where a verifier asks for more than the members of then, nothing says what it asks of those of now.
            raise VerificationError("bundle.policy_chain")
        after = self._parsed()
        checkpoint = _both(step.checkpoint, (before, after), logs)
        for change in step.changes:
            if change.position <= self._position:
                raise VerificationError("bundle.policy_chain")
            hashed = leaf_hash(change.entry)
            verify_inclusion(hashed, change.position, checkpoint.size, change.hashes, checkpoint.root)
            self._position = change.position
        return after

    def _digest(self) -> bytes | None:
        """Name the set of members; None where members and quorum do not fit together."""
        try:
            self._snapshot.check()
        except VerificationError:
            return None
        return set_digest(self._snapshot, self._genesis.origin)

    def _log(self) -> Log:
        """Return the log of who orders."""
        orderer = self._snapshot.organisations[self._snapshot.protocol.orderer]
        return Log(line_key(orderer, self._genesis.origin, LOG_KEY))

    def _parsed(self) -> Policy:
        """Return the policy that follows from members that fit together."""
        return Policy.parse(trusted_policy_text(self._snapshot, self._genesis.origin).encode())


def _both(note: str, policies: Iterable[Policy], logs: Sequence[Log]) -> Checkpoint:
    """Check a checkpoint under several quorums.

    Whoever orders between them may have signed it: the block of a hand-over is signed by the old orderer, that of a
    takeover by the new one, since a lost one signs nothing more, and several changes may be final by one checkpoint
    only. What counts is the quorum.
    """
    parsed = parse_note(note.encode())
    checkpoint = parse_checkpoint(parsed.text)
    log = next(_signed(parsed, checkpoint, logs), None)
    if log is None:
        raise VerificationError("tlog.log_signature")
    for policy in policies:
        replace(policy, logs=(log,)).check(note.encode())
    return checkpoint


def _signed(note: Note, checkpoint: Checkpoint, logs: Iterable[Log]) -> Iterator[Log]:
    """List the logs whose signature is on a note; a key of another one's name and id does no harm."""
    for log in logs:
        for line in note.signatures:
            if (line.name, line.key_id) == (log.key.name, log.key.key_id):
                try:
                    verify_log_signature(checkpoint, log.key, line)
                except VerificationError:
                    continue
                yield log


def _read_step(row: Json) -> PolicyStep:
    """Read a step."""
    step = members(row, {"changes": list, "checkpoint": str, "sets": list})
    changes = tuple(_read_change(change) for change in _list(step["changes"]))
    sets = tuple(unhex(one, HASH_BYTES) for one in _list(step["sets"]))
    if not changes or not sets:
        raise InputError("bundle.files", name=CHAIN_FILE)
    return PolicyStep(changes, str(step["checkpoint"]), sets)


def _read_change(row: Json) -> PolicyChange:
    """Read a change."""
    change = members(row, {"entry": str, "hashes": list, "position": int})
    position = change["position"]
    hashes = tuple(unbase64(one, max_bytes=HASH_BYTES) for one in _list(change["hashes"]))
    if type(position) is not int or position < 0 or any(len(one) != HASH_BYTES for one in hashes):
        raise InputError("bundle.files", name=CHAIN_FILE)
    return PolicyChange(unbase64(change["entry"], max_bytes=MAX_LEAF_BYTES), position, hashes)


def _list(value: Json) -> list[Json]:
    """Return a list whose type `members` has checked."""
    return value if type(value) is list else []
