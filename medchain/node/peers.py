"""Calls to other nodes, and from web workers to the node's own daemon.

Keeps true: a call ends by its deadline whatever the other side does (hangs, trickles, sends without end); an answer is
at most as large as the caller allows; redirects are not followed, so that an assertion goes to nobody else; with TLS
the peer's certificate is checked. Connections are kept and used again. Trusts nothing that a peer answers: who calls
must verify it.
Source: RFC 9112; `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Final
from urllib.parse import urlsplit

import orjson

from medchain.encoding import Json, as_object
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    MedchainError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.node import metrics
from medchain.node.addresses import MayCall, connect, is_public, is_unicast
from medchain.node.clock import PeerClocks
from medchain.node.peer_auth import SCHEME, PeerRequest, PeerSigner, body_hash
from medchain.node.peer_session import (
    MAX_SESSION_BYTES,
    SESSION_PATH,
    SESSION_SCHEME,
    SESSION_UNKNOWN,
    OwnSessions,
)
from medchain.node.timed_socket import TimedSocket

CONNECT_TIMEOUT_S: Final = 3.0
"""Patience for a connection, TLS included."""

CALL_TIMEOUT_S: Final = 15.0
"""Patience for a whole call where the caller says nothing else."""

MAX_ANSWER_BYTES: Final = 8 << 20
"""Largest answer where the caller says nothing else: an answer with blocks holds 4 MiB."""

MAX_CALLS: Final = 12
"""Calls to one member at a time; it answers 16, and those of ordering, which are few, must not wait for others."""

MAX_IDLE: Final = 4
"""Idle connections kept to one peer."""

IDLE_S: Final = 20.0
"""How long one is kept; less than the server's own patience, so that it seldom closes under a request."""

OCTETS: Final = "application/octet-stream"
"""Content type of frames and notes."""

JSON: Final = "application/json"
"""Content type of canonical JSON."""

