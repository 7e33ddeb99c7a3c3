"""What one member of the staff proposes and another one confirms, where two of them attest what no passkey signs.

Keeps true: nothing is done before the second hand; nobody is both, under whatever account: who attests is named as a
person, whom another account does not make another one; each confirmation counts
once, and what failed can be confirmed again; who proposed still works here when it counts. Trusts the session for who
it is, and each of the two for having seen the person and the paper.
Source: `docs/spec/smart.md` 30; `docs/spec/subject.md` 2, 8; `docs/spec/consent.md` 6.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from medchain.encoding import Json, canonical, members, parse_canonical
from medchain.errors import AccessDeniedError, NotFoundError
from medchain.store.accounts import Account, Role
from medchain.web.deeds import Kind, by
from medchain.web.session import SignedIn, Site

WAITS_S: Final = 24 * 3600
"""How long a proposal waits for the second hand."""

_PROPOSED: Final = "desk-proposed"
_MAX_BYTES: Final = 64 * 1024
_MEMBERS: Final = {"account": str, "deed": str, "id": str, "patient": str, "terms": dict, "time": int}


class Attested(StrEnum):
    """What two of the staff attest."""

    CHILD = "child"
    """That a child is enrolled with those who are its guardians."""
    CONSENT = "consent"
    """That a person has signed a permission on paper."""
    CONTACT = "contact"
    """That they know whose an address is to which notices go, and that a code came back from it."""
    CONTACT_GONE = "contact-gone"
    """That they know whose notices are to go to an address no more."""
    DEATH = "death"
    """That a person has died."""
    DISPUTE = "dispute"
    """That a person's guardians disagree."""
    ENROLMENT = "enrolment"
    """That they know who it is who is enrolled without a passkey."""
    GUARDIANSHIP = "guardianship"
    """That a court has appointed guardians for who is enrolled."""
    WITHDRAWAL = "withdrawal"
    """That a person has stopped a permission on paper."""
    RESTORATION = "restoration"
    """That they know who it is of whom a death or incapacity was declared by mistake, or is over."""
    RECOVERY = "recovery"
    """That they know who it is who has lost all passkeys."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What waits for the second hand.

    Attributes:
        id: 32 hexadecimal digits.
        deed: what is to be done.
        patient: id of the Patient whom it is about.
        account: id of the account that proposed it.
        time: when, Unix seconds.
        terms: what belongs to it.
    """

    id: str
    deed: Attested
    patient: str
    account: str
    time: int
    terms: Mapping[str, Json]

    def encode(self) -> bytes:
        """Write it."""
        told: dict[str, Json] = {"deed": self.deed.value, "terms": dict(self.terms), "time": self.time}
        return canonical({**told, "account": self.account, "id": self.id, "patient": self.patient})


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What two have confirmed.

    Attributes:
        proposal: what.
        staff: both, as the ledger names members of staff, sorted.
    """

    proposal: Proposal
    staff: tuple[str, ...]


class Attesting:
    """The proposals of one node."""

    __slots__ = ("_accounts", "_site")

    def __init__(self, site: Site) -> None:
        """Use the site of the pages."""
        self._site = site
        self._accounts = site.accounts

    def propose(self, me: SignedIn, deed: Attested, patient: str, terms: Mapping[str, Json]) -> Proposal:
        """Propose something.

        Args:
            me: who does.
            deed: what.
            patient: id of the Patient whom it is about.
            terms: what belongs to it.

        Returns:
            What waits for another member of the staff.

        Raises:
            AccessDeniedError: ``attesting.person`` for an account that names no person.
        """
        _person(me.account)
        made = Proposal(secrets.token_hex(16), deed, patient, me.account.id, self._site.clock(), terms)
        with self._site.deeds.doing(by(me.account, Kind.PROPOSAL, subject=made.id)):
            self._put(made)
        return made

    def waiting(self) -> list[Proposal]:
        """List what waits, the oldest first."""
        found = [_read(document) for document in self._accounts.tickets(_PROPOSED, self._site.clock())]
        return sorted(found, key=lambda one: (one.time, one.id))

    def find(self, name: str) -> Proposal:
        """Return what waits by its id; raises `NotFoundError` ``attesting.unknown``."""
        document = self._accounts.see_ticket(_PROPOSED, name, self._site.clock())
        if document is None:
            raise NotFoundError("attesting.unknown")
        return _read(document)

    def proposer(self, proposal: Proposal) -> Account | None:
        """Return who proposed it; None for who no longer works at the desk."""
        found = self._accounts.account(proposal.account)
        is_here = found is not None and found.disabled is None and found.role is Role.DESK
        return found if is_here else None

    def drop(self, me: SignedIn, name: str) -> None:
        """Turn down what another one proposed, or take back what was proposed; raises as `find`."""
        with self._site.deeds.doing(by(me.account, Kind.REJECTION, subject=self.find(name).id)):
            self._take(name)

    @contextmanager
    def confirming(self, me: SignedIn, name: str) -> Iterator[Confirmed]:
        """Confirm a proposal, and have done inside what it is for; what fails leaves it as it was.

        Args:
            me: the second hand.
            name: its id.

        Raises:
            NotFoundError: as `find`.
            AccessDeniedError: ``attesting.same`` for who proposed it, ``attesting.first`` where that person no longer
                works at the desk, ``attesting.person`` for an account that names no person.
        """
        proposal = self.find(name)
        with self._site.deeds.doing(by(me.account, Kind.CONFIRMATION, subject=proposal.id)):
            staff = self._both(proposal, me.account)
            self._take(name)
            is_done = False
            try:
                yield Confirmed(proposal, staff)
                is_done = True
            finally:
                if not is_done:
                    self._put(proposal)

    def _both(self, proposal: Proposal, second: Account) -> tuple[str, ...]:
        """Name both; one person with two accounts is one."""
        first = self.proposer(proposal)
        if first is None:
            raise AccessDeniedError("attesting.first")
        staff = {_person(first), _person(second)}
        if len(staff) == 1:
            raise AccessDeniedError("attesting.same")
        return tuple(sorted(staff))

    def _put(self, proposal: Proposal) -> None:
        """Keep a proposal until its end."""
        until = proposal.time + WAITS_S
        self._accounts.put_ticket(_PROPOSED, proposal.encode(), until, self._site.clock(), proposal.id)

    def _take(self, name: str) -> None:
        """Take a proposal, once over all processes."""
        if self._accounts.take_ticket(_PROPOSED, name, self._site.clock()) is None:
            raise NotFoundError("attesting.unknown")


def _person(account: Account) -> str:
    """Name a member of the staff as the ledger does; raises `AccessDeniedError` ``attesting.person``."""
    if not account.is_person:
        raise AccessDeniedError("attesting.person")
    return account.fhir_user


def _read(document: bytes) -> Proposal:
    """Read what was kept."""
    found = members(parse_canonical(document, max_bytes=_MAX_BYTES), _MEMBERS)
    terms, time = found["terms"], found["time"]
    return Proposal(
        id=str(found["id"]),
        deed=Attested(str(found["deed"])),
        patient=str(found["patient"]),
        account=str(found["account"]),
        time=time if isinstance(time, int) else 0,
        terms=terms if isinstance(terms, dict) else {},
    )
