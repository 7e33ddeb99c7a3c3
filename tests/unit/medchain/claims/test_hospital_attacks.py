"""What a hospital may try with an invoice that is claimed: edit it, issue it anew, say other things of it to others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count

import pytest

from medchain.claims import claimed_lines
from medchain.claims.asking import CHECK
from medchain.claims.deeds import REFUND, REVERSE, encode_deed
from medchain.claims.issuing import Issuing
from medchain.claims.wishes import RELEASE, RESERVE, SETTLE
from medchain.crypto.es384 import Es384Signer
from medchain.crypto.vrf import VrfKey
from medchain.encoding import unhex
from medchain.errors import ConflictError, UnavailableError, VerificationError
from medchain.ledger.claim_request import Action, ClaimRequest
from medchain.ledger.invoice import Scope, amount_of
from medchain.ledger.kinds.claim_content import read_shown
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.object import map_key
from medchain.ledger.signed_request import SignedRequest, sign_request
from medchain.node.endorse import Endorser
from tests.unit.medchain.claims.hospitals import running_hospitals
from tests.unit.medchain.claims.questions import issued, row
from tests.unit.medchain.ledger.world import TAIPING, fresh, seed
from tests.unit.medchain.node.federation import ANXIN, RENHE
from tests.waiting import PATIENCE_S, eventually

_NUMBERS = count(1)


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    with running_hospitals(tmp_path_factory.mktemp("claims")) as made:
        yield made


@pytest.fixture
def number(hospitals) -> str:
    """An invoice of the hospital's that no other test claims."""
    made = f"5{next(_NUMBERS):09}"
    hospitals.registers[RENHE].rows.append(issued(made))
    return made


def want(hospitals, operation: str, by: str, number: str, amount: str = "", **changes: object) -> dict:
    asked = {"amount": amount, "claim": "01" * 32, "row": row(number, **changes).to_json()}
    done = hospitals.local(by).call(operation, asked | ({"days": 7} if operation == RESERVE else {}))
    # Who did it waits for its own ledger; what another insurer is told next goes by that one's.
    hospitals.everywhere(unhex(done["key"], 32), done["version"])
    return done


def checked(hospitals, by: str, number: str, **changes: object) -> tuple[str, list[str], str]:
    [one] = hospitals.local(by).call(CHECK, {"rows": [row(number, **changes).to_json()]})["checked"]
    return one["finding"], one["differs"], one["claim_id"]


def edit(hospitals, **changes: object) -> None:
    """Have the hospital change the newest invoice in its register."""
    rows = hospitals.registers[RENHE].rows
    rows[-1] = replace(rows[-1], **changes)


def test_attack_an_invoice_that_is_dated_otherwise_once_it_is_paid_shows_that_it_was_edited(hospitals, number):
    """Another date is another id, of which nothing is claimed: what the next insurer holds says otherwise."""
    want(hospitals, RESERVE, ANXIN, number)
    paid = want(hospitals, SETTLE, ANXIN, number)
    invoice = issued(number).invoice
    edit(hospitals, invoice=replace(invoice, day=invoice.day + 1))
    finding, differs, claim_id = checked(hospitals, TAIPING, number)
    assert (finding, differs) == ("free", ["date"])
    assert claim_id != paid["claim_id"]
    # Who does not look first is told with what it reserves.
    assert want(hospitals, RESERVE, TAIPING, number)["differs"] == ["date"]
    # And what was paid is paid, under the fields that it was paid for.
    record = hospitals.federation.sites[TAIPING].ledger.record(unhex(paid["key"], 32))
    assert (record.status, record.version) == ("settled", 2)


def test_attack_an_amount_that_is_raised_once_a_part_is_paid_opens_nothing_more(hospitals, number):
    want(hospitals, RESERVE, ANXIN, number, "8000.00")
    want(hospitals, SETTLE, ANXIN, number, "8000.00")
    edit(hospitals, amount=amount_of("20000.00", "CNY"))
    assert checked(hospitals, TAIPING, number)[:2] == ("settled", ["amount"])
    with pytest.raises(VerificationError, match=r"claim\.amount"):
        want(hospitals, RESERVE, TAIPING, number, "422.81")
    done = want(hospitals, RESERVE, TAIPING, number, "422.80")
    assert (done["amount"], done["differs"]) == ("422.80", ["amount"])


