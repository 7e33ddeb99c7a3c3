"""Cosigning, the notary and takeovers: what a node vouches for, and what it never does."""

from __future__ import annotations

from dataclasses import replace
from threading import Event, Thread

import pytest

from medchain.errors import InputError, UnavailableError, VerificationError
from medchain.ledger.members import Members
from medchain.ordering.block import Block
from medchain.ordering.notary import LedgerNotary, log_pen
from medchain.ordering.takeover import LogEnd, Shown, kept_end, new_orderer
from medchain.tlog.checkpoint import parse_checkpoint
from medchain.tlog.note import KeyType, VerifierKey, parse_note
from medchain.tlog.policy import Log, Policy
from medchain.tlog.witness import split_view
from tests.consortium import Consortium, cosign_keys, genesis, log_signer
from tests.roll import COSIGN_USES

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
    assert node.driver.cosigner.vouch(lambda: True) is None
    assert node.disk.vouched.floor == floor
    assert node.alarms() == {"checkpoint.split_view"}


def test_another_root_at_a_size_is_never_cosigned_also_after_a_restart(consortium):
    ordered(consortium)
    node = consortium.nodes["org-1"]
    before = node.disk.vouched
    other = consortium.nodes["org-0"].replica.fork()
    other.rewind(0)
    block = other.propose([consortium.anchor("org-2")], consortium.now).block
    node.replica.lose(0)
    node.replica.apply(block)
    node.restart()
    assert node.driver.cosigner.vouch(lambda: True) is None
    assert node.disk.vouched == before
    assert node.alarms() == {"checkpoint.split_view"}


def test_nothing_is_cosigned_before_the_node_has_caught_up(consortium):
    ordered(consortium)
    assert consortium.nodes["org-1"].driver.cosigner.vouch(lambda: False) is None


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


def test_attack_a_member_shows_the_orderer_its_own_log_line_and_keeps_it_from_cosigning_nothing():
    """Behind the member's own log line: a node that took it for its cosignature would not cosign for 30 s."""
    with Consortium(5) as made:
        made.step()
        orderer, origin = made.orderer, made.genesis.origin
        made.nodes["org-4"].is_up = False
        for _ in range(3):
            orderer.driver.order([made.anchor("org-1")])
            size, root = orderer.replica.size, orderer.replica.root
            line = orderer.replica.blocks(orderer.replica.height, 1)[0].checkpoint.partition("\n\n")[2]
            orderer.driver.cosign(log_pen(log_signer("org-4"), origin, size, root) + line)
            assert orderer.disk.vouched.size < size
            for _ in range(3):
                made.step()
            assert orderer.driver.cosigner.final_size == size


def test_who_signs_with_fifty_keys_crowds_out_lines_of_its_own_alone():
    origin, root = genesis(4).origin, bytes(32)
    lines = {}
    for generation in range(1, 51):
        lines.update(LedgerNotary(origin, cosign_keys("org-0", generation)).cosign(4, root, 1_000 + generation))
    others = {}
    for name in ("org-1", "org-2", "org-3"):
        others.update(LedgerNotary(origin, cosign_keys(name)).cosign(4, root, 1_000))
    log_line = log_pen(log_signer("org-0"), origin, 4, root).partition("\n\n")[2]
    note = LedgerNotary(origin, cosign_keys("org-0")).write(4, root, log_line, lines | others)
    rows = note.partition("\n\n")[2].splitlines(keepends=True)
    assert len(parse_note(note.encode()).signatures) == 99
    assert {line.text for line in others.values()} < set(rows)
    own = sorted((line.time for line in lines.values() if line.text in rows), reverse=True)
    assert own == [1_000 + generation for generation in range(50, 4, -1) for _ in COSIGN_USES]


