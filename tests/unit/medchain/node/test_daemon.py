"""The daemon's life: it tells where it is, beats while all is well, ends when a part fails."""

from __future__ import annotations

import errno
from contextlib import closing, suppress
from threading import Event, Thread

import pytest

from medchain.errors import NotFoundError, UnavailableError
from medchain.node import daemon as daemon_module
from medchain.node.assembly import LocalOperations
from medchain.node.config import Address
from medchain.node.daemon import Job, Plan, Watched, run_daemon, url_of
from medchain.node.heartbeat import HEARTBEAT_NAME, Heartbeat, heartbeat_age_s
from medchain.node.keystore import Layout
from medchain.node.local import LocalClient
from medchain.node.local_state import read_state
from medchain.web import server as server_module
from medchain.web.peer import local_routes
from medchain.web.routing import Router
from medchain.web.server import DaemonServer
from tests.waiting import eventually

ANYWHERE = Address("127.0.0.1", 0)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(server_module, "STOP_POLL_S", 0.01)
    monkeypatch.setattr(daemon_module, "BEAT_S", 0.02)
    monkeypatch.setattr(daemon_module, "STALL_S", 0.1)


@pytest.fixture
def layout(tmp_path):
    found = Layout(tmp_path)
    found.create()
    return found


class Running:
    """A daemon in a thread."""

    def __init__(self, layout: Layout, **more: object) -> None:
        """Start it and wait until it says where it is."""
        self.stop, self.status = Event(), None
        local = Router("local", local_routes(LocalOperations({"echo": lambda d: d})), local_secret="abc")
        self.plan = Plan(DaemonServer(ANYWHERE, Router("peer", [])), DaemonServer(ANYWHERE, local), "abc", **more)
        self.thread = Thread(target=self._run, args=(layout,))
        self.thread.start()
        assert eventually(lambda: (layout.run / "daemon.json").exists() or not self.thread.is_alive(), every_s=0.005)

    def _run(self, layout: Layout) -> None:
        self.status = run_daemon(layout, self.plan, self.stop, stop_timeout_s=0.5)

    def end(self) -> int | None:
        self.stop.set()
        self.thread.join(60)
        return self.status


def wait_job(stop: Event) -> None:
    stop.wait()


@pytest.fixture
def client(layout):
    with closing(LocalClient(layout.folder)) as found:
        yield found


def test_it_answers_its_own_node_until_it_is_stopped(layout, client):
    running = Running(layout, jobs=[Job("wait", wait_job)])
    assert client.call("echo", {"a": [1]}) == {"a": [1]}
    assert b"medchain_requests" in client.get("/metrics")
    with pytest.raises(NotFoundError) as caught:
        client.call("other", {})
    assert caught.value.code == "local.operation"
    assert running.end() == 0
    assert not (layout.run / "daemon.json").exists()
    assert not (layout.run / HEARTBEAT_NAME).exists()


def test_clients_find_a_daemon_that_started_anew(layout, client):
    first = Running(layout)
    client.call("echo", 1)
    first.end()
    with pytest.raises(UnavailableError):
        client.call("echo", 1)
    second = Running(layout)
    assert client.call("echo", 2) == 2
    second.end()


def test_the_state_file_is_for_its_owner_only(layout):
    running = Running(layout)
    assert (layout.run / "daemon.json").stat().st_mode & 0o077 == 0
    assert read_state(layout)["local"] == url_of("http", running.plan.local.address)
    running.end()


def test_a_damaged_state_file_is_no_daemon(layout, client):
    (layout.run / "daemon.json").write_text("{")
    with pytest.raises(UnavailableError):
        client.call("echo", 1)


def test_it_beats(layout):
    running = Running(layout)
    beats: set[bytes] = set()

    def has_beaten() -> bool:
        with suppress(FileNotFoundError):
            beats.add((layout.run / HEARTBEAT_NAME).read_bytes())
        return len(beats) == 3

    assert eventually(has_beaten, every_s=0.01)
    age_s = heartbeat_age_s(layout.run / HEARTBEAT_NAME)
    assert age_s is not None
    assert 0 <= age_s < 60
    running.end()


def test_a_beat_that_the_disk_does_not_take_ends_nothing(layout, monkeypatch):
    """A disk that writes anew elsewhere what it has needs room for that, and a node that can still read must go on."""
    tried = []

    def full(_heartbeat):
        tried.append(None)
        if len(tried) > 1:
            raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(Heartbeat, "beat", full)
    running = Running(layout)
    assert eventually(lambda: len(tried) > 3)
    assert running.end() == 0


def beats_no_more(layout: Layout) -> bool:
    """Tell whether the last beat is long ago; none is nothing that is known."""
    age_s = heartbeat_age_s(layout.run / HEARTBEAT_NAME)
    return age_s is not None and age_s > 1


def test_a_part_that_stands_still_stops_the_beat(layout):
    running = Running(layout, watched=[Watched("committer", lambda: 31.0)])
    assert eventually(lambda: beats_no_more(layout))
    running.end()


def test_a_server_that_died_stops_the_beat(layout):
    running = Running(layout)
    running.plan.peer.stop(1)
    assert eventually(lambda: beats_no_more(layout))
    running.end()


def fail(_stop: Event) -> None:
    raise RuntimeError("broken")


def leave(_stop: Event) -> None:
    """Return at once, as no job may."""


@pytest.mark.parametrize("run", [fail, leave])
def test_a_job_that_ends_ends_the_daemon(layout, run):
    running = Running(layout, jobs=[Job("bad", run)])
    running.thread.join(60)
    assert running.status == 1


def test_a_stop_closes_in_reverse_and_leaves_a_job_that_does_not_end(layout):
    closed = []
    never = Event()
    running = Running(
        layout,
        jobs=[Job("deaf", lambda _stop: never.wait())],
        close=[lambda: closed.append(1), lambda: closed.append(2)],
    )
    assert running.end() == 0
    assert closed == [2, 1]
    never.set()


def test_a_heartbeat_that_cannot_be_read_has_no_age(tmp_path):
    assert heartbeat_age_s(tmp_path / "none") is None
    (tmp_path / "bad").write_text("x")
    assert heartbeat_age_s(tmp_path / "bad") is None
    with Heartbeat(tmp_path / "good"):
        assert heartbeat_age_s(tmp_path / "good") < 60


def test_an_ipv6_address_is_bracketed():
    assert url_of("https", Address("::1", 7)) == "https://[::1]:7"
