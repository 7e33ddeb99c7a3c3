"""The replica: what it applies, refuses, orders, proves and calls final; and what a fault leaves."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import replace

import pytest
from sqlalchemy import text

from medchain.crypto.signing import Ed25519Signer
from medchain.encoding import parse_canonical
from medchain.errors import ConflictError, NotFoundError, UnavailableError, VerificationError
from medchain.ledger.genesis import set_digest, trusted_policy_text
from medchain.ledger.lineage import lineage_after
from medchain.ledger.machine import parse_state_leaf
from medchain.ledger.members import organisation_content, protocol_content
from medchain.ledger.object import StateRecord
from medchain.ledger.transaction import Change, Envelope, ObjectRow
from medchain.node import replica as replicas
from medchain.node.replica import Replica
from medchain.ordering.driver import Proposal
from medchain.store import index
from medchain.store import ledger as store_ledger
from medchain.store.engine import FileKind
from medchain.store.ledger import LedgerStore
from medchain.tlog.checkpoint import cosign, parse_checkpoint
from medchain.tlog.merkle import leaf_hash, verify_consistency, verify_inclusion
from medchain.tlog.note import parse_note
from medchain.tlog.statemap import verify_map
from tests.unit.medchain.ledger.world import (
    ANXIN,
    COMMISSION,
    RENHE,
    ROLES,
    TAIPING,
    TIME,
    TONGJI,
    genesis,
    next_row,
    sign,
)
from tests.unit.medchain.node.ledgers import (
    Author,
    anchored,
    block_of,
    cosigned,
    pen,
    proofs,
    protocol_change,
    replica_on,
)

MISSING = bytes(32)


@pytest.fixture
def database(store_engine):
    return store_engine(FileKind.LEDGER)


@pytest.fixture
def orderer(database):
    return replica_on(LedgerStore(database), COMMISSION)


@pytest.fixture
def follower(other_engine):
    return replica_on(LedgerStore(other_engine(FileKind.LEDGER)))


@pytest.fixture
def author(orderer):
    return Author(replica=orderer)


def test_block_0_is_the_genesis_and_its_state_leaf(orderer):
    # docs/spec/genesis.md 3
    assert (orderer.height, orderer.size, orderer.time) == (0, 2, TIME)
    assert orderer.store.leaf(0) == genesis().encoded
    state = parse_state_leaf(orderer.store.leaf(1))
    assert (state.height, state.time) == (0, TIME)
    assert state.policy == hashlib.sha256(trusted_policy_text(genesis().members, genesis().origin).encode()).digest()
    assert set(orderer.members.organisations) == set(ROLES)
    assert orderer.ledger == hashlib.sha256(genesis().encoded).digest()


def test_creating_again_opens_what_is_there(orderer, author):
    block_of(orderer, author.anchor())
    again = Replica.create(orderer.store, genesis(), proofs())
    assert again.height == 1


def test_a_genesis_without_proofs_of_possession_is_refused(store_engine):
    forged = parse_canonical(b'{"proofs":{},"type":"medchain/genesis-proofs/v1"}', max_bytes=100)
    with pytest.raises(VerificationError):
        Replica.create(LedgerStore(store_engine(FileKind.LEDGER)), genesis(), forged)


def test_a_file_of_another_ledger_is_refused(orderer, monkeypatch):
    monkeypatch.setattr("medchain.node.replica.verify_genesis", lambda *_: None)
    with pytest.raises(VerificationError, match=r"replica\.ledger"):
        Replica.create(orderer.store, replace(genesis(), ledger=bytes(32)), None)


def test_an_empty_file_has_no_replica(store_engine):
    with pytest.raises(NotFoundError):
        Replica(LedgerStore(store_engine(FileKind.LEDGER)))


def test_a_follower_reaches_the_same_roots(orderer, follower, author):
    for number in range(1, 4):
        block = block_of(orderer, author.anchor(5), author.subject(number))
        applied = follower.apply(block)
        assert (applied.height, applied.size, applied.root) == (orderer.height, orderer.size, orderer.root)
    assert follower.store.map_root == orderer.store.map_root
    assert follower.blocks(1, 1 << 20) == orderer.blocks(1, 1 << 20)


def test_a_bad_block_keeps_those_before_it_and_is_told_of_when_it_is_the_next(orderer, follower, author):
    blocks = [block_of(orderer, author.anchor(1)) for _ in range(4)]
    root = follower.root
    lie = replace(blocks[2], checkpoint=blocks[1].checkpoint)
    assert [made.height for made in follower.apply_all([*blocks[:2], lie, blocks[3]])] == [1, 2]
    for _ in range(2):
        with pytest.raises(VerificationError, match=r"block\.size"):
            follower.apply_all([lie, blocks[3]])
        assert (follower.height, follower.root != root) == (2, True)
    assert [made.height for made in follower.apply_all(blocks[2:])] == [3, 4]
    assert (follower.root, follower.blocks(1, 1 << 20)) == (orderer.root, blocks)


def test_a_block_that_changes_the_members_is_kept_alone(orderer, follower, author):
    blocks = [block_of(orderer, author.anchor(1)) for _ in range(2)]
    moved = organisation_content(replace(author.members.organisations[RENHE], url="https://moved.example"))
    blocks.append(block_of(orderer, author.public(RENHE, ("organisation", moved), until=None)))
    blocks += [block_of(orderer, author.anchor(1)) for _ in range(2)]
    kept = []
    while blocks:
        kept.append(len(follower.apply_all(blocks)))
        blocks = blocks[kept[-1] :]
        assert follower.members_at(follower.height - kept[-1] + 1) == follower.members
    assert kept == [2, 1, 2]
    assert (follower.members, follower.root) == (orderer.members, orderer.root)


def test_what_is_kept_together_is_bounded_by_transactions_and_by_bytes(orderer, follower, author, monkeypatch):
    blocks = [block_of(orderer, *(author.anchor(1) for _ in range(count))) for count in (3, 2, 1, 1)]
    size = sum(map(len, blocks[0].transactions))
    monkeypatch.setattr(replicas, "MAX_WRITE_ENTRIES", 2)
    assert [len(follower.apply_all(blocks[at:])) for at in (0, 1)] == [1, 1]
    monkeypatch.setattr(replicas, "MAX_WRITE_ENTRIES", 100)
    monkeypatch.setattr(replicas, "MAX_BLOCK_BYTES", size // 3)
    assert [len(follower.apply_all(blocks[at:])) for at in (2, 3)] == [1, 1]
    assert follower.root == orderer.root


@pytest.mark.parametrize("is_restarted", [True, False])
def test_blocks_are_cut_at_a_size_but_never_below_one(orderer, author, is_restarted):
    made = [block_of(orderer, author.anchor()) for _ in range(3)]
    replica = Replica(orderer.store) if is_restarted else orderer
    assert replica.blocks(2, 1) == made[1:2]
    assert replica.blocks(1, 1 << 20) == made
    assert replica.blocks(4, 1 << 20) == []


def test_the_newest_blocks_are_given_to_everybody_and_read_from_the_disk_for_nobody(
    orderer, follower, author, monkeypatch
):
    made = [block_of(orderer, author.anchor(), author.subject(number)) for number in range(1, 4)]
    assert len(follower.apply_all(made)) == 3
    with monkeypatch.context() as without:
        without.setattr(LedgerStore, "blocks", None)
        for replica in (orderer, follower):
            assert [replica.blocks(first, 1 << 20) for first in (1, 2, 3)] == [made, made[1:], made[2:]]
            assert replica.blocks(1, 1) == made[:1]
    # What is long past, or too much to be held, is read.
    monkeypatch.setattr(replicas, "_MAX_ENDS", 2)
    monkeypatch.setattr(replicas, "_NEWEST_BYTES", sum(map(len, made[2].transactions)))
    made.append(block_of(orderer, author.anchor()))
    assert orderer.blocks(1, 1 << 20) == made
    assert orderer._newest.blocks.keys() == {4}  # noqa: SLF001  # what is held


def test_a_block_that_was_dropped_is_not_given_any_more(orderer, author):
    made = [block_of(orderer, author.anchor()) for _ in range(3)]
    orderer.rewind(1)
    assert orderer.blocks(1, 1 << 20) == made[:1]
    other = block_of(orderer, author.anchor())
    assert orderer.blocks(1, 1 << 20) == [made[0], other]


def test_refused_transactions_are_left_out_with_their_codes(orderer, author):
    good, late = author.anchor(), author.subject(1, until=TIME - 1)
    proposal = orderer.propose([late.leaf, b"nonsense", good.leaf, good.leaf], TIME + 1)
    assert proposal.refusals == {0: "transaction.until", 1: "transaction.malformed", 3: "transaction.version"}
    assert proposal.block.transactions == (good.leaf,)


def test_nothing_accepted_makes_no_block(orderer):
    proposal = orderer.propose([b"nonsense"], TIME + 1)
    assert proposal.block is None
    assert orderer.height == 0


def test_the_orderers_time_never_goes_back(orderer, author):
    block_of(orderer, author.anchor(), time=TIME + 50)
    assert block_of(orderer, author.anchor(), time=TIME + 20).time == TIME + 50


def test_without_a_log_key_nothing_is_ordered(follower, author):
    with pytest.raises(VerificationError, match=r"block\.protocol"):
        follower.propose([author.anchor().leaf], TIME + 1)


def test_another_members_log_key_does_not_order(follower, author):
    impostor = Replica(follower.store, pen=pen(ANXIN))
    with pytest.raises(VerificationError, match=r"block\.protocol"):
        impostor.propose([author.anchor().leaf], TIME + 1)
    assert follower.height == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda block: replace(block, height=2), "block.height"),
        (lambda block: replace(block, height=0), "block.height"),
        (lambda block: replace(block, time=TIME - 1), "block.time"),
        (lambda block: replace(block, transactions=()), "block.empty"),
        (lambda block: replace(block, transactions=(b"nonsense",)), "block.transaction"),
        (lambda block: replace(block, transactions=block.transactions[::-1]), "block.root"),
        (lambda block: replace(block, transactions=block.transactions[:1]), "block.size"),
        (lambda block: replace(block, transactions=block.transactions * 2), "block.transaction"),
        (lambda block: replace(block, time=block.time + 1), "block.root"),
        (lambda block: replace(block, checkpoint=""), "block.checkpoint"),
        (lambda block: replace(block, checkpoint=block.checkpoint.replace("/test", "/rest")), "block.checkpoint"),
        (
            lambda block: replace(block, checkpoint=block.checkpoint + block.checkpoint.split("\n")[4] + "\n"),
            "block.checkpoint",
        ),
        (lambda block: replace(block, checkpoint=block.checkpoint[:-6] + "AAA=\n"), "block.checkpoint"),
    ],
)
def test_a_lying_orderers_block_is_refused_and_nothing_kept(orderer, follower, author, change, code):
    block = block_of(orderer, author.anchor(), author.anchor())
    with pytest.raises(VerificationError) as caught:
        follower.apply(change(block))
    assert caught.value.code == code
    assert follower.height == 0
    assert follower.apply(block).height == 1


def test_each_block_end_names_the_policy_in_force_after_it(orderer, follower, author):
    # docs/spec/transaction.md 10: of the block that changes the members, that of the new ones.
    named = []
    for envelope in (author.anchor(), protocol_change(author, TONGJI)):
        follower.apply(block_of(orderer, envelope))
        named.append(parse_state_leaf(orderer.prove_state().leaf).policy)
        text = trusted_policy_text(orderer.members, genesis().origin)
        assert named[-1] == hashlib.sha256(text.encode()).digest()
    assert named[0] == parse_state_leaf(orderer.store.leaf(1)).policy != named[1]


def test_the_members_lineage_is_that_of_their_blocks_and_comes_back_with_a_rewind(orderer, author, database):
    # docs/spec/genesis.md 6: also over the vote that leaves all as it is, and over a restart.
    first = genesis().members.lineage
    assert first == lineage_after(bytes(32), set_digest(genesis().members, genesis().origin))
    block_of(orderer, author.anchor(), protocol_change(author, COMMISSION))
    assert orderer.members.lineage == first
    block_of(orderer, protocol_change(author, TONGJI))
    second = lineage_after(first, set_digest(orderer.members, genesis().origin))
    reopened = Replica(LedgerStore(database), pen=pen(TONGJI))
    assert [reopened.members_at(height).lineage for height in range(3)] == [first, first, second]
    reopened.rewind(1)
    assert reopened.members.lineage == first


def test_an_orderer_that_names_another_policy_is_refused_and_nothing_kept(orderer, follower, author, monkeypatch):
    # A quorum that cosigned it would have said that other members are enough.
    leaf = author.anchor().leaf
    monkeypatch.setattr(orderer, "_named", lambda _members: MISSING)
    lie = orderer.propose([leaf], TIME + 1).block
    with pytest.raises(VerificationError, match=r"block\.root"):
        follower.apply(lie)
    assert follower.height == 0
    monkeypatch.undo()
    orderer.rewind(0)
    assert follower.apply(orderer.propose([leaf], TIME + 1).block).height == 1


def test_a_block_signed_by_another_member_is_refused(orderer, follower, author):
    block = block_of(orderer, author.anchor())
    head = parse_checkpoint(parse_note(block.checkpoint.encode()).text)
    forged = replace(block, checkpoint=pen(TONGJI)(head).to_bytes().decode())
    with pytest.raises(VerificationError, match=r"block\.checkpoint"):
        follower.apply(forged)
    with pytest.raises(VerificationError, match=r"block\.checkpoint"):
        follower.apply(replace(forged, transactions=block.transactions * 2))


def test_a_planned_hand_over_counts_from_the_next_block(orderer, follower, author):
    follower.apply(block_of(orderer, protocol_change(author, TONGJI)))
    with pytest.raises(VerificationError, match=r"block\.protocol"):
        orderer.propose([author.anchor().leaf], TIME + 9)
    successor = Replica(follower.store, pen=pen(TONGJI))
    block = block_of(successor, Author(replica=successor).anchor())
    assert orderer.apply(block).height == 2
    assert orderer.root == successor.root


def test_a_successor_takes_over_from_a_lost_orderer(orderer, follower, author):
    successor = Replica(follower.store, pen=pen(TONGJI))
    vote = protocol_change(author, TONGJI, TONGJI)
    proposal = successor.propose([vote.leaf], TIME + 5, takeover=True)
    assert orderer.apply(proposal.block).height == 1
    assert orderer.members.protocol.orderer == TONGJI


def test_a_takeover_is_the_vote_and_nothing_else(follower, author):
    successor = Replica(follower.store, pen=pen(TONGJI))
    vote, other = protocol_change(author, TONGJI, TONGJI).leaf, author.anchor().leaf
    for leaves in ([vote, other], [other], [protocol_change(author, TONGJI).leaf]):
        with pytest.raises(VerificationError, match=r"block\.protocol"):
            successor.propose(leaves, TIME + 5, takeover=True)
    assert successor.height == 0


def test_who_is_to_order_by_a_planned_hand_over_orders_it_not_itself(orderer, follower, author):
    # What the members signed for the lost orderer to order is no takeover, whoever has it.
    block = block_of(orderer, protocol_change(author, TONGJI))
    head = parse_checkpoint(parse_note(block.checkpoint.encode()).text)
    with pytest.raises(VerificationError, match=r"block\.checkpoint"):
        follower.apply(replace(block, checkpoint=pen(TONGJI)(head).to_bytes().decode()))
    assert follower.apply(block).height == 1


def test_a_block_of_two_is_no_takeover(orderer, follower, author):
    vote, other = protocol_change(author, TONGJI, TONGJI), author.anchor()
    block = block_of(orderer, vote, other)
    head = parse_checkpoint(parse_note(block.checkpoint.encode()).text)
    with pytest.raises(VerificationError, match=r"block\.checkpoint"):
        follower.apply(replace(block, checkpoint=pen(TONGJI)(head).to_bytes().decode()))


def test_an_entry_is_proven_to_the_newest_and_to_an_earlier_tree(orderer, author):
    roots = {}
    for _ in range(4):
        block_of(orderer, author.anchor())
        roots[orderer.size] = orderer.root
    for size, root in roots.items():
        proof = orderer.prove_entry(2, size)
        verify_inclusion(leaf_hash(proof.leaf), 2, size, proof.hashes, root)
    assert orderer.prove_entry(2).size == orderer.size
    with pytest.raises(NotFoundError):
        orderer.prove_entry(5, 4)


def test_growth_is_proven_between_block_ends(orderer, author):
    block_of(orderer, author.anchor(), author.anchor())
    old_size, old_root = orderer.size, orderer.root
    block_of(orderer, author.anchor())
    proof = orderer.prove_growth(old_size)
    verify_consistency(old_size, old_root, orderer.size, orderer.root, proof)


def test_a_record_is_proven_with_its_state_leaf(orderer, author):
    envelope = author.anchor(2)
    block_of(orderer, envelope)
    for key in anchored(envelope):
        proof = orderer.prove_record(key)
        state = parse_state_leaf(proof.state.leaf)
        verify_map(state.map_root, proof.map)
        assert proof.state.position == orderer.size - 1
        assert proof.map.value == hashlib.sha256(proof.record.encode()).digest()
        assert (proof.record.kind, proof.record.since, proof.record.version) == ("record", 2, 1)


def test_absence_is_proven(orderer, author):
    block_of(orderer, author.anchor())
    proof = orderer.prove_record(MISSING)
    verify_map(parse_state_leaf(proof.state.leaf).map_root, proof.map)
    assert proof.record is None
    assert proof.map.value is None


def test_a_record_is_proven_as_it_was_at_an_earlier_block(orderer, author):
    envelope, later = author.anchor(1), author.anchor(1)
    block_of(orderer, envelope)
    size = orderer.size
    block_of(orderer, later)
    [key], [later_key] = anchored(envelope), anchored(later)
    assert orderer.prove_record(key, size).record is not None
    assert orderer.prove_record(later_key, size).record is None
    assert orderer.prove_record(later_key).record is not None
    assert orderer.prove_record(later_key, 2).record is None


def test_when_too_much_was_replaced_earlier_maps_are_gone_and_it_says_so(orderer, author, monkeypatch):
    block_of(orderer, author.anchor(1))
    size = orderer.size
    monkeypatch.setattr(index, "EARLIER_LIMIT_BYTES", 0)
    block_of(orderer, author.anchor(1))
    with pytest.raises(UnavailableError, match=r"store\.map_moved_on"):
        orderer.prove_record(MISSING, size)
    assert orderer.prove_record(MISSING).record is None


def test_proofs_want_a_block_end(orderer, author):
    block_of(orderer, author.anchor(), author.anchor())
    with pytest.raises(NotFoundError):
        orderer.prove_record(MISSING, 3)
    assert orderer.root_at(3) is None
    assert orderer.height_of(3) is None
    assert orderer.height_of(orderer.size) == 1


def test_a_transaction_is_found_by_its_id(orderer, author):
    envelopes = [author.anchor() for _ in range(3)]
    block_of(orderer, *envelopes[:2])
    block_of(orderer, envelopes[2])
    ids = [hashlib.sha256(envelope.payload).digest() for envelope in envelopes]
    assert [orderer.transaction_height(item) for item in ids] == [1, 1, 2]
    assert [orderer.store.transaction_position(item) for item in ids] == [2, 3, 5]
    assert orderer.store.transaction_position(ids[0], first=5) is None
    assert orderer.transaction_height(MISSING) is None


def test_a_checkpoint_is_final_with_a_quorum_and_not_before(orderer, author):
    # Five members, k = 4 (docs/spec/genesis.md 6).
    block = block_of(orderer, author.anchor())
    three = orderer.put_note(cosigned(block.checkpoint, RENHE, TONGJI, ANXIN, time=TIME + 10))
    assert (three.final, three.time) == (False, 0)
    four = orderer.put_note(cosigned(block.checkpoint, TAIPING, time=TIME + 20))
    # The quorum is as old as the oldest of the four.
    assert (four.final, four.time, four.size) == (True, TIME + 10, orderer.size)
    assert orderer.store.final() == four


def test_newer_cosignatures_make_the_final_checkpoint_younger_and_older_ones_do_not_age_it(orderer, author):
    block = block_of(orderer, author.anchor())
    everyone = tuple(ROLES)
    orderer.put_note(cosigned(block.checkpoint, *everyone, time=TIME + 10))
    assert orderer.put_note(cosigned(block.checkpoint, *everyone, time=TIME + 40)).time == TIME + 40
    assert orderer.put_note(cosigned(block.checkpoint, *everyone, time=TIME + 20)).time == TIME + 40


def test_an_organisations_one_line_is_no_vote(orderer, author):
    # docs/spec/genesis.md 6: group ORG all ORG-ed ORG-pq
    block = block_of(orderer, author.anchor())
    note = parse_note(cosigned(block.checkpoint, *ROLES, time=TIME + 10))
    ed_only = replace(note, signatures=tuple(s for s in note.signatures if not s.name.endswith("mldsa44")))
    assert not orderer.put_note(ed_only.to_bytes()).final


def test_a_false_line_is_refused_and_kept_nowhere(orderer, author):
    block = block_of(orderer, author.anchor())
    note = parse_note(cosigned(block.checkpoint, RENHE, time=TIME + 10))
    bad = replace(note.signatures[1], data=note.signatures[1].data[:-1] + bytes([note.signatures[1].data[-1] ^ 1]))
    with pytest.raises(VerificationError):
        orderer.put_note(replace(note, signatures=(note.signatures[0], bad)).to_bytes())
    assert orderer.store.checkpoint() is None


def test_a_note_of_another_root_is_refused(orderer, author):
    block_of(orderer, author.anchor())
    other = pen()(replace(parse_checkpoint(parse_note(orderer.blocks(1, 1)[0].checkpoint.encode()).text), root=MISSING))
    with pytest.raises(VerificationError, match=r"replica\.checkpoint"):
        orderer.put_note(other.to_bytes())


def test_lines_that_were_verified_before_count_as_if_they_were_verified_here(orderer, author):
    block = block_of(orderer, author.anchor())
    three = orderer.put_note(cosigned(block.checkpoint, RENHE, TONGJI, ANXIN, time=TIME + 10), verified=True)
    assert (three.final, three.time) == (False, 0)
    ed_only = parse_note(cosigned(block.checkpoint, COMMISSION, time=TIME + 30))
    half = replace(ed_only, signatures=tuple(s for s in ed_only.signatures if not s.name.endswith("mldsa44")))
    assert not orderer.put_note(half.to_bytes(), verified=True).final
    four = orderer.put_note(cosigned(block.checkpoint, TAIPING, time=TIME + 20), verified=True)
    assert (four.final, four.time) == (True, TIME + 10)
    # The same judgement as with every line verified.
    assert orderer.put_note(four.note.encode()) == four


def test_a_verified_note_without_the_logs_line_is_refused_all_the_same(orderer, author):
    block = block_of(orderer, author.anchor())
    note = parse_note(cosigned(block.checkpoint, *ROLES, time=TIME + 10))
    bare = replace(note, signatures=note.signatures[1:])
    with pytest.raises(VerificationError, match=r"tlog\.log_signature"):
        orderer.put_note(bare.to_bytes(), verified=True)
    assert orderer.store.checkpoint() is None


def test_at_a_change_of_members_lines_are_verified_whoever_has_verified_them(orderer, author):
    block = block_of(orderer, protocol_change(author, TONGJI))
    note = parse_note(cosigned(block.checkpoint, *ROLES, time=TIME + 10))
    bad = replace(note.signatures[1], data=note.signatures[1].data[:-1] + bytes([note.signatures[1].data[-1] ^ 1]))
    with pytest.raises(VerificationError):
        orderer.put_note(replace(note, signatures=(note.signatures[0], bad)).to_bytes(), verified=True)
    assert orderer.store.checkpoint() is None


def test_lines_of_strangers_are_dropped(orderer, author):
    block = block_of(orderer, author.anchor())
    note = parse_note(block.checkpoint.encode())
    head = parse_checkpoint(note.text)
    stranger = cosign(head, "stranger.example/cosigner", Ed25519Signer(bytes(32)), TIME)
    kept = orderer.put_note(note.add([stranger]).to_bytes())
    assert "stranger" not in kept.note


def test_the_checkpoint_after_a_change_of_members_needs_both_quorums_and_stays(orderer, author):
    block = block_of(orderer, protocol_change(author, TONGJI))
    kept = orderer.put_note(cosigned(block.checkpoint, RENHE, TONGJI, ANXIN, COMMISSION, time=TIME + 10))
    assert (kept.final, kept.pinned) == (True, True)


def quorum_change(author, quorum: int):
    """Write a vote of the members for another quorum."""
    content = protocol_content(replace(author.members.protocol, quorum=quorum))
    voters = [org_id for org_id in ROLES if org_id != RENHE]
    return sign(author.public(RENHE, ("protocol", content), signers=voters, until=None))


# docs/spec/ordering.md 4: all five are needed until the change to four is final.
def test_behind_a_change_that_lowers_the_quorum_the_one_before_is_needed_until_it_is_final(orderer, author):
    *four, fifth = sorted(ROLES)
    orderer.put_note(cosigned(block_of(orderer, quorum_change(author, 5)).checkpoint, *four, fifth, time=TIME + 10))
    block_of(orderer, quorum_change(author, 4))
    change = orderer.size
    behind = block_of(orderer, author.anchor())
    few = orderer.put_note(cosigned(behind.checkpoint, *four, time=TIME + 20))
    assert (few.final, few.time, orderer.store.first_final(change)) == (False, 0, None)
    all_five = orderer.put_note(cosigned(behind.checkpoint, fifth, time=TIME + 30))
    assert (all_five.final, all_five.pinned, all_five.time) == (True, True, TIME + 20)
    newest = block_of(orderer, author.anchor())
    four_again = orderer.put_note(cosigned(newest.checkpoint, *four, time=TIME + 40), verified=True)
    assert (four_again.final, four_again.pinned) == (True, False)
    assert (orderer.store.first_final(change), orderer.store.final()) == (all_five, four_again)
    # It stays what it was, whatever comes later.
    later = orderer.put_note(cosigned(behind.checkpoint, fifth, time=TIME + 50))
    assert (later.final, later.pinned, orderer.store.first_final(change)) == (True, True, later)


def test_blocks_that_never_became_final_can_be_dropped(orderer, follower, author):
    envelopes = [author.anchor(2) for _ in range(4)]
    states = []
    for number, envelope in enumerate(envelopes, 1):
        follower.apply(block_of(orderer, envelope, author.subject(number)))
        states.append((orderer.size, orderer.root, orderer.store.map_root))
        if number == 3:
            follower.store.flush()
    for replica in (orderer, follower):
        replica.rewind(2)
        assert (replica.size, replica.root, replica.store.map_root) == states[1]
        assert replica.store.draws(RENHE).number == 2
        assert replica.store.record(anchored(envelopes[3])[0]) is None
        assert replica.prove_record(anchored(envelopes[0])[0]).record is not None
    follower.apply(block_of(orderer, envelopes[3]))
    assert follower.root == orderer.root


def test_what_is_dropped_is_kept_aside_until_it_is_forgotten_also_over_a_restart(orderer, author):
    blocks = [block_of(orderer, author.anchor(2), author.subject(number)) for number in range(1, 5)]
    size, root = orderer.size, orderer.root
    orderer.rewind(2)
    again = Replica(LedgerStore(orderer.store._database), pen=orderer._pen)  # noqa: SLF001  # the same file, opened anew
    assert (again.height, again.dropped()) == (2, blocks[2:])
    # What comes in their place and goes again is not kept beside them.
    other = block_of(again, author.anchor())
    again.rewind(1)
    assert again.dropped() == blocks[2:]
    assert other not in again.dropped()
    for block in blocks[1:]:
        again.apply(block)
    assert (again.size, again.root) == (size, root)
    again.forget_dropped()
    assert again.dropped() == []
    again.rewind(3)
    assert again.dropped() == blocks[3:]


def test_a_rewind_that_fails_drops_nothing_and_keeps_nothing_aside(orderer, author, monkeypatch):
    for _ in range(3):
        block_of(orderer, author.anchor())
    size, root = orderer.size, orderer.root

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "disk")

    with monkeypatch.context() as patch:
        patch.setattr(store_ledger, "_drop_above", full)
        with pytest.raises((OSError, UnavailableError)):
            orderer.rewind(1)
    assert (orderer.size, orderer.root, orderer.dropped()) == (size, root, [])
    block_of(orderer, author.anchor())
    assert orderer.height == 4


def test_a_rewind_gives_back_the_tiles_of_the_smaller_tree(orderer, author):
    for _ in range(3):
        block_of(orderer, *[author.anchor(1) for _ in range(100)])
    size, root = orderer.size, orderer.root
    for _ in range(3):
        block_of(orderer, *[author.anchor(1) for _ in range(100)])
    orderer.rewind(3)
    assert (orderer.size, orderer.root) == (size, root)
    for position in (0, 255, 256, size - 1):
        proof = orderer.prove_entry(position)
        verify_inclusion(leaf_hash(proof.leaf), position, size, proof.hashes, root)
    block_of(orderer, author.anchor())
    orderer.prove_entry(256)


def test_what_is_final_is_never_dropped(orderer, author):
    block_of(orderer, author.anchor())
    block = block_of(orderer, author.anchor())
    orderer.put_note(cosigned(block.checkpoint, *ROLES, time=TIME + 10))
    with pytest.raises(ConflictError, match=r"replica\.final"):
        orderer.rewind(1)
    orderer.rewind(2)
    assert orderer.height == 2


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("leaf", "UPDATE leaf SET data = CAST(data || ' ' AS BLOB) WHERE position = 2"),
        ("edge", "UPDATE edge SET data = zeroblob(length(data)) WHERE level = 0"),
        ("state_record", "UPDATE state_record SET data = CAST(replace(data, 'active', 'ending') AS BLOB)"),
        ("tile", "UPDATE tile SET data = zeroblob(length(data))"),
        ("map_page", "UPDATE map_page SET data = zeroblob(length(data))"),
    ],
)
def test_damage_that_the_files_own_codes_miss_is_found_named_and_not_served(
    orderer, author, database, table, statement
):
    envelope = author.anchor(1)
    block_of(orderer, envelope, *[author.anchor(1) for _ in range(260)])
    orderer.store.flush()
    with database.write(table) as connection:
        connection.execute(text(statement))
    with pytest.raises(VerificationError) as caught:
        use_everything(database, anchored(envelope)[0])
    assert caught.value.code == "store.corrupt"
    # A leaf and its tile are compared with each other, so either may be named.
    assert caught.value.fields["table"] in ({"leaf", "tile"} if table in {"leaf", "tile"} else {table})


@pytest.fixture
def flipped(follower, orderer, author, other_engine):
    """Give a follower whose root page has another byte; its map has pages at two depths."""
    for _ in range(3):
        follower.apply(block_of(orderer, author.anchor(90)))
    follower.store.flush()

    def flip(at):
        damaged = other_engine(FileKind.LEDGER)
        with damaged.write("map_page") as connection:
            page = bytearray(connection.execute(text("SELECT data FROM map_page WHERE key = x'01'")).scalar_one())
            page[at] ^= 1
            connection.execute(text("UPDATE map_page SET data = :page WHERE key = x'01'"), {"page": bytes(page)})
        return Replica(LedgerStore(damaged))

    return flip


@pytest.mark.parametrize("at", [16, 40, 515])
def test_a_flipped_byte_of_a_page_is_named_as_damage_of_this_node_by_who_applies_a_block(orderer, author, flipped, at):
    """It is not the orderer that lies: what the operator reads must lead to the disk."""
    # So many that every slot of the root page is passed.
    block = block_of(orderer, author.anchor(200))
    with pytest.raises(VerificationError, match=r"store\.corrupt table=map_page"):
        flipped(at).apply(block)


@pytest.mark.parametrize(("place", "other_half"), [(2, True), (3, False)])
def test_a_false_hash_beside_the_way_is_named_as_damage_and_no_block_is_blamed(
    orderer, author, flipped, place, other_half
):
    damaged = flipped(32 * place + 6)
    envelope = next(one for one in iter(lambda: author.anchor(1), None) if (anchored(one)[0][0] >= 128) is other_half)
    block = block_of(orderer, envelope)
    for _ in range(2):
        with pytest.raises(VerificationError, match=r"store\.corrupt table=map_page"):
            damaged.apply(block)
    assert damaged.height == 3


@pytest.fixture
def hidden(orderer, follower, author, other_engine):
    """A file in which a flipped key hides an object, and that object: the machine takes it for a new one."""
    envelope = author.anchor(90)
    key = anchored(envelope)[0]
    follower.apply(block_of(orderer, envelope))
    follower.store.flush()
    damaged = other_engine(FileKind.LEDGER)
    with damaged.write("map_page") as connection:
        stored = connection.execute(text("SELECT key, data FROM map_page")).all()
        ((name, page),) = [(name, bytes(data)) for name, data in stored if key in bytes(data)]
        without = page.replace(key, key[:-1] + bytes([key[-1] ^ 1]))
        connection.execute(text("UPDATE map_page SET data = :page WHERE key = :name"), {"page": without, "name": name})
    return damaged, author.record(key)


def next_version(author: Author, record: StateRecord) -> Envelope:
    return sign(author.transaction(RENHE, Change("record", "active", next_row(record))))


def test_an_object_that_a_flipped_key_hides_is_named_as_damage_and_no_block_is_blamed(orderer, author, hidden):
    damaged, record = hidden
    reopened = Replica(LedgerStore(damaged))
    block = block_of(orderer, next_version(author, record))
    with pytest.raises(VerificationError, match=r"store\.corrupt table=map_page"):
        reopened.apply(block)
    assert reopened.height == 1


def test_an_orderer_whose_damaged_page_hides_an_object_says_so_and_refuses_nobody(author, hidden):
    damaged, record = hidden
    reopened = Replica(LedgerStore(damaged), pen=pen())
    with pytest.raises(VerificationError, match=r"store\.corrupt table=map_page"):
        reopened.propose([author.anchor().leaf, next_version(author, record).leaf], TIME + 9)
    assert reopened.height == 1


def test_what_is_about_an_object_that_there_never_was_is_refused(orderer, author):
    block_of(orderer, author.anchor(90))
    unknown = ObjectRow(bytes(16), 2, MISSING)
    envelope = sign(author.transaction(RENHE, Change("record", "active", (unknown,))))
    assert orderer.propose([envelope.leaf], TIME + 9) == Proposal(None, {0: "transaction.version"})


@pytest.mark.parametrize("place", [2, 6])
def test_a_false_hash_that_a_block_writes_over_leaves_nothing_behind(orderer, author, flipped, place):
    damaged = flipped(32 * place + 6)
    envelope = author.anchor(200)
    damaged.apply(block_of(orderer, envelope))
    assert damaged.root == orderer.root
    for key in anchored(envelope)[::20]:
        assert damaged.prove_record(key) == orderer.prove_record(key)


def use_everything(database, key: bytes) -> None:
    """Open the file and prove from it."""
    reopened = Replica(LedgerStore(database))
    reopened.prove_record(key)
    reopened.prove_entry(2)
