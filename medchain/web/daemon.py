"""The ledger daemon's process: opens the node, serves it, ends it. `medchain.daemon` is the program.

Keeps true: it holds no page, template, session or FHIR model; it ends when its supervisor does, since its standard
input closes. Trusts the supervisor, which hands it the root key's halves in the first line.
Source: `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Final

from medchain.errors import MedchainError
from medchain.node.assembly import DaemonNode, DaemonParts, open_daemon_node
from medchain.node.clock import system_clock
from medchain.node.config import Address, load_config
from medchain.node.daemon import Plan, new_secret, run_daemon
from medchain.node.keystore import Layout
from medchain.node.log import Log, log_uncaught, open_log
from medchain.node.migrating import migrate_apart
from medchain.node.peer_auth import PeerVerifier
from medchain.node.signals import set_at_signals
from medchain.node.supervisor import decode_unlock
from medchain.web.peer import (
    ask_routes,
    attest_routes,
    body_routes,
    claim_routes,
    concern_routes,
    endorsement_routes,
    health_routes,
    local_routes,
    log_routes,
    ordering_routes,
    proposal_routes,
    release_routes,
    session_routes,
)
from medchain.web.routing import Route, Router
from medchain.web.server import DaemonServer

EXIT_REFUSED: Final = 2
"""Exit status when the node cannot be opened."""

_LOG: Final = Log("daemon")


def run(config_path: Path, parts_of: Callable[[DaemonNode], DaemonParts]) -> int:
    """Run the daemon.

    Args:
        config_path: the node's configuration.
        parts_of: makes the parts of an opened node.

    Returns:
        Exit status: 0 after a stop, 1 after a failure, 2 when the node cannot be opened.
    """
    halves = decode_unlock(sys.stdin.buffer.readline())
    stop = Event()
    set_at_signals(stop)
    Thread(target=_watch_supervisor, args=(stop,), name="supervisor-watch", daemon=True).start()
    config = load_config(config_path, os.environ, {})
    layout = Layout(config.folder)
    layout.create()
    open_log(layout.logs, "daemon", config.log_level)
    log_uncaught()
    try:
        migrate_apart(config, halves)
        with open_daemon_node(config, halves, system_clock) as node:
            plan = make_plan(node, parts_of(node))
            scheme = "http" if config.peer_tls is None else "https"
            return run_daemon(layout, plan, stop, stop_timeout_s=config.stop_timeout_s, peer_scheme=scheme)
    except (MedchainError, OSError) as error:
        _LOG.error("daemon.refused", error)
        return EXIT_REFUSED


def make_plan(node: DaemonNode, parts: DaemonParts) -> Plan:
    """Bind the servers and put the parts behind them.

    Args:
        node: the opened node.
        parts: its parts.

    Returns:
        What `medchain.node.daemon.run_daemon` runs.

    Raises:
        OSError: an address is taken.
    """
    secret = new_secret()
    verifier = PeerVerifier(node.config.org_id, node.replica.ledger, node.directory, node.records, node.clock)
    peer = Router("peer", [*peer_routes(parts), *session_routes(verifier)], peers=verifier)
    local = Router("local", own_routes(parts), local_secret=secret)
    return Plan(
        peer=DaemonServer(node.config.peer_listen, peer, node.config.peer_tls),
        local=DaemonServer(Address("127.0.0.1", 0), local),
        secret=secret,
        jobs=parts.jobs,
        watched=parts.watched,
        drain=parts.drain,
        close=parts.close,
    )


def peer_routes(parts: DaemonParts) -> list[Route]:
    """Make the routes for other nodes."""
    routes = [*health_routes(parts.health), *log_routes(parts.log)]
    if parts.ordering is not None:
        routes += ordering_routes(parts.ordering)
    if parts.endorsement is not None:
        routes += endorsement_routes(parts.endorsement)
    if parts.bodies is not None:
        routes += body_routes(parts.bodies)
    if parts.proposals is not None:
        routes += proposal_routes(parts.proposals)
    if parts.asks is not None:
        routes += ask_routes(parts.asks)
    if parts.concerns is not None:
        routes += concern_routes(parts.concerns)
    if parts.attests is not None:
        routes += attest_routes(parts.attests)
    if parts.claims is not None:
        routes += claim_routes(parts.claims)
    if parts.releases is not None:
        routes += release_routes(parts.releases)
    return routes


def own_routes(parts: DaemonParts) -> list[Route]:
    """Make the routes for this node's own processes."""
    return [*health_routes(parts.health), *log_routes(parts.log), *local_routes(parts.local)]


def _watch_supervisor(stop: Event) -> None:
    """Wait until the supervisor is gone."""
    # Not through sys.stdin: its lock would be held at a fork, and at the interpreter's end.
    while os.read(sys.stdin.fileno(), 4096):
        """Nothing more is expected; whatever comes is dropped."""
    stop.set()
