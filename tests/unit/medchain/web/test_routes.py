"""The daemon's routes: who may call each, what each hands to its service, and that none is undeclared."""

from __future__ import annotations

import gzip

import orjson
import pytest
from flask import Blueprint, Flask

from medchain.encoding import canonical
from medchain.errors import AccessDeniedError, ConflictError, InputError, NotFoundError, UnavailableError
from medchain.node import proposal_desk
from medchain.node.assembly import DaemonParts, LocalOperations
from medchain.node.directory import MEMBER_KEYS
from medchain.node.peer_auth import PeerClaim
from medchain.node.proofs import PROVE, PROVE_ENTRY, TRUSTED_POLICY
from medchain.node.rotation import ROTATE
from medchain.node.services import Health
from medchain.node.witnesses import WITNESSES
from medchain.ordering.block import Block, blocks_answer, parse_blocks, submission
from medchain.ordering.receipt import Receipt, Refused, parse_outcomes
from medchain.ordering.round import Ask, Round, parse_round, round_answer
from medchain.web.daemon import own_routes, peer_routes
from medchain.web.peer import local_routes
from medchain.web.routing import Caller, Request, Response, Route, Router, callers_of, error_response, status_of
from medchain.web.service import check_callers, prepare

RECEIPT = Receipt(bytes(32), (bytes(range(32)),), 7, 1_796_083_200, bytes(64))
BLOCK = Block(4, 1_796_083_200, (b"leaf",), "origin\n1\nroot\n\n— x y\n")


class Ordering:
    """Notes what it is asked."""

    def __init__(self) -> None:
        """Begin with nothing asked."""
        self.asked: list[object] = []
        self.note: str | None = "note\n"

    def order(self, leaves):
        self.asked.append(list(leaves))
        return [RECEIPT, Refused("transaction.version")][: len(leaves)]

    def frames(self, first, wait_s=0):
        self.asked.append((first, wait_s))
        return blocks_answer([BLOCK])

    def round(self, ask):
        self.asked.append(ask)
        return round_answer(self.note, 9, blocks_answer([BLOCK]))

    def checkpoint(self, final):
        self.asked.append(final)
        return self.note

    def cosign(self, note):
        self.asked.append(note)

    def entry(self, position, size):
        self.asked.append((position, size))
        return b"entry"

    def stand_down(self, leaf):
        self.asked.append(leaf)
        return self.note


class Log:
    def checkpoint(self):
        return b"note\n"

    def tile(self, level, index, width):
        return f"{level}/{index}/{width}".encode()

    def entry_bundle(self, index, width):
        return f"entries/{index}/{width}".encode()


class Exchange:
    """Endorses, receives and releases by repeating who asked what."""

    def endorse(self, document, peer):
        return {"peer": peer, "size": len(document)}

    def receive(self, document, peer):
        return {"peer": peer, "size": len(document)}

    def release(self, document, peer):
        return peer.encode() + document

    def grants(self, document, peer):
        return {"peer": peer, "size": len(document)}

    def question(self, document, peer):
        return peer.encode() + document

    def deed(self, document, peer):
        return {"peer": peer, "size": len(document)}

    def dispute(self, document, peer):
        return {"peer": peer, "size": len(document)}

    def fishing(self, document, peer):
        return {"peer": peer, "size": len(document)}


class Healthy:
    def __init__(self) -> None:
        """Begin ready."""
        self.ready = True

    def health(self):
        return Health(self.ready, () if self.ready else ("replica.behind",), 3, 9, 8)


class Insurer:
    """Takes every assertion for the insurer's that says so."""

    def begin(self, assertion, method, target, _allowed):
        if not assertion.startswith(f"for {method} {target} "):
            raise AccessDeniedError("peer_auth.signature")
        body = assertion.removeprefix(f"for {method} {target} ")
        return PeerClaim("insurer", "key", "jti", 0, body, is_harmless=True)

    def finish(self, claim, body):
        if claim.body_hash != repr(body):
            raise AccessDeniedError("peer_auth.request")
        return claim.issuer

    def is_active(self, _claim):
        return True


