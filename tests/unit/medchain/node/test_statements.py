"""After a permission ends: its recipient is told to erase, and states on the ledger that it did."""

from __future__ import annotations

import pytest

from medchain.encoding import canonical
from medchain.errors import ConflictError, InputError, NotFoundError, VerificationError
from medchain.ledger.kinds.erasure import Erasure, statement_key
from medchain.ledger.object import build_body
from medchain.node.restored import RestoreMark, missing_erasures
from medchain.node.statements import DUE, StatementBook
from medchain.node.submit import Draft
from tests.unit.medchain.ledger.world import fresh
from tests.unit.medchain.node.exchanges import ANXIN, RENHE, Exchange, observation
from tests.unit.medchain.node.federation import COMMISSION, NOW


@pytest.fixture
def released(federation):
    """Two records released under a grant."""
    made = Exchange(federation)
    made.open()
    made.store(observation(1), observation(2))
    made.asker().request_release(made.wish())
    return made


def book(exchange, org_id: str = ANXIN) -> StatementBook:
    site = exchange.federation.sites[org_id]
    judge = site.node.submitter._judge  # noqa: SLF001  # the node's own
    return StatementBook(judge, site.records, site.node.submitter, site.node.stops, fresh)


def withdraw(exchange) -> None:
    """Stop the consent, and wait until the ledger of the recipient has it."""
    exchange.federation.sites[RENHE].node.stops.stop(exchange.consent)
    exchange.federation.sites[RENHE].node.driver.outbox.step()
    ledger = exchange.federation.sites[ANXIN].ledger
    assert ledger.until(lambda: ledger.record(exchange.consent).status == "stopped" or None, 60)


def test_the_account_says_what_was_released_and_that_nobody_has_stated_anything(released):
    for org_id in (RENHE, ANXIN):
        account = book(released, org_id).account(released.grant)
        assert (account.releases, account.records, account.is_over, account.is_due) == (1, 2, False, False)
        assert (account.custodian, account.recipient, account.statement) == (RENHE, ANXIN, None)


def test_the_recipient_is_told_as_soon_as_it_hears_of_the_stop(released):
    before = len(book(released).due())
    released.federation.sites[RENHE].node.stops.stop(released.consent)
    due = {row.grant for row in book(released).due()}
    assert released.grant in due
    assert len(due) == before + 1
    assert book(released).remind() == len(due)
    alarms = released.federation.sites[ANXIN].records.alarms()
    assert any(alarm.code == DUE and released.grant.hex() in str(alarm) for alarm in alarms)


def test_its_statement_is_on_the_ledger_where_both_sides_find_it(released):
    withdraw(released)
    told = book(released).operations()
    told["erasure.state"]({"grant": released.grant.hex(), "reason": "deleted from the claims system"})
    key = statement_key(released.grant, ANXIN)
    released.federation.sites[RENHE].node.submitter.wait_final(key, 1, 60)
    for org_id in (RENHE, ANXIN):
        found = book(released, org_id).operations()["erasure.account"]({"grant": released.grant.hex()})
        assert found["statement"]["reason"] == "deleted from the claims system"
        assert found["position"] is not None
        assert (found["over"], found["due"], found["releases"]) == (True, False, 1)
    assert released.federation.sites[COMMISSION].replica.prove_record(key).record.status == "stated"
    assert released.grant not in {row.grant for row in book(released).due()}
    with pytest.raises(ConflictError, match=r"erasure\.stated"):
        book(released).state(released.grant, "again")


def test_under_a_grant_that_was_never_used_there_is_nothing_to_erase(released):
    unused = released.give()
    released.federation.sites[ANXIN].node.submitter.wait_final(unused, 1, 60)
    withdraw(released)
    assert not book(released).account(unused).is_due
    assert unused.hex() not in {row["grant"] for row in book(released).operations()["erasure.due"]({})["grants"]}


def test_nothing_is_stated_before_the_grant_is_over(released):
    with pytest.raises(VerificationError, match=r"erasure\.in_force"):
        book(released).state(released.grant, "x")
    with pytest.raises(InputError):
        book(released).state(released.grant, "")


def test_attack_the_custodian_states_that_the_recipient_erased(released):
    withdraw(released)
    with pytest.raises(VerificationError, match=r"erasure\.grant"):
        book(released, RENHE).state(released.grant, "they did, surely")


def test_attack_a_recipient_has_its_own_statement_destroyed(released):
    """It says who said so; and it is no erasure of a patient, under which others destroy what they hold."""
    withdraw(released)
    book(released).state(released.grant, "x")
    key = statement_key(released.grant, ANXIN)
    hospital = released.federation.sites[RENHE].node
    hospital.submitter.wait_final(key, 1, 60)
    asked = {"erasure": key.hex(), "objects": [key.hex()], "type": "medchain/body-erasure/v1"}
    with pytest.raises(ConflictError, match=r"body\.erasure"):
        hospital.bodies.receive(canonical(asked), ANXIN)
    # With an erasure of its own as well.
    body = build_body("erasure", Erasure(ANXIN, (fresh(32),), "asked for", NOW).to_content(), None, fresh)
    done = released.federation.sites[ANXIN].node.submitter.submit(Draft("erasure", fresh(16), body))
    hospital.submitter.wait_final(done.key, 1, 60)
    with pytest.raises(VerificationError, match=r"body\.kind"):
        hospital.bodies.receive(canonical(asked | {"erasure": done.key.hex()}), ANXIN)
    assert hospital.shelf.at(key, 1) is not None


def test_of_a_grant_that_is_not_here_there_is_no_account(released):
    for key in (b"\x01" * 32, released.consent):
        with pytest.raises(NotFoundError, match=r"grant\.unknown"):
            book(released).account(key)


def test_a_release_whose_body_was_destroyed_is_still_told(released):
    site = released.federation.sites[ANXIN]
    (access,) = {entry.access.key for entry in [released.asker().request_release(released.wish())]}
    site.ledger.delete_body(access)
    assert book(released).account(released.grant).unknown == (1, 2)


def test_a_restored_node_does_not_take_a_statement_for_a_destroyed_key(released):
    withdraw(released)
    before = missing_erasures(released.federation.sites[ANXIN].ledger, ANXIN, RestoreMark(0, 0, 0))
    book(released).state(released.grant, "x")
    assert missing_erasures(released.federation.sites[ANXIN].ledger, ANXIN, RestoreMark(0, 0, 0)) == before
