"""What single writes are found by waits beside the index: found all the same, merged many together, once."""

from __future__ import annotations

import math
import resource
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, func, select

from medchain.errors import ConflictError, UnavailableError
from medchain.store import placing
from medchain.store.engine import FileKind, open_database
from medchain.store.epochs import Epoch
from medchain.store.finding import (
    AllOf,
    AnyOf,
    Ids,
    Known,
    Linked,
    Match,
    Not,
    OfType,
    Order,
    Referred,
    Row,
    Search,
    Together,
)
from medchain.store.finding_sql import prepared_count, prepared_page, prepared_reach
from medchain.store.index_rows import IndexRows, cells_of, decode, encode
from medchain.store.overlay import OVERLAY
from medchain.store.records import RecordStore, RecordVersion
from medchain.store.tables import entry, unmerged
from tests.unit.medchain.store.conftest import KEY, plain
from tests.unit.medchain.store.faults import at_step, fail
from tests.unit.medchain.store.test_records import EPOCH, version

EVERY = Search((), ())


def opened(folder) -> RecordStore:
    return RecordStore(open_database(folder / "records.db", KEY, kind=FileKind.RECORDS))


@pytest.fixture
def store(tmp_path):
    made = opened(tmp_path)
    made.put_versions([], epochs=[EPOCH])
    yield made
    made.close()


def rows(key: str, detail: str = "urn:d", generation: int = 0) -> IndexRows:
    return IndexRows([(8, 0, key, detail, None, None)], 5, generation)


def put(store: RecordStore, *made: RecordVersion, key: str = "k", **more: object) -> list[int]:
    return store.put_versions(made, **{"index": [rows(key)] * len(made), **more})


def count(store: RecordStore, table) -> int:
    with store.database.read(table.name) as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def found(store: RecordStore, search: Search = EVERY) -> list[str]:
    return [row.id for row in store.find_page(search).rows]


def test_who_got_an_answer_to_a_write_finds_it_in_whatever_process(store, tmp_path):
    other = opened(tmp_path)
    for number in range(1, 4):
        put(store, version(number))
        assert count(store, unmerged) == 1
        assert found(other) == [f"id-{one}" for one in range(1, number + 1)]
        assert count(store, unmerged) == 0
    put(store, version(1, 2), key="changed")
    put(other, version(2, 2), key="changed")
    page = store.find_page(EVERY)
    assert [(row.id, row.number) for row in page.rows] == [("id-3", 3), ("id-1", 4), ("id-2", 5)]
    other.close()


def test_a_deletion_that_waits_is_seen(store):
    put(store, version(1), version(2))
    store.put_versions([version(1, 2)], index=[None])
    assert found(store) == ["id-2"]
    assert count(store, unmerged) == 0


def test_a_snapshot_has_nothing_that_waits_still(store, monkeypatch):
    put(store, version(1))
    merged = store.merge_rows

    def late(**more: float) -> int:
        done = merged(**more)
        if not count(store, unmerged):
            put(store, version(9))
        return done

    monkeypatch.setattr(store, "merge_rows", late)
    page = store.find_page(EVERY)
    # What came after the search had begun waits, and is in no page of it.
    assert (page.snapshot, [row.id for row in page.rows]) == (1, ["id-1"])
    monkeypatch.undo()
    assert found(store, Search((), (), snapshot=page.snapshot)) == ["id-1"]
    assert count(store, unmerged) == 1
    assert found(store, Search((), (), snapshot=2)) == ["id-1", "id-9"]


def test_what_must_be_absent_is_looked_for_among_what_waits(store):
    put(store, version(1), key="taken")
    with pytest.raises(ConflictError) as caught:
        put(store, version(2), known=[Known(Search(("Observation",), ()), 0)])
    assert caught.value.fields == {"table": "resource"}
    # What was merged for the question was taken back with the write.
    assert (count(store, unmerged), found(store)) == (1, ["id-1"])


K1 = Search(("Observation",), (Row((Match(8, keys=("k1",)),)),), limit=2)
BY_OTHERS = replace(K1, conditions=(Not(AnyOf((Linked((8,), "Patient", K1.conditions[0]),))), *K1.conditions))


def known(store: RecordStore, search: Search = K1) -> Known:
    page = store.find_page(search)
    return Known(search, page.snapshot, *((page.rows[0].number, page.rows[0].id) if page.rows else ()))


def _came(store: RecordStore) -> None:
    put(store, version(2), key="k1")


def _replaced(store: RecordStore) -> None:
    put(store, version(1, 2), key="other")


