"""Processes that are there in milliseconds: forked from one that has loaded what they run, shared by all who ask.

To load what answers FHIR takes a process more than a second; a fork of one that has loaded it shares its pages. Whoever
asks is given a process that is free, whoever had it before, or a new one; where there are as many as there may be, who
came first is served first. Keeps true: there are never more processes of a server than that, and each serves one at a
time; who waits is told by the system as soon as one is free; what is forked from has no thread, no open file but the
ways by which it is asked, and no key; a process ends with whom it works for and with its server, and when it has
idled; the server ends when nobody is left who could ask. Trusts the module that it is given to start no thread and open
no file when it is imported, and who asks: all have the same done.
Source: `docs/adr/0032-job-processes-are-forked.md`, `docs/adr/0068-job-processes-are-shared.md`; unix(7), `SCM_RIGHTS`.
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
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import IO, Final, NoReturn, Self

from medchain.errors import UnavailableError
from medchain.node.log import log_failed, log_uncaught
from medchain.node.start import load

RESPAWN_S: Final = 0.2
"""How long after a server's death the next one begins."""

IDLE_S: Final = 5.0
"""How long a process that is free is kept for whoever comes next before it gives its memory back."""

LOAD_S: Final = 120.0
"""How long a server that is a program of its own may take to load, on a machine that may have much else to do."""

GIVEN: Final = b"."
"""What who asks reads first, as soon as there is a process for it."""

_MOST_BYTES: Final = 2
_ASK: Final = b"?"
_FREE: Final = b"!"
_LOADED: Final = b"!"
_DESCRIPTORS: Final = 2
_OUTPUT: Final = 1
_CONTROL: Final = 3
"""The way between a process and its server, as the process has it; what is open besides comes after it."""

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

                exit_with(run)
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
    def forked(cls, module: str, *arguments: str) -> Self:
        """Fork a server from this process, which has loaded the module; one that dies is followed by another.

        Called before this process has a thread or a key.

        Args:
            module: whose `main` the processes run; it may have a `prepare`, an iterator that makes step by step in the
                server what each process would make for itself.
            arguments: of its `main`.
        """
        return cls.kept(lambda asked: _Serving(asked, module, arguments).run())

    @classmethod
    def spawned(cls, module: str, *arguments: str) -> Self:
        """Start a server as a program of its own, for who holds keys and threads already; it is not replaced.

        Args:
            module: as for `forked`; where it cannot be loaded, whoever asks is told.
            arguments: likewise.
        """
        asking, asked = _pair()
        with closing(asked):
            started = subprocess.Popen(  # noqa: S603  # our own command
                (sys.executable, "-m", "medchain.node.fork_server", module, *arguments), stdin=asked.fileno()
            )
        threading.Thread(target=started.wait, name="fork-server-reaper", daemon=True).start()
        if comes(asking, LOAD_S):
            asking.recv(len(_LOADED))
        return cls(asking, started.pid)

    def ask(self, most: int, first: bytes = b"") -> tuple[IO[bytes], IO[bytes]]:
        """Ask for a process.

        Args:
            most: so many processes there may be at once; all who ask have the same number.
            first: what it reads first; short, since nobody may be there yet who reads it.

        Returns:
            What it reads from its standard input, to be written, and what it writes, to be read: `GIVEN` as soon as
            there is a process, then what it writes itself. It ends when the latter is closed before it has done what it
            was asked for; who waits no longer closes both.

        Raises:
            UnavailableError: ``job.died`` where there is no server.
        """
        its_input, to_it = os.pipe()
        from_it, its_output = os.pipe()
        try:
            os.write(to_it, first)
            socket.send_fds(self.asking, [most.to_bytes(_MOST_BYTES, "big")], [its_input, its_output])
        except OSError as error:
            os.close(to_it)
            os.close(from_it)
            raise UnavailableError("job.died") from error
        finally:
            os.close(its_input)
            os.close(its_output)
        return os.fdopen(to_it, "wb"), os.fdopen(from_it, "rb")


def comes(source: IO[bytes] | socket.socket, patience_s: float) -> bool:
    """Wait until there is something to read, or the end; not with select, which knows no descriptor above 1023."""
    waiting = select.poll()
    waiting.register(source, select.POLLIN)
    return bool(waiting.poll(patience_s * 1000))


