"""The audit in a backup: what was not taken yet is there, once."""

from __future__ import annotations

import itertools
from contextlib import closing
from pathlib import Path

from fhir_bridge.audit import BEGUN, frames, journal_key, journals
from fhir_bridge.audit_job import AuditDrain
from fhir_bridge.rest.ask import Ask
from fhir_bridge.smart.access import Access
from medchain.node.backup import make_backup, restore_backup
from medchain.node.keystore import open_web_keys
from medchain.node.records import RecordService
from medchain.store.engine import FileKind, open_database
from medchain.store.journal import Journal, names
from medchain.store.records import RecordStore
from tests.unit.medchain.node.test_backup import create, real_time, records_of
from tests.unit.medchain.web.test_node import Node, found

NUMBERS = itertools.count(1)


def frame(status: int = 200) -> bytes:
    ask = Ask("GET", "Observation/o1", fields={}, access=Access("x", ()), request_id=f"r{next(NUMBERS)}")
    return next(frames(ask, status, 1))


def drain(node: Node, folder: Path, ledger: bytes, store: RecordStore) -> AuditDrain:
    keys = open_web_keys(folder, node.halves)
    service = RecordService(store, ledger, keys.records, real_time)
    return AuditDrain(folder, keys.records, store, service, real_time, node.org_id)


def test_a_backup_has_each_frame_once_that_was_kept_when_it_was_made(tmp_path):
    node = Node(tmp_path / "n", "renhe-hospital")
    ledger = found(node).ledger
    create(node, ledger, "o1")
    keys = open_web_keys(node.layout.folder, node.halves)
    file_key = keys.records_database
    journal = Journal(journals(node.layout.folder), journal_key(keys.records))
    with closing(records_of(node)) as store:
        journal.append(frame())
        assert drain(node, node.layout.folder, ledger, store).take() == 1
        # Kept, and not taken; the last of them begins what is told after the backup.
        journal.append(frame())
        begun = journal.begin(frame(BEGUN))
        make_backup(node.layout.folder, node.org_id, node.halves, tmp_path / "k", clock=real_time)
        journal.append(frame(), begun)
        journal.done(begun, told=True)
        journal.close()
        while drain(node, node.layout.folder, ledger, store).take():
            pass
    assert names(journals(node.layout.folder)) == []

    restore_backup(tmp_path / "k", tmp_path / "r", node.halves, clock=real_time)
    assert len(names(journals(tmp_path / "r"))) == 1
    file = open_database(tmp_path / "r" / "records.db", file_key, kind=FileKind.RECORDS)
    with closing(RecordStore(file)) as store:
        made = drain(node, tmp_path / "r", ledger, store)
        # That which was told of the begun change is of later: it may have been made or not.
        assert [made.take() for _ in range(4)] == [1, 1, 0, 0]
        assert store.waiting_parts() == 3
    assert names(journals(tmp_path / "r")) == []
