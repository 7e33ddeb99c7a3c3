"""The WebAuthn registration check: what a browser and a new passkey say when the passkey is made.

Keeps true: what passes was made for the expected challenge, at an expected origin, in no frame of another site, by a
user who was present and verified, and its key is one of ours. Who made the authenticator is not asked (attestation
``none``): a person is trusted because somebody who knows it handed over the code to enrol with. Pure.
Source: W3C WebAuthn Level 3 §6.1, §6.5.1, §7.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from medchain.crypto.assertion import (
    MAX_AUTHENTICATOR_DATA_BYTES,
    AssertionRequest,
    CredentialKey,
    check_client_data,
    parse_credential_key,
)
from medchain.errors import InputError, VerificationError

MAX_CREDENTIAL_BYTES: Final = 1023
"""Longest credential id (WebAuthn §4)."""

_CREATE: Final = "webauthn.create"
_HEAD: Final = 37
_AAGUID: Final = 16
_USER_PRESENT: Final = 0x01
_USER_VERIFIED: Final = 0x04
_ATTESTED: Final = 0x40
# The two forms of a key have these sizes and no others; what follows is extensions.
_KEY_SIZES: Final = (77, 42)


@dataclass(frozen=True, slots=True)
class NewPasskey:
    """A passkey that was just made.

    Attributes:
        credential_id: its id.
        key: its public key.
    """

    credential_id: bytes
    key: CredentialKey


def check_registration(request: AssertionRequest, client_data_json: bytes, authenticator_data: bytes) -> NewPasskey:
    """Check a registration.

    Args:
        request: what was asked.
        client_data_json: as the browser sent it.
        authenticator_data: as the authenticator made it.

    Returns:
        The passkey.

    Raises:
        VerificationError: ``assertion.*`` as for an assertion; ``registration.authenticator_data`` if malformed.
        InputError: ``assertion.credential_key`` for a key of another kind.
    """
    check_client_data(request, client_data_json, _CREATE)
    data = authenticator_data
    if not _HEAD + _AAGUID + 2 <= len(data) <= MAX_AUTHENTICATOR_DATA_BYTES or not data[32] & _ATTESTED:
        raise VerificationError("registration.authenticator_data")
    if data[:32] != sha256(request.rp_id.encode()).digest():
        raise VerificationError("assertion.rp_id")
    if not data[32] & _USER_PRESENT:
        raise VerificationError("assertion.user_present")
    if not data[32] & _USER_VERIFIED:
        raise VerificationError("assertion.user_verified")
    begins = _HEAD + _AAGUID + 2
    size = int.from_bytes(data[begins - 2 : begins], "big")
    credential_id, rest = data[begins : begins + size], data[begins + size :]
    if not 0 < size <= MAX_CREDENTIAL_BYTES or len(credential_id) != size:
        raise VerificationError("registration.authenticator_data")
    for key_size in _KEY_SIZES:
        try:
            return NewPasskey(credential_id, parse_credential_key(rest[:key_size]))
        except InputError:
            continue
    raise InputError("assertion.credential_key")
