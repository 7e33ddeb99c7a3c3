"""Mirroring a log from a daemon's own server, and what is told of outside witnesses."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from medchain.crypto.signing import Ed25519Signer
from medchain.encoding import Json
from medchain.ledger.machine import state_leaf
from medchain.node.config import Address
from medchain.node.keystore import Layout
from medchain.node.local_state import write_state
from medchain.node.witness_file import log_lines, parse_logs
from medchain.tlog.checkpoint import Checkpoint, cosign, parse_checkpoint, sign_checkpoint
from medchain.tlog.merkle import Frontier, leaf_hash
from medchain.tlog.note import KeyType, VerifierKey, parse_note
from medchain.tlog.tiles import TILE_WIDTH, entry_bundle, tiles_for_append
from medchain.web.peer import local_routes, log_routes
from medchain.web.routing import Router
from medchain.web.server import DaemonServer
from tests.unit.medchain.store.faults import room_for

SECRET = "s" * 64


class Log:
    """Serves a log of so many leaves, and tells of witnesses."""

    def __init__(self, count: int) -> None:
        """Fill it."""
        self.leaves = [b"leaf %d" % number for number in range(count)]
        self.origin = "host/log"
        self.told: Json = None

    def checkpoint(self) -> bytes:
        root = Frontier.empty().append([leaf_hash(leaf) for leaf in self.leaves]).root()
        return sign_checkpoint(Checkpoint(self.origin, len(self.leaves), root), Ed25519Signer(b"s" * 32)).to_bytes()

    def tile(self, level: int, index: int, width: int) -> bytes:
        return tiles_for_append(0, [leaf_hash(leaf) for leaf in self.leaves], self)[level, index][: width * 32]

    def entry_bundle(self, index: int, width: int) -> bytes:
        return entry_bundle(self.leaves[index * TILE_WIDTH : index * TILE_WIDTH + width])

    def operations(self) -> tuple[str, ...]:
        return ("witnesses",)

    def call(self, operation: str, document: Json) -> Json:
        assert (operation, document) == ("witnesses", {})
        return self.told


@pytest.fixture
def log(node):
    layout = Layout(node.parent)
    layout.create()
    service = Log(300)
    router = Router("local", [*log_routes(service), *local_routes(service)], local_secret=SECRET)
    server = DaemonServer(Address("127.0.0.1", 0), router)
    server.start()
    url = f"http://127.0.0.1:{server.address.port}"
    write_state(layout, pid=1, local_url=url, peer_url=url, secret=SECRET)
    yield service
    server.stop(5)


@pytest.fixture
def mirror(run, log, node, tmp_path):
    """Mirror the log, again and again, into one folder."""
    assert log.leaves
    return lambda: run("log", "mirror", tmp_path / "m", "--config", node, "--json")


def test_a_mirror_holds_the_whole_log_and_only_fetches_what_is_new(mirror, log, tmp_path):
    first = mirror()
    # Two bundles of entries, two tiles of level 0 and one of level 1.
    assert (first.code, first.document["size"], first.document["fetched"]) == (0, 300, 5)
    assert (tmp_path / "m" / "checkpoint").read_bytes() == log.checkpoint()
    files = {path.relative_to(tmp_path / "m").as_posix() for path in (tmp_path / "m").rglob("*") if path.is_file()}
    # C2SP tlog-tiles, partial tiles.
    tiles = {"tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"}
    assert files == {"checkpoint", *tiles}
    log.leaves += [b"more"]
    second = mirror()
    assert (second.document["size"], second.document["fetched"]) == (301, 2)


@pytest.mark.parametrize("count", [0, 1, 256, 512])
def test_a_mirror_of_any_size_is_whole(mirror, log, count):
    log.leaves = log.leaves[:count] if count < 300 else [b"leaf %d" % number for number in range(count)]
    assert (mirror().code, mirror().document["fetched"]) == (0, 0)


def test_a_mirror_whose_entries_do_not_give_the_root_is_refused(mirror, log, tmp_path):
    genuine = log.checkpoint()
    log.checkpoint = lambda: genuine
    log.leaves[7] = b"changed afterwards"
    ran = mirror()
    assert (ran.code, "log.root" in ran.err) == (1, True)
    assert not (tmp_path / "m" / "checkpoint").exists()


@pytest.fixture
def trusted(log, tmp_path):
    """End the log as a ledger's is, and give the policy of the one member that has cosigned it."""
    witness, name = Ed25519Signer(b"w" * 32), "one.host/cosigner/ed25519"
    vkey = VerifierKey(name, KeyType.COSIGNATURE_ED25519, witness.public)
    group = f"consortium@{'07' * 32}"
    text = f"log {VerifierKey(log.origin, KeyType.ED25519, Ed25519Signer(b's' * 32).public)}\n"
    text += f"witness one-ed {vkey}\ngroup {group} 1 one-ed\nquorum {group}\n"
    log.leaves.append(state_leaf(1, 5, bytes(32), sha256(text.encode()).digest()))
    bare = log.checkpoint

    def checkpoint():
        note = parse_note(bare())
        return note.add([cosign(parse_checkpoint(note.text), name, witness, 5)]).to_bytes()

    log.checkpoint = checkpoint
    path = tmp_path / "policy.txt"
    path.write_text(text)
    return path


