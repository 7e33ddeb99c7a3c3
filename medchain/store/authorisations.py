"""Applications of a node, what each was authorised for, codes and refresh tokens, and the keys that sign tokens.

Keeps true: a code or refresh token is used up in the same transaction in which it is looked up, over all processes; one
that comes a second time ends everything that came of it; who disables or forgets an application ends its authorisations
with it. Trusts callers for the clock. Part of the records file.
Source: RFC 6749 §4.1.2, §10.5; RFC 9700 §4.14; `docs/spec/smart.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update

from medchain.errors import ConflictError, NotFoundError
from medchain.store.account_tables import (
    revoked_token,
    signing_key,
    smart_client,
    smart_grant,
    smart_token,
    unconfirmed,
    web_session,
)
from medchain.store.engine import Database, Statement
from medchain.store.secret import KEPT_ENDED_S, hashed, new_secret


@dataclass(frozen=True, slots=True)
class ClientRow:
    """A registered application.

    Attributes:
        id: its name.
        document: canonical JSON.
        disabled: since when it may do nothing, None while it may.
        created: Unix seconds.
    """

    id: str
    document: bytes
    disabled: int | None
    created: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What a person has authorised an application for.

    Attributes:
        id: 32 hexadecimal digits.
        client: the application.
        account: the person.
        session: SHA-256 of the session's cookie whose end ends it; None if it outlives the session.
        document: canonical JSON.
        created: Unix seconds.
        until: when it ends at the latest.
        revoked: since when it counts no more, None while it does.
    """

    id: str
    client: str
    account: str
    session: bytes | None
    document: bytes
    created: int
    until: int
    revoked: int | None


@dataclass(frozen=True, slots=True)
class TokenRow:
    """An authorisation code or a refresh token.

    Attributes:
        grant: what it belongs to.
        document: canonical JSON.
        until: when it ends.
    """

    grant: Grant
    document: bytes
    until: int


@dataclass(frozen=True, slots=True)
class SigningKeyRow:
    """A key that signs tokens.

    Attributes:
        kid: its id.
        algorithm: JOSE algorithm.
        sealed: the private key, sealed.
        created: Unix seconds.
    """

    kid: str
    algorithm: str
    sealed: bytes
    created: int


