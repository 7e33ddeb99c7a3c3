"""Reserving, settling and releasing over whole nodes, and a hospital's own deeds (docs/spec/claim-deed.md)."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import count

import pytest

from medchain.claims.deeds import REFUND, REVERSE, encode_deed
from medchain.claims.wishes import RELEASE, RESERVE, SETTLE
from medchain.crypto.es384 import Es384Signer
from medchain.encoding import canonical, unhex
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    MedchainError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.ledger.claim_request import Action, ClaimRequest
from medchain.ledger.kinds.claim import request_of
from medchain.ledger.kinds.claim_content import read_shown
from medchain.ledger.object import map_key
from medchain.ledger.signed_request import sign_request
from tests.unit.medchain.claims.hospitals import running_hospitals
from tests.unit.medchain.claims.questions import issued, row
from tests.unit.medchain.ledger.world import TAIPING, fresh, genesis, seed
from tests.unit.medchain.node.federation import ANXIN, DAY_S, RENHE, TONGJI
from tests.waiting import PATIENCE_S

_NUMBERS = count(1)
TOTAL = 842280


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    with running_hospitals(tmp_path_factory.mktemp("claims")) as made:
        yield made


@pytest.fixture
def number(hospitals) -> str:
    """An invoice of the hospital's that no other test claims."""
    made = f"7{next(_NUMBERS):09}"
    hospitals.registers[RENHE].rows.append(issued(made))
    return made


def want(hospitals, operation: str, number: str, *, by: str = ANXIN, claim: bytes = b"\x01" * 32, **more: object):
    """Have an insurer want something."""
    asked = {"claim": claim.hex(), "row": row(number).to_json()} | more
    if operation == RESERVE:
        asked = {"amount": "", "days": 7} | asked
    if operation == SETTLE:
        asked = {"amount": ""} | asked
    return hospitals.local(by).call(operation, asked)


def content(hospitals, done: dict, org_id: str = RENHE):
    """Read what an organisation has of the newest version that concerns it."""
    body = hospitals.federation.sites[org_id].node.shelf.newest(unhex(done["key"], 32))
    return read_shown(body.content)


def versions(hospitals, key: str) -> int:
    record = hospitals.federation.sites[RENHE].ledger.record(unhex(key, 32))
    return 0 if record is None else record.version


def test_an_insurer_reserves_and_settles_and_its_own_ledger_says_so(hospitals, number):
    first = want(hospitals, RESERVE, number)
    assert (first["version"], first["status"], first["state"], first["amount"]) == (
        1,
        "reserved",
        "reserved",
        "8422.80",
    )
    second = want(hospitals, SETTLE, number)
    assert (second["version"], second["status"], second["state"]) == (2, "settled", "settled")
    record = hospitals.federation.sites[ANXIN].ledger.record(unhex(second["key"], 32))
    assert (record.status, record.since) == ("settled", second["position"])
    assert content(hospitals, second).open == 0


def test_two_insurers_share_an_invoice_and_together_take_no_more_than_its_total(hospitals, number):
    want(hospitals, RESERVE, number, amount="5000.00")
    with pytest.raises(VerificationError, match=r"claim\.amount"):
        want(hospitals, RESERVE, number, by=TAIPING, amount="3422.81")
    done = want(hospitals, RESERVE, number, by=TAIPING, amount="3422.80")
    assert done["version"] == 2
    assert content(hospitals, done).open == 0
    # Neither is shown the other's part.
    assert {share.insurer for share in content(hospitals, done, TAIPING).shares.live} == {TAIPING}
    assert {share.insurer for share in content(hospitals, done, ANXIN).shares.live} == {ANXIN}


def test_of_two_insurers_that_want_all_of_it_at_once_exactly_one_has_it(hospitals, number):
    came: dict[str, object] = {}

    def run(by: str) -> None:
        try:
            came[by] = want(hospitals, RESERVE, number, by=by)["version"]
        except MedchainError as error:
            came[by] = error.code

    threads = [threading.Thread(target=run, args=(by,)) for by in (ANXIN, TAIPING)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, came.values())) == ["1", "claim.amount"]


