"""Worker processes: bounded in number and memory, gone with their parent, and honest about their death."""

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
from pathlib import Path

import pytest

from medchain.errors import ConflictError, InputError, UnavailableError
from medchain.node import jobs
from medchain.node.fork_server import ForkServer
from medchain.node.jobs import JobPool
from medchain.node.spool import MEMORY_BYTES
from tests.children import ends
from tests.waiting import eventually

WORKER = """
import os, signal, sys, time
from pathlib import Path
from medchain.errors import ConflictError, InputError
from medchain.node.jobs import bound, read_secret, serve

def handle(document, content):
    do = document["do"]
    if do == "echo":
        return {"pid": os.getpid(), "secret": secret.decode(), "size": len(content)}, content[::-1]
    if do == "forgotten":
        return {"times": len(forgotten)}, b""
    if do == "conflict":
        raise ConflictError("record.version", newest=7, none=None)
    if do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "memory":
        return {}, bytes(4 << 30)
    if do == "meet":
        folder, deadline = Path(document["folder"]), time.monotonic() + 120
        (folder / str(os.getpid())).touch()
        while len(list(folder.iterdir())) < document["count"] and time.monotonic() < deadline:
            time.sleep(0.01)
        return {"pid": os.getpid()}, b""
    if do == "sleep":
        time.sleep(document["s"])
    return {}, b""

def main(arguments):
    global secret
    bound()
    secret = read_secret()
    serve(handle, lambda: forgotten.append(1))
    return 0

forgotten = []
"""


