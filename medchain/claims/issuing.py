"""What a hospital's side of claims has in common: its own invoices, their ids, and who may ask.

Keeps true: an invoice is looked for only under an issuer code of this organisation's own; its id is made with the key
that the ledger lists for its date, and not before that day. Trusts the register for the invoices.
Source: `docs/spec/claim-question.md` 3 to 6; `docs/spec/claim.md` 3.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from medchain.claims.register import InvoiceRegister, Issued
from medchain.crypto.vrf import VrfKey, vrf_output
from medchain.errors import AccessDeniedError, UnavailableError
from medchain.ledger.claim_question import AskedRow
from medchain.ledger.invoice import InvoiceFields, claim_id, spelled
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.members import Members, Organisation
from medchain.ledger.signed_request import REQUEST_AHEAD_S, REQUEST_LIFE_S, Request, SignedRequest
from medchain.node.clock import Clock

ASKING_ROLES: Final = frozenset({"authority", "insurer"})
"""Roles of those who may ask."""


class Proven(NamedTuple):
    """The id of an invoice's claims.

    Attributes:
        claim_id: 16 bytes.
        key: public key under which it was made, 32 bytes.
        proof: that it follows from both, 80 bytes.
    """

    claim_id: bytes
    key: bytes
    proof: bytes


class Shown(NamedTuple):
    """What an insurer shows of an invoice, beside what is here.

    Attributes:
        issued: the invoice; None where there is none.
        proven: its id; where there is none, that of what is shown.
        is_held: whether the insurer's check code is one of the invoice's.
    """

    issued: Issued | None
    proven: Proven
    is_held: bool


@dataclass(frozen=True, slots=True)
class Issuing:
    """A hospital that issues invoices.

    Attributes:
        org_id: this organisation.
        ledger: ledger id, 32 bytes.
        members: gives those of this moment.
        vrf: gives the key of a public one; None where it is not here.
        register: this organisation's invoices.
        clock: gives Unix seconds.
    """

    org_id: str
    ledger: bytes
    members: Callable[[], Members]
    vrf: Callable[[bytes], VrfKey | None]
    register: InvoiceRegister
    clock: Clock

    @property
    def own(self) -> Organisation:
        """This organisation, as the ledger has it now."""
        return self.members().organisations[self.org_id]

    @property
    def last_day(self) -> int:
        """The last day of which ids are made: it has begun somewhere (`docs/spec/genesis.md` 12)."""
        return self.clock() // DAY_S + 1

    def find(self, row: AskedRow) -> Issued | None:
        """Find an invoice of this organisation's, dated no later than `last_day`; else as `InvoiceRegister.find`."""
        invoices = self.own.invoices
        is_own = invoices is not None and row.fields.issuer in invoices.issuers
        issued = self.register.find(row) if is_own else None
        # Until its day another key could be listed for it, and give it a second id.
        return issued if issued is not None and issued.invoice.day <= self.last_day else None

    def prove(self, invoice: InvoiceFields) -> Proven:
        """Make the id of an invoice's claims, and its proof; errors as `claim_id`."""
        key = self._vrf_key(invoice)
        proof = key.prove(invoice.alpha)
        return Proven(claim_id(vrf_output(proof)), key.public, proof)

    def claim_id(self, invoice: InvoiceFields) -> bytes:
        """Make the id alone, 16 bytes; raises `UnavailableError` ``claim.no_key`` where its key is not here."""
        return claim_id(self._vrf_key(invoice).output(invoice.alpha))

    def _vrf_key(self, invoice: InvoiceFields) -> VrfKey:
        """Return the key of an invoice's day."""
        invoices = self.own.invoices
        generation = None if invoices is None else invoices.generation(invoice.day)
        key = None if generation is None else self.vrf(generation.public)
        if key is None:
            raise UnavailableError("claim.no_key")
        return key

    def show(self, row: AskedRow) -> Shown:
        """Find an invoice, make its id and compare its check code; errors as `find` and `prove`."""
        issued = self.find(row)
        # What is not there takes the same proof, and a comparison, so that time does not tell it from a wrong code.
        fields = row.fields if issued is None else issued.invoice
        proven = self.prove(replace(fields, day=min(fields.day, self.last_day)))
        given = spelled(row.check_code, "check_code").encode()
        codes = [b""] if issued is None else [code.encode() for code in issued.check_codes]
        # All of them are compared: which one it is takes no time either.
        is_held = sum(hmac.compare_digest(given, code) for code in codes) > 0
        return Shown(issued, proven, is_held)

    def check_request(self, signed: SignedRequest[Request], peer: str, hospital: str) -> None:
        """Check that a question, or a request, is by the insurer that calls, for this organisation and of now.

        Args:
            signed: as it came.
            peer: org_id of who calls.
            hospital: org_id of whom it is for, as it says.

        Raises:
            AccessDeniedError: ``claim.insurer``, ``.hospital``, ``.signature``, ``.time``, ``.role``; ``.issuer`` where
                this organisation issues no invoices.
        """
        request, now = signed.request, self.clock()
        member = {one.org_id: one for one in self.members().active}.get(peer)
        if request.asker != peer or member is None:
            raise AccessDeniedError("claim.insurer")
        if hospital != self.org_id:
            raise AccessDeniedError("claim.hospital")
        if not signed.is_of(member, self.ledger):
            raise AccessDeniedError("claim.signature")
        if not now - REQUEST_LIFE_S <= request.time <= now + REQUEST_AHEAD_S:
            raise AccessDeniedError("claim.time")
        if member.role not in ASKING_ROLES:
            raise AccessDeniedError("claim.role")
        if self.own.invoices is None:
            raise AccessDeniedError("claim.issuer")
