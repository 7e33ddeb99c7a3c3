"""The WebAuthn assertion check: each lie is refused by its own code."""

from __future__ import annotations

import base64
import json
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from medchain.crypto import assertion
from medchain.crypto.assertion import AssertionRequest, CredentialKey, PasskeyAlgorithm
from medchain.crypto.authenticator import Assertion, SoftwareAuthenticator
from medchain.errors import InputError, VerificationError

ORIGIN = "https://sign.consortium.example"
CHALLENGE = bytes(range(32))
REQUEST = AssertionRequest(CHALLENGE, "consortium.example", frozenset({ORIGIN, "https://b.consortium.example"}))
PASSKEY = SoftwareAuthenticator(bytes(32), "consortium.example")
RP_HASH = sha256(b"consortium.example").digest()
UP, UV, BE, BS, AT, ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80


def client_data(**changes: object) -> dict[str, object]:
    challenge = base64.urlsafe_b64encode(CHALLENGE).rstrip(b"=").decode()
    return {"type": "webauthn.get", "challenge": challenge, "origin": ORIGIN, "crossOrigin": False, **changes}


def authenticator_data(flags: int = UP | UV, rest: bytes = b"", rp_hash: bytes = RP_HASH) -> bytes:
    return rp_hash + bytes((flags,)) + bytes(4) + rest


def answer(client: object = None, authenticator: bytes | None = None) -> Assertion:
    """Sign what is given, so that nothing but the lie itself is wrong."""
    raw = client if isinstance(client, bytes) else json.dumps(client or client_data()).encode()
    return PASSKEY.answer(raw, authenticator_data() if authenticator is None else authenticator)


def check(given: Assertion, request: AssertionRequest = REQUEST, credential: CredentialKey | None = None) -> None:
    assertion.check_assertion(
        request, credential or PASSKEY.credential, given.client_data_json, given.authenticator_data, given.signature
    )


def code_of(given: Assertion, request: AssertionRequest = REQUEST, credential: CredentialKey | None = None) -> str:
    with pytest.raises(VerificationError) as caught:
        check(given, request, credential)
    return caught.value.code


@pytest.mark.parametrize("algorithm", list(PasskeyAlgorithm))
def test_a_good_assertion_passes_with_either_algorithm(algorithm):
    passkey = SoftwareAuthenticator(bytes(32), "consortium.example", algorithm)
    check(passkey.sign(CHALLENGE, ORIGIN), credential=passkey.credential)
    check(passkey.sign(CHALLENGE, "https://b.consortium.example"), credential=passkey.credential)


# Assertions of real authenticators' shape, published in W3C WebAuthn Level 3 §16 (test vectors): ES256, no attestation.
W3C_COSE = bytes.fromhex(
    "a5010203262001215820afefa16f97ca9b2d23eb86ccb64098d20db90856062eb249c33a9b672f26df61"
    "225820930a56b87a2fca66334b03458abf879717c12cc68ed73290af2e2664796b9220"
)
W3C_CHALLENGE = bytes.fromhex("39c0e7521417ba54d43e8dc95174f423dee9bf3cd804ff6d65c857c9abf4d408")
W3C_AUTHENTICATOR_DATA = bytes.fromhex("bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b51900000000")
W3C_CLIENT_DATA = bytes.fromhex(
    "7b2274797065223a22776562617574686e2e676574222c226368616c6c656e6765223a224f63446e55685158756c5455506f334a5558543049"
    "393770767a7a59425039745a63685879617630314167222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263"
    "726f73734f726967696e223a66616c73657d"
)
W3C_SIGNATURE = bytes.fromhex(
    "3046022100f50a4e2e4409249c4a853ba361282f09841df4dd4547a13a87780218deffcd380221008480ac0f0b93538174f575bf11a1dd5d78c6"
    "e486013f937295ea13653e331e87"
)


