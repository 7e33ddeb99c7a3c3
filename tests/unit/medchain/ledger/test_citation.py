"""What a claim cites, as bytes: one spelling, and nothing in it by which more could be found out than is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.crypto.es384 import Es384Signer
from medchain.encoding import canonical
from medchain.errors import InputError
from medchain.ledger.citation import Ask, Citation, Posted, citation_of, parse_posted
from medchain.ledger.request import CitedClaim, ReleaseRequest
from medchain.ledger.signed_request import parse_request, sign_request
from tests.unit.medchain.ledger.test_request import REQUEST, by_hand, tagged

CITED = ("Condition/c1", "Encounter/e1")
ASKS = (Ask.age("2026-11-10", 18), Ask.code("Condition/c1", "E10-E14,I10"), Ask.stay("Encounter/e1", 3))
CITATION = Citation(CITED, 1_796_083_199, "2026-11-10", "2026-11-14", ASKS, b"\x66" * 32)
SIGNER = Es384Signer(b"\x05" * 32)


def request_for(citation: Citation = CITATION, **changes: object) -> ReleaseRequest:
    made = {"resource_types": citation.resource_types, "period": None, "claim": CitedClaim(b"\x77" * 32, citation.hash)}
    return replace(REQUEST, **(made | changes))


def posted(citation: Citation | None = CITATION, **changes: object) -> bytes:
    return Posted(sign_request(SIGNER, request_for(**changes)), citation).encode()


def test_the_hash_of_a_citation_is_that_of_the_page():
    document = {
        "asks": [
            {"arguments": {"day": "2026-11-10", "years": 18}, "name": "age_at_least"},
            {"arguments": {"list": "E10-E14,I10", "reference": "Condition/c1"}, "name": "code_in"},
            {"arguments": {"days": 3, "encounter": "Encounter/e1"}, "name": "stay_at_most"},
        ],
        "cited": ["Condition/c1", "Encounter/e1"],
        "created": 1_796_083_199,
        "salt": "66" * 32,
        "services": {"end": "2026-11-14", "start": "2026-11-10"},
        "type": "medchain/claim-citation/v1",
    }
    assert CITATION.hash == tagged("medchain/claim-citation/v1", by_hand(document))
    assert Citation.read(document) == CITATION


def test_a_signed_request_names_claim_and_citation_by_hashes_alone():
    request = request_for()
    document = request.to_json()
    assert document["claim"] == {"citation": CITATION.hash.hex(), "digest": "77" * 32}
    assert request.hash == tagged("medchain/release-request/v1", by_hand(document))
    signed = sign_request(SIGNER, request)
    assert parse_request(ReleaseRequest, signed.encode()) == signed
    other = replace(request, claim=CitedClaim(b"\x78" * 32, CITATION.hash))
    assert not replace(signed, request=other).is_signed_by(SIGNER.public)


def test_request_and_citation_are_posted_together_and_read_again():
    assert parse_posted(posted()).citation == CITATION
    plain = Posted(sign_request(SIGNER, REQUEST)).encode()
    assert parse_posted(plain) == Posted(parse_request(ReleaseRequest, plain))


def test_a_new_citation_is_sorted_and_its_hash_tells_nothing_without_the_salt():
    cited, days, asks = [*reversed(CITED), CITED[0]], ("2026-11-10", "2026-11-14"), ASKS[::-1]
    made = [citation_of(cited, 1_796_083_199, days, bytes([at]) * 32, asks) for at in (0x66, 0x67)]
    assert made[0] == CITATION
    assert made[0].hash != made[1].hash


@pytest.mark.parametrize(
    "document",
    [
        posted(None),
        posted(replace(CITATION, salt=b"\x67" * 32)),
        posted(resource_types=("Condition",)),
        Posted(sign_request(SIGNER, request_for(claim=None)), CITATION).encode(),
    ],
)
def test_a_citation_that_is_not_the_one_that_the_request_names_is_refused(document):
    with pytest.raises(InputError, match=r"release\.citation"):
        parse_posted(document)


@pytest.mark.parametrize(
    "changes",
    [
        {"period": REQUEST.period},
        {"after": 1},
        {"count": 10},
        {"resource_types": ("Condition",), "query": "code=1"},
        {"resource_types": ("*",)},
    ],
)
def test_a_request_for_a_claim_asks_for_nothing_beside_its_citation(changes):
    with pytest.raises(InputError, match=r"release\.malformed"):
        ReleaseRequest.read(request_for(**changes).to_json())


@pytest.mark.parametrize(
    "changes",
    [
        {"cited": []},
        {"cited": ["Encounter/e1", "Condition/c1"]},
        {"cited": ["Condition/c1", "Condition/c1"]},
        {"cited": ["https://renhe.example/fhir/Condition/c1"]},
        {"cited": ["Condition/c1/_history/1"]},
        {"cited": [7]},
        {"cited": [f"Condition/{at:03}" for at in range(401)]},
        {"created": -1},
        {"services": {"end": "2026-11-09", "start": "2026-11-10"}},
        {"services": {"end": "2026-11-31", "start": "2026-11-10"}},
        {"services": {"end": "2026-11", "start": "2026-11"}},
        {"type": "medchain/claim-citation/v2"},
    ],
)
def test_what_is_no_citation_is_refused(changes):
    with pytest.raises(InputError, match=r"release\.malformed"):
        Citation.read({**CITATION.to_json(), **({"asks": []} if "cited" in changes else {}), **changes})


def told(*asks: Ask) -> dict:
    return {**CITATION.to_json(), "asks": [one.to_json() for one in asks]}


@pytest.mark.parametrize(
    "asks",
    [
        (Ask.age("2026-11-10", 18), Ask.age("2026-11-10", 19)),
        (Ask.age("2026-11-10", 18), Ask.age("2026-11-11", 18)),
        (Ask.code("Condition/c1", "E10"), Ask.code("Condition/c1", "E11")),
        (Ask.stay("Encounter/e1", 3), Ask.stay("Encounter/e1", 4)),
        (Ask.code("Condition/c2", "E10"),),
        (Ask.stay("Encounter/e2", 3),),
        (ASKS[1], ASKS[0]),
        (ASKS[0], ASKS[0]),
        (Ask("category", (("reference", "Condition/c1"),)),),
        (Ask.age("2026-11-10", 19),),
        (Ask.age("2026-11-11", 18),),
        (Ask.age("2026-11-14", 18),),
        (Ask.stay("Encounter/e1", 3651),),
        (Ask.code("Condition/c1", "E11.9"),),
        (Ask.code("Condition/c1", "E14-E10"),),
        (Ask.code("Condition/c1", "I10,E10"),),
        (Ask.code("Condition/c1", ""),),
        (Ask.code("Condition/c1", ",".join(f"A{at:02}" for at in range(21))),),
        (Ask.age("10 November", 18),),
    ],
)
def test_attack_statements_by_which_a_birth_date_or_a_code_is_narrowed_down(asks):
    with pytest.raises(InputError, match=r"release\.malformed"):
        Citation.read(told(*asks))


def test_a_statement_has_exactly_its_arguments():
    with pytest.raises(InputError, match=r"encoding\.members"):
        Citation.read({**CITATION.to_json(), "asks": [{"arguments": {"day": "2026-11-10"}, "name": "age_at_least"}]})


def test_most_statements_of_a_citation_are_forty():
    cited = [f"Condition/{at:02}" for at in range(41)]
    asks = [Ask.code(one, "E10") for one in cited]
    days = ("2026-11-10", "2026-11-10")
    assert len(citation_of(cited, 1, days, b"\x66" * 32, asks[:40]).asks) == 40
    with pytest.raises(InputError, match=r"release\.malformed"):
        citation_of(cited, 1, days, b"\x66" * 32, asks)


def test_what_is_posted_is_bounded_before_it_is_read():
    with pytest.raises(InputError, match=r"encoding\.too_large"):
        parse_posted(canonical({"type": "x" * (128 * 1024)}))
    with pytest.raises(InputError, match=r"encoding\.too_large"):
        parse_posted(canonical({"type": "x" * (40 * 1024)}))
