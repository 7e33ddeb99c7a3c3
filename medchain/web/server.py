"""The ledger daemon's HTTP server: threads, kept connections, and a bound on everything.

Keeps true: connections and buffered bytes, of bodies and answers, bounded by `medchain.web.limits`; nothing of a body
is read before its route has bounded it and its head has shown who calls; heads bounded as a whole; headers and bodies
finished by a deadline however they trickle, one answer a request; a stop lets requests under way end. Requests with
Transfer-Encoding or with two lengths are refused, so no proxy can read another request than we do. Trusts `http.server`
to parse request lines and fields; why it and not granian: `docs/adr/0012-daemon-http-server.md`.
Source: RFC 9112.
"""

from __future__ import annotations

import io
import re
import secrets
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from http import HTTPStatus
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler
from socketserver import BaseRequestHandler, TCPServer
from threading import Condition, Thread
from typing import Final

from medchain.errors import InputError, MedchainError, UnavailableError
from medchain.node.config import Address, Tls
from medchain.node.log import Log
from medchain.node.metrics import REQUEST_SECONDS, REQUESTS
from medchain.node.timed_socket import TimedSocket
from medchain.web.limits import SMALL_ANSWER_BYTES, Answers, Buffered, Connections, UnderWay, place_of
from medchain.web.routing import Admission, Request, Response, Route, Router, error_response

STRANGER_IDLE_S: Final = 5.0
"""How long a connection may idle before anybody on it was known to be a member or ourselves."""

IDLE_S: Final = 60.0
"""How long a connection of a known caller may idle."""

HEAD_S: Final = 5.0
"""Time for request line and fields, and for the TLS handshake."""

BODY_S: Final = 30.0
"""Time for a body."""

SEND_S: Final = 30.0
"""Time for the other side to take an answer."""

LINGER_S: Final = 1.0
"""How long a body that was refused is thrown away as it comes, so that who sends it gets to read the refusal."""

MAX_HEAD_BYTES: Final = 32 * 1024
"""Largest request line with all fields."""

STOP_POLL_S: Final = 0.2
"""How often a server looks whether it was told to stop."""

_MAX_LINE_BYTES: Final = 8192
# RFC 9112 5: no space before the colon, no line that goes on with the one before, no CR alone.
_FIELD: Final = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\0\r\n]*)?\r?\n")
_MAX_LENGTH_DIGITS: Final = 12
_LINGER_BYTES: Final = 64 * 1024
_MAX_REST_BYTES: Final = 256 * 1024
_LOG: Final = Log("http")


class DaemonServer:
    """Serves one router at one address."""

    __slots__ = ("_server", "_thread")

    def __init__(self, address: Address, router: Router, tls: Tls | None = None) -> None:
        """Bind and listen; connections wait until `start`.

        Args:
            address: where; port 0 lets the system choose.
            router: what is served.
            tls: certificate, or None for plain HTTP.

        Raises:
            OSError: the address is taken, or the certificate cannot be read.
        """
        self._server = _Server(address, router, None if tls is None else _server_context(tls))
        self._thread = Thread(
            target=self._server.serve_forever, args=(STOP_POLL_S,), name=f"http-{router.server}", daemon=True
        )

    @property
    def address(self) -> Address:
        """Where it listens."""
        host, port = self._server.server_address[:2]
        return Address(str(host), int(port))

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Tell whether connections are being accepted."""
        return self._thread.is_alive()

    def stop(self, timeout_s: float) -> bool:
        """Accept no more, let requests under way end, close.

        Args:
            timeout_s: patience.

        Returns:
            Whether all had ended by then.
        """
        self._server.draining = True
        self._server.shutdown()
        self._server.server_close()
        with self._server.idle:
            return self._server.idle.wait_for(lambda: self._server.under_way == 0, timeout_s)


class _Server(TCPServer):
    """Accepts connections, each into a thread of its own."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: Address, router: Router, context: ssl.SSLContext | None) -> None:
        """Bind and listen."""
        if ":" in address.host:
            self.address_family = socket.AF_INET6
        self.router = router
        self.context = context
        self.draining = False
        self.under_way = 0
        self.idle = Condition()
        self.connections = Connections()
        self.buffered = Buffered()
        self.answers = Answers()
        self.of_members = UnderWay()
        # `_serve` makes the handler, since only it knows the visitor.
        super().__init__((address.host, address.port), BaseRequestHandler)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Hand a connection to a thread, or turn it away."""
        if not isinstance(request, socket.socket):
            return
        place = place_of(str(client_address[0])) if isinstance(client_address, tuple) else ""
        if self.connections.take(place):
            arguments = (request, client_address, place)
            Thread(target=self._serve, args=arguments, name="http-connection", daemon=True).start()
            return
        request.settimeout(0)
        try:
            request.send(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
        except OSError:
            _LOG.debug("connection.lost")
        self.shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Write nothing: the default prints a traceback of whatever a client did."""

    def _serve(self, request: socket.socket, client_address: object, place: str) -> None:
        """Serve one connection to its end."""
        visitor = _Visitor(self.connections, place)
        try:
            _Handler(request, client_address, self, visitor)
        except (OSError, ValueError) as error:
            # A client that went away, or spoke no TLS.
            _LOG.debug("connection.lost", type=type(error).__name__)
        finally:
            self.shutdown_request(request)
            visitor.leave()


