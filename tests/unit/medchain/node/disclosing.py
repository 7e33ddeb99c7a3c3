"""A stay at Renhe with its records, a claim that cites them, and what Renhe discloses with: over whole nodes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from fhir_bridge.claim_case import NodeRecords
from fhir_bridge.claim_facts import FhirClaimFacts
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.service import SearchService
from medchain.crypto.es384 import Es384Signer
from medchain.ledger.citation import Ask, Citation, citation_of
from medchain.ledger.evidence.disclosure import Row
from medchain.ledger.evidence.statements import Fact
from medchain.node.exchange import ClaimWish, ReceivedDisclosure
from medchain.node.records import NewRecord, RecordService
from medchain.node.release_ports import ClaimSide
from tests.unit.medchain.ledger.world import fresh, genesis, seed
from tests.unit.medchain.node.exchanges import Exchange
from tests.unit.medchain.node.federation import NOW, RENHE

CLAIM = b"\x77" * 32
DAYS = ("2026-11-10", "2026-11-14")
TYPES = ["Condition", "DiagnosticReport", "Encounter", "Invoice", "Observation", "Procedure"]
PERMITTED = sorted([*TYPES, "Patient"])
ICD_10 = "http://hl7.org/fhir/sid/icd-10"
ICD_9_CM = "http://hl7.org/fhir/sid/icd-9-cm"
FORMS = "https://medchain.example/fhir/id/"

# What must never be in a disclosure: names of the patient, codes and texts of what it is about, results, check codes.
SECRET = (
    "Zhang Sample",
    "K80.201",
    "gallbladder stone",
    "51.23",
    "laparoscopic",
    "718-7",
    "13.9",
    "pathology is benign",
    "k4x9qz",
    "1971-03-04",
)


def coded(system: str, code: str, text: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": text}], "text": text}


@dataclass
class Stay:
    """A stay of the patient of an exchange, all of whose ids begin with hers."""

    exchange: Exchange

    @property
    def local(self) -> str:
        return self.exchange.local

    def name(self, type_name: str, tail: str) -> str:
        return f"{type_name}/{self.local}-{tail}"

    def record(self, type_name: str, tail: str, **more: object) -> dict[str, Any]:
        about = {"reference": f"Patient/{self.local}"}
        visit = (
            {} if type_name in {"Encounter", "Invoice"} else {"encounter": {"reference": self.name("Encounter", "e")}}
        )
        return {"resourceType": type_name, "id": f"{self.local}-{tail}", "subject": about, **visit, **more}

    def doctor(self) -> dict[str, Any]:
        until = {"code": {"text": "surgeon"}, "period": {"start": "2010-01-01", "end": "2030-01-01"}}
        name = [{"text": "Dr. Lin"}]
        return {"resourceType": "Practitioner", "id": f"{self.local}-d", "name": name, "qualification": [until]}

    @property
    def by(self) -> dict[str, Any]:
        return {"reference": self.name("Practitioner", "d"), "display": "Zhang Sample"}

    def records(self) -> list[dict[str, Any]]:
        return [
            self.record(
                "Encounter",
                "e",
                status="finished",
                **{"class": {"code": "IMP", "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode"}},
                period={"start": "2026-11-10T09:00:00Z", "end": "2026-11-14T10:00:00Z"},
                participant=[{"individual": self.by}],
                reasonCode=[{"text": "gallbladder stone"}],
            ),
            self.record(
                "Condition",
                "c",
                code=coded(ICD_10, "K80.201", "gallbladder stone"),
                clinicalStatus={"coding": [{"code": "active"}]},
                onsetDateTime="2026-05",
                recordedDate="2026-11-10T11:00:00Z",
                recorder=self.by,
            ),
            self.record(
                "Procedure",
                "p",
                status="completed",
                code=coded(ICD_9_CM, "51.23", "laparoscopic cholecystectomy"),
                performedPeriod={"start": "2026-11-11T08:00:00Z", "end": "2026-11-11T10:00:00Z"},
                performer=[{"actor": self.by}],
            ),
            self.record(
                "DiagnosticReport",
                "r",
                status="final",
                code={"text": "pathology"},
                effectiveDateTime="2026-11-11T10:00:00Z",
                issued="2026-11-12T10:00:00Z",
                resultsInterpreter=[self.by],
                conclusion="pathology is benign",
            ),
            self.record(
                "Observation",
                "o",
                status="final",
                code=coded("http://loinc.org", "718-7", "haemoglobin"),
                effectiveDateTime="2026-11-10T12:00:00Z",
                valueQuantity={"value": 13.9, "unit": "g/dL"},
            ),
            self.record(
                "Invoice",
                "i",
                status="issued",
                date="2026-11-14T10:00:00Z",
                identifier=[
                    {"system": f"{FORMS}e-invoice-code", "value": "99060225"},
                    {"system": f"{FORMS}e-invoice-number", "value": "2798577178"},
                    {"system": f"{FORMS}e-invoice-check", "value": "k4x9qz"},
                    {"system": "urn:ours", "value": "K80.201"},
                ],
                lineItem=[
                    {
                        "sequence": 1,
                        "chargeItemCodeableConcept": {"text": "laparoscopic cholecystectomy"},
                        "priceComponent": [{"type": "base", "amount": {"value": 4200.5, "currency": "CNY"}}],
                    }
                ],
                totalGross={"value": 4200.5, "currency": "CNY"},
            ),
        ]

    def patient(self, **more: object) -> dict[str, Any]:
        name = [{"text": "Zhang Sample"}]
        return {"resourceType": "Patient", "id": self.local, "name": name, "birthDate": "1971-03-04", **more}

    def store(self, *resources: dict[str, Any], patient: str | None = None) -> None:
        """Store records at Renhe as a worker does, found by a search, and anchor them."""
        keeper = self.local if patient is None else patient
        for one in resources:
            self.put(one, keeper)
        self.exchange.anchor()

    def put(self, one: dict[str, Any], patient: str) -> None:
        """Store one record; a doctor is nobody's."""
        whose = "" if one["resourceType"] == "Practitioner" else patient
        made = NewRecord(one["resourceType"], one["id"], json.dumps(one).encode(), whose)
        service = indexing(self.exchange)
        if self.exchange.federation.sites[RENHE].records.get(made.type, made.id) is None:
            service.create(made)
        else:
            service.update(made)

    @property
    def cited(self) -> list[str]:
        return [f"{one['resourceType']}/{one['id']}" for one in self.records()]

    def citation(self, *more: str, cited: list[str] | None = None, asks: tuple[Ask, ...] = ()) -> Citation:
        return citation_of([*(self.cited if cited is None else cited), *more], NOW - 60, DAYS, fresh(32), asks)

    def wish(
        self, *more: str, cited: list[str] | None = None, asks: tuple[Ask, ...] = (), **changes: object
    ) -> ClaimWish:
        wish = ClaimWish(RENHE, self.exchange.grant, CLAIM, self.citation(*more, cited=cited, asks=asks))
        return replace(wish, **changes)

    def ask(self, *more: str, **changes: object) -> ReceivedDisclosure:
        return self.exchange.asker().request_disclosure(self.wish(*more, **changes))


