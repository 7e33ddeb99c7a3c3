"""What the patient's pages say, in Chinese and English.

A data table. Wording claims no more than is proven: "recorded", never "complete"; "stopped here, on the ledger within
seconds", never "revoked everywhere at once"; "unaltered since it was registered", never "true".
Source: `docs/spec/patient-pages.md`, wording; `docs/glossary.md` for the terms.
"""

from __future__ import annotations

from typing import Final

from consent.web.concern_words import CONCERN_WORDS
from consent.web.contact_words import CONTACT_WORDS
from consent.web.custody_words import CUSTODY_WORDS
from consent.web.hiding_words import HIDING_WORDS
from consent.web.leave_words import LEAVE_WORDS
from consent.web.one_claim_words import ONE_CLAIM_WORDS
from consent.web.person_words import PERSON_WORDS
from consent.web.purpose_words import PURPOSE_WORDS
from consent.web.sign_words import SIGN_WORDS
from consent.web.without_words import WITHOUT_WORDS
from medchain.web.words import Words

PATIENT_WORDS: Final[Words] = {
    **CONCERN_WORDS,
    **CONTACT_WORDS,
    **CUSTODY_WORDS,
    **HIDING_WORDS,
    **LEAVE_WORDS,
    **ONE_CLAIM_WORDS,
    **PERSON_WORDS,
    **PURPOSE_WORDS,
    **SIGN_WORDS,
    **WITHOUT_WORDS,
    "patient.nav": ("主菜单", "Main menu"),
    "nav.home": ("首页", "Home"),
    "nav.access": ("谁能看", "Access"),
    "nav.looked": ("谁看过", "Looks"),
    "nav.record": ("病历", "Record"),
    "nav.more": ("设置", "Settings"),
    "patient.access": ("谁能看", "Who can see"),
    "patient.verify": ("核验证明", "Check a proof"),
    "patient.you": ("您", "you"),
    "patient.comma": ("、", ", "),
    "patient.semicolon": ("；", "; "),
    "patient.colon": ("：", ": "),
    "patient.bracket": ("（{text}）", " ({text})"),
    "patient.entry": ("账本第 {position} 条", "entry {position} of the ledger"),
    "patient.not_final": ("（正在等待各机构联署）", "(waiting for the other organisations' signatures)"),
    "patient.back.home": ("返回首页", "Back to the first page"),
    "patient.back.access": ("返回“谁能看”", "Back to who can see"),
    "patient.back.record": ("返回我的病历", "Back to my record"),
    "role.patient": ("患者本人", "patient"),
    "passkey.script": (
        "此步骤要用通行密钥，需要启用 JavaScript 的浏览器。",
        "This step needs a passkey, and so a browser with JavaScript switched on.",
    ),
    "passkey.wait": ("正在处理，通常只要几秒……", "Working on it; this usually takes a few seconds …"),
    "passkey.failed": ("没有完成。您可以再试一次。", "That was not completed. You can try again."),
    "passkey.later": (
        "现在无法完成：没有联系到另一家机构或账本。什么都没有改变，请稍后再试。",
        "Not possible now: another organisation or the ledger is out of reach. Nothing was changed; try again later.",
    ),
    "passkey.refused": (
        "没有被接受，什么都没有改变。请刷新页面后重试；仍不成功请联系医院窗口。",
        (
            "It was not accepted, and nothing was changed. Reload the page and try again; if it fails again, ask the "
            "hospital's desk."
        ),
    ),
    "passkey.differs": (
        "要签署的内容与本页所示不一致，没有签署任何内容。请告知医院。",
        "What came back to be signed is not what this page shows. Nothing was signed. Please tell the hospital.",
    ),
    "passkey.without": (
        "此浏览器不支持通行密钥，这一步在这里做不了。请在系统浏览器中打开本页，或到医院窗口、自助机办理。",
        (
            "This browser has no passkeys, so this step cannot be done here. Open this page in your phone's own "
            "browser, or go to the hospital's desk or kiosk."
        ),
    ),
    "my_sign_in.title": ("登录我的健康档案", "Sign in to your health record"),
    "my_sign_in.lead": (
        "用您在{name}登记的通行密钥登录：手机的指纹、面容或锁屏密码。没有密码。",
        (
            "Use the passkey that you enrolled at {name}: your phone's fingerprint, face or screen lock. There are no "
            "passwords."
        ),
    ),
    "my_sign_in.none": ("还没有通行密钥？", "No passkey yet?"),
    "my_sign_in.none.lead": (
        "请带身份证件到{name}的服务窗口领取登记码。没有手机也可以在窗口用纸质方式办理。",
        (
            "Take your identity card to the desk of {name} for a code to enrol with. Without a phone, the desk does "
            "it on paper."
        ),
    ),
    "my_sign_in.staff": ("工作人员登录", "Staff sign-in"),
    "my_enrol.title": ("登记您的通行密钥", "Enrol your passkey"),
    "my_enrol.lead": (
        "{name}的窗口已核对您的身份。登记后，只有您能决定谁可以看您的病历。",
        "The desk of {name} has checked who you are. After this, you alone decide who else may see your record.",
    ),
    "my_enrol.device": (
        "请在您自己的手机或电脑上操作；通行密钥保存在那里。",
        "Do this on your own phone or computer; the passkey is kept there.",
    ),
    "my_enrol.second": (
        "另一家独立机构会一同见证登记，可能要几秒钟。",
        "Another, independent organisation vouches for the enrolment as well; it may take a few seconds.",
    ),
    "my_enrol.once": ("登记码只能用一次，24 小时内有效。", "The code is good once, within 24 hours."),
    "my_enrol.button": ("登记通行密钥", "Enrol a passkey"),
    "home.title": ("{name}，您好", "Hello, {name}"),
    "home.looked": ("人本周看过您的病历", "people looked at your record this week"),
    "home.looked.one": ("人本周看过您的病历", "person looked at your record this week"),
    "home.attention": ("件事等您决定", "need your attention"),
    "home.attention.one": ("件事等您决定", "needs your attention"),
    "home.waiting": ("等您决定", "Waiting for you"),
    "home.asks": ("{name}请求查看您的病历", "{name} asks to see your record"),
    "home.asked": ("{day}提出；{ends}前可答复", "asked on {day}; you can answer until {ends}"),
    "home.nothing": ("目前没有等您决定的事。", "Nothing waits for you now."),
    "home.refused": (
        "本周有 {count} 次查看请求没有得到任何记录。",
        "{count} requests were given nothing this week.",
    ),
    "home.refused.one": (
        "本周有 1 次查看请求没有得到任何记录。",
        "One request was given nothing this week.",
    ),
    "home.see": ("查看", "See which"),
    "home.notices": ("通知", "Notices"),
    "home.seen": ("知道了", "I have seen this"),
    "notice.ask.came": (
        "有机构请求为您所代办的人给予许可。请在“家人”中选择替谁办理，再查看请求。",
        "Somebody asks a person for whom you act for a permission. Choose under “Family” for whom to act, and see it.",
    ),
    "notice.consent.given": (
        "一项许可（或对一条记录的隐藏）已用您的名义签署。",
        "A permission, or the hiding of a record, was signed in your name.",
    ),
    "notice.consent": ("您的一项许可有变化。", "One of your permissions has changed."),
    "notice.mandate.given": (
        "有法律依据（法院命令、法定报告或公共卫生）要求给出您的部分记录。请在“谁能看”中查看依据。",
        (
            "A legal basis other than your consent (a court order, a report that the law demands, or public health) "
            "opens part of your record. See “Access” for which."
        ),
    ),
    "notice.mandate": ("一项法律依据已停止。", "A legal basis for opening your record was stopped."),
    "notice.hiding.stopped": (
        "您的一项隐藏已结束。哪些记录仍然隐藏，请看“我的病历”。",
        "What hid some of your records was ended. See “My record” for what is hidden still.",
    ),
    "notice.stopped": (
        "一项许可已停止。",
        "A permission was stopped.",
    ),
    "notice.subject.enrol": ("您已在本系统登记。", "You were enrolled here."),
    "notice.subject": (
        "您的登记信息有变化（通行密钥、联系方式或可以替您办理的人）。如果不是您本人办理，请立即联系医院窗口。",
        "Your enrolment has changed: passkeys, contacts or helpers. If that was not you, tell the hospital's desk now.",
    ),
    "notice.recovery": (
        "有人为您申请更换通行密钥，等待期过后生效。如果不是您本人，请用现有的通行密钥取消，或立即联系医院窗口。",
        (
            "Somebody asks to replace your passkeys; it counts after the waiting time. If that was not you, cancel it "
            "with a passkey that you have, or tell the hospital's desk now."
        ),
    ),
    "notice.recovery.stopped": (
        "为您更换通行密钥或指定监护人的申请已取消。",
        "A request to replace your passkeys, or to appoint guardians for you, was cancelled.",
    ),
    "notice.delegate": ("可以替您办理的人有变化。", "Who may act for you has changed."),
    "notice.emergency": (
        "有人在紧急情况下查看了您的病历。此次查看会被审查，您可以提出异议。",
        "Somebody looked at your record in an emergency. It will be reviewed, and you can object.",
    ),
    "home.restoring": (
        "请签名撤销登记",
        "Sign that what is on record of you is taken back",
    ),
    "home.restoring.lead": (
        "您被登记为去世或无法自行决定。登记窗口的两名工作人员已证明应予撤销，您签名后生效。",
        (
            "You are on record as dead, or as unable to decide. Two members of the desk's staff attest that this is "
            "to be taken back. It counts once you have signed it."
        ),
    ),
    "home.restoring.button": ("签名", "Sign it"),
    "home.recent": ("最近谁看过", "Who looked lately"),
    "home.all_looks": ("全部查看记录", "All that is recorded"),
    "home.no_looks": ("最近七天没有查看记录。", "Nothing is recorded for the last seven days."),
    "home.permissions": ("您的许可", "Your permissions"),
    "home.living": ("您目前有 {count} 项许可生效。", "{count} permissions are in force."),
    "home.living.one": ("您目前有 1 项许可生效。", "One permission is in force."),
    "home.no_living": ("您没有许可任何其他机构查看。", "You have let no other organisation see your record."),
    "looked.under.law": ("依此法律依据", "under this legal basis"),
    "access.title": ("谁能看我的病历", "Who can see my record"),
    "access.lead": (
        "这是您许可的其他机构，您随时可以停止；依法律可以查看的，会写明依据。",
        (
            "These are the other organisations that you permitted, whom you can stop at any time. Where the law lets "
            "one see, it says so."
        ),
    ),
    "access.by_organisation": ("按机构", "By organisation"),
    "access.by_kind": ("按内容", "By kind of record"),
    "access.all": ("全部类别", "all kinds of records"),
    "access.until": ("到{day}为止", "until {day}"),
    "access.last": ("最近使用：{when}", "last used: {when}"),
    "access.no_end": ("没有截止日期", "no end date"),
    "access.never_used": ("从未使用", "never"),
    "access.stop": ("停止……", "Stop …"),
    "access.stop.of": ("停止 {name}（{purpose}）", "Stop {name} ({purpose})"),
    "access.nobody": ("您没有许可任何其他机构查看您的病历。", "You have let no other organisation see your record."),
    "access.own": (
        "为您诊治的本院人员不需要单独许可，但每次查看都有记录；急救查看和法律规定的上报也会记录。",
        (
            "Staff of this hospital who treat you need no separate permission, but each look is recorded, as are "
            "emergency looks and reports that the law demands."
        ),
    ),
    "access.ended": ("已结束的许可（{count}）", "Permissions that have ended ({count})"),
    "signed.passkey": ("您的通行密钥", "your passkey"),
    "signed.attested": (
        "由两名工作人员证明（纸质），不等同于您的签名",
        "attested by two members of staff (paper); not equal to your signature",
    ),
    "signed.law": ("法律依据，不是您的许可", "the law, and no permission of yours"),
    "law.title": ("法律依据", "On what legal basis"),
    "law.lead": (
        "这不是您给出的许可：监管机构登记了下列法律依据，另一家独立机构已核对，本院依此给出记录。",
        (
            "You have not given this: a regulator has entered the legal basis below, an independent organisation has "
            "endorsed it, and this hospital gives records under it."
        ),
    ),
    "law.court": ("法院命令", "Court order"),
    "law.public-health": ("公共卫生", "Public health"),
    "law.statute": ("法定报告", "Report that the law demands"),
    "law.named": ("{authority}，{reference}", "{authority}, {reference}"),
    "law.authority": ("由谁、依据什么", "By whom, under what"),
    "law.scope": ("范围", "What it covers"),
    "law.since": ("生效时间", "In force from"),
    "law.no_stop": (
        "您不能停止它；登记它的监管机构可以。如有异议，请联系该监管机构或本院。",
        (
            "You cannot stop it; the regulator that entered it can. If you do not agree, tell that regulator or this "
            "hospital."
        ),
    ),
    "law.keep": ("留存证明", "Keep the proof"),
    "law.keep.lead": (
        "证明包可以离线核验，不必相信本院。",
        "The proof can be checked offline, without trusting this hospital.",
    ),
    "signed.unknown": ("本院没有签名的内容", "the signature is not held here"),
    "ended.patient": ("您已撤回", "withdrawn by you"),
    "ended.attested": (
        "按您的意愿以纸质方式停止，由{name}的两名工作人员证明（不等同于您的签名）",
        "stopped on paper as you wished, as two of the staff of {name} attest (not equal to your signature)",
    ),
    "ended.organisation": ("由{name}停止", "stopped by {name}"),
    "ended.expired": ("已到期或已停止", "expired or stopped"),
    "ended.superseded": ("已被取代或结束", "replaced or ended"),
    "consent.new": ("许可已生效", "Your permission is in force"),
    "consent.new.lead": (
        "{name}可以查看，到{day}为止。您随时可以在这里停止。",
        "{name} may see it until {day}. You can stop it here at any time.",
    ),
    "consent.in_force": ("生效中", "in force"),
    "consent.ended.lead": (
        "本院不再向{name}给出任何记录。已经给出的无法收回。",
        "This hospital gives {name} nothing more. What was given already cannot be called back.",
    ),
    "consent.who": ("谁可以看", "Who may see"),
    "consent.why": ("用途", "For what"),
    "consent.what": ("哪些记录", "Which records"),
    "consent.sensitive": ("其中敏感记录", "Sensitive records among them"),
    "consent.sensitive.none": ("不包括", "none"),
    "consent.from": ("由谁给出", "Given by"),
    "consent.since": ("签署时间", "Signed on"),
    "consent.until": ("到期", "Until"),
    "consent.last": ("最近使用", "Last used"),
    "consent.signed": ("签署方式", "Signed with"),
    "consent.not_open": (
        "许可已生效，但本院还没有开通查看（可能当时联系不到另一家机构）。",
        (
            "The permission stands, but this hospital has not let the recipient in yet; another organisation may have "
            "been out of reach."
        ),
    ),
    "consent.open": ("现在开通", "Let the recipient in now"),
    "consent.stop.title": ("停止这项许可", "Stop this permission"),
    "consent.stop.lead": (
        "停止后，本院立即不再向{name}给出记录，并在几秒内写入共同账本。已经给出的记录无法收回。",
        (
            "From then on this hospital gives {name} nothing more, and the shared ledger says so within seconds. What "
            "was given already cannot be called back."
        ),
    ),
    "consent.stop": ("停止并签署", "Stop, and sign it"),
    "consent.stop.without": ("不用通行密钥停止", "Stop without a passkey"),
    "consent.stop.without.lead": (
        "同样立即生效；账本上会写明由本院停止，而不是由您签名撤回。",
        "It binds just as soon; the ledger then says that this hospital stopped it, not that you signed it.",
    ),
    "consent.stop.plain": ("停止", "Stop"),
    "consent.releases": ("依此许可给出的记录", "What was given under it"),
    "consent.releases.none": ("没有登记任何给出。", "No disclosure is recorded."),
    "consent.releases.back": ("已经给出的记录无法收回。", "What was given cannot be called back."),
    "consent.releases.lead": (
        (
            "每份证明对应本院的一次开通，可以离线核验（medchain verify）：截至其中的检查点，"
            "这次开通之下没有登记其他给出。给出与收到的两家机构合谋则可能隐瞒。"
        ),
        (
            "Each proof is of one time that this hospital let the recipient in, and can be checked offline (medchain "
            "verify): up to its checkpoint no other disclosure is recorded under it. Giver and receiver together could "
            "hide one."
        ),
    ),
    "consent.releases.proof": ("下载给出登记的证明", "Download the proof of what was given"),
    "consent.releases.proof.of": ("下载给出登记的证明（{number}）", "Download the proof of what was given ({number})"),
    "consent.keep": ("留存凭据", "Keep your receipt"),
    "consent.keep.lead": (
        "收据写明您同意了什么；证明包可以离线核验，不必相信本院。",
        "The receipt says what you agreed to; the proof can be checked offline, without trusting this hospital.",
    ),
    "consent.receipt": ("下载收据（ISO/IEC TS 27560）", "Download the receipt (ISO/IEC TS 27560)"),
    "consent.proof": ("下载证明包", "Download the proof"),
    "consent.position": ("账本第 {position} 条。编号：", "Entry {position} of the ledger. Its key:"),
    "ask.title": ("{name}请求查看您的病历", "{name} asks to see your record"),
    "ask.who": ("谁", "Who"),
    "ask.why": ("为什么", "Why"),
    "ask.asked": ("提出日期", "Asked on"),
    "ask.what": ("可以看哪些记录", "Which records may be seen"),
    "ask.count": ("{count} 条", "{count} records"),
    "ask.count.one": ("1 条", "1 record"),
    "ask.none": (
        "您目前没有这类记录；以后新增的也包括在内。",
        "You have none of this kind now; later ones are included.",
    ),
    "ask.more": ("……", " …"),
    "ask.sensitive": ("敏感记录要单独同意", "Sensitive records need a consent of their own"),
    "ask.sensitive.lead": (
        "不勾选就不会给出带有这些标记的记录，即使属于上面的类别。",
        "Records with these labels are not given unless you tick them here, whatever you ticked above.",
    ),
    "ask.labelled": ("有标记的 {count} 条", "{count} labelled"),
    "ask.how_long": ("期限", "For how long"),
    "ask.days": ("{days} 天", "{days} {days:day|days}"),
    "ask.preview": ("更新预览", "Update the preview"),
    "ask.effect": (
        "照此选择，{name}现在可以看到 {count} 条记录，到{day}为止。",
        "With this choice {name} could see {count} records today, until {day}.",
    ),
    "ask.effect.one": (
        "照此选择，{name}现在可以看到 1 条记录，到{day}为止。",
        "With this choice {name} could see 1 record today, until {day}.",
    ),
    "ask.effect.withheld": (
        "其余 {count} 条不会给出。预览用与正式给出时相同的规则算出；以后新增的同类记录也适用。",
        (
            "The other {count} would not be given. The preview uses the rules by which records are given; later "
            "records of these kinds fall under them too."
        ),
    ),
    "ask.effect.withheld.one": (
        "其余 1 条不会给出。预览用与正式给出时相同的规则算出；以后新增的同类记录也适用。",
        (
            "The other one would not be given. The preview uses the rules by which records are given; later records "
            "of these kinds fall under them too."
        ),
    ),
    "ask.effect.sensitive": (
        "其中敏感记录 {count} 条，因为您单独勾选了它们。",
        "Sensitive records among them: {count}, since you ticked those.",
    ),
    "ask.effect.sensitive.none": ("其中没有敏感记录。", "None of them is labelled as sensitive."),
    "ask.before": ("您已许可{name}的", "What you let {name} see already"),
    "ask.before.lead": (
        "新的许可与上面的并存，各自可以停止。",
        "The new permission stands beside these; each can be stopped by itself.",
    ),
    "diff.title": ("与您{day}签署的许可相比", "Against the permission that you signed on {day}"),
    "diff.more": ("增加：", "More:"),
    "diff.less": ("减少：", "Less:"),
    "diff.longer": ("更久：", "Longer:"),
    "diff.shorter": ("更短：", "Shorter:"),
    "diff.whole": ("{kind}", "{kind}"),
    "diff.part": ("{kind}的一部分", "a part of {kind}"),
    "diff.records.more": (
        "现在多给出 {count} 条记录：",
        "Records that it gives and the earlier one does not, today {count}: ",
    ),
    "diff.records.less": (
        "现在少给出 {count} 条记录：",
        "Records that the earlier one gives and it does not, today {count}: ",
    ),
    "diff.end": ("到{day}为止，原来是{before}", "until {day}, where it was {before}"),
    "diff.same_end": ("截止日期不变：{day}", "the same end: {day}"),
    "diff.only_date": ("其他都不变", "nothing else changes"),
    "diff.beside": (
        "原来的许可继续有效，直到您停止它：在它之下仍可看到“减少”的部分。",
        "The earlier permission stays in force until you stop it: under it, what is “less” can still be seen.",
    ),
    "diff.earlier": ("查看或停止原来的许可", "See the earlier one, or stop it"),
    "ask.no": ("如果我不同意？", "What if I say no?"),
    "ask.no.lead": (
        "本院不会因这项请求给出任何记录，您的诊治不受影响。对方可能会请您自己提供材料，或因材料不足无法办理。对方不会从这里得知您的回答。",
        (
            "This hospital gives nothing for this request, and your treatment does not change. The asker may want "
            "papers from you, or not be able to go on without them. It is not told your answer from here."
        ),
    ),
    "ask.no.nothing": (
        "您没有许可{name}的其他项目：它从本院看不到任何记录。",
        "Nothing else lets {name} see your record: it is given none by this hospital.",
    ),
    "ask.no.still": (
        "您以前给{name}的许可继续有效：它现在仍可看到 {count} 条记录，直到您停止那些许可。",
        "What you permitted {name} before stays: it could still see {count} records today, until you stop that.",
    ),
    "ask.no.still.one": (
        "您以前给{name}的许可继续有效：它现在仍可看到 1 条记录，直到您停止那些许可。",
        "What you permitted {name} before stays: it could still see 1 record today, until you stop that.",
    ),
    "ask.no.law": ("{name}依法律可以查看的不受影响。", "What the law lets {name} see is given all the same."),
    "ask.decide": ("您的决定", "Your decision"),
    "ask.decide.lead": (
        "下一页在单独的签署地址上再次列出您将签署的内容，并在那里用通行密钥确认。",
        "The next page, at an address of its own for signing, lists what you sign once more; you confirm there.",
    ),
    "ask.sign": ("同意，去签署", "Agree and sign"),
    "ask.decline": ("不同意", "Say no"),
    "joint.beside": (
        "监护人意见不一，须由所有监护人签署；您签署后，还须{names}签署，才会生效。",
        "The guardians disagree, so all of them sign: nothing counts before {names} has signed after you.",
    ),
    "joint.lead": (
        "须由所有监护人签署。全部签署之前，什么都不会提供。",
        "All guardians must sign this. Nothing is given before they have.",
    ),
    "joint.signed": ("已签署", "Signed by"),
    "joint.missing": ("等待签署", "Waiting for"),
    "joint.until": ("签署期限", "To be signed by"),
    "joint.decline": (
        "不同意则整个申请作废，已有的签名不再有效。",
        "To say no ends the whole request; signatures that were given count for nothing then.",
    ),
    "error.patient.joint_other": (
        "另一位监护人已签署了另一份选择，请重新打开申请。",
        "Another guardian has signed another choice meanwhile. Open the request again.",
    ),
    "ask.elsewhere": (
        "本院没有设置签署地址，这里不能签署。",
        "This hospital has set up no address for signing, so nothing is signed here.",
    ),
    "looked.title": ("谁看过我的病历", "Who has looked at my record"),
    "looked.lead": (
        "最近的在前：其他机构收到的记录、没有得到记录的请求，以及本院人员、系统和替您办理的人的查看。",
        (
            "The newest first: what other organisations received, requests that were given nothing, and looks by this "
            "hospital's staff and systems and by who acts for you."
        ),
    ),
    "looked.all": ("全部", "All"),
    "looked.by_insurer": ("按保险公司", "By insurer"),
    "looked.got": (
        "共得到 {count} 条记录（分 {times} 次，重复计入）",
        "Records given: {count}, counting each time; disclosures: {times}",
    ),
    "looked.no_insurer": (
        "没有保险公司得到过许可，也没有保险公司请求过。",
        "No insurer was permitted anything, and none has asked.",
    ),
    "looked.none": ("没有登记任何查看。", "No look is recorded."),
    "looked.system": ("系统", "a system"),
    "looked.unnamed": ("工作人员 {id}", "Member of staff {id}"),
    "looked.times": ("共 {count} 次", "{count} {count:time|times}"),
    "looked.refused": ("被拒绝", "refused"),
    "looked.unpermitted": ("没有许可，未给出", "not permitted, nothing given"),
    "looked.asked": ("要求查看：", "Asked for: "),
    "looked.question": ("查询发票是否已理赔", "asked whether an invoice of yours is claimed"),
    "looked.question.refused": ("您的发票（校验码有误）", "an invoice of yours, with a wrong check code"),
    "looked.records": ("{count} 条记录", "{count} records"),
    "looked.records.one": ("1 条记录", "1 record"),
    "looked.under": ("依据的许可", "the permission"),
    "looked.missing": (
        "有 {count} 条给出登记的内容本院没有，请联系本院和监管机构。",
        "The contents of {count} entries about disclosures are not here. Ask this hospital and the regulator.",
    ),
    "looked.missing.one": (
        "有 1 条给出登记的内容本院没有，请联系本院和监管机构。",
        "The contents of one entry about disclosures are not here. Ask this hospital and the regulator.",
    ),
    "looked.broken": (
        "给出登记的链条不完整或被改动，请联系本院和监管机构。",
        "The chain of entries about disclosures does not hold together. Ask this hospital and the regulator.",
    ),
    "looked.reason": ("理由：", "Reason given: "),
    "looked.object": ("这次查看不对？", "Was this not right?"),
    "looked.object.reason": ("请说明为什么（最多 200 字）", "Say why (at most 200 characters)"),
    "looked.object.lead": (
        "您的异议会写入账本，医院和监管机构必须在期限内审查。请勿写入病情。",
        (
            "Your objection goes on the ledger, and hospital and regulator must review it in time. Write nothing about "
            "your health."
        ),
    ),
    "looked.object.send": ("提出异议", "Object"),
    "objected.title": ("异议已登记", "Your objection is recorded"),
    "objected.lead": (
        "医院和监管机构会在三天内审查，结果会通知您。",
        "Hospital and regulator review it within three days; you will be told the outcome.",
    ),
    "patient.back.looked": ("返回“谁看过”", "Back to who has looked"),
    "role.emergency": ("紧急查看", "in an emergency"),
    "error.emergency.objected": ("您已经提出过异议。", "You have objected already."),
    "error.emergency.reviewed": ("这次查看已经审查完毕。", "This look has been reviewed already."),
    "looked.behind": (
        "本院人员的查看记录还在整理，稍后会更完整。",
        "Looks by this hospital's staff are still being put in order; come back in a moment for the rest.",
    ),
    "looked.claim": (
        "截至账本第 {position} 条，没有登记其他对外给出。单独一方无法隐瞒；给出与收到的两家机构合谋则可能隐瞒。",
        (
            "Up to entry {position} of the ledger no other disclosure to another organisation is recorded. One side "
            "alone cannot hide one; giver and receiver together could."
        ),
    ),
    "looked.entered": ("已记入清单", "entered in your list"),
    "looked.list": (
        (
            "带“✓”的查看和拒绝已记入您的清单，清单由账本作证：其中的条目不能去掉或改动而不被持有较早证明的人发现。"
            "请保存证明，以后用新的证明与之比对。没有记入的查看，任何账本都看不到。"
        ),
        (
            "What is marked ✓ is entered in your list, which the ledger vouches for: no entry can be dropped or "
            "changed unseen by somebody who keeps an earlier proof. Keep the proof, and compare a later one with it. "
            "A look that was never entered no ledger shows."
        ),
    ),
    "looked.list.proof": ("下载清单的证明", "Download the proof of your list"),
    "error.looks.none": ("清单中还没有条目。", "Nothing is entered in your list yet."),
    "error.looks.pending": (
        "清单正在登上账本，请稍后再试。",
        "Your list is on its way to the ledger. Try again in a moment.",
    ),
    "record.title": ("我的病历", "My record"),
    "record.lead": ("{name}保存的您的记录，最近的在前。", "Your records at {name}, the newest first."),
    "record.by_visit": ("按就诊", "By visit"),
    "record.by_kind": ("按种类", "By kind"),
    "record.visit": ("一次就诊", "A visit"),
    "record.visits": ("就诊", "Visits"),
    "record.visits.none": ("这里没有登记您的就诊。", "No visits of yours are recorded here."),
    "record.within": ("这次就诊的记录", "Records of this visit"),
    "record.within.none": ("没有记录归在这次就诊之下。", "No records are filed under this visit."),
    "record.outside": ("不属于某次就诊的记录", "Records without a visit"),
    "record.outside.link": ("查看不属于某次就诊的记录", "See the records without a visit"),
    "record.outside.lead": (
        "这些记录没有归在哪次就诊之下。最近登记的在前，每页按日期排列。",
        "These are filed under no visit. Those that were registered last come first, each page by date.",
    ),
    "record.count": ("{count} 条", "{count} records"),
    "record.count.one": ("1 条", "1 record"),
    "record.version": ("第 {number} 版", "version {number}"),
    "record.first": ("回到最近的", "Back to the newest"),
    "record.next": ("更早的", "Earlier ones"),
    "record.none.here": ("这一段没有。请继续看更早的。", "None among these. Go on to earlier ones."),
    "record.none": ("这里没有您的记录。", "There are no records of yours here."),
    "record.verified": ("已登记", "registered"),
    "record.verified.long": (
        "自登记以来未被改动（账本第 {position} 条）。这不说明内容是否正确。",
        "unaltered since it was registered (entry {position} of the ledger). That says nothing of whether it is right.",
    ),
    "record.pending": ("正在登记", "being registered"),
    "record.kind": ("类别", "Kind"),
    "record.when": ("日期", "Date"),
    "record.birth": ("出生日期", "Date of birth"),
    "record.born": ("{day}出生", "born {day}"),
    "record.versions": ("版本数", "Versions"),
    "record.ledger": ("账本存证", "On the ledger"),
    "record.proof": ("下载证明包", "Download its proof"),
    "record.bundle": ("下载为 FHIR 文件，含证明", "Download as a FHIR bundle with its proof"),
    "record.bundle.all": (
        "下载您的全部记录（FHIR 文件，含证明）",
        "Download all your records as a FHIR bundle with their proofs",
    ),
    "record.bundle.visit": (
        "下载这次就诊的全部记录（FHIR 文件，含证明）",
        "Download this visit with all its records as a FHIR bundle with their proofs",
    ),
    "record.all": ("全部内容", "All that it says"),
    "verify.title": ("核验证明", "Check a proof"),
    "verify.lead": (
        "选择一个证明包文件。核验在您的浏览器里进行，文件不会发送到任何地方；打开本页后可以断网。",
        "Choose a proof file. It is checked in your browser and sent nowhere; you can go offline first.",
    ),
    "verify.script": (
        "在浏览器中核验需要 JavaScript。也可以用命令行：medchain verify 包 --policy policy.txt",
        "Checking in the browser needs JavaScript. On a command line: medchain verify BUNDLE --policy policy.txt",
    ),
    "verify.file": ("证明包（.zip）", "Proof (.zip)"),
    "verify.wait": ("正在核验……", "Checking …"),
    "verify.verified": ("✓ 核验通过", "✓ Verified"),
    "verify.refused": ("✗ 核验未通过", "✗ Refused: it does not verify"),
    "verify.bundle": ("✗ 这不是可以核验的证明包", "✗ This is no proof that can be checked"),
    "verify.entry": ("账本第 @ 条，检查点 #", "entry @ of the ledger, checkpoint #"),
    "verify.who": ("已核对联署：", "cosignatures checked: "),
    "verify.record": ("对象：", "object: "),
    "verify.newest": ("已有更新的版本：", "there is a newer version: "),
    "verify.items": ("对象：共 @ 个", "objects: @"),
    "verify.disclosures": ("调阅：共 @ 次，至该检查点再无其他", "disclosures: @, and no other up to that checkpoint"),
    "verify.looks": ("查阅：共 @ 次，至该清单的根再无其他", "looks: @, and no other up to the root of the list"),
    "verify.registered": ("记入账本：", "accepted by the ledger: "),
    "verify.time": ("状态时间：", "state as of: "),
    "verify.policy": ("所用的公钥和规则（policy.txt）", "The keys and rules used (policy.txt)"),
    "verify.policy.hint": (
        "可以粘贴您从别处得到的 policy.txt。",
        "You can paste a policy.txt that you have from elsewhere.",
    ),
    "verify.means": ("结果说明什么", "What the result means"),
    "verify.means.yes": (
        "通过：这一条在该检查点的账本里，并有足够多的机构联署。",
        "Verified: this entry is in the ledger up to that checkpoint, and enough organisations have cosigned it.",
    ),
    "verify.means.not": (
        "不说明：内容是否正确，或此后有没有新的版本。",
        "It does not say whether the content is right, or whether there has been a newer version since.",
    ),
    "verify.means.policy": (
        "联署机构的公钥取自本页。要完全不依赖本院，请用您从别处得到的 policy.txt 和命令行核验。",
        (
            "The keys of the organisations come with this page. To depend on this hospital in nothing, use the command "
            "line with a policy.txt that you have from elsewhere."
        ),
    ),
    "settings.title": ("设置", "Settings"),
    "settings.name": ("姓名", "Name"),
    "settings.text": ("文字大小", "Size of text"),
    "settings.text.usual": ("标准", "Usual"),
    "settings.text.large": ("大字", "Large"),
    "settings.text.lead": (
        "本院的所有页面和签署页面都会用您选的大小，记在这个浏览器里。",
        "All pages of this hospital and the page for signing use it; this browser remembers it.",
    ),
    "settings.language": ("语言", "Language"),
    "settings.verify": ("在浏览器中核验证明", "Check a proof in your browser"),
    "kind.visits": ("就诊", "Visits"),
    "kind.diagnoses": ("诊断", "Diagnoses"),
    "kind.tests": ("检查和检验", "Tests and measurements"),
    "kind.medicines": ("用药", "Medicines"),
    "kind.treatments": ("治疗和手术", "Treatments and operations"),
    "kind.allergies": ("过敏和警示", "Allergies and warnings"),
    "kind.vaccinations": ("疫苗", "Vaccinations"),
    "kind.plans": ("诊疗计划", "Care plans"),
    "kind.documents": ("病历文书", "Documents"),
    "kind.claims": ("费用和理赔", "Bills and claims"),
    "kind.person": ("个人信息", "Personal details"),
    "kind.other": ("其他", "Other records"),
    "sensitive.mental": ("精神心理", "mental health"),
    "sensitive.substance": ("酒精和药物依赖", "alcohol and drugs"),
    "sensitive.hiv": ("艾滋病", "HIV"),
    "sensitive.sexual": ("性与生殖健康", "sexual and reproductive health"),
    "sensitive.genetic": ("遗传", "genetics"),
    "sensitive.violence": ("暴力伤害", "violence"),
    "sensitive.minor": ("未成年人隐私", "a minor's private matters"),
    "error.page.ended": ("此页面已过期，请重新打开。", "This page has ended. Open it again."),
    "error.ask.unknown": (
        "这项请求已经答复或已过期。",
        "This request was answered already, or it has ended.",
    ),
    "error.patient.choice": (
        "请至少选择一类记录，或选择“不同意”。",
        "Choose at least one kind of record, or say no.",
    ),
    "error.daemon.not_running": (
        "系统暂时不可用，请几分钟后再试。您的许可不受影响。",
        "Not available now; try again in a few minutes. Your permissions are as they were.",
    ),
}
"""Every word of these pages."""
