"""One patient, her consent, grant and accesses, with the context in which each organisation checks them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from medchain.crypto.assertion import encode_credential_key
from medchain.crypto.authenticator import SoftwareAuthenticator
from medchain.crypto.es384 import Es384Signer
from medchain.encoding import Json
from medchain.errors import MedchainError
from medchain.ledger.kind import CheckContext
from medchain.ledger.kinds import signing
from medchain.ledger.kinds.access import Access, Accesses
from medchain.ledger.kinds.capacity import Capacity, Delegate
from medchain.ledger.kinds.consent import Consent
from medchain.ledger.kinds.content import Period
from medchain.ledger.kinds.delegation import Delegation
from medchain.ledger.kinds.grant import Grant
from medchain.ledger.kinds.passkeys import passkey
from medchain.ledger.kinds.registry import check_body
from medchain.ledger.kinds.subject import Operation, Subject
from medchain.ledger.object import Body, StateRecord, build_body, map_key, stop_hash
from medchain.ledger.request import ReleaseRequest
from medchain.ledger.signed_request import SignedRequest, sign_request
from medchain.ledger.transaction import Change, ObjectRow, Ref, Signer
from tests.unit.medchain.ledger.world import (
    ANXIN,
    COMMISSION,
    DAY,
    RENHE,
    TIME,
    TONGJI,
    World,
    fresh,
    genesis,
    key,
    seed,
)

ORIGIN = "https://sign.consent.example"
RP_ID = "consent.example"
PHONE = SoftwareAuthenticator(seed("phone"), RP_ID)
THIEF = SoftwareAuthenticator(seed("thief"), RP_ID)
END = TIME + 30 * 86400


def passkey_of(authenticator: SoftwareAuthenticator):
    return passkey(authenticator.credential_id, encode_credential_key(authenticator.credential), TIME - 100)


ABLE = Capacity((), None, None, disputed=False)
STAFF = {"attested_by": ["doctor", "nurse"]}
SUBJECT = Subject((passkey_of(PHONE),), ABLE, (RENHE, TONGJI), RENHE, "identity-card", TIME - 100, seed("n")[:16], TIME)


DELEGATION = map_key("delegation", RENHE, seed("delegation")[:16])


def delegate(subject: bytes, role: str = "helper", until: int = DAY + 100, **changes: object) -> Delegate:
    """Make a delegate who may do all, under the delegation that every case has."""
    own = None if role == "guardian" else DELEGATION
    return replace(Delegate(subject, role, until, ("consent", "read", "stop"), ("*",), own), **changes)


@dataclass
class Decision:
    """A decision that notes what it was asked."""

    answer: bool = True
    asked: list = field(default_factory=list)
    hidden: dict[str, Json] | None = None

    def permits(self, consent, access, time, claim=None) -> bool:
        self.asked.append((consent, access, time, claim))
        return self.answer

    def hides(self, consent) -> bool:
        return self.hidden is not None and consent["fhir"] == self.hidden


@dataclass
class Case:
    """A world with bodies, seen by one organisation."""

    world: World = field(default_factory=World)
    bodies: dict[bytes, tuple[StateRecord, Body]] = field(default_factory=dict)
    decision: Decision = field(default_factory=Decision)
    accepted_at: dict[bytes, int] = field(default_factory=dict)

    def accepted(self, record: StateRecord) -> int:
        return self.accepted_at[record.key]

    def head(self, key: bytes):
        return self.bodies.get(key)

    def state(self, key: bytes):
        return self.world.records.get(key)

    def keep(self, kind: str, content: dict[str, Json], evidence: Json = None, **record: object) -> StateRecord:
        """Put an object and its body into the state."""
        body = build_body(kind, content, evidence, fresh)
        kept = self.world.add(kind, RENHE, body_hash=body.body_hash, **record)
        self.bodies[kept.key] = (kept, body)
        return kept

    def previous(self, kept: StateRecord | None):
        return None if kept is None else self.bodies[kept.key]

    def context(self, kind: str, body: Body, **changes: object) -> CheckContext:
        """Make the context of a new object of Renhe, endorsed and checked by the commission."""
        kept = changes.pop("before", None)
        own = changes.pop("own", COMMISSION)
        role = changes.pop("role", "independent")
        creator = changes.pop("creator", RENHE)
        endorser = changes.pop("endorser", COMMISSION)
        object_id = changes.pop("object_id", b"\x11" * 16 if kept is None else kept.id)
        time = changes.pop("time", TIME)
        change = {"status": "active", "refs": (), "stop_hash": None, "expires": None} | changes
        row = ObjectRow(object_id, 1 if kept is None else kept.version + 1, body.body_hash)
        signers = [Signer(key(creator, "ledger").id, "creator")]
        if endorser is not None:
            signers.append(Signer(key(endorser, "ledger").id, "independent"))
        return CheckContext(
            genesis=self.world.genesis,
            members=self.world.members,
            time=time,
            own=own,
            role=role,
            creator=creator,
            signers=tuple(sorted(signers)),
            change=Change(kind, objects=(row,), **change),
            row=0,
            previous=self.previous(kept),
            bodies=self,
            decision=self.decision,
        )


def code(body: Body, context: CheckContext, check: Callable = check_body) -> str:
    """Return the code of a refusal, or nothing."""
    try:
        check(body, context)
    except MedchainError as error:
        reason = error.fields.get("reason")
        return f"{error.code} {reason}" if reason else error.code
    return ""


@dataclass
class ConsentCase(Case):
    """The patient enrolled; a consent to Anxin in the making."""

    subject: StateRecord = None

    def __post_init__(self) -> None:
        """Enrol the patient."""
        self.subject = self.keep("subject", SUBJECT.to_content())
        self.world.add("delegation", RENHE, id=seed("delegation")[:16])

    def consent(self, **changes: object) -> Consent:
        made = Consent(
            subject=self.subject.key,
            acting_for=None,
            custodians=(RENHE,),
            recipient=ANXIN,
            purpose="HPAYMT",
            resource_types=("Condition", "Observation"),
            period=Period(TIME - 1000, END),
            data_period=Period(TIME - 10**8, TIME),
            fhir={"resourceType": "Consent", "status": "active"},
            operation="create",
            nonce=seed("nonce")[:16],
            stop=seed("stop"),
            signed_at=TIME,
        )
        return replace(made, **changes)

    def terms(self, consent: Consent, **changes: object) -> dict[str, object]:
        return {"expires": consent.period.last_day, "stop_hash": stop_hash(consent.stop)} | changes

    def signed(self, consent: Consent, pen=PHONE, origin: str = ORIGIN, **changes: object):
        """Sign a consent; returns body and context."""
        draft = build_body("consent", consent.to_content(), None, fresh)
        return self.sign_body(draft, consent.signed(), pen, origin, **self.terms(consent, **changes))

    def sign_body(self, draft: Body, what, pens, origin: str, **changes: object):
        """Put passkeys' signatures into a body's evidence; one of each for a single signer."""
        ledger = changes.pop("ledger", self.world.genesis.ledger)
        attested = changes.pop("attested_by", ())
        signed = what if isinstance(what, list) else [what]
        pens = pens if isinstance(pens, list) else [pens]
        context = self.context(draft.kind, draft, **changes)
        previous = None if context.previous is None else context.previous[0].digest
        answers = []
        for one, pen in zip(signed, pens, strict=True):
            challenge = signing.challenge(ledger, context.key, context.version, previous, draft.content_root, one)
            given = pen.sign(challenge, origin)
            answers.append(
                signing.assertion_json(
                    given.credential_id, given.client_data_json, given.authenticator_data, given.signature
                )
            )
        body = draft.with_evidence(fresh(32), signing.signed_evidence(answers, attested))
        return body, self.context(draft.kind, body, **changes)

    def attested(self, consent: Consent, evidence: Json, **changes: object):
        """Let staff attest a consent; returns body and context."""
        body = build_body("consent", consent.to_content(), evidence, fresh)
        return body, self.context("consent", body, **self.terms(consent, **changes))

    def kept_consent(self, consent: Consent | None = None, **record: object) -> StateRecord:
        """Put a consent into the state."""
        made = consent or self.consent()
        return self.keep("consent", made.to_content(), {"assertion": {}}, stop_hash=stop_hash(made.stop), **record)

    def grant(self, consent: StateRecord, **changes: object) -> Grant:
        made = Grant(
            consent=consent.key,
            custodian=RENHE,
            recipient=ANXIN,
            purpose="HPAYMT",
            resource_types=("Observation",),
            period=Period(TIME - 500, END),
            stop=seed("grant stop"),
        )
        return replace(made, **changes)

    def kept_grant(self, consent: StateRecord, **record: object) -> StateRecord:
        """Put a grant into the state."""
        refs = (Ref(consent.key, consent.version),)
        return self.keep("grant", self.grant(consent).to_content(), None, refs=refs, **record)


def access_row(**changes: object) -> Access:
    return replace(Access(fresh(32), 3, fresh(32), fresh(32), "HPAYMT", TIME - 5), **changes)


def accesses(grant: StateRecord, consent: StateRecord, *rows: Access) -> Accesses:
    return Accesses(grant.key, (consent.key,), rows or (access_row(),))


def request(stands_on: StateRecord, pen: str = ANXIN, **changes: object) -> SignedRequest[ReleaseRequest]:
    """Have an organisation sign a request for records under a grant."""
    made = ReleaseRequest(
        ledger=genesis().ledger,
        custodian=RENHE,
        recipient=ANXIN,
        grant=stands_on.key,
        purpose="HPAYMT",
        resource_types=("Observation",),
        period=None,
        after=0,
        encryption_key=key(ANXIN, "encryption").id,
        nonce=fresh(16),
        time=TIME - 5,
    )
    return sign_request(Es384Signer(seed(pen, "authentication", 1)), replace(made, **changes))


def asked_for(grant: StateRecord, *rows: Access) -> tuple[tuple[Access, ...], Json]:
    """Have the insurer sign a request for each release; rows with one hash are of one request."""
    signed = {row.request_hash: request(grant, purpose=row.purpose, time=row.time) for row in rows}
    made = tuple(replace(row, request_hash=signed[row.request_hash].request.hash) for row in rows)
    return made, {"requests": [signed[row.request_hash].to_json() for row in rows]}


def malformed(spoiled: dict[str, Json], kind: str, case: Case, **changes: object) -> str:
    """Check a content of another form."""
    body = build_body(kind, spoiled, None, fresh)
    return code(body, case.context(kind, body, **changes))


def able(**changes: object) -> Capacity:
    """Say who may sign for a person."""
    return replace(ABLE, **changes)


class Person:
    """Somebody enrolled, with a passkey of its own."""

    def __init__(self, case, name: str, **changes: object) -> None:
        """Enrol somebody."""
        self.pen = SoftwareAuthenticator(seed(name), RP_ID)
        self.subject = replace(SUBJECT, **{"passkeys": (passkey_of(self.pen),)} | changes)
        self.record = case.keep("subject", self.subject.to_content())
        self.key = self.record.key


def delegation_of(person, helper, **changes: object) -> Delegation:
    """Make the delegation of somebody who acts for a person."""
    made = Delegation(
        subject=person.key,
        delegate=helper.key,
        role="helper",
        last_day=DAY + 100,
        enroller=RENHE,
        custodians=(RENHE, TONGJI),
        stop=fresh(32),
    )
    return replace(made, **changes)


def named(case, person, helper, role: str = "helper", **record: object) -> Delegate:
    """Put a delegation into the state; returns the row that names it."""
    made = delegation_of(person, helper, role=role)
    kept = case.keep("delegation", made.to_content(), None, **{"expires": made.last_day} | record)
    return delegate(helper.key, role, delegation=kept.key)


def changed(case, person, operation: str, signers=None, **changes: object):
    """Make the next version of a person's subject, signed by these persons."""
    signers = [person] if signers is None else signers
    context = {name: changes.pop(name) for name in ("time", "own", "role", "attested_by", "refs") if name in changes}
    able_now = changes.pop("capacity", None) or replace(
        person.subject.capacity, **{name: changes.pop(name) for name in list(changes) if hasattr(ABLE, name)}
    )
    subject = replace(
        person.subject,
        operation=Operation(operation),
        signers=tuple(one.key for one in signers),
        nonce=fresh(16),
        capacity=able_now,
        **{"signed_at": context.get("time", TIME)} | changes,
    )
    draft = build_body("subject", subject.to_content(), None, fresh)
    pens = [one.pen for one in signers]
    return case.sign_body(draft, subject.signed(person.key), pens, ORIGIN, before=person.record, **context)
