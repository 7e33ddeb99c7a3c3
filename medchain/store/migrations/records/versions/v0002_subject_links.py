"""Which patient a subject of the ledger is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0002"
down_revision = "records_0001"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "subject_link",
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("patient", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("subject"),
        sqlite_with_rowid=False,
    )
    op.create_index("subject_link_by_patient", "subject_link", ["patient"], unique=False)
