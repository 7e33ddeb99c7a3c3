"""What a client prefers: format, language, and how it wants to be answered.

Keeps true: what is answered depends on the text of a header alone, so that each text is read once and remembered; a
format that is not served is refused, not guessed. Trusts nothing.
Source: FHIR R4 §3.1.0.1.8 (content types), §3.1.0.1.11 (`_format`), §3.1.0.1.7 (Prefer); RFC 9110 §12; RFC 7240.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

from medchain.errors import InputError

MAX_WAIT_S: Final = 30
"""Longest wait of `Prefer: wait=N`, in seconds."""

_REMEMBERED: Final = 512
_MAX_CHARS: Final = 512
_WAIT: Final = re.compile(r"[0-9]{1,4}")
_LANGUAGES: Final = ("en", "zh")
_FHIR_VERSIONS: Final = frozenset({"4.0", "4.0.1"})
_Read = TypeVar("_Read")


class Format(StrEnum):
    """In which form a resource is written."""

    JSON = "json"
    XML = "xml"


class Returned(StrEnum):
    """What a client wants to have back of what it wrote."""

    MINIMAL = "minimal"
    REPRESENTATION = "representation"
    OUTCOME = "OperationOutcome"


class Preference(NamedTuple):
    """What `Prefer` says.

    Attributes:
        returned: what is to come back; None where the client does not say.
        is_strict: whether unknown search parameters are to be refused.
        wait_s: how long to wait for what is written to be final, in seconds; None for not at all.
        is_lenient: whether the client says that what is not supported may be passed over.
        is_async: whether it wants to be answered later.
    """

    returned: Returned | None
    is_strict: bool
    wait_s: int | None
    is_lenient: bool = False
    is_async: bool = False


class _Weighed(NamedTuple):
    """One of several things that a header names: how much it is wanted, from 0 to 1, and where it stands."""

    name: str
    weight: float
    place: int
    fields: dict[str, str]


FORMATS: Final = {
    "json": Format.JSON,
    "application/json": Format.JSON,
    "application/fhir+json": Format.JSON,
    "text/json": Format.JSON,
    "xml": Format.XML,
    "application/xml": Format.XML,
    "application/fhir+xml": Format.XML,
    "text/xml": Format.XML,
}
"""By what names the formats are asked for."""

_FHIR_OWN: Final = frozenset({"application/fhir+json", "application/fhir+xml"})
_NAMES: Final = {form: frozenset(name for name in FORMATS if FORMATS[name] is form) for form in Format}
_RANGES: Final = (frozenset({"application/*", "text/*"}), frozenset({"*/*"}))


def remembered(read: Callable[[str], _Read]) -> Callable[[str], _Read]:
    """Remember what texts mean: few texts come again and again; very long ones are read each time."""
    kept = lru_cache(_REMEMBERED)(read)

    def answer(text: str) -> _Read:
        return kept(text) if len(text) <= _MAX_CHARS else read(text)

    return answer


@remembered
def accepted(header: str) -> Format:
    """Choose a format by the header Accept, JSON of two alike; raises `InputError` ``http.406`` where none is taken."""
    if not header.strip():
        return Format.JSON
    rows = [row for row in _weighed(header) if row.fields.get("fhirversion", "4.0") in _FHIR_VERSIONS]
    weight, _, found = max(((*_wanted(form, rows), form) for form in Format), key=lambda one: one[:2])
    if weight <= 0:
        raise InputError("http.406")
    return found


def _wanted(form: Format, rows: Sequence[_Weighed]) -> tuple[float, int]:
    """Tell how much a format is wanted, and how early it is named: what names it closest counts (RFC 9110 §12.5.1)."""
    return _closest(rows, (_NAMES[form], *_RANGES))


def _closest(rows: Sequence[_Weighed], named: Iterable[Collection[str]]) -> tuple[float, int]:
    """Return weight and place of the first names of which there are any; those that are closest come first."""
    for names in named:
        found = [(row.weight, -row.place) for row in rows if row.name in names]
        if found:
            return max(found)
    return 0.0, 0


def asked_format(text: str) -> Format:
    """Choose a format by `_format`, where a plus sign may have become a blank; raises as `accepted`."""
    name, _, _ = text.partition(";")
    found = FORMATS.get(name.strip().lower().replace(" ", "+"))
    if found is None:
        raise InputError("http.406")
    return found


@remembered
def sent_format(header: str) -> Format | None:
    """Tell in which format a body is by its Content-Type; None for another media type."""
    name, fields = _parted(header)
    if fields.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        return None
    if fields.get("fhirversion", "4.0") not in _FHIR_VERSIONS:
        return None
    return FORMATS.get(name) if "/" in name else None


def media_type(header: str) -> str:
    """Return the media type of a Content-Type, in lower case and without parameters."""
    return header.partition(";")[0].strip().lower()


def prefers_fhir(header: str, own: str) -> bool:
    """Tell whether a client names FHIR's own media types in Accept, and wants nothing else of what there is more.

    Args:
        header: Accept.
        own: media type under which it is served otherwise.
    """
    rows = list(_weighed(header))
    wanted = max((row.weight for row in rows if row.name in _FHIR_OWN), default=0.0)
    return wanted > 0 and wanted >= _closest(rows, ({own}, {f"{own.partition('/')[0]}/*"}, {"*/*"}))[0]


@remembered
def language(header: str) -> str:
    """Choose ``zh`` or ``en`` by Accept-Language; English where neither is named."""
    for name, _ in _ranked(header):
        if name.partition("-")[0] in _LANGUAGES:
            return name.partition("-")[0]
    return _LANGUAGES[0]


@remembered
def preference(header: str) -> Preference:
    """Read Prefer; what is not understood is passed over (RFC 7240 §2)."""
    returned, handling, wait, is_async = None, "", None, False
    for part in re.split(r"[,;\s]+", header):
        name, _, value = part.partition("=")
        value = value.strip('"')
        if name == "return" and value in tuple(Returned):
            returned = Returned(value)
        elif name == "handling":
            handling = value
        elif name == "wait" and _WAIT.fullmatch(value):
            wait = min(int(value), MAX_WAIT_S)
        elif name == "respond-async":
            is_async = True
    return Preference(returned, handling == "strict", wait, handling == "lenient", is_async)


@remembered
def takes_gzip(header: str) -> bool:
    """Tell whether a client takes gzip (RFC 9110 §12.5.3)."""
    return any(name in ("gzip", "x-gzip") for name, _ in _ranked(header))


def _ranked(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    """List what a header names with its parameters, the most wanted first; what is not wanted at all is left out."""
    for row in sorted(_weighed(header), key=lambda row: (-row.weight, row.place)):
        if row.weight:
            yield row.name, row.fields


def _weighed(header: str) -> Iterator[_Weighed]:
    """List what a header names with its weight, 0 for what is not wanted, and for what has no weight that is one."""
    for place, part in enumerate(header.split(",")):
        name, fields = _parted(part)
        try:
            weight = float(fields.get("q", "1"))
        except ValueError:
            weight = 0.0
        if name:
            yield _Weighed(name, weight if 0 < weight <= 1 else 0.0, place, fields)


def _parted(text: str) -> tuple[str, dict[str, str]]:
    """Part a name from its parameters."""
    name, *rest = text.split(";")
    fields = {}
    for one in rest:
        key, _, value = one.partition("=")
        fields[key.strip().lower()] = value.strip().strip('"')
    return name.strip().lower(), fields
