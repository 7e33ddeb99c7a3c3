"""How what is indexed is parsed: numbers to their last digit, the rest quickly."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fhir_bridge.document import Number
from fhir_bridge.search.index import loaded
from medchain.errors import InputError


@pytest.mark.parametrize("text", ["5.4", "-5.60", "123456789012345", "1e-7", "0.00000001"])
def test_a_number_of_few_digits_is_a_double_that_is_it(text):
    (value,) = loaded(b'{"value":%b}' % text.encode()).values()
    assert not isinstance(value, Number)
    assert Decimal(repr(value)) == Decimal(text)


@pytest.mark.parametrize(
    "text", ["123456789.123456789", "-0.1000000000000000000001", "9007199254740993", "1." + "0" * 20]
)
def test_a_number_of_many_digits_is_the_number_that_was_sent(text):
    assert loaded(b'{"code":"x","value":%b}' % text.encode())["value"] == Decimal(text)


@pytest.mark.parametrize(
    ("document", "error"),
    [(b"[]", ValueError), (b"{", ValueError), (b'{"a":1234567890.1234567', InputError), (b'"x"', ValueError)],
)
def test_what_is_no_object_is_refused(document, error):
    with pytest.raises(error):
        loaded(document)
