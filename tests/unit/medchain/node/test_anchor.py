"""The anchor: nothing twice, nothing lost, whatever breaks between the outbox and the ledger."""

from __future__ import annotations

from threading import Event

import pytest

from medchain.crypto.signing import Ed25519Signer
from medchain.errors import UnavailableError
from medchain.ledger.object import map_key
from medchain.ledger.transaction import Change, ObjectRow, parse_envelope, transaction_id
from medchain.node import anchor
from medchain.node.anchor import Anchor, make_batches
from medchain.node.records import NewRecord, RecordService
from medchain.ordering.receipt import Refused, sign_receipt
from medchain.store.engine import FileKind
from medchain.store.ledger import LedgerStore
from medchain.store.outbox import Intent
from medchain.store.records import RecordStore
from tests.unit.medchain.ledger.world import COMMISSION, RENHE, fresh, seed, sign
from tests.unit.medchain.node.federation import NOW
from tests.unit.medchain.node.ledgers import Author, block_of, replica_on

CONTENT = b'{"resourceType":"Observation"}'


class Bench:
    """An anchor over a real ledger that its own node orders."""

    def __init__(self, opener) -> None:
        """Open the files."""
        self.replica = replica_on(LedgerStore(opener(FileKind.LEDGER)), COMMISSION)
        self.records = RecordStore(opener(FileKind.RECORDS))
        self.service = RecordService(self.records, self.replica.ledger, seed("records"), lambda: NOW)
        self.leaves: list[bytes] = []
        self.log = Ed25519Signer(seed(COMMISSION, "log", 1))
        self.restart()

    def restart(self, submit=None) -> None:
        """Forget everything that is not on disk."""
        signer = Ed25519Signer(seed(RENHE, "ledger", 1))
        self.anchor = Anchor(RENHE, signer, self.replica, self.records, submit or self.submit)

    def submit(self, leaves):
        """Order envelopes, as the orderer does."""
        self.leaves += leaves
        proposal = self.replica.propose(leaves, NOW)
        height = self.replica.height
        return [
            Refused(proposal.refusals[index])
            if index in proposal.refusals
            else sign_receipt(
                self.log, self.replica.ledger, [transaction_id(parse_envelope(leaf).payload)], height, NOW
            )
            for index, leaf in enumerate(leaves)
        ]

    def finish(self) -> None:
        """Let a quorum have cosigned everything."""
        self.replica.store.put_checkpoint("note", size=self.replica.size, time=NOW, final=True)

    def store(self, count: int, first: int = 0, **changes: object) -> list:
        """Store records of as many patients."""
        rows = [NewRecord("Observation", f"o{n}", CONTENT, f"p{n}", **changes) for n in range(first, first + count)]
        return self.service.create_many(rows)

    def head(self, stored):
        """Return the state record of a record."""
        return self.replica.store.record(map_key("record", RENHE, stored.object_id))


@pytest.fixture
def bench(store_engine):
    return Bench(store_engine)


def anchored_objects(leaves):
    """List the objects of envelopes."""
    return [row for leaf in leaves for change in parse_envelope(leaf).transaction.changes for row in change.objects]


def test_a_stored_record_is_on_the_ledger_after_one_round(bench):
    (stored,) = bench.store(1)
    assert bench.anchor.round().submitted == 1
    assert bench.head(stored).body_hash == stored.commitment


def test_an_intent_leaves_the_outbox_only_when_it_is_final(bench):
    (stored,) = bench.store(1)
    bench.anchor.round()
    assert bench.anchor.round().ordered == 1
    assert bench.records.pending_count() == 1
    bench.finish()
    assert bench.anchor.round().marked == 1
    assert bench.records.pending_count() == 0
    assert bench.records.by_object(stored.object_id).position == bench.head(stored).since


def test_a_node_killed_between_submission_and_mark_anchors_nothing_twice(bench):
    rows = bench.store(3)
    bench.anchor.round()
    bench.restart()
    bench.anchor.round()
    bench.finish()
    bench.restart()
    bench.anchor.round()
    assert sorted(row.id for row in anchored_objects(bench.leaves)) == sorted(row.object_id for row in rows)
    assert bench.records.pending_count() == 0


def test_a_submission_that_failed_and_was_not_kept_is_made_again(bench):
    (stored,) = bench.store(1)

    def fail(_leaves):
        raise UnavailableError("ordering.full")

    bench.restart(fail)
    with pytest.raises(UnavailableError):
        bench.anchor.round()
    assert bench.head(stored) is None
    bench.restart()
    bench.anchor.round()
    assert bench.head(stored).version == 1


def test_a_submission_that_failed_but_was_kept_is_not_made_twice(bench):
    bench.store(2)

    def lose(leaves):
        bench.submit(leaves)
        raise UnavailableError("peer.broken")

    bench.restart(lose)
    with pytest.raises(UnavailableError):
        bench.anchor.round()
    assert bench.anchor.round().ordered == 2
    assert len(bench.leaves) == 1


