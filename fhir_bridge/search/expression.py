"""The part of FHIRPath in which search parameters are written, as a tree.

Keeps true: an expression is understood whole or refused; nothing of it is skipped. Trusts nothing: custom search
parameters come from outside, so length and depth are bounded.
Source: FHIRPath Normative Release (2.0.0) §2–§6; FHIR R4 §3.1.1.9 (what search parameters use of it).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from medchain.errors import InputError

MAX_CHARS: Final = 8_192
"""Longest expression; HL7's longest has 1,300 characters."""

_MAX_DEPTH: Final = 16
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*|`[^`\\]+`)|(?P<text>'(?:[^'\\]|\\.)*')|(?P<number>[0-9]+)"
    r"|(?P<sign>!=|[.()\[\]|=,%]))"
)
_ESCAPE: Final = re.compile(r"\\(.)")
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
_WORDS: Final = frozenset({"and", "or", "as", "is"})

Operator: TypeAlias = Literal["and", "or", "=", "!="]


@dataclass(frozen=True, slots=True)
class Text:
    """A literal."""

    value: str | bool


@dataclass(frozen=True, slots=True)
class Member:
    """A step to a child; the first of a path may name a type, ``%resource`` stands for the resource."""

    name: str


@dataclass(frozen=True, slots=True)
class Index:
    """One of several, from 0."""

    number: int


@dataclass(frozen=True, slots=True)
class OfType:
    """Only values of a type: ``as``, ``as()``, ``ofType()``."""

    type: str


@dataclass(frozen=True, slots=True)
class Where:
    """Only values for which a condition holds."""

    condition: Expression


@dataclass(frozen=True, slots=True)
class Exists:
    """Whether there is a value: ``exists()``, or its opposite ``empty()``."""

    wanted: bool


@dataclass(frozen=True, slots=True)
class ResolvesTo:
    """Whether a reference points to a type: ``resolve() is Patient``."""

    type: str


Step: TypeAlias = Member | Index | OfType | Where | Exists | ResolvesTo


@dataclass(frozen=True, slots=True)
class Path:
    """Steps from the resource, or from the item of a condition; no step stands for the item itself."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Union:
    """The values of several expressions."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Binary:
    """Two expressions compared or combined."""

    operator: Operator
    left: Expression
    right: Expression


Expression: TypeAlias = Text | Path | Union | Binary


def parse(text: str) -> Expression:
    """Parse an expression.

    Args:
        text: FHIRPath.

    Returns:
        Its tree.

    Raises:
        InputError: ``search.expression`` with the place of what is not understood.
    """
    if len(text) > MAX_CHARS:
        raise InputError("search.expression", at=MAX_CHARS)
    return _Parser(text).whole()


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, text: str) -> None:
        """Split the text into tokens."""
        self._tokens: list[tuple[str, str, int]] = []
        self._next = 0
        self._depth = 0
        place = 0
        end = len(text.rstrip())
        while place < end:
            match = _TOKEN.match(text, place)
            if match is None:
                raise InputError("search.expression", at=len(text) - len(text[place:].lstrip()))
            kind = match.lastgroup or ""
            self._tokens.append((kind, match[kind], match.start(kind)))
            place = match.end()
        self._tokens.append(("end", "", end))

    def whole(self) -> Expression:
        """Parse everything."""
        found = self._either()
        if self._tokens[self._next][0] != "end":
            raise self._error()
        return found

    def _either(self) -> Expression:
        """Parse ``and`` and ``or``, the weakest, and guard the depth."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error()
        found = self._both()
        while self._take_word("or"):
            found = Binary("or", found, self._both())
        self._depth -= 1
        return found

    def _both(self) -> Expression:
        """Parse ``and``."""
        found = self._comparison()
        while self._take_word("and"):
            found = Binary("and", found, self._comparison())
        return found

    def _comparison(self) -> Expression:
        """Parse ``=`` and ``!=``."""
        left = self._union()
        if self._take("="):
            return Binary("=", left, self._union())
        if self._take("!="):
            return Binary("!=", left, self._union())
        return left

    def _union(self) -> Expression:
        """Parse ``|``."""
        parts = [self._typed()]
        while self._take("|"):
            parts.append(self._typed())
        return parts[0] if len(parts) == 1 else Union(tuple(parts))

    def _typed(self) -> Expression:
        """Parse ``as``, which binds more strongly than ``|``, and ``is`` after ``resolve()``."""
        found = self._path()
        while self._take_word("as"):
            found = _step_of_all(found, OfType(self._type_name()))
        return found

    def _path(self) -> Expression:
        """Parse a term and the steps after it."""
        found = self._term()
        while True:
            if self._take("."):
                found = self._stepped(found)
            elif self._take("["):
                found = _step_of_all(found, Index(int(self._expect("number"))))
                self._expect_sign("]")
            else:
                return found

    def _term(self) -> Expression:
        """Parse what a path starts with."""
        kind, text, _ = self._tokens[self._next]
        if kind == "text":
            self._next += 1
            return Text(_ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), text[1:-1]))
        if self._take("("):
            found = self._either()
            self._expect_sign(")")
            return found
        if self._take("%"):
            if self._expect("name") not in ("resource", "context"):
                raise self._error()
            return Path((Member("%resource"),))
        if kind == "name" and text in ("true", "false"):
            self._next += 1
            return Text(text == "true")
        return self._stepped(Path(()))

    def _stepped(self, found: Expression) -> Expression:
        """Parse a step from what was found; ``extension('url')`` is two of them."""
        is_extension = self._tokens[self._next][1] == "extension" and self._tokens[self._next + 1][1] == "("
        return _step_of_all(_step_of_all(found, Member("extension")) if is_extension else found, self._step())

    def _step(self) -> Step:
        """Parse a step: a member or a function."""
        name = self._expect("name")
        if name in _WORDS and self._tokens[self._next][1] != "(":
            raise self._error()
        if not self._take("("):
            return Member(name.strip("`"))
        step = self._function(name)
        if not isinstance(step, ResolvesTo):
            self._expect_sign(")")
        return step

    def _function(self, name: str) -> Step:
        """Parse the arguments of a function."""
        match name:
            case "as" | "ofType":
                return OfType(self._type_name())
            case "where":
                return Where(self._either())
            case "exists" | "empty":
                return Exists(name == "exists")
            case "extension":
                return self._extension()
            case "resolve":
                self._expect_sign(")")
                if self._take_word("is"):
                    return ResolvesTo(self._type_name())
        raise self._error()

    def _extension(self) -> Step:
        """Parse the argument of ``extension('url')`` as a condition."""
        url = self._term()
        if not isinstance(url, Text):
            raise self._error()
        return Where(Binary("=", Path((Member("url"),)), url))

    def _type_name(self) -> str:
        """Parse the name of a type, with or without ``FHIR.``."""
        name = self._expect("name")
        if name in ("FHIR", "System") and self._take("."):
            name = self._expect("name")
        return name.strip("`")

    def _take(self, sign: str) -> bool:
        """Take a sign if it is next."""
        if self._tokens[self._next][:2] != ("sign", sign):
            return False
        self._next += 1
        return True

    def _take_word(self, word: str) -> bool:
        """Take a word if it is next."""
        if self._tokens[self._next][:2] != ("name", word):
            return False
        self._next += 1
        return True

    def _expect(self, kind: str) -> str:
        """Take a token of a kind."""
        found, text, _ = self._tokens[self._next]
        if found != kind:
            raise self._error()
        self._next += 1
        return text

    def _expect_sign(self, sign: str) -> None:
        """Take a sign."""
        if not self._take(sign):
            raise self._error()

    def _error(self) -> InputError:
        """Name the place of what is next."""
        return InputError("search.expression", at=self._tokens[self._next][2])


def _step_of_all(found: Expression, step: Step) -> Expression:
    """Add a step to each part of an expression."""
    match found:
        case Path(steps):
            return Path((*steps, step))
        case Union(parts):
            return Union(tuple(_step_of_all(part, step) for part in parts))
        case _:
            raise InputError("search.expression")
