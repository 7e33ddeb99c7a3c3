"""Identifiers are found by the search index."""

from __future__ import annotations

from alembic import op

revision = "records_0008"
down_revision = "records_0007"


def upgrade() -> None:
    """Remove the table."""
    op.drop_table("identifier")
