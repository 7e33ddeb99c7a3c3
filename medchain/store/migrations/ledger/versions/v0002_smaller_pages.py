"""Pages of the state map without the hashes that follow from the entries beside them: a quarter smaller.

From ``medchain/map/v1`` (a heap of 31 places, then the entries) to ``medchain/map/v2`` (`docs/spec/log.md` 18). Nothing
else changes, and no hash is computed.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "ledger_0002"
down_revision = "ledger_0001"

_OLD = b"medchain/map/v1\n"
_NEW = b"medchain/map/v2\n"
_CHILD = 255
_ROWS = 500
_PAGES = sa.table("map_page", sa.column("key", sa.LargeBinary()), sa.column("data", sa.LargeBinary()))


def smaller(page: bytes) -> bytes:
    """Lay a page out anew; one of another form stays as it is, and is refused when it is used."""
    if page[:16] != _OLD:
        return page
    parts, at = [_NEW, page[16:512]], 1024
    for slot, kind in enumerate(page[16:32]):
        if kind == _CHILD:
            parts.append(page[512 + 32 * slot : 544 + 32 * slot])
        else:
            parts.append(page[at : at + 64 * kind])
            at += 64 * kind
    return b"".join(parts)


def upgrade() -> None:
    """Rewrite all pages, some at a time."""
    connection = op.get_bind()
    some = sa.select(_PAGES.c.key, _PAGES.c.data).order_by(_PAGES.c.key).limit(_ROWS)
    rows = connection.execute(some).all()
    while rows:
        changed = [{"at": key, "new": smaller(data)} for key, data in rows]
        connection.execute(
            sa.update(_PAGES).where(_PAGES.c.key == sa.bindparam("at")).values(data=sa.bindparam("new")), changed
        )
        rows = connection.execute(some.where(_PAGES.c.key > rows[-1][0])).all()
