"""Custodian and asker on the whole nodes of `federation.py`: one patient, her consent, a grant to the insurer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import count

import pytest

from consent.release import ReleaseRules
from medchain.crypto.es384 import Es384Signer
from medchain.encoding import parse_canonical
from medchain.errors import MedchainError
from medchain.ledger.request import access_key
from medchain.node.asker import AskerParts, Extent
from medchain.node.custodian import Custodian
from medchain.node.exchange import Asker, Wish
from medchain.node.opening import ReceivedRecord
from medchain.node.records import NewRecord, NewStream
from medchain.node.release_ports import (
    ClaimSide,
    ConsentInForce,
    CustodianParts,
    Disclosure,
    Refused,
    SubmittedAccess,
)
from medchain.node.relying import Reliance
from tests.unit.medchain.ledger.world import fresh, genesis, seed
from tests.unit.medchain.node.federation import ANXIN, RENHE, Federation, Patient, Site, grant, keys_of

_NUMBERS = count(1)


def observation(number: int, when: str = "2026-11-20T08:00:00Z") -> bytes:
    return b'{"resourceType":"Observation","id":"o%d","status":"final","effectiveDateTime":"%s"}' % (
        number,
        when.encode(),
    )


def scan_of(about: str, media_type: str, patient: str) -> NewStream:
    """A Binary of a patient, told by a keyed token, with a record as its security context."""
    name = f"scan-{patient[:8]}-{about.replace('/', '-')}"
    head = {"resourceType": "Binary", "id": name, "contentType": media_type, "securityContext": {"reference": about}}
    return NewStream("Binary", name, media_type, json.dumps(head).encode(), patient)


@dataclass
class Exchange:
    """The federation with releases on top."""

    federation: Federation
    patient: Patient = None
    local: str = field(default_factory=lambda: f"patient-{next(_NUMBERS)}")
    consent: bytes = b""
    grant: bytes = b""
    links: dict[bytes, str] = field(default_factory=dict)
    custodians: dict[str, Custodian] = field(default_factory=dict)
    askers: dict[str, Asker] = field(default_factory=dict)
    on_answer: Callable[[bytes], bytes] = lambda data: data
    on_released: Callable[[Disclosure, Sequence[int]], None] = lambda _disclosure, _numbers: None
    on_refused: Callable[[Refused], None] = lambda _refused: None
    on_received: Callable[[Disclosure, Sequence[ReceivedRecord]], None] = lambda _disclosure, _records: None
    on_received_in_part: Callable[[Disclosure, Sequence[tuple[str, int]]], None] = lambda _disclosure, _records: None
    claims: ClaimSide | None = None
    before_keep: Callable[[], None] = lambda: None
    before_place: Callable[[], None] = lambda: None
    after_place: Callable[[], None] = lambda: None
    inside: list[ConsentInForce] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    entries: list = field(default_factory=list)
    timeout_s: float = 60.0
    before: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Remember what others left."""
        self.forget()

    def open(
        self, custodians: Sequence[str] = (RENHE,), *, given: dict[str, object] | None = None, **consent: object
    ) -> None:
        """Enrol the patient, record her consent and the grant."""
        submitter = self.federation.sites[RENHE].node.submitter
        self.patient = Patient(self.federation)
        enrolled = submitter.submit(self.patient.subject(custodians))
        # Who is given a part of the subject with the consent must know the subject.
        self.federation.settled(enrolled.key)
        consent["custodians"] = sorted(custodians)
        self.consent = submitter.submit(self.patient.consent(**consent)).key
        self.grant = self.give(**(given or {}))

    def another(self) -> Exchange:
        """Return another patient's exchange under the same consent, with a grant of its own."""
        own = {"local": f"patient-{next(_NUMBERS)}", "grant": self.give(), "inside": []}
        return replace(self, **own, custodians={}, askers={}, sent=[], entries=[])

    def give(self, **changes: object) -> bytes:
        """Record a grant."""
        submitter = self.federation.sites[RENHE].node.submitter
        return submitter.submit(grant(self.consent, **changes)).key

    def store(self, *contents: bytes, type_name: str = "Observation", patient: str = "") -> None:
        """Store records at the custodian and anchor them."""
        site = self.federation.sites[RENHE]
        known = site.records.count()
        site.service.create_many(
            [
                NewRecord(type_name, f"r{known + at}", content, patient or self.local)
                for at, content in enumerate(contents)
            ]
        )
        self.anchor()

    def scan(self, about: str, media_type: str) -> None:
        """Store a Binary that stands beside a record, and anchor it."""
        self.federation.sites[RENHE].service.create_stream(scan_of(about, media_type, self.token), [b"scan"])
        self.anchor()

    def anchor(self) -> None:
        """Anchor until the outbox has no anchor left."""
        site = self.federation.sites[RENHE]
        for _ in range(5000):
            site.node.anchor.round()
            if not site.records.pending(1, kind="anchor"):
                return
            time.sleep(0.01)
        raise AssertionError("never final")

    def custodian(self, org_id: str = RENHE) -> Custodian:
        """Return an organisation's custodian, made anew after `crash`."""
        if org_id not in self.custodians:
            self.custodians[org_id] = Custodian(self.parts(org_id))
        return self.custodians[org_id]

    def parts(self, org_id: str = RENHE) -> CustodianParts:
        """Return what an organisation's custodian is made from."""
        site = self.federation.sites[org_id]
        return CustodianParts(
            org_id=org_id,
            ledger_id=genesis().ledger,
            ledger=site.ledger,
            records=site.records,
            service=site.service,
            bodies=site.node.shelf,
            access=Placed(self, site),
            decision=ReleaseRules(),
            patients=Links(self, site),
            inside=lambda _patient: tuple(self.inside),
            is_stopped=site.node.stops.is_stopped,
            relies=Reliance(site.node.judge, site.node.verdicts).check,
            released=self.on_released,
            refused=self.on_refused,
            clock=self.federation.clock,
            random=fresh,
            claims=self.claims,
        )

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
                    relies=Reliance(site.node.judge, site.node.verdicts).check,
                    received=self.on_received,
                    received_in_part=self.on_received_in_part,
                    clock=self.federation.clock,
                    wait_s=5.0,
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
        extent = {field.name: changes.pop(field.name) for field in fields(Extent) if field.name in changes}
        wish = Wish(RENHE, self.grant, "HPAYMT", Extent(**({"resource_types": ("Observation",)} | extent)))
        return replace(wish, **changes)

    @property
    def token(self) -> str:
        """The patient's token at the custodian."""
        return self.federation.sites[RENHE].service.patient_token(self.local)

    def forget(self) -> None:
        """Count refusals anew from now on."""
        self.before = self._refused("") + self._refused(self.token)

    def refusals(self) -> list[bytes]:
        """Return what the custodian noted of refusals since `forget`."""
        return [row for row in self._refused("") + self._refused(self.token) if row not in self.before]

    def _refused(self, token: str) -> list[bytes]:
        rows = self.federation.sites[RENHE].records.accesses(token)
        return [row.detail for row in rows if row.direction == "refused"]


