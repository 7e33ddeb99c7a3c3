"""Proof bundles: whether an answer holds, judged offline from public keys alone.

Keeps true: nothing in a bundle is believed before it is reached from the policy that the verifier brought; a record is
believed only through the state map of a state leaf that a quorum cosigned; "current" is said only of the newest state
under fresh cosignatures. Trusts the caller for the policy, the ledger id (if given) and the time.
Source: `docs/spec/proof-bundle.md`; C2SP tlog-proof, tlog-policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from medchain.crypto.commitment import record_commitment
from medchain.encoding import Json, members, parse_canonical, unbase64, unhex
from medchain.errors import InputError, MedchainError, VerificationError
from medchain.ledger.genesis import parse_genesis, trusted_policy_text, verifier_key
from medchain.ledger.machine import StateLeaf, parse_state_leaf
from medchain.ledger.members import LOG_KEY, Members, parse_organisation, parse_protocol
from medchain.ledger.object import MAX_BODY_BYTES, ORGANISATION, STOPPED, Body, StateRecord, map_key, public_owner
from medchain.ledger.transaction import HASH_BYTES, MAX_LEAF_BYTES, Stop, Transaction, parse_envelope
from medchain.tlog.checkpoint import VerifiedCheckpoint
from medchain.tlog.policy import Policy, parse_policy
from medchain.tlog.proof import verify_tlog_proof
from medchain.tlog.statemap import MapProof, verify_map
from medchain.tlog.witness import parse_add_checkpoint, verify_add_checkpoint

MAX_BUNDLE_BYTES: Final = 64 * 1024 * 1024
"""Largest bundle, all files together."""

MAX_FILES: Final = 512
"""Most files of a bundle."""

MAX_AGE_S: Final = 300
"""Default limit on the age of cosignatures for a current answer, in seconds."""

ANSWER_TYPE: Final = "medchain/answer/v1"
"""Type member of ``answer.json``."""

_ENTRY_FILES: Final = frozenset({"answer.json", "entry.bin", "entry.tlog-proof", "policy.txt"})
_STATE_FILES: Final = frozenset({"state.bin", "state.tlog-proof", "map.json"})
_OPTIONAL_FILES: Final = frozenset({"record.json", "opening.json", "consistency.txt", "checkpoint-old", "genesis.json"})
_STEP_FILES: Final = frozenset({"entry.bin", "old.tlog-proof", "new.tlog-proof", "policy.txt"})
_MAX_ANSWER_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a bundle proves.

    Attributes:
        answer: ``entry``, ``record`` or ``absent``.
        current: whether it holds for the newest state, under cosignatures younger than the limit.
        ledger: ledger id in hexadecimal, None where only a state leaf is proven.
        object: map key in hexadecimal, None for an entry alone.
        position: leaf index of the entry.
        size: size of the checkpoint that the answer is as of.
        time: Unix seconds: the ledger's time of the state proven, or the oldest cosignature counted.
        status: status of the object, None for an entry or an absence.
        version: version of the object, None likewise.
        cosigners: names of those whose cosignatures were counted.
        opened: the record's bytes, or the body's canonical JSON, None where the bundle does not show it.
    """

    answer: str
    current: bool
    ledger: str | None
    object: str | None
    position: int
    size: int
    time: int
    status: str | None
    version: int | None
    cosigners: tuple[str, ...]
    opened: bytes | None


def verify_bundle(
    files: Mapping[str, bytes],
    policy_text: str,
    *,
    now: int,
    max_age_s: int = MAX_AGE_S,
    ledger: bytes | None = None,
) -> Verdict:
    """Judge a bundle.

    Args:
        files: relative name, with ``/``, → content.
        policy_text: the verifier's own trusted policy (C2SP tlog-policy).
        now: Unix seconds.
        max_age_s: how old cosignatures may be for a current answer.
        ledger: expected ledger id, 32 bytes, or None.

    Returns:
        What it proves.

    Raises:
        InputError: ``bundle.*`` or ``encoding.*`` for what is no bundle.
        VerificationError: for what does not hold, with the code of the rule broken.
    """
    _check_names(files)
    policy = _policy_in_force(files, policy_text, ledger)
    leaf = files["entry.bin"]
    position, checkpoint = verify_tlog_proof(files["entry.tlog-proof"], leaf, policy)
    found_ledger = _ledger_of(leaf)
    if ledger is not None and found_ledger not in {None, ledger.hex()}:
        raise VerificationError("bundle.ledger")
    if "state.bin" in files:
        verdict = _state_answer(files, policy, position, now - max_age_s)
        _check_consistency(files, policy, {checkpoint.checkpoint.size})
    else:
        if "record.json" in files or "opening.json" in files:
            raise InputError("bundle.files", name="state.bin")
        times = [stamp for _, stamp in checkpoint.cosigners]
        verdict = Verdict(
            "entry", False, None, None, position, checkpoint.checkpoint.size, min(times, default=0), None, None,
            tuple(name for name, _ in checkpoint.cosigners), None,
        )
        _check_consistency(files, policy, {checkpoint.checkpoint.size})
    return _with_ledger(verdict, found_ledger, files["answer.json"])


