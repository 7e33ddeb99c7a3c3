"""FHIR JSON as it was sent: numbers to the letter, names in order, nothing twice.

Keeps true: what is written is what was read, except for what was set in between; a number keeps its spelling (`5.60`,
`1.20E+4`), since FHIR gives its digits a meaning. Duplicate names, NaN, lone surrogates, numbers out of bounds and more
than `MAX_DEPTH` levels are refused, since readers of the same text would differ about them; control characters, since
the same resource could not be read as XML; more than `MAX_VALUES` values, since each costs more than it is long. Trusts
nothing.
Source: FHIR R4 §2.6.2, §2.24.0.1 (`string`), RFC 8259, RFC 7493; XML 1.0 §2.2 (`Char`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from operator import attrgetter
from typing import Final, NoReturn, Self, TypeAlias, overload

import orjson

from medchain.errors import InputError

Element: TypeAlias = "bool | str | Number | list[Element] | dict[str, Element] | None"
"""A value of a document."""

Resource: TypeAlias = dict[str, Element]
"""A FHIR resource, parsed."""

MAX_DEPTH: Final = 64
"""Deepest nesting of objects and arrays."""

MAX_VALUES: Final = 2_000_000
"""Most values of a document, about 16 bytes each in the largest one: smaller ones are no FHIR, and cost a hundred."""

KEPT_ROWS: Final = 2000
"""Most entries of a Bundle that are kept parsed between being found and being asked for: about 15 kB each."""

_NUMBERS_KEPT: Final = 4096
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_MAX_NUMBER_CHARS: Final = 64
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
# What JSON can write and XML 1.0 §2.2 cannot: such a text could not be read as XML, nor a page that holds it.
_NO_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_ESCAPED_NO_XML: Final = re.compile(r"\\(?:[bf]|u00[01]|u[fF]{3}[eEfF])")
_SPACE: Final = re.compile(r"[ \t\n\r]*")


class Number(Decimal):
    """A number with its spelling.

    Attributes:
        text: as it was sent.
        spelled: the same, as `write` puts it into a document.
    """

    __slots__ = ("spelled", "text")
    text: str
    spelled: orjson.Fragment

    def __new__(cls, text: str) -> Self:
        """Read a number; raises `InputError` ``document.number`` for one that no reader needs to keep."""
        if len(text) > _MAX_NUMBER_CHARS or _NUMBER.fullmatch(text) is None:
            raise InputError("document.number")
        number = super().__new__(cls, text)
        number.text = text
        number.spelled = orjson.Fragment(text)
        return number

    def __copy__(self) -> Self:
        """Stay the same: a number is never changed, and Decimal's own copy would spell it anew."""
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        """Stay the same, as in a shallow copy."""
        return self


def parse(data: bytes, depth: int = MAX_DEPTH) -> Resource:
    """Parse a document.

    Args:
        data: UTF-8, with or without a byte order mark; its size is bounded by the caller.
        depth: deepest nesting; more than the default only for what we wrote ourselves.

    Returns:
        The object.

    Raises:
        InputError: ``document.not_json``, ``document.duplicate``, ``document.number``, ``document.text``,
            ``document.character``, ``document.depth``, ``document.values`` or ``document.not_object``.
    """
    value = _parsed(_decoded(data), depth)
    if not isinstance(value, dict):
        raise InputError("document.not_object")
    return value


class _Numbers(dict[str, Number]):
    """Numbers of one document by their spelling: a Bundle says the same few thousands of times."""

    __slots__ = ()

    def __missing__(self, text: str) -> Number:
        """Read a number that was not there before; raises as `Number`."""
        number = Number(text)
        if len(self) < _NUMBERS_KEPT:
            self[text] = number
        return number


def _reader() -> json.JSONDecoder:
    """Make a parser that reads a number once, wherever in a document it stands."""
    numbers = _Numbers()
    return json.JSONDecoder(parse_float=numbers.__getitem__, parse_int=numbers.__getitem__, parse_constant=_constant)