@contextmanager
def heard() -> Iterator[None]:
    """End this process where nobody reads its standard output any more, or its server has gone, while this is open.

    Closed before the last of an answer is written: who has read that goes.
    """
    done = os.eventfd(0)
    watch = threading.Thread(target=_watch, args=(done,), name="output-watch", daemon=True)
    watch.start()
    try:
        yield
    finally:
        os.eventfd_write(done, 1)
        watch.join()
        os.close(done)


def tell_free() -> None:
    """Tell the server that this process has done what it was asked for; `wait_for_next` follows."""
    with suppress(OSError):
        os.write(_CONTROL, _FREE)


def wait_for_next() -> bool:
    """Wait until somebody asks, and have its standard input and output; tells whether this process is to go on."""
    with socket.socket(fileno=os.dup(_CONTROL)) as control:
        try:
            _, descriptors, _, _ = socket.recv_fds(control, len(_ASK), _DESCRIPTORS)
        except OSError:
            return False
    _have(descriptors)
    return bool(descriptors)


def main(arguments: list[str]) -> int:
    """Serve as a program: its standard input is the socket by which it is asked.

    Args:
        arguments: the module's name, and the arguments of its `main`.

    Returns:
        0, once nobody is left who could ask; in a forked process, the status of the module's `main`.
    """
    asked = socket.socket(fileno=os.dup(0))
    _leave(asked)
    serving = _Serving(asked, arguments[0], arguments[1:])
    with suppress(OSError):
        asked.send(_LOADED)
    return serving.run()


