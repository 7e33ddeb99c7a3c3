"""What resources are looked for: conditions on the rows of one narrow index table, as a tree without values of its own.

Keeps true: a search whose values were taken out says nothing of whom it is about, so that it can be kept and used
again. Pure. Trusts whoever makes a search.
Source: `docs/spec/search-index.md`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

NEVER: Final = (1 << 47) - 1
"""What stands for the number of the version that replaced the newest one."""

NEWEST: Final = NEVER - 1
"""The snapshot of this moment: what nothing has replaced."""

ANY_STATE: Final = -1
"""The generation of a search that is right in every state of the index."""

AFTER_ALL: Final = "\U0010ffff"
"""Follows every text that an index has."""

Comparison: TypeAlias = Literal["<", "<=", ">", ">="]
"""How a number is compared."""


class Slot(NamedTuple):
    """The place of a value in a prepared query."""

    place: int


Column: TypeAlias = Literal["low", "high"]
"""Which of a row's numbers."""


class Bound(NamedTuple):
    """A limit of a row's numbers."""

    column: Column
    operator: Comparison
    value: float | Slot


class Match(NamedTuple):
    """What a row must be.

    Attributes:
        number: parameter's number and variant.
        width: how many numbers from there on are meant.
        keys: its key is one of these; empty for any.
        prefix: its key begins so.
        contains: its key contains one of these; empty for any.
        detail: its detail; None for any.
        bounds: limits of its numbers.
        others: further numbers that would do, where the width is 1.
        owners: it is one of these whose row it is, which is known of all that fulfil the search; empty for unknown.
    """

    number: int
    width: int = 1
    keys: tuple[str | Slot, ...] = ()
    prefix: str | Slot = ""
    contains: tuple[str | Slot, ...] = ()
    detail: str | Slot | None = None
    bounds: tuple[Bound, ...] = ()
    others: tuple[int, ...] = ()
    owners: tuple[float | Slot, ...] = ()


def merged(matches: Iterable[Match]) -> tuple[Match, ...]:
    """Write alternatives that differ in nothing but their key, what that contains, or their number, as one."""
    listed = tuple(matches)
    if len(listed) > 1:
        by_key: dict[tuple[object, ...], list[Match]] = {}
        for one in listed:
            alike = (
                one.number,
                one.others,
                one.width,
                # Of what must be a key and contain something, only what differs in one of the two is joined.
                one.keys if one.contains else bool(one.keys),
                bool(one.contains),
                one.prefix,
                one.detail,
                one.bounds,
            )
            by_key.setdefault(alike, []).append(one)
        listed = tuple(_with_keys(same) for same in by_key.values())
    if len(listed) > 1:
        by_number: dict[tuple[object, ...], list[Match]] = {}
        for one in listed:
            # Of several numbers wide, each stays by itself.
            kind = one.width if one.width == 1 else (one.width, one.number)
            by_number.setdefault((kind, one.keys, one.prefix, one.contains, one.detail, one.bounds), []).append(one)
        listed = tuple(_with_numbers(same) for same in by_number.values())
    return listed


def _with_keys(same: list[Match]) -> Match:
    """Join what differs in keys, or in what they contain."""
    if len(same) == 1:
        return same[0]
    keys = dict.fromkeys(key for one in same for key in one.keys)
    contains = dict.fromkeys(text for one in same for text in one.contains)
    return same[0]._replace(keys=tuple(keys), contains=tuple(contains))


def _with_numbers(same: list[Match]) -> Match:
    """Join what differs in numbers."""
    if len(same) == 1:
        return same[0]
    first, *rest = (number for one in same for number in (one.number, *one.others))
    return same[0]._replace(number=first, others=tuple(rest))


@dataclass(frozen=True, slots=True)
class Row:
    """The resource has a row that is one of some.

    Attributes:
        alternatives: what the row may be.
        rank: how rare such a row is thought to be, the smaller, the rarer; the caller knows its parameters.
    """

    alternatives: tuple[Match, ...]
    rank: int = 50

    @property
    def is_keyed(self) -> bool:
        """Whether keys alone say which rows these are, so that they have no numbers but whose they are."""
        listed = self.alternatives
        return bool(listed) and all(one.keys and one.width == 1 and not one.bounds and not one.prefix for one in listed)


