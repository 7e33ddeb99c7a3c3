"""What the audit leaves to be entered in patients' lists of looks (docs/spec/looks.md, 1)."""

from __future__ import annotations

import json

import pytest

from fhir_bridge.audit import BEGUN, Happening
from fhir_bridge.audit_events import Version
from fhir_bridge.looks import looks_of
from medchain.ledger.looks import LookRow
from medchain.node.looks import pack_looks, unpack_looks

SEEN = [
    Version("Observation", "o1", 1, "p1"),
    Version("Condition", "c1", 2, "p1"),
    Version("Observation", "o9", 1, "p2"),
    Version("Practitioner", "d1", 1, ""),
]


def happening(**changes: object) -> Happening:
    values = {
        "time": 1796083200,
        "status": 200,
        "request": "5f0c",
        "interaction": "search",
        "client": "ehr-1",
        "user": "Practitioner/d1",
        "role": "clinician",
        "launch": "",
        "type": "Observation",
        "id": "",
        "version": "",
        "query": "code=1",
        "numbers": (1, 2, 3, 4),
        "purpose": "TREAT",
    }
    return Happening(**(values | changes))


def test_each_patient_whose_records_were_seen_has_a_row_with_the_types_seen_of_that_patient():
    row = {
        "time": 1796083200,
        "action": "search",
        "client": "ehr-1",
        "who": "Practitioner/d1",
        "role": "clinician",
        "purpose": "TREAT",
        "is_refused": False,
        "event": "ab.7",
    }
    assert list(looks_of("ab.7", happening(), SEEN)) == [
        ("p1", LookRow(**row, types=("Condition", "Observation"))),
        ("p2", LookRow(**row, types=("Observation",))),
    ]


@pytest.mark.parametrize(
    ("changes", "patients"),
    [
        ({"status": 404}, ["p1", "p2"]),
        ({"status": 404, "interaction": "update"}, ["p1", "p2"]),
        ({"interaction": "update"}, []),
        ({"interaction": "create"}, []),
        ({"interaction": "delete"}, []),
        ({"interaction": "batch"}, ["p1", "p2"]),
        ({"interaction": "everything"}, ["p1", "p2"]),
        ({"user": "Patient/p1", "role": "patient"}, ["p2"]),
        ({"status": BEGUN, "interaction": "bundle"}, []),
    ],
)
def test_looks_and_refusals_are_entered_and_neither_changes_nor_the_patients_own_looks(changes, patients):
    found = dict(looks_of("ab.7", happening(**changes), SEEN))
    assert list(found) == patients
    assert {row.is_refused for row in found.values()} <= {changes.get("status") == 404}


def test_what_is_packed_is_what_is_unpacked():
    looks = list(looks_of("ab.7", happening(), SEEN))
    assert list(unpack_looks(pack_looks(looks))) == looks
    assert pack_looks([]) == b""


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [("Patient", {"resourceType": "Patient"}, "application/fhir+json"), ("Binary", b"x", "text/plain")],
)
def test_attack_a_record_is_read_by_a_create_whose_condition_finds_it(server, path, body, kind):
    """FHIR R4 §3.1.0.8.1: 200 with the record that is there; nothing changed that would tell of it."""
    server.call("PUT", "/fhir/Patient/p1", {"resourceType": "Patient", "id": "p1"})
    headers = {"Content-Type": "text/plain", "X-Security-Context": "Patient/p1"}
    server.call("PUT", "/fhir/Binary/b1", b"original", **headers)
    condition = {"If-None-Exist": f"_id={'p1' if path == 'Patient' else 'b1'}"}
    found = server.call("POST", f"/fhir/{path}", body, **condition, **{"Content-Type": kind})
    assert (found.status_code, found.headers["ETag"]) == (200, 'W/"1"')
    server.drain()
    ((_, waiting),) = server.store.waiting_looks(9)
    ((patient, row),) = unpack_looks(waiting)
    assert (patient, row.action, row.types) == ("p1", "read", (path,))
    event = json.loads(server.call("GET", f"/fhir/AuditEvent/{row.event}").data)
    assert (event["subtype"][0]["code"], event["action"]) == ("read", "R")


def test_reads_over_http_wait_to_be_entered_with_the_ids_of_their_events(server):
    observation = {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "weight"}}
    server.call("PUT", "/fhir/Patient/p1", {"resourceType": "Patient", "id": "p1"})
    server.call("PUT", "/fhir/Observation/o1", observation | {"subject": {"reference": "Patient/p1"}})
    server.drain()
    assert server.store.waiting_looks(9) == []
    server.call("GET", "/fhir/Observation/o1")
    server.call("GET", "/fhir/Observation?patient=Patient/p1")
    server.drain()
    ((_, waiting),) = server.store.waiting_looks(9)
    rows = list(unpack_looks(waiting))
    assert [(patient, row.action, row.types) for patient, row in rows] == [
        ("p1", "read", ("Observation",)),
        ("p1", "search", ("Observation",)),
    ]
    for _, row in rows:
        assert server.store.get("AuditEvent", row.event) is not None
