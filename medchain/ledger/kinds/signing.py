"""What a passkey signs, and how the signature is checked: the same for consents, withdrawals and passkey changes.

Keeps true: a signature counts for one ledger, object, version, operation and content, only at the genesis' signing
origins, and only from a passkey of the subject's head. Trusts the subject's endorsers for who holds the passkeys.
Source: `docs/spec/consent.md`; W3C WebAuthn Level 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from medchain.crypto.assertion import AssertionRequest, CredentialKey, check_assertion
from medchain.encoding import Json, base64_text, canonical, digest, members, unbase64
from medchain.ledger.kind import CheckContext, refuse
from medchain.ledger.object import Body, Evidence


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
        operation: ``consent/create``, ``consent/renew``, ``consent/withdraw``, ``subject/update``.
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
    """Compute the challenge that the passkey signs.

    Args:
        ledger: ledger id, 32 bytes.
        object_key: map key of the object that is created or changed, 32 bytes. Not its id alone: another organisation
            could make an object of the same id, and so revive under its own name what the patient had stopped.
        version: the version that it gets.
        previous: digest of its head, None at version 1.
        content_root: of the body whose evidence the assertion will be.
        signed: operation, subject, acting for, nonce.

    Returns:
        32 bytes.
    """
    document: Json = {
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
    return digest("medchain/consent-challenge/v1", canonical(document))


def assertion_evidence(
    credential_id: bytes, client_data_json: bytes, authenticator_data: bytes, signature: bytes
) -> Json:
    """Write an assertion as evidence."""
    return {
        "assertion": {
            "authenticator_data": base64_text(authenticator_data),
            "client_data_json": base64_text(client_data_json),
            "credential_id": base64_text(credential_id),
            "signature": base64_text(signature),
        }
    }


def has_assertion(body: Body) -> bool:
    """Tell whether a body's evidence claims to be a passkey's signature."""
    evidence = body.evidence
    return isinstance(evidence, Evidence) and type(evidence.value) is dict and "assertion" in evidence.value


def check_signature(body: Body, context: CheckContext, signed: Signed, passkeys: Sequence[Credential]) -> None:
    """Check the assertion in a body's evidence.

    Args:
        body: with its evidence.
        context: names object, version and head.
        signed: what it must have signed.
        passkeys: those of the signer's subject head.

    Raises:
        InputError: ``encoding.*`` for malformed evidence.
        VerificationError: ``signing.credential`` for a passkey that is none of the subject's, ``assertion.*``.
    """
    evidence = body.evidence.value if isinstance(body.evidence, Evidence) else None
    text = dict.fromkeys(("authenticator_data", "client_data_json", "credential_id", "signature"), str)
    assertion = members(members(evidence, {"assertion": dict})["assertion"], text)
    credential_id = unbase64(assertion["credential_id"])
    keys = [passkey.key for passkey in passkeys if passkey.credential_id == credential_id]
    if not keys:
        refuse("signing.credential")
    previous = None if context.previous is None else context.previous[0].digest
    expected = challenge(context.genesis.ledger, context.key, context.version, previous, body.content_root, signed)
    request = AssertionRequest(expected, context.genesis.rp_id, context.genesis.sign_origins)
    parts = (unbase64(assertion[name]) for name in ("client_data_json", "authenticator_data", "signature"))
    check_assertion(request, keys[0], *parts)
