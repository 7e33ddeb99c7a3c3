"""Signed notes and keys against the example of C2SP signed-note, and against every other spelling."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medchain.errors import InputError
from medchain.tlog.note import KeyType, Note, Signature, VerifierKey, is_key_name, parse_note, parse_vkey

# golang.org/x/mod/sumdb/note, package documentation.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def line(raw, name="a.example/b"):
    return f"— {name} {base64.b64encode(raw).decode()}\n"


def test_the_go_example_is_read_and_written():
    note = parse_note(GO_NOTE.encode())
    assert note.text.endswith("problem is.\n")
    assert [(item.name, item.key_id.hex(), len(item.data)) for item in note.signatures] == [
        ("PeterNeumann", "c74f20a3", 64)
    ]
    assert note.to_bytes() == GO_NOTE.encode()


def test_a_vkey_is_read_and_written():
    key = parse_vkey(GO_VKEY)
    assert (key.name, key.type, key.key_id.hex()) == ("PeterNeumann", KeyType.ED25519, "c74f20a3")
    assert str(key) == GO_VKEY


def test_every_vkey_of_the_vector_policy_is_read_and_written(vectors):
    words = [word for text in vectors.read("policy.txt").decode().splitlines() for word in text.split()]
    vkeys = [word for word in words if word.count("+") >= 2]
    assert len(vkeys) == 10
    assert [str(parse_vkey(vkey)) for vkey in vkeys] == vkeys


@pytest.mark.parametrize("name", ["checkpoint", "checkpoint-old", "checkpoint-fork"])
def test_the_vector_notes_are_read_and_written(vectors, name):
    assert parse_note(vectors.read(name)).to_bytes() == vectors.read(name)


@pytest.mark.parametrize(
    ("vkey", "code"),
    [
        ("PeterNeumann", "tlog.key"),
        ("PeterNeumann+c74f20a3", "tlog.key"),
        ("PeterNeumann+C74F20A3" + GO_VKEY[21:], "tlog.key"),
        ("PeterNeumann+c74f20a4" + GO_VKEY[21:], "tlog.key"),
        ("Peter Neumann+c74f20a3" + GO_VKEY[21:], "tlog.key_name"),
        ("+c74f20a3" + GO_VKEY[21:], "tlog.key_name"),
        (GO_VKEY[:-4], "tlog.key"),
        (GO_VKEY + "=", "encoding.base64"),
        ("a+00000000+", "tlog.key"),
        ("a+00000000+" + base64.b64encode(b"\x02" + bytes(32)).decode(), "tlog.key"),
        ("a+00000000+" + base64.b64encode(b"\x06" + bytes(32)).decode(), "tlog.key"),
    ],
)
def test_another_spelling_of_a_vkey_is_refused(vkey, code):
    with pytest.raises(InputError) as caught:
        parse_vkey(vkey)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "is_good"),
    [
        ("example.com/log", True),
        ("日志.example", True),
        ("x" * 255, True),
        ("x" * 256, False),
        ("", False),
        ("a b", False),
        ("a+b", False),
        ("a\u2003b", False),
        ("a\x00b", False),
        ("a\nb", False),
        ("a\udc80b", False),
    ],
)
def test_a_key_name_has_no_space_plus_or_control_character(name, is_good):
    assert is_key_name(name) is is_good


def test_a_key_does_not_show_its_bytes_when_printed():
    assert "public" not in repr(parse_vkey(GO_VKEY))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text" + line(bytes(5)).encode(),
        ("text\n" + line(bytes(5))).encode(),
        ("text\n\n" + line(bytes(5)))[:-1].encode(),
        ("text\n\n" + line(bytes(5)) + "\n").encode(),
        ("text\n\n" + line(bytes(5)) + "x\n").encode(),
        ("text\n\n" + line(bytes(4))).encode(),
        ("text\n\n" + line(bytes(5)).replace("—", "-")).encode(),
        ("text\n\n" + line(bytes(5), "a+b")).encode(),
        ("text\n\n" + line(bytes(5), "")).encode(),
        ("text\n\n— nameonly\n").encode(),
        ("te\rxt\n\n" + line(bytes(5))).encode(),
        ("te\x00xt\n\n" + line(bytes(5))).encode(),
        ("text\n\n" + line(bytes(5))).encode("utf-16"),
        ("text\n\n" + line(bytes(5)) * 101).encode(),
        ("t" * 1_000_000 + "\n\n" + line(bytes(5))).encode(),
    ],
)
def test_a_malformed_note_is_refused(data):
    with pytest.raises(InputError, match=r"tlog\.note"):
        parse_note(data)


def test_a_signature_in_another_base64_is_refused():
    with pytest.raises(InputError, match=r"encoding\.base64"):
        parse_note(b"text\n\n\xe2\x80\x94 a AAAAAAB=\n")


def test_a_hundred_signatures_are_read_and_the_text_may_have_empty_lines():
    data = ("\n\nte\n\nxt\n\n" + line(bytes(5)) * 100).encode()
    note = parse_note(data)
    assert (note.text, len(note.signatures)) == ("\n\nte\n\nxt\n", 100)
    assert note.to_bytes() == data


def test_a_note_that_comes_again_is_not_read_again_and_a_large_one_is_not_kept():
    small, large = (f"{'t' * size}\n\n{line(bytes(5))}".encode() for size in (10, 70_000))
    assert parse_note(bytes(bytearray(small))) is parse_note(bytes(bytearray(small)))
    first, again = parse_note(large), parse_note(bytes(bytearray(large)))
    assert first is not again
    assert first == again


@given(
    text=st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=30),
    raws=st.lists(st.binary(min_size=5, max_size=80), min_size=1, max_size=5),
)
def test_a_note_is_read_as_it_was_written(text, raws):
    note = Note(text + "\n", tuple(Signature("k.example", raw[:4], raw[4:]) for raw in raws))
    assert parse_note(note.to_bytes()) == note


def test_a_new_signature_of_the_same_key_replaces_the_old_one_in_its_place():
    old, other, new = (
        Signature(*parts) for parts in (("a", b"1234", b"o"), ("b", b"1234", b"x"), ("a", b"1234", b"n"))
    )
    assert Note("t\n", (old,)).add([other, new]).signatures == (new, other)


def test_copies_of_a_note_are_merged():
    first, second = (Signature(name, b"1234", b"s") for name in "ab")
    assert Note("t\n", (first,)).merge(Note("t\n", (second,))).signatures == (first, second)
    with pytest.raises(InputError, match=r"tlog\.note_text"):
        Note("t\n", (first,)).merge(Note("u\n", (second,)))


@pytest.mark.parametrize(("kind", "size"), [(1, 33), (4, 31), (6, 32)])
def test_a_key_of_another_size_is_refused(kind, size):
    with pytest.raises(InputError, match=r"tlog\.key"):
        VerifierKey("a", KeyType(kind), bytes(size))
