"""What the command about concerns says, in both languages."""

from __future__ import annotations

from typing import Final

from medchain.commands.command import Text

CONCERN_GROUP: Final = Text("患者的更正请求和投诉", "corrections and complaints of patients")
LIST_SUMMARY: Final = Text("列出待答复的更正请求和投诉", "list corrections and complaints that wait for an answer")
LIST_EXAMPLES: Final = Text(
    "medchain concern list\nmedchain concern list --told", "medchain concern list\nmedchain concern list --told"
)
TOLD: Final = Text("监管机构：各保管机构上报的", "at a regulator: those that custodians have told")
NONE: Final = Text("没有待答复的更正请求或投诉。", "No correction or complaint waits for an answer.")
ROW: Final = Text(
    "{kind}  {id}  {custodian}  应在 {due} 前答复  {state}", "{kind}  {id}  {custodian}  answer due by {due}  {state}"
)
WAITING: Final = Text("待答复", "waiting")
OVERDUE: Final = Text("逾期", "overdue")
KINDS: Final = {
    "complaint": Text("投诉", "complaint"),
    "correction": Text("更正请求", "correction"),
}
"""Kind → its word."""
