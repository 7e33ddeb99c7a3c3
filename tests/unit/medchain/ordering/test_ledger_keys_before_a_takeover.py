"""Ledger keys that were exchanged before a takeover, in blocks that are not final or that a member does not have.

Source: `docs/spec/ordering.md` 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from medchain.errors import VerificationError
from medchain.ledger.members import LEDGER_KEY
from medchain.ledger.transaction import Signer, parse_envelope
from medchain.ordering.block import accepted_id
from medchain.ordering.takeover import own_exchanges
from tests.consortium import Consortium, is_level

LOST, TAKER, OTHER, AWAY = "org-0", "org-1", "org-2", "org-3"


@pytest.fixture
def consortium():
    """Have four of whom three are a quorum, with one block that is final."""
    with Consortium(4) as made:
        made.step()
        made.orderer.driver.order([made.anchor(OTHER)])
        made.settle(2)
        yield made


def exchanged(consortium: Consortium, names: Sequence[str] = (TAKER, OTHER, AWAY)) -> bytes:
    """Have a ledger key exchanged in a block that some get and nobody cosigns; returns the transaction's id."""
    lost = consortium.nodes[LOST]
    leaf = consortium.exchange(OTHER, (LEDGER_KEY,), lost)
    lost.driver.order([leaf])
    for name in names:
        consortium.nodes[name].driver.follow_once()
    return accepted_id(leaf)


def agreed_on(consortium: Consortium, view: str = TAKER) -> bytes:
    return consortium.hand_over(TAKER, consortium.nodes[view], voters=list(consortium.nodes))


def goes_on(consortium: Consortium) -> None:
    consortium.orderer.driver.order([consortium.anchor(OTHER)])
    consortium.settle()
    assert is_level(consortium.nodes)
    assert {node.driver.cosigner.final_size for node in consortium.nodes.values()} == {consortium.orderer.replica.size}
    assert consortium.orderer.org_id == TAKER
    consortium.check()


def test_a_takeover_keeps_the_block_that_lists_the_key_it_is_signed_with(consortium):
    known, taker = exchanged(consortium), consortium.nodes[TAKER]
    taken = agreed_on(consortium)
    consortium.nodes[LOST].is_up = False
    taker.driver.takeover(taken)
    assert taker.replica.transaction_height(known) == 2
    goes_on(consortium)


def test_a_takeover_drops_what_comes_after_the_block_that_it_needs(consortium):
    known, taker = exchanged(consortium), consortium.nodes[TAKER]
    taken, after = agreed_on(consortium), consortium.anchor(OTHER)
    consortium.nodes[LOST].driver.order([after])
    taker.driver.follow_once()
    consortium.nodes[LOST].is_up = False
    assert taker.replica.height == 3
    taker.driver.takeover(taken)
    assert taker.replica.transaction_height(known) == 2
    assert taker.replica.transaction_height(accepted_id(after)) is None
    goes_on(consortium)


def test_a_takeover_signed_before_a_key_was_exchanged_drops_the_exchange_that_nobody_cosigned(consortium):
    taken, taker = agreed_on(consortium), consortium.nodes[TAKER]
    known = exchanged(consortium)
    consortium.nodes[LOST].is_up = False
    taker.driver.takeover(taken)
    assert taker.replica.transaction_height(known) is None
    goes_on(consortium)


def test_a_takeover_signed_before_a_key_was_exchanged_for_good_says_whose_and_where(consortium):
    taken, taker = agreed_on(consortium), consortium.nodes[TAKER]
    old = taker.replica.members.organisations[OTHER].key(LEDGER_KEY).id
    exchanged(consortium)
    for name in (TAKER, OTHER, AWAY):
        consortium.nodes[name].step()
    consortium.nodes[LOST].is_up = False
    with pytest.raises(VerificationError) as caught:
        taker.driver.takeover(taken)
    assert (caught.value.code, caught.value.fields) == ("takeover.signer", {"key_id": old, "height": 2})
    assert taker.replica.height == 2
    # What they agree on anew, with the new key, once the time of that one is over, holds.
    taker.driver.takeover(agreed_on(consortium))
    goes_on(consortium)