@pytest.fixture
def ordering():
    return Ordering()


@pytest.fixture
def healthy():
    return Healthy()


@pytest.fixture
def parts(ordering, healthy):
    exchange = Exchange()
    operations = LocalOperations({"status": lambda document: {"got": document}})
    services = [exchange] * 8
    return DaemonParts(Log(), healthy, operations, ordering, *services)


@pytest.fixture
def router(parts):
    return Router("peer", peer_routes(parts), peers=Insurer())


def call(
    router: Router, method: str, target: str, body: bytes = b"", *, authorization: str | None = None, **fields: str
) -> Response:
    path, _, query = target.partition("?")
    route, values = router.find(method, path)
    credential = f"MedChain-Peer for {method} {target} {body!r}" if authorization is None else authorization
    headers = {"authorization": credential, **{name.replace("_", "-"): value for name, value in fields.items()}}
    request = Request(method, path, query, headers, body, "0123456789abcdef", "", values)
    try:
        return router.answer(route, request, router.admit(route, request))
    except AccessDeniedError as error:
        return error_response(error, request.request_id)


def test_every_route_of_the_daemon_declares_its_callers(parts):
    for route in [*peer_routes(parts), *own_routes(parts)]:
        assert callers_of(route.handler), route.name
        assert callers_of(route.handler) <= set(Caller)


def test_only_health_is_public(parts):
    public = {route.name for route in peer_routes(parts) if Caller.PUBLIC in callers_of(route.handler)}
    assert public == {"healthz", "readyz"}


def test_names_of_routes_are_unique_and_hold_nothing_of_a_request(parts):
    names = [route.name for route in peer_routes(parts)]
    assert len(names) == len(set(names))
    assert all(name.replace(".", "").replace("_", "").isalpha() for name in names)


def test_a_handler_that_does_not_declare_its_callers_makes_no_router():
    with pytest.raises(InputError) as caught:
        Router("test", [Route("open", "GET", "/open", lambda _request: Response(b""))])
    assert caught.value.code == "route.callers"


@pytest.mark.parametrize("authorization", ["", "Bearer x", "MedChain-Local secret", "MedChain-Peer x"])
def test_every_route_of_peers_refuses_who_is_none(parts, router, authorization):
    samples = {"log.tile": "/log/tile/0/000"}
    for route in peer_routes(parts):
        if Caller.PUBLIC not in callers_of(route.handler):
            answer = call(router, route.method, samples.get(route.name, route.pattern), authorization=authorization)
            assert answer.status == 401, route.name
            assert answer.headers["WWW-Authenticate"] == "MedChain-Peer"


def test_without_a_verifier_or_a_secret_nobody_is_let_in(parts):
    router = Router("peer", peer_routes(parts))
    assert call(router, "GET", "/log/checkpoint").status == 401
    assert call(router, "GET", "/log/checkpoint", authorization="MedChain-Local ").status == 401


def test_a_submission_is_answered_envelope_by_envelope(router, ordering):
    answer = call(router, "POST", "/ordering/submit", submission([b"one", b"two"]))
    assert ordering.asked == [[b"one", b"two"]]
    assert parse_outcomes(answer.body, 2) == [RECEIPT, Refused("transaction.version")]


@pytest.mark.parametrize("body", [b"", b"\x00\x00\x00\x09abc", b"\x00\x00"])
def test_a_submission_out_of_frame_is_refused(router, ordering, body):
    assert call(router, "POST", "/ordering/submit", body).status == 400
    assert ordering.asked == []


def test_blocks_are_asked_for_with_a_bounded_wait(router, ordering):
    answer = call(router, "GET", "/ordering/blocks?from=4&wait=20")
    assert parse_blocks(answer.body) == [BLOCK]
    assert call(router, "GET", "/ordering/blocks").status == 200
    assert ordering.asked == [(4, 20), (0, 0)]


