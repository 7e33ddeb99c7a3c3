"""What the pages of signing in say, in Chinese and English.

A data table.
Source: `docs/glossary.md` for the terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

Words: TypeAlias = "Mapping[str, tuple[str, str]]"
"""Key → (Chinese, English)."""

WORDS: Final[Words] = {
    "skip": ("跳到正文", "Skip to main content"),
    "language.other": ("English", "中文"),
    "language.other.code": ("en", "zh"),
    "menu.account": ("我的账号", "My account"),
    "menu.browse": ("记录", "Records"),
    "menu.mandates": ("法律依据", "Legal bases"),
    "menu.asks": ("请求许可", "Ask a patient"),
    "menu.permissions": ("患者许可", "Permissions"),
    "menu.desk": ("登记窗口", "Desk"),
    "menu.emergency": ("紧急访问", "Emergency"),
    "menu.claims": ("理赔", "Claims"),
    "menu.corrections": ("更正请求", "Corrections"),
    "menu.complaints": ("投诉", "Complaints"),
    "menu.reviews": ("紧急访问复核", "Reviews"),
    "menu.oversight": ("监督", "Oversight"),
    "menu.clients": ("应用", "Applications"),
    "menu.sign_out": ("退出", "Sign out"),
    "signed_in_as": ("{name}（{role}）", "{name} ({role})"),
    "role.clinician": ("临床人员", "clinician"),
    "role.desk": ("窗口人员", "desk"),
    "role.auditor": ("审计人员", "auditor"),
    "role.administrator": ("管理员", "administrator"),
    "sign_in.title": ("登录", "Sign in"),
    "sign_in.lead": (
        "请用已登记的通行密钥登录。没有密码。",
        "Sign in with the passkey that you enrolled. There are no passwords.",
    ),
    "sign_in.for": ("登录后继续打开应用：{name}", "You are signing in to open an application: {name}"),
    "sign_in.passkey": ("用通行密钥登录", "Sign in with a passkey"),
    "sign_in.provider": ("用医院账号登录", "Sign in with your hospital account"),
    "sign_in.script": (
        "通行密钥需要启用 JavaScript 的浏览器。",
        "Passkeys need a browser with JavaScript switched on.",
    ),
    "sign_in.failed": ("没有成功，请重试。", "That did not work. Please try again."),
    "enrol.title": ("登记通行密钥", "Enrol a passkey"),
    "enrol.lead": (
        "请在您自己的设备上登记。管理员给您的链接只能使用一次。",
        "Do this on your own device. The link that your administrator gave you is good once.",
    ),
    "enrol.button": ("登记", "Enrol"),
    "account.title": ("我的账号", "My account"),
    "account.name": ("账号名", "Account"),
    "account.role": ("角色", "Role"),
    "account.person": ("人员资源", "FHIR resource"),
    "account.passkeys": ("通行密钥", "Passkeys"),
    "account.since": ("登录时间", "Signed in since"),
    "account.none": ("无", "none"),
    "account.grants": ("已授权的应用", "Applications that you authorised"),
    "account.no_grants": ("目前没有已授权的应用。", "You have authorised no application."),
    "account.application": ("应用", "Application"),
    "account.allowed": ("权限", "Allowed"),
    "account.given": ("授权时间", "Given"),
    "account.revoke": ("收回", "Take back"),
    "account.revoke.of": ("收回对 {name} 的授权", "Take back what {name} may do"),
    "error.title": ("无法继续", "This cannot go on"),
    "error.back": ("返回首页", "Go to the first page"),
    "error.other": (
        "请求没有完成。请返回后重试；若仍不成功，请联系管理员。",
        "The request was not done. Go back and try again; if it happens again, ask your administrator.",
    ),
    "error.request.too_large": (
        "提交的内容或文件过大。",
        "What you sent, or the file with it, is too large.",
    ),
    "error.request.slow": (
        "文件传输过慢或中断，请重试。",
        "The file came too slowly, or broke off. Try again.",
    ),
    "error.request.busy": (
        "正在处理的请求过多，请稍后重试。",
        "Too much is being done now. Try again later.",
    ),
    "error.page.unknown": ("没有这个页面。", "There is no such page."),
    "error.page.broken_off": (
        "文件暂时无法完整生成，请稍后再试。",
        "The file cannot be made whole now. Try again later.",
    ),
    "error.page.ended": (
        "此页面已过期。请从应用重新开始。",
        "This page has ended. Start again from the application.",
    ),
    "error.session.form": (
        "此表单不是从本站页面提交，或登录已变更。请重新打开页面。",
        "This form did not come from a page of this site, or you have signed in anew since. Open the page again.",
    ),
    "error.session.none": ("您尚未登录，或登录已过期。", "You are not signed in, or no longer so."),
    "error.session.role": ("您的角色不能使用此页面。", "Your role may not use this page."),
    "error.session.locked": (
        "失败次数过多，请稍后再试。",
        "There were too many failures. Try again later.",
    ),
}
"""Every word of these pages."""
