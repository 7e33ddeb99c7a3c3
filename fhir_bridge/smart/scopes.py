"""SMART v2 system scopes: `system/Observation.cr`, `system/*.cru`.

Keeps true: what a scope does not say is denied; a scope that is not understood is refused, never narrowed. Pure.
Source: SMART App Launch 2.2 §3.0.2 (scopes and launch context).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from medchain.errors import InputError

MAX_SCOPES: Final = 64
"""Most scopes of one client or token."""

_SCOPE: Final = re.compile(r"system/(\*|[A-Z][A-Za-z]{1,63})\.(c?r?u?d?s?)")


class Action(StrEnum):
    """What a scope allows, in the letters and the order of SMART."""

    CREATE = "c"
    READ = "r"
    UPDATE = "u"
    DELETE = "d"
    SEARCH = "s"


@dataclass(frozen=True, slots=True)
class Scope:
    """One scope.

    Attributes:
        type: resource type, or ``*``.
        actions: what it allows, at least one.
    """

    type: str
    actions: frozenset[Action]

    def __str__(self) -> str:
        """Write it as SMART does."""
        return f"system/{self.type}." + "".join(action.value for action in Action if action in self.actions)


def parse_scope(text: str) -> Scope:
    """Read one scope; raises `InputError` ``scope.malformed``."""
    match = _SCOPE.fullmatch(text)
    if match is None or not match[2]:
        raise InputError("scope.malformed")
    return Scope(match[1], frozenset(Action(letter) for letter in match[2]))


def parse_scopes(text: str) -> tuple[Scope, ...]:
    """Read scopes separated by blanks; raises `InputError` ``scope.malformed``, also for none or too many."""
    words = text.split(" ") if text else []
    if not 0 < len(words) <= MAX_SCOPES:
        raise InputError("scope.malformed")
    return tuple(dict.fromkeys(parse_scope(word) for word in words))


def scopes_text(scopes: Iterable[Scope]) -> str:
    """Write scopes separated by blanks."""
    return " ".join(str(scope) for scope in scopes)


def permits(scopes: Collection[Scope], type_name: str, action: Action) -> bool:
    """Tell whether scopes allow an action on a type."""
    return any(action in scope.actions and scope.type in ("*", type_name) for scope in scopes)


def covers(granted: Collection[Scope], asked: Scope) -> bool:
    """Tell whether granted scopes allow everything that a scope asks for."""
    return all(
        any(action in scope.actions and scope.type in ("*", asked.type) for scope in granted)
        for action in asked.actions
    )
