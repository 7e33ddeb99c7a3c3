"""Journals: sealed frames that are on the disk before an answer leaves, at the cost of one write.

A read of a record must leave a trace before its answer does, and a synced transaction a read would cost more than the
read. Keeps true: what `append` has returned from survives the death of the process, and a power loss after the next
`sync`; frames are read in their order, each once a reader keeps its place; a frame that was changed, moved or repeated
is found. Trusts libsodium, and the folder for nothing but availability.
Source: `docs/spec/journal.md`.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from medchain.crypto.frames import open_frame, seal_frame
from medchain.crypto.keywrap import derive
from medchain.crypto.xchacha import TAG_BYTES
from medchain.errors import InputError, UnavailableError, VerificationError
from medchain.store.faults import FULL, disk_fault

MAX_CONTENT_BYTES: Final = 60_000
"""Largest content of a frame."""

MAX_FILE_BYTES: Final = 8 << 20
"""Size beyond which a writer begins another file."""

SUFFIX: Final = ".journal"
"""How the names of journals end."""

_MAGIC: Final = b"MCJ1"
_ID_BYTES: Final = 16
_HEADER_BYTES: Final = len(_MAGIC) + _ID_BYTES
_LENGTH_BYTES: Final = 4
_MAX_LENGTH: Final = 1 << 16
_END: Final = b""
_TABLE: Final = "journal"
_MANY: Final = 1000
# At once: a few frames of the largest size, hundreds of usual ones.
_READ_BYTES: Final = 8 * _MAX_LENGTH


class Frame(NamedTuple):
    """One frame that was read.

    Attributes:
        content: as it was appended.
        place: where the next one begins.
    """

    content: bytes
    place: Place


class Place(NamedTuple):
    """Where a frame begins: what a reader keeps.

    Attributes:
        offset: in the file.
        number: of the frame, from 0.
    """

    offset: int = _HEADER_BYTES
    number: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a journal holds from a place on.

    Attributes:
        name: of the file.
        frames: whole frames, in order.
        is_ended: whether nothing will follow: the file may be removed once its frames are kept.
        torn: bytes at the end that a crash cut off, 0 for none.
        is_closed: whether its writer ended it: what was begun in it was done, too.
    """

    name: str
    frames: tuple[Frame, ...]
    is_ended: bool
    torn: int
    is_closed: bool = False


class Begun(NamedTuple):
    """Something that was begun and is not done.

    Attributes:
        file: in which it is told how it ended.
        number: of the frame by which it began.
    """

    file: _Writing
    number: int


