"""Handing over: how a process of the node has another one, the writer, store record versions, many writes together.

Each message is one write, each answer how that went. Keeps true: what was answered as stored is on the disk; what was
handed over and not answered is told apart from what was refused: who handed it over stores it himself where the writer
is gone, unless it is there already, and says that he does not know where the writer is only silent; nothing waits
without end. Trusts whoever holds the other end of a way: it came over a fork, and nobody else can open one. The writer
gets nothing that does not come to lie in the file.
Source: unix(7); `docs/spec/store.md` 2, `docs/adr/0049-one-process-stores-single-writes.md`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

import orjson

from medchain.errors import MedchainError, UnavailableError, error_of, kind_of
from medchain.store.epochs import Epoch
from medchain.store.index_rows import IndexRows
from medchain.store.records import RecordVersion, Write

MAX_MESSAGE_BYTES: Final = 128 << 10
"""Largest write that is handed over: it must fit a socket's send buffer. A larger one its process stores itself."""

PATIENCE_S: Final = 25.0
"""How long an answer is waited for, in seconds: longer than the writer waits for its turn."""

HELLO: Final = b"w"
"""With what a new way is handed to the writer."""

_LENGTH: Final = struct.Struct(">I")


class WriterDoor:
    """The way to the writer. Threads share it; each process has its own."""

    __slots__ = ("_asking", "_idle", "_listening", "_patience", "_patience_s")

    def __init__(self, asking: socket.socket, patience_s: float = PATIENCE_S) -> None:
        """Use the socket by which the writer is handed new ways.

        Args:
            asking: where its other end is, a writer is, or will be.
            patience_s: how long an answer is waited for, in seconds.
        """
        self._asking = asking
        self._patience_s = patience_s
        # A timeval, as setsockopt takes it.
        self._patience = struct.pack("ll", int(patience_s), int(patience_s % 1 * 1_000_000))
        # Each with one thread at a time; as many as there were threads at once.
        self._idle: list[socket.socket] = []
        # Of the event loop, for one task at a time.
        self._listening: list[_HeardWay] = []

    def put(self, write: Write) -> bool:
        """Have a plain write stored, and note its numbers.

        Args:
            write: what `Write.is_plain` says is so.

        Returns:
            Whether it is stored; if not, nobody else will store it, but somebody may have.

        Raises:
            MedchainError: why it was refused; ``store.io`` where it is not known whether it was stored, or will be.
        """
        message = encode(write)
        return _note(write, self._asked(message) if len(message) <= MAX_MESSAGE_BYTES else b"")

    async def put_soon(self, write: Write) -> bool:
        """Do as `put`, but wait on the event loop, which is one and the same all the time."""
        message = encode(write)
        return _note(write, await self._heard(message) if len(message) <= MAX_MESSAGE_BYTES else b"")

    def close(self) -> None:
        """Close all ways that nobody uses."""
        for ways in (self._idle, self._listening):
            while ways:
                ways.pop().close()

    def _asked(self, message: bytes) -> bytes:
        """Hand a message over and wait for its answer; empty where nobody is there to do it."""
        try:
            way = self._way()
        except OSError:
            return b""
        try:
            way.send(message)
            answer = way.recv(MAX_MESSAGE_BYTES)
        except BlockingIOError as error:
            # Closed, so that a writer who comes to it after all may see that nobody waits.
            way.close()
            raise UnavailableError("store.io", table="record") from error
        except OSError:
            answer = b""
        if answer:
            self._idle.append(way)
        else:
            way.close()
        return answer

    async def _heard(self, message: bytes) -> bytes:
        """Do as `_asked`, waiting on the event loop."""
        try:
            way = self._listening.pop() if self._listening else _HeardWay(self._opened())
            answer = await way.ask(message, self._patience_s)
        except TimeoutError as error:
            raise UnavailableError("store.io", table="record") from error
        except OSError:
            return b""
        if answer:
            self._listening.append(way)
        return answer

    def _way(self) -> socket.socket:
        """Take a way that nobody uses, or make one; raises OSError."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._opened()

    def _opened(self) -> socket.socket:
        """Make a way, and hand its other end to the writer."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with closing(theirs):
            try:
                for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                    ours.setsockopt(socket.SOL_SOCKET, option, self._patience)
                socket.send_fds(self._asking, [HELLO], [theirs.fileno()], socket.MSG_DONTWAIT)
            except OSError:
                ours.close()
                raise
        return ours


