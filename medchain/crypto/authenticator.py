"""A software authenticator, for demonstrations and tests only.

It stands for a phone or security key: it keeps a passkey's private key and signs assertions. A patient's real key is
made in an authenticator that never gives it away; this one derives it from a seed, so that a demonstration can be
repeated. Trusts whoever holds the seed.
Nothing but `medchain demo` and tests may import it. Keeps true: the same seed and relying party give the same passkey.
Source: W3C WebAuthn Level 3 §6.1, §6.3.3.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from medchain.crypto.assertion import CredentialKey, PasskeyAlgorithm
from medchain.crypto.keywrap import derive, derive_scalar
from medchain.crypto.signing import Ed25519Signer


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a passkey answers.

    Attributes:
        credential_id: which passkey, 32 bytes.
        client_data_json: what the browser made.
        authenticator_data: what the authenticator made.
        signature: over both.
    """

    credential_id: bytes
    client_data_json: bytes
    authenticator_data: bytes
    signature: bytes


class SoftwareAuthenticator:
    """One passkey of one relying party.

    Attributes:
        credential_id: 32 bytes.
        credential: its public key.
        rp_id: its relying party.
    """

    __slots__ = ("_seed", "credential", "credential_id", "rp_id")

    def __init__(self, seed: bytes, rp_id: str, algorithm: PasskeyAlgorithm = PasskeyAlgorithm.ES256) -> None:
        """Make the passkey.

        Args:
            seed: 32 secret bytes.
            rp_id: relying-party id.
            algorithm: how it signs.

        Raises:
            InputError: ``keys.size`` for a seed of another size.
        """
        self.rp_id = rp_id
        self._seed = derive(seed, f"passkey {algorithm} {sha256(rp_id.encode()).hexdigest()}")
        self.credential = CredentialKey(algorithm, self._public(algorithm))
        self.credential_id = bytes(derive(self._seed, "credential id"))

    def __repr__(self) -> str:
        """Name the passkey without showing it."""
        return f"SoftwareAuthenticator(credential_id={self.credential_id.hex()})"

    def sign(
        self, challenge: bytes, origin: str, *, user_present: bool = True, user_verified: bool = True
    ) -> Assertion:
        """Answer a challenge, as browser and authenticator together do.

        Args:
            challenge: what to sign.
            origin: address of the page that asks.
            user_present: whether the user touched it.
            user_verified: whether the user gave a PIN or biometrics.

        Returns:
            The assertion; the same for the same arguments.
        """
        client_data = {
            "type": "webauthn.get",
            "challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "origin": origin,
            "crossOrigin": False,
        }
        flags = 0x01 * user_present | 0x04 * user_verified
        authenticator_data = sha256(self.rp_id.encode()).digest() + bytes((flags,)) + bytes(4)
        return self.answer(json.dumps(client_data, separators=(",", ":")).encode(), authenticator_data)

    def answer(self, client_data_json: bytes, authenticator_data: bytes) -> Assertion:
        """Sign any client and authenticator data, wrong ones too, so that tests can show that they are refused.

        Args:
            client_data_json: what the browser would have made.
            authenticator_data: what the authenticator would have made.

        Returns:
            The assertion.
        """
        message = authenticator_data + sha256(client_data_json).digest()
        if self.credential.algorithm is PasskeyAlgorithm.ES256:
            signature = self._p256().sign(message, ec.ECDSA(SHA256(), deterministic_signing=True))
        else:
            signature = Ed25519Signer(self._seed).sign(message)
        return Assertion(self.credential_id, client_data_json, authenticator_data, signature)

    def _p256(self) -> ec.EllipticCurvePrivateKey:
        """Derive the ES256 private key."""
        curve = ec.SECP256R1()
        return ec.derive_private_key(derive_scalar(self._seed, "es256", curve.group_order), curve)

    def _public(self, algorithm: PasskeyAlgorithm) -> bytes:
        """Derive the public key."""
        if algorithm is PasskeyAlgorithm.ES256:
            return self._p256().public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return Ed25519Signer(self._seed).public
