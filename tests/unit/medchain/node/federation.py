"""Whole nodes of the consortium of the ledger's tests in one process: real keys, real files, calls in place of HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from consent.directive import ConsentDecision
from medchain.crypto.assertion import encode_credential_key
from medchain.crypto.authenticator import SoftwareAuthenticator
from medchain.crypto.es384 import Es384Signer
from medchain.crypto.sealing import SealingPrivateKey
from medchain.crypto.signing import Ed25519Signer, MlDsa44Signer
from medchain.encoding import Json, canonical, parse_canonical
from medchain.errors import AccessDeniedError, UnavailableError
from medchain.ledger.kinds import consent as consents
from medchain.ledger.kinds import grant as grants
from medchain.ledger.kinds import signing, subject
from medchain.ledger.kinds.access import Access, Accesses
from medchain.ledger.kinds.capacity import Capacity
from medchain.ledger.kinds.content import Period
from medchain.ledger.kinds.passkeys import passkey
from medchain.ledger.object import Body, StateRecord, build_body, map_key
from medchain.ledger.request import ReleaseRequest, access_id
from medchain.ledger.signed_request import sign_request
from medchain.ledger.transaction import Ref
from medchain.node.directory import MEMBERS, MembersDirectory, Standing
from medchain.node.endorse import Identity
from medchain.node.ledger_driver import ReplicaNotes, pen_of, vouched_file
from medchain.node.ledger_node import LedgerNode, Surroundings
from medchain.node.receipt_file import ReceiptFile
from medchain.node.records import RecordService
from medchain.node.replica import Replica
from medchain.node.submit import Draft
from medchain.node.suspended import SuspendedStops
from medchain.ordering.embedded import EmbeddedDriver, Ports
from medchain.ordering.entry import parse_entry
from medchain.ordering.notary import CosignKeys, LedgerNotary
from medchain.ordering.round import parse_round
from medchain.store.engine import Database, FileKind, open_database
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore
from tests.consortium import COSIGNERS, SUBMITTERS
from tests.unit.medchain.ledger.world import (
    ANXIN,
    COMMISSION,
    RENHE,
    ROLES,
    TIME,
    TONGJI,
    fresh,
    genesis,
    key,
    seed,
)
from tests.unit.medchain.node.ledgers import proofs

# After something has moved, so many turns come at once: what follows from it takes several. Then all rest.
BUSY_TURNS = 6
BUSY_S, REST_S = 0.001, 0.05
NOW = TIME + 100
ORIGIN = "https://sign.consent.example"
DAY_S = 86400


class Killed(BaseException):
    """A node's process ends here."""

    def __init__(self, org_id: str) -> None:
        """Say whose."""
        super().__init__(org_id)
        self.org_id = org_id


@dataclass
class Site:
    """One organisation's node and its files."""

    org_id: str
    folder: Path
    federation: Federation
    node: LedgerNode = None
    ledger: LedgerStore = None
    records: RecordStore = None
    service: RecordService = None
    _open: ExitStack = None

    def start(self) -> None:
        """Open the files and put the node together, also after a `crash`."""
        self.folder.mkdir(exist_ok=True)
        self._open = ExitStack()
        file_key = seed(self.org_id, "file")
        self.ledger = LedgerStore(open_database(self.folder / "ledger.db", file_key, kind=FileKind.LEDGER))
        self._open.callback(self.ledger.close)
        self.records = RecordStore(open_database(self.folder / "records.db", file_key, kind=FileKind.RECORDS))
        self._open.callback(self.records.close)
        self.service = RecordService(
            self.records, genesis().ledger, seed(self.org_id, "records"), self.federation.clock
        )
        keys = keys_of(self.org_id)
        log = Ed25519Signer(seed(self.org_id, "log", 1))
        replica = Replica.create(self.ledger, genesis(), proofs(), pen=pen_of(log))
        receipts = ReceiptFile(self.folder / "receipts.jsonl")
        self._open.callback(receipts.close)
        cosign = CosignKeys(
            self.org_id,
            Ed25519Signer(seed(self.org_id, "cosign-ed25519", 1)),
            MlDsa44Signer(seed(self.org_id, "cosign-mldsa44", 1)),
        )
        ports = Ports(
            replica=replica,
            notary=LedgerNotary(genesis().origin, cosign),
            memory=vouched_file(self.folder, replica.height),
            checkpoints=ReplicaNotes(replica),
            receipts=receipts,
            clock=self.federation.clock,
            connect=lambda org_id: Line(self.federation, self.org_id, org_id),
        )
        driver = EmbeddedDriver(self.org_id, log, ports)
        others = Others(self.federation, self.org_id)
        self.node = LedgerNode(
            keys, Surroundings(replica, driver, self.records, ConsentDecision(), others, self.federation.clock)
        )
        driver.prepare()

    def stop(self) -> None:
        """Close everything; threads that end with a node's process end here."""
        self.node.driver.stop()
        self.node.submitter._writers.shutdown()  # noqa: SLF001  # it needs no end of its own
        self._open.close()

    @property
    def replica(self):
        return self.node.replica


