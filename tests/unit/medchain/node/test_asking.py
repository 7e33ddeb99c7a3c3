"""Asks to patients: taken alike whoever the patient is, answered once, by the patient alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.encoding import canonical, parse_canonical
from medchain.errors import InputError, NotFoundError, UnavailableError
from medchain.node.asking import Ask, AskClaim, parse_ask, require_waiting
from medchain.store import asks
from tests.unit.medchain.ledger.world import genesis
from tests.unit.medchain.node.desks import Desks, phone_of, running_desks
from tests.unit.medchain.node.federation import ANXIN, DAY_S, RENHE, TONGJI

LEDGER = genesis().ledger
LETTERS = [a + b for a in "abcdefghij" for b in "abcdefghij"]
ASK = Ask(b"\x07" * 16, "pat-1", "理赔专员 王晓梅", "HPAYMT", "核对 3 月的住院理赔", ("Claim", "Observation"), 30)
CITED = ("Encounter/e1", "Invoice/i1", "Procedure/o3")
CLAIM = AskClaim(b"\x0c" * 32, "AX-2026-0317", 123_450, "CNY", RENHE, CITED)
FOR_CLAIM = replace(ASK, claim=CLAIM, resource_types=("Encounter", "Invoice", "Procedure"))


@pytest.fixture(scope="module")
def desks(tmp_path_factory) -> Desks:
    with running_desks(tmp_path_factory.mktemp("asking")) as made:
        yield made


def wish(**changes: object):
    given = ASK.to_json() | {"custodian": RENHE} | changes
    return {name: value for name, value in given.items() if name != "id"}


def listed(desks, patient="pat-1"):
    return desks.local().call("ask.list", {"patient": patient})["asks"]


def test_an_ask_reads_back_as_it_was_written():
    assert parse_ask(ASK.encode(LEDGER), LEDGER) == ASK


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "medchain/consent-ask/v2"},
        {"ledger": bytes(32).hex()},
        {"days": 0},
        {"days": 3651},
        {"resource_types": ["Observation", "Claim"]},
        {"resource_types": []},
        {"resource_types": ["Obs ervation"]},
        {"reason": ""},
        {"patient": "p" * 201},
        {"id": "07"},
        {"more": 1},
    ],
)
def test_a_malformed_ask_is_refused(changes):
    document = parse_canonical(ASK.encode(LEDGER), max_bytes=1 << 14) | changes
    with pytest.raises(InputError):
        parse_ask(canonical(document), LEDGER)


def test_an_insurer_asks_and_the_patient_is_told_who_why_and_what(desks):
    made = desks.local(ANXIN).call("ask.send", wish())
    (row,) = [row for row in listed(desks) if row["id"] == made["id"]]
    assert (row["asker"], row["answer"]) == (ANXIN, None)
    assert {name: row[name] for name in wish() if name != "custodian"} == {
        name: value for name, value in wish().items() if name != "custodian"
    }


def test_an_asker_learns_nothing_of_who_is_a_patient(desks):
    known, unknown = (
        desks.asking[RENHE].receive(
            Ask(bytes([number]) * 16, patient, "", "TREAT", "转诊", ("*",), 1).encode(LEDGER), TONGJI
        )
        for number, patient in ((21, "pat-1"), (22, "nobody"))
    )
    assert known == unknown == {"taken": True}


def test_who_asks_is_who_called_whatever_the_document_says(desks):
    ask = Ask(b"\x31" * 16, "pat-2", ANXIN, "HPAYMT", "x", ("Claim",), 1)
    desks.asking[RENHE].receive(ask.encode(LEDGER), TONGJI)
    assert [row["asker"] for row in listed(desks, "pat-2")] == [TONGJI]


def test_a_hospital_asks_its_own_patient(desks):
    desks.local().call("ask.send", wish(patient="pat-3"))
    assert [row["asker"] for row in listed(desks, "pat-3")] == [RENHE]


def test_an_ask_is_answered_once_and_by_its_patient_alone(desks):
    made = desks.local(ANXIN).call("ask.send", wish(patient="pat-4"))
    answer = {"answer": "declined", "id": made["id"]}
    with pytest.raises(NotFoundError, match=r"ask\.unknown"):
        desks.local().call("ask.answer", answer | {"patient": "pat-1"})
    assert require_waiting({"asks": listed(desks, "pat-4")}, made["id"])["asker"] == ANXIN
    desks.local().call("ask.answer", answer | {"patient": "pat-4"})
    with pytest.raises(NotFoundError, match=r"ask\.unknown"):
        desks.local().call("ask.answer", answer | {"patient": "pat-4"})
    with pytest.raises(NotFoundError, match=r"ask\.unknown"):
        require_waiting({"asks": listed(desks, "pat-4")}, made["id"])


def test_an_answer_is_yes_or_no(desks):
    with pytest.raises(InputError, match=r"ask\.malformed"):
        desks.local().call("ask.answer", {"answer": "maybe", "id": "07" * 16, "patient": "pat-1"})


def test_an_ask_that_would_be_refused_is_not_sent(desks):
    with pytest.raises(InputError, match=r"ask\.malformed"):
        desks.local(ANXIN).call("ask.send", wish(days=0))


def test_an_ask_to_a_node_that_does_not_answer_says_so(desks):
    desks.federation.down.add(RENHE)
    try:
        with pytest.raises(UnavailableError, match=r"peer\.unreachable"):
            desks.local(ANXIN).call("ask.send", wish())
    finally:
        desks.federation.down.discard(RENHE)


def test_one_who_asks_and_asks_is_held_back(desks, monkeypatch):
    monkeypatch.setattr(asks, "MAX_OF_PATIENT", 1)
    desks.local(ANXIN).call("ask.send", wish(patient="pat-5"))
    with pytest.raises(UnavailableError, match=r"ask\.quota"):
        desks.local(ANXIN).call("ask.send", wish(patient="pat-5"))


def test_an_ask_ends_after_thirty_days(desks):
    desks.local(ANXIN).call("ask.send", wish(patient="pat-6"))
    desks.federation.time += 30 * DAY_S
    try:
        assert listed(desks, "pat-6") == []
    finally:
        desks.federation.time -= 30 * DAY_S


def test_who_asked_has_a_list_of_it_and_the_other_side_none(desks):
    before = desks.local(ANXIN).call("ask.sent", {})["asks"]
    asked = desks.local(ANXIN).call("ask.send", wish(patient="listed"))["id"]
    rows = desks.local(ANXIN).call("ask.sent", {})["asks"]
    (row,) = [one for one in rows if one["id"] == asked]
    assert len(rows) == len(before) + 1
    assert (row["custodian"], row["patient"], row["until"] - row["created"]) == (RENHE, "listed", 30 * DAY_S)
    assert asked not in [one["id"] for one in desks.local(RENHE).call("ask.sent", {})["asks"]]


def test_what_could_not_be_brought_is_not_listed(desks):
    before = desks.local(ANXIN).call("ask.sent", {})
    with pytest.raises(InputError):
        desks.local(ANXIN).call("ask.send", wish(days=0))
    assert desks.local(ANXIN).call("ask.sent", {}) == before


def test_an_ask_about_an_own_patient_is_listed_under_its_token_so_that_an_erasure_finds_it(desks):
    desks.local().call("ask.send", wish(patient="own-1"))
    site = desks.federation.sites[RENHE]
    assert site.service.patient_token("own-1") in [row.patient for row in site.records.sent_asks()]


def test_an_ask_for_one_claim_reads_back_as_it_was_written():
    assert parse_ask(FOR_CLAIM.encode(LEDGER), LEDGER) == FOR_CLAIM


def test_an_ask_without_a_claim_is_written_as_it_always_was():
    assert "claim" not in parse_canonical(ASK.encode(LEDGER), max_bytes=1 << 14)


def test_an_ask_for_a_claim_that_cites_as_much_as_it_may_is_read():
    cited = tuple(f"Observation/{number:064}" for number in range(400))
    ask = replace(ASK, claim=replace(CLAIM, cited=cited), resource_types=("Observation",))
    assert parse_ask(ask.encode(LEDGER), LEDGER) == ask


@pytest.mark.parametrize(
    "changes",
    [
        {"cited": []},
        {"cited": ["Procedure/o3", "Encounter/e1", "Invoice/i1"]},
        {"cited": ["Encounter/e1", "Encounter/e1", "Invoice/i1", "Procedure/o3"]},
        {"cited": ["Encounter/e1", "Invoice/i1", "Procedure/o3/_history/2"]},
        {"cited": ["https://other.example/fhir/Encounter/e1"]},
        {"cited": [f"Observation/{number:03}" for number in range(401)]},
        {"cited": ["Encounter/e1", "Invoice/i1"]},
        {"cited": ["Condition/c1", *CITED]},
        {"amount": -1},
        {"amount": 10**15 + 1},
        {"amount": "123450"},
        {"currency": "yuan"},
        {"digest": "0c" * 31},
        {"number": ""},
        {"number": "9" * 201},
        {"hospital": ""},
        {"more": 1},
    ],
)
def test_a_malformed_claim_is_refused(changes):
    document = parse_canonical(FOR_CLAIM.encode(LEDGER), max_bytes=1 << 16)
    with pytest.raises(InputError):
        parse_ask(canonical(document | {"claim": document["claim"] | changes}), LEDGER)


@pytest.mark.parametrize("changes", [{"days": 31}, {"purpose": "CLMATTCH"}, {"resource_types": ("*",)}])
def test_an_ask_for_a_claim_asks_for_nothing_beside_it(changes):
    with pytest.raises(InputError, match=r"ask\.malformed"):
        parse_ask(replace(FOR_CLAIM, **changes).encode(LEDGER), LEDGER)


def test_an_ask_without_a_claim_is_no_larger_than_before():
    with pytest.raises(InputError, match=r"encoding\.too_large"):
        parse_ask(replace(ASK, resource_types=tuple(f"T{'x' * 180}{c}" for c in LETTERS)).encode(LEDGER), LEDGER)


def test_a_patient_is_told_for_which_claim_an_insurer_asks(desks):
    asked = wish(patient="pat-7", claim=CLAIM.to_json(), resource_types=["Encounter", "Invoice", "Procedure"])
    made = desks.local(ANXIN).call("ask.send", asked)
    (row,) = listed(desks, "pat-7")
    assert (row["id"], row["claim"]) == (made["id"], CLAIM.to_json())
    (sent,) = [one for one in desks.local(ANXIN).call("ask.sent", {})["asks"] if one["id"] == made["id"]]
    assert sent["claim"] == CLAIM.to_json()


def test_an_ask_for_a_claim_on_another_hospital_is_refused(desks):
    claim = CLAIM.to_json() | {"hospital": TONGJI}
    with pytest.raises(InputError, match=r"ask\.malformed"):
        desks.local(ANXIN).call("ask.send", wish(claim=claim, resource_types=["Encounter", "Invoice", "Procedure"]))
    other = replace(FOR_CLAIM, id=b"\x41" * 16, claim=replace(CLAIM, hospital=TONGJI))
    with pytest.raises(InputError, match=r"ask\.malformed"):
        desks.asking[RENHE].receive(other.encode(LEDGER), ANXIN)


def told(desks, subject: str) -> list[dict]:
    """List the notices that somebody asks."""
    rows = desks.local().call("notices.list", {"subjects": [subject]})["notices"]
    return [row for row in rows if row["kind"] == "ask.came"]


def test_who_is_asked_is_told_that_somebody_asks_and_no_more(desks):
    subject = desks.enrol(phone_of("asked-one"), "pat-8")
    made = desks.local(ANXIN).call("ask.send", wish(patient="pat-8", reason="secret reason"))
    (row,) = told(desks, subject)
    assert (row["fields"], "secret reason" in str(row), made["id"] in str(row)) == ({"by": ANXIN}, False, False)
    # The same ask again, of an asker that heard no answer, tells nothing new; another one does.
    document = desks.federation.sites[ANXIN].records.sent_asks()[0].document
    desks.asking[RENHE].receive(document, ANXIN)
    assert len(told(desks, subject)) == 1
    desks.local(ANXIN).call("ask.send", wish(patient="pat-8"))
    assert len(told(desks, subject)) == 2


def test_of_an_ask_to_nobody_here_nobody_is_told(desks):
    site = desks.federation.sites[RENHE]
    desks.local(ANXIN).call("ask.send", wish(patient="no-8"))
    assert site.records.notices_of([], [site.service.patient_token("no-8")]) == []
