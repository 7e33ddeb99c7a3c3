"""Several objects proven by one bundle: each has files of its own, all stand on one state.

Keeps true: an item holds what a bundle of its own would, but for its entry, which adds nothing to a record under a
proven map; no object has two items, of which a reader would see one. Trusts the caller for the state and its tree.
Source: `docs/spec/proof-bundle.md` 14.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json
from medchain.errors import InputError, VerificationError
from medchain.ledger.mapped import MAP_FILE, read_map, read_records
from medchain.ledger.object import StateRecord
from medchain.ledger.opening import NOTHING, OPENING_FILE, Shown, open_content
from medchain.ledger.registered import BLOCK_FILE, NEWEST_FILE, accepted_at
from medchain.tlog.checkpoint import Checkpoint
from medchain.tlog.statemap import verify_map

ITEMS: Final = "items/"
"""Folder of the items, one folder each, named 0, 1, …"""

_NAME: Final = re.compile(r"items/(0|[1-9][0-9]{0,2})/([a-z]+\.json)\Z")
_PRESENT: Final = frozenset({BLOCK_FILE, "history.json", NEWEST_FILE, OPENING_FILE, "record.json"})
_FILES: Final = _PRESENT | {"absence.json", MAP_FILE}


@dataclass(frozen=True, slots=True)
class Item:
    """What is proven of one object.

    Attributes:
        key: its map key, 32 bytes.
        records: its state records, the newest first, the one that is proven last; none where it is absent.
        shown: what of that version's content is shown.
        registered: when that version was accepted, Unix seconds, None where it is not proven.
        changed: when the newest version was accepted, likewise.
    """

    key: bytes
    records: tuple[StateRecord, ...]
    shown: Shown
    registered: int | None
    changed: int | None = None

    @property
    def newest(self) -> StateRecord | None:
        """Its head; None where it is absent."""
        return self.records[0] if self.records else None

    @property
    def proven(self) -> StateRecord | None:
        """The version that is proven; None where it is absent."""
        return self.records[-1] if self.records else None

    def to_json(self) -> dict[str, Json]:
        """Write what is proven, without the content."""
        newest, proven = self.newest, self.proven
        return self.shown.to_json() | {
            "changed": self.changed,
            "newest": None if newest is None else newest.version,
            "object": self.key.hex(),
            "position": None if proven is None else proven.since,
            "registered": self.registered,
            "status": None if proven is None else proven.status,
            "version": None if proven is None else proven.version,
        }


def items_of(files: Mapping[str, bytes]) -> list[dict[str, bytes]]:
    """Take the files of items out of a bundle's.

    Args:
        files: of the bundle.

    Returns:
        Name → content of each item, in order; none for a bundle without items.

    Raises:
        InputError: ``bundle.files`` for other names, or numbers that do not follow each other.
    """
    found: dict[int, dict[str, bytes]] = {}
    for name in sorted(name for name in files if name.startswith(ITEMS)):
        match = _NAME.match(name)
        if match is None or match[2] not in _FILES:
            raise InputError("bundle.files", name=name[:64])
        found.setdefault(int(match[1]), {})[match[2]] = files[name]
    if found.keys() != set(range(len(found))):
        raise InputError("bundle.files", name=ITEMS)
    return [found[number] for number in range(len(found))]


def judge_items(items: list[dict[str, bytes]], map_root: bytes, tree: Checkpoint) -> tuple[Item, ...]:
    """Judge each item under a state.

    Args:
        items: from `items_of`.
        map_root: of the state, 32 bytes.
        tree: the checkpoint of which the state is the end.

    Returns:
        What is proven, in order.

    Raises:
        InputError: ``bundle.files``, or the code of the format.
        VerificationError: ``bundle.twice`` for an object that has two items, or the code of the rule broken.
    """
    judged: dict[bytes, Item] = {}
    for files in items:
        item = _judged(files, map_root, tree)
        if item.key in judged:
            raise VerificationError("bundle.twice", name=item.key.hex())
        judged[item.key] = item
    return tuple(judged.values())


def write_items(items: list[dict[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Name the files of items as they stand in a bundle."""
    for number, files in enumerate(items):
        for name, content in files.items():
            yield f"{ITEMS}{number}/{name}", content


def _judged(files: Mapping[str, bytes], map_root: bytes, tree: Checkpoint) -> Item:
    """Judge one item."""
    if MAP_FILE not in files:
        raise InputError("bundle.files", name=MAP_FILE)
    proof = read_map(files)
    verify_map(map_root, proof)
    records = tuple(read_records(files, proof))
    if not records:
        if files.keys() & _PRESENT:
            raise VerificationError("bundle.record")
        return Item(proof.key, (), NOTHING, None)
    record = records[-1]
    shown = open_content(files[OPENING_FILE], record) if OPENING_FILE in files else NOTHING
    registered = accepted_at(files[BLOCK_FILE], record.since, tree) if BLOCK_FILE in files else None
    if len(records) == 1:
        if NEWEST_FILE in files:
            # It would be a second time of one version.
            raise InputError("bundle.files", name=NEWEST_FILE)
        return Item(proof.key, records, shown, registered, registered)
    changed = accepted_at(files[NEWEST_FILE], records[0].since, tree) if NEWEST_FILE in files else None
    return Item(proof.key, records, shown, registered, changed)
