"""What ordering keeps on disk in a node, and the way to another organisation's ordering."""

from __future__ import annotations

import errno
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from medchain.encoding import canonical
from medchain.errors import InputError, UnavailableError, VerificationError
from medchain.node import ledger_driver
from medchain.node.keystore import Layout, create_keys, open_daemon_keys, unlock
from medchain.node.ledger_driver import (
    LedgerDriver,
    Pulse,
    PulsedClient,
    ReplicaNotes,
    Stillness,
    VouchedFile,
    vouched_file,
)
from medchain.node.orderer_client import HttpOrdererClient
from medchain.node.peers import Answer
from medchain.node.restored import RestoreMark
from medchain.ordering.block import Block, blocks_answer, parse_submission
from medchain.ordering.cosign import Vouched
from medchain.ordering.driver import Alarm
from medchain.ordering.entry import Entry, entry_bytes
from medchain.ordering.receipt import Receipt, Refused, outcomes_bytes
from medchain.ordering.round import Ask, Round, round_answer
from medchain.store.engine import FileKind
from medchain.store.ledger import LedgerStore
from tests.unit.medchain.ledger.world import COMMISSION, ROLES, TIME, TONGJI
from tests.unit.medchain.node.ledgers import Author, block_of, cosigned, protocol_change, replica_on

RECEIPT = Receipt(bytes(32), (bytes(range(32)),), 7, 1_796_083_200, bytes(64))
BLOCK = Block(4, 1_796_083_200, (b"leaf",), "origin\n1\nroot\n\n— x y\n")


def test_nothing_was_vouched_for_at_first(tmp_path):
    assert vouched_file(tmp_path, 0).load() == Vouched()
    # Kept from then on: a node that has blocks by its next start has promised nothing yet.
    assert vouched_file(tmp_path, 7).load() == Vouched()


def test_a_node_with_blocks_that_has_lost_its_promises_does_not_begin_with_none(tmp_path):
    vouched_file(tmp_path, 0).save(Vouched(9, 7, bytes(range(32))))
    (tmp_path / "vouched.json").unlink()
    with pytest.raises(VerificationError, match=r"vouched\.missing"):
        vouched_file(tmp_path, 1)
    assert list(tmp_path.iterdir()) == []
    # A restored node cosigns nothing until what it has forgotten binds nobody any more.
    assert vouched_file(tmp_path, 1, restored=True).load() == Vouched()


@pytest.mark.parametrize("is_restored", [False, True])
def test_a_driver_does_not_start_without_the_promises_of_its_blocks(ordering, tmp_path, is_restored):
    block_of(ordering._replica, Author(replica=ordering._replica).anchor())  # noqa: SLF001  # the ledger of the fixture
    (tmp_path / "vouched.json").unlink()
    if is_restored:
        RestoreMark(1, TIME, TIME).write(tmp_path)
    keys = open_daemon_keys(tmp_path, unlock(bytes(32)))
    given = (COMMISSION, Layout(tmp_path), keys, ordering._replica, Peers(b""), lambda: TIME)  # noqa: SLF001  # likewise
    if is_restored:
        with closing(LedgerDriver(*given, is_erasing=lambda: False)) as made:
            assert made.driver.cosigner.vouched == Vouched()
    else:
        with pytest.raises(VerificationError, match=r"vouched\.missing"):
            LedgerDriver(*given, is_erasing=lambda: False)


def test_what_was_vouched_for_is_still_so_after_a_restart(tmp_path):
    vouched = Vouched(9, 7, bytes(range(32)), "insurer", "hospital", 5, 3, frozenset({"0c20" * 8}))
    VouchedFile(tmp_path / "vouched.json").save(vouched)
    assert VouchedFile(tmp_path / "vouched.json").load() == vouched
    assert (tmp_path / "vouched.json").stat().st_mode & 0o077 == 0
    VouchedFile(tmp_path / "vouched.json").save(Vouched(floor=10))
    assert VouchedFile(tmp_path / "vouched.json").load() == Vouched(floor=10)


