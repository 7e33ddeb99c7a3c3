"""What the tests of one file leave to those of the next ones in the same process: nothing.

A thread that goes on logs, counts and writes beside tests that look at what they did themselves, and fails one of them
once in a while, far from where it was started. `--leftovers` names the file. Whatever runs before the file begins is
not its own: what the runner needs, and what tests of several files share.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S, eventually


@contextmanager
def nothing_left(patience_s: float = PATIENCE_S) -> Iterator[None]:
    """See that all threads and processes that are started meanwhile end soon, and that the process is set as before."""
    running, settings = _running(), _settings()
    yield
    if _running() - running:
        # An executor that nobody holds any more ends its threads.
        gc.collect()
        if not eventually(lambda: _running() <= running, patience_s):
            pytest.fail(f"left running: {sorted(map(str, _running() - running))}")
    changed = [name for name, now in _settings().items() if now != settings[name]]
    if changed:
        pytest.fail(f"left changed: {changed}")


def _running() -> set[threading.Thread | str]:
    """Find the threads of this process, and its children, also those that have ended and that nobody has waited for."""
    return {*threading.enumerate(), *_children()}


def _children() -> Iterator[str]:
    """Tell of each child but the one that Python starts, once, to clean up after all others."""
    tracker = str(resource_tracker._resource_tracker._pid)  # noqa: SLF001  # it has no other name
    for listed in Path("/proc/self/task").glob("*/children"):
        # A thread that has just ended has no children.
        with suppress(OSError):
            yield from (f"process {pid}" for pid in listed.read_text("ascii").split() if pid != tracker)


def _settings() -> dict[str, object]:
    """Tell how the process is set, of what belongs to all of it."""
    mask, logger = os.umask(0), logging.getLogger("medchain")
    os.umask(mask)
    return {
        "environment": {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        "folder": Path.cwd(),
        "garbage": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook),
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if "RLIMIT_" in name},
        "log": (logger.handlers[:], logger.level, logger.propagate, logging.raiseExceptions, logging.lastResort),
        "mask": mask,
        "path": sys.path[:],
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "switching": sys.getswitchinterval(),
    }