def test_a_member_that_lacks_the_block_with_the_key_helps_once_it_has_got_it(consortium):
    exchanged(consortium, (TAKER, OTHER))
    taken, away = agreed_on(consortium), consortium.nodes[AWAY]
    consortium.nodes[LOST].is_up = False
    with pytest.raises(VerificationError, match=r"takeover\.quorum"):
        consortium.nodes[TAKER].driver.takeover(taken)
    for _ in range(3):
        consortium.now += 10
        away.step()
    consortium.nodes[TAKER].driver.takeover(taken)
    goes_on(consortium)


def misled(consortium: Consortium, count: int = 1) -> None:
    """Have one be given so many blocks that nobody else has, by an orderer that forks."""
    lost, away = consortium.nodes[LOST], consortium.nodes[AWAY]
    fork = lost.replica.fork()
    for _ in range(count):
        fork.propose([consortium.anchor(OTHER)], consortium.now)
    lost.lies["blocks"] = lambda _source, first: fork.blocks(first, 1 << 20)
    away.driver.follow_once()
    away.driver.cosign_once()
    del lost.lies["blocks"]


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("is_asked", [False, True])
def test_who_was_misled_goes_over_to_a_takeover_signed_with_a_key_exchanged_since(consortium, blocks, is_asked):
    misled(consortium, blocks)
    exchanged(consortium, (TAKER, OTHER))
    taken = agreed_on(consortium)
    if not is_asked:
        consortium.cut_off = {AWAY}
    consortium.nodes[TAKER].driver.takeover(taken)
    consortium.nodes[LOST].is_up = False
    consortium.cut_off = set()
    for _ in range(6):
        consortium.now += 10
        for name in (TAKER, OTHER, AWAY):
            consortium.nodes[name].step()
    assert consortium.nodes[AWAY].replica.root == consortium.nodes[TAKER].replica.root


def test_who_was_misled_stands_down_for_a_takeover_signed_with_a_key_exchanged_since():
    """Its answer is needed: four of five, and the lost orderer is silent."""
    with Consortium(5) as consortium:
        consortium.step()
        consortium.orderer.driver.order([consortium.anchor(OTHER)])
        consortium.settle(2)
        misled(consortium)
        exchanged(consortium, (TAKER, OTHER, "org-4"))
        taken, away = agreed_on(consortium), consortium.nodes[AWAY]
        consortium.nodes[LOST].is_up = False
        with pytest.raises(VerificationError, match=r"takeover\.quorum.*org-3 takeover\.signer"):
            consortium.nodes[TAKER].driver.takeover(taken)
        for _ in range(3):
            consortium.now += 10
            away.step()
        consortium.nodes[TAKER].driver.takeover(taken)
        for _ in range(3):
            consortium.step(20)
            for node in consortium.nodes.values():
                if node.driver.cosigner.evidence:
                    # The lost orderer's fork.
                    node.acknowledge()
        goes_on(consortium)


@pytest.mark.parametrize("forged", ["key", "creator", "ledger"])
def test_an_exchange_counts_only_as_its_organisation_has_signed_it(consortium, forged):
    lost = consortium.nodes[LOST]
    leaf = consortium.exchange(OTHER, (LEDGER_KEY,), lost)
    payload = parse_envelope(leaf).transaction
    match forged:
        case "key":
            # Signed by another member than the one whose key it is.
            others = lost.replica.members.organisations[AWAY].key(LEDGER_KEY).id
            payload = replace(payload, signers=(Signer(others, "creator"),))
        case "creator":
            payload = replace(payload, creator=AWAY)
        case "ledger":
            payload = replace(payload, ledger=bytes(32))
    members = lost.replica.members
    assert own_exchanges(consortium.genesis.ledger, members, [leaf])[1] == [leaf]
    found = own_exchanges(consortium.genesis.ledger, members, [consortium.sign(payload)])
    assert found == (members, [])
