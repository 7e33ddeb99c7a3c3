"""A regulator keeps what custodians tell it of concerns of their patients."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0026"
down_revision = "records_0025"


def upgrade() -> None:
    """Add the table; custodians tell of what is open again each day."""
    op.create_table(
        "told_concern",
        sa.Column("custodian", sa.String(40), nullable=False),
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.Column("heard", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("custodian", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index("told_concern_by_due", "told_concern", ["due"], unique=False)
