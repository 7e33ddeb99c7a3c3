"""A hospital with invoices, an insurer that holds some, and what lies between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

from medchain.claims.answering import QuestionDesk
from medchain.claims.asking import AskingParts, ClaimAsker
from medchain.claims.fishing import FishingParts, FishingWatch
from medchain.claims.issuing import Issuing
from medchain.claims.register import Issued
from medchain.crypto.es384 import Es384Signer
from medchain.errors import UnavailableError
from medchain.ledger.claim_question import AskedRow, ClaimQuestion
from medchain.ledger.invoice import InvoiceFields, Scope, amount_of, day_of
from medchain.ledger.machine import apply_genesis
from medchain.ledger.members import Members
from medchain.ledger.signed_request import sign_request
from medchain.node.alarms import AlarmBook
from medchain.store.records import RecordStore
from tests.unit.medchain.ledger.world import ANXIN, COMMISSION, RENHE, TONGJI, fresh, genesis, invoices, seed, vrf_key

NOW = 1_796_083_200
CODE = "99010001"
TONGJI_CODE = "99010002"
LATER = day_of("2026-01-01")


def row(number: str = "1774778511", **changes: object) -> AskedRow:
    """What an insurer holds of an invoice."""
    held = {
        "scope": Scope.INVOICE,
        "issuer": CODE,
        "code": "99060225",
        "number": number,
        "date": "2025-09-06",
        "line": 0,
        "check_code": "rha0jt",
        "amount": "8422.80",
        "currency": "CNY",
    }
    return AskedRow(**(held | changes))


def issued(named: str = "1774778511", **changes: object) -> Issued:
    """An invoice in the hospital's register."""
    made = InvoiceFields(Scope.INVOICE, CODE, "99060225", named, day_of("2025-09-06"), 0)
    found = Issued(made, ("RHA0JT",), amount_of("8422.80", "CNY"), is_issued=True, number=7)
    return replace(found, **changes)


def members(*, issuing: bool = True) -> Members:
    """The members of the genesis, of whom two hospitals issue invoices; Renhe has a second key from 2026 on."""
    made = apply_genesis(genesis()).members
    rows = {
        RENHE: invoices(RENHE, CODE, days=(0, LATER)),
        TONGJI: invoices(TONGJI, TONGJI_CODE),
    }
    changed = {org_id: replace(one, invoices=rows.get(org_id)) for org_id, one in made.organisations.items() if issuing}
    return replace(made, organisations=made.organisations | changed)


@dataclass
class Register:
    """Invoices by number, however else they are asked for."""

    rows: list[Issued] = field(default_factory=list)
    found: list[str] = field(default_factory=list)

    def find(self, asked):
        self.found.append(asked.number)
        named = [one for one in self.rows if one.invoice.number == asked.fields.number]
        # Of an invoice that is there whole and by a line each is found by what it is.
        place = (asked.scope, asked.line)
        exact = (one for one in named if (one.invoice.scope, one.invoice.line) == place)
        return next(exact, named[0] if named else None)


@dataclass
class Audit:
    """Notes who asked for what."""

    rows: list[tuple] = field(default_factory=list)
    is_full: bool = False

    def questioned(self, peer, question, numbers, *, is_known):
        if self.is_full:
            raise UnavailableError("store.full")
        self.rows.append((peer, question, list(numbers), is_known))


@dataclass
class Case:
    """A hospital, an insurer and a regulator."""

    records: RecordStore
    time: int = NOW
    members: Members = field(default_factory=members)
    register: Register = field(default_factory=Register)
    audit: Audit = field(default_factory=Audit)
    states: dict = field(default_factory=dict)
    apart: list[Issued] = field(default_factory=list)
    told: list[tuple[str, bytes]] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    on_answer: Callable[[bytes], bytes] = lambda data: data

    def __post_init__(self) -> None:
        """Put the sides together."""
        self.hospital = self.desk()
        self.insurer = self.asker()

    def clock(self) -> int:
        return self.time

    def watch(self, org_id: str = RENHE) -> FishingWatch:
        """Make an organisation's count, as after a restart."""
        replica = SimpleNamespace(members=self.members, ledger=genesis().ledger, height=5)
        alarms = AlarmBook(self.records, list, self.clock)
        return FishingWatch(FishingParts(org_id, replica, self.records, alarms, self, self.clock))

    def desk(self, org_id: str = RENHE) -> QuestionDesk:
        """Make a hospital's desk, as after a restart."""
        return self.desk_of(self.issuing(org_id), self.watch(org_id))

    def desk_of(self, issuing: Issuing, watch: FishingWatch) -> QuestionDesk:
        """Make a desk of such parts; nothing was taken back."""
        return QuestionDesk(issuing, self.audit, watch, lambda one, _by: one in self.apart, lambda _one, _by: False)

    def issuing(self, org_id: str = RENHE, **changes: object) -> Issuing:
        """Make a hospital."""
        keys = {vrf_key(org_id, generation).public: vrf_key(org_id, generation) for generation in (1, 2)}
        parts = {
            "org_id": org_id,
            "ledger": genesis().ledger,
            "members": lambda: self.members,
            "vrf": keys.get,
            "register": self.register,
            "clock": self.clock,
        }
        return Issuing(**(parts | changes))

    def asker(self, org_id: str = ANXIN) -> ClaimAsker:
        """Make an insurer's side."""
        return ClaimAsker(
            AskingParts(
                org_id=org_id,
                ledger=genesis().ledger,
                members=lambda: self.members,
                record=self.states.get,
                authentication=Es384Signer(seed(org_id, "authentication", 1)),
                hospitals=self,
                clock=self.clock,
            )
        )

    def question(self, org_id: str, document: bytes) -> bytes:
        """Bring a question."""
        if org_id in self.down:
            raise UnavailableError("peer.unreachable", peer=org_id)
        return self.on_answer(self.hospital.answer(document, ANXIN))

    def fishing(self, org_id: str, document: bytes) -> None:
        """Bring a report."""
        if org_id in self.down:
            raise UnavailableError("peer.unreachable", peer=org_id)
        self.told.append((org_id, document))

    def asked(self, *rows: AskedRow, insurer: str = ANXIN, **changes: object) -> ClaimQuestion:
        """Make a question."""
        made = {
            "ledger": genesis().ledger,
            "nonce": fresh(16),
            "time": self.time,
            "hospital": RENHE,
            "insurer": insurer,
            "rows": rows or (row(),),
        }
        return ClaimQuestion(**(made | changes))

    def answers(self, *rows: AskedRow, insurer: str = ANXIN) -> list[dict]:
        """Ask, and return what is answered, as it is written."""
        question = self.asked(*rows, insurer=insurer)
        return json.loads(self.hospital.answer(signed(question, insurer), insurer))["answers"]


def signed(question: ClaimQuestion, by: str = ANXIN) -> bytes:
    """Sign a question with an organisation's key."""
    return sign_request(Es384Signer(seed(by, "authentication", 1)), question).encode()


__all__ = ["ANXIN", "COMMISSION", "RENHE", "TONGJI"]
