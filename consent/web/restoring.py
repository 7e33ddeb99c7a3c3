"""A declared death or incapacity is taken back: two of the staff attest it; the person, or a child's guardians, sign.

Keeps true: neither is enough alone, since a dead person's passkey may be in anybody's hands; of a child all guardians
sign, one after another; what was attested counts for one subject, for a day, and once. Trusts
`fhir_bridge.staff.restorations` for who attests, and the endorsers to check signature and attestation again.
Source: `docs/spec/subject.md` 1, 7; `docs/spec/patient-pages.md` 23.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from flask import Blueprint, Response

from consent.web import joint
from consent.web.acting import FAMILY, OWN
from consent.web.joint import Joint
from consent.web.person import Delegation
from consent.web.signing import Signing, Way
from consent.web.site import QUICK, Patient, PatientSite
from consent.web.ticket import Act
from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import ConflictError
from medchain.ledger.kinds.capacity import CONSENT, GUARDIAN
from medchain.ledger.kinds.content import names
from medchain.ledger.kinds.subject import Operation
from medchain.ledger.transaction import HASH_BYTES
from medchain.store.accounts import AccountStore
from medchain.web.pages import add_views, redirected

RESTORATION: Final = "/my/restoration"
"""Where it is begun."""

RESTORE_S: Final = 24 * 3600
"""How long what was attested waits for the person's signature."""

_HOME: Final = "/my"
_TICKET: Final = "restoration"
_MAX_BYTES: Final = 4096


def attest(accounts: AccountStore, subject: str, staff: Sequence[str], now: int) -> None:
    """Keep that two of the staff attest that a declared death or incapacity was a mistake, or is over.

    Args:
        accounts: keeps it, in place of what was attested of the same person before.
        subject: map key of the person's subject object, hexadecimal.
        staff: both, sorted.
        now: Unix seconds.
    """
    use_up(accounts, subject, now)
    document = canonical({"staff": list(staff), "subject": subject})
    accounts.put_ticket(_TICKET, document, now + RESTORE_S, now, _secret(subject))


def attested(accounts: AccountStore, subject: str, now: int) -> tuple[str, ...]:
    """Return who attests it of somebody, and nobody where nothing waits; arguments as of `attest`."""
    document = accounts.see_ticket(_TICKET, _secret(subject), now)
    if document is None:
        return ()
    return names(members(parse_canonical(document, max_bytes=_MAX_BYTES), {"staff": list, "subject": str})["staff"])


def use_up(accounts: AccountStore, subject: str, now: int) -> None:
    """Have what was attested count no more, nor what guardians have signed of it; arguments as of `attest`."""
    accounts.take_ticket(_TICKET, _secret(subject), now)
    joint.drop(accounts, joint_name(subject), now)


def _secret(subject: str) -> str:
    """Name what waits for somebody's signature: it opens nothing, and is found by whom it is about."""
    return f"{_TICKET}/{subject}"


class RestoringPages:
    """The step of one node."""

    __slots__ = ("_signing", "_site")

    def __init__(self, site: PatientSite) -> None:
        """Use what the pages are made from."""
        self._site = site
        self._signing = Signing(site)

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            (RESTORATION, self.back, "GET"),
            (RESTORATION, self.restore, "POST"),
            (f"{RESTORATION}/<person>", self.restore_child, "POST"),
        )
        return add_views(Blueprint("patient_restoring", __name__), rows)

    def back(self) -> Response:
        """Lead from the address of the form to the page that has it."""
        return redirected(_HOME)

    def restore(self) -> Response:
        """Draft that the declaration is taken back, and lead to where that is signed.

        Raises:
            ConflictError: ``patient.restoration`` where no two of the staff attest it.
        """
        me = self._site.check_form(OWN)
        subject = self._signing.subject(me)
        if not is_attested(self._site, me):
            raise ConflictError("patient.restoration")
        asked: Json = {"operation": Operation.RESTORE.value, "subject": subject.hex()}
        draft = self._site.local.call("subject.draft", asked, QUICK)
        return self._signing.lead(me, subject, draft, Act.RESTORE, Way(_HOME, _HOME, subject.hex()))

    def restore_child(self, person: str) -> Response:
        """Draft the same of a child, and lead a guardian to where each of them signs it.

        Raises:
            ConflictError: ``patient.restoration`` where no two of the staff attest it, or who asks is no guardian.
        """
        own, site = self._site.check_form(OWN), self._site.pages.site
        me = self._site.acting_for(own, unhex(person, HASH_BYTES))
        if me.acting is None or not is_attested_child(self._site, me.acting.delegation):
            raise ConflictError("patient.restoration")
        signers = self._site.require_person(me).guardians
        asked: Json = {
            "operation": Operation.RESTORE.value,
            "signers": [one.hex() for one in signers],
            "subject": person,
        }
        answer = self._site.local.call("subject.draft", asked, QUICK)
        fresh = Joint(str(answer.get("draft")) if isinstance(answer, dict) else "", {}, 0)
        chosen = joint.begun(site.accounts, joint_name(person), fresh, site.clock())
        signer = self._signing.signer(me)
        draft: Json = {"challenge": chosen.challenge(signer.hex()), "draft": chosen.draft}
        return self._signing.lead(me, signer, draft, Act.RESTORE, Way(FAMILY, FAMILY, person, CONSENT))


def joint_name(subject: str) -> str:
    """Name what a child's guardians sign one after another; `subject` is the child's map key, hexadecimal."""
    return f"{_TICKET}-signed/{subject}"


def is_attested(site: PatientSite, me: Patient) -> bool:
    """Tell whether the patient can take back what was declared; who acts for the patient cannot."""
    accounts, now = site.pages.site.accounts, site.pages.site.clock()
    return me.acting is None and any(attested(accounts, one.hex(), now) for one in me.subjects)


def is_attested_child(site: PatientSite, delegation: Delegation) -> bool:
    """Tell whether two of the staff attest it of a child, of whom somebody is a guardian."""
    accounts, now = site.pages.site.accounts, site.pages.site.clock()
    return delegation.role == GUARDIAN and bool(attested(accounts, delegation.person.hex(), now))
