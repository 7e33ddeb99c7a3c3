"""Bodies on their way to other organisations: offered once, and again until they are taken, each receiver by itself.

Keeps true: a receiver that is down, slow or unwilling holds up nobody else, and is left alone longer each time; no more
of a body is shown later than at first; what was never ordered is offered for a while only. Trusts the outbox, which
outlives a restart; what receivers answer decides nothing but whether they have it.
Source: `docs/spec/node-protocol.md`, "What members send each other about bodies".
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import ConflictError, MedchainError, UnavailableError
from medchain.ledger.object import Body, Evidence
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.endorse import Judge
from medchain.node.log import Log
from medchain.node.sealed_body import OpenedBody, bodies_document, encryption_key, seal_body
from medchain.store.outbox import Intent
from medchain.store.records import RecordStore

DELIVER_FOR_S: Final = 600
"""How long the body of something that was never ordered is offered to its parties."""

REFUSED_FOR_S: Final = 30 * 86_400
"""How long a body that is on the ledger is offered to a party that refuses it, and a document that is refused."""

FIRST_REST_S: Final = 1.0
"""How long a receiver that does not answer is left alone; doubled each time."""

LONGEST_REST_S: Final = 300.0
"""Longest such time."""

PER_ROUND: Final = 32
"""Most bodies offered to one receiver in one round."""

_MAX_DELIVERY_BYTES: Final = 16 * 1024
_DELIVERY: Final = {"fields": list, "key": str, "org_id": str, "version": int}
# What was written before had no hash.
_WITH: Final = {"evidence": bool, "hash": str}
_NOTICE: Final = {"document": dict, "org_id": str}
_LOG: Final = Log("deliver")


@dataclass(slots=True)
class _Receiver:
    """How it went with one receiver."""

    failures: int = 0
    rest_until: float = 0.0
    after: int = 0


class Deliveries:
    """Delivers for one organisation. Threads may share it; one calls `round`."""

    __slots__ = ("_judge", "_lock", "_push", "_receivers", "_records", "_telling", "_timer")

    def __init__(
        self,
        judge: Judge,
        records: RecordStore,
        push: Callable[[str, bytes], None],
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            judge: this node's ledger, bodies and clock.
            records: keeps what could not be delivered yet.
            push: delivers a document to an organisation's body service.
            timer: gives seconds that never go back.
        """
        self._judge = judge
        self._records = records
        self._push = push
        self._timer = timer
        self._lock = Lock()
        self._telling = Lock()
        self._receivers: dict[str, _Receiver] = {}

    def offer(self, org_id: str, payload: bytes, rows: Sequence[OpenedBody]) -> None:
        """Deliver bodies now, or keep them to be delivered later.

        Args:
            org_id: of the party.
            payload: the transaction, which is not ordered yet.
            rows: what it gets.

        Raises:
            UnavailableError: the disk.
        """
        if not self._is_resting(org_id):
            try:
                self._send(org_id, payload, rows)
            except MedchainError as error:
                # Down, a block behind, or unwilling: a party that takes no body has no veto over what others agree on.
                _LOG.info("deliver.later", peer=org_id, code=error.code)
                self._note(org_id, error)
            else:
                return
        for item in rows:
            self.keep(org_id, item)

    def keep(self, org_id: str, item: OpenedBody) -> None:
        """Keep a body to be delivered once its version is ordered, or until it is too old to be; raises as `offer`."""
        self._records.put_intent(deliver_kind(org_id), _delivery(org_id, item), self._judge.clock())

    def tell(self, org_id: str, document: Json) -> None:
        """Keep a document that an organisation must be given, until it takes it.

        Args:
            org_id: whom.
            document: for its body service.
        """
        self._records.put_intent(deliver_kind(org_id), told(org_id, document), self._judge.clock())

    def tell_again(self, org_id: str, documents: Sequence[Json]) -> int:
        """Keep documents as `tell` does, those that wait already once; returns how many are new."""
        waiting, after = set[bytes](), 0
        # Else calls at once would each find nothing waiting, and a member could fill the disk of who answers it.
        with self._telling:
            while page := self._records.pending(PER_ROUND, after=after, kind=deliver_kind(org_id)):
                after = page[-1].id
                waiting |= {intent.payload for intent in page}
            fresh = [document for document in documents if told(org_id, document) not in waiting]
            for document in fresh:
                self.tell(org_id, document)
        return len(fresh)

    def round(self) -> int:
        """Offer what waits, to each receiver at most `PER_ROUND`; returns how much waits then, for all receivers."""
        return sum(self._round(org_id) for org_id in sorted(self._judge.replica.members.organisations))

    def _round(self, org_id: str) -> int:
        """Offer one receiver some of what waits for it; returns how much waits still."""
        kind = deliver_kind(org_id)
        state = self._receivers.setdefault(org_id, _Receiver())
        page = self._records.pending(PER_ROUND, after=state.after, kind=kind)
        if not page and state.after:
            state.after = 0
            page = self._records.pending(PER_ROUND, kind=kind)
        # What it refused stays behind those that it may take, until all have had their turn.
        for intent in page:
            if self._is_resting(org_id):
                break
            self._deliver(org_id, intent)
            state.after = intent.id
        else:
            if len(page) < PER_ROUND:
                state.after = 0
        return self._records.pending_count(kind) if page else 0

    def _deliver(self, org_id: str, intent: Intent) -> None:
        """Offer one thing, and forget it where it needs to be offered no more."""
        try:
            is_sent = self._send_again(org_id, intent)
        except MedchainError as error:
            _LOG.info("deliver.later", peer=org_id, code=error.code)
            self._note(org_id, error)
            if not self._is_given_up(intent, error):
                return
            _LOG.warning("deliver.given_up", peer=org_id, code=error.code)
        else:
            if is_sent:
                self._note(org_id, None)
        self._records.drop_intents([intent.id])

    def _is_given_up(self, intent: Intent, error: MedchainError) -> bool:
        """Tell whether a thing was refused for long enough.

        Who does not answer has refused nothing, nor has who lacks the blocks yet by which it does what a document asks:
        a suspended member gets none for as long as it is suspended.
        """
        if isinstance(error, UnavailableError) or (isinstance(error, ConflictError) and _document(intent) is not None):
            return False
        return intent.created + REFUSED_FOR_S <= self._judge.clock()

    def _send_again(self, org_id: str, intent: Intent) -> bool:
        """Offer one thing that waited; tells whether there was anything left to offer."""
        document = _document(intent)
        if document is not None:
            self._push(org_id, canonical(document))
            return True
        item = self._undelivered(intent)
        if item is not None:
            self._send(org_id, None, [item])
        return item is not None

    def _undelivered(self, intent: Intent) -> OpenedBody | None:
        """Read what is to be delivered; None where the body is gone, or was never ordered and is old.

        What a heard stop names is ordered some day, however long this node was cut off.

        Whoever was to be given one attempt's body need not be a party of another's, which the ledger took or is newer.

        Raises:
            ConflictError: ``body.conflict`` while another attempt's lies there, and this one's may still be ordered.
        """
        top = members(parse_canonical(intent.payload, max_bytes=_MAX_DELIVERY_BYTES), _DELIVERY, _WITH)
        key, version = unhex(top["key"], HASH_BYTES), top["version"]
        body = self._judge.shelf.at(key, version) if type(version) is int else None
        if body is None or type(version) is not int:
            return None
        is_old = intent.created + DELIVER_FOR_S < self._judge.clock()
        if is_old and not self._is_ordered(key, version, body) and not self._judge.shelf.is_awaited(key, version):
            return None
        if "hash" in top and body.body_hash.hex() != top["hash"]:
            row = self._judge.replica.store.version(key, version)
            if row is not None and row.body_hash.hex() != top["hash"]:
                return None
            raise ConflictError("body.conflict", version=version)
        names = {str(name) for name in top["fields"]} if type(top["fields"]) is list else set()
        # The same part as at first, never more: the whole only to who was to get the whole.
        is_whole = body.is_full and names == body.content.keys()
        part = body if is_whole else body.redact(names, keep_evidence="evidence" in top)
        return OpenedBody(key, version, part)

    def _is_ordered(self, key: bytes, version: int, body: Body) -> bool:
        """Tell whether the ledger holds a body at a version."""
        row = self._judge.replica.store.version(key, version)
        return row is not None and row.body_hash == body.body_hash

    def _send(self, org_id: str, payload: bytes | None, rows: Sequence[OpenedBody]) -> None:
        """Seal and deliver."""
        receiver = encryption_key(self._judge.replica.members, org_id)
        sealed = [seal_body(receiver, self._judge.replica.ledger, item) for item in rows]
        self._push(org_id, bodies_document(payload, sealed))

    def _is_resting(self, org_id: str) -> bool:
        """Tell whether a receiver did not answer a moment ago."""
        with self._lock:
            state = self._receivers.get(org_id)
            return state is not None and self._timer() < state.rest_until

    def _note(self, org_id: str, error: MedchainError | None) -> None:
        """Note how it went: who does not answer is left alone for a while; who refuses does answer."""
        with self._lock:
            state = self._receivers.setdefault(org_id, _Receiver())
            if not isinstance(error, UnavailableError):
                state.failures, state.rest_until = 0, 0.0
                return
            rest_s = min(FIRST_REST_S * 2**state.failures, LONGEST_REST_S)
            state.failures = min(state.failures + 1, 16)
            state.rest_until = self._timer() + max(rest_s, min(float(error.retry_after_s), LONGEST_REST_S))


def told(org_id: str, document: Json) -> bytes:
    """Write down what an organisation is to be given: the payload of an intent of `deliver_kind`."""
    return canonical({"document": document, "org_id": org_id})


def _document(intent: Intent) -> Json:
    """Read what `told` wrote down; None for a body."""
    top = parse_canonical(intent.payload, max_bytes=_MAX_DELIVERY_BYTES)
    return members(top, _NOTICE)["document"] if isinstance(top, dict) and "document" in top else None


def deliver_kind(org_id: str) -> str:
    """Return the outbox kind of what waits for one organisation, at most 32 characters."""
    return f"deliver/{hashlib.sha256(org_id.encode('ascii')).hexdigest()[:24]}"


def _delivery(org_id: str, item: OpenedBody) -> bytes:
    """Write down which part of a body is to be delivered."""
    names: list[Json] = [*item.body.content]
    evidence: dict[str, Json] = {"evidence": True} if isinstance(item.body.evidence, Evidence) else {}
    told: dict[str, Json] = {"fields": names, "hash": item.body.body_hash.hex(), "version": item.version}
    return canonical({**evidence, **told, "key": item.object.hex(), "org_id": org_id})
