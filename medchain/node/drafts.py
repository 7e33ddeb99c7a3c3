"""Drafts: bodies made ready to be signed by passkeys, and put together with the answers.

Two steps each: a draft, with the challenges that the passkeys are to sign, made from the very object that will go to
the ledger; then, with the answers, the submission. Keeps true: what is submitted is what was signed, byte for byte; a
draft is bound to the head that it was made on. Trusts the page for showing the person what it drafts: an authenticator
shows nothing.
Source: `docs/spec/consent.md` 6, 7; `docs/spec/subject.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import InputError, NotFoundError
from medchain.ledger.kind import BodySource
from medchain.ledger.kinds import signing
from medchain.ledger.object import MAX_BODY_BYTES, Body, StateRecord, build_body
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

_SALT_BYTES: Final = 32
_MAX_DRAFT_BYTES: Final = 2 * MAX_BODY_BYTES
_MAX_SIGNERS: Final = 16


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


class Target(NamedTuple):
    """What a body will be the next version of.

    Attributes:
        object_id: 16 bytes.
        object: map key, 32 bytes.
        version: that it gets.
        previous: digest of the head, None at version 1.
    """

    object_id: bytes
    object: bytes
    version: int
    previous: bytes | None

    @classmethod
    def after(cls, record: StateRecord) -> Target:
        """Return what comes after a head."""
        return cls(record.id, record.key, record.version + 1, record.digest)


@dataclass(frozen=True, slots=True)
class ToSign:
    """A body without its evidence, and what the passkeys are to sign.

    Attributes:
        kind: kind of the object.
        object_id: its id, 16 bytes.
        object: its map key, 32 bytes.
        version: that the signature is for.
        body: content, evidence still null.
        documents: what each signer signs (`signing.signed_document`), in their order.
    """

    kind: str
    object_id: bytes
    object: bytes
    version: int
    body: Body
    documents: tuple[dict[str, Json], ...]

    @property
    def challenges(self) -> tuple[bytes, ...]:
        """What the passkeys sign, 32 bytes for each signer."""
        return tuple(signing.challenge_of(row) for row in self.documents)

    @property
    def challenge(self) -> bytes:
        """What the first signer signs, 32 bytes."""
        return self.challenges[0]

    def encode(self) -> bytes:
        """Write it, to be kept until all have signed; safely, since who reads it can stop a consent."""
        return canonical(
            {
                "body": self.body.to_json(),
                "documents": list(self.documents),
                "kind": self.kind,
                "object": self.object.hex(),
                "object_id": self.object_id.hex(),
                "version": self.version,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> ToSign:
        """Read what `encode` wrote; raises `InputError` ``encoding.*``, ``body.malformed``, ``draft.malformed``."""
        text = dict.fromkeys(("kind", "object", "object_id"), str)
        required = text | {"body": dict, "documents": list, "version": int}
        top = members(parse_canonical(data, max_bytes=_MAX_DRAFT_BYTES), required)
        version, rows = top["version"], top["documents"]
        if type(version) is not int or type(rows) is not list or not 0 < len(rows) <= _MAX_SIGNERS:
            raise InputError("draft.malformed")
        return cls(
            str(top["kind"]),
            unhex(top["object_id"], ID_BYTES),
            unhex(top["object"], HASH_BYTES),
            version,
            Body.from_json(top["body"]),
            tuple(row for row in rows if type(row) is dict),
        )


@dataclass(frozen=True, slots=True)
class Drafts:
    """Makes drafts of one ledger.

    Attributes:
        ledger_id: 32 bytes.
        bodies: bodies that this organisation holds.
        random: gives as many unpredictable bytes as it is asked for.
    """

    ledger_id: bytes
    bodies: BodySource
    random: Callable[[int], bytes]

    def head(self, key: bytes, kind: str) -> tuple[StateRecord, Body]:
        """Return an object's head and body; raises `NotFoundError` ``KIND.unknown``."""
        found = self.bodies.head(key)
        if found is None or found[0].kind != kind:
            code = f"{kind}.unknown"
            raise NotFoundError(code)
        return found

    def body(self, kind: str, content: Mapping[str, Json], evidence: Json = None) -> Body:
        """Make a body with fresh salts."""
        return build_body(kind, content, evidence, self.random)

    def to_sign(self, body: Body, target: Target, signed: Sequence[signing.Signed]) -> ToSign:
        """Compute the challenges for the object that a body will be the next version of."""
        place = (target.object, target.version, target.previous)
        documents = tuple(signing.signed_document(self.ledger_id, *place, body.content_root, row) for row in signed)
        return ToSign(body.kind, target.object_id, target.object, target.version, body, documents)

    def signed(self, draft: ToSign, assertions: Sequence[Assertion], staff: Sequence[str] = ()) -> Body:
        """Put the passkeys' answers into the evidence; the content stays what was signed.

        Args:
            draft: from `to_sign`.
            assertions: one for each of its challenges, in their order.
            staff: members of staff who attest it.

        Returns:
            The whole body.

        Raises:
            InputError: ``body.malformed`` for a redacted draft, ``draft.assertions`` for another number of answers.
        """
        if len(assertions) != len(draft.documents):
            raise InputError("draft.assertions", count=len(draft.documents))
        rows = [
            signing.assertion_json(row.credential_id, row.client_data_json, row.authenticator_data, row.signature)
            for row in assertions
        ]
        return self._with_evidence(draft, rows, staff)

    def attested(self, draft: ToSign, staff: Sequence[str]) -> Body:
        """Put into the evidence that members of staff attest what no passkey signed.

        Args:
            draft: from `to_sign`.
            staff: who attests it.

        Returns:
            The whole body.

        Raises:
            InputError: ``body.malformed`` for a redacted draft.
        """
        return self._with_evidence(draft, (), staff)

    def _with_evidence(self, draft: ToSign, rows: Sequence[dict[str, Json]], staff: Sequence[str]) -> Body:
        """Put assertions and attestations into the evidence."""
        if not draft.body.is_full:
            raise InputError("body.malformed", kind=draft.kind)
        evidence = signing.signed_evidence(rows, sorted(set(staff)))
        return draft.body.with_evidence(self.random(_SALT_BYTES), evidence)
