"""Cosigning, the notary and takeovers: what a node vouches for, and what it never does."""

from __future__ import annotations

import pytest

from medchain.errors import InputError, UnavailableError, VerificationError
from medchain.ordering.notary import LedgerNotary, log_pen
from medchain.ordering.takeover import kept_size, new_orderer
from tests.consortium import Consortium, cosign_keys, log_signer

NAMES = [f"org-{number}" for number in range(5)]


@pytest.fixture
def consortium():
    with Consortium() as made:
        made.step()
        yield made


def ordered(consortium: Consortium) -> None:
    consortium.orderer.driver.order([consortium.anchor("org-1")])
    consortium.step()


def test_the_same_block_end_is_cosigned_anew_after_thirty_seconds_and_not_before(consortium):
    ordered(consortium)
    node = consortium.nodes["org-1"]
    assert node.driver.cosign_once() is False
    consortium.now += 29
    assert node.driver.cosign_once() is False
    consortium.now += 1
    assert node.driver.cosign_once() is True


def test_a_smaller_size_is_never_cosigned(consortium):
    ordered(consortium)
    ordered(consortium)
    node = consortium.nodes["org-1"]
    floor = node.disk.vouched.floor
    node.replica.rewind(1)
    assert node.driver.cosigner.vouch(is_caught_up=True) is None
    assert node.disk.vouched.floor == floor
    assert node.alarms() == {"checkpoint.split_view"}


def test_another_root_at_a_size_is_never_cosigned_also_after_a_restart(consortium):
    ordered(consortium)
    node = consortium.nodes["org-1"]
    before = node.disk.vouched
    other = consortium.nodes["org-0"].replica.fork()
    other.rewind(0)
    block = other.propose([consortium.anchor("org-2")], consortium.now).block
    node.replica.rewind(0)
    node.replica.apply(block)
    node.restart()
    assert node.driver.cosigner.vouch(is_caught_up=True) is None
    assert node.disk.vouched == before
    assert node.alarms() == {"checkpoint.split_view"}


def test_nothing_is_cosigned_before_the_node_has_caught_up(consortium):
    ordered(consortium)
    assert consortium.nodes["org-1"].driver.cosigner.vouch(is_caught_up=False) is None


def test_nothing_is_cosigned_when_it_cannot_be_remembered(consortium):
    node = consortium.nodes["org-1"]
    consortium.cut_off = {"org-1"}
    consortium.orderer.driver.order([consortium.anchor("org-2")])
    consortium.cut_off = set()
    node.driver.follow_once()

    def full(_vouched):
        raise UnavailableError("store.full")

    node.disk.save = full
    with pytest.raises(UnavailableError, match=r"store\.full"):
        node.driver.cosign_once()
    assert len(node.driver.checkpoint().splitlines()) < 15
    assert "org-1.medchain.example" not in node.driver.checkpoint()


def test_a_note_with_a_bad_line_is_refused_and_nothing_of_it_kept(consortium):
    ordered(consortium)
    note = consortium.nodes["org-1"].driver.checkpoint()
    cosigner = consortium.nodes["org-2"].driver.cosigner
    line = next(row for row in note.splitlines() if "org-1.medchain.example/cosigner/ed25519" in row)
    bad = note.replace(line, line[:-6] + ("A" if line[-6] != "A" else "B") + line[-5:])
    before = cosigner.note()
    with pytest.raises((VerificationError, InputError)):
        cosigner.learn(bad)
    assert cosigner.note() == before


def test_a_note_of_another_log_or_without_a_members_log_line_is_refused(consortium):
    ordered(consortium)
    replica = consortium.nodes["org-1"].replica
    notary = LedgerNotary(consortium.genesis.origin, cosign_keys("org-1"))
    with pytest.raises(VerificationError, match=r"checkpoint\.origin"):
        notary.read(log_pen(log_signer("org-0"), "elsewhere.example/log", 2, bytes(32)), replica.members)
    note = log_pen(log_signer("stranger"), consortium.genesis.origin, 2, bytes(32))
    with pytest.raises(VerificationError, match=r"checkpoint\.log_line"):
        notary.read(note, replica.members)


def test_an_older_line_does_not_take_the_place_of_a_newer_one(consortium):
    ordered(consortium)
    node = consortium.nodes["org-1"]
    old = node.driver.checkpoint()
    consortium.step(40)
    consortium.step(40)
    new = node.driver.checkpoint()
    assert new != old
    node.driver.cosign(old)
    assert node.driver.checkpoint() == new


# Five members, quorum four: kept is what four may have cosigned, the silent ones counted as if they had.
@pytest.mark.parametrize(
    ("cosigned", "final", "expected"),
    [
        ([10, 10, 10, 10, 12], 0, 10),
        ([10, 10, 10, 12, 12], 0, 10),
        ([10, 12, 12, 12, 12], 0, 12),
        ([10, 10, 12, 12], 0, 10),
        ([10, 12, 12, 12], 0, 12),
        ([0, 0, 0, 0], 0, 0),
        ([0, 0, 0, 0], 8, 8),
    ],
)
def test_what_may_be_final_is_kept_and_no_more(consortium, cosigned, final, expected):
    members = consortium.genesis.members
    assert kept_size(dict(zip(NAMES, cosigned, strict=False)), members, final) == expected


def test_fewer_answers_than_a_quorum_decide_nothing(consortium):
    with pytest.raises(VerificationError, match=r"takeover\.quorum"):
        kept_size(dict.fromkeys([*NAMES[:3], "stranger"], 10), consortium.genesis.members, 0)


def test_a_takeover_names_another_active_orderer_with_the_signatures_of_the_policy(consortium):
    node, ledger = consortium.nodes["org-2"], consortium.genesis.ledger
    members = node.replica.members
    good = consortium.hand_over("org-2", node)
    assert new_orderer(good, ledger, members) == "org-2"
    for leaf, code in (
        (b"{}", "transaction"),
        (consortium.anchor("org-2"), "transaction"),
        (consortium.hand_over("org-0", node), "transaction"),
        (consortium.hand_over("org-2", node, voters=["org-1"]), "policy"),
    ):
        with pytest.raises(VerificationError, match=rf"^takeover\.{code}"):
            new_orderer(leaf, ledger, members)
    with pytest.raises(VerificationError, match=r"^takeover\.transaction"):
        new_orderer(good, bytes(32), members)
    start = good.index(b'"sig":"') + 7
    forged = good[:start] + (b"AAAA" if good[start : start + 4] != b"AAAA" else b"BBBB") + good[start + 4 :]
    with pytest.raises(VerificationError, match=r"^takeover\.signature"):
        new_orderer(forged, ledger, members)


def test_who_is_named_by_a_takeover_alone_can_take_over(consortium):
    other = consortium.hand_over("org-3", consortium.nodes["org-2"])
    with pytest.raises(VerificationError, match=r"^takeover\.transaction"):
        consortium.nodes["org-2"].driver.takeover(other)
