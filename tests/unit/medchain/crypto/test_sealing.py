"""Sealing: the RFC 9180 and X-Wing vectors decide; what was changed or meant for another does not open."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.bindings._rust import openssl as rust_openssl
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from medchain.crypto import sealing
from medchain.crypto.keywrap import SecretBytes
from medchain.errors import InputError, VerificationError

SEED = bytes(range(32))
PRIVATE = sealing.SealingPrivateKey(SEED)
OTHER = sealing.SealingPrivateKey(SEED[::-1])
REQUEST, ENTRY = b"r" * 32, b"e" * 32
DEKS = [bytes((number,)) * 32 for number in range(3)]

AEADS = {2: hpke.AEAD.AES_256_GCM, 3: hpke.AEAD.CHACHA20_POLY1305}
KDFS = {1: hpke.KDF.HKDF_SHA256, 17: hpke.KDF.SHAKE256}


def unhex(vector: dict[str, str], *names: str) -> list[bytes]:
    return [bytes.fromhex(vector[name]) for name in names]


# The library's public API takes no additional data, which the vectors have; this is what that API calls.
decrypt_with_aad = rust_openssl.hpke._decrypt_with_aad  # noqa: SLF001  # see above


def release(**changes: object) -> bytes:
    arguments = {
        "public": PRIVATE.public,
        "request_hash": REQUEST,
        "access_entry_id": ENTRY,
        "recipient_key_id": PRIVATE.key_id,
        "deks": DEKS,
    }
    return sealing.wrap_release(**(arguments | changes))


def test_hpke_opens_the_vectors_of_rfc_9180(vectors):
    documents = vectors("hpke/rfc9180-x25519-hkdfsha256.json")
    for vector in documents:
        suite = hpke.Suite(hpke.KEM.X25519, KDFS[vector["kdf_id"]], AEADS[vector["aead_id"]])
        private, encapsulated, info = unhex(vector, "skRm", "enc", "info")
        first = vector["encryptions"][0]
        aad, sealed, plain = unhex(first, "aad", "ct", "pt")
        key = X25519PrivateKey.from_private_bytes(private)
        assert decrypt_with_aad(suite, encapsulated + sealed, key, info, aad) == plain
    assert len(documents) == 2


def test_our_private_key_opens_the_vectors_of_x_wing(vectors):
    documents = vectors("hpke/hpke-pq-xwing.json")
    for vector in documents:
        seed, public, encapsulated, info = unhex(vector, "skRm", "pkRm", "enc", "info")
        private = sealing.SealingPrivateKey(seed)
        assert private.public == public
        suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, KDFS[vector["kdf_id"]], AEADS[vector["aead_id"]])
        aad, sealed, plain = unhex(vector["encryptions"][0], "aad", "ct", "pt")
        key = private._key  # noqa: SLF001  # the vectors' messages need the bare key
        assert decrypt_with_aad(suite, encapsulated + sealed, key, info, aad) == plain
    # The first is our suite: HKDF-SHA256 and ChaCha20-Poly1305.
    assert [(vector["kdf_id"], vector["aead_id"]) for vector in documents] == [(1, 3), (17, 3)]


def test_a_message_opens_with_key_and_context_and_its_hpke_info_is_the_tagged_digest():
    sealed = sealing.seal_to(PRIVATE.public, b"info", b"aad", b"message")
    assert len(sealed) == sealing.OVERHEAD_BYTES + 7
    opened = sealing.open_sealed(PRIVATE, b"info", b"aad", sealed)
    assert opened == b"message"
    assert isinstance(opened, SecretBytes)
    framed = b"".join(len(part).to_bytes(8, "big") + part for part in (b"medchain/hpke-info/v1", b"info", b"aad"))
    assert PRIVATE.open(hashlib.sha256(framed).digest(), sealed) == b"message"


@pytest.mark.parametrize(
    ("private", "info", "aad"),
    [(OTHER, b"info", b"aad"), (PRIVATE, b"inf", b"oaad"), (PRIVATE, b"info", b""), (PRIVATE, b"", b"aad")],
)
def test_a_message_opens_with_no_other_key_or_context(private, info, aad):
    sealed = sealing.seal_to(PRIVATE.public, b"info", b"aad", b"message")
    with pytest.raises(VerificationError) as caught:
        sealing.open_sealed(private, info, aad, sealed)
    assert (caught.value.code, caught.value.fields) == ("sealing.authentication", {})


def test_no_changed_byte_of_a_message_opens():
    sealed = sealing.seal_to(PRIVATE.public, b"info", b"aad", b"message")
    places = [*range(0, 1088, 64), *range(1088, len(sealed))]
    changed = [sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :] for at in places]
    small_order = sealed[:1088] + bytes(32) + sealed[1120:]
    for bad in [*changed, small_order, b"", sealed[:1119], sealed[:-1], sealed + b"\0"]:
        with pytest.raises(VerificationError) as caught:
            sealing.open_sealed(PRIVATE, b"info", b"aad", bad)
        assert caught.value.code == "sealing.authentication"


@pytest.mark.parametrize(
    "public",
    [
        b"",
        PRIVATE.public[:-1],
        PRIVATE.public + b"\0",
        b"\xff" * 1184 + PRIVATE.public[1184:],
        PRIVATE.public[:1184] + bytes(32),
    ],
    ids=["empty", "short", "long", "coefficients out of range", "point of small order"],
)
def test_what_is_no_public_key_is_refused(public):
    with pytest.raises(InputError) as caught:
        sealing.seal_to(public, b"", b"", b"")
    assert caught.value.code == "sealing.public"


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_of_another_size_is_refused(size):
    with pytest.raises(InputError) as caught:
        sealing.SealingPrivateKey(bytes(size))
    assert caught.value.code == "sealing.seed"


def test_a_private_key_does_not_show_itself():
    assert repr(PRIVATE) == f"SealingPrivateKey(key_id={PRIVATE.key_id})"


def test_released_keys_come_back_in_order():
    opened = sealing.open_release(PRIVATE, REQUEST, ENTRY, PRIVATE.key_id, release())
    assert opened == DEKS
    assert {type(dek) for dek in opened} == {SecretBytes}


def test_a_release_is_what_the_page_says():
    wrapped = release()
    assert wrapped[:6] == b"MR1\x01\x00\x03"
    assert len(wrapped) == 6 + 1168 + 3 * 105

    def framed(*parts: bytes) -> bytes:
        return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()

    binding = framed(b"medchain/release/v1", REQUEST, ENTRY, PRIVATE.key_id.encode())
    response_key = sealing.open_sealed(PRIVATE, binding, wrapped[:6], wrapped[6:1174])
    commitment = hmac.digest(hmac.digest(bytes(32), response_key, "sha256"), b"medchain/wrap/commit/v1\x01", "sha256")
    assert [wrapped[at + 25 : at + 57] for at in (1174, 1279, 1384)] == [commitment] * 3


@pytest.mark.parametrize(
    ("private", "request_hash", "entry", "key_id"),
    [
        (OTHER, REQUEST, ENTRY, PRIVATE.key_id),
        (PRIVATE, ENTRY, ENTRY, PRIVATE.key_id),
        (PRIVATE, REQUEST, REQUEST, PRIVATE.key_id),
        (PRIVATE, REQUEST, ENTRY, OTHER.key_id),
    ],
    ids=["another party", "another request", "another access entry", "another key id"],
)
def test_attack_a_release_for_another_party_request_or_entry_does_not_open(private, request_hash, entry, key_id):
    wrapped = release()
    with pytest.raises(VerificationError) as caught:
        sealing.open_release(private, request_hash, entry, key_id, wrapped)
    assert caught.value.code == "sealing.authentication"


def test_attack_keys_of_a_release_swapped_dropped_or_taken_from_another_are_refused():
    one, two = release(), release()
    head, a, b, c = one[:1174], one[1174:1279], one[1279:1384], one[1384:]
    for bad, code in [
        (head + b + a + c, "keys.unwrap"),
        (head + a + a + c, "keys.unwrap"),
        (head + a + b + two[1384:], "keys.unwrap"),
        (head[:5] + b"\x02" + head[6:] + a + b, "sealing.authentication"),
    ]:
        with pytest.raises(VerificationError) as caught:
            sealing.open_release(PRIVATE, REQUEST, ENTRY, PRIVATE.key_id, bad)
        assert caught.value.code == code


@pytest.mark.parametrize(
    "spoil",
    [
        lambda wrapped: wrapped[:0],
        lambda wrapped: wrapped[:5],
        lambda wrapped: wrapped[:-1],
        lambda wrapped: wrapped + b"\0",
        lambda wrapped: b"MR2" + wrapped[3:],
        lambda wrapped: wrapped[:3] + b"\x02" + wrapped[4:],
        lambda wrapped: wrapped[:4] + b"\x00\x00" + wrapped[6:1174],
        lambda wrapped: wrapped[:4] + b"\x00\x04" + wrapped[6:],
    ],
)
def test_a_release_of_another_form_is_refused(spoil):
    with pytest.raises(VerificationError) as caught:
        sealing.open_release(PRIVATE, REQUEST, ENTRY, PRIVATE.key_id, spoil(release()))
    assert caught.value.code == "sealing.format"


@pytest.mark.parametrize("count", [0, 0x10000])
def test_a_release_has_at_least_one_key_and_at_most_65535(count):
    with pytest.raises(InputError) as caught:
        release(deks=[bytes(32)] * count)
    assert caught.value.code == "sealing.count"


def test_a_released_key_of_another_size_is_refused():
    with pytest.raises(InputError) as caught:
        release(deks=[bytes(31)])
    assert caught.value.code == "keys.size"
