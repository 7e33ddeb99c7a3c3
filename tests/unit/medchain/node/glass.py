"""A clinician of one hospital and a patient of another one, on the whole nodes of `desks.py`."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from itertools import count

from medchain.crypto.es384 import Es384Signer
from medchain.encoding import parse_canonical
from medchain.ledger.emergency_request import EmergencyRequest, given_id
from medchain.ledger.object import map_key
from medchain.ledger.signed_request import SignedRequest, parse_request, sign_request
from medchain.node.emergency import EMERGENCY, EmergencyDesk, Noted
from medchain.node.records import NewRecord, RecordService
from tests.unit.medchain.ledger.world import fresh, genesis, seed
from tests.unit.medchain.node.desks import Desks, selecting
from tests.unit.medchain.node.exchanges import scan_of
from tests.unit.medchain.node.federation import RENHE, TONGJI, Site, key

_NUMBERS = count(1)
SYSTEM = "urn:mrn"
REASON = "unconscious, no history"


@dataclass
class Glass:
    """Tongji's clinician asks Renhe."""

    desks: Desks
    local: str = field(default_factory=lambda: f"glass-{next(_NUMBERS)}")
    staff: str = field(default_factory=lambda: f"Practitioner/e{next(_NUMBERS)}")

    def site(self, org_id: str = RENHE):
        return self.desks.federation.sites[org_id]

    @property
    def identifier(self) -> str:
        return f"{SYSTEM}|{self.local}"

    @property
    def token(self) -> str:
        return self.site().service.patient_token(self.local)

    def store(self, *more: dict) -> None:
        """Store the patient and records at Renhe, found by a search, final everywhere."""
        patient = {"resourceType": "Patient", "id": self.local, "identifier": [{"system": SYSTEM, "value": self.local}]}
        rows = [patient, self.observation(1), self.observation(2), *more]
        for one in rows:
            made = NewRecord(one["resourceType"], one["id"], json.dumps(one).encode(), self.local)
            self._indexing().create(made)
        self.anchor()

    def scan(self, about: str, media_type: str) -> None:
        """Store a Binary with a record of Renhe's as its security context, final everywhere."""
        self._indexing().create_stream(scan_of(about, media_type, self.token), [b"scan"])
        self.anchor()

    def _indexing(self) -> RecordService:
        """Store as a worker does."""
        site, clock = self.site(), self.desks.federation.clock
        indexed = selecting(site, clock).emergencies._searches.index  # noqa: SLF001  # as a worker
        return RecordService(site.records, genesis().ledger, seed(RENHE, "records"), clock, index=indexed)

    def anchor(self) -> None:
        """Bring what was stored to the ledger, and wait until it is final everywhere."""
        for _ in range(5000):
            self.site().node.anchor.round()
            if not self.site().records.pending(1, kind="anchor"):
                break
            time.sleep(0.01)
        size = self.site().ledger.final().size
        for site in self.desks.federation.sites.values():
            assert site.ledger.until(lambda site=site: is_final(site, size), 60)

    def observation(self, number: int, **more: object) -> dict:
        return {
            "resourceType": "Observation",
            "id": f"{self.local}-o{number}",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "718-7"}]},
            "subject": {"reference": f"Patient/{self.local}"},
            **more,
        }

    def desk(self, org_id: str = TONGJI) -> EmergencyDesk:
        site = self.site(org_id)
        return EmergencyDesk(org_id, site.records, site.service, self.desks.federation.clock, fresh)

    def declare(self, org_id: str = TONGJI, **changes: str) -> Noted:
        given = {"custodian": RENHE, "identifier": self.identifier, "staff": self.staff, "reason": REASON} | changes
        return self.desk(org_id).declare_elsewhere(**given)

    def ask(self, declared: Noted, *types: str, org_id: str = TONGJI, **changes: object) -> dict:
        """Ask as a worker does; returns what the daemon answers."""
        asked = {
            "after": 0,
            "count": 1000,
            "declaration": declared.object_id.hex(),
            "patient": "",
            "query": "",
            "resource_types": sorted(types) or ["*"],
            "staff": declared.staff,
        }
        return self.desks.local(org_id).call("exchange.emergency", asked | changes)

    def request(self, noted: Noted, org_id: str = TONGJI, **changes: object) -> SignedRequest[EmergencyRequest]:
        """Sign a request as an organisation's daemon does, or as one that lies."""
        made = EmergencyRequest(
            ledger=genesis().ledger,
            custodian=RENHE,
            recipient=org_id,
            declaration=noted.object_id,
            declared=noted.time,
            identifier=noted.identifier,
            staff=noted.staff,
            reason=noted.reason,
            resource_types=("*",),
            after=0,
            encryption_key=key(org_id, "encryption").id,
            nonce=fresh(16),
            time=self.desks.federation.time,
        )
        return sign_request(Es384Signer(seed(org_id, "authentication", 1)), replace(made, **changes))

    def send(self, signed: SignedRequest[EmergencyRequest], peer: str = TONGJI) -> bytes:
        return self.desks.nodes[RENHE].emergency(signed.encode(), peer)

    def settle(self, *org_ids: str) -> None:
        """Bring what was declared and given to the ledger."""
        for org_id in org_ids or (TONGJI, RENHE):
            while self.desks.nodes[org_id].emergencies.round():
                self.desks.federation.wait()

    def noted(self) -> list[dict]:
        """Return what Renhe noted of the patient's emergencies."""
        rows = self.site().records.accesses(self.token, direction=EMERGENCY)
        return [parse_canonical(row.detail, max_bytes=4096) for row in rows]

    def refusals(self) -> list[str]:
        """Return why Renhe refused, whomever it was about."""
        return [str(row["reason"]) for row in self.refused()]

    def refused(self) -> list[dict]:
        """Return what Renhe noted of what it refused, whomever it was about."""
        rows = [*self.site().records.accesses(""), *self.site().records.accesses(self.token)]
        return [parse_canonical(row.detail, max_bytes=4096) for row in rows if row.direction == "refused"]

    def told(self, org_id: str, found: bytes) -> dict | None:
        rows = self.desks.local(org_id).call("emergency.list", {})["emergencies"]
        return next((row for row in rows if row["key"] == found.hex()), None)

    def everywhere(self, found: bytes, version: int = 1) -> None:
        for site in self.desks.federation.sites.values():
            site.node.submitter.wait_final(found, version, 60)


def is_final(site: Site, size: int) -> bool | None:
    """Tell whether so many leaves are final at a node; None for not yet."""
    final = site.ledger.final()
    return True if final is not None and final.size >= size else None


def declared_key(declared: Noted, org_id: str = TONGJI) -> bytes:
    """Map key of what the asker tells."""
    return map_key(EMERGENCY, org_id, declared.object_id)


def given_key(document: bytes) -> bytes:
    """Map key of what the custodian tells of a request."""
    return map_key(EMERGENCY, RENHE, given_id(parse_request(EmergencyRequest, document).request.hash))
