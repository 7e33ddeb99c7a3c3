"""The server of a witness of one's own: what C2SP tlog-witness says of statuses and bodies, over HTTP."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from medchain.node.config import Address
from medchain.node.witness_file import OutsideWitness
from medchain.node.witnesses import WitnessClient
from medchain.node.witnessing import WitnessLayout, create_witness, open_witness, read_identity
from medchain.web import server as server_module
from medchain.web.routing import Router
from medchain.web.server import DaemonServer
from medchain.web.witnessing import MAX_BODY_BYTES, witness_routes
from tests.own_witness import ask
from tests.unit.medchain.node.test_witnesses import ORIGIN, GrownLog, Now
from tests.unit.medchain.node.test_witnessing import LOG_KEY, STRANGER, URL, forked, shown
from tests.waiting import PATIENCE_S


@pytest.fixture
def log() -> GrownLog:
    return GrownLog()


@pytest.fixture
def clock() -> Now:
    return Now()


@pytest.fixture
def folder(tmp_path) -> Path:
    create_witness(tmp_path / "w", URL, "witness.example", [LOG_KEY], None)
    return tmp_path / "w"


@pytest.fixture
def address(folder, clock, monkeypatch) -> Iterator[Address]:
    """Serve a witness that trusts the log; to it, nobody is slow."""
    for name in ("STRANGER_IDLE_S", "HEAD_S"):
        monkeypatch.setattr(server_module, name, PATIENCE_S)
    with open_witness(folder, None, clock) as witness:
        server = DaemonServer(Address("127.0.0.1", 0), Router("witness", witness_routes(witness)))
        server.start()
        yield server.address
        assert server.stop(PATIENCE_S)


def post(address: Address, body: bytes) -> tuple[int, str, bytes]:
    """Ask; returns status, type and body."""
    return ask(address.port, body)


def head_alone(address: Address, method: str, path: str, size: int) -> int:
    """Announce a body, and send none; returns the status."""
    with closing(http.client.HTTPConnection(address.host, address.port, timeout=PATIENCE_S)) as connection:
        connection.putrequest(method, path)
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        return connection.getresponse().status


def test_a_checkpoint_is_answered_with_signature_lines_alone(address, log):
    log.grow()
    status, kind, body = post(address, shown(log))
    assert (status, kind) == (200, "text/plain; charset=utf-8")
    lines = body.decode().split("\n")
    assert lines.pop() == ""
    assert [line.rpartition(" ")[0] for line in lines] == ["— witness.example"] * 2


def test_a_conflict_tells_the_size_in_the_form_of_the_specification(address, log):
    size = log.grow()
    post(address, shown(log))
    for body in (shown(log), shown(log, size, head=forked(log, size).head)):
        assert post(address, body) == (409, "text/x.tlog.size", b"%d\n" % size)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, lambda _log: b"old 05\n\n"),
        (403, lambda log: shown(log, signer=STRANGER)),
        (404, lambda log: shown(log).replace(ORIGIN.encode(), b"other.example/log")),
        (422, lambda log: shown(log).replace(b"old 0\n", b"old 0\n" + b"A" * 43 + b"=\n")),
    ],
)
def test_each_refusal_has_the_status_of_the_specification(address, log, status, body):
    log.grow()
    assert post(address, body(log))[0] == status


def test_what_is_amiss_here_is_told_as_such_and_nothing_of_this_machine_with_it(address, folder, log):
    log.grow()
    WitnessLayout(folder).seen(ORIGIN).unlink()
    status, _, body = post(address, shown(log))
    assert (status, b"witnessing.state" in body) == (503, True)
    assert str(folder).encode() not in body


def test_a_body_that_is_too_large_is_refused_before_it_is_read_and_nothing_else_is_served(address, log):
    log.grow()
    assert head_alone(address, "POST", "/add-checkpoint", MAX_BODY_BYTES + 1) == 413
    assert head_alone(address, "POST", "/", 0) == 404
    assert head_alone(address, "GET", "/add-checkpoint", 0) == 404
    assert post(address, shown(log))[0] == 200


def test_a_node_has_it_cosign_like_any_other_witness(address, folder, log, clock):
    keys = read_identity(folder).keys
    client = WitnessClient(OutsideWitness("ours", f"http://127.0.0.1:{address.port}", keys), log, log.final, clock)
    for _ in range(3):
        clock.time += 20
        size = log.grow(3)
        client.turn()
        assert (client.standing.code, client.standing.size) == ("", size)
        assert {line.key_id for line in log.kept()} == {key.key_id for key in keys}
    client.close()
