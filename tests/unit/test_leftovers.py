"""What a file of tests leaves behind is found, and what belongs to the runner or ends by itself is not."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.leftovers import nothing_left


@pytest.fixture
def until_now() -> Iterator[threading.Event]:
    """Let go of what waits in the end."""
    event = threading.Event()
    yield event
    event.set()


def test_a_thread_that_goes_on_is_named(until_now):
    with pytest.raises(pytest.fail.Exception, match="of an earlier test"), nothing_left(0.01):
        threading.Thread(target=until_now.wait, name="of an earlier test", daemon=True).start()


def test_a_process_that_nobody_has_waited_for_is_named():
    with pytest.raises(pytest.fail.Exception) as caught, nothing_left(0.01):
        left = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.DEVNULL)
    assert f"process {left.pid}" in str(caught.value)
    left.wait()


def _log(level: int) -> None:
    logging.getLogger("medchain").setLevel(level)


@pytest.mark.parametrize(
    ("name", "change", "back"),
    [
        ("environment", lambda: os.environ.update(LEFT="1"), lambda: os.environ.pop("LEFT")),
        ("garbage", gc.freeze, gc.unfreeze),
        ("log", lambda: _log(logging.ERROR), lambda: _log(logging.NOTSET)),
        ("path", lambda: sys.path.append("/left"), lambda: sys.path.remove("/left")),
    ],
)
def test_what_is_set_for_the_whole_process_is_named(name: str, change: Callable[[], None], back: Callable[[], None]):
    try:
        with pytest.raises(pytest.fail.Exception, match=name), nothing_left():
            change()
    finally:
        back()


def test_what_ends_soon_or_ran_before_is_no_leftover(until_now):
    threading.Thread(target=until_now.wait, daemon=True).start()
    with nothing_left():
        threading.Timer(0.05, str).start()
        ThreadPoolExecutor(1).submit(str)
        with subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.DEVNULL):
            """It is waited for."""
