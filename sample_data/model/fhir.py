"""The small parts of which FHIR R4 resources are made, and the transaction Bundle that carries them.

Keeps true: ids follow from the seed; numbers keep their decimal places (`Decimal`, never a float); what a bundle
refers to is in it (`urn:uuid:`) or is found by a conditional reference into the directory bundle that is posted first.
Source: FHIR R4 (4.0.1) §2.24 data types, §3.1.0.11 transaction.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Final, TypeAlias

from sample_data.model.stream import Stream

Value: TypeAlias = "bool | int | str | Decimal | Sequence[Value] | Mapping[str, Value] | None"
"""Anything that can stand in a FHIR JSON document."""

Element: TypeAlias = "dict[str, Value]"
"""A FHIR data type or resource that is still being filled."""

CHINA: Final = timezone(timedelta(hours=8))
"""China Standard Time, the only one in use there."""

ICD10: Final = "http://hl7.org/fhir/sid/icd-10"
ICD9_CM3: Final = "http://hl7.org/fhir/sid/icd-9-cm"
LOINC: Final = "http://loinc.org"
SNOMED: Final = "http://snomed.info/sct"
UCUM: Final = "http://unitsofmeasure.org"
ATC: Final = "http://www.whocc.no/atc"
CVX: Final = "http://hl7.org/fhir/sid/cvx"
HL7: Final = "http://terminology.hl7.org/CodeSystem/"
ORGANIZATION_ID: Final = "https://medchain.example/fhir/id/organization"
"""Identifier system of the consortium's five organisations; the value is the organisation's slug."""

_TRANSLATION: Final = "http://hl7.org/fhir/StructureDefinition/translation"


def concept(system: str, code: str, zh: str, en: str = "") -> Element:
    """Return a CodeableConcept in Chinese, with an English translation of the display when one is given."""
    coding: Element = {"system": system, "code": code, "display": zh}
    if en:
        coding["_display"] = translated(en)
    return {"coding": [coding], "text": zh}


def coded(system: str, code: str) -> Element:
    """Return a CodeableConcept that is only a code of a public HL7 code system, named without its common prefix."""
    return {"coding": [{"system": HL7 + system, "code": code}]}


def translated(en: str) -> Element:
    """Return the sibling element (``_name``, ``_display``) that carries the English of a Chinese string."""
    parts = [{"url": "lang", "valueCode": "en"}, {"url": "content", "valueString": en}]
    return {"extension": [{"url": _TRANSLATION, "extension": parts}]}


def identifier(system: str, value: str, kind: str = "") -> Element:
    """Return an Identifier; ``kind`` is a code of HL7 table 0203, such as ``MR``."""
    element: Element = {"system": system, "value": value}
    return {"type": coded("v2-0203", kind), **element} if kind else element


def conditional(resource_type: str, system: str, value: str, display: str = "") -> Element:
    """Return a Reference that the server resolves by identifier (FHIR R4 §3.1.0.11.3)."""
    element: Element = {"reference": f"{resource_type}?identifier={system}|{value}"}
    return {**element, "display": display} if display else element


def quantity(value: Decimal | int, unit: str, code: str) -> Element:
    """Return a Quantity in a UCUM unit; ``unit`` is what people read."""
    return {"value": value, "unit": unit, "system": UCUM, "code": code}


def money(fen: int) -> Element:
    """Return an amount of Chinese yuan, given in fen (hundredths), always with two decimal places."""
    return {"value": Decimal(fen).scaleb(-2), "currency": "CNY"}


def instant(moment: datetime) -> str:
    """Return a date and time to the second with its offset, as FHIR dateTime and instant want it."""
    return moment.isoformat(timespec="seconds")


def at(day: date, minute: int) -> datetime:
    """Return the moment ``minute`` minutes after midnight of a day, in China."""
    return datetime(day.year, day.month, day.day, tzinfo=CHINA) + timedelta(minutes=minute)


def narrative(*lines: str) -> Element:
    """Return a generated Narrative with a paragraph a line."""
    body = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml" lang="zh-CN">{body}</div>'}


def text_attachment(title: str, text: str, moment: datetime) -> Element:
    """Return an Attachment that holds a Chinese plain text."""
    data = base64.b64encode(text.encode()).decode()
    return {
        "contentType": "text/plain; charset=utf-8",
        "language": "zh-CN",
        "data": data,
        "title": title,
        "creation": instant(moment),
    }


class Bundle:
    """A transaction Bundle while it is being filled.

    Args:
        stream: gives the UUIDs; its path must be the bundle's own.
    """

    def __init__(self, stream: Stream) -> None:
        """Start without entries."""
        self._stream = stream
        self._counts: dict[str, int] = {}
        self.entries: list[Element] = []

    def add(self, resource_type: str, content: Element, *, if_none_exist: str = "") -> Element:
        """Append a resource that the server creates.

        Args:
            resource_type: FHIR type.
            content: its elements, without ``resourceType`` and ``id``.
            if_none_exist: search of a conditional create, so that posting twice makes no second copy.

        Returns:
            A Reference to it for use inside this bundle.
        """
        count = self._counts[resource_type] = self._counts.get(resource_type, 0) + 1
        uid = self._stream.uuid(resource_type, count)
        request: Element = {"method": "POST", "url": resource_type}
        if if_none_exist:
            request["ifNoneExist"] = if_none_exist
        resource: Element = {"resourceType": resource_type, "id": uid, **content}
        self.entries.append({"fullUrl": f"urn:uuid:{uid}", "resource": resource, "request": request})
        return {"reference": f"urn:uuid:{uid}"}

    def upcoming(self, resource_type: str) -> Element:
        """Return the Reference that the next `add` of this type will give, for resources that refer to each other."""
        return {"reference": f"urn:uuid:{self._stream.uuid(resource_type, self._counts.get(resource_type, 0) + 1)}"}

    def find(self, reference: Element) -> Element:
        """Return the resource that a Reference given by `add` leads to."""
        return next(
            resource
            for entry in self.entries
            if entry["fullUrl"] == reference["reference"] and isinstance(resource := entry["resource"], dict)
        )

    def replace(self, resource_type: str, search: str, content: Element) -> Element:
        """Append a resource that replaces the one found by ``search`` (conditional update, FHIR R4 §3.1.0.4.3).

        Returns:
            A Reference to it for use inside this bundle.
        """
        uid = self._stream.uuid("replace", len(self.entries))
        resource: Element = {"resourceType": resource_type, **content}
        request: Element = {"method": "PUT", "url": f"{resource_type}?{search}"}
        self.entries.append({"fullUrl": f"urn:uuid:{uid}", "resource": resource, "request": request})
        return {"reference": f"urn:uuid:{uid}"}

    def document(self) -> Element:
        """Return the finished Bundle."""
        return {"resourceType": "Bundle", "type": "transaction", "entry": self.entries}
