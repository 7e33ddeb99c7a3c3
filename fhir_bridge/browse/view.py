"""A resource as people read it: rows of names and values, a line, a date.

Keeps true: what is shown is what the resource holds, shortened but never worded anew; nothing is markup. Narratives are
left out: they are HTML of others. Whoever needs every member reads the JSON beside it. Pure.
Source: FHIR R4 §2.24 (data types); HL7's definitions for what an element's type is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from fhir_bridge.definitions.elements import members
from fhir_bridge.document import Element, Resource, objects_of
from fhir_bridge.smart.patients import name_text

_LEFT_OUT: Final = frozenset({"resourceType", "text", "id"})
_LINK: Final = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})(?:/_history/[0-9]{1,9})?")
_MAX_CHARS: Final = 2000
_MAX_DEPTH: Final = 4
# Where a resource says when it happened, the more telling first.
_WHEN: Final = (
    "effectiveDateTime",
    "effectivePeriod",
    "effectiveInstant",
    "performedDateTime",
    "performedPeriod",
    "onsetDateTime",
    "onsetPeriod",
    "occurrenceDateTime",
    "occurrencePeriod",
    "period",
    "started",
    "start",
    "authoredOn",
    "billablePeriod",
    "servicedDate",
    "recordedDate",
    "date",
    "issued",
    "created",
    "authored",
    "sent",
    "recorded",
    "dateAsserted",
    "whenHandedOver",
    "whenPrepared",
    "birthDate",
)
# What it is about, likewise.
_WHAT: Final = (
    "code",
    "vaccineCode",
    "medicationCodeableConcept",
    "medicationReference",
    "type",
    "name",
    "title",
    "class",
    "category",
    "description",
    "serviceType",
    "purpose",
    "outcome",
)
_SUMMED: Final = "value"
_PARTS: Final = "component"
_MOST_PARTS: Final = 4
_LOINC: Final = "http://loinc.org"
# A blood pressure, whole and the panel of before, and the two parts of it that people say.
_PRESSURE: Final = frozenset({"85354-9", "55284-4"})
_SYSTOLIC: Final = "8480-6"
_DIASTOLIC: Final = "8462-4"
# As people write the unit that UCUM writes so.
_UNITS: Final = {"mm[Hg]": "mmHg"}
_DATES: Final = frozenset({"date", "dateTime", "instant", "Period"})
_BETWEEN: Final = " – "


class Marks(NamedTuple):
    """What stands between the parts of a line.

    Attributes:
        colon: between what it is about and what it says of that.
        comma: between parts of what it says.
        bracket: around codes, ``{}`` for them.
    """

    colon: str
    comma: str
    bracket: str


ENGLISH: Final = Marks(": ", ", ", " ({})")
"""Of a line in English, and of codes in any language."""

CHINESE: Final = Marks("：", "，", "（{}）")
"""Of a line in Chinese."""


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        depth: how far it is below the resource, from 0.
        name: of the element, as FHIR has it.
        value: as text; empty for an element that has its own rows below.
        link: ``Type/id`` of what it refers to here; empty for none.
        codes: behind its words; empty where it has none, or is a code alone.
        is_date: whether it is a date, a time, or a period of them, as FHIR writes these.
    """

    depth: int
    name: str
    value: str
    link: str = ""
    codes: str = ""
    is_date: bool = False

    def words(self, dated: Callable[[str], str]) -> str:
        """Give the text, dates in it as a reader writes them."""
        return _BETWEEN.join(map(dated, self.value.split(_BETWEEN))) if self.is_date else self.value

    def whole(self, dated: Callable[[str], str]) -> str:
        """Give it with its codes."""
        return _bracketed(self.words(dated), self.codes)


class _Said(NamedTuple):
    """A value as text: its words, and the codes behind them."""

    words: str
    codes: str = ""


def rows_of(resource: Resource) -> list[Row]:
    """Write a resource as rows, in its own order."""
    return list(_rows(str(resource.get("resourceType")), resource, 0))


def line_of(resource: Resource, marks: Marks = ENGLISH, *, has_codes: bool = True) -> str:
    """Say in a line what a resource is about, and what it says of that; empty where it does not say.

    Args:
        resource: which.
        marks: of the reader's language.
        has_codes: whether codes stand behind their words.
    """
    kind = str(resource.get("resourceType"))
    found = next((said for name in _WHAT if (said := _said(kind, resource, name)).words), _NOTHING)
    values = [_said(kind, resource, name) for name in resource if name.startswith(_SUMMED)]
    parts = [_bracketed(*said, marks) if has_codes else said.words for said in (found, *values)]
    return marks.colon.join(filter(None, parts if any(parts[1:]) else [*parts, _parts(resource, marks)]))


