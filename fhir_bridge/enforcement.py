"""Consents in force at this node, and what they keep from a caller of its own organisation.

What is kept back is told as numbers of record versions, for each kind of asker once: a read looks its number up, a
search leaves the numbers out wherever a record may take part, and both say the same. Keeps true: a consent counts from
the moment it is stored, in every process; it is compiled once a version; a record that is stored after what is known
was worked out is looked at before it is shown; what cannot be judged is kept back. Trusts the records file for whose a
record is, and `consent.custodian` for the decision.
Source: `docs/spec/consent.md` C1 to C8.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from functools import partial
from itertools import chain
from threading import RLock
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import quote

import orjson

from consent.custodian import decide_inside, decide_own, edges
from consent.decision import (
    Decision,
    Deny,
    Directive,
    Permit,
    Request,
    Resource,
    compile_consent,
    passes,
)
from consent.directive import SUBJECT
from consent.facts import facts_told
from consent.hiding import Hidden, directives_of
from consent.receipt import receipt
from fhir_bridge.bundled import Name
from fhir_bridge.consent_records import is_of_releases
from fhir_bridge.joint_records import LISTING, JointRecords
from fhir_bridge.search.service import SearchService
from fhir_bridge.search.tree import Sighted
from fhir_bridge.smart.access import Access
from medchain.encoding import digest
from medchain.errors import NotFoundError, VerificationError
from medchain.ledger.emergency_request import BREAKING
from medchain.node.clock import Clock
from medchain.node.emergency import find_open
from medchain.node.event_time import event_span
from medchain.node.log import Log
from medchain.node.records import RecordService
from medchain.node.telling import DEPENDENT, Telling
from medchain.store.accounts import Role
from medchain.store.consents import ConsentRows, Fresh
from medchain.store.records import RecordStore, RecordVersion

MAX_VIEWS: Final = 256
"""Most kinds of askers that are remembered."""

KEEP_UP: Final = 64
"""One of so many writes looks at what was stored before it."""

ORGANISATION: Final = "urn:medchain:organisation"
"""Identifier system of organisations: an Organization record that has this node's is this organisation."""

_TREATING: Final = "TREAT"
_CLINICIAN: Final = "clinician"
_CONSENT: Final = "Consent"
_TEAMS: Final = {"CareTeam": "participant", "Group": "member"}
_RELATIVES: Final = frozenset({"RelatedPerson"})
_SELF: Final = {"Organization": "identifier"}
_WHO: Final = frozenset({*_TEAMS, *_SELF})
_MANY: Final = 200
_MICROSECONDS: Final = 1_000_000
_LOG: Final = Log("fhir")

# Name of a record → numbers of its versions that are kept back.
_Kept: TypeAlias = dict[Name, tuple[int, ...]]


class Asker(NamedTuple):
    """What matters of a caller to a decision: those who are alike get the same.

    Attributes:
        user: as `Access.user`.
        role: as `Access.role`.
        purpose: v3-ActReason.
        emergencies: tokens of the patients for whom this person has broken the glass, if that is the purpose.
        own: as `Access.own`.
    """

    user: str
    role: str
    purpose: str
    emergencies: frozenset[str] = frozenset()
    own: str = ""


@dataclass(frozen=True, slots=True)
class Sight:
    """What is kept from an asker.

    Attributes:
        hidden: numbers of the record versions that are.
        upto: number of the last version that was looked at.
        owners: patients' tokens of whom later versions must be looked at first, nobody's among them: they may be of
            patients' records; so must later versions of lists, whosever they are, which may name those patients.
        condition: the same for searches.
    """

    hidden: frozenset[int]
    upto: int
    owners: frozenset[str]
    condition: Sighted

    @property
    def is_of_events(self) -> bool:
        """Whether AuditEvents are kept back as well, by what they tell of."""
        return bool(self.condition.names)

    def hides(self, row: RecordVersion) -> bool:
        """Tell whether a record version is kept back, of an AuditEvent not by what it tells of."""
        return self.keeps(row.seq, row.type, row.patient)

    def keeps(self, number: int, type_name: str, patient: str) -> bool:
        """Tell the same of a version by its number, its type, and whose it is (keyed token)."""
        is_watched = patient in self.owners or type_name in LISTING
        return number in self.hidden or (number > self.upto and is_watched and type_name != _CONSENT)


@dataclass(frozen=True, slots=True)
class _Given:
    """A consent in force."""

    id: str
    patient: str
    directive: Directive
    edges: frozenset[int]


