"""What a passkey signs, and how the signature is checked: the same for consents, withdrawals and passkey changes.

Keeps true: a signature counts for one ledger, object, version, operation and content, only at the genesis' signing
origins, and only from a passkey of the subject's head. Trusts the subject's endorsers for who holds the passkeys.
Source: `docs/spec/consent.md`, `docs/spec/subject.md`; W3C WebAuthn Level 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from medchain.crypto.assertion import AssertionRequest, CredentialKey, check_assertion
from medchain.encoding import Json, base64_text, canonical, digest, members, unbase64
from medchain.ledger.kind import CheckContext, refuse
from medchain.ledger.kinds.content import CLOCK_S, DAY_S, names
from medchain.ledger.object import Body, Evidence
from medchain.ledger.transaction import CREATOR, INDEPENDENT

ATTESTING_STAFF: Final = 2
"""How many members of staff attest what no passkey signs."""

MAX_SIGNING_S: Final = 600
"""How old a signature may be when it is endorsed: one that was given and never used must not turn up later."""

MAX_JOINT_SIGNING_S: Final = 3 * DAY_S
"""The same where several people sign, who need not be in one place."""

_VOUCHING: Final = frozenset({CREATOR, INDEPENDENT})


class Credential(Protocol):
    """A passkey, as far as a signature needs it."""

    @property
    def credential_id(self) -> bytes:
        """Its id."""
        ...

    @property
    def key(self) -> CredentialKey:
        """Its public key."""
        ...


@dataclass(frozen=True, slots=True)
class Signed:
    """What is signed, beside the object that the context names.

    Attributes:
        operation: kind and operation, such as ``consent/create`` or ``subject/add-passkey``.
        subject: map key of the signer's subject object.
        acting_for: map key of the person for whom it signs, or None.
        nonce: 16 bytes, field ``nonce`` of the content.
    """

    operation: str
    subject: bytes
    acting_for: bytes | None
    nonce: bytes


def challenge(
    ledger: bytes, object_key: bytes, version: int, previous: bytes | None, content_root: bytes, signed: Signed
) -> bytes:
    """Compute the challenge that the passkey signs; arguments as of `signed_document`, returns 32 bytes."""
    return challenge_of(signed_document(ledger, object_key, version, previous, content_root, signed))


def challenge_of(document: Json) -> bytes:
    """Compute the challenge of a document from `signed_document`, 32 bytes."""
    return digest("medchain/consent-challenge/v1", canonical(document))


def signed_document(
    ledger: bytes, object_key: bytes, version: int, previous: bytes | None, content_root: bytes, signed: Signed
) -> dict[str, Json]:
    """Write what the passkey signs.

    Args:
        ledger: ledger id, 32 bytes.
        object_key: map key of the object that is created or changed, 32 bytes. Not its id alone: another organisation
            could make an object of the same id, and so revive under its own name what the patient had stopped.
        version: the version that it gets.
        previous: digest of its head, None at version 1.
        content_root: of the body whose evidence the assertion will be.
        signed: operation, subject, acting for, nonce.

    Returns:
        ``C`` of `docs/spec/consent.md` 7.
    """
    return {
        "acting_for": None if signed.acting_for is None else signed.acting_for.hex(),
        "content_root": content_root.hex(),
        "ledger": ledger.hex(),
        "nonce": signed.nonce.hex(),
        "object": object_key.hex(),
        "operation": signed.operation,
        "previous": None if previous is None else previous.hex(),
        "subject": signed.subject.hex(),
        "version": version,
    }


def assertion_json(
    credential_id: bytes, client_data_json: bytes, authenticator_data: bytes, signature: bytes
) -> dict[str, Json]:
    """Write one assertion."""
    return {
        "authenticator_data": base64_text(authenticator_data),
        "client_data_json": base64_text(client_data_json),
        "credential_id": base64_text(credential_id),
        "signature": base64_text(signature),
    }


def assertion_evidence(
    credential_id: bytes, client_data_json: bytes, authenticator_data: bytes, signature: bytes
) -> Json:
    """Write the assertion of a single signer as evidence."""
    return {"assertion": assertion_json(credential_id, client_data_json, authenticator_data, signature)}


def signed_evidence(assertions: Sequence[dict[str, Json]], attested_by: Sequence[str] = ()) -> Json:
    """Write evidence.

    Args:
        assertions: from `assertion_json`, in the order of the signers.
        attested_by: members of staff who attest it, sorted.

    Returns:
        The evidence, null where there is nothing.
    """
    evidence: dict[str, Json] = {}
    if assertions:
        evidence["assertion"] = assertions[0]
    if assertions[1:]:
        evidence["joined"] = list(assertions[1:])
    if attested_by:
        evidence["attested_by"] = list(attested_by)
    return evidence or None


def shown_evidence(body: Body) -> dict[str, Json]:
    """Return the members of a body's evidence; none where it is null, hidden or no object."""
    evidence = body.evidence.value if isinstance(body.evidence, Evidence) else None
    return evidence if type(evidence) is dict else {}


