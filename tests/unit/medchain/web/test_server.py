"""The daemon's HTTP server against clients that behave, and clients that do not."""

from __future__ import annotations

import http.client
import socket
import time
from threading import Event, Semaphore, Thread, Timer

import orjson
import pytest

from medchain.errors import AccessDeniedError, UnavailableError, VerificationError
from medchain.node.config import Address
from medchain.node.peer_auth import PeerClaim
from medchain.web import limits
from medchain.web import server as server_module
from medchain.web.routing import Caller, Request, Response, Route, Router, callers
from medchain.web.server import DaemonServer
from tests.waiting import eventually

ANYWHERE = Address("127.0.0.1", 0)


class Parts:
    """Handlers, and what they saw."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.seen: list[Request] = []
        self.entered, self.release = Event(), Event()
        self.polling = Semaphore(0)

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
        self.release.wait(60)
        return Response(b"done")

    @callers(Caller.PEER)
    def member(self, request: Request) -> Response:
        self.seen.append(request)
        return Response(request.peer.encode() + request.body)

    @callers(Caller.PEER)
    def large(self, request: Request) -> Response:
        return Response(bytes(int(request.body)))

    @callers(Caller.PEER)
    def poll(self, request: Request) -> Response:
        self.polling.release()
        self.release.wait(60)
        return Response(request.peer.encode())

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
            Route("poll", "POST", "/poll", self.poll, is_poll=True),
            Route("member", "POST", "/member", self.member, 4 << 20),
            Route("large", "POST", "/large", self.large, 100),
            Route("once", "POST", "/once", self.member, 100, once_bytes=8 << 20),
        ]


@pytest.fixture
def parts():
    return Parts()


@pytest.fixture(autouse=True)
def _quick_stop(monkeypatch):
    monkeypatch.setattr(server_module, "STOP_POLL_S", 0.01)
    monkeypatch.setattr(server_module, "LINGER_S", 0.1)


class Members:
    """Lets in whose credential names the organisation and the body: ``insurer:body``."""

    def begin(self, assertion: str, _method: str, _target: str, _allowed: object) -> PeerClaim:
        issuer, _, body = assertion.partition(":")
        if issuer not in ("insurer", "hospital"):
            raise AccessDeniedError("peer_auth.unknown")
        return PeerClaim(issuer, "key", "jti", 0, body, is_harmless=True)

    def finish(self, claim: PeerClaim, body: bytes) -> str:
        if claim.body_hash.encode() != body:
            raise AccessDeniedError("peer_auth.request")
        return claim.issuer

    def is_active(self, _claim: PeerClaim) -> bool:
        return True


@pytest.fixture
def server(parts):
    running = DaemonServer(ANYWHERE, Router("test", parts.routes(), peers=Members(), local_secret="s3cret"))
    running.start()
    yield running
    running.stop(1)


def raw(server: DaemonServer, data: bytes, *, is_all: bool = False) -> bytes:
    """Send bytes, say that they are all where that is so, and read until the server closes."""
    with socket.create_connection(server.address) as connection:
        connection.settimeout(60)
        connection.sendall(data)
        if is_all:
            connection.shutdown(socket.SHUT_WR)
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
        (b"GET /read HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
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


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length : %d\r\n",
        b"Content-Length\xa0: %d\r\n",
        b"A: b\r\n Content-Length: %d\r\n",
        b" A: b\r\nContent-Length: %d\r\n",
        b"A: b\rContent-Length: %d\r\n",
        b"Content-Length: %d\r\r\n",
        b"nonsense\r\nContent-Length: %d\r\n",
        b": b\r\nContent-Length: %d\r\n",
        b"A: b\0\r\nContent-Length: %d\r\n",
    ],
)
def test_fields_that_two_servers_read_in_two_ways_are_refused_and_end_the_connection(server, parts, fields):
    """A proxy that has seen a body where we see a request would give its answer to somebody else."""
    smuggled = b"GET /read HTTP/1.1\r\n\r\n"
    answer = raw(server, b"POST /echo/a HTTP/1.1\r\n" + fields % len(smuggled) + b"\r\n" + smuggled)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert (answer.count(b"HTTP/1.1 "), parts.seen) == (1, [])


def test_a_client_that_asks_before_it_sends_is_told_to_send_unless_it_is_too_much(server):
    ask = b"POST /echo/a HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: "
    assert raw(server, ask + b"2\r\n\r\nhi").startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
    assert raw(server, ask + b"2000\r\n\r\n").startswith(b"HTTP/1.1 413 ")


def test_a_client_that_trickles_its_head_is_left(server, monkeypatch):
    monkeypatch.setattr(server_module, "HEAD_S", 0.3)
    with socket.create_connection(server.address) as connection:
        connection.settimeout(60)
        connection.sendall(b"GET /read HTTP/1.1\r\nA: ")
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            trickle(connection)


def trickle(connection: socket.socket) -> None:
    """Send byte by byte, for much longer than a head may take."""
    for _ in range(1000):
        connection.sendall(b"a")
        time.sleep(0.02)


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
    known = b"GET /local HTTP/1.1\r\nAuthorization: MedChain-Local s3cret\r\n\r\n"
    with socket.create_connection(server.address) as connection:
        connection.settimeout(60)
        connection.sendall(known)
        assert b"local" in connection.recv(65536)
        monkeypatch.setattr(server_module, "STRANGER_IDLE_S", 2)
        # From this answer on it idles for as long as the stranger, and a moment longer.
        connection.sendall(known)
        assert b"local" in connection.recv(65536)
        assert raw(server, b"GET /read HTTP/1.1\r\n\r\n").count(b"HTTP/1.1 200") == 1
        connection.sendall(known)
        assert b"local" in connection.recv(65536)


def test_one_connection_too_many_is_turned_away(parts, monkeypatch):
    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 2)
    running = DaemonServer(ANYWHERE, Router("test", parts.routes()))
    running.start()
    held = [socket.create_connection(running.address) for _ in range(2)]
    asked = b"GET /read HTTP/1.1\r\nConnection: close\r\n\r\n"
    assert raw(running, asked).startswith(b"HTTP/1.1 503 ")
    for connection in held:
        connection.close()
    assert eventually(lambda: raw(running, asked).startswith(b"HTTP/1.1 200 "))
    running.stop(1)


def member_head(credential: str, size: int, more: str = "") -> bytes:
    """Write the head of a member's request."""
    lines = ("POST /member HTTP/1.1", f"Authorization: MedChain-Peer {credential}", f"Content-Length: {size}", more)
    return ("\r\n".join(line for line in lines if line) + "\r\n\r\n").encode()


