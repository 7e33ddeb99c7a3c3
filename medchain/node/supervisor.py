"""The node's first process: starts the ledger daemon and the web workers, watches them, stops them in order.

Keeps true: one node runs once in its folder; a child that dies is started again, later each time it dies young; a
daemon that lives but no longer beats is killed and started again; children get only the half of the root key that is
theirs, through a pipe, and the workers theirs only while the daemon serves: until then they load what they are made of,
and wait; a child whose supervisor is gone ends by itself, since the pipe closes. The supervisor itself outlives a full
disk and a system without room for a process. At a stop the web workers go first, so that nobody is turned away by
a node that still answers. Trusts the operating system.
Source: `docs/spec/node-protocol.md`, `docs/adr/0005-node-processes.md`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Final

from medchain.crypto.keywrap import KEY_BYTES, SecretBytes
from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import ConflictError, UnavailableError
from medchain.node.config import ENVIRONMENT_PREFIX, load_config
from medchain.node.counting import counting_folder
from medchain.node.folder_lock import FolderLock
from medchain.node.heartbeat import HEARTBEAT_NAME, STALL_S, heartbeat_age_s
from medchain.node.keystore import (
    PASSPHRASE_VARIABLE,
    Layout,
    Unlock,
    open_root_file,
    open_web_keys,
    unlock,
    write_private_file,
)
from medchain.node.local_state import STATE_NAME
from medchain.node.log import Log, open_log
from medchain.node.signals import set_at_signals

NODE_STATE_NAME: Final = "node.json"
"""Name of the file in the folder `run` that tells of the supervisor and its children."""

FIRST_DELAY_S: Final = 0.5
"""How long after its death a child is started again; doubled each time."""

LONGEST_DELAY_S: Final = 30.0
"""Longest such delay."""

SETTLED_S: Final = 60.0
"""Who lived so long starts with the first delay again."""

START_S: Final = 60.0
"""How long a daemon may take from its start to its first beat: it replays what its crash left."""

GRACE_S: Final = 5.0
"""So much longer than its own patience at a stop a child may live: it cuts off what is not done, and ends by itself."""

_POLL_S: Final = 0.1
_WAITING_POLL_S: Final = 0.02
_METRICS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_LOG: Final = Log("supervisor")
_MAX_UNLOCK_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep running.

    Attributes:
        name: for logs and the state file.
        arguments: of the process, the executable first.
        unlock: first line of its standard input; it waits for this line before it opens anything.
        heartbeat: file that it must keep beating, if it does.
        ready: file that it writes once it serves; the next child gets its line after that.
        barred: file that keeps it from being started while it is there.
    """

    name: str
    arguments: tuple[str, ...]
    unlock: bytes
    heartbeat: Path | None = None
    ready: Path | None = None
    barred: Path | None = None


@dataclass(slots=True)
class _Running:
    """A child with its present process."""

    child: Child
    process: subprocess.Popen[bytes] | None = None
    is_unlocked: bool = False
    started: float = 0.0
    restarts: int = 0
    delay_s: float = FIRST_DELAY_S
    next_start: float = field(default=0.0)


def run_node(
    config_path: Path, flags: Mapping[str, str], passphrase: str | None = None, parent: int | None = None
) -> int:
    """Run a node until SIGTERM or SIGINT, or until whoever started it is gone.

    Args:
        config_path: its `node.toml`.
        flags: settings from the command line.
        passphrase: of the root key, where the configuration says that it is sealed with one.
        parent: descriptor of a pipe's read end that closes when the starting program ends, however it does; None to
            outlive it.

    Returns:
        Exit status: 0 after an orderly stop, 1 when a child had to be killed.

    Raises:
        ConflictError: ``node.running`` when the node runs already.
        MedchainError: a configuration or root key that cannot be used; ``keys.unwrap`` for another node's root key.
    """
    config = load_config(config_path, os.environ, flags)
    halves = unlock(open_root_file(config.key_file, passphrase if config.key_source == "passphrase" else None))
    # A child that cannot open the keystore would die and be started again for ever.
    open_web_keys(config.folder, halves)
    layout = Layout(config.folder)
    layout.create()
    open_log(layout.logs, "supervisor", config.log_level)
    stop = Event()
    set_at_signals(stop)
    if parent is not None:
        Thread(target=_watch_parent, args=(parent, stop), name="parent-watch", daemon=True).start()
    with node_lock(layout), counting_folder(layout.run) as counted:
        _clean(layout)
        environment = _environment(counted, flags)
        children = node_children(config_path.resolve(), layout, halves, signs=config.sign_listen is not None)
        return Supervisor(layout, children, environment, config.stop_timeout_s).run(stop)


