"""The witness's rules, request by request, and split views."""

from __future__ import annotations

import pytest

from medchain.crypto.signing import Ed25519Signer
from medchain.errors import InputError, VerificationError
from medchain.tlog.checkpoint import Checkpoint, sign_checkpoint
from medchain.tlog.merkle import EMPTY_ROOT
from medchain.tlog.note import KeyType, Signature, VerifierKey
from medchain.tlog.policy import Policy
from medchain.tlog.witness import (
    Accepted,
    AddCheckpointRequest,
    Conflict,
    Refused,
    WitnessState,
    parse_add_checkpoint,
    split_view,
    verify_add_checkpoint,
    witness_decide,
)

LOG = Ed25519Signer(b"l" * 32)
KEY = VerifierKey("log.example/x", KeyType.ED25519, LOG.public)


def head(rfc6962, size, origin=KEY.name):
    return Checkpoint(origin, size, rfc6962.mth(0, size))


def request(rfc6962, old, size, signer=LOG, origin=KEY.name):
    note = sign_checkpoint(head(rfc6962, size, origin), signer).to_bytes()
    return AddCheckpointRequest(old, tuple(rfc6962.consistency(old, size)), note)


def state(rfc6962, size):
    return WitnessState(size, rfc6962.mth(0, size))


def test_the_vector_is_accepted_and_written_as_it_was_read(vectors):
    policy, data = vectors.policy(), vectors.read("consistency.txt")
    old = policy.check(vectors.read("checkpoint-old")).checkpoint
    parsed = parse_add_checkpoint(data)
    assert parsed.to_bytes() == data
    decision = witness_decide(WitnessState(old.size, old.root), parsed, policy.log_keys)
    assert isinstance(decision, Accepted)
    assert decision.state == WitnessState(1034, decision.checkpoint.root)


def test_the_bad_vector_is_refused(vectors):
    policy = vectors.policy()
    old = policy.check(vectors.read("checkpoint-old")).checkpoint
    parsed = parse_add_checkpoint(vectors.read("consistency-bad.txt"))
    decision = witness_decide(WitnessState(old.size, old.root), parsed, policy.log_keys)
    assert decision == Refused(422, "tlog.witness_consistency")


def test_a_larger_consistent_checkpoint_is_accepted(rfc6962):
    decision = witness_decide(state(rfc6962, 5), request(rfc6962, 5, 9), [KEY])
    assert decision == Accepted(state(rfc6962, 9), head(rfc6962, 9))


def test_the_first_checkpoint_needs_no_proof(rfc6962):
    assert WitnessState.initial() == WitnessState(0, EMPTY_ROOT)
    decision = witness_decide(WitnessState.initial(), request(rfc6962, 0, 9), [KEY])
    assert decision == Accepted(state(rfc6962, 9), head(rfc6962, 9))


def test_the_same_checkpoint_is_cosigned_again(rfc6962):
    decision = witness_decide(state(rfc6962, 9), request(rfc6962, 9, 9), [KEY])
    assert decision == Accepted(state(rfc6962, 9), head(rfc6962, 9))


@pytest.mark.parametrize(("old", "size"), [(5, 9), (0, 9), (5, 7)])
def test_a_request_from_another_size_is_a_conflict(rfc6962, old, size):
    assert witness_decide(state(rfc6962, 8), request(rfc6962, old, size), [KEY]) == Conflict(8, is_split_view=False)


def test_a_smaller_checkpoint_is_never_cosigned(rfc6962):
    smaller = request(rfc6962, 5, 7)
    assert witness_decide(state(rfc6962, 8), smaller, [KEY]) == Conflict(8, is_split_view=False)
    lying = AddCheckpointRequest(8, smaller.proof, smaller.checkpoint)
    assert witness_decide(state(rfc6962, 8), lying, [KEY]) == Refused(400, "tlog.witness_request")


@pytest.mark.parametrize("old", [5, 8])
def test_another_root_at_the_same_size_is_a_conflict_and_a_split_view(rfc6962, old):
    note = sign_checkpoint(Checkpoint(KEY.name, 8, bytes(32)), LOG).to_bytes()
    decision = witness_decide(state(rfc6962, 8), AddCheckpointRequest(old, (), note), [KEY])
    assert decision == Conflict(8, is_split_view=True)


def test_a_larger_checkpoint_that_is_not_consistent_is_refused(rfc6962):
    note = sign_checkpoint(Checkpoint(KEY.name, 9, bytes(32)), LOG).to_bytes()
    bad = AddCheckpointRequest(5, request(rfc6962, 5, 9).proof, note)
    assert witness_decide(state(rfc6962, 5), bad, [KEY]) == Refused(422, "tlog.witness_consistency")
    empty = AddCheckpointRequest(5, (), request(rfc6962, 5, 9).checkpoint)
    assert witness_decide(state(rfc6962, 5), empty, [KEY]) == Refused(422, "tlog.witness_consistency")


def test_a_log_of_another_origin_is_unknown(rfc6962):
    other = request(rfc6962, 5, 9, origin="log.example/y")
    assert witness_decide(state(rfc6962, 5), other, [KEY]) == Refused(404, "tlog.witness_log")


