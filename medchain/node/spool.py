"""What comes piece by piece and is kept until it is whole: the first of it in memory, the rest sealed on the disk.

Keeps true: of one content no more than `MEMORY_BYTES` is in memory; nothing lies on the disk in clear, nor longer than
it is used: the file has no name, and its key is nowhere but in this process. Trusts libsodium for the seal.
Source: `docs/adr/0069-bodies-are-whole-before-a-process-is-taken.md`, `docs/spec/rest.md`.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import IO, Final

from medchain.crypto.frames import open_frame, seal_frame
from medchain.crypto.keywrap import KEY_BYTES
from medchain.crypto.xchacha import TAG_BYTES
from medchain.errors import VerificationError
from medchain.store.faults import disk_fault

MEMORY_BYTES: Final = 4 << 20
"""How much of one content is kept in memory."""

_NAME: Final = "spool"
_CONTEXT: Final = b"medchain/spool/v1"


@contextmanager
def whole(pieces: Iterable[bytes], folder: Path) -> Iterator[Iterable[bytes]]:
    """Take all pieces of a content before any is used.

    Args:
        pieces: the content, at whatever pace it comes.
        folder: where what is too large for the memory lies for as long as the block runs.

    Yields:
        The same bytes, once.

    Raises:
        UnavailableError: ``store.full`` or ``store.io``.
        MedchainError: what the pieces raise.
    """
    with ExitStack() as opened:
        yield _taken(pieces, folder, opened)


def _taken(pieces: Iterable[bytes], folder: Path, opened: ExitStack) -> Iterable[bytes]:
    """Take all pieces; what is opened for that is closed by the caller."""
    kept: list[bytes] = []
    size, rest = 0, None
    for piece in pieces:
        size += len(piece)
        if size <= MEMORY_BYTES:
            kept.append(piece)
            continue
        rest = rest or _sealed_file(folder, opened)
        rest.write(piece)
    return kept if rest is None else chain(kept, rest.pieces())


class _SealedFile:
    """Pieces in a file, each sealed by itself under a key that only this object has."""

    __slots__ = ("_file", "_key", "_sizes")

    def __init__(self, file: FileIO | IO[bytes]) -> None:
        """Write into a file that is empty and not buffered."""
        self._file = file
        self._key = secrets.token_bytes(KEY_BYTES)
        self._sizes: list[int] = []

    def write(self, piece: bytes) -> None:
        """Append; raises `UnavailableError` ``store.full`` or ``store.io``."""
        left = memoryview(seal_frame(self._key, len(self._sizes), _CONTEXT, piece))
        self._sizes.append(len(piece))
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise disk_fault(error, _NAME) from error

    def pieces(self) -> Iterator[bytes]:
        """Read what was written.

        Raises:
            UnavailableError: ``store.io``.
            VerificationError: ``store.corrupt`` where it is not what was written.
        """
        self._file.seek(0)
        for number, size in enumerate(self._sizes):
            piece = open_frame(self._key, number, _CONTEXT, self._exactly(size + TAG_BYTES))
            if piece is None:
                raise VerificationError("store.corrupt", table=_NAME)
            yield piece

    def _exactly(self, size: int) -> bytes:
        """Read so many bytes; fewer where the file ends."""
        found = bytearray()
        try:
            while len(found) < size and (part := self._file.read(size - len(found))):
                found += part
        except OSError as error:
            raise disk_fault(error, _NAME) from error
        return bytes(found)


def _sealed_file(folder: Path, opened: ExitStack) -> _SealedFile:
    """Make a file without a name, which is gone once it is closed."""
    try:
        return _SealedFile(opened.enter_context(tempfile.TemporaryFile(dir=folder, buffering=0)))
    except OSError as error:
        raise disk_fault(error, _NAME) from error
