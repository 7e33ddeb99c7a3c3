"""What this node's own check says of bodies that it was given, once the ledger has their transactions.

Whoever made an object judged its body, and at most one endorser did; who reads it later believes neither. Keeps true:
each body of another organisation is judged by its kind's `check` on the ledger as it stood right before the version
was accepted (members, heads, previous version, time), never as it stands today, or, where its kind says so, as an
honest endorser may have seen it; what breaks a rule is shown to nobody, stays as evidence, and raises an alarm that
names its creator; a body of which something is not here breaks no rule, and permits nothing. A body is judged once as
long as the node runs. Trusts this node's ledger, and what it made itself.
Source: `docs/spec/body.md` 10.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import product
from threading import Lock
from typing import Final, NamedTuple

from medchain.encoding import Json, canonical
from medchain.errors import UnavailableError, VerificationError
from medchain.ledger.kind import HOLDER, CheckContext, Place
from medchain.ledger.kinds.registry import KINDS, check_body, check_form
from medchain.ledger.members import Members
from medchain.ledger.object import Body, StateRecord
from medchain.ledger.transaction import Change, Transaction, parse_envelope
from medchain.node.bodies import Verdict, shown_size
from medchain.node.endorse import BLOCK_LAG_S, MAX_UNTIL_S, Judge
from medchain.node.log import Log
from medchain.store.cache import BoundedCache
from medchain.store.records import RecordStore

REFUSED: Final = "body.refused"
"""Alarm: a member put an object on the ledger whose body breaks a rule."""

BROKEN_BEFORE: Final = "body.previous"
"""Code of a version that follows one whose body breaks a rule."""

NOT_HERE: Final = "relying.body"
"""Code of a body that is not here, or not yet: it may still come."""

MAX_AT_ONCE: Final = 256
"""Bodies that are judged in one turn, whoever asks for them."""

MAX_VIEWS: Final = 64
"""Places of the ledger at which one version is judged at most, however often what it stands on was changed."""

MAX_WAITING: Final = 50_000
"""Bodies that wait for their transactions; those beyond are judged when somebody asks for them."""

MAX_ALARMS_EACH: Final = 50
"""Open alarms of one code that name one member: as many as may lie of 49 leave room for those that name others."""

_CACHE_BYTES: Final = 8 << 20
_COST: Final = 400
_EVER: Final = 1 << 60
_LOG: Final = Log("verdicts")


class _Judged(NamedTuple):
    """A verdict, and the code of the rule that was broken; one that is open counts until something else was kept."""

    verdict: Verdict
    code: str
    turn: int


class _Case(NamedTuple):
    """A version as its transaction has it.

    Attributes:
        transaction: it.
        change: the change that has the version.
        row: index of the object in the change.
        height: of its block.
        time: of its block, Unix seconds.
    """

    transaction: Transaction
    change: Change
    row: int
    height: int
    time: int


class Past:
    """Bodies of the heads of objects as they were after a leaf (`medchain.ledger.kind.BodySource`).

    Attributes:
        changed: position of the newest change of all that was asked for; 0 where nothing of it has changed.
        lacks: whether a body was asked for that an object had and that is not here.
    """

    __slots__ = ("_judge", "_position", "changed", "lacks")

    def __init__(self, judge: Judge, position: int) -> None:
        """Look back to a leaf."""
        self._judge = judge
        self._position = position
        self.changed = 0
        self.lacks = False

    def head(self, key: bytes) -> tuple[StateRecord, Body] | None:
        """Return an object's head of that time and what is here of its body, or None."""
        record = self.state(key)
        if record is None:
            return None
        for version in (record.version, record.version - 1):
            held = self._judge.shelf.held_at(key, version)
            if held is not None and held.body_hash == record.body_hash:
                body = self._judge.shelf.at(key, version)
                return None if body is None else (record, body)
        self.lacks = True
        return None

    def state(self, key: bytes) -> StateRecord | None:
        """Return an object's head of that time."""
        record = self._judge.replica.store.record_at(key, self._position)
        if record is not None:
            self.changed = max(self.changed, record.since)
        return record

    def accepted(self, record: StateRecord) -> int:
        """Return the time of the block that accepted a version, Unix seconds."""
        return self._judge.shelf.accepted(record)


class _View(NamedTuple):
    """The ledger as it stood at a place: bodies of heads, and the sets of members of which one must do."""

    past: Past
    members: Sequence[Members]


