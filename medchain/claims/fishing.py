"""Fishing: who asks for invoices that are not there is stopped for the day, and told of.

Keeps true: what was answered with nothing is counted before the answer leaves, over restarts; an insurer that has used
up its day learns nothing more until the next one; that it has is an alarm here and at every active regulator, once for
each day, over crashes, as often as it takes. Trusts the caller for who asked.
Source: `docs/spec/claim-question.md` 8 to 10.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event, Lock
from typing import Final, Protocol

from medchain.encoding import Json, canonical, members, parse_canonical
from medchain.errors import AccessDeniedError, InputError, MedchainError, UnavailableError
from medchain.ledger.kinds.content import DAY_S, count
from medchain.ledger.kinds.emergency import SUPERVISOR
from medchain.node.alarms import AlarmBook
from medchain.node.clock import Clock
from medchain.node.log import Log
from medchain.node.replica import Replica
from medchain.node.rounds import work_in_rounds
from medchain.store.records import RecordStore
from medchain.store.watching import RefusalCount

FISHING: Final = "claim.fishing"
"""Code of the alarm, and of the refusal of who has used up its day."""

WRONG: Final = "claim.unknown"
"""Reason under which invoices are counted that were asked for and answered with nothing."""

MAX_WRONG: Final = 60
"""Most such invoices of one insurer on one day (UTC)."""

REPORT_TYPE: Final = "medchain/claim-fishing/v1"
"""Type of what a regulator is told."""

MAX_REPORT_BYTES: Final = 1024
"""Largest report."""

TOLD_DAYS: Final = 7
"""For so many days regulators are told of a day."""

PERIOD_S: Final = 5.0
"""How often it is looked whether somebody is to be told."""

_LONGEST_REST_S: Final = 60.0
_REPORT: Final = {"count": int, "day": int, "insurer": str, "ledger": str, "type": str}
_LOG: Final = Log("claims")


class Supervisors(Protocol):
    """The way to regulators."""

    def fishing(self, org_id: str, document: bytes) -> None:
        """Bring a report; raises `UnavailableError`, or the error of the refusal."""
        ...


@dataclass(frozen=True, slots=True)
class FishingParts:
    """What watches are made from.

    Attributes:
        org_id: this organisation.
        replica: this node's ledger: who regulates.
        records: counts.
        alarms: keeps alarms.
        supervisors: the way to regulators.
        clock: gives Unix seconds.
    """

    org_id: str
    replica: Replica
    records: RecordStore
    alarms: AlarmBook
    supervisors: Supervisors
    clock: Clock


class FishingWatch:
    """Counts, and tells. Threads of one daemon may share it; one of them tells.

    Attributes:
        counting: held from `check` to `note`: of two who ask in vain at once, by a question and a deed as well, each
            would be within what is left of the day.
    """

    __slots__ = ("_parts", "_told", "counting")

    def __init__(self, parts: FishingParts) -> None:
        """Use parts."""
        self._parts = parts
        self.counting = Lock()
        # Whom it was told: lost in a crash, and then it is told again.
        self._told: set[tuple[str, int, str]] = set()

    def check(self, insurer: str) -> int:
        """Tell how many more invoices an insurer may ask for in vain today.

        Raises:
            UnavailableError: `FISHING` for one that has used up its day.
        """
        left = self.left(insurer)
        if not left:
            raise UnavailableError(FISHING, retry_after_s=DAY_S - self._parts.clock() % DAY_S)
        return left

    def left(self, insurer: str) -> int:
        """Tell the same; 0 for one that has used up its day."""
        today = self._parts.records.refusals(since_day=self._parts.clock() // DAY_S)
        wrong = sum(row.count for row in today if (row.requester, row.reason) == (insurer, WRONG))
        return max(0, MAX_WRONG - wrong)

    def note(self, insurer: str, number: int) -> None:
        """Count invoices that an insurer asked for in vain; raises the disk's errors, and nothing may be answered then.

        Args:
            insurer: org_id of who asked.
            number: how many, at least one.
        """
        now = self._parts.clock()
        # Apart: who is refused for many reasons first would else keep it from regulators.
        self._parts.records.count_refusal(insurer, WRONG, now, number=number, is_apart=True)
        if not self.left(insurer):
            self._raise(self._parts.org_id, insurer, now // DAY_S, MAX_WRONG)

    def run(self, stop: Event) -> None:
        """Tell until told to stop; whom nobody reaches is tried again, later each time."""
        work_in_rounds(
            self.round,
            stop,
            period_s=PERIOD_S,
            longest_rest_s=_LONGEST_REST_S,
            delayed=lambda code: _LOG.warning("fishing.delayed", code=code),
        )

    def round(self) -> int:
        """Tell regulators of each insurer that has used up a day; returns how many times that is still to be done."""
        left = 0
        for row in self._stopped():
            for org_id in self._regulators():
                place = (org_id, row.day, row.requester)
                if place in self._told:
                    continue
                try:
                    self._parts.supervisors.fishing(org_id, self._report(row))
                except MedchainError as error:
                    _LOG.warning("fishing.delayed", code=error.code, org_id=org_id)
                    left += 1
                else:
                    self._told.add(place)
        return left

    def receive(self, document: bytes, peer: str) -> Json:
        """Take a report, as a regulator.

        Args:
            document: as `round` brings it.
            peer: org_id of who calls, the hospital.

        Returns:
            The same for one that was taken before.

        Raises:
            InputError: ``encoding.*``, ``content.*``, ``claim.malformed``.
            AccessDeniedError: ``claim.regulator`` where this organisation is none.
        """
        own = self._parts.replica.members.organisations.get(self._parts.org_id)
        if own is None or own.role != SUPERVISOR:
            raise AccessDeniedError("claim.regulator")
        top = members(parse_canonical(document, max_bytes=MAX_REPORT_BYTES), _REPORT)
        insurer, day = str(top["insurer"]), count(top["day"])
        is_ours = (top["type"], top["ledger"]) == (REPORT_TYPE, self._parts.replica.ledger.hex())
        # Of days to come, or of nobody, one hospital could raise alarms without end.
        today = self._parts.clock() // DAY_S
        is_bounded = today - TOLD_DAYS <= day <= today + 1 and insurer in self._parts.replica.members.organisations
        if not is_ours or not is_bounded:
            raise InputError("claim.malformed")
        self._raise(peer, insurer, day, count(top["count"]))
        return {"taken": True}

    def _stopped(self) -> Iterator[RefusalCount]:
        """List who has used up which of the last days."""
        since = self._parts.clock() // DAY_S - TOLD_DAYS
        rows = self._parts.records.refusals(since_day=since)
        return (row for row in rows if row.reason == WRONG and row.count >= MAX_WRONG)

    def _regulators(self) -> list[str]:
        """List those who are told."""
        active = self._parts.replica.members.active
        return sorted(one.org_id for one in active if one.role == SUPERVISOR)

    def _report(self, row: RefusalCount) -> bytes:
        """Write what a regulator is told."""
        document: Json = {
            "count": row.count,
            "day": row.day,
            "insurer": row.requester,
            "ledger": self._parts.replica.ledger.hex(),
            "type": REPORT_TYPE,
        }
        return canonical(document)

    def _raise(self, hospital: str, insurer: str, day: int, number: int) -> None:
        """Raise an alarm about an insurer's day at a hospital, unless somebody has looked at it already."""
        subject = f"{hospital} {insurer} {day}"
        known = self._parts.records.alarms(acknowledged=True, code=FISHING)
        if all(row.subject != subject for row in known):
            fields: dict[str, int | str | None] = {
                "count": number,
                "day": day,
                "hospital": hospital,
                "insurer": insurer,
            }
            self._parts.alarms.add(FISHING, subject, self._parts.replica.height, fields)
