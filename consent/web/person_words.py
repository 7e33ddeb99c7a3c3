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
            "It takes effect after at least {days} {days:day|days}. Until then every page here says so, and any "
            "passkey that you still have cancels it."
        ),
    ),
    "settings.lost.lead": (
        "其间已有的许可继续有效，也可以在{name}的窗口停止。",
        "Permissions stay in force meanwhile; the desk of {name} can stop them.",
    ),
    "settings.changes": ("登记信息的变化", "Changes of your enrolment"),
    "settings.changes.lead": (
        "账本上登记的、对您的通行密钥和可以替您办理的人所做的一切，最近的在前。如果有不是您本人办理的，请立即联系医院窗口。",
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
    "change.name-delegate": ("指定了可以替您办理的人", "Somebody was named to act for you"),
    "change.end-delegate": ("有人不再替您办理", "Somebody no longer acts for you"),
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
    "change.delegation.stopped": ("有人不再替您办理", "Somebody no longer acts for you"),
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
    "my_recover.title": ("制作新的通行密钥", "Make a new passkey"),
    "my_recover.lead": (
        "{name}的两位工作人员已核对您的身份。请在您自己的手机或电脑上制作新的通行密钥。",
        "Two members of the staff of {name} have checked who you are. Make a new passkey on your own device.",
    ),
    "my_recover.wait": (
        "它不会马上生效：要等待联盟规定的天数，之后由为您登记的机构执行。",
        (
            "It does not count at once, but after the days that the consortium has agreed on, when the organisation "
            "that enrolled you carries it out."
        ),
    ),
    "my_recover.told": (
        "等待期间，保管您记录的每一家机构都会通知您；如果您又找到原来的通行密钥，可以登录取消。",
        (
            "Until then, each organisation that holds records of you tells you. If you find an old passkey again, sign "
            "in with it and cancel."
        ),
    ),
    "my_recover.once": ("登记码只能用一次，一小时内有效。", "The code is good once, within an hour."),
    "my_recover.button": ("制作通行密钥", "Make the passkey"),
    "my_recovering.title": ("已提出更换", "The replacement is announced"),
    "my_recovering.lead": (
        "新的通行密钥已写入账本，正在等待。生效以后，您就可以用它登录。",
        "The new passkey is on the ledger, and waits. Once it counts, you can sign in with it.",
    ),
    "method.identity-card": ("身份证件", "identity card"),
    "method.passport": ("护照", "passport"),
    "method.insurance-card": ("医保卡", "insurance card"),
    "method.household-register": ("户口簿", "household register"),
    "method.birth-certificate": ("出生医学证明", "birth certificate"),
    "method.death-certificate": ("死亡医学证明", "death certificate"),
    "method.court-order": ("法院文书", "court order"),
    "recovery.other": (
        "有人申请更换{name}的通行密钥或监护人",
        "Somebody asks to replace the passkeys or guardians of {name}",
    ),
    "nav.family": ("家人", "Family"),
    "patient.back.family": ("返回“家人和协助人”", "Back to family and helpers"),
    "family.title": ("家人和协助人", "Family and helpers"),
    "family.mine": ("谁可以替我办理", "Who may act for me"),
    "family.mine.lead": (
        "他们用自己的通行密钥办理，每一步都以他们自己的名字登记。您随时可以结束。",
        (
            "They use their own passkeys, and what they do is recorded under their own names. You can end it at any "
            "time."
        ),
    ),
    "family.nobody": ("没有人可以替您办理。", "Nobody may act for you."),
    "family.unnamed": ("不在本院登录的人", "somebody who does not sign in here"),
    "family.role.guardian": ("监护人", "guardian"),
    "family.role.helper": ("协助人", "helper"),
    "family.role.proxy": ("代理人", "proxy"),
    "family.may.read": ("查看病历和谁看过", "see the record and who has looked"),
    "family.may.consent": ("答复查看请求", "decide on requests"),
    "family.may.stop": ("停止许可", "stop permissions"),
    "family.kinds": ("可以决定的记录：{kinds}", "May decide on: {kinds}"),
    "family.confirm.who": ("协助人", "Helper"),
    "family.confirm.kinds": ("可以决定的记录", "May decide on"),
    "family.since": ("{day}起", "since {day}"),
    "family.not_in_force": ("目前不生效", "not in force now"),
    "family.ended": ("已结束", "ended"),
    "family.ended.waits": (
        "{name}已不再接受此人替您办理；共同账本一有这一条，其他机构也不再接受。",
        (
            "{name} takes nothing more from this person in your name. The other organisations do as soon as the shared "
            "ledger has it."
        ),
    ),
    "family.guardian": (
        "监护人不能在这里结束；由法院文书或成年决定。",
        "A guardian is not ended here: that takes a court's paper, or coming of age.",
    ),
    "family.deeds": ("{name}做过什么", "What {name} has done"),
    "family.deeds.none": ("没有登记任何办理。", "Nothing is recorded."),
    "family.deed.gave": ("{when} 许可{name}查看", "let {name} see records ({when})"),
    "family.deed.ended": ("停止了{name}的许可", "stopped the permission of {name}"),
    "family.deed.declined": ("{when} 拒绝了{name}的查看请求", "declined a request of {name} ({when})"),
    "family.deed.looked": ("最近一年查看您的记录 {count} 次", "looked at your records {count} times in the last year"),
    "family.deed.looked.one": ("最近一年查看您的记录 1 次", "looked at your records once in the last year"),
    "family.end": ("结束{name}的协助……", "End what {name} may do …"),
    "family.end.lead": (
        "签署后本院立即不再接受；共同账本一有这一条，所有机构都不再接受。此人以前签署的许可不会因此停止。",
        (
            "Once you sign, this hospital takes nothing more from this person at once, and every organisation does so "
            "from its place in the shared ledger on. Permissions that were signed before are not stopped by it."
        ),
    ),
    "family.end.sign": ("用通行密钥结束", "End it with your passkey"),
    "family.end.without": (
        "不能签署？也可以不用通行密钥：效果相同，账本上写明是{name}停止的，而不是您签署的。",
        (
            "Cannot sign? It can end without your passkey: the effect is the same, and the ledger says that {name} "
            "ended it, not that you signed."
        ),
    ),
    "family.end.plain": ("立即结束", "End it now"),
    "family.name": ("指定协助人", "Name a helper"),
    "family.name.lead": (
        "请对方登录自己的“家人”页面，把协助码给您看。这里不能按姓名查找。",
        "Have the other person show you the code on their own page “Family”. Nobody is searched for by name here.",
    ),
    "family.name.open": ("输入协助码……", "Enter a code …"),
    "family.name.next": ("下一步：核对", "Next: check it"),
    "family.code.enter": ("对方出示的协助码", "The code that the other person shows"),
    "family.limits": ("可以做什么", "What this person may do"),
    "family.limits.view": ("只能查看", "see what you see, and nothing else"),
    "family.limits.decide": (
        "查看、答复查看请求、停止许可",
        "see what you see, decide on requests, and stop permissions",
    ),
    "family.limits.kinds": ("可以决定哪些记录（只能查看时不用选）", "Decide on which records (not needed for seeing)"),
    "family.confirm": ("请{name}替您办理？", "Let {name} act for you?"),
    "family.confirm.lead": (
        "请核对是不是您身边的这个人，以及下面的范围。",
        "Check that this is the person beside you, and what is below.",
    ),
    "family.confirm.named": (
        "{name}办理的每一步都以自己的名字登记，您都能看到。",
        "What {name} does is recorded under that name, and you see all of it.",
    ),
    "family.confirm.end": (
        "您随时可以结束；到期自动结束。",
        "You can end it at any time; it ends by itself on its day.",
    ),
    "family.confirm.not": (
        "协助人不能改您的通行密钥，也不能指定别的协助人。",
        "A helper cannot change your passkeys, and can name nobody else.",
    ),
    "family.confirm.sign": ("同意，用通行密钥签署", "Agree and sign with your passkey"),
    "family.confirm.no": ("不指定", "Do not name this person"),
    "family.for": ("我可以替谁办理", "For whom I act"),
    "family.for.nobody": ("您没有替任何人办理。", "You act for nobody."),
    "family.restoring": ("请签名撤销{name}的去世登记", "Sign that the recorded death of {name} is taken back"),
    "family.restoring.lead": (
        "登记窗口的两名工作人员已证明登记有误。全体监护人签名后撤销。",
        (
            "Two members of the desk's staff attest that it was a mistake. It is taken back once all guardians have "
            "signed."
        ),
    ),
    "family.act": ("替{name}办理", "Act for {name}"),
    "family.leave": ("不再替{name}办理……", "Act for {name} no more …"),
    "family.leave.lead": (
        "签署后您不再能替此人查看或办理。以前签署的仍然有效。",
        "Once you sign, you see and do nothing more for this person. What you signed before stays as it is.",
    ),
    "family.leave.sign": ("用通行密钥签署", "Sign with your passkey"),
    "family.code": ("让别人指定我", "Let somebody name me"),
    "family.code.lead": (
        "把协助码出示给请您帮忙的人。有码的人会看到您的姓名。",
        "Show a code to the person whom you will help. Who has it sees your name.",
    ),
    "family.code.show": ("显示我的协助码", "Show my code"),
    "family.code.is": ("您的协助码：", "Your code:"),
    "family.code.until": ("有效至{when}。", "It counts until {when}."),
    "acting.label": ("替人办理", "Acting for somebody"),
    "acting.banner": ("您正在替{name}办理（{role}）", "You are acting for {name} ({role})"),
    "acting.recorded": (
        "您查看和签署的都以您自己的名字（{me}）登记，{name}能看到。以下各页的“您”指{name}。",
        (
            "What you see and sign is recorded under your own name ({me}), and {name} sees it. On these pages “you” "
            "means {name}."
        ),
    ),
    "acting.stop": ("不再替{name}办理，回到我自己的页面", "Stop acting for {name}, back to my own pages"),
    "acting.not_decide": (
        "您可以查看，但不能替对方决定。",
        "You may see this, but not decide on it.",
    ),
    "acting.beyond": (
        "也请求了、但超出您可以决定的范围",
        "Also asked for, but beyond what you may decide on",
    ),
    "home.title.acting": ("{name}的健康档案", "The health record of {name}"),
    "role.delegate": ("替您办理", "acting for you"),
    "signed.delegate": ("{name}的通行密钥，替您签署", "the passkey of {name}, acting for you"),
    "ended.delegate": ("由{name}替您撤回", "withdrawn by {name}, acting for you"),
    "error.patient.restoration": (
        "登记窗口尚未证明此事，或已过期。请本人带身份证件到登记窗口。",
        "The desk does not attest this, or no longer. Go to the desk yourself, with your identity card.",
    ),
    "error.patient.own": (
        "这里只能由本人办理。请先停止替人办理。",
        "Only the person can do this. Stop acting for somebody else first.",
    ),
    "error.patient.limits": (
        "这超出了您可以替对方办理的范围，什么都没有改变。",
        "That is beyond what you may do for this person. Nothing was changed.",
    ),
    "error.patient.ended": (
        "您已不能替此人办理。请回到您自己的页面。",
        "You may act for this person no more. Go back to your own pages.",
    ),
    "error.patient.unable": (
        "目前不能替别人办理。",
        "You cannot act for others at present.",
    ),
    "error.patient.guardian": (
        "监护人不能由被监护人结束。",
        "A guardian is not ended by the person who is protected.",
    ),
    "error.patient.helper_code": (
        "没有这个协助码，或已过期。请对方再出示一次。",
        "There is no such code, or it has ended. Have the other person show a new one.",
    ),
    "error.patient.helper_self": ("不能指定您自己。", "You cannot name yourself."),
    "error.patient.helper_known": (
        "此人已经可以替您办理。要改范围，请先结束，再重新指定。",
        "This person may act for you already. To change what they may do, end it first and name them anew.",
    ),
    "error.patient.helper_limits": (
        "请选择可以做什么、哪些记录和期限。",
        "Choose what the person may do, on which records, and for how long.",
    ),
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
