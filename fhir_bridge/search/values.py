"""Index values: what an element is found by, as narrow cells for one table.

A cell is (variant, key, detail, low, high). What the columns hold depends on the parameter's type and is written down
in `docs/spec/search-index.md`; queries make their side with the same functions. Keeps true: a cell says nothing that
the element does not; an element of another shape than R4's gives no cell and no error. Trusts nothing.
Source: FHIR R4 §3.1.1.4.6 to §3.1.1.4.13, §3.1.1.4.21.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Final

from fhir_bridge.definitions.codes import code_set
from fhir_bridge.definitions.elements import Element
from fhir_bridge.definitions.parameters import ParameterType
from fhir_bridge.search.cells import Cell, Cells, Emit, Variant, list_of, string_of
from fhir_bridge.search.ranges import NUMBERS, QUANTITIES, date_emitter, position
from fhir_bridge.search.text import MAX_KEY_CHARS, fold, pinyin_keys, searched, string_key

_HISTORY: Final = re.compile(r"(.+)/_history/([A-Za-z0-9\-.]{1,64})")
_PHONE_NOISE: Final = {ord(sign): None for sign in " -()./\u00a0"}
_PHONES: Final = frozenset({"phone", "fax", "pager", "sms"})
_NAMED: Final = frozenset({"name", "alias", "family", "given"})


@dataclass(frozen=True, slots=True)
class Setting:
    """What the values depend on beside the resource.

    Attributes:
        zone: of dates without one.
        bases: base URLs of this server, without a slash at the end; references below them are local.
    """

    zone: tzinfo = UTC
    bases: frozenset[str] = frozenset()


def emitter(  # noqa: PLR0911  # one for each type
    kind: ParameterType, type_name: str, element: Element | None, setting: Setting
) -> Emit | None:
    """Choose what makes the cells of an element.

    Args:
        kind: type of the search parameter.
        type_name: type of the element's values.
        element: the element, for the system that a code's binding implies.
        setting: zone and base URLs.

    Returns:
        A function of a value; None where the pair has no values (a string that stands for a date, a composite).
    """
    match kind:
        case ParameterType.TOKEN:
            return _token_emitter(type_name, element)
        case ParameterType.STRING:
            return _string_emitter(type_name, element)
        case ParameterType.DATE:
            return date_emitter(type_name, setting.zone)
        case ParameterType.NUMBER:
            return NUMBERS.get(type_name)
        case ParameterType.QUANTITY:
            return QUANTITIES.get(type_name)
        case ParameterType.REFERENCE:
            return _reference_emitter(type_name, setting.bases)
        case ParameterType.URI:
            return _uri
        case ParameterType.SPECIAL:
            return position
        case ParameterType.COMPOSITE:
            return None


def token_key(code: str) -> str:
    """Make the key of a code: without case, since leaving data out is worse than too much (FHIR R4 §3.1.1.4.10)."""
    return code.casefold()


def text_key(words: str) -> str:
    """Make the key of the words of a concept, which only default string searches ask for."""
    return searched(words)


def phone_key(number: str) -> str:
    """Make the key of a telephone number: without what people put between digits."""
    return number.casefold().translate(_PHONE_NOISE)


def reference_key(text: str, bases: frozenset[str]) -> tuple[str, str]:
    """Split a reference into key and version.

    Args:
        text: relative or absolute, with or without a version.
        bases: base URLs of this server.

    Returns:
        ``Type/id`` for a resource of this server, otherwise the URL; and the version, mostly empty.
    """
    text = text.partition("#")[0]
    match = _HISTORY.fullmatch(text)
    key, version = (match[1], match[2]) if match else (text, "")
    if ":" in key:
        for base in bases:
            if key.startswith(f"{base}/"):
                return key[len(base) + 1 :], version
    return key, version


def canonical_key(text: str) -> tuple[str, str]:
    """Split a canonical into URL and business version; a fragment is left out."""
    url, _, version = text.partition("|")
    return url.partition("#")[0], version.partition("#")[0]


# Tokens


def _token_emitter(type_name: str, element: Element | None) -> Emit | None:
    """Choose for a token."""
    if type_name == "code":
        system = _implied_system(element)
        return lambda value: ((Variant.MAIN, token_key(value), system, None, None),) if isinstance(value, str) else ()
    return {
        "CodeableConcept": _concept,
        "Coding": _coding,
        "Identifier": _identifier,
        "ContactPoint": _contact,
        "boolean": _boolean,
    }.get(type_name, _plain_token)


def _implied_system(element: Element | None) -> str:
    """Name the system of a code, where its binding has only one."""
    binding = None if element is None else element.binding
    found = None if binding is None or binding.strength != "required" else code_set(binding.value_set)
    return next(iter(found)) if found is not None and len(found) == 1 else ""


def _plain_token(value: object) -> Cells:
    """A text without a system."""
    return ((Variant.MAIN, token_key(value), "", None, None),) if isinstance(value, str) else ()


def _boolean(value: object) -> Cells:
    """A truth value."""
    return ((Variant.MAIN, "true" if value else "false", "", None, None),) if isinstance(value, bool) else ()


def _concept(value: object) -> Cells:
    """Every coding of a concept, and its words, each once."""
    if not isinstance(value, dict):
        return ()
    found: list[Cell] = []
    words: dict[str, None] = {}
    if (word := value.get("text")) and isinstance(word, str):
        words[text_key(word)] = None
    codings = value.get("coding")
    if isinstance(codings, list):
        for coding in codings:
            _add_coding(coding, found, words)
    found += [(Variant.TEXT, key, "", None, None) for key in words]
    return found


def _coding(value: object) -> Cells:
    """A coding and its words."""
    found: list[Cell] = []
    words: dict[str, None] = {}
    _add_coding(value, found, words)
    found += [(Variant.TEXT, key, "", None, None) for key in words]
    return found


def _add_coding(value: object, found: list[Cell], words: dict[str, None]) -> None:
    """Add a coding's cell and words."""
    if not isinstance(value, dict):
        return
    code, system, display = value.get("code"), value.get("system"), value.get("display")
    if isinstance(code, str) or isinstance(system, str):
        found.append((Variant.MAIN, token_key(string_of(code)), string_of(system), None, None))
    if display and isinstance(display, str):
        words[text_key(display)] = None


