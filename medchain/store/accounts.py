"""People of a node: who may sign in, who is signed in, what counts once, who has failed too often.

Keeps true: a secret is kept as its SHA-256 only; what counts once is taken in the same transaction in which it is
looked up, over all processes; who closes an account ends its sessions and authorisations with it; what a restore shut
opens by a confirmation alone. Trusts callers for the clock. Part of the records file.
Source: `docs/spec/smart.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, insert, not_, select, update

from medchain.errors import ConflictError, NotFoundError
from medchain.store.account_tables import (
    login_failure,
    signing_key,
    smart_client,
    smart_grant,
    smart_token,
    staff,
    staff_passkey,
    ticket,
    unconfirmed,
    web_session,
)
from medchain.store.authorisations import CLIENT, COUNTS, AuthorisationTable, is_unconfirmed, settle_unconfirmed
from medchain.store.engine import Database, Statement
from medchain.store.secret import KEPT_ENDED_S, hashed, new_secret

FREE_FAILURES: Final = 5
"""Failures after which each further one locks for longer."""

FIRST_LOCK_S: Final = 30
"""How long the first lock holds, in seconds; each further failure doubles it."""

LONGEST_LOCK_S: Final = 900
"""How long a lock holds at most."""

FORGET_S: Final = 3600
"""After how long without a failure those before it count no more."""

AHEAD_S: Final = 60
"""How far ahead of the clock a session may have been seen, a failure noted, or what counts once been made: one further
ahead was before it was set back, and nobody knows how long ago that is."""

MAX_TICKETS: Final = 500
"""Most that is listed of what counts once."""


class Role(StrEnum):
    """What a person does here; nobody has two."""

    CLINICIAN = "clinician"
    DESK = "desk"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"
    PATIENT = "patient"
    """Sees the patient's pages, and no page of the staff."""


STAFF: Final = frozenset(Role) - {Role.PATIENT}
"""Roles of those who work here."""

UNDATED: Final = "provider"
"""Method of a session of somebody whom a provider knows, since when it did not say."""

DATED: Final = "provider-dated"
"""Likewise where it said when the person signed in there."""

_PRACTITIONER: Final = "Practitioner/"


@dataclass(frozen=True, slots=True)
class Account:
    """A person who may sign in.

    Attributes:
        id: 32 hexadecimal digits.
        name: by which the person is known here; unique.
        display: the person's name as shown.
        role: what the person does.
        fhir_user: reference of the resource that is the person, such as ``Practitioner/17``; may be empty.
        identity: SHA-256 of issuer and subject at the identity provider; None for a built-in account.
        disabled: since when the account is closed, Unix seconds; None while it is open.
        created: Unix seconds.
    """

    id: str
    name: str
    display: str
    role: Role
    fhir_user: str
    identity: bytes | None
    disabled: int | None
    created: int

    @property
    def is_person(self) -> bool:
        """Whether it says who it belongs to, so that two accounts can be told to be of two people.

        Somebody may have several roles, and a PractitionerRole for each: only a Practitioner counts.
        """
        return self.fhir_user.startswith(_PRACTITIONER)


