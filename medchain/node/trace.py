"""Tracing: the bundle that proves an answer offline, made from this node's own copy of the ledger.

Keeps true: every bundle is made against a final checkpoint, and nothing leaves that `medchain.ledger.bundle` would not
verify under the policy of that checkpoint. Trusts the replica, which checks its own proofs. Long, since all kinds of
bundles are put together of the same few files.
Source: `docs/spec/proof-bundle.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from medchain.crypto.fields import FieldsProof, ShownField
from medchain.encoding import Json, base64_text, canonical
from medchain.errors import ConflictError, InputError, NotFoundError, UnavailableError
from medchain.ledger.askers import Listing, asked_by, organisation_key, write_askers
from medchain.ledger.bundle import Verdict, answer_document
from medchain.ledger.collection import items_of, judge_items, write_items
from medchain.ledger.disclosures import write_disclosures
from medchain.ledger.evidence.claim_reading import read_claim
from medchain.ledger.evidence.document import EVIDENCE_FILE, parse_evidence
from medchain.ledger.evidence.judge import judge_claim
from medchain.ledger.evidence.verdict import VERDICT_FILE
from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.listed import MEMBERS_FILE, write_listed
from medchain.ledger.machine import parse_state_leaf
from medchain.ledger.mapped import map_files
from medchain.ledger.members import addresses_of, organisation_content
from medchain.ledger.object import Body, StateRecord, public_body_hash
from medchain.ledger.opening import (
    BODY_OPENING_TYPE,
    FIELD_OPENING_TYPE,
    LARGE_OPENING_TYPE,
    OPENING_FILE,
    PART_OPENING_TYPE,
    RECORD_OPENING_TYPE,
)
from medchain.ledger.policy_steps import CHAIN_FILE
from medchain.ledger.registered import BLOCK_FILE, NEWEST_FILE, BlockEnd, write_block
from medchain.ledger.request import access_key
from medchain.ledger.transaction import Stop, parse_envelope
from medchain.node.replica import EntryProof, RecordProof, Replica
from medchain.node.segments import PartProof
from medchain.store.notes import StoredCheckpoint
from medchain.tlog.checkpoint import parse_checkpoint
from medchain.tlog.note import parse_note
from medchain.tlog.proof import format_proof
from medchain.tlog.witness import AddCheckpointRequest

MAX_ITEMS: Final = 500
"""Most objects of one bundle: with seven files each they are within what a bundle may hold."""


class BodyVersions(Protocol):
    """Bodies that this organisation holds."""

    def at(self, key: bytes, version: int) -> Body | None:
        """Return what is kept for a version of an object, None if nothing is."""
        ...


def record_opening(content: bytes, salt: bytes, field_root: bytes) -> bytes:
    """Write ``opening.json`` of a record.

    Args:
        content: the record's bytes.
        salt: 32 bytes, from its envelope.
        field_root: 32 bytes, zeros where single fields are not committed.

    Returns:
        Canonical JSON.
    """
    document: dict[str, Json] = {
        "content": base64_text(content),
        "field_root": field_root.hex(),
        "salt": salt.hex(),
        "type": RECORD_OPENING_TYPE,
    }
    return canonical(document)


def large_opening(content_sha256: bytes, size: int, salt: bytes, field_root: bytes) -> bytes:
    """Write ``opening.json`` of a record whose content is too large for a bundle.

    Args:
        content_sha256: SHA-256 of its bytes.
        size: how many they are, more than 1 MiB.
        salt: 32 bytes, from its envelope.
        field_root: 32 bytes, zeros where single fields are not committed.

    Returns:
        Canonical JSON.
    """
    document: dict[str, Json] = {
        "content_sha256": content_sha256.hex(),
        "field_root": field_root.hex(),
        "salt": salt.hex(),
        "size": size,
        "type": LARGE_OPENING_TYPE,
    }
    return canonical(document)


def part_opening(content: bytes, whole: bytes, field_root: bytes, proof: PartProof) -> bytes:
    """Write ``opening.json`` of one part of a segment.

    Args:
        content: the part's bytes.
        whole: digest of the segment's content, 32 bytes.
        field_root: over the parts, 32 bytes.
        proof: from `medchain.node.segments.prove_part`.

    Returns:
        Canonical JSON.
    """
    document: dict[str, Json] = {
        "content": base64_text(content),
        "field_root": field_root.hex(),
        "name": proof.name,
        "position": proof.path.position,
        "salt": proof.salt.hex(),
        "siblings": [one.hex() for one in proof.path.siblings],
        "type": PART_OPENING_TYPE,
        "whole": whole.hex(),
    }
    return canonical(document)


def field_opening(whole: bytes, field_root: bytes, shown: Sequence[ShownField], proof: FieldsProof) -> bytes:
    """Write ``opening.json`` of some fields of a record.

    Args:
        whole: digest of the record's content, 32 bytes.
        field_root: over all its fields, 32 bytes.
        shown: the fields, sorted by name.
        proof: from `medchain.crypto.fields.prove_fields`, positions in the same order.

    Returns:
        Canonical JSON.
    """
    rows: list[Json] = [
        {"name": one.name, "position": position, "salt": one.salt.hex(), "value": one.value.decode()}
        for one, position in zip(shown, proof.positions, strict=True)
    ]
    document: dict[str, Json] = {
        "field_root": field_root.hex(),
        "fields": rows,
        "height": proof.height,
        "siblings": [one.hex() for one in proof.siblings],
        "type": FIELD_OPENING_TYPE,
        "whole": whole.hex(),
    }
    return canonical(document)


def body_opening(body: Body) -> bytes:
    """Write ``opening.json`` of a body, whole or redacted."""
    return canonical({"body": body.to_json(), "type": BODY_OPENING_TYPE})


def export_object(
    replica: Replica,
    key: bytes,
    *,
    version: int | None = None,
    opening: bytes | None = None,
    old_checkpoint: bytes | None = None,
) -> dict[str, bytes]:
    """Prove what the newest final state holds under a key: its head, an earlier version, or that there is none.

    Args:
        replica: the ledger.
        key: map key, 32 bytes.
        version: which version; None for the head.
        opening: ``opening.json`` of that version, or None to show no content.
        old_checkpoint: an earlier cosigned checkpoint of the asker's; the bundle then proves that the log only grew.

    Returns:
        File name → content.

    Raises:
        NotFoundError: ``trace.absent`` when there is nothing to open, or no such version.
        ConflictError: ``trace.not_final`` while the object, or that version of it, is not final yet.
        UnavailableError: ``trace.no_final`` before the first final checkpoint.
        VerificationError: ``store.corrupt``.
    """
    return _export(replica, _final(replica), WantedItem(key, version, opening), old_checkpoint=old_checkpoint)


@dataclass(frozen=True, slots=True)
class WantedItem:
    """What is to be proven of one object.

    Attributes:
        key: map key, 32 bytes.
        version: which version; None for the head.
        opening: ``opening.json`` of that version, or None to show no content.
    """

    key: bytes
    version: int | None = None
    opening: bytes | None = None


def export_items(
    replica: Replica, wanted: Sequence[WantedItem], *, old_checkpoint: bytes | None = None
) -> dict[str, bytes]:
    """Prove what the newest final state holds under several keys, in one bundle: one state, for all of them.

    Args:
        replica: the ledger.
        wanted: of different objects, 1 to `MAX_ITEMS`.
        old_checkpoint: as for `export_object`.

    Returns:
        File name → content.

    Raises:
        InputError: ``trace.items`` for none, too many, or an object twice.
        NotFoundError, ConflictError, UnavailableError, VerificationError: as `export_object`.
    """
    _check_wanted(wanted)
    final = _final(replica)
    items = [_item(replica, final, one) for one in wanted]
    state = replica.prove_state(final.size)
    files = _entry(replica, state, state, _claim("items", replica, state, None), final)
    return files | dict(write_items(items)) | _growth(replica, final, old_checkpoint)


def export_claim(
    replica: Replica, wanted: Sequence[WantedItem], evidence: bytes, *, old_checkpoint: bytes | None = None
) -> dict[str, bytes]:
    """Put together what is found of a claim, and all that it stands on, in one bundle.

    Args:
        replica: the ledger.
        wanted: records, permissions, accesses and claims, of different objects, 1 to `MAX_ITEMS`.
        evidence: ``evidence.json``; the members that it names, or whose records its claim cites, are listed.
        old_checkpoint: as for `export_object`.

    Returns:
        File name → content, the verdict among them.

    Raises:
        InputError: ``trace.items``, or the code of evidence that cannot be read.
        NotFoundError, ConflictError, UnavailableError, VerificationError: as `export_object`; or what is signed in the
            evidence does not hold (`medchain.ledger.evidence.judge.judge`).
    """
    _check_wanted(wanted)
    final, read = _final(replica), parse_evidence(evidence)
    asked = read.question.hospital
    named = {read.insurer, *(one.disclosure.hospital for one in read.disclosures), *([asked] if asked else [])}
    named |= _cited_members(replica, final, read.content)
    state = replica.prove_state(final.size)
    files = _entry(replica, state, state, _claim("claim", replica, state, None), final)
    files |= dict(write_items([_item(replica, final, one, dated=True) for one in wanted]))
    files |= {EVIDENCE_FILE: evidence, MEMBERS_FILE: write_listed(_listed(replica, sorted(named), final.size))}
    tree, leaf = parse_checkpoint(parse_note(final.note.encode()).text), parse_state_leaf(state.leaf)
    items = judge_items(items_of(files), leaf.map_root, tree)
    verdict = judge_claim(evidence, files[MEMBERS_FILE], items, leaf, tree)
    return files | {VERDICT_FILE: verdict.encode()} | _growth(replica, final, old_checkpoint)


def _cited_members(replica: Replica, final: StoredCheckpoint, content: bytes) -> set[str]:
    """Name the members whose records a claim cites: of one that discloses nothing they are missing, not nobody's."""
    height = replica.store.block_of_size(final.size).height
    claim, members = read_claim(content), replica.store.members_at(height).organisations
    named = {one for one in members if one == claim.provider}
    addresses = {one.address for one in claim.cited if one.address}
    owners = addresses_of(members.values())
    if not addresses <= owners.keys():
        owners = replica.store.addresses_at(height)
    return named | {owners[one] for one in addresses & owners.keys()}