def test_a_check_code_that_is_changed_shuts_out_who_holds_the_old_one_and_frees_nothing(hospitals, number):
    paid = want(hospitals, RESERVE, ANXIN, number)
    edit(hospitals, check_codes=("OTHER1",))
    assert checked(hospitals, TAIPING, number)[0] == "unknown"
    [one] = hospitals.local(TAIPING).call(CHECK, {"rows": [row(number, check_code="OTHER1").to_json()]})["checked"]
    assert (one["finding"], one["claim_id"]) == ("reserved", paid["claim_id"])


def anew(hospitals, number: str, **changes: object) -> str:
    """Have the hospital issue an invoice in the place of another one."""
    made = f"4{next(_NUMBERS):09}"
    hospitals.registers[RENHE].rows.append(issued(made, replaced=issued(number).invoice, **changes))
    return made


@pytest.mark.parametrize("is_claimed", [True, False])
def test_attack_an_invoice_in_the_place_of_one_that_was_not_reversed_is_not_claimed(hospitals, number, is_claimed):
    if is_claimed:
        want(hospitals, RESERVE, ANXIN, number)
        want(hospitals, SETTLE, ANXIN, number)
    made = anew(hospitals, number)
    with pytest.raises(ConflictError, match=r"claim\.replaced"):
        want(hospitals, RESERVE, TAIPING, made)
    item = replace(issued(made).invoice, scope=Scope.ITEM, line=1)
    edit(hospitals, invoice=item)
    with pytest.raises(ConflictError, match=r"claim\.replaced"):
        want(hospitals, RESERVE, TAIPING, made, scope=Scope.ITEM, line=1)


def test_an_invoice_that_is_issued_anew_names_the_reversed_one_on_the_ledger_and_to_its_insurer(hospitals, number):
    old = want(hospitals, RESERVE, ANXIN, number)
    hospitals.local(RENHE).call(REVERSE, {"row": row(number).to_json()})
    made = anew(hospitals, number)
    done = want(hospitals, RESERVE, TAIPING, made)
    record = hospitals.federation.sites[ANXIN].ledger.record(unhex(done["key"], 32))
    assert [(ref.key.hex(), ref.version) for ref in record.refs] == [(old["key"], 2)]
    body = hospitals.federation.sites[TAIPING].node.shelf.newest(unhex(done["key"], 32))
    assert read_shown(body.content).bill.replaces.hex() == old["key"]
    # The next version stands on nothing more, and the old one stays dead.
    settled = want(hospitals, SETTLE, TAIPING, made)
    assert (settled["version"], settled["status"]) == (2, "settled")
    with pytest.raises(VerificationError, match=r"claim\.|transaction\."):
        want(hospitals, RESERVE, TAIPING, number)


def test_what_was_reserved_of_an_invoice_that_was_taken_back_is_not_said_to_be_reserved_again(hospitals, number):
    want(hospitals, RESERVE, ANXIN, number)
    hospitals.local(RENHE).call(REVERSE, {"row": row(number).to_json()})
    with pytest.raises((ConflictError, VerificationError), match=r"claim\.|transaction\."):
        want(hospitals, RESERVE, ANXIN, number)


def test_one_of_which_nothing_was_claimed_is_reversed_first_as_well(hospitals, number):
    hospitals.local(RENHE).call(REVERSE, {"row": row(number).to_json()})
    made = anew(hospitals, number)
    assert want(hospitals, RESERVE, TAIPING, made)["version"] == 1


def test_an_item_of_an_invoice_that_was_issued_anew_names_no_other(hospitals, number):
    hospitals.local(RENHE).call(REVERSE, {"row": row(number).to_json()})
    made = anew(hospitals, number)
    edit(hospitals, invoice=replace(issued(made).invoice, scope=Scope.ITEM, line=1))
    done = want(hospitals, RESERVE, TAIPING, made, scope=Scope.ITEM, line=1)
    assert hospitals.federation.sites[RENHE].ledger.record(unhex(done["key"], 32)).refs == ()


