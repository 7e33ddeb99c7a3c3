"""Bodies on their way: sealed to one organisation each, and what several of them are brought in.

Keeps true: what is sealed is bound to receiver, ledger, object and version, and its size tells only of how many KiB it
is. Trusts whoever sealed for nothing: HPKE does not name it.
Source: `docs/spec/body.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from medchain.crypto.sealing import SealingPrivateKey, open_sealed, seal_to
from medchain.encoding import Json, base64_text, canonical, members, parse_canonical, unbase64, unhex
from medchain.errors import InputError, UnavailableError, VerificationError
from medchain.ledger.members import ENCRYPTION_KEY, Key, Members
from medchain.ledger.object import MAX_BODY_BYTES, Body
from medchain.ledger.transaction import HASH_BYTES

SEALED_TYPE: Final = "medchain/sealed-body/v1"
"""Type member of a sealed body, and of what it is bound to."""

BODIES_TYPE: Final = "medchain/bodies/v1"
"""Type member of a delivery of bodies."""

STORED_TYPE: Final = "medchain/bodies-stored/v1"
"""Type member of the answer to a delivery."""

MAX_DOCUMENT_BYTES: Final = 2 << 20
"""Largest delivery or endorsement request."""

MAX_BODIES: Final = 16
"""Most bodies of one document."""

_PAD: Final = 1024
_MARK: Final = b"\x80"
_SEALED: Final = {"key": str, "object": str, "sealed": str, "type": str, "version": int}


@dataclass(frozen=True, slots=True)
class OpenedBody:
    """A body as it came out of its seal; its hash is not compared yet.

    Attributes:
        object: map key of its object, 32 bytes.
        version: version of its object.
        body: whole or redacted.
    """

    object: bytes
    version: int
    body: Body


def seal_body(key: Key, ledger: bytes, opened: OpenedBody) -> Json:
    """Seal a body to an organisation.

    Args:
        key: its encryption key, from the ledger.
        ledger: ledger id, 32 bytes.
        opened: object, version and the part of the body that it gets.

    Returns:
        The sealed body as JSON.

    Raises:
        UnavailableError: ``body.unsealable`` for a key to which nothing can be sealed.
    """
    info = _info(key.id, ledger, opened.object, opened.version)
    plain = canonical(opened.body.to_json()) + _MARK
    try:
        sealed = seal_to(key.public, info, b"", plain.ljust(-(-len(plain) // _PAD) * _PAD, b"\0"))
    except InputError as error:
        # A member lists its key itself, and the ledger cannot tell: to others it is as one that does not answer.
        raise UnavailableError("body.unsealable", key_id=key.id) from error
    return {
        "key": key.id,
        "object": opened.object.hex(),
        "sealed": base64_text(sealed),
        "type": SEALED_TYPE,
        "version": opened.version,
    }


def open_body(document: Json, ledger: bytes, keys: Mapping[str, SealingPrivateKey]) -> OpenedBody:
    """Open a sealed body.

    Args:
        document: from `seal_body`.
        ledger: ledger id, 32 bytes.
        keys: this organisation's encryption keys by id.

    Returns:
        What was sealed.

    Raises:
        InputError: ``encoding.*``, ``body.malformed``.
        VerificationError: ``body.key`` for a key that is not ours, ``sealing.authentication``.
    """
    top = members(document, _SEALED)
    version, private = top["version"], keys.get(str(top["key"]))
    if top["type"] != SEALED_TYPE or type(version) is not int or version < 1:
        raise InputError("body.malformed", member="type")
    if private is None:
        raise VerificationError("body.key")
    key = unhex(top["object"], HASH_BYTES)
    info = _info(private.key_id, ledger, key, version)
    padded = bytes(open_sealed(private, info, b"", unbase64(top["sealed"], max_bytes=2 * MAX_BODY_BYTES)))
    plain = padded.rstrip(b"\0")
    if len(padded) % _PAD or len(padded) - len(plain) >= _PAD or not plain.endswith(_MARK):
        raise InputError("body.malformed", member="padding")
    return OpenedBody(key, version, Body.from_json(parse_canonical(plain[:-1], max_bytes=MAX_BODY_BYTES)))


def delivery(payload: bytes | None, sealed: Sequence[Json]) -> Json:
    """Put a delivery of bodies together.

    Args:
        payload: the transaction that the bodies belong to; None for objects that are on the ledger.
        sealed: from `seal_body`, all to one organisation.
    """
    text = None if payload is None else base64_text(payload)
    return {"bodies": list(sealed), "payload": text, "type": BODIES_TYPE}


def bodies_document(payload: bytes | None, sealed: Sequence[Json]) -> bytes:
    """Write a `delivery` of bodies as canonical JSON; the same arguments."""
    return canonical(delivery(payload, sealed))


def encryption_key(snapshot: Members, org_id: str) -> Key:
    """Return the current encryption key of an active member; raises `VerificationError` ``body.party``."""
    organisation = next((item for item in snapshot.active if item.org_id == org_id), None)
    if organisation is None:
        raise VerificationError("body.party", org_id=org_id)
    return organisation.key(ENCRYPTION_KEY)


def _info(key_id: str, ledger: bytes, key: bytes, version: int) -> bytes:
    """Bind a sealed body to receiver, ledger, object and version."""
    return canonical(
        {"key": key_id, "ledger": ledger.hex(), "object": key.hex(), "type": SEALED_TYPE, "version": version}
    )
