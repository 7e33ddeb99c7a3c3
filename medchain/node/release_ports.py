"""What a custodian needs for a release from other parts of the node and from the floors above: its ports.

Keeps true: each is small and named for what it gives; the decision is made above this floor and passed in by the roof.
Longer than most files: who fills or uses one of a custodian's ports finds all of them in one place.
Source: `docs/spec/release.md`, `docs/spec/claim-disclosure.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Protocol

from medchain.crypto.es384 import Es384Signer
from medchain.encoding import Json
from medchain.errors import ConflictError, InputError
from medchain.ledger.citation import Citation
from medchain.ledger.emergency_request import EmergencyRequest
from medchain.ledger.evidence.disclosure import Row
from medchain.ledger.evidence.statements import Fact
from medchain.ledger.kind import BodySource
from medchain.ledger.kinds.content import Period
from medchain.ledger.members import Organisation
from medchain.ledger.object import Body, StateRecord, map_key
from medchain.ledger.request import ReleaseRequest
from medchain.ledger.transaction import Ref
from medchain.node.clock import Clock
from medchain.node.pending import AccessEntry
from medchain.node.records import RecordService
from medchain.node.submit import FINAL_TIMEOUT_S, Draft, Submitter
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore, RecordVersion


class AccessLedger(Protocol):
    """Brings access entries to the ledger."""

    def place(self, entry: AccessEntry, keep: Callable[[], None] = lambda: None) -> None:
        """Give the body to its parties, sign, order, and wait until it is final; for one ordered before, only wait.

        Args:
            entry: the access entry.
            keep: returns when what else belongs to it is durable; it is not ordered before that.

        Raises:
            ConflictError: the machine refused it for good; the code says why.
            UnavailableError: not final yet; it may become so.
        """
        ...


class SubmittedAccess:
    """Fills `AccessLedger` by the node's submitter."""

    __slots__ = ("_ledger", "_org_id", "_submitter", "_timeout_s")

    def __init__(
        self, org_id: str, ledger: LedgerStore, submitter: Submitter, timeout_s: float = FINAL_TIMEOUT_S
    ) -> None:
        """Prepare.

        Args:
            org_id: this organisation.
            ledger: the ledger file.
            submitter: the node's submitter.
            timeout_s: how long to wait for an entry to be final.
        """
        self._org_id = org_id
        self._ledger = ledger
        self._submitter = submitter
        self._timeout_s = timeout_s

    def place(self, entry: AccessEntry, keep: Callable[[], None] = lambda: None) -> None:
        """Submit an entry, or only wait for one that is ordered already; arguments as in `AccessLedger.place`.

        Raises:
            ConflictError: ``release.version`` if the ledger holds another entry at that version, or grant or consent
                have moved on; others of `Submitter.submit`.
            UnavailableError: as `Submitter.submit`.
        """
        key = map_key("access", self._org_id, entry.object_id)
        head = self._ledger.record(key)
        if head is None or head.version < entry.version:
            # An earlier attempt may be ordered between this look and the next: then this one must not be the one after.
            draft = Draft("access", entry.object_id, entry.body, version=entry.version, refs=entry.refs)
            record = self._submitter.submit(draft, timeout_s=self._timeout_s, keep=keep).record
        else:
            keep()
            record, _ = self._submitter.wait_final(key, entry.version, self._timeout_s)
        if (record.version, record.refs, record.body_hash) != (entry.version, entry.refs, entry.body.body_hash):
            raise ConflictError("release.version", version=record.version)


@dataclass(frozen=True, slots=True)
class Question:
    """What the decision is asked.

    Attributes:
        custodian: org_id of this node.
        recipient: org_id of who asks.
        purpose: purpose-of-use code.
        time: Unix seconds.
        resource_types: FHIR types asked for, or ``("*",)``.
        claim: digest of the insurer's claim for which records are disclosed in part; None for a release of records.
    """

    custodian: str
    recipient: str
    purpose: str
    time: int
    resource_types: tuple[str, ...]
    claim: bytes | None = None


@dataclass(frozen=True, slots=True)
class ConsentInForce:
    """A consent as the decision sees it.

    Attributes:
        key: map key, 32 bytes.
        version: of its head.
        content: of its body, compared with the ledger.
    """

    key: bytes
    version: int
    content: Mapping[str, Json]