def test_attack_an_invoice_that_replaces_itself_is_not_claimed(hospitals, number):
    edit(hospitals, replaced=issued(number).invoice)
    with pytest.raises(ConflictError, match=r"claim\.replaced"):
        want(hospitals, RESERVE, ANXIN, number)


LINES = {"scope": Scope.ITEM, "line": 2, "amount": "400.00"}


def by_lines(hospitals) -> None:
    """Have the hospital's invoice have three lines, of which the second can be asked for as well."""
    edit(hospitals, lines=(1, 2, 3))
    whole = hospitals.registers[RENHE].rows[-1]
    line = replace(whole.invoice, scope=Scope.ITEM, line=2)
    hospitals.registers[RENHE].rows.append(replace(whole, invoice=line, amount=amount_of("400.00", "CNY")))


def give_up(hospitals, by: str, number: str, **changes: object) -> None:
    asked = {"claim": "01" * 32, "row": row(number, **changes).to_json()}
    done = hospitals.local(by).call(RELEASE, asked)
    hospitals.everywhere(unhex(done["key"], 32), done["version"])


def test_attack_a_line_of_an_invoice_that_is_claimed_whole_is_not_paid_once_more(hospitals, number):
    by_lines(hospitals)
    want(hospitals, RESERVE, ANXIN, number)
    with pytest.raises(ConflictError, match=r"claim\.apart"):
        want(hospitals, RESERVE, TAIPING, number, **LINES)
    want(hospitals, SETTLE, ANXIN, number)
    with pytest.raises(ConflictError, match=r"claim\.apart"):
        want(hospitals, RESERVE, TAIPING, number, **LINES)


def test_attack_an_invoice_of_which_a_line_is_paid_is_not_paid_whole(hospitals, number):
    by_lines(hospitals)
    want(hospitals, RESERVE, ANXIN, number, **LINES)
    want(hospitals, SETTLE, ANXIN, number, **LINES)
    with pytest.raises(ConflictError, match=r"claim\.apart"):
        want(hospitals, RESERVE, TAIPING, number)
    # Nor by who has a part of it already, or had one.
    with pytest.raises(ConflictError, match=r"claim\.apart"):
        want(hospitals, RESERVE, ANXIN, number)


def test_what_was_given_up_of_a_line_keeps_nothing_of_the_whole(hospitals, number):
    by_lines(hospitals)
    want(hospitals, RESERVE, ANXIN, number, **LINES)
    give_up(hospitals, ANXIN, number, **LINES)
    assert want(hospitals, RESERVE, TAIPING, number)["version"] == 1
    give_up(hospitals, TAIPING, number)
    assert want(hospitals, RESERVE, ANXIN, number, **LINES)["status"] == "reserved"


def test_who_asks_for_the_whole_or_for_a_line_learns_that_it_is_claimed_otherwise(hospitals, number):
    def found(**changes: object) -> str:
        return checked(hospitals, TAIPING, number, **changes)[0]

    by_lines(hospitals)
    assert (found(), found(**LINES)) == ("free", "free")
    want(hospitals, RESERVE, ANXIN, number, **LINES)
    assert (found(), found(**LINES)) == ("apart", "reserved")
    give_up(hospitals, ANXIN, number, **LINES)
    assert (found(), found(**LINES)) == ("free", "free")
    want(hospitals, RESERVE, ANXIN, number)
    want(hospitals, SETTLE, ANXIN, number)
    assert (found(), found(**LINES)) == ("settled", "apart")


def test_attack_a_line_that_is_dropped_once_it_is_paid_still_counts(hospitals, number):
    by_lines(hospitals)
    want(hospitals, RESERVE, ANXIN, number, **LINES)
    done = want(hospitals, SETTLE, ANXIN, number, **LINES)
    rows = hospitals.registers[RENHE].rows
    del rows[-1]
    edit(hospitals, lines=(1, 3))
    assert checked(hospitals, TAIPING, number)[0] == "apart"
    with pytest.raises(ConflictError, match=r"claim\.apart"):
        want(hospitals, RESERVE, TAIPING, number)
    hospitals.local(RENHE).call(REVERSE, {"row": row(number).to_json()})
    assert hospitals.federation.sites[RENHE].ledger.record(unhex(done["key"], 32)).status == "reversed"


