"""Security labels in ``meta.security`` of what is stored: those that its codes ask for, and those that it had.

They are set when a version is made, as id and version are, so that they are committed to, indexed, answered and
released like the rest of it. Keeps true: a version that is written has all labels of the one before; a sensitivity or a
confidentiality goes only where a person takes it back by name, which stays written beside what is left, so that the
same codes do not bring it again. Trusts whoever calls for having asked who it is, and `consent.labels` for what follows
from codes.
Source: `docs/spec/labels.md`; HL7 DS4P 1.0 (extension-sec-label-basis); FHIR R4 §2.26.3.5 (labels over updates).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from consent.decision import coding_key
from consent.labels import CARRIED, MINOR, PRIVATE_OF_MINORS, Because, LabelSet, labelled, lowered, read_set
from consent.vocabulary import ACT_CODE, CONFIDENTIALITY, LEVELS, NORMAL, SENSITIVITIES
from fhir_bridge.bundle_births import Births
from fhir_bridge.bundled import TYPE as BUNDLE
from fhir_bridge.bundled import Lying, lying_in
from fhir_bridge.document import Element, Resource, member, parse
from fhir_bridge.references import patient_of
from medchain.errors import InputError, NotFoundError
from medchain.ledger.events import ELEMENTS
from medchain.node.keystore import Layout
from medchain.node.records import RecordService
from medchain.node.telling import said
from medchain.store.records import RecordStore

BASIS: Final = "http://hl7.org/fhir/uv/security-label-ds4p/StructureDefinition/extension-sec-label-basis"
"""Extension of a label that names the set by which it was added."""

SET: Final = "urn:medchain:label-set"
"""Code system of the names of label sets."""

TAKEN_BACK: Final = "urn:medchain:label-taken-back"
"""Extension of a resource's meta: a label that a person has taken back."""

_RESTRICTED: Final = "R"
_KEPT_CODES: Final = 20_000
_META: Final = "meta"
_NOBODY: Final[Mapping[str, str]] = {}
_DATE_CHARS: Final = 10
_YEAR_CHARS: Final = 4


class Label(NamedTuple):
    """A security label: code system, empty for none, and code."""

    system: str
    code: str


