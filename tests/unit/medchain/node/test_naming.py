"""How a record may name another one: conditions and percent-encoded addresses of any length."""

from __future__ import annotations

import tracemalloc
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medchain.node.naming import Asked, asked_in, unquoted

# With what encodes, parts of it, and bytes that are no UTF-8.
PARTS = ["%41", "%e7%8e%8b", "%E7", "%", "%4", "%zz", "a", "王", "+", "=", "&", " "]
encoded = st.lists(st.sampled_from(PARTS)).map("".join)


@given(encoded)
def test_a_text_is_decoded_as_others_decode_it(text):
    assert unquoted(text) == unquote(text)


@given(encoded, st.integers(3, 9))
def test_it_does_not_matter_where_pieces_end(text, size):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("medchain.node.naming._PIECE_BYTES", size)
        assert unquoted(text) == unquote(text)


@given(encoded)
def test_a_condition_asks_for_what_others_read_in_it(text):
    """Parameters by another reader, each with one value: without commas."""
    found = [(f"{one.code}:{one.modifier}".removesuffix(":"), one.value) for one in asked_in(text)]
    assert found == parse_qsl(text)


def test_a_condition_asks_for_each_of_its_values():
    asked = list(asked_in(r"identifier:of-type=a%2Cb\,c,d&_id=p1&name="))
    assert asked == [
        Asked("identifier", "of-type", "a"),
        Asked("identifier", "of-type", "b,c"),
        Asked("identifier", "of-type", "d"),
        Asked("_id", "", "p1"),
    ]


@pytest.mark.parametrize("part", ["%41", "ab&", "ab,", "%5C,a"])
def test_attack_a_reference_of_megabytes_takes_no_more_memory_than_it_is_long(part):
    """`urllib.parse` takes some eighty bytes for each character that it decodes, sixty for each part."""
    text = "_id=" + part * ((1 << 18) // len(part))
    tracemalloc.start()
    try:
        for _ in asked_in(text):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * len(text)
