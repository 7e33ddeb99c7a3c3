"""Line 7, red flags: what is conspicuous beside the other lines, by what hospitals state and what contradicts itself.

Pure. Source: `docs/spec/claim-verdict.md`, rows ``flags``, and 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from medchain.dates import span_of
from medchain.ledger.claim_question import AMOUNT
from medchain.ledger.evidence.checked import Checked, Given, ShownRecord
from medchain.ledger.evidence.claim_reading import money_of, text_of
from medchain.ledger.evidence.disclosure import As
from medchain.ledger.evidence.lines.complete import TOTALS
from medchain.ledger.evidence.lines.consent import NOBODY
from medchain.ledger.evidence.lines.unaltered import altered
from medchain.ledger.evidence.lines.unclaimed import invoices
from medchain.ledger.evidence.statements import REVOKED, Fact
from medchain.ledger.evidence.verdict import Finding, listed
from medchain.ledger.evidence.windows import stated
from medchain.ledger.invoice import Scope
from medchain.ledger.kinds.content import DAY_S

STAY: Final = "IMP"
"""Class of an encounter that is a stay (v3-ActCode)."""

DONE: Final = frozenset({"DiagnosticReport", "MedicationAdministration", "Observation", "Procedure"})
"""Types of what is done to a patient who is there."""

_STATED: Final = ("emergency_accesses", "overlapping_stays")
_SECOND_US: Final = 1_000_000


def flags(case: Checked) -> Iterator[Finding]:
    """Find what is conspicuous."""
    found = [*_of_case(case), *(one for given in case.given for one in _of_hospital(case, given))]
    yield from found or [Finding("flags.none", {})]


def _of_case(case: Checked) -> Iterator[Finding]:
    """Find it for the whole claim."""
    if not case.claim.is_active:
        yield Finding("flags.inactive", {})
    if not case.given:
        yield Finding("flags.unknown", {"hospital": NOBODY, "names": listed(_STATED)})
    changed = altered(case)
    if changed:
        numbers = tuple(sorted(number for one in changed for number in one.items))
        yield Finding("flags.altered", {"count": len(changed)}, numbers)
    if case.known is not None and (AMOUNT in case.known.differs or _is_other_amount(case)):
        yield Finding("flags.other_amount", {"hospital": case.evidence.question.hospital or ""})


def _is_other_amount(case: Checked) -> bool:
    """Tell whether the insurer's copy of the invoice has another amount than the invoice that is shown."""
    row = case.evidence.row
    if row is None or row.money is None or row.scope is not Scope.INVOICE:
        return False
    totals = [[money_of(one.fields, name) for name in TOTALS] for one in invoices(case)]
    return any(any(found) and row.money not in found for found in totals)


def _of_hospital(case: Checked, given: Given) -> Iterator[Finding]:
    """Find it for what one hospital says."""
    yield from _stated(case, given)
    for fact in stated(case, given, "alive_on"):
        if fact.value is False:
            yield Finding("flags.after_death", {"day": fact.arguments["day"]})
    items = {one.row.reference: one.items for one in given.records}
    for fact in given.facts("credential"):
        if fact.value == REVOKED:
            reference = str(fact.arguments["reference"])
            told = {"hospital": given.hospital, "reference": reference}
            yield Finding("flags.credential", told, items.get(reference, ()))
    for record in given.records:
        if _is_ahead(record):
            yield Finding("flags.clock", record.name, record.items)
    yield from _after_discharge(given)


def _stated(case: Checked, given: Given) -> Iterator[Finding]:
    """Read the statements that every disclosure has; of other days or times than the claim's they say nothing."""
    name: dict[str, str | int] = {"hospital": given.hospital}
    found = {one: stated(case, given, one) for one in _STATED}
    unknown = [one for one, facts in found.items() if not facts]
    if len(stated(case, given, "alive_on")) < len(given.facts("alive_on")):
        unknown.append("alive_on")
    if _is_discharge_unknown(given):
        unknown.append("after_discharge")
    if unknown:
        yield Finding("flags.unknown", name | {"names": listed(unknown)})
    for count in _numbers(found["overlapping_stays"]):
        if count > 0:
            yield Finding("flags.overlap", name | {"count": count})
    last = max(_numbers(stated(case, given, "last_emergency_access")), default=0)
    for count in _numbers(found["emergency_accesses"]):
        if count > 0:
            yield Finding("flags.emergency", name | {"count": count, "last": last})


def _numbers(facts: Iterable[Fact]) -> list[int]:
    """List the numbers that are stated."""
    return [one.value for one in facts if isinstance(one.value, int)]


def _is_ahead(record: ShownRecord) -> bool:
    """Tell whether a record names a time more than a day after it was registered."""
    registered, edition = record.registered, record.edition
    if registered is None or edition is None:
        return False
    started = None if edition.event is None else edition.event.start
    return any(one is not None and one > registered + DAY_S for one in (edition.entered, started))


def _after_discharge(given: Given) -> Iterator[Finding]:
    """Find what was done to a patient more than a day after the last stay had ended."""
    ends = _discharges(given)
    known = [one for one in ends if one is not None]
    if not known or len(known) < len(ends):
        return
    for record in _done(given):
        event = None if record.edition is None else record.edition.event
        if event is not None and event.start > max(known) + DAY_S:
            yield Finding("flags.after_discharge", record.name, record.items)


def _is_discharge_unknown(given: Given) -> bool:
    """Tell whether something may have been done after the discharge, and what would say so is not told.

    No record names an event before 1970, so that of who left before none is missed.
    """
    ends = _discharges(given)
    known = [one for one in ends if one is not None]
    if len(known) < len(ends):
        return bool(_done(given))
    is_dated = bool(known) and max(known) >= 0
    return is_dated and any(one.edition is not None and one.edition.event is None for one in _done(given))


def _done(given: Given) -> list[ShownRecord]:
    """List the records of what is done to a patient who is there."""
    return [one for one in given.of(As.CITED) if one.row.type in DONE]


def _discharges(given: Given) -> list[int | None]:
    """Tell when each stay ended, None where that is left out; nothing where not all encounters are stays that ended."""
    encounters = given.of(As.ENCOUNTER)
    classes = [text_of(one.fields, "/class/code") for one in encounters]
    if any(code not in {STAY, None} for code in classes) or any(map(_goes_on, encounters)):
        return []
    spans = [span_of(text_of(one.fields, "/period/end") or "") for one in encounters]
    return [
        None if span is None or code is None else span.high // _SECOND_US
        for span, code in zip(spans, classes, strict=True)
    ]


def _goes_on(encounter: ShownRecord) -> bool:
    """Tell whether an encounter has no end, by what its hospital signs: one that is not opened could be left out."""
    event = None if encounter.edition is None else encounter.edition.event
    return "/period/end" not in encounter.fields and event is not None and event.end is None
