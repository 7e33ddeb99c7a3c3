"""What members propose to each other and what they decide, as it came; and which versions this node has promised.

Keeps true: of one member at most `MAX_OPEN_EACH` proposals are open and `MAX_KEPT_EACH` are kept, so that no member can
fill another's disk, or drive a third one's proposals out; a version once promised to a proposal is promised to no other
while the promise lasts. Trusts callers to give what they have verified. Part of the records file.
Source: `docs/spec/proposal.md`, `docs/spec/store.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from medchain.errors import ConflictError, UnavailableError
from medchain.store.engine import Database
from medchain.store.tables import promised_version, proposal, proposal_decision

MAX_OPEN_EACH: Final = 8
"""Most open proposals of one member."""

MAX_KEPT_EACH: Final = 32
"""Most proposals of one member that are kept, closed ones included."""

KEPT_S: Final = 7 * 86_400
"""For how long a proposal is kept after its end."""


@dataclass(frozen=True, slots=True)
class ProposalRow:
    """A proposal that is kept.

    Attributes:
        id: 32 bytes.
        creator: org_id.
        envelope: as it was signed.
        until: last second at which it can be accepted.
        received: when it came, Unix seconds.
        closed: when it was found to be over, None while it is open.
        signed: when this node signed the transaction, None if it has not.
        leaf: the transaction with all signatures, where this node has it.
    """

    id: bytes
    creator: str
    envelope: bytes
    until: int
    received: int
    closed: int | None
    signed: int | None
    leaf: bytes | None


class ProposalTable:
    """Proposals, decisions, promises."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database

    def put_proposal(self, name: bytes, creator: str, envelope: bytes, *, until: int, now: int) -> bool:
        """Keep a proposal; one that is here already is not changed.

        Returns:
            Whether it is new.

        Raises:
            UnavailableError: ``proposal.quota`` where its creator has too many open ones.
        """
        with self._database.write("proposal") as connection:
            if connection.execute(select(proposal.c.id).where(proposal.c.id == name)).first() is not None:
                return False
            _forget(connection, proposal.c.until < now - KEPT_S)
            mine = proposal.c.creator == creator
            is_open = mine & proposal.c.closed.is_(None)
            if _count(connection, is_open) >= MAX_OPEN_EACH:
                raise UnavailableError("proposal.quota", retry_after_s=60, org_id=creator, limit=MAX_OPEN_EACH)
            surplus = _count(connection, mine) - MAX_KEPT_EACH + 1
            if surplus > 0:
                closed = select(proposal.c.id).where(mine & proposal.c.closed.is_not(None))
                oldest = closed.order_by(proposal.c.received).limit(surplus)
                _forget(connection, proposal.c.id.in_(list(connection.execute(oldest).scalars())))
            values = {"id": name, "creator": creator, "envelope": envelope, "until": until, "received": now}
            connection.execute(insert(proposal).values(**values, closed=None, signed=None, leaf=None))
        return True

    def proposals(self) -> list[ProposalRow]:
        """Return all proposals that are kept, the newest first."""
        chosen = select(proposal).order_by(proposal.c.received.desc(), proposal.c.id)
        with self._database.read("proposal") as connection:
            return [ProposalRow(*row) for row in connection.execute(chosen)]

    def proposal(self, name: bytes) -> ProposalRow | None:
        """Return a proposal, or None."""
        with self._database.read("proposal") as connection:
            row = connection.execute(select(proposal).where(proposal.c.id == name)).first()
            return None if row is None else ProposalRow(*row)

    def close_proposal(self, name: bytes, now: int | None) -> None:
        """Note that a proposal is over, or, with None, that it is open again."""
        with self._database.write("proposal") as connection:
            connection.execute(update(proposal).where(proposal.c.id == name).values(closed=now))

    def put_leaf(self, name: bytes, leaf: bytes | None) -> None:
        """Keep the transaction with all signatures, or forget one that was refused."""
        with self._database.write("proposal") as connection:
            connection.execute(update(proposal).where(proposal.c.id == name).values(leaf=leaf))

    def put_decision(self, name: bytes, org_id: str, number: int, envelope: bytes) -> bool:
        """Keep a member's decision, in the place of its earlier one; tells whether it is newer than what was here."""
        one = (proposal_decision.c.proposal == name) & (proposal_decision.c.org_id == org_id)
        with self._database.write("proposal_decision") as connection:
            known = connection.execute(select(proposal_decision.c.number).where(one)).scalar_one_or_none()
            if known is not None and known >= number:
                return False
            values = {"number": number, "envelope": envelope}
            if known is None:
                connection.execute(insert(proposal_decision).values(proposal=name, org_id=org_id, **values))
            else:
                connection.execute(update(proposal_decision).where(one).values(**values))
        return True

    def decision_number(self, name: bytes, org_id: str) -> int:
        """Return the number of a member's newest decision on a proposal, 0 where there is none."""
        one = (proposal_decision.c.proposal == name) & (proposal_decision.c.org_id == org_id)
        with self._database.read("proposal_decision") as connection:
            return int(connection.execute(select(proposal_decision.c.number).where(one)).scalar_one_or_none() or 0)

    def decisions(self, name: bytes) -> list[bytes]:
        """Return the newest decision of each member on a proposal, by org_id."""
        chosen = select(proposal_decision.c.envelope).where(proposal_decision.c.proposal == name)
        with self._database.read("proposal_decision") as connection:
            return list(connection.execute(chosen.order_by(proposal_decision.c.org_id)).scalars())

    def promise_version(self, keys: list[tuple[bytes, int]], name: bytes, *, until: int, now: int) -> None:
        """Promise versions of objects to a proposal, and note that it is being signed; durable when it returns.

        Args:
            keys: map key and version of each.
            name: the proposal's id.
            until: Unix seconds up to which the promise lasts.
            now: Unix seconds.

        Raises:
            ConflictError: ``proposal.promised`` where one is promised to another proposal; nothing is promised then.
        """
        table = promised_version
        with self._database.write("promised_version") as connection:
            connection.execute(delete(table).where(table.c.until < now))
            for key, version in keys:
                one = (table.c.key == key) & (table.c.version == version)
                held = connection.execute(select(table.c.proposal).where(one)).scalar_one_or_none()
                if held is None:
                    values = {"key": key, "version": version, "proposal": name, "until": until}
                    connection.execute(insert(table).values(**values))
                elif held != name:
                    raise ConflictError("proposal.promised", version=version, proposal=bytes(held).hex())
            connection.execute(update(proposal).where(proposal.c.id == name).values(signed=now))


def _count(connection: Connection, which: ColumnElement[bool]) -> int:
    """Count proposals."""
    chosen = select(func.count()).select_from(proposal).where(which)
    return int(connection.execute(chosen).scalar_one())


def _forget(connection: Connection, which: ColumnElement[bool]) -> None:
    """Forget proposals with what was decided on them."""
    names = list(connection.execute(select(proposal.c.id).where(which)).scalars())
    if names:
        connection.execute(delete(proposal_decision).where(proposal_decision.c.proposal.in_(names)))
        connection.execute(delete(proposal).where(proposal.c.id.in_(names)))
