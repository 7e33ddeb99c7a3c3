"""One node's ledger side, put together: replica, ordering, anchor, endorsing, bodies, stops and submitting.

What runs in the daemon, and, with other ways between the organisations, in tests. Keeps true: each part gets only what
it needs; what a node has promised (cosignatures, endorsements, stops) is on disk before anybody hears of it. Trusts the
stores that it is given.
Source: `docs/architecture.md`, `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Final

from medchain.crypto.signing import Ed25519Signer
from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import InputError, MedchainError
from medchain.ledger.genesis import Genesis
from medchain.ledger.kind import DecisionPort
from medchain.ledger.object import MAX_BODY_BYTES, Body
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.node.anchor import Anchor
from medchain.node.bodies import BODIES_TYPE, MAX_DOCUMENT_BYTES, BodyReceiver, BodyShelf
from medchain.node.clock import Clock
from medchain.node.daemon import Job
from medchain.node.endorse import Endorser, Identity, Judge
from medchain.node.keystore import write_private_file
from medchain.node.log import Log
from medchain.node.replica import Replica
from medchain.node.stops import NOTICE_TYPE, StopBook
from medchain.node.submit import Draft, OtherMembers, Submitter
from medchain.ordering.block import Block
from medchain.ordering.cosign import Vouched
from medchain.ordering.driver import OrdererClient
from medchain.ordering.embedded import EmbeddedDriver, Ports
from medchain.ordering.notary import CosignKeys, LedgerNotary
from medchain.ordering.receipt import Outcome, Receipt, receipt_json
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore
from medchain.tlog.checkpoint import sign_checkpoint

SETTLE_S: Final = 1.0
"""How often undelivered bodies and open stops are looked at."""

_VOUCHED_TYPE: Final = "medchain/vouched/v1"
_MAX_VOUCHED_BYTES: Final = 4096
_VOUCHED: Final[Mapping[str, type]] = {
    "floor": int,
    "replaced": str,
    "replaced_from": int,
    "root": str,
    "size": int,
    "stood_down": str,
    "type": str,
}
_LOG: Final = Log("ledger")


@dataclass(frozen=True, slots=True)
class LedgerKeys:
    """The keys of a node's ledger side.

    Attributes:
        identity: organisation, ledger key and encryption keys.
        log: its log key.
        cosign: its cosigning keys.
    """

    identity: Identity
    log: Ed25519Signer
    cosign: CosignKeys


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a node's ledger side needs from around it.

    Attributes:
        genesis: of the ledger.
        signatures: content of ``genesis.signatures.json``.
        ledger: the ledger file.
        records: records and outbox.
        vouched: file that remembers what was cosigned.
        decision: the decision on accesses.
        connect: org_id → the way to that organisation's ordering.
        others: the way to other organisations' endorsers and bodies.
        clock: gives Unix seconds.
    """

    genesis: Genesis
    signatures: Json
    ledger: LedgerStore
    records: RecordStore
    vouched: Path
    decision: DecisionPort
    connect: Callable[[str], OrdererClient]
    others: OtherMembers
    clock: Clock


