"""The life of the ledger daemon's process: servers, jobs, heartbeat, stop.

Keeps true: the daemon tells where it listens only when it listens; it beats only while every server accepts, every job
runs and nothing that is watched stands still, so that the supervisor notices a daemon that lives and does nothing; a
job that fails ends the process, since a node that silently lost a part is worse than one that starts anew. At a stop,
servers end first, then jobs. Trusts the parts to end when told.
Source: `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Thread
from typing import Final, Protocol

from medchain.node.config import Address
from medchain.node.heartbeat import HEARTBEAT_NAME, STALL_S, Heartbeat
from medchain.node.keystore import Layout
from medchain.node.local_state import STATE_NAME, write_state
from medchain.node.log import Log

BEAT_S: Final = 1.0
"""How often the daemon shows that it lives."""

_LOG: Final = Log("daemon")


class Server(Protocol):
    """An HTTP server, see `medchain.web.server.DaemonServer`."""

    @property
    def address(self) -> Address:
        """Where it listens."""
        ...

    def start(self) -> None:
        """Begin to answer."""
        ...

    def is_alive(self) -> bool:
        """Tell whether it accepts."""
        ...

    def stop(self, timeout_s: float) -> bool:
        """Let requests under way end; tells whether all did."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """Something that runs for as long as the daemon.

    Attributes:
        name: for logs and the thread.
        run: runs until the event is set; returning earlier, or raising, ends the daemon.
    """

    name: str
    run: Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Watched:
    """A part that must not stand still.

    Attributes:
        name: for logs.
        standing_s: tells for how many seconds it has had work and done none.
    """

    name: str
    standing_s: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a daemon is made of.

    Attributes:
        peer: serves other nodes; the first to listen.
        local: serves this node's processes, on loopback.
        secret: that callers of ``local`` show.
        jobs: run in a thread each.
        watched: looked at with every beat.
        drain: called first at a stop, so that requests that wait on purpose wait no longer.
        close: called at the end, in reverse order.
    """

    peer: Server
    local: Server
    secret: str
    jobs: Sequence[Job] = ()
    watched: Sequence[Watched] = ()
    drain: Sequence[Callable[[], None]] = ()
    close: Sequence[Callable[[], None]] = ()


def new_secret() -> str:
    """Draw the secret of this start."""
    return secrets.token_hex(32)


def run_daemon(layout: Layout, plan: Plan, stop: Event, *, stop_timeout_s: float, peer_scheme: str = "http") -> int:
    """Run until told to stop, or until a part fails.

    Args:
        layout: of the node's folder.
        plan: the parts.
        stop: ends it when set; set by it when a part fails.
        stop_timeout_s: patience with requests and jobs under way.
        peer_scheme: ``http`` or ``https``, for the state file.

    Returns:
        Exit status: 0 after a stop, 1 after a failure.
    """
    failed, end_jobs = Event(), Event()
    threads = [
        Thread(target=_run_job, args=(job, end_jobs, stop, failed), name=f"job-{job.name}", daemon=True)
        for job in plan.jobs
    ]
    for server in (plan.peer, plan.local):
        server.start()
    for thread in threads:
        thread.start()
    write_state(
        layout,
        pid=os.getpid(),
        local_url=url_of("http", plan.local.address),
        peer_url=url_of(peer_scheme, plan.peer.address),
        secret=plan.secret,
    )
    _LOG.info("daemon.started", port=plan.peer.address.port)
    with Heartbeat(layout.run / HEARTBEAT_NAME) as heartbeat:
        while not stop.wait(BEAT_S):
            _beat(heartbeat, plan)
    (layout.run / STATE_NAME).unlink(missing_ok=True)
    _stop(plan, threads, end_jobs, stop_timeout_s)
    return 1 if failed.is_set() else 0


def url_of(scheme: str, address: Address) -> str:
    """Write an address as a URL."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{scheme}://{host}:{address.port}"


def _beat(heartbeat: Heartbeat, plan: Plan) -> None:
    """Beat, unless something stands still."""
    for server in (plan.peer, plan.local):
        if not server.is_alive():
            _LOG.error("daemon.server_dead", port=server.address.port)
            return
    for watched in plan.watched:
        standing = watched.standing_s()
        if standing > STALL_S:
            _LOG.error("daemon.stalled", part=watched.name, seconds=int(standing))
            return
    try:
        heartbeat.beat()
    except OSError as error:
        # A disk without room, where what is there is written anew elsewhere: for `STALL_S` it may find some.
        _LOG.error("daemon.unheard", error)


def _run_job(job: Job, end: Event, stop: Event, failed: Event) -> None:
    """Run a job; its end before its time is the end of the daemon."""
    try:
        job.run(end)
    except Exception as error:  # noqa: BLE001  # the outermost handler of a thread
        _LOG.error("daemon.job_failed", error, job=job.name)
        failed.set()
    if not end.is_set():
        _LOG.error("daemon.job_ended", job=job.name)
        failed.set()
        stop.set()


def _stop(plan: Plan, threads: Sequence[Thread], end_jobs: Event, timeout_s: float) -> None:
    """End servers, then jobs, then close."""
    deadline = time.monotonic() + timeout_s
    for drain in plan.drain:
        drain()
    for server in (plan.peer, plan.local):
        if not server.stop(max(0.1, deadline - time.monotonic())):
            _LOG.warning("daemon.requests_cut", port=server.address.port)
    end_jobs.set()
    for thread in threads:
        thread.join(max(0.1, deadline - time.monotonic()))
        if thread.is_alive():
            _LOG.warning("daemon.job_cut", job=thread.name)
    for close in reversed(plan.close):
        close()
    _LOG.info("daemon.stopped")
