"""Suites: which algorithms a ledger uses, named by the number in its genesis.

Keeps true: a number means the same algorithms for ever; an unknown number is refused. Trusts nothing.
Source: `docs/spec/keys.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from medchain.errors import InputError


@dataclass(frozen=True, slots=True)
class Suite:
    """The algorithms behind one number.

    Attributes:
        number: what genesis and headers say.
        hash: digests, HMAC and HKDF.
        signature: transactions, endorsements and classical cosignatures.
        cosignature: the second, post-quantum cosignature.
        passkey: the mandatory passkey algorithm; Ed25519 passkeys are accepted too.
        aead: records and wrapped keys at rest.
        kem: sealing to an organisation's encryption key.
    """

    number: int
    hash: str
    signature: str
    cosignature: str
    passkey: str
    aead: str
    kem: str


SUITE_1: Final = Suite(
    number=1,
    hash="SHA-256",
    signature="Ed25519",
    cosignature="ML-DSA-44",
    passkey="ES256",
    aead="XChaCha20-Poly1305",
    kem="X-Wing",
)
"""The only suite so far. A national one (SM2, SM3, SM4) would be another number in another genesis."""

_SUITES: Final = MappingProxyType({SUITE_1.number: SUITE_1})


def suite(number: int) -> Suite:
    """Look up a suite; raises `InputError` ``suite.unknown`` for a number that this software does not know."""
    known = _SUITES.get(number)
    if known is None:
        raise InputError("suite.unknown", number=number)
    return known
