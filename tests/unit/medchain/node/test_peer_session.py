"""Sessions between nodes: what counts in one, and one test for each attack."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from medchain.crypto.es384 import Es384Signer
from medchain.crypto.keywrap import SecretBytes
from medchain.crypto.session import Share, agreed_key, code_of, is_code, new_share
from medchain.encoding import canonical, digest, digest_input
from medchain.errors import AccessDeniedError, InputError, UnavailableError, VerificationError
from medchain.ledger.members import REMOVED, SUSPENDED
from medchain.node.addresses import is_unicast
from medchain.node.config import Address
from medchain.node.directory import ANY
from medchain.node.peer_auth import PeerRequest
from medchain.node.peer_session import MAX_SESSIONS, OpenSessions, OwnSessions, Session
from medchain.node.peers import HttpPool, Limits, PeerClient
from medchain.web import server as server_module
from medchain.web.peer import session_routes
from medchain.web.routing import Caller, Request, Response, Route, Router, callers
from medchain.web.server import DaemonServer
from tests.unit.medchain.node.test_peer_auth import HEADER, INSURER, LEDGER, NOW, REQUEST, STRANGER, World, organisation

AUDIENCE = f"medchain:{LEDGER.hex()}:hospital"
BODY = digest("medchain/peer-body/v1", b"body").hex()
PLACE = object()
NOW_OF_PAGE = 1_796_083_200


class Sessions(World):
    """The same world, with an insurer that opens sessions."""

    def __init__(self) -> None:
        """Begin without any."""
        super().__init__()
        self.own = self.caller()

    def caller(self) -> OwnSessions:
        return OwnSessions("insurer", self.signer().audience, lambda: self.now)

    def open(self, own: OwnSessions | None = None) -> None:
        """Open a session as one does that was known by an assertion."""
        ask = lambda document: self.verifier.open_session("insurer", HEADER["kid"], document)  # noqa: E731  # the way there
        (own or self.own).offer("hospital", PLACE, HEADER["kid"], ask)

    def credential(self, request: PeerRequest = REQUEST, body: str = BODY) -> str:
        return self.own.credential("hospital", PLACE, request.method, request.target, body) or ""

    def call(self, credential: str, request: PeerRequest = REQUEST) -> str:
        claim = self.verifier.resume(credential, request.method, request.target)
        return self.verifier.finish(claim, request.body)

    def refused(self, credential: str, request: PeerRequest = REQUEST) -> str:
        with pytest.raises(AccessDeniedError) as caught:
            self.call(credential, request)
        return caught.value.code


@pytest.fixture
def world():
    made = Sessions()
    made.open()
    return made


def test_a_call_in_a_session_names_its_caller(world):
    assert [world.call(world.credential()) for _ in range(3)] == ["insurer"] * 3
    # Nothing was written to the disk for it.
    assert not world.durable._used  # noqa: SLF001  # nothing was noted there


def test_a_session_written_from_the_specification_counts(world):
    share = new_share()
    document = canonical({"share": share.public.hex(), "type": "medchain/session/v1"})
    answer = json.loads(world.verifier.open_session("insurer", HEADER["kid"], document))
    assert (answer["lifetime"], answer["type"]) == (600, "medchain/session/v1")
    names = [AUDIENCE.encode(), b"insurer", HEADER["kid"].encode(), answer["id"].encode()]
    theirs = bytes.fromhex(answer["share"])
    key = agreed_key(share, theirs, digest("medchain/peer-session/v1", *names, share.public, theirs))
    fields = [b"POST", b"/endorse?x=1", bytes.fromhex(BODY), (7).to_bytes(8, "big"), NOW.to_bytes(8, "big")]
    code = code_of(key, digest_input("medchain/peer-call/v1", *fields)).hex()
    assert world.call(f"{answer['id']}.7.{NOW}.{BODY}.{code}") == "insurer"


def test_the_example_of_the_specification_holds():
    page = (Path(__file__).parents[4] / "docs" / "spec" / "node-protocol.md").read_text(encoding="utf-8")
    example = page.split("## Sessions")[1]
    # By the cryptography library and the standard one, beside what the code uses.
    secrets = [X25519PrivateKey.from_private_bytes(bytes(range(at, at + 32))) for at in (0, 32)]
    caller, called = (secret.public_key().public_bytes_raw() for secret in secrets)
    names = (f"medchain:{'11' * 32}:health-commission", "renhe-hospital", "22" * 16, "33" * 16)
    parts = [b"medchain/peer-session/v1", *(name.encode() for name in names), caller, called]
    info = hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()
    shared = secrets[0].exchange(secrets[1].public_key())
    key = HKDF(SHA256(), 32, None, info).derive(shared)
    body = digest("medchain/peer-body/v1", b"{}")
    parts = [
        b"medchain/peer-call/v1",
        b"POST",
        b"/endorse",
        body,
        (1).to_bytes(8, "big"),
        NOW_OF_PAGE.to_bytes(8, "big"),
    ]
    code = hmac.digest(key, b"".join(len(part).to_bytes(8, "big") + part for part in parts), "sha256")
    assert [value.hex() in example for value in (caller, called, info, key, body, code)] == [True] * 6
    share = Share(SecretBytes(bytes(range(32))), caller)
    assert agreed_key(share, called, info) == key
    assert is_code(key, digest_input("medchain/peer-call/v1", *parts[1:]), code)


def test_a_replay_is_refused(world):
    credential = world.credential()
    world.call(credential)
    assert world.refused(credential) == "peer_auth.replayed"


def test_a_replay_after_a_restart_of_the_called_node_is_refused(world):
    credential = world.credential()
    world.call(credential)
    world.verifier = world.process("hospital", LEDGER)
    assert world.refused(credential) == "peer_auth.session"


def test_calls_may_overtake_each_other_and_each_counts_once(world):
    credentials = [world.credential() for _ in range(20)]
    assert [world.call(item) for item in reversed(credentials)] == ["insurer"] * 20
    assert {world.refused(item) for item in credentials} == {"peer_auth.replayed"}


def test_a_call_that_was_overtaken_by_too_many_is_refused_since_nobody_knows_whether_it_was_made(world):
    late = world.credential()
    for _ in range(1023):
        world.credential()
    edge = world.credential()
    assert world.call(edge) == "insurer"
    assert world.refused(late) == "peer_auth.replayed"


def test_numbers_are_remembered_in_a_window():
    session = Session("", "", "", b"", 0, INSURER.public[:32])
    assert [session.use(number) for number in (5, 5, 4, 0, 1028, 5, 4)] == [True, False, True, True, True, False, False]
    # A number far ahead takes no memory, and leaves nothing below it open.
    assert session.use(2**53)
    assert not session.use(1028)
    assert session.use(2**53 - 1)


@pytest.mark.parametrize(
    "request_",
    [
        PeerRequest("GET", REQUEST.target, b"body"),
        PeerRequest("POST", "/endorse?x=2", b"body"),
        PeerRequest("POST", "/endorse", b"body"),
        PeerRequest("POST", "/release", b"body"),
    ],
)
def test_a_code_for_another_request_is_refused(world, request_):
    assert world.refused(world.credential(), request_) == "peer_auth.signature"


def test_a_code_for_another_body_is_refused_and_not_used_up(world):
    credential = world.credential()
    assert world.refused(credential, PeerRequest("POST", REQUEST.target, b"other")) == "peer_auth.request"
    assert world.call(credential) == "insurer"


@pytest.mark.parametrize("part", range(1, 5))
def test_a_changed_credential_is_refused(world, part):
    parts = world.credential().split(".")
    is_number = len(parts[part]) < len(BODY)
    other = "1" if parts[part][0] == "0" else "0"
    parts[part] = str(int(parts[part]) + 1) if is_number else other + parts[part][1:]
    assert world.refused(".".join(parts)) == "peer_auth.signature"


@pytest.mark.parametrize(
    "change", [lambda c: c[1:], lambda c: c + "0", lambda c: c.upper(), lambda c: c.replace(".1.", ".01.")]
)
def test_another_spelling_is_refused(world, change):
    assert world.refused(change(world.credential())) == "peer_auth.malformed"


@pytest.mark.parametrize("credential", ["", ".", "x" * 10_000, "é.1.1.a.b", f"{'0' * 32}.1.1.{BODY}.{BODY} "])
def test_what_is_no_credential_is_refused(world, credential):
    assert world.refused(credential) == "peer_auth.malformed"


def test_a_session_that_nobody_opened_is_refused(world):
    parts = world.credential().split(".")
    assert world.refused(".".join(["0" * 32, *parts[1:]])) == "peer_auth.session"


def test_a_code_of_another_session_is_refused(world):
    other = world.caller()
    world.open(other)
    mine, its = (
        own.credential("hospital", PLACE, "POST", REQUEST.target, BODY).split(".") for own in (world.own, other)
    )
    assert world.refused(".".join([its[0], *mine[1:]])) == "peer_auth.signature"


def test_a_call_counts_for_a_minute_and_not_from_the_future(world):
    credential = world.credential()
    world.now = NOW + 59
    claim = world.verifier.resume(credential, "POST", REQUEST.target)
    world.now = NOW + 60
    with pytest.raises(AccessDeniedError) as caught:
        # It has ended while its body came.
        world.verifier.finish(claim, b"body")
    assert caught.value.code == "peer_auth.time"
    assert world.refused(credential) == "peer_auth.time"
    ahead = world.credential()
    world.now -= 31
    assert world.refused(ahead) == "peer_auth.time"


def test_a_session_ends_on_both_sides(world):
    world.now = NOW + 539
    credential = world.credential()
    assert world.call(credential) == "insurer"
    # The caller ends it somewhat earlier.
    world.now = NOW + 540
    assert world.credential() == ""
    world.now = NOW + 600
    assert world.refused(credential) == "peer_auth.session"


def test_a_session_ends_when_the_clock_is_set_back_since_nobody_knows_how_long_it_lives(world):
    credential = world.credential()
    world.now = NOW - 1
    assert world.refused(credential) == "peer_auth.session"


def test_a_suspended_member_is_refused_in_its_session_which_goes_on_for_what_it_may_call(world):
    world.organisations["insurer"] = organisation("insurer", INSURER, SUSPENDED)
    assert world.refused(world.credential()) == "peer_auth.unknown"
    claim = world.verifier.resume(world.credential(), "POST", REQUEST.target, ANY)
    assert world.verifier.finish(claim, b"body") == "insurer"
    assert not world.verifier.is_active(claim)


def test_a_removed_member_is_refused_in_its_session_and_the_session_ends(world):
    world.organisations["insurer"] = organisation("insurer", INSURER, REMOVED)
    assert world.refused(world.credential()) == "peer_auth.unknown"
    world.organisations["insurer"] = organisation("insurer", INSURER)
    assert world.refused(world.credential()) == "peer_auth.session"


def test_a_key_that_is_listed_no_more_ends_its_sessions_also_while_a_body_comes(world):
    claim = world.verifier.resume(world.credential(), "POST", REQUEST.target)
    world.organisations["insurer"] = organisation("insurer", STRANGER)
    with pytest.raises(AccessDeniedError) as caught:
        world.verifier.finish(claim, b"body")
    assert caught.value.code == "peer_auth.unknown"


def test_who_is_no_member_opens_none(world):
    with pytest.raises(AccessDeniedError) as caught:
        world.verifier.open_session("nobody", HEADER["kid"], b"")
    assert caught.value.code == "peer_auth.unknown"


def test_one_member_cannot_push_out_the_sessions_of_another():
    sessions = OpenSessions(AUDIENCE, lambda: NOW)
    document = canonical({"share": new_share().public.hex(), "type": "medchain/session/v1"})
    names = [
        json.loads(sessions.open(issuer, "k", b"", document))["id"]
        for issuer in ["first", *["other"] * (MAX_SESSIONS + 3)]
    ]
    codes = []
    for name in names:
        with pytest.raises(AccessDeniedError) as caught:
            sessions.begin(f"{name}.0.0.{BODY}.{BODY}", "POST", "/")
        codes.append(caught.value.code)
    assert codes == ["peer_auth.signature", *["peer_auth.session"] * 3, *["peer_auth.signature"] * MAX_SESSIONS]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        canonical({"share": "00", "type": "medchain/session/v1"}),
        canonical({"share": "00" * 32, "type": "medchain/session/v2"}),
        canonical({"share": "00" * 32, "type": "medchain/session/v1"}),
        canonical({"more": 1, "share": "09" * 32, "type": "medchain/session/v1"}),
        b" " * 1025,
    ],
)
def test_what_opens_no_session_is_refused(world, document):
    with pytest.raises((InputError, VerificationError)):
        world.verifier.open_session("insurer", HEADER["kid"], document)


# --- over the wire --------------------------------------------------------------------------------------------------


class Node:
    """A hospital's daemon that answers who called, and how."""

    def __init__(self, world: Sessions, *, knows_sessions: bool = True) -> None:
        """Serve."""
        self.world = world
        self.called: list[tuple[str, str]] = []

        @callers(Caller.PEER)
        def endorse(request: Request) -> Response:
            self.called.append((request.peer, request.headers["authorization"].split()[0]))
            return Response(request.body)

        routes = [Route("endorse", "POST", "/endorse", endorse, 100)]
        if knows_sessions:
            routes += session_routes(world.verifier)
        self.server = DaemonServer(Address("127.0.0.1", 0), Router("peer", routes, peers=world.verifier))
        self.server.start()
        self.url = f"http://127.0.0.1:{self.server.address.port}"

    def restart(self) -> None:
        """Forget everything, at the same address."""
        self.server.stop(1)
        self.world.verifier = self.world.process("hospital", LEDGER)
        routes = [*self.server._server.router.routes[:1], *session_routes(self.world.verifier)]  # noqa: SLF001  # the same route
        self.server = DaemonServer(self.server.address, Router("peer", routes, peers=self.world.verifier))
        self.server.start()


