"""Money: the electronic medical invoice of a visit, the claim on it and the insurer's explanation of benefit.

Keeps true: amounts are whole fen and add up: lines to the total, fund and own part to the total, benefit from the own
part. An invoice is shaped like the Ministry of Finance's electronic medical invoice: code of eight digits (region, 06
for medical, kind, year), number of ten digits, check code of six characters. The region code 99 is not assigned.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sample_data.model import directory, fhir
from sample_data.model.chart import LAST_DAY, Chart, Policy, Record

INVOICE_CODE: Final = "https://medchain.example/fhir/id/e-invoice-code"
INVOICE_NUMBER: Final = "https://medchain.example/fhir/id/e-invoice-number"
INVOICE_CHECK: Final = "https://medchain.example/fhir/id/e-invoice-check"
"""Identifier systems of an electronic invoice's code, number and check code."""

_KINDS: Final = {"AMB": "01", "EMER": "01", "IMP": "02"}
_CATEGORY: Final = "https://medchain.example/fhir/CodeSystem/fee-category"
_CODES: Final = {
    "诊察费": "01", "检查费": "02", "化验费": "03", "治疗费": "04", "手术费": "05", "护理费": "06", "材料费": "07",
    "西药费": "08", "床位费": "10",
}  # fmt: skip
_CHECK_LETTERS: Final = "ghjkmnpqrstuvwxyz"
_CHECK_CHARACTERS: Final = "0123456789abcdefghjkmnpqrstuvwxyz"
_DEDUCTIBLE: Final = 20000
_BENEFIT_PERCENT: Final = 85
_SETTLING: Final = timedelta(days=9)


def claim_system(insurer: str) -> str:
    """Return the identifier system of an insurer's claim numbers."""
    return f"https://{insurer}.example/fhir/id/claim"


def add_invoice(chart: Chart, record: Record) -> Record:
    """Write the invoice of a visit.

    Args:
        chart: the chart.
        record: the visit.

    Returns:
        The record with its invoice.
    """
    own = own_part(record.fees)
    fund = sum(record.fees.values()) - own
    day = record.end.date()
    code = f"9906{_KINDS[record.kind]}{day:%y}"
    number = f"{directory.MEMBERS.index(chart.hospital.member) + 1}{chart.stream.between(0, 10**9 - 1):09}"
    issuer = chart.hospital.organization()
    issuer["identifier"] = {"system": directory.INVOICING_PARTY, "value": chart.hospital.member.invoicing_party}
    content: fhir.Element = {
        "identifier": [
            fhir.identifier(INVOICE_CODE, code),
            fhir.identifier(INVOICE_NUMBER, number),
            fhir.identifier(INVOICE_CHECK, _check_code(chart)),
        ],
        "status": "issued",
        "type": {"text": "医疗住院收费票据（电子）" if record.kind == "IMP" else "医疗门诊收费票据（电子）"},
        "subject": chart.patient,
        "recipient": chart.patient,
        "date": fhir.instant(record.end),
        "issuer": issuer,
        "lineItem": [_line(sequence, *fee) for sequence, fee in enumerate(record.fees.items(), 1)],
        "totalPriceComponent": [
            {"type": "informational", "code": {"text": "医保统筹基金支付"}, "amount": fhir.money(fund)},
            {"type": "informational", "code": {"text": "个人支付"}, "amount": fhir.money(own)},
        ],
        "totalNet": fhir.money(own + fund),
        "totalGross": fhir.money(own + fund),
    }
    if record.kind == "IMP":
        content["account"] = _account(chart, record)
    return replace(record, invoice=chart.bundle.add("Invoice", content), invoice_number=(code, number))


def maybe_claim(chart: Chart, record: Record) -> None:
    """Claim a visit where people do: every stay in hospital, and every third other visit of someone insured."""
    for policy in chart.policies:
        if policy.covers(record.start.date()) and (record.kind == "IMP" or chart.stream.chance(33)):
            filed = record.end + timedelta(days=chart.stream.between(3, 30), minutes=chart.stream.between(0, 300))
            if filed.date() <= LAST_DAY:
                add_claim(chart, record, policy, filed, settle=filed.date() <= LAST_DAY - _SETTLING)
            return


def add_claim(chart: Chart, record: Record, policy: Policy, filed: datetime, *, settle: bool) -> str:
    """Write a claim on a visit, and the insurer's answer.

    Args:
        chart: the chart.
        record: the visit.
        policy: whose insurer pays.
        filed: when the claim was made.
        settle: whether the insurer has answered.

    Returns:
        The claim's number, which is also added to the record.
    """
    number = f"{_letters(policy.insurer)}{filed:%Y%m%d}{chart.person.index:03}{chart.stream.between(0, 9999):04}"
    content = claim_content(chart, record, policy, filed, number)
    reference = chart.bundle.add("Claim", content)
    record.claims.append(number)
    if settle:
        chart.bundle.add("ExplanationOfBenefit", _benefit(chart, record, policy, filed, reference))
    return number


