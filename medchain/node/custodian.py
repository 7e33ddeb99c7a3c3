"""The custodian's side of a release: judge a signed request, put the access on the ledger, then hand out records.

The order is the whole point: request verified → grant and consent in force on final state, and not stopped as far as
this node has heard → decision → records chosen → access entry ordered and final → asker and stops looked at once more →
records.
Keeps true: no byte of a record leaves before its access entry is final; a request is answered once; a stop binds as
soon as it is heard; who may not gets the answer of what does not exist, and the reason stays here. Requests that come
while an entry of their grant is under way go into the next one together. Trusts this node's stores and replica, the
decision that the roof passes in, and the server for which organisation calls.
Source: `docs/spec/release.md`, `docs/spec/consent.md` 9, 10.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final

from medchain.encoding import Json, canonical
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    MedchainError,
    NotFoundError,
    UnavailableError,
)
from medchain.ledger.citation import Citation, Posted, parse_posted
from medchain.ledger.kinds import grant as grants
from medchain.ledger.kinds import permission
from medchain.ledger.kinds.access import Access as AccessRow
from medchain.ledger.kinds.access import Accesses
from medchain.ledger.members import Key
from medchain.ledger.object import StateRecord, build_body
from medchain.ledger.request import ReleaseRequest, access_id, access_key
from medchain.ledger.signed_request import REQUEST_LIFE_S, SignedRequest
from medchain.ledger.transaction import ID_BYTES, Ref
from medchain.node.citing import Citing
from medchain.node.log import Log
from medchain.node.pending import AccessEntry, PendingReleases, Release, token_of
from medchain.node.refusing import note_refusal
from medchain.node.release import Answer, ClaimAnswer, access_entry_id, wraps_hash
from medchain.node.release_ports import CustodianParts, Disclosure, Refused
from medchain.node.requests import listed_keys, verified
from medchain.node.standing import TOO_LARGE, Choice, Holdings, Standing, root_of, versions_of
from medchain.store.accesses import Access

GIVEN: Final = "given"
"""Direction of a noted access: a release by this node."""

MAX_BATCH: Final = 100
"""Most requests of one version of an access object."""

WAIT_S: Final = 30.0
"""How long a request waits for its access entry."""

_NOTHING: Final = "release.nothing"
_LOG: Final = Log("release")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What came, from whom, and what it asks for, once it is known to be theirs."""

    document: bytes
    peer: str
    request: ReleaseRequest | None = None


@dataclass(slots=True)
class _Waiting:
    """A request that waits for its entry."""

    signed: SignedRequest[ReleaseRequest]
    citation: Citation | None
    key: Key
    release: Release | None = None
    error: MedchainError | None = None
    is_done: bool = False


@dataclass(slots=True)
class _Chain:
    """The requests under one grant: one entry at a time, and the next takes all that wait."""

    turn: Lock = field(default_factory=Lock)
    waiting: list[_Waiting] = field(default_factory=list)
    users: int = 0


