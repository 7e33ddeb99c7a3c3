"""The root key at rest: opened by a second implementation; cheapened files are refused."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from medchain.crypto import passphrase
from medchain.errors import InputError, VerificationError

ROOT = bytes(range(32))
WORDS = "correct horse battery staple"
FILE = passphrase.seal_root_key(ROOT, WORDS, passphrase.MIN_COST)


def changed(**changes: object) -> bytes:
    return json.dumps(json.loads(FILE) | changes, separators=(",", ":"), sort_keys=True).encode()


def test_a_root_key_comes_back_with_its_passphrase():
    opened = passphrase.open_root_key(FILE, WORDS)
    assert opened == ROOT
    assert repr(opened) == "SecretBytes(32 bytes)"


def test_a_second_implementation_opens_the_file(xchacha_open):
    found = json.loads(FILE)
    salt, nonce, sealed = (base64.b64decode(found[name]) for name in ("salt", "nonce", "sealed"))
    assert (found["iterations"], found["memory_kib"]) == (3, 65536)
    stretched = Argon2id(salt=salt, length=32, iterations=3, lanes=1, memory_cost=65536).derive(WORDS.encode())
    parts = (b"medchain/sealed-root-key/v1", (3).to_bytes(8, "big"), (65536).to_bytes(8, "big"), salt)
    aad = hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()
    assert xchacha_open(stretched, nonce, sealed, aad) == ROOT


def test_how_the_keyboard_composes_a_character_does_not_matter():
    file = passphrase.seal_root_key(ROOT, "caf\u00e9 au lait 病历", passphrase.MIN_COST)
    assert passphrase.open_root_key(file, "cafe\u0301 au lait 病历") == ROOT


def test_a_wrong_passphrase_and_a_changed_file_look_the_same():
    sealed = bytearray(base64.b64decode(json.loads(FILE)["sealed"]))
    sealed[0] ^= 1
    attempts = [
        (FILE, WORDS + "s"),
        (FILE, ""),
        (changed(sealed=base64.b64encode(sealed).decode()), WORDS),
        (changed(nonce=base64.b64encode(bytes(24)).decode()), WORDS),
        (changed(salt=base64.b64encode(bytes(16)).decode()), WORDS),
        (changed(iterations=4), WORDS),
        (changed(memory_kib=65537), WORDS),
    ]
    for file, words in attempts:
        with pytest.raises(VerificationError) as caught:
            passphrase.open_root_key(file, words)
        assert (caught.value.code, caught.value.fields) == ("passphrase.authentication", {})


@pytest.mark.parametrize(
    "changes",
    [{"iterations": 2}, {"iterations": 65}, {"memory_kib": 65535}, {"memory_kib": 1024 * 1024 + 1}, {"iterations": -3}],
)
def test_attack_parameters_that_are_cheap_to_guess_or_exhaust_the_machine_are_refused(changes):
    with pytest.raises(InputError) as caught:
        passphrase.open_root_key(changed(**changes), WORDS)
    assert caught.value.code == "passphrase.cost"
    values = {"iterations": 3, "memory_kib": 65536} | changes
    with pytest.raises(InputError) as caught:
        passphrase.seal_root_key(ROOT, WORDS, passphrase.Cost(**values))
    assert caught.value.code == "passphrase.cost"


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (changed(type="medchain/sealed-root-key/v2"), "passphrase.format"),
        (changed(salt="AAAA"), "passphrase.format"),
        (changed(nonce="AAAA"), "passphrase.format"),
        (changed(sealed="AAAA"), "passphrase.format"),
        (changed(salt="!"), "passphrase.format"),
        (changed(extra=1), "passphrase.format"),
        (changed(iterations="3"), "passphrase.format"),
        (FILE + b"\n", "passphrase.format"),
        (b"", "passphrase.format"),
        (b" " * 5000, "passphrase.format"),
    ],
)
def test_a_malformed_file_is_refused(file, code):
    with pytest.raises(InputError) as caught:
        passphrase.open_root_key(file, WORDS)
    assert caught.value.code == code


def test_a_short_passphrase_or_a_root_key_of_another_size_is_refused():
    with pytest.raises(InputError) as caught:
        passphrase.seal_root_key(ROOT, "elevenchars", passphrase.MIN_COST)
    assert caught.value.code == "passphrase.too_short"
    for make in (lambda root: passphrase.seal_root_key(root, WORDS, passphrase.MIN_COST), passphrase.write_key_file):
        with pytest.raises(InputError) as caught:
            make(ROOT[1:])
        assert caught.value.code == "keys.size"


def test_the_default_cost_is_that_of_libsodium_moderate():
    assert passphrase.Cost(iterations=3, memory_kib=256 * 1024) == passphrase.DEFAULT_COST


def test_a_key_file_is_one_line_and_comes_back():
    file = passphrase.write_key_file(ROOT)
    assert file == b"MEDCHAIN-ROOT-KEY-1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    assert passphrase.read_key_file(file) == ROOT


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"MEDCHAIN-ROOT-KEY-1 \n",
        b"MEDCHAIN-ROOT-KEY-2 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        b"MEDCHAIN-ROOT-KEY-1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        b"MEDCHAIN-ROOT-KEY-1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n",
        b"MEDCHAIN-ROOT-KEY-1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\n",
        b"MEDCHAIN-ROOT-KEY-1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh\xff=\n",
        b"MEDCHAIN-ROOT-KEY-1 " + b"A" * 10_000 + b"\n",
    ],
)
def test_another_key_file_is_refused_without_being_quoted(file):
    with pytest.raises(InputError) as caught:
        passphrase.read_key_file(file)
    assert (caught.value.code, caught.value.fields) == ("passphrase.key_file", {})
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
