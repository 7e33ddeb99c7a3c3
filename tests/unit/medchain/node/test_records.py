"""Records: what is stored is sealed, committed to and due for its anchor; what is read was verified."""

from __future__ import annotations

from dataclasses import replace
from threading import Thread

import orjson
import pytest
from sqlalchemy import text

from medchain.crypto.commitment import NO_FIELDS, record_commitment, record_field_root
from medchain.errors import ConflictError, InputError, NotFoundError, VerificationError
from medchain.node.records import NewRecord, Parsed, RecordService
from medchain.store.engine import FileKind
from medchain.store.records import RecordStore
from tests.unit.medchain.ledger.world import seed

LEDGER = bytes(32)
KEY = seed("records key")
NOW = 1_796_083_200
OBSERVATION = b'{"resourceType":"Observation","id":"o1","valueInteger":42}'
CONDITION = b'{"resourceType":"Condition","id":"c1","code":{"text":"Hypertonie"}}'


@pytest.fixture
def store(store_engine):
    return RecordStore(store_engine(FileKind.RECORDS))


@pytest.fixture
def service(store):
    return RecordService(store, LEDGER, KEY, lambda: NOW)


def observation(**changes: object) -> NewRecord:
    return replace(NewRecord("Observation", "o1", OBSERVATION, "p1"), **changes)


def test_what_is_read_is_what_was_stored(service):
    service.create(observation())
    assert service.read("Observation", "o1").content == OBSERVATION


def test_a_record_and_the_intent_to_anchor_it_are_stored_together(service, store):
    stored = service.create(observation())
    (intent,) = store.pending(10, kind="anchor")
    assert (intent.object_id, intent.version, intent.commitment) == (stored.object_id, 1, stored.commitment)


def test_the_commitment_is_that_of_the_specification(service):
    opened = service.open(service.create(observation()))
    assert opened.stored.commitment == record_commitment(opened.salt, OBSERVATION, bytes(32))
    assert opened.field_root == NO_FIELDS


def test_a_type_that_claims_cite_has_a_field_root(service):
    opened = service.open(service.create(NewRecord("Condition", "c1", CONDITION, "p1")))
    root = record_field_root(opened.salt, CONDITION)
    assert opened.field_root == root != NO_FIELDS
    assert opened.stored.commitment == record_commitment(opened.salt, CONDITION, root)


def test_a_cited_type_that_is_no_json_is_refused_and_nothing_is_stored(service, store):
    with pytest.raises(InputError):
        service.create_many([observation(), NewRecord("Condition", "c1", b"no json", "p1")])
    assert store.count() == 0


def test_what_is_at_hand_parsed_goes_as_its_version_is_sealed_and_what_is_tried_again_is_parsed_anew(service, store):
    record = NewRecord("Condition", "c1", CONDITION, "p1", document=Parsed(orjson.loads(CONDITION)))
    assert record.tree is not None
    seen, put = [], store.putting_versions
    store.putting_versions = lambda *given, **named: seen.append(record.tree) or put(*given, **named)
    stored = service.create(record)
    assert seen == [None]
    opened = service.open(stored)
    # The same record again, as the next version: it is committed to as it was when it was at hand.
    again = service.open(service.create(replace(record, version=2)))
    assert opened.field_root is not None
    for one in (opened, again):
        assert one.stored.commitment == record_commitment(one.salt, CONDITION, record_field_root(one.salt, CONDITION))


def test_nothing_of_a_record_or_patient_is_in_what_is_stored(service):
    stored = service.create(observation(patient="340102199001011234"))
    everything = repr(stored).encode() + stored.envelope
    assert b"340102199001011234" not in everything
    assert b"valueInteger" not in everything


def test_versions_share_an_object_and_nothing_else(service):
    first = service.create(observation())
    second = service.update(observation(content=OBSERVATION.replace(b"42", b"43")), expected=1)
    assert (second.version, second.object_id) == (2, first.object_id)
    assert service.data_key(first) != service.data_key(second)
    assert [row.version for row in service.history("Observation", "o1")] == [2, 1]
    assert service.read("Observation", "o1", 1).content == OBSERVATION


def test_the_same_content_twice_tells_nobody_that_it_is_the_same(service):
    first, second = service.create_many([observation(), observation(id="o2")])
    assert first.commitment != second.commitment
    assert first.object_id != second.object_id


def test_versions_of_one_record_may_come_together(service):
    first, second = service.create_many([observation(), observation(version=2)])
    assert first.object_id == second.object_id


def test_an_update_of_another_version_than_the_newest_is_a_conflict(service):
    service.create(observation())
    with pytest.raises(ConflictError) as caught:
        service.update(observation(), expected=2)
    assert caught.value.code == "record.version"


def test_an_update_of_what_is_not_there_is_not_found(service):
    with pytest.raises(NotFoundError) as caught:
        service.update(observation())
    assert caught.value.code == "record.unknown"


