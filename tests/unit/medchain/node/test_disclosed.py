"""What is sealed for a claim, as bytes: one spelling, and an opening, or none, for each record."""

from __future__ import annotations

import pytest

from medchain.crypto.es384 import Es384Signer
from medchain.encoding import canonical
from medchain.errors import InputError
from medchain.ledger.evidence.disclosure import As, Disclosure, Edition, Row, role_of, sign_disclosure
from medchain.node.disclosed import Disclosed, RecordOpening, parse_disclosed
from medchain.node.release import MAX_DISCLOSURE_BYTES, ClaimAnswer, parse_claim_answer

EDITION = Edition(1, "Dr. Lin", None, None, None, ())
ROWS = (
    Row(As.CITED, b"\x01" * 16, "Condition/c1", (EDITION,)),
    Row(As.INVOICE, b"\x02" * 16, "Invoice/i1", (EDITION,)),
)
SAID = Disclosure(b"\x07" * 32, None, (), b"\x08" * 32, "renhe", "anxin", b"\x09" * 32, ROWS, b"\x0a" * 32, 5)
OPENINGS = (RecordOpening(b"\x01" * 16, 1, b'{"a":1}'), RecordOpening(b"\x02" * 16, 3, None))
DISCLOSED = Disclosed(sign_disclosure(Es384Signer(b"\x05" * 32), SAID), OPENINGS)


def document(**changes: object) -> dict:
    rows = [
        {"object": "01" * 16, "opening": {"a": 1}, "version": 1},
        {"object": "02" * 16, "opening": None, "version": 3},
    ]
    return {"openings": rows, "signed": DISCLOSED.signed.to_json(), "type": "medchain/claim-answer-sealed/v1"} | changes


def test_what_is_sealed_is_written_as_the_page_says_and_read_again():
    assert DISCLOSED.encode() == canonical(document())
    assert parse_disclosed(DISCLOSED.encode()) == DISCLOSED


@pytest.mark.parametrize(
    "openings",
    [
        document()["openings"][::-1],
        document()["openings"][:1],
        [*document()["openings"], {"object": "03" * 16, "opening": None, "version": 1}],
        [{"object": "01" * 16, "opening": [], "version": 1}, document()["openings"][1]],
        [{"object": "01" * 16, "opening": None, "version": 0}, document()["openings"][1]],
        [{"object": "01" * 16, "opening": None, "version": True}, document()["openings"][1]],
    ],
)
def test_openings_that_are_not_those_of_the_records_are_refused(openings):
    with pytest.raises(InputError, match=r"release\.malformed"):
        parse_disclosed(canonical(document(openings=openings)))


def test_another_type_and_other_members_are_refused():
    with pytest.raises(InputError, match=r"release\.malformed"):
        parse_disclosed(canonical(document(type="medchain/claim-answer-sealed/v2")))
    with pytest.raises(InputError, match=r"encoding\.members"):
        parse_disclosed(canonical(document(openings=[{"object": "01" * 16, "version": 1}])))
    with pytest.raises(InputError, match=r"encoding\.members"):
        parse_disclosed(canonical(document(openings=[7])))


def test_an_answer_is_its_header_and_what_is_sealed_and_nothing_after_it():
    answer = ClaimAnswer(b"\x0a" * 32, 4, b"sealed")
    header = canonical({"access": 4, "request": "0a" * 32, "sealed": 6, "type": "medchain/claim-release-answer/v1"})
    assert answer.encode() == len(header).to_bytes(4, "big") + header + b"sealed"
    assert parse_claim_answer(answer.encode()) == answer


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xff\xff\xff",
        ClaimAnswer(b"\x0a" * 32, 4, b"sealed").encode() + b"x",
        ClaimAnswer(b"\x0a" * 32, 4, b"sealed").encode()[:-1],
        ClaimAnswer(b"\x0a" * 32, 4, b"").encode(),
        ClaimAnswer(b"\x0a" * 32, 0, b"sealed").encode(),
        ClaimAnswer(b"\x0a" * 32, 4, b"x" * MAX_DISCLOSURE_BYTES).encode(),
    ],
)
def test_what_is_no_answer_for_a_claim_is_refused(data):
    with pytest.raises(InputError):
        parse_claim_answer(data)


def test_what_a_record_is_to_a_claim_follows_from_its_type():
    assert [role_of(one) for one in ("Encounter/e", "Invoice/i", "Condition/c", "Claim/x")] == [
        As.ENCOUNTER,
        As.INVOICE,
        As.CITED,
        As.CITED,
    ]