def test_a_file_of_before_versions_were_promised_and_log_keys_spent_is_still_read(tmp_path):
    path = tmp_path / "vouched.json"
    VouchedFile(path).save(Vouched(9, 7, bytes(range(32)), "insurer", "hospital", 5))
    written = path.read_bytes()[:512]
    slot = re.sub(rb'"check":"[0-9a-f]{32}",', b"", written)
    assert len(slot) == len(written) - len('"check":"",') - 32
    older = slot.replace(b',"version":0', b"").replace(b',"spent_keys":0', b"")
    assert len(older.strip()) == len(slot.strip()) - len(b',"version":0,"spent_keys":0')
    rest, vouched = path.read_bytes()[512:], Vouched(9, 7, bytes(range(32)), "insurer", "hospital", 5)
    path.write_bytes(older.rstrip(b"\n ").ljust(511) + b"\n" + rest)
    assert VouchedFile(path).load() == vouched
    # Then there was one such key at most, in the slot itself.
    later = slot.replace(b'"spent_keys":0', b'"spent":"%b"' % (b"0c20" * 8))
    path.write_bytes(later.rstrip(b"\n ").ljust(511) + b"\n" + rest)
    file = VouchedFile(path)
    assert file.load() == replace(vouched, spent=frozenset({"0c20" * 8}))
    file.save(replace(vouched, floor=10, spent=frozenset({"0c20" * 8})))
    assert VouchedFile(path).load() == replace(vouched, floor=10, spent=frozenset({"0c20" * 8}))


def test_every_log_key_that_is_spent_is_remembered_and_none_is_forgotten_by_a_cut_in_between(tmp_path, monkeypatch):
    path, beside = tmp_path / "vouched.json", tmp_path / "spent_log_keys.json"
    file, keys = VouchedFile(path), frozenset(f"{number:032x}" for number in range(100))
    file.save(Vouched(floor=1, spent=keys))
    assert VouchedFile(path).load() == Vouched(floor=1, spent=keys)
    assert beside.stat().st_mode & 0o077 == 0

    def cut(*_: object) -> None:
        raise OSError(errno.EIO, "cut")

    more = keys | {"ff" * 16}
    with monkeypatch.context() as patch:
        patch.setattr(ledger_driver.os, "pwrite", cut)
        with pytest.raises(UnavailableError):
            file.save(Vouched(floor=2, spent=more))
    assert VouchedFile(path).load() == Vouched(floor=1, spent=more)
    # A promise that is taken back ends with the slot that says so.
    file.save(Vouched(floor=2, spent=keys))
    assert VouchedFile(path).load() == Vouched(floor=2, spent=keys)
    file.save(Vouched(floor=3))
    assert VouchedFile(path).load() == Vouched(floor=3)


@pytest.mark.parametrize("content", [None, b'{"keys":[],"type":"medchain/spent-log-keys/v1"}', b"{}", b""])
def test_a_node_whose_spent_log_keys_are_gone_does_not_start(tmp_path, content):
    path, beside = tmp_path / "vouched.json", tmp_path / "spent_log_keys.json"
    VouchedFile(path).save(Vouched(spent=frozenset({"0c20" * 8})))
    beside.unlink() if content is None else beside.write_bytes(content)
    with pytest.raises((InputError, VerificationError)):
        VouchedFile(path).load()


def test_each_promise_is_one_write_in_place_and_the_last_one_counts(tmp_path):
    path = tmp_path / "vouched.json"
    file = VouchedFile(path)
    inode = None
    for floor in range(1, 150):
        file.save(Vouched(floor, floor, bytes([floor]) * 32))
        assert VouchedFile(path).load() == Vouched(floor, floor, bytes([floor]) * 32)
        # Replaced only when its 64 slots are full.
        assert (path.stat().st_ino == inode) is (floor % 64 != 1)
        assert path.stat().st_size == 64 * 512
        inode = path.stat().st_ino
    VouchedFile(path).save(Vouched(floor=200))
    assert VouchedFile(path).load() == Vouched(floor=200)


