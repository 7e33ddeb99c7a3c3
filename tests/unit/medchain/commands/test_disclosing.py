"""`record disclosures`, `record erased` and `emergency`, against a real server with whole nodes' operations."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.object import map_key
from medchain.node.assembly import LocalOperations
from medchain.node.config import Address
from medchain.node.emergency import EmergencyBook, EmergencyDesk
from medchain.node.keystore import Layout
from medchain.node.local_state import write_state
from medchain.node.notices import NoticeBook
from medchain.node.proofs import PROVE_DISCLOSURES, prove_disclosures
from medchain.node.statements import StatementBook
from medchain.web.peer import local_routes
from medchain.web.routing import Router
from medchain.web.server import DaemonServer
from tests.unit.medchain.ledger.world import fresh, genesis
from tests.unit.medchain.node.exchanges import ANXIN, RENHE, Exchange, Federation, observation
from tests.unit.medchain.node.federation import COMMISSION


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    """One release of two records."""
    federation = Federation(tmp_path_factory.mktemp("federation"))
    federation.start()
    made = Exchange(federation)
    made.open()
    made.store(observation(1), observation(2))
    made.asker().request_release(made.wish())
    yield made
    federation.stop()


def emergencies(exchange, org_id: str) -> EmergencyBook:
    site = exchange.federation.sites[org_id]
    judge = site.node.submitter._judge  # noqa: SLF001  # the node's own
    notices = NoticeBook(judge, site.records, site.service)
    return EmergencyBook(judge, site.records, site.node.submitter, notices, fresh)


@contextmanager
def served(exchange, org_id: str, node):
    """Have a node's operations answered where its configuration says."""
    site = exchange.federation.sites[org_id]
    judge = site.node.submitter._judge  # noqa: SLF001  # the node's own
    book = StatementBook(judge, site.records, site.node.submitter, site.node.stops, fresh)
    operations = LocalOperations(
        {
            PROVE_DISCLOSURES: lambda document: prove_disclosures(site.replica, site.node.shelf, document),
            **book.operations(),
            **emergencies(exchange, org_id).operations(),
        }
    )
    layout = Layout(node.parent)
    layout.create()
    server = DaemonServer(Address("127.0.0.1", 0), Router("local", local_routes(operations), local_secret="s" * 64))
    server.start()
    url = f"http://127.0.0.1:{server.address.port}"
    write_state(layout, pid=1, local_url=url, peer_url=url, secret="s" * 64)
    try:
        yield site
    finally:
        server.stop(5)


def test_the_proof_that_is_written_is_one_that_verify_takes(run, node, exchange, tmp_path):
    grant, out = exchange.grant.hex(), tmp_path / "proof.zip"
    (tmp_path / "policy.txt").write_text(trusted_policy_text(genesis().members, genesis().origin))
    with served(exchange, RENHE, node) as site:
        kept = tmp_path / "checkpoint"
        kept.write_text(site.ledger.final().note)
        words = ("record", "disclosures", grant, "--out", out, "--config", node)
        assert run(*words).code == 0
        again = run(*words)
        assert (again.code, "file.exists" in again.err) == (6, True)
        more = ("--since", kept, "--custodian", RENHE, "--out", tmp_path / "grown.zip")
        assert run("record", "disclosures", grant, *more, "--config", node).code == 0
    for name in ("proof.zip", "grown.zip"):
        ran = run("verify", tmp_path / name, "--policy", tmp_path / "policy.txt", "--lang", "en")
        assert ran.code == 0, ran.err
        assert "renhe-hospital made 1 disclosures; no other is recorded" in ran.out


def test_a_custodian_that_nobody_can_be_is_refused(run, node, exchange):
    with served(exchange, RENHE, node):
        ran = run("record", "disclosures", "00", "--config", node)
    assert ran.code == 2


def test_an_emergency_is_listed_until_it_is_reviewed_at_the_regulators_node_too(run, node, exchange):
    hospital = exchange.federation.sites[RENHE]
    desk = EmergencyDesk(RENHE, hospital.records, hospital.service, exchange.federation.clock, fresh)
    key = map_key("emergency", RENHE, desk.declare(exchange.local, "doctor-17", "unconscious").object_id)
    with served(exchange, RENHE, node):
        assert "No emergency is to be reviewed." in run("emergency", "list", "--config", node, "--lang", "en").out
        while emergencies(exchange, RENHE).round():
            exchange.federation.wait()
        emergencies(exchange, RENHE).object_to(key, "the patient", "I was awake")
        listed = run("emergency", "list", "--config", node, "--lang", "en").out
        assert "renhe-hospital doctor-17: unconscious; to be reviewed" in listed
        assert "the patient objects" in listed
    with served(exchange, COMMISSION, node):
        assert key.hex() in run("emergency", "list", "--config", node).out
        words = ("emergency", "review", key.hex(), "--by", "officer-2", "--finding", "justified", "--config", node)
        assert (run(*words).code, "emergency.unknown" in run(*words).err) == (4, True)
    with served(exchange, RENHE, node):
        assert run(*words).code == 0
        assert run("emergency", "list", "--config", node, "--json").document == {"emergencies": []}
        assert "reviewed" in run("emergency", "list", "--all", "--config", node, "--lang", "en").out
        again = run(*words)
        assert (again.code, "emergency.reviewed" in again.err) == (6, True)


def test_a_recipient_lists_what_it_has_to_erase_and_states_it_once(run, node, exchange):
    grant = exchange.grant.hex()
    with served(exchange, ANXIN, node) as site:
        assert "Nothing is still to be stated." in run("record", "erased", "--config", node, "--lang", "en").out
        early = run("record", "erased", grant, "--reason", "deleted", "--config", node)
        assert (early.code, "erasure.in_force" in early.err) == (1, True)
        site.node.stops.stop(exchange.grant)
        site.node.driver.outbox.step()
        listed = run("record", "erased", "--config", node, "--lang", "en").out
        assert f"grant {grant}: 2 records in 1 releases of renhe-hospital" in listed
        assert site.ledger.until(lambda: site.ledger.record(exchange.grant).status == "stopped" or None, 60)
        assert run("record", "erased", grant, "--config", node).code == 2
        done = run("record", "erased", grant, "--reason", "deleted from the claims system", "--config", node)
        assert done.code == 0, done.err
        assert run("record", "erased", "--config", node, "--json").document == {"grants": []}
        again = run("record", "erased", grant, "--reason", "deleted", "--config", node)
        assert (again.code, "erasure.stated" in again.err) == (6, True)
