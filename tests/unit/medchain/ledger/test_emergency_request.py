"""Requests in an emergency: one spelling, what they say, what is refused; and the entries that they bear."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from medchain.crypto.es384 import Es384Signer
from medchain.encoding import canonical, parse_canonical
from medchain.errors import InputError
from medchain.ledger.emergency_request import BREAKING, EmergencyRequest, about, given_id, request_of
from medchain.ledger.kinds.emergency import Emergency, Review
from medchain.ledger.object import build_body, map_key
from medchain.ledger.signed_request import parse_request, read_request, sign_request
from tests.unit.medchain.ledger.kinds.case import ConsentCase, code
from tests.unit.medchain.ledger.world import ANXIN, COMMISSION, RENHE, TIME, TONGJI, fresh, genesis, key, seed

REQUEST = EmergencyRequest(
    ledger=genesis().ledger,
    custodian=RENHE,
    recipient=TONGJI,
    declaration=b"\7" * 16,
    declared=TIME - 30,
    identifier="urn:mrn|4711",
    staff="Practitioner/d17",
    reason="unconscious",
    resource_types=("*",),
    after=0,
    encryption_key=key(TONGJI, "encryption").id,
    nonce=b"\1" * 16,
    time=TIME - 5,
)


def signed(pen: str = TONGJI, **changes: object):
    return sign_request(Es384Signer(seed(pen, "authentication", 1)), replace(REQUEST, **changes))


NARROW = {"resource_types": ("Observation",), "query": "code=718-7", "count": 5, "patient": "p1"}


@pytest.mark.parametrize("changes", [{}, NARROW])
def test_a_request_is_read_as_it_was_written_and_signed(changes):
    made = signed(**changes)
    assert parse_request(EmergencyRequest, made.encode()) == made
    assert made.is_signed_by(Es384Signer(seed(TONGJI, "authentication", 1)).public)
    assert not made.is_signed_by(Es384Signer(seed(RENHE, "authentication", 1)).public)
    assert (made.request.purpose, made.request.period) == (BREAKING, None)


def test_a_request_has_the_members_of_the_specification_and_no_others():
    told = parse_canonical(signed().encode(), max_bytes=4096)["request"]
    assert told == {
        "after": 0,
        "custodian": RENHE,
        "declaration": "07" * 16,
        "declared": TIME - 30,
        "encryption_key": key(TONGJI, "encryption").id,
        "identifier": "urn:mrn|4711",
        "ledger": genesis().ledger.hex(),
        "nonce": "01" * 16,
        "reason": "unconscious",
        "recipient": TONGJI,
        "resource_types": ["*"],
        "staff": "Practitioner/d17",
        "time": TIME - 5,
        "type": "medchain/emergency-request/v1",
    }
    assert signed(**NARROW).request.to_json() == told | {
        "count": 5,
        "patient": "p1",
        "query": "code=718-7",
        "resource_types": ["Observation"],
    }


def tagged(tag: str, *parts: bytes) -> bytes:
    """Compute a digest as `docs/spec/encoding.md` says it."""
    return sha256(b"".join(len(one).to_bytes(8, "big") + one for one in (tag.encode(), *parts))).digest()


def test_each_change_is_another_request_and_another_entry():
    hashes = {signed(**changes).request.hash for changes in ({}, NARROW, {"reason": "x"}, {"staff": "y"}, {"after": 1})}
    assert len(hashes) == len({given_id(one) for one in hashes}) == 5
    assert REQUEST.hash == tagged("medchain/emergency-request/v1", canonical(REQUEST.to_json()))
    assert given_id(REQUEST.hash) == tagged("medchain/emergency-id/v1", REQUEST.hash)[:16]
    assert REQUEST.declaration_key == map_key("emergency", TONGJI, b"\7" * 16)


def test_the_asker_names_the_patient_so_that_nobody_reads_it():
    assert about(b"\7" * 16, "urn:mrn|4711") != about(b"\7" * 16, "urn:mrn|4712")
    assert about(b"\7" * 16, "urn:mrn|4711") != about(b"\1" * 16, "urn:mrn|4711")
    expected = tagged("medchain/emergency-about/v1", b"\7" * 16, "病历号".encode())
    assert about(b"\7" * 16, "病历号") == expected.hex()


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "medchain/release-request/v1"},
        {"identifier": ""},
        {"identifier": "x" * 201},
        {"staff": ""},
        {"reason": 5},
        {"patient": ""},
        {"declaration": "00"},
        {"declared": -1},
        {"count": 0},
        {"count": 1001},
        {"query": "x"},
        {"resource_types": ["*", "Observation"]},
        {"resource_types": []},
        {"purpose": "TREAT"},
        {"nonce": None},
    ],
)
def test_what_is_no_request_is_refused(changes):
    document = signed().to_json()
    with pytest.raises(InputError):
        parse_request(EmergencyRequest, canonical({**document, "request": {**document["request"], **changes}}))


@pytest.mark.parametrize(
    "changes", [{"type": "medchain/signed-release-request/v1"}, {"signature": "AA=="}, {"key_id": ""}, {"more": 1}]
)
def test_what_is_not_signed_so_is_refused(changes):
    with pytest.raises(InputError):
        read_request(EmergencyRequest, {**signed().to_json(), **changes})


# Entries


@pytest.fixture
def case():
    return ConsentCase()


def given(**changes: object) -> Emergency:
    values = {
        "custodian": RENHE,
        "recipient": TONGJI,
        "patient": "7f3a",
        "staff": REQUEST.staff,
        "reason": REQUEST.reason,
        "request_hash": REQUEST.hash,
        "count": 2,
        "commitments_root": b"\2" * 32,
        "wraps_hash": b"\3" * 32,
        "time": TIME,
    }
    return Emergency(**(values | changes))


def entry(case, content: Emergency, made: object = REQUEST, **changes: object):
    evidence = {"request": signed().to_json()} if made is REQUEST else made
    body = build_body("emergency", content.to_content(), evidence, fresh)
    terms = {"endorser": None, "own": TONGJI, "role": "holder", "object_id": given_id(REQUEST.hash)}
    return body, case.context("emergency", body, **(terms | changes))


def test_the_recipient_and_a_regulator_agree_to_what_its_request_bears(case):
    body, context = entry(case, given())
    assert code(body, context) == ""
    assert request_of(body).request == REQUEST
    shown = body.redact(set(body.content) - {"patient"})
    assert request_of(shown) is None
    assert code(shown, replace(context, own=COMMISSION)) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"staff": "Practitioner/other"},
        {"reason": "another"},
        {"request_hash": b"\1" * 32},
        {"recipient": ANXIN},
        {"time": TIME + 116},
    ],
)
def test_attack_the_custodian_tells_what_the_request_does_not_bear(case, changes):
    assert code(*entry(case, given(**changes), time=TIME + 200)) == "emergency.request"


def test_attack_the_custodian_makes_an_emergency_up(case):
    assert code(*entry(case, given(), None)) == "emergency.request"
    assert code(*entry(case, given(), {"declaration": {}})) == "emergency.request"
    assert code(*entry(case, given(), {"request": signed(RENHE).to_json()})) == "emergency.request"
    other = {"request": signed(ledger=b"\1" * 32).to_json()}
    hashed = signed(ledger=b"\1" * 32).request.hash
    content = given(request_hash=hashed)
    assert code(*entry(case, content, other, object_id=given_id(hashed))) == "emergency.request"


def test_attack_one_request_bears_two_entries(case):
    assert code(*entry(case, given(), object_id=b"\5" * 16)) == "emergency.id"


def test_a_key_that_was_exchanged_meanwhile_spoils_no_review(case):
    body, _ = entry(case, given())
    kept = case.keep("emergency", given().to_content(), body.evidence.value)
    reviewed = given(review=Review("officer", "justified", TIME + 9))
    foreign = {"request": signed(RENHE).to_json()}
    assert code(*entry(case, reviewed, foreign, status="ended", before=kept)) == ""


def test_who_asks_tells_so_and_nobody_tells_it_in_its_place(case):
    asks = given(count=0, patient=about(b"\7" * 16, REQUEST.identifier))
    terms = {"creator": TONGJI, "own": RENHE}
    assert code(*entry(case, asks, {"declaration": {}}, **terms)) == ""
    assert (asks.owner, asks.is_declared_elsewhere, given().owner) == (TONGJI, True, RENHE)
    assert code(*entry(case, asks, {"declaration": {}})) == "emergency.custodian"
    assert code(*entry(case, given(), **terms)) == "emergency.custodian"
