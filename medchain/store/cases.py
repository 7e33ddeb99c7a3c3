"""The claims that this organisation, an insurer, looks into: what it holds of each, its evidence, and what was found.

Keeps true: one claim, told by its digest, is one case; a change sees the newest state of its case; what is destroyed
with a patient leaves nothing in the file. Trusts callers for documents and for the clock. Part of the records file.
Source: `docs/spec/claim-case.md`, `docs/spec/store.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, func, insert, select, update

from medchain.errors import ConflictError, NotFoundError
from medchain.store.engine import Database
from medchain.store.tables import claim_case, received_proof, unrecorded_case

MAX_LISTED: Final = 200
"""Most cases of one page."""


@dataclass(frozen=True, slots=True)
class CaseRow:
    """A case.

    Attributes:
        id: 16 random bytes.
        digest: of the claim, 32 bytes (`docs/spec/claim-evidence.md`).
        claim: ``Type/id`` of the claim among the records of this node; empty where it is not one of them.
        patient: keyed token of the patient of this node whose claim it is; empty for none that is known here.
        number: how this insurer names the claim; empty where it says none.
        hospital: org_id of whose services are claimed; empty where it is no member.
        currency: ISO 4217 code; empty without an amount.
        amount: in smallest units of the currency; None where it says none.
        status: what was done with it.
        colour: of the verdict; empty before the first.
        created: Unix seconds.
        judged: when the verdict was made, Unix seconds; None before the first.
        document: canonical JSON: claim, notes and what else is held.
        verdict: canonical JSON; empty before the first.
        bundle: the evidence as zip; empty before the first.
    """

    id: bytes
    digest: bytes
    claim: str
    patient: str
    number: str
    hospital: str
    currency: str
    amount: int | None
    status: str
    colour: str
    created: int
    judged: int | None
    document: bytes = field(repr=False)
    verdict: bytes = field(default=b"", repr=False)
    bundle: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which cases are listed, and in which order.

    Attributes:
        statuses: any of these; none for all.
        colours: any of these; none for all.
        hospital: of this one; empty for all.
        number: whose number begins so, or all of them.
        order: ``created``, ``amount``, ``colour`` or ``number``; behind a minus sign the other way round.
    """

    statuses: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    hospital: str = ""
    number: str = ""
    order: str = "-created"


ORDERS: Final = ("created", "amount", "colour", "number")
"""By what cases can be sorted."""

_FIELDS: Final = tuple(CaseRow.__slots__)
_LARGE: Final = frozenset({"bundle"})
_FIXED: Final = ("id", "digest", "created")


