"""The writer, and the way to it: groups, refusals, one that dies or is silent at any moment, merging in between."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from threading import Thread

import pytest

from medchain.errors import ConflictError, UnavailableError
from medchain.node import writer as writer_module
from medchain.node.fork_server import Forked
from medchain.node.writer import Writing
from medchain.store import handing
from medchain.store.engine import FileKind, open_database
from medchain.store.epochs import Epoch
from medchain.store.handing import WriterDoor, decode, encode
from medchain.store.index_rows import IndexRows
from medchain.store.records import RecordStore, RecordVersion, Write
from medchain.store.steps import Steps, Wait
from tests.unit.medchain.store.conftest import KEY
from tests.unit.medchain.store.faults import at_step, kill
from tests.unit.medchain.store.test_records import EPOCH, version
from tests.waiting import eventually

ROWS = IndexRows([(8, 0, "k", "", None, None)])
LONG_S = 60
THEIRS = Epoch(b"t" * 16, "theirs", 1, 100, b"wrapped")


@pytest.fixture
def path(tmp_path):
    """Name a records file that has a patient's key."""
    made = tmp_path / "records.db"
    with closing(opened(made)) as store:
        store.put_versions([], epochs=[EPOCH])
    return made


def opened(path: Path, writer: WriterDoor | None = None) -> RecordStore:
    """Open a records file as a process does."""
    return RecordStore(open_database(path, KEY, kind=FileKind.RECORDS), writer)


