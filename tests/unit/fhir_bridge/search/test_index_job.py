"""Rows for what was stored before there were any, and no rows for what no search needs any more."""

from __future__ import annotations

from dataclasses import replace
from threading import Event, Thread
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select, update

from fhir_bridge.search.cursor import LIFE_S
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.index_job import BATCH, IndexJob
from medchain.errors import UnavailableError
from medchain.node.records import NewRecord, RecordService
from medchain.store.tables import entry, index_state, record, resource, unmerged
from tests.unit.fhir_bridge.search.nodes import KEY, LEDGER, NOW


def patient(record_id, **more: object):
    return {"resourceType": "Patient", "id": record_id, **more}


@pytest.fixture
def job(node):
    return IndexJob(node.store, node.service, node.index, lambda: node.time)


@pytest.fixture
def old(node):
    """A node whose records were stored by a version without an index."""
    service, node.service = node.service, RecordService(node.store, LEDGER, KEY, lambda: NOW)
    node.put(*(patient(f"p{at}", gender="female") for at in range(5)))
    node.put(patient("p0", gender="male"))
    node.service.delete("Patient", "p1")
    node.put(patient("p2", name=[{"family": "Zhang"}]), patient="p2")
    shell = b'{"resourceType":"Binary","id":"b","meta":{"lastUpdated":"2020-01-01T00:00:00Z"}}'
    node.service.create(NewRecord("Binary", "b", b"%PDF", "", content_type="application/pdf", head=shell))
    token = node.service.patient_token("p2")
    node.store.erase_patient(token, node.store.living_epochs(token), NOW, b"{}")
    node.service = service
    return node


def count(node, table):
    with node.database.read("file") as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def finish(node):
    """Index all that has no rows yet."""
    finish_with(IndexJob(node.store, node.service, node.index, lambda: node.time))


def finish_with(job):
    """Have a job do all that there is to do."""
    while job.step():
        pass


def test_what_was_stored_without_rows_gets_them(old, job):
    with pytest.raises(UnavailableError, match=r"search\.indexing"):
        old.search("Patient?")
    while job.step():
        pass
    assert old.found("Patient?gender=female") == ["Patient/p3", "Patient/p4"]
    assert old.found("Patient?gender=male") == ["Patient/p0"]
    assert old.found("?") == ["Patient/p3", "Patient/p4", "Patient/p0", "Binary/b"]
    assert old.found("Binary?_lastUpdated=2020") == ["Binary/b"]


def test_nothing_is_merged_for_the_nodes_own_parameters_unless_one_came(node, job, monkeypatch):
    def asked(type_name):
        told.append(type_name)
        return newest(type_name)

    newest, told = node.store.newest_of_type, []
    monkeypatch.setattr(node.store, "newest_of_type", asked)
    finish_with(job)
    assert told == ["SearchParameter"]
    node.put(patient("p0", gender="female"))
    finish_with(job)
    assert told == ["SearchParameter"]
    assert count(node, unmerged) == 1
    node.put({"resourceType": "SearchParameter", "id": "own"})
    finish_with(job)
    assert told == ["SearchParameter"] * 2


def test_all_is_indexed_anew_when_rows_are_made_of_something_else(node):
    node.put(*(patient(f"p{at}", gender="female") for at in range(3)))
    node.put(patient("p0", gender="male"))
    node.service.delete("Patient", "p1")
    before = node.index.generation
    with node.database.write("index_state") as connection:
        connection.execute(update(index_state).values(format=0))
    node.open()
    assert (node.index.generation, count(node, entry), count(node, resource)) == (before + 1, 0, 0)
    finish(node)
    assert node.found("Patient?gender=female,male") == ["Patient/p2", "Patient/p0"]


def observation(record_id, effective):
    return {"resourceType": "Observation", "id": record_id, "effectiveDateTime": effective}


def test_a_day_is_that_of_the_nodes_zone(node):
    """FHIR R4 §3.1.1.4.7: without a zone, the server's local one is assumed."""
    node.open("Asia/Shanghai")
    node.put(observation("early", "2020-03-11T07:00:00+08:00"), observation("day", "2020-03-11"))
    finish(node)
    assert sorted(node.found("Observation?date=2020-03-11")) == ["Observation/day", "Observation/early"]
    assert node.found("Observation?date=2020-03-10") == []
    assert node.found("Observation?date=ge2020-03-11T00:00:00%2B08:00&date=lt2020-03-11T08:00:00%2B08:00") == [
        "Observation/early",
        "Observation/day",
    ]