def test_of_an_invoice_of_which_no_line_was_claimed_no_id_of_a_line_is_made(hospitals, number, monkeypatch):
    by_lines(hospitals)
    monkeypatch.setattr(VrfKey, "output", lambda _key, _alpha: pytest.fail("an id was made"))
    assert checked(hospitals, TAIPING, number)[0] == "free"


def test_after_a_restart_the_hospital_knows_again_of_which_invoices_lines_are_claimed(hospitals, number):
    by_lines(hospitals)
    want(hospitals, RESERVE, ANXIN, number, **LINES)
    hospitals.put_together(RENHE)
    assert checked(hospitals, TAIPING, number)[0] == "apart"


def test_while_the_hospital_has_not_read_its_ledger_it_looks_for_each_line(hospitals, number, monkeypatch):
    by_lines(hospitals)
    want(hospitals, RESERVE, ANXIN, number, **LINES)
    monkeypatch.setattr(claimed_lines, "_AT_ONCE", 1)
    hospitals.put_together(RENHE)
    assert checked(hospitals, TAIPING, number)[0] == "apart"
    job = next(one for one in hospitals.nodes[RENHE].jobs() if one.name == "lines")
    stop = threading.Event()
    thread = threading.Thread(target=job.run, args=(stop,))
    thread.start()
    assert eventually(lambda: not hospitals.nodes[RENHE].lines.may_have(issued("1").invoice))
    assert checked(hospitals, TAIPING, number)[0] == "apart"
    stop.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_what_a_hospital_lacks_the_body_of_may_be_a_line_of_any_invoice(hospitals, number, monkeypatch):
    by_lines(hospitals)
    want(hospitals, RESERVE, ANXIN, number, **LINES)
    shelf = type(hospitals.federation.sites[RENHE].node.shelf)
    monkeypatch.setattr(shelf, "newest", lambda _self, _key: None)
    hospitals.put_together(RENHE)
    assert checked(hospitals, TAIPING, number)[0] == "apart"
    assert hospitals.nodes[RENHE].lines.may_have(issued("1").invoice)


def test_attack_time_does_not_tell_an_insurer_that_another_has_asked_for_the_same_invoice(
    hospitals, number, monkeypatch
):
    by_lines(hospitals)
    want(hospitals, RESERVE, ANXIN, number, **LINES)
    give_up(hospitals, ANXIN, number, **LINES)
    made, real = [], Issuing.claim_id
    monkeypatch.setattr(Issuing, "claim_id", lambda self, invoice: made.append(invoice) or real(self, invoice))
    costs = []
    for by in (ANXIN, TAIPING, TAIPING):
        made.clear()
        hospitals.nodes[by].asker.ask(RENHE, [row(number)])
        costs.append(len(made))
    assert costs == [3, 3, 0]


def test_a_line_that_was_paid_and_taken_back_keeps_nothing_of_an_invoice_that_has_it_no_more(hospitals, number):
    by_lines(hospitals)
    want(hospitals, RESERVE, ANXIN, number, **LINES)
    want(hospitals, SETTLE, ANXIN, number, **LINES)
    done = hospitals.local(RENHE).call(REVERSE, {"row": row(number, **LINES).to_json()})
    hospitals.everywhere(unhex(done["key"], 32), done["version"])
    # The line is free of charge now, and stays listed.
    assert checked(hospitals, TAIPING, number)[:2] == ("free", [])
    assert want(hospitals, RESERVE, TAIPING, number)["version"] == 1


def test_attack_a_line_that_was_paid_and_taken_back_is_not_paid_with_the_whole(hospitals, number):
    priced(hospitals, "4422.80", "4000.00")
    want(hospitals, RESERVE, ANXIN, number, **line(2, "4000.00"))
    want(hospitals, SETTLE, ANXIN, number, **line(2, "4000.00"))
    hospitals.local(RENHE).call(REVERSE, {"row": row(number, **line(2, "4000.00")).to_json()})
    with pytest.raises(ConflictError, match=r"claim\.lines"):
        want(hospitals, RESERVE, TAIPING, number)


