"""What an erasure leaves to do: tell the ledger, end the patient's objects, have their bodies destroyed everywhere.

What the patient was told, and was asked for, is destroyed here as well, and by what the patient signed in.

Keeps true: the ledger's entry is made only when nothing of the keys is left in the write-ahead log, and once, whatever
crashes when; each step may be done again; what still serves another custodian's patient stays, and so does an emergency
that nobody has reviewed; nobody destroys a body for anybody but its object's owner, who has said on the ledger that it
erased, and never of an object in force; what the patient was found by is left in no gap of a page, for longer than the
records file is written to. Trusts this node's ledger and files.
Source: `docs/spec/keys.md` 10, `docs/spec/body.md` 8, `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Final, Protocol

from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import ConflictError, InputError, MedchainError, UnavailableError, VerificationError
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.kinds.erasure import read
from medchain.ledger.object import ACTIVE, ENDED, Body, StateRecord, in_force
from medchain.ledger.transaction import HASH_BYTES, INDEPENDENT, Transaction, parse_envelope
from medchain.node.attempts import read_attempts
from medchain.node.body_parties import parties
from medchain.node.endorse import Judge
from medchain.node.erasure import ErasureIntent, forget_told
from medchain.node.log import Log
from medchain.node.restored import PROMISES_S
from medchain.node.rounds import work_in_rounds
from medchain.node.sealed_body import MAX_DOCUMENT_BYTES
from medchain.node.submit import Draft, Submitted
from medchain.store.accounts import Role
from medchain.store.keeping import ERASURE
from medchain.store.outbox import Intent
from medchain.store.records import RecordStore

BODY_ERASURE_TYPE: Final = "medchain/body-erasure/v1"
"""Type member of a request to destroy bodies, and of the answer."""

RESTORED_TYPE: Final = "medchain/body-erasures-again/v1"
"""Type member of the document by which who comes back from a backup asks to be asked again, and of the answer."""

PERIOD_S: Final = 1.0
"""How often what waits is looked at."""

LONGEST_REST_S: Final = 60.0
"""Longest wait after failures."""

OVERDUE_S: Final = 3600
"""After how long an erasure that the ledger does not have is an alarm."""

SMALL_BYTES: Final = 32 << 20
"""A records file of this size is written anew at once: nobody notices."""

STILL_S: Final = 60
"""How long nobody has written into a larger one before it is; who writes meanwhile waits, or is told to."""

AGAIN_S: Final = 3600
"""When that is tried again."""

_PAGE: Final = 200
_PATIENT: Final = "Patient/"
_ENDED_HERE: Final = frozenset({"consent", "delegation", "grant", "recovery", "subject"})
_ORDER: Final = ("access", "emergency", "grant", "consent", "mandate", "recovery", "delegation", "subject")
_LOG: Final = Log("erasure")


class Submits(Protocol):
    """Brings sealed objects to the ledger; `medchain.node.submit.Submitter`."""

    def submit(self, draft: Draft) -> Submitted:
        """Bring an object's next version to the ledger, and wait until it is final."""
        ...


class Stops(Protocol):
    """Stops objects; `medchain.node.stops.StopBook`."""

    def is_stopped(self, key: bytes) -> bool:
        """Tell whether an object is stopped, as far as was heard."""
        ...

    def stop(self, key: bytes) -> bytes:
        """Stop an object; it binds when this returns."""
        ...


class Tells(Protocol):
    """Brings documents to other organisations until they take them; `medchain.node.deliver.Deliveries`."""

    def tell(self, org_id: str, document: Json) -> None:
        """Keep a document that an organisation must be given, until it takes it."""
        ...


class AsksAgain(Protocol):
    """Brings documents that may be on their way already; `medchain.node.deliver.Deliveries`."""

    def tell_again(self, org_id: str, documents: Sequence[Json]) -> int:
        """Keep documents that an organisation must be given, each once; returns how many are new."""
        ...


@dataclass(slots=True)
class _Found:
    """Objects of one patient whose bodies are here.

    Attributes:
        custodians: of a subject or consent.
        above: what an object rests on: who judged it was shown that as well.
        rows: all of them, those first that rest on others.
    """

    custodians: dict[bytes, tuple[str, ...]] = field(default_factory=dict)
    above: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    rows: tuple[bytes, ...] = ()


