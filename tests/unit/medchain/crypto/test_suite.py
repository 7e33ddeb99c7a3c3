"""Suites."""

from __future__ import annotations

import pytest

from medchain.crypto.suite import suite
from medchain.errors import InputError


def test_suite_1_names_the_algorithms_of_the_design():
    one = suite(1)
    named = (one.number, one.hash, one.signature, one.cosignature, one.passkey, one.aead, one.kem)
    assert named == (1, "SHA-256", "Ed25519", "ML-DSA-44", "ES256", "XChaCha20-Poly1305", "X-Wing")


@pytest.mark.parametrize("number", [0, 2, -1])
def test_an_unknown_suite_is_refused(number):
    with pytest.raises(InputError) as caught:
        suite(number)
    assert caught.value.code == "suite.unknown"
