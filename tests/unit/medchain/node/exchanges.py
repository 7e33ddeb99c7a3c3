"""Custodian and asker on the whole nodes of `federation.py`: one patient, her consent, a grant to the insurer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from consent.release import ReleaseRules
from medchain.crypto.es384 import Es384Signer
from medchain.errors import MedchainError
from medchain.node.custodian import Custodian
from medchain.node.exchange import Asker, AskerParts, Wish
from medchain.node.records import NewRecord
from medchain.node.release_ports import CustodianParts, SubmittedAccess
from tests.unit.medchain.ledger.world import fresh, genesis, seed
from tests.unit.medchain.node.federation import ANXIN, RENHE, Federation, Patient, Site, grant, keys_of

PATIENT = "patient-1"


def observation(number: int, when: str = "2026-11-20T08:00:00Z") -> bytes:
    return b'{"resourceType":"Observation","id":"o%d","status":"final","effectiveDateTime":"%s"}' % (
        number,
        when.encode(),
    )


@dataclass
class Exchange:
    """The federation with releases on top."""

    federation: Federation
    patient: Patient = None
    consent: bytes = b""
    grant: bytes = b""
    links: dict[bytes, str] = field(default_factory=dict)
    custodians: dict[str, Custodian] = field(default_factory=dict)
    askers: dict[str, Asker] = field(default_factory=dict)
    on_answer: Callable[[bytes], bytes] = lambda data: data
    before_place: Callable[[], None] = lambda: None
    after_place: Callable[[], None] = lambda: None
    sent: list[bytes] = field(default_factory=list)
    entries: list = field(default_factory=list)

    def open(self, **consent: object) -> None:
        """Enrol the patient, record her consent and the grant."""
        submitter = self.federation.sites[RENHE].node.submitter
        self.patient = Patient(self.federation)
        submitter.submit(self.patient.subject())
        self.consent = submitter.submit(self.patient.consent(**consent)).key
        self.grant = self.give()

    def give(self, **changes: object) -> bytes:
        """Record a grant."""
        submitter = self.federation.sites[RENHE].node.submitter
        return submitter.submit(grant(self.consent, **changes)).key

    def store(self, *contents: bytes, type_name: str = "Observation", patient: str = PATIENT) -> None:
        """Store records at the custodian and anchor them."""
        site = self.federation.sites[RENHE]
        known = site.records.count()
        site.service.create_many(
            [NewRecord(type_name, f"r{known + at}", content, patient) for at, content in enumerate(contents)]
        )
        self.anchor()

    def anchor(self) -> None:
        """Anchor until the outbox has no anchor left."""
        site = self.federation.sites[RENHE]
        for _ in range(500):
            site.node.anchor.round()
            if not site.records.pending(1, kind="anchor"):
                return
            time.sleep(0.01)
        raise AssertionError("never final")

    def custodian(self, org_id: str = RENHE) -> Custodian:
        """Return an organisation's custodian, made anew after `crash`."""
        if org_id not in self.custodians:
            site = self.federation.sites[org_id]
            self.custodians[org_id] = Custodian(
                CustodianParts(
                    org_id=org_id,
                    ledger_id=genesis().ledger,
                    ledger=site.ledger,
                    records=site.records,
                    service=site.service,
                    bodies=site.node.shelf,
                    access=Placed(self, site),
                    decision=ReleaseRules(),
                    patients=Links(self, site),
                    is_stopped=site.node.stops.is_stopped,
                    clock=self.federation.clock,
                    random=fresh,
                )
            )
        return self.custodians[org_id]

    def asker(self, org_id: str = ANXIN) -> Asker:
        """Return an organisation's asker."""
        if org_id not in self.askers:
            site = self.federation.sites[org_id]
            self.askers[org_id] = Asker(
                AskerParts(
                    org_id=org_id,
                    ledger_id=genesis().ledger,
                    authentication=Es384Signer(seed(org_id, "authentication", 1)),
                    encryption=keys_of(org_id).encryption,
                    ledger=site.ledger,
                    records=site.records,
                    bodies=site.node.shelf,
                    custodians=Way(self, org_id),
                    clock=self.federation.clock,
                )
            )
        return self.askers[org_id]

    def crash(self, org_id: str = RENHE) -> None:
        """End a node and start it again from its files."""
        self.custodians.pop(org_id, None)
        self.askers.pop(org_id, None)
        self.federation.crash(org_id)

    def wish(self, **changes: object) -> Wish:
        """What the insurer asks for."""
        values = {"custodian": RENHE, "grant": self.grant, "purpose": "HPAYMT", "resource_types": ("Observation",)}
        return Wish(**(values | changes))

    def refusals(self, patient: str | None = None) -> list[bytes]:
        """Return what the custodian noted of refusals."""
        site = self.federation.sites[RENHE]
        tokens = ["", site.service.patient_token(PATIENT)] if patient is None else [patient]
        rows = [row for token in tokens for row in site.records.accesses(token) if row.direction == "refused"]
        return [row.detail for row in rows]


@dataclass
class Placed:
    """The custodian's submitter, with a place for faults before and after."""

    exchange: Exchange
    site: Site

    def place(self, entry) -> None:
        self.exchange.entries.append(entry)
        self.exchange.before_place()
        SubmittedAccess(self.site.node.submitter).place(entry)
        self.exchange.after_place()


@dataclass
class Links:
    """Whose records a subject's are: here the patient of these tests."""

    exchange: Exchange
    site: Site

    def token(self, subject: bytes) -> str | None:
        return self.site.service.patient_token(PATIENT) if subject == self.exchange.patient.key else None


@dataclass
class Way:
    """The way from an asker to a custodian."""

    exchange: Exchange
    sender: str

    def release(self, org_id: str, document: bytes) -> bytes:
        self.exchange.federation.reach(self.sender, org_id)
        self.exchange.sent.append(document)
        return self.exchange.on_answer(self.exchange.custodian(org_id).release(document, self.sender))


def together(*calls: Callable[[], object]) -> list[object]:
    """Make calls at the same time; returns results and errors in order."""
    found: list[object] = [None] * len(calls)

    def run(at: int, call: Callable[[], object]) -> None:
        try:
            found[at] = call()
        except MedchainError as error:
            found[at] = error

    threads = [threading.Thread(target=run, args=(at, call)) for at, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
