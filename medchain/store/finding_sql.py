"""The SQL that answers a search on the narrow index table.

A condition can be asked in two ways: for the set of all that fulfil it, or of one resource whether it does. A search
takes the set of its rarest condition and asks the others of each member, so that a search within one patient costs what
that patient has, however large the table is. Where that set is large, a page may be walked for: each resource is asked
in the order of the page, until it is full (`SearchTable.find_page`). Searches of one form are put into SQL once. Keeps
true: values are bound, never written into SQL; no condition is dropped; whatever takes part in an answer, also at the
other end of a reference, is alive in the snapshot. Trusts the rows. Longer than most files: each kind of condition has
both its forms here.
Source: `docs/spec/search-index.md`; sqlite.org/optoverview.html, sqlite.org/withoutrowid.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import lru_cache
from operator import ge, gt, le, lt
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Dialect,
    FromClause,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    true,
    tuple_,
    union_all,
)

from medchain.store.engine import room
from medchain.store.finding import (
    AFTER_ALL,
    AllOf,
    AnyOf,
    Condition,
    Form,
    Ids,
    Linked,
    Match,
    Naming,
    Not,
    OfType,
    Order,
    Referred,
    Row,
    Search,
    Sighted,
    Slot,
    Together,
    Updated,
)
from medchain.store.tables import detail, entry, record, resource

_OPERATORS: Final = {"<": lt, "<=": le, ">": gt, ">=": ge}
_LATEST: Final = float(1 << 63)
_NEVER_FIRST: Final = 100
_SLOT: Final = "value"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A query as the driver takes it.

    Attributes:
        sql: the text.
        values: what is bound, in its order.
    """

    sql: str
    values: tuple[float | str, ...]


def prepared_page(search: Search, dialect: Dialect) -> Prepared:
    """Make the query of one page: number, type, id, and the values of the order, for the next page's `Search.after`.

    Args:
        search: what is looked for.
        dialect: the engine's; with positional parameters.
    """
    return _prepared(search, dialect, _Question.PAGE)


def prepared_count(search: Search, dialect: Dialect) -> Prepared:
    """Make the query of the number of matches; arguments as in `prepared_page`."""
    return _prepared(search, dialect, _Question.COUNT)


def prepared_reach(search: Search, dialect: Dialect) -> Prepared | None:
    """Make the query of how many rows the set of a page begins with, and how far a walk past so many would reach.

    Args:
        search: what is looked for; its limit is the most rows that are counted.
        dialect: as in `prepared_page`.

    Returns:
        The query of the number of rows, and of the number of the resource before which the walk ends (`Search.end`),
        NULL where it reaches them all. None for a search that is not walked for: of several types, in another order
        than that of numbers, or whose resources cannot each be asked at the same small cost.
    """
    lead = _lead(search)
    return None if lead is None else _prepared(replace(search, conditions=(lead,)), dialect, _Question.REACH)


def prepared_links(numbers: Sequence[int], parameters: Sequence[int], dialect: Dialect) -> Prepared:
    """Make the query of the keys and details that record versions have for some parameters; neither may be empty."""
    some, wanted = _padded(numbers), _padded(parameters)
    return Prepared(_links_sql(len(some), len(wanted), dialect), (*some, *wanted))


def prepared(query: Select[Any], dialect: Dialect) -> Prepared:  # Any: of whatever columns
    """Make any query, with its values."""
    compiled = query.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    values = compiled.params
    return Prepared(str(compiled), tuple(values[name] for name in compiled.positiontup or ()))


def _padded(values: Sequence[int]) -> tuple[int, ...]:
    """Repeat the last of some values, so that there are few forms."""
    room = 1 << (len(values) - 1).bit_length()
    return (*values, *[values[-1]] * (room - len(values)))


@lru_cache(maxsize=256)
def _links_sql(numbers: int, parameters: int, dialect: Dialect) -> str:
    """Put that query into SQL, for so many values each."""
    said = select(detail.c.text).where(detail.c.number == entry.c.detail).scalar_subquery()
    # Most have none, and are not looked up.
    text = case((entry.c.detail == literal_column("0"), literal_column("''")), else_=said)
    chosen = select(entry.c.key, text).where(
        entry.c.resource.in_([bindparam(f"n{place}", required=False) for place in range(numbers)]),
        entry.c.number.in_([bindparam(f"p{place}", required=False) for place in range(parameters)]),
    )
    return str(chosen.compile(dialect=dialect, compile_kwargs={"render_postcompile": True}))


