"""Puts a node together from its folder: what the daemon and the web workers each open.

Keeps true: a web worker opens neither the ledger nor a key of the daemon; whatever was opened is closed. Trusts the
keystore and the store to refuse what is damaged.
Source: `docs/architecture.md`.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from medchain.crypto.signing import check_ed25519_rule
from medchain.encoding import Json, parse_canonical
from medchain.errors import NotFoundError
from medchain.ledger.genesis import Genesis, parse_genesis
from medchain.ledger.kind import DecisionPort
from medchain.ledger.members import key_ids
from medchain.node import metrics, proposal_desk, rotation
from medchain.node.addresses import is_public, is_unicast
from medchain.node.administrator import AdministratorDoor
from medchain.node.alarms import AlarmBook, AlarmJob, DrawWatch, alarm_json, settled_notes
from medchain.node.asker import HttpCustodians
from medchain.node.asking import AskDesk, AskParts, HttpAsks
from medchain.node.attests import AttestDesk, HttpAttests
from medchain.node.awaited import awaited
from medchain.node.checking import SignatureChecks
from medchain.node.clock import Clock
from medchain.node.concerns import ConcernBook, ConcernParts, HttpRegulators
from medchain.node.config import MAX_GENESIS_BYTES, NodeConfig, time_zone
from medchain.node.daemon import Job, Watched
from medchain.node.directory import MEMBER_KEYS, MembersDirectory
from medchain.node.dispatching import Channel
from medchain.node.endorse import Identity
from medchain.node.exchange_node import ExchangeNode, ExchangeSurroundings
from medchain.node.keystore import (
    DaemonKeys,
    Layout,
    Unlock,
    WebKeys,
    adopt_candidates,
    open_daemon_keys,
    open_web_keys,
)
from medchain.node.ledger_driver import LedgerDriver, pen_of
from medchain.node.ledger_node import LedgerNode, Surroundings
from medchain.node.local import LocalClient
from medchain.node.mail import MailChannel
from medchain.node.notices import NoticeBook
from medchain.node.own_consents import OwnConsent, OwnConsents
from medchain.node.peer_auth import PeerSigner
from medchain.node.peers import PeerClient
from medchain.node.proofs import (
    PROVE,
    PROVE_DISCLOSURES,
    PROVE_ENTRY,
    PROVE_ITEMS,
    TRACE,
    TRUSTED_POLICY,
    prove_disclosures,
    prove_entry,
    prove_items,
    prove_object,
    trace_record,
    trusted_policy,
)
from medchain.node.proposal_book import ProposalBook
from medchain.node.proposal_desk import ProposalDesk
from medchain.node.proposal_round import HttpProposals, ProposalRound
from medchain.node.records import RecordService
from medchain.node.releasing import Releasing
from medchain.node.replica import Replica
from medchain.node.restored import GuardedEndorsements, GuardedReleases, Restoration
from medchain.node.rotation import KeyRotation
from medchain.node.served_log import ServedLog
from medchain.node.services import (
    AskService,
    AttestService,
    BodyService,
    ClaimService,
    ConcernService,
    EndorsementService,
    Health,
    HealthService,
    LocalService,
    LogService,
    OrderingService,
    ProposalService,
    ReleaseService,
    health_document,
)
from medchain.node.sms import CommandChannel
from medchain.node.submit import HttpMembers
from medchain.node.upkeep import Upkeep
from medchain.node.wal import WalJob
from medchain.node.witness_file import read_witnesses
from medchain.node.witnesses import WITNESSES, Witnesses, log_report
from medchain.ordering.cosign import SPLIT_VIEW
from medchain.ordering.driver import Alarm
from medchain.ordering.embedded import LOG_KEY_SPENT, NO_HEIR, EmbeddedDriver
from medchain.store.engine import FileKind, open_database
from medchain.store.keeping import ERASURE
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore, Writer

MIN_FREE_BYTES: Final = 16 << 20
"""A node with less room on its disk is not ready: the next answer may have to be refused."""

_MIB: Final = 1 << 20
_MAX_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class DaemonNode:
    """What the daemon's parts are made from.

    Attributes:
        config: settings.
        layout: of the node's folder.
        clock: gives Unix seconds.
        web_keys: authentication and record keys.
        daemon_keys: the others.
        replica: this node's copy of the ledger; the daemon alone opens it.
        records: records and outbox, shared with the web workers.
        directory: the members of this moment.
        peers: calls to other nodes.
    """

    config: NodeConfig
    layout: Layout
    clock: Clock
    web_keys: WebKeys
    daemon_keys: DaemonKeys
    replica: Replica
    records: RecordStore
    directory: MembersDirectory
    peers: PeerClient


class ClaimSide(ClaimService, Protocol):
    """The node's side of claims, which a higher floor makes."""

    def operations(self) -> Mapping[str, Callable[[Json], Json]]:
        """Return its local operations."""
        ...

    def jobs(self) -> Sequence[Job]:
        """Return what runs for as long as the daemon."""
        ...


