"""When what a record tells of happened, as a claim is told it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from fhir_bridge.claim_case import CaseReader, NodeRecords
from medchain.ledger.citation import citation_of
from medchain.ledger.kinds.content import Period
from medchain.node.release_ports import ClaimCase
from tests.unit.fhir_bridge.conftest import NOW

VISIT = {"start": "2024-01-18T11:53:00Z", "end": "2024-01-18T13:53:00Z"}


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.fixture
def happened(server):
    """Store a Condition of a visit, and tell when it happened."""

    def tell(visit: dict | None = VISIT, **dates: str) -> Period | None:
        made = {}
        for kind, more in (
            ("Patient", {}),
            ("Encounter", {"status": "finished", "class": {"code": "AMB"}, "period": visit}),
            ("Condition", dates),
        ):
            about = {} if kind == "Patient" else {"subject": {"reference": made["Patient"]}}
            if kind == "Condition" and visit is not None:
                about["encounter"] = {"reference": made["Encounter"]}
            if kind == "Encounter" and visit is None:
                continue
            answer = server.call("POST", f"/fhir/{kind}", {"resourceType": kind} | about | more)
            assert answer.status_code == 201, answer.data
            made[kind] = f"{kind}/{json.loads(answer.data)['id']}"
        row = server.store.get(*made["Condition"].split("/"))
        cited = citation_of([made["Condition"]], NOW, ("2024-01-18", "2024-01-18"), bytes(32))
        case = ClaimCase(cited, row.patient, [], NOW, lambda _row: True)
        reader = CaseReader(NodeRecords(server.core.search, server.store, server.service), case)
        return reader.event(json.loads(server.service.open(row).content), row)

    return tell


def moment(text: str) -> Period:
    return Period(at(text), at(text))


def test_a_diagnosis_happened_when_its_visit_began_however_long_ago_the_illness_did(happened):
    begun = happened(onsetDateTime="2019-05", recordedDate="2024-01-18T12:18:00Z")
    assert begun == moment("2024-01-18T11:53:00")


def test_one_that_is_written_down_months_after_the_visit_still_happened_at_the_visit(happened):
    late = happened(onsetDateTime="2023-11", recordedDate="2024-12-03T16:41:00Z")
    assert late == moment("2024-01-18T11:53:00")


def test_an_illness_that_begins_after_the_visit_happened_when_it_began(happened):
    after = happened(onsetDateTime="2024-06-17T11:53:00Z", recordedDate="2024-06-17T11:53:00Z")
    assert after == moment("2024-06-17T11:53:00")


def test_one_that_would_begin_after_it_was_written_down_happened_at_the_visit(happened):
    ahead = happened(onsetDateTime="2025-06-17", recordedDate="2024-12-03T16:41:00Z")
    assert ahead == moment("2024-01-18T11:53:00")


def test_without_a_visit_it_happened_when_it_was_written_down(happened):
    alone = happened(visit=None, onsetDateTime="2019-05", recordedDate="2024-01-18T12:18:00Z")
    assert alone == moment("2024-01-18T12:18:00")


def test_of_what_was_before_1970_no_time_is_told(happened):
    """Unix seconds begin there: another time would contradict the dates that are opened."""
    old = {"start": "1961-05-23T11:53:00Z", "end": "1961-05-23T13:53:00Z"}
    assert happened(visit=old, onsetDateTime="1961-05-23", recordedDate="1961-05-23T12:18:00Z") is None
    assert happened(visit=None, onsetDateTime="1961-05-23", recordedDate="1961-05-23T12:18:00Z") is None
