"""Large content: sealed as it streams by, kept beside the file, and read back in constant memory or refused."""

from __future__ import annotations

import hashlib
import tracemalloc
from dataclasses import replace

import pytest

from medchain.crypto.commitment import NO_FIELDS, large_digest, record_commitment, whole_digest
from medchain.encoding import digest
from medchain.errors import ConflictError, InputError, NotFoundError, VerificationError
from medchain.node.records import NewRecord, NewStream, RecordService
from medchain.store import blobs
from medchain.store.engine import FileKind
from medchain.store.records import RecordStore
from tests.unit.medchain.ledger.world import seed
from tests.unit.medchain.store.faults import at_step, kill, killed

LEDGER = bytes(32)
KEY = seed("records key")
NOW = 1_796_083_200
MIB = 1 << 20
CONTENT = hashlib.shake_128(b"content").digest(3 * MIB + 17)
HEAD = b'{"resourceType":"Binary","id":"b1","contentType":"image/png"}'


@pytest.fixture
def store(store_engine):
    return RecordStore(store_engine(FileKind.RECORDS))


@pytest.fixture
def service(store):
    return RecordService(store, LEDGER, KEY, lambda: NOW)


def cut(content: bytes, size: int = 70_001):
    for start in range(0, len(content), size):
        yield content[start : start + size]


def stream(service, record_id: str = "b1", version: int = 1) -> NewStream:
    return NewStream("Binary", record_id, "image/png", HEAD, service.patient_token("p1"), version)


def files(store) -> list[str]:
    return sorted(path.name for path in store.blobs._folder.rglob("*") if path.is_file())  # noqa: SLF001  # beside it


def read(service, stored) -> bytes:
    return b"".join(service.stream(stored).pieces)


@pytest.mark.parametrize("size", [1, 255, MIB, MIB + 1, 2 * MIB, 3 * MIB + 17])
def test_a_content_of_any_size_comes_back_with_its_head(service, store, size):
    stored = service.create_stream(stream(service), cut(CONTENT[:size]))
    found = store.get("Binary", "b1")
    assert (found.content_type, read(service, found)) == ("image/png", CONTENT[:size])
    assert service.head(found).size == size
    assert service.head(found).text == HEAD
    assert (stored.blob is not None) == (size > MIB)
    assert len(files(store)) == (1 if size > MIB else 0)
    assert store.pending(10)[0].commitment == found.commitment


def test_the_commitment_of_a_large_content_is_that_of_the_specification(service):
    stored = service.create_stream(stream(service), cut(CONTENT))
    opened = service.stream(stored)
    inner = digest(
        "medchain/record-large/v1", opened.salt, len(CONTENT).to_bytes(8, "big"), hashlib.sha256(CONTENT).digest()
    )
    assert stored.commitment == digest("medchain/record-commitment/v1", inner, bytes(32))
    assert stored.commitment == record_commitment(opened.salt, CONTENT, NO_FIELDS)
    measured = service.measure(stored)
    assert (measured.size, measured.sha256) == (len(CONTENT), hashlib.sha256(CONTENT).digest())
    assert whole_digest(measured.salt, CONTENT) == large_digest(measured.salt, measured.size, measured.sha256) == inner


def test_a_large_fhir_record_lies_beside_the_file_and_is_opened_as_others_are(service):
    content = b'{"resourceType":"Condition","text":"' + b"x" * (2 * MIB) + b'"}'
    stored = service.create(NewRecord("Condition", "c1", content, "p1"))
    opened = service.read("Condition", "c1")
    assert (opened.content, len(stored.envelope), stored.sealed_size > 2 * MIB) == (content, 61, True)
    assert opened.field_root != NO_FIELDS
    assert service.measure(stored).field_root == opened.field_root
    assert read(service, stored) == content
    assert service.open_with(replace(stored, envelope=service.envelope(stored), blob=None, blob_size=None),
                             service.data_key(stored)).content == content  # fmt: skip