def test_two_updates_at_the_same_moment_are_one_update_and_one_conflict(service, store):
    service.create(observation())

    class Late(RecordStore):
        """Looks before another process writes."""

        def get(self, type_name, record_id, _version=None):
            return store.get(type_name, record_id, 1)

    late = RecordService(Late(store._database), LEDGER, KEY, lambda: NOW)  # noqa: SLF001  # a second process
    service.update(observation())
    with pytest.raises(ConflictError) as caught:
        late.update(observation())
    assert caught.value.code == "record.version"


def test_a_record_that_exists_cannot_be_created_again(service, store):
    service.create(observation())
    with pytest.raises(ConflictError):
        service.create_many([observation(id="o2"), observation()])
    assert store.count() == 1
    assert store.pending_count() == 1


def test_what_is_not_there_is_not_found(service):
    with pytest.raises(NotFoundError) as caught:
        service.read("Observation", "o1")
    assert caught.value.code == "record.unknown"


def test_a_changed_commitment_is_noticed(service):
    stored = service.create(observation())
    with pytest.raises(VerificationError) as caught:
        service.open(replace(stored, commitment=bytes(32)))
    assert caught.value.code == "record.commitment"


def test_an_envelope_of_another_version_is_noticed(service):
    first, second = service.create_many([observation(), observation(version=2)])
    with pytest.raises(VerificationError):
        service.open(replace(second, envelope=first.envelope))
    with pytest.raises(VerificationError):
        service.open(replace(second, envelope=first.envelope, wrapped_dek=first.wrapped_dek))


def test_a_flipped_byte_of_what_is_stored_is_found_and_nothing_of_it_served(service, store):
    stored = service.create(observation())
    for column, content in (("envelope", stored.envelope), ("wrapped_dek", stored.wrapped_dek)):
        for at in range(0, len(content), 7):
            bad = content[:at] + bytes((content[at] ^ 1,)) + content[at + 1 :]
            update(store, column, bad)
            with pytest.raises(VerificationError) as caught:
                service.read("Observation", stored.id)
            assert caught.value.code in ("envelope.authentication", "envelope.format", "keys.unwrap"), caught.value
            assert caught.value.fields["object"] == stored.object_id.hex()
        update(store, column, content)
    assert service.read("Observation", stored.id).content


def test_a_kept_field_root_is_what_the_content_gives_and_another_one_is_refused(service, store):
    claim = NewRecord("Claim", "c1", b'{"resourceType":"Claim","id":"c1","use":"claim"}', "p1")
    stored = service.create(claim)
    opened = service.read("Claim", "c1")
    assert stored.field_root == opened.field_root == record_field_root(opened.salt, opened.content)
    for other in (bytes(32), bytes(31), bytes((stored.field_root[0] ^ 1,)) + stored.field_root[1:]):
        update(store, "field_root", other)
        with pytest.raises((VerificationError, InputError)):
            service.read("Claim", "c1")
    update(store, "field_root", None)
    assert service.read("Claim", "c1").field_root == stored.field_root


def update(store: RecordStore, column: str, content: bytes | None) -> None:
    """Change a row behind the node's back, as who has the file's key could."""
    with store._database.write("record") as connection:  # noqa: SLF001  # below the store
        connection.execute(text(f"UPDATE record SET {column} = :content"), {"content": content})  # noqa: S608  # ours


def test_another_key_than_the_nodes_opens_nothing(service, store):
    stored = service.create(observation())
    with pytest.raises(VerificationError) as caught:
        RecordService(store, LEDGER, seed("other"), lambda: NOW).open(stored)
    assert caught.value.code == "keys.unwrap"


def test_each_patient_has_a_key_of_their_own(service):
    one, other, more = service.create_many([observation(), observation(id="o2", patient="p2"), observation(id="o3")])
    assert one.epoch_id != other.epoch_id
    assert one.epoch_id == more.epoch_id
    assert one.patient != other.patient


def test_an_erased_record_is_gone_and_the_next_one_has_a_new_key(service, store):
    first = service.create(observation())
    store.erase(first.epoch_id, NOW)
    with pytest.raises(NotFoundError) as caught:
        service.open(first)
    assert caught.value.code == "record.erased"
    second = service.create(observation(id="o2"))
    assert store.epoch(second.epoch_id).number == 2
    assert service.read("Observation", "o2").content == OBSERVATION


def test_a_key_destroyed_between_look_and_write_is_not_used(service, store):
    first = service.create(observation())

    class Stale(RecordStore):
        """Shows a key that was destroyed, once."""

        shown = store.newest_epoch(first.patient)

        def newest_epoch(self, patient):
            stale, self.shown = self.shown, None
            return stale or super().newest_epoch(patient)

    store.erase(first.epoch_id, NOW)
    stale = RecordService(Stale(store._database), LEDGER, KEY, lambda: NOW)  # noqa: SLF001  # a second process
    second = stale.create(observation(id="o2"))
    assert second.epoch_id != first.epoch_id
    assert stale.read("Observation", "o2").content == OBSERVATION


