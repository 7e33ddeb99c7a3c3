"""Endorsing: what this node vouches for when another organisation's transaction draws it.

Keeps true: nothing is signed that this node did not execute on its own state, open, understand by the kind's check and
store durably; never two transactions for the same version of an object while the first could still be accepted, also
over a restart; a refusal names the rule broken. Trusts its own replica, clock and files, and the server for who calls.
Source: `docs/spec/endorsement.md` 4, `docs/spec/consent.md`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

from medchain.crypto.sealing import SealingPrivateKey
from medchain.crypto.signing import ED25519, Ed25519Signer, key_id
from medchain.encoding import Json, base64_text, canonical, members, parse_canonical, unbase64
from medchain.errors import InputError, UnavailableError, VerificationError
from medchain.ledger.kind import CheckContext, DecisionPort
from medchain.ledger.kinds.registry import KINDS, check_body
from medchain.ledger.machine import Effects, Refusal, block_context, execute
from medchain.ledger.object import Body, StateRecord, map_key
from medchain.ledger.transaction import (
    INDEPENDENT,
    Envelope,
    Transaction,
    pae,
    parse_payload,
    transaction_id,
)
from medchain.node.bodies import BodyShelf
from medchain.node.body_receiver import announced_hashes
from medchain.node.clock import Clock
from medchain.node.replica import Replica
from medchain.node.sealed_body import MAX_BODIES, MAX_DOCUMENT_BYTES, OpenedBody, open_body
from medchain.node.unaccepted import Announced, Unaccepted
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore

ENDORSE_TYPE: Final = "medchain/endorse/v1"
"""Type member of a request."""

ENDORSEMENT_TYPE: Final = "medchain/endorsement/v1"
"""Type member of the answer."""

SLOT_S: Final = 32
"""Length of the slots of time in which a version is promised once."""

BLOCK_LAG_S: Final = 60
"""How far a block's time may lie behind the clock (`docs/spec/ordering.md` 1)."""

MAX_UNTIL_S: Final = 120
"""How far ahead ``until`` may lie in anything that is endorsed: a promise must end."""

PATIENCE_S: Final = 1.0
"""How long a refusal waits for a block that would make it wrong: who asks may be ahead of us."""

BEHIND: Final = "endorse.behind"
"""Code of who lacks blocks that the creator has: it can say neither yes nor no, and is to be asked again."""

DOUBLE: Final = "endorse.double"
"""Code of who has promised the version to another transaction, which may still be ordered."""

CATCH_UP_S: Final = 5.0
"""How long an endorser waits for the height that the creator names."""

_LOOK_S: Final = 0.02
_REQUEST: Final = {"bodies": list, "height": int, "payload": str, "type": str}


def endorse_request(payload: bytes, sealed: Sequence[Json], height: int) -> bytes:
    """Write a request for an endorsement.

    Args:
        payload: the transaction's canonical payload.
        sealed: bodies sealed to the endorser: the whole ones of the transaction's objects, and the parts of others that
            it needs to judge them.
        height: of the creator's newest block: on that state it has made the transaction.

    Returns:
        Canonical JSON.
    """
    text = base64_text(payload)
    return canonical({"bodies": list(sealed), "height": height, "payload": text, "type": ENDORSE_TYPE})


