"""The staff's page of a patient's permissions: who may see, until when, how it was given, when last used; a stop.

Keeps true: only permissions of the patient whom the page is about are shown and stopped; clinicians see them, and the
desk stops them; what narrows waits for no second hand, and is recorded as this organisation's stop; as the patient's
wish it is recorded where two attest that; what the law opens is stopped by nobody here. Trusts the daemon for what the
ledger says, and the desk for what the patient wants.
Source: `docs/spec/smart.md` 32; `docs/spec/consent.md` 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import Blueprint, Response, request

from consent.web.signing import let_in
from consent.web.site import QUICK, SLOW, organisation_name
from consent.web.view import Given, find_given, given_of
from fhir_bridge.browse.reading import RefusedError
from fhir_bridge.staff.attesting import Attested, Attesting, Confirmed, Proposal
from fhir_bridge.staff.counter import Attended, Counter, Identity
from medchain.encoding import Json
from medchain.errors import NotFoundError
from medchain.store.accounts import Role
from medchain.web.deeds import Kind, by
from medchain.web.pages import redirected
from medchain.web.session import SignedIn

PERMISSIONS: Final = "/permissions"
"""Where a clinician looks for a patient's permissions."""

SEEING: Final = (Role.CLINICIAN, Role.DESK)
"""Who sees what a patient permits."""

_PLACE: Final = "/desk/<case>/permissions"


class PaperWithdrawal:
    """What two do who attest that a person stops a permission; fills `fhir_bridge.staff.proposed.SecondHand`."""

    __slots__ = ("_counter",)

    def __init__(self, counter: Counter) -> None:
        """Use what the pages of the desk share."""
        self._counter = counter

    def preview(self, proposal: Proposal) -> dict[str, object]:
        """Word what the second hand confirms."""
        answer = _consents(self._counter, proposal.patient)
        found = _in_force(answer, str(proposal.terms.get("key")))
        recipient = organisation_name(answer.get("organisations"), found.recipient)
        kinds = [] if found.is_whole else [self._counter.site.pages.say(f"kind.{kind}") for kind in found.kinds]
        return {"recipient": recipient, "purpose": self._counter.site.purpose(found.purpose), "kinds": kinds}

    def confirmed(self, me: SignedIn, confirmed: Confirmed) -> Response:
        """Stop it; it binds when this answers."""
        attended = self._counter.open(me, confirmed.proposal.patient)
        subject = self._counter.enrolled(attended).subject.hex()
        key = _in_force(_consents(self._counter, attended.who.id), str(confirmed.proposal.terms.get("key"))).key
        asked: Json = {"consent": key, "staff": list(confirmed.staff), "subject": subject}
        self._counter.site.local.call("withdrawal.attest", asked, SLOW)
        return redirected(f"{attended.place}/permissions")