def test_a_mirror_is_held_to_a_trusted_policy(run, node, trusted, tmp_path):
    words = ("log", "mirror", tmp_path / "m", "--config", node, "--policy", trusted)
    assert run(*words).code == 0
    # Without lineage it names nobody, and one that was replaced since names others.
    for old, new, code in (("07" * 32, "08" * 32, "log.other_policy"), ("@" + "08" * 32, "", "policy.unnamed")):
        trusted.write_text(trusted.read_text().replace(old, new))
        ran = run(*words)
        assert (ran.code != 0, code in ran.err) == (True, True)


def test_a_log_that_ends_with_no_state_or_another_is_not_mirrored_under_a_policy(run, log, node, trusted, tmp_path):
    words = ("log", "mirror", tmp_path / "m", "--config", node, "--policy", trusted)
    genuine = log.leaves.pop()
    for leaves in ([b"leaf"], [genuine, b"leaf"], [state_leaf(1, 5, bytes(32), bytes(32))]):
        log.leaves[300:] = leaves
        ran = run(*words)
        assert (ran.code, "log.other_policy" in ran.err) == (1, True)
        assert [path for path in (tmp_path / "m").rglob("*") if path.is_file()] == []
    kept, log.leaves = log.leaves[:300], []
    assert "log.other_policy" in run(*words).err
    log.leaves = [*kept, genuine]
    assert run(*words).code == 0


def test_a_log_that_the_quorum_has_not_cosigned_is_not_mirrored_under_a_policy(run, log, node, trusted, tmp_path):
    cosigned = log.checkpoint()
    log.checkpoint = lambda: cosigned.rsplit("— one.host".encode(), 1)[0]
    ran = run("log", "mirror", tmp_path / "m", "--config", node, "--policy", trusted)
    assert (ran.code, "tlog.quorum" in ran.err) == (1, True)
    assert not (tmp_path / "m" / "checkpoint").exists()


def test_what_a_refused_log_gave_is_not_kept_for_a_later_one(mirror, log, tmp_path):
    """The node's disk gave one wrong byte, once: what the folder got must not refuse the genuine log for ever."""
    genuine, kept = log.tile, log.checkpoint()
    log.tile = lambda level, index, width: genuine(level, index, width)[:-1] + b"?"
    assert mirror().code == 1
    assert [path for path in (tmp_path / "m").rglob("*") if path.is_file()] == []
    log.tile = genuine
    assert mirror().code == 0
    assert (tmp_path / "m" / "checkpoint").read_bytes() == kept


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000"])
@pytest.mark.parametrize("grown", [False, True])
def test_a_damaged_file_of_the_mirror_is_fetched_again_and_told(mirror, log, tmp_path, name, grown):
    """Cut, or another than it was: it is not taken for a log that was rewritten."""
    assert mirror().code == 0
    path = tmp_path / "m" / name
    genuine = path.read_bytes()
    log.leaves += [b"more"] if grown else []
    for wrong in (genuine[:-1], genuine[:-1] + b"?"):
        path.write_bytes(wrong)
        ran = mirror()
        needed = not grown or "001.p" not in name
        assert (ran.code, ran.document["replaced"]) == (0, [name] if needed else [])
        assert (path.read_bytes() == genuine) is needed
    assert not (tmp_path / "m" / ".unchecked").exists()