def test_the_published_assertion_is_signed_as_we_check_it_and_lacks_user_verification():
    credential = assertion.parse_credential_key(W3C_COSE)
    signed = W3C_AUTHENTICATOR_DATA + sha256(W3C_CLIENT_DATA).digest()
    assert assertion.es256_verify(credential.public, signed, W3C_SIGNATURE)
    request = AssertionRequest(W3C_CHALLENGE, "example.org", frozenset({"https://example.org"}))
    with pytest.raises(VerificationError) as caught:
        assertion.check_assertion(request, credential, W3C_CLIENT_DATA, W3C_AUTHENTICATOR_DATA, W3C_SIGNATURE)
    # Its flags are user present, backup eligible and backed up: a verdict on all that comes before user verification.
    assert caught.value.code == "assertion.user_verified"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"type": "webauthn.create"}, "assertion.type"),
        ({"type": "payment.get"}, "assertion.type"),
        ({"type": None}, "assertion.type"),
        ({"challenge": base64.urlsafe_b64encode(bytes(32)).rstrip(b"=").decode()}, "assertion.challenge"),
        ({"challenge": base64.urlsafe_b64encode(CHALLENGE).decode()}, "assertion.challenge"),
        ({"challenge": ""}, "assertion.challenge"),
        ({"challenge": ["x"]}, "assertion.challenge"),
        ({"origin": "https://evil.example"}, "assertion.origin"),
        ({"origin": "http://sign.consortium.example"}, "assertion.origin"),
        ({"origin": "https://sign.consortium.example/"}, "assertion.origin"),
        ({"origin": "https://sign.consortium.example:444"}, "assertion.origin"),
        ({"origin": "https://login.consortium.example"}, "assertion.origin"),
        ({"origin": "HTTPS://SIGN.CONSORTIUM.EXAMPLE"}, "assertion.origin"),
        ({"origin": [ORIGIN]}, "assertion.origin"),
        ({"crossOrigin": True}, "assertion.cross_origin"),
        ({"crossOrigin": None}, "assertion.cross_origin"),
        ({"crossOrigin": 0}, "assertion.cross_origin"),
        ({"crossOrigin": "false"}, "assertion.cross_origin"),
        ({"topOrigin": "https://evil.example"}, "assertion.top_origin"),
        ({"topOrigin": ORIGIN}, "assertion.top_origin"),
        ({"topOrigin": None}, "assertion.top_origin"),
    ],
)
def test_attack_forged_client_data_is_refused_by_its_own_code(changes, code):
    assert code_of(answer(client_data(**changes))) == code


@pytest.mark.parametrize("name", ["type", "challenge", "origin"])
def test_a_missing_member_of_the_client_data_is_refused(name):
    data = client_data()
    del data[name]
    assert code_of(answer(data)) == f"assertion.{name}"


def test_an_absent_cross_origin_and_unknown_members_are_allowed():
    data = client_data(other_keys_can_be_added_here="do not compare clientDataJSON against a template", extra=[1.5])
    del data["crossOrigin"]
    check(answer(data))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'"webauthn.get"',
        b"\xff",
        b"\xef\xbb\xbf" + json.dumps(client_data()).encode(),
        json.dumps(client_data()).encode("utf-16"),
        json.dumps(client_data()).encode()[:-1] + b',"origin":"https://evil.example"}',
        json.dumps(client_data()).encode()[:-1] + b',"x":{"a":1,"a":1}}',
        json.dumps(client_data(x=float("nan"))).encode(),
        b"[" * 8000,
        json.dumps(client_data(pad="x" * 8192)).encode(),
    ],
    ids=[
        "empty",
        "cut",
        "array",
        "text",
        "no utf-8",
        "mark",
        "utf-16",
        "twice",
        "twice inside",
        "not a number",
        "deep",
        "large",
    ],
)
def test_attack_malformed_client_data_is_refused(raw):
    assert code_of(answer(raw)) == "assertion.client_data"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (authenticator_data(rp_hash=sha256(b"evil.example").digest()), "assertion.rp_id"),
        (authenticator_data(rp_hash=bytes(32)), "assertion.rp_id"),
        (authenticator_data(UV), "assertion.user_present"),
        (authenticator_data(UP), "assertion.user_verified"),
        (authenticator_data(0), "assertion.user_present"),
        (authenticator_data(UP | UV | BS), "assertion.authenticator_data"),
        (authenticator_data(UP | UV | AT), "assertion.authenticator_data"),
        (authenticator_data(UP | UV, b"\xa0"), "assertion.authenticator_data"),
        (authenticator_data()[:-1], "assertion.authenticator_data"),
        (b"", "assertion.authenticator_data"),
        (authenticator_data(UP | UV | ED, b"\xa1\x61a\x59\x10\x00" + bytes(4096)), "assertion.authenticator_data"),
    ],
    ids=["rp", "no rp", "UP", "UV", "neither", "BS without BE", "AT", "trailing", "short", "empty", "large"],
)
def test_attack_forged_authenticator_data_is_refused_by_its_own_code(data, code):
    assert code_of(answer(authenticator=data)) == code


@pytest.mark.parametrize(
    "flags", [UP | UV | BE, UP | UV | BE | BS, UP | UV | 0x02 | 0x20], ids=["BE", "BE and BS", "reserved"]
)
def test_backup_and_reserved_flags_are_allowed(flags):
    check(answer(authenticator=authenticator_data(flags)))


def test_the_signature_counter_is_ignored():
    for counter in (0, 1, 2**32 - 1):
        data = RP_HASH + bytes((UP | UV,)) + counter.to_bytes(4, "big")
        check(answer(authenticator=data))


