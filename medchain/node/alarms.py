"""Alarms that somebody must look at: kept over restarts until an operator acknowledges them, and where two come from.

`AlarmBook` writes down what ordering raises. `DrawWatch` looks, at every node alike, at how creators come by their
endorsers: at draw numbers given up, and at organisations that were drawn first and passed over. Keeps true: what was
raised is shown until it is acknowledged; what is the same is counted, not listed again; only final blocks count, so
that every node sees the same. Trusts the stores.
Source: `docs/spec/endorsement.md` 5, `docs/operations.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from threading import Event
from typing import Final

from medchain.encoding import Json, canonical, digest, parse_canonical
from medchain.errors import MedchainError
from medchain.ledger.transaction import Transaction, parse_envelope
from medchain.node.clock import Clock
from medchain.node.log import Log
from medchain.ordering.driver import Alarm
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore
from medchain.store.watching import AlarmRow

GIVEN_UP: Final = "draw.given_up"
"""Alarm: a creator gave up more draw numbers than happens by itself."""

PASSED_OVER: Final = "draw.passed_over"
"""Alarm: a creator had most of its transactions endorsed by others than those drawn first."""

GIVEN_UP_FREE: Final = 16
"""How many numbers a creator may give up, and one more for every `GIVEN_UP_SHARE` numbers."""

GIVEN_UP_SHARE: Final = 16
"""See `GIVEN_UP_FREE`."""

SPAN: Final = 64
"""Draw numbers that are counted together; the newest two spans are judged."""

MIN_DRAWS: Final = 32
"""Fewer draws say nothing."""

PERIOD_S: Final = 0.5
"""How often it looks."""

_NAME: Final = "draws"
_PAGE_BYTES: Final = 4 << 20
_MAX_FIELDS_BYTES: Final = 4096
_LOG: Final = Log("alarms")


class AlarmBook:
    """Writes alarms down. One thread calls `look`; others may raise."""

    __slots__ = ("_alarms", "_clock", "_present", "_records")

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

    def look(self) -> None:
        """Keep what was not there at the last look; raises the disk's errors, and then does it at the next look."""
        found = {(alarm.code, _subject(alarm)): alarm for alarm in self._alarms()}
        for name in sorted(found.keys() - self._present):
            alarm = found[name]
            self.add(alarm.code, name[1], alarm.height, dict(alarm.fields))
        self._present = frozenset(found)

    def add(self, code: str, subject: str, height: int, fields: dict[str, int | str | None]) -> None:
        """Keep one alarm."""
        shown: Json = dict[str, Json](fields)
        if self._records.raise_alarm(code, subject, height, canonical(shown), self._clock()):
            _LOG.error("alarm.raised", code=code, height=height)


class DrawWatch:
    """Watches how endorsers are come by. One thread calls it."""

    __slots__ = ("_book", "_ledger", "_records")

    def __init__(self, ledger: LedgerStore, records: RecordStore, book: AlarmBook) -> None:
        """Use the daemon's stores."""
        self._ledger = ledger
        self._records = records
        self._book = book

    def look(self) -> bool:
        """Count the draws of some final blocks that were not counted yet; tells whether there are more.

        Raises:
            MedchainError: the disk.
        """
        final = self._ledger.final()
        if final is None:
            return False
        height = self._records.watched_height(_NAME)
        counted: Counter[tuple[str, int]] = Counter()
        passed: Counter[tuple[str, int]] = Counter()
        seen = height
        page = self._ledger.blocks(height + 1, _PAGE_BYTES)
        for block, leaves in page:
            if block.size > final.size:
                break
            seen = block.height
            for leaf in leaves:
                transaction = parse_envelope(leaf).transaction
                if isinstance(transaction, Transaction) and transaction.draw is not None:
                    place = (transaction.creator, transaction.draw.number // SPAN)
                    counted[place] += 1
                    passed[place] += transaction.draw.rank > 0
        if seen == height:
            return False
        self._records.put_draws(_NAME, seen, {place: (counted[place], passed[place]) for place in counted})
        if counted:
            self._judge(sorted({creator for creator, _ in counted}), seen)
        return seen == page[-1][0].height

    def _judge(self, creators: Sequence[str], height: int) -> None:
        """Raise the alarm over creators that are seen to choose."""
        draws: Counter[str] = Counter()
        passed: Counter[str] = Counter()
        for row in self._records.draw_spans():
            draws[row.creator] += row.draws
            passed[row.creator] += row.passed
        newest = {row.creator: row.span for row in self._records.draw_spans()}
        for creator in creators:
            seen = self._acknowledged(PASSED_OVER, creator).get("span", -1)
            if draws[creator] >= MIN_DRAWS and passed[creator] * 4 > draws[creator] * 3 and newest[creator] > seen:
                fields: dict[str, int | str | None] = {"draws": draws[creator], "passed": passed[creator]}
                self._book.add(PASSED_OVER, creator, height, fields | {"span": newest[creator]})
            state, known = self._ledger.draws(creator), self._acknowledged(GIVEN_UP, creator)
            given_up = state.given_up - known.get("given_up", 0)
            if given_up > GIVEN_UP_FREE + (state.number - known.get("number", 0)) // GIVEN_UP_SHARE:
                self._book.add(GIVEN_UP, creator, height, {"given_up": state.given_up, "number": state.number})

    def _acknowledged(self, code: str, creator: str) -> dict[str, int]:
        """Return the numbers of the newest alarm of a kind that somebody has looked at: only what is more is news."""
        for row in self._records.alarms(acknowledged=True):
            if (row.code, row.subject) == (code, creator):
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
        while not stop.wait(PERIOD_S):
            try:
                self._book.look()
                while self._watch.look() and not stop.is_set():
                    self._book.look()
            except MedchainError as error:
                _LOG.warning("alarms.delayed", code=error.code)


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


def _subject(alarm: Alarm) -> str:
    """Tell alarms of one code apart: those that stay by what they are about, others not, or each block brought one."""
    if not alarm.latched:
        return ""
    fields: Json = dict[str, Json](alarm.fields)
    return digest("medchain/alarm/v1", canonical(fields)).hex()[:32]
