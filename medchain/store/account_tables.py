"""The tables of people and applications: accounts, passkeys, sessions, clients, authorisations, tokens, lock-outs.

Keeps true: whatever opens something (a code, a token, a session) stands here as a SHA-256 only, so that a copy of the
file opens nothing; private signing keys stand here sealed. Trusts that migrations made the tables. Part of the records
file.
Source: `docs/spec/smart.md`, `docs/spec/store.md`.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table, Text

from medchain.store.tables import RECORDS

signing_key: Final = Table(
    "signing_key",
    RECORDS,
    Column("kid", String(64), primary_key=True),
    Column("algorithm", String(16), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
)

smart_client: Final = Table(
    "smart_client",
    RECORDS,
    Column("id", String(64), primary_key=True),
    Column("document", LargeBinary, nullable=False),
    Column("disabled", BigInteger, nullable=True),
    Column("created", BigInteger, nullable=False),
)

staff: Final = Table(
    "staff",
    RECORDS,
    Column("id", String(32), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("display", String(128), nullable=False),
    Column("role", String(16), nullable=False),
    Column("fhir_user", String(128), nullable=False),
    Column("identity", LargeBinary, nullable=True, unique=True),
    Column("disabled", BigInteger, nullable=True),
    Column("created", BigInteger, nullable=False),
)

staff_passkey: Final = Table(
    "staff_passkey",
    RECORDS,
    Column("credential", LargeBinary, primary_key=True),
    Column("account", String(32), nullable=False),
    Column("public", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=True),
)

staff_passkey_by_account: Final = Index("staff_passkey_by_account", staff_passkey.c.account)

web_session: Final = Table(
    "web_session",
    RECORDS,
    Column("token", LargeBinary, primary_key=True),
    Column("account", String(32), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("method", String(16), nullable=False),
)

web_session_by_account: Final = Index("web_session_by_account", web_session.c.account)

ticket: Final = Table(
    "ticket",
    RECORDS,
    Column("token", LargeBinary, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("made", BigInteger, nullable=False, server_default="0"),
)

ticket_by_until: Final = Index("ticket_by_until", ticket.c.until)

smart_grant: Final = Table(
    "smart_grant",
    RECORDS,
    Column("id", String(32), primary_key=True),
    Column("client", String(64), nullable=False),
    Column("account", String(32), nullable=False),
    Column("session", LargeBinary, nullable=True),
    Column("document", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("revoked", BigInteger, nullable=True),
)

smart_grant_by_account: Final = Index("smart_grant_by_account", smart_grant.c.account)
smart_grant_by_client: Final = Index("smart_grant_by_client", smart_grant.c.client)
smart_grant_by_until: Final = Index("smart_grant_by_until", smart_grant.c.until)

smart_token: Final = Table(
    "smart_token",
    RECORDS,
    Column("token", LargeBinary, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("grant_id", String(32), nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=True),
)

smart_token_by_until: Final = Index("smart_token_by_until", smart_token.c.until)

unconfirmed: Final = Table(
    "unconfirmed",
    RECORDS,
    Column("kind", String(16), primary_key=True),
    Column("id", String(64), primary_key=True),
)

revoked_token: Final = Table(
    "revoked_token",
    RECORDS,
    Column("jti", LargeBinary, primary_key=True),
    Column("until", BigInteger, nullable=False),
)

login_failure: Final = Table(
    "login_failure",
    RECORDS,
    Column("key", LargeBinary, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
)
