"""Identity and references of resources: their ids, whose they are, and what they point to.

A resource that is posted with a business identifier gets an id computed from it under the node's key, so that of two
conditional creates at once only one can win, and an id tells nothing to who lacks the key. Keeps true: a condition
finds what a search with it would find; a reference is replaced as a whole or not at all; one to a record of this node
is kept without the node's address, so that whose a record is does not hang on how a client writes it. Trusts the search
index, which is kept with the versions.
Source: FHIR R4 §2.3.0.1 (absolute and relative references), §3.1.0.8 (conditional create), §3.1.0.11.2 (replacement of
references).
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, lru_cache
from html import unescape
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, quote

from fhir_bridge.document import Element, Number, Resource, member, objects_of
from fhir_bridge.resources import TYPE_PATTERN
from fhir_bridge.search.budget import check_length
from fhir_bridge.search.judge import Judge, Subject
from fhir_bridge.search.service import SearchService
from fhir_bridge.search.tree import Condition
from fhir_bridge.search.values import token_key
from medchain.crypto.keywrap import derive
from medchain.encoding import canonical, objects_in
from medchain.errors import AccessDeniedError, ConflictError, InputError
from medchain.node.naming import asked_in
from medchain.store.finding import Known, Search
from medchain.store.indexing import FoundPage
from medchain.store.records import RecordStore

PATIENT_MEMBERS: Final = ("subject", "patient", "beneficiary", "individual", "for")
"""Members that name the patient whom a resource is about, the first that is there."""

PROVENANCE: Final = "Provenance"
"""Type of what says of records where they came from: it goes with them."""

API: Final = "/fhir"
"""Where the API stands below an origin."""

MAX_CONDITIONS: Final = 10_000
"""Most conditions that are searched for in one request; each takes about as long as a search."""

JUDGED_AT_ONCE: Final = 100
"""How many entries of the request itself are judged by a condition in about as long."""

LOOKED_INTO: Final = 100
"""How many searches take about as long as one text that may stand anywhere, for which all rows are looked into."""

_BUT: Final = "&_id:not="
_MAX_APART: Final = 100
_PATIENT: Final = "Patient"
# What a Bundle holds refers to its own entries (FHIR R4 §2.36.4), whose ids may be those of others here. An AuditEvent
# outlives an erasure. A Consent of a patient is a rule on that patient's records: only one that says so is.
_OF_NOBODY: Final = frozenset({"AuditEvent", "Bundle", "Consent"})
_ANY_NUMBER: Final = 1 << 62
_ID_CHARS: Final = 32
_GIVEN: Final = re.compile(rf"[0-9a-f]{{{_ID_CHARS}}}(?:\.[0-9]+)?")
_LOCAL: Final = re.compile(r"Patient/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_OWN: Final = re.compile(rf"{TYPE_PATTERN.pattern}/[A-Za-z0-9\-.]{{1,64}}(?:/_history/[A-Za-z0-9\-.]{{1,64}})?")
_CONDITIONAL: Final = re.compile(rf"{TYPE_PATTERN.pattern}\?.*", re.DOTALL)
_URL_MEMBERS: Final = frozenset({"reference", "url", "valueUri", "valueUrl"})
_ONE_IDENTIFIER: Final = re.compile(r"(?:([^|,\\]*)\|)?([^|,\\]+)")
_NARRATIVE: Final = "div"
_LINK: Final = re.compile(r"""(\b(?:href|src)\s*=\s*)("[^"<]*"|'[^'<]*')""")
_UNRESOLVED: Final = ("urn:uuid:", "urn:oid:")
_ADDRESS: Final = ("http:", "https:")


class Identifier(NamedTuple):
    """A business identifier of a resource type, or a condition on one: then without a system it may be of any."""

    type: str
    system: str | None
    value: str


class Wanted(NamedTuple):
    """A condition on resources of a type: the parameters of a search, percent-encoded."""

    type: str
    condition: str