@dataclass(frozen=True, slots=True)
class Passkey:
    """A passkey of an account.

    Attributes:
        credential: its id.
        account: whose.
        public: COSE key.
        created: Unix seconds.
        used: when it was used last.
    """

    credential: bytes
    account: str
    public: bytes
    created: int
    used: int | None


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in.

    Attributes:
        token: SHA-256 of the cookie's value.
        account: whose.
        created: when the person signed in, Unix seconds.
        seen: when the person was last heard of, to the minute.
        until: when it ends at the latest.
        method: how the person signed in: ``passkey``, `DATED`, or ``provider`` for one that did not say when.
    """

    token: bytes
    account: str
    created: int
    seen: int
    until: int
    method: str

    @property
    def shown_at(self) -> int:
        """When the person showed who she is; 0 where a provider let her pass, and did not say when that was."""
        return 0 if self.method == UNDATED else self.created


class StaffTable:
    """Accounts, passkeys and sessions."""

    _database: Database

    def put_account(self, account: Account) -> None:
        """Add an account; raises `ConflictError` ``account.exists`` for a name or identity that is taken."""
        try:
            with self._database.write("staff") as connection:
                values = {name: getattr(account, name) for name in Account.__slots__}
                connection.execute(insert(staff).values(**values | {"role": account.role.value}))
        except ConflictError as error:
            raise ConflictError("account.exists", name=account.name) from error

    def change_account(self, account_id: str, *, display: str, role: Role, fhir_user: str) -> None:
        """Change what is known of a person, as its identity provider says; a new role ends what the old one began."""
        with self._database.write("staff") as connection:
            before = connection.execute(select(staff.c.role).where(staff.c.id == account_id)).scalar_one_or_none()
            values = {"display": display, "role": role.value, "fhir_user": fhir_user}
            connection.execute(update(staff).where(staff.c.id == account_id).values(**values))
        if before is not None and before != role.value:
            self.end_all(account_id)

    def account(self, account_id: str) -> Account | None:
        """Return an account by its id."""
        return self._account(staff.c.id == account_id)

    def account_named(self, name: str) -> Account | None:
        """Return an account by its name."""
        return self._account(staff.c.name == name)

    def account_of(self, identity: bytes) -> Account | None:
        """Return the account of somebody at the identity provider."""
        return self._account(staff.c.identity == identity)

    def accounts(self) -> list[Account]:
        """Return all accounts by name."""
        with self._database.read("staff") as connection:
            return [_account(row) for row in connection.execute(select(staff).order_by(staff.c.name))]

    def close_account(self, account_id: str, now: int | None) -> None:
        """Close an account, with its sessions and authorisations; None opens it again.

        Raises:
            NotFoundError: ``account.unknown``.
            ConflictError: ``account.unconfirmed`` for opening what a restore shut.
        """
        with self._database.write("staff") as connection:
            if now is None and is_unconfirmed(connection, _ACCOUNT, account_id):
                raise ConflictError("account.unconfirmed")
            changed = connection.execute(update(staff).where(staff.c.id == account_id).values(disabled=now))
            if not changed.rowcount:
                raise NotFoundError("account.unknown")
            settle_unconfirmed(connection, _ACCOUNT, account_id)
        if now is not None:
            self.end_all(account_id, now)

    def confirm_account(self, account_id: str, *, keep_passkeys: bool) -> None:
        """Open an account that a restore shut.

        Args:
            account_id: whose.
            keep_passkeys: whether those of the backup count; one that was lost since would, too.

        Raises:
            NotFoundError: ``account.confirmed`` for one that waits for no confirmation.
        """
        with self._database.write("staff") as connection:
            if not settle_unconfirmed(connection, _ACCOUNT, account_id):
                raise NotFoundError("account.confirmed")
            if not keep_passkeys:
                connection.execute(delete(staff_passkey).where(staff_passkey.c.account == account_id))
            connection.execute(update(staff).where(staff.c.id == account_id).values(disabled=None))

    def unconfirmed_accounts(self) -> list[Account]:
        """Return the accounts that a restore shut and nobody has confirmed, by name."""
        waiting = select(unconfirmed.c.id).where(unconfirmed.c.kind == _ACCOUNT)
        with self._database.read("staff") as connection:
            rows = connection.execute(select(staff).where(staff.c.id.in_(waiting)).order_by(staff.c.name))
            return [_account(row) for row in rows]

    def forget_account(self, account_id: str) -> None:
        """Destroy an account with its passkeys, sessions and authorisations; again changes nothing."""
        grants = select(smart_grant.c.id).where(smart_grant.c.account == account_id)
        with self._database.erase("staff") as connection:
            connection.execute(delete(smart_token).where(smart_token.c.grant_id.in_(grants)))
            for table in (smart_grant, web_session, staff_passkey):
                connection.execute(delete(table).where(table.c.account == account_id))
            connection.execute(delete(staff).where(staff.c.id == account_id))

    def end_all(self, account_id: str, now: int = 0) -> None:
        """End a person's sessions and authorisations."""
        with self._database.write("web_session") as connection:
            connection.execute(delete(web_session).where(web_session.c.account == account_id))
            mine = (smart_grant.c.account == account_id) & smart_grant.c.revoked.is_(None)
            connection.execute(update(smart_grant).where(mine).values(revoked=now))

    def put_passkey(self, passkey: Passkey) -> None:
        """Add a passkey; raises `ConflictError` ``passkey.exists``."""
        try:
            with self._database.write("staff_passkey") as connection:
                values = {name: getattr(passkey, name) for name in Passkey.__slots__}
                connection.execute(insert(staff_passkey).values(**values))
        except ConflictError as error:
            raise ConflictError("passkey.exists") from error

    def passkey(self, credential: bytes) -> Passkey | None:
        """Return a passkey by the credential's id."""
        with self._database.read("staff_passkey") as connection:
            chosen = select(staff_passkey).where(staff_passkey.c.credential == credential)
            row = connection.execute(chosen).first()
        return None if row is None else Passkey(*row)

    def passkeys_of(self, account_id: str) -> list[Passkey]:
        """Return a person's passkeys."""
        chosen = select(staff_passkey).where(staff_passkey.c.account == account_id).order_by(staff_passkey.c.created)
        with self._database.read("staff_passkey") as connection:
            return [Passkey(*row) for row in connection.execute(chosen)]

    def drop_passkeys(self, account_id: str) -> None:
        """Forget a person's passkeys, and end what began with them."""
        with self._database.write("staff_passkey") as connection:
            connection.execute(delete(staff_passkey).where(staff_passkey.c.account == account_id))
        self.end_all(account_id)

    def drop_passkey(self, passkey: Passkey, keep: bytes) -> None:
        """Forget one passkey of a person, and end what may have begun with it.

        Args:
            passkey: which.
            keep: token of the session that goes on: that of who asks for it. Sessions do not say with which passkey
                they began, so that all others end.
        """
        with self._database.write("staff_passkey") as connection:
            connection.execute(delete(staff_passkey).where(staff_passkey.c.credential == passkey.credential))
            others = (web_session.c.account == passkey.account) & (web_session.c.token != keep)
            connection.execute(delete(web_session).where(others))

    def begin_session(  # a session's members
        self, account_id: str, method: str, now: int, until: int, credential: bytes | None, signed_in: int | None = None
    ) -> str:
        """Sign somebody in.

        Args:
            account_id: whom.
            method: how.
            now: Unix seconds.
            until: when the session ends at the latest.
            credential: the passkey that was used.
            signed_in: when the person did; None for now.

        Returns:
            The cookie's value, new each time: nobody can have known it before.
        """
        secret = new_secret()
        created = now if signed_in is None else signed_in
        values = {"token": hashed(secret), "account": account_id, "created": created, "seen": now, "until": until}
        with self._database.write("web_session") as connection:
            connection.execute(delete(web_session).where(web_session.c.until <= now))
            connection.execute(insert(web_session).values(**values, method=method))
            if credential is not None:
                mine = staff_passkey.c.credential == credential
                connection.execute(update(staff_passkey).where(mine).values(used=now))
        return secret

    def session(self, secret: str, now: int, idle_s: int) -> tuple[Session, Account] | None:
        """Return who is signed in, and note that the person was heard of.

        Args:
            secret: the cookie's value.
            now: Unix seconds.
            idle_s: after how long without a word a session ends.

        Returns:
            The session and its account, if both still count.
        """
        token = hashed(secret)
        chosen = select(web_session, staff).join(staff, staff.c.id == web_session.c.account)
        with self._database.read("web_session") as connection:
            row = connection.execute(chosen.where(web_session.c.token == token)).first()
        if row is None:
            return None
        width = len(Session.__slots__)
        session, account = Session(*row[:width]), _account(row[width:])
        is_fresh = -AHEAD_S <= now - session.seen < idle_s
        if not now < session.until or not is_fresh or account.disabled is not None:
            return None
        if now - session.seen >= _SEEN_STEP_S:
            with self._database.write("web_session") as connection:
                connection.execute(update(web_session).where(web_session.c.token == token).values(seen=now))
        return session, account

    def session_lives(self, token: bytes, now: int) -> bool:
        """Tell whether a session goes on, by the hash of its secret."""
        chosen = select(web_session.c.until, web_session.c.seen).where(web_session.c.token == token)
        with self._database.read("web_session") as connection:
            row = connection.execute(chosen).first()
        return row is not None and now < row.until and row.seen <= now + AHEAD_S

    def end_session(self, secret: str) -> None:
        """Sign somebody out."""
        with self._database.write("web_session") as connection:
            connection.execute(delete(web_session).where(web_session.c.token == hashed(secret)))

    def _account(self, where: Any) -> Account | None:  # noqa: ANN401  # SQLAlchemy's own
        """Find one account."""
        with self._database.read("staff") as connection:
            row = connection.execute(select(staff).where(where)).first()
        return None if row is None else _account(row)


