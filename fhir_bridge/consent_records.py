"""Consents of the ledger about this organisation as Consent records, so that what they deny is kept back as any other.

Keeps true: a record is `Consent/KEY` with the map key in hex, a version for each change; it is active as long as the
ledger's consent counts here; nobody but this job writes one; what is no FHIR Consent denies all until somebody has
looked at it. Trusts `medchain.node.own_consents`.
Source: `docs/spec/consent.md` C10.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from threading import Event
from typing import Final, Protocol

import orjson

from consent.vocabulary import ACT_CODE
from fhir_bridge import resources
from fhir_bridge.document import parse
from fhir_bridge.references import instant
from fhir_bridge.validation.check import Mode
from medchain.errors import ConflictError, InputError, MedchainError
from medchain.ledger.kinds.content import Period
from medchain.node.clock import Clock
from medchain.node.log import Log
from medchain.node.records import NewRecord, RecordService
from medchain.store.records import RecordStore

TYPE: Final = "Consent"
"""Type of the records."""

PERIOD_S: Final = 0.25
"""How often the ledger is looked at, in seconds; less often where that takes long."""

_SHARE: Final = 20
_RULES: Final = frozenset({"policy", "policyRule", "provision"})
_LAST: Final = 253_402_300_799
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_LOG: Final = Log("consents")
_DENIES_ALL: Final[Mapping[str, object]] = {
    "resourceType": TYPE,
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
        """Keyed token of the patient."""
        ...

    @property
    def fhir(self) -> Mapping[str, object]:
        """What it says."""
        ...

    @property
    def period(self) -> Period:
        """When it does."""
        ...

    @property
    def is_in_force(self) -> bool:
        """Whether it counts now."""
        ...


def is_kept(type_name: str, record_id: str) -> bool:
    """Tell whether a name is one of a consent of the ledger, which no client writes."""
    return type_name == TYPE and _KEY.fullmatch(record_id) is not None


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
        self._known: dict[bytes, bool] = {}

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
        for one in self._listed():
            # One without rules says nothing beyond the ledger's own fields, which are about releases.
            if not one.fhir.keys().isdisjoint(_RULES) and self._known.get(one.key) is not one.is_in_force:
                count += self._keep(one)
                self._known[one.key] = one.is_in_force
        return count

    def _keep(self, one: Told) -> bool:
        """Store a version of one, unless the newest says the same; of one that ended before it was here, nothing."""
        name = one.key.hex()
        newest = self._store.get(TYPE, name)
        if newest is None and not one.is_in_force:
            return False
        number = 1 if newest is None else newest.version + 1
        content = self._written(one, name, number)
        if newest is not None and _said(self._service.open(newest).content) == _said(content):
            return False
        try:
            self._service.create_many([NewRecord(TYPE, name, content, "", number, token=one.patient)])
        except ConflictError as error:
            _LOG.warning("consents.again", code=error.code)
            raise
        return True

    def _written(self, one: Told, name: str, number: int) -> bytes:
        """Write a version."""
        patients = self._store.by_patient(one.patient, ("Patient",), limit=1)
        subject = {"patient": {"reference": f"Patient/{patients[0].id}"}} if patients else {}
        status = {} if one.is_in_force else {"status": "inactive"}
        meta = {"versionId": str(number), "lastUpdated": instant(self._clock())}
        made = {**one.fhir, "id": name, "meta": meta, **subject, **status}
        made = {"resourceType": TYPE, "id": name, "meta": meta, **made, "provision": _within(made, one.period)}
        try:
            resources.check(parse(orjson.dumps(made)), TYPE, Mode.LENIENT)
        except InputError as error:
            _LOG.error("consents.unreadable", error, consent=name)
            made = {**_DENIES_ALL, "id": name, "meta": meta, "status": "active", **subject, **status}
        return orjson.dumps(made)


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
