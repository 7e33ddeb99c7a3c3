"""Who endorsed how much of whose is counted by day and kind: a regulator looks at it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0021"
down_revision = "records_0020"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "endorsed",
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("endorser", sa.String(40), nullable=False),
        sa.Column("creator", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "endorser", "creator", "kind"),
    )
