"""From a search as it is asked to conditions on the rows of the index.

Keeps true: both sides of a comparison are made by the same functions; what the index cannot answer is refused, not
passed over. Pure: numbers of parameters and the time come from the caller.
Longer than most files: each type of parameter has its comparison, and they are read side by side.
Source: `docs/spec/search-index.md`; FHIR R4 §3.1.1.4, §3.1.1.5.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Final, NamedTuple, assert_never

from fhir_bridge.definitions.elements import type_names
from fhir_bridge.definitions.parameters import ParameterType, SearchParameter, compartment
from fhir_bridge.definitions.subsumption import stem_below
from fhir_bridge.search import current, exact, units
from fhir_bridge.search.cells import Variant
from fhir_bridge.search.conditions import Registry
from fhir_bridge.search.exact import Split, split
from fhir_bridge.search.indexer import CONTAINED, IN_COLUMNS, LIST_ITEM, PATIENT, VARIANTS, parts_of
from fhir_bridge.search.owner import SEVERAL, owner_of
from fhir_bridge.search.paths import is_nested, routes, targets_of
from fhir_bridge.search.ranges import LONG, LONG_US
from fhir_bridge.search.terms import (
    CompositeTerm,
    DateTerm,
    Modifier,
    NearTerm,
    NumberTerm,
    OfTypeTerm,
    Prefix,
    QuantityTerm,
    ReferenceTerm,
    SetTerm,
    StringTerm,
    Term,
    TokenTerm,
    UriTerm,
    related,
)
from fhir_bridge.search.text import searched, string_key
from fhir_bridge.search.tree import (
    ByType,
    Chain,
    Condition,
    Containing,
    Criterion,
    Either,
    Has,
    InCompartment,
    InCompartments,
    Listed,
    Query,
    Sighted,
    SortKey,
)
from fhir_bridge.search.values import token_key
from medchain.dates import Span
from medchain.errors import InputError
from medchain.store import finding
from medchain.store.finding import (
    NEWEST,
    AllOf,
    AnyOf,
    Bound,
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
    Slot,
    Together,
    Updated,
    merged,
)

_CONTACT: Final = "ContactPoint"
_EVENT: Final = "AuditEvent"
_REFUSED: Final = "4"
_DELETION: Final = "D"
_FEW: Final = 8
_ITSELF: Final = "{def}"
NEAR_M: Final = Decimal(50_000)
"""How far ``near`` reaches where the client leaves it to the server, in metres."""

_DEGREE_M: Final = 111_195
_APPROXIMATE: Final = Fraction(1, 10)
_RANKS: Final[Mapping[str, int]] = {
    "Identifier": 10,
    "id": 10,
    _CONTACT: 12,
    "reference": 20,
    "uri": 25,
    "string": 30,
    "token": 40,
    "composite": 40,
    "quantity": 50,
    "number": 50,
    "special": 50,
    "date": 60,
    "code": 70,
    "boolean": 75,
    "walk": 90,
}
_NUMERIC: Final = frozenset({ParameterType.NUMBER, ParameterType.QUANTITY})
_TEXTUAL: Final = frozenset({ParameterType.STRING, ParameterType.TOKEN, ParameterType.URI, ParameterType.REFERENCE})


@dataclass(frozen=True, slots=True)
class Planner:
    """What a plan depends on beside the search.

    Attributes:
        number: number of a parameter, by resource type and code.
        registry: parameters of each type.
        now_us: microseconds since 1970, for ``ap`` on dates.
        within: what must hold of each resource that takes part: of matches, and of those at the other end of chains,
            ``_has`` and ``_list``, or an answer would tell of what the caller may not see.
    """

    number: Callable[[str, str], int]
    registry: Registry
    now_us: int
    within: tuple[Condition, ...] = ()

    def plan(
        self, query: Query, after: tuple[float | str, ...] = (), limit: int = 20, snapshot: int = NEWEST
    ) -> Search:
        """Plan a search.

        Args:
            query: as it is asked.
            after: where the page before ended, as `finding_sql.prepared_page` gave it.
            limit: size of the page.
            snapshot: number of the last version that counts.

        Raises:
            InputError: ``search.unsupported`` for what the index cannot answer.
        """
        owners = self._owners(query)
        return Search(
            () if len(query.types) == len(type_names("resource")) else query.types,
            tuple(_owned(one, owners) for one in self.conditions(query.conditions, query.types)),
            tuple(self._order(one, query.types) for one in query.sort),
            after,
            limit,
            snapshot,
            query.generation,
        )

    def _owners(self, query: Query) -> tuple[float, ...]:
        """Tell whose rows fulfil a search that lies within one patient; empty where it does not, or may not."""
        if query.types == (PATIENT,):
            return ()
        for one in (*query.conditions, *self.within):
            if isinstance(one, InCompartment) and one.code == PATIENT:
                return _owners_of((f"{PATIENT}/{one.id}",))
            if isinstance(one, Criterion) and one.kind is ParameterType.REFERENCE:
                keys = tuple(key for term in one.terms if isinstance(term, ReferenceTerm) for key in term.keys)
                if (
                    keys
                    and len(keys) <= _FEW
                    and all(key.startswith(f"{PATIENT}/") for key in keys)
                    and one.modifier in (Modifier.NONE, Modifier.TYPE)
                ):
                    return _owners_of(keys)
        return ()

    def conditions(self, asked: Sequence[Condition], types: tuple[str, ...]) -> tuple[finding.Condition, ...]:
        """Plan conditions on resources of some types, and with them what must hold of each resource."""
        return (*(self._condition(one, types) for one in asked), *self._limits(types))

    def _limits(self, types: tuple[str, ...]) -> tuple[finding.Condition, ...]:
        """Plan what must hold of each resource of some types that takes part; where that has no meaning, none may."""
        return tuple(self._limit(one, types) for one in self.within if not _holds_of_all(one, types))

    def _limit(self, condition: Condition, types: tuple[str, ...]) -> finding.Condition:
        """Plan one of these conditions."""
        if isinstance(condition, Criterion | Chain) and any(condition.code not in self.registry(one) for one in types):
            able = tuple(one for one in types if condition.code in self.registry(one))
            return AllOf((OfType(able), self._condition(condition, able))) if able else AnyOf(())
        return self._condition(condition, types)

    def _linked(self, condition: Condition, type_name: str) -> finding.Condition:
        """Plan what a resource at the other end of a reference must fulfil."""
        found = self.conditions((condition,), (type_name,))
        return found[0] if len(found) == 1 else AllOf(found)

    def named_by(self, type_name: str) -> tuple[int, int]:
        """Return the numbers of the parameters that are a type's own URL and version; 0 for what it has not."""
        known = self.registry(type_name)
        url, version = (self.number(type_name, code) * VARIANTS if code in known else 0 for code in ("url", "version"))
        return url, version

    def _order(self, key: SortKey, types: tuple[str, ...]) -> Order:
        """Plan a rule of the order."""
        if key.code in IN_COLUMNS:
            return Order((), by_key=key.code == "_id", descending=key.descending)
        numbers = tuple(self.number(one, key.code) * VARIANTS for one in types)
        kind = self.registry(types[0])[key.code].type
        points = tuple(number + Variant.LONG for number in numbers) if kind in _NUMERIC else ()
        return Order(numbers, kind in _TEXTUAL, key.descending, points)

    def _condition(  # noqa: C901, PLR0911  # one for each kind
        self, condition: Condition, types: tuple[str, ...]
    ) -> finding.Condition:
        """Plan a condition on resources of some types."""
        match condition:
            case Criterion():
                return self._criterion(condition, types)
            case Chain():
                return self._chain(condition, types)
            case Has():
                return self._has(condition, types)
            case Listed(lists):
                return self._listed(lists, types)
            case InCompartment(code, name):
                return self._compartment(code, (name,), types)
            case InCompartments(code, ids):
                return self._any_compartment(code, types) if ids is None else self._compartment(code, ids, types)
            case Containing(held):
                # As common as a code: what else is asked of the containers is rarer.
                return Row((Match(self.number(*CONTAINED) * VARIANTS, keys=held),), _RANKS["code"])
            case ByType(by_type):
                allowed = dict(by_type)
                return AnyOf(tuple(self._of_type(one, allowed[one]) for one in types if one in allowed))
            case Either(conditions):
                return AnyOf(tuple(self._limit(one, types) for one in conditions))
            case Sighted():
                return self._sighted(condition, types)
        assert_never(condition)

    def _sighted(self, one: Sighted, types: tuple[str, ...]) -> finding.Condition:
        """Plan that nothing is kept back, of AuditEvents by what they tell of (`docs/spec/consent.md` C14)."""
        seen = finding.Sighted(one.hidden, one.upto, one.owners, one.but, one.types)
        if not one.names or _EVENT not in types:
            return seen
        named = tuple(self.number(_EVENT, code) * VARIANTS for code in ("agent", "entity"))
        telling = (
            Naming(named, one.names, one.upto),
            # What is kept back of other organisations' records is not known by their addresses.
            Row((Match(named[0], others=named[1:], contains=("://",)),)),
            # Of a request that was refused, and of a deletion, which is answered as if it were done, the event tells
            # whether there is what was asked for.
            Row((Match(self.number(_EVENT, "outcome") * VARIANTS, keys=(token_key(_REFUSED),)),)),
            Row((Match(self.number(_EVENT, "action") * VARIANTS, keys=(token_key(_DELETION),)),)),
        )
        return AllOf((seen, Not(AllOf((OfType((_EVENT,)), AnyOf(telling))))))

    def _chain(self, one: Chain, types: tuple[str, ...]) -> finding.Condition:
        """Plan a chain; what lies within a record is judged where that is opened (`rest/chained.py`)."""
        able = [name for name in types if self._refers(name, one.code)]
        by_url = any(targets_of(self.registry(name)[one.code], name).urls for name in able)
        numbers = tuple(self.number(name, one.code) * VARIANTS for name in able)
        links = [
            Linked(numbers, name, self._linked(inner, name), *(self.named_by(name) if by_url else ()))
            for name, inner in (one.targets if able else ())
        ]
        return links[0] if len(links) == 1 else AnyOf(tuple(links))

    def _has(self, one: Has, types: tuple[str, ...]) -> finding.Condition:
        """Plan that something refers to a resource."""
        if not self._refers(one.type, one.code):
            return AnyOf(())
        number, wanted = self.number(one.type, one.code) * VARIANTS, self._linked(one.condition, one.type)
        if not targets_of(self.registry(one.type)[one.code], one.type).urls:
            return Referred(number, types, wanted, is_owner=types == (PATIENT,))
        found = [Referred(number, (name,), wanted, *self.named_by(name)) for name in types]
        return found[0] if len(found) == 1 else AnyOf(tuple(found))

    def _refers(self, type_name: str, code: str) -> bool:
        """Tell whether a reference parameter of a type has references, and no resources themselves."""
        return not is_nested(self.registry(type_name)[code], type_name)

    def _listed(self, lists: tuple[str, ...], types: tuple[str, ...]) -> finding.Condition:
        """Plan membership in Lists: those that are named, and those that are known by what they are for."""
        ids = tuple(one for one in lists if not one.startswith("$"))
        found = [self._current(one, types) for one in lists if one.startswith("$")]
        if ids:
            of_list = (Ids(ids), *self._limits(("List",)))
            found.append(Referred(self._membership, types, AllOf(of_list)))
        return found[0] if len(found) == 1 else AnyOf(tuple(found))

    @property
    def _membership(self) -> int:
        """The rows of what Lists have and do not mark as deleted."""
        return self.number(*LIST_ITEM) * VARIANTS + Variant.LISTED

    def _current(self, name: str, types: tuple[str, ...]) -> finding.Condition:
        """Plan a functional list: what a List of that kind names, or, where a patient has none, by status."""
        kept = AllOf(self.conditions(current.KEPT[name], ("List",)))
        found: list[finding.Condition] = []
        for one, rules in current.BY_STATUS[name].items():
            if one not in types:
                continue
            limits = [self._condition(rule, (one,)) for rule in current.LIMITS.get(name, {}).get(one, ())]
            named = Referred(self._membership, (one,), kept)
            of_patient = Referred(self.number("List", "subject") * VARIANTS, (PATIENT,), kept)
            has_list = Linked((self.number(one, "patient") * VARIANTS,), PATIENT, of_patient)
            status = [self._condition(rule, (one,)) for rule in rules]
            found += [AllOf((OfType((one,)), *limits, named)), AllOf((OfType((one,)), *status, Not(has_list)))]
        return AnyOf(tuple(found))

    def _of_type(self, type_name: str, conditions: tuple[Condition, ...]) -> finding.Condition:
        """Plan conditions that hold for resources of one type."""
        return AllOf((OfType((type_name,)), *(self._limit(one, (type_name,)) for one in conditions)))

    def _members(self, code: str, types: tuple[str, ...]) -> list[int]:
        """List the parameters that name who is in a compartment, as its definition says."""
        members = compartment(code)
        return [self.number(name, one) * VARIANTS for name in types for one in members.get(name, ()) if one != _ITSELF]

    def _compartment(self, code: str, ids: tuple[str, ...], types: tuple[str, ...]) -> finding.Condition:
        """Plan membership in a compartment: by the rows of the parameters that its definition names."""
        own = (OfType((code,)), Ids(ids))
        numbers = self._members(code, types)
        keys = tuple(f"{code}/{one}" for one in ids)
        row = Row(merged(Match(number, keys=keys) for number in numbers), _RANKS["reference"])
        # Whose compartment it is belongs to it, whether its own type is named or not (FHIR R4 §2.45).
        if code not in types:
            return row if numbers else AnyOf(())
        return AnyOf((AllOf(own), row)) if numbers else AllOf(own)

    def _any_compartment(self, code: str, types: tuple[str, ...]) -> finding.Condition:
        """Plan membership in anybody's compartment: a question to each, since most are in one."""
        numbers = self._members(code, types)
        row = Row(tuple(Match(number, prefix=f"{code}/") for number in numbers), _RANKS["walk"])
        # Twice not: what is asked so is never looked up as a set.
        found: list[finding.Condition] = [Not(Not(row))] if numbers else []
        return AnyOf((*found, OfType((code,)))) if code in types else AnyOf(tuple(found))

    def _criterion(self, one: Criterion, types: tuple[str, ...]) -> finding.Condition:
        """Plan a parameter with its terms."""
        if one.code in IN_COLUMNS and one.modifier is Modifier.MISSING:
            # Nothing lacks them.
            return AnyOf(()) if one.missing else AllOf(())
        if one.code == "_id":
            found: finding.Condition = Ids(tuple(term.code or "" for term in one.terms if isinstance(term, TokenTerm)))
            return Not(found) if one.modifier is Modifier.NOT else found
        if one.code == "_lastUpdated":
            return self._updated(one.terms)
        if one.modifier is Modifier.BELOW and one.kind is ParameterType.REFERENCE:
            self._check_versioned(one.code, types)
        numbers = [self.number(name, one.code) * VARIANTS for name in types]
        if one.modifier is Modifier.MISSING:
            present = Row(tuple(Match(number, VARIANTS) for number in numbers), _RANKS["walk"])
            return Not(present) if one.missing else present
        if one.kind is ParameterType.COMPOSITE:
            return AnyOf(tuple(self._composite(one.code, term, name) for name in types for term in one.terms))
        terms = tuple(map(_of_contact, one.terms)) if self._is_contact(one, types) else one.terms
        alike = [match for term in terms for match in self._matches(term, one, numbers[0])]
        rows = Row(tuple(_of_all(match, numbers) for match in alike))
        rank = max(_rank(one, self.registry(name)[one.code], name) for name in types)
        rows = Row(merged(rows.alternatives), rank)
        return Not(rows) if one.modifier in (Modifier.NOT, Modifier.NOT_IN) else rows

    def _check_versioned(self, code: str, types: tuple[str, ...]) -> None:
        """Refuse to look below what is no canonical (§3.1.1.4.12).

        Below the version of a canonical lies what it begins; below a place lie all its parts, whose references nobody
        follows here, and what refers to the place alone would be too little.
        """
        if not all(targets_of(self.registry(name)[code], name).urls for name in types):
            raise InputError("search.unsupported", parameter=code)

    def _is_contact(self, one: Criterion, types: tuple[str, ...]) -> bool:
        """Tell whether a parameter is of telephone numbers and other contacts."""
        return one.kind is ParameterType.TOKEN and all(
            _token_type(self.registry(name)[one.code], name) == _CONTACT for name in types
        )

    def _updated(self, terms: Iterable[Term]) -> Updated:
        """Plan ``_lastUpdated``: an instant is a point."""
        found: list[tuple[tuple[finding.Comparison, int], ...]] = []
        for term in terms:
            if isinstance(term, DateTerm):
                found += _instant(term.prefix, term.span, self.now_us)
        return Updated(tuple(found))

    def _composite(self, code: str, term: Term, type_name: str) -> Together:
        """Plan a composite: the rows of its parts, in one place."""
        if not isinstance(term, CompositeTerm):
            raise InputError("search.value", parameter=code)
        known = self.registry(type_name)
        parts = parts_of(known[code], type_name, known)
        rows = []
        for part, value in zip(parts, term.parts, strict=True):
            criterion = Criterion(part.code, known[part.code].type, Modifier.NONE, (value,))
            matches = self._matches(value, criterion, self.number(type_name, part.code) * VARIANTS)
            rows.append(Row(tuple(matches), _rank(criterion, known[part.code], type_name)))
        return Together(tuple(rows), tuple(part.in_place for part in parts))

    def _matches(  # noqa: C901, PLR0911  # one for each kind of term
        self, term: Term, one: Criterion, number: int
    ) -> list[Match]:
        """Plan one term of a parameter."""
        match term:
            case TokenTerm():
                return [_token(term, one, number)]
            case OfTypeTerm(system, code, value):
                return [Match(number + Variant.OF_TYPE, keys=(token_key(value),), detail=f"{system}|{code}")]
            case SetTerm(codes):
                return [
                    Match(number, keys=tuple(sorted(set(map(token_key, listed)))), detail=system)
                    for system, listed in codes
                ]
            case StringTerm(text):
                return _string(text, one, number)
            case UriTerm():
                return _uri(term, one, number)
            case ReferenceTerm(keys, version):
                if one.modifier in (Modifier.ABOVE, Modifier.BELOW) and (version or one.modifier is Modifier.ABOVE):
                    raise InputError("search.unsupported", parameter=one.code)
                return [Match(number, keys=keys, detail=version or None)]
            case DateTerm(prefix, span):
                return _date(number, prefix, span, self.now_us)
            case NumberTerm():
                return _numeric(term, number)
            case QuantityTerm():
                return _quantity(term, number)
            case NearTerm():
                return [Match(number, bounds=_box(term))]
            case CompositeTerm():
                raise InputError("search.unsupported", parameter=one.code)
        assert_never(term)