class Journal:
    """The journal of one process. Threads may share it."""

    def __init__(self, folder: Path, key: bytes) -> None:
        """Begin a file, on a full disk once there is room: until then what is appended is refused.

        Raises:
            UnavailableError: ``store.io``.
        """
        self._folder = folder
        self._key = key
        self._lock = threading.Lock()
        self._file: _Writing | None = None
        try:
            self._current()
        except UnavailableError as error:
            if error.code != FULL:
                raise
        # Full, and something that was begun in them is not done.
        self._retired: list[_Writing] = []
        self._unsynced: list[_Writing] = []

    def append(self, content: bytes, begun: Begun | None = None) -> None:
        """Write a frame; when this returns, the death of this process does not lose it.

        Args:
            content: 1 to `MAX_CONTENT_BYTES` bytes.
            begun: what it is about, where that was begun in a frame of its own: it goes into the same file.

        Raises:
            InputError: ``journal.size``.
            UnavailableError: ``store.full``, ``store.io``; what was to be answered must not be.
        """
        _check_size(content)
        with self._lock:
            self._write(self._current() if begun is None else begun.file, content)

    def begin(self, content: bytes) -> Begun:
        """Write a frame of something that is about to be done, and must be followed by `done`.

        Args:
            content: as for `append`, whose errors this raises.

        Returns:
            What `append` and `done` take.
        """
        _check_size(content)
        with self._lock:
            file = self._current()
            self._write(file, content)
            begun = Begun(file, file.number - 1)
            file.undone.add(begun.number)
            return begun

    def done(self, begun: Begun, *, told: bool) -> None:
        """End what was begun.

        Args:
            begun: from `begin`.
            told: whether a frame says how it ended. Where none could be written, the file gets no end frame, as after
                a crash, so that its reader asks what was left open.
        """
        with self._lock:
            begun.file.undone.discard(begun.number)
            begun.file.is_whole &= told
            if begun.file is not self._file and not begun.file.undone:
                self._retired.remove(begun.file)
                self._end(begun.file)

    def sync(self) -> None:
        """Make what was appended survive a power loss; raises `UnavailableError` ``store.full``, ``store.io``."""
        with self._lock:
            due = list(self._unsynced)
        fault = None
        for file in due:
            try:
                self._sync_one(file)
            except UnavailableError as error:
                fault = error
        if fault is not None:
            raise fault

    def _sync_one(self, file: _Writing) -> None:
        """Sync one under a descriptor of its own: it may end meanwhile, and who appends does not wait for the disk."""
        with self._lock:
            if file not in self._unsynced:
                return
            descriptor = file.held()
            self._unsynced.remove(file)
        try:
            _sync(descriptor)
        except UnavailableError:
            with self._lock:
                if file.is_open and file not in self._unsynced:
                    self._unsynced.append(file)
            raise
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """End the files and leave them to the reader."""
        with self._lock:
            for file in (*self._retired, self._file):
                if file is not None:
                    self._end(file)

    def _current(self) -> _Writing:
        """Return the file for new frames: another one where it has grown too large, or takes no more."""
        file = self._file
        if file is not None and file.size <= MAX_FILE_BYTES and not file.is_spent:
            return file
        self._file = _Writing(self._folder, self._key)
        if file is not None:
            if file.undone:
                self._retired.append(file)
            else:
                self._end(file)
        return self._file

    def _end(self, file: _Writing) -> None:
        """End a file."""
        if file in self._unsynced:
            self._unsynced.remove(file)
        file.end()

    def _write(self, file: _Writing, content: bytes) -> None:
        """Write a frame, to be synced."""
        if file not in self._unsynced:
            self._unsynced.append(file)
        file.write(content)


class _Writing:
    """A file that is being written, locked as long as it is open.

    Attributes:
        number: of the next frame.
        undone: numbers of the frames by which something began that has not ended.
        is_whole: whether all that ended is told.
        is_open: whether it is.
        is_spent: whether it takes no more frames, since a part of one was written: another frame would have that one's
            nonce, and whoever has copies of the disk could tell how the two differ.
        size: bytes of its frames and header.
    """

    def __init__(self, folder: Path, key: bytes) -> None:
        identity = secrets.token_bytes(_ID_BYTES)
        self._key = _file_key(key, identity)
        self._prefix = _MAGIC + identity
        self.number = 0
        self.undone: set[int] = set()
        self.is_whole = self.is_open = True
        self.is_spent = False
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        path = folder / f"{identity.hex()}{SUFFIX}"
        try:
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise disk_fault(error, _TABLE) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_whole(self._descriptor, self._prefix)
            sync_folder(folder)
        except OSError as error:
            # Nobody knows of it, and a full disk would have one more at each attempt.
            with suppress(OSError):
                path.unlink()
            os.close(self._descriptor)
            raise disk_fault(error, _TABLE) from error
        self.size = _HEADER_BYTES

    def write(self, content: bytes) -> None:
        """Write one frame; a part of one, as on a full disk, is taken back, and is the last."""
        if self.is_spent:
            raise UnavailableError("store.io", table=_TABLE)
        frame = _seal(self._key, self._prefix, self.number, content)
        try:
            self._write_all(frame)
        except OSError as error:
            raise disk_fault(error, _TABLE) from error
        self.size += len(frame)
        self.number += 1

    def _write_all(self, frame: bytes) -> None:
        """Write a frame, or nothing of it."""
        try:
            _write_whole(self._descriptor, frame)
        except OSError:
            if os.fstat(self._descriptor).st_size > self.size:
                self.is_spent = True
                os.ftruncate(self._descriptor, self.size)
            raise

    def held(self) -> int:
        """Return one more descriptor of the file, to be closed by the caller; the file stays locked as long."""
        try:
            return os.dup(self._descriptor)
        except OSError as error:
            raise disk_fault(error, _TABLE) from error

    def end(self) -> None:
        """End the file, and let go of its lock; with an end frame where all that was begun is told."""
        try:
            if self.is_whole and not self.undone and not self.is_spent:
                self.write(_END)
            _sync(self._descriptor)
        finally:
            self.is_open = False
            os.close(self._descriptor)


