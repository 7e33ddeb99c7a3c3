"""Up to which version an object's bodies were destroyed, so that nobody brings them back (`docs/spec/body.md` 9)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "ledger_0005"
down_revision = "ledger_0004"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "destroyed_body",
        sa.Column("key", sa.LargeBinary(), primary_key=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
