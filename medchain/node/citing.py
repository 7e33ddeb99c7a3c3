"""The hospital's side of a disclosure for a claim: which cited records may be shown in part, and what is said of them.

Keeps true: what is told of is the patient's whose consent it is, passes the decision that a whole release is asked,
and is final and active on the ledger; a record that is not there, is another patient's, or may not be told of leaves no
trace, and all three look alike. What is said is signed and sealed to who asked, for one request and access entry.
Trusts the decision, and the port that knows what a claim needs of a record.
Source: `docs/spec/claim-disclosure.md` 3 to 6.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from medchain.crypto.sealing import seal_disclosure
from medchain.errors import AccessDeniedError, InputError
from medchain.ledger.citation import Citation
from medchain.ledger.evidence.disclosure import MAX_DISCLOSURE_BYTES as MAX_SIGNED_BYTES
from medchain.ledger.evidence.disclosure import Disclosure, sign_disclosure
from medchain.ledger.kinds.content import ANY_TYPE, Period
from medchain.ledger.members import Key
from medchain.ledger.object import ACTIVE, StateRecord
from medchain.ledger.request import ReleaseRequest
from medchain.node.disclosed import Disclosed, RecordOpening
from medchain.node.release import MAX_DISCLOSURE_BYTES
from medchain.node.release_ports import CitedRecord, ClaimCase, ClaimSide, ConsentRuling, CustodianParts
from medchain.node.standing import TOO_LARGE, Chosen, Holdings, Standing, may_leave
from medchain.store.records import RecordVersion

_NOT_HERE: Final = "release.claim"
# For what is before it in the answer, and for sealing.
_MARGIN_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Sealed:
    """What is to be handed out for a claim.

    Attributes:
        document: sealed to who asked.
        records: which version of which record is shown in part, in the order of the disclosure.
    """

    document: bytes
    records: list[Chosen]


@dataclass(frozen=True, slots=True)
class _Counting:
    """A decision as what may be counted (`medchain.node.release_ports.Ruling`)."""

    ruling: ConsentRuling

    @property
    def denial(self) -> str | None:
        """Why nothing passes; None if something may."""
        return self.ruling.denial

    @property
    def needs_content(self) -> bool:
        """Whether more matters of a record than its type."""
        return self.ruling.needs_content

    def passes(
        self, resource_type: str, span: Period | None, content: bytes | None, meant: Collection[str] = ()
    ) -> bool:
        """Tell whether a record may be counted."""
        return self.ruling.counts(resource_type, span, content, meant)


@dataclass(frozen=True, slots=True)
class Citing:
    """Makes disclosures. Threads may share it.

    Attributes:
        parts: of the custodian.
        holdings: its records and permissions.
    """

    parts: CustodianParts
    holdings: Holdings

    def sealed(
        self,
        request: ReleaseRequest,
        citation: Citation,
        standing: Standing,
        patient: str,
        to: tuple[bytes, Key],
    ) -> Sealed:
        """Disclose what a claim cites, sealed to who asks.

        Args:
            request: verified; the citation is the one that it names.
            citation: what is cited and asked.
            standing: grant and consent in force.
            patient: keyed token of the patient whose consent it is.
            to: id of the ledger's entry of it, 32 bytes, and the key of who asks.

        Returns:
            What is to be handed out.

        Raises:
            AccessDeniedError: the decision's reason, ``release.types``, ``.period``, ``.no_record`` where nothing of
                what is cited may be told of, ``.claim`` where this organisation discloses nothing for claims.
            InputError: `TOO_LARGE` for what nobody could read.
            MedchainError: as `medchain.node.release_ports.ClaimFacts.tell`.
        """
        side, claim = self.parts.claims, request.claim
        if side is None or claim is None:
            raise AccessDeniedError(_NOT_HERE)
        types, ruling = self.holdings.ruled(request, standing, patient)
        if ruling.denial is not None:
            raise AccessDeniedError(ruling.denial)
        records = self._permitted(citation, types, patient, ruling)
        if not records:
            raise AccessDeniedError("release.no_record")
        case = ClaimCase(citation, patient, records, self.parts.clock(), self._counting(ruling))
        disclosed = self._disclosed(request, side, case, ruling)
        entry_id, key = to
        document = seal_disclosure(key.public, request.hash, entry_id, key.id, disclosed.encode())
        return Sealed(document, [Chosen(one.shown, one.states[one.shown.version - 1]) for one in records])

    def _disclosed(self, request: ReleaseRequest, side: ClaimSide, case: ClaimCase, ruling: ConsentRuling) -> Disclosed:
        """Say what is said of records, and sign it."""
        said = side.facts.tell(case)
        disclosure = Disclosure(
            claim=b"" if request.claim is None else request.claim.digest,
            decision=ruling.receipt(),
            facts=said.facts,
            grant=request.grant,
            hospital=self.parts.org_id,
            insurer=request.recipient,
            ledger=self.parts.ledger_id,
            records=said.rows,
            request=request.hash,
            time=case.time,
        )
        openings = tuple(
            RecordOpening(record.shown.object_id, record.shown.version, opening)
            for record, opening in zip(case.records, said.openings, strict=True)
        )
        disclosed = Disclosed(sign_disclosure(side.signer, disclosure), openings)
        if (
            len(disclosed.signed.encode()) > MAX_SIGNED_BYTES
            or len(disclosed.encode()) > MAX_DISCLOSURE_BYTES - _MARGIN_BYTES
        ):
            # Nobody could read it: better no entry than one of what was never told.
            raise InputError(TOO_LARGE, records=len(openings))
        return disclosed

    def _permitted(
        self, citation: Citation, types: Sequence[str], patient: str, ruling: ConsentRuling
    ) -> list[CitedRecord]:
        """List what is cited and may be told of, by reference."""
        final, alive = self.holdings.final_size(), dict[bytes, bool]()
        passes = self.holdings.sieve(ruling).passes
        found: list[CitedRecord] = []
        for reference in citation.cited:
            type_name, _, record_id = reference.partition("/")
            if types != (ANY_TYPE,) and type_name not in types:
                continue
            newest = self.parts.records.get(type_name, record_id)
            if newest is None or newest.patient != patient or newest.segment is not None or not may_leave(newest):
                continue
            current = self.holdings.anchored(newest, final) if self.holdings.is_alive(newest.epoch_id, alive) else None
            if current is None or not passes(current.stored):
                continue
            record = self._cited(
                reference,
                current,
                citation.created,
                lambda row: self.holdings.is_alive(row.epoch_id, alive) and passes(row),
            )
            if record is not None:
                found.append(record)
        return found

    def _cited(
        self, reference: str, current: Chosen, created: int, may_be_told: Callable[[RecordVersion], bool]
    ) -> CitedRecord | None:
        """Tell the versions of a record, and which of them was there when a claim was made.

        An earlier version may say what a rule keeps back although the newest does not: of that nothing is told but that
        it was, and where it is the one that would be shown, the record is left out (None).
        """
        states = self._states(current.anchor)
        named = [(current.stored.object_id, state.version) for state in states]
        rows = [current.stored] if len(states) == 1 else self.parts.records.by_objects(named)
        passed = current.stored.version
        versions = tuple(
            row if row is not None and (row.version == passed or may_be_told(row)) else None for row in rows
        )
        at = self._made_by(states, created)
        shown = versions[at.version - 1]
        if shown is None or shown.commitment != at.body_hash:
            return None
        return CitedRecord(
            reference, shown if at.version != current.stored.version else current.stored, states, versions
        )

    def _states(self, head: StateRecord) -> tuple[StateRecord, ...]:
        """List what the ledger says of each version up to a head."""
        if head.version == 1:
            return (head,)
        history = sorted(self.parts.ledger.history(head.key), key=lambda state: state.version)
        return tuple(history[: head.version])

    def _made_by(self, states: Sequence[StateRecord], created: int) -> StateRecord:
        """Choose the version that was the newest when a claim was made: of those that may be shown, else the first."""
        active = [state for state in states if state.status == ACTIVE]
        if len(active) == 1:
            return active[0]
        before = [state for state in active if self.parts.ledger.block_at(state.since).time <= created]
        return before[-1] if before else active[0]

    def _counting(self, ruling: ConsentRuling) -> Callable[[RecordVersion], bool]:
        """Make what tells whether a record, by its newest version, may be counted."""
        final, sieve = self.holdings.final_size(), self.holdings.sieve(_Counting(ruling))
        alive = dict[bytes, bool]()

        def counts(newest: RecordVersion) -> bool:
            if not may_leave(newest) or not self.holdings.is_alive(newest.epoch_id, alive):
                return False
            current = self.holdings.anchored(newest, final)
            return current is not None and sieve.passes(current.stored)

        return counts
