"""SMART v2 scopes: `system/*.cru`, `patient/Observation.rs?category=laboratory`, `openid`, `launch/patient`.

Keeps true: what a scope does not say is denied; a scope that is not understood is refused as a whole, so that a
constraint is never lost from it; version 1 (`.read`, `.write`, `.*`) means what version 2 says of it. A constraint is
checked as a search of its type before it is kept. Pure.
Source: SMART App Launch 2.2 §3.0 (scopes and launch context), RFC 6749 §3.3.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl

from fhir_bridge.definitions.elements import is_resource_type
from fhir_bridge.search.conditions import Context as SearchContext
from fhir_bridge.search.query import parse_query
from medchain.errors import InputError

MAX_SCOPES: Final = 64
"""Most scopes of one client, or of one request."""

MAX_GRANTED_CHARS: Final = 4_096
"""Longest text of what a person authorises: each token says it, in a header field of each request."""

MAX_QUERY_CHARS: Final = 512
"""Longest constraint of one scope."""

_SCOPE: Final = re.compile(r"(patient|user|system)/(\*|[A-Z][A-Za-z]{1,63})\.(read|write|\*|c?r?u?d?s?)(?:\?(.+))?")
# RFC 6749 §3.3; what else a value needs is percent-encoded.
_QUERY: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
# A plain condition on the resource itself: no chain, no result parameter, nothing that asks for other resources.
_NAME: Final = re.compile(
    r"(?!_(?:list|has|filter|query|sort|count|include|revinclude|summary|elements|total|contained|containedType"
    r"|type|format|pretty)(?:$|:))[A-Za-z_][A-Za-z0-9_-]{0,63}(?::[a-z-]{1,16})?"
)
_STRICT: Final = SearchContext(strict=True)


class Action(StrEnum):
    """What a scope allows, in the letters and the order of SMART."""

    CREATE = "c"
    READ = "r"
    UPDATE = "u"
    DELETE = "d"
    SEARCH = "s"


class Context(StrEnum):
    """Whose rights a scope hands on."""

    PATIENT = "patient"
    """Those to the data of one patient, chosen at the launch."""
    USER = "user"
    """Those of the person who signed in."""
    SYSTEM = "system"
    """Those of the client itself."""


class Special(StrEnum):
    """Scopes that name no resources."""

    OPENID = "openid"
    FHIR_USER = "fhirUser"
    LAUNCH = "launch"
    LAUNCH_PATIENT = "launch/patient"
    LAUNCH_ENCOUNTER = "launch/encounter"
    OFFLINE_ACCESS = "offline_access"
    ONLINE_ACCESS = "online_access"


_V1: Final = {"read": "rs", "write": "cud", "*": "cruds"}


@dataclass(frozen=True, slots=True)
class Scope:
    """One scope of resources.

    Attributes:
        type: resource type, or ``*``.
        actions: what it allows, at least one.
        context: whose rights.
        query: constraint, as a search of the type without its question mark; empty for none.
        spelling: suffix of version 1, if it was asked for in that; says nothing more than `actions`.
    """

    type: str
    actions: frozenset[Action]
    context: Context = Context.SYSTEM
    query: str = ""
    spelling: str = field(default="", compare=False)

    def __str__(self) -> str:
        """Write it as SMART does, in the version in which it was asked for (§3.0.2)."""
        letters = self.spelling or letters_of(self.actions)
        return f"{self.context.value}/{self.type}.{letters}" + (f"?{self.query}" if self.query else "")

    @property
    def conditions(self) -> frozenset[tuple[str, str]]:
        """The conditions of the constraint, all of which a resource must meet."""
        return frozenset(parse_qsl(self.query, keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Asked:
    """The scopes of a request for authorisation.

    Attributes:
        resources: those that were understood.
        special: the others.
        ignored: those that were not understood; none of them may be granted.
    """

    resources: tuple[Scope, ...]
    special: frozenset[Special]
    ignored: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Write what was understood."""
        return " ".join([*(one.value for one in Special if one in self.special), *map(str, self.resources)])


def letters_of(actions: Collection[Action]) -> str:
    """Write actions in SMART's order."""
    return "".join(action.value for action in Action if action in actions)


def parse_scope(text: str) -> Scope:
    """Read one scope of resources; raises `InputError` ``scope.malformed``."""
    match = _SCOPE.fullmatch(text)
    if match is None or not match[3]:
        raise InputError("scope.malformed")
    context, type_name, suffix, query = match.groups()
    if type_name != "*" and not is_resource_type(type_name):
        raise InputError("scope.malformed")
    if query is not None:
        _check_query(type_name, query)
    letters = _V1.get(suffix, suffix)
    spelling = suffix if suffix in _V1 else ""
    return Scope(type_name, frozenset(map(Action, letters)), Context(context), query or "", spelling)


