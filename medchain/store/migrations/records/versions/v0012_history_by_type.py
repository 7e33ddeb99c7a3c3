"""Versions by type and time: the history of a type is read from its newest on, or since a moment, without a scan."""

from __future__ import annotations

from alembic import op

revision = "records_0012"
down_revision = "records_0011"


def upgrade() -> None:
    """Add the index."""
    op.create_index("record_by_type", "record", ["type", "created", "seq"])
