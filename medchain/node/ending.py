"""How a consent, or a grant, came to an end: by the patient, by an organisation, by its time, or by what came after it.

One answer for everybody who shows it. Keeps true: "withdrawn by the patient" is said only where the stop names evidence
that is here, and the evidence holds under the passkeys that the patient had when the stop was ordered; what the staff
of who stopped it attest of the patient's wish is called that and no signature; every doubt leaves "stopped by ORG".
Trusts this node's ledger.
Source: `docs/spec/consent.md` 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from medchain.encoding import Json
from medchain.errors import MedchainError, VerificationError
from medchain.ledger.kind import Check, CheckContext
from medchain.ledger.kinds.consent import check_withdrawal
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.kinds.delegation import check_ending
from medchain.ledger.kinds.recovery import check_cancellation
from medchain.ledger.kinds.signing import has_assertion
from medchain.ledger.kinds.subject import check_joining
from medchain.ledger.object import ACTIVE, STOPPED, Body, StateRecord
from medchain.ledger.transaction import CREATOR, Change, ObjectRow, Stop, parse_envelope
from medchain.node.bodies import BodyShelf
from medchain.node.endorse import Judge

_SIGNED: Final[Mapping[str, Check]] = {
    "consent": check_withdrawal,
    "delegation": check_ending,
    "recovery": check_cancellation,
    "subject": check_joining,
}
"""Kind → what judges a body that the patient signed and that makes no version: of a stop, or for this node alone."""


class Ending(StrEnum):
    """How an object came to an end."""

    NOT_ENDED = "not_ended"
    """It is in force."""
    PATIENT = "patient"
    """Withdrawn by the patient, with a signature that holds."""
    ATTESTED = "attested"
    """Stopped by an organisation, two of whose staff attest that the patient wishes it."""
    ORGANISATION = "organisation"
    """Stopped by an organisation that knew how; no signature of the patient is here that holds."""
    EXPIRED = "expired"
    """Its last day is over."""
    SUPERSEDED = "superseded"
    """Its owner ended it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer.

    Attributes:
        how: it ended.
        by: org_id of who brought the stop, or of the owner; empty where nobody did.
        version: of the object.
        position: leaf index of the entry, None where none says it: a stop that was heard and is not ordered yet.
    """

    how: Ending
    by: str
    version: int
    position: int | None

    def to_json(self) -> Json:
        """Write it for the node's own workers."""
        return {"by": self.by, "how": self.how.value, "position": self.position, "version": self.version}


class PastBodies:
    """Bodies of the heads of objects as they were after a leaf (`medchain.ledger.kind.BodySource`)."""

    __slots__ = ("_judge", "_position")

    def __init__(self, judge: Judge, position: int) -> None:
        """Look back to a leaf."""
        self._judge = judge
        self._position = position

    def head(self, key: bytes) -> tuple[StateRecord, Body] | None:
        """Return an object's head of that time and what is here of its body, or None."""
        record = self._judge.replica.store.record_at(key, self._position)
        body = None if record is None else body_of(self._judge.shelf, record)
        return None if record is None or body is None else (record, body)

    def state(self, key: bytes) -> StateRecord | None:
        """Return an object's head of that time."""
        return self._judge.replica.store.record_at(key, self._position)

    def accepted(self, record: StateRecord) -> int:
        """Return the time of the block that accepted a version, Unix seconds."""
        return self._judge.shelf.accepted(record)


def body_of(shelf: BodyShelf, record: StateRecord) -> Body | None:
    """Return the body that a version of an object has; a stop without evidence has that of the version before."""
    found = (shelf.at(record.key, version) for version in (record.version, record.version - 1))
    return next((body for body in found if body is not None and body.body_hash == record.body_hash), None)


