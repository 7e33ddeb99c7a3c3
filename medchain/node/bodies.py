"""Bodies of sealed objects: how they travel, where they lie, who gets which part.

Keeps true: a body is used only if its hash is the one on this node's own ledger; one that has another hash than the
payload or the ledger says is refused before it is stored, and so is what is malformed; what this node's own judgement
refuses is kept as evidence, and nobody is shown it; what is accepted is durable before it is acknowledged; only
an object's owner brings what is not yet ordered, and no more of it than its quota. Trusts whoever sealed for nothing:
HPKE does not name it.
Source: `docs/spec/body.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from threading import Lock, RLock
from typing import Final, NamedTuple, Protocol

from medchain.crypto.sealing import SealingPrivateKey, open_sealed, seal_to
from medchain.encoding import Json, base64_text, canonical, members, parse_canonical, unbase64, unhex
from medchain.errors import ConflictError, InputError, UnavailableError, VerificationError
from medchain.ledger.kind import Place
from medchain.ledger.kinds import (
    access,
    capacity,
    consent,
    delegation,
    emergency,
    erasure,
    grant,
    mandate,
    recovery,
    subject,
)
from medchain.ledger.kinds.registry import check_form
from medchain.ledger.members import ENCRYPTION_KEY, Key, Members
from medchain.ledger.object import MAX_BODY_BYTES, STOPPED, Body, StateRecord, map_key
from medchain.ledger.transaction import HASH_BYTES, Transaction, parse_payload
from medchain.node.subject_index import SubjectIndex
from medchain.node.unaccepted import Announced, Unaccepted
from medchain.store.cache import BoundedCache
from medchain.store.ledger import LedgerStore

SEALED_TYPE: Final = "medchain/sealed-body/v1"
"""Type member of a sealed body, and of what it is bound to."""

BODIES_TYPE: Final = "medchain/bodies/v1"
"""Type member of a delivery of bodies."""

STORED_TYPE: Final = "medchain/bodies-stored/v1"
"""Type member of the answer to a delivery."""

MAX_DOCUMENT_BYTES: Final = 2 << 20
"""Largest delivery or endorsement request."""

MAX_BODIES: Final = 16
"""Most bodies of one document."""

ENDORSER_SUBJECT_FIELDS: Final = frozenset({"contacts", "custodians", "enroller", "passkeys", *capacity.FIELDS})
"""What the endorser of a consent is shown of its subject: what the check needs, and where it tells the person of it."""

_PAD: Final = 1024
_PERMISSION: Final = "consent"
_CACHE_BYTES: Final = 4 << 20
_COST: Final = 8
_MARK: Final = b"\x80"
_SEALED: Final = {"key": str, "object": str, "sealed": str, "type": str, "version": int}


@dataclass(frozen=True, slots=True)
class OpenedBody:
    """A body as it came out of its seal; its hash is not compared yet.

    Attributes:
        object: map key of its object, 32 bytes.
        version: version of its object.
        body: whole or redacted.
    """

    object: bytes
    version: int
    body: Body


def seal_body(key: Key, ledger: bytes, opened: OpenedBody) -> Json:
    """Seal a body to an organisation.

    Args:
        key: its encryption key, from the ledger.
        ledger: ledger id, 32 bytes.
        opened: object, version and the part of the body that it gets.

    Returns:
        The sealed body as JSON.

    Raises:
        UnavailableError: ``body.unsealable`` for a key to which nothing can be sealed.
    """
    info = _info(key.id, ledger, opened.object, opened.version)
    plain = canonical(opened.body.to_json()) + _MARK
    try:
        sealed = seal_to(key.public, info, b"", plain.ljust(-(-len(plain) // _PAD) * _PAD, b"\0"))
    except InputError as error:
        # A member lists its key itself, and the ledger cannot tell: to others it is as one that does not answer.
        raise UnavailableError("body.unsealable", key_id=key.id) from error
    return {
        "key": key.id,
        "object": opened.object.hex(),
        "sealed": base64_text(sealed),
        "type": SEALED_TYPE,
        "version": opened.version,
    }


def open_body(document: Json, ledger: bytes, keys: Mapping[str, SealingPrivateKey]) -> OpenedBody:
    """Open a sealed body.

    Args:
        document: from `seal_body`.
        ledger: ledger id, 32 bytes.
        keys: this organisation's encryption keys by id.

    Returns:
        What was sealed.

    Raises:
        InputError: ``encoding.*``, ``body.malformed``.
        VerificationError: ``body.key`` for a key that is not ours, ``sealing.authentication``.
    """
    top = members(document, _SEALED)
    version, private = top["version"], keys.get(str(top["key"]))
    if top["type"] != SEALED_TYPE or type(version) is not int or version < 1:
        raise InputError("body.malformed", member="type")
    if private is None:
        raise VerificationError("body.key")
    key = unhex(top["object"], HASH_BYTES)
    info = _info(private.key_id, ledger, key, version)
    padded = bytes(open_sealed(private, info, b"", unbase64(top["sealed"], max_bytes=2 * MAX_BODY_BYTES)))
    plain = padded.rstrip(b"\0")
    if len(padded) % _PAD or len(padded) - len(plain) >= _PAD or not plain.endswith(_MARK):
        raise InputError("body.malformed", member="padding")
    return OpenedBody(key, version, Body.from_json(parse_canonical(plain[:-1], max_bytes=MAX_BODY_BYTES)))


def delivery(payload: bytes | None, sealed: Sequence[Json]) -> Json:
    """Put a delivery of bodies together.

    Args:
        payload: the transaction that the bodies belong to; None for objects that are on the ledger.
        sealed: from `seal_body`, all to one organisation.
    """
    text = None if payload is None else base64_text(payload)
    return {"bodies": list(sealed), "payload": text, "type": BODIES_TYPE}


def bodies_document(payload: bytes | None, sealed: Sequence[Json]) -> bytes:
    """Write a `delivery` of bodies as canonical JSON; the same arguments."""
    return canonical(delivery(payload, sealed))


def parties(kind: str, content: Mapping[str, Json], source: BodyShelf) -> frozenset[str]:
    """Tell which organisations must hold a body, its creator included where the content names it.

    Args:
        kind: name of the object's kind.
        content: its whole content.
        source: bodies of other objects: the parties of an access are those of its grant.

    Returns:
        org_ids.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``access.grant`` for an access whose grant's body is not here.
    """
    match kind:
        case "subject" | "recovery":
            read = subject.read(content) if kind == "subject" else recovery.read(content)
            return frozenset({*read.custodians, read.enroller})
        case "delegation":
            named = delegation.read(content)
            return frozenset({*named.custodians, named.enroller})
        case "consent":
            allowed = consent.read(content)
            return frozenset({*allowed.custodians, allowed.recipient})
        case "grant" | "mandate":
            given = grant.read(content) if kind == "grant" else mandate.read(content)
            return frozenset({given.custodian, given.recipient})
        case "access":
            found = source.head(access.read(content).grant)
            if found is None:
                raise VerificationError("access.grant")
            return parties("grant", found[1].content, source)
        case _:
            return _told(kind, content)


def _told(kind: str, content: Mapping[str, Json]) -> frozenset[str]:
    """Tell who must hold the body of what an organisation alone says."""
    if kind == "emergency":
        case = emergency.read(content)
        return frozenset({case.custodian, case.recipient})
    if kind == "erasure" and "grant" in content:
        stated = erasure.read_statement(content)
        return frozenset({stated.custodian, stated.organisation})
    return frozenset()


class _Opened(NamedTuple):
    """A body as it was read, and its hash."""

    body: Body
    body_hash: bytes


class Verdict(Enum):
    """What this node's own judgement says of the body of a version that the ledger has."""

    HOLDS = auto()
    """It passes the kind's check."""
    OPEN = auto()
    """It is well formed, and what the check stands on is not here."""
    REFUSED = auto()
    """It breaks a rule: it is kept as evidence, and is as if it were not here."""