@pytest.fixture
def running(monkeypatch):
    monkeypatch.setattr(server_module, "STOP_POLL_S", 0.01)
    nodes: list[Node] = []

    def start(**options: bool) -> Node:
        nodes.append(Node(Sessions(), **options))
        return nodes[-1]

    yield start
    for node in nodes:
        node.server.stop(1)


def client_of(node: Node, key: Es384Signer = INSURER) -> PeerClient:
    return PeerClient(node.world.signer(key), lambda _org_id: node.url, may_call=is_unicast)


def test_calls_go_in_one_session(running):
    node = running()
    client = client_of(node)
    assert [client.post("hospital", "/endorse", bytes([n])).body for n in range(3)] == [b"\0", b"\1", b"\2"]
    client.close()
    assert node.called == [("insurer", "MedChain-Session")] * 3


def test_a_node_that_was_started_anew_gets_another_session(running):
    node = running()
    client = client_of(node)
    client.post("hospital", "/endorse", b"1")
    node.restart()
    assert client.post("hospital", "/endorse", b"2").body == b"2"
    client.close()
    assert node.called == [("insurer", "MedChain-Session")] * 2


def test_a_node_that_knows_no_sessions_is_called_with_assertions(running):
    node = running(knows_sessions=False)
    client = client_of(node)
    for _ in range(2):
        client.post("hospital", "/endorse", b"1")
    client.close()
    assert node.called == [("insurer", "MedChain-Peer")] * 2


