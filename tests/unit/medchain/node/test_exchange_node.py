"""The daemon's exchange operations: what they write for the node's own workers."""

from __future__ import annotations

from medchain.ledger.object import StateRecord
from medchain.node.exchange import Received
from medchain.node.exchange_node import received_json
from medchain.node.opening import ReceivedRecord

ENTRY = StateRecord("access", "renhe-hospital", bytes(16), 1, "active", bytes(32), None, None, (), 9, None)


def record(content: bytes) -> ReceivedRecord:
    return ReceivedRecord(
        "renhe-hospital", bytes(16), 1, "application/fhir+json", content, bytes(32), bytes(32), 5, is_newest=True
    )


def test_a_record_that_is_no_json_does_not_keep_the_others_from_being_shown():
    records = tuple(map(record, (b'{"id":"a","resourceType":"Patient"}', b"\xff", b"[1]", b"{")))
    shown = received_json(Received(bytes(32), ENTRY, records, None))["records"]
    assert [(row["type"], row["id"]) for row in shown] == [("Patient", "a"), ("", ""), ("", ""), ("", "")]
