"""The ledger file under faults: a block is there whole or not at all; what is written behind comes back."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from sqlalchemy import text

from medchain.encoding import base64_text
from medchain.errors import ConflictError, InputError, NotFoundError, UnavailableError, VerificationError
from medchain.ledger.members import LINE_USES, organisation_content
from medchain.ledger.transaction import Change, parse_envelope
from medchain.node.replica import Replica
from medchain.ordering.block import Block
from medchain.store.engine import FileKind
from medchain.store.ledger import LedgerStore
from medchain.store.notes import KEPT_CHECKPOINTS
from tests.unit.medchain.ledger import world
from tests.unit.medchain.ledger.world import ANXIN, COMMISSION, RENHE, ROLES, TONGJI, next_row, prove, sign
from tests.unit.medchain.node.ledgers import Author, anchored, block_of, protocol_change, replica_on
from tests.unit.medchain.store.faults import at_step, commit_kept_but_failed, fail, kill, killed
from tests.unit.medchain.store.folds import fold_by

LEDGER = FileKind.LEDGER
KEY = bytes(range(32))


@pytest.fixture
def database(store_engine):
    return store_engine(LEDGER)


@pytest.fixture
def store(database):
    return LedgerStore(database)


@pytest.fixture
def orderer(other_engine):
    return replica_on(LedgerStore(other_engine(LEDGER)), COMMISSION)


@pytest.fixture
def author(orderer):
    return Author(replica=orderer)


@pytest.fixture
def replica(store):
    return replica_on(store)


@pytest.fixture(params=[None, 1 << 20, 2], ids=["pages wait", "pages are written", "pages are being written"])
def limit(request, monkeypatch):
    """Whether the block's transaction also writes heads and pages, all that wait or two rows of them."""
    if request.param:
        fold_by(request.param, monkeypatch)


def state(store: LedgerStore) -> tuple[object, ...]:
    """Return all that a block changes, read from the file and not from memory."""
    database = store._database  # noqa: SLF001  # a second reader of the same file
    again = LedgerStore(database)
    with database.read("state_record") as connection:
        keys = sorted(set(connection.execute(text("SELECT key FROM state_record")).scalars()))
    found = again.head, again.map_root, again.members, again.draws(RENHE), [again.record(key) for key in keys]
    again._reader.close()  # noqa: SLF001  # the file stays open
    return found


@pytest.mark.usefixtures("limit")
def test_a_block_that_fails_at_any_step_is_not_kept_and_can_be_applied_again(database, replica, orderer, author):
    replica.apply(block_of(orderer, author.anchor(), author.subject(1)))
    before = state(replica.store)
    block = block_of(orderer, *[author.anchor(1) for _ in range(260)], author.subject(2))
    step = 0
    while True:
        step += 1
        with at_step(database, step, fail) as seen:
            try:
                replica.apply(block)
                break
            except UnavailableError as error:
                assert error.code == "store.full"  # noqa: PT017  # the last step does not fail
        assert seen
        assert replica.height == 1
        assert state(replica.store) == before
    assert step >= 10
    assert (replica.height, replica.root) == (2, orderer.root)
    assert state(replica.store)[0].root == orderer.root


@pytest.mark.usefixtures("limit")
def test_the_heads_of_many_objects_are_those_of_each(database, replica, orderer, author):
    first, second = author.anchor(70), author.anchor(3)
    for envelope in (first, second):
        replica.apply(block_of(orderer, envelope))
    absent = [bytes([at]) * 32 for at in range(70)]
    asked = [*anchored(first), *absent, *anchored(second)]
    for store in (replica.store, LedgerStore(database)):
        found = store.heads(asked)
        assert found == {key: store.record(key) for key in asked}
        assert [key for key, record in found.items() if record is None] == absent
        assert store.heads([]) == {}
    store._reader.close()  # noqa: SLF001  # the file stays open


@pytest.mark.usefixtures("limit")
def test_a_block_whose_commit_failed_but_was_kept_is_known_afterwards(database, replica, orderer, author):
    block = block_of(orderer, author.anchor(), author.subject(1))
    with commit_kept_but_failed(database), pytest.raises(UnavailableError):
        replica.apply(block)
    assert (replica.height, replica.root) == (1, orderer.root)
    with pytest.raises(VerificationError, match=r"block\.height"):
        replica.apply(block)
    replica.apply(block_of(orderer, author.anchor(), author.subject(2)))
    assert state(replica.store) == state(orderer.store)


@pytest.mark.usefixtures("limit")
def test_a_process_killed_at_any_step_leaves_the_block_whole_or_absent(store_engine, replica, orderer, author):
    replica.apply(block_of(orderer, author.anchor(), author.subject(1)))
    before = state(replica.store)
    block = block_of(orderer, author.anchor(), author.subject(2))
    after = state(orderer.store)
    replica.store.close()
    outcomes = []
    while True:

        def work() -> None:
            own = store_engine(LEDGER)
            child = Replica(LedgerStore(own))
            with at_step(own, len(outcomes) + 1, kill):
                child.apply(block)
            kill()

        assert killed(work)
        reopened = store_engine(LEDGER)
        found = state(LedgerStore(reopened))
        reopened.check()
        reopened.engine.dispose()
        assert found in (before, after)
        outcomes.append(found == after)
        if found == after:
            break
    # Only the death after the commit keeps it.
    assert outcomes.count(True) == 1
    assert len(outcomes) > 8


def made_one_by_one(orderer, author) -> list[Block]:
    """Make blocks of one or two transactions: new objects, new versions of them, draws, and a tile that gets full."""
    first = author.anchor(2)
    blocks = [block_of(orderer, author.anchor(1) if number else first) for number in range(130)]
    for number in (1, 2):
        changed = tuple(row for key in anchored(first) for row in next_row(orderer.store.record(key)))
        again = Change("record", "active", tuple(sorted(changed)))
        envelope = sign(author.transaction(RENHE, again, until=None))
        blocks.append(block_of(orderer, envelope, author.subject(number)))
    return blocks


@pytest.mark.usefixtures("limit")
def test_blocks_that_are_kept_together_leave_what_they_leave_one_by_one(replica, orderer, author):
    blocks = made_one_by_one(orderer, author)
    assert len(replica.apply_all(blocks)) == len(blocks)
    assert state(replica.store) == state(orderer.store)
    assert replica.size > 256
    for height in (1, 100, 132):
        assert replica.store.block(height) == orderer.store.block(height)
    for key in anchored(parse_envelope(blocks[0].transactions[0])):
        assert replica.store.history(key) == orderer.store.history(key)
        # In the map after a block between the others, too.
        assert replica.prove_record(key, 4).record.version == 1
        assert replica.prove_record(key).record.version == 3
    replica.apply(block_of(orderer, author.anchor()))
    assert state(replica.store) == state(orderer.store)


@pytest.mark.usefixtures("limit")
def test_blocks_that_fail_together_at_any_step_are_not_kept_and_can_be_applied_again(
    database, replica, orderer, author
):
    replica.apply(block_of(orderer, author.anchor()))
    before = state(replica.store)
    blocks = [block_of(orderer, author.anchor(1), author.subject(number)) for number in (1, 2, 3)]
    step = 0
    while True:
        step += 1
        with at_step(database, step, fail) as seen:
            try:
                replica.apply_all(blocks)
                break
            except UnavailableError as error:
                assert error.code == "store.full"  # noqa: PT017  # the last step does not fail
        assert seen
        assert replica.height == 1
        assert state(replica.store) == before
    assert step >= 9
    assert state(replica.store) == state(orderer.store)


def test_blocks_whose_common_commit_failed_but_was_kept_are_known_afterwards(database, replica, orderer, author):
    blocks = [block_of(orderer, author.anchor(1), author.subject(number)) for number in (1, 2, 3)]
    with commit_kept_but_failed(database), pytest.raises(UnavailableError):
        replica.apply_all(blocks)
    assert (replica.height, replica.root) == (3, orderer.root)
    assert state(replica.store) == state(orderer.store)


@pytest.mark.usefixtures("limit")
def test_a_process_killed_at_any_step_leaves_blocks_that_are_kept_together_whole_or_absent(
    store_engine, replica, orderer, author
):
    replica.apply(block_of(orderer, author.anchor(), author.subject(1)))
    before = state(replica.store)
    blocks = [block_of(orderer, author.anchor(1), author.subject(number)) for number in (2, 3)]
    after = state(orderer.store)
    outcomes = []
    while not outcomes or outcomes[-1] == before:

        def work() -> None:
            own = store_engine(LEDGER)
            child = Replica(LedgerStore(own))
            with at_step(own, len(outcomes) + 1, kill):
                child.apply_all(blocks)
            kill()

        assert killed(work)
        reopened = store_engine(LEDGER)
        outcomes.append(state(LedgerStore(reopened)))
        reopened.check()
        reopened.engine.dispose()
    assert outcomes[-1] == after
    assert len(outcomes) > 8