def _holds_of_all(condition: Condition, types: tuple[str, ...]) -> bool:
    """Tell whether every resource of some types fulfils a condition, which need not be asked then."""
    if not types or not isinstance(condition, ByType):
        return False
    allowed = dict(condition.types)
    return all(one in allowed and not allowed[one] for one in types)


def _owners_of(keys: Iterable[str]) -> tuple[float, ...]:
    """List whose rows may be of resources that refer to patients."""
    return tuple(dict.fromkeys((*(float(owner_of(key)) for key in keys), float(SEVERAL))))


def _owned(condition: finding.Condition, owners: tuple[float, ...]) -> finding.Condition:
    """Look for rows with a key among those of the patients alone, within whom a search lies: then they are few."""
    if not owners or not isinstance(condition, Row):
        return condition
    keys = (str(key) for one in condition.alternatives for key in one.keys)
    if not condition.is_keyed or all(key.startswith(f"{PATIENT}/") for key in keys):
        return condition
    return Row(tuple(one._replace(owners=owners) for one in condition.alternatives), condition.rank // _FEW)


def _of_all(match: Match, numbers: Sequence[int]) -> Match:
    """Mean the same row of any of some types; the match is that of the first."""
    if len(numbers) == 1:
        return match
    return match._replace(others=tuple(match.number + number - numbers[0] for number in numbers[1:]))


def _rank(one: Criterion, definition: SearchParameter, type_name: str) -> int:
    """Guess how rare the rows of a criterion are: names of things, before kinds of things, before times."""
    if one.modifier in (Modifier.CONTAINS, Modifier.MISSING, Modifier.TEXT):
        return _RANKS["walk"]
    if one.kind is ParameterType.TOKEN:
        if one.modifier is Modifier.NONE and any(isinstance(term, TokenTerm) and not term.code for term in one.terms):
            return _RANKS["walk"]
        return _RANKS.get(_token_type(definition, type_name), _RANKS["token"])
    return _RANKS[one.kind]


@cache
def _token_type(definition: SearchParameter, type_name: str) -> str:
    """Tell the type of a token's elements."""
    found = routes(definition.expression, type_name) if definition.expression else ()
    return found[0].type if found else ""


def _token(term: TokenTerm, one: Criterion, number: int) -> Match:
    """Plan a code (§3.1.1.4.10)."""
    if one.modifier is Modifier.IDENTIFIER:
        number += Variant.IDENTIFIER
    keys: tuple[str, ...] = () if term.code is None else (token_key(term.code),)
    if one.modifier is Modifier.BELOW and one.code == "contenttype" and keys:
        # §3.1.1.4.10.1: the base of a media type, whatever parameters follow.
        return Match(number, prefix=keys[0])
    if one.modifier is Modifier.BELOW and (stem := stem_below(term.system or "", term.code or "")) is not None:
        return Match(number, prefix=token_key(stem), detail=term.system)
    if one.modifier in (Modifier.ABOVE, Modifier.BELOW):
        keys = _subsumed(term, one)
    return Match(number, keys=keys, detail=term.system)


def _of_contact(term: Term) -> Term:
    """Mean a contact of any kind by one without a system: R4 names no system that it could have (§3.1.1.4.10)."""
    return replace(term, system=None) if isinstance(term, TokenTerm) and term.system == "" else term


def _subsumed(term: TokenTerm, one: Criterion) -> tuple[str, ...]:
    """List the keys of a code and of all above or below it; what nobody says here is refused, not taken for nothing."""
    if not term.system or not term.code:
        raise InputError("search.value", parameter=one.code, expected="system|code")
    codes = related(term.system, term.code, one.modifier)
    if codes is None:
        raise InputError("search.unsupported", parameter=one.code, expected="a code whose place is known here")
    return tuple(sorted(set(map(token_key, codes))))


def _string(text: str, one: Criterion, number: int) -> list[Match]:
    """Plan text (§3.1.1.4.8); a blank in the pinyin of a name is no difference."""
    if one.kind is ParameterType.TOKEN:
        return [Match(number + Variant.TEXT, prefix=searched(text))]
    if one.modifier is Modifier.EXACT:
        return [Match(number, keys=(string_key(text),))]
    folded = searched(text)
    if one.modifier in (Modifier.CONTAINS, Modifier.TEXT):
        return [Match(number, contains=(folded,))]
    joined = folded.replace(" ", "")
    return [
        Match(number, prefix=one_key) for one_key in dict.fromkeys((folded, joined) if joined.isalpha() else (folded,))
    ]


def _uri(term: UriTerm, one: Criterion, number: int) -> list[Match]:
    """Plan a URI (§3.1.1.4.9)."""
    match one.modifier:
        case Modifier.BELOW:
            return [Match(number, prefix=term.url)]
        case Modifier.ABOVE:
            steps = term.url.split("/")
            above = ["/".join(steps[:length]) for length in range(3, len(steps) + 1)]
            return [Match(number, keys=tuple(dict.fromkeys((*above, *(f"{one_url}/" for one_url in above)))))]
        case _:
            return [Match(number, keys=(term.url,), detail=term.version or None)]


def _date(number: int, prefix: Prefix, span: Span, now_us: int) -> list[Match]:
    """Plan a date (§3.1.1.4.7): short ranges with a bound on where they begin, long ones by themselves."""
    found = []
    for bounds in _time(prefix, span, now_us):
        uppers = [bound for bound in bounds if bound.column == "high" and bound.operator in (">", ">=")]
        ends = [bound.value for bound in uppers if not isinstance(bound.value, Slot)]
        starts = [Bound("low", ">=", max(ends) - LONG_US)] if ends else []
        found.append(Match(number, keys=("",), bounds=(*bounds, *starts)))
        found.append(Match(number, keys=(LONG,), bounds=bounds))
    return found


def _time(prefix: Prefix, span: Span, now_us: int) -> list[tuple[Bound, ...]]:  # noqa: PLR0911  # one for each prefix
    """Compare ranges of time, each list of bounds an alternative."""
    low, high = span
    match prefix:
        case Prefix.EQ:
            return [(Bound("low", ">=", low), Bound("high", "<=", high))]
        case Prefix.NE:
            return [(Bound("low", "<", low),), (Bound("low", ">=", low), Bound("high", ">", high))]
        case Prefix.GT:
            return [(Bound("high", ">", high),)]
        case Prefix.LT:
            return [(Bound("low", "<", low),)]
        case Prefix.GE:
            return [(Bound("high", ">", low),)]
        case Prefix.LE:
            return [(Bound("low", "<", high),)]
        case Prefix.SA:
            return [(Bound("low", ">=", high),)]
        case Prefix.EB:
            return [(Bound("high", "<=", low),)]
        case Prefix.AP:
            margin = _margin(span, now_us)
            return [(Bound("low", "<", high + margin), Bound("high", ">", low - margin))]
    assert_never(prefix)


def _instant(  # noqa: PLR0911  # one for each prefix
    prefix: Prefix, span: Span, now_us: int
) -> list[tuple[tuple[finding.Comparison, int], ...]]:
    """Compare an instant (`_lastUpdated`): a point in time."""
    low, high = span
    match prefix:
        case Prefix.EQ:
            return [((">=", low), ("<", high))]
        case Prefix.NE:
            return [(("<", low),), ((">=", high),)]
        case Prefix.GT | Prefix.SA:
            return [((">=", high),)]
        case Prefix.LT | Prefix.EB:
            return [(("<", low),)]
        case Prefix.GE:
            return [((">=", low),)]
        case Prefix.LE:
            return [(("<", high),)]
        case Prefix.AP:
            margin = _margin(span, now_us)
            return [((">=", low - margin), ("<", high + margin))]
    assert_never(prefix)


def _margin(span: Span, now_us: int) -> int:
    """Take a tenth of the distance between now and a date (§3.1.1.4.5)."""
    return max(abs(now_us - span.low), abs(now_us - span.high)) // 10


def _numeric(term: NumberTerm, number: int, keys: tuple[str, ...] = (), detail: str | None = None) -> list[Match]:
    """Compare numbers (§3.1.1.4.6)."""
    ends = _Ends(*map(Fraction, (term.number, term.low, term.high)))
    return [
        *(Match(number, keys=keys, detail=detail, bounds=one) for one in ends.of_ranges(term.prefix)),
        *(Match(number + Variant.LONG, keys=keys, detail=detail, bounds=one) for one in ends.of_points(term.prefix)),
    ]


class _Ends(NamedTuple):
    """What numbers are compared with: a value, and the range that its digits imply."""

    value: Fraction
    low: Fraction
    high: Fraction

    def of_ranges(self, prefix: Prefix) -> list[tuple[Bound, ...]]:  # noqa: PLR0911  # one for each prefix
        """Compare ranges, and numbers that a double says; each list of bounds is an alternative."""
        value, low, high = map(split, self)
        match prefix:
            case Prefix.EQ:
                return [(exact.bound("low", ">=", low), exact.bound("high", "<", high))]
            case Prefix.NE:
                return [
                    (exact.bound("low", "<", low),),
                    (exact.bound("low", ">=", low), exact.bound("high", ">=", high)),
                ]
            case Prefix.GT:
                return [(exact.bound("high", ">", value),)]
            case Prefix.LT:
                return [(exact.bound("low", "<", value),)]
            case Prefix.GE:
                return [(exact.bound("high", ">=", value),)]
            case Prefix.LE:
                return [(exact.bound("low", "<=", value),)]
            case Prefix.SA:
                return [(exact.bound("low", ">", value),)]
            case Prefix.EB:
                return [(exact.bound("high", "<", value),)]
            case Prefix.AP:
                least, most = self._about()
                return [(exact.bound("low", "<=", most), exact.bound("high", ">=", least))]
        assert_never(prefix)

    def of_points(self, prefix: Prefix) -> list[tuple[Bound, ...]]:  # noqa: PLR0911  # one for each prefix
        """Compare numbers that no double says."""
        value, low, high = map(split, self)
        match prefix:
            case Prefix.EQ:
                return exact.within(low, "<", high)
            case Prefix.NE:
                return [*exact.bounds("<", low), *exact.bounds(">=", high)]
            case Prefix.GT | Prefix.SA:
                return exact.bounds(">", value)
            case Prefix.LT | Prefix.EB:
                return exact.bounds("<", value)
            case Prefix.GE:
                return exact.bounds(">=", value)
            case Prefix.LE:
                return exact.bounds("<=", value)
            case Prefix.AP:
                least, most = self._about()
                return exact.within(least, "<=", most)
        assert_never(prefix)

    def _about(self) -> tuple[Split, Split]:
        """Take a tenth to both sides (§3.1.1.4.5), or what the digits imply if that is more."""
        margin = abs(self.value) * _APPROXIMATE
        return split(min(self.value - margin, self.low)), split(max(self.value + margin, self.high))


def _quantity(term: QuantityTerm, number: int) -> list[Match]:
    """Plan a quantity (§3.1.1.4.11): in base units where the unit is one of UCUM's."""
    one = term.number
    known = units.canonical(term.code) if term.system == units.SYSTEM else None
    if known is None:
        return _numeric(one, number, (term.code,) if term.code else (), term.system or None)
    ends, keys = _Ends(*map(known.exact, (one.number, one.low, one.high))), (known.unit,)
    points = ends.of_points(one.prefix)
    return [
        *(Match(number + Variant.CANONICAL, keys=keys, bounds=each) for each in ends.of_ranges(one.prefix)),
        *(Match(number + Variant.LONG_CANONICAL, keys=keys, bounds=each) for each in points),
    ]


def _box(term: NearTerm) -> tuple[Bound, ...]:
    """Draw the box around a circle on earth (Location, ``near``)."""
    metres = NEAR_M if term.distance_m is None else term.distance_m
    degrees = float(metres) / _DEGREE_M
    latitude, longitude = float(term.latitude), float(term.longitude)
    width = degrees / max(math.cos(math.radians(latitude)), 0.01)
    return (
        Bound("low", ">=", latitude - degrees),
        Bound("low", "<=", latitude + degrees),
        Bound("high", ">=", longitude - width),
        Bound("high", "<=", longitude + width),
    )