def _pair() -> tuple[socket.socket, socket.socket]:
    """Make the two ends of a way on which messages stay whole, whoever sends at the same time."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class _Asked:
    """Somebody who asks for a process.

    Attributes:
        most: so many there may be.
        descriptors: the pipes that it is to have as its standard input and output.
    """

    __slots__ = ("descriptors", "most")

    def __init__(self, message: bytes, descriptors: list[int]) -> None:
        """Read what was sent."""
        self.most = int.from_bytes(message, "big")
        self.descriptors = descriptors

    def tell(self) -> bool:
        """Tell that there is a process; tells whether there is still somebody who asks."""
        try:
            os.write(self.descriptors[_OUTPUT], GIVEN)
        except OSError:
            return False
        return True

    def waits(self) -> bool:
        """Tell whether there is still somebody who asks."""
        ends = select.poll()
        ends.register(self.descriptors[_OUTPUT], 0)
        return not ends.poll(0)

    def close(self) -> None:
        """Let go of the pipes, which a process has by now, or nobody needs."""
        for descriptor in self.descriptors:
            os.close(descriptor)


class _Serving:
    """A server at work: who asks, and its processes, each known by our end of the way to it.

    A process counts until its end of the way is closed, which the system does when it has ended.
    """

    def __init__(self, asked: socket.socket, module: str, arguments: Sequence[str]) -> None:
        """Load what the processes do; the arguments are those of `ForkServer.forked`."""
        loaded = load(module)
        self._main: Callable[[list[str]], int] = loaded.main
        prepare: Callable[[], Iterator[None]] | None = getattr(loaded, "prepare", None)
        self._steps = iter(()) if prepare is None else prepare()
        self._asked = asked
        self._arguments = list(arguments)
        self._waiting: deque[_Asked] = deque()
        self._living: dict[int, socket.socket] = {}
        self._free: dict[int, float] = {}
        self._events = select.poll()
        self._events.register(asked, select.POLLIN)
        # Not before the first: a node that needs none starts sooner. Then in the time in which nobody asks.
        self._may_prepare, self._is_prepared = False, prepare is None
        self._unprepared: set[int] = set()

    def run(self) -> int:
        """Serve until nobody is left who could ask."""
        # What was forked is nobody's to wait for.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            happened = self._events.poll(self._patience_ms())
            if not happened:
                self._prepare()
            for descriptor, _ in happened:
                if descriptor in self._living:
                    self._hear(descriptor)
                elif not self._take():
                    return 0
            self._give()
            self._end_idle()

    def _patience_ms(self) -> float | None:
        """Return for how long nothing needs to happen."""
        if self._may_prepare:
            return 0
        if not self._free:
            return None
        return max(0.0, min(self._free.values()) + IDLE_S - time.monotonic()) * 1000 + 1

    def _prepare(self) -> None:
        """Make a step of what each process would make for itself: kept for ever, and shared by all forked from now."""
        if self._may_prepare:
            self._may_prepare = next(self._steps, _DONE) is not _DONE
            self._is_prepared = not self._may_prepare
            gc.freeze()

    def _hear(self, descriptor: int) -> None:
        """Hear a process: it is free, or it has ended."""
        try:
            is_free = self._living[descriptor].recv(len(_FREE)) == _FREE
        except OSError:
            is_free = False
        if is_free and self._is_prepared and descriptor in self._unprepared:
            # It has made for itself what the next will share.
            self._end(descriptor)
            return
        if is_free:
            self._free[descriptor] = time.monotonic()
            return
        self._free.pop(descriptor, None)
        self._forget(descriptor)

    def _forget(self, descriptor: int) -> None:
        """Count no longer a process that has ended."""
        self._events.unregister(descriptor)
        self._unprepared.discard(descriptor)
        self._living.pop(descriptor).close()

    def _take(self) -> bool:
        """Take who asks into the row, from which go those who wait no longer; tells whether anybody could ask."""
        message, descriptors, _, _ = socket.recv_fds(self._asked, _MOST_BYTES, _DESCRIPTORS)
        for gone in [one for one in self._waiting if not one.waits()]:
            self._waiting.remove(gone)
            gone.close()
        one = _Asked(message, descriptors)
        if len(descriptors) == _DESCRIPTORS:
            self._waiting.append(one)
        else:
            # No room for more open files: who asked sees its pipes closed.
            one.close()
        return bool(message)

    def _give(self) -> None:
        """Give those who wait a process, in their order, as far as there are some."""
        while self._waiting and (self._free or len(self._living) < self._waiting[0].most):
            one = self._waiting.popleft()
            with closing(one):
                if one.tell() and not self._hand_over(one):
                    self._fork(one)

    def _hand_over(self, one: _Asked) -> bool:
        """Give a process that is free, the one that was so last; tells whether there was one that lives."""
        while self._free:
            descriptor, _ = self._free.popitem()
            try:
                socket.send_fds(self._living[descriptor], [_ASK], one.descriptors)
            except OSError:
                self._forget(descriptor)
            else:
                return True
        return False

    def _fork(self, one: _Asked) -> None:
        """Give a new process; without room for one, who asked sees its pipes closed."""
        try:
            ours, its = _pair()
        except OSError:
            return
        with its:
            try:
                is_child = os.fork() == 0
            except OSError:
                ours.close()
                return
            if is_child:
                exit_with(partial(self._be, its, one.descriptors))
        self._living[ours.fileno()] = ours
        self._events.register(ours, select.POLLIN)
        self._may_prepare = not self._is_prepared
        if self._may_prepare:
            self._unprepared.add(ours.fileno())

    def _be(self, control: socket.socket, descriptors: list[int]) -> int:
        """Be a process: with the pipes of who asked and the way to the server, and nothing else of the server's."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for standard, descriptor in enumerate(descriptors):
            os.dup2(descriptor, standard)
        os.dup2(control.fileno(), _CONTROL)
        os.closerange(_CONTROL + 1, os.sysconf("SC_OPEN_MAX"))
        return self._main(self._arguments)

    def _end_idle(self) -> None:
        """Have processes end that have been free for long."""
        now = time.monotonic()
        for descriptor in [one for one, since in self._free.items() if now - since >= IDLE_S]:
            del self._free[descriptor]
            self._end(descriptor)

    def _end(self, descriptor: int) -> None:
        """Have a process end that waits for who asks next; it counts until it has ended, as it may have already."""
        with suppress(OSError):
            self._living[descriptor].shutdown(socket.SHUT_WR)


def _leave(asked: socket.socket) -> None:
    """Let go of what was open and set for the process that this one was forked from."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.closerange(_FIRST_OTHER, asked.fileno())
    os.closerange(asked.fileno() + 1, os.sysconf("SC_OPEN_MAX"))


def _have(descriptors: list[int]) -> None:
    """Have other pipes as standard input and output."""
    for standard, descriptor in enumerate(descriptors):
        os.dup2(descriptor, standard)
        os.close(descriptor)


def exit_with(run: Callable[[], int]) -> NoReturn:
    """Run to the end of this process, and do nothing of what the one that it was forked from does at its own.

    Args:
        run: called once in the process that was forked; returns its exit status, which is 1 where it raises.
    """
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


def _watch(done: int) -> None:
    """Wait until it is done; end this process where the other end of its output, or of the way to its server, goes."""
    ends = select.poll()
    ends.register(done, select.POLLIN)
    for descriptor in (_OUTPUT, _CONTROL):
        # Nothing is waited for but what is told unasked, that the other end is closed (poll(2)).
        ends.register(descriptor, 0)
    if done not in dict(ends.poll()):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