def pair() -> tuple[socket.socket, socket.socket]:
    """Make the two ends of the way on which new ways come."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


@contextmanager
def served(store: RecordStore) -> Iterator[socket.socket]:
    """Have a writer serve in a thread of this process; gives what a door takes."""
    with watched(store) as (asking, _):
        yield asking


@contextmanager
def watched(store: RecordStore) -> Iterator[tuple[socket.socket, Writing]]:
    """Have a writer serve in a thread of this process; gives what a door takes, and the writer."""
    asking, asked = pair()
    with closing(asked), closing(Writing(store, asked)) as writing:
        working = Thread(target=writing.serve)
        working.start()
        try:
            with closing(asking):
                yield asking, writing
        finally:
            working.join(LONG_S)
            assert not working.is_alive()


def together(store: RecordStore, writing: Writing, works: list[Callable[[], object]]) -> list[object]:
    """Do things in threads, all of which are handed over before the first is stored; what they return, or raise."""
    ended: list[object] = [None] * len(works)

    def work(place: int) -> None:
        try:
            ended[place] = works[place]()
        except Exception as error:  # noqa: BLE001  # what a thread raises nobody sees
            ended[place] = error

    threads = [Thread(target=work, args=(place,)) for place in range(len(works))]
    with store.database.write("record"):
        for thread in threads:
            thread.start()
        # It receives nothing before it may write, so that what was handed over is still there to be counted.
        assert eventually(lambda: handed_over(writing) == len(works))
    for thread in threads:
        thread.join(LONG_S)
    return ended


def handed_over(writing: Writing) -> int:
    """Count what has come and is not received."""
    return sum(1 for one, _ in writing._events.poll(0) if one in writing._ways)  # noqa: SLF001  # told to nobody


def test_a_write_is_read_as_it_was_handed_over():
    given = {one.name: one.name for one in fields(RecordVersion)}
    row = RecordVersion(**given)  # type: ignore[arg-type]  # of each member, that it is in its place
    row = replace(row, envelope=b"\x00sealed", blob_size=None, head=b"", created=1 << 60, type="病人")
    write = Write(
        [row, version(2)], None, [b"", b"entered-in-error"], [None, ROWS], None, [THEIRS], apart=[b"", b"rows"]
    )
    found = decode(encode(write))
    assert replace(found, index=write.index) == write
    assert found.index == [None, IndexRows((), None, ROWS.generation)]
    assert decode(encode(replace(write, index=[IndexRows(None), None]))).index == [IndexRows(None), None]
    for wrong in (encode(write)[:-1], encode(write) + b"x"):
        with pytest.raises(ValueError, match=r"\d"):
            decode(wrong)


def test_what_is_handed_over_is_stored_as_if_by_oneself(path):
    with closing(opened(path)) as own, served(own) as asking, closing(opened(path, WriterDoor(asking))) as store:
        assert store.put_versions([version(1), version(2)], index=[ROWS, None], payloads=[b"", b"x"]) == [1, 2]
        assert store.put_versions([version(1, 2)]) == [3]
        theirs = version(3, patient="theirs", epoch_id=THEIRS.id)
        assert store.put_versions([theirs], epochs=[THEIRS], index=[ROWS]) == [4]
        assert store.get("Observation", "id-1", 1) == replace(version(1), seq=1)
        assert [(one.record, one.payload) for one in store.pending(9)] == [(1, b""), (2, b"x"), (3, b""), (4, b"")]
        assert (store.unindexed(9), store.newest_epoch("theirs")) == ([3], THEIRS)
        own.merge_rows()
        assert own.database.state() == store.database.state()


def test_those_who_wait_at_one_moment_share_a_transaction_and_each_is_told_of_its_own(path):
    rows = [version(2), version(1), version(3), version(4, epoch_id=b"unknown")]
    with closing(opened(path)) as own, watched(own) as (asking, writing):
        door = WriterDoor(asking)
        # Admitted beforehand: while it waits for its turn the writer admits nobody.
        door._idle.extend(door._opened() for _ in rows)  # noqa: SLF001  # no other way tells
        assert eventually(lambda: len(writing._ways) == len(rows))  # noqa: SLF001  # no other way tells
        with closing(opened(path, door)) as store:
            store.put_versions([version(1)])
            before = int.from_bytes(own.database.state()[:8], "big")
            works = [lambda row=row: store.put_versions([row]) for row in rows]
            first, second, third, fourth = together(store, writing, works)
            assert sorted([*first, *third]) == [2, 3]
            assert [(type(one), one.code) for one in (second, fourth)] == [(ConflictError, "store.conflict")] * 2
            assert fourth.fields["table"] == "epoch"
            # The one that the test holds, and one for all of them.
            assert int.from_bytes(own.database.state()[:8], "big") - before <= 2
            assert store.count() == 3


def test_what_fails_for_all_is_told_to_each(path, monkeypatch):
    with closing(opened(path)) as own, served(own) as asking, closing(opened(path, WriterDoor(asking))) as store:

        def full(_take: object) -> object:
            raise UnavailableError("store.full", table="record")

        monkeypatch.setattr(own, "put_group", full)
        for _ in range(2):
            with pytest.raises(UnavailableError, match=r"store\.full"):
                store.put_versions([version(1)])
        monkeypatch.undo()
        assert store.put_versions([version(1)]) == [1]


def test_a_value_that_cannot_be_bound_is_told_to_who_has_it_and_fails_nobody_else(path):
    with closing(opened(path)) as own, served(own) as asking, closing(opened(path, WriterDoor(asking))) as store:
        with pytest.raises(OverflowError):
            store.put_versions([version(1, created=(1 << 64) - 1)])
        assert store.put_versions([version(2)]) == [1]


def test_what_is_too_large_for_a_message_its_process_stores_itself(path):
    large = version(1, envelope=bytes(handing.MAX_MESSAGE_BYTES))
    with closing(opened(path)) as own, served(own) as asking, closing(opened(path, WriterDoor(asking))) as store:
        own.put_group = None  # type: ignore[method-assign, assignment]  # the writer would fail
        assert store.put_versions([large]) == [1]


def test_where_nobody_is_there_who_writes_a_process_stores_itself(path):
    asking, asked = pair()
    asked.close()
    with closing(asking), closing(opened(path, WriterDoor(asking))) as store:
        assert store.put_versions([version(1)]) == [1]


def test_of_a_writer_that_is_silent_nothing_is_known_and_it_does_not_store_for_who_has_gone(path):
    asking, asked = pair()
    with closing(asked):
        with closing(opened(path, WriterDoor(asking, 0.05))) as store:
            with pytest.raises(UnavailableError, match=r"store\.io"):
                store.put_versions([version(1)])
            assert store.count() == 0
        with closing(opened(path)) as own, closing(Writing(own, asked)) as writing:
            working = Thread(target=writing.serve)
            working.start()
            with closing(asking), closing(opened(path, WriterDoor(asking))) as store:
                # One that came later is served, and so the first was looked at.
                store.put_versions([version(2)])
            working.join(LONG_S)
            assert [own.newest_version("Observation", f"id-{number}") for number in (1, 2)] == [0, 1]


def ended(steps: Steps[list[int]]) -> list[int]:
    """Do what is left of steps that wait for nothing any more."""
    with pytest.raises(StopIteration) as end:
        next(steps)
    numbers: list[int] = end.value.value
    return numbers


async def soon(steps: Steps[list[int]]) -> list[int]:
    """Do steps on the event loop."""
    assert await next(steps).soon()
    return ended(steps)


def test_an_event_loop_waits_for_many_at_a_time_each_of_which_is_told_of_its_own(path):
    async def many(store: RecordStore) -> list[object]:
        rows = [version(1), version(2), version(1), version(3, epoch_id=b"unknown")]
        return await asyncio.gather(*(soon(store.putting_versions([row])) for row in rows), return_exceptions=True)

    async def twice(store: RecordStore) -> list[object]:
        return [*await many(store), *await many(store)]

    with closing(opened(path)) as own, served(own) as asking:
        door = WriterDoor(asking)
        with closing(opened(path, door)) as store:
            first, second, third, fourth, *again = asyncio.run(twice(store))
            assert sorted([*first, *second]) == [1, 2]
            assert [(one.code, one.fields["table"]) for one in (third, fourth)] == [
                ("store.conflict", "record"),
                ("store.conflict", "epoch"),
            ]
            assert {one.code for one in again} == {"store.conflict"}
            assert own.count() == 2


@pytest.mark.parametrize("step", range(3))
def test_what_a_writer_that_dies_leaves_an_event_loop_is_stored_once_by_a_thread(path, step):
    asking, pid = forked(dying(path, step))
    with closing(asking), closing(opened(path, WriterDoor(asking))) as store:
        steps = store.putting_versions([version(1)])
        wait = next(steps)
        assert not asyncio.run(wait.soon())
        os.waitpid(pid, 0)
        wait.now()
        assert ended(steps) == [1]
        assert store.count() == 1


def test_an_event_loop_leaves_to_a_thread_what_no_writer_takes(path):
    large = version(1, envelope=bytes(handing.MAX_MESSAGE_BYTES))
    with closing(opened(path)) as own, served(own) as asking:
        with closing(opened(path, WriterDoor(asking))) as store:
            for number, steps in enumerate(
                (store.putting_versions([large]), store.putting_versions([version(2)], deadline=1)), 1
            ):
                wait = next(steps)
                assert not asyncio.run(wait.soon())
                wait.now()
                assert ended(steps) == [number]
        assert not asyncio.run(next(own.putting_versions([version(3)])).soon())


def test_what_an_event_loop_waits_for_in_vain_is_not_known_and_not_stored_later(path):
    asking, asked = pair()
    with closing(asked), closing(asking):
        with closing(opened(path, WriterDoor(asking, 0.05))) as store, pytest.raises(UnavailableError) as raised:
            asyncio.run(soon(store.putting_versions([version(1)])))
        assert (raised.value.code, raised.value.fields["table"]) == ("store.io", "record")
        with closing(opened(path)) as own, closing(Writing(own, asked)) as writing:
            working = Thread(target=writing.serve)
            working.start()
            with closing(opened(path, WriterDoor(asking))) as store:
                store.put_versions([version(2)])
            asking.close()
            working.join(LONG_S)
            assert [own.newest_version("Observation", f"id-{number}") for number in (1, 2)] == [0, 1]


def test_what_is_broken_off_while_it_waits_a_thread_stores_once(path):
    async def broken_off(wait: Wait, store: RecordStore) -> None:
        with store.database.write("record"):
            waiting = asyncio.create_task(wait.soon())
            await asyncio.sleep(0.05)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    with closing(opened(path)) as own, served(own) as asking, closing(opened(path, WriterDoor(asking))) as store:
        steps = store.putting_versions([version(1)])
        wait = next(steps)
        asyncio.run(broken_off(wait, store))
        wait.now()
        assert ended(steps) == [1]
        assert store.put_versions([version(2)]) == [2]


def test_what_is_broken_off_once_it_is_stored_is_not_stored_again(path):
    async def broken_off(wait: Wait, own: RecordStore) -> None:
        waiting = asyncio.create_task(wait.soon())
        await asyncio.sleep(0)
        while not own.count():
            time.sleep(0.001)  # noqa: ASYNC251  # the loop stands still, and is not told before it is broken off
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    with closing(opened(path)) as own, served(own) as asking, closing(opened(path, WriterDoor(asking))) as store:
        steps = store.putting_versions([version(1)])
        wait = next(steps)
        asyncio.run(broken_off(wait, own))
        wait.now()
        assert ended(steps) == [1]


def test_a_writer_that_is_woken_pushes_nobody_aside_where_the_system_lets_it(monkeypatch):
    pid = os.fork()
    if pid == 0:
        writer_module.let_others_go_on()
        os._exit(os.sched_getscheduler(0))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == os.SCHED_BATCH

    def forbidden(*_arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", forbidden)
    writer_module.let_others_go_on()


def dying(path: Path, step: int) -> Callable[[socket.socket], int]:
    """Make a writer that is killed before its n-th statement; at 0 once all is stored, before it answers."""

    def serve(asked: socket.socket) -> int:
        store = opened(path)
        writing = Writing(store, asked)
        if not step:
            Writing._tell = lambda *_answer: kill()  # type: ignore[method-assign]  # noqa: SLF001  # in this process alone
        with at_step(store.database, step, kill):
            writing.serve()
        return 0

    return serve


def forked(serve: Callable[[socket.socket], int]) -> tuple[socket.socket, int]:
    """Fork a writer that nobody follows."""
    asking, asked = pair()
    pid = os.fork()
    if pid == 0:
        asking.close()
        try:
            serve(asked)
        finally:
            os._exit(0)
    asked.close()
    return asking, pid


def died(pid: int) -> bool:
    """Wait for a process; tell whether it was killed."""
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def test_a_writer_killed_at_any_step_loses_nothing_and_stores_nothing_twice(path):
    step, is_killed = 0, True
    while is_killed:
        asking, pid = forked(dying(path, step))
        row = version(step + 1, created=1000)
        with closing(asking), closing(opened(path, WriterDoor(asking))) as store:
            numbers = store.put_versions([row], index=[ROWS])
            assert store.get(row.type, row.id) == replace(row, seq=numbers[0])
            assert [one.seq for one in store.history(row.type, row.id)] == numbers
            assert [one.record for one in store.pending(99)] == list(range(1, step + 2))
        is_killed = died(pid)
        step += 1
    assert step > 8


def test_a_writer_that_was_killed_is_followed_by_another_which_does_what_waits(path):
    kept = Forked.kept(lambda asked: Writing(opened(path), asked).serve() or 0)
    try:
        door, before = WriterDoor(kept.asking), kept.pid
        write = Write([version(1)], None, [b""], [None], None, apart=[b""])
        assert door.put(write)
        os.kill(before, signal.SIGKILL)
        # Its way has ended; a new one waits for the next writer.
        assert not door.put(replace(write, rows=[version(2)]))
        assert door.put(replace(write, rows=[version(3)]))
        after = kept.pid
        assert after not in (0, before)
    finally:
        door.close()
        kept.end(LONG_S)
    with pytest.raises(ProcessLookupError):
        os.kill(after, 0)
    with closing(opened(path)) as store:
        assert [store.newest_version("Observation", f"id-{number}") for number in (1, 2, 3)] == [1, 0, 1]


@pytest.fixture
def merged(monkeypatch):
    """Note how many versions each merge takes."""
    steps: list[int] = []
    merge = RecordStore.merge_rows

    def noted(self: RecordStore, limit: int) -> int:
        steps.append(-1)
        if len(steps) == 1:
            raise UnavailableError("store.busy")
        steps[-1] = merge(self, limit)
        return steps[-1]

    monkeypatch.setattr(RecordStore, "merge_rows", noted)
    return steps


def test_what_waits_is_merged_as_soon_as_it_is_many(path, merged, monkeypatch):
    monkeypatch.setattr(writer_module, "PERIOD_S", 1000.0)
    monkeypatch.setattr(writer_module, "PER_TURN", 3)
    with closing(opened(path)) as own, served(own) as asking, closing(opened(path, WriterDoor(asking))) as store:
        for number in range(1, 8):
            store.put_versions([version(number)], index=[ROWS])
        # The first failed: the next takes as many as one may, and leaves the rest.
        assert eventually(lambda: len(merged) == 2)
        time.sleep(0.02)
        assert merged == [-1, 3]


def test_the_few_that_wait_are_merged_by_and_by_also_after_a_failure(path, merged, monkeypatch, caplog):
    monkeypatch.setattr(writer_module, "PERIOD_S", 0.01)
    with closing(opened(path)) as own:
        own.put_versions([version(1)], index=[ROWS])
        with served(own):
            assert eventually(lambda: len(merged) > 2)
    assert merged[:3] == [-1, 1, 0]
    assert [one.message for one in caplog.records if one.name == "medchain.writer"] == ["merging.delayed"]
