"""What is done at a visit: prescriptions, procedures and the discharge summary."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sample_data.model import fhir
from sample_data.model.results import Session
from sample_data.vocabulary import terms

_INJECTED: Final = {"静脉滴注", "皮下注射"}
_UNITS: Final = {"[IU]": "单位", "{puff}": "吸", "ug": "μg"}
_OUTPATIENT_DAYS: Final = 28


def add_drug(session: Session, key: str, reason: fhir.Element, moment: datetime, days: int) -> None:
    """Write a prescription.

    Args:
        session: the visit.
        key: key in `terms.DRUGS`.
        reason: Reference to the condition that it treats.
        moment: when it was ordered.
        days: length of a stay in hospital; 0 for an outpatient, who gets four weeks.
    """
    drug = terms.DRUGS[key]
    chart = session.chart
    packs = -(-(days or _OUTPATIENT_DAYS) // drug.days) if drug.days > 1 else max(1, days) * drug.times
    unit = _UNITS.get(drug.unit, drug.unit)
    medication = fhir.concept(fhir.ATC, drug.atc, drug.zh, drug.en)
    medication["text"] = f"{drug.zh} {drug.pack}"
    dosage: fhir.Element = {
        "text": f"每次{drug.dose}{unit}，每日{drug.times}次，{drug.route}",
        "timing": {"repeat": {"frequency": drug.times, "period": 1, "periodUnit": "d"}},
        "route": {"text": drug.route},
        "doseAndRate": [{"doseQuantity": fhir.quantity(Decimal(drug.dose), unit, drug.unit)}],
    }
    content: fhir.Element = {
        "identifier": chart.identify("prescription", "CF", moment.date()),
        "status": "completed",
        "intent": "order",
        "category": [fhir.coded("medicationrequest-category", "inpatient" if days else "outpatient")],
        "medicationCodeableConcept": medication,
        "subject": chart.patient,
        "encounter": session.encounter,
        "authoredOn": fhir.instant(moment),
        "requester": chart.hospital.doctor(session.department),
        "reasonReference": [reason],
        "dosageInstruction": [dosage],
        "dispenseRequest": {
            "numberOfRepeatsAllowed": 0,
            "quantity": {"value": packs, "unit": "支" if drug.route in _INJECTED else "盒"},
        },
    }
    chart.bundle.add("MedicationRequest", content)
    session.charge("西药费", packs * drug.price)


def add_operation(session: Session, key: str, reason: fhir.Element, moment: datetime, place: str) -> fhir.Element:
    """Write a procedure.

    Args:
        session: the visit.
        key: key in `terms.OPERATIONS`.
        reason: Reference to the condition.
        moment: when it began.
        place: key of the place.

    Returns:
        Reference to it.
    """
    operation = terms.OPERATIONS[key]
    chart = session.chart
    end = moment + timedelta(minutes=operation.minutes + chart.stream.between(-2, 12))
    content: fhir.Element = {
        "identifier": chart.identify("procedure", "SS", moment.date()),
        "status": "completed",
        "code": fhir.concept(fhir.ICD9_CM3, operation.code, operation.zh, operation.en),
        "subject": chart.patient,
        "encounter": session.encounter,
        "performedPeriod": {"start": fhir.instant(moment), "end": fhir.instant(end)},
        "performer": [{"actor": chart.hospital.doctor(session.department)}],
        "location": chart.hospital.place(place),
        "reasonReference": [reason],
        "note": [{"text": operation.note}],
    }
    session.charge("手术费" if operation.materials else "治疗费", operation.price)
    session.charge("材料费", operation.materials)
    return chart.bundle.add("Procedure", content)


def add_summary(session: Session, lines: tuple[str, ...], moment: datetime) -> None:
    """Write the discharge summary as a document with its text attached.

    Args:
        session: the visit.
        lines: the text.
        moment: when it was signed.
    """
    chart = session.chart
    text = "\n".join(("出院小结", *lines, ""))
    content: fhir.Element = {
        "identifier": chart.identify("document", "WS", moment.date()),
        "status": "current",
        "docStatus": "final",
        "type": fhir.concept(fhir.LOINC, "18842-5", "出院小结"),
        "subject": chart.patient,
        "date": fhir.instant(moment),
        "author": [chart.hospital.doctor(session.department)],
        "custodian": chart.hospital.organization(),
        "content": [{"attachment": fhir.text_attachment("出院小结", text, moment)}],
        "context": {"encounter": [session.encounter]},
    }
    session.documents.append(chart.bundle.add("DocumentReference", content))