def test_a_line_of_a_paid_invoice_that_was_taken_back_does_not_count_and_is_not_claimed_otherwise(hospitals, number):
    by_lines(hospitals)
    want(hospitals, RESERVE, ANXIN, number)
    want(hospitals, SETTLE, ANXIN, number)
    hospitals.local(RENHE).call(REVERSE, {"row": row(number).to_json()})
    assert checked(hospitals, TAIPING, number, **LINES)[:2] == ("free", ["status"])
    with pytest.raises(ConflictError, match=r"claim\.cancelled"):
        want(hospitals, RESERVE, TAIPING, number, **LINES)


def test_what_a_hospital_cannot_tell_is_taken_for_claimed_otherwise(hospitals, number, monkeypatch):
    """Such as after a restored backup, while the bodies are not here yet."""
    by_lines(hospitals)
    want(hospitals, RESERVE, ANXIN, number, **LINES)
    give_up(hospitals, ANXIN, number, **LINES)
    shelf = hospitals.federation.sites[RENHE].node.shelf
    monkeypatch.setattr(type(shelf), "head", lambda _self, _key: None)
    assert checked(hospitals, TAIPING, number)[0] == "apart"


def test_attack_a_line_of_an_invoice_that_was_taken_back_is_not_paid(hospitals, number):
    by_lines(hospitals)
    assert checked(hospitals, TAIPING, number, **LINES)[:2] == ("free", [])
    hospitals.local(RENHE).call(REVERSE, {"row": row(number).to_json()})
    # Who asks is told: on the ledger the line has no claims, and so is not reversed.
    assert checked(hospitals, TAIPING, number, **LINES)[:2] == ("free", ["status"])
    with pytest.raises(ConflictError, match=r"claim\.cancelled"):
        want(hospitals, RESERVE, TAIPING, number, **LINES)


@pytest.mark.parametrize("is_settled", [False, True])
def test_attack_a_claimed_line_is_taken_back_with_its_invoice_and_not_paid_beside_what_is_issued_anew(
    hospitals, number, is_settled
):
    by_lines(hospitals)
    done = want(hospitals, RESERVE, ANXIN, number, **LINES)
    if is_settled:
        done = want(hospitals, SETTLE, ANXIN, number, **LINES)
    hospitals.local(RENHE).call(REVERSE, {"row": row(number).to_json()})
    key = unhex(done["key"], 32)
    hospitals.everywhere(key, done["version"] + 1)
    ledger = hospitals.federation.sites[ANXIN].ledger
    assert (ledger.record(key).version, ledger.record(key).status) == (done["version"] + 1, "reversed")
    # Its insurer is told, and cannot pay what it reserved.
    assert read_shown(hospitals.federation.sites[ANXIN].node.shelf.newest(key).content).status == "reversed"
    if not is_settled:
        with pytest.raises((ConflictError, VerificationError), match=r"claim\.|transaction\."):
            want(hospitals, SETTLE, ANXIN, number, **LINES)
    assert want(hospitals, RESERVE, TAIPING, anew(hospitals, number))["version"] == 1


def test_race_of_a_line_and_the_whole_exactly_one_wins(hospitals, number):
    by_lines(hospitals)
    outcomes: dict[str, str] = {}

    def one(by: str, changes: dict) -> None:
        try:
            asked = {"amount": "", "claim": "01" * 32, "days": 7, "row": row(number, **changes).to_json()}
            hospitals.local(by).call(RESERVE, asked)
            outcomes[by] = "won"
        except ConflictError as error:
            outcomes[by] = error.code

    threads = [threading.Thread(target=one, args=pair) for pair in ((ANXIN, {}), (TAIPING, LINES))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes.values()) == ["claim.apart", "won"]


def priced(hospitals, *prices: str) -> None:
    """Have the hospital's invoice have lines of such prices, each of which can be asked for as well."""
    amounts = {line: amount_of(price, "CNY") for line, price in enumerate(prices, 1)}
    edit(hospitals, lines=tuple(amounts), prices=amounts)
    whole = hospitals.registers[RENHE].rows[-1]
    for line, amount in amounts.items():
        named = replace(whole.invoice, scope=Scope.ITEM, line=line)
        hospitals.registers[RENHE].rows.append(replace(whole, invoice=named, amount=amount))


def line(number: int, amount: str) -> dict:
    return {"scope": Scope.ITEM, "line": number, "amount": amount}