@pytest.mark.parametrize("ahead", [0, 100])
def test_the_alarm_over_a_split_view_holds_the_two_notes_that_prove_it(consortium, ahead):
    """Of a size that the node has, and of one that it has only heard of; judged as C2SP does, under the log's key."""
    ordered(consortium)
    node = consortium.nodes["org-1"]
    size, origin = node.replica.size + ahead, consortium.genesis.origin
    signer = log_signer("org-0")
    for root in (bytes(32), b"\1" * 32):
        node.driver.cosign(log_pen(signer, origin, size, root))
    (alarm,) = node.driver.health().alarms
    notes = [str(alarm.fields[name]).encode() for name in ("ours", "theirs")]
    only_the_log = Policy((Log(VerifierKey(origin, KeyType.ED25519, signer.public)),), (), "none")
    assert split_view(*notes, only_the_log)
    assert parse_checkpoint(parse_note(notes[0]).text).root == (bytes(32) if ahead else node.replica.root)


def missed(consortium: Consortium, node: str) -> list[Block]:
    """Have four blocks ordered while a node is away, of which the last one is not final."""
    consortium.cut_off = {node}
    for _ in range(3):
        ordered(consortium)
    consortium.orderer.driver.order([consortium.anchor("org-2")])
    consortium.cut_off = set()
    return consortium.orderer.replica.blocks(consortium.nodes[node].replica.height + 1, 1 << 20)


def test_attack_a_fork_that_was_heard_of_is_found_also_between_blocks_that_are_applied_together(consortium):
    node, blocks = consortium.nodes["org-1"], missed(consortium, "org-1")
    size = parse_checkpoint(parse_note(blocks[1].checkpoint.encode()).text).size
    node.driver.cosign(log_pen(log_signer("org-0"), consortium.genesis.origin, size, bytes(32)))
    assert (node.alarms(), node.driver.follower.apply(blocks)) == (set(), 4)
    assert node.alarms() == {"checkpoint.split_view"}


def test_what_a_quorum_cosigned_between_blocks_that_are_applied_together_is_final_with_them(consortium):
    node, blocks = consortium.nodes["org-1"], missed(consortium, "org-1")
    final = consortium.orderer.driver.cosigner.final_note
    node.driver.cosign(final.text)
    assert node.replica.size < final.size > node.driver.cosigner.final_size
    assert node.driver.follower.apply(blocks) == 4
    assert node.replica.size > final.size == node.driver.cosigner.final_size


def test_of_blocks_that_are_applied_together_the_newest_can_be_cosigned(consortium):
    node, blocks = consortium.nodes["org-1"], missed(consortium, "org-1")
    node.driver.follower.apply(blocks)
    ends = [parse_checkpoint(parse_note(block.checkpoint.encode()).text).size for block in blocks]
    assert [node.driver.cosigner.note(size) is not None for size in ends] == [False, False, False, True]


def test_a_bad_block_behind_good_ones_keeps_these_and_accuses(consortium):
    node, blocks = consortium.nodes["org-1"], missed(consortium, "org-1")
    bad = replace(blocks[-1], checkpoint=blocks[0].checkpoint)
    consortium.orderer.lies["blocks"] = lambda _source, first: [*blocks[first - blocks[0].height : -1], bad]
    follower = node.driver.follower
    assert [follower.step(), node.replica.height, node.driver.is_caught_up] == [3, bad.height - 1, False]
    assert (follower.alarm.code, follower.alarm.height) == ("block.size", bad.height)
    assert (follower.step(), follower.alarm.code) == (0, "block.size")
    consortium.orderer.lies.clear()
    consortium.settle(3)
    assert (node.replica.root, follower.alarm) == (consortium.orderer.replica.root, None)


def test_a_split_view_is_kept_before_the_note_that_showed_it_is_answered(consortium):
    """Who shows a fork and has the process end at once would else have it forgotten."""
    ordered(consortium)
    node, kept = consortium.nodes["org-1"], []
    node.driver.keep_alarm = kept.append
    node.driver.cosign(log_pen(log_signer("org-0"), consortium.genesis.origin, node.replica.size, bytes(32)))
    assert [alarm.code for alarm in kept] == ["checkpoint.split_view"]


def test_a_split_view_that_cannot_be_kept_yet_stops_all_the_same(consortium):
    ordered(consortium)
    node = consortium.nodes["org-1"]

    def full(_alarm):
        raise UnavailableError("store.full", table="alarm")

    node.driver.keep_alarm = full
    node.driver.cosign(log_pen(log_signer("org-0"), consortium.genesis.origin, node.replica.size, bytes(32)))
    assert node.driver.cosigner.is_stopped
    assert node.alarms() == {"checkpoint.split_view"}


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


