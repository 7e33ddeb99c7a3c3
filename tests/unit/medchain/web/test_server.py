"""The daemon's HTTP server against clients that behave, and clients that do not."""

from __future__ import annotations

import http.client
import socket
import time
from threading import Event, Thread

import orjson
import pytest

from medchain.errors import UnavailableError, VerificationError
from medchain.node.config import Address
from medchain.web import server as server_module
from medchain.web.routing import Caller, Request, Response, Route, Router, callers
from medchain.web.server import DaemonServer

ANYWHERE = Address("127.0.0.1", 0)


class Parts:
    """Handlers, and what they saw."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.seen: list[Request] = []
        self.entered, self.release = Event(), Event()

    @callers(Caller.PUBLIC)
    def echo(self, request: Request) -> Response:
        self.seen.append(request)
        return Response(request.body, content_type="application/octet-stream")

    @callers(Caller.PUBLIC)
    def refuse(self, _request: Request) -> Response:
        raise UnavailableError("queue.full", retry_after_s=7, waiting=3)

    @callers(Caller.PUBLIC)
    def fail(self, _request: Request) -> Response:
        raise RuntimeError("张三 must not show")

    @callers(Caller.PUBLIC)
    def wait(self, _request: Request) -> Response:
        self.entered.set()
        self.release.wait(5)
        return Response(b"done")

    @callers(Caller.LOCAL)
    def local(self, _request: Request) -> Response:
        return Response(b"local")

    def routes(self) -> list[Route]:
        return [
            Route("echo", "POST", "/echo/(?P<name>[a-z]+)", self.echo, 1000),
            Route("read", "GET", "/read", self.echo),
            Route("refuse", "GET", "/refuse", self.refuse),
            Route("fail", "GET", "/fail", self.fail),
            Route("wait", "GET", "/wait", self.wait),
            Route("local", "GET", "/local", self.local),
        ]


@pytest.fixture
def parts():
    return Parts()


@pytest.fixture(autouse=True)
def _quick_stop(monkeypatch):
    monkeypatch.setattr(server_module, "STOP_POLL_S", 0.01)


@pytest.fixture
def server(parts):
    running = DaemonServer(ANYWHERE, Router("test", parts.routes(), local_secret="s3cret"))
    running.start()
    yield running
    running.stop(1)


def raw(server: DaemonServer, data: bytes, *, wait: float = 3) -> bytes:
    """Send bytes, read until the server closes."""
    with socket.create_connection(server.address) as connection:
        connection.settimeout(wait)
        connection.sendall(data)
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except TimeoutError:
            pass
        return received


def test_a_request_reaches_its_handler_whole(server, parts):
    connection = http.client.HTTPConnection(*server.address)
    connection.request("POST", "/echo/abc?q=1&r=%20", b"body", {"X-Thing": "1"})
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"body")
    seen = parts.seen[0]
    assert (seen.method, seen.path, seen.query, seen.path_values) == ("POST", "/echo/abc", "q=1&r=%20", {"name": "abc"})
    assert seen.target == "/echo/abc?q=1&r=%20"
    assert seen.headers["x-thing"] == "1"
    assert response.getheader("X-Request-Id") == seen.request_id
    connection.close()


def test_a_connection_serves_many_requests(server):
    connection = http.client.HTTPConnection(*server.address)
    for number in range(5):
        connection.request("POST", "/echo/a", str(number).encode())
        assert connection.getresponse().read() == str(number).encode()
    connection.close()


def test_an_error_answers_its_code_and_fields(server):
    connection = http.client.HTTPConnection(*server.address)
    connection.request("GET", "/refuse")
    response = connection.getresponse()
    document = orjson.loads(response.read())
    assert (response.status, response.getheader("Retry-After")) == (503, "7")
    assert (document["code"], document["fields"]) == ("queue.full", {"waiting": 3})
    connection.close()


def test_a_fault_answers_500_and_tells_nothing_of_itself(server, caplog):
    answer = raw(server, b"GET /fail HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert "张三".encode() not in answer
    assert "张三" not in caplog.text


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /echo/a HTTP/1.1\r\nContent-Length: 1001\r\n\r\n", 413),
        (b"GET /read HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", 413),
        (b"POST /echo/a HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        (b"POST /echo/a HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /echo/a HTTP/1.1\r\nContent-Length: +1\r\n\r\nx", 400),
        (b"POST /echo/a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
        (b"POST /echo/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /echo/a HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET /nothing HTTP/1.1\r\n\r\n", 404),
        (b"DELETE /read HTTP/1.1\r\n\r\n", 404),
        (b"GET /local HTTP/1.1\r\nConnection: close\r\n\r\n", 401),
        (b"GET /local HTTP/1.1\r\nConnection: close\r\nAuthorization: MedChain-Local wrong\r\n\r\n", 401),
        (b"GET /local HTTP/1.1\r\nConnection: close\r\nAuthorization: MedChain-Peer x\r\n\r\n", 401),
        (b"GET /local HTTP/1.1\r\nConnection: close\r\nAuthorization: MedChain-Local s3cret\r\n\r\n", 200),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /read HTTP/7.1\r\n\r\n", 505),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /read HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /read HTTP/1.1\r\n" + b"a: " + b"b" * 70000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_wrong_is_answered_and_the_connection_closed(server, head, status):
    answer = raw(server, head)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:100]
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Content-Type: application/json" in answer


def test_a_body_that_is_refused_is_never_taken_for_a_request(server, parts):
    smuggled = b"GET /read HTTP/1.1\r\n\r\n"
    raw(server, b"GET /nothing HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(smuggled), smuggled))
    assert parts.seen == []


def test_a_client_that_asks_before_it_sends_is_told_to_send_unless_it_is_too_much(server):
    ask = b"POST /echo/a HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: "
    assert raw(server, ask + b"2\r\n\r\nhi").startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
    assert raw(server, ask + b"2000\r\n\r\n").startswith(b"HTTP/1.1 413 ")


def test_a_client_that_trickles_its_head_is_left(server, monkeypatch):
    monkeypatch.setattr(server_module, "HEAD_S", 0.3)
    with socket.create_connection(server.address) as connection:
        connection.settimeout(3)
        started = time.monotonic()
        for byte in b"GET /read HTTP/1.1\r\nA: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":
            try:
                connection.sendall(bytes((byte,)))
            except OSError:
                break
            time.sleep(0.02)
        assert time.monotonic() - started < 1.5
        assert lost(connection)


def lost(connection: socket.socket) -> bool:
    """Tell whether the other side has gone."""
    try:
        return connection.recv(10) == b""
    except ConnectionError:
        return True


def test_a_client_that_never_sends_its_body_is_left(server, parts, monkeypatch):
    monkeypatch.setattr(server_module, "BODY_S", 0.2)
    assert raw(server, b"POST /echo/a HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf") == b""
    assert parts.seen == []


def test_a_stranger_who_idles_is_left_and_a_known_caller_is_not(server, monkeypatch):
    monkeypatch.setattr(server_module, "STRANGER_IDLE_S", 0.2)
    assert raw(server, b"GET /read HTTP/1.1\r\n\r\n").count(b"HTTP/1.1 200") == 1
    known = b"GET /local HTTP/1.1\r\nAuthorization: MedChain-Local s3cret\r\n\r\n"
    with socket.create_connection(server.address) as connection:
        connection.settimeout(2)
        connection.sendall(known)
        assert b"local" in connection.recv(65536)
        time.sleep(0.4)
        connection.sendall(known)
        assert b"local" in connection.recv(65536)


def test_one_connection_too_many_is_turned_away(parts, monkeypatch):
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 2)
    running = DaemonServer(ANYWHERE, Router("test", parts.routes()))
    running.start()
    held = [socket.create_connection(running.address) for _ in range(2)]
    time.sleep(0.1)
    assert raw(running, b"GET /read HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 503 ")
    for connection in held:
        connection.close()
    time.sleep(0.1)
    assert raw(running, b"GET /read HTTP/1.1\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    running.stop(1)


def test_a_stop_lets_requests_under_way_end(server, parts):
    answers = []
    asking = Thread(target=lambda: answers.append(raw(server, b"GET /wait HTTP/1.1\r\n\r\n")))
    asking.start()
    assert parts.entered.wait(2)
    Thread(target=lambda: (time.sleep(0.2), parts.release.set())).start()
    assert server.stop(3)
    asking.join(3)
    assert answers[0].endswith(b"done")
    assert b"Connection: close" in answers[0]
    assert not server.is_alive()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(server.address)


def test_a_stop_does_not_wait_for_ever(server, parts):
    Thread(target=raw, args=(server, b"GET /wait HTTP/1.1\r\n\r\n"), daemon=True).start()
    assert parts.entered.wait(2)
    assert not server.stop(0.1)
    parts.release.set()


def test_an_address_that_is_taken_is_an_error(server, parts):
    with pytest.raises(OSError, match="in use"):
        DaemonServer(server.address, Router("test", parts.routes()))


def test_ipv6_is_served(parts):
    running = DaemonServer(Address("::1", 0), Router("test", parts.routes()))
    running.start()
    assert raw(running, b"GET /read HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    running.stop(1)


def test_a_refusal_by_a_rule_is_422():
    @callers(Caller.PUBLIC)
    def handler(_request: Request) -> Response:
        raise VerificationError("transaction.version")

    router = Router("test", [Route("r", "GET", "/r", handler)])
    route, _ = router.find("GET", "/r")
    assert router.answer(route, Request("GET", "/r", "", {}, b"", "0")).status == 422
