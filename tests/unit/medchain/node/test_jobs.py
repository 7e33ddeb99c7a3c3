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

import pytest

from medchain.errors import ConflictError, InputError, UnavailableError
from medchain.node import jobs
from medchain.node.fork_server import ForkServer
from medchain.node.jobs import JobPool

WORKER = """
import glob, os, signal, sys, time
from medchain.errors import ConflictError, InputError
from medchain.node.jobs import bound, read_secret, serve

def handle(document, content):
    do = document["do"]
    if do == "echo":
        return {"pid": os.getpid(), "secret": secret.decode(), "size": len(content)}, content[::-1]
    if do == "conflict":
        raise ConflictError("record.version", newest=7, none=None)
    if do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "memory":
        return {}, bytes(4 << 30)
    if do == "sleep":
        time.sleep(document["s"])
    if do == "meet":
        open(f"{document['place']}-{os.getpid()}", "x").close()
        while len(glob.glob(f"{document['place']}-*")) < document["count"]:
            time.sleep(0.01)
    return {}, b""

def main(arguments):
    global secret
    bound()
    secret = read_secret()
    serve(handle)
    return 0
"""


@pytest.fixture
def worker(tmp_path, monkeypatch):
    (tmp_path / "job_worker_for_tests.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return "job_worker_for_tests"


@pytest.fixture
def make(tmp_path, worker):
    made = []

    def pool(count: int = 1) -> JobPool:
        made.append(JobPool(server, (), b"secret", tmp_path / "job", count))
        return made[-1]

    with closing(ForkServer.spawned(worker)) as server:
        yield pool
        for one in made:
            one.close()


def echo(pool: JobPool, content=()):
    return pool.run({"do": "echo"}, content)


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_a_job_gets_its_content_and_its_secret_and_answers(make):
    done = echo(make(), [b"ab", b"", b"c" * 100_000])
    assert done.content == b"c" * 100_000 + b"ba"
    assert (done.document["secret"], done.document["size"]) == ("secret", 100_002)


def test_jobs_one_after_the_other_share_a_process(make):
    pool = make()
    assert len({echo(pool).document["pid"] for _ in range(3)}) == 1


def test_what_a_job_raises_is_raised_and_its_process_lives_on(make):
    pool = make()
    pid = echo(pool).document["pid"]
    with pytest.raises(ConflictError) as caught:
        pool.run({"do": "conflict"})
    assert (caught.value.code, caught.value.fields) == ("record.version", {"newest": 7, "none": None})
    assert echo(pool).document["pid"] == pid


def test_a_job_whose_process_is_killed_is_told_as_such_and_the_next_has_a_new_one(make):
    pool = make()
    pid = echo(pool).document["pid"]
    with pytest.raises(UnavailableError) as caught:
        pool.run({"do": "die"})
    assert caught.value.code == "job.died"
    assert echo(pool).document["pid"] != pid


def test_a_process_that_died_while_it_waited_is_replaced_unseen(make):
    pool = make()
    pid = echo(pool).document["pid"]
    os.kill(pid, signal.SIGKILL)
    assert echo(pool).document["pid"] != pid


def test_a_job_that_wants_too_much_memory_is_refused_and_the_node_is_not_harmed(make):
    pool = make()
    with pytest.raises(InputError) as caught:
        pool.run({"do": "memory"})
    assert caught.value.code == "job.memory"
    assert echo(pool).content == b""


def test_a_process_that_has_grown_large_ends_after_its_job(make):
    pool = make()
    done = echo(pool, [bytes(1 << 20)] * 150)
    assert done.document["size"] == 150 << 20
    assert is_gone(done.document["pid"])
    assert echo(pool).document["pid"] != done.document["pid"]


def test_places_are_shared_by_all_pools_of_a_node(make, monkeypatch):
    first, second = make(), make()
    echo(first)
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "WAIT_S", 0.3)
        with pytest.raises(UnavailableError) as caught:
            echo(second)
    assert caught.value.code == "job.busy"
    first.close()
    assert echo(second).content == b""


def test_jobs_run_side_by_side_as_far_as_there_are_places(make, tmp_path):
    pool = make(2)
    # Each ends once the other has begun.
    meeting = {"do": "meet", "place": str(tmp_path / "met"), "count": 2}
    threads = [threading.Thread(target=pool.run, args=(meeting,), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert len(set(pool._idle)) == 2  # noqa: SLF001  # both were used


def test_a_process_that_idles_ends_and_frees_its_place(make, tmp_path, worker):
    (tmp_path / f"{worker}.py").write_text(
        WORKER.replace("    bound()\n", "    import medchain.node.jobs as j; j.IDLE_S = 0.2\n    bound()\n")
    )
    pool = make()
    pid = echo(pool).document["pid"]
    assert is_gone(pid)
    assert echo(pool).document["pid"] != pid


def test_a_process_ends_with_its_parent_in_the_middle_of_its_job(tmp_path, worker):
    script = textwrap.dedent(f"""
        import sys, threading, time
        from pathlib import Path
        from medchain.node.fork_server import ForkServer
        from medchain.node.jobs import JobPool
        pool = JobPool(ForkServer.spawned({worker!r}), (), b"s", Path({str(tmp_path / "job")!r}), 1)
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
    assert is_gone(pid)


def test_a_module_that_cannot_start_is_told(tmp_path):
    with closing(ForkServer.spawned("medchain.no_such_module")) as server:
        pool = JobPool(server, (), b"s", tmp_path / "job", 1)
        with pytest.raises(UnavailableError) as caught:
            echo(pool)
    assert caught.value.code == "job.died"
    assert json.dumps(caught.value.fields) == "{}"
