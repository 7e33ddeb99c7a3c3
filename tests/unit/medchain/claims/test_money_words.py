"""Amounts of money as people read them: all digits of the currency, in groups, its name in the reader's language."""

from __future__ import annotations

import pytest

from medchain.claims.money_words import money_text
from medchain.ledger.invoice import Amount


@pytest.mark.parametrize(
    ("amount", "chinese", "english"),
    [
        (Amount(842_280, "CNY"), "8,422.80 元", "8,422.80 CNY"),
        (Amount(0, "CNY"), "0.00 元", "0.00 CNY"),
        (Amount(7, "CNY"), "0.07 元", "0.07 CNY"),
        (Amount(99_999, "CNY"), "999.99 元", "999.99 CNY"),
        (Amount(10**15, "CNY"), "10,000,000,000,000.00 元", "10,000,000,000,000.00 CNY"),
        # ISO 4217: yen have no smaller unit, dinars of Bahrain have three digits.
        (Amount(1_234, "JPY"), "1,234 JPY", "1,234 JPY"),
        (Amount(1_234_567, "BHD"), "1,234.567 BHD", "1,234.567 BHD"),
        (Amount(5, "?"), "5 ?", "5 ?"),
    ],
)
def test_an_amount_is_written_as_people_read_it(amount, chinese, english):
    assert (money_text(amount, "zh"), money_text(amount, "en")) == (chinese, english)
