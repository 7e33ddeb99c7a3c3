"""What the commands about proposals say, in Chinese and English. Long for being a table.

Keeps true: a text and its translation have the same fields (a test compares them). Trusts nothing: fields are shown as
they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from medchain.commands.command import Text

# Groups and shared arguments

PROPOSALS_GROUP: Final = Text("成员共同作出的变更", "what members change together")
ORDERER_GROUP: Final = Text("排序方：移交与接管", "who orders: hand-over and takeover")
PROTOCOL_GROUP: Final = Text("账本规则的版本与法定数", "version of the ledger's rules, and the quorum")
REASON: Final = Text(
    "给其他成员管理员看的理由，最多 500 字", "why, for the other administrators; at most 500 characters"
)
DAYS: Final = Text(
    "提案在多少天内有效，默认 7，最多 31", "for how many days it may be accepted; 7 otherwise, 31 at most"
)
HOURS: Final = Text(
    "在多少小时内有效，默认 6，最多 24", "for how many hours it may be accepted; 6 otherwise, 24 at most"
)
WAIT: Final = Text("等待账本接受的秒数", "for how many seconds to wait until the ledger has it")
QUORUM: Final = Text(
    "此后的法定联署数，默认随成员数而定", "how many must cosign from then on; otherwise as the number of members asks"
)
NEW_ORDERER: Final = Text(
    "此后由谁排序（现任排序方退出时必须指明）", "who orders from then on; needed where who orders now leaves"
)
YES: Final = Text("不再询问", "do not ask")
ID: Final = Text("提案标识，前 8 位即可", "id of the proposal; its first 8 digits will do")
ORG: Final = Text("机构标识", "the organisation's id")

# Commands that propose

SUSPEND_SUMMARY: Final = Text("提议暂停一个成员", "propose to suspend a member")
SUSPEND_EXAMPLES: Final = Text(
    "medchain org suspend anxin-insurance --reason 三次未答复询问\n"
    "medchain org suspend health-commission --orderer binhai-hospital    # 暂停现任排序方，须指明由谁接任",
    "medchain org suspend anxin-insurance --reason 'three enquiries were not answered'\n"
    "medchain org suspend health-commission --orderer binhai-hospital    # who orders now: name who orders then",
)
REINSTATE_SUMMARY: Final = Text("提议恢复一个被暂停的成员", "propose to reinstate a member that is suspended")
REINSTATE_EXAMPLES: Final = Text("medchain org reinstate anxin-insurance", "medchain org reinstate anxin-insurance")
REMOVE_SUMMARY: Final = Text("提议移除一个成员", "propose to remove a member")
REMOVE_EXAMPLES: Final = Text(
    "medchain org remove anxin-insurance --reason 已退出联盟",
    "medchain org remove anxin-insurance --reason 'it has left'",
)
ADMIT_SUMMARY: Final = Text("提议接纳一个新成员", "propose to admit a new member")
ADMIT_EXAMPLES: Final = Text(
    "medchain org admit admission.tongji-hospital.json    # 由新机构以 medchain join request 写出",
    "medchain org admit admission.tongji-hospital.json    # written by the newcomer with `medchain join request`",
)
ADMISSION_FILE: Final = Text(
    "该机构以 medchain join request 写出的文件", "what the organisation wrote with `medchain join request`"
)
ROTATE_SUMMARY: Final = Text(
    "提议为丢失密钥的成员登记新密钥（自己更换密钥用 medchain key rotate）",
    "propose new keys for a member that has lost its own (one's own are exchanged with `medchain key rotate`)",
)
ROTATE_EXAMPLES: Final = Text(
    "medchain org rotate admission.renhe-hospital.json --reason 根密钥已毁",
    "medchain org rotate admission.renhe-hospital.json --reason 'its root key is lost'",
)
ISSUERS_SUMMARY: Final = Text(
    "提议登记本机构的开票单位代码（一经登记永不更改）", "propose issuer codes of this organisation's invoices, for ever"
)
ISSUERS_EXAMPLES: Final = Text(
    "medchain org issuers 31010500123 --reason 新院区 --config renhe/node.toml",
    "medchain org issuers 31010500123 --reason 'the new campus' --config renhe/node.toml",
)
ISSUERS_CODES: Final = Text("开票单位代码，0-9 与 A-Z", "issuer codes, of 0-9 and A-Z")
POLICY_SUMMARY: Final = Text("提议另一份背书策略", "propose another endorsement policy")
POLICY_EXAMPLES: Final = Text(
    "medchain policy show --json > policy.json    # 修改后\nmedchain policy propose policy.json --reason 放宽准入",
    "medchain policy show --json > policy.json    # change it, then\n"
    "medchain policy propose policy.json --reason 'easier admission'",
)
POLICY_FILE: Final = Text(
    "策略文件，与 medchain policy show --json 的形式相同", "the policy, in the form of `medchain policy show --json`"
)
PREDICATE_SUMMARY: Final = Text(
    "提议登记一种声明类型，策略的其余部分不变", "propose one type of statements; the rest of the policy stays as it is"
)
PREDICATE_EXAMPLES: Final = Text(
    "medchain policy register https://medchain.example/prescription/v1 prescription.json --reason 电子处方",
    "medchain policy register https://medchain.example/prescription/v1 prescription.json --reason prescriptions",
)
PREDICATE_URI: Final = Text("类型的 URI", "URI of the type")
PREDICATE_FILE: Final = Text(
    "该类型的定义，见 spec/attest.md：by、fields、named、state、steps",
    "what the type is, as in spec/attest.md: by, fields, named, state, steps",
)
HANDOVER_SUMMARY: Final = Text("提议把排序移交给另一成员", "propose that another member orders from then on")
HANDOVER_EXAMPLES: Final = Text(
    "medchain orderer hand-over binhai-hospital --reason 机房迁移",
    "medchain orderer hand-over binhai-hospital --reason 'our machines move'",
)
TAKEOVER_SUMMARY: Final = Text(
    "排序方失联时，提议由本机构接管；批准足够后自动接管",
    "propose that this organisation orders in the place of an orderer that is lost; it does once enough have approved",
)
TAKEOVER_EXAMPLES: Final = Text(
    "medchain orderer take-over --reason 排序方已失联两小时",
    "medchain orderer take-over --reason 'the orderer has not answered for two hours'",
)
PROTOCOL_SUMMARY: Final = Text(
    "提议账本规则的新版本或法定数", "propose another version of the ledger's rules, or another quorum"
)
PROTOCOL_EXAMPLES: Final = Text("medchain protocol propose --quorum 4", "medchain protocol propose --quorum 4")
PROTOCOL_VERSION: Final = Text("规则版本；所有节点都须已支持", "version of the rules; every node must know it")

# A newcomer's own commands

REQUEST_SUMMARY: Final = Text(
    "新机构：写出接纳申请，交给任一成员提议", "a newcomer: write what a member proposes its admission with"
)
REQUEST_EXAMPLES: Final = Text(
    "medchain join request genesis.json --ledger 5f2c... --config tongji/node.toml\n"
    "# 成员随后执行 medchain org admit admission.tongji-hospital.json",
    "medchain join request genesis.json --ledger 5f2c... --config tongji/node.toml\n"
    "# a member then runs `medchain org admit admission.tongji-hospital.json`",
)
REQUEST_DONE: Final = Text(
    "申请在 {file}，请交给一个成员。获批后执行 medchain join enter。",
    "The request is in {file}; give it to a member. Once it is accepted, run `medchain join enter`.",
)
ENTER_SUMMARY: Final = Text(
    "新机构：获接纳后以联盟的创世文件启动节点", "a newcomer: once admitted, start from the consortium's genesis"
)
ENTER_EXAMPLES: Final = Text(
    "medchain join enter genesis.json genesis.signatures.json --ledger 5f2c... --config tongji/node.toml",
    "medchain join enter genesis.json genesis.signatures.json --ledger 5f2c... --config tongji/node.toml",
)
ENTER_SIGNATURES: Final = Text(
    "任一成员文件夹中的 genesis.signatures.json", "genesis.signatures.json from any member's folder"
)
ENTER_DONE: Final = Text(
    "已取得账本 {ledger} 的创世文件。用 medchain node run 启动节点，它会取得并核验全部区块。",
    "The genesis of ledger {ledger} is in place. "
    "Start the node with `medchain node run`: it fetches and verifies all blocks.",
)

# Commands that decide

LIST_SUMMARY: Final = Text(
    "列出提案：谁提议、改什么、已有几份签名", "list proposals: who proposes what, and how many signatures it has"
)
LIST_EXAMPLES: Final = Text(
    "medchain proposals\nmedchain proposals list --all --json    # 包括已结束的",
    "medchain proposals\nmedchain proposals list --all --json    # those that are over as well",
)
LIST_ALL: Final = Text("也列出已结束的提案", "those that are over as well")
SHOW_SUMMARY: Final = Text("显示一个提案的全部内容", "show a proposal, whole")
SHOW_EXAMPLES: Final = Text(
    "medchain proposals show 3f2a9c1e\nmedchain proposals show 3f2a9c1e --bytes    # 所签署的原文",
    "medchain proposals show 3f2a9c1e\nmedchain proposals show 3f2a9c1e --bytes    # exactly what is signed",
)
SHOW_BYTES: Final = Text("显示所签署的原文（规范 JSON）", "the bytes that are signed, canonical JSON")
APPROVE_SUMMARY: Final = Text(
    "批准一个提案：本机构将签署该变更", "approve a proposal: this organisation signs the change"
)
APPROVE_EXAMPLES: Final = Text(
    "medchain proposals approve 3f2a9c1e\nmedchain proposals approve 3f2a9c1e --yes --wait 60",
    "medchain proposals approve 3f2a9c1e\nmedchain proposals approve 3f2a9c1e --yes --wait 60",
)
REJECT_SUMMARY: Final = Text("否决一个提案，并告知其他成员", "reject a proposal, and tell the other members")
REJECT_EXAMPLES: Final = Text("medchain proposals reject 3f2a9c1e", "medchain proposals reject 3f2a9c1e")
WITHDRAW_SUMMARY: Final = Text("撤回本机构的提案", "take back a proposal of one's own")
WITHDRAW_EXAMPLES: Final = Text("medchain proposals withdraw 3f2a9c1e", "medchain proposals withdraw 3f2a9c1e")
APPROVE_ASK: Final = Text(
    "批准并签署以上变更吗？输入“是”继续：", "Approve and sign what is shown above? Type yes to go on:"
)
NOT_DECIDED: Final = Text("没有作出决定。", "Nothing was decided.")
NONE: Final = Text("没有提案。", "There are no proposals.")

# A proposal in words

HEAD: Final = Text(
    "{id}  {state}：{creator} 于 {time} 提议，有效至 {until}",
    "{id}  {state}: proposed by {creator} at {time}, may be accepted until {until}",
)
REASON_LINE: Final = Text("    理由（{creator} 所写）：{reason}", "    reason, in {creator}'s words: {reason}")
CHANGE_LINE: Final = Text("    {subject}：{field}：{before} → {after}", "    {subject}: {field}: {before} -> {after}")
RULE_LINE: Final = Text("    须满足规则 {rule}：{words}", "    needs rule {rule}: {words}")
SIGNATURES: Final = Text("    签名 {have}/{need}：{names}", "    signatures {have} of {need}: {names}")
ENOUGH_WITH: Final = Text("    例如再有 {names} 批准即可", "    enough with, for example: {names}")
ENOUGH: Final = Text("    批准已经足够", "    enough have approved")
REJECTED_BY: Final = Text("    已否决：{names}", "    rejected by: {names}")
OWN_DECISION: Final = Text("    本机构的决定：{decision}", "    this organisation's decision: {decision}")
WAITING: Final = Text("    正在等待：{code}", "    waits for: {code}")
OVERTAKEN_BY: Final = Text(
    "    账本现状已改变，不能再签署（{code}）", "    the ledger has moved on, it can no longer be signed ({code})"
)
PLACED: Final = Text("    已在账本第 {position} 条", "    on the ledger, entry {position}")
PLACED_FINAL: Final = Text("    已在账本第 {position} 条，并已终局", "    on the ledger, entry {position}, final")
NOTHING: Final = Text("（无）", "(none)")
TAKE_OVER: Final = Text("    方式：接管失联的排序方", "    way: takeover from an orderer that is lost")

STATES: Final[Mapping[str, Text]] = {
    "accepted": Text("已生效", "accepted"),
    "expired": Text("已过期", "expired"),
    "open": Text("待批准", "open"),
    "overtaken": Text("已失效", "overtaken"),
    "withdrawn": Text("已撤回", "withdrawn"),
}
"""Standing of a proposal."""

DECISIONS: Final[Mapping[str, Text]] = {
    "approve": Text("批准", "approved"),
    "reject": Text("否决", "rejected"),
    "withdraw": Text("撤回", "withdrawn"),
}
"""A member's word."""

