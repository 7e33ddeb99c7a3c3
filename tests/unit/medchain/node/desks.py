"""Whole nodes with their exchange sides, desks of asks and books of concerns, and a way to call their operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from consent.release import ReleaseRules
from fhir_bridge.claim_case import NodeRecords
from fhir_bridge.claim_facts import FhirClaimFacts
from fhir_bridge.emergency_rules import EmergencyRules
from fhir_bridge.enforcement import Enforcement
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.judge import Judge
from fhir_bridge.search.service import SearchService
from fhir_bridge.selecting import SearchSelection
from medchain.crypto.assertion import encode_credential_key
from medchain.crypto.authenticator import SoftwareAuthenticator
from medchain.crypto.es384 import Es384Signer
from medchain.encoding import Json, base64_text, canonical, parse_canonical, unhex
from medchain.errors import NotFoundError
from medchain.ledger.genesis import trusted_policy_text
from medchain.node.asking import AskDesk, AskParts
from medchain.node.attests import AttestDesk
from medchain.node.concerns import ConcernBook, ConcernParts
from medchain.node.exchange_node import ExchangeNode, ExchangeSurroundings
from medchain.node.proofs import TRUSTED_POLICY
from medchain.node.releasing import Disclosures, NoDisclosures, Releasing
from tests.unit.medchain.ledger.world import fresh, genesis, seed
from tests.unit.medchain.node.federation import ANXIN, DAY_S, NOW, ORIGIN, RENHE, Federation, Site, keys_of

MAX = 64 << 20


@dataclass
class Ways:
    """The ways to other nodes' custodians and patients."""

    desks: Desks
    sender: str

    def release(self, org_id: str, document: bytes) -> bytes:
        self.desks.federation.reach(self.sender, org_id)
        return self.desks.nodes[org_id].custodian.release(document, self.sender)

    def grants(self, org_id: str, document: bytes) -> bytes:
        self.desks.federation.reach(self.sender, org_id)
        return canonical(self.desks.nodes[org_id].grants(document, self.sender))

    def emergency(self, org_id: str, document: bytes) -> bytes:
        self.desks.federation.reach(self.sender, org_id)
        self.desks.asked.append(document)
        return self.desks.on_answer(self.desks.nodes[org_id].emergency(document, self.sender))

    def ask(self, org_id: str, document: bytes) -> None:
        self.desks.federation.reach(self.sender, org_id)
        self.desks.asking[org_id].receive(document, self.sender)

    def attest(self, org_id: str, document: bytes) -> bytes:
        self.desks.federation.reach(self.sender, org_id)
        return canonical(self.desks.attests[org_id].receive(document, self.sender))

    def report(self, org_id: str, document: bytes) -> None:
        self.desks.federation.reach(self.sender, org_id)
        self.desks.concerns[org_id].receive(document, self.sender)


@dataclass
class Local:
    """Calls a node's operations as its own workers do, over the same bytes."""

    operations: dict[str, Callable[[Json], Json]]
    called: list[str] = field(default_factory=list)

    def call(self, operation: str, document: Json, _limits: object = None) -> Json:
        self.called.append(operation)
        if operation not in self.operations:
            raise NotFoundError("local.operation")
        answer = self.operations[operation](parse_canonical(canonical(document), max_bytes=MAX))
        return parse_canonical(canonical(answer), max_bytes=MAX)