def test_who_was_not_first_looks_again_and_asks_anew(hospitals, number):
    def first() -> None:
        hospitals.before_deed = lambda: None
        want(hospitals, RESERVE, number, by=TAIPING, amount="1.00")

    hospitals.before_deed = first
    done = want(hospitals, RESERVE, number, amount="2.00")
    assert done["version"] == 2


def test_an_answer_that_was_lost_is_found_and_nothing_is_done_twice(hospitals, number):
    def lost(_answer: bytes) -> bytes:
        hospitals.on_deed = lambda data: data
        raise UnavailableError("peer.broken")

    hospitals.on_deed = lost
    with pytest.raises(UnavailableError, match=r"peer\.broken"):
        want(hospitals, RESERVE, number)
    done = want(hospitals, RESERVE, number)
    assert (done["version"], versions(hospitals, done["key"])) == (1, 1)


def test_what_is_ordered_and_not_final_yet_is_waited_for_and_not_asked_for_again(hospitals, number, monkeypatch):
    done = want(hospitals, RESERVE, number)
    waited, asked = [], []
    submitter = hospitals.federation.sites[ANXIN].node.submitter
    monkeypatch.setattr(type(submitter), "wait_final", lambda _self, *given: waited.append(given[:2]))
    hospitals.before_deed = lambda: asked.append(number)
    try:
        assert want(hospitals, RESERVE, number) == done
    finally:
        hospitals.before_deed = lambda: None
    assert (waited, asked) == ([(unhex(done["key"], 32), 1)], [])


def test_the_same_request_makes_one_version_however_often_it_comes(hospitals, number):
    done = want(hospitals, RESERVE, number)
    body = hospitals.federation.sites[RENHE].node.shelf.at(unhex(done["key"], 32), 1)
    document = encode_deed(request_of(body), row(number))
    hospitals.put_together(RENHE)
    assert hospitals.nodes[RENHE].deed(document, ANXIN) == {"key": done["key"], "version": 1}
    assert versions(hospitals, done["key"]) == 1


def test_while_the_hospital_is_away_nothing_is_done_and_it_is_said(hospitals, number):
    hospitals.federation.down.add(RENHE)
    try:
        with pytest.raises(UnavailableError, match=r"peer\.unreachable"):
            want(hospitals, RESERVE, number)
    finally:
        hospitals.federation.down.discard(RENHE)
    assert want(hospitals, RESERVE, number)["version"] == 1


def test_what_is_released_another_may_reserve(hospitals, number):
    want(hospitals, RESERVE, number)
    done = want(hospitals, RELEASE, number)
    assert (done["status"], done["state"]) == ("released", "released")
    assert want(hospitals, RELEASE, number) == done
    assert want(hospitals, RESERVE, number, by=TAIPING)["version"] == 3


def test_a_reservation_that_is_over_keeps_nothing_from_others(hospitals, number):
    want(hospitals, RESERVE, number, days=0)
    hospitals.federation.time += DAY_S
    done = want(hospitals, RESERVE, number, by=TAIPING)
    assert {share.insurer for share in content(hospitals, done).shares.live} == {TAIPING}


def test_settling_needs_a_reservation_of_as_much(hospitals, number):
    with pytest.raises(VerificationError, match=r"claim\.reservation"):
        want(hospitals, SETTLE, number)
    want(hospitals, RESERVE, number, amount="10.00")
    with pytest.raises(VerificationError, match=r"claim\.amount"):
        want(hospitals, SETTLE, number, amount="10.01")
    assert want(hospitals, SETTLE, number, amount="9.00")["amount"] == "9.00"


def test_a_reversed_invoice_is_never_claimed_again_and_its_insurer_is_told(hospitals, number):
    done = want(hospitals, RESERVE, number)
    reversal = hospitals.local(RENHE).call(REVERSE, {"row": row(number).to_json()})
    assert reversal["version"] == 2
    hospitals.everywhere(unhex(done["key"], 32), 2)
    assert content(hospitals, done, ANXIN).status == "reversed"
    with pytest.raises((ConflictError, VerificationError)):
        want(hospitals, RESERVE, number, by=TAIPING)


