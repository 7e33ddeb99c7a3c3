"""What is an e-mail address here, and what a telephone number; how web workers ask the daemon about contacts. Pure.

Keeps true: what comes out is one address and nothing else, in ASCII, without what could be taken for another header,
command or recipient; whoever writes one down, and whoever sends to one, asks here.
Source: RFC 5321 §4.1.2 (dot-string), §4.5.3.1; RFC 2047 §2; RFC 1035 §2.3.1; ITU-T E.164; `docs/spec/notice.md` 9.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from medchain.errors import InputError

EMAIL: Final = "email"
"""Channel of e-mail addresses."""

SMS: Final = "sms"
"""Channel of telephone numbers."""

CODE: Final = "contacts.code"
"""Name of the local operation that sends a code to an address."""

SHOW: Final = "contacts.show"
"""Name of the local operation that tells the contacts of a subject."""

CODE_S: Final = 900
"""How long a code counts that confirms a contact."""

# As much as a contact on the ledger has room for (docs/spec/subject.md); RFC 5321 would let 254 be.
_MAX_EMAIL: Final = 200
_MAX_LOCAL: Final = 64
_MAX_DOMAIN: Final = 253
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# "=?" begins an encoded word (RFC 2047 §2): who writes a header reads it as what it encodes, be it another line.
_LOCAL: Final = re.compile(rf"(?!.*=\?){_ATOM}(?:\.{_ATOM})*")
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_CHINESE: Final = re.compile(r"1[3-9][0-9]{9}")
_NUMBER: Final = re.compile(r"\+[1-9][0-9]{7,14}")


def address_of(channel: str, text: str) -> str:
    """Read an address of a channel.

    Args:
        channel: which.
        text: as somebody wrote it.

    Returns:
        The address.

    Raises:
        InputError: ``contact.channel`` for one that nobody knows; else as the reader of that channel.
    """
    if channel not in _READERS:
        raise InputError("contact.channel")
    return _READERS[channel](text)


def email_address(text: str) -> str:
    """Read an e-mail address.

    Args:
        text: as somebody wrote it; spaces around it are left out.

    Returns:
        The address, its domain in small letters.

    Raises:
        InputError: ``contact.email`` for anything else, such as two addresses, a display name, an address literal,
            letters beyond ASCII or an encoded word.
    """
    local, at, domain = text.strip(" ").rpartition("@")
    is_short = len(local) <= _MAX_LOCAL and len(domain) <= _MAX_DOMAIN and len(local) + 1 + len(domain) <= _MAX_EMAIL
    if not at or not is_short or not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(domain):
        raise InputError("contact.email")
    return f"{local}@{domain.lower()}"


def phone_number(text: str) -> str:
    """Read a telephone number.

    Args:
        text: as somebody wrote it, with or without spaces and hyphens; a Chinese mobile number needs no country code.

    Returns:
        ``+`` and 8 to 15 digits (E.164).

    Raises:
        InputError: ``contact.sms`` for anything else.
    """
    digits = text.replace(" ", "").replace("-", "")
    number = f"+86{digits}" if _CHINESE.fullmatch(digits) else digits
    if not _NUMBER.fullmatch(number):
        raise InputError("contact.sms")
    return number


_READERS: Final[Mapping[str, Callable[[str], str]]] = {EMAIL: email_address, SMS: phone_number}
