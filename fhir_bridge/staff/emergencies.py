"""The pages of emergencies: a clinician breaks the glass for one patient, an auditor reviews it.

Keeps true: only a clinician may look without consent, at one patient, after the reason is on disk; who looked does not
review it; whose records they were is in no address, and not on the page of reviews. Trusts the session for who it is,
`EmergencyDesk` for what is on disk, and the daemon for what is reviewed.
Source: `docs/spec/smart.md` 27; `docs/spec/consent.md` 11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from fhir_bridge.browse.reading import access_of
from fhir_bridge.smart.patients import FoundPatient, Patients
from medchain.encoding import Json, as_number, as_object, as_objects
from medchain.errors import InputError, NotFoundError
from medchain.ledger.kinds.emergency import EMERGENCY_S
from medchain.node.emergency import EmergencyDesk
from medchain.node.peers import Limits
from medchain.store.accounts import Role
from medchain.store.records import RecordVersion
from medchain.web.pages import Pages, add_views, redirected
from medchain.web.session import SignedIn

FINDINGS: Final = ("justified", "unjustified")
"""What a review may find, as the ledger keeps it."""

_LIST: Final = Limits(timeout_s=10.0, max_bytes=64 << 20)
_REVIEW: Final = Limits(timeout_s=45.0)
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_PRACTITIONER: Final = re.compile(r"Practitioner/[A-Za-z0-9\-.]{1,64}")
_PATIENT: Final = "Patient"


class Local(Protocol):
    """Calls the daemon; `medchain.node.local.LocalClient`."""

    def call(self, operation: str, document: Json, limits: Limits | None = None) -> Json:
        """Have the daemon do something."""
        ...


class Versions(Protocol):
    """Finds the records of a patient; `medchain.store.records.RecordStore`."""

    def by_patient(self, patient: str, types: Sequence[str]) -> list[RecordVersion]:
        """Return the newest versions of a patient's records of some types, by the patient's token."""
        ...


@dataclass(frozen=True, slots=True)
class Ward:
    """What the pages of emergencies are made from.

    Attributes:
        pages: renders them.
        desk: declares emergencies.
        patients: finds whom they are about.
        versions: tells whose token it is.
        local: the daemon.
    """

    pages: Pages
    desk: EmergencyDesk
    patients: Patients
    versions: Versions
    local: Local


class EmergencyPages:
    """The pages of one node."""

    __slots__ = ("_pages", "_site", "_ward")

    def __init__(self, ward: Ward) -> None:
        """Use what the pages are made from."""
        self._ward = ward
        self._pages = ward.pages
        self._site = ward.pages.site

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            ("/emergencies", self.begin, "GET"),
            ("/emergencies", self.declare, "POST"),
            ("/emergencies/find", self.again, "GET"),
            ("/emergencies/find", self.find, "POST"),
            ("/emergencies/reviews", self.reviews, "GET"),
            ("/emergencies/reviews", self.review, "POST"),
        )
        return self._pages.guard(add_views(Blueprint("emergencies", __name__, template_folder="templates"), rows))

    def begin(self) -> Response:
        """Show the search for a patient, and the emergencies in which this person may look now."""
        return self._show(self._site.require(Role.CLINICIAN))

    def again(self) -> Response:
        """Show the search, where a reader has changed the language of what was found."""
        self._site.require(Role.CLINICIAN)
        return redirected("/emergencies")

    def find(self) -> Response:
        """Find the patient by what was typed."""
        me = self._site.check_form(Role.CLINICIAN)
        text = request.form.get("text", "")
        return self._show(me, text, self._ward.patients.find(text, access_of(me)))

    def declare(self) -> Response:
        """Break the glass for one patient; when this answers, it is on disk."""
        me = self._site.check_form(Role.CLINICIAN)
        patient, who = request.form.get("patient", ""), access_of(me)
        if _ID.fullmatch(patient) is None or self._ward.patients.get(patient, who) is None:
            raise NotFoundError("emergency.patient")
        self._ward.desk.declare(patient, who.user, request.form.get("reason", "").strip())
        return redirected("/emergencies")

    def reviews(self) -> Response:
        """List what waits for its review, what is due first at the top."""
        self._site.require(Role.AUDITOR)
        answer = self._ward.local.call("emergency.list", {}, _LIST)
        rows = as_objects(as_object(answer).get("emergencies"))
        own = [_with_objections(row, rows) for row in rows if row.get("owner") == self._site.org_id]
        waiting = [self._waiting(row) for row in own if row.get("review") is None]
        return self._pages.render(
            "staff/reviews.html",
            rows=waiting,
            overdue=sum(bool(row["overdue"]) for row in waiting),
            reviewed=len(own) - len(waiting),
            findings=FINDINGS,
        )

    def review(self) -> Response:
        """Have a review recorded; the page answers once it is final."""
        me = self._site.check_form(Role.AUDITOR)
        key, finding = request.form.get("key", ""), request.form.get("finding", "")
        if finding not in FINDINGS:
            raise InputError("emergency.finding")
        if _KEY.fullmatch(key) is None:
            raise NotFoundError("emergency.unknown")
        asked: Json = {"by": access_of(me).user, "finding": finding, "object": key}
        self._ward.local.call("emergency.review", asked, _REVIEW)
        return redirected("/emergencies/reviews")

    def _show(self, me: SignedIn, text: str = "", found: Sequence[FoundPatient] | None = None) -> Response:
        """Show the clinician's page."""
        return self._pages.render("staff/emergency.html", text=text, found=found, rows=self._open(me))

    def _open(self, me: SignedIn) -> list[dict[str, object]]:
        """List the emergencies in which a person may look now."""
        who, rows = access_of(me), []
        for token, one in self._ward.desk.open_of(who.user):
            ids = [row.id for row in self._ward.versions.by_patient(token, [_PATIENT])]
            patient = self._ward.patients.get(ids[0], who) if ids else None
            rows.append(
                {
                    "name": "" if patient is None else patient.name or patient.id,
                    "place": "" if patient is None else f"/browse/{_PATIENT}/{patient.id}",
                    "reason": one.reason,
                    "until": self._pages.moment(one.until),
                    "minutes": max(1, (one.until - self._site.clock()) // 60),
                }
            )
        return rows

    def _waiting(self, row: Mapping[str, Json]) -> dict[str, object]:
        """Show one that waits: who, why, when, by when, and how its looks are found on the audit."""
        time, due, staff = as_number(row.get("time")), as_number(row.get("due")), str(row.get("staff", ""))
        objection, is_person = row.get("objection"), _PRACTITIONER.fullmatch(staff) is not None
        span = [("date", f"ge{_instant(time)}"), ("date", f"le{_instant(time + EMERGENCY_S)}")]
        return {
            "key": str(row.get("key", "")),
            "staff": staff,
            "place": f"/browse/{staff}" if is_person else "",
            "looks": urlencode([("agent", staff), *span]) if is_person else "",
            "reason": str(row.get("reason", "")),
            "time": self._pages.moment(time),
            "due": self._pages.moment(due),
            "days": (due - self._site.clock()) // 86400,
            "overdue": bool(row.get("overdue")),
            "between": self._between(row),
            "objection": str(objection.get("reason", "")) if isinstance(objection, dict) else "",
            "is_objected": isinstance(objection, dict),
            "is_final": bool(row.get("final")),
        }

    def _between(self, row: Mapping[str, Json]) -> str:
        """Say which other organisation has a part in it; empty for one's own staff and patients."""
        custodian, recipient = str(row.get("custodian")), str(row.get("recipient"))
        if custodian == recipient:
            return ""
        if custodian == self._site.org_id:
            return self._pages.say("reviews.given", organisation=recipient, count=as_number(row.get("count")))
        return self._pages.say("reviews.asked", organisation=custodian)


def _with_objections(row: Mapping[str, Json], rows: Sequence[Mapping[str, Json]]) -> Mapping[str, Json]:
    """Add to an emergency, in which another organisation was asked, what the patient objects there."""
    given = [one for one in rows if one.get("declaration") == row.get("key") and one.get("objection") is not None]
    if not given:
        return row
    first = min(given, key=lambda one: as_number(one.get("due")))
    is_late = bool(row["overdue"]) or (row.get("review") is None and bool(first["overdue"]))
    due = min(as_number(row.get("due")), as_number(first.get("due")))
    return {**row, "due": due, "objection": first["objection"], "overdue": is_late}


def _instant(seconds: int) -> str:
    """Write a time as FHIR does."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
