"""Consents of the ledger about this organisation as Consent records: to be found, and what they deny kept back.

Keeps true: a record is `Consent/KEY` with the map key in hex, a version for each change; it is active as long as the
ledger's consent counts here; nobody but this job writes one. One that has rules and is about this organisation and its
own records alone is kept as its own FHIR Consent says, and what is none denies all until somebody has looked at it; any
other is written from its terms, tagged, and takes nothing from anybody here. Trusts `medchain.node.own_consents`.
Source: `docs/spec/consent.md` C10, C12.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event
from typing import Final, Protocol

import orjson

from consent.resource import IDENTIFIER, RELEASES, written
from consent.vocabulary import ACT_CODE
from fhir_bridge import resources
from fhir_bridge.document import parse
from fhir_bridge.references import instant
from fhir_bridge.validation.check import Mode
from medchain.encoding import Json
from medchain.errors import ConflictError, InputError, MedchainError
from medchain.ledger.kinds.consent import Consent
from medchain.ledger.kinds.content import Period
from medchain.node.clock import Clock
from medchain.node.log import Log
from medchain.node.own_consents import RECORD_TYPE, is_kept
from medchain.node.records import NewRecord, RecordService
from medchain.store.records import RecordStore

PERIOD_S: Final = 0.25
"""How often the ledger is looked at, in seconds; less often where that takes long."""

MANY: Final = 200
"""Most consents that are looked at anew in one round."""

_SHARE: Final = 20
_RULES: Final = frozenset({"policy", "policyRule", "provision"})
_LAST: Final = 253_402_300_799
_LOG: Final = Log("consents")
_OF_RELEASES: Final = [{"system": IDENTIFIER, "code": RELEASES}]
_DENIED: Final[Mapping[str, Json]] = {"resourceType": RECORD_TYPE, "policy": []}
_DENIES_ALL: Final[Mapping[str, object]] = {
    "resourceType": RECORD_TYPE,
    "scope": {"coding": [{"code": "patient-privacy", "system": "http://terminology.hl7.org/CodeSystem/consentscope"}]},
    "category": [{"coding": [{"code": "59284-0", "system": "http://loinc.org"}]}],
    "policyRule": {"coding": [{"code": "OPTOUT", "system": ACT_CODE}]},
}


class Told(Protocol):
    """A consent of the ledger; `medchain.node.own_consents.OwnConsent`."""

    @property
    def key(self) -> bytes:
        """Map key, 32 bytes."""
        ...

    @property
    def patient(self) -> str:
        """Keyed token of the patient; empty for who is not known here."""
        ...

    @property
    def content(self) -> Consent:
        """What it says."""
        ...

    @property
    def version(self) -> int:
        """Version of the object that says so."""
        ...

    @property
    def is_inside(self) -> bool:
        """Whether it is about this organisation and its own records alone."""
        ...

    @property
    def is_in_force(self) -> bool:
        """Whether it counts now."""
        ...


def is_of_releases(record_id: str, consent: object) -> bool:
    """Tell whether a record is of a consent of the ledger that is about releases, and says nothing of who asks here.

    Args:
        record_id: of the record; a client's own Consent is never one, whatever it is tagged with.
        consent: its content.
    """
    meta = consent.get("meta") if isinstance(consent, dict) else None
    tags = meta.get("tag") if isinstance(meta, dict) else None
    return is_kept(RECORD_TYPE, record_id) and tags == _OF_RELEASES


class ConsentRecords:
    """Keeps the records as the ledger has it. One thread calls it; fills a `medchain.node.daemon.Job`."""

    def __init__(
        self, listed: Callable[[], Sequence[Told]], store: RecordStore, service: RecordService, clock: Clock
    ) -> None:
        """Prepare.

        Args:
            listed: lists the ledger's consents about this organisation.
            store: the records file.
            service: stores records.
            clock: gives Unix seconds.
        """
        self._listed = listed
        self._store = store
        self._service = service
        self._clock = clock
        self._known: dict[bytes, tuple[int, bool, str]] = {}

    def run(self, end: Event) -> None:
        """Work until told to stop."""
        while not end.is_set():
            began = time.monotonic()
            try:
                self.round()
            except MedchainError as error:
                # What they deny is denied as soon as they can be stored.
                _LOG.error("consents.waits", error)
            end.wait(max(PERIOD_S, _SHARE * (time.monotonic() - began)))

    def round(self) -> int:
        """Store what has changed; returns how many versions that were."""
        count = 0
        changed = [one for one in self._listed() if self._known.get(one.key) != _state(one)]
        # What may deny comes first, and waits for no long list of others.
        for one in sorted(changed, key=lambda one: not one.is_inside)[:MANY]:
            count += self._keep(one)
            self._known[one.key] = _state(one)
        return count

    def _keep(self, one: Told) -> bool:
        """Store a version of one, unless the newest says the same; of one that ended before it was here, nothing."""
        name = one.key.hex()
        newest = self._store.get(RECORD_TYPE, name)
        if newest is None and not one.is_in_force:
            return False
        number = 1 if newest is None else newest.version + 1
        content = self._written(one, name, number)
        if newest is not None and _said(self._service.open(newest).content) == _said(content):
            return False
        try:
            self._service.create_many([NewRecord(RECORD_TYPE, name, content, "", number, token=one.patient)])
        except ConflictError as error:
            _LOG.warning("consents.again", code=error.code)
            raise
        return True

    def _written(self, one: Told, name: str, number: int) -> bytes:
        """Write a version."""
        patients = self._store.by_patient(one.patient, ("Patient",), limit=1) if one.patient else []
        reference = f"Patient/{patients[0].id}" if patients else ""
        meta: dict[str, object] = {"versionId": str(number), "lastUpdated": instant(self._clock())}
        # One without rules says nothing beyond the ledger's own fields, which are about releases.
        if one.is_inside and not one.content.fhir.keys().isdisjoint(_RULES):
            return self._inside(one, {"id": name, "meta": meta}, reference)
        meta["tag"] = _OF_RELEASES
        made = {**written(one.content, one.key, reference, is_in_force=one.is_in_force), "id": name, "meta": meta}
        try:
            resources.check(parse(orjson.dumps(made)), RECORD_TYPE, Mode.LENIENT)
        except InputError as error:
            _LOG.error("consents.unreadable", error, consent=name)
            terms = replace(one.content, fhir=_DENIED)
            made |= written(terms, one.key, reference, is_in_force=one.is_in_force)
        return orjson.dumps(made)

    def _inside(self, one: Told, named: Mapping[str, object], reference: str) -> bytes:
        """Write what one says about this organisation's own use of its own records."""
        subject = {"patient": {"reference": reference}} if reference else {}
        status = {} if one.is_in_force else {"status": "inactive"}
        made = {"resourceType": RECORD_TYPE, **one.content.fhir, **named, **subject, **status}
        made["provision"] = _within(made, one.content.period)
        try:
            resources.check(parse(orjson.dumps(made)), RECORD_TYPE, Mode.LENIENT)
        except InputError as error:
            _LOG.error("consents.unreadable", error, consent=one.key.hex())
            made = {**_DENIES_ALL, **named, "status": "active", **subject, **status}
        return orjson.dumps(made)


def _state(one: Told) -> tuple[int, bool, str]:
    """Name what a record says of a consent: another version, its end, or who it is about."""
    return one.version, one.is_in_force, one.patient


def _within(consent: Mapping[str, object], period: Period) -> object:
    """Write a consent's provision with the period of the ledger's, where it has none itself."""
    provision = consent.get("provision", {})
    if not isinstance(provision, dict) or "period" in provision:
        return provision
    ends = {"start": period.start, "end": period.end}
    written = {
        name: datetime.fromtimestamp(seconds, UTC).isoformat()
        for name, seconds in ends.items()
        if seconds is not None and seconds <= _LAST
    }
    return {**provision, "period": written}


def _said(content: bytes) -> dict[str, object]:
    """Return what a version says, but for which one it is."""
    found: dict[str, object] = orjson.loads(content) if content else {}
    return {name: value for name, value in found.items() if name != "meta"}
