"""The supervisor: it starts, watches, starts again and stops its children; small programs stand for them."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from medchain.errors import ConflictError, InputError, UnavailableError
from medchain.node import supervisor as supervisor_module
from medchain.node.keystore import Layout, Unlock, unlock
from medchain.node.supervisor import (
    Child,
    Supervisor,
    decode_unlock,
    encode_unlock,
    node_children,
    node_lock,
    read_node_state,
)
from tests.waiting import eventually

HALVES = unlock(bytes(32))

LIVES = """
import os, sys, time
line = sys.stdin.readline()
open(sys.argv[1] + ".got", "w").write(line)
open(sys.argv[1] + ".pid", "a").write(f"{os.getpid()}\\n")
open(sys.argv[1] + ".env", "w").write(repr(dict(os.environ)))
"""
LOADS = "import os, sys\nopen(sys.argv[1] + '.loaded', 'a').write(f'{os.getpid()}\\n')\n" + LIVES + "sys.stdin.read()\n"
WAITS = LIVES + "sys.stdin.read()\n"
DIES = LIVES + "sys.exit(3)\n"
IGNORES = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + LIVES + "time.sleep(60)\n"
# Waited for, not handled: a signal that comes just before a program falls asleep calls no handler of Python's.
TOLD = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n" + LIVES
TOLD += "open(sys.argv[1] + '.up', 'w').close(); signal.sigtimedwait({signal.SIGTERM}, 600)\n"
CUTS = TOLD + "time.sleep(0.6)\n"
NOTES = TOLD + "open(sys.argv[1][:-3] + 'order', 'a').write(sys.argv[1][-3:] + ' ')\n"
BEATS_ONCE = LIVES + "open(sys.argv[1] + '.beat', 'w').write(f'{time.monotonic():.3f}'); sys.stdin.read()\n"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(supervisor_module, "_POLL_S", 0.01)
    monkeypatch.setattr(supervisor_module, "_WAITING_POLL_S", 0.01)
    monkeypatch.setattr(supervisor_module, "FIRST_DELAY_S", 0.02)


@pytest.fixture
def layout(tmp_path):
    found = Layout(tmp_path)
    found.create()
    return found


def child(layout: Layout, name: str, program: str, **more: object) -> Child:
    return Child(name, (sys.executable, "-S", "-c", program, str(layout.run / name)), b"secret\n", **more)


class Running:
    """A supervisor in a thread."""

    def __init__(self, layout: Layout, *children: Child, stop_timeout_s: float = 60) -> None:
        """Start it."""
        self.stop, self.status = Event(), None
        self.layout = layout
        supervisor = Supervisor(layout, children, {"PATH": os.environ["PATH"]}, stop_timeout_s)
        self.thread = Thread(target=lambda: setattr(self, "status", supervisor.run(self.stop)))
        self.thread.start()

    def pids(self, name: str) -> list[int]:
        """Give the processes that were handed their line, oldest first."""
        return self._told(f"{name}.pid")

    def loaded(self, name: str) -> list[int]:
        """Give the processes of `LOADS` that have come as far as waiting for their line, oldest first."""
        return self._told(f"{name}.loaded")

    def _told(self, name: str) -> list[int]:
        """Read the whole lines of a file alone: a child may just have made it, or be writing it."""
        try:
            lines = (self.layout.run / name).read_text().splitlines(keepends=True)
        except OSError:
            return []
        return [int(line) for line in lines if line.endswith("\n")]

    def end(self) -> int | None:
        self.stop.set()
        self.thread.join(60)
        return self.status


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_children_get_their_line_and_stop_when_told(layout):
    running = Running(layout, child(layout, "one", WAITS))
    assert eventually(lambda: running.pids("one"))
    assert (layout.run / "one.got").read_text() == "secret\n"
    assert eventually((layout.run / "node.json").exists)
    state = read_node_state(layout)
    assert state["processes"] == {"one": {"pid": running.pids("one")[0], "restarts": 0}}
    assert running.end() == 0
    assert not is_alive(running.pids("one")[0])
    with pytest.raises(UnavailableError):
        read_node_state(layout)


def test_a_child_that_is_killed_is_started_again(layout):
    running = Running(layout, child(layout, "one", WAITS))
    assert eventually(lambda: running.pids("one"))
    os.kill(running.pids("one")[0], signal.SIGKILL)
    assert eventually(lambda: len(running.pids("one")) == 2)
    assert eventually(lambda: read_node_state(layout)["processes"]["one"]["restarts"] == 1)
    running.end()


@pytest.mark.parametrize("what", ["write_private_file", "subprocess.Popen"])
def test_a_node_outlives_a_disk_that_is_full_and_a_system_that_gives_no_process(layout, monkeypatch, what):
    """Who supervises must not be the first to die, or a full disk would end what could still be read."""
    running = Running(layout, child(layout, "one", WAITS))
    assert eventually(lambda: running.pids("one") and (layout.run / "node.json").exists())
    refused = []

    def refuse(*arguments: object, **_: object) -> None:
        refused.append(arguments)
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patch:
        patch.setattr(f"medchain.node.supervisor.{what}", refuse)
        os.kill(running.pids("one")[0], signal.SIGKILL)
        assert eventually(lambda: len(refused) > 1)
        assert running.thread.is_alive()
    assert eventually(lambda: len(running.pids("one")) == 2)
    assert eventually(lambda: read_node_state(layout)["processes"]["one"]["pid"] == running.pids("one")[1])
    assert running.end() == 0


def test_a_child_that_dies_young_is_started_later_each_time(layout, monkeypatch):
    monkeypatch.setattr(supervisor_module, "LONGEST_DELAY_S", 0.3)
    began = time.monotonic()
    running = Running(layout, child(layout, "one", DIES))
    assert eventually(lambda: len(running.pids("one")) >= 7)
    took_s = time.monotonic() - began
    running.end()
    # At 20, 40, 80, 160, 300, 300 ms between lives; without it seven are over in a tenth of that.
    assert took_s > 0.8


def test_a_child_that_no_longer_beats_is_killed_and_started_again(layout, monkeypatch):
    monkeypatch.setattr(supervisor_module, "STALL_S", 0.2)
    running = Running(layout, child(layout, "one", BEATS_ONCE, heartbeat=layout.run / "one.beat"))
    assert eventually(lambda: len(running.pids("one")) >= 2)
    running.end()


def test_a_child_that_never_beats_is_killed_after_its_time_to_start(layout, monkeypatch):
    monkeypatch.setattr(supervisor_module, "START_S", 0.2)
    running = Running(layout, child(layout, "one", WAITS, heartbeat=layout.run / "one.beat"))
    # By what the supervisor tells: a child may not have come to its first line in so short a time.
    assert eventually((layout.run / "node.json").exists)
    assert eventually(lambda: read_node_state(layout)["processes"]["one"]["restarts"] >= 1)
    running.end()


def test_the_next_child_starts_at_once_and_gets_its_key_when_the_one_before_serves(layout):
    ready = layout.run / "ready"
    running = Running(layout, child(layout, "one", WAITS, ready=ready), child(layout, "two", LOADS))
    assert eventually(lambda: running.loaded("two"))
    assert eventually(lambda: running.pids("one"))
    time.sleep(0.1)
    assert running.pids("two") == []
    ready.touch()
    assert eventually(lambda: running.pids("two"))
    assert (layout.run / "two.got").read_text() == "secret\n"
    assert running.end() == 0


def test_a_child_whose_forerunner_dies_before_it_serves_waits_on_without_its_key(layout):
    ready = layout.run / "ready"
    running = Running(layout, child(layout, "one", DIES, ready=ready), child(layout, "two", LOADS))
    assert eventually(lambda: len(running.pids("one")) >= 3)
    assert eventually(lambda: running.loaded("two"))
    assert (layout.run / "two.loaded").read_text().count("\n") <= 1
    assert running.pids("two") == []
    assert running.end() == 0
    assert running.pids("two") == []


def test_what_a_dead_life_of_the_forerunner_left_gives_no_key(layout):
    ready = layout.run / "ready"
    running = Running(layout, child(layout, "one", WAITS, ready=ready), child(layout, "two", LOADS))
    assert eventually(lambda: running.pids("one"))
    ready.touch()
    assert eventually(lambda: len(running.pids("two")) == 1)
    # One after the other: were the first the last to be found dead, the second would be right to take it for alive.
    os.kill(running.pids("one")[0], signal.SIGKILL)
    assert eventually(lambda: len(running.pids("one")) == 2)
    os.kill(running.pids("two")[0], signal.SIGKILL)
    assert eventually(lambda: len(running.loaded("two")) == 2)
    time.sleep(0.1)
    assert len(running.pids("two")) == 1
    ready.touch()
    assert eventually(lambda: len(running.pids("two")) == 2)
    assert running.end() == 0


def test_a_child_that_dies_as_it_is_handed_its_key_is_started_again(layout, monkeypatch):
    """The pipe breaks under the supervisor's hands, which must outlive it."""
    ready = layout.run / "ready"
    handed = supervisor_module._unlock  # noqa: SLF001  # the moment at which the child dies
    monkeypatch.setattr(supervisor_module, "_unlock", killed_first(handed))
    running = Running(layout, child(layout, "one", WAITS, ready=ready), child(layout, "two", WAITS))
    assert eventually(lambda: running.pids("one"))
    ready.touch()
    assert eventually(lambda: running.pids("two"))
    assert read_node_state(layout)["processes"]["two"]["restarts"] == 1
    assert running.end() == 0


