"""A node knows for how long on end a step of its disputes is refused, and not only since when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0037"
down_revision = "records_0036"


def upgrade() -> None:
    """Add the column; a step that is not heard yet is tried again, and its refusals are counted anew."""
    op.add_column("claim_dispute", sa.Column("refused_last", sa.BigInteger(), nullable=True))