def refund(hospitals, number: str, refunded: str, **changes: object) -> None:
    asked = {"amount": refunded, "row": row(number, **changes).to_json()}
    done = hospitals.local(RENHE).call(REFUND, asked)
    hospitals.everywhere(unhex(done["key"], 32), done["version"])


def test_attack_lines_that_come_to_more_than_their_invoice_are_not_paid_one_by_one(hospitals, number):
    # 8422.80 of 9000.00: the patient was given a discount on the whole.
    priced(hospitals, "4500.00", "4500.00")
    for by, place in ((ANXIN, 1), (TAIPING, 2)):
        with pytest.raises(ConflictError, match=r"claim\.lines"):
            want(hospitals, RESERVE, by, number, **line(place, "4500.00"))
    assert want(hospitals, RESERVE, ANXIN, number)["version"] == 1


def test_lines_that_come_to_their_invoice_are_paid_one_by_one(hospitals, number):
    priced(hospitals, "4422.80", "4000.00")
    assert want(hospitals, RESERVE, ANXIN, number, **line(1, "4422.80"))["status"] == "reserved"
    assert want(hospitals, RESERVE, TAIPING, number, **line(2, "4000.00"))["status"] == "reserved"


def test_attack_lines_that_are_priced_otherwise_once_one_is_paid_open_nothing_more(hospitals, number):
    priced(hospitals, "4422.80", "4000.00")
    want(hospitals, RESERVE, ANXIN, number, **line(1, "4422.80"))
    want(hospitals, SETTLE, ANXIN, number, **line(1, "4422.80"))
    rows = hospitals.registers[RENHE].rows
    moved = {1: amount_of("22.80", "CNY"), 2: amount_of("8400.00", "CNY")}
    rows[-3:] = [replace(one, prices=moved, amount=moved.get(one.invoice.line, one.amount)) for one in rows[-3:]]
    with pytest.raises(ConflictError, match=r"claim\.lines"):
        want(hospitals, RESERVE, TAIPING, number, **line(2, "8400.00"))
    # What is taken off the first one, and told its insurer, the second one may have.
    refund(hospitals, number, "4400.00", **line(1, "4422.80"))
    assert want(hospitals, RESERVE, TAIPING, number, **line(2, "8400.00"))["status"] == "reserved"


def test_lines_in_another_currency_than_their_invoice_are_not_paid_one_by_one(hospitals, number):
    priced(hospitals, "4422.80", "4000.00")
    for one in hospitals.registers[RENHE].rows[-3:]:
        one.prices[2] = amount_of("1.00", "USD")
    with pytest.raises(ConflictError, match=r"claim\.lines"):
        want(hospitals, RESERVE, ANXIN, number, **line(1, "4422.80"))


def test_a_line_of_an_invoice_that_says_no_total_is_claimed_by_itself(hospitals, number):
    priced(hospitals, "4422.80")
    rows = hospitals.registers[RENHE].rows
    rows[-2] = replace(rows[-2], amount=None)
    assert want(hospitals, RESERVE, ANXIN, number, **line(1, "4422.80"))["status"] == "reserved"


def test_attack_what_was_refunded_of_the_whole_is_not_paid_by_its_lines(hospitals, number):
    priced(hospitals, "4422.80", "4000.00")
    want(hospitals, RESERVE, ANXIN, number)
    refund(hospitals, number, "4000.00")
    give_up(hospitals, ANXIN, number)
    with pytest.raises(ConflictError, match=r"claim\.lines"):
        want(hospitals, RESERVE, TAIPING, number, **line(2, "4000.00"))
    assert want(hospitals, RESERVE, TAIPING, number, "4422.80")["status"] == "reserved"


def test_attack_what_was_refunded_of_a_line_is_not_paid_with_the_whole(hospitals, number):
    priced(hospitals, "4422.80", "4000.00")
    want(hospitals, RESERVE, ANXIN, number, **line(2, "4000.00"))
    refund(hospitals, number, "4000.00", **line(2, "4000.00"))
    give_up(hospitals, ANXIN, number, **line(2, "4000.00"))
    with pytest.raises(ConflictError, match=r"claim\.lines"):
        want(hospitals, RESERVE, TAIPING, number)


