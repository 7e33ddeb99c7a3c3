"""The ledger daemon's routes: ordering, endorsement, bodies, releases and the log, for members; health; local calls.

Each route reads its request strictly, calls one service and writes the answer. Keeps true: sizes are bounded here,
before a byte is read; who calls is declared beside each handler. Trusts the router for the caller's identity, nothing
else about a request.
Source: `docs/spec/ordering.md`, `docs/spec/endorsement.md` 4, `docs/spec/node-protocol.md`, C2SP tlog-tiles.
"""

from __future__ import annotations

import gzip
import re
from typing import Final

from medchain.claims.deeds import MAX_DEED_BYTES
from medchain.claims.dispute import MAX_DISPUTE_BYTES
from medchain.claims.fishing import MAX_REPORT_BYTES as MAX_FISHING_BYTES
from medchain.encoding import parse_canonical
from medchain.errors import AccessDeniedError, InputError
from medchain.ledger.claim_question import MAX_QUESTION_BYTES as MAX_CLAIM_QUESTION_BYTES
from medchain.ledger.transaction import MAX_LEAF_BYTES
from medchain.node import metrics
from medchain.node.asking import MAX_ASK_BYTES
from medchain.node.attests import MAX_ATTEST_BYTES
from medchain.node.concern import MAX_REPORT_BYTES
from medchain.node.grant_search import MAX_QUESTION_BYTES
from medchain.node.peer_session import MAX_SESSION_BYTES, SESSION_PATH
from medchain.node.peers import JSON, OCTETS
from medchain.node.proposal import MAX_DOCUMENT_BYTES
from medchain.node.release import MAX_ANSWER_BYTES as MAX_RELEASE_BYTES
from medchain.node.services import (
    AskService,
    AttestService,
    BodyService,
    ClaimService,
    ConcernService,
    EndorsementService,
    HealthService,
    LocalService,
    LogService,
    OrderingService,
    ProposalService,
    ReleaseService,
    SessionService,
    health_document,
)
from medchain.node.suspended import SuspendedStops
from medchain.ordering.block import MAX_ANSWER_BYTES, MAX_NOTE_BYTES, parse_submission
from medchain.ordering.receipt import outcomes_bytes
from medchain.ordering.round import Ask
from medchain.tlog.tiles import parse_tile_path
from medchain.web.routing import Caller, Request, Response, Route, callers, json_response

MAX_BODY_DOCUMENT_BYTES: Final = 2 << 20
"""Largest endorsement request or sealed body."""

MAX_RELEASE_REQUEST_BYTES: Final = 256 * 1024
"""Largest request for records."""

MAX_LOCAL_BYTES: Final = 16 << 20
"""Largest document of a local call."""

MAX_WAIT_S: Final = 30
"""Longest poll."""

_MAX_HEIGHT: Final = 2**53 - 1
_NOTE: Final = "text/plain; charset=utf-8"
# Of members only, so that no shared cache may keep it.
_MUTABLE: Final = {"Cache-Control": "private, no-cache"}
_IMMUTABLE: Final = {"Cache-Control": "private, max-age=31536000, immutable"}
_GZIP_LEVEL: Final = 1


def ordering_routes(service: OrderingService) -> list[Route]:
    """Make the routes of ordering (`docs/spec/ordering.md`)."""
    stops = SuspendedStops()

    @callers(Caller.PEER, Caller.SUSPENDED)
    def submit(request: Request) -> Response:
        leaves = parse_submission(request.body)
        if not request.is_active:
            stops.check(request.peer, leaves)
        return Response(outcomes_bytes(service.order(leaves)))

    @callers(Caller.PEER, Caller.LEAVING)
    def blocks(request: Request) -> Response:
        first = request.number("from", default=0, high=_MAX_HEIGHT)
        wait_s = request.number("wait", default=0, high=MAX_WAIT_S)
        return Response(service.frames(first, wait_s), content_type=OCTETS)

    @callers(Caller.PEER, Caller.LEAVING)
    def poll(request: Request) -> Response:
        ask = Ask(
            first=request.number("from", default=0, high=_MAX_HEIGHT),
            wait_s=request.number("wait", default=0, high=MAX_WAIT_S),
            final=request.number("final", default=0, high=_MAX_HEIGHT),
            met=request.number("met", default=0, high=_MAX_HEIGHT),
            note=_note_text(request.body) or None,
        )
        return Response(service.round(ask), content_type=OCTETS)

    @callers(Caller.PEER, Caller.LEAVING)
    def checkpoint(request: Request) -> Response:
        return _note_response(service.checkpoint(request.number("final", default=_MAX_HEIGHT, high=_MAX_HEIGHT)))

    @callers(Caller.PEER, Caller.LEAVING)
    def cosign(request: Request) -> Response:
        service.cosign(_note_text(request.body))
        return Response(b"", 204)

    @callers(Caller.PEER)
    def entry(request: Request) -> Response:
        position = request.number("position", default=0, high=_MAX_HEIGHT)
        size = request.number("size", default=0, high=_MAX_HEIGHT)
        return Response(service.entry(position, size), content_type=OCTETS)

    @callers(Caller.PEER)
    def stand_down(request: Request) -> Response:
        return _note_response(service.stand_down(request.body))

    return [
        Route("ordering.submit", "POST", "/ordering/submit", submit, MAX_ANSWER_BYTES, is_poll=True),
        Route("ordering.blocks", "GET", "/ordering/blocks", blocks, is_poll=True),
        Route("ordering.round", "POST", "/ordering/round", poll, MAX_NOTE_BYTES, is_poll=True),
        Route("ordering.checkpoint", "GET", "/ordering/checkpoint", checkpoint),
        Route("ordering.cosign", "POST", "/ordering/cosign", cosign, MAX_NOTE_BYTES),
        Route("ordering.entry", "GET", "/ordering/entry", entry),
        Route("ordering.stand_down", "POST", "/ordering/stand-down", stand_down, MAX_LEAF_BYTES),
    ]