class _Question(Enum):
    """What is asked of a search."""

    PAGE = auto()
    COUNT = auto()
    REACH = auto()


def _prepared(search: Search, dialect: Dialect, question: _Question) -> Prepared:
    """Take the values out of a search, and put them where its form's SQL wants them."""
    values: list[float | str] = []
    form = Form(values).search(search)
    sql, order = _compiled(form, dialect, question)
    return Prepared(sql, tuple(values[place] if isinstance(place, int) else place[0] for place in order))


@lru_cache(maxsize=512)
def _compiled(form: Search, dialect: Dialect, question: _Question) -> tuple[str, tuple[int | tuple[float | str], ...]]:
    """Put a form into SQL; the places of its values, and what is bound always alike, in the order of the text."""
    query = _Writer(form).asked(question)
    compiled = query.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    names = compiled.positiontup or ()
    # A property that gathers all of them each time.
    fixed = compiled.params
    order: list[int | tuple[float | str]] = []
    for name in names:
        is_slot = name.startswith(_SLOT) and name[len(_SLOT) :].isdigit()
        order.append(int(name[len(_SLOT) :]) if is_slot else (fixed[name],))
    return str(compiled), tuple(order)


def _bound(value: float | str | Slot) -> ColumnElement[Any]:  # Any: of whatever type the value is
    """Bind a value, or the place of one."""
    return bindparam(f"{_SLOT}{value.place}", required=False) if isinstance(value, Slot) else literal(value)


def _listed(values: str | Slot) -> Select[Any]:  # Any: of whatever type the values are
    """Give the values of a JSON array, as a set that is made once a question (sqlite.org/json1.html)."""
    return select(func.json_each(_bound(values)).table_valued("value").c.value)


def _room(limit: int | Slot) -> int | ColumnElement[int]:
    """Bind the size of a page, or the place of it."""
    return room(f"{_SLOT}{limit.place}") if isinstance(limit, Slot) else limit


