"""A node knows which of its cases are still to be written as FHIR resources."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0035"
down_revision = "records_0034"


def upgrade() -> None:
    """Add the table; what changed before is written with the next change."""
    op.create_table(
        "unrecorded_case",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("changes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
