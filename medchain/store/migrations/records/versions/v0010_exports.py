"""Bulk exports and the files that they consist of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0010"
down_revision = "records_0009"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "export_job",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("snapshot", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("after", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("export_job_by_owner", "export_job", ["owner", "created"])
    op.create_table(
        "export_file",
        sa.Column("job", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job", "number"),
    )
