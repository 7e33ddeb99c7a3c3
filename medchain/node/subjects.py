"""What a patient's page asks of the node: enrolment, and consents, withdrawals and grants made ready to be signed.

Two steps each: a draft, with the challenge that the passkey is to sign, made from the very objects that will go to the
ledger; then, with the passkey's answer, the submission. Keeps true: what is submitted is what was signed, byte for
byte; a subject is joined to this node's patient only after it is final; a draft is bound to the head that it was made
on. Drafts of all kinds stand in one file, since they are signed in one way. Trusts the page for showing the person what
it drafts: an authenticator shows nothing.
Source: `docs/spec/consent.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import ConflictError, InputError, NotFoundError
from medchain.ledger.kind import BodySource
from medchain.ledger.kinds import consent as consents
from medchain.ledger.kinds import grant as grants
from medchain.ledger.kinds import signing
from medchain.ledger.kinds import subject as subjects
from medchain.ledger.kinds.content import Period
from medchain.ledger.object import ACTIVE, MAX_BODY_BYTES, Body, StateRecord, build_body, map_key
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.node.clock import Clock
from medchain.node.records import RecordService
from medchain.node.submit import Draft, Submitted
from medchain.store.records import RecordStore

_SALT_BYTES: Final = 32
_MAX_DRAFT_BYTES: Final = 2 * MAX_BODY_BYTES


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
class Assertion:
    """A passkey's answer to a challenge (W3C WebAuthn Level 3 §6.3.3).

    Attributes:
        credential_id: which passkey.
        client_data_json: what the browser made.
        authenticator_data: what the authenticator made.
        signature: over both.
    """

    credential_id: bytes
    client_data_json: bytes
    authenticator_data: bytes
    signature: bytes


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
    """

    custodians: Sequence[str]
    recipient: str
    purpose: str
    resource_types: Sequence[str]
    period: Period
    fhir: Mapping[str, Json]
    data_period: Period | None = None
    acting_for: bytes | None = None