def _write_whole(descriptor: int, data: bytes) -> None:
    """Write in one call; where a part was written only, the next call tells why."""
    written = 0
    while written < len(data):
        written += os.write(descriptor, data[written:])


def _sync(descriptor: int) -> None:
    """Sync what was written to a file."""
    try:
        os.fdatasync(descriptor)
    except OSError as error:
        raise disk_fault(error, _TABLE) from error


def names(folder: Path) -> list[str]:
    """List the journals of a folder, those of living processes too."""
    return sorted(path.name for path in folder.glob(f"*{SUFFIX}"))


def sizes(folder: Path) -> dict[str, int]:
    """Tell how many bytes each journal of a folder has; what is appended later lies behind them."""
    found = {}
    for name in names(folder):
        # Another process may have removed one meanwhile.
        with suppress(FileNotFoundError):
            found[name] = (folder / name).stat().st_size
    return found


def read(folder: Path, name: str, key: bytes, place: Place, limit: int) -> Reading:
    """Read a journal from a place on.

    Args:
        folder: of the journals.
        name: of the file, as `names` gives it.
        key: 32 bytes, that of the writer.
        place: `Place()` for the beginning, else the place of the last frame that was kept.
        limit: most frames.

    Returns:
        What was read.

    Raises:
        VerificationError: ``journal.damaged`` with file and offset.
        UnavailableError: ``store.full``, ``store.io``.
    """
    try:
        # Whether the writer lives is asked first: what it wrote before it died is then all there.
        is_alive = _is_locked(folder / name)
        with (folder / name).open("rb") as file:
            prefix = file.read(_HEADER_BYTES)
            file.seek(place.offset)
            data = file.read(_READ_BYTES)
    except OSError as error:
        raise disk_fault(error, _TABLE) from error
    if len(prefix) < _HEADER_BYTES:
        # Its writer died, or is about to write, before a first frame.
        return Reading(name, (), not is_alive, 0 if is_alive else len(prefix))
    if prefix[: len(_MAGIC)] != _MAGIC or name != f"{prefix[len(_MAGIC) :].hex()}{SUFFIX}":
        raise VerificationError("journal.damaged", file=name, offset=0)
    opened = _Opened(name, _file_key(key, prefix[len(_MAGIC) :]), prefix, data, place)
    frames = list(_up_to(opened, limit))
    if opened.is_ended or len(frames) == limit:
        return Reading(name, tuple(frames), opened.is_ended, 0, is_closed=opened.is_ended)
    if frames and len(data) == _READ_BYTES:
        return Reading(name, tuple(frames), is_ended=False, torn=0)
    rest = len(data) - (opened.place.offset - place.offset)
    if rest and opened.is_damaged():
        raise VerificationError("journal.damaged", file=name, offset=opened.place.offset)
    return Reading(name, tuple(frames), not is_alive, 0 if is_alive else rest)


def read_all(folder: Path, name: str, key: bytes) -> Iterator[Frame]:
    """Read all whole frames of a journal from its beginning; arguments and errors as `read` has them."""
    place = Place()
    while frames := read(folder, name, key, place, _MANY).frames:
        yield from frames
        place = frames[-1].place


