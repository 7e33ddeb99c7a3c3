"""``evidence.json``: one spelling, bounded, and a question that is answered exactly where it was."""

from __future__ import annotations

import pytest

from medchain.crypto.es384 import Es384Signer
from medchain.encoding import base64_text, canonical, digest, parse_canonical
from medchain.errors import InputError
from medchain.ledger.claim_question import ClaimQuestion, Unanswered
from medchain.ledger.evidence.document import (
    Asked,
    Evidence,
    Held,
    InsurancePolicy,
    Questioned,
    claim_digest,
    parse_evidence,
)
from medchain.ledger.signed_request import sign_request
from tests.unit.medchain.claims.questions import row
from tests.unit.medchain.ledger.evidence.test_disclosure import SIGNED
from tests.unit.medchain.ledger.world import ANXIN, RENHE, TONGJI, seed

CLAIM = b'{"resourceType":"Claim","total":{"value":8422.80,"currency":"CNY"}}'
QUESTION = sign_request(
    Es384Signer(seed(ANXIN, "authentication", 1)),
    ClaimQuestion(
        ledger=b"\3" * 32, nonce=b"\0" * 16, time=1_796_083_200, hospital=RENHE, insurer=ANXIN, rows=(row(),)
    ),
)
EVIDENCE = Evidence(
    ledger=b"\3" * 32,
    insurer=ANXIN,
    content=CLAIM,
    held=(Held(RENHE, "Condition/c1", 1, b"\7" * 32), Held(TONGJI, "Condition/c1", 1, b"\7" * 32)),
    policy=InsurancePolicy("2025-09-01", None, 30),
    row=QUESTION.request.rows[0],
    disclosures=(SIGNED,),
    question=Questioned(Asked.UNKNOWN, QUESTION.request.hospital, QUESTION, Unanswered.UNKNOWN),
)


def test_evidence_is_read_again_as_it_was_written():
    assert parse_evidence(EVIDENCE.encode()) == EVIDENCE


def test_evidence_without_anything_is_read():
    bare = Evidence(b"\3" * 32, ANXIN, CLAIM, (), None, None, (), Questioned(Asked.NONE))
    assert parse_evidence(bare.encode()) == bare


def test_a_claim_is_named_by_its_exact_bytes():
    assert EVIDENCE.claim == digest("medchain/insurer-claim/v1", CLAIM)
    assert claim_digest(CLAIM.replace(b"8422.80", b"8422.8")) != EVIDENCE.claim


def spoiled(spoil) -> bytes:
    document = parse_canonical(EVIDENCE.encode(), max_bytes=1 << 20)
    spoil(document)
    return canonical(document)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.update(type="medchain/evidence/v1"),
        lambda d: d["claim"].pop("row"),
        lambda d: d["claim"].update(content="x"),
        lambda d: d["claim"].update(content=base64_text(b" " * (1 << 20) + b"x" * 4)),
        lambda d: d["claim"].update(held=7),
        lambda d: d["claim"]["held"].reverse(),
        lambda d: d["claim"]["held"].append(d["claim"]["held"][-1]),
        lambda d: d["claim"].update(held=[d["claim"]["held"][0]] * 1001),
        lambda d: d["claim"]["policy"].update(start="2025-9-1"),
        lambda d: d["claim"]["policy"].update(end="20270901"),
        lambda d: d["claim"]["policy"].update(end=20270901),
        lambda d: d["claim"]["policy"].update(waiting_days=3651),
        lambda d: d["claim"]["policy"].update(waiting_days=-1),
        lambda d: d.update(disclosures=[SIGNED.to_json()] * 2),
        lambda d: d.update(disclosures=7),
        lambda d: d["question"].update(state="maybe"),
        lambda d: d["question"].update(state="known"),
        lambda d: d["question"].update(state="none"),
        lambda d: d["question"].update(signed=None),
        lambda d: d["question"].update(answer=None),
        lambda d: d["question"].update(answer={"answer": "stopped"}),
        lambda d: d["question"].update(answer={"answer": "perhaps"}),
    ],
)
def test_what_is_no_evidence_is_refused(spoil):
    with pytest.raises(InputError):
        parse_evidence(spoiled(spoil))


def test_evidence_beyond_its_bound_is_refused():
    with pytest.raises(InputError, match=r"^encoding\.too_large"):
        parse_evidence(b"[" * (4 * 1024 * 1024 + 1))
