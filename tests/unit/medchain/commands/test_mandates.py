"""`mandate issue`, `list`, `grant` and `stop`, against a real server with whole nodes' operations."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from medchain.commands import mandates
from medchain.node.assembly import LocalOperations
from medchain.node.config import Address
from medchain.node.keystore import Layout
from medchain.node.local_state import write_state
from medchain.web.peer import local_routes
from medchain.web.routing import Router
from medchain.web.server import DaemonServer
from tests.unit.fhir_bridge.exchanging import Case
from tests.unit.medchain.ledger.world import TAIPING
from tests.unit.medchain.node.federation import ANXIN, COMMISSION, NOW, RENHE, TONGJI
from tests.unit.medchain.node.lawful import lawful_desks, terms


@pytest.fixture(scope="module")
def desks(tmp_path_factory):
    with lawful_desks(tmp_path_factory.mktemp("mandates")) as made:
        # Threads that nodes start at their first submission are there before the first test.
        first = made.local(COMMISSION).call("mandate.issue", terms("somebody"))["key"]
        made.everywhere(first, 1)
        made.local(RENHE).call("grant.give", {"consent": first})
        yield made


@contextmanager
def served(desks, org_id: str, node):
    """Have a node's operations answered where its configuration says."""
    layout = Layout(node.parent)
    layout.create()
    operations = LocalOperations(desks.local(org_id).operations)
    server = DaemonServer(Address("127.0.0.1", 0), Router("local", local_routes(operations), local_secret="s" * 64))
    server.start()
    url = f"http://127.0.0.1:{server.address.port}"
    write_state(layout, pid=1, local_url=url, peer_url=url, secret="s" * 64)
    try:
        yield
    finally:
        server.stop(5)


WORDS = (
    ("--custodian", RENHE),
    ("--recipient", ANXIN),
    ("--basis", "court"),
    ("--authority", "District Court"),
    ("--reference", "2026/123"),
    ("--scope", "hospital stay"),
    ("--purpose", "HLEGAL"),
    ("--type", "Observation"),
    ("--type", "Condition"),
)


def issue(run, patient: str, *more: object):
    words = [part for pair in WORDS for part in pair]
    return run("mandate", "issue", "--patient", patient, *words, *(more or ("--days", 30)))


def test_a_basis_is_entered_listed_granted_and_stopped(run, node, desks, monkeypatch):
    monkeypatch.setattr(mandates, "system_clock", lambda: NOW)
    case = Case(desks, "court-1")
    case.store(case.patient(), case.observation(1))
    with served(desks, COMMISSION, node):
        ran = issue(run, case.name, "--days", 30, "--config", node, "--lang", "en")
        assert (ran.code, f"endorsed by {TONGJI}" in ran.out) == (0, True), ran.err
        rows = run("mandate", "list", "--config", node, "--json").document["mandates"]
        (row,) = [one for one in rows if one["content"]["patient"] == case.name]
    desks.everywhere(row["key"], 1)
    assert row["content"]["resource_types"] == ["Condition", "Observation"]
    assert row["content"]["period"] == {"end": NOW + 30 * 86400, "start": NOW}
    with served(desks, RENHE, node):
        listed = run("mandate", "list", "--config", node, "--lang", "en").out
        assert "court: District Court, 2026/123; renhe-hospital → anxin-insurance, HLEGAL" in listed
        assert "nothing granted under it here" in listed
        done = run("mandate", "grant", row["key"], "--config", node, "--lang", "en")
        assert (done.code, "Granted" in done.out) == (0, True), done.err
        assert "in force, granted" in run("mandate", "list", "--config", node, "--lang", "en").out
        refused = run("mandate", "stop", row["key"], "--config", node)
        assert (refused.code, "mandate.unknown" in refused.err) == (4, True)
    with served(desks, COMMISSION, node):
        assert "binds at once" in run("mandate", "stop", row["key"], "--config", node, "--lang", "en").out
        assert "已结束" in run("mandate", "list", "--config", node, "--lang", "zh").out


def test_what_no_basis_is_for_and_who_is_no_regulator_are_refused(run, node, desks, monkeypatch):
    monkeypatch.setattr(mandates, "system_clock", lambda: NOW)
    with served(desks, COMMISSION, node):
        wrong = issue(run, "x", "--days", 30, "--purpose", "HPAYMT", "--config", node)
        assert (wrong.code != 0, "mandate.purpose" in wrong.err) == (True, True)
        assert issue(run, "x", "--days", 367, "--config", node).code == 2
    with served(desks, TAIPING, node):
        assert "None." in run("mandate", "list", "--config", node, "--lang", "en").out
    with served(desks, TONGJI, node):
        wrong = issue(run, "x", "--days", 30, "--config", node)
        assert (wrong.code != 0, "mandate.issuer" in wrong.err) == (True, True)