def _check_wanted(wanted: Sequence[WantedItem]) -> None:
    """Refuse no objects, too many, and one twice."""
    if not 0 < len(wanted) <= MAX_ITEMS or len({one.key for one in wanted}) != len(wanted):
        raise InputError("trace.items", count=len(wanted), limit=MAX_ITEMS)


def _item(replica: Replica, final: StoredCheckpoint, wanted: WantedItem, *, dated: bool = False) -> dict[str, bytes]:
    """Prove what a final map holds under a key, and when it came; where it is dated, its head as well."""
    found, proven, files = _mapped(replica, final, wanted)
    if proven is None or found.record is None:
        return files
    files = files | _block(replica, proven.since, final.size)
    if dated and proven.version != found.record.version:
        files[NEWEST_FILE] = _block(replica, found.record.since, final.size)[BLOCK_FILE]
    return files


def _listed(replica: Replica, org_ids: Sequence[str], size: int) -> Iterator[tuple[Listing, Sequence[bytes | None]]]:
    """Show members in the map, and when each of their versions came."""
    for org_id in org_ids:
        listing = _listing(replica, org_id, size)
        blocks = [_block(replica, record.since, size).get(BLOCK_FILE) for record in listing.records]
        yield listing, blocks


def _export(
    replica: Replica,
    final: StoredCheckpoint,
    wanted: WantedItem,
    *,
    answer: str | None = None,
    old_checkpoint: bytes | None = None,
) -> dict[str, bytes]:
    """Prove what a final state holds under a key, with its entry."""
    found, proven, shown = _mapped(replica, final, wanted)
    entry = found.state if proven is None else replica.prove_entry(proven.since, final.size)
    said = answer or ("absent" if proven is None else "record")
    files = _entry(replica, entry, found.state, _claim(said, replica, entry, wanted.key), final)
    files |= _block(replica, entry.position, entry.size)
    return files | shown | _growth(replica, final, old_checkpoint)


