"""Tokens that were used, so that none counts twice.

Keeps true: a token counts once over all processes, whatever a clock that was fast by no more than `KEPT_ENDED_S` has
done meanwhile. Part of the records file.
Source: `docs/spec/store.md`, `docs/spec/node-protocol.md` 6.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, delete, insert, select

from medchain.errors import ConflictError
from medchain.store.engine import Database, Statement, insert_into
from medchain.store.secret import KEPT_ENDED_S
from medchain.store.tables import used_token

_PRUNE_EVERY: Final = 1024


class UsedTokenTable:
    """What was used once."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database
        dialect = database.engine.dialect
        self._insert_token = insert_into(used_token, dialect)
        chosen = select(used_token.c.until).where(used_token.c.jti == bindparam("jti"))
        self._read_token = Statement(chosen, dialect)
        self._tokens_used = 0

    def use_once(self, jti: str, until: int, *, now: int | None = None) -> bool:
        """Use a token.

        Args:
            jti: what makes it unique, its issuer included.
            until: when it is refused for its age anyway, Unix seconds.
            now: Unix seconds; from time to time, tokens that ended `KEPT_ENDED_S` before are forgotten.

        Returns:
            True the first time over all processes, False after that.

        Raises:
            UnavailableError: the token must be refused then.
        """
        try:
            with self._database.write("used_token") as connection:
                connection.execute(insert(used_token).values(jti=_token_hash(jti), until=until))
                if now is not None:
                    self._forget_tokens(connection, now)
        except ConflictError:
            return False
        return True

    def is_used(self, jti: str) -> bool:
        """Tell whether a token was used, and is not forgotten yet."""
        with self._database.look("used_token") as look:
            return look.first(self._read_token, _token_hash(jti)) is not None

    def _forget_tokens(self, connection: Connection, now: int) -> None:
        """Forget, from time to time, tokens that are refused for their age, however fast the clock may be."""
        if self._tokens_used % _PRUNE_EVERY == 0:
            connection.execute(delete(used_token).where(used_token.c.until < now - KEPT_ENDED_S))
        self._tokens_used += 1

    def _use_up(self, connection: Connection, using: Sequence[tuple[str, int]], now: int) -> None:
        """Use tokens, with until when each counts, in a write that fails where one of them was used before."""
        if using:
            self._insert_token.many(connection, [(_token_hash(jti), until) for jti, until in using])
            self._forget_tokens(connection, now)


def _token_hash(jti: str) -> bytes:
    """Return what a token is known by: its own text may say whose it is."""
    return hashlib.sha256(jti.encode("utf-8", "surrogatepass")).digest()
