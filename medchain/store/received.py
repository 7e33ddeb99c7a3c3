"""Proofs that others have given to this organisation's desk: kept for a while, so that they can be looked at again.

Keeps true: a bounded number is kept, each for a bounded time; what was found of one is told with it, and what is shown
of it is computed anew from its bytes. Trusts callers for what was found and for the clock. Part of the records file.
Source: `docs/spec/smart.md` 36.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, insert, select

from medchain.errors import NotFoundError, UnavailableError
from medchain.ledger.kinds.content import DAY_S
from medchain.store.engine import Database
from medchain.store.tables import received_proof

MAX_PROOFS: Final = 200
"""Most proofs that are kept."""

KEPT_S: Final = 90 * DAY_S
"""How long one is kept, in seconds: a claim that others look into may be in it."""


@dataclass(frozen=True, slots=True)
class ReceivedProof:
    """A proof.

    Attributes:
        id: SHA-256 of the zip, 32 bytes: the same one is kept once.
        author: who brought it, as the audit names people.
        created: when, Unix seconds.
        answer: what it proves, as `medchain.ledger.bundle.Verdict.answer` has it; empty where it does not hold.
        colour: of the verdict of a claim; empty for other answers.
        failed: code of the rule that it breaks; empty where it holds.
        bundle: the zip; empty in lists.
        claim: digest of the claim that it is about, 32 bytes; None for another or broken proof, and in lists.
    """

    id: bytes
    author: str
    created: int
    answer: str
    colour: str
    failed: str
    bundle: bytes = b""
    claim: bytes | None = None


class ReceivedTable:
    """Proofs by their hash."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database

    def put_proof(self, proof: ReceivedProof) -> None:
        """Keep a proof; the same one again changes nothing. What is kept for too long is destroyed.

        Raises:
            UnavailableError: ``proofs.quota`` where too many are kept.
        """
        table = received_proof.c
        with self._database.erase("received_proof") as connection:
            connection.execute(delete(received_proof).where(table.created <= proof.created - KEPT_S))
            if connection.execute(select(table.id).where(table.id == proof.id)).first() is not None:
                return
            if connection.execute(select(func.count()).select_from(received_proof)).scalar_one() >= MAX_PROOFS:
                raise UnavailableError("proofs.quota")
            values = {name: getattr(proof, name) for name in ReceivedProof.__slots__}
            connection.execute(insert(received_proof).values(**values))

    def proofs(self, now: int) -> list[ReceivedProof]:
        """Return what is kept, the newest first, without the files; `now` in Unix seconds."""
        table = received_proof.c
        columns = (table.id, table.author, table.created, table.answer, table.colour, table.failed)
        chosen = select(*columns).where(table.created > now - KEPT_S).order_by(table.created.desc(), table.id)
        with self._database.read("received_proof") as connection:
            return [ReceivedProof(bytes(row.id), *row[1:]) for row in connection.execute(chosen)]

    def proof(self, proof_id: bytes, now: int) -> ReceivedProof:
        """Return one with its file; raises `NotFoundError` ``proofs.unknown``."""
        table = received_proof.c
        chosen = select(received_proof).where(table.id == proof_id, table.created > now - KEPT_S)
        with self._database.read("received_proof") as connection:
            row = connection.execute(chosen).first()
        if row is None:
            raise NotFoundError("proofs.unknown")
        told = (row.author, row.created, row.answer, row.colour, row.failed)
        return ReceivedProof(bytes(row.id), *told, bytes(row.bundle), None if row.claim is None else bytes(row.claim))

    def drop_proof(self, proof_id: bytes) -> None:
        """Destroy one; one that is not there is none."""
        with self._database.erase("received_proof") as connection:
            connection.execute(delete(received_proof).where(received_proof.c.id == proof_id))
