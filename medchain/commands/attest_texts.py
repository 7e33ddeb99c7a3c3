"""What the commands about statements say, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from medchain.commands.command import Text

ATTEST_GROUP: Final = Text("登记类型的声明及其各个步骤", "statements of registered types, and the steps of their life")
TYPES_SUMMARY: Final = Text("列出成员登记的声明类型", "list the types of statements that the members have registered")
TYPES_EXAMPLES: Final = Text("medchain attest types", "medchain attest types")
TYPE_ROW: Final = Text(
    "{type}：由 {makers} 出具，内容 {fields}；初始状态 {state}",
    "{type}: made by {makers}, saying {fields}; its first state is {state}",
)
STEP_ROW: Final = Text(
    "  {step}：{by}，{states} → {state}，填写 {sets}", "  {step}: {by}, {states} → {state}, saying {sets}"
)
NO_TYPES: Final = Text(
    "尚未登记任何类型：请用 policy register 提出。", "None: the members register types with `policy register`."
)
MAKE_SUMMARY: Final = Text("出具一份声明", "make a statement")
MAKE_EXAMPLES: Final = Text(
    """medchain attest make https://medchain.example/prescription/v1 --name "Rx 2026/118" --file rx.json \\
        --say medication="阿莫西林 500 毫克" --say dosage=1-0-1 --say quantity=20 --days 30 --ticket
medchain attest make https://medchain.example/carbon-report/v1 --name "仁和医院 2025 年" --file report.pdf \\
        --say boundary="范围一和二" --say emissions_kg=8400000 --say method="GHG Protocol" --party health-commission""",
    """medchain attest make https://medchain.example/prescription/v1 --name "Rx 2026/118" --file rx.json \\
        --say medication="amoxicillin 500 mg" --say dosage=1-0-1 --say quantity=20 --days 30 --ticket
medchain attest make https://medchain.example/carbon-report/v1 --name "Renhe 2025" --file report.pdf \\
        --say boundary="scope 1, 2" --say emissions_kg=8400000 --say method="GHG Protocol" --party health-commission""",
)
TYPE: Final = Text("类型（URI）", "its type, a URI")
NAME: Final = Text("声明所指之物的名称或编号，不得写人名", "name or number of what it is about; it names no person")
FILE: Final = Text("该物本身的文件，取其 SHA-256", "file with the thing itself, of which the SHA-256 is taken")
SAY: Final = Text("声明的内容，可重复；整数按数字填写", "what it says; may be repeated; a whole number is a number")
PARTY: Final = Text("持有该声明的机构，可重复", "organisation that holds it; may be repeated")
DAYS: Final = Text("从现在起的天数，之后不再有任何步骤", "days from now on, after which no step is taken")
TICKET_WANTED: Final = Text(
    "另出一张凭条：持凭条者可向其他机构办理下一步",
    "give a ticket: whoever brings it to another member has the next step taken there",
)
MADE: Final = Text(
    "已出具：账本第 {position} 条，由 {endorser} 背书，编号 {key}。",
    "Made: entry {position}, endorsed by {endorser}; its key is {key}.",
)
TICKET_MADE: Final = Text("凭条（仅此一次显示）：{ticket}", "Its ticket, which is shown this once: {ticket}")
STEP_SUMMARY: Final = Text(
    "办理一步：自己的声明，或凭条、当事方身份办理他人的声明",
    "take a step: of a statement of one's own, or of another's as a party or with its ticket",
)
STEP_EXAMPLES: Final = Text(
    """medchain attest step KEY dispense --say batch=A-17 --ticket TICKET
medchain attest step KEY verify --say finding=与计量相符""",
    """medchain attest step KEY dispense --say batch=A-17 --ticket TICKET
medchain attest step KEY verify --say finding="as measured\"""",
)
KEY: Final = Text("声明的编号（映射键）", "map key of the statement")
STEP: Final = Text("步骤的名称", "name of the step")
TICKET: Final = Text("凭条", "the ticket")
STEPPED: Final = Text("已办理：第 {version} 版，账本第 {position} 条。", "Taken: version {version}, entry {position}.")
LIST_SUMMARY: Final = Text("列出本机构持有的声明", "list the statements of which this node holds the body")
LIST_EXAMPLES: Final = Text("medchain attest list", "medchain attest list")
NONE: Final = Text("没有。", "None.")
ROW: Final = Text(
    "{key}  {type}：{name}，{creator}；{state}（第 {version} 版，{status}）",
    "{key}  {type}: {name}, by {creator}; {state} (version {version}, {status})",
)
STATUSES: Final[Mapping[str, Text]] = {
    "active": Text("还可办理", "further steps are possible"),
    "ended": Text("已终结", "no further step"),
}
SHOW_SUMMARY: Final = Text("查看一份声明及其各个步骤", "show a statement with the steps that were taken")
SHOW_EXAMPLES: Final = Text(
    "medchain attest show KEY\nmedchain attest show KEY --ticket TICKET",
    "medchain attest show KEY\nmedchain attest show KEY --ticket TICKET",
)
SAID: Final = Text("  {field}：{value}", "  {field}: {value}")
TAKEN: Final = Text(
    "  第 {version} 版  {time}  {step}，{by} → {state}", "  version {version}  {time}  {step} by {by} → {state}"
)
PROVE_SUMMARY: Final = Text(
    "写出一份声明的证明包（zip），可只公开其中几项",
    "write a statement's proof bundle (zip), of which single fields may be shown",
)
PROVE_EXAMPLES: Final = Text(
    "medchain attest prove KEY --field state --field predicate.emissions_kg --out proof.zip",
    "medchain attest prove KEY --field state --field predicate.emissions_kg --out proof.zip",
)
FIELD: Final = Text("公开的字段，可重复；默认全部", "field that is shown; may be repeated; all by default")

ERRORS: Final[Mapping[str, Text]] = {
    "attest.busy": Text("这份声明的另一步正在办理。", "Another step of this statement is on its way."),
    "attest.by": Text("本机构无权办理这一步。", "This organisation may not take this step."),
    "attest.fields": Text("所填内容与这一步要求的不符。", "It does not say what this step is to say, or says more."),
    "attest.maker": Text("本机构不能出具这种声明。", "This organisation may not make a statement of this type."),
    "attest.over": Text("这份声明已过期。", "This statement is over."),
    "attest.step": Text("当前状态下没有这一步。", "This step does not follow from the statement's state."),
    "attest.subject": Text("声明所指之物有误。", "What the statement is about is not right."),
    "attest.superseded": Text("另一步先到。", "Another step came first."),
    "attest.type": Text("成员没有登记这种类型。", "The members have not registered this type."),
    "attest.unknown": Text(
        "没有这份声明，或本机构既非当事方，也没有正确的凭条。",
        "There is no such statement, or this organisation is no party of it and has not its ticket.",
    ),
}
"""Code → text, as in `medchain.commands.error_texts.ERRORS`."""
