"""Verifiable random functions: ECVRF-EDWARDS25519-SHA512-TAI.

Who holds the secret key alone can compute the output of an input; who has the proof can check that there was no choice.
Keeps true: a key and an input have one output; a key, a proof's point or a scalar that is not canonical, or lies
outside the prime-order group, is refused, which is stricter than the RFC where it leaves freedom. No arithmetic of our
own: points and scalars are libsodium's, whose multiplications by a secret take the same time whatever it is. How often
an input is hashed until it is a point does depend on the input. Trusts libsodium, and that callers give inputs a
domain tag. Source: RFC 9381 §5, suite 3 of §5.5, with validate_key; `docs/spec/keys.md`.
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from hashlib import sha512
from typing import Final, NoReturn

from nacl import bindings
from nacl.exceptions import CryptoError

from medchain.crypto.signing import key_id
from medchain.errors import InputError, VerificationError

VRF: Final = "ecvrf-edwards25519-sha512-tai"
"""Algorithm name of VRF keys, as it enters a key id."""

VRF_SEED_BYTES: Final = 32
"""Size of the secret seed (SK)."""

VRF_PUBLIC_BYTES: Final = 32
"""Size of a public key (PK)."""

VRF_PROOF_BYTES: Final = 80
"""Size of a proof (pi): point, challenge, scalar."""

VRF_OUTPUT_BYTES: Final = 64
"""Size of an output (beta)."""

_POINT: Final = 32
_CHALLENGE: Final = 16
_PRIME: Final = 2**255 - 19
_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_EIGHTH: Final = pow(8, -1, _ORDER).to_bytes(32, "little")
_IDENTITY: Final = b"\1" + bytes(31)
_TRIES: Final = 256
_KEYS: Final = 256
_SUITE: Final = b"\3"
_ENCODE: Final = _SUITE + b"\1"
_CHALLENGE_OF: Final = _SUITE + b"\2"
_OUTPUT: Final = _SUITE + b"\3"
_BACK: Final = b"\0"


class VrfKey:
    """A secret key, expanded once.

    Attributes:
        public: 32 bytes.
    """

    __slots__ = ("_nonce_key", "_scalar", "public")

    def __init__(self, seed: bytes) -> None:
        """Expand the key.

        Args:
            seed: 32 secret bytes, used for nothing else (RFC 8032 §5.1.5).

        Raises:
            InputError: ``vrf.seed`` for another size.
        """
        if len(seed) != VRF_SEED_BYTES:
            raise InputError("vrf.seed", size=len(seed))
        expanded = sha512(seed).digest()
        self._scalar = bytes((expanded[0] & 248, *expanded[1:31], expanded[31] & 127 | 64))
        self._nonce_key = expanded[32:]
        self.public = bindings.crypto_scalarmult_ed25519_base_noclamp(self._scalar)

    def __repr__(self) -> str:
        """Name the key without showing it."""
        return f"VrfKey(key_id={vrf_key_id(self.public)})"

    def prove(self, alpha: bytes) -> bytes:
        """Compute the proof for an input, whose output `vrf_output` tells (RFC 9381 §5.1).

        Args:
            alpha: the input, of any length; it starts with a domain tag.

        Returns:
            80 bytes, the same for the same input.
        """
        point = _encode_to_curve(self.public, alpha)
        gamma = bindings.crypto_scalarmult_ed25519_noclamp(self._scalar, point)
        nonce = bindings.crypto_core_ed25519_scalar_reduce(sha512(self._nonce_key + point).digest())
        u = bindings.crypto_scalarmult_ed25519_base_noclamp(nonce)
        v = bindings.crypto_scalarmult_ed25519_noclamp(nonce, point)
        challenge = _challenge(self.public, point, gamma, u, v)
        product = bindings.crypto_core_ed25519_scalar_mul(_scalar_of(challenge), self._scalar)
        return gamma + challenge + bindings.crypto_core_ed25519_scalar_add(product, nonce)

    def output(self, alpha: bytes) -> bytes:
        """Compute the output for an input without a proof, which costs less than half (RFC 9381 §5.1 and 5.2).

        Args:
            alpha: as in `prove`.

        Returns:
            64 bytes, those of `vrf_output` of its proof.
        """
        return _output(bindings.crypto_scalarmult_ed25519_noclamp(self._scalar, _encode_to_curve(self.public, alpha)))


def vrf_key_id(public: bytes) -> str:
    """Name a public key, as `medchain.crypto.signing.key_id` does."""
    return key_id(VRF, public)


def is_vrf_public(public: bytes) -> bool:
    """Tell whether bytes are a public key: a canonical point of the prime-order group, not the identity.

    Under a point of small order, one output would fit every input (RFC 9381 §5.4.5).
    """
    return len(public) == VRF_PUBLIC_BYTES and _is_known_of_group(public)


def vrf_verify(public: bytes, alpha: bytes, proof: bytes) -> bytes:
    """Check a proof (RFC 9381 §5.3).

    Args:
        public: whose output it is, 32 bytes.
        alpha: the input.
        proof: from `VrfKey.prove`.

    Returns:
        The output, 64 bytes: for this key and input there is no other.

    Raises:
        VerificationError: ``vrf.key`` for what is no public key, ``vrf.proof`` for a proof that does not hold.
    """
    if not is_vrf_public(public):
        raise VerificationError("vrf.key")
    gamma, challenge, scalar = _decode(proof)
    point = _encode_to_curve(public, alpha)
    try:
        u = _difference(bindings.crypto_scalarmult_ed25519_base_noclamp(scalar), challenge, public)
        v = _difference(bindings.crypto_scalarmult_ed25519_noclamp(scalar, point), challenge, gamma)
    except CryptoError:
        # libsodium multiplies by no zero; no proof that anybody can find has one.
        _refuse()
    if not hmac.compare_digest(challenge, _challenge(public, point, gamma, u, v)):
        _refuse()
    return _output(gamma)


def vrf_output(proof: bytes) -> bytes:
    """Compute the output of a proof that is known to hold, such as one's own (RFC 9381 §5.2).

    Args:
        proof: from `VrfKey.prove`; of another's, `vrf_verify` tells the output.

    Returns:
        64 bytes.

    Raises:
        VerificationError: ``vrf.proof`` for what is no proof.
    """
    return _output(_decode(proof)[0])


def _decode(proof: bytes) -> tuple[bytes, bytes, bytes]:
    """Split a proof into point, challenge and scalar (RFC 9381 §5.4.4); each in its one canonical form."""
    gamma, challenge, scalar = proof[:_POINT], proof[_POINT : _POINT + _CHALLENGE], proof[_POINT + _CHALLENGE :]
    valid = len(proof) == VRF_PROOF_BYTES and _is_of_group(gamma) and int.from_bytes(scalar, "little") < _ORDER
    if not valid:
        _refuse()
    return gamma, challenge, scalar


def _is_of_group(point: bytes) -> bool:
    """Tell whether 32 bytes are the canonical form of a point of the prime-order group, not the identity.

    libsodium up to 1.0.20 alone takes points with a component of order two for such (CVE-2025-69277), later ones do
    not: a fork of the ledger. Eight times a point, times the inverse of eight, is that point in the group alone.
    """
    if not bindings.crypto_core_ed25519_is_valid_point(point):
        return False
    return bindings.crypto_scalarmult_ed25519_noclamp(_EIGHTH, _eightfold(point)) == point


@lru_cache(maxsize=_KEYS)
def _is_known_of_group(public: bytes) -> bool:
    """Tell the same of a public key, of which a ledger has few and each proof is under one."""
    return _is_of_group(public)


def _encode_to_curve(salt: bytes, alpha: bytes) -> bytes:
    """Hash an input to a point of the prime-order group, by trial (RFC 9381 §5.4.1.1)."""
    for counter in range(_TRIES):
        hashed = sha512(_ENCODE + salt + alpha + bytes((counter,)) + _BACK).digest()
        point = _tried(hashed[:_POINT])
        if point is not None and point != _IDENTITY:
            return point
    raise InputError("vrf.alpha")


def _tried(encoded: bytes) -> bytes | None:
    """Read a point of the whole curve (RFC 8032 §5.1.3) times the cofactor; None for what encodes none."""
    if int.from_bytes(encoded, "little") % 2**255 >= _PRIME:
        return None
    try:
        return _eightfold(encoded)
    except CryptoError:
        return None


def _eightfold(point: bytes) -> bytes:
    """Multiply a point by the cofactor: libsodium multiplies only points of the prime-order group, but adds all."""
    for _ in range(3):
        point = bindings.crypto_core_ed25519_add(point, point)
    return point


def _challenge(*points: bytes) -> bytes:
    """Hash five points to a challenge (RFC 9381 §5.4.3)."""
    return sha512(_CHALLENGE_OF + b"".join(points) + _BACK).digest()[:_CHALLENGE]


def _difference(point: bytes, challenge: bytes, other: bytes) -> bytes:
    """Compute point − challenge · other."""
    product = bindings.crypto_scalarmult_ed25519_noclamp(_scalar_of(challenge), other)
    return bindings.crypto_core_ed25519_sub(point, product)


def _scalar_of(challenge: bytes) -> bytes:
    """Read a challenge as a scalar, little-endian."""
    return challenge + bytes(_POINT - _CHALLENGE)


def _output(gamma: bytes) -> bytes:
    """Hash a proof's point to the output (RFC 9381 §5.2)."""
    return sha512(_OUTPUT + _eightfold(gamma) + _BACK).digest()


def _refuse() -> NoReturn:
    """Refuse a proof."""
    raise VerificationError("vrf.proof")
