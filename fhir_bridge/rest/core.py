"""What the REST server works on: records, keys, tokens, gate and audit of one node, put together once.

Source: `docs/architecture.md`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from consent.labels import CARRIED, LabelSet
from fhir_bridge.bulk.deletions import Deletions
from fhir_bridge.bulk.finding import Exports
from fhir_bridge.enforcement import Enforcement
from fhir_bridge.gate import Gate
from fhir_bridge.labelling import Labeller
from fhir_bridge.references import MAX_CONDITIONS, Resolver, identifier_key
from fhir_bridge.rest.ask import Ask
from fhir_bridge.rest.kept import Kept
from fhir_bridge.search.judge import Judge
from fhir_bridge.search.service import SearchService
from fhir_bridge.search.tree import Condition
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.server import TokenServer
from fhir_bridge.validation.check import Mode
from medchain.claims.cases import CaseClient, NoDaemon
from medchain.crypto.keywrap import WrappingKey
from medchain.errors import ConflictError
from medchain.node.clock import Clock
from medchain.node.exchange_client import NoOthers, Others
from medchain.node.jobs import JobPool
from medchain.node.proofs import Traced
from medchain.node.records import RecordService
from medchain.store.records import RecordStore, RecordVersion
from medchain.store.versions import Found, VersionReader

AUDIT_EVENT: Final = "AuditEvent"
"""Type of what the audit makes of what happened, by and by."""

WAITING: Final = 8
"""Most threads of a process that wait for anchors: half of them, unless it is told otherwise."""


class Auditor(Protocol):
    """Keeps who did what, before an answer leaves."""

    def begin(self, ask: Ask) -> None:
        """Keep that something is about to be changed; raises `UnavailableError`, and nothing may be changed then."""
        ...

    def note(self, ask: Ask, status: int) -> None:
        """Keep one request; raises `UnavailableError` where that cannot be done, and nothing may be answered then."""
        ...

    def close(self) -> None:
        """End: nothing is answered any more."""
        ...


class Tracer(Protocol):
    """Tells where record versions stand on the ledger; `medchain.node.proofs.RecordTracer`."""

    @property
    def org_id(self) -> str:
        """This node's organisation."""
        ...

    @property
    def ledger(self) -> bytes:
        """Ledger id, 32 bytes."""
        ...

    def trace(self, stored: RecordVersion) -> Traced:
        """Tell where a version stands, and prove it; raises `ConflictError` ``trace.not_final``."""
        ...


@dataclass(frozen=True, slots=True)
class NoLedger:
    """Traces nothing: for parts whose caller asks for no Provenance."""

    org_id: str = ""
    ledger: bytes = bytes(32)

    def trace(self, stored: RecordVersion) -> Traced:
        """Find nothing final."""
        raise ConflictError("trace.not_final", version=stored.version)


