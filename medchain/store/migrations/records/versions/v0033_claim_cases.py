"""An insurer's node keeps the claims that it looks into, with their evidence."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0033"
down_revision = "records_0032"


def upgrade() -> None:
    """Add the table; no claim was looked into before."""
    op.create_table(
        "claim_case",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("claim", sa.String(100), nullable=False),
        sa.Column("patient", sa.String(128), nullable=False),
        sa.Column("number", sa.String(200), nullable=False),
        sa.Column("hospital", sa.String(40), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("colour", sa.String(8), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("judged", sa.BigInteger(), nullable=True),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("verdict", sa.LargeBinary(), nullable=False),
        sa.Column("bundle", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("claim_case_by_digest", "claim_case", ["digest"], unique=True)
    op.create_index("claim_case_by_created", "claim_case", ["created"], unique=False)
    op.create_index("claim_case_by_patient", "claim_case", ["patient"], unique=False)