class Bench(Protocol):
    """Who judges bodies; `medchain.node.verdicts.Verdicts`."""

    def verdict(self, record: StateRecord, body: Body) -> Verdict:
        """Judge the body, whole or a part, of a version that the ledger has."""
        ...

    def note(self, key: bytes, version: int) -> None:
        """Take note of a body that was kept just now."""
        ...


class BodyShelf:
    """Bodies that this organisation holds: fills `medchain.ledger.kind.BodySource`. Threads may share it.

    Attributes:
        index: finds a subject's consents, and a consent's grants, among them.
    """

    __slots__ = ("_bench", "_cache", "_destroyed", "_destroying", "_is_stopped", "_lock", "_note", "_store", "index")

    def __init__(self, store: LedgerStore, note: Callable[[bytes, int, str], None] | None = None) -> None:
        """Prepare.

        Args:
            store: the ledger file.
            note: is given map key, version and kind of each body before it is kept, so that none is forgotten.
        """
        self._store = store
        self._note = note
        self.index = SubjectIndex(store)
        self._bench: Bench | None = None
        self._is_stopped: Callable[[bytes], bool] = lambda _key: False
        self._lock = RLock()
        # By the bytes in the file, so that nothing is found that is not there; emptied whenever a body is destroyed.
        self._cache: BoundedCache[bytes, _Opened] = BoundedCache(_CACHE_BYTES)
        self._destroyed = 0
        self._destroying = Lock()

    def judged_by(self, bench: Bench) -> None:
        """Show from now on only what somebody's judgement lets pass."""
        self._bench = bench

    def heed(self, is_stopped: Callable[[bytes], bool]) -> None:
        """Take from now on as stopped what somebody knows to be, ordered or not; `medchain.node.stops.StopBook`."""
        self._is_stopped = is_stopped

    def state(self, key: bytes) -> StateRecord | None:
        """Return an object's head, whatever is here of its body; None without, and where a stop of it was heard."""
        return None if self._is_stopped(key) else self._store.record(key)

    def head(self, key: bytes) -> tuple[StateRecord, Body] | None:
        """Return an object's head and the part of its body that is here, compared with each other.

        None without, and for a body that does not pass this node's judgement: a permission, only where it was judged.
        """
        found = self._held(key)
        if found is None:
            return None
        record, version, body = found
        verdict = self._verdict(key, version, body)
        is_shown = verdict is Verdict.HOLDS or (verdict is Verdict.OPEN and record.kind != _PERMISSION)
        return (record, body) if is_shown else None

    def held(self, key: bytes) -> tuple[StateRecord, Body] | None:
        """Return the same, judged or not: what narrows binds whatever stands in the body."""
        found = self._held(key)
        return None if found is None else (found[0], found[2])

    def held_at(self, key: bytes, version: int) -> Body | None:
        """Return what is kept for a version, whatever the ledger and this node's judgement say; None if nothing is."""
        found = self._opened(key, version)
        return None if found is None else found.body

    def newest(self, key: bytes) -> Body | None:
        """Return the body of the newest version whose body is here and passes; before the ledger has any, the first."""
        record = self._store.record(key)
        if record is None:
            return self.held_at(key, 1)
        rows = ((row, self._opened(key, row.version)) for row in self._store.history(key))
        found = (
            (item.body, self._verdict(key, row.version, item.body))
            for row, item in rows
            if item is not None and item.body_hash == row.body_hash
        )
        shown = [(body, verdict) for body, verdict in found if verdict is not Verdict.REFUSED]
        judged = (body for body, verdict in shown if verdict is Verdict.HOLDS)
        return next(judged, shown[0][0] if shown else None)

    def _held(self, key: bytes) -> tuple[StateRecord, int, Body] | None:
        """Find the head of an object, and the version whose body it has."""
        record = self._store.record(key)
        if record is None:
            return None
        # A stop without evidence keeps the hash, and so the body, of the version before.
        found = ((version, self._opened(key, version)) for version in (record.version, record.version - 1))
        same = ((at, item.body) for at, item in found if item is not None and item.body_hash == record.body_hash)
        return next(((record, at, body) for at, body in same), None)

    def _verdict(self, key: bytes, version: int, body: Body) -> Verdict:
        """Judge what lies at a version; what the ledger lacks, and a stop's evidence, is judged elsewhere."""
        record = None if self._bench is None else self._store.version(key, version)
        if self._bench is None or record is None or record.status == STOPPED or record.body_hash != body.body_hash:
            return Verdict.HOLDS
        return self._bench.verdict(record, body)

    def accepted(self, record: StateRecord) -> int:
        """Return the time of the block that accepted a version, Unix seconds."""
        return self._store.block_at(record.since).time

    def terms(self, key: bytes) -> Body | None:
        """Return the body by which an object was last in force: of a stopped one that of the version before the stop.

        Args:
            key: map key, 32 bytes.

        Returns:
            What is here of it, compared with the ledger; None if nothing is.
        """
        record = self._store.record(key)
        if record is not None and record.status == STOPPED:
            record = self._store.version(key, record.version - 1)
        found = None if record is None else self._opened(key, record.version)
        if found is None or record is None or found.body_hash != record.body_hash:
            return None
        return None if self._verdict(key, record.version, found.body) is Verdict.REFUSED else found.body

    def at(self, key: bytes, version: int) -> Body | None:
        """Return what is kept for a version, whatever the ledger says; None for nothing, or what is refused here."""
        body = self.held_at(key, version)
        return None if body is None or self._verdict(key, version, body) is Verdict.REFUSED else body

    def _opened(self, key: bytes, version: int) -> _Opened | None:
        """Read a body with its hash, once as long as its bytes are the same."""
        destroyed, data = self._destroyed, self._store.body(key, version)
        if data is None:
            return None
        found = self._cache.get(data)
        if found is None:
            body = Body.from_json(parse_canonical(data, max_bytes=MAX_BODY_BYTES))
            found = _Opened(body, body.body_hash)
            with self._destroying:
                # What was destroyed while it was read must not stay.
                if destroyed == self._destroyed:
                    self._cache.put(data, found, _COST * len(data))
        return found

    @contextmanager
    def _deleting(self) -> Iterator[None]:
        """Have what is destroyed in the file destroyed here after it."""
        try:
            yield
        finally:
            with self._destroying:
                self._destroyed += 1
                self._cache.clear()

    def keep(self, key: bytes, version: int, body: Body) -> None:
        """Keep a body whose hash was compared with a payload or the ledger; durable when it returns.

        Of two parts of one body the one that shows more stays. A body that was never accepted gives way to another. One
        that was destroyed for ever is not kept again: whoever still has it could bring back what a patient's erasure
        took away.

        Args:
            key: map key of its object.
            version: version of its object.
            body: whole or redacted.

        Raises:
            ConflictError: ``body.conflict`` if the ledger holds another one at that version.
        """
        with self._lock:
            known = self.held_at(key, version)
            if known is not None and known.body_hash == body.body_hash:
                if shown_size(known) >= shown_size(body):
                    return
            elif known is not None and self._is_accepted(key, version, known.body_hash):
                raise ConflictError("body.conflict", version=version)
            elif known is None and version <= self._store.destroyed_upto(key):
                return
            if known is not None:
                with self._deleting():
                    self._store.delete_body(key, version)
            if self._note is not None:
                self._note(key, version, body.kind)
            self._store.put_body(key, version, canonical(body.to_json()))
        self.index.add(key, body)
        if self._bench is not None:
            self._bench.note(key, version)

    def is_accepted(self, key: bytes, version: int) -> bool:
        """Tell whether the ledger has that version of an object."""
        head = self._store.record(key)
        return head is not None and 0 < version <= head.version

    def destroy(self, key: bytes) -> int:
        """Destroy all bodies of an object that it has had by now, for ever; returns how many were here."""
        with self._lock:
            head = self._store.record(key)
            version = 0 if head is None else head.version
            # Asked again, there is nothing to write: whoever asks is not to keep the disk busy.
            if version <= self._store.destroyed_upto(key) and not self._store.body_versions(key):
                return 0
            with self._deleting():
                return self._store.destroy_bodies(key, version)

    def destroy_unaccepted(self, key: bytes, version: int) -> None:
        """Destroy a body unless the ledger holds its hash at that version."""
        with self._lock:
            known = self.held_at(key, version)
            if known is not None and not self._is_accepted(key, version, known.body_hash):
                with self._deleting():
                    self._store.delete_body(key, version)

    def _is_accepted(self, key: bytes, version: int, body_hash: bytes) -> bool:
        """Tell whether the ledger holds that hash at that version."""
        row = self._store.version(key, version)
        return row is not None and row.body_hash == body_hash


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
                Announced(item.object, item.version, transaction.until, each)
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
        if body_hash is None:
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