def test_what_was_fetched_again_is_told_at_the_terminal(mirror, run, node, tmp_path):
    assert mirror().code == 0
    (tmp_path / "m" / "tile" / "0" / "000").write_bytes(b"?")
    ran = run("log", "mirror", tmp_path / "m", "--config", node)
    assert "tile/0/000 of the mirror was not what the log has" in ran.out


@pytest.mark.parametrize("name", ["tile/0/000", "tile/entries/000"])
def test_a_wrong_file_in_a_folder_without_a_checkpoint_is_fetched_again(mirror, log, tmp_path, name):
    """As calls of before, that were interrupted or refused, could leave it."""
    path = tmp_path / "m" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"?")
    ran = mirror()
    assert (ran.code, ran.document["replaced"], ran.document["size"]) == (0, [name], 300)
    assert log.leaves[0] in (tmp_path / "m" / "tile" / "entries" / "000").read_bytes()


def test_a_damaged_mirror_of_a_log_that_is_wrong_itself_blames_nobody_else(mirror, log, tmp_path):
    """Nothing of either fits: nothing is put into its place."""
    assert mirror().code == 0
    path = tmp_path / "m" / "tile" / "entries" / "000"
    path.write_bytes(path.read_bytes().replace(b"leaf 7", b"leaf 8", 1))
    kept = {file: file.read_bytes() for file in (tmp_path / "m").rglob("*") if file.is_file()}
    log.leaves[9] = b"rewritten"
    log.leaves += [b"more"]
    ran = mirror()
    assert (ran.code, "log.mirror_damaged" in ran.err, "tile/0/000" in ran.err) == (1, True, True)
    assert {file: file.read_bytes() for file in (tmp_path / "m").rglob("*") if file.is_file()} == kept


def test_what_an_interrupted_call_fetched_is_used_and_checked_by_the_next(mirror, log, tmp_path):
    waiting = tmp_path / "m" / ".unchecked" / "tile" / "0"
    waiting.mkdir(parents=True)
    (waiting / "000").write_bytes(log.tile(0, 0, 256))
    asked = []
    genuine = log.tile
    log.tile = lambda level, index, width: asked.append((level, index)) or genuine(level, index, width)
    assert mirror().document["fetched"] == 5
    assert (0, 0) not in asked
    (tmp_path / "m" / "tile" / "0" / "000").unlink()
    waiting.mkdir(parents=True)
    (waiting / "000").write_bytes(b"cut")
    assert mirror().code == 0
    assert (tmp_path / "m" / "tile" / "0" / "000").read_bytes() == genuine(0, 0, 256)


def test_a_mirror_that_finds_no_room_says_so_claims_nothing_and_goes_on_when_there_is(mirror, log, tmp_path):
    assert mirror().code == 0
    kept = (tmp_path / "m" / "checkpoint").read_bytes()
    log.leaves += [b"leaf %d" % number + bytes(60) for number in range(300, 600)]
    asked = []
    genuine = log.tile
    log.tile = lambda level, index, width: asked.append((level, index)) or genuine(level, index, width)
    # A tile of 256 hashes has room, a bundle of as many entries has none.
    with room_for(10_000):
        ran = mirror()
    assert (ran.code, "system.io" in ran.err) == (7, True)
    assert (tmp_path / "m" / "checkpoint").read_bytes() == kept
    assert asked == [(0, 1), (0, 2), (1, 0)]
    assert mirror().document["size"] == 600
    assert asked == [(0, 1), (0, 2), (1, 0)]
    assert not (tmp_path / "m" / ".unchecked").exists()


def test_what_is_checked_needs_no_room_twice(mirror, tmp_path, monkeypatch):
    """A disk that has it for all files once would else never be done with."""
    rename, left = Path.replace, []

    def replace(path: Path, target: Path) -> Path:
        if ".unchecked" not in path.parts:
            waiting = tmp_path / "m" / ".unchecked"
            left.append(sum(file.is_file() for file in waiting.rglob("*")))
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    assert mirror().code == 0
    # The last one is the checkpoint.
    assert left == [5, 4, 3, 2, 1, 0]


def test_a_tile_that_is_another_than_its_entries_is_named(mirror, log):
    genuine = log.tile
    log.tile = lambda level, index, width: genuine(level, index, width)[:-1] + b"?"
    ran = mirror()
    assert (ran.code, "log.tile" in ran.err, "tile/0/000" in ran.err) == (1, True, True)


