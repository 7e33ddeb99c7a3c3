"""Searches answered by looking at every row of every resource, one by one: what SQL must come to as well.

It compares rows as `docs/spec/search-index.md` says, in Python, without an index, sets or plans.
"""

from __future__ import annotations

from fractions import Fraction
from math import isfinite

from fhir_bridge.definitions.parameters import ParameterType, compartment, parameters_of
from fhir_bridge.search import units
from fhir_bridge.search.indexer import VARIANTS, parts_of
from fhir_bridge.search.terms import DateTerm, Modifier, NumberTerm, QuantityTerm, ReferenceTerm, StringTerm, TokenTerm
from fhir_bridge.search.text import fold
from fhir_bridge.search.tree import ByType, Chain, Criterion, Either, Has, InCompartment, Listed

CONTACTS = ("email", "phone", "telecom")
"""Parameters of ContactPoints, of which R4 names no system."""


class Naive:
    """All resources with their rows: (type, id) → rows by (code, variant)."""

    def __init__(self, index) -> None:
        """Use the numbers of an index."""
        self.index = index
        self.rows = {}

    def put(self, resource):
        """Take a resource in, in place of an earlier version."""
        name = resource["resourceType"]
        numbers = {self.index.number(name, code): code for code in parameters_of(name)}
        found = {}
        for number, *row in self.index.rows(name, resource).rows:
            found.setdefault((numbers[number // VARIANTS], number % VARIANTS), []).append(row)
        self.rows.pop((name, resource["id"]), None)
        self.rows[name, resource["id"]] = found

    def search(self, query, within=()):
        """List what fulfils all conditions."""
        return [
            f"{name}/{record_id}"
            for name, record_id in self.rows
            if name in query.types
            and all(self.holds(one, name, record_id, within) for one in query.conditions)
            and self.may(name, record_id, within)
        ]

    def may(self, name, record_id, within):
        """Tell whether a resource may take part."""
        return all(self.holds(one, name, record_id, ()) for one in within)

    def holds(self, condition, name, record_id, within):  # noqa: PLR0911  # one for each kind
        """Tell whether a resource fulfils a condition."""
        rows = self.rows.get((name, record_id))
        if rows is None:
            return False
        match condition:
            case Criterion():
                return condition.code in parameters_of(name) and self.criterion(condition, name, record_id, rows)
            case Chain(code, targets):
                links = {row[1] for row in rows.get((code, 0), ())}
                return any(
                    self.holds(inner, target, other, within) and self.may(target, other, within)
                    for target, inner in targets
                    for kind, other in self.rows
                    if kind == target and f"{target}/{other}" in links
                )
            case Has(source, code, inner):
                return any(
                    any(row[1] == f"{name}/{record_id}" for row in found.get((code, 0), ()))
                    and self.holds(inner, source, other, within)
                    and self.may(source, other, within)
                    for (kind, other), found in self.rows.items()
                    if kind == source
                )
            case Listed(lists):
                return any(
                    kind == "List"
                    and other in lists
                    and self.may(kind, other, within)
                    and any(row[1] == f"{name}/{record_id}" for row in found.get(("item", 0), ()))
                    for (kind, other), found in self.rows.items()
                )
            case InCompartment(code, other):
                members = compartment(code).get(name, ())
                key = f"{code}/{other}"
                return key == f"{name}/{record_id}" or any(
                    row[1] == key for member in members for row in rows.get((member, 0), ())
                )
            case ByType(types):
                return name in dict(types) and all(self.holds(one, name, record_id, ()) for one in dict(types)[name])
            case Either(conditions):
                return any(self.holds(one, name, record_id, within) for one in conditions)
        raise AssertionError(condition)

    def criterion(self, one, name, record_id, rows):
        """Tell whether a resource has what a parameter asks for."""
        if one.code == "_id":
            return (record_id in {term.code for term in one.terms}) != (one.modifier is Modifier.NOT)
        if one.modifier is Modifier.MISSING:
            return one.missing != any(rows.get((one.code, variant)) for variant in range(VARIANTS))
        if one.kind is ParameterType.COMPOSITE:
            return any(self.composite(term, one.code, name, rows) for term in one.terms)
        found = any(self.term(term, one, row) for term in one.terms for row in self.candidates(term, one, rows))
        return found != (one.modifier in (Modifier.NOT, Modifier.NOT_IN))

    def composite(self, term, code, name, rows):
        """Tell whether rows of the parts share a place."""
        known = parameters_of(name)
        places = []
        for part, value in zip(parts_of(known[code], name, known), term.parts, strict=True):
            asked = Criterion(part.code, known[part.code].type, Modifier.NONE, (value,))
            found = {row[0] for row in self.candidates(value, asked, rows) if self.term(value, asked, row)}
            if not found:
                return False
            if part.in_place:
                places.append(found)
        return not places or bool(set.intersection(*places))

    def candidates(self, term, one, rows):
        """List the rows that a term is compared with."""
        variant = 0
        if isinstance(term, QuantityTerm) and term.system == units.SYSTEM and units.canonical(term.code) is not None:
            return [*rows.get((one.code, 4), ()), *map(whole, rows.get((one.code, 6), ()))]
        if isinstance(term, (NumberTerm, QuantityTerm)):
            return [*rows.get((one.code, 0), ()), *map(whole, rows.get((one.code, 5), ()))]
        if one.kind is ParameterType.TOKEN and one.modifier is Modifier.TEXT:
            variant = 1
        if one.modifier is Modifier.IDENTIFIER:
            variant = 3
        return rows.get((one.code, variant), ())

    def term(self, term, one, row):  # noqa: PLR0911  # one for each kind
        """Compare a row with a term."""
        _, key, detail, low, high = row
        match term:
            case TokenTerm(system, code):
                is_of = system is None or detail == system or (system == "" and one.code in CONTACTS)
                return (code is None or key == code.casefold()) and is_of
            case StringTerm(text):
                plain = key.partition("\x01")[2] or key
                if one.modifier is Modifier.EXACT:
                    return plain == text
                folded = fold(text)
                if one.modifier is Modifier.CONTAINS:
                    return folded in key
                return key.startswith(folded)
            case ReferenceTerm(keys, version):
                return key in keys and (not version or detail == version)
            case DateTerm(prefix, span):
                return compare(prefix, low, high, span.low, span.high)
            case NumberTerm():
                return numeric(term, low, high)
            case QuantityTerm(number, system, code):
                known = units.canonical(code) if system == units.SYSTEM else None
                if known is not None:
                    value, least, most = (known.exact(one) for one in (number.number, number.low, number.high))
                    return key == known.unit and between(number.prefix, low, high, value, least, most)
                return (not code or key == code) and (not system or detail == system) and numeric(number, low, high)
        raise AssertionError(term)


def compare(prefix, low, high, start, end):
    """Compare ranges of time."""
    return {
        "eq": start <= low and high <= end,
        "ne": not (start <= low and high <= end),
        "gt": high > end,
        "lt": low < start,
        "ge": high > start,
        "le": low < end,
        "sa": low >= end,
        "eb": high <= start,
    }[prefix]


def numeric(term, low, high):
    """Compare numbers."""
    return between(term.prefix, low, high, *map(Fraction, (term.number, term.low, term.high)))


def whole(row):
    """Put a number together that stands in two columns."""
    place, key, detail, near, rest = row
    number = Fraction(repr(near)) + Fraction(rest)
    return place, key, detail, number, number


def between(prefix, low, high, value, least, most):
    """Compare with a value and the range that its digits imply; doubles are read as they are written."""
    low, high = (Fraction(repr(end)) if isinstance(end, float) and isfinite(end) else end for end in (low, high))
    return {
        "eq": least <= low and high < most,
        "ne": not (least <= low and high < most),
        "gt": high > value,
        "lt": low < value,
        "ge": high >= value,
        "le": low <= value,
        "sa": low > value,
        "eb": high < value,
    }[prefix]