def test_a_key_that_the_ledger_does_not_list_opens_none(running):
    client = client_of(running(), STRANGER)
    with pytest.raises(AccessDeniedError) as caught:
        client.post("hospital", "/endorse", b"1")
    client.close()
    assert caught.value.code == "peer_auth.unknown"


def test_a_session_opens_no_other(running):
    node = running()
    world, pool = node.world, HttpPool(node.url, "hospital", None, is_unicast)
    world.open()
    document = canonical({"share": new_share().public.hex(), "type": "medchain/session/v1"})
    request = PeerRequest("POST", "/session", document)
    credential = world.credential(request, digest("medchain/peer-body/v1", document).hex())
    with pytest.raises(AccessDeniedError) as caught:
        pool.request(request, {"Authorization": f"MedChain-Session {credential}"}, Limits())
    pool.close()
    assert caught.value.code == "peer_auth.assertion"


@pytest.mark.parametrize(
    "answer", [b"", b"{}", canonical({"id": "00", "lifetime": 1, "share": "00", "type": "medchain/session/v1"})]
)
def test_a_node_that_answers_nonsense_is_as_good_as_down(running, monkeypatch, answer):
    node = running()
    monkeypatch.setattr(OpenSessions, "open", lambda *_: answer)
    client = client_of(node)
    with pytest.raises(UnavailableError) as caught:
        client.post("hospital", "/endorse", b"1")
    client.close()
    assert caught.value.code == "peer.broken"
