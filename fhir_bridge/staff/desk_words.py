"""What the pages of the desk say, in Chinese and English.

A data table.
Source: `docs/glossary.md` for the terms.
"""

from __future__ import annotations

from typing import Final

from medchain.web.words import Words

DESK_WORDS: Final[Words] = {
    "desk.title": ("登记窗口", "Enrolment desk"),
    "desk.lead": (
        "先查找患者，再核对其证件。您查看了哪位患者会记录在案。",
        "Find the patient, then compare the paper. Whom you look at is recorded.",
    ),
    "desk.found": ("查到的患者", "Patients who were found"),
    "desk.birth": ("出生日期", "Born"),
    "desk.identifiers": ("标识号", "Identifiers"),
    "desk.open": ("打开", "Open"),
    "desk.open.of": ("打开：{name}", "Open {name}"),
    "desk.back": ("返回查找", "Back to the search"),
    "desk.state": ("登记情况", "Enrolment"),
    "desk.not_enrolled": (
        "尚未登记：还不能在手机上决定谁可以看病历。",
        "Not enrolled: this person cannot decide on a phone yet who may see the record.",
    ),
    "desk.enrolled": ("已登记，由{name}登记", "Enrolled by {name}"),
    "desk.passkeys": ("通行密钥：{count} 个", "Passkeys: {count}"),
    "desk.custodians": ("保管其记录的机构", "Organisations that hold records"),
    "desk.standing.dead": ("已登记为去世", "On record as dead"),
    "desk.standing.incapable": ("已登记为无法自行决定", "On record as unable to decide"),
    "desk.standing.minor": ("未成年", "Under age"),
    "desk.give": ("发放登记码", "Give an enrolment code"),
    "desk.give.lead": (
        "请先看到本人和证件原件，并与上面的姓名、出生日期和标识号核对。得到登记码的人就会成为这位患者。",
        (
            "See the person and the original paper first, and compare name, birth date and identifiers above. Whoever "
            "has the code becomes this patient."
        ),
    ),
    "desk.method": ("核对的证件", "Paper that was checked"),
    "desk.give.button": ("已核对，发放登记码", "It is right, give the code"),
    "desk.code.title": ("{name}的登记码", "Enrolment code of {name}"),
    "desk.code.lead": (
        "请打印本页或让本人用自己的手机打开下面的地址，并亲手交给本人，不要转交、拍照或发送。",
        (
            "Print this page, or have the person open it on their own phone. Put it into the person's own "
            "hands; pass it on to nobody, and neither photograph nor send it."
        ),
    ),
    "desk.code.until": ("只能用一次，{until}前有效。", "It is good once, until {until}."),
    "desk.code.once": (
        "离开本页后无法再次显示；如有遗失，请重新核对证件后再发。",
        "It is not shown again after this page. If it is lost, check the paper again and give another one.",
    ),
    "desk.code.how": (
        "在您自己的手机或电脑上打开上面的地址，按提示登记通行密钥。登记后，只有您能决定谁可以看您的病历。",
        (
            "Open the address above on your own phone or computer, and enrol a passkey as the page says. After that, "
            "you alone decide who else may see your record."
        ),
    ),
    "desk.code.back": ("返回这位患者", "Back to this patient"),
    "desk.disputes": ("理赔质询：{count} 件等待本机构", "Disputes about claims that wait for you: {count}"),
    "desk.disputes.overdue": ("逾期 {count} 件", "{count} overdue"),
    "desk.waiting": ("等待第二位工作人员确认", "Waiting for a second member of the staff"),
    "desk.waiting.none": ("没有待确认的事项。", "Nothing waits."),
    "desk.waiting.by": ("{name}于{time}提出", "proposed by {name}, {time}"),
    "desk.waiting.own": ("由您提出，须由另一位工作人员确认", "proposed by you; another member of the staff confirms"),
    "desk.gone": ("已不在窗口工作的人员", "somebody who no longer works at the desk"),
    "desk.deed.recovery": ("更换遗失的通行密钥", "Replacement of lost passkeys"),
    "desk.recoveries": ("进行中的恢复", "Recoveries under way"),
    "desk.recoveries.count": ("进行中的恢复：{count} 项", "Recoveries under way: {count}"),
    "desk.recover": ("通行密钥全部遗失", "All passkeys are lost"),
    "desk.recover.lead": (
        "仅当本人在场且证件无误时办理。须由另一位工作人员再次核对并确认；之后本人用登记码在自己的设备上制作新的通行密钥。",
        (
            "Only with the person and the paper before you. Another member of the staff checks both again and "
            "confirms; the person then makes a new passkey with a code, on their own device."
        ),
    ),
    "desk.recover.wait": (
        "新的通行密钥须等待联盟规定的天数才生效；期间所有保管机构都会通知本人，本人可用原有通行密钥取消。",
        (
            "The new passkey counts only after the days that the consortium has agreed on. Until then each "
            "organisation that holds records tells the person, who can cancel with an old passkey."
        ),
    ),
    "desk.recover.button": ("已核对，提出更换", "It is right, propose the replacement"),
    "desk.recover.elsewhere": (
        "本院登记的患者如遗失全部通行密钥，须到另一家保管其记录的机构办理；等待期满后由本院执行。",
        (
            "A patient whom this hospital enrolled, and who has lost all passkeys, asks another organisation that "
            "holds records; after the wait this hospital carries it out."
        ),
    ),
    "desk.passkeys.none": (
        "没有通行密钥：以纸质方式登记，由两名工作人员见证",
        "No passkey: enrolled on paper, as two members of the staff attested",
    ),
    "desk.guardians": ("监护人（代为签名）：{names}", "Guardians, who sign in that stead: {names}"),
    "desk.deed.consent": ("纸质许可", "Permission on paper"),
    "desk.deed.enrolment": ("纸质登记（没有手机）", "Enrolment on paper (no phone)"),
    "desk.enrol_paper": ("没有手机：纸质登记", "No phone: enrolment on paper"),
    "desk.enrol_paper.lead": (
        "由两名工作人员核对本人和证件并见证，另一家独立机构共同背书。此人没有通行密钥，只能在窗口以纸质方式作出和停止许可；以后有了手机，可在另一家机构申请通行密钥。",
        (
            "Two members of the staff see the person and the paper and attest it; another, independent organisation "
            "endorses it. This person has no passkey, and permits and stops on paper, at the desk. With a phone later, "
            "another organisation begins a recovery, which gives the first passkey."
        ),
    ),
    "desk.enrol_paper.button": ("已核对，提出纸质登记", "It is right, propose the enrolment"),
    "desk.deed.child": ("儿童登记（由监护人代理）", "Enrolment of a child with its guardians"),
    "desk.deed.guardianship": ("指定监护人", "Appointment of guardians"),
    "desk.deed.withdrawal": ("纸质停止许可", "Stop of a permission on paper"),
    "desk.deed.death": ("登记去世", "Record of a death"),
    "desk.deed.dispute": ("监护人意见不一", "Guardians who disagree"),
    "desk.dispute": ("监护人意见不一", "The guardians disagree"),
    "desk.dispute.lead": (
        "由两名工作人员见证，立即生效：此后扩大许可须由全体监护人签名，停止仍只需其中一位。由法院指定监护人，或由全体监护人签名后结束。",
        (
            "Two members of the staff attest it, and it counts at once: from then on all guardians sign what permits "
            "more, and any of them still stops. It ends when a court's appointment is carried out, or all guardians "
            "sign that they agree."
        ),
    ),
    "desk.dispute.button": ("已核对，提出登记", "It is so, propose to record it"),
    "desk.disputed": (
        "监护人意见不一：扩大许可须由全体监护人签名",
        "The guardians disagree: all of them sign what permits more",
    ),
    "error.desk.dispute": (
        "只有登记此人的机构可以登记，且须有两位监护人、尚未登记。",
        "The organisation that enrolled the person records it, where there are two guardians, and once.",
    ),
    "desk.death": ("去世", "A death"),
    "desk.death.lead": (
        "由两名工作人员核对死亡医学证明并见证。立即生效：不再能为此人作出新的许可；已有许可到期前仍有效，可停止。",
        (
            "Two members of the staff see the death certificate and attest it. It counts at once: nothing new can "
            "be permitted for this person. What was permitted before lasts until its end, and can be stopped."
        ),
    ),
    "desk.death.button": ("已核对，提出登记去世", "It is right, propose to record the death"),
    "desk.deed.restoration": ("撤销去世或无法自行决定的登记", "A recorded death or incapacity is taken back"),
    "desk.restore": ("登记有误：撤销", "Recorded by mistake: take it back"),
    "desk.restore.lead": (
        "由两名工作人员当面核对本人和证件并见证；之后本人须用自己的通行密钥签名，未成年人由全体监护人签名，签名后才生效。成年人的监护人随之终止。",
        (
            "Two members of the staff see the person and the paper and attest it. It counts once the person has "
            "signed it with a passkey of their own; for a child, once all guardians have. Guardians of who is of age "
            "end with it."
        ),
    ),
    "desk.restore.button": ("已核对，提出撤销", "It is right, propose to take it back"),
    "restoration.title": ("等待{name}签名", "Waiting for {name} to sign"),
    "restoration.lead": (
        "两名工作人员已见证。请本人在自己的手机上登录：首页会请其用通行密钥签名，签名后登记即被撤销。",
        (
            "Two members of the staff attest it. Have the person sign in on their own phone: the first page asks for "
            "the signature with a passkey, and the record is taken back once it is given."
        ),
    ),
    "restoration.title.guardians": ("等待{name}的监护人签名", "Waiting for the guardians of {name} to sign"),
    "restoration.lead.guardians": (
        "两名工作人员已见证。请每位监护人在自己的手机上登录，在“家人和协助人”页用通行密钥签名；全体签名后登记即被撤销。",
        (
            "Two members of the staff attest it. Have each guardian sign in on their own phone: the page of family and "
            "helpers asks for the signature with a passkey, and the record is taken back once all have signed."
        ),
    ),
    "restoration.until": ("{until}前签名有效。", "The signature counts until {until}."),
    "error.desk.restoration": (
        "只有登记此人的机构可以撤销，且须有死亡或无法自行决定的登记；本人须有通行密钥，未成年人须有监护人。",
        (
            "The organisation that enrolled the person takes it back, where a death or incapacity is on record, and "
            "where the person has a passkey to sign with, or a child guardians who sign."
        ),
    ),
    "desk.deed.contact": ("接收通知的联系方式", "Where notices go"),
    "desk.contacts": ("接收通知的联系方式", "Where notices go"),
    "desk.contacts.lead": (
        "此人没有通行密钥。先向本人的联系方式发一个验证码，本人当场读出，再由两名工作人员见证。移除联系方式也由两名工作人员见证。",
        (
            "This person has no passkey. A code goes to the person's contact first, and the person reads it out here; "
            "then two members of the staff attest it. Two attest also that a contact is removed."
        ),
    ),
    "desk.deed.contact-gone": ("移除接收通知的联系方式", "Removal of a contact for notices"),
    "desk.contacts.remove": ("提出移除", "Propose to remove it"),
    "desk.contacts.remove.of": ("提出移除 {address}", "Propose to remove {address}"),
    "desk.contacts.gone": (
        "一次移除一个，至少保留一个。被移除的联系方式还会收到最后一条通知。",
        "One goes at a time, and one stays. The contact that is removed gets one last notice.",
    ),
    "desk.contacts.last": (
        "唯一的联系方式不能移除：先增加另一个。",
        "The only contact is not removed: add another one first.",
    ),
    "desk.contacts.gone.attested": (
        "请核对本人和证件。确认后，有新情况时不再向此处发消息；此处还会收到最后一条通知。",
        (
            "See the person and the document. Once you confirm, word of what is new goes there no more; it gets one "
            "last notice."
        ),
    ),
    "error.contact.unknown": ("此联系方式不在列。", "That contact is not listed."),
    "error.contact.last": (
        "唯一的联系方式不能移除：先增加另一个。",
        "The only contact is not removed: add another one first.",
    ),
    "desk.contacts.none": ("还没有联系方式。", "There is none yet."),
    "desk.contacts.sent": (
        "验证码已发往 {address}，{minutes} 分钟内有效。请本人读出。",
        "A code was sent to {address}. It counts for {minutes} minutes. Have the person read it out.",
    ),
    "desk.contacts.propose": ("已核对，提出", "It is right, propose it"),
    "desk.contacts.attested": (
        "验证码已从此处返回。确认后，有新情况时会向此处发消息，不含健康信息。",
        "A code came back from there. Once you confirm, word goes there when there is something new, never what.",
    ),
    "error.desk.contacts": (
        "只有登记此人的机构可以登记联系方式，且本人没有通行密钥，也没有可代为签名的人。",
        (
            "The organisation that enrolled the person takes contacts, of who has no passkey, and where nobody signs "
            "in that stead."
        ),
    ),
    "guardians.child": ("与监护人一起登记儿童", "Enrol the child with its guardians"),
    "guardians.guardianship": ("指定监护人", "Appoint guardians"),
    "guardians.lead.child": (
        "由两名工作人员核对监护关系的证明并见证，另一家独立机构共同背书。监护人以自己的通行密钥为孩子查看、许可和停止，直到孩子成年。",
        (
            "Two members of the staff see the paper that shows who the guardians are, and attest it; another, "
            "independent organisation endorses it. With their own passkeys the guardians see, permit and stop for the "
            "child, until it is of age."
        ),
    ),
    "guardians.lead.guardianship": (
        "由两名工作人员核对证明并见证。先公告等待，由登记机构执行；期间本人可用通行密钥取消。执行后取代此前的监护人；成年人将登记为无法自行决定。",
        (
            "Two members of the staff see the paper and attest it. It is announced, and carried out by the "
            "organisation that enrolled the person once the wait is over; until then the person can cancel it with a "
            "passkey. These take the place of all guardians before, and who is of age is on record as unable to decide."
        ),
    ),
    "guardians.name": ("监护人 {number}", "Guardian {number}"),
    "guardians.name.hint": (
        "标识号或姓名，只能对应一位已在此登记的患者",
        "An identifier or a name, of one patient alone who is enrolled here",
    ),
    "guardians.find": ("查找", "Find"),
    "guardians.found": ("监护人", "Guardians"),
    "guardians.propose": ("已核对，提出", "It is right, propose it"),
    "error.guardian.none": ("请填写一位或两位不同的监护人。", "Name one guardian, or two different ones."),
    "error.guardian.unknown": (
        "没有查到，或查到不止一位。请用标识号。",
        "Nobody was found, or more than one. Use an identifier.",
    ),
    "error.guardian.same": ("本人不能是自己的监护人。", "Nobody is the own guardian."),
    "error.guardian.unable": (
        "监护人须已在此登记、成年，并能自行决定。",
        "A guardian is enrolled here, of age, and decides alone.",
    ),
    "error.guardian.birth": (
        "病历中没有出生日期，无法确定何时成年。",
        "The record has no birth date, so nobody can tell when the child is of age.",
    ),
    "error.desk.of_age": (
        "按出生日期，此人已成年，由本人登记。",
        "By the birth date this person is of age, and is enrolled alone.",
    ),
    "error.desk.death": (
        "只有登记此人的机构可以登记去世，且只登记一次。",
        "The organisation that enrolled the person records a death, and once.",
    ),
    "paper.title": ("纸质许可", "Permission on paper"),
    "paper.lead": (
        "按患者的口述填写，先预览并打印，由患者签字。",
        "Fill in what the patient says, look at what it means, print it, and have the patient sign it.",
    ),
    "paper.guardian": ("由哪位监护人签字", "Guardian who signs"),
    "paper.in_stead": (
        "由监护人{name}（出生日期：{born}）代为签字。",
        "Signed in the person's stead by the guardian {name} (born: {born}).",
    ),
    "paper.recipient": ("谁可以查看", "Who may see"),
    "paper.purpose": ("用途", "What for"),
    "paper.kinds": ("可以查看的记录", "Records that may be seen"),
    "paper.sensitive": ("敏感记录，须另行同意", "Sensitive records, which are permitted apart"),
    "paper.sensitive.lead": (
        "没有勾选的敏感记录不会给出，即使属于上面所选的类别。",
        "What is not ticked is given to nobody, even where it is of a kind that is chosen above.",
    ),
    "paper.days": ("多长时间", "For how long"),
    "paper.preview": ("预览", "Show what it means"),
    "paper.says": (
        "{recipient}可以为“{purpose}”查看本院的下列记录，至{until}。",
        "{recipient} may see the records of this hospital that are named here, for {purpose}, until {until}.",
    ),
    "paper.also": ("其中包括敏感记录：{kinds}。", "That includes sensitive records: {kinds}."),
    "paper.not": ("不包括敏感记录：{kinds}。", "Sensitive records are left out: {kinds}."),
    "paper.sign": (
        "打印后由本人签字，由两名工作人员见证。这份许可可以随时在窗口停止。",
        "Print this; the person signs it, and two members of the staff attest it. The desk can stop it any day.",
    ),
    "paper.sign.guardian": (
        "打印后由监护人签字，由两名工作人员见证。这份许可可以随时在窗口停止。",
        "Print this; the guardian signs it, and two members of the staff attest it. The desk can stop it any day.",
    ),
    "paper.signature.person": ("本人签字、日期", "The person's signature, date"),
    "paper.signature.guardian": ("监护人签字、日期", "The guardian's signature, date"),
    "paper.signature.first": ("工作人员一", "First member of the staff"),
    "paper.signature.second": ("工作人员二", "Second member of the staff"),
    "paper.propose.lead": (
        "本人已在打印件上签字。之后须由另一位工作人员确认。",
        "The person has signed the print. Another member of the staff confirms it then.",
    ),
    "paper.propose.guardian": (
        "监护人已在打印件上签字。之后须由另一位工作人员确认。",
        "The guardian has signed the print. Another member of the staff confirms it then.",
    ),
    "paper.propose": ("已签字，提出", "It is signed, propose it"),
    "paper.change": ("修改", "Change it"),
    "paper.attested": (
        "将标明“由两名工作人员见证（纸质）”，不等同于本人的签名。",
        "It will be marked as attested by two members of the staff (paper), not equal to the person's signature.",
    ),
    "error.paper.guardian": ("请选择由哪位监护人签字。", "Choose the guardian who signs."),
    "error.paper.disputed": (
        "监护人意见不一，不能由其中一位在纸上许可：须由全体监护人用各自的通行密钥签名。",
        "The guardians disagree: none permits on paper. All of them sign with their own passkeys.",
    ),
    "error.paper.nobody": (
        "此人不能自行决定，也没有可代为许可的监护人。",
        "This person does not decide alone, and has no guardian who permits in that stead.",
    ),
    "error.paper.recipient": ("请选择谁可以查看。", "Choose who may see."),
    "error.paper.purpose": ("请选择用途。", "Choose what it is for."),
    "permissions.title": ("患者的许可", "Permissions of the patient"),
    "permissions.lead": (
        "查看患者允许谁查看、到什么时候、最近一次用于何时。只有窗口能按患者的要求停止。",
        "Whom a patient lets in, until when, and when it was last used. The desk alone stops one, as the patient says.",
    ),
    "asks.title": ("请求患者许可", "Ask a patient"),
    "asks.lead": (
        "患者会在自己的页面上看到谁请求、为什么、要看什么，并自行决定。请求本身不给出任何记录。",
        ("The patient reads who asks, why and for what, and decides. An ask by itself gives nothing."),
    ),
    "asks.custodian": ("保管记录的机构", "Organisation that holds the records"),
    "asks.patient": ("患者在该机构的编号", "The patient's id at that organisation"),
    "asks.patient.hint": ("见转诊单或理赔材料。", "As a referral or a claim names it."),
    "asks.reason.hint": ("1 至 200 字，患者会看到。", "1 to 200 characters; the patient reads it."),
    "asks.named": ("以谁的名义", "In whose name"),
    "asks.named.person": ("{name}，代表本机构", "{name}, for this organisation"),
    "asks.named.organisation": ("仅以本机构的名义", "this organisation alone"),
    "asks.send": ("发出请求", "Ask"),
    "asks.sent": ("已发出的请求", "What was asked"),
    "asks.none": ("还没有发出请求。", "Nothing was asked yet."),
    "asks.by": ("{name}，{time}", "{name}, {time}"),
    "asks.waiting": ("可答复至{day}", "can be answered until {day}"),
    "asks.over": ("已于{day}过期", "ended on {day}"),
    "asks.silence": (
        "患者是否在该机构、是否拒绝，都不会告知请求方；同意后，许可会出现在下面。",
        (
            "Whether the patient is there, or has said no, is told to nobody who asks. A permission that is given "
            "shows below."
        ),
    ),
    "asks.received": ("本机构得到的、有效的许可", "Permissions in force for this organisation"),
    "asks.received.none": ("目前没有。", "None at the moment."),
    "error.asks.custodian": ("请选择保管记录的机构。", "Choose the organisation that holds the records."),
    "error.asks.kinds": ("请至少选择一类记录。", "Choose at least one kind of record."),
    "error.asks.days": ("请选择期限。", "Choose for how long."),
    "error.ask.quota": (
        "该患者或该机构等待答复的请求太多，请以后再试。",
        "Too many asks wait there already; try again later.",
    ),
    "mandates.title": ("法律依据", "Legal bases"),
    "mandates.lead": (
        "法院命令、法定报告和公共卫生：不是患者的许可，会告知患者。由监管机构录入，另一家独立机构背书，再由保管机构开放。",
        (
            "Court orders, reports that the law demands, public health: no permission of the patient's, who is told. A "
            "regulator enters one, a drawn organisation endorses it, and the custodian lets the recipient in."
        ),
    ),
    "mandates.none": ("没有法律依据。", "There is none here."),
    "mandates.opens": (
        "{recipient}可以为“{purpose}”查看{custodian}的记录",
        "{recipient} may see records of {custodian}, for {purpose}",
    ),
    "mandates.patient": ("患者编号 {patient}", "patient {patient}"),
    "mandates.by": ("由{name}录入", "entered by {name}"),
    "mandates.over": ("已结束", "over"),
    "mandates.granted": ("已开放", "the recipient is let in"),
    "mandates.not_granted": ("尚未开放", "the recipient is not let in"),
    "mandates.releases": ("给出记录：{count} 项账本记录", "entries of releases: {count}"),
    "mandates.grant": ("开放", "Let the recipient in"),
    "mandates.grant.lead": (
        "请先看到文书原件，并与上面核对。",
        "See the original paper first, and compare it with the above.",
    ),
    "mandates.enter": ("录入法律依据", "Enter a legal basis"),
    "mandates.enter.lead": (
        "请按文书填写；患者会看到机关、案号和范围。",
        "Write what the paper says; the patient reads authority, reference and scope.",
    ),
    "mandates.enter.button": ("录入", "Enter it"),
    "mandates.basis": ("依据和用途", "Basis and purpose"),
    "mandates.authority": ("作出决定的机关，或法律名称", "Who ordered it, or whose law it is"),
    "mandates.reference": ("案号或条款", "File number, or article"),
    "mandates.scope": ("范围", "What it covers"),
    "error.mandates.parties": (
        "请选择保管机构和接收机构，二者不能相同。",
        "Choose the custodian and the recipient, which are not the same.",
    ),
    "error.mandates.basis": ("请选择依据和用途。", "Choose basis and purpose."),
    "error.mandate.issuer": ("只有监管机构可以录入。", "A regulator alone enters one."),
    "error.mandate.unknown": (
        "没有这项依据，或不是由本机构录入。",
        "There is no such basis, or another organisation entered it.",
    ),
    "error.transaction.policy_missing": (
        "联盟的策略还没有关于法律依据的规则。",
        "The consortium's policy has no rule for legal bases yet.",
    ),
    "permissions.of": ("{name}的许可", "Permissions of {name}"),
    "permissions.none": ("没有许可。", "There is no permission."),
    "permissions.whole": ("全部记录", "all records"),
    "permissions.how.passkey": ("由本人的通行密钥签署", "signed with the person's passkey"),
    "permissions.how.attested": (
        "由两名工作人员见证（纸质），不等同于本人的签名",
        "attested by two members of the staff (paper), not equal to the person's signature",
    ),
    "permissions.how.unknown": ("签署方式未向本院出示", "how it was signed is not shown to this hospital"),
    "permissions.how.law": ("依据法律，不是许可", "by the law, and no permission"),
    "permissions.until": ("有效至{day}", "until {day}"),
    "permissions.no_end": ("没有结束日期", "without an end"),
    "permissions.used": ("最近一次给出记录：{time}", "records last went out {time}"),
    "permissions.unused": ("尚未给出过记录", "no records went out yet"),
    "permissions.on_paper": ("按纸质意愿停止", "Stop on paper"),
    "permissions.on_paper.lead": (
        "本人在纸上写明要停止的，可由两名工作人员证明为本人的意愿，第二位确认时生效；急需时请直接停止。",
        (
            "What the person wishes on paper two members of the staff can attest as that wish; it ends when the second "
            "one confirms. Where it is urgent, stop it at once."
        ),
    ),
    "permissions.withdraws": (
        "停止{recipient}为“{purpose}”查看记录的许可。",
        "The permission of {recipient} for {purpose} is stopped.",
    ),
    "permissions.withdraws.lead": (
        "本人已在纸上签字。您确认时停止，记录为本人的意愿，由您与提出者见证。",
        (
            "The person has signed that on paper. It stops when you confirm, recorded as the person's wish, which you "
            "and who proposed it attest."
        ),
    ),
    "permissions.ended.patient": ("已由本人撤回", "withdrawn by the person"),
    "permissions.ended.attested": (
        "按本人意愿以纸质方式停止，由{name}的两名工作人员证明",
        "stopped on paper as the person wished, as two of the staff of {name} attest",
    ),
    "permissions.ended.organisation": ("已由{name}停止", "stopped by {name}"),
    "permissions.ended.expired": ("已到期", "its time is over"),
    "permissions.ended.superseded": ("已被新的许可取代", "superseded"),
    "permissions.closed": ("本院尚未开放。", "This hospital has not let the recipient in yet."),
    "permissions.let_in": ("现在开放", "Let it in now"),
    "permissions.stop": ("停止", "Stop"),
    "permissions.stop.lead": (
        "患者要求时即可停止，不需要第二位工作人员；提交后立即生效，并记录为由本院停止。已经给出的记录无法收回。",
        (
            "Stop one when the patient says so; that needs no second member of the staff, binds at once, and is "
            "recorded as stopped by this hospital. What went out cannot be called back."
        ),
    ),
    "error.consent.unknown": (
        "没有这项许可，或已经结束。",
        "There is no such permission of this patient, or it is over.",
    ),
    "proposed.title": ("确认", "Confirmation"),
    "proposed.by": ("由{name}于{time}提出", "Proposed by {name}, {time}"),
    "proposed.check.certificate": (
        "请您亲自核对死亡医学证明原件与下面的信息。您与提出者都会作为见证人写入账本。",
        (
            "See the original death certificate yourself, and compare it with what is below. You and who proposed it "
            "stand on the ledger as those who attest it."
        ),
    ),
    "proposed.check.guardians": (
        "请您亲自听取监护人的说法，并核对是下面的监护人。您与提出者都会作为见证人写入账本。",
        (
            "Hear the guardians yourself, and see that they are those below. You and who proposed it stand on the "
            "ledger as those who attest it."
        ),
    ),
    "proposed.check.person": (
        "请您亲自看到本人和证件原件，并与下面的信息核对。您与提出者都会作为见证人写入账本。",
        (
            "See the person and the original paper yourself, and compare with what is below. You and who proposed it "
            "stand on the ledger as those who attest it."
        ),
    ),
    "proposed.own": (
        "由您提出。须由另一位工作人员用其本人的登录确认，您自己不能确认。",
        "You proposed this. Another member of the staff confirms it, signed in as themselves; you cannot.",
    ),
    "proposed.method": ("已核对：{method}", "Checked: {method}"),
    "proposed.recovery": (
        "确认后会显示一次登记码，交给本人在自己的设备上制作新的通行密钥；随后开始等待期。",
        (
            "Once you confirm, a code is shown once, with which the person makes a new passkey on their own device; "
            "then the wait begins."
        ),
    ),
    "proposed.confirm": ("已核对，确认", "It is right, confirm"),
    "proposed.reject": ("不确认", "Turn it down"),
    "proposed.back": ("收回", "Take it back"),
    "recovery_code.title": ("{name}更换通行密钥的登记码", "Code of {name} for a new passkey"),
    "recovery_code.how": (
        "在您自己的手机或电脑上打开上面的地址，按提示制作新的通行密钥。它须等待联盟规定的天数才生效。",
        (
            "Open the address above on your own phone or computer, and make a new passkey as the page says. It counts "
            "after the days that the consortium has agreed on."
        ),
    ),
    "recoveries.title": ("进行中的恢复", "Recoveries under way"),
    "recoveries.lead": (
        "只有本人（或可代为停止的人）能用通行密钥取消恢复；窗口不能取消，也不能缩短等待。",
        (
            "The person alone, or who may stop for that person, cancels a recovery with a passkey. The desk neither "
            "cancels one nor shortens its wait."
        ),
    ),
    "recoveries.none": ("目前没有进行中的恢复。", "No recovery is under way."),
    "recoveries.unnamed": ("不是本院的患者", "Nobody who is a patient here"),
    "recoveries.replace": ("更换通行密钥", "Replacement of the passkeys"),
    "recoveries.guardianship": ("指定监护人", "Appointment of guardians"),
    "recoveries.by": ("{name}于{time}提出，依据：{method}", "Announced by {name}, {time}, by {method}"),
    "recoveries.opens": ("最早于{time}由{name}执行", "To be carried out by {name}, from {time} on"),
    "recoveries.tellers": ("通知本人的机构：{names}", "Who tells the person: {names}"),
    "recoveries.told.seen": ("本院的通知：本人已看到", "The notice here: the person has seen it"),
    "recoveries.told.undelivered": (
        "本院的通知：发不到所留的联系方式，请另行告知本人",
        "The notice here: the contact given does not take it; tell the person in another way",
    ),
    "recoveries.told.sent": ("本院的通知：已发送，尚未看到", "The notice here: sent, not seen yet"),
    "recoveries.told.waiting": (
        "本院的通知：等待本人登录查看，没有可发送的联系方式或尚未送达",
        "The notice here: waits until the person signs in; there is no contact to send it to, or none took it yet",
    ),
    "recoveries.carry_out": ("执行恢复", "Carry it out"),
    "recoveries.carry_out.of": ("执行恢复：{name}", "Carry it out: {name}"),
    "error.attesting.unknown": (
        "此事项已经办理、收回或过期。",
        "This was dealt with already, was taken back, or has ended.",
    ),
    "error.attesting.same": (
        "须由另一位工作人员确认：同一人不能既提出又确认。",
        "Another member of the staff confirms: nobody is both who proposes and who confirms.",
    ),
    "error.attesting.person": (
        "此账号或提出者的账号没有写明是哪位医务人员（Practitioner），不能用于证明。请联系管理员。",
        "This account, or the proposer's, names no Practitioner and attests nothing. Ask an administrator for one.",
    ),
    "error.attesting.first": (
        "提出者已不在窗口工作，须重新提出。",
        "Who proposed this no longer works at the desk. Propose it again.",
    ),
    "error.transaction.stopped": (
        "这项恢复已被取消，不能执行。",
        "This recovery was cancelled, and is not carried out.",
    ),
    "error.desk.case": (
        "此页面已过期，或由他人打开。请重新查找患者。",
        "This page has ended, or was opened by somebody else. Find the patient again.",
    ),
    "error.desk.method": ("请选择核对的证件。", "Choose the paper that was checked."),
    "error.desk.minor": (
        "按出生日期，此人未成年（或可能未成年），须与监护人一起登记。如出生日期有误，请先更正病历。",
        (
            "By the birth date this person is under age, or may be: a child is enrolled with its guardians. "
            "If the date is wrong, have the record corrected first."
        ),
    ),
    "error.desk.patient": ("此处没有这位患者。", "There is no such patient here."),
    "error.desk.repeated": (
        "这张表单已经提交过，没有再次办理。请重新打开页面。",
        "This form was sent before; nothing was done a second time. Open the page again.",
    ),
    "error.patient.enrolled": (
        "此人已经登记，不再发放登记码。",
        "This person is enrolled already, and gets no further code.",
    ),
}
"""Every word of these pages."""