class ErasureJob:
    """Carries out what erasures leave to do. One thread calls it; fills a `medchain.node.daemon.Job`."""

    __slots__ = (
        "_again",
        "_deliveries",
        "_is_past",
        "_judge",
        "_records",
        "_state",
        "_still",
        "_stops",
        "_submitter",
        "_token",
        "_unordered",
    )

    def __init__(
        self,
        judge: Judge,
        records: RecordStore,
        submitter: Submits,
        stops: Stops,
        deliveries: Tells,
        token: Callable[[str], str],
        is_past: Callable[[int], bool],
    ) -> None:
        """Prepare.

        Args:
            judge: this node's ledger, bodies and clock.
            records: the records file.
            submitter: brings objects to the ledger.
            stops: stops them.
            deliveries: brings requests to destroy bodies to those who hold them.
            token: local id of a patient → keyed token.
            is_past: tells whether no block of a time (Unix seconds), or of an earlier one, can come any more;
                `medchain.ordering.cosign.Cosigner.is_past`.
        """
        self._judge = judge
        self._records = records
        self._submitter = submitter
        self._stops = stops
        self._deliveries = deliveries
        self._token = token
        self._is_past = is_past
        self._state, self._still, self._again = b"", 0, 0
        # When each was first seen here that the ledger does not have.
        self._unordered: dict[bytes, int] = {}

    def run(self, stop: Event) -> None:
        """Carry out until told to stop; what fails is tried again, later each time."""

        def work() -> int:
            left = self.round(stop)
            if not left and not stop.is_set():
                self.tidy()
            return left

        work_in_rounds(
            work,
            stop,
            period_s=PERIOD_S,
            longest_rest_s=LONGEST_REST_S,
            delayed=lambda code: _LOG.warning("erasure.delayed", code=code),
        )

    def round(self, stop: Event | None = None) -> int:
        """Carry out each erasure that waits, as far as that goes now; returns how many are left of those looked at.

        Args:
            stop: when it is set, the rest waits: a node that stops must not wait for an erasure after the other.
        """
        left = 0
        for intent in self._waiting():
            if stop is not None and stop.is_set():
                break
            try:
                self._carry_out(intent)
            except MedchainError as error:
                _LOG.warning("erasure.delayed", code=error.code, intent=intent.id)
                left += 1
                if intent.created + OVERDUE_S < self._judge.clock():
                    self._alarm(intent, error)
        return left

    def tidy(self) -> bool:
        """Write the records file anew, if erasures have left copies in it and nobody writes; tells whether it did.

        Raises:
            MedchainError: of the file, which has no room for it, say.
        """
        if not self._records.has_remains():
            return False
        now, (state, size) = self._judge.clock(), self._records.extent()
        if state != self._state:
            self._state, self._still = state, now
        if now < self._again or (size > SMALL_BYTES and now - self._still < STILL_S):
            return False
        self._again = now + AGAIN_S
        began = time.monotonic()
        is_gone = self._records.rewrite()
        _LOG.info("erasure.rewritten", done=is_gone, size=size, took_ms=int((time.monotonic() - began) * 1000))
        return is_gone

    def _waiting(self) -> Iterator[Intent]:
        """Read all erasures that wait, the oldest first; those that must wait longer hide none behind them."""
        after = 0
        while page := self._records.pending(_PAGE, after=after, kind=ERASURE):
            after = page[-1].id
            yield from page

    def _alarm(self, intent: Intent, error: MedchainError) -> None:
        """Have somebody look: a law may set a day by which the ledger must be told."""
        fields = canonical({"code": error.code, "intent": intent.id})
        now, height = self._judge.clock(), self._judge.replica.height
        self._records.raise_alarm("erasure.overdue", str(intent.id), height, fields, now)

    def _carry_out(self, intent: Intent) -> None:
        """Carry out one erasure; each step may be done again."""
        if not self._records.overwrite():
            # Somebody reads the state before: what was destroyed may still lie in the log.
            raise UnavailableError("erasure.not_overwritten")
        erasure = ErasureIntent.decode(intent.payload)
        draft = Draft("erasure", erasure.object_id, erasure.body, version=1)
        done = self._submitter.submit(draft)
        self._close(done.key, erasure)
        self._records.settle_erasure(intent.id, erasure.keys, done.record.since, self._judge.clock())
        _LOG.info("erasure.done", keys=len(erasure.keys), position=done.record.since)

    def _close(self, entry: bytes, erasure: ErasureIntent) -> None:
        """End and destroy what the patient's objects leave here, and ask others to."""
        found = self._find(erasure)
        never = self._never_ordered(found)
        for key in found.rows:
            if self._is_ours_alone(key, found):
                self._end(key)
        leaving = [record for record in map(self._judge.replica.store.record, found.rows) if record is not None]
        leaving = [record for record in leaving if not self._still_serves(record, found)]
        self._tell(entry, leaving, found)
        for key in (*(record.key for record in leaving), *never):
            self._judge.shelf.destroy(key)
            self._unordered.pop(key, None)
        forget_told(self._records, erasure)
        self._forget_account(erasure)

    def _never_ordered(self, found: _Found) -> list[bytes]:
        """List what the ledger does not have and can have no more: an attempt to submit it failed.

        What others have ordered says so, and no clock of this node's: one that goes ahead, or a node that hears of no
        blocks, would destroy here what was ordered all the same, and ask nobody else to.

        Raises:
            UnavailableError: ``erasure.unordered`` while one may still be ordered: then it must be ended, and who was
                given its body must be asked to destroy it.
        """
        now = self._judge.clock()
        # Asked first: a block that comes in between is looked at below.
        seen = [self._unordered.setdefault(key, now) for key in found.rows if self._is_unordered(key)]
        is_over = all(self._is_past(time + PROMISES_S) for time in seen)
        never = [key for key in found.rows if self._is_unordered(key)]
        if never and (not is_over or not self._unordered.keys() >= set(never)):
            raise UnavailableError("erasure.unordered", retry_after_s=PROMISES_S)
        return never

    def _is_unordered(self, key: bytes) -> bool:
        """Tell whether the ledger has nothing of an object."""
        return self._judge.replica.store.record(key) is None

    def _forget_account(self, erasure: ErasureIntent) -> None:
        """Destroy by what the patient signed in here; an account that was made since is of who came again."""
        until = read(erasure.body.content).time
        for account in self._records.accounts.accounts():
            is_meant = account.role is Role.PATIENT and account.created <= until
            if is_meant and self._token(account.fhir_user.removeprefix(_PATIENT)) == erasure.patient:
                self._records.accounts.forget_account(account.id)

    def _tell(self, entry: bytes, leaving: Sequence[StateRecord], found: _Found) -> None:
        """Ask who holds bodies of objects of ours to destroy them."""
        shown: dict[bytes, set[str]] = {}
        for record in leaving:
            holders = self._holders(record) | shown.get(record.key, set())
            for above in found.above.get(record.key, ()):
                shown.setdefault(above, set()).update(holders)
            if record.creator != self._judge.org_id:
                continue
            # One at a time, and to those alone who hold it: which objects are one patient's is nobody else's.
            for org_id in sorted(holders - {self._judge.org_id}):
                self._records.put_body_request(org_id, record.key, entry)
                self._deliveries.tell(org_id, _body_erasure(entry, record.key))

    def _others(self, key: bytes, found: _Found) -> bool:
        """Tell whether an object names other custodians."""
        return bool(set(found.custodians.get(key, ())) - {self._judge.org_id})

    def _is_ours_alone(self, key: bytes, found: _Found) -> bool:
        """Tell whether an object is this organisation's to end: of no other custodian, and not ended yet."""
        record = self._judge.replica.store.record(key)
        if record is None or record.kind not in _ENDED_HERE or self._others(key, found):
            return False
        return record.creator == self._judge.org_id and record.status == ACTIVE

    def _still_serves(self, record: StateRecord, found: _Found) -> bool:
        """Tell whether somebody needs an object of ours: another custodian, or who is to review an emergency."""
        is_needed = self._others(record.key, found) or record.kind == "emergency"
        is_ours = record.creator == self._judge.org_id
        return is_ours and is_needed and in_force(record, self._judge.clock() // DAY_S)

    def _end(self, key: bytes) -> None:
        """Stop a grant, a consent or a delegation, end a subject."""
        head = self._judge.shelf.head(key)
        if head is None:
            return
        record, body = head
        try:
            if record.kind == "subject":
                self._submitter.submit(Draft(record.kind, record.id, body, status=ENDED))
            elif not self._stops.is_stopped(key):
                self._stops.stop(key)
        except UnavailableError:
            raise
        except MedchainError as error:
            # It goes on without: keys and bodies are what must go.
            _LOG.error("erasure.not_ended", error, kind=record.kind)

    def _holders(self, record: StateRecord) -> set[str]:
        """Name who was given a body of an object: its parties, and who endorsed one of its versions."""
        store = self._judge.replica.store
        named = {org_id for row in store.history(record.key) for org_id in self._endorsers(row)}
        for version in store.body_versions(record.key):
            body = self._judge.shelf.at(record.key, version)
            if body is None or not body.is_full or "object" in body.content:
                # The signature of a withdrawal names no party.
                continue
            named |= parties(record.kind, body.content, self._judge.shelf)
        return named

    def _endorsers(self, record: StateRecord) -> Iterator[str]:
        """Name who endorsed a version."""
        payload = parse_envelope(self._judge.replica.store.leaf(record.since)).transaction
        if not isinstance(payload, Transaction):
            return
        names = {row.key_id for row in payload.signers if row.role == INDEPENDENT}
        snapshot = self._judge.replica.store.members_at(self._judge.replica.store.block_at(record.since).height)
        for organisation in snapshot.organisations.values():
            if any(key.id in names for key in organisation.keys):
                yield organisation.org_id

    def _find(self, erasure: ErasureIntent) -> _Found:
        """Find the patient's objects among all bodies that are here."""
        found = _Found()
        kinds: dict[bytes, str] = {}
        rests: dict[bytes, tuple[str, bytes]] = {}
        for key, version, body in self._bodies():
            if body.kind in ("grant", "access"):
                rests[key] = (body.kind, _key(body.content, "consent", "grant"))
            elif self._is_of(key, body, erasure):
                kinds[key] = body.kind
                # Whoever is named by an attempt alone that the ledger did not take serves nobody.
                if key not in found.custodians or self._is_ordered(key, version, body):
                    found.custodians[key] = _names(body.content)
                    found.above[key] = _signers(body.content)
        for kind in ("grant", "access"):
            for key, (own, above) in rests.items():
                if own == kind and above in kinds:
                    kinds[key], found.above[key] = kind, (above, *found.above.get(above, ()))
        found.rows = tuple(sorted(kinds, key=lambda key: (_ORDER.index(kinds[key]), key)))
        return found

    def _is_of(self, key: bytes, body: Body, erasure: ErasureIntent) -> bool:
        """Tell whether a subject, consent, mandate or emergency is the patient's."""
        match body.kind:
            case "subject":
                return key in erasure.subjects
            case "consent":
                # The body of a withdrawal lies under the consent's key as well, and goes with it.
                return "purpose" in body.content and _key(body.content, "acting_for", "subject") in erasure.subjects
            case "recovery":
                return _key(body.content, "subject") in erasure.subjects
            case "delegation":
                # The body of its end is signed by either of the two, and goes with it.
                return "delegate" in body.content and _key(body.content, "subject") in erasure.subjects
            case "emergency" | "mandate":
                # A mandate names the patient as its custodian does: another's may have the id of one here.
                is_ours = body.kind == "emergency" or body.content.get("custodian") == self._judge.org_id
                return is_ours and self._token(str(body.content.get("patient", ""))) == erasure.patient
            case _:
                return False

    def _is_ordered(self, key: bytes, version: int, body: Body) -> bool:
        """Tell whether the ledger has a body at a version."""
        record = self._judge.replica.store.version(key, version)
        return record is not None and record.body_hash == body.body_hash

    def _bodies(self) -> Iterator[tuple[bytes, int, Body]]:
        """Read all bodies, by object and version."""
        after = (b"", 0)
        while page := self._judge.replica.store.bodies(_PAGE, after=after):
            for key, version, data in page:
                after = (key, version)
                yield from ((key, version, body) for body in read_attempts(data))


class BodyErasures:
    """Destroys bodies whose objects' owner has erased; part of `medchain.node.services.BodyService`."""

    __slots__ = ("_judge",)

    def __init__(self, judge: Judge) -> None:
        """Use this node's ledger, bodies and clock."""
        self._judge = judge

    def receive(self, document: bytes, peer: str) -> Json:
        """Destroy bodies.

        Args:
            document: ``{"erasure":map key,"objects":[map key,…],"type":…}``.
            peer: org_id of who asks.

        Returns:
            ``{"destroyed":N,"type":…}``, once nothing of them is left.

        Raises:
            InputError: ``encoding.*``.
            VerificationError: ``body.creator`` for an object of somebody else; ``body.kind`` for one that is no
                patient's, such as a statement.
            ConflictError: ``body.erasure`` while no erasure of that organisation stands there, ``body.not_ordered`` for
                an object that is not there, ``body.in_force`` for one that is not stopped or ended on this node's
                ledger, for accesses under a grant that is not: each may come with a later block.
        """
        top = members(
            parse_canonical(document, max_bytes=MAX_DOCUMENT_BYTES), {"erasure": str, "objects": list, "type": str}
        )
        rows = top["objects"] if isinstance(top["objects"], list) else []
        keys = [unhex(row, HASH_BYTES) for row in rows]
        if top["type"] != BODY_ERASURE_TYPE or not 0 < len(keys) <= _PAGE:
            raise InputError("encoding.members", member="objects")
        entry = self._judge.replica.store.record(unhex(top["erasure"], HASH_BYTES))
        # The status, since what a recipient states is of this kind as well, and destroys no key of a patient.
        if entry is None or (entry.kind, entry.creator, entry.status) != ("erasure", peer, ACTIVE):
            raise ConflictError("body.erasure")
        records = [self._of(key, peer) for key in keys]
        destroyed = sum(self._judge.shelf.destroy(record.key) for record in records)
        # An owner can so take away what could be held against it: that it did is on the ledger, and noted here.
        _LOG.warning("bodies.erased", peer=peer, objects=len(keys), destroyed=destroyed)
        return {"destroyed": destroyed, "type": BODY_ERASURE_TYPE}

    def _of(self, key: bytes, peer: str) -> StateRecord:
        """Return an object of the owner's that is over."""
        record = self._judge.replica.store.record(key)
        if record is None:
            # Its body may be here or come, since bodies go ahead of blocks, and would stay once the block is there.
            raise ConflictError("body.not_ordered")
        if record.creator != peer:
            raise VerificationError("body.creator")
        if record.kind not in _ORDER:
            raise VerificationError("body.kind", kind=record.kind)
        if self._is_in_force(record):
            raise ConflictError("body.in_force", kind=record.kind)
        return record

    def _is_in_force(self, record: StateRecord) -> bool:
        """Tell whether an object binds anybody; accesses, which nobody ends, are over with their grant."""
        today = self._judge.clock() // DAY_S
        if record.kind != "access":
            return in_force(record, today)
        heads = (self._judge.replica.store.record(ref.key) for ref in record.refs)
        return any(head is not None and head.kind == "grant" and in_force(head, today) for head in heads)


class BodyRequests:
    """Asks again who comes back from a backup: it has what it had destroyed; part of `BodyService` as well."""

    __slots__ = ("_deliveries", "_records")

    def __init__(self, records: RecordStore, deliveries: AsksAgain) -> None:
        """Use what was kept of requests, and the way to others."""
        self._records = records
        self._deliveries = deliveries

    def receive(self, document: bytes, peer: str) -> Json:
        """Ask a member again for all that it was ever asked to destroy; nobody is told what others were.

        Args:
            document: ``{"type":…}``.
            peer: org_id of who asks.

        Returns:
            ``{"type":…,"waiting":N}``, once the requests are on their way.

        Raises:
            InputError: ``encoding.*``.
        """
        members(parse_canonical(document, max_bytes=MAX_DOCUMENT_BYTES), {"type": str})
        rows = self._records.body_requests(peer)
        waiting = self._deliveries.tell_again(peer, [_body_erasure(entry, key) for key, entry in rows])
        _LOG.warning("bodies.restored", peer=peer, waiting=waiting)
        return {"type": RESTORED_TYPE, "waiting": waiting}


def _body_erasure(entry: bytes, key: bytes) -> Json:
    """Write a request to destroy the bodies of an object."""
    return {"erasure": entry.hex(), "objects": [key.hex()], "type": BODY_ERASURE_TYPE}


def _names(content: Mapping[str, Json]) -> tuple[str, ...]:
    """Read the custodians of a content, which may be redacted."""
    rows = content.get("custodians")
    return tuple(str(row) for row in rows) if isinstance(rows, list) else ()


def _key(content: Mapping[str, Json], *names: str) -> bytes:
    """Read the first map key that a content has under one of some names; empty without."""
    found = next((value for name in names if isinstance(value := content.get(name), str)), "")
    try:
        return unhex(found, HASH_BYTES)
    except InputError:
        return b""


def _signers(content: Mapping[str, Json]) -> tuple[bytes, ...]:
    """Read the subjects that a consent names; none for other contents."""
    found = (_key(content, "acting_for"), _key(content, "subject"))
    return tuple(dict.fromkeys(key for key in found if key))
