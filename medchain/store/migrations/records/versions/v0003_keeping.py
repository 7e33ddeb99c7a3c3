"""Retention locks, stops that were heard of, bodies not accepted yet, refusals by number, alarms, draws by number."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0003"
down_revision = "records_0002"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "retention",
        sa.Column("patient", sa.String(length=128), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("patient"),
    )
    op.create_table(
        "heard_stop",
        sa.Column("object", sa.LargeBinary(), nullable=False),
        sa.Column("intent", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("object"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "unaccepted",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("member", sa.String(length=40), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "version"),
    )
    op.create_index("unaccepted_by_member", "unaccepted", ["member", "due", "size"], unique=False)
    op.create_index("unaccepted_by_due", "unaccepted", ["due"], unique=False)
    # Each kind, and each receiver of bodies, is looked at by itself.
    op.create_index("outbox_by_kind", "outbox", ["kind", "id"], unique=False)
    _watching()


def _watching() -> None:
    """Create what is counted."""
    op.create_table(
        "refusal",
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("requester", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "requester", "reason"),
    )
    op.create_table(
        "alarm",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("height", sa.BigInteger(), nullable=False),
        sa.Column("fields", sa.LargeBinary(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("acknowledged", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("alarm_open", "alarm", ["acknowledged", "id"], unique=False)
    op.create_table(
        "draw_span",
        sa.Column("creator", sa.String(length=40), nullable=False),
        sa.Column("span", sa.BigInteger(), nullable=False),
        sa.Column("draws", sa.BigInteger(), nullable=False),
        sa.Column("passed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("creator", "span"),
    )
    op.create_table(
        "watched",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("height", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
