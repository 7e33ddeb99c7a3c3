"""The planted stories: what is wrong, where it lies, and what a reader should be able to find out.

Each story gives a machine-readable description for ``stories.json``; three also give a bundle that is posted after
all the others, as it would be in life.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from sample_data.model import billing, fhir, people, visits
from sample_data.model.chart import Chart, Record
from sample_data.model.consortium import Consortium
from sample_data.model.directory import BINHAI, RENHE
from sample_data.model.stream import Stream
from sample_data.model.visits import Episode
from sample_data.vocabulary import pathways

_DUPLICATE_FILED: Final = datetime(2025, 10, 21, 10, 12, tzinfo=fhir.CHINA)
_ALTERED_AT: Final = datetime(2025, 4, 11, 17, 46, tzinfo=fhir.CHINA)
_LATE_EVENT: Final = date(2024, 1, 18)
_LATE_ENTERED: Final = datetime(2024, 12, 3, 16, 41, tzinfo=fhir.CHINA)
_LATE_FILED: Final = datetime(2024, 12, 5, 9, 30, tzinfo=fhir.CHINA)
_OPEN_FILED: Final = datetime(2026, 10, 25, 10, 40, tzinfo=fhir.CHINA)
_EMERGENCY: Final = date(2026, 5, 17)
_EMERGENCY_FILED: Final = datetime(2026, 5, 21, 10, 5, tzinfo=fhir.CHINA)


@dataclass(frozen=True, slots=True)
class Story:
    """A planted story.

    Attributes:
        name: its name, also the name of its bundle.
        description: what stands in ``stories.json``.
        bundle: what is posted later; none if it all lies in the patient's bundle.
        chart: whose that is, if it is a visit of its own.
    """

    name: str
    description: fhir.Element
    bundle: fhir.Bundle | None = None
    chart: Chart | None = None


def plant(world: Consortium, root: Stream) -> tuple[Story, ...]:
    """Plant all stories; the first and the last add to a chart, so this comes before the charts are written out.

    Args:
        world: the consortium; patients 1 to 5 are those of the stories.
        root: stream of the seed.

    Returns:
        The stories, in the order of the README.
    """
    return (
        _duplicate(world.charts[1, RENHE.slug]),
        _altered(world.charts[2, BINHAI.slug], root.child("story", "altered")),
        _late(world.charts[3, RENHE.slug], root.child("story", "late")),
        _emergency(world, root.child("story", "emergency")),
        _open(world.charts[5, RENHE.slug]),
    )


def _duplicate(chart: Chart) -> Story:
    record = _stay(chart)
    second = billing.add_claim(chart, record, chart.policies[1], _DUPLICATE_FILED, settle=False)
    code, number = record.invoice_number
    claims = [
        _resource("Claim", billing.claim_system(policy.insurer), claim)
        for policy, claim in zip(chart.policies, (record.claims[0], second), strict=True)
    ]
    description: fhir.Element = {
        "kind": "duplicate-invoice",
        "title": {
            "zh": "同一张住院发票先后向两家保险公司理赔",
            "en": "One hospital invoice is claimed at two insurers",
        },
        "hospital": RENHE.slug,
        "insurers": [policy.insurer for policy in chart.policies],
        "patient": _patient(chart),
        "file": f"bundles/{file_name(chart)}",
        "claimFiles": [_claim_file(policy.insurer, chart) for policy in chart.policies],
        "resources": [
            {**_resource("Invoice", billing.INVOICE_NUMBER, number), "invoiceCode": code},
            *claims,
        ],
    }
    return Story("duplicate-invoice", description)


def _altered(chart: Chart, stream: Stream) -> Story:
    record = _stay(chart)
    system = chart.hospital.system("condition")
    content = {
        name: value
        for name, value in chart.bundle.find(record.conditions[0]).items()
        if name not in {"resourceType", "id"}
    }
    number = _own_number(content)
    content["subject"] = fhir.conditional("Patient", people.mrn_system(BINHAI.slug), chart.number)
    content["encounter"] = fhir.conditional("Encounter", chart.hospital.system("encounter"), record.visit_number)
    content["onsetDateTime"] = "2024-06"
    content["note"] = [{"text": "患者自诉2024年6月体检首次发现血糖升高，既往无糖尿病史。"}]
    bundle = fhir.Bundle(stream)
    bundle.replace("Condition", f"identifier={system}|{number}", content)
    policy = chart.policies[0]
    description: fhir.Element = {
        "kind": "altered-record",
        "title": {
            "zh": "理赔后病历被改：糖尿病起病时间由投保前改到投保后",
            "en": "A record is altered after the claim: the onset of diabetes now lies after the policy's start",
        },
        "hospital": BINHAI.slug,
        "insurers": [policy.insurer],
        "patient": _patient(chart),
        "file": f"bundles/{file_name(chart)}",
        "later": "stories/altered-record.json",
        "claimFiles": [_claim_file(policy.insurer, chart)],
        "alteredAt": fhir.instant(_ALTERED_AT),
        "policyStart": policy.start.isoformat(),
        "changes": [
            {"element": "onsetDateTime", "before": "2019-05", "after": "2024-06"},
            {"element": "note[0].text"},
        ],
        "resources": [
            _resource("Condition", system, number),
            _resource("Claim", billing.claim_system(policy.insurer), record.claims[0]),
        ],
    }
    return Story("altered-record", description, bundle)


def _late(known: Chart, stream: Stream) -> Story:
    chart = Chart(known.hospital, known.person, known.policies, stream, known=True)
    policy = chart.policies[0]
    # Without policies nothing is claimed by itself: the claim of this story has its own date.
    chart.policies = ()
    episode = Episode(RENHE.slug, "gastritis", _LATE_EVENT)
    plan = pathways.PATHWAYS[episode.pathway].visits[0]
    record = visits.play_visit(chart, episode, plan, _LATE_EVENT, 0, ())
    for reference in (*record.conditions, *record.documents):
        resource = chart.bundle.find(reference)
        entered = "recordedDate" if resource["resourceType"] == "Condition" else "issued"
        resource[entered] = fhir.instant(_LATE_ENTERED)
    claim = billing.add_claim(chart, record, policy, _LATE_FILED, settle=False)
    description: fhir.Element = {
        "kind": "late-entry",
        "title": {
            "zh": "迟录病历：就诊十个多月后、理赔前两天才录入",
            "en": "A late entry: recorded more than ten months after the visit, two days before the claim",
        },
        "hospital": RENHE.slug,
        "insurers": [policy.insurer],
        "patient": _patient(chart),
        "file": f"bundles/{file_name(known)}",
        "later": "stories/late-entry.json",
        "claimFiles": [f"stories/late-entry.{policy.insurer}.json"],
        "happenedAt": fhir.instant(record.start),
        "enteredAt": fhir.instant(_LATE_ENTERED),
        "resources": [
            _resource("Encounter", chart.hospital.system("encounter"), record.visit_number),
            *(
                _resource("DiagnosticReport", chart.hospital.system("report"), _own_number(chart.bundle.find(each)))
                for each in record.documents
            ),
            _resource("Claim", billing.claim_system(policy.insurer), claim),
        ],
    }
    return Story("late-entry", description, chart.bundle, chart)


def _emergency(world: Consortium, stream: Stream) -> Story:
    known = world.charts[4, RENHE.slug]
    hospital = world.hospitals[BINHAI.slug]
    chart = Chart(hospital, known.person, known.policies, stream)
    policy = chart.policies[0]
    # As in the story before: this claim has its own date.
    chart.policies = ()
    episode = Episode(BINHAI.slug, "collapse", _EMERGENCY)
    record = visits.play_visit(chart, episode, pathways.PATHWAYS["collapse"].visits[0], _EMERGENCY, 0, ())
    claim = billing.add_claim(chart, record, policy, _EMERGENCY_FILED, settle=False)
    doctor = hospital.doctors["emergency"]
    description: fhir.Element = {
        "kind": "emergency-access",
        "title": {
            "zh": "急诊越权调阅：患者昏迷，未获同意即调阅另一医院病历",
            "en": "Emergency access: the patient is unconscious, another hospital's records are read without consent",
        },
        "hospital": RENHE.slug,
        "insurers": [policy.insurer],
        "patient": _patient(known),
        "patientAtReader": {"system": people.mrn_system(BINHAI.slug), "value": chart.number},
        "file": f"bundles/{file_name(known)}",
        "later": "stories/emergency-access.json",
        "claimFiles": [f"stories/emergency-access.{policy.insurer}.json"],
        "reader": {
            "organization": BINHAI.slug,
            "practitioner": {"system": hospital.system("staff"), "value": doctor.number},
            "name": doctor.name.full,
        },
        "accessedAt": fhir.instant(record.start + timedelta(minutes=9)),
        "purpose": "BTG",
        "reason": {
            "zh": "患者晕倒后意识模糊，血压低、心率快，无家属陪同；须立即了解过敏史、现用药物和既往诊断。",
            "en": "Found collapsed and confused, low blood pressure and fast pulse, nobody with the patient; "
            "allergies, current drugs and earlier diagnoses are needed at once.",
        },
        "types": ["Patient", "AllergyIntolerance", "MedicationRequest", "Condition"],
        "resources": [
            _resource("Encounter", hospital.system("encounter"), record.visit_number),
            _resource("Claim", billing.claim_system(policy.insurer), claim),
        ],
    }
    return Story("emergency-access", description, chart.bundle, chart)


def _open(chart: Chart) -> Story:
    record, policy = chart.records[-1], chart.policies[0]
    claim = billing.add_claim(chart, record, policy, _OPEN_FILED, settle=False)
    description: fhir.Element = {
        "kind": "open-claim",
        "title": {
            "zh": "一笔无异常、尚无人核查的理赔",
            "en": "A claim with nothing wrong that nobody has looked into yet",
        },
        "hospital": RENHE.slug,
        "insurers": [policy.insurer],
        "patient": _patient(chart),
        "file": f"bundles/{file_name(chart)}",
        "claimFiles": [_claim_file(policy.insurer, chart)],
        "resources": [
            _resource("Encounter", chart.hospital.system("encounter"), record.visit_number),
            _resource("Claim", billing.claim_system(policy.insurer), claim),
        ],
    }
    return Story("open-claim", description)


def file_name(chart: Chart) -> str:
    """Return the name of a chart's file; it tells the hospital and the number, never the person."""
    return f"{chart.hospital.member.slug}.p{chart.person.index:03}.json.gz"


def _claim_file(insurer: str, chart: Chart) -> str:
    return f"bundles/{insurer}.p{chart.person.index:03}.json.gz"


def _stay(chart: Chart) -> Record:
    return next(record for record in chart.records if record.kind == "IMP")


def _patient(chart: Chart) -> fhir.Element:
    return {
        "number": chart.person.index,
        "name": chart.person.name.full,
        "mrn": {"system": people.mrn_system(chart.hospital.member.slug), "value": chart.number},
        "nationalId": {"system": people.NATIONAL_ID, "value": chart.person.national_id},
    }


def _resource(resource_type: str, system: str, value: str) -> fhir.Element:
    return {"type": resource_type, "identifier": {"system": system, "value": value}}


def _own_number(content: fhir.Element) -> str:
    match content["identifier"]:
        case [{"value": str(value)}, *_]:
            return value
        case _:
            raise LookupError("identifier")
