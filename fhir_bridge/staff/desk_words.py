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
    "error.desk.case": (
        "此页面已过期，或由他人打开。请重新查找患者。",
        "This page has ended, or was opened by somebody else. Find the patient again.",
    ),
    "error.desk.method": ("请选择核对的证件。", "Choose the paper that was checked."),
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