def identifier_key(records_key: bytes) -> bytes:
    """Derive the key under which ids are made of identifiers, from the node's records key."""
    return derive(records_key, "fhir-identifier")


class Resolver:
    """Ids and conditions against what the node holds, for one request or one import: it remembers what it found."""

    __slots__ = ("_key", "_known", "_left", "_may_read", "_read", "_rewritten", "_searches", "_store", "_within")

    def __init__(
        self,
        searches: SearchService,
        store: RecordStore,
        key: bytes,
        may_read: Callable[[str], bool] = lambda _type: True,
        within: Callable[[], Sequence[Condition]] = tuple,
        limit: int = _ANY_NUMBER,
    ) -> None:
        """Prepare.

        Args:
            searches: finds records.
            store: the records, sealed.
            key: under which ids are made of identifiers (`identifier_key`).
            may_read: tells whether the caller may read records of a type.
            within: says what must hold of each resource that takes part in a condition, for the caller's rights;
                asked once, where there is a condition.
            limit: most searches.
        """
        self._left = limit
        self._may_read = may_read
        self._within = cache(within)
        self._searches = searches
        self._store = store
        self._key = key
        self._known: dict[Wanted, Known] = {}
        self._rewritten: list[tuple[Resource, str]] = []
        self._read: dict[tuple[str, str], tuple[Wanted, Identifier | None]] = {}

    @property
    def known(self) -> list[Known]:
        """What conditions found, or that nothing is there, for the store to see that it still is so as it writes."""
        return list(self._known.values())

    def forget(self) -> None:
        """Begin anew where another writer has changed what was found: conditional references are such again."""
        for holder, reference in self._rewritten:
            holder["reference"] = reference
        self._rewritten.clear()
        self._known.clear()

    def rewritten(self, holder: Resource, reference: str) -> None:
        """Note that an object of the request had a conditional reference."""
        self._rewritten.append((holder, reference))

    def written(self, wanted: Wanted, own: Own) -> list[str] | None:
        """List the ids of what a Bundle's own entries write that fulfils a condition.

        Args:
            wanted: the condition.
            own: what the entries change.

        Returns:
            The ids; None while what they write of the type is only being put together.

        Raises:
            InputError: as `find`.
        """
        subjects = own.subjects(wanted.type, self._searches.judge)
        if not subjects:
            return None if subjects is None else []
        self._spend(1 + len(subjects) // JUDGED_AT_ONCE)

        def judged() -> list[str]:
            asked = self._searches.condition(wanted.type, wanted.condition).conditions
            fulfils = self._searches.judge.test(wanted.type, asked, within=self._within())
            return [one.id for one in subjects if fulfils(one)]

        return self._searches.anew(judged)

    def _spend(self, searches: int) -> None:
        """Count searches, or what takes as long; raises `InputError` ``reference.too_many``."""
        self._left -= searches
        if self._left < 0:
            raise InputError("reference.too_many")

    @property
    def bases(self) -> frozenset[str]:
        """Base URLs of this node, without a slash at the end."""
        return self._searches.index.setting.bases

    def new_id(self, type_name: str, resource: Resource, taken: set[tuple[str, str]]) -> str:
        """Choose the id of a new resource: by its first identifier, or a random one where that is taken."""
        chosen = self.derived_id(type_name, resource)
        if chosen and (type_name, chosen) not in taken and self.version(type_name, chosen) == 0:
            return chosen
        return random_id()

    def derived_id(self, type_name: str, resource: Resource) -> str:
        """Make an id of a resource's first identifier, the same for the same one; empty where there is none."""
        first = next(identifiers(type_name, resource), None)
        return "" if first is None else self._id_of(first)

    def version(self, type_name: str, record_id: str) -> int:
        """Return the newest version of a record, 0 where there is none."""
        return self._store.newest_version(type_name, record_id)

    def read(self, type_name: str, query: str) -> tuple[Wanted, Identifier | None]:
        """Read a conditional reference: the condition, and the identifier that it asks for where it asks for one.

        Each once: a Bundle says the same of few others, hundreds of times.
        """
        found = self._read.get((type_name, query))
        if found is None:
            wanted = parse_condition(type_name, query)
            found = self._read[type_name, query] = wanted, identified(wanted)
        return found

    def may_find(self, type_name: str) -> bool:
        """Tell whether the caller may ask for records of a type by a condition."""
        return self._may_read(type_name)

    def find(self, wanted: Wanted, own: Own | None = None) -> str | None:
        """Find the id of the record that fulfils a condition, None where there is none.

        Args:
            wanted: the condition.
            own: what a Bundle's entries change: those records are passed over where others fulfil it, too.

        Raises:
            InputError: ``search.condition`` for a condition that says nothing, ``search.*``; ``reference.too_many``.
            AccessDeniedError: ``scope.denied`` where the caller may not read.
            ConflictError: ``reference.ambiguous`` where more than one record fulfils it.
            UnavailableError: ``search.indexing`` while older records are being indexed.
        """
        # What was found was found for this caller; what was not may have come since it was looked for before.
        known = self._known.get(wanted)
        if known is None or not known.id:
            if not self._may_read(wanted.type):
                raise AccessDeniedError("scope.denied")
            self._spend(1)
            search, page = self._searches.anew(lambda: self._ask(wanted))
            if len(page.rows) > 1:
                changed = [row.id for row in page.rows if own is not None and own.changes(wanted.type, row.id)]
                return self.find(_without(wanted, changed), own)
            found = [(row.number, row.id) for row in page.rows]
            known = self._known[wanted] = Known(search, page.snapshot, *(found[0] if found else ()))
        return known.id or None

    def _ask(self, wanted: Wanted) -> tuple[Search, FoundPage]:
        """Search for what fulfils a condition."""
        search = self._searches.planned(
            wanted.type,
            wanted.condition,
            within=self._within(),
            spend=lambda query: self._spend(query.anywhere * LOOKED_INTO),
        )
        return search, self._store.find_page(search)

    def whose(self, type_name: str, resource: Resource, own: Own) -> str:
        """Return the id of the patient whom a resource names without a reference to the patient.

        By a business identifier alone (FHIR R4 §2.3.0.2), by a contained Patient with such identifiers, or as the one
        whose records a Provenance is about. Whoever writes it: whose record it is does not hang on what the writer may
        read.

        Args:
            type_name: its type.
            resource: the resource.
            own: what its Bundle's own entries change.

        Returns:
            The id; empty where no patient, or more than one, is named so, and for what is a rule on records.

        Raises:
            UnavailableError: ``search.indexing`` while older records are being indexed.
        """
        if type_name == PROVENANCE:
            return self.target_patient(resource, {})
        named = () if type_name in _OF_NOBODY else _logical(resource)
        found = {self._patient_with(one, own) for one in named} - {""}
        return found.pop() if len(found) == 1 else ""

    def _patient_with(self, named: Identifier, own: Own) -> str:
        """Return the id of the one patient who has an identifier; empty where nobody has, or more than one."""
        found = self.patients_with(named, own)
        return found[0] if len(found) == 1 else ""

    def patients_with(self, named: Identifier, own: Own) -> list[str]:
        """List the ids of the patients who have an identifier; an empty one where two that are written have it.

        Args:
            named: with its system.
            own: what is written beside it.

        Raises:
            UnavailableError: as `whose`.
        """
        mine = own.named.get(folded(named))
        if mine is not None:
            return [mine]
        value = quote(f"{escaped(named.system or '')}|{escaped(named.value)}", safe="")
        return [row.id for row in self._searches.rows(_PATIENT, f"identifier={value}")]

    def is_patient(self, record_id: str, own: Own) -> bool:
        """Tell whether there is a patient of an id here, or is written beside what names it."""
        return own.changes(_PATIENT, record_id) or self.version(_PATIENT, record_id) > 0

    def target_patient(self, resource: Resource, written: Mapping[tuple[str, str], str]) -> str:
        """Return the id of the patient whose records alone a Provenance is about.

        Args:
            resource: the Provenance.
            written: type and id of what is written with it → id of the patient whose record that is.

        Returns:
            The id; empty where a target is nobody's, somebody else's, or not of this node.
        """
        targets = resource.get("target")
        found = set[str]()
        for target in targets if isinstance(targets, list) else ():
            place = pointed(member(target, "reference"), self.bases) if isinstance(target, dict) else None
            if place is None:
                return ""
            at = place.type, place.id
            found.add(written[at] if at in written else self._patient_at(*at))
        return found.pop() if len(found) == 1 else ""

    def _patient_at(self, type_name: str, record_id: str) -> str:
        """Return the id of the patient whose record one is; empty where it is nobody's, or not there."""
        row = self._store.get(type_name, record_id)
        patients = () if row is None else self._store.by_patient(row.patient, (_PATIENT,), limit=1)
        return patients[0].id if patients else ""

    def _id_of(self, identifier: Identifier) -> str:
        """Compute the id of an identifier."""
        message = canonical([identifier.type, identifier.system, identifier.value])
        return hmac.digest(self._key, message, "sha256").hex()[:_ID_CHARS]


def escaped(text: str) -> str:
    """Write a text as a part of a search's value (FHIR R4 §3.1.1.5.7)."""
    return "".join(f"\\{char}" if char in "\\$,|" else char for char in text)


def random_id() -> str:
    """Draw an id."""
    return secrets.token_hex(_ID_CHARS // 2)


def is_drawn(record_id: str) -> bool:
    """Tell whether an id has the form of those that the node gives to records of clients, which no client chooses."""
    return is_given(record_id) and len(record_id) == _ID_CHARS


def is_given(record_id: str) -> bool:
    """Tell whether an id has the form of those that the node gives, to records of clients and to AuditEvents."""
    return _GIVEN.fullmatch(record_id) is not None


def identifiers(type_name: str, resource: Resource) -> Iterator[Identifier]:
    """List a resource's business identifiers that have a value."""
    listed = resource.get("identifier")
    rows = listed if isinstance(listed, list) else [listed]
    for row in rows:
        if isinstance(row, dict) and member(row, "value"):
            yield Identifier(type_name, member(row, "system"), member(row, "value"))
            yield Identifier(type_name, None, member(row, "value"))


def folded(identifier: Identifier) -> Identifier:
    """Write an identifier as searches compare it."""
    return identifier._replace(value=token_key(identifier.value))


def parse_condition(type_name: str, query: str) -> Wanted:
    """Take a condition; arguments as in `condition_in`.

    Raises:
        InputError: ``search.too_long``.
    """
    condition = condition_in(type_name, query)
    check_length(condition)
    return Wanted(type_name, condition)


def condition_in(type_name: str, query: str) -> str:
    """Find the condition in what a client has written, however long: what is stored nobody can refuse any more.

    Args:
        type_name: of what it is searched for.
        query: the parameters, or a whole address with them: HAPI's client writes ``BASE/Patient?identifier=…`` into
            If-None-Exist, others ``Patient?…`` or a mere question mark before it.
    """
    place, mark, parameters = query.partition("?")
    is_address = mark and (place in ("", type_name) or place.endswith(f"/{type_name}")) and "=" not in place
    return parameters if is_address else query


def _without(wanted: Wanted, ids: Sequence[str]) -> Wanted:
    """Say of a condition that some of those that fulfil it are not meant; raises `ConflictError` as `Resolver.find`."""
    if not ids or wanted.condition.count(_BUT) + len(ids) > _MAX_APART:
        raise ConflictError("reference.ambiguous", type=wanted.type)
    return wanted._replace(condition=wanted.condition + "".join(f"{_BUT}{one}" for one in ids))


def identified(wanted: Wanted) -> Identifier | None:
    """Read ``identifier=SYSTEM|VALUE``, which is looked up among the entries of the same Bundle; None for another."""
    pairs = parse_qsl(wanted.condition, keep_blank_values=True)
    match = _ONE_IDENTIFIER.fullmatch(pairs[0][1]) if len(pairs) == 1 and pairs[0][0] == "identifier" else None
    return None if match is None else folded(Identifier(wanted.type, match[1], match[2]))


def subject_of(type_name: str, record_id: str, resource: Resource) -> str:
    """Return the id of the patient whom a resource names as the one that it is about, empty where it names none."""
    if type_name == _PATIENT:
        return record_id
    for name in PATIENT_MEMBERS if type_name != "Binary" else ("securityContext",):
        value = resource.get(name)
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, dict) and (match := _LOCAL.fullmatch(member(first, "reference"))):
            return match[1]
    return ""


def patient_of(type_name: str, record_id: str, resource: Resource) -> str:
    """Return the id of the patient whose record a resource is, so that it goes when that patient is erased.

    Where it names nobody as the one that it is about, it is the record of the one patient whom it refers to anywhere,
    such as who comes to an Appointment, or what is linked to a Person: every reference by which HL7's compartment takes
    a resource for a patient's is among them. One that refers to several patients is nobody's alone.

    Args:
        type_name: FHIR resource type.
        record_id: its id.
        resource: the resource.

    Returns:
        The id; empty for a record that is no single patient's.
    """
    named = subject_of(type_name, record_id, resource)
    if named or type_name in _OF_NOBODY:
        return named
    matches = (_LOCAL.fullmatch(member(one, "reference")) for one in objects_in(resource))
    found = {match[1] for match in matches if match}
    return found.pop() if len(found) == 1 else ""


def _logical(resource: Resource) -> Sequence[Identifier]:
    """Read by which identifiers, with their system, a resource names its patient where it has no reference to one."""
    for name in PATIENT_MEMBERS:
        value = resource.get(name)
        first = value[0] if isinstance(value, list) and value else value
        if not isinstance(first, dict):
            continue
        held = (named for one in _holders(first, resource) for named in identifiers(_PATIENT, one))
        found = [named for named in (*held, *_asked_for(member(first, "reference"))) if named.system]
        if found:
            return found
    return ()


def _asked_for(reference: str) -> Sequence[Identifier]:
    """Read the identifier of the Patient whom a condition asks for, at whatever server: it is the same person's."""
    place, _, condition = reference.partition("?")
    asked = list(asked_in(condition)) if place.rpartition("/")[2] == _PATIENT else []
    is_one = [(one.code, one.modifier) for one in asked] == [("identifier", "")]
    return (Identifier(_PATIENT, *asked[0].identifier),) if is_one else ()


def _holders(subject: Resource, resource: Resource) -> Sequence[Resource]:
    """List what has the identifiers of the patient whom a reference means: itself, or the contained Patient."""
    reference = member(subject, "reference")
    if reference.startswith("#"):
        inside = objects_of(resource.get("contained"))
        patients = [one for one in inside if member(one, "resourceType") == _PATIENT]
        return [one for one in patients if f"#{member(one, 'id')}" == reference]
    is_logical = "reference" not in subject and member(subject, "type") in ("", _PATIENT)
    return [subject] if is_logical else []


@dataclass(slots=True)
class Own:
    """What a Bundle's own entries will have changed when its conditional references are resolved, last (§3.1.0.11.2).

    Attributes:
        named: identifiers of what they write, folded → id, empty for one that two of them have.
        written: types and ids of what they write.
        deleted: types and ids of what they delete.
        of_type: gives what they write of a type, as it will be stored but for its labels; is given this, and does not
            hold it: what holds itself stays, with the whole Bundle, until garbage is looked for.
        settled: conditions that were resolved → id, empty for nothing: each once.
    """

    named: Mapping[Identifier, str] = field(default_factory=dict)
    written: frozenset[tuple[str, str]] = frozenset()
    deleted: frozenset[tuple[str, str]] = frozenset()
    of_type: Callable[[Own, str], Iterable[Resource]] = lambda _own, _type: ()
    settled: dict[Wanted, str] = field(default_factory=dict)
    _subjects: dict[str, list[Subject] | None] = field(default_factory=dict)

    def changes(self, type_name: str, record_id: str) -> bool:
        """Tell whether they write or delete a record."""
        place = type_name, record_id
        return place in self.deleted or place in self.written

    def subjects(self, type_name: str, judge: Judge) -> list[Subject] | None:
        """Prepare what they write of a type to be judged, once; None while that is under way.

        What is written may itself have conditional references, to what is written too.
        """
        if type_name not in self._subjects:
            self._subjects[type_name] = None
            self._subjects[type_name] = [judge.subject(type_name, one) for one in self.of_type(self, type_name)]
        return self._subjects[type_name]


def rewrite(resource: Resource, places: Mapping[str, str], own: Own, resolver: Resolver) -> None:
    """Replace references to other entries, conditional ones and those with this node's address, in place.

    A Bundle that is stored as such stays as it is: what it holds refers to its own entries (FHIR R4 §2.36.4), and a
    document is not changed by whoever keeps it.

    Args:
        resource: the resource.
        places: full URL of an entry → ``Type/id``.
        own: what this Bundle's own entries change.
        resolver: what the node holds.

    Raises:
        InputError: ``reference.unresolved`` for an entry that is not there, ``search.*`` for a condition that cannot
            be read, ``reference.not_found`` for one that nothing fulfils.
        ConflictError: ``reference.ambiguous`` for one that more than one record fulfils.
    """
    if resource.get("resourceType") != "Bundle":
        _rewrite_object(resource, places, own, resolver)


def _rewrite_object(resource: Resource, places: Mapping[str, str], own: Own, resolver: Resolver) -> None:
    """Replace the references in an object."""
    for name, value in resource.items():
        # By exact type: parsers make no others, and this looks at every value there is.
        kind = type(value)
        if kind is str:
            if name in _URL_MEMBERS:
                made = _replaced(name, str(value), places, own, resolver)
                if made != value and "?" in str(value):
                    resolver.rewritten(resource, str(value))
                resource[name] = made
            elif name == _NARRATIVE and places:
                resource[name] = _relinked(str(value), places)
        elif kind is dict:
            _rewrite_object(value, places, own, resolver)  # type: ignore[arg-type]  # seen above
        elif kind is list:
            _rewrite_all(value, places, own, resolver)  # type: ignore[arg-type]  # seen above


def _rewrite_all(values: list[Element], places: Mapping[str, str], own: Own, resolver: Resolver) -> None:
    """Replace the references in an array."""
    for value in values:
        if isinstance(value, dict):
            _rewrite_object(value, places, own, resolver)
        elif isinstance(value, list):
            _rewrite_all(value, places, own, resolver)


def _replaced(name: str, value: str, places: Mapping[str, str], own: Own, resolver: Resolver) -> str:
    """Replace what one member points to."""
    found = places.get(value)
    if found is not None:
        return found
    return _resolved(value, own, resolver) if name == "reference" else value


def _relinked(div: str, places: Mapping[str, str]) -> str:
    """Replace the links of a narrative that lead to entries (§3.1.0.11.2)."""

    def replaced(match: re.Match[str]) -> str:
        found = places.get(unescape(match[2][1:-1]))
        return match[0] if found is None else f'{match[1]}"{found}"'

    return _LINK.sub(replaced, div)


class Pointed(NamedTuple):
    """What a reference to a record of this node names: its version is empty for the newest."""

    type: str
    id: str
    version: str


def pointed(reference: str, bases: frozenset[str]) -> Pointed | None:
    """Read a reference to a record of this node; None for one that points elsewhere.

    Args:
        reference: as it stands in a resource.
        bases: base URLs of this node.
    """
    own = _without_base(reference, bases)
    if _OWN.fullmatch(own) is None:
        return None
    type_name, record_id, *rest = own.split("/")
    return Pointed(type_name, record_id, rest[1] if rest else "")


def _without_base(reference: str, bases: frozenset[str]) -> str:
    """Write a reference to a record of this node, or a condition on them, as a relative one; leave others."""
    for base in bases:
        own = reference.removeprefix(f"{base}/")
        if own != reference and (_OWN.fullmatch(own) or _CONDITIONAL.fullmatch(own)):
            return own
    return reference


def _resolved(reference: str, own: Own, resolver: Resolver) -> str:
    """Resolve a conditional reference, and leave out this node's address; leave others as they are."""
    if reference.startswith(_ADDRESS):
        reference = _without_base(reference, resolver.bases)
    if reference.startswith(_UNRESOLVED):
        raise InputError("reference.unresolved")
    type_name, question, query = reference.partition("?")
    if not question or TYPE_PATTERN.fullmatch(type_name) is None:
        return reference
    wanted, identifier = resolver.read(type_name, query)
    found = own.settled.get(wanted)
    if found is None:
        mine = _mine(wanted, identifier, own, resolver)
        if mine is None:
            return reference
        found = own.settled[wanted] = _settled(wanted, mine, own, resolver)
    if not found:
        raise InputError("reference.not_found", type=type_name)
    return f"{type_name}/{found}"


def _mine(wanted: Wanted, identifier: Identifier | None, own: Own, resolver: Resolver) -> Sequence[str] | None:
    """List what entries write that fulfils a condition; None as `Resolver.written`.

    Most ask for one identifier, which needs no search.
    """
    if identifier is None:
        return resolver.written(wanted, own)
    named = own.named.get(identifier)
    if named == "":
        raise ConflictError("reference.ambiguous", type=wanted.type)
    return () if named is None else (named,)


def _settled(wanted: Wanted, mine: Sequence[str], own: Own, resolver: Resolver) -> str:
    """Find what fulfils a condition once a Bundle is done: one of its entries, or what is here and it leaves as it is.

    Args:
        wanted: the condition.
        mine: what its entries write that fulfils it.
        own: what its entries change.
        resolver: what the node holds.

    Returns:
        The id; empty where nothing fulfils it.
    """
    found = set(mine)
    # Who may not read what is here is told nothing of it.
    there = resolver.find(wanted, own) if not found or resolver.may_find(wanted.type) else None
    # What an entry writes counts as it says, and what one deletes does not.
    if there is not None and not own.changes(wanted.type, there):
        found.add(there)
    if len(found) > 1:
        raise ConflictError("reference.ambiguous", type=wanted.type)
    return found.pop() if found else ""


_NO_META: Final[Resource] = {}


def with_identity(resource: Resource, record_id: str, version: int, time: int) -> Resource:
    """Set id, version and time of a resource; everything else stays as it is and where it is.

    Of a create or an update these are the server's (§3.1.0.8), but what is none of its type (``"id": null``) stays,
    too, for validation to find.

    Args:
        resource: as it was sent.
        record_id: its id.
        version: from 1.
        time: Unix seconds.

    Returns:
        The resource, type, id and meta first.
    """
    given, given_id = resource.get("meta", _NO_META), resource.get("id", record_id)
    stamp: dict[str, Element] = {"versionId": str(version), "lastUpdated": instant(time)}
    meta: Element = given
    if isinstance(given, dict):
        meta = {**given, **stamp, **{name: given[name] for name in stamp if not _is_text(given.get(name, name))}}
    rest = {name: value for name, value in resource.items() if name not in ("resourceType", "id", "meta")}
    kept_id = record_id if _is_text(given_id) else given_id
    return {"resourceType": resource["resourceType"], "id": kept_id, "meta": meta, **rest}


def _is_text(value: Element) -> bool:
    """Tell whether a value is text that says something."""
    return isinstance(value, str) and value != ""


@lru_cache(256)
def instant(time: int) -> str:
    """Write Unix seconds as a FHIR instant."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def number(value: int) -> Number:
    """Write a whole number into a document."""
    return Number(str(value))
