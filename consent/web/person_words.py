"""What the pages about the patient as a person say: passkeys, recoveries, in Chinese and English.

A data table. Wording as in `consent.web.words`: a passkey that was removed signs nothing more, what it signed before
stays; a recovery is said to be under way, never to be right or wrong.
Source: `docs/spec/patient-pages.md` 13, wording; `docs/glossary.md` for the terms.
"""

from __future__ import annotations

from typing import Final

from medchain.web.words import Words

PERSON_WORDS: Final[Words] = {
    "settings.passkeys": ("通行密钥", "Passkeys"),
    "settings.passkeys.lead": (
        "用它们登录和签署。建议至少有两个，放在不同的设备上：丢了一个，还能用另一个。",
        "You sign in and sign with these. Have two, on two devices: if one is lost, the other still works.",
    ),
    "settings.key": ("通行密钥 {number}", "Passkey {number}"),
    "settings.key.since": ("{day}登记", "since {day}"),
    "settings.key.used": ("最近用它在这里登录：{when}", "last used to sign in here: {when}"),
    "settings.key.never": ("从未", "never"),
    "settings.key.last": (
        "这是唯一的一个，不能移除。请先增加另一个。",
        "It is your only one and cannot be removed. Add another one first.",
    ),
    "settings.key.none": ("这里没有登记您的通行密钥。", "No passkey of yours is enrolled here."),
    "settings.key.remove": ("移除通行密钥 {number}……", "Remove passkey {number} …"),
    "settings.key.remove.lead": (
        "移除后它不能再登录或签署，其他浏览器上的登录也会结束。以前用它签署的仍然有效。",
        (
            "It then signs in and signs nothing more, and you are signed out in all other browsers. What it signed "
            "before stays as it is."
        ),
    ),
    "settings.key.remove.sign": ("用现有的通行密钥签署移除", "Sign the removal with a passkey you have"),
    "settings.key.remove.label": (
        "移除通行密钥 {number}：用现有的通行密钥签署移除",
        "Remove passkey {number}: sign the removal with a passkey you have",
    ),
    "settings.key.add": ("增加一个通行密钥", "Add a passkey"),
    "settings.key.add.lead": (
        "分两步：先在这台或另一台设备上生成新的通行密钥（浏览器会问在哪里），再用现有的通行密钥签署。",
        (
            "Two steps: the new passkey is made, on this device or another one, as your browser asks; then you sign "
            "for it with one that you have."
        ),
    ),
    "settings.key.add.sign": ("增加通行密钥", "Add a passkey"),
    "settings.elsewhere": (
        "您的登记由{name}保管，增减通行密钥请在那里办理。",
        "{name} keeps your enrolment. Add and remove passkeys there.",
    ),
    "settings.lost": ("手机丢了？", "Lost your phone?"),
    "settings.lost.other": (
        "还有别的通行密钥：用它登录，在上面移除丢失的那一个。",
        "If you have another passkey: sign in with it, and remove the lost one above.",
    ),
    "settings.lost.last": (
        "没有别的了：请带身份证件到{names}的窗口。由那里提出更换，不能由登记您的医院单独决定。",
        (
            "If it was the only one: take your identity card to the desk of {names}. They start the replacement; the "
            "hospital that enrolled you cannot do it alone."
        ),
    ),
    "settings.lost.last.ask": (
        "没有别的了：请带身份证件到{name}的窗口询问，由联盟中另一家存有您登记信息的机构提出更换。",
        (
            "If it was the only one: ask at the desk of {name}, with your identity card, which other organisation of "
            "the consortium holds your enrolment; that one starts the replacement."
        ),
    ),
    "settings.lost.wait": (
        "等待至少 {days} 天后生效；其间每一页都会提示，您现有的任何一个通行密钥都能取消。",
        (
            "It takes effect after at least {days} days. Until then every page here says so, and any passkey that you "
            "still have cancels it."
        ),
    ),
    "settings.lost.lead": (
        "其间已有的许可继续有效，也可以在{name}的窗口停止。",
        "Permissions stay in force meanwhile; the desk of {name} can stop them.",
    ),
    "settings.changes": ("登记信息的变化", "Changes of your enrolment"),
    "settings.changes.lead": (
        "账本上登记的、对您的通行密钥和代办人所做的一切，最近的在前。如果有不是您本人办理的，请立即联系医院窗口。",
        (
            "What the ledger has of your passkeys and of who may act for you, the newest first. If something was not "
            "you, tell the hospital's desk now."
        ),
    ),
    "settings.changes.none": ("没有登记任何变化。", "No change is recorded."),
    "change.enrol": ("登记", "You were enrolled"),
    "change.add-passkey": ("增加了通行密钥", "A passkey was added"),
    "change.remove-passkey": ("移除了通行密钥", "A passkey was removed"),
    "change.change-contacts": ("联系方式变了", "The contacts for notices were changed"),
    "change.name-delegate": ("指定了代办人", "Somebody was named to act for you"),
    "change.end-delegate": ("结束了代办", "Somebody no longer acts for you"),
    "change.link": ("增加了存有您病历的机构", "An organisation that holds your records was added"),
    "change.unlink": ("减少了存有您病历的机构", "An organisation that holds your records was removed"),
    "change.dispute": ("监护人意见不一", "The guardians were found to disagree"),
    "change.settle": ("监护人意见一致", "The guardians agree again"),
    "change.declare-death": ("登记为已故", "A death was declared"),
    "change.restore": ("撤销了死亡或无行为能力的登记", "A declared death or incapacity was taken back"),
    "change.recover": (
        "完成了更换：通行密钥或监护人已换",
        "A recovery was carried out: passkeys or guardians were replaced",
    ),
    "change.recovery.replace": ("有人申请更换通行密钥", "Somebody asked to replace your passkeys"),
    "change.recovery.guardianship": ("有人申请指定监护人", "Somebody asked to appoint guardians for you"),
    "change.recovery.stopped": ("更换的申请已取消", "That request was cancelled"),
    "recovery.replace": ("有人申请更换您的通行密钥", "Somebody asks to replace your passkeys"),
    "recovery.guardianship": ("有人申请为您指定监护人", "Somebody asks to appoint guardians for you"),
    "recovery.lead": (
        "由{name}于{day}提出（核对方式：{method}）。{effect}起可以生效。",
        "Started by {name} on {day} (checked by: {method}). It can take effect from {effect}.",
    ),
    "recovery.you": (
        "如果这不是您本人办理的，请马上取消。取消在本院立即生效，并在几秒内写入共同账本。",
        (
            "If this was not you, cancel it now. That binds this hospital at once, and the shared ledger says so "
            "within seconds."
        ),
    ),
    "recovery.cancel": ("用我的通行密钥取消", "Cancel it with my passkey"),
    "recovery.desk": (
        "不能签署？请立即到任何一家存有您病历的机构的窗口，由其停止。",
        "Cannot sign? Go to the desk of any organisation that holds your records at once; it can stop this.",
    ),
    "method.identity-card": ("身份证件", "identity card"),
    "method.court-order": ("法院文书", "court order"),
    "error.patient.last_passkey": (
        "最后一个通行密钥不能移除，请先增加另一个。",
        "The last passkey cannot be removed. Add another one first.",
    ),
    "error.subject.elsewhere": (
        "您的登记由另一家机构保管，请在那里办理。",
        "Another organisation keeps your enrolment. Do this there.",
    ),
    "error.subject.unknown": (
        "这里没有您的有效登记，请到医院窗口办理。",
        "You have no enrolment in force here. Ask the hospital's desk.",
    ),
}
"""Every word of these pages."""
