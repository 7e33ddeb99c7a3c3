"""Disclosures for a claim: one spelling, one signature, and nothing that a reader would have to guess."""

from __future__ import annotations

import pytest

from medchain.crypto.es384 import Es384Signer
from medchain.encoding import canonical
from medchain.errors import InputError
from medchain.ledger.evidence.disclosure import (
    As,
    Disclosure,
    Edition,
    Row,
    checked_reference,
    parse_disclosure,
    sign_disclosure,
)
from medchain.ledger.evidence.statements import Fact, read_fact
from medchain.ledger.kinds.content import Period
from medchain.ledger.object import map_key
from tests.unit.medchain.ledger.world import ANXIN, RENHE, key, seed

SIGNER = Es384Signer(seed(RENHE, "authentication", 1))
FIRST = Edition(1, "刘欣妍", "his-renhe", 1_757_000_060, Period(1_757_000_000, None), ())
SECOND = Edition(2, None, None, None, None, ("/note/0/text", "/onsetDateTime"))
SAID = Disclosure(
    claim=b"\1" * 32,
    decision={"rule": "one-claim"},
    facts=(
        Fact("alive_on", {"day": "2026-09-06"}, value=True),
        Fact("category", {"reference": "Condition/c1"}, None),
        Fact("record_count", {"encounter": "Encounter/e1", "type": "Observation"}, 14),
    ),
    grant=b"\2" * 32,
    hospital=RENHE,
    insurer=ANXIN,
    ledger=b"\3" * 32,
    records=(
        Row(As.CITED, b"\4" * 16, "Condition/c1", (FIRST, SECOND)),
        Row(As.INVOICE, b"\5" * 16, "Invoice/i1", (FIRST,)),
    ),
    request=b"\6" * 32,
    time=1_796_083_200,
)
SIGNED = sign_disclosure(SIGNER, SAID)


def changed(spoil) -> bytes:
    document = SIGNED.to_json()
    spoil(document)
    return canonical(document)


def test_what_is_said_is_read_again_as_it_was_signed():
    read = parse_disclosure(SIGNED.encode())
    assert (read, read.encode()) == (SIGNED, SIGNED.encode())
    assert read.key_id == key(RENHE, "authentication").id
    assert read.is_signed_by(SIGNER.public)
    assert not read.is_signed_by(Es384Signer(seed("other")).public)
    assert [row.type for row in read.disclosure.records] == ["Condition", "Invoice"]
    assert read.disclosure.key(read.disclosure.records[0]) == map_key("record", RENHE, b"\4" * 16)


def test_a_disclosure_without_decision_is_read():
    said = changed(lambda document: document["disclosure"].update(decision=None))
    assert parse_disclosure(said).disclosure.decision is None


def test_names_of_changed_fields_are_as_many_and_as_long_as_is_said():
    names = [f"/{at:03}" for at in range(199)] + ["/" + "\u4e00" * 85]
    said = changed(lambda document: version(document, 1).update(changed=names))
    assert parse_disclosure(said).disclosure.records[0].versions[1].changed == tuple(names)


def test_a_changed_word_is_not_what_was_signed():
    said = changed(lambda document: document["disclosure"]["records"][0]["versions"][0].update(author="another"))
    assert not parse_disclosure(said).is_signed_by(SIGNER.public)


def row(document, place=0):
    return document["disclosure"]["records"][place]


def version(document, place=0):
    return row(document)["versions"][place]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.update(type="medchain/claim-disclosure/v1"),
        lambda d: d.update(signature="AA=="),
        lambda d: d["disclosure"].pop("decision"),
        lambda d: d["disclosure"].update(decision=7),
        lambda d: d["disclosure"].update(type="medchain/claim-disclosure/v2"),
        lambda d: d["disclosure"].update(more=1),
        lambda d: d["disclosure"].update(time=-1),
        lambda d: d["disclosure"]["records"].reverse(),
        lambda d: d["disclosure"]["records"].append(row(d, 1)),
        lambda d: row(d, 1).update(object=row(d)["object"]),
        lambda d: d["disclosure"].update(records=[{**row(d), "reference": f"Condition/c{n}"} for n in range(481)]),
        lambda d: d["disclosure"]["facts"].reverse(),
        lambda d: d["disclosure"].update(facts=7),
        lambda d: row(d).update({"as": "seen"}),
        lambda d: row(d, 1).update({"as": "cited"}),
        lambda d: row(d).update({"as": "encounter"}),
        lambda d: row(d).update(reference="condition/c1"),
        lambda d: row(d).update(reference="Condition/c1/x"),
        lambda d: row(d).update(versions=[]),
        lambda d: row(d)["versions"].pop(0),
        lambda d: version(d).pop("author"),
        lambda d: version(d).update(author=""),
        lambda d: version(d).update(entered=-1),
        lambda d: version(d).update(event={"start": 1}),
        lambda d: version(d).update(changed=["/a"]),
        lambda d: version(d, 1).update(changed=["/b", "/a"]),
        lambda d: version(d, 1).update(changed=["a"]),
        lambda d: version(d, 1).update(changed=["/" + "a" * 256]),
        lambda d: version(d, 1).update(changed=["/" + "\u4e00" * 86]),
        lambda d: version(d, 1).update(changed=[f"/{at:03}" for at in range(201)]),
        lambda d: version(d, 1).update(changed=7),
    ],
)
def test_what_is_no_disclosure_is_refused(spoil):
    with pytest.raises(InputError):
        parse_disclosure(changed(spoil))


@pytest.mark.parametrize(
    "fact",
    [
        7,
        {"arguments": {}, "name": "alive_on"},
        {"arguments": {}, "name": 7, "value": True},
        {"arguments": {}, "name": "is_rich", "value": True},
        {"arguments": 7, "name": "alive_on", "value": True},
        {"arguments": {}, "name": "alive_on", "value": True},
        {"arguments": {"day": 7}, "name": "alive_on", "value": True},
        {"arguments": {"day": "2026-09-06", "more": 1}, "name": "alive_on", "value": True},
        {"arguments": {"day": "2026-09-06"}, "name": "alive_on", "value": 1},
        {"arguments": {"day": "2026-09-06"}, "name": "alive_on", "value": [True]},
        {"arguments": {"day": ""}, "name": "alive_on", "value": True},
        {"arguments": {"reference": "Condition/c1"}, "name": "category", "value": "x" * 201},
        {"arguments": {"from": True, "to": 2}, "name": "emergency_accesses", "value": 1},
    ],
)
def test_a_statement_beyond_the_vocabulary_is_refused(fact):
    with pytest.raises(InputError, match=r"^disclosure\.fact"):
        read_fact(fact)


def test_a_statement_that_is_not_known_is_read():
    told = {"arguments": {"from": 1, "to": 2}, "name": "emergency_accesses", "value": None}
    assert read_fact(told).value is None


def test_a_reference_is_a_type_and_an_id():
    assert checked_reference("Condition/c.1-A") == "Condition/c.1-A"
    for text in ("Condition", "Condition/", "Condition/a/b", "Condition/é", 7):
        with pytest.raises(InputError):
            checked_reference(text)
