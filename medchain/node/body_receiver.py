"""Takes bodies that members send: opened, compared with payload or ledger, judged by their form, and kept.

Keeps true: a body that has another hash than the payload or the ledger says is refused before it is stored, and so is
what is malformed; all of a delivery are compared before one is kept; what is accepted is durable before it is
acknowledged; only an object's owner brings what is not yet ordered, and no more of it than its quota.
Source: `docs/spec/body.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medchain.crypto.sealing import SealingPrivateKey
from medchain.encoding import Json, parse_canonical, unbase64
from medchain.errors import InputError, VerificationError
from medchain.ledger.kind import Place
from medchain.ledger.kinds.registry import check_form
from medchain.ledger.object import STOPPED, map_key
from medchain.ledger.transaction import Transaction, parse_payload
from medchain.node.bodies import BodyShelf
from medchain.node.sealed_body import BODIES_TYPE, MAX_BODIES, MAX_DOCUMENT_BYTES, STORED_TYPE, OpenedBody, open_body
from medchain.node.unaccepted import Announced, Unaccepted
from medchain.store.ledger import LedgerStore


class BodyReceiver:
    """Takes bodies that members send; fills `medchain.node.services.BodyService`."""

    __slots__ = ("_keys", "_ledger", "_shelf", "_store", "_unaccepted")

    def __init__(
        self,
        ledger: bytes,
        store: LedgerStore,
        shelf: BodyShelf,
        keys: Mapping[str, SealingPrivateKey],
        unaccepted: Unaccepted,
    ) -> None:
        """Prepare.

        Args:
            ledger: ledger id, 32 bytes.
            store: this node's ledger.
            shelf: where bodies are kept.
            keys: this organisation's encryption keys by id.
            unaccepted: counts what the ledger does not have yet.
        """
        self._ledger = ledger
        self._store = store
        self._shelf = shelf
        self._keys = keys
        self._unaccepted = unaccepted

    def receive(self, document: bytes, peer: str) -> Json:
        """Open, compare and keep bodies.

        Args:
            document: from `bodies_document`.
            peer: org_id of the sender.

        Returns:
            ``{"stored":N,"type":…}``, once all are durable.

        Raises:
            InputError: ``encoding.*``, ``transaction.*``, ``body.malformed``.
            VerificationError: ``body.hash`` for another body than payload or ledger name, ``body.unknown`` for an
                object of neither, ``body.creator`` for a payload of somebody else, ``body.key``,
                ``sealing.authentication``; what `medchain.ledger.kinds.registry.check_form` refuses.
            ConflictError: ``body.conflict``.
            UnavailableError: ``body.quota`` for too many bodies that are not accepted.
        """
        top = parse_canonical(document, max_bytes=MAX_DOCUMENT_BYTES)
        if type(top) is not dict or top.keys() != {"bodies", "payload", "type"} or top["type"] != BODIES_TYPE:
            raise InputError("encoding.members", member="bodies")
        rows = top["bodies"]
        if type(rows) is not list or not 0 < len(rows) <= MAX_BODIES:
            raise InputError("encoding.members", member="bodies")
        transaction = self._transaction(top["payload"], peer)
        announced = {} if transaction is None else announced_hashes(transaction)
        places = {} if transaction is None else _places(transaction)
        opened = [open_body(row, self._ledger, self._keys) for row in rows]
        # All are compared before one is kept.
        for item in opened:
            item.body.verify(self._expected(item, announced))
            self._check_form(item, places)
        if transaction is not None:
            self._count(opened, transaction, len(document))
        for item in opened:
            self._shelf.keep(item.object, item.version, item.body)
        return {"stored": len(opened), "type": STORED_TYPE}

    def expire(self) -> None:
        """Destroy bodies that can be accepted no more."""
        self._unaccepted.expire(self._store.head.time)

    def _count(self, opened: Sequence[OpenedBody], transaction: Transaction, size: int) -> None:
        """Count what the ledger does not have yet against its creator's quota."""
        each = size // len(opened)
        self._unaccepted.add(
            transaction.creator,
            [
                Announced(
                    item.object,
                    item.version,
                    transaction.until,
                    each + self._shelf.beside(item.object, item.version, item.body.body_hash),
                )
                for item in opened
                if not self._shelf.is_accepted(item.object, item.version)
            ],
        )

    def _transaction(self, payload: Json, peer: str) -> Transaction | None:
        """Read a payload that is not ordered yet, if there is one; only the owner may announce."""
        if payload is None:
            return None
        transaction = parse_payload(unbase64(payload))
        if not isinstance(transaction, Transaction) or transaction.ledger != self._ledger:
            raise VerificationError("body.unknown")
        if transaction.creator != peer:
            raise VerificationError("body.creator")
        return transaction

    def _check_form(self, item: OpenedBody, places: Mapping[tuple[bytes, int], Place]) -> None:
        """Refuse what no state can make right; the evidence of a stop has a form of its own.

        Once the ledger has it, it shows who lied: then it is kept all the same, to be shown to nobody.
        """
        record = self._store.version(item.object, item.version)
        if record is None:
            check_form(item.body, places[item.object, item.version])
        elif record.status != STOPPED:
            try:
                check_form(item.body, Place(record.kind, record.creator, record.id, record.status))
            except VerificationError:
                self._shelf.keep(item.object, item.version, item.body)
                raise

    def _expected(self, item: OpenedBody, announced: Mapping[tuple[bytes, int], bytes]) -> bytes:
        """Return the hash that a body must have. The ledger's word counts before a payload's."""
        record = self._store.version(item.object, item.version)
        if record is not None:
            return record.body_hash
        body_hash = announced.get((item.object, item.version))
        is_stopped = self._store.record(item.object) is not None and self._shelf.state(item.object) is None
        if body_hash is None or is_stopped:
            # Beside what a stop names, which waits here for its block, enough others would push that out: the patient's
            # own signature. What is ordered in its place all the same is delivered then.
            raise VerificationError("body.unknown", version=item.version)
        return body_hash


def announced_hashes(transaction: Transaction) -> dict[tuple[bytes, int], bytes]:
    """Return (map key, version) → body hash of all objects of a transaction."""
    return {
        (map_key(change.kind, transaction.creator, row.id), row.version): row.body_hash
        for change in transaction.changes
        for row in change.objects
    }


def _places(transaction: Transaction) -> dict[tuple[bytes, int], Place]:
    """Return (map key, version) → what a payload says in clear of each of its objects."""
    creator = transaction.creator
    return {
        (map_key(change.kind, creator, row.id), row.version): Place(change.kind, creator, row.id, change.status)
        for change in transaction.changes
        for row in change.objects
    }
