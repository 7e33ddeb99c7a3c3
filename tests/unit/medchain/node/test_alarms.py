"""Alarms that outlive a restart, and creators that choose who endorses."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from hashlib import sha256

import pytest

from medchain.ledger.transaction import Change, Draw, parse_envelope, parse_payload
from medchain.node.alarms import AlarmBook, DrawWatch, alarm_json, is_choosing
from medchain.ordering.driver import Alarm
from medchain.store.engine import FileKind, open_database
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore
from tests.unit.medchain.ledger.world import COMMISSION, RENHE, TONGJI, rows, sign
from tests.unit.medchain.node.federation import NOW
from tests.unit.medchain.node.ledgers import Author, block_of, replica_on

WITHHELD = Alarm("ordering.withheld", 7, {"id": "aa", "height_at_most": 7}, latched=True)
BEHIND = Alarm("block.root", 9, {"height": 9})


@pytest.fixture
def records(tmp_path):
    made = RecordStore(open_database(tmp_path / "records.db", b"\x05" * 32, kind=FileKind.RECORDS))
    yield made
    made.close()


def codes(records: RecordStore) -> list[str]:
    return [row.code for row in records.alarms()]


def test_what_ordering_raised_is_there_after_a_restart_until_somebody_acknowledges(records, tmp_path):
    present = [WITHHELD]
    AlarmBook(records, lambda: present, lambda: NOW).look()
    again = RecordStore(open_database(tmp_path / "records.db", b"\x05" * 32, kind=FileKind.RECORDS))
    book = AlarmBook(again, list, lambda: NOW + 5)
    book.look()
    [row] = again.alarms()
    assert (row.code, row.height, row.first) == ("ordering.withheld", 7, NOW)
    assert alarm_json(row)["fields"] == {"height_at_most": 7, "id": "aa"}
    again.acknowledge(row.id, "asked the orderer", NOW + 9)
    book.look()
    assert codes(records) == []
    again.close()


def test_an_alarm_that_stands_is_written_once_and_two_of_one_code_are_two(records):
    other = replace(WITHHELD, fields={"id": "bb", "height_at_most": 7})
    present = [WITHHELD, other]
    book = AlarmBook(records, lambda: present, lambda: NOW)
    for _ in range(3):
        book.look()
    assert [row.count for row in records.alarms()] == [1, 1]


def test_an_alarm_that_is_kept_at_once_is_there_before_anybody_looks_and_counts_once(records):
    present = [WITHHELD]
    book = AlarmBook(records, lambda: present, lambda: NOW)
    book.keep(WITHHELD)
    assert [row.code for row in records.alarms()] == ["ordering.withheld"]
    book.look()
    book.keep(WITHHELD)
    assert [row.count for row in records.alarms()] == [1]


def test_what_comes_and_goes_is_one_alarm_that_counts(records):
    present = []
    book = AlarmBook(records, lambda: present, lambda: NOW)
    for height in range(5):
        present[:] = [replace(BEHIND, height=height)]
        book.look()
        present.clear()
        book.look()
    [row] = records.alarms()
    assert (row.code, row.count, row.height) == ("block.root", 5, 0)


class Consortium:
    """A ledger on which one hospital draws, and a node that watches it."""

    def __init__(self, opener, records: RecordStore) -> None:
        """Begin."""
        self.store = LedgerStore(opener(FileKind.LEDGER))
        self.replica = replica_on(self.store, COMMISSION)
        self.author = Author(replica=self.replica)
        self.author.time = NOW
        self.records = records
        self.watch = DrawWatch(Finished(self.store), records, AlarmBook(records, list, lambda: NOW))

    def draws(self, *given: tuple[int, int], creator: str = RENHE) -> None:
        """Order transactions with draws (number, rank), a block each."""
        for number, rank in given:
            change = Change("subject", "active", rows(1))
            drawn = Draw(0, number, rank)
            self.author.time = self.replica.time
            made = self.author.transaction(creator, change, draw=drawn, until=self.replica.time + 60)
            block_of(self.replica, sign(made))

    def anchor(self) -> None:
        """Order a transaction without a draw."""
        made = self.author.transaction(RENHE, Change("record", "active", rows(1), stop_hash=None))
        block_of(self.replica, sign(made))

    def look(self) -> list[tuple[str, str]]:
        """Let the node look until it has seen all; returns what stands."""
        while self.watch.look():
            pass
        return [(row.code, row.subject) for row in self.records.alarms()]


class Finished:
    """The ledger's file, on which every block is final: nobody cosigns in these tests."""

    def __init__(self, store: LedgerStore) -> None:
        """Use a store."""
        self._store = store

    def __getattr__(self, name: str) -> object:
        """Be the store in everything else."""
        return getattr(self._store, name)

    def final(self):
        return self._store.head


