"""The grammar of FHIRPath: text to a tree.

Keeps true: what is not of the grammar is refused with its place; nesting is bounded. Pure.
Source: FHIRPath 2.0.0 (HL7 Normative) §8 Lexical Elements, Appendix B (grammar).
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias

from medchain.errors import InputError

MAX_CHARS: Final = 8192
"""Longest expression."""

MAX_DEPTH: Final = 64
"""Deepest nesting."""


class Literal(NamedTuple):
    """A constant, with its type in namespace System, such as ``Boolean`` or ``Integer``."""

    value: bool | str | Decimal
    type: str


class Empty(NamedTuple):
    """The empty collection ``{}``."""


class Variable(NamedTuple):
    """``%name``, and without the sign ``$this``, ``$index``, ``$total``."""

    name: str


class Name(NamedTuple):
    """A step to the children of a name."""

    name: str


class Call(NamedTuple):
    """A function."""

    name: str
    arguments: tuple[Tree, ...]


class Dot(NamedTuple):
    """One step after another."""

    left: Tree
    right: Tree


class Index(NamedTuple):
    """One item of a collection."""

    left: Tree
    place: Tree


class Unary(NamedTuple):
    """A sign."""

    operator: str
    operand: Tree


class Binary(NamedTuple):
    """An operator between two expressions."""

    operator: str
    left: Tree
    right: Tree


class TypeTest(NamedTuple):
    """``is`` or ``as`` with the name of a type."""

    operator: str
    left: Tree
    type: str


Tree: TypeAlias = Literal | Empty | Variable | Name | Call | Dot | Index | Unary | Binary | TypeTest

_LEXEMES: Final = re.compile(
    r"""(?P<blank>(?:\s+|//[^\n]*|/\*.*?\*/)+)
    |(?P<date>@(?:T\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?|\d{4}(?:-\d\d(?:-\d\d)?)?
        (?:T(?:\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d:\d\d)?)?)?))
    |(?P<number>\d+(?:\.\d+)?)
    |(?P<text>'(?:[^'\\]|\\.)*')
    |(?P<quoted>`(?:[^`\\]|\\.)*`)
    |(?P<variable>%(?:[A-Za-z_][\w-]*|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`)|\$(?:this|index|total))
    |(?P<word>[A-Za-z_]\w*)
    |(?P<sign><=|>=|!=|!~|[-+*/&|=~<>()\[\]{}.,])""",
    re.VERBOSE | re.DOTALL,
)
_LEVELS: Final = {
    "implies": 1,
    "or": 2,
    "xor": 2,
    "and": 3,
    "in": 4,
    "contains": 4,
    "=": 5,
    "~": 5,
    "!=": 5,
    "!~": 5,
    "<": 6,
    ">": 6,
    "<=": 6,
    ">=": 6,
    "|": 7,
    "is": 8,
    "as": 8,
    "+": 9,
    "-": 9,
    "&": 9,
    "*": 10,
    "/": 10,
    "div": 10,
    "mod": 10,
}
_WORD_OPERATORS: Final = frozenset({"implies", "or", "xor", "and", "in", "contains", "is", "as", "div", "mod"})
_UNARY_LEVEL: Final = 11
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
_ESCAPED: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_UNITS: Final = re.compile(r"(?:year|month|week|day|hour|minute|second|millisecond)s?")


class _Lexeme(NamedTuple):
    """A piece of text: its kind, itself, and where it begins."""

    kind: str
    text: str
    place: int


def parse(expression: str) -> Tree:
    """Parse an expression.

    Args:
        expression: FHIRPath.

    Returns:
        Its tree.

    Raises:
        InputError: ``fhirpath.syntax`` with the place of what does not belong, ``fhirpath.depth``.
    """
    if len(expression) > MAX_CHARS:
        raise InputError("fhirpath.syntax", place=MAX_CHARS)
    parser = _Parser(_lexemes(expression), len(expression))
    tree = parser.expression(1)
    parser.end()
    return tree


def _lexemes(expression: str) -> list[_Lexeme]:
    """Cut an expression into pieces."""
    found: list[_Lexeme] = []
    place = 0
    while place < len(expression):
        match = _LEXEMES.match(expression, place)
        if match is None:
            raise InputError("fhirpath.syntax", place=place)
        if match.lastgroup != "blank":
            found.append(_Lexeme(match.lastgroup or "", match.group(), place))
        place = match.end()
    return found


class _Parser:
    """Precedence climbing over the pieces."""

    def __init__(self, lexemes: list[_Lexeme], size: int) -> None:
        self._lexemes = lexemes
        self._at = 0
        self._size = size
        self._depth = 0

    def expression(self, level: int) -> Tree:
        """Parse what binds at least as tightly as a level."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InputError("fhirpath.depth", limit=MAX_DEPTH)
        left = self._operand()
        while (found := self._operator()) and _LEVELS[found] >= level:
            self._at += 1
            if found in ("is", "as"):
                left = TypeTest(found, left, self._type())
            else:
                left = Binary(found, left, self.expression(_LEVELS[found] + 1))
        self._depth -= 1
        return left

    def end(self) -> None:
        """See that nothing is left."""
        if self._at < len(self._lexemes):
            raise self._unexpected()

    def _peek(self) -> _Lexeme:
        """Return the next piece; an empty one at the end."""
        return self._lexemes[self._at] if self._at < len(self._lexemes) else _Lexeme("end", "", self._size)

    def _next(self) -> _Lexeme:
        """Take the next piece."""
        found = self._peek()
        self._at += 1
        return found

    def _unexpected(self) -> InputError:
        """Say where the grammar ends."""
        return InputError("fhirpath.syntax", place=self._peek().place)

    def _take(self, sign: str) -> bool:
        """Take a sign if it is the next piece."""
        found = self._peek()
        if found.kind == "sign" and found.text == sign:
            self._at += 1
            return True
        return False

    def _need(self, sign: str) -> None:
        """Take a sign."""
        if not self._take(sign):
            raise self._unexpected()

    def _operator(self) -> str:
        """Return the operator that comes next, empty for none."""
        found = self._peek()
        is_operator = (found.kind == "sign" and found.text in _LEVELS) or (
            found.kind == "word" and found.text in _WORD_OPERATORS
        )
        return found.text if is_operator else ""

    def _operand(self) -> Tree:
        """Parse a term with its signs, steps and indices."""
        found = self._peek()
        if found.kind == "sign" and found.text in "+-":
            self._at += 1
            return Unary(found.text, self.expression(_UNARY_LEVEL))
        left = self._term()
        while True:
            if self._take("."):
                left = Dot(left, self._invocation())
            elif self._take("["):
                left = Index(left, self.expression(1))
                self._need("]")
            else:
                return left

    def _term(self) -> Tree:
        """Parse a literal, a variable, an expression in brackets or a first step."""
        found = self._peek()
        if self._take("("):
            inner = self.expression(1)
            self._need(")")
            return inner
        if self._take("{"):
            self._need("}")
            return Empty()
        if found.kind == "variable":
            self._at += 1
            return Variable(_unquoted(found.text[1:]) if found.text[0] == "%" else found.text)
        if found.kind in ("date", "number", "text") or (found.kind == "word" and found.text in ("true", "false")):
            return self._literal(self._next())
        return self._invocation()

    def _literal(self, found: _Lexeme) -> Tree:
        """Turn a piece into a constant."""
        if found.kind == "word":
            return Literal(found.text == "true", "Boolean")
        if found.kind == "text":
            return Literal(_unquoted(found.text), "String")
        if found.kind == "date":
            value = found.text[1:]
            kind = "Time" if value[0] == "T" else "DateTime" if "T" in value else "Date"
            return Literal(value.removeprefix("T") if kind == "Time" else value.removesuffix("T"), kind)
        following = self._peek()
        if following.kind == "text" or (following.kind == "word" and _UNITS.fullmatch(following.text)):
            # A quantity is compared by its number and its unit's text.
            self._at += 1
            unit = _unquoted(following.text) if following.kind == "text" else following.text.removesuffix("s")
            return Literal(f"{found.text} {unit}", "Quantity")
        return Literal(Decimal(found.text), "Decimal" if "." in found.text else "Integer")

    def _invocation(self) -> Tree:
        """Parse a name, a function or ``$this``."""
        found = self._next()
        if found.kind == "variable" and found.text[0] == "$":
            return Variable(found.text)
        if found.kind not in ("word", "quoted"):
            self._at -= 1
            raise self._unexpected()
        name = _unquoted(found.text) if found.kind == "quoted" else found.text
        if not self._take("("):
            return Name(name)
        arguments: list[Tree] = []
        if not self._take(")"):
            arguments.append(self.expression(1))
            while self._take(","):
                arguments.append(self.expression(1))
            self._need(")")
        return Call(name, tuple(arguments))

    def _type(self) -> str:
        """Parse the name of a type, with or without its namespace."""
        parts = [self._invocation()]
        while self._take("."):
            parts.append(self._invocation())
        names = [part.name for part in parts if isinstance(part, Name)]
        if len(names) != len(parts):
            raise self._unexpected()
        return ".".join(names)


def type_name(tree: Tree) -> str:
    """Read an argument that names a type, such as that of ``ofType``; raises `InputError` ``fhirpath.type``."""
    if isinstance(tree, Name):
        return tree.name
    if isinstance(tree, Dot) and isinstance(tree.left, Name) and isinstance(tree.right, Name):
        return f"{tree.left.name}.{tree.right.name}"
    raise InputError("fhirpath.type")


def _unquoted(text: str) -> str:
    """Take the quotes off a text or a name, and its escapes out."""
    if text[:1] not in ("'", "`"):
        return text
    return _ESCAPED.sub(
        lambda match: chr(int(match[1], 16)) if match[1] else _ESCAPES.get(match[2], match[2]), text[1:-1]
    )