def _deleted(store: RecordStore) -> None:
    store.put_versions([version(1, 2)], index=[None])


def _erased(store: RecordStore) -> None:
    store.erase(EPOCH.id, 200)


@pytest.mark.parametrize("is_merged", [False, True])
@pytest.mark.parametrize("search", [K1, BY_OTHERS])
@pytest.mark.parametrize("change", [_came, _replaced, _deleted, _erased])
def test_what_was_found_must_be_found_still(store, change, search, is_merged):
    store.put_versions([], epochs=[Epoch(b"f" * 16, "another", 1, 100, b"wrapped")])
    put(store, version(1), key="k1")
    one = known(store, search)
    change(store)
    if is_merged:
        store.merge_rows()
    with pytest.raises(ConflictError) as caught:
        put(store, version(9, epoch_id=b"f" * 16, patient="another"), known=[one])
    assert caught.value.fields == {"table": "resource"}
    assert store.get("Observation", "id-9") is None


@pytest.mark.parametrize("search", [K1, BY_OTHERS])
def test_what_is_found_still_is_no_conflict_whatever_else_came(store, search, written):
    put(store, version(1), key="k1")
    with written():
        # Found before it was merged.
        one = known(store, search)
    assert (one.id, one.number) == ("id-1", 1)
    put(store, version(1, 2), key="k1")
    put(store, version(2), key="k2")
    assert put(store, version(3), known=[one]) == [4]


def test_what_nothing_came_of_is_not_asked_again(store):
    """Nor is anything merged for it: all who write wait for whoever has the turn."""
    put(store, version(1), key="k1")
    one = known(store)
    put(store, replace(version(2), type="Patient"))
    put(store, replace(version(3), type="Patient"), known=[one])
    assert count(store, unmerged) == 2
    put(store, version(4))
    put(store, replace(version(5), type="Patient"), known=[one])
    assert count(store, unmerged) == 1


def test_what_was_planned_for_another_state_of_the_index_is_known_no_more(store):
    one = known(store)
    assert put(store, version(1), known=[one._replace(search=replace(K1, generation=0))]) == [1]
    store.put_custom("urn:p", "{}", [("Observation", "own")])
    with pytest.raises(ConflictError, match=r"store\.conflict"):
        put(store, version(2), index=[rows("k", generation=1)], known=[one._replace(search=replace(K1, generation=0))])


def test_many_versions_go_to_the_index_at_once_behind_what_waits(store):
    put(store, version(1))
    made = [version(1, 2), *(version(number) for number in range(2, placing.MAX_APART + 2))]
    put(store, *made, key="many")
    assert (count(store, unmerged), count(store, entry)) == (0, len(made) + 1)
    assert len(found(store)) == len(made)


def test_who_writes_merges_some_where_nobody_else_does(store, monkeypatch):
    monkeypatch.setattr(placing, "MAX_WAITING", 4)
    monkeypatch.setattr(placing, "AT_ONCE", 3)
    for number in range(1, 8):
        put(store, version(number))
    assert count(store, unmerged) <= 5
    assert len(found(store)) == 7


def test_a_merge_takes_so_many_and_no_more(store):
    for number in range(1, 6):
        put(store, version(number))
    assert [store.merge_rows(2) for _ in range(4)] == [2, 2, 1, 0]


def test_two_processes_that_merge_at_once_merge_each_version_once(store, tmp_path, monkeypatch):
    other = opened(tmp_path)
    for number in range(1, 6):
        put(store, version(number))
    derive = type(store.database).derive

    @contextmanager
    def first_the_other(database, *given: object):
        monkeypatch.undo()
        assert other.merge_rows() == 5
        with derive(database, *given) as connection:
            yield connection

    monkeypatch.setattr(type(store.database), "derive", first_the_other)
    assert store.merge_rows() == 0
    assert (count(store, entry), len(found(store))) == (5, 5)
    other.close()


def test_a_merge_is_not_counted_and_asks_for_no_sync(store):
    put(store, version(1))
    before = store.database.state()
    with at_step(store.database, 0, fail) as seen:
        assert store.merge_rows() == 1
    # The mark promises what is synced, and a merge is not.
    assert store.database.state() == before
    assert "PRAGMA synchronous = NORMAL" in seen
    assert synced(store)


def synced(store: RecordStore) -> bool:
    """Tell whether the next write of the connection that was used last is synced."""
    with store.database.engine.connect() as connection:
        # 2: FULL (sqlite.org/pragma.html#pragma_synchronous).
        return connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2


