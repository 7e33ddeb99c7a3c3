"""Releases whose access entry was begun and which are not answered yet, kept over a crash.

A batch lies in the outbox from before its entry is submitted until each of its requests is answered or too old; with it
go the wrapped data keys. Keeps true: the same signed request gets the same release under the same entry, or none; an
answer is given once while the node runs, at most once more after a crash in between. Trusts the records file.
Source: `docs/spec/release.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

from medchain.encoding import Json, base64_text, canonical, members, parse_canonical, unbase64, unhex
from medchain.errors import ConflictError, InputError, MedchainError, UnavailableError, VerificationError
from medchain.ledger.object import Body
from medchain.ledger.signed_request import REQUEST_LIFE_S
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES, Ref
from medchain.node.clock import Clock
from medchain.node.log import Log
from medchain.store.accesses import Access
from medchain.store.outbox import Intent
from medchain.store.records import RecordStore

_LOG: Final = Log("release")

RELEASE_INTENT: Final = "release"
"""Kind of the outbox rows that hold a batch."""

_PAGE: Final = 500
_MAX_INTENT_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """One version of an access object, to be brought to the ledger.

    Attributes:
        object_id: 16 bytes.
        version: head + 1.
        body: whole, with the signed requests as evidence.
        refs: the grant and its consent at the versions that were judged, sorted.
    """

    object_id: bytes
    version: int
    body: Body
    refs: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """A release that stands in an access entry.

    Attributes:
        request_hash: of the request, 32 bytes.
        time: of the request, Unix seconds.
        grant: map key of the grant, 32 bytes.
        patient: keyed token of the patient.
        wraps: the data keys, wrapped for the recipient.
        records: (object id, version) in the order of the wraps.
        following: where a further request goes on, or None.
    """

    request_hash: bytes
    time: int
    grant: bytes
    patient: str
    wraps: bytes
    records: tuple[tuple[bytes, int], ...]
    following: int | None
    oversized: int = 0


@dataclass(frozen=True, slots=True)
class _Unsure:
    """A batch whose write failed, and may have been kept all the same."""

    payload: bytes
    entry: AccessEntry
    releases: tuple[Release, ...]


@dataclass(slots=True)
class _Batch:
    """A stored batch, and which of its requests are not answered yet."""

    intent: int
    entry: AccessEntry
    left: set[bytes]


class PendingReleases:
    """What is under way. Threads may share it; one process owns it."""

    __slots__ = ("_batches", "_clock", "_lock", "_records", "_releases", "_unsure")

    def __init__(self, records: RecordStore, clock: Clock) -> None:
        """Read what was under way when the node ended.

        Args:
            records: the records file.
            clock: gives Unix seconds.

        Raises:
            VerificationError: ``store.corrupt``.
        """
        self._records = records
        self._clock = clock
        self._lock = Lock()
        self._releases: dict[bytes, Release] = {}
        self._batches: dict[bytes, _Batch] = {}
        self._unsure: list[_Unsure] = []
        for intent in self._stored():
            try:
                entry, releases = _read(intent.payload)
            except InputError as error:
                raise VerificationError("store.corrupt", table="outbox", key=str(intent.id)) from error
            self._add(intent.id, entry, releases)
        self.prune()

    def keep(self, entry: AccessEntry, releases: Sequence[Release]) -> None:
        """Keep a batch; it is on disk when this returns.

        Args:
            entry: the access entry that lists them.
            releases: one for each request, which is used up by it.

        Raises:
            ConflictError: ``store.conflict`` if a request was used before; nothing is kept then.
            UnavailableError: the disk; it may be kept all the same, and is found then.
        """
        used = [(token_of(row.request_hash), row.time + REQUEST_LIFE_S) for row in releases]
        payload = _write(entry, releases)
        try:
            intent = self._records.put_intent(RELEASE_INTENT, payload, self._clock(), using=used)
        except UnavailableError:
            with self._lock:
                self._unsure.append(_Unsure(payload, entry, tuple(releases)))
            raise
        with self._lock:
            self._add(intent, entry, releases)

    def find(self, request_hash: bytes) -> tuple[Release, AccessEntry] | None:
        """Return the release of a request that is not answered yet, and its entry.

        Raises:
            UnavailableError: the disk.
        """
        with self._lock:
            self._take_up()
            release, batch = self._releases.get(request_hash), self._batches.get(request_hash)
        return None if release is None or batch is None else (release, batch.entry)

    def finish(self, request_hash: bytes, note: Access | None = None) -> bool:
        """Take a release away; with the last one its batch leaves the disk, and the wraps with it.

        Args:
            request_hash: of its request.
            note: what is noted of it in the same write; one that is noted already stays as it is.

        Returns:
            Whether it was there: who gets False must not answer, and nothing is noted.

        Raises:
            UnavailableError: the disk; it is there still.
        """
        with self._lock:
            release = self._releases.pop(request_hash, None)
            batch = self._batches.pop(request_hash, None)
            if release is None or batch is None:
                return False
            batch.left.discard(request_hash)
            done = [] if batch.left else [batch.intent]
        try:
            self._settle(note, done)
        except MedchainError:
            with self._lock:
                self._releases[request_hash], self._batches[request_hash] = release, batch
                batch.left.add(request_hash)
            raise
        return True

    def _settle(self, note: Access | None, done: list[int]) -> None:
        """Note a release and take what is done from the disk, in one write if it can be."""
        if note is not None:
            try:
                self._records.put_accesses([note], done=done)
            except ConflictError:
                # By an attempt that ended before its answer was sent.
                _LOG.debug("release.noted_before")
            else:
                return
        if done:
            self._records.drop_intents(done)

    def drop(self, releases: Iterable[Release]) -> None:
        """Take away releases whose entry was refused."""
        for release in releases:
            self.finish(release.request_hash)

    def prune(self) -> None:
        """Take away what is too old to be asked for again."""
        oldest = self._clock() - REQUEST_LIFE_S
        with self._lock:
            old = [release for release in self._releases.values() if release.time < oldest]
        self.drop(old)

    def _take_up(self) -> None:
        """Know those batches that were kept although their write failed; the caller has the lock.

        Each is looked for once: nobody has known it, and so nobody has answered of it.
        """
        while self._unsure:
            unsure = self._unsure[-1]
            kept = [row.id for row in self._stored() if row.payload == unsure.payload]
            self._unsure.pop()
            for intent in kept:
                self._add(intent, unsure.entry, unsure.releases)

    def _stored(self) -> Iterator[Intent]:
        """Give all batches on disk, the oldest first; raises as `RecordStore.pending`."""
        after = 0
        while page := self._records.pending(_PAGE, after=after, kind=RELEASE_INTENT):
            yield from page
            after = page[-1].id

    def _add(self, intent: int, entry: AccessEntry, releases: Sequence[Release]) -> None:
        """Know a batch; the caller has the lock."""
        batch = _Batch(intent, entry, {row.request_hash for row in releases})
        for row in releases:
            self._releases[row.request_hash] = row
            self._batches[row.request_hash] = batch


def token_of(request_hash: bytes) -> str:
    """Name the token that a request is, see `medchain.store.records.RecordStore.use_once`."""
    return f"release {request_hash.hex()}"


def _write(entry: AccessEntry, releases: Sequence[Release]) -> bytes:
    """Write a batch."""
    rows: list[Json] = [
        {
            "following": row.following or 0,
            "grant": row.grant.hex(),
            "oversized": row.oversized,
            "patient": row.patient,
            "records": [[object_id.hex(), version] for object_id, version in row.records],
            "request_hash": row.request_hash.hex(),
            "time": row.time,
            "wraps": base64_text(row.wraps),
        }
        for row in releases
    ]
    return canonical(
        {
            "body": entry.body.to_json(),
            "object_id": entry.object_id.hex(),
            "refs": [[ref.key.hex(), ref.version] for ref in entry.refs],
            "releases": rows,
            "version": entry.version,
        }
    )


def _read(document: bytes) -> tuple[AccessEntry, list[Release]]:
    """Read a stored batch."""
    top = members(
        parse_canonical(document, max_bytes=_MAX_INTENT_BYTES),
        {"body": dict, "object_id": str, "refs": list, "releases": list, "version": int},
    )
    refs = tuple(Ref(key, version) for key, version in _pairs(top["refs"], HASH_BYTES))
    entry = AccessEntry(unhex(top["object_id"], ID_BYTES), _number(top["version"]), Body.from_json(top["body"]), refs)
    rows = top["releases"] if type(top["releases"]) is list else []
    return entry, [_read_release(row) for row in rows]


def _read_release(value: Json) -> Release:
    """Read a stored release."""
    text = dict.fromkeys(("grant", "patient", "request_hash", "wraps"), str)
    top = members(value, text | {"following": int, "oversized": int, "records": list, "time": int})
    return Release(
        request_hash=unhex(top["request_hash"], HASH_BYTES),
        time=_number(top["time"]),
        grant=unhex(top["grant"], HASH_BYTES),
        patient=str(top["patient"]),
        wraps=unbase64(top["wraps"]),
        records=tuple(_pairs(top["records"], ID_BYTES)),
        following=_number(top["following"]) or None,
        oversized=_number(top["oversized"]),
    )


def _pairs(value: Json, size_bytes: int) -> list[tuple[bytes, int]]:
    """Read [[hex, number], …]."""
    found = []
    for row in value if type(value) is list else []:
        if type(row) is not list or len(row) != 2:  # noqa: PLR2004  # pairs
            raise InputError("encoding.members", member="pairs")
        found.append((unhex(row[0], size_bytes), _number(row[1])))
    return found


def _number(value: Json) -> int:
    """Narrow a number."""
    if type(value) is not int:
        raise InputError("encoding.members", member="number")
    return value