def endorsement_routes(service: EndorsementService) -> list[Route]:
    """Make the route of endorsement (`docs/spec/endorsement.md` 4)."""

    @callers(Caller.PEER)
    def endorse(request: Request) -> Response:
        return json_response(service.endorse(request.body, request.peer))

    return [Route("endorse", "POST", "/endorse", endorse, MAX_BODY_DOCUMENT_BYTES)]


def body_routes(service: BodyService) -> list[Route]:
    """Make the route of bodies (`docs/spec/body.md` 6)."""

    @callers(Caller.PEER)
    def receive(request: Request) -> Response:
        return json_response(service.receive(request.body, request.peer))

    return [Route("bodies", "POST", "/bodies", receive, MAX_BODY_DOCUMENT_BYTES)]


def proposal_routes(service: ProposalService) -> list[Route]:
    """Make the route of proposals (`docs/spec/proposal.md`)."""

    @callers(Caller.PEER)
    def receive(request: Request) -> Response:
        return json_response(service.receive(request.body, request.peer))

    return [Route("proposals", "POST", "/proposals", receive, MAX_DOCUMENT_BYTES)]


def ask_routes(service: AskService) -> list[Route]:
    """Make the route of asks (`docs/spec/ask.md`)."""

    @callers(Caller.PEER)
    def receive(request: Request) -> Response:
        return json_response(service.receive(request.body, request.peer))

    return [Route("asks", "POST", "/asks", receive, MAX_ASK_BYTES)]


def concern_routes(service: ConcernService) -> list[Route]:
    """Make the route of concerns (`docs/spec/concern.md` 8)."""

    @callers(Caller.PEER)
    def receive(request: Request) -> Response:
        return json_response(service.receive(request.body, request.peer))

    return [Route("concerns", "POST", "/concerns", receive, MAX_REPORT_BYTES)]


def attest_routes(service: AttestService) -> list[Route]:
    """Make the route of statements (`docs/spec/attest.md` 6)."""

    @callers(Caller.PEER)
    def receive(request: Request) -> Response:
        return json_response(service.receive(request.body, request.peer))

    return [Route("attests", "POST", "/attests", receive, MAX_ATTEST_BYTES, is_poll=True)]


def claim_routes(service: ClaimService) -> list[Route]:
    """Make the routes of claims (`docs/spec/claim-question.md`, `claim-deed.md`, `claim-dispute.md`)."""

    @callers(Caller.PEER)
    def question(request: Request) -> Response:
        return Response(service.question(request.body, request.peer), content_type=JSON)

    @callers(Caller.PEER)
    def deed(request: Request) -> Response:
        return json_response(service.deed(request.body, request.peer))

    @callers(Caller.PEER)
    def dispute(request: Request) -> Response:
        return json_response(service.dispute(request.body, request.peer))

    @callers(Caller.PEER)
    def fishing(request: Request) -> Response:
        return json_response(service.fishing(request.body, request.peer))

    return [
        Route("claims.question", "POST", "/claims/question", question, MAX_CLAIM_QUESTION_BYTES),
        Route("claims.deed", "POST", "/claims/deed", deed, MAX_DEED_BYTES, is_poll=True),
        Route("claims.dispute", "POST", "/claims/dispute", dispute, MAX_DISPUTE_BYTES),
        Route("claims.fishing", "POST", "/claims/fishing", fishing, MAX_FISHING_BYTES),
    ]