def test_a_batch_under_way_is_not_submitted_again_before_its_promised_height(bench):
    bench.store(1)
    calls = []

    def promise(leaves):
        calls.append(leaves)
        known = transaction_id(parse_envelope(leaves[0]).payload)
        return [sign_receipt(bench.log, bench.replica.ledger, [known], bench.replica.height + 1, NOW)]

    bench.restart(promise)
    bench.anchor.round()
    bench.anchor.round()
    assert len(calls) == 1
    block_of(bench.replica, Author(replica=bench.replica).anchor(1), time=NOW)
    # The promise is broken: its height has come without it.
    bench.anchor.round()
    assert len(calls) == 2


def test_later_versions_wait_for_the_earlier_ones(bench):
    first, second = bench.service.create_many(
        [NewRecord("Observation", "o1", CONTENT, "p1"), NewRecord("Observation", "o1", CONTENT, "p1", 2)]
    )
    assert bench.anchor.round().submitted == 1
    assert bench.head(first).version == 1
    assert bench.anchor.round().submitted == 1
    assert bench.head(second).body_hash == second.commitment
    bench.finish()
    assert bench.anchor.round().marked == 2


def test_a_deletion_is_on_the_ledger_with_its_status(bench):
    (first,) = bench.store(1)
    bench.anchor.round()
    deleted = bench.service.delete("Observation", "o0")
    (other,) = bench.store(1, first=1, status="entered-in-error")
    bench.anchor.round()
    assert (bench.head(first).status, bench.head(first).body_hash) == ("deleted", deleted.commitment)
    assert bench.head(other).status == "entered-in-error"


def test_a_batch_has_at_most_400_objects_and_fits_into_a_leaf(bench):
    bench.store(401)
    bench.anchor.round()
    sizes = sorted(len(anchored_objects([leaf])) for leaf in bench.leaves)
    assert sizes == [1, 400]
    assert max(map(len, bench.leaves)) < 65_536


def test_a_batch_is_mixed_over_all_that_waits(bench):
    rows = bench.store(800)
    bench.anchor.round()
    first = {row.id for row in anchored_objects(bench.leaves[:1])}
    stored_first = {row.object_id for row in rows[:400]}
    # Of 400 drawn from 800, all from the first half: less likely than 10^-230.
    assert first != stored_first
    assert 0 < len(first & stored_first) < 400


def test_no_object_occurs_twice_in_a_batch():
    intents = [Intent(n, "anchor", b"", NOW, None, n, bytes(16), 1, bytes(32)) for n in range(3)]
    assert [len(batch) for batch in make_batches(intents)] == [1]


def test_an_anchor_names_neither_patient_nor_type(bench):
    bench.store(2)
    bench.anchor.round()
    payload = parse_envelope(bench.leaves[0]).payload
    assert b"Observation" not in payload
    assert b"p1" not in payload.replace(b'"protocol"', b"")


def test_400_objects_of_all_statuses_and_versions_of_13_digits_fit_into_a_leaf(bench):
    statuses = (b"", b"deleted", b"entered-in-error")
    intents = [Intent(n, "anchor", statuses[n % 3], NOW, None, n, fresh(16), 10**12, fresh(32)) for n in range(400)]
    leaf = bench.anchor._envelope(intents)  # noqa: SLF001  # no ledger reaches such versions
    assert len(anchored_objects([leaf])) == 400
    assert len(leaf) < 65_536


def test_a_version_that_the_ledger_holds_with_another_commitment_stays_and_holds_up_nobody(bench, caplog):
    (lost,) = bench.store(1)
    author = Author(replica=bench.replica)
    change = Change("record", "active", (ObjectRow(lost.object_id, 1, fresh(32)),))
    block_of(bench.replica, sign(author.transaction(RENHE, change, until=None)), time=NOW)
    (other,) = bench.store(1, first=1)
    found = bench.anchor.round()
    assert (found.conflicts, found.submitted) == (1, 1)
    bench.finish()
    assert bench.anchor.round().marked == 1
    assert [intent.object_id for intent in bench.records.pending(9)] == [lost.object_id]
    assert bench.head(other).version == 1
    # Told once, not at every round, and without a word of the record.
    told = [record for record in caplog.records if record.getMessage() == "anchor.conflict"]
    assert [(record.levelname, record.fields) for record in told] == [("ERROR", {"intent": 1, "version": 1})]


def test_a_batch_that_is_refused_stays_in_the_outbox(bench):
    bench.store(1)
    bench.restart(lambda leaves: [Refused("transaction.suspended") for _ in leaves])
    assert bench.anchor.round().refused == ["transaction.suspended"]
    assert bench.records.pending_count() == 1