class _Writer:
    """Writes one search."""

    __slots__ = ("_search",)

    def __init__(self, search: Search) -> None:
        """Keep it."""
        self._search = search

    def asked(self, question: _Question) -> Select[Any]:  # Any: of whatever columns
        """Write the query of a question."""
        match question:
            case _Question.PAGE:
                return self.page()
            case _Question.COUNT:
                return self.count()
            case _Question.REACH:
                return self.reach()

    def page(self) -> Select[Any]:  # Any: as many values as the order has rules
        """Write the query of a page."""
        search = self._search
        values = [_value(rule, resource.c.number) for rule in search.order]
        query = select(
            resource.c.number,
            resource.c.type,
            resource.c.id,
            *(value.label(f"order{place}") for place, value in enumerate(values)),
        ).where(self._matching())
        if search.after:
            query = query.where(_beyond([*values, resource.c.number], search))
        directions = [
            value.desc() if rule.descending else value.asc() for value, rule in zip(values, search.order, strict=True)
        ]
        return query.order_by(*directions, resource.c.number).limit(_room(search.limit))

    def count(self) -> Select[int]:
        """Write the query of the number of matches; no more than the limit are counted."""
        found = select(resource.c.number).where(self._matching()).limit(_room(self._search.limit))
        return select(func.count()).select_from(found.subquery())

    def reach(self) -> Select[Any]:  # Any: two numbers
        """Write the query of how many rows there are, and of the resource where a walk past so many others ends."""
        search = self._search
        rows = union_all(*(_row_set(one) for one in search.conditions if isinstance(one, Row)))
        begun = select(func.count().label("rows")).select_from(rows.limit(_room(search.limit)).subquery()).cte("begun")
        count = select(begun.c.rows).scalar_subquery()
        later = [resource.c.number > _bound(last) for last in search.after]
        ends = select(resource.c.number).where(resource.c.type.in_(search.types), *later).order_by(resource.c.number)
        return select(count, ends.limit(literal_column("1", Integer)).offset(count).scalar_subquery())

    def _matching(self) -> ColumnElement[bool]:
        """Write the condition of a search: the rarest as a set, the others as questions."""
        number, types, end = resource.c.number, self._search.types, self._search.end
        ranked = sorted(self._search.conditions, key=_rank)
        parts: list[ColumnElement[bool]] = [resource.c.type.in_(types)] if types else []
        if end:
            parts.append(number < _bound(end))
        elif ranked and (chosen := self._set(ranked[0])) is not None:
            # As an expression the type has no index that SQLite could prefer to the set.
            parts = [resource.c.type.concat("").in_(types)] if types else []
            parts.append(number.in_(chosen))
            ranked = ranked[1:]
        return and_(true(), *parts, self._alive(resource), *(self._test(one, number, resource) for one in ranked))

    def _alive(self, table: FromClause) -> ColumnElement[bool]:
        """Ask whether a version is the newest in the snapshot; as expressions, which have no index to be tempted by."""
        snapshot = _bound(self._search.snapshot)
        zero: ColumnElement[int] = literal_column("0")
        return and_(table.c.number + zero <= snapshot, table.c.replaced + zero > snapshot)

    def _set(self, condition: Condition) -> Select[int] | None:  # noqa: PLR0911  # one for each kind
        """Make the set of the numbers of all that fulfil a condition, and of more that are dead; None for no way."""
        match condition:
            case Row():
                return _row_set(condition)
            case Together(rows, _):
                return _together_set(condition, min(range(len(rows)), key=lambda place: _rank(rows[place])))
            case Linked():
                return self._linked_set(condition)
            case Referred():
                return self._referred_set(condition)
            case AnyOf(conditions):
                sets = [found for one in conditions if (found := self._set(one)) is not None]
                whole = sets and len(sets) == len(conditions)
                return select(union_all(*sets).subquery().c[0]) if whole else None
            case AllOf(conditions):
                return self._all_set(conditions)
            case _:
                return None

    def _all_set(self, conditions: tuple[Condition, ...]) -> Select[int] | None:
        """Make the set of all that fulfil several conditions: that of the rarest, the others asked of each."""
        table = resource.alias()
        ranked = sorted(conditions, key=_rank)
        if not ranked:
            return None
        if (found := self._set(ranked[0])) is not None:
            if len(ranked) == 1:
                return found
            rest = [self._test(one, table.c.number, table) for one in ranked[1:]]
            return select(table.c.number).where(table.c.number.in_(found), *rest)
        if any(isinstance(one, Ids) for one in ranked) and any(isinstance(one, OfType) for one in ranked):
            return select(table.c.number).where(*(self._test(one, table.c.number, table) for one in ranked))
        return None

    def _chosen(self, condition: Condition, table: FromClause) -> ColumnElement[bool]:
        """Choose the rows of a table of resources by a condition: as a set if it may be one."""
        found = self._set(condition)
        return self._test(condition, table.c.number, table) if found is None else table.c.number.in_(found)

    def _linked_set(self, condition: Linked) -> Select[int]:
        """Make the set of what refers to resources that fulfil a condition: by their ids, or by their URLs."""
        link, own, target = entry.alias(), entry.alias(), resource.alias()
        wanted = [
            target.c.type == condition.type,
            link.c.number.in_(condition.numbers),
            self._alive(target),
            self._chosen(condition.condition, target),
        ]
        by_id = (
            select(link.c.resource)
            .join_from(target, link, link.c.key == literal(f"{condition.type}/").concat(target.c.id))
            .where(*wanted)
        )
        if not condition.url:
            return by_id
        by_url = (
            select(link.c.resource)
            .join_from(target, own, own.c.resource == target.c.number)
            .join(link, link.c.key == own.c.key)
            .where(own.c.number == condition.url, *_named_version(condition.version, link, target.c.number), *wanted)
        )
        return select(union_all(by_id, by_url).subquery().c[0])

    def _referred_set(self, condition: Referred) -> Select[int]:
        """Make the set of what is referred to: from what refers, through its rows, to the resources."""
        types = condition.types
        link, source, own, target = entry.alias(), resource.alias(), entry.alias(), resource.alias()
        found = self._set(condition.condition)
        names = or_(
            *(and_(target.c.type == name, link.c.key == literal(f"{name}/").concat(target.c.id)) for name in types)
        )
        if len(types) == 1:
            (name,) = types
            names = and_(target.c.type == name, target.c.id == func.substr(link.c.key, len(name) + 2))
        alive = [source.c.number == link.c.resource, self._alive(source)]
        if found is not None:
            wanted = [link.c.number == condition.number, link.c.resource.in_(found), exists().where(*alive)]
        else:
            inner = self._test(condition.condition, source.c.number, source)
            wanted = [link.c.number == condition.number, exists().where(*alive, inner)]
        by_id = select(target.c.number).join_from(link, target, names).where(*wanted)
        if not condition.url:
            return by_id
        by_url = (
            select(own.c.resource)
            .join_from(link, own, own.c.key == link.c.key)
            .where(own.c.number == condition.url, *_named_version(condition.version, link, own.c.resource), *wanted)
        )
        return select(union_all(by_id, by_url).subquery().c[0])

    def _test(  # noqa: C901, PLR0911  # one for each kind
        self, condition: Condition, number: ColumnElement[int], table: FromClause
    ) -> ColumnElement[bool]:
        """Ask whether a resource fulfils a condition."""
        match condition:
            case Row(alternatives):
                row = entry.alias()
                return exists().where(row.c.resource == number, *_probe(alternatives, row))
            case Together(rows, _):
                tables = [entry.alias() for _ in rows]
                return exists().where(tables[0].c.resource == number, *_together(condition, tables, None))
            case Linked():
                return or_(*self._links(condition, number))
            case Referred():
                return or_(*self._referrers(condition, number, table))
            case OfType(types):
                return table.c.type.in_(types)
            case Ids(ids):
                return table.c.id.in_([_bound(one) for one in ids])
            case Updated(alternatives):
                return or_(
                    false(),
                    *(
                        and_(true(), *(_OPERATORS[by](table.c.updated, _bound(time)) for by, time in one))
                        for one in alternatives
                    ),
                )
            case AnyOf(conditions):
                return or_(false(), *(self._test(one, number, table) for one in conditions))
            case AllOf(conditions):
                return and_(true(), *(self._test(one, number, table) for one in conditions))
            case Not(inner):
                return not_(self._test(inner, number, table))
            case Sighted(hidden, upto, owners, but, types):
                later = record.alias()
                of_some = or_(later.c.patient.in_(_listed(owners)), *(later.c.type == one for one in types))
                watched = exists().where(later.c.seq == number, of_some, later.c.type != but)
                return and_(number.not_in(_listed(hidden)), or_(number <= _bound(upto), not_(watched)))
            case Naming(numbers, names, upto):
                row = entry.alias()
                named = row.c.key.in_(_listed(names))
                refers = exists().where(row.c.resource == number, row.c.number.in_(numbers), named)
                return or_(number > _bound(upto), refers)

    def _links(self, condition: Linked, number: ColumnElement[int]) -> Iterator[ColumnElement[bool]]:
        """Ask whether a resource refers to one that fulfils a condition: by its id, by its URL."""
        name = condition.type
        link, own, target = entry.alias(), entry.alias(), resource.alias()
        wanted = [
            link.c.resource == number,
            link.c.number.in_(condition.numbers),
            target.c.type == name,
            self._alive(target),
            self._test(condition.condition, target.c.number, target),
        ]
        yield exists().where(
            target.c.id == func.substr(link.c.key, len(name) + 2),
            func.substr(link.c.key, 1, len(name) + 1) == f"{name}/",
            *wanted,
        )
        if condition.url:
            yield exists().where(
                own.c.number == condition.url,
                own.c.key == link.c.key,
                target.c.number == own.c.resource,
                *_named_version(condition.version, link, own.c.resource),
                *wanted,
            )

    def _referrers(
        self, condition: Referred, number: ColumnElement[int], table: FromClause
    ) -> Iterator[ColumnElement[bool]]:
        """Ask whether one that fulfils a condition refers to a resource: by its id, by its URL."""
        link, own, source = entry.alias(), entry.alias(), resource.alias()
        name = table.c.type.concat("/").concat(table.c.id)
        wanted = [
            link.c.number == condition.number,
            source.c.number == link.c.resource,
            self._alive(source),
            self._test(condition.condition, source.c.number, source),
        ]
        if (parted := _parted(condition)) is not None:
            yield from self._owned(condition, *parted, name)
            # Those that have another owner, or none, are few.
            wanted.append(link.c.low <= literal_column("0"))
        yield exists().where(link.c.key == name, *wanted)
        if condition.url:
            yield exists().where(
                own.c.resource == number,
                own.c.number == condition.url,
                link.c.key == own.c.key,
                *_named_version(condition.version, link, number),
                *wanted,
            )

    def _owned(
        self, condition: Referred, lead: Row, others: Sequence[Condition], name: ColumnElement[str]
    ) -> Iterator[ColumnElement[bool]]:
        """Ask whether one that fulfils a condition, and is a resource's own, refers to it.

        Under a key the rows of one owner lie beside each other: however many refer to it, few are looked at.

        Args:
            condition: the condition.
            lead: its rarest part.
            others: its other parts.
            name: what a reference to the resource has as its key.
        """
        named, row, link, source = entry.alias(), entry.alias(), entry.alias(), resource.alias()
        of_link = (named.c.number == condition.number, named.c.key == name)
        # All that refer to it alone have the same.
        owner = select(named.c.low).where(*of_link, named.c.low > literal_column("0"))
        for one in lead.alternatives:
            yield exists().where(
                _row(one, row),
                row.c.low == owner.limit(literal_column("1", Integer)).scalar_subquery().correlate_except(named),
                link.c.resource == row.c.resource,
                link.c.number == condition.number,
                link.c.key.concat("") == name,
                source.c.number == row.c.resource,
                self._alive(source),
                *(self._test(part, source.c.number, source) for part in others),
            )


