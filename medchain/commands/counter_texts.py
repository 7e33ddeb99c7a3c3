"""What the command for claims at the counter says, in Chinese and English."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from medchain.commands.command import Text

SUMMARY: Final = Text(
    "保险公司：患者还在柜台时办完一笔理赔——请患者许可、核验、预留、赔付",
    "an insurer: settle a claim while the patient waits: the patient's permission, verdict, reservation, payment",
)
EXAMPLES: Final = Text(
    """medchain claims counter Claim/c17 --reason 核对三月的住院费用
medchain claims counter 赔案.json --reason 核对三月的住院费用 --wait 120""",
    """medchain claims counter Claim/c17 --reason "to settle your stay in March"
medchain claims counter claim.json --reason "to settle your stay in March" --wait 120""",
)
CLAIM: Final = Text("本节点上的 Claim/编号，或理赔申请的文件", "Claim/ID on this node, or the claim's file")
REASON: Final = Text("给患者看的理由", "why, in words for the patient")
PERSON: Final = Text("谁在请求，给患者看", "who asks, in words for the patient")
HOSPITAL: Final = Text(
    "向哪家医院的记录请求，默认为提供服务的医院", "of whose records; of who provided the services unless told"
)
DAYS: Final = Text("许可的天数，默认 7", "days of the permission, 7 unless told")
WAIT: Final = Text("最多等患者多少秒，默认 600", "how many seconds the patient is waited for, 600 unless told")
AGAIN: Final = Text("已经请求过也再请求一次", "ask once more, though the patient was asked already")
STEPS: Final[Mapping[str, Text]] = {
    "asked": Text("已请求患者许可（{seconds} 秒）", "the patient is asked ({seconds} s)"),
    "permitted": Text("患者已许可（{seconds} 秒）", "the patient has permitted it ({seconds} s)"),
    "judged": Text("已取证并核验（{seconds} 秒）", "evidence gathered and judged ({seconds} s)"),
    "reserved": Text("已在账本预留（{seconds} 秒）", "reserved on the ledger ({seconds} s)"),
    "settled": Text("已在账本结算（{seconds} 秒）", "settled on the ledger ({seconds} s)"),
}
"""Step (`medchain.claims.counter.Step`) → what is said once it is done."""
SETTLED: Final = Text("已赔付，共 {seconds} 秒。", "Settled, {seconds} s in all.")
OPEN: Final = Text(
    "核验结果不是绿色，没有赔付：请人工查看案件 {case}。",
    "The verdict is not green: nothing is paid. A person should look at case {case}.",
)
DISPUTED: Final = Text(
    "正就此索赔质询医院，没有赔付：请人工查看案件 {case}。",
    "A dispute with the hospital is open: nothing is paid. A person should look at case {case}.",
)
DOUBTED: Final = Text(
    "电子票据查验结果有疑问，没有赔付：请人工查看案件 {case}。",
    "A service for e-invoices doubts the invoice: nothing is paid. A person should look at case {case}.",
)
REFUSED: Final = Text(
    "已有人决定不予赔付：案件 {case}。",
    "A person has refused it: nothing is paid. It is case {case}.",
)
ERRORS: Final[Mapping[str, Text]] = {
    "case.waits": Text(
        "患者还没有许可（是否拒绝不会告知）。稍后可再试，会从这里继续。",
        "The patient has not permitted it yet; whether it was declined is told to nobody. Try again later: it goes on.",
    ),
}
"""Code → what is said of it."""
