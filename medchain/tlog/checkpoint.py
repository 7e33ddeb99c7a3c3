"""C2SP tlog-checkpoint and tlog-cosignature: a tree head as text, the log's line on it and the cosigners' lines.

Keeps true: a checkpoint has three lines and no more, since an ML-DSA-44 cosignature would not cover extension lines;
what is verified is the text that the checkpoint itself writes. Trusts `medchain.crypto.signing`.
Source: C2SP tlog-checkpoint, tlog-cosignature, signed-note.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from medchain.crypto.signing import Ed25519Signer, MlDsa44Signer, ed25519_verify, mldsa44_verify
from medchain.encoding import base64_text, unbase64
from medchain.errors import InputError, VerificationError
from medchain.tlog.merkle import HASH_BYTES, MAX_SIZE
from medchain.tlog.note import KeyType, Note, Signature, VerifierKey, is_key_name

MAX_TIMESTAMP_S: Final = 2**63 - 1
"""Latest time of a cosignature (C2SP tlog-cosignature)."""

_TIMESTAMP_BYTES: Final = 8
_SUBTREE_LABEL: Final = b"subtree/v1\n\x00"
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head.

    Attributes:
        origin: name of the log, the same as its key's name.
        size: number of leaves.
        root: 32 bytes, root of the tree of that size.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        """Refuse what has no text form; raises `InputError` ``tlog.checkpoint``."""
        if not is_key_name(self.origin) or not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_BYTES:
            raise InputError("tlog.checkpoint", size=self.size)

    def text(self) -> str:
        """Return the three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64_text(self.root)}\n"


def parse_decimal(text: str) -> int:
    """Read a size or an index, ASCII digits without leading zeros, at most 2^63 − 1; raises ``tlog.decimal``."""
    if _DECIMAL.fullmatch(text) is None or int(text) > MAX_SIZE:
        raise InputError("tlog.decimal")
    return int(text)


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a checkpoint's text; extension lines are refused.

    Args:
        text: the text of a note.

    Raises:
        InputError: ``tlog.checkpoint``, ``tlog.decimal`` or ``encoding.base64``.
    """
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:  # noqa: PLR2004  # three lines, and nothing behind the last newline
        raise InputError("tlog.checkpoint")
    return Checkpoint(lines[0], parse_decimal(lines[1]), unbase64(lines[2]))


def sign_checkpoint(checkpoint: Checkpoint, signer: Ed25519Signer) -> Note:
    """Put the log's own line on a checkpoint.

    Args:
        checkpoint: the tree head; the caller sees to it that it only ever grows.
        signer: the log key; its name is the checkpoint's origin.

    Returns:
        The note with that one signature.
    """
    text = checkpoint.text()
    key = VerifierKey(checkpoint.origin, KeyType.ED25519, signer.public)
    return Note(text, (Signature(key.name, key.key_id, signer.sign(text.encode())),))


def cosign(checkpoint: Checkpoint, name: str, signer: Ed25519Signer | MlDsa44Signer, timestamp_s: int) -> Signature:
    """Cosign a checkpoint.

    Args:
        checkpoint: the tree head; the caller sees to it that it is the largest consistent one that it knows.
        name: the cosigner's key name.
        signer: its key; the kind of key decides the kind of cosignature.
        timestamp_s: now, in seconds since 1970, above 0.

    Returns:
        The signature, to be added to the note.

    Raises:
        InputError: ``tlog.timestamp`` or ``tlog.key_name``.
    """
    if not 0 < timestamp_s <= MAX_TIMESTAMP_S:
        raise InputError("tlog.timestamp")
    kind = KeyType.COSIGNATURE_ED25519 if isinstance(signer, Ed25519Signer) else KeyType.COSIGNATURE_MLDSA44
    key = VerifierKey(name, kind, signer.public)
    signature = signer.sign(_cosigned_message(checkpoint, key, timestamp_s))
    return Signature(name, key.key_id, timestamp_s.to_bytes(_TIMESTAMP_BYTES, "big") + signature)


def verify_log_signature(checkpoint: Checkpoint, key: VerifierKey, signature: Signature) -> None:
    """Check a log's own line.

    Args:
        checkpoint: the tree head.
        key: a key of type `KeyType.ED25519`, named as the checkpoint's origin.
        signature: a line with the key's name and id.

    Raises:
        VerificationError: ``tlog.signature``.
    """
    if (
        key.type is not KeyType.ED25519
        or (key.name, key.name, key.key_id) != (checkpoint.origin, signature.name, signature.key_id)
        or not ed25519_verify(key.public, checkpoint.text().encode(), signature.data)
    ):
        raise VerificationError("tlog.signature", name=key.name)


@lru_cache(maxsize=1024)
def verify_cosignature(checkpoint: Checkpoint, key: VerifierKey, signature: Signature) -> int:
    """Check a cosigner's line; a valid one is remembered, since the same line comes from many sides.

    Args:
        checkpoint: the tree head.
        key: a key of one of the cosignature types.
        signature: a line with the key's name and id.

    Returns:
        When it was made, in seconds since 1970. 0, which only ML-DSA-44 has, says nothing of the time.

    Raises:
        VerificationError: ``tlog.cosignature``.
    """
    timestamp_s = claimed_time(signature)
    raw = signature.data[_TIMESTAMP_BYTES:]
    verify = {KeyType.COSIGNATURE_ED25519: ed25519_verify, KeyType.COSIGNATURE_MLDSA44: mldsa44_verify}.get(key.type)
    if (
        verify is None
        or (key.name, key.key_id) != (signature.name, signature.key_id)
        or timestamp_s > MAX_TIMESTAMP_S
        or not verify(key.public, _cosigned_message(checkpoint, key, timestamp_s), raw)
    ):
        raise VerificationError("tlog.cosignature", name=key.name)
    return timestamp_s


def claimed_time(signature: Signature) -> int:
    """Tell when a cosignature says that it was made, Unix seconds; whether it verifies is another question."""
    return int.from_bytes(signature.data[:_TIMESTAMP_BYTES], "big")


def _cosigned_message(checkpoint: Checkpoint, key: VerifierKey, timestamp_s: int) -> bytes:
    """Return what a cosigner signs."""
    if key.type is KeyType.COSIGNATURE_ED25519:
        return f"cosignature/v1\ntime {timestamp_s}\n{checkpoint.text()}".encode()
    name, origin = key.name.encode(), checkpoint.origin.encode()
    return b"".join(
        (
            _SUBTREE_LABEL,
            bytes([len(name)]) + name,
            timestamp_s.to_bytes(_TIMESTAMP_BYTES, "big"),
            bytes([len(origin)]) + origin,
            bytes(8),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )
