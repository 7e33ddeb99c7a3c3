"""What a proven map holds under a key: the newest state record, and earlier ones that it stands on, or nothing.

Keeps true: an absence is proven only with the value that binds the label of its first node; each record is the one that
the next names by its digest. Trusts the caller for the map's root.
Source: `docs/spec/proof-bundle.md` 4, 5; `docs/spec/log.md` 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Final

from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import InputError, VerificationError
from medchain.ledger.object import StateRecord
from medchain.ledger.transaction import HASH_BYTES
from medchain.tlog.mapnode import EMPTY_NODE
from medchain.tlog.statemap import MapProof

MAP_FILE: Final = "map.json"
"""Name of the file with the map proof."""

ABSENCE_TYPE: Final = "medchain/absence/v1"
"""Type member of ``absence.json``."""

MAX_HISTORY_BYTES: Final = 64 * 1024 * 1024
"""Largest list of earlier records."""

_MAX_ABSENCE_BYTES: Final = 4096


def read_map(files: Mapping[str, bytes]) -> MapProof:
    """Read the map proof, and for an absence the value that binds the label of its first node.

    Without that value anyone could write another label beside the right hash, and "prove" a present key absent
    (`docs/spec/log.md` 16). It has a file of its own so that ``map.json`` stays what other tools know.

    Args:
        files: name → content.

    Returns:
        The proof, not checked against a root yet.

    Raises:
        InputError: ``bundle.files``, ``tlog.map_json``, ``encoding.*``.
    """
    proof = MapProof.from_json(files["map.json"])
    if any(node.value is not None for node in proof.nodes):
        raise InputError("bundle.files", name="map.json")
    if proof.value is not None or not proof.nodes or proof.nodes[0] == EMPTY_NODE:
        if "absence.json" in files:
            raise InputError("bundle.files", name="absence.json")
        return proof
    if "absence.json" not in files:
        raise InputError("bundle.files", name="absence.json")
    top = members(parse_canonical(files["absence.json"], max_bytes=_MAX_ABSENCE_BYTES), {"type": str, "value": str})
    if top["type"] != ABSENCE_TYPE:
        raise InputError("bundle.files", name="absence.json")
    return replace(proof, nodes=(replace(proof.nodes[0], value=unhex(top["value"], HASH_BYTES)), *proof.nodes[1:]))


def map_files(proof: MapProof) -> dict[str, bytes]:
    """Write ``map.json``, and ``absence.json`` where a proof of absence has a value to bind its first node."""
    bare = replace(proof, nodes=tuple(replace(node, value=None) for node in proof.nodes))
    files = {"map.json": bare.to_json()}
    value = proof.nodes[0].value if proof.nodes else None
    if proof.value is None and value is not None:
        files["absence.json"] = canonical({"type": ABSENCE_TYPE, "value": value.hex()})
    return files


def read_records(files: Mapping[str, bytes], proof: MapProof) -> list[StateRecord]:
    """Check ``record.json`` against the map, and walk from it to the version that is proven.

    Args:
        files: name → content.
        proof: a map proof that holds.

    Returns:
        The newest record first, the one that is proven last; none where the map has nothing under the key.

    Raises:
        InputError: ``bundle.files``, ``encoding.*``, ``record.malformed``.
        VerificationError: ``bundle.record``, ``bundle.history``.
    """
    if proof.value is None:
        return []
    records = [_newest(files, proof, proof.value)]
    for item in _history(files):
        earlier = StateRecord.decode(canonical(item))
        if earlier.digest != records[-1].previous:
            raise VerificationError("bundle.history")
        records.append(earlier)
    return records


def _newest(files: Mapping[str, bytes], proof: MapProof, value: bytes) -> StateRecord:
    """Check the newest state record against the map."""
    if "record.json" not in files:
        raise InputError("bundle.files", name="record.json")
    data = files["record.json"]
    if sha256(data).digest() != value:
        raise VerificationError("bundle.record")
    record = StateRecord.decode(data)
    if record.key != proof.key:
        raise VerificationError("bundle.record")
    return record


def _history(files: Mapping[str, bytes]) -> list[Json]:
    """Read ``history.json``, which an answer about the newest version does not have."""
    if "history.json" not in files:
        return []
    rows = parse_canonical(files["history.json"], max_bytes=MAX_HISTORY_BYTES)
    if type(rows) is not list or not rows:
        raise InputError("bundle.files", name="history.json")
    return rows