class NoAudit:
    """Keeps nothing: for parts whose caller keeps it, such as the entries of a batch."""

    def begin(self, ask: Ask) -> None:
        """Do nothing."""

    def note(self, ask: Ask, status: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def _nothing() -> None:
    """Do nothing: where no audit is kept, none is behind."""


@dataclass(frozen=True, slots=True)
class Core:
    """What the API works on.

    Attributes:
        service: stores and opens records.
        search: finds them.
        store: the same records, sealed.
        records_key: the node's records key.
        tokens: checks access tokens.
        base_url: address of the API as clients are told, without a slash at its end.
        token_url: where clients get tokens.
        clock: gives Unix seconds.
        final_size: tells how many leaves of the log are final.
        majority_years: tells from which age on nobody is a minor.
        prove: exports the proof bundle of a record version, file name → content.
        tracer: tells where a record version stands on the ledger.
        mode: how strictly resources are validated.
        jobs: worker processes for large transactions; None does them in the caller's thread.
        audit: keeps who did what.
        catch_up: places the AuditEvents of all that happened until now, or raises `UnavailableError`.
        waiting: how many threads may wait for anchors, or for other organisations: those that come later do not wait,
            and say what is so far.
        label_sets: code sets by which labels are set.
        others: asks other organisations for records.
        cases: asks the daemon for the claims that an insurer looks into.
        judge: tells what conditions say of a resource that is not in the index.
        enforcement: tells what consents keep back.
        gate: says what may be shown.
        reader: reads versions with their keys.
        exports: begins bulk exports and finds what they consist of.
        kept: what was opened a moment ago.
        labeller: sets the labels of what is stored.
        identifier_key: under which ids are made of identifiers.
    """

    service: RecordService
    search: SearchService
    store: RecordStore
    records_key: bytes
    tokens: TokenServer
    base_url: str
    token_url: str
    clock: Clock
    final_size: Callable[[], int]
    majority_years: Callable[[], int]
    prove: Callable[[RecordVersion], Mapping[str, bytes]]
    tracer: Tracer = field(default_factory=NoLedger)
    mode: Mode = Mode.STRICT
    jobs: JobPool | None = None
    audit: Auditor = field(default_factory=NoAudit)
    catch_up: Callable[[], None] = _nothing
    waiting: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(WAITING))
    label_sets: Sequence[LabelSet] = (CARRIED,)
    others: Others = field(default_factory=NoOthers)
    cases: CaseClient = field(default_factory=lambda: CaseClient(NoDaemon()))
    judge: Judge = field(init=False)
    enforcement: Enforcement = field(init=False)
    gate: Gate = field(init=False)
    reader: VersionReader = field(init=False)
    exports: Exports = field(init=False)
    kept: Kept = field(init=False, default_factory=Kept)
    labeller: Labeller = field(init=False)
    identifier_key: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Compile what is asked all the time."""
        object.__setattr__(self, "judge", self.search.judge)
        enforcement = Enforcement(self.tracer.org_id, self.search, self.store, self.service, self.clock)
        object.__setattr__(self, "enforcement", enforcement)
        object.__setattr__(self, "gate", Gate(self.search, self.service, self.judge, enforcement))
        object.__setattr__(self, "reader", VersionReader(self.store))
        deletions = Deletions(self.reader, self.service, self.judge)
        object.__setattr__(self, "exports", Exports(self.store, self.search, deletions, self.records_key))
        object.__setattr__(self, "identifier_key", identifier_key(self.records_key))
        object.__setattr__(self, "labeller", Labeller(self.label_sets, self.service, self.store, self.majority_years))

    def close(self) -> None:
        """End what goes on beside the answers, once there are no more."""
        self.audit.close()
        self.kept.close()

    def resolver(self, access: Access) -> Resolver:
        """Look things up for a caller: only where it may see them, or it could ask who is a patient here."""

        def may_match(type_name: str) -> bool:
            return self.gate.may_match(access, type_name)

        def within() -> tuple[Condition, ...]:
            return self.gate.within(access)

        self.gate.keep_up()
        return Resolver(self.search, self.store, self.identifier_key, may_match, within, MAX_CONDITIONS)

    def place_events(self, access: Access) -> None:
        """See that no AuditEvent of what happened until now is missing from an answer that may have some.

        Args:
            access: who asks; for one that may see none, nothing is done.

        Raises:
            UnavailableError: ``audit.behind``, where that takes longer than an answer may.
        """
        if self.gate.may_match(access, AUDIT_EVENT):
            self.catch_up()

    def content(self, found: Found, known: dict[bytes, WrappingKey] | None = None) -> bytes:
        """Open a version that was read with its key, unless it was a moment ago.

        Args:
            found: as for `RecordService.open_found`, whose errors this raises.
            known: as there.

        Returns:
            Its content; empty for a deletion.
        """
        content = self.kept.find(found)
        if content is None:
            content = self.service.open_found(found, known).content
            self.kept.keep(found, content)
        return content

    def anchored(self, position: int | None) -> str:
        """Say how far what stands at a leaf is anchored."""
        if position is None:
            return "pending"
        return f"{'final' if position < self.final_size() else 'pending'}; position={position}"
