"""The record envelope: opened by a second implementation; attacked in every way the page names."""

from __future__ import annotations

import hashlib
import hmac
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from medchain.crypto import aead
from medchain.crypto.keywrap import committing_keys
from medchain.errors import InputError, VerificationError

DEK = bytes(range(32))
OTHER_DEK = bytes(range(1, 33))
SALT = bytes(range(64, 96))
CONTEXT = aead.RecordContext(b"L" * 32, b"O" * 16, 7, "application/fhir+json")
CHUNK = 65536
SEALED_CHUNK = CHUNK + 17


def hkdf(key: bytes, info: bytes) -> bytes:
    return hmac.digest(hmac.digest(bytes(32), key, "sha256"), info + b"\x01", "sha256")


def aad_of(header: bytes, context: aead.RecordContext = CONTEXT) -> bytes:
    parts = [
        b"medchain/record-aad/v1",
        header,
        context.ledger_id,
        context.object_id,
        context.version.to_bytes(8, "big"),
        context.content_type.encode(),
    ]
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


def padme(size: int) -> int:
    """Padmé with logarithms, as in the paper (§4, algorithm 1)."""
    exponent = math.floor(math.log2(size))
    kept = math.floor(math.log2(exponent)) + 1 if exponent else 0
    mask = (1 << max(exponent - kept, 0)) - 1
    return (size + mask) & ~mask


def forge(plaintext: bytes, dek: bytes = DEK) -> bytes:
    """Seal any plaintext with the right key: what a dishonest custodian could do."""
    header = b"MC1\x01\x00" + bytes(24) + hkdf(dek, b"mc1 commit")
    return header + bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
        plaintext, aad_of(header), bytes(24), hkdf(dek, b"mc1 encrypt")
    )


def forge_stream(chunks: list[tuple[bytes, int]]) -> bytes:
    """Push any chunks with the right key."""
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    nonce = bindings.crypto_secretstream_xchacha20poly1305_init_push(state, hkdf(DEK, b"mc1 encrypt"))
    header = b"MC1\x01\x01" + nonce + hkdf(DEK, b"mc1 commit")
    push = bindings.crypto_secretstream_xchacha20poly1305_push
    return header + b"".join(push(state, plain, aad_of(header), tag) for plain, tag in chunks)


def seal_stream(content: bytes, pieces: int = 1) -> bytes:
    step = len(content) // pieces + 1
    parts = [content[at : at + step] for at in range(0, len(content), step)]
    return b"".join(aead.seal_stream(DEK, CONTEXT, parts, SALT))


def open_stream(envelope: bytes, dek: bytes = DEK, context: aead.RecordContext = CONTEXT) -> tuple[bytes, bytes]:
    salt, content = aead.open_stream(dek, context, [envelope])
    return salt, b"".join(content)


def code_of(action) -> str:
    with pytest.raises(VerificationError) as caught:
        action()
    assert caught.value.fields == {}
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value.code


def test_a_second_implementation_opens_an_envelope(xchacha_open):
    envelope = aead.seal_record(DEK, CONTEXT, b"content", SALT)
    header = envelope[:61]
    assert header[:5] == b"MC1\x01\x00"
    assert header[29:] == hkdf(DEK, b"mc1 commit")
    padded = xchacha_open(hkdf(DEK, b"mc1 encrypt"), header[5:29], envelope[61:], aad_of(header))
    assert padded == (b"\x00" + SALT + b"content" + b"\x80").ljust(256, b"\0")


@given(st.binary(max_size=3000))
def test_a_record_comes_back(content):
    assert aead.open_record(DEK, CONTEXT, aead.seal_record(DEK, CONTEXT, content, SALT)) == (SALT, content)


@pytest.mark.parametrize("content", [b"", b"\x80", b"\x00", b"a\x80\x00\x00", bytes(222), bytes(223)])
def test_content_that_looks_like_padding_comes_back(content):
    assert aead.open_record(DEK, CONTEXT, aead.seal_record(DEK, CONTEXT, content, SALT)) == (SALT, content)


