"""A lying orderer puts a hand-over on one branch and records on another, and shows each to half of the members.

Neither half can go on, and nothing on either can be final: each half and all who may lie are fewer than a quorum.
Source: `docs/spec/ordering.md` 5, "Two halves".
"""

from __future__ import annotations

import pytest

from medchain.errors import VerificationError
from tests.consortium import Consortium, is_level

LIAR, NAMED, TAKER = "org-0", "org-1", "org-3"
WITH_THE_HAND_OVER, WITH_THE_RECORDS = ("org-1", "org-2"), ("org-3", "org-4")


@pytest.fixture
def halved():
    """Have five of whom four are a quorum, two on each branch; the liar is silent since."""
    with Consortium(5) as made:
        made.liars = {LIAR}
        made.step()
        made.orderer.driver.order([made.anchor("org-2")])
        made.settle(2)
        liar, everybody = made.nodes[LIAR], list(made.nodes)
        leaves = {
            WITH_THE_HAND_OVER: [made.hand_over(NAMED, liar, voters=everybody, creator="org-2")],
            WITH_THE_RECORDS: [made.anchor("org-4"), made.anchor("org-4")],
        }
        for half, transactions in leaves.items():
            branch = liar.replica.fork()
            branch.propose(transactions, made.now)
            liar.lies["blocks"] = lambda _source, first, branch=branch: branch.blocks(first, 1 << 20)
            for name in half:
                made.nodes[name].driver.follow_once()
        liar.is_up = False
        for name in (*WITH_THE_HAND_OVER, *WITH_THE_RECORDS):
            assert made.nodes[name].driver.cosign_once()
        yield made


def takes_over(consortium: Consortium) -> None:
    taker = consortium.nodes[TAKER]
    taker.driver.takeover(consortium.hand_over(TAKER, taker, voters=list(consortium.nodes)))


def test_neither_half_can_take_over_and_the_refusal_says_who_and_why(halved):
    with pytest.raises(VerificationError) as caught:
        takes_over(halved)
    assert (caught.value.code, dict(caught.value.fields)) == (
        "takeover.quorum",
        {
            "answered": 2,
            "quorum": 4,
            "refused": "org-0 peer.unreachable, org-1 takeover.transaction, org-2 takeover.transaction",
        },
    )


def test_when_one_half_comes_back_from_a_backup_of_before_all_go_on(halved):
    for name in WITH_THE_HAND_OVER:
        halved.nodes[name].restore(1)
    for _ in range(3):
        halved.now += 20
        for name in (*WITH_THE_HAND_OVER, *WITH_THE_RECORDS):
            halved.nodes[name].step()
    takes_over(halved)
    halved.nodes[LIAR].lies.clear()
    halved.settle(6)
    honest = {name: node for name, node in halved.nodes.items() if name != LIAR}
    assert is_level(honest)
    assert {node.driver.cosigner.final_size for node in honest.values()} == {halved.nodes[TAKER].replica.size}
    halved.check()
