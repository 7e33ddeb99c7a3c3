"""The script that checks proofs in the page, run by Node.js on published vectors and on their tampered twins."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import pytest

from medchain.crypto.signing import Ed25519Signer
from medchain.encoding import base64_text, canonical, parse_canonical
from medchain.errors import InputError
from medchain.ledger.bundle import ANSWER_TYPE
from medchain.ledger.genesis import GENESIS_TYPE
from medchain.ledger.lineage import members_policy
from medchain.ledger.machine import STATE_TYPE
from medchain.ledger.object import StateRecord
from medchain.ledger.registered import BlockEnd, write_block
from medchain.tlog.checkpoint import Checkpoint, cosign, sign_checkpoint
from medchain.tlog.merkle import leaf_hash, node_hash
from medchain.tlog.note import KeyType, VerifierKey
from medchain.tlog.policy import Policy
from medchain.tlog.proof import format_proof
from medchain.tlog.statemap import MapRoot, prove, update
from tests.unit.consent.web.odd_policies import odd_policies

VECTORS = Path(__file__).parents[3] / "vectors" / "tlog"
HARNESS = """import { check, membersText, ProofError, readPolicy, unzip, verifyProof } from "./proof.mjs";
import { readFileSync } from "node:fs";
const [what, policy, ...bundles] = process.argv.slice(2);
const text = readFileSync(policy, "utf8");
const entry = async (data) => {
  const files = await unzip(data, 512);
  return verifyProof(files.get("entry.tlog-proof"), files.get("entry.bin"), readPolicy(text));
};
const who = (found) => ({ index: found.index, who: found.tree.cosigners.size });
const refused = (error) => { if (error instanceof ProofError) return null; throw error; };
const told = [];
for (const one of what === "policies" ? JSON.parse(text) : []) {
  let policy = null;
  try { policy = readPolicy(one); } catch (error) { refused(error); }
  try { told.push(policy && membersText(policy)); } catch (error) { told.push(refused(error) ?? ""); }
}
for (const name of bundles) {
  const data = new Uint8Array(readFileSync(name));
  try { told.push(what === "entry" ? who(await entry(data)) : await check(data, text, 1_800_000_000)); }
  catch (error) { told.push(error instanceof ProofError ? error.code : String(error.stack)); }
}
console.log(JSON.stringify(told));
"""

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")


def vector(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


def packed(method: int = zipfile.ZIP_DEFLATED, **members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return made.getvalue()


def judged(folder: Path, *bundles: bytes, policy: bytes | None = None, what: str = "bundle") -> list:
    """Have the script judge bundles, or of each its entry alone: the vectors are of no ledger."""
    (folder / "proof.mjs").write_bytes((files("consent.web") / "static" / "proof.js").read_bytes())
    (folder / "harness.mjs").write_text(HARNESS)
    (folder / "policy.txt").write_bytes(policy or vector("policy.txt"))
    for number, content in enumerate(bundles):
        (folder / f"{number}.zip").write_bytes(content)
    words = ["node", "harness.mjs", what, "policy.txt", *(f"{number}.zip" for number in range(len(bundles)))]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def entry(number: int, proof: bytes | None = None) -> bytes:
    proof = vector(f"entry-{number}.tlog-proof") if proof is None else proof
    return packed(**{"entry__bin": vector(f"entry-{number}.bin"), "entry__tlog-proof": proof})


def test_published_entries_verify_packed_or_plain(tmp_path):
    numbers = (0, 516, 1000, 1033)
    plain = packed(
        zipfile.ZIP_STORED,
        **{"entry__bin": vector("entry-0.bin"), "entry__tlog-proof": vector("entry-0.tlog-proof")},
    )
    told = judged(tmp_path, *(entry(number) for number in numbers), plain, what="entry")
    assert [verdict["index"] for verdict in told] == [*numbers, 0]
    assert all(verdict["who"] for verdict in told)


def test_a_checkpoint_without_a_quorum_is_refused(tmp_path):
    bundle = packed(**{"entry__bin": vector("entry-1000.bin"), "entry__tlog-proof": vector("bad-quorum.tlog-proof")})
    assert judged(tmp_path, bundle, what="entry") == ["tlog.quorum"]


def test_another_entry_another_place_and_a_flipped_byte_are_refused(tmp_path):
    proof = vector("entry-516.tlog-proof")
    other = packed(**{"entry__bin": vector("entry-5.bin"), "entry__tlog-proof": proof})
    moved = entry(516, proof.replace(b"index 516", b"index 517"))
    lines = proof.split(b"\n")
    flipped = [lines[2][:3] + (b"A" if lines[2][3:4] != b"A" else b"B") + lines[2][4:]]
    changed = entry(516, b"\n".join([*lines[:2], *flipped, *lines[3:]]))
    assert judged(tmp_path, other, moved, changed, what="entry") == ["tlog.inclusion"] * 3


def test_a_checkpoint_whose_size_was_changed_bears_no_signature(tmp_path):
    proof = vector("entry-1033.tlog-proof").decode()
    size = proof.split("\n\n")[1].split("\n")[1]
    forged = proof.replace(f"\n{size}\n", f"\n{int(size) + 1}\n")
    assert judged(tmp_path, entry(1033, forged.encode()), what="entry") == ["tlog.signature"]


def test_the_policy_of_strangers_refuses(tmp_path):
    rows = [row for row in vector("policy.txt").decode().split("\n") if not row.startswith("log ")]
    log = f"log {VerifierKey('example.org/other', KeyType.ED25519, LOG.public)}"
    policy = "\n".join([log, *rows]).encode()
    assert judged(tmp_path, entry(0), policy=policy, what="entry") == ["tlog.log_signature"]


@pytest.mark.parametrize("content", [b"", b"PK", b"\x00" * 100, b"not a zip" * 20])
def test_what_is_no_bundle_is_said_to_be_none(tmp_path, content):
    assert judged(tmp_path, content) == ["bundle.format"]


def test_a_file_that_unpacks_to_more_than_it_says_is_refused(tmp_path):
    bundle = bytearray(packed(**{"entry__bin": b"a" * 100_000, "entry__tlog-proof": b""}))
    at = bundle.find(b"PK\x01\x02")
    bundle[at + 24 : at + 28] = (10).to_bytes(4, "little")
    assert judged(tmp_path, bytes(bundle)) == ["bundle.format"]


LOG, WITNESS = Ed25519Signer(b"l" * 32), Ed25519Signer(b"w" * 32)
ORIGIN, COSIGNER = "log.example/ledger", "org.log.example/cosigner/ed25519"
STATE_POLICY = (
    f"log {VerifierKey(ORIGIN, KeyType.ED25519, LOG.public)}\n"
    f"witness org-ed {VerifierKey(COSIGNER, KeyType.COSIGNATURE_ED25519, WITNESS.public)}\n"
    f"group consortium@{'07' * 32} 1 org-ed\n"
    f"quorum consortium@{'07' * 32}\n"
).encode()

NAME = sha256(STATE_POLICY).hexdigest()


class Pages:
    """Map pages in memory."""

    def __init__(self) -> None:
        """Begin with none."""
        self.pages: dict[bytes, bytes] = {}

    def page(self, key: bytes) -> bytes:
        return self.pages[key]


def version(number: int, since: int, previous: StateRecord | None = None) -> StateRecord:
    """Make a version of the record."""
    before = None if previous is None else previous.digest
    return StateRecord("record", "org", b"\x01" * 16, number, "active", b"\x02" * 32, None, None, (), since, before)


GENESIS = canonical({"type": GENESIS_TYPE})
LEDGER = sha256(GENESIS).hexdigest()


def answer(said: str, position: int, size: int, ledger: str | None = LEDGER, key: str | None = None) -> bytes:
    """Write what a bundle says that it answers."""
    named = {"ledger": ledger, "object": key}
    return canonical({"answer": said, "position": position, "size": size, "type": ANSWER_TYPE} | named)


def of_state(
    files: Mapping[str, bytes | None] | None = None, record: StateRecord | None = None, **change: object
) -> bytes:
    """Make a bundle of a record whose state leaf says what is given, cosigned all the same; with other files."""
    record = record or version(1, 0)
    pages = Pages()
    changed = update(MapRoot.empty(), {record.key: record.digest}, pages)
    pages.pages.update(changed.pages)
    said = {"height": 1, "map_root": changed.root.hash.hex(), "policy": NAME, "time": 5, "type": STATE_TYPE}
    leaves = [GENESIS, canonical({name: value for name, value in (said | change).items() if value is not None})]
    hashes = [leaf_hash(leaf) for leaf in leaves]
    head = Checkpoint(ORIGIN, 2, node_hash(*hashes))
    note = sign_checkpoint(head, LOG).add([cosign(head, COSIGNER, WITNESS, 7)]).to_bytes()
    made = {
        "answer__json": answer("record", 0, 2, key=record.key.hex()),
        "entry__bin": leaves[0],
        "entry__tlog-proof": format_proof(0, [hashes[1]], note),
        "policy__txt": b"",
        "map__json": prove(changed.root, record.key, pages).to_json(),
        "record__json": record.encode(),
        "state__bin": leaves[1],
        "state__tlog-proof": format_proof(1, [hashes[0]], note),
    }
    return packed(**{name: content for name, content in (made | (files or {})).items() if content is not None})


def test_a_record_is_shown_under_a_state_that_names_its_policy(tmp_path):
    (told,) = judged(tmp_path, of_state(), policy=STATE_POLICY)
    assert (told["record"]["kind"], told["time"], told["size"], told["who"]) == ("record", 5, 2, ["org-ed"])
    assert (told["answer"], told["current"], told["registered"]) == ("record", False, None)


def history(*rows: StateRecord) -> dict[str, bytes]:
    """Make the file of earlier versions."""
    return {"history__json": canonical([parse_canonical(row.encode(), max_bytes=4096) for row in rows])}


def test_an_earlier_version_is_shown_by_the_chain_from_the_newest_one(tmp_path):
    first = version(1, 0)
    second = version(2, 7, first)
    told = judged(tmp_path, of_state(history(second, first), version(3, 9, second)), policy=STATE_POLICY)
    assert [(one["position"], one["record"]["version"], one["newest"]) for one in told] == [(0, 1, 3)]


def test_attack_a_record_is_not_dated_by_an_entry_of_another_time(tmp_path):
    """With a file that is no history beside it, any entry would pass for that of the record, and tell when it was."""
    first = version(1, 0)
    late = version(1, 9)
    of_late = [of_state(lie, late) for lie in ({}, {"history__json": b"[]"}, {"history__json": b"{}"}, history(first))]
    others = [of_state(history(first), version(2, 9, version(1, 1))), of_state(history(late), version(2, 9, late))]
    codes = ["entry", "files", "files", "history", "history", "entry"]
    assert judged(tmp_path, *of_late, *others, policy=STATE_POLICY) == [f"bundle.{code}" for code in codes]


def test_a_bundle_of_several_objects_has_no_files_of_one_beside_them(tmp_path):
    assert judged(tmp_path, of_state({"items/0/map__json": b"{}"}), policy=STATE_POLICY) == ["bundle.files"]


def test_a_state_that_names_no_policy_or_is_another_document_is_refused(tmp_path):
    unnamed = [of_state(policy=value) for value in (None, "00", "0g" * 32, 5)]
    other = [of_state(type="medchain/state/v1"), of_state(type="medchain/other/v1")]
    codes = ["bundle.state"] * 4 + ["policy.unnamed", "bundle.state"]
    assert judged(tmp_path, *unnamed, *other, policy=STATE_POLICY) == codes


def test_a_state_that_names_other_members_than_those_of_the_policy_is_refused(tmp_path):
    """Whose quorum cosigned it: former members, or those of a branch that was dropped."""
    former = STATE_POLICY.replace(b"07" * 32, b"08" * 32)
    assert judged(tmp_path, of_state(policy="00" * 32), policy=STATE_POLICY) == ["bundle.other_policy"]
    assert judged(tmp_path, of_state(), policy=former) == ["bundle.other_policy"]


def test_a_bundle_without_the_end_of_its_tree_is_refused(tmp_path):
    without = [of_state({name: None}) for name in ("state__bin", "state__tlog-proof")]
    assert judged(tmp_path, *without, policy=STATE_POLICY) == ["bundle.state"] * 2


def test_a_policy_without_lineage_verifies_nothing(tmp_path):
    bare = STATE_POLICY.replace(b"@" + b"07" * 32, b"")
    assert judged(tmp_path, of_state(), policy=bare) == ["policy.unnamed"]


def test_the_members_of_a_policy_are_the_same_however_it_is_written_and_what_it_asks_for_beside_them(tmp_path):
    spaced = b"# mine\n\n" + STATE_POLICY.replace(b" ", b" \t ")
    other = VerifierKey("w.example", KeyType.COSIGNATURE_ED25519, Ed25519Signer(b"x" * 32).public)
    more = f"witness w {other} https://w.example\ngroup both any consortium@{'07' * 32} w\nquorum both\n"
    beside = STATE_POLICY.rpartition(b"quorum")[0] + more.encode()
    for text in (spaced, beside):
        (told,) = judged(tmp_path, of_state(), policy=text)
        assert told["record"]["kind"] == "record"


def test_an_entry_is_shown_without_any_state_of_a_record(tmp_path):
    without = {"answer__json": answer("entry", 0, 2), "map__json": None, "record__json": None}
    (told,) = judged(tmp_path, of_state(without), policy=STATE_POLICY)
    assert (told["position"], told["record"]) == (0, None)


def of_block(index: int = 2, block: tuple[int | None, int] = (1, 3), *, height: int = 1, flip: bool = False) -> bytes:
    """Make a bundle of an entry of a log of two blocks, with the ends that are named as those of its block."""

    def end(height: int, time: int) -> bytes:
        state = {"height": height, "map_root": "00" * 32, "policy": NAME, "time": time, "type": STATE_TYPE}
        return canonical(state)

    # Of an envelope nothing but the ledger is read here: its object is not asked for.
    payload = canonical({"ledger": LEDGER})
    leaves = [
        GENESIS,
        end(0, 5),
        canonical({"payload": base64_text(payload), "payloadType": "", "signatures": []}),
        end(height, 9),
    ]
    one, two, three, four = map(leaf_hash, leaves)
    left, right = node_hash(one, two), node_hash(three, four)
    paths = [[two, right], [one, right], [four, left], [three, left]]
    head = Checkpoint(ORIGIN, 4, node_hash(left, right))
    note = sign_checkpoint(head, LOG).add([cosign(head, COSIGNER, WITNESS, 10)]).to_bytes()

    def proven(at: int) -> BlockEnd:
        return BlockEnd(leaves[at], at, tuple(reversed(paths[at])) if flip else tuple(paths[at]))

    before, after = block
    made = {
        "answer__json": answer("entry", index, 4),
        "policy__txt": b"",
        "block__json": write_block(None if before is None else proven(before), proven(after)),
        "entry__bin": leaves[index],
        "entry__tlog-proof": format_proof(index, paths[index], note),
        "state__bin": leaves[3],
        "state__tlog-proof": format_proof(3, paths[3], note),
    }
    return packed(**made)


def test_when_an_entry_was_accepted_is_told_by_the_ends_of_its_own_block_alone(tmp_path):
    real = [of_block(), of_block(0, (None, 1))]
    others = [of_block(block=(1, 1)), of_block(0, (None, 3)), of_block(block=(None, 3)), of_block(0, (1, 3))]
    others += [of_block(height=2), of_block(flip=True), of_block(block=(0, 3)), of_block(block=(1, 2))]
    told = judged(tmp_path, *real, *others, policy=STATE_POLICY)
    assert [verdict["registered"] for verdict in told[:2]] == [9, 5]
    codes = ["bundle.block"] * 5 + ["tlog.inclusion", "encoding.members", "encoding.members"]
    assert told[2:] == codes


def by_node(text: str) -> str | None:
    """Return what a node takes for the members of a policy; empty for one without, None for one that is none."""
    try:
        policy = Policy.parse(text.encode())
    except InputError:
        return None
    try:
        return members_policy(policy).text.decode()
    except InputError:
        return ""


def test_the_script_reads_a_policy_as_strictly_as_a_node(tmp_path):
    """Every text is refused by both, or by neither; of the others both take out the same members."""
    texts = odd_policies()
    told = judged(tmp_path, policy=json.dumps(texts).encode(), what="policies")
    expected = [by_node(text) for text in texts]
    assert [row for row in zip(texts, told, expected, strict=True) if row[1] != row[2]] == []
    # There are some of each sort, or nothing was compared.
    counts = expected.count(None), expected.count(""), sum(bool(text) for text in expected)
    assert [count > least for count, least in zip(counts, (400, 1, 60), strict=True)] == [True] * 3, counts
