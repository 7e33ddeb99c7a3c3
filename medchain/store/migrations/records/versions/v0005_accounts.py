"""People, applications, sessions, authorisations, tokens and lock-outs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "records_0005"
down_revision = "records_0004"


def upgrade() -> None:
    """Add tables."""
    _add_accounts()
    _add_authorisations()


def _add_accounts() -> None:
    """Add people, their passkeys and sessions."""
    op.create_table(
        "staff",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("display", sa.String(length=128), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("fhir_user", sa.String(length=128), nullable=False),
        sa.Column("identity", sa.LargeBinary(), nullable=True),
        sa.Column("disabled", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("identity"),
    )
    op.create_table(
        "staff_passkey",
        sa.Column("credential", sa.LargeBinary(), nullable=False),
        sa.Column("account", sa.String(length=32), nullable=False),
        sa.Column("public", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("credential"),
    )
    op.create_index("staff_passkey_by_account", "staff_passkey", ["account"], unique=False)
    op.create_table(
        "web_session",
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("account", sa.String(length=32), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("token"),
    )
    op.create_index("web_session_by_account", "web_session", ["account"], unique=False)
    op.create_table(
        "ticket",
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token"),
    )
    op.create_index("ticket_by_until", "ticket", ["until"], unique=False)
    op.create_table(
        "login_failure",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )


def _add_authorisations() -> None:
    """Add applications, what they were authorised for, their tokens, and the keys that sign these."""
    op.create_table(
        "signing_key",
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("algorithm", sa.String(length=16), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kid"),
    )
    op.create_table(
        "smart_client",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("disabled", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "smart_grant",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=32), nullable=False),
        sa.Column("session", sa.LargeBinary(), nullable=True),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("revoked", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("smart_grant_by_account", "smart_grant", ["account"], unique=False)
    op.create_index("smart_grant_by_client", "smart_grant", ["client"], unique=False)
    op.create_index("smart_grant_by_until", "smart_grant", ["until"], unique=False)
    op.create_table(
        "smart_token",
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("grant_id", sa.String(length=32), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("token"),
    )
    op.create_index("smart_token_by_until", "smart_token", ["until"], unique=False)
    op.create_table(
        "revoked_token",
        sa.Column("jti", sa.LargeBinary(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("jti"),
    )
