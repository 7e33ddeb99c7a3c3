"""Search parameters of the node's own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0009"
down_revision = "records_0008"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "custom_parameter",
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("active", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("target", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("url"),
    )