def test_a_refund_lowers_what_can_be_claimed(hospitals, number):
    with pytest.raises(ConflictError, match=r"claim\.none"):
        hospitals.local(RENHE).call(REFUND, {"amount": "1.00", "row": row(number).to_json()})
    want(hospitals, RESERVE, number, amount="100.00")
    done = hospitals.local(RENHE).call(REFUND, {"amount": "8000.00", "row": row(number).to_json()})
    assert done["version"] == 2
    with pytest.raises(VerificationError, match=r"claim\.amount"):
        want(hospitals, RESERVE, number, by=TAIPING, amount="322.81")
    assert want(hospitals, RESERVE, number, by=TAIPING, amount="322.80")["version"] == 3


def test_a_refund_whose_answer_was_lost_is_not_done_once_more(hospitals, number):
    want(hospitals, RESERVE, number, amount="100.00")
    asked = {"amount": "80.00", "row": row(number).to_json()}
    done = hospitals.local(RENHE).call(REFUND, asked)
    with pytest.raises(ConflictError, match=r"claim\.total"):
        hospitals.local(RENHE).call(REFUND, asked)
    assert versions(hospitals, done["key"]) == 2
    now = {"amount": "80.00", "row": row(number, amount="8342.80").to_json()}
    assert hospitals.local(RENHE).call(REFUND, now)["version"] == 3
    unsaid = {"amount": "80.00", "row": row(number, amount="", currency="").to_json()}
    assert hospitals.local(RENHE).call(REFUND, unsaid)["version"] == 4


def test_an_invoice_that_does_not_count_begins_no_claim(hospitals):
    hospitals.registers[RENHE].rows.append(issued("8", is_issued=False))
    with pytest.raises(ConflictError, match=r"claim\.cancelled"):
        want(hospitals, RESERVE, "8")


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"issuer": "12345678"}, "claim.outside"), ({"check_code": "zzzzzz"}, "claim.unknown")],
)
def test_an_invoice_of_nobody_here_is_said_to_be_that(hospitals, number, changes, code):
    asked = row(number, **changes).to_json()
    with pytest.raises(NotFoundError) as refused:
        want(hospitals, RESERVE, number, row=asked)
    assert refused.value.code == code


def test_a_hospital_that_says_done_and_has_done_nothing_is_not_believed(hospitals, number):
    done = want(hospitals, RESERVE, number)

    def lying(_answer: bytes) -> bytes:
        hospitals.on_deed = lambda data: data
        return canonical({"key": done["key"], "version": 1})

    hospitals.on_deed = lying
    with pytest.raises(VerificationError, match=r"claim\.done"):
        want(hospitals, SETTLE, number)


def test_a_body_that_comes_after_its_version_is_final_is_waited_for(hospitals, number, monkeypatch):
    """Who did not take it at once is offered it again; its hospital is no liar."""
    deliveries = hospitals.federation.sites[RENHE].node.deliveries
    offer = type(deliveries).offer

    def late(*asked: object) -> None:
        threading.Timer(1.5, offer, asked).start()

    monkeypatch.setattr(type(deliveries), "offer", late)
    assert want(hospitals, RESERVE, number)["state"] == "reserved"


def test_anothers_deed_is_not_taken_for_ones_own(hospitals, number, monkeypatch):
    def lying(_document: bytes, _peer: str):
        monkeypatch.undo()
        other = want(hospitals, RESERVE, number, by=TAIPING, amount="1.00")
        return {"key": other["key"], "version": other["version"]}

    monkeypatch.setattr(hospitals.nodes[RENHE], "deed", lying)
    with pytest.raises(VerificationError, match=r"claim\.done"):
        want(hospitals, RESERVE, number, amount="2.00")