def test_attack_a_line_that_its_invoice_has_no_more_is_not_paid_once_that_was_taken_back(hospitals, number):
    by_lines(hospitals)
    want(hospitals, RESERVE, ANXIN, number, **LINES)
    rows = hospitals.registers[RENHE].rows
    rows[-2] = replace(rows[-2], lines=(1, 3))
    hospitals.local(RENHE).call(REVERSE, {"row": row(number).to_json()})
    with pytest.raises(ConflictError, match=r"claim\.cancelled"):
        want(hospitals, SETTLE, ANXIN, number, **LINES)


def test_attack_an_invoice_that_is_gone_is_not_reserved_whole_beside_a_line(hospitals, number):
    """Who had a part shows no check code any more; which lines there were nobody can tell."""
    by_lines(hospitals)
    want(hospitals, RESERVE, TAIPING, number, "1.00")
    give_up(hospitals, TAIPING, number)
    want(hospitals, RESERVE, ANXIN, number, **LINES)
    rows, asked = hospitals.registers[RENHE].rows, hospitals.nodes[TAIPING].asker
    [known] = asked.ask(RENHE, [row(number)])
    kept, rows[:] = list(rows), [one for one in rows if one.invoice.number != number]
    try:
        asked_for = request_for(hospitals, known.claim_id, 2, TAIPING, "1.00")
        with pytest.raises(ConflictError, match=r"claim\.cancelled"):
            hospitals.nodes[RENHE].deed(encode_deed(asked_for, row(number)), TAIPING)
    finally:
        rows[:] = kept


def request_for(hospitals, claim_id: bytes, head: int, by: str, amount: str) -> SignedRequest[ClaimRequest]:
    """Sign a reservation for a version."""
    time = hospitals.federation.time
    request = ClaimRequest(
        ledger=hospitals.federation.sites[by].replica.ledger,
        nonce=fresh(16),
        time=time,
        action=Action.RESERVE,
        hospital=RENHE,
        insurer=by,
        claim_id=claim_id,
        head=head,
        claim=b"\x01" * 32,
        amount=amount_of(amount, "CNY").minor,
        currency="CNY",
        until=time // DAY_S + 7,
    )
    return sign_request(Es384Signer(seed(by, "authentication", 1)), request)


def test_an_invoice_is_taken_back_once_however_often_it_is_asked_for(hospitals, number):
    by_lines(hospitals)
    want(hospitals, RESERVE, ANXIN, number, **LINES)
    done = [hospitals.local(RENHE).call(REVERSE, {"row": row(number).to_json()}) for _ in range(2)]
    assert done[0] == done[1]


@contextmanager
def at_a_stand(hospitals, monkeypatch) -> Iterator[list[bytes]]:
    """Have what the hospital submits come to nobody; gives the transactions."""
    waiting: list[bytes] = []

    def stalled(leaves):
        waiting.extend(one for one in leaves if one not in waiting)
        raise UnavailableError("ordering.no_quorum")

    with monkeypatch.context() as patched:
        patched.setattr(hospitals.federation.sites[RENHE].node.submitter, "_submit", stalled)
        # How long it is tried.
        patched.setattr("medchain.node.submit.UNTIL_S", 1)
        yield waiting


def test_of_two_attempts_the_first_may_still_be_ordered_and_keeps_its_body(hospitals, number, monkeypatch):
    """Or all later deeds of the invoice would lack it, for ever."""
    with at_a_stand(hospitals, monkeypatch) as waiting:
        for by, code in ((ANXIN, "no_quorum"), (TAIPING, "promised"), (ANXIN, "promised")):
            with pytest.raises(UnavailableError, match=code):
                want(hospitals, RESERVE, by, number, "1.00")
    assert len(waiting) == 1
    hospitals.federation.sites[RENHE].node.driver.submit(waiting)
    assert want(hospitals, RESERVE, ANXIN, number, "1.00")["version"] == 1
    assert want(hospitals, RESERVE, TAIPING, number, "2.00")["version"] == 2