def block_end(name: str) -> LogEnd:
    """Make a block end of its size and a letter that stands for its root; with an x org-1 has signed it as orderer."""
    signer = "org-1" if name[-1] == "x" else "org-0"
    return LogEnd(int(name[:-1]), name[-1].encode(), signer, f"{signer}'s log key")


def decide(members: Members, answers: list[str], own: list[str], **more: Shown) -> LogEnd:
    """Decide on what members answer, org-0, which is lost, last: dots are silent, 0a has cosigned nothing.

    Besides, org-1 may show what others have cosigned.
    """
    names = sorted(members.organisations)
    said = dict(zip([*names[1:], names[0]], answers, strict=True))
    shown = {name: [Shown(block_end(end), frozenset({name}))] for name, end in said.items() if end != "."}
    if more:
        shown["org-1"] += more.values()
    return kept_end(shown, [block_end(end) for end in own], [members])


# With n members, of whom f may lie, and quorum k, s of them silent, a block of ours is kept if k - s - f of those who
# answer, or more, say that they cosigned it or what follows on it. Worked by hand; n, f, k: 4, 1, 3; 5, 1, 4; 7, 2, 5.
@pytest.mark.parametrize(
    ("answers", "own", "expected"),
    [
        # Nobody is silent: at n = 5, three of five.
        ("10a 10a 10a 10a 12a", "8a 10a 12a", "10a"),
        ("10a 10a 12a 12a 10a", "8a 10a 12a", "10a"),
        ("10a 10a 12a 12a 12a", "8a 10a 12a", "12a"),
        # One is silent and another may lie: two of four. What the lost orderer denies may be final all the same.
        ("10a 10a 12a . 10a", "8a 10a 12a", "10a"),
        (". 12a 12a 0a 0a", "8a 10a 12a", "12a"),
        ("12a 12a 0a 0a .", "8a 10a 12a", "12a"),
        ("0a 0a 0a 0a .", "8a 10a", "8a"),
        # n = 4: one of three; n = 7: three, two, one.
        (". 10a 0a 0a", "8a 10a", "10a"),
        ("10a 10a 0a 0a", "8a 10a", "10a"),
        ("10a 0a 0a 0a", "8a 10a", "8a"),
        ("12a 12a 12a 0a 0a 0a 0a", "8a 10a 12a", "12a"),
        ("12a 12a 10a 0a 0a 0a 0a", "8a 10a 12a", "10a"),
        ("12a 12a 0a 0a 0a 0a .", "8a 10a 12a", "12a"),
        ("12a 0a 0a 0a 0a 0a .", "8a 10a 12a", "8a"),
        ("12a 0a 0a 0a 0a . .", "8a 10a 12a", "12a"),
        # Forked: who has signed both roots is one of the f, and nothing more is hidden at n = 4 and 5.
        ("10a 10a 10b 10b", "8a 10a", "10a"),
        ("10a 10a 10b .", "8a 10a", "10a"),
        ("10a 10a 10a 10b 10b", "8a 10a", "10a"),
        ("10a 10a 10b 10b .", "8a 10a", "8a"),
        # What is beside ours and larger may have branched off after it.
        ("11b 10a 10a 10a .", "8a 10a", "10a"),
        # Signed beside a larger log that is ours: the orderer's lie, though no two sizes are the same.
        ("10a 11b 11b .", "8a 11b", "11b"),
        ("10a 0a 11b .", "8a 11b", "8a"),
        # Another takeover's, which one member makes up.
        ("10a 10a 10a 12x .", "8a 10a", "10a"),
    ],
)
def test_what_may_be_final_is_kept_and_no_more(answers, own, expected):
    words = answers.split()
    assert decide(genesis(len(words)).members, words, own.split()) == block_end(expected)


