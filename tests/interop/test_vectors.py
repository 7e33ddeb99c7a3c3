"""Our vectors, and logs of many sizes written by our code, in the eyes of x/mod and torchwood."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from medchain.crypto.signing import Ed25519Signer, MlDsa44Signer
from medchain.tlog.checkpoint import Checkpoint, cosign, sign_checkpoint
from medchain.tlog.merkle import Frontier, leaf_hash
from medchain.tlog.note import KeyType, VerifierKey
from medchain.tlog.tiles import TILE_HEIGHT, TILE_WIDTH, entries_path, entry_bundle, tile_path, tiles_for_append
from tests.interop.tools import accepted, refused

pytestmark = pytest.mark.engine

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "tlog"
ORIGIN = "interop.example/log"
TIME = 1_795_000_000
LOG, COSIGNER = Ed25519Signer(b"l" * 32), MlDsa44Signer(b"c" * 32)


@pytest.fixture
def policy():
    """Give the vectors' policy."""
    return VECTORS / "policy.txt"


@pytest.fixture
def bundle(tmp_path):
    """Make a bundle of vectors: name in the bundle → name of the vector."""

    def make(files: Mapping[str, str]) -> Path:
        folder = tmp_path / "bundle"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, vector in files.items():
            shutil.copy(VECTORS / vector, folder / name)
        return folder

    return make


def entry(index: int, name: str = "entry") -> dict[str, str]:
    """Name a leaf of the vectors and its proof."""
    return {f"{name}.bin": f"entry-{index}.bin", f"{name}.tlog-proof": f"entry-{index}.tlog-proof"}


@pytest.mark.parametrize("index", [0, 516, 1000, 1033])
def test_inclusion_of_the_vectors_is_accepted(policy, bundle, index):
    report = accepted("bundle", policy, bundle(entry(index)))
    assert (report["entry"]["index"], report["entry"]["checkpoint"]["size"]) == (index, 1034)


def test_two_of_four_are_no_quorum(policy, bundle):
    files = {"entry.bin": "entry-5.bin", "entry.tlog-proof": "bad-quorum.tlog-proof"}
    assert "policy components satisfied" in refused("bundle", policy, bundle(files))


def test_consistency_of_the_vectors_is_accepted_and_the_bad_one_refused(policy, bundle):
    good = {"consistency.txt": "consistency.txt", "checkpoint-old": "checkpoint-old"}
    assert accepted("bundle", policy, bundle(entry(0) | good))["consistency"] == 517
    bad = good | {"consistency.txt": "consistency-bad.txt"}
    assert "consistency.txt" in refused("bundle", policy, bundle(entry(0) | bad))


def test_an_absence_that_binds_nothing_is_refused(policy, bundle):
    # docs/spec/log.md 16: the vector has no value for its first node, so that another label could stand there.
    state = entry(1000) | entry(1000, "state")
    assert "absence.json" in refused("bundle", policy, bundle(state | {"map.json": "map-absent.json"}))
    assert "root hash" in refused("bundle", policy, bundle(state | {"map.json": "map-bad.json"}))


class Tiles:
    """A log in a folder, written tile by tile as a node writes its own."""

    def __init__(self, folder: Path) -> None:
        """Begin an empty log."""
        self.folder = folder
        self.size = 0
        self.frontier = Frontier.empty()
        self.tiles: dict[tuple[int, int], bytes] = {}
        key = VerifierKey("cosigner.example/pq", KeyType.COSIGNATURE_MLDSA44, COSIGNER.public)
        log_key = VerifierKey(ORIGIN, KeyType.ED25519, LOG.public)
        folder.mkdir()
        self.policy = folder.parent / "log-policy.txt"
        self.policy.write_text(f"log {log_key}\nwitness pq {key}\nquorum pq\n")

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Give a tile's first hashes."""
        return self.tiles[level, index][: width * 32]

    def grow(self, size: int) -> bytes:
        """Append entries up to a size, write what changed, and return the checkpoint."""
        leaves = [b"entry %d" % number for number in range(self.size, size)]
        hashes = [leaf_hash(leaf) for leaf in leaves]
        self.frontier = self.frontier.append(hashes)
        self.tiles |= tiles_for_append(self.size, hashes, self)
        self.size = size
        for level in range(4):
            for index, width in row(size >> TILE_HEIGHT * level):
                self.write(tile_path(level, index, width), self.tiles[level, index][: width * 32])
        for index, width in row(size):
            entries = [b"entry %d" % number for number in range(index * TILE_WIDTH, index * TILE_WIDTH + width)]
            self.write(entries_path(index, width), entry_bundle(entries))
        head = Checkpoint(ORIGIN, size, self.frontier.root())
        note = sign_checkpoint(head, LOG).add([cosign(head, "cosigner.example/pq", COSIGNER, TIME)]).to_bytes()
        self.write("checkpoint", note)
        return note

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the log."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def row(count: int) -> list[tuple[int, int]]:
    """Number the tiles of a level, with their widths."""
    full, rest = divmod(count, TILE_WIDTH)
    return [*((index, TILE_WIDTH) for index in range(full)), *([(full, rest)] if rest else [])]


# At the edges of tiles of one level, and one of three: 65,536 = 256².
SIZES = (1, 2, 255, 256, 257, 512, 700, 65_535, 65_536, 65_793)


def test_logs_of_all_sizes_are_read_whole_and_extend_one_another(tmp_path):
    log = Tiles(tmp_path / "log")
    old: tuple[int, Path] | None = None
    for size in SIZES:
        note = log.grow(size)
        words = ("mirror", log.policy, log.folder)
        report = accepted(*words) if old is None else accepted(*words, old[1])
        assert (report["entries"], report["old"]) == (size, None if old is None else old[0])
        assert report["tiles"] == sum(len(row(size >> 8 * level)) for level in range(4))
        if old is not None:
            # A proof from the same size is empty.
            (tmp_path / "same").write_bytes(note)
            assert accepted(*words, tmp_path / "same")["old"] == size
        old = size, tmp_path / f"checkpoint-{size}"
        old[1].write_bytes(note)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("tile/entries/001", "entries"),
        ("tile/entries/002.p/188", "entries"),
        ("tile/0/001", "tile"),
        ("tile/1/000.p/2", "tile"),
        ("checkpoint", "checkpoint"),
    ],
)
def test_a_flipped_byte_of_a_log_is_refused(tmp_path, name, why):
    log = Tiles(tmp_path / "log")
    log.grow(700)
    path = log.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    assert why in refused("mirror", log.policy, log.folder)


def test_a_log_that_does_not_extend_what_was_seen_is_refused(tmp_path):
    log, other = Tiles(tmp_path / "log"), Tiles(tmp_path / "other")
    log.grow(700)
    other.frontier = other.frontier.append([leaf_hash(b"another history")])
    head = Checkpoint(ORIGIN, 1, other.frontier.root())
    old = tmp_path / "old"
    note = sign_checkpoint(head, LOG).add([cosign(head, "cosigner.example/pq", COSIGNER, TIME)])
    old.write_bytes(note.to_bytes())
    assert "old" in refused("mirror", log.policy, log.folder, old)


def test_the_checker_does_not_take_what_is_not_there(tmp_path, policy):
    (tmp_path / "empty").mkdir()
    assert "entry.bin" in refused("bundle", policy, tmp_path / "empty")
    assert "checkpoint" in refused("mirror", policy, tmp_path / "empty")
