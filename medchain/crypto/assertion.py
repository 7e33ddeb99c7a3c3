"""The WebAuthn assertion check: did this passkey sign this challenge, at one of our own addresses.

A pure function of its arguments, so that custodian, recipient and independent endorser each reach the same verdict.
Keeps true: what passes was signed over the expected challenge, at an expected origin, in no frame of another site, by a
user who was present and verified. It does not show what the user saw: an authenticator displays no text. ``signCount``
is ignored: synchronised passkeys leave it at zero. Trusts `medchain.crypto.signing`.
Source: W3C WebAuthn Level 3 §6.1, §7.2; RFC 9052 §7 (COSE keys); CTAP 2.1 §8 (canonical CBOR).
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final, NoReturn

from medchain.crypto.signing import ED25519_PUBLIC_BYTES, ed25519_verify, es256_verify, is_p256_point
from medchain.errors import InputError, VerificationError

MAX_CLIENT_DATA_BYTES: Final = 8192
"""Largest client data that is looked at."""

MAX_AUTHENTICATOR_DATA_BYTES: Final = 4096
"""Largest authenticator data that is looked at."""

_MAX_CBOR_DEPTH: Final = 8

# A credential key has one encoding (CTAP2 canonical CBOR), so it is matched, not parsed:
# {1: 2, 3: -7, -1: 1, -2: x, -3: y} and {1: 1, 3: -8, -1: 6, -2: x}.
_COSE_ES256_X: Final = bytes.fromhex("a5010203262001215820")
_COSE_ES256_Y: Final = bytes.fromhex("225820")
_COSE_ED25519: Final = bytes.fromhex("a4010103272006215820")


class PasskeyAlgorithm(StrEnum):
    """Signature algorithm of a passkey."""

    ES256 = "es256"
    ED25519 = "ed25519"


@dataclass(frozen=True, slots=True)
class CredentialKey:
    """The public key of a passkey.

    Attributes:
        algorithm: how it signs.
        public: uncompressed P-256 point (65 bytes) or Ed25519 key (32 bytes).
    """

    algorithm: PasskeyAlgorithm
    public: bytes

    def __post_init__(self) -> None:
        """Refuse what is no such key; raises `InputError` ``assertion.credential_key``."""
        if self.algorithm is PasskeyAlgorithm.ES256:
            valid = is_p256_point(self.public)
        else:
            valid = len(self.public) == ED25519_PUBLIC_BYTES
        if not valid:
            raise InputError("assertion.credential_key")


@dataclass(frozen=True, slots=True)
class AssertionRequest:
    """What was asked of the passkey.

    Attributes:
        challenge: the bytes to be signed, a digest of what the user agrees to.
        rp_id: relying-party id of the ledger's genesis.
        origins: addresses at which this signature counts.
    """

    challenge: bytes
    rp_id: str
    origins: frozenset[str]


class _Flag:
    """Bits of the authenticator data's flags (WebAuthn §6.1)."""

    USER_PRESENT: Final = 0x01
    USER_VERIFIED: Final = 0x04
    BACKUP_ELIGIBLE: Final = 0x08
    BACKUP_STATE: Final = 0x10
    ATTESTED_CREDENTIAL: Final = 0x40
    EXTENSIONS: Final = 0x80


def parse_credential_key(cose: bytes) -> CredentialKey:
    """Read a credential public key.

    Args:
        cose: COSE_Key in CTAP2 canonical CBOR, with exactly the members that its type needs.

    Returns:
        The key.

    Raises:
        InputError: ``assertion.credential_key`` for any other type, curve, encoding, or a point off the curve.
    """
    x_at = len(_COSE_ES256_X)
    x, between, y = cose[x_at : x_at + 32], cose[x_at + 32 : x_at + 35], cose[x_at + 35 :]
    if cose.startswith(_COSE_ES256_X) and between == _COSE_ES256_Y:
        return CredentialKey(PasskeyAlgorithm.ES256, b"\x04" + x + y)
    if cose.startswith(_COSE_ED25519):
        return CredentialKey(PasskeyAlgorithm.ED25519, cose[len(_COSE_ED25519) :])
    raise InputError("assertion.credential_key")


def encode_credential_key(key: CredentialKey) -> bytes:
    """Write a credential public key as COSE_Key; the inverse of `parse_credential_key`."""
    if key.algorithm is PasskeyAlgorithm.ES256:
        return _COSE_ES256_X + key.public[1:33] + _COSE_ES256_Y + key.public[33:]
    return _COSE_ED25519 + key.public