@dataclass(frozen=True, slots=True)
class ToSign:
    """A body without its evidence, and what the passkey is to sign.

    Attributes:
        kind: kind of the object.
        object_id: its id, 16 bytes.
        object: its map key, 32 bytes.
        version: that the signature is for.
        body: content, evidence still null.
        challenge: 32 bytes.
    """

    kind: str
    object_id: bytes
    object: bytes
    version: int
    body: Body
    challenge: bytes

    def encode(self) -> bytes:
        """Write it, to be kept until the patient has signed; safely, since who reads it can stop the consent."""
        return canonical(
            {
                "body": self.body.to_json(),
                "challenge": self.challenge.hex(),
                "kind": self.kind,
                "object": self.object.hex(),
                "object_id": self.object_id.hex(),
                "version": self.version,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> ToSign:
        """Read what `encode` wrote; raises `InputError` ``encoding.*``, ``body.malformed``."""
        text = dict.fromkeys(("challenge", "kind", "object", "object_id"), str)
        top = members(parse_canonical(data, max_bytes=_MAX_DRAFT_BYTES), text | {"body": dict, "version": int})
        version = top["version"]
        return cls(
            str(top["kind"]),
            unhex(top["object_id"], ID_BYTES),
            unhex(top["object"], HASH_BYTES),
            version if isinstance(version, int) else 0,
            Body.from_json(top["body"]),
            unhex(top["challenge"], HASH_BYTES),
        )


class SubjectDesk:
    """Enrolment, consents, withdrawals and grants of one organisation's patients. Threads may share it."""

    __slots__ = ("_parts",)

    def __init__(self, parts: SubjectParts) -> None:
        """Use parts.

        Args:
            parts: what it is made from.
        """
        self._parts = parts

    def enrol(
        self, patient: str, credentials: Sequence[Credential], method: str, custodians: Sequence[str] = ()
    ) -> Submitted:
        """Enrol a person whose identity this organisation has checked.

        Args:
            patient: local id of the patient.
            credentials: passkeys, at least one.
            method: how the identity was checked, such as ``identity-card``.
            custodians: org_ids of further organisations that hold records of the person.

        Returns:
            The subject object, final.

        Raises:
            InputError: ``assertion.credential_key``, ``content.*``.
            VerificationError: what an endorser refuses.
            UnavailableError: no endorser, no quorum.
        """
        now = self._parts.clock()
        subject = subjects.Subject(
            passkeys=tuple(subjects.passkey(row.credential_id, row.public_key, now) for row in credentials),
            delegates=(),
            custodians=tuple(sorted({*custodians, self._parts.org_id})),
            enroller=self._parts.org_id,
            method=method,
            verified=now,
            nonce=self._parts.random(ID_BYTES),
        )
        subjects.read(subject.to_content())
        body = self._body("subject", subject.to_content())
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
        self._head(subject, "subject")
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
        )
        consents.read(consent.to_content())
        body = self._body("consent", consent.to_content())
        object_id = self._parts.random(ID_BYTES)
        key = map_key("consent", self._parts.org_id, object_id)
        return self._to_sign(body, (object_id, key, 1, None), consent.signed())

    def give_consent(self, draft: ToSign, assertion: Assertion) -> Submitted:
        """Submit a consent that was signed.

        Args:
            draft: from `draft_consent`.
            assertion: the passkey's answer to its challenge.

        Returns:
            The consent object, final.

        Raises:
            VerificationError: ``assertion.*``, ``signing.credential`` and others of the consent's check.
            ConflictError: the state has moved on.
            UnavailableError: no endorser, no quorum.
        """
        return self._parts.submitter.submit(Draft("consent", draft.object_id, self._signed(draft, assertion)))

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
        record, body = self._head(consent, "consent")
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
        made = self._body("consent", content)
        return self._to_sign(made, (record.id, consent, record.version + 1, record.digest), signed)

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
        return self._parts.stops.stop(draft.object, self._signed(draft, assertion))

    def stop(self, key: bytes) -> bytes:
        """Stop a consent or grant without a signature, as this organisation; it binds when this returns."""
        return self._parts.stops.stop(key)

    def give_grant(
        self, consent: bytes, resource_types: Sequence[str] | None = None, period: Period | None = None
    ) -> Submitted:
        """Let a consent's recipient read what this organisation holds.

        Args:
            consent: map key of the consent, 32 bytes.
            resource_types: FHIR types; None for all of the consent.
            period: when it is in force; None for from now on as long as the consent.

        Returns:
            The grant object, final.

        Raises:
            NotFoundError: ``consent.unknown``.
            VerificationError: ``grant.beyond_consent`` and others of the grant's check.
            ConflictError: the state has moved on.
        """
        given = consents.read(self._head(consent, "consent")[1].content)
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
        body = self._body("grant", made.to_content())
        return self._parts.submitter.submit(Draft("grant", self._parts.random(ID_BYTES), body))

    def _body(self, kind: str, content: Mapping[str, Json]) -> Body:
        """Make a body without evidence."""
        return build_body(kind, content, None, self._parts.random)

    def _head(self, key: bytes, kind: str) -> tuple[StateRecord, Body]:
        """Return an object's head and body."""
        found = self._parts.bodies.head(key)
        if found is None or found[0].kind != kind:
            code = f"{kind}.unknown"
            raise NotFoundError(code)
        return found

    def _to_sign(self, body: Body, target: tuple[bytes, bytes, int, bytes | None], signed: signing.Signed) -> ToSign:
        """Compute the challenge for the object that the body will be the next version of."""
        object_id, key, version, previous = target
        challenge = signing.challenge(self._parts.ledger_id, key, version, previous, body.content_root, signed)
        return ToSign(body.kind, object_id, key, version, body, challenge)

    def _signed(self, draft: ToSign, assertion: Assertion) -> Body:
        """Put the passkey's answer into the evidence; the content stays what was signed."""
        if not draft.body.is_full:
            raise InputError("body.malformed", kind=draft.kind)
        evidence = signing.assertion_evidence(
            assertion.credential_id, assertion.client_data_json, assertion.authenticator_data, assertion.signature
        )
        return draft.body.with_evidence(self._parts.random(_SALT_BYTES), evidence)


class LinkedPatients:
    """Fills `medchain.node.release_ports.Patients` from the records file."""

    __slots__ = ("_records",)

    def __init__(self, records: RecordStore) -> None:
        """Use the records file."""
        self._records = records

    def token(self, subject: bytes) -> str | None:
        """Return the keyed token of a subject's patient, None if the subject is not known here."""
        return self._records.patient_of(subject)
