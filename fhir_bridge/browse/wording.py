"""How pages name a resource, its type and its elements in the reader's language.

Keeps true: what is shown is what the resource holds (`fhir_bridge.browse.view`). Trusts the page for the language.
Source: `docs/glossary.md`.
"""

from __future__ import annotations

from typing import Final

from fhir_bridge.browse.view import CHINESE, ENGLISH, Marks, line_of, when_of
from fhir_bridge.browse.words import ELEMENTS
from fhir_bridge.document import Resource, objects_of
from fhir_bridge.smart.patients import name_text
from medchain.record_types import TYPES
from medchain.web.pages import Pages, language

_PATIENT: Final = "Patient"


def line_in(pages: Pages, resource: Resource) -> dict[str, str]:
    """Say in a line what a resource is."""
    kind, line = str(resource.get("resourceType")), line_of(resource, marks_in(language()))
    if kind == _PATIENT:
        names = objects_of(resource.get("name"))
        line = name_text(names[0]) if names else ""
        sex = resource.get("gender")
        line += (
            pages.say("patient.bracket", text=pages.say(f"browse.gender.{sex}")) if sex in ("female", "male") else ""
        )
    return {
        "type": type_in(kind),
        "line": line or str(resource.get("id")),
        "when": pages.dated(when_of(resource)),
        "place": place_of(resource),
    }


def marks_in(reader: str) -> Marks:
    """Tell what stands between the parts of a line in a reader's language."""
    return CHINESE if reader == "zh" else ENGLISH


def type_in(name: str) -> str:
    """Name a type in the reader's language, as FHIR does where it has no word."""
    return TYPES.get(name, name) if language() == "zh" else name


def element_in(name: str) -> str:
    """Name an element likewise."""
    return ELEMENTS.get(name, name) if language() == "zh" else name


def place_of(resource: Resource) -> str:
    """Name a resource."""
    return f"{resource.get('resourceType')}/{resource.get('id')}"
