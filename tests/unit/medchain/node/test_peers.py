"""Calls to peers that behave, and to peers that do not."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from threading import Event, Semaphore, Thread

import pytest

from medchain.crypto.es384 import Es384Signer
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    MedchainError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.node.addresses import is_unicast
from medchain.node.clock import PeerClocks
from medchain.node.peer_auth import PeerRequest, PeerSigner
from medchain.node.peers import HttpPool, Limits, PeerClient

GET = PeerRequest("GET", "/x", b"")
ENOUGH = Limits(timeout_s=60, max_bytes=1000)
SHORT = Limits(timeout_s=0.4, max_bytes=1000)


@contextmanager
def listening(behave: Callable[[socket.socket], None], connections: int = 8) -> Iterator[str]:
    """Run a server that does with each connection what the test says; gives its URL. In the end all is closed."""
    listener = socket.create_server(("127.0.0.1", 0))
    opened: list[socket.socket] = []
    threads: list[Thread] = []

    def accept() -> None:
        with suppress(OSError):
            for _ in range(connections):
                opened.append(listener.accept()[0])
                begin(serve, opened[-1])

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            behave(connection)

    def begin(work: Callable[..., None], *given: socket.socket) -> None:
        threads.append(Thread(target=work, args=given, daemon=True))
        threads[-1].start()

    begin(accept)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        with listener:
            # Closing alone wakes nobody who waits at it.
            listener.shutdown(socket.SHUT_RDWR)
            threads[0].join(60)
        for connection in opened:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(60)


def read_request(connection: socket.socket) -> bytes:
    """Read one request whole."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(65536)
        if not received:
            raise ConnectionError
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length")), 0)
    while len(body) < length:
        received = connection.recv(65536)
        if not received:
            raise ConnectionError
        body += received
    return head + b"\r\n\r\n" + body


def answering(*answers: bytes) -> Callable[[socket.socket], None]:
    """Answer one request after the other on a connection."""

    def behave(connection: socket.socket) -> None:
        for answer in answers:
            read_request(connection)
            connection.sendall(answer)

    return behave


