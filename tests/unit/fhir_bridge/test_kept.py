"""What was opened a moment ago is given for the same row and key, and soon for nothing."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from sqlalchemy import update

from fhir_bridge.rest.kept import KEPT_BYTES, KEPT_EACH_BYTES, Kept
from medchain.store.epochs import Epoch
from medchain.store.records import RecordVersion
from medchain.store.tables import record
from medchain.store.versions import Found
from tests.waiting import eventually

OBSERVATION = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
    "subject": {"identifier": {"value": "1"}},
    "effectiveDateTime": "2026-11-26",
    "valueString": "72",
}
EPOCH = Epoch(b"e" * 16, "token", 1, 7, b"wrapped")
STORED = RecordVersion(
    type="Observation",
    id="1",
    version=1,
    object_id=b"o" * 16,
    patient="token",
    epoch_id=b"e" * 16,
    created=7,
    commitment=b"c" * 32,
    wrapped_dek=b"d",
    envelope=b"sealed",
    seq=1,
)
LONG_S = 600.0


def found(stored=STORED, epoch=EPOCH) -> Found:
    return Found(stored, epoch)


@pytest.fixture
def kept():
    made = Kept(LONG_S)
    yield made
    made.close()


@pytest.mark.parametrize("content", [b"{}", b""], ids=["resource", "deletion"])
def test_what_was_opened_is_given_for_the_same_row_read_again(kept, content):
    kept.keep(found(), content)
    assert kept.find(found(replace(STORED), replace(EPOCH))) == content


@pytest.mark.parametrize(
    ("stored", "epoch"),
    [
        (replace(STORED, envelope=b"changed"), EPOCH),
        (replace(STORED, wrapped_dek=b"changed"), EPOCH),
        (replace(STORED, commitment=bytes(32)), EPOCH),
        (replace(STORED, object_id=bytes(16)), EPOCH),
        (replace(STORED, version=2), EPOCH),
        (replace(STORED, id="2"), EPOCH),
        (replace(STORED, patient="other"), EPOCH),
        (replace(STORED, content_type="text/plain"), EPOCH),
        (replace(STORED, seq=2), EPOCH),
        (STORED, replace(EPOCH, wrapped_key=None)),
        (STORED, replace(EPOCH, wrapped_key=b"other")),
        (STORED, replace(EPOCH, number=2)),
    ],
)
def test_another_row_or_key_is_opened_anew(kept, stored, epoch):
    kept.keep(found(), b"{}")
    assert kept.find(found(stored, epoch)) is None


@pytest.mark.parametrize(
    ("stored", "content"),
    [
        (STORED, bytes(KEPT_EACH_BYTES + 1)),
        (replace(STORED, segment=3), b"{}"),
        (replace(STORED, blob=b"name"), b"{}"),
    ],
    ids=["large", "part of a segment", "blob"],
)
def test_what_costs_more_to_keep_or_has_its_bytes_elsewhere_is_not_kept(kept, stored, content):
    kept.keep(found(stored), content)
    assert kept.find(found(stored)) is None


def test_no_more_is_kept_than_twice_the_limit(kept):
    count = 3 * KEPT_BYTES // KEPT_EACH_BYTES
    rows = [found(replace(STORED, seq=number)) for number in range(1, count)]
    for one in rows:
        kept.keep(one, bytes(KEPT_EACH_BYTES))
    held = [one for one in rows if kept.find(one) is not None]
    assert held == rows[-len(held) :]
    assert 0 < len(held) * KEPT_EACH_BYTES <= 2 * KEPT_BYTES


def test_what_nobody_asks_for_any_more_goes_by_itself():
    kept = Kept(0.05)
    kept.keep(found(), b"{}")
    assert eventually(lambda: kept.find(found()) is None)
    kept.keep(found(), b"{}")
    assert eventually(lambda: kept.find(found()) is None)


def test_what_is_asked_for_all_the_time_goes_as_well():
    kept = Kept(0.05)
    kept.keep(found(), b"{}")
    assert eventually(lambda: kept.find(found()) is None)


def test_in_the_end_all_is_forgotten_at_once_and_nothing_goes_on(kept):
    kept.keep(found(), b"{}")
    timer = kept._timer  # noqa: SLF001  # what goes on
    kept.close()
    assert kept.find(found()) is None
    timer.join(LONG_S)
    kept.close()


@pytest.mark.parametrize("starts", [0, 1], ids=["at once", "as it goes on"])
def test_nothing_is_kept_where_no_thread_can_be_had_that_would_forget_it(monkeypatch, starts):
    """A read is answered all the same; an erased record is in no memory after a while (`threading.Thread.start`)."""
    plain, left = threading.Timer.start, [starts]

    def start(timer: threading.Timer) -> None:
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        plain(timer)

    monkeypatch.setattr(threading.Timer, "start", start)
    kept = Kept(0.05)
    kept.keep(found(), b"{}")
    assert eventually(lambda: kept.find(found()) is None)
    # As soon as there is room again, it goes on.
    left[0] = 2
    kept.keep(found(), b"{}")
    assert eventually(lambda: kept.find(found()) is None)


def test_a_record_that_is_read_twice_is_opened_once(server, kept, monkeypatch):
    # For longer than any machine takes between the two.
    object.__setattr__(server.core, "kept", kept)
    record_id = server.call("POST", "/fhir/Observation", OBSERVATION).json["id"]
    first = server.call("GET", f"/fhir/Observation/{record_id}")
    monkeypatch.setattr(type(server.service), "open_with", lambda *_: pytest.fail("opened again"))
    second = server.call("GET", f"/fhir/Observation/{record_id}")
    assert (second.status_code, second.data) == (200, first.data)


def test_a_record_that_was_read_is_gone_once_it_is_erased(server):
    record_id = server.call("POST", "/fhir/Observation", OBSERVATION).json["id"]
    assert server.call("GET", f"/fhir/Observation/{record_id}").status_code == 200
    server.store.erase(server.store.get("Observation", record_id).epoch_id, server.time[0])
    assert server.call("GET", f"/fhir/Observation/{record_id}").status_code == 410
    assert "entry" not in server.call("GET", "/fhir/Observation").json


def test_a_record_that_was_read_and_then_changed_on_the_disk_is_found_damaged(server):
    record_id = server.call("POST", "/fhir/Observation", OBSERVATION).json["id"]
    assert server.call("GET", f"/fhir/Observation/{record_id}").status_code == 200
    envelope = server.store.get("Observation", record_id).envelope
    changed = envelope[:-1] + bytes((envelope[-1] ^ 1,))
    with server.store.database.write("record") as connection:
        connection.execute(update(record).where(record.c.id == record_id).values(envelope=changed))
    assert server.call("GET", f"/fhir/Observation/{record_id}").status_code == 500


def test_who_may_not_see_a_record_does_not_because_another_has_read_it(server):
    record_id = server.call("POST", "/fhir/Observation", OBSERVATION).json["id"]
    assert server.call("GET", f"/fhir/Observation/{record_id}").status_code == 200
    denied = server.call("GET", f"/fhir/Observation/{record_id}", scope="system/Patient.rs")
    assert denied.status_code == 404


def test_a_kept_version_hides_no_newer_one(server):
    record_id = server.call("POST", "/fhir/Observation", OBSERVATION).json["id"]
    path = f"/fhir/Observation/{record_id}"
    assert server.call("GET", path).json["meta"]["versionId"] == "1"
    server.call("PUT", path, {**OBSERVATION, "id": record_id, "status": "amended"})
    assert server.call("GET", path).json["status"] == "amended"
    server.call("DELETE", path)
    assert server.call("GET", path).status_code == 410