def encryption_key(snapshot: Members, org_id: str) -> Key:
    """Return the current encryption key of an active member; raises `VerificationError` ``body.party``."""
    organisation = next((item for item in snapshot.active if item.org_id == org_id), None)
    if organisation is None:
        raise VerificationError("body.party", org_id=org_id)
    return organisation.key(ENCRYPTION_KEY)


def shares(kind: str, content: Mapping[str, Json], shelf: BodyShelf) -> list[tuple[bytes, Callable[[Body], Body]]]:
    """Tell which other objects' bodies somebody needs to judge an object, and how much of each.

    Args:
        kind: name of the object's kind.
        content: its whole content.
        shelf: bodies of other objects.

    Returns:
        (map key, what an endorser is shown of its body): a consent needs its subjects, a subject those of delegates who
        sign, the recovery that it carries out and the delegation of whom it names, a recovery and a delegation their
        subject, a grant its consent, an access its grant and consents.

    Raises:
        InputError: for a malformed content.
    """
    match kind:
        case "consent":
            read = consent.read(content)
            keys = {*read.signers, read.patient}
            return [(key, _subject_part) for key in sorted(keys)]
        case "subject":
            changed = subject.read(content)
            found: list[tuple[bytes, Callable[[Body], Body]]] = [(key, _signer_part) for key in changed.signers]
            return [*found, *((key, _whole) for key in _rests_on(changed))]
        case "recovery" | "delegation":
            of = recovery.read(content) if kind == "recovery" else delegation.read(content)
            return [(of.subject, _subject_part)]
        case "grant":
            return [(grant.read(content).consent, _whole)]
        case "access":
            rows = access.read(content)
            return [(key, _whole) for key in (rows.grant, *rows.consents) if shelf.head(key) is not None]
        case _:
            return []


def _rests_on(changed: subject.Subject) -> Iterator[bytes]:
    """Name the recovery that a version of a subject carries out, and the delegation of whom it names."""
    if changed.recovery is not None:
        yield changed.recovery
    if changed.operation is subject.Operation.NAME_DELEGATE:
        yield from (row.delegation for row in changed.capacity.delegates[-1:] if row.delegation is not None)


def _subject_part(body: Body) -> Body:
    """Show what the check of a consent needs of its subject."""
    return body.redact(ENDORSER_SUBJECT_FIELDS)


def _signer_part(body: Body) -> Body:
    """Show what a signature is checked with."""
    return body.redact(subject.RECIPIENT_FIELDS)


def _whole(body: Body) -> Body:
    """Show all."""
    return body


def shown_size(body: Body) -> tuple[int, int]:
    """Measure how much of a body is shown."""
    return (len(body.fields) + len(body.padding), 0 if isinstance(body.evidence, bytes) else 1)


def _info(key_id: str, ledger: bytes, key: bytes, version: int) -> bytes:
    """Bind a sealed body to receiver, ledger, object and version."""
    return canonical(
        {"key": key_id, "ledger": ledger.hex(), "object": key.hex(), "type": SEALED_TYPE, "version": version}
    )