def test_attack_a_deed_that_was_announced_and_not_ordered_is_not_taken_for_the_one_in_its_place(
    hospitals, number, monkeypatch
):
    """Two insurers would both pay: each has a body for that version, and the ledger has one of them."""
    node, site = hospitals.nodes[RENHE], hospitals.federation.sites[TAIPING]
    deed = node.deed
    monkeypatch.setattr(type(node._deeds), "_attempt", lambda *_asked: None)  # noqa: SLF001  # it waits for nothing
    # Nor does who endorses.
    monkeypatch.setattr(Endorser, "_promise", lambda *_asked: None)
    with at_a_stand(hospitals, monkeypatch) as waiting, pytest.raises(UnavailableError):
        want(hospitals, RESERVE, ANXIN, number)
    [known] = hospitals.nodes[TAIPING].asker.ask(RENHE, [row(number)])
    key = map_key("claim", RENHE, known.claim_id)

    def lying(document: bytes, peer: str) -> dict:
        with at_a_stand(hospitals, monkeypatch), pytest.raises(UnavailableError):
            deed(document, peer)
        hospitals.federation.sites[RENHE].node.driver.submit(waiting)
        return {"key": key.hex(), "version": 1}

    monkeypatch.setattr(node, "deed", lying)
    with pytest.raises(VerificationError, match=r"claim\.done"):
        want(hospitals, RESERVE, TAIPING, number)
    hospitals.everywhere(key, 1)
    assert site.node.shelf.held_at(key, 1) is not None
    assert site.node.shelf.ordered(site.ledger.record(key)) is None
    # Nor is it found to be done when it is wanted once more: the hospital has the body of the first, who has all of it.
    monkeypatch.setattr(node, "deed", deed)
    with pytest.raises(VerificationError, match=r"claim\.amount"):
        want(hospitals, RESERVE, TAIPING, number)


def test_attack_a_whole_invoice_is_not_reserved_while_a_line_may_still_be_ordered(hospitals, number, monkeypatch):
    """An attempt that failed here, with the ledger at a stand, may be ordered by others all the same."""
    by_lines(hospitals)
    with at_a_stand(hospitals, monkeypatch), pytest.raises(UnavailableError):
        want(hospitals, RESERVE, ANXIN, number, **LINES)
    with pytest.raises(UnavailableError, match=r"submit\.promised"):
        want(hospitals, RESERVE, TAIPING, number)
    # Nor by a node that was restarted meanwhile.
    hospitals.put_together(RENHE)
    with pytest.raises(UnavailableError, match=r"submit\.promised"):
        want(hospitals, RESERVE, TAIPING, number)
    # Once a later block is final it cannot come any more.
    hospitals.federation.time += 600
    hospitals.registers[RENHE].rows.append(issued(other := f"6{number}"))
    want(hospitals, RESERVE, ANXIN, other)
    assert want(hospitals, RESERVE, TAIPING, number)["version"] == 1


def test_attack_a_deed_that_shows_another_invoice_waits_for_no_other_turn(hospitals, number):
    """Else it is done beside those of its own invoice, and a line and the whole are both found free."""
    by_lines(hospitals)
    desk, rows = hospitals.nodes[RENHE]._deeds, hospitals.registers[RENHE].rows  # noqa: SLF001  # whose turn it is
    [known] = hospitals.nodes[ANXIN].asker.ask(RENHE, [row(number)])
    key = map_key("claim", RENHE, known.claim_id)

    def turn(other: str):
        [one] = hospitals.nodes[ANXIN].asker.ask(RENHE, [row(other)])
        return desk._turn(map_key("claim", RENHE, one.claim_id))  # noqa: SLF001  # the same

    others = [f"8{place}{number}" for place in range(4)]
    for other in others:
        rows.append(issued(other))
        by_lines(hospitals)
    other = next(one for one in others if turn(one) is not desk._turn(key))  # noqa: SLF001  # the same
    refused: list[str] = []

    def ask() -> None:
        asked = request_for(hospitals, known.claim_id, 1, ANXIN, "2.00")
        try:
            hospitals.nodes[RENHE].deed(encode_deed(asked, row(other, **LINES)), ANXIN)
        except ConflictError as error:
            refused.append(error.code)

    waiting = threading.Thread(target=ask)
    with turn(other):
        waiting.start()
        want(hospitals, RESERVE, ANXIN, number, "1.00")
    waiting.join(60)
    assert refused == ["claim.head"]