_CHUNK_BYTES: Final = 64 * 1024
_MAX_ERROR_BYTES: Final = 4096
_OK: Final = range(200, 300)
_CODES: Final = frozenset(
    f"peer.{name}"
    for name in ("address", "broken", "busy", "failed", "redirect", "timeout", "too_large", "unreachable")
)
_ERRORS: Final[Mapping[int, type[MedchainError]]] = {
    400: InputError,
    401: AccessDeniedError,
    403: AccessDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: InputError,
    422: VerificationError,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer answered; nothing of it is verified.

    Attributes:
        status: HTTP status, 200 to 299, or one that the caller asked for.
        body: all of it.
    """

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a call may take.

    Attributes:
        timeout_s: from the first byte sent to the last received; connecting is apart, and so is waiting for a turn,
            which takes as long at most.
        max_bytes: size of the answer's body.
    """

    timeout_s: float = CALL_TIMEOUT_S
    max_bytes: int = MAX_ANSWER_BYTES


class HttpPool:
    """Kept connections to one address. Safe for many threads: each call has a connection of its own."""

    __slots__ = ("_clocks", "_context", "_idle", "_lock", "_may_call", "_parts", "name")

    def __init__(
        self,
        url: str,
        name: str,
        context: ssl.SSLContext | None,
        may_call: MayCall = is_unicast,
        *,
        clocks: PeerClocks | None = None,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            url: ``http://host:port`` or ``https://host:port``, without path.
            name: who is called, for errors.
            context: for https.
            may_call: judges the addresses that the host stands for, at each connection.
            clocks: told of what each answer says of the other's clock; None where that is nobody's concern.

        Raises:
            InputError: ``peer.url``.
        """
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError as error:
            # A member writes its address itself: whatever it is, only calls to that member may fail.
            raise InputError("peer.url", peer=name) from error
        secure = parts.scheme == "https" and context is not None
        is_plain = parts.path in ("", "/") and not (parts.query or parts.fragment or "@" in parts.netloc)
        if not (secure or parts.scheme == "http") or not parts.hostname or not is_plain:
            raise InputError("peer.url", peer=name)
        self._parts = parts
        self._context = context if secure else None
        self._may_call = may_call
        self._clocks = clocks
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []
        self._lock = Lock()
        self.name = name

    def request(
        self,
        request: PeerRequest,
        headers: Mapping[str, str],
        limits: Limits,
        *,
        also: Container[int] = (),
    ) -> Answer:
        """Make a call.

        Args:
            request: method, target and body.
            headers: further header fields.
            limits: of time and size.
            also: statuses besides 200 to 299 whose answers are the caller's to read.

        Returns:
            The answer, when the peer accepted the call.

        Raises:
            UnavailableError: ``peer.unreachable``, ``peer.address`` (one that must not be called), ``peer.timeout``,
                ``peer.broken`` (no HTTP, or lost on the way: it may have been done or not), ``peer.busy`` (503, with
                the delay that it asks for), ``peer.failed`` (5xx).
            VerificationError: ``peer.too_large``, ``peer.redirect``.
            MedchainError: what the peer's error says, with its code, for the other statuses.
        """
        connection, kept = self._take()
        try:
            return self._exchange(connection, request, headers, limits, also)
        except _ClosedError:
            connection.close()
            if not kept:
                raise UnavailableError("peer.broken", peer=self.name) from None
        # The peer had closed a kept connection before it read the request: once more, on a new one.
        connection = self._connect()
        try:
            return self._exchange(connection, request, headers, limits, also)
        except _ClosedError:
            connection.close()
            raise UnavailableError("peer.broken", peer=self.name) from None
        except AccessDeniedError as error:
            if error.code == "peer_auth.replayed":
                # It had been read after all, and the answer was lost: the assertion keeps it from being done twice.
                raise UnavailableError("peer.broken", peer=self.name) from error
            raise

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        request: PeerRequest,
        headers: Mapping[str, str],
        limits: Limits,
        also: Container[int],
    ) -> Answer:
        """Send and receive on one connection; keep it if all went well."""
        deadline = time.monotonic() + limits.timeout_s
        with _wrapped_errors(self.name, connection):
            sock = connection.sock
            timed = sock if isinstance(sock, TimedSocket) else TimedSocket(sock, deadline)
            timed.deadline = deadline
            connection.sock = timed
            connection.request(request.method, request.target, request.body or None, dict(headers))
            response = connection.getresponse()
            if self._clocks is not None:
                self._clocks.heard(self.name, response.getheader("Date", ""))
            with response:
                body = _read_body(response, limits.max_bytes, self.name)
        status, closes, retry_after = response.status, response.will_close, response.getheader("Retry-After", "")
        if closes:
            connection.close()
        else:
            self._give(connection)
        if status in _OK or status in also:
            return Answer(status, body)
        raise _error_of(status, body, retry_after, self.name)

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        """Take an idle connection, or make one; tells which."""
        fresh_after = time.monotonic() - IDLE_S
        with self._lock:
            while self._idle:
                since, connection = self._idle.pop()
                if since > fresh_after:
                    return connection, True
                connection.close()
        return self._connect(), False

    def _give(self, connection: http.client.HTTPConnection) -> None:
        """Keep a connection for the next call."""
        with self._lock:
            if len(self._idle) < MAX_IDLE:
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        """Connect."""
        host = str(self._parts.hostname)
        port = self._parts.port or (http.client.HTTP_PORT if self._context is None else http.client.HTTPS_PORT)
        # Its own way to connect would resolve the name itself, to an address that nobody has judged.
        connection = http.client.HTTPConnection(host, port)
        # http.client connects by itself again after a close; a call must know that it has lost its connection.
        connection.auto_open = 0
        try:
            sock = connect(host, port, CONNECT_TIMEOUT_S, self._may_call)
        except UnavailableError as error:
            raise UnavailableError(error.code, peer=self.name) from error
        except (OSError, ValueError) as error:
            # ValueError: a host that is no host name.
            raise UnavailableError("peer.unreachable", peer=self.name) from error
        connection.sock = sock
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                connection.sock = self._context.wrap_socket(sock, server_hostname=host)
        except (OSError, ValueError) as error:
            connection.close()
            raise UnavailableError("peer.unreachable", peer=self.name) from error
        return connection


class PeerClient:
    """Calls other organisations' daemons, each call with a code of a session, or an assertion, of its own.

    Attributes:
        clocks: what their answers say of their clocks, refusals too: who has a wrong clock itself gets no other ones.
    """

    __slots__ = (
        "_address_of",
        "_ca",
        "_lock",
        "_may_call",
        "_ordering_address_of",
        "_pools",
        "_sessions",
        "_signer",
        "_turns",
        "clocks",
    )

    def __init__(
        self,
        signer: PeerSigner,
        address_of: Callable[[str], str],
        ca: Path | None = None,
        *,
        ordering_address_of: Callable[[str], str] | None = None,
        may_call: MayCall = is_public,
    ) -> None:
        """Prepare.

        Args:
            signer: makes the assertions.
            address_of: org_id → its current url, from the ledger; asked at each call, so that a new address needs no
                restart. Raises `NotFoundError` for who is no active member.
            ordering_address_of: the same for calls about blocks, which a suspended member answers too; None for no
                other rule.
            ca: authorities that certificates must come from; None for the system's.
            may_call: judges the addresses that members' hosts stand for.
        """
        self._may_call = may_call
        self._signer = signer
        self._sessions = OwnSessions(signer.org_id, signer.audience, signer.clock)
        self._address_of = address_of
        self._ordering_address_of = ordering_address_of or address_of
        self._ca = ca
        self._pools: dict[str, tuple[str, HttpPool]] = {}
        self._turns: dict[str, BoundedSemaphore] = {}
        self._lock = Lock()
        self.clocks = PeerClocks()

    def get(self, org_id: str, target: str, limits: Limits = Limits()) -> Answer:
        """Call with GET; arguments and errors as in `call`."""
        return self.call(org_id, PeerRequest("GET", target, b""), OCTETS, limits)

    def post(
        self,
        org_id: str,
        target: str,
        body: bytes,
        content_type: str = OCTETS,
        limits: Limits = Limits(),
    ) -> Answer:
        """Call with POST; arguments and errors as in `call`."""
        return self.call(org_id, PeerRequest("POST", target, body), content_type, limits)

    def call(self, org_id: str, request: PeerRequest, content_type: str, limits: Limits) -> Answer:
        """Call another organisation.

        Args:
            org_id: whom.
            request: method, target (path with query) and body.
            content_type: of the body.
            limits: of time and size.

        Returns:
            The answer; nothing of it is verified.

        Raises:
            MedchainError: as `HttpPool.request`; ``peer.busy`` too where our own calls leave no turn; ``NotFoundError``
                for who is no member.
        """
        with nullcontext() if _is_ordering(request) else self._turn(org_id, limits):
            return self._call(org_id, request, content_type, limits)

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for _, pool in pools:
            pool.close()

    @contextmanager
    def _turn(self, org_id: str, limits: Limits) -> Iterator[None]:
        """Wait until fewer calls to a member are under way than it answers."""
        with self._lock:
            turns = self._turns.setdefault(org_id, BoundedSemaphore(MAX_CALLS))
        if not turns.acquire(timeout=limits.timeout_s):
            raise UnavailableError("peer.busy", peer=org_id)
        try:
            yield
        finally:
            turns.release()

    def _call(self, org_id: str, request: PeerRequest, content_type: str, limits: Limits) -> Answer:
        """Call when it is our turn; what shows who calls is made only now, since it lives a minute."""
        address_of = self._ordering_address_of if _is_ordering(request) else self._address_of
        pool = self._pool(org_id, address_of(org_id))
        try:
            try:
                answer = self._send(pool, request, content_type, limits)
            except AccessDeniedError as error:
                if error.code != SESSION_UNKNOWN:
                    raise
                # It has started anew, say, and has done nothing: once more, in another session.
                answer = self._send(pool, request, content_type, limits)
        except MedchainError as error:
            # A peer's own codes are no labels: it could make up as many as it likes.
            metrics.PEER_CALLS.labels(org_id, error.code if error.code in _CODES else "refused").inc()
            raise
        metrics.PEER_CALLS.labels(org_id, "ok").inc()
        return answer

    def _send(self, pool: HttpPool, request: PeerRequest, content_type: str, limits: Limits) -> Answer:
        """Call in a session, which is opened where there is none; without one, with an assertion."""
        name = pool.name, pool, request.method, request.target, body_hash(request.body)
        credential = self._sessions.credential(*name)
        if credential is None:
            self._open_session(pool, limits)
            credential = self._sessions.credential(*name)
        headers = {"Content-Type": content_type} if request.body else {}
        if not credential:
            return pool.request(request, headers | self._asserted(pool, request), limits)
        try:
            return pool.request(request, headers | {"Authorization": f"{SESSION_SCHEME} {credential}"}, limits)
        except AccessDeniedError as error:
            if error.code == SESSION_UNKNOWN:
                self._sessions.forget(pool.name, credential)
            raise

    def _open_session(self, pool: HttpPool, limits: Limits) -> None:
        """Open a session with a peer, unless it is one that knows none."""
        bounds = Limits(min(limits.timeout_s, CALL_TIMEOUT_S), MAX_SESSION_BYTES)

        def ask(document: bytes) -> bytes | None:
            request = PeerRequest("POST", SESSION_PATH, document)
            try:
                return pool.request(request, {"Content-Type": JSON} | self._asserted(pool, request), bounds).body
            except NotFoundError:
                return None

        try:
            self._sessions.offer(pool.name, pool, self._signer.key_name, ask)
        except (InputError, VerificationError) as error:
            raise UnavailableError("peer.broken", peer=pool.name) from error

    def _asserted(self, pool: HttpPool, request: PeerRequest) -> dict[str, str]:
        """Sign an assertion."""
        return {"Authorization": f"{SCHEME} {self._signer.assertion(pool.name, request)}"}

    def _pool(self, org_id: str, url: str) -> HttpPool:
        """Find the connections to a peer's current address."""
        with self._lock:
            known = self._pools.get(org_id)
            if known is not None and known[0] == url:
                return known[1]
            try:
                context = tls_context(self._ca) if url.startswith("https:") else None
                pool = HttpPool(url, org_id, context, self._may_call, clocks=self.clocks)
            except InputError as error:
                # A member's address is its own doing: to everybody else it is down, and no more than that.
                raise UnavailableError("peer.unreachable", peer=org_id) from error
            self._pools[org_id] = (url, pool)
        if known is not None:
            known[1].close()
        return pool


def _is_ordering(request: PeerRequest) -> bool:
    """Tell whether a call is about blocks and takeovers."""
    return request.target.startswith("/ordering/")


def tls_context(ca: Path | None) -> ssl.SSLContext:
    """Demand TLS 1.3 and a certificate from the authorities named, the system's where none are."""
    context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


class _ClosedError(Exception):
    """The peer closed the connection before it answered."""


@contextmanager
def _wrapped_errors(name: str, connection: http.client.HTTPConnection) -> Iterator[None]:
    """Turn what can go wrong on the wire into our errors; the connection is not used again."""
    try:
        yield
    except TimeoutError as error:
        connection.close()
        raise UnavailableError("peer.timeout", peer=name) from error
    except (http.client.RemoteDisconnected, ConnectionError) as error:
        raise _ClosedError from error
    except (http.client.HTTPException, OSError, ValueError) as error:
        connection.close()
        raise UnavailableError("peer.broken", peer=name) from error
    except VerificationError:
        connection.close()
        raise


def _read_body(response: http.client.HTTPResponse, max_bytes: int, name: str) -> bytes:
    """Read a body, at most so many bytes of it; what it claims to be is checked before any is read."""
    if response.length is not None and response.length > max_bytes:
        raise VerificationError("peer.too_large", peer=name, limit=max_bytes)
    chunks: list[bytes] = []
    size = 0
    while chunk := response.read1(_CHUNK_BYTES):
        size += len(chunk)
        if size > max_bytes:
            raise VerificationError("peer.too_large", peer=name, limit=max_bytes)
        chunks.append(chunk)
    if response.length:
        # Ended before its Content-Length: half an answer is none.
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(chunks)


def _error_of(status: int, body: bytes, retry_after: str, name: str) -> MedchainError:
    """Turn a refusal into the error that the peer's code names."""
    code = _code_of(body)
    kind = _ERRORS.get(status)
    if kind is not None:
        return kind(code or f"peer.status_{status}", peer=name)
    if status == 503:  # noqa: PLR2004  # Service Unavailable
        delay = int(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 4 else 1  # noqa: PLR2004  # up to 999 s
        return UnavailableError(code or "peer.busy", retry_after_s=delay, peer=name)
    if status in range(300, 400):
        return VerificationError("peer.redirect", peer=name)
    return UnavailableError("peer.failed", peer=name, status=status)


def _code_of(body: bytes) -> str | None:
    """Read the code from a peer's error, if it has the form of one."""
    try:
        document: Json = orjson.loads(body[:_MAX_ERROR_BYTES])
    except orjson.JSONDecodeError:
        return None
    code = as_object(document).get("code")
    plausible = isinstance(code, str) and len(code) <= 64 and code.replace(".", "").replace("_", "").isalnum()  # noqa: PLR2004  # longer than any code
    return code if plausible and isinstance(code, str) and code.isascii() else None
