"""Cases as FHIR resources of this node: a ClaimResponse for what came of a claim, a Task for each ask for evidence.

So other systems of the insurer find them by search, they are anchored as all records are, and go with the keys of
their patient. Keeps true: only of a claim that is a record of a patient of this node; what is written says what the
case says, in one more version each time that it changes. Trusts `medchain.claims.case_desk` for what is kept.
Source: `docs/spec/claim-case.md` 9; FHIR R4 ClaimResponse (§13.2), Task (§12.9).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import Event
from typing import Final

from fhir_bridge.audit_events import member_reference
from fhir_bridge.dispute_records import CLAIM
from fhir_bridge.document import Element, Number, Resource, parse, write
from fhir_bridge.references import instant
from medchain.claims.case_content import CaseContent, Status
from medchain.claims.disputes import is_disputed
from medchain.encoding import Json, as_number
from medchain.errors import NotFoundError
from medchain.ledger.invoice import Amount
from medchain.node.clock import Clock
from medchain.node.log import Log
from medchain.node.records import NewRecord, RecordService
from medchain.node.rounds import work_in_rounds
from medchain.store.cases import CaseRow
from medchain.store.records import RecordStore

CASE: Final = "urn:medchain:claim-case"
"""System of ids of cases, and of codes of their states."""

POSITION: Final = "urn:medchain:ledger-position"
"""System of identifiers: leaf index of what the ledger has of a claim."""

DISPUTED: Final = "disputed"
"""What the disposition of a claim ends with while a dispute about it is open."""

PERIOD_S: Final = 1.0
"""How often it is looked whether something is to be written."""

_AT_ONCE: Final = 100
_LONGEST_REST_S: Final = 60.0
_TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem"
_CLAIM: Final = "Claim"
_DONE: Final = frozenset({Status.SETTLED, Status.REFUSED})
_LOG: Final = Log("cases")


class CaseRecords:
    """Writes them. One thread calls it; fills a `medchain.node.daemon.Job`."""

    __slots__ = ("_clock", "_org_id", "_service", "_store")

    def __init__(self, org_id: str, store: RecordStore, service: RecordService, clock: Clock) -> None:
        """Prepare.

        Args:
            org_id: this organisation.
            store: the records file.
            service: stores records.
            clock: gives Unix seconds.
        """
        self._org_id = org_id
        self._store = store
        self._service = service
        self._clock = clock

    def run(self, end: Event) -> None:
        """Work until told to stop."""
        work_in_rounds(
            self.round,
            end,
            period_s=PERIOD_S,
            longest_rest_s=_LONGEST_REST_S,
            delayed=lambda code: _LOG.warning("cases.unwritten", code=code),
        )

    def round(self) -> int:
        """Write what has changed; returns 0, for nothing that could be written is left."""
        for row, changes in self._store.unrecorded_cases(_AT_ONCE):
            claim = self._claim(row)
            if claim is not None:
                content = CaseContent.decode(row.document)
                made = [*self._responses(row, content, claim), *self._tasks(row, content, claim)]
                new = [record for one in made if (record := self._new(row, one)) is not None]
                if new:
                    self._service.create_many(new)
            self._store.note_case_recorded(row.id, changes)
        return 0

    def _claim(self, row: CaseRow) -> Resource | None:
        """Read the stored claim of a case; None for one that is no Claim of a patient here, or is gone."""
        type_name, _, record_id = row.claim.partition("/")
        stored = self._store.get(_CLAIM, record_id) if type_name == _CLAIM and row.patient else None
        try:
            content = b"" if stored is None else self._service.open(stored).content
        except NotFoundError:
            return None
        return parse(content) if content else None

    def _new(self, row: CaseRow, made: Resource) -> NewRecord | None:
        """Make the next version of a resource; None where the newest says the same."""
        type_name, name = str(made["resourceType"]), str(made["id"])
        version = self._store.newest_version(type_name, name)
        before = self._store.get(type_name, name) if version else None
        if before is not None and _said(parse(self._service.open(before).content)) == made:
            return None
        meta: Element = {"versionId": str(version + 1), "lastUpdated": instant(self._clock())}
        return NewRecord(type_name, name, write({**made, "meta": meta}), "", version + 1, token=row.patient)

    def _responses(self, row: CaseRow, content: CaseContent, claim: Resource) -> Iterator[Resource]:
        """Write what came of the claim, once it was judged."""
        if row.judged is None:
            return
        positions: list[Element] = [{"system": POSITION, "value": str(one["position"])} for one in content.deeds]
        times = [row.judged, *(as_number(one["time"]) for one in content.deeds)]
        made: Resource = {
            "resourceType": "ClaimResponse",
            "id": row.id.hex(),
            "identifier": [{"system": CASE, "value": row.id.hex()}, *positions],
            "status": "active",
            "created": instant(max(times)),
            "insurer": member_reference(self._org_id),
            "request": {"reference": row.claim},
            "outcome": "complete" if row.status in _DONE else "partial",
            "disposition": "; ".join([row.colour, row.status, *self._disputed(row)]),
            **_kept(claim, "type", "use", "patient"),
        }
        totals = [*_totals(row, content)]
        if totals:
            made["total"] = totals
        if row.status == Status.SETTLED and content.deeds:
            made["payment"] = _payment(content)
        yield made

    def _disputed(self, row: CaseRow) -> Iterator[str]:
        """Say that the hospital was asked about it, until that is over; the dispute is a Task of its own."""
        if is_disputed(self._store, row.digest):
            yield DISPUTED

    def _tasks(self, row: CaseRow, content: CaseContent, claim: Resource) -> Iterator[Resource]:
        """Write each ask for evidence: done once the hospital has told something under a permission."""
        gathered = content.gathered if isinstance(content.gathered, dict) else {}
        told, patient = gathered.get("told"), _kept(claim, "patient")
        for ask in content.asks:
            hospital, time = str(ask["hospital"]), instant(as_number(ask["time"]))
            is_done = isinstance(told, dict) and hospital in told
            yield {
                "resourceType": "Task",
                "id": str(ask["id"]),
                "identifier": [{"system": CASE, "value": row.id.hex()}],
                "status": "completed" if is_done else "requested",
                "intent": "order",
                "code": {"coding": [{"system": CASE, "code": "evidence"}]},
                "focus": {"reference": row.claim, "identifier": {"system": CLAIM, "value": row.digest.hex()}},
                "authoredOn": time,
                "lastModified": time if row.judged is None or not is_done else instant(row.judged),
                "requester": member_reference(self._org_id),
                "owner": member_reference(hospital),
                **({"for": patient["patient"]} if patient else {}),
            }


def _said(resource: Resource) -> Resource:
    """Leave out what is of a version."""
    return {name: value for name, value in resource.items() if name != "meta"}


def _kept(claim: Resource, *names: str) -> Resource:
    """Take over what the claim says, as it says it."""
    return {name: claim[name] for name in names if name in claim}


def _money(amount: Amount) -> Resource:
    """Write an amount with all its digits."""
    return {"value": Number(amount.text), "currency": amount.currency}


def _totals(row: CaseRow, content: CaseContent) -> Iterator[Element]:
    """Say what was submitted, and what is paid or reserved."""
    if row.amount is not None:
        yield _total("submitted", Amount(row.amount, row.currency))
    if content.deeds and row.status in (Status.RESERVED, Status.SETTLED):
        yield _total("benefit", _of(content.deeds[-1]))


def _payment(content: CaseContent) -> Element:
    """Say what was paid."""
    last = content.deeds[-1]
    kind: Element = {"coding": [{"system": f"{_TERMINOLOGY}/ex-paymenttype", "code": "complete"}]}
    return {"type": kind, "date": instant(as_number(last["time"]))[:10], "amount": _money(_of(last))}


def _of(deed: Mapping[str, Json]) -> Amount:
    """Read the amount of a deed."""
    return Amount(as_number(deed["amount"]), str(deed["currency"]))


def _total(category: str, amount: Amount) -> Element:
    """Write a total."""
    return {
        "category": {"coding": [{"system": f"{_TERMINOLOGY}/adjudication", "code": category}]},
        "amount": _money(amount),
    }