def how_ended(judge: Judge, key: bytes, heard: bytes | None = None) -> Ended | None:
    """Tell how an object ended.

    Args:
        judge: this node's ledger, bodies and clock.
        key: map key of the object, 32 bytes.
        heard: envelope of a stop that this node has heard of and that is not final yet, if there is one.

    Returns:
        The answer; None for an object that this node's ledger does not have.
    """
    record = judge.replica.store.record(key)
    if record is None:
        return None
    if record.status == STOPPED:
        stop = parse_envelope(judge.replica.store.leaf(record.since)).transaction
        by = stop.creator if isinstance(stop, Stop) else ""
        before = judge.replica.store.record_at(key, record.since - 1)
        evidence = judge.shelf.at(key, record.version)
        how = Ending.ORGANISATION
        if before is not None:
            how = _how_stopped(judge, before, evidence, record.body_hash, record.since)
        return Ended(how, by, record.version, record.since)
    if record.status != ACTIVE:
        return Ended(Ending.SUPERSEDED, record.creator, record.version, record.since)
    if heard is not None:
        return _heard(judge, record, heard)
    now = max(judge.clock(), judge.replica.store.head.time)
    is_over = record.expires is not None and record.expires < now // DAY_S
    return Ended(Ending.EXPIRED if is_over else Ending.NOT_ENDED, "", record.version, record.since if is_over else None)


def check_evidence(judge: Judge, evidence: Body, record: StateRecord, body: Body, position: int | None = None) -> None:
    """Check that the patient signed a withdrawal, or wished it on paper, another end, or that it is a patient here.

    Args:
        judge: this node's ledger, bodies and clock.
        evidence: body of what was signed.
        record: the head of the object that it is about.
        body: that version's body.
        position: leaf before which it must have been so; None for now.

    Raises:
        MedchainError: as `medchain.ledger.kinds.consent.check_withdrawal`,
            `medchain.ledger.kinds.delegation.check_ending`, `medchain.ledger.kinds.recovery.check_cancellation`,
            `medchain.ledger.kinds.subject.check_joining`.
        VerificationError: ``stop.evidence`` for an object that a patient's signature does not stop.
    """
    judged = _SIGNED.get(record.kind)
    if judged is None or evidence.kind != record.kind:
        raise VerificationError("stop.evidence", kind=record.kind)
    row = ObjectRow(record.id, record.version + 1, evidence.body_hash)
    block = None if position is None else judge.replica.store.block_at(position)
    context = CheckContext(
        genesis=judge.replica.genesis,
        members=judge.replica.members if block is None else judge.replica.store.members_at(block.height),
        time=judge.clock() if block is None else block.time,
        own=judge.org_id,
        role=CREATOR,
        creator=record.creator,
        signers=(),
        change=Change(record.kind, STOPPED, (row,)),
        row=0,
        previous=(record, body),
        bodies=judge.shelf if position is None else PastBodies(judge, position - 1),
        decision=judge.decision,
    )
    judged(evidence, context)


def _heard(judge: Judge, record: StateRecord, leaf: bytes) -> Ended:
    """Tell of a stop that is not ordered yet."""
    stop = parse_envelope(leaf).transaction
    by = stop.creator if isinstance(stop, Stop) else ""
    named = stop.evidence if isinstance(stop, Stop) else None
    how = _how_stopped(judge, record, judge.shelf.at(record.key, record.version + 1), named, None)
    return Ended(how, by, record.version + 1, None)


def _how_stopped(
    judge: Judge, before: StateRecord, evidence: Body | None, named: bytes | None, position: int | None
) -> Ending:
    """Tell whether evidence is what a stop names and holds: the patient's signature, or that the staff attests it.

    Every doubt leaves the organisation that brought it.
    """
    body = body_of(judge.shelf, before)
    if evidence is None or body is None or named is None or evidence.body_hash != named:
        return Ending.ORGANISATION
    if named == before.body_hash:
        return Ending.ORGANISATION
    try:
        check_evidence(judge, evidence, before, body, position)
    except MedchainError:
        return Ending.ORGANISATION
    return Ending.PATIENT if has_assertion(evidence) else Ending.ATTESTED
