"""What the commands about mandates of the law say, in both languages."""

from __future__ import annotations

from typing import Final

from medchain.commands.command import Text

MANDATE_GROUP: Final = Text("同意以外的法律依据", "legal bases other than consent")
ISSUE_SUMMARY: Final = Text(
    "登记一项法律依据（监管机构），由抽签选出的独立机构背书",
    "enter a legal basis (a regulator), endorsed by the drawn organisation",
)
ISSUE_EXAMPLES: Final = Text(
    """medchain mandate issue --custodian renhe-hospital --patient p017 --recipient taihe-insurance \\
        --basis court --authority 市中级人民法院 --reference "(2026)民初123号" --scope 2026年3月住院记录 \\
        --purpose HLEGAL --type Encounter --type Observation --days 30""",
    """medchain mandate issue --custodian renhe-hospital --patient p017 --recipient taihe-insurance \\
        --basis court --authority "District Court" --reference "2026/123" --scope "hospital stay of March 2026" \\
        --purpose HLEGAL --type Encounter --type Observation --days 30""",
)
CUSTODIAN: Final = Text("保管记录的机构", "organisation that holds the records")
PATIENT: Final = Text("该机构中患者（Patient）的 id", "id of the Patient there")
RECIPIENT: Final = Text("可以得到记录的机构", "organisation that may be given them")
BASIS: Final = Text("依据的种类", "sort of the basis")
AUTHORITY: Final = Text("发布命令的机关，或法律的名称", "who ordered it, or whose law it is")
REFERENCE: Final = Text("文号或条款", "file number, or article")
SCOPE: Final = Text("范围，患者会看到", "what it covers; the patient is shown this")
PURPOSE: Final = Text("用途（v3-ActReason 代码）", "purpose of use, a code of v3-ActReason")
TYPE: Final = Text("FHIR 资源类型，可重复", "FHIR resource type; may be repeated")
DAYS: Final = Text("从现在起的天数，至多 366", "days from now on, at most 366")
ISSUED: Final = Text(
    "已登记：账本第 {position} 条，由 {endorser} 背书，编号 {key}。",
    "Entered: entry {position}, endorsed by {endorser}; its key is {key}.",
)
LIST_SUMMARY: Final = Text("列出本机构持有的法律依据", "list the legal bases of which this node holds the body")
LIST_EXAMPLES: Final = Text("medchain mandate list", "medchain mandate list")
NONE: Final = Text("没有。", "None.")
ROW: Final = Text(
    "{key}  {kind}：{authority}，{reference}；{custodian} → {recipient}，{purpose}，到 {end}；{state}",
    "{key}  {kind}: {authority}, {reference}; {custodian} → {recipient}, {purpose}, until {end}; {state}",
)
IN_FORCE: Final = Text("生效，保管机构尚未开通", "in force, nothing granted under it here")
GRANTED: Final = Text("生效，已开通", "in force, granted")
OVER: Final = Text("已结束", "over")
GRANT_SUMMARY: Final = Text("保管机构：依此给出记录", "the custodian: let its recipient read under it")
GRANT_EXAMPLES: Final = Text("medchain mandate grant KEY", "medchain mandate grant KEY")
KEY: Final = Text("法律依据的编号（映射键）", "map key of the mandate")
GRANT_DONE: Final = Text("已开通：编号 {key}。", "Granted; the grant's key is {key}.")
STOP_SUMMARY: Final = Text("登记它的监管机构：停止一项法律依据", "the regulator that entered it: end a legal basis")
STOP_EXAMPLES: Final = Text("medchain mandate stop KEY", "medchain mandate stop KEY")
STOP_DONE: Final = Text("已停止，立即生效。", "Stopped; it binds at once.")