class Custodian:
    """Releases records; fills `medchain.node.services.ReleaseService`. Threads may share it."""

    __slots__ = ("_asked", "_chains", "_citing", "_holdings", "_lock", "_parts", "_pending")

    def __init__(self, parts: CustodianParts) -> None:
        """Take up the releases whose answers were under way when the node ended.

        Args:
            parts: what it is made from.

        Raises:
            VerificationError: ``store.corrupt``.
        """
        self._parts = parts
        self._holdings = Holdings(parts)
        self._citing = Citing(parts, self._holdings)
        self._lock = Lock()
        self._asked: set[bytes] = set()
        self._chains: dict[bytes, _Chain] = {}
        self._pending = PendingReleases(parts.records, parts.clock)

    def release(self, document: bytes, peer: str) -> bytes:
        """Answer a request for records, after its access entry is final.

        Args:
            document: from `medchain.ledger.citation.Posted.encode`.
            peer: org_id of who calls.

        Returns:
            `medchain.node.release.Answer.encode`; of a request for a claim `medchain.node.release.ClaimAnswer.encode`.

        Raises:
            InputError: ``encoding.*``, ``content.*``, ``release.malformed``, ``release.citation``.
            AccessDeniedError: ``release.recipient``, ``.custodian``, ``.ledger``, ``.key``, ``.signature``, ``.time``:
                what is wrong with the request itself.
            ConflictError: ``release.replayed``.
            NotFoundError: ``release.nothing`` for whatever may not be released or does not exist, all alike.
            UnavailableError: no quorum or no orderer; the same request may be sent again while it is young.
        """
        asked = _Asked(document, peer)
        try:
            posted = parse_posted(document)
            signed = posted.signed
            key = verified(signed, peer, self._parts)
        except (InputError, AccessDeniedError) as error:
            self._refuse(asked, "", error.code)
            raise
        asked = replace(asked, request=signed.request)
        with self._once(signed.request.hash) as is_first:
            release = self._entered(posted, key, asked) if is_first else self._again(signed, asked)
        return self._hand_out(release, signed, asked)

    @contextmanager
    def _once(self, request_hash: bytes) -> Iterator[bool]:
        """Tell whether a request is new; a second time it is only good for the answer that it never got.

        It is used up on disk in the write that keeps its entry, or with its refusal; until then it is known here.
        """
        with self._lock:
            is_first = request_hash not in self._asked
            self._asked.add(request_hash)
        try:
            yield is_first and not self._parts.records.is_used(token_of(request_hash))
        finally:
            if is_first:
                with self._lock:
                    self._asked.discard(request_hash)

    def _again(self, signed: SignedRequest[ReleaseRequest], asked: _Asked) -> Release:
        """Find the release of a request that was entered and never answered; brings its entry to the ledger if needed.

        The node may have ended before its entry was ordered: the same entry is tried again, never another one.
        """
        found = self._pending.find(signed.request.hash)
        if found is None:
            self._refuse(asked, "", "release.replayed")
            raise ConflictError("release.replayed")
        release, entry = found
        try:
            with self._turn(release.grant):
                self._place(release.grant, entry)
        except UnavailableError:
            raise
        except MedchainError as error:
            self._pending.finish(release.request_hash)
            self._refuse(asked, release.patient, error.code)
            raise NotFoundError(_NOTHING) from None
        return release

    def _entered(self, posted: Posted, key: Key, asked: _Asked) -> Release:
        """Have an access entry made for a request, together with others under the same grant."""
        signed = posted.signed
        item = _Waiting(signed, posted.citation, key)
        grant = signed.request.grant
        with self._turn(grant, item) as chain:
            if not item.is_done:
                with self._lock:
                    # Ours first: who has the turn makes the entry that it waits for.
                    chain.waiting.remove(item)
                    batch, chain.waiting = [item, *chain.waiting[: MAX_BATCH - 1]], chain.waiting[MAX_BATCH - 1 :]
                self._enter(grant, batch)
        if item.release is not None:
            return item.release
        if item.error is None or isinstance(item.error, UnavailableError):
            raise item.error or UnavailableError("release.busy")
        until = signed.request.time + REQUEST_LIFE_S
        self._parts.records.use_once(token_of(signed.request.hash), until, now=self._parts.clock())
        self._refuse(asked, self._patient_of(grant), item.error.code)
        if item.error.code == TOO_LARGE:
            # Only who may have the records is told that they are too large.
            raise item.error
        raise NotFoundError(_NOTHING)

    @contextmanager
    def _turn(self, grant: bytes, item: _Waiting | None = None) -> Iterator[_Chain]:
        """Wait for the turn to make an entry under a grant; raises `UnavailableError` ``release.busy``."""
        with self._lock:
            chain = self._chains.setdefault(grant, _Chain())
            chain.users += 1
            if item is not None:
                chain.waiting.append(item)
        try:
            if not chain.turn.acquire(timeout=WAIT_S):
                raise UnavailableError("release.busy")
            try:
                yield chain
            finally:
                chain.turn.release()
        finally:
            with self._lock:
                chain.users -= 1
                if item is not None and item in chain.waiting:
                    chain.waiting.remove(item)
                if not chain.users:
                    self._chains.pop(grant, None)

    def _enter(self, grant: bytes, batch: Sequence[_Waiting]) -> None:
        """Make one access entry for a batch and wait until it is final; each request gets its release or its error."""
        try:
            for item, release in self._made(grant, batch):
                item.release = release
        except MedchainError as error:
            for item in batch:
                item.error = item.error or error
        finally:
            for item in batch:
                item.is_done = True

    def _made(self, grant: bytes, batch: Sequence[_Waiting]) -> list[tuple[_Waiting, Release]]:
        """Make the entry; what one request lacks does not hold up the others."""
        self._pending.prune()
        key = access_key(grant, self._parts.org_id)
        head = self._parts.ledger.record(key)
        version = 1 if head is None else head.version + 1
        standing = self._holdings.standing(grant)
        prepared: list[tuple[_Waiting, AccessRow, Release]] = []
        for item in batch:
            try:
                prepared.append((item, *self._prepare(item, standing, access_entry_id(key, version))))
            except MedchainError as error:
                item.error = error
        if not prepared:
            return []
        entry = self._entry(grant, version, standing, [(item.signed, row) for item, row, _ in prepared])
        releases = [release for _, _, release in prepared]
        try:
            self._place(grant, entry, lambda: self._keep(entry, releases))
        except UnavailableError:
            raise
        except MedchainError:
            self._pending.drop(releases)
            raise
        return [(item, release) for item, _, release in prepared]

    def _keep(self, entry: AccessEntry, releases: Sequence[Release]) -> None:
        """Have releases on disk, which uses their requests up; once, however often their entry is placed."""
        if self._pending.find(releases[0].request_hash) is None:
            self._pending.keep(entry, releases)

    def _prepare(self, item: _Waiting, standing: Standing, entry_id: bytes) -> tuple[AccessRow, Release]:
        """Decide one request, choose its records and wrap their data keys."""
        request, parts = item.signed.request, self._parts
        if (request.recipient, request.purpose) != (standing.grant.recipient, standing.grant.purpose):
            raise AccessDeniedError("release.grant")
        patient = self._holdings.patient_of(standing.permission)
        if patient is None:
            raise AccessDeniedError("release.patient")
        if item.citation is None:
            choice = self._holdings.choose(request, standing, patient)
            wraps = self._holdings.wrapped(choice, request.hash, entry_id, item.key)
        else:
            sealed = self._citing.sealed(request, item.citation, standing, patient, (entry_id, item.key))
            choice, wraps = Choice(sealed.records, None, 0), sealed.document
        chosen, now = choice.records, parts.clock()
        row = AccessRow(request.hash, len(chosen), root_of(chosen), wraps_hash(wraps), request.purpose, now)
        records = versions_of(chosen)
        release = Release(
            request.hash, request.time, request.grant, patient, wraps, records, choice.following, choice.oversized
        )
        return row, release

    def _entry(
        self,
        grant: bytes,
        version: int,
        standing: Standing,
        rows: Sequence[tuple[SignedRequest[ReleaseRequest], AccessRow]],
    ) -> AccessEntry:
        """Write the access object's next version; the signed requests are its evidence."""
        content = Accesses(grant, (standing.grant.consent,), tuple(row for _, row in rows)).to_content()
        evidence: Json = {"requests": [signed.to_json() for signed, _ in rows]}
        body = build_body("access", content, evidence, self._parts.random)
        return AccessEntry(access_id(grant, self._parts.org_id), version, body, standing.refs)

    def _place(self, grant: bytes, entry: AccessEntry, keep: Callable[[], None] = lambda: None) -> None:
        """Bring an entry to the ledger, once it is kept what is to be released under it."""
        try:
            self._parts.access.place(entry, keep)
        except ConflictError:
            head = self._parts.ledger.record(access_key(grant, self._parts.org_id))
            if head is None or head.version < entry.version:
                raise
            # An attempt of which nobody knew what became may be what stands in its way: then it is only waited for.
            self._parts.access.place(entry, keep)

    def _hand_out(self, release: Release, signed: SignedRequest[ReleaseRequest], asked: _Asked) -> bytes:
        """Write the answer, if its entry is final and neither permission nor member was stopped since; once."""
        found = self._pending.find(release.request_hash)
        if found is None:
            self._refuse(asked, release.patient, "release.replayed")
            raise ConflictError("release.replayed")
        entry = found[1]
        record = self._listed(release.grant, entry)
        if record is None:
            raise UnavailableError("release.not_final")
        try:
            # Suspended, or its key taken from the list, while the entry was on its way: it gets nothing more.
            listed_keys(signed, self._parts.ledger.members)
            standing = self._holdings.standing(release.grant)
            if standing.refs != entry.refs:
                raise AccessDeniedError("release.grant")
            self._holdings.check_passing(signed.request, standing, release.patient, release.records)
            answer = self._answer(signed.request, release, entry.version)
            numbers = self._holdings.numbers(release.records)
        except UnavailableError:
            raise
        except MedchainError as error:
            self._pending.finish(release.request_hash)
            self._refuse(asked, release.patient, error.code)
            raise NotFoundError(_NOTHING) from None
        # Before what can be sent is taken away: an event too many is no harm, a release without one is.
        peer = self._parts.ledger.members.organisations[signed.request.recipient]
        access = Ref(record.key, record.version)
        self._parts.released(Disclosure(signed.request, access, entry.refs, peer), numbers)
        if not self._pending.finish(release.request_hash, self._note_of(record, release, signed.request)):
            raise ConflictError("release.replayed")
        _LOG.info("release.given", records=len(release.records), version=entry.version)
        return answer.encode()

    def _answer(self, request: ReleaseRequest, release: Release, version: int) -> Answer | ClaimAnswer:
        """Write the answer, if what is in it may be shown still; raises as `Holdings.there`."""
        if request.claim is not None:
            self._holdings.there(release.records)
            return ClaimAnswer(release.request_hash, version, release.wraps)
        records = self._holdings.sealed(release.records)
        return Answer(release.request_hash, version, release.wraps, records, release.following, release.oversized)

    def _listed(self, grant: bytes, entry: AccessEntry) -> StateRecord | None:
        """Return the state record of an entry, if it is final and holds this body."""
        final, key = self._holdings.final_size(), access_key(grant, self._parts.org_id)
        record = self._parts.ledger.version(key, entry.version)
        is_listed = record is not None and record.since < final and record.body_hash == entry.body.body_hash
        return record if is_listed else None

    def _note_of(self, record: StateRecord, release: Release, request: ReleaseRequest) -> Access:
        """Word that a release was given."""
        claim = request.claim
        detail = canonical(
            {
                **({} if claim is None else {"claim": claim.digest.hex()}),
                "access": [record.key.hex(), record.version],
                "grant": release.grant.hex(),
                "recipient": request.recipient,
                "records": [[object_id.hex(), version] for object_id, version in release.records],
                "request_hash": release.request_hash.hex(),
            }
        )
        name, now = release.request_hash[:ID_BYTES], self._parts.clock()
        return Access(name, release.patient, GIVEN, now, detail, record.since)

    def _refuse(self, asked: _Asked, patient: str, reason: str) -> None:
        """Note a refusal with its reason."""
        refused, request = Refused(asked.document, asked.peer, patient, reason), asked.request
        if request is not None:
            refused = replace(refused, purpose=request.purpose, types=request.resource_types)
        note_refusal(self._parts, refused)

    def _patient_of(self, grant_key: bytes) -> str:
        """Return the token of the patient whom a grant is about, empty if that cannot be told."""
        try:
            found = self._parts.bodies.head(grant_key)
            key = None if found is None else grants.read(found[1].content).consent
            # Of one that was withdrawn the head has the withdrawal's body, which names who signed and not for whom.
            given = None if key is None else self._parts.bodies.terms(key)
            told = None if given is None else permission.read(given.kind, given.content)
        except MedchainError:
            return ""
        return "" if told is None else self._holdings.patient_of(told) or ""