class LedgerNode:
    """The ledger side of one node.

    Attributes:
        replica: its copy of the ledger.
        driver: ordering.
        shelf: its bodies.
        endorser: endorses for others.
        bodies: takes bodies and notices of stops.
        stops: the stops that it has heard of.
        submitter: submits its own sealed transactions.
        anchor: anchors its records.
    """

    def __init__(self, keys: LedgerKeys, around: Surroundings) -> None:
        """Put the parts together; nothing runs yet.

        Args:
            keys: of the organisation.
            around: files, clock and ways to others.

        Raises:
            VerificationError: ``organisation.proof``, ``replica.ledger``, ``store.corrupt``.
        """
        org_id, ledger = keys.identity.org_id, around.ledger
        pen = partial(sign_checkpoint, signer=keys.log)
        self.replica = Replica.create(ledger, around.genesis, around.signatures, pen=pen)
        notary = LedgerNotary(around.genesis.origin, keys.cosign)
        ports = Ports(
            replica=self.replica,
            notary=notary,
            memory=VouchedFile(around.vouched),
            checkpoints=_Checkpoints(self.replica),
            receipts=_Receipts(),
            clock=around.clock,
            connect=around.connect,
        )
        self.driver = EmbeddedDriver(org_id, keys.log, ports)
        self.shelf = BodyShelf(ledger)
        judge = Judge(org_id, self.replica, self.shelf, around.decision, around.clock)
        self.endorser = Endorser(keys.identity, judge, around.records)
        self.stops = StopBook(keys.identity, judge, around.records, around.others.push, self.driver.outbox.add)
        receiver = BodyReceiver(self.replica.ledger, ledger, self.shelf, keys.identity.encryption)
        self.bodies = BodyDesk(receiver, self.stops)
        self.submitter = Submitter(keys.identity, judge, around.records, around.others, self.driver.submit)
        self.anchor = Anchor(org_id, keys.identity.signer, self.replica, around.records, self.driver.submit)

    def jobs(self) -> tuple[Job, ...]:
        """Return what runs for as long as the daemon."""
        return (Job("ordering", self._order), Job("anchor", self.anchor.run), Job("settle", self._settle))

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations: what web workers and the command line ask for."""
        return {
            "body": self._body,
            "object": self._object,
            "stop": self._stop,
            "submit": self._submit,
        }

    def _order(self, stop: Event) -> None:
        """Run the driver's threads."""
        self.driver.start()
        try:
            stop.wait()
        finally:
            self.driver.stop()

    def _settle(self, stop: Event) -> None:
        """Deliver and settle until told to stop."""
        while not stop.wait(SETTLE_S):
            try:
                self.stops.settle()
                self.submitter.deliver_pending()
            except MedchainError as error:
                _LOG.warning("settle.delayed", code=error.code)

    def _submit(self, document: Json) -> Json:
        """Submit a sealed transaction and wait until it is final."""
        top = members(document, {"body": dict, "id": str, "kind": str, "status": str})
        body = Body.from_json(parse_canonical(canonical(top["body"]), max_bytes=MAX_BODY_BYTES))
        draft = Draft(str(top["kind"]), unhex(top["id"], ID_BYTES), body, str(top["status"]))
        done = self.submitter.submit(draft)
        return {
            "endorser": done.endorser,
            "final_size": done.final_size,
            "key": done.key.hex(),
            "position": done.record.since,
            "rank": done.rank,
            "version": done.record.version,
        }

    def _stop(self, document: Json) -> Json:
        """Stop an object; binding when it answers."""
        top = members(document, {"object": str}, {"evidence": dict})
        evidence = top.get("evidence")
        body = None if evidence is None else Body.from_json(evidence)
        key = unhex(top["object"], HASH_BYTES)
        self.stops.stop(key, body)
        return {"object": key.hex(), "stopped": True}

    def _object(self, document: Json) -> Json:
        """Tell the head of an object, whether it is final, and whether a stop was heard of."""
        key = unhex(members(document, {"object": str})["object"], HASH_BYTES)
        record, final = self.replica.store.record(key), self.replica.store.final()
        is_final = record is not None and final is not None and record.since < final.size
        state = None if record is None else parse_canonical(record.encode(), max_bytes=MAX_BODY_BYTES)
        return {"final": is_final, "record": state, "stopped": self.stops.is_stopped(key)}

    def _body(self, document: Json) -> Json:
        """Show the part of an object's body that is here, compared with the ledger."""
        key = unhex(members(document, {"object": str})["object"], HASH_BYTES)
        found = self.shelf.head(key)
        return {"body": None if found is None else found[1].to_json()}


