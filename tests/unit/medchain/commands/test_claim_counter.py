"""`claims counter`: what is opened, asked of the daemon, and said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from medchain.claims.counter import Step
from medchain.commands.counter_texts import STEPS
from medchain.encoding import base64_text
from medchain.node.assembly import LocalOperations
from medchain.node.config import Address
from medchain.node.keystore import Layout
from medchain.node.local_state import write_state
from medchain.web.peer import local_routes
from medchain.web.routing import Router
from medchain.web.server import DaemonServer
from tests.unit.medchain.claims.test_counter import CASE_ID, Daemon

OPERATIONS = ("case.open", "case.show", "case.ask", "case.judge", "case.reserve", "case.settle", "exchange.claim")


@contextmanager
def served(node, daemon: Daemon) -> Iterator[None]:
    """Have a daemon's operations answered where the configuration says."""

    def answering(name):
        return lambda document: daemon.call(name, document) | {"number": "AX-1"}

    layout = Layout(node.parent)
    layout.create()
    operations = {name: answering(name) for name in OPERATIONS}
    operations["exchange.claim"] = lambda document: daemon.call("exchange.claim", document)
    server = DaemonServer(
        Address("127.0.0.1", 0),
        Router("local", local_routes(LocalOperations(operations)), local_secret="s" * 64),
    )
    server.start()
    url = f"http://127.0.0.1:{server.address.port}"
    write_state(layout, pid=1, local_url=url, peer_url=url, secret="s" * 64)
    try:
        yield
    finally:
        server.stop(5)


def test_a_claim_here_is_settled_and_each_step_is_said(run, node):
    daemon = Daemon(taps_after=0)
    with served(node, daemon):
        done = run("claims", "counter", "Claim/c17", "--reason", "why", "--config", node, "--lang", "en")
    assert (done.code, done.out) == (0, done.out)
    assert done.out.startswith("Settled, ")
    assert "evidence gathered and judged (" in done.err
    assert daemon.sent["case.open"] == {"claim": "Claim/c17"}


def test_a_claim_in_a_file_is_opened_to_the_letter(run, node, tmp_path):
    claim, daemon = tmp_path / "claim.json", Daemon(taps_after=0)
    claim.write_bytes(b'{"resourceType":"Claim"}')
    with served(node, daemon):
        done = run("claims", "counter", claim, "--reason", "why", "--config", node, "--json")
    assert done.code == 0
    assert daemon.sent["case.open"] == {"content": base64_text(b'{"resourceType":"Claim"}')}
    assert {"status": done.document["status"], "id": done.document["id"], "number": done.document["number"]} == {
        "status": "settled",
        "id": CASE_ID,
        "number": "AX-1",
    }
    assert [row["step"] for row in done.document["steps"]] == ["judged", "reserved", "settled"]


def test_a_verdict_that_is_not_green_is_for_a_person(run, node):
    with served(node, Daemon(taps_after=0, colour="amber")):
        done = run("claims", "counter", "Claim/c17", "--reason", "why", "--config", node, "--lang", "en")
    assert done.code == 1
    assert f"A person should look at case {CASE_ID}." in done.out


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"disputed": True}, "A dispute with the hospital is open"),
        ({"status": "refused"}, "A person has refused it"),
        ({"einvoice": {"answer": "reversed"}}, "A service for e-invoices doubts the invoice"),
        # Red is said first: that it is doubted as well stands on its page.
        ({"einvoice": {"answer": "reversed"}, "colour": "red"}, "The verdict is not green"),
    ],
)
def test_why_nothing_is_paid_is_said(run, node, told, said):
    with served(node, Daemon(taps_after=0, **told)):
        done = run("claims", "counter", "Claim/c17", "--reason", "why", "--config", node, "--lang", "en")
    assert done.code == 1
    assert said in done.out


def test_a_patient_who_has_not_permitted_it_is_said_to_have_not(run, node):
    with served(node, Daemon(taps_after=None)):
        done = run("claims", "counter", "Claim/c17", "--reason", "why", "--wait", "0", "--config", node, "--lang", "en")
    assert done.code == 7
    assert "has not permitted it yet" in done.err


def test_each_step_has_its_words():
    assert STEPS.keys() == {step.value for step in Step}


@pytest.mark.parametrize("days", ["0", "31"])
def test_a_permission_is_asked_for_thirty_days_at_most(run, node, days):
    assert (
        run("claims", "counter", "Claim/c17", "--reason", "why", "--days", days, "--config", node, "--lang", "en").code
        == 2
    )
