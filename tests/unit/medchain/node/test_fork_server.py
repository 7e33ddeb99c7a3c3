"""The fork server: processes that are there at once, shared by all who ask, bounded, and ended with who has them."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from medchain.errors import UnavailableError
from medchain.node.fork_server import GIVEN, ForkServer, comes
from tests.children import ends

PROGRAM = """
import json, os, sys
from medchain.node.fork_server import heard, tell_free, wait_for_next

if sys.argv[-1] == "idle":
    # Loaded by the server.
    sys.modules["__main__"].IDLE_S = 0.2

def main(arguments):
    if arguments == ["fail"]:
        raise ValueError("张三")
    while True:
        with heard():
            held = sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}"))
            seen = {"arguments": arguments, "held": held, "key": getattr(sys.modules["__main__"], "key", None)}
            os.write(1, json.dumps({**seen, "parent": os.getppid(), "pid": os.getpid()}).encode() + b"\\n")
            word = os.read(0, 100)
        if word != b"again":
            os.write(1, word)
            return 0
        tell_free()
        if not wait_for_next():
            return 0
"""

PREPARING = """
import os
made = []

def prepare():
    for number in range(3):
        made.append(number)
        yield

def main(arguments):
    os.write(1, b"%d\\n" % len(made))
    return 0
"""

STAYING = """
import json, os
from medchain.node.fork_server import tell_free, wait_for_next
made = []

def prepare():
    made.append(1)
    yield

