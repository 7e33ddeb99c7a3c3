"""Whether an electronic invoice is genuine, asked of a service over HTTP (docs/spec/einvoice.md)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from medchain.claims import einvoice
from medchain.claims.batch import read_table
from medchain.claims.einvoice import AT_ONCE, MAX_FAILURES, EInvoiceAnswer, HttpEInvoices, Said, check_document
from medchain.claims.einvoice_stand_in import StandIn, stand_in_server
from medchain.encoding import canonical
from medchain.errors import InputError
from medchain.ledger.invoice import Scope
from medchain.node.config import EInvoiceService
from medchain.node.peers import Limits
from tests.unit.medchain.claims.questions import row

TABLE = """issuer,code,number,date,check_code,amount,state
99010001,99060225,1774778511,2025-09-06,RHA0JT,8422.80,
99010001,99060225,1774778512,2025-09-06,RHA0JU,1.00,reversed
99010001,99060225,-,2025-09-06,x,1.00,
"""
TOKEN = "t0ken-of-the-insurer"


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[str]:
    """Run a server; gives its address."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/check"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Run a service that answers as it likes."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            answer(self)

        def log_message(self, *_given: object) -> None:
            pass

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield url


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.rfile.read(int(handler.headers["Content-Length"]))
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def checker() -> Iterator[Callable[..., HttpEInvoices]]:
    """Make what asks a service; its connections are closed in the end."""
    made: list[HttpEInvoices] = []

    def make(url: str, token=None, *, may_stand_in: bool = True, **more: object) -> HttpEInvoices:
        made.append(HttpEInvoices(EInvoiceService(url, token, None), may_stand_in=may_stand_in, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def stand_in() -> Iterator[str]:
    with running(stand_in_server("127.0.0.1", 0, StandIn(read_table(TABLE.encode())))) as url:
        yield url


def test_each_answer_of_the_stand_in_says_that_it_is_one(checker, stand_in):
    rows = [
        row(),
        # As somebody typed it.
        row("1774-778511", check_code="Rha 0jt", date="2025年9月6日"),
        row(amount="8422.81"),
        row(check_code="rha0jx"),
        row(date="2025-09-07"),
        row("1774778512", check_code="rha0ju", amount="1"),
        row("404"),
    ]
    said = [Said.GENUINE, Said.GENUINE, *[Said.OTHERWISE] * 3, Said.REVERSED, Said.UNKNOWN]
    assert checker(stand_in).check(rows) == [EInvoiceAnswer(one, is_stand_in=True) for one in said]


def test_attack_a_stand_in_left_in_the_configuration_of_a_real_ledger_vouches_for_nothing(checker, stand_in):
    assert checker(stand_in, may_stand_in=False).check([row()]) == [EInvoiceAnswer(Said.UNREACHABLE)]


def test_an_item_and_what_has_no_code_or_amount_is_not_asked_for(checker):
    asked = []
    with answering(lambda one: asked.append(one) or send(one, b"")) as url:
        rows = [row(scope=Scope.ITEM, line=1), row(code=""), row(amount="", currency="")]
        assert [one.said for one in checker(url).check(rows)] == [Said.NOT_ASKED] * 3
    assert asked == []


def test_six_texts_leave_and_nothing_else(checker, tmp_path):
    seen = []
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")

    def answer(one: BaseHTTPRequestHandler) -> None:
        seen.append((one.path, one.headers["Authorization"], one.rfile.read(int(one.headers["Content-Length"]))))
        one.rfile = type("Empty", (), {"read": lambda *_: b"", "close": lambda *_: None})()
        body = canonical({"answer": "genuine", "type": einvoice.CHECKED_TYPE})
        one.send_response(200)
        one.send_header("Content-Length", str(len(body)))
        one.send_header("Connection", "close")
        one.end_headers()
        one.wfile.write(body)
        one.close_connection = True

    with answering(answer) as url:
        assert checker(url, token, may_stand_in=False).check([row()]) == [EInvoiceAnswer(Said.GENUINE)]
    expected = (
        b'{"amount":"8422.80","check_code":"rha0jt","code":"99060225","currency":"CNY","date":"2025-09-06",'
        b'"number":"1774778511","type":"medchain/e-invoice-check/v1"}'
    )
    assert seen == [("/check", f"Bearer {TOKEN}", expected)]
    assert check_document(row()) == expected


def test_a_token_that_is_none_asks_nobody_and_is_told_nowhere(checker, tmp_path, capfd):
    path = tmp_path / "token"
    asked = []
    with answering(lambda one: asked.append(one) or send(one, b"")) as url:
        for content in (b"", b"two words", b"\xff", b"x" * 5000, None):
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)
            assert [one.said for one in checker(url, path).check([row(), row(code="")])] == [
                Said.UNREACHABLE,
                Said.NOT_ASKED,
            ]
    assert asked == []
    assert "two words" not in capfd.readouterr().err


def test_who_shows_no_token_is_answered_nothing(checker, tmp_path):
    token = tmp_path / "token"
    token.write_text(TOKEN)
    server = stand_in_server("127.0.0.1", 0, StandIn(read_table(TABLE.encode())), TOKEN)
    with running(server) as url:
        assert checker(url).check([row()])[0].said is Said.UNREACHABLE
        assert checker(url, token).check([row()])[0].said is Said.GENUINE


GENUINE = canonical({"answer": "genuine", "type": einvoice.CHECKED_TYPE})


@pytest.mark.parametrize(
    ("body", "status", "headers"),
    [
        (b"", 200, {}),
        (b"genuine", 200, {}),
        (GENUINE + b"\n", 200, {}),
        (canonical({"answer": "perhaps", "type": einvoice.CHECKED_TYPE}), 200, {}),
        # What only the node itself says.
        (canonical({"answer": "not_asked", "type": einvoice.CHECKED_TYPE}), 200, {}),
        (canonical({"answer": "genuine", "type": "medchain/e-invoice-checked/v2"}), 200, {}),
        (canonical({"answer": "genuine", "more": 1, "type": einvoice.CHECKED_TYPE}), 200, {}),
        (canonical({"answer": "genuine", "stand_in": "no", "type": einvoice.CHECKED_TYPE}), 200, {}),
        (GENUINE, 404, {}),
        (GENUINE, 500, {}),
        (GENUINE, 302, {"Location": "http://127.0.0.1:1/elsewhere"}),
        (b'"' + b"x" * 5000 + b'"', 200, {}),
    ],
)
def test_a_service_that_answers_in_another_form_has_not_answered(checker, body, status, headers):
    with answering(lambda one: send(one, body, status, **headers)) as url:
        assert checker(url).check([row()]) == [EInvoiceAnswer(Said.UNREACHABLE)]


def test_a_service_that_hangs_costs_its_time_and_no_more(checker, monkeypatch):
    monkeypatch.setattr(einvoice, "LIMITS", Limits(timeout_s=0.2, max_bytes=4096))
    done = threading.Event()
    with answering(lambda _one: done.wait(60) and None) as url:
        rows = [row()] * 50
        assert {one.said for one in checker(url).check(rows)} == {Said.UNREACHABLE}
        done.set()


def test_who_does_not_answer_is_not_asked_for_a_whole_batch_and_no_log_has_the_invoice(checker, capfd):
    asked = []
    with answering(lambda one: asked.append(one) or send(one, b"", 500)) as url:
        assert {one.said for one in checker(url).check([row()] * 100)} == {Said.UNREACHABLE}
    assert MAX_FAILURES <= len(asked) <= MAX_FAILURES + AT_ONCE
    told = capfd.readouterr().err
    assert not any(text in told for text in ("1774778511", "rha0jt", "8422"))


def test_when_the_time_of_a_batch_is_over_the_rest_is_not_asked_for(checker, stand_in):
    times = iter([0.0, 1.0, *[einvoice.BUDGET_S] * 9])
    found = checker(stand_in, clock=lambda: next(times)).check([row()] * 3)
    assert sorted(one.said for one in found) == [Said.GENUINE, Said.UNREACHABLE, Said.UNREACHABLE]


@pytest.mark.parametrize(
    "document",
    [
        b"{}",
        canonical({"type": einvoice.CHECK_TYPE}),
        check_document(row()).replace(b"check/v1", b"check/v2"),
        check_document(row()).replace(b"8422.80", b"-1"),
    ],
)
def test_the_stand_in_refuses_what_is_no_question(document):
    with pytest.raises(InputError):
        StandIn(read_table(TABLE.encode())).answer(document)


def test_what_a_service_cannot_read_is_not_answered(checker, stand_in):
    found = checker(stand_in).check([row("1" * 64), row(check_code="x" * 64)])
    assert [one.said for one in found] == [Said.UNREACHABLE] * 2
