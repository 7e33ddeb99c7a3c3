"""What the commands about claims on invoices say, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from medchain.commands.command import Text

CLAIM_GROUP: Final = Text("发票是否已理赔", "whether invoices are claimed")
CHECK_SUMMARY: Final = Text(
    "保险公司：查询一批发票是否真实、是否已理赔",
    "an insurer: whether invoices are genuine, and whether they are claimed",
)
CHECK_EXAMPLES: Final = Text(
    """medchain claims check --csv 发票.csv
medchain claims check --csv 发票.csv --out 结果.csv --lang zh""",
    """medchain claims check --csv invoices.csv
medchain claims check --csv invoices.csv --out report.csv""",
)
CSV: Final = Text(
    "表格（CSV，UTF-8 或 GB 18030）：开票单位代码、票据代码、票据号码、开票日期、校验码，可有金额、币种、行号",
    "table (CSV): issuer, code, number, date, check_code; amount, currency and line if there are any",
)
OUT: Final = Text("写入新文件，而不是标准输出", "write a new file instead of the standard output")
PROGRESS: Final = Text("已查询 {done} / {all}", "asked for {done} of {all}")
SUMMARY: Final = Text(
    "共 {all} 行：{counts}。以本节点账本的最终状态（{time}，前 {size} 条）为准。",
    "{all} rows: {counts}. As this node's ledger is final at {time}, with {size} entries.",
)
MEANING: Final = Text("说明", "meaning")
DIFFERS: Final = Text("{meaning}；与发票不符：{differs}", "{meaning}; other than on the invoice: {differs}")
DIFFERENCES: Final[Mapping[str, Text]] = {
    "amount": Text("金额", "amount"),
    "date": Text("日期", "date"),
    "status": Text("状态", "state"),
}
"""What differs → its word."""
BETWEEN: Final = Text("、", ", ")
FINDINGS: Final[Mapping[str, Text]] = {
    "free": Text("真实，未理赔", "genuine, not claimed"),
    "malformed": Text("此行无法读取", "this row cannot be read"),
    "outside": Text("开票单位不是联盟成员，无法核查", "issued by no member: it cannot be checked"),
    "refused": Text("医院拒绝答复，或其答复有误", "the hospital refuses to answer, or its answer does not hold"),
    "reserved": Text("真实，已有机构预留理赔", "genuine, reserved for a claim"),
    "reversed": Text("真实，但医院已冲红作废", "genuine, but the hospital has taken it back"),
    "settled": Text("真实，已理赔（部分或全部）", "genuine, paid in part or whole"),
    "stopped": Text("今日查无此票的次数过多，医院停止答复", "the hospital answers no more today: many were unknown"),
    "unknown": Text("医院没有此发票，或校验码有误", "the hospital has no such invoice, or the check code is wrong"),
    "unreachable": Text("医院节点暂时无法连接", "the hospital does not answer now"),
}
"""Finding → what it means."""

ERRORS: Final[Mapping[str, Text]] = {
    "claim.csv": Text("不是表格，或各行列数不一。", "This is no table, or a row has another number of cells."),
    "claim.csv_column": Text("缺少列 {column}，或该列重复。", "Column {column} is missing, or there twice."),
    "claim.csv_rows": Text("没有行，或超过 {most} 行。", "There is no row, or there are more than {most}."),
    "claim.malformed": Text("问题的内容有误。", "What is asked is not right."),
}
"""Code → what is said of it."""
