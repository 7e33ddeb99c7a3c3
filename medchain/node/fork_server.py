"""A process that has loaded a module and forks a process of it whenever one is asked for: there in milliseconds.

To load what answers FHIR takes a process more than a second; a fork of one that has loaded it shares its pages. Keeps
true: what is forked from has no thread, no open file but the way by which it is asked, and no key; a process ends as
soon as nobody reads what it writes; the server ends when nobody is left who could ask. Trusts the module that it is
given to start no thread and open no file when it is imported, and who asks.
Source: `docs/adr/0032-job-processes-are-forked.md`; unix(7), `SCM_RIGHTS`.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import IO, Final, NoReturn, Self

from medchain.encoding import Json, canonical, parse_canonical
from medchain.errors import UnavailableError
from medchain.node.log import log_failed, log_uncaught
from medchain.node.start import load

RESPAWN_S: Final = 0.2
"""How long after a server's death the next one begins."""

_MAX_ARGUMENT_BYTES: Final = 1 << 16
_DESCRIPTORS: Final = 3
_FIRST_OTHER: Final = 3
_DONE: Final = object()


class Forked:
    """A process that is asked over a socket. Threads may share it, and so may processes forked from who made it.

    Attributes:
        asking: our end of the way to it.
        pid: of it, 0 between two; in a process forked from the one that made it, of the first.
    """

    __slots__ = ("asking", "following", "pid")

    def __init__(self, asking: socket.socket, pid: int) -> None:
        """Use a process that runs; the arguments are the attributes."""
        self.asking = asking
        self.pid = pid
        self.following: threading.Thread | None = None

    @classmethod
    def kept(cls, serve: Callable[[socket.socket], int]) -> Self:
        """Fork a process from this one; one that dies is followed by another, which is asked what the first was not.

        Args:
            serve: what it does, with its end of the way, until nobody is left who could ask. It holds nothing else that
                was open here, and dies of signals as a new program does.
        """
        asking, asked = _pair()

        def begin() -> int:
            pid = os.fork()
            if pid == 0:
                asking.close()

                def run() -> int:
                    _leave(asked)
                    return serve(asked)

                _exit_with(run)
            return pid

        made = cls(asking, begin())
        made.following = threading.Thread(target=made._follow, args=(begin, asked), name="forked-watch", daemon=True)
        made.following.start()
        return made

    def close(self) -> None:
        """Ask no more: the process ends once all who could ask have said so."""
        self.asking.close()

    def end(self, patience_s: float) -> None:
        """Ask no more, and wait so long until the process has ended, by who made it."""
        self.close()
        if self.following is not None:
            self.following.join(patience_s)

    def _follow(self, begin: Callable[[], int], asked: socket.socket) -> None:
        """Begin anew whenever the process has died; holds its end of the way, so that what it was asked waits."""
        with asked:
            while True:
                os.waitpid(self.pid, 0)
                self.pid = 0
                while not self.pid:
                    if self.asking.fileno() < 0:
                        return
                    time.sleep(RESPAWN_S)
                    # Without room for a process: later.
                    with suppress(OSError):
                        self.pid = begin()


class ForkServer(Forked):
    """The way to a server."""

    __slots__ = ()

    @classmethod
    def forked(cls, module: str) -> Self:
        """Fork a server from this process, which has loaded the module; one that dies is followed by another.

        Called before this process has a thread or a key.

        Args:
            module: whose `main` the processes run.
        """
        return cls.kept(lambda asked: _serve(asked, module))

    @classmethod
    def spawned(cls, module: str) -> Self:
        """Start a server as a program of its own, for who holds keys and threads already; it is not replaced.

        Args:
            module: whose `main` the processes run.
        """
        asking, asked = _pair()
        with closing(asked):
            program = subprocess.Popen(  # noqa: S603  # our own command
                (sys.executable, "-m", "medchain.node.fork_server", module), stdin=asked.fileno()
            )
        threading.Thread(target=program.wait, name="fork-server-reaper", daemon=True).start()
        return cls(asking, program.pid)

    def start(self, arguments: Sequence[str], place: int) -> tuple[IO[bytes], IO[bytes]]:
        """Start a process.

        Args:
            arguments: of the module's `main`.
            place: a descriptor that the process holds until it ends.

        Returns:
            What it reads from its standard input, to be written, and what it writes, to be read. It ends when the
            latter is closed.

        Raises:
            UnavailableError: ``job.died`` where there is no server.
        """
        its_input, to_it = os.pipe()
        from_it, its_output = os.pipe()
        try:
            socket.send_fds(self.asking, [canonical(list[Json](arguments))], [its_input, its_output, place])
        except OSError as error:
            os.close(to_it)
            os.close(from_it)
            raise UnavailableError("job.died") from error
        finally:
            os.close(its_input)
            os.close(its_output)
        return os.fdopen(to_it, "wb"), os.fdopen(from_it, "rb")


