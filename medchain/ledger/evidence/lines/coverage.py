"""Line 6, coverage and time: were the services within the policy, and was who provided them an active member then?

Pure. Source: `docs/spec/claim-verdict.md`, rows ``coverage``, and 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

from medchain.ledger.evidence.checked import Checked
from medchain.ledger.evidence.claim_reading import day_written, text_of
from medchain.ledger.evidence.disclosure import As
from medchain.ledger.evidence.document import InsurancePolicy
from medchain.ledger.evidence.verdict import Finding
from medchain.ledger.evidence.windows import midnight, service_days
from medchain.ledger.kinds.content import DAY_S

_LAST: Final = date.max.isoformat()


def coverage(case: Checked) -> Iterator[Finding]:
    """Find whether the services were covered."""
    days = service_days(case.claim, case.given)
    if not days:
        yield Finding("coverage.unknown", {})
        return
    first, last = days
    policy = case.evidence.policy
    if policy is None or (policy.start is None and policy.end is None) or _is_hidden(case, policy):
        yield Finding("coverage.unknown", {})
    else:
        # Of an item of another day the encounters say nothing.
        named = sorted([first, last, *case.claim.billed])
        found = list(_outside(policy, named[0], named[-1]))
        yield from found or [Finding("coverage.covered", {"first": named[0], "last": named[-1]})]
    yield from _standing(case, last)


def _is_hidden(case: Checked, policy: InsurancePolicy) -> bool:
    """Tell whether an encounter hides the end at which the policy has one: the claim's own days could be others."""
    encounters = [one.fields for given in case.given for one in given.of(As.ENCOUNTER)]
    ends = [name for name, day in (("start", policy.start), ("end", policy.end)) if day is not None]
    return any(day_written(text_of(told, f"/period/{end}")) is None for told in encounters for end in ends)


def _outside(policy: InsurancePolicy, first: str, last: str) -> Iterator[Finding]:
    """Say which end of the policy the services are beyond. Days as they are written sort as they follow."""
    if policy.end is not None and last > policy.end:
        yield Finding("coverage.after", {"day": last, "end": policy.end})
    if policy.start is None:
        return
    begins = _later(policy.start, policy.waiting_days)
    if first < policy.start:
        yield Finding("coverage.before", {"day": first, "start": policy.start})
    elif first < begins:
        yield Finding("coverage.waiting", {"day": first, "until": begins})


def _later(day: str, days: int) -> str:
    """Return a later day, at most the last one that a calendar has."""
    try:
        return (date.fromisoformat(day) + timedelta(days=days)).isoformat()
    except OverflowError:
        return _LAST


def _standing(case: Checked, day: str) -> Iterator[Finding]:
    """Say who was no active member at the end of a day, of days after it joined."""
    asked = case.evidence.question.hospital
    ended = midnight(day) + DAY_S - 1
    for org_id in sorted({*(one.hospital for one in case.given), *([asked] if asked else [])}):
        was_active = case.members[org_id].was_active(ended)
        if was_active is None:
            yield Finding("coverage.unknown", {})
        elif not was_active:
            yield Finding("coverage.standing", {"day": day, "hospital": org_id})