class CaseTable:
    """Cases by id."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database

    def put_case(self, row: CaseRow) -> CaseRow:
        """Keep a new case; returns the one that is kept, which is the earlier one of the same claim."""
        with self._database.write("claim_case", row.id.hex()) as connection:
            known = connection.execute(_chosen(claim_case.c.digest == row.digest)).first()
            if known is not None:
                return _row(known)
            connection.execute(insert(claim_case).values(**{name: getattr(row, name) for name in _FIELDS}))
            _note_changed(connection, row.id)
            return replace(row, bundle=b"")

    def case(self, case_id: bytes) -> CaseRow:
        """Return a case without its bundle; raises `NotFoundError` ``case.unknown``."""
        with self._database.read("claim_case", case_id.hex()) as connection:
            found = connection.execute(_chosen(claim_case.c.id == case_id)).first()
        if found is None:
            raise NotFoundError("case.unknown")
        return _row(found)

    def case_of(self, digest: bytes) -> CaseRow | None:
        """Return the case of a claim, without its bundle; None where there is none."""
        with self._database.read("claim_case", digest.hex()) as connection:
            found = connection.execute(_chosen(claim_case.c.digest == digest)).first()
        return None if found is None else _row(found)

    def case_bundle(self, case_id: bytes) -> bytes:
        """Return the evidence of a case; raises `NotFoundError` ``case.unknown``, ``case.unjudged``."""
        with self._database.read("claim_case", case_id.hex()) as connection:
            chosen = select(claim_case.c.bundle).where(claim_case.c.id == case_id)
            found = connection.execute(chosen).scalar_one_or_none()
        if found is None:
            raise NotFoundError("case.unknown")
        if not found:
            raise NotFoundError("case.unjudged")
        return bytes(found)

    def change_case(self, case_id: bytes, change: Callable[[CaseRow], CaseRow]) -> CaseRow:
        """Change a case in one transaction.

        Args:
            case_id: 16 bytes.
            change: makes the new state from the newest one; an empty bundle leaves the one that is kept.

        Returns:
            The new state, without its bundle.

        Raises:
            NotFoundError: ``case.unknown``.
            ConflictError: ``store.conflict`` for a change of what never changes.
            MedchainError: what `change` raises.
        """
        with self._database.write("claim_case", case_id.hex()) as connection:
            found = connection.execute(_chosen(claim_case.c.id == case_id)).first()
            if found is None:
                raise NotFoundError("case.unknown")
            before = _row(found)
            after = change(before)
            if any(getattr(after, name) != getattr(before, name) for name in _FIXED):
                raise ConflictError("store.conflict", table="claim_case", key=case_id.hex())
            names = [name for name in _FIELDS if name not in _FIXED and not (name in _LARGE and not after.bundle)]
            values = {name: getattr(after, name) for name in names}
            connection.execute(update(claim_case).where(claim_case.c.id == case_id).values(**values))
            _note_changed(connection, case_id)
        return replace(after, bundle=b"")

    def cases(self, wanted: CaseFilter, limit: int, offset: int = 0) -> tuple[list[CaseRow], int]:
        """List cases.

        Args:
            wanted: which ones, in which order.
            limit: most rows, at most `MAX_LISTED`.
            offset: how many to pass over.

        Returns:
            The rows without bundles; and how many there are in all.
        """
        table, name = claim_case.c, wanted.order.removeprefix("-")
        conditions: list[ColumnElement[bool]] = []
        if wanted.statuses:
            conditions.append(table.status.in_(wanted.statuses))
        if wanted.colours:
            conditions.append(table.colour.in_(wanted.colours))
        if wanted.hospital:
            conditions.append(table.hospital == wanted.hospital)
        if wanted.number:
            conditions.append(table.number.startswith(wanted.number, autoescape=True))
        column = table[name if name in ORDERS else "created"]
        order = (column.desc(), table.id) if wanted.order.startswith("-") else (column, table.id)
        rows = _chosen(*conditions).order_by(*order).limit(min(limit, MAX_LISTED)).offset(offset)
        with self._database.read("claim_case") as connection:
            total = connection.execute(select(func.count()).select_from(claim_case).where(*conditions)).scalar_one()
            return [_row(row) for row in connection.execute(rows)], int(total)

    def cases_in(self, statuses: Iterable[str]) -> list[tuple[bytes, bytes, str]]:
        """List all cases in some states, without what they hold: id, digest of the claim, state."""
        columns = claim_case.c.id, claim_case.c.digest, claim_case.c.status
        chosen = select(*columns).where(claim_case.c.status.in_(statuses)).order_by(claim_case.c.id)
        with self._database.read("claim_case") as connection:
            return [(bytes(case_id), bytes(digest), status) for case_id, digest, status in connection.execute(chosen)]

    def unrecorded_cases(self, limit: int) -> list[tuple[CaseRow, int]]:
        """Return cases that are still to be written as FHIR resources, without their bundles.

        Args:
            limit: most rows.

        Returns:
            Each with how often it was changed meanwhile.
        """
        waiting = select(unrecorded_case.c.id, unrecorded_case.c.changes).order_by(unrecorded_case.c.id).limit(limit)
        with self._database.read("unrecorded_case") as connection:
            found = [(bytes(case_id), int(changes)) for case_id, changes in connection.execute(waiting)]
            rows = {one.id: one for one in map(_row, connection.execute(_chosen(claim_case.c.id.in_(dict(found)))))}
        return [(rows[case_id], changes) for case_id, changes in found if case_id in rows]

    def note_case_recorded(self, case_id: bytes, changes: int) -> None:
        """Note that a case is written as it was after so many changes; one that was changed since is still to be."""
        table = unrecorded_case.c
        with self._database.write("unrecorded_case", case_id.hex()) as connection:
            connection.execute(delete(unrecorded_case).where(table.id == case_id, table.changes == changes))

    def drop_case(self, case_id: bytes) -> None:
        """Destroy a case; raises `NotFoundError` ``case.unknown``."""
        with self._database.erase("claim_case", case_id.hex()) as connection:
            if not connection.execute(delete(claim_case).where(claim_case.c.id == case_id)).rowcount:
                raise NotFoundError("case.unknown")
            connection.execute(delete(unrecorded_case).where(unrecorded_case.c.id == case_id))

    def drop_cases(self, patient: str) -> int:
        """Destroy all cases of a patient of this node, and received proofs of their claims; returns how many cases.

        Args:
            patient: keyed token.
        """
        with self._database.erase("claim_case") as connection:
            claims = select(claim_case.c.digest).where(claim_case.c.patient == patient)
            connection.execute(delete(received_proof).where(received_proof.c.claim.in_(claims)))
            whose = select(claim_case.c.id).where(claim_case.c.patient == patient)
            connection.execute(delete(unrecorded_case).where(unrecorded_case.c.id.in_(whose)))
            return connection.execute(delete(claim_case).where(claim_case.c.patient == patient)).rowcount


def note_claim_changed(connection: Connection, digest: bytes) -> None:
    """Note that the case of a claim, if there is one, is to be written as FHIR resources again.

    Args:
        connection: of the transaction that changes what the case shows, such as whether it is disputed.
        digest: of the claim, 32 bytes.
    """
    found = connection.execute(select(claim_case.c.id).where(claim_case.c.digest == digest)).scalar_one_or_none()
    if found is not None:
        _note_changed(connection, bytes(found))


def _note_changed(connection: Connection, case_id: bytes) -> None:
    """Note that a case is to be written as FHIR resources, in the transaction that changes it."""
    mine = unrecorded_case.c.id == case_id
    changed = update(unrecorded_case).where(mine).values(changes=unrecorded_case.c.changes + 1)
    if not connection.execute(changed).rowcount:
        connection.execute(insert(unrecorded_case).values(id=case_id, changes=1))


def _chosen(*conditions: ColumnElement[bool]) -> Select[Any]:  # Any: SQLAlchemy's own
    """Choose cases without their bundles, which are large."""
    return select(*(claim_case.c[name] for name in _FIELDS if name not in _LARGE)).where(*conditions)


def _row(row: Row[Any]) -> CaseRow:  # Any: SQLAlchemy's own
    """Read a row."""
    told = row._asdict()
    blobs = {name: bytes(told[name]) for name in ("id", "digest", "document", "verdict")}
    return CaseRow(**{**told, **blobs})
