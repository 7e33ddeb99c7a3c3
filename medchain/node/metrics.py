"""What a node counts, for Prometheus.

The processes of a node share a folder in which prometheus_client keeps each process's numbers, so that `/metrics` gives
the same whole from the daemon and from every web worker. Keeps true: labels come from small fixed sets (route names,
codes, org ids), never from what a client sent. Trusts the supervisor, which names the folder in
`PROMETHEUS_MULTIPROC_DIR` before a process imports this module, and empties it at a start.
Source: Prometheus text format 0.0.4.
"""

from __future__ import annotations

import os
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable that prometheus_client looks at when it is imported."""

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
"""Of what `expose` returns."""

REQUESTS: Final = Counter("medchain_requests", "Requests answered", ("server", "route", "status"))
"""Requests by server (peer, local, web), route name and HTTP status."""

REQUEST_SECONDS: Final = Histogram(
    "medchain_request_seconds",
    "Time to answer, long polls left out",
    ("server", "route"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
"""Time to answer."""

PEER_CALLS: Final = Counter("medchain_peer_calls", "Calls to other nodes", ("peer", "outcome"))
"""Calls by organisation called and outcome: ok, a code of the way there (``peer.*``), or refused."""

LEDGER_HEIGHT: Final = Gauge("medchain_ledger_height", "Newest block applied", multiprocess_mode="mostrecent")
"""Set by the daemon."""

LEDGER_SIZE: Final = Gauge("medchain_ledger_entries", "Leaves of the log", multiprocess_mode="mostrecent")
"""Set by the daemon."""

FINAL_SIZE: Final = Gauge(
    "medchain_ledger_final_entries", "Leaves that a quorum has cosigned", multiprocess_mode="mostrecent"
)
"""Set by the daemon."""

WITNESS_CALLS: Final = Counter("medchain_witness_calls", "Requests to outside witnesses", ("witness", "outcome"))
"""By the witness' name in the configuration and outcome: ok, or a code of `medchain.node.witnesses`."""

WITNESS_SIZE: Final = Gauge(
    "medchain_witness_entries",
    "Leaves that an outside witness has cosigned",
    ("witness",),
    multiprocess_mode="mostrecent",
)
"""Set by the daemon."""

OUTBOX: Final = Gauge("medchain_outbox_pending", "Intents not ordered yet", multiprocess_mode="mostrecent")
"""Set by the daemon."""

MESSAGES: Final = Counter("medchain_messages", "Messages to people", ("channel", "outcome"))
"""By channel, and outcome: sent, refused (tried again), given_up, or unavailable (the channel is away)."""

MESSAGES_WAITING: Final = Gauge(
    "medchain_messages_waiting",
    "Notices for people on their way, but for those that wait for their turn",
    ("channel",),
    multiprocess_mode="mostrecent",
)
"""Set by the daemon."""

ALARMS: Final = Counter("medchain_alarms", "What must never happen: split view, refused block, damaged data", ("code",))
"""By code; any increase needs a person."""


def expose() -> bytes:
    """Write the numbers of all the node's processes in Prometheus' text format."""
    if FOLDER_VARIABLE not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
    return generate_latest(registry)
