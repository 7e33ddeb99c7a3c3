"""Alarms that somebody must look at: kept over restarts until an operator acknowledges them, and where two come from.

`AlarmBook` writes down what ordering raises. `DrawWatch` looks, at every node alike, at how creators come by their
endorsers: at draw numbers given up, at organisations that were drawn first and passed over, and at who endorsed how
much of whose. Keeps true: what was
raised is shown until it is acknowledged; what is the same is counted, not listed again; only final blocks count, so
that every node sees the same. Trusts the stores.
Source: `docs/spec/endorsement.md` 5, `docs/operations.md`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from threading import Event, Lock
from typing import Final, NamedTuple

from medchain.encoding import Json, canonical, digest, parse_canonical
from medchain.errors import MedchainError
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.machine import Drawn
from medchain.ledger.members import faulty
from medchain.node.clock import Clock
from medchain.node.log import Log
from medchain.ordering.cosign import SPLIT_VIEW
from medchain.ordering.driver import Alarm
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore
from medchain.store.watching import AlarmRow, Endorsed

GIVEN_UP: Final = "draw.given_up"
"""Alarm: a creator gave up more draw numbers than happens by itself."""

PASSED_OVER: Final = "draw.passed_over"
"""Alarm: a creator has others than those drawn first endorse more often than happens by itself."""

GIVEN_UP_FREE: Final = 16
"""How many numbers a creator may give up, and one more for every `GIVEN_UP_SHARE` numbers."""

GIVEN_UP_SHARE: Final = 16
"""See `GIVEN_UP_FREE`."""

SPAN: Final = 64
"""Draw numbers that are counted together; the newest two spans are judged."""

MIN_DRAWS: Final = 32
"""Fewer draws say nothing."""

PERIOD_S: Final = 0.5
"""How often it looks for alarms."""

WATCH_EVERY: Final = 4
"""At which of these looks draws are counted, too: many blocks at once cost little more than one."""

_NAME: Final = "draws"
_MOST: Final = 0.75
# Two notes with the lines of 49 organisations.
_MAX_FIELDS_BYTES: Final = 512 * 1024
_UNCOUNTED_BLOCKS: Final = 1024
_LOG: Final = Log("alarms")


def is_choosing(draws: int, passed: int, candidates: int, down: int) -> bool:
    """Tell whether a creator passes over who is drawn first more often than happens by itself.

    Of n candidates, a creator that always has the same friend endorse passes over n - 1, and an honest one the
    transaction's other party and whoever is down. Halfway between the two it is suspected, and two standard deviations
    further, since draws are chance. Where both come to the same, only one that hardly ever takes the first shows.

    Args:
        draws: how many were counted.
        passed: how many of them passed over the organisation drawn first.
        candidates: how many organisations can be drawn for this creator.
        down: how many of them may be down.

    Returns:
        Whether to raise the alarm.
    """
    choosing, honest = candidates - 1, 1 + down
    bound = (choosing + honest) / (2 * candidates) if choosing > honest else _MOST
    return draws >= MIN_DRAWS and passed > bound * draws + math.sqrt(draws)


class AlarmBook:
    """Writes alarms down. One thread calls `look`; others may raise."""

    __slots__ = ("_alarms", "_clock", "_lock", "_present", "_records")

    def __init__(self, records: RecordStore, alarms: Callable[[], Sequence[Alarm]], clock: Clock) -> None:
        """Prepare.

        Args:
            records: keeps them.
            alarms: what ordering says is wrong now.
            clock: gives Unix seconds.
        """
        self._records = records
        self._alarms = alarms
        self._clock = clock
        self._present: frozenset[tuple[str, str]] = frozenset()
        self._lock = Lock()

    def look(self) -> None:
        """Keep what was not there at the last look; raises the disk's errors, and then does it at the next look."""
        with self._lock:
            found = {(alarm.code, _subject(alarm)): alarm for alarm in self._alarms()}
            for name in sorted(found.keys() - self._present):
                alarm = found[name]
                self.add(alarm.code, name[1], alarm.height, dict(alarm.fields))
            self._present = frozenset(found)

    def keep(self, alarm: Alarm) -> None:
        """Keep one now, which the next look will find: a process that ends before would forget it; raises as `look`."""
        name = alarm.code, _subject(alarm)
        with self._lock:
            if name not in self._present:
                self.add(*name, alarm.height, dict(alarm.fields))
                self._present |= {name}

    def add(self, code: str, subject: str, height: int, fields: dict[str, int | str | None]) -> None:
        """Keep one alarm."""
        shown: Json = dict[str, Json](fields)
        if self._records.raise_alarm(code, subject, height, canonical(shown), self._clock()):
            _LOG.error("alarm.raised", code=code, height=height)


class _Alike(NamedTuple):
    """What counts of a draw: its day, whose, its span, whether somebody was passed over, which key endorsed, what."""

    day: int
    creator: str
    span: int
    is_passed: bool
    key_id: str
    kinds: frozenset[str]


