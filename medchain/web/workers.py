"""The web workers, or the signing page's, as a program of `medchain.node.start`, started by the supervisor.

granian listens, terminates TLS where it is configured, and keeps N worker processes running, forked from this one, each
of which builds the application by `medchain.app.worker_gateway`; with ``sign`` as second argument one worker that
builds the page on which patients sign, by `medchain.sign_app.worker_gateway`. Keeps true: nothing is opened before the
supervisor has handed over the key; workers get the web half of the root key and nothing else; all end when the
supervisor does, and a worker when it is told to, from its first moment on; who is stopped is ended, since nobody would
wait for it otherwise but those whom it holds. Trusts granian to follow a worker that has died with another.
Source: `docs/adr/0005-node-processes.md`, `docs/adr/0030-web-workers-speak-asgi.md`,
`docs/adr/0031-programs-load-while-others-open.md`, `docs/adr/0032-job-processes-are-forked.md`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Final

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from medchain.errors import InputError
from medchain.node.config import Address, NodeConfig, Tls, load_config
from medchain.node.fork_server import ForkServer
from medchain.node.log import Log
from medchain.node.start import load
from medchain.node.supervisor import decode_unlock
from medchain.node.writer import fork_writer
from medchain.web.handover import CONFIG_VARIABLE, Handed, hand_over

APPLICATION: Final = "medchain.app:worker_gateway"
"""Named, not imported: the roof is above this floor. This process calls nothing of it; its workers find it loaded."""

SIGNING: Final = "medchain.sign_app:worker_gateway"
"""Likewise, where patients sign."""

SIGN_SIDE: Final = "sign"
"""Second argument that chooses the page on which patients sign."""

JOBS: Final = "fhir_bridge.transactions"
"""What does large transactions, loaded with the application; likewise."""

WRITER_END_S: Final = 3.0
"""How long the writer is waited for once no worker can ask it: less than what the supervisor grants at a stop."""

_STOPS: Final = frozenset({signal.SIGTERM, signal.SIGINT})
_HEAD_TIMEOUT_MS: Final = 10_000
_CONNECTIONS: Final = 1024
_RESPAWN_S: Final = 1.0
_CHILDLESS_S: Final = 0.2
_LOG: Final = Log("web")


def main(arguments: list[str]) -> int:
    """Serve until told to stop.

    Args:
        arguments: the path of the configuration, and `SIGN_SIDE` for the page on which patients sign.

    Returns:
        Exit status 0, also where the supervisor ends before it has handed over the key; granian exits by itself after a
        failure.
    """
    # Here and not in each worker, while the daemon opens the ledger: what is loaded before a fork is loaded once.
    signs = arguments[1:] == [SIGN_SIDE]
    load((SIGNING if signs else APPLICATION).partition(":")[0])
    # Before there is a key here, or a thread.
    forks = None if signs else ForkServer.forked(JOBS, arguments[0])
    line = sys.stdin.buffer.readline()
    if not line:
        return 0
    halves = decode_unlock(line)
    config = load_config(Path(arguments[0]), os.environ, {})
    os.environ[CONFIG_VARIABLE] = arguments[0]
    writer = None if signs else fork_writer(config, halves.web)
    hand_over(Handed(halves.web, forks, None if writer is None else writer.asking))
    # A forked worker has what its parent holds; a spawned one would have to be handed it where others can look.
    multiprocessing.set_start_method("fork", force=True)
    end_forked_by_signals()
    Thread(target=_watch_supervisor, name="supervisor-watch", daemon=True).start()
    Thread(target=end_stopped, name="stopped-watch", daemon=True).start()
    (make_signing_server if signs else make_server)(config).serve()
    if writer is not None:
        # Its last commit is this node's, not of whoever opens the file next.
        writer.end(WRITER_END_S)
    return 0


def end_forked_by_signals() -> None:
    """Have each process that is forked from this one end when it is told to, until it says itself how it wants to end.

    It would inherit what granian does here at a stop, which only notes that there was one: told to end while it opens
    its files, a worker would go on to serve until it is killed. What comes before it has let go of that waits.
    """

    def let_go() -> None:
        for number in _STOPS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)

    os.register_at_fork(
        before=partial(signal.pthread_sigmask, signal.SIG_BLOCK, _STOPS),
        after_in_parent=partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, _STOPS),
        after_in_child=let_go,
    )


def end_stopped() -> None:
    """End each child of this process that is stopped (``SIGSTOP``), for as long as this process lives.

    A writer that is stopped has all creates wait, a worker all clients that the system has given it; one that has died
    is followed by another, and what it had not done is done by who asked (`docs/spec/store.md` 15).
    """
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WSTOPPED)
        except ChildProcessError:
            time.sleep(_CHILDLESS_S)
            continue
        if found is not None:
            _LOG.error("child.stopped", pid=found.si_pid)
            os.kill(found.si_pid, signal.SIGKILL)


def make_server(config: NodeConfig) -> MPServer:
    """Set up granian for the web workers.

    Args:
        config: address, TLS, workers and threads.

    Returns:
        The server; `serve` blocks.
    """
    return _server(config, APPLICATION, config.web_listen, config.web_tls, config.web_workers)


def make_signing_server(config: NodeConfig) -> MPServer:
    """Set up granian for the page on which patients sign; raises `InputError` ``config.invalid`` without an address."""
    if config.sign_listen is None:
        raise InputError("config.invalid", setting="sign.listen", problem="config.half_sign")
    return _server(config, SIGNING, config.sign_listen, config.sign_tls, 1)


def _server(config: NodeConfig, application: str, listen: Address, tls: Tls | None, workers: int) -> MPServer:
    """Set up granian."""
    return MPServer(
        application,
        address=listen.host,
        port=listen.port,
        interface=Interfaces.ASGINL,
        factory=True,
        workers=workers,
        # Who connects and sends nothing holds a connection and nothing else, for as long as a head may take.
        backpressure=_CONNECTIONS,
        # Where the version of HTTP is to be found out, no deadline begins before the first byte.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_HEAD_TIMEOUT_MS),
        websockets=False,
        log_level=LogLevels.error,
        respawn_failed_workers=True,
        respawn_interval=_RESPAWN_S,
        workers_kill_timeout=config.stop_timeout_s,
        ssl_cert=None if tls is None else tls.certificate,
        ssl_key=None if tls is None else tls.key,
        ssl_protocol_min=SSLProtocols.tls13,
    )


def _watch_supervisor() -> None:
    """Stop when the supervisor is gone."""
    # Not through sys.stdin: its lock would be held at a fork, and at the interpreter's end.
    while os.read(sys.stdin.fileno(), 4096):
        """Nothing more is expected; whatever comes is dropped."""
    os.kill(os.getpid(), signal.SIGTERM)
