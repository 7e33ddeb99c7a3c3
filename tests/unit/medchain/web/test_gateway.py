"""The door of a web worker: ASGI 3.0 outside, PEP 3333 inside, and clients that are slow, gone or too many."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from medchain.errors import InputError, MedchainError, UnavailableError
from medchain.web import gateway, incoming
from medchain.web.gateway import REFUSAL, Gateway, environ_of
from medchain.web.incoming import SMALL_BYTES
from medchain.web.pace import HELD_S, QUICK_S, REST, Pace

LARGE = SMALL_BYTES + 1
LAST = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}


def scope(method: str = "GET", path: str = "/fhir/Patient/p1", query: bytes = b"", headers=()):
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "query_string": query,
        "headers": [(b"host", b"node.test"), *headers],
        "client": ("203.0.113.7", 50000),
        "server": ("127.0.0.1", 8080),
    }


def piece(content: bytes, *, more: bool = True):
    return {"type": "http.request", "body": content, "more_body": more}


@dataclass
class Client:
    """What it sends, then silence; what it got, all of it at once unless it takes nothing."""

    sends: list
    takes: bool = True
    got: list = field(default_factory=list)

    async def receive(self):
        if self.sends:
            return self.sends.pop(0)
        return await asyncio.Future()

    async def send(self, message):
        if message["type"] == "http.response.body" and not self.takes:
            await asyncio.Future()
        self.got.append(message)

    @property
    def status(self) -> int:
        return self.got[0]["status"]

    @property
    def body(self) -> bytes:
        return b"".join(one["body"] for one in self.got[1:])

    @property
    def is_whole(self) -> bool:
        return not self.got[-1].get("more_body", True)


class Echo:
    """Answers the body that it reads, or the error that reading it raised; remembers in which threads it ran."""

    def __init__(self, pieces=None, kind=None) -> None:
        """Answer pieces instead, or be of a kind."""
        self.pieces = pieces
        self.kind = kind
        self.threads: list[int] = []
        self.closed = False
        self.waits = []

    def __call__(self, environ, start) -> Iterable[bytes]:
        self.threads.append(threading.get_ident())
        try:
            if REFUSAL in environ:
                raise environ[REFUSAL]
            body = environ["wsgi.input"].read() if environ["REQUEST_METHOD"] == "POST" else b"read"
        except MedchainError as error:
            start("400 Bad Request", [("X-Code", error.code)])
            return (error.code.encode(),)
        start("200 OK", [("X-Two", "a"), ("X-Two", "b")])
        return (body,) if self.pieces is None else self._given()

    def _given(self):
        try:
            yield from self.pieces
        finally:
            self.closed = True

    def takes_large(self, environ) -> bool:
        return environ["PATH_INFO"].startswith("/fhir")

    def kind_of(self, _environ):
        return self.kind

    def in_steps(self, environ, start):
        waits = self.waits
        yield from waits
        answer = self(environ, start)
        for wait in waits:
            wait.gone_on.set()
        return answer


def call(application, client: Client, **request: str | list[tuple[bytes, bytes]]) -> Client:
    asyncio.run(Gateway(application, 2)(scope(**request), client.receive, client.send))
    return client


def posted(application, client: Client, size: int | None, path: str = "/fhir/Patient") -> Client:
    length = [(b"transfer-encoding", b"chunked")] if size is None else [(b"content-length", str(size).encode())]
    return call(application, client, method="POST", path=path, headers=length)


def test_an_environment_is_that_of_pep_3333():
    fields = [
        (b"content-type", b"text/plain"),
        (b"x-two", b"a"),
        (b"x-two", b"b"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
    ]
    environ = environ_of(scope("PUT", "/a b/你", b"x=%20y", fields))
    assert (environ["REQUEST_METHOD"], environ["SCRIPT_NAME"], environ["QUERY_STRING"]) == ("PUT", "", "x=%20y")
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/a b/你"
    assert (environ["CONTENT_TYPE"], environ["HTTP_X_TWO"], environ["HTTP_COOKIE"]) == ("text/plain", "a,b", "a=1;b=2")
    assert (environ["REMOTE_ADDR"], environ["SERVER_NAME"], environ["SERVER_PORT"]) == (
        "203.0.113.7",
        "127.0.0.1",
        "8080",
    )
    assert (environ["SERVER_PROTOCOL"], environ["wsgi.url_scheme"]) == ("HTTP/1.1", "http")


def test_a_field_that_would_pass_for_one_of_a_proxy_is_none():
    assert "HTTP_X_FORWARDED_FOR" not in environ_of(scope(headers=[(b"x_forwarded_for", b"192.0.2.1")]))


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [b"a.test", b"b.test"],
        [b"a.test", b"a.test"],
        [b""],
        [b"a.test/x"],
        [b"u@a.test"],
        [b"a.test:http"],
        [b"[::1"],
    ],
)
def test_attack_a_request_names_no_host_or_two_or_what_is_none(hosts):
    """RFC 9112 §3.2: answered with 400, and nothing of its body is waited for."""
    asked = scope("POST") | {"headers": [(b"content-length", b"3"), *((b"host", host) for host in hosts)]}
    client = Client([])
    asyncio.run(Gateway(Echo(), 2)(asked, client.receive, client.send))
    assert (client.status, client.body) == (400, b"request.malformed")


@pytest.mark.parametrize("host", [b"a.test", b"A.test:8443", b"127.0.0.1:1", b"[::1]:80", b"a_b.test:"])
def test_a_host_is_a_name_or_an_address_and_perhaps_a_port(host):
    client = Client([])
    asyncio.run(Gateway(Echo(), 2)(scope() | {"headers": [(b"host", host)]}, client.receive, client.send))
    assert client.status == 200


@pytest.mark.parametrize("version", ["1", "1.0"])
def test_http_1_0_names_its_host_at_most_once(version):
    for hosts, status in (([], 200), ([b""], 200), ([b"a.test"], 200), ([b"", b"a.test"], 400), ([b"a.test"] * 2, 400)):
        asked = scope() | {"http_version": version, "headers": [(b"host", host) for host in hosts]}
        client = Client([])
        asyncio.run(Gateway(Echo(), 2)(asked, client.receive, client.send))
        assert client.status == status


def test_a_small_body_is_there_before_the_application_is_asked():
    assert posted(Echo(), Client([piece(b"ab"), piece(b"c"), LAST]), 3).body == b"abc"
    assert posted(Echo(), Client([piece(b"abc", more=False)]), 3).body == b"abc"
    assert posted(Echo(), Client([piece(b"abc"), LAST]), None, "/token").body == b"abc"


def test_a_small_body_that_stands_still_asks_no_thread_until_it_is_cut(monkeypatch):
    monkeypatch.setattr(incoming, "SMALL_S", 0.05)
    assert posted(Echo(), Client([piece(b"a")]), 3).body == b"request.slow"


@pytest.mark.parametrize("sends", [[], [piece(b"x" * 100)]])
def test_a_large_body_that_stands_still_is_cut(monkeypatch, sends):
    monkeypatch.setattr(incoming, "STALL_S", 0.05)
    assert posted(Echo(), Client(sends), LARGE).body == b"request.slow"


@pytest.mark.parametrize(
    ("sends", "size", "is_ended"),
    [
        ([piece(b"a")], 3, True),
        ([piece(b"a")], LARGE, True),
        ([piece(b"abc", more=False)], 3, False),
        ([piece(b"x" * LARGE, more=False)], LARGE, False),
    ],
)
def test_a_connection_on_which_a_body_has_not_come_to_its_end_is_ended(monkeypatch, sends, size, is_ended):
    """RFC 9112 §9.6; RFC 9110 §15.5.9: nobody knows what comes next on it."""
    monkeypatch.setattr(incoming, "SMALL_S", 0.05)
    monkeypatch.setattr(incoming, "STALL_S", 0.05)
    client = posted(Echo(), Client(sends), size)
    assert ((b"connection", b"close") in client.got[0]["headers"]) == is_ended


def test_a_large_body_that_never_stands_still_but_trickles_is_cut(monkeypatch):
    monkeypatch.setattr(incoming, "GRACE_S", 0.05)
    monkeypatch.setattr(incoming, "SLOWEST_BYTES", 1000)

    class Trickle(Client):
        async def receive(self):
            await asyncio.sleep(0.01)
            return piece(b"x")

    assert posted(Echo(), Trickle([]), LARGE).body == b"request.slow"


def test_a_large_body_comes_whole():
    content = bytes(range(256)) * 4096
    pieces = [piece(content[start : start + 10_000]) for start in range(0, len(content), 10_000)]
    assert posted(Echo(), Client([*pieces, LAST]), len(content)).body == content


@pytest.mark.parametrize("size", [3, LARGE])
def test_a_body_that_breaks_off_is_told(size):
    assert posted(Echo(), Client([piece(b"a"), GONE]), size).body == b"request.length"


def test_of_a_large_body_nothing_is_received_before_it_is_asked_for():
    class Denies(Echo):
        def __call__(self, _environ, start) -> tuple[bytes, ...]:
            start("401 Unauthorized", [])
            return ()

    client = posted(Denies(), Client([piece(b"x")]), LARGE)
    assert (client.status, client.sends) == (401, [piece(b"x")])


@pytest.mark.parametrize("size", [LARGE, None])
def test_a_form_that_is_too_large_is_refused(size):
    sends = [piece(b"x" * LARGE), LAST]
    assert posted(Echo(), Client(sends), size, "/token").body == b"request.too_large"


def test_fields_of_an_answer_are_sent_as_they_are():
    client = call(Echo(), Client([]))
    assert client.got[0]["headers"] == [(b"x-two", b"a"), (b"x-two", b"b")]
    assert (client.body, client.is_whole) == (b"read", True)


def test_a_long_answer_comes_whole_and_is_closed():
    application = Echo([b"x" * 200_000] * 5)
    client = call(application, Client([]))
    assert (len(client.body), client.is_whole, application.closed) == (1_000_000, True, True)
    whole = call(
        Echo(), Client([piece(b"y" * 1_000_000), LAST]), method="POST", headers=[(b"content-length", b"1000000")]
    )
    assert (len(whole.body), whole.is_whole) == (1_000_000, True)


def test_a_long_answer_goes_out_in_pieces_each_of_which_a_slow_line_takes_in_time():
    """A record with its proofs may be megabytes: as one piece it would have to be taken within `TAKE_S`."""
    client = call(Echo([b"x" * 200_000, b"y" * 3_000_000, b"z" * 200_000, b"w" * 1_500_000]), Client([]))
    sent = [len(one["body"]) for one in client.got if one["type"] == "http.response.body"]
    assert (max(sent), len(client.body), client.is_whole) == (1 << 18, 4_900_000, True)


def test_a_client_that_takes_nothing_is_cut_off(monkeypatch):
    monkeypatch.setattr(gateway, "TAKE_S", 0.05)
    application = Echo(iter(lambda: b"x" * 100_000, b""))
    client = call(application, Client([], takes=False))
    assert ([one["type"] for one in client.got], application.closed) == (["http.response.start"], True)


def test_for_a_client_that_is_gone_nothing_more_is_made():
    application = Echo(iter(lambda: b"x" * 100_000, b""))
    client = call(application, Client([LAST, GONE]))
    assert (client.is_whole, application.closed) == (False, True)


def test_an_answer_that_breaks_off_does_not_look_whole():
    def broken():
        yield b"x" * 1_000_000
        raise UnavailableError("request.slow")

    client = call(Echo(broken()), Client([]))
    assert (client.status, client.is_whole) == (200, False)


def test_a_fault_in_the_middle_of_an_answer_breaks_it_off_and_its_text_is_told_to_nobody(caplog):
    """The server that calls the gateway would write the text into its own log."""

    def faulty():
        yield b"x" * 1_000_000
        raise ValueError("张三")

    application = Echo(faulty())
    client = call(application, Client([]))
    assert (client.status, client.is_whole, application.closed) == (200, False, True)
    assert [one.getMessage() for one in caplog.records if one.name == "medchain.web"] == ["request.failed"]


def test_a_fault_before_an_answer_begins_leaves_it_to_the_server(caplog, monkeypatch):
    def faulty(_self, _environ, _start):
        raise ValueError("张三")

    monkeypatch.setattr(Echo, "__call__", faulty)
    assert call(Echo(), Client([])).got == []
    assert [one.getMessage() for one in caplog.records if one.name == "medchain.web"] == ["request.failed"]


def test_more_than_the_threads_can_take_soon_is_refused_at_once():
    let = threading.Event()

    class Slow(Echo):
        def __call__(self, environ, start) -> Iterable[bytes]:
            if REFUSAL not in environ:
                assert let.wait(60)
            return super().__call__(environ, start)

    async def many():
        door, clients = Gateway(Slow(), 1), [Client([]) for _ in range(gateway.QUEUE)]
        tasks = [asyncio.create_task(door(scope(), one.receive, one.send)) for one in clients]
        await asyncio.sleep(0.05)
        late = Client([])
        await door(scope(), late.receive, late.send)
        let.set()
        await asyncio.gather(*tasks)
        return late.body, {one.body for one in clients}

    assert asyncio.run(many()) == (b"request.busy", {b"read"})


@pytest.fixture
def _all_is_quick(monkeypatch):
    """Have nothing count as slow that takes its time by chance, such as while garbage is collected."""
    for name in ("QUICK_S", "HELD_S"):
        monkeypatch.setattr(f"medchain.web.pace.{name}", 60)


@pytest.mark.usefixtures("_all_is_quick")
def test_the_loop_answers_what_is_quick_unless_a_thread_does_something_longer():
    let, begun = threading.Event(), threading.Event()

    class Mixed(Echo):
        def __call__(self, environ, start) -> Iterable[bytes]:
            if environ["PATH_INFO"] == "/slow":
                begun.set()
                assert let.wait(60)
            return super().__call__(environ, start)

        def kind_of(self, environ):
            return None if environ["PATH_INFO"] == "/slow" else "quick"

    async def some():
        application, client, here = Mixed(), Client([]), []
        door = Gateway(application, 2)

        async def read() -> None:
            await door(scope(), client.receive, client.send)
            here.append(application.threads[-1] == threading.get_ident())

        await read()
        await read()
        long = asyncio.create_task(door(scope(path="/slow"), client.receive, client.send))
        await asyncio.to_thread(begun.wait, 60)
        await read()
        let.set()
        await long
        await read()
        return here

    assert asyncio.run(some()) == [False, True, False, True]


class Waiting:
    """Is over when it is let; on the loop, or for a thread alone."""

    def __init__(self, *, for_thread: bool = False) -> None:
        """Wait for a thread, or for whoever asks."""
        self.let, self.gone_on, self.gone_to_thread = threading.Event(), threading.Event(), threading.Event()
        self.begun, self.for_thread = asyncio.Event(), for_thread
        self.threads: list[int] = []

    def now(self) -> None:
        self.threads.append(threading.get_ident())
        self.gone_to_thread.set()
        assert self.let.wait(60)

    async def soon(self) -> bool:
        self.begun.set()
        return not self.for_thread and await asyncio.to_thread(self.let.wait, 60)


def in_steps(waiting: Waiting, then) -> tuple[Client, Echo]:
    """Have the loop answer what waits, and do something meanwhile."""
    application, client = Echo(kind="quick"), Client([])

    async def some() -> None:
        door = Gateway(application, 2)
        await door(scope(), Client([]).receive, Client([]).send)
        application.waits = [waiting]
        answering = asyncio.create_task(door(scope(), client.receive, client.send))
        await waiting.begun.wait()
        application.waits = []
        await then(door, answering)

    asyncio.run(some())
    return client, application


@pytest.mark.usefixtures("_all_is_quick")
def test_while_a_request_waits_the_loop_answers_others():
    waiting, other = Waiting(), Client([])

    async def then(door, answering) -> None:
        await door(scope(), other.receive, other.send)
        assert (other.status, answering.done()) == (200, False)
        waiting.let.set()
        await answering

    client, application = in_steps(waiting, then)
    assert (client.status, client.body, waiting.threads) == (200, b"read", [])
    assert set(application.threads[1:]) == {threading.get_ident()}


@pytest.mark.usefixtures("_all_is_quick")
def test_what_only_a_thread_can_wait_for_a_thread_ends():
    waiting, other = Waiting(for_thread=True), Client([])

    async def then(door, answering) -> None:
        door.__dict__["_most"] = 2
        await asyncio.to_thread(waiting.gone_to_thread.wait, 60)
        # It counts as one of those under way, not as two.
        await door(scope(), other.receive, other.send)
        waiting.let.set()
        await answering

    client, application = in_steps(waiting, then)
    assert (client.status, client.body, other.body) == (200, b"read", b"read")
    assert waiting.threads == application.threads[2:]
    assert waiting.threads != [threading.get_ident()]


@pytest.mark.usefixtures("_all_is_quick")
def test_what_is_broken_off_while_it_waits_is_ended_all_the_same():
    waiting = Waiting()

    async def then(_door, answering) -> None:
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
        waiting.let.set()
        # By the thread that goes on when it is over.
        assert await asyncio.to_thread(waiting.gone_on.wait, 60)

    client, application = in_steps(waiting, then)
    assert client.got == []
    assert application.threads[1:] == waiting.threads
    assert waiting.threads != [threading.get_ident()]


@pytest.mark.usefixtures("_all_is_quick")
def test_what_is_broken_off_before_a_thread_is_free_to_end_it_is_ended_all_the_same():
    waiting, free = Waiting(for_thread=True), threading.Event()
    waiting.let.set()

    async def then(door, answering) -> None:
        for _ in range(2):
            door.__dict__["_pool"].submit(free.wait, 60)
        # Given back to the loop, the request stands in line for a thread.
        await asyncio.sleep(0)
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
        assert waiting.threads == []
        free.set()
        assert await asyncio.to_thread(waiting.gone_on.wait, 60)

    assert in_steps(waiting, then)[0].got == []


@pytest.mark.usefixtures("_all_is_quick")
def test_requests_that_wait_on_the_loop_are_bounded():
    waiting = Waiting()

    async def then(door, answering) -> None:
        door.__dict__["_most"] = 1
        refused = Client([])
        await door(scope(), refused.receive, refused.send)
        assert refused.body == b"request.busy"
        waiting.let.set()
        await answering

    assert in_steps(waiting, then)[0].status == 200


def test_a_kind_is_quick_by_its_average_and_unknown_ones_are_not():
    pace = Pace(lambda: 0.0)
    assert not pace.is_quick("a")
    pace.note("a", QUICK_S / 10, by_loop=False)
    assert pace.is_quick("a")
    pace.note("a", QUICK_S * 3, by_loop=False)
    assert pace.is_quick("a")
    for _ in range(10):
        pace.note("a", QUICK_S * 10, by_loop=False)
    assert not pace.is_quick("a")


def test_who_holds_the_loop_keeps_it_from_answering_for_a_while():
    time = [100.0]
    pace = Pace(lambda: time[0])
    pace.note("a", 0.0, by_loop=False)
    pace.note("b", 2 * HELD_S, by_loop=True)
    assert not pace.is_quick("a")
    time[0] += 2 * HELD_S * REST
    assert pace.is_quick("a")


def test_kinds_are_forgotten_before_they_are_too_many(monkeypatch):
    monkeypatch.setattr("medchain.web.pace._MAX_KINDS", 2)
    pace = Pace()
    for kind in "abc":
        pace.note(kind, 0.0, by_loop=False)
    assert [pace.is_quick(kind) for kind in "abc"] == [False, False, True]


def test_a_refused_body_raises_what_it_was_refused_for():
    with pytest.raises(InputError, match=r"request\.slow"):
        incoming.Refused(InputError("request.slow")).read()
