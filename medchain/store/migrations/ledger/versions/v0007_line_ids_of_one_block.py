"""Rows of members have the key ids also of keys that were listed and exchanged within one block.

The row of a block shows its end, so that `ledger_0006` did not see them: such a node alone would have taken a key that
all others refuse. What a block lists stands in its transactions (`docs/spec/transaction.md` 2).
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op

from medchain.store.migrations.ledger.versions.v0006_line_ids import line_ids

revision = "ledger_0007"
down_revision = "ledger_0006"

_BLOCKS = sa.table("block", *(sa.column(name, sa.Integer()) for name in ("height", "first", "size")))
_LEAVES = sa.table("leaf", sa.column("position", sa.Integer()), sa.column("data", sa.LargeBinary()))
_MEMBERS = sa.table("members", sa.column("height", sa.Integer()), sa.column("data", sa.LargeBinary()))


def upgrade() -> None:
    """Rewrite the rows in order; one that cannot be read stays as it is, and is refused when it is used."""
    connection, known = op.get_bind(), set[str]()
    genesis = connection.execute(sa.select(_LEAVES.c.data).where(_LEAVES.c.position == 0)).scalar()
    heights = connection.execute(sa.select(_MEMBERS.c.height).order_by(_MEMBERS.c.height)).scalars().all()
    for height in heights:
        here = _MEMBERS.c.height == height
        data = connection.execute(sa.select(_MEMBERS.c.data).where(here)).scalar_one()
        try:
            origin, top = orjson.loads(genesis or b"")["origin"], orjson.loads(data)
            known |= set(top["line_ids"])
            known |= {line_id for item in _listed(connection, height) for line_id in line_ids(origin, item)}
        except (binascii.Error, orjson.JSONDecodeError, KeyError, TypeError):
            continue
        new = orjson.dumps({**top, "line_ids": sorted(known)}, option=orjson.OPT_SORT_KEYS)
        connection.execute(sa.update(_MEMBERS).where(here).values(data=new))


def _listed(connection: sa.Connection, height: int) -> Iterator[dict[str, Any]]:
    """Give what a block's transactions say of organisations, the last leaf being the block's own."""
    row = connection.execute(sa.select(_BLOCKS.c.first, _BLOCKS.c.size).where(_BLOCKS.c.height == height)).one_or_none()
    if row is None or height == 0:
        return
    place = _LEAVES.c.position
    leaves = sa.select(_LEAVES.c.data).where(place >= row.first, place < row.size - 1).order_by(place)
    for leaf in connection.execute(leaves).scalars().all():
        payload = orjson.loads(binascii.a2b_base64(orjson.loads(leaf)["payload"]))
        for change, content in zip(payload.get("changes", ()), payload.get("bodies", ()), strict=False):
            if change["kind"] == "organisation":
                yield content