def _parts(resource: Resource, marks: Marks) -> str:
    """Say what an observation says in parts: a blood pressure as people do, of any other each part by its name."""
    kind, given = str(resource.get("resourceType")), resource.get(_PARTS)
    if _PARTS not in members(kind):
        return ""
    parts = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    pressure = _pressure(parts) if _PRESSURE & _loinc(resource) else ""
    said = [text for one in parts if (text := _part(kind, one))]
    return pressure or marks.comma.join(said[:_MOST_PARTS]) + (" …" if len(said) > _MOST_PARTS else "")


def _part(kind: str, part: Resource) -> str:
    """Say a part: its name and its value; empty where it has none."""
    path = f"{kind}.{_PARTS}"
    values = [said.words for name in part if name.startswith(_SUMMED) and (said := _said(path, part, name)).words]
    return " ".join([*filter(None, [_said(path, part, "code").words]), *values]) if values else ""


def _pressure(parts: list[Resource]) -> str:
    """Say a blood pressure, the higher before the lower; empty where it cannot be said so."""
    found = {code: one.get("valueQuantity") for one in parts for code in _loinc(one)}
    both = [one for code in (_SYSTOLIC, _DIASTOLIC) if isinstance(one := found.get(code), dict)]
    units = {_quantity({**one, "value": None}) for one in both}
    # With a comparator, or a unit each, it is said part by part.
    if len(both) < 2 or len(units) > 1 or any(_of(one, "comparator") for one in both):  # noqa: PLR2004  # two parts
        return ""
    numbers = [text for one in both for text in _of(one, "value")]
    shown = [_UNITS.get(unit, unit) for unit in units if unit]
    return " ".join(["/".join(numbers), *shown]) if len(numbers) == len(both) else ""


def _loinc(of: Resource) -> frozenset[str]:
    """List the codes of LOINC by which something says what it is."""
    concept = of.get("code")
    codings = _codings(concept) if isinstance(concept, dict) else []
    return frozenset(text for one in codings if one.get("system") == _LOINC for text in _of(one, "code"))


def words_of(concept: Element) -> str:
    """Read the words of a CodeableConcept, its own before those of its codes; empty for none."""
    found = concept if isinstance(concept, dict) else {}
    texts = [*_of(found, "text"), *(text for one in _codings(found) for text in _of(one, "display"))]
    return texts[0] if texts else ""


def when_of(resource: Resource) -> str:
    """Say when what a resource tells of happened, as it has it; when it was stored where it does not say."""
    for name in _WHEN:
        value = resource.get(name)
        start = value.get("start") if isinstance(value, dict) else value
        if isinstance(start, str):
            return start
    meta = resource.get("meta")
    stored = meta.get("lastUpdated") if isinstance(meta, dict) else None
    return stored if isinstance(stored, str) else ""


def _said(kind: str, resource: Resource, name: str) -> _Said:
    """Write one member as text; empty where it is not there, or has rows of its own."""
    value, member = resource.get(name), members(kind).get(name)
    if value is None or member is None:
        return _NOTHING
    first = value[0] if isinstance(value, list) and value else value
    return _text(member.type, first) or _NOTHING


def _rows(path: str, value: Resource, depth: int) -> Iterator[Row]:
    """Write an object's members as rows."""
    known = members(path)
    for name, given in value.items():
        if name.startswith("_") or (depth == 0 and name in _LEFT_OUT) or name == "resourceType":
            continue
        member = known.get(name)
        for one in given if isinstance(given, list) else [given]:
            if member is None:
                yield Row(depth, name, _plain(one))
            elif member.type == "Extension" and isinstance(one, dict):
                yield from _extension(one, depth)
            else:
                yield from _row(name, member.type, member.content, one, depth)


def _row(name: str, kind: str, content: str, value: Element, depth: int) -> Iterator[Row]:
    """Write one value as a row, or as rows below one."""
    said = _text(kind, value)
    if said is not None or not isinstance(value, dict):
        words, codes = said or _NOTHING
        yield Row(depth, name, words[:_MAX_CHARS], _linked(kind, value), codes[:_MAX_CHARS], kind in _DATES)
        return
    inner = str(value.get("resourceType")) if kind == "Resource" else content
    yield Row(depth, name, inner if kind == "Resource" else "")
    yield from _rows(inner, value, min(depth + 1, _MAX_DEPTH))


def _extension(value: Resource, depth: int) -> Iterator[Row]:
    """Write an extension under the last part of its name."""
    name = str(value.get("url", "")).rstrip("/").rpartition("/")[2]
    for key, given in value.items():
        member = members("Extension").get(key)
        if key.startswith("value") and member is not None:
            yield from _row(name, member.type, member.content, given, depth)
    nested = value.get("extension")
    if isinstance(nested, list):
        yield Row(depth, name, "")
        for one in nested:
            if isinstance(one, dict):
                yield from _extension(one, min(depth + 1, _MAX_DEPTH))


