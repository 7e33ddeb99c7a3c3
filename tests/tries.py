"""With how many examples a property is tried whose examples cost more than most."""

from __future__ import annotations

from typing import Final

from hypothesis import settings

_BY_DEFAULT: Final = 100


def tries(number: int) -> int:
    """Return so many, and in `make soak` as many times more as the other properties have there.

    To be called while a test is defined, when the profile is chosen.
    """
    return number * settings().max_examples // _BY_DEFAULT
