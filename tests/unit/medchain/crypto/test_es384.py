"""The authentication key: RFC 6979's P-384 sample decides."""

from __future__ import annotations

import base64
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from medchain.crypto import es384
from medchain.errors import InputError

SEED = bytes(range(32))

# RFC 6979 A.2.6: public key, and the SHA-384 signature of "sample".
UX = bytes.fromhex("ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea9055866064a254515480bc13")
UY = bytes.fromhex("8015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe7344fd2533264720")
SIGNATURE = bytes.fromhex(
    "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c81a648152e44acf96e36dd1e80fabe46"
    "99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8"
)
PUBLIC = b"\x04" + UX + UY


def jwk(**changes: object) -> dict[str, object]:
    x, y = (base64.urlsafe_b64encode(part).decode() for part in (UX, UY))
    return {"crv": "P-384", "kty": "EC", "x": x, "y": y, **changes}


def test_the_published_signature_is_valid_and_no_changed_one_is():
    assert es384.es384_verify(PUBLIC, b"sample", SIGNATURE)
    assert not es384.es384_verify(PUBLIC, b"simple", SIGNATURE)
    assert not es384.es384_verify(PUBLIC, b"sample", SIGNATURE[::-1])
    assert not es384.es384_verify(PUBLIC, b"sample", SIGNATURE + b"\0")
    assert not es384.es384_verify(PUBLIC, b"sample", SIGNATURE[:48] + b"\0" + SIGNATURE[48:])
    assert not es384.es384_verify(PUBLIC, b"sample", bytes(96))


@pytest.mark.parametrize(
    "public",
    [b"", PUBLIC[:-1], PUBLIC[:-1] + b"\0", b"\x06" + PUBLIC[1:], b"\x03" + UX],
    ids=["empty", "short", "off the curve", "hybrid", "compressed"],
)
def test_what_is_no_uncompressed_point_is_no_key(public):
    assert not es384.es384_verify(public, b"sample", SIGNATURE)
    with pytest.raises(InputError) as caught:
        es384.public_jwk(public)
    assert caught.value.code == "es384.public"


def test_a_signer_makes_signatures_that_verify():
    signer = es384.Es384Signer(SEED)
    signature = signer.sign(b"message")
    assert len(signature) == es384.SIGNATURE_BYTES
    assert es384.es384_verify(signer.public, b"message", signature)
    assert not es384.es384_verify(signer.public, b"massage", signature)


def test_the_private_key_comes_from_the_seed_as_the_page_on_keys_says():
    prk = hmac.digest(bytes(32), SEED, "sha256")
    derived = hmac.digest(prk, b"medchain/derive/v1 es384\x01", "sha256")
    first = hmac.digest(derived, b"medchain/scalar/v1\x01", "sha256")
    wide = first + hmac.digest(derived, first + b"medchain/scalar/v1\x02", "sha256")
    order = int("ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16)
    scalar = int.from_bytes(wide[:56], "big") % (order - 1) + 1
    numbers = ec.derive_private_key(scalar, ec.SECP384R1()).public_key().public_numbers()
    assert es384.Es384Signer(SEED).public == b"\x04" + numbers.x.to_bytes(48, "big") + numbers.y.to_bytes(48, "big")


def test_a_jwk_has_one_spelling_in_both_directions():
    assert es384.public_jwk(PUBLIC) == jwk()
    assert es384.parse_public_jwk(jwk()) == PUBLIC


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (jwk(crv="P-256"), "es384.public"),
        (jwk(kty="OKP"), "es384.public"),
        (jwk(x=jwk()["y"]), "es384.public"),
        (jwk(x=f"{jwk()['x']}="), "es384.public"),
        (jwk(x="A"), "es384.public"),
        (jwk(x="é"), "es384.public"),
        (jwk(x=base64.b64encode(UY).decode()), "es384.public"),
        (jwk(d="AA"), "encoding.members"),
        (jwk(x=1), "encoding.members"),
        ([], "encoding.members"),
    ],
    ids=["curve", "type", "off curve", "padding", "length", "not ascii", "alphabet", "private", "number", "array"],
)
def test_another_jwk_is_refused(document, code):
    with pytest.raises(InputError) as caught:
        es384.parse_public_jwk(document)
    assert caught.value.code == code


def test_the_private_jwk_belongs_to_the_public_one_and_repr_shows_neither():
    signer = es384.Es384Signer(SEED)
    private = signer.private_jwk()
    scalar = int.from_bytes(base64.urlsafe_b64decode(private.pop("d")), "big")
    numbers = ec.derive_private_key(scalar, ec.SECP384R1()).public_key().public_numbers()
    assert private == es384.public_jwk(signer.public)
    assert numbers.x.to_bytes(48, "big") == signer.public[1:49]
    assert str(scalar) not in repr(signer)
    assert repr(signer).startswith("Es384Signer(key_id=")
