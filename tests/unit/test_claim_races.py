"""Claims on the simulator: whatever the network does, no part is settled twice, and no invoice has a second id."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.crypto.vrf import VrfKey
from medchain.errors import VerificationError
from medchain.ledger.kinds.shares import State
from medchain.ledger.transaction import parse_envelope, transaction_id
from tests.claims import FIRST, HOSPITAL, SECOND, TOTAL, Desk, invoice
from tests.consortium import DAY_S, Consortium, Faults, is_level
from tests.unit.medchain.ledger.world import seed

BAD = Faults(drop=20, lose_answer=20, delay=20)
RACE_S = 40


def settled(desk: Desk) -> list[str]:
    """Name who has settled, by the newest version."""
    return [row.insurer for row in desk.claim.shares.live if row.state is State.SETTLED]


def race(start: int) -> None:
    """Let two insurers settle at once over a bad network: exactly one wins, and the other has to look again."""
    with Consortium(5, start) as consortium:
        desk = Desk(consortium, invoice(str(start + 1)))
        for insurer in (FIRST, SECOND):
            desk.done(desk.asked(insurer, "reserve", 50_000))
        assert desk.head.version == 2
        leaves = [desk.endorsed(desk.asked(FIRST, "settle", 50_000), 1)]
        leaves.append(desk.endorsed(desk.asked(SECOND, "settle", 50_000), 2))
        if consortium.dice.falls(50):
            leaves.reverse()
        consortium.faults = BAD
        for leaf in leaves:
            desk.node.submit(leaf)
        for second in range(RACE_S):
            if second == RACE_S // 2:
                consortium.faults = Faults()
            consortium.hurry()
            consortium.step()
        ids = [transaction_id(parse_envelope(leaf).payload) for leaf in leaves]
        assert [desk.node.replica.transaction_height(known) is not None for known in ids].count(True) == 1
        assert (desk.head.version, desk.head.status, len(settled(desk))) == (3, "reserved", 1)
        late = SECOND if settled(desk) == [FIRST] else FIRST
        with pytest.raises(VerificationError, match=r"^claim\.head"):
            desk.endorsed(desk.asked(late, "settle", 50_000, head=2))
        desk.spread()
        desk.done(desk.asked(late, "settle", 50_000))
        assert (desk.head.status, sorted(settled(desk)), desk.claim.open) == ("settled", [FIRST, SECOND], 0)
        consortium.settle()
        assert is_level(consortium.nodes)
        consortium.check()


@pytest.mark.parametrize("start", range(4))
def test_of_two_insurers_that_settle_at_once_exactly_one_wins(start):
    race(start)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 2000))
def test_of_two_insurers_that_settle_at_once_exactly_one_wins_a_thousand_times(start):
    race(start)


@pytest.fixture
def consortium():
    with Consortium(5, 7) as made:
        yield made


@pytest.fixture
def desk(consortium):
    return Desk(consortium, invoice("1774778511"))


def test_two_insurers_that_reserve_the_whole_at_once_do_not_both_have_it(consortium, desk):
    leaves = [desk.endorsed(desk.asked(org_id, "reserve", TOTAL), at) for at, org_id in enumerate((FIRST, SECOND), 1)]
    for leaf in leaves:
        desk.node.submit(leaf)
    desk.spread()
    assert (desk.head.version, len(desk.claim.shares.live), desk.claim.open) == (1, 1, 0)
    late = SECOND if desk.claim.changed.insurer == FIRST else FIRST
    with pytest.raises(VerificationError, match=r"^claim\.amount"):
        desk.done(desk.asked(late, "reserve", 1))
    consortium.check()


def test_parts_are_had_one_after_the_other_until_nothing_is_open(consortium, desk):
    desk.done(desk.asked(FIRST, "reserve", 70_000))
    desk.done(desk.asked(SECOND, "reserve", 30_000))
    desk.done(desk.asked(FIRST, "settle", 60_000))
    desk.done(desk.asked(SECOND, "reserve", 40_000, claim=seed("more")))
    desk.done(desk.asked(SECOND, "settle", 40_000, claim=seed("more")))
    assert (desk.head.status, desk.claim.open, sorted(settled(desk))) == ("settled", 0, [FIRST, SECOND])
    consortium.settle()
    consortium.check()


def test_a_reservation_ends_by_itself_and_its_insurer_submits_again(consortium, desk):
    desk.done(desk.asked(FIRST, "reserve", TOTAL))
    consortium.now += 11 * DAY_S
    desk.spread()
    with pytest.raises(VerificationError, match=r"^claim\.reservation"):
        desk.done(desk.asked(FIRST, "settle", TOTAL))
    desk.done(desk.asked(SECOND, "reserve", 30_000))
    desk.done(desk.asked(FIRST, "reserve", 70_000))
    assert ({row.insurer for row in desk.claim.shares.live}, desk.claim.open) == ({FIRST, SECOND}, 0)
    consortium.check()


def test_a_reversed_invoice_is_issued_anew_and_the_old_one_is_dead(consortium, desk):
    desk.done(desk.asked(FIRST, "reserve", 60_000))
    desk.done(None)
    assert desk.head.status == "reversed"
    late = desk.node.submit(desk.endorsed(desk.asked(SECOND, "reserve", 1)))
    anew = Desk(consortium, invoice("1774778512"), replaces=desk.key)
    anew.done(anew.asked(FIRST, "reserve", TOTAL))
    anew.done(anew.asked(FIRST, "settle", TOTAL))
    assert (anew.head.status, anew.head.version) == ("settled", 2)
    assert desk.node.replica.transaction_height(late) is None
    assert (desk.head.status, desk.head.version) == ("reversed", 2)
    consortium.check()


def test_attack_a_hospital_that_forges_the_endorsement_of_a_second_id_finds_no_endorser(consortium, desk):
    """Whoever is drawn refuses: an id of its choice, an invoice of another issuer, and a key of its choice."""
    for number in range(1, 9):
        wish = desk.asked(FIRST, "reserve", 10, claim_id=b"\x07" * 16)
        with pytest.raises(VerificationError, match=r"^claim\.id"):
            desk.endorsed(wish, number, object_id=b"\x07" * 16)
        foreign = Desk(consortium, replace(desk.invoice, issuer="TJ01"))
        with pytest.raises(VerificationError, match=r"^claim\.issuer"):
            foreign.endorsed(foreign.asked(FIRST, "reserve", 10), number)
        other = Desk(consortium, desk.invoice, secret=VrfKey(seed(HOSPITAL, "vrf", 2)))
        with pytest.raises(VerificationError, match=r"^claim\.key"):
            other.endorsed(other.asked(FIRST, "reserve", 10), number)


def life(start: int) -> None:
    """Let two insurers ask for whatever chance says, and days go by: the ledger never holds more than the invoice."""
    with Consortium(5, start) as consortium:
        desk, dice = Desk(consortium, invoice(str(start + 1))), consortium.dice
        for _ in range(12):
            consortium.now += dice.below(5) * DAY_S
            desk.spread(2)
            action = ("reserve", "settle", "release")[dice.below(3)]
            amount = 0 if action == "release" else 1 + dice.below(TOTAL)
            try:
                desk.done(desk.asked((FIRST, SECOND)[dice.below(2)], action, amount))
            except VerificationError:
                continue
            assert 0 <= desk.claim.open <= TOTAL
        consortium.settle()
        assert is_level(consortium.nodes)
        consortium.check()


@pytest.mark.parametrize("start", range(2))
def test_whatever_insurers_ask_for_the_ledger_never_holds_more_than_the_invoice(start):
    life(start)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 1200))
def test_whatever_insurers_ask_for_the_ledger_never_holds_more_than_the_invoice_in_many_lives(start):
    life(start)
