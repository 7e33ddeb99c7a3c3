"""What a patient's page asks of the node: enrolment, and consents, withdrawals and grants made ready to be signed.

Keeps true: a subject is joined to this node's patient only after it is final. Changes of subjects and recoveries are in
`medchain.node.subject_changes`. Trusts the page for showing the person what is drafted.
Source: `docs/spec/consent.md`, `docs/spec/subject.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from medchain.encoding import Json
from medchain.errors import ConflictError, NotFoundError
from medchain.ledger.kind import BodySource
from medchain.ledger.kinds import consent as consents
from medchain.ledger.kinds import grant as grants
from medchain.ledger.kinds import permission, signing
from medchain.ledger.kinds import subject as subjects
from medchain.ledger.kinds.capacity import Capacity, Delegate
from medchain.ledger.kinds.content import Period
from medchain.ledger.kinds.passkeys import passkey
from medchain.ledger.kinds.permission import PERMITTING
from medchain.ledger.kinds.subject import Contact
from medchain.ledger.object import ACTIVE, Body, map_key
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.node.clock import Clock
from medchain.node.drafts import Assertion, Drafts, Target, ToSign
from medchain.node.records import RecordService
from medchain.node.submit import Draft, Submitted
from medchain.store.records import RecordStore


class Submits(Protocol):
    """Brings sealed objects to the ledger; `medchain.node.submit.Submitter`."""

    def submit(self, draft: Draft) -> Submitted:
        """Bring an object's next version to the ledger, and wait until it is final."""
        ...


class Stops(Protocol):
    """Stops objects; `medchain.node.stops.StopBook`."""

    def stop(self, key: bytes, evidence: Body | None = None) -> bytes:
        """Stop an object; it binds when this returns."""
        ...

    def is_stopped(self, key: bytes) -> bool:
        """Tell whether an object is stopped, on the ledger or by a stop that this node has heard of."""
        ...


@dataclass(frozen=True, slots=True)
class SubjectParts:
    """What the desk is made from.

    Attributes:
        org_id: this organisation.
        ledger_id: 32 bytes.
        bodies: bodies that this organisation holds.
        submitter: brings objects to the ledger.
        stops: stops them.
        records: keeps which patient a subject is.
        service: knows the patients' tokens.
        clock: gives Unix seconds.
        random: gives as many unpredictable bytes as it is asked for.
    """

    org_id: str
    ledger_id: bytes
    bodies: BodySource
    submitter: Submits
    stops: Stops
    records: RecordStore
    service: RecordService
    clock: Clock
    random: Callable[[int], bytes]

    @property
    def drafts(self) -> Drafts:
        """What makes drafts."""
        return Drafts(self.ledger_id, self.bodies, self.random)


