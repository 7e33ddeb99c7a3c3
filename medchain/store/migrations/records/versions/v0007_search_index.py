"""The search index; what was stored before it is indexed by a job, which the first start puts to work."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0007"
down_revision = "records_0006"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "resource",
        sa.Column("number", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("replaced", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("resource_by_id", "resource", ["type", "id", "number"], unique=False)
    op.create_index("resource_by_type", "resource", ["type", "number"], unique=False)
    replaced = sa.text("replaced < 140737488355327")
    op.create_index(
        "resource_replaced", "resource", ["replaced"], unique=False, sqlite_where=replaced, postgresql_where=replaced
    )
    op.create_table(
        "parameter",
        sa.Column("number", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("type", "code", name="parameter_type_code"),
    )
    op.create_table(
        "detail",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("text"),
    )
    op.create_table(
        "entry",
        sa.Column("resource", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("detail", sa.Integer(), nullable=False),
        sa.Column("low", sa.Double(), nullable=False),
        sa.Column("high", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("resource", "number", "place", "key", "detail", "low", "high"),
        sqlite_with_rowid=False,
    )
    op.create_index("entry_by_key", "entry", ["number", "key", "low", "resource"], unique=False)
    op.create_table(
        "unindexed",
        sa.Column("number", _NUMBER, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    state = op.create_table(
        "index_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("format", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(state, [{"id": 1, "generation": 0, "format": 0}])
