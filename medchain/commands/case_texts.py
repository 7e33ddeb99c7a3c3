"""What the commands say of cases, in Chinese and English."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from medchain.commands.command import Text

ERRORS: Final[Mapping[str, Text]] = {
    "case.amount": Text("理赔申请与发票都没有写明金额。", "Neither the claim nor the invoice says an amount."),
    "case.claim": Text(
        "不是可读取的理赔申请（FHIR Claim 或 ExplanationOfBenefit，至多 1 MiB，每家医院至多 400 条引用）。",
        "This is no claim that can be read: a FHIR Claim or ExplanationOfBenefit of at most 1 MiB, with at most 400 "
        "references to records of one hospital.",
    ),
    "case.days": Text("天数须在 1 至 {limit} 之间。", "The days must be between 1 and {limit}."),
    "case.held": Text("所持副本有误，或超过 {limit} 份。", "The copies held are not right, or more than {limit}."),
    "case.no_invoice": Text("该案没有发票。", "There is no invoice in this case."),
    "case.note": Text("备注须有 1 至 {limit} 个字符。", "A note has 1 to {limit} characters."),
    "case.notes": Text("该案的备注已满 {limit} 条。", "This case has {limit} notes already."),
    "case.patient": Text(
        "理赔申请没有写明该医院的患者编号，无法征求同意。",
        "The claim does not name a patient of that hospital, who could be asked.",
    ),
    "case.policy": Text("保单期间有误。", "The policy's days are not right."),
    "case.reserved": Text("该案仍有预留，请先放弃。", "A part is still reserved for it; release that first."),
    "case.role": Text("本机构不是保险公司。", "This organisation is no insurer."),
    "case.busy": Text(
        "正在收集的证据过多，请稍后再试。", "The evidence of too many cases is being gathered; try again later."
    ),
    "case.no_grant": Text("没有患者的同意。", "There is no permission."),
    "case.unjudged": Text("该案尚未判定。", "This case was not judged yet."),
    "case.unknown": Text("没有这个案件。", "There is no such case."),
}
"""Code → what is said of it."""