def response(status: str, body: bytes = b"", *fields: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", "")
    return "\r\n".join(lines).encode() + body


def refusal(url: str, limits: Limits = ENOUGH) -> MedchainError:
    with closing(HttpPool(url, "peer", None)) as pool, pytest.raises(MedchainError) as caught:
        pool.request(GET, {}, limits)
    return caught.value


def test_an_answer_comes_back_whole():
    with listening(answering(response("200 OK", b"hello"))) as url, closing(HttpPool(url, "peer", None)) as pool:
        answer = pool.request(PeerRequest("POST", "/x", b"ask"), {"A": "b"}, ENOUGH)
    assert (answer.status, answer.body) == (200, b"hello")


def test_a_connection_is_used_again():
    opened = []

    def behave(connection):
        opened.append(connection)
        answering(*[response("200 OK", b"x")] * 3)(connection)

    with listening(behave) as url, closing(HttpPool(url, "peer", None)) as pool:
        for _ in range(3):
            pool.request(GET, {}, ENOUGH)
    assert len(opened) == 1


def test_a_kept_connection_that_the_peer_closed_is_replaced():
    with listening(answering(response("200 OK", b"x"))) as url, closing(HttpPool(url, "peer", None)) as pool:
        pool.request(GET, {}, ENOUGH)
        time.sleep(0.05)
        assert pool.request(GET, {}, ENOUGH).body == b"x"


def test_a_request_that_was_done_but_whose_answer_was_lost_is_not_taken_for_a_refusal():
    seen = []

    def behave(connection):
        if not seen:
            seen.append(1)
            answering(response("200 OK", b"x"))(connection)
            read_request(connection)
            return
        answering(response("401 Unauthorized", b'{"code":"peer_auth.replayed","fields":{}}'))(connection)

    with listening(behave) as url, closing(HttpPool(url, "peer", None)) as pool:
        pool.request(GET, {}, ENOUGH)
        with pytest.raises(UnavailableError) as caught:
            pool.request(GET, {}, ENOUGH)
    assert caught.value.code == "peer.broken"


def hang(connection: socket.socket) -> None:
    read_request(connection)
    while connection.recv(65536):
        """Until the other side has gone."""


def trickle_head(connection: socket.socket) -> None:
    read_request(connection)
    for byte in b"HTTP/1.1 200 OK\r\n" * 100:
        connection.sendall(bytes((byte,)))
        time.sleep(0.05)


def trickle_body(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
    for _ in range(900):
        connection.sendall(b"x")
        time.sleep(0.05)


def continue_for_ever(connection: socket.socket) -> None:
    read_request(connection)
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.01)


@pytest.mark.parametrize("behave", [hang, trickle_head, trickle_body, continue_for_ever])
def test_a_peer_that_takes_its_time_is_left_by_the_deadline(behave):
    with listening(behave) as url:
        started = time.monotonic()
        assert refusal(url, SHORT).code == "peer.timeout"
        assert time.monotonic() - started < 20


def send_without_end(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def chunks_without_end(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")


def announce_a_gibibyte(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n" + b"x" * 65536)


@pytest.mark.parametrize("behave", [send_without_end, chunks_without_end, announce_a_gibibyte])
def test_a_peer_that_sends_too_much_is_cut_off(behave):
    with listening(behave) as url:
        error = refusal(url, ENOUGH)
    assert isinstance(error, VerificationError)
    assert error.code == "peer.too_large"


def half_an_answer(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nxxx")


def no_http(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"\xff\xfe\x00 nonsense\r\n\r\n")


def close_at_once(connection: socket.socket) -> None:
    read_request(connection)


def a_thousand_fields(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n")


@pytest.mark.parametrize("behave", [half_an_answer, no_http, close_at_once, a_thousand_fields])
def test_a_broken_answer_is_no_answer(behave):
    with listening(behave) as url:
        error = refusal(url)
    assert isinstance(error, UnavailableError)
    assert error.code == "peer.broken"


def test_a_redirect_is_not_followed():
    with listening(answering(response("307 Temporary Redirect", b"", "Location: http://127.0.0.1:1/"))) as url:
        assert refusal(url).code == "peer.redirect"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("400 Bad Request", InputError),
        ("401 Unauthorized", AccessDeniedError),
        ("403 Forbidden", AccessDeniedError),
        ("404 Not Found", NotFoundError),
        ("409 Conflict", ConflictError),
        ("422 Unprocessable Content", VerificationError),
        ("503 Service Unavailable", UnavailableError),
    ],
)
def test_a_refusal_comes_back_as_the_error_that_the_peer_raised(status, kind):
    with listening(answering(response(status, b'{"code":"area.reason","fields":{}}'))) as url:
        error = refusal(url)
    assert type(error) is kind
    assert (error.code, error.fields) == ("area.reason", {"peer": "peer"})


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"code":7}', b'{"code":"<script>"}', b'{"code":"' + b"a" * 99 + b'"}']
)
def test_a_code_that_is_none_is_not_repeated(body):
    with listening(answering(response("404 Not Found", body))) as url:
        assert refusal(url).code == "peer.status_404"


@pytest.mark.parametrize(("field", "delay"), [("7", 7), ("never", 1), ("99999", 1)])
def test_a_busy_peer_says_when_to_come_again(field, delay):
    with listening(answering(response("503 Service Unavailable", b"", f"Retry-After: {field}"))) as url:
        error = refusal(url)
    assert isinstance(error, UnavailableError)
    assert (error.code, error.retry_after_s) == ("peer.busy", delay)


def test_a_peer_that_fails_may_be_asked_again():
    with listening(answering(response("500 Internal Server Error"))) as url:
        assert refusal(url).code == "peer.failed"


def test_nobody_there_is_unavailable():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert refusal(f"http://127.0.0.1:{taken.getsockname()[1]}").code == "peer.unreachable"


@pytest.mark.parametrize("url", ["ftp://h", "http://", "https://h:1", "http://h/path", "h:1"])
def test_a_url_that_cannot_be_called_is_refused(url):
    with pytest.raises(InputError):
        HttpPool(url, "peer", None)


def test_a_call_carries_an_assertion_and_follows_a_new_address():
    heads = []

    def behave(connection):
        request = read_request(connection)
        if request.startswith(b"POST /session "):
            connection.sendall(response("404 Not Found", b"{}"))
            return
        heads.append(request)
        connection.sendall(response("200 OK", b"x"))

    addresses = {}
    signer = PeerSigner("insurer", bytes(32), Es384Signer(b"\x01" * 32), lambda: 1_796_083_200)
    client = PeerClient(signer, addresses.__getitem__, may_call=is_unicast)
    with listening(behave) as first, listening(behave) as second:
        addresses["hospital"] = first
        client.get("hospital", "/x", ENOUGH)
        addresses["hospital"] = second
        client.post("hospital", "/y", b"body", limits=ENOUGH)
        client.close()
    assert b"GET /x HTTP/1.1" in heads[0]
    assert b"Authorization: MedChain-Peer ey" in heads[0]
    assert second.removeprefix("http://").encode() in heads[1]
    assert heads[1].endswith(b"\r\n\r\nbody")


# RFC 9110 §5.6.7 has this date as its example; `date -d` gives its seconds.
DATE, DATE_S = "Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777


def test_the_date_of_an_answer_tells_how_far_the_others_clock_is_ahead_of_the_timer_that_of_a_refusal_too():
    """Who has a wrong clock itself is refused by all."""
    seconds = iter((1000.0, 2000.0, 3000.0))
    clocks = PeerClocks(lambda: next(seconds))
    answers = response("200 OK", b"x", f"Date: {DATE}"), response("401 Unauthorized", b"{}", f"Date: {DATE}")
    with listening(answering(*answers)) as url, closing(HttpPool(url, "peer", None, clocks=clocks)) as pool:
        pool.request(GET, {}, ENOUGH)
        assert clocks.ahead() == {"peer": DATE_S - 1000}
        with pytest.raises(AccessDeniedError):
            pool.request(GET, {}, ENOUGH)
    assert clocks.ahead() == {"peer": DATE_S - 2000}
    assert clocks.timer() == 3000


@pytest.mark.parametrize(
    "date",
    [
        "",
        "784111777",
        "yesterday",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 +0100",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:49:37 GMT",
        "Sun, 06 Xyz 1994 08:49:37 GMT",
        "Sun, \N{ARABIC-INDIC DIGIT ZERO}6 Nov 1994 08:49:37 GMT",
        f"{DATE}, {DATE}",
    ],
)
def test_attack_a_date_that_is_none_says_nothing_and_breaks_nothing(date):
    clocks = PeerClocks()
    clocks.heard("peer", date)
    assert clocks.ahead() == {}


def test_of_each_organisation_that_answers_the_clock_is_noted():
    def behave(connection):
        read_request(connection)
        connection.sendall(response("404 Not Found", b"{}", f"Date: {DATE}", "Connection: close"))

    signer = PeerSigner("insurer", bytes(32), Es384Signer(b"\x01" * 32), lambda: 1_796_083_200)
    with listening(behave) as url, closing(PeerClient(signer, lambda _org_id: url, may_call=is_unicast)) as client:
        with pytest.raises(NotFoundError):
            client.get("hospital", "/x", ENOUGH)
        assert client.clocks.ahead().keys() == {"hospital"}


def test_calls_about_blocks_go_by_a_rule_of_their_own():
    asked = []

    def address_of(name):
        def find(org_id):
            asked.append((name, org_id))
            return "http://127.0.0.1:1"

        return find

    signer = PeerSigner("insurer", bytes(32), Es384Signer(b"\x01" * 32), lambda: 1_796_083_200)
    client = PeerClient(signer, address_of("other"), ordering_address_of=address_of("blocks"), may_call=is_unicast)
    for target in ("/ordering/blocks?from=1", "/bodies"):
        with pytest.raises(UnavailableError, match=r"peer\."):
            client.get("hospital", target, ENOUGH)
    assert asked == [("blocks", "hospital"), ("other", "hospital")]


# Any member may write its own address, so none of these may stop more than the calls to that member.
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:99999",
        "http://127.0.0.1:port",
        "http://[",
        "http://[::1",
        "http://a..b:80",
        f"http://{'a' * 70}:80",
        "http://127.0.0.1:1/path",
        "http://user@127.0.0.1:1",
        "http://127.0.0.1:1?query",
        "ftp://127.0.0.1:1",
    ],
)
def test_an_address_that_a_member_made_up_is_nothing_worse_than_a_member_that_is_down(url):
    client = PeerClient(
        PeerSigner("org-a", bytes(32), Es384Signer(bytes(32)), lambda: 1_800_000_000),
        lambda _org_id: url,
        may_call=is_unicast,
    )
    with pytest.raises(UnavailableError) as caught:
        client.get("org-b", "/x", ENOUGH)
    assert caught.value.code == "peer.unreachable"


