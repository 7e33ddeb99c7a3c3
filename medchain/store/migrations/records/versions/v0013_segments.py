"""Segments: many small records sealed as one; a part is a row that names the row of its segment."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0013"
down_revision = "records_0012"


def upgrade() -> None:
    """Add column and table; records that are there are no parts."""
    op.add_column("record", sa.Column("segment", sa.BigInteger(), nullable=True))
    op.create_table(
        "segment",
        sa.Column(
            "record",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.ForeignKey("record.seq"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("parts", sa.Integer(), nullable=False),
    )