def node_children(config_path: Path, layout: Layout, halves: Unlock, *, signs: bool = False) -> tuple[Child, ...]:
    """Name the processes of a node, in the order in which they get their keys.

    Their modules are above this floor and are named, not imported: each is a program of its own. Where patients sign
    here (`signs`), the page for that is one of them, at an address that it shares with nothing else.
    """
    python = (sys.executable, "-m", "medchain.node.start")
    for_web = encode_unlock(Unlock(halves.web, None))
    signing = Child(
        "sign", (*python, "medchain.web.workers", str(config_path), "sign"), for_web, barred=layout.restored
    )
    return (
        Child(
            "daemon",
            (*python, "medchain.daemon", str(config_path)),
            encode_unlock(halves),
            layout.run / HEARTBEAT_NAME,
            layout.run / STATE_NAME,
        ),
        Child(
            "web",
            (*python, "medchain.web.workers", str(config_path)),
            for_web,
            # A restored node shows no record before the keys that were destroyed since are destroyed again.
            barred=layout.restored,
        ),
        *((signing,) if signs else ()),
    )


def encode_unlock(halves: Unlock) -> bytes:
    """Write halves of the root key as the first line of a child's standard input."""
    document: Json = {
        "daemon": None if halves.daemon is None else bytes(halves.daemon).hex(),
        "web": bytes(halves.web).hex(),
    }
    return canonical(document) + b"\n"


def decode_unlock(line: bytes) -> Unlock:
    """Read what `encode_unlock` wrote; raises `InputError` ``encoding.*``."""
    document = parse_canonical(line.rstrip(b"\n"), max_bytes=_MAX_UNLOCK_BYTES)
    is_web = isinstance(document, dict) and document.get("daemon") is None
    found = members(document, {"daemon": type(None) if is_web else str, "web": str})
    web = SecretBytes(unhex(found["web"], KEY_BYTES))
    return Unlock(web, None if is_web else SecretBytes(unhex(found["daemon"], KEY_BYTES)))


def node_lock(layout: Layout) -> FolderLock:
    """Keep a second node out of a folder; raises `ConflictError` ``node.running`` when it is taken."""
    return FolderLock(layout.run / "lock", ConflictError("node.running", folder=str(layout.folder)))


class Supervisor:
    """Keeps children running."""

    __slots__ = ("_environment", "_layout", "_running", "_stop_timeout_s", "_tell_at")

    def __init__(
        self, layout: Layout, children: Sequence[Child], environment: Mapping[str, str], stop_timeout_s: float
    ) -> None:
        """Plan; nothing is started yet.

        Args:
            layout: of the node's folder.
            children: in the order in which they get their keys; they stop in reverse.
            environment: of the children.
            stop_timeout_s: patience with each child at a stop.
        """
        self._layout = layout
        self._running = [_Running(child) for child in children]
        self._environment = dict(environment)
        self._stop_timeout_s = stop_timeout_s
        self._tell_at = float("inf")

    def run(self, stop: Event) -> int:
        """Run until told to stop.

        Args:
            stop: ends it when set.

        Returns:
            Exit status: 0, or 1 when a child had to be killed at the stop.
        """
        _LOG.info("node.starting")
        while not stop.is_set():
            self._step(time.monotonic())
            stop.wait(_WAITING_POLL_S if any(map(_waits, self._running)) else _POLL_S)
        _LOG.info("node.stopping")
        killed = [self._end(running) for running in reversed(self._running)]
        (self._layout.run / NODE_STATE_NAME).unlink(missing_ok=True)
        _LOG.info("node.stopped")
        return 1 if any(killed) else 0

    def _step(self, now: float) -> None:
        """Look at every child once."""
        changed = False
        for running in self._running:
            process = running.process
            if process is not None and process.poll() is not None:
                self._bury(running, now)
                changed = True
            elif process is not None and self._is_stalled(running, now):
                _LOG.error("child.stalled", child=running.child.name, pid=process.pid)
                process.kill()
            if running.process is None and now >= running.next_start and not _is_barred(running.child):
                self._start(running, now)
                changed = True
            if _waits(running) and self._is_next(running):
                _unlock(running)
        if changed:
            self._tell_at = now
        if now >= self._tell_at:
            self._tell(now)

    def _is_next(self, running: _Running) -> bool:
        """Tell whether all children before this one serve, and nothing has come to bar it."""
        if _is_barred(running.child):
            return False
        before = self._running[: self._running.index(running)]
        return all(
            earlier.process is not None and (earlier.child.ready is None or earlier.child.ready.exists())
            for earlier in before
        )

    def _start(self, running: _Running, now: float) -> None:
        """Start a child; what it opens waits for its key."""
        child = running.child
        for path in (child.ready, child.heartbeat):
            if path is not None:
                path.unlink(missing_ok=True)
        try:
            # A session of its own: Ctrl-C reaches the supervisor alone, which stops the children in order. No buffer:
            # what a child that died did not read would be written again when its pipe is closed, and raise there.
            process = subprocess.Popen(  # noqa: S603  # our own modules, no shell
                child.arguments, bufsize=0, stdin=subprocess.PIPE, env=self._environment, start_new_session=True
            )
        except OSError as error:
            _LOG.error("child.not_started", error, child=child.name)
            running.next_start, running.delay_s = now + running.delay_s, min(2 * running.delay_s, LONGEST_DELAY_S)
            return
        running.process, running.started, running.is_unlocked = process, now, False
        _LOG.info("child.started", child=child.name, pid=process.pid)

    def _bury(self, running: _Running, now: float) -> None:
        """Note a child's death and plan its next life."""
        if running.process is None:
            return
        status = running.process.returncode
        if running.process.stdin is not None:
            running.process.stdin.close()
        # Who ended in order was told to, such as for new keys.
        if status == 0 or now - running.started > SETTLED_S:
            running.delay_s = FIRST_DELAY_S
        running.process = None
        running.next_start = now + running.delay_s
        running.restarts += 1
        _LOG.error("child.died", child=running.child.name, status=status, restarts=running.restarts)
        running.delay_s = min(2 * running.delay_s, LONGEST_DELAY_S)

    def _is_stalled(self, running: _Running, now: float) -> bool:
        """Tell whether a child that should beat does not."""
        if running.child.heartbeat is None:
            return False
        age_s = heartbeat_age_s(running.child.heartbeat)
        return now - running.started > START_S if age_s is None else age_s > STALL_S

    def _end(self, running: _Running) -> bool:
        """Stop a child; tells whether it had to be killed."""
        process = running.process
        if process is None:
            return False
        process.terminate()
        killed = False
        try:
            process.wait(self._stop_timeout_s + GRACE_S)
        except subprocess.TimeoutExpired:
            _LOG.error("child.killed", child=running.child.name, pid=process.pid)
            process.kill()
            process.wait()
            killed = True
        if process.stdin is not None:
            process.stdin.close()
        return killed

    def _tell(self, now: float) -> None:
        """Tell who runs; what finds no room on the disk is told later."""
        try:
            self._write_state()
            self._tell_at = float("inf")
        except OSError as error:
            _LOG.error("node.untold", error)
            self._tell_at = now + FIRST_DELAY_S

    def _write_state(self) -> None:
        """Tell who runs, for `medchain status`."""
        processes: Json = {
            running.child.name: {
                "pid": None if running.process is None else running.process.pid,
                "restarts": running.restarts,
            }
            for running in self._running
        }
        document: Json = {"pid": os.getpid(), "processes": processes, "type": "medchain/node-state/v1"}
        write_private_file(self._layout.run / NODE_STATE_NAME, canonical(document))


