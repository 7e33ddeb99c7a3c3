"""Turns at writing: their order, their end, and how long they are waited for."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from medchain.errors import UnavailableError
from medchain.store import turns as at_writing
from medchain.store.engine import FileKind, open_database
from medchain.store.turns import WriteTurns
from tests.unit.medchain.store.conftest import KEY

LONG_S = 30.0
HOLDS = "import sys, time; from pathlib import Path; from medchain.store.turns import WriteTurns; "
HOLDS += "held = WriteTurns(Path(sys.argv[1]), 5).one(); held.__enter__(); print(1, flush=True); time.sleep(60)"


def is_in_line(path: Path) -> bool:
    """Tell whether somebody waits for a turn at a file."""
    descriptor = os.open(path.with_name(path.name + "-next"), os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.db"


def test_who_waits_comes_before_who_comes_back(path: Path):
    order = []
    with closing(WriteTurns(path, LONG_S)) as ours, closing(WriteTurns(path, LONG_S)) as others:

        def wait() -> None:
            with others.one():
                order.append("who waited")

        waiting = threading.Thread(target=wait)
        with ours.one():
            waiting.start()
            while not is_in_line(path):
                time.sleep(0.001)
        with ours.one():
            order.append("who came back")
        waiting.join()
    assert order == ["who waited", "who came back"]


def test_who_waits_a_moment_only_does_so_for_threads_and_processes_alike(path: Path):
    with closing(WriteTurns(path, LONG_S)) as ours, closing(WriteTurns(path, LONG_S)) as others, ours.one():
        for turns in (ours, others):
            with pytest.raises(UnavailableError, match=r"store\.busy"), turns.one(0.001):
                """Never reached."""
    with closing(WriteTurns(path, LONG_S)) as ours, ours.one(0.001):
        """Nobody had it still."""


def test_threads_of_one_process_have_one_turn_at_a_time(path: Path):
    inside, most = [], []
    with closing(WriteTurns(path, LONG_S)) as turns:

        def work() -> None:
            for _ in range(20):
                with turns.one():
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == [1] * 80


def test_a_turn_that_does_not_come_is_told_and_the_line_goes_on(path: Path):
    with closing(WriteTurns(path, LONG_S)) as ours, closing(WriteTurns(path, 0.01)) as others:
        with ours.one(), pytest.raises(UnavailableError, match=r"store\.busy"), others.one():
            pass
        assert not is_in_line(path)
        with others.one():
            pass


def test_a_thread_waits_for_another_of_its_process_no_longer_than_for_another_process(path: Path):
    """One that hangs with its turn would else hold up all others for ever, without an error."""
    caught: list[str] = []
    with closing(WriteTurns(path, 0.01)) as turns:

        def work() -> None:
            try:
                with turns.one():
                    caught.append("had it")
            except UnavailableError as error:
                caught.append(error.code)

        for _ in range(2):
            with turns.one():
                thread = threading.Thread(target=work)
                thread.start()
                thread.join()
        work()
    assert caught == ["store.busy", "store.busy", "had it"]


def test_the_death_of_a_process_ends_its_turn(path: Path):
    words = [sys.executable, "-c", HOLDS, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process, closing(WriteTurns(path, 0.01)) as turns:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            with pytest.raises(UnavailableError), turns.one():
                pass
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        with turns.one():
            pass


def test_who_waits_is_woken_by_who_lets_go(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(at_writing, "_UNRUNG_S", 10 * LONG_S)
    had = threading.Event()
    with closing(WriteTurns(path, 20 * LONG_S)) as ours, closing(WriteTurns(path, 20 * LONG_S)) as others:

        def wait() -> None:
            with others.one():
                had.set()

        waiting = threading.Thread(target=wait, daemon=True)
        with ours.one():
            waiting.start()
            while not name_of_who_waits(path).strip(b"\0"):
                time.sleep(0.001)
        assert had.wait(LONG_S)
        waiting.join()
    assert not name_of_who_waits(path).strip(b"\0")


def name_of_who_waits(path: Path) -> bytes:
    return path.with_name(path.name + "-next").read_bytes()


def test_who_waited_and_is_gone_is_nobodys_concern(path: Path):
    with closing(WriteTurns(path, LONG_S)) as turns:
        path.with_name(path.name + "-next").write_bytes(b"0" * 32)
        for _ in range(2):
            with turns.one():
                """Rings where nobody listens."""


def test_a_process_without_descriptors_left_is_told(path: Path, monkeypatch: pytest.MonkeyPatch):
    with closing(WriteTurns(path, LONG_S)) as ours, closing(WriteTurns(path, LONG_S)) as others, ours.one():
        monkeypatch.setattr(at_writing.socket, "socket", raises_no_descriptor)
        with pytest.raises(UnavailableError, match=r"store\.io"), others.one():
            """Never reached."""


def raises_no_descriptor(*_: object) -> None:
    raise OSError(errno.EMFILE, "")


def test_an_error_within_a_turn_ends_it(path: Path):
    with closing(WriteTurns(path, LONG_S)) as ours, closing(WriteTurns(path, 0.01)) as others:
        with pytest.raises(KeyError), ours.one():
            raise KeyError
        with others.one():
            pass


def test_lock_files_that_cannot_be_made_are_told(tmp_path: Path):
    (tmp_path / "file.db-next").mkdir()
    with pytest.raises(UnavailableError, match=r"store\.io"):
        open_database(tmp_path / "file.db", KEY, kind=FileKind.LEDGER)