def searching(exchange: Exchange) -> SearchService:
    """Search as a node's daemon does."""
    site, clock = exchange.federation.sites[RENHE], exchange.federation.clock
    return SearchService(site.records, SearchIndex(site.records), seed(RENHE, "records"), genesis().ledger, clock)


def indexing(exchange: Exchange) -> RecordService:
    """Store as a node's workers do."""
    site, clock = exchange.federation.sites[RENHE], exchange.federation.clock
    index = SearchIndex(site.records)
    return RecordService(site.records, genesis().ledger, seed(RENHE, "records"), clock, index=index)


def disclosing(exchange: Exchange) -> ClaimSide:
    """Disclose as a hospital's daemon does."""
    site = exchange.federation.sites[RENHE]
    facts = FhirClaimFacts(NodeRecords(searching(exchange), site.records, site.service))
    return ClaimSide(facts, Es384Signer(seed(RENHE, "authentication", 1)))


def facts_of(received: ReceivedDisclosure, name: str) -> list[Fact]:
    return [one for one in received.signed.disclosure.facts if one.name == name]


def value_of(received: ReceivedDisclosure, name: str, **arguments: str | int) -> object:
    """Return what a statement says; there must be one."""
    found = [one.value for one in facts_of(received, name) if arguments.items() <= dict(one.arguments).items()]
    assert len(found) == 1, (name, found)
    return found[0]


def row_of(received: ReceivedDisclosure, reference: str) -> Row:
    return next(one for one in received.signed.disclosure.records if one.reference == reference)
