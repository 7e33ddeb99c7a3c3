"""A disk that loses its power: what was not synced by then is gone, or there in part.

The work runs in a process of its own, in which `fsync` is ours, of Python and of SQLite's library alike. Each call
copies what the system promises from then on to a folder beside, the platter: a file's content by its inode, a folder's
names. The process is killed in front of the n-th call, and folders are made of what the disk may hold when it is
switched on again. The system is the judge of nothing here: what was only written may be whole, missing, or torn.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import random  # noqa: TID251  # which sectors a disk keeps, the same in every run
import shutil
import signal
import stat
import struct
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from urllib.parse import quote, unquote

import sqlcipher3

from tests.new_databases import make_anew

SECTOR_BYTES = 512
RELOCATION = struct.Struct("<QQq")
SYMBOL = struct.Struct("<IBBHQQ")
DYNAMIC = struct.Struct("<qQ")
JUMP_RELOCATIONS, JUMP_BYTES, STRINGS, SYMBOLS = 23, 2, 5, 6

Promise = Callable[[str], None]


@dataclass
class Cut:
    """What is left of a power cut.

    Attributes:
        folder: what the disk holds.
        promised: what the work had promised by then, in order.
        name: which outcome of which cut, for messages.
    """

    folder: Path
    promised: list[str]
    name: str


def cuts(
    tmp_path: Path, work: Callable[[Path, Promise], None], *, first: int = 1, step: int = 1, torn: int = 3
) -> Iterator[Cut]:
    """Cut the power in front of syncs of some work, and once when all of it is done.

    Args:
        tmp_path: empty folder.
        work: done in the folder that it is given, in a process of its own; tells what it has promised to somebody.
        first: call to cut in front of at first.
        step: how many calls lie between a cut and the next.
        torn: how many mixes of what was synced and what was written; without any, no files one by one either.

    Yields:
        Each outcome of each cut, in a folder that is gone with the next.
    """
    call = first
    while True:
        disk = Disk(tmp_path / "live", tmp_path / "platter", call)
        promised, is_done = disk.run(work)
        for name, content in disk.outcomes(torn):
            folder = tmp_path / "after"
            write(folder, content)
            yield Cut(folder, promised, f"call {call}, {name}")
            shutil.rmtree(folder)
        shutil.rmtree(tmp_path / "live")
        shutil.rmtree(tmp_path / "platter")
        if is_done:
            return
        call += step


@dataclass
class Disk:
    """A folder, and what of it has reached the platter."""

    folder: Path
    platter: Path
    die_at: int
    calls: int = 0
    _lock: RLock = field(default_factory=RLock)

    def run(self, work: Callable[[Path, Promise], None]) -> tuple[list[str], bool]:
        """Do the work in a process that dies; returns what it promised, and whether it had done all."""
        for path in (self.folder, self.platter, self.platter / "files", self.platter / "folders"):
            path.mkdir()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                hook(self)
                work(self.folder, lambda text: os.write(writing, text.encode() + b"\n"))
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        with os.fdopen(reading) as promises:
            promised = promises.read().splitlines()
        _, status = os.waitpid(child, 0)
        assert status in (0, signal.SIGKILL), status
        return promised, status == 0

    def sync(self, descriptor: int) -> None:
        """Take what a descriptor stands for to the platter, or die in front of it."""
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if not path.is_relative_to(self.folder):
            return
        with self._lock:
            self.calls += 1
            if self.calls == self.die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode):
                names = {item.name: item.lstat().st_ino for item in path.iterdir() if is_on_disk(item)}
                self._put(
                    "folders", quote(str(path.relative_to(self.folder)) + "/", safe=""), json.dumps(names).encode()
                )
            else:
                self._put("files", str(found.st_ino), Path(f"/proc/self/fd/{descriptor}").read_bytes())

    def outcomes(self, mixes: int) -> Iterator[tuple[str, dict[str, bytes]]]:
        """Say what the disk may hold: all that was written (the process was killed, and no more), or less."""
        kept, written = self._kept(), self._written()
        yield "killed", written.content()
        yield "nothing unsynced", kept.content()
        old, new = kept.content(), written.content()
        changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        for name in changed:
            if mixes and name in new:
                yield f"{name} as written", {**old, name: new[name]}
        for seed in range(mixes if changed else 0):
            yield f"torn {seed}", torn(kept, written, random.Random(seed))  # noqa: S311  # no secret

    def _put(self, kind: str, name: str, content: bytes) -> None:
        self.platter.joinpath(kind, name).write_bytes(content)

    def _kept(self) -> Holding:
        """Read what was synced. A folder that never was has no names, a file that never was no content."""
        held = Holding()
        for listing in self.platter.joinpath("folders").iterdir():
            for name, inode in json.loads(listing.read_bytes()).items():
                held.names[os.path.normpath(unquote(listing.name) + name)] = inode
        for file in self.platter.joinpath("files").iterdir():
            held.data[int(file.name)] = file.read_bytes()
        return held

    def _written(self) -> Holding:
        """Read what was written, synced or not."""
        held = Holding()
        for path in self.folder.rglob("*"):
            if is_on_disk(path):
                inode = path.stat().st_ino
                held.names[str(path.relative_to(self.folder))] = inode
                held.data[inode] = path.read_bytes()
        return held


@dataclass
class Holding:
    """What a disk holds: relative name → inode, inode → content."""

    names: dict[str, int] = field(default_factory=dict)
    data: dict[int, bytes] = field(default_factory=dict)

    def content(self) -> dict[str, bytes]:
        """Return relative name → content."""
        return {name: self.data.get(inode, b"") for name, inode in self.names.items()}


def is_on_disk(path: Path) -> bool:
    """Tell whether a file outlives its processes; SQLite's shared memory is made anew by the first that comes."""
    return path.is_file() and not path.name.endswith("-shm")


