"""What came of asking for invoices, in words: (Chinese, English). A data table. Pure.

Source: `docs/spec/claim-question.md` 12.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

FINDINGS: Final[Mapping[str, tuple[str, str]]] = {
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
