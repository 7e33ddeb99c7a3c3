"""A verdict as the insurer's node keeps it: green lines, a late record, a record altered afterwards, a part claimed."""

from __future__ import annotations

from dataclasses import replace

from medchain.ledger.evidence.verdict import ClaimVerdict, Finding, made_verdict
from medchain.store.records import RecordStore
from tests.unit.medchain.node.federation import ANXIN, RENHE, TONGJI

NOW = 1_796_083_200
LATE = Finding(
    "source.late",
    {"days": 320, "entered": NOW - 86400, "event": NOW - 321 * 86400, "hospital": RENHE, "reference": "Condition/d1"},
    (4,),
)
ALTERED = Finding(
    "unaltered.altered",
    {"fields": "/code", "hospital": RENHE, "reference": "Encounter/e1", "when": NOW - 50},
    (1,),
)
FINDINGS = (
    Finding("source.registered", {"count": 4, "first": NOW - 900, "hospital": RENHE, "last": NOW - 800}, (0, 1, 2, 3)),
    LATE,
    Finding("unaltered.same", {"count": 4}, (0, 2, 3, 4)),
    ALTERED,
    Finding("complete.counts", {"all": 9, "cited": 5, "encounters": 1}, ()),
    Finding("complete.total", {"amount": 842280, "currency": "CNY"}, (3,)),
    Finding("consent.in_force", {"hospital": RENHE, "rule": "one-claim", "signed": "passkey", "version": 1}, (5, 6)),
    Finding("unclaimed.enough", {"currency": "CNY", "hospital": RENHE, "open": 900000}, (8,)),
    Finding("coverage.covered", {"first": "2025-08-31", "last": "2025-09-06"}, ()),
    Finding("flags.altered", {"count": 1}, (1,)),
)
GREEN = (
    *(one for one in FINDINGS if one.colour.value == "green"),
    Finding("unclaimed.absent", {"hospital": RENHE}, (8,)),
    Finding("flags.none", {}, ()),
)


def verdict(digest: bytes = b"\xc1" * 32, findings: tuple[Finding, ...] = FINDINGS) -> ClaimVerdict:
    """A verdict of some findings."""
    return made_verdict(digest, ANXIN, 8123, NOW, findings)


def judge(records: RecordStore, case: dict, findings: tuple[Finding, ...] = FINDINGS) -> None:
    """Keep a verdict with a case, as its gathering does."""
    made = verdict(bytes.fromhex(case["digest"]), findings)

    def change(row):
        return replace(row, verdict=made.encode(), colour=made.colour.value, judged=NOW, status="judged")

    records.change_case(bytes.fromhex(case["id"]), change)


OTHER = TONGJI
"""Another hospital."""
