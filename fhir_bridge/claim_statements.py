"""Derived statements for a claim: what a hospital says, over its signature, of records that it does not show.

Keeps true: a statement follows from this node's own records; what they leave open is null, never guessed; what may not
be counted is not. Trusts `fhir_bridge.claim_case` for the records.
Source: `docs/spec/claim-disclosure.md` 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Final

import orjson

from fhir_bridge.claim_case import SECOND_US, CaseReader, ToldRecord
from fhir_bridge.claim_profile import (
    COUNTED,
    INPATIENT,
    PAPERS,
    STAFF,
    category_of,
    is_in,
    is_surgery,
)
from fhir_bridge.document import Resource, member, object_of, objects_of
from medchain.dates import span_of
from medchain.ledger.citation import AGE, CODE, STAY, Ask, type_of
from medchain.ledger.evidence.claim_reading import day_written
from medchain.ledger.evidence.statements import REVOKED, UNKNOWN, VALID, Fact
from medchain.ledger.evidence.windows import DEATH_CERTIFICATION, EMERGENCIES_BEFORE_S, midnight
from medchain.ledger.kinds.content import DAY_S, Period
from medchain.node.emergency import MOST_NOTED, noted_for
from medchain.node.event_time import event_span
from medchain.store.records import RecordVersion

BEYOND_S: Final = 92 * DAY_S
"""How far a claim's services may reach beyond what is told of it: who asks names them, and no claim is seen here."""

_ENCOUNTER: Final = "Encounter"


