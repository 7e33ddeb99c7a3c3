"""Who looked at patients' records: what waits to be entered, the entered lists, and the pages of their map.

Keeps true: a step - entries, pages, chains, what it takes of what waits - is written with the record of its root, or
not at all (`medchain.store.records.RecordStore.put_versions`). Trusts who makes steps, the daemon alone, to make each
of the state before. Part of the records file.
Source: `docs/spec/looks.md`, `docs/spec/store.md`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, delete, insert, select

from medchain.store.engine import Database, Statement, put_into
from medchain.store.tables import access, look_chain, look_entry, look_page, look_state, look_waiting, record

_ONLY: Final = 1
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class LookChain:
    """A patient's list.

    Attributes:
        patient: keyed token.
        reference: of the Patient.
        secret: 32 bytes.
        count: how many entries it has.
        time: of the newest, Unix seconds.
        value: of the newest, 32 bytes.
    """

    patient: str
    reference: str
    secret: bytes
    count: int
    time: int
    value: bytes


@dataclass(frozen=True, slots=True)
class LookRecord:
    """An entry of a list.

    Attributes:
        patient: keyed token.
        number: from 1.
        version: of the root with which it was entered.
        content: as who entered it has written it.
    """

    patient: str
    number: int
    version: int
    content: bytes


@dataclass(frozen=True, slots=True)
class LookState:
    """How far everything is entered.

    Attributes:
        root: root hash of the map, 32 bytes.
        time: of the newest root, Unix seconds.
        access: number of the newest noted refusal of a release that was looked at.
        lost: versions of roots that this file does not know, as JSON.
    """

    root: bytes
    time: int
    access: int
    lost: str


@dataclass(frozen=True, slots=True)
class LookStep:
    """From one root to the next.

    Attributes:
        state: after it.
        taken: number of the last of what waited that is entered now.
        chains: that have grown, as they are now.
        entries: new ones.
        pages: of the map, that replace those of the same key.
    """

    state: LookState
    taken: int
    chains: Sequence[LookChain]
    entries: Sequence[LookRecord]
    pages: Mapping[bytes, bytes]


class LookPages:
    """Pages of the map; fills `medchain.tlog.statemap.PageSource`."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database
        chosen = select(look_page.c.data).where(look_page.c.key == bindparam("key"))
        self._read = Statement(chosen, database.engine.dialect)

    def page(self, key: bytes) -> bytes | None:
        """Return a page, or None."""
        with self._database.look("look_page", key.hex()) as look:
            row = look.first(self._read, key)
        return None if row is None else bytes(row[0])


class LookTable:
    """Looks by patient."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database

    def waiting_looks(self, limit: int) -> list[tuple[int, bytes]]:
        """Return what waits to be entered, with its numbers, the oldest first."""
        chosen = select(look_waiting.c.seq, look_waiting.c.looks).order_by(look_waiting.c.seq).limit(limit)
        with self._database.read("look_waiting") as connection:
            return [(int(row.seq), bytes(row.looks)) for row in connection.execute(chosen)]

    def look_state(self) -> LookState | None:
        """Return how far everything is entered, None before the first root."""
        with self._database.read("look_state") as connection:
            row = connection.execute(select(look_state)).first()
        return None if row is None else LookState(bytes(row.root), int(row.time), int(row.access), str(row.lost))

    def look_chains(self, patients: Collection[str]) -> dict[str, LookChain]:
        """Return the lists of patients, by their tokens; those that have none are left out."""
        found: dict[str, LookChain] = {}
        tokens = sorted(patients)
        with self._database.read("look_chain") as connection:
            for start in range(0, len(tokens), _AT_ONCE):
                chosen = select(look_chain).where(look_chain.c.patient.in_(tokens[start : start + _AT_ONCE]))
                for row in connection.execute(chosen):
                    patient, reference, secret, count, time, value = row
                    found[patient] = LookChain(patient, reference, bytes(secret), count, time, bytes(value))
        return found

    def look_entries(self, patient: str) -> list[LookRecord]:
        """Return a patient's entries, the first one first."""
        chosen = select(look_entry).where(look_entry.c.patient == patient).order_by(look_entry.c.number)
        with self._database.read("look_entry") as connection:
            rows = connection.execute(chosen).all()
        return [LookRecord(row.patient, int(row.number), int(row.version), bytes(row.content)) for row in rows]

    def look_pages(self) -> LookPages:
        """Return the pages of the map, as they were written last."""
        return LookPages(self._database)

    def refusals_after(self, number: int, direction: str, limit: int) -> list[tuple[int, str, int, bytes, bytes]]:
        """Return refusals of releases that name a patient, the oldest first.

        Args:
            number: of the last one already seen.
            direction: under which they are noted.
            limit: most of them.

        Returns:
            Number, patient token, Unix seconds, id, detail.
        """
        chosen = (
            select(access.c.seq, access.c.patient, access.c.time, access.c.object_id, access.c.detail)
            .where(access.c.seq > number, access.c.direction == direction, access.c.patient != "")
            .order_by(access.c.seq)
            .limit(limit)
        )
        with self._database.read("access") as connection:
            rows = connection.execute(chosen).all()
        return [(int(row[0]), str(row[1]), int(row[2]), bytes(row[3]), bytes(row[4])) for row in rows]

    def patient_id(self, token: str) -> str | None:
        """Return the id of the Patient whom a token stands for, None where there is no such record."""
        chosen = select(record.c.id).where(record.c.patient == token, record.c.type == "Patient").limit(1)
        with self._database.read("record") as connection:
            found: str | None = connection.execute(chosen).scalar_one_or_none()
        return found


def put_waiting(connection: Connection, looks: bytes) -> None:
    """Keep what is to be entered, in a transaction under way."""
    connection.execute(insert(look_waiting).values(looks=looks))


def put_step(connection: Connection, step: LookStep) -> None:
    """Write a step, in the transaction that stores its root."""
    dialect, state = connection.dialect, step.state
    connection.execute(delete(look_waiting).where(look_waiting.c.seq <= step.taken))
    chains = [(one.patient, one.reference, one.secret, one.count, one.time, one.value) for one in step.chains]
    put_into(look_chain, dialect).many(connection, chains)
    entries = [
        {"patient": one.patient, "number": one.number, "version": one.version, "content": one.content}
        for one in step.entries
    ]
    if entries:
        # A number that is there already is refused by the table: nothing that was entered is written over.
        connection.execute(insert(look_entry), entries)
    put_into(look_page, dialect).many(connection, list(step.pages.items()))
    put_into(look_state, dialect).many(connection, [(_ONLY, state.root, state.time, state.access, state.lost)])