@dataclass(frozen=True, slots=True)
class Ground:
    """What of the daemon's parts those of higher floors stand on.

    Attributes:
        side: the node's ledger side.
        alarms: keeps alarms.
        check_restored: raises `UnavailableError` while a restore is under way.
        asks: asks patients.
        exchange: asks other organisations for records.
    """

    side: LedgerNode
    alarms: AlarmBook
    check_restored: Callable[[], None]
    asks: AskDesk
    exchange: ExchangeNode


ClaimsOn: TypeAlias = Callable[[Ground], ClaimSide]
"""Makes the node's side of claims."""


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
        asks: takes what other members ask patients.
        concerns: takes what custodians tell a regulator.
        attests: takes others' steps of statements.
        proposals: takes what other members propose.
        claims: answers what other members ask about invoices.
        jobs: run for as long as the daemon.
        watched: must not stand still.
        consents: lists the ledger's consents about this organisation.
        drain: called first at a stop.
        close: called at the end, in reverse order.
    """

    log: LogService
    health: HealthService
    local: LocalService
    ordering: OrderingService | None = None
    endorsement: EndorsementService | None = None
    bodies: BodyService | None = None
    releases: ReleaseService | None = None
    asks: AskService | None = None
    concerns: ConcernService | None = None
    attests: AttestService | None = None
    proposals: ProposalService | None = None
    claims: ClaimService | None = None
    jobs: tuple[Job, ...] = ()
    watched: tuple[Watched, ...] = ()
    consents: Callable[[], Sequence[OwnConsent]] = tuple
    drain: tuple[Callable[[], None], ...] = ()
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
        VerificationError: ``keys.unwrap``, ``store.corrupt``, ``signing.ed25519_rule``.
    """
    check_ed25519_rule()
    layout = Layout(config.folder)
    genesis, signatures = read_genesis(layout)
    web_keys, daemon_keys = open_web_keys(config.folder, halves), open_daemon_keys(config.folder, halves)
    with (
        open_records(config, layout, web_keys) as records,
        closing(
            LedgerStore(
                open_database(
                    layout.ledger, daemon_keys.ledger_database, kind=FileKind.LEDGER, cache_bytes=_share(config)
                )
            )
        ) as ledger,
    ):
        if adopt_candidates(config.folder, _listed(ledger, config.org_id)):
            web_keys, daemon_keys = open_web_keys(config.folder, halves), open_daemon_keys(config.folder, halves)
        checks = SignatureChecks(own=daemon_keys.ledger)
        replica = Replica.create(ledger, genesis, signatures, pen=pen_of(daemon_keys.log), checks=checks)
        ledger.warm()
        directory = MembersDirectory(lambda: ledger.members, ledger.members_since_final)
        signer = PeerSigner(config.org_id, genesis.ledger, web_keys.authentication, clock)
        may_call = is_unicast if genesis.demo or config.peer_private else is_public
        made = PeerClient(
            signer,
            directory.address,
            config.peer_ca,
            ordering_address_of=directory.ordering_address,
            may_call=may_call,
        )
        with closing(made) as peers:
            yield DaemonNode(config, layout, clock, web_keys, daemon_keys, replica, records, directory, peers)


