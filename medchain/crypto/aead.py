"""The record envelope: one record version, encrypted under its own data key.

Keeps true: an envelope opens only with its key (key commitment), for the ledger, object, version and content type it
was sealed for; its size tells little (Padmé); a wrong key and a changed byte are not told apart. A stream yields only
authenticated bytes, but only its regular end shows that it is whole. Trusts libsodium, and the caller for a fresh data
key a version.
Source: `docs/spec/record-envelope.md`; draft-irtf-cfrg-xchacha-03; libsodium secretstream; ISO/IEC 7816-4 padding;
Padmé: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs" (2019) §4.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError
from nacl.utils import random

from medchain.crypto.commitment import MAX_SMALL_BYTES, SALT_BYTES
from medchain.crypto.keywrap import COMMITMENT_BYTES, committing_keys
from medchain.crypto.suite import SUITE_1
from medchain.crypto.xchacha import NONCE_BYTES, TAG_BYTES, seal, unseal
from medchain.encoding import digest
from medchain.errors import InputError, VerificationError

MAX_WHOLE_BYTES: Final = MAX_SMALL_BYTES
"""Largest content sealed whole; larger is sealed as a stream."""

CHUNK_BYTES: Final = 1 << 16
"""Plaintext of each chunk of a stream."""

MIN_PADDED_BYTES: Final = 256
"""Smallest padded plaintext."""

HEADER_BYTES: Final = 3 + 1 + 1 + NONCE_BYTES + COMMITMENT_BYTES
"""Size of the header, which is authenticated."""

_MAGIC: Final = b"MC1" + bytes((SUITE_1.number,))
_WHOLE: Final = b"\0"
_STREAM: Final = b"\1"
_RAW: Final = b"\0"
"""Codec byte: the content as it is."""
_PREFIX_BYTES: Final = 1 + SALT_BYTES
_SEALED_CHUNK_BYTES: Final = CHUNK_BYTES + bindings.crypto_secretstream_xchacha20poly1305_ABYTES
_TAG_MESSAGE: Final = bindings.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_TAG_END: Final = bindings.crypto_secretstream_xchacha20poly1305_TAG_PUSH
_TAG_FINAL: Final = bindings.crypto_secretstream_xchacha20poly1305_TAG_FINAL


@dataclass(frozen=True, slots=True)
class RecordContext:
    """What an envelope is bound to.

    Attributes:
        ledger_id: 32 bytes.
        object_id: 16 bytes, the record object's id.
        version: of the record, from 1.
        content_type: media type of the content.
    """

    ledger_id: bytes
    object_id: bytes
    version: int
    content_type: str

    def __post_init__(self) -> None:
        """Refuse other sizes; raises `InputError` ``envelope.context``."""
        if len(self.ledger_id) != 32 or len(self.object_id) != 16 or not 0 < self.version < 1 << 63:  # noqa: PLR2004  # docs/spec
            raise InputError("envelope.context")


def padded_size(size: int) -> int:
    """Return the Padmé size of a plaintext: leaks O(log log size) bits and costs at most 12 %.

    Args:
        size: number of bytes (or chunks) before padding, at least 1.

    Returns:
        A number at least as large.
    """
    exponent = size.bit_length() - 1
    low_bits = exponent - exponent.bit_length()
    mask = (1 << max(low_bits, 0)) - 1
    return (size + mask) & ~mask


def seal_record(dek: bytes, context: RecordContext, content: bytes, salt: bytes) -> bytes:
    """Seal a record whole.

    Args:
        dek: 32 secret bytes, fresh for this version.
        context: what the envelope is bound to.
        content: at most `MAX_WHOLE_BYTES`.
        salt: 32 secret random bytes, the commitment's salt.

    Returns:
        The envelope.

    Raises:
        InputError: ``keys.size``, ``envelope.salt``, ``envelope.too_large``.
    """
    if len(content) > MAX_WHOLE_BYTES:
        raise InputError("envelope.too_large", size=len(content))
    _check_salt(salt)
    commitment, key = _split(dek)
    nonce = random(NONCE_BYTES)
    header = _MAGIC + _WHOLE + nonce + commitment
    plaintext = _RAW + salt + content + b"\x80"
    plaintext = plaintext.ljust(_whole_size(len(plaintext)), b"\0")
    return header + seal(key, nonce, _aad(header, context), plaintext)


def open_record(dek: bytes, context: RecordContext, envelope: bytes) -> tuple[bytes, bytes]:
    """Open a record that was sealed whole.

    Args:
        dek: its data key.
        context: what it must be bound to.
        envelope: what `seal_record` returned.

    Returns:
        Salt and content.

    Raises:
        InputError: ``keys.size``.
        VerificationError: ``envelope.format`` if the first five bytes or the size are not of this form,
            ``envelope.authentication`` for a wrong key, wrong context, changed bytes or wrong padding, all alike;
            ``envelope.codec`` for an authentic envelope with an unknown codec.
    """
    header = envelope[:HEADER_BYTES]
    size = len(envelope) - HEADER_BYTES - TAG_BYTES
    if size < MIN_PADDED_BYTES or size > _whole_size(_PREFIX_BYTES + MAX_WHOLE_BYTES + 1):
        raise VerificationError("envelope.format")
    key = _opening_key(dek, header, _WHOLE)
    nonce = header[len(_MAGIC) + 1 : -COMMITMENT_BYTES]
    padded = unseal(key, nonce, _aad(header, context), envelope[HEADER_BYTES:])
    if padded is None:
        raise VerificationError("envelope.authentication")
    plaintext = padded.rstrip(b"\0")
    if len(padded) != _whole_size(len(plaintext)):
        raise VerificationError("envelope.authentication")
    return _parted(_unmarked(plaintext))


def seal_stream(dek: bytes, context: RecordContext, chunks: Iterable[bytes], salt: bytes) -> Iterator[bytes]:
    """Seal content of any size in constant memory.

    Args:
        dek: 32 secret bytes, fresh for this version.
        context: what the envelope is bound to.
        chunks: the content in pieces of any size.
        salt: 32 secret random bytes, the commitment's salt.

    Yields:
        The envelope: header, then sealed chunks of one size.

    Raises:
        InputError: ``keys.size``, ``envelope.salt``, before the first piece.
    """
    _check_salt(salt)
    commitment, key = _split(dek)
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    nonce = bindings.crypto_secretstream_xchacha20poly1305_init_push(state, key)
    header = _MAGIC + _STREAM + nonce + commitment
    aad = _aad(header, context)
    yield header
    for plain, tag in _padded_chunks(_RAW + salt, chunks):
        yield bindings.crypto_secretstream_xchacha20poly1305_push(state, plain, aad, tag)


def open_stream(dek: bytes, context: RecordContext, pieces: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Open an envelope that was sealed as a stream, in constant memory.

    Args:
        dek: its data key.
        context: what it must be bound to.
        pieces: the envelope in pieces of any size.

    Returns:
        Salt, and the content in pieces. Each piece is authentic when it comes, in its place; that nothing is missing is
        known only when the iterator ends without an error, so nothing may be acted upon before.

    Raises:
        InputError: ``keys.size``.
        VerificationError: as in `open_record`; also from the iterator, for an envelope cut short, reordered or with
            something after its end.
    """
    sealed = _blocks(pieces)
    header = next(sealed, b"")
    key = _opening_key(dek, header, _STREAM)
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, header[len(_MAGIC) + 1 : -COMMITMENT_BYTES], key)
    contents = _opened_chunks(state, _aad(header, context), sealed)
    salt, content = _parted(next(contents))
    return salt, _nonempty(content, contents)


