"""A node keeps what its own organisation has asked patients for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0028"
down_revision = "records_0027"


def upgrade() -> None:
    """Add the table; what was asked before is not listed."""
    op.create_table(
        "sent_ask",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("custodian", sa.String(40), nullable=False),
        sa.Column("patient", sa.String(128), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_index("sent_ask_by_until", "sent_ask", ["until"], unique=False)
