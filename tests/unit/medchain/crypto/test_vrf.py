"""Verifiable random functions: RFC 9381's vectors decide; what is not canonical, or not of the group, is refused."""

from __future__ import annotations

from hashlib import sha512

import pytest
from nacl import bindings

from medchain.crypto import vrf
from medchain.crypto.vrf import VrfKey, is_vrf_public, vrf_output, vrf_verify
from medchain.errors import InputError, VerificationError

# RFC 9381 appendix B.3, examples 16 to 18: SK, PK, alpha, H, pi, beta.
RFC9381 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "91bbed02a99461df1ad4c6564a5f5d829d0b90cfc7903e7a5797bd658abf3318",
        (
            "8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f26f8a57ccaed74ee1b190bed1f479d97"
            "27d2d0f9b005a6e456a35d4fb0daab1268a1b0db10836d9826a528ca76567805"
        ),
        (
            "90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff"
            "66b71dda49d2de59d03450451af026798e8f81cd2e333de5cdf4f3e140fdd8ae"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "5b659fc3d4e9263fd9a4ed1d022d75eaacc20df5e09f9ea937502396598dc551",
        (
            "f3141cd382dc42909d19ec5110469e4feae18300e94f304590abdced48aed5933bf0864a62558b3ed7f2fea45c92a465"
            "301b3bbf5e3e54ddf2d935be3b67926da3ef39226bbc355bdc9850112c8f4b02"
        ),
        (
            "eb4440665d3891d668e7e0fcaf587f1b4bd7fbfe99d0eb2211ccec90496310eb"
            "5e33821bc613efb94db5e5b54c70a848a0bef4553a41befc57663b56373a5031"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "bf4339376f5542811de615e3313d2b36f6f53c0acfebb482159711201192576a",
        (
            "9bc0f79119cc5604bf02d23b4caede71393cedfbb191434dd016d30177ccbf8096bb474e53895c362d8628ee9f9ea3c0"
            "e52c7a5c691b6c18c9979866568add7a2d41b00b05081ed0f58ee5e31b3a970e"
        ),
        (
            "645427e5d00c62a23fb703732fa5d892940935942101e456ecca7bb217c61c45"
            "2118fec1219202a0edcf038bb6373241578be7217ba85a2687f7a0310b2df19f"
        ),
    ),
]

# Made by another implementation, in Python alone (aimarket-oracle-sortes 0.1.2), with which ours agreed on 60 keys and
# inputs: the first three hashes of this input are no points. SK, alpha, pi, beta.
OTHERS = (
    "dbacc299db8f6485be3e7ba7c365c53da324ffce1c56ebfb220c989a711abe28",
    "d10481fe6867a3c8a6fe2754683a1e41da3ff2204894df2fdfad3f23b1245969caff31f3a325968b7a289fd8f508",
    (
        "69d97cfa3b9526b432535e7d9c3491fca78c16a69708306f56b95bcf283a77a0bd5fcfc7bccab06a66a8f7485d78881c"
        "2f76e5b26cc1403839698acf6a4d95721d161013785245426f5200ac734b4f00"
    ),
    (
        "3a780560a3b16fbf130d9997dd54454bd62505cc800f413abb258796ce6cf7e5"
        "54b00a71774f3b03f644861021e97fa0105cfffd78b8821ec9bb8d38036bbcfd"
    ),
)

# Points of order 8 and 4, from C2SP CCTV ed25519.
TORSION = [
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes(32),
]
ORDER_TWO = b"\xec" + b"\xff" * 30 + b"\x7f"
ORDER = 2**252 + 27742317777372353535851937790883648493
KEY = VrfKey(bytes(range(32)))
ALPHA = b"medchain/test/v1"
PROOF = KEY.prove(ALPHA)


def point_of(public: bytes, alpha: bytes) -> bytes:
    return vrf._encode_to_curve(public, alpha)  # noqa: SLF001  # a step that the vectors tell


