"""Bundles made from a replica verify offline, and nothing but what was proven is believed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from medchain.cli import main
from medchain.crypto.commitment import NO_FIELDS, commitment_of, record_commitment, record_field_root, whole_digest
from medchain.crypto.fields import (
    ShownField,
    field_leaf,
    field_root,
    prove_field,
    prove_fields,
    record_field_leaves,
    record_field_salt,
    record_fields,
)
from medchain.crypto.signing import Ed25519Signer, MlDsa44Signer
from medchain.encoding import canonical
from medchain.errors import ConflictError, InputError, MedchainError, NotFoundError, UnavailableError, VerificationError
from medchain.ledger.bundle import MAX_FILES, Verdict, verify_bundle
from medchain.ledger.genesis import cosigner_name, trusted_policy_text
from medchain.ledger.machine import parse_state_leaf, state_leaf
from medchain.ledger.members import organisation_content
from medchain.ledger.object import StateRecord, build_body, map_key, organisation_id, stop_hash
from medchain.ledger.registered import BlockEnd, write_block
from medchain.ledger.transaction import Change, ObjectRow, Stop, parse_envelope
from medchain.node.replica import Replica
from medchain.node.segments import PartProof, pack, parts_root, prove_part
from medchain.node.trace import (
    MAX_ITEMS,
    WantedItem,
    body_opening,
    export_entry,
    export_items,
    export_object,
    field_opening,
    large_opening,
    part_opening,
    record_opening,
)
from medchain.store.engine import FileKind
from medchain.store.ledger import LedgerStore
from medchain.tlog.checkpoint import Checkpoint, cosign, parse_checkpoint, sign_checkpoint
from medchain.tlog.mapnode import MapNode, leaf_node_hash
from medchain.tlog.merkle import leaf_hash, node_hash
from medchain.tlog.note import KeyType, VerifierKey, parse_note
from medchain.tlog.policy import Policy
from medchain.tlog.proof import format_proof, parse_proof, verify_tlog_proof
from medchain.tlog.statemap import MapProof, MapRoot, prove, update, verify_map
from medchain.tlog.witness import AddCheckpointRequest, verify_add_checkpoint
from tests.unit.medchain.ledger import world as consortium
from tests.unit.medchain.ledger.world import ANXIN, COMMISSION, RENHE, TONGJI, fresh, genesis, sign
from tests.unit.medchain.node.ledgers import Author, block_of, cosigned, pen, replica_on
from tests.unit.medchain.store.conftest import Opener

ORIGIN = "medchain.example/test"
CONTENT, SALT = b'{"resourceType":"Observation","valueQuantity":{"value":5.60}}', b"\x07" * 32
QUORUM = (ANXIN, COMMISSION, RENHE, TONGJI)


def finalise(
    replica: Replica, *, cosigners: tuple[str, ...] = QUORUM, generations: Mapping[str, int] | None = None
) -> None:
    """Cosign the newest block end as the organisations would; with which generation of the Ed25519 key."""
    block = replica.store.block_of_size(replica.size)
    note = parse_note(block.checkpoint.encode())
    checkpoint = parse_checkpoint(note.text)
    for org_id in cosigners:
        for use, maker in (("cosign-ed25519", Ed25519Signer), ("cosign-mldsa44", MlDsa44Signer)):
            generation = (generations or {}).get(org_id, 1) if use == "cosign-ed25519" else 1
            signer = maker(consortium.seed(org_id, use, generation))
            note = note.add([cosign(checkpoint, cosigner_name(org_id, ORIGIN, use), signer, replica.time)])
    replica.put_note(note.to_bytes())


@pytest.fixture
def author(store_engine: Opener) -> Iterator[Author]:
    store = LedgerStore(store_engine(FileKind.LEDGER))
    yield Author(replica=replica_on(store, COMMISSION))
    store.close()


@pytest.fixture
def anchored(author: Author) -> bytes:
    """Anchor one record among others, and make it final; returns its map key."""
    row = ObjectRow(b"\x11" * 16, 1, record_commitment(SALT, CONTENT, NO_FIELDS))
    block_of(author.replica, author.anchor())
    block_of(author.replica, sign(author.transaction(RENHE, Change("record", "active", (row,)), until=None)))
    block_of(author.replica, author.anchor())
    finalise(author.replica)
    return map_key("record", RENHE, row.id)


def policy() -> str:
    return trusted_policy_text(genesis().members, ORIGIN)


def verify(files: dict[str, bytes], author: Author, **other: object) -> Verdict:
    return verify_bundle(files, policy(), **{"now": author.replica.time + 10, "ledger": genesis().ledger, **other})


def opened(author: Author, anchored: bytes) -> dict[str, bytes]:
    opening = record_opening(CONTENT, SALT, NO_FIELDS)
    return export_object(author.replica, anchored, opening=opening)


def test_a_record_is_proven_to_the_byte_with_the_trusted_policy_alone(author: Author, anchored: bytes) -> None:
    verdict = verify(opened(author, anchored), author)
    assert (verdict.answer, verdict.status, verdict.version) == ("record", "active", 1)
    assert verdict.current
    assert verdict.opened == CONTENT
    assert verdict.object == anchored.hex()
    assert verdict.ledger == genesis().ledger.hex()
    assert len(verdict.cosigners) == 2 * len(QUORUM)


@pytest.mark.usefixtures("anchored")
def test_a_key_that_was_never_used_is_proven_absent(author: Author) -> None:
    verdict = verify(export_object(author.replica, b"\x99" * 32), author, ledger=None)
    assert (verdict.answer, verdict.status, verdict.opened, verdict.current) == ("absent", None, None, True)


def test_a_present_key_cannot_be_shown_absent_by_another_label(author: Author, anchored: bytes) -> None:
    # A node hash does not bind its label: torchwood's own check accepts the first of these.
    files = export_object(author.replica, anchored)
    proof = MapProof.from_json(files["map.json"])
    leaf = MapNode(256, anchored, leaf_node_hash(anchored, proof.value))
    label = bytes([*anchored[:-1], anchored[-1] ^ 1])
    forged = MapProof(anchored, None, (replace(leaf, label=label), *proof.nodes))
    state = parse_state_leaf(files["state.bin"])
    verify_map(state.map_root, forged, allow_unbound=True)
    bundle = {name: data for name, data in files.items() if name != "record.json"} | {
        "map.json": forged.to_json(),
        "entry.bin": files["state.bin"],
        "entry.tlog-proof": files["state.tlog-proof"],
    }
    with pytest.raises(InputError, match=r"bundle\.files"):
        verify(bundle, author, ledger=None)
    lie = canonical({"type": "medchain/absence/v1", "value": proof.value.hex()})
    with pytest.raises(VerificationError, match=r"tlog\.map_proof"):
        verify(bundle | {"absence.json": lie}, author, ledger=None)


def test_what_binds_an_absence_stands_where_it_belongs_and_nowhere_else(author: Author, anchored: bytes) -> None:
    absent = export_object(author.replica, b"\x99" * 32)
    present = export_object(author.replica, anchored)
    proof = MapProof.from_json(absent["map.json"])
    value = orjson.loads(absent["absence.json"])["value"]
    bound = replace(proof, nodes=(replace(proof.nodes[0], value=bytes.fromhex(value)), *proof.nodes[1:]))
    for files in (
        absent | {"map.json": bound.to_json()},
        present | {"absence.json": absent["absence.json"]},
        absent | {"absence.json": canonical({"type": "medchain/answer/v1", "value": value})},
    ):
        with pytest.raises(InputError, match=r"bundle\.files"):
            verify(files, author, ledger=None)


@pytest.mark.usefixtures("anchored")
def test_an_entry_is_proven_under_the_members_that_the_end_of_its_tree_names(author: Author) -> None:
    files = export_entry(author.replica, 2)
    verdict = verify(files, author)
    assert (verdict.answer, verdict.position, verdict.current) == ("entry", 2, False)
    assert parse_state_leaf(files["state.bin"]).policy == sha256(policy().encode()).digest()


@pytest.mark.usefixtures("anchored")
def test_a_bundle_that_does_not_show_the_end_of_its_tree_is_refused(author: Author) -> None:
    files = export_entry(author.replica, 2)
    for name in ("state.bin", "state.tlog-proof"):
        with pytest.raises(InputError, match=r"bundle\.state"):
            verify({one: content for one, content in files.items() if one != name}, author)
    entry = {"state.bin": files["entry.bin"], "state.tlog-proof": files["entry.tlog-proof"]}
    earlier = author.replica.prove_entry(author.replica.prove_state(4).position, author.replica.size)
    note = parse_proof(files["state.tlog-proof"]).checkpoint
    older = {
        "state.bin": earlier.leaf,
        "state.tlog-proof": format_proof(earlier.position, earlier.hashes, note),
    }
    for other in (entry, older):
        with pytest.raises(VerificationError, match=r"bundle\.state"):
            verify(files | other, author)


def ended(leaf: bytes) -> tuple[dict[str, bytes], str]:
    """Make a bundle of the genesis whose tree ends with a leaf, and a policy of one member that cosigned it."""
    log, witness = (Ed25519Signer(consortium.seed("one", use)) for use in ("log", "cosign"))
    name = "one.example/cosigner/ed25519"
    entry, key = genesis().encoded, VerifierKey(name, KeyType.COSIGNATURE_ED25519, witness.public)
    group = "consortium@" + "07" * 32
    trusted = (
        f"log {VerifierKey(ORIGIN, KeyType.ED25519, log.public)}\nwitness one-ed {key}\n"
        f"group {group} 1 one-ed\nquorum {group}\n"
    )
    leaf = leaf.replace(b"POLICY", sha256(trusted.encode()).hexdigest().encode())
    hashes = [leaf_hash(entry), leaf_hash(leaf)]
    head = Checkpoint(ORIGIN, 2, node_hash(*hashes))
    note = sign_checkpoint(head, log).add([cosign(head, name, witness, 5)]).to_bytes()
    answer = {"answer": "entry", "ledger": genesis().ledger.hex(), "object": None, "position": 0, "size": 2}
    files = {
        "answer.json": canonical({**answer, "type": "medchain/answer/v1"}),
        "entry.bin": entry,
        "entry.tlog-proof": format_proof(0, [hashes[1]], note),
        "policy.txt": b"",
        "state.bin": leaf,
        "state.tlog-proof": format_proof(1, [hashes[0]], note),
    }
    return files, trusted


NAMED = b'{"height":0,"map_root":"%s","policy":"POLICY","time":5,"type":"medchain/state/v2"}' % (b"00" * 32)


@pytest.mark.parametrize(
    ("leaf", "code"),
    [
        (NAMED.replace(b"POLICY", b"00" * 32), "bundle.other_policy"),
        (NAMED.replace(b'"policy":"POLICY",', b"").replace(b"v2", b"v1"), "policy.unnamed"),
        (NAMED.replace(b'"policy":"POLICY",', b""), "bundle.state"),
        (NAMED.replace(b"v2", b"v3"), "bundle.state"),
        (b"{}", "bundle.state"),
        (b"leaf", "bundle.state"),
    ],
)
def test_a_tree_whose_end_names_other_members_or_none_is_refused(leaf: bytes, code: str) -> None:
    files, trusted = ended(NAMED)
    assert verify_bundle(files, trusted, now=6).answer == "entry"
    files, trusted = ended(leaf)
    with pytest.raises(MedchainError) as caught:
        verify_bundle(files, trusted, now=6)
    assert caught.value.code == code


def test_a_policy_without_lineage_verifies_nothing() -> None:
    files, trusted = ended(NAMED)
    for name in ("consortium", "consortium@" + "07" * 31, "members@" + "07" * 32):
        with pytest.raises(InputError, match=r"policy\.unnamed"):
            verify_bundle(files, trusted.replace("consortium@" + "07" * 32, name), now=6)


def test_what_a_policy_asks_for_beside_its_members_and_how_it_is_written_leaves_them_the_same() -> None:
    files, trusted = ended(NAMED)
    words = [line.split(" ") for line in trusted.splitlines()]
    spaced = "# mine\n\n" + "".join("  " + "\t ".join(row) + "\n" for row in words)
    other = VerifierKey("w.example", KeyType.COSIGNATURE_ED25519, Ed25519Signer(consortium.seed("w", "w")).public)
    beside = trusted.rsplit("quorum", 1)[0] + f"witness w {other} https://w.example\ngroup both any {words[-1][1]} w\n"
    for text in (spaced, beside + "quorum both\n"):
        assert verify_bundle(files, text, now=6).answer == "entry"
    with pytest.raises(VerificationError, match=r"bundle\.other_policy"):
        # Another address of the very keys is no other policy, but another number of them is.
        verify_bundle(files, trusted.replace(" 1 one-ed", " any one-ed"), now=6)


@pytest.mark.usefixtures("anchored")
def test_an_organisation_of_the_genesis_is_proven_by_the_genesis(author: Author) -> None:
    verdict = verify(export_object(author.replica, map_key("organisation", RENHE, organisation_id(RENHE))), author)
    assert (verdict.answer, verdict.position, verdict.version) == ("record", 0, 1)


@pytest.mark.usefixtures("anchored")
def test_a_changed_organisation_is_proven_by_its_own_entry(author: Author) -> None:
    moved = replace(author.members.organisations[RENHE], url="https://moved.example")
    block_of(author.replica, sign(author.public(RENHE, ("organisation", organisation_content(moved)), until=None)))
    finalise(author.replica)
    verdict = verify(export_object(author.replica, map_key("organisation", RENHE, organisation_id(RENHE))), author)
    assert verdict.version == 2


@pytest.mark.usefixtures("anchored")
def test_a_stopped_object_is_proven_by_its_stop(author: Author) -> None:
    stop = stoppable(author)
    target = stop.object
    block_of(author.replica, sign(stop))
    finalise(author.replica)
    verdict = verify(export_object(author.replica, target), author)
    assert (verdict.status, verdict.version) == ("stopped", 2)


@pytest.mark.usefixtures("anchored")
def test_a_body_is_opened_whole_or_redacted(author: Author) -> None:
    body = build_body("subject", {"enroller": RENHE, "secret": "x"}, None, fresh)
    row = ObjectRow(fresh(16), 1, body.body_hash)
    block_of(
        author.replica,
        sign(author.transaction(RENHE, Change("subject", "active", (row,)), until=author.replica.time + 30)),
    )
    finalise(author.replica)
    target = map_key("subject", RENHE, row.id)
    shown = body.redact(["enroller"])
    verdict = verify(export_object(author.replica, target, opening=body_opening(shown)), author)
    assert verdict.opened == canonical(shown.to_json())
    assert verdict.shown.hidden == len(shown.hidden) > 0
    assert verify(export_object(author.replica, target, opening=body_opening(body)), author).shown.hidden == 0
    other = build_body("grant", {"enroller": RENHE}, None, fresh)
    files = export_object(author.replica, target, opening=body_opening(other))
    with pytest.raises(VerificationError, match=r"bundle\.opening"):
        verify(files, author)


def test_an_old_cosignature_is_as_of_then_not_current(author: Author, anchored: bytes) -> None:
    files = export_object(author.replica, anchored)
    assert not verify(files, author, now=author.replica.time + 301).current
    assert verify(files, author, now=author.replica.time + 299).current


def test_attack_an_answer_from_another_history_than_the_one_that_is_shown_to_have_grown(
    author: Author, anchored: bytes
):
    """The asker has seen a history that a quorum cosigned, and gets an answer from another of the same size."""
    files = export_object(author.replica, anchored)
    seen = pen()(Checkpoint(ORIGIN, author.replica.size, bytes(32))).to_bytes().decode()
    old = cosigned(seen, *QUORUM, time=author.replica.time)
    grown = AddCheckpointRequest(author.replica.size, (), old).to_bytes()
    assert verify_add_checkpoint(grown, old, Policy.parse(policy().encode())).checkpoint.root == bytes(32)
    with pytest.raises(VerificationError, match=r"bundle\.consistency"):
        verify(files | {"checkpoint-old": old, "consistency.txt": grown}, author)


def forked(files: dict[str, bytes], author: Author) -> bytes:
    """Prove the entry of a bundle in another tree of eight leaves, which a quorum cosigned as well."""
    proof = parse_proof(files["entry.tlog-proof"])
    hashes = (*proof.hashes[:-1], bytes(32))
    root = leaf_hash(files["entry.bin"])
    for level, beside in enumerate(hashes):
        root = node_hash(beside, root) if proof.index >> level & 1 else node_hash(root, beside)
    note = pen()(Checkpoint(ORIGIN, 8, root)).to_bytes().decode()
    return format_proof(proof.index, hashes, cosigned(note, *QUORUM, time=author.replica.time))


def test_attack_entry_and_state_of_two_histories_of_one_size(author: Author, anchored: bytes) -> None:
    """RFC 6962 §2.1: a tree of one size has one root; each of the two proofs holds by itself."""
    files = export_object(author.replica, anchored)
    assert author.replica.size == 8
    other = files | {"entry.tlog-proof": forked(files, author)}
    verify_tlog_proof(other["entry.tlog-proof"], other["entry.bin"], Policy.parse(policy().encode()))
    with pytest.raises(VerificationError, match=r"bundle\.split_view"):
        verify(other, author)


def test_attack_an_entry_of_another_history_than_the_one_that_the_asker_has_seen(
    author: Author, anchored: bytes
) -> None:
    """The state grew from what the asker has seen; the entry is shown in another tree of that size."""
    files = export_object(author.replica, anchored)
    old = author.replica.store.final().note.encode()
    other = forked(files, author)
    block_of(author.replica, author.anchor())
    finalise(author.replica)
    later = export_object(author.replica, anchored, old_checkpoint=old)
    assert verify(later, author).answer == "record"
    # Nor in the same one when it was smaller: what ends that tree, and names its members, is not shown.
    for elsewhere in (other, files["entry.tlog-proof"]):
        with pytest.raises(VerificationError, match=r"bundle\.state"):
            verify(later | {"entry.tlog-proof": elsewhere}, author)


def test_the_log_is_shown_to_have_only_grown_since_the_askers_checkpoint(author: Author, anchored: bytes) -> None:
    old = author.replica.store.final().note.encode()
    block_of(author.replica, author.anchor())
    finalise(author.replica)
    files = export_object(author.replica, anchored, old_checkpoint=old)
    assert verify(files, author).answer == "record"
    with pytest.raises(VerificationError):
        verify(files | {"checkpoint-old": author.replica.store.final().note.encode()}, author)
    with pytest.raises(InputError, match=r"bundle\.files"):
        verify({name: data for name, data in files.items() if name != "checkpoint-old"}, author)
    younger = export_object(author.replica, anchored, old_checkpoint=old)
    block_of(author.replica, author.anchor())
    finalise(author.replica)
    later = export_object(author.replica, anchored, old_checkpoint=old)
    with pytest.raises(VerificationError, match=r"bundle\.consistency"):
        verify(later | {"consistency.txt": younger["consistency.txt"]}, author)


def test_a_checkpoint_newer_than_ours_cannot_be_grown_from(author: Author, anchored: bytes) -> None:
    older = author.replica.store.final().note.encode().replace(b"\n8\n", b"\n9\n")
    with pytest.raises(ConflictError, match=r"trace\.newer_checkpoint"):
        export_object(author.replica, anchored, old_checkpoint=older)


def versions(author: Author, count: int) -> tuple[bytes, list[bytes]]:
    """Anchor so many versions of a record, the last of them final; returns its map key and their contents."""
    contents = [b'{"resourceType":"Observation","note":%d}' % number for number in range(1, count + 1)]
    for number, content in enumerate(contents, 1):
        row = ObjectRow(b"\x12" * 16, number, record_commitment(SALT, content, NO_FIELDS))
        block_of(author.replica, sign(author.transaction(RENHE, Change("record", "active", (row,)), until=None)))
    finalise(author.replica)
    return map_key("record", RENHE, b"\x12" * 16), contents


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_of_a_record_is_proven_by_the_chain_from_its_newest_one(author: Author, version: int) -> None:
    key_, contents = versions(author, 3)
    opening = record_opening(contents[version - 1], SALT, NO_FIELDS)
    files = export_object(author.replica, key_, version=version, opening=opening)
    verdict = verify(files, author)
    assert (verdict.version, verdict.newest, verdict.opened) == (version, 3, contents[version - 1])
    assert ("history.json" in files) == (version < 3)
    assert verdict.current


def test_attack_an_earlier_version_is_not_passed_off_as_the_newest_nor_another_as_earlier(author: Author) -> None:
    key_, contents = versions(author, 3)
    files = {
        number: export_object(
            author.replica, key_, version=number, opening=record_opening(contents[number - 1], SALT, NO_FIELDS)
        )
        for number in (1, 2, 3)
    }
    history = orjson.loads(files[1]["history.json"])
    assert [row["version"] for row in history] == [2, 1]
    without = {name: data for name, data in files[1].items() if name != "history.json"}
    attacks = {
        "bundle.entry": [without, files[1] | {"history.json": canonical(history[:1])}],
        "bundle.history": [
            files[1] | {"history.json": canonical(history[1:])},
            files[1] | {"history.json": canonical([*history, history[-1]])},
            files[1] | {"history.json": canonical([history[0], history[1] | {"body_hash": "00" * 32}])},
        ],
        "bundle.opening": [files[1] | {"opening.json": files[2]["opening.json"]}],
        "bundle.files": [files[1] | {"history.json": b"[]"}, files[1] | {"history.json": b"{}"}],
    }
    for code, bundles in attacks.items():
        for bundle in bundles:
            with pytest.raises(MedchainError) as caught:
                verify(bundle, author)
            assert caught.value.code == code
    absent = export_object(author.replica, b"\x99" * 32)
    with pytest.raises(VerificationError, match=r"bundle\.record"):
        verify(absent | {"history.json": files[1]["history.json"]}, author, ledger=None)


def test_a_version_that_is_not_final_or_not_there_is_not_proven(author: Author, anchored: bytes) -> None:
    row = ObjectRow(b"\x11" * 16, 2, record_commitment(SALT, b"{}", NO_FIELDS))
    block_of(author.replica, sign(author.transaction(RENHE, Change("record", "active", (row,)), until=None)))
    with pytest.raises(ConflictError, match=r"trace\.not_final"):
        export_object(author.replica, anchored, version=2)
    assert verify(export_object(author.replica, anchored, version=1), author).version == 1
    for version in (0, 3):
        with pytest.raises(NotFoundError, match=r"trace\.absent"):
            export_object(author.replica, anchored, version=version)
    with pytest.raises(NotFoundError, match=r"trace\.absent"):
        export_object(author.replica, b"\x99" * 32, version=1)


def test_a_large_content_is_proven_by_its_size_and_hash(author: Author) -> None:
    content = b"%PDF" * 300_000
    row = ObjectRow(b"\x13" * 16, 1, record_commitment(SALT, content, NO_FIELDS))
    block_of(author.replica, sign(author.transaction(RENHE, Change("record", "active", (row,)), until=None)))
    finalise(author.replica)
    opening = large_opening(sha256(content).digest(), len(content), SALT, NO_FIELDS)
    files = export_object(author.replica, map_key("record", RENHE, row.id), opening=opening)
    verdict = verify(files, author)
    assert (verdict.opened, verdict.shown.size, verdict.shown.sha256) == (
        None,
        len(content),
        sha256(content).hexdigest(),
    )
    for other in (
        large_opening(sha256(content).digest(), len(content) + 1, SALT, NO_FIELDS),
        large_opening(sha256(content[:-1]).digest(), len(content), SALT, NO_FIELDS),
        large_opening(sha256(content).digest(), len(content), bytes(32), NO_FIELDS),
    ):
        with pytest.raises(VerificationError, match=r"bundle\.opening"):
            verify(files | {"opening.json": other}, author)
    with pytest.raises(InputError, match=r"commitment\.large"):
        verify(files | {"opening.json": large_opening(bytes(32), 5, SALT, NO_FIELDS)}, author)


def test_a_part_of_a_segment_is_proven_and_nothing_of_the_others_shown(author: Author) -> None:
    parts = [b'{"who":"%d"}' % number for number in range(5)]
    whole, root = whole_digest(SALT, pack(parts)), parts_root(SALT, parts)
    row = ObjectRow(b"\x14" * 16, 1, commitment_of(whole, root))
    block_of(author.replica, sign(author.transaction(RENHE, Change("record", "active", (row,)), until=None)))
    finalise(author.replica)
    proof = prove_part(SALT, parts, 3)
    opening = part_opening(parts[3], whole, root, proof)
    files = export_object(author.replica, map_key("record", RENHE, row.id), opening=opening)
    verdict = verify(files, author)
    assert (verdict.opened, verdict.shown.part) == (parts[3], "/3")
    assert not any(SALT.hex().encode() in content for content in files.values())
    for other, code in (
        (part_opening(parts[2], whole, root, proof), r"fields\.proof"),
        (part_opening(parts[3], bytes(32), root, proof), r"bundle\.opening"),
        (part_opening(parts[3], whole, bytes(32), proof), r"bundle\.opening"),
        (part_opening(parts[3], whole, root, replace(proof, name="/2")), r"fields\.proof"),
        (canonical(orjson.loads(opening) | {"x": 1}), r"encoding\.members"),
        (canonical(orjson.loads(opening) | {"position": True}), r"encoding\.members"),
    ):
        with pytest.raises((VerificationError, InputError), match=code):
            verify(files | {"opening.json": other}, author)


@pytest.mark.parametrize("stride", [pytest.param(1, marks=pytest.mark.e2e), 211])
def test_every_flipped_byte_is_refused_or_leaves_the_same_answer(author: Author, anchored: bytes, stride: int) -> None:
    # Every position in `make test`, a sample of them in `make check`.
    files = opened(author, anchored)
    truth = verify(files, author)
    for name, data in files.items():
        step = min(stride, 3) if len(data) < 1500 else stride
        for position in range(0, len(data), step):
            changed = bytearray(data)
            changed[position] ^= 1
            try:
                found = verify(files | {name: bytes(changed)}, author)
            except MedchainError:
                continue
            assert name == "policy.txt" or (found.opened, found.position) == (truth.opened, truth.position)
            assert replace(found, cosigners=()) == replace(truth, cosigners=())


def test_a_policy_inside_the_bundle_is_never_trusted(author: Author, anchored: bytes) -> None:
    files = export_object(author.replica, anchored)
    lenient = policy().rsplit("quorum", 1)[0] + "quorum none\n"
    finalise(author.replica)
    other = policy().replace(" 4 ", " 5 ")
    with pytest.raises(VerificationError, match=r"tlog\.quorum"):
        verify_bundle(files | {"policy.txt": lenient.encode()}, other, now=author.replica.time)


def test_another_ledgers_bundle_is_refused(author: Author, anchored: bytes) -> None:
    with pytest.raises(VerificationError, match=r"^bundle\.ledger$"):
        verify(export_object(author.replica, anchored), author, ledger=b"\x00" * 32)


@pytest.mark.usefixtures("anchored")
def test_a_ledger_that_is_demanded_must_be_named_by_what_is_proven(author: Author) -> None:
    """Of an absence the entry is a state leaf, which names none: it would pass for any ledger that is asked for."""
    absent = export_object(author.replica, b"\x99" * 32)
    for demanded in (b"\x00" * 32, genesis().ledger):
        with pytest.raises(VerificationError, match=r"^bundle\.ledger_unnamed"):
            verify(absent, author, ledger=demanded)


@pytest.mark.parametrize(
    ("name", "code"),
    [("map.json", "bundle.files"), ("record.json", "bundle.files"), ("entry.bin", "bundle.files")],
)
def test_a_missing_file_is_named(author: Author, anchored: bytes, name: str, code: str) -> None:
    files = export_object(author.replica, anchored)
    del files[name]
    with pytest.raises(InputError, match=code):
        verify(files, author)


def test_foreign_files_are_refused(author: Author, anchored: bytes) -> None:
    files = export_object(author.replica, anchored)
    for name in ("../policy.txt", "readme", "policies/01/entry.bin"):
        with pytest.raises(InputError, match=r"bundle\.files"):
            verify(files | {name: b""}, author)


def test_too_many_or_too_large_files_are_refused(author: Author, anchored: bytes) -> None:
    files = export_object(author.replica, anchored)
    with pytest.raises(InputError, match=r"bundle\.too_large"):
        verify(files | {str(number): b"" for number in range(MAX_FILES)}, author)


@pytest.mark.usefixtures("anchored")
def test_a_record_without_its_state_is_no_bundle(author: Author) -> None:
    files = export_entry(author.replica, 2) | {"record.json": b"{}"}
    with pytest.raises(InputError, match=r"bundle\.files"):
        verify(files, author)


def test_the_parts_of_two_records_do_not_make_one(author: Author, anchored: bytes) -> None:
    files = export_object(author.replica, anchored)
    other_key = author.replica.store.leaf(2)
    first = next(iter(orjson.loads(_payload(other_key))["changes"][0]["objects"]))
    other = export_object(author.replica, map_key("record", RENHE, bytes.fromhex(first[0])))
    for name, code in (("record.json", "bundle.record"), ("map.json", "bundle.record")):
        with pytest.raises(VerificationError, match=code):
            verify(files | {name: other[name]}, author)
    with pytest.raises(VerificationError, match=r"bundle\.entry"):
        verify(files | {name: other[name] for name in ("entry.bin", "entry.tlog-proof")}, author)
    both = {name: other[name] for name in ("map.json", "record.json")}
    with pytest.raises(VerificationError, match=r"bundle\.entry"):
        verify(files | both, author)


def _payload(leaf: bytes) -> bytes:
    return parse_envelope(leaf).payload


def test_an_absence_with_a_record_is_refused(author: Author, anchored: bytes) -> None:
    absent = export_object(author.replica, b"\x99" * 32)
    record = export_object(author.replica, anchored)["record.json"]
    with pytest.raises(VerificationError, match=r"bundle\.record"):
        verify(absent | {"record.json": record}, author, ledger=None)


@pytest.mark.usefixtures("anchored")
def test_attack_an_absence_is_not_dated_by_another_entry_of_its_tree(author: Author) -> None:
    absent = export_object(author.replica, b"\x99" * 32)
    for position in (0, 2):
        entry = export_entry(author.replica, position)
        answer = orjson.loads(entry["answer.json"]) | {"answer": "absent", "object": "99" * 32}
        mixed = absent | {name: entry[name] for name in ("entry.bin", "entry.tlog-proof")}
        with pytest.raises(VerificationError, match=r"bundle\.entry"):
            verify(mixed | {"answer.json": canonical(answer)}, author)


def test_words_that_say_more_than_the_proofs_are_refused(author: Author, anchored: bytes) -> None:
    files = export_object(author.replica, anchored)
    answer = orjson.loads(files["answer.json"])
    answer["position"] += 1
    with pytest.raises(VerificationError, match=r"bundle\.answer"):
        verify(files | {"answer.json": canonical(answer)}, author)


def test_another_content_or_salt_is_refused(author: Author, anchored: bytes) -> None:
    for opening in (
        record_opening(CONTENT.replace(b"5.60", b"5.6"), SALT, NO_FIELDS),
        record_opening(CONTENT, b"\x08" * 32, NO_FIELDS),
        record_opening(CONTENT, SALT, b"\x01" * 32),
    ):
        with pytest.raises(VerificationError, match=r"bundle\.opening"):
            verify(export_object(author.replica, anchored, opening=opening), author)


def test_nothing_is_exported_before_it_is_final(author: Author) -> None:
    with pytest.raises(UnavailableError, match=r"trace\.no_final"):
        export_entry(author.replica, 0)
    block_of(author.replica, author.anchor())
    finalise(author.replica)
    row = ObjectRow(b"\x22" * 16, 1, fresh(32))
    block_of(author.replica, sign(author.transaction(RENHE, Change("record", "active", (row,)), until=None)))
    with pytest.raises(ConflictError, match=r"trace\.not_final"):
        export_object(author.replica, map_key("record", RENHE, row.id))
    with pytest.raises(ConflictError, match=r"trace\.not_final"):
        export_entry(author.replica, author.replica.size - 1)
    with pytest.raises(NotFoundError):
        export_entry(author.replica, author.replica.size)


@pytest.mark.usefixtures("anchored")
def test_what_is_absent_cannot_be_opened(author: Author) -> None:
    with pytest.raises(NotFoundError, match=r"trace\.absent"):
        export_object(author.replica, b"\x99" * 32, opening=b"{}")


def stoppable(author: Author) -> Stop:
    """Order a consent and return its stop."""
    preimage, row = fresh(32), ObjectRow(fresh(16), 1, fresh(32))
    change = Change("consent", "active", (row,), stop_hash=stop_hash(preimage))
    block_of(author.replica, sign(author.transaction(RENHE, change, until=author.replica.time + 30)))
    return author.stop(ANXIN, map_key("consent", RENHE, row.id), preimage)


def test_a_record_under_another_objects_key_is_refused_even_if_a_quorum_cosigned_it() -> None:
    # No honest machine makes such a map; a bundle of a dishonest quorum must still not show one object as another.
    signer, witness = (Ed25519Signer(consortium.seed("dishonest", use)) for use in ("log", "cosign"))
    name, group = "dishonest.example/cosigner/ed25519", "consortium@" + "07" * 32
    key = VerifierKey(name, KeyType.COSIGNATURE_ED25519, witness.public)
    trusted = (
        f"log {VerifierKey(ORIGIN, KeyType.ED25519, signer.public)}\nwitness one {key}\n"
        f"group {group} 1 one\nquorum {group}\n"
    )
    record = StateRecord("record", RENHE, b"\x01" * 16, 1, "active", b"\x02" * 32, None, None, (), 1, None)
    wrong = map_key("record", RENHE, b"\x09" * 16)
    pages: dict[bytes, bytes] = {}
    changed = update(MapRoot.empty(), {wrong: record.digest}, Pages(pages))
    leaf, state = genesis().encoded, state_leaf(1, 5, changed.root.hash, sha256(trusted.encode()).digest())
    pages.update(changed.pages)
    hashes = [leaf_hash(leaf), leaf_hash(state)]
    head = Checkpoint(ORIGIN, 2, node_hash(*hashes))
    note = sign_checkpoint(head, signer).add([cosign(head, name, witness, 5)]).to_bytes()
    files = {
        "answer.json": b"{}",
        "entry.bin": leaf,
        "entry.tlog-proof": format_proof(0, [hashes[1]], note),
        "map.json": prove(changed.root, wrong, Pages(pages)).to_json(),
        "policy.txt": b"",
        "record.json": record.encode(),
        "state.bin": state,
        "state.tlog-proof": format_proof(1, [hashes[0]], note),
    }
    with pytest.raises(VerificationError, match=r"bundle\.record"):
        verify_bundle(files, trusted, now=5)


class Pages:
    """Map pages in memory."""

    def __init__(self, pages: dict[bytes, bytes]) -> None:
        """Read from a dictionary."""
        self._pages = pages

    def page(self, key: bytes) -> bytes | None:
        return self._pages.get(key)


# The command that verifies


def verified(folder: Path, *words: str, policy: Path, language: str = "en") -> tuple[int, str, str]:
    """Verify as an auditor does; returns exit code, answer and what is told beside it."""
    out, err = io.StringIO(), io.StringIO()
    code = main(["--lang", language, "verify", str(folder), "--policy", str(policy), *words], {}, out, err)
    return code, out.getvalue(), err.getvalue()


def written(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_who_demands_the_newest_state_is_told_why_it_is_none(
    author: Author, anchored: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = written(tmp_path, {"policy.txt": policy().encode()}) / "policy.txt"
    state = written(tmp_path / "state", opened(author, anchored))
    entry = written(tmp_path / "entry", export_entry(author.replica, 2))
    assert verified(state, policy=trusted)[::2] == (0, "")
    later = author.replica.time + 301
    monkeypatch.setattr("medchain.cli.system_clock", lambda: later)
    code, answer, told = verified(state, "--current", "--max-age", "300", policy=trusted)
    assert (code, "Verified as of" in answer) == (3, True)
    assert "older than 300 s" in told
    code, _, told = verified(entry, "--current", policy=trusted)
    assert (code, "proves an entry" in told) == (3, True)


def test_a_policy_out_of_the_bundle_itself_is_warned_of(author: Author, anchored: bytes, tmp_path: Path) -> None:
    """Its maker could have written it. Whatever comes of it, and also where a link leads there."""
    bundle = written(tmp_path / "bundle", opened(author, anchored) | {"inner/policy.txt": policy().encode()})
    inside = bundle / "inner" / "policy.txt"
    (tmp_path / "link").symlink_to(inside)
    beside = written(tmp_path, {"policy.txt": policy().encode()}) / "policy.txt"
    found = [verified(bundle, policy=path)[2] for path in (inside, tmp_path / "link", beside)]
    assert ["lies in the bundle itself" in told for told in found] == [True, True, False]


def registered(author: Author, content: bytes, root: bytes) -> bytes:
    """Anchor a content with a field root of the registrant's choice, and make it final; returns its map key."""
    row = ObjectRow(b"\x12" * 16, 1, record_commitment(SALT, content, root))
    block_of(author.replica, author.anchor())
    block_of(author.replica, sign(author.transaction(RENHE, Change("record", "active", (row,)), until=None)))
    finalise(author.replica)
    return map_key("record", RENHE, row.id)


