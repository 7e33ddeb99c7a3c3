"""The patient's page of leaving: what it ends, what nothing can undo, and all permissions ended at once.

Keeps true: what was given, and to whom, is told from the chains of accesses, and what they lack is said; each
permission ends as by its own stop without a passkey, in this organisation's name, and what the law opens or the patient
hides is left as it is. Trusts `consent.web.site` for who it is, and the daemon for the stops.
Source: `docs/spec/patient-pages.md` 7, 21.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from flask import Blueprint, Response

from consent.web.acting import OWN
from consent.web.site import SLOW, Patient, PatientSite
from consent.web.view import Given, given_of
from medchain.web.pages import add_views, redirected

LEAVE: Final = "/my/leave"
"""Where it is."""


class LeavePages:
    """The page of one node."""

    __slots__ = ("_site",)

    def __init__(self, site: PatientSite) -> None:
        """Use what the pages are made from."""
        self._site = site

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = ((LEAVE, self.leave, "GET"), (LEAVE, self.stop_all, "POST"))
        return add_views(Blueprint("patient_leave", __name__), rows)

    def leave(self) -> Response:
        """Say what leaving ends, and what it cannot undo."""
        me = self._site.require(OWN)
        given = given_of(self._site.consents(me))
        return self._site.render(
            "leave.html",
            me,
            permissions=[
                {
                    "key": one.key,
                    "recipient": self._site.organisation(me, one.recipient),
                    "purpose": self._site.purpose(one.purpose),
                }
                for one in _in_force(given)
            ],
            given=self._given(me, given),
            unknown=any(one.missing or one.is_broken for one in given),
            laws=sorted(
                {self._site.organisation(me, one.recipient) for one in given if one.is_in_force and one.law is not None}
            ),
            hidden=bool(self._site.hidings(me)),
        )

    def stop_all(self) -> Response:
        """End all permissions; where one cannot be ended, those before it are, and asking again goes on."""
        me = self._site.check_form(OWN)
        for one in _in_force(given_of(self._site.consents(me))):
            self._site.local.call("stop", {"object": one.key}, SLOW)
        return redirected(LEAVE)

    def _given(self, me: Patient, given: Iterable[Given]) -> list[dict[str, object]]:
        """Tell who was given how many records, in how many releases."""
        counts: dict[str, list[int]] = {}
        for one in given:
            for release in one.releases:
                counts.setdefault(one.recipient, []).append(release.count)
        return [
            {"name": self._site.organisation(me, org_id), "count": sum(rows), "times": len(rows)}
            for org_id, rows in sorted(counts.items())
        ]


def _in_force(given: Iterable[Given]) -> list[Given]:
    """List the permissions that count, what the law opens left out."""
    return [one for one in given if one.is_in_force and one.law is None]
