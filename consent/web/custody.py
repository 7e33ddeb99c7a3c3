"""The page on which guardians say that they disagree about a child, and settle it: who acts as one for the child.

Keeps true: one guardian's signature is enough to say that they disagree, which narrows; to settle it all of them sign
the same draft one after another, and nothing goes to the ledger before all have; what was drafted before the child's
enrolment or its guardians changed is drafted anew. Trusts the endorsers to check every signature again.
Source: `docs/spec/patient-pages.md` 25; `docs/spec/subject.md` 1, 6.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from flask import Blueprint, Response

from consent.web import joint
from consent.web.joint import Joint
from consent.web.person import Person
from consent.web.signing import Signing, Way
from consent.web.site import QUICK, Patient, PatientSite
from consent.web.ticket import Act
from medchain.encoding import Json, unhex
from medchain.errors import ConflictError, NotFoundError
from medchain.ledger.kinds.capacity import CONSENT, GUARDIAN, READ, STOP
from medchain.ledger.kinds.subject import Operation
from medchain.ledger.transaction import HASH_BYTES
from medchain.web.pages import add_views

CUSTODY: Final = "/my/custody"
"""Where it is."""


class CustodyPages:
    """The page of one node."""

    __slots__ = ("_signing", "_site")

    def __init__(self, site: PatientSite) -> None:
        """Use what the pages are made from."""
        self._site = site
        self._signing = Signing(site)

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            (CUSTODY, self.custody, "GET"),
            (f"{CUSTODY}/dispute", self.dispute, "POST"),
            (f"{CUSTODY}/settle", self.settle, "POST"),
        )
        return add_views(Blueprint("patient_custody", __name__), rows)

    def custody(self) -> Response:
        """Show who the guardians are, whether they disagree, and who has signed that they do not any more."""
        me = self._site.require(READ)
        person, own = self._person(me), self._signing.signer(me).hex()
        kept = self._kept(person) if person.is_disputed else None
        is_here = person.enroller == self._site.org_id
        return self._site.render(
            "custody.html",
            me,
            guardians=[self._site.who(one) for one in person.guardians],
            is_disputed=person.is_disputed,
            is_one=len(person.guardians) == 1,
            signed=[] if kept is None else self._named(kept.given),
            missing=[] if kept is None else self._named(kept.missing),
            until="" if kept is None else self._site.moment(kept.until),
            may_sign=is_here and (kept is None or own in kept.missing),
            elsewhere="" if is_here else self._site.organisation(me, person.enroller),
        )

    def dispute(self) -> Response:
        """Draft that the guardians disagree, and lead to where one of them signs it."""
        me = self._site.check_form(STOP)
        person, signer = self._here(me), self._signing.signer(me)
        if person.is_disputed or len(person.guardians) == 1:
            raise ConflictError("custody.dispute")
        asked: Json = {
            "operation": Operation.DISPUTE.value,
            "signers": [signer.hex()],
            "subject": person.subject.hex(),
        }
        draft = self._site.local.call("subject.draft", asked, QUICK)
        return self._signing.lead(me, signer, draft, Act.CHANGE, Way(CUSTODY, CUSTODY, deed=STOP))

    def settle(self) -> Response:
        """Draft that the guardians agree again, and lead to where each of them signs that."""
        me = self._site.check_form(CONSENT)
        person, signer = self._here(me), self._signing.signer(me)
        if not person.is_disputed:
            raise ConflictError("custody.settled")
        asked: Json = {"operation": Operation.SETTLE.value, "subject": person.subject.hex()}
        answer = self._site.local.call("subject.draft", asked, QUICK)
        fresh = Joint(str(answer.get("draft")) if isinstance(answer, dict) else "", {}, 0)
        site = self._site.pages.site
        chosen = joint.begun(site.accounts, person.subject.hex(), fresh, site.clock())
        draft: Json = {"challenge": chosen.challenge(signer.hex()), "draft": chosen.draft}
        way = Way(CUSTODY, CUSTODY, name=person.subject.hex(), deed=CONSENT)
        return self._signing.lead(me, signer, draft, Act.SETTLE, way)

    def _person(self, me: Patient) -> Person:
        """Return the child's subject; raises `NotFoundError` ``page.unknown`` for who is no guardian of it."""
        if me.acting is None or me.acting.delegation.role != GUARDIAN:
            raise NotFoundError("page.unknown")
        return self._site.require_person(me)

    def _here(self, me: Patient) -> Person:
        """Return the child's subject, if this organisation changes it; raises `ConflictError` ``subject.elsewhere``."""
        person = self._person(me)
        if person.enroller != self._site.org_id:
            raise ConflictError("subject.elsewhere", org_id=person.enroller)
        return person

    def _kept(self, person: Person) -> Joint | None:
        """Find what some of the guardians have signed; None where they are not the guardians any more."""
        site = self._site.pages.site
        found = joint.find(site.accounts, person.subject.hex(), site.clock())
        is_theirs = found is not None and set(found.signers) == {one.hex() for one in person.guardians}
        return found if is_theirs else None

    def _named(self, signers: Iterable[str]) -> list[str]:
        """Name guardians by their map keys."""
        return [self._site.who(unhex(one, HASH_BYTES)) for one in signers]
