"""How a record may name another one without a reference to it. Pure.

Keeps true: whatever a reader could follow from a record to another one of this node counts, wherever in the record it
stands: one record too many may be meant, never one too few. What text for people says is not read. Trusts nothing.
Source: FHIR R4 §3.1.0.11.2 (where addresses of resources stand; conditional references), §2.3.0.3 (``#id``), §2.24
Identifier (those of the system ``urn:ietf:rfc3986`` are addresses), §3.1.1.4.19 (escapes); `docs/spec/consent.md` D13.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import unescape
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from medchain.encoding import objects_in

PERHAPS: Final = "urn:medchain:perhaps/"
"""Before a record that may be meant, as well as another: of which a denial holds, and no permission."""

# A reference is one as it stands; percent-encoded it is an address like the others.
_ADDRESSES: Final = frozenset({"div", "source", "url", "valueCanonical", "valueUri", "valueUrl"})
_ENCODED: Final = "%"
_OF_ADDRESSES: Final = "urn:ietf:rfc3986"
_RECORD: Final = re.compile(r"\b[A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64}(?![A-Za-z0-9\-.])")
# Whatever the base, up to where an address ends, in a narrative too: there an apostrophe may end it, or be part of it.
_CONDITIONS: Final = tuple(re.compile(rf"\b([A-Z][A-Za-z]{{1,63}})\?([^{ends}<>#]+)") for ends in ("\"'", '"'))
# As searches part them (`fhir_bridge.search.terms.split`), but what no search would take is read, too: it is nobody's
# request. Nothing is gone back to, for which each character would be kept.
_VALUE: Final = re.compile(r"(?:[^\\,]++|\\.|\\$)++", re.DOTALL)
_PARAMETER: Final = re.compile(r"[^&]+")
_PIECE_BYTES: Final = 1 << 12
_UNESCAPED: Final = re.compile(r"\\(.)")


class Asked(NamedTuple):
    """A value that a condition on records asks for.

    Attributes:
        code: of the parameter.
        modifier: of the parameter; empty for none.
        value: without escapes.
    """

    code: str
    modifier: str
    value: str

    @property
    def identifier(self) -> tuple[str, str]:
        """System and value of an identifier; what a modifier makes of the system is not asked: it may be any."""
        system, _, value = self.value.rpartition("|")
        return "" if self.modifier else system, value


def asked_in(condition: str) -> Iterator[Asked]:
    """List what a condition asks for, value by value.

    Args:
        condition: percent-encoded parameters.
    """
    for part in _PARAMETER.finditer(condition):
        name, _, values = (unquoted(one.replace("+", " ")) for one in part[0].partition("="))
        code, _, modifier = name.partition(":")
        for value in _VALUE.finditer(values):
            yield Asked(code, modifier, _UNESCAPED.sub(r"\1", value[0]))


def unquoted(text: str) -> str:
    """Decode what is percent-encoded in a text of any length: bytes that are no UTF-8 become U+FFFD.

    Piece by piece: `urllib.parse` takes some eighty bytes for each character that it decodes, of records whole.
    """
    if _ENCODED not in text:
        return text
    made = bytearray()
    encoded, begin = text.encode("utf-8", "surrogatepass"), 0
    while begin < len(encoded):
        end = begin + _PIECE_BYTES
        # Not within an encoded byte.
        split = encoded.rfind(b"%", end - 2, end) if end < len(encoded) else -1
        end = end if split < 0 else split
        made += unquote_to_bytes(encoded[begin:end])
        begin = end
    return made.decode("utf-8", "replace")


def conditions_in(one: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """List the conditions by which an object's reference and addresses name records: type and parameters of each."""
    reference = one.get("reference")
    for address in (*([reference] if isinstance(reference, str) else []), *_addresses(one)):
        text = unescape(address)
        yield from {found for one_form in _CONDITIONS for found in one_form.findall(text)}


def perhaps_named(record: object) -> Iterator[str]:
    """List what a record may name: each ``Type/id``, after `PERHAPS`.

    A resource inside it may be a copy of the record that has its id, though R4 gives it an id of its own; addresses,
    identifiers that are addresses, links of narratives, conditions and percent-encoded references may lead to one.

    Args:
        record: FHIR JSON, read.
    """
    for one in objects_in(record):
        name, record_id = one.get("resourceType"), one.get("id")
        if one is not record and isinstance(name, str) and isinstance(record_id, str):
            yield f"{PERHAPS}{name}/{record_id}"
        for address in _addresses(one):
            yield from (PERHAPS + found for found in _RECORD.findall(unquoted(unescape(address))))
        for type_name, condition in conditions_in(one):
            ids = (asked.value.rpartition("/")[2] for asked in asked_in(condition) if asked.code == "_id")
            yield from (f"{PERHAPS}{type_name}/{found}" for found in ids)


def _addresses(one: Mapping[str, object]) -> Iterator[str]:
    """List the addresses in an object."""
    for key in one.keys() & _ADDRESSES:
        if isinstance(address := one[key], str):
            yield address
    reference, value = one.get("reference"), one.get("value")
    if isinstance(reference, str) and _ENCODED in reference:
        yield reference
    if isinstance(value, str) and one.get("system") == _OF_ADDRESSES:
        yield value
