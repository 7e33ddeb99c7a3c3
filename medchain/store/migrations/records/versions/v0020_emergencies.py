"""Emergencies are found by when they were declared, without reading what is noted of all others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0020"
down_revision = "records_0019"


def upgrade() -> None:
    """Add the index."""
    emergency = sa.text("direction = 'emergency'")
    op.create_index(
        "access_in_emergency", "access", ["time"], unique=False, sqlite_where=emergency, postgresql_where=emergency
    )
