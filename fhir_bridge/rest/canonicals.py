"""Records that a search names by a canonical URL or their address: value sets and code systems of the node's own.

Keeps true: one that the caller may not see looks as if it were not there; however many searches read such records at
once, one is read at a time. Trusts the gate.
Source: FHIR R4 references.html (canonical URLs), §3.1.1.4.10.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Final, Generic, TypeVar

from fhir_bridge.document import Resource, parse
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.read import version_of
from fhir_bridge.search.query import parse_query
from fhir_bridge.search.values import reference_key
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import Action
from medchain.errors import InputError, NotFoundError
from medchain.store.versions import Found

_Made = TypeVar("_Made")

# Parsed, a record takes up to twenty times as much memory as it is long, for a moment: one at a time in a process.
_TURN: Final = Lock()


def found_by(core: Core, access: Access, type_name: str, text: str) -> Found | None:
    """Find a record by its address here, or by its URL: of several, the one that was stored last.

    Args:
        core: of the server.
        access: who searches.
        type_name: a type that has URLs.
        text: ``Type/id``, also of a version, or a URL, also with a business version behind a bar.

    Returns:
        The version; None where there is none, or the caller may not see it.
    """
    key, version = reference_key(text, core.search.index.setting.bases)
    named, _, record_id = key.partition("/")
    found = _at(core, named, record_id, version) if named == type_name else _of_url(core, access, type_name, text)
    if found is None or not core.gate.shown(access, [found.stored], Action.SEARCH)[0]:
        return None
    return None if core.service.is_deleted(found.stored) else found


class ReadOnce(Generic[_Made]):
    """What is made of stored records for one search: each version is read once, of all no more than so many bytes."""

    __slots__ = ("_core", "_left", "_make", "_most", "made")

    def __init__(self, core: Core, most: int, make: Callable[[Resource, str], _Made]) -> None:
        """Begin with nothing read.

        Args:
            core: of the server.
            most: bytes of all contents.
            make: called with a resource and the address of its version.
        """
        self._core = core
        self._most = self._left = most
        self._make = make
        self.made: dict[str, _Made] = {}

    def address_of(self, found: Found) -> str:
        """Read a version unless it has been; returns its address, under which `made` has what was made of it.

        Raises:
            InputError: ``search.too_many`` for more bytes.
        """
        address = f"{found.stored.type}/{found.stored.id}/_history/{found.stored.version}"
        if address not in self.made:
            with _TURN:
                content = self._core.content(found)
                self._left -= len(content)
                if self._left < 0:
                    raise InputError("search.too_many", limit=self._most)
                self.made[address] = self._make(parse(content), address)
        return address


def _at(core: Core, type_name: str, record_id: str, version: str) -> Found | None:
    """Look one up by its id and version."""
    try:
        return core.reader.find(type_name, record_id, version_of(version) if version else None)
    except NotFoundError:
        return None


def _of_url(core: Core, access: Access, type_name: str, text: str) -> Found | None:
    """Look one up by its URL, and the business version behind a bar."""
    url, _, version = text.partition("|")
    asked = [("url", url), ("version", version), ("_sort", "-_lastUpdated"), ("_count", "1")]
    query = parse_query(asked, type_name, core.search.context(strict=True))
    page = core.search.search(query, within=core.gate.within(access))
    return next(iter(core.reader.numbered(page.matches)), None) if url else None