@pytest.mark.parametrize("step", range(1, 20))
def test_a_merge_that_fails_anywhere_is_whole_or_not_at_all(store, step):
    put(store, version(1), key="one")
    put(store, version(1, 2), key="two")
    done = 0
    with at_step(store.database, step, fail) as seen, suppress(UnavailableError):
        done = store.merge_rows()
    assert done == 2 or len(seen) >= step
    assert synced(store)
    # Behind the commit it was kept, and failed all the same.
    assert (count(store, unmerged), count(store, entry)) in ([(0, 2)] if done else [(0, 2), (2, 0)])
    assert found(store) == ["id-1"]
    assert count(store, entry) == 2


def test_a_search_is_answered_where_nothing_can_be_written(store):
    put(store, version(1))
    put(store, version(1, 2), version(2))
    for _ in range(2):
        with _never_committing(store):
            page = store.find_page(EVERY).rows
            assert [row.id for row in page] == ["id-1", "id-2"]
            # What they refer to, too, which a search asks for afterwards (`_include`).
            assert store.linked([row.number for row in page], [8]) == [("k", "urn:d")]
        # Nothing of it was kept.
        assert count(store, unmerged) == 3
    assert found(store) == ["id-1", "id-2"]
    assert count(store, unmerged) == 0


def test_a_search_needs_no_disk_however_much_waits(tmp_path):
    """More pages change than the cache holds (sqlite.org/pragma.html#pragma_cache_spill); the WAL cannot grow."""
    database = open_database(tmp_path / "records.db", KEY, kind=FileKind.RECORDS, cache_bytes=0)
    store = RecordStore(database)
    store.put_versions([], epochs=[EPOCH])
    for first in range(1, 250, placing.MAX_APART):
        made = [version(number) for number in range(first, first + placing.MAX_APART)]
        keys = [IndexRows([(8 * row, 0, f"{one.id} {row}", "", None, None) for row in range(33)]) for one in made]
        store.put_versions(made, index=keys)
    size = (tmp_path / "records.db-wal").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        assert len(found(store, Search((), (), limit=1000))) == 255
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert count(store, unmerged) == 255
    store.close()


@contextmanager
def _never_committing(store):
    def commit(_connection) -> None:
        fail()

    event.listen(store.database.engine, "commit", commit)
    try:
        yield
    finally:
        event.remove(store.database.engine, "commit", commit)


@pytest.fixture
def written(tmp_path):
    """Has another process at its turn at writing, for as long as it takes."""
    other = opened(tmp_path)

    @contextmanager
    def write():
        with other.database.attempt("record"):
            yield

    yield write
    other.close()


def test_a_search_waits_for_nobody_who_writes(store, written):
    put(store, version(1), version(2), version(3), key="old")
    store.merge_rows()
    put(store, version(1, 2), version(4), key="new")
    put(store, version(1, 3), key="newer")
    store.put_versions([version(2, 2)], index=[None])
    wanted = [("id-3", 3), ("id-4", 5), ("id-1", 6)]
    first = Search((), (), snapshot=3)
    for _ in range(2):
        with written():
            page = store.find_page(EVERY, counted=99)
            assert ([(row.id, row.number) for row in page.rows], page.total, page.snapshot) == (wanted, 3, 7)
            linked = store.linked([row.number for row in page.rows], [8])
            assert sorted(key for key, _ in linked) == ["new", "newer", "old"]
            keys = [Search((), (Row((Match(8, keys=(key,)),)),)) for key in ("old", "new", "newer")]
            assert [found(store, one) for one in keys] == [["id-3"], ["id-4"], ["id-1"]]
            # A page of before, of which nothing waits.
            assert found(store, first) == ["id-1", "id-2", "id-3"]
        # Nothing of it was kept.
        assert count(store, unmerged) == 4
    assert [(row.id, row.number) for row in store.find_page(EVERY).rows] == wanted
    assert count(store, unmerged) == 0


def test_what_is_no_search_waits_for_nobody_either(store, written):
    put(store, version(1), key="here")
    store.merge_rows()
    put(store, version(2), key="there")
    put(store, replace(version(3), type="Patient"), key="new detail")
    with written():
        assert store.indexed_types() == ["Observation", "Patient"]
        assert store.newest_of_type("Observation") == [1, 2]
        assert store.referring_parameters(["there"], [8]) == [8]
        assert sorted(store.distinct_values([8], 9)) == [(8, key, "urn:d") for key in ("here", "new detail", "there")]