def _check_names(files: Mapping[str, bytes]) -> None:
    """Refuse a bundle with other files than the format's, or too large."""
    if len(files) > MAX_FILES or sum(len(content) for content in files.values()) > MAX_BUNDLE_BYTES:
        raise InputError("bundle.too_large", files=len(files))
    for name in sorted(_ENTRY_FILES):
        if name not in files:
            raise InputError("bundle.files", name=name)
    present = _STATE_FILES & files.keys()
    if present and present != _STATE_FILES:
        raise InputError("bundle.files", name=min(_STATE_FILES - present))
    for name in files:
        folder, _, rest = name.rpartition("/")
        step = folder.removeprefix("policies/")
        in_step = folder.startswith("policies/") and len(step) == 2 and step.isdecimal() and rest in _STEP_FILES  # noqa: PLR2004  # steps are numbered with two digits
        if name not in _ENTRY_FILES | _STATE_FILES | _OPTIONAL_FILES and not in_step:
            raise InputError("bundle.files", name=name[:64])


def _ledger_of(leaf: bytes) -> str | None:
    """Return the ledger id that a leaf names; None for a state leaf, the genesis' own id for the genesis."""
    try:
        return parse_envelope(leaf).transaction.ledger.hex()
    except InputError:
        pass
    try:
        parse_state_leaf(leaf)
    except InputError:
        return parse_genesis(leaf).ledger.hex()
    return None


def _state_answer(files: Mapping[str, bytes], policy: Policy, position: int, oldest: int) -> Verdict:
    """Judge state, map, record and opening."""
    state = parse_state_leaf(files["state.bin"])
    index, checkpoint = verify_tlog_proof(files["state.tlog-proof"], files["state.bin"], policy)
    proof = MapProof.from_json(files["map.json"])
    verify_map(state.map_root, proof)
    size = checkpoint.checkpoint.size
    stamps = [stamp for _, stamp in checkpoint.cosigners]
    current = index == size - 1 and min(stamps, default=0) >= oldest
    cosigners = tuple(name for name, _ in checkpoint.cosigners)
    key = proof.key.hex()
    if proof.value is None:
        if "record.json" in files or "opening.json" in files:
            raise VerificationError("bundle.record")
        return Verdict("absent", current, None, key, position, size, state.time, None, None, cosigners, None)
    record = _record(files, proof, proof.value, position, state, index)
    opened = _opening(files, record)
    return Verdict(
        "record", current, None, key, position, size, state.time, record.status, record.version, cosigners, opened
    )


def _record(
    files: Mapping[str, bytes], proof: MapProof, value: bytes, position: int, state: StateLeaf, index: int
) -> StateRecord:
    """Check the state record against map and entry."""
    if "record.json" not in files:
        raise InputError("bundle.files", name="record.json")
    data = files["record.json"]
    if sha256(data).digest() != value:
        raise VerificationError("bundle.record")
    record = StateRecord.decode(data)
    if record.key != proof.key:
        raise VerificationError("bundle.record")
    leaf = files["entry.bin"]
    if leaf == files["state.bin"] or (state.height == 0 and position == 0):
        # A record of height 0 stands in the genesis itself; a state leaf says nothing of single objects.
        if record.since != position:
            raise VerificationError("bundle.entry")
    elif record.since != position or position >= index or not _is_in(record, leaf):
        raise VerificationError("bundle.entry")
    return record


def _is_in(record: StateRecord, leaf: bytes) -> bool:
    """Tell whether an entry is the one that made this version of an object."""
    if position_zero(leaf):
        return record.version == 1
    transaction = parse_envelope(leaf).transaction
    if isinstance(transaction, Stop):
        return transaction.object == record.key and record.status == STOPPED
    for change, creator in _owned(transaction):
        for row in change_rows(change):
            if map_key(change.kind, creator, row.id) == record.key:
                return (row.version, row.body_hash, change.status) == (record.version, record.body_hash, record.status)
    return False
