"""The patient's pages on which records are hidden from other organisations, and released again: one, or a kind.

A visit is a record to which what belongs to it refers: it is hidden with all of that. Keeps true: what hiding would
keep back, and from whom, is shown by replaying the decision before anything is signed; hiding and releasing are the
patient's signature each, or that of who may permit in the patient's stead; what was given already is said to be so.
Trusts `consent.web.site` for who it is and `consent.hiding` for what is hidden.
Source: `docs/spec/patient-pages.md` 18; `docs/spec/consent.md` C13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flask import Blueprint, Response

from consent.decision import Resource
from consent.hiding import Hidden
from consent.web.kinds import KINDS
from consent.web.naming import VISIT, names_of, title_of, when_of
from consent.web.offer import EXAMPLES
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

HIDDEN_KINDS: Final = tuple(kind for kind, types in KINDS.items() if NEVER_HIDDEN not in types)
"""Kinds that can be hidden as a whole."""

LISTED: Final = 50
"""Most records that are named of those that are hidden with one."""

_RECORD: Final = "/my/record/<type_name>/<record_id>"
_KIND: Final = "/my/record/kinds/<kind>"


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be hidden, or released.

    Attributes:
        hidden: as the hiding has it.
        place: path of its page.
        title: how this organisation calls it.
        form: which words tell of it: ``record``, ``visit`` or ``kind``.
        record: the one record; None for a kind.
    """

    hidden: Hidden
    place: str
    title: str
    form: str
    record: PatientRecord | None


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
            (f"{_RECORD}/hide", self.preview, "GET"),
            (f"{_RECORD}/hide", self.hide, "POST"),
            (f"{_RECORD}/release", self.release, "POST"),
            (f"{_KIND}/hide", self.preview, "GET"),
            (f"{_KIND}/hide", self.hide, "POST"),
            (f"{_KIND}/release", self.release, "POST"),
        )
        return add_views(Blueprint("patient_hiding", __name__), rows)

    def preview(self, **named: str) -> Response:
        """Show what hiding would keep back, and from whom."""
        me = self._site.require()
        target = self._target(me, **named)
        replay = self._site.replay(me)
        kept = replay.kept_back({target.hidden}, self._site.org_id)
        given = [one for one in given_of(self._site.consents(me)) if one.is_in_force]
        # A kind has its page, on which all of it is listed: of that the first are named.
        is_kind = target.record is None
        others = [] if is_kind else [one for one in kept if one.reference != target.hidden.reference]
        listed = self._listed(me, kept[:EXAMPLES] if is_kind else others[:LISTED])
        return self._site.render(
            "hide.html",
            me,
            place=target.place,
            form=target.form,
            title=target.title,
            count=len(kept),
            examples={
                "examples": [(one["title"], one["when"]) for one in listed if is_kind],
                "has_more": len(kept) > len(listed),
            },
            others=[] if is_kind else listed,
            others_count=len(others),
            permissions=[self._fewer(me, one, replay, kept) for one in given if one.law is None],
            laws=[self._site.organisation(me, one.recipient) for one in given if one.law is not None],
            may_decide=me.may(CONSENT),
        )

    def hide(self, **named: str) -> Response:
        """Lead to where hiding is signed."""
        me = self._site.check_form(CONSENT)
        target = self._target(me, **named)
        if any(one.hides == target.hidden for one in self._site.hidings(me)):
            raise ConflictError("hide.hidden")
        return self._signing.hide(me, target.hidden, target.place, target.title)

    def release(self, **named: str) -> Response:
        """Lead to where the end of a hiding is signed; nothing but a signature ends it here."""
        me = self._site.check_form(CONSENT)
        target = self._target(me, **named)
        found = next((one for one in self._site.hidings(me) if one.hides == target.hidden), None)
        if found is None:
            raise NotFoundError("page.unknown")
        return self._signing.unhide(me, found.key, target.place, target.title)

    def _target(self, me: Patient, kind: str = "", type_name: str = "", record_id: str = "") -> Target:
        """Find what an address names, if it may be hidden; raises `NotFoundError` ``page.unknown``."""
        if kind:
            if kind not in HIDDEN_KINDS:
                raise NotFoundError("page.unknown")
            title = self._site.pages.say(f"kind.{kind}")
            return Target(Hidden.of_types(KINDS[kind]), f"/my/record/kinds/{kind}", title, "kind", None)
        check_place(type_name, record_id)
        if type_name == NEVER_HIDDEN:
            raise NotFoundError("page.unknown")
        record = self._site.records_of(me).one(me.id, type_name, record_id, language()).record
        form = "visit" if type_name == VISIT else "record"
        hidden = Hidden.of_record(record.reference)
        return Target(hidden, f"/my/record/{record.reference}", title_of(self._site, record), form, record)

    def _listed(self, me: Patient, records: Sequence[Resource]) -> list[dict[str, object]]:
        """Name records, as far as they are there still."""
        named = [one.reference for one in records if one.reference is not None]
        shown = self._site.records_of(me).some(me.id, named, language()) if named else {}
        found = [shown[name] for name in named if name in shown]
        return [
            {"place": one.reference, "title": title_of(self._site, one), "when": when_of(self._site, one)}
            for one in found
        ]

    def _fewer(self, me: Patient, given: Given, replay: Replay, kept: Sequence[Resource]) -> dict[str, object]:
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
    alone = site.replay_of(me, [record])
    own = Hidden.of_record(record.reference)
    others = {one.hides for one in site.hidings(me) if one.hides is not None and one.hides != own}
    by = sorted(one for one in others if alone.kept_back({one}, site.org_id))
    return _state(site, me, own) | {
        "by": list(names_of(site, me, [one.reference for one in by if one.reference]).items()),
        "by_kinds": [
            (kind, site.pages.say(f"kind.{kind}"))
            for kind in HIDDEN_KINDS
            if any(not one.reference and not set(KINDS[kind]).isdisjoint(one.types) for one in by)
        ],
    }


def kind_state(site: PatientSite, me: Patient, kind: str) -> dict[str, object] | None:
    """Tell whether a kind is hidden as a whole.

    Args:
        site: of the pages.
        me: whose records they are.
        kind: which.

    Returns:
        What its page says; None for a kind that is never hidden as a whole.
    """
    return _state(site, me, Hidden.of_types(KINDS[kind])) if kind in HIDDEN_KINDS else None


def _state(site: PatientSite, me: Patient, hidden: Hidden) -> dict[str, object]:
    """Say whether something is hidden by a hiding of its own."""
    own = next((one for one in site.hidings(me) if one.hides == hidden), None)
    return {
        "is_hidden": own is not None,
        "key": "" if own is None else own.key,
        "since": "" if own is None else site.moment(own.signed_at),
        "position": None if own is None or not own.is_final else own.position,
        # A stop that another organisation brought ends nothing here, and nobody can bring a second one.
        "may_release": own is not None and own.is_in_force and me.may_release(),
        "is_disputed": bool(site.beside(me)),
    }
