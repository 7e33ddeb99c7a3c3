"""Consents of the ledger that say what this organisation itself may do with its own patients' records.

A patient denies something to staff of a hospital by a consent whose recipient and custodian that hospital is. Keeps
true: what is told is in force as far as this node has heard, stops included; what has no body here, or a redacted one,
is not told as in force, and what was told before is told as ended only if it has ended. Trusts this node's ledger.
Source: `docs/spec/consent.md` 4, 8, C10.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medchain.encoding import Json
from medchain.errors import InputError
from medchain.ledger.kinds import consent as consents
from medchain.ledger.kinds.content import DAY_S, Period
from medchain.ledger.object import in_force
from medchain.node.clock import Clock
from medchain.node.ledger_node import LedgerNode
from medchain.store.records import RecordStore


@dataclass(frozen=True, slots=True)
class OwnConsent:
    """A consent about this organisation.

    Attributes:
        key: map key, 32 bytes.
        patient: keyed token of the patient.
        fhir: what it says.
        period: when it does.
        is_in_force: whether it counts now.
    """

    key: bytes
    patient: str
    fhir: Mapping[str, Json]
    period: Period
    is_in_force: bool


@dataclass(frozen=True, slots=True)
class OwnConsents:
    """Lists them. Threads may share it.

    Attributes:
        org_id: this organisation.
        side: ledger, bodies and stops of its node.
        records: knows which patient a subject is.
        clock: gives Unix seconds.
    """

    org_id: str
    side: LedgerNode
    records: RecordStore
    clock: Clock

    def listed(self) -> list[OwnConsent]:
        """List all whose bodies are here, of patients who are known here."""
        keys = self.side.shelf.index.consents()
        heads = self.side.replica.store.heads(keys)
        found = [self._told(key) for key in keys if heads[key] is not None]
        return [one for one in found if one is not None]

    def _told(self, key: bytes) -> OwnConsent | None:
        """Tell of one; None for one that is about others."""
        record = self.side.replica.store.record(key)
        body = None
        for version in range(0 if record is None else record.version, 0, -1):
            # The head of one that was withdrawn has the withdrawal's body, or none.
            body = self.side.shelf.at(key, version)
            if body is not None and "fhir" in body.content:
                break
        if record is None or body is None:
            return None
        try:
            content = consents.read(body.content)
        except InputError:
            return None
        if content.recipient != self.org_id or self.org_id not in content.custodians:
            return None
        patient = self.records.patient_of(content.patient)
        if patient is None:
            return None
        counts = in_force(record, self.clock() // DAY_S) and not self.side.stops.is_stopped(key)
        return OwnConsent(key, patient, content.fhir, content.period, counts)
