"""One node's ledger side, put together: anchor, endorsing, bodies, stops and submitting, over replica and ordering.

What runs in the daemon, and, with other ways between the organisations, in tests. Keeps true: each part gets only what
it needs; what a node has promised (cosignatures, endorsements, stops) is on disk before anybody hears of it. Trusts the
stores that it is given.
Source: `docs/architecture.md`, `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Final

from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import InputError, MedchainError
from medchain.ledger.kind import DecisionPort
from medchain.ledger.object import MAX_BODY_BYTES, Body
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.node.anchor import Anchor
from medchain.node.bodies import BodyShelf
from medchain.node.body_receiver import BodyReceiver
from medchain.node.clock import Clock
from medchain.node.daemon import Job
from medchain.node.deliver import Deliveries
from medchain.node.endorse import Endorser, Identity, Judge
from medchain.node.endorsed import ENDORSED, endorsed
from medchain.node.erasure_job import BODY_ERASURE_TYPE, RESTORED_TYPE, BodyErasures, BodyRequests
from medchain.node.log import Log
from medchain.node.missing import GRACE_S, WANTED_TYPE, BodyAnswers, MissingBodies
from medchain.node.notices import note
from medchain.node.replica import Replica
from medchain.node.roll_call import ROLL_CALL, roll_call
from medchain.node.sealed_body import BODIES_TYPE, MAX_DOCUMENT_BYTES
from medchain.node.stops import NOTICE_TYPE, StopBook
from medchain.node.submit import Draft, OtherMembers, Submitter
from medchain.node.unaccepted import Unaccepted
from medchain.node.verdicts import Verdicts
from medchain.ordering.embedded import EmbeddedDriver
from medchain.store.records import RecordStore

SETTLE_S: Final = 1.0
"""How often undelivered bodies, open stops and bodies that were never accepted are looked at."""

_LOG: Final = Log("ledger")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a node's ledger side is made from.

    Attributes:
        replica: the node's copy of the ledger.
        driver: its ordering; somebody else runs it.
        records: records and outbox.
        decision: the decision on accesses.
        others: the way to other organisations' endorsers and bodies.
        clock: gives Unix seconds.
        emergency_grace_s: how late the body of an emergency may be before it is an alarm.
    """

    replica: Replica
    driver: EmbeddedDriver
    records: RecordStore
    decision: DecisionPort
    others: OtherMembers
    clock: Clock
    emergency_grace_s: int = GRACE_S