@pytest.fixture
def consortium(store_engine, records):
    return Consortium(store_engine, records)


def test_a_creator_that_takes_its_numbers_in_turn_and_the_first_drawn_raises_nothing(consortium):
    consortium.draws(*[(number, 0) for number in range(1, 81)])
    assert consortium.look() == []


def test_a_creator_that_burns_numbers_until_a_friend_is_drawn_is_named_at_every_node(consortium):
    # Every third number: the two between are given up once the window has moved on.
    consortium.draws(*[(number, 0) for number in range(3, 150, 3)])
    assert consortium.look() == [("draw.given_up", RENHE)]
    [row] = consortium.records.alarms()
    state = consortium.store.draws(RENHE)
    assert alarm_json(row)["fields"] == {"given_up": state.given_up, "number": state.number}
    assert state.given_up > 16 + state.number // 16


def test_a_creator_that_passes_over_whoever_is_drawn_first_is_named(consortium):
    consortium.draws(*[(number, 1) for number in range(1, 33)])
    assert consortium.look() == [("draw.passed_over", RENHE)]


@pytest.mark.parametrize(
    ("candidates", "down", "draws", "most"),
    [
        # A friend among nine is passed over to in 8/9, an honest creator passes over 4/9 at most: 2/3, and √100 more.
        (9, 3, 100, 76),
        # Six, two of them may be down: (5/6 + 3/6) / 2; of 64 draws 42.67 + 8.
        (6, 2, 64, 50),
        # Five, one down: (4/5 + 2/5) / 2; four: (3/4 + 2/4) / 2.
        (5, 1, 100, 70),
        (4, 1, 100, 72),
        # Two or three, one down: both come to the same.
        (3, 1, 100, 85),
        (2, 1, 100, 85),
        (0, 1, 100, 85),
        (9, 3, 31, 31),
    ],
)
def test_so_many_may_be_passed_over_and_no_more(candidates, down, draws, most):
    assert not is_choosing(draws, most, candidates, down)
    assert most == draws or is_choosing(draws, most + 1, candidates, down)


def test_an_always_chosen_friend_among_nine_is_found_and_an_honest_creator_is_not():
    names = [f"org-{number}" for number in range(9)]
    chosen = honest = 0
    for number in range(128):
        # The draw's order, made here: what counts is that it is chance.
        order = sorted(names, key=lambda name: sha256(f"{number} {name}".encode()).digest())
        chosen += order[0] != "org-5"
        honest += order[0] in {"org-0", "org-1", "org-2", names[3 + number % 6]}
    assert is_choosing(128, chosen, 9, 3)
    assert not is_choosing(128, honest, 9, 3)
    assert honest > 128 // 3


def test_a_member_that_is_down_for_a_while_makes_nobody_a_suspect(consortium):
    # Of 64 draws, 40 fell on it while it was away.
    consortium.draws(*[(number, int(number <= 40)) for number in range(1, 65)])
    assert consortium.look() == []


def test_an_acknowledged_alarm_comes_again_only_with_more_of_it(consortium):
    consortium.draws(*[(number, 0) for number in range(3, 150, 3)])
    consortium.look()
    [row] = consortium.records.alarms()
    consortium.records.acknowledge(row.id, "asked them", NOW)
    consortium.draws(*[(number, 0) for number in range(150, 160)])
    assert consortium.look() == []
    consortium.draws(*[(number, 0) for number in range(162, 260, 3)])
    assert consortium.look() == [("draw.given_up", RENHE)]


def test_what_was_counted_is_not_counted_again_after_a_restart(consortium):
    consortium.draws(*[(number, 1) for number in range(1, 20)])
    consortium.draws((1, 0), creator=TONGJI)
    consortium.look()
    again = DrawWatch(Finished(consortium.store), consortium.records, AlarmBook(consortium.records, list, lambda: NOW))
    assert not again.look()
    rows_ = [(row.creator, row.draws, row.passed) for row in consortium.records.draw_spans()]
    assert rows_ == [(RENHE, 19, 19), (TONGJI, 1, 0)]


