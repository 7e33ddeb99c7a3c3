"""Worker processes for heavy work: large transactions and imports run there, not in the threads of web workers.

Each job runs in a process that a `medchain.node.fork_server` gives, which gets the web half of the root key through its
pipe, does one job at a time for whoever asks, and ends when it idles, when it has grown large, or when nobody is there
who reads what it writes. Keeps true: a node has no more of them than it is told, over all its web workers; none is
taken for what is still on its way, so that who sends slowly holds none; the memory
of each is bounded by the system; a job whose process dies is told as such, and what it was storing is stored whole or
not at all, by the store. Trusts the module that the server has loaded.
Source: `docs/adr/0019-jobs-in-processes.md`, `docs/adr/0032-job-processes-are-forked.md`,
`docs/adr/0068-job-processes-are-shared.md`, `docs/adr/0069-bodies-are-whole-before-a-process-is-taken.md`.
"""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
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
from medchain.node.fork_server import GIVEN, ForkServer, comes, heard, tell_free, wait_for_next
from medchain.node.garbage import give_back, settle
from medchain.node.spool import whole

WAIT_S: Final = 30.0
"""How long a job waits for a process."""

START_S: Final = 120.0
"""How long a process may take until it is ready, on a machine that may have much else to do."""

MEMORY_BYTES: Final = 768 << 20
"""Most memory that a process may have for its data."""

LARGE_BYTES: Final = 256 << 20
"""Who has had so much ends after its job."""

_READY: Final = b"!"
_LENGTH_BYTES: Final = 8
_STDIN: Final = 0
_STDOUT: Final = 1
_MAX_HEADER_BYTES: Final = 16 << 20
_ATTEMPTS: Final = 2
"""A process may die just when it is given; the next is another."""


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
    """Runs jobs in processes, as many at once as there may be. Threads may share it."""

    def __init__(self, server: ForkServer, secret: bytes, most: int, folder: Path) -> None:
        """Prepare; no process is started yet.

        Args:
            server: gives the processes, of which other pools may have some; closed by whoever made it.
            secret: handed to each through its pipe, before anything else.
            most: so many processes the server may have at once, for all pools together; each is told the same.
            folder: where large contents lie, sealed, until a process has them.
        """
        self._folder = folder
        self._server = server
        self._most = most
        self._opening = secret + b"\n"

    def run(self, document: Json, content: Iterable[bytes] = ()) -> JobResult:
        """Run a job.

        Args:
            document: what is to be done.
            content: more of it, piece by piece; a process is asked for once all of it is here.

        Returns:
            Its result.

        Raises:
            UnavailableError: ``job.busy`` if no process was free in time; ``job.died`` if it ended before it had
                answered; ``store.full`` or ``store.io`` where there is no place for the content.
            MedchainError: what the job, or the content, raised.
        """
        with whole(content, self._folder) as pieces, self._process() as (to_it, from_it):
            try:
                _write_frames(to_it, document, pieces)
                header, body = _read_frames(from_it)
            except (OSError, EOFError) as error:
                raise UnavailableError("job.died") from error
        top = members(header, {"error": dict, "result": dict})
        if top["error"]:
            raise _error(top["error"])
        return JobResult(top["result"], body)

    @contextmanager
    def _process(self) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """Give the pipes of a process that is ready; it ends where they are closed before it has answered."""
        for _ in range(_ATTEMPTS):
            to_it, from_it = self._server.ask(self._most, self._opening)
            try:
                if _is_ready(from_it):
                    yield to_it, from_it
                    return
            finally:
                for pipe in (from_it, to_it):
                    # What was never read by a dead process.
                    with suppress(OSError):
                        pipe.close()
        raise UnavailableError("job.died")


def _is_ready(pipe: IO[bytes]) -> bool:
    """Wait until a process is given and ready; tells whether it lives. Nothing is read ahead, since `comes` looks."""
    if not comes(pipe, WAIT_S):
        raise UnavailableError("job.busy", retry_after_s=5)
    if os.read(pipe.fileno(), len(GIVEN)) != GIVEN:
        return False
    return comes(pipe, START_S) and os.read(pipe.fileno(), len(_READY)) == _READY


def serve(handler: Handler, forget: Callable[[], None] = lambda: None) -> None:
    """Do jobs until the server has none for long; called by the module that a server runs, after it read its secret.

    Args:
        handler: does a job. What it raises is answered; so is a lack of memory, ``job.memory``.
        forget: called between jobs, when nobody waits: lets go of what the last one has left.
    """
    settle()
    # What a job makes goes as soon as nobody holds it; what is in cycles goes between jobs, when nobody waits.
    gc.disable()
    while _serve_one(handler):
        tell_free()
        forget()
        give_back()
        if not wait_for_next():
            return
        read_secret()


def _serve_one(handler: Handler) -> bool:
    """Do a job, and hold nothing of it afterwards; tells whether this process may do another."""
    with heard():
        asked = _asked()
        if asked is None:
            return True
        answer, body, is_whole = _answer(handler, *asked)
    # Who has gone by now has given up.
    with suppress(OSError):
        _write_frames(os.fdopen(_STDOUT, "wb", closefd=False), answer, [body])
    return is_whole and _peak_bytes() <= LARGE_BYTES


def _asked() -> tuple[Json, bytes] | None:
    """Say that this process is ready, and read a job; None where whoever asked has given up, as its client has."""
    try:
        os.write(_STDOUT, _READY)
        return _read_frames(os.fdopen(_STDIN, "rb", closefd=False))
    except (OSError, EOFError):
        return None


def _answer(handler: Handler, document: Json, content: bytes) -> tuple[Json, bytes, bool]:
    """Do a job; returns the answer's document and content, and whether this process is as good as before."""
    try:
        result, body = handler(document, content)
    except MedchainError as caught:
        return {"error": _error_document(caught), "result": {}}, b"", True
    except MemoryError:
        return {"error": _error_document(InputError("job.memory")), "result": {}}, b"", False
    return {"error": {}, "result": result}, body, True


def bound() -> None:
    """Bound this process's memory; called by the module that a server runs, first."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))


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