def _lead(search: Search) -> Row | None:
    """Return what the set of a page begins with that may be walked for; None for one that may not."""
    if search.order or len(search.types) != 1 or not search.conditions:
        return None
    first = min(search.conditions, key=_rank)
    parted = _parted(first) if isinstance(first, Referred) else None
    return None if parted is None else parted[0]


def _parted(condition: Referred) -> tuple[Row, list[Condition]] | None:
    """Part what must hold of a resource's own into the rarest, if keys say which rows have it, and the others."""
    inner = condition.condition
    first, *others = sorted(inner.conditions if isinstance(inner, AllOf) else (inner,), key=_rank) or (inner,)
    return (first, others) if condition.is_owner and isinstance(first, Row) and first.is_keyed else None


def _row_set(row: Row) -> Select[int]:
    """Make the set of what has a row."""
    queries = [select(entry.c.resource).where(_row(one, entry)) for one in row.alternatives]
    return queries[0] if len(queries) == 1 else select(union_all(*queries).subquery().c.resource)


def _named_version(version: int, link: FromClause, target: ColumnElement[int]) -> list[ColumnElement[bool]]:
    """Ask whether a reference by URL names no version, or none but that of its target, if that says one."""
    if not version:
        return []
    own = entry.alias()
    said = select(func.lower(detail.c.text)).where(detail.c.number == link.c.detail).correlate(link).scalar_subquery()
    is_other = exists().where(own.c.resource == target, own.c.number == version, own.c.key != said)
    return [or_(link.c.detail == 0, not_(is_other.correlate_except(own)))]


