"""The root key at rest: sealed with a passphrase (argon2id), or plain in a key file that the operator guards.

Keeps true: a sealed root key opens only with its passphrase; parameters below the minimum are refused, so that nobody
can slip in a file that is cheap to attack, and above the maximum, so that none can exhaust the machine. A wrong
passphrase and a changed file are not told apart. Trusts libsodium; the strength is that of the passphrase.
Source: RFC 9106; `docs/spec/keys.md`.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final

from nacl import pwhash
from nacl.utils import random

from medchain.crypto.keywrap import KEY_BYTES, SecretBytes
from medchain.crypto.xchacha import NONCE_BYTES, TAG_BYTES, seal, unseal
from medchain.encoding import as_number, base64_text, canonical, digest, members, parse_canonical, unbase64
from medchain.errors import InputError, VerificationError

MIN_PASSPHRASE_CHARACTERS: Final = 12
"""Shortest passphrase that a root key is sealed with."""

MAX_FILE_BYTES: Final = 4096
"""Largest file that is looked at."""

_TYPE: Final = "medchain/sealed-root-key/v1"
_KEY_FILE_PREFIX: Final = b"MEDCHAIN-ROOT-KEY-1 "
_SALT_BYTES: Final = pwhash.argon2id.SALTBYTES
_MEMBERS: Final = {"iterations": int, "memory_kib": int, "nonce": str, "salt": str, "sealed": str, "type": str}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one guess costs.

    Attributes:
        iterations: passes over the memory.
        memory_kib: memory in KiB; one lane.
    """

    iterations: int
    memory_kib: int


MIN_COST: Final = Cost(iterations=3, memory_kib=64 * 1024)
"""Least accepted: memory and passes of RFC 9106's second recommendation; libsodium's "interactive" is below it."""

MAX_COST: Final = Cost(iterations=64, memory_kib=1024 * 1024)
"""Most accepted."""

DEFAULT_COST: Final = Cost(iterations=3, memory_kib=256 * 1024)
"""About a second; libsodium's "moderate"."""


def seal_root_key(root: bytes, passphrase: str, cost: Cost = DEFAULT_COST) -> bytes:
    """Seal the root key with a passphrase.

    Args:
        root: 32 secret bytes.
        passphrase: at least `MIN_PASSPHRASE_CHARACTERS` characters.
        cost: of each guess.

    Returns:
        The file: canonical JSON (`docs/spec/keys.md`).

    Raises:
        InputError: ``keys.size``, ``passphrase.too_short``, ``passphrase.cost``.
    """
    if len(root) != KEY_BYTES:
        raise InputError("keys.size", size=len(root))
    if len(passphrase) < MIN_PASSPHRASE_CHARACTERS:
        raise InputError("passphrase.too_short", minimum=MIN_PASSPHRASE_CHARACTERS)
    _check_cost(cost)
    salt, nonce = random(_SALT_BYTES), random(NONCE_BYTES)
    key = _stretch(passphrase, salt, cost)
    sealed = seal(key, nonce, _aad(cost, salt), root)
    return canonical(
        {
            "iterations": cost.iterations,
            "memory_kib": cost.memory_kib,
            "nonce": base64_text(nonce),
            "salt": base64_text(salt),
            "sealed": base64_text(sealed),
            "type": _TYPE,
        }
    )


def open_root_key(file: bytes, passphrase: str) -> SecretBytes:
    """Open a sealed root key.

    Args:
        file: what `seal_root_key` returned.
        passphrase: the passphrase, in any Unicode normalisation.

    Returns:
        32 bytes.

    Raises:
        InputError: ``passphrase.format`` for what is no such file; ``passphrase.cost`` for parameters out of bounds.
        VerificationError: ``passphrase.authentication`` for a wrong passphrase or a changed file.
    """
    try:
        found = members(parse_canonical(file, max_bytes=MAX_FILE_BYTES), _MEMBERS)
        salt, nonce, sealed = (unbase64(found[name]) for name in ("salt", "nonce", "sealed"))
    except InputError:
        # Without its cause: what is no sealed file may be a key file, which it would quote.
        raise InputError("passphrase.format") from None
    cost = Cost(as_number(found["iterations"]), as_number(found["memory_kib"]))
    _check_cost(cost)
    sizes = len(salt), len(nonce), len(sealed)
    if found["type"] != _TYPE or sizes != (_SALT_BYTES, NONCE_BYTES, KEY_BYTES + TAG_BYTES):
        raise InputError("passphrase.format")
    key = _stretch(passphrase, salt, cost)
    root = unseal(key, nonce, _aad(cost, salt), sealed)
    if root is None:
        raise VerificationError("passphrase.authentication")
    return SecretBytes(root)


def write_key_file(root: bytes) -> bytes:
    """Write the root key as a key file, one line: ``MEDCHAIN-ROOT-KEY-1`` and base64; raises `InputError`."""
    if len(root) != KEY_BYTES:
        raise InputError("keys.size", size=len(root))
    return _KEY_FILE_PREFIX + base64_text(root).encode() + b"\n"


def read_key_file(file: bytes) -> SecretBytes:
    """Read a key file.

    Args:
        file: what `write_key_file` returned.

    Returns:
        The root key, 32 bytes.

    Raises:
        InputError: ``passphrase.key_file`` for anything else.
    """
    try:
        root = SecretBytes(unbase64(file[len(_KEY_FILE_PREFIX) : -1].decode("ascii"), max_bytes=KEY_BYTES))
        if write_key_file(root) == file:
            return root
    except (InputError, UnicodeDecodeError):
        # Without its cause, which would quote the file.
        raise InputError("passphrase.key_file") from None
    raise InputError("passphrase.key_file")


def _check_cost(cost: Cost) -> None:
    """Refuse parameters out of bounds, before any memory is taken."""
    iterations = MIN_COST.iterations <= cost.iterations <= MAX_COST.iterations
    if not iterations or not MIN_COST.memory_kib <= cost.memory_kib <= MAX_COST.memory_kib:
        raise InputError("passphrase.cost", iterations=cost.iterations, memory_kib=cost.memory_kib)


def _stretch(passphrase: str, salt: bytes, cost: Cost) -> bytes:
    """Run argon2id over the passphrase in NFC, as keyboards differ in how they compose (RFC 8265 §4.2)."""
    secret = unicodedata.normalize("NFC", passphrase).encode()
    return pwhash.argon2id.kdf(KEY_BYTES, secret, salt, opslimit=cost.iterations, memlimit=cost.memory_kib * 1024)


def _aad(cost: Cost, salt: bytes) -> bytes:
    """Bind the file's parameters."""
    return digest(_TYPE, cost.iterations.to_bytes(8, "big"), cost.memory_kib.to_bytes(8, "big"), salt)