def release_routes(service: ReleaseService) -> list[Route]:
    """Make the routes of releases (`docs/spec/release.md`, `docs/spec/emergency-release.md`)."""

    @callers(Caller.PEER)
    def release(request: Request) -> Response:
        return Response(service.release(request.body, request.peer), content_type=OCTETS)

    @callers(Caller.PEER)
    def emergency(request: Request) -> Response:
        return Response(service.emergency(request.body, request.peer), content_type=OCTETS)

    @callers(Caller.PEER)
    def grants(request: Request) -> Response:
        return json_response(service.grants(request.body, request.peer))

    return [
        Route(
            "release",
            "POST",
            "/release",
            release,
            MAX_RELEASE_REQUEST_BYTES,
            is_poll=True,
            once_bytes=MAX_RELEASE_BYTES,
        ),
        Route(
            "emergencies",
            "POST",
            "/emergencies",
            emergency,
            MAX_RELEASE_REQUEST_BYTES,
            once_bytes=MAX_RELEASE_BYTES,
        ),
        Route("grants", "POST", "/grants", grants, MAX_QUESTION_BYTES),
    ]


def session_routes(service: SessionService) -> list[Route]:
    """Make the route by which a member opens a session (`docs/spec/node-protocol.md`, Sessions)."""

    @callers(Caller.PEER, Caller.LEAVING, Caller.SUSPENDED)
    def open_session(request: Request) -> Response:
        if not request.peer_key:
            # A session that could open another one would never have to show the key again.
            raise AccessDeniedError("peer_auth.assertion")
        return Response(service.open_session(request.peer, request.peer_key, request.body))

    return [Route("session", "POST", SESSION_PATH, open_session, MAX_SESSION_BYTES)]


def log_routes(service: LogService) -> list[Route]:
    """Make the routes of the log: C2SP tlog-tiles under ``/log``, for members and for this node."""

    @callers(Caller.PEER, Caller.LOCAL)
    def checkpoint(_request: Request) -> Response:
        return Response(service.checkpoint(), content_type=_NOTE, headers=_MUTABLE)

    @callers(Caller.PEER, Caller.LOCAL)
    def tile(request: Request) -> Response:
        name = parse_tile_path(request.path_values["tile"])
        if name.level is None:
            return _bundle_response(request, service.entry_bundle(name.index, name.width))
        return Response(service.tile(name.level, name.index, name.width), content_type=OCTETS, headers=_IMMUTABLE)

    return [
        Route("log.checkpoint", "GET", "/log/checkpoint", checkpoint),
        Route("log.tile", "GET", "/log/(?P<tile>tile/[0-9a-z./]{1,80})", tile),
    ]


def health_routes(service: HealthService) -> list[Route]:
    """Make the routes for supervisors and monitors. Public: they tell numbers of the ledger, nothing else."""

    @callers(Caller.PUBLIC)
    def alive(_request: Request) -> Response:
        return json_response({"status": "alive"})

    @callers(Caller.PUBLIC)
    def ready(_request: Request) -> Response:
        health = service.health()
        return json_response(health_document(health), 200 if health.ready else 503)

    return [
        Route("healthz", "GET", "/healthz", alive),
        Route("readyz", "GET", "/readyz", ready),
    ]


def local_routes(service: LocalService) -> list[Route]:
    """Make the routes for web workers and the command line of this node: operations and metrics."""

    @callers(Caller.LOCAL)
    def call(request: Request) -> Response:
        document = parse_canonical(request.body, max_bytes=MAX_LOCAL_BYTES)
        return json_response(service.call(request.path_values["operation"], document))

    @callers(Caller.LOCAL)
    def numbers(_request: Request) -> Response:
        return Response(metrics.expose(), content_type=metrics.CONTENT_TYPE)

    return [
        Route("local", "POST", "/local/(?P<operation>[a-z][a-z_.-]{0,63})", call, MAX_LOCAL_BYTES, is_poll=True),
        Route("metrics", "GET", "/metrics", numbers),
    ]


def _bundle_response(request: Request, bundle: bytes) -> Response:
    """Answer an entry bundle, compressed for whoever takes gzip (C2SP tlog-tiles)."""
    headers = _IMMUTABLE | {"Vary": "Accept-Encoding"}
    if "gzip" not in re.split(r"[\s,]+", request.headers.get("accept-encoding", "").lower()):
        return Response(bundle, content_type=OCTETS, headers=headers)
    packed = gzip.compress(bundle, _GZIP_LEVEL, mtime=0)
    return Response(packed, content_type=OCTETS, headers=headers | {"Content-Encoding": "gzip"})


def _note_response(note: str | None) -> Response:
    """Answer a note, or 204 where there is none yet."""
    return Response(b"", 204) if note is None else Response(note.encode("utf-8"), content_type=_NOTE)


def _note_text(body: bytes) -> str:
    """Read a note's text; what it says is for the service to verify."""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError("request.malformed") from error
