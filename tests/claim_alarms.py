"""Every claim of a folder of patients, judged by what their hospital tells: the lines that follow from records.

Each hospital is a node's own records and FHIR API, loaded through it; what it tells of a claim is told by the product's
own profile and statements, with openings that are verified against the commitments, and judged by the product's own
lines. The ledger is left out: an item says that a version is registered when it was stored. So consent and claims
elsewhere are not judged here; the demo's tests do that over nodes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson

import sample_data
from fhir_bridge.claim_case import NodeRecords
from fhir_bridge.claim_facts import FhirClaimFacts
from medchain.ledger.citation import citation_of
from medchain.ledger.collection import Item
from medchain.ledger.evidence.checked import Checked, Given, Placed, ShownRecord, State
from medchain.ledger.evidence.claim_reading import read_claim
from medchain.ledger.evidence.disclosure import Disclosure
from medchain.ledger.evidence.document import Asked, Evidence, InsurancePolicy, Questioned
from medchain.ledger.evidence.lines.complete import complete
from medchain.ledger.evidence.lines.coverage import coverage
from medchain.ledger.evidence.lines.flags import flags
from medchain.ledger.evidence.lines.source import source
from medchain.ledger.evidence.lines.unaltered import unaltered
from medchain.ledger.evidence.verdict import Colour, Finding
from medchain.ledger.listed import Listed, Standing
from medchain.ledger.object import ACTIVE, StateRecord
from medchain.ledger.opening import NOTHING, Shown, open_content
from medchain.node.release_ports import CitedRecord, ClaimCase
from medchain.store.records import RecordVersion
from tests.unit.fhir_bridge.conftest import NOW, Server, opened
from tests.unit.medchain.ledger.world import organisation

INSURER = "anxin-insurance"
LEDGER = bytes(32)
LINES = (source, unaltered, complete, coverage, flags)
CLAIMS = ("Claim", "ExplanationOfBenefit")
HOUR_S = 3600


@dataclass
class Hospital:
    """A hospital's node, and where it has what its bundles hold."""

    org_id: str
    server: Server
    zone: str
    places: dict[str, str] = field(default_factory=dict)

    def load(self, text: bytes) -> list[str]:
        """Post a bundle; returns the references of what it made."""
        answer = self.server.call("POST", "/fhir", text)
        assert answer.status_code == 200, answer.data[:2000]
        made = []
        for entry, row in zip(orjson.loads(text)["entry"], orjson.loads(answer.data)["entry"], strict=True):
            place = "/".join(row["response"]["location"].split("/")[:2])
            self.places[entry.get("fullUrl", "").removeprefix("urn:uuid:")] = place
            made.append(place)
        # With which client each was stored, and by whom, is on the node's audit.
        self.server.drain()
        while self.server.store.pending(1):
            self.server.anchor_all(1)
        return made

    def content(self, reference: str) -> bytes:
        """Read a record."""
        return self.server.service.open(self.server.store.get(*reference.split("/"))).content

    def tell(self, cited: Sequence[str], created: int, days: tuple[str, str]) -> Given:
        """Tell what a claim needs of the records that it cites; each is shown as it was when the claim was made."""
        records = [record for one in sorted(set(cited)) if (record := self._cited(one, created)) is not None]
        node = NodeRecords(self.server.core.search, self.server.store, self.server.service, ZoneInfo(self.zone))
        patient = records[0].shown.patient if records else ""
        now = self.server.time[0]
        case = ClaimCase(citation_of(cited, created, days, bytes(32)), patient, records, now, lambda _row: True)
        said = FhirClaimFacts(node).tell(case)
        disclosure = Disclosure(
            claim=bytes(32),
            decision=None,
            facts=said.facts,
            grant=bytes(32),
            hospital=self.org_id,
            insurer=INSURER,
            ledger=LEDGER,
            records=said.rows,
            request=bytes(32),
            time=now,
        )
        shown = [
            ShownRecord(self.org_id, row, Placed(number, _item(record, opening)), _fields(record, opening))
            for number, (row, record, opening) in enumerate(zip(said.rows, records, said.openings, strict=True))
        ]
        member = Listed(self.org_id, (Standing(0, NOW, organisation(self.org_id, "hospital")),))
        return Given(disclosure, member, None, tuple(shown))

    def _cited(self, reference: str, created: int) -> CitedRecord | None:
        """Find a record with its versions; as the ledger would, the newest of then is shown, else the first."""
        versions = sorted(self.server.store.history(*reference.split("/")), key=lambda row: row.version)
        if not versions:
            return None
        stood = [row for row in versions if row.created <= created]
        return CitedRecord(reference, (stood or versions[:1])[-1], _states(versions), tuple(versions))


