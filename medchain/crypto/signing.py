"""Signatures: Ed25519 (transactions, cosignatures), ML-DSA-44 (cosignatures) and the ES256 check (passkeys).

Keeps true: an Ed25519 signature counts exactly when libsodium's ``crypto_sign_verify_detached`` says so, since in a
replicated machine two opinions are a fork; a malformed key or signature is "not valid", never an exception. Trusts
libsodium (through PyNaCl) and OpenSSL (through cryptography), and that callers sign only bytes with a domain tag.
Source: RFC 8032, FIPS 204, FIPS 186-5; `docs/spec/keys.md`.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.backends.openssl import backend
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
from nacl import __version__ as nacl_version
from nacl import bindings
from nacl._sodium import ffi, lib  # type: ignore[import-not-found]  # PyNaCl's compiled part has no types

from medchain.encoding import digest
from medchain.errors import InputError, VerificationError

ED25519: Final = "ed25519"
"""Algorithm name of Ed25519 keys, as it enters a key id."""

MLDSA44: Final = "mldsa44"
"""Algorithm name of ML-DSA-44 keys, as it enters a key id."""

SEED_BYTES: Final = 32
"""Size of the seed of either kind of signing key."""

ED25519_PUBLIC_BYTES: Final = 32
"""Size of an Ed25519 public key."""

ED25519_SIGNATURE_BYTES: Final = 64
"""Size of an Ed25519 signature."""

MLDSA44_PUBLIC_BYTES: Final = 1312
"""Size of an ML-DSA-44 public key."""

MLDSA44_SIGNATURE_BYTES: Final = 2420
"""Size of an ML-DSA-44 signature."""

MLDSA44_MAX_CONTEXT_BYTES: Final = 255
"""Longest context that ML-DSA accepts (FIPS 204 §5.2)."""

P256_POINT_BYTES: Final = 65
"""Size of an uncompressed P-256 point (SEC 1 §2.3.3)."""

_NULL: Final = ffi.NULL
# C2SP CCTV ed25519: vectors 7 (points with small-order components that cancel out), 51 (that do not) and 3 (a public
# key of small order). A rule that refuses mixed points errs on the first, one with the cofactor on the second,
# OpenSSL's on the third.
_RULE: Final = (
    (
        "10eb7c3acfb2bed3e0d6ab89bf5a3d6afddd1176ce4812e38d9fd485058fdb1f",
        (
            "36684ea91032ba5b1dbab2d02f4debc74c3327f2b3802e2e4d371aa42b12b56b"
            "bbfd00bd9c259d8d222d15e67a3d8228585050dbb9b9585be20d8fadc721da03"
        ),
        b"ed25519vectors",
        True,
    ),
    (
        "10eb7c3acfb2bed3e0d6ab89bf5a3d6afddd1176ce4812e38d9fd485058fdb1f",
        (
            "b62cf890de42c413b11b1411c9f01f1c4d77aa87ef182258d1251f69af2a3506"
            "030b03796b78f7afeadfccaedc9d09ce6d487d1ece1f16b1ae2b59b7e5c40603"
        ),
        b"ed25519vectors 3",
        False,
    ),
    (
        "0000000000000000000000000000000000000000000000000000000000000000",
        (
            "36684ea91032ba5b1dbab2d02f4debc74c3327f2b3802e2e4d371aa42b12b56b"
            "05ba9a796274d80437afa36f1236563f2f3b0aa84cecddc3d20914615ba4fe02"
        ),
        b"ed25519vectors 3",
        False,
    ),
)


def key_id(algorithm: str, public: bytes) -> str:
    """Name a public key.

    Args:
        algorithm: its algorithm in ASCII, such as `ED25519`; the same bytes under another algorithm are another key.
        public: its public bytes.

    Returns:
        32 lower-case hexadecimal digits: the first 16 bytes of the tagged digest (`docs/spec/keys.md`).
    """
    return digest("medchain/key/v1", algorithm.encode("ascii"), public)[:16].hex()


class Ed25519Signer:
    """An Ed25519 private key, expanded once, so that a signature is one call into libsodium.

    Attributes:
        public: 32 bytes.
    """

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        """Expand the key.

        Args:
            seed: 32 secret bytes (RFC 8032 §5.1.5).

        Raises:
            InputError: ``signing.seed`` for another size.
        """
        _check_seed(seed)
        self.public, self._secret = bindings.crypto_sign_seed_keypair(seed)

    def __repr__(self) -> str:
        """Name the key without showing it."""
        return f"Ed25519Signer(key_id={key_id(ED25519, self.public)})"

    def sign(self, message: bytes) -> bytes:
        """Sign a message, which must start with a domain tag; returns 64 bytes (RFC 8032 §5.1.6)."""
        return bindings.crypto_sign(message, self._secret)[:ED25519_SIGNATURE_BYTES]

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Tell whether a signature is the one that this key makes over a message, which `ed25519_verify` accepts.

        A key makes one and no other (RFC 8032 §5.1.6), and to make it again takes less than half of a check. That a
        signature is another one says nothing of whether it is valid.
        """
        return hmac.compare_digest(self.sign(message), signature)