def test_a_checkpoint_without_the_logs_signature_is_refused(rfc6962):
    other = request(rfc6962, 5, 9, signer=Ed25519Signer(b"m" * 32))
    assert witness_decide(state(rfc6962, 5), other, [KEY]) == Refused(403, "tlog.witness_signature")


def test_a_false_signature_of_the_log_is_refused_even_beside_a_good_one(rfc6962):
    good = sign_checkpoint(head(rfc6962, 9), LOG)
    false = Signature(KEY.name, KEY.key_id, bytes(64))
    note = type(good)(good.text, (*good.signatures, false)).to_bytes()
    bad = AddCheckpointRequest(5, request(rfc6962, 5, 9).proof, note)
    assert witness_decide(state(rfc6962, 5), bad, [KEY]) == Refused(403, "tlog.witness_signature")


@pytest.mark.parametrize("note", [b"", b"no checkpoint\n\n\xe2\x80\x94 a AAAAAAA=\n"])
def test_a_malformed_checkpoint_is_a_bad_request(rfc6962, note):
    bad = AddCheckpointRequest(5, (), note)
    assert witness_decide(state(rfc6962, 5), bad, [KEY]) == Refused(400, "tlog.witness_request")


def test_a_request_of_the_specification_is_read():
    data = b"old 20852014\n" + b"A" * 43 + b"=\n\nnote"
    assert parse_add_checkpoint(data) == AddCheckpointRequest(20852014, (bytes(32),), b"note")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "tlog.proof"),
        (b"old 5\n", "tlog.proof"),
        (b"old 5", "tlog.proof"),
        (b"new 5\n\nnote", "tlog.proof"),
        (b"old 05\n\nnote", "tlog.decimal"),
        (b"old  5\n\nnote", "tlog.decimal"),
        (b"old 5 \n\nnote", "tlog.decimal"),
        (b"old 5\nAAAA\n\nnote", "tlog.proof_hashes"),
        (b"old 5\nAAA\n\nnote", "encoding.base64"),
        (b"old 5\n" + (b"A" * 43 + b"=\n") * 64 + b"\nnote", "tlog.proof_hashes"),
        (b"old 5\n\n" + bytes(1 << 20), "tlog.proof"),
    ],
)
def test_a_malformed_request_is_refused(data, code):
    with pytest.raises(InputError) as caught:
        parse_add_checkpoint(data)
    assert caught.value.code == code


def test_two_checkpoints_are_compared_offline(vectors):
    verified = verify_add_checkpoint(vectors.read("consistency.txt"), vectors.read("checkpoint-old"), vectors.policy())
    assert verified.checkpoint.size == 1034


@pytest.mark.parametrize(
    ("consistency", "old"),
    [
        ("consistency-bad.txt", "checkpoint-old"),
        ("consistency.txt", "checkpoint"),
        ("consistency.txt", "checkpoint-fork"),
    ],
)
def test_checkpoints_that_are_not_consistent_are_refused(vectors, consistency, old):
    with pytest.raises(VerificationError, match=r"tlog\.consistency"):
        verify_add_checkpoint(vectors.read(consistency), vectors.read(old), vectors.policy())


def two_logs():
    other = VerifierKey("log.example/y", KeyType.ED25519, Ed25519Signer(b"m" * 32).public)
    return Policy.parse(f"log {KEY}\nlog {other}\nquorum none\n".encode())


def test_checkpoints_of_two_logs_are_not_compared(rfc6962):
    old = sign_checkpoint(head(rfc6962, 5, "log.example/y"), Ed25519Signer(b"m" * 32)).to_bytes()
    with pytest.raises(VerificationError, match=r"tlog\.consistency"):
        verify_add_checkpoint(request(rfc6962, 5, 9).to_bytes(), old, two_logs())


def test_the_forked_vectors_are_a_split_view(vectors):
    checkpoint, fork, policy = vectors.read("checkpoint"), vectors.read("checkpoint-fork"), vectors.policy()
    assert split_view(checkpoint, fork, policy)
    assert split_view(fork, checkpoint, policy)


def test_the_same_or_an_older_checkpoint_is_no_split_view(vectors):
    policy = vectors.policy()
    assert not split_view(vectors.read("checkpoint"), vectors.read("checkpoint"), policy)
    assert not split_view(vectors.read("checkpoint"), vectors.read("checkpoint-old"), policy)


def test_what_does_not_satisfy_the_policy_proves_no_split_view(vectors):
    checkpoint, fork = vectors.read("checkpoint"), vectors.read("checkpoint-fork")
    assert not split_view(checkpoint, fork[: fork.rindex("— insurer-c".encode())], vectors.policy())
    assert not split_view(checkpoint, b"", vectors.policy())
    assert not split_view(checkpoint, fork, two_logs())


def test_two_roots_of_two_logs_are_no_split_view(rfc6962):
    one = sign_checkpoint(head(rfc6962, 5), LOG).to_bytes()
    other = sign_checkpoint(Checkpoint("log.example/y", 5, bytes(32)), Ed25519Signer(b"m" * 32)).to_bytes()
    assert not split_view(one, other, two_logs())