SUBJECTS: Final[Mapping[str, Text]] = {
    "policy": Text("背书策略", "endorsement policy"),
    "protocol": Text("账本规则", "rules of the ledger"),
}
"""What is changed, where it is no organisation."""

FIELDS: Final[Mapping[str, Text]] = {
    "control": Text("控制方", "controlled by"),
    "invoice_key": Text("票据标识密钥", "key for ids of invoices"),
    "issuer": Text("开票单位代码", "issuer code"),
    "key": Text("密钥", "key"),
    "name": Text("名称", "name"),
    "orderer": Text("排序方", "orderer"),
    "org_id": Text("机构标识", "organisation's id"),
    "origins": Text("网页源", "web origins"),
    "protocol": Text("规则版本", "version of the rules"),
    "quorum": Text("法定联署数", "how many must cosign"),
    "role": Text("角色", "role"),
    "rule": Text("规则", "rule"),
    "status": Text("状态", "status"),
    "url": Text("节点地址", "address of the node"),
}
"""Members of the contents."""

STATUSES: Final[Mapping[str, Text]] = {
    "active": Text("有效", "active"),
    "removed": Text("已移除", "removed"),
    "suspended": Text("已暂停", "suspended"),
}
"""Status of an organisation."""

ROLES: Final[Mapping[str, Text]] = {
    "authority": Text("公共机构", "a public authority"),
    "hospital": Text("医院", "a hospital"),
    "insurer": Text("保险公司", "an insurer"),
    "regulator": Text("监管机构", "a regulator"),
}
"""Roles, as one that signs."""