class _Visitor:
    """One connection's place among the others."""

    __slots__ = ("_connections", "_is_known", "_member", "_place")

    def __init__(self, connections: Connections, place: str) -> None:
        """Begin as a stranger whose connection was taken."""
        self._connections = connections
        self._place = place
        self._is_known = False
        self._member = ""

    def stay(self, member: str) -> bool:
        """Keep the connection for a member, whoever it was kept for before; tells whether it may stay."""
        if member != self._member:
            self._let_go()
            if not self._connections.keep(member):
                return False
            self._member = member
        return True

    def know(self) -> None:
        """Note that it was shown who calls."""
        if not self._is_known:
            self._is_known = True
            self._connections.know(self._place)

    def leave(self) -> None:
        """Give the connection back."""
        self._let_go()
        self._connections.give(self._place, is_known=self._is_known)

    def _let_go(self) -> None:
        """Keep it for nobody."""
        if self._member:
            self._connections.let_go(self._member)
            self._member = ""


class _Head(io.BufferedIOBase):
    """Reads the fields of a head, bounded as a whole: `http.server` bounds each line and their number only.

    Attributes:
        is_plain: whether each line so far was a field, and nothing else. What `http.server` reads as no field, or as
            two, a server in front may have read as another one: of the length, say.
    """

    def __init__(self, reader: io.BufferedReader, size: int) -> None:
        """Begin behind a request line of a size."""
        self._reader = reader
        self._left = MAX_HEAD_BYTES - size
        self.is_plain = True

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read a line; raises LineTooLong, which `http.server` answers with 431."""
        limit = self._left + 1
        line = self._reader.readline(limit if size is None or size < 0 else min(size, limit))
        self._left -= len(line)
        if self._left < 0:
            raise LineTooLong("head")
        self.is_plain = self.is_plain and _FIELD.fullmatch(line) is not None
        return line


class _Handler(BaseHTTPRequestHandler):
    """One connection. Named and shaped by `http.server`; only its parsing is used."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def __init__(self, request: socket.socket, client_address: object, server: _Server, visitor: _Visitor) -> None:
        """Serve a connection; returns at its end."""
        self.visitor = visitor
        super().__init__(request, client_address, server)

    def setup(self) -> None:
        """Shake hands, and put a deadline on all that follows."""
        sock = self.request
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.server.context is not None:
            sock.settimeout(HEAD_S)
            sock = self.server.context.wrap_socket(sock, server_side=True)
        self.timed = TimedSocket(sock, time.monotonic() + HEAD_S)
        self.reader = self.timed.makefile()
        self.known = False
        self.expects_continue = False

    def finish(self) -> None:
        """Close; what was to be sent has been."""
        self.reader.close()
        self.timed.close()

    def handle_one_request(self) -> None:
        """Read one request, answer it."""
        self.close_connection = True
        self.timed.allow(IDLE_S if self.known else STRANGER_IDLE_S)
        if not self.reader.peek(1) or self.server.draining:
            return
        with self.server.idle:
            self.server.under_way += 1
        try:
            self._handle_begun()
        finally:
            with self.server.idle:
                self.server.under_way -= 1
                self.server.idle.notify_all()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002  # http.server's signature
        """Answer what `http.server` could not parse, without quoting it."""
        status = HTTPStatus(code).value
        refused = error_response(InputError("request.malformed"), secrets.token_hex(8), status)
        self._send(refused, {}, keep=False)
        self._linger(_MAX_REST_BYTES)

    def handle_expect_100(self) -> bool:
        """Wait with "100 Continue" until the length has been judged."""
        self.expects_continue = True
        return True

    def _handle_begun(self) -> None:
        """Handle a request whose first byte is there."""
        self.timed.allow(HEAD_S)
        self.expects_continue = False
        self.raw_requestline = self.reader.readline(_MAX_LINE_BYTES + 1)
        self.rfile = self.fields = _Head(self.reader, len(self.raw_requestline))
        if len(self.raw_requestline) > _MAX_LINE_BYTES:
            self.requestline = self.request_version = self.command = ""
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
        elif self.raw_requestline and self.parse_request():
            self._answer(secrets.token_hex(8))

    def _answer(self, request_id: str) -> None:
        """Find the route, know the caller, read the body, call the handler, send."""
        router, wants_close = self.server.router, self.close_connection
        path, _, query = self.path.partition("?")
        name, size = "none", 0
        with ExitStack() as held:
            try:
                size = self._length()
                route, values = router.find(self.command, path)
                name = route.name
                if size > route.max_bytes:
                    raise InputError("request.too_large", limit=route.max_bytes)
                headers = {key.lower(): value for key, value in self.headers.items()}
                head = Request(self.command, path, query, headers, b"", request_id, "", values)
                admission = self._admit(route, head, size, held)
                body = self._body(size)
            except MedchainError as error:
                self._refuse(error, request_id, size)
                REQUESTS.labels(router.server, name, "refused").inc()
                return
            self._respond(route, replace(head, body=body), admission, wants_close=wants_close)

    def _admit(self, route: Route, head: Request, size: int, held: ExitStack) -> Admission:
        """Know the caller and take what its body needs, before any of it is read."""
        admission = self.server.router.admit(route, head)
        if admission.claim is not None:
            held.enter_context(self.server.of_members.one(admission.claim.issuer))
            self.server.answers.check(admission.claim.issuer, route.once_bytes)
        held.enter_context(self.server.buffered.hold(size))
        if admission.is_known:
            self.visitor.know()
        return admission

    def _respond(self, route: Route, request: Request, admission: Admission, *, wants_close: bool) -> None:
        """Call the handler and send its answer."""
        router, started = self.server.router, time.monotonic()
        response = router.answer(route, request, admission)
        self.known = self.known or (response.status < 400 and admission.is_known)  # noqa: PLR2004  # first error status
        # Whose assertion did not hold for its body is a stranger again, and must not keep a member's connection.
        keep = not (wants_close or self.server.draining or response.status == HTTPStatus.UNAUTHORIZED)
        if keep and admission.claim is not None:
            keep = self.visitor.stay(admission.claim.issuer)
        with ExitStack() as held:
            response = self._held(response, request, admission, held)
            self._send(response, {"X-Request-Id": request.request_id, **response.headers}, keep=keep)
        REQUESTS.labels(router.server, route.name, str(response.status)).inc()
        if not route.is_poll:
            REQUEST_SECONDS.labels(router.server, route.name).observe(time.monotonic() - started)

    def _held(self, response: Response, request: Request, admission: Admission, held: ExitStack) -> Response:
        """Take room for a member's answer until it is taken; where there is none it may ask again."""
        if admission.claim is None:
            return response
        try:
            held.enter_context(self.server.answers.hold(admission.claim.issuer, len(response.body)))
        except UnavailableError as error:
            return error_response(error, request.request_id)
        return response

    def _refuse(self, error: MedchainError, request_id: str, size: int) -> None:
        """Answer an error of the head. The body is thrown away, never taken for a request."""
        response = error_response(error, request_id)
        self._send(response, {"X-Request-Id": request_id, **response.headers}, keep=False)
        if not self.expects_continue:
            self._linger(size)

    def _linger(self, size: int) -> None:
        """Throw away what still comes: to close before it is read would take the answer from the client, too."""
        self.timed.allow(LINGER_S)
        while size > 0 and (dropped := self.reader.read1(min(size, _LINGER_BYTES))):
            size -= len(dropped)

    def _length(self) -> int:
        """Judge what the fields say of the body."""
        if not self.fields.is_plain:
            raise InputError("request.malformed")
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) > 1:
            raise InputError("request.length")
        text = lengths[0].strip() if lengths else "0"
        if not (text.isascii() and text.isdigit() and len(text) <= _MAX_LENGTH_DIGITS):
            raise InputError("request.length")
        return int(text)

    def _body(self, size: int) -> bytes:
        """Read the body."""
        self.timed.allow(BODY_S)
        if self.expects_continue:
            self.timed.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.reader.read(size)
        if len(body) != size:
            raise InputError("request.length")
        return body

    def _send(self, response: Response, headers: Mapping[str, str], *, keep: bool) -> None:
        """Send an answer: a small one in one piece, of a large one no second copy is made for that."""
        self.close_connection = not keep
        lines = [
            f"HTTP/1.1 {response.status} {_phrase(response.status)}",
            f"Date: {self.date_time_string()}",
            f"Content-Type: {response.content_type}",
            f"Content-Length: {len(response.body)}",
            f"Connection: {'keep-alive' if keep else 'close'}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self.timed.allow(SEND_S)
        head = "\r\n".join((*lines, "", "")).encode("ascii")
        is_small = len(response.body) <= SMALL_ANSWER_BYTES
        for piece in (head + response.body,) if is_small else (head, response.body):
            self.timed.sendall(piece)


def _phrase(status: int) -> str:
    """Name a status."""
    return HTTPStatus(status).phrase


def _server_context(tls: Tls) -> ssl.SSLContext:
    """Serve TLS 1.3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(tls.certificate, tls.key)
    return context
