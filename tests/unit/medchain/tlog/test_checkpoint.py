"""Checkpoints and cosignatures against the examples of C2SP and notes signed by torchwood."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medchain.crypto.signing import Ed25519Signer, MlDsa44Signer, mldsa44_verify
from medchain.errors import InputError, VerificationError
from medchain.tlog.checkpoint import (
    Checkpoint,
    cosign,
    parse_checkpoint,
    parse_decimal,
    sign_checkpoint,
    verify_cosignature,
    verify_log_signature,
)
from medchain.tlog.note import KeyType, Signature, VerifierKey, parse_note, parse_vkey

EXAMPLE = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
HEAD = Checkpoint("log.example/x", 5, bytes(range(32)))
LOG = Ed25519Signer(b"l" * 32)
LOG_KEY = VerifierKey(HEAD.origin, KeyType.ED25519, LOG.public)
WITNESS = Ed25519Signer(b"w" * 32)
WITNESS_KEY = VerifierKey("w.example", KeyType.COSIGNATURE_ED25519, WITNESS.public)
PQ = MlDsa44Signer(b"p" * 32)
PQ_KEY = VerifierKey("pq.example", KeyType.COSIGNATURE_MLDSA44, PQ.public)


def test_the_example_is_read_and_written():
    checkpoint = parse_checkpoint(EXAMPLE)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.root.hex().startswith("0ac5186a")
    assert checkpoint.text() == EXAMPLE


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (EXAMPLE + "extension\n", "tlog.checkpoint"),
        (EXAMPLE + "\n", "tlog.checkpoint"),
        (EXAMPLE[:-1], "tlog.checkpoint"),
        ("a\n1\n", "tlog.checkpoint"),
        (EXAMPLE.replace("example.com", "example com"), "tlog.checkpoint"),
        ("\n" + EXAMPLE.split("\n", 1)[1], "tlog.checkpoint"),
        (EXAMPLE.replace("20852163", "020852163"), "tlog.decimal"),
        (EXAMPLE.replace("20852163", "-1"), "tlog.decimal"),
        (EXAMPLE.replace("20852163", "9223372036854775808"), "tlog.decimal"),
        (EXAMPLE.replace("I=", "J="), "encoding.base64"),
        (EXAMPLE.replace("CsUY", ""), "tlog.checkpoint"),
    ],
)
def test_a_malformed_checkpoint_is_refused(text, code):
    with pytest.raises(InputError) as caught:
        parse_checkpoint(text)
    assert caught.value.code == code


@given(size=st.integers(0, 2**63 - 1), root=st.binary(min_size=32, max_size=32))
def test_a_checkpoint_is_read_as_it_was_written(size, root):
    checkpoint = Checkpoint("log.example/x", size, root)
    assert parse_checkpoint(checkpoint.text()) == checkpoint


@pytest.mark.parametrize("change", [{"origin": ""}, {"size": -1}, {"size": 2**63}, {"root": b"short"}])
def test_a_checkpoint_that_cannot_be_written_is_refused(change):
    with pytest.raises(InputError, match=r"tlog\.checkpoint"):
        replace(HEAD, **change)


@pytest.mark.parametrize("text", ["", "00", "01", "+1", "1_0", " 1", "1 ", "٣", "1e3", "99999999999999999999"])
def test_a_decimal_has_one_spelling(text):
    with pytest.raises(InputError, match=r"tlog\.decimal"):
        parse_decimal(text)
    assert parse_decimal("0") == 0
    assert parse_decimal("9223372036854775807") == 2**63 - 1


def test_the_logs_line_verifies():
    note = sign_checkpoint(HEAD, LOG)
    assert note.text == HEAD.text()
    [signature] = note.signatures
    verify_log_signature(HEAD, LOG_KEY, signature)
    # The message of a log's line is the text itself (C2SP signed-note).
    assert LOG.sign(HEAD.text().encode()) == signature.data


@pytest.mark.parametrize(
    ("checkpoint", "key", "change"),
    [
        (replace(HEAD, size=6), LOG_KEY, {}),
        (replace(HEAD, origin="log.example/y"), LOG_KEY, {}),
        (HEAD, VerifierKey(HEAD.origin, KeyType.ED25519, WITNESS.public), {}),
        (HEAD, VerifierKey(HEAD.origin, KeyType.COSIGNATURE_ED25519, LOG.public), {}),
        (HEAD, LOG_KEY, {"name": "log.example/y"}),
        (HEAD, LOG_KEY, {"key_id": b"1234"}),
        (HEAD, LOG_KEY, {"data": bytes(64)}),
        (HEAD, LOG_KEY, {"data": bytes(63)}),
    ],
)
def test_a_false_line_of_the_log_is_refused(checkpoint, key, change):
    [signature] = sign_checkpoint(HEAD, LOG).signatures
    with pytest.raises(VerificationError, match=r"tlog\.signature"):
        verify_log_signature(checkpoint, key, replace(signature, **change))


@pytest.mark.parametrize(("key", "signer"), [(WITNESS_KEY, WITNESS), (PQ_KEY, PQ)], ids=["Ed25519", "ML-DSA-44"])
def test_a_cosignature_verifies_and_tells_its_time(key, signer):
    signature = cosign(HEAD, key.name, signer, 1679315147)
    assert (signature.name, signature.key_id, signature.data[:8].hex()) == (key.name, key.key_id, "00000000641850cb")
    assert verify_cosignature(HEAD, key, signature) == 1679315147


def test_the_ed25519_message_is_two_lines_and_the_text():
    signature = cosign(HEAD, "w.example", WITNESS, 7)
    assert signature.data[8:] == WITNESS.sign(b"cosignature/v1\ntime 7\n" + HEAD.text().encode())


def test_the_mldsa44_message_is_the_cosigned_message_structure():
    signature = cosign(HEAD, "pq.example", PQ, 7)
    message = b"subtree/v1\n\0" + b"\x0apq.example" + bytes(7) + b"\x07" + b"\x0dlog.example/x" + bytes(8)
    message += bytes(7) + b"\x05" + bytes(range(32))
    assert mldsa44_verify(PQ.public, message, signature.data[8:])


@pytest.mark.parametrize(("key", "signer"), [(WITNESS_KEY, WITNESS), (PQ_KEY, PQ)], ids=["Ed25519", "ML-DSA-44"])
def test_a_false_cosignature_is_refused(key, signer):
    good = cosign(HEAD, key.name, signer, 1679315147)
    other_key = VerifierKey(key.name, key.type, bytes(len(key.public)))
    false = [
        (HEAD, key, replace(good, data=good.data[:-1] + bytes([good.data[-1] ^ 1]))),
        (HEAD, key, replace(good, data=good.data[:7] + bytes([good.data[7] ^ 1]) + good.data[8:])),
        (HEAD, key, replace(good, data=b"\xff" + good.data[1:])),
        (HEAD, key, replace(good, data=good.data[:-1])),
        (HEAD, key, replace(good, data=b"")),
        (HEAD, key, replace(good, name="another")),
        (HEAD, key, replace(good, key_id=b"1234")),
        (HEAD, LOG_KEY, replace(good, name=LOG_KEY.name, key_id=LOG_KEY.key_id)),
        (HEAD, other_key, replace(good, key_id=other_key.key_id)),
        (replace(HEAD, size=6), key, good),
        (replace(HEAD, root=bytes(32)), key, good),
        (replace(HEAD, origin="log.example/y"), key, good),
    ]
    for arguments in false:
        with pytest.raises(VerificationError, match=r"tlog\.cosignature"):
            verify_cosignature(*arguments)


def test_a_mldsa44_cosignature_holds_for_no_other_cosigner():
    other = VerifierKey("qp.example", KeyType.COSIGNATURE_MLDSA44, PQ.public)
    signature = replace(cosign(HEAD, "pq.example", PQ, 7), name=other.name, key_id=other.key_id)
    with pytest.raises(VerificationError, match=r"tlog\.cosignature"):
        verify_cosignature(HEAD, other, signature)


@pytest.mark.parametrize("timestamp", [0, -1, 2**63])
def test_no_cosignature_is_made_without_a_time(timestamp):
    with pytest.raises(InputError, match=r"tlog\.timestamp"):
        cosign(HEAD, "w.example", WITNESS, timestamp)


def test_no_cosignature_is_made_under_an_impossible_name():
    with pytest.raises(InputError, match=r"tlog\.key_name"):
        cosign(HEAD, "w example", WITNESS, 7)


def test_a_note_signed_by_torchwood_verifies():
    # filippo.io/torchwood v0.9.0 and golang.org/x/mod/sumdb/note; keys from the seeds 8 × 32 and 7 × 32.
    vkeys = (
        "log.example/x+11a8fdb1+AROY9ixtGkV8UbpqS189vS9p/KkyFiGNyJl+QWvRfZPK",
        "w.example/go+2daec6dd+BOpKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs",
    )
    log, witness = (parse_vkey(vkey) for vkey in vkeys)
    assert (log.public, witness.public) == (Ed25519Signer(b"\x08" * 32).public, Ed25519Signer(b"\x07" * 32).public)
    data = (
        "log.example/x\n"
        "5\n"
        "RUNJ5CLwUpcZHq0T4h09tSDlq+9SBV5JZLgvshP1k6E=\n"
        "\n"
        "— log.example/x Eaj9sRBP5uISFQD+Zos2Xh94WV+ljG+PQvre2pgsfYT+eOIlqs/Akdnhg22185aRoIx9ed+ON6XCCCIovYTH3UGDeQ8=\n"
        "— w.example/go La7G3QAAAABrBj3P3rCb6csSBoP5hg6ipiAHQurs0t9aZ7XcaG1Icw16FQgO8Ml2dWSO/5OWH8"
        "OCoP7tVZZMkdcP/Hxq28E825HvAw==\n"
    )
    note = parse_note(data.encode())
    checkpoint = parse_checkpoint(note.text)
    verify_log_signature(checkpoint, log, note.signatures[0])
    assert verify_cosignature(checkpoint, witness, note.signatures[1]) == 1795571151


def test_the_cosignatures_of_the_vectors_verify(vectors):
    note = parse_note(vectors.read("checkpoint"))
    checkpoint = parse_checkpoint(note.text)
    keys = {(witness.key.name, witness.key.key_id): witness.key for witness in vectors.policy().witnesses}
    times = {
        verify_cosignature(checkpoint, keys[item.name, item.key_id], item)
        for item in note.signatures
        if (item.name, item.key_id) in keys
    }
    assert times == {1795559812}


def test_a_signature_line_is_written_with_key_id_and_data():
    assert Signature("a", b"1234", b"5678").line() == "— a MTIzNDU2Nzg=\n"