class Verdicts:
    """Judges bodies (`medchain.node.bodies.Bench`). Threads share it; one of them calls `settle`."""

    __slots__ = ("_alarms", "_judge", "_judged", "_lock", "_records", "_turn", "_waiting")

    def __init__(self, judge: Judge, records: RecordStore) -> None:
        """Go on with what was announced before the start.

        Args:
            judge: this node's ledger, bodies and decision.
            records: keeps alarms, and knows what was announced.
        """
        self._judge = judge
        self._records = records
        self._judged: BoundedCache[tuple[bytes, int, int, tuple[int, int]], _Judged] = BoundedCache(_CACHE_BYTES)
        self._turn = 0
        self._lock = Lock()
        self._alarms: deque[tuple[StateRecord, str]] = deque(maxlen=MAX_WAITING)
        announced = records.due_unaccepted(_EVER, MAX_WAITING)
        self._waiting = deque(((row.key, row.version) for row in announced), maxlen=MAX_WAITING)

    def note(self, key: bytes, version: int) -> None:
        """Take note of a body that was kept just now: it is judged once the ledger has it."""
        with self._lock:
            self._turn += 1
            self._waiting.append((key, version))

    def verdict(self, record: StateRecord, body: Body) -> Verdict:
        """Judge the body of a version that the ledger has.

        Args:
            record: the version.
            body: what is here of its body, whose hash is the record's.

        Returns:
            The verdict.

        Raises:
            VerificationError: ``store.corrupt``.
        """
        if record.creator == self._judge.org_id:
            # Judged before it was submitted, on the state of that moment.
            return Verdict.HOLDS
        return self._judgement(record, body).verdict

    def check(self, record: StateRecord, body: Body) -> None:
        """Judge what this organisation is about to rely on, its own objects as well; arguments as for `verdict`.

        Raises:
            UnavailableError: `NOT_HERE` while something that the check stands on is not here.
            VerificationError: the code of the rule that the body breaks; ``store.corrupt``.
        """
        judged = self._judgement(record, body)
        if judged.verdict is Verdict.REFUSED:
            raise VerificationError(judged.code, version=record.version)
        if judged.verdict is Verdict.OPEN:
            raise UnavailableError(NOT_HERE, kind=record.kind)

    def _judgement(self, record: StateRecord, body: Body) -> _Judged:
        """Judge once; from the first version on, each of which the next one is compared with."""
        known = self._known(record, body)
        if known is not None:
            return known
        for before, shown in reversed([*self._before(record)]):
            self._decide(before, shown)
        return self._decide(record, body)

    def settle(self) -> None:
        """Judge what the ledger has by now, so that who lies is found out even if nobody asks; keep the alarms."""
        store, shelf = self._judge.replica.store, self._judge.shelf
        with self._lock:
            taken = [self._waiting.popleft() for _ in range(min(MAX_AT_ONCE, len(self._waiting)))]
        later, over = list[tuple[bytes, int]](), list[tuple[bytes, int]]()
        final = store.final()
        for key, version in taken:
            body, record = shelf.held_at(key, version), store.version(key, version)
            if body is None:
                continue
            if record is not None:
                shelf.at(key, version)
            if record is not None and not shelf.beside(key, version, record.body_hash):
                continue
            # Of several attempts the others may go only once no takeover can put one in the place of what is ordered.
            is_final = record is not None and final is not None and record.since < final.size
            (over if is_final else later).append((key, version))
        with self._lock:
            self._waiting.extend(later)
        for key, version in over:
            shelf.settle(key, version)
        while self._alarms:
            accuse(self._judge, self._records, REFUSED, *self._alarms[0])
            self._alarms.popleft()

    def _known(self, record: StateRecord, body: Body) -> _Judged | None:
        """Return what was decided before, as long as it counts."""
        found = self._judged.get(_name(record, body))
        if found is None or (found.verdict is Verdict.OPEN and found.turn != self._turn):
            return None
        return found

    def _before(self, record: StateRecord) -> Iterator[tuple[StateRecord, Body]]:
        """Find the versions before one that are not judged yet, the newest first."""
        if record.version == 1 or KINDS[record.kind].stands_alone:
            return
        for row in self._judge.replica.store.history(record.key):
            body = self._judge.shelf.held_at(row.key, row.version) if row.version < record.version else None
            if body is None:
                continue
            if body.body_hash != row.body_hash or self._known(row, body) is not None:
                return
            yield row, body

    def _decide(self, record: StateRecord, body: Body) -> _Judged:
        """Judge one version, the one before being judged."""
        turn, code = self._turn, ""
        try:
            verdict = self._check(record, body)
        except VerificationError as error:
            if error.code == "store.corrupt":
                raise
            verdict, code = Verdict.REFUSED, error.code
            if code != BROKEN_BEFORE:
                self._alarms.append((record, code))
        judged = _Judged(verdict, code, turn)
        self._judged.put(_name(record, body), judged, _COST)
        return judged

    def _check(self, record: StateRecord, body: Body) -> Verdict:
        """Check one body; raises `VerificationError` with the code of the rule that it breaks."""
        case = self._case(record)
        if case is None:
            return Verdict.HOLDS
        check_form(body, Place(record.kind, record.creator, record.id, record.status))
        previous, is_open = None, False
        if record.version > 1:
            previous = self._previous(record)
            is_open = previous is None and not KINDS[record.kind].stands_alone
        if is_open:
            return Verdict.OPEN
        refusals: list[VerificationError] = []
        for view in self._views(record, case):
            refusal = self._refusal(body, case, view, previous)
            if refusal is None:
                return Verdict.HOLDS
            if view.past.lacks and not refusals:
                return Verdict.OPEN
            refusals.append(refusal)
        raise refusals[0]

    def _views(self, record: StateRecord, case: _Case) -> Iterator[_View]:
        """Give the ledger as it stood right before a version, then as its endorser may have seen it, the newest first.

        Each is that before the newest change of the members, or of what was looked up in the one given last: nothing
        else can make another judgement. None is older than `until` lets an endorsement be, nor than the version before,
        without which nobody endorses this one.
        """
        store, past = self._judge.replica.store, Past(self._judge, record.since - 1)
        height, before = case.height, max(case.height - 1, 0)
        yield _View(past, (store.members_at(height), store.members_at(before)))
        if not KINDS[record.kind].judged_as_endorsed:
            return
        former = store.version(record.key, record.version - 1)
        oldest = 0 if former is None else former.since
        for _ in range(MAX_VIEWS - 1):
            members = max(change for change in store.members_changes() if change <= height)
            changed = store.block(max(members, store.block_at(past.changed).height))
            if changed.time < case.time - MAX_UNTIL_S or changed.first <= oldest:
                return
            past, height = Past(self._judge, changed.first - 1), changed.height - 1
            yield _View(past, (store.members_at(height),))

    def _refusal(
        self, body: Body, case: _Case, view: _View, previous: tuple[StateRecord, Body] | None
    ) -> VerificationError | None:
        """Check one body on the ledger of one place; returns the rule that it breaks, None where it breaks none."""
        refusal: VerificationError | None = None
        # It was endorsed at a moment that nobody can tell now: within what clocks, `until` and blocks allow.
        times = (case.time, case.time + BLOCK_LAG_S, case.time - MAX_UNTIL_S)
        for time, snapshot in product(times, view.members):
            try:
                check_body(body, self._context(case, view.past, previous, (time, snapshot)))
            except VerificationError as error:
                if error.code == "store.corrupt":
                    raise
                refusal = refusal or error
            else:
                return None
        return refusal

    def _previous(self, record: StateRecord) -> tuple[StateRecord, Body] | None:
        """Return the version before and its body, None if that is not here; raises for one that breaks a rule."""
        before = self._judge.replica.store.version(record.key, record.version - 1)
        body = None if before is None else self._judge.shelf.held_at(record.key, before.version)
        if before is None or body is None or body.body_hash != before.body_hash:
            return None
        known = None if KINDS[record.kind].stands_alone else self._known(before, body)
        if known is not None and known.verdict is Verdict.REFUSED:
            raise VerificationError(BROKEN_BEFORE, version=before.version)
        return before, body

    def _case(self, record: StateRecord) -> _Case | None:
        """Find the transaction that made a version; None for a stop."""
        store = self._judge.replica.store
        transaction = parse_envelope(store.leaf(record.since)).transaction
        if not isinstance(transaction, Transaction):
            return None
        block = store.block_at(record.since)
        for change in transaction.changes:
            for row, entry in enumerate(change.objects):
                if (change.kind, entry.id, entry.version) == (record.kind, record.id, record.version):
                    return _Case(transaction, change, row, block.height, block.time)
        return None

    def _context(
        self, case: _Case, past: Past, previous: tuple[StateRecord, Body] | None, moment: tuple[int, Members]
    ) -> CheckContext:
        """Put together what a check may look at."""
        return CheckContext(
            genesis=self._judge.replica.genesis,
            members=moment[1],
            time=moment[0],
            own=self._judge.org_id,
            role=HOLDER,
            creator=case.transaction.creator,
            signers=case.transaction.signers,
            change=case.change,
            row=case.row,
            previous=previous,
            bodies=past,
            decision=self._judge.decision,
        )


