"""The fork server: processes that are there at once, hold nothing of others, and end with who asked for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing

import pytest

from medchain.errors import UnavailableError
from medchain.node.fork_server import ForkServer

PROGRAM = """
import json, os, sys
from medchain.node.fork_server import end_unheard

def main(arguments):
    if arguments[0] == "fail":
        raise ValueError("张三")
    end_unheard()
    held = sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}"))
    seen = {"arguments": arguments, "held": held, "key": getattr(sys.modules["__main__"], "key", None)}
    os.write(1, json.dumps({**seen, "parent": os.getppid(), "pid": os.getpid()}).encode() + b"\\n")
    sys.stdin.readline()
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


@pytest.fixture
def program(tmp_path, monkeypatch):
    (tmp_path / "forked_for_tests.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return "forked_for_tests"


@pytest.fixture
def server(program):
    with closing(ForkServer.spawned(program)) as made:
        yield made


def told(server: ForkServer, *arguments: str) -> tuple[dict, list]:
    """Start a process; returns what it tells and its pipes."""
    place = os.open(os.devnull, os.O_RDONLY)
    try:
        pipes = server.start(arguments, place)
    finally:
        os.close(place)
    return json.loads(pipes[1].readline() or b"{}"), list(pipes)


def ended(pid: int) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def run(script: str) -> str:
    """Run a program that forks its server from itself; returns what it prints."""
    words = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


def test_a_process_has_its_arguments_its_pipes_and_its_place_and_nothing_else(server):
    seen, pipes = told(server, "a", "二")
    assert seen["arguments"] == ["a", "二"]
    # Standard input, output and error; the place; the folder that it looks at just then has gone again.
    assert len(seen["held"]) == 4
    assert seen["parent"] == server.pid
    pipes[0].close()
    assert ended(seen["pid"])
    pipes[1].close()


def test_a_process_ends_once_nobody_reads_it_whatever_it_waits_for(server):
    seen, (to_it, from_it) = told(server, "a")
    from_it.close()
    assert ended(seen["pid"])
    to_it.close()


def test_what_threads_ask_for_at_once_stays_apart(server):
    found = {}

    def ask(number: int) -> None:
        found[number], pipes = told(server, str(number) * 1000)
        for pipe in pipes:
            pipe.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(10, 26)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: seen["arguments"] for number, seen in found.items()} == {
        number: [str(number) * 1000] for number in range(10, 26)
    }
    assert len({seen["pid"] for seen in found.values()}) == 16


def test_a_process_that_fails_takes_nobody_with_it(server):
    _, failed = told(server, "fail")
    seen, pipes = told(server, "a")
    assert seen["arguments"] == ["a"]
    for pipe in (*failed, *pipes):
        pipe.close()


def test_a_process_that_fails_says_where_and_nothing_of_what_it_was_given(program, capfd):
    with closing(ForkServer.spawned(program)) as server:
        for pipe in told(server, "fail")[1]:
            pipe.close()
    line = json.loads(capfd.readouterr().err)
    assert (line["event"], line["error"]["type"]) == ("process.failed", "ValueError")
    assert line["error"]["at"][-1].startswith("forked_for_tests.py:")
    assert "张三" not in json.dumps(line, ensure_ascii=False)


def test_a_server_ends_when_nobody_is_left_who_could_ask(program):
    server = ForkServer.spawned(program)
    server.close()
    assert ended(server.pid)


def test_who_asks_a_spawned_server_that_was_killed_is_told(server):
    os.kill(server.pid, signal.SIGKILL)
    assert ended(server.pid)
    with pytest.raises(UnavailableError) as caught:
        told(server, "a")
    assert caught.value.code == "job.died"


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
            pipes = server.start(["a"], os.open(os.devnull, os.O_RDONLY))
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
    assert (first["key"], len(first["held"])) == (None, 4)
    assert len(second["held"]) == 4
    assert first["parent"] != second["parent"]


def test_a_forked_server_ends_with_the_process_that_it_was_forked_from(program):
    printed = run(f"""
        from medchain.node.fork_server import ForkServer
        print(ForkServer.forked({program!r}).pid)
    """)
    assert ended(int(printed))


def test_a_server_makes_in_its_spare_time_what_each_process_would_make_for_itself(program, tmp_path):
    """Not before it was asked for a process: a node that needs none does not wait for it either."""
    (tmp_path / f"{program}.py").write_text(PREPARING)
    with closing(ForkServer.spawned(program)) as server:
        made = 0
        for number in range(1200):
            place = os.open(os.devnull, os.O_RDONLY)
            pipes = server.start(["a"], place)
            os.close(place)
            made = int(pipes[1].readline())
            for pipe in pipes:
                pipe.close()
            if number == 0:
                assert made == 0
            if made == 3:
                break
            time.sleep(0.05)
        assert made == 3