def _mapped(
    replica: Replica, final: StoredCheckpoint, wanted: WantedItem
) -> tuple[RecordProof, StateRecord | None, dict[str, bytes]]:
    """Prove what a final map holds under a key; returns the version that is proven, and its files but for the entry."""
    key, opening = wanted.key, wanted.opening
    found = replica.prove_record(key, final.size)
    files = map_files(found.map)
    if found.record is None:
        newest = replica.store.record(key)
        if newest is not None:
            raise ConflictError("trace.not_final", since=newest.since)
        if opening is not None or wanted.version is not None:
            raise NotFoundError("trace.absent")
        return found, None, files
    earlier = _earlier(replica, found.record, wanted.version)
    files["record.json"] = found.record.encode()
    if earlier:
        files["history.json"] = b"[" + b",".join(record.encode() for record in earlier) + b"]"
    if opening is not None:
        files[OPENING_FILE] = opening
    return found, earlier[-1] if earlier else found.record, files


def export_disclosures(
    replica: Replica, bodies: BodyVersions, grant: bytes, custodian: str, *, old_checkpoint: bytes | None = None
) -> dict[str, bytes]:
    """Prove all disclosures under a grant up to the newest final state, and with it that no other one is recorded.

    Args:
        replica: the ledger.
        bodies: those that this node holds; what was destroyed is shown as a version of which nothing is known.
        grant: map key of the grant, 32 bytes.
        custodian: org_id of the grant's custodian, ASCII.
        old_checkpoint: as for `export_object`.

    Returns:
        File name → content.

    Raises:
        ConflictError: ``trace.not_final`` while the first disclosure is not final yet.
        UnavailableError: ``trace.no_final`` before the first final checkpoint.
    """
    key, final = access_key(grant, custodian), _final(replica)
    head = replica.prove_record(key, final.size).record
    versions = 0 if head is None else head.version
    found = [bodies.at(key, number) for number in range(1, 1 + versions)]
    # A part of a body could hide a second list; whoever has no more has nothing to show.
    shown = [body if body is not None and not body.hidden else None for body in found]
    first = WantedItem(key, min(versions, 1) or None)
    files = _export(replica, final, first, answer="disclosures", old_checkpoint=old_checkpoint)
    asked = asked_by(shown)
    if asked:
        files["askers.json"] = write_askers([_listing(replica, org_id, final.size) for org_id in asked])
    return files | {"disclosures.json": write_disclosures(grant, custodian, shown)}


