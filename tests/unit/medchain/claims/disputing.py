"""An insurer and a hospital with a dispute between them, each with its own desk and file."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path

from medchain.claims.dispute import DisputeStep, StepKind
from medchain.claims.disputes import LIST, OPEN, SHOW, STEP, WAITING, About, DisputeDesk, DisputeParts
from medchain.crypto.es384 import Es384Signer
from medchain.encoding import canonical
from medchain.errors import MedchainError, UnavailableError
from medchain.ledger.machine import apply_genesis
from medchain.ledger.signed_request import sign_request
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore
from tests.unit.medchain.ledger.world import ANXIN, RENHE, genesis, seed

NOW = 1_796_083_200
CLAIM = "c1" * 32
QUESTION = {"by": "Practitioner/w1", "claim": CLAIM, "hospital": RENHE, "text": "why?", "days": 7}


def step(**changes: object) -> DisputeStep:
    """A first question."""
    said = {
        "ledger": genesis().ledger,
        "nonce": b"\x01" * 16,
        "time": NOW,
        "dispute": b"\x07" * 16,
        "number": 1,
        "previous": None,
        "step": StepKind.QUESTION,
        "hospital": RENHE,
        "insurer": ANXIN,
        "claim": bytes.fromhex(CLAIM),
        "records": (),
        "days": 7,
        "text": "why?",
    }
    return DisputeStep(**(said | changes))


def signed(said: DisputeStep, by: str | None = None) -> bytes:
    """Sign a step as its sender does, or as somebody else."""
    return sign_request(Es384Signer(seed(by or said.asker, "authentication", 1)), said).encode()


@dataclass
class Dispute:
    """Two desks."""

    folder: Path
    time: int = NOW
    down: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    tried: list[str] = field(default_factory=list)
    records: dict[str, RecordStore] = field(default_factory=dict)
    desks: dict[str, DisputeDesk] = field(default_factory=dict)
    about: dict[str, About] = field(default_factory=dict)
    refusals: dict[str, MedchainError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Open the files."""
        for org_id in (ANXIN, RENHE):
            database = open_database(self.folder / f"{org_id}.db", b"\x05" * 32, kind=FileKind.RECORDS)
            self.records[org_id] = RecordStore(database)
            self.desks[org_id] = self.desk(org_id)

    def close(self) -> None:
        for one in self.records.values():
            one.close()

    def desk(self, org_id: str) -> DisputeDesk:
        """Make a desk, as after a restart."""
        known, numbers = apply_genesis(genesis()).members, itertools.count(1)
        draw = lambda size: next(numbers).to_bytes(size, "big")  # noqa: E731  # short
        return DisputeDesk(
            DisputeParts(
                org_id=org_id,
                ledger=genesis().ledger,
                members=lambda: known,
                records=self.records[org_id],
                about=self.finds,
                authentication=Es384Signer(seed(org_id, "authentication", 1)),
                ways=Way(self, org_id),
                clock=lambda: self.time,
                random=draw,
            )
        )

    def finds(self, claim: bytes, _hospital: str) -> About:
        """Find what a case has of a claim; by default nothing was told of it."""
        return self.about.get(claim.hex(), About((), ""))

    def call(self, org_id: str, operation: str, **document: object) -> dict:
        return self.desks[org_id].operations()[operation](document)

    def open(self, **changes: object) -> str:
        return self.call(ANXIN, OPEN, **(QUESTION | changes))["id"]

    def say(self, org_id: str, dispute: str, kind: str, text: str = "so", days: int = 0) -> dict:
        return self.call(org_id, STEP, by="Practitioner/x", id=dispute, step=kind, text=text, days=days)

    def shown(self, org_id: str, dispute: str) -> dict:
        return self.call(org_id, SHOW, id=dispute)

    def waiting(self, org_id: str) -> tuple[int, int]:
        told = self.call(org_id, WAITING)
        return told["waiting"], told["overdue"]

    def listed(self, org_id: str, **claim: str) -> list[dict]:
        return self.call(org_id, LIST, **claim)["disputes"]


@dataclass
class Way:
    """The way from one side to the other."""

    case: Dispute
    sender: str

    def dispute(self, org_id: str, document: bytes) -> bytes:
        self.case.tried.append(org_id)
        if org_id in self.case.down:
            raise UnavailableError("peer.unreachable")
        if org_id in self.case.refusals:
            raise self.case.refusals[org_id]
        answer = canonical(self.case.desks[org_id].receive(document, self.sender))
        if org_id in self.case.lost:
            raise UnavailableError("peer.timeout")
        return answer