def _split(dek: bytes) -> tuple[bytes, bytes]:
    """Derive key commitment and encryption key."""
    return committing_keys(dek, b"mc1 commit", b"mc1 encrypt")


def _aad(header: bytes, context: RecordContext) -> bytes:
    """Bind header and context."""
    return digest(
        "medchain/record-aad/v1",
        header,
        context.ledger_id,
        context.object_id,
        context.version.to_bytes(8, "big"),
        context.content_type.encode(),
    )


def _opening_key(dek: bytes, header: bytes, form: bytes) -> bytes:
    """Check the header and return the encryption key."""
    if len(header) != HEADER_BYTES or not header.startswith(_MAGIC + form):
        raise VerificationError("envelope.format")
    commitment, key = _split(dek)
    if not hmac.compare_digest(commitment, header[-COMMITMENT_BYTES:]):
        raise VerificationError("envelope.authentication")
    return key


def _check_salt(salt: bytes) -> None:
    """Refuse a salt of another size."""
    if len(salt) != SALT_BYTES:
        raise InputError("envelope.salt", size=len(salt))


def _whole_size(size: int) -> int:
    """Return the padded size of a plaintext that is sealed whole."""
    return max(padded_size(size), MIN_PADDED_BYTES)


def _unmarked(plaintext: bytes) -> bytes:
    """Take off the padding marker."""
    if not plaintext.endswith(b"\x80"):
        raise VerificationError("envelope.authentication")
    return plaintext[:-1]