def _listing(replica: Replica, org_id: str, size: int) -> Listing:
    """Show a member's record in the map, and all its versions with their public contents."""
    key = organisation_key(org_id)
    proof = replica.prove_record(key, size).map
    records = [record for record in replica.store.history(key) if record.since < size]
    return Listing(proof, records, [_public_content(replica, org_id, record) for record in records])


def _public_content(replica: Replica, org_id: str, record: StateRecord) -> Json:
    """Return the content of a version of a member."""
    if record.since == 0:
        return organisation_content(replica.genesis.members.organisations[org_id])
    transaction = parse_envelope(replica.store.leaf(record.since)).transaction
    contents = () if isinstance(transaction, Stop) else transaction.bodies
    return next(content for content in contents if public_body_hash(record.kind, content) == record.body_hash)


def _earlier(replica: Replica, head: StateRecord, version: int | None) -> list[StateRecord]:
    """List the versions before the head down to the one that is asked for, the newest first."""
    if version is None or version == head.version:
        return []
    known = {record.version: record for record in replica.store.history(head.key)}
    if version not in known:
        raise NotFoundError("trace.absent", version=version)
    if version > head.version:
        raise ConflictError("trace.not_final", since=known[version].since)
    return [known[number] for number in range(head.version - 1, version - 1, -1)]


