"""Changes of subjects, recoveries, and the joining of subjects to patients, made ready to be signed and submitted.

What a patient's page and the desk's staff call. Only the enroller's node changes a subject (`subject.elsewhere` at all
others); any other holder announces a recovery; every holder takes its cancellation. Keeps true: nothing is submitted
that was not signed as drafted; what needs staff names two of them. Trusts the desk for whom it has seen.
Source: `docs/spec/subject.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from medchain.encoding import Json
from medchain.errors import ConflictError, InputError, VerificationError
from medchain.ledger.kinds import capacity, recovery, signing
from medchain.ledger.kinds import delegation as delegations
from medchain.ledger.kinds import subject as subjects
from medchain.ledger.kinds.capacity import DEAD, Delegate, Standing
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.kinds.passkeys import passkey
from medchain.ledger.kinds.subject import Contact, Operation, Subject
from medchain.ledger.object import ACTIVE, Body, StateRecord, in_force, map_key
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.node.drafts import Assertion, Target, ToSign
from medchain.node.ending import check_evidence
from medchain.node.endorse import Judge
from medchain.node.subjects import Credential, SubjectParts
from medchain.node.submit import Draft, Submitted

_OPEN_DAYS: Final = recovery.OPEN_DAYS


class SubjectChanges:
    """Changes of one organisation's subjects, and recoveries of others'. Threads may share it.

    Each ``draft_`` method raises `NotFoundError` ``subject.unknown``, `ConflictError` ``subject.elsewhere`` (field
    ``org_id``: whose node changes it) and `InputError` for values that are malformed.
    """

    __slots__ = ("_drafts", "_judge", "_parts")

    def __init__(self, parts: SubjectParts, judge: Judge) -> None:
        """Use parts.

        Args:
            parts: as those of `medchain.node.subjects.SubjectDesk`.
            judge: this node's own judgement.
        """
        self._parts = parts
        self._judge = judge
        self._drafts = parts.drafts

    def draft_passkey(self, subject: bytes, credential: Credential) -> ToSign:
        """Draft a further passkey, for the person to sign with one that is there already."""
        row = passkey(credential.credential_id, credential.public_key, self._parts.clock())
        return self._draft(
            subject, Operation.ADD_PASSKEY, None, lambda before: replace(before, passkeys=(*before.passkeys, row))
        )

    def draft_without_passkey(self, subject: bytes, credential_id: bytes) -> ToSign:
        """Draft the removal of a passkey, such as a lost one, for the person to sign with any that is there."""

        def change(before: Subject) -> Subject:
            return replace(before, passkeys=tuple(row for row in before.passkeys if row.credential_id != credential_id))

        return self._draft(subject, Operation.REMOVE_PASSKEY, None, change)

    def draft_contacts(
        self, subject: bytes, contacts: Sequence[Contact], signers: Sequence[bytes] | None = None
    ) -> ToSign:
        """Draft where notices go from then on; ``signers`` are who represents the person, None for the person."""
        return self._draft(
            subject, Operation.CHANGE_CONTACTS, signers, lambda before: replace(before, contacts=tuple(contacts))
        )

    def draft_delegate(self, subject: bytes, delegate: Delegate) -> ToSign:
        """Draft a further helper or proxy, for the person to sign; rows whose delegations are over go.

        Args:
            subject: map key of the person's subject object, 32 bytes.
            delegate: who, and within what; `give` makes its delegation.
        """
        day, store = self._parts.clock() // DAY_S, self._judge.replica.store

        def is_over(row: Delegate) -> bool:
            record = None if row.delegation is None else store.record(row.delegation)
            return row.delegation is not None and (record is None or not in_force(record, day))

        def change(before: Subject) -> Subject:
            kept = [row for row in before.capacity.delegates if not is_over(row)]
            # Whoever has not this body cannot tell which object it will be.
            key = map_key("delegation", self._parts.org_id, delegations.delegation_id(before.nonce))
            return _with_delegates(before, (*kept, replace(delegate, delegation=key)))

        return self._draft(subject, Operation.NAME_DELEGATE, None, change)

    def draft_without_delegate(self, subject: bytes, delegate: bytes, signers: Sequence[bytes] | None = None) -> ToSign:
        """Draft the end of a delegation, for the person to sign, or the delegate itself.

        Args:
            subject: map key of the person's subject object, 32 bytes.
            delegate: map key of the delegate's.
            signers: the delegate alone, if it signs; None for the person.
        """

        def change(before: Subject) -> Subject:
            return _with_delegates(before, [row for row in before.capacity.delegates if row.subject != delegate])

        return self._draft(subject, Operation.END_DELEGATE, signers, change)

    def draft_custodians(
        self, subject: bytes, custodians: Sequence[str], signers: Sequence[bytes] | None = None
    ) -> ToSign:
        """Draft which organisations hold the person's records: more of them (a link) or fewer.

        Args:
            subject: map key of the person's subject object, 32 bytes.
            custodians: all of them afterwards.
            signers: who represents the person; None for the person.
        """
        _, before = self._own(subject)
        after = tuple(sorted(set(custodians)))
        operation = Operation.LINK if set(after) > set(before.custodians) else Operation.UNLINK
        return self._draft(subject, operation, signers, lambda found: replace(found, custodians=after))

    def draft_dispute(self, subject: bytes, guardian: bytes) -> ToSign:
        """Draft that the guardians do not agree, for one of them to sign."""
        return self._draft(subject, Operation.DISPUTE, (guardian,), lambda before: _disputed(before, disputed=True))

    def draft_settlement(self, subject: bytes) -> ToSign:
        """Draft that the guardians agree again, for all of them to sign, in the order of their map keys."""
        _, before = self._own(subject)
        guardians = sorted(before.capacity.guardians(self._parts.clock() // DAY_S))
        return self._draft(subject, Operation.SETTLE, guardians, lambda found: _disputed(found, disputed=False))

    def draft_restoration(self, subject: bytes, signers: Sequence[bytes] | None = None) -> ToSign:
        """Draft that a declared death or incapacity was a mistake, or is over; `give` it with two of the staff."""

        def change(before: Subject) -> Subject:
            able, rows = before.capacity, before.capacity.delegates
            if able.of_age is None:
                rows = tuple(row for row in rows if row.role != capacity.GUARDIAN)
            return replace(before, capacity=replace(able, standing=None, delegates=rows))

        return self._draft(subject, Operation.RESTORE, signers, change)

    def give(self, draft: ToSign, assertions: Sequence[Assertion], staff: Sequence[str] = ()) -> Submitted:
        """Submit a change that was signed.

        Args:
            draft: from a ``draft_`` method.
            assertions: the passkeys' answers to its challenges, in their order.
            staff: two members of staff who attest it, where the operation needs them.

        Returns:
            The subject's version, final.

        Raises:
            VerificationError: ``subject.*``, ``signing.*``, ``assertion.*``.
            ConflictError: the subject has changed since it was drafted.
            UnavailableError: no endorser, no quorum.
        """
        body = self._drafts.signed(draft, assertions, staff)
        self._begin_delegation(draft)
        return self._parts.submitter.submit(Draft("subject", draft.object_id, body, version=draft.version))

    def declare_death(self, subject: bytes, method: str, staff: Sequence[str]) -> Submitted:
        """Declare that a person has died: nothing new is permitted from then on.

        Args:
            subject: map key of the subject object, 32 bytes.
            method: what shows it, such as ``death-certificate``.
            staff: two members of staff who attest it.

        Returns:
            The subject's version, final.
        """
        record, before = self._own(subject)
        standing = Standing(DEAD, method, self._parts.clock())
        after = replace(before, capacity=replace(before.capacity, standing=standing))
        return self._submit(record, self._next(after, Operation.DECLARE_DEATH, ()), staff)

    def declare_dispute(self, subject: bytes, staff: Sequence[str]) -> Submitted:
        """Declare that the guardians do not agree: from then on all of them sign what permits more.

        Args:
            subject: map key of the subject object, 32 bytes.
            staff: two members of staff who attest it.

        Returns:
            The subject's version, final.
        """
        record, before = self._own(subject)
        after = self._next(_disputed(before, disputed=True), Operation.DISPUTE, ())
        return self._submit(record, after, staff)

    def attest_contacts(self, subject: bytes, contacts: Sequence[Contact], staff: Sequence[str]) -> Submitted:
        """Say where notices of somebody go, more than before, for whom nobody can sign that.

        Args:
            subject: map key of the subject object, 32 bytes.
            contacts: all of them afterwards.
            staff: two members of staff who attest it.

        Returns:
            The subject's version, final.
        """
        record, before = self._own(subject)
        after = self._next(replace(before, contacts=tuple(contacts)), Operation.CHANGE_CONTACTS, ())
        return self._submit(record, after, staff)

    def announce_passkeys(
        self, subject: bytes, credentials: Sequence[Credential], method: str, staff: Sequence[str]
    ) -> Submitted:
        """Announce other passkeys for a person who has lost all, and whom this organisation has seen.

        Args:
            subject: map key of the subject object, 32 bytes; another organisation enrolled it, and its body is here.
            credentials: the new passkeys.
            method: how the person's identity was checked.
            staff: two members of staff who attest it.

        Returns:
            The recovery, final; the enroller carries it out after its wait.

        Raises:
            NotFoundError: ``subject.unknown``.
            VerificationError: ``recovery.*``.
        """
        now = self._parts.clock()
        rows = tuple(passkey(row.credential_id, row.public_key, now) for row in credentials)
        return self._announce(subject, method, staff, lambda made: replace(made, passkeys=rows))

    def announce_guardians(
        self, subject: bytes, guardians: Sequence[Delegate], method: str, staff: Sequence[str], *, incapable: bool
    ) -> Submitted:
        """Announce the guardians of a minor, or of who cannot decide.

        Args:
            subject: as in `announce_passkeys`.
            guardians: those who take the place of all before.
            method: what shows it, such as ``court-order``.
            staff: two members of staff who attest it.
            incapable: whether the person cannot decide; False for a minor.

        Returns:
            The recovery, final.
        """
        standing = Standing(capacity.INCAPABLE, method, self._parts.clock()) if incapable else None
        changes = {"delegates": tuple(guardians), "standing": standing, "operation": recovery.GUARDIANSHIP}
        return self._announce(subject, method, staff, lambda made: replace(made, **changes))  # type: ignore[arg-type]  # by name

    def carry_out(self, key: bytes) -> Submitted:
        """Carry out a recovery whose wait is over; the enroller does.

        Args:
            key: map key of the recovery, 32 bytes.

        Returns:
            The subject's version, final.

        Raises:
            NotFoundError: ``recovery.unknown``.
            VerificationError: ``subject.waiting`` before its time, ``subject.recovery`` for one that is void.
            ConflictError: ``transaction.stopped`` for one that was cancelled.
        """
        found, body = self._drafts.head(key, "recovery")
        if found.status != ACTIVE or self._parts.stops.is_stopped(key):
            raise ConflictError("transaction.stopped", status=found.status)
        planned = recovery.read(body.content)
        record, before = self._own(planned.subject)
        passkeys, able = subjects.carried_out(before, planned)
        after = replace(self._next(before, Operation.RECOVER, ()), passkeys=passkeys, capacity=able, recovery=key)
        return self._submit(record, after, ())

    def draft_cancellation(self, key: bytes, signer: bytes | None = None) -> ToSign:
        """Draft the cancellation of a recovery, for the person to sign, or a delegate that may stop.

        Args:
            key: map key of the recovery, 32 bytes.
            signer: map key of the delegate's subject object; None for the person.

        Raises:
            NotFoundError: ``recovery.unknown``.
            ConflictError: ``stop.not_stoppable`` if it is not active.
        """
        record, body = self._stoppable(key, "recovery")
        content: dict[str, Json] = {"object": key.hex(), "operation": recovery.CANCEL}
        return self._small("recovery", content, record, (recovery.read(body.content).subject, signer))

    def stop(self, draft: ToSign, assertion: Assertion) -> bytes:
        """Stop a recovery or delegation with a signature; it binds when this returns. Returns the stop's envelope."""
        return self._parts.stops.stop(draft.object, self._drafts.signed(draft, [assertion]))

    def draft_ending(self, key: bytes, signer: bytes) -> ToSign:
        """Draft the end of a delegation, for the person to sign, or who acts for it.

        Args:
            key: map key of the delegation, 32 bytes.
            signer: map key of the subject object of who signs.

        Raises:
            NotFoundError: ``delegation.unknown``.
            ConflictError: ``stop.not_stoppable`` if it is not active.
        """
        record, body = self._stoppable(key, "delegation")
        content: dict[str, Json] = {"object": key.hex(), "operation": delegations.END}
        return self._small("delegation", content, record, (delegations.read(body.content).subject, signer))

    def draft_joining(self, subject: bytes, patient: str, signer: bytes | None = None) -> ToSign:
        """Draft that a subject is a patient of this organisation, which knows who stands before it.

        Args:
            subject: map key of the subject object, 32 bytes; this organisation is one of its custodians.
            patient: local id of the patient who has signed in, or stands at the desk.
            signer: map key of the subject object of who represents the person; None for the person.
        """
        record, _ = self._drafts.head(subject, "subject")
        content: dict[str, Json] = {
            "object": subject.hex(),
            "operation": subjects.JOIN,
            "organisation": self._parts.org_id,
            "patient": self._parts.service.patient_token(patient),
        }
        return self._small("subject", content, record, (subject, signer))

    def join(self, draft: ToSign, patient: str, assertion: Assertion) -> None:
        """Join a subject to a patient of this organisation.

        Args:
            draft: from `draft_joining`.
            patient: as there.
            assertion: the passkey's answer to its challenge.

        Raises:
            VerificationError: ``subject.joining``, ``subject.custodian``, ``signing.*``, ``assertion.*``.
            ConflictError: ``store.conflict`` if it is another patient's.
        """
        record, body = self._drafts.head(draft.object, "subject")
        evidence, token = self._drafts.signed(draft, [assertion]), self._parts.service.patient_token(patient)
        if evidence.content.get("patient") != token:
            raise VerificationError("subject.joining")
        check_evidence(self._judge, evidence, record, body)
        self._parts.records.link_subject(draft.object, token)

    def _own(self, subject: bytes) -> tuple[StateRecord, Subject]:
        """Return a subject that this organisation enrolled."""
        record, body = self._drafts.head(subject, "subject")
        if record.creator != self._parts.org_id:
            raise ConflictError("subject.elsewhere", org_id=record.creator)
        return record, subjects.read(body.content)

    def _next(self, before: Subject, operation: Operation, signers: Sequence[bytes]) -> Subject:
        """Begin the next version."""
        return replace(
            before,
            operation=operation,
            signers=tuple(signers),
            recovery=None,
            nonce=self._parts.random(ID_BYTES),
            signed_at=self._parts.clock(),
        )

    def _draft(
        self,
        subject: bytes,
        operation: Operation,
        signers: Sequence[bytes] | None,
        change: Callable[[Subject], Subject],
    ) -> ToSign:
        """Draft the next version of a subject."""
        record, before = self._own(subject)
        after = change(self._next(before, operation, (subject,) if signers is None else signers))
        subjects.read(after.to_content())
        if not after.signers:
            raise InputError("subject.signers")
        body = self._drafts.body("subject", after.to_content())
        return self._drafts.to_sign(body, Target.after(record), after.signed(subject))

    def _begin_delegation(self, draft: ToSign) -> None:
        """Bring the delegation of whom a version names to the ledger first: the version is judged by it.

        Where the version does not follow, nothing names the delegation, and it gives nobody anything.
        """
        after = subjects.read(draft.body.content)
        row = after.capacity.delegates[-1] if after.operation is Operation.NAME_DELEGATE else None
        if row is None or row.delegation is None or self._judge.replica.store.record(row.delegation) is not None:
            return
        made = delegations.Delegation(
            subject=draft.object,
            delegate=row.subject,
            role=row.role,
            last_day=row.until,
            enroller=after.enroller,
            custodians=after.custodians,
            stop=self._parts.random(HASH_BYTES),
        )
        delegations.read(made.to_content())
        whole = self._drafts.body("delegation", made.to_content())
        self._parts.submitter.submit(Draft("delegation", delegations.delegation_id(after.nonce), whole))

    def _submit(self, record: StateRecord, after: Subject, staff: Sequence[str]) -> Submitted:
        """Submit a version that no passkey signs."""
        subjects.read(after.to_content())
        evidence = signing.signed_evidence((), sorted(set(staff)))
        body = self._drafts.body("subject", after.to_content(), evidence)
        return self._parts.submitter.submit(Draft("subject", record.id, body, version=record.version + 1))

    def _announce(
        self,
        subject: bytes,
        method: str,
        staff: Sequence[str],
        change: Callable[[recovery.Recovery], recovery.Recovery],
    ) -> Submitted:
        """Submit a recovery."""
        record, body = self._drafts.head(subject, "subject")
        now, terms = self._parts.clock(), self._judge.replica.members.policy.terms
        wait_days = terms.get(recovery.RECOVERY_DAYS, 0)
        made = change(
            recovery.Recovery(
                subject=subject,
                version=record.version,
                operation=recovery.REPLACE,
                passkeys=(),
                delegates=(),
                standing=None,
                enroller=record.creator,
                custodians=_custodians(body),
                organisation=self._parts.org_id,
                method=method,
                verified=now,
                wait_days=wait_days,
                last_day=now // DAY_S + wait_days + _OPEN_DAYS,
                nonce=self._parts.random(ID_BYTES),
                stop=self._parts.random(HASH_BYTES),
            )
        )
        recovery.read(made.to_content())
        evidence = signing.signed_evidence((), sorted(set(staff)))
        whole = self._drafts.body("recovery", made.to_content(), evidence)
        return self._parts.submitter.submit(Draft("recovery", self._parts.random(ID_BYTES), whole))

    def _stoppable(self, key: bytes, kind: str) -> tuple[StateRecord, Body]:
        """Return an object and its body; raises ``stop.not_stoppable`` if it is not active."""
        record, body = self._drafts.head(key, kind)
        if record.status != ACTIVE:
            raise ConflictError("stop.not_stoppable", status=record.status)
        return record, body

    def _small(
        self, kind: str, content: dict[str, Json], record: StateRecord, who: tuple[bytes, bytes | None]
    ) -> ToSign:
        """Draft a body that makes no version: a cancellation, an end, a joining."""
        person, signer = who[0], who[1] or who[0]
        nonce = self._parts.random(ID_BYTES)
        body = self._drafts.body(kind, {**content, "nonce": nonce.hex(), "subject": signer.hex()})
        acting_for = None if signer == person else person
        signed = signing.Signed(f"{kind}/{content['operation']}", signer, acting_for, nonce)
        return self._drafts.to_sign(body, Target.after(record), [signed])


def _with_delegates(before: Subject, rows: Sequence[Delegate]) -> Subject:
    """Give a subject other delegates."""
    return replace(before, capacity=replace(before.capacity, delegates=tuple(rows)))


def _disputed(before: Subject, *, disputed: bool) -> Subject:
    """Say whether the guardians disagree."""
    return replace(before, capacity=replace(before.capacity, disputed=disputed))


def _custodians(body: Body) -> tuple[str, ...]:
    """Read the custodians of a subject, of which this organisation may hold a part only."""
    rows = body.content.get("custodians")
    if type(rows) is not list:
        # A recipient is not shown them, and cannot tell all who must hear of a recovery.
        raise ConflictError("recovery.holder")
    return tuple(str(row) for row in rows)
