"""What the patient's pages say of concerns, in Chinese and English.

A data table. Source: `docs/spec/concern.md`; `docs/glossary.md` for the terms.
"""

from __future__ import annotations

from typing import Final

from medchain.web.words import Words

CONCERN_WORDS: Final[Words] = {
    "concern.title": ("我的更正请求和投诉", "My corrections and complaints"),
    "concern.lead": (
        (
            "每一步都是医院的一条记录；记入账本之后，医院不能否认或改动，请保存回执。医院会把答复的期限告知监管机构；"
            "回执可以向监管机构证明。"
        ),
        (
            "Each step is a record of the hospital's. Once the ledger has it, the hospital can neither deny nor change "
            "it: keep the receipt. The hospital tells the regulator by when an answer is due; the receipt proves it "
            "there."
        ),
    ),
    "concern.none": (
        "还没有。要更正一条记录，请在“病历”中打开它；某次查看不对，请到“谁看过”。",
        (
            "None yet. To have a record corrected, open it in your record; where a look was not right, say so under "
            "who has looked."
        ),
    ),
    "concern.all": ("我的更正请求和投诉", "My corrections and complaints"),
    "concern.correction": ("更正请求", "Correction asked for"),
    "concern.complaint": ("投诉：一次查看不对", "Complaint: a look that was not right"),
    "concern.state.opened": ("等待答复", "waiting"),
    "concern.state.accepted": ("已接受", "accepted"),
    "concern.state.declined": ("未接受", "declined"),
    "concern.state.reopened": ("再次等待答复", "waiting again"),
    "concern.state.closed": ("已结束", "ended"),
    "concern.step.opened": ("提出", "asked"),
    "concern.step.accepted": ("答复：接受", "answered: accepted"),
    "concern.step.declined": ("答复：不接受", "answered: declined"),
    "concern.step.reopened": ("要求重新答复", "asked for another answer"),
    "concern.step.closed": ("结束", "ended it"),
    "concern.you": ("您", "You"),
    "concern.due": ("医院须在{day}前答复。", "The hospital has to answer by {day}."),
    "concern.overdue": (
        "已逾期：本应在{day}前答复。您可以把回执交给监管机构。",
        "Overdue: an answer was due by {day}. You can take the receipt to the regulator.",
    ),
    "concern.shared": ("监管机构也能看到所写的内容。", "The regulator is shown what is written here, too."),
    "concern.unshared": (
        "监管机构只被告知有一项诉求和它的期限，不知道是谁、写了什么。",
        "The regulator is told that there is one and by when it is due, not whose it is or what it says.",
    ),
    "concern.corrected": ("已由第 {version} 版更正。", "Corrected by version {version}."),
    "concern.proof": ("下载回执（证明）", "Download the receipt (a proof)"),
    "concern.pending": (
        "记入账本后即可下载回执，通常只要几秒。",
        "Its receipt can be downloaded once the ledger has it, usually in seconds.",
    ),
    "concern.reopen": ("不同意这个答复？", "Is this answer not right?"),
    "concern.reopen.lead": (
        "可以要求重新答复一次，期限重新计算。",
        "You can ask for another answer once; the clock starts anew.",
    ),
    "concern.reopen.text": ("这个答复哪里不对？（最多 1000 字）", "What is not right? (at most 1,000 characters)"),
    "concern.reopen.send": ("要求重新答复", "Ask for another answer"),
    "concern.close": ("结束", "End this"),
    "concern.close.of": ("结束：{title}", "End this: {title}"),
    "concern.ask": ("请求更正", "Ask for a correction"),
    "concern.ask.lead": (
        "医院须在 30 天内答复。更正会成为一个新版本，原来的版本保留。",
        "The hospital has to answer within 30 days. A correction becomes a new version; this one stays.",
    ),
    "concern.ask.text": (
        "哪里不对，应当是什么？（最多 1000 字）",
        "What is wrong, and what should it say? (at most 1,000 characters)",
    ),
    "concern.ask.send": ("发送更正请求", "Send"),
    "concern.complain.lead": (
        "医院的审计人员须在 3 天内答复，并且不是您的主治人员；期限会告知监管机构。",
        "The hospital's auditors, who do not treat you, have to answer within 3 days; the regulator is told by when.",
    ),
    "concern.complain.text": (
        "请说明为什么不对（最多 1000 字）",
        "Say why it was not right (at most 1,000 characters)",
    ),
    "concern.complain.send": ("发送投诉", "Send the complaint"),
    "concern.complain.of": ("这次查看不对？{who}，{when}", "Was this not right? {who}, {when}"),
    "concern.share": ("把我写的内容也给监管机构看", "Show what I write to the regulator as well"),
    "notice.concern.answered": (
        "医院答复了您的更正请求或投诉。",
        "The hospital has answered a correction or complaint of yours.",
    ),
    "error.concern.malformed": ("请写明内容，最多 1000 字。", "Say why, in at most 1,000 characters."),
    "error.concern.state": (
        "这项诉求的状态已经改变，请刷新页面查看。",
        "This has moved on since; look at the page again.",
    ),
    "error.concern.many": (
        "等待答复的诉求太多了，请等医院答复，或结束不再需要的；一天最多提出 20 项。",
        "Too many are waiting. Wait for answers, or end those that you need no more; there can be 20 a day.",
    ),
    "error.concern.unknown": ("没有这项诉求。", "There is no such correction or complaint."),
}
"""Every word of them."""