class HeldJournals:
    """Journals as they were at one moment, to be copied later: whatever is appended, or removed by their reader."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        """Hold none yet."""
        self._held: list[tuple[str, int, int]] = []

    def hold(self, folder: Path) -> None:
        """Hold those of a folder, each up to its size of now; raises `OSError`."""
        for name in names(folder):
            # One that its reader has removed meanwhile was taken whole.
            with suppress(FileNotFoundError):
                descriptor = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC)
                self._held.append((name, descriptor, os.fstat(descriptor).st_size))

    def copy(self, folder: Path) -> None:
        """Write them into a new folder, readable by its owner only; raises `OSError`."""
        folder.mkdir(mode=0o700)
        for name, descriptor, size in self._held:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(folder / name, flags, 0o600), "wb") as file:
                for at in range(0, size, _READ_BYTES):
                    file.write(os.pread(descriptor, min(_READ_BYTES, size - at), at))

    def close(self) -> None:
        """Let go of them."""
        for _, descriptor, _ in self._held:
            os.close(descriptor)
        self._held.clear()


def remove(folder: Path, name: str) -> None:
    """Remove a journal of which everything was taken."""
    (folder / name).unlink(missing_ok=True)


class _Opened:
    """The bytes of a journal from a place on."""

    def __init__(self, name: str, key: bytes, prefix: bytes, data: bytes, place: Place) -> None:
        self._name = name
        self._key = key
        self._prefix = prefix
        self._data = data
        self._start = place.offset
        self.place = place
        self.is_ended = False

    def next(self) -> bytes | None:
        """Open the next frame; None where no whole one begins that opens."""
        at = self.place.offset - self._start
        found = self._frame(at, self.place.number)
        if found is None:
            return None
        self.is_ended = found == _END
        length = int.from_bytes(self._data[at : at + _LENGTH_BYTES], "big")
        self.place = Place(self.place.offset + _LENGTH_BYTES + length, self.place.number + 1)
        return found

    def is_damaged(self) -> bool:
        """Tell whether a frame follows the one that does not open: a crash cuts off the last one only."""
        at = self.place.offset - self._start
        length = int.from_bytes(self._data[at : at + _LENGTH_BYTES], "big")
        return self._frame(at + _LENGTH_BYTES + length, self.place.number + 1) is not None

    def _frame(self, at: int, number: int) -> bytes | None:
        """Open the frame that begins somewhere."""
        head = self._data[at : at + _LENGTH_BYTES]
        length = int.from_bytes(head, "big")
        sealed = self._data[at + _LENGTH_BYTES : at + _LENGTH_BYTES + length]
        if len(head) < _LENGTH_BYTES or not TAG_BYTES <= length <= _MAX_LENGTH or len(sealed) < length:
            return None
        return open_frame(self._key, number, self._prefix + head, sealed)


def _up_to(opened: _Opened, limit: int) -> Iterator[Frame]:
    """Walk through whole frames, the end frame apart."""
    for _ in range(limit):
        content = opened.next()
        if content is None or opened.is_ended:
            return
        yield Frame(content, opened.place)


def _check_size(content: bytes) -> None:
    """Refuse what is no content of a frame."""
    if not 0 < len(content) <= MAX_CONTENT_BYTES:
        raise InputError("journal.size", limit=MAX_CONTENT_BYTES)


def _seal(key: bytes, prefix: bytes, number: int, content: bytes) -> bytes:
    """Make a frame."""
    head = (len(content) + TAG_BYTES).to_bytes(_LENGTH_BYTES, "big")
    return head + seal_frame(key, number, prefix + head, content)


def _file_key(key: bytes, identity: bytes) -> bytes:
    """Derive the key of one file."""
    return derive(key, f"journal/{identity.hex()}")


def _is_locked(path: Path) -> bool:
    """Tell whether a living process writes a file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power loss: a new file's, or a new folder's."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