def keys_of(org_id: str) -> Identity:
    """Return an organisation's private keys."""
    encryption = SealingPrivateKey(seed(org_id, "encryption", 1))
    return Identity(org_id, Ed25519Signer(seed(org_id, "ledger", 1)), {encryption.key_id: encryption})


@dataclass
class Federation:
    """All nodes, and what lies between them.

    Who is ``down`` answers nobody; who is ``held`` back answers, and gets no blocks.
    """

    folder: Path
    time: int = NOW
    sites: dict[str, Site] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    tamper: Callable[[str, str, str, bytes], bytes] = lambda _what, _sender, _receiver, data: data
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    stops: SuspendedStops = field(default_factory=SuspendedStops)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _woken: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ticker: threading.Thread = None
    _error: BaseException | None = None

    def wait(self) -> None:
        """Let the nodes get on for a moment."""
        self.wake()
        self._stopping.wait(0.01)

    def wake(self) -> None:
        """Have the next turn come at once."""
        self._woken.set()

    def clock(self) -> int:
        return self.time

    def start(self, org_ids: Sequence[str] = tuple(ROLES)) -> None:
        """Start the nodes, and what makes them follow and cosign."""
        for org_id in org_ids:
            self.sites[org_id] = Site(org_id, self.folder / org_id, self)
            self.sites[org_id].start()
        # An orderer orders only after it has looked round once.
        self.step()
        self._ticker = threading.Thread(target=self._tick, name="ticker", daemon=True)
        self._ticker.start()

    def stop(self) -> None:
        """End everything; raises what went wrong on the way."""
        self._stopping.set()
        self.wake()
        self._ticker.join()
        for site in self.sites.values():
            site.stop()
        if self._error is not None:
            raise self._error

    def crash(self, org_id: str) -> Site:
        """End a node and start it again from its files."""
        return self.restore(org_id, lambda: None)

    def restore(self, org_id: str, meanwhile: Callable[[], None]) -> Site:
        """End a node and start it again from its files, after something has been done to them."""
        with self._lock:
            self.sites[org_id].stop()
            meanwhile()
            self.sites[org_id].start()
        return self.sites[org_id]

    def settled(self, key: bytes, version: int = 1) -> None:
        """Wait until a version of an object is final at every node: who submits waits for its own alone."""
        for site in self.sites.values():
            site.node.submitter.wait_final(key, version, 60)

    def step(self) -> None:
        """Let every node follow, cosign and fetch lines once."""
        with self._lock:
            for site in self.sites.values():
                if site.org_id not in self.down | self.held:
                    site.node.driver.follow_once()
                    site.node.driver.cosign_once()
                    site.node.driver.gather_once()

    def _tick(self) -> None:
        """Let the nodes get on: at once while something moves, and now and then while nothing does.

        A turn in which nothing moves takes the time of whoever waits for something else: some milliseconds for each.
        """
        standing, busy = self._standing(), BUSY_TURNS
        try:
            while not self._stopping.is_set():
                self.step()
                before, standing = standing, self._standing()
                busy = BUSY_TURNS if standing != before else max(0, busy - 1)
                self._woken.wait(BUSY_S if busy else REST_S)
                self._woken.clear()
        except BaseException as error:
            self._error = error
            raise

    def _standing(self) -> list[tuple[int, int]]:
        """Tell how far each node is: its height, and what is final there."""
        with self._lock:
            nodes = [site.node for site in self.sites.values()]
            return [(node.replica.height, node.driver.cosigner.final_size) for node in nodes]

    def reach(self, sender: str, receiver: str) -> Site:
        """Find another node."""
        if {sender, receiver} & self.down or receiver not in self.sites:
            raise UnavailableError("peer.unreachable", peer=receiver)
        return self.sites[receiver]

    @contextmanager
    def answering(self, receiver: str) -> Iterator[None]:
        """Let who calls a node that is killed meanwhile lose the connection, and no more."""
        try:
            yield
        except Killed as killed:
            if killed.org_id != receiver:
                raise
            self.down.add(receiver)
            raise UnavailableError("peer.broken", peer=receiver) from None

    @contextmanager
    def killed_at(self, org_id: str, step: int, *, is_kept: bool) -> Iterator[list[str]]:
        """Kill a node at the n-th write of this thread, or of what it has written for it; yields what was written."""
        plain, folder, own = Database.write, self.sites[org_id].folder, threading.get_ident()
        seen: list[str] = []

        @contextmanager
        def write(file, table, key=""):
            thread = threading.current_thread()
            counts = file.path.parent == folder and (thread.ident == own or thread.name.startswith("submit-keep"))
            with plain(file, table, key) as connection:
                yield connection
                if counts:
                    seen.append(table)
                if counts and len(seen) == step and not is_kept:
                    raise Killed(org_id)
            if counts and len(seen) == step and is_kept:
                raise Killed(org_id)

        Database.write = write
        try:
            with suppress(Killed):
                yield seen
        finally:
            Database.write = plain

    def admit(self, sender: str, receiver: str, allowed: frozenset[Standing] = MEMBERS) -> None:
        """Let in whom a node's routes let in."""
        if self.standings(sender, receiver).isdisjoint(allowed):
            raise AccessDeniedError("peer_auth.unknown")

    def standings(self, sender: str, receiver: str) -> frozenset[Standing]:
        """Tell as what one node may call another."""
        ledger = self.sites[receiver].ledger
        return MembersDirectory(lambda: ledger.members, ledger.members_since_final).standings(sender)


