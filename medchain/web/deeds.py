"""Deeds: what people and applications do to get in and to be let in, as the audit is told of it.

Keeps true: a deed names who and whom, never a secret and no patient; one that changes something is kept before it is
done. Trusts the floor above, which keeps them.
Source: FHIR R4 AuditEvent (§6.4); DICOM PS3.15 §A.5.3; `docs/spec/audit.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from medchain.store.accounts import Account

PAGES: Final = "(pages)"
"""As which client the pages are on the audit; no registered client can be called so."""

COMMAND: Final = "(command)"
"""As which client the command line is on the audit."""

UNKNOWN: Final = "(unknown)"
"""As which client one is on the audit that is not registered: what it calls itself is not kept."""


class Kind(StrEnum):
    """What is done."""

    LOGIN = "login"
    LOGOUT = "logout"
    TOKEN = "token"  # noqa: S105  # the name of what is done
    REVOCATION = "revocation"
    CLIENT = "client-change"
    ACCOUNT = "account-change"
    PROPOSAL = "attestation-proposed"
    CONFIRMATION = "attestation-confirmed"
    REJECTION = "attestation-dropped"
    ASK = "permission-asked"
    STOP = "permission-stopped"
    MANDATE = "mandate-entered"
    MANDATE_GRANT = "mandate-granted"
    MANDATE_STOP = "mandate-stopped"
    CLAIM = "claim-handled"
    CLAIM_LOOK = "claim-viewed"
    RECOVERY = "recovery-announced"
    CARRYING_OUT = "recovery-carried-out"


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that is done.

    Attributes:
        kind: what.
        client: by which application.
        user: by which person, as the audit names people; empty for none.
        role: of that person, or empty.
        subject: id of the client, account, attestation, case or dispute, or map key of the object that is changed; or
            empty.
    """

    kind: Kind
    client: str = PAGES
    user: str = ""
    role: str = ""
    subject: str = ""


@dataclass(slots=True)
class Ending:
    """How a deed ends.

    Attributes:
        status: as HTTP has it.
    """

    status: int = 200


@dataclass(slots=True)
class Attempt:
    """A deed that somebody tries who may not be let, and which is kept as begun only before it changes something.

    Attributes:
        begin: keeps that it begins, once; raises `UnavailableError`, and nothing may be changed then.
        status: how it ends, as HTTP has it.
    """

    begin: Callable[[], None]
    status: int = 200


class Deeds(Protocol):
    """Keeps deeds."""

    def doing(self, deed: Deed) -> AbstractContextManager[Ending]:
        """Keep a deed before it is done, and how it ended; raises `UnavailableError` where that cannot be done."""
        ...

    def attempted(self, deed: Deed) -> AbstractContextManager[Attempt]:
        """Keep a deed as `doing` from when it begins; one that ends before is a refusal, or nothing."""
        ...

    def refused(self, deed: Deed, status: int) -> None:
        """Keep a deed that was refused, alone or with others like it; raises as `doing`."""
        ...


class NoDeeds:
    """Keeps nothing: for parts whose caller keeps it."""

    @contextmanager
    def doing(self, _deed: Deed) -> Iterator[Ending]:
        """Do nothing."""
        yield Ending()

    @contextmanager
    def attempted(self, _deed: Deed) -> Iterator[Attempt]:
        """Do nothing."""
        yield Attempt(lambda: None)

    def refused(self, deed: Deed, status: int) -> None:
        """Do nothing."""


def by(account: Account, kind: Kind, *, client: str = PAGES, subject: str = "") -> Deed:
    """Name what somebody does; arguments as `Deed` has them."""
    return Deed(kind, client, account.fhir_user or account.id, account.role.value, subject)