class AuthorisationTable:
    """Applications, what they were authorised for, codes and refresh tokens, signing keys."""

    _database: Database
    _counts: Statement

    def put_client(self, client_id: str, document: bytes, now: int, *, replace: bool = False) -> None:
        """Register an application, or change one.

        Raises:
            ConflictError: ``client.exists`` for a new one whose id is taken.
            NotFoundError: ``client.unknown`` for a change of one that is not there.
        """
        same = smart_client.c.id == client_id
        with self._database.write("smart_client") as connection:
            known = connection.execute(select(smart_client.c.id).where(same)).first() is not None
            if known and not replace:
                raise ConflictError("client.exists", client=client_id)
            if replace and not known:
                raise NotFoundError("client.unknown", client=client_id)
            if known:
                connection.execute(update(smart_client).where(same).values(document=document))
            else:
                values = {"id": client_id, "document": document, "disabled": None, "created": now}
                connection.execute(insert(smart_client).values(**values))

    def client(self, client_id: str) -> ClientRow | None:
        """Return an application."""
        with self._database.read("smart_client") as connection:
            row = connection.execute(select(smart_client).where(smart_client.c.id == client_id)).first()
        return None if row is None else ClientRow(*row)

    def clients(self) -> list[ClientRow]:
        """Return all applications by their id."""
        with self._database.read("smart_client") as connection:
            return [ClientRow(*row) for row in connection.execute(select(smart_client).order_by(smart_client.c.id))]

    def disable_client(self, client_id: str, now: int | None) -> None:
        """Let an application do nothing more, and end its authorisations; None lets it again.

        Raises:
            NotFoundError: ``client.unknown``.
            ConflictError: ``client.unconfirmed`` for letting in what a restore shut.
        """
        with self._database.write("smart_client") as connection:
            same = smart_client.c.id == client_id
            if now is None and is_unconfirmed(connection, CLIENT, client_id):
                raise ConflictError("client.unconfirmed", client=client_id)
            settle_unconfirmed(connection, CLIENT, client_id)
            if not connection.execute(update(smart_client).where(same).values(disabled=now)).rowcount:
                raise NotFoundError("client.unknown", client=client_id)
            if now is not None:
                _revoke(connection, smart_grant.c.client == client_id, now)

    def drop_client(self, client_id: str, now: int) -> None:
        """Forget an application and end its authorisations; raises `NotFoundError` ``client.unknown``."""
        with self._database.write("smart_client") as connection:
            if not connection.execute(delete(smart_client).where(smart_client.c.id == client_id)).rowcount:
                raise NotFoundError("client.unknown", client=client_id)
            settle_unconfirmed(connection, CLIENT, client_id)
            _revoke(connection, smart_grant.c.client == client_id, now)

    def confirm_client(self, client_id: str) -> None:
        """Let in an application that a restore shut; raises `NotFoundError` ``client.confirmed`` for any other."""
        with self._database.write("smart_client") as connection:
            if not settle_unconfirmed(connection, CLIENT, client_id):
                raise NotFoundError("client.confirmed", client=client_id)
            connection.execute(update(smart_client).where(smart_client.c.id == client_id).values(disabled=None))

    def unconfirmed_clients(self) -> list[str]:
        """Return the ids of the applications that a restore shut and nobody has confirmed, sorted."""
        chosen = select(unconfirmed.c.id).where(unconfirmed.c.kind == CLIENT).order_by(unconfirmed.c.id)
        with self._database.read("unconfirmed") as connection:
            return list(connection.execute(chosen).scalars())

    def put_grant(self, grant: Grant) -> None:
        """Keep what a person has authorised; what ended before is forgotten."""
        with self._database.write("smart_grant") as connection:
            connection.execute(delete(smart_token).where(smart_token.c.until <= grant.created - _KEEP_S))
            connection.execute(delete(smart_grant).where(smart_grant.c.until <= grant.created - _KEEP_S))
            connection.execute(insert(smart_grant).values(**{name: getattr(grant, name) for name in Grant.__slots__}))

    def grant(self, grant_id: str) -> Grant | None:
        """Return an authorisation, ended or not."""
        with self._database.read("smart_grant") as connection:
            row = connection.execute(select(smart_grant).where(smart_grant.c.id == grant_id)).first()
        return None if row is None else Grant(*row)

    def grants_of(self, account_id: str, now: int) -> list[Grant]:
        """Return the authorisations of a person that count."""
        mine = (smart_grant.c.account == account_id, smart_grant.c.revoked.is_(None), smart_grant.c.until > now)
        with self._database.read("smart_grant") as connection:
            rows = connection.execute(select(smart_grant).where(*mine).order_by(smart_grant.c.created.desc()))
            return [Grant(*row) for row in rows]

    def grant_counts(self, grant_id: str, now: int) -> bool:
        """Tell whether an authorisation counts: not ended, not revoked, its session not over if it hangs on it.

        Asked on each request of an application, so it is one compiled statement.
        """
        with self._database.look("smart_grant") as look:
            return look.first(self._counts, now, now, grant_id) is not None

    def revoke_grant(self, grant_id: str, now: int) -> None:
        """End an authorisation, and with it every token that came of it."""
        with self._database.write("smart_grant") as connection:
            _revoke(connection, smart_grant.c.id == grant_id, now)

    def put_token(self, kind: str, grant_id: str, document: bytes, until: int, *, secret: str | None = None) -> str:
        """Make a code or refresh token; returns its secret, a new one where none is given."""
        secret = secret or new_secret()
        values = {"token": hashed(secret), "kind": kind, "grant_id": grant_id, "document": document, "until": until}
        with self._database.write("smart_token") as connection:
            connection.execute(insert(smart_token).values(**values, used=None))
        return secret

    def see_token(self, kind: str, secret: str) -> TokenRow | None:
        """Return a token that was not used, and leave it."""
        chosen = select(smart_token).where(smart_token.c.token == hashed(secret), smart_token.c.kind == kind)
        with self._database.read("smart_token") as connection:
            row = connection.execute(chosen.where(smart_token.c.used.is_(None))).first()
            if row is None:
                return None
            grant = connection.execute(select(smart_grant).where(smart_grant.c.id == row.grant_id)).first()
        return None if grant is None else TokenRow(Grant(*grant), bytes(row.document), int(row.until))

    def client_of_token(self, kind: str, secret: str) -> str | None:
        """Return the application that a token was made for, whether it was used or not."""
        mine = smart_grant.c.id == smart_token.c.grant_id
        chosen = select(smart_grant.c.client).join(smart_token, mine)
        with self._database.read("smart_token") as connection:
            same = (smart_token.c.token == hashed(secret), smart_token.c.kind == kind)
            found: str | None = connection.execute(chosen.where(*same)).scalar_one_or_none()
        return found

    def token_lives(self, kind: str, secret: str, now: int) -> bool:
        """Tell whether a token is known, used or not, and its authorisation counts: it may change something."""
        chosen = COUNTING.join(smart_token, smart_token.c.grant_id == smart_grant.c.id)
        same = (smart_token.c.token == hashed(secret), smart_token.c.kind == kind)
        with self._database.read("smart_token") as connection:
            return connection.execute(chosen.where(*same), {"now": now, "again": now}).first() is not None

    def take_token(self, kind: str, secret: str, client_id: str, now: int) -> TokenRow | None:
        """Use up a token, once over all processes.

        A second use means that two have it, and one of them has stolen it: everything that came of the authorisation
        ends (RFC 6749 §4.1.2, RFC 9700 §4.14.2).

        Args:
            kind: ``code`` or ``refresh``.
            secret: as it was handed out.
            client_id: the application that brings it; it must be the one that it was made for.
            now: Unix seconds.

        Returns:
            The token; None for one that does not count.
        """
        same = (smart_token.c.token == hashed(secret), smart_token.c.kind == kind)
        with self._database.write("smart_token") as connection:
            row = connection.execute(select(smart_token).where(*same)).first()
            found = (
                None
                if row is None
                else connection.execute(select(smart_grant).where(smart_grant.c.id == row.grant_id)).first()
            )
            if row is None or found is None:
                return None
            grant = Grant(*found)
            if row.used is not None:
                _revoke(connection, smart_grant.c.id == grant.id, now)
                return None
            counts = connection.execute(COUNTS, {"id": grant.id, "now": now, "again": now}).first() is not None
            if grant.client != client_id or not counts or not now < row.until:
                return None
            connection.execute(update(smart_token).where(*same).values(used=now))
        return TokenRow(grant, bytes(row.document), int(row.until))

    def revoke_token(self, jti: str, until: int, now: int) -> None:
        """Let an access token of a client that acts for itself count no more."""
        with self._database.write("revoked_token") as connection:
            connection.execute(delete(revoked_token).where(revoked_token.c.until <= now - KEPT_ENDED_S))
            connection.execute(delete(revoked_token).where(revoked_token.c.jti == hashed(jti)))
            connection.execute(insert(revoked_token).values(jti=hashed(jti), until=until))

    def is_revoked(self, jti: str) -> bool:
        """Tell whether an access token was revoked."""
        with self._database.read("revoked_token") as connection:
            chosen = select(revoked_token.c.jti).where(revoked_token.c.jti == hashed(jti))
            return connection.execute(chosen).first() is not None

    def signing_keys(self, algorithm: str) -> list[SigningKeyRow]:
        """Return the signing keys of an algorithm, the newest first."""
        chosen = select(signing_key).where(signing_key.c.algorithm == algorithm)
        with self._database.read("signing_key") as connection:
            rows = connection.execute(chosen.order_by(signing_key.c.created.desc(), signing_key.c.kid))
            return [SigningKeyRow(*row) for row in rows]

    def put_signing_key(self, row: SigningKeyRow, newest: str | None, drop_before: int) -> bool:
        """Add a signing key, unless another process has just done so.

        Args:
            row: the key.
            newest: kid of the newest key as the caller knows it, None if there is none.
            drop_before: keys made earlier than that are forgotten; nothing that they signed counts any more.

        Returns:
            Whether it was added.
        """
        mine = signing_key.c.algorithm == row.algorithm
        order = (signing_key.c.created.desc(), signing_key.c.kid)
        with self._database.erase("signing_key") as connection:
            found = connection.execute(select(signing_key.c.kid).where(mine).order_by(*order)).scalars().first()
            if found != newest:
                return False
            values = {name: getattr(row, name) for name in SigningKeyRow.__slots__}
            connection.execute(insert(signing_key).values(**values))
            connection.execute(delete(signing_key).where(mine, signing_key.c.created < drop_before))
        return True