class DrawWatch:
    """Watches how endorsers are come by. One thread calls `look`."""

    __slots__ = ("_book", "_kept", "_ledger", "_records", "_seen", "_size")

    def __init__(self, ledger: LedgerStore, records: RecordStore, book: AlarmBook) -> None:
        """Use the daemon's stores."""
        self._ledger = ledger
        self._records = records
        self._book = book
        self._kept = -1
        self._seen = 0
        self._size = 0

    def look(self) -> bool:
        """Count the draws of some final blocks that were not counted yet; tells whether there are more.

        Raises:
            MedchainError: the disk.
        """
        final = self._ledger.final()
        if final is None or final.size == self._size:
            return False
        if self._kept < 0:
            self._kept = self._seen = self._records.watched_height(_NAME)
        newest = self._ledger.block_of_size(final.size)
        drawn, seen = self._ledger.drawn(self._seen + 1, newest.height)
        counted: Counter[tuple[str, int]] = Counter()
        passed: Counter[tuple[str, int]] = Counter()
        given: Counter[Endorsed] = Counter()
        members = self._ledger.members
        for (day, creator, span, is_passed, key_id, kinds), count in _alike(drawn).items():
            counted[creator, span] += count
            passed[creator, span] += count if is_passed else 0
            endorser = members.signer(key_id)
            name = "" if endorser is None else endorser.org_id
            for kind in kinds:
                given[Endorsed(day, name, creator, kind)] += count
        # Blocks without a draw may be looked at again after a restart: no write is spent on each of them.
        if counted or seen - self._kept >= _UNCOUNTED_BLOCKS:
            draws = {place: (counted[place], passed[place]) for place in counted}
            self._records.put_draws(_NAME, seen, draws, given)
            self._kept = seen
        self._seen = seen
        if counted:
            self._judge(sorted({creator for creator, _ in counted}), seen)
        is_more = seen < newest.height
        self._size = 0 if is_more else final.size
        return is_more

    def _judge(self, creators: Sequence[str], height: int) -> None:
        """Raise the alarm over creators that are seen to choose."""
        draws: Counter[str] = Counter()
        passed: Counter[str] = Counter()
        newest: dict[str, int] = {}
        for row in self._records.draw_spans():
            draws[row.creator] += row.draws
            passed[row.creator] += row.passed
            newest[row.creator] = row.span
        for creator in creators:
            members = self._ledger.members
            candidates, down = len(members.drawable(creator)), faulty(len(members.active))
            if is_choosing(draws[creator], passed[creator], candidates, down):
                seen = self._acknowledged(PASSED_OVER, creator).get("span", -1)
                fields: dict[str, int | str | None] = {"draws": draws[creator], "passed": passed[creator]}
                if newest[creator] > seen:
                    self._book.add(PASSED_OVER, creator, height, fields | {"span": newest[creator]})
            state = self._ledger.draws(creator)
            if state.given_up <= GIVEN_UP_FREE:
                continue
            known = self._acknowledged(GIVEN_UP, creator)
            given_up = state.given_up - known.get("given_up", 0)
            if given_up > GIVEN_UP_FREE + (state.number - known.get("number", 0)) // GIVEN_UP_SHARE:
                self._book.add(GIVEN_UP, creator, height, {"given_up": state.given_up, "number": state.number})

    def _acknowledged(self, code: str, creator: str) -> dict[str, int]:
        """Return the numbers of the newest alarm of a kind that somebody has looked at: only what is more is news."""
        for row in self._records.alarms(acknowledged=True, code=code):
            if row.subject == creator:
                fields = parse_canonical(row.fields, max_bytes=_MAX_FIELDS_BYTES)
                rows = fields.items() if isinstance(fields, dict) else ()
                return {name: value for name, value in rows if type(value) is int}
        return {}


class AlarmJob:
    """Lets both look (`medchain.node.daemon.Job`)."""

    __slots__ = ("_book", "_watch")

    def __init__(self, book: AlarmBook, watch: DrawWatch) -> None:
        """Use both."""
        self._book = book
        self._watch = watch

    def run(self, stop: Event) -> None:
        """Look until told to stop; what fails is tried again."""
        turns = 0
        while not stop.wait(PERIOD_S):
            turns += 1
            try:
                self._book.look()
                while turns % WATCH_EVERY == 0 and self._watch.look() and not stop.is_set():
                    self._book.look()
            except MedchainError as error:
                _LOG.warning("alarms.delayed", code=error.code)


def _alike(drawn: Sequence[tuple[int, Drawn]]) -> Counter[_Alike]:
    """Count draws, given with the times of their blocks, of which all that matters is the same."""
    return Counter(
        [
            _Alike(time // DAY_S, draw.creator, draw.number // SPAN, draw.rank > 0, draw.key_id, draw.kinds)
            for time, draw in drawn
        ]
    )


def alarm_json(row: AlarmRow) -> Json:
    """Write an alarm for the node's own workers and the command line."""
    return {
        "acknowledged": row.acknowledged,
        "code": row.code,
        "count": row.count,
        "fields": parse_canonical(row.fields, max_bytes=_MAX_FIELDS_BYTES),
        "first": row.first,
        "height": row.height,
        "id": row.id,
        "last": row.last,
        "note": row.note,
        "subject": row.subject,
    }


def settled_notes(records: RecordStore) -> list[str]:
    """Return the notes that prove split views which somebody has acknowledged, the newest first."""
    rows = records.alarms(acknowledged=True, code=SPLIT_VIEW)
    fields = [parse_canonical(row.fields, max_bytes=_MAX_FIELDS_BYTES) for row in rows]
    shown = [item.get(side) for item in fields if isinstance(item, dict) for side in ("ours", "theirs")]
    return [note for note in shown if isinstance(note, str)]


def _subject(alarm: Alarm) -> str:
    """Tell alarms of one code apart: those that stay by what they are about, others not, or each block brought one."""
    if not alarm.latched:
        return ""
    fields: Json = dict[str, Json](alarm.fields)
    return digest("medchain/alarm/v1", canonical(fields)).hex()[:32]
