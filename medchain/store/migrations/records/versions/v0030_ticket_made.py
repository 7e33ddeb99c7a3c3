"""What counts once has the time at which it was made: by a fast clock, it counts no longer once that is set back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0030"
down_revision = "records_0029"


def upgrade() -> None:
    """Add the column; of what is there nobody knows when it was made."""
    op.add_column("ticket", sa.Column("made", sa.BigInteger(), nullable=False, server_default="0"))