class CaseStatements:
    """Derives the statements of one case."""

    __slots__ = ("_case", "_reader", "_times", "_visits", "_zone")

    def __init__(self, reader: CaseReader) -> None:
        """Use a case's records."""
        self._case = reader.case
        self._reader = reader
        self._times = Period(reader.case.time, reader.case.time)
        self._visits: list[str] = []
        self._zone = reader.node.zone

    def of(self, told: Sequence[ToldRecord]) -> Iterator[Fact]:
        """Derive all statements."""
        encounters = [one for one in told if type_of(one.reference) == _ENCOUNTER]
        self._times, self._visits = self._told_times(told), _days_shown(encounters)
        by_reference = {one.reference: one for one in told}
        for ask in self._case.citation.asks:
            yield from self._asked(ask, by_reference)
        for one in encounters:
            yield from self._of_encounter(one.reference)
        for one in told:
            if type_of(one.reference) == "Condition":
                yield Fact("category", {"reference": one.reference}, category_of(one.shown))
            yield from self._credential(one)
        yield from self._alive(told)
        first, last = self._days_of_services()
        yield Fact("overlapping_stays", {"end": last, "start": first}, self._overlapping(encounters))
        yield from self._emergencies()

    def _asked(self, ask: Ask, told: dict[str, ToldRecord]) -> Iterator[Fact]:
        """Answer a statement that was asked for; nothing of a record that is not told of."""
        arguments = dict(ask.arguments)
        if ask.name == AGE:
            day, records = str(arguments["day"]), [*told.values()]
            # Of a day of the asker's choice an age tells the birthday: only of one on which something was done.
            is_of_services = day in {*self._visits, *self._days_of_deeds(records)}
            yield Fact(AGE, arguments, self._is_so_old(day, int(arguments["years"])) if is_of_services else None)
            return
        one = told.get(str(ask.about[1]))
        if one is None:
            return
        if ask.name == STAY:
            days = self._days(one.shown)
            yield Fact(STAY, arguments, None if days is None else days <= int(arguments["days"]))
        elif ask.name == CODE:
            category = category_of(one.shown)
            yield Fact(CODE, arguments, None if category is None else is_in(category, str(arguments["list"])))

    def _is_so_old(self, day: str, years: int) -> bool | None:
        """Tell whether the patient has an age on a day; None where the birth date is not known to the day."""
        try:
            born, then = (
                date.fromisoformat(member(self._reader.counted_patient(), "birthDate")),
                date.fromisoformat(day),
            )
        except ValueError:
            return None
        return then.year - born.year - ((then.month, then.day) < (born.month, born.day)) >= years

    def _days(self, encounter: Resource) -> int | None:
        """Tell how many days a stay was, from the day that it began to the one that it ended."""
        period = object_of(encounter.get("period"))
        ends = [span_of(member(period, name), self._zone) for name in ("start", "end")]
        days = [self._reader.day(one.low // SECOND_US) for one in ends if one is not None]
        return (days[1] - days[0]).days if len(days) == len(ends) else None

    def _of_encounter(self, reference: str) -> Iterator[Fact]:
        """Count an encounter's records by type, and tell whether there was surgery."""
        for type_name, parameter in COUNTED.items():
            rows = self._reader.counted(type_name, {parameter: reference})
            if rows is None or rows:
                count = None if rows is None else len(rows)
                yield Fact("record_count", {"encounter": reference, "type": type_name}, count)
            if type_name == "Procedure":
                yield Fact("surgery", {"encounter": reference}, self._surgery(rows))

    def _surgery(self, procedures: Sequence[RecordVersion] | None) -> bool | None:
        """Tell whether one of an encounter's Procedures was surgery."""
        if procedures is None:
            return None
        found = [is_surgery(self._reader.content(row)) for row in procedures]
        return True if True in found else None if None in found else False

    def _credential(self, told: ToldRecord) -> Iterator[Fact]:
        """Tell whether who wrote a record was qualified on that day, by this hospital's own record of the person."""
        edition = told.edition
        at = edition.event.start if edition.event is not None else edition.entered
        if at is None or type_of(told.staff) not in STAFF[:-1]:
            return
        day = self._reader.day(at)
        yield Fact("credential", {"day": day.isoformat(), "reference": told.reference}, self._standing(told.staff, day))

    def _standing(self, staff: str, day: date) -> str:
        """Tell whether a person was qualified on a day."""
        found = self._reader.find(staff)
        if found is not None and type_of(staff) == "PractitionerRole":
            found = self._reader.find(object_of(found[1].get("practitioner")).get("reference"))
        if found is None:
            return UNKNOWN
        row, person = found
        periods = [object_of(one.get("period")) for one in objects_of(person.get("qualification"))]
        known = [self._holds(one, day) for one in periods if one]
        if True in known:
            return VALID
        if known and None not in known:
            return REVOKED
        # Since when somebody is not active no field says; that it was written so by then is certain.
        return REVOKED if person.get("active") is False and self._reader.day(row.created) <= day else UNKNOWN

    def _holds(self, period: Resource, day: date) -> bool | None:
        """Tell whether a day lies in a period; None where its dates leave that open."""
        spans = [span_of(member(period, name), self._zone) if name in period else None for name in ("start", "end")]
        if any(name in period and span is None for name, span in zip(("start", "end"), spans, strict=True)):
            return None
        start, end = spans
        is_begun = start is None or self._reader.day(start.low // SECOND_US) <= day
        return is_begun and (end is None or day <= self._reader.day((end.high - 1) // SECOND_US))

    def _alive(self, told: Sequence[ToldRecord]) -> Iterator[Fact]:
        """Tell whether the patient was alive on the last day of services, but for those that certify a death.

        The day of a discharge is none, where nothing else was done on it: who dies in a stay is discharged after it.
        """
        patient, day = self._reader.counted_patient(), self._days_of_services()[1]
        if not patient or patient.get("deceasedBoolean") is True:
            return
        others = [one for one in told if not self._is_certification(one)]
        if len(others) < len(told):
            days = [*_days_shown(others), *self._days_of_deeds(others)]
            if not days:
                return
            day = min(day, max(days))
        day = self._before_discharge(others, date.fromisoformat(day)).isoformat()
        died = span_of(member(patient, "deceasedDateTime"), self._zone) if "deceasedDateTime" in patient else None
        if died is None and "deceasedDateTime" in patient:
            return
        is_alive = died is None or date.fromisoformat(day) <= self._reader.day((died.high - 1) // SECOND_US)
        yield Fact("alive_on", {"day": day}, is_alive)

    def _days_of_deeds(self, told: Sequence[ToldRecord]) -> set[str]:
        """Tell on which days something was begun: nothing is done to a patient by papers."""
        kept = [one.edition.event for one in told if type_of(one.reference) not in PAPERS]
        return {self._reader.day(one.start).isoformat() for one in kept if one is not None}

    def _before_discharge(self, told: Sequence[ToldRecord], day: date) -> date:
        """Return the day before, where a stay of at least a night ended on a day and nothing was done on it."""
        visits = [one.edition.event for one in told if type_of(one.reference) == _ENCOUNTER]
        ended = {self._reader.day(one.end) for one in visits if one is not None and one.end is not None}
        is_quiet = day in ended and day.isoformat() not in self._days_of_deeds(told)
        return day - timedelta(days=1) if is_quiet else day

    def _is_certification(self, told: ToldRecord) -> bool:
        """Tell whether a record is an encounter in which a death is certified, or belongs to one."""
        resource: Resource = told.shown
        if type_of(told.reference) != _ENCOUNTER:
            visit = self._reader.find(object_of(resource.get("encounter")).get("reference"))
            is_counted = visit is not None and self._case.counts(visit[0])
            resource = visit[1] if visit is not None and is_counted else {}
        codings = [coding for one in objects_of(resource.get("type")) for coding in objects_of(one.get("coding"))]
        return any(one.get("code") == DEATH_CERTIFICATION for one in codings)

    def _overlapping(self, encounters: Sequence[ToldRecord]) -> int | None:
        """Count the other stays here that overlap the claim's by more than a day: a transfer of wards does by less."""
        stays = [one for one in encounters if _is_stay(one.shown)]
        spans = [one.edition.event for one in stays]
        if not encounters:
            spans = [self._services()]
        patient = self._reader.patient()
        if not patient:
            # Stays are found by whose they are: of nobody, or of two who are one, nobody knows them.
            return None
        if not spans:
            return 0
        query = {"subject": f"Patient/{member(patient, 'id')}", "class": ",".join(sorted(INPATIENT))}
        cited, others = set(self._case.citation.cited), self._reader.counted(_ENCOUNTER, query)
        found = 0
        for row in others or ():
            other = event_span(orjson.dumps(self._reader.content(row)), row.created, self._zone)
            if f"{row.type}/{row.id}" not in cited and any(_shared_s(other, span) > DAY_S for span in spans):
                found += 1
        return None if others is None else found

    def _services(self) -> Period | None:
        """Return the days of the claim's services."""
        ends = [span_of(day, self._zone) for day in self._days_of_services()]
        known = [one for one in ends if one is not None and one.low >= 0]
        return Period(known[0].low // SECOND_US, known[-1].high // SECOND_US - 1) if len(known) == len(ends) else None

    def _told_times(self, told: Sequence[ToldRecord]) -> Period:
        """Tell from when to when what is told of was; of a record that says nothing, when it was stored.

        How long somebody is insured says nothing of when services were.
        """
        times = list[int]()
        for one in told:
            entered = one.edition.entered
            event = None if type_of(one.reference) == "Coverage" else one.edition.event
            known = [entered] if event is None else [event.start, event.end]
            times += [at for at in known if at is not None] or [one.record.shown.created]
        return Period(min(times), max(times)) if times else self._times

    def _days_of_services(self) -> tuple[str, str]:
        """Return first and last day of the claim's services, no further from what is told of than `BEYOND_S`.

        The days of encounters that are told of are among them, whatever the claim says: who judges sees those.
        """
        low = min([self._reader.day(max(0, self._times.start - BEYOND_S)).isoformat(), *self._visits])
        high = self._reader.day((self._times.end or self._times.start) + BEYOND_S).isoformat()
        citation = self._case.citation
        first, last = min(max(citation.first_day, low), high), max(min(citation.last_day, high), low)
        return min([first, *self._visits]), max([last, *self._visits])

    def _emergencies(self) -> Iterator[Fact]:
        """Count the emergencies in which people from here looked at this patient's records, here or elsewhere.

        What came after the claim was not before it, however late it is asked for; and what was given to another
        hospital in its own emergency says nothing of a claim of this one.
        """
        created, first = self._case.citation.created, midnight(self._days_of_services()[0])
        after = max(0, min(first, max(created, self._times.start - BEYOND_S)) - EMERGENCIES_BEFORE_S)
        to = max(after, min(created, self._case.time))
        window: dict[str, str | int] = {"from": after, "to": to}
        own = self._identifiers()
        found = self._reader.node.records.emergencies(after, limit=MOST_NOTED)
        rows = [(row, noted_for(row)) for row in found]
        times = [
            row.time
            for row, noted in rows
            if row.time <= to
            and not noted.declaration
            and (row.patient == self._case.patient or noted.identifier in own)
        ]
        # The newest of all patients' are found: behind so many, others' included, those before the claim may lie.
        is_known = len(found) < MOST_NOTED
        yield Fact("emergency_accesses", window, len(times) if is_known else None)
        yield Fact("last_emergency_access", window, max(times, default=None) if is_known else None)

    def _identifiers(self) -> frozenset[str]:
        """List by what others may have been asked for this patient: each identifier with its system and alone."""
        rows = objects_of(self._reader.patient().get("identifier"))
        named = [(member(one, "system"), member(one, "value")) for one in rows]
        return frozenset(text for system, value in named if value for text in (value, f"{system}|{value}"))


def _days_shown(told: Sequence[ToldRecord]) -> list[str]:
    """List the days of encounters as they are written, which is how they are opened."""
    periods = [object_of(one.shown.get("period")) for one in told if type_of(one.reference) == _ENCOUNTER]
    days = [day_written(member(one, end)) for one in periods for end in ("start", "end")]
    return [day for day in days if day is not None]


def _is_stay(encounter: Resource) -> bool:
    """Tell whether an Encounter is a stay."""
    return member(object_of(encounter.get("class")), "code") in INPATIENT


def _shared_s(one: Period | None, other: Period | None) -> int:
    """Tell how many seconds two periods share."""
    if one is None or other is None or one.end is None or other.end is None:
        return 0
    return min(one.end, other.end) - max(one.start, other.start)
