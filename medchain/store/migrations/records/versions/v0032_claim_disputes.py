"""A node keeps what insurer and hospital say to each other about a claim."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0032"
down_revision = "records_0031"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "claim_dispute",
        sa.Column("dispute", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("peer", sa.String(40), nullable=False),
        sa.Column("claim", sa.LargeBinary(), nullable=False),
        sa.Column("patient", sa.String(128), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("author", sa.String(128), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("heard", sa.BigInteger(), nullable=True),
        sa.Column("is_recorded", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("dispute", "number"),
        sqlite_with_rowid=False,
    )
    op.create_index("claim_dispute_by_peer", "claim_dispute", ["peer", "number", "created"], unique=False)
    op.create_index("claim_dispute_by_heard", "claim_dispute", ["heard"], unique=False)
    op.create_index("claim_dispute_by_recorded", "claim_dispute", ["is_recorded"], unique=False)
    op.create_index("claim_dispute_by_patient", "claim_dispute", ["patient"], unique=False)
