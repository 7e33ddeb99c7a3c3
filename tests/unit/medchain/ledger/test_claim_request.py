"""An insurer's request as bytes: one spelling, what it binds, and what is no request."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from medchain.crypto.es384 import Es384Signer
from medchain.encoding import canonical
from medchain.errors import InputError
from medchain.ledger.claim_request import Action, ClaimRequest
from medchain.ledger.request import ReleaseRequest
from medchain.ledger.signed_request import parse_request, read_request, sign_request
from tests.unit.medchain.ledger.world import ANXIN, RENHE, TAIPING, TIME, genesis, organisation

SIGNER = Es384Signer(b"\x05" * 32)
REQUEST = ClaimRequest(
    ledger=b"\x11" * 32,
    action=Action.RESERVE,
    hospital=RENHE,
    insurer=ANXIN,
    claim_id=b"\x22" * 16,
    head=0,
    claim=b"\x33" * 32,
    amount=123450,
    currency="CNY",
    until=20_820,
    nonce=b"\x44" * 16,
    time=TIME,
)
OF_ALL = {"action": Action.RELEASE, "amount": 0, "until": None}


def test_the_request_hash_is_that_of_the_page():
    document = {
        "action": "reserve",
        "amount": 123450,
        "claim": "33" * 32,
        "claim_id": "22" * 16,
        "currency": "CNY",
        "head": 0,
        "hospital": "renhe-hospital",
        "insurer": "anxin-insurance",
        "ledger": "11" * 32,
        "nonce": "44" * 16,
        "time": TIME,
        "type": "medchain/claim-request/v1",
        "until": 20_820,
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    parts = (b"medchain/claim-request/v1", text)
    assert REQUEST.hash == hashlib.sha256(b"".join(len(one).to_bytes(8, "big") + one for one in parts)).digest()


@pytest.mark.parametrize("changes", [{}, {"action": Action.SETTLE, "until": None, "head": 3}, OF_ALL])
def test_a_request_is_read_as_it_was_written_and_signed(changes):
    signed = sign_request(SIGNER, replace(REQUEST, **changes))
    assert parse_request(ClaimRequest, signed.encode()) == signed
    assert read_request(ClaimRequest, signed.to_json()) == signed
    assert signed.is_signed_by(SIGNER.public)


def test_every_member_of_a_request_is_under_its_signature():
    changed = {
        "ledger": b"\x12" * 32,
        "action": Action.SETTLE,
        "hospital": "x",
        "insurer": "x",
        "claim_id": b"\x12" * 16,
        "head": 1,
        "claim": b"\x12" * 32,
        "amount": 123451,
        "currency": "USD",
        "until": 20_821,
        "nonce": b"\x12" * 16,
        "time": 1,
    }
    signed = sign_request(SIGNER, REQUEST)
    for name, value in changed.items():
        assert not replace(signed, request=replace(REQUEST, **{name: value})).is_signed_by(SIGNER.public), name


def test_a_request_is_of_the_insurer_that_signed_it_with_a_key_that_it_has_for_its_ledger():
    anxin, taiping = organisation(ANXIN, "insurer"), organisation(TAIPING, "insurer")
    pen = Es384Signer(hashlib.sha256(b"anxin-insurance/authentication/1").digest())
    signed = sign_request(pen, replace(REQUEST, ledger=genesis().ledger))
    assert signed.is_of(anxin, genesis().ledger)
    assert not signed.is_of(anxin, b"\x11" * 32)
    assert not signed.is_of(taiping, genesis().ledger)
    assert not sign_request(SIGNER, signed.request).is_of(anxin, genesis().ledger)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "medchain/release-request/v1"},
        {"action": "refund"},
        {"action": "reverse"},
        {"action": "buy"},
        {"amount": 0},
        {"amount": -1},
        {"amount": 10**15 + 1},
        {"amount": True},
        {"currency": "cny"},
        {"until": None},
        {"until": -1},
        {"until": "tomorrow"},
        {"action": "settle"},
        {"action": "release", "until": None},
        {"action": "release", "amount": 0},
        {"head": -1},
        {"claim": "33" * 31},
        {"claim_id": "22" * 32},
        {"hospital": ""},
        {"insurer": "x" * 201},
        {"time": -1},
        {"nonce": "44"},
        {"extra": 1},
    ],
)
def test_what_is_no_request_is_refused(changes):
    document = sign_request(SIGNER, REQUEST).to_json()
    with pytest.raises(InputError):
        parse_request(ClaimRequest, canonical({**document, "request": {**document["request"], **changes}}))


@pytest.mark.parametrize("name", ["until", "head", "type"])
def test_a_request_that_lacks_a_member_is_refused(name):
    document = sign_request(SIGNER, REQUEST).to_json()
    del document["request"][name]
    with pytest.raises(InputError, match=r"encoding\.members"):
        read_request(ClaimRequest, document)


def test_requests_of_two_kinds_are_never_taken_for_each_other():
    document = sign_request(SIGNER, REQUEST).to_json()
    with pytest.raises(InputError, match=r"^claim\.malformed"):
        read_request(ClaimRequest, {**document, "type": ReleaseRequest.SIGNED_TYPE})
    with pytest.raises(InputError, match=r"^release\.malformed"):
        read_request(ReleaseRequest, document)
