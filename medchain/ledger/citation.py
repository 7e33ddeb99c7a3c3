"""What a claim cites of a hospital's records, and asks to be told beside them: goes with a release request.

The signed request has the hash of it alone: it stands in the body of an access entry, which the drawn endorser reads,
and which holds the requests of many. Keeps true: a citation has one spelling, is of one claim, and asks for no more
than one number of a kind, so that a birth date or a code is not found by halves; only who has its salt can tell what a
hash is of. Pure. Trusts nothing that is parsed.
Source: `docs/spec/claim-disclosure.md` 1, 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Self, TypeAlias

from medchain.encoding import Json, as_list, as_object, canonical, digest, members, parse_canonical, unhex
from medchain.errors import InputError
from medchain.ledger.records_request import natural
from medchain.ledger.request import CitedClaim, ReleaseRequest
from medchain.ledger.signed_request import MAX_REQUEST_BYTES, SignedRequest, read_request
from medchain.ledger.transaction import HASH_BYTES

MAX_CITED: Final = 400
"""Most records that a claim cites at one hospital."""

MAX_ASKS: Final = 40
"""Most statements that are asked for."""

AGES: Final = frozenset({18, 50, 55, 60, 65, 70, 75, 80})
"""Ages that can be asked for: of age, and up to which insurers take customers. Among few a birth year is not found."""

MAX_DAYS: Final = 3650
"""Longest stay that can be asked for."""

MAX_RANGES: Final = 20
"""Most ranges of a list of codes."""

MAX_POSTED_BYTES: Final = 128 * 1024
"""Largest document that is posted: signed request and citation."""

AGE: Final = "age_at_least"
"""Statement: whether the patient is at least so many years old on a day."""

STAY: Final = "stay_at_most"
"""Statement: whether an encounter is of at most so many days."""

CODE: Final = "code_in"
"""Statement: whether the code of a record lies in a list of categories."""

_TYPE: Final = "medchain/claim-citation/v1"
_POSTED_TYPE: Final = "medchain/claim-release/v1"
_SHAPE: Final = {"asks": list, "cited": list, "created": int, "salt": str, "services": dict, "type": str}
_REFERENCE: Final = re.compile(r"([A-Z][A-Za-z]{1,63})/[A-Za-z0-9\-.]{1,64}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_RANGES: Final = re.compile(r"[A-Z][0-9][0-9A-Z](?:-[A-Z][0-9][0-9A-Z])?")

Argument: TypeAlias = tuple[str, str | int]


@dataclass(frozen=True, slots=True)
class Ask:
    """A statement that is asked for, whose numbers come from the policy.

    Attributes:
        name: `AGE`, `STAY` or `CODE`.
        arguments: names and values, sorted.
    """

    name: str
    arguments: tuple[Argument, ...]

    @classmethod
    def age(cls, day: str, years: int) -> Self:
        """Ask whether the patient is so old on a day."""
        return cls(AGE, (("day", day), ("years", years)))

    @classmethod
    def stay(cls, encounter: str, days: int) -> Self:
        """Ask whether an encounter (``Encounter/ID``) is of at most so many days."""
        return cls(STAY, (("days", days), ("encounter", encounter)))

    @classmethod
    def code(cls, reference: str, ranges: str) -> Self:
        """Ask whether a record's code lies in a list such as ``E10-E14,I10``."""
        return cls(CODE, (("list", ranges), ("reference", reference)))

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {"arguments": dict(self.arguments), "name": self.name}

    @property
    def order(self) -> tuple[str, bytes]:
        """By what asks are sorted."""
        return self.name, canonical(dict(self.arguments))

    @property
    def about(self) -> tuple[str, str | int]:
        """Of what it is one of a kind: of the patient, of an encounter, of a record."""
        return self.name, "" if self.name == AGE else self.arguments[1][1]