def test_a_content_whose_field_root_would_let_others_be_shown_is_refused(author: Author) -> None:
    real, other = b'{"id":"x","value":5.6}', b'{"id":"x","value":11.0}'
    leaves = [field_leaf(bytes([place]) * 32, f"/{place}", text) for place, text in enumerate((real, other))]
    root = field_root(leaves)
    key = registered(author, real, root)
    with pytest.raises(VerificationError, match=r"bundle\.field_root"):
        verify(export_object(author.replica, key, opening=record_opening(real, SALT, root)), author)
    # In part it can be shown; the verdict says that it is a part, and promises no more.
    path = prove_field(leaves, leaves[1])
    opening = part_opening(other, whole_digest(SALT, real), root, PartProof("/1", b"\x01" * 32, path))
    verdict = verify(export_object(author.replica, key, opening=opening), author)
    assert (verdict.opened, verdict.shown.part) == (other, "/1")
    # Roots of lists of looks are shown whole: of two in one registration each would be the newest.
    looks = export_object(author.replica, key, opening=opening) | {"looks.json": b"{}"}
    with pytest.raises(InputError, match=r"bundle\.files name=opening\.json"):
        verify(looks, author)


@pytest.mark.parametrize("content", [b'{"id":"x","value":5.60}', b'{"a":[1,{"b":"\xe5\x80\xbc"}],"c":null}'])
def test_a_content_with_the_field_root_of_its_own_fields_is_proven(author: Author, content: bytes) -> None:
    root = record_field_root(SALT, content)
    key = registered(author, content, root)
    verdict = verify(export_object(author.replica, key, opening=record_opening(content, SALT, root)), author)
    assert (verdict.opened, verdict.shown.part, verdict.shown.hidden) == (content, None, 0)


