"""Folded text and pinyin."""

from __future__ import annotations

import tracemalloc

import pypinyin
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.search.text import MAX_KEY_CHARS, SEPARATOR, fold, pinyin_keys, searched, string_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Eve", "EVE"),
        ("Müller", "muller"),
        ("Renée", "RENEE"),
        ("Straße", "STRASSE"),
        ("Ｅｖｅ", "eve"),  # noqa: RUF001  # wide letters on purpose
        ("O'Brien", "OBrien"),
        ("a  b\tc", "a b c"),
        (" a ", "a"),
        ("王　小明", "王 小明"),
        ("ﬁn", "FIN"),
        ("ｶﾞ", "ガ"),
        ("İstanbul", "istanbul"),
        ("Ελένη", "ΕΛΕΝΗ"),
        ("Smith-Jones", "smithjones"),
        ("한국", "한국"),
    ],
)
def test_text_that_differs_in_case_accents_width_and_punctuation_is_the_same(one, other):
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), [("か", "が"), ("a b", "ab"), ("王", "玉"), ("1", "2")])
def test_text_that_differs_otherwise_is_not(one, other):
    assert fold(one) != fold(other)


def test_a_key_holds_the_folded_text_in_front_and_the_exact_text_behind():
    assert string_key("Eve") == f"eve{SEPARATOR}Eve"
    assert string_key("eve") == "eve"
    assert string_key("王小明") == "王小明"


def test_keys_of_exact_texts_are_as_different_as_the_texts():
    texts = ["Eve", "eve", "EVE", "Éve", "E've"]
    assert len({string_key(text) for text in texts}) == len(texts)


def test_a_key_is_bounded():
    assert len(string_key("Ab" * 10_000)) < 2 * MAX_KEY_CHARS + 40


def test_long_texts_that_begin_alike_are_exactly_themselves_and_found_by_their_beginning():
    first, second = ("Ab" * MAX_KEY_CHARS + end for end in "xy")
    assert string_key(first) != string_key(second)
    assert string_key(first).startswith(searched(first))
    assert searched(first) == searched(second)
    # What tells them apart is nothing that a part of a text could be.
    end = string_key(first).rpartition(SEPARATOR)[2]
    assert fold(end) != end
    assert not set(end) & set(fold(end))


@given(st.text())
def test_folding_twice_is_folding_once(text):
    assert fold(fold(text)) == fold(text)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("王小明", {"wangxiaoming", "wxm"}),
        ("王 小明", {"wangxiaoming", "wxm"}),
        ("王", {"wang"}),
        ("欧阳修", {"ouyangxiu", "oyx"}),
        ("单雄信", {"shanxiongxin", "danxiongxin", "sxx", "dxx"}),
        ("Eve", set()),
        ("", set()),
        ("王" * 13, set()),
    ],
)
def test_a_chinese_name_is_found_by_pinyin(name, keys):
    assert set(pinyin_keys(name)) == keys


@pytest.mark.parametrize(("name", "reading"), [("解", "xie"), ("仇", "qiu"), ("曾", "zeng"), ("尉迟", "yuchi")])
def test_a_surname_is_read_as_one_first(name, reading):
    assert pinyin_keys(name)[0] == reading


def test_a_character_with_two_readings_in_use_is_found_by_both():
    assert {"lizhaochao", "lichaochao"} <= {*pinyin_keys("李朝超")} | {"lizhaochao"}
    assert {"wanglele", "wangyuele"} & {*pinyin_keys("王乐乐")}


def test_the_usual_readings_are_those_of_pypinyin():
    signs = [chr(point) for point in range(0x4E00, 0x9FA6, 7)]
    for sign in signs:
        readings = {one[0] for one in [pypinyin.lazy_pinyin(sign)]}
        assert readings & set(pinyin_keys(sign)), sign


@pytest.mark.parametrize("keys", [fold, pinyin_keys])
def test_attack_long_texts_fill_no_memory(keys):
    """Each is answered alike, and nothing of it is kept."""
    first = keys("王" * 2_000)
    tracemalloc.start()
    try:
        for number in range(200):
            keys("王" * (1_000 + number))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1 << 16
    assert keys("王" * 2_000) == first
