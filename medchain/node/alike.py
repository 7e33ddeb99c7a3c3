"""Names that a reader takes for one another: a newcomer must not be taken for a member that is there.

A patient permits by an organisation's name, and the organisation that endorses independently is told from others by who
controls it: two that look alike and differ by a byte would be one to the eye, and two to the ledger. Keeps true: what
differs by case, width, accents, spaces, punctuation, signs that show nothing, by letters of other alphabets that have a
Latin letter's shape, by radicals in the place of Chinese characters, or by I, l and 1, or O and 0, is one name. Pure
functions. Trusts nothing; what resembles only by meaning, an
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
# Radicals (U+2E80 to U+2EF3) that Unicode does not decompose, and the characters that look the same.
_RADICALS: Final = str.maketrans(
    "⺎⺓⺘⺝⺠⺩⺬⺮⺶⺷⻁⻄⻅⻆⻉⻊⻋⻑⻓⻔⻘⻙⻚⻛⻜⻝⻢⻣⻤⻥⻦⻨⻩⻬⻮⻰",
    "兀幺扌月民王示竹羊羊虎西见角贝足车長长门青韦页风飞食马骨鬼鱼鸟麦黄齐齿龙",
)
# What differs by these hardly differs to the eye, but for its case.
_STROKES: Final = str.maketrans("I1|0", "lllO")
_SHOWN: Final = ("L", "N")


def skeleton(name: str) -> str:
    """Reduce a name to what a reader sees of it.

    Args:
        name: of any length.

    Returns:
        Letters and digits alone, folded; two names with the same look alike.
    """
    return _folded(_shapes(name))


def look_alike(one: str, other: str) -> bool:
    """Tell whether a reader may take two names for one another; one of signs alone looks like any other such."""
    if skeleton(one) == skeleton(other):
        return True
    first, second = (_folded(_shapes(name).translate(_STROKES)) for name in (one, other))
    return first == second


def _shapes(name: str) -> str:
    """Write a name in the signs that its own look like."""
    return unicodedata.normalize("NFKD", name).translate(_SHAPES).translate(_RADICALS)


def _folded(shapes: str) -> str:
    """Leave out what is no letter or digit, case and accents."""
    folded = unicodedata.normalize("NFKD", shapes.casefold())
    return "".join(sign for sign in folded if unicodedata.category(sign)[0] in _SHOWN)