def has_assertion(body: Body) -> bool:
    """Tell whether a body's evidence claims to be a passkey's signature."""
    return "assertion" in shown_evidence(body)


def check_age(context: CheckContext, signed_at: int, signers: int, code: str) -> None:
    """Refuse an old signature where the checker vouches for it; a party may get its part of the body later.

    Args:
        context: the checker's state.
        signed_at: when it was put before the person who signs, Unix seconds.
        signers: how many sign.
        code: of the `VerificationError`.
    """
    oldest = MAX_SIGNING_S if signers <= 1 else MAX_JOINT_SIGNING_S
    if context.role in _VOUCHING and not -CLOCK_S <= context.time - signed_at <= oldest:
        refuse(code, signed_at=signed_at)


def check_attested(body: Body, code: str) -> None:
    """Check that two different members of staff attest a body; raises `VerificationError` with the code."""
    evidence = shown_evidence(body)
    if "attested_by" not in evidence or len(names(evidence["attested_by"])) != ATTESTING_STAFF:
        refuse(code)


def check_signatures(
    body: Body, context: CheckContext, signed: Sequence[Signed], passkeys: Sequence[Sequence[Credential]]
) -> None:
    """Check the assertions in a body's evidence.

    Args:
        body: with its evidence.
        context: names object, version and head.
        signed: what each signer must have signed; at least one.
        passkeys: those of each signer's subject.

    Raises:
        InputError: ``encoding.*`` for malformed evidence.
        VerificationError: ``signing.count`` for more or fewer assertions than signers, ``signing.credential`` for a
            passkey that is none of the signer's, ``assertion.*``.
    """
    evidence = members(shown_evidence(body), {"assertion": dict}, {"attested_by": list, "joined": list})
    joined = evidence.get("joined", [])
    assertions = [evidence["assertion"], *(joined if type(joined) is list else [])]
    if len(assertions) != len(signed):
        refuse("signing.count")
    for assertion, what, own in zip(assertions, signed, passkeys, strict=True):
        _check_signature(assertion, body.content_root, context, what, own)


def _check_signature(
    assertion: Json, content_root: bytes, context: CheckContext, signed: Signed, passkeys: Sequence[Credential]
) -> None:
    """Check one assertion."""
    row = members(
        assertion, dict.fromkeys(("authenticator_data", "client_data_json", "credential_id", "signature"), str)
    )
    credential_id = unbase64(row["credential_id"])
    keys = [passkey.key for passkey in passkeys if passkey.credential_id == credential_id]
    if not keys:
        refuse("signing.credential")
    previous = None if context.previous is None else context.previous[0].digest
    expected = challenge(context.genesis.ledger, context.key, context.version, previous, content_root, signed)
    request = AssertionRequest(expected, context.genesis.rp_id, context.genesis.sign_origins)
    parts = (unbase64(row[name]) for name in ("client_data_json", "authenticator_data", "signature"))
    check_assertion(request, keys[0], *parts)
