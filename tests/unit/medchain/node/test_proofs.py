"""The daemon's operations that export bundles: what may be asked, and growth since a checkpoint of the asker's."""

from __future__ import annotations

from contextlib import closing

import pytest

from medchain.encoding import base64_text, unbase64
from medchain.errors import InputError, NotFoundError, UnavailableError
from medchain.ledger.bundle import verify_bundle
from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.object import map_key
from medchain.ledger.transaction import Change, ObjectRow
from medchain.node.proofs import (
    PROVE_ITEMS,
    TRACE,
    RecordTracer,
    opening_of_fields,
    prove_entry,
    prove_items,
    prove_object,
    read_trusted_policy,
    records_proof,
    trace_record,
    trusted_policy,
)
from medchain.node.records import NewRecord, RecordService
from medchain.store.engine import FileKind, open_database
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore
from medchain.tlog.checkpoint import parse_checkpoint
from medchain.tlog.note import parse_note
from tests.unit.medchain.ledger.world import COMMISSION, RENHE, ROLES, TIME, TONGJI, genesis, sign
from tests.unit.medchain.node.ledgers import Author, block_of, protocol_change, replica_on
from tests.unit.medchain.node.test_replica import cosigned

CONTENT = b'{"resourceType":"Observation","id":"o1","valueQuantity":{"value":5.60}}'


@pytest.fixture
def grown(store_engine):
    """Give a ledger with two final blocks, and the checkpoint of the first."""
    replica = replica_on(LedgerStore(store_engine(FileKind.LEDGER)), COMMISSION)
    author = Author(replica=replica)
    notes = []
    for _ in range(2):
        block = block_of(replica, author.anchor())
        notes.append(replica.put_note(cosigned(block.checkpoint, *ROLES, time=TIME + 10)).note.encode())
    return replica, notes[0]


def files_of(answer):
    return {name: unbase64(text) for name, text in answer["files"].items()}


def test_a_bundle_proves_that_the_log_only_grew_since_the_askers_checkpoint(grown):
    replica, old = grown
    policy = trusted_policy_text(replica.members, genesis().origin)
    for files in (
        files_of(prove_object(replica, {"checkpoint": base64_text(old), "key": "00" * 32})),
        files_of(prove_entry(replica, {"checkpoint": base64_text(old), "position": 0})),
    ):
        assert files["checkpoint-old"] == old
        before = parse_checkpoint(parse_note(old).text).size
        assert files["consistency.txt"].startswith(b"old %d\n" % before)
        assert verify_bundle(files, policy, now=TIME + 20).size == replica.size > before


def test_without_a_checkpoint_there_is_no_proof_of_growth(grown):
    assert "consistency.txt" not in files_of(prove_entry(grown[0], {"position": 0}))


@pytest.mark.parametrize("document", [{"position": -1}, {"position": True}, {}, {"position": 0, "opening": "AA=="}])
def test_what_is_no_question_is_refused(grown, document):
    with pytest.raises(InputError):
        prove_entry(grown[0], document)


class Daemon:
    """The daemon's operations, without a process between."""

    def __init__(self, replica) -> None:
        """Do them on a replica."""
        self.replica = replica

    def call(self, operation, document):
        assert operation == TRACE
        return trace_record(self.replica, document)


@pytest.fixture
def kept(store_engine, tmp_path):
    """A record in two versions, the second a deletion, both anchored and final; and the tracer of its node."""
    replica = replica_on(LedgerStore(store_engine(FileKind.LEDGER)), COMMISSION)
    author = Author(replica=replica)
    database = open_database(tmp_path / "records.db", bytes(32), kind=FileKind.RECORDS)
    with closing(RecordStore(database)) as store:
        service = RecordService(store, genesis().ledger, b"\x05" * 32, lambda: TIME, field_root_types={"Observation"})
        first = service.create(NewRecord("Observation", "o1", CONTENT, "", 1))
        last = service.delete("Observation", "o1", expected=1)
        for one in (first, last):
            row = ObjectRow(one.object_id, one.version, one.commitment)
            block = block_of(replica, sign(author.transaction(RENHE, Change("record", "active", (row,)), until=None)))
        yield RecordTracer(RENHE, genesis().ledger, Daemon(replica), service), replica, (first, last), block


def test_a_version_is_traced_with_its_time_its_signers_and_a_proof_of_its_bytes(kept):
    tracer, replica, (first, last), block = kept
    with pytest.raises(UnavailableError, match=r"trace\.no_final"):
        tracer.trace(first)
    replica.put_note(cosigned(block.checkpoint, *ROLES, time=TIME + 10))
    policy = trusted_policy_text(replica.members, genesis().origin)
    for stored in (first, last):
        traced = tracer.trace(stored)
        verdict = verify_bundle(dict(traced.files), policy, now=TIME + 20)
        assert (verdict.position, verdict.version) == (traced.position, stored.version)
        assert verdict.opened == (CONTENT if stored is first else None)
        assert traced.time == replica.store.block_at(traced.position).time
        assert traced.signed == TIME + 10
        assert (traced.creator, traced.signers) == (RENHE, ((RENHE, "creator"),))
        assert traced.names == {RENHE: {"en": RENHE, "zh": "机构"}}


