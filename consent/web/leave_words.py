"""What the page of leaving says, in Chinese and English.

A data table. Wording: what was given is never said to be called back, nor what is on the ledger to be deleted.
Source: `docs/spec/patient-pages.md` 21, wording; `docs/glossary.md` for the terms.
"""

from __future__ import annotations

from typing import Final

from medchain.web.words import Words

LEAVE_WORDS: Final[Words] = {
    "settings.leave": ("退出", "Leave"),
    "settings.leave.link": ("退出会怎样，不能撤回什么", "What leaving does, and what it cannot undo"),
    "settings.leave.lead": (
        "您可以在{name}的窗口退出。退出后您的密钥和同意书内容会被销毁；账本上只剩无法联系到您的编号，已经给出的记录也无法收回。",
        (
            "You can leave at the desk of {name}. Your keys and the contents of your consents are destroyed then; "
            "numbers that lead nowhere stay on the ledger, and what was given to others cannot be called back."
        ),
    ),
    "leave.back": ("返回设置", "Back to the settings"),
    "leave.title": ("退出", "Leave"),
    "leave.lead": (
        "退出分两步：先停止所有许可，这里就可以办；再到{name}的窗口销毁您的密钥。",
        (
            "Leaving has two steps: all permissions are stopped, which you can do here, and your keys are destroyed, "
            "which the desk of {name} does."
        ),
    ),
    "leave.stop": ("第一步：停止所有许可", "First: stop all permissions"),
    "leave.stop.lead": (
        "立即生效，不需要通行密钥；账本上会写明由本院停止。想逐项签名停止，请打开上面的许可。",
        (
            "It binds at once and needs no passkey; the ledger says that this hospital stopped them. To sign the end "
            "of one yourself, open it above."
        ),
    ),
    "leave.stop.all": ("停止以上所有许可", "Stop all of these"),
    "leave.stop.none": (
        "您没有许可任何其他机构，本院不再依您的许可给出记录。",
        "You permit no other organisation anything: this hospital gives nothing more by your permission.",
    ),
    "leave.stays": ("退出不能撤回的", "What leaving cannot undo"),
    "leave.given": (
        "{name}已得到 {count} 条记录（分 {times} 次）。本院会提醒它删除，但无法收回，也无法证明没有副本。",
        (
            "{name} was given records: {count}, counting each time; disclosures: {times}. It is reminded to erase "
            "them; they cannot be called back, and nobody can prove that no copy is left."
        ),
    ),
    "leave.given.none": (
        "没有登记任何给出。",
        "No disclosure is recorded.",
    ),
    "leave.given.unknown": (
        "还有登记的给出，详情不在本院或不完整。",
        "More is recorded as given, of which this hospital does not hold all.",
    ),
    "leave.law": ("{name}依法律可以查看的，仍会给出。", "What the law lets {name} see is given all the same."),
    "leave.records": (
        "{name}依法必须保存的病历仍会保存，其工作人员诊治时可以看。",
        "The records that the law has {name} keep are kept, and its staff see them when they treat you.",
    ),
    "leave.hidden": (
        "您对其他机构隐藏的记录仍然隐藏，直到密钥销毁。",
        "What you hide from other organisations stays hidden, until the keys are destroyed.",
    ),
    "leave.ledger": (
        "共同账本上的条目不能删除；其中没有您的姓名和病历内容。",
        "Entries on the shared ledger cannot be deleted. Your name and what your records say are in none of them.",
    ),
    "leave.looks": (
        "谁看过您的病历，记录按法律保存。",
        "Who looked at your record stays on this hospital's log as long as the law asks.",
    ),
    "leave.desk": ("第二步：到窗口", "Then: the desk"),
    "leave.helpers": ("替您办理的人也请结束。", "End who acts for you, too."),
    "leave.family": ("家人和协助人", "Family and helpers"),
}
"""Every word of this page, and what leads to it."""