def _identifier(value: object) -> Cells:
    """An identifier by system, by type, and by the words of its type."""
    if not isinstance(value, dict):
        return
    key, system, kind = token_key(string_of(value.get("value"))), string_of(value.get("system")), value.get("type")
    if key or system:
        yield (Variant.MAIN, key, system, None, None)
    if not isinstance(kind, dict):
        return
    for coding in list_of(kind.get("coding")):
        if key and isinstance(coding, dict):
            detail = f"{string_of(coding.get('system'))}|{string_of(coding.get('code'))}"
            yield (Variant.OF_TYPE, key, detail, None, None)
    if words := string_of(kind.get("text")):
        yield (Variant.TEXT, text_key(words), "", None, None)


def _contact(value: object) -> Cells:
    """A telephone number or address as it is written, and a number also without what stands between its digits.

    Its system is what kind of contact it is (`phone`): R4 names none for it, and others' servers take that.
    """
    if isinstance(value, dict) and (text := string_of(value.get("value"))):
        system = string_of(value.get("system"))
        keys = [token_key(text)]
        if system in _PHONES:
            keys.append(phone_key(text))
        return [(Variant.MAIN, key, system, None, None) for key in dict.fromkeys(keys)]
    return ()


# Strings


def _string_emitter(type_name: str, element: Element | None) -> Emit:
    """Choose for a string."""
    if type_name == "HumanName":
        return _human_name
    if type_name == "Address":
        return _address
    if element is not None and element.name in _NAMED and type_name == "string":
        return _family if element.path == "HumanName.family" else _name
    return _string


def _string(value: object) -> Cells:
    """A text."""
    return ((Variant.MAIN, string_key(value), "", None, None),) if value and isinstance(value, str) else ()