@dataclass(slots=True)
class _View:
    """What is known for an asker.

    Attributes:
        asker: who.
        made: state of the consents, of who is who, and part of time in which it holds.
        decisions: patient's token → decision, of those of whom not everything is permitted.
        kept: patient's token → what is kept back of each of its records.
        joint: patient's token → what is kept back of each record that is not that patient's alone, but tells of it.
        receipts: of all decisions, sorted.
        sight: what is told; None where nothing is kept back.
    """

    asker: Asker
    made: tuple[int, int, int]
    decisions: dict[str, Decision] = field(default_factory=dict)
    kept: dict[str, _Kept] = field(default_factory=dict)
    joint: dict[str, _Kept] = field(default_factory=dict)
    receipts: bytes = b""
    sight: Sight | None = None


class Enforcement:
    """Tells what consents keep from this organisation's callers. Threads share it."""

    def __init__(
        self, org_id: str, searches: SearchService, store: RecordStore, service: RecordService, clock: Clock
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            org_id: this organisation.
            searches: finds care teams and groups.
            store: the records file.
            service: opens records.
            clock: gives Unix seconds.
        """
        self._organisation = org_id
        self._searches = searches
        self._store = store
        self._service = service
        self._clock = clock
        self._rows = ConsentRows(store.database)
        self._telling = Telling(store, service)
        self._joint = JointRecords(store, service, self._rows, self._telling)
        self._lock = RLock()
        self._upto = -1
        self._given: dict[str, dict[str, _Given]] = {}
        self._named: dict[str, _Given] = {}
        self._edges: list[int] = []
        self._state = self._who = self._passed = 0
        self._views: OrderedDict[Asker, _View] = OrderedDict()
        self._groups: dict[str, tuple[int, frozenset[str]]] = {}

    def sight(self, access: Access) -> Sight | None:
        """Tell what is kept from a caller at this moment.

        Args:
            access: who asks.

        Returns:
            It; None where nothing is.

        Raises:
            UnavailableError: the records file cannot be read; nothing may be shown then.
            VerificationError: a consent is damaged, which could deny; as above.
        """
        self._catch_up()
        if not self._given:
            return None
        asker = self._asker(access)
        with self._lock:
            return self._view(asker).sight

    def keep_up(self) -> None:
        """Take over what was stored, at the first of every `KEEP_UP` calls: else who asks after many writes waits.

        Raises:
            UnavailableError, VerificationError: as `sight`.
        """
        self._passed += 1
        if self._passed % KEEP_UP == 1:
            self._catch_up()

    def receipt(self, access: Access) -> bytes:
        """Return the hash over the decisions about a caller (D17); empty where no consent is in force here."""
        if not self._given:
            return b""
        asker = self._asker(access)
        with self._lock:
            return self._view(asker).receipts

    def is_closed(self, access: Access, patient: str) -> bool:
        """Tell whether consents keep all records of a patient of this node from a caller, wherever they are kept.

        Args:
            access: who asks.
            patient: keyed token.

        Raises:
            UnavailableError, VerificationError: as `sight`.
        """
        return isinstance(self._decision(access, patient), Deny)

    def keeps_back(self, access: Access, patient: str, content: bytes) -> bool:
        """Tell whether consents keep another custodian's record of a patient of this node from a caller.

        Args:
            access: who asks.
            patient: keyed token.
            content: FHIR JSON of the record.

        Raises:
            UnavailableError, VerificationError: as `sight`.
        """
        decision = self._decision(access, patient)
        if decision is None or isinstance(decision, Deny):
            return decision is not None
        # When it was stored there is not told: what is open since some day is taken to reach until now.
        when = event_span(content, self._clock(), self._zone())
        return not passes(decision, facts_told(None, when, content))

    def meant(self, patient: str, content: bytes) -> frozenset[str]:
        """List what a record of a patient (keyed token) means by identifiers.

        Args:
            patient: keyed token.
            content: FHIR JSON of the record.

        Raises:
            VerificationError: a record of the patient is damaged.
        """
        return self._telling.meant(patient, content)

    def meant_by(self, patient: str) -> Mapping[tuple[str, str], frozenset[str]]:
        """List what each record of a patient (keyed token) that names others by identifiers means; raises as `meant`.

        Args:
            patient: keyed token.

        Returns:
            Type and id of the record → as `meant`.
        """
        return self._telling.meant_by(patient)

    def in_emergency(self, organisation: str, patient: str, hidden: Collection[Hidden]) -> Decision:
        """Decide what a clinician of another organisation may see of a patient, as of one here who breaks the glass.

        Nothing more is known of that person: a consent that asks who it is denies (D20).

        Args:
            organisation: org_id.
            patient: keyed token.
            hidden: what the patient hides as far as this node has heard, which a moment later the records say as well.

        Raises:
            UnavailableError, VerificationError: as `sight`.
        """
        self._catch_up()
        request = Request(
            now=self._clock() * _MICROSECONDS,
            patient=SUBJECT,
            organization=f"Organization/{organisation}",
            groups=None,
            role=_CLINICIAN,
            purpose=BREAKING,
            action="access",
            custodian=f"Organization/{self._organisation}",
            aliases=self._found(organisation, _SELF, f"{ORGANISATION}|{organisation}"),
        )
        with self._lock:
            given = [one.directive for one in self._given.get(patient, {}).values()]
        return decide_inside(request, [*given, *directives_of(hidden, self._organisation)])

    def _decision(self, access: Access, patient: str) -> Decision | None:
        """Return what was decided about a patient, None where all is permitted."""
        if self.sight(access) is None:
            return None
        asker = self._asker(access)
        with self._lock:
            return self._view(asker).decisions.get(patient)

    def _asker(self, access: Access) -> Asker:
        """Tell who asks."""
        opened: frozenset[str] = frozenset()
        if access.purpose == BREAKING and access.user:
            now, patients = self._clock(), tuple(self._given)
            opened = frozenset(one for one in patients if find_open(self._store, one, access.user, now))
        return Asker(access.user, access.role, access.purpose, opened, access.own)

    def _catch_up(self) -> None:
        """Take over what was stored since the last look."""
        fresh = self._rows.after(self._upto)
        if fresh:
            self._refresh(fresh)

    def _refresh(self, fresh: Sequence[Fresh]) -> None:
        """Take over what was stored since; of what another thread has taken over meanwhile, nothing is left."""
        with self._lock:
            if self._upto < 0:
                upto = self._rows.newest()
                self._take(self._rows.of_type(_CONSENT, upto))
                self._upto = upto
            while new := [row for row in fresh if row.seq > self._upto]:
                self._take([row for row in new if row.type == _CONSENT])
                self._who += any(row.type in _WHO for row in new)
                came = self._joint.take(new)
                # What has become another patient's matters to what is still of the one before.
                fresh = [*self._rows.left(self._upto, new[-1].seq), *new]
                for view in self._views.values():
                    self._follow(view, fresh, came)
                self._upto = new[-1].seq
                fresh = self._rows.after(self._upto)

    def _take(self, rows: Iterable[Fresh]) -> None:
        """Take over versions of consents, the newest of each last."""
        newest = {row.id: row for row in rows}
        for row in newest.values():
            before = self._named.pop(row.id, None)
            if before is not None:
                of_patient = self._given[before.patient]
                del of_patient[row.id]
                if not of_patient:
                    del self._given[before.patient]
            given = self._compiled(row)
            if given is not None:
                self._named[row.id] = given
                self._given.setdefault(given.patient, {})[row.id] = given
        if newest:
            self._state += 1
            self._edges = sorted({edge for one in self._named.values() for edge in one.edges})

    def _compiled(self, row: Fresh) -> _Given | None:
        """Read a consent; None for one that says nothing here: about releases, not active, deleted, of no patient."""
        if row.patient == self._service.patient_token(""):
            return None
        stored = self._store.numbered(row.seq)
        try:
            content = b"" if stored is None else self._service.open(stored).content
        except NotFoundError:
            return None
        except VerificationError as error:
            _LOG.error("consent.damaged", error, record=row.seq)
            content = b"null"
        if not content:
            return None
        zone, consent = self._zone(), orjson.loads(content)
        if is_of_releases(row.id, consent):
            return None
        version = "" if stored is None else str(stored.version)
        directive = compile_consent(
            consent, consent_id=f"{_CONSENT}/{row.id}", version=version, any_patient=True, zone=zone
        )
        return _Given(row.id, row.patient, directive, edges(consent, zone)) if directive.is_active else None

    def _view(self, asker: Asker) -> _View:
        """Return what is known for an asker, worked out anew where it may have become another."""
        now = self._clock() * _MICROSECONDS
        made = (self._state, self._who, bisect_right(self._edges, now))
        view = self._views.get(asker)
        if view is None or view.made != made:
            view = self._worked_out(asker, made, now)
            self._views[asker] = view
            while len(self._views) > MAX_VIEWS:
                self._views.popitem(last=False)
        return view

    def _worked_out(self, asker: Asker, made: tuple[int, int, int], now: int) -> _View:
        """Decide about each patient who has consents."""
        view, receipts = _View(asker, made), list[bytes]()
        for patient, decision in self._decided(asker, now):
            receipts.append(receipt(decision))
            if not isinstance(decision, Permit):
                view.decisions[patient] = decision
        view.receipts = digest("medchain/decision-receipts/v1", *sorted(receipts))
        for patient, decision in view.decisions.items():
            view.kept[patient] = self._kept_of(self._rows.of_patient(patient), decision)
        if view.decisions and not self._joint.is_begun:
            self._joint.begin(self._upto)
        for patient in view.decisions:
            view.joint[patient] = self._joint_of(patient, view)
        self._see(view, self._upto)
        return view

    def _decided(self, asker: Asker, now: int) -> Iterator[tuple[str, Decision]]:
        """Decide about each patient (keyed token) who has consents."""
        request = self._request(asker, now)
        # To say so breaks no glass: without an emergency that is noted, told and reviewed, it is treatment.
        undeclared = replace(request, purpose=_TREATING) if asker.purpose == BREAKING else request
        own = self._service.patient_token(asker.own) if asker.own else None
        for patient, given in self._given.items():
            directives = [one.directive for one in given.values()]
            if patient == own:
                yield patient, decide_own(self._own_request(asker, now), directives)
            else:
                asked = request if patient in asker.emergencies else undeclared
                yield patient, decide_inside(asked, directives)

    def _own_request(self, asker: Asker, now: int) -> Request:
        """Write that a patient asks, or who acts for it: as a person, whatever it asks for and as what.

        A patient takes part in teams as whom they care for. Who acts for it may also be known here as somebody related
        to it, and nobody can tell as whom.
        """
        is_itself = asker.user == f"Patient/{asker.own}"
        return Request(
            now=now,
            patient=SUBJECT,
            actor=asker.user,
            organization="",
            groups=frozenset() if is_itself else self._found(asker.user, _TEAMS, asker.user),
            action="access",
            custodian="",
            unsure=frozenset() if is_itself else _RELATIVES,
        )

    def _request(self, asker: Asker, now: int) -> Request:
        """Write who asks as the decision wants it; a system does not say for whom it asks, which is not known then."""
        own = f"Organization/{self._organisation}"
        is_person = "/" in asker.user
        return Request(
            now=now,
            patient=SUBJECT,
            actor=asker.user if is_person else None,
            organization=own,
            groups=self._found(asker.user, _TEAMS, asker.user) if is_person else None,
            role=asker.role or None,
            purpose=asker.purpose,
            action="access",
            custodian=own,
            aliases=self._found("", _SELF, f"{ORGANISATION}|{self._organisation}"),
        )

    def _found(self, asker: str, parameters: Mapping[str, str], value: str) -> frozenset[str]:
        """List what has a value in a parameter: care teams and groups of a person, records of this organisation."""
        known = self._groups.get(asker)
        if known is None or known[0] != self._who:
            found = frozenset(
                f"{name}/{one}"
                for name, code in parameters.items()
                for one in self._searches.ids(name, f"{code}={quote(value, safe='')}", _MANY)
            )
            if len(self._groups) >= MAX_VIEWS:
                self._groups.clear()
            known = self._groups[asker] = (self._who, found)
        return known[1]

    def _follow(self, view: _View, fresh: Sequence[Fresh], came: frozenset[str] | None) -> None:
        """Look at the records of which versions came.

        Args:
            view: what is known.
            fresh: the versions, and before them what left a patient by them.
            came: as `JointRecords.take` tells of them.
        """
        names: dict[str, set[Name]] = {}
        for row in fresh:
            if row.patient in view.decisions and row.type != _CONSENT:
                names.setdefault(row.patient, set()).add((row.type, row.id))
        for patient, touched in names.items():
            decision = view.decisions[patient]
            again = touched | self._referring(patient, decision)
            # A Binary is as the record of its security context and those that have it as an attachment, a Provenance
            # as its targets.
            rows = [
                row for row in self._rows.of_patient(patient) if (row.type, row.id) in again or row.type in DEPENDENT
            ]
            kept = self._kept_of(rows, decision)
            view.kept[patient] = {**view.kept[patient], **dict.fromkeys(touched, ()), **kept}
        for patient in view.decisions:
            # What lies in a Bundle is judged by the patient's records as well.
            if patient in names or self._joint.is_named(patient, came):
                view.joint[patient] = self._joint_of(patient, view)
        self._see(view, fresh[-1].seq, is_same=not names and came is None)

    def _referring(self, patient: str, decision: Decision) -> frozenset[Name]:
        """List the records of a patient that may mean another one now by an identifier, if that matters."""
        if isinstance(decision, Deny):
            return frozenset()
        try:
            return self._telling.referring(patient)
        except VerificationError:
            # Which do nobody knows.
            return frozenset((row.type, row.id) for row in self._rows.of_patient(patient))

    def _see(self, view: _View, upto: int, *, is_same: bool = False) -> None:
        """Tell what is kept back of all, which may be what it was."""
        if not view.decisions:
            return
        known = view.sight
        if known is not None and is_same:
            view.sight = replace(known, upto=upto, condition=replace(known.condition, upto=upto))
            return
        joint = self._joint.kept_back(self._gone(view), upto)
        kept = [one for records in (*_of_all(view), joint) for one in records.items() if one[1]]
        hidden = frozenset(chain.from_iterable(numbers for _, numbers in kept))
        owners = frozenset({*view.decisions, self._service.patient_token("")})
        # Who looks at who looked sees all of it.
        names = "" if view.asker.role == Role.AUDITOR else _array({"/".join(name) for name, _ in kept})
        condition = Sighted(_array(hidden), upto, _array(owners), _CONSENT, tuple(sorted(LISTING)), names)
        view.sight = Sight(hidden, upto, owners, condition)

    def _gone(self, view: _View) -> Iterator[Name]:
        """List the records of which records of several patients are and which, as they are now, are kept back."""
        for records in _of_all(view):
            for name in self._joint.among(name for name, kept in records.items() if kept):
                newest = self._store.get(*name)
                # What is stored later than what was looked at is looked at next.
                if newest is None or newest.seq in records[name] or newest.seq > self._upto:
                    yield name

    def _kept_of(self, rows: Sequence[Fresh], decision: Decision) -> _Kept:
        """List what a decision keeps back of each record of a patient, but for the consents."""
        # A consent that denies all would hide itself from those who are to end it.
        records = _by_name(row for row in rows if row.type != _CONSENT)
        if isinstance(decision, Deny):
            return {name: tuple(numbers) for name, numbers in records.items()}
        return {name: _hidden(numbers, decision, partial(self._read, name[0])) for name, numbers in records.items()}

    def _joint_of(self, patient: str, view: _View) -> _Kept:
        """List what a decision about a patient keeps back of what is not that patient's alone, but tells of it."""
        decision, zone = view.decisions[patient], self._zone()
        kept = {name for name, numbers in view.kept[patient].items() if numbers}
        records = _by_name(self._joint.about(patient))
        read = partial(self._joint.facts, patient, kept, zone)
        return {name: _hidden(numbers, decision, read) for name, numbers in records.items()}

    def _read(self, type_name: str, number: int) -> tuple[Resource, ...] | None:
        """Read what decisions ask of a version; None for a deletion. Of what cannot be read, nothing is known."""
        stored = self._store.numbered(number)
        try:
            told = None if stored is None else self._telling.of(stored, self._zone())
        except (NotFoundError, VerificationError):
            told = None
        if told is None:
            return (facts_told(type_name, None, None),)
        return tuple(facts_told(one.type, one.span, one.content, one.meant) for one in told) or None

    def _zone(self) -> tzinfo:
        """Return the zone of dates without one."""
        return self._searches.index.setting.zone


def _of_all(view: _View) -> Iterator[_Kept]:
    """List what is kept back of all patients' records, and of what tells of them."""
    yield from view.kept.values()
    yield from view.joint.values()


def _by_name(rows: Iterable[Fresh]) -> dict[Name, list[int]]:
    """Put versions together that are of one record."""
    records: dict[Name, list[int]] = {}
    for row in rows:
        records.setdefault((row.type, row.id), []).append(row.seq)
    return records


def _hidden(
    numbers: Sequence[int], decision: Decision, read: Callable[[int], Sequence[Resource] | None]
) -> tuple[int, ...]:
    """List which versions of a record a decision keeps back.

    All where it does the newest, since who may not see that would see what it was before; else those that were such
    then. A deletion says nothing itself, and is as what it deletes.

    Args:
        numbers: of the versions, in order.
        decision: what is decided.
        read: reads what it asks of one; None for a deletion.
    """
    found: list[int] = []
    is_shown = False
    for number in numbers:
        facts = read(number)
        is_shown = is_shown if facts is None else all(passes(decision, one) for one in facts)
        if not is_shown:
            found.append(number)
    return tuple(found) if is_shown else tuple(numbers)


def _array(values: Iterable[int] | Iterable[str]) -> str:
    """Write what a search compares with as a JSON array."""
    return orjson.dumps(sorted(values)).decode()
