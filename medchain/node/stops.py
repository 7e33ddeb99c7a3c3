"""Stops: what narrows binds this node as soon as it hears of it, and is brought to the ledger until it is there.

Keeps true: a stop that was accepted here is on disk before anybody is told so; an object that is stopped here is
stopped, whatever the ledger says yet; a notice counts only if it reveals the preimage that this node's own ledger
wants, under the signature of a member. However many stops there are, none is held in memory. Trusts the replica.
Source: `docs/spec/transaction.md` 9, `docs/spec/consent.md` 8, `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Final

from medchain.encoding import Json, base64_text, canonical, parse_canonical, unbase64, unhex
from medchain.errors import ConflictError, InputError, MedchainError, NotFoundError, VerificationError
from medchain.ledger.machine import Refusal, block_context, execute
from medchain.ledger.members import SUSPENDED
from medchain.ledger.object import ACTIVE, STOPPED, Body, StateRecord
from medchain.ledger.transaction import (
    HASH_BYTES,
    ID_BYTES,
    SUBMITTER,
    Envelope,
    Signer,
    Stop,
    pae,
    parse_envelope,
    payload_bytes,
    seal,
)
from medchain.node.body_parties import parties
from medchain.node.ending import Ended, check_evidence, how_ended
from medchain.node.endorse import Identity, Judge
from medchain.node.log import Log
from medchain.node.notices import note
from medchain.node.sealed_body import MAX_BODIES, OpenedBody, encryption_key, open_body, seal_body
from medchain.store.records import RecordStore

STOP: Final = "stop"
"""Outbox kind of a stop that is not final yet; its payload is the envelope."""

NOTICE_TYPE: Final = "medchain/stop-notice/v1"
"""Type member of a notice of a stop."""

SUSPENDED_S: Final = 60
"""How often a suspended organisation queues again what it does not see ordered."""

_MAX_NOTICE_BYTES: Final = 2 << 20
_PAGE: Final = 200
_LOG: Final = Log("stops")


class StopBook:
    """The stops that this node has made or heard of. Threads may share it."""

    def __init__(
        self,
        identity: Identity,
        judge: Judge,
        records: RecordStore,
        push: Callable[[str, bytes], None],
        queue: Callable[[bytes], bytes],
        later: Callable[[str, OpenedBody], None],
    ) -> None:
        """Prepare; what is not final yet is on disk, and `settle` queues it again.

        Args:
            identity: organisation and keys.
            judge: this node's own judgement.
            records: keeps stops until they are final.
            push: delivers a document to an organisation's body service.
            queue: takes an envelope on and submits it until it is ordered.
            later: keeps a body to be delivered to an organisation until it has it.
        """
        self._identity = identity
        self._judge = judge
        self._records = records
        self._push = push
        self._queue = queue
        self._later = later
        self._note = note(records, judge.clock)
        self._looked = 0

    def is_stopped(self, key: bytes) -> bool:
        """Tell whether an object is stopped, on the ledger or by a stop that this node has heard of."""
        # In this order: it leaves the disk only after the ledger has it.
        if self._records.stop_of(key) is not None:
            return True
        record = self._judge.replica.store.record(key)
        return record is not None and record.status == STOPPED

    def ending(self, key: bytes) -> Ended | None:
        """Tell how an object ended, stops that were only heard of included; None for one that is not known."""
        return how_ended(self._judge, key, self._records.stop_of(key))

    def stop(self, key: bytes, evidence: Body | None = None) -> bytes:
        """Stop an object whose body is here; it binds when this returns.

        Args:
            key: its map key, 32 bytes.
            evidence: body of a withdrawal that the patient signed; None for a stop of this organisation's own.

        Returns:
            The envelope.

        Raises:
            NotFoundError: ``stop.unknown`` if the object or its body is not here.
            ConflictError: ``stop.repeated``, ``stop.not_stoppable``.
            VerificationError: of the withdrawal's check; without the evidence the stop is still possible.
        """
        found = self._judge.shelf.held(key)
        if found is None:
            raise NotFoundError("stop.unknown")
        record, body = found
        if self.is_stopped(key):
            raise ConflictError("stop.repeated", version=record.version)
        if record.stop_hash is None:
            raise ConflictError("stop.not_stoppable", status=record.status)
        if evidence is not None:
            check_evidence(self._judge, evidence, record, body)
        evidence_hash = None if evidence is None else evidence.body_hash
        envelope = self._envelope(key, unhex(body.content.get("stop"), HASH_BYTES), evidence_hash)
        self._judge_envelope(envelope)
        if evidence is not None:
            self._judge.shelf.keep(key, record.version + 1, evidence)
            self._deliver_later(record, body, evidence)
        self._accept(key, envelope.leaf)
        self._tell(record, body, envelope, evidence)
        return envelope.leaf

    def receive(self, document: bytes, _peer: str) -> Json:
        """Hear of a stop; any member may bring it, since it speaks for itself.

        Args:
            document: ``{"bodies":[sealed evidence],"stop":envelope,"type":…}``.

        Returns:
            ``{"stopped":map key,"type":…}``, once it is durable.

        Raises:
            InputError: ``encoding.*``, ``transaction.*``.
            VerificationError: ``stop.unknown``, ``stop.preimage``, ``transaction.signature`` and others of the machine;
                ``body.hash`` for evidence that the stop does not name.
        """
        top = parse_canonical(document, max_bytes=_MAX_NOTICE_BYTES)
        if type(top) is not dict or top.keys() != {"bodies", "stop", "type"} or top["type"] != NOTICE_TYPE:
            raise InputError("encoding.members", member="stop")
        rows, envelope = top["bodies"], parse_envelope(unbase64(top["stop"]))
        stop = envelope.transaction
        if type(rows) is not list or len(rows) > MAX_BODIES or not isinstance(stop, Stop):
            raise InputError("encoding.members", member="bodies")
        known = self.is_stopped(stop.object)
        if not known:
            self._judge_envelope(envelope)
        elif stop.evidence != self._known_evidence(stop.object):
            # It is stopped already, by another stop: this one adds nothing, and brings no evidence for that one.
            return {"stopped": stop.object.hex(), "type": NOTICE_TYPE}
        self._keep_evidence(
            stop, [open_body(row, self._judge.replica.ledger, self._identity.encryption) for row in rows]
        )
        if not known:
            self._accept(stop.object, envelope.leaf)
        return {"stopped": stop.object.hex(), "type": NOTICE_TYPE}

    def settle(self) -> int:
        """Queue what the ledger does not have yet, and forget what is final; returns how many are left."""
        store = self._judge.replica.store
        if not self._is_due():
            return self._records.count_stops()
        final = store.final()
        size, after = 0 if final is None else final.size, 0
        while page := self._records.stops(_PAGE, after=after):
            for number, key, leaf in page:
                after, record = number, store.record(key)
                if record is None or record.status == ACTIVE:
                    self._queue_again(leaf)
                elif record.since < size:
                    self._records.drop_stop(key)
        return self._records.count_stops()

    def _is_due(self) -> bool:
        """Tell whether to look again: while this organisation is suspended, it sees no block that has what it queues.

        Each look would have all of it refused again, and what others may bring of a suspended member is counted.
        """
        own = self._judge.replica.members.organisations.get(self._identity.org_id)
        now = self._judge.clock()
        if own is not None and own.status == SUSPENDED and self._looked <= now < self._looked + SUSPENDED_S:
            return False
        self._looked = now
        return True

    def _queue_again(self, leaf: bytes) -> None:
        """Queue a stop; one that cannot be queued now must not keep the others from it."""
        try:
            self._queue(self._current(leaf))
        except MedchainError as error:
            _LOG.warning("stop.queued_later", code=error.code)

    def _current(self, leaf: bytes) -> bytes:
        """Return an envelope that the machine takes now, signed anew where keys or rules have changed."""
        try:
            self._judge_envelope(parse_envelope(leaf))
        except ConflictError:
            # A block came between: it is stopped, or its creator has ended it, which nothing undoes either.
            return leaf
        except VerificationError:
            stop = _parsed(leaf)
            return self._envelope(stop.object, stop.preimage, stop.evidence).leaf
        return leaf

    def _judge_envelope(self, envelope: Envelope) -> None:
        """Run the machine on our own state, signature included."""
        replica = self._judge.replica
        head = replica.store.head
        context = block_context(head.height + 1, max(self._judge.clock(), head.time), head.size, replica.genesis)
        outcome = execute(replica.store, envelope, context)
        if isinstance(outcome, Refusal):
            conflict = outcome.code in {"stop.repeated", "stop.not_stoppable"}
            raise (ConflictError if conflict else VerificationError)(outcome.code, **outcome.fields)

    def _accept(self, key: bytes, leaf: bytes) -> None:
        """Remember on disk first; from then on it binds."""
        if not self._records.put_stop(key, STOP, leaf, self._judge.clock()):
            # Another stop of the same object came at the same moment, and counts.
            return
        record = self._judge.replica.store.record(key)
        if record is not None:
            self._note(key, record.version + 1, record.kind)
        try:
            self._queue(leaf)
        except MedchainError as error:
            # `settle` queues it again.
            _LOG.warning("stop.queued_later", code=error.code)

    def _deliver_later(self, record: StateRecord, body: Body, evidence: Body) -> None:
        """Keep the evidence for the others: from the ledger alone they could not see that the patient signed it."""
        try:
            for org_id in self._others(record, body):
                self._later(org_id, OpenedBody(record.key, record.version + 1, evidence))
        except MedchainError as error:
            # Nothing may keep the stop from binding.
            _LOG.warning("stop.evidence_kept_here", code=error.code)

    def _tell(self, record: StateRecord, body: Body, envelope: Envelope, evidence: Body | None) -> None:
        """Tell the parties at once; who cannot be reached hears of it from the ledger."""
        for org_id in self._others(record, body):
            rows: list[Json] = []
            try:
                if evidence is not None:
                    receiver = encryption_key(self._judge.replica.members, org_id)
                    opened = OpenedBody(record.key, record.version + 1, evidence)
                    rows.append(seal_body(receiver, self._judge.replica.ledger, opened))
                self._push(org_id, notice(envelope.leaf, rows))
            except MedchainError as error:
                _LOG.info("stop.untold", peer=org_id, code=error.code)

    def _others(self, record: StateRecord, body: Body) -> list[str]:
        """Return who else must hear of it: the parties and the owner."""
        told = parties(record.kind, body.content, self._judge.shelf) | {record.creator}
        return sorted(told - {self._identity.org_id})

    def _envelope(self, key: bytes, preimage: bytes, evidence_hash: bytes | None) -> Envelope:
        """Sign a stop."""
        replica = self._judge.replica
        payload = payload_bytes(
            Stop(
                creator=self._identity.org_id,
                object=key,
                preimage=preimage,
                evidence=evidence_hash,
                signers=(Signer(self._identity.key_id, SUBMITTER),),
                ledger=replica.ledger,
                nonce=secrets.token_bytes(ID_BYTES),
                until=None,
                protocol=replica.members.protocol.protocol,
            )
        )
        return seal(payload, [(self._identity.key_id, self._identity.signer.sign(pae(payload)))])

    def _known_evidence(self, key: bytes) -> bytes | None:
        """Return the evidence's hash of the stop that counts here."""
        heard = self._records.stop_of(key)
        record = self._judge.replica.store.record(key)
        if record is not None and record.status == STOPPED:
            return record.body_hash
        return None if heard is None else _parsed(heard).evidence

    def _keep_evidence(self, stop: Stop, opened: Sequence[OpenedBody]) -> None:
        """Compare evidence with the stop's hash, and keep it as the body of the version that the stop makes."""
        record = self._judge.replica.store.record(stop.object)
        if record is None:
            raise VerificationError("stop.unknown")
        version = record.version + (record.status != STOPPED)
        for item in opened:
            if stop.evidence is None or (item.object, item.version) != (stop.object, version):
                raise VerificationError("body.unknown", version=item.version)
            item.body.verify(stop.evidence)
        for item in opened:
            self._judge.shelf.keep(item.object, item.version, item.body)


def notice(leaf: bytes, sealed: Sequence[Json]) -> bytes:
    """Write a notice of a stop.

    Args:
        leaf: its envelope.
        sealed: its evidence, sealed to the receiver; none for a stop without.

    Returns:
        Canonical JSON.
    """
    return canonical({"bodies": list(sealed), "stop": base64_text(leaf), "type": NOTICE_TYPE})


def _parsed(leaf: bytes) -> Stop:
    """Read a stop that this node keeps."""
    stop = parse_envelope(leaf).transaction
    if not isinstance(stop, Stop):
        raise VerificationError("store.corrupt", table="outbox")
    return stop
