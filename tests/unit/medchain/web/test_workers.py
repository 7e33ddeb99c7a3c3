"""The web workers' parent: what it does before it has the key, and what the workers are forked from."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from medchain.node.keystore import Unlock, unlock
from medchain.node.supervisor import encode_unlock
from tests.children import child
from tests.waiting import eventually

# The parent of workers that never come to serve; of those whose parent opens no file itself.
OPENS = """
import sys, time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from medchain.node.config import Address
from medchain.web import workers

def opens():
    Path(sys.argv[1]).touch()
    time.sleep(60)

config = SimpleNamespace(stop_timeout_s=60)
serve = workers._server(config, workers.SIGNING, Address("127.0.0.1", 0), None, 1).serve
workers.load_config = lambda *_: config
workers.make_signing_server = lambda _: SimpleNamespace(serve=partial(serve, target_loader=opens, wrap_loader=False))
sys.exit(workers.main(["node.toml", workers.SIGN_SIDE]))
"""

# A parent of two children, of which one is stopped and one goes on; prints how the first ended.
STOPPED = """
import os, signal, subprocess, threading, time
from medchain.web.workers import end_stopped
threading.Thread(target=end_stopped, daemon=True).start()
time.sleep(0.3)
one, other = (subprocess.Popen(["sleep", "60"]) for _ in range(2))
os.kill(one.pid, signal.SIGSTOP)
print(one.wait(60), other.poll())
other.terminate()
print(other.wait(60))
"""


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


def test_who_is_stopped_is_ended_and_how_others_end_is_left_to_who_waits_for_them():
    """A writer that is stopped would hold all creates; who follows it waits for its end by itself."""
    assert run("-c", STOPPED).stdout.splitlines() == [f"{-signal.SIGKILL} None", str(-signal.SIGTERM)]


def test_a_worker_that_is_told_to_end_while_it_opens_its_files_ends(tmp_path):
    """It went on to serve, until it was killed: what its parent does at a stop, it had inherited."""
    is_opening = tmp_path / "opening"
    server = child([sys.executable, "-c", OPENS, str(is_opening)], stdin=subprocess.PIPE)
    # It ends as well where its supervisor is gone.
    with server.stdin as supervisor:
        supervisor.write(encode_unlock(Unlock(unlock(bytes(32)).web, None)))
        supervisor.flush()
        assert eventually(is_opening.exists)
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
        assert time.monotonic() - began < 20