class Ruling(Protocol):
    """What the decision answers."""

    @property
    def denial(self) -> str | None:
        """Why nothing passes; None if something may."""
        ...

    @property
    def needs_content(self) -> bool:
        """Whether `passes` needs to know more of a record than its type."""
        ...

    def passes(
        self, resource_type: str, span: Period | None, content: bytes | None, meant: Collection[str] = ()
    ) -> bool:
        """Tell whether a record may be read.

        Args:
            resource_type: its FHIR type.
            span: when what it tells of happened, Unix seconds; None where nobody can tell.
            content: FHIR JSON; None where it was not opened, or is none.
            meant: as `medchain.node.telling.Told.meant`.
        """
        ...


class ConsentRuling(Ruling, Protocol):
    """What the decision answers of consents: more is asked of it where records are disclosed in part for a claim."""

    def counts(
        self, resource_type: str, span: Period | None, content: bytes | None, meant: Collection[str] = ()
    ) -> bool:
        """Tell whether a record may be counted where a claim's statements are derived; arguments as of `passes`."""
        ...

    def receipt(self) -> dict[str, Json] | None:
        """Write which consent was decided by, and a hash by which the decision can be repeated; None without one."""
        ...


class Emergencies(Protocol):
    """What an emergency of another organisation opens here; its meaning lies higher, the roof passes it in."""

    def patients(self, identifier: str) -> Sequence[str]:
        """Find whom an identifier names.

        Args:
            identifier: ``system|value`` or a value alone.

        Returns:
            Ids of the patients who have it, more than one where it does not name one alone.
        """
        ...

    def rule(self, recipient: str, patient: str, inside: Sequence[ConsentInForce]) -> Ruling:
        """Decide what a clinician of another organisation may be given.

        Args:
            recipient: org_id of who asks.
            patient: keyed token.
            inside: the patient's consents in force about the custodian alone, by which records may be hidden.

        Raises:
            UnavailableError: the records file cannot be read; nothing may leave then.
            VerificationError: a consent is damaged, which could deny; as above.
        """
        ...


class ReleaseDecision(Protocol):
    """The decision on requests; its meaning lives on the consent floor, the roof passes it in."""

    def rule(
        self, question: Question, given: Sequence[ConsentInForce], inside: Sequence[ConsentInForce] = ()
    ) -> ConsentRuling:
        """Decide.

        Args:
            question: who asks for what.
            given: consents in force under which it is asked; one must permit.
            inside: the patient's consents in force about the custodian alone, by which records may be hidden.
        """
        ...


@dataclass(frozen=True, slots=True)
class Selected:
    """What a search finds.

    Attributes:
        ids: the only records that may be found, where the search names them: no others are opened; None for any.
        finds: tells of a record's FHIR JSON whether it is found.
    """

    ids: frozenset[str] | None
    finds: Callable[[bytes], bool]


class Selection(Protocol):
    """What a search of a request means; the search's meaning lives on the FHIR floor, the roof passes it in."""

    def of(self, resource_type: str, query: str) -> Selected:
        """Understand a search.

        Args:
            resource_type: FHIR type that is searched.
            query: percent-encoded parameters.

        Returns:
            What it finds.

        Raises:
            InputError: ``search.*``, ``release.query`` for one that means nothing, or more than one record tells.
        """
        ...


