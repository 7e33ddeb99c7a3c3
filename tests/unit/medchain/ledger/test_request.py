"""Requests as bytes: one spelling each, and what is no request."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from medchain.crypto.es384 import Es384Signer
from medchain.encoding import canonical
from medchain.errors import InputError
from medchain.ledger.kinds.content import Period
from medchain.ledger.request import ReleaseRequest, access_id, access_key
from medchain.ledger.signed_request import parse_request, sign_request

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


def test_a_search_and_a_count_are_members_of_their_own_and_absent_without():
    narrowed = replace(REQUEST, resource_types=("Observation",), query="code=718-7", count=10)
    document = REQUEST.to_json() | {"count": 10, "query": "code=718-7", "resource_types": ["Observation"]}
    assert narrowed.hash == tagged("medchain/release-request/v1", by_hand(document))
    signed = sign_request(SIGNER, narrowed)
    assert parse_request(ReleaseRequest, signed.encode()) == signed
    for changed in (replace(narrowed, query="code=1"), replace(narrowed, count=11), replace(narrowed, count=None)):
        assert not replace(signed, request=changed).is_signed_by(SIGNER.public)


@pytest.mark.parametrize(
    "changes",
    [
        {"query": "code=1", "resource_types": ("Condition", "Observation")},
        {"query": "code=1", "resource_types": ("*",)},
        {"query": "code=值"},
        {"query": "a=" + "1" * 4095},
        {"count": 0},
        {"count": 1001},
        {"count": -1},
    ],
)
def test_a_search_of_several_types_and_what_is_no_search_or_count_is_refused(changes):
    signed = sign_request(SIGNER, replace(REQUEST, **({"resource_types": ("Observation",)} | changes)))
    with pytest.raises(InputError, match=r"release\.malformed"):
        parse_request(ReleaseRequest, signed.encode())


@pytest.mark.parametrize("changes", [{"query": ""}, {"count": None}, {"query": None}])
def test_a_member_that_asks_nothing_is_refused_as_another_spelling(changes):
    document = sign_request(SIGNER, REQUEST).to_json()
    document["request"] |= changes
    with pytest.raises(InputError):
        parse_request(ReleaseRequest, canonical(document))


def test_a_signed_request_is_read_as_it_was_written():
    signed = sign_request(SIGNER, REQUEST)
    assert parse_request(ReleaseRequest, signed.encode()) == signed
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
        parse_request(ReleaseRequest, spoiled(**changes))


def test_a_request_of_another_type_is_refused():
    document = json.loads(sign_request(SIGNER, REQUEST).encode())
    document["request"]["type"] = "medchain/signed-release-request/v1"
    with pytest.raises(InputError, match=r"release\.malformed"):
        parse_request(ReleaseRequest, by_hand(document))


def test_another_spelling_of_a_request_is_refused():
    with pytest.raises(InputError, match=r"encoding\.not_canonical"):
        parse_request(ReleaseRequest, sign_request(SIGNER, REQUEST).encode() + b" ")


def test_a_request_is_bounded_before_it_is_read():
    with pytest.raises(InputError, match=r"encoding\.too_large"):
        parse_request(ReleaseRequest, b"{" * (32 * 1024 + 1))


def test_the_chain_of_accesses_follows_from_the_grant():
    grant = b"\x22" * 32
    expected = tagged("medchain/access-id/v1", grant, b"renhe-hospital")[:16]
    assert access_id(grant, "renhe-hospital") == expected
    assert access_key(grant, "renhe-hospital") == tagged("medchain/object/v1", b"access", b"renhe-hospital", expected)
    assert access_id(grant, "tongji-hospital") != expected