class Kept(NamedTuple):
    """What belongs to something that counts once.

    Attributes:
        document: as who made it reads it.
        until: when it ends, Unix seconds.
    """

    document: bytes
    until: int


class TicketTable:
    """What counts once: launches, enrolment codes, challenges, log-ins under way; and failures, which lock."""

    _database: Database

    def put_ticket(self, kind: str, document: bytes, until: int, now: int, secret: str = "") -> str:
        """Make something that counts once.

        Args:
            kind: what for; it counts for nothing else.
            document: what belongs to it.
            until: when it ends.
            now: Unix seconds; what is over by it is forgotten, see `_over`.
            secret: by which it is known, where people must be able to type it; one is drawn otherwise.

        Returns:
            Its secret.

        Raises:
            ConflictError: ``store.conflict`` where another one that counts has this secret.
        """
        secret = secret or new_secret()
        with self._database.write("ticket") as connection:
            _put_ticket(connection, kind, secret, Kept(document, until), now)
        return secret

    def change_ticket(self, kind: str, secret: str, now: int, change: Callable[[bytes | None], Kept]) -> None:
        """Put in the place of what belongs to it what follows from that: of many who do so at once none is lost.

        Args:
            kind: as for `put_ticket`.
            secret: by which it is known.
            now: Unix seconds.
            change: makes it of what there is; None where it is not there, or counts no more. What it raises is passed
                on, and leaves what there is.
        """
        with self._database.write("ticket") as connection:
            row = connection.execute(select(ticket).where(*_ticket(kind, secret, now))).first()
            kept = change(None if row is None else bytes(row.document))
            connection.execute(delete(ticket).where(*_ticket(kind, secret, now)))
            _put_ticket(connection, kind, secret, kept, now)

    def see_ticket(self, kind: str, secret: str, now: int) -> bytes | None:
        """Return what belongs to it, and leave it."""
        with self._database.read("ticket") as connection:
            row = connection.execute(select(ticket).where(*_ticket(kind, secret, now))).first()
        return None if row is None else bytes(row.document)

    def tickets(self, kind: str, now: int) -> list[bytes]:
        """Return what belongs to each of a kind that counts, at most `MAX_TICKETS`."""
        chosen = select(ticket.c.document).where(ticket.c.kind == kind, _counts(now))
        with self._database.read("ticket") as connection:
            rows = connection.execute(chosen.order_by(ticket.c.until).limit(MAX_TICKETS)).scalars()
            return [bytes(document) for document in rows]

    def take_ticket(self, kind: str, secret: str, now: int) -> bytes | None:
        """Take it; returns what belongs to it, once over all processes, and None after that."""
        with self._database.write("ticket") as connection:
            taken = delete(ticket).where(*_ticket(kind, secret, now)).returning(ticket.c.document)
            row = connection.execute(taken).first()
        return None if row is None else bytes(row.document)

    def locked_for(self, key: str, now: int) -> int:
        """Tell for how many seconds a key is locked; 0 if it is not."""
        with self._database.read("login_failure") as connection:
            return _wait(connection.execute(_failures(key)).first(), now)

    def put_attempt(self, keys: Sequence[str], now: int, note: str) -> int:
        """Count an attempt of each key, unless one of them is locked: both in one transaction, over all processes.

        What can be guessed is looked at after its attempt was counted, and `forget_failures` called where it was right:
        of many who guess at once nobody comes before the lock. From the one after `FREE_FAILURES` on, each locks for
        twice as long.

        Args:
            keys: what is counted together.
            now: Unix seconds.
            note: what was tried.

        Returns:
            For how many seconds one of them is locked; 0 where the attempt was counted.
        """
        with self._database.write("login_failure") as connection:
            # Nor does who fails under ever new names make the table grow for ever.
            connection.execute(delete(login_failure).where(login_failure.c.last <= now - FORGET_S))
            rows = {key: connection.execute(_failures(key)).first() for key in keys}
            wait = max((_wait(row, now) for row in rows.values()), default=0)
            if wait:
                return wait
            for key, row in rows.items():
                count = 1 if row is None else int(row[1]) + 1
                over = count - FREE_FAILURES
                until = now + min(LONGEST_LOCK_S, FIRST_LOCK_S << min(over, 16)) if over >= 0 else now
                connection.execute(delete(login_failure).where(login_failure.c.key == hashed(key)))
                values = {"key": hashed(key), "count": count, "last": now, "until": until, "note": note}
                connection.execute(insert(login_failure).values(**values))
        return 0

    def forget_failures(self, key: str) -> None:
        """Count a key's failures no more, after it was shown who it is."""
        with self._database.read("login_failure") as connection:
            known = connection.execute(select(login_failure.c.key).where(login_failure.c.key == hashed(key))).first()
        if known is not None:
            with self._database.write("login_failure") as connection:
                connection.execute(delete(login_failure).where(login_failure.c.key == hashed(key)))


