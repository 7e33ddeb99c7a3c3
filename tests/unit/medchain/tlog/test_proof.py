"""tlog-proof texts: the vectors, and every other spelling."""

from __future__ import annotations

import pytest

from medchain.errors import InputError, MedchainError, VerificationError
from medchain.tlog.proof import format_proof, parse_proof, verify_tlog_proof


@pytest.mark.parametrize("index", [0, 516, 1000, 1033])
def test_the_vectors_verify(vectors, index):
    data, leaf = vectors.read(f"entry-{index}.tlog-proof"), vectors.read(f"entry-{index}.bin")
    found, verified = verify_tlog_proof(data, leaf, vectors.policy())
    assert (found, verified.checkpoint.size) == (index, 1034)


def test_the_vector_without_a_quorum_fails(vectors):
    with pytest.raises(VerificationError, match=r"tlog\.quorum"):
        verify_tlog_proof(vectors.read("bad-quorum.tlog-proof"), vectors.read("entry-5.bin"), vectors.policy())


@pytest.mark.parametrize("index", [0, 516, 1000])
def test_a_proof_is_read_and_written(vectors, index):
    data = vectors.read(f"entry-{index}.tlog-proof")
    proof = parse_proof(data)
    assert not proof.has_extra
    assert format_proof(proof.index, proof.hashes, proof.checkpoint) == data


def test_an_extra_line_is_read_over_and_never_written(vectors):
    data = vectors.read("entry-1033.tlog-proof")
    proof = parse_proof(data)
    assert proof.has_extra
    assert format_proof(proof.index, proof.hashes, proof.checkpoint) == data.replace(b"extra aGludA==\n", b"")


def test_another_leaf_is_refused(vectors):
    with pytest.raises(VerificationError, match=r"tlog\.inclusion"):
        verify_tlog_proof(vectors.read("entry-0.tlog-proof"), vectors.read("entry-5.bin"), vectors.policy())


def test_another_index_is_refused(vectors):
    data = vectors.read("entry-0.tlog-proof").replace(b"index 0\n", b"index 1\n")
    with pytest.raises(VerificationError, match=r"tlog\.inclusion"):
        verify_tlog_proof(data, vectors.read("entry-0.bin"), vectors.policy())


def test_age_is_demanded_of_the_cosignatures(vectors):
    data, leaf, policy = vectors.read("entry-0.tlog-proof"), vectors.read("entry-0.bin"), vectors.policy()
    now = max(verify_tlog_proof(data, leaf, policy)[1].cosigners.values())
    assert verify_tlog_proof(data, leaf, policy, now=now, max_age_s=300)[0] == 0
    with pytest.raises(VerificationError, match=r"tlog\.quorum"):
        verify_tlog_proof(data, leaf, policy, now=now + 301, max_age_s=300)


def test_a_changed_byte_before_the_cosignatures_is_refused(vectors):
    data, leaf, policy = vectors.read("entry-1000.tlog-proof"), vectors.read("entry-1000.bin"), vectors.policy()
    # Up to the end of the first cosignature, each of whose bytes belongs to the log's line or a known key's.
    end = data.index(b"\n", data.index("— hospital-a".encode()))
    for at in range(0, end, 3):
        changed = data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]
        try:
            found, verified = verify_tlog_proof(changed, leaf, policy)
        except MedchainError:
            continue
        assert found == 1000
        assert verified.checkpoint == policy.check(vectors.read("checkpoint")).checkpoint


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"tlog-proof@v1", b"tlog-proof@v2", "tlog.proof"),
        (b"index 0", b"index 00", "tlog.decimal"),
        (b"index 0", b"index  0", "tlog.decimal"),
        (b"index 0", b"indeks 0", "tlog.proof"),
        (b"index 0\n", b"", "tlog.proof"),
        (b"index 0\n", b"extra aGludA=\nindex 0\n", "encoding.base64"),
        (b"index 0\n", b"extra aGludA==\nextra aGludA==\nindex 0\n", "tlog.proof"),
        (b"index 0\n", b"index 0\nextra aGludA==\n", "encoding.base64"),
        (b"index 0\n", b"index 0\nAAAA\n", "tlog.proof_hashes"),
        (b"index 0\n", b"index 0\n" + b"A" * 43 + b"=\r\n", "encoding.base64"),
        (b"index 0\n", b"index 0\n" + (b"A" * 43 + b"=\n") * 63, "tlog.proof_hashes"),
        (b"index 0\n", "index 0\né\n".encode(), "tlog.proof"),
    ],
)
def test_a_malformed_proof_is_refused(vectors, old, new, code):
    data = vectors.read("entry-0.tlog-proof")
    assert old in data
    with pytest.raises(InputError) as caught:
        parse_proof(data.replace(old, new, 1))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"c2sp.org/tlog-proof@v1\nindex 0\n",
        b"c2sp.org/tlog-proof@v1\n\n",
        b"\n\n",
        b"c2sp.org/tlog-proof@v1\nextra aGludA==\n\n",
    ],
)
def test_a_cut_proof_is_refused(data):
    with pytest.raises(InputError, match=r"tlog\.proof"):
        parse_proof(data)


def test_a_proof_that_is_too_large_is_refused(vectors):
    with pytest.raises(InputError, match=r"tlog\.proof"):
        parse_proof(vectors.read("entry-0.tlog-proof") + bytes(2**21))


def test_a_proof_without_hashes_is_that_of_the_only_leaf():
    assert format_proof(0, [], b"note") == b"c2sp.org/tlog-proof@v1\nindex 0\n\nnote"
    assert parse_proof(b"c2sp.org/tlog-proof@v1\nindex 0\n\nnote").hashes == ()


@pytest.mark.parametrize(("index", "hashes"), [(-1, []), (2**63 - 1, []), (0, [b"short"]), (0, [bytes(32)] * 64)])
def test_a_proof_that_cannot_be_is_not_written(index, hashes):
    with pytest.raises(InputError, match=r"tlog\.proof"):
        format_proof(index, hashes, b"")