class Rows(Sequence[Element]):
    """The entries of a Bundle, parsed each time that they are asked for: a large Bundle is never a tree as a whole.

    What finding the first of them has made already is given once, unless it is wrong.
    """

    __slots__ = ("_made", "_spans", "_text")

    def __init__(self, text: str, spans: list[tuple[int, int]], made: dict[int, Element] | None = None) -> None:
        """Use a text, the places of the entries in it, and what was parsed of them but not checked."""
        self._text = text
        self._spans = spans
        self._made = {} if made is None else made

    def __len__(self) -> int:
        """Count the entries."""
        return len(self._spans)

    @overload
    def __getitem__(self, index: int) -> Element: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Element]: ...

    def __getitem__(self, index: int | slice) -> Element | Sequence[Element]:
        """Parse an entry; raises as `parse`."""
        if isinstance(index, slice):
            return Rows(self._text, self._spans[index])
        start, end = self._spans[index]
        text = self._text[start:end]
        if index in self._made:
            return _checked(self._made.pop(index), text, MAX_DEPTH - 2)
        return _parsed(text, MAX_DEPTH - 2)


@dataclass(frozen=True, slots=True)
class Document:
    """A document whose entries, if it is a Bundle, are parsed one at a time.

    Attributes:
        resource: the object, without the entries of a Bundle.
        rows: the entries; empty where there are none.
    """

    resource: Resource
    rows: Sequence[Element]


def parse_bundle(data: bytes) -> Document:
    """Parse a document, the entries of a Bundle only as far as to find where each ends.

    Args:
        data: as for `parse`.

    Returns:
        The document. What is wrong within an entry is raised when that entry is asked for.

    Raises:
        InputError: as `parse`; ``bundle.entry`` for entries that are no array.
    """
    text = _decoded(data)
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise InputError("document.not_object" if _is_json(text) else "document.not_json")
    found: list[tuple[str, Element]] = []
    rows: Rows | None = None
    try:
        at = _skip(text, at + 1)
        while text[at] != "}":
            name, at = _SCANNER.raw_decode(text, at)
            at = _skip(text, at)
            if not isinstance(name, str) or text[at] != ":":
                raise InputError("document.not_json")
            at = _skip(text, at + 1)
            if name == "entry":
                made: dict[int, Element] = {}
                spans, at = _spans(text, at, made)
                if rows is not None:
                    raise InputError("document.duplicate")
                rows = Rows(text, spans, made)
            else:
                start = at
                _, at = _SCANNER.raw_decode(text, at)
                found.append((name, _parsed(text[start:at], MAX_DEPTH - 1)))
            at = _next(text, at, "}")
    except (ValueError, IndexError) as error:
        raise _not_json(error) from error
    except RecursionError as error:
        raise InputError("document.depth", limit=MAX_DEPTH) from error
    if _skip(text, at + 1) != len(text):
        raise InputError("document.not_json")
    return Document(_object(found), () if rows is None else rows)


def write(value: Element) -> bytes:
    """Write a document as compact JSON, names in their order, numbers to the letter."""
    return orjson.dumps(value, default=_SPELLED)