def check_assertion(
    request: AssertionRequest,
    credential: CredentialKey,
    client_data_json: bytes,
    authenticator_data: bytes,
    signature: bytes,
) -> None:
    """Check an assertion (WebAuthn Level 3 §7.2).

    Args:
        request: what was asked.
        credential: the passkey's public key, from the subject's record.
        client_data_json: as the browser sent it.
        authenticator_data: as the authenticator made it; extension outputs are allowed and ignored.
        signature: DER (ES256) or 64 bytes (Ed25519).

    Raises:
        VerificationError: ``assertion.client_data`` or ``assertion.authenticator_data`` if malformed, else the first
            that fails of ``assertion.type``, ``.challenge``, ``.origin``, ``.cross_origin``, ``.top_origin``,
            ``.rp_id``, ``.user_present``, ``.user_verified``, ``.signature``.
    """
    check_client_data(request, client_data_json, "webauthn.get")
    _check_authenticator_data(request, authenticator_data)
    signed = authenticator_data + sha256(client_data_json).digest()
    verify = es256_verify if credential.algorithm is PasskeyAlgorithm.ES256 else ed25519_verify
    if not verify(credential.public, signed, signature):
        raise VerificationError("assertion.signature")


def check_client_data(request: AssertionRequest, raw: bytes, kind: str) -> None:
    """Check what the browser says of a ceremony.

    Args:
        request: what was asked.
        raw: as the browser sent it.
        kind: ``webauthn.get`` for an assertion, ``webauthn.create`` for a registration.

    Raises:
        VerificationError: ``assertion.client_data``, or the first that fails of ``assertion.type``, ``.challenge``,
            ``.origin``, ``.cross_origin``, ``.top_origin``.
    """
    data = _client_data(raw)
    challenge = base64.urlsafe_b64encode(request.challenge).rstrip(b"=").decode()
    origin = data.get("origin")
    checks = (
        ("assertion.type", data.get("type") == kind),
        ("assertion.challenge", data.get("challenge") == challenge),
        ("assertion.origin", isinstance(origin, str) and origin in request.origins),
        # `is`: neither null nor 0 is the value that the specification allows.
        ("assertion.cross_origin", data.get("crossOrigin", False) is False),
        ("assertion.top_origin", "topOrigin" not in data),
    )
    for code, holds in checks:
        if not holds:
            raise VerificationError(code)


def _client_data(raw: bytes) -> dict[str, object]:
    """Parse client data: a JSON object in UTF-8, each name once. Members that we do not know are allowed (§5.8.1)."""
    if len(raw) > MAX_CLIENT_DATA_BYTES:
        raise VerificationError("assertion.client_data")
    try:
        data = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise VerificationError("assertion.client_data") from None
    if type(data) is not dict:
        raise VerificationError("assertion.client_data")
    return data


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build an object, refusing a name that occurs twice: another reader could take the other value."""
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError
    return data


def _no_constant(_name: str) -> NoReturn:
    """Refuse NaN and the infinities, which are no JSON."""
    raise ValueError


def _check_authenticator_data(request: AssertionRequest, data: bytes) -> None:
    """Check what the authenticator says of itself and of the user."""
    if not 37 <= len(data) <= MAX_AUTHENTICATOR_DATA_BYTES:  # noqa: PLR2004  # rpIdHash, flags, signCount
        raise VerificationError("assertion.authenticator_data")
    flags, extensions = data[32], data[37:]
    if not _well_formed(flags, extensions):
        raise VerificationError("assertion.authenticator_data")
    if data[:32] != sha256(request.rp_id.encode()).digest():
        raise VerificationError("assertion.rp_id")
    if not flags & _Flag.USER_PRESENT:
        raise VerificationError("assertion.user_present")
    if not flags & _Flag.USER_VERIFIED:
        raise VerificationError("assertion.user_verified")


def _well_formed(flags: int, extensions: bytes) -> bool:
    """Tell whether flags and what follows them agree: no attested credential, extensions exactly if announced."""
    if flags & _Flag.ATTESTED_CREDENTIAL or (flags & _Flag.BACKUP_STATE and not flags & _Flag.BACKUP_ELIGIBLE):
        return False
    if not flags & _Flag.EXTENSIONS:
        return not extensions
    try:
        return extensions[0] >> 5 == _MAP and _skip(extensions, 0, _MAX_CBOR_DEPTH) == len(extensions)
    except (IndexError, ValueError):
        return False


_BYTES: Final = 2
_TEXT: Final = 3
_ARRAY: Final = 4
_MAP: Final = 5
_TAG: Final = 6


def _skip(data: bytes, at: int, depth: int) -> int:
    """Return where a CBOR item ends (RFC 8949 §3): definite lengths, no tags, not too deep.

    What is cut short ends beyond the data or raises `IndexError`; each item costs a byte, so a large count costs
    nothing.
    """
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    argument = info
    if info >= 24:  # noqa: PLR2004  # the argument follows in 1, 2, 4 or 8 bytes
        if info > 27:  # noqa: PLR2004  # reserved or indefinite
            raise ValueError
        size = 1 << (info - 24)
        argument = int.from_bytes(data[at : at + size], "big")
        at += size
    if major in {_BYTES, _TEXT}:
        at += argument
    if depth == 0 or major == _TAG:
        raise ValueError
    items = {_ARRAY: argument, _MAP: 2 * argument}.get(major, 0)
    for _ in range(items):
        at = _skip(data, at, depth - 1)
    return at
