"""The web workers' parent: what it does before it has the key, and what the workers are forked from."""

from __future__ import annotations

import subprocess
import sys


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def test_workers_whose_supervisor_ends_before_it_handed_over_the_key_end_and_have_opened_nothing(tmp_path):
    """The configuration that is named is not there: who looked for it would fail."""
    ran = run("-m", "medchain.node.start", "medchain.web.workers", str(tmp_path / "node.toml"))
    assert (ran.stdout, ran.stderr, ran.returncode) == ("", "", 0)


def test_loading_the_application_starts_no_thread_and_opens_no_file():
    """Workers are forked from a process that has loaded it: a thread would be missing there, a file shared by all."""
    look = "import os, threading; look = lambda: (threading.active_count(), os.listdir('/proc/self/fd'))"
    ran = run("-c", f"{look}; before = look(); import medchain.app; print(look() == before)")
    assert (ran.stdout, ran.stderr) == ("True\n", "")
