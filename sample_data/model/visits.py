"""A care pathway becomes visits: encounters with their diagnoses, results, treatment and bill."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from sample_data.model import billing, directory, fhir, results, treatment
from sample_data.model.chart import LAST_DAY, Chart, Record
from sample_data.vocabulary import pathways, terms

_CLASS: Final = {"AMB": ("门诊", "MZ"), "IMP": ("住院", "ZY"), "EMER": ("急诊", "JZ")}
_CONSULTATION: Final = {"AMB": 2200, "IMP": 0, "EMER": 3000}
_BED_DAY: Final = 6500
_NURSING_DAY: Final = 3800
_SUNDAY: Final = 6


@dataclass(frozen=True, slots=True)
class Episode:
    """A pathway that a person goes through at a hospital.

    Attributes:
        hospital: slug.
        pathway: key in `pathways.PATHWAYS`.
        start: day of the first visit.
        onset: onset of the main diagnosis, as FHIR dateTime; drawn if empty.
        remark: note at the main diagnosis.
    """

    hospital: str
    pathway: str
    start: date
    onset: str = ""
    remark: str = ""


def play(chart: Chart, episode: Episode) -> None:
    """Write all visits of an episode that begin before the last day.

    Args:
        chart: the chart, of the episode's hospital.
        episode: the episode.
    """
    pathway = pathways.PATHWAYS[episode.pathway]
    conditions: tuple[fhir.Element, ...] = ()
    day = episode.start
    for visit in pathway.visits:
        for _ in range(chart.stream.between(*visit.times)):
            day = _working_day(day + timedelta(days=chart.stream.between(*visit.after)), visit.kind)
            stay = chart.stream.between(*visit.stay)
            if day + timedelta(days=stay) > LAST_DAY:
                return
            record = play_visit(chart, episode, visit, day, stay, conditions)
            conditions = record.conditions
            day += timedelta(days=stay)
    if not pathway.chronic:
        _resolve(chart, conditions, day)


def play_visit(
    chart: Chart, episode: Episode, visit: pathways.Visit, day: date, stay: int, conditions: tuple[fhir.Element, ...]
) -> Record:
    """Write one visit.

    Args:
        chart: the chart.
        episode: the episode that it belongs to.
        visit: the plan of the visit.
        day: its first day.
        stay: length of the stay in days; 0 for one that ends on the same day.
        conditions: References to the diagnoses; empty at the first visit, which makes them.

    Returns:
        What it left behind; also added to the chart's records.
    """
    pathway = pathways.PATHWAYS[episode.pathway]
    start, end = _times(chart, visit, day, stay)
    encounter = chart.bundle.upcoming("Encounter")
    visit_number = chart.next_number(_CLASS[visit.kind][1], day)
    if not conditions:
        conditions = _add_conditions(chart, episode, encounter, start)
    chart.bundle.add("Encounter", _encounter(chart, pathway, visit, visit_number, (start, end), conditions))
    session = results.Session(chart, encounter, _department(pathway, visit), visit.values)
    procedures = _work(session, visit, conditions[0], start, stay)
    if stay:
        treatment.add_summary(session, _summary(pathway, visit, start, end), end)
    session.charge("诊察费", _CONSULTATION[visit.kind])
    session.charge("床位费", stay * _BED_DAY)
    session.charge("护理费", stay * _NURSING_DAY)
    record = Record(
        visit.kind, visit_number, encounter, conditions, tuple(session.documents), procedures, session.fees, start, end
    )
    record = billing.add_invoice(chart, record)
    billing.maybe_claim(chart, record)
    chart.records.append(record)
    return record


def condition(chart: Chart, code: str, encounter: fhir.Element, moment: datetime, onset: str) -> fhir.Element:
    """Return the elements of a confirmed, active diagnosis.

    Args:
        chart: the chart.
        code: key in `terms.DIAGNOSES`.
        encounter: Reference to the visit at which it was made.
        moment: when it was recorded.
        onset: when the illness began, as FHIR dateTime.

    Returns:
        Elements of a Condition.
    """
    term = terms.DIAGNOSES[code]
    return {
        "identifier": chart.identify("condition", "ZD", moment.date()),
        "clinicalStatus": fhir.coded("condition-clinical", "active"),
        "verificationStatus": fhir.coded("condition-ver-status", "confirmed"),
        "category": [fhir.coded("condition-category", "encounter-diagnosis")],
        "code": fhir.concept(fhir.ICD10, term.code, term.zh, term.en),
        "subject": chart.patient,
        "encounter": encounter,
        "onsetDateTime": onset,
        "recordedDate": fhir.instant(moment),
    }


def _resolve(chart: Chart, conditions: tuple[fhir.Element, ...], day: date) -> None:
    for reference in conditions:
        resource = chart.bundle.find(reference)
        resource["clinicalStatus"] = fhir.coded("condition-clinical", "resolved")
        resource["abatementDateTime"] = day.isoformat()


def _working_day(day: date, kind: str) -> date:
    return day + timedelta(days=1) if kind == "AMB" and day.weekday() == _SUNDAY else day


def _times(chart: Chart, visit: pathways.Visit, day: date, stay: int) -> tuple[datetime, datetime]:
    last = chart.records[-1].end if chart.records else None
    bounds = (15, 1300) if visit.kind == "EMER" else (480, 960)
    start = fhir.at(day, chart.stream.between(*bounds))
    if last and timedelta() <= last - start < timedelta(days=1):
        # From the emergency room straight to the ward.
        start = last + timedelta(minutes=chart.stream.between(10, 40))
    if stay:
        return start, fhir.at(day + timedelta(days=stay), chart.stream.between(540, 690))
    return start, start + timedelta(minutes=chart.stream.between(95, 200))


def _operating_time(chart: Chart, visit: pathways.Visit, start: datetime, stay: int) -> datetime:
    """Return when the first procedure begins: soon, or on the morning after the admission."""
    if not stay:
        return start + timedelta(minutes=24)
    if visit.urgent:
        return start + timedelta(minutes=chart.stream.between(90, 150))
    return fhir.at(start.date() + timedelta(days=1), chart.stream.between(510, 660))


def _department(pathway: pathways.Pathway, visit: pathways.Visit) -> str:
    return "emergency" if visit.kind == "EMER" else pathway.department


def _onset(chart: Chart, pathway: pathways.Pathway, moment: datetime) -> str:
    months = chart.stream.between(*pathway.before)
    if not months:
        return moment.date().isoformat()
    total = moment.year * 12 + moment.month - 1 - months
    return f"{total // 12}-{total % 12 + 1:02}"


def _add_conditions(
    chart: Chart, episode: Episode, encounter: fhir.Element, moment: datetime
) -> tuple[fhir.Element, ...]:
    pathway = pathways.PATHWAYS[episode.pathway]
    references = []
    for rank, code in enumerate(pathway.diagnoses):
        onset = episode.onset if episode.onset and not rank else _onset(chart, pathway, moment)
        content = condition(chart, code, encounter, moment + timedelta(minutes=25), onset)
        content["recorder"] = chart.hospital.doctor(_department(pathway, pathway.visits[0]))
        if episode.remark and not rank:
            content["note"] = [{"text": episode.remark}]
        references.append(chart.bundle.add("Condition", content))
    return tuple(references)


def _encounter(
    chart: Chart,
    pathway: pathways.Pathway,
    visit: pathways.Visit,
    number: str,
    period: tuple[datetime, datetime],
    conditions: tuple[fhir.Element, ...],
) -> fhir.Element:
    department = _department(pathway, visit)
    term = terms.DEPARTMENTS[department]
    zh, _ = _CLASS[visit.kind]
    role = fhir.coded("diagnosis-role", "DD" if visit.kind == "IMP" else "AD")
    content: fhir.Element = {
        "identifier": [fhir.identifier(chart.hospital.system("encounter"), number, "VN")],
        "status": "finished",
        "class": {"system": fhir.HL7 + "v3-ActCode", "code": visit.kind, "display": zh},
        "serviceType": fhir.concept(directory.DEPARTMENT_SYSTEM, term.code, term.zh),
        "subject": chart.patient,
        "participant": [
            {"type": [fhir.coded("v3-ParticipationType", "ATND")], "individual": chart.hospital.doctor(department)}
        ],
        "period": {"start": fhir.instant(period[0]), "end": fhir.instant(period[1])},
        "reasonCode": [{"text": visit.note}],
        "diagnosis": [{"condition": each, "use": role, "rank": rank} for rank, each in enumerate(conditions, 1)],
        "location": [{"location": chart.hospital.place(visit.kind)}],
        "serviceProvider": chart.hospital.organization(),
    }
    if visit.kind == "IMP":
        content["hospitalization"] = {"dischargeDisposition": fhir.coded("discharge-disposition", "home")}
    return content


def _work(
    session: results.Session, visit: pathways.Visit, main: fhir.Element, start: datetime, stay: int
) -> tuple[fhir.Element, ...]:
    """Write what happens during the visit, in the order in which it does."""
    results.add_vitals(session, visit.vitals, start + timedelta(minutes=6))
    for step, key in enumerate(visit.panels):
        results.add_panel(session, key, start + timedelta(minutes=18 + 2 * step))
    operated = _operating_time(session.chart, visit, start, stay)
    for step, key in enumerate(visit.reports):
        # The specimen goes to pathology after the operation, everything else comes before it.
        after = stay and (key.startswith("pathology") or key.endswith("_after"))
        moment = operated + timedelta(hours=5) if after else start + timedelta(minutes=32 + 14 * step)
        results.add_report(session, key, moment)
    done = [
        treatment.add_operation(session, key, main, operated + timedelta(hours=2 * step), visit.kind)
        for step, key in enumerate(visit.operations)
    ]
    for key in visit.drugs:
        treatment.add_drug(session, key, main, start + timedelta(minutes=58), stay)
    return tuple(done)


def _summary(pathway: pathways.Pathway, visit: pathways.Visit, start: datetime, end: datetime) -> tuple[str, ...]:
    names = "、".join(terms.DIAGNOSES[code].zh for code in pathway.diagnoses)
    operations = "、".join(terms.OPERATIONS[key].zh for key in visit.operations) or "无"
    drugs = "、".join(terms.DRUGS[key].zh for key in visit.drugs)
    return (
        f"入院日期：{start:%Y-%m-%d}  出院日期：{end:%Y-%m-%d}",
        f"入院情况：{visit.note}",
        f"出院诊断：{names}",
        f"手术及操作：{operations}",
        f"诊疗经过：入院后完善相关检查，予{drugs}等治疗，病情好转。",
        "出院医嘱：规律服药，注意休息，门诊随访；如有不适随时就诊。",
    )
