"""A restore shuts accounts and applications until the operator confirms each: one may have been closed since."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0024"
down_revision = "records_0023"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "unconfirmed",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("kind", "id"),
    )
