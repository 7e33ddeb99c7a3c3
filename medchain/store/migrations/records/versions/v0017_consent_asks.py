"""What other organisations ask patients to permit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0017"
down_revision = "records_0016"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "consent_ask",
        sa.Column("id", sa.LargeBinary(), primary_key=True),
        sa.Column("asker", sa.String(40), nullable=False),
        sa.Column("patient", sa.String(128), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.String(16), nullable=True),
        sa.Column("answered", sa.BigInteger(), nullable=True),
        sqlite_with_rowid=False,
    )
    op.create_index("consent_ask_by_patient", "consent_ask", ["patient", "until"])
    op.create_index("consent_ask_by_asker", "consent_ask", ["asker", "until"])