def test_an_envelope_above_the_limit_is_not_read_into_memory(service, monkeypatch):
    stored = service.create_stream(stream(service), cut(CONTENT))
    monkeypatch.setattr("medchain.node.records.MAX_OPENED_BYTES", MIB)
    with pytest.raises(InputError, match=r"record\.too_large"):
        service.open(stored)
    assert read(service, stored) == CONTENT


def test_an_empty_content_is_refused(service, store):
    with pytest.raises(InputError, match=r"record\.content"):
        service.create_stream(stream(service), iter([]))
    assert store.count() == 0


def test_a_version_follows_its_predecessor_and_no_other(service, store):
    first = service.create_stream(stream(service), cut(CONTENT))
    second = service.create_stream(stream(service, version=2), cut(CONTENT[:10]))
    assert (second.object_id, second.version) == (first.object_id, 2)
    for version in (2, 4):
        with pytest.raises(ConflictError):
            service.create_stream(stream(service, version=version), cut(CONTENT))
    assert store.sweep_blobs() == 2
    assert read(service, store.get("Binary", "b1", 1)) == CONTENT


def test_a_deleted_content_is_gone_and_its_earlier_version_stays(service, store):
    service.create_stream(stream(service), cut(CONTENT))
    gone = service.delete("Binary", "b1")
    with pytest.raises(NotFoundError, match=r"record\.deleted"):
        service.stream(gone)
    with pytest.raises(NotFoundError, match=r"record\.head"):
        service.head(gone)
    assert read(service, store.get("Binary", "b1", 1)) == CONTENT


def test_a_source_that_fails_half_way_leaves_nothing(service, store):
    def broken():
        yield CONTENT
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        service.create_stream(stream(service), broken())
    assert (store.count(), files(store)) == (0, [])


def test_sealing_and_reading_take_constant_memory(service):
    def source():
        for number in range(64):
            yield bytes([number]) * MIB

    tracemalloc.start()
    try:
        stored = service.create_stream(stream(service), source())
        total = sum(map(len, service.stream(stored).pieces))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 64 * MIB
    assert peak < 16 * MIB


def test_attack_a_blob_put_in_the_place_of_another_records_is_refused(service):
    first = service.create_stream(stream(service, "b1"), cut(CONTENT))
    second = service.create_stream(stream(service, "b2"), cut(CONTENT))
    moved = replace(first, blob=second.blob, envelope=second.envelope)
    with pytest.raises(VerificationError, match=r"envelope\.authentication"):
        read(service, moved)
    # Not even with that record's own key: the envelope is bound to its object.
    moved = replace(moved, wrapped_dek=second.wrapped_dek)
    with pytest.raises(VerificationError):
        read(service, moved)


def test_attack_a_chunk_of_an_earlier_version_is_refused(service, store):
    first = service.create_stream(stream(service), cut(CONTENT))
    second = service.create_stream(stream(service, version=2), cut(CONTENT))
    path = store.blobs._path(second.blob)  # noqa: SLF001  # a hostile disk
    old, new = store.blobs._path(first.blob).read_bytes(), bytearray(path.read_bytes())  # noqa: SLF001  # the same
    new[61 + 65_553 : 61 + 2 * 65_553] = old[61 + 65_553 : 61 + 2 * 65_553]
    path.write_bytes(new)
    with pytest.raises(VerificationError, match=r"envelope\.authentication"):
        read(service, second)


