"""Consents of the ledger to which this organisation is a party.

A patient denies something to staff of a hospital by a consent whose recipient and custodian that hospital is; others
say what a custodian may release, or a recipient be given. Keeps true: who is no party is told of none, whatever bodies
it holds as an endorser; what is told is in force as far as this node has heard, stops included; what has no body here,
or a redacted one, is not told as in force, and what was told before is told as ended only if it has ended. Trusts this
node's ledger.
Source: `docs/spec/consent.md` 4, 8, C10, C12.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from medchain.errors import InputError
from medchain.ledger.kinds import consent as consents
from medchain.ledger.kinds.consent import Consent
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.object import StateRecord, in_force
from medchain.node.clock import Clock
from medchain.node.ending import Ending
from medchain.node.ledger_node import LedgerNode
from medchain.node.release_ports import ConsentInForce
from medchain.store.records import RecordStore

RECORD_TYPE: Final = "Consent"
"""Type of the records as which they are kept."""

_KEY: Final = re.compile(r"[0-9a-f]{64}")
_OF_OTHERS: Final = frozenset({Ending.ATTESTED, Ending.ORGANISATION, Ending.SUPERSEDED})


def is_kept(type_name: str, record_id: str) -> bool:
    """Tell whether a name is one of a consent of the ledger, which no client writes and nobody else is released."""
    return type_name == RECORD_TYPE and _KEY.fullmatch(record_id) is not None


@dataclass(frozen=True, slots=True)
class OwnConsent:
    """A consent to which this organisation is a party.

    Attributes:
        key: map key, 32 bytes.
        patient: keyed token of the patient; empty for who is not known here, as most are to a recipient.
        content: of its body.
        version: of that body.
        is_inside: whether it is about this organisation and its own records alone.
        is_in_force: whether it counts now.
    """

    key: bytes
    patient: str
    content: Consent
    version: int
    is_inside: bool
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
        """List all whose bodies are here; those about this organisation alone, of patients who are known here."""
        keys = self.side.shelf.index.consents()
        heads = self.side.replica.store.heads(keys)
        found = [self._told(key) for key in keys if heads[key] is not None]
        return [one for one in found if one is not None]

    def inside(self, patient: str) -> list[ConsentInForce]:
        """List those in force of one patient (keyed token) that are about this organisation alone."""
        keys = {key for subject in self.records.subjects_of(patient) for key in self.side.shelf.index.of(subject)}
        found = [one for key in sorted(keys) if (one := self._told(key)) is not None]
        return [
            ConsentInForce(one.key, one.version, one.content.to_content())
            for one in found
            if one.is_inside and one.is_in_force and one.patient == patient
        ]

    def _told(self, key: bytes) -> OwnConsent | None:
        """Tell of one; None for one that is between others."""
        record = self.side.replica.store.record(key)
        body, body_version = None, 0
        for version in range(0 if record is None else record.version, 0, -1):
            # The head of one that was withdrawn has the withdrawal's body, or none.
            body, body_version = self.side.shelf.at(key, version), version
            if body is not None and "fhir" in body.content:
                break
        if record is None or body is None:
            return None
        try:
            content = consents.read(body.content)
        except InputError:
            return None
        is_custodian, is_recipient = self.org_id in content.custodians, content.recipient == self.org_id
        if not (is_custodian or is_recipient):
            return None
        patient, is_inside = self.records.patient_of(content.patient) or "", is_custodian and is_recipient
        if is_inside and not patient:
            return None
        counts = self._is_in_force(record) or (is_inside and self._denies_still(key, content))
        return OwnConsent(key, patient, content, body_version, is_inside, counts)

    def _is_in_force(self, record: StateRecord) -> bool:
        """Tell whether an object counts; any stop ends it."""
        return in_force(record, self.clock() // DAY_S) and not self.side.stops.is_stopped(record.key)

    def _denies_still(self, key: bytes, content: Consent) -> bool:
        """Tell whether what ended counts nevertheless: who endorsed a denial could stop it, and open what it denies."""
        ended, end = self.side.stops.ending(key), content.period.end
        is_over = end is not None and end < self.clock()
        return ended is not None and ended.how in _OF_OTHERS and ended.by != self.org_id and not is_over