def test_the_anchor_goes_on_after_failures_until_it_is_told_to_stop(bench):
    bench.store(1)
    stop, calls = Event(), []

    def fail_once(leaves):
        calls.append(leaves)
        if len(calls) == 1:
            raise UnavailableError("ordering.full")
        stop.set()
        return bench.submit(leaves)

    bench.restart(fail_once)
    bench.anchor.run(stop)
    assert len(calls) == 2
    assert len(bench.leaves) == 1


def test_a_promise_of_a_height_that_never_comes_does_not_withhold_a_record_for_ever(bench, monkeypatch):
    monkeypatch.setattr(anchor, "MAX_AHEAD", 2)
    bench.store(1)

    def promise(_leaves):
        return [sign_receipt(bench.log, bench.replica.ledger, [fresh(32)], 2**53 - 1, NOW)]

    bench.restart(promise)
    submitted = [bench.anchor.round().submitted]
    for _ in range(2):
        block_of(bench.replica, Author(replica=bench.replica).anchor(1), time=NOW)
        submitted.append(bench.anchor.round().submitted)
    assert submitted == [1, 0, 1]


def rounds(bench, most: int = 30) -> int:
    """Let it go round until nothing more is submitted or refused; returns how often."""
    for count in range(most):
        done = bench.anchor.round()
        bench.finish()
        if not (done.submitted or done.refused):
            return count
    raise AssertionError(most)


def twice_deleted(bench, count: int) -> None:
    """Have the ledger refuse versions: delete records that it holds as deleted, which a restored node may do."""
    stored = bench.store(count)
    bench.anchor.round()
    author = Author(replica=bench.replica)
    rows = tuple(sorted(ObjectRow(one.object_id, 2, fresh(32)) for one in stored))
    block_of(bench.replica, sign(author.transaction(RENHE, Change("record", "deleted", rows), until=None)), time=NOW)
    bench.finish()
    bench.anchor.round()
    for number in range(count):
        bench.service.update(NewRecord("Observation", f"o{number}", CONTENT, f"p{number}"))
        bench.service.delete("Observation", f"o{number}")


def test_a_version_that_the_ledger_cannot_take_holds_up_no_other_and_is_told(bench):
    twice_deleted(bench, 2)
    others = bench.store(500, first=2)
    rounds(bench)
    assert all(bench.head(stored).version == 1 for stored in others)
    assert {(row.kind, row.version) for row in bench.records.pending(9)} == {("anchor-aside", 2), ("anchor-aside", 3)}
    assert len(bench.records.pending(9)) == 4
    assert sorted(alarm.code for alarm in bench.anchor.alarms()) == ["anchor.conflict", "anchor.refused"]
    refused = next(alarm for alarm in bench.anchor.alarms() if alarm.code == "anchor.refused")
    assert (refused.fields["reason"], refused.fields["version"]) == ("transaction.status", 3)
    # Nothing is made again, and what comes later goes the ordinary way.
    count = len(bench.leaves)
    (later,) = bench.store(1, first=600)
    rounds(bench)
    assert (len(bench.leaves), bench.head(later).version) == (count + 1, 1)


def test_what_was_put_aside_is_tried_again_by_a_node_that_starts_again(bench):
    twice_deleted(bench, 1)
    rounds(bench)
    assert bench.records.pending(9, kind="anchor") == []
    stop = Event()

    def see(leaves):
        stop.set()
        return bench.submit(leaves)

    bench.restart(see)
    bench.anchor.run(stop)
    assert stop.is_set()


def test_a_refusal_that_is_about_the_organisation_puts_nothing_aside(bench):
    bench.store(3)
    bench.restart(lambda leaves: [Refused("transaction.suspended") for _ in leaves])
    for _ in range(20):
        done = bench.anchor.round()
    assert (done.narrowed, done.aside) == (0, [])
    assert len(bench.records.pending(9, kind="anchor")) == 3


def test_versions_of_two_histories_hide_nothing_that_was_stored_later(bench, monkeypatch):
    monkeypatch.setattr(anchor, "MAX_WAITING", anchor.MAX_OBJECTS)
    lost = bench.store(401)
    author = Author(replica=bench.replica)
    for start in (0, 400):
        rows = sorted(ObjectRow(stored.object_id, 1, fresh(32)) for stored in lost[start : start + 400])
        block_of(
            bench.replica,
            sign(author.transaction(RENHE, Change("record", "active", tuple(rows)), until=None)),
            time=NOW,
        )
    (later,) = bench.store(1, first=401)
    assert bench.anchor.round().conflicts == 400
    # A takeover could drop what is not final.
    assert len(bench.records.pending(900, kind="anchor")) == 402
    bench.finish()
    bench.anchor.round()
    bench.anchor.round()
    assert bench.head(later).version == 1
