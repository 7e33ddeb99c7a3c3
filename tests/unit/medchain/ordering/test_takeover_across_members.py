"""A takeover where the members change in blocks that are not final: what the members before made final stays.

One of the members lies, the orderer that is replaced: it orders the change right behind the block, keeps back that the
block is final, and denies it. Source: `docs/spec/ordering.md` 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from medchain.errors import VerificationError
from medchain.ordering.notary import LedgerNotary, log_pen
from medchain.ordering.takeover import LogEnd, Shown, kept_end, read_shown
from medchain.tlog.checkpoint import parse_checkpoint
from medchain.tlog.note import parse_note
from tests.consortium import Consortium, cosign_keys, genesis, log_signer
from tests.roll import COSIGN_USES
from tests.unit.medchain.ledger.world import key


def exchange_of_cosign_keys(consortium: Consortium, org_id: str) -> bytes:
    return consortium.exchange(org_id, COSIGN_USES, consortium.orderer)


def suspension(consortium: Consortium, org_id: str) -> bytes:
    others = [name for name in consortium.nodes if name not in {org_id, "org-0"}]
    return consortium.stand({org_id: "suspended"}, consortium.orderer, voters=["org-0", *others])


def final_at_the_orderer_alone(consortium: Consortium, cosigners: Sequence[str]) -> bytes:
    """Have the orderer keep back that its newest block is final; returns the takeover agreed upon."""
    consortium.step()
    lost = consortium.orderer
    lost.driver.order([consortium.anchor("org-1")])
    consortium.settle(2)
    agreed = consortium.hand_over(
        "org-2", lost, voters=[f"org-{number}" for number in range(min(5, len(consortium.nodes)))]
    )
    lost.lies["round"] = lambda _source, _ask: ("", 0)
    lost.driver.stand_down = lambda _leaf: None
    consortium.now += 5
    lost.driver.order([consortium.anchor("org-1")])
    for name in cosigners:
        node = consortium.nodes[name]
        node.driver.follow_once()
        assert node.driver.cosign_once()
        lost.driver.cosign(node.driver.cosigner.own_note)
    assert lost.driver.cosign_once()
    assert lost.driver.cosigner.final_size == lost.replica.size
    assert consortium.nodes["org-2"].driver.cosigner.final_size < lost.replica.size
    return agreed


def taken_over_keeps_it(consortium: Consortium, agreed: bytes) -> None:
    note, taker = consortium.nodes["org-0"].driver.cosigner.final_note.text, consortium.nodes["org-2"]
    taker.driver.takeover(agreed)
    assert taker.replica.members.protocol.orderer == "org-2"
    final = parse_checkpoint(parse_note(note.encode()).text)
    assert taker.replica.root_at(final.size) == final.root


def test_a_final_block_is_kept_where_the_keys_of_a_cosigner_are_exchanged_behind_it():
    with Consortium(4) as consortium:
        agreed = final_at_the_orderer_alone(consortium, ["org-1", "org-3"])
        consortium.orderer.driver.order([exchange_of_cosign_keys(consortium, "org-1")])
        for name in ("org-1", "org-2", "org-3"):
            consortium.nodes[name].driver.follow_once()
        taken_over_keeps_it(consortium, agreed)


def test_a_final_block_is_kept_where_a_cosigner_shows_it_under_keys_that_nobody_else_was_told_of():
    with Consortium(4) as consortium:
        agreed = final_at_the_orderer_alone(consortium, ["org-1", "org-3"])
        lost, member, taker = (consortium.nodes[name] for name in ("org-0", "org-1", "org-2"))
        taker.driver.follow_once()
        height = lost.replica.height
        lost.driver.order([exchange_of_cosign_keys(consortium, "org-1")])
        member.driver.follow_once()
        member.restart()
        lost.lies["blocks"] = lambda _source, first: [
            block for block in lost.replica.blocks(first, 1 << 20) if block.height <= height
        ]
        assert taker.replica.height == height
        taken_over_keeps_it(consortium, agreed)


@pytest.mark.parametrize("is_known", [True, False])
def test_a_final_block_is_kept_where_one_of_its_cosigners_is_suspended_behind_it(is_known):
    with Consortium(6) as consortium:
        agreed = final_at_the_orderer_alone(consortium, ["org-1", "org-3", "org-5"])
        if is_known:
            consortium.orderer.driver.order([suspension(consortium, "org-5")])
        for name in ("org-1", "org-2", "org-3", "org-4"):
            consortium.nodes[name].driver.follow_once()
        taken_over_keeps_it(consortium, agreed)


# n, f, k: 6, 1, 4 and, without org-5, 5, 1, 4. Worked by hand: of the six, org-5 is silent, two show the end, one may
# hide. Of the five nobody is silent, two and one are three.
def test_what_may_be_final_by_the_members_of_any_end_is_kept():
    six = genesis(6).members
    five = six.with_organisation(replace(six.organisations["org-5"], status="suspended"))
    ends = [LogEnd(8, b"a", "", ""), LogEnd(10, b"a", "org-0", "key"), LogEnd(12, b"a", "org-0", "key")]
    silent = {f"org-{number}": list[Shown]() for number in range(5)}
    both = frozenset({"org-1", "org-3"})
    shown = silent | {name: [Shown(ends[1], both)] for name in both}
    assert kept_end(shown, ends, [six, five]) == ends[1]
    assert kept_end(shown, ends, [five]) == ends[0]
    beside = silent | {name: [Shown(LogEnd(11, b"b", "org-0", "other"), both)] for name in both}
    with pytest.raises(VerificationError, match=r"^takeover\.undecided"):
        kept_end(beside, ends, [five, six])
    assert kept_end(beside, ends[:1], [five]) == ends[0]
    fewer = {name: shown[name] for name in ("org-1", "org-2", "org-3")} | {"org-5": []}
    with pytest.raises(VerificationError, match=r"^takeover\.quorum"):
        kept_end(fewer, ends, [six, five])


def test_two_roots_under_the_log_keys_of_two_reigns_are_no_lie():
    """What the first key signed a takeover has made void; only under one key do they exclude each other."""
    members = genesis(4).members
    ends = [LogEnd(8, b"a", "", ""), LogEnd(10, b"a", "org-0", "new")]
    cosigned = Shown(ends[1], frozenset({"org-1"}))
    others = {name: list[Shown]() for name in ("org-0", "org-2", "org-3")}
    # k = 3: org-1, one that is hidden, and only with a liar that is known a third. There nothing more is hidden.
    other = Shown(LogEnd(10, b"b", "org-0", "old"), frozenset())
    assert kept_end(others | {"org-1": [cosigned, other]}, ends, [members]) == ends[0]
    twice = others | {"org-1": [cosigned, other], "org-3": [Shown(ends[1], frozenset({"org-3"}))]}
    assert kept_end(twice, ends, [members]) == ends[1]


def test_a_note_with_a_line_under_a_key_that_is_not_known_is_not_read():
    founding = genesis(4)
    members, root = founding.members, bytes(32)
    old, new = (LedgerNotary(founding.origin, cosign_keys("org-1", number)) for number in (1, 2))
    log = log_pen(log_signer("org-0"), founding.origin, 9, root)
    log_line = old.read(log, members).log_line
    organisation = members.organisations["org-1"]
    kept = [item for item in organisation.keys if item.use not in COSIGN_USES]
    keys = sorted((*kept, *(key("org-1", use, 2) for use in COSIGN_USES)), key=lambda item: item.id)
    after = members.with_organisation(replace(organisation, keys=tuple(keys)))
    for notary, reigns in ((old, [members]), (new, [after]), (old, [members, after]), (new, [members, after])):
        note = old.write(9, root, log_line, notary.cosign(9, root, 7))
        end = LogEnd(9, root, "org-0", key("org-0", "log").id)
        assert read_shown(note, old, reigns) == Shown(end, frozenset({"org-1"}))
    with pytest.raises(VerificationError, match=r"^takeover\.note"):
        read_shown(old.write(9, root, log_line, new.cosign(9, root, 7)), old, [members])
    foreign = log_pen(log_signer("org-0", 2), founding.origin, 9, root)
    with pytest.raises(VerificationError, match=r"^takeover\.note"):
        read_shown(foreign, old, [members, after])
    forged = log.replace("\n9\n", "\n10\n")
    with pytest.raises(VerificationError, match=r"^tlog\.signature"):
        read_shown(forged, old, [members])
