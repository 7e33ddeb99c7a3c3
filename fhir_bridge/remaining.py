"""What tells of a patient and no erasure of that patient destroys: records that others, or nobody, have the key of.

Keeps true: each record is told that the index finds by a reference to the patient, by one of the patient's business
identifiers in the place of a reference, or as the Provenance of one of the patient's records, and each stored Bundle in
which a record may be about the patient, where one of its versions can be opened once the patient's keys are gone.
AuditEvents are not told of, which outlive an erasure; a text is not looked into. Trusts the index.
Source: `docs/spec/keys.md` 10; FHIR R4 §2.3.0.2 (logical references); `docs/spec/consent.md` C15.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote

from fhir_bridge.bundled import NOBODY, Name, Whom, lying_in, whom_of
from fhir_bridge.bundled import TYPE as BUNDLE
from fhir_bridge.definitions.elements import type_names
from fhir_bridge.document import Resource, parse
from fhir_bridge.references import escaped, identifiers
from fhir_bridge.search.conditions import is_reference
from fhir_bridge.search.indexer import VARIANTS
from fhir_bridge.search.service import SearchService
from medchain.errors import NotFoundError, VerificationError
from medchain.node.records import RecordService
from medchain.node.telling import said
from medchain.store.consents import ConsentRows
from medchain.store.indexing import FoundRow
from medchain.store.records import NO_RESOURCES, RecordStore, RecordVersion

MAX_TOLD: Final = 1_000
"""Most records that are told of, by each way in which they are found."""

_PATIENT: Final = "Patient"
_AUDIT: Final = "AuditEvent"
_AT_ONCE: Final = 50


def remaining(searches: SearchService, store: RecordStore, service: RecordService, patient: str) -> list[str]:
    """List what an erasure of a patient leaves.

    Args:
        searches: finds records.
        store: the records file.
        service: opens the patient's record, for its identifiers.
        patient: local id of the patient, not erased yet.

    Returns:
        ``Type/id``, sorted.

    Raises:
        UnavailableError: ``search.indexing`` while older records are being indexed.
    """
    token, resource = service.patient_token(patient), _resource(service, patient)
    own = [*_names(store, token)]
    found = {(row.type, row.id) for row in _found(searches, store, f"{_PATIENT}/{patient}", resource, own)}
    told = {name for name in found if any(_left(store, service, name, token))}
    whom, names = whom_of(token, resource), frozenset(own)
    for name in _bundles(store):
        if any(_tells(content, service, whom, names) for content in _left(store, service, name, token)):
            told.add(name)
    return sorted("/".join(name) for name in told)


def _found(
    searches: SearchService, store: RecordStore, place: str, resource: Resource, own: Sequence[Name]
) -> Iterator[FoundRow]:
    """Find what may tell of the patient, or of the patient's records, but for what lies in stored Bundles."""
    index = searches.index
    index.refresh()
    numbers = {
        index.number(type_name, code) * VARIANTS: (type_name, code)
        for type_name in sorted({*type_names("resource")} - {_AUDIT})
        for code, definition in index.registry(type_name).items()
        if is_reference(definition)
    }
    for number in store.referring_parameters([place], list(numbers)):
        type_name, code = numbers[number]
        yield from searches.rows(type_name, f"{code}={quote(place, safe='')}", MAX_TOLD)
    named = quote(",".join(_named(resource)), safe="")
    if named:
        for type_name, code in numbers.values():
            # Of what says no more than an identifier, nobody knows the type: a parameter for patients alone has no row.
            if _PATIENT in index.registry(type_name)[code].target:
                yield from searches.rows(type_name, f"{code}:identifier={named}", MAX_TOLD)
    for first in range(0, len(own), _AT_ONCE):
        targets = quote(",".join("/".join(name) for name in own[first : first + _AT_ONCE]), safe="")
        yield from searches.rows("Provenance", f"target={targets}", MAX_TOLD)


def _names(store: RecordStore, token: str) -> Iterator[Name]:
    """Name the patient's records."""
    after = 0
    while page := store.by_patient(token, after=after):
        after = page[-1].seq
        yield from ((row.type, row.id) for row in page if row.type not in NO_RESOURCES)


def _resource(service: RecordService, patient: str) -> Resource:
    """Read the patient's record; an empty one where there is none.

    Raises:
        VerificationError: as `RecordService.read`.
    """
    try:
        return parse(service.read(_PATIENT, patient).content)
    except NotFoundError:
        return {}


def _named(resource: Resource) -> list[str]:
    """Write the patient's business identifiers as a search asks for them."""
    found = identifiers(_PATIENT, resource)
    return [f"{escaped(one.system)}|{escaped(one.value)}" for one in found if one.system]


def _bundles(store: RecordStore) -> set[Name]:
    """Name the stored Bundles."""
    rows = ConsentRows(store.database)
    return {(row.type, row.id) for row in rows.of_type(BUNDLE, rows.newest())}


def _tells(bundle: bytes, service: RecordService, whom: Whom, own: frozenset[Name]) -> bool:
    """Tell whether what lies in a Bundle may be about a patient, or be or tell of one of the patient's records."""
    return any(
        one.about.may_be(whom) or (one.about == NOBODY and not own.isdisjoint(one.names))
        for one in lying_in(parse(bundle), service.patient_token)
    )


def _left(store: RecordStore, service: RecordService, name: Name, token: str) -> Iterator[bytes]:
    """Open the versions of a record, but for deletions, that can be opened without the keys of the patient."""
    for row in store.history(*name):
        if _keeper(store, row) == token:
            continue
        try:
            content = said(service, row)
        except (NotFoundError, VerificationError):
            continue
        if content:
            yield content


def _keeper(store: RecordStore, row: RecordVersion) -> str:
    """Return the keyed token of the patient whose key seals a version; empty where that is unknown."""
    key = store.epoch(row.epoch_id)
    return "" if key is None else key.patient
