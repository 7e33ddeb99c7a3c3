"""Blocks on the wire: one spelling, bounded sizes, nothing read that was not written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medchain.errors import InputError
from medchain.ledger.transaction import MAX_LEAF_BYTES
from medchain.ordering.block import (
    MAX_ANSWER_BYTES,
    MAX_BLOCK_TRANSACTIONS,
    MAX_CHECKPOINT_BYTES,
    Block,
    accepted_id,
    block_bytes,
    blocks_answer,
    frame,
    parse_block,
    parse_blocks,
    parse_frames,
    parse_submission,
    submission,
)

BLOCK = Block(7, 1_796_083_200, (b"leaf",), "note")
# Written by hand from docs/spec/ordering.md.
HEAD = b'{"checkpoint":"note","height":7,"time":1796083200,"type":"medchain/block/v1"}'
TEXT = b"\0\0\0\x4d" + HEAD + b"\0\0\0\x04leaf"


def test_a_block_is_written_as_the_specification_shows():
    assert block_bytes(BLOCK) == TEXT
    assert parse_block(TEXT) == BLOCK
    assert frame(TEXT)[:4] == len(TEXT).to_bytes(4, "big")


@given(
    st.lists(
        st.builds(
            Block,
            st.integers(0, 2**53 - 1),
            st.integers(0, 2**53 - 1),
            st.lists(st.binary(min_size=1, max_size=99), max_size=3).map(tuple),
            st.text("ab\n", max_size=9),
        ),
        max_size=4,
    )
)
def test_blocks_are_read_back_as_written(blocks):
    assert parse_blocks(blocks_answer(blocks)) == blocks


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        HEAD,
        TEXT + b" ",
        TEXT[:-1],
        TEXT + b"\0\0\0\0",
        TEXT + frame(bytes(MAX_LEAF_BYTES + 1)),
        TEXT + frame(b"x") * MAX_BLOCK_TRANSACTIONS,
        frame(HEAD + b" "),
        frame(HEAD.replace(b'"height":7', b'"height":-1')),
        frame(HEAD.replace(b'"time":1796083200', b'"time":-1')),
        frame(HEAD.replace(b'"height":7', b'"height":true')),
        frame(HEAD.replace(b'"height":7', b'"height":7,"height":7')),
        frame(HEAD.replace(b',"type"', b',"transactions":[],"type"')),
        frame(HEAD.replace(b"block/v1", b"block/v2")),
        frame(HEAD.replace(b"note", b"\xff")),
        frame(HEAD.replace(b"note", b"n" * (MAX_CHECKPOINT_BYTES + 1))),
        frame(HEAD.replace(b"note", b"n" * 3 * MAX_CHECKPOINT_BYTES)),
        frame(b"[" * 100 + b"]" * 100),
        b" " * (MAX_ANSWER_BYTES + 1),
    ],
)
def test_a_block_in_another_form_is_refused(data):
    with pytest.raises(InputError, match=r"^block\.malformed"):
        parse_block(data)


@pytest.mark.parametrize(
    "data",
    [b"\0", b"\0\0\0\0", b"\0\0\0\5abcd", b"\xff\xff\xff\xff", frame(b"x") + b"\0\0\0", b"\0" * (MAX_ANSWER_BYTES + 1)],
)
def test_a_frame_that_is_empty_cut_off_or_too_long_is_refused(data):
    with pytest.raises(InputError, match=r"^block\.frame"):
        parse_frames(data)


def test_more_frames_than_allowed_are_refused():
    assert parse_frames(frame(b"x") * 3, max_count=3) == [b"x"] * 3
    with pytest.raises(InputError, match=r"^block\.frame"):
        parse_frames(frame(b"x") * 4, max_count=3)


def test_an_answer_has_at_least_one_block_and_no_more_than_fit():
    size = len(frame(TEXT))
    assert len(blocks_answer([BLOCK] * 3, max_bytes=2 * size)) == 2 * size
    assert len(blocks_answer([BLOCK] * 3, max_bytes=1)) == size


def test_a_submission_is_not_empty():
    assert parse_submission(submission([b"a", b"b"])) == [b"a", b"b"]
    with pytest.raises(InputError, match=r"^block\.frame"):
        parse_submission(b"")


def test_the_id_of_an_accepted_envelope_is_the_hash_of_its_payload():
    # SHA-256 of "abc", FIPS 180-4.
    leaf = b'{"payload":"YWJj","payloadType":"x","signatures":[]}'
    assert accepted_id(leaf).hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(InputError):
        accepted_id(b"{}")
