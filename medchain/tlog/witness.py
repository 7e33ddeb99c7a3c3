"""C2SP tlog-witness: the add-checkpoint request, the rules by which a witness cosigns, and what proves a split view.

Keeps true: a witness never goes back, and never to another root at the same size. Trusts its own `WitnessState`, which
the caller must store before it lets a cosignature out, in the same transaction as the decision.
Source: C2SP tlog-witness, `docs/spec/log.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from medchain.encoding import base64_text
from medchain.errors import InputError, MedchainError, VerificationError
from medchain.tlog.checkpoint import Checkpoint, parse_checkpoint, parse_decimal, verify_log_signature
from medchain.tlog.merkle import EMPTY_ROOT, MAX_PROOF_HASHES, verify_consistency
from medchain.tlog.note import MAX_NOTE_BYTES, Note, VerifierKey, parse_note
from medchain.tlog.policy import Policy, VerifiedCheckpoint
from medchain.tlog.proof import parse_hash_lines, split_proof

_OLD: Final = "old "
_MAX_BYTES: Final = MAX_NOTE_BYTES + 64 * (MAX_PROOF_HASHES + 1)


@dataclass(frozen=True, slots=True)
class AddCheckpointRequest:
    """A request to cosign, not verified.

    Attributes:
        old_size: size of the checkpoint that the proof starts from.
        proof: consistency proof from it.
        checkpoint: the signed checkpoint, as it was received.
    """

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def to_bytes(self) -> bytes:
        """Write the request body."""
        lines = [f"{_OLD}{self.old_size}", *(base64_text(item) for item in self.proof), "", ""]
        return "\n".join(lines).encode() + self.checkpoint


@dataclass(frozen=True, slots=True)
class WitnessState:
    """The largest checkpoint of a log that a witness has cosigned: its size and root."""

    size: int
    root: bytes

    @classmethod
    def initial(cls) -> WitnessState:
        """Return the state before the first checkpoint."""
        return cls(0, EMPTY_ROOT)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Store the state, then cosign the checkpoint and answer 200 with the cosignatures."""

    state: WitnessState
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Conflict:
    """Answer 409 with the witness's size as ``text/x.tlog.size``.

    Attributes:
        size: the size that the witness is at.
        is_split_view: whether the log has signed another root at that very size: evidence, to be kept and reported.
    """

    size: int
    is_split_view: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """Answer with an error.

    Attributes:
        status: HTTP status that C2SP tlog-witness gives.
        code: ``tlog.witness_request`` (400), ``tlog.witness_signature`` (403), ``tlog.witness_log`` (404) or
            ``tlog.witness_consistency`` (422; the log may have misbehaved: evidence).
    """

    status: int
    code: str


def parse_add_checkpoint(data: bytes) -> AddCheckpointRequest:
    """Read an add-checkpoint request body.

    Raises:
        InputError: ``tlog.proof``, ``tlog.proof_hashes``, ``tlog.decimal`` or ``encoding.base64``.
    """
    lines, checkpoint = split_proof(data, _MAX_BYTES)
    first = lines.pop(0)
    if not first.startswith(_OLD):
        raise InputError("tlog.proof")
    return AddCheckpointRequest(parse_decimal(first.removeprefix(_OLD)), parse_hash_lines(lines), checkpoint)


def witness_decide(
    state: WitnessState, request: AddCheckpointRequest, log_keys: Sequence[VerifierKey]
) -> Accepted | Conflict | Refused:
    """Decide whether to cosign.

    Args:
        state: what was cosigned last for the log.
        request: the request.
        log_keys: the keys of the log that the state belongs to.

    Returns:
        What to do; the caller judges whatever else it demands of a checkpoint, such as having executed up to it.
    """
    checkpoint = signed_checkpoint(request.checkpoint, log_keys)
    return checkpoint if isinstance(checkpoint, Refused) else decide_growth(state, request, checkpoint)


