"""Field roots beside their records: what is read is compared with its commitment without computing them again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0011"
down_revision = "records_0010"


def upgrade() -> None:
    """Add the column; versions that are there go without."""
    op.add_column("record", sa.Column("field_root", sa.LargeBinary(), nullable=True))