@dataclass(frozen=True, slots=True)
class Citation:
    """What a claim cites at one hospital.

    Attributes:
        cited: references, ``Type/id`` there, sorted.
        created: last second of what the claim says of when it was made, Unix seconds.
        first_day: first day of its services, ``YYYY-MM-DD``.
        last_day: last day of them.
        asks: statements that are asked for.
        salt: 32 unpredictable bytes.
    """

    cited: tuple[str, ...]
    created: int
    first_day: str
    last_day: str
    asks: tuple[Ask, ...]
    salt: bytes

    @classmethod
    def read(cls, value: Json) -> Self:
        """Read a citation strictly; raises `InputError` ``encoding.*``, ``release.malformed``."""
        top = members(value, _SHAPE)
        services = members(top["services"], {"end": str, "start": str})
        rows = as_list(top["asks"])
        made = cls(
            _references(as_list(top["cited"])),
            natural(top["created"]),
            _day(services["start"]),
            _day(services["end"]),
            tuple(_ask(row) for row in rows),
            unhex(top["salt"], HASH_BYTES),
        )
        if top["type"] != _TYPE or made.first_day > made.last_day:
            raise InputError("release.malformed", member="services" if top["type"] == _TYPE else "type")
        made.check_asks()
        return made

    def check_asks(self) -> None:
        """Refuse statements that are not of what is cited, or two of a kind; raises `InputError`.

        An age is that of the first day of the services: with days of one's choice one finds a birthday.
        """
        orders, about = [one.order for one in self.asks], [one.about for one in self.asks]
        named = {what for name, what in about if name != AGE}
        days = {value for one in self.asks if one.name == AGE for name, value in one.arguments if name == "day"}
        # Of two ages, or two lists for one record, the answers narrow down what neither says.
        is_sorted = orders == sorted(set(orders)) and len(set(about)) == len(about)
        if len(self.asks) > MAX_ASKS or not is_sorted or not (named <= set(self.cited) and days <= {self.first_day}):
            raise InputError("release.malformed", member="asks")

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "asks": [one.to_json() for one in self.asks],
            "cited": [*self.cited],
            "created": self.created,
            "salt": self.salt.hex(),
            "services": {"end": self.last_day, "start": self.first_day},
            "type": _TYPE,
        }

    @property
    def hash(self) -> bytes:
        """What the signed request names: ``digest(type, canonical(citation))``, 32 bytes."""
        return digest(_TYPE, canonical(self.to_json()))

    @property
    def resource_types(self) -> tuple[str, ...]:
        """Types of what is cited, sorted."""
        return tuple(sorted({type_of(one) for one in self.cited}))


def citation_of(
    cited: Iterable[str], created: int, services: tuple[str, str], salt: bytes, asks: Sequence[Ask] = ()
) -> Citation:
    """Make a citation.

    Args:
        cited: references, ``Type/id`` at the hospital, in any order.
        created: as `Citation.created`.
        services: first and last day of the claim's services.
        salt: 32 fresh unpredictable bytes.
        asks: statements that are asked for, in any order.

    Returns:
        The citation.

    Raises:
        InputError: ``release.malformed`` for what a hospital would refuse.
    """
    ordered = tuple(sorted(asks, key=lambda one: one.order))
    made = Citation(tuple(sorted(set(cited))), created, *services, ordered, salt)
    return Citation.read(made.to_json())


@dataclass(frozen=True, slots=True)
class Posted:
    """What an asker posts to a custodian.

    Attributes:
        signed: the signed request.
        citation: that goes with a request for a claim; None with any other.
    """

    signed: SignedRequest[ReleaseRequest]
    citation: Citation | None = None

    def encode(self) -> bytes:
        """Write it; without a citation it is the signed request alone."""
        if self.citation is None:
            return self.signed.encode()
        document: Json = {"citation": self.citation.to_json(), "signed": self.signed.to_json(), "type": _POSTED_TYPE}
        return canonical(document)