@pytest.mark.parametrize("at", [0, 300, 512, 1023, 1024 + 20, 64 * 512 - 1])
def test_a_promise_that_cannot_be_read_is_not_passed_over_for_an_older_one(tmp_path, at):
    path = tmp_path / "vouched.json"
    file = VouchedFile(path)
    for floor in (1, 2, 3):
        file.save(Vouched(floor, floor, bytes(32)))
    content = bytearray(path.read_bytes())
    content[at] ^= 0x41
    path.write_bytes(content)
    with pytest.raises(InputError):
        VouchedFile(path).load()
    with pytest.raises(InputError):
        VouchedFile(path).save(Vouched(floor=4))


def flipped(path: Path) -> Iterator[None]:
    """Flip each bit of what a file holds in turn, but for what only fills it up."""
    content = path.read_bytes()
    for at, byte in enumerate(content.rstrip(b"\0\n ")):
        for bit in range(8):
            path.write_bytes(content[:at] + bytes([byte ^ 1 << bit]) + content[at + 1 :])
            yield
    path.write_bytes(content)


def test_no_bit_of_what_was_vouched_for_can_change_unseen(tmp_path):
    """A digit is another digit with one bit changed: a promise of another size, a spent key that is another one."""
    path, keys = tmp_path / "vouched.json", frozenset({"0c20" * 8, "0d31" * 8})
    VouchedFile(path).save(Vouched(9, 7, bytes(range(32)), "insurer", "hospital", 5, 3, keys))
    for file in (path, tmp_path / "spent_log_keys.json"):
        for _ in flipped(file):
            with pytest.raises(InputError):
                VouchedFile(path).load()
    assert VouchedFile(path).load().spent == keys


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "store.full"), (errno.EIO, "store.io")])
@pytest.mark.parametrize("kept", [3, 64])
def test_a_promise_that_finds_no_room_is_an_error_of_the_disk_and_the_one_before_counts(
    tmp_path, monkeypatch, number, code, kept
):
    """Every 64th goes into a new file: the thread that cosigns must outlive a disk that is full just then."""
    path = tmp_path / "vouched.json"
    file = VouchedFile(path)
    for floor in range(1, kept + 1):
        file.save(Vouched(floor, floor, bytes(32)))

    def refuse(*_: object) -> None:
        raise OSError(number, "disk")

    with monkeypatch.context() as patch:
        patch.setattr(ledger_driver.os, "pwrite", refuse)
        patch.setattr(ledger_driver, "write_private_file", refuse)
        with pytest.raises(UnavailableError, match=rf"{code} table=vouched"):
            file.save(Vouched(kept + 1, kept + 1, bytes(32)))
    assert VouchedFile(path).load().floor == kept
    file.save(Vouched(kept + 1, kept + 1, bytes(32)))
    assert VouchedFile(path).load().floor == kept + 1


def test_a_promise_that_fits_no_slot_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"vouched\.slots"):
        VouchedFile(tmp_path / "vouched.json").save(Vouched(stood_down="x" * 500))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"floor": 1}', bytes(64 * 512)])
def test_a_damaged_promise_is_not_taken_for_none(tmp_path, content):
    (tmp_path / "vouched.json").write_bytes(content)
    with pytest.raises(InputError):
        VouchedFile(tmp_path / "vouched.json").load()


def test_a_promise_of_another_type_is_refused(tmp_path):
    path = tmp_path / "vouched.json"
    VouchedFile(path).save(Vouched())
    path.write_bytes(path.read_bytes().replace(b"vouched/v1", b"vouched/v2"))
    with pytest.raises(InputError):
        VouchedFile(path).load()


class Peers:
    """Answers with what it was given and notes what it is asked."""

    def __init__(self, answer: bytes) -> None:
        """Prepare the answer."""
        self.answer = answer
        self.asked: list[tuple[object, ...]] = []

    def get(self, org_id, target, limits):
        self.asked.append((org_id, target, limits.max_bytes < 1 << 25))
        return Answer(200, self.answer)

    def post(self, org_id, target, body, **_limits: object):
        self.asked.append((org_id, target, body))
        return Answer(200, self.answer)


