"""What a choice would change, in words and in records: against what is permitted already, and if the patient says no.

Keeps true: what is counted is what the decision lets through when it is replayed over the patient's records; sensitive
records are told by themselves. Trusts `consent.web.replay` for that, and `consent.web.difference` for the terms.
Source: `docs/spec/patient-pages.md` 5, 15.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consent.web.difference import difference_of, earlier_of
from consent.web.kinds import SENSITIVE
from consent.web.offer import EXAMPLES, Choice, sensitive_in
from consent.web.ports import PatientRecord
from consent.web.replay import Replay
from consent.web.site import Patient, PatientSite
from consent.web.view import given_of
from medchain.encoding import Json
from medchain.ledger.kinds.content import DAY_S


@dataclass(frozen=True, slots=True)
class Offered:
    """A choice of an ask, and what it would let through.

    Attributes:
        ask: what is asked for.
        choice: what of it is chosen.
        types: FHIR types that this permits, or ``*`` alone.
        through: the records that would pass now.
    """

    ask: Mapping[str, Json]
    choice: Choice
    types: tuple[str, ...]
    through: Sequence[PatientRecord]


def sensitive_rows(
    site: PatientSite, choice: Choice, most: Sequence[PatientRecord], replay: Replay
) -> list[dict[str, object]]:
    """Word the sensitive kinds of records, each with how many would pass if it were ticked, and examples.

    Args:
        site: of the pages.
        choice: what is ticked.
        most: what would pass if all were.
        replay: the patient's records.
    """
    found = sensitive_in(most, replay)
    return [
        {
            "kind": kind,
            "name": site.pages.say(f"sensitive.{kind}"),
            "is_chosen": kind in choice.sensitive,
            **_some(found.get(kind, [])),
        }
        for kind in SENSITIVE
    ]


def sensitive_count(through: Sequence[PatientRecord], replay: Replay) -> int:
    """Count the records that are sensitive in one way or another."""
    return len({one.reference for rows in sensitive_in(through, replay).values() for one in rows})


def renewed_row(site: PatientSite, me: Patient, offered: Offered, replay: Replay) -> dict[str, object] | None:
    """Word what a choice would change against the permission that it renews; None where it renews none."""
    earlier = earlier_of(given_of(site.consents(me)), offered.ask)
    if earlier is None:
        return None
    say, until = site.pages.say, site.pages.site.clock() + offered.choice.days * DAY_S
    found = difference_of(earlier, offered.types, offered.choice, until)
    passing = replay.passing(site.content(me, earlier.key))

    def worded(rows: Sequence[tuple[str, bool]], area: str) -> list[str]:
        return [say("diff.part" if is_part else "diff.whole", kind=say(f"{area}.{kind}")) for kind, is_part in rows]

    return {
        "key": earlier.key,
        "signed": site.day(earlier.signed_at),
        "more": worded(found.more, "kind") + worded([(one, False) for one in found.more_sensitive], "sensitive"),
        "less": worded(found.less, "kind") + worded([(one, False) for one in found.less_sensitive], "sensitive"),
        "more_records": _some(_without(offered.through, passing)),
        "less_records": _some(_without(passing, offered.through)),
        "until": site.day(until),
        "before": say("access.no_end") if earlier.until is None else site.day(earlier.until),
        "is_later": found.is_later,
        "is_only_date": found.is_only_date,
    }


def unless_row(site: PatientSite, me: Patient, ask: Mapping[str, Json], replay: Replay) -> dict[str, object]:
    """Say what who asks could see if the patient says no: what is permitted already, or demanded by law."""
    standing = [one for one in given_of(site.consents(me)) if one.is_in_force and one.recipient == ask["asker"]]
    permitted = [one for one in standing if one.law is None]
    seen = {record.reference for one in permitted for record in replay.passing(site.content(me, one.key))}
    return {"count": len(seen), "is_permitted": bool(permitted), "is_by_law": len(permitted) < len(standing)}


def _some(records: Sequence[PatientRecord]) -> dict[str, object]:
    """Give how many records there are, and the first of them by name and date."""
    examples = [(one.title or one.type, one.when) for one in records[:EXAMPLES]]
    return {"count": len(records), "examples": examples, "has_more": len(records) > len(examples)}


def _without(these: Sequence[PatientRecord], those: Sequence[PatientRecord]) -> list[PatientRecord]:
    """List the records that are among these and not among those."""
    names = {one.reference for one in those}
    return [one for one in these if one.reference not in names]
