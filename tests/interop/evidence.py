"""Evidence for a claim, taken apart into bundles that tools of others know: of one map proof each, or of one time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from medchain.encoding import canonical, parse_canonical
from medchain.ledger.collection import items_of
from medchain.ledger.mapped import read_map, read_records
from medchain.ledger.object import StateRecord

OF_STATE = ("answer.json", "entry.bin", "entry.tlog-proof", "policy.txt", "state.bin", "state.tlog-proof")
OF_MAP = ("absence.json", "map.json", "record.json")


def proofs(files: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Take each map proof out of a bundle: those of its items, and those of its members."""
    for item in items_of(files):
        yield {name: item[name] for name in OF_MAP if name in item}
    for row in parse_canonical(files["askers.json"], max_bytes=1 << 22)["askers"]:
        yield {"map.json": canonical(row["map"]), "record.json": canonical(row["records"][0])}


def times(files: Mapping[str, bytes]) -> Iterator[tuple[int, bytes]]:
    """List each proof of when an entry was accepted, with its position: of items, of their newest, of members."""
    for item in items_of(files):
        records = read_records(item, read_map(item))
        for name, record in (("block.json", records[-1:]), ("newest.json", records[:1])):
            if name in item:
                yield record[0].since, item[name]
    for row in parse_canonical(files["askers.json"], max_bytes=1 << 22)["askers"]:
        for record, block in zip(row["records"], row["blocks"], strict=True):
            yield StateRecord.decode(canonical(record)).since, canonical(block)


def put_proof(folder: Path, files: Mapping[str, bytes], proof: Mapping[str, bytes]) -> Path:
    """Write a bundle of one of the map proofs of a bundle of evidence; returns the folder, which is made."""
    return _put(folder, files, proof)


def put_time(folder: Path, files: Mapping[str, bytes], position: int, block: bytes) -> Path:
    """Write a bundle of one of its proofs of times; returns the folder, which is made."""
    return _put(folder, files, {"block.json": block, "place.json": canonical({"position": position})})


def _put(folder: Path, files: Mapping[str, bytes], more: Mapping[str, bytes]) -> Path:
    folder.mkdir()
    for name, content in ({name: files[name] for name in OF_STATE} | dict(more)).items():
        (folder / name).write_bytes(content)
    return folder
