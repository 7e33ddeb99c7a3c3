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
from fhir_bridge.document import Element, Resource
from fhir_bridge.smart.patients import name_text

_LEFT_OUT: Final = frozenset({"resourceType", "text", "id"})
_LINK: Final = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})(?:/_history/[0-9]{1,9})?")
_INSTANT: Final = re.compile(r"([0-9-]{10})T([0-9]{2}:[0-9]{2})[0-9:.]*(Z|[+-][0-9]{2}:[0-9]{2})")
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


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        depth: how far it is below the resource, from 0.
        name: of the element, as FHIR has it.
        value: as text; empty for an element that has its own rows below.
        link: ``Type/id`` of what it refers to here; empty for none.
    """

    depth: int
    name: str
    value: str
    link: str = ""


def rows_of(resource: Resource) -> list[Row]:
    """Write a resource as rows, in its own order."""
    return list(_rows(str(resource.get("resourceType")), resource, 0))


def line_of(resource: Resource) -> str:
    """Say in a line what a resource is about; empty where it does not say."""
    kind = str(resource.get("resourceType"))
    found = next((text for name in _WHAT if (text := _said(kind, resource, name))), "")
    values = [_said(kind, resource, name) for name in resource if name.startswith(_SUMMED)]
    return ": ".join(part for part in (found, *values) if part)


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


def moment(text: str) -> str:
    """Write an instant to the minute, as people do; a date stays as it is."""
    match = _INSTANT.fullmatch(text)
    if match is None:
        return text
    return f"{match[1]} {match[2]} {'UTC' if match[3] == 'Z' else match[3]}"


def _said(kind: str, resource: Resource, name: str) -> str:
    """Write one member as text; empty where it is not there, or has rows of its own."""
    value, member = resource.get(name), members(kind).get(name)
    if value is None or member is None:
        return ""
    first = value[0] if isinstance(value, list) and value else value
    return _text(member.type, first) or ""


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
    text = _text(kind, value)
    if text is not None or not isinstance(value, dict):
        yield Row(depth, name, (text or "")[:_MAX_CHARS], _linked(kind, value))
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


def _text(kind: str, value: Element) -> str | None:
    """Write a value as text; None where it has members that are rows of their own."""
    if not isinstance(value, dict):
        return _plain(value)
    write = _WRITERS.get(kind)
    return None if write is None else write(value)


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


def _concept(value: Resource) -> str:
    """Write a CodeableConcept: its words, and its codes behind them."""
    given = value.get("coding")
    codings = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    codes = [code for one in codings for code in _of(one, "code")]
    words = [*_of(value, "text"), *(text for one in codings for text in _of(one, "display"))]
    return _with(words[0] if words else "", codes)


def _with(words: str, codes: list[str]) -> str:
    """Write words and codes."""
    more = ", ".join(code for code in dict.fromkeys(codes) if code != words)
    return f"{words} ({more})" if words and more else words or more


def _coding(value: Resource) -> str:
    """Write a Coding."""
    return _with("".join(_of(value, "display")), _of(value, "code"))


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
    "CodeableConcept": _concept,
    "Coding": _coding,
    "ContactPoint": lambda value: _with("".join(_of(value, "value")), _of(value, "use")),
    "Count": _quantity,
    "Distance": _quantity,
    "Duration": _quantity,
    "HumanName": name_text,
    "Identifier": _identifier,
    "Money": _quantity,
    "Period": _pair("start", "end", " – "),
    "Quantity": _quantity,
    "Range": _pair("low", "high", " – "),
    "Ratio": _pair("numerator", "denominator", " / "),
    "Reference": _reference,
}
