"""A patient's chart at one hospital: the bundle, the patient in it, and the numbers that the hospital gives out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from sample_data.model import directory, fhir, people
from sample_data.model.stream import Stream
from sample_data.vocabulary import terms

FIRST_DAY: Final = date(2021, 1, 11)
LAST_DAY: Final = date(2026, 10, 25)
"""Nothing happens before the first day or after the last but the settlement of claims, which ends in the same month."""

POLICY: Final = "https://medchain.example/fhir/id/policy"
"""Identifier system of insurance policies; the insurer's letters begin the number."""

_LATER: Final = 900


@dataclass(frozen=True, slots=True)
class Policy:
    """A person's insurance.

    Attributes:
        insurer: slug of the insurer.
        number: policy number.
        start: first day of cover.
        end: last day of cover; none while it runs.
    """

    insurer: str
    number: str
    start: date
    end: date | None = None

    def covers(self, day: date) -> bool:
        """Tell whether the policy is in force on a day."""
        return self.start <= day and (self.end is None or day <= self.end)


@dataclass(frozen=True, slots=True)
class Record:
    """What one visit left behind, for the stories.

    Attributes:
        kind: class of the visit.
        visit_number: the hospital's number of the visit.
        encounter: Reference.
        conditions: References, the main one first.
        documents: References to reports and summaries that a claim may cite.
        procedures: References.
        fees: category to fen.
        start: beginning of the visit.
        end: end of the visit.
        invoice: Reference; empty if nothing was to be paid.
        invoice_number: code and number of the electronic invoice.
        claims: claim numbers.
    """

    kind: str
    visit_number: str
    encounter: fhir.Element
    conditions: tuple[fhir.Element, ...]
    documents: tuple[fhir.Element, ...]
    procedures: tuple[fhir.Element, ...]
    fees: dict[str, int]
    start: datetime
    end: datetime
    invoice: fhir.Element = field(default_factory=dict)
    invoice_number: tuple[str, str] = ("", "")
    claims: list[str] = field(default_factory=list)


class Chart:
    """A chart while it is being written.

    Args:
        hospital: where.
        person: whose.
        policies: the person's insurance.
        stream: the choices; its path must be this chart's own.
        known: true if the hospital has the patient and the policies already: then they are referred to by identifier.
    """

    def __init__(
        self,
        hospital: directory.Hospital,
        person: people.Person,
        policies: tuple[Policy, ...],
        stream: Stream,
        *,
        known: bool = False,
    ) -> None:
        """Open the chart with the patient and the policies; under `policies` visits are claimed, `bought` stays."""
        self.hospital = hospital
        self.person = person
        self.policies = policies
        self.bought = policies
        self.stream = stream
        self.bundle = fhir.Bundle(stream.child("bundle"))
        self.records: list[Record] = []
        self.prefix = hospital.member.prefix
        self.number = f"{self.prefix}{100000 + 37 * person.index}"
        # What is added to a known chart later must not repeat a number.
        self._next = _LATER if known else 0
        self.patient = self._known_patient() if known else self._admit()
        self.coverages = {
            policy.number: fhir.conditional("Coverage", POLICY, policy.number) if known else self._coverage(policy)
            for policy in policies
        }

    def next_number(self, letters: str, day: date) -> str:
        """Return a number of the hospital's own, such as ``RH-MZ-20230412-00703``; none is given out twice."""
        self._next += 1
        return f"{self.prefix}-{letters}-{day:%Y%m%d}-{self.person.index:03}{self._next:02}"

    def identify(self, what: str, letters: str, day: date) -> list[fhir.Element]:
        """Return the ``identifier`` of a new thing; ``what`` names its identifier system."""
        return [fhir.identifier(self.hospital.system(what), self.next_number(letters, day))]

    def add_allergy(self, choice: int, day: date) -> None:
        """Write down an allergy; ``choice`` is an index into `terms.ALLERGIES`."""
        term, category, criticality, reaction = terms.ALLERGIES[choice]
        code = fhir.concept(fhir.SNOMED, term.code, term.zh, term.en) if term.code else {"text": term.zh}
        content: fhir.Element = {
            "identifier": self.identify("allergy", "GM", day),
            "clinicalStatus": fhir.coded("allergyintolerance-clinical", "active"),
            "verificationStatus": fhir.coded("allergyintolerance-verification", "confirmed"),
            "type": "allergy",
            "category": [category],
            "criticality": criticality,
            "code": code,
            "patient": self.patient,
            "recordedDate": day.isoformat(),
            "note": [{"text": reaction}],
        }
        self.bundle.add("AllergyIntolerance", content)

    def add_vaccine(self, key: str, day: date) -> None:
        """Write down a vaccination."""
        term = terms.VACCINES[key]
        content: fhir.Element = {
            "identifier": self.identify("immunization", "YM", day),
            "status": "completed",
            "vaccineCode": fhir.concept(fhir.CVX, term.code, term.zh, term.en),
            "patient": self.patient,
            "occurrenceDateTime": fhir.instant(fhir.at(day, 540 + self.stream.below(400))),
            "primarySource": True,
            "location": self.hospital.place("AMB"),
            "lotNumber": f"{day:%Y%m}{self.stream.between(100, 999)}A",
            "site": fhir.concept(fhir.HL7 + "v3-ActSite", "LA", "左上臂"),
            "doseQuantity": fhir.quantity(Decimal("0.5"), "mL", "mL"),
        }
        self.bundle.add("Immunization", content)

    def cover(self, policy: Policy, holder: fhir.Element) -> fhir.Element:
        """Return the elements of a Coverage; ``holder`` is a Reference to the Patient whose policy it is."""
        period: fhir.Element = {"start": policy.start.isoformat()}
        if policy.end:
            period["end"] = policy.end.isoformat()
        return {
            "identifier": [fhir.identifier(POLICY, policy.number)],
            "status": "active",
            "type": {"coding": [{"system": fhir.HL7 + "v3-ActCode", "code": "HIP"}], "text": "商业医疗保险"},
            "subscriber": holder,
            "subscriberId": policy.number,
            "beneficiary": holder,
            "relationship": fhir.coded("subscriber-relationship", "self"),
            "period": period,
            "payor": [directory.insurer(policy.insurer)],
        }

    def _admit(self) -> fhir.Element:
        return self.bundle.add("Patient", people.patient(self.person, self.hospital.member.slug, self.number))

    def _known_patient(self) -> fhir.Element:
        return fhir.conditional("Patient", people.mrn_system(self.hospital.member.slug), self.number)

    def _coverage(self, policy: Policy) -> fhir.Element:
        return self.bundle.add("Coverage", self.cover(policy, self.patient))