def _rank(condition: Condition) -> int:  # noqa: PLR0911  # one for each kind
    """Guess how rare a condition is: the smaller, the rarer."""
    match condition:
        case Ids():
            return 0
        case Row(_, rank):
            return rank
        case Linked(condition=inner) | Referred(condition=inner):
            return 1 + _rank(inner)
        case Together(rows, _):
            return min(_rank(row) for row in rows)
        case AnyOf(conditions):
            return max((_rank(one) for one in conditions), default=0)
        case AllOf(conditions):
            return min((_rank(one) for one in conditions), default=_NEVER_FIRST)
        case Updated() | Not() | OfType() | Sighted() | Naming():
            return _NEVER_FIRST


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


def _probe(alternatives: tuple[Match, ...], table: FromClause) -> list[ColumnElement[bool]]:
    """Ask whether a row of a known resource is one of some; of one number, only the rows of that are looked at."""
    found = [_row(one, table, probe=True) for one in alternatives]
    numbers = {(one.number, one.width, one.others) for one in alternatives}
    same = [_numbered(alternatives[0], table)] if len(numbers) == 1 and len(found) > 1 else []
    return [*same, or_(false(), *found)]


def _numbered(match: Match, table: FromClause) -> ColumnElement[bool]:
    """Ask whether a row has the number that it must have."""
    if match.others:
        return table.c.number.in_((match.number, *match.others))
    if match.width == 1:
        return table.c.number == match.number
    return and_(table.c.number >= match.number, table.c.number < match.number + match.width)


