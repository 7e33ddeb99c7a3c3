"""Signatures: RFC 8032, Wycheproof, CCTV and RFC 9881 decide."""

from __future__ import annotations

import hashlib
import re

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from medchain.crypto import signing
from medchain.errors import InputError, VerificationError

# RFC 8032 §7.1, tests 1 to 3: seed, public key, message, signature.
RFC8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
            "655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
            "b00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
            "c027beceea1ec40a"
        ),
    ),
]

# The rule of libsodium up to 1.0.20, from crypto_sign/ed25519/ref10/open.c: small order or a non-canonical encoding is
# refused, and so is what holds only after multiplying by the cofactor; other small-order components are no matter.
REFUSED_FLAGS = {"low_order_A", "low_order_R", "non_canonical_A", "non_canonical_R", "low_order_residue"}

SEED = bytes(range(32))


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC8032)
def test_ed25519_signs_as_rfc_8032_says(seed, public, message, signature):
    signer = signing.Ed25519Signer(bytes.fromhex(seed))
    assert signer.public.hex() == public
    assert signer.sign(bytes.fromhex(message)).hex() == signature


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC8032)
def test_a_key_knows_the_signature_that_rfc_8032_gives_it(seed, public, message, signature):
    signed = bytes.fromhex(message), bytes.fromhex(signature)
    assert signing.Ed25519Signer(bytes.fromhex(seed)).has_signed(*signed)
    assert signing.ed25519_verify(bytes.fromhex(public), *signed)


@pytest.mark.parametrize(
    "signature",
    [
        signing.Ed25519Signer(SEED).sign(b"other"),
        signing.Ed25519Signer(bytes(32)).sign(b"message"),
        signing.Ed25519Signer(SEED).sign(b"message")[:-1],
        signing.Ed25519Signer(SEED).sign(b"message") + b"\0",
        bytes(64),
        b"",
    ],
)
def test_a_key_has_signed_nothing_else(signature):
    assert not signing.Ed25519Signer(SEED).has_signed(b"message", signature)


def test_ed25519_accepts_exactly_what_wycheproof_calls_valid(vectors):
    document = vectors("wycheproof/ed25519_test.json")
    wrong = [
        test["tcId"]
        for group in document["testGroups"]
        for test in group["tests"]
        if signing.ed25519_verify(
            bytes.fromhex(group["publicKey"]["pk"]), bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
        )
        is not (test["result"] == "valid")
    ]
    assert document["numberOfTests"] == 151
    assert wrong == []