class Labeller:
    """Sets the labels of what is stored. Threads share it."""

    __slots__ = ("_known", "_majority_years", "_service", "_sets", "_store")

    def __init__(
        self, sets: Sequence[LabelSet], service: RecordService, store: RecordStore, majority_years: Callable[[], int]
    ) -> None:
        """Prepare.

        Args:
            sets: code sets; all count.
            service: opens what is stored.
            store: the records file.
            majority_years: tells from which age on nobody is a minor.
        """
        self._majority_years = majority_years
        self._sets = tuple(sets)
        self._service = service
        self._store = store
        systems = {system for one in sets for system in (*one.ranges, *(key.rpartition("|")[0] for key in one.codes))}
        self._known: dict[str, dict[str, bool]] = {system: {} for system in systems}

    def newest(self, type_name: str, record_id: str) -> Resource | None:
        """Open what is told of the newest version of a record; None for none, a deletion and what was erased."""
        stored = self._store.get(type_name, record_id)
        if stored is None:
            return None
        try:
            content = said(self._service, stored)
        except NotFoundError:
            return None
        return parse(content) if content else None

    def labelled(
        self,
        resource: Resource,
        before: Resource | None,
        *,
        taken: Iterable[Label] = (),
        births: Mapping[str, str] = _NOBODY,
    ) -> Resource:
        """Set the labels of a version that is about to be stored.

        Args:
            resource: the version, with type, id and meta; it is not changed.
            before: the version before it, from `newest`; None for none.
            taken: labels that a person takes back.
            births: birth dates of patients that are stored together with it, by id.

        Returns:
            The resource with its labels; the same one where nothing is to be set.
        """
        codes, about = [*self._sensitive(resource)], resource.get(_META, {})
        lying = lying_in(resource, str) if resource.get("resourceType") == BUNDLE else ()
        told = [*_told_in(lying)]
        if not isinstance(about, dict) or not _is_readable(about):
            # What is no meta, validation refuses.
            return resource
        if before is None and not codes and not told and "extension" not in about:
            return resource
        gone = {*taken}
        rows = _rows(about, "security")
        given = {label_of(row) for row in rows}
        rows += [row for row in _rows(_about(before), "security") if label_of(row) not in given | gone]
        marks = (_marks(before) | {one for one in gone if _guards(one)}) - {label_of(row) for row in rows}
        # What a person took back from the whole, what lies in it does not bring again.
        rows += _added_to({label_of(row) for row in rows} | marks, told)
        present = frozenset(label.code for label in map(label_of, rows))
        back = frozenset(label.code for label in marks)
        found = labelled(codes, present, self._sets, taken_back=back)
        if MINOR not in found.labels | back and any(found.labels & SENSITIVITIES[one] for one in PRIVATE_OF_MINORS):
            is_minor = self._is_of_minors(resource, lying, births) if lying else self._is_minor(resource, births)
            found = labelled(codes, present, self._sets, taken_back=back, is_minor=is_minor)
        rows = [*_kept(rows, found.labels), *_added(found.labels - present, found.because)]
        return _with_labels(resource, about, rows, marks)

    def _sensitive(self, resource: Resource) -> Iterator[str]:
        """List the codings that some set calls sensitive, wherever they stand."""
        known, waiting = self._known, [resource[name] for name in resource if name not in (_META, "text")]
        while waiting:
            one = waiting.pop()
            if one.__class__ is dict:
                system = one.get("system")
                if system.__class__ is str and system in known:
                    code = one.get("code")
                    if code.__class__ is str and self._is_sensitive(system, code):
                        yield coding_key(system, code)
                waiting += [value for value in one.values() if value.__class__ is dict or value.__class__ is list]
            elif one.__class__ is list:
                waiting += one

    def _is_sensitive(self, system: str, code: str) -> bool:
        """Tell whether some set has a code, and remember it."""
        known = self._known[system]
        found = known.get(code)
        if found is None:
            if len(known) >= _KEPT_CODES:
                known.clear()
            coding = coding_key(system, code)
            found = known[code] = any(one.sensitivities(coding) for one in self._sets)
        return found

    def _is_minor(self, resource: Resource, births: Mapping[str, str]) -> bool:
        """Tell whether the patient was a minor when what a resource tells of happened, or is, where it does not say."""
        type_name, record_id = str(resource.get("resourceType")), str(resource.get("id"))
        patient = patient_of(type_name, record_id, resource)
        born = (births.get(patient) or self._born(patient)) if patient else ""
        return self._was_minor(born, resource, resource)

    def _is_of_minors(self, bundle: Resource, lying: Sequence[Lying], births: Mapping[str, str]) -> bool:
        """Tell whether what lies in a Bundle may be about somebody who was a minor then."""
        known = Births(lying, cache(lambda patient: births.get(patient) or self._born(patient)))
        return any(self._was_minor(known.of(one), one.record, bundle) for one in lying)

    def _was_minor(self, born: str, record: Resource, stored: Resource) -> bool:
        """Tell whether somebody was a minor when what a record tells of happened, or it was stored with something."""
        moment = _happened(str(record.get("resourceType")), record) or member(_about(stored), "lastUpdated")
        return bool(born) and _is_before_majority(born, self._majority_years(), moment)

    def _born(self, patient: str) -> str:
        """Tell the birth date of a patient of this node; empty where it is not known."""
        return member(self.newest("Patient", patient) or {}, "birthDate")


def label_sets(folder: Path) -> tuple[LabelSet, ...]:
    """Read the label sets of a node: the one that is carried, and those that were loaded.

    Args:
        folder: the node's.

    Raises:
        InputError: as `consent.labels.read_set`, for a file that somebody has changed.
    """
    place = Layout(folder).labels
    loaded = sorted(place.glob("*.json")) if place.is_dir() else []
    return (CARRIED, *(load_set(path.read_bytes()) for path in loaded))


def load_set(content: bytes) -> LabelSet:
    """Read a label set that somebody loads; raises `InputError` as `consent.labels.read_set`, ``labels.json``."""
    try:
        return read_set(orjson.loads(content))
    except orjson.JSONDecodeError as error:
        raise InputError("labels.json") from error


def losses(before: Resource, taken: Iterable[Label]) -> frozenset[str]:
    """Name the labels without which a resource is less guarded, see `consent.labels.lowered`.

    Args:
        before: as it is.
        taken: what is to be taken from it.
    """
    had = {label_of(row) for row in _rows(_about(before), "security")}
    return lowered(frozenset(one.code for one in had), frozenset(one.code for one in had - {*taken}))


def _guards(label: Label) -> bool:
    """Tell whether a label is a sensitivity or a confidentiality."""
    return label.code in SENSITIVITIES or label.code in LEVELS


