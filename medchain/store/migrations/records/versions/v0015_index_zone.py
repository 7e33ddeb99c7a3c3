"""The zone in which the index reads dates that name none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0015"
down_revision = "records_0014"


def upgrade() -> None:
    """Add the column; rows that are there were made in UTC."""
    op.add_column("index_state", sa.Column("zone", sa.Text(), nullable=False, server_default="UTC"))
