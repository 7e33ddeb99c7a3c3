"""Who looked at a patient's records, in a keyed map."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0019"
down_revision = "records_0018"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "look_waiting",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("looks", sa.LargeBinary(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "look_chain",
        sa.Column("patient", sa.String(128), primary_key=True),
        sa.Column("reference", sa.String(128), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "look_entry",
        sa.Column("patient", sa.String(128), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("patient", "number"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "look_page",
        sa.Column("key", sa.LargeBinary(), primary_key=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "look_state",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("access", sa.BigInteger(), nullable=False),
        sa.Column("lost", sa.Text(), nullable=False),
    )
