"""Processes that tests start, which never outlive them: a test process that is killed ends nothing by itself."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Sequence

from tests.waiting import eventually

_PR_SET_PDEATHSIG = 1
_C = ctypes.CDLL(None, use_errno=True)


def child(words: Sequence[str], **more: object) -> subprocess.Popen:
    """Start a program that the system tells to end once this thread is no more, however it ended (prctl(2)).

    Args:
        words: as for `subprocess.Popen`.
        more: as for `subprocess.Popen`.
    """
    return subprocess.Popen(words, preexec_fn=_end_with_parent, **more)  # noqa: PLW1509  # nothing but one system call


def ends(pid: int) -> bool:
    """Wait until a process is no more; tells whether it is so."""

    def is_gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    return eventually(is_gone)


def _end_with_parent() -> None:
    """Between fork and exec."""
    if _C.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM):
        raise OSError(ctypes.get_errno(), "prctl")