def signed_checkpoint(data: bytes, log_keys: Sequence[VerifierKey]) -> Checkpoint | Refused:
    """Read the checkpoint of a note that one of its log's keys has signed: the first half of `witness_decide`.

    Args:
        data: a signed checkpoint, from anybody.
        log_keys: keys of all logs that are known, each named as its log's origin.

    Returns:
        The checkpoint, or the refusal.
    """
    try:
        note = parse_note(data)
        checkpoint = parse_checkpoint(note.text)
    except InputError:
        return Refused(400, "tlog.witness_request")
    known = [key for key in log_keys if key.name == checkpoint.origin]
    if not known:
        return Refused(404, "tlog.witness_log")
    return checkpoint if _is_signed(checkpoint, note, known) else Refused(403, "tlog.witness_signature")


def decide_growth(
    state: WitnessState, request: AddCheckpointRequest, checkpoint: Checkpoint
) -> Accepted | Conflict | Refused:
    """Decide whether a checkpoint follows what was cosigned last: the second half of `witness_decide`.

    Args:
        state: what was cosigned last for the log.
        request: the request.
        checkpoint: of the request, from `signed_checkpoint`.

    Returns:
        What to do.
    """
    if request.old_size > checkpoint.size:
        return Refused(400, "tlog.witness_request")
    is_split_view = checkpoint.size == state.size and checkpoint.root != state.root
    if request.old_size != state.size or is_split_view:
        return Conflict(state.size, is_split_view)
    try:
        verify_consistency(state.size, state.root, checkpoint.size, checkpoint.root, request.proof)
    except VerificationError:
        return Refused(422, "tlog.witness_consistency")
    return Accepted(WitnessState(checkpoint.size, checkpoint.root), checkpoint)


def verify_add_checkpoint(data: bytes, old_note: bytes, policy: Policy) -> VerifiedCheckpoint:
    """Check, offline, that a log only grew from one signed checkpoint to another.

    Args:
        data: an add-checkpoint request body, with the later checkpoint.
        old_note: the earlier checkpoint.
        policy: a policy that both checkpoints must satisfy.

    Returns:
        The later checkpoint and its signers.

    Raises:
        InputError: if something is malformed.
        VerificationError: if a checkpoint does not satisfy the policy; ``tlog.consistency`` if they are of different
            logs, the proof starts elsewhere, or it does not hold.
    """
    request = parse_add_checkpoint(data)
    verified = policy.check(request.checkpoint)
    old, new = policy.check(old_note).checkpoint, verified.checkpoint
    if old.origin != new.origin or request.old_size != old.size:
        raise VerificationError("tlog.consistency", old_size=old.size, size=new.size)
    verify_consistency(old.size, old.root, new.size, new.root, request.proof)
    return verified


def split_view(note_a: bytes, note_b: bytes, policy: Policy) -> bool:
    """Tell whether two signed checkpoints prove that the log shows different trees to different people.

    Args:
        note_a: a signed checkpoint.
        note_b: another.
        policy: a policy that both must satisfy: with the members' quorum it proves that a quorum went along; with
            ``quorum none`` that the log alone did it.

    Returns:
        Whether both satisfy the policy and have the same origin and size but different roots. Trees of different sizes
        need a consistency proof to compare: see `witness_decide`.
    """
    try:
        first, second = policy.check(note_a).checkpoint, policy.check(note_b).checkpoint
    except MedchainError:
        return False
    return (first.origin, first.size) == (second.origin, second.size) and first.root != second.root


def _is_signed(checkpoint: Checkpoint, note: Note, keys: Sequence[VerifierKey]) -> bool:
    """Tell whether at least one of the keys has signed, and none of their lines is false."""
    signed = 0
    try:
        for signature in note.signatures:
            for key in keys:
                if (signature.name, signature.key_id) == (key.name, key.key_id):
                    verify_log_signature(checkpoint, key, signature)
                    signed += 1
    except VerificationError:
        return False
    return signed > 0
