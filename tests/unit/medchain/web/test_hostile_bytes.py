"""Bytes that no honest member sends: to every route of a node, and as the answer of every call to a peer.

What is refused is refused with one of our errors. Anything else would be a fault: 500 to who sends it, or a job of the
daemon that ends, and with it the daemon.
"""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass

import pytest

from medchain.crypto.es384 import Es384Signer
from medchain.encoding import canonical
from medchain.errors import MedchainError
from medchain.ledger.attest_request import StepRequest
from medchain.ledger.signed_request import parse_request
from medchain.node.addresses import is_unicast
from medchain.node.assembly import DaemonParts, LocalOperations
from medchain.node.attests import AttestDesk
from medchain.node.concern import parse_concern, parse_reports
from medchain.node.custodian import Custodian
from medchain.node.emergency_release import EmergencyCustodian
from medchain.node.endorse import parse_endorsement
from medchain.node.grant_search import GrantDesk
from medchain.node.orderer_client import HttpOrdererClient
from medchain.node.peer_auth import PeerClaim, PeerSigner
from medchain.node.peers import PeerClient
from medchain.node.proposal import parse_decision, parse_proposal, parse_signature
from medchain.node.release import parse_answer
from medchain.node.served_log import ServedLog
from medchain.node.services import Health
from medchain.ordering.block import parse_blocks
from medchain.ordering.entry import parse_entry
from medchain.ordering.receipt import parse_outcomes
from medchain.ordering.round import Ask, parse_round
from medchain.tlog.note import parse_note
from medchain.tlog.tiles import parse_entry_bundle
from medchain.web.daemon import own_routes, peer_routes
from medchain.web.routing import Caller, Request, Router, callers_of
from tests.unit.medchain.ledger.world import ANXIN, RENHE, fresh
from tests.unit.medchain.node.exchanges import Exchange
from tests.unit.medchain.node.federation import Federation
from tests.unit.medchain.node.test_peers import answering, listening, response