@dataclass
class Line:
    """The way to another node's ordering (`OrdererClient`)."""

    federation: Federation
    sender: str
    receiver: str

    def _desk(self, allowed: frozenset[Standing] = COSIGNERS) -> EmbeddedDriver:
        site = self.federation.reach(self.sender, self.receiver)
        self.federation.admit(self.sender, self.receiver, allowed)
        return site.node.driver

    def submit(self, leaves):
        try:
            desk = self._desk(SUBMITTERS)
            if Standing.SUSPENDED in self.federation.standings(self.sender, self.receiver):
                self.federation.stops.check(self.sender, leaves)
            return desk.order(leaves)
        finally:
            self.federation.wake()

    def blocks(self, first, _wait_s):
        return self._desk().blocks(first, 0)

    def round(self, ask):
        return parse_round(self._desk().round(replace(ask, wait_s=0)))

    def checkpoint(self, final=None):
        return self._desk().checkpoint(final)

    def cosign(self, note):
        self._desk().cosign(note)

    def entry(self, position, size):
        return parse_entry(self._desk(MEMBERS).entry(position, size))

    def stand_down(self, leaf):
        return self._desk(MEMBERS).stand_down(leaf)


@dataclass
class Others:
    """The way to other nodes' endorsers and bodies (`OtherMembers`)."""

    federation: Federation
    sender: str

    def endorse(self, org_id: str, document: bytes) -> bytes:
        site = self._pass("endorse", org_id)
        given = self.federation.tamper("endorse", self.sender, org_id, document)
        with self.federation.answering(org_id):
            answer = canonical(site.node.endorser.endorse(given, self.sender))
        return self.federation.tamper("endorsement", org_id, self.sender, answer)

    def push(self, org_id: str, document: bytes) -> None:
        site = self._pass("push", org_id)
        with self.federation.answering(org_id):
            site.node.bodies.receive(self.federation.tamper("push", self.sender, org_id, document), self.sender)

    def fetch(self, org_id: str, document: bytes) -> bytes:
        site = self._pass("fetch", org_id)
        given = self.federation.tamper("fetch", self.sender, org_id, document)
        with self.federation.answering(org_id):
            answer = canonical(site.node.bodies.receive(given, self.sender))
        return self.federation.tamper("fetched", org_id, self.sender, answer)

    def _pass(self, what: str, org_id: str) -> Site:
        self.federation.seen.append((what, self.sender, org_id))
        site = self.federation.reach(self.sender, org_id)
        self.federation.admit(self.sender, org_id)
        return site