def challenge_of(*points: bytes) -> bytes:
    return vrf._challenge(*points)  # noqa: SLF001  # what a prover that cheats needs


def refused(public: bytes, alpha: bytes, proof: bytes) -> str:
    with pytest.raises(VerificationError) as error:
        vrf_verify(public, alpha, proof)
    return error.value.code


@pytest.mark.parametrize(("seed", "public", "alpha", "point", "proof", "output"), RFC9381)
def test_a_proof_is_the_one_of_rfc_9381(seed, public, alpha, point, proof, output):
    key, given = VrfKey(bytes.fromhex(seed)), bytes.fromhex(alpha)
    assert key.public.hex() == public
    assert point_of(key.public, given).hex() == point
    assert key.prove(given).hex() == proof
    assert vrf_output(bytes.fromhex(proof)).hex() == output
    # Nor does it take the proof to know the output of one's own key.
    assert key.output(bytes.fromhex(alpha)).hex() == output


@pytest.mark.parametrize(("seed", "public", "alpha", "point", "proof", "output"), RFC9381)
def test_a_proof_of_rfc_9381_is_accepted(seed, public, alpha, point, proof, output):
    del seed, point
    given = bytes.fromhex(public), bytes.fromhex(alpha), bytes.fromhex(proof)
    assert vrf_verify(*given).hex() == output


def test_a_proof_is_the_one_that_another_implementation_makes_after_many_tries():
    seed, alpha, proof, output = (bytes.fromhex(text) for text in OTHERS)
    assert VrfKey(seed).prove(alpha) == proof
    assert vrf_verify(VrfKey(seed).public, alpha, proof) == output