def ed25519_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether libsodium accepts an Ed25519 signature.

    The rule is that of libsodium up to 1.0.20: no S ≥ L, no small-order R or A, no non-canonical A, and the equation
    without the cofactor. OpenSSL and later versions of libsodium differ (`check_ed25519_rule`).

    Args:
        public: 32 bytes; any other size is "not valid".
        message: what was signed.
        signature: 64 bytes; any other size is "not valid".

    Returns:
        Whether the signature is valid.
    """
    # libsodium does not know the sizes: a short key would be read past its end, a long signature taken for message.
    if len(public) != ED25519_PUBLIC_BYTES or len(signature) != ED25519_SIGNATURE_BYTES:
        return False
    # The call that `bindings.crypto_sign_open` makes, without a copy of the message, which nobody wants.
    signed = signature + message
    return int(lib.crypto_sign_open(_NULL, _NULL, signed, len(signed), public)) == 0


def check_ed25519_rule(verify: Callable[[bytes, bytes, bytes], bool] = ed25519_verify) -> None:
    """Check that the libsodium installed judges as the ledger's rule says; each node does so when it starts.

    Versions after 1.0.20 multiply by the cofactor and accept what older ones refuse. A node with such a version would
    leave the others at the first such signature, and anyone can make one for a key of his own.

    Args:
        verify: the function that is checked.

    Raises:
        VerificationError: ``signing.ed25519_rule``.
    """
    for public, signature, message, valid in _RULE:
        if verify(bytes.fromhex(public), message, bytes.fromhex(signature)) is not valid:
            raise VerificationError("signing.ed25519_rule")


def library_versions() -> str:
    """Name the libraries that sign and verify; PyNaCl's wheels bring their own libsodium, which tells no version."""
    return f"{backend.openssl_version_text()}, PyNaCl {nacl_version}"


class MlDsa44Signer:
    """An ML-DSA-44 private key, expanded once.

    Attributes:
        public: 1,312 bytes.
    """

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        """Expand the key.

        Args:
            seed: 32 secret bytes (ξ of FIPS 204 algorithm 1).

        Raises:
            InputError: ``signing.seed`` for another size.
        """
        _check_seed(seed)
        self._key = MLDSA44PrivateKey.from_seed_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        """Name the key without showing it."""
        return f"MlDsa44Signer(key_id={key_id(MLDSA44, self.public)})"

    def sign(self, message: bytes, context: bytes = b"") -> bytes:
        """Sign a message, hedged (FIPS 204 algorithm 2).

        Args:
            message: what to sign; it starts with a domain tag.
            context: at most 255 bytes.

        Returns:
            2,420 bytes.

        Raises:
            InputError: ``signing.context`` for a longer context.
        """
        if len(context) > MLDSA44_MAX_CONTEXT_BYTES:
            raise InputError("signing.context", size=len(context))
        return self._key.sign(message, context)


def mldsa44_verify(public: bytes, message: bytes, signature: bytes, context: bytes = b"") -> bool:
    """Tell whether an ML-DSA-44 signature is valid (FIPS 204 algorithm 3).

    Args:
        public: 1,312 bytes; any other size is "not valid".
        message: what was signed.
        signature: 2,420 bytes; any other size is "not valid".
        context: at most 255 bytes; longer is "not valid".

    Returns:
        Whether the signature is valid.
    """
    if len(public) != MLDSA44_PUBLIC_BYTES or len(context) > MLDSA44_MAX_CONTEXT_BYTES:
        return False
    try:
        MLDSA44PublicKey.from_public_bytes(public).verify(signature, message, context)
    except InvalidSignature:
        return False
    return True


def es256_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether an ES256 signature (ECDSA on P-256 with SHA-256) is valid.

    Args:
        public: uncompressed point, 65 bytes starting with 4; anything else, or a point off the curve, is "not valid".
        message: what was signed, not hashed.
        signature: DER ``SEQUENCE { r, s }``, as WebAuthn carries it; a high s is accepted, as the standard says.

    Returns:
        Whether the signature is valid.
    """
    key = _p256_key(public)
    if key is None:
        return False
    try:
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def is_p256_point(public: bytes) -> bool:
    """Tell whether bytes are an uncompressed point on P-256 (SEC 1 §2.3.4); 65 bytes, the first of them 4."""
    return _p256_key(public) is not None


def _p256_key(public: bytes) -> ec.EllipticCurvePublicKey | None:
    """Parse an uncompressed point; OpenSSL checks that it is on the curve."""
    if len(public) != P256_POINT_BYTES:
        return None
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
    except ValueError:
        return None


def _check_seed(seed: bytes) -> None:
    """Refuse a seed of another size."""
    if len(seed) != SEED_BYTES:
        raise InputError("signing.seed", size=len(seed))
