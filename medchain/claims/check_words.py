"""What came of asking for invoices, in words: (Chinese, English). A data table. Pure.

Source: `docs/spec/claim-question.md` 12.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from medchain.encoding import Json

FINDINGS: Final[Mapping[str, tuple[str, str]]] = {
    "apart": (
        "真实，但已按行或按整张理赔，不能再以另一种方式理赔",
        "genuine, but claimed already by its lines, or as a whole",
    ),
    "free": ("真实，未理赔", "genuine, not claimed"),
    "malformed": ("此行无法读取", "this row cannot be read"),
    "outside": ("开票单位不是联盟成员，无法核查", "issued by no member: it cannot be checked"),
    "refused": ("医院拒绝答复，或其答复有误", "the hospital refuses to answer, or its answer does not hold"),
    "reserved": ("真实，已有机构预留理赔", "genuine, reserved for a claim"),
    "reversed": ("真实，但医院已冲红作废", "genuine, but the hospital has taken it back"),
    "settled": ("真实，已理赔（部分或全部）", "genuine, paid in part or whole"),
    "stopped": ("今日查无此票的次数过多，医院停止答复", "the hospital answers no more today: many were unknown"),
    "unknown": ("医院没有此发票，或校验码有误", "the hospital has no such invoice, or the check code is wrong"),
    "unreachable": ("医院节点暂时无法连接", "the hospital does not answer now"),
}
"""Finding → what it means."""

DIFFERENCES: Final[Mapping[str, tuple[str, str]]] = {
    "amount": ("金额", "amount"),
    "date": ("日期", "date"),
    "number": ("票据代码或号码（纸质件另有编号）", "code or number (those of a paper copy are others)"),
    "status": ("状态", "state"),
}
"""What differs → its word."""

DIFFERS: Final = ("{meaning}；与发票不符：{differs}", "{meaning}; other than on the invoice: {differs}")
"""What a row means that is not what the invoice says."""

EINVOICES: Final[Mapping[str, tuple[str, str]]] = {
    "genuine": ("电子票据属实", "the e-invoice is genuine"),
    "not_asked": (
        "未查验（只查有代码和金额的整张电子票据）",
        "not asked for (only a whole electronic invoice with code and amount is)",
    ),
    "otherwise": ("有此票，但校验码、日期或金额不符", "there is one, with another check code, date or amount"),
    "reversed": ("电子票据已冲红", "the e-invoice was taken back"),
    "unknown": (
        "查无此电子票据（纸质件另有编号）",
        "there is no such e-invoice (a copy on paper has numbers of its own)",
    ),
    "unreachable": ("查验服务未答复", "the service does not answer"),
}
"""What a service for electronic invoices says (`docs/spec/einvoice.md`) → in words."""

STOOD_IN: Final = ("演示替身（非财政部门）：{said}", "stand-in, not the ministry: {said}")
"""The same where a stand-in says it."""

BETWEEN: Final = ("、", ", ")
"""What stands between the words of a list."""


def meaning_of(finding: str, differs: Sequence[str], language: str) -> str:
    """Say what came of a row.

    Args:
        finding: one of `FINDINGS`.
        differs: what of it is other than on the invoice, of `DIFFERENCES`.
        language: ``zh``; anything else is English.
    """
    at = 0 if language == "zh" else 1
    meaning = FINDINGS[finding][at]
    if not differs:
        return meaning
    return DIFFERS[at].format(meaning=meaning, differs=BETWEEN[at].join(DIFFERENCES[one][at] for one in differs))


def einvoice_of(told: Mapping[str, Json], language: str) -> str:
    """Say what a service for electronic invoices says.

    Args:
        told: ``answer``, one of `EINVOICES`, and ``stand_in``; empty where none was asked.
        language: as in `meaning_of`.

    Returns:
        Words; empty where none was asked.
    """
    if not told:
        return ""
    at = 0 if language == "zh" else 1
    said = EINVOICES[str(told["answer"])][at]
    return STOOD_IN[at].format(said=said) if told["stand_in"] else said