def _name(value: object) -> Cells:
    """A name or a part of one, and its pinyin."""
    if not value or not isinstance(value, str):
        return ()
    if value.isascii():
        return ((Variant.MAIN, string_key(value), "", None, None),)
    return [(Variant.MAIN, key, "", None, None) for key in (string_key(value), *pinyin_keys(value))]


def _family(value: object) -> Cells:
    """A family name, and each of its later words by itself (FHIR R4 §3.1.1.4.8)."""
    yield from _name(value)
    if isinstance(value, str):
        for word in value[:MAX_KEY_CHARS].replace("-", " ").split()[1:]:
            if key := fold(word):
                yield (Variant.MAIN, key, "", None, None)


def _human_name(value: object) -> Cells:
    """Every text of a name; a Chinese one also as a whole, family name first."""
    if not isinstance(value, dict):
        return ()
    found: dict[Cell, None] = {}
    text, family = string_of(value.get("text")), string_of(value.get("family"))
    given = [one for one in list_of(value.get("given")) if isinstance(one, str)]
    found.update(dict.fromkeys(_name(text)))
    found.update(dict.fromkeys(_family(family)))
    for part in (*given, *list_of(value.get("prefix")), *list_of(value.get("suffix"))):
        found.update(dict.fromkeys(_name(part)))
    if family and given and not text and not family.isascii() and pinyin_keys(family):
        found.update(dict.fromkeys(_name(family + "".join(given))))
    return found


def _address(value: object) -> Cells:
    """Every text of an address."""
    if not isinstance(value, dict):
        return ()
    parts = [value.get(name) for name in ("text", "city", "district", "state", "country", "postalCode")]
    keys = dict.fromkeys(
        string_key(one) for one in (*parts, *list_of(value.get("line"))) if one and isinstance(one, str)
    )
    return [(Variant.MAIN, key, "", None, None) for key in keys]


# References and addresses


def _reference_emitter(type_name: str, bases: frozenset[str]) -> Emit:
    """Choose for a reference."""
    match type_name:
        case "Reference":
            return lambda value: _reference(value, bases)
        case "Attachment":
            return lambda value: _pointer(value.get("url") if isinstance(value, dict) else None, bases)
        case "canonical" | "uri" | "url":
            return lambda value: _canonical(value, bases)
        case _:
            return _nested


def _reference(value: object, bases: frozenset[str]) -> Cells:
    """A Reference: where it points, and the identifier that it gives."""
    if not isinstance(value, dict):
        return ()
    found = list(_pointer(value.get("reference"), bases))
    identifier = value.get("identifier")
    if isinstance(identifier, dict):
        key, system = token_key(string_of(identifier.get("value"))), string_of(identifier.get("system"))
        if key or system:
            found.append((Variant.IDENTIFIER, key, system, None, None))
    return found


def _pointer(value: object, bases: frozenset[str]) -> Cells:
    """The text of a reference; one to a contained resource leads nowhere else."""
    if not value or not isinstance(value, str) or value[0] == "#":
        return ()
    key, version = reference_key(value, bases)
    return ((Variant.MAIN, key, version, None, None),)


def _canonical(value: object, bases: frozenset[str]) -> Cells:
    """A canonical: its URL, and the business version beside it."""
    if not value or not isinstance(value, str) or value[0] == "#":
        return ()
    url, version = canonical_key(value)
    return ((Variant.MAIN, reference_key(url, bases)[0], version, None, None),)


def _nested(value: object) -> Cells:
    """A resource within a resource (Bundle's ``composition`` and ``message``)."""
    if isinstance(value, dict) and isinstance(value.get("resourceType"), str) and isinstance(value.get("id"), str):
        return ((Variant.MAIN, f"{value['resourceType']}/{value['id']}", "", None, None),)
    return ()


def _uri(value: object) -> Cells:
    """A URI, to the letter; a version behind a bar stands apart."""
    if not value or not isinstance(value, str):
        return ()
    url, _, version = value.partition("|")
    return ((Variant.MAIN, url, version, None, None),)
