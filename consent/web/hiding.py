"""The patient's pages on which a record is hidden from other organisations, and released again.

Keeps true: what hiding would keep back, and from whom, is shown by replaying the decision before anything is signed;
hiding and releasing are the patient's signature each, or that of who may permit in the patient's stead; what was given
already is said to be so. Trusts `consent.web.site` for who it is and `consent.hiding` for what is hidden.
Source: `docs/spec/patient-pages.md` 18; `docs/spec/consent.md` C13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from flask import Blueprint, Response

from consent.web.ports import PatientRecord
from consent.web.replay import Replay
from consent.web.signing import Signing
from consent.web.site import Patient, PatientSite, check_place
from consent.web.view import Given, given_of
from medchain.errors import ConflictError, NotFoundError
from medchain.ledger.kinds.capacity import CONSENT
from medchain.web.pages import add_views, language

NEVER_HIDDEN: Final = "Patient"
"""Type of the record that is never hidden: all others refer to it."""

VISIT: Final = "Encounter"
"""Type of a visit, to which what belongs to it refers: hidden with it."""

_PLACE: Final = "/my/record/<type_name>/<record_id>/hide"


class HidingPages:
    """The pages of one node."""

    __slots__ = ("_signing", "_site")

    def __init__(self, site: PatientSite) -> None:
        """Use what the pages are made from."""
        self._site = site
        self._signing = Signing(site)

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            (_PLACE, self.preview, "GET"),
            (_PLACE, self.hide, "POST"),
            ("/my/record/<type_name>/<record_id>/release", self.release, "POST"),
        )
        return add_views(Blueprint("patient_hiding", __name__), rows)

    def preview(self, type_name: str, record_id: str) -> Response:
        """Show what hiding a record would keep back, and from whom."""
        me = self._site.require()
        record = self._record(me, type_name, record_id)
        replay, is_cut = self._replay(me, record)
        kept = replay.kept_back({record.reference}, self._site.org_id)
        given = [one for one in given_of(self._site.consents(me)) if one.is_in_force]
        return self._site.render(
            "hide.html",
            me,
            place=record.reference,
            is_visit=record.type == VISIT,
            title=title_of(self._site, record),
            others=[
                {"place": one.reference, "title": title_of(self._site, one), "when": one.when}
                for one in kept
                if one.reference != record.reference
            ],
            permissions=[self._fewer(me, one, replay, kept) for one in given if one.law is None],
            laws=[self._site.organisation(me, one.recipient) for one in given if one.law is not None],
            is_cut=is_cut,
            may_decide=me.may(CONSENT),
        )

    def hide(self, type_name: str, record_id: str) -> Response:
        """Lead to where hiding a record is signed."""
        me = self._site.check_form(CONSENT)
        record = self._record(me, type_name, record_id)
        if any(one.hides == record.reference for one in self._site.hidings(me)):
            raise ConflictError("hide.hidden")
        return self._signing.hide(me, record.reference, title_of(self._site, record))

    def release(self, type_name: str, record_id: str) -> Response:
        """Lead to where the end of a hiding is signed; nothing but a signature ends it here."""
        me = self._site.check_form(CONSENT)
        record = self._record(me, type_name, record_id)
        found = next((one for one in self._site.hidings(me) if one.hides == record.reference), None)
        if found is None:
            raise NotFoundError("page.unknown")
        return self._signing.unhide(me, found.key, record.reference, title_of(self._site, record))

    def _replay(self, me: Patient, record: PatientRecord) -> tuple[Replay, bool]:
        """Give the patient's records to replay decisions over, with those of a visit that is to be hidden."""
        replay, is_cut = self._site.replay(me)
        if record.type != VISIT or not is_cut:
            return replay, is_cut
        known = {one.reference for one in replay.records}
        found = [record, *self._site.records_of(me).in_visit(me.id, record.id, "", language()).records]
        return replace(replay, records=[*replay.records, *(one for one in found if one.reference not in known)]), True

    def _record(self, me: Patient, type_name: str, record_id: str) -> PatientRecord:
        """Find a record that may be hidden; raises `NotFoundError` ``page.unknown``."""
        check_place(type_name, record_id)
        if type_name == NEVER_HIDDEN:
            raise NotFoundError("page.unknown")
        return self._site.records_of(me).one(me.id, type_name, record_id, language()).record

    def _fewer(self, me: Patient, given: Given, replay: Replay, kept: Sequence[PatientRecord]) -> dict[str, object]:
        """Say how many records a permission lets through now, and how many fewer it would."""
        hidden = {one.reference for one in kept}
        passing = replay.passing(self._site.content(me, given.key))
        return {
            "name": self._site.organisation(me, given.recipient),
            "purpose": self._site.purpose(given.purpose),
            "before": len(passing),
            "fewer": sum(one.reference in hidden for one in passing),
        }


def state_of(site: PatientSite, me: Patient, record: PatientRecord) -> dict[str, object] | None:
    """Tell whether and by what a record is hidden.

    Args:
        site: of the pages.
        me: whose record it is.
        record: which.

    Returns:
        What its page says; None for a record that is never hidden.
    """
    if record.type == NEVER_HIDDEN:
        return None
    alone = Replay([record], frozenset(), site.pages.site.clock(), site.zone)
    hidings = site.hidings(me)
    own = next((one for one in hidings if one.hides == record.reference), None)
    return {
        "is_hidden": own is not None,
        "key": "" if own is None else own.key,
        "since": "" if own is None else site.moment(own.signed_at),
        "position": None if own is None or not own.is_final else own.position,
        # A stop that another organisation brought ends nothing here, and nobody can bring a second one.
        "may_release": own is not None and own.is_in_force and me.may(CONSENT),
        "by": sorted({one.hides for one in hidings if one is not own and alone.kept_back({one.hides}, site.org_id)}),
    }


def title_of(site: PatientSite, record: PatientRecord) -> str:
    """Name a record.

    Args:
        site: of the pages.
        record: which.
    """
    return record.title or (site.pages.say("record.visit") if record.type == VISIT else record.type)