def test_the_largest_whole_record_comes_back_and_one_byte_more_is_refused():
    content = b"x" * aead.MAX_WHOLE_BYTES
    assert aead.open_record(DEK, CONTEXT, aead.seal_record(DEK, CONTEXT, content, SALT)) == (SALT, content)
    with pytest.raises(InputError) as caught:
        aead.seal_record(DEK, CONTEXT, content + b"x", SALT)
    assert caught.value.code == "envelope.too_large"


def test_sizes_are_those_of_padme_and_nothing_is_smaller_than_256():
    # By hand: 9 = 2^3 + … keeps 2 of 3 bits, so multiples of 2; 129 = 2^7 + … keeps 3 of 7, so multiples of 16.
    assert [aead.padded_size(size) for size in (1, 2, 3, 8, 9, 10, 129)] == [1, 2, 3, 8, 10, 10, 144]
    for size in range(1, 5000):
        assert aead.padded_size(size) == padme(size)
    lengths = {len(aead.seal_record(DEK, CONTEXT, bytes(size), SALT)) - 61 - 16 for size in range(223)}
    assert lengths == {256}
    assert len(aead.seal_record(DEK, CONTEXT, bytes(1000), SALT)) - 61 - 16 == padme(1034)


def test_two_envelopes_of_one_record_have_no_bytes_in_common_but_header_and_commitment():
    one, two = (aead.seal_record(DEK, CONTEXT, b"content", SALT) for _ in range(2))
    assert one[:5] + one[29:61] == two[:5] + two[29:61]
    assert one[5:29] != two[5:29]
    assert one[61:] != two[61:]


@pytest.mark.parametrize(
    "other",
    [
        aead.RecordContext(b"M" * 32, b"O" * 16, 7, "application/fhir+json"),
        aead.RecordContext(b"L" * 32, b"P" * 16, 7, "application/fhir+json"),
        aead.RecordContext(b"L" * 32, b"O" * 16, 8, "application/fhir+json"),
        aead.RecordContext(b"L" * 32, b"O" * 16, 7, "application/fhir+xml"),
    ],
    ids=["ledger", "object", "version", "content type"],
)
def test_attack_an_envelope_moved_to_another_ledger_object_version_or_type_does_not_open(other):
    envelope = aead.seal_record(DEK, CONTEXT, b"content", SALT)
    stream = seal_stream(b"content")
    assert code_of(lambda: aead.open_record(DEK, other, envelope)) == "envelope.authentication"
    assert code_of(lambda: open_stream(stream, context=other)) == "envelope.authentication"


def test_attack_a_ciphertext_made_to_open_under_two_keys_opens_under_the_committed_one_only(collide):
    keys = [hkdf(dek, b"mc1 encrypt") for dek in (DEK, OTHER_DEK)]
    seal = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt
    decrypt = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt
    # A nonce for which both texts end in the padding's marker.
    nonces = (number.to_bytes(24, "big") for number in range(100_000))
    nonce = next(n for n in nonces if len({seal(bytes(256), None, n, key)[255] for key in keys}) == 1)
    header = b"MC1\x01\x00" + nonce + hkdf(DEK, b"mc1 commit")
    sealed = seal((b"\x00" + SALT).ljust(255, b"x") + b"\x80", aad_of(header), nonce, keys[0])[:-16]
    body = collide(sealed, 4, aad_of(header), nonce, keys)
    # The bare cipher opens it under both keys, to two well-padded texts: this is what the commitment is for.
    texts = {decrypt(body, aad_of(header), nonce, key) for key in keys}
    assert len(texts) == 2
    assert {text[-1] for text in texts} == {0x80}
    assert aead.open_record(DEK, CONTEXT, header + body)[0] == SALT
    assert code_of(lambda: aead.open_record(OTHER_DEK, CONTEXT, header + body)) == "envelope.authentication"