@contextmanager
def open_web_node(
    config: NodeConfig,
    halves: Unlock,
    clock: Clock,
    writer: Writer | None = None,
    aside: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[WebNode]:
    """Open what a web worker needs; arguments and errors as in `open_daemon_node`, the web half is enough.

    Args:
        config: as there.
        halves: as there.
        clock: as there.
        writer: the way to the node's writer; None for who stores everything himself.
        aside: as `medchain.store.records.RecordStore` takes it.
    """
    layout = Layout(config.folder)
    keys = open_web_keys(config.folder, halves)
    with open_records(config, layout, keys, writer, aside) as records, closing(LocalClient(config.folder)) as local:
        yield WebNode(config, clock, keys, records, local)


def _listed(ledger: LedgerStore, org_id: str) -> frozenset[str]:
    """List the organisation's keys on the ledger, by id; none before it has begun, or has come to its admission."""
    own = ledger.members.organisations.get(org_id) if ledger.head.height >= 0 else None
    return frozenset() if own is None else key_ids(own)


def read_genesis(layout: Layout) -> tuple[Genesis, Json]:
    """Read the node's genesis with its proofs, which `Replica.create` verifies.

    Returns:
        The genesis and the content of ``genesis.signatures.json``.

    Raises:
        NotFoundError: ``genesis.missing``.
        InputError: ``encoding.*`` and others for damaged files.
    """
    contents: list[bytes] = []
    for path in (layout.genesis, layout.genesis_signatures):
        try:
            with path.open("rb") as file:
                contents.append(file.read(MAX_GENESIS_BYTES + 1))
        except OSError as error:
            raise NotFoundError("genesis.missing", path=str(path)) from error
    return parse_genesis(contents[0]), parse_canonical(contents[1], max_bytes=MAX_GENESIS_BYTES)


def daemon_parts(
    node: DaemonNode, decision: DecisionPort, releasing: Releasing, claims_on: ClaimsOn | None = None
) -> DaemonParts:
    """Make the daemon's parts.

    Args:
        node: the opened node.
        decision: the decision on accesses, from the consent floor.
        releasing: what decides requests for records, from the floors above.
        claims_on: makes the node's side of claims, likewise; None for a daemon without it.

    Returns:
        The parts; nothing runs yet.
    """
    ordering = _ordering(node)
    restoration, store = ordering.restoration, node.replica.store
    outside = _outside(node)
    health = LedgerHealth(store, ordering.driver, restoration, outside, node.records, node.config.folder)
    watched: list[Callable[[], Sequence[Alarm]]] = [lambda: ordering.driver.health().alarms]
    book = AlarmBook(node.records, lambda: [alarm for alarms in watched for alarm in alarms()], node.clock)
    # What must stay is written down at once.
    ordering.driver.keep_alarm = book.keep
    alarms = AlarmJob(book, DrawWatch(store, node.records, book))
    identity = Identity(node.config.org_id, node.daemon_keys.ledger, node.daemon_keys.encryption)
    side = LedgerNode(identity, _surroundings(node, ordering.driver, decision))
    watched.append(side.anchor.alarms)
    exchange = _exchange(node, identity, side, releasing)
    proposals, asks = _Proposals(node, identity, side, ordering), _ask_desk(node, exchange.notices)
    concerns, attests = _concern_book(node, exchange), _attest_desk(node, side)
    claims = None if claims_on is None else claims_on(Ground(side, book, restoration.check, asks, exchange))
    return DaemonParts(
        log=ServedLog(node.replica.store),
        health=health,
        local=LocalOperations(
            {
                "status": lambda _document: health.status(),
                WITNESSES: lambda _document: {"log": log_report(store), "witnesses": outside.report()},
                **_looked_up(node, side),
                **side.operations(),
                **exchange.operations(),
                **_rotation(node, identity, ordering.driver).operations(),
                **proposals.desk.operations(),
                **asks.operations(),
                **concerns.operations(),
                **attests.operations(),
                **({} if claims is None else claims.operations()),
            }
        ),
        ordering=ordering.driver,
        endorsement=GuardedEndorsements(side.endorser, restoration),
        bodies=side.bodies,
        proposals=proposals.book,
        releases=GuardedReleases(exchange, restoration),
        asks=asks,
        concerns=concerns,
        attests=attests,
        claims=claims,
        jobs=(
            Job("ordering", ordering.run),
            Job("upkeep", Upkeep(store, node.records, ordering.driver).run),
            *_kept(node),
            Job("alarms", alarms.run),
            Job("proposals", proposals.turns.run),
            Job("concerns", concerns.run),
            *side.jobs(),
            *exchange.jobs(),
            *outside.jobs(),
            *(() if claims is None else claims.jobs()),
        ),
        watched=ordering.watched(),
        consents=OwnConsents(node.config.org_id, side, node.records, node.clock).listed,
        drain=(ordering.drain,),
        close=(ordering.close, outside.close),
    )


def _outside(node: DaemonNode) -> Witnesses:
    """Put together the outside witnesses that the settings name."""
    named, ca = read_witnesses(node.config.witnesses_file), node.config.witnesses_ca
    return Witnesses.of(named, node.replica, node.replica.store.final, node.clock, ca)


def _surroundings(node: DaemonNode, driver: EmbeddedDriver, decision: DecisionPort) -> Surroundings:
    """Gather what the ledger side is made from."""
    others, grace_s = HttpMembers(node.peers), node.config.emergency_grace_s
    return Surroundings(node.replica, driver, node.records, decision, others, node.clock, grace_s)


def _exchange(node: DaemonNode, identity: Identity, side: LedgerNode, releasing: Releasing) -> ExchangeNode:
    """Put the exchange side together."""
    return ExchangeNode(
        identity,
        ExchangeSurroundings(
            side,
            node.records,
            _record_service(node),
            node.web_keys.authentication,
            releasing,
            HttpCustodians(node.peers),
            node.clock,
            time_zone(node.config.time_zone),
            _channels(node),
            node.config.web_origin,
        ),
    )


def _channels(node: DaemonNode) -> tuple[Channel, ...]:
    """List the ways to people that the configuration names."""
    mail, program = node.config.mail, node.config.sms_command
    by_mail = () if mail is None else (MailChannel(mail, node.clock),)
    return by_mail if program is None else (*by_mail, CommandChannel(program))


def _record_service(node: DaemonNode) -> RecordService:
    """Open records with the web workers' key."""
    return RecordService(node.records, node.replica.ledger, node.web_keys.records, node.clock)


def _ask_desk(node: DaemonNode, notices: NoticeBook) -> AskDesk:
    """Put together what members ask each other's patients."""
    ways = _record_service(node), HttpAsks(node.peers), node.clock, secrets.token_bytes, notices.tell_patient
    return AskDesk(AskParts(node.config.org_id, node.replica.ledger, node.records, *ways))


def _attest_desk(node: DaemonNode, side: LedgerNode) -> AttestDesk:
    """Put together what makes and leads statements."""
    ways = node.web_keys.authentication, HttpAttests(node.peers), node.clock, secrets.token_bytes
    return AttestDesk(node.config.org_id, side, *ways)


def _concern_book(node: DaemonNode, exchange: ExchangeNode) -> ConcernBook:
    """Put together what patients bring before this organisation, and what regulators are told of it."""
    kept = node.records, _record_service(node), exchange.notices
    return ConcernBook(
        ConcernParts(
            node.config.org_id, node.replica, *kept, HttpRegulators(node.peers), node.clock, secrets.token_bytes
        )
    )


def _ordering(node: DaemonNode) -> LedgerDriver:
    """Put the driver together; a split view that nobody has acknowledged stops cosigning from the start."""
    return LedgerDriver(
        node.config.org_id,
        node.layout,
        node.daemon_keys,
        node.replica,
        node.peers,
        node.clock,
        is_erasing=lambda: bool(node.records.pending(1, kind=ERASURE)),
        is_split=node.records.is_alarm_open(SPLIT_VIEW),
        settled=settled_notes(node.records),
        clocks=node.peers.clocks,
    )


def _rotation(node: DaemonNode, identity: Identity, driver: EmbeddedDriver) -> KeyRotation:
    """Put the exchange of keys together."""
    administrator = AdministratorDoor(node.daemon_keys.administrator, node.clock, rotation.ADMINISTRATOR)
    authentication = node.web_keys.authentication.public
    return KeyRotation(identity, authentication, node.replica, driver.outbox, administrator, node.clock)


class _Proposals:
    """What members propose to each other, put together."""

    def __init__(self, node: DaemonNode, identity: Identity, side: LedgerNode, ordering: LedgerDriver) -> None:
        """Use the node's parts."""
        driver = ordering.driver
        self.book = ProposalBook(
            identity,
            side.judge,
            node.records,
            ordering.restoration.check,
            ordering.driver.may_order,
            lambda: ordering.driver.cosigner.final_size,
        )
        self.turns = ProposalRound(self.book, HttpProposals(node.peers), driver.outbox, driver.takeover)
        administrator = AdministratorDoor(node.daemon_keys.administrator, node.clock, proposal_desk.ADMINISTRATOR)
        self.desk = ProposalDesk(self.book, administrator, self.turns.waiting.get)


def _kept(node: DaemonNode) -> tuple[Job, ...]:
    """List what keeps the records file in order beside those who write it."""
    return (Job("wal", WalJob(node.records.database).run),)


def _looked_up(node: DaemonNode, side: LedgerNode) -> dict[str, Callable[[Json], Json]]:
    """Answer what web workers look up on the ledger."""
    return {
        MEMBER_KEYS: node.directory.member_keys,
        PROVE: lambda document: prove_object(node.replica, document),
        PROVE_DISCLOSURES: lambda document: prove_disclosures(node.replica, side.shelf, document),
        PROVE_ENTRY: lambda document: prove_entry(node.replica, document),
        PROVE_ITEMS: lambda document: prove_items(node.replica, document),
        TRACE: lambda document: trace_record(node.replica, document),
        TRUSTED_POLICY: lambda _document: trusted_policy(node.replica),
    }


class LedgerHealth:
    """Fills `medchain.node.services.HealthService` from the stores, the disk, the ordering driver and the witnesses."""

    __slots__ = ("_driver", "_folder", "_outside", "_records", "_restoration", "_store")

    def __init__(
        self,
        store: LedgerStore,
        driver: EmbeddedDriver,
        restoration: Restoration,
        outside: Witnesses,
        records: RecordStore,
        folder: Path,
    ) -> None:
        """Use what tells of each, and the folder of the node, whose disk is looked at."""
        self._folder = folder
        self._outside = outside
        self._records = records
        self._store = store
        self._driver = driver
        self._restoration = restoration

    def health(self) -> Health:
        """Look at the newest block, the newest final checkpoint and the driver; show the numbers to Prometheus."""
        head, final, ordering = self._store.head, self._store.final(), self._driver.health()
        # The genesis is what the founders have signed; nobody cosigns it.
        founded = head.size if head.height == 0 else 0
        final_size = founded if final is None else final.size
        metrics.LEDGER_HEIGHT.set(head.height)
        metrics.LEDGER_SIZE.set(head.size)
        metrics.FINAL_SIZE.set(final_size)
        # What stays until somebody has looked is kept on disk; what is wrong now says so itself.
        kept = [row.code for row in self._records.alarms()]
        now = [alarm.code for alarm in ordering.alarms if not alarm.latched]
        reasons = list(dict.fromkeys([*kept, *now, *self._outside.reasons()]))
        if not ordering.caught_up:
            reasons.append("ordering.behind")
        if ordering.is_log_key_spent and LOG_KEY_SPENT not in reasons:
            reasons.append(LOG_KEY_SPENT)
        if not ordering.has_heir:
            reasons.append(NO_HEIR)
        if final_size < head.size:
            reasons.append("ledger.not_final")
        restore = self._restoration.reason
        if restore is not None:
            reasons.append(restore)
        is_full = shutil.disk_usage(self._folder).free < MIN_FREE_BYTES
        if is_full:
            reasons.append("store.full")
        is_ready = ordering.caught_up and restore is None and not is_full
        return Health(is_ready, tuple(reasons), head.height, head.size, final_size)

    def status(self) -> Json:
        """Tell the node's own workers and command line how it is, with the alarms that nobody has acknowledged."""
        document = health_document(self.health())
        alarms: list[Json] = [alarm_json(row) for row in self._records.alarms(limit=_MAX_SHOWN)]
        newest = self._store.head.time
        more = {"alarms": alarms, "awaited": awaited(self._store, self._driver.cosigner), "time": newest}
        return {**document, **more} if isinstance(document, dict) else document


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
def open_records(
    config: NodeConfig,
    layout: Layout,
    keys: WebKeys,
    writer: Writer | None = None,
    aside: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[RecordStore]:
    """Open the file that the processes of a node share; arguments and errors as in `open_web_node`."""
    database = open_database(layout.records, keys.records_database, kind=FileKind.RECORDS, cache_bytes=_share(config))
    with closing(RecordStore(database, writer, aside)) as records:
        yield records


def _share(config: NodeConfig) -> int:
    """Split the page cache: two files in the daemon, one in each web worker and in the writer.

    Job processes have as much each, but only while they do a job.
    """
    return config.database_cache_mib * _MIB // (3 + config.web_workers)
