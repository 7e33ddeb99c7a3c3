"""What a hospital may try with an invoice that is claimed: edit it, issue it anew, say other things of it to others."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import count

import pytest

from medchain.claims.asking import CHECK
from medchain.claims.deeds import REVERSE
from medchain.claims.wishes import RELEASE, RESERVE, SETTLE
from medchain.encoding import unhex
from medchain.errors import ConflictError, VerificationError
from medchain.ledger.invoice import Scope, amount_of
from medchain.ledger.kinds.claim_content import read_shown
from tests.unit.medchain.claims.hospitals import running_hospitals
from tests.unit.medchain.claims.questions import issued, row
from tests.unit.medchain.ledger.world import TAIPING
from tests.unit.medchain.node.federation import ANXIN, RENHE

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


def checked(hospitals, by: str, number: str) -> tuple[str, list[str], str]:
    [one] = hospitals.local(by).call(CHECK, {"rows": [row(number).to_json()]})["checked"]
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


def test_attack_a_line_of_an_invoice_that_was_taken_back_is_not_paid(hospitals, number):
    by_lines(hospitals)
    hospitals.local(RENHE).call(REVERSE, {"row": row(number).to_json()})
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
