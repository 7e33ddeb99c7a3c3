"""What leads from the portal to the page on which a patient signs: a ticket that counts once.

The draft stays with the node; the browser carries a secret in the address's fragment, which no server is sent and no
log or `Referer` has. Keeps true: a ticket opens one draft, made for one person, once, over all processes; what was
opened is signed under a second secret, which only the page that opened it has, and which is good until it has served or
its time is over. Trusts the account store, which keeps hashes of secrets and takes a row once.
Source: `docs/spec/patient-pages.md` 6; `docs/adr/0050-patients-sign-at-an-origin-of-its-own.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from medchain.encoding import Json, canonical, members, parse_canonical
from medchain.errors import AccessDeniedError
from medchain.store.accounts import AccountStore

SIGN_S: Final = 600
"""How long a draft waits for the passkey, from the portal's button on; endorsers take none that is older."""

MAX_BYTES: Final = 4 << 20
"""Largest document: it holds a draft."""

_TO_SIGN: Final = "patient-sign"
_SIGNING: Final = "patient-signing"


class Act(StrEnum):
    """What is signed, and so what is done with it."""

    GIVE = "give"
    HIDE = "hide"
    STOP = "stop"
    CANCEL = "cancel"
    CHANGE = "change"
    RESTORE = "restore"
    SETTLE = "settle"
    ADD_PASSKEY = "add-passkey"
    REMOVE_PASSKEY = "remove-passkey"
    END_HELPER = "end-helper"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A draft that waits for a signature, and what belongs to it.

    Attributes:
        act: what is signed.
        name: id of the ask, map key of the consent, credential id of the passkey, map key of the
            subject: what it is about; may be empty.
        draft: as the daemon gave it and wants it back.
        challenge: what the passkey signs, hexadecimal.
        credentials: passkeys that may, base64url.
        account: of who signs.
        patient: id of the Patient whom it is about.
        delegate: map key of the subject that acts for that patient, hexadecimal; empty for nobody else.
        person: map key of the subject for whom, hexadecimal; empty as above.
        deed: what who acts must be allowed to do.
        session: hash of the portal's session in which it was drafted, hexadecimal.
        portal: where the browser comes from, and goes back to.
        back: path there, for who does not sign.
        then: path there once it is signed; empty where only the answer tells.
        names: map keys of subjects and ids of organisations, as this organisation names them.
    """

    act: Act
    name: str
    draft: str
    challenge: str
    credentials: tuple[str, ...]
    account: str
    patient: str
    delegate: str
    person: str
    deed: str
    session: str
    portal: str
    back: str
    then: str
    names: Mapping[str, str]

    def encode(self) -> bytes:
        """Write it."""
        document: dict[str, Json] = {name: getattr(self, name) for name in _TEXTS}
        document |= {"act": self.act.value, "credentials": list(self.credentials)}
        return canonical(document | {"names": dict(self.names)})

    @classmethod
    def decode(cls, data: bytes) -> Ticket:
        """Read what `encode` wrote; raises `InputError` ``encoding.*``."""
        types = dict.fromkeys(_TEXTS, str) | {"act": str, "credentials": list, "names": dict}
        found = members(parse_canonical(data, max_bytes=MAX_BYTES), types)
        rows, names = found["credentials"], found["names"]
        texts = {name: str(found[name]) for name in _TEXTS}
        return cls(
            act=Act(str(found["act"])),
            credentials=tuple(str(row) for row in rows) if isinstance(rows, list) else (),
            names={key: str(name) for key, name in names.items()} if isinstance(names, dict) else {},
            **texts,
        )


_TEXTS: Final = (
    "account",
    "back",
    "challenge",
    "deed",
    "delegate",
    "draft",
    "name",
    "patient",
    "person",
    "portal",
    "session",
    "then",
)


def put(accounts: AccountStore, ticket: Ticket, now: int) -> str:
    """Keep a ticket for `SIGN_S`.

    Args:
        accounts: keeps it.
        ticket: what it opens.
        now: Unix seconds.

    Returns:
        Its secret.
    """
    return accounts.put_ticket(_TO_SIGN, ticket.encode(), now + SIGN_S, now)


def open_once(accounts: AccountStore, secret: str, now: int) -> tuple[Ticket, str]:
    """Use a ticket up.

    Args:
        accounts: keeps it.
        secret: its own.
        now: Unix seconds.

    Returns:
        What it opens, and the secret under which that is signed from now on.

    Raises:
        AccessDeniedError: ``page.ended`` for one that was used, has ended, or never was.
    """
    document = accounts.take_ticket(_TO_SIGN, secret, now)
    if document is None:
        raise AccessDeniedError("page.ended")
    return Ticket.decode(document), accounts.put_ticket(_SIGNING, document, now + SIGN_S, now)


def opened(accounts: AccountStore, secret: str, now: int) -> Ticket:
    """Read what was opened; raises `AccessDeniedError` ``page.ended`` as `open_once`."""
    document = accounts.see_ticket(_SIGNING, secret, now)
    if document is None:
        raise AccessDeniedError("page.ended")
    return Ticket.decode(document)


def use_up(accounts: AccountStore, secret: str, now: int) -> None:
    """Have what was opened be signed no more."""
    accounts.take_ticket(_SIGNING, secret, now)