def patient(name: str = "p1") -> NewRecord:
    return NewRecord("Patient", name, b'{"resourceType":"Patient"}', name)


def test_a_patient_who_comes_just_now_gets_a_key_that_nobody_looked_for(service, store, monkeypatch):
    monkeypatch.setattr(RecordStore, "newest_epoch", None)
    stored = service.create(patient())
    assert store.epoch(stored.epoch_id).number == 1
    assert service.read("Patient", "p1").content == patient().content


def test_a_patient_whose_other_records_came_first_shares_their_key(service):
    assert service.create(observation()).epoch_id == service.create(patient()).epoch_id


def test_a_patient_who_comes_after_an_erasure_gets_the_next_key(service, store):
    first = service.create(observation())
    store.erase(first.epoch_id, NOW)
    assert store.epoch(service.create(patient()).epoch_id).number == 2


def test_two_processes_that_draw_a_key_at_the_same_moment_use_one(service, store):
    class Slow(RecordStore):
        """Another process is faster, once."""

        is_first = True

        def store(self, write):
            if self.is_first:
                self.is_first = False
                service.create(observation(id="o0"))
            super().store(write)

    slow = RecordService(Slow(store._database), LEDGER, KEY, lambda: NOW)  # noqa: SLF001  # a second process
    second = slow.create(observation())
    assert second.epoch_id == store.get("Observation", "o0").epoch_id


def test_a_deleted_record_is_gone_but_its_history_stays(service, store):
    service.create(NewRecord("Condition", "c1", CONDITION, "p1"))
    deleted = service.delete("Condition", "c1", expected=1)
    assert service.is_deleted(deleted)
    with pytest.raises(NotFoundError) as caught:
        service.read("Condition", "c1")
    assert caught.value.code == "record.deleted"
    assert service.read("Condition", "c1", 1).content == CONDITION
    assert [intent.payload for intent in store.pending(9)] == [b"", b"deleted"]


def test_a_deletion_is_sealed_under_the_patients_key_and_made_once(service, store):
    first = service.create(observation())
    deleted = service.delete("Observation", "o1")
    assert (deleted.epoch_id, deleted.object_id, deleted.version) == (first.epoch_id, first.object_id, 2)
    assert service.delete("Observation", "o1").version == 2
    assert store.count() == 2


def test_a_deleted_record_may_come_back(service):
    service.create(observation())
    service.delete("Observation", "o1")
    assert service.update(observation()).version == 3
    assert service.read("Observation", "o1").content == OBSERVATION


def test_a_deletion_of_another_version_than_the_newest_is_a_conflict(service):
    service.create(observation())
    with pytest.raises(ConflictError) as caught:
        service.delete("Observation", "o1", expected=7)
    assert caught.value.code == "record.version"


@pytest.mark.parametrize("changes", [{"content": b""}, {"status": "deleted"}])
def test_only_a_deletion_is_empty(service, changes):
    with pytest.raises(InputError) as caught:
        service.create(observation(**changes))
    assert caught.value.code == "record.content"


def test_a_record_entered_in_error_says_so_to_the_ledger(service, store):
    service.create(observation(status="entered-in-error"))
    assert store.pending(9)[0].payload == b"entered-in-error"
    assert service.read("Observation", "o1").content == OBSERVATION


def test_a_large_record_is_sealed_as_a_stream_and_comes_back(service):
    content = b'{"resourceType":"Binary","data":"' + b"A" * (3 << 20) + b'"}'
    stored = service.create(NewRecord("Binary", "b1", content, "p1"))
    assert stored.envelope[4] == 1
    assert service.open(stored).content == content


def test_what_concerns_no_patient_is_sealed_as_well(service):
    stored = service.create(NewRecord("Organization", "g1", b'{"resourceType":"Organization"}', ""))
    assert service.open(stored).content == b'{"resourceType":"Organization"}'


def test_a_record_that_another_organisation_released_opens_with_its_data_key(service, store):
    stored = service.create(observation())
    receiver = RecordService(store, LEDGER, seed("receiver"), lambda: NOW)
    assert receiver.open_with(stored, service.data_key(stored)).content == OBSERVATION


def test_threads_that_store_at_once_store_each_its_own_and_the_loser_is_told(service, store):
    """One transaction may hold the writes of several threads; one that is refused takes nothing from the others."""
    outcomes: list[str] = []

    def write(number: int) -> None:
        record = NewRecord("Basic", f"b{number % 10}", b'{"resourceType":"Basic"}', "p")
        try:
            service.create(record)
            outcomes.append("stored")
        except ConflictError as error:
            outcomes.append(error.code)

    threads = [Thread(target=write, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count("stored"), outcomes.count("store.conflict")) == (10, 30)
    assert store.count() == 10
    assert len(store.pending(100)) == 10
