"""The daemon's operations that export proof bundles, for web workers and the command line.

Keeps true: who asks gives the opening, since the daemon opens records for nobody. Trusts `medchain.node.trace`.
Source: `docs/spec/proof-bundle.md`.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from medchain.crypto.commitment import NO_FIELDS, whole_digest
from medchain.crypto.fields import ShownField, prove_fields, record_field_leaves, record_field_salts, record_fields
from medchain.encoding import Json, as_list, as_object, base64_text, members, unbase64, unhex
from medchain.errors import InputError, NotFoundError, VerificationError
from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.kinds.content import short_text
from medchain.ledger.object import map_key
from medchain.ledger.transaction import HASH_BYTES, parse_envelope
from medchain.node.records import OpenedRecord, RecordService
from medchain.node.replica import Replica
from medchain.node.segments import prove_part
from medchain.node.trace import (
    BodyVersions,
    WantedItem,
    export_disclosures,
    export_entry,
    export_items,
    export_object,
    field_opening,
    large_opening,
    part_opening,
    record_opening,
)
from medchain.store.records import RecordVersion

PROVE: Final = "prove_object"
"""Name of the operation: ``{"key":HEX}`` → ``{"files":{NAME:B64}}``; with ``"opening":B64`` where content is shown,
``"version":N`` for that version and not the head, ``"checkpoint":B64`` where the asker has an earlier one."""

PROVE_ITEMS: Final = "prove_objects"
"""Name of the operation for several objects in one bundle: ``{"items":[{"key":HEX},…]}``, each with ``"opening"`` and
``"version"``, all with ``"checkpoint"``, as above → the same."""

PROVE_ENTRY: Final = "prove_entry"
"""Name of the operation for an entry of the log: ``{"position":N}``, with ``"checkpoint"`` as above → the same."""

PROVE_DISCLOSURES: Final = "prove_disclosures"
"""Name of the operation for all disclosures under a grant: ``{"custodian":ORG,"grant":HEX}``, with ``"checkpoint"`` as
above → the same."""

TRACE: Final = "trace_record"
"""Name of the operation that tells where a version of a record stands and proves it: ``{"key":HEX,"version":N}``, with
``"opening":B64`` where content is shown → ``{"creator":ORG,"files":…,"names":{ORG:NAME},"position":N,"signed":N,
"signers":[[ORG,ROLE],…],"time":N}``."""

TRUSTED_POLICY: Final = "policy.trusted"
"""Name of the operation: ``{}`` → ``{"policy":TEXT}``, the policy.txt of the members at the newest final block end."""

_RECORD: Final = "record"
_MAX_FILE_BYTES: Final = 64 << 20
_NUMBERS: Final = ("position", "signed", "time")


@dataclass(frozen=True, slots=True)
class Traced:
    """Where a version of a record stands on the ledger, and its proof.

    Attributes:
        position: of the entry that anchors it.
        time: of its block, Unix seconds.
        signed: since when the cosignatures of the checkpoint are a quorum, Unix seconds.
        creator: org_id of the member that anchored it.
        signers: (org_id, role) of those whose signatures the entry has.
        names: org_id → language → name.
        files: of the proof bundle.
    """

    position: int
    time: int
    signed: int
    creator: str
    signers: tuple[tuple[str, str], ...]
    names: Mapping[str, Mapping[str, str]]
    files: Mapping[str, bytes]


def trusted_policy(replica: Replica) -> Json:
    """Carry out `TRUSTED_POLICY`: what is not final may be dropped, and nobody trust its members."""
    return {"policy": trusted_policy_text(replica.store.final_members(), replica.genesis.origin)}


def read_trusted_policy(answer: Json) -> str:
    """Read what `TRUSTED_POLICY` answers."""
    return str(members(answer, {"policy": str})["policy"])


class LocalDaemon(Protocol):
    """Calls the node's daemon, see `medchain.node.local.LocalClient`."""

    def call(self, operation: str, document: Json) -> Json:
        """Have the daemon do something."""
        ...