# CBOR maps (RFC 8949): empty, true, bytes with a size of one byte, a number, nested, numbers of all sizes, a float.
GOOD_EXTENSIONS = [
    "a0",
    "a16161f5",
    "a16161580100",
    "a16b6372656450726f7465637402",
    "a1616182a1616120f6",
    "a461611801616219010061631a00010000" + "61641b0000000100000000",
    "a16161fb3ff8000000000000",
]
BAD_EXTENSIONS = [
    "",
    "00",
    "80",
    "a1",
    "a161",
    "a16161",
    "a1616158",
    "a161615802ff",
    "a0a0",
    "a16161ff",
    "bf6161f5ff",
    "a161615f4100ff",
    "a16161c000",
    "a16161c0",
    "a161611c",
    "a16161" + "81" * 9 + "00",
    "bbffffffffffffffff",
    "a161617bffffffffffffffff",
]


@pytest.mark.parametrize("extensions", GOOD_EXTENSIONS)
def test_extension_outputs_are_allowed_when_announced(extensions):
    check(answer(authenticator=authenticator_data(UP | UV | ED, bytes.fromhex(extensions))))


@pytest.mark.parametrize("extensions", BAD_EXTENSIONS)
def test_attack_what_is_no_single_cbor_map_after_the_counter_is_refused(extensions):
    data = authenticator_data(UP | UV | ED, bytes.fromhex(extensions))
    assert code_of(answer(authenticator=data)) == "assertion.authenticator_data"


@given(st.binary(max_size=60))
def test_any_bytes_after_the_counter_pass_or_are_refused_as_malformed(extensions):
    given_answer = answer(authenticator=authenticator_data(UP | UV | ED, extensions))
    try:
        check(given_answer)
    except VerificationError as error:
        assert error.code == "assertion.authenticator_data"  # noqa: PT017  # no other code may come


def test_attack_a_signature_by_another_passkey_is_refused():
    other = SoftwareAuthenticator(bytes(31) + b"\1", "consortium.example")
    ed25519 = SoftwareAuthenticator(bytes(32), "consortium.example", PasskeyAlgorithm.ED25519)
    for impostor in (other, ed25519):
        assert code_of(impostor.sign(CHALLENGE, ORIGIN)) == "assertion.signature"
        assert code_of(PASSKEY.sign(CHALLENGE, ORIGIN), credential=impostor.credential) == "assertion.signature"


def test_attack_a_signature_moved_to_other_data_is_refused():
    good = answer()
    forged = [
        Assertion(
            good.credential_id, json.dumps(client_data(extra=1)).encode(), good.authenticator_data, good.signature
        ),
        Assertion(good.credential_id, good.client_data_json, authenticator_data(UP | UV | BE), good.signature),
        Assertion(good.credential_id, good.client_data_json, good.authenticator_data, good.signature[:-1]),
        Assertion(good.credential_id, good.client_data_json, good.authenticator_data, b""),
    ]
    assert [code_of(each) for each in forged] == ["assertion.signature"] * 4


def test_no_origin_passes_when_none_is_allowed():
    assert code_of(answer(), AssertionRequest(CHALLENGE, "consortium.example", frozenset())) == "assertion.origin"


def cose(x: bytes, y: bytes) -> bytes:
    return bytes.fromhex("a5010203262001215820") + x + bytes.fromhex("225820") + y


POINT = ec.derive_private_key(1, ec.SECP256R1()).public_key().public_numbers()
X, Y = POINT.x.to_bytes(32, "big"), POINT.y.to_bytes(32, "big")
OKP = bytes.fromhex("a4010103272006215820") + bytes(range(32))


def test_a_credential_key_is_read_and_written_in_its_one_encoding():
    es256 = assertion.parse_credential_key(cose(X, Y))
    assert es256 == CredentialKey(PasskeyAlgorithm.ES256, b"\x04" + X + Y)
    assert assertion.encode_credential_key(es256) == cose(X, Y)
    ed25519 = assertion.parse_credential_key(OKP)
    assert ed25519 == CredentialKey(PasskeyAlgorithm.ED25519, bytes(range(32)))
    assert assertion.encode_credential_key(ed25519) == OKP


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        cose(X, Y)[:-1],
        cose(X, Y) + b"\0",
        cose(X, X),
        cose(X, bytes(32)),
        cose(X, Y).replace(b"\x03\x26", b"\x03\x27", 1),
        cose(X, Y).replace(b"\x20\x01", b"\x20\x02", 1),
        b"\xa5\x03\x26\x01\x02" + cose(X, Y)[5:],
        b"\xb8\x05" + cose(X, Y)[1:],
        cose(X, Y)[:42] + b"\x22\xf5",
        OKP[:-1],
        OKP + b"\0",
        OKP.replace(b"\x20\x06", b"\x20\x04", 1),
        OKP.replace(b"\x03\x27", b"\x03\x26", 1),
    ],
    ids=[
        "empty",
        "short",
        "long",
        "off the curve",
        "zero y",
        "alg",
        "crv",
        "order",
        "long header",
        "compressed",
        "okp short",
        "okp long",
        "x25519",
        "okp alg",
    ],
)
def test_another_credential_key_is_refused(encoded):
    with pytest.raises(InputError) as caught:
        assertion.parse_credential_key(encoded)
    assert caught.value.code == "assertion.credential_key"