def end_unheard() -> None:
    """End this process once nobody reads its standard output: who asked for it has gone, or given it up."""
    threading.Thread(target=_watch_output, name="output-watch", daemon=True).start()


def main(arguments: list[str]) -> int:
    """Serve as a program: its standard input is the socket by which it is asked.

    Args:
        arguments: the module's name.

    Returns:
        0, once nobody is left who could ask; in a forked process, the status of the module's `main`.
    """
    asked = socket.socket(fileno=os.dup(0))
    _leave(asked)
    return _serve(asked, arguments[0])


def _pair() -> tuple[socket.socket, socket.socket]:
    """Make the two ends of a way on which messages stay whole, whoever sends at the same time."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _serve(asked: socket.socket, module: str) -> int:
    """Fork a process for each message, until nobody is left who could send one.

    A module may have a `prepare`, an iterator that makes step by step what each process would make for itself.
    """
    loaded = load(module)
    run: Callable[[list[str]], int] = loaded.main
    steps: Iterator[None] = getattr(loaded, "prepare", lambda: iter(()))()
    is_asked = select.poll()
    is_asked.register(asked, select.POLLIN)
    # What was forked is nobody's to wait for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    has_forked = False
    while True:
        # Not before the first: a node that needs none starts sooner. Then in the time in which nobody asks.
        while has_forked and not is_asked.poll(0) and next(steps, _DONE) is not _DONE:
            # Kept for ever, and shared by all that are forked from here on.
            gc.freeze()
        message, descriptors, _, _ = socket.recv_fds(asked, _MAX_ARGUMENT_BYTES, _DESCRIPTORS)
        if not message:
            return 0
        has_forked = True
        try:
            is_child = os.fork() == 0
        except OSError:
            # No room for another: who asked sees its pipes closed.
            is_child = False
        if is_child:
            asked.close()
            _become(descriptors)
            arguments = _read_arguments(message)
            _exit_with(partial(run, arguments))
        for descriptor in descriptors:
            os.close(descriptor)


def _leave(asked: socket.socket) -> None:
    """Let go of what was open and set for the process that this one was forked from."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.closerange(_FIRST_OTHER, asked.fileno())
    os.closerange(asked.fileno() + 1, os.sysconf("SC_OPEN_MAX"))


def _become(descriptors: list[int]) -> None:
    """Take over the pipes of a process; what else came with them stays open as long as it lives."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for standard, descriptor in enumerate(descriptors[:2]):
        os.dup2(descriptor, standard)
        os.close(descriptor)


def _read_arguments(message: bytes) -> list[str]:
    """Read what a process is started with."""
    found = parse_canonical(message, max_bytes=_MAX_ARGUMENT_BYTES)
    return [str(one) for one in found] if isinstance(found, list) else []


def _exit_with(run: Callable[[], int]) -> NoReturn:
    """Run to the end of this process, and do nothing of what the one that it was forked from does at its own."""
    status = 1
    try:
        log_uncaught()
        status = run()
    except BaseException as error:  # noqa: BLE001  # nothing is above
        log_failed(error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _watch_output() -> None:
    """Wait until the other end of the standard output is closed."""
    ends = select.poll()
    # Nothing is waited for but what is told unasked: an error, which is that nobody reads (poll(2)).
    ends.register(1, 0)
    while not any(event & select.POLLERR for _, event in ends.poll()):
        """Told of something else: look again."""
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