def head_of(connection: socket.socket) -> bytes:
    """Receive the first piece of an answer."""
    connection.settimeout(60)
    return connection.recv(65536)


def test_a_stranger_who_announces_a_large_body_is_refused_before_he_has_sent_any_of_it(server, parts):
    with socket.create_connection(server.address) as connection:
        connection.sendall(member_head("stranger:x", 4 << 20))
        answer = head_of(connection)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"peer_auth.unknown" in answer
    assert parts.seen == []


def test_a_stranger_is_not_told_to_send(server):
    answer = raw(server, member_head("stranger:x", 4 << 20, "Expect: 100-continue"))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"100 Continue" not in answer


def test_a_refused_sender_who_has_sent_all_still_reads_why(server, monkeypatch):
    monkeypatch.setattr(server_module, "LINGER_S", 60)
    body = bytes(2 << 20)
    connection = http.client.HTTPConnection(*server.address, timeout=60)
    connection.request("POST", "/member", body, {"Authorization": "MedChain-Peer stranger:x"})
    response = connection.getresponse()
    assert (response.status, orjson.loads(response.read())["code"]) == (401, "peer_auth.unknown")
    connection.close()


def test_a_member_whose_body_is_another_than_he_signed_is_refused_and_his_connection_closed(server, parts):
    answer = raw(server, member_head("insurer:good", 3) + b"bad")
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"Connection: close" in answer
    assert b"peer_auth.request" in answer
    assert parts.seen == []
    assert raw(server, member_head("insurer:good", 4, "Connection: close") + b"good").endswith(b"insurergood")


def test_strangers_from_one_address_do_not_hold_the_slots_of_members(parts, monkeypatch):
    monkeypatch.setattr(limits, "MAX_STRANGERS_EACH", 2)
    running = DaemonServer(ANYWHERE, Router("test", parts.routes(), peers=Members()))
    running.start()
    member = socket.create_connection(running.address)
    member.sendall(member_head("insurer:", 0))
    assert b"insurer" in head_of(member)
    held = [socket.create_connection(running.address) for _ in range(2)]
    assert raw(running, b"GET /read HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 503 ")
    # Who has shown who he is counts among the strangers no more.
    member.sendall(member_head("insurer:", 0))
    assert b"insurer" in head_of(member)
    for connection in (member, *held):
        connection.close()
    running.stop(1)


def test_bodies_beyond_what_memory_is_meant_for_are_refused_unread_and_accepted_later(server, parts, monkeypatch):
    monkeypatch.setattr(limits, "MAX_BUFFERED_BYTES", 1000)
    with socket.create_connection(server.address) as slow:
        slow.sendall(member_head("insurer:x", 900))
        assert eventually(lambda: server._server.buffered._held == 900)  # noqa: SLF001  # its head has been read
        answer = raw(server, member_head("hospital:" + "y" * 101, 101) + b"y" * 101)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in answer
        assert b"request.busy" in answer
        assert parts.seen == []
        slow.sendall(b"x" * 900)
        assert head_of(slow).startswith(b"HTTP/1.1 401 ")
        assert lost(slow)
    answer = raw(server, member_head("hospital:" + "y" * 101, 101, "Connection: close") + b"y" * 101)
    assert answer.startswith(b"HTTP/1.1 200 ")


