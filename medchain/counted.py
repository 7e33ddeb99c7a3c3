"""Sentences in which something is counted: one record is, two records are.

Keeps true: the same sentence and fields give the same text here and in verify.html, whose script fills them likewise.
Pure. Trusts sentences, which are tables of ours.
"""

from __future__ import annotations

from collections.abc import Mapping

_BETWEEN = "|"


class _Number(int):
    """A number that chooses a word: ``{count:record|records}``."""

    def __format__(self, spec: str) -> str:
        one, between, many = spec.partition(_BETWEEN)
        if not between:
            return super().__format__(spec)
        return one if self == 1 else many


def filled(sentence: str, fields: Mapping[str, object]) -> str:
    """Fill a sentence in.

    Args:
        sentence: with fields in braces, as `str.format` takes them. A field that is a whole number chooses between two
            words by ``{name:one|many}``, and is itself written by ``{name}``.
        fields: their values.

    Returns:
        The sentence.
    """
    return sentence.format_map({name: _Number(one) if type(one) is int else one for name, one in fields.items()})
