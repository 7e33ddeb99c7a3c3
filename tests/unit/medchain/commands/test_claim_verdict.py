"""`medchain claims verdict`: what is asked of the daemon, and what is said, over whole nodes."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from medchain.node.assembly import LocalOperations
from medchain.node.config import Address
from medchain.node.keystore import Layout
from medchain.node.local_state import write_state
from medchain.node.packed import unpack_bundle
from medchain.web.peer import local_routes
from medchain.web.routing import Router
from medchain.web.server import DaemonServer
from tests.unit.medchain.claims.hospitals import running_hospitals
from tests.unit.medchain.claims.office import NUMBER, Office
from tests.unit.medchain.node.federation import ANXIN, NOW

TABLE = f"issuer,code,number,date,check_code,amount\n99010001,99060225,{NUMBER},2026-11-14,rha0jt,4200.50\n"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with running_hospitals(tmp_path_factory.mktemp("verdict")) as made:
        made.federation.time = NOW
        yield Office(made)


@pytest.fixture
def office(opened):
    opened.anew()
    return opened


@contextmanager
def served(node, office):
    """Have the operations of an insurer's daemon answered where the configuration says."""
    layout, operations = Layout(node.parent), LocalOperations(office.hospitals.nodes[ANXIN].operations())
    layout.create()
    server = DaemonServer(Address("127.0.0.1", 0), Router("local", local_routes(operations), local_secret="s" * 64))
    server.start()
    url = f"http://127.0.0.1:{server.address.port}"
    write_state(layout, pid=1, local_url=url, peer_url=url, secret="s" * 64)
    try:
        yield
    finally:
        server.stop(5)


LINES = ("Source", "Unaltered", "Complete", "Consent", "Not claimed elsewhere", "Coverage and time", "Red flags")


def test_a_claim_in_a_file_is_judged_and_its_lines_are_told_with_the_evidence(run, node, office, tmp_path):
    claim, table, out = tmp_path / "claim.json", tmp_path / "invoices.csv", tmp_path / "evidence.zip"
    claim.write_bytes(office.claim())
    table.write_text(TABLE)
    words = ("claims", "verdict", claim, "--csv", table, "--start", "2024-03-01", "--waiting", "90", "--out", out)
    with served(node, office):
        ran = run(*words, "--config", node, "--lang", "en")
    assert (ran.code, ran.err) == (0, "")
    assert [line for line in LINES if f"{line}: " not in ran.out] == []
    assert "verdict.json" in unpack_bundle(out.read_bytes())


def test_of_a_hospital_of_which_nothing_came_it_is_said_why(run, node, office, tmp_path):
    office.hospitals.grants = lambda *_asked: []
    claim = tmp_path / "claim.json"
    claim.write_bytes(office.claim())
    with served(node, office):
        ran = run("claims", "verdict", claim, "--config", node, "--lang", "en")
        told = run("claims", "verdict", claim, "--config", node, "--json").document
    assert "Nothing came of renhe-hospital (case.no_grant)." in ran.out
    assert (told["failures"], told["verdict"]["colour"]) == ({"renhe-hospital": "case.no_grant"}, "red")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("Claim/none",), "record.unknown"),
        (("CLAIM", "--csv", "TABLE", "--row", "9"), "claim.row"),
        (("CLAIM", "--start", "soon"), "case.policy"),
    ],
)
def test_a_claim_that_is_not_here_and_what_is_not_right_of_it_are_refused(run, node, office, tmp_path, words, code):
    named = {"CLAIM": tmp_path / "claim.json", "TABLE": tmp_path / "invoices.csv"}
    named["CLAIM"].write_bytes(office.claim())
    named["TABLE"].write_text(TABLE)
    with served(node, office):
        ran = run("claims", "verdict", *(named.get(word, word) for word in words), "--config", node)
    assert ran.code != 0
    assert code in ran.err