def torn(kept: Holding, written: Holding, chance: random.Random) -> dict[str, bytes]:
    """Mix both: each name leads where it led or where it leads now, each file has sectors of both of its contents."""
    made = {}
    for name in sorted(kept.names.keys() | written.names.keys()):
        inode = chance.choice([kept.names.get(name), written.names.get(name)])
        if inode is None:
            continue
        old = kept.data.get(inode, b"")
        new = written.data.get(inode, old)
        size = chance.choice([len(old), len(new)])
        sectors = []
        for start in range(0, size, SECTOR_BYTES):
            wide = min(SECTOR_BYTES, size - start)
            sectors.append(chance.choice([old, new])[start : start + wide].ljust(wide, b"\0"))
        made[name] = b"".join(sectors)
    return made


def write(folder: Path, content: dict[str, bytes]) -> None:
    """Make a folder of files."""
    folder.mkdir()
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o600)


def hook(disk: Disk) -> None:
    """Put a disk between this process and its system: Python's calls, and those of SQLite's library."""

    def synced(descriptor: int) -> int:
        try:
            disk.sync(descriptor)
        except BaseException:  # noqa: BLE001  # nothing can be raised through the library
            traceback.print_exc()
            os._exit(1)
        return 0

    def synced_file(descriptor: int) -> None:
        disk.sync(descriptor)

    # How a file is made is cut as well.
    make_anew()
    os.fsync = os.fdatasync = synced_file
    replace_in_library(Path(sqlcipher3.dbapi2.__file__).parent, "fsync", synced)


def replace_in_library(folder: Path, name: str, function: Callable[[int], int]) -> None:
    """Have a loaded library call ours in place of the system's function of one descriptor.

    Args:
        folder: where the library lies; there is one.
        name: of the function.
        function: ours.
    """
    (library,) = folder.glob("_sqlite3*.so")
    base = next(
        int(line.split("-")[0], 16)
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(str(library.resolve())) and line.split()[2] == "00000000"
    )
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(function)
    _kept_alive.append(callback)
    slots = [base + offset for offset, symbol in jump_slots(library) if symbol == name]
    assert slots, name
    system = ctypes.CDLL(None)
    for slot in slots:
        page = slot - slot % mmap.PAGESIZE
        assert system.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(2 * mmap.PAGESIZE), 3) == 0
        ctypes.c_void_p.from_address(slot).value = ctypes.cast(callback, ctypes.c_void_p).value


def jump_slots(library: Path) -> Iterator[tuple[int, str]]:
    """List a library's slots for functions of others: offset, name (ELF 64, little-endian, as our wheels are)."""
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        assert raw[:6] == b"\x7fELF\x02\x01"
        table, entry, count = struct.unpack_from("<Q", raw, 32)[0], *struct.unpack_from("<HH", raw, 54)
        segments = [struct.unpack_from("<IIQQQQQQ", raw, table + number * entry) for number in range(count)]

        def place(address: int) -> int:
            """Find an address of the loaded library in its file."""
            return next(
                address - vaddr + offset
                for kind, _, offset, vaddr, _, size, _, _ in segments
                if kind == 1 and vaddr <= address < vaddr + size
            )

        dynamic = next(segment for segment in segments if segment[0] == 2)
        tags = dict(DYNAMIC.iter_unpack(raw[dynamic[2] : dynamic[2] + dynamic[5]]))
        start, strings, symbols = place(tags[JUMP_RELOCATIONS]), place(tags[STRINGS]), place(tags[SYMBOLS])
        for offset, info, _ in RELOCATION.iter_unpack(raw[start : start + tags[JUMP_BYTES]]):
            name = strings + SYMBOL.unpack_from(raw, symbols + (info >> 32) * SYMBOL.size)[0]
            yield offset, raw[name : raw.find(b"\0", name)].decode()


_kept_alive: list[object] = []
