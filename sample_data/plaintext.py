"""Which strings of a bundle say something about a patient, and so must never lie on a disk in plaintext.

Keeps true: a string is only left out for a stated reason; what is not known to be public is a needle. Numbers, codes,
units, addresses of systems and names of the consortium's five organisations are public vocabulary, and so are the
names of staff, places and devices in the directory bundles (a doctor's name inside a patient's record is a needle all
the same).
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sample_data.model.directory import PUBLIC_NAMES

MIN_BYTES: Final = 4
"""Shorter strings are found anywhere by chance."""

_PUBLIC_TYPES: Final = {"Organization", "Practitioner", "PractitionerRole", "Location"}
_PUBLIC_TARGET: Final = re.compile(r"^(Organization|Location|Device)\b")

# Elements that hold codes, units, addresses of systems, moments or references: vocabulary, not words about a person.
_VOCABULARY: Final = frozenset({
    "resourceType", "id", "system", "code", "url", "reference", "unit", "status", "docStatus", "use", "type",
    "intent", "kind", "gender", "mode", "priority", "comparator", "currency", "contentType", "language", "criticality",
    "category", "outcome",
    "period", "periodUnit", "durationUnit", "rank", "profile", "versionId", "lastUpdated", "fullUrl", "method", "when",
    "country", "creation", "start", "end", "date", "created", "issued", "authored", "authoredOn", "recorded",
    "recordedDate",
    "sent", "timestamp", "linkId", "version", "source", "instantiates", "instantiatesCanonical", "dayOfWeek", "started",
    "expirationDate", "manufactureDate", "ifNoneExist", "path", "uid", "hash", "size", "dataAbsentReason",
})  # fmt: skip
_VOCABULARY_SUFFIX: Final = re.compile(
    r"(DateTime|Instant|Date|Time|Period|Uri|Url|Canonical|Code|Oid|Uuid)$"
)  # fmt: skip
_PERSONAL: Final = frozenset({"birthDate", "deceasedDateTime"})
# In plaintext JSON these characters are escaped or part the text: a needle must not hold one.
_BREAKS: Final = re.compile(r"[\n\r\t\"\\]+")
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_TAG: Final = re.compile(r"<[^>]*>")


def needles(bundle: Mapping[str, Any]) -> set[str]:
    """Collect every name, identifier, display, address, telephone number, birth date and free text about patients.

    Texts are cut at line breaks, quotation marks and tags, so that each piece would be found in any plaintext form.
    Attached texts are decoded, and their encoded form is a needle as well. Four bytes occur in random data by chance
    about once in 4 GiB: who searches gigabytes should expect that of the few needles that are so short.

    Args:
        bundle: a FHIR Bundle; see `sample_data.load`.

    Returns:
        Strings of at least four bytes in UTF-8; none from resources that are not about a patient.
    """
    found: set[str] = set()
    types = {entry.get("resource", {}).get("resourceType") for entry in bundle.get("entry", ())}
    for entry in bundle.get("entry", ()):
        resource = entry.get("resource", {})
        if not _is_public(resource):
            found.update(piece for name, text in _texts(resource, "") for piece in _pieces(name, text))
    return {
        text for text in found if len(text.encode()) >= MIN_BYTES and text not in types and not _is_public_text(text)
    }


def _is_public(resource: Mapping[str, Any]) -> bool:
    kind = resource.get("resourceType")
    return kind in _PUBLIC_TYPES or (kind == "Device" and "patient" not in resource)


def _is_public_text(text: str) -> bool:
    return any(text in name for name in PUBLIC_NAMES)


def _pieces(name: str, text: str) -> Iterator[str]:
    """Yield what would be found of a text in any plaintext form; a bare day that is nobody's birthday tells nothing."""
    for piece in (part.strip() for part in _BREAKS.split(text)):
        if name in _PERSONAL or not _DAY.fullmatch(piece):
            yield piece


def _texts(value: object, name: str) -> Iterator[tuple[str, str]]:
    """Yield the strings of a JSON value that are not vocabulary, each after the name of its element."""
    if isinstance(value, Mapping):
        if not _PUBLIC_TARGET.match(str(value.get("reference", ""))):
            for key, item in value.items():
                yield from _texts(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, name)
    elif isinstance(value, str) and not _is_vocabulary(name):
        for text in _words(value, name):
            yield name, text


def _is_vocabulary(name: str) -> bool:
    if name in _PERSONAL:
        return False
    return name in _VOCABULARY or _VOCABULARY_SUFFIX.search(name) is not None


def _words(text: str, name: str) -> Iterator[str]:
    match name:
        case "div":
            yield from (html.unescape(piece) for piece in _TAG.split(text))
        case "data":
            yield text
            yield _decoded(text)
        case _:
            yield text


def _decoded(data: str) -> str:
    """Return attached text; empty if the attachment is no text."""
    try:
        return base64.b64decode(data).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