def _parted(plaintext: bytes) -> tuple[bytes, bytes]:
    """Check the codec and part salt from content."""
    if len(plaintext) < _PREFIX_BYTES:
        raise VerificationError("envelope.authentication")
    if not plaintext.startswith(_RAW):
        raise VerificationError("envelope.codec")
    return plaintext[1:_PREFIX_BYTES], plaintext[_PREFIX_BYTES:]


def _padded_chunks(prefix: bytes, pieces: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield plaintext chunks of one size with their tags, padded to a Padmé number of chunks."""
    buffer = bytearray(prefix)
    count = 1
    for piece in pieces:
        buffer += piece
        while len(buffer) >= CHUNK_BYTES:
            yield bytes(buffer[:CHUNK_BYTES]), _TAG_MESSAGE
            del buffer[:CHUNK_BYTES]
            count += 1
    padding = padded_size(count) - count
    yield bytes(buffer + b"\x80").ljust(CHUNK_BYTES, b"\0"), _TAG_END if padding else _TAG_FINAL
    for left in reversed(range(padding)):
        yield bytes(CHUNK_BYTES), _TAG_MESSAGE if left else _TAG_FINAL


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Cut an envelope into header and sealed chunks; a last, shorter block is what remains."""
    buffer = bytearray()
    size = HEADER_BYTES
    for piece in pieces:
        buffer += piece
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
            size = _SEALED_CHUNK_BYTES
    if buffer:
        yield bytes(buffer)


def _opened_chunks(
    state: bindings.crypto_secretstream_xchacha20poly1305_state, aad: bytes, sealed: Iterator[bytes]
) -> Iterator[bytes]:
    """Yield the plaintext of the content's chunks, the last without marker, and insist on a regular end."""
    content_chunks = 0
    for count, block in enumerate(sealed, start=1):
        plain, tag = _pull(state, block, aad)
        if content_chunks:
            if tag == _TAG_END or plain.strip(b"\0"):
                raise VerificationError("envelope.authentication")
        elif tag == _TAG_MESSAGE:
            yield plain
        else:
            content_chunks = count
            yield _unmarked(plain.rstrip(b"\0"))
        if tag == _TAG_FINAL:
            if count == padded_size(content_chunks) and next(sealed, None) is None:
                return
            break
    # Cut short, padded to another size, or with something after its end.
    raise VerificationError("envelope.authentication")


def _pull(state: bindings.crypto_secretstream_xchacha20poly1305_state, block: bytes, aad: bytes) -> tuple[bytes, int]:
    """Open one chunk."""
    if len(block) == _SEALED_CHUNK_BYTES:
        try:
            plain, tag = bindings.crypto_secretstream_xchacha20poly1305_pull(state, block, aad)
        except CryptoError:
            raise VerificationError("envelope.authentication") from None
        if tag in (_TAG_MESSAGE, _TAG_END, _TAG_FINAL):
            return plain, tag
    raise VerificationError("envelope.authentication")


def _nonempty(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what has bytes in it."""
    if first:
        yield first
    yield from filter(None, rest)