@dataclass
class Placed:
    """The custodian's submitter, with a place for faults before and after."""

    exchange: Exchange
    site: Site

    def place(self, entry, keep=lambda: None) -> None:
        self.exchange.entries.append(entry)
        self.exchange.before_keep()
        keep()
        self.exchange.before_place()
        SubmittedAccess(self.site.org_id, self.site.ledger, self.site.node.submitter, self.exchange.timeout_s).place(
            entry, keep
        )
        self.exchange.after_place()


@dataclass
class Links:
    """Whose records a subject's are: here the patient of these tests."""

    exchange: Exchange
    site: Site

    def token(self, subject: bytes) -> str | None:
        return self.exchange.token if subject == self.exchange.patient.key else None


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


def reasons(exchange: Exchange) -> set[str]:
    return {parse_canonical(detail, max_bytes=4096)["reason"] for detail in exchange.refusals()}


def entry_version(exchange) -> int:
    """Return the newest version of the accesses under the grant at the custodian, 0 without."""
    head = exchange.federation.sites[RENHE].ledger.record(access_key(exchange.grant, RENHE))
    return 0 if head is None else head.version


def refused(exchange, wish=None) -> str:
    """Ask and return how it was refused, to the letter."""
    with pytest.raises(MedchainError) as caught:
        exchange.asker().request_release(wish or exchange.wish())
    return f"{type(caught.value).__name__} {caught.value}"