@pytest.mark.parametrize(
    "query",
    ["wait=31", "from=-1", "from=x", "from=", "from=1&from=2", "from=99999999999999999999", "&".join(["a=1"] * 40)],
)
def test_a_parameter_that_is_no_number_in_range_is_refused(router, ordering, query):
    assert call(router, "GET", f"/ordering/blocks?{query}").status == 400
    assert ordering.asked == []


def test_a_poll_takes_lines_along_and_brings_what_is_final(router, ordering):
    answer = call(router, "POST", "/ordering/round?final=7&from=4&met=8&wait=20", "— line\n".encode())
    assert parse_round(answer.body) == Round([BLOCK], "note\n", 9)
    assert call(router, "POST", "/ordering/round").status == 200
    assert ordering.asked == [Ask(4, 20, 7, 8, "— line\n"), Ask(0, 0, 0, 0, None)]


@pytest.mark.parametrize(("query", "body"), [("wait=31", b""), ("final=x", b""), ("met=-1", b""), ("from=1", b"\xff")])
def test_a_poll_of_another_form_is_refused(router, ordering, query, body):
    assert call(router, "POST", f"/ordering/round?{query}", body).status == 400
    assert ordering.asked == []


def test_a_note_goes_both_ways(router, ordering):
    assert call(router, "GET", "/ordering/checkpoint?final=7").body == b"note\n"
    assert call(router, "POST", "/ordering/cosign", "— line\n".encode()).status == 204
    assert call(router, "POST", "/ordering/stand-down", b"leaf").body == b"note\n"
    assert ordering.asked == [7, "— line\n", b"leaf"]


def test_an_entry_is_asked_for_by_its_position_and_the_size_of_its_log(router, ordering):
    assert call(router, "GET", "/ordering/entry?position=7&size=9").body == b"entry"
    assert ordering.asked == [(7, 9)]
    assert call(router, "GET", "/ordering/entry?position=-1&size=9").status == 400


def test_before_the_first_note_there_is_none(router, ordering):
    ordering.note = None
    assert call(router, "GET", "/ordering/checkpoint").status == 204


def test_a_note_that_is_no_text_is_refused(router, ordering):
    assert call(router, "POST", "/ordering/cosign", b"\xff").status == 400
    assert ordering.asked == []


def test_services_are_told_who_asks(router):
    assert orjson.loads(call(router, "POST", "/endorse", b"abc").body) == {"peer": "insurer", "size": 3}
    assert orjson.loads(call(router, "POST", "/bodies", b"abcd").body) == {"peer": "insurer", "size": 4}
    assert call(router, "POST", "/release", b"x").body == b"insurerx"
    assert orjson.loads(call(router, "POST", "/grants", b"abcde").body) == {"peer": "insurer", "size": 5}
    assert orjson.loads(call(router, "POST", "/proposals", b"ab").body) == {"peer": "insurer", "size": 2}
    assert orjson.loads(call(router, "POST", "/asks", b"a").body) == {"peer": "insurer", "size": 1}
    assert orjson.loads(call(router, "POST", "/attests", b"ab").body) == {"peer": "insurer", "size": 2}
    assert orjson.loads(call(router, "POST", "/concerns", b"abc").body) == {"peer": "insurer", "size": 3}
    assert call(router, "POST", "/claims/question", b"x").body == b"insurerx"
    assert orjson.loads(call(router, "POST", "/claims/deed", b"abc").body) == {"peer": "insurer", "size": 3}
    assert orjson.loads(call(router, "POST", "/claims/dispute", b"a").body) == {"peer": "insurer", "size": 1}
    assert orjson.loads(call(router, "POST", "/claims/fishing", b"ab").body) == {"peer": "insurer", "size": 2}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/log/checkpoint", b"note\n"),
        ("/log/tile/0/000", b"0/0/256"),
        ("/log/tile/1/x001/234.p/7", b"1/1234/7"),
        ("/log/tile/entries/x001/234", b"entries/1234/256"),
    ],
)
def test_the_log_is_served_as_c2sp_tlog_tiles_says(router, path, body):
    assert call(router, "GET", path).body == body