def test_nobody_sees_a_block_before_all_that_are_kept_with_it_are_on_the_disk(replica, orderer, author, monkeypatch):
    blocks = [block_of(orderer, author.anchor(1)) for _ in range(3)]
    keys = [key for block in blocks for key in anchored(parse_envelope(block.transactions[0]))]
    commit, seen = replica.store.commit_blocks, []

    def watched(writes):
        again = LedgerStore(replica.store._database)  # noqa: SLF001  # what a process would find that starts now
        seen.extend((store.head.height, store.heads(keys)) for store in (replica.store, again))
        again._reader.close()  # noqa: SLF001  # the file stays open
        commit(writes)

    monkeypatch.setattr(replica.store, "commit_blocks", watched)
    replica.apply_all(blocks)
    assert seen == [(0, dict.fromkeys(keys))] * 2
    assert (replica.height, None in replica.store.heads(keys).values()) == (3, False)


def test_what_waits_in_memory_is_computed_again_at_the_next_start(database, replica, orderer, author):
    keys = []
    for number in range(1, 6):
        envelope = author.anchor(3)
        keys += anchored(envelope)
        replica.apply(block_of(orderer, envelope, author.subject(number)))
        if number == 2:
            replica.store.flush()
    again = Replica(LedgerStore(database))
    assert again.store.map_root == replica.store.map_root
    for key in keys:
        assert again.prove_record(key).record == replica.store.record(key)


def test_a_flush_that_fails_loses_nothing(database, replica, orderer, author):
    envelope = author.anchor(3)
    replica.apply(block_of(orderer, envelope))
    for step in range(1, 6):
        with at_step(database, step, fail), pytest.raises(UnavailableError):
            replica.store.flush()
    with commit_kept_but_failed(database), pytest.raises(UnavailableError):
        replica.store.flush()
    assert replica.prove_record(anchored(envelope)[0]).record is not None
    replica.store.flush()
    replica.apply(block_of(orderer, author.anchor()))
    assert Replica(LedgerStore(database)).root == orderer.root


def test_versions_of_an_object_form_a_chain(orderer, author):
    first = author.anchor(1)
    block_of(orderer, first)
    [key] = anchored(first)
    for _ in range(2):
        change = first.transaction.changes[0]
        row = next_row(orderer.store.record(key))
        again = author.transaction(RENHE, type(change)("record", "active", row), until=None)
        block_of(orderer, sign(again))
    versions = orderer.store.history(key)
    assert [record.version for record in versions] == [3, 2, 1]
    assert versions[0].previous == versions[1].digest
    assert orderer.store.record_at(key, versions[1].since) == versions[1]
    assert orderer.store.record_at(key, versions[2].since - 1) is None
    assert LedgerStore(orderer.store._database).history(key) == versions  # noqa: SLF001  # from the file
    found = [orderer.store.version(key, version) for version in range(5)]
    assert found == [None, *reversed(versions), None]
    assert orderer.store.version(bytes(32), 1) is None
    # Each row is compared with what the later one says of it, and none may be missing.
    for statement in (
        "UPDATE state_record AS r SET data = (SELECT data FROM state_record s WHERE s.seq = r.seq + 1) WHERE seq = ",
        "UPDATE state_record SET previous = NULL WHERE seq = 1 + ",
    ):
        with orderer.store._database.write("file") as connection:  # noqa: SLF001  # damage it
            row = connection.execute(text("SELECT previous FROM state_record WHERE previous IS NOT NULL")).first()
            connection.execute(text(statement + str(row[0])))
        with pytest.raises(VerificationError, match=r"store\.corrupt"):
            orderer.store.version(key, 1)


