"""Reading bundles within bounds, and mirroring a log from a daemon's own server."""

from __future__ import annotations

import zipfile

import pytest

from medchain.commands import checking
from medchain.commands.checking import read_bundle
from medchain.crypto.signing import Ed25519Signer
from medchain.errors import InputError, NotFoundError
from medchain.node.config import Address
from medchain.node.keystore import Layout
from medchain.node.local import write_state
from medchain.tlog.checkpoint import Checkpoint, sign_checkpoint
from medchain.tlog.merkle import Frontier, leaf_hash
from medchain.tlog.tiles import TILE_WIDTH, entry_bundle, tiles_for_append
from medchain.web.peer import log_routes
from medchain.web.routing import Router
from medchain.web.server import DaemonServer

FILES = {"entry.bin": b"leaf", "policies/01/policy.txt": b"log"}


def put(folder, files=FILES):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def packed(path, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_folder_and_its_zip_are_read_alike(tmp_path):
    assert read_bundle(put(tmp_path / "b")) == read_bundle(packed(tmp_path / "b.zip")) == FILES


def test_a_symbolic_link_is_refused(tmp_path):
    put(tmp_path / "b")
    (tmp_path / "b" / "state.bin").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match=r"bundle\.link"):
        read_bundle(tmp_path / "b")


def test_a_symbolic_link_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        item = zipfile.ZipInfo("entry.bin")
        item.external_attr = 0o120777 << 16
        archive.writestr(item, "/etc/passwd")
    with pytest.raises(InputError, match=r"bundle\.link"):
        read_bundle(tmp_path / "b.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("entry.bin", b"one")
        archive.writestr("entry.bin", b"two")
    with pytest.raises(InputError, match=r"bundle\.link"):
        read_bundle(tmp_path / "b.zip")


def test_a_zip_that_unpacks_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checking, "MAX_BUNDLE_BYTES", 1000)
    packed(tmp_path / "b.zip", {"a": bytes(600), "b": bytes(401)})
    with pytest.raises(InputError, match=r"bundle\.size"):
        read_bundle(tmp_path / "b.zip")
    assert read_bundle(packed(tmp_path / "c.zip", {"a": bytes(600), "b": bytes(400)}))


def test_513_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"bundle\.files"):
        read_bundle(packed(tmp_path / "b.zip", {str(number): b"" for number in range(513)}))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04" + bytes(40)])
def test_what_is_no_zip_is_refused(tmp_path, content):
    (tmp_path / "b.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"bundle\.format"):
        read_bundle(tmp_path / "b.zip")


def test_a_bundle_that_is_not_there_is_told(tmp_path):
    with pytest.raises(NotFoundError, match=r"file\.missing"):
        read_bundle(tmp_path / "none")


def test_a_damaged_bundle_has_exit_code_2_and_no_verdict(run, tmp_path):
    (tmp_path / "policy.txt").write_text("x")
    ran = run("verify", put(tmp_path / "b"), "--policy", tmp_path / "policy.txt")
    assert (ran.code, ran.out) == (2, "")
    assert run("verify", tmp_path / "b", "--policy", tmp_path / "none").code == 4


class Log:
    """Serves a log of so many leaves."""

    def __init__(self, count: int) -> None:
        """Fill it."""
        self.leaves = [b"leaf %d" % number for number in range(count)]

    def checkpoint(self) -> bytes:
        root = Frontier.empty().append([leaf_hash(leaf) for leaf in self.leaves]).root()
        return sign_checkpoint(Checkpoint("host/log", len(self.leaves), root), Ed25519Signer(b"s" * 32)).to_bytes()

    def tile(self, level: int, index: int, width: int) -> bytes:
        return tiles_for_append(0, [leaf_hash(leaf) for leaf in self.leaves], self)[level, index][: width * 32]

    def entry_bundle(self, index: int, width: int) -> bytes:
        return entry_bundle(self.leaves[index * TILE_WIDTH : index * TILE_WIDTH + width])


@pytest.fixture
def log(node):
    layout = Layout(node.parent)
    layout.create()
    service = Log(300)
    server = DaemonServer(Address("127.0.0.1", 0), Router("local", log_routes(service), local_secret="s" * 64))
    server.start()
    url = f"http://127.0.0.1:{server.address.port}"
    write_state(layout, pid=1, local_url=url, peer_url=url, secret="s" * 64)
    yield service
    server.stop(5)


def test_a_mirror_holds_the_whole_log_and_only_fetches_what_is_new(run, log, node, tmp_path):
    first = run("log", "mirror", tmp_path / "m", "--config", node, "--json")
    # Two bundles of entries, two tiles of level 0 and one of level 1.
    assert (first.code, first.document["size"], first.document["fetched"]) == (0, 300, 5)
    assert (tmp_path / "m" / "checkpoint").read_bytes() == log.checkpoint()
    assert (tmp_path / "m" / "tile" / "entries" / "001.p" / "44").is_file()
    log.leaves += [b"more"]
    second = run("log", "mirror", tmp_path / "m", "--config", node, "--json")
    assert (second.document["size"], second.document["fetched"]) == (301, 2)


def test_a_mirror_whose_entries_do_not_give_the_root_is_refused(run, log, node, tmp_path):
    genuine = log.checkpoint()
    log.checkpoint = lambda: genuine
    log.leaves[7] = b"changed afterwards"
    ran = run("log", "mirror", tmp_path / "m", "--config", node)
    assert (ran.code, "log.root" in ran.err) == (1, True)
    assert not (tmp_path / "m" / "checkpoint").exists()


def test_a_mirror_needs_a_running_node(run, node, tmp_path):
    assert run("log", "mirror", tmp_path / "m", "--config", node).code == 7