def request(number: str, **changes: object) -> ClaimRequest:
    """A request of an insurer that does not know the id."""
    made = {
        "ledger": genesis().ledger,
        "nonce": fresh(16),
        "time": 0,
        "action": Action.RESERVE,
        "hospital": RENHE,
        "insurer": ANXIN,
        "claim_id": b"\x09" * 16,
        "head": 0,
        "claim": b"\x01" * 32,
        "amount": 5,
        "currency": "CNY",
        "until": 30_000,
    }
    assert number
    return ClaimRequest(**(made | changes))


def test_attack_who_guesses_ids_is_stopped_as_one_who_asks(hospitals, number):
    node, pen = hospitals.nodes[RENHE], Es384Signer(seed(TAIPING, "authentication", 1))
    before = node.watch.left(TAIPING)
    asked = request(number, insurer=TAIPING, time=hospitals.federation.time)
    for held in (row(number), row("404")):
        with pytest.raises(NotFoundError, match=r"claim\.unknown"):
            node.deed(encode_deed(sign_request(pen, asked), held), TAIPING)
    assert node.watch.left(TAIPING) == before - 2


def from_ledger(hospitals, key: str, held, action: Action = Action.RESERVE) -> bytes:
    """Write the deed of an insurer that has read an invoice's id on its own ledger."""
    hospitals.everywhere(unhex(key, 32), 1)
    record = hospitals.federation.sites[TAIPING].ledger.record(unhex(key, 32))
    changes = {"insurer": TAIPING, "claim_id": record.id, "head": record.version, "action": action}
    if action is not Action.RESERVE:
        changes["until"] = None
    if action is Action.RELEASE:
        changes["amount"] = 0
    time = hospitals.federation.time
    asked = request("x", **({"time": time, "until": time // DAY_S, "amount": 1} | changes))
    return encode_deed(sign_request(Es384Signer(seed(TAIPING, "authentication", 1)), asked), held)


@pytest.mark.parametrize("action", [Action.RESERVE, Action.SETTLE, Action.RELEASE])
def test_attack_who_read_an_id_on_the_ledger_is_told_nothing_and_has_no_part(hospitals, number, action):
    done = want(hospitals, RESERVE, number, amount="5000.00")
    node = hospitals.nodes[RENHE]
    # However much it knows but the check code; nor does one that it does hold open another.
    hospitals.registers[RENHE].rows.append(issued(other := f"6{number}"))
    for held in (row("404"), row(number, check_code="zzzzzz"), row(other)):
        with pytest.raises(NotFoundError) as refused:
            node.deed(from_ledger(hospitals, done["key"], held, action), TAIPING)
        assert refused.value.code == "claim.unknown"
    assert versions(hospitals, done["key"]) == 1
    assert hospitals.federation.sites[TAIPING].node.shelf.newest(unhex(done["key"], 32)) is None


def test_who_has_a_part_goes_by_the_ledger_when_the_invoice_is_gone(hospitals, number):
    done = want(hospitals, RESERVE, number, by=TAIPING, amount="1.00")
    hospitals.registers[RENHE].rows.pop()
    document = from_ledger(hospitals, done["key"], row(number), Action.RELEASE)
    assert hospitals.nodes[RENHE].deed(document, TAIPING)["version"] == 2


def looks(hospitals) -> list[tuple[str, list[int], bool]]:
    """List who asked for which invoices at the hospital, the last first."""
    return [(peer, numbers, is_known) for peer, _, numbers, is_known in reversed(hospitals.audits[RENHE].rows)]


def test_each_deed_is_in_the_patients_looks_also_of_who_has_a_part_and_shows_another_invoice(hospitals, number):
    hospitals.registers[RENHE].rows[-1] = issued(number, number=41)
    done = want(hospitals, RESERVE, number, by=TAIPING, amount="1.00")
    # The question before it, and the deed.
    assert looks(hospitals)[:2] == [(TAIPING, [41], True)] * 2
    hospitals.registers[RENHE].rows.append(issued(other := f"6{number}", number=42))
    document = from_ledger(hospitals, done["key"], row(other), Action.RELEASE)
    assert hospitals.nodes[RENHE].deed(document, TAIPING)["version"] == 2
    assert looks(hospitals)[0] == (TAIPING, [41], True)


def test_attack_a_deed_with_a_wrong_code_or_id_is_seen_by_the_patient_as_refused(hospitals, number):
    hospitals.registers[RENHE].rows[-1] = issued(number, number=43)
    done = want(hospitals, RESERVE, number, amount="1.00")
    before = len(looks(hospitals))
    for held in (row(number, check_code="zzzzzz"), row("404")):
        with pytest.raises(NotFoundError):
            hospitals.nodes[RENHE].deed(from_ledger(hospitals, done["key"], held), TAIPING)
    assert looks(hospitals)[: len(looks(hospitals)) - before] == [(TAIPING, [43], False)]


def test_where_the_audit_cannot_be_written_nothing_is_done(hospitals, number):
    done = want(hospitals, RESERVE, number, amount="1.00")
    audit, document = hospitals.audits[RENHE], from_ledger(hospitals, done["key"], row(number))
    audit.is_full = True
    try:
        with pytest.raises(UnavailableError, match=r"store\.full"):
            hospitals.nodes[RENHE].deed(document, TAIPING)
    finally:
        audit.is_full = False
    assert versions(hospitals, done["key"]) == 1


def test_deeds_of_several_invoices_are_done_beside_each_other_and_those_of_one_in_turn(hospitals, number):
    first, second = f"81{number}", f"82{number}"
    hospitals.registers[RENHE].rows += [issued(first), issued(second)]
    desk, ways = hospitals.nodes[RENHE]._deeds, {}  # noqa: SLF001  # whose turn it is
    for name in (first, second):
        known = hospitals.nodes[ANXIN].asker.ask(RENHE, [row(name)])[0]
        ways[name] = desk._turn(map_key("claim", RENHE, known.claim_id))  # noqa: SLF001  # likewise
    assert ways[first] is not ways[second]
    done = []

    def reserve() -> None:
        done.append(want(hospitals, RESERVE, first, amount="1.00")["version"])

    waiting = threading.Thread(target=reserve)
    with ways[first]:
        waiting.start()
        assert want(hospitals, RESERVE, second, amount="1.00")["version"] == 1
        assert done == []
    waiting.join(PATIENCE_S)
    assert done == [1]


def test_an_invoice_of_a_day_to_come_begins_no_claim_and_cannot_be_reversed(hospitals, number):
    today = hospitals.federation.time // DAY_S
    rows = hospitals.registers[RENHE].rows
    rows[-1] = issued(number, invoice=replace(issued(number).invoice, day=today + 2))
    with pytest.raises(NotFoundError, match=r"claim\.unknown"):
        want(hospitals, RESERVE, number)
    with pytest.raises(NotFoundError, match=r"claim\.unknown"):
        hospitals.local(RENHE).call(REVERSE, {"row": row(number).to_json()})
    # Somewhere that day has begun.
    rows[-1] = issued(number, invoice=replace(issued(number).invoice, day=today + 1))
    assert want(hospitals, RESERVE, number)["version"] == 1


def test_an_invoice_that_was_cancelled_takes_no_further_insurer(hospitals, number):
    want(hospitals, RESERVE, number, amount="1.00")
    hospitals.registers[RENHE].rows[-1] = issued(number, is_issued=False)
    with pytest.raises(ConflictError, match=r"claim\.cancelled"):
        want(hospitals, RESERVE, number, by=TAIPING, amount="1.00")


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"insurer": TAIPING}, "claim.insurer"), ({"hospital": TONGJI}, "claim.hospital"), ({"time": 7}, "claim.time")],
)
def test_attack_a_request_that_is_not_the_callers_for_this_hospital_and_of_now_is_refused(
    hospitals, number, changes, code
):
    asked = replace(request(number, time=hospitals.federation.time), **changes)
    document = encode_deed(sign_request(Es384Signer(seed(ANXIN, "authentication", 1)), asked), row(number))
    with pytest.raises(AccessDeniedError) as refused:
        hospitals.nodes[RENHE].deed(document, ANXIN)
    assert refused.value.code == code