def prove_object(replica: Replica, document: Json) -> Json:
    """Do the operation; errors as `medchain.node.trace.export_object`."""
    asked = members(document, {"key": str}, {"checkpoint": str, "opening": str, "version": int})
    old = _optional(asked, "checkpoint")
    one = _wanted({name: value for name, value in asked.items() if name != "checkpoint"})
    return _answer(export_object(replica, one.key, version=one.version, opening=one.opening, old_checkpoint=old))


def prove_items(replica: Replica, document: Json) -> Json:
    """Do the operation; errors as `medchain.node.trace.export_items`."""
    asked = members(document, {"items": list}, {"checkpoint": str})
    wanted = [_wanted(row) for row in as_list(asked["items"])]
    return _answer(export_items(replica, wanted, old_checkpoint=_optional(asked, "checkpoint")))


def _wanted(value: Json) -> WantedItem:
    """Read what is to be proven of one object."""
    row = members(value, {"key": str}, {"opening": str, "version": int})
    version = row.get("version")
    return WantedItem(
        unhex(row["key"], HASH_BYTES), version if type(version) is int else None, _optional(row, "opening")
    )


def prove_entry(replica: Replica, document: Json) -> Json:
    """Do the operation; errors as `medchain.node.trace.export_entry`."""
    asked = members(document, {"position": int}, {"checkpoint": str})
    position = asked["position"]
    if type(position) is not int or position < 0:
        raise InputError("encoding.members", member="position")
    return _answer(export_entry(replica, position, old_checkpoint=_optional(asked, "checkpoint")))


def prove_disclosures(replica: Replica, bodies: BodyVersions, document: Json) -> Json:
    """Do the operation; errors as `medchain.node.trace.export_disclosures`."""
    asked = members(document, {"custodian": str, "grant": str}, {"checkpoint": str})
    custodian, grant = short_text(asked["custodian"]), unhex(asked["grant"], HASH_BYTES)
    if not custodian.isascii():
        raise InputError("encoding.members", member="custodian")
    old = _optional(asked, "checkpoint")
    return _answer(export_disclosures(replica, bodies, grant, custodian, old_checkpoint=old))


def trace_record(replica: Replica, document: Json) -> Json:
    """Do the operation; errors as `medchain.node.trace.export_object`."""
    asked = members(document, {"key": str, "version": int}, {"opening": str})
    key, version = unhex(asked["key"], HASH_BYTES), asked["version"]
    number = version if type(version) is int else 0
    # The time of an older checkpoint is told, never of a newer one than the bundle has.
    final = replica.store.final()
    files = export_object(replica, key, version=number, opening=_optional(asked, "opening"))
    record = replica.store.version(key, number)
    if record is None or final is None:
        raise NotFoundError("trace.absent", version=number)
    block = replica.store.block_at(record.since)
    known = replica.store.members_at(block.height)
    transaction = parse_envelope(replica.store.leaf(record.since)).transaction
    signers = [
        (organisation.org_id, signer.role)
        for signer in transaction.signers
        if (organisation := known.signer(signer.key_id)) is not None
    ]
    told = sorted({transaction.creator, *(org_id for org_id, _ in signers)})
    return {
        "creator": transaction.creator,
        "files": {name: base64_text(content) for name, content in files.items()},
        "names": {one: dict(known.organisations[one].name) for one in told},
        "position": record.since,
        "signed": final.time,
        "signers": [[org_id, role] for org_id, role in signers],
        "time": block.time,
    }


