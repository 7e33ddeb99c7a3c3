"""What a choice would change, in words and in records: against what is permitted already, and if the patient says no.

Keeps true: what is counted is what the decision lets through when it is replayed over all of the patient's records;
sensitive records are told by themselves; of those that are counted the first alone are opened, to name them. Trusts
`consent.web.replay` for that, and `consent.web.difference` for the terms.
Source: `docs/spec/patient-pages.md` 5, 15.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from consent.decision import Resource
from consent.web.difference import Difference, difference_of, earlier_of
from consent.web.kinds import SENSITIVE
from consent.web.naming import title_of, when_of
from consent.web.offer import EXAMPLES, Choice, sensitive_in
from consent.web.ports import PatientRecord
from consent.web.replay import Replay
from consent.web.site import Patient, PatientSite
from consent.web.view import Given, given_of
from medchain.encoding import Json
from medchain.ledger.kinds.content import DAY_S
from medchain.web.pages import language

Shown: TypeAlias = "Mapping[str, PatientRecord]"
"""Reference of a record that was opened, to name it → the record."""


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
    through: Sequence[Resource]


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a choice would change against a permission in force.

    Attributes:
        earlier: that permission.
        found: in the terms.
        more: the records that the choice would let through and the permission does not.
        less: the other way round.
    """

    earlier: Given
    found: Difference
    more: Sequence[Resource]
    less: Sequence[Resource]


def examples_of(site: PatientSite, me: Patient, lists: Iterable[Sequence[Resource]]) -> Shown:
    """Open the first records of each of some lists, all at once.

    Args:
        site: of the pages.
        me: whose records they are.
        lists: what is counted.
    """
    named = {one.reference for rows in lists for one in rows[:EXAMPLES] if one.reference is not None}
    return site.records_of(me).some(me.id, named, language()) if named else {}


def opened(records: Iterable[Resource], shown: Shown) -> list[PatientRecord]:
    """List those of some records that were opened, as `examples_of` gives them."""
    found = (shown.get(one.reference or "") for one in records)
    return [one for one in found if one is not None]


def sensitive_rows(
    site: PatientSite, choice: Choice, found: Mapping[str, Sequence[Resource]], shown: Shown
) -> list[dict[str, object]]:
    """Word the sensitive kinds of records, each with how many would pass if it were ticked, and examples.

    Args:
        site: of the pages.
        choice: what is ticked.
        found: what would pass of each if all were.
        shown: examples, opened.
    """
    return [
        {
            "kind": kind,
            "name": site.pages.say(f"sensitive.{kind}"),
            "is_chosen": kind in choice.sensitive,
            **some_of(site, found.get(kind, []), shown),
        }
        for kind in SENSITIVE
    ]


def sensitive_count(through: Sequence[Resource]) -> int:
    """Count the records that are sensitive in one way or another."""
    return len({one.reference for rows in sensitive_in(through).values() for one in rows})


def renewal_of(site: PatientSite, me: Patient, offered: Offered, replay: Replay) -> Renewal | None:
    """Find what a choice would change against the permission that it renews; None where it renews none."""
    earlier = earlier_of(given_of(site.consents(me)), offered.ask)
    if earlier is None:
        return None
    until = site.pages.site.clock() + offered.choice.days * DAY_S
    found = difference_of(earlier, offered.types, offered.choice, until)
    passing = replay.passing(site.content(me, earlier.key))
    return Renewal(earlier, found, _without(offered.through, passing), _without(passing, offered.through))


def renewed_row(site: PatientSite, renewal: Renewal, shown: Shown) -> dict[str, object]:
    """Word what a choice would change.

    Args:
        site: of the pages.
        renewal: against which permission, and what.
        shown: examples, opened.
    """
    say, found, earlier = site.pages.say, renewal.found, renewal.earlier

    def worded(rows: Sequence[tuple[str, bool]], area: str) -> list[str]:
        return [say("diff.part" if is_part else "diff.whole", kind=say(f"{area}.{kind}")) for kind, is_part in rows]

    return {
        "key": earlier.key,
        "signed": site.day(earlier.signed_at),
        "more": worded(found.more, "kind") + worded([(one, False) for one in found.more_sensitive], "sensitive"),
        "less": worded(found.less, "kind") + worded([(one, False) for one in found.less_sensitive], "sensitive"),
        "more_records": some_of(site, renewal.more, shown),
        "less_records": some_of(site, renewal.less, shown),
        "until": site.day(found.until),
        "before": say("access.no_end") if earlier.until is None else site.day(earlier.until),
        "is_later": found.is_later,
        "is_only_date": found.is_only_date,
    }


def unless_row(site: PatientSite, me: Patient, ask: Mapping[str, Json], replay: Replay) -> dict[str, object]:
    """Say what who asks could see if the patient says no: what is permitted already, or demanded by law."""
    standing = [one for one in given_of(site.consents(me)) if one.is_in_force and one.recipient == ask["asker"]]
    # Under what is for one claim no record is seen whole.
    permitted = [one for one in standing if one.law is None and one.claim is None]
    seen = {record.reference for one in permitted for record in replay.passing(site.content(me, one.key))}
    return {
        "count": len(seen),
        "is_permitted": bool(permitted),
        "is_by_law": any(one.law is not None for one in standing),
    }


def some_of(site: PatientSite, records: Sequence[Resource], shown: Shown) -> dict[str, object]:
    """Give how many records there are, and the first of them by name and date."""
    examples = [(title_of(site, one), when_of(site, one)) for one in opened(records[:EXAMPLES], shown)]
    return {"count": len(records), "examples": examples, "has_more": len(records) > len(examples)}


def _without(these: Sequence[Resource], those: Sequence[Resource]) -> list[Resource]:
    """List the records that are among these and not among those."""
    names = {one.reference for one in those}
    return [one for one in these if one.reference not in names]