def _told_in(lying: Iterable[Lying]) -> Iterator[Element]:
    """List the labels that guard what lies in a Bundle, and that what is sensitive is restricted."""
    for one in lying:
        for row in _rows(_about(one.record), "security"):
            label = label_of(row)
            if label.code in SENSITIVITIES:
                yield row
                yield {"system": CONFIDENTIALITY, "code": _RESTRICTED}
            elif LEVELS.get(label.code, NORMAL) > NORMAL:
                yield row


def _added_to(known: Collection[Label], rows: Iterable[Element]) -> list[Element]:
    """Choose the rows whose labels are not known, each once."""
    return [*{label_of(row): row for row in rows if label_of(row) not in known}.values()]


def _kept(rows: Sequence[Element], labels: frozenset[str]) -> Iterator[Element]:
    """Leave out what a higher confidentiality covers."""
    for row in rows:
        label = label_of(row)
        if label.system != CONFIDENTIALITY or label.code not in LEVELS or label.code in labels:
            yield row


def _added(labels: frozenset[str], because: Sequence[Because]) -> Iterator[Element]:
    """Write labels that were added, each with the sets by which it was."""
    sets = {(row.set_id, row.set_version): None for row in because}
    for label in sorted(labels):
        own = {(row.set_id, row.set_version): None for row in because if row.label == label} or sets
        basis: list[Element] = [
            {"url": BASIS, "valueCoding": {"system": SET, "version": version, "code": name}} for name, version in own
        ]
        yield {"extension": basis, "system": CONFIDENTIALITY if label in LEVELS else ACT_CODE, "code": label}


def _with_labels(resource: Resource, about: Resource, rows: Sequence[Element], marks: set[Label]) -> Resource:
    """Put labels into a resource's meta, and what was taken back: that nobody else says."""
    kept = [row for row in _rows(about, "extension") if not (isinstance(row, dict) and row.get("url") == TAKEN_BACK)]
    marked: list[Element] = [
        {"url": TAKEN_BACK, "valueCoding": {"system": one.system, "code": one.code}} for one in sorted(marks)
    ]
    meta = {name: value for name, value in about.items() if name not in ("extension", "security")}
    if kept or marked:
        meta = {"extension": [*kept, *marked], **meta}
    if rows:
        meta["security"] = [*rows]
    if meta == about:
        return resource
    return {**resource, _META: meta}


def _about(resource: Resource | None) -> Resource:
    """Return a resource's meta; an empty one for none."""
    about = None if resource is None else resource.get(_META)
    return about if isinstance(about, dict) else {}


def _is_readable(about: Resource) -> bool:
    """Tell whether what labels are in has the shape that it must have."""
    return all(isinstance(about.get(name, []), list) for name in ("extension", "security"))


def _rows(about: Resource, name: str) -> list[Element]:
    """Copy a list of a meta."""
    rows = about.get(name)
    return [*rows] if isinstance(rows, list) else []


def label_of(row: Element) -> Label:
    """Read a label of ``meta.security``."""
    found = row if isinstance(row, dict) else {}
    system, code = found.get("system"), found.get("code")
    return Label(system if isinstance(system, str) else "", code if isinstance(code, str) else "")


def _marks(resource: Resource | None) -> set[Label]:
    """List what was taken back."""
    rows = _rows(_about(resource), "extension")
    return {label_of(row.get("valueCoding")) for row in rows if isinstance(row, dict) and row.get("url") == TAKEN_BACK}


def _happened(type_name: str, resource: Resource) -> str:
    """Return the first date of what a resource tells of, as it is written; empty for none."""
    value = next((resource[name] for name in ELEMENTS.get(type_name, ()) if name in resource), None)
    found = value.get("start") if isinstance(value, dict) else value
    return found if isinstance(found, str) else ""


def _is_before_majority(born: str, years: int, moment: str) -> bool:
    """Tell whether who was born on a date was a minor at a moment, both as FHIR writes them; who may have been, was."""
    year = born[:_YEAR_CHARS]
    if not (moment and len(year) == _YEAR_CHARS and year.isascii() and year.isdigit()):
        return False
    majority = f"{int(year) + years:04d}{born[_YEAR_CHARS:]}"
    told = min(len(majority), len(moment), _DATE_CHARS)
    return moment[:told] < majority[:told] or (told < _DATE_CHARS and moment[:told] == majority[:told])
