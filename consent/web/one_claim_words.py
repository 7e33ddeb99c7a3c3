"""What the patient's pages say of a permission for one claim, in Chinese and English.

A data table. Wording: who asks says what the claim is, and no page vouches for that; what is told of records is a part
of them, and never called the record.
Source: `docs/spec/patient-pages.md` 27, wording; `docs/glossary.md` for the terms.
"""

from __future__ import annotations

from typing import Final

from medchain.web.words import Words

ONE_CLAIM_WORDS: Final[Words] = {
    "claim.title": ("{name}请求为一笔理赔核实病历", "{name} asks to check your record for one claim"),
    "claim.asks": ("{name}请求为一笔理赔核实病历", "{name} asks to check your record for one claim"),
    "claim.tag": ("只为一笔理赔", "for one claim"),
    "claim.which": ("哪一笔理赔", "Which claim"),
    "claim.named": ("{number}，{amount}", "{number}, {amount}"),
    "claim.hospital": ("哪家医院", "Which hospital"),
    "claim.word": (
        "理赔编号和金额由{name}提供，本院没有核对。",
        "Number and amount are what {name} says; this hospital has not checked them.",
    ),
    "claim.what": ("会告诉对方什么", "What it would be told"),
    "claim.what.lead": (
        "只为这一笔理赔，不给出任何一份完整记录：",
        "For this claim only, and no record as a whole:",
    ),
    "claim.what.dates": (
        "就诊和记录的日期、状态，何时由谁登记和修改",
        "dates and states of visits and records, when and by whom they were entered or changed",
    ),
    "claim.what.totals": ("票据号码、费用的明细金额和合计", "the bill's number, amounts and totals"),
    "claim.what.category": (
        "诊断的大类（如“糖尿病”），不含具体诊断",
        "the broad category of a diagnosis, such as “diabetes”, and no more of it",
    ),
    "claim.what.statements": (
        (
            "几项判断：是否手术、住院多久、诊断是否属于某个范围、是否达到某个年龄、同一时间有没有其他住院、"
            "最后一天是否在世、此前是否有紧急查看，以及这次就诊的每类记录各有多少条"
        ),
        (
            "a few answers: whether there was surgery, how long a stay was, whether a diagnosis lies in a range, "
            "whether an age was reached, whether the person was alive on the last day, other stays at the same time, "
            "emergency looks just before, and how many records of each kind the visit has"
        ),
    ),
    "claim.what.not": (
        "不告诉：检验结果、具体诊断、药名、病历文字和影像。",
        "Not told: results, diagnoses themselves, names of medicines, texts and images.",
    ),
    "claim.records": ("涉及的记录（{count} 条）", "The records that it is about ({count})"),
    "claim.records.one": ("涉及的记录（1 条）", "The record that it is about"),
    "claim.records.none": (
        "对方引用的记录都不在本院，因此不会告诉它任何内容。",
        "None of the records that it names is here, so it would be told nothing.",
    ),
    "claim.missing": (
        "对方引用的另外 {count} 条不在本院或已被您隐藏，不会告诉。",
        "Of {count} more that it names nothing is told: they are not here, or you hide them.",
    ),
    "claim.missing.one": (
        "对方引用的另外 1 条不在本院或已被您隐藏，不会告诉。",
        "Of one more that it names nothing is told: it is not here, or you hide it.",
    ),
    "claim.sensitive": ("敏感记录要单独同意", "Sensitive records need a consent of their own"),
    "claim.sensitive.lead": (
        "不勾选就不会告诉这些记录的任何内容，理赔可能因此变慢。",
        "Of these nothing is told unless you tick them; the claim may take longer then.",
    ),
    "claim.sensitive.kind": ("{name}（{count} 条）", "{name} ({count})"),
    "claim.until": ("期限", "Until"),
    "claim.until.day": ("{day}（{days}），之后自动失效", "{day} ({days}); it ends by itself"),
    "claim.no.lead": (
        "本院不会因这项请求告诉对方任何内容，您的诊治不受影响。对方可能会请您自己提供材料。对方不会从这里得知您的回答。",
        (
            "This hospital tells nothing for this request, and your treatment does not change. The insurer may want "
            "papers from you instead. It is not told your answer from here."
        ),
    ),
    "claim.given": ("您已经许可过这一笔理赔。", "You have permitted this claim already."),
    "claim.allow": ("同意，只为这一笔", "Allow, for this claim only"),
    "claim.new": ("许可已生效，只为这一笔理赔", "Your permission is in force, for this one claim"),
    "claim.new.lead": (
        "{name}到{day}为止可以为这一笔理赔得知部分内容。您随时可以在这里停止。",
        "{name} may be told parts of these records for this claim until {day}. You can stop it here at any time.",
    ),
    "claim.parts": (
        "只有日期、金额、诊断大类和几项判断（如是否手术），不是完整记录",
        "dates, amounts, categories of diagnosis, a few answers such as on surgery; no record as a whole",
    ),
    "claim.digest": ("理赔指纹", "Digest of the claim"),
    "claim.told": ("为理赔告知 {count} 条记录的部分内容", "parts of {count} records, told for a claim"),
    "claim.told.one": ("为理赔告知 1 条记录的部分内容", "parts of 1 record, told for a claim"),
}
"""Every word of it."""