@pytest.fixture
def worker(tmp_path, monkeypatch):
    (tmp_path / "job_worker_for_tests.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return "job_worker_for_tests"


@pytest.fixture
def pool(worker, tmp_path):
    with closing(ForkServer.spawned(worker)) as server:
        yield JobPool(server, b"secret", 1, tmp_path)


def echo(pool: JobPool, content=()):
    return pool.run({"do": "echo"}, content)


def test_a_job_gets_its_content_and_its_secret_and_answers(pool):
    done = echo(pool, [b"ab", b"", b"c" * 100_000])
    assert done.content == b"c" * 100_000 + b"ba"
    assert (done.document["secret"], done.document["size"]) == ("secret", 100_002)


def test_jobs_one_after_the_other_share_a_process(pool):
    assert len({echo(pool).document["pid"] for _ in range(3)}) == 1


def test_what_a_job_leaves_is_let_go_of_after_each(pool):
    assert [pool.run({"do": "forgotten"}).document["times"] for _ in range(3)] == [0, 1, 2]


def test_what_a_job_raises_is_raised_and_its_process_lives_on(pool):
    pid = echo(pool).document["pid"]
    with pytest.raises(ConflictError) as caught:
        pool.run({"do": "conflict"})
    assert (caught.value.code, caught.value.fields) == ("record.version", {"newest": 7, "none": None})
    assert echo(pool).document["pid"] == pid


def test_a_job_whose_process_is_killed_is_told_as_such_and_the_next_has_a_new_one(pool):
    pid = echo(pool).document["pid"]
    with pytest.raises(UnavailableError) as caught:
        pool.run({"do": "die"})
    assert caught.value.code == "job.died"
    assert echo(pool).document["pid"] != pid


def test_a_process_that_died_while_it_waited_is_replaced_unseen(pool):
    pid = echo(pool).document["pid"]
    os.kill(pid, signal.SIGKILL)
    assert echo(pool).document["pid"] != pid


def test_a_job_that_wants_too_much_memory_is_refused_and_the_node_is_not_harmed(pool):
    with pytest.raises(InputError) as caught:
        pool.run({"do": "memory"})
    assert caught.value.code == "job.memory"
    assert echo(pool).content == b""


def test_a_process_that_has_grown_large_ends_after_its_job(pool):
    done = echo(pool, [bytes(1 << 20)] * 150)
    assert done.document["size"] == 150 << 20
    assert ends(done.document["pid"])
    assert echo(pool).document["pid"] != done.document["pid"]


def test_the_processes_of_a_server_are_shared_by_all_pools(worker, tmp_path):
    with closing(ForkServer.spawned(worker)) as server:
        pids = {echo(JobPool(server, b"secret", 1, tmp_path)).document["pid"] for _ in range(3)}
        assert len(pids) == 1


def test_two_jobs_of_a_pool_run_at_once_where_another_pool_had_a_process_just_now(worker, tmp_path):
    """What other web workers had does not hold up the one that has all the work."""
    with closing(ForkServer.spawned(worker)) as server:
        first, second = JobPool(server, b"secret", 2, tmp_path), JobPool(server, b"secret", 2, tmp_path)
        made = together(first, 2, tmp_path / "1")
        assert together(second, 2, tmp_path / "2") == together(first, 2, tmp_path / "3") == made


def together(pool: JobPool, count: int, folder: Path) -> set[int]:
    """Run so many jobs at once, none of which ends before all have begun; returns the pids of their processes."""
    folder.mkdir()
    found = set()

    def run() -> None:
        found.add(pool.run({"count": count, "do": "meet", "folder": str(folder)}).document["pid"])

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == count
    return found


def test_a_job_that_no_process_is_free_for_is_refused_in_time_and_holds_up_none_after_it(pool, tmp_path, monkeypatch):
    folder = tmp_path / "met"
    folder.mkdir()
    thread = threading.Thread(target=pool.run, args=({"count": 2, "do": "meet", "folder": str(folder)},))
    thread.start()
    assert eventually(lambda: list(folder.iterdir()), 120)
    with monkeypatch.context() as patched:
        patched.setattr(jobs, "WAIT_S", 0.2)
        with pytest.raises(UnavailableError) as caught:
            echo(pool)
    assert (caught.value.code, caught.value.retry_after_s) == ("job.busy", 5)
    (folder / "end").touch()
    thread.join()
    assert echo(pool).content == b""


def test_attack_who_sends_a_content_slowly_holds_no_process(pool):
    """There is one process: others have it for as long as the content does not come."""
    has_begun, may_end, done = threading.Event(), threading.Event(), []

    def content():
        yield b"a" * MEMORY_BYTES
        has_begun.set()
        may_end.wait(120)
        yield b"b" * MEMORY_BYTES

    thread = threading.Thread(target=lambda: done.append(echo(pool, content())))
    thread.start()
    try:
        assert has_begun.wait(120)
        assert [echo(pool, [b"x"]).content for _ in range(3)] == [b"x"] * 3
        assert done == []
    finally:
        may_end.set()
        thread.join()
    assert done[0].content == b"b" * MEMORY_BYTES + b"a" * MEMORY_BYTES


def test_a_job_that_whoever_asked_gives_up_leaves_its_place_to_the_next(pool):
    class GoneError(Exception):
        """As where a client goes in the middle of its Bundle."""

    def content():
        yield b"x"
        raise GoneError

    for _ in range(3):
        with pytest.raises(GoneError):
            echo(pool, content())
    assert echo(pool).content == b""


def test_a_process_ends_with_its_parent_in_the_middle_of_its_job(worker):
    script = textwrap.dedent(f"""
        import sys, threading, time
        from medchain.node.fork_server import ForkServer
        from medchain.node.jobs import JobPool
        from pathlib import Path
        pool = JobPool(ForkServer.spawned({worker!r}), b"s", 1, Path("."))
        print(pool.run({{"do": "echo"}}).document["pid"], flush=True)
        threading.Thread(target=pool.run, args=({{"do": "sleep", "s": 600}},), daemon=True).start()
        time.sleep(600)
    """)
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    time.sleep(0.5)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert ends(pid)


def test_a_module_that_cannot_start_is_told(tmp_path):
    server = ForkServer.spawned("medchain.no_such_module")
    with closing(server), pytest.raises(UnavailableError) as caught:
        echo(JobPool(server, b"s", 1, tmp_path))
    assert caught.value.code == "job.died"
    assert json.dumps(caught.value.fields) == "{}"
