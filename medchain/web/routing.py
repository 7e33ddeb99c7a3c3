"""Routes of the ledger daemon: small, without a framework, since the daemon must stay small too.

A handler takes a `Request` and returns a `Response` or raises one of our errors. Keeps true: a route without a
declaration of who may call it cannot be made; a caller is known before a body is read, and again by it before it is
used; every answer has a request id; an error answers its code and fields and nothing else. Trusts the server to have
bounded the body.
Source: RFC 9110; `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Protocol, TypeVar
from urllib.parse import parse_qsl

from medchain.encoding import Json, canonical
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    MedchainError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.node.directory import Standing
from medchain.node.local import LOCAL_SCHEME
from medchain.node.log import Log
from medchain.node.peer_auth import SCHEME, PeerClaim
from medchain.node.peer_session import SESSION_SCHEME
from medchain.node.peers import JSON

_ATTRIBUTE: Final = "medchain_callers"
_LOG: Final = Log("http")
_STATUSES: Final[Mapping[type[MedchainError], int]] = {
    InputError: 400,
    AccessDeniedError: 403,
    NotFoundError: 404,
    ConflictError: 409,
    VerificationError: 422,
    UnavailableError: 503,
}


class Caller(StrEnum):
    """Who may call a route."""

    PEER = "peer"
    """An active member, by assertion."""
    LEAVING = "leaving"
    """One that is not active, and was in a set of members since the last final block; by assertion."""
    SUSPENDED = "suspended"
    """A suspended member, by assertion."""
    PUBLIC = "public"
    """Anybody."""
    LOCAL = "local"
    """A process of this node, by the secret of this start."""
    TOKEN = "token"  # noqa: S105  # a kind of caller, no secret
    """A client with an access token; for the web application, which checks it itself."""


_STANDINGS: Final = {
    Caller.PEER: Standing.ACTIVE,
    Caller.LEAVING: Standing.LEAVING,
    Caller.SUSPENDED: Standing.SUSPENDED,
}


@dataclass(frozen=True, slots=True)
class Request:
    """A request, its body whole.

    Attributes:
        method: upper case.
        path: without the query, as sent.
        query: as sent, without the question mark.
        headers: names in lower case.
        body: all of it.
        request_id: 16 hexadecimal digits.
        peer: the calling organisation, for routes of peers; empty for others.
        path_values: what the path's pattern caught.
        peer_key: id of the key by which the caller signed this very request; empty for a call in a session.
        is_active: whether the calling organisation is an active member.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    request_id: str
    peer: str = ""
    path_values: Mapping[str, str] = field(default_factory=dict)
    peer_key: str = ""
    is_active: bool = False

    @property
    def target(self) -> str:
        """Path with query, as sent."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def number(self, name: str, *, default: int, high: int) -> int:
        """Read a whole number from the query.

        Args:
            name: of the parameter.
            default: where it is absent.
            high: largest value.

        Returns:
            The number.

        Raises:
            InputError: ``request.parameter`` for anything else, or given twice.
        """
        try:
            given = [
                value for key, value in parse_qsl(self.query, keep_blank_values=True, max_num_fields=16) if key == name
            ]
        except ValueError as error:
            raise InputError("request.parameter", name=name) from error
        if not given:
            return default
        text = given[0]
        plain = len(given) == 1 and text.isascii() and text.isdigit() and len(text) <= 16  # noqa: PLR2004  # 2^53
        if not plain or int(text) > high:
            raise InputError("request.parameter", name=name)
        return int(text)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer.

    Attributes:
        body: all of it.
        status: HTTP status.
        content_type: of the body.
        headers: further fields.
    """

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Response]
AnyFunction = TypeVar("AnyFunction", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Route:
    """One route.

    Attributes:
        name: for metrics and logs; never holds what a client sent.
        method: upper case.
        pattern: the whole path as a regular expression; its named groups become `Request.path_values`.
        handler: declared with `callers`.
        max_bytes: largest body.
        is_poll: whether it waits on purpose; it is left out of the times.
        once_bytes: largest answer of one that gives it once: where there is no room for it, it is not called. 0 for
            one that gives the same answer again.
    """

    name: str
    method: str
    pattern: str
    handler: Handler
    max_bytes: int = 0
    is_poll: bool = False
    once_bytes: int = 0


class PeerCheck(Protocol):
    """Tells who signed an assertion; `medchain.node.peer_auth.PeerVerifier`."""

    def begin(self, assertion: str, method: str, target: str, allowed: Collection[Standing]) -> PeerClaim:
        """Check all but the body, and that the caller has one of these standings, or raise `AccessDeniedError`."""
        ...

    def resume(self, credential: str, method: str, target: str, allowed: Collection[Standing]) -> PeerClaim:
        """Do the same for a call in a session."""
        ...

    def is_active(self, claim: PeerClaim) -> bool:
        """Tell whether the caller is an active member."""
        ...

    def finish(self, claim: PeerClaim, body: bytes) -> str:
        """Return the caller's org_id, or raise `AccessDeniedError`."""
        ...


@dataclass(frozen=True, slots=True)
class Admission:
    """Who may go on to send a body; from `Router.admit`.

    Attributes:
        is_known: whether it was shown who calls; not so on public routes.
        claim: of a peer, whose body is still to be compared.
    """

    is_known: bool
    claim: PeerClaim | None = None


def callers(first: Caller, *more: Caller) -> Callable[[AnyFunction], AnyFunction]:
    """Declare who may call a route; needed by every handler and every view.

    Args:
        first: a kind of caller.
        more: further ones.

    Returns:
        A decorator that marks the function and leaves it as it is.
    """

    def mark(function: AnyFunction) -> AnyFunction:
        setattr(function, _ATTRIBUTE, frozenset({first, *more}))
        return function

    return mark


def callers_of(function: object) -> frozenset[Caller]:
    """Tell who may call a handler or view; nobody for one that does not say."""
    # A bound method hands on its function's attributes.
    found: frozenset[Caller] = getattr(function, _ATTRIBUTE, frozenset())
    return found


class Router:
    """The routes of one server."""

    __slots__ = ("_local_secret", "_peers", "_routes", "routes", "server")

    def __init__(
        self, server: str, routes: Sequence[Route], *, peers: PeerCheck | None = None, local_secret: str | None = None
    ) -> None:
        """Compile the routes.

        Args:
            server: name for metrics and logs: ``peer`` or ``local``.
            routes: all of them.
            peers: checks assertions; without it no route of peers can be called.
            local_secret: of this start; without it no local route can be called.

        Raises:
            InputError: ``route.callers`` for a handler that does not declare its callers.
        """
        for route in routes:
            if not callers_of(route.handler):
                raise InputError("route.callers", route=route.name)
        self.server = server
        self.routes = tuple(routes)
        self._routes = [(re.compile(route.pattern), route) for route in routes]
        self._peers = peers
        self._local_secret = local_secret

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """Find a route, before any of the body is read.

        Raises:
            NotFoundError: ``route.unknown``, also for another method.
        """
        for pattern, route in self._routes:
            if route.method == method and (match := pattern.fullmatch(path)) is not None:
                return route, match.groupdict()
        raise NotFoundError("route.unknown")

    def admit(self, route: Route, head: Request) -> Admission:
        """Know the caller by the head alone, before any of the body is read.

        Args:
            route: from `find`.
            head: the request without body and peer.

        Returns:
            What `answer` needs.

        Raises:
            AccessDeniedError: ``peer_auth.*``, ``local_auth.*``.
        """
        try:
            return self._admit(route, head)
        except AccessDeniedError as error:
            _LOG.info("request.refused", route=route.name, code=error.code, request=head.request_id)
            raise

    def answer(self, route: Route, request: Request, admission: Admission) -> Response:
        """Compare the body with what the caller signed and call the handler.

        Args:
            route: from `find`.
            request: the whole request, without peer.
            admission: from `admit`, for the same request.

        Returns:
            The answer, errors included.
        """
        try:
            if admission.claim is not None and self._peers is not None:
                claim = admission.claim
                key_name = claim.key_name if claim.session is None else ""
                peer = self._peers.finish(claim, request.body)
                request = replace(request, peer=peer, peer_key=key_name, is_active=self._peers.is_active(claim))
            return route.handler(request)
        except MedchainError as error:
            _LOG.info("request.refused", route=route.name, code=error.code, request=request.request_id)
            return error_response(error, request.request_id)
        except Exception as error:  # noqa: BLE001  # the outermost handler: nothing may stop the server
            _LOG.error("request.failed", error, route=route.name, request=request.request_id)
            return error_response(UnavailableError("internal"), request.request_id, status=500)

    def _admit(self, route: Route, head: Request) -> Admission:
        """Know the caller, or refuse."""
        allowed = callers_of(route.handler)
        if Caller.PUBLIC in allowed:
            return Admission(is_known=False)
        scheme, _, credential = head.headers.get("authorization", "").partition(" ")
        if Caller.LOCAL in allowed and scheme == LOCAL_SCHEME and self._local_secret is not None:
            if hmac.compare_digest(credential.encode(), self._local_secret.encode()):
                return Admission(is_known=True)
            raise AccessDeniedError("local_auth.secret")
        standings = [_STANDINGS[caller] for caller in allowed if caller in _STANDINGS]
        if standings and scheme == SCHEME and self._peers is not None:
            claim = self._peers.begin(credential, head.method, head.target, standings)
            return Admission(is_known=True, claim=claim)
        if standings and scheme == SESSION_SCHEME and self._peers is not None:
            claim = self._peers.resume(credential, head.method, head.target, standings)
            return Admission(is_known=True, claim=claim)
        raise AccessDeniedError("peer_auth.missing" if Caller.PEER in allowed else "local_auth.missing")


def status_of(error: MedchainError) -> int:
    """Choose the HTTP status of an error: 401 where it is unknown who calls, 413 for a body that is too large."""
    if error.code.startswith(("peer_auth.", "local_auth.")):
        return 401
    if error.code == "request.too_large":
        return 413
    return next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 500)


def error_response(error: MedchainError, request_id: str, status: int | None = None) -> Response:
    """Word an error for a client.

    Args:
        error: what went wrong; its fields are safe to show (`medchain.errors`).
        request_id: by which the operator finds it in the logs.
        status: instead of the one that `status_of` chooses.

    Returns:
        ``{"code":…,"fields":{…},"request":…}``.
    """
    chosen = status or status_of(error)
    headers = {"WWW-Authenticate": SCHEME} if chosen == 401 else {}  # noqa: PLR2004  # RFC 9110 §15.5.2 asks for it
    if isinstance(error, UnavailableError):
        headers["Retry-After"] = str(error.retry_after_s)
    fields: Json = dict[str, Json](error.fields)
    return Response(canonical({"code": error.code, "fields": fields, "request": request_id}), chosen, JSON, headers)


def json_response(document: Json, status: int = 200) -> Response:
    """Answer a canonical document."""
    return Response(canonical(document), status)