def test_envelopes_are_offered_and_answered_one_by_one():
    peers = Peers(outcomes_bytes([RECEIPT, Refused("transaction.version")]))
    assert HttpOrdererClient(peers, "o").submit([b"one", b"two"]) == [RECEIPT, Refused("transaction.version")]
    org_id, target, body = peers.asked[0]
    assert (org_id, target, parse_submission(body)) == ("o", "/ordering/submit", [b"one", b"two"])


def test_an_answer_for_another_number_of_envelopes_is_refused():
    with pytest.raises(InputError):
        HttpOrdererClient(Peers(outcomes_bytes([RECEIPT])), "o").submit([b"one", b"two"])


def test_blocks_are_asked_for_from_a_height_on():
    peers = Peers(blocks_answer([BLOCK]))
    assert HttpOrdererClient(peers, "o").blocks(4, 20) == [BLOCK]
    assert peers.asked == [("o", "/ordering/blocks?from=4&wait=20", True)]


@pytest.mark.parametrize("answer", [b"\x00\x00\x00\x02{}", b"\x00", canonical({})])
def test_what_are_no_blocks_is_refused(answer):
    with pytest.raises(InputError):
        HttpOrdererClient(Peers(answer), "o").blocks(0, 0)


@pytest.mark.parametrize(("note", "body"), [(None, b""), ("— mine\n", "— mine\n".encode())])
def test_a_poll_takes_lines_along_and_brings_blocks_and_a_note(note, body):
    peers = Peers(round_answer("— final\n", 9, blocks_answer([BLOCK])))
    found = PulsedClient(HttpOrdererClient(peers, "o"), Pulse()).round(Ask(4, 20, 7, 8, note))
    assert found == Round([BLOCK], "— final\n", 9)
    assert peers.asked == [("o", "/ordering/round?final=7&from=4&met=8&wait=20", body)]


def test_notes_go_both_ways():
    peers = Peers("— note\n".encode())
    client = HttpOrdererClient(peers, "o")
    assert client.checkpoint() == client.stand_down(b"leaf") == "— note\n"
    client.cosign("— mine\n")
    assert peers.asked[-1] == ("o", "/ordering/cosign", "— mine\n".encode())
    assert HttpOrdererClient(Peers(b""), "o").checkpoint() is None
    with pytest.raises(VerificationError):
        HttpOrdererClient(Peers(b"\xff"), "o").checkpoint()


def test_an_entry_is_asked_for_and_read_strictly():
    entry = Entry(bytes(32), 7, (bytes(range(32)),), BLOCK.checkpoint)
    peers = Peers(entry_bytes(entry))
    assert PulsedClient(HttpOrdererClient(peers, "o"), Pulse()).entry(7, 9) == entry
    assert peers.asked == [("o", "/ordering/entry?position=7&size=9", True)]
    with pytest.raises(InputError):
        HttpOrdererClient(Peers(b""), "o").entry(7, 9)


@pytest.fixture
def ordering(tmp_path, store_engine):
    halves = unlock(bytes(32))
    create_keys(tmp_path, COMMISSION, halves)
    replica = replica_on(LedgerStore(store_engine(FileKind.LEDGER)), COMMISSION)
    keys = open_daemon_keys(tmp_path, halves)
    made = LedgerDriver(COMMISSION, Layout(tmp_path), keys, replica, Peers(b""), lambda: TIME, is_erasing=lambda: False)
    with closing(made):
        yield made


@pytest.mark.parametrize("code", ["ordering.thread", "ordering.failed"])
def test_a_thread_that_died_ends_the_job_and_with_it_the_daemon(ordering, monkeypatch, code):
    monkeypatch.setattr(ledger_driver, "_POLL_S", 0.01)
    before = {*threading.enumerate()}
    ordering.driver._raise_alarm(Alarm(code, 0, {"name": "cosigner"}, latched=True))  # noqa: SLF001  # as a thread does
    with pytest.raises(UnavailableError) as caught:
        ordering.run(threading.Event())
    assert caught.value.code == "ordering.dead"
    begun = {thread.name for thread in {*threading.enumerate()} - before}
    assert begun.isdisjoint({"follower", "cosigner", "outbox"})