class _HeardWay:
    """A way on which the event loop waits for answers."""

    __slots__ = ("_answer", "_loop", "_way")

    def __init__(self, way: socket.socket) -> None:
        """Listen to a way, on the loop that runs."""
        way.settimeout(0)
        self._way = way
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[bytes] | None = None
        self._loop.add_reader(way, self._hear)

    async def ask(self, message: bytes, patience_s: float) -> bytes:
        """Hand a message over and wait for its answer; empty where nobody is there to do it.

        Where it is not waited for to the end, the way is closed, so that a writer who comes to it after all may see
        that nobody waits.

        Raises:
            OSError: nobody is there; TimeoutError where no answer comes.
        """
        self._answer = self._loop.create_future()
        is_told = False
        try:
            self._way.send(message)
            async with asyncio.timeout(patience_s):
                answer = await self._answer
            is_told = bool(answer)
            return answer
        finally:
            if not is_told:
                self.close()

    def close(self) -> None:
        """Listen no more."""
        if self._way.fileno() >= 0 and not self._loop.is_closed():
            self._loop.remove_reader(self._way)
        self._way.close()

    def _hear(self) -> None:
        """Take an answer, or that the way has ended."""
        try:
            answer = self._way.recv(MAX_MESSAGE_BYTES)
        except OSError:
            answer = b""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)
        if not answer:
            self.close()


def encode(write: Write) -> bytes:
    """Write down a plain write.

    Args:
        write: what `Write.is_plain` says is so.

    Returns:
        Length of the head (4 bytes), head in JSON, and behind it all members that are bytes, each of the length that
        the head has in its place.
    """
    tail: list[bytes] = []
    head = {
        "apart": _packed(write.apart or (), tail),
        "epochs": [_packed(_members(Epoch, one), tail) for one in write.epochs],
        # Of the rows themselves nothing is needed but what is kept until they are merged.
        "index": [None if one is None else [one.generation, one.rows is not None] for one in write.index],
        "payloads": _packed(write.payloads, tail),
        "rows": [_packed(_members(RecordVersion, row), tail) for row in write.rows],
    }
    written = orjson.dumps(head)
    return b"".join((_LENGTH.pack(len(written)), written, *tail))


def decode(message: bytes) -> Write:
    """Read what `encode` wrote; raises `ValueError` and others for anything else."""
    (size,) = _LENGTH.unpack_from(message)
    head = orjson.loads(message[_LENGTH.size : _LENGTH.size + size])
    tail = _Tail(message, _LENGTH.size + size)
    apart = tail.unpacked(head["apart"])
    epochs = [Epoch(*tail.unpacked(one)) for one in head["epochs"]]
    payloads = tail.unpacked(head["payloads"])
    rows = [RecordVersion(*tail.unpacked(one)) for one in head["rows"]]
    tail.check_end()
    index = [None if one is None else IndexRows(() if one[1] else None, None, one[0]) for one in head["index"]]
    return Write(rows, None, payloads, index, None, epochs, apart=apart)


def _note(write: Write, answer: bytes) -> bool:
    """Note the numbers of an answer; tells whether there is one."""
    if answer:
        write.numbers = read_answer(answer)
    return bool(answer)


def answer_of(write: Write, error: Exception | None) -> bytes:
    """Write down how a write went: its numbers, or why it was refused; empty for what only its owner can be told."""
    if error is None:
        return orjson.dumps({"numbers": write.numbers})
    if not isinstance(error, MedchainError):
        # A value that the driver cannot bind: who stores it himself is told what it is.
        return b""
    return orjson.dumps({"refused": [kind_of(error), error.code, error.fields]})


def read_answer(answer: bytes) -> list[int]:
    """Read what `answer_of` wrote; raises why the write was refused."""
    told = orjson.loads(answer)
    if "numbers" in told:
        return list(told["numbers"])
    name, code, fields = told["refused"]
    raise error_of(name, code, fields)


def _members(kind: type[Epoch | RecordVersion], one: object) -> list[Any]:
    """List the members of a row in the order of its constructor; Any because they differ."""
    return [getattr(one, name) for name in kind.__slots__]


def _packed(members: Sequence[Any], tail: list[bytes]) -> list[Any]:
    """Put the length in place of members that are bytes, which go behind; Any because they differ."""
    packed = []
    for one in members:
        if isinstance(one, bytes):
            tail.append(one)
            packed.append([len(one)])
        else:
            packed.append(one)
    return packed


class _Tail:
    """Reads what stands behind a head, in order."""

    __slots__ = ("_message", "_place")

    def __init__(self, message: bytes, place: int) -> None:
        """Begin at a place."""
        self._message = message
        self._place = place

    def unpacked(self, members: Sequence[Any]) -> list[Any]:
        """Undo `_packed`; Any because members differ."""
        found = []
        for one in members:
            if isinstance(one, list):
                end = self._place + one[0]
                found.append(self._message[self._place : end])
                self._place = end
            else:
                found.append(one)
        return found

    def check_end(self) -> None:
        """See that nothing is left or missing; raises ValueError."""
        if self._place != len(self._message):
            raise ValueError(self._place)
