"""What a FHIR Claim or ExplanationOfBenefit says that a verdict needs, read to the letter.

Keeps true: amounts are read from the digits that stand there, never by a float; days are those that are written; a
name that occurs twice in an object is refused, since readers would disagree. Pure. Trusts nothing that is read.
Source: `docs/spec/claim-verdict.md` 2, 3; FHIR R4 Claim, ExplanationOfBenefit; RFC 6901.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import orjson

from medchain.crypto.fields import record_fields
from medchain.dates import span_of
from medchain.errors import InputError
from medchain.ledger.invoice import Amount, amount_of

TYPES: Final = frozenset({"Claim", "ExplanationOfBenefit"})
"""What counts as a claim."""

ORGANISATION_SYSTEM: Final = "https://medchain.example/fhir/id/organization"
"""System of the identifier by which a resource names a member; its value is the org_id."""

MAX_POINTERS: Final = 16 << 20
"""How long all JSON pointers of a claim may be together: one long name would else fill a reader's memory."""

_ACTIVE: Final = "active"
_CITED: Final = re.compile(
    r"/supportingInfo/[0-9]+/valueReference/reference|/diagnosis/[0-9]+/diagnosisReference/reference"
    r"|/procedure/[0-9]+/procedureReference/reference|/item/[0-9]+/encounter/[0-9]+/reference"
    r"|/(?:originalPrescription|prescription|referral)/reference"
)
_ADDRESS: Final = re.compile(r"https?://[^/]+")
_REFERENCE: Final = re.compile(r"(?:(.+)/)?([A-Z][A-Za-z]{0,63}/[A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?")
_ITEM: Final = re.compile(r"/item/([0-9]+)/(.+)")
_SERVICE: Final = re.compile(r"/item/[0-9]+/(servicedDate|servicedPeriod/start|servicedPeriod/end)")
_SUBMITTED: Final = re.compile(r"/total/([0-9]+)/category/coding/[0-9]+/code")
_DAY_CHARS: Final = len("2026-11-28")
_SECOND_US: Final = 1_000_000


class Cited(NamedTuple):
    """A record that a claim names.

    Attributes:
        base: what stands before it, such as a server's address; empty for a relative reference.
        reference: ``Type/id``.
    """

    base: str
    reference: str

    @property
    def address(self) -> str:
        """Scheme, host and port of the server; empty where it names none."""
        found = _ADDRESS.match(self.base)
        return "" if found is None else found[0]


@dataclass(frozen=True, slots=True)
class ReadClaim:
    """What a claim says.

    Attributes:
        created: the last second of when it was made, Unix seconds; None where it does not say.
        services: days of which its items are, or else it as a whole, as written; sorted.
        billed: days of which its items are, likewise.
        cited: records that it names, in the order of their references.
        total: what is claimed; None where that cannot be read.
        items: what its items come to; None where none has a net, or one cannot be read.
        is_whole: whether every item has a net.
        is_unread: whether the net of an item is there and cannot be read, or is of another currency than others.
        provider: org_id of who provided it, where it is named by its identifier.
        is_active: whether it is in force; one that does not say is taken for such.
    """

    created: int | None
    services: tuple[str, ...]
    billed: tuple[str, ...]
    cited: tuple[Cited, ...]
    total: Amount | None
    items: Amount | None
    is_whole: bool
    is_unread: bool
    provider: str | None
    is_active: bool


def read_claim(content: bytes) -> ReadClaim:
    """Read a claim.

    Args:
        content: FHIR JSON, bounded by the caller.

    Returns:
        What it says.

    Raises:
        InputError: ``fields.*`` for what is no JSON object, ``evidence.claim`` for another type.
    """
    told = {name.decode(): text.decode() for name, text in record_fields(content, MAX_POINTERS)}
    if text_of(told, "/resourceType") not in TYPES:
        raise InputError("evidence.claim")
    created = span_of(text_of(told, "/created") or "")
    provider = text_of(told, "/provider/identifier/value")
    billed = _days(told, filter(_SERVICE.fullmatch, told))
    nets, is_whole = _nets(told)
    items = _sum(nets)
    is_member = text_of(told, "/provider/identifier/system") == ORGANISATION_SYSTEM
    return ReadClaim(
        created=None if created is None else max((created.high - 1) // _SECOND_US, 0),
        # Only where items have no days those of the whole.
        services=billed or _days(told, ("/billablePeriod/start", "/billablePeriod/end")),
        billed=billed,
        cited=tuple(sorted(set(_cited(told)), key=lambda one: (one.reference, one.base))),
        total=_total(told, items if is_whole else None),
        items=items,
        is_whole=is_whole,
        is_unread=bool(nets) and items is None,
        provider=provider if is_member else None,
        is_active=text_of(told, "/status") in (None, _ACTIVE),
    )


def text_of(told: Mapping[str, str], pointer: str) -> str | None:
    """Return a text of what `medchain.crypto.fields.record_fields` took apart; None for anything else."""
    value = told.get(pointer, "")
    return str(orjson.loads(value)) if value.startswith('"') else None


def money_of(told: Mapping[str, str], pointer: str) -> Amount | None:
    """Return FHIR Money, from its digits; None for what is none."""
    currency = text_of(told, f"{pointer}/currency")
    try:
        return None if currency is None else amount_of(told.get(f"{pointer}/value", ""), currency)
    except InputError:
        return None


def day_written(text: str | None) -> str | None:
    """Return the day of a date or dateTime as it is written; None for what names no day."""
    if text is None or len(text) < _DAY_CHARS or span_of(text) is None:
        return None
    return text[:_DAY_CHARS]


def _cited(told: Mapping[str, str]) -> Iterator[Cited]:
    """List the records that it names as its evidence; what it contains itself is none."""
    for pointer in told:
        match = _REFERENCE.fullmatch(text_of(told, pointer) or "") if _CITED.fullmatch(pointer) else None
        if match is not None:
            yield Cited(match[1] or "", match[2])


def _days(told: Mapping[str, str], pointers: Iterable[str]) -> tuple[str, ...]:
    """List the days that stand at some places, sorted, each once."""
    days = {day_written(text_of(told, pointer)) for pointer in pointers}
    return tuple(sorted(day for day in days if day is not None))


def _nets(told: Mapping[str, str]) -> tuple[list[Amount | None], bool]:
    """Read the net of each item that has one, None for one that cannot be read; and whether every item has one."""
    matches = [match for match in map(_ITEM.fullmatch, told) if match is not None]
    having = {match[1] for match in matches if match[2].partition("/")[0] == "net"}
    return [money_of(told, f"/item/{number}/net") for number in sorted(having)], len(having) == len(
        {match[1] for match in matches}
    )


def _sum(nets: Sequence[Amount | None]) -> Amount | None:
    """Add amounts; None for none, for one that is not known, and for several currencies."""
    known = [one for one in nets if one is not None]
    if not known or len(known) < len(nets) or len({one.currency for one in known}) > 1:
        return None
    return Amount(sum(one.minor for one in known), known[0].currency)


def _total(told: Mapping[str, str], items: Amount | None) -> Amount | None:
    """Read what is claimed: a Claim's total, what another document says was submitted, or else the items' sum."""
    submitted = [
        f"/total/{match[1]}/amount"
        for pointer, match in ((pointer, _SUBMITTED.fullmatch(pointer)) for pointer in told)
        if match is not None and text_of(told, pointer) == "submitted"
    ]
    # One that is there and cannot be read is not known: the items' sum may be another.
    if told.keys() & {"/total/currency", "/total/value"}:
        return money_of(told, "/total")
    return money_of(told, submitted[0]) if submitted else items
