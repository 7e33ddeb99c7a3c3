"""The roof: puts one node's web application together.

Keeps true: every view declares its callers, or the application is not built; a worker keeps the half of the root key
that it was handed for its worker processes only, and ends with its parent. Trusts the blueprints of the floors below.
Source: `docs/architecture.md`.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Final

from flask import Flask

from fhir_bridge import mount as fhir
from fhir_bridge.rest.front import Front
from fhir_bridge.rest.turns import Turns
from medchain.encoding import Json
from medchain.node.assembly import WebNode, open_web_node, read_genesis
from medchain.node.clock import system_clock
from medchain.node.config import read_metrics_token
from medchain.node.garbage import keep_trimmed, settle
from medchain.node.jobs import JobPool
from medchain.node.keystore import Layout, Unlock
from medchain.node.peers import Limits
from medchain.store.handing import WriterDoor
from medchain.web.gateway import Gateway
from medchain.web.handover import begin
from medchain.web.service import check_callers, health_blueprint, prepare

_STATUS_LIMITS: Final = Limits(timeout_s=2.0)
_MAX_WORKERS: Final = 64


def create_app(node: WebNode, mounts: Sequence[Callable[[Flask], None]] = ()) -> Flask:
    """Put a node's web application together.

    Args:
        node: opened records, keys and the way to the daemon.
        mounts: register the blueprints of the floors above `medchain.web`.

    Returns:
        The application.

    Raises:
        InputError: ``route.callers`` for a view that does not declare who may call it; ``metrics.token``.
    """
    app = Flask("medchain", static_folder=None)
    prepare(app)

    def status() -> Json:
        return node.local.call("status", {}, _STATUS_LIMITS)

    app.register_blueprint(health_blueprint(status, read_metrics_token(node.config.metrics_token)))
    for mount in mounts:
        mount(app)
    check_callers(app)
    return app


@dataclass(frozen=True, slots=True)
class Worker:
    """A web worker.

    Attributes:
        app: its application, which holds what was opened for the life of the process.
        gateway: what the server calls.
    """

    app: Flask
    gateway: Gateway


def worker_gateway() -> Gateway:
    """Make what a granian worker calls."""
    return open_worker().gateway


def open_worker() -> Worker:
    """Make a web worker, from what `medchain.web.workers` left for it.

    Returns:
        The worker.

    Raises:
        MedchainError: the node cannot be opened.
    """
    handed, config = begin(lambda run: f"web-{_take_slot(run)}")
    halves, layout = Unlock(handed.half, None), Layout(config.folder)
    opened = ExitStack()
    turns, writer = Turns(), None if handed.asking is None else WriterDoor(handed.asking)
    node = opened.enter_context(open_web_node(config, halves, system_clock, writer, turns.aside))
    genesis, _ = read_genesis(layout)
    secret = bytes(halves.web).hex().encode("ascii")
    jobs = None if handed.forks is None else JobPool(handed.forks, secret, config.web_jobs, config.folder)
    fronts: list[Front] = []
    app = create_app(node, (lambda app: fronts.append(fhir.mount(app, node, genesis, jobs, turns)),))
    opened.callback(fronts[0].close)
    # Held by the application: a generator that nobody holds is closed, and the files with it.
    app.extensions["medchain-opened"] = opened
    settle()
    ended = Event()
    Thread(target=keep_trimmed, args=(ended,), name="trim", daemon=True).start()
    opened.callback(ended.set)
    return Worker(app, Gateway(fronts[0], config.web_threads))


def _take_slot(run: Path) -> int:
    """Find the lowest number that no living worker of this node has, for the name of its log."""
    for slot in range(_MAX_WORKERS):
        descriptor = os.open(run / f"web-{slot}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
        else:
            return slot
    return _MAX_WORKERS