def accuse(judge: Judge, records: RecordStore, code: str, record: StateRecord, reason: str) -> None:
    """Keep an alarm that names an object and its creator, once: after a restart the same is found again.

    Of those that name one member some are enough: it could fill up with them what is kept of all.

    Args:
        judge: this node's ledger and clock.
        records: keeps alarms.
        code: of the alarm.
        record: the version that it is about.
        reason: code of what is wrong with its body.
    """
    subject = f"{record.creator} {record.key.hex()[:16]}/{record.version}"
    waiting, done = (records.alarms(acknowledged=is_done, code=code) for is_done in (False, True))
    if any(row.subject == subject for row in (*waiting, *done)):
        return
    if sum(row.subject.startswith(f"{record.creator} ") for row in waiting) >= MAX_ALARMS_EACH:
        return
    fields: Json = {
        "creator": record.creator,
        "kind": record.kind,
        "object": record.key.hex(),
        "reason": reason,
        "version": record.version,
    }
    now, height = judge.clock(), judge.replica.store.block_at(record.since).height
    if records.raise_alarm(code, subject, height, canonical(fields), now):
        _LOG.error("alarm.raised", code=code, height=height)


def _name(record: StateRecord, body: Body) -> tuple[bytes, int, int, tuple[int, int]]:
    """Tell what was judged: more of a body is judged anew."""
    return record.key, record.version, record.since, shown_size(body)
