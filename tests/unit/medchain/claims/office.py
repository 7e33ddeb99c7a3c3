"""An insurer's office over whole nodes: a stay at Renhe, a permission, and claims on it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from medchain.claims.cases import CaseClient
from medchain.claims.counter import Counter, Done, Wanted
from medchain.claims.disputes import OPEN, STEP
from medchain.encoding import Json
from medchain.ledger.invoice import amount_of
from medchain.node.exchange_client import FOR_CLAIM
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
WANTED = Wanted("to settle your stay", wait_s=60)


class Signed(Stay):
    """A stay whose records all say who wrote them, so that the verdict on them is green."""

    def records(self) -> list[dict]:
        said = {"Invoice": {"participant": [{"actor": self.by}]}, "Observation": {"performer": [self.by]}}
        return [{**one, **said.get(one["resourceType"], {})} for one in super().records()]


class Office:
    """An insurer, a hospital with a stay, and what lies between."""

    def __init__(self, hospitals, stay: type[Stay] = Stay) -> None:
        """Have a patient stay at Renhe, and permit the insurer to know of it."""
        self.hospitals = hospitals
        self.exchange = Exchange(hospitals.federation)
        self.exchange.open(resource_types=TYPES)
        self.stay = stay(self.exchange)
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

    @contextmanager
    def paying(self) -> Iterator[Office]:
        """Begin a test as `anew`, after which the invoice is free again for the next."""
        self.anew()
        yield self
        for case in self.cases().list({"statuses": ["reserved", "settled"]}, 200).cases:
            self.cases().release(case["id"])

    def cases(self, org_id: str = ANXIN) -> CaseClient:
        """Ask a node's daemon for its cases."""
        replica = self.hospitals.federation.sites[org_id].replica
        operations = self.hospitals.nodes[org_id].operations()
        return CaseClient(Local({**operations, TRUSTED_POLICY: lambda _document: trusted_policy(replica)}))


def said(office, org_id: str, operation: str, **document: Json) -> dict:
    return office.hospitals.local(org_id).call(operation, document)


def asked(office, case: dict) -> str:
    """Have the insurer's desk ask the hospital about a claim; returns the dispute's id."""
    about: dict[str, Json] = {"by": "Practitioner/w1", "claim": case["digest"], "days": 7, "hospital": RENHE}
    return said(office, ANXIN, OPEN, **about, text="why?")["id"]


def stepped(office, org_id: str, dispute: str, kind: str, text: str = "") -> None:
    said(office, org_id, STEP, by="Practitioner/x", days=0, id=dispute, step=kind, text=text)


def paid(office, case: dict, tell=lambda _step, _seconds: None) -> Done:
    """Have a claim settled at the counter; the patient has tapped already."""
    grants: Json = {"grants": [{"custodian": RENHE, "grant": office.exchange.grant.hex()}]}
    ways = Local({**office.hospitals.nodes[ANXIN].operations(), FOR_CLAIM: lambda _claim: grants})
    ticks = itertools.count()
    return Counter(ways, lambda: float(next(ticks)), lambda _seconds: None, tell).settle(case["id"], WANTED)