class NoSelection:
    """Understands no search: for parts that are asked for whole types."""

    def of(self, resource_type: str, query: str) -> Selected:
        """Refuse; raises `InputError` ``release.query``."""
        raise InputError("release.query", type=resource_type, size=len(query))


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Records that go from one organisation to another, as the audit of either is told of it.

    Attributes:
        request: what was asked for, by whom.
        access: the ledger's entry of it: an access, or an emergency.
        refs: grant and consent that it rests on; none in an emergency.
        peer: the other organisation.
    """

    request: ReleaseRequest | EmergencyRequest
    access: Ref
    refs: tuple[Ref, ...]
    peer: Organisation


@dataclass(frozen=True, slots=True)
class Refused:
    """What was refused.

    Attributes:
        document: as it came.
        peer: org_id of who asked.
        patient: keyed token of the patient whom it was about; empty where that cannot be told.
        reason: stable code.
        purpose: that was asked for, a purpose-of-use code; empty where nothing that holds could be read.
        types: FHIR types that were asked for, or ``*`` alone; empty likewise.
    """

    document: bytes
    peer: str
    patient: str
    reason: str
    purpose: str = ""
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CitedRecord:
    """A record that a claim cites and that may be disclosed in part.

    Attributes:
        reference: ``Type/id``.
        shown: the version of which fields are opened, as it is stored.
        states: what the ledger says of each version, from 1 to the newest final one.
        versions: each as it is stored, None for one that cannot be opened any more.
    """

    reference: str
    shown: RecordVersion
    states: tuple[StateRecord, ...]
    versions: tuple[RecordVersion | None, ...]


@dataclass(frozen=True, slots=True)
class ClaimCase:
    """For what a hospital tells of records in part.

    Attributes:
        citation: what the claim cites and asks.
        patient: keyed token of the patient.
        records: what is disclosed, by reference.
        time: of the request, Unix seconds.
        counts: tells whether a record, by its newest version, may be counted in statements about it.
    """

    citation: Citation
    patient: str
    records: Sequence[CitedRecord]
    time: int
    counts: Callable[[RecordVersion], bool]


@dataclass(frozen=True, slots=True)
class ClaimSaid:
    """What a hospital tells of records.

    Attributes:
        rows: of each record, in the order of the case.
        facts: derived statements, sorted.
        openings: ``opening.json`` of each record, None for one whose fields are not committed to one by one.
    """

    rows: tuple[Row, ...]
    facts: tuple[Fact, ...]
    openings: tuple[bytes | None, ...]


class ClaimFacts(Protocol):
    """Tells of records what a claim needs, and no more; their meaning lies on the FHIR floor, the roof passes it in."""

    def tell(self, case: ClaimCase) -> ClaimSaid:
        """Tell.

        Args:
            case: what is asked, and what may be told of.

        Returns:
            What is said.

        Raises:
            NotFoundError: ``record.erased`` for a record whose key was destroyed meanwhile.
            VerificationError: a record is damaged.
            UnavailableError: the index of records is not ready.
        """
        ...


@dataclass(frozen=True, slots=True)
class ClaimSide:
    """What a custodian discloses with for a claim.

    Attributes:
        facts: tells of records.
        signer: signs what is disclosed, with this organisation's authentication key.
    """

    facts: ClaimFacts
    signer: Es384Signer


class Patients(Protocol):
    """Who a subject of the ledger is in this node's records."""

    def token(self, subject: bytes) -> str | None:
        """Return the keyed token of a subject's patient, None if the subject is not known here.

        Args:
            subject: map key of the subject object, 32 bytes.
        """
        ...


class HeldBodies(BodySource, Protocol):
    """Bodies that this organisation holds; `medchain.node.bodies.BodyShelf`."""

    def terms(self, key: bytes) -> Body | None:
        """Return the body by which an object was last in force, None if it is not here."""
        ...


@dataclass(frozen=True, slots=True)
class CustodianParts:
    """What a custodian is made from.

    Attributes:
        org_id: this organisation.
        ledger_id: 32 bytes.
        ledger: the ledger file.
        records: the records file.
        service: opens records and their data keys.
        bodies: bodies that this organisation holds.
        access: brings access entries to the ledger.
        decision: decides.
        patients: finds patients.
        inside: lists a patient's (keyed token) consents in force about this organisation alone.
        is_stopped: whether a stop of an object (map key) was heard, ordered or not.
        relies: checks a grant and its consent as a party; `medchain.node.relying.Reliance.check`.
        released: has the audit keep a release, and the numbers of its record versions in the records file; raises
            `UnavailableError` where that cannot be done, and no byte may leave then.
        refused: has the audit keep a refusal; raises likewise.
        clock: gives Unix seconds.
        random: gives as many unpredictable bytes as it is asked for.
        zone: of dates in records that name none.
        selection: understands searches.
        emergencies: what emergencies of other organisations open; None where this one answers none.
        claims: discloses parts of records for claims; None where this organisation discloses none.
    """

    org_id: str
    ledger_id: bytes
    ledger: LedgerStore
    records: RecordStore
    service: RecordService
    bodies: HeldBodies
    access: AccessLedger
    decision: ReleaseDecision
    patients: Patients
    inside: Callable[[str], Sequence[ConsentInForce]]
    is_stopped: Callable[[bytes], bool]
    relies: Callable[[Ref], None]
    released: Callable[[Disclosure, Sequence[int]], None]
    refused: Callable[[Refused], None]
    clock: Clock
    random: Callable[[int], bytes]
    zone: tzinfo = UTC
    selection: Selection = field(default_factory=NoSelection)
    emergencies: Emergencies | None = None
    claims: ClaimSide | None = None