class LedgerNode:
    """The ledger side of one node.

    Attributes:
        replica: its copy of the ledger.
        driver: ordering.
        shelf: its bodies.
        judge: its own judgement on transactions.
        verdicts: its judgement on the bodies that it was given.
        endorser: endorses for others.
        bodies: takes bodies and notices of stops.
        stops: the stops that it has heard of.
        deliveries: brings bodies to their parties.
        missing: asks for bodies that this organisation was not given.
        submitter: submits its own sealed transactions.
        anchor: anchors its records.
    """

    def __init__(self, identity: Identity, around: Surroundings) -> None:
        """Put the parts together; nothing runs yet.

        Args:
            identity: organisation, ledger key and encryption keys.
            around: files, clock and ways to others.
        """
        records, others, store = around.records, around.others, around.replica.store
        self.replica, self.driver, self._clock = around.replica, around.driver, around.clock
        self._records = records
        self.shelf = BodyShelf(store, note(records, around.clock))
        judge = Judge(identity.org_id, self.replica, self.shelf, around.decision, around.clock)
        self.judge = judge
        self.verdicts = Verdicts(judge, records)
        self.shelf.judged_by(self.verdicts)
        unaccepted = Unaccepted(self.shelf, records, around.clock)
        self.endorser = Endorser(identity, judge, records, unaccepted)
        self.deliveries = Deliveries(judge, records, others.push)
        self.stops = StopBook(identity, judge, records, others.push, self.driver.outbox.add, self.deliveries.keep)
        self.shelf.heed(self.stops.is_stopped)
        receiver = BodyReceiver(self.replica.ledger, store, self.shelf, identity.encryption, unaccepted)
        requests = BodyRequests(records, self.deliveries)
        self.missing = MissingBodies(judge, records, receiver, others.fetch, around.emergency_grace_s)
        self.bodies = BodyDesk(receiver, self.stops, BodyErasures(judge), requests, BodyAnswers(judge))
        self.submitter = Submitter(identity, judge, self.deliveries, others, self.driver.submit)
        self.anchor = Anchor(identity.org_id, identity.signer, self.replica, records, self.driver.submit)

    def attempt(self, key: bytes, version: int, ordered_until: Callable[[Body], int]) -> Body | None:
        """Return the body of an attempt that failed here and may still be ordered, by others; None for none.

        Args:
            key: map key of the object.
            version: that it would make.
            ordered_until: tells by a body until when a block may take it, Unix seconds.
        """
        body = self.shelf.attempted(key, version)
        return None if body is None or self.driver.cosigner.is_past(ordered_until(body)) else body

    def jobs(self) -> tuple[Job, ...]:
        """Return what runs for as long as the daemon."""
        return (
            Job("anchor", self.anchor.run),
            Job("settle", self._settle),
            Job("deliver", self._deliver),
            Job("missing", self.missing.run),
        )

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations: what web workers and the command line ask for."""
        return {
            ROLL_CALL: lambda _document: roll_call(
                self.replica.store, self.driver.checkpoint, self.replica.genesis.origin, self._clock
            ),
            ENDORSED: lambda _document: endorsed(self._records, self._clock),
            "body": self._body,
            "object": self._object,
            "stop": self._stop,
            "submit": self._submit,
            **self.missing.operations(),
        }

    def _settle(self, stop: Event) -> None:
        """Settle until told to stop."""
        while not stop.wait(SETTLE_S):
            try:
                self.stops.settle()
                self.verdicts.settle()
                self.bodies.expire()
            except MedchainError as error:
                _LOG.warning("settle.delayed", code=error.code)

    def _deliver(self, stop: Event) -> None:
        """Deliver until told to stop; apart from settling, since others may take their time to answer."""
        while not stop.wait(SETTLE_S):
            try:
                self.deliveries.round()
            except MedchainError as error:
                _LOG.warning("deliver.delayed", code=error.code)

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
        """Tell the head of an object, whether it is final, whether a stop was heard of, and how it ended."""
        key = unhex(members(document, {"object": str})["object"], HASH_BYTES)
        record, final = self.replica.store.record(key), self.replica.store.final()
        is_final = record is not None and final is not None and record.since < final.size
        state = None if record is None else parse_canonical(record.encode(), max_bytes=MAX_BODY_BYTES)
        ended = self.stops.ending(key)
        ending = None if ended is None else ended.to_json()
        return {"ending": ending, "final": is_final, "record": state, "stopped": self.stops.is_stopped(key)}

    def _body(self, document: Json) -> Json:
        """Show the part of an object's body that is here, compared with the ledger."""
        key = unhex(members(document, {"object": str})["object"], HASH_BYTES)
        found = self.shelf.head(key)
        return {"body": None if found is None else found[1].to_json()}


class BodyDesk:
    """Takes what members send about bodies; fills `medchain.node.services.BodyService`."""

    __slots__ = ("_answers", "_erasures", "_receiver", "_requests", "_stops")

    def __init__(
        self,
        receiver: BodyReceiver,
        stops: StopBook,
        erasures: BodyErasures,
        requests: BodyRequests,
        answers: BodyAnswers,
    ) -> None:
        """Put all behind one door."""
        self._answers = answers
        self._receiver = receiver
        self._stops = stops
        self._erasures = erasures
        self._requests = requests

    def expire(self) -> None:
        """Destroy bodies that can be accepted no more, see `BodyReceiver.expire`."""
        self._receiver.expire()

    def receive(self, document: bytes, peer: str) -> Json:
        """Take bodies, a notice of a stop, a request to destroy bodies, one to be asked for that again, or for a body.

        Raises:
            MedchainError: as `BodyReceiver.receive`, `StopBook.receive`, `BodyErasures.receive`,
                `BodyRequests.receive` and `BodyAnswers.receive`.
        """
        top = parse_canonical(document, max_bytes=MAX_DOCUMENT_BYTES)
        match top.get("type") if type(top) is dict else None:
            case value if value == BODIES_TYPE:
                return self._receiver.receive(document, peer)
            case value if value == NOTICE_TYPE:
                return self._stops.receive(document, peer)
            case value if value == BODY_ERASURE_TYPE:
                return self._erasures.receive(document, peer)
            case value if value == RESTORED_TYPE:
                return self._requests.receive(document, peer)
            case value if value == WANTED_TYPE:
                return self._answers.receive(document, peer)
            case _:
                raise InputError("encoding.members", member="type")
