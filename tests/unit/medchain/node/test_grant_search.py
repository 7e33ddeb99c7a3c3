"""Which grants are about a patient: what a custodian tells whom, and what the asker believes."""

from __future__ import annotations

import json
import time

import pytest

from medchain.encoding import canonical, parse_canonical, unhex
from medchain.errors import InputError, UnavailableError
from medchain.ledger.object import Body
from medchain.ledger.one_claim import OneClaim
from medchain.node.grant_search import GrantQuestion, parse_question
from medchain.node.records import NewRecord
from tests.unit.medchain.ledger.world import fresh, genesis
from tests.unit.medchain.node.desks import phone_of, running_desks
from tests.unit.medchain.node.federation import ANXIN, DAY_S, NOW, RENHE, TONGJI

LEDGER = genesis().ledger


@pytest.fixture(scope="module")
def desks(tmp_path_factory):
    with running_desks(tmp_path_factory.mktemp("grants")) as made:
        yield made


@pytest.fixture(scope="module")
def granted(desks):
    """A patient, an observation of hers that is final, and the insurer's grant."""
    phone = phone_of("wang")
    subject = desks.enrol(phone, "p1")
    site = desks.federation.sites[RENHE]
    content = json.dumps({"resourceType": "Observation", "id": "o1", "subject": {"reference": "Patient/p1"}}).encode()
    hidden = json.dumps({"resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/p1"}}).encode()
    site.service.create_many(
        [NewRecord("Observation", "o1", content, "p1"), NewRecord("Condition", "c1", hidden, "p1")]
    )
    for _ in range(6000):
        site.node.anchor.round()
        if not site.records.pending(1, kind="anchor"):
            break
        time.sleep(0.01)
    consent = desks.consent(phone, subject, resource_types=["Observation"])
    key = str(desks.local().call("grant.give", {"consent": consent})["key"])
    desks.everywhere(key, 1)
    return key


def question(about="Patient/p1", purpose="HPAYMT", types=("Observation",)) -> GrantQuestion:
    return GrantQuestion(about, purpose, types, fresh(16))


def asked(desks, peer=ANXIN, **changes: object) -> list[str]:
    """Ask the hospital as a member's daemon does."""
    answer = desks.nodes[RENHE].grants(question(**changes).encode(LEDGER), peer)
    assert answer["type"] == "medchain/grant-answer/v1"
    return answer["grants"]


def reasons(desks) -> list[str]:
    return [row["reason"] for row in refused(desks)]


def refused(desks) -> list[dict]:
    """List what the hospital noted of what it refused."""
    records = desks.federation.sites[RENHE].records
    token = desks.federation.sites[RENHE].service.patient_token("p1")
    rows = [*records.accesses(""), *records.accesses(token)]
    return [parse_canonical(row.detail, max_bytes=4096) for row in rows if row.direction == "refused"]


@pytest.mark.parametrize(
    ("about", "types"),
    [("Patient/p1", ("Observation",)), ("Patient/p1", ("*",)), ("Observation/o1", ("Observation",))],
)
def test_a_recipient_is_told_its_grants_about_a_patient(desks, granted, about, types):
    assert asked(desks, about=about, types=types) == [granted]


@pytest.mark.parametrize(
    "changes",
    [
        {"peer": TONGJI},
        {"purpose": "TREAT"},
        {"types": ("Condition",)},
        {"about": "Patient/p2"},
        {"about": "Observation/o2"},
        {"about": "Condition/c1", "types": ("Condition",)},
    ],
)
def test_absent_and_forbidden_get_the_same_answer_and_are_noted(desks, granted, changes):
    before = refused(desks)
    assert asked(desks, **changes) == []
    (told,) = (one for one in refused(desks) if one not in before)
    asked_for = (changes.get("purpose", "HPAYMT"), list(changes.get("types", ["Observation"])))
    assert (told["reason"], told["purpose"], told["types"]) == ("release.no_grant", *asked_for)
    assert granted


def test_attack_that_a_record_is_there_is_learned_from_the_grants_about_it(desks, granted):
    """One that is not final would not be released: it must look as absent, though its patient's grant is known."""
    content = json.dumps({"resourceType": "Observation", "id": "o9", "subject": {"reference": "Patient/p1"}}).encode()
    desks.federation.sites[RENHE].service.create(NewRecord("Observation", "o9", content, "p1"))
    assert asked(desks, about="Observation/o9") == []
    assert asked(desks) == [granted]


@pytest.mark.parametrize(
    "changes",
    [
        {"about": "Patient"},
        {"about": "patient/p1"},
        {"about": "Patient/p1/x"},
        {"about": "Patient/p&_id=x"},
        {"about": "Observation/o1", "resource_types": ["Condition"]},
        {"about": "Observation/o1", "resource_types": ["*"]},
        {"resource_types": ["*", "Observation"]},
        {"resource_types": []},
        {"ledger": "00" * 32},
        {"type": "medchain/consent-ask/v1"},
        {"id": "00"},
        {"more": "x"},
    ],
)
def test_what_is_no_question_is_refused(changes):
    document = parse_canonical(question().encode(LEDGER), max_bytes=4096) | changes
    with pytest.raises(InputError):
        parse_question(canonical(document), LEDGER)


def test_what_is_no_question_is_noted_as_a_refusal(desks):
    before = reasons(desks).count("encoding.members")
    with pytest.raises(InputError):
        desks.nodes[RENHE].grants(b"{}", ANXIN)
    assert reasons(desks).count("encoding.members") == before + 1


