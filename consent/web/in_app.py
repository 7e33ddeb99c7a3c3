"""Which application's own browser a page was opened in, as far as the browser says so. Pure.

Browsers inside other applications often have no passkeys, and some of their users do not know that they are in one.
Keeps true: what is found is a hint for words on a page, and decides nothing; whether there are passkeys the page's
script asks the browser itself. Trusts nothing: a browser says of itself what it likes.
Source: `docs/spec/patient-pages.md` 19.
"""

from __future__ import annotations

from typing import Final

_APPLICATIONS: Final = (
    ("MicroMessenger", "wechat"),
    ("AlipayClient", "alipay"),
    (" QQ/", "qq"),
    ("Weibo", "weibo"),
    ("DingTalk", "dingtalk"),
    ("Lark/", "feishu"),
    ("Feishu", "feishu"),
    ("FBAN/", "facebook"),
    ("FBAV/", "facebook"),
    ("Instagram", "instagram"),
    (" Line/", "line"),
    ("; wv)", "other"),
)
"""What user agents have in them, the first that is found counting, and which application that is."""


def application_of(user_agent: str) -> str:
    """Name the application in whose browser a page was opened.

    Args:
        user_agent: as the browser sent it.

    Returns:
        A short name, for which there is a word; empty for a browser of its own.
    """
    return next((name for mark, name in _APPLICATIONS if mark in user_agent), "")
