"""Answers as bytes: one spelling each, and what is no answer."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from medchain.errors import InputError
from medchain.node import release
from medchain.node.release import Answer, ReleasedRecord, access_entry_id, commitments_root, parse_answer, wraps_hash

ANSWER = Answer(
    b"\x66" * 32,
    3,
    b"wraps",
    (
        ReleasedRecord(b"\x07" * 16, 1, "application/fhir+json", 9, b"first"),
        ReleasedRecord(b"\x08" * 16, 2, "application/fhir+json", 8, b"second!"),
    ),
    77,
)


def tagged(tag: str, *fields: bytes) -> bytes:
    """Compute the tagged digest by hand (`docs/spec/encoding.md`)."""
    parts = (tag.encode(), *fields)
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


def by_hand(value: object) -> bytes:
    """Write canonical JSON by another encoder."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("following", [77, None])
def test_an_answer_is_read_as_it_was_written(following):
    answer = replace(ANSWER, following=following, oversized=2)
    assert parse_answer(answer.encode()) == answer


def test_an_answer_is_the_size_of_its_header_the_header_the_wraps_and_the_envelopes():
    header = by_hand(
        {
            "access": 3,
            "following": 77,
            "oversized": 0,
            "records": [["07" * 16, 1, "application/fhir+json", 9, 5], ["08" * 16, 2, "application/fhir+json", 8, 7]],
            "request": "66" * 32,
            "type": "medchain/release-answer/v1",
            "wraps": 5,
        }
    )
    assert ANSWER.encode() == len(header).to_bytes(4, "big") + header + b"wraps" + b"first" + b"second!"


def answer_with(**changes: object) -> bytes:
    """Write an answer with other members in its header."""
    data = ANSWER.encode()
    size = int.from_bytes(data[:4], "big")
    header = by_hand({**json.loads(data[4 : 4 + size]), **changes})
    return len(header).to_bytes(4, "big") + header + data[4 + size :]


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "medchain/release-request/v1"},
        {"access": 0},
        {"access": "3"},
        {"following": -1},
        {"oversized": -1},
        {"request": "66"},
        {"wraps": 0},
        {"wraps": 4},
        {"wraps": 100},
        {"records": []},
        {"records": [["07" * 16, 1, "application/fhir+json", 9, 12]] * 1001},
        {"records": [7]},
        {"records": [["07" * 16, 1, "application/fhir+json", 9]]},
        {"records": [["07" * 16, 0, "application/fhir+json", 9, 12]]},
        {"records": [["07" * 16, 1, "", 9, 12]]},
        {"records": [["07" * 16, 1, 5, 9, 12]]},
        {"records": [["07" * 16, 1, "é", 9, 12]]},
        {"records": [["07" * 16, 1, "a" * 101, 9, 12]]},
        {"records": [["07" * 16, 1, "application/fhir+json", -1, 12]]},
        {"records": [["07" * 16, 1, "application/fhir+json", 9, 0]]},
        {"records": [["07" * 16, 1, "application/fhir+json", 9, 11]]},
        {"more": 1},
    ],
)
def test_what_is_no_answer_is_refused(changes):
    with pytest.raises(InputError):
        parse_answer(answer_with(**changes))


def test_an_answer_is_bounded(monkeypatch):
    monkeypatch.setattr(release, "MAX_ANSWER_BYTES", len(ANSWER.encode()) - 1)
    with pytest.raises(InputError, match=r"release\.malformed"):
        parse_answer(ANSWER.encode())


def test_an_entry_is_named_by_object_and_version():
    assert access_entry_id(b"\x01" * 32, 2) == tagged("medchain/access-entry/v1", b"\x01" * 32, b"\0\0\0\0\0\0\0\x02")


def test_the_wraps_have_their_own_hash():
    assert wraps_hash(b"wraps") == tagged("medchain/release-wraps/v1", b"wraps")


def test_what_is_released_is_the_root_of_a_log_tree():
    rows = [(bytes([at]) * 32, at, bytes([at + 9]) * 32) for at in (1, 2, 3)]
    first, second, third = (
        hashlib.sha256(
            b"\0" + tagged("medchain/released-record/v1", key, version.to_bytes(8, "big"), commitment)
        ).digest()
        for key, version, commitment in rows
    )
    left = hashlib.sha256(b"\1" + first + second).digest()
    # RFC 6962 §2.1 for three leaves.
    assert commitments_root(rows) == hashlib.sha256(b"\1" + left + third).digest()
