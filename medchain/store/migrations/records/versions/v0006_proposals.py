"""What members propose to each other, what they decide, and which versions this node has promised to a proposal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0006"
down_revision = "records_0005"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "proposal",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("creator", sa.String(length=40), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("closed", sa.BigInteger(), nullable=True),
        sa.Column("signed", sa.BigInteger(), nullable=True),
        sa.Column("leaf", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("proposal_by_creator", "proposal", ["creator", "received"], unique=False)
    op.create_table(
        "proposal_decision",
        sa.Column("proposal", sa.LargeBinary(), nullable=False),
        sa.Column("org_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("proposal", "org_id"),
    )
    op.create_table(
        "promised_version",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("proposal", sa.LargeBinary(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "version"),
    )
