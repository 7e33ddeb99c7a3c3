"""What is an e-mail address here, and what a telephone number. Pure.

Keeps true: what comes out is one address and nothing else, in ASCII, without what could be taken for another header,
command or recipient; whoever writes one down, and whoever sends to one, asks here.
Source: RFC 5321 §4.1.2 (dot-string), §4.5.3.1; RFC 1035 §2.3.1; ITU-T E.164; `docs/spec/notice.md` 9.
"""

from __future__ import annotations

import re
from typing import Final

from medchain.errors import InputError

EMAIL: Final = "email"
"""Channel of e-mail addresses."""

_MAX_EMAIL: Final = 254
_MAX_LOCAL: Final = 64
_MAX_DOMAIN: Final = 253
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_LOCAL: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")


def email_address(text: str) -> str:
    """Read an e-mail address.

    Args:
        text: as somebody wrote it; spaces around it are left out.

    Returns:
        The address, its domain in small letters.

    Raises:
        InputError: ``contact.email`` for anything else, such as two addresses, a display name, an address literal or
            letters beyond ASCII.
    """
    local, at, domain = text.strip(" ").rpartition("@")
    is_short = len(local) <= _MAX_LOCAL and len(domain) <= _MAX_DOMAIN and len(local) + 1 + len(domain) <= _MAX_EMAIL
    if not at or not is_short or not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(domain):
        raise InputError("contact.email")
    return f"{local}@{domain.lower()}"
