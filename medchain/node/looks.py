"""Looks: what is left to be entered, and the proof of a patient's list.

Keeps true: a proof is of the newest root that is final, or there is none. Trusts whoever leaves looks to be entered to
name the patients rightly, and the store for atomic writes. Who enters them: `medchain.node.look_book`.
Source: `docs/spec/looks.md`.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from medchain.encoding import Json, as_list, canonical, parse_canonical
from medchain.errors import NotFoundError, UnavailableError, VerificationError
from medchain.ledger.looks import CHAIN_BYTES, LookEntry, LookRow, LooksRoot, place_of, write_looks
from medchain.node.records import RecordService
from medchain.store.looks import LookRecord
from medchain.store.records import LOOKS, RecordStore, RecordVersion
from medchain.tlog.statemap import MapRoot, prove

ROOTS: Final = "roots"
"""Id of the record whose versions are the roots."""

_RETRY_S: Final = 2
_TRIES: Final = 3
_MAX_BYTES: Final = 64 << 20


def pack_looks(looks: Iterable[tuple[str, LookRow]]) -> bytes:
    """Write what is to be entered; empty for nothing.

    Args:
        looks: id of the Patient, and what is entered in the list.
    """
    rows: list[Json] = [[patient, row.to_json()] for patient, row in looks]
    return zlib.compress(canonical(rows), 1) if rows else b""


def unpack_looks(looks: bytes) -> Iterator[tuple[str, LookRow]]:
    """Read what `pack_looks` has written."""
    rows = _unzipped(looks)
    for row in as_list(rows):
        if isinstance(row, list):
            yield str(row[0]), LookRow.from_json(row[1])


def write_entry(entry: LookEntry) -> bytes:
    """Write an entry as it is kept."""
    return zlib.compress(canonical(entry.to_json()), 1)


def _unzipped(content: bytes) -> Json:
    """Read compressed JSON of this node's own."""
    unpacking = zlib.decompressobj()
    return parse_canonical(unpacking.decompress(content, _MAX_BYTES), max_bytes=_MAX_BYTES)


def looks_proof(
    store: RecordStore,
    service: RecordService,
    prove_record: Callable[[RecordVersion], Mapping[str, bytes]],
    patient: str,
) -> Mapping[str, bytes]:
    """Prove all that is entered of a patient up to the newest root.

    Args:
        store: the records file.
        service: opens the root.
        prove_record: proves a record version with its content, see `medchain.node.proofs.record_proof`.
        patient: id of the Patient.

    Returns:
        The files of a bundle, name → content.

    Raises:
        NotFoundError: ``looks.none`` where no root was made yet.
        UnavailableError: ``looks.pending`` while a root is on its way to the ledger.
        MedchainError: what `prove_record` raises.
    """
    for _ in range(_TRIES):
        stored = store.get(LOOKS, ROOTS)
        if stored is None:
            raise NotFoundError("looks.none")
        if stored.position is None:
            break
        try:
            looks = _document(store, LooksRoot.decode(service.open(stored).content), stored, service, patient)
        except VerificationError:
            # The next root was made between two of these readings.
            if store.newest_version(LOOKS, ROOTS) == stored.version:
                raise
            continue
        files = prove_record(stored)
        if "history.json" not in files:
            return {**files, "answer.json": _claim(files["answer.json"]), "looks.json": looks}
    raise UnavailableError("looks.pending", retry_after_s=_RETRY_S)


def covered_looks(store: RecordStore, token: str) -> frozenset[str]:
    """Return the ids of the events of a patient that a final root covers.

    Args:
        store: the records file.
        token: patient's keyed token.
    """
    newest = store.get(LOOKS, ROOTS)
    if newest is None:
        return frozenset()
    final = newest.version if newest.position is not None else newest.version - 1
    rows = [row for row in store.look_entries(token) if row.version <= final]
    return frozenset(look.event for row in rows for look in read_entry(row).looks)


def _document(
    store: RecordStore, root: LooksRoot, stored: RecordVersion, service: RecordService, patient: str
) -> bytes:
    """Write ``looks.json``."""
    token, reference = service.patient_token(patient), f"Patient/{patient}"
    found = store.look_chains([token]).get(token)
    # Where nothing was entered, any place is empty; one that nobody knows tells nothing.
    chain = secrets.token_bytes(CHAIN_BYTES) if found is None else found.secret
    entries = [read_entry(row) for row in store.look_entries(token) if row.version <= stored.version]
    at, count, pages = MapRoot(root.root), len(entries), store.look_pages()
    head = prove(at, place_of(chain, reference, count), pages) if entries else None
    return write_looks(chain, reference, entries, head, prove(at, place_of(chain, reference, count + 1), pages))


def _claim(answer: bytes) -> bytes:
    """Say that a list is what is answered."""
    told = parse_canonical(answer, max_bytes=len(answer))
    return canonical({**told, "answer": "looks"}) if isinstance(told, dict) else answer


def read_entry(row: LookRecord) -> LookEntry:
    """Read an entry as it is kept."""
    return LookEntry.from_json(_unzipped(row.content))
