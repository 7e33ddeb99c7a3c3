"""Bodies of sealed objects that this organisation holds.

Keeps true: a body is used only if its hash is the one on this node's own ledger; what this node's own judgement refuses
is kept as evidence, and nobody is shown it; one that was destroyed is kept nowhere, in memory either; of several
attempts at a version, whichever the ledger takes is here. Trusts whoever keeps a body for having compared its hash.
Source: `docs/spec/body.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from threading import Lock, RLock
from typing import Final, NamedTuple, Protocol

from medchain.errors import ConflictError
from medchain.ledger.object import STOPPED, Body, StateRecord
from medchain.node.attempts import MAX_ATTEMPTS, read_attempts, write_attempts
from medchain.node.subject_index import SubjectIndex
from medchain.store.cache import BoundedCache
from medchain.store.ledger import LedgerStore

_PERMISSION: Final = "consent"
_CACHE_BYTES: Final = 4 << 20
_COST: Final = 8


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
        self._cache: BoundedCache[bytes, tuple[_Opened, ...]] = BoundedCache(_CACHE_BYTES)
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
        """Return what is kept for a version, judged or not; None if nothing is.

        Of several attempts the one that the ledger has; where it has none of them, the newest.
        """
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

    def ordered(self, record: StateRecord) -> Body | None:
        """Return the body of a version as the ledger has it; None without, or where `at` shows none.

        What was announced for that version, and in whose place the ledger took another, is not it.
        """
        body = self.at(record.key, record.version)
        return body if body is not None and body.body_hash == record.body_hash else None

    def attempted(self, key: bytes, version: int) -> Body | None:
        """Return the body of an attempt to make a version that the ledger does not have; None without.

        It is kept before it is submitted, and nobody may know what became of that. Of several it is the newest.
        """
        return self.held_at(key, version) if self._store.version(key, version) is None else None

    def _opened(self, key: bytes, version: int) -> _Opened | None:
        """Read the body of a version with its hash; of several attempts the ledger's, or the newest."""
        kept = self._kept(key, version)
        if len(kept) <= 1:
            return kept[0] if kept else None
        return self._accepted_of(key, version, kept) or kept[-1]

    def _kept(self, key: bytes, version: int) -> tuple[_Opened, ...]:
        """Read all that lies at a version, the newest last, once as long as the bytes are the same."""
        destroyed, data = self._destroyed, self._store.body(key, version)
        if data is None:
            return ()
        found = self._cache.get(data)
        if found is None:
            found = tuple(_Opened(body, body.body_hash) for body in read_attempts(data))
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

        Of two parts of one body the one that shows more stays. A body that was never accepted stays beside another, as
        the older of at most `MAX_ATTEMPTS`: it may still be ordered. One that was destroyed for ever is not kept again:
        whoever still has it could bring back what a patient's erasure took away.

        Args:
            key: map key of its object.
            version: version of its object.
            body: whole or redacted.

        Raises:
            ConflictError: ``body.conflict`` if the ledger holds another one at that version.
        """
        with self._lock:
            kept, body_hash = self._kept(key, version), body.body_hash
            accepted = self._accepted_of(key, version, kept)
            if accepted is not None and accepted.body_hash != body_hash:
                raise ConflictError("body.conflict", version=version)
            if not kept and version <= self._store.destroyed_upto(key):
                return
            same = next((one.body for one in kept if one.body_hash == body_hash), None)
            best = body if same is None or shown_size(same) < shown_size(body) else same
            if kept and best is same and (accepted is not None or same is kept[-1].body):
                return
            others = [one.body for one in kept if one.body_hash != body_hash]
            if self._note is not None:
                self._note(key, version, body.kind)
            self._write(key, version, [*others[1 - MAX_ATTEMPTS :], best], is_new=not kept)
        self.index.add(key, body)
        if self._bench is not None:
            self._bench.note(key, version)

    def is_awaited(self, key: bytes, version: int) -> bool:
        """Tell whether a stop was heard whose evidence, such as the patient's signature, waits here for its block."""
        record = self._store.record(key) if self._is_stopped(key) else None
        return record is not None and record.status != STOPPED and version > record.version

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
        """Destroy what lies at a version, but for the body whose hash the ledger holds there."""
        with self._lock:
            kept = self._kept(key, version)
            if kept and self._accepted_of(key, version, kept) is None:
                with self._deleting():
                    self._store.delete_body(key, version)
            elif kept:
                self.settle(key, version)

    def settle(self, key: bytes, version: int) -> None:
        """Destroy other attempts at a version than the one that the ledger has, where that is here."""
        with self._lock:
            kept = self._kept(key, version)
            accepted = self._accepted_of(key, version, kept)
            if accepted is not None and len(kept) > 1:
                self._write(key, version, [accepted.body], is_new=False)

    def beside(self, key: bytes, version: int, body_hash: bytes) -> int:
        """Tell how many bytes other bodies have that would stay beside one that is kept."""
        others = [one.body for one in self._kept(key, version) if one.body_hash != body_hash]
        return len(write_attempts(others)) if others else 0

    def _write(self, key: bytes, version: int, bodies: list[Body], *, is_new: bool) -> None:
        """Put bodies on disk, in one step in the place of what lies there."""
        if is_new:
            self._store.put_body(key, version, write_attempts(bodies))
            return
        with self._deleting():
            self._store.replace_body(key, version, write_attempts(bodies))

    def _accepted_of(self, key: bytes, version: int, kept: tuple[_Opened, ...]) -> _Opened | None:
        """Return the one of several whose hash the ledger holds at that version, or None."""
        row = self._store.version(key, version) if kept else None
        return None if row is None else next((one for one in kept if one.body_hash == row.body_hash), None)


def shown_size(body: Body) -> tuple[int, int]:
    """Measure how much of a body is shown."""
    return (len(body.fields) + len(body.padding), 0 if isinstance(body.evidence, bytes) else 1)