@pytest.mark.parametrize("is_remembered", [True, False])
def test_what_changed_of_a_kind_is_found_between_any_two_heights(
    store_engine, replica, orderer, author, monkeypatch, is_remembered
):
    for number in (1, 2, 3):
        replica.apply(block_of(orderer, author.anchor(), author.subject(number), author.anchor()))
    store = replica.store if is_remembered else LedgerStore(store_engine(LEDGER))
    if is_remembered:
        monkeypatch.setattr(LedgerStore, "_block_row", None)
    records = [store.changed_of("record", height, height) for height in range(4)]
    assert [len(keys) for keys in records] == [0, 6, 6, 6]
    assert {store.record(key).kind for keys in records for key in keys} == {"record"}
    assert store.changed_of("record", 0, 3) == [key for keys in records for key in keys]
    assert len(store.changed_of("organisation", 0, 3)) == len(replica.members.organisations)
    assert store.changed_of("emergency", 0, 3) == []


def test_blocks_come_in_order_and_whole(replica, orderer, author):
    block = block_of(orderer, author.anchor())
    replica.apply(block)
    store = replica.store
    with pytest.raises(ConflictError, match=r"store\.height"):
        store.commit_blocks([type("Write", (), {"height": 3})()])
    assert store.block(1).checkpoint == block.checkpoint
    assert store.block_at(2) == store.block(1)
    assert store.block_of_size(4).height == 1
    for missing in (lambda: store.block(2), lambda: store.block_at(4), lambda: store.block_of_size(3)):
        with pytest.raises(NotFoundError):
            missing()
    with pytest.raises(InputError):
        store.leaves(0, 5)
    with pytest.raises(NotFoundError):
        store.leaf(4)


def test_members_are_kept_for_each_height_at_which_they_changed(replica):
    assert replica.store.members_at(0) == replica.members
    assert replica.store.members_changes() == [0]
    with pytest.raises(NotFoundError):
        replica.store.members_at(-1)


def test_an_address_is_of_who_lists_it_or_was_the_last_to(orderer, author):
    def moved(org_id: str, *origins: str) -> None:
        after = replace(author.members.organisations[org_id], origins=tuple(sorted(origins)))
        voters = [one for one in ROLES if one != COMMISSION]
        content = ("organisation", organisation_content(after))
        block_of(orderer, sign(author.public(COMMISSION, content, signers=voters, until=None)))

    first, second = f"https://{RENHE}.example", f"https://{TONGJI}.example"
    moved(RENHE, "https://new.example")
    moved(TONGJI, second, first)
    moved(ANXIN, "https://new.example")
    found = [orderer.store.addresses_at(height) for height in range(4)]
    assert [one[first] for one in found] == [RENHE, RENHE, TONGJI, TONGJI]
    assert [one[second] for one in found] == [TONGJI] * 4
    # Of two that list it the first by name.
    assert [one.get("https://new.example") for one in found] == [None, RENHE, RENHE, min(ANXIN, RENHE)]


def test_members_of_a_dropped_block_are_known_no_more(orderer, author):
    store = orderer.store
    block_of(orderer, author.anchor())
    block_of(orderer, protocol_change(author, TONGJI))
    assert (store.members_at(2).protocol.orderer, store.members_changes()) == (TONGJI, [0, 2])
    orderer.rewind(1)
    assert (store.members_at(2).protocol.orderer, store.members_changes()) == (COMMISSION, [0])
    block_of(orderer, protocol_change(author, ANXIN))
    assert [store.members_at(height).protocol.orderer for height in (1, 2)] == [COMMISSION, ANXIN]
    again = LedgerStore(store._database)  # noqa: SLF001  # a second reader of the same file
    assert (again.members_at(2), again.members_changes()) == (store.members_at(2), [0, 2])
    again._reader.close()  # noqa: SLF001  # the file stays open


def rotated(author, generation: int, *, version: int | None = None):
    """Have a member exchange its log key; as another version than the next where another transaction comes before."""
    before, new = author.members.organisations[RENHE], world.key(RENHE, "log", generation)
    keys = tuple(sorted((*(item for item in before.keys if item.use != "log"), new), key=lambda item: item.id))
    proof = base64_text(prove(author.genesis.ledger, new, generation))
    content = organisation_content(replace(before, keys=keys), {new.id: proof})
    made = author.public(RENHE, ("organisation", content), until=None)
    ((change,), (row,)) = made.changes, made.changes[0].objects
    return sign(replace(made, changes=(replace(change, objects=(row._replace(version=version or row.version),)),)))