def test_attack_no_changed_byte_opens_and_a_wrong_key_looks_the_same():
    envelope = aead.seal_record(DEK, CONTEXT, b"content", SALT)
    codes = [
        code_of(
            lambda bad=envelope[:at] + bytes((envelope[at] ^ 1,)) + envelope[at + 1 :]: aead.open_record(
                DEK, CONTEXT, bad
            )
        )
        for at in range(len(envelope))
    ]
    assert codes[:5] == ["envelope.format"] * 5
    assert set(codes[5:]) == {"envelope.authentication"}
    assert code_of(lambda: aead.open_record(OTHER_DEK, CONTEXT, envelope)) == "envelope.authentication"


def test_attack_wrong_padding_and_wrong_key_are_not_told_apart():
    front = b"\x00" + SALT
    bad = {
        "no marker": forge((front + b"x").ljust(256, b"\0")),
        "only zeros": forge(bytes(256)),
        "no room for a salt": forge(b"\x00\x80".ljust(256, b"\0")),
        "more than its Padmé size": forge((front + b"\x80").ljust(272, b"\0")),
        "no Padmé size": forge((front + bytes(264) + b"\x80").ljust(303, b"\0")),
    }
    codes = {name: code_of(lambda e=envelope: aead.open_record(DEK, CONTEXT, e)) for name, envelope in bad.items()}
    assert codes == dict.fromkeys(bad, "envelope.authentication")


def test_an_unknown_codec_is_refused():
    envelope = forge((b"\x01" + SALT + b"\x80").ljust(256, b"\0"))
    assert code_of(lambda: aead.open_record(DEK, CONTEXT, envelope)) == "envelope.codec"


@pytest.mark.parametrize("size", [0, 4, 5, 60, 61, 61 + 16 + 255])
def test_an_envelope_that_is_too_short_is_refused(size):
    envelope = aead.seal_record(DEK, CONTEXT, b"content", SALT)
    assert code_of(lambda: aead.open_record(DEK, CONTEXT, envelope[:size])) == "envelope.format"


def test_an_envelope_larger_than_any_whole_record_is_refused_unread():
    envelope = aead.seal_record(DEK, CONTEXT, bytes(aead.MAX_WHOLE_BYTES), SALT)
    assert code_of(lambda: aead.open_record(DEK, CONTEXT, envelope + b"\0")) == "envelope.format"


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_salt_or_key_of_another_size_is_refused(size):
    attempts = {
        "envelope.salt": [
            lambda: aead.seal_record(DEK, CONTEXT, b"", bytes(size)),
            lambda: next(aead.seal_stream(DEK, CONTEXT, [], bytes(size))),
        ],
        "keys.size": [
            lambda: aead.seal_record(bytes(size), CONTEXT, b"", SALT),
            lambda: aead.open_record(bytes(size), CONTEXT, aead.seal_record(DEK, CONTEXT, b"", SALT)),
            lambda: next(aead.seal_stream(bytes(size), CONTEXT, [], SALT)),
        ],
    }
    for code, tries in attempts.items():
        for attempt in tries:
            with pytest.raises(InputError) as caught:
                attempt()
            assert caught.value.code == code


@pytest.mark.parametrize(
    ("ledger_id", "object_id", "version"),
    [(bytes(31), bytes(16), 1), (bytes(32), bytes(15), 1), (bytes(32), bytes(16), 0), (bytes(32), bytes(16), 2**63)],
)
def test_a_context_of_other_sizes_is_refused(ledger_id, object_id, version):
    with pytest.raises(InputError) as caught:
        aead.RecordContext(ledger_id, object_id, version, "application/fhir+json")
    assert caught.value.code == "envelope.context"


