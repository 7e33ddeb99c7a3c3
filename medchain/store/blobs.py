"""Large sealed envelopes as files of their own beside the records file: written whole, named in a row, or collected.

A file is written under another name, synced, and gets its name; only then its row is stored, in the transaction of the
record and its intent. Its writer holds a lock on it from the first byte until that transaction has ended; whoever ends
earlier, killed or not, leaves an unlocked file that no row names, and `BlobStore.sweep` removes it. Keeps true: a blob
that a row names is whole and on the disk; a file that somebody still writes is never removed, however long it takes.
Trusts the folder for availability only: blobs are sealed before they come here.
Source: `docs/spec/store.md`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from medchain.errors import UnavailableError
from medchain.store.faults import corrupt

NAME_BYTES: Final = 16
"""Size of a blob's random name."""

PIECE_BYTES: Final = 1 << 18
"""How much of a blob is read at once."""

_TABLE: Final = "blob"
_PARTIAL: Final = ".partial"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class NewBlob:
    """A blob that is being written. One thread uses it.

    Attributes:
        name: 16 random bytes.
        size: bytes written.
    """

    __slots__ = ("_descriptor", "_path", "is_finished", "name", "size")

    def __init__(self, name: bytes, path: Path, descriptor: int) -> None:
        """Use a file that is open and locked."""
        self.name = name
        self.size = 0
        self.is_finished = False
        self._path = path
        self._descriptor = descriptor

    def write(self, piece: bytes) -> None:
        """Append; raises `UnavailableError` ``store.full`` or ``store.io``."""
        with _translated():
            left = memoryview(piece)
            while left:
                left = left[os.write(self._descriptor, left) :]
        self.size += len(piece)

    def finish(self) -> None:
        """Make it durable and give it its name; raises as `write`."""
        with _translated():
            os.fsync(self._descriptor)
            _partial(self._path).rename(self._path)
            _sync(self._path.parent)
        self.is_finished = True


class BlobStore:
    """The folder of a node's blobs. Threads and processes may share it."""

    __slots__ = ("_folder",)

    def __init__(self, folder: Path) -> None:
        """Use a folder; it is made when it is needed."""
        self._folder = folder

    @contextmanager
    def writing(self) -> Iterator[NewBlob]:
        """Give a new blob, locked until the block ends: its row must be stored within.

        A blob that was not finished is removed at the end. One that was stays, since a failed commit may have been
        kept all the same; if no row names it, it is swept.

        Raises:
            UnavailableError: ``store.full`` or ``store.io``.
        """
        with _translated():
            name, path, descriptor = self._create()
        blob = NewBlob(name, path, descriptor)
        try:
            yield blob
        finally:
            if not blob.is_finished:
                _partial(path).unlink(missing_ok=True)
            os.close(descriptor)

    def pieces(self, name: bytes, size: int) -> Iterator[bytes]:
        """Read a blob piece by piece.

        Args:
            name: 16 bytes.
            size: how large it is.

        Yields:
            Its bytes.

        Raises:
            VerificationError: ``store.corrupt``, table ``blob``, for one that is absent or has another size.
            UnavailableError: ``store.io``.
        """
        with _translated():
            try:
                descriptor = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise corrupt(_TABLE, name) from None
        try:
            with _translated():
                found = os.fstat(descriptor).st_size
            if found != size:
                raise corrupt(_TABLE, name)
            while piece := _read(descriptor):
                yield piece
        finally:
            os.close(descriptor)

    def has(self, name: bytes, size: int) -> bool:
        """Tell whether a blob is there with its size."""
        try:
            return self._path(name).stat().st_size == size
        except FileNotFoundError:
            return False

    def copy(self, name: bytes, folder: Path) -> None:
        """Copy a blob into the folder of another store, durably; raises as `pieces`."""
        target = BlobStore(folder)._path(name)  # noqa: SLF001  # of this class
        with _translated():
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            size = self._path(name).stat().st_size if self._path(name).exists() else -1
            with os.fdopen(os.open(target, _NEW, 0o600), "wb") as file:
                for piece in self.pieces(name, size):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            _sync(target.parent)

    def sweep(self, is_wanted: Callable[[bytes], bool]) -> int:
        """Remove what nobody writes any more and no row names.

        Args:
            is_wanted: tells whether a row names a blob whose key is not destroyed; asked while the blob is locked.

        Returns:
            How many were removed.

        Raises:
            MedchainError: what `is_wanted` raises; ``store.io``.
        """
        removed = 0
        for path in sorted(self._folder.glob("*/*")):
            name = _name_of(path)
            if name is None:
                continue
            with _translated():
                try:
                    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                except FileNotFoundError:
                    continue
            try:
                if _locks(descriptor) and (path.suffix == _PARTIAL or not is_wanted(name)):
                    path.unlink(missing_ok=True)
                    removed += 1
            finally:
                os.close(descriptor)
        return removed

    def _create(self) -> tuple[bytes, Path, int]:
        """Create a file and lock it, before a sweep of another process can take it for left behind."""
        while True:
            name = secrets.token_bytes(NAME_BYTES)
            path = self._path(name)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _sync(self._folder)
            descriptor = os.open(_partial(path), _NEW, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return name, path, descriptor
            os.close(descriptor)

    def _path(self, name: bytes) -> Path:
        """Say where a blob lies: 256 folders, so that none becomes long."""
        text = name.hex()
        return self._folder / text[:2] / text


_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def _partial(path: Path) -> Path:
    """Return the name that a blob has before it is finished."""
    return path.with_name(path.name + _PARTIAL)


def _name_of(path: Path) -> bytes | None:
    """Read a blob's name from its path; None for what is no blob."""
    try:
        name = bytes.fromhex(path.name.removesuffix(_PARTIAL))
    except ValueError:
        return None
    return name if len(name) == NAME_BYTES else None


def _locks(descriptor: int) -> bool:
    """Lock a file, if nobody else has."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(descriptor: int) -> bytes:
    """Read the next piece."""
    with _translated():
        return os.read(descriptor, PIECE_BYTES)


def _sync(folder: Path) -> None:
    """Make a folder's names durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated() -> Iterator[None]:
    """Raise our errors for the system's."""
    try:
        yield
    except OSError as error:
        raise UnavailableError("store.full" if error.errno in _FULL else "store.io", table=_TABLE) from error