def shown_fields(content: bytes, *names: bytes) -> bytes:
    """Write the opening of some fields of a record, in the order of their names."""
    found = record_fields(content)
    leaves = record_field_leaves(SALT, found)
    places = sorted((place for place, (name, _) in enumerate(found) if name in names), key=lambda place: found[place])
    rows = [ShownField(found[at][0].decode(), found[at][1], record_field_salt(SALT, at)) for at in places]
    proof = prove_fields(leaves, [leaves[at] for at in places])
    return field_opening(whole_digest(SALT, content), field_root(leaves), rows, proof)


RECORD = '{"resourceType":"Observation","id":"x","status":"final","value":5.60,"姓":"王"}'.encode()
OTHER = RECORD.replace(b'"x"', b'"w"')


def test_fields_are_proven_under_the_commitment_and_lies_about_them_refused(author: Author, tmp_path: Path) -> None:
    key = registered(author, RECORD, record_field_root(SALT, RECORD))
    opening = shown_fields(RECORD, b"/status", b"/value")
    files = export_object(author.replica, key, opening=opening)
    verdict = verify(files, author)
    assert verdict.shown.fields == (("/status", '"final"'), ("/value", "5.60"))
    document = orjson.loads(opening)
    first, second = document["fields"]
    lies = [
        ({"fields": [first | {"value": '"preliminary"'}, second]}, "fields.proof"),
        ({"fields": [first | {"name": "/id"}, second]}, "fields.proof"),
        ({"fields": [second, first]}, "bundle.opening"),
        ({"fields": [first, first | {"position": second["position"]}]}, "fields.proof"),
        ({"fields": [first | {"position": True}, second]}, "encoding.members"),
        ({"fields": [first]}, "fields.proof"),
        ({"fields": []}, "fields.proof"),
        ({"siblings": document["siblings"][:-1]}, "fields.proof"),
        ({"height": document["height"] + 1}, "fields.proof"),
        ({"height": "3"}, "encoding.members"),
        ({"whole": "00" * 32}, "bundle.opening"),
        ({"field_root": "00" * 32}, "bundle.opening"),
        ({"more": 1}, "encoding.members"),
    ]
    for change, code in lies:
        with pytest.raises((VerificationError, InputError), match=code.replace(".", r"\.")):
            verify(files | {"opening.json": canonical(document | change)}, author)
    # Neither a list of looks nor a file is compared with what shows no content.
    with pytest.raises(InputError, match=r"bundle\.files name=opening\.json"):
        verify(files | {"looks.json": b"{}"}, author)
    bundle = written(tmp_path / "fields", files)
    trusted = written(tmp_path, {"policy.txt": policy().encode(), "whole.json": RECORD}) / "policy.txt"
    code, said, _ = verified(bundle, "--show", policy=trusted)
    assert (code, "/value: 5.60" in said, "The fields shown (2)" in said) == (0, True, True)
    code, said, _ = verified(bundle, policy=trusted, language="zh")
    assert (code, "所示的 2 个字段" in said, "5.60" in said) == (0, True, False)
    code, said, _ = verified(bundle, "--show", "--json", policy=trusted)
    assert orjson.loads(said)["fields"] == {"/status": '"final"', "/value": "5.60"}
    assert verified(bundle, "--content", str(tmp_path / "whole.json"), policy=trusted)[0] != 0


