"""Submitting sealed transactions: from a body to an entry that is final.

The way: body → payload with draw → the drawn endorser, or the next one where it is a party or does not answer → bodies
to the parties → own signature → order → final. Keeps true: nothing is submitted that this node's own checks refuse; an
endorser that refuses is not shopped around; each rank that was passed over shows in the draw; what is returned as done
is final on this node's own ledger. Trusts its replica; what peers answer is verified.
Source: `docs/spec/endorsement.md`, `docs/spec/body.md` 6, `docs/spec/transaction.md`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Lock
from typing import Final, Protocol

from medchain.crypto.signing import ed25519_verify
from medchain.encoding import Json
from medchain.errors import ConflictError, InputError, MedchainError, UnavailableError, VerificationError
from medchain.ledger.kinds import access, attest, claim_content, consent, delegation, grant, mandate, recovery, subject
from medchain.ledger.kinds.emergency import SUPERVISED_FIELDS, SUPERVISOR
from medchain.ledger.kinds.registry import KINDS
from medchain.ledger.kinds.subject import RECIPIENT_FIELDS
from medchain.ledger.machine import DRAW_WINDOW, seed_heights
from medchain.ledger.members import LEDGER_KEY, Organisation
from medchain.ledger.object import ACTIVE, Body, StateRecord, map_key, stop_hash
from medchain.ledger.policy import draw_order, satisfied
from medchain.ledger.transaction import (
    CREATOR,
    ID_BYTES,
    INDEPENDENT,
    Change,
    Draw,
    ObjectRow,
    Ref,
    Signer,
    Transaction,
    pae,
    payload_bytes,
    seal,
)
from medchain.node.body_parties import part_of, parties, shares
from medchain.node.deliver import Deliveries
from medchain.node.endorse import BEHIND, BLOCK_LAG_S, DOUBLE, Identity, Judge, endorse_request, parse_endorsement
from medchain.node.log import Log
from medchain.node.peers import JSON, Limits, PeerClient
from medchain.node.sealed_body import MAX_DOCUMENT_BYTES, OpenedBody, encryption_key, seal_body
from medchain.ordering.receipt import Outcome, Refused

UNTIL_S: Final = 45
"""How far ahead ``until`` is set: below the 60 s that kinds allow, for clocks that differ."""

FINAL_TIMEOUT_S: Final = 30.0
"""How long to wait for a transaction to become final."""

BEHIND_S: Final = 15.0
"""How long an endorser that lacks blocks is asked again, before the next rank is."""

_RETRY_S: Final = 0.25
_WRITERS: Final = 8
_ENDORSE: Final = Limits(timeout_s=10.0, max_bytes=4096)
_PUSH: Final = Limits(timeout_s=5.0, max_bytes=4096)
_FETCH: Final = Limits(timeout_s=5.0, max_bytes=MAX_DOCUMENT_BYTES)
_CONFLICTS: Final = frozenset(
    {"stop.repeated", "transaction.ref", "transaction.ref_expired", "transaction.stopped", "transaction.version"}
)
_LOG: Final = Log("submit")


class OtherMembers(Protocol):
    """The way to other organisations' endorsers and bodies."""

    def endorse(self, org_id: str, document: bytes) -> bytes:
        """Ask for an endorsement; raises `UnavailableError`, or the error of the refusal."""
        ...

    def push(self, org_id: str, document: bytes) -> None:
        """Deliver bodies; raises `UnavailableError`, or the error of the refusal."""
        ...

    def fetch(self, org_id: str, document: bytes) -> bytes:
        """Ask for a body; raises `UnavailableError`, or the error of the refusal."""
        ...