@pytest.fixture
def with_former_keys(replica, orderer, author):
    """A file in which a member has exchanged its log key twice."""
    for generation in (2, 3):
        replica.apply(block_of(orderer, rotated(author, generation)))
    return replica.members


def test_the_key_ids_that_there_were_are_known_at_each_height_and_after_a_rewind(database, with_former_keys, replica):
    store = LedgerStore(database)
    first = {world.line_id(org_id, use, 1).hex() for org_id in ROLES for use in LINE_USES}
    later = [world.line_id(RENHE, "log", generation).hex() for generation in (2, 3)]
    assert [store.members_at(height).line_ids for height in range(3)] == [first, first | {later[0]}, {*first, *later}]
    assert store.members == with_former_keys
    replica.rewind(1)
    assert replica.members.line_ids == first | {later[0]}


def test_a_file_of_before_gets_the_key_ids_that_there_were(store_engine, database, with_former_keys):
    with database.write("file") as connection:
        before = "CAST(json_remove(CAST(data AS TEXT), '$.line_ids') AS BLOB)"
        connection.execute(text(f"UPDATE members SET data = {before}"))  # noqa: S608  # a constant
        connection.execute(text("DROP TABLE destroyed_body"))
        connection.execute(text("UPDATE alembic_version SET version_num = 'ledger_0003'"))
    database.engine.dispose()
    again = LedgerStore(store_engine(LEDGER))
    assert again.members == with_former_keys
    assert again.members_at(1).line_ids == with_former_keys.line_ids - {world.line_id(RENHE, "log", 3).hex()}


def test_a_file_of_before_gets_the_key_ids_of_what_one_block_has_listed_and_exchanged(
    store_engine, database, replica, orderer, author
):
    """A node without them would take the former key again, which all others refuse."""
    replica.apply(block_of(orderer, author.anchor()))
    replica.apply(block_of(orderer, rotated(author, 2), rotated(author, 3, version=3), author.anchor()))
    whole, between = replica.members, world.line_id(RENHE, "log", 2).hex()
    assert between in whole.line_ids
    with database.write("file") as connection:
        chosen = "SELECT CAST(data AS TEXT) FROM members WHERE height = 2"
        top = orjson.loads(connection.execute(text(chosen)).scalar_one())
        top["line_ids"].remove(between)
        # What `ledger_0006` made of it, which saw the end of each block.
        update = text("UPDATE members SET data = :data WHERE height = 2")
        connection.execute(update, {"data": orjson.dumps(top, option=orjson.OPT_SORT_KEYS)})
        connection.execute(text("UPDATE alembic_version SET version_num = 'ledger_0006'"))
    database.engine.dispose()
    again = LedgerStore(store_engine(LEDGER))
    assert again.members == whole
    assert between not in again.members_at(1).line_ids


def test_a_file_whose_members_have_no_lineage_is_not_read(store_engine, database, with_former_keys):
    # What was appended to it would name other policies than every other node does.
    assert with_former_keys.lineage != bytes(32)
    with database.write("file") as connection:
        before = "CAST(json_remove(CAST(data AS TEXT), '$.lineage') AS BLOB)"
        connection.execute(text(f"UPDATE members SET data = {before}"))  # noqa: S608  # a constant
    database.engine.dispose()
    with pytest.raises(VerificationError, match=r"policy\.unnamed"):
        LedgerStore(store_engine(LEDGER))


def test_an_empty_file_says_so(store):
    assert (store.head.height, store.head.size) == (-1, 0)
    with pytest.raises(NotFoundError, match=r"store\.empty"):
        _ = store.members
    assert store.seed(0) is None
    store.flush()


def test_seeds_are_the_map_roots_of_blocks(orderer, author):
    block_of(orderer, author.anchor())
    assert orderer.store.seed(1) == orderer.store.head.map_root
    assert orderer.store.seed(1) == orderer.store.block(1).map_root
    assert orderer.store.seed(2) is None


