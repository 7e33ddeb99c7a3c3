"""Rows of the index that are kept with their version and merged later."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0016"
down_revision = "records_0015"

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "unmerged",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("rows", sa.LargeBinary(), nullable=False),
    )