def test_all_is_indexed_anew_when_the_zone_is_another_one(node):
    node.put(observation("o", "2020-03-11"))
    assert node.found("Observation?date=lt2020-03-11T00:00:00Z") == []
    before = node.index.generation
    node.open("Asia/Shanghai")
    assert (node.index.generation, count(node, entry), node.store.unindexed_count()) == (before + 1, 0, 1)
    finish(node)
    assert node.found("Observation?date=lt2020-03-11T00:00:00Z") == ["Observation/o"]
    node.open("Asia/Shanghai")
    assert (node.index.generation, node.store.unindexed_count()) == (before + 1, 0)


def test_who_names_no_zone_takes_that_of_the_index(node):
    """Processes that had read different settings would have all indexed anew in turns."""
    running = SearchIndex(node.store)
    node.open("Asia/Shanghai")
    generation = node.index.generation
    running.refresh()
    node.open()
    assert running.setting.zone == node.index.setting.zone == ZoneInfo("Asia/Shanghai")
    assert running.generation == node.index.generation == generation


def test_the_job_goes_on_where_it_ended(old, monkeypatch):
    monkeypatch.setattr("fhir_bridge.search.index_job.BATCH", 2)
    steps = 0
    while old.store.unindexed_count():
        IndexJob(old.store, old.service, old.index, lambda: NOW).step()
        steps += 1
    assert steps > 1
    assert len(old.found("?")) == 4


def test_what_is_replaced_while_it_waits_is_found_as_it_is_now(old, job):
    old.put(patient("p3", gender="other"))
    job.step()
    assert old.found("Patient?gender=female") == ["Patient/p4"]
    assert old.found("Patient?gender=other") == ["Patient/p3"]


def test_a_damaged_record_does_not_keep_the_others_from_being_found(old, job):
    with old.database.write("record") as connection:
        connection.execute(update(record).where(record.c.id == "p3").values(commitment=bytes(32)))
    job.step()
    assert old.found("Patient?gender=female") == ["Patient/p4"]


def test_rows_of_replaced_versions_go_after_the_life_of_a_cursor(node, job):
    for gender in ("male", "female"):
        node.put(patient("p", gender=gender))
    job.step()
    assert count(node, resource) == 2
    node.time += LIFE_S + 301
    later = IndexJob(node.store, node.service, node.index, lambda: node.time)
    assert [later.step(), later.step(), later.step()] == [1, 0, 0]
    assert (count(node, resource), node.found("Patient?gender=female")) == (1, ["Patient/p"])


def test_the_job_runs_until_it_is_told_to_end(old, job):
    end = Event()
    thread = Thread(target=job.run, args=(end,))
    thread.start()
    while old.store.unindexed_count():
        end.wait(0.01)
    end.set()
    thread.join(60)
    assert not thread.is_alive()
    assert len(old.found("?")) == 4


def test_a_store_that_cannot_be_written_is_tried_again(old, monkeypatch):
    job, end, tries = IndexJob(old.store, old.service, old.index, lambda: NOW), Event(), []

    def full(_made):
        tries.append(1)
        if len(tries) > 1:
            end.set()
        raise UnavailableError("store.full")

    monkeypatch.setattr("fhir_bridge.search.index_job.PERIOD_S", 0.01)
    monkeypatch.setattr(old.store, "put_rows", full)
    # In a thread of its own, which it makes yield to others for good.
    thread = Thread(target=job.run, args=(end,))
    thread.start()
    thread.join(60)
    assert len(tries) == 2


def test_where_there_is_nothing_to_do_nothing_is_written(old, job):
    while job.step():
        pass
    before = old.store.database.state()
    assert job.step() == 0
    assert old.store.database.state() == before


def test_rows_are_put_once(old, job):
    numbers = old.store.unindexed(BATCH)
    job.step()
    rows = count(old, entry)
    made = [job._placed(number, found) for number, found in zip(numbers, job._reader.numbered(numbers), strict=True)]  # noqa: SLF001  # what two jobs at once would do
    old.store.put_rows([replace_rows(one) for one in made])
    assert count(old, entry) == rows


def replace_rows(placed):
    return placed if placed.rows is None else placed._replace(rows=replace(placed.rows))
