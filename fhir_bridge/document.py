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

import orjson

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
_ESCAPED_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


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

    def __copy__(self) -> Self:
        """Stay the same: a number is never changed, and Decimal's own copy would spell it anew."""
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        """Stay the same, as in a shallow copy."""
        return self


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
        text = data.decode("utf-8-sig")
        value = json.loads(
            text,
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
    _check_depth(value)
    # UTF-8 itself holds no half of a pair: one can only be written as an escape.
    if _ESCAPED_SURROGATE.search(text) and _SURROGATE.search(json.dumps(value, default=str, ensure_ascii=False)):
        raise InputError("document.text")
    return value


def write(value: Element) -> bytes:
    """Write a document as compact JSON, names in their order, numbers to the letter."""
    return orjson.dumps(value, default=_spelled)


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


def _check_depth(value: Element) -> None:
    """Refuse what is nested too deeply."""
    level: list[Element] = [value]
    for _ in range(MAX_DEPTH):
        # By exact type: the parser makes no others, and this looks at every value there is.
        inside = (item.values() if type(item) is dict else item for item in level if isinstance(item, (dict, list)))
        level = [one for items in inside for one in items if type(one) is dict or type(one) is list]
        if not level:
            return
    raise InputError("document.depth", limit=MAX_DEPTH)


def _spelled(value: object) -> orjson.Fragment:
    """Write a number as it was sent; orjson knows everything else."""
    if not isinstance(value, Number):
        raise TypeError
    return orjson.Fragment(value.text)
