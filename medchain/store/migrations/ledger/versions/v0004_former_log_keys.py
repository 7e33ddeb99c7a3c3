"""Each row of members says which log keys there were by then (`docs/spec/transaction.md` 2).

They follow from the rows before it, so that no block is read.
"""

from __future__ import annotations

import orjson
import sqlalchemy as sa
from alembic import op

revision = "ledger_0004"
down_revision = "ledger_0003"

_MEMBERS = sa.table("members", sa.column("height", sa.Integer()), sa.column("data", sa.LargeBinary()))


def upgrade() -> None:
    """Rewrite the rows in order; one that cannot be read stays as it is, and is refused when it is used."""
    connection, known = op.get_bind(), set[str]()
    heights = connection.execute(sa.select(_MEMBERS.c.height).order_by(_MEMBERS.c.height)).scalars().all()
    for height in heights:
        here = _MEMBERS.c.height == height
        data = connection.execute(sa.select(_MEMBERS.c.data).where(here)).scalar_one()
        try:
            top = orjson.loads(data)
            known |= {key["id"] for item in top["organisations"] for key in item["keys"] if key["use"] == "log"}
        except (orjson.JSONDecodeError, KeyError, TypeError):
            continue
        new = orjson.dumps({**top, "log_keys": sorted(known)}, option=orjson.OPT_SORT_KEYS)
        connection.execute(sa.update(_MEMBERS).where(here).values(data=new))