def test_attack_no_flipped_byte_of_a_blob_lets_a_whole_content_out(service, store):
    stored = service.create_stream(stream(service), cut(CONTENT))
    path = store.blobs._path(stored.blob)  # noqa: SLF001  # a hostile disk
    good = path.read_bytes()
    for position in (0, 4, 30, 60, 61, 70_000, len(good) // 2, len(good) - 1):
        bad = bytearray(good)
        bad[position] ^= 1
        path.write_bytes(bad)
        got = bytearray()
        with pytest.raises(VerificationError):  # noqa: PT012  # what comes before it counts
            for piece in service.stream(stored).pieces:
                got += piece
        assert len(got) < len(CONTENT)


def test_attack_another_content_under_the_right_key_is_not_what_was_committed_to(service):
    stored = service.create_stream(stream(service), cut(CONTENT))
    other = service.create_stream(stream(service, "b2"), cut(CONTENT[:-1]))
    got = bytearray()
    with pytest.raises(VerificationError, match=r"record\.commitment"):  # noqa: PT012  # what comes before it counts
        for piece in service.stream(replace(other, commitment=stored.commitment)).pieces:
            got += piece
    assert len(got) < len(CONTENT) - 1


def test_an_erasure_shreds_the_content_and_a_sweep_takes_the_file(service, store):
    stored = service.create_stream(stream(service), cut(CONTENT))
    store.erase(stored.epoch_id, NOW)
    with pytest.raises(NotFoundError, match=r"record\.erased"):
        service.stream(stored)
    assert [row.is_alive for row in store.blob_rows()] == [False]
    assert store.sweep_blobs() == 1
    assert files(store) == []


def test_a_key_destroyed_while_a_content_streams_in_is_not_the_one_that_wraps_it(service, store):
    first = service.create_stream(stream(service), cut(CONTENT))

    def source():
        yield from cut(CONTENT)
        store.erase(first.epoch_id, NOW)

    second = service.create_stream(stream(service, "b2"), source())
    assert second.epoch_id != first.epoch_id
    assert read(service, second) == CONTENT


def test_rows_of_blobs_come_page_by_page(service, store):
    stored = [service.create_stream(stream(service, f"b{n}"), cut(CONTENT)) for n in range(3)]
    page = store.blob_rows(limit=2)
    rest = store.blob_rows(after=page[-1].seq, limit=2)
    assert [(row.name, row.size, row.is_alive) for row in (*page, *rest)] == [
        (row.blob, row.blob_size, True) for row in stored
    ]


def test_a_process_killed_at_any_step_stores_all_or_nothing_and_leaves_no_file_for_ever(store, store_engine):
    store._database.engine.dispose()  # noqa: SLF001  # nothing of it in the children

    def at(step: int) -> None:
        own = store_engine(FileKind.RECORDS)
        with at_step(own, step, kill):
            made = RecordService(RecordStore(own), LEDGER, KEY, lambda: NOW)
            made.create_stream(stream(made), cut(CONTENT))
        kill()

    outcomes = []
    for step in range(1, 40):
        assert killed(lambda step=step: at(step))
        store.sweep_blobs()
        found = store.get("Binary", "b1")
        outcomes.append(found is not None)
        if found is not None:
            assert read(RecordService(store, LEDGER, KEY, lambda: NOW), found) == CONTENT
            assert len(store.pending(10)) == len(files(store)) == 1
            break
        assert (store.pending_count(), files(store)) == (0, [])
        store._database.engine.dispose()  # noqa: SLF001  # nothing of it in the next child
    assert outcomes[-1]
    assert len(outcomes) > 5


@pytest.mark.parametrize("step", ["write", "fsync", "close"])
def test_a_process_killed_while_it_writes_the_file_has_stored_nothing(store, store_engine, monkeypatch, step):
    store._database.engine.dispose()  # noqa: SLF001  # nothing of it in the child

    def work() -> None:
        made = RecordService(RecordStore(store_engine(FileKind.RECORDS)), LEDGER, KEY, lambda: NOW)

        def source():
            yield from cut(CONTENT)
            monkeypatch.setattr(blobs.os, step, lambda *_arguments: kill())

        made.create_stream(stream(made), source())
        kill()

    assert killed(work)
    # Once its row is there the file is whole; before that, a sweep takes it.
    found = store.get("Binary", "b1")
    assert store.sweep_blobs() == (1 if found is None else 0)
    if found is not None:
        assert read(RecordService(store, LEDGER, KEY, lambda: NOW), found) == CONTENT