class AccountStore(StaffTable, TicketTable, AuthorisationTable):
    """The tables of people and applications, in the records file. Processes and threads may share it."""

    def __init__(self, database: Database) -> None:
        """Use an opened records file."""
        self._database = database
        self._counts = Statement(COUNTS, database.engine.dialect)

    def forget_live(self) -> None:
        """End all sessions, authorisations and what waits: after a restore, what was ended since must stay ended."""
        with self._database.write("web_session") as connection:
            for table in (web_session, ticket, smart_token, smart_grant):
                connection.execute(delete(table))

    def shut_all(self, now: int) -> None:
        """Shut all that is open, after a restore: what was closed, lost or revoked since must not open anything.

        Accounts of staff and applications open again one by one, when somebody says that they should. A patient's
        account stays: its passkeys count while the ledger lists them. No token of before counts.
        """
        with self._database.write("staff") as connection:
            people = (staff.c.role != Role.PATIENT.value) & staff.c.disabled.is_(None)
            systems = smart_client.c.disabled.is_(None)
            for kind, table, is_open in ((_ACCOUNT, staff, people), (CLIENT, smart_client, systems)):
                ids = connection.execute(select(table.c.id).where(is_open)).scalars().all()
                for name in ids:
                    connection.execute(insert(unconfirmed).values(kind=kind, id=name))
                connection.execute(update(table).where(is_open).values(disabled=now))
            connection.execute(delete(signing_key))