def test_a_detail_that_the_file_has_not_yet_is_found(store, written):
    store.put_versions([version(1), version(2)], index=[rows("k", "urn:one"), rows("k", "urn:two")])
    with written():
        for text, name in (("urn:one", "id-1"), ("urn:two", "id-2")):
            assert found(store, Search((), (Row((Match(8, detail=text),)),))) == [name]


def test_what_has_no_rows_yet_is_not_overlooked(store, written):
    store.put_versions([version(9)])
    put(store, version(1))
    put(store, version(1, 2))
    with written():
        with pytest.raises(UnavailableError, match=r"search\.indexing"):
            store.find_page(EVERY)
        assert store.indexed_types() == ["Observation"]
    assert store.unindexed(9) == [1]


def test_the_indexes_are_used_through_what_is_laid_over(store):
    """sqlite.org/eqp.html: no table of the file is read through, and no view made before it is asked."""
    row, type_name = Row((Match(8, keys=("k",)), Match(16, prefix="b"))), "Observation"
    together = Together((row, Row((Match(8, keys=("k",), detail="urn:d"),)), row), (True, True, False))
    conditions = [
        row,
        together,
        Linked((8,), type_name, row),
        Linked((8,), type_name, Linked((8,), type_name, AllOf((OfType((type_name,)), Ids(("a",)))))),
        Referred(8, (type_name, "Patient"), together),
        Referred(8, (type_name,), Not(row)),
        AnyOf((row, Linked((8,), type_name, row))),
        AllOf((row, Not(together), Referred(8, (type_name,), row))),
        Ids(("a", "b")),
    ]
    owner = Referred(8, (type_name,), AllOf((Row((Match(8, keys=("k",), detail="urn:d"),)), Not(row))), is_owner=True)
    order = (Order((8,), by_key=True, descending=False), Order((), by_key=False, descending=True))
    searches = [
        Search((type_name,), tuple(some), rules, (1.0, 2.0, 3) if rules else (), 5, 9)
        for rules in ((), order)
        for some in (*([one] for one in conditions), conditions[:3], [], [row, Not(row)], [together, conditions[4]])
    ]
    owned = [Search((type_name,), (owner,), (), (3,), 5, 9, end=end) for end in (0, 8)]

    def plan(connection, made) -> list[str]:
        return [step[3] for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {made.sql}", made.values)]

    def whole(steps: list[str]) -> set[str]:
        return {one.split()[-1] for one in steps if one.endswith("entry_by_key (number=?)")}

    with store.database.overlaid("resource", OVERLAY) as over, store.database.read("resource") as below:
        for search in (*searches, *owned):
            reach = prepared_reach(search, over.dialect)
            assert (reach is not None) == (search in owned), search
            pages = (prepared_page(search, over.dialect), prepared_count(search, over.dialect))
            for made in (*pages, *([reach] if reach else [])):
                # A number that is asked for twice is no view.
                steps = [one for one in plan(over, made) if one != "MATERIALIZE begun"]
                assert not [one for one in steps if one.startswith(("MATERIALIZE", "CO-ROUTINE entry"))], search
                assert not [one for one in steps if one.startswith(("SCAN below", "SCAN main"))], search
                # Nor all rows of a parameter where the tables alone would not be asked so.
                assert whole(steps) <= whole(plan(below, made)), search
        steps = plan(below, prepared_page(owned[1], below.dialect))
        # In the order of the page, and of each resource no more than the rows of its owner.
        assert steps[0].startswith("SEARCH resource USING INDEX resource_by_type (type=? AND number"), steps
        assert [one for one in steps if "entry_by_key (number=? AND key=? AND low=?" in one], steps
        assert not [one for one in steps if "TEMP B-TREE" in one or "LIST SUBQUERY" in one], steps


def test_what_was_merged_is_overwritten_where_it_lay(store, tmp_path):
    # With the quotation marks of JSON: the index has the key without.
    put(store, version(1), key="conspicuous")
    store.database.checkpoint()
    assert b'"conspicuous"' in plain(tmp_path / "records.db")
    store.merge_rows()
    store.database.checkpoint()
    content = plain(tmp_path / "records.db")
    assert b'"conspicuous"' not in content
    assert b"conspicuous" in content


def test_what_waits_is_overwritten_where_all_is_indexed_anew(store, tmp_path):
    put(store, version(1), key="conspicuous")
    store.database.checkpoint()
    store.open_index(99, [], "Asia/Shanghai")
    store.database.checkpoint()
    assert b"conspicuous" not in plain(tmp_path / "records.db")


@pytest.mark.parametrize("way", ["replaced", "parameter"])
def test_rows_that_go_from_the_index_are_overwritten(store, tmp_path, way):
    if way == "parameter":
        store.put_custom("urn:p", "{}", [("Observation", "own")])
    put(store, version(1), index=[rows("conspicuous", generation=store.index_generation())])
    store.merge_rows()
    put(store, version(1, 2), index=[rows("k", generation=store.index_generation())])
    store.merge_rows()
    store.database.checkpoint()
    assert b"conspicuous" in plain(tmp_path / "records.db")
    if way == "parameter":
        store.drop_custom("urn:p", [("Observation", "own")])
    else:
        assert store.prune_index(1 << 40, 9) == 1
    store.database.checkpoint()
    assert b"conspicuous" not in plain(tmp_path / "records.db")


def test_rows_of_another_state_of_the_index_are_refused(store):
    with pytest.raises(ConflictError) as caught:
        store.put_versions([version(1)], index=[rows("k", generation=7)])
    assert caught.value.fields == {"table": "index_state"}
    assert count(store, unmerged) == 0


def test_what_waits_is_merged_before_the_index_becomes_another(store):
    put(store, version(1))
    store.put_custom("urn:p", "{}", [("Observation", "own")])
    assert (count(store, unmerged), count(store, entry)) == (0, 1)
    store.put_versions([version(2)], index=[rows("k", generation=1)])
    store.drop_custom("urn:p", [("Observation", "own")])
    # Both were of the parameter with number 1, variant 0: what waited goes with it.
    assert (count(store, unmerged), count(store, entry)) == (0, 0)


def test_what_waits_is_forgotten_where_all_is_indexed_anew(store):
    put(store, version(1))
    store.open_index(99, [], "Asia/Shanghai")
    assert (count(store, unmerged), store.unindexed(9)) == (0, [1])


def test_what_is_indexed_later_comes_behind_what_waits(store):
    store.put_versions([version(1), version(2)])
    put(store, version(1, 2))
    assert store.unindexed(9) == [1, 2]
    with pytest.raises(UnavailableError, match=r"search\.indexing"):
        store.find_page(EVERY)
    made = [placing.Placed(number, "Observation", f"id-{number}", 1, 5, rows("late")) for number in (1, 2)]
    store.put_rows(made)
    assert (store.unindexed(9), found(store)) == ([], ["id-2", "id-1"])


def test_the_types_that_there_are_and_the_values_include_what_waits(store):
    put(store, version(1), key="here")
    assert store.indexed_types() == ["Observation"]
    put(store, version(2), key="there")
    assert store.distinct_values([8], 9) == [(8, "here", "urn:d"), (8, "there", "urn:d")]
    put(store, version(3))
    assert store.newest_of_type("Observation") == [1, 2, 3]


def test_a_detail_has_one_number_whoever_merges(store, tmp_path):
    other = opened(tmp_path)
    put(store, version(1))
    assert other.merge_rows() == 1
    put(store, version(2))
    with store.database.read("unmerged") as connection:
        # The number that the other gave it, in place of the text.
        assert b"urn:d" not in connection.execute(select(unmerged.c.rows)).scalar_one()
    assert store.merge_rows() == 1
    with store.database.read("entry") as connection:
        assert connection.execute(select(func.count(entry.c.detail.distinct()))).scalar_one() == 1
    other.close()


NUMBERS = st.none() | st.floats(allow_nan=False) | st.integers(-(1 << 62), 1 << 62)
ROW = st.tuples(st.integers(0, 1 << 30), st.integers(0, 9), st.text(), st.text(), NUMBERS, NUMBERS)


@given(st.lists(ROW), st.none() | st.integers(0, 1 << 60))
def test_rows_are_read_as_they_were_written(made, updated):
    known = {"": 0, "a": 7}
    kept = decode(encode(IndexRows(made, updated), known))
    assert kept is not None
    assert kept[0] == updated
    wanted = cells_of(made, known)
    assert [tuple(cell) for cell in kept[1]] == wanted
    signs = [(math.copysign(1, one[4]), math.copysign(1, two[4])) for one, two in zip(kept[1], wanted, strict=True)]
    assert all(one == two for one, two in signs)


def test_what_is_found_by_nothing_is_written_as_nothing():
    assert [encode(one, {}) for one in (None, IndexRows(None))] == [b"", b""]
    assert decode(b"") is None
