"""What an erasure is about is kept: a restored backup has the patient again, and the erasure is carried out again."""

from __future__ import annotations

from hashlib import sha256

import sqlalchemy as sa
from alembic import op

revision = "records_0022"
down_revision = "records_0021"


def upgrade() -> None:
    """Add the table, with what waits; of what was carried out before, only the keys are known."""
    kept = op.create_table(
        "patient_erasure",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("intent", sa.LargeBinary(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("settled", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    waiting = sa.text("SELECT payload, created FROM outbox WHERE kind = 'erasure'")
    for payload, created in op.get_bind().execute(waiting).all():
        row = {"id": sha256(payload).digest(), "intent": payload, "time": created, "settled": None}
        op.execute(kept.insert().values(**row))