def test_attack_two_values_of_one_name_are_not_shown_together(author: Author) -> None:
    """Who registered the record may have committed to both; shown together, a reader would see one and pass over it."""
    rows = [ShownField("/value", text, bytes([at]) * 32) for at, text in enumerate((b"5.6", b"11.0"))]
    leaves = [field_leaf(one.salt, one.name, one.value) for one in rows]
    key = registered(author, RECORD, field_root(leaves))
    opening = field_opening(whole_digest(SALT, RECORD), field_root(leaves), rows, prove_fields(leaves, leaves))
    with pytest.raises(VerificationError, match=r"bundle\.opening"):
        verify(export_object(author.replica, key, opening=opening), author)
    # One of them is, and the verdict says that it does not rule the other out.
    alone = field_opening(whole_digest(SALT, RECORD), field_root(leaves), rows[:1], prove_fields(leaves, leaves[:1]))
    assert verify(export_object(author.replica, key, opening=alone), author).shown.fields == (("/value", "5.6"),)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("value", b"5.6"),
        ("/a~2b", b"5.6"),
        ("/value\n/total", b"5.6"),
        ("/value", b"5.6\n/total: 7"),
        ("/value", b" 5.6"),
        ("/value", b'5.6,"b":1'),
        ("/value", b'"\\u0035"'),
        ("/0", b'{"resourceType":"Observation"}'),
        ("/value", b"five"),
    ],
)
def test_attack_what_is_no_field_of_a_record_is_not_shown_as_one(author: Author, name: str, value: bytes) -> None:
    """Who registers commits to any text; it would be read as another field, or the part of a segment as one."""
    row = ShownField(name, value, b"\x01" * 32)
    leaves = [field_leaf(row.salt, name, value)]
    key = registered(author, RECORD, field_root(leaves))
    opening = field_opening(whole_digest(SALT, RECORD), field_root(leaves), [row], prove_fields(leaves, leaves))
    with pytest.raises(VerificationError, match=r"bundle\.opening"):
        verify(export_object(author.replica, key, opening=opening), author)