def parse_posted(document: bytes) -> Posted:
    """Read what was posted strictly; its signature is not checked yet.

    Args:
        document: from `Posted.encode`.

    Returns:
        It; a citation is the one that the request names, and the request asks for its types.

    Raises:
        InputError: ``encoding.*``, ``content.*``, ``release.malformed``, and ``release.citation`` for a citation that
            is another, absent, or one too many.
    """
    value = as_object(parse_canonical(document, max_bytes=MAX_POSTED_BYTES))
    if value.get("type") != _POSTED_TYPE:
        if len(document) > MAX_REQUEST_BYTES:
            raise InputError("encoding.too_large", size=len(document), limit=MAX_REQUEST_BYTES)
        posted = Posted(read_request(ReleaseRequest, value))
    else:
        top = members(value, {"citation": dict, "signed": dict, "type": str})
        posted = Posted(read_request(ReleaseRequest, top["signed"]), Citation.read(top["citation"]))
    check_citation(posted.signed.request.claim, posted.signed.request.resource_types, posted.citation)
    return posted


def check_citation(claim: CitedClaim | None, types: tuple[str, ...], citation: Citation | None) -> None:
    """Check that a citation is the one that a request names; raises `InputError` ``release.citation``."""
    named = None if claim is None else (claim.citation, types)
    given = None if citation is None else (citation.hash, citation.resource_types)
    if named != given:
        raise InputError("release.citation")


def type_of(reference: str) -> str:
    """Return the FHIR type of a reference ``Type/id``."""
    return reference.partition("/")[0]


def _references(values: Sequence[Json]) -> tuple[str, ...]:
    """Read what is cited."""
    found = [one for one in values if type(one) is str and _REFERENCE.fullmatch(one)]
    if not 0 < len(values) <= MAX_CITED or len(found) != len(values) or found != sorted(set(found)):
        raise InputError("release.malformed", member="cited")
    return tuple(found)


def _ask(value: Json) -> Ask:
    """Read a statement that is asked for."""
    top = members(value, {"arguments": dict, "name": str})
    match top["name"]:
        case "age_at_least":
            given = members(top["arguments"], {"day": str, "years": int})
            if given["years"] not in AGES:
                raise InputError("release.malformed", member="years")
            return Ask.age(_day(given["day"]), natural(given["years"]))
        case "stay_at_most":
            given = members(top["arguments"], {"days": int, "encounter": str})
            return Ask.stay(str(given["encounter"]), _within(given["days"], MAX_DAYS))
        case "code_in":
            given = members(top["arguments"], {"list": str, "reference": str})
            return Ask.code(str(given["reference"]), read_ranges(str(given["list"])))
    raise InputError("release.malformed", member="name")


def _within(value: Json, most: int) -> int:
    """Read a number up to a bound."""
    found = natural(value)
    if found > most:
        raise InputError("release.malformed", member="number")
    return found


def read_ranges(text: str) -> str:
    """Read a list of three-character categories: what is finer would ask for a code, not for its category.

    Args:
        text: such as ``E10-E14,I10``, sorted, at most `MAX_RANGES` ranges.

    Returns:
        The same.

    Raises:
        InputError: ``release.malformed`` for what is none.
    """
    rows = text.split(",")
    is_one = len(rows) <= MAX_RANGES and all(_RANGES.fullmatch(row) for row in rows)
    if not is_one or rows != sorted(set(rows)) or any(row[:3] > row[-3:] for row in rows):
        raise InputError("release.malformed", member="list")
    return text


def _day(value: Json) -> str:
    """Read a day."""
    text = str(value)
    try:
        # `fromisoformat` takes other forms as well.
        is_day = bool(_DAY.fullmatch(text)) and bool(date.fromisoformat(text))
    except ValueError:
        is_day = False
    if not is_day:
        raise InputError("release.malformed", member="day")
    return text
