"""JSON to the letter."""

from __future__ import annotations

import copy
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.document import MAX_VALUES, Number, parse, parse_bundle, write
from medchain.errors import InputError

NOT_XML = "".join(map(chr, {*range(32), 0xFFFE, 0xFFFF} - {9, 10, 13}))
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=NOT_XML))
NUMBERS = st.from_regex(r"\A-?(0|[1-9][0-9]{0,9})(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?\Z").map(Number)
VALUES = st.recursive(
    st.none() | st.booleans() | TEXTS | NUMBERS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


@given(st.dictionaries(TEXTS, VALUES))
def test_what_is_written_is_read_again_and_written_the_same(document):
    data = write(document)
    assert parse(data) == document
    assert write(parse(data)) == data


@pytest.mark.parametrize("text", ["5.60", "2255.00", "1.20E+4", "1e-7", "-0", "0.0", "12345678901234567890.10"])
def test_a_number_keeps_its_spelling(text):
    assert write(parse(b'{"v":%b}' % text.encode())) == b'{"v":%b}' % text.encode()


@pytest.mark.parametrize("text", ["1e9999", "1" * 65, "NaN", "Infinity", "-Infinity"])
def test_a_number_that_readers_would_take_differently_is_refused(text):
    with pytest.raises(InputError, match=r"document\.number"):
        parse(b'{"v":%b}' % text.encode())


@pytest.mark.parametrize("text", ["01", "1.", ".5", "+1", "0x1", "1_0"])
def test_what_is_no_json_number_is_refused(text):
    with pytest.raises(InputError, match=r"document\.not_json"):
        parse(b'{"v":%b}' % text.encode())


def test_where_a_text_is_no_json_is_told_by_its_line():
    for read in (parse, parse_bundle):
        with pytest.raises(InputError) as refused:
            read(b'{"resourceType":"Bundle",\n"type":"batch",\n"id":}')
        assert (refused.value.code, refused.value.fields["line"]) == ("document.not_json", 3)


def test_a_name_that_stands_twice_is_refused_at_any_depth():
    with pytest.raises(InputError, match=r"document\.duplicate"):
        parse(b'{"a":[{"b":1,"b":1}]}')


def test_a_lone_surrogate_is_refused_in_values_and_names():
    for data in (rb'{"a":"\ud800"}', rb'{"\udfff":1}'):
        with pytest.raises(InputError, match=r"document\.character"):
            parse(data)


@pytest.mark.parametrize(
    "text", [r"\u0000", r"\u001F", r"\b", r"\f", r"\uFFFE", r"\uffff", "\ufffe", "\uffff", r"\\\u0001"]
)
def test_a_character_that_xml_cannot_hold_is_refused_in_values_and_names(text):
    for data in (f'{{"a":["{text}"]}}', f'{{"b":{{"{text}":1}}}}'):
        with pytest.raises(InputError, match=r"document\.character"):
            parse(data.encode())


def test_what_only_looks_like_a_control_character_is_text():
    assert parse(rb'{"a":"\\u0000 \\b C:\\f \t\r\n\u0020"}') == {"a": "\\u0000 \\b C:\\f \t\r\n "}


@pytest.mark.parametrize("data", [b'\xff{"a":1}', b'{"a":"\xe4"}'])
def test_what_is_not_utf8_is_refused(data):
    with pytest.raises(InputError, match=r"document\.not_json"):
        parse(data)


def test_64_levels_are_read_and_65_refused():
    assert parse(b'{"a":' + b"[" * 63 + b"]" * 63 + b"}")
    with pytest.raises(InputError, match=r"document\.depth"):
        parse(b'{"a":' + b"[" * 64 + b"]" * 64 + b"}")


def test_a_copy_spells_its_numbers_as_the_original_does():
    original = parse(b'{"a":[1e2,5.60,-0.0]}')
    for copied in (copy.copy(original), copy.deepcopy(original)):
        assert write(copied) == b'{"a":[1e2,5.60,-0.0]}'
    assert copy.copy(original["a"][0]).text == "1e2"


# Names and values of which a count of signs could be fooled: colons, quotes, braces, and colons written as escapes.
_TRICKY = st.lists(st.sampled_from([":", '"', "\\", "u", "{", "a", " ", "\u003a"]), max_size=4).map("".join)
_TREES = st.recursive(
    st.sampled_from([1, None, True]) | _TRICKY,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(_TRICKY, inner), max_size=4).map(tuple),
    max_leaves=10,
)


def _text_of(tree: object, data: st.DataObject) -> str:
    """Write a tree whose objects are tuples of names and values, which may stand twice."""
    blank = data.draw(st.sampled_from(["", " ", "\n"]))
    if isinstance(tree, tuple):
        rows = [f"{_text_of(name, data)}{blank}:{blank}{_text_of(value, data)}" for name, value in tree]
        return "{" + ",".join(rows) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(_text_of(one, data) for one in tree) + "]"
    text = json.dumps(tree)
    return text.replace(":", "\\u003a") if data.draw(st.booleans()) else text


def _has_double(tree: object) -> bool:
    """Tell whether a name stands twice in an object."""
    if isinstance(tree, tuple):
        return len({name for name, _ in tree}) < len(tree) or any(_has_double(value) for _, value in tree)
    return isinstance(tree, list) and any(_has_double(one) for one in tree)


@given(_TREES, st.data())
def test_a_name_that_stands_twice_is_found_whatever_names_and_values_hold(tree, data):
    text = _text_of((("a", tree),), data)
    if _has_double(tree):
        with pytest.raises(InputError, match=r"document\.duplicate"):
            parse(text.encode())
    else:
        assert json.loads(write(parse(text.encode()))) == json.loads(text)


@pytest.mark.parametrize("value", [b"1", b"{}", b"[]", b"[" * 60 + b"]" * 60, b'{"a":1}', b'""'])
@pytest.mark.parametrize("read", [parse, parse_bundle])
def test_a_document_of_very_many_small_values_is_refused_before_they_are_made(value, read):
    """Attack: 32 MB of digits were 1.6 GB of memory and 20 s of a processor."""
    opened = value.count(b"{") + value.count(b"[")
    count = MAX_VALUES // (1 + opened) + 1
    began = time.thread_time()
    with pytest.raises(InputError, match=r"document\.values"):
        read(b'{"entry":[%b]}' % b",".join([value] * count))
    assert time.thread_time() - began < 5


def test_a_large_document_of_usual_values_is_read():
    text = "x, y; " * 100_000
    rows = [{"system": "http://loinc.org", "code": str(n), "display": "of usual length"} for n in range(20_000)]
    document = {"text": text, "coding": rows}
    assert parse(write(document)) == document


def test_each_number_of_a_bundle_keeps_its_own_spelling_however_many_there_are():
    """Numbers of one spelling are one object, up to a bound; those of equal value and other spelling are not."""
    spellings = ["1.0", "1.00", "1e0", "1", "1.0", *map(str, range(5000)), "1.00"]
    entries = ",".join(f'{{"resource":{{"value":{one}}}}}' for one in spellings[:1500])
    bundle = parse_bundle(f'{{"resourceType":"Bundle","entry":[{entries}],"all":[{",".join(spellings)}]}}'.encode())
    assert [row["resource"]["value"].text for row in bundle.rows] == spellings[:1500]
    one_entry = parse_bundle(f'{{"entry":[{{"values":[{",".join(spellings)}]}}]}}'.encode())
    assert write(one_entry.rows[0]) == f'{{"values":[{",".join(spellings)}]}}'.encode()
    assert write(bundle.resource["all"]) == f"[{','.join(spellings)}]".encode()
