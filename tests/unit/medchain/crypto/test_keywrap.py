"""Key wrapping: a second implementation opens what this one wraps; what was changed does not open."""

from __future__ import annotations

import traceback

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl import bindings

from medchain.crypto import keywrap
from medchain.errors import InputError, VerificationError

ROOT = bytes(range(32))
KEY = bytes(range(32, 64))
AAD = keywrap.wrap_aad(keywrap.Purpose.DATA, b"record", b"1")


def hkdf(key: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256 and no salt, as OpenSSL's wrapper has it, which Wycheproof's vectors are put to."""
    return HKDF(SHA256(), 32, None, info).derive(key)


def test_hkdf_is_that_of_wycheproof(vectors):
    document = vectors("wycheproof/hkdf_sha256_test.json")
    for group in document["testGroups"]:
        for test in group["tests"]:
            salt, info, key = (bytes.fromhex(test[name]) for name in ("salt", "info", "ikm"))
            if test["result"] == "invalid":
                with pytest.raises(ValueError, match="Cannot derive keys larger"):
                    HKDF(SHA256(), test["size"], salt, info)
                continue
            assert HKDF(SHA256(), test["size"], salt, info).derive(key).hex() == test["okm"], test["tcId"]
    assert document["numberOfTests"] == 86


def test_a_derived_key_is_plain_hkdf_and_each_purpose_has_its_own():
    assert keywrap.derive(ROOT, "records") == hkdf(ROOT, b"medchain/derive/v1 records")
    assert keywrap.derive(ROOT, "records") != keywrap.derive(ROOT, "backups")


def test_commitment_and_encryption_key_are_plain_hkdf_of_their_infos():
    assert keywrap.committing_keys(ROOT, b"commit", b"encrypt") == (hkdf(ROOT, b"commit"), hkdf(ROOT, b"encrypt"))


def test_a_scalar_lies_between_one_and_the_order():
    assert {keywrap.derive_scalar(bytes((seed,)) * 32, "test", 3) for seed in range(16)} == {1, 2}


def test_a_second_implementation_opens_a_wrapped_key(xchacha_open):
    wrapped = keywrap.wrap_key(ROOT, KEY, AAD)
    header, sealed = wrapped[:57], wrapped[57:]
    assert len(wrapped) == keywrap.WRAPPED_BYTES == 105
    assert header[:1] == b"\x01"
    assert header[25:] == hkdf(ROOT, b"medchain/wrap/commit/v1")
    assert xchacha_open(hkdf(ROOT, b"medchain/wrap/encrypt/v1"), header[1:25], sealed, header + AAD) == KEY


def test_a_key_comes_back_from_its_wrap():
    wrapper = keywrap.WrappingKey(ROOT)
    assert wrapper.unwrap(wrapper.wrap(KEY, AAD), AAD) == KEY
    assert keywrap.unwrap_key(ROOT, keywrap.wrap_key(ROOT, KEY, AAD), AAD) == KEY


def test_the_hierarchy_opens_from_the_root_and_a_destroyed_epoch_key_shreds_the_record():
    epoch, dek = keywrap.random_key(), keywrap.random_key()
    epoch_aad = keywrap.wrap_aad(keywrap.Purpose.EPOCH, b"patient", b"1")
    wrapped_epoch, wrapped_dek = keywrap.wrap_key(ROOT, epoch, epoch_aad), keywrap.wrap_key(epoch, dek, AAD)
    assert keywrap.unwrap_key(keywrap.unwrap_key(ROOT, wrapped_epoch, epoch_aad), wrapped_dek, AAD) == dek
    with pytest.raises(VerificationError):
        keywrap.unwrap_key(ROOT, wrapped_dek, AAD)


def test_a_wrap_opens_for_its_purpose_and_ids_only():
    wrapped = keywrap.wrap_key(ROOT, KEY, AAD)
    others = [
        keywrap.wrap_aad(keywrap.Purpose.EPOCH, b"record", b"1"),
        keywrap.wrap_aad(keywrap.Purpose.DATA, b"record", b"2"),
        keywrap.wrap_aad(keywrap.Purpose.DATA, b"record1", b""),
    ]
    for other in others:
        with pytest.raises(VerificationError) as caught:
            keywrap.unwrap_key(ROOT, wrapped, other)
        assert caught.value.code == "keys.unwrap"


def test_no_changed_byte_of_a_wrap_opens_and_all_fail_alike():
    wrapped = keywrap.wrap_key(ROOT, KEY, AAD)
    changed = [wrapped[:at] + bytes((wrapped[at] ^ 1,)) + wrapped[at + 1 :] for at in range(len(wrapped))]
    for bad in [*changed, b"", wrapped[:-1], wrapped + b"\0"]:
        with pytest.raises(VerificationError) as caught:
            keywrap.unwrap_key(ROOT, bad, AAD)
        assert (caught.value.code, caught.value.fields) == ("keys.unwrap", {})
    with pytest.raises(VerificationError) as caught:
        keywrap.unwrap_key(KEY, wrapped, AAD)
    assert caught.value.code == "keys.unwrap"


def test_attack_a_wrap_made_to_open_under_two_keys_opens_under_the_committed_one_only(collide):
    nonce = bytes(24)
    header = b"\x01" + nonce + hkdf(ROOT, b"medchain/wrap/commit/v1")
    keys = [hkdf(key, b"medchain/wrap/encrypt/v1") for key in (ROOT, KEY)]
    sealed = collide(bytes(32), 0, header + AAD, nonce, keys)
    # The bare cipher opens it under both keys.
    opened = {bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, header + AAD, nonce, key) for key in keys}
    assert len(opened) == 2
    assert keywrap.unwrap_key(ROOT, header + sealed, AAD) in opened
    with pytest.raises(VerificationError) as caught:
        keywrap.unwrap_key(KEY, header + sealed, AAD)
    assert caught.value.code == "keys.unwrap"


def test_a_wrap_of_another_suite_is_refused_even_if_authentic():
    header = b"\x02" + bytes(24) + hkdf(ROOT, b"medchain/wrap/commit/v1")
    sealed = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
        KEY, header + AAD, bytes(24), hkdf(ROOT, b"medchain/wrap/encrypt/v1")
    )
    with pytest.raises(VerificationError) as caught:
        keywrap.unwrap_key(ROOT, header + sealed, AAD)
    assert caught.value.code == "keys.unwrap"


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_of_another_size_is_refused(size):
    short = bytes(size)
    attempts = [
        lambda: keywrap.derive(short, "x"),
        lambda: keywrap.committing_keys(short, b"a", b"b"),
        lambda: keywrap.wrap_key(short, KEY, AAD),
        lambda: keywrap.wrap_key(ROOT, short, AAD),
    ]
    for attempt in attempts:
        with pytest.raises(InputError) as caught:
            attempt()
        assert caught.value.code == "keys.size"


def test_random_keys_differ():
    keys = {keywrap.random_key() for _ in range(100)}
    assert {len(key) for key in keys} == {32}
    assert len(keys) == 100


def test_a_secret_does_not_show_itself():
    secret = keywrap.SecretBytes(b"very secret")
    assert secret == b"very secret"
    assert [repr(secret), str(secret), f"{secret}"] == ["SecretBytes(11 bytes)"] * 3
    assert repr(keywrap.WrappingKey(ROOT)) == "WrappingKey(secret)"
    assert "very" not in "".join(traceback.format_exception(ValueError(secret)))