def parse_scopes(text: str) -> tuple[Scope, ...]:
    """Read scopes separated by blanks; raises `InputError` ``scope.malformed``, also for none or too many."""
    words = text.split(" ") if text else []
    if not 0 < len(words) <= MAX_SCOPES:
        raise InputError("scope.malformed")
    return tuple(dict.fromkeys(parse_scope(word) for word in words))


def parse_asked(text: str) -> Asked:
    """Read what an application asks for; raises `InputError` ``scope.malformed`` for more than `MAX_SCOPES`.

    What is not understood is left out and not granted (RFC 6749 §3.3 lets a server ignore it); the answer tells what
    was granted.
    """
    words = list(dict.fromkeys(text.split()))
    if len(words) > MAX_SCOPES:
        raise InputError("scope.malformed")
    return _sorted(words)


def parse_granted(text: str) -> Asked:
    """Read scopes that this node has granted, and written itself: a role may make many of each that was asked for.

    Raises:
        InputError: ``scope.malformed`` where one is not understood.
    """
    found = _sorted(text.split())
    if found.ignored:
        raise InputError("scope.malformed")
    return found


def _sorted(words: Iterable[str]) -> Asked:
    """Tell scopes of resources from the others, and from what is none."""
    resources: list[Scope] = []
    special: set[Special] = set()
    ignored: list[str] = []
    for word in words:
        try:
            if word in _SPECIAL:
                special.add(Special(word))
            else:
                resources.append(parse_scope(word))
        except InputError:
            ignored.append(word)
    return Asked(tuple(dict.fromkeys(resources)), frozenset(special), tuple(ignored))


_SPECIAL: Final = frozenset(one.value for one in Special)


def scopes_text(scopes: Iterable[Scope]) -> str:
    """Write scopes separated by blanks."""
    return " ".join(str(scope) for scope in scopes)


def permits(scopes: Collection[Scope], type_name: str, action: Action) -> bool:
    """Tell whether scopes allow an action on every resource of a type.

    A scope of one patient, or with a constraint, does not: `fhir_bridge.smart.access.permit` tells what it allows.
    """
    return any(
        action in scope.actions
        and scope.type in ("*", type_name)
        and scope.context is not Context.PATIENT
        and not scope.query
        for scope in scopes
    )


def covers(granted: Collection[Scope], asked: Scope) -> bool:
    """Tell whether granted scopes allow everything that a scope asks for: of its context, and no less constrained."""
    return all(
        any(
            action in scope.actions
            and scope.context is asked.context
            and scope.type in ("*", asked.type)
            and scope.conditions <= asked.conditions
            for scope in granted
        )
        for action in asked.actions
    )


def narrowed(asked: Scope, allowed: Collection[Scope]) -> list[Scope]:
    """Give what of a scope is allowed.

    Args:
        asked: the scope.
        allowed: the most that may be given, of any context; a constraint of one of these is added.

    Returns:
        Scopes of the same context that together say so; none where nothing is allowed.
    """
    found: dict[tuple[str, str], frozenset[Action]] = {}
    for limit in allowed:
        actions = asked.actions & limit.actions
        if asked.type == "*" or limit.type in ("*", asked.type):
            type_name = limit.type if asked.type == "*" else asked.type
            query = "&".join(part for part in (asked.query, limit.query if limit.query != asked.query else "") if part)
            found[type_name, query] = found.get((type_name, query), frozenset()) | actions
    kept = {place: actions for place, actions in found.items() if actions}
    return [
        Scope(type_name, actions, asked.context, query, asked.spelling if actions == asked.actions else "")
        for (type_name, query), actions in kept.items()
        if type_name == "*" or not actions <= kept.get(("*", query), frozenset())
    ]


def _check_query(type_name: str, query: str) -> None:
    """Check a constraint; raises `InputError` ``scope.malformed``."""
    if len(query) > MAX_QUERY_CHARS or _QUERY.fullmatch(query) is None:
        raise InputError("scope.malformed")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=16, errors="strict")
        parse_query(pairs, "" if type_name == "*" else type_name, _STRICT)
    except (InputError, ValueError) as error:
        raise InputError("scope.malformed") from error
    if not all(value and _NAME.fullmatch(name) for name, value in pairs):
        raise InputError("scope.malformed")
