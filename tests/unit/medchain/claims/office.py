"""An insurer's office over whole nodes: a stay at Renhe, a permission, and claims on it."""

from __future__ import annotations

import json
from dataclasses import replace

from medchain.claims.cases import CaseClient
from medchain.ledger.invoice import amount_of
from medchain.node.proofs import TRUSTED_POLICY, trusted_policy
from tests.unit.medchain.claims.filed import SYSTEM
from tests.unit.medchain.claims.questions import issued, row
from tests.unit.medchain.node.desks import Local
from tests.unit.medchain.node.disclosing import TYPES, Stay, disclosing
from tests.unit.medchain.node.exchanges import Exchange
from tests.unit.medchain.node.federation import ANXIN, RENHE

NUMBER = "2798577178"
AMOUNT = {"value": 4200.5, "currency": "CNY"}
POLICY = {"end": None, "start": "2024-03-01", "waiting_days": 90}
GIVEN = {"policy": POLICY, "row": row(NUMBER, date="2026-11-14", amount="4200.50").to_json()}


class Office:
    """An insurer, a hospital with a stay, and what lies between."""

    def __init__(self, hospitals) -> None:
        """Have a patient stay at Renhe, and permit the insurer to know of it."""
        self.hospitals = hospitals
        self.exchange = Exchange(hospitals.federation)
        self.exchange.open(resource_types=TYPES)
        self.stay = Stay(self.exchange)
        self.stay.store(self.stay.doctor(), self.stay.patient(), *self.stay.records())
        self.exchange.claims = disclosing(self.exchange)
        self.asked: list[object] = []
        self.number = 0
        made = issued(NUMBER, amount=amount_of("4200.50", "CNY"))
        hospitals.registers[RENHE].rows = [replace(made, invoice=row(NUMBER, date="2026-11-14").fields)]

    def claim(self, **changes: object) -> bytes:
        """A claim of its own on the stay."""
        self.number += 1
        cited = [{"valueReference": {"reference": one}} for one in self.stay.cited]
        made = {
            "resourceType": "Claim",
            "id": f"c{self.number}",
            "identifier": [{"value": f"AX{self.number:04}"}],
            "patient": {"reference": f"Patient/{self.stay.local}"},
            "provider": {"identifier": {"system": SYSTEM, "value": RENHE}},
            "created": "2026-12-01T00:00:00Z",
            "billablePeriod": {"start": "2026-11-10", "end": "2026-11-14"},
            "supportingInfo": cited,
            "item": [{"sequence": 1, "net": AMOUNT, "encounter": [{"reference": self.stay.name("Encounter", "e")}]}],
            "total": AMOUNT,
        }
        return json.dumps(made | changes).encode()

    def finds(self, *asked: object) -> list[bytes]:
        """Name the grants, as the hospital does."""
        self.asked.append(asked)
        return [self.exchange.grant]

    def anew(self) -> None:
        """Begin a test: a grant of its own, and everybody answers."""
        self.exchange.grant = self.exchange.give(resource_types=TYPES)
        self.exchange.custodians, self.exchange.askers = {}, {}
        self.exchange.forget()
        self.asked.clear()
        self.hospitals.federation.down.clear()
        self.hospitals.grants = self.finds
        self.hospitals.for_claim = lambda _claim: []
        self.hospitals.permissions = lambda _claim: []
        self.hospitals.disclose = self.exchange.asker().request_disclosure

    def cases(self, org_id: str = ANXIN) -> CaseClient:
        """Ask a node's daemon for its cases."""
        replica = self.hospitals.federation.sites[org_id].replica
        operations = self.hospitals.nodes[org_id].operations()
        return CaseClient(Local({**operations, TRUSTED_POLICY: lambda _document: trusted_policy(replica)}))
