"""Whole nodes of hospitals that issue invoices and insurers that claim them, with their sides of claims."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from fhir_bridge.claim_shelf import FhirClaims
from medchain.claims.claim_node import ClaimNode, ClaimSurroundings
from medchain.crypto.es384 import Es384Signer
from medchain.encoding import Json, canonical
from medchain.errors import UnavailableError
from medchain.ledger.members import organisation_content
from medchain.node.alarms import AlarmBook
from medchain.node.exchange import ClaimWish, ReceivedDisclosure
from medchain.node.grant_search import Permission
from medchain.ordering.receipt import Refused
from tests.unit.medchain.claims.questions import CODE, TONGJI_CODE, Audit, Register
from tests.unit.medchain.ledger.world import (
    World,
    genesis,
    invoices,
    organisation_key,
    prove_vrf,
    seed,
    sign,
    vrf_key,
)
from tests.unit.medchain.node.desks import Local
from tests.unit.medchain.node.federation import RENHE, ROLES, TONGJI, Federation


@dataclass
class Restoring:
    """Whether a restore is under way."""

    is_under_way: bool = False

    def check(self):
        if self.is_under_way:
            raise UnavailableError("restore.under_way")


@dataclass
class Ways:
    """The ways of claims from one node to the others."""

    hospitals: Hospitals
    sender: str

    def question(self, org_id, document):
        self.hospitals.federation.reach(self.sender, org_id)
        return self.hospitals.nodes[org_id].question(document, self.sender)

    def deed(self, org_id, document):
        self.hospitals.federation.reach(self.sender, org_id)
        self.hospitals.before_deed()
        answer = canonical(self.hospitals.nodes[org_id].deed(document, self.sender))
        return self.hospitals.on_deed(answer)

    def dispute(self, org_id, document):
        self.hospitals.federation.reach(self.sender, org_id)
        return canonical(self.hospitals.nodes[org_id].dispute(document, self.sender))

    def fishing(self, org_id, document):
        self.hospitals.federation.reach(self.sender, org_id)
        self.hospitals.nodes[org_id].fishing(document, self.sender)


@dataclass
class Finder:
    """Finds grants as a test says."""

    hospitals: Hospitals

    def about(self, *asked: object) -> list[bytes]:
        return self.hospitals.grants(*asked)

    def for_claim(self, claim):
        return self.hospitals.for_claim(claim)

    def moment(self):
        return self.hospitals.moment()

    def permissions(self, claim):
        return self.hospitals.permissions(claim)


@dataclass
class Hospitals:
    """The nodes of a federation with their sides of claims."""

    federation: Federation
    nodes: dict[str, ClaimNode] = field(default_factory=dict)
    registers: dict[str, Register] = field(default_factory=dict)
    audits: dict[str, Audit] = field(default_factory=dict)
    before_deed: Callable[[], None] = lambda: None
    on_deed: Callable[[bytes], bytes] = lambda data: data
    restoring: Restoring = field(default_factory=Restoring)
    asked: list[Json] = field(default_factory=list)
    grants: Callable[..., list[bytes]] = lambda *_asked: []
    for_claim: Callable[[bytes], list[tuple[str, bytes]]] = lambda _claim: []
    moment: Callable[[], object] = object
    permissions: Callable[[bytes], list[Permission]] = lambda _claim: []
    disclose: Callable[[ClaimWish], ReceivedDisclosure] = lambda _wish: pytest.fail("nobody was to be asked")

    def asks(self, document: Json) -> Json:
        """Take note of what a patient is asked."""
        self.asked.append(document)
        return {"id": "07" * 16}

    def discloses(self, wish: ClaimWish) -> ReceivedDisclosure:
        """Ask for a disclosure as a test says."""
        return self.disclose(wish)

    def __post_init__(self) -> None:
        """Put the nodes together."""
        for org_id in self.federation.sites:
            self.registers[org_id] = Register()
            self.put_together(org_id)

    def put_together(self, org_id: str) -> None:
        """Put a node together, also after a crash."""
        site, clock = self.federation.sites[org_id], self.federation.clock
        keys = {vrf_key(org_id).public: vrf_key(org_id)}
        self.nodes[org_id] = ClaimNode(
            ClaimSurroundings(
                org_id=org_id,
                side=site.node,
                records=site.records,
                authentication=Es384Signer(seed(org_id, "authentication", 1)),
                vrf=keys,
                alarms=AlarmBook(site.records, list, clock),
                register=self.registers[org_id],
                questions=self.audits.setdefault(org_id, Audit()),
                ways=Ways(self, org_id),
                check_restored=self.restoring.check,
                clock=clock,
                shelf=FhirClaims(site.records, site.service),
                ask=self.asks,
                finder=Finder(self),
                disclose=self.discloses,
            )
        )

    def local(self, org_id: str) -> Local:
        """Return the way to a node's operations."""
        return Local(self.nodes[org_id].operations())

    def everywhere(self, key: bytes, version: int) -> None:
        """Wait until all nodes have a version."""
        for site in self.federation.sites.values():
            site.node.submitter.wait_final(key, version, 60)


def issue_invoices(federation: Federation, org_id: str, code: str) -> None:
    """Have the members agree that a hospital issues invoices under a code."""
    site = federation.sites[org_id]
    changed = replace(site.ledger.members.organisations[org_id], invoices=invoices(org_id, code))
    world = World(members=site.ledger.members, height=site.replica.height + 1, time=federation.time)
    voters = [name for name in ROLES if name != org_id]
    content = organisation_content(changed, prove_vrf(genesis().ledger, org_id))
    leaf = sign(world.public(org_id, ("organisation", content), signers=voters)).leaf
    [outcome] = site.node.driver.submit([leaf])
    assert not isinstance(outcome, Refused), outcome
    for one in federation.sites.values():
        one.node.submitter.wait_final(organisation_key(org_id), 2, 60)


@contextmanager
def running_hospitals(folder: Path) -> Iterator[Hospitals]:
    """Run the nodes of a federation whose hospitals issue invoices."""
    federation = Federation(folder)
    federation.start()
    try:
        for org_id, code in ((RENHE, CODE), (TONGJI, TONGJI_CODE)):
            issue_invoices(federation, org_id, code)
        yield Hospitals(federation)
    finally:
        federation.stop()