def killed_first(unlock: Callable[[object], None]) -> Callable[[object], None]:
    """Kill the first child named "two" before it is handed its key, and after it was seen alive."""
    killed: list[int] = []

    def unlock_dead(running: supervisor_module._Running) -> None:
        if running.child.name == "two" and not killed:
            killed.append(running.process.pid)
            os.kill(running.process.pid, signal.SIGKILL)
            os.waitid(os.P_PID, running.process.pid, os.WEXITED | os.WNOWAIT)
        unlock(running)

    return unlock_dead


def test_children_are_stopped_while_they_wait_for_their_keys(layout):
    ready = layout.run / "ready"
    running = Running(layout, child(layout, "one", WAITS, ready=ready), child(layout, "two", LOADS))
    assert eventually(lambda: running.loaded("two"))
    (waiting,) = running.loaded("two")
    assert running.end() == 0
    assert not is_alive(waiting)
    assert not (layout.run / "two.got").exists()


def test_a_child_that_comes_to_be_barred_while_it_waits_gets_no_key(layout):
    ready, bar = layout.run / "ready", layout.folder / "bar"
    running = Running(layout, child(layout, "one", WAITS, ready=ready), child(layout, "two", LOADS, barred=bar))
    assert eventually(lambda: running.loaded("two"))
    bar.touch()
    ready.touch()
    time.sleep(0.2)
    assert running.pids("two") == []
    bar.unlink()
    assert eventually(lambda: running.pids("two"))
    assert running.end() == 0