def test_a_bundle_proves_when_its_entry_was_accepted(author: Author, anchored: bytes) -> None:
    position = author.replica.store.record(anchored).since
    block = author.replica.store.block_at(position)
    files = export_object(author.replica, anchored)
    verdict = verify(files, author)
    assert verdict.registered == block.time < verdict.time
    assert verify(export_entry(author.replica, position), author).registered == block.time
    # The genesis has no block before; the end of a block, and so an absence, tells its time itself.
    assert verify(export_entry(author.replica, 0), author).registered == genesis().time
    for other in (export_entry(author.replica, block.size - 1), export_object(author.replica, bytes(32))):
        assert "block.json" not in other
        assert verify(other, author, ledger=None).registered is None
    older = {name: content for name, content in files.items() if name != "block.json"}
    assert replace(verdict, registered=None) == verify(older, author)


def test_attack_no_entry_is_made_late_or_early_by_the_ends_of_other_blocks(author: Author, anchored: bytes) -> None:
    replica = author.replica
    position = replica.store.record(anchored).since
    size = replica.size
    block = replica.store.block_at(position)
    files = export_object(replica, anchored)

    def end(height: int) -> BlockEnd:
        last = next(one for one, _ in replica.store.blocks(height, 1)).size - 1
        proof = replica.prove_entry(last, size)
        return BlockEnd(proof.leaf, last, proof.hashes)

    own, before = end(block.height), end(block.height - 1)
    assert files["block.json"] == write_block(before, own)
    entry = replica.prove_entry(position, size)
    lies = [
        (write_block(before, end(block.height + 1)), r"bundle\.block"),
        (write_block(own, end(block.height + 1)), r"bundle\.block"),
        (write_block(end(block.height - 2), own), r"bundle\.block"),
        (write_block(end(block.height - 2), before), r"bundle\.block"),
        (write_block(None, own), r"bundle\.block"),
        (write_block(before, replace(own, position=own.position + 1)), r"tlog\.inclusion"),
        (write_block(before, replace(own, hashes=before.hashes)), r"tlog\.inclusion"),
        (write_block(before, replace(own, leaf=own.leaf.replace(b'"time":1', b'"time":2'))), r"tlog\.inclusion"),
        (write_block(before, BlockEnd(entry.leaf, position, entry.hashes)), r"encoding|state"),
        (b"[]", r"bundle\.block"),
        (canonical({"after": own.to_json(), "before": None, "type": "medchain/block/v2"}), r"bundle\.block"),
        (canonical({"after": None, "before": None, "type": "medchain/block/v1"}), r"encoding\.members"),
    ]
    for lie, code in lies:
        assert lie != files["block.json"]
        with pytest.raises((VerificationError, InputError), match=code):
            verify(files | {"block.json": lie}, author)


