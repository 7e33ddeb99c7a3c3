"""The route of a witness of one's own: C2SP tlog-witness ``POST /add-checkpoint``, and no other.

Keeps true: a status says what the specification says; what keeps the witness from cosigning is 503, never one of the
statuses that speak of the log. Trusts `medchain.node.witnessing` for the decision, and `medchain.web.server` for bounds
on connections, heads and bodies.
Source: C2SP tlog-witness; `docs/spec/log.md` 26 to 31.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from medchain.node.witnessing import Cosigned, Witness
from medchain.tlog.witness import Conflict
from medchain.web.routing import Caller, Request, Response, Route, callers

MAX_BODY_BYTES: Final = 128 << 10
"""Largest request: a consistency proof, and the checkpoint with the lines of some thirty members, who have 3.6 KiB."""

_TEXT: Final = "text/plain; charset=utf-8"
_SIZE: Final = "text/x.tlog.size"


def witness_routes(witness: Witness) -> list[Route]:
    """Make the route of a witness."""

    @callers(Caller.PUBLIC)
    def add_checkpoint(request: Request) -> Response:
        decision = witness.answer(request.body)
        if isinstance(decision, Cosigned):
            return Response("".join(line.line() for line in decision.lines).encode(), content_type=_TEXT)
        if isinstance(decision, Conflict):
            return Response(f"{decision.size}\n".encode(), HTTPStatus.CONFLICT, _SIZE)
        return Response(f"{decision.code}\n".encode(), decision.status, _TEXT)

    return [Route("add_checkpoint", "POST", "/add-checkpoint", add_checkpoint, MAX_BODY_BYTES)]
