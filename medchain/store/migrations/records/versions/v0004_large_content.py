"""Large content beside the file, other content types, identifiers, and what an import has done."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0004"
down_revision = "records_0003"


def upgrade() -> None:
    """Add columns and tables."""
    content_type = sa.Column(
        "content_type", sa.String(length=100), nullable=False, server_default="application/fhir+json"
    )
    op.add_column("record", content_type)
    op.add_column("record", sa.Column("head", sa.LargeBinary(), nullable=True))
    op.add_column("record", sa.Column("blob", sa.LargeBinary(), nullable=True))
    op.add_column("record", sa.Column("blob_size", sa.BigInteger(), nullable=True))
    op.create_index(
        "record_by_blob",
        "record",
        ["blob"],
        unique=True,
        sqlite_where=sa.text("blob IS NOT NULL"),
        postgresql_where=sa.text("blob IS NOT NULL"),
    )
    op.create_table(
        "identifier",
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("token", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index("identifier_by_record", "identifier", ["id", "type"], unique=False)
    op.create_table(
        "imported",
        sa.Column("unit", sa.String(length=128), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("unit"),
        sqlite_with_rowid=False,
    )
