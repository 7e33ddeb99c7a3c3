"""Statements over whole nodes: made, led through their life by several, proven in part, and attacked (attest.md)."""

from __future__ import annotations

import threading
from dataclasses import replace
from hashlib import sha256
from itertools import count

import pytest

from medchain.commands.demo_predicates import CARBON_REPORT, PRESCRIPTION, TYPES
from medchain.crypto.es384 import Es384Signer
from medchain.encoding import Json, base64_text, canonical, parse_canonical, unbase64, unhex
from medchain.errors import ConflictError, InputError, MedchainError, NotFoundError, UnavailableError, VerificationError
from medchain.ledger.attest_request import StepRequest
from medchain.ledger.bundle import verify_bundle
from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.policy import default_policy
from medchain.ledger.signed_request import sign_request
from medchain.node.attests import WANTED_TYPE
from medchain.node.bodies import BodyShelf
from medchain.node.endorse import Endorser
from medchain.node.submit import Submitter
from tests.unit.medchain.ledger.world import TAIPING, fresh, genesis, seed
from tests.unit.medchain.node.federation import ANXIN, COMMISSION, DAY_S, NOW, RENHE, TONGJI
from tests.unit.medchain.node.lawful import desks_under

_NUMBERS = count(1)


@pytest.fixture(scope="module")
def desks(tmp_path_factory):
    policy: Json = {**default_policy(), "predicates": TYPES}
    with desks_under(policy, tmp_path_factory.mktemp("attests")) as made:
        yield made


def subject(name: str) -> Json:
    return [{"digest": {"sha256": sha256(name.encode()).hexdigest()}, "name": name}]


def prescribe(desks, **changes: Json) -> tuple[str, str]:
    """Have a prescription issued at Renhe, known to all; returns its map key and ticket."""
    asked: dict[str, Json] = {
        "predicate": {"dosage": "1-0-1", "medication": "amoxicillin 500 mg", "quantity": 20},
        "subject": subject(f"Rx {next(_NUMBERS)}"),
        "ticket": True,
        "type": PRESCRIPTION,
        "until": NOW + 30 * DAY_S,
    }
    done = desks.local(RENHE).call("attest.make", asked | changes)
    desks.everywhere(str(done["key"]), 1)
    return str(done["key"]), str(done["ticket"])


def report(desks, name: str = "", **changes: Json) -> str:
    """Have Renhe report its emissions, known to all; returns the map key."""
    asked: dict[str, Json] = {
        "parties": [COMMISSION],
        "predicate": {"boundary": "scope 1 and 2", "emissions_kg": 8_400_000, "method": "GHG Protocol"},
        "subject": subject(name or f"Renhe, main site, {next(_NUMBERS)}"),
        "type": CARBON_REPORT,
    }
    key = str(desks.local(RENHE).call("attest.make", asked | changes)["key"])
    desks.everywhere(key, 1)
    return key


def step(desks, by: str, key: str, name: str, ticket: str = "", **values: Json) -> int:
    """Take a step, known to all; returns the version."""
    asked: Json = {"object": key, "step": name, "ticket": ticket, "values": values}
    version = int(str(desks.local(by).call("attest.step", asked)["version"]))
    desks.everywhere(key, version)
    return version


def shown(desks, by: str, key: str, ticket: str = "") -> dict[str, Json]:
    return desks.local(by).call("attest.show", {"object": key, "ticket": ticket})


# A prescription


def test_a_prescription_is_read_and_dispensed_at_another_hospital_with_its_ticket(desks):
    key, ticket = prescribe(desks)
    row = shown(desks, TONGJI, key, ticket)
    assert (row["state"], row["creator"], row["status"]) == ("issued", RENHE, "active")
    assert row["statement"]["predicate"] == {"dosage": "1-0-1", "medication": "amoxicillin 500 mg", "quantity": 20}
    assert step(desks, TONGJI, key, "dispense", ticket, batch="A-17") == 2
    for by in (RENHE, TONGJI):
        row = shown(desks, by, key)
        assert (row["state"], row["status"], row["parties"], row["final"]) == ("dispensed", "ended", [TONGJI], True)
        assert [(one["step"], one["by"], one["asked"]) for one in row["steps"]] == [
            ("make", RENHE, False),
            ("dispense", TONGJI, True),
        ]