def main(arguments):
    while True:
        os.write(1, json.dumps({"made": len(made), "pid": os.getpid()}).encode() + b"\\n")
        os.read(0, 100)
        tell_free()
        if not wait_for_next():
            return 0
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    (tmp_path / "forked_for_tests.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return "forked_for_tests"


@pytest.fixture
def make(program):
    made = []

    def server(*arguments: str) -> ForkServer:
        made.append(ForkServer.spawned(program, *arguments))
        return made[-1]

    yield server
    for one in made:
        one.close()


class Asker:
    """Somebody who asks, and what the process says that was given."""

    def __init__(self, server: ForkServer, first: bytes = b"", most: int = 1) -> None:
        """Ask, and have the process read this first."""
        self.to_it, self.from_it = server.ask(most, first)

    def is_given(self, patience_s: float = 60) -> bool:
        return comes(self.from_it, patience_s)

    def seen(self) -> dict:
        assert self.from_it.read(1) == GIVEN
        return json.loads(self.from_it.readline() or b"{}")

    def free(self) -> None:
        """Have the process do what it was asked for; it may do more."""
        self.to_it.write(b"again")
        self.to_it.flush()

    def close(self) -> None:
        self.from_it.close()
        self.to_it.close()


def processes(server: ForkServer) -> set[int]:
    """Return the pids of a server's processes."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return {int(pid) for pid in children.split()}


def open_files(server: ForkServer) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def run(script: str) -> str:
    """Run a program that forks its server from itself; returns what it prints."""
    words = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


def test_a_process_has_its_arguments_its_pipes_and_its_way_to_the_server_and_nothing_else(make):
    server = make("a", "二")
    asker = Asker(server, b"again")
    seen = asker.seen()
    assert seen["arguments"] == ["a", "二"]
    assert seen["parent"] == server.pid
    # Standard input, output and error; the way to its server; what tells the watch of its output to stop.
    assert seen["held"] == [0, 1, 2, 3, 4]
    after = Asker(server)
    assert after.seen() == seen
    after.close()
    asker.close()


def test_a_process_ends_once_nobody_reads_it_whatever_it_waits_for(make):
    asker = Asker(make())
    pid = asker.seen()["pid"]
    asker.from_it.close()
    assert ends(pid)
    asker.to_it.close()


def test_a_process_that_is_free_is_given_before_there_is_another(make):
    server, askers, pids = make(), [], []
    deadline = time.monotonic() + 60
    while len(pids) == len(set(pids)) and time.monotonic() < deadline:
        askers.append(Asker(server, b"again", most=1000))
        pids.append(askers[-1].seen()["pid"])
        # It is told that it is free some time after what it was asked for is done.
        time.sleep(0.1)
    assert len(pids) == len(set(pids)) + 1
    for asker in askers:
        asker.close()


def test_there_are_no_more_processes_than_there_may_be_and_who_came_first_is_served_first(make):
    server = make()
    askers = [Asker(server, most=2) for _ in range(5)]
    pids = {asker.seen()["pid"] for asker in askers[:2]}
    assert not any(asker.is_given(0.1) for asker in askers[2:])
    assert processes(server) == pids
    for done, served, waiting in ((0, 2, (3, 4)), (1, 3, (4,)), (2, 4, ())):
        askers[done].free()
        assert askers[served].is_given()
        assert not any(askers[number].is_given(0.1) for number in waiting)
        assert askers[served].seen()["pid"] in pids
    assert processes(server) == pids
    for asker in askers:
        asker.close()


def test_who_waits_has_the_place_of_a_process_that_was_killed(make):
    server = make()
    first, second = Asker(server), Asker(server)
    pid = first.seen()["pid"]
    os.kill(pid, signal.SIGKILL)
    assert second.seen()["pid"] != pid
    assert first.from_it.read() == b""
    for asker in (first, second):
        asker.close()


def test_who_asks_has_the_place_of_a_process_that_was_killed_while_it_was_free(make):
    server = make()
    first = Asker(server, b"again")
    pid = first.seen()["pid"]
    second = Asker(server, b"again")
    assert second.seen()["pid"] == pid
    os.kill(pid, signal.SIGKILL)
    assert ends(pid)
    third = Asker(server)
    assert third.seen()["pid"] != pid
    for asker in (first, second, third):
        asker.close()


def test_who_goes_while_it_waits_is_not_waited_for(make):
    server = make()
    askers = [Asker(server) for _ in range(4)]
    pid = askers[0].seen()["pid"]
    askers[1].close()
    askers[2].close()
    askers[0].free()
    assert askers[3].seen()["pid"] == pid
    for asker in askers:
        asker.close()


def test_those_who_went_while_they_waited_are_not_kept(make):
    server = make()
    first = Asker(server)
    first.seen()
    for _ in range(50):
        Asker(server).close()
    # If one of those were the first of the row still, it would wait for it.
    last = Asker(server, most=2)
    last.seen()
    assert open_files(server) < 50
    for asker in (first, last):
        asker.close()


def test_who_asks_without_its_pipes_harms_nobody(make):
    server = make()
    with Path(os.devnull).open() as one:
        socket.send_fds(server.asking, [b"\0\1"], [one.fileno()])
    server.asking.send(b"\0\1")
    asker = Asker(server)
    assert asker.seen()["parent"] == server.pid
    asker.close()


def test_a_server_without_room_for_another_open_file_tells_who_asked_and_lives_on(make):
    server = make()
    room = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    # For the two pipes of who asks, and not for both ends of a way to another process.
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (open_files(server) + 3, room[1]))
    with closing(Asker(server, b"one")) as one:
        assert one.seen() == {}
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, room)
    with closing(Asker(server, b"two")) as two:
        assert two.seen()["parent"] == server.pid


def test_a_process_that_is_free_for_long_ends_and_another_takes_its_place(make):
    server = make("idle")
    first = Asker(server, b"again")
    pid = first.seen()["pid"]
    # Not because nobody reads it any more.
    assert ends(pid)
    second = Asker(server)
    assert second.seen()["pid"] != pid
    for asker in (first, second):
        asker.close()


def test_what_threads_ask_for_at_once_stays_apart(make):
    server, found = make(), {}

    def ask(number: int) -> None:
        asker = Asker(server, b"%d" % number, most=4)
        asker.seen()
        found[number] = asker.from_it.read()
        asker.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(10, 26)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: b"%d" % number for number in range(10, 26)}


def test_who_asks_from_other_processes_has_the_same_processes_and_leaves_them_when_it_is_killed(make):
    server = make()
    asking = server.asking.fileno()
    script = f"""
        import socket, sys
        from medchain.node.fork_server import ForkServer
        to_it, from_it = ForkServer(socket.socket(fileno={asking}), 0).ask(1)
        from_it.read(1)
        print(from_it.readline().decode(), end="", flush=True)
        sys.stdin.read()
    """
    first = Asker(server, b"again")
    pid = first.seen()["pid"]
    words = [sys.executable, "-c", textwrap.dedent(script)]
    other = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(asking,))
    assert json.loads(other.stdout.readline())["pid"] == pid
    waiting = Asker(server)
    assert not waiting.is_given(0.1)
    other.kill()
    assert other.wait() == -signal.SIGKILL
    assert waiting.seen()["pid"] != pid
    assert ends(pid)
    other.stdin.close()
    other.stdout.close()
    for asker in (first, waiting):
        asker.close()


def test_a_process_that_fails_takes_nobody_with_it_and_says_where_and_nothing_of_what_it_was_given(make, capfd):
    server = make("fail")
    for _ in range(2):
        asker = Asker(server)
        assert asker.seen() == {}
        asker.close()
    line = json.loads(capfd.readouterr().err.splitlines()[0])
    assert (line["event"], line["error"]["type"]) == ("process.failed", "ValueError")
    assert line["error"]["at"][-1].startswith("forked_for_tests.py:")
    assert "张三" not in json.dumps(line, ensure_ascii=False)


def test_a_server_ends_when_nobody_is_left_who_could_ask(make):
    server = make()
    server.close()
    assert ends(server.pid)


def test_a_server_that_is_killed_takes_its_processes_with_it_and_who_asks_a_spawned_one_is_told(make):
    """Or who follows it would have as many again beside them."""
    server = make()
    free, working = Asker(server, b"again", most=2), Asker(server, most=2)
    pids = {asker.seen()["pid"] for asker in (working, free)}
    os.kill(server.pid, signal.SIGKILL)
    assert all(ends(pid) for pid in (server.pid, *pids))
    assert working.from_it.read() == b""
    with pytest.raises(UnavailableError) as caught:
        server.ask(1)
    assert caught.value.code == "job.died"
    for asker in (free, working):
        asker.close()


def test_a_forked_server_knows_no_key_and_holds_no_file_of_the_process_that_it_was_forked_from(program):
    """Also one that follows another that was killed, when there are files and threads: the key alone it has seen."""
    printed = run(f"""
        import json, os, signal, time
        from medchain.node.fork_server import ForkServer
        import {program}
        held = open(os.devnull)
        server = ForkServer.forked({program!r})
        key = "secret"

        def ask():
            pipes = server.ask(1)
            pipes[1].read(1)
            print(pipes[1].readline().decode(), end="")
            for pipe in pipes:
                pipe.close()

        ask()
        more, before = open(os.devnull), server.pid
        os.kill(before, signal.SIGKILL)
        while server.pid == before:
            time.sleep(0.01)
        ask()
    """)
    first, second = map(json.loads, printed.splitlines())
    assert (first["key"], first["held"]) == (None, [0, 1, 2, 3, 4])
    assert second["held"] == [0, 1, 2, 3, 4]
    assert first["parent"] != second["parent"]


def test_a_forked_server_ends_with_the_process_that_it_was_forked_from(program):
    printed = run(f"""
        from medchain.node.fork_server import ForkServer
        print(ForkServer.forked({program!r}).pid)
    """)
    assert ends(int(printed))


def test_a_server_makes_in_its_spare_time_what_each_process_would_make_for_itself(program, tmp_path):
    """Not before it was asked for a process: a node that needs none does not wait for it either."""
    (tmp_path / f"{program}.py").write_text(PREPARING)
    with closing(ForkServer.spawned(program)) as server:
        made = 0
        for number in range(1200):
            asker = Asker(server)
            made = asker.seen()
            asker.close()
            if number == 0:
                assert made == 0
            if made == 3:
                break
            time.sleep(0.05)
        assert made == 3


def test_a_process_older_than_what_is_shared_is_not_given_again_and_its_followers_are(program, tmp_path):
    """It holds by itself what all others share with their server."""
    (tmp_path / f"{program}.py").write_text(STAYING)
    with closing(ForkServer.spawned(program)) as server:
        asker = Asker(server)
        first = asker.seen()
        assert first["made"] == 0
        # What is shared is there once a process beside it has it: the server makes it while nobody asks.
        deadline = time.monotonic() + 60
        while True:
            beside = Asker(server, most=2)
            other = beside.seen()
            if other["made"] == 1 or time.monotonic() > deadline:
                break
            os.kill(other["pid"], signal.SIGKILL)
            beside.close()
        assert other["made"] == 1
        asker.free()
        assert ends(first["pid"])
        beside.free()
        asker.close()
        beside.close()
        last = Asker(server)
        assert last.seen()["pid"] == other["pid"]
        last.close()
