"""What the page of a patient's contacts says, in Chinese and English. A data table.

Source: `docs/spec/patient-pages.md` 20.
"""

from __future__ import annotations

from typing import Final

from medchain.web.words import Words

CONTACT_WORDS: Final[Words] = {
    "settings.notices": ("通知", "Notices"),
    "settings.notices.lead": (
        "有新情况时，可以另外发消息提醒您登录查看。",
        "When there is something new, you can also be sent word to sign in and look.",
    ),
    "settings.notices.open": ("接收通知的联系方式", "Where notices go"),
    "contacts.title": ("接收通知的联系方式", "Where notices go"),
    "contacts.back": ("返回设置", "Back to the settings"),
    "contacts.lead": (
        (
            "消息只说您有新消息、在哪里登录，不含健康信息，也从不索要密码。紧急调阅和更换通行密钥的申请立即发送；其他情况每个地址"
            "每天最多四条。"
        ),
        (
            "A message says only that there is something new and where to sign in: nothing about your health, and it "
            "never asks for a password. Emergencies and requests to replace your passkeys come at once, of all else "
            "four a day to an address at most."
        ),
    ),
    "contacts.none": (
        "还没有联系方式：通知要等您登录才能看到。",
        "There is none yet: you see notices when you sign in.",
    ),
    "topics.title": ("发送哪些通知", "Which notices you are sent word of"),
    "topics.lead": (
        "您登录后总能看到全部通知。这里只选择{name}向上面的地址发送哪些；为您的许可作证的其他机构会自行发送，不受此影响。",
        (
            "You see all notices when you sign in. Here you choose of which {name} sends word to the addresses above. "
            "Other organisations, such as one that endorsed what you signed, send word by themselves all the same."
        ),
    ),
    "topics.legend": ("发送消息，当……", "Send me word when …"),
    "topics.topic.asks": ("有机构请求您的许可", "somebody asks you for a permission"),
    "topics.topic.concerns": ("更正申请或投诉有了答复", "a correction or a complaint is answered"),
    "topics.topic.law": ("依法律开始或停止查看您的病历", "somebody may see your record by law, or may no more"),
    "topics.topic.permissions": ("您签署了许可，或一项许可被停止", "you have signed a permission, or one is ended"),
    "topics.always": (
        "紧急调阅、更换通行密钥、他人以您的名义签署的许可、由工作人员证明的纸质许可、隐藏的结束，以及通行密钥、联系方式、监护人和协助人的变化，一定会发送，不能关闭。",
        (
            "Of emergencies, of requests to replace your passkeys, of permissions that others signed in your name or "
            "that staff attest on paper, of the end of what you hide, and of changes of your passkeys, contacts, "
            "guardians and helpers you are always sent word."
        ),
    ),
    "topics.save": ("保存", "Save"),
    "topics.chosen": ("已保存。", "Saved."),
    "contacts.channel.email": ("电子邮箱", "E-mail address"),
    "contacts.channel.sms": ("手机号码", "Mobile number"),
    "contacts.undelivered": ("发不到", "Not delivered"),
    "contacts.undelivered.lead": (
        "最近一条消息没有被接收。请检查此地址；不再使用的请移除。",
        "The last message was not taken. See whether the address is right, and remove one that you no longer use.",
    ),
    "contacts.remove": ("移除", "Remove"),
    "contacts.remove.lead": (
        "移除须用通行密钥签署。被移除的地址还会收到最后一条通知，让您知道它被移除。",
        "You sign this with your passkey. The address gets one last notice, so that it does not go unseen.",
    ),
    "contacts.remove.sign": ("签署并移除", "Sign and remove"),
    "contacts.add.email": ("增加一个电子邮箱", "Add an e-mail address"),
    "contacts.add.sms": ("增加一个手机号码", "Add a mobile number"),
    "contacts.add.lead": (
        "先发一个验证码到此处，确认是您的，再由您签署。原有的联系方式也会收到通知。",
        "A code is sent there first to see that it is yours; then you sign. Your other contacts are told as well.",
    ),
    "contacts.add.next": ("发送验证码", "Send a code"),
    "contacts.no_channel": (
        "{name}目前不向外发送消息，因此不能在此增加联系方式。",
        "{name} sends no messages at present, so no contact can be added here.",
    ),
    "contacts.code": ("输入验证码", "Enter the code"),
    "contacts.code.sent": (
        "验证码已发往 {address}，{minutes} 分钟内有效。",
        "A code was sent to {address}. It counts for {minutes} minutes.",
    ),
    "contacts.code.wrong": (
        "验证码不对，或已过期。请重新输入，或返回再发一次。",
        "The code is not right, or its time is over. Enter it again, or go back and have another one sent.",
    ),
    "contacts.code.enter": ("六位验证码", "Code of six digits"),
    "contacts.code.sign": ("确认并前往签署", "Confirm, and go on to sign"),
    "error.contact.email": (
        "这不是一个可用的电子邮箱地址。请只填一个地址，例如 li@mail.example。",
        "This is no e-mail address that can be used. Enter one address, such as li@mail.example.",
    ),
    "error.contact.sms": (
        "这不是一个可用的手机号码。请填一个号码，例如 138 0000 0000 或 +852 5123 4567。",
        "This is no mobile number that can be used. Enter one number, such as 138 0000 0000 or +852 5123 4567.",
    ),
    "error.contact.channel": (
        "这里不使用这种联系方式。",
        "That kind of contact is not used here.",
    ),
    "error.contact.known": ("此联系方式已经在列。", "That contact is listed already."),
    "error.contact.many": (
        "联系方式已达上限，请先移除一个。",
        "There are as many contacts as there may be. Remove one first.",
    ),
    "error.contact.unsent": (
        "验证码没有发出：现在发不到此地址。请检查地址，或稍后再试。",
        "The code was not sent: this address cannot be reached now. Check it, or try again later.",
    ),
}
"""Every word of this page."""
