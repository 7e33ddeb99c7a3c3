"""A node knows which steps of its disputes are refused, finds disputes by claim, and which claim a proof is about."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0036"
down_revision = "records_0035"


def upgrade() -> None:
    """Add the columns; a refusal is found out with the next try, of a proof that is there it stays unknown."""
    op.add_column("claim_dispute", sa.Column("refusal", sa.String(64), nullable=False, server_default=""))
    op.add_column("claim_dispute", sa.Column("refused", sa.BigInteger(), nullable=True))
    op.create_index("claim_dispute_by_claim", "claim_dispute", ["claim"], unique=False)
    op.add_column("received_proof", sa.Column("claim", sa.LargeBinary(), nullable=True))
