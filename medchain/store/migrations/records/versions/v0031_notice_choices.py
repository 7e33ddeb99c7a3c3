"""A node keeps of which notices a person wants no word by e-mail or short message."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0031"
down_revision = "records_0030"


def upgrade() -> None:
    """Add the table; until they choose, people are sent word of all notices."""
    op.create_table(
        "notice_choice",
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("topic", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("subject", "topic"),
        sqlite_with_rowid=False,
    )
