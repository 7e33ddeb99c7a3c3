"""FHIR JSON as it was sent: numbers to the letter, names in order, nothing twice.

Keeps true: what is written is what was read, except for what was set in between; a number keeps its spelling (`5.60`,
`1.20E+4`), since FHIR gives its digits a meaning. Duplicate names, NaN, lone surrogates, numbers out of bounds and more
than `MAX_DEPTH` levels are refused, since readers of the same text would differ about them. Trusts nothing.
Source: FHIR R4 §2.6.2, RFC 8259, RFC 7493.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final, NoReturn, Self, TypeAlias

from medchain.errors import InputError

Element: TypeAlias = "bool | str | Number | list[Element] | dict[str, Element] | None"
"""A value of a document."""

Resource: TypeAlias = dict[str, Element]
"""A FHIR resource, parsed."""

MAX_DEPTH: Final = 64
"""Deepest nesting of objects and arrays."""

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_MAX_NUMBER_CHARS: Final = 64
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_encode_text: Final = json.encoder.encode_basestring


class Number(Decimal):
    """A number with its spelling.

    Attributes:
        text: as it was sent.
    """

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        """Read a number; raises `InputError` ``document.number`` for one that no reader needs to keep."""
        if len(text) > _MAX_NUMBER_CHARS or _NUMBER.fullmatch(text) is None:
            raise InputError("document.number")
        number = super().__new__(cls, text)
        number.text = text
        return number


def parse(data: bytes) -> Resource:
    """Parse a document.

    Args:
        data: UTF-8, with or without a byte order mark; its size is bounded by the caller.

    Returns:
        The object.

    Raises:
        InputError: ``document.not_json``, ``document.duplicate``, ``document.number``, ``document.text``,
            ``document.depth`` or ``document.not_object``.
    """
    try:
        value = json.loads(
            data.decode("utf-8-sig"),
            object_pairs_hook=_object,
            parse_float=Number,
            parse_int=Number,
            parse_constant=_constant,
        )
    except RecursionError as error:
        raise InputError("document.depth", limit=MAX_DEPTH) from error
    except ValueError as error:
        raise InputError("document.not_json") from error
    if not isinstance(value, dict):
        raise InputError("document.not_object")
    _check(value, MAX_DEPTH)
    return value


def write(value: Element) -> bytes:
    """Write a document as compact JSON, names in their order, numbers to the letter."""
    return "".join(_pieces(value)).encode("utf-8")


def member(resource: Resource, name: str) -> str:
    """Return a member that is text, or an empty one."""
    value = resource.get(name)
    return value if isinstance(value, str) else ""


def objects(value: Element) -> Iterator[Resource]:
    """Walk through every object of a value, itself included."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from objects(item)


def _object(pairs: list[tuple[str, Element]]) -> Resource:
    """Make an object, each name once."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise InputError("document.duplicate")
    return made


def _constant(_name: str) -> NoReturn:
    """Refuse NaN and the infinities, which JSON does not have."""
    raise InputError("document.number")


def _check(value: Element, depth: int) -> None:
    """Refuse what is nested too deeply, and text that UTF-8 cannot hold."""
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise InputError("document.text")
    elif isinstance(value, dict):
        if depth == 0:
            raise InputError("document.depth", limit=MAX_DEPTH)
        for name, item in value.items():
            _check(name, 0)
            _check(item, depth - 1)
    elif isinstance(value, list):
        if depth == 0:
            raise InputError("document.depth", limit=MAX_DEPTH)
        for item in value:
            _check(item, depth - 1)


def _pieces(value: Element) -> Iterator[str]:
    """Write piece by piece."""
    if isinstance(value, str):
        yield _encode_text(value)
    elif isinstance(value, Number):
        yield value.text
    elif isinstance(value, dict):
        before = "{"
        for name, item in value.items():
            yield f"{before}{_encode_text(name)}:"
            yield from _pieces(item)
            before = ","
        yield "}" if value else "{}"
    elif isinstance(value, list):
        before = "["
        for item in value:
            yield before
            yield from _pieces(item)
            before = ","
        yield "]" if value else "[]"
    else:
        yield "null" if value is None else "true" if value else "false"
