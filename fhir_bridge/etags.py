"""The versions that conditions of a write name.

Keeps true: what is no entity tag is refused, since who sends it means some condition, and a write that ignored it could
undo another's. Trusts nothing.
Source: FHIR R4 §3.1.0.5 (concurrency); RFC 9110 §8.8.3 (entity tags), §13.1.1, §13.1.2.
"""

from __future__ import annotations

import re
from typing import Final

from medchain.errors import InputError

NONE: Final = 0
"""In place of a version: there is none."""

ANY: Final = "*"
"""In place of tags: whichever version there is."""

_TAG: Final = r"(?:W/)?(?:\"[\x21\x23-\x7e\x80-\xff]*\"|[0-9]+)"
_TAGS: Final = re.compile(rf"[ \t]*{_TAG}(?:[ \t]*,[ \t]*{_TAG})*[ \t]*")
_MAX_DIGITS: Final = 9


def versions_in(tags: str) -> list[int]:
    """Read the versions that entity tags name; what is none of ours is passed over."""
    found = []
    for tag in tags.split(","):
        text = tag.strip().removeprefix("W/").strip('"')
        if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS:
            found.append(int(text))
    return found


def names(tags: str, version: int) -> bool:
    """Tell whether a condition names a version.

    Args:
        tags: entity tags, or `ANY`; a version id without quotes is taken, too, as clients send it.
        version: from 1, or `NONE`, which no tag names.

    Raises:
        InputError: ``request.etag`` for what is neither.
    """
    if tags.strip() == ANY:
        return True
    if _TAGS.fullmatch(tags) is None:
        raise InputError("request.etag")
    return version in versions_in(tags)