def export_entry(replica: Replica, position: int, *, old_checkpoint: bytes | None = None) -> dict[str, bytes]:
    """Prove that the log holds an entry.

    Args:
        replica: the ledger.
        position: leaf index.
        old_checkpoint: as for `export_object`.

    Returns:
        File name → content.

    Raises:
        NotFoundError: ``store.leaf`` if there is no such entry; ``trace.not_final`` is a `ConflictError`.
        UnavailableError: ``trace.no_final`` before the first final checkpoint.
    """
    final = _final(replica)
    if final.size <= position < replica.size:
        raise ConflictError("trace.not_final", since=position)
    entry = replica.prove_entry(position, final.size)
    claim = _claim("entry", replica, entry, None)
    files = _entry(replica, entry, replica.prove_state(final.size), claim, final)
    return files | _block(replica, position, final.size) | _growth(replica, final, old_checkpoint)


def _final(replica: Replica) -> StoredCheckpoint:
    """Return the newest final checkpoint."""
    final = replica.store.final()
    if final is None:
        raise UnavailableError("trace.no_final")
    return final


def _claim(answer: str, replica: Replica, entry: EntryProof, key: bytes | None) -> Verdict:
    """Say what the bundle answers; a verifier compares it with what it finds."""
    is_state = entry.position > 0 and entry.leaf.startswith(b'{"height":')
    return Verdict(
        answer=answer,
        current=False,
        ledger=None if is_state else replica.ledger.hex(),
        object=None if key is None else key.hex(),
        position=entry.position,
        size=entry.size,
        time=0,
        status=None,
        version=None,
        cosigners=(),
    )


def _entry(
    replica: Replica, entry: EntryProof, state: EntryProof, verdict: Verdict, final: StoredCheckpoint
) -> dict[str, bytes]:
    """Write the files that every bundle has, and the policy chain where there is one."""
    members = replica.store.members_at(replica.store.block_of_size(final.size).height)
    files = {
        "answer.json": answer_document(verdict),
        "entry.bin": entry.leaf,
        "entry.tlog-proof": _proof(entry, final.note),
        "policy.txt": trusted_policy_text(members, replica.genesis.origin).encode(),
        "state.bin": state.leaf,
        "state.tlog-proof": _proof(state, final.note),
    }
    chain = replica.policy_steps.chain(final)
    return files if chain is None else files | {"genesis.json": replica.genesis.encoded, CHAIN_FILE: chain}


def _block(replica: Replica, position: int, size: int) -> dict[str, bytes]:
    """Prove when the entry at a position was accepted; the end of a block tells that itself."""
    block = replica.store.block_at(position)
    if position == block.size - 1:
        return {}
    after = _end(replica, block.size - 1, size)
    before = None if block.height == 0 else _end(replica, block.first - 1, size)
    return {BLOCK_FILE: write_block(before, after)}


def _end(replica: Replica, position: int, size: int) -> BlockEnd:
    """Prove that a tree holds the end of a block."""
    proof = replica.prove_entry(position, size)
    return BlockEnd(proof.leaf, proof.position, proof.hashes)


def _proof(entry: EntryProof, note: str) -> bytes:
    """Write a tlog-proof."""
    return format_proof(entry.position, entry.hashes, note.encode())


def _growth(replica: Replica, final: StoredCheckpoint, old_checkpoint: bytes | None) -> dict[str, bytes]:
    """Prove that the log only grew since the asker's checkpoint."""
    if old_checkpoint is None:
        return {}
    old_size = parse_checkpoint(parse_note(old_checkpoint).text).size
    if old_size > final.size:
        raise ConflictError("trace.newer_checkpoint", size=old_size, final=final.size)
    hashes = replica.prove_growth(old_size, final.size)
    request = AddCheckpointRequest(old_size, hashes, final.note.encode())
    return {"checkpoint-old": old_checkpoint, "consistency.txt": request.to_bytes()}
