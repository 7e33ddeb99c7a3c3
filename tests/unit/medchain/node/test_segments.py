"""Segments: what goes in comes out, and each part is under the root (RFC 6962 §2.1.1 for the path)."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medchain.crypto.fields import verify_field
from medchain.errors import InputError, VerificationError
from medchain.node import segments
from medchain.node.segments import MAX_PARTS, pack, parts_root, prove_part, unpack

SALT = bytes(range(32))
LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n")).map(str.encode)


@given(st.lists(LINES, min_size=1, max_size=20))
def test_what_is_packed_is_unpacked(parts):
    assert unpack(pack(parts)) == tuple(parts)


@pytest.mark.parametrize("parts", [[], [b"a\nb"], [b"x"] * (MAX_PARTS + 1)])
def test_what_could_not_be_told_apart_is_not_packed(parts):
    with pytest.raises(InputError, match=r"segment\.parts"):
        pack(parts)


@pytest.mark.parametrize("content", [b"", b"x", pack([b"a"])[:-1], pack([b"a"]) + b"x"])
def test_a_content_of_another_form_is_refused(content):
    with pytest.raises(VerificationError, match=r"segment\.content"):
        unpack(content)


def test_a_content_that_grows_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(segments, "MAX_PACKED_BYTES", 1000)
    with pytest.raises(VerificationError, match=r"segment\.content"):
        unpack(zlib.compress(b"x" * 1001))


@given(st.lists(LINES, min_size=1, max_size=20), st.data())
def test_a_part_is_under_the_root_and_no_other_is(parts, data):
    place = data.draw(st.integers(0, len(parts) - 1))
    root, proof = parts_root(SALT, parts), prove_part(SALT, parts, place)
    verify_field(root, proof.name, parts[place], proof.salt, proof.path)
    with pytest.raises(VerificationError):
        verify_field(root, proof.name, parts[place] + b"x", proof.salt, proof.path)
    with pytest.raises(VerificationError):
        verify_field(root, f"/{place + 1}", parts[place], proof.salt, proof.path)
    if len(parts) > 1:
        with pytest.raises(VerificationError):
            verify_field(root, proof.name, parts[place], proof.salt, replace(proof.path, siblings=()))
