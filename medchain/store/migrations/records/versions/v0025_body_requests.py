"""What others were asked to destroy is kept: who comes back from a backup has it again, and is asked again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0025"
down_revision = "records_0024"


def upgrade() -> None:
    """Add the table; of what was asked before, nothing is known."""
    op.create_table(
        "body_request",
        sa.Column("org_id", sa.String(40), nullable=False),
        sa.Column("object", sa.LargeBinary(), nullable=False),
        sa.Column("erasure", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "object"),
    )
