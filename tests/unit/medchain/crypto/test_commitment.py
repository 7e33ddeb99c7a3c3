"""Record commitments: recomputed here plainly."""

from __future__ import annotations

import hashlib

import pytest

from medchain.crypto import commitment, fields
from medchain.errors import InputError

SALT = bytes(range(32))
CONTENT = b'{"resourceType":"Basic","id":"1"}'


def digest(tag: str, *parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(len(p).to_bytes(8, "big") + p for p in (tag.encode(), *parts))).digest()


def salts_of(salt: bytes, count: int) -> list[bytes]:
    """`docs/spec/record-envelope.md` 8."""
    parts = (b"medchain/record-field-salts/v1", salt)
    stream = hashlib.shake_256(b"".join(len(p).to_bytes(8, "big") + p for p in parts)).digest(32 * count)
    return [stream[at : at + 32] for at in range(0, 32 * count, 32)]


def test_a_commitment_is_the_digest_of_salted_content_and_field_root():
    whole = digest("medchain/record-whole/v1", SALT, CONTENT)
    assert commitment.whole_digest(SALT, CONTENT) == whole
    assert commitment.record_commitment(SALT, CONTENT, bytes(32)) == digest(
        "medchain/record-commitment/v1", whole, bytes(32)
    )
    assert bytes(32) == commitment.NO_FIELDS


def test_the_field_root_comes_from_salt_and_content_alone():
    salts = salts_of(SALT, 2)
    leaves = [
        digest("medchain/field/v1", salts[place], path, text)
        for place, (path, text) in enumerate(((b"/resourceType", b'"Basic"'), (b"/id", b'"1"')))
    ]
    left, right = sorted(leaves)
    assert commitment.record_field_root(SALT, CONTENT) == digest("medchain/field-node/v1", left, right)


def test_one_field_is_shown_against_a_commitment_without_the_record():
    root = commitment.record_field_root(SALT, CONTENT)
    leaves = fields.record_field_leaves(SALT, fields.record_fields(CONTENT))
    salt = fields.record_field_salt(SALT, 1)
    # What the verifier gets: the whole digest, the root, and name, value, salt and path of the field.
    whole = commitment.whole_digest(SALT, CONTENT)
    assert digest("medchain/record-commitment/v1", whole, root) == commitment.record_commitment(SALT, CONTENT, root)
    fields.verify_field(root, "/id", b'"1"', salt, fields.prove_field(leaves, leaves[1]))


def test_another_salt_content_or_field_root_gives_another_commitment():
    known = commitment.record_commitment(SALT, CONTENT, commitment.NO_FIELDS)
    others = [
        commitment.record_commitment(bytes(32), CONTENT, commitment.NO_FIELDS),
        commitment.record_commitment(SALT, CONTENT + b" ", commitment.NO_FIELDS),
        commitment.record_commitment(SALT, CONTENT, commitment.record_field_root(SALT, CONTENT)),
    ]
    assert len({known, *others}) == 4


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_salt_of_another_size_is_refused(size):
    for make in (commitment.whole_digest, commitment.record_field_root):
        with pytest.raises(InputError) as caught:
            make(bytes(size), CONTENT)
        assert caught.value.code == "commitment.salt"


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20])
def test_a_content_in_pieces_has_the_digest_of_the_whole(size):
    content = b"x" * size
    taken = commitment.ContentHash()
    for start in range(0, size, 100_001):
        taken.update(content[start : start + 100_001])
    assert taken.whole(SALT) == digest("medchain/record-whole/v1", SALT, content)
    assert (taken.size, taken.sha256) == (size, hashlib.sha256(content).digest())


def test_a_content_above_one_mebibyte_is_committed_to_by_size_and_sha256():
    content = b"y" * ((1 << 20) + 1)
    expected = digest(
        "medchain/record-large/v1", SALT, ((1 << 20) + 1).to_bytes(8, "big"), hashlib.sha256(content).digest()
    )
    taken = commitment.ContentHash()
    for start in range(0, len(content), 65_537):
        taken.update(content[start : start + 65_537])
    assert taken.whole(SALT) == commitment.whole_digest(SALT, content) == expected
    assert commitment.commitment_of(expected, bytes(32)) == commitment.record_commitment(SALT, content, bytes(32))


@pytest.mark.parametrize(
    ("size", "hashed"), [(1 << 20, bytes(32)), (1 << 63, bytes(32)), (1 << 21, bytes(31)), (-1, bytes(32))]
)
def test_a_large_content_is_large_and_hashed_in_32_bytes(size, hashed):
    with pytest.raises(InputError) as caught:
        commitment.large_digest(SALT, size, hashed)
    assert caught.value.code == "commitment.large"


def test_a_large_content_needs_a_salt_too():
    with pytest.raises(InputError) as caught:
        commitment.large_digest(b"", 1 << 21, bytes(32))
    assert caught.value.code == "commitment.salt"
