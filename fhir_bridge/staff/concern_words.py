"""What the page says on which staff answer corrections and complaints, and what a regulator reads of them.

A data table. Source: `docs/spec/concern.md`; `docs/glossary.md` for the terms.
"""

from __future__ import annotations

from typing import Final

from medchain.web.words import Words

CONCERN_WORDS: Final[Words] = {
    "answers.title.correction": ("待答复的更正请求", "Corrections to answer"),
    "answers.title.complaint": ("待答复的投诉", "Complaints to answer"),
    "answers.lead.correction": (
        "患者认为这些记录有误。先在病历系统中更正记录，再在这里接受；或者说明为什么不更正。患者会看到您的答复。",
        (
            "Patients say that these records are wrong. Correct the record first, in the system that wrote it, and "
            "then accept here; or say why it stays. The patient reads your answer."
        ),
    ),
    "answers.lead.complaint": (
        "患者认为这些查看不应发生。请对照审计记录核实后答复，患者会看到您的答复。",
        "Patients say that these looks were not right. Compare the audit, and answer; the patient reads your answer.",
    ),
    "answers.none": ("没有待答复的。", "Nothing waits for an answer."),
    "answers.count": ("{count} 项待答复，其中 {overdue} 项逾期", "{count} to answer, {overdue} of them overdue"),
    "answers.about.entry": ("账本第 {position} 条登记的给出", "The disclosure in entry {position} of the ledger"),
    "answers.about.refusal": ("一次被拒绝的请求", "A request that was refused"),
    "answers.version": ("针对第 {version} 版；最新为第 {newest} 版", "About version {version}; the newest is {newest}"),
    "answers.due": ("须在 {due} 前答复，还剩 {count} 天", "To be answered by {due}, in {count} days"),
    "answers.due.one": ("须在 {due} 前答复，还剩 1 天", "To be answered by {due}, in 1 day"),
    "answers.overdue": ("已逾期：本应在 {due} 前答复", "Overdue: an answer was due by {due}"),
    "answers.step.opened": ("患者提出", "the patient asked"),
    "answers.step.accepted": ("答复：接受", "answered: accepted"),
    "answers.step.declined": ("答复：不接受", "answered: declined"),
    "answers.step.reopened": ("患者要求重新答复", "the patient asked for another answer"),
    "answers.step.closed": ("患者结束", "the patient ended it"),
    "answers.answer": ("答复", "Answer"),
    "answers.uncorrected": (
        "记录还没有更正后的新版本，因此不能接受。",
        "The record has no later version that corrects it yet, so it cannot be accepted.",
    ),
    "answers.choice.accepted.correction": ("接受：最新版本已更正", "accept: the newest version corrects it"),
    "answers.choice.declined.correction": ("不更正", "it stays as it is"),
    "answers.choice.accepted.complaint": ("投诉成立", "the complaint is right"),
    "answers.choice.declined.complaint": ("投诉不成立", "the look was right"),
    "answers.text": (
        "给患者的说明（不接受时必填，最多 1000 字）",
        "What the patient is told (needed where you say no; at most 1,000 characters)",
    ),
    "answers.send": ("发送答复", "Send the answer"),
    "answers.send.of": ("发送答复：{what}，期限 {due}", "Send the answer: {what}, due {due}"),
    "error.concern.uncorrected": (
        "记录还没有更正后的新版本。请先更正记录。",
        "The record has no later version yet. Correct the record first.",
    ),
    "oversight.concerns": (
        "{count} 项更正请求或投诉逾期未答复，共有 {waiting} 项待答复",
        "Corrections and complaints past their clock: {count}; waiting for an answer: {waiting}",
    ),
    "oversight.concerns.title": ("逾期未答复的更正请求和投诉", "Corrections and complaints past their clock"),
    "oversight.concerns.claim": (
        "由各保管机构上报，不含患者身份。最早的账本条目说明它至少从那时起就存在；患者手中的回执可以证明未上报的诉求。",
        (
            "As their custodians tell it, without whose they are. The entry shows since when one was there at the "
            "latest; a patient's receipt proves one that was not told of."
        ),
    ),
    "oversight.concern.correction": ("更正请求", "correction"),
    "oversight.concern.complaint": ("投诉", "complaint"),
    "oversight.concern.opened": ("{opened} 提出，应在 {due} 前答复", "opened {opened}, an answer was due by {due}"),
    "oversight.concern.entry": ("账本第 {position} 条", "entry {position} of the ledger"),
    "oversight.concern.no_entry": ("账本中还没有", "the ledger does not have it yet"),
}
"""Every word of it."""
