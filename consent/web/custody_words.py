"""What the page says on which guardians say that they disagree about a child, and settle it, in Chinese and English.

A data table. Wording: who disagrees with whom about what is nobody's business here; what follows from it is said.
Source: `docs/spec/patient-pages.md` 25, wording; `docs/glossary.md` for the terms.
"""

from __future__ import annotations

from typing import Final

from medchain.web.words import Words

CUSTODY_WORDS: Final[Words] = {
    "custody.link": ("监护人", "The guardians"),
    "custody.title": ("监护人", "The guardians"),
    "custody.guardians": ("现在的监护人", "Guardians in force"),
    "custody.one": ("只有一位监护人。", "There is one guardian alone."),
    "custody.agreed": (
        "目前每位监护人都可以单独许可和停止。",
        "At present each guardian permits and stops alone.",
    ),
    "custody.disputed": ("意见不一致", "they disagree"),
    "custody.disputed.lead": (
        "新的许可要由全体监护人签署才生效。停止许可、隐藏记录，任何一位都可以单独做，立即生效。",
        (
            "A new permission counts once all guardians have signed it. Each of them alone stops a permission or hides "
            "records, at once."
        ),
    ),
    "custody.dispute": ("意见不一致？", "Do you disagree?"),
    "custody.dispute.lead": (
        "您一个人签署就够了。此后新的许可要由全体监护人签署；已有的许可继续有效，您随时可以停止。其他监护人会收到通知。",
        (
            "Your signature alone is enough. New permissions are signed by all guardians from then on; those that were "
            "given stay in force, and you can stop them at any time. The other guardians are told."
        ),
    ),
    "custody.dispute.sign": ("声明不一致，去签署", "Say that we disagree, and sign that"),
    "custody.settle": ("已经一致？", "Do you agree again?"),
    "custody.settle.lead": (
        "全体监护人各自签署后，每位又可以单独许可，也可以恢复隐藏的记录。最后一位签署前，什么都不改变。",
        (
            "Once all guardians have signed, each permits alone again, and can release what is hidden. Nothing changes "
            "before the last one has signed."
        ),
    ),
    "custody.settle.sign": ("声明已经一致，去签署", "Say that we agree again, and sign that"),
    "custody.settle.waits": ("您已签署，正在等其他监护人。", "You have signed. The other guardians must still sign."),
    "error.custody.dispute": (
        "不能再声明：只有一位监护人，或已经声明过。",
        "There is nothing to say: there is one guardian alone, or it was said already.",
    ),
    "error.custody.settled": ("监护人目前没有分歧。", "The guardians do not disagree."),
}
"""Every word of this page."""