class BodyDesk:
    """Takes what members send about bodies; fills `medchain.node.services.BodyService`."""

    __slots__ = ("_receiver", "_stops")

    def __init__(self, receiver: BodyReceiver, stops: StopBook) -> None:
        """Put both behind one door."""
        self._receiver = receiver
        self._stops = stops

    def receive(self, document: bytes, peer: str) -> Json:
        """Take bodies, or a notice of a stop; raises as `BodyReceiver.receive` and `StopBook.receive`."""
        top = parse_canonical(document, max_bytes=MAX_DOCUMENT_BYTES)
        match top.get("type") if type(top) is dict else None:
            case value if value == BODIES_TYPE:
                return self._receiver.receive(document, peer)
            case value if value == NOTICE_TYPE:
                return self._stops.receive(document, peer)
            case _:
                raise InputError("encoding.members", member="type")


class OrderingDesk:
    """Serves ordering to members; fills `medchain.node.services.OrderingService`."""

    __slots__ = ("_driver",)

    def __init__(self, driver: EmbeddedDriver) -> None:
        """Serve a driver."""
        self._driver = driver

    def submit(self, leaves: Sequence[bytes]) -> list[Outcome]:
        """Order envelopes; never passed on to another organisation."""
        return self._driver.order(leaves)

    def blocks(self, first: int, wait_s: float = 0) -> list[Block]:
        """Give blocks from a height on."""
        return self._driver.blocks(first, wait_s)

    def checkpoint(self) -> str | None:
        """Give the newest note with the lines known."""
        return self._driver.checkpoint()

    def cosign(self, note: str) -> None:
        """Take a note with a member's lines."""
        self._driver.cosign(note)

    def stand_down(self, leaf: bytes) -> str | None:
        """Stop cosigning for a lost orderer."""
        return self._driver.stand_down(leaf)


class VouchedFile:
    """Remembers what was cosigned; fills `medchain.ordering.cosign.Memory`."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        """Name the file, in a folder that exists."""
        self._path = path

    def load(self) -> Vouched:
        """Return what was saved last; raises `InputError` for a damaged file: forgetting would be worse than halting."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return Vouched()
        top = members(parse_canonical(data, max_bytes=_MAX_VOUCHED_BYTES), _VOUCHED)
        if top["type"] != _VOUCHED_TYPE:
            raise InputError("encoding.members", member="type")
        floor, replaced_from, size = (top[name] for name in ("floor", "replaced_from", "size"))
        if type(floor) is not int or type(replaced_from) is not int or type(size) is not int:
            raise InputError("encoding.members", member="size")
        root = bytes.fromhex(str(top["root"]))
        return Vouched(floor, size, root, str(top["stood_down"]), str(top["replaced"]), replaced_from)

    def save(self, vouched: Vouched) -> None:
        """Keep it; durable when it returns."""
        write_private_file(
            self._path,
            canonical(
                {
                    "floor": vouched.floor,
                    "replaced": vouched.replaced,
                    "replaced_from": vouched.replaced_from,
                    "root": vouched.root.hex(),
                    "size": vouched.size,
                    "stood_down": vouched.stood_down,
                    "type": _VOUCHED_TYPE,
                }
            ),
        )


class _Checkpoints:
    """Keeps notes in the ledger file (`medchain.ordering.cosign.Checkpoints`)."""

    __slots__ = ("_replica",)

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def put(self, note: str, _size: int, *, final: bool) -> None:  # noqa: ARG002  # the replica judges that itself
        """Verify and keep a note."""
        self._replica.put_note(note.encode())


class _Receipts:
    """Keeps receipts where evidence is looked for: in the log (`medchain.ordering.outbox.Receipts`)."""

    __slots__ = ()

    def put(self, receipt: Receipt) -> None:
        """Log a receipt; it is signed, so the line is evidence."""
        row = receipt_json(receipt)
        _LOG.info("ordering.receipt", receipt=canonical(row).decode())
