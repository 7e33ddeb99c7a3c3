"""What the staff's pages say, in Chinese and English.

A data table; more of it: `fhir_bridge.staff.desk_words`, `fhir_bridge.staff.concern_words`,
`fhir_bridge.staff.alarm_words`.
Source: `docs/glossary.md` for the terms.
"""

from __future__ import annotations

from typing import Final

from fhir_bridge.staff.alarm_words import ALARM_WORDS
from fhir_bridge.staff.concern_words import CONCERN_WORDS
from fhir_bridge.staff.desk_words import DESK_WORDS
from medchain.web.words import Words

STAFF_WORDS: Final[Words] = {
    **ALARM_WORDS,
    **CONCERN_WORDS,
    **DESK_WORDS,
    "emergency.title": ("紧急访问", "Emergency access"),
    "emergency.lead": (
        "仅用于抢救。您查看哪位患者、理由是什么，会立即记录，并告知患者与监管机构。",
        "Only where health is at risk. Whom you look at and why is recorded, and told to patient and regulator.",
    ),
    "emergency.after": (
        "事后由本院审计人员复核，患者可以提出异议。",
        "An auditor of this hospital reviews it afterwards, and the patient can object.",
    ),
    "emergency.open": ("您现在可以紧急查看的患者", "Patients whom you may look at in an emergency now"),
    "emergency.none": ("目前没有。", "None at the moment."),
    "emergency.until": ("至 {until}，还剩 {count} 分钟", "Until {until}, {count} minutes left"),
    "emergency.until.one": ("至 {until}，还剩 1 分钟", "Until {until}, 1 minute left"),
    "emergency.reason.said": ("理由：{reason}", "Reason: {reason}"),
    "emergency.gone": ("该患者的资料已不在此处", "This patient's record is no longer here"),
    "emergency.find": ("查找患者", "Find the patient"),
    "emergency.text": ("标识号或姓名", "Identifier or name"),
    "emergency.text.hint": (
        "例如住院号、身份证号或姓名；姓名可用拼音。",
        "Such as a hospital number or a name; Chinese names also by their pinyin.",
    ),
    "emergency.search": ("查找", "Find"),
    "emergency.nobody": ("没有找到。请核对标识号或姓名。", "Nobody was found. Check the identifier or the name."),
    "emergency.which": ("是哪位患者？", "Which patient?"),
    "emergency.one": ("{name}，出生日期 {birth}", "{name}, born {birth}"),
    "emergency.no_birth": ("未知", "unknown"),
    "emergency.reason": ("理由", "Reason"),
    "emergency.reason.hint": (
        "1 至 200 字，患者与监管机构都会看到。请勿写患者姓名。",
        "1 to 200 characters; the patient and the regulator read it. Do not write the patient's name.",
    ),
    "emergency.declare": ("开始紧急访问（一小时）", "Begin emergency access (one hour)"),
    "elsewhere.title": ("紧急调阅其他医院的资料", "Emergency access at another hospital"),
    "elsewhere.after": (
        "事后由本院审计人员复核；对方医院看到复核结论，患者可以在那里提出异议。",
        "An auditor of this hospital reviews it. The other hospital sees the finding; the patient can object there.",
    ),
    "elsewhere.begin": ("向其他医院紧急调阅", "Ask another hospital"),
    "elsewhere.hospital": ("医院", "Hospital"),
    "elsewhere.no_hospital": ("联盟中没有其他医院。", "The consortium has no other hospital."),
    "elsewhere.identifier": ("患者在该医院的标识号", "The patient's identifier there"),
    "elsewhere.identifier.hint": (
        "例如身份证号、医保号或该院住院号；必须完整。标识号重复时写成“系统|号码”。",
        "Such as an identity number or that hospital's own number, whole. Where it is not unique: system|number.",
    ),
    "elsewhere.look": ("调阅资料", "Read the record"),
    "elsewhere.look.of": ("调阅资料：{hospital}，{identifier}", "Read the record of {identifier} at {hospital}"),
    "elsewhere.nobody": (
        "对方医院没有提供资料：没有这位患者，或患者已拒绝，或没有可提供的记录。",
        "The hospital gave nothing: it has no such patient, the patient has said no, or it has no record to give.",
    ),
    "elsewhere.given": ("其他医院的资料", "Record of another hospital"),
    "elsewhere.told": (
        "{hospital}已记录本次调阅，并告知患者与监管机构。此处不保存这些资料。",
        "{hospital} has recorded that it gave this, and told patient and regulator. Nothing of it is kept here.",
    ),
    "elsewhere.none": ("没有记录。", "There is no record."),
    "elsewhere.more": ("更多", "More"),
    "elsewhere.back": ("返回", "Back"),
    "elsewhere.here": ("本院的紧急访问", "Emergency access at this hospital"),
    "reviews.title": ("紧急访问复核", "Reviews of emergencies"),
    "reviews.none": ("没有待复核的紧急访问。", "No emergency is waiting for its review."),
    "reviews.count": ("{count} 次待复核，其中 {overdue} 次逾期", "{count} to review, {overdue} of them overdue"),
    "reviews.reviewed": ("已复核：{count}", "Reviewed: {count}"),
    "reviews.due": ("期限 {due}，还剩 {count} 天", "Due {due}, {count} days left"),
    "reviews.due.one": ("期限 {due}，还剩 1 天", "Due {due}, 1 day left"),
    "reviews.overdue": ("已逾期，期限 {due}", "Overdue since {due}"),
    "reviews.objection": ("患者有异议：{reason}", "The patient objects: {reason}"),
    "reviews.asked": ("向{organisation}调阅", "Asked {organisation} for the record"),
    "reviews.given": (
        "提供给{organisation}：{count} 条记录；由对方复核，也可由本院复核",
        "Given to {organisation}: {count} records; it reviews this itself, and this hospital can",
    ),
    "reviews.given.one": (
        "提供给{organisation}：1 条记录；由对方复核，也可由本院复核",
        "Given to {organisation}: 1 record; it reviews this itself, and this hospital can",
    ),
    "reviews.pending": ("尚未终局，暂不能复核", "Not final yet, and not to be reviewed before"),
    "reviews.looks": ("查看这一小时的审计记录", "See the audit of that hour"),
    "reviews.finding": ("结论", "Finding"),
    "reviews.finding.justified": ("理由成立", "justified"),
    "reviews.finding.unjustified": ("理由不成立", "not justified"),
    "reviews.send": ("记录复核", "Record the review"),
    "reviews.send.of": ("记录复核：{staff}，{time}", "Record the review of {staff}, {time}"),
    "oversight.title": ("监督", "Oversight"),
    "oversight.given": ("提供给{organisation}：{count} 条记录", "Given to {organisation}: {count} records"),
    "oversight.given.one": ("提供给{organisation}：1 条记录", "Given to {organisation}: 1 record"),
    "oversight.late": (
        "{count} 次紧急访问逾期未复核，其中 {objections} 次患者有异议",
        "{count} emergencies are past their review, {objections} of them with an objection",
    ),
    "oversight.late.none": ("没有逾期未复核的紧急访问", "No emergency is past its review"),
    "oversight.late.one": (
        "{count} 次紧急访问逾期未复核，其中 {objections} 次患者有异议",
        "{count} emergency is past its review, {objections} with an objection",
    ),
    "oversight.waiting": ("共 {total} 次紧急访问，{waiting} 次待复核", "{total} emergencies, {waiting} not reviewed"),
    "oversight.waiting.one": ("共 {total} 次紧急访问，{waiting} 次待复核", "{total} emergency, {waiting} not reviewed"),
    "oversight.late.title": ("逾期", "Overdue"),
    "oversight.awaited": (
        "账本自 {since} 起未终局：还差 {needed} 个机构的共同签名，尚缺 {missing}",
        "The ledger is not final since {since}: {needed} more must cosign, of {missing}.",
    ),
    "oversight.awaited.leaving": (
        "其中有暂停或移除 {leaving} 的变更，须先终局；其自身的共同签名也可促成。",
        "A change that suspends or removes {leaving} waits for that; cosignatures of theirs count for it.",
    ),
    "oversight.missing": (
        "有 {count} 份紧急访问内容未告知本机构",
        "{count} texts of emergencies were not told to this organisation",
    ),
    "oversight.missing.one": (
        "有 {count} 份紧急访问内容未告知本机构",
        "{count} text of an emergency was not told to this organisation",
    ),
    "oversight.missing.title": ("未告知的内容", "Not told"),
    "oversight.missing.claim": (
        "账本上有这些紧急访问的版本，内容却未在期限内送达，本节点仍在索取。请联系该机构。",
        "The ledger has these versions, and their texts did not come in time. This node goes on asking; call them.",
    ),
    "oversight.missing.one_of": (
        "{custodian} · 第 {version} 版 · 自 {since}",
        "{custodian} · version {version} · since {since}",
    ),
    "oversight.missing.silent": ("该机构没有应答", "It does not answer"),
    "oversight.missing.withheld": ("该机构已应答，却未交出内容", "It answers, and does not give the text"),
    "oversight.alarms": ("本节点的警报", "Alarms of this node"),
    "oversight.alarms.none": ("没有待确认的警报。", "No alarm waits for anybody."),
    "oversight.alarm": ("{first} 至 {last}，{count} 次", "{first} to {last}, {count} times"),
    "oversight.alarm.one": ("{first} 至 {last}，1 次", "{first} to {last}, once"),
    "oversight.members": ("各成员的共同签名", "Cosignatures of the members"),
    "oversight.members.claim": (
        "每个成员最近共同签名的检查点，时间出自其时钟。超过 {minutes} 分钟没有即为滞后。账本已终局到 {final}。",
        "What each member cosigned last, by its own clock; none for {minutes} minutes is late. Final up to {final}.",
    ),
    "oversight.member.late": ("滞后", "late"),
    "oversight.member.last": ("{time}，账本共 {size} 条", "{time}, {size} entries"),
    "oversight.member.never": ("近期没有", "Nothing lately"),
    "oversight.witnesses": ("外部见证方", "Outside witnesses"),
    "oversight.witnesses.claim": (
        "不是成员，只在账本只增不改时联署，时间为本节点收到联署的时刻。",
        "No members: they cosign only while the ledger does nothing but grow. The time is when this node was given it.",
    ),
    "oversight.witnesses.none": (
        "本节点没有询问任何外部见证方。",
        "This node asks no outside witness.",
    ),
    "oversight.witness.last": (
        "{count} 分钟前（{time}），账本共 {size} 条",
        "{count} min ago ({time}), {size} entries",
    ),
    "oversight.witness.amiss": ("异常", "amiss"),
    "oversight.witness.late": ("滞后", "late"),
    "oversight.witness.never": ("尚未联署", "Nothing cosigned yet"),
    "oversight.endorsed": ("背书", "Endorsements"),
    "oversight.endorsed.claim": (
        "近 {days} 天各成员被抽中后为他人的交易所作的背书，只计已终局的。",
        "What each member, being drawn, endorsed for others in {days} days; only what is final.",
    ),
    "oversight.endorsed.none": ("没有背书。", "Nothing was endorsed."),
    "oversight.endorsed.row": ("{creator}：{kind} {count} 次", "{kind} of {creator}: {count}"),
    "oversight.endorsed.unknown": ("密钥已不在册", "a key that is listed no more"),
    "oversight.kind.access": ("访问记录", "access entries"),
    "oversight.kind.attest": ("声明", "statements"),
    "oversight.kind.claim": ("理赔登记", "claims"),
    "oversight.kind.consent": ("知情同意", "consents"),
    "oversight.kind.delegation": ("委托", "delegations"),
    "oversight.kind.emergency": ("紧急访问", "emergencies"),
    "oversight.kind.erasure": ("删除", "erasures"),
    "oversight.kind.grant": ("授权", "grants"),
    "oversight.kind.organisation": ("机构", "organisations"),
    "oversight.kind.policy": ("策略", "policies"),
    "oversight.kind.mandate": ("法律依据", "legal bases"),
    "oversight.kind.protocol": ("协议", "protocols"),
    "oversight.kind.record": ("记录", "records"),
    "oversight.kind.recovery": ("恢复", "recoveries"),
    "oversight.kind.subject": ("数据主体", "subjects"),
    "oversight.evidence": ("证据", "Evidence"),
    "oversight.json": ("下载（JSON）", "Download (JSON)"),
    "oversight.csv": ("下载紧急访问（CSV）", "Download the emergencies (CSV)"),
    "oversight.claim": (
        "这里是本节点所收到的内容；除非理由中写明，不含患者身份。",
        "This is what this node was told. Unless a reason says it, it does not tell whose records they were.",
    ),
    "error.emergency.patient": ("此处没有这位患者。", "There is no such patient here."),
    "error.emergency.rate": (
        "紧急调阅过于频繁，请稍后再试或直接联系该医院。",
        "Too many emergencies were asked for. Try later, or call the hospital.",
    ),
    "error.emergency.over": ("这次紧急访问已经结束，请重新开始。", "This emergency is over. Begin a new one."),
    "error.exchange.custodian": ("请选择一家医院。", "Choose a hospital."),
    "error.emergency.finding": ("请选择结论。", "Choose a finding."),
    "error.emergency.own": ("您不能复核自己的紧急访问。", "You cannot review an emergency of your own."),
    "error.emergency.unknown": ("本院没有这次紧急访问。", "There is no such emergency of this hospital."),
    "error.content.text": ("请填写 1 至 200 字。", "Write 1 to 200 characters."),
}
"""Every word of these pages."""