def test_a_checkpoint_is_asked_for_anew_and_a_tile_may_be_kept_by_who_has_it(router):
    # C2SP tlog-tiles; never by a cache that others share, since the log is for members.
    head = call(router, "GET", "/log/checkpoint")
    assert (head.content_type, head.headers["Cache-Control"]) == ("text/plain; charset=utf-8", "private, no-cache")
    for path in ("/log/tile/0/000", "/log/tile/1/000.p/7", "/log/tile/entries/000.p/3"):
        answer = call(router, "GET", path)
        assert answer.content_type == "application/octet-stream"
        assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"


@pytest.mark.parametrize(("accepted", "packed"), [("gzip", True), ("deflate, GZIP", True), ("br", False), ("", False)])
def test_entries_are_compressed_for_who_takes_gzip(router, accepted, packed):
    answer = call(router, "GET", "/log/tile/entries/000", accept_encoding=accepted)
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers.get("Content-Encoding") == ("gzip" if packed else None)
    assert (gzip.decompress(answer.body) if packed else answer.body) == b"entries/0/256"
    # Hashes do not get smaller.
    assert "Content-Encoding" not in call(router, "GET", "/log/tile/0/000", accept_encoding=accepted).headers


def test_another_spelling_of_a_tile_is_refused(router):
    assert call(router, "GET", "/log/tile/0/x000/000").status == 400


def test_a_node_that_is_not_ready_says_why(router, healthy):
    assert call(router, "GET", "/readyz", authorization="").status == 200
    healthy.ready = False
    answer = call(router, "GET", "/readyz", authorization="")
    assert (answer.status, orjson.loads(answer.body)["reasons"]) == (503, ["replica.behind"])
    assert call(router, "GET", "/healthz", authorization="").status == 200


def test_local_operations_are_for_who_knows_the_secret(parts):
    router = Router("local", own_routes(parts), local_secret="abc")
    good = call(router, "POST", "/local/status", canonical({"a": 1}), authorization="MedChain-Local abc")
    assert orjson.loads(good.body) == {"got": {"a": 1}}
    assert call(router, "POST", "/local/other", b"{}", authorization="MedChain-Local abc").status == 404
    assert call(router, "POST", "/local/status", b"{ }", authorization="MedChain-Local abc").status == 400
    assert call(router, "POST", "/local/status", b"{}", authorization="MedChain-Local abd").status == 401
    assert call(router, "GET", "/log/checkpoint", authorization="MedChain-Local abc").status == 200
    assert b"medchain_requests" in call(router, "GET", "/metrics", authorization="MedChain-Local abc").body


def test_local_operations_are_not_on_the_peers_server(router):
    with pytest.raises(NotFoundError):
        router.find("POST", "/local/status")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("a.b"), 400),
        (InputError("request.too_large"), 413),
        (AccessDeniedError("peer_auth.replayed"), 401),
        (AccessDeniedError("consent.none"), 403),
        (NotFoundError("a.b"), 404),
        (ConflictError("a.b"), 409),
        (UnavailableError("a.b"), 503),
    ],
)
def test_each_error_has_its_status(error, status):
    assert status_of(error) == status


def test_a_view_that_does_not_declare_its_callers_makes_no_application():
    app = Flask("test", static_folder=None)
    prepare(app)
    blueprint = Blueprint("open", __name__)
    blueprint.add_url_rule("/open", view_func=lambda: "open", endpoint="open")
    app.register_blueprint(blueprint)
    with pytest.raises(InputError) as caught:
        check_callers(app)
    assert caught.value.fields == {"route": "/open"}


@pytest.mark.parametrize(
    "operation",
    [
        MEMBER_KEYS,
        ROTATE,
        PROVE,
        PROVE_ENTRY,
        TRUSTED_POLICY,
        WITNESSES,
        proposal_desk.LIST,
        proposal_desk.PROPOSE,
        proposal_desk.DECIDE,
    ],
)
def test_every_local_operation_has_a_name_that_its_route_takes(operation):
    router = Router("local", local_routes(LocalOperations()), local_secret="s" * 64)
    assert router.find("POST", f"/local/{operation}")[1] == {"operation": operation}