def large_head(member: str, size: int) -> bytes:
    """Ask for an answer of a size."""
    asked = member_head(f"{member}:{size}", len(str(size)), "Connection: close")
    return asked.replace(b"/member", b"/large") + str(size).encode()


def test_large_answers_that_a_member_does_not_take_are_bounded_and_others_get_theirs(server, parts, monkeypatch):
    monkeypatch.setattr(limits, "MAX_ANSWERS_EACH", 12 << 20)
    size = 8 << 20
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(server.address)
        slow.sendall(large_head("insurer", size))
        assert head_of(slow).startswith(b"HTTP/1.1 200 ")
        refused = raw(server, large_head("insurer", size))
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in refused
        assert b"request.busy" in refused
        # What is small is answered all the same, and so is everybody else.
        assert raw(server, large_head("insurer", 1000)).startswith(b"HTTP/1.1 200 ")
        assert len(raw(server, large_head("hospital", size))) > size
        # Who gives its answer once is not asked for one that cannot be held.
        once = member_head("insurer:x", 1, "Connection: close").replace(b"/member", b"/once") + b"x"
        assert b"request.busy" in raw(server, once)
        assert parts.seen == []
        assert raw(server, once.replace(b"insurer", b"hospital")).endswith(b"hospitalx")
    assert eventually(lambda: len(raw(server, large_head("insurer", size))) > size)


def test_long_polls_of_one_member_do_not_hold_the_slots_of_others(server, parts, monkeypatch):
    monkeypatch.setattr(limits, "MAX_REQUESTS_EACH", 3)
    polls = [socket.create_connection(server.address) for _ in range(3)]
    for connection in polls:
        connection.sendall(member_head("insurer:", 0).replace(b"/member", b"/poll"))
    for _ in polls:
        assert parts.polling.acquire(timeout=60)
    answer = raw(server, member_head("insurer:", 0))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in answer
    assert b"request.busy" in answer
    assert raw(server, member_head("hospital:", 0, "Connection: close")).endswith(b"hospital")
    parts.release.set()
    for connection in polls:
        assert head_of(connection).endswith(b"insurer")
        connection.close()
    assert eventually(lambda: raw(server, member_head("insurer:", 0, "Connection: close")).endswith(b"insurer"))


def test_idle_connections_of_one_member_do_not_hold_the_slots_of_others(server, monkeypatch):
    monkeypatch.setattr(limits, "MAX_KEPT_EACH", 2)
    opened = [socket.create_connection(server.address) for _ in range(5)]
    answers = []
    for connection in opened:
        connection.sendall(member_head("insurer:", 0))
        answers.append(head_of(connection))
    # All are answered, and two are kept for the next request.
    assert [b"Connection: keep-alive" in answer for answer in answers] == [True, True, False, False, False]
    for connection in opened[2:]:
        assert connection.recv(1) == b""
    # A kept one serves on, for whoever shows that he calls, and counts once.
    for issuer in (b"insurer", b"hospital", b"insurer", b"hospital"):
        opened[0].sendall(member_head(f"{issuer.decode()}:", 0))
        answer = head_of(opened[0])
        assert b"Connection: keep-alive" in answer
        assert answer.endswith(issuer)
    with socket.create_connection(server.address) as another:
        another.sendall(member_head("insurer:", 0))
        assert b"Connection: keep-alive" in head_of(another)
    for connection in opened:
        connection.close()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /read HTTP/1.1\r\n" + b"a: " + b"b" * 70000 + b"\r\n\r\n", 431),
        (b"GET /read HTTP/1.1\r\n" + b"".join(b"A%d: %s\r\n" % (one, b"b" * 1000) for one in range(50)) + b"\r\n", 431),
    ],
)
def test_a_long_head_is_refused_as_a_whole_and_who_has_sent_all_of_it_reads_why(server, monkeypatch, head, status):
    monkeypatch.setattr(server_module, "LINGER_S", 60)
    answer = raw(server, head, is_all=True)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:100]
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Content-Type: application/json" in answer


def test_a_stop_lets_requests_under_way_end(server, parts):
    answers = []
    asking = Thread(target=lambda: answers.append(raw(server, b"GET /wait HTTP/1.1\r\n\r\n")))
    asking.start()
    assert parts.entered.wait(60)
    letting = Timer(0.2, parts.release.set)
    letting.start()
    assert server.stop(60)
    letting.join()
    asking.join(60)
    assert answers[0].endswith(b"done")
    assert b"Connection: close" in answers[0]
    assert not server.is_alive()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(server.address)


def test_a_stop_does_not_wait_for_ever(server, parts):
    asking = Thread(target=raw, args=(server, b"GET /wait HTTP/1.1\r\n\r\n"))
    asking.start()
    assert parts.entered.wait(60)
    assert not server.stop(0.1)
    parts.release.set()
    asking.join(60)


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
    request = Request("GET", "/r", "", {}, b"", "0")
    assert router.answer(route, request, router.admit(route, request)).status == 422
