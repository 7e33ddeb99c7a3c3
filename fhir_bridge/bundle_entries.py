"""The entries of a Bundle: what each asks for, and which record it is about.

Keeps true: what is deleted is gone for the conditions of the others; a record is written once; an id is given once; of
two entries with one name nobody guesses which is meant; no condition is passed over for how it is written. Trusts the
resolver for what the node holds.
Source: FHIR R4 §3.1.0.11.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeAlias

from fhir_bridge import resources
from fhir_bridge.change import patch_in_bundle
from fhir_bridge.document import Document, Element, Resource, member
from fhir_bridge.etags import names
from fhir_bridge.labelling import Labeller
from fhir_bridge.references import Identifier, Resolver, Wanted, folded, identifiers, parse_condition
from fhir_bridge.validation.check import Mode
from fhir_bridge.validation.structure import is_well_formed
from medchain.errors import ConflictError, InputError, NotFoundError

READING: Final = frozenset({"GET", "HEAD"})
"""Methods of entries that write nothing."""

DELETE: Final = "DELETE"
"""Method of an entry that deletes a record."""

_ABSOLUTE: Final = ("http:", "https:")
_ALONE: Final = "Bundle.entry[0]"
_ENTRY: Final = "Bundle.entry"
# An address that leads nowhere is refused, and a time that is none is passed over, as HTTP has it.
_JUDGED_ELSEWHERE: Final = frozenset({"ifModifiedSince", "url"})
_PATCH: Final = "PATCH"
_RANKS: Final = {DELETE: 0, "POST": 1, "PUT": 2, _PATCH: 2}


class Newest(NamedTuple):
    """The newest version of a record.

    Attributes:
        version: its number.
        token: keyed token of its patient.
        resource: parsed; None for a deletion.
    """

    version: int
    token: str
    resource: Resource | None


Current: TypeAlias = "Callable[[str, str], Newest | None]"
"""Opens the newest version of a record by type and id; None where there is none."""


class Strictness(NamedTuple):
    """How strictly a Bundle is taken, and who sets the labels of what it holds."""

    is_loose: bool
    may_wait: bool
    validation: Mode = Mode.STRICT
    labeller: Labeller | None = None


@dataclass(slots=True)
class Entry:
    """One entry on its way.

    Attributes:
        index: from 0, in the Bundle.
        full_url: how other entries call it, or empty.
        type: resource type.
        id: of the record; empty for a deletion that nothing fulfils.
        version: that it will make, or that is there; 0 where there is nothing to delete.
        present: whether nothing is stored: a conditional create found it, or what is to be deleted is not there.
        method: of its request.
        token: keyed token of the patient of what is deleted.
        content: its bytes once they are made; empty for a deletion, and for what is present.
        is_new: whether there is nothing before it, or only what was deleted.
    """

    index: int
    full_url: str
    type: str
    id: str
    version: int
    present: bool = False
    method: str = "POST"
    token: str = ""
    content: bytes = b""
    is_new: bool = True

    @property
    def writes(self) -> bool:
        """Whether a resource is stored."""
        return not self.present and self.method != DELETE


def requests_of(bundle: Document, bases: frozenset[str]) -> list[tuple[str, str]]:
    """List what a Bundle wants: (method, url) of each entry, to be authorised before anything is looked up.

    Args:
        bundle: parsed.
        bases: base URLs of this node.

    Raises:
        InputError: ``bundle.request``, ``bundle.full_url`` with the entry's number; as `check_head`.
    """
    wanted = []
    named = FullUrls()
    for index, row in enumerate(bundle.rows):
        request = row.get("request") if isinstance(row, dict) else None
        if not isinstance(row, dict) or not isinstance(request, dict):
            raise InputError("bundle.request", entry=index)
        named.check(row, entry=index, element="fullUrl")
        check_head(row, index)
        wanted.append((member(request, "method"), url_of(request, row.get("resource"), bases)))
    return wanted


def check_head(row: Element, index: int) -> None:
    """See that an entry is well formed beside its resource, which is checked as what it is.

    Who misspells a condition, or gives it as a number, must not have done without it.

    Raises:
        InvalidResourceError: with all that is malformed, and the entry's number.
    """
    request = row.get("request") if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(request, dict):
        # Refused by who looks for its request.
        return
    head: Resource = {name: value for name, value in row.items() if name != "resource"}
    # Most are right in all; only of the others it matters what is judged elsewhere.
    if is_well_formed(head, _ENTRY):
        return
    del head["request"]
    asked: Resource = {name: value for name, value in request.items() if name not in _JUDGED_ELSEWHERE}
    if asked:
        head["request"] = asked
    if not head:
        return
    try:
        resources.check_form({"resourceType": "Bundle", "entry": [head]})
    except resources.InvalidResourceError as error:
        place = f"Bundle.entry[{index}]"
        moved = [replace(one, expression=one.expression.replace(_ALONE, place, 1)) for one in error.issues]
        raise resources.InvalidResourceError(moved, entry=index) from error


def url_of(request: Resource, resource: Element, bases: frozenset[str]) -> str:
    """Return the address of an entry, relative to the base.

    Some clients write it with a slash at its beginning, or with the base before it (Bundle.entry.request.url: "relative
    to the root"; HAPI takes both). A create without one is of the resource's type: R4's own example (§3.1.0.11.3) and
    HAPI's client write none.
    """
    if "url" not in request and member(request, "method") == "POST" and isinstance(resource, dict):
        return member(resource, "resourceType")
    url = member(request, "url")
    base = next((one for one in bases if url.startswith(f"{one}/")), "") if url.startswith(_ABSOLUTE) else ""
    return url[len(base) :].removeprefix("/")


class FullUrls:
    """The names of a Bundle's entries: of two with one, a reference could mean both (bdl-7, bdl-8)."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        """Begin with none."""
        self._known: set[tuple[str, str]] = set()

    def check(self, row: Element, **place: int | str) -> None:
        """See that no entry before has the name of this one; raises `InputError` ``bundle.full_url`` with its place."""
        full_url = member(row, "fullUrl") if isinstance(row, dict) else ""
        if not full_url:
            return
        about = resource_of(row).get("meta")
        name = full_url, member(about, "versionId") if isinstance(about, dict) else ""
        if name in self._known or "/_history/" in full_url:
            raise InputError("bundle.full_url", **place)
        self._known.add(name)


def in_order(rows: Sequence[Element], mode: Strictness) -> list[int]:
    """Order the entries that write as R4 has them done: what is deleted first, then what is new, then changes."""
    if mode.is_loose:
        return list(range(len(rows)))
    ranked = []
    for index, row in enumerate(rows):
        request = row.get("request") if isinstance(row, dict) else None
        method = member(request, "method") if isinstance(request, dict) else ""
        if method not in READING:
            ranked.append((_RANKS.get(method, len(_RANKS)), index))
    return [index for _, index in sorted(ranked)]


def resource_of(row: Element) -> Resource:
    """Return the resource of an entry; an empty one for one that has none."""
    resource = row.get("resource") if isinstance(row, dict) else None
    return resource if isinstance(resource, dict) else {}


class EntryReader:
    """Understands entries and gives them ids.

    Attributes:
        deleted: types and ids of what is deleted.
        named: what is called how that is written.
        patched: resources that a patch has made, by the entry's place.
        resolver: what the node holds.
    """

    def __init__(self, resolver: Resolver, mode: Strictness, current: Current | None) -> None:
        """Begin with no entry."""
        self.resolver = resolver
        self._mode = mode
        self._current = current
        self.named = _Names()
        self._taken: set[tuple[str, str]] = set()
        self.deleted: set[tuple[str, str]] = set()
        self._made: dict[Wanted, str] = {}
        self.patched: dict[int, Resource] = {}

    def read(self, index: int, row: Element) -> Entry:
        """Understand one entry and give it an id."""
        resource, entry = self._understood(index, row)
        if entry.writes:
            self.named.add(entry, resource)
        return entry

    def _understood(self, index: int, row: Element) -> tuple[Resource, Entry]:
        """Understand one entry; returns its resource, too."""
        if not isinstance(row, dict):
            raise InputError("bundle.entry")
        resource, request = row.get("resource"), row.get("request")
        if isinstance(request, dict) and self._current is not None:
            if member(request, "method") == DELETE:
                return {}, self._deletion(index, request)
            if member(request, "method") == _PATCH:
                return self._patch(index, resource, request)
        if not isinstance(resource, dict):
            raise InputError("bundle.resource")
        type_name = member(resource, "resourceType")
        if not resources.is_storable(type_name):
            raise InputError("resource.type")
        if not isinstance(request, dict):
            if not self._mode.is_loose or request is not None:
                raise InputError("bundle.request")
            request = _implied(type_name, resource)
        entry = self._written(Entry(index, member(row, "fullUrl"), type_name, "", 1), resource, request)
        self._taken.add((entry.type, entry.id))
        return resource, entry

    def _written(self, entry: Entry, resource: Resource, request: Resource) -> Entry:
        """Give an entry that has a resource its id."""
        method, url = member(request, "method"), url_of(request, resource, self.resolver.bases)
        if method == "POST" and url == entry.type:
            return self._posted(entry, resource, request)
        entry.method = method
        if method == "PUT" and url.startswith(f"{entry.type}/"):
            entry.id = url.removeprefix(f"{entry.type}/")
            if "id" in resource and resource["id"] != entry.id:
                raise InputError("bundle.id")
            return self._put(entry, request)
        if method == "PUT" and url.startswith(f"{entry.type}?"):
            entry.id = self._found_or_new(entry.type, resource, parse_condition(entry.type, url))
            return self._put(entry, request)
        raise InputError("bundle.method")

    def _put(self, entry: Entry, request: Resource) -> Entry:
        """Make the next version of a record, or its first."""
        if resources.ID_PATTERN.fullmatch(entry.id) is None or (entry.type, entry.id) in self._taken:
            raise InputError("bundle.id")
        newest = self.resolver.version(entry.type, entry.id)
        # Whether it is deleted costs opening it, and matters to few.
        is_there = newest > 0 and "ifNoneMatch" in request and self._is_present(entry.type, entry.id)
        _check_match(request, newest, is_there=is_there)
        entry.version = newest + 1
        return entry

    def _posted(self, entry: Entry, resource: Resource, request: Resource) -> Entry:
        """Give a new record its id, or find the one that is there, or that an entry before makes of the condition."""
        given = member(request, "ifNoneExist")
        wanted = parse_condition(entry.type, given)
        if given and wanted in self._made:
            entry.id, entry.present = self._made[wanted], True
            return entry
        found = self.resolver.find(wanted) if given else None
        if found is not None and (entry.type, found) not in self.deleted:
            entry.id, entry.version = found, self.resolver.version(entry.type, found)
            entry.present = True
            return entry
        entry.id = self.resolver.new_id(entry.type, resource, self._taken)
        if given and not self._mode.is_loose:
            # An import may leave this entry out, and then the next one of the condition must not count on it.
            self._made[wanted] = entry.id
        return entry

    def _found_or_new(self, type_name: str, resource: Resource, wanted: Wanted) -> str:
        """Find the record that a conditional update is of, or give a new one its id (FHIR R4 §3.1.0.4.3)."""
        given = member(resource, "id")
        if wanted in self._made:
            raise InputError("bundle.id")
        found = self.resolver.find(wanted)
        if found is None and given and self._is_present(type_name, given):
            # What another writer has stored since it was looked for may fulfil the condition by now.
            found = self.resolver.find(wanted)
            if found is None:
                raise ConflictError("record.taken")
        if found is None:
            self._made[wanted] = given or self.resolver.new_id(type_name, resource, self._taken)
            return self._made[wanted]
        if given and given != found:
            raise InputError("bundle.id")
        return found

    def _is_present(self, type_name: str, record_id: str) -> bool:
        """Tell whether there is a record, and it is not deleted."""
        newest = self._current(type_name, record_id) if self._current is not None else None
        return newest is not None and newest.resource is not None

    def _deletion(self, index: int, request: Resource) -> Entry:
        """Say what is deleted."""
        type_name, record_id = self._named(url_of(request, None, self.resolver.bases))
        entry = Entry(index, "", type_name, record_id, 0, present=True, method=DELETE)
        if record_id:
            # Whether it is there or not: of what is written again, the client could mean either.
            self._take(entry)
        newest = self._current(type_name, record_id) if record_id and self._current is not None else None
        if newest is None:
            _check_match(request, 0)
            return entry
        entry.version = newest.version
        _check_match(request, newest.version, is_there=newest.resource is not None)
        if newest.resource is not None:
            entry.version, entry.present, entry.token = newest.version + 1, False, newest.token
            self.deleted.add((type_name, record_id))
        return entry

    def _patch(self, index: int, given: Element, request: Resource) -> tuple[Resource, Entry]:
        """Make what a patch makes of a record."""
        if not isinstance(given, dict):
            raise InputError("bundle.resource")
        type_name, record_id = self._named(url_of(request, None, self.resolver.bases))
        newest = self._current(type_name, record_id) if record_id and self._current is not None else None
        if newest is None or newest.resource is None:
            raise NotFoundError("record.unknown")
        entry = Entry(index, "", type_name, record_id, newest.version, method=_PATCH)
        _check_match(request, newest.version, is_there=True)
        entry.version += 1
        self._take(entry)
        self.patched[index] = patch_in_bundle(newest.resource, given)
        return self.patched[index], entry

    def _named(self, url: str) -> tuple[str, str]:
        """Read ``Type/id`` or ``Type?condition``; the id is empty where nothing fulfils the condition."""
        type_name, question, condition = url.partition("?")
        record_id: str | None
        if question:
            record_id = self.resolver.find(parse_condition(type_name, condition))
        else:
            type_name, _, record_id = url.partition("/")
        if not resources.is_storable(type_name) or (record_id and resources.ID_PATTERN.fullmatch(record_id) is None):
            raise InputError("bundle.method")
        if not question and not record_id:
            raise InputError("bundle.method")
        return type_name, record_id or ""

    def _take(self, entry: Entry) -> None:
        """Have a record written once: a transaction whose identities overlap fails (§3.1.0.11.2)."""
        if (entry.type, entry.id) in self._taken:
            raise InputError("bundle.id")
        self._taken.add((entry.type, entry.id))


def _implied(type_name: str, resource: Resource) -> Resource:
    """Say what is meant by an entry that does not: keep its id, or have one given."""
    record_id = member(resource, "id")
    if record_id:
        return {"method": "PUT", "url": f"{type_name}/{record_id}"}
    return {"method": "POST", "url": type_name}


def _check_match(request: Resource, newest: int, *, is_there: bool = False) -> None:
    """Compare ifMatch with the newest version, and ifNoneMatch with one that is there, as a request of its own has it.

    Raises:
        InputError: ``request.etag`` for what is no entity tag.
        ConflictError: ``bundle.version``.
    """
    wanted, unwanted = member(request, "ifMatch"), member(request, "ifNoneMatch")
    if wanted and not (names(wanted, newest) and newest):
        raise ConflictError("bundle.version")
    if unwanted and names(unwanted, newest) and is_there:
        raise ConflictError("bundle.version")


class _Names:
    """What a Bundle's own entries are called, and when its patients were born; what two are called is empty."""

    __slots__ = ("births", "found")

    def __init__(self) -> None:
        """Begin with none."""
        self.births: dict[str, str] = {}
        self.found: dict[Identifier, str] = {}

    def add(self, entry: Entry, resource: Resource) -> None:
        """Know an entry's identifiers, and when it was born."""
        if entry.type == "Patient":
            self.births[entry.id] = member(resource, "birthDate")
        for identifier in map(folded, identifiers(entry.type, resource)):
            if self.found.setdefault(identifier, entry.id) != entry.id:
                self.found[identifier] = ""