@dataclass(frozen=True, slots=True)
class Together:
    """The resource has rows that belong together.

    Attributes:
        rows: one after the other.
        in_place: whether each must have the place of the others.
    """

    rows: tuple[Row, ...]
    in_place: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Linked:
    """The resource refers to one that fulfils a condition.

    Attributes:
        numbers: of the reference parameters.
        type: type of what is referred to.
        condition: what that fulfils.
        url: of the parameter that is that type's own URL, where references may be URLs; 0 for none.
        version: of the parameter that is its business version, which a reference by URL may name; 0 for none.
    """

    numbers: tuple[int, ...]
    type: str
    condition: Condition
    url: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class Referred:
    """A resource that fulfils a condition refers to this one.

    Attributes:
        number: of the reference parameter, which also says the type of what refers.
        types: types that this one may have.
        condition: what the other fulfils.
        url: of the parameter that is the own URL of the only type, where references may be URLs; 0 for none.
        version: as in `Linked`.
        is_owner: whether what refers to this one and to no other of its type is its own: then rows without numbers have
            that owner.
    """

    number: int
    types: tuple[str, ...]
    condition: Condition
    url: int = 0
    version: int = 0
    is_owner: bool = False


@dataclass(frozen=True, slots=True)
class OfType:
    """The resource is of one of some types."""

    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ids:
    """The resource has one of some ids."""

    ids: tuple[str | Slot, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """The resource was last changed within limits: all of one of some lists of (operator, microseconds)."""

    alternatives: tuple[tuple[tuple[Comparison, int | Slot], ...], ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of some conditions holds; none of none."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """All of some conditions hold; of none they do."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """A condition does not hold."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Sighted:
    """The version is none of some, and of some patients and types none that came later than others, but for one type.

    Attributes:
        hidden: numbers of versions, a JSON array.
        upto: number of a version.
        owners: tokens of patients of whom no version after that counts, a JSON array.
        but: type of which it counts all the same.
        types: of which none after that counts, whosever it is.
    """

    hidden: str | Slot
    upto: int | Slot
    owners: str | Slot
    but: str
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Naming:
    """The version refers to one of some records, or came later than another one.

    Attributes:
        numbers: of the reference parameters.
        names: names of the records, a JSON array.
        upto: number of that version.
    """

    numbers: tuple[int, ...]
    names: str | Slot
    upto: int | Slot


Condition: TypeAlias = (
    Row | Together | Linked | Referred | OfType | Ids | Updated | AnyOf | AllOf | Not | Sighted | Naming
)


@dataclass(frozen=True, slots=True)
class Order:
    """A rule of the order; a resource without a value comes last.

    Attributes:
        numbers: parameters whose rows give the value; empty for what the resource itself has.
        by_key: whether the key is the value, not low and high; of the resource itself the id, not the time of the last
            change.
        descending: from the largest.
        points: further parameters, whose rows give the value in low alone.
    """

    numbers: tuple[int, ...]
    by_key: bool
    descending: bool
    points: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for.

    Attributes:
        types: resource types; empty for all.
        conditions: all must hold.
        order: most important first; the number of the resource decides at the end.
        after: values of the order and number of the last resource of the page before; empty for the first page.
        limit: size of the page.
        snapshot: number of the last version that counts.
        generation: the state of the index for which it was planned, or `ANY_STATE`.
        end: number of the resource before which a walk ends that asks each one in turn, and makes no set of those that
            fulfil the rarest condition; 0 for no walk.
    """

    types: tuple[str, ...]
    conditions: tuple[Condition, ...]
    order: tuple[Order, ...] = ()
    after: tuple[float | str | Slot, ...] = ()
    limit: int | Slot = 20
    snapshot: int | Slot = NEWEST
    generation: int = ANY_STATE
    end: int | Slot = 0


class Known(NamedTuple):
    """What a search found, which a write rests on: it must find just that still as the write is stored.

    Attributes:
        search: what was looked for, at the newest state.
        snapshot: number of the last version that counted.
        number: of the record version that was found, the only one; 0 for none.
        id: of that record; empty for none.
    """

    search: Search
    snapshot: int
    number: int = 0
    id: str = ""

    @property
    def types(self) -> frozenset[str] | None:
        """Types of which a new version may make another answer; None where it may be of any."""
        return frozenset(self.search.types) if self.search.types and _is_near(self.search.conditions) else None


def _is_near(conditions: Iterable[Condition]) -> bool:
    """Tell whether conditions are of nothing but the resource itself."""
    for one in conditions:
        if isinstance(one, Linked | Referred):
            return False
        inner = one.conditions if isinstance(one, AnyOf | AllOf) else (one.condition,) if isinstance(one, Not) else ()
        if not _is_near(inner):
            return False
    return True


class Form:
    """Takes the values out of a search, so that only its form is left."""

    def __init__(self, values: list[float | str]) -> None:
        """Keep where the values go."""
        self._values = values

    def search(self, search: Search) -> Search:
        """Take out those of a search."""
        return Search(
            search.types,
            tuple(self._condition(one) for one in search.conditions),
            search.order,
            tuple(self._slot(one) for one in search.after),
            self._slot(search.limit),
            self._slot(search.snapshot),
            end=self._slot(search.end) if search.end else 0,
        )

    def _slot(self, value: float | str | Slot) -> Slot:
        """Take out one."""
        if isinstance(value, Slot):
            return value
        self._values.append(value)
        return Slot(len(self._values) - 1)

    def _several(self, values: tuple[str | Slot, ...]) -> tuple[str | Slot, ...]:
        """Take out some that stand for each other; the last one again and again, so that there are few forms."""
        if not values:
            return ()
        room = 1 << (len(values) - 1).bit_length()
        return tuple(self._slot(one) for one in (*values, *[values[-1]] * (room - len(values))))

    def _condition(self, condition: Condition) -> Condition:  # noqa: C901, PLR0911  # one for each kind
        """Take out those of a condition."""
        match condition:
            case Row():
                return self._row(condition)
            case Together(rows, in_place):
                return Together(tuple(self._row(one) for one in rows), in_place)
            case Linked(numbers, type_name, inner, url, version):
                return Linked(numbers, type_name, self._condition(inner), url, version)
            case Referred(number, types, inner, url, version, is_owner):
                return Referred(number, types, self._condition(inner), url, version, is_owner)
            case Ids(ids):
                return Ids(self._several(ids))
            case Updated(alternatives):
                return Updated(tuple(tuple((by, self._slot(time)) for by, time in one) for one in alternatives))
            case OfType():
                return condition
            case AnyOf(conditions):
                return AnyOf(tuple(self._condition(one) for one in conditions))
            case AllOf(conditions):
                return AllOf(tuple(self._condition(one) for one in conditions))
            case Not(inner):
                return Not(self._condition(inner))
            case Sighted(hidden, upto, owners, but, types):
                return Sighted(self._slot(hidden), self._slot(upto), self._slot(owners), but, types)
            case Naming(numbers, names, upto):
                return Naming(numbers, self._slot(names), self._slot(upto))

    def _row(self, row: Row) -> Row:
        """Take out those of a row."""
        return Row(tuple(self._match(one) for one in row.alternatives), row.rank)

    def _match(self, match: Match) -> Match:
        """Take out those of a match; what is absent stays absent."""
        return Match(
            match.number,
            match.width,
            self._several(match.keys),
            self._prefix(match.prefix) if match.prefix else "",
            tuple(self._slot(one) for one in match.contains),
            self._slot(match.detail) if match.detail else match.detail,
            tuple(Bound(one.column, one.operator, self._slot(one.value)) for one in match.bounds),
            match.others,
            tuple(self._slot(one) for one in match.owners),
        )

    def _prefix(self, prefix: str | Slot) -> str | Slot:
        """Take out a prefix, and with it the end of what begins so."""
        if isinstance(prefix, Slot):
            return prefix
        first = self._slot(prefix)
        self._slot(prefix + AFTER_ALL)
        return first