@contextmanager
def hospital(org_id: str, folder: Path, zone: str) -> Iterator[Hospital]:
    """Open a hospital's node in a folder."""
    folder.mkdir()
    with contextmanager(opened)(folder) as server:
        yield Hospital(org_id, server, zone)


def judged(content: bytes, hospitals: Sequence[Hospital], policy: InsurancePolicy | None = None) -> list[Finding]:
    """Judge a claim by what hospitals tell; returns what is not green.

    Args:
        content: the Claim or ExplanationOfBenefit. What it cites relatively is of the first hospital.
        hospitals: all that there are.
        policy: of the insurer.
    """
    claim = read_claim(content)
    named = {one.org_id: [] for one in hospitals}
    for cited in claim.cited:
        org_id = cited.base.removeprefix("https://").partition(".")[0] or hospitals[0].org_id
        named[org_id].append(cited.reference)
    days = (claim.services[0], claim.services[-1])
    given = tuple(one.tell(sorted(named[one.org_id]), claim.created, days) for one in hospitals if named[one.org_id])
    evidence = Evidence(
        content=content,
        disclosures=(),
        held=(),
        insurer=INSURER,
        ledger=LEDGER,
        policy=policy,
        question=Questioned(Asked.NONE),
        row=None,
    )
    members = {one.member.org_id: one.member for one in given}
    items = {placed.item.key: placed for one in given for shown in one.records if (placed := shown.placed)}
    state = State(2, max(one.server.time[0] for one in hospitals))
    case = Checked(evidence, claim, members, items, given, None, state)
    return [finding for line in LINES for finding in line(case) if finding.colour is not Colour.GREEN]


def policy_of(bundle: dict, claim: dict) -> InsurancePolicy:
    """Read the policy of an insurer's claim out of its bundle."""
    held = {entry["fullUrl"]: entry["resource"] for entry in bundle["entry"]}
    period = held[claim["insurance"][0]["coverage"]["reference"]]["period"]
    return InsurancePolicy(period["start"], period.get("end"), 0)


def of_insurers(text: bytes) -> list[tuple[str, bytes, InsurancePolicy]]:
    """List the claims of an insurer's bundle: number, content, policy."""
    bundle = json.loads(text, parse_float=sample_data.reader.Decimal)
    resources = [entry["resource"] for entry in bundle["entry"]]
    claims = [one for one in resources if one["resourceType"] == "Claim"]
    return [(one["identifier"][0]["value"], sample_data.dump(one), policy_of(bundle, one)) for one in claims]


def _states(versions: Sequence[RecordVersion]) -> tuple[StateRecord, ...]:
    """Write what a ledger would say of versions, from the first."""
    states: list[StateRecord] = []
    for row in versions:
        previous = states[-1].digest if states else None
        state = StateRecord(
            "record", "hospital", row.object_id, row.version, ACTIVE, row.commitment, None, None, (), 1, previous
        )
        states.append(state)
    assert all(one.version + 1 == other.version for one, other in pairwise(states))
    return tuple(states)


def _item(record: CitedRecord, opening: bytes | None) -> Item:
    """Prove a record, as a ledger would on which each version stands since it was stored."""
    number = record.shown.version
    times = [row.created for row in record.versions if row is not None]
    key = sha256(record.shown.object_id).digest()
    shown = NOTHING if opening is None else _opened(record, opening)
    return Item(key, tuple(reversed(record.states[number - 1 :])), shown, times[number - 1], times[-1])


def _opened(record: CitedRecord, opening: bytes) -> Shown:
    return open_content(opening, record.states[record.shown.version - 1])


def _fields(record: CitedRecord, opening: bytes | None) -> dict[str, str]:
    return {} if opening is None else dict(_opened(record, opening).fields)