AND: Final = Text("并且", "and")
OR: Final = Text("或者", "or")
OUT_OF: Final = Text("以下至少 {count} 项（{parts}）", "at least {count} of ({parts})")
MAJORITY: Final = Text("超过半数{whom}", "more than half of {whom}")
FRACTION: Final = Text("至少 {numerator}/{denominator} 的{whom}", "at least {numerator}/{denominator} of {whom}")
MEMBERS: Final = Text("成员", "the members")
ALL_OF_ROLE: Final = Text("{role}成员", "the members with the role {role}")
CREATOR: Final = Text("提议者", "who proposes")
INDEPENDENT: Final = Text("抽签的独立背书方", "the drawn independent endorser")

ERRORS: Final[Mapping[str, Text]] = {
    "admission.ledger": Text("该文件属于另一个账本。", "The file is for another ledger."),
    "admission.organisation": Text("该文件属于 {org_id}。", "The file is of {org_id}."),
    "admission.type": Text("这不是接纳申请文件。", "It is no admission file."),
    "organisation.control_alike": Text(
        "{org_id} 的控制方与 {other} 的几乎相同又不一致：同一控制方须写法一致，不同的须能区分。",
        "Who controls {org_id} looks like who controls {other}, and differs: write the same alike, and others apart.",
    ),
    "organisation.exists": Text("{org_id} 已是成员。", "{org_id} is a member already."),
    "organisation.name_alike": Text(
        "{org_id} 的名称会与 {other} 的混淆：患者按名称授权，请改用能区分的名称。",
        "The name of {org_id} may be taken for that of {other}, and patients permit by names: choose another one.",
    ),
    "proposal.accepted": Text("提案已生效。", "The proposal was accepted already."),
    "proposal.administrator": Text(
        "只有能打开本节点根密钥的管理员可以决定。", "Only an administrator who can open the node's root key decides."
    ),
    "proposal.expired": Text("提案已过期。", "The proposal has expired."),
    "proposal.id": Text(
        "请给出提案标识的更多位（至少 {least} 位）。", "Give more digits of the proposal's id, {least} at least."
    ),
    "proposal.life": Text("有效期最长 {limit} 秒。", "It may be open for {limit} s at most."),
    "proposal.not_own": Text("只有提议者 {creator} 可以撤回。", "Only {creator}, who proposed it, takes it back."),
    "proposal.overtaken": Text(
        "账本现状已改变，提案不能再签署（{reason}）。",
        "The ledger has moved on, it cannot be signed any more ({reason}).",
    ),
    "proposal.own": Text(
        "本机构的提案已含本机构的批准；如不再需要，请撤回。",
        "Your own proposal is approved by being made; withdraw it if it is not meant.",
    ),
    "proposal.quota": Text(
        "{org_id} 未了结的提案过多（最多 {limit} 个）。", "{org_id} has too many open proposals, {limit} at most."
    ),
    "proposal.reason": Text(
        "理由最多 {limit} 个可显示的字符，不可换行。",
        "A reason has at most {limit} characters that print, on one line.",
    ),
    "proposal.signed": Text("本机构已签署，不能再收回。", "This organisation has signed it, which no word takes back."),
    "proposal.signer": Text(
        "{org_id} 现在不能签署：已暂停，或密钥已更换。", "{org_id} cannot sign now: it is suspended, or has other keys."
    ),
    "proposal.unknown": Text("本节点没有提案 {proposal}。", "This node has no proposal {proposal}."),
    "proposal.waiting": Text(
        "账本尚未接受（{waiting}）；节点会继续。", "The ledger does not have it yet ({waiting}); the node goes on."
    ),
    "proposal.withdrawn": Text("提案已被撤回。", "The proposal was withdrawn."),
    "wish.nothing": Text("现状已经如此，无需变更。", "It is so already; there is nothing to change."),
    "wish.orderer": Text(
        "{org_id} 不能排序：请用 --orderer 指明此后由谁排序。",
        "{org_id} could not order: name with --orderer who orders from then on.",
    ),
    "wish.protocol": Text(
        "本节点的软件不认识规则版本 {protocol}。", "This node's software does not know version {protocol} of the rules."
    ),
}
"""Code → text."""
