"""Requests and answers as bytes: one spelling each, and what is no request or answer."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from medchain.crypto.es384 import Es384Signer
from medchain.errors import InputError
from medchain.ledger.kinds.content import Period
from medchain.node import release
from medchain.node.release import (
    Answer,
    ReleasedRecord,
    ReleaseRequest,
    access_entry_id,
    access_id,
    access_key,
    commitments_root,
    parse_answer,
    parse_request,
    sign_request,
    wraps_hash,
)

REQUEST = ReleaseRequest(
    ledger=b"\x11" * 32,
    custodian="renhe-hospital",
    recipient="anxin-insurance",
    grant=b"\x22" * 32,
    purpose="HPAYMT",
    resource_types=("Condition", "Observation"),
    period=Period(5, None),
    after=0,
    encryption_key="33" * 16,
    nonce=b"\x44" * 16,
    time=1_796_083_300,
)
SIGNER = Es384Signer(b"\x05" * 32)
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


def test_the_request_hash_is_that_of_the_page():
    document = {
        "after": 0,
        "custodian": "renhe-hospital",
        "encryption_key": "33" * 16,
        "grant": "22" * 32,
        "ledger": "11" * 32,
        "nonce": "44" * 16,
        "period": {"end": None, "start": 5},
        "purpose": "HPAYMT",
        "recipient": "anxin-insurance",
        "resource_types": ["Condition", "Observation"],
        "time": 1_796_083_300,
        "type": "medchain/release-request/v1",
    }
    assert REQUEST.hash == tagged("medchain/release-request/v1", by_hand(document))


def test_a_signed_request_is_read_as_it_was_written():
    signed = sign_request(SIGNER, REQUEST)
    assert parse_request(signed.encode()) == signed
    assert signed.is_signed_by(SIGNER.public)
    assert not replace(signed, request=replace(REQUEST, after=1)).is_signed_by(SIGNER.public)


def test_every_member_of_a_request_is_under_its_hash():
    changed = {
        "ledger": b"\x12" * 32,
        "custodian": "x",
        "recipient": "x",
        "grant": b"\x12" * 32,
        "purpose": "x",
        "resource_types": ("*",),
        "period": None,
        "after": 1,
        "encryption_key": "12" * 16,
        "nonce": b"\x12" * 16,
        "time": 1,
    }
    hashes = {replace(REQUEST, **{name: value}).hash for name, value in changed.items()}
    assert len(hashes | {REQUEST.hash}) == len(changed) + 1


def spoiled(**changes: object) -> bytes:
    """Write a signed request with other members; an ellipsis leaves one out."""
    document = json.loads(sign_request(SIGNER, REQUEST).encode())
    for name, value in changes.items():
        target = document["request"] if name in document["request"] and name != "type" else document
        if value is ...:
            del target[name]
        else:
            target[name] = value
    return by_hand(document)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "medchain/release-request/v1"},
        {"signature": "AAAA"},
        {"signature": "not base64"},
        {"key_id": "33"},
        {"key_id": "AB" * 16},
        {"request": []},
        {"request": {"period": None}},
        {"period": ...},
        {"period": {"start": 3}},
        {"period": 3},
        {"after": -1},
        {"after": "0"},
        {"after": ...},
        {"time": -1},
        {"time": True},
        {"resource_types": []},
        {"resource_types": ["Observation", "Condition"]},
        {"resource_types": ["*", "Observation"]},
        {"grant": "22" * 31},
        {"custodian": ""},
        {"purpose": "x" * 201},
        {"extra": 1},
    ],
)
def test_what_is_no_request_is_refused(changes):
    with pytest.raises(InputError):
        parse_request(spoiled(**changes))


def test_a_request_of_another_type_is_refused():
    document = json.loads(sign_request(SIGNER, REQUEST).encode())
    document["request"]["type"] = "medchain/signed-release-request/v1"
    with pytest.raises(InputError, match=r"release\.malformed"):
        parse_request(by_hand(document))


def test_another_spelling_of_a_request_is_refused():
    with pytest.raises(InputError, match=r"encoding\.not_canonical"):
        parse_request(sign_request(SIGNER, REQUEST).encode() + b" ")


def test_a_request_is_bounded_before_it_is_read():
    with pytest.raises(InputError, match=r"encoding\.too_large"):
        parse_request(b"{" * (32 * 1024 + 1))


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


def test_the_chain_of_accesses_follows_from_the_grant():
    grant = b"\x22" * 32
    expected = tagged("medchain/access-id/v1", grant, b"renhe-hospital")[:16]
    assert access_id(grant, "renhe-hospital") == expected
    assert access_key(grant, "renhe-hospital") == tagged("medchain/object/v1", b"access", b"renhe-hospital", expected)
    assert access_id(grant, "tongji-hospital") != expected


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
