"""A node keeps proofs that others have given to its desk."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0034"
down_revision = "records_0033"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "received_proof",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("author", sa.String(128), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.String(16), nullable=False),
        sa.Column("colour", sa.String(8), nullable=False),
        sa.Column("failed", sa.String(64), nullable=False),
        sa.Column("bundle", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_index("received_proof_by_created", "received_proof", ["created"], unique=False)