@dataclass
class Desks:
    """The nodes of a federation."""

    federation: Federation
    nodes: dict[str, ExchangeNode] = field(default_factory=dict)
    asking: dict[str, AskDesk] = field(default_factory=dict)
    concerns: dict[str, ConcernBook] = field(default_factory=dict)
    attests: dict[str, AttestDesk] = field(default_factory=dict)
    disclosing: Callable[[str], Disclosures] = lambda _org_id: NoDisclosures()
    asked: list[bytes] = field(default_factory=list)
    on_answer: Callable[[bytes], bytes] = lambda data: data

    def __post_init__(self) -> None:
        """Put the nodes together."""
        for org_id in self.federation.sites:
            self.put_together(org_id)

    def put_together(self, org_id: str) -> None:
        """Put a node together, also after a crash."""
        site, way, clock = self.federation.sites[org_id], Ways(self, org_id), self.federation.clock
        authentication = Es384Signer(seed(org_id, "authentication", 1))
        releasing = replace(selecting(site, clock), disclosures=self.disclosing(org_id))
        around = ExchangeSurroundings(site.node, site.records, site.service, authentication, releasing, way, clock)
        self.nodes[org_id] = ExchangeNode(keys_of(org_id), around)
        ledger = genesis().ledger
        self.asking[org_id] = AskDesk(
            AskParts(
                org_id, ledger, site.records, site.service, way, clock, fresh, self.nodes[org_id].notices.tell_patient
            )
        )
        self.attests[org_id] = AttestDesk(org_id, site.node, authentication, way, clock, fresh)
        kept = site.records, site.service, self.nodes[org_id].notices
        self.concerns[org_id] = ConcernBook(ConcernParts(org_id, site.node.replica, *kept, way, clock, fresh))

    def local(self, org_id: str = RENHE) -> Local:
        """Return the way to a node's operations."""
        side = self.federation.sites[org_id].node.operations()
        text = trusted_policy_text(genesis().members, genesis().origin)
        trusted = {TRUSTED_POLICY: lambda _document: {"policy": text}}
        own = self.nodes[org_id].operations() | self.asking[org_id].operations() | self.concerns[org_id].operations()
        return Local({**trusted, **side, **own, **self.attests[org_id].operations()})

    def enrol(self, phone: SoftwareAuthenticator, patient: str) -> str:
        """Enrol a patient at Renhe, known to all; returns the subject's map key."""
        credential = {
            "credential_id": base64_text(phone.credential_id),
            "public_key": base64_text(encode_credential_key(phone.credential)),
        }
        asked = {"credentials": [credential], "custodians": [], "method": "identity-card", "patient": patient}
        key = str(self.local().call("subject.enrol", asked)["key"])
        for site in self.federation.sites.values():
            site.node.submitter.wait_final(unhex(key, 32), 1, 60)
        return key

    def everywhere(self, key: str, version: int) -> None:
        """Wait until all nodes have a version."""
        for site in self.federation.sites.values():
            site.node.submitter.wait_final(unhex(key, 32), version, 60)

    def consent(self, phone: SoftwareAuthenticator, subject: str, **changes: Json) -> str:
        """Have a patient permit the insurer to read; returns the consent's map key."""
        draft = self.local().call("consent.draft", terms(subject) | changes)
        return str(self.local().call("consent.give", signed(phone, draft))["key"])

    def withdraw(self, phone: SoftwareAuthenticator, consent: str) -> None:
        """Have a patient withdraw."""
        draft = self.local().call("withdrawal.draft", {"consent": consent})
        self.local().call("withdrawal.give", signed(phone, draft))

    def settle(self, consent: str, version: int) -> None:
        """Wait until a version is final at Renhe."""
        site = self.federation.sites[RENHE]
        site.node.driver.outbox.step()
        site.node.submitter.wait_final(unhex(consent, 32), version, 60)


def selecting(site: Site, clock: Callable[[], int]) -> Releasing:
    """Decide and select as a node's daemon does."""
    index = SearchIndex(site.records)
    searches = SearchService(site.records, index, seed(site.org_id, "records"), genesis().ledger, clock)
    selection = SearchSelection(searches, Judge(index, site.records.find_page, clock))
    enforcement = Enforcement(site.org_id, searches, site.records, site.service, clock)
    emergencies = EmergencyRules(searches, enforcement)
    facts = FhirClaimFacts(NodeRecords(searches, site.records, site.service))
    return Releasing(ReleaseRules(), selection, emergencies=emergencies, claim_facts=facts)


def terms(subject: str) -> dict[str, Json]:
    """What the patient permits."""
    return {
        "custodians": [RENHE],
        "fhir": {"resourceType": "Consent", "status": "active"},
        "period": {"end": NOW + 30 * DAY_S, "start": NOW - 10},
        "purpose": "HPAYMT",
        "recipient": ANXIN,
        "resource_types": ["Observation"],
        "subject": subject,
    }


def signed(phone: SoftwareAuthenticator, draft: Json) -> dict[str, Json]:
    """Answer a draft as the patient's browser does."""
    given = phone.sign(unhex(draft["challenge"], 32), ORIGIN)
    names = ("authenticator_data", "client_data_json", "credential_id", "signature")
    return {"assertion": {name: base64_text(getattr(given, name)) for name in names}, "draft": draft["draft"]}


def phone_of(name: str) -> SoftwareAuthenticator:
    """Return a patient's phone."""
    return SoftwareAuthenticator(seed(name), genesis().rp_id)


@contextmanager
def running_desks(folder: Path, disclosing: Callable[[Federation, str], Disclosures] | None = None) -> Iterator[Desks]:
    """Run the nodes of a federation; what goes from one to another is kept by what `disclosing` gives for each."""
    federation = Federation(folder)
    federation.start()
    try:
        yield Desks(
            federation, disclosing=(lambda org_id: disclosing(federation, org_id) if disclosing else NoDisclosures())
        )
    finally:
        federation.stop()
