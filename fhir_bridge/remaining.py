"""What tells of a patient and no erasure of that patient destroys: records that others, or nobody, have the key of.

Keeps true: each record is told that the index finds by a reference to the patient, by one of the patient's business
identifiers in the place of a reference, or as the Provenance of one of the patient's records, where one of its versions
can be opened once the patient's keys are gone. AuditEvents are not told of, which outlive an erasure; what a stored
Bundle or a text holds is not looked into. Trusts the index.
Source: `docs/spec/keys.md` 10; FHIR R4 §2.3.0.2 (logical references).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from fhir_bridge.definitions.elements import type_names
from fhir_bridge.document import parse
from fhir_bridge.references import escaped, identifiers
from fhir_bridge.search.conditions import is_reference
from fhir_bridge.search.indexer import VARIANTS
from fhir_bridge.search.service import SearchService
from medchain.errors import NotFoundError
from medchain.node.records import RecordService
from medchain.store.indexing import FoundRow
from medchain.store.records import NO_RESOURCES, RecordStore

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
    token = service.patient_token(patient)
    told = {(row.type, row.id) for row in _found(searches, store, service, patient)}
    return sorted(f"{name}/{record_id}" for name, record_id in told if _is_left(store, name, record_id, token))


def _found(searches: SearchService, store: RecordStore, service: RecordService, patient: str) -> Iterator[FoundRow]:
    """Find what may tell of the patient."""
    index, place = searches.index, f"{_PATIENT}/{patient}"
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
    named = quote(",".join(_named(service, patient)), safe="")
    if named:
        for type_name, code in numbers.values():
            # Of what says no more than an identifier, nobody knows the type: a parameter for patients alone has no row.
            if _PATIENT in index.registry(type_name)[code].target:
                yield from searches.rows(type_name, f"{code}:identifier={named}", MAX_TOLD)
    after = 0
    while page := store.by_patient(service.patient_token(patient), after=after, limit=_AT_ONCE):
        after = page[-1].seq
        targets = quote(",".join(f"{row.type}/{row.id}" for row in page if row.type not in NO_RESOURCES), safe="")
        if targets:
            yield from searches.rows("Provenance", f"target={targets}", MAX_TOLD)


def _named(service: RecordService, patient: str) -> list[str]:
    """Write the patient's business identifiers as a search asks for them; none where there is no record of the patient.

    Raises:
        VerificationError: as `RecordService.read`.
    """
    try:
        resource = parse(service.read(_PATIENT, patient).content)
    except NotFoundError:
        return []
    found = identifiers(_PATIENT, resource)
    return [f"{escaped(one.system)}|{escaped(one.value)}" for one in found if one.system]


def _is_left(store: RecordStore, type_name: str, record_id: str, token: str) -> bool:
    """Tell whether a version of a record can be opened without the keys of the patient."""
    others = {row.epoch_id for row in store.history(type_name, record_id) if row.patient != token}
    keys = (store.epoch(name) for name in others)
    return any(key is not None and key.wrapped_key is not None for key in keys)
