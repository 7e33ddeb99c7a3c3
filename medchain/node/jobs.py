"""Worker processes for heavy work: large transactions and imports run there, not in the threads of web workers.

Each job runs in a process that a `medchain.node.fork_server` has forked, which gets the web half of the root key
through its pipe, does one job at a time, and ends when it idles, when it has grown large, or when nobody is there who
reads what it writes. Keeps true: a node has no more of them than it has places, over all its web workers, since each
holds a lock for as long as it lives; the memory of each is bounded by the system; a job whose process dies is told as
such, and what it was storing is stored whole or not at all, by the store. Trusts the module that the server has loaded.
Source: `docs/adr/0019-jobs-in-processes.md`, `docs/adr/0032-job-processes-are-forked.md`.
"""

from __future__ import annotations

import fcntl
import gc
import os
import resource
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from medchain.encoding import Json, canonical, members, parse_canonical
from medchain.errors import (
    InputError,
    MedchainError,
    UnavailableError,
    error_of,
    kind_of,
)
from medchain.node.fork_server import ForkServer, end_unheard
from medchain.node.garbage import give_back, settle

IDLE_S: Final = 5.0
"""How long a process waits for its next job before it ends and gives its memory back."""

WAIT_S: Final = 30.0
"""How long a job waits for a place."""

START_S: Final = 120.0
"""How long a process may take until it is ready: the first of a server that is a program of its own waits for it to
load, on a machine that may have much else to do."""

MEMORY_BYTES: Final = 768 << 20
"""Most memory that a process may have for its data."""

LARGE_BYTES: Final = 256 << 20
"""Who has had so much ends after its job."""

_ASK: Final = b"?"
_READY: Final = b"!"
_LENGTH_BYTES: Final = 8
_STDIN: Final = 0
_STDOUT: Final = 1
_MAX_HEADER_BYTES: Final = 16 << 20
_POLL_S: Final = 0.05

Handler = Callable[[Json, bytes], tuple[Json, bytes]]
"""What a process does with a job: its document and content → those of the answer."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """What came of a job.

    Attributes:
        document: of the answer.
        content: of the answer.
    """

    document: Json
    content: bytes


class JobPool:
    """Runs jobs in processes, as many at once as there are places. Threads may share it."""

    def __init__(self, server: ForkServer, arguments: tuple[str, ...], secret: bytes, places: Path, count: int) -> None:
        """Prepare; no process is started yet.

        Args:
            server: forks the processes; closed by whoever made it.
            arguments: of its module's `main`.
            secret: handed to it through its pipe, before anything else.
            places: path of the lock files, without their number; shared by all pools of a node.
            count: how many places there are.
        """
        self._server = server
        self._arguments = arguments
        self._secret = secret
        self._places = places
        self._count = count
        self._lock = threading.Lock()
        self._idle: list[_Process] = []

    def run(self, document: Json, content: Iterable[bytes] = ()) -> JobResult:
        """Run a job.

        Args:
            document: what is to be done.
            content: more of it, piece by piece.

        Returns:
            Its result.

        Raises:
            UnavailableError: ``job.busy`` if no place came free in time; ``job.died`` if its process ended before it
                had answered.
            MedchainError: what the job raised.
        """
        with self._process() as process:
            return process.run(document, content)

    def close(self) -> None:
        """End the processes that wait for work."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.end()

    @contextmanager
    def _process(self) -> Iterator[_Process]:
        """Give a process that is ready; it is kept afterwards unless something went wrong with it."""
        process = self._ready() or self._start()
        try:
            yield process
        finally:
            if process.is_sound:
                with self._lock:
                    self._idle.append(process)
            else:
                process.end()

    def _ready(self) -> _Process | None:
        """Take a process that waits and still lives."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                process = self._idle.pop()
            if process.ask():
                return process
            process.end()

    def _start(self) -> _Process:
        """Start a process as soon as there is a place."""
        deadline = time.monotonic() + WAIT_S
        while True:
            place = self._place()
            if place is not None:
                process = _Process(self._server, self._arguments, self._secret, place)
                if process.ask():
                    return process
                process.end()
                raise UnavailableError("job.died")
            ready = self._ready()
            if ready is not None:
                return ready
            if time.monotonic() >= deadline:
                raise UnavailableError("job.busy", retry_after_s=5)
            time.sleep(_POLL_S)

    def _place(self) -> int | None:
        """Lock a place that is free; returns the lock's descriptor."""
        for number in range(self._count):
            path = self._places.with_name(f"{self._places.name}-{number}.lock")
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                return descriptor
        return None