def test_a_body_is_kept_once_and_destroyed_by_version_or_object(store):
    store.put_body(KEY, 1, b"first")
    store.put_body(KEY, 1, b"first")
    store.put_body(KEY, 2, b"second")
    with pytest.raises(ConflictError):
        store.put_body(KEY, 1, b"other")
    assert (store.body(KEY, 1), store.body_versions(KEY)) == (b"first", [1, 2])
    assert store.delete_body(KEY, 1) == 1
    assert (store.body(KEY, 1), store.body_versions(KEY)) == (None, [2])
    assert store.delete_body(KEY) == 1
    assert store.delete_body(KEY) == 0


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_body_is_replaced_in_one_step(database, store, step):
    store.put_body(KEY, 9, b"old")
    with at_step(database, step, fail), pytest.raises(UnavailableError, match=r"store\.full"):
        store.replace_body(KEY, 9, b"new")
    assert store.body(KEY, 9) == b"old"
    store.replace_body(KEY, 9, b"new")
    assert (store.body(KEY, 9), store.body_versions(KEY)) == (b"new", [9])


def test_up_to_which_version_bodies_were_destroyed_is_remembered_and_never_less(store):
    assert store.destroyed_upto(KEY) == 0
    for version in (1, 2, 4):
        store.put_body(KEY, version, b"body")
    assert (store.destroy_bodies(KEY, 3), store.destroyed_upto(KEY), store.body_versions(KEY)) == (3, 4, [])
    assert (store.destroy_bodies(KEY, 2), store.destroyed_upto(KEY)) == (0, 4)
    assert (store.destroy_bodies(KEY, 7), store.destroyed_upto(KEY)) == (0, 7)
    assert store.destroyed_upto(bytes(32)) == 0


@pytest.mark.parametrize(
    "write",
    [
        lambda s: s.put_body(KEY, 1, b"new"),
        lambda s: s.delete_body(KEY, 9),
        lambda s: s.destroy_bodies(KEY, 9),
    ],
)
def test_writes_of_bodies_fail_whole_or_are_kept_whole(database, store, write):
    store.put_body(KEY, 9, b"old")
    with at_step(database, 3, fail), pytest.raises(UnavailableError, match=r"store\.full"):
        write(store)
    assert store.body_versions(KEY) == [9]
    with commit_kept_but_failed(database), pytest.raises(UnavailableError):
        write(store)
    assert store.body_versions(KEY) != [9]


def test_old_checkpoints_go_but_pinned_and_final_ones_stay(store):
    store.put_checkpoint("pinned", size=1, time=0, final=False, pinned=True)
    store.put_checkpoint("final", size=2, time=7, final=True)
    for size in range(3, 3 + KEPT_CHECKPOINTS + 5):
        store.put_checkpoint(f"note {size}", size=size, time=0, final=False)
    assert store.checkpoint(1).note == "pinned"
    assert store.final().note == "final"
    assert store.checkpoint(3) is None
    assert store.checkpoint().size == KEPT_CHECKPOINTS + 7
    store.put_checkpoint("again", size=2, time=9, final=True)
    assert (store.final().note, store.final().time) == ("again", 9)


def test_a_checkpoint_fails_whole_or_is_kept_whole(database, store):
    with at_step(database, 3, fail), pytest.raises(UnavailableError):
        store.put_checkpoint("note", size=1, time=0, final=False)
    assert store.checkpoint() is None
    with commit_kept_but_failed(database), pytest.raises(UnavailableError):
        store.put_checkpoint("note", size=1, time=0, final=False)
    assert store.checkpoint(1).note == "note"


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM leaf WHERE position = 2",
        "DELETE FROM state_record WHERE seq = 8",
        "UPDATE state_record SET key = data WHERE seq = 8",
        "DELETE FROM edge",
        "DELETE FROM map_page",
        "UPDATE block SET root = map_root",
        "UPDATE block SET frontier = root",
        "UPDATE members SET data = CAST('{}' AS BLOB)",
        "UPDATE map_base SET root = zeroblob(32)",
        "DELETE FROM head",
    ],
)
def test_rows_that_do_not_agree_are_found(database, replica, orderer, author, statement):
    envelope = author.anchor(1)
    replica.apply(block_of(orderer, envelope))
    replica.store.flush()
    replica.apply(block_of(orderer, author.anchor(1)))
    with database.write("file") as connection:
        connection.execute(text(statement))
    with pytest.raises(VerificationError, match=r"store\.corrupt"):
        use(database, anchored(envelope)[0])


def use(database, key: bytes) -> None:
    """Open the file and use what it holds."""
    again = Replica(LedgerStore(database))
    again.prove_record(key)
    again.store.history(key)
    again.blocks(1, 1 << 20)