def parse_endorsement(answer: bytes, expected_key_id: str) -> bytes:
    """Read an endorsement.

    Args:
        answer: the endorser's answer.
        expected_key_id: key that the payload names.

    Returns:
        The signature, 64 bytes; not verified.

    Raises:
        InputError: ``encoding.*``.
        VerificationError: ``endorse.key`` for another key.
    """
    top = members(parse_canonical(answer, max_bytes=4096), {"key": str, "signature": str, "type": str})
    if top["type"] != ENDORSEMENT_TYPE or top["key"] != expected_key_id:
        raise VerificationError("endorse.key")
    return unbase64(top["signature"])


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is towards the ledger.

    Attributes:
        org_id: its organisation.
        signer: its ledger key.
        encryption: its encryption keys by id.
    """

    org_id: str
    signer: Ed25519Signer
    encryption: Mapping[str, SealingPrivateKey]

    @property
    def key_id(self) -> str:
        """Key id of the ledger key."""
        return key_id(ED25519, self.signer.public)


class Shown:
    """Bodies that came with a request, compared with the ledger, before those on the shelf (`BodySource`)."""

    __slots__ = ("_others", "_shelf", "_store")

    def __init__(self, store: LedgerStore, shelf: BodyShelf, others: Mapping[bytes, Body]) -> None:
        """Prepare.

        Args:
            store: this node's ledger.
            shelf: where bodies are kept.
            others: map key → body of that object's head.
        """
        self._store = store
        self._shelf = shelf
        self._others = others

    def head(self, key: bytes) -> tuple[StateRecord, Body] | None:
        """Return the head of an object and what is here of its body, or None."""
        record, shown = self._store.record(key), self._others.get(key)
        if record is not None and shown is not None and shown.body_hash == record.body_hash:
            return record, shown
        return self._shelf.head(key)

    def state(self, key: bytes) -> StateRecord | None:
        """Return the head of an object that no stop has ended."""
        return self._shelf.state(key)

    def accepted(self, record: StateRecord) -> int:
        """Return the time of the block that accepted a version, Unix seconds."""
        return self._shelf.accepted(record)


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges transactions with sealed bodies on this node's own state.

    Attributes:
        org_id: this node's organisation.
        replica: its ledger.
        shelf: its bodies.
        decision: the decision on accesses.
        clock: gives Unix seconds.
    """

    org_id: str
    replica: Replica
    shelf: BodyShelf
    decision: DecisionPort
    clock: Clock

    def execute(self, payload: bytes, transaction: Transaction) -> Effects | Refusal:
        """Run the machine at the next place; signatures, which may still be missing, are not looked at."""
        head = self.replica.store.head
        now = max(self.clock(), head.time)
        context = block_context(head.height + 1, now, head.size, self.replica.genesis)
        return execute(self.replica.store, Envelope(payload, transaction, (), b""), context, verified=True)

    def check(
        self,
        transaction: Transaction,
        own: Mapping[tuple[bytes, int], Body],
        role: str,
        others: Mapping[bytes, Body] | None = None,
    ) -> None:
        """Judge the meaning of each sealed body of a transaction.

        Args:
            transaction: what it belongs to.
            own: (map key, version) → body, for each object of the transaction.
            role: as what this node judges.
            others: map key → body of other objects, which came along and were compared.

        Raises:
            VerificationError: ``endorse.bodies`` if a body that is needed is not here; what `check_body` raises.
        """
        source = Shown(self.replica.store, self.shelf, others or {})
        for change in transaction.changes:
            for row, entry in enumerate(change.objects):
                key = map_key(change.kind, transaction.creator, entry.id)
                body, previous = own.get((key, entry.version)), source.head(key)
                if body is None or (previous is None and entry.version > 1):
                    raise VerificationError("endorse.bodies", version=entry.version)
                context = CheckContext(
                    genesis=self.replica.genesis,
                    members=self.replica.members,
                    time=self.clock(),
                    own=self.org_id,
                    role=role,
                    creator=transaction.creator,
                    signers=transaction.signers,
                    change=change,
                    row=row,
                    previous=previous,
                    bodies=source,
                    decision=self.decision,
                )
                check_body(body, context)


