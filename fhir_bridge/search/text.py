"""Text as it is searched: without case, accents, width and punctuation; Chinese names also by their pinyin.

Keeps true: what is stored and what is asked go through the same door. Trusts `pinyin.json`.
Source: FHIR R4 §3.1.1.4.8; Unicode UAX #15, UAX #44; `docs/adr/0016-units-and-pinyin.md`.
"""

from __future__ import annotations

import hashlib
import itertools
import unicodedata
from array import array
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import orjson

SEPARATOR: Final = "\x01"
"""Stands between folded and exact text in a key; no FHIR string contains it, and databases keep it, unlike NUL."""

MAX_KEY_CHARS: Final = 2_000
"""Most characters of a text in its key; of longer text the beginning is searched."""

_SHORT_CHARS: Final = 256
"""Most characters of a text that is remembered: nobody may fill the memory with what is long."""

_ASCII: Final = {ord(sign): None for sign in "!\"#%&'()*,-./:;?@[\\]_{}"}
# Marks that tell letters apart instead of dressing them: the voicing of kana.
_KEPT_MARKS: Final = "\u3099\u309a"
_DIGEST_BYTES: Final = 16
_CAPITALS: Final = {ord(digit): capital for digit, capital in zip("0123456789abcdef", "GHIJKLMNOPABCDEF", strict=True)}
_FIRST_HAN: Final = 0x3400
_LAST_HAN: Final = 0x9FFF
_MAX_NAME_CHARS: Final = 12
_MAX_READINGS: Final = 4
_COMPOUND_SURNAME: Final = 2


def fold(text: str) -> str:
    """Fold text for comparison: case, accents, width, punctuation and runs of white space.

    Args:
        text: any.

    Returns:
        The folded text; empty for one that is nothing but punctuation.
    """
    return _short_folded(text) if len(text) <= _SHORT_CHARS else _folded(text)


def _folded(text: str) -> str:
    """Fold text."""
    if text.isascii():
        return " ".join(text.lower().translate(_ASCII).split())
    letters = []
    for sign in unicodedata.normalize("NFKD", text).casefold():
        kind = unicodedata.category(sign)
        if (kind != "Mn" or sign in _KEPT_MARKS) and kind[0] != "P":
            letters.append(sign)
    return " ".join(unicodedata.normalize("NFKC", "".join(letters)).casefold().split())


_short_folded = lru_cache(maxsize=16384)(_folded)
"""The same, of names and words that come again and again."""


def string_key(text: str) -> str:
    """Make the key of a string: folded, and behind a separator exact where that differs.

    A default search asks for keys that start with the folded text, ``:contains`` for keys that contain it, ``:exact``
    for the one key of the exact text: of one that is cut, a digest of the whole stands behind another separator.
    """
    cut = text[:MAX_KEY_CHARS]
    folded = fold(cut)
    if len(cut) < len(text):
        # In capitals, which no folded text has: nothing is found by a part of it.
        whole = hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest().translate(_CAPITALS)
        return f"{folded}{SEPARATOR}{cut}{SEPARATOR}{whole}"
    return folded if folded == cut else f"{folded}{SEPARATOR}{cut}"


def searched(text: str) -> str:
    """Fold a text that is asked for, cut as those are that are kept."""
    return fold(text[:MAX_KEY_CHARS])


def pinyin_keys(text: str) -> tuple[str, ...]:
    """Write a Chinese name in pinyin, without tones and spaces, in full and by initials.

    Args:
        text: a name or a part of one.

    Returns:
        Keys such as ``wangxiaoming`` and ``wxm``, with the readings that a surname has as a surname first; empty for
        text without Chinese characters, or longer than a name.
    """
    # A name is shorter, whatever blanks it has.
    return _pinyin_keys(text) if len(text) <= _SHORT_CHARS else ()


@lru_cache(maxsize=8192)
def _pinyin_keys(text: str) -> tuple[str, ...]:
    """Write a name in pinyin."""
    han = "".join(sign for sign in text if not sign.isspace() and sign != "·")
    if not 0 < len(han) <= _MAX_NAME_CHARS or not any(_is_han(sign) for sign in han):
        return ()
    choices = _choices(han)
    readings = [tuple(parts) for parts in itertools.islice(itertools.product(*choices), _MAX_READINGS)]
    full = ["".join(parts) for parts in readings]
    initials = ["".join(part[:1] for part in parts) for parts in readings if len(han) > 1]
    return tuple(dict.fromkeys(key for key in (*full, *initials) if key))


def _is_han(sign: str) -> bool:
    """Tell whether a character is Chinese."""
    return _FIRST_HAN <= ord(sign) <= _LAST_HAN


def _choices(han: str) -> list[tuple[str, ...]]:
    """List the readings of each character, those of a surname in front."""
    table = _table()
    compound = table.surnames.get(han[:_COMPOUND_SURNAME], ()) if len(han) >= _COMPOUND_SURNAME else ()
    if compound:
        return [*((part,) for part in compound), *(_readings(sign) for sign in han[_COMPOUND_SURNAME:])]
    surname = table.surnames.get(han[0], ())
    first = tuple(dict.fromkeys((*surname, *_readings(han[0]))))
    return [first, *(_readings(sign) for sign in han[1:])]


def _readings(sign: str) -> tuple[str, ...]:
    """List the usual readings of a character, at most two; what is not Chinese is read as itself."""
    if not _is_han(sign):
        return (fold(sign),)
    table = _table()
    place = ord(sign) - _FIRST_HAN
    found = [table.syllables[row[place]] for row in table.rows]
    return tuple(one for one in dict.fromkeys(found) if one) or (sign,)


class _Table(NamedTuple):
    """Readings: a syllable's number for each character, most usual reading first; number 0 is none."""

    syllables: tuple[str, ...]
    rows: tuple[array[int], ...]
    surnames: Mapping[str, tuple[str, ...]]


@cache
def _table() -> _Table:
    """Read `pinyin.json`."""
    read = orjson.loads(Path(__file__).with_name("pinyin.json").read_bytes())
    syllables = ["", *read["readings"][0]]
    numbers = {one: number for number, one in enumerate(syllables)}
    rows = []
    for group in read["readings"]:
        row = array("H", bytes(2 * (_LAST_HAN - _FIRST_HAN + 1)))
        for syllable, signs in group.items():
            number = numbers.setdefault(syllable, len(syllables))
            if number == len(syllables):
                syllables.append(syllable)
            for sign in signs:
                row[ord(sign) - _FIRST_HAN] = number
        rows.append(row)
    surnames = {name: tuple(reading.split()) for name, reading in read["surnames"].items()}
    return _Table(tuple(syllables), tuple(rows), surnames)
