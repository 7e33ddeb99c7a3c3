"""What a search in another organisation's request means: fills `medchain.node.release_ports.Selection`.

Keeps true: a search tells of one record by what that record says itself: no chain, no `_has`, no list, so that nothing
of another record, or of another patient's, decides what is found; a parameter that is not known is refused, since it
would widen what leaves. Trusts the judge for what a parameter means.
Source: `docs/spec/release.md` 7; FHIR R4 §3.1.1.4.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from fhir_bridge.document import parse
from fhir_bridge.search.judge import Judge
from fhir_bridge.search.service import SearchService
from fhir_bridge.search.tree import Criterion
from medchain.errors import InputError
from medchain.node.release_ports import Selected


class SearchSelection:
    """Understands searches. Threads may share it."""

    __slots__ = ("_judge", "_searches")

    def __init__(self, searches: SearchService, judge: Judge) -> None:
        """Use the search.

        Args:
            searches: understands parameters.
            judge: compares them with a resource.
        """
        self._searches = searches
        self._judge = judge

    def of(self, resource_type: str, query: str) -> Selected:
        """Understand a search; arguments, result and errors as the port says."""
        conditions = self._searches.condition(resource_type, query).conditions
        if not all(isinstance(one, Criterion) for one in conditions):
            raise InputError("release.query")

        def found(content: bytes) -> bool:
            try:
                resource = parse(content)
            except InputError:
                return False
            return self._judge.fulfils(resource_type, resource, conditions)

        named = next((value for name, value in parse_qsl(query) if name == "_id"), None)
        return Selected(None if named is None else frozenset(named.split(",")), found)