def opening_of(service: RecordService, stored: RecordVersion) -> bytes:
    """Write ``opening.json`` of a record version: with its content, or with size and hash of one above 1 MiB.

    Of a part of a segment it shows the part alone.

    Args:
        service: opens it.
        stored: the version.

    Returns:
        Canonical JSON.

    Raises:
        NotFoundError: ``record.deleted``, ``record.erased``.
        VerificationError: as `RecordService.read`.
    """
    if stored.segment is not None:
        parts, place = service.part_of(stored)
        proof = prove_part(parts.salt, parts.contents, place)
        return part_opening(parts.contents[place], parts.whole, parts.root, proof)
    if stored.blob is not None:
        measured = service.measure(stored)
        return large_opening(measured.sha256, measured.size, measured.salt, measured.field_root)
    opened = service.open(stored)
    if not opened.content:
        raise NotFoundError("record.deleted", version=stored.version)
    return record_opening(opened.content, opened.salt, opened.field_root)


def opening_of_fields(service: RecordService, stored: RecordVersion, pointers: Sequence[str]) -> bytes:
    """Write ``opening.json`` that shows some fields of a record version, and nothing of the others.

    Args:
        service: opens it.
        stored: the version.
        pointers: JSON pointers (RFC 6901) into the record; one to an object or array shows all that is in it.

    Returns:
        Canonical JSON.

    Raises:
        InputError: ``record.no_fields`` for a version whose fields are not committed to one by one,
            ``record.no_field`` with ``pointer`` for one that points to nothing.
        NotFoundError: ``record.deleted``, ``record.erased``.
        VerificationError: as `RecordService.read`.
    """
    if stored.segment is not None or stored.blob is not None:
        raise InputError("record.no_fields")
    opened = service.open(stored)
    if not opened.content:
        raise NotFoundError("record.deleted", version=stored.version)
    if opened.field_root == NO_FIELDS:
        raise InputError("record.no_fields")
    fields = record_fields(opened.content)
    return show_fields(opened, fields, {place for pointer in pointers for place in _pointed(fields, pointer)})


def show_fields(opened: OpenedRecord, fields: Sequence[tuple[bytes, bytes]], shown: Collection[int]) -> bytes:
    """Write ``opening.json`` that shows some fields of an opened record.

    Args:
        opened: a record whose fields are committed to one by one.
        fields: all of them (`medchain.crypto.fields.record_fields`).
        shown: places of those that are shown, at least one.

    Returns:
        Canonical JSON.
    """
    leaves = record_field_leaves(opened.salt, fields)
    places = sorted(shown, key=fields.__getitem__)
    salts = record_field_salts(opened.salt, len(fields))
    rows = [
        ShownField(fields[place][0].decode(), fields[place][1], salts[place * HASH_BYTES :][:HASH_BYTES])
        for place in places
    ]
    proof = prove_fields(leaves, [leaves[place] for place in places])
    return field_opening(whole_digest(opened.salt, opened.content), opened.field_root, rows, proof)


def _pointed(fields: Sequence[tuple[bytes, bytes]], pointer: str) -> list[int]:
    """List the places of the fields at a pointer or below it; raises `InputError`."""
    at = pointer.encode()
    found = [place for place, (name, _) in enumerate(fields) if name == at or name.startswith(at + b"/")]
    if not at.startswith(b"/") or not found:
        raise InputError("record.no_field", pointer=pointer[:200])
    return found


def record_proof(
    daemon: LocalDaemon, org_id: str, stored: RecordVersion, opening: bytes, *, old_checkpoint: bytes | None = None
) -> Mapping[str, bytes]:
    """Have the daemon export the proof of a version of one of this node's records.

    Args:
        daemon: the way to it.
        org_id: this node's organisation.
        stored: the version.
        opening: from `opening_of`.
        old_checkpoint: an earlier checkpoint; the bundle then proves that the log only grew since.

    Returns:
        File name → content.

    Raises:
        MedchainError: what the operation raises.
    """
    key = map_key(_RECORD, org_id, stored.object_id)
    asked: dict[str, Json] = {"key": key.hex(), "opening": base64_text(opening), "version": stored.version}
    if old_checkpoint is not None:
        asked["checkpoint"] = base64_text(old_checkpoint)
    return proof_files(daemon.call(PROVE, asked))