def found(desks, org_id=ANXIN, **changes: object) -> list[dict]:
    document = {"about": "Patient/p1", "custodian": RENHE, "purpose": "HPAYMT", "resource_types": ["Observation"]}
    return desks.local(org_id).call("exchange.grants", document | changes)["grants"]


def test_the_asker_finds_them_and_knows_whom_they_are_about_if_she_is_its_patient(desks, granted):
    assert found(desks) == [{"grant": granted, "patient": ""}]
    site = desks.federation.sites[ANXIN]
    body = site.node.shelf.terms(unhex(granted, 32))
    consent = site.node.shelf.terms(unhex(body.content["consent"], 32))
    desks.local(ANXIN).call("patient", {"patient": "member-7", "subject": consent.content["subject"]})
    token = site.service.patient_token("member-7")
    assert found(desks) == [{"grant": granted, "patient": token}]
    own = desks.local(ANXIN).call(
        "exchange.patient", {"patient": "member-7", "purpose": "HPAYMT", "resource_types": ["*"]}
    )
    assert own["grants"] == [{"custodian": RENHE, "grant": granted, "patient": token}]


def test_attack_a_custodian_names_grants_that_are_not_the_askers_or_of_another_purpose(desks, granted, monkeypatch):
    answer = {"grants": [granted, fresh(32).hex()], "type": "medchain/grant-answer/v1"}
    monkeypatch.setattr(type(desks.nodes[RENHE]), "grants", lambda *_: answer)
    assert found(desks, TONGJI) == []
    assert found(desks, purpose="TREAT") == []
    assert found(desks, resource_types=["Condition"]) == []
    assert [row["grant"] for row in found(desks)] == [granted]


@pytest.mark.parametrize("custodian", ["nobody", ANXIN])
def test_only_another_active_member_is_asked(desks, custodian):
    with pytest.raises(InputError, match=r"exchange\.custodian"):
        found(desks, custodian=custodian)


def test_a_custodian_that_is_away_is_told_as_such(desks):
    desks.federation.down.add(RENHE)
    try:
        with pytest.raises(UnavailableError):
            found(desks)
    finally:
        desks.federation.down.clear()


def test_of_a_grant_that_is_stopped_nothing_is_told(desks, granted):
    desks.federation.sites[RENHE].node.stops.stop(unhex(granted, 32))
    assert asked(desks) == []


CLAIM = b"\x0c" * 32


def test_what_is_for_one_claim_is_found_for_that_claim_alone_and_first(desks):
    phone = phone_of("chen")
    subject = desks.enrol(phone, "p8")
    whole = desks.consent(phone, subject, resource_types=["Observation"])
    one = OneClaim(CLAIM, ("Observation/o8",))
    period = {"end": NOW + 30 * DAY_S, "start": NOW - 60}
    narrow = desks.consent(phone, subject, resource_types=["Observation"], fhir=one.fhir(), period=period)
    general, for_claim = (str(desks.local().call("grant.give", {"consent": key})["key"]) for key in (whole, narrow))
    for key in (general, for_claim):
        desks.everywhere(key, 1)
    # A body may come after its block.
    known = desks.nodes[ANXIN].finder.moment()
    desks.federation.sites[ANXIN].node.shelf.index.add(b"\x0e" * 32, Body("note", (), (), (), None))
    assert desks.nodes[ANXIN].finder.moment()[1] == known[1] + 1
    named = {"about": "Patient/p8"}
    assert sorted(asked(desks, **named)) == sorted([general, for_claim])
    assert [row["grant"] for row in found(desks, **named)] == [general]
    assert [row["grant"] for row in found(desks, **named, claim="0d" * 32)] == [general]
    assert [row["grant"] for row in found(desks, **named, claim=CLAIM.hex())] == [for_claim, general]
    desks.local(ANXIN).call("patient", {"patient": "member-8", "subject": subject})
    wish = {"patient": "member-8", "purpose": "HPAYMT", "resource_types": ["*"]}
    own = desks.local(ANXIN).call("exchange.patient", wish)["grants"]
    assert [row["grant"] for row in own] == [general]
    both = desks.local(ANXIN).call("exchange.patient", wish | {"claim": CLAIM.hex()})["grants"]
    assert {row["grant"] for row in both} == {general, for_claim}
    with pytest.raises(InputError):
        found(desks, **named, claim="0c")
    here = desks.local(ANXIN).call("exchange.claim", {"claim": CLAIM.hex()})["grants"]
    assert here == [{"custodian": RENHE, "grant": for_claim}]
    assert desks.local(ANXIN).call("exchange.claim", {"claim": "0d" * 32})["grants"] == []
    assert desks.local(TONGJI).call("exchange.claim", {"claim": CLAIM.hex()})["grants"] == []
    finder, ledger = desks.nodes[ANXIN].finder, desks.federation.sites[ANXIN].ledger
    [given] = finder.permissions(CLAIM)
    began = ledger.version(unhex(for_claim, 32), 1).since
    assert (given.custodian, given.position, given.ended) == (RENHE, began, None)
    assert given.time == ledger.block_at(began).time
    assert finder.permissions(b"\x0d" * 32) == desks.nodes[TONGJI].finder.permissions(CLAIM) == []
    before = finder.moment()
    assert before[0] == ledger.head.height
    desks.withdraw(phone, narrow)
    desks.settle(narrow, 2)
    desks.everywhere(narrow, 2)
    # Whoever has seen what was permitted is told to look again.
    assert finder.moment() != before
    [given] = finder.permissions(CLAIM)
    assert given.ended == ledger.block_at(ledger.record(unhex(narrow, 32)).since).time
    assert desks.local(ANXIN).call("exchange.claim", {"claim": CLAIM.hex()})["grants"] == []
