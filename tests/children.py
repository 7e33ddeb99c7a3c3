"""Processes that tests start, which never outlive them: a test process that is killed ends nothing by itself."""

from __future__ import annotations

import ctypes
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

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
    """Wait until a process has ended, whether or not anybody has asked for its status since; tells whether it has."""

    def has_ended() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    return eventually(has_ended)


def _end_with_parent() -> None:
    """Between fork and exec."""
    if _C.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM):
        raise OSError(ctypes.get_errno(), "prctl")
