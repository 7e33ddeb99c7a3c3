"""Canonical bytes and the errors."""

from __future__ import annotations

import json
from hashlib import sha256

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medchain.encoding import (
    MAX_BRACKETS,
    MAX_DEPTH,
    MAX_INT,
    as_list,
    as_number,
    as_object,
    as_objects,
    base64_text,
    base64url,
    canonical,
    digest,
    members,
    objects_in,
    parse_canonical,
    unbase64,
    unbase64url,
    unhex,
)
from medchain.errors import InputError, MedchainError, UnavailableError

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INT, MAX_INT) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(max_codepoint=127)), inner),
    max_leaves=20,
)


@given(values)
def test_decoding_is_the_inverse_of_encoding(value):
    assert parse_canonical(canonical(value), max_bytes=1 << 20) == value


@given(values)
def test_another_encoder_reads_the_same_and_with_sorted_names_writes_the_same(value):
    # For ASCII names code-point order is RFC 8785's UTF-16 order, so the standard library can be made to agree.
    assert json.loads(canonical(value)) == value
    again = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical(value).decode() == again


def test_the_example_of_the_specification():
    assert canonical({"b": 1, "a": ["x", None]}) == b'{"a":["x",null],"b":1}'


def test_the_string_example_of_rfc_8785():
    # RFC 8785 §3.2.2.2 / appendix: escapes of the string "€$\u000F\nA'B\"\\\\\"/".
    text = "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"\u002f"
    assert canonical(text) == b'"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'


def test_the_digest_frames_tag_and_fields():
    framed = b"\x00" * 7 + b"\x01t" + b"\x00" * 7 + b"\x02ab" + b"\x00" * 8
    assert digest("t", b"ab", b"") == sha256(framed).digest()
    assert digest("t", b"ab") != digest("t", b"a", b"b")


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        float("nan"),
        MAX_INT + 1,
        -MAX_INT - 1,
        b"bytes",
        (1,),
        {1: 2},
        {"名": 1},
        "\ud800",
        {"a": ["\udfff"]},
        [object()],
    ],
)
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(InputError, match=r"encoding\.not_representable"):
        canonical(value)


def nested(depth: int):
    value = None
    for _ in range(depth):
        value = [value]
    return value


def test_nesting_is_bounded():
    assert canonical(nested(MAX_DEPTH)) == b"[" * 32 + b"null" + b"]" * 32
    with pytest.raises(InputError, match=r"encoding\.not_representable"):
        canonical(nested(MAX_DEPTH + 1))
    deep = {"a": None}
    for _ in range(MAX_DEPTH):
        deep = {"a": deep}
    with pytest.raises(InputError, match=r"encoding\.not_representable"):
        canonical(deep)


def test_attack_a_document_of_brackets_is_refused_before_anything_is_made_of_it(monkeypatch):
    """Each array takes sixty bytes and a microsecond: 30 MB of them were most of a minute and gigabytes."""
    most = b"[" + b",".join([b"[]"] * (MAX_BRACKETS - 1)) + b"]"
    assert len(parse_canonical(most, max_bytes=1 << 30)) == MAX_BRACKETS - 1
    monkeypatch.setattr("medchain.encoding.orjson.loads", lambda _data: pytest.fail("it was decoded"))
    for document in (b"[[]," + most[1:], b'{"a":"' + b"{[" * (MAX_BRACKETS // 2) + b'"}'):
        with pytest.raises(InputError, match=r"encoding\.too_many"):
            parse_canonical(document, max_bytes=1 << 30)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"a":1}'.ljust(101), "encoding.too_large"),
        (b"", "encoding.not_json"),
        (b"{", "encoding.not_json"),
        (b'"\xff"', "encoding.not_json"),
        (b"NaN", "encoding.not_json"),
        (b"[" * 100, "encoding.not_json"),
        (b'{"a":1,"a":1}', "encoding.not_canonical"),
        (b'{"b":1,"a":1}', "encoding.not_canonical"),
        (b' {"a":1}', "encoding.not_canonical"),
        (b'{"a": 1}', "encoding.not_canonical"),
        (b'"\\u0041"', "encoding.not_canonical"),
        (b'"\\/"', "encoding.not_canonical"),
        (b"1.0", "encoding.not_representable"),
        (b"1e2", "encoding.not_representable"),
        (b"-0", "encoding.not_canonical"),
        (b"9007199254740993", "encoding.not_representable"),
        (b"\xef\xbb\xbf1", "encoding.not_json"),
    ],
)
def test_every_other_spelling_is_refused(data, code):
    with pytest.raises(InputError) as caught:
        parse_canonical(data, max_bytes=100)
    assert caught.value.code == code


@given(values, st.data())
def test_a_changed_byte_is_refused_or_another_value(value, data):
    encoded = canonical(value)
    at = data.draw(st.integers(0, len(encoded) - 1))
    changed = encoded[:at] + bytes([encoded[at] ^ data.draw(st.integers(1, 255))]) + encoded[at + 1 :]
    try:
        other = parse_canonical(changed, max_bytes=1 << 20)
    except InputError:
        return
    assert canonical(other) == changed
    assert other != value or type(other) is not type(value)


def test_members_are_exact():
    value = {"a": "x", "b": 1}
    assert members(value, {"a": str, "b": int}) is value
    assert members(value, {"a": str}, {"b": int, "c": dict}) is value