@pytest.mark.parametrize(
    ("answers", "own"),
    [
        # n = 4: either is final if who is silent has cosigned it, and the lost orderer, which signed both.
        (". 10a 10b 10b", "8a 10a"),
        # A larger block that nobody gives, under one member's lines; one is silent, another may lie.
        ("10a . 10a 12b", "8a 10a"),
        ("0a 0a 12a .", "8a 10a"),
        # The one taken over by is misled.
        ("10b 10a 10a 10a .", "8a 10b"),
        # n = 7: two that say other roots of one size may both have cosigned a block before it that is not ours.
        ("11c 11d 8a 8a 8a . 8a", "8a"),
        ("12a 12a 10a 12x . 12x .", "8a 10a 12a"),
    ],
)
def test_where_a_block_that_is_not_ours_may_be_final_nothing_is_decided(answers, own):
    words = answers.split()
    with pytest.raises(VerificationError, match=r"^takeover\.undecided"):
        decide(genesis(len(words)).members, words, own.split())


def test_what_others_have_of_a_member_counts_against_its_denial(consortium):
    members, more = consortium.genesis.members, Shown(block_end("10a"), frozenset({"org-0", "org-1"}))
    assert decide(members, ["10a", "0a", "0a", "0a", "0a"], ["8a", "10a"]) == block_end("8a")
    assert decide(members, ["10a", "10a", "0a", "0a", "0a"], ["8a", "10a"], more=more) == block_end("10a")


# n, f, k: 7, 2, 5. With org-0, which is silent, and two that lie, who shows it makes four; with one more that is silent
# or shows it itself, a quorum: two that lie and say that they have not are no more than the two.
@pytest.mark.parametrize(("third", "is_decided"), [("8a", True), ("10a", True), (".", False), ("12b", False)])
def test_what_others_have_of_a_member_that_shows_another_end_is_no_word_for_what_is_not_ours(third, is_decided):
    """A takeover may have dropped it since it was cosigned, and anyone may have kept its note."""
    members, void = genesis(7).members, Shown(block_end("12b"), frozenset({"org-1", "org-2", "org-3"}))
    words = ["12b", "8a", third, "8a", "8a", "8a", "."]
    if is_decided:
        assert decide(members, words, ["8a", "10a"], void=void).size in {8, 10}
    else:
        with pytest.raises(VerificationError, match=r"^takeover\.undecided"):
            decide(members, words, ["8a", "10a"], void=void)


def test_who_has_signed_two_roots_counts_for_every_block_and_uses_up_those_that_may_lie(consortium):
    members = consortium.genesis.members
    twice = {root: Shown(block_end(root), frozenset({"org-1"})) for root in ("9a", "9b")}
    # org-0 has signed both as the orderer, org-1 has cosigned both: with them two more would make a quorum.
    assert decide(members, ["0a", "10a", "0a", "0a", "0a"], ["8a", "9a", "10a"], **twice) == block_end("8a")
    assert decide(members, ["0a", "10a", "10a", "0a", "0a"], ["8a", "9a", "10a"], **twice) == block_end("10a")


def test_fewer_answers_than_a_quorum_decide_nothing(consortium):
    with pytest.raises(VerificationError, match=r"takeover\.quorum"):
        kept_end({name: [] for name in [*NAMES[:3], "stranger"]}, [block_end("8a")], [consortium.genesis.members])


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


def test_whether_a_node_has_caught_up_is_asked_when_its_turn_to_cosign_has_come(consortium):
    """Asked before, it could have begun to go over to other blocks since."""
    consortium.orderer.driver.order([consortium.anchor("org-1")])
    node = consortium.nodes["org-1"]
    node.driver.follow_once()
    cosigner, came, made = node.driver.cosigner, Event(), []
    is_caught_up = True

    def ask() -> bool:
        return is_caught_up

    def cosign() -> None:
        came.set()
        made.append(cosigner.vouch(ask))

    # As long as somebody else is at it.
    with cosigner._lock:  # noqa: SLF001  # what another thread of the node holds then
        thread = Thread(target=cosign)
        thread.start()
        assert came.wait(60)
        is_caught_up = False
    thread.join()
    assert made == [None]
    assert node.disk.vouched.floor == 0
    is_caught_up = True
    assert cosigner.vouch(ask) is not None
