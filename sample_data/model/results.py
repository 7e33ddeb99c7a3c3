"""What is measured and reported at a visit: vital signs, rating scales, laboratory panels, imaging and other reports.

Keeps true: a number has the decimal places in which the laboratory reports it, and its flag follows from its range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sample_data.model import fhir, people
from sample_data.model.chart import Chart
from sample_data.vocabulary import imaging, laboratory

_FLAGS: Final = {"H": "偏高", "L": "偏低", "N": "正常", "POS": "阳性", "NEG": "阴性", "<": "低于检测下限"}
_ANSWERS: Final = {"POS": ("10828004", "阳性"), "NEG": ("260385009", "阴性")}
_FLAG_SYSTEM: Final = fhir.HL7 + "v3-ObservationInterpretation"
_DEVICES: Final = {"cbc": "haematology"}


@dataclass(slots=True)
class Session:
    """One visit while its results are being written.

    Attributes:
        chart: the chart.
        encounter: Reference to the visit.
        department: key of the department.
        values: ranges that replace the normal ones, by test key.
        fees: category to fen, added up as things are done.
        documents: reports that a claim may cite.
    """

    chart: Chart
    encounter: fhir.Element
    department: str
    values: Mapping[str, tuple[str, str]]
    fees: dict[str, int] = field(default_factory=dict)
    documents: list[fhir.Element] = field(default_factory=list)

    def charge(self, category: str, fen: int) -> None:
        """Add a fee; nothing is added for what is free of charge."""
        if fen:
            self.fees[category] = self.fees.get(category, 0) + fen


def add_vitals(session: Session, keys: tuple[str, ...], moment: datetime) -> None:
    """Write vital signs and rating scales; ``bp`` stands for a blood pressure with its two parts."""
    for key in keys:
        if key == "bp":
            _add_blood_pressure(session, moment)
            continue
        scale = key in laboratory.SCALES
        measure = laboratory.SCALES[key] if scale else laboratory.VITALS[key]
        value = _weigh(session) if key == "weight" else _draw(session, key, measure)
        category = ("survey", "量表评估") if scale else ("vital-signs", "生命体征")
        content = _observation(session, key, category, measure, moment)
        content["valueQuantity"] = fhir.quantity(value, measure.unit, measure.ucum)
        session.chart.bundle.add("Observation", content)


def add_panel(session: Session, key: str, moment: datetime) -> None:
    """Write a laboratory panel: its results and the report that holds them together.

    Args:
        session: the visit.
        key: key in `laboratory.PANELS`.
        moment: when the specimen was taken.
    """
    panel = laboratory.PANELS[key]
    chart = session.chart
    issued = moment + timedelta(minutes=chart.stream.between(35, 150))
    results, remarks = [], []
    for test in panel.tests:
        content, remark = _result(session, test, moment)
        content["issued"] = fhir.instant(issued)
        content["device"] = chart.hospital.device(_DEVICES.get(key, "analyser"))
        results.append(chart.bundle.add("Observation", content))
        remarks += [remark] if remark else []
    report: fhir.Element = {
        "identifier": chart.identify("report", "JY", moment.date()),
        "status": "final",
        "category": [fhir.concept(fhir.HL7 + "v2-0074", "LAB", "检验")],
        "code": _code(chart, panel.code, key, panel.zh),
        "subject": chart.patient,
        "encounter": session.encounter,
        "effectiveDateTime": fhir.instant(moment),
        "issued": fhir.instant(issued),
        "performer": [chart.hospital.organization()],
        "resultsInterpreter": [chart.hospital.doctor("laboratory")],
        "result": results,
    }
    if remarks:
        report["conclusion"] = "；".join(remarks) + "。"
    session.documents.append(chart.bundle.add("DiagnosticReport", report))
    session.charge("化验费", panel.price)


def report_content(session: Session, key: str, moment: datetime, issued: datetime) -> fhir.Element:
    """Return a report in words, with the full text attached.

    Args:
        session: the visit.
        key: key in `imaging.REPORTS`.
        moment: when the examination took place.
        issued: when the report was written.

    Returns:
        Elements of a DiagnosticReport.
    """
    report = imaging.REPORTS[key]
    chart = session.chart
    first, second = (chart.stream.decimal(*bounds) for bounds in report.sizes)
    findings = report.findings.format(a=first, b=second)
    text = f"{report.zh}报告单\n检查所见：{findings}\n诊断意见：{report.conclusion}\n"
    reader = chart.hospital.doctor("laboratory" if report.service == "SP" else "imaging")
    return {
        "text": fhir.narrative(report.zh, f"检查所见：{findings}", f"诊断意见：{report.conclusion}"),
        "identifier": chart.identify("report", "JC", moment.date()),
        "status": "final",
        "category": [{"coding": [{"system": fhir.HL7 + "v2-0074", "code": report.service}]}],
        "code": _code(chart, report.code, key, report.zh),
        "subject": chart.patient,
        "encounter": session.encounter,
        "effectiveDateTime": fhir.instant(moment),
        "issued": fhir.instant(issued),
        "performer": [chart.hospital.organization()],
        "resultsInterpreter": [reader],
        "conclusion": report.conclusion,
        "presentedForm": [fhir.text_attachment(f"{report.zh}报告单", text, issued)],
    }


def add_report(session: Session, key: str, moment: datetime) -> None:
    """Write a report in words, issued within the hours that such reports take."""
    slow = imaging.REPORTS[key].service == "SP"
    delay = session.chart.stream.between(2 * 1440, 4 * 1440) if slow else session.chart.stream.between(20, 160)
    content = report_content(session, key, moment, moment + timedelta(minutes=delay))
    session.documents.append(session.chart.bundle.add("DiagnosticReport", content))
    session.charge("检查费", imaging.REPORTS[key].price)


def _code(chart: Chart, loinc: str, key: str, zh: str) -> fhir.Element:
    if loinc:
        return fhir.concept(fhir.LOINC, loinc, zh)
    return fhir.concept(f"https://{chart.hospital.member.slug}.example/fhir/CodeSystem/examination", key, zh)


def _observation(
    session: Session,
    key: str,
    category: tuple[str, str],
    what: laboratory.Measure | laboratory.Finding,
    moment: datetime,
) -> fhir.Element:
    code, word = category
    chart = session.chart
    doctor = "laboratory" if code == "laboratory" else session.department
    return {
        "status": "final",
        "category": [fhir.concept(fhir.HL7 + "observation-category", code, word)],
        "code": _code(chart, what.code, key, what.zh),
        "subject": chart.patient,
        "encounter": session.encounter,
        "effectiveDateTime": fhir.instant(moment),
        "performer": [chart.hospital.doctor(doctor)],
    }


def _result(session: Session, key: str, moment: datetime) -> tuple[fhir.Element, str]:
    if key in laboratory.FINDINGS:
        return _finding(session, key, moment)
    measure = laboratory.TESTS[key]
    content = _observation(session, key, ("laboratory", "检验"), measure, moment)
    if measure.below and session.values.get(key) == ("<", ""):
        limit = fhir.quantity(Decimal(measure.low), measure.unit, measure.ucum)
        content["valueQuantity"] = {**limit, "comparator": "<"}
        content["interpretation"] = [_flag("<")]
        return content, ""
    value = _draw(session, key, measure)
    flag = "H" if value > Decimal(measure.high) else "L" if value < Decimal(measure.low) else "N"
    content["valueQuantity"] = fhir.quantity(value, measure.unit, measure.ucum)
    content["interpretation"] = [_flag(flag)]
    if not measure.below:
        content["referenceRange"] = [_reference_range(measure)]
    return content, "" if flag == "N" else f"{measure.zh}{_FLAGS[flag]}"


def _finding(session: Session, key: str, moment: datetime) -> tuple[fhir.Element, str]:
    finding = laboratory.FINDINGS[key]
    answer = session.values.get(key, ("NEG", ""))[0]
    code, zh = _ANSWERS[answer]
    content = _observation(session, key, ("laboratory", "检验"), finding, moment)
    content["valueCodeableConcept"] = fhir.concept(fhir.SNOMED, code, zh)
    content["interpretation"] = [_flag(answer)]
    return content, f"{finding.zh}{zh}" if answer == "POS" else ""


def _flag(code: str) -> fhir.Element:
    return fhir.concept(_FLAG_SYSTEM, code, _FLAGS[code])


def _reference_range(measure: laboratory.Measure) -> fhir.Element:
    high = fhir.quantity(Decimal(measure.high), measure.unit, measure.ucum)
    if not Decimal(measure.low):
        return {"high": high}
    return {"low": fhir.quantity(Decimal(measure.low), measure.unit, measure.ucum), "high": high}


def _draw(session: Session, key: str, measure: laboratory.Measure) -> Decimal:
    low, high = session.values.get(key, (measure.low, measure.high))
    return session.chart.stream.decimal(low, high)


def _weigh(session: Session) -> Decimal:
    return people.weight_now(session.chart.person, session.chart.stream)


def _add_blood_pressure(session: Session, moment: datetime) -> None:
    parts = []
    for key in ("sbp", "dbp"):
        measure = laboratory.VITALS[key]
        value = fhir.quantity(_draw(session, key, measure), measure.unit, measure.ucum)
        parts.append({"code": fhir.concept(fhir.LOINC, measure.code, measure.zh), "valueQuantity": value})
    panel = laboratory.Finding("85354-9", "血压")
    content = _observation(session, "bp", ("vital-signs", "生命体征"), panel, moment)
    content["component"] = parts
    session.chart.bundle.add("Observation", content)
