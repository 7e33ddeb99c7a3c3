"""A node's power fails, or it is killed, at any sync: what it answered stands, and nothing is done twice."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from medchain.errors import MedchainError
from medchain.ledger.object import map_key
from medchain.ledger.request import access_key
from medchain.node.ledger_driver import VouchedFile, vouched_file
from medchain.node.records import NewRecord
from medchain.node.replica import Replica
from medchain.ordering.cosign import Vouched
from medchain.store import index
from medchain.store.engine import FileKind, open_database
from medchain.store.ledger import LedgerStore
from tests.power import Promise, cuts
from tests.unit.medchain.ledger.world import ANXIN, COMMISSION, RENHE
from tests.unit.medchain.node.exchanges import Exchange, observation
from tests.unit.medchain.node.federation import Federation
from tests.unit.medchain.node.ledgers import Author, block_of, replica_on
from tests.waiting import eventually

KEY = bytes(range(32))
LEDGER = FileKind.LEDGER
RELEASES = 2


def promise_much(folder: Path, promise: Promise) -> None:
    """Vouch for sizes until the file is full and begun anew."""
    memory = VouchedFile(folder / "vouched.json")
    for size in range(1, 70):
        memory.save(Vouched(size=size, root=size.to_bytes(32, "big")))
        promise(str(size))


def test_what_was_vouched_for_is_never_forgotten(tmp_path):
    for first, step in ((1, 9), (62, 1)):
        for cut in cuts(tmp_path, promise_much, first=first, step=step):
            found = vouched_file(cut.folder, len(cut.promised)).load()
            assert len(cut.promised) <= found.size <= len(cut.promised) + 1, cut.name
            assert int.from_bytes(found.root, "big") == found.size


def test_a_ledger_has_every_block_that_was_applied_and_their_root(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "WAITING_LIMIT_BYTES", 4096)
    orderer = replica_on(LedgerStore(open_database(tmp_path / "orderer.db", KEY, kind=LEDGER)), COMMISSION)
    author, blocks, roots = Author(replica=orderer), [], [orderer.root]
    for number in range(1, 7):
        blocks.append(block_of(orderer, author.anchor(40), author.subject(number)))
        roots.append(orderer.root)
    orderer.store.close()

    def apply_all(folder: Path, promise: Promise) -> None:
        replica = replica_on(LedgerStore(open_database(folder / "ledger.db", KEY, kind=LEDGER)))
        promise("0")
        for block in blocks:
            replica.apply(block)
            promise(str(block.height))
            if block.height % 2 == 0:
                replica.store.flush()
                replica.store._database.checkpoint()  # noqa: SLF001  # as the file does by itself when the WAL is long

    (tmp_path / "disk").mkdir()
    for cut in cuts(tmp_path / "disk", apply_all, step=3, torn=1):
        database = open_database(cut.folder / "ledger.db", KEY, kind=LEDGER)
        database.check()
        replica = replica_on(LedgerStore(database))
        height = replica.height
        assert len(cut.promised) - 1 <= height <= max(len(cut.promised), 0), cut.name
        assert replica.root == roots[height], cut.name
        # It goes on to the same end.
        for block in blocks[height:]:
            replica.apply(block)
        assert replica.root == roots[-1], cut.name
        assert Replica(LedgerStore(database)).store.map_root == replica.store.map_root
        replica.store.close()


def story(folder: Path, promise: Promise) -> None:
    """Store, anchor, enrol, consent, grant, release, withdraw, on whole nodes; tell what was answered."""
    federation = Federation(folder)
    federation.start()
    exchange = Exchange(federation, local="patient")
    site = federation.sites[RENHE]
    for number in range(RELEASES):
        site.service.create(NewRecord("Observation", f"r{number}", observation(number), "patient"))
        promise(f"stored r{number}")
        exchange.anchor()
        if number == 0:
            exchange.open()
            promise(f"granted {exchange.patient.key.hex()} {exchange.consent.hex()} {exchange.grant.hex()}")
        received = exchange.asker().request_release(exchange.wish())
        promise(f"released {received.access.version} {len(received.records)}")
    site.node.stops.stop(exchange.consent)
    promise("withdrawn")


@contextmanager
def again(folder: Path):
    federation = Federation(folder)
    federation.start()
    try:
        yield federation
    finally:
        federation.stop()


def level(federation: Federation) -> bool:
    return len({site.replica.root for site in federation.sites.values()}) == 1


def check_story(folder: Path, promised: list[str], name: str) -> None:
    told = dict(line.split(" ", 1) if " " in line else (line, "") for line in promised)
    stored = [line.split()[1] for line in promised if line.startswith("stored")]
    released = [line for line in promised if line.startswith("released")]
    with again(folder) as federation:
        site = federation.sites[RENHE]
        exchange = Exchange(federation, local="patient")
        # Nothing that was answered as stored is lost, and all of it comes to the ledger, once.
        for record_id in stored:
            assert site.service.read("Observation", record_id).content, name
        exchange.anchor()
        assert eventually(lambda: level(federation)), name
        for number in range(RELEASES):
            row = site.records.get("Observation", f"r{number}")
            if row is not None:
                head = site.ledger.record(map_key("record", RENHE, row.object_id))
                assert head is not None, name
                assert (head.version, row.position is not None) == (1, True), name
        if "granted" not in told:
            return
        subject, exchange.consent, exchange.grant = (bytes.fromhex(text) for text in told["granted"].split())
        exchange.patient = SimpleNamespace(key=subject)
        key = access_key(exchange.grant, RENHE)
        for org_id in (RENHE, ANXIN):
            # Nothing was released without its entry.
            head = federation.sites[org_id].ledger.record(key)
            assert (0 if head is None else head.version) >= len(released), (name, org_id)
        if "withdrawn" in told:
            with pytest.raises(MedchainError, match=r"release\.nothing"):
                exchange.asker().request_release(exchange.wish())
        elif not site.node.stops.is_stopped(exchange.consent):
            received = exchange.asker().request_release(exchange.wish())
            assert len(received.records) == sum(
                site.records.get("Observation", f"r{number}") is not None for number in range(RELEASES)
            )


@pytest.mark.parametrize("step", [pytest.param(5, marks=pytest.mark.slow), 61])
def test_whole_nodes_killed_or_without_power_keep_what_they_answered(tmp_path, step):
    for cut in cuts(tmp_path, story, first=step, step=step, torn=1 if step == 5 else 0):
        check_story(cut.folder, cut.promised, cut.name)
