"""What the pages of claims say, in Chinese and English. A data table.

Source: `docs/glossary.md` for the terms.
"""

from __future__ import annotations

from typing import Final

from medchain.web.words import Words

CLAIM_WORDS: Final[Words] = {
    "claims.parts": ("理赔页面", "Parts of claims"),
    "claims.tab.cases": ("赔案", "Claims"),
    "claims.tab.check": ("查重", "Duplicate check"),
    "claims.tab.proofs": ("收到的证明", "Received proofs"),
    "claims.tab.disputes": ("质询", "Disputes"),
    "claims.colour.green": ("无异常", "in order"),
    "claims.colour.amber": ("需留意", "look closer"),
    "claims.colour.red": ("有问题", "something is wrong"),
    "claims.known": ("依据是什么", "How do we know"),
    "claims.disputes.title": ("理赔质询", "Disputes about claims"),
    "claims.disputes.lead": (
        "保险公司就一笔索赔向医院提问，医院按期答复。每一步均由一方签名，双方各自留存并登记。请勿书写姓名。",
        (
            "An insurer asks a hospital about a claim; the hospital answers by a day. Each step is signed, kept and "
            "registered by both. Write no names."
        ),
    ),
    "claims.disputes.none": ("没有质询。", "There is no dispute."),
    "claims.disputes.count": ("共 {count} 件，其中 {overdue} 件逾期", "{count} in all, {overdue} of them overdue"),
    "claims.disputes.count.one": ("共 1 件，其中 {overdue} 件逾期", "1 in all, {overdue} of them overdue"),
    "claims.disputes.back": ("全部质询", "All disputes"),
    "claims.dispute.title": ("理赔质询：{other}", "Dispute: {other}"),
    "claims.dispute.state.question": ("等待医院答复", "Waiting for the hospital's answer"),
    "claims.dispute.state.answer": ("医院已答复", "Answered by the hospital"),
    "claims.dispute.state.close": ("已结束", "Closed"),
    "claims.dispute.step.question": ("提问", "Question"),
    "claims.dispute.step.answer": ("答复", "Answer"),
    "claims.dispute.step.close": ("结束", "Closed"),
    "claims.dispute.overdue": ("逾期，期限 {due}", "overdue since {due}"),
    "claims.dispute.due": ("期限 {due}，还剩 {count} 天", "due {due}, {count} days left"),
    "claims.dispute.due.one": ("期限 {due}，还剩 1 天", "due {due}, 1 day left"),
    "claims.dispute.unheard": (
        "对方尚未收到，会继续送达",
        "not received by the other side yet; it is being brought",
    ),
    "claims.dispute.heard": ("对方于 {time} 收到", "received by the other side {time}"),
    "claims.dispute.claim": ("索赔摘要", "Digest of the claim"),
    "claims.dispute.records": ("涉及的医院记录", "Records of the hospital that it is about"),
    "claims.dispute.said": ("双方说了什么", "What was said"),
    "claims.dispute.known": (
        "{who} 用其认证密钥签署了这一步及其前一步的哈希；双方各自留存，并作为记录登记在账本上。被签署的哈希：",
        (
            "{who} signed this step, and the hash of the one before, with its authentication key; both keep it, and "
            "each has anchored its own record of it. What was signed:"
        ),
    ),
    "claims.dispute.answer": ("答复", "Your answer"),
    "claims.dispute.answer.send": ("签署并发送答复", "Sign and send the answer"),
    "claims.dispute.again": ("再次提问", "Ask again"),
    "claims.dispute.again.send": ("签署并发送提问", "Sign and send the question"),
    "claims.dispute.close": ("结束质询", "Close the dispute"),
    "claims.dispute.close.hint": ("可以不写理由。之后双方不能再补充。", "A reason is optional. Nothing can follow."),
    "claims.dispute.close.send": ("结束", "Close"),
    "claims.dispute.text.hint": (
        "1 至 1000 字，对方会看到，不能更改或撤回。请勿书写姓名。",
        "1 to 1,000 characters. The other side reads it; it can't be changed or taken back. Write no names.",
    ),
    "claims.dispute.days": ("答复期限", "Days to answer"),
    "claims.dispute.days.hint": ("从医院收到提问时起算。", "They run from when the hospital has received it."),
    "claims.dispute.problem.text": ("请写 1 至 1000 字。", "Write 1 to 1,000 characters."),
    "claims.dispute.problem.step": (
        "对方刚刚作了答复或已结束，请先看看。",
        "The other side has answered or closed meanwhile. Look first.",
    ),
    "claims.check.title": ("发票查重", "Duplicate check"),
    "claims.check.lead": (
        "查询发票是否真实、是否已理赔。不会显示是哪家保险公司、多少金额。每次查询医院都会记录，患者也能看到。",
        (
            "Whether an invoice is genuine, and whether it is claimed. Which insurer, and how much, is not shown. The "
            "hospital records each question, and the patient sees it."
        ),
    ),
    "claims.check.one": ("查一张发票", "One invoice"),
    "claims.check.field.issuer": ("开票单位代码", "Issuer code"),
    "claims.check.field.code": ("票据代码", "Invoice code"),
    "claims.check.field.number": ("票据号码", "Invoice number"),
    "claims.check.field.date": ("开票日期", "Date"),
    "claims.check.field.check_code": ("校验码", "Check code"),
    "claims.check.field.amount": ("金额（元）", "Amount (CNY)"),
    "claims.check.field.currency": ("币种", "Currency"),
    "claims.check.field.line": ("行号", "Line"),
    "claims.check.optional": ("（可不填）", "(optional)"),
    "claims.check.ask": ("查询", "Check"),
    "claims.check.found": ("票据 {number}", "Invoice {number}"),
    "claims.check.hospital": ("医院", "Hospital"),
    "claims.check.claim_id": ("理赔编号", "Claim id"),
    "claims.check.known": (
        "医院用可验证随机函数证明编号由这张发票得出；是否已理赔以本节点账本的最终状态为准（{time}，前 {size} 条）。",
        (
            "The hospital proves with a verifiable random function that the id follows from this invoice; whether it "
            "is claimed is what this node's own ledger says, as it is final at {time} with {size} entries."
        ),
    ),
    "claims.check.many": ("查一批发票", "Many invoices"),
    "claims.check.table": ("表格文件（CSV）", "Table (CSV)"),
    "claims.check.table.hint": (
        "列名：开票单位代码、票据代码、票据号码、开票日期、校验码，可有金额、币种、行号。不超过 4 MiB。",
        "Columns: issuer, code, number, date, check_code; amount, currency and line if there are any. At most 4 MiB.",
    ),
    "claims.check.begin": ("开始查询", "Begin"),
    "claims.check.batches": ("您的查询批次", "Your tables"),
    "claims.check.batch": ("{time} 的表格，{count} 行", "Table of {time}, {count} rows"),
    "claims.check.batch.one": ("{time} 的表格，1 行", "Table of {time}, 1 row"),
    "claims.check.progress": ("已查询 {done} / {all}", "{done} of {all} done"),
    "claims.check.done": ("已完成", "Done"),
    "claims.check.leave": (
        "可以离开此页，稍后再回来；24 小时内有效，节点重启后需重新提交。",
        "You may leave this page and come back within 24 hours. After a restart of the node, bring the table again.",
    ),
    "claims.check.failed": (
        "查询中断，未查询的行记为医院暂时无法连接。请重新提交。",
        "This ended before all was asked; what was not is written as not reachable. Bring the table again.",
    ),
    "claims.check.report": ("下载结果（CSV）", "Download the report (CSV)"),
    "claims.check.counts": ("结果汇总", "What was found"),
    "claims.check.meaning": ("说明", "meaning"),
    "claims.check.rows": ("行数", "Rows"),
    "claims.check.row": ("行", "Row"),
    "claims.check.held": ("表格内容", "As in the table"),
    "claims.check.look": ("需要查看的行", "Rows to look at"),
    "claims.check.more": ("另有 {count} 行，见结果文件。", "{count} more rows are in the report."),
    "claims.check.more.one": ("另有 1 行，见结果文件。", "1 more row is in the report."),
    "claims.check.back": ("查重首页", "Back to the duplicate check"),
    "error.claims.role": (
        "本机构不处理理赔：此页仅供保险公司、公共机构，质询页另供医院。",
        "Your organisation does not handle claims: these pages are an insurer's, disputes also a hospital's.",
    ),
    "error.dispute.unknown": ("没有这件质询。", "There is no such dispute."),
    "error.dispute.state": (
        "对方刚刚作了答复或已结束，请先看看。",
        "The other side has answered or closed meanwhile. Look first.",
    ),
    "error.dispute.head": (
        "对方刚刚作了答复或已结束，请先看看。",
        "The other side has answered or closed meanwhile. Look first.",
    ),
    "error.dispute.malformed": ("内容有误，请检查。", "Something of it is not right. Check it."),
    "error.dispute.quota": (
        "一年内与该机构的质询已达上限。",
        "No more disputes can be opened with that organisation this year.",
    ),
    "error.claim.csv": (
        "不是表格，或各行列数不一。",
        "This is no table, or a row has another number of cells.",
    ),
    "error.claim.csv_column": ("缺少列“{{column}}”，或该列重复。", "Column {{column}} is missing, or there twice."),
    "error.claim.csv_rows": ("没有行，或行数过多。", "There is no row, or there are too many."),
    "error.claim.csv_size": ("表格超过 4 MiB，请分开提交。", "The table is larger than 4 MiB. Bring it in parts."),
    "error.claim.checks": (
        "等待查询的表格过多，请等前面的完成。",
        "Too many tables are waiting. Wait until those before are done.",
    ),
    "error.claim.checking": ("尚未查完，请稍后再下载。", "It is not done yet. Download it later."),
    "error.claim.no_check": (
        "没有这份表格：已过 24 小时，或节点已重启。请重新提交。",
        "There is no such table: a day has gone by, or the node was restarted. Bring it again.",
    ),
    "error.claim.malformed": ("内容过长或有误，请检查。", "Something of it is too long, or not right. Check it."),
    "error.invoice.issuer": ("开票单位代码有误。", "The issuer code is not right."),
    "error.invoice.code": ("票据代码有误。", "The invoice code is not right."),
    "error.invoice.number": ("票据号码有误。", "The invoice number is not right."),
    "error.invoice.date": (
        "开票日期有误，请写成 2025-09-06。",
        "The date is not right; write it as 2025-09-06.",
    ),
    "error.invoice.check_code": ("校验码有误。", "The check code is not right."),
    "error.invoice.amount": ("金额有误。", "The amount is not right."),
    "error.invoice.currency": ("币种有误。", "The currency is not right."),
    "error.invoice.line": ("行号有误。", "The line is not right."),
}
"""Every word of these pages."""
