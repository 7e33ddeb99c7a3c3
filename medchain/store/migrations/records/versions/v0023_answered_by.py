"""Who answered an ask in the patient's stead has a column of its own: beside the answer it was too long for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0023"
down_revision = "records_0022"


def upgrade() -> None:
    """Add the column, and take what belongs there out of the answers."""
    op.add_column("consent_ask", sa.Column("answered_by", sa.String(64), nullable=True))
    ask = sa.table("consent_ask", sa.column("id"), sa.column("answer"), sa.column("answered_by"))
    connection = op.get_bind()
    for name, both in connection.execute(sa.select(ask.c.id, ask.c.answer).where(ask.c.answer.contains(":"))).all():
        answer, _, by = both.partition(":")
        connection.execute(sa.update(ask).where(ask.c.id == name).values(answer=answer, answered_by=by))
