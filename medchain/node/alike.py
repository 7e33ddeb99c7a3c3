"""Names that a reader takes for one another: a newcomer must not be taken for a member that is there.

A patient permits by an organisation's name, and the organisation that endorses independently is told from others by who
controls it: two that look alike and differ by a byte would be one to the eye, and two to the ledger. Keeps true: what
differs by case, width, accents, spaces, punctuation, signs that show nothing, or by letters of other alphabets that
have a Latin letter's shape, is one name. Pure functions. Trusts nothing; what resembles only by meaning, an
administrator has to see.
Source: UTS #39 §4 (skeletons of confusable identifiers), by a table of those letters that name organisations.
"""

from __future__ import annotations

import unicodedata
from typing import Final

# Capital and small letters, Cyrillic and Greek, and the Latin ones that they look like.
_SHAPES: Final = str.maketrans(
    "АВЕКМНОРСТУХЅІЈҺԌԚԜавекмнорстухѕіјһԁԛԝ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαγικνορτυχ",
    "ABEKMHOPCTYXSIJHGQWabekmhopctyxsijhdqw" + "ABEZHIKMNOPTYXayikvoptux",
)
_SHOWN: Final = ("L", "N")


def skeleton(name: str) -> str:
    """Reduce a name to what a reader sees of it.

    Args:
        name: of any length.

    Returns:
        Letters and digits alone, folded; two names with the same look alike.
    """
    shapes = unicodedata.normalize("NFKD", name).translate(_SHAPES)
    folded = unicodedata.normalize("NFKD", shapes.casefold())
    return "".join(sign for sign in folded if unicodedata.category(sign)[0] in _SHOWN)


def look_alike(one: str, other: str) -> bool:
    """Tell whether a reader may take two names for one another; one of signs alone looks like any other such."""
    return skeleton(one) == skeleton(other)
