"""What the commands say of cases, in Chinese and English."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from medchain.commands.command import Text

VERDICT_SUMMARY: Final = Text(
    "保险公司：收集一份理赔的证据并作出判定", "an insurer: gathers the evidence for a claim, and judges it"
)
VERDICT_EXAMPLES: Final = Text(
    """medchain claims verdict 理赔.json --csv 发票.csv --start 2024-03-01 --waiting 90
medchain claims verdict Claim/42 --out 证据.zip""",
    """medchain claims verdict claim.json --csv invoices.csv --start 2024-03-01 --waiting 90
medchain claims verdict Claim/42 --out evidence.zip""",
)
CLAIM: Final = Text(
    "FHIR Claim 或 ExplanationOfBenefit：JSON 文件，或本节点中的编号（Claim/编号）",
    "FHIR Claim or ExplanationOfBenefit: a JSON file, or one of this node's records (Claim/ID)",
)
HOSPITAL: Final = Text(
    "提供服务的医院（理赔申请没有写明时）", "hospital that provided the services, where the claim does not say"
)
START: Final = Text("保障首日，如 2024-03-01", "first day of the insurance, such as 2024-03-01")
END: Final = Text("保障末日", "its last day")
WAITING: Final = Text("等待期天数", "days from the first on in which nothing is paid")
FRESH: Final = Text("重新询问各医院，不用已有的答复", "ask everybody anew, also those who have answered")
OUT: Final = Text("把证据包写入新文件", "write the evidence into a new file")
PROGRESS: Final = Text("已收集 {done} / {all}", "gathered {done} of {all}")
FAILURE: Final = Text("{hospital} 没有给出任何内容（{code}）。", "Nothing came of {hospital} ({code}).")

ERRORS: Final[Mapping[str, Text]] = {
    "case.amount": Text("理赔申请与发票都没有写明金额。", "Neither the claim nor the invoice says an amount."),
    "case.claim": Text(
        "不是可读取的理赔申请（FHIR Claim 或 ExplanationOfBenefit，至多 1 MiB，每家医院至多 400 条引用）。",
        "This is no claim that can be read: a FHIR Claim or ExplanationOfBenefit of at most 1 MiB, with at most 400 "
        "references to records of one hospital.",
    ),
    "case.changed": Text(
        "自上次判定以来有新情况，请先看现在的判定。",
        "Something has come to light since it was judged last; look at the verdict of now first.",
    ),
    "case.days": Text("天数须在 1 至 {limit} 之间。", "The days must be between 1 and {limit}."),
    "case.failed": Text("本节点出错，请重新判定。", "This node went wrong; have it judged again."),
    "case.held": Text("所持副本有误，或超过 {limit} 份。", "The copies held are not right, or more than {limit}."),
    "case.no_invoice": Text("该案没有发票。", "There is no invoice in this case."),
    "case.note": Text("备注须有 1 至 {limit} 个字符。", "A note has 1 to {limit} characters."),
    "case.notes": Text("该案的备注已满 {limit} 条。", "This case has {limit} notes already."),
    "case.patient": Text(
        "理赔申请没有写明该医院的患者编号，无法征求同意。",
        "The claim does not name a patient of that hospital, who could be asked.",
    ),
    "case.policy": Text("保单期间有误。", "The policy's days are not right."),
    "case.refused": Text(
        "该案已决定不予赔付，不能预留或赔付。", "This case is refused: nothing can be reserved or paid for it."
    ),
    "case.reserved": Text(
        "该案仍有预留或已结付，请先放弃。", "A part is reserved or settled for it; release that first."
    ),
    "case.role": Text("本机构不是保险公司。", "This organisation is no insurer."),
    "case.busy": Text(
        "正在收集的证据过多，请稍后再试。", "The evidence of too many cases is being gathered; try again later."
    ),
    "case.no_grant": Text("没有患者的同意。", "There is no permission."),
    "case.permission_ended": Text("患者的同意已收回或到期。", "The permission was withdrawn, or has ended."),
    "case.unjudged": Text("该案尚未判定。", "This case was not judged yet."),
    "case.unknown": Text("没有这个案件。", "There is no such case."),
}
"""Code → what is said of it."""