_SEEN_STEP_S: Final = 60
_ACCOUNT: Final = "account"


def _put_ticket(connection: Connection, kind: str, secret: str, kept: Kept, now: int) -> None:
    """Write a ticket, in the place of one that counts no more, and forget what is over."""
    in_its_place = (ticket.c.token == hashed(secret)) & not_(_counts(now))
    connection.execute(delete(ticket).where(_over(now) | in_its_place))
    values = {"token": hashed(secret), "kind": kind, "document": kept.document, "until": kept.until, "made": now}
    connection.execute(insert(ticket).values(**values))


def _ticket(kind: str, secret: str, now: int) -> tuple[Any, ...]:
    """Choose a ticket that counts."""
    return ticket.c.token == hashed(secret), ticket.c.kind == kind, _counts(now)


def _counts(now: int) -> ColumnElement[bool]:
    """Choose the tickets that count."""
    return (ticket.c.until > now) & (ticket.c.made <= now + AHEAD_S)


def _over(now: int) -> ColumnElement[bool]:
    """Choose the tickets that are forgotten, which none is that a clock takes for ended or for later for a moment only.

    One that begins later than now may be of a clock that was ahead, or the clock may have been set back for a moment:
    it goes where it would count again after more than the time for which it was made.
    """
    return (ticket.c.until <= now - KEPT_ENDED_S) | (ticket.c.made - (ticket.c.until - ticket.c.made) > now + AHEAD_S)


def _failures(key: str) -> Select[Any]:
    """Choose what is known of a key's failures."""
    return select(login_failure).where(login_failure.c.key == hashed(key))


def _wait(row: Row[Any] | None, now: int) -> int:
    """Tell for how many seconds a key with such a row is locked."""
    return 0 if row is None or row.last > now + AHEAD_S else max(0, row.until - now)


def _account(row: Row[Any] | tuple[Any, ...]) -> Account:
    """Read an account's row."""
    fields = dict(zip(Account.__slots__, row, strict=True))
    return Account(**fields | {"role": Role(fields["role"])})
