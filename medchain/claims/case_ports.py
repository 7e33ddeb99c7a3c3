"""What cases are made from: claims among the records, the ways to patients and hospitals, and who gathers evidence.

Source: `docs/spec/claim-case.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from medchain.claims.case_content import CaseContent
from medchain.claims.claim_file import ClaimFile
from medchain.claims.wishes import Fulfilled, Wish
from medchain.encoding import Json
from medchain.ledger.claim_question import AskedRow
from medchain.ledger.evidence.document import InsurancePolicy
from medchain.ledger.members import Members
from medchain.node.clock import Clock
from medchain.store.cases import CaseRow
from medchain.store.records import RecordStore


@dataclass(frozen=True, slots=True)
class StoredClaim:
    """A claim among the records of this node.

    Attributes:
        content: its FHIR JSON.
        patient: keyed token of the patient whose record it is; empty for nobody's.
    """

    content: bytes
    patient: str


@dataclass(frozen=True, slots=True)
class Beside:
    """What is known of a claim beside what it says.

    Attributes:
        hospital: org_id of who provided the services; empty where it is not known.
        policy: what of the policy decides; None where it is not known.
        row: the invoice; None where it is not known.
        patients: references to who the patient is elsewhere, as they are written.
    """

    hospital: str = ""
    policy: InsurancePolicy | None = None
    row: AskedRow | None = None
    patients: tuple[str, ...] = ()


class ClaimShelf(Protocol):
    """Claims among the records of this node; the FHIR floor fills it."""

    def stored(self, reference: str) -> StoredClaim:
        """Return the newest version of a record ``Type/id``; raises `NotFoundError` ``record.unknown``."""
        ...

    def beside(self, claim: ClaimFile, *, is_stored: bool) -> Beside:
        """Find what a claim refers to: what it contains, and of one that is stored here also what lies beside it."""
        ...


@dataclass(frozen=True, slots=True)
class Gathered:
    """Evidence, and what follows from it.

    Attributes:
        kept: what others have answered, to judge again without asking them.
        verdict: canonical JSON.
        colour: of the verdict.
        bundle: the evidence as zip.
        einvoice: what a service for electronic invoices says, and when; None where none was asked.
    """

    kept: Json
    verdict: bytes
    colour: str
    bundle: bytes
    einvoice: Json = None


Tell = Callable[[str, int, int], None]
"""Is told how far the gathering is: at what, how many are done, of how many."""


class Gatherer(Protocol):
    """Gathers evidence; `medchain.claims.gathering.Gathering`."""

    def gather(self, claim: ClaimFile, content: CaseContent, tell: Tell, *, is_fresh: bool) -> Gathered:
        """Gather the evidence of a claim and judge it.

        Args:
            claim: read.
            content: what its case holds.
            tell: is told how far it is.
            is_fresh: whether everybody is asked anew, also those whose answers are kept.
        """
        ...

    def again(self, claim: ClaimFile, content: CaseContent) -> Gathered:
        """Judge what was answered before once more, by this node's ledger of now; asks nobody.

        Args:
            claim: read.
            content: what its case holds, with the answers.
        """
        ...


@dataclass(frozen=True, slots=True)
class CaseParts:
    """What the desk is made from.

    Attributes:
        org_id: this organisation.
        members: gives those of this moment.
        earlier: as of `medchain.claims.claim_file.read_claim`.
        records: keeps the cases.
        shelf: finds claims among the records.
        fulfil: has a hospital do something with an invoice; `medchain.claims.wishes.ClaimHand.fulfil`.
        ask: asks a patient; the local operation ``ask.send``.
        holds: tells whether the verdict that a case has still holds; `medchain.claims.case_judging.Judging.holds`.
        clock: gives Unix seconds.
        random: gives as many unpredictable bytes as it is asked for.
    """

    org_id: str
    members: Callable[[], Members]
    earlier: Callable[[], Mapping[str, str]]
    records: RecordStore
    shelf: ClaimShelf
    fulfil: Callable[[Wish], Fulfilled]
    ask: Callable[[Json], Json]
    holds: Callable[[CaseRow], bool]
    clock: Clock
    random: Callable[[int], bytes]