@pytest.fixture
def several(author: Author) -> list[WantedItem]:
    """Anchor three records in blocks of their own, one of them in two versions; and one key that is not there."""
    keys = []
    for number, content in enumerate((OTHER, RECORD, RECORD)):
        commitment = record_commitment(SALT, content, record_field_root(SALT, content))
        row = ObjectRow(bytes([0x30 + number]) * 16, 1, commitment)
        block_of(author.replica, sign(author.transaction(RENHE, Change("record", "active", (row,)), until=None)))
        keys.append(map_key("record", RENHE, row.id))
    row = ObjectRow(b"\x30" * 16, 2, record_commitment(SALT, CONTENT, NO_FIELDS))
    block_of(author.replica, sign(author.transaction(RENHE, Change("record", "active", (row,)), until=None)))
    finalise(author.replica)
    return [
        WantedItem(keys[0], 1, record_opening(OTHER, SALT, record_field_root(SALT, OTHER))),
        WantedItem(keys[1], None, shown_fields(RECORD, b"/value")),
        WantedItem(keys[2]),
        WantedItem(b"\x99" * 32),
    ]


def test_several_objects_are_proven_under_one_state(author: Author, several: list[WantedItem], tmp_path: Path) -> None:
    replica = author.replica
    old = replica.store.final().note.encode()
    block_of(replica, author.anchor())
    finalise(replica)
    files = export_items(replica, several, old_checkpoint=old)
    verdict = verify(files, author, ledger=None)
    assert (verdict.answer, verdict.current, verdict.size) == ("items", True, replica.size)
    first, second, third, absent = verdict.items
    assert [item.key for item in verdict.items] == [one.key for one in several]
    assert [(record.version, record.status) for record in first.records] == [(2, "active"), (1, "active")]
    assert (first.shown.content, second.shown.fields, third.shown.size) == (OTHER, (("/value", "5.60"),), None)
    for item in (first, second, third):
        assert item.registered == replica.store.block_at(item.records[-1].since).time
    assert (absent.records, absent.registered) == ((), None)
    # Each item is what a bundle of its own would say.
    alone = verify(export_object(replica, several[1].key, opening=several[1].opening), author)
    assert (alone.shown.fields, alone.registered, alone.position) == (
        second.shown.fields,
        second.registered,
        second.records[0].since,
    )
    bundle = written(tmp_path / "items", files)
    trusted = written(tmp_path, {"policy.txt": policy().encode()}) / "policy.txt"
    code, said, _ = verified(bundle, "--show", policy=trusted)
    assert (code, said.count("version 1 (newest 2)"), said.count("/value: 5.60"), said.count("There is no object")) == (
        0,
        1,
        1,
        1,
    )
    code, said, _ = verified(bundle, "--json", "--show", policy=trusted)
    rows = orjson.loads(said)["items"]
    assert [row["version"] for row in rows] == [1, 1, 1, None]
    assert [sorted({"fields", "opened_b64"} & row.keys()) for row in rows] == [["opened_b64"], ["fields"], [], []]


