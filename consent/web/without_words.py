"""What the pages say where a browser has no passkeys, in Chinese and English.

A data table. Wording: what helps comes first, and nobody is told to trust a device of which others take hold.
Source: `docs/spec/patient-pages.md` 19, wording; `docs/glossary.md` for the terms.
"""

from __future__ import annotations

from typing import Final

from medchain.web.words import Words

WITHOUT_WORDS: Final[Words] = {
    "without.link": ("不能用通行密钥？看这里", "Passkeys do not work here? See what to do"),
    "without.address": ("在手机自己的浏览器里打开这个地址", "Open this address in your phone's own browser"),
    "without.in": (
        "您正在{app}里打开本页。应用内的浏览器常常不支持通行密钥。",
        "You have opened this page inside {app}. Browsers inside other apps often have no passkeys.",
    ),
    "without.app.wechat": ("微信", "WeChat"),
    "without.app.alipay": ("支付宝", "Alipay"),
    "without.app.qq": ("QQ", "QQ"),
    "without.app.weibo": ("微博", "Weibo"),
    "without.app.dingtalk": ("钉钉", "DingTalk"),
    "without.app.feishu": ("飞书", "Feishu"),
    "without.app.facebook": ("Facebook", "Facebook"),
    "without.app.instagram": ("Instagram", "Instagram"),
    "without.app.line": ("LINE", "LINE"),
    "without.app.other": ("另一个应用", "another app"),
    "without.back": ("返回登录", "Back to signing in"),
    "without.title": ("不能用通行密钥时怎么办", "What to do without passkeys"),
    "without.lead": (
        "登录和签署要用通行密钥。微信等应用内的浏览器、很旧的浏览器往往不支持。请选一种办法：",
        (
            "Signing in and signing need a passkey. Browsers inside apps such as WeChat, and very old ones, often "
            "have none. Any of these helps:"
        ),
    ),
    "without.own": ("用手机自己的浏览器打开", "Use your phone's own browser"),
    "without.own.menu": ("点屏幕角上的菜单（⋯）或分享按钮。", "Tap the menu (⋯) or the share button in a corner."),
    "without.own.choose": (
        "选“在浏览器打开”，或 Safari、Chrome、手机自带的浏览器。",
        "Choose “Open in browser”, or Safari, Chrome or the browser that came with the phone.",
    ),
    "without.own.else": (
        "没有这一项时，自己打开浏览器，输入：",
        "Where there is no such thing, open the browser yourself and type:",
    ),
    "without.own.code": (
        "用窗口给的登记码登记时，请把收到的整个链接复制到浏览器里。",
        "To enrol with a code of the desk's, copy the whole link that you were given into the browser.",
    ),
    "without.kiosk": ("用自助机或别的电脑", "Use a kiosk or another computer"),
    "without.kiosk.lead": (
        "在{name}的自助机（如果有）或一台电脑的浏览器里打开上面的地址，登录时选“使用手机”，用您的手机扫码确认。通行密钥留在您的手机里。用完请退出。",
        (
            "In the browser of a kiosk of {name}, where there is one, or of a computer, open the address above, choose "
            "“use a phone” to sign in, and scan the code with yours. The passkey stays on your phone. Sign out when "
            "you are done."
        ),
    ),
    "without.desk": ("到服务窗口办理", "Go to the desk"),
    "without.desk.lead": (
        "带身份证件到{name}的服务窗口：可以用纸质方式登记、许可和停止许可。纸质办理由两名工作人员证明，不等同于您的签名。",
        (
            "Take your identity card to the desk of {name}: you can be enrolled, permit, and stop a permission there "
            "on paper. Two members of staff attest that, which is not equal to your signature."
        ),
    ),
}
"""Every word of these pages."""