def write_pretty(value: Element) -> bytes:
    """Write a document for people's eyes, otherwise as `write` does."""
    return orjson.dumps(value, default=_SPELLED, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def member(resource: Resource, name: str) -> str:
    """Return a member that is text, or an empty one."""
    value = resource.get(name)
    return value if isinstance(value, str) else ""


def object_of(value: Element) -> Resource:
    """Take an object; an empty one for what is none."""
    return value if isinstance(value, dict) else {}


def objects_of(value: Element) -> list[Resource]:
    """Take the objects of a list; what is none is left out."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def check_depth(value: Element, depth: int = MAX_DEPTH) -> None:
    """Refuse what is nested too deeply; raises `InputError` ``document.depth``."""
    level: list[Element] = [value]
    for _ in range(depth):
        # By exact type: the parser makes no others, and this looks at every value there is.
        inside = (item.values() if type(item) is dict else item for item in level if isinstance(item, (dict, list)))
        level = [one for items in inside for one in items if type(one) is dict or type(one) is list]
        if not level:
            return
    raise InputError("document.depth", limit=MAX_DEPTH)


def _decoded(data: bytes) -> str:
    """Decode UTF-8, and refuse what would take much memory and long once it is parsed."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("document.not_json") from error
    # Each value but the first of an object or array stands behind a comma.
    if len(text) > MAX_VALUES and sum(map(text.count, ",{[")) > MAX_VALUES:
        raise InputError("document.values", limit=MAX_VALUES)
    return text


def _parsed(text: str, depth: int) -> Element:
    """Parse a text strictly."""
    try:
        value: Element = _READER.decode(text)
    except RecursionError as error:
        raise InputError("document.depth", limit=MAX_DEPTH) from error
    except ValueError as error:
        raise _not_json(error) from error
    return _checked(value, text, depth)


def _not_json(error: Exception) -> InputError:
    """Make the error of a text that is no JSON, with the line where it ends to be, if that is known."""
    return InputError("document.not_json", line=error.lineno if isinstance(error, json.JSONDecodeError) else None)


def _checked(value: Element, text: str, depth: int) -> Element:
    """Refuse what a text has that its parsed value does not show, or not at once."""
    # What has fewer brackets than that cannot be deeper, and most documents have.
    if text.count("{") + text.count("[") > depth:
        check_depth(value, depth)
    # A name that was lost to another took its colon with it, and without \u no value gives a colon that was not there.
    # To look for names twice in each object as it is made would cost as much as all else.
    # Most texts have no backslash at all.
    is_escaped = "\\" in text
    if (is_escaped and "\\u" in text) or text.count(":") != write(value).count(b":"):
        _STRICT_READER.decode(text)
    # UTF-8 itself holds no half of a pair: one can only be written as an escape.
    if (
        is_escaped
        and _ESCAPED_SURROGATE.search(text)
        and _SURROGATE.search(json.dumps(value, default=str, ensure_ascii=False))
    ):
        raise InputError("document.character")
    # Control characters stand in JSON as escapes only.
    is_doubtful = is_escaped and _ESCAPED_NO_XML.search(text) is not None
    if (is_doubtful or "\ufffe" in text or "\uffff" in text) and not all(map(_is_writable, _texts(value))):
        raise InputError("document.character")
    return value


def _is_writable(text: str) -> bool:
    """Tell whether XML can hold a text."""
    return _NO_XML.search(text) is None


def _texts(value: Element) -> Iterator[str]:
    """List the texts and names in a value."""
    waiting: list[Element] = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            yield from one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _is_json(text: str) -> bool:
    """Tell whether a text is JSON at all."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _spans(text: str, at: int, made: dict[int, Element]) -> tuple[list[tuple[int, int]], int]:
    """Find where each element of an array stands; returns them and the place after the array.

    Args:
        text: the document.
        at: where the array begins.
        made: gets what was parsed on the way, of the first ones.
    """
    if text[at] != "[":
        raise InputError("bundle.entry")
    spans: list[tuple[int, int]] = []
    reader = _reader()
    at = _skip(text, at + 1)
    while text[at] != "]":
        end = 0
        if len(spans) < KEPT_ROWS:
            try:
                made[len(spans)], end = reader.raw_decode(text, at)
            except InputError:
                # Told when this entry is asked for.
                end = 0
        if not end:
            _, end = _SCANNER.raw_decode(text, at)
        spans.append((at, end))
        at = _next(text, end, "]")
    return spans, at + 1


def _next(text: str, at: int, closing: str) -> int:
    """Step over a comma to what follows it, or to the closing bracket."""
    at = _skip(text, at)
    if text[at] == closing:
        return at
    if text[at] != ",":
        raise InputError("document.not_json")
    at = _skip(text, at + 1)
    if text[at] == closing:
        raise InputError("document.not_json")
    return at


def _skip(text: str, at: int) -> int:
    """Step over white space."""
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _object(pairs: list[tuple[str, Element]]) -> Resource:
    """Make an object, each name once."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise InputError("document.duplicate")
    return made


def _constant(_name: str) -> NoReturn:
    """Refuse NaN and the infinities, which JSON does not have."""
    raise InputError("document.number")


# Writes a number as it was sent; orjson knows everything else that a document holds.
_SPELLED: Final = attrgetter("spelled")
_SCANNER: Final = json.JSONDecoder()
_READER: Final = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=_constant)
_STRICT_READER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=Number, parse_int=Number, parse_constant=_constant
)
