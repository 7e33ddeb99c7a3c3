"""Of which days a claim's services were, and whether what a hospital states is of those: of others it says nothing.

Keeps true: who states something of a narrower time than the claim's says less than nothing, and who states it of a time
after the claim says what has no part in it; neither counts. Days are those that are written. Pure.
Source: `docs/spec/claim-verdict.md` 3, 8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from medchain.ledger.evidence.checked import Checked, Given
from medchain.ledger.evidence.claim_reading import ReadClaim, day_written, text_of
from medchain.ledger.evidence.disclosure import As
from medchain.ledger.evidence.statements import Fact
from medchain.ledger.kinds.content import DAY_S

EMERGENCIES_BEFORE_S: Final = 30 * DAY_S
"""From how long before a claim's services on emergency accesses are told of."""

DEATH_CERTIFICATION: Final = "308646001"
"""SNOMED CT's code of an encounter in which a death is certified: it comes after the death."""

_KIND: Final = re.compile(r"/type/[0-9]+/coding/[0-9]+/code")
_EPOCH: Final = date(1970, 1, 1).toordinal()


def service_days(claim: ReadClaim, given: Sequence[Given]) -> tuple[str, str] | None:
    """Return the first and the last day of services: of encounters that are shown, else of the claim; None of none."""
    days = sorted(day for one in given for told in _encounters(one) for day in _days(told)) or [*claim.services]
    return (days[0], days[-1]) if days else None


def stated(case: Checked, given: Given, name: str) -> list[Fact]:
    """List what a hospital states under a name, as far as it knows it, of the days and the time of the claim."""
    facts = [one for one in given.facts(name) if one.value is not None]
    days = service_days(case.claim, [given])
    match name:
        case "overlapping_stays":
            return [one for one in facts if days is None or _covers(one, *days)]
        case "emergency_accesses" | "last_emergency_access":
            return [one for one in facts if _ends_with_claim(case, given, one) and _begins_before(one, days)]
        case _:
            return [one for one in facts if _is_of_life(case, given, one)]


def midnight(day: str) -> int:
    """Return when a day (``YYYY-MM-DD``) begins in UTC, Unix seconds."""
    return (date.fromisoformat(day).toordinal() - _EPOCH) * DAY_S


def _encounters(given: Given) -> list[Mapping[str, str]]:
    """List what is opened of each encounter."""
    return [one.fields for one in given.of(As.ENCOUNTER)]


def _days(told: Mapping[str, str]) -> list[str]:
    """List the days that an encounter opens of its two ends, sorted."""
    ends = [day_written(text_of(told, f"/period/{end}")) for end in ("start", "end")]
    return sorted(day for day in ends if day is not None)


def _covers(fact: Fact, first: str, last: str) -> bool:
    """Tell whether days that are stated cover others."""
    start, end = str(fact.arguments["start"]), str(fact.arguments["end"])
    return _is_day(start) and _is_day(end) and start <= first and last <= end


def _is_day(text: str) -> bool:
    """Tell whether a text is a day: as texts they sort only then as they follow."""
    return day_written(text) == text


def _begins_before(fact: Fact, days: tuple[str, str] | None) -> bool:
    """Tell whether a time that is stated begins long enough before the services."""
    return days is None or int(fact.arguments["from"]) <= max(0, midnight(days[0]) - EMERGENCIES_BEFORE_S)


def _ends_with_claim(case: Checked, given: Given, fact: Fact) -> bool:
    """Tell whether a time that is stated ends with the claim: what came later was not shortly before it."""
    told = given.disclosure.time
    made = told if case.claim.created is None else min(case.claim.created, told)
    return abs(int(fact.arguments["to"]) - made) <= DAY_S


def _is_of_life(case: Checked, given: Given, fact: Fact) -> bool:
    """Tell whether the day on which somebody was alive, or not, says it of the services."""
    day = str(fact.arguments["day"])
    if not _is_day(day):
        return False
    if fact.value is False:
        days = service_days(case.claim, [given])
        return days is None or day <= max([days[1], *case.claim.services])
    last = _last_of_life(case.claim, given)
    return last is None or last <= day


def _last_of_life(claim: ReadClaim, given: Given) -> str | None:
    """Return the last day of services to the living; None where nothing says it.

    A death is certified after it, and who dies in a stay is discharged after it: of a stay of at least a night, the day
    before its last one counts.
    """
    encounters = _encounters(given)
    spans = [days for told in encounters if not _certifies_death(told) and (days := _days(told))]
    if not spans:
        is_after = any(map(_certifies_death, encounters))
        return None if is_after or not claim.services else claim.services[-1]
    last = max(days[-1] for days in spans)
    is_discharge = any(days[0] < last == days[-1] for days in spans)
    return (date.fromisoformat(last) - timedelta(days=1)).isoformat() if is_discharge else last


def _certifies_death(told: Mapping[str, str]) -> bool:
    """Tell whether an encounter opens that a death was certified at it."""
    return any(_KIND.fullmatch(name) and text_of(told, name) == DEATH_CERTIFICATION for name in told)
