"""Backup and restore: a running node of two, and what is refused."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
import tarfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from medchain.errors import ConflictError, InputError, NotFoundError, UnavailableError, VerificationError
from medchain.ledger.object import map_key
from medchain.ledger.policy import default_policy
from medchain.node import backup as backup_module
from medchain.node.backup import (
    ErasureList,
    check_tag,
    erasures_in,
    erasures_of,
    make_backup,
    read_backup,
    restore_backup,
    unpacked,
)
from medchain.node.deliver import deliver_kind
from medchain.node.erasure import Eraser
from medchain.node.erasure_job import RESTORED_TYPE
from medchain.node.keystore import Layout, open_daemon_keys, open_web_keys, unlock
from medchain.node.ledger_driver import VouchedFile
from medchain.node.local import LocalClient
from medchain.node.records import NewRecord, RecordService
from medchain.node.restored import read_mark
from medchain.store.asks import AskRow
from medchain.store.concerns import ToldRow
from medchain.store.engine import FileKind, open_database
from medchain.store.epochs import Erasure
from medchain.store.keeping import ERASURE
from medchain.store.ledger import LedgerStore
from medchain.store.records import CONCERN, RecordStore
from tests.children import child
from tests.unit.medchain.store.faults import killed
from tests.unit.medchain.web.test_node import RUN, Node, body, ending, found
from tests.waiting import eventually


def real_time() -> int:
    return int(time.time())  # noqa: TID251  # nodes as processes have the real clock


def records_of(node: Node) -> RecordStore:
    key = open_web_keys(node.layout.folder, node.halves).records_database
    return RecordStore(open_database(node.layout.records, key, kind=FileKind.RECORDS))


def service_of(node: Node, ledger: bytes, store: RecordStore) -> RecordService:
    return RecordService(store, ledger, open_web_keys(node.layout.folder, node.halves).records, real_time)


def put_ask(node: Node, ledger: bytes, patient: str) -> AskRow:
    """Have an insurer ask a patient."""
    with closing(records_of(node)) as store:
        token = service_of(node, ledger, store).patient_token(patient)
        row = AskRow(b"\x07" * 16, "anxin-insurance", token, b"{}", 1, 2**40)
        store.put_ask(row)
    return row


def erase(node: Node, ledger: bytes, patient: str) -> bytes:
    """Erase a patient; returns the map key of the entry to come."""
    with closing(records_of(node)) as store:
        eraser = Eraser(node.org_id, store, service_of(node, ledger, store), real_time, os.urandom)
        return map_key("erasure", node.org_id, eraser.erase(patient, "asked for").object_id)


def create(node: Node, ledger: bytes, *names: str) -> None:
    """Put records of a patient each into a node, at once, so that one anchor holds them."""
    with closing(records_of(node)) as store:
        service = service_of(node, ledger, store)
        contents = {name: b'{"resourceType":"Observation","id":"%s"}' % name.encode() for name in names}
        service.create_many(
            [NewRecord("Observation", name, made, f"patient of {name}") for name, made in contents.items()]
        )


def status(node: Node) -> dict[str, object]:
    with closing(LocalClient(node.layout.folder)) as local:
        return local.call("status", {})


def is_final_at(node: Node, size: int) -> bool:
    try:
        return status(node)["final_size"] == size
    except UnavailableError:
        return False


def head(node: Node) -> tuple[int, bytes]:
    return head_of(node.layout.folder, node)


def head_of(folder: Path, node: Node) -> tuple[int, bytes]:
    key = open_daemon_keys(folder, node.halves).ledger_database
    with closing(LedgerStore(open_database(Layout(folder).ledger, key, kind=FileKind.LEDGER))) as store:
        return store.head.size, store.head.root


def is_on_ledger(node: Node, key: bytes) -> bool:
    file_key = open_daemon_keys(node.layout.folder, node.halves).ledger_database
    with closing(LedgerStore(open_database(node.layout.ledger, file_key, kind=FileKind.LEDGER))) as store:
        return store.record(key) is not None


def pending_at(folder: Path, node: Node, *org_ids: str) -> list[object]:
    """What waits in a restored folder to be told to members."""
    key = open_web_keys(folder, node.halves).records_database
    opened = open_database(folder / "records.db", key, kind=FileKind.RECORDS)
    with closing(RecordStore(opened)) as store:
        found = [item for org_id in org_ids for item in store.pending(9, kind=deliver_kind(org_id))]
    return [json.loads(item.payload) for item in found]


def stop(node: Node) -> None:
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(60) == 0


@pytest.mark.e2e
def test_a_restored_node_cosigns_and_serves_nothing_until_it_is_level_with_a_quorum(tmp_path):
    orderer, hospital = Node(tmp_path / "a", "health-commission"), Node(tmp_path / "b", "renhe-hospital")
    ledger = found(orderer, hospital, policy=default_policy()).ledger
    with ending(orderer, hospital):
        orderer.start()
        hospital.start()
        create(hospital, ledger, "o1", "o2")
        # Genesis and its state leaf, the anchor and its state leaf.
        assert eventually(lambda: is_final_at(hospital, 4))
        ask = put_ask(hospital, ledger, "patient of o1")
        made = make_backup(hospital.layout.folder, hospital.org_id, hospital.halves, tmp_path / "k", clock=real_time)
        assert (made.org_id, made.ledger, made.height, made.size) == ("renhe-hospital", ledger, 1, 4)
        create(hospital, ledger, "o3")
        assert eventually(lambda: is_final_at(hospital, 6))
        stop(hospital)
        stop(orderer)
        # The disk is lost before the ledger is told.
        entry = erase(hospital, ledger, "patient of o1")
        promised = VouchedFile(hospital.layout.folder / "vouched.json").load()
        assert promised.size == 6

        # The old node's records can still be read: its erasures count. Promises of three minutes ago bind no more.
        lost = hospital.layout.folder.rename(tmp_path / "lost")
        newer = [erasures_of(lost, hospital.halves)]
        done = restore_backup(
            tmp_path / "k", tmp_path / "b", hospital.halves, clock=lambda: real_time() - 180, newer=newer
        )
        assert (done.destroyed, done.patients, done.is_complete) == (1, 1, True)
        told = {"document": {"type": RESTORED_TYPE}, "org_id": "health-commission"}
        assert pending_at(tmp_path / "b", hospital, "health-commission", "renhe-hospital") == [told]
        assert read_mark(tmp_path / "b").height == 1
        (tmp_path / "b" / "keys" / "root.key").write_bytes((lost / "keys" / "root.key").read_bytes())
        (tmp_path / "b" / "keys" / "root.key").chmod(0o600)

        # Alone, it neither cosigns nor serves.
        hospital.process = None
        start_daemon(hospital)
        assert eventually(lambda: "restore.under_way" in reasons(hospital))
        time.sleep(1)
        assert hospital.status(hospital.peer_port, "/readyz") == 503
        assert hospital.status(hospital.web_port, "/healthz") == 0
        assert VouchedFile(tmp_path / "b" / "vouched.json").load().size == 4

        # With the quorum it is level, and serves once the ledger has the erasure.
        orderer.start()
        assert eventually(lambda: hospital.status(hospital.web_port, "/readyz") == 200)
        assert not (tmp_path / "b" / "restored").exists()
        assert eventually(lambda: is_final_at(hospital, 8))
        create(hospital, ledger, "o4")
        assert eventually(lambda: is_final_at(hospital, 10) and is_final_at(orderer, 10))
        stop(hospital)
        stop(orderer)
        assert head(hospital) == head(orderer)
        assert is_on_ledger(orderer, entry)
        assert VouchedFile(tmp_path / "b" / "vouched.json").load().size == 10
        with closing(records_of(hospital)) as store:
            assert store.asks_of(ask.patient, real_time()) == []
            assert store.pending(1, kind=ERASURE) == []
            # The other one was asked for what it had this node destroy.
            assert store.pending(1, kind=deliver_kind("health-commission")) == []
            assert store.epoch(store.get("Observation", "o1").epoch_id).wrapped_key is None
            assert store.epoch(store.get("Observation", "o2").epoch_id).wrapped_key is not None


def start_daemon(node: Node) -> None:
    """Start a node whose web workers do not come."""
    node.process = child([sys.executable, "-c", RUN, str(node.config)])
    assert eventually(lambda: node.status(node.peer_port, "/healthz") == 200)


def reasons(node: Node) -> object:
    return body(node.peer_port, "/readyz").get("reasons", ())


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Node:
    """A node with two records that never ran."""
    made = Node(tmp_path_factory.mktemp("node") / "n")
    create(made, found(made).ledger, "o1", "o2")
    return made


@pytest.fixture
def made(node, tmp_path):
    make_backup(node.layout.folder, node.org_id, node.halves, tmp_path / "k", clock=lambda: 1000)
    return tmp_path / "k"


def test_all_that_a_folder_holds_is_on_the_disk_before_it_gets_its_name(node, tmp_path, monkeypatch):
    """Without the names in it, a power cut leaves a node that has forgotten what it vouched for."""
    synced: list[Path] = []
    sync, rename = backup_module._sync, Path.rename  # noqa: SLF001  # the step between them is what counts

    def noted(path: Path) -> None:
        synced.append(path)
        sync(path)

    def named(self: Path, target: Path) -> Path:
        if self.suffix == ".partial" and self.is_dir():
            assert {self, *self.rglob("*")} <= set(synced)
            synced.clear()
        return rename(self, target)

    monkeypatch.setattr(backup_module, "_sync", noted)
    monkeypatch.setattr(Path, "rename", named)
    make_backup(node.layout.folder, node.org_id, node.halves, tmp_path / "k", clock=lambda: 1000)
    restore_backup(tmp_path / "k", tmp_path / "r", node.halves, clock=lambda: 2000)
    # The name itself, both times.
    assert synced == [tmp_path]


def test_a_backup_is_for_its_owner_alone_and_has_no_root_key(node, made):
    root = (node.layout.folder / "keys" / "root.key").read_bytes()
    for path in (made, *made.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
        assert path.is_dir() or root not in path.read_bytes()
    assert not (made / "keys" / "root.key").exists()
    assert {path.name for path in made.iterdir()} >= {"backup.json", "genesis.json", "records.db", "node.toml", "keys"}


def test_a_list_that_another_root_key_authenticates_is_refused(node, made, tmp_path):
    manifest, tag = read_backup(made)
    check_tag(manifest, tag, node.halves)
    with pytest.raises(VerificationError) as caught:
        restore_backup(made, tmp_path / "r", unlock(bytes(32)), clock=lambda: 2000)
    assert caught.value.code == "backup.tag"
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("old", "new"), [(b'"time":1000', b'"time":9999'), (b'"height":-1', b'"height":-2'), (b'"erasures":[]', None)]
)
def test_a_changed_list_is_refused(node, made, tmp_path, old, new):
    path = made / "backup.json"
    more = b'"erasures":[{"epoch":"%s","time":1}]' % (b"00" * 16)
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, more if new is None else new))
    with pytest.raises(VerificationError) as caught:
        restore_backup(made, tmp_path / "r", node.halves, clock=lambda: 2000)
    assert caught.value.code == "backup.tag"


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"type":"medchain/backup/v1"}'])
def test_what_is_no_list_is_refused(made, content):
    (made / "backup.json").write_bytes(content)
    with pytest.raises(InputError):
        read_backup(made)


def test_a_restore_goes_into_an_empty_folder_and_never_over_something(node, made, tmp_path):
    (tmp_path / "r").mkdir()
    assert restore_backup(made, tmp_path / "r", node.halves, clock=lambda: 2000).files == len(
        read_backup(made)[0].files
    )
    with pytest.raises(ConflictError):
        restore_backup(made, tmp_path / "r", node.halves, clock=lambda: 2000)
    with pytest.raises(ConflictError):
        make_backup(node.layout.folder, node.org_id, node.halves, made, clock=lambda: 2000)


def test_a_damaged_database_makes_no_backup(node, tmp_path):
    copy = tmp_path / "n"
    restore_backup(first(node, tmp_path), copy, node.halves, clock=lambda: 2000)
    content = bytearray((copy / "records.db").read_bytes())
    content[-100] ^= 1
    (copy / "records.db").write_bytes(content)
    with pytest.raises(VerificationError) as caught:
        make_backup(copy, node.org_id, node.halves, tmp_path / "second", clock=lambda: 3000)
    assert caught.value.code == "store.corrupt"
    assert not list(tmp_path.glob("second*"))


def first(node: Node, folder):
    make_backup(node.layout.folder, node.org_id, node.halves, folder / "first", clock=lambda: 1000)
    return folder / "first"


def test_a_restore_that_fails_half_way_leaves_nothing(node, made, tmp_path, monkeypatch):
    def full(_source: object, _target: object) -> None:
        raise OSError(28, "No space left on device", "records.db")

    monkeypatch.setattr(backup_module.shutil, "copyfile", full)
    with pytest.raises(UnavailableError) as caught:
        restore_backup(made, tmp_path / "r", node.halves, clock=lambda: 2000)
    assert caught.value.code == "backup.io"
    assert not list(tmp_path.glob("r*"))


def test_a_restore_that_is_killed_at_any_step_is_there_whole_or_made_by_the_next_call(node, made, tmp_path):
    """At each file that it opens to write, renames or removes: what stands there under its name serves as one."""
    folder, step, is_killed = tmp_path / "r", 0, True

    def restore() -> None:
        seen = 0

        def watch(event: str, words: tuple[object, ...]) -> None:
            nonlocal seen
            writes = event in {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "sqlite3.connect"}
            if writes or (event == "open" and isinstance(words[2], int) and words[2] & os.O_ACCMODE):
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        restore_backup(made, folder, node.halves, clock=lambda: 2000)

    while is_killed:
        step += 1
        is_killed = killed(restore)
        if not folder.exists():
            assert is_killed
            restore_backup(made, folder, node.halves, clock=lambda: 2000)
        mark = read_mark(folder)
        assert (mark.height, mark.restored) == (0, 2000)
        assert head_of(folder, node) == head(node)
        with pytest.raises(ConflictError):
            restore_backup(made, folder, node.halves, clock=lambda: 2000)
        shutil.rmtree(folder)
        assert not list(tmp_path.glob("r*"))
    assert step > 10


def test_the_newest_list_of_erasures_is_the_one_that_counts(node, made, tmp_path):
    with closing(records_of(node)) as store:
        epoch = store.get("Observation", "o2").epoch_id
    newer = [ErasureList(1500, [Erasure(epoch, 1200, None)]), ErasureList(1400)]
    done = restore_backup(made, tmp_path / "r", node.halves, clock=lambda: 2000, newer=newer)
    assert (done.destroyed, done.is_complete) == (1, True)
    mark = read_mark(tmp_path / "r")
    assert (mark.height, mark.restored, mark.erasures_until) == (0, 2000, 1500)
    # A backup of the restored node knows of it.
    make_backup(tmp_path / "r", node.org_id, node.halves, tmp_path / "again", clock=lambda: 3000)
    assert [item.epoch_id for item in read_backup(tmp_path / "again")[0].erasures] == [epoch]


def test_a_newer_backup_tells_whose_erasure_is_to_be_carried_out_again_and_stays_as_it_was(tmp_path):
    node = Node(tmp_path / "n")
    ledger = found(node).ledger
    create(node, ledger, "o1", "o2")
    ask = put_ask(node, ledger, "patient of o1")
    told = ToldRow("tongji-hospital", b"\x09" * 16, 1, 5000, 900, b"{}")
    with closing(records_of(node)) as store:
        service = service_of(node, ledger, store)
        service.create_many([NewRecord(CONCERN, name, b"{}", f"patient of {name}") for name in ("o1", "o2")])
        store.put_told(told.custodian, [told], (), 900)
    make_backup(node.layout.folder, node.org_id, node.halves, tmp_path / "old", clock=lambda: 1000)
    with closing(records_of(node)) as store:
        eraser = Eraser(node.org_id, store, service_of(node, ledger, store), lambda: 1100, os.urandom)
        done = eraser.erase("patient of o1", "asked for")
        # Carried out, as far as this file knows: the backup's own outbox has nothing of it.
        store.settle_erasure(done.intent, done.keys, 7, 1200)
    make_backup(node.layout.folder, node.org_id, node.halves, tmp_path / "new", clock=lambda: 1300)
    newer = erasures_in(tmp_path / "new", node.halves, tmp_path / "list")
    assert (newer.until, len(newer.keys), [item.settled for item in newer.patients]) == (1300, 1, [1200])
    read_backup(tmp_path / "new")
    assert not list(tmp_path.glob("list*"))
    restored = restore_backup(tmp_path / "old", tmp_path / "r", node.halves, clock=lambda: 2000, newer=[newer])
    assert (restored.destroyed, restored.patients) == (1, 1)
    key = open_web_keys(node.layout.folder, node.halves).records_database
    opened = open_database(tmp_path / "r" / "records.db", key, kind=FileKind.RECORDS)
    with closing(RecordStore(opened)) as store:
        assert [item.payload for item in store.pending(9, kind=ERASURE)] == [newer.patients[0].intent]
        assert store.asks_of(ask.patient, 1000) == []
        # What a patient brought goes with the patient, another's and what a regulator was told come back.
        service = service_of(node, ledger, store)
        assert service.read(CONCERN, "o2").content == b"{}"
        with pytest.raises(NotFoundError, match=r"record\.erased"):
            service.read(CONCERN, "o1")
        assert store.told() == [told]


def test_an_erasure_that_was_carried_out_while_the_backup_was_made_is_carried_out_again(tmp_path):
    node = Node(tmp_path / "n")
    ledger = found(node).ledger
    create(node, ledger, "o1", "o2", "o3")
    with closing(records_of(node)) as store:
        eraser = Eraser(node.org_id, store, service_of(node, ledger, store), lambda: 900, os.urandom)
        for name, settled in (("o1", 999), ("o2", 1000)):
            done = eraser.erase(f"patient of {name}", "asked for")
            store.settle_erasure(done.intent, done.keys, 7, settled)
        waiting = eraser.erase("patient of o3", "asked for")
    # The ledger file was copied before the records file, and may hold the bodies still.
    make_backup(node.layout.folder, node.org_id, node.halves, tmp_path / "k", clock=lambda: 1000)
    assert restore_backup(tmp_path / "k", tmp_path / "r", node.halves, clock=lambda: 2000).patients == 1
    key = open_web_keys(node.layout.folder, node.halves).records_database
    opened = open_database(tmp_path / "r" / "records.db", key, kind=FileKind.RECORDS)
    with closing(RecordStore(opened)) as store:
        assert sorted(str(item.settled) for item in store.patient_erasures()) == ["999", "None", "None"]
        first, second = store.pending(9, kind=ERASURE)
        assert (first.id, second.id > first.id) == (waiting.intent, True)


def test_a_restore_without_a_newer_list_counts_from_the_backup(node, made, tmp_path):
    assert not restore_backup(made, tmp_path / "r", node.halves, clock=lambda: 2000).is_complete
    assert read_mark(tmp_path / "r").erasures_until == 1000


def test_one_file_holds_the_same(node, tmp_path):
    make_backup(node.layout.folder, node.org_id, node.halves, tmp_path / "k.tar", clock=lambda: 1000)
    assert (tmp_path / "k.tar").stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == ["k.tar"]
    with unpacked(tmp_path / "k.tar", tmp_path / "u") as source:
        manifest, tag = read_backup(source)
        check_tag(manifest, tag, node.halves)
        restore_backup(source, tmp_path / "r", node.halves, clock=lambda: 2000)
    assert not (tmp_path / "u").exists()
    assert Layout(tmp_path / "r").records.exists()


def test_a_file_that_is_no_archive_of_ours_is_refused_and_writes_nowhere_else(tmp_path):
    (tmp_path / "no.tar").write_bytes(b"no archive")
    for name in ("../out", "/out"):
        with tarfile.open(tmp_path / "evil.tar", "w") as archive:
            item = tarfile.TarInfo(name)
            item.size = 1
            archive.addfile(item, io.BytesIO(b"x"))
        with pytest.raises(InputError), unpacked(tmp_path / "evil.tar", tmp_path / "u"):
            pass
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    for name in ("no.tar", "link.tar"):
        with pytest.raises(InputError), unpacked(tmp_path / name, tmp_path / "u"):
            pass
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "u").exists()