class PermissionPages:
    """The pages of one node."""

    __slots__ = ("_attesting", "_counter", "_pages", "_site")

    def __init__(self, counter: Counter, attesting: Attesting) -> None:
        """Use what the pages of the desk share, and what waits for a second hand."""
        self._attesting = attesting
        self._counter = counter
        self._pages = counter.site.pages
        self._site = counter.site.pages.site

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            (PERMISSIONS, self.begin, "GET"),
            (f"{PERMISSIONS}/find", self.find, "POST"),
            (f"{PERMISSIONS}/open", self.open, "POST"),
            (_PLACE, self.show, "GET"),
            (f"{_PLACE}/stop", self.stop, "POST"),
            (f"{_PLACE}/paper", self.propose, "POST"),
            (f"{_PLACE}/let-in", self.let_in, "POST"),
        )
        return self._counter.blueprint("permissions", rows)

    def begin(self) -> Response:
        """Show a clinician the search for a patient."""
        self._site.require(Role.CLINICIAN)
        return self._search()

    def find(self) -> Response:
        """Find the patient by what was typed."""
        me, text = self._site.check_form(Role.CLINICIAN), request.form.get("text", "")
        try:
            return self._search(text, self._counter.find(me, text))
        except RefusedError as error:
            return self._search(text, problem=error)

    def open(self) -> Response:
        """Open the permissions of a patient who was found."""
        me = self._site.check_form(Role.CLINICIAN)
        return redirected(f"{self._counter.open(me, request.form.get('patient', '')).place}/permissions")

    def show(self, case: str) -> Response:
        """List a patient's permissions, those in force at the top."""
        me = self._site.require(*SEEING)
        attended = self._counter.attended(me, case)
        answer = _consents(self._counter, attended.who.id)
        rows = [self._row(one, answer) for one in sorted(given_of(answer), key=lambda one: not one.is_in_force)]
        return self._pages.render(
            "staff/permissions.html",
            one=attended,
            rows=rows,
            is_desk=me.account.role is Role.DESK,
            form=self._counter.form(me),
        )

    def stop(self, case: str) -> Response:
        """Stop a permission because the patient says so; it binds when the page answers."""
        me = self._counter.check_form()
        attended = self._counter.attended(me, case)
        key = self._in_force(attended).key
        with self._site.deeds.doing(by(me.account, Kind.STOP, subject=key)):
            self._counter.site.local.call("stop", {"object": key}, SLOW)
        return redirected(f"{attended.place}/permissions")

    def propose(self, case: str) -> Response:
        """Propose to stop a permission as the person wishes on paper, as the first of two."""
        me = self._counter.check_form()
        attended = self._counter.attended(me, case)
        terms: Mapping[str, Json] = {"key": self._in_force(attended).key}
        made = self._attesting.propose(me, Attested.WITHDRAWAL, attended.who.id, terms)
        return redirected(f"/desk/proposed/{made.id}")

    def let_in(self, case: str) -> Response:
        """Let the recipient of a permission in, where that failed when it was given."""
        me = self._counter.check_form()
        attended = self._counter.attended(me, case)
        let_in(self._counter.site.local, self._in_force(attended).key)
        return redirected(f"{attended.place}/permissions")

    def _search(
        self, text: str = "", found: list[Identity] | None = None, problem: RefusedError | None = None
    ) -> Response:
        """Show the search and what it found."""
        status, said = (200, "") if problem is None else (problem.status, problem.text)
        return self._pages.render("staff/permissions_of.html", status, text=text, found=found, problem=said)

    def _in_force(self, attended: Attended) -> Given:
        """Find the permission in force that a form names; raises as `_in_force`."""
        return _in_force(_consents(self._counter, attended.who.id), request.form.get("key", ""))

    def _row(self, given: Given, answer: Mapping[str, Json]) -> dict[str, object]:
        """Word a permission."""
        say, site, names = self._pages.say, self._counter.site, answer.get("organisations")
        return {
            "key": given.key,
            "recipient": organisation_name(names, given.recipient),
            "purpose": site.purpose(given.purpose),
            "kinds": [say(f"kind.{kind}") for kind in given.kinds],
            "is_whole": given.is_whole,
            "sensitive": [say(f"sensitive.{kind}") for kind in given.sensitive] if given.law is None else [],
            "how": "law" if given.law is not None else given.signed,
            "law": None if given.law is None else f"{given.law.authority} · {given.law.reference}",
            "until": "" if given.until is None else site.day(given.until),
            "last_used": "" if given.last_used is None else site.moment(given.last_used),
            "is_in_force": given.is_in_force,
            "is_open": _has_grants(answer, given.key),
            "ended": given.ended,
            "ended_by": organisation_name(names, given.ended_by) if given.ended_by else "",
        }


def _consents(counter: Counter, patient: str) -> Mapping[str, Json]:
    """Ask the daemon for a patient's permissions, and for what the law opens."""
    asked: Json = {"patient": patient, "subjects": [key.hex() for key in counter.subjects(patient)]}
    answer = counter.site.local.call("patient.consents", asked, QUICK)
    return answer if isinstance(answer, dict) else {}


def _in_force(answer: Mapping[str, Json], key: str) -> Given:
    """Find a patient's permission in force; raises `NotFoundError` ``consent.unknown``."""
    found = find_given(answer, key)
    if found is None or found.law is not None or not found.is_in_force:
        raise NotFoundError("consent.unknown")
    return found


def _has_grants(answer: Mapping[str, Json], key: str) -> bool:
    """Tell whether this organisation has let the recipient of a permission in."""
    rows = answer.get("consents")
    found = [row for row in rows if isinstance(row, dict) and row.get("key") == key] if isinstance(rows, list) else []
    return any(bool(row.get("grants")) for row in found)
