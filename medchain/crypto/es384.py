"""The authentication key: ES384 (ECDSA on P-384 with SHA-384), as a JSON Web Key.

SMART and node-to-node tokens are made and checked by the JOSE library at a higher floor; here are the key itself and
the signatures that are no tokens (proof of possession). Keeps true: a public key is a point on the curve, its JWK has
one spelling. Trusts OpenSSL (through cryptography).
Source: RFC 7518 §3.4, §6.2; FIPS 186-5; `docs/spec/keys.md`.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from medchain.crypto.keywrap import derive_scalar
from medchain.crypto.signing import key_id
from medchain.encoding import Json, base64url, members
from medchain.errors import InputError

ES384: Final = "es384"
"""Algorithm name, as it enters a key id."""

PUBLIC_BYTES: Final = 97
"""Size of the uncompressed point (SEC 1 §2.3.3), the form that enters a key id."""

SIGNATURE_BYTES: Final = 96
"""Size of a signature: r ‖ s (RFC 7518 §3.4)."""

_COORDINATE_BYTES: Final = 48
_ORDER: Final = ec.SECP384R1().group_order
_ALGORITHM: Final = ec.ECDSA(SHA384())


class Es384Signer:
    """A P-384 private key.

    Attributes:
        public: uncompressed point, 97 bytes.
    """

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        """Derive the key.

        Args:
            seed: 32 secret bytes.

        Raises:
            InputError: ``keys.size`` for another size.
        """
        self._key = ec.derive_private_key(derive_scalar(seed, "es384", _ORDER), ec.SECP384R1())
        self.public = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def __repr__(self) -> str:
        """Name the key without showing it."""
        return f"Es384Signer(key_id={key_id(ES384, self.public)})"

    def sign(self, message: bytes) -> bytes:
        """Sign a message, which must start with a domain tag; returns r ‖ s, 96 bytes."""
        r, s = decode_dss_signature(self._key.sign(message, _ALGORITHM))
        return r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")

    def private_jwk(self) -> dict[str, str]:
        """Return the private JWK for the JOSE library; it is as secret as the seed."""
        scalar = self._key.private_numbers().private_value
        return {**public_jwk(self.public), "d": base64url(scalar.to_bytes(_COORDINATE_BYTES, "big"))}


def es384_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether an ES384 signature is valid.

    Args:
        public: uncompressed point, 97 bytes; anything else is "not valid".
        message: what was signed, not hashed.
        signature: r ‖ s, 96 bytes; any other size is "not valid".

    Returns:
        Whether the signature is valid.
    """
    key = _parsed(public)
    if key is None or len(signature) != SIGNATURE_BYTES:
        return False
    r, s = (int.from_bytes(half, "big") for half in (signature[:_COORDINATE_BYTES], signature[_COORDINATE_BYTES:]))
    try:
        key.verify(encode_dss_signature(r, s), message, _ALGORITHM)
    except InvalidSignature:
        return False
    return True


def public_jwk(public: bytes) -> dict[str, str]:
    """Return the public JWK of a point: exactly ``crv``, ``kty``, ``x``, ``y``.

    Raises:
        InputError: ``es384.public`` for bytes that are no point on the curve.
    """
    if _parsed(public) is None:
        raise InputError("es384.public")
    x, y = public[1 : 1 + _COORDINATE_BYTES], public[1 + _COORDINATE_BYTES :]
    return {"crv": "P-384", "kty": "EC", "x": base64url(x), "y": base64url(y)}


def parse_public_jwk(jwk: Json) -> bytes:
    """Read a public JWK strictly.

    Args:
        jwk: object with exactly ``crv``, ``kty``, ``x``, ``y``; so a private key is refused too.

    Returns:
        The uncompressed point, 97 bytes.

    Raises:
        InputError: ``encoding.members`` for other members, ``es384.public`` for other values.
    """
    found = members(jwk, {"crv": str, "kty": str, "x": str, "y": str})
    public = b"\x04" + _decode(found["x"]) + _decode(found["y"])
    if public_jwk(public) != found:
        raise InputError("es384.public")
    return public


def _decode(text: Json) -> bytes:
    """Decode a coordinate; the caller encodes again and compares."""
    try:
        return base64.urlsafe_b64decode(str(text))
    except (binascii.Error, ValueError):
        raise InputError("es384.public") from None


def _parsed(public: bytes) -> ec.EllipticCurvePublicKey | None:
    """Parse an uncompressed point; OpenSSL checks that it is on the curve."""
    if len(public) != PUBLIC_BYTES:
        return None
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), public)
    except ValueError:
        return None
