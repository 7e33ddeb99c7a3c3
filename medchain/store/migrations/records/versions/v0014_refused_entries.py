"""What was refused of an import unit is noted with it: an import that was interrupted tells it again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0014"
down_revision = "records_0013"


def upgrade() -> None:
    """Add the column; of units that are there nothing was noted."""
    op.add_column("imported", sa.Column("refused", sa.LargeBinary(), nullable=True))
