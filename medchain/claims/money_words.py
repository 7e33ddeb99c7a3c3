"""Amounts of money as people read them, in Chinese and English: ``8,422.80 元``, ``8,422.80 CNY``.

Keeps true: an amount has all digits of its currency, in groups of three; verify.html writes it likewise. Pure.
Source: ISO 4217; GB/T 15835-2011 for digits in Chinese texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from medchain.errors import InputError
from medchain.ledger.invoice import Amount

CURRENCIES: Final[Mapping[str, tuple[str, str]]] = {"CNY": ("元", "CNY")}
"""ISO 4217 code → what the currency is called; one that has no name is called by its code."""


def money_text(amount: Amount, language: str) -> str:
    """Write an amount with its currency.

    Args:
        amount: of a currency that may be none, where it was received: then it is written as its number.
        language: ``zh`` or ``en``.
    """
    name = CURRENCIES.get(amount.currency, (amount.currency, amount.currency))[0 if language == "zh" else 1]
    try:
        whole, point, part = amount.text.partition(".")
    except InputError:
        return f"{amount.minor} {name}"
    return f"{int(whole):,}{point}{part} {name}"