def _text(kind: str, value: Element) -> _Said | None:
    """Write a value as text; None where it has members that are rows of their own."""
    if not isinstance(value, dict):
        return _Said(_plain(value))
    if kind in _CODED:
        return _CODED[kind](value)
    write = _WRITERS.get(kind)
    return None if write is None else _Said(write(value))


def _plain(value: Element) -> str:
    """Write a primitive value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None or isinstance(value, dict | list) else str(value)


def _linked(kind: str, value: Element) -> str:
    """Name the resource that a value refers to, if it can be one of this node."""
    given = value.get("reference" if kind == "Reference" else "url") if isinstance(value, dict) else None
    match = _LINK.fullmatch(given) if isinstance(given, str) and kind in ("Reference", "Attachment") else None
    return "" if match is None else f"{match[1]}/{match[2]}"


def _of(value: Mapping[str, Element], *names: str) -> list[str]:
    """Write those of some members that are there."""
    return [text for name in names if (text := _plain(value.get(name)))]


def _codings(concept: Resource) -> list[Resource]:
    """List the codings of a CodeableConcept."""
    return objects_of(concept.get("coding"))


def _concept(value: Resource) -> _Said:
    """Write a CodeableConcept."""
    return _coded(words_of(value), [code for one in _codings(value) for code in _of(one, "code")])


def _coding(value: Resource) -> _Said:
    """Write a Coding."""
    return _coded("".join(_of(value, "display")), _of(value, "code"))


def _coded(words: str, codes: list[str]) -> _Said:
    """Tell words and codes apart; codes without words are the words."""
    more = ", ".join(code for code in dict.fromkeys(codes) if code != words)
    return _Said(words, more) if words else _Said(more)


def _with(words: str, more: list[str]) -> str:
    """Write words, and what is behind them."""
    return _bracketed(*_coded(words, more))


def _bracketed(words: str, codes: str, marks: Marks = ENGLISH) -> str:
    """Write words with codes behind them."""
    return words + marks.bracket.format(codes) if codes else words


def _quantity(value: Resource) -> str:
    """Write a Quantity, or Money."""
    unit = _of(value, "unit") or _of(value, "code") or _of(value, "currency")
    return "".join(_of(value, "comparator")) + " ".join([*_of(value, "value"), *unit])


def _pair(first: str, second: str, between: str) -> Callable[[Resource], str]:
    """Write two quantities, or two moments."""

    def written(value: Resource) -> str:
        parts = []
        for name in (first, second):
            one = value.get(name)
            parts.append(_quantity(one) if isinstance(one, dict) else _plain(one))
        return between.join(parts) if any(parts) else ""

    return written


def _address(value: Resource) -> str:
    """Write an Address."""
    given = value.get("line")
    lines = [_plain(one) for one in given] if isinstance(given, list) else []
    parts = [*lines, *_of(value, "city", "district", "state", "postalCode", "country")]
    return "".join(_of(value, "text")) or ", ".join(parts)


def _reference(value: Resource) -> str:
    """Write a Reference."""
    identifier = value.get("identifier")
    named = _of(value, "display") or _of(value, "reference")
    return "".join(named) or (_identifier(identifier) if isinstance(identifier, dict) else "")


def _identifier(value: Resource) -> str:
    """Write an Identifier."""
    return _with("".join(_of(value, "value")), _of(value, "system"))


def _attachment(value: Resource) -> str:
    """Write an Attachment, not its bytes."""
    size = [f"{text} B" for text in _of(value, "size")]
    return ", ".join([*(_of(value, "title") or _of(value, "url")), *_of(value, "contentType"), *size])


_WRITERS: Final[Mapping[str, Callable[[Resource], str]]] = {
    "Address": _address,
    "Age": _quantity,
    "Annotation": lambda value: "".join(_of(value, "text")),
    "Attachment": _attachment,
    "ContactPoint": lambda value: _with("".join(_of(value, "value")), _of(value, "use")),
    "Count": _quantity,
    "Distance": _quantity,
    "Duration": _quantity,
    "HumanName": name_text,
    "Identifier": _identifier,
    "Money": _quantity,
    "Period": _pair("start", "end", _BETWEEN),
    "Quantity": _quantity,
    "Range": _pair("low", "high", _BETWEEN),
    "Ratio": _pair("numerator", "denominator", " / "),
    "Reference": _reference,
}

_CODED: Final[Mapping[str, Callable[[Resource], _Said]]] = {"CodeableConcept": _concept, "Coding": _coding}

_NOTHING: Final = _Said("")