def _row(match: Match, table: FromClause, *, probe: bool = False) -> ColumnElement[bool]:
    """Ask whether a row is what it must be.

    As an expression a key has no index. A probe, which knows its resource, is so kept from the rows of all resources.
    """
    key = table.c.key.concat("") if probe else table.c.key
    parts = [_numbered(match, table)]
    if len(match.keys) == 1:
        parts.append(key == _bound(match.keys[0]))
    elif match.keys:
        parts.append(key.in_([_bound(one) for one in match.keys]))
    if match.owners and not probe:
        parts.append(table.c.low.in_([_bound(one) for one in match.owners]))
    if match.prefix:
        end = Slot(match.prefix.place + 1) if isinstance(match.prefix, Slot) else match.prefix + AFTER_ALL
        parts += [key >= _bound(match.prefix), key < _bound(end)]
    if match.contains:
        # However many they are, each row is read once.
        parts.append(or_(*(func.instr(key, _bound(one)) > 0 for one in match.contains)))
    if match.detail is not None:
        parts.append(table.c.detail == _detail(match.detail))
    parts += [_OPERATORS[bound.operator](table.c[bound.column], _bound(bound.value)) for bound in match.bounds]
    return and_(*parts)


def _detail(text: str | Slot) -> ColumnElement[int]:
    """Look a detail's number up; a text that no row has gives none."""
    if not text and not isinstance(text, Slot):
        return literal(0)
    return select(detail.c.number).where(detail.c.text == _bound(text)).scalar_subquery()


def _value(rule: Order, number: ColumnElement[int]) -> ColumnElement[float | str]:
    """Make the value by which a rule orders: of several the first in its direction (§3.1.1.5.1)."""
    if not rule.numbers:
        return resource.c.id if rule.by_key else resource.c.updated
    row = entry.alias()
    value: ColumnElement[Any]  # Any: text or a number
    last: float | str
    zero: ColumnElement[float] = literal_column("0")
    if rule.by_key:
        value, last = row.c.key.concat(""), "" if rule.descending else AFTER_ALL
    elif rule.descending:
        end = case((row.c.number.in_(rule.points), row.c.low), else_=row.c.high) if rule.points else row.c.high
        value, last = end + zero, -_LATEST
    else:
        value, last = row.c.low + zero, _LATEST
    # As an expression, which has no index: SQLite would read the parameter's rows in its order until it comes to one of
    # this resource. And no aggregate: for one it would not look into a view (`overlay.py`), but make all of that.
    named = value.label("value")
    found = select(named).where(row.c.resource == number, row.c.number.in_((*rule.numbers, *rule.points)))
    first = (
        found.order_by(named.desc() if rule.descending else named.asc())
        .limit(literal_column("1", Integer))
        .offset(zero)
    )
    return func.coalesce(first.scalar_subquery(), last)


def _beyond(values: Sequence[ColumnElement[float | str]], search: Search) -> ColumnElement[bool]:
    """Ask whether a resource comes after the last one of the page before."""
    descending = [*(rule.descending for rule in search.order), False]
    if not any(descending):
        return tuple_(*values) > tuple_(*(_bound(one) for one in search.after))
    parts = []
    for place, last in enumerate(search.after):
        same = [values[before] == _bound(search.after[before]) for before in range(place)]
        past = values[place] < _bound(last) if descending[place] else values[place] > _bound(last)
        parts.append(and_(*same, past))
    return or_(*parts)
