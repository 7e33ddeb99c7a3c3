"""The writer: one process of a node stores the single writes of all its web workers, many together, and merges.

Whoever writes alone finds his pages in his cache: SQLite drops a connection's cache when another one has committed.
With a process for each worker, each commit began with reading, deciphering and authenticating what it changes, and
each waited for the others' threads as well as for the disk. Keeps true: a write is answered once it is on the disk, and
not before; who asked and waits no more has nothing done for him; what is merged in between takes a bounded number of
versions, with the writes that came meanwhile before the next; who writes to it is not pushed aside by it. It ends when
nobody is left who could ask. Trusts who asks, and nothing for what is found: where it is gone, who writes does so
himself, and who searches merges.
Source: `docs/spec/store.md` 2, `docs/adr/0049-one-process-stores-single-writes.md`; sched(7), `SCHED_BATCH`.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Final

from medchain.crypto.keywrap import SecretBytes
from medchain.errors import MedchainError
from medchain.node.assembly import open_records
from medchain.node.config import NodeConfig
from medchain.node.fork_server import Forked
from medchain.node.garbage import settle
from medchain.node.keystore import Layout, Unlock, open_web_keys
from medchain.node.log import Log, log_uncaught, open_log
from medchain.store.grouped import MAX_GROUP
from medchain.store.handing import HELLO, MAX_MESSAGE_BYTES, answer_of, decode
from medchain.store.records import UNBOUND, RecordStore, Write

PERIOD_S: Final = 0.5
"""How often it looks whether anything waits to be merged: what others have stored, or the last few."""

PER_TURN: Final = 128
"""Most versions of one merge: between two, those who write have their turn. It merges as soon as so many wait.

Of half as many, twice as many transactions change three quarters as many pages each.
"""

_LOG: Final = Log("writer")


def fork_writer(config: NodeConfig, half: SecretBytes) -> Forked:
    """Fork the writer from this process.

    Args:
        config: of the node.
        half: the web half of the root key, for the file's key.

    Returns:
        The writer; its `asking` is what `medchain.store.handing.WriterDoor` takes.
    """
    return Forked.kept(lambda asked: _serve(config, half, asked))


class Writing:
    """Does what is handed over. One thread calls it."""

    __slots__ = ("_asked", "_events", "_next", "_since", "_store", "_ways")

    def __init__(self, store: RecordStore, asked: socket.socket) -> None:
        """Begin with nobody who asks.

        Args:
            store: the records file.
            asked: by which new ways come.
        """
        self._store = store
        self._asked = asked
        self._ways: dict[int, socket.socket] = {}
        self._events = select.epoll()
        self._events.register(asked, select.EPOLLIN)
        self._since = 0
        self._next = time.monotonic() + PERIOD_S

    def serve(self) -> None:
        """Store and merge until nobody is left who could ask."""
        while True:
            found = dict(self._events.poll(max(0.0, self._next - time.monotonic())))
            if self._asked.fileno() in found and not self._admit():
                return
            for one, event in found.items():
                if one in self._ways and event & select.EPOLLHUP:
                    self._drop(one)
            if found.keys() & self._ways.keys():
                self._put()
            if self._since >= PER_TURN or time.monotonic() >= self._next:
                self._merge()

    def close(self) -> None:
        """Let go of all ways."""
        for way in self._ways.values():
            way.close()
        self._ways.clear()
        self._events.close()

    def _admit(self) -> bool:
        """Take a new way; tells whether there will be more."""
        message, descriptors, _, _ = socket.recv_fds(self._asked, len(HELLO), 1)
        for descriptor in descriptors:
            self._ways[descriptor] = socket.socket(fileno=descriptor)
            self._events.register(descriptor, select.EPOLLIN)
        return bool(message)

    def _put(self) -> None:
        """Store what has come, and tell each who waits."""
        taken: list[tuple[int, Write]] = []

        def take() -> list[Write]:
            # Not before it can be done: what comes while a turn is waited for goes with it.
            taken.extend(self._received())
            return [write for _, write in taken]

        errors: Sequence[Exception | None]
        try:
            errors = self._store.put_group(take)
        except (MedchainError, *UNBOUND) as raised:
            if not taken:
                take()
            errors = [raised] * len(taken)
        for (descriptor, write), error in zip(taken, errors, strict=True):
            self._since += 0 if error else len(write.rows)
            self._tell(descriptor, answer_of(write, error))

    def _received(self) -> list[tuple[int, Write]]:
        """Receive what is there, as many as go together; each way has one at a time."""
        found: list[tuple[int, Write]] = []
        for descriptor, event in self._events.poll(0):
            if descriptor == self._asked.fileno() or len(found) == MAX_GROUP:
                continue
            message = b"" if event & select.EPOLLHUP else self._ways[descriptor].recv(MAX_MESSAGE_BYTES)
            if message:
                found.append((descriptor, decode(message)))
            else:
                self._drop(descriptor)
        return found

    def _tell(self, descriptor: int, answer: bytes) -> None:
        """Answer; who cannot be told has gone, and who is to be told nothing sees that his way ends."""
        try:
            if answer:
                self._ways[descriptor].send(answer, socket.MSG_DONTWAIT)
        except OSError:
            answer = b""
        if not answer:
            self._drop(descriptor)

    def _drop(self, descriptor: int) -> None:
        """Let go of a way."""
        self._events.unregister(descriptor)
        self._ways.pop(descriptor).close()

    def _merge(self) -> None:
        """Merge some of what waits; what fails is tried again."""
        try:
            self._store.merge_rows(PER_TURN)
        except MedchainError as error:
            _LOG.warning("merging.delayed", code=error.code)
        self._since = 0
        self._next = time.monotonic() + PERIOD_S


def let_others_go_on() -> None:
    """Have this process, when it is woken, not push aside who wakes it: more writes come until it is its turn."""
    # Where that is forbidden, as in some containers, it is woken as all others are.
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _serve(config: NodeConfig, half: SecretBytes, asked: socket.socket) -> int:
    """Be the writer."""
    let_others_go_on()
    layout = Layout(config.folder)
    open_log(layout.logs, "writer", config.log_level)
    log_uncaught()
    keys = open_web_keys(config.folder, Unlock(half, None))
    with open_records(config, layout, keys) as store, closing(Writing(store, asked)) as writing:
        settle()
        writing.serve()
    return 0