def test_ed25519_accepts_exactly_the_edge_cases_that_libsodium_documents(vectors):
    cases = vectors("cctv/ed25519vectors.json")
    wrong = [
        case["number"]
        for case in cases
        if signing.ed25519_verify(bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"]))
        is bool(REFUSED_FLAGS.intersection(case["flags"] or ()))
    ]
    assert len(cases) == 914
    assert wrong == []


def test_openssl_would_judge_other_edge_cases_so_it_may_not(vectors):
    disagreements = 0
    for case in vectors("cctv/ed25519vectors.json"):
        key, message, signature = bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"])
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
            accepted = True
        except InvalidSignature:
            accepted = False
        disagreements += accepted is not signing.ed25519_verify(key, message, signature)
    assert disagreements > 0


@pytest.mark.parametrize("public_size", [0, 31, 33])
def test_an_ed25519_key_of_another_size_is_not_valid(public_size):
    signer = signing.Ed25519Signer(SEED)
    assert not signing.ed25519_verify(signer.public.ljust(33, b"\0")[:public_size], b"m", signer.sign(b"m"))


def test_bytes_of_the_message_cannot_pass_over_into_the_signature():
    signer = signing.Ed25519Signer(SEED)
    signature, public = signer.sign(b"message"), signer.public
    assert signing.ed25519_verify(public, b"message", signature)
    assert not signing.ed25519_verify(public, b"essage", signature + b"m")
    assert not signing.ed25519_verify(public, signature[-1:] + b"message", signature[:-1])


def test_the_installed_libsodium_follows_the_rule_of_the_ledger():
    signing.check_ed25519_rule()


@pytest.mark.parametrize("verdict", [True, False])
def test_another_rule_for_ed25519_is_noticed_at_the_start(verdict):
    with pytest.raises(VerificationError) as caught:
        signing.check_ed25519_rule(lambda *_: verdict)
    assert caught.value.code == "signing.ed25519_rule"


def test_a_rule_with_the_cofactor_is_noticed_at_the_start():
    # As in libsodium after 1.0.20: the second case is accepted too.
    verdicts = iter([True, True, False])
    with pytest.raises(VerificationError):
        signing.check_ed25519_rule(lambda *_: next(verdicts))


def test_mldsa44_accepts_exactly_what_wycheproof_calls_valid(vectors):
    document = vectors("wycheproof/mldsa_44_verify_test.json")
    wrong = [
        test["tcId"]
        for group in document["testGroups"]
        for test in group["tests"]
        if signing.mldsa44_verify(
            bytes.fromhex(group["publicKey"]),
            bytes.fromhex(test["msg"]),
            bytes.fromhex(test["sig"]),
            bytes.fromhex(test.get("ctx", "")),
        )
        is not (test["result"] == "valid")
    ]
    assert document["numberOfTests"] == 28
    assert wrong == []


def test_an_mldsa44_key_comes_from_its_seed_as_in_rfc_9881():
    # RFC 9881 appendix C.1, seed 00…1f: the first 32 bytes of the public key.
    assert signing.MlDsa44Signer(SEED).public[:32].hex() == (
        "d7b2b47254aae0db45e7930d4a98d2c97d8f1397d1789dafa17024b316e9bec9"
    )


def test_an_mldsa44_signature_holds_for_its_message_and_context_only():
    signer = signing.MlDsa44Signer(SEED)
    signature = signer.sign(b"message", b"context")
    assert len(signer.public) == signing.MLDSA44_PUBLIC_BYTES
    assert len(signature) == signing.MLDSA44_SIGNATURE_BYTES
    assert signing.mldsa44_verify(signer.public, b"message", signature, b"context")
    assert not signing.mldsa44_verify(signer.public, b"massage", signature, b"context")
    assert not signing.mldsa44_verify(signer.public, b"message", signature)
    assert signing.mldsa44_verify(signer.public, b"message", signer.sign(b"message"))


def test_an_mldsa44_context_is_at_most_255_bytes():
    signer = signing.MlDsa44Signer(SEED)
    assert signing.mldsa44_verify(signer.public, b"m", signer.sign(b"m", bytes(255)), bytes(255))
    with pytest.raises(InputError) as caught:
        signer.sign(b"m", bytes(256))
    assert caught.value.code == "signing.context"


def test_es256_accepts_exactly_what_wycheproof_calls_valid(vectors):
    document = vectors("wycheproof/ecdsa_secp256r1_sha256_test.json")
    wrong = [
        test["tcId"]
        for group in document["testGroups"]
        for test in group["tests"]
        if signing.es256_verify(
            bytes.fromhex(group["publicKey"]["uncompressed"]), bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
        )
        is not (test["result"] == "valid")
    ]
    assert document["numberOfTests"] == 484
    assert wrong == []


# The base point of P-256 (FIPS 186-5, SP 800-186 §3.2.1.3).
BASE_POINT = bytes.fromhex(
    "04"
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)


@pytest.mark.parametrize(
    "public",
    [
        b"",
        BASE_POINT[:-1],
        BASE_POINT + b"\0",
        BASE_POINT[:-1] + b"\xf6",
        b"\x03" + BASE_POINT[1:33],
        b"\x06" + BASE_POINT[1:],
        b"\x07" + BASE_POINT[1:],
        b"\x04" + bytes(64),
    ],
    ids=["empty", "short", "long", "off the curve", "compressed", "hybrid even", "hybrid odd", "zero"],
)
def test_only_an_uncompressed_point_on_the_curve_is_an_es256_key(public):
    assert signing.is_p256_point(BASE_POINT)
    assert not signing.is_p256_point(public)
    assert not signing.es256_verify(public, b"m", b"")


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_of_another_size_is_refused(size):
    for make in (signing.Ed25519Signer, signing.MlDsa44Signer):
        with pytest.raises(InputError) as caught:
            make(bytes(size))
        assert caught.value.code == "signing.seed"


def test_a_key_id_is_half_of_the_tagged_digest_of_algorithm_and_key():
    framed = b"".join(len(part).to_bytes(8, "big") + part for part in (b"medchain/key/v1", b"ed25519", bytes(32)))
    assert signing.key_id("ed25519", bytes(32)) == hashlib.sha256(framed).hexdigest()[:32]
    assert signing.key_id("es384", bytes(32)) != signing.key_id("ed25519", bytes(32))


@pytest.mark.parametrize("make", [signing.Ed25519Signer, signing.MlDsa44Signer])
def test_a_signing_key_does_not_show_itself(make):
    signer = make(SEED)
    assert SEED.hex() not in repr(signer)
    assert repr(signer).startswith(f"{make.__name__}(key_id=")
    assert not hasattr(signer, "__dict__")


def test_the_libraries_are_named_with_their_versions():
    assert re.fullmatch(r"OpenSSL \d+\.\d+\.\d+.*, PyNaCl \d+\.\d+\.\d+", signing.library_versions())