@pytest.mark.parametrize(
    ("value", "member"),
    [
        ([], ""),
        (None, ""),
        ({}, "a"),
        ({"a": 1}, "a"),
        ({"a": None}, "a"),
        ({"a": "x", "z": 1}, "z"),
        ({"a": "x", "b": True}, "b"),
        ({"a": "x", "b": "1"}, "b"),
    ],
)
def test_members_that_are_missing_unknown_or_of_another_type_are_refused(value, member):
    with pytest.raises(InputError) as caught:
        members(value, {"a": str}, {"b": int})
    assert (caught.value.code, caught.value.fields) == ("encoding.members", {"member": member})


def test_what_is_taken_loosely_is_itself_or_nothing():
    rows = [{"a": 1}, "x", {}]
    assert (as_object(rows[0]), as_list(rows), as_objects(rows), as_number(7)) == ({"a": 1}, rows, [{"a": 1}, {}], 7)
    assert [(as_object(one), as_list(one), as_objects(one), as_number(one)) for one in (None, "7")] == [
        ({}, [], [], 0),
        ({}, [], [], 0),
    ]


def test_all_objects_of_a_document_are_listed_however_deep():
    inner, deep = {"c": None}, {"d": {}}
    document = {"a": [inner, [deep, "x"]], "b": 1}
    assert sorted(map(str, objects_in(document))) == sorted(map(str, [document, inner, deep, {}]))
    assert list(objects_in("x")) == []


@given(st.binary(max_size=40))
def test_hexadecimal_comes_back_as_it_went(data):
    assert unhex(data.hex(), len(data)) == data


@pytest.mark.parametrize("text", ["0A", "0", "000", "0g", " 0", "00 ", 5, None, "\uff10\uff10"])
def test_hexadecimal_of_another_form_is_refused(text):
    with pytest.raises(InputError, match=r"encoding\.hex"):
        unhex(text, 1)


@given(st.binary(max_size=40))
def test_base64_comes_back_as_it_went(data):
    assert unbase64(base64_text(data)) == data


# RFC 4648 §3.5: "Zh==" has bits set beyond the data, "Zg==" is the canonical spelling of "f".
@pytest.mark.parametrize("text", ["Zh==", "Zg", "Zg=", "Z-_=", "Zg==\n", "é", 5, None, " Zg=="])
def test_base64_of_another_form_is_refused(text):
    with pytest.raises(InputError, match=r"encoding\.base64"):
        unbase64(text)


def test_base64_is_bounded_before_it_is_decoded():
    assert unbase64("Zg==", max_bytes=1) == b"f"
    with pytest.raises(InputError, match=r"encoding\.base64"):
        unbase64("A" * 12, max_bytes=3)


@given(st.binary(max_size=40))
def test_base64url_comes_back_as_it_went(data):
    assert unbase64url(base64url(data), max_bytes=40) == data


# RFC 7515, appendix C.
def test_base64url_is_that_of_json_web_signatures():
    assert base64url(bytes([3, 236, 255, 224, 193])) == "A-z_4ME"


@pytest.mark.parametrize("text", ["AAA=", "A", "+A==", "A/", "AB"])
def test_base64url_has_one_spelling(text):
    with pytest.raises(InputError):
        unbase64url(text, max_bytes=10)


def test_an_error_says_its_code_and_fields():
    assert str(MedchainError("area.reason", size=3, member="a")) == "area.reason size=3 member=a"
    assert str(MedchainError("area.reason")) == "area.reason"


def test_an_error_that_may_be_retried_says_when():
    error = UnavailableError("peer.away", retry_after_s=5, org_id="x")
    assert (error.code, error.retry_after_s, error.fields) == ("peer.away", 5, {"org_id": "x"})


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b'{"a":1.5}', "encoding.not_representable"),
        (b'{"a":[1,2e5]}', "encoding.not_representable"),
        (b'{"a":-0.0}', "encoding.not_representable"),
        (b'{"a":9007199254740992}', "encoding.not_representable"),
        (b'{"a":-9007199254740992}', "encoding.not_representable"),
        ('{"é":1}'.encode(), "encoding.not_representable"),
        (b"[" * 33 + b"]" * 33, "encoding.not_representable"),
        (b'{"a":1,"a":1}', "encoding.not_canonical"),
        (b'{"a":"\\u0061"}', "encoding.not_canonical"),
        (b"1.5", "encoding.not_representable"),
    ],
)
def test_the_glance_at_a_document_lets_nothing_pass_that_the_walk_refuses(document: bytes, code: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_canonical(document, max_bytes=1000)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "document",
    [b'{"a":":1.5","b":",1234567890123456"}', b'{"a":9007199254740991}', b"7", b'["' + b"[" * 40 + b'"]'],
)
def test_text_that_looks_like_a_number_or_nesting_is_accepted(document: bytes) -> None:
    assert canonical(parse_canonical(document, max_bytes=1000)) == document


_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.sampled_from([":1.5", "[9"])
)


@given(
    st.recursive(
        _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    )
)
def test_glance_and_walk_agree_on_everything_that_json_can_write(value: object) -> None:
    try:
        data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return
    try:
        canonical(orjson.loads(data))
        walked = True
    except InputError:
        walked = False
    try:
        parse_canonical(data, max_bytes=1 << 20)
        parsed = True
    except InputError:
        parsed = False
    assert parsed == walked