def test_some_fields_of_a_record_are_proven_and_nothing_else_of_it_leaves(kept):
    tracer, replica, (first, last), block = kept
    replica.put_note(cosigned(block.checkpoint, *ROLES, time=TIME + 10))
    policy = trusted_policy_text(replica.members, genesis().origin)
    opening = opening_of_fields(tracer.service, first, ["/valueQuantity", "/resourceType", "/valueQuantity/value"])
    asked = {
        "key": map_key("record", RENHE, first.object_id).hex(),
        "opening": base64_text(opening),
        "version": first.version,
    }
    files = files_of(prove_object(replica, asked))
    verdict = verify_bundle(files, policy, now=TIME + 20)
    assert verdict.shown.fields == (("/resourceType", '"Observation"'), ("/valueQuantity/value", "5.60"))
    assert (verdict.opened, verdict.shown.size, verdict.shown.part) == (None, None, None)
    salt = tracer.service.open(first).salt
    # Nothing but pointers, values and hexadecimal digits stands there.
    assert b"o1" not in files["opening.json"]
    assert not any(salt.hex().encode() in data for data in files.values())
    with pytest.raises(NotFoundError, match=r"record\.deleted"):
        opening_of_fields(tracer.service, last, ["/id"])
    for pointer in ("/value", "/id/", "id", "", "/valueQuantity/value/0", "/"):
        with pytest.raises(InputError, match=r"record\.no_field "):
            opening_of_fields(tracer.service, first, ["/id", pointer])


class Items:
    """The daemon's operation on several objects, without a process between."""

    def __init__(self, replica) -> None:
        """Do it on a replica."""
        self.replica = replica

    def call(self, operation, document):
        assert operation == PROVE_ITEMS
        return prove_items(self.replica, document)


def test_versions_of_several_records_are_proven_in_one_bundle(kept):
    tracer, replica, (first, _), _ = kept
    other = tracer.service.create(NewRecord("Observation", "o2", CONTENT.replace(b"o1", b"o2"), "", 1))
    row = ObjectRow(other.object_id, other.version, other.commitment)
    change = Change("record", "active", (row,))
    block = block_of(replica, sign(Author(replica=replica).transaction(RENHE, change, until=None)))
    old = replica.put_note(cosigned(block.checkpoint, *ROLES, time=TIME + 10)).note.encode()
    policy = trusted_policy_text(replica.members, genesis().origin)
    shown = [
        (first, opening_of_fields(tracer.service, first, ["/id"])),
        (other, opening_of_fields(tracer.service, other, ["/id"])),
    ]
    for checkpoint in (None, old):
        files = records_proof(Items(replica), RENHE, shown, old_checkpoint=checkpoint)
        verdict = verify_bundle(dict(files), policy, now=TIME + 20)
        assert [item.shown.fields for item in verdict.items] == [(("/id", '"o1"'),), (("/id", '"o2"'),)]
        assert [(item.records[-1].version, item.records[0].version) for item in verdict.items] == [(1, 2), (1, 1)]
        assert ("checkpoint-old" in files) == (checkpoint is not None)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"items": {}},
        {"items": [{}]},
        {"items": [{"key": "00"}]},
        {"items": [{"checkpoint": "AA==", "key": "00" * 32}]},
    ],
)
def test_what_is_no_question_about_several_objects_is_refused(grown, document):
    with pytest.raises(InputError):
        prove_items(grown[0], document)


def test_of_a_record_without_a_root_over_its_fields_none_is_shown_by_itself(kept):
    tracer, *_ = kept
    plain = tracer.service.create(NewRecord("Basic", "b1", b'{"resourceType":"Basic","id":"b1"}', "", 1))
    with pytest.raises(InputError, match=r"record\.no_fields"):
        opening_of_fields(tracer.service, plain, ["/id"])


def test_what_the_ledger_has_not_is_not_traced(kept):
    _, replica, (first, _), block = kept
    replica.put_note(cosigned(block.checkpoint, *ROLES, time=TIME + 10))
    key = map_key("record", RENHE, first.object_id).hex()
    with pytest.raises(NotFoundError, match=r"trace\.absent"):
        trace_record(replica, {"key": key, "version": 7})


@pytest.mark.parametrize("document", [{"key": "00" * 32}, {"key": "00" * 32, "version": "1"}, {"version": 1}])
def test_what_is_no_question_for_a_trace_is_refused(grown, document):
    with pytest.raises(InputError):
        trace_record(grown[0], document)


def test_the_policy_to_trust_is_that_of_the_newest_final_end(grown):
    replica, _ = grown
    before = trusted_policy_text(genesis().members, genesis().origin)
    block = block_of(replica, protocol_change(Author(replica=replica), TONGJI))
    # Nobody has cosigned the change yet: a takeover may drop it.
    assert read_trusted_policy(trusted_policy(replica)) == before
    replica.put_note(cosigned(block.checkpoint, *ROLES, time=TIME + 10))
    after = read_trusted_policy(trusted_policy(replica))
    assert after == trusted_policy_text(replica.members, genesis().origin) != before
    with pytest.raises(InputError):
        read_trusted_policy({"policy": None})


def test_before_anything_is_final_the_policy_to_trust_is_the_genesis(store_engine):
    replica = replica_on(LedgerStore(store_engine(FileKind.LEDGER)), COMMISSION)
    block_of(replica, protocol_change(Author(replica=replica), TONGJI))
    text = read_trusted_policy(trusted_policy(replica))
    assert text == trusted_policy_text(genesis().members, genesis().origin)