def test_no_bit_of_a_proof_can_be_changed():
    for bit in range(8 * vrf.VRF_PROOF_BYTES):
        changed = bytearray(PROOF)
        changed[bit // 8] ^= 1 << bit % 8
        assert refused(KEY.public, ALPHA, bytes(changed)) == "vrf.proof", bit


def test_a_proof_holds_for_its_key_and_input_alone():
    other = VrfKey(bytes(32))
    assert refused(other.public, ALPHA, PROOF) == "vrf.proof"
    assert refused(KEY.public, ALPHA + b"\0", PROOF) == "vrf.proof"
    assert vrf_output(PROOF) not in {vrf_output(other.prove(ALPHA)), vrf_output(KEY.prove(ALPHA + b"\0"))}


@pytest.mark.parametrize("proof", [b"", PROOF[:-1], PROOF + b"\0", bytes(80)])
def test_what_is_no_proof_is_refused(proof):
    assert refused(KEY.public, ALPHA, proof) == "vrf.proof"
    with pytest.raises(VerificationError, match=r"vrf\.proof"):
        vrf_output(proof)


def test_a_scalar_has_one_form():
    scalar = int.from_bytes(PROOF[48:], "little")
    assert refused(KEY.public, ALPHA, PROOF[:48] + (scalar + ORDER).to_bytes(32, "little")) == "vrf.proof"


def test_a_zero_is_no_scalar_and_no_challenge():
    assert refused(KEY.public, ALPHA, PROOF[:48] + bytes(32)) == "vrf.proof"
    assert refused(KEY.public, ALPHA, PROOF[:32] + bytes(16) + PROOF[48:]) == "vrf.proof"


def test_a_key_is_a_point_of_the_group_in_its_one_form(vectors):
    flags = {"low_order_A", "low_order_component_A", "non_canonical_A"}
    cases = vectors("cctv/ed25519vectors.json")
    unfit = {bytes.fromhex(case["key"]) for case in cases if flags & set(case["flags"] or ())}
    assert len(unfit) > 20
    for public in [*unfit, b"", KEY.public[:-1], KEY.public + b"\0"]:
        assert not is_vrf_public(public)
        assert refused(public, ALPHA, PROOF) == "vrf.key"
    assert is_vrf_public(KEY.public)


@pytest.mark.parametrize("torsion", [*TORSION, ORDER_TWO])
def test_a_point_is_of_the_group_whatever_libsodium_says_of_it(monkeypatch, torsion):
    # libsodium up to 1.0.20 takes a sum with the point of order two for one of the group (CVE-2025-69277).
    monkeypatch.setattr(bindings, "crypto_core_ed25519_is_valid_point", lambda _: True)
    public = bindings.crypto_core_ed25519_add(KEY.public, torsion)
    assert not is_vrf_public(public)
    assert refused(public, ALPHA, PROOF) == "vrf.key"
    assert refused(KEY.public, ALPHA, bindings.crypto_core_ed25519_add(PROOF[:32], torsion) + PROOF[32:]) == "vrf.proof"
    assert vrf_verify(KEY.public, ALPHA, PROOF) == vrf_output(PROOF)
    with pytest.raises(VerificationError, match=r"vrf\.proof"):
        vrf_output(bindings.crypto_core_ed25519_add(PROOF[:32], torsion) + PROOF[32:])


@pytest.mark.parametrize("torsion", TORSION)
def test_a_prover_has_no_choice_between_points_that_differ_by_one_of_small_order(torsion):
    # The equation holds for them where eight divides the challenge, which a prover can wait for.
    expanded = sha512(bytes(range(32))).digest()
    secret = bytes((expanded[0] & 248, *expanded[1:31], expanded[31] & 127 | 64))
    point = point_of(KEY.public, ALPHA)
    gamma = bindings.crypto_core_ed25519_add(PROOF[:32], torsion)
    for trial in range(1, 1000):
        nonce = trial.to_bytes(32, "little")
        u = bindings.crypto_scalarmult_ed25519_base_noclamp(nonce)
        v = bindings.crypto_scalarmult_ed25519_noclamp(nonce, point)
        challenge = challenge_of(KEY.public, point, gamma, u, v)
        if challenge[0] % 8 == 0:
            break
    product = bindings.crypto_core_ed25519_scalar_mul(challenge + bytes(16), secret)
    scalar = bindings.crypto_core_ed25519_scalar_add(product, nonce)
    assert refused(KEY.public, ALPHA, gamma + challenge + scalar) == "vrf.proof"


def answering(monkeypatch, *digests: bytes):
    """Let hashing to the curve see these first, and what it would see else after them."""
    waiting = [digest.ljust(64, b"\0") for digest in digests]

    class Hash:
        def __init__(self, data: bytes) -> None:
            """Keep what is hashed."""
            self.data = data

        def digest(self):
            return waiting.pop(0) if waiting else sha512(self.data).digest()

    monkeypatch.setattr(vrf, "sha512", Hash)


@pytest.mark.parametrize(
    "unfit",
    [
        TORSION[0],
        b"\1" + bytes(31),
        b"\1" + bytes(30) + b"\x80",
        b"\xee" + b"\xff" * 30 + b"\x7f",
        b"\xed" + b"\xff" * 31,
        b"\2" + bytes(31),
    ],
)
def test_a_hash_that_is_no_point_or_of_small_order_is_passed_over(monkeypatch, unfit):
    fit = bytes.fromhex(RFC9381[0][1])
    answering(monkeypatch, fit)
    expected = point_of(KEY.public, ALPHA)
    answering(monkeypatch, unfit, fit)
    assert point_of(KEY.public, ALPHA) == expected


def test_an_input_that_never_is_a_point_has_no_output(monkeypatch):
    answering(monkeypatch, *[bytes(32)] * 256)
    with pytest.raises(InputError, match=r"vrf\.alpha"):
        KEY.prove(ALPHA)


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33)])
def test_a_seed_has_32_bytes(seed):
    with pytest.raises(InputError, match=r"vrf\.seed"):
        VrfKey(seed)


def test_a_key_shows_no_secret():
    assert repr(KEY) == f"VrfKey(key_id={vrf.vrf_key_id(KEY.public)})"
