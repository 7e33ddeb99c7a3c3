"""Types of statements: what one says, which states it passes, and who may take which step, as data on the ledger.

The members register a type with the policy. Keeps true: what is registered is neither altered nor dropped, so that a
statement is judged for ever by the life under which it was made; a state from which no step leads is the last one.
Pure. Trusts nothing that is parsed.
Source: `docs/spec/attest.md` 2.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, members
from medchain.errors import InputError

OWNER: Final = "owner"
"""Who may take a step, beside the roles: the organisation that made the statement."""

MAKE: Final = "make"
"""Name of the first step, which no type may give to another."""

MAX_TYPES: Final = 32
"""Most types of a policy."""

MAX_STEPS: Final = 16
"""Most steps of a type."""

MAX_FIELDS: Final = 32
"""Most fields of a type: with those that every statement has they are leaves of one body."""

_URI: Final = re.compile(r"[a-z][a-z0-9+.-]{0,31}:[!-~]{1,160}")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_TYPE: Final = {"by": list, "fields": list, "named": bool, "state": str, "steps": dict}
_STEP: Final = {"by": list, "from": list, "sets": list, "to": str}


@dataclass(frozen=True, slots=True)
class Step:
    """A step in the life of a statement.

    Attributes:
        by: roles whose organisations may take it, under other control than the owner's; `OWNER` for the owner itself.
        states: from which it leads.
        state: to which it leads.
        sets: fields that it says, or says anew.
    """

    by: frozenset[str]
    states: frozenset[str]
    state: str
    sets: frozenset[str]


@dataclass(frozen=True, slots=True)
class Predicate:
    """A type of statements.

    Attributes:
        makers: roles whose organisations may make one.
        told: fields that it says from the first.
        state: its first state.
        steps: name → step.
        is_named: whether there is one of an owner for each name, so that a second one is refused and that there is
            none can be proven.
    """

    makers: frozenset[str]
    told: frozenset[str]
    state: str
    steps: Mapping[str, Step]
    is_named: bool

    @property
    def fields(self) -> frozenset[str]:
        """All that it may come to say."""
        return self.told.union(*(step.sets for step in self.steps.values()))

    def is_last(self, state: str) -> bool:
        """Tell whether no step leads on from a state."""
        return not any(state in step.states for step in self.steps.values())


def parse_predicates(value: Json, roles: Collection[str]) -> dict[str, Predicate]:
    """Read the types of a policy strictly.

    Args:
        value: ``{TYPE:{"by":[ROLE,…],"fields":[…],"named":BOOL,"state":STATE,"steps":{NAME:{…},…}},…}``.
        roles: of organisations.

    Returns:
        URI → type.

    Raises:
        InputError: ``encoding.members``, ``predicate.malformed``.
    """
    if type(value) is not dict or len(value) > MAX_TYPES:
        raise InputError("predicate.malformed", type="")
    return {name: _predicate(name, row, frozenset(roles)) for name, row in value.items()}


def check_kept(before: Mapping[str, Predicate], after: Mapping[str, Predicate]) -> None:
    """Refuse types that were registered and are no more what they were; raises `InputError` ``predicate.changed``."""
    for name, predicate in before.items():
        if after.get(name) != predicate:
            raise InputError("predicate.changed", type=name)


def _predicate(name: str, value: Json, roles: frozenset[str]) -> Predicate:
    """Read a type."""
    top = members(value, _TYPE)
    rows = top["steps"]
    if not _URI.fullmatch(name) or type(rows) is not dict or len(rows) > MAX_STEPS or MAKE in rows:
        raise InputError("predicate.malformed", type=name[:64])
    steps = {_name(step): _step(row, roles) for step, row in rows.items()}
    made = Predicate(
        makers=_names(top["by"], within=roles),
        told=_names(top["fields"]),
        state=_name(top["state"]),
        steps=steps,
        is_named=top["named"] is True,
    )
    reached = {made.state, *(step.state for step in steps.values())}
    if len(made.fields) > MAX_FIELDS or any(not step.states <= reached for step in steps.values()):
        # A step from a state to which nothing leads is a misspelt one.
        raise InputError("predicate.malformed", type=name)
    return made


def _step(value: Json, roles: frozenset[str]) -> Step:
    """Read a step."""
    row = members(value, _STEP)
    return Step(
        by=_names(row["by"], within=roles | {OWNER}),
        states=_names(row["from"]),
        state=_name(row["to"]),
        sets=_names(row["sets"], at_least=0),
    )


def _names(value: Json, *, within: Collection[str] | None = None, at_least: int = 1) -> frozenset[str]:
    """Read a sorted list of different names."""
    found = [_name(item) for item in value] if type(value) is list else []
    if len(found) < at_least or found != sorted(set(found)) or (within is not None and not set(found) <= set(within)):
        raise InputError("predicate.malformed", type="")
    return frozenset(found)


def _name(value: Json) -> str:
    """Read the name of a field, a step or a state."""
    if type(value) is not str or not _NAME.fullmatch(value):
        raise InputError("predicate.malformed", type="")
    return value
