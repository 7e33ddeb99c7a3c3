"""What patients are to be told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0018"
down_revision = "records_0017"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "notice",
        sa.Column("id", sa.LargeBinary(), primary_key=True),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("patient", sa.String(128), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=True),
        sa.Column("acknowledged", sa.BigInteger(), nullable=True),
        sqlite_with_rowid=False,
    )
    op.create_index("notice_by_subject", "notice", ["subject", "time"])
    op.create_index("notice_by_patient", "notice", ["patient", "time"])
    op.create_index("notice_by_sent", "notice", ["sent", "time"])
