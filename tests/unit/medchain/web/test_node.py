"""A whole node as processes: it comes up, heals, and leaves nothing behind."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson
import pytest

from consent.directive import ConsentDecision
from consent.release import ReleaseRules
from fhir_bridge.search.index import SearchIndex
from medchain import daemon
from medchain.commands.founding import first_invoices
from medchain.encoding import Json, canonical
from medchain.errors import NotFoundError
from medchain.ledger.genesis import Genesis, build_genesis, genesis_signatures
from medchain.ledger.members import ACTIVE, Organisation, ProtocolRules, make_key
from medchain.node import witnesses
from medchain.node.assembly import daemon_parts, open_daemon_node
from medchain.node.config import config_text, load_config
from medchain.node.keystore import (
    Layout,
    add_vrf_key,
    create_keys,
    create_root_file,
    genesis_proofs,
    open_daemon_keys,
    open_web_keys,
    public_keys,
    unlock,
)
from medchain.node.local import LocalClient
from medchain.node.records import NewRecord, RecordService
from medchain.node.releasing import Releasing
from medchain.node.supervisor import read_node_state
from medchain.ordering.cosign import SPLIT_VIEW
from medchain.ordering.driver import Alarm
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore
from medchain.web.daemon import peer_routes
from tests.children import child
from tests.ports import free_ports
from tests.unit.medchain.node.test_witnesses import ED_KEY
from tests.unit.medchain.web.test_tls import certify
from tests.waiting import eventually

ORG = "renhe-hospital"
NOW = 1_796_083_200
RUN = (
    "import sys; from pathlib import Path; from medchain.node.supervisor import run_node;"
    "sys.exit(run_node(Path(sys.argv[1]), {}))"
)
TIED = RUN.replace("{}))", "{}, None, 0))")
POLICY = {
    "rules": {"policy/active": {"majority": "member"}, "record/active": "creator"},
    "type": "medchain/policy/v1",
}


class Node:
    """A node's folder, and its processes."""

    def __init__(self, folder: Path, org_id: str = ORG, *issuers: str) -> None:
        """Make keys and configuration; who issues invoices has issuer codes."""
        self.layout, self.org_id, self.issuers = Layout(folder), org_id, issuers
        self.peer_port, self.web_port = free_ports(2, folder)
        self.halves = unlock(create_root_file(folder / "keys" / "root.key", None))
        create_keys(folder, org_id, self.halves)
        add_vrf_key(folder, self.halves)
        settings = {
            "organisation.id": org_id,
            "peer.listen": f"127.0.0.1:{self.peer_port}",
            "web.listen": f"127.0.0.1:{self.web_port}",
            "web.workers": 1,
        }
        self.config = folder / "node.toml"
        self.config.write_text(config_text(settings), encoding="utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    def organisation(self) -> Organisation:
        public = public_keys(self.layout.folder).items()
        keys = sorted((make_key(self.org_id, use, text) for use, text in public), key=lambda key: key.id)
        url = f"http://127.0.0.1:{self.peer_port}"
        name, invoices = {"en": "Renhe"}, first_invoices(self.issuers, self.layout.folder) if self.issuers else None
        return Organisation(self.org_id, "hospital", self.org_id, name, url, (), ACTIVE, tuple(keys), invoices)

    def start(self) -> None:
        self.process = child([sys.executable, "-c", RUN, str(self.config)])
        assert eventually(
            lambda: self.status(self.peer_port, "/healthz") == self.status(self.web_port, "/healthz") == 200
        )

    def status(self, port: int, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def pids(self) -> dict[str, int]:
        return {name: entry["pid"] for name, entry in read_node_state(self.layout)["processes"].items()}

    def family(self) -> set[int]:
        """Find all processes that name this node's configuration."""
        found = set()
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and str(self.config).encode() in (entry / "cmdline").read_bytes():
                    found.add(int(entry.name))
            except OSError:
                continue
        return found


def found(*nodes: Node, policy: Mapping[str, Json] = POLICY) -> Genesis:
    """Found a ledger of these nodes, the first of which orders."""
    genesis = build_genesis(
        [node.organisation() for node in nodes],
        origin="medchain.example/test",
        policy=policy,
        protocol=ProtocolRules(nodes[0].org_id, len(nodes), 1),
        rp_id="localhost",
        sign_origins=["http://localhost:1"],
        time=int(time.time()) - 60,  # noqa: TID251  # a real ledger begins now
        demo=True,
    )
    proofs = {}
    for node in nodes:
        folder = node.layout.folder
        keys = open_web_keys(folder, node.halves), open_daemon_keys(folder, node.halves)
        invoices = genesis.members.organisations[node.org_id].invoices
        proofs[node.org_id] = genesis_proofs(node.org_id, genesis.ledger, *keys, invoices)
    for node in nodes:
        node.layout.genesis.write_bytes(genesis.encoded)
        node.layout.genesis_signatures.write_bytes(canonical(genesis_signatures(proofs)))
    return genesis


@contextmanager
def ending(*nodes: Node) -> Iterator[None]:
    """End all processes of nodes, however the test went."""
    try:
        yield
    finally:
        for node in nodes:
            if node.process is not None:
                node.process.kill()
                node.process.wait()
        assert eventually(lambda: not any(node.family() for node in nodes))


@pytest.fixture
def node(tmp_path) -> Iterator[Node]:
    made = Node(tmp_path / "node")
    found(made)
    with ending(made):
        yield made


@pytest.mark.e2e
def test_a_record_is_anchored_ordered_and_final_on_two_nodes_and_one_may_come_late(tmp_path):
    orderer, hospital = Node(tmp_path / "a", "health-commission"), Node(tmp_path / "b", "renhe-hospital")
    genesis = found(orderer, hospital)
    keys = open_web_keys(hospital.layout.folder, hospital.halves)
    with ending(orderer, hospital):
        hospital.start()
        database = open_database(hospital.layout.records, keys.records_database, kind=FileKind.RECORDS)
        with closing(RecordStore(database)) as store:
            service = RecordService(store, genesis.ledger, keys.records, lambda: int(time.time()))  # noqa: TID251  # real
            service.create(NewRecord("Observation", "o1", b'{"resourceType":"Observation","id":"o1"}', "p1"))
        orderer.start()
        for node in (orderer, hospital):
            with closing(LocalClient(node.layout.folder)) as local:
                # Genesis and its state leaf, the anchor and its state leaf.
                assert eventually(lambda local=local: local.call("status", {})["final_size"] == 4), node.org_id
                note = local.get("/log/checkpoint").decode()
                assert note.startswith("medchain.example/test\n4\n")
                # The log's line and two of each organisation.
                assert note.count("\n\u2014 ") == 5
                assert len(local.get("/log/tile/0/000.p/4")) == 4 * 32


@pytest.mark.e2e
def test_a_node_comes_up_answers_and_stops_cleanly(node):
    node.start()
    assert node.status(node.peer_port, "/log/checkpoint") == 401
    assert node.status(node.peer_port, "/metrics") == 404
    assert node.status(node.web_port, "/metrics") == 404
    with closing(LocalClient(node.layout.folder)) as local:
        assert eventually(lambda: local.call("status", {})["ready"])
        # The genesis and its state leaf; every node makes them by itself, so nobody cosigns them yet.
        status = local.call("status", {})
        assert (status["size"], status["final_size"], status["reasons"]) == (2, 2, [])
        with pytest.raises(NotFoundError):
            local.get("/log/checkpoint")
    assert node.status(node.web_port, "/readyz") == 200
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(60) == 0
    assert node.family() == set()
    left = {path.name for path in node.layout.run.iterdir() if path.suffix != ".lock"}
    assert left == {"lock"}
    for log in node.layout.logs.glob("*.jsonl"):
        assert all(isinstance(orjson.loads(line), dict) for line in log.read_bytes().splitlines())


@pytest.mark.e2e
def test_a_killed_daemon_comes_back_and_web_workers_find_it(node):
    node.start()
    before = node.pids()
    os.kill(before["daemon"], signal.SIGKILL)
    assert eventually(lambda: node.pids()["daemon"] not in (None, before["daemon"]))
    assert eventually(lambda: node.status(node.peer_port, "/healthz") == 200)
    # 503 is the daemon's own answer, that there is no block yet; or 200 where there is one.
    assert eventually(lambda: "height" in body(node.web_port, "/readyz"))
    assert node.pids()["web"] == before["web"]


def body(port: int, path: str) -> dict[str, object]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return orjson.loads(connection.getresponse().read())
    finally:
        connection.close()


@pytest.mark.e2e
def test_a_killed_web_worker_comes_back(node):
    node.start()
    workers = node.family() - {node.process.pid, *node.pids().values()}
    assert workers
    for pid in workers:
        # One may have ended with another of them.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: node.family() - {node.process.pid, *node.pids().values()} - workers)
    assert eventually(lambda: node.status(node.web_port, "/healthz") == 200)


@pytest.mark.e2e
def test_without_its_supervisor_a_node_ends(node):
    node.start()
    node.process.kill()
    assert eventually(lambda: not node.family())


@pytest.mark.e2e
def test_a_node_ends_when_the_program_that_started_it_is_killed(node):
    # As a demo does: a program that holds the pipe, and is killed without a chance to say so.
    words = [sys.executable, "-c", TIED, str(node.config)]
    holds = f"import subprocess,time;tied=subprocess.Popen({words!r},stdin=subprocess.PIPE);time.sleep(600)"
    starter = subprocess.Popen([sys.executable, "-c", holds])
    assert eventually(lambda: node.status(node.web_port, "/healthz") == 200)
    family = node.family()
    starter.kill()
    starter.wait()
    assert eventually(lambda: not any(Path(f"/proc/{pid}/stat").exists() for pid in family))


@pytest.mark.e2e
def test_no_process_shows_a_key_in_its_environment_or_arguments(node):
    node.start()
    secrets = [bytes(half).hex().encode() for half in (node.halves.web, node.halves.daemon)]
    seen = 0
    for pid in node.family():
        shown = b""
        # One that has ended since shows nothing.
        with suppress(FileNotFoundError, ProcessLookupError):
            shown = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
        assert not any(secret in shown for secret in secrets)
        assert b"UNLOCK" not in shown
        seen += b"medchain" in shown
    assert seen >= 3


@pytest.mark.e2e
def test_a_second_node_in_the_same_folder_is_refused(node):
    node.start()
    second = subprocess.run(
        [sys.executable, "-c", RUN, str(node.config)], capture_output=True, timeout=60, check=False, text=True
    )
    assert second.returncode != 0
    assert "node.running" in second.stderr
    assert node.status(node.web_port, "/healthz") == 200


def test_a_node_that_saw_a_split_view_cosigns_nothing_after_a_restart_until_somebody_has_looked(node):
    config = load_config(node.config, {}, {})

    def is_stopped() -> bool:
        with open_daemon_node(config, node.halves, lambda: NOW) as opened:
            parts = daemon_parts(opened, ConsentDecision(), Releasing(ReleaseRules()))
            for close in parts.close:
                close()
            return parts.ordering.cosigner.is_stopped

    assert not is_stopped()
    with open_daemon_node(config, node.halves, lambda: NOW) as opened:
        assert opened.records.raise_alarm(SPLIT_VIEW, "subject", 1, b"{}", NOW)
        (alarm,) = opened.records.alarms()
    assert is_stopped()
    with open_daemon_node(config, node.halves, lambda: NOW) as opened:
        opened.records.acknowledge(alarm.id, "settled", NOW)
    assert not is_stopped()


def test_a_node_that_ends_as_soon_as_it_has_seen_a_split_view_knows_it_at_its_next_start(node):
    config = load_config(node.config, {}, {})
    with open_daemon_node(config, node.halves, lambda: NOW) as opened:
        parts = daemon_parts(opened, ConsentDecision(), Releasing(ReleaseRules()))
        parts.ordering._raise_alarm(Alarm(SPLIT_VIEW, 0, {"size": 1}, latched=True))  # noqa: SLF001  # as the cosigner does
        for close in parts.close:
            close()
        # Nobody has looked for alarms: that job never ran.
        assert opened.records.is_alarm_open(SPLIT_VIEW)


def test_the_daemon_tells_the_index_the_nodes_zone(node, monkeypatch):
    monkeypatch.setattr(daemon, "settle", lambda: None)  # would change the collector of the tests
    config = load_config(node.config, {"MEDCHAIN_FHIR_TIME_ZONE": "Asia/Shanghai"}, {})
    with open_daemon_node(config, node.halves, lambda: NOW) as opened:
        parts = daemon._parts(opened)  # noqa: SLF001  # what its process is made of
        for close in parts.close:
            close()
        assert SearchIndex(opened.records).setting.zone == ZoneInfo("Asia/Shanghai")


def test_the_daemon_answers_and_asks_about_invoices(node, monkeypatch):
    monkeypatch.setattr(daemon, "settle", lambda: None)  # as above
    with open_daemon_node(load_config(node.config, {}, {}), node.halves, lambda: NOW) as opened:
        parts = daemon._parts(opened)  # noqa: SLF001  # what its process is made of
        for close in parts.close:
            close()
        assert {"claims.check", "dispute.open"} <= {*parts.local.operations()}
        assert {"fishing", "disputes", "dispute-records"} <= {job.name for job in parts.jobs}
        assert {"claims.question", "claims.deed", "claims.dispute"} <= {route.name for route in peer_routes(parts)}


def test_the_daemon_asks_witnesses_whose_certificates_come_from_the_authorities_in_its_settings(node, monkeypatch):
    tls, trusted = certify(node.config.parent, "authority", "127.0.0.1"), []
    listed = node.config.parent / "witnesses.txt"
    listed.write_text(f"witness outside {ED_KEY} https://w.example\n")
    settings = {"MEDCHAIN_WITNESSES_FILE": listed.name, "MEDCHAIN_WITNESSES_CA": tls.certificate.name}
    made = witnesses.tls_context
    monkeypatch.setattr(witnesses, "tls_context", lambda ca: trusted.append(ca) or made(ca))
    with open_daemon_node(load_config(node.config, settings, {}), node.halves, lambda: NOW) as opened:
        parts = daemon_parts(opened, ConsentDecision(), Releasing(ReleaseRules()))
        for close in parts.close:
            close()
    assert trusted == [tls.certificate]


def test_the_daemon_loads_no_web_framework_and_no_fhir_model():
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, medchain.daemon; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    heavy = {"flask", "werkzeug", "jinja2", "fhir", "fhir_core", "pydantic", "authlib", "granian"}
    # The daemon makes the search index and audit events; the models and the server of FHIR are not for that.
    heavy |= {"fhir_bridge.mount", "fhir_bridge.rest.core", "fhir_bridge.smart.server"}
    heavy |= {"consent.web", "consent.fhir", "medchain.app", "medchain.web.service"}
    assert "medchain.web.server" in loaded
    assert heavy.isdisjoint(loaded)
