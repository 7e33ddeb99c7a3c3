"""What is written to people by e-mail and short message: that there is something new for them, and where.

Keeps true: a letter names the organisation that writes and where to sign in, or a code, and nothing of the person or of
what happened: who reads others' mail, or keeps it, learns that somebody has to do with the organisation. It has both
languages, since an organisation also writes to people who have never been at its pages. Pure.
Source: `docs/spec/notice.md` 8; `docs/adr/0061-letters-say-that-there-is-something-new.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json

_LANGUAGES: Final = ("zh", "en")

_TITLES: Final = ("您有新消息", "Something new for you")
_URGENT_TITLES: Final = ("紧急：您有新消息", "Urgent: something new for you")
_NEWS: Final = ("{name}：您有新消息。请登录查看：{portal}", "{name}: there is something new for you. Sign in: {portal}")
_URGENT: Final = ("此事紧急，请今天就查看。", "It is urgent: please look today.")
_WITNESS: Final = (
    "若在那里看不到新内容，请直接询问{name}：有人以您的名义办理了事项，本机构为此作证。",
    "If nothing new is shown there, ask {name}: something was done in your name, of which it was told as a witness.",
)
_CODE_TITLES: Final = ("验证码", "Your code")
_CODE: Final = (
    "{name}：确认此联系方式的验证码是 {code}，{minutes} 分钟内有效。",
    "{name}: the code that confirms this contact is {code}. It counts for {minutes} minutes.",
)
_CARE: Final = (
    "请只在您要求发送它的页面上输入，不要告诉任何人。若不是您要求的，请忽略。",
    "Enter it only on the page at which you asked for it, and tell it to nobody. If you did not ask, ignore it.",
)
_PROMISE: Final = (
    "此类消息不含健康信息，也从不索要密码或验证码。",
    "Such messages hold nothing about your health, and never ask for a password or a code.",
)


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to one person.

    Attributes:
        id: the same for the same letter, however often it is sent; hexadecimal.
        title: one line.
        short: what a short message says.
        text: what an e-mail says.
    """

    id: str
    title: str
    short: str
    text: str


@dataclass(frozen=True, slots=True)
class Sender:
    """Who writes, and where the person signs in.

    Attributes:
        name: of the organisation, by language.
        portal: address at which the person signs in.
        is_witness: whether that is another organisation's.
    """

    name: Mapping[str, Json]
    portal: str
    is_witness: bool = False


def news(letter_id: str, sender: Sender, *, urgent: bool) -> Letter:
    """Write that there is something new.

    Args:
        letter_id: of the letter.
        sender: who writes.
        urgent: whether the person is to look today.

    Returns:
        The letter.
    """
    first = (_NEWS, _URGENT) if urgent else (_NEWS,)
    more = (*first, *((_WITNESS,) if sender.is_witness else ()), _PROMISE)
    return Letter(
        letter_id,
        " / ".join(_URGENT_TITLES if urgent else _TITLES),
        "\n".join(_worded(sender, at, first) for at in range(len(_LANGUAGES))),
        "\n\n".join(_worded(sender, at, more) for at in range(len(_LANGUAGES))) + "\n",
    )


def confirmation(letter_id: str, sender: Sender, code: str, minutes: int) -> Letter:
    """Write the code by which somebody shows to read what comes to a contact.

    Args:
        letter_id: of the letter.
        sender: who writes.
        code: what the person enters.
        minutes: for how long it counts.

    Returns:
        The letter.
    """
    said = [_worded(sender, at, (_CODE, _CARE), code=code, minutes=str(minutes)) for at in range(len(_LANGUAGES))]
    return Letter(letter_id, " / ".join(_CODE_TITLES), "\n".join(said), "\n\n".join(said) + "\n")


def _worded(sender: Sender, at: int, sentences: tuple[tuple[str, ...], ...], **more: str) -> str:
    """Word some sentences in one language."""
    name = str(sender.name.get(_LANGUAGES[at]) or next(iter(sender.name.values()), ""))
    return "\n".join(sentence[at].format(name=name, portal=sender.portal, **more) for sentence in sentences)
