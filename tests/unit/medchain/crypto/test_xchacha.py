"""XChaCha20-Poly1305 as libsodium does it: Wycheproof's vectors, PyNaCl's own functions, a second implementation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from medchain.crypto.xchacha import NONCE_BYTES, TAG_BYTES, seal, unseal
from medchain.errors import InputError

KEY = bytes(range(32))
NONCE = bytes(range(24))
TEXTS = st.binary(max_size=300)


def test_it_is_that_of_wycheproof(vectors):
    document = vectors("wycheproof/xchacha20_poly1305_test.json")
    wrong = []
    for group in document["testGroups"]:
        for test in group["tests"]:
            key, nonce, aad, message, sealed = (bytes.fromhex(test[name]) for name in ("key", "iv", "aad", "msg", "ct"))
            sealed += bytes.fromhex(test["tag"])
            try:
                is_valid = unseal(key, nonce, aad, sealed) == message and seal(key, nonce, aad, message) == sealed
            except InputError:
                # A nonce of another size.
                is_valid = len(nonce) == NONCE_BYTES
            if is_valid is not (test["result"] == "valid"):
                wrong.append(test["tcId"])
    assert document["numberOfTests"] == 315
    assert wrong == []


@given(aad=TEXTS, content=TEXTS)
def test_it_is_that_of_pynacl(aad, content):
    sealed = seal(KEY, NONCE, aad, content)
    assert sealed == bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(content, aad, NONCE, KEY)
    assert unseal(KEY, NONCE, aad, sealed) == content


def test_a_second_implementation_opens_what_it_seals(xchacha_open):
    assert xchacha_open(KEY, NONCE, seal(KEY, NONCE, b"aad", b"content"), b"aad") == b"content"


def test_nothing_opens_but_what_was_sealed_of_the_same_key_nonce_and_additional_data():
    sealed = seal(KEY, NONCE, b"aad", b"content")
    for at in range(len(sealed)):
        assert unseal(KEY, NONCE, b"aad", sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]) is None
        assert unseal(KEY, NONCE, b"aad", sealed[:at]) is None
    assert unseal(KEY[::-1], NONCE, b"aad", sealed) is None
    assert unseal(KEY, NONCE[::-1], b"aad", sealed) is None
    assert unseal(KEY, NONCE, b"aae", sealed) is None
    assert unseal(KEY, NONCE, b"", sealed) is None


@pytest.mark.parametrize(
    ("key", "nonce"), [(KEY[:-1], NONCE), (KEY + b"\0", NONCE), (b"", NONCE), (KEY, NONCE[:-1]), (KEY, NONCE + b"\0")]
)
def test_libsodium_reads_beyond_the_end_of_no_key_and_no_nonce(key, nonce):
    for use in (seal, unseal):
        with pytest.raises(InputError) as caught:
            use(key, nonce, b"", bytes(TAG_BYTES))
        assert caught.value.code == "keys.size"


@pytest.mark.parametrize("at", range(4))
def test_what_is_no_bytes_is_a_fault_of_the_program_and_not_sealed(at):
    for use in (seal, unseal):
        for other in ("x" * 32, None, 32):
            given = [KEY, NONCE, b"", bytes(TAG_BYTES)]
            given[at] = other
            with pytest.raises((TypeError, InputError)):
                use(*given)