def test_a_log_that_shrinks_is_refused(mirror, log):
    assert mirror().code == 0
    log.leaves.pop()
    ran = mirror()
    assert (ran.code, "log.older" in ran.err) == (1, True)


def test_another_log_is_refused(mirror, log):
    assert mirror().code == 0
    log.origin = "host/other"
    ran = mirror()
    assert (ran.code, "log.older" in ran.err) == (1, True)


def test_a_rewritten_log_is_refused_and_the_old_checkpoint_stays(mirror, log, tmp_path):
    assert mirror().code == 0
    kept = (tmp_path / "m" / "checkpoint").read_bytes()
    # In the partial bundle, of which the mirror fetches the longer one anew.
    log.leaves[299] = b"rewritten"
    log.leaves += [b"more"]
    ran = mirror()
    assert (ran.code, "log.rewritten" in ran.err) == (1, True)
    assert (tmp_path / "m" / "checkpoint").read_bytes() == kept


def test_a_mirror_needs_a_running_node(run, node, tmp_path):
    assert run("log", "mirror", tmp_path / "m", "--config", node).code == 7


KEYS = [{"key": "host/log+aa+bb", "org_id": "a"}, {"key": "host/log+cc+dd", "org_id": "b"}]
ROW = {"code": "", "keys": ["w+1+2"], "name": "w", "size": 300, "time": 1_795_000_000, "url": "https://w.example"}


def test_witnesses_are_told_with_the_keys_that_they_must_know(run, log, node):
    amiss = ROW | {"code": "witness.disputed", "name": "v", "time": 0}
    log.told = {"log": {"keys": KEYS, "orderer": "b", "origin": "host/log"}, "witnesses": [ROW, amiss]}
    told = run("log", "witnesses", "--config", node).out.splitlines()
    assert told == [
        "origin of the log: host/log",
        "log key (a): host/log+aa+bb",
        "log key (b, orders now): host/log+cc+dd",
        "w (https://w.example): has cosigned 300 entries, at 2026-11-18T11:06:40Z",
        "v (https://w.example): witness.disputed; had cosigned 300 entries, at -",
    ]
    assert run("log", "witnesses", "--config", node, "--json").document == log.told


def test_the_keys_are_written_for_a_witness_which_takes_them_as_they_are(run, log, node, tmp_path):
    keys = [VerifierKey("host/log", KeyType.ED25519, Ed25519Signer(seed * 32).public) for seed in (b"a", b"b")]
    rows = [{"key": str(key), "org_id": org_id} for key, org_id in zip(keys, "ab", strict=True)]
    log.told = {"log": {"keys": rows, "orderer": "b", "origin": "host/log"}, "witnesses": []}
    words = ("log", "witnesses", "--config", node, "--out", tmp_path / "logs.txt")
    ran = run(*words)
    assert (ran.code, "logs.txt" in ran.err) == (0, True)
    assert parse_logs((tmp_path / "logs.txt").read_bytes()) == tuple(keys)
    # Members change: the guide has the list written anew, under the name that the witness was given.
    log.told["log"]["keys"] = rows[:1]
    assert run(*words).code == 0
    assert parse_logs((tmp_path / "logs.txt").read_bytes()) == tuple(keys[:1])


@pytest.mark.parametrize("there", ["", "notes\n", "# the first consortium's\n{own}", "{own}{other}", "{other}"])
def test_keys_take_the_place_of_no_file_but_an_older_list_of_the_same_log(run, log, node, tmp_path, there):
    own, other = (
        VerifierKey(name, KeyType.ED25519, Ed25519Signer(name[:1].encode() * 32).public)
        for name in ("host/log", "v/log")
    )
    log.told = {
        "log": {"keys": [{"key": str(own), "org_id": "a"}], "orderer": "a", "origin": own.name},
        "witnesses": [],
    }
    out, text = tmp_path / "logs.txt", there.format(own=log_lines([own]), other=log_lines([other]))
    out.write_text(text)
    ran = run("log", "witnesses", "--config", node, "--out", out)
    assert (ran.code, out.read_text()) == (6, text)


def test_no_witness_is_told_too(run, log, node):
    log.told = {"log": {"keys": [], "orderer": "b", "origin": "host/log"}, "witnesses": []}
    assert "witnesses.file" in run("log", "witnesses", "--config", node, "--lang", "zh").out
