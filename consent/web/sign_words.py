"""What the page says on which a patient signs, in Chinese and English.

A data table. Its script words what it reads in the draft with these, `consent.web.sign_pages`; a draft of an operation
without a word (``sign.do.…``) is shown to nobody, and signed by nobody. Wording: a passkey shows
no text, and no page says that it did.
Source: `docs/spec/patient-pages.md` 6, wording; `docs/glossary.md` for the terms.
"""

from __future__ import annotations

from typing import Final

from medchain.web.words import Words

SIGN_WORDS: Final[Words] = {
    "sign.title": ("签署", "Sign"),
    "sign.reading": ("正在读取要签署的内容……", "Reading what is to be signed …"),
    "sign.lead": (
        "下面的内容由本页直接从要签署的数据中读出，与医院门户网站分开。请核对是否是您要的；通行密钥本身不显示这些文字。",
        (
            "This page reads what follows out of the very data to be signed, apart from the hospital's portal. Check "
            "that it is what you want: a passkey does not show these words itself."
        ),
    ),
    "sign.button": ("用通行密钥确认", "Confirm with your passkey"),
    "sign.back": ("不签署，返回", "Go back without signing"),
    "sign.ended": (
        "这个签署链接已用过或已过期，什么都没有改变。请返回门户重新开始。",
        "This link to sign was used already, or its time is over. Nothing was changed. Go back and begin anew.",
    ),
    "sign.portal": ("返回医院门户", "Go back to the hospital's portal"),
    "sign.do.consent/create": ("许可查看病历", "Let somebody see your record"),
    "sign.do.consent/renew": ("续签许可", "Renew a permission"),
    "sign.do.consent/withdraw": (
        "停止一项许可，或恢复隐藏的记录",
        "Stop a permission, or release hidden records",
    ),
    "sign.do.delegation/end": ("结束代办", "End that somebody acts for somebody"),
    "sign.do.recovery/cancel": ("取消更换通行密钥的申请", "Cancel the replacement of passkeys"),
    "sign.do.subject/add-passkey": ("增加一个通行密钥", "Add a passkey"),
    "sign.do.subject/change-contacts": ("更改接收通知的联系方式", "Change where notices go"),
    "sign.do.subject/dispute": ("声明监护人意见不一致", "Say that the guardians disagree"),
    "sign.do.subject/settle": ("声明监护人已经一致", "Say that the guardians agree again"),
    "sign.do.subject/end-delegate": ("结束代办", "End that somebody acts for somebody"),
    "sign.do.subject/name-delegate": ("指定一位协助人", "Name somebody who may act for you"),
    "sign.do.subject/restore": (
        "撤销您去世或无法自行决定的登记",
        "Take back that you are on record as dead, or as unable to decide",
    ),
    "sign.do.subject/remove-passkey": ("移除一个通行密钥", "Remove a passkey"),
    "sign.row.recipient": ("谁可以看", "Who may see it"),
    "sign.row.acting_for": ("替谁", "On behalf of"),
    "sign.row.signers": ("都要签署的人", "All who must sign"),
    "sign.row.purpose": ("目的", "Why"),
    "sign.row.kinds": ("哪些记录", "Which records"),
    "sign.row.all": ("所有种类的记录", "all kinds of records"),
    "sign.row.sensitive": ("其中的敏感记录", "Sensitive records among them"),
    "sign.row.none": ("不包括", "none"),
    "sign.row.custodians": ("由谁给出", "Given by"),
    "sign.row.until": ("到期", "Until"),
    "sign.row.no_end": ("没有到期日", "no end"),
    "sign.row.object": ("编号", "Its key on the ledger"),
    "sign.row.about": ("医院说它关于", "The hospital says that it is about"),
    "sign.row.passkeys": ("此后的通行密钥", "Passkeys after that"),
    "sign.row.contacts": ("此后接收通知的联系方式", "Where notices go after that"),
    "sign.row.no_contact": ("不再发送", "nowhere"),
    "sign.row.delegates": ("此后可替您办理的人", "Who may act for you after that"),
    "sign.row.nobody": ("没有人", "nobody"),
    "sign.row.hide": ("对其他机构隐藏一条记录", "Hide a record from other organisations"),
    "sign.row.hide_kind": ("对其他机构隐藏一类记录", "Hide a kind of records from other organisations"),
    "sign.row.hides_kind": ("哪类记录（全部，包括以后的）", "Which kind of records, all of them, later ones too"),
    "sign.row.hides": ("哪条记录（和引用它的记录）", "Which record, and what refers to it"),
    "sign.row.hides_from": ("对谁隐藏", "Hidden from"),
    "sign.row.others": ("所有其他机构，急救时也不给", "all other organisations, in an emergency as well"),
    "sign.row.seen_by": ("仍可看到", "Still seen by the staff of"),
    "sign.row.one_claim": ("为一笔理赔告知部分内容", "Let parts of your record be told for one claim"),
    "sign.row.claim": ("哪一笔理赔（对方所述）", "Which claim, as who asks says"),
    "sign.row.digest": ("理赔指纹", "Digest of the claim"),
    "sign.row.told": ("可以得知", "What it is told"),
    "sign.row.parts": (
        "只有日期、金额、诊断大类和几项判断（如是否手术），不是完整记录",
        "dates, amounts, categories of diagnosis, a few answers such as on surgery; no record as a whole",
    ),
    "sign.row.cited": ("关于哪些记录", "Of which records"),
    "sign.row.records": ("条记录", "records"),
    "sign.row.comma": ("、", ", "),
    "sign.row.colon": ("：", ": "),
    "sign.row.open": ("（", " ("),
    "sign.row.close": ("）", ")"),
    "error.patient.no_signing": (
        "本院没有设置签署地址，这里不能签署。停止许可不需要签署。",
        "This hospital has set up no address for signing, so nothing is signed here. To stop a permission needs none.",
    ),
}
"""Every word of this page."""
