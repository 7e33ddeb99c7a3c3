"""What a restored node must not do, and when it is whole again."""

from __future__ import annotations

import pytest

from medchain.errors import InputError, UnavailableError
from medchain.ledger.transaction import Change
from medchain.node.restored import (
    GuardedEndorsements,
    GuardedReleases,
    Restoration,
    RestoreMark,
    missing_erasures,
    read_mark,
)
from medchain.store.engine import FileKind
from medchain.store.ledger import LedgerStore
from tests.unit.medchain.ledger.world import COMMISSION, RENHE, TIME, TONGJI, rows, sign
from tests.unit.medchain.node.ledgers import Author, block_of, replica_on

BACKUP = RestoreMark(height=1, restored=TIME + 1000, erasures_until=TIME + 500)


@pytest.fixture
def orderer(store_engine):
    return replica_on(LedgerStore(store_engine(FileKind.LEDGER)), COMMISSION)


@pytest.fixture
def author(orderer):
    made = Author(replica=orderer)
    # Block 1 is in the backup.
    block_of(orderer, made.anchor(), time=TIME + 400)
    return made


def erasure(author: Author, creator: str = RENHE):
    return sign(author.transaction(creator, Change("erasure", "active", rows(1)), until=None))


def restoration(folder, author, now=TIME + 2000, is_erasing=lambda: False) -> Restoration:
    BACKUP.write(folder)
    return Restoration(folder, RENHE, author.replica.store, lambda: now, is_erasing)


def test_a_mark_is_read_as_it_was_written(tmp_path):
    assert read_mark(tmp_path) is None
    BACKUP.write(tmp_path)
    assert read_mark(tmp_path) == BACKUP
    assert (tmp_path / "restored").stat().st_mode & 0o077 == 0


def test_no_bit_of_a_mark_can_change_unseen(tmp_path):
    """With a later time in it, erasures that are missing would be taken for replayed."""
    BACKUP.write(tmp_path)
    content = (tmp_path / "restored").read_bytes()
    for at, byte in enumerate(content):
        for bit in range(8):
            (tmp_path / "restored").write_bytes(content[:at] + bytes([byte ^ 1 << bit]) + content[at + 1 :])
            with pytest.raises(InputError):
                read_mark(tmp_path)


def test_a_mark_of_before_there_was_a_check_is_still_read(tmp_path):
    older = b'{"erasures_until":%d,"height":1,"restored":%d,"type":"medchain/restored/v1"}' % (TIME + 500, TIME + 1000)
    (tmp_path / "restored").write_bytes(older)
    assert read_mark(tmp_path) == BACKUP


@pytest.mark.parametrize("content", [b"", b"{}", b'{"erasures_until":1,"height":1,"restored":1,"type":"x"}'])
def test_a_damaged_mark_is_not_taken_for_none(tmp_path, content):
    (tmp_path / "restored").write_bytes(content)
    with pytest.raises(InputError):
        read_mark(tmp_path)


def test_a_node_that_has_caught_up_is_whole_if_it_erased_nothing_since(tmp_path, author):
    block_of(author.replica, author.anchor(), time=TIME + 700)
    found = restoration(tmp_path, author)
    assert found.reason == "restore.under_way"
    assert found.settle()
    assert (found.is_under_way, found.reason) == (False, None)


def test_an_erasure_that_no_list_can_hold_keeps_the_node_from_serving(tmp_path, author):
    block_of(author.replica, erasure(author), time=TIME + 700)
    found = restoration(tmp_path, author)
    assert not found.settle()
    assert found.reason == "restore.erasures"
    with pytest.raises(UnavailableError) as caught:
        found.check()
    assert caught.value.code == "restore.erasures"
    assert not found.settle()


def test_nothing_is_served_before_all_erasures_are_carried_out_again(tmp_path, author):
    waiting = [1, 2]
    found = restoration(tmp_path, author, is_erasing=lambda: bool(waiting))
    for _ in (1, 2):
        assert not found.settle()
        assert (found.is_under_way, found.reason) == (True, "restore.erasing")
        waiting.pop()
    assert found.settle()
    assert (found.is_under_way, found.reason) == (False, None)


@pytest.mark.parametrize(
    ("seconds", "until", "missing"),
    # A block's time may be 60 s off the clock of who made the list: only a list from later is sure to have the erasure.
    [(700, 759, 1), (700, 760, 0), (700, 500, 1), (410, 500, 0)],
)
def test_a_list_counts_from_a_minute_before_it_was_made(author, seconds, until, missing):
    block_of(author.replica, erasure(author), time=TIME + seconds)
    assert missing_erasures(author.replica.store, RENHE, RestoreMark(1, 0, TIME + until)) == missing


def test_erasures_in_the_backup_and_those_of_others_are_not_missing(author):
    block_of(author.replica, erasure(author, TONGJI), time=TIME + 700)
    assert missing_erasures(author.replica.store, RENHE, BACKUP) == 0
    block_of(author.replica, erasure(author), time=TIME + 800)
    assert missing_erasures(author.replica.store, RENHE, RestoreMark(3, 0, TIME)) == 0
    assert missing_erasures(author.replica.store, RENHE, RestoreMark(2, 0, TIME)) == 1


def test_promises_that_the_files_have_forgotten_are_waited_for(tmp_path, author):
    # An endorsement binds for 120 s, and block times are within 60 s: 180 s after the restore none does.
    assert not restoration(tmp_path, author, BACKUP.restored + 179).settle()
    assert restoration(tmp_path, author, BACKUP.restored + 180).settle()


class Service:
    """Answers everything."""

    def release(self, document, peer):
        return document + peer.encode()

    def endorse(self, document, peer):
        return {"document": document.decode(), "peer": peer}


def test_nothing_is_released_or_endorsed_while_the_mark_is_there(tmp_path, author):
    found = restoration(tmp_path, author)
    releases, endorsements = GuardedReleases(Service(), found), GuardedEndorsements(Service(), found)
    for call in (releases.release, endorsements.endorse):
        with pytest.raises(UnavailableError) as caught:
            call(b"x", TONGJI)
        assert (caught.value.code, caught.value.retry_after_s) == ("restore.under_way", 30)
    found.settle()
    assert releases.release(b"x", "y") == b"xy"
    assert endorsements.endorse(b"x", "y") == {"document": "x", "peer": "y"}