def test_attack_items_of_other_states_objects_or_entries_are_refused(author: Author, several: list[WantedItem]) -> None:
    replica = author.replica
    before = export_items(replica, several[:2])
    block_of(replica, author.anchor())
    finalise(replica)
    files = export_items(replica, several)
    entry = export_object(replica, several[1].key)

    def moved(source: int, target: int, name: str) -> dict[str, bytes]:
        return files | {f"items/{target}/{name}": files[f"items/{source}/{name}"]}

    again = {name.replace("items/2/", "items/4/"): data for name, data in files.items() if name.startswith("items/2/")}
    lies = [
        # A proof of an older state, and one that goes on there.
        (files | {name: data for name, data in before.items() if name.startswith("items/")}, "tlog.map"),
        (moved(1, 2, "record.json"), "bundle.record"),
        (moved(1, 2, "map.json"), "bundle.record"),
        (moved(0, 1, "opening.json"), "bundle.opening"),
        (moved(1, 2, "block.json"), "bundle.block"),
        (moved(0, 1, "history.json"), "bundle.history"),
        (moved(1, 3, "record.json"), "bundle.record"),
        (moved(1, 3, "block.json"), "bundle.record"),
        (files | again, "bundle.twice"),
        # Numbers with a gap, a name that is none, files of one object beside the items.
        (files | {"items/5/map.json": files["items/2/map.json"]}, "bundle.files"),
        ({name: data for name, data in files.items() if name != "items/1/map.json"}, "bundle.files"),
        (files | {"items/0/looks.json": b"{}"}, "bundle.files"),
        (files | {"items/00/map.json": b"{}"}, "bundle.files"),
        (files | {"items/0/../map.json": b"{}"}, "bundle.files"),
        (files | {"map.json": entry["map.json"]}, "bundle.files"),
        (files | {"block.json": entry["block.json"]}, "bundle.files"),
        *((files | {f"{name}.json": b"{}"}, "bundle.files") for name in ("absence", "askers", "disclosures")),
        # An entry that is not the end of the tree.
        (files | {name: entry[name] for name in ("entry.bin", "entry.tlog-proof")}, "bundle.entry"),
        (files | {"answer.json": entry["answer.json"]}, "bundle.answer"),
    ]
    for lie, code in lies:
        with pytest.raises((VerificationError, InputError), match=code.replace(".", r"\.")):
            verify(lie, author, ledger=None)
    with pytest.raises(VerificationError, match=r"bundle\.ledger_unnamed"):
        verify(files, author)
    # A later state of the ledger does not make the old bundle wrong.
    assert len(verify(before, author, ledger=None).items) == 2