def test_the_pharmacy_need_not_have_looked_before(desks):
    key, ticket = prescribe(desks)
    assert step(desks, TONGJI, key, "dispense", ticket, batch="A-17") == 2
    judged = desks.federation.sites[TONGJI].node.shelf.head(unhex(key, 32))
    assert judged is not None


def test_a_second_dispensing_is_refused_wherever_it_is_tried(desks):
    key, ticket = prescribe(desks)
    step(desks, TONGJI, key, "dispense", ticket, batch="A-17")
    for by in (TONGJI, RENHE):
        with pytest.raises(VerificationError, match=r"attest\.step"):
            step(desks, by, key, "dispense", ticket, batch="B-1")
    with pytest.raises(VerificationError, match=r"attest\.step"):
        step(desks, RENHE, key, "cancel", reason="wrong")


def test_of_two_pharmacies_at_once_one_dispenses(desks):
    for _ in range(3):
        key, ticket = prescribe(desks)
        shown(desks, TONGJI, key, ticket)
        outcomes: list[str] = []

        def dispense(by: str, key: str = key, ticket: str = ticket, told: list[str] = outcomes) -> None:
            asked: Json = {"object": key, "step": "dispense", "ticket": ticket, "values": {"batch": by}}
            try:
                told.append(f"done {desks.local(by).call('attest.step', asked)['version']}")
            except MedchainError as error:
                told.append(error.code)

        threads = [threading.Thread(target=dispense, args=(by,)) for by in (RENHE, TONGJI)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        desks.everywhere(key, 2)
        assert outcomes.count("done 2") == 1, outcomes
        lost = next(one for one in outcomes if one != "done 2")
        assert lost in {"attest.busy", "attest.step", "transaction.version", "attest.superseded"}
        record = desks.federation.sites[COMMISSION].node.replica.store.record(unhex(key, 32))
        assert (record.version, record.status) == (2, "ended")


@pytest.mark.parametrize("by", [ANXIN, TAIPING, COMMISSION])
def test_who_is_no_pharmacy_reads_it_with_the_ticket_and_does_not_dispense(desks, by):
    key, ticket = prescribe(desks)
    with pytest.raises(VerificationError, match=r"attest\.by"):
        step(desks, by, key, "dispense", ticket, batch="A-17")
    assert shown(desks, RENHE, key)["state"] == "issued"


def test_without_the_ticket_it_is_as_if_there_were_none(desks):
    key, _ = prescribe(desks)
    other, _ = prescribe(desks, ticket=False)
    for wanted, ticket in ((key, ""), (key, fresh(16).hex()), (other, fresh(16).hex()), (fresh(32).hex(), "")):
        desk = desks.attests[RENHE]
        asked = {"object": wanted, "ticket": ticket, "type": WANTED_TYPE}
        with pytest.raises(NotFoundError, match=r"^attest\.unknown$"):
            desk.receive(canonical(asked), TONGJI)
        with pytest.raises(NotFoundError, match=r"^attest\.unknown$"):
            desk.receive(signed(desks, wanted, ticket=unhex(ticket, 16) if ticket else b""), TONGJI)
    # Of an insurer, which endorses nothing.
    with pytest.raises(NotFoundError, match=r"^attest\.unknown$"):
        shown(desks, ANXIN, key)


def test_what_nobody_made_is_unknown_and_so_is_another_kind(desks, monkeypatch):
    monkeypatch.setattr("medchain.node.attests.KNOWN_S", 0.1)
    with pytest.raises(NotFoundError, match=r"attest\.unknown"):
        shown(desks, ANXIN, fresh(32).hex())
    key, _ = prescribe(desks)
    with pytest.raises(NotFoundError, match=r"attest\.unknown"):
        desks.local(ANXIN).call("attest.prove", {"object": key})
    # Its own statement, of which the body is gone, it asks nobody for.
    desks.federation.sites[RENHE].node.shelf.destroy(unhex(key, 32))
    with pytest.raises(NotFoundError, match=r"attest\.unknown"):
        shown(desks, RENHE, key)


def signed(desks, key: str, by: str = TONGJI, **changes: object) -> bytes:
    """Sign a request as a pharmacy that writes its own software."""
    made = StepRequest(
        ledger=genesis().ledger,
        owner=RENHE,
        by=by,
        statement=unhex(key, 32),
        version=1,
        step="dispense",
        values={"batch": "A-17"},
        ticket=b"",
        nonce=fresh(16),
        time=desks.federation.clock(),
    )
    return sign_request(Es384Signer(seed(by, "authentication", 1)), replace(made, **changes)).encode()


def test_a_request_is_of_who_brings_it_and_is_taken_once(desks):
    key, ticket = prescribe(desks)
    document = signed(desks, key, ticket=unhex(ticket, 16))
    desk = desks.attests[RENHE]
    with pytest.raises(VerificationError, match=r"attest\.request"):
        desk.receive(document, ANXIN)
    assert desk.receive(document, TONGJI) == {"type": "medchain/attest-taken/v1", "version": 2}
    desks.everywhere(key, 2)
    with pytest.raises((ConflictError, VerificationError), match=r"transaction\.version|attest\.step"):
        desk.receive(document, TONGJI)
    with pytest.raises(InputError):
        desk.receive(b"{}", TONGJI)


def test_a_step_that_its_type_has_not_is_refused(desks):
    key, ticket = prescribe(desks)
    for by in (RENHE, TONGJI):
        with pytest.raises(VerificationError, match=r"attest\.step"):
            step(desks, by, key, "lend", ticket)
    with pytest.raises(VerificationError, match=r"attest\.fields"):
        step(desks, TONGJI, key, "dispense", ticket, quantity=200)


def test_an_owner_that_enters_what_nobody_asked_for_finds_no_endorser(desks, monkeypatch):
    key, ticket = prescribe(desks)
    node = desks.federation.sites[RENHE].node
    check = type(node.judge).check
    monkeypatch.setattr(
        type(node.judge), "check", lambda own, *rest, **more: None if own is node.judge else check(own, *rest, **more)
    )
    # Signed by Renhe in the name of Tongji.
    forged = replace_signer(desks, key, ticket)
    with pytest.raises(VerificationError, match=r"attest\.request"):
        desks.attests[RENHE].receive(forged, TONGJI)
    assert shown(desks, RENHE, key)["state"] == "issued"


def replace_signer(desks, key: str, ticket: str) -> bytes:
    """Sign for Tongji with Renhe's key."""
    value = parse_canonical(signed(desks, key, ticket=unhex(ticket, 16)), max_bytes=1 << 16)
    request = StepRequest.read(value["request"])
    value["signature"] = base64_text(Es384Signer(seed(RENHE, "authentication", 1)).sign(request.hash))
    return canonical(value)


def test_an_owner_that_is_down_is_told_so_and_nothing_is_dispensed(desks):
    key, ticket = prescribe(desks)
    shown(desks, TONGJI, key, ticket)
    desks.federation.down.add(RENHE)
    try:
        with pytest.raises(UnavailableError):
            desks.local(TONGJI).call(
                "attest.step", {"object": key, "step": "dispense", "ticket": ticket, "values": {"batch": "A-17"}}
            )
    finally:
        desks.federation.down.discard(RENHE)
    assert shown(desks, RENHE, key)["version"] == 1


def test_a_body_that_did_not_come_is_fetched_after_the_step(desks, monkeypatch):
    key, ticket = prescribe(desks)
    shown(desks, TONGJI, key, ticket)
    deliveries = desks.federation.sites[RENHE].node.deliveries
    monkeypatch.setattr(type(deliveries), "offer", lambda *_rest: None)
    assert step(desks, TONGJI, key, "dispense", ticket, batch="A-17") == 2
    assert shown(desks, TONGJI, key)["state"] == "dispensed"


def test_a_step_that_became_another_is_told_as_such(desks, monkeypatch):
    key, ticket = prescribe(desks)
    shown(desks, TONGJI, key, ticket)
    desk = desks.attests[TONGJI]

    def lie(_self, _org_id: str, _document: bytes) -> bytes:
        step(desks, RENHE, key, "cancel", reason="another")
        return b""

    monkeypatch.setattr(type(desk.network), "attest", lie)
    monkeypatch.setattr(type(desk), "_fetch", lambda *_rest: None)
    with pytest.raises(ConflictError, match=r"attest\.superseded"):
        desks.local(TONGJI).call(
            "attest.step", {"object": key, "step": "dispense", "ticket": ticket, "values": {"batch": "A-17"}}
        )


def at_a_stand(desks, monkeypatch) -> list[bytes]:
    """Have what Renhe submits come to nobody; gives the transactions."""
    waiting: list[bytes] = []

    def stalled(leaves):
        waiting.extend(one for one in leaves if one not in waiting)
        raise UnavailableError("ordering.no_quorum")

    monkeypatch.setattr(desks.federation.sites[RENHE].node.submitter, "_submit", stalled)
    # How long it is tried.
    monkeypatch.setattr("medchain.node.submit.UNTIL_S", 1)
    return waiting


def test_a_step_that_may_still_be_ordered_keeps_its_body(desks, monkeypatch):
    """Or the statement would be lost to all later steps."""
    key, _ = prescribe(desks)
    with monkeypatch.context() as stalled:
        waiting = at_a_stand(desks, stalled)
        for code in ("no_quorum", "promised"):
            with pytest.raises(UnavailableError, match=code):
                step(desks, RENHE, key, "dispense", batch="A-17")
    desks.federation.sites[RENHE].node.driver.submit(waiting)
    desks.everywhere(key, 2)
    assert shown(desks, RENHE, key)["state"] == "dispensed"


def test_attack_a_step_that_was_announced_and_not_ordered_is_not_taken_for_the_one_in_its_place(desks, monkeypatch):
    """The owner says that a pharmacy's step is taken, and has ordered its own: both would hand out what is for one."""
    key, ticket = prescribe(desks)
    shown(desks, TONGJI, key, ticket)
    desk = desks.attests[TONGJI]
    ask, drawn = type(desk.network).attest, Submitter._candidates  # noqa: SLF001  # who endorses is shown the body

    def others(submitter, draft, number):
        return ((rank, one) for rank, one in drawn(submitter, draft, number) if one.org_id != TONGJI)

    def lie(network, org_id: str, document: bytes) -> bytes:
        with monkeypatch.context() as stalled:
            at_a_stand(desks, stalled)
            with pytest.raises(UnavailableError):
                ask(network, org_id, document)
        step(desks, RENHE, key, "dispense", batch="B-2")
        return b""

    monkeypatch.setattr(Submitter, "_candidates", others)
    monkeypatch.setattr(BodyShelf, "attempted", lambda *_asked: None)
    monkeypatch.setattr(Endorser, "_promise", lambda *_asked: None)
    monkeypatch.setattr(type(desk.network), "attest", lie)
    monkeypatch.setattr(type(desk), "_fetch", lambda *_rest: None)
    with pytest.raises(ConflictError, match=r"attest\.superseded"):
        step(desks, TONGJI, key, "dispense", ticket, batch="A-17")
    held = desks.federation.sites[TONGJI].node.shelf.held_at(unhex(key, 32), 2)
    assert held.content["predicate.batch"] == "A-17"


# A carbon report


def test_a_report_goes_through_its_life(desks):
    key = report(desks)
    step(desks, COMMISSION, key, "reject", finding="meter 4 is left out")
    step(desks, RENHE, key, "correct", emissions_kg=9_100_000, reason="meter 4 added")
    step(desks, COMMISSION, key, "verify", finding="as measured")
    step(desks, RENHE, key, "publish")
    assert step(desks, COMMISSION, key, "settle", settled=True) == 6
    for by in (RENHE, COMMISSION):
        row = shown(desks, by, key)
        states = [one["state"] for one in row["steps"]]
        assert states == ["reported", "rejected", "reported", "verified", "published", "settled"]
        assert row["statement"]["predicate"]["emissions_kg"] == 9_100_000
        assert row["status"] == "ended"


def test_a_step_out_of_order_and_the_hospitals_own_verification_are_refused(desks):
    key = report(desks)
    with pytest.raises(VerificationError, match=r"attest\.step"):
        step(desks, RENHE, key, "publish")
    with pytest.raises(VerificationError, match=r"attest\.by"):
        step(desks, RENHE, key, "verify", finding="fine")
    with pytest.raises(NotFoundError, match=r"attest\.unknown"):
        step(desks, TONGJI, key, "verify", finding="fine")


def test_what_owner_and_endorser_enter_against_the_rules_is_for_a_party_as_if_it_were_not_there(desks, monkeypatch):
    key = report(desks)
    judge = type(desks.federation.sites[RENHE].node.judge)
    with monkeypatch.context() as patched:
        patched.setattr(judge, "check", lambda *_rest, **_more: None)
        assert step(desks, RENHE, key, "verify", finding="fine") == 2
    shelf = desks.federation.sites[COMMISSION].node.shelf
    assert shelf.head(unhex(key, 32)) is None
    assert shelf.newest(unhex(key, 32)).content["state"] == "reported"
    with pytest.raises(NotFoundError, match=r"attest\.unknown"):
        shown(desks, COMMISSION, key)


def test_of_a_name_there_is_one_report(desks):
    report(desks, "Renhe, main site, 1999")
    with pytest.raises(ConflictError, match=r"transaction\.version"):
        report(desks, "Renhe, main site, 1999", predicate={"boundary": "none", "emissions_kg": 1, "method": "guess"})


def test_a_type_that_nobody_registered_and_contents_of_no_type_are_refused(desks):
    with pytest.raises(InputError, match=r"attest\.type"):
        prescribe(desks, type="urn:unheard-of")
    with pytest.raises(InputError, match=r"attest\.subject"):
        prescribe(desks, subject=[])
    with pytest.raises(VerificationError, match=r"attest\.fields"):
        prescribe(desks, predicate={"dosage": "1-0-1"})
    with pytest.raises(VerificationError, match=r"attest\.maker"):
        desks.local(ANXIN).call(
            "attest.make",
            {
                "predicate": {"dosage": "1", "medication": "x", "quantity": 1},
                "subject": subject("x"),
                "type": PRESCRIPTION,
            },
        )


# Lists and proofs


def test_each_lists_what_it_holds_and_the_types_are_those_of_the_policy(desks):
    key = report(desks)
    prescription, _ = prescribe(desks)

    def listed(org_id: str) -> set[str]:
        return {row["key"] for row in desks.local(org_id).call("attest.list", {})["attests"]}

    assert {key, prescription} <= listed(RENHE)
    assert key in listed(COMMISSION)
    assert {key, prescription}.isdisjoint(listed(TAIPING))
    assert desks.local(TAIPING).call("attest.types", {}) == {"types": TYPES}


def bundle(desks, by: str, key: str, **more: Json):
    """Export a proof and verify it with the trusted policy alone."""
    files = desks.local(by).call("attest.prove", {"object": key} | more)["files"]
    held = {name: unbase64(text, max_bytes=1 << 22) for name, text in files.items()}
    policy = trusted_policy_text(genesis().members, genesis().origin)
    return verify_bundle(held, policy, now=desks.federation.clock(), max_age_s=3600, ledger=genesis().ledger)


def test_a_proof_shows_the_fields_that_are_named_and_hides_the_rest(desks):
    key = report(desks)
    verdict = bundle(desks, COMMISSION, key, fields=["predicate.emissions_kg", "state"])
    assert (verdict.status, verdict.version) == ("active", 1)
    body = parse_canonical(verdict.opened, max_bytes=1 << 20)
    assert {name: value for name, _, value in body["fields"]} == {
        "predicate.emissions_kg": 8_400_000,
        "state": "reported",
    }
    assert b"GHG" not in verdict.opened
    assert verdict.shown.hidden > 0
    whole = bundle(desks, RENHE, key)
    assert (whole.shown.hidden, b"GHG" in whole.opened) == (0, True)
    with pytest.raises(InputError, match=r"attest\.fields"):
        bundle(desks, RENHE, key, fields=["predicate.secret"])


def test_a_whole_proof_does_not_show_the_ticket_with_which_a_step_was_asked_for(desks):
    key, ticket = prescribe(desks)
    assert step(desks, TONGJI, key, "dispense", ticket, batch="A-17") == 2
    for by in (RENHE, TONGJI):
        verdict = bundle(desks, by, key)
        assert ticket.encode() not in verdict.opened
        assert (verdict.version, b"A-17" in verdict.opened, b"amoxicillin" in verdict.opened) == (2, True, True)
    # A request that bears none is shown: who asked is signed for.
    report_key = report(desks)
    assert step(desks, COMMISSION, report_key, "verify", finding="as measured") == 2
    assert bundle(desks, RENHE, report_key).shown.hidden == 0
