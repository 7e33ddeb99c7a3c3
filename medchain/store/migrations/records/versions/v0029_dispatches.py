"""A node keeps which notices are on their way to people; the index of unsent notices has no use any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0029"
down_revision = "records_0028"


def upgrade() -> None:
    """Add the table; what was told before is on no way to anybody."""
    op.create_table(
        "dispatch",
        sa.Column("notice", sa.LargeBinary(), nullable=False),
        sa.Column("place", sa.LargeBinary(), nullable=False),
        sa.Column("channel", sa.String(8), nullable=False),
        sa.Column("urgent", sa.Integer(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.Column("sent", sa.BigInteger(), nullable=True),
        sa.Column("code", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("notice", "place"),
        sqlite_with_rowid=False,
    )
    op.create_index("dispatch_by_due", "dispatch", ["channel", "due"], unique=False)
    op.create_index("dispatch_by_place", "dispatch", ["place", "sent"], unique=False)
    op.drop_index("notice_by_sent", "notice", if_exists=True)
