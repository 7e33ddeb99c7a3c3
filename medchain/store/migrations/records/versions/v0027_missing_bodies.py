"""Bodies that a node was not given are noted: it asks for them, and tells who keeps them back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0027"
down_revision = "records_0026"


def upgrade() -> None:
    """Add the table; the ledger is looked through from its beginning."""
    op.create_table(
        "missing_body",
        sa.Column("custodian", sa.String(40), nullable=False),
        sa.Column("object", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.String(64), nullable=False),
        sa.Column("silent", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("custodian", "object", "version"),
    )
