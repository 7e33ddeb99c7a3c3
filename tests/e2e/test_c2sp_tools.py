"""What independent C2SP tools say of a running consortium: its bundles, its mirrored and served log, and a witness.

The tools are Go's x/mod/sumdb and torchwood, see tests/interop. This file comes before those that stop the demo.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

import sample_data
from medchain.crypto.signing import Ed25519Signer
from medchain.encoding import unbase64
from medchain.node.peers import Limits
from medchain.node.proofs import PROVE_ENTRY
from medchain.tlog.checkpoint import parse_checkpoint, sign_checkpoint
from medchain.tlog.note import KeyType, Note, VerifierKey, parse_note
from medchain.tlog.proof import format_proof, parse_proof
from tests.e2e.running_demo import ORG_IDS, RunningDemo
from tests.interop.tools import LiteWitness, accepted, built, lite_witness, refused
from tests.own_witness import OwnWitness, own_witness
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.engine]

RENHE, BINHAI, ANXIN, TAIHE, COMMISSION = ORG_IDS
BUNDLES = ("record", "absent", "consent-withdrawn", "access", "consent-entry", "carbon-report")
WITNESS = "witness.example/outside"
LARGE = Limits(timeout_s=30, max_bytes=64 << 20)


@pytest.fixture
def policy(demo, tmp_path) -> Path:
    """Give the trusted policy, from where the bundles are not."""
    return Path(shutil.copy(demo.folder / "policy.txt", tmp_path / "trusted.txt"))


@pytest.fixture
def bundle(demo, tmp_path) -> Callable[[str], Path]:
    """Copy a bundle of the demo, to be tampered with."""
    return lambda name: Path(shutil.copytree(demo.folder / "bundles" / name, tmp_path / name))


def mirrored(demo: RunningDemo, org_id: str, folder: Path) -> Path:
    demo.run("log", "mirror", folder, "--config", demo.folder / org_id / "node.toml")
    return folder


def flip(path: Path, at: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1
    path.write_bytes(bytes(content))


def change_note(bundle: Path, change: Callable[[Note], Note], name: str = "entry.tlog-proof") -> None:
    """Put another checkpoint into a proof."""
    proof = parse_proof((bundle / name).read_bytes())
    note = change(parse_note(proof.checkpoint))
    (bundle / name).write_bytes(format_proof(proof.index, proof.hashes, note.to_bytes()))


def without(note: Note, pattern: str) -> Note:
    kept = tuple(line for line in note.signatures if not re.match(pattern, line.name))
    assert len(kept) < len(note.signatures)
    return Note(note.text, kept)


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_of_the_demo_is_accepted(demo, policy, name):
    report = accepted("bundle", policy, demo.folder / "bundles" / name)
    checkpoint = report["entry"]["checkpoint"]
    signers = {row["name"] for row in checkpoint["signers"]}
    # Four of five organisations, each with Ed25519 and ML-DSA-44.
    assert len({name.split("/")[0] for name in signers}) >= 4
    assert len([name for name in signers if name.endswith("/mldsa44")]) >= 4
    assert len(signers) == 2 * len({name.split("/")[0] for name in signers})
    assert report["map"] == {"absent": "absent", "consent-entry": None}.get(name, "member")
    assert report["state"]["index"] == report["state"]["checkpoint"]["size"] - 1
    assert report["state"]["checkpoint"]["size"] == checkpoint["size"]
    assert report["policy"] == sha256(policy.read_bytes()).hexdigest()
    if name == "absent":
        # What is not there was never accepted.
        assert report["block"] is None
    else:
        assert report["entry"]["index"] < report["block"]["end"] < checkpoint["size"]
        told = demo.run("verify", demo.folder / "bundles" / name, "--policy", policy, "--json")
        assert json.loads(told)["registered"] == report["block"]["time"]


def test_a_time_that_is_not_the_entrys_blocks_is_refused(policy, bundle):
    folder = bundle("record")
    document = json.loads((folder / "block.json").read_bytes())
    for changed in (
        document | {"before": None},
        document | {"before": document["after"]},
        document | {"after": document["before"]},
        document | {"after": document["after"] | {"position": document["after"]["position"] - 1}},
    ):
        (folder / "block.json").write_text(json.dumps(changed))
        assert "block.json" in refused("bundle", policy, folder)


def test_a_flipped_entry_is_refused(policy, bundle):
    folder = bundle("record")
    flip(folder / "entry.bin")
    assert refused("bundle", policy, folder).startswith("entry: torchwood")


def test_a_wrong_root_is_refused(policy, bundle):
    folder = bundle("record")
    other = base64.b64encode(bytes(32)).decode()
    change_note(folder, lambda note: Note(re.sub(r"[^\n]+\n\Z", f"{other}\n", note.text), note.signatures))
    assert "invalid signature" in refused("bundle", policy, folder)


def test_members_below_the_quorum_are_refused_and_a_half_line_is_no_vote(policy, bundle):
    folder = bundle("record")
    change_note(folder, lambda note: without(note, "(?!medchain)(renhe|binhai)-hospital"))
    assert "policy components satisfied" in refused("bundle", policy, folder)
    folder = bundle("access")
    # Both have their Ed25519 line, and without ML-DSA-44 it counts for nothing.
    change_note(folder, lambda note: without(note, "(renhe-hospital|binhai-hospital|anxin-insurance).*/mldsa44"))
    assert "policy components satisfied" in refused("bundle", policy, folder)


@pytest.mark.parametrize("kind", ["ed25519", "mldsa44"])
def test_a_false_cosignature_is_refused(policy, bundle, kind):
    folder = bundle("record")
    text = (folder / "entry.tlog-proof").read_text()
    line = re.search(rf"— \S+/cosigner/{kind} (\S+)\n", text)
    raw = bytearray(base64.b64decode(line.group(1)))
    raw[-1] ^= 1
    (folder / "entry.tlog-proof").write_text(text.replace(line.group(1), base64.b64encode(raw).decode()))
    assert "invalid signature" in refused("bundle", policy, folder)


def test_a_foreign_log_key_is_refused(policy, bundle):
    folder, stranger = bundle("record"), Ed25519Signer(b"stranger" * 4)

    def resign(note: Note) -> Note:
        head = parse_checkpoint(note.text)
        members = tuple(line for line in note.signatures if line.name != head.origin)
        return Note(note.text, (*sign_checkpoint(head, stranger).signatures, *members))

    change_note(folder, resign)
    assert "policy components satisfied" in refused("bundle", policy, folder)
    origin = parse_checkpoint(
        parse_note(parse_proof((folder / "entry.tlog-proof").read_bytes()).checkpoint).text
    ).origin
    key = VerifierKey(origin, KeyType.ED25519, stranger.public)
    other = policy.with_name("other.txt")
    other.write_text(re.sub(r"\Alog \S+", f"log {key}", policy.read_text()))
    refused("bundle", other, bundle("access"))
    # The members vouched for this very tree; but its end names the log that they have, and not the stranger's.
    change_note(folder, resign, "state.tlog-proof")
    assert "other members" in refused("bundle", other, folder)


@pytest.mark.parametrize(("name", "member"), [("record", "value"), ("record", "hash"), ("absent", "hash")])
def test_a_map_proof_that_was_changed_is_refused(policy, bundle, name, member):
    folder = bundle(name)
    document = json.loads((folder / "map.json").read_bytes())
    place = document if member == "value" else document["proof"][-1]
    place[member] = f"{int(place[member], 16) ^ 1:064x}"
    (folder / "map.json").write_text(json.dumps(document))
    assert "root hash" in refused("bundle", policy, folder)


def test_a_present_key_is_not_shown_to_be_absent(policy, bundle):
    # From the proof that a key is present: its leaf as the first node, under another label that shares no more with it.
    folder = bundle("record")
    document = json.loads((folder / "map.json").read_bytes())
    key, value = bytes.fromhex(document["key"]), bytes.fromhex(document.pop("value"))
    leaf = sha256(value + sha256((256).to_bytes(4, "big") + key).digest()).hexdigest()
    label = bytearray(key)
    label[-1] ^= 1
    document["proof"].insert(0, {"bits": 256, "hash": leaf, "label": label.hex()})
    (folder / "map.json").write_text(json.dumps(document))
    (folder / "record.json").unlink()
    absence = {"type": "medchain/absence/v1", "value": value.hex()}
    (folder / "absence.json").write_text(json.dumps(absence))
    # torchwood accepts it; the value that must bind the label gives it away (docs/spec/log.md 16).
    assert "not bound" in refused("bundle", policy, folder)


def exported(demo: RunningDemo, org_id: str, operation: str, folder: Path, **asked: object) -> Path:
    with demo.consortium() as nodes:
        files = nodes.nodes[org_id].local.call(operation, asked, LARGE)["files"]
    folder.mkdir()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(unbase64(text, max_bytes=64 << 20))
    return folder


def test_growth_since_an_earlier_checkpoint_is_accepted_and_a_changed_proof_refused(demo, policy, tmp_path):
    old = tmp_path / "checkpoint"
    old.write_bytes(parse_proof((demo.folder / "bundles" / "record" / "state.tlog-proof").read_bytes()).checkpoint)
    before = parse_checkpoint(parse_note(old.read_bytes()).text).size
    text = next(text for name, text in sample_data.read() if name == "binhai-hospital.p002.json.gz")
    record = demo.post(BINHAI, text)[0]
    words = ("--since", old, "--out", tmp_path / "grown.zip", "--config", demo.folder / BINHAI / "node.toml")

    def is_proven() -> bool:
        try:
            demo.run("record", "prove", record, *words)
        except AssertionError:
            # Not final yet.
            return False
        return True

    assert eventually(is_proven)
    assert demo.run("verify", tmp_path / "grown.zip", "--policy", policy)
    grown = tmp_path / "grown"
    shutil.unpack_archive(tmp_path / "grown.zip", grown)
    report = accepted("bundle", policy, grown)
    assert report["consistency"] == before < report["state"]["checkpoint"]["size"]
    lines = (grown / "consistency.txt").read_text().split("\n")
    assert lines.index("") > 1
    lines[1] = base64.b64encode(bytes(32)).decode()
    (grown / "consistency.txt").write_text("\n".join(lines))
    assert "consistency.txt: x/mod" in refused("bundle", policy, grown)


def test_each_of_several_objects_that_one_bundle_proves_is_accepted(demo, policy, tmp_path):
    text = next(text for name, text in sample_data.read() if name == "binhai-hospital.p006.json.gz")
    records = demo.post(BINHAI, text)[:3]
    out = tmp_path / "several.zip"

    def is_proven() -> bool:
        try:
            demo.run("record", "prove", *records, "--out", out, "--config", demo.folder / BINHAI / "node.toml")
        except AssertionError:
            # Not final yet.
            return False
        return True

    assert eventually(is_proven)
    told = json.loads(demo.run("verify", out, "--policy", policy, "--json"))
    assert [item["version"] for item in told["items"]] == [1, 1, 1]
    several = tmp_path / "several"
    shutil.unpack_archive(out, several)
    own = [path for path in several.iterdir() if path.is_file()]
    for number, item in enumerate(told["items"]):
        # With the state that all share, an item's files are those of a bundle of its own.
        folder = tmp_path / str(number)
        folder.mkdir()
        for path in (
            *own,
            several / "items" / str(number) / "map.json",
            several / "items" / str(number) / "record.json",
        ):
            shutil.copy(path, folder)
        report = accepted("bundle", policy, folder)
        assert (report["map"], json.loads((folder / "map.json").read_bytes())["key"]) == ("member", item["object"])
        flip(folder / "record.json")
        assert "record.json" in refused("bundle", policy, folder)


def test_a_mirror_is_accepted_and_extends_what_a_bundle_was_made_of(demo, policy, tmp_path):
    old = tmp_path / "old"
    old.write_bytes(parse_proof((demo.folder / "bundles" / "record" / "entry.tlog-proof").read_bytes()).checkpoint)
    folder = mirrored(demo, TAIHE, tmp_path / "mirror")
    report = accepted("mirror", policy, folder, old)
    assert report["entries"] == report["checkpoint"]["size"] > report["old"] > 10
    files = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    assert [name for name in files if not name.startswith("tile/")] == ["checkpoint"]
    assert len(files) == 1 + report["tiles"] + -(-report["entries"] // 256)
    flip(bundle_of(folder))
    assert "entries" in refused("mirror", policy, folder)


def bundle_of(folder: Path) -> Path:
    return next(path for path in sorted((folder / "tile" / "entries").rglob("*")) if path.is_file())


def test_the_served_log_is_the_mirrored_one(demo, policy, tmp_path):
    folder = mirrored(demo, COMMISSION, tmp_path / "mirror")
    state = json.loads((demo.folder / COMMISSION / "run" / "daemon.json").read_bytes())
    secret = {"INTEROP_AUTHORIZATION": f"MedChain-Local {state['secret']}"}
    report = accepted("served", policy, f"{state['local']}/log", folder / "checkpoint", environment=secret)
    assert report["entries"] >= report["old"]
    served = {row["path"]: row for row in report["headers"]}
    # C2SP tlog-tiles: types, a checkpoint that is not kept, tiles that are.
    head = served.pop("/log/checkpoint")
    assert (head["content_type"], head["cache_control"]) == ("text/plain; charset=utf-8", "private, no-cache")
    assert {row["content_type"] for row in served.values()} == {"application/octet-stream"}
    assert {row["cache_control"] for row in served.values()} == {"private, max-age=31536000, immutable"}
    assert any(path.startswith("/log/tile/entries/") for path in served)


def log_key(policy: Path) -> str:
    (key,) = re.findall(r"^log (\S+)$", policy.read_text(), re.MULTILINE)
    return key


@pytest.fixture(scope="module", params=[lite_witness, own_witness], ids=["litewitness", "ours"])
def witness(demo, tmp_path_factory, request) -> Iterator[LiteWitness | OwnWitness]:
    """Run a witness, and have one node of the demo show it the log; its settings are as before afterwards."""
    node = demo.folder / TAIHE
    settings = (node / "node.toml").read_text()
    assert settings.count('# file = ""') == 1
    with request.param(tmp_path_factory.mktemp("witness"), WITNESS) as running:
        key = log_key(demo.folder / "policy.txt")
        running.trust(key.split("+")[0], key)
        (node / "witnesses.txt").touch(mode=0o600)
        lines = [f"{row} {running.url}\n" for row in rows_of(running)]
        (node / "witnesses.txt").write_text("".join(["# outside\n", *lines]))
        (node / "node.toml").write_text(settings.replace('# file = ""', 'file = "witnesses.txt"'))
        restart(demo)
        yield running
    (node / "node.toml").write_text(settings)


def rows_of(witness: LiteWitness | OwnWitness) -> list[str]:
    """Name each key of a witness, as a policy does."""
    return [f"witness outside{number} {vkey}" for number, vkey in enumerate(witness.vkeys)]


def restart(demo: RunningDemo) -> None:
    """Have the supervisor start one node's daemon anew, with the settings of now."""
    old = demo.daemon_pid(TAIHE)
    os.kill(old, signal.SIGTERM)
    assert eventually(lambda: is_up(demo, old))