class HttpMembers:
    """The same over HTTP."""

    __slots__ = ("_peers",)

    def __init__(self, peers: PeerClient) -> None:
        """Use the node's calls."""
        self._peers = peers

    def endorse(self, org_id: str, document: bytes) -> bytes:
        """Ask for an endorsement."""
        return self._peers.post(org_id, "/endorse", document, JSON, _ENDORSE).body

    def push(self, org_id: str, document: bytes) -> None:
        """Deliver bodies."""
        self._peers.post(org_id, "/bodies", document, JSON, _PUSH)

    def fetch(self, org_id: str, document: bytes) -> bytes:
        """Ask for a body."""
        return self._peers.post(org_id, "/bodies", document, JSON, _FETCH).body


@dataclass(frozen=True, slots=True)
class Draft:
    """The next version of an object with a sealed body.

    Attributes:
        kind: name of its kind.
        object_id: 16 bytes.
        body: whole, with its evidence.
        status: status that it gets.
        version: version that it must get; None for whichever is next.
        refs: what it must stand on, sorted; None for the heads of what its content names.
    """

    kind: str
    object_id: bytes
    body: Body
    status: str = ACTIVE
    version: int | None = None
    refs: tuple[Ref, ...] | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """A transaction that is final.

    Attributes:
        key: map key of its object, 32 bytes.
        record: the object's state record.
        final_size: size of the final tree that covers it.
        endorser: org_id of who endorsed it just now, or None.
        rank: its place in the drawn order, or None.
    """

    key: bytes
    record: StateRecord
    final_size: int
    endorser: str | None = None
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A payload with all signatures but the own one."""

    payload: bytes
    signatures: tuple[tuple[str, bytes], ...] = ()
    endorser: str | None = None
    rank: int | None = None


class Submitter:
    """Submits one organisation's sealed transactions. Threads may share it."""

    def __init__(
        self,
        identity: Identity,
        judge: Judge,
        deliveries: Deliveries,
        peers: OtherMembers,
        submit: Callable[[Sequence[bytes]], list[Outcome]],
    ) -> None:
        """Prepare.

        Args:
            identity: organisation and keys.
            judge: this node's own judgement.
            deliveries: brings bodies to their parties.
            peers: the way to others.
            submit: `medchain.ordering.driver.OrderingDriver.submit`.
        """
        self._identity = identity
        self._judge = judge
        self._deliveries = deliveries
        self._peers = peers
        self._submit = submit
        self._lock = Lock()
        self._numbers: dict[int, int] = {}
        self._turns = Condition()
        self._under_way: set[bytes] = set()
        self._writers = ThreadPoolExecutor(_WRITERS, "submit-keep")

    def submit(
        self, draft: Draft, *, timeout_s: float = FINAL_TIMEOUT_S, keep: Callable[[], None] | None = None
    ) -> Submitted:
        """Bring an object's next version to the ledger.

        Args:
            draft: what it becomes. One that is on the ledger already is not submitted again.
            timeout_s: how long to wait for it to be final.
            keep: returns when what else belongs to it is durable. Called in another thread, beside the delivery of
                the body; nothing is ordered before it has returned.

        Returns:
            What is final.

        Raises:
            InputError: for a malformed content.
            VerificationError: what this node's own check or the endorser's refuses, with its code.
            ConflictError: the state has moved on: version, ref or stop.
            UnavailableError: ``submit.no_endorser`` if none drawn answers, ``submit.busy`` while another version of the
                object is under way, ``submit.promised`` while an attempt of before may still be ordered,
                ``submit.not_final`` if the quorum does not answer in time (it may become final later), those of
                ordering.
        """
        key = map_key(draft.kind, self._identity.org_id, draft.object_id)
        with self._turn(key, timeout_s):
            return self._submitted(key, draft, timeout_s, keep)

    @contextmanager
    def _turn(self, key: bytes, timeout_s: float) -> Iterator[None]:
        """Wait until no other version of the object is under way: of two at once one is refused."""
        with self._turns:
            if not self._turns.wait_for(lambda: key not in self._under_way, timeout_s):
                raise UnavailableError("submit.busy", retry_after_s=5)
            self._under_way.add(key)
        try:
            yield
        finally:
            with self._turns:
                self._under_way.discard(key)
                self._turns.notify_all()

    def _submitted(self, key: bytes, draft: Draft, timeout_s: float, keep: Callable[[], None] | None) -> Submitted:
        """Submit, while no other version of the object is under way."""
        landed = self._landed(key, draft)
        if landed is not None:
            if keep is not None:
                keep()
            return Submitted(key, *self.wait_final(key, landed, timeout_s))
        change = self._change(draft)
        version = change.objects[0].version
        prepared = self._endorsed(draft, change, key) if self._needs_independent(change) else self._alone(draft, change)
        writes = [lambda: self._judge.shelf.keep(key, version, draft.body), *([] if keep is None else [keep])]
        self._keep_and_deliver(writes, lambda: self._deliver_all(draft, key, version, prepared.payload))
        own = (self._identity.key_id, self._identity.signer.sign(pae(prepared.payload)))
        self._order(seal(prepared.payload, [own, *prepared.signatures]).leaf, min(timeout_s, UNTIL_S))
        record, final_size = self.wait_final(key, version, timeout_s)
        if record.body_hash != draft.body.body_hash:
            raise ConflictError("submit.superseded", version=version)
        return Submitted(key, record, final_size, prepared.endorser, prepared.rank)

    def _keep_and_deliver(self, writes: Sequence[Callable[[], None]], deliver: Callable[[], None]) -> None:
        """Write while others write: each waits for a disk of its own. Returns when all are done, or raises."""
        under_way = [self._writers.submit(write) for write in writes]
        try:
            deliver()
        finally:
            wait(under_way)
        for written in under_way:
            written.result()

    def wait_final(self, key: bytes, version: int, timeout_s: float) -> tuple[StateRecord, int]:
        """Wait until a version of an object is final.

        Args:
            key: map key of the object.
            version: its version, or a later one.
            timeout_s: how long.

        Returns:
            The state record of that version, and the size of the final tree.

        Raises:
            UnavailableError: ``submit.not_final``.
        """
        store = self._judge.replica.store

        def look() -> tuple[StateRecord, int] | None:
            head, final = store.record(key), store.final()
            if head is None or head.version < version or final is None:
                return None
            record = head if head.version == version else store.version(key, version)
            return (record, final.size) if record is not None and record.since < final.size else None

        found = store.until(look, timeout_s)
        if found is None:
            raise UnavailableError("submit.not_final", version=version)
        return found

    def _landed(self, key: bytes, draft: Draft) -> int | None:
        """Return the version at which the ledger holds this very draft: its salts are random, so no other has its hash.

        Whoever does not know what became of an attempt may so try again, and the object gets no second version by it.
        """
        store = self._judge.replica.store
        head = store.record(key)
        if head is None or (draft.version is not None and head.version < draft.version):
            # The usual case, and cheap: a chain of accesses has very many versions.
            return None
        one = None if draft.version is None else store.version(key, draft.version)
        for record in store.history(key) if draft.version is None else filter(None, (one,)):
            if (record.body_hash, record.status) == (draft.body.body_hash, draft.status):
                return record.version
        return None

    def _change(self, draft: Draft) -> Change:
        """Derive what the ledger shows from the content."""
        key = map_key(draft.kind, self._identity.org_id, draft.object_id)
        head = self._judge.replica.store.record(key)
        row = ObjectRow(draft.object_id, 1 if head is None else head.version + 1, draft.body.body_hash)
        kind = KINDS.get(draft.kind)
        if kind is None or kind.public_body or kind.batch:
            raise InputError("submit.kind", kind=draft.kind[:64])
        content, stands = draft.body.content, draft.status in kind.refs_in
        expires, stop = _terms(draft.kind, content) if stands else (None, None)
        refs = draft.refs if draft.refs is not None else self._refs(draft.kind, content, row.version) if stands else ()
        if draft.version is not None and draft.version != row.version:
            raise ConflictError("transaction.version", version=draft.version)
        return Change(draft.kind, draft.status, (row,), refs, stop, expires)

    def _refs(self, kind: str, content: Mapping[str, Json], version: int) -> tuple[Ref, ...]:
        """Return what the object stands on, at its heads."""
        keys: tuple[bytes, ...] = ()
        if kind == "grant":
            keys = (grant.read(content).consent,)
        elif kind == "subject" and (carried_out := subject.read(content).recovery) is not None:
            keys = (carried_out,)
        elif kind == "access":
            rows = access.read(content)
            keys = (rows.grant, *rows.consents)
        elif kind == "claim" and version == 1 and (replaced := claim_content.read(content).bill.replaces) is not None:
            keys = (replaced,)
        heads = [(key, self._judge.replica.store.record(key)) for key in keys]
        return tuple(sorted(Ref(key, 1 if head is None else head.version) for key, head in heads))

    def _needs_independent(self, change: Change) -> bool:
        """Tell whether the policy wants more than the creator."""
        snapshot = self._judge.replica.members
        rule = snapshot.policy.rules.get(f"{change.kind}/{change.status}")
        if rule is None:
            raise VerificationError("transaction.policy_missing", rule=f"{change.kind}/{change.status}")
        own = Signer(self._identity.key_id, CREATOR)
        return not satisfied(rule, (own,), snapshot, self._identity.org_id)

    def _alone(self, draft: Draft, change: Change) -> _Prepared:
        """Make a payload that nobody else signs."""
        own = (Signer(self._identity.key_id, CREATOR),)
        transaction = self._transaction(change, own, None)
        key = map_key(draft.kind, self._identity.org_id, draft.object_id)
        self._judge.check(transaction, {(key, change.objects[0].version): draft.body}, CREATOR)
        return _Prepared(payload_bytes(transaction))

    def _endorsed(self, draft: Draft, change: Change, key: bytes) -> _Prepared:
        """Make a payload, and have the drawn organisation endorse it."""
        number = self._take_number()
        try:
            for rank, endorser in self._candidates(draft, number):
                ledger_key = endorser.key(LEDGER_KEY)
                rows = (Signer(self._identity.key_id, CREATOR), Signer(ledger_key.id, INDEPENDENT))
                draw = Draw(self._seed_height(), number, rank)
                transaction = self._transaction(change, tuple(sorted(rows)), draw)
                version = change.objects[0].version
                self._judge.check(transaction, {(key, version): draft.body}, CREATOR)
                payload = payload_bytes(transaction)
                try:
                    answer = self._ask(endorser.org_id, self._request(draft, key, version, payload, endorser))
                except UnavailableError as error:
                    # Down, not unwilling: only then does the next one sign, and the rank shows it.
                    _LOG.warning("submit.endorser_down", peer=endorser.org_id, rank=rank, code=error.code)
                    continue
                except VerificationError as error:
                    if error.code != DOUBLE:
                        raise
                    # To an attempt of our own, of which nobody knows what became: a kill lay between. No refusal.
                    raise UnavailableError("submit.promised", retry_after_s=UNTIL_S + BLOCK_LAG_S) from error
                signature = parse_endorsement(answer, ledger_key.id)
                if not ed25519_verify(ledger_key.public, pae(payload), signature):
                    raise VerificationError("endorse.signature", peer=endorser.org_id)
                return _Prepared(payload, ((ledger_key.id, signature),), endorser.org_id, rank)
        except MedchainError:
            self._give_back(number)
            raise
        self._give_back(number)
        raise UnavailableError("submit.no_endorser", retry_after_s=5)

    def _ask(self, org_id: str, request: bytes) -> bytes:
        """Ask an endorser; one that lacks blocks is neither down nor unwilling, and is asked again for a while."""
        deadline = time.monotonic() + BEHIND_S
        while True:
            try:
                return self._peers.endorse(org_id, request)
            except UnavailableError as error:
                if error.code != BEHIND or time.monotonic() + _RETRY_S > deadline:
                    raise
                _LOG.info("submit.endorser_behind", peer=org_id)
                time.sleep(_RETRY_S)

    def _candidates(self, draft: Draft, number: int) -> Iterator[tuple[int, Organisation]]:
        """List the drawn order without those that are parties or under a party's control."""
        replica = self._judge.replica
        snapshot = replica.members
        height = self._seed_height()
        seed = replica.store.seed(height) if height else replica.ledger
        involved = {*parties(draft.kind, draft.body.content, self._judge.shelf), self._identity.org_id}
        controls = {item.control for item in snapshot.active if item.org_id in involved}
        order = draw_order(snapshot, self._identity.org_id, number, seed or b"")
        for rank, org_id in enumerate(order):
            organisation = snapshot.organisations[org_id]
            if organisation.control not in controls:
                yield rank, organisation

    def _request(self, draft: Draft, key: bytes, version: int, payload: bytes, endorser: Organisation) -> bytes:
        """Seal to the endorser what it must see."""
        shelf = self._judge.shelf
        opened = [OpenedBody(key, version, draft.body)]
        for other, part in shares(draft.kind, draft.body.content, shelf):
            found = shelf.head(other) if other != key else None
            if found is not None:
                opened.append(OpenedBody(other, found[0].version, part(found[1])))
        previous = shelf.head(key)
        if previous is not None:
            opened.append(OpenedBody(key, previous[0].version, previous[1]))
        receiver = encryption_key(self._judge.replica.members, endorser.org_id)
        sealed = [seal_body(receiver, self._judge.replica.ledger, item) for item in opened]
        return endorse_request(payload, sealed, self._judge.replica.height)

    def _deliver_all(self, draft: Draft, key: bytes, version: int, payload: bytes) -> None:
        """Push the body to its parties; what cannot be delivered waits in the outbox."""
        others = parties(draft.kind, draft.body.content, self._judge.shelf) - {self._identity.org_id}
        for org_id in sorted(others):
            part = part_of(draft.kind, draft.body, org_id)
            if part is not None:
                self._deliveries.offer(org_id, payload, [OpenedBody(key, version, part), *self._beside(draft, org_id)])
        if draft.kind == "emergency":
            self._offer_part(
                self._regulators() - others, payload, OpenedBody(key, version, draft.body), SUPERVISED_FIELDS
            )
        if draft.kind == "subject" and draft.status == ACTIVE:
            self._offer_delegations(draft, payload, others)
            whole = OpenedBody(key, version, draft.body)
            self._offer_part(self._recipients(key) - others, payload, whole, RECIPIENT_FIELDS)

    def _offer_delegations(self, draft: Draft, payload: bytes, others: Collection[str]) -> None:
        """Push to whom the subject is linked now the delegations that it names: whoever holds one can stop it."""
        changed = subject.read(draft.body.content)
        if changed.operation is not subject.Operation.LINK:
            return
        heads = [self._judge.shelf.head(row.delegation) for row in changed.capacity.delegates if row.delegation]
        for record, body in (head for head in heads if head is not None and head[0].status == ACTIVE):
            for org_id in sorted(others):
                self._deliveries.offer(org_id, payload, [OpenedBody(record.key, record.version, body)])

    def _offer_part(self, org_ids: set[str], payload: bytes, whole: OpenedBody, names: Collection[str]) -> None:
        """Push the fields that these organisations are shown."""
        part = OpenedBody(whole.object, whole.version, whole.body.redact(names))
        for org_id in sorted(org_ids - {self._identity.org_id}):
            self._deliveries.offer(org_id, payload, [part])

    def _recipients(self, subject: bytes) -> set[str]:
        """Name who receives under the consents of a subject: a withdrawal may be signed with the passkey just added."""
        heads = [self._judge.shelf.head(key) for key in self._judge.shelf.index.of(subject)]
        active = [head[1].content for head in heads if head is not None and head[0].status == ACTIVE]
        return {recipient for content in active if isinstance(recipient := content.get("recipient"), str)}

    def _regulators(self) -> set[str]:
        """Return who is told of every emergency."""
        return {item.org_id for item in self._judge.replica.members.active if item.role == SUPERVISOR}

    def _beside(self, draft: Draft, org_id: str) -> Iterable[OpenedBody]:
        """Give who judges a consent what it needs of the subjects: passkeys, not where the patient is treated.

        A custodian holds its own patient's; of who signs for the patient it may know nothing. So it is with a
        delegation, which who acts gives up at any of them.
        """
        keys: set[bytes] = set()
        if draft.kind == "consent":
            content = consent.read(draft.body.content)
            own = {content.patient} if org_id in content.custodians else set()
            keys = {*content.signers, content.patient} - own
        elif draft.kind == "delegation":
            keys = {delegation.read(draft.body.content).delegate}
        for key in sorted(keys):
            found = self._judge.shelf.head(key)
            if found is not None:
                yield OpenedBody(key, found[0].version, found[1].redact(RECIPIENT_FIELDS))

    def _order(self, leaf: bytes, timeout_s: float) -> None:
        """Have it ordered; an answer that was lost is asked for again, since the same envelope counts once."""
        outcome = self._outcome(leaf, time.monotonic() + timeout_s)
        if isinstance(outcome, Refused):
            kind = ConflictError if outcome.code in _CONFLICTS else VerificationError
            raise kind(outcome.code)

    def _outcome(self, leaf: bytes, deadline: float) -> Outcome:
        """Submit until there is an answer; raises `UnavailableError` after the deadline."""
        while True:
            try:
                return self._submit([leaf])[0]
            except UnavailableError as error:
                if time.monotonic() + _RETRY_S > deadline:
                    raise
                _LOG.info("submit.again", code=error.code)
                time.sleep(_RETRY_S)

    def _transaction(self, change: Change, signers: tuple[Signer, ...], draw: Draw | None) -> Transaction:
        """Put a payload together."""
        replica = self._judge.replica
        return Transaction(
            creator=self._identity.org_id,
            changes=(change,),
            bodies=(),
            signers=signers,
            draw=draw,
            ledger=replica.ledger,
            nonce=secrets.token_bytes(ID_BYTES),
            until=self._judge.clock() + UNTIL_S,
            protocol=replica.members.protocol.protocol,
        )

    def _seed_height(self) -> int:
        """Return the newest height that may seed a draw in the next block."""
        return seed_heights(self._judge.replica.height + 1)[0]

    def _take_number(self) -> int:
        """Take a draw number that is neither used nor under way."""
        draws = self._judge.replica.store.draws(self._identity.org_id)
        now = self._judge.clock()
        with self._lock:
            self._numbers = {number: end for number, end in self._numbers.items() if end >= now}
            for number in range(draws.number + 1, draws.number + 1 + DRAW_WINDOW):
                if draws.is_open(number) and number not in self._numbers:
                    self._numbers[number] = now + UNTIL_S
                    return number
        raise UnavailableError("submit.draws_busy", retry_after_s=UNTIL_S)

    def _give_back(self, number: int) -> None:
        """Give back a number that no transaction carries."""
        with self._lock:
            self._numbers.pop(number, None)


def _terms(kind: str, content: Mapping[str, Json]) -> tuple[int | None, bytes | None]:
    """Return last day and stop hash of a content."""
    match kind:
        case "consent":
            allowed = consent.read(content)
            return allowed.period.last_day, stop_hash(allowed.stop)
        case "recovery":
            planned = recovery.read(content)
            return planned.last_day, stop_hash(planned.stop)
        case "delegation":
            named = delegation.read(content)
            return named.last_day, stop_hash(named.stop)
        case "grant" | "mandate":
            given = grant.read(content) if kind == "grant" else mandate.read(content)
            return given.period.last_day, stop_hash(given.stop)
        case "attest" | "claim":
            told = attest.read(content) if kind == "attest" else claim_content.read(content)
            return told.last_day, None
        case _:
            return None, None
