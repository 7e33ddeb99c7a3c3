"""The patient's own record: by visit and by kind, page by page, one record, and what is taken along of them.

Keeps true: what a page asks of the records file does not grow with the record; each record that the patient may see is
in one of the groups by visit (that of its visit, of those without one, or of what is recorded of the person) and of one
kind; pages change nothing. Trusts the port for the records being the patient's.
Source: `docs/spec/patient-pages.md` 22, 24.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from typing import Final

from flask import Blueprint, Response, request

from consent.web.hiding import kind_state, state_of
from consent.web.kinds import KINDS, OTHER, kind_of, kinds_of
from consent.web.naming import VISIT, title_of, when_of
from consent.web.ports import Listing, PatientRecord
from consent.web.site import Patient, PatientSite, check_place
from medchain.errors import NotFoundError
from medchain.web.pages import add_views, attached, language

RECORD: Final = "/my/record"
"""Where it is."""

PERSON: Final = "Patient"
"""Type of what is recorded of the person."""

_FROM: Final = "from"


class RecordPages:
    """The pages of one node."""

    __slots__ = ("_site",)

    def __init__(self, site: PatientSite) -> None:
        """Use what the pages are made from."""
        self._site = site

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            (RECORD, self.record, "GET"),
            (f"{RECORD}/outside", self.outside, "GET"),
            (f"{RECORD}/kinds/<kind>", self.kind, "GET"),
            (f"{RECORD}/bundle", self.bundle, "GET"),
            (f"{RECORD}/<type_name>/<record_id>", self.one, "GET"),
            (f"{RECORD}/<type_name>/<record_id>/bundle", self.record_bundle, "GET"),
            (f"{RECORD}/<type_name>/<record_id>/proof", self.record_proof, "GET"),
        )
        return add_views(Blueprint("patient_record", __name__), rows)

    def record(self) -> Response:
        """Show the patient's visits, or the kinds of records that there are."""
        me = self._site.require()
        if request.args.get("by") == "kind":
            return self._site.render("record.html", me, is_by_kind=True, kinds=self._kinds(me))
        records, begin = self._site.records_of(me), request.args.get(_FROM, "")
        visits = records.visits(me.id, begin, language())
        person = None if begin else records.of_types(me.id, [PERSON], "", language())
        # Who has no visits here need not go on to another page for all that there is.
        has_none = not visits.records and not begin
        outside = records.outside_visits(me.id, "", language()) if has_none else None
        return self._site.render(
            "record.html",
            me,
            visits=self._rows(me, visits.records),
            more=visits.more,
            begin=begin,
            person=[] if person is None else self._rows(me, person.records),
            outside=None if outside is None else self._rows(me, outside.records),
            outside_more="" if outside is None else outside.more,
        )

    def outside(self) -> Response:
        """Show the records that belong to no visit, by date."""
        me, begin = self._site.require(), request.args.get(_FROM, "")
        found = self._site.records_of(me).outside_visits(me.id, begin, language())
        title, lead = self._site.pages.say("record.outside"), self._site.pages.say("record.outside.lead")
        return self._list(me, title, found, lead=lead)

    def kind(self, kind: str) -> Response:
        """Show the records of a kind."""
        me, types = self._site.require(), self._types(kind)
        found = self._site.records_of(me).of_types(me.id, types, request.args.get(_FROM, ""), language())
        return self._list(me, self._site.pages.say(f"kind.{kind}"), found, hiding=kind_state(self._site, me, kind))

    def one(self, type_name: str, record_id: str) -> Response:
        """Show one record; of a visit also what belongs to it."""
        me = self._site.require()
        check_place(type_name, record_id)
        records, begin = self._site.records_of(me), request.args.get(_FROM, "")
        opened = records.one(me.id, type_name, record_id, language())
        within = records.in_visit(me.id, record_id, begin, language()) if type_name == VISIT else None
        return self._site.render(
            "record_one.html",
            me,
            record=record_row(self._site, opened.record),
            rows=opened.rows,
            versions=opened.versions,
            hiding=state_of(self._site, me, opened.record),
            within=None if within is None else self._by_kind(me, within.records),
            more="" if within is None else within.more,
            begin=begin,
        )

    def record_proof(self, type_name: str, record_id: str) -> Response:
        """Give a record's proof, to be verified anywhere."""
        me = self._site.require()
        check_place(type_name, record_id)
        packed = self._site.records_of(me).proof(me.id, type_name, record_id, language())
        return attached(packed, "application/zip", f"{type_name}-{record_id}.proof.zip")

    def record_bundle(self, type_name: str, record_id: str) -> Response:
        """Give a record as a FHIR Bundle with its proof, a visit with all records that belong to it."""
        me = self._site.require()
        check_place(type_name, record_id)
        is_visit = type_name == VISIT
        within = self._site.records_of(me).references(me.id, language(), record_id) if is_visit else ()
        return self._bundled(me, [f"{type_name}/{record_id}", *within], f"{type_name}-{record_id}.json")

    def bundle(self) -> Response:
        """Give all of the patient's records as a FHIR Bundle with their proofs."""
        me = self._site.require()
        return self._bundled(me, self._site.records_of(me).references(me.id, language()), "my-record.json")

    def _bundled(self, me: Patient, references: Sequence[str], name: str) -> Response:
        """Give records as a file, which is made as it is taken, for as long as who takes it may have them."""

        def allowed() -> Iterator[str]:
            for one in references:
                self._site.check_going_on(me)
                yield one

        pieces = self._site.records_of(me).bundle(me.id, allowed(), language())
        # What is refused is refused before the answer begins.
        return attached(chain([next(pieces)], pieces), "application/fhir+json", name)

    def _list(self, me: Patient, title: str, found: Listing, **more: object) -> Response:
        """Show some records, and where the next ones are."""
        return self._site.render(
            "record_list.html",
            me,
            title=title,
            rows=self._rows(me, found.records),
            more=found.more,
            begin=request.args.get(_FROM, ""),
            place=request.path,
            **more,
        )

    def _kinds(self, me: Patient) -> list[tuple[str, str, int]]:
        """List the kinds of which there are records, each with its name and how many."""
        records, say = self._site.records_of(me), self._site.pages.say
        counts = {kind: records.count(me.id, self._types(kind), language()) for kind in (*KINDS, OTHER)}
        return [(kind, say(f"kind.{kind}"), count) for kind, count in counts.items() if count]

    def _types(self, kind: str) -> Collection[str]:
        """List the types of a kind; raises `NotFoundError` ``page.unknown`` for none."""
        known = self._site.records.types()
        if kind not in (*KINDS, OTHER):
            raise NotFoundError("page.unknown")
        return [one for one in known if kind_of(one) == kind]

    def _by_kind(self, me: Patient, records: Sequence[PatientRecord]) -> list[tuple[str, list[dict[str, object]]]]:
        """Word records by kind."""
        rows = list(zip(records, self._rows(me, records), strict=True))
        return [
            (self._site.pages.say(f"kind.{kind}"), [row for record, row in rows if kind_of(record.type) == kind])
            for kind in kinds_of(record.type for record in records)
        ]

    def _rows(self, me: Patient, records: Sequence[PatientRecord]) -> list[dict[str, object]]:
        """Word records for a list, and tell which of them are hidden."""
        replay = self._site.replay_of(me, records)
        kept = {one.reference for one in replay.kept_back(replay.hidden, self._site.org_id)}
        return [{**record_row(self._site, one), "is_hidden": one.reference in kept} for one in records]


def record_row(site: PatientSite, record: PatientRecord) -> dict[str, object]:
    """Word a record.

    Args:
        site: of the pages.
        record: which.
    """
    state, _, position = record.anchored.partition("; position=")
    return {
        "place": record.reference,
        "kind": site.pages.say(f"kind.{kind_of(record.type)}"),
        "type": record.type,
        "title": title_of(site, record),
        "when": when_of(site, record),
        "day": site.pages.dated(record.when),
        "is_birth": record.is_birth,
        "version": record.version,
        "is_verified": state == "final",
        "position": position,
    }