class Patient:
    """A person with a passkey, at home in one organisation."""

    def __init__(self, federation: Federation, name: str = "patient", home: str = RENHE) -> None:
        """Make the passkey."""
        self.federation = federation
        self.home = home
        self.authenticator = SoftwareAuthenticator(seed(name, "passkey"), genesis().rp_id)
        self.object_id = fresh(16)
        self.key = map_key("subject", home, self.object_id)

    def subject(self, custodians: Sequence[str] = (RENHE,), **changes: object) -> Draft:
        """Draft the person's subject object."""
        made = subject.Subject(
            passkeys=(
                passkey(self.authenticator.credential_id, encode_credential_key(self.authenticator.credential), NOW),
            ),
            capacity=Capacity((), None, None, disputed=False),
            custodians=tuple(sorted(custodians)),
            enroller=self.home,
            method="identity-card",
            verified=NOW,
            nonce=fresh(16),
            signed_at=NOW,
        )
        body = build_body("subject", {**made.to_content(), **changes}, None, fresh)
        return Draft("subject", self.object_id, body)

    def linked(self, custodians: Sequence[str], head: StateRecord, body: Body) -> Draft:
        """Draft the version that names further custodians, signed with the passkey."""
        nonce = fresh(16)
        content = body.content | {
            "custodians": sorted(custodians),
            "nonce": nonce.hex(),
            "operation": "link",
            "signers": [self.key.hex()],
        }
        what = signing.Signed("subject/link", self.key, None, nonce)
        made = build_body("subject", content, None, fresh)
        return Draft("subject", self.object_id, self.sign(made, self.key, head.version + 1, head.digest, what))

    def consent(self, custodians: Sequence[str] = (RENHE,), recipient: str = ANXIN, **changes: object) -> Draft:
        """Draft a consent, signed with the passkey."""
        made = consents.Consent(
            subject=self.key,
            acting_for=None,
            custodians=tuple(sorted(custodians)),
            recipient=recipient,
            purpose="HPAYMT",
            resource_types=("Condition", "Observation"),
            period=Period(NOW - 10, NOW + 30 * DAY_S),
            data_period=None,
            fhir={"resourceType": "Consent", "status": "active"},
            operation="create",
            nonce=fresh(16),
            stop=fresh(32),
            signed_at=NOW,
        )
        object_id = fresh(16)
        body = build_body("consent", {**made.to_content(), **changes}, None, fresh)
        target = map_key("consent", self.home, object_id)
        return Draft("consent", object_id, self.sign(body, target, 1, None, made.signed()[0]))

    def sign(self, body: Body, target: bytes, version: int, previous: bytes | None, signed: signing.Signed) -> Body:
        """Sign a content with the passkey."""
        challenge = signing.challenge(genesis().ledger, target, version, previous, body.content_root, signed)
        answer = self.authenticator.sign(challenge, ORIGIN)
        evidence = signing.assertion_evidence(
            answer.credential_id, answer.client_data_json, answer.authenticator_data, answer.signature
        )
        return body.with_evidence(fresh(32), evidence)

    def withdrawal(self, consent_key: bytes, version: int, previous: bytes) -> Body:
        """Sign the withdrawal of a consent."""
        nonce = fresh(16)
        content: dict[str, Json] = {
            "nonce": nonce.hex(),
            "object": consent_key.hex(),
            "operation": "withdraw",
            "subject": self.key.hex(),
        }
        body = build_body("consent", content, None, fresh)
        signed = signing.Signed("consent/withdraw", self.key, None, nonce)
        return self.sign(body, consent_key, version, previous, signed)


def grant(consent_key: bytes, custodian: str = RENHE, recipient: str = ANXIN, **changes: object) -> Draft:
    """Draft a grant within a consent."""
    made = grants.Grant(
        consent=consent_key,
        custodian=custodian,
        recipient=recipient,
        purpose="HPAYMT",
        resource_types=("Observation",),
        period=Period(NOW, NOW + 7 * DAY_S),
        stop=fresh(32),
    )
    return Draft("grant", fresh(16), build_body("grant", {**made.to_content(), **changes}, None, fresh))


def access(consent_key: bytes, grant_key: bytes, **row: object) -> Draft:
    """Draft version 1 of the accesses under a grant, with the insurer's signed request."""
    values = {"count": 1, "commitments_root": fresh(32), "wraps_hash": fresh(32), "purpose": "HPAYMT", "time": NOW}
    values |= row
    request = ReleaseRequest(
        ledger=genesis().ledger,
        custodian=RENHE,
        recipient=ANXIN,
        grant=grant_key,
        purpose=values["purpose"],
        resource_types=("Observation",),
        period=None,
        after=0,
        encryption_key=key(ANXIN, "encryption").id,
        nonce=fresh(16),
        time=values["time"],
    )
    signed = sign_request(Es384Signer(seed(ANXIN, "authentication", 1)), request)
    content = Accesses(grant_key, (consent_key,), (Access(request_hash=request.hash, **values),)).to_content()
    body = build_body("access", content, {"requests": [signed.to_json()]}, fresh)
    refs = tuple(sorted((Ref(consent_key, 1), Ref(grant_key, 1))))
    return Draft("access", access_id(grant_key, RENHE), body, version=1, refs=refs)


__all__ = [
    "ANXIN",
    "COMMISSION",
    "RENHE",
    "ROLES",
    "TONGJI",
    "Federation",
    "Patient",
    "access",
    "grant",
    "key",
    "parse_canonical",
]