class Endorser:
    """Endorses; fills `medchain.node.services.EndorsementService`. Threads may share it."""

    __slots__ = ("_catch_up_s", "_identity", "_judge", "_lock", "_memory", "_patience_s", "_promised", "_unaccepted")

    def __init__(
        self,
        identity: Identity,
        judge: Judge,
        memory: RecordStore,
        unaccepted: Unaccepted,
        *,
        patience_s: float = PATIENCE_S,
        catch_up_s: float = CATCH_UP_S,
    ) -> None:
        """Prepare.

        Args:
            identity: organisation and keys.
            judge: this node's own judgement.
            memory: keeps what was promised, on disk.
            unaccepted: counts bodies of what may never be ordered.
            patience_s: how long a refusal waits for a block that would make it wrong.
            catch_up_s: how long the height that a creator names is waited for.
        """
        self._patience_s = patience_s
        self._catch_up_s = catch_up_s
        self._identity = identity
        self._judge = judge
        self._memory = memory
        self._unaccepted = unaccepted
        self._lock = Lock()
        self._promised: dict[tuple[bytes, int], tuple[bytes, int]] = {}

    def endorse(self, document: bytes, peer: str) -> Json:
        """Answer a request.

        Args:
            document: from `endorse_request`.
            peer: org_id of who asks, the transaction's creator.

        Returns:
            ``{"key","signature","type"}``.

        Raises:
            InputError: ``encoding.*``, ``transaction.*``, ``body.malformed``.
            VerificationError: the code of the rule broken: ``endorse.creator``, ``.role``, ``.kind``, ``.until``,
                ``.bodies``, ``.double``, ``body.*``, ``transaction.*`` or one of the kind's.
            UnavailableError: ``endorse.behind`` where this node does not get to the height that the request names;
                ``body.quota`` where too many bodies of the creator wait for being ordered.
        """
        payload, transaction, rows, height = self._read(document, peer)
        opened = [open_body(row, self._judge.replica.ledger, self._identity.encryption) for row in rows]
        own = _own(transaction, opened)
        self._catch_up(height)
        self._await_judgement(payload, transaction, own, opened)
        with self._lock:
            self._count(transaction, own, len(document))
            self._promise(payload, transaction, own)
            for item in opened:
                self._judge.shelf.keep(item.object, item.version, item.body)
        signature = self._identity.signer.sign(pae(payload))
        return {"key": self._identity.key_id, "signature": base64_text(signature), "type": ENDORSEMENT_TYPE}

    def _read(self, document: bytes, peer: str) -> tuple[bytes, Transaction, list[Json], int]:
        """Read a request, and refuse what is not for this node to endorse."""
        top = members(parse_canonical(document, max_bytes=MAX_DOCUMENT_BYTES), _REQUEST)
        payload, rows, height = unbase64(top["payload"]), top["bodies"], top["height"]
        if top["type"] != ENDORSE_TYPE or type(rows) is not list or len(rows) > MAX_BODIES:
            raise InputError("encoding.members", member="bodies")
        if type(height) is not int or height < 0:
            raise InputError("encoding.members", member="height")
        transaction = parse_payload(payload)
        if not isinstance(transaction, Transaction) or transaction.creator != peer:
            raise VerificationError("endorse.creator")
        if not any(row == (self._identity.key_id, INDEPENDENT) for row in transaction.signers):
            raise VerificationError("endorse.role")
        for change in transaction.changes:
            kind = KINDS.get(change.kind)
            # What has no sealed body needs people to agree on it, not a machine.
            if kind is None or kind.public_body or kind.batch:
                raise VerificationError("endorse.kind", kind=change.kind)
        if transaction.until is None or transaction.until > self._judge.clock() + MAX_UNTIL_S:
            raise VerificationError("endorse.until")
        return payload, transaction, rows, height

    def _catch_up(self, height: int) -> None:
        """Wait for the state on which the creator made the transaction; raises `UnavailableError` `BEHIND`.

        A refusal for want of blocks would end the creator's attempt, as if this node had judged.
        """
        replica, deadline = self._judge.replica, time.monotonic() + self._catch_up_s
        while replica.height < height:
            if time.monotonic() >= deadline:
                raise UnavailableError(BEHIND, height=replica.height)
            time.sleep(_LOOK_S)

    def _await_judgement(
        self,
        payload: bytes,
        transaction: Transaction,
        own: Mapping[tuple[bytes, int], Body],
        opened: Sequence[OpenedBody],
    ) -> None:
        """Judge on our own state; where we may be a block behind who asks, judge again before refusing."""
        deadline = time.monotonic() + self._patience_s
        replica = self._judge.replica
        while True:
            height = replica.height
            try:
                self._judgement(payload, transaction, own, opened)
            except VerificationError:
                while replica.height == height:
                    if time.monotonic() >= deadline:
                        raise
                    time.sleep(_LOOK_S)
            else:
                return

    def _judgement(
        self,
        payload: bytes,
        transaction: Transaction,
        own: Mapping[tuple[bytes, int], Body],
        opened: Sequence[OpenedBody],
    ) -> None:
        """Judge on our state as it is now: the machine's rules, then the meaning of each body."""
        outcome = self._judge.execute(payload, transaction)
        if isinstance(outcome, Refusal):
            raise VerificationError(outcome.code, **outcome.fields)
        others: dict[bytes, Body] = {}
        for item in opened:
            if (item.object, item.version) in own:
                continue
            head = self._judge.replica.store.record(item.object)
            if head is None or head.version != item.version:
                raise VerificationError("endorse.bodies", version=item.version)
            item.body.verify(head.body_hash)
            others[item.object] = item.body
        self._judge.check(transaction, own, INDEPENDENT, others)

    def _count(self, transaction: Transaction, own: Mapping[tuple[bytes, int], Body], size: int) -> None:
        """Count what is kept from now on: its creator may never have it ordered, and ask for the next one."""
        until, each, beside = transaction.until, size // max(1, len(own)), self._judge.shelf.beside
        announced = [
            Announced(key, version, until, each + beside(key, version, body.body_hash))
            for (key, version), body in own.items()
        ]
        self._unaccepted.add(transaction.creator, announced)

    def _promise(self, payload: bytes, transaction: Transaction, versions: Mapping[tuple[bytes, int], Body]) -> None:
        """Promise versions to one transaction for as long as it could be accepted; the disk remembers."""
        known, now = transaction_id(payload), self._judge.clock()
        end = (transaction.until or now) + BLOCK_LAG_S
        self._promised = {name: row for name, row in self._promised.items() if row[1] >= now}
        promised = {name: self._promised[name] for name in versions if name in self._promised}
        if any(row[0] != known for row in promised.values()):
            raise VerificationError(DOUBLE)
        for key, version in versions.keys() - promised.keys():
            for slot in range(now // SLOT_S, end // SLOT_S + 1):
                name = f"endorse/{key.hex()}/{version}/{slot}"
                if not self._memory.use_once(name, (slot + 1) * SLOT_S, now=now):
                    raise VerificationError(DOUBLE)
            self._promised[key, version] = (known, end)


def _own(transaction: Transaction, opened: Sequence[OpenedBody]) -> dict[tuple[bytes, int], Body]:
    """Choose the bodies of the transaction's own objects, compared with its payload."""
    expected = announced_hashes(transaction)
    own: dict[tuple[bytes, int], Body] = {}
    for item in opened:
        body_hash = expected.get((item.object, item.version))
        if body_hash is not None:
            item.body.verify(body_hash)
            own[item.object, item.version] = item.body
    return own