DEEP = 100_000
GARBAGE = {
    "nothing": b"",
    "a zero byte": b"\0",
    "invalid UTF-8": b'{"type":"\xff\xfe"}',
    "an overlong character": b'{"type":"\xc0\xaf"}',
    "half a pair of surrogates": b'{"type":"\\ud800"}',
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep and open": b"[" * DEEP,
    "duplicate names": b'{"type":"a","type":"b"}',
    "not a number": b'{"height":NaN}',
    "a number beyond all": b'{"height":1e999999}',
    "a long number": b'{"height":' + b"9" * 5000 + b"}",
    "a null": b"null",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "other line ends": b"origin\r\n1\r\nAAAA\r\n\r\n",
    "a note of nobody": "origin\n1\nAAAA\n\n— x y\n".encode(),
    "a frame beyond its end": b"\xff\xff\xff\xff" + b"x" * 100,
    "many empty frames": b"\0\0\0\0" * 5000,
    "random bytes": bytes(range(256)) * 64,
}

# No blocks are an answer too.
TAKEN = {("nothing", "blocks")}


class Anxin:
    """Takes every request for the insurer's."""

    def begin(self, _assertion, _method, _target, _allowed):
        return PeerClaim(ANXIN, "key", "jti", 0, "", is_harmless=True)

    def finish(self, claim, _body):
        return claim.issuer

    def is_active(self, _claim):
        return True


class Healthy:
    def health(self):
        return Health(ready=True, reasons=(), height=1, size=1, final_size=1)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    federation = Federation(tmp_path_factory.mktemp("nodes"))
    federation.start()
    made = Exchange(federation)
    made.open()
    yield made
    federation.stop()


@dataclass
class Releases:
    """Both sides of a custodian, as its node has them."""

    custodian: Custodian
    emergencies: EmergencyCustodian
    desk: GrantDesk

    def release(self, document, peer):
        return self.custodian.release(document, peer)

    def emergency(self, document, peer):
        return self.emergencies.release(document, peer)

    def grants(self, document, peer):
        return self.desk.find(document, peer)


@pytest.fixture(scope="module")
def parts(exchange):
    site = exchange.federation.sites[RENHE]
    return DaemonParts(
        log=ServedLog(site.ledger),
        health=Healthy(),
        local=LocalOperations({"status": lambda document: {"got": document}}),
        ordering=site.node.driver,
        endorsement=site.node.endorser,
        bodies=site.node.bodies,
        attests=AttestDesk(RENHE, site.node, Es384Signer(b"\x01" * 32), None, exchange.federation.clock, fresh),
        releases=Releases(
            exchange.custodian(),
            EmergencyCustodian(exchange.parts()),
            GrantDesk(exchange.parts(), site.node.shelf.index.of),
        ),
    )


def samples(garbage: bytes) -> list[bytes]:
    """Return the bytes, and documents that hold them where a member's own would stand."""
    text = garbage.decode("utf-8", "replace")[:1000]
    shapes = (
        {"bodies": [text], "height": 0, "payload": text, "type": "medchain/endorse/v1"},
        {"bodies": [{"body": text, "key": text, "version": 1}], "payload": None, "type": "medchain/bodies/v1"},
        {"request": text, "signature": text, "type": "medchain/release-request/v1"},
        {"stop": text, "type": "medchain/stop-notice/v1"},
        {"object": text, "ticket": text, "type": "medchain/attest-wanted/v1"},
    )
    return [garbage, *(canonical(shape) for shape in shapes)]


@pytest.mark.parametrize("name", GARBAGE)
def test_no_route_takes_garbage_or_falls_over_it(parts, name):
    routers = (
        Router("peer", peer_routes(parts), peers=Anxin()),
        Router("own", own_routes(parts), local_secret="s" * 32),
    )
    asked = 0
    for router, routes in zip(routers, (peer_routes(parts), own_routes(parts)), strict=True):
        for route in routes:
            if route.method != "POST":
                continue
            path = route.pattern.replace("(?P<operation>[a-z][a-z_.-]{0,63})", "status")
            scheme = "MedChain-Local " + "s" * 32 if Caller.LOCAL in callers_of(route.handler) else "MedChain-Peer x"
            for body in samples(GARBAGE[name]):
                found, values = router.find("POST", path)
                request = Request("POST", path, "", {"authorization": scheme}, body, "0" * 16, "", values)
                answer = router.answer(found, request, router.admit(found, request))
                if answer.status == 200 and (route.name == "local" or not body):
                    # Whoever has no lines asks with nothing; a local operation takes any document.
                    continue
                assert 400 <= answer.status < 500 or answer.status == 503, (route.name, answer.status, answer.body)
                asked += 1
    assert asked > 20


READERS = {
    "blocks": parse_blocks,
    "outcomes": lambda data: parse_outcomes(data, 1),
    "round": parse_round,
    "entry": parse_entry,
    "release": parse_answer,
    "endorsement": lambda data: parse_endorsement(data, "key"),
    "signature": lambda data: parse_signature(data, "key"),
    "proposal": parse_proposal,
    "decision": parse_decision,
    "note": parse_note,
    "entries": parse_entry_bundle,
    "concern": parse_concern,
    "statement": lambda data: parse_request(StepRequest, data),
    "concerns": lambda data: parse_reports(data, bytes(32)),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", GARBAGE)
def test_what_a_peer_answers_is_refused_by_one_of_our_errors(reader, name):
    if (name, reader) in TAKEN:
        assert READERS[reader](GARBAGE[name]) is not None
        return
    with pytest.raises(MedchainError):
        READERS[reader](GARBAGE[name])


@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "409 Conflict", "500 Internal Server Error"])
@pytest.mark.parametrize("name", GARBAGE)
def test_what_comes_over_the_wire_is_too(name, status):
    signer = PeerSigner("insurer", bytes(32), Es384Signer(b"\x01" * 32), lambda: 1_796_083_200)
    with listening(answering(*[response(status, GARBAGE[name])] * 4)) as url:
        client = PeerClient(signer, lambda _org_id: url, may_call=is_unicast)
        orderer = HttpOrdererClient(client, "hospital")
        with closing(client):
            for ask in (lambda: orderer.submit([b"leaf"]), lambda: orderer.round(Ask(1, 0, 0, 0, None))):
                with pytest.raises(MedchainError):
                    ask()
            with suppress(MedchainError):
                # A note's text is given on as it is; who takes it verifies it.
                assert isinstance(orderer.checkpoint() or "", str)