def claim_content(chart: Chart, record: Record, policy: Policy, filed: datetime, number: str) -> fhir.Element:
    """Return the elements of a claim; see `add_claim`."""
    items = [
        {**_item(sequence, *fee), "encounter": [record.encounter]}
        for sequence, fee in enumerate(record.fees.items(), 1)
    ]
    cited = [record.invoice, *record.documents]
    content: fhir.Element = {
        "identifier": [fhir.identifier(claim_system(policy.insurer), number)],
        **_head(chart, record, policy, filed),
        "priority": fhir.coded("processpriority", "normal"),
        "payee": {"type": fhir.coded("payeetype", "subscriber")},
        "supportingInfo": [
            {"sequence": sequence, "category": fhir.coded("claiminformationcategory", "info"), "valueReference": each}
            for sequence, each in enumerate(cited, 1)
        ],
        "diagnosis": [
            {"sequence": sequence, "diagnosisReference": each} for sequence, each in enumerate(record.conditions, 1)
        ],
        "insurance": [{"sequence": 1, "focal": True, "coverage": chart.coverages[policy.number]}],
        "item": items,
        "total": fhir.money(sum(record.fees.values())),
    }
    if record.procedures:
        content["procedure"] = [
            {"sequence": sequence, "procedureReference": each} for sequence, each in enumerate(record.procedures, 1)
        ]
    return content


def own_part(fees: dict[str, int]) -> int:
    """Return what the patient pays, in fen; the public fund pays for seven tenths of what is not a material."""
    total = sum(fees.values())
    return total - (total - fees.get("材料费", 0)) * 7 // 10 - fees.get("材料费", 0) // 2


def _letters(insurer: str) -> str:
    return next(member.prefix for member in directory.MEMBERS if member.slug == insurer)


def _check_code(chart: Chart) -> str:
    """Draw six characters; the first two are letters beyond f, so that the code is never part of a hexadecimal text."""
    letters = [chart.stream.choice(_CHECK_LETTERS) for _ in range(2)]
    return "".join(letters + [chart.stream.choice(_CHECK_CHARACTERS) for _ in range(4)])


def _account(chart: Chart, record: Record) -> fhir.Element:
    content: fhir.Element = {
        "identifier": chart.identify("account", "ZH", record.start.date()),
        "status": "inactive",
        "type": {"coding": [{"system": fhir.HL7 + "v3-ActCode", "code": "PBILLACCT"}], "text": "住院费用账户"},
        "subject": [chart.patient],
        "servicePeriod": {"start": fhir.instant(record.start), "end": fhir.instant(record.end)},
        "owner": chart.hospital.organization(),
    }
    return chart.bundle.add("Account", content)


def _line(sequence: int, category: str, fen: int) -> fhir.Element:
    return {
        "sequence": sequence,
        "chargeItemCodeableConcept": fhir.concept(_CATEGORY, _CODES[category], category),
        "priceComponent": [{"type": "base", "amount": fhir.money(fen)}],
    }


def _item(sequence: int, category: str, fen: int) -> fhir.Element:
    return {
        "sequence": sequence,
        "productOrService": fhir.concept(_CATEGORY, _CODES[category], category),
        "net": fhir.money(fen),
    }


def _head(chart: Chart, record: Record, policy: Policy, created: datetime) -> fhir.Element:
    """Return what a claim and its answer have in common."""
    return {
        "status": "active",
        "type": fhir.coded("claim-type", "institutional"),
        "use": "claim",
        "patient": chart.patient,
        "billablePeriod": {"start": fhir.instant(record.start), "end": fhir.instant(record.end)},
        "created": fhir.instant(created),
        "insurer": directory.insurer(policy.insurer),
        "provider": chart.hospital.organization(),
    }


def _benefit(chart: Chart, record: Record, policy: Policy, filed: datetime, claim: fhir.Element) -> fhir.Element:
    decided = filed + timedelta(days=chart.stream.between(2, 9))
    own = own_part(record.fees)
    inpatient = record.kind == "IMP"
    deductible = min(own, _DEDUCTIBLE) if inpatient else 0
    benefit = (own - deductible) * _BENEFIT_PERCENT // 100
    amounts = {
        "submitted": sum(record.fees.values()), "eligible": own, "deductible": deductible, "benefit": benefit
    }  # fmt: skip
    adjudication = "adjudication"
    return {
        "identifier": [fhir.identifier(claim_system(policy.insurer) + "-decision", f"{record.claims[-1]}-1")],
        **_head(chart, record, policy, decided),
        "claim": claim,
        "outcome": "complete",
        "disposition": "资料齐全，同意给付",
        "insurance": [{"focal": True, "coverage": chart.coverages[policy.number]}],
        "item": [
            {**_item(sequence, *fee), "adjudication": [{"category": fhir.coded(adjudication, "submitted"),
                                                        "amount": fhir.money(fee[1])}]}
            for sequence, fee in enumerate(record.fees.items(), 1)
        ],
        "total": [
            {"category": fhir.coded(adjudication, key), "amount": fhir.money(fen)} for key, fen in amounts.items()
        ],
        "payment": {"date": (decided.date() + timedelta(days=2)).isoformat(), "amount": fhir.money(benefit)},
    }  # fmt: skip