def test_more_calls_than_a_member_answers_wait_for_their_turn_and_ordering_does_not():
    entered, release = Semaphore(0), Event()

    def behave(connection: socket.socket) -> None:
        if read_request(connection).startswith(b"POST /session "):
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        entered.release()
        release.wait(60)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    signer = PeerSigner("insurer", bytes(32), Es384Signer(b"\x01" * 32), lambda: 1_796_083_200)
    bodies: list[bytes] = []
    with listening(behave, connections=40) as url:
        client = PeerClient(signer, lambda _org_id: url, may_call=is_unicast)

        def ask(target: str) -> None:
            bodies.append(client.get("hospital", target, ENOUGH).body)

        threads = [Thread(target=ask, args=("/endorse",)) for _ in range(13)]
        for thread in threads:
            thread.start()
        for _ in range(12):
            assert entered.acquire(timeout=60)
        assert not entered.acquire(timeout=0.2)
        with pytest.raises(UnavailableError) as caught:
            client.get("hospital", "/endorse", SHORT)
        assert caught.value.code == "peer.busy"
        ordering = Thread(target=ask, args=("/ordering/blocks",))
        ordering.start()
        assert entered.acquire(timeout=60)
        release.set()
        for thread in (*threads, ordering):
            thread.join(60)
        client.close()
    assert bodies == [b""] * 14