# Sizes at which chunks and padding begin and end: 33 bytes go before the content, one marker after it.
@pytest.mark.parametrize(
    ("size", "chunks"),
    [(0, 1), (1, 1), (CHUNK - 34, 1), (CHUNK - 33, 2), (CHUNK - 32, 2), (9 * CHUNK - 34, 10), (16 * CHUNK, 18)],
)
def test_a_stream_comes_back_and_has_a_padme_number_of_chunks(size, chunks):
    content = bytes(range(256)) * (size // 256 + 1)
    envelope = seal_stream(content[:size])
    assert open_stream(envelope) == (SALT, content[:size])
    assert len(envelope) == 61 + chunks * SEALED_CHUNK
    assert envelope[:5] == b"MC1\x01\x01"
    assert envelope[29:61] == hkdf(DEK, b"mc1 commit")


@given(pieces=st.integers(1, 9), step=st.integers(1, 40_000))
def test_how_a_stream_is_cut_does_not_matter(pieces, step):
    content = b"content " * 20_000
    envelope = seal_stream(content, pieces)
    parts = (envelope[at : at + step] for at in range(0, len(envelope), step))
    salt, opened = aead.open_stream(DEK, CONTEXT, parts)
    assert (salt, b"".join(opened)) == (SALT, content)


def test_a_stream_is_sealed_and_opened_in_constant_memory():
    drawn = 0

    def endless():
        nonlocal drawn
        while True:
            drawn += 1
            yield bytes(CHUNK)

    sealed = aead.seal_stream(DEK, CONTEXT, endless(), SALT)
    _, content = aead.open_stream(DEK, CONTEXT, sealed)
    for count in range(1, 50):
        next(content)
        assert drawn <= count + 2


def test_attack_a_stream_cut_short_is_noticed():
    envelope = seal_stream(bytes(3 * CHUNK))
    for size in (0, 4, 60):
        assert code_of(lambda size=size: open_stream(envelope[:size])) == "envelope.format"
    ends = [
        61,
        62,
        61 + 16,
        61 + SEALED_CHUNK - 1,
        *(61 + count * SEALED_CHUNK for count in range(1, 4)),
        len(envelope) - 1,
    ]
    for size in ends:
        assert code_of(lambda size=size: open_stream(envelope[:size])) == "envelope.authentication"


def test_attack_a_stream_reordered_repeated_or_missing_a_chunk_is_noticed():
    envelope = seal_stream(bytes(3 * CHUNK))
    header = envelope[:61]
    first, second, third, last = (envelope[61 + at * SEALED_CHUNK :][:SEALED_CHUNK] for at in range(4))
    for chunks in (
        [second, first, third, last],
        [first, third, second, last],
        [first, first, second, third, last],
        [first, third, last],
        [second, third, last],
        [last],
    ):
        assert code_of(lambda chunks=chunks: open_stream(header + b"".join(chunks))) == "envelope.authentication"


def test_attack_something_after_the_end_of_a_stream_is_noticed():
    envelope = seal_stream(b"content")
    for extra in (b"\0", bytes(SEALED_CHUNK), envelope[61:]):
        assert code_of(lambda extra=extra: open_stream(envelope + extra)) == "envelope.authentication"


def test_attack_a_chunk_of_another_stream_under_the_same_key_is_noticed():
    one, two = seal_stream(bytes(2 * CHUNK)), seal_stream(bytes(2 * CHUNK))
    assert len(one) == 61 + 3 * SEALED_CHUNK
    mixed = one[: 61 + SEALED_CHUNK] + two[61 + SEALED_CHUNK :]
    assert code_of(lambda: open_stream(mixed)) == "envelope.authentication"


def test_attack_a_wrong_key_and_a_changed_byte_of_a_stream_look_the_same():
    envelope = seal_stream(b"content")
    assert code_of(lambda: open_stream(envelope, dek=OTHER_DEK)) == "envelope.authentication"
    for at in (5, 28, 29, 60, 61, 62, 1000, len(envelope) - 1):
        bad = envelope[:at] + bytes((envelope[at] ^ 1,)) + envelope[at + 1 :]
        assert code_of(lambda bad=bad: open_stream(bad)) == "envelope.authentication"
    committed = envelope[:29] + hkdf(OTHER_DEK, b"mc1 commit") + envelope[61:]
    assert code_of(lambda: open_stream(committed, dek=OTHER_DEK)) == "envelope.authentication"


MESSAGE, END, REKEY, FINAL = 0, 1, 2, 3
FULL = b"\x00" + SALT + b"x" * (CHUNK - 33)
LAST = b"y\x80".ljust(CHUNK, b"\0")
ZERO = bytes(CHUNK)


def test_the_forger_of_streams_makes_good_ones_too():
    # So that the next test shows what it says.
    assert open_stream(forge_stream([(FULL, MESSAGE), (LAST, FINAL)])) == (SALT, FULL[33:] + b"y")
    ten = [(FULL, MESSAGE), *[(ZERO, MESSAGE)] * 7, (LAST, END), (ZERO, FINAL)]
    assert open_stream(forge_stream(ten)) == (SALT, FULL[33:] + ZERO * 7 + b"y")
    # 33 chunks go to 36.
    long = [(FULL, MESSAGE), *[(ZERO, MESSAGE)] * 31, (LAST, END), (ZERO, MESSAGE), (ZERO, MESSAGE), (ZERO, FINAL)]
    assert open_stream(forge_stream(long)) == (SALT, FULL[33:] + ZERO * 31 + b"y")


@pytest.mark.parametrize(
    "chunks",
    [
        [(FULL, MESSAGE), (LAST, END)],
        [(FULL, MESSAGE), (LAST, END), (ZERO, FINAL)],
        [(FULL, MESSAGE), (LAST, REKEY)],
        [(FULL, REKEY), (LAST, FINAL)],
        [(FULL, MESSAGE), (ZERO, FINAL)],
        [(FULL, FINAL)],
        [(b"\x00\x80".ljust(CHUNK, b"\0"), FINAL)],
        [(FULL, MESSAGE), *[(ZERO, MESSAGE)] * 7, (LAST, END), (LAST, FINAL)],
        [(FULL, MESSAGE), *[(ZERO, MESSAGE)] * 7, (LAST, REKEY), (ZERO, FINAL)],
        [(FULL, MESSAGE), *[(ZERO, MESSAGE)] * 31, (LAST, END), (ZERO, END), (ZERO, MESSAGE), (ZERO, FINAL)],
        [(FULL, MESSAGE), *[(ZERO, MESSAGE)] * 31, (LAST, END), (ZERO, REKEY), (ZERO, MESSAGE), (ZERO, FINAL)],
        [(FULL, MESSAGE), *[(ZERO, MESSAGE)] * 7, (LAST, FINAL)],
        [(FULL[:-1], MESSAGE), (LAST, FINAL)],
    ],
    ids=[
        "no end",
        "padding to no Padmé number",
        "unknown tag at the end",
        "unknown tag",
        "no marker in the last chunk",
        "no marker at all",
        "no room for a salt",
        "padding that is no zeros",
        "unknown tag for the end",
        "two ends",
        "unknown tag in the padding",
        "too little padding",
        "short chunk",
    ],
)
def test_attack_a_stream_sealed_irregularly_with_the_right_key_is_refused(chunks):
    assert code_of(lambda: open_stream(forge_stream(chunks))) == "envelope.authentication"


def test_an_unknown_codec_of_a_stream_is_refused():
    assert (
        code_of(lambda: open_stream(forge_stream([(b"\x01" + FULL[1:], MESSAGE), (LAST, FINAL)]))) == "envelope.codec"
    )


def test_a_stream_does_not_open_as_a_whole_record_nor_the_other_way_round():
    assert code_of(lambda: aead.open_record(DEK, CONTEXT, seal_stream(b"content"))) == "envelope.format"
    whole = aead.seal_record(DEK, CONTEXT, b"content", SALT)
    assert code_of(lambda: open_stream(whole)) == "envelope.format"


def test_commitment_and_encryption_key_of_an_envelope_are_split_from_the_data_key():
    assert committing_keys(DEK, b"mc1 commit", b"mc1 encrypt") == (hkdf(DEK, b"mc1 commit"), hkdf(DEK, b"mc1 encrypt"))
