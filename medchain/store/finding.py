"""Finds resources by the rows of one narrow index table: conditions as a tree, and the SQL that answers them.

A condition can be asked in two ways: for the set of all that fulfil it, or of one resource whether it does. A search
takes the set of its rarest condition and asks the others of each member, so that a search within one patient costs what
that patient has, however large the table is. Keeps true: values are bound, never written into SQL; no condition is
dropped. Trusts the rows. The tables are not part of the records file yet: nothing that runs uses them.
Source: `docs/spec/search-index.md`; sqlite.org/optoverview.html, sqlite.org/withoutrowid.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Double,
    FromClause,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Select,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    tuple_,
    union_all,
)

FINDING: Final = MetaData()
"""The tables of the index."""

_COUNTED: Final = BigInteger().with_variant(Integer, "sqlite")

resource: Final = Table(
    "resource",
    FINDING,
    Column("number", _COUNTED, primary_key=True, autoincrement=True),
    Column("type", String(64), nullable=False),
    Column("id", String(64), nullable=False),
    Column("updated", BigInteger, nullable=False),
    UniqueConstraint("type", "id", name="resource_type_id"),
)

resource_by_type: Final = Index("resource_by_type", resource.c.type, resource.c.number)

parameter: Final = Table(
    "parameter",
    FINDING,
    Column("number", Integer, primary_key=True),
    Column("type", String(64), nullable=False),
    Column("code", String(64), nullable=False),
    UniqueConstraint("type", "code", name="parameter_type_code"),
)

detail: Final = Table(
    "detail",
    FINDING,
    Column("number", Integer, primary_key=True),
    Column("text", Text, nullable=False, unique=True),
)

entry: Final = Table(
    "entry",
    FINDING,
    Column("resource", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    Column("place", Integer, nullable=False),
    Column("key", Text, nullable=False),
    Column("detail", Integer, nullable=False),
    Column("low", Double, nullable=False),
    Column("high", Double, nullable=False),
    PrimaryKeyConstraint("resource", "number", "place", "key", "detail", "low", "high"),
    sqlite_with_rowid=False,
)
"""The rows. Where the specification has no low and high they are 0; detail is a number of the table of that name."""

entry_by_key: Final = Index("entry_by_key", entry.c.number, entry.c.key, entry.c.low, entry.c.resource)

_OPERATORS: Final = {"<": lt, "<=": le, ">": gt, ">=": ge}
_AFTER_ALL: Final = "\U0010ffff"
_LATEST: Final = float(1 << 63)
_NEVER_FIRST: Final = 100


Comparison: TypeAlias = Literal["<", "<=", ">", ">="]
"""How a number is compared."""


class Bound(NamedTuple):
    """A limit of a row's numbers."""

    column: Literal["low", "high"]
    operator: Comparison
    value: float