def records_proof(
    daemon: LocalDaemon,
    org_id: str,
    shown: Sequence[tuple[RecordVersion, bytes]],
    *,
    old_checkpoint: bytes | None = None,
) -> Mapping[str, bytes]:
    """Have the daemon export one proof of versions of several of this node's records.

    Args:
        daemon: the way to it.
        org_id: this node's organisation.
        shown: each version, and what is shown of it, from `opening_of` or `opening_of_fields`.
        old_checkpoint: as for `record_proof`.

    Returns:
        File name → content.

    Raises:
        MedchainError: what the operation raises.
    """
    items: list[Json] = [
        {
            "key": map_key(_RECORD, org_id, stored.object_id).hex(),
            "opening": base64_text(opening),
            "version": stored.version,
        }
        for stored, opening in shown
    ]
    asked: dict[str, Json] = {"items": items}
    if old_checkpoint is not None:
        asked["checkpoint"] = base64_text(old_checkpoint)
    return proof_files(daemon.call(PROVE_ITEMS, asked))


def proof_files(answer: Json) -> Mapping[str, bytes]:
    """Read the bundle in the daemon's answer; raises `VerificationError` ``encoding.members`` if there is none."""
    files = as_object(answer).get("files")
    if not isinstance(files, dict):
        raise VerificationError("encoding.members", member="files")
    return {name: unbase64(text, max_bytes=_MAX_FILE_BYTES) for name, text in files.items()}


def zip_bundle(files: Mapping[str, bytes]) -> bytes:
    """Pack a proof bundle; the same files give the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name), files[name], zipfile.ZIP_DEFLATED)
    return packed.getvalue()


@dataclass(frozen=True, slots=True)
class RecordTracer:
    """Traces versions of this node's records on the ledger, through the daemon.

    Attributes:
        org_id: this node's organisation, custodian of its records.
        ledger: ledger id, 32 bytes.
        daemon: the way to it.
        service: opens records.
    """

    org_id: str
    ledger: bytes
    daemon: LocalDaemon
    service: RecordService

    def trace(self, stored: RecordVersion) -> Traced:
        """Tell where a version stands, and prove it with its content; of a deletion there is none to show.

        Raises:
            ConflictError: ``trace.not_final``.
            NotFoundError: ``record.erased``.
            MedchainError: what the operation raises.
        """
        key = map_key(_RECORD, self.org_id, stored.object_id)
        asked: dict[str, Json] = {"key": key.hex(), "version": stored.version}
        if stored.blob is not None or not self.service.is_deleted(stored):
            asked["opening"] = base64_text(opening_of(self.service, stored))
        return _traced(self.daemon.call(TRACE, asked))


def _traced(answer: Json) -> Traced:
    """Read the daemon's answer."""
    told = members(
        answer,
        {"creator": str, "files": dict, "names": dict, "position": int, "signed": int, "signers": list, "time": int},
    )
    files, names, signers = told["files"], told["names"], told["signers"]
    if not (isinstance(files, dict) and isinstance(names, dict) and isinstance(signers, list)):
        raise VerificationError("encoding.members", member="files")
    position, signed, time = (value if isinstance(value := told[name], int) else 0 for name in _NUMBERS)
    return Traced(
        position=position,
        time=time,
        signed=signed,
        creator=str(told["creator"]),
        signers=tuple((str(row[0]), str(row[1])) for row in signers if isinstance(row, list)),
        names={
            org_id: {language: str(text) for language, text in name.items()}
            for org_id, name in names.items()
            if isinstance(name, dict)
        },
        files={name: unbase64(text, max_bytes=_MAX_FILE_BYTES) for name, text in files.items()},
    )


def _optional(asked: Mapping[str, Json], name: str) -> bytes | None:
    """Read a member that need not be there."""
    return unbase64(asked[name], max_bytes=_MAX_FILE_BYTES) if name in asked else None


def _answer(files: Mapping[str, bytes]) -> Json:
    """Write a bundle."""
    return {"files": {name: base64_text(content) for name, content in files.items()}}