class _Process:
    """A process and its pipes. One thread uses it at a time."""

    def __init__(self, server: ForkServer, arguments: tuple[str, ...], secret: bytes, place: int) -> None:
        """Start it; it has the lock of its place and so holds it until it ends, whatever becomes of us."""
        try:
            self._in, self._out = server.start(arguments, place)
        finally:
            os.close(place)
        self.is_sound = self._say(secret + b"\n")

    def ask(self) -> bool:
        """See whether it is there and ready."""
        # Nothing of it has been read ahead: it says nothing unasked.
        is_answering = self._say(_ASK) and _comes(self._out)
        self.is_sound = is_answering and self._out.read(1) == _READY
        return self.is_sound

    def run(self, document: Json, content: Iterable[bytes]) -> JobResult:
        """Hand a job over and wait for its answer; see `JobPool.run`."""
        self.is_sound = False
        try:
            _write_frames(self._in, document, content)
            header, body = _read_frames(self._out)
        except (OSError, EOFError) as error:
            raise UnavailableError("job.died") from error
        top = members(header, {"error": dict, "last": bool, "result": dict})
        self.is_sound = top["last"] is False
        if top["error"]:
            raise _error(top["error"])
        return JobResult(top["result"], body)

    def end(self) -> None:
        """End it, if it has not by itself: nobody reads it any more."""
        for pipe in (self._out, self._in):
            try:
                pipe.close()
            except OSError:
                # What was never read by a dead process.
                continue

    def _say(self, data: bytes) -> bool:
        """Write, and tell whether it could be."""
        try:
            self._in.write(data)
            self._in.flush()
        except OSError:
            return False
        return True


def _comes(pipe: IO[bytes]) -> bool:
    """Wait until there is something to read, or the end; not with select, which knows no descriptor above 1023."""
    waiting = select.poll()
    waiting.register(pipe, select.POLLIN)
    return bool(waiting.poll(START_S * 1000))


def serve(handler: Handler) -> None:
    """Do jobs until there is none for `IDLE_S`; called by the module that a server runs, after it read its secret.

    Args:
        handler: does a job. What it raises is answered; so is a lack of memory, ``job.memory``.
    """
    settle()
    # What a job makes goes as soon as nobody holds it; what is in cycles goes between jobs, when nobody waits.
    gc.disable()
    # Unbuffered: what a select does not see must not lie in a buffer.
    pipe_in: IO[bytes] = os.fdopen(_STDIN, "rb", buffering=0, closefd=False)
    pipe_out: IO[bytes] = os.fdopen(_STDOUT, "wb", closefd=False)
    while select.select([pipe_in], [], [], IDLE_S)[0] and pipe_in.read(1) == _ASK:
        pipe_out.write(_READY)
        pipe_out.flush()
        if not _serve_one(handler, pipe_in, pipe_out):
            return
        give_back()


def _serve_one(handler: Handler, pipe_in: IO[bytes], pipe_out: IO[bytes]) -> bool:
    """Do a job, and hold nothing of it afterwards; tells whether this process may do another."""
    try:
        document, content = _read_frames(pipe_in)
    except EOFError:
        # Whoever asked has given up, as where a client goes in the middle of its Bundle.
        return False
    result: Json = {}
    error: Json = {}
    body, is_whole = b"", True
    try:
        result, body = handler(document, content)
    except MedchainError as caught:
        error = _error_document(caught)
    except MemoryError:
        error = _error_document(InputError("job.memory"))
        is_whole = False
    is_last = not is_whole or _peak_bytes() > LARGE_BYTES
    _write_frames(pipe_out, {"error": error, "last": is_last, "result": result}, [body])
    return not is_last


def bound() -> None:
    """Bound this process's memory, and end it with who asked for it; called by the module that a server runs, first."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    end_unheard()


def read_secret() -> bytes:
    """Read what a pool hands over first; the pipe is not read further than that."""
    secret = bytearray()
    while (byte := os.read(_STDIN, 1)) not in {b"", b"\n"}:
        secret += byte
    return bytes(secret)


def _peak_bytes() -> int:
    """Tell how much memory this process has had; not from getrusage, which counts what its parent had as well."""
    with Path("/proc/self/status").open("rb") as file:
        lines = [line for line in file if line.startswith(b"VmHWM:")]
    return int(lines[0].split()[1]) << 10


def _write_frames(pipe: IO[bytes], document: Json, content: Iterable[bytes]) -> None:
    """Write a document and its content: length and bytes of each piece, and an empty piece at the end."""
    header = canonical(document)
    pipe.write(len(header).to_bytes(_LENGTH_BYTES, "big") + header)
    for piece in content:
        if piece:
            pipe.write(len(piece).to_bytes(_LENGTH_BYTES, "big"))
            pipe.write(piece)
    pipe.write(bytes(_LENGTH_BYTES))
    pipe.flush()


def _read_frames(pipe: IO[bytes]) -> tuple[Json, bytes]:
    """Read a document and its content; raises EOFError if the pipe ends first."""
    header = _exactly(pipe, int.from_bytes(_exactly(pipe, _LENGTH_BYTES), "big"))
    content = bytearray()
    while size := int.from_bytes(_exactly(pipe, _LENGTH_BYTES), "big"):
        content += _exactly(pipe, size)
    return parse_canonical(header, max_bytes=_MAX_HEADER_BYTES), bytes(content)


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    """Read so many bytes."""
    found = bytearray()
    while len(found) < size:
        piece = pipe.read(size - len(found))
        if not piece:
            raise EOFError
        found += piece
    return bytes(found)


def _error_document(error: MedchainError) -> Json:
    """Write an error."""
    return {"code": error.code, "fields": dict[str, Json](error.fields), "kind": kind_of(error)}


def _error(value: Json) -> MedchainError:
    """Read an error."""
    top = members(value, {"code": str, "fields": dict, "kind": str})
    fields = top["fields"] if type(top["fields"]) is dict else {}
    kept = {name: item for name, item in fields.items() if item is None or isinstance(item, (int, str))}
    return error_of(str(top["kind"]), str(top["code"]), kept)