def test_an_alarm_that_needs_a_person_does_not_end_the_daemon(ordering):
    ordering.driver._raise_alarm(Alarm("checkpoint.split_view", 0, latched=True))  # noqa: SLF001  # as the cosigner does
    ordering.look()


def test_a_note_that_is_not_final_is_not_written_unless_the_members_have_changed(ordering):
    replica = ordering.driver._ports.replica  # noqa: SLF001  # the one that the driver keeps notes in
    notes = ReplicaNotes(replica)
    author = Author(replica=replica)
    block = block_of(replica, author.anchor())
    notes.put(block.checkpoint, replica.size, final=False)
    assert replica.store.checkpoint() is None
    assert notes.final() is None
    lines = cosigned(block.checkpoint, *ROLES, time=TIME + 10).decode()
    notes.put(lines, replica.size, final=True)
    assert notes.final() == (replica.size, lines)
    notes.flush()
    assert notes.final() == (replica.size, lines)
    changed = block_of(replica, protocol_change(author, TONGJI))
    # The replica judges by the members before and after it, the cosigner by those of now.
    notes.put(changed.checkpoint, replica.size, final=False)
    assert replica.store.checkpoint().size == replica.size


def test_what_is_watched_are_committer_follower_and_cosigner(ordering):
    assert [item.name for item in ordering.watched()] == ["committer", "follower", "cosigner"]
    assert all(item.standing_s() < 1 for item in ordering.watched())


@dataclass
class Time:
    """A clock that a test moves."""

    now: float = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch):
    made = Time()
    monkeypatch.setattr(ledger_driver, "time", made)
    return made


def test_a_thread_that_calls_nobody_any_more_stands_still(ordering, time):
    _, follower, cosigner = ordering.watched()

    def call() -> None:
        ordering.driver._ports.connect("renhe-hospital").blocks(1, 0)  # noqa: SLF001  # the way that its threads take

    thread = threading.Thread(target=call, name="follower")
    thread.start()
    thread.join()
    time.now += 31
    assert (follower.standing_s(), cosigner.standing_s()) == (31, 0)
    thread = threading.Thread(target=call, name="follower")
    thread.start()
    thread.join()
    assert follower.standing_s() == 0


def test_a_call_that_fails_is_a_sign_of_life_too(time):
    pulse = Pulse()
    client = PulsedClient(HttpOrdererClient(Peers(b"\x00\x00\x00\x05abc"), "hospital"), pulse)
    with pytest.raises((InputError, VerificationError)):
        client.blocks(1, 0)
    assert pulse.age_s(threading.current_thread().name) == 0
    time.now += 5
    assert pulse.age_s(threading.current_thread().name) == 5
    assert pulse.age_s("nobody") == 0


def test_every_call_goes_through():
    pulse = Pulse()
    peers = Peers(outcomes_bytes([Refused("transaction.version")]))
    assert PulsedClient(HttpOrdererClient(peers, "h"), pulse).submit([b"x"]) == [Refused("transaction.version")]
    client = PulsedClient(HttpOrdererClient(Peers(b"note"), "h"), pulse)
    client.cosign("line")
    assert client.checkpoint() == client.stand_down(b"leaf") == "note"


def test_a_committer_stands_still_only_while_it_has_work(time):
    turns, busy = [0], [True]
    found = Stillness(lambda: busy[0], lambda: turns[0])
    assert found.standing_s() == 0
    time.now += 20
    assert found.standing_s() == 20
    turns[0] += 1
    assert found.standing_s() == 0
    time.now += 40
    assert found.standing_s() == 40
    busy[0] = False
    assert found.standing_s() == 0