def test_only_different_objects_within_the_bound_are_put_into_one_bundle(
    author: Author, several: list[WantedItem]
) -> None:
    for wanted in ([], [several[0], several[0]], [WantedItem(at.to_bytes(32)) for at in range(MAX_ITEMS + 1)]):
        with pytest.raises(InputError, match=r"trace\.items"):
            export_items(author.replica, wanted)
    with pytest.raises(NotFoundError, match=r"trace\.absent"):
        export_items(author.replica, [*several[:3], WantedItem(b"\x99" * 32, 1)])
    most = [WantedItem(at.to_bytes(32)) for at in range(MAX_ITEMS)]
    assert len(verify(export_items(author.replica, most), author, ledger=None).items) == MAX_ITEMS


def test_a_field_root_of_what_is_no_record_is_refused(author: Author) -> None:
    key = registered(author, b"%PDF-1.7", b"\x07" * 32)
    opening = record_opening(b"%PDF-1.7", SALT, b"\x07" * 32)
    with pytest.raises(VerificationError, match=r"bundle\.field_root"):
        verify(export_object(author.replica, key, opening=opening), author)


def test_a_verdict_says_what_is_shown_in_part(author: Author, tmp_path: Path) -> None:
    parts = [b'{"who":"%d"}' % number for number in range(5)]
    key = registered(author, pack(parts), parts_root(SALT, parts))
    path = prove_part(SALT, parts, 3)
    opening = part_opening(parts[3], whole_digest(SALT, pack(parts)), parts_root(SALT, parts), path)
    bundle = written(tmp_path / "part", export_object(author.replica, key, opening=opening))
    trusted = written(tmp_path, {"policy.txt": policy().encode(), "part.json": parts[3]}) / "policy.txt"
    code, said, _ = verified(bundle, "--content", str(tmp_path / "part.json"), policy=trusted)
    assert code == 0
    assert said.count("part /3; the other parts are not shown") == 2
    assert "unaltered" not in said
    body = build_body("subject", {"enroller": RENHE, "secret": "x"}, None, fresh)
    row = ObjectRow(fresh(16), 1, body.body_hash)
    until = author.replica.time + 30
    block_of(author.replica, sign(author.transaction(RENHE, Change("subject", "active", (row,)), until=until)))
    finalise(author.replica)
    shown = body.redact(["enroller"])
    files = export_object(author.replica, map_key("subject", RENHE, row.id), opening=body_opening(shown))
    code, said, _ = verified(written(tmp_path / "body", files), policy=trusted)
    assert (code, f"{len(shown.hidden)} leaves are hidden" in said) == (0, True)


def test_askers_without_disclosures_are_a_file_too_many(author: Author, anchored: bytes) -> None:
    with pytest.raises(InputError, match=r"bundle\.files name=askers\.json"):
        verify(opened(author, anchored) | {"askers.json": b"{}"}, author)