def test_a_child_that_a_file_bars_starts_when_the_file_goes(layout):
    bar = layout.folder / "bar"
    bar.touch()
    running = Running(layout, child(layout, "one", WAITS), child(layout, "two", WAITS, barred=bar))
    assert eventually(lambda: running.pids("one"))
    time.sleep(0.2)
    assert running.pids("two") == []
    bar.unlink()
    assert eventually(lambda: running.pids("two"))
    assert running.end() == 0


def test_a_restored_node_has_no_web_workers_before_it_is_whole(layout):
    daemon, web = node_children(layout.folder / "node.toml", layout, HALVES)
    assert (daemon.barred, web.barred) == (None, layout.folder / "restored")


def test_children_stop_in_reverse_order(layout):
    running = Running(layout, child(layout, "one", NOTES), child(layout, "two", NOTES))
    assert eventually(lambda: (layout.run / "one.up").exists() and (layout.run / "two.up").exists())
    assert running.end() == 0
    assert (layout.run / "order").read_text().split() == ["two", "one"]


def test_a_child_that_does_not_stop_is_killed(layout, monkeypatch):
    monkeypatch.setattr(supervisor_module, "GRACE_S", 0.2)
    running = Running(layout, child(layout, "one", IGNORES), stop_timeout_s=0)
    assert eventually(lambda: running.pids("one"))
    assert running.end() == 1
    assert not is_alive(running.pids("one")[0])


def test_a_child_that_cuts_off_what_is_not_done_at_the_end_of_its_patience_is_not_killed(layout, monkeypatch):
    """Web workers are killed by their own parent then, which has the writer to wait for."""
    monkeypatch.setattr(supervisor_module, "GRACE_S", 60)
    running = Running(layout, child(layout, "one", CUTS), stop_timeout_s=0.5)
    assert eventually(lambda: running.pids("one"))
    assert running.end() == 0


def test_a_node_runs_once_in_its_folder(layout):
    with node_lock(layout), pytest.raises(ConflictError), node_lock(layout):
        pytest.fail("a second node got in")
    with node_lock(layout):
        """It can be taken again once it was given back."""


def test_web_workers_are_handed_the_web_half_alone(layout):
    daemon, web = node_children(Path("/n/node.toml"), layout, HALVES)
    assert decode_unlock(daemon.unlock) == HALVES
    assert decode_unlock(web.unlock) == Unlock(HALVES.web, None)
    assert bytes(HALVES.daemon).hex().encode() not in web.unlock
    assert daemon.heartbeat is not None
    assert "medchain.daemon" in daemon.arguments
    assert "medchain.web.workers" in web.arguments


@pytest.mark.parametrize("line", [b"", b"{}", b'{"daemon":null,"web":"00"}', b'{"daemon":7,"web":"00"}'])
def test_a_line_that_is_no_key_is_refused(line):
    with pytest.raises(InputError):
        decode_unlock(line)


def test_a_passphrase_in_the_environment_is_not_inherited(layout, monkeypatch):
    monkeypatch.setenv("MEDCHAIN_PASSPHRASE", "correct horse")
    environment = supervisor_module._environment(layout, {"web.workers": "7"})  # noqa: SLF001  # what children see
    assert "correct horse" not in environment.values()
    assert environment["MEDCHAIN_WEB_WORKERS"] == "7"
    assert encode_unlock(HALVES).endswith(b"\n")
