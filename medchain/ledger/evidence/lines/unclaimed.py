"""Line 5, not claimed elsewhere: what the ledger holds under the invoice's claim id, which only its hospital can give.

Pure. Source: `docs/spec/claim-verdict.md`, rows ``unclaimed``; `docs/spec/claim-question.md` 11 to 14.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from medchain.errors import InputError
from medchain.ledger.claim_question import STATUS, Known
from medchain.ledger.evidence.checked import Checked, Placed, ShownRecord
from medchain.ledger.evidence.claim_reading import day_written, text_of
from medchain.ledger.evidence.disclosure import As
from medchain.ledger.evidence.document import Asked
from medchain.ledger.evidence.verdict import Finding
from medchain.ledger.invoice import Scope, spelled
from medchain.ledger.kinds.claim_content import REVERSED, Claim, read_shown
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.kinds.shares import Share, State
from medchain.ledger.object import StateRecord, map_key

CLAIM: Final = "claim"
"""Kind of the objects that say what is claimed of an invoice."""

_ABSENT: Final = "unclaimed.absent"
_SYSTEM: Final = "https://medchain.example/fhir/id/"
_FORMS: Final = ("e-invoice", "paper-invoice")
_COUNTING: Final = frozenset({"balanced", "issued"})
_MAX_IDENTIFIERS: Final = 100
_UNASKED: Final[Mapping[Asked, str]] = {
    Asked.INACTIVE: "unclaimed.inactive",
    Asked.NONE: "unclaimed.no_copy",
    Asked.OUTSIDE: "unclaimed.outside",
    Asked.REFUSED: "unclaimed.refused",
    Asked.STOPPED: "unclaimed.stopped",
    Asked.UNREACHABLE: "unclaimed.unreachable",
}


def unclaimed(case: Checked) -> Iterator[Finding]:
    """Find what is claimed of the invoice."""
    question, known = case.evidence.question, case.known
    name: dict[str, str | int] = {"hospital": question.hospital or ""}
    if question.state in _UNASKED:
        yield Finding(_UNASKED[question.state], {})
    elif known is None:
        yield Finding("unclaimed.unknown", name)
    else:
        placed = case.items.get(map_key(CLAIM, str(question.hospital), known.claim_id))
        found = Finding("unclaimed.missing", name) if placed is None else _standing(case, known, placed, name)
        if known.is_apart:
            yield Finding("unclaimed.apart", name)
        # That nothing is claimed under this id would read as if nothing were claimed at all.
        if not known.is_apart or found.code != _ABSENT:
            yield found
        if known.invoice.scope is not Scope.INVOICE:
            yield Finding("unclaimed.line", name)
        for record in (one for given in case.given for one in given.of(As.INVOICE)):
            if record.hospital != question.hospital or _is_other(record, known):
                yield Finding("unclaimed.other_invoice", record.name, record.items)
            elif record.head is not None and not _is_named(record, known):
                yield Finding("unclaimed.unshown", record.name, record.items)


def invoices(case: Checked) -> list[ShownRecord]:
    """List the invoices that the hospital shows which was asked."""
    asked = case.evidence.question.hospital
    return [one for given in case.given if given.hospital == asked for one in given.of(As.INVOICE)]


def _standing(case: Checked, known: Known, placed: Placed, name: dict[str, str | int]) -> Finding:
    """Say what the ledger holds."""
    head, numbers = placed.item.newest, (placed.number,)
    # What an answer says beside the id nobody has signed: what the hospital shows of the invoice counts as well.
    statuses = {text_of(one.fields, "/status") for one in invoices(case)} - {None}
    if STATUS in known.differs or not statuses <= _COUNTING or (head is not None and head.status == REVERSED):
        return Finding("unclaimed.reversed", name, numbers)
    if head is None or _is_free(head, case.state.time // DAY_S):
        return Finding(_ABSENT, name, numbers)
    claim = _shown(placed)
    if claim is None:
        return Finding("unclaimed.claimed", name, numbers)
    return _parts(case, claim, placed, name)


def _is_free(head: StateRecord, day: int) -> bool:
    """Tell whether nothing is claimed any more: of a later version the status does not show what was paid beside it."""
    is_over = head.status == State.RESERVED and head.version == 1 and head.expires is not None and head.expires < day
    return head.status == State.RELEASED or is_over


def _shown(placed: Placed) -> Claim | None:
    """Read the version that is shown; None where none is."""
    body = placed.body
    return None if body is None else read_shown(body.content)


def _parts(case: Checked, claim: Claim, placed: Placed, name: dict[str, str | int]) -> Finding:
    """Say what this insurer has, and what is left."""
    day, numbers, total = case.state.time // DAY_S, (placed.number,), case.claim.total
    money = name | {"currency": claim.bill.currency}
    live = [one.on(day) for one in claim.shares.rows if one is not None]
    own = [one for one in live if one.is_live and one.insurer == case.evidence.insurer]
    mine = [one for one in own if one.claim == case.evidence.claim]
    if len(mine) < len(own):
        return Finding("unclaimed.claimed", name, numbers)
    if mine and claim.open < 0:
        # What a part was taken of has become less since: to settle it is refused, and what is settled is too much.
        told = {"amount": mine[0].amount, "total": claim.shares.total}
        return Finding("unclaimed.refunded", money | told, numbers)
    if mine:
        return _own(placed, mine[0], money)
    is_head = placed.item.newest == placed.item.proven
    is_enough = total is not None and total.currency == claim.bill.currency and claim.open >= total.minor
    if is_head and is_enough:
        return Finding("unclaimed.enough", money | {"open": claim.open}, numbers)
    return Finding("unclaimed.claimed", name, numbers)


def _own(placed: Placed, part: Share, money: dict[str, str | int]) -> Finding:
    """Say which part this insurer has for this claim, by the head or by a version before it."""
    newest, proven = placed.item.newest, placed.item.proven
    told = money | {"amount": part.amount}
    if newest == proven or newest is None or proven is None:
        return Finding("unclaimed.own", told, (placed.number,))
    versions = {"newest": newest.version, "version": proven.version}
    return Finding("unclaimed.own_before", told | versions, (placed.number,))


def _is_other(record: ShownRecord, known: Known) -> bool:
    """Tell whether an invoice that is opened names itself otherwise than the one of the claim id."""
    own, wanted = _names(record.fields), _wanted(known)
    day = day_written(text_of(record.fields, "/date"))
    is_same = all(not own[part] or wanted[part] in own[part] for part in wanted)
    return not is_same or (day is not None and day != known.invoice.date)


def _is_named(record: ShownRecord, known: Known) -> bool:
    """Tell whether an invoice opens what tells it from others: who shows it could leave out where it is another."""
    own = _names(record.fields)
    is_named = all(own[part] or not wanted for part, wanted in _wanted(known).items())
    day = day_written(text_of(record.fields, "/date"))
    return is_named and day is not None and text_of(record.fields, "/status") is not None


def _names(told: Mapping[str, str]) -> dict[str, set[str]]:
    """Return the codes and numbers that an invoice opens, of whichever form."""
    names = dict(_identifiers(told))
    return {part: {names.get(f"{_SYSTEM}{form}-{part}", "") for form in _FORMS} - {""} for part in ("code", "number")}


def _wanted(known: Known) -> dict[str, str]:
    """Return code and number of the claim id's invoice."""
    return {"code": known.invoice.code, "number": known.invoice.number}


def _identifiers(told: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """List system and value of a record's identifiers, spelled as invoices are."""
    for place in range(_MAX_IDENTIFIERS):
        system, value = text_of(told, f"/identifier/{place}/system"), text_of(told, f"/identifier/{place}/value")
        if system is not None and value is not None:
            try:
                yield system, spelled(value, "number")
            except InputError:
                yield system, value