def test_who_endorsed_is_counted_by_day_creator_and_kind_and_a_restart_counts_none_twice(consortium):
    consortium.draws((1, 1), (2, 0))
    consortium.draws((1, 0), creator=TONGJI)
    consortium.anchor()
    consortium.look()
    leaves = [leaf for block in consortium.replica.blocks(1, 1 << 30) for leaf in block.transactions]
    signers = [row for leaf in leaves for row in parse_payload(parse_envelope(leaf).payload).signers]
    members = consortium.store.members
    drawn = [members.signer(row.key_id).org_id for row in signers if row.role == "independent"]
    expected = Counter(zip(drawn, (RENHE, RENHE, TONGJI), strict=True))
    found = {(row.endorser, row.creator): count for row, count in consortium.records.endorsements().items()}
    assert found == expected
    assert {(row.day, row.kind) for row in consortium.records.endorsements()} == {(NOW // 86_400, "subject")}
    again = DrawWatch(Finished(consortium.store), consortium.records, AlarmBook(consortium.records, list, lambda: NOW))
    assert not again.look()
    assert sum(consortium.records.endorsements().values()) == 3


def test_blocks_that_are_not_final_wait(consortium, monkeypatch):
    before = consortium.store.head
    consortium.draws(*[(number, 1) for number in range(1, 40)])
    monkeypatch.setattr(Finished, "final", lambda _self: before)
    assert consortium.look() == []
    monkeypatch.setattr(Finished, "final", lambda _self: None)
    assert consortium.look() == []
    monkeypatch.undo()
    assert consortium.look() == [("draw.passed_over", RENHE)]


def test_blocks_without_a_draw_cost_no_write_and_a_later_draw_is_counted_all_the_same(consortium):
    consortium.draws((1, 1))
    consortium.look()
    assert consortium.records.watched_height("draws") == 1
    for _ in range(3):
        consortium.anchor()
    assert not consortium.watch.look()
    assert consortium.records.watched_height("draws") == 1
    consortium.draws((2, 1))
    consortium.look()
    assert consortium.records.watched_height("draws") == 5
    assert [row.draws for row in consortium.records.draw_spans()] == [2]


def test_a_long_ledger_is_counted_page_by_page(consortium, monkeypatch):
    monkeypatch.setattr("medchain.store.ledger._DRAWN_BYTES", 1)
    monkeypatch.setattr("medchain.store.newest.MAX_CHANGES", 0)
    consortium.draws((1, 1), (2, 0), (3, 1))
    assert [consortium.watch.look() for _ in range(3)] == [True, True, False]
    assert [(row.draws, row.passed) for row in consortium.records.draw_spans()] == [(3, 2)]


def test_it_is_noted_now_and_then_how_far_a_ledger_without_draws_was_seen(consortium, monkeypatch):
    monkeypatch.setattr("medchain.node.alarms._UNCOUNTED_BLOCKS", 2)
    consortium.anchor()
    consortium.look()
    assert consortium.records.watched_height("draws") == 0
    consortium.anchor()
    consortium.look()
    assert consortium.records.watched_height("draws") == 2


def test_draws_of_blocks_that_were_kept_since_the_start_are_read_from_no_block(consortium, monkeypatch):
    consortium.draws((1, 1), (2, 0))
    consortium.anchor()
    monkeypatch.setattr(LedgerStore, "blocks", None)
    assert not consortium.watch.look()
    assert [(row.draws, row.passed) for row in consortium.records.draw_spans()] == [(2, 1)]


def test_what_a_node_has_executed_and_what_it_reads_after_a_restart_are_counted_alike(consortium, store_engine):
    consortium.draws((1, 1), (2, 0), (40, 1))
    consortium.draws((1, 0), creator=TONGJI)
    executed, seen = consortium.store.drawn(1, 4)
    assert seen == 4
    assert [(draw.creator, draw.number, draw.rank) for _, draw in executed] == [
        (RENHE, 1, 1),
        (RENHE, 2, 0),
        (RENHE, 40, 1),
        (TONGJI, 1, 0),
    ]
    assert LedgerStore(store_engine(FileKind.LEDGER)).drawn(1, 4) == (executed, 4)


def test_a_block_that_was_dropped_in_a_takeover_does_not_count(consortium):
    consortium.draws((1, 1), (2, 1))
    consortium.replica.rewind(1)
    consortium.draws((2, 0), (3, 0))
    consortium.look()
    assert [(row.draws, row.passed) for row in consortium.records.draw_spans()] == [(3, 1)]


def test_of_too_many_draws_the_oldest_are_read_from_the_disk(consortium, monkeypatch):
    monkeypatch.setattr("medchain.store.newest.MAX_CHANGES", 2)
    consortium.draws((1, 1), (2, 0), (3, 1))
    read = []
    blocks = LedgerStore.blocks
    monkeypatch.setattr(LedgerStore, "blocks", lambda *given: read.append(given[1]) or blocks(*given))
    assert [draw.number for _, draw in consortium.store.drawn(2, 3)[0]] == [2, 3]
    assert read == []
    consortium.look()
    assert read == [1]
    assert [(row.draws, row.passed) for row in consortium.records.draw_spans()] == [(3, 2)]
