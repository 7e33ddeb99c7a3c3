"""The pages on which a clinician breaks the glass for a patient of another hospital, and reads what that one gives.

Keeps true: only a clinician may ask, after the reason is on disk; whom it is about is in no address; each look is a
request like a client's, through the same gate, on the audit, and an entry of the custodian's. Trusts the session for
who it is, `EmergencyDesk` for what is on disk, and the daemon for which hospitals there are.
Source: `docs/spec/emergency-release.md`, `docs/spec/smart.md` 27.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, NamedTuple
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from fhir_bridge.browse.reading import Reading, RefusedError, access_of
from fhir_bridge.browse.view import rows_of
from fhir_bridge.browse.wording import element_in, line_in
from fhir_bridge.document import Resource, objects_of
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.elsewhere import PARAMETER
from fhir_bridge.search.cursor import PARAMETER as CURSOR
from fhir_bridge.staff.emergencies import Local
from medchain.encoding import as_object, as_objects
from medchain.errors import InputError, NotFoundError
from medchain.ledger.emergency_request import BREAKING
from medchain.node.emergency import CUSTODIANS, EmergencyDesk, Noted
from medchain.node.peers import Limits
from medchain.store.accounts import Role
from medchain.web.pages import Pages, add_views, language, redirected
from medchain.web.session import SignedIn

PLACE: Final = "/emergencies/elsewhere"
"""Where the pages are."""

_LIMITS: Final = Limits(timeout_s=10.0)
_COUNT: Final = 100
_PATIENT: Final = "Patient"
_EVERYTHING: Final = re.compile(r"Patient/[A-Za-z0-9\-.]{1,64}/\$everything")


class Hospital(NamedTuple):
    """A hospital that can be asked: org_id, and its name in the reader's language."""

    org_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Outside:
    """What the pages are made from.

    Attributes:
        pages: renders them.
        desk: declares emergencies.
        core: asks for records.
        local: the daemon.
    """

    pages: Pages
    desk: EmergencyDesk
    core: Core
    local: Local


class OtherHospitalPages:
    """The pages of one node."""

    __slots__ = ("_outside", "_pages", "_site")

    def __init__(self, outside: Outside) -> None:
        """Use what the pages are made from."""
        self._outside = outside
        self._pages = outside.pages
        self._site = outside.pages.site

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            (PLACE, self.begin, "GET"),
            (PLACE, self.declare, "POST"),
            (f"{PLACE}/records", self.again, "GET"),
            (f"{PLACE}/records", self.look, "POST"),
        )
        return self._pages.guard(add_views(Blueprint("other-hospitals", __name__, template_folder="templates"), rows))

    def begin(self) -> Response:
        """Show the form, and the emergencies in which this person may look now."""
        return self._show(self._site.require(Role.CLINICIAN))

    def declare(self) -> Response:
        """Break the glass for one patient of another hospital; when this answers, it is on disk."""
        me = self._site.check_form(Role.CLINICIAN)
        custodian, identifier, reason = (request.form.get(name, "").strip() for name in ("custodian", "text", "reason"))
        if custodian not in {one.org_id for one in self._hospitals()}:
            raise InputError("exchange.custodian")
        self._outside.desk.declare_elsewhere(custodian, identifier, access_of(me).user, reason)
        return redirected(PLACE)

    def again(self) -> Response:
        """Show the form, where a reader has changed the language of what was given."""
        self._site.require(Role.CLINICIAN)
        return redirected(PLACE)

    def look(self) -> Response:
        """Ask for the patient's records, and show them."""
        me = self._site.check_form(Role.CLINICIAN)
        access = access_of(me)
        opened = self._outside.desk.elsewhere_of(access.user)
        case = next((one for one in opened if one.object_id.hex() == request.form.get("case")), None)
        if case is None:
            raise NotFoundError("emergency.over")
        reading = Reading(self._outside.core, replace(access, asked_for=BREAKING), language())
        try:
            found, cursor = self._given(reading, case, request.form.get("cursor", ""))
        except RefusedError as error:
            return self._show(me, error)
        return self._pages.render(
            "staff/given.html",
            case=self._open(case),
            cursor=cursor,
            rows=[self._shown(one) for one in found],
        )

    def _given(self, reading: Reading, case: Noted, cursor: str) -> tuple[list[Resource], str]:
        """Ask whose records they are, and for all of them; returns a page, and where it goes on."""
        where = {PARAMETER: case.custodian}
        if not cursor:
            named = reading.listed(_PATIENT, urlencode({**where, "identifier": case.identifier}))
            patients = [one for one in _matches(named.entries) if one.get("resourceType") == _PATIENT]
            if len(patients) != 1:
                raise RefusedError(404, self._pages.say("elsewhere.nobody"))
            place, query = f"{_PATIENT}/{patients[0].get('id')}/$everything", {**where, "_count": str(_COUNT)}
        else:
            place, _, sealed = cursor.partition(" ")
            if _EVERYTHING.fullmatch(place) is None:
                raise NotFoundError("page.unknown")
            query = {**where, CURSOR: sealed}
        page = reading.listed(place, urlencode(query))
        return _matches(page.entries), f"{place} {page.cursor}" if page.cursor else ""

    def _show(self, me: SignedIn, problem: RefusedError | None = None) -> Response:
        """Show the form."""
        return self._pages.render(
            "staff/elsewhere.html",
            200 if problem is None else problem.status,
            hospitals=self._hospitals(),
            problem="" if problem is None else problem.text,
            rows=[self._open(one) for one in self._outside.desk.elsewhere_of(access_of(me).user)],
        )

    def _shown(self, resource: Resource) -> dict[str, object]:
        """Show a record, in a line and whole."""
        rows = [(row.depth, element_in(row.name), row.whole(self._pages.dated)) for row in rows_of(resource)]
        return {**line_in(self._pages, resource), "rows": rows}

    def _hospitals(self) -> list[Hospital]:
        """List the hospitals that can be asked."""
        answer = self._outside.local.call(CUSTODIANS, {}, _LIMITS)
        found = as_objects(as_object(answer).get("custodians"))
        return [_hospital(str(row.get("org_id")), row.get("name")) for row in found]

    def _open(self, case: Noted) -> dict[str, object]:
        """Show an emergency in which this person may look now."""
        names = {one.org_id: one.name for one in self._hospitals()}
        return {
            "case": case.object_id.hex(),
            "hospital": names.get(case.custodian, case.custodian),
            "identifier": case.identifier,
            "minutes": max(1, (case.until - self._site.clock()) // 60),
            "reason": case.reason,
            "until": self._pages.moment(case.until),
        }


def _hospital(org_id: str, name: object) -> Hospital:
    """Name a hospital in the reader's language."""
    return Hospital(org_id, str(name.get(language(), org_id)) if isinstance(name, dict) else org_id)


def _matches(entries: list[Resource]) -> list[Resource]:
    """List the records of a Bundle, without what tells of them."""
    found = []
    for one in objects_of([*entries]):
        search, resource = one.get("search"), one.get("resource")
        if isinstance(search, dict) and search.get("mode") == "match" and isinstance(resource, dict):
            found.append(resource)
    return found
