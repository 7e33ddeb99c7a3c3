"""Node-to-node assertions: what counts, and one test for each attack."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey

from medchain.crypto.es384 import ES384, Es384Signer
from medchain.crypto.signing import key_id
from medchain.encoding import canonical, digest
from medchain.errors import AccessDeniedError, NotFoundError
from medchain.ledger.members import ACTIVE, SUSPENDED, Key, Members, Organisation, ProtocolRules
from medchain.ledger.policy import parse_policy
from medchain.node.directory import MembersDirectory
from medchain.node.peer_auth import MemorySingleUse, PeerRequest, PeerSigner, PeerVerifier

NOW = 1_796_083_200
LEDGER = bytes(range(32))
INSURER = Es384Signer(b"\x01" * 32)
STRANGER = Es384Signer(b"\x02" * 32)
REQUEST = PeerRequest("POST", "/endorse?x=1", b"body")
POLICY = parse_policy({"rules": {"policy/active": {"majority": "member"}}, "type": "medchain/policy/v1"})


def organisation(org_id: str, signer: Es384Signer, status: str = ACTIVE) -> Organisation:
    key = Key(key_id(ES384, signer.public), "authentication", signer.public, {}, org_id)
    return Organisation(org_id, "insurer", org_id, {}, f"http://{org_id}:1", (), status, (key,))


class World:
    """A hospital that is called, an insurer that calls, a clock and the members."""

    def __init__(self) -> None:
        """Begin with one active insurer."""
        self.now = NOW
        self.organisations = {"insurer": organisation("insurer", INSURER)}
        self.durable = MemorySingleUse(lambda: self.now)
        self.directory = MembersDirectory(lambda: Members(self.organisations, POLICY, ProtocolRules("insurer", 1, 1)))
        self.verifier = self.process("hospital", LEDGER)

    def process(self, org_id: str, ledger: bytes) -> PeerVerifier:
        return PeerVerifier(org_id, ledger, self.directory, self.durable, lambda: self.now)

    def signer(self, key: Es384Signer = INSURER, org_id: str = "insurer") -> PeerSigner:
        return PeerSigner(org_id, LEDGER, key, lambda: self.now)

    def refusal(self, assertion: str, request: PeerRequest = REQUEST) -> str:
        with pytest.raises(AccessDeniedError) as caught:
            self.verifier.verify(assertion, request)
        return caught.value.code


@pytest.fixture
def world():
    return World()


def claims(**changes: object):
    """Claims as the specification says, written here by hand."""
    return {
        "aud": f"medchain:{LEDGER.hex()}:hospital",
        "body": digest("medchain/peer-body/v1", b"body").hex(),
        "exp": NOW + 60,
        "htm": "POST",
        "htu": "/endorse?x=1",
        "iat": NOW,
        "iss": "insurer",
        "jti": "00112233445566778899aabbccddeeff",
        "sub": "insurer",
        **changes,
    }


HEADER = {"alg": "ES384", "kid": key_id(ES384, INSURER.public), "typ": "medchain-peer+jwt"}


def forged(header=None, body=None, key=INSURER):
    """Sign whatever is wanted with a real key."""
    registry = jws.JWSRegistry(algorithms=["ES384"], strict_check_header=False)
    payload = canonical(claims()) if body is None else body
    return jws.serialize_compact(
        header or dict(HEADER), payload, ECKey.import_key(key.private_jwk()), registry=registry
    )


def test_an_assertion_names_its_caller(world):
    assert world.verifier.verify(world.signer().assertion("hospital", REQUEST), REQUEST) == "insurer"


def test_an_assertion_written_from_the_specification_counts(world):
    assert world.verifier.verify(forged(), REQUEST) == "insurer"


def test_a_replay_is_refused(world):
    assertion = world.signer().assertion("hospital", REQUEST)
    world.verifier.verify(assertion, REQUEST)
    assert world.refusal(assertion) == "peer_auth.replayed"


def test_a_replay_to_another_process_of_the_node_is_refused(world):
    assertion = world.signer().assertion("hospital", REQUEST)
    world.process("hospital", LEDGER).verify(assertion, REQUEST)
    assert world.refusal(assertion) == "peer_auth.replayed"


@pytest.mark.parametrize(
    "request_", [PeerRequest("GET", "/log/checkpoint", b""), PeerRequest("POST", "/ordering/submit", b"x")]
)
def test_a_replay_that_would_change_nothing_is_refused_without_a_write_to_disk(world, request_):
    assertion = world.signer().assertion("hospital", request_)
    world.verifier.verify(assertion, request_)
    assert world.refusal(assertion, request_) == "peer_auth.replayed"
    assert not world.durable._used  # noqa: SLF001  # nothing was written there


@pytest.mark.parametrize(
    ("assertion", "code"),
    [
        (lambda: forged(key=STRANGER), "peer_auth.signature"),
        (lambda: forged(body=canonical(claims(aud="medchain:x:hospital"))), "peer_auth.audience"),
        (lambda: forged(body=canonical(claims(exp=NOW))), "peer_auth.time"),
        (lambda: forged(body=canonical(claims(htu="/bodies"))), "peer_auth.request"),
        (lambda: forged(body=canonical(claims(iss="x", sub="x"))), "peer_auth.unknown"),
    ],
)
def test_all_but_the_body_is_refused_before_a_body_is_there(world, assertion, code):
    with pytest.raises(AccessDeniedError) as caught:
        world.verifier.begin(assertion(), "POST", "/endorse?x=1")
    assert caught.value.code == code


def test_a_request_whose_body_is_wrong_does_not_use_the_assertion_up(world):
    claim = world.verifier.begin(forged(), "POST", "/endorse?x=1")
    with pytest.raises(AccessDeniedError) as caught:
        world.verifier.finish(claim, b"another")
    assert caught.value.code == "peer_auth.request"
    assert world.verifier.finish(claim, b"body") == "insurer"


def test_of_two_requests_begun_with_one_assertion_one_ends(world):
    first, second = (world.verifier.begin(forged(), "POST", "/endorse?x=1") for _ in range(2))
    assert world.verifier.finish(first, b"body") == "insurer"
    with pytest.raises(AccessDeniedError) as caught:
        world.verifier.finish(second, b"body")
    assert caught.value.code == "peer_auth.replayed"


def test_what_ends_while_the_body_comes_is_refused(world):
    claim = world.verifier.begin(forged(), "POST", "/endorse?x=1")
    world.now += 60
    with pytest.raises(AccessDeniedError) as caught:
        world.verifier.finish(claim, b"body")
    assert caught.value.code == "peer_auth.time"


def test_who_is_suspended_while_his_body_comes_is_refused(world):
    claim = world.verifier.begin(forged(), "POST", "/endorse?x=1")
    world.organisations = {"insurer": organisation("insurer", INSURER, SUSPENDED)}
    with pytest.raises(AccessDeniedError) as caught:
        world.verifier.finish(claim, b"body")
    assert caught.value.code == "peer_auth.unknown"


def test_a_refused_assertion_does_not_use_up_anothers_id(world):
    wrong = forged(key=STRANGER)
    assert world.refusal(wrong) == "peer_auth.signature"
    assert world.verifier.verify(forged(), REQUEST) == "insurer"


def test_an_assertion_for_another_organisation_is_refused(world):
    assert world.refusal(world.signer().assertion("regulator", REQUEST)) == "peer_auth.audience"


def test_an_assertion_for_another_ledger_is_refused(world):
    other = PeerSigner("insurer", bytes(32), INSURER, lambda: NOW)
    assert world.refusal(other.assertion("hospital", REQUEST)) == "peer_auth.audience"


@pytest.mark.parametrize(
    "request_",
    [
        PeerRequest("POST", "/endorse?x=1", b"body2"),
        PeerRequest("POST", "/endorse?x=2", b"body"),
        PeerRequest("POST", "/bodies?x=1", b"body"),
        PeerRequest("GET", "/endorse?x=1", b"body"),
    ],
)
def test_an_assertion_for_another_request_is_refused(world, request_):
    assert world.refusal(world.signer().assertion("hospital", REQUEST), request_) == "peer_auth.request"


@pytest.mark.parametrize(
    ("issued", "expires"),
    [
        (NOW - 60, NOW),  # expired
        (NOW + 31, NOW + 91),  # from the future
        (NOW, NOW + 61),  # lives too long
        (NOW - 86_400, NOW + 60),  # lives too long, from long ago
        (NOW + 10, NOW + 10),  # never lived
    ],
)
def test_an_assertion_outside_its_time_is_refused(world, issued, expires):
    assert world.refusal(forged(body=canonical(claims(iat=issued, exp=expires)))) == "peer_auth.time"


def test_a_clock_a_little_ahead_is_borne(world):
    assert world.verifier.verify(forged(body=canonical(claims(iat=NOW + 30, exp=NOW + 90))), REQUEST) == "insurer"


def segment(value) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_algorithm_none_is_refused(world):
    unsigned = f"{segment({**HEADER, 'alg': 'none'})}.{segment(canonical(claims()))}."
    assert world.refusal(unsigned) == "peer_auth.malformed"


def test_a_mac_under_the_public_key_is_refused(world):
    header = {**HEADER, "alg": "HS256"}
    mac = jws.serialize_compact(header, canonical(claims()), OctKey.import_key(INSURER.public), ["HS256"])
    assert world.refusal(mac) == "peer_auth.malformed"


def test_another_curve_is_refused(world):
    key = ECKey.generate_key("P-256")
    assertion = jws.serialize_compact({**HEADER, "alg": "ES256"}, canonical(claims()), key, ["ES256"])
    assert world.refusal(assertion) == "peer_auth.malformed"


def test_es256_under_an_es384_header_is_refused(world):
    key = ECKey.generate_key("P-256")
    signing_input = f"{segment(HEADER)}.{segment(canonical(claims()))}"
    signature = jws.serialize_compact({"alg": "ES256"}, signing_input.encode(), key, ["ES256"]).split(".")[2]
    assert world.refusal(f"{signing_input}.{signature}") == "peer_auth.signature"


@pytest.mark.parametrize(
    "header",
    [
        {**HEADER, "typ": "JWT"},
        {**HEADER, "jwk": STRANGER.private_jwk()},
        {**HEADER, "x5u": "https://evil.example/"},
        {**HEADER, "kid": 7},
        {"alg": "ES384", "kid": HEADER["kid"]},
    ],
)
def test_a_header_with_anything_else_is_refused(world, header):
    assertion = f"{segment(header)}.{segment(canonical(claims()))}.{segment(bytes(96))}"
    assert world.refusal(assertion) == "peer_auth.malformed"


@pytest.mark.parametrize(
    "body",
    [
        canonical({name: value for name, value in claims().items() if name != "jti"}),
        canonical({**claims(), "admin": True}),
        canonical(claims(exp="1796083260")),
        canonical(claims(sub="hospital")),
        canonical(claims(jti="x")),
        json.dumps(claims()).encode(),
        canonical(claims())[:-1] + b',"iss":"hospital"}',
        b"",
        b"\xff",
    ],
)
def test_claims_that_are_not_exactly_those_are_refused(world, body):
    assert world.refusal(f"{segment(HEADER)}.{segment(body)}.{segment(bytes(96))}") == "peer_auth.malformed"


@pytest.mark.parametrize(
    "assertion", ["", "a", "a.b", "....", "[].e30.e30", f"{segment([1])}.e30.", "é.é.é", "a" * 5000]
)
def test_what_is_no_assertion_is_refused(world, assertion):
    assert world.refusal(assertion) == "peer_auth.malformed"


def test_a_flipped_signature_is_refused(world):
    head, body, signature = forged().split(".")
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    assert world.refusal(f"{head}.{body}.{flipped}") == "peer_auth.signature"


def test_a_stranger_is_refused(world):
    assert world.refusal(world.signer(STRANGER, "stranger").assertion("hospital", REQUEST)) == "peer_auth.unknown"


def test_a_stranger_under_a_members_name_is_refused(world):
    assert world.refusal(world.signer(STRANGER).assertion("hospital", REQUEST)) == "peer_auth.unknown"


def test_a_member_under_anothers_name_is_refused(world):
    world.organisations["regulator"] = organisation("regulator", STRANGER)
    assert world.refusal(world.signer(INSURER, "regulator").assertion("hospital", REQUEST)) == "peer_auth.unknown"


def test_a_suspended_organisation_is_refused_at_once(world):
    assertion = world.signer().assertion("hospital", REQUEST)
    world.organisations = {"insurer": organisation("insurer", INSURER, SUSPENDED)}
    assert world.refusal(assertion) == "peer_auth.unknown"


def test_a_removed_organisation_is_refused_at_once(world):
    assertion = world.signer().assertion("hospital", REQUEST)
    world.organisations = {}
    assert world.refusal(assertion) == "peer_auth.unknown"


def test_a_rotated_key_is_refused_and_its_successor_counts(world):
    old = world.signer().assertion("hospital", REQUEST)
    new_key = Es384Signer(b"\x03" * 32)
    world.organisations = {"insurer": organisation("insurer", new_key)}
    assert world.refusal(old) == "peer_auth.unknown"
    assert world.verifier.verify(world.signer(new_key).assertion("hospital", REQUEST), REQUEST) == "insurer"


def test_a_key_of_another_use_does_not_authenticate(world):
    key = Key(key_id(ES384, INSURER.public), "encryption", INSURER.public, {}, "insurer")
    world.organisations = {"insurer": Organisation("insurer", "insurer", "c", {}, "http://h:1", (), ACTIVE, (key,))}
    assert world.refusal(world.signer().assertion("hospital", REQUEST)) == "peer_auth.unknown"


def test_an_address_is_that_of_the_ledger_now(world):
    assert world.directory.address("insurer") == "http://insurer:1"
    with pytest.raises(NotFoundError):
        world.directory.address("stranger")


def test_a_suspended_member_is_called_about_blocks_alone_and_a_removed_one_not_at_all(world):
    world.organisations["insurer"] = replace(world.organisations["insurer"], status="suspended")
    assert world.directory.ordering_address("insurer") == "http://insurer:1"
    with pytest.raises(NotFoundError, match=r"peer\.unknown"):
        world.directory.address("insurer")
    world.organisations["insurer"] = replace(world.organisations["insurer"], status="removed")
    with pytest.raises(NotFoundError, match=r"peer\.unknown"):
        world.directory.ordering_address("insurer")


def remembered(once: MemorySingleUse) -> int:
    return sum(len(used or ()) for used in once._used.values())  # noqa: SLF001  # that it does not grow is the point


def test_used_ids_are_forgotten_once_the_minute_is_over_in_which_they_end(world):
    once = MemorySingleUse(lambda: world.now)
    assert once.use_once("a", NOW + 10)
    assert not once.use_once("a", NOW + 10)
    world.now += 70
    assert once.use_once("b", world.now + 60)
    assert remembered(once) == 1


def test_attack_an_id_counts_again_after_a_clock_that_was_fast_for_a_moment_has_taken_it_for_ended(world):
    for fast in (61, 3600, 86_400, 2 * 86_400):
        once, now = MemorySingleUse(lambda: world.now), world.now
        assert once.use_once("a", now + 60)
        world.now = now + fast
        assert once.use_once("b", world.now + 60)
        world.now = now + 1
        assert not once.use_once("a", now + 60)
        # Nor does what was used meanwhile when its time comes, and what is new counts as soon as it ends later.
        for second in range(2, 300):
            world.now = now + second
            assert once.use_once(f"{second}", world.now + 60) or second < 60
        world.now = now + fast
        assert not once.use_once("b", world.now + 60)
        world.now = now


def test_what_a_clock_that_was_a_day_fast_has_left_does_not_grow(world):
    once = MemorySingleUse(lambda: world.now)
    world.now += 86_400
    assert once.use_once("fast", world.now + 60)
    world.now -= 86_400
    for second in range(300):
        world.now += 1
        assert once.use_once(f"{second}", world.now + 60)
        assert not once.use_once(f"{second}", world.now + 60)
    assert remembered(once) <= 122
    # Two days, an id every ten minutes.
    for _ in range(3 * 144):
        world.now += 600
        assert once.use_once("x", world.now + 60)
    assert len(once._used) <= 2 * 144 + 3  # noqa: SLF001 - nothing else tells how much is kept


def test_a_signer_does_not_show_its_key(world):
    assert INSURER.private_jwk()["d"] not in repr(world.signer())
