"""Puts a node together from its folder: what the daemon and the web workers each open.

Keeps true: a web worker opens neither the ledger nor a key of the daemon; whatever was opened is closed. Trusts the
keystore and the store to refuse what is damaged.
Source: `docs/architecture.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Final

from medchain.encoding import Json
from medchain.errors import NotFoundError, VerificationError
from medchain.ledger.genesis import Genesis, parse_genesis
from medchain.node import metrics
from medchain.node.clock import Clock
from medchain.node.config import NodeConfig
from medchain.node.daemon import Job, Watched
from medchain.node.keystore import DaemonKeys, Layout, Unlock, WebKeys, open_daemon_keys, open_web_keys
from medchain.node.local import LocalClient
from medchain.node.peer_auth import MembersDirectory, PeerSigner
from medchain.node.peers import PeerClient
from medchain.node.served_log import ServedLog
from medchain.node.services import (
    BodyService,
    EndorsementService,
    Health,
    HealthService,
    LocalService,
    LogService,
    OrderingService,
    ReleaseService,
    health_document,
)
from medchain.store.engine import FileKind, open_database
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore

MAX_GENESIS_BYTES: Final = 1 << 20
"""Largest genesis that is looked at."""

_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class DaemonNode:
    """What the daemon's parts are made from.

    Attributes:
        config: settings.
        layout: of the node's folder.
        clock: gives Unix seconds.
        web_keys: authentication and record keys.
        daemon_keys: the others.
        genesis: of the ledger.
        ledger: the ledger file; the daemon alone opens it.
        records: records and outbox, shared with the web workers.
        directory: the members of this moment.
        peers: calls to other nodes.
    """

    config: NodeConfig
    layout: Layout
    clock: Clock
    web_keys: WebKeys
    daemon_keys: DaemonKeys
    genesis: Genesis
    ledger: LedgerStore
    records: RecordStore
    directory: MembersDirectory
    peers: PeerClient


@dataclass(frozen=True, slots=True)
class DaemonParts:
    """What runs in the daemon. A service that is None has no routes.

    Attributes:
        log: serves the log.
        health: tells how the daemon is.
        local: operations for web workers and the command line.
        ordering: ordering and checkpoints.
        endorsement: endorses what others submit.
        bodies: takes sealed bodies.
        releases: releases records.
        jobs: run for as long as the daemon.
        watched: must not stand still.
        close: called at the end, in reverse order.
    """

    log: LogService
    health: HealthService
    local: LocalService
    ordering: OrderingService | None = None
    endorsement: EndorsementService | None = None
    bodies: BodyService | None = None
    releases: ReleaseService | None = None
    jobs: tuple[Job, ...] = ()
    watched: tuple[Watched, ...] = ()
    close: tuple[Callable[[], None], ...] = ()


@dataclass(frozen=True, slots=True)
class WebNode:
    """What a web worker is made from.

    Attributes:
        config: settings.
        clock: gives Unix seconds.
        keys: authentication and record keys.
        records: records and outbox.
        local: calls to the daemon.
    """

    config: NodeConfig
    clock: Clock
    keys: WebKeys
    records: RecordStore
    local: LocalClient


@contextmanager
def open_daemon_node(config: NodeConfig, halves: Unlock, clock: Clock) -> Iterator[DaemonNode]:
    """Open what the daemon needs.

    Args:
        config: settings.
        halves: both halves of the root key.
        clock: gives Unix seconds.

    Yields:
        The node; closed afterwards.

    Raises:
        NotFoundError: ``genesis.missing``, ``keystore.missing``.
        VerificationError: ``keys.unwrap``, ``store.corrupt``.
    """
    layout = Layout(config.folder)
    genesis = read_genesis(layout)
    web_keys, daemon_keys = open_web_keys(config.folder, halves), open_daemon_keys(config.folder, halves)
    with (
        _records(config, layout, web_keys) as records,
        closing(
            LedgerStore(
                open_database(
                    layout.ledger, daemon_keys.ledger_database, kind=FileKind.LEDGER, cache_bytes=_share(config)
                )
            )
        ) as ledger,
    ):
        directory = MembersDirectory(lambda: ledger.members)
        signer = PeerSigner(config.org_id, genesis.ledger, web_keys.authentication, clock)
        with closing(PeerClient(signer, directory.address, config.peer_ca)) as peers:
            yield DaemonNode(config, layout, clock, web_keys, daemon_keys, genesis, ledger, records, directory, peers)


@contextmanager
def open_web_node(config: NodeConfig, halves: Unlock, clock: Clock) -> Iterator[WebNode]:
    """Open what a web worker needs; arguments and errors as in `open_daemon_node`, the web half is enough."""
    layout = Layout(config.folder)
    keys = open_web_keys(config.folder, halves)
    with _records(config, layout, keys) as records, closing(LocalClient(config.folder)) as local:
        yield WebNode(config, clock, keys, records, local)


def read_genesis(layout: Layout) -> Genesis:
    """Read the node's genesis; raises `NotFoundError` ``genesis.missing``, `VerificationError` for a damaged one."""
    try:
        content = layout.genesis.read_bytes()
    except OSError as error:
        raise NotFoundError("genesis.missing", path=str(layout.genesis)) from error
    if len(content) > MAX_GENESIS_BYTES:
        raise VerificationError("genesis.too_large")
    return parse_genesis(content)


def daemon_parts(node: DaemonNode) -> DaemonParts:
    """Make the daemon's parts."""
    health = LedgerHealth(node.ledger)
    return DaemonParts(
        log=ServedLog(node.ledger),
        health=health,
        local=LocalOperations({"status": lambda _document: health_document(health.health())}),
    )


class LedgerHealth:
    """Fills `medchain.node.services.HealthService` from the ledger store."""

    __slots__ = ("_store",)

    def __init__(self, store: LedgerStore) -> None:
        """Use a store."""
        self._store = store

    def health(self) -> Health:
        """Look at the newest block and the newest final checkpoint, and show the numbers to Prometheus."""
        head, final = self._store.head, self._store.final()
        final_size = 0 if final is None else final.size
        metrics.LEDGER_HEIGHT.set(head.height)
        metrics.LEDGER_SIZE.set(head.size)
        metrics.FINAL_SIZE.set(final_size)
        reasons = (("ledger.empty",) if head.height < 0 else ()) + (("ledger.not_final",) if not final_size else ())
        return Health(head.height >= 0, reasons, head.height, head.size, final_size)


@dataclass(frozen=True, slots=True)
class LocalOperations:
    """Fills `medchain.node.services.LocalService` from functions.

    Attributes:
        by_name: operation → function from its document to its answer.
    """

    by_name: Mapping[str, Callable[[Json], Json]] = field(default_factory=dict)

    def operations(self) -> tuple[str, ...]:
        """Name the operations."""
        return tuple(sorted(self.by_name))

    def call(self, operation: str, document: Json) -> Json:
        """Do one; raises `NotFoundError` ``local.operation`` and whatever it raises."""
        function = self.by_name.get(operation)
        if function is None:
            raise NotFoundError("local.operation", operation=operation)
        return function(document)


@contextmanager
def _records(config: NodeConfig, layout: Layout, keys: WebKeys) -> Iterator[RecordStore]:
    """Open the file that daemon and web workers share."""
    database = open_database(layout.records, keys.records_database, kind=FileKind.RECORDS, cache_bytes=_share(config))
    with closing(RecordStore(database)) as records:
        yield records


def _share(config: NodeConfig) -> int:
    """Split the page cache: two files in the daemon, one in each web worker."""
    return config.database_cache_mib * _MIB // (2 + config.web_workers)