CLIENT: Final = "client"
"""Kind of what waits for a confirmation: an application."""

_KEEP_S: Final = 86_400
COUNTING: Final = (
    select(smart_grant.c.id)
    .outerjoin(web_session, web_session.c.token == smart_grant.c.session)
    .where(
        smart_grant.c.revoked.is_(None),
        smart_grant.c.until > bindparam("now"),
        or_(smart_grant.c.session.is_(None), web_session.c.until > bindparam("again")),
    )
)
"""Finds authorisations that count: not ended, nor the session that they hang on; the time is asked for twice."""

COUNTS: Final = COUNTING.where(smart_grant.c.id == bindparam("id"))
"""Finds one that counts, by its id."""


def is_unconfirmed(connection: Connection, kind: str, name: str) -> bool:
    """Tell whether a restore shut something, and nobody has confirmed it."""
    mine = (unconfirmed.c.kind == kind) & (unconfirmed.c.id == name)
    return connection.execute(select(unconfirmed.c.id).where(mine)).first() is not None


def settle_unconfirmed(connection: Connection, kind: str, name: str) -> bool:
    """Note that somebody has decided on what a restore shut; tells whether it waited for that."""
    mine = (unconfirmed.c.kind == kind) & (unconfirmed.c.id == name)
    return bool(connection.execute(delete(unconfirmed).where(mine)).rowcount)


def _revoke(connection: Any, where: Any, now: int) -> None:  # noqa: ANN401  # SQLAlchemy's own
    """End authorisations."""
    connection.execute(update(smart_grant).where(where, smart_grant.c.revoked.is_(None)).values(revoked=now))