def is_up(demo: RunningDemo, old: int) -> bool:
    try:
        return demo.daemon_pid(TAIHE) != old
    except OSError:
        return False


def standing(demo: RunningDemo) -> dict[str, object]:
    said = json.loads(demo.run("log", "witnesses", "--config", demo.folder / TAIHE / "node.toml", "--json"))
    return said["witnesses"][0]


def test_a_third_partys_witness_cosigns_and_its_line_goes_into_checkpoint_mirror_and_bundle(
    demo, policy, witness, tmp_path
):
    origin = log_key(policy).split("+")[0]

    def is_witnessed() -> bool:
        row = standing(demo)
        return row["size"] > 0 and row["code"] == ""

    assert eventually(is_witnessed)
    # The log may have grown between the two questions.
    assert eventually(lambda: standing(demo)["size"] == witness.size(origin))

    # Under a policy that demands it, the outside line counts; under the members' own it is an unknown one.
    strict = tmp_path / "strict.txt"
    members = policy.read_text().split()[-1]
    rows = rows_of(witness)
    outside = f"group outside all {' '.join(row.split()[1] for row in rows)}"
    both = "\n".join([*rows, outside, f"group both all {members} outside", "quorum both"])
    strict.write_text(policy.read_text().replace(f"quorum {members}", both))
    folder = tmp_path / "mirror"

    def is_mirrored_with_the_line() -> bool:
        return WITNESS in (mirrored(demo, TAIHE, folder) / "checkpoint").read_text()

    assert eventually(is_mirrored_with_the_line)
    assert accepted("mirror", policy, folder)["checkpoint"]["unknown"] == [WITNESS] * len(rows)
    assert WITNESS in [row["name"] for row in accepted("mirror", strict, folder)["checkpoint"]["signers"]]
    other = mirrored(demo, COMMISSION, tmp_path / "other")
    assert "policy components satisfied" in refused("mirror", strict, other)

    bundle = exported(demo, TAIHE, PROVE_ENTRY, tmp_path / "entry", position=5)
    accepted("bundle", policy, bundle)
    if WITNESS in (bundle / "entry.tlog-proof").read_text():
        accepted("bundle", strict, bundle)
    demo.run("verify", bundle, "--policy", policy)

    # It grows: a consistency proof from what the witness has seen.
    size = witness.size(origin)
    text = next(text for name, text in sample_data.read() if name == "renhe-hospital.p003.json.gz")
    demo.post(RENHE, text)
    assert eventually(lambda: witness.size(origin) > size)
    # A node that has forgotten where the witness is asks it.
    grown = witness.size(origin)
    restart(demo)
    assert eventually(is_witnessed)
    assert witness.size(origin) >= grown


def test_a_witness_that_has_seen_another_history_is_told(demo, consortium, policy, witness):
    origin = log_key(policy).split("+")[0]
    # What is on its way to the witness would take the place of what it is made to believe.
    assert eventually(
        lambda: standing(demo)["code"] == "" and witness.size(origin) == consortium.checkpoint(TAIHE).size
    )
    witness.believe(origin, witness.size(origin), bytes(32))
    text = next(text for name, text in sample_data.read() if name == "binhai-hospital.p006.json.gz")
    demo.post(BINHAI, text)
    assert eventually(lambda: standing(demo)["code"] == "witness.disputed")
    assert "witness.disputed" in demo.run("status", "--config", demo.folder / TAIHE / "node.toml", "--json")


def test_the_tools_are_those_that_go_mod_names():
    assert (built() / "interop").is_file()
    assert (built() / "litewitness").is_file()
