"""What a search returns beside its matches: what they refer to, and what refers to them.

Keeps true: what is included fulfils what must hold of each resource that takes part, and is of the same snapshot;
nothing stands twice; an answer has an end, however much refers to whatever. Trusts the index.
Source: FHIR R4 §3.1.1.5.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from fhir_bridge.definitions.elements import is_resource_type, type_names
from fhir_bridge.search.by_url import named_by_url, of_url
from fhir_bridge.search.conditions import is_reference
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.indexer import VARIANTS
from fhir_bridge.search.paths import is_nested, targets_of
from fhir_bridge.search.plan import Planner
from fhir_bridge.search.tree import Include
from medchain.store.finding import AnyOf, Condition, Ids, Match, Row, Search, merged
from medchain.store.indexing import FoundRow
from medchain.store.records import RecordStore

MAX_INCLUDED: Final = 2_000
"""Most resources that come with one page."""

MAX_ROUNDS: Final = 10
"""How often what was included is looked at again (``:iterate``)."""

_RANK: Final = 20
_AT_ONCE: Final = 500


class Includer:
    """Finds what comes with one page."""

    def __init__(
        self,
        store: RecordStore,
        index: SearchIndex,
        planner: Planner,
        snapshot: int,
        gate: Callable[[Sequence[int]], Sequence[bool]] | None,
    ) -> None:
        """Prepare.

        Args:
            store: the records file.
            index: the node's index.
            planner: plans what must hold of each resource.
            snapshot: number of the last version that counts.
            gate: looks at each record that would be shown.
        """
        self._store = store
        self._index = index
        self._planner = planner
        self._snapshot = snapshot
        self._gate = gate

    def include(self, asked: Sequence[Include], matches: Sequence[FoundRow]) -> tuple[list[int], bool]:
        """Find what comes with matches.

        Args:
            asked: the rules.
            matches: of the page.

        Returns:
            Numbers of record versions, and whether there would be more.
        """
        seen = {row.number for row in matches}
        found: list[int] = []
        rules, frontier = list(asked), list(matches)
        for _ in range(MAX_ROUNDS):
            fresh: dict[int, FoundRow] = {}
            for rule in rules:
                for row in self._reverse(rule, frontier) if rule.reverse else self._forward(rule, frontier):
                    if row.number not in seen:
                        fresh[row.number] = row
            shown = self._shown(list(fresh.values()))
            seen |= set(fresh)
            found += [row.number for row in shown]
            if len(found) > MAX_INCLUDED:
                return found[:MAX_INCLUDED], True
            rules = [rule for rule in asked if rule.iterate]
            if not shown or not rules:
                return found, False
            frontier = shown
        return found, True

    def _shown(self, rows: list[FoundRow]) -> list[FoundRow]:
        """Ask the gate."""
        if self._gate is None or not rows:
            return rows
        allowed = self._gate([row.number for row in rows])
        return [row for row, shown in zip(rows, allowed, strict=True) if shown]

    def _forward(self, rule: Include, rows: Sequence[FoundRow]) -> Iterable[FoundRow]:
        """Find what resources refer to."""
        by_type: dict[str, list[int]] = {}
        for row in rows:
            if rule.source in ("", row.type):
                by_type.setdefault(row.type, []).append(row.number)
        for type_name, numbers in by_type.items():
            codes = self._references(type_name, rule.code)
            parameters = [self._index.number(type_name, code) * VARIANTS for code in codes]
            if parameters:
                yield from self._targets(self._store.linked(numbers, parameters), type_name, codes, rule)

    def _targets(
        self, named: Sequence[tuple[str, str]], type_name: str, codes: Sequence[str], rule: Include
    ) -> Iterable[FoundRow]:
        """Find resources by what rows of references say: keys, and the versions that they name."""
        wanted = rule.target
        ids: dict[str, list[str]] = {}
        urls = []
        for key, version in named:
            target, slash, record_id = key.partition("/")
            if slash and wanted in ("", target) and target not in rule.apart and is_resource_type(target):
                ids.setdefault(target, []).append(record_id)
            elif ":" in key:
                urls.append((key, version))
        for target, listed in ids.items():
            for start in range(0, len(listed), _AT_ONCE):
                yield from self._find(target, Ids(tuple(listed[start : start + _AT_ONCE])))
        if urls:
            for target in self._canonical(type_name, codes, wanted):
                if target in rule.apart:
                    continue
                numbers = self._planner.named_by(target)
                yield from self._find(target, AnyOf(tuple(of_url(*numbers, *one) for one in urls)))

    def _canonical(self, type_name: str, codes: Sequence[str], wanted: str) -> list[str]:
        """List the types that references by URL may mean."""
        known = self._planner.registry(type_name)
        found = [targets_of(known[code], type_name) for code in codes]
        types = dict.fromkeys(one for targets in found if targets.urls for one in targets.types)
        return [one for one in types if wanted in ("", one) and "url" in self._planner.registry(one)]

    def _reverse(self, rule: Include, rows: Sequence[FoundRow]) -> Iterable[FoundRow]:
        """Find what refers to resources."""
        chosen = [row for row in rows if rule.target in ("", row.type)]
        keys = [f"{row.type}/{row.id}" for row in chosen]
        urls = [one for row in chosen if (one := self._url_of(row))[0]]
        sources = [rule.source] if rule.source else sorted(type_names("resource"))
        numbers = {
            self._index.number(source, code) * VARIANTS: source
            for source in sources
            for code in self._references(source, rule.code)
        }
        if not keys:
            return
        spelled = [*keys, *(url for of_one, _ in urls for url in of_one)]
        used = list(numbers) if rule.code else self._store.referring_parameters(spelled, list(numbers))
        by_type: dict[str, list[int]] = {}
        for number in used:
            by_type.setdefault(numbers[number], []).append(number)
        for source, parameters in by_type.items():
            for start in range(0, len(keys), _AT_ONCE):
                some = tuple(keys[start : start + _AT_ONCE])
                yield from self._find(source, Row(merged(Match(one, keys=some) for one in parameters), _RANK))
            by_url = [match for one in parameters for of_one in urls for match in named_by_url(one, *of_one)]
            if by_url:
                yield from self._find(source, Row(tuple(by_url), _RANK))

    def _url_of(self, row: FoundRow) -> tuple[list[str], list[str]]:
        """Return the URLs by which a resource may be referred to, and its own versions."""
        url, version = self._planner.named_by(row.type)
        if not url:
            return [], []
        versions = self._store.linked([row.number], [version]) if version else []
        return [key for key, _ in self._store.linked([row.number], [url])], [key for key, _ in versions]

    def _references(self, type_name: str, code: str) -> list[str]:
        """List the reference parameters of a type that are meant."""
        known = self._planner.registry(type_name)
        named = {code: known[code]} if code in known else {} if code else known
        return [one for one, found in named.items() if is_reference(found) and not is_nested(found, type_name)]

    def _find(self, type_name: str, condition: Condition) -> list[FoundRow]:
        """Find resources of a type that may take part."""
        conditions = (condition, *self._planner.conditions((), (type_name,)))
        return self._store.find_page(
            Search((type_name,), conditions, limit=MAX_INCLUDED + 1, snapshot=self._snapshot)
        ).rows