@dataclass(frozen=True, slots=True)
class Credential:
    """A passkey as the browser registered it.

    Attributes:
        credential_id: as the authenticator named it.
        public_key: COSE_Key in canonical CBOR.
    """

    credential_id: bytes
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What may be told of a person at enrolment.

    Attributes:
        contacts: where notices go.
        of_age: day on which a minor becomes of age, days since 1970-01-01 (UTC); None for who is.
        guardians: of a minor.
        staff: two members of staff who attest it; needed where there is no passkey.
    """

    contacts: Sequence[Contact] = ()
    of_age: int | None = None
    guardians: Sequence[Delegate] = ()
    staff: Sequence[str] = ()


ENROLMENT: Final = Enrolment()
"""Nothing more."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a patient allows.

    Attributes:
        custodians: org_ids that may release.
        recipient: org_id that may receive.
        purpose: purpose-of-use code.
        resource_types: FHIR types, or ``*`` alone.
        period: when it is in force.
        fhir: the FHIR Consent that says it.
        data_period: which dates of records it covers; None for all.
        acting_for: map key of the person whose data it is, where a delegate signs.
        joined: map keys of the subjects of those who sign beside the first, such as a second guardian.
    """

    custodians: Sequence[str]
    recipient: str
    purpose: str
    resource_types: Sequence[str]
    period: Period
    fhir: Mapping[str, Json]
    data_period: Period | None = None
    acting_for: bytes | None = None
    joined: Sequence[bytes] = ()


class SubjectDesk:
    """Enrolment, consents, withdrawals and grants of one organisation's patients. Threads may share it."""

    __slots__ = ("_drafts", "_parts")

    def __init__(self, parts: SubjectParts) -> None:
        """Use parts.

        Args:
            parts: what it is made from.
        """
        self._parts = parts
        self._drafts = parts.drafts

    def enrol(
        self,
        patient: str,
        credentials: Sequence[Credential],
        method: str,
        custodians: Sequence[str] = (),
        more: Enrolment = ENROLMENT,
    ) -> Submitted:
        """Enrol a person whose identity this organisation has checked.

        Args:
            patient: local id of the patient.
            credentials: passkeys; none only for a minor with a guardian.
            method: how the identity was checked, such as ``identity-card``.
            custodians: org_ids of further organisations that hold records of the person.
            more: contacts, and for a minor the day of its majority and its guardians.

        Returns:
            The subject object, final.

        Raises:
            InputError: ``assertion.credential_key``, ``content.*``, ``subject.*``.
            VerificationError: what an endorser refuses.
            UnavailableError: no endorser, no quorum.
        """
        now = self._parts.clock()
        subject = subjects.Subject(
            passkeys=tuple(passkey(row.credential_id, row.public_key, now) for row in credentials),
            capacity=Capacity(tuple(more.guardians), more.of_age, None, disputed=False),
            custodians=tuple(sorted({*custodians, self._parts.org_id})),
            enroller=self._parts.org_id,
            method=method,
            verified=now,
            nonce=self._parts.random(ID_BYTES),
            signed_at=now,
            contacts=tuple(more.contacts),
        )
        subjects.read(subject.to_content())
        evidence = signing.signed_evidence((), sorted(set(more.staff)))
        body = self._drafts.body("subject", subject.to_content(), evidence)
        done = self._parts.submitter.submit(Draft("subject", self._parts.random(ID_BYTES), body))
        self.link(done.key, patient)
        return done

    def link(self, subject: bytes, patient: str) -> None:
        """Join a subject that another organisation enrolled to this node's patient, after this node checked who it is.

        Args:
            subject: map key of the subject object, 32 bytes.
            patient: local id of the patient.

        Raises:
            NotFoundError: ``subject.unknown`` if this node holds nothing of it.
            ConflictError: ``store.conflict`` if it is another patient's.
        """
        if self._parts.bodies.head(subject) is None:
            raise NotFoundError("subject.unknown")
        self._parts.records.link_subject(subject, self._parts.service.patient_token(patient))

    def draft_consent(self, subject: bytes, terms: Terms) -> ToSign:
        """Draft a consent for a person to sign.

        Args:
            subject: map key of the subject object of who signs, 32 bytes.
            terms: what is allowed.

        Returns:
            The draft with its challenge.

        Raises:
            InputError: ``content.*`` for terms that are malformed.
            NotFoundError: ``subject.unknown``.
        """
        self._drafts.head(subject, "subject")
        consent = consents.Consent(
            subject=subject,
            acting_for=terms.acting_for,
            custodians=tuple(sorted(set(terms.custodians))),
            recipient=terms.recipient,
            purpose=terms.purpose,
            resource_types=tuple(sorted(set(terms.resource_types))),
            period=terms.period,
            data_period=terms.data_period,
            fhir=terms.fhir,
            operation=consents.CREATE,
            nonce=self._parts.random(ID_BYTES),
            stop=self._parts.random(HASH_BYTES),
            signed_at=self._parts.clock(),
            joined=tuple(sorted(terms.joined)),
        )
        consents.read(consent.to_content())
        body = self._drafts.body("consent", consent.to_content())
        object_id = self._parts.random(ID_BYTES)
        key = map_key("consent", self._parts.org_id, object_id)
        return self._drafts.to_sign(body, Target(object_id, key, 1, None), consent.signed())

    def give_consent(self, draft: ToSign, *assertions: Assertion) -> Submitted:
        """Submit a consent that was signed.

        Args:
            draft: from `draft_consent`.
            assertions: the passkeys' answers to its challenges, in their order.

        Returns:
            The consent object, final.

        Raises:
            VerificationError: ``assertion.*``, ``signing.credential`` and others of the consent's check.
            ConflictError: the state has moved on.
            UnavailableError: no endorser, no quorum.
        """
        return self._parts.submitter.submit(Draft("consent", draft.object_id, self._drafts.signed(draft, assertions)))

    def attest_consent(self, draft: ToSign, staff: Sequence[str]) -> Submitted:
        """Submit a consent that the patient has signed on paper.

        Args:
            draft: from `draft_consent`.
            staff: two members of staff who attest it.

        Returns:
            The consent object, final.

        Raises:
            VerificationError: ``consent.attested`` and others of the consent's check.
            UnavailableError: no endorser, no quorum.
        """
        return self._parts.submitter.submit(Draft("consent", draft.object_id, self._drafts.attested(draft, staff)))

    def draft_withdrawal(self, consent: bytes, signer: bytes | None = None) -> ToSign:
        """Draft the withdrawal of a consent for the patient to sign.

        Args:
            consent: its map key, 32 bytes.
            signer: map key of the subject object of who signs; None for who signed the consent.

        Returns:
            The draft with its challenge.

        Raises:
            NotFoundError: ``consent.unknown`` if this node does not hold it.
            ConflictError: ``stop.not_stoppable`` if it is not active.
        """
        record, body = self._drafts.head(consent, "consent")
        if record.status != ACTIVE:
            raise ConflictError("stop.not_stoppable", status=record.status)
        given = consents.read(body.content)
        subject = given.subject if signer is None else signer
        acting_for = None if subject == given.patient else given.patient
        nonce = self._parts.random(ID_BYTES)
        content: dict[str, Json] = {
            "nonce": nonce.hex(),
            "object": consent.hex(),
            "operation": consents.WITHDRAW,
            "subject": subject.hex(),
        }
        signed = signing.Signed(f"consent/{consents.WITHDRAW}", subject, acting_for, nonce)
        made = self._drafts.body("consent", content)
        return self._drafts.to_sign(made, Target.after(record), [signed])

    def withdraw(self, draft: ToSign, assertion: Assertion) -> bytes:
        """Stop a consent with the patient's signature; it binds when this returns.

        Args:
            draft: from `draft_withdrawal`.
            assertion: the passkey's answer to its challenge.

        Returns:
            The envelope of the stop.

        Raises:
            VerificationError: of the withdrawal's check; `stop` is still possible.
            ConflictError: ``stop.repeated``.
        """
        return self._parts.stops.stop(draft.object, self._drafts.signed(draft, [assertion]))

    def attest_withdrawal(self, consent: bytes, subject: bytes, staff: Sequence[str]) -> bytes:
        """Stop a consent because the patient wishes it on paper, as two members of staff attest; it binds at once.

        Args:
            consent: its map key, 32 bytes.
            subject: map key of the subject object of whose wish it is.
            staff: who attests it.

        Returns:
            The envelope of the stop.

        Raises:
            NotFoundError, ConflictError: as `draft_withdrawal`.
            VerificationError: of the withdrawal's check; `stop` is still possible.
        """
        draft = self.draft_withdrawal(consent, subject)
        return self._parts.stops.stop(draft.object, self._drafts.attested(draft, staff))

    def stop(self, key: bytes) -> bytes:
        """Stop a consent or grant without a signature, as this organisation; it binds when this returns."""
        return self._parts.stops.stop(key)

    def give_grant(
        self, consent: bytes, resource_types: Sequence[str] | None = None, period: Period | None = None
    ) -> Submitted:
        """Let the recipient of a consent, or of a mandate of the law, read what this organisation holds.

        Args:
            consent: map key of the consent or mandate, 32 bytes.
            resource_types: FHIR types; None for all of it.
            period: when it is in force; None for from now on as long as that.

        Returns:
            The grant object, final.

        Raises:
            NotFoundError: ``consent.unknown``.
            VerificationError: ``grant.beyond_consent`` and others of the grant's check.
            ConflictError: the state has moved on.
        """
        found = self._parts.bodies.head(consent)
        if found is None or found[0].kind not in PERMITTING:
            raise NotFoundError("consent.unknown")
        given = permission.read(found[0].kind, found[1].content)
        made = grants.Grant(
            consent=consent,
            custodian=self._parts.org_id,
            recipient=given.recipient,
            purpose=given.purpose,
            resource_types=given.resource_types if resource_types is None else tuple(sorted(set(resource_types))),
            period=Period(max(self._parts.clock(), given.period.start), given.period.end) if period is None else period,
            stop=self._parts.random(HASH_BYTES),
        )
        grants.read(made.to_content())
        body = self._drafts.body("grant", made.to_content())
        return self._parts.submitter.submit(Draft("grant", self._parts.random(ID_BYTES), body))


class LinkedPatients:
    """Fills `medchain.node.release_ports.Patients` from the records file."""

    __slots__ = ("_records",)

    def __init__(self, records: RecordStore) -> None:
        """Use the records file."""
        self._records = records

    def token(self, subject: bytes) -> str | None:
        """Return the keyed token of a subject's patient, None if the subject is not known here."""
        return self._records.patient_of(subject)