@dataclass(frozen=True, slots=True)
class Match:
    """What a row must be.

    Attributes:
        number: parameter's number and variant.
        width: how many numbers from there on are meant.
        keys: its key is one of these; empty for any.
        prefix: its key begins so.
        contains: its key contains this.
        detail: its detail; None for any.
        bounds: limits of its numbers.
    """

    number: int
    width: int = 1
    keys: tuple[str, ...] = ()
    prefix: str = ""
    contains: str = ""
    detail: str | None = None
    bounds: tuple[Bound, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """The resource has a row that is one of some.

    Attributes:
        alternatives: what the row may be.
        rank: how rare such a row is thought to be, the smaller, the rarer; the caller knows its parameters.
    """

    alternatives: tuple[Match, ...]
    rank: int = 50


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
    """

    numbers: tuple[int, ...]
    type: str
    condition: Condition


@dataclass(frozen=True, slots=True)
class Referred:
    """A resource that fulfils a condition refers to this one.

    Attributes:
        number: of the reference parameter, which also says the type of what refers.
        types: types that this one may have.
        condition: what the other fulfils.
    """

    number: int
    types: tuple[str, ...]
    condition: Condition


@dataclass(frozen=True, slots=True)
class Ids:
    """The resource has one of some ids."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """The resource was last changed within limits: all of one of some lists of (operator, microseconds)."""

    alternatives: tuple[tuple[tuple[Comparison, int], ...], ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of some conditions holds; none of none."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """A condition does not hold."""

    condition: Condition


Condition: TypeAlias = Row | Together | Linked | Referred | Ids | Updated | AnyOf | Not


@dataclass(frozen=True, slots=True)
class Order:
    """A rule of the order; a resource without a value comes last.

    Attributes:
        numbers: parameters whose rows give the value; empty for the time of the last change.
        by_key: whether the key is the value, not low and high.
        descending: from the largest.
    """

    numbers: tuple[int, ...]
    by_key: bool
    descending: bool


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for.

    Attributes:
        types: resource types.
        conditions: all must hold.
        order: most important first; the number of the resource decides at the end.
        after: values of the order and number of the last resource of the page before; empty for the first page.
        limit: size of the page.
    """

    types: tuple[str, ...]
    conditions: tuple[Condition, ...]
    order: tuple[Order, ...] = ()
    after: tuple[float | str, ...] = ()
    limit: int = 20


def page(search: Search) -> Select[Any]:  # Any: as many values as the order has rules
    """Make the query of one page: number, type, id, and the values of the order, for the next page's `Search.after`."""
    values = [_value(rule, resource.c.number) for rule in search.order]
    query = select(
        resource.c.number,
        resource.c.type,
        resource.c.id,
        *(value.label(f"order{place}") for place, value in enumerate(values)),
    ).where(_matching(search))
    if search.after:
        query = query.where(_beyond([*values, resource.c.number], search))
    directions = [
        value.desc() if rule.descending else value.asc() for value, rule in zip(values, search.order, strict=True)
    ]
    return query.order_by(*directions, resource.c.number).limit(search.limit)


def count(search: Search) -> Select[int]:
    """Make the query of the number of matches."""
    return select(func.count()).select_from(resource).where(_matching(search))


def _matching(search: Search) -> ColumnElement[bool]:
    """Make the condition of a search: the rarest as a set, the others as questions."""
    number = resource.c.number
    ranked = sorted(search.conditions, key=_rank)
    parts: list[ColumnElement[bool]] = [resource.c.type.in_(search.types)]
    if ranked and (chosen := _set(ranked[0])) is not None:
        # As an expression the type has no index that SQLite could prefer to the set.
        parts = [resource.c.type.concat("").in_(search.types), number.in_(chosen)]
        ranked = ranked[1:]
    return and_(*parts, *(_test(one, number, resource) for one in ranked))


def _rank(condition: Condition) -> int:
    """Guess how rare a condition is: the smaller, the rarer."""
    match condition:
        case Ids():
            return _NEVER_FIRST
        case Row(_, rank):
            return rank
        case Linked(_, _, inner) | Referred(_, _, inner):
            return 1 + _rank(inner)
        case Together(rows, _):
            return min(_rank(row) for row in rows)
        case AnyOf(conditions):
            return max((_rank(one) for one in conditions), default=0)
        case Updated() | Not():
            return _NEVER_FIRST


def _set(condition: Condition) -> Select[int] | None:
    """Make the set of the numbers of all resources that fulfil a condition; None where that is no way to begin."""
    match condition:
        case Row(alternatives):
            queries = [select(entry.c.resource).where(_row(one, entry)) for one in alternatives]
            return queries[0] if len(queries) == 1 else select(union_all(*queries).subquery().c.resource)
        case Together(rows, _):
            first = min(range(len(rows)), key=lambda place: _rank(rows[place]))
            return _together_set(condition, first)
        case Linked(numbers, type_name, inner):
            link, target = entry.alias(), resource.alias()
            return (
                select(link.c.resource)
                .join_from(target, link, link.c.key == literal(f"{type_name}/").concat(target.c.id))
                .where(target.c.type == type_name, link.c.number.in_(numbers), _chosen(inner, target))
            )
        case Referred(number, types, inner):
            return _referred_set(number, types, inner)
        case AnyOf(conditions):
            sets = [found for one in conditions if (found := _set(one)) is not None]
            whole = sets and len(sets) == len(conditions)
            return select(union_all(*sets).subquery().c[0]) if whole else None
        case _:
            return None


def _chosen(condition: Condition, table: FromClause) -> ColumnElement[bool]:
    """Choose the rows of a table of resources by a condition: as a set if it may be one."""
    found = _set(condition)
    return _test(condition, table.c.number, table) if found is None else table.c.number.in_(found)


def _together_set(condition: Together, first: int) -> Select[int]:
    """Make the set of rows that belong together, beginning with one of them."""
    tables = [entry.alias() for _ in condition.rows]
    lead = tables[first]
    return select(lead.c.resource).where(*_together(condition, tables, lead))


def _together(condition: Together, tables: Sequence[FromClause], first: FromClause | None) -> list[ColumnElement[bool]]:
    """Bind rows to each other: one resource, and one place for those that must have it; `first` is looked up by key."""
    parts: list[ColumnElement[bool]] = []
    lead = tables[0] if first is None else first
    placed: FromClause | None = None
    for table, row, in_place in zip(tables, condition.rows, condition.in_place, strict=True):
        parts.append(or_(*(_row(one, table, probe=table is not first) for one in row.alternatives)))
        if table is not lead:
            parts.append(table.c.resource == lead.c.resource)
        if in_place:
            if placed is not None:
                parts.append(table.c.place == placed.c.place)
            placed = table
    return parts


def _referred_set(number: int, types: tuple[str, ...], inner: Condition) -> Select[int]:
    """Make the set of what is referred to: from what refers, through its rows, to the resources."""
    link, source, target = entry.alias(), resource.alias(), resource.alias()
    found = _set(inner)
    names = or_(*(and_(target.c.type == name, link.c.key == literal(f"{name}/").concat(target.c.id)) for name in types))
    if len(types) == 1:
        (name,) = types
        names = and_(target.c.type == name, target.c.id == func.substr(link.c.key, len(name) + 2))
    query = select(target.c.number).join_from(link, target, names).where(link.c.number == number)
    if found is not None:
        return query.where(link.c.resource.in_(found))
    return query.where(exists().where(source.c.number == link.c.resource, _test(inner, source.c.number, source)))


def _test(condition: Condition, number: ColumnElement[int], table: FromClause) -> ColumnElement[bool]:  # noqa: PLR0911  # one for each kind
    """Ask whether a resource fulfils a condition."""
    match condition:
        case Row(alternatives):
            row = entry.alias()
            return exists().where(
                row.c.resource == number, or_(false(), *(_row(one, row, probe=True) for one in alternatives))
            )
        case Together(rows, _):
            tables = [entry.alias() for _ in rows]
            return exists().where(tables[0].c.resource == number, *_together(condition, tables, None))
        case Linked(numbers, type_name, inner):
            link, target = entry.alias(), resource.alias()
            return exists().where(
                link.c.resource == number,
                link.c.number.in_(numbers),
                target.c.type == type_name,
                target.c.id == func.substr(link.c.key, len(type_name) + 2),
                func.substr(link.c.key, 1, len(type_name) + 1) == f"{type_name}/",
                _test(inner, target.c.number, target),
            )
        case Referred(reference, _, inner):
            link, source = entry.alias(), resource.alias()
            return exists().where(
                link.c.number == reference,
                link.c.key == table.c.type.concat("/").concat(table.c.id),
                source.c.number == link.c.resource,
                _test(inner, source.c.number, source),
            )
        case Ids(ids):
            return table.c.id.in_(ids)
        case Updated(alternatives):
            return or_(
                false(),
                *(and_(true(), *(_OPERATORS[by](table.c.updated, time) for by, time in one)) for one in alternatives),
            )
        case AnyOf(conditions):
            return or_(false(), *(_test(one, number, table) for one in conditions))
        case Not(inner):
            return not_(_test(inner, number, table))


def _row(match: Match, table: FromClause, *, probe: bool = False) -> ColumnElement[bool]:
    """Ask whether a row is what it must be.

    As an expression a key has no index. A probe, which knows its resource, is so kept from the rows of all resources.
    """
    key = table.c.key.concat("") if probe else table.c.key
    parts: list[ColumnElement[bool]] = []
    if match.width == 1:
        parts.append(table.c.number == match.number)
    else:
        parts += [table.c.number >= match.number, table.c.number < match.number + match.width]
    if len(match.keys) == 1:
        parts.append(key == match.keys[0])
    elif match.keys:
        parts.append(key.in_(match.keys))
    if match.prefix:
        parts += [key >= match.prefix, key < match.prefix + _AFTER_ALL]
    if match.contains:
        parts.append(func.instr(key, match.contains) > 0)
    if match.detail is not None:
        parts.append(table.c.detail == _detail(match.detail))
    parts += [_OPERATORS[bound.operator](table.c[bound.column], bound.value) for bound in match.bounds]
    return and_(*parts)


def _detail(text: str) -> ColumnElement[int]:
    """Look a detail's number up; a text that no row has gives none."""
    if not text:
        return literal(0)
    return select(detail.c.number).where(detail.c.text == text).scalar_subquery()


def _value(rule: Order, number: ColumnElement[int]) -> ColumnElement[float | str]:
    """Make the value by which a rule orders: of several the first in its direction (§3.1.1.5.1)."""
    if not rule.numbers:
        return resource.c.updated
    row = entry.alias()
    if rule.by_key:
        best = func.max(row.c.key) if rule.descending else func.min(row.c.key)
        last: float | str = "" if rule.descending else _AFTER_ALL
    else:
        best = func.max(row.c.high) if rule.descending else func.min(row.c.low)
        last = -_LATEST if rule.descending else _LATEST
    found = select(best).where(row.c.resource == number, row.c.number.in_(rule.numbers)).scalar_subquery()
    return func.coalesce(found, last)


def _beyond(values: Sequence[ColumnElement[float | str]], search: Search) -> ColumnElement[bool]:
    """Ask whether a resource comes after the last one of the page before."""
    descending = [*(rule.descending for rule in search.order), False]
    if not any(descending):
        return tuple_(*values) > tuple_(*(literal(one) for one in search.after))
    parts = []
    for place, last in enumerate(search.after):
        same = [values[before] == search.after[before] for before in range(place)]
        parts.append(and_(*same, values[place] < last if descending[place] else values[place] > last))
    return or_(*parts)