def read_node_state(layout: Layout) -> dict[str, Json]:
    """Read who runs.

    Returns:
        ``{"pid":…,"processes":{NAME:{"pid":…,"restarts":…}}}``.

    Raises:
        UnavailableError: ``node.not_running``, also where a killed node has left its file.
    """
    try:
        content = (layout.run / NODE_STATE_NAME).read_bytes()
    except OSError as error:
        raise UnavailableError("node.not_running") from error
    state = members(parse_canonical(content, max_bytes=_MAX_UNLOCK_BYTES), {"pid": int, "processes": dict, "type": str})
    if not _lives(int(str(state["pid"]))):
        raise UnavailableError("node.not_running")
    return state


def _is_barred(child: Child) -> bool:
    """Tell whether something bars a child."""
    return child.barred is not None and child.barred.exists()


def _waits(running: _Running) -> bool:
    """Tell whether a child runs and has not got its key."""
    return running.process is not None and not running.is_unlocked


def _unlock(running: _Running) -> None:
    """Hand a child its key, once."""
    running.is_unlocked = True
    try:
        if running.process is not None and running.process.stdin is not None:
            running.process.stdin.write(running.child.unlock)
    except OSError:
        _LOG.warning("child.died_at_start", child=running.child.name)


def _lives(pid: int) -> bool:
    """Tell whether a process lives."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _watch_parent(descriptor: int, stop: Event) -> None:
    """Stop when a pipe closes: who was killed cannot say that it ends, but the system closes what it held."""
    try:
        while os.read(descriptor, 4096):
            """Nothing is expected; whatever comes is dropped."""
    except OSError as error:
        _LOG.error("node.parent_unknown", error)
    _LOG.warning("node.parent_gone")
    stop.set()


def _clean(layout: Layout) -> None:
    """Remove what an earlier life left."""
    for name in (STATE_NAME, NODE_STATE_NAME, HEARTBEAT_NAME):
        (layout.run / name).unlink(missing_ok=True)


def _environment(counted: Path, flags: Mapping[str, str]) -> dict[str, str]:
    """Make the children's environment: flags become variables, which have the same weight there."""
    environment = {name: value for name, value in os.environ.items() if name != PASSPHRASE_VARIABLE}
    environment |= {ENVIRONMENT_PREFIX + name.replace(".", "_").upper(): value for name, value in flags.items()}
    environment[_METRICS_VARIABLE] = str(counted)
    # glibc gives each thread an arena of its own, and what one of them frees serves no other.
    environment.setdefault("MALLOC_ARENA_MAX", "1")
    return environment
