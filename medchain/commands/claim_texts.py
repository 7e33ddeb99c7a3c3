"""What the commands about claims on invoices say, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from medchain.claims import check_words
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
    "{all} {all:row|rows}: {counts}. As this node's ledger is final at {time}, with {size} entries.",
)
MEANING: Final = Text("说明", "meaning")
BETWEEN: Final = Text(*check_words.BETWEEN)
DIFFERENCES: Final[Mapping[str, Text]] = {name: Text(*words) for name, words in check_words.DIFFERENCES.items()}
"""What differs → its word."""
FINDINGS: Final[Mapping[str, Text]] = {name: Text(*words) for name, words in check_words.FINDINGS.items()}
"""Finding → what it means."""

RESERVE_SUMMARY: Final = Text(
    "保险公司：为一张发票（或其一部分）预留理赔",
    "an insurer: reserve an invoice, or a part of it, for a claim",
)
RESERVE_EXAMPLES: Final = Text(
    """medchain claims reserve --csv 发票.csv --claim 赔案.json
medchain claims reserve --csv 发票.csv --row 3 --claim 赔案.json --amount 1200.50 --days 14""",
    """medchain claims reserve --csv invoices.csv --claim claim.json
medchain claims reserve --csv invoices.csv --row 3 --claim claim.json --amount 1200.50 --days 14""",
)
SETTLE_SUMMARY: Final = Text("保险公司：赔付已预留的部分", "an insurer: settle what it reserved, or less")
SETTLE_EXAMPLES: Final = Text(
    "medchain claims settle --csv 发票.csv --claim 赔案.json",
    "medchain claims settle --csv invoices.csv --claim claim.json",
)
RELEASE_SUMMARY: Final = Text("保险公司：放弃预留或赔付", "an insurer: give up what it reserved or settled")
RELEASE_EXAMPLES: Final = Text(
    "medchain claims release --csv 发票.csv --claim 赔案.json",
    "medchain claims release --csv invoices.csv --claim claim.json",
)
REVERSE_SUMMARY: Final = Text(
    "医院：冲红一张发票，此后永不能理赔",
    "a hospital: take an invoice back; it is never claimed again",
)
REVERSE_EXAMPLES: Final = Text("medchain claims reverse --csv 发票.csv", "medchain claims reverse --csv invoices.csv")
REFUND_SUMMARY: Final = Text(
    "医院：退还已有理赔的发票的一部分金额",
    "a hospital: refund a part of an invoice of which something is claimed",
)
REFUND_EXAMPLES: Final = Text(
    "medchain claims refund --csv 发票.csv --amount 80.00",
    "medchain claims refund --csv invoices.csv --amount 80.00",
)
ROW: Final = Text("表格中的第几张发票，默认第 1 张", "which invoice of the table; the first without it")
CLAIM: Final = Text(
    "赔案文件；只用其摘要，同一赔案每次须用同一文件",
    "file of the insurer's own claim, of which the digest is used: the same file each time",
)
AMOUNT: Final = Text("金额，默认发票金额", "how much; without it, what the invoice comes to")
REFUNDED: Final = Text("退还的金额", "how much is refunded")
DAYS: Final = Text("预留天数，0 至 30，默认 7", "for how many days, 0 to 30; 7 without it")
YES: Final = Text("不再询问", "do not ask")
CONFIRM: Final = Text("冲红后永不能撤销。确定？[yes/否]", "This is for ever. Are you sure? [yes/no]")
DROPPED: Final = Text("未作任何更改。", "Nothing was changed.")
STAND_IN: Final = Text(
    "电子票据一栏由演示替身答复，并非财政部门的查验结果。",
    "What is said of e-invoices comes from a stand-in: no service of the ministry's was asked.",
)
STAND_IN_SUMMARY: Final = Text(
    "演示：用表格中的票据冒充电子票据查验服务，每个答复都注明是替身",
    "to try things out: answer as a service for e-invoices would, and say each time that it is a stand-in",
)
STAND_IN_EXAMPLES: Final = Text(
    "medchain claims stand-in --csv issued.csv --listen 127.0.0.1:8099",
    "medchain claims stand-in --csv issued.csv --listen 127.0.0.1:8099",
)
STAND_IN_CSV: Final = Text(
    "已开出的票据表；state 列为 reversed 表示已冲红",
    "table of the invoices that were issued; `reversed` in a column `state` says that one was taken back",
)
LISTEN: Final = Text("监听地址，只可为本机", "where it answers, on this machine alone")
TOKEN: Final = Text("来问者须出示的令牌文件", "file with the token that who asks must show")
STANDS_IN: Final = Text(
    "替身在 {url} 答复；把 einvoice.url 设为它。Ctrl-C 结束。",
    "A stand-in answers at {url}; set einvoice.url to it. Ctrl-C ends it.",
)
FULFILLED: Final = Text(
    "已完成，账本第 {position} 条：{deed}；发票状态 {status}，第 {version} 版。",
    "Done, entry {position}: {deed}; the invoice is {status}, version {version}.",
)
OTHERWISE: Final = Text(
    "请核对：所持票据与医院的发票不符：{differs}。",
    "Look at it: your copy says otherwise than the hospital's invoice: {differs}.",
)
DONE: Final = Text("已完成：第 {version} 版，编号 {key}。", "Done: version {version}; its key is {key}.")
STATES: Final[Mapping[str, Text]] = {
    "released": Text("已放弃", "released"),
    "reserved": Text("已预留", "reserved"),
    "reversed": Text("已冲红", "reversed"),
    "settled": Text("已赔付", "settled"),
}
"""State of a part, or status of an invoice → its word."""

ERRORS: Final[Mapping[str, Text]] = {
    "claim.amount": Text("金额超过可理赔或已预留的金额。", "It is more than is open, or was reserved."),
    "claim.apart": Text(
        "这张发票已按整张或按明细行理赔，不能再以另一种方式理赔。",
        "This invoice is claimed already the other way, whole or by its lines.",
    ),
    "claim.total": Text(
        "表中的金额不是这张发票现在的金额，可能已经退过费：请核对后改为现在的金额。",
        "The amount in the table is not what the invoice comes to now: it may have been refunded already.",
    ),
    "claim.lines": Text(
        "这样理赔可能超过整张发票的金额，请医院核对其明细行与退费。",
        "So more than the invoice could be claimed; have the hospital look at its lines and refunds.",
    ),
    "claim.cancelled": Text("医院的这张发票已作废。", "The hospital has cancelled this invoice."),
    "claim.done": Text("医院称已完成，但账本上没有。", "The hospital says that it is done, and the ledger does not."),
    "einvoice.listen": Text(
        "替身只可监听本机地址，例如 127.0.0.1:8099。",
        "A stand-in listens on this machine alone, such as 127.0.0.1:8099.",
    ),
    "claim.fishing": Text(
        "今日查无此票的次数过多，医院停止答复。", "Too many invoices were unknown today: the hospital answers no more."
    ),
    "claim.cited": Text(
        "理赔引用的记录须写作“类型/编号”，按序排列、不重复，1–400 条。",
        "The records that a claim cites are written as TYPE/ID, sorted, none twice, 1 to 400.",
    ),
    "claim.full": Text("参与这张发票理赔的机构已满。", "No more parts of this invoice can be claimed."),
    "claim.head": Text("其他机构抢先更改了这张发票，请重试。", "Others were first each time; try again."),
    "claim.inactive": Text("开票单位已停用或已退出联盟。", "Who issued it is suspended, or no member any more."),
    "claim.replaced": Text(
        "这张发票是重开的，原发票尚未冲红：医院须先冲红原发票。",
        "It was issued in the place of another invoice, which the hospital has to take back first.",
    ),
    "claim.none": Text(
        "这张发票尚无理赔，请直接更改发票。", "Nothing was ever claimed of it: change the invoice itself."
    ),
    "claim.no_body": Text("本节点没有这张发票理赔的内容。", "The contents of its claims are not here."),
    "claim.no_key": Text("本节点没有该日期发票的密钥。", "The key for invoices of that date is not here."),
    "claim.outside": Text("开票单位不是联盟成员。", "No member issues invoices under that code."),
    "claim.repeated": Text("这已经做过。", "That is done already."),
    "claim.reservation": Text("没有这一赔案的有效预留。", "Nothing is reserved for that claim, or not any more."),
    "claim.row": Text("表格中没有第 {row} 张发票，或该行无法读取。", "There is no row {row} that can be read."),
    "claim.unknown": Text(
        "医院没有此发票，或校验码有误。", "The hospital has no such invoice, or the check code is wrong."
    ),
    "claim.until": Text("预留天数有误。", "The days of the reservation are not right."),
    "claim.csv": Text("不是表格，或各行列数不一。", "This is no table, or a row has another number of cells."),
    "claim.csv_column": Text("缺少列 {column}，或该列重复。", "Column {column} is missing, or there twice."),
    "claim.csv_rows": Text("没有行，或超过 {most} 行。", "There is no row, or there are more than {most}."),
    "claim.malformed": Text("问题的内容有误。", "What is asked is not right."),
}
"""Code → what is said of it."""
