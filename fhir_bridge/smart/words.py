"""What the pages of authorisation and of applications say, in Chinese and English.

A data table.
Source: `docs/glossary.md` for the terms.
"""

from __future__ import annotations

from typing import Final

from medchain.web.words import Words

SMART_WORDS: Final[Words] = {
    "continue.title": ("正在打开", "Opening"),
    "continue.link": ("如果没有自动继续，请点此处。", "If this does not go on by itself, follow this link."),
    "consent.title": ("是否允许 {name}？", "Allow {name}?"),
    "consent.lead": (
        "此应用请求代您访问 {site} 的数据。您可以去掉任何一项。",
        "This application asks to use data of {site} on your behalf. You can leave out any of it.",
    ),
    "consent.address": ("应用地址：{address}", "The application is at {address}"),
    "consent.scopes": ("允许的内容", "What it may do"),
    "consent.none": (
        "您的角色或此应用的登记不允许它请求的任何数据。",
        "Neither your role nor its registration allows any of the data that it asks for.",
    ),
    "consent.identity": ("知道您是谁：{name}", "Know who you are: {name}"),
    "consent.offline": ("在您退出登录后仍可继续，最长 90 天", "Go on after you have signed out, for up to 90 days"),
    "consent.patient": ("患者", "Patient"),
    "consent.patient.hint": (
        "输入患者的标识号（例如住院号）或姓名。",
        "Type an identifier of the patient, such as a hospital number, or a name.",
    ),
    "consent.patient.find": ("查找", "Find"),
    "consent.patient.unknown": ("没有找到这个患者。", "No such patient was found."),
    "consent.patient.needed": ("请先选择患者。", "Choose a patient first."),
    "consent.patient.one": ("{name}，出生日期 {birth}", "{name}, born {birth}"),
    "consent.patient.nobirth": ("未知", "unknown"),
    "consent.encounter": ("就诊（可不填）", "Encounter (may be left empty)"),
    "consent.encounter.hint": ("此患者一次就诊的资源标识。", "Id of an encounter of this patient."),
    "consent.encounter.unknown": ("这不是该患者的就诊。", "That is no encounter of this patient."),
    "consent.problem": ("有一项需要修改", "There is a problem"),
    "consent.allow": ("允许", "Allow"),
    "consent.deny": ("拒绝", "Do not allow"),
    "scope.patient": ("此患者的", "of this patient"),
    "scope.user": ("您能看到的", "that you may use"),
    "scope.all": ("全部数据", "all data"),
    "scope.line": ("{verbs}{whose}{what}", "{verbs} {what} {whose}"),
    "scope.where": ("，仅限 {query}", ", only where {query}"),
    "scope.c": ("新增", "create"),
    "scope.r": ("读取", "read"),
    "scope.u": ("修改", "change"),
    "scope.d": ("删除", "delete"),
    "scope.s": ("搜索", "search"),
    "scope.and": ("、", ", "),
    "clients.title": ("应用", "Applications"),
    "clients.none": ("没有登记的应用。", "No application is registered."),
    "clients.name": ("名称", "Name"),
    "clients.scopes": ("最多可申请的权限", "The most that it may ask for"),
    "clients.shown_by": ("身份凭据", "Shown by"),
    "clients.state": ("状态", "State"),
    "clients.active": ("可用", "in use"),
    "clients.disabled": ("已停用", "disabled"),
    "clients.disable": ("停用", "Disable"),
    "clients.enable": ("启用", "Enable"),
    "clients.disable.of": ("停用 {name}", "Disable {name}"),
    "clients.enable.of": ("启用 {name}", "Enable {name}"),
    "clients.new": ("登记应用", "Register an application"),
    "clients.id": ("标识", "Id"),
    "clients.redirects": ("授权后返回的网址（每行一个）", "Addresses to return to (one a line)"),
    "clients.launch": ("从病历系统打开的网址（可不填）", "Address for launches from the record system (may be empty)"),
    "clients.jwks_uri": ("公布公钥的网址（公共应用不填）", "Address of its keys (empty for a public application)"),
    "clients.dpop": ("只签发绑定密钥的令牌（DPoP）", "It gets tokens that are bound to a key alone (DPoP)"),
    "clients.scopes.hint": ("例如：patient/*.rs user/Practitioner.r", "Such as: patient/*.rs user/Practitioner.r"),
    "clients.save": ("登记", "Register"),
    "clients.refused": ("没有登记：{code}", "It was not registered: {code}"),
    "kind.public": ("无密钥（PKCE）", "no key (PKCE)"),
    "kind.keys": ("{count} 个公钥", "{count} public key(s)"),
    "kind.member": ("联盟成员 {member}", "member {member}"),
    "kind.uri": ("{uri}", "{uri}"),
    "kind.bound": ("{kind}；DPoP", "{kind}; DPoP"),
    "error.login.refused": (
        "医院账号登录没有成功。请重试。",
        "Signing in with your hospital account did not work. Please try again.",
    ),
    "error.login.not_anew": (
        "此应用要求您重新登录，但医院的身份认证系统没有证明您已重新登录。请重试。",
        "This application asks you to sign in anew; your hospital's identity provider did not show that. Try again.",
    ),
    "error.login.role": (
        "您的医院账号在此没有角色，或有多个角色。请联系管理员。",
        "Your hospital account has no role here, or more than one. Ask your administrator.",
    ),
    "error.login.provider": (
        "回答来自另一个身份认证系统，已拒绝。",
        "The answer came from another identity provider and was refused.",
    ),
    "error.login.unreachable": (
        "现在无法连接医院的身份认证系统。",
        "The hospital's identity provider cannot be reached now.",
    ),
    "error.client.unconfirmed": (
        "此应用因恢复备份而停用，须由管理员在服务器上确认（medchain client confirm）。",
        "A restore shut this application: who runs the node confirms it there (medchain client confirm).",
    ),
    "error.session.account": ("此账号已关闭。", "This account is closed."),
    "error.oauth": (
        "应用的请求有误，无法返回该应用（{error}）。请联系应用的提供者。",
        "The application's request is wrong, and it cannot be told so ({error}). Ask who provides the application.",
    ),
    "error.launch.other": (
        "此应用由另一账号从病历系统打开。请用该账号登录。",
        "This application was opened from the record system for another account. Sign in with that one.",
    ),
    "error.launch.ended": (
        "此次打开已过期或已使用。请从病历系统重新打开应用。",
        "This launch has ended or was used. Open the application from the record system again.",
    ),
}
"""Every word of these pages."""
