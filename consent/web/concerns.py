"""The patient's pages of concerns: a correction asked for, a look that was not right, and what came of them.

Keeps true: a patient, or who may read for the patient, brings something about that patient's own records and looks
alone; each step is on the audit before it is taken; no page needs a script. Trusts `consent.web.site` for who it is,
and the daemon for which step may follow.
Source: `docs/spec/concern.md`; `docs/spec/patient-pages.md` 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import Blueprint, Response, request

from consent.web.looked import looked_at
from consent.web.naming import names_of
from consent.web.site import QUICK, REFERENCE, Patient, PatientSite
from consent.web.view import given_of
from medchain.encoding import Json
from medchain.errors import NotFoundError
from medchain.ledger.kinds.capacity import READ
from medchain.node import concerns
from medchain.node.concern import ANSWERS, ConcernKind, Shown, Step, StepKind, shown_in, shown_of
from medchain.web.pages import add_views, attached, language, redirected

CONCERNS: Final = "/my/concerns"
"""Address of the page."""


class ConcernPages:
    """The pages of one node."""

    __slots__ = ("_site",)

    def __init__(self, site: PatientSite) -> None:
        """Use what the pages are made from."""
        self._site = site

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            (CONCERNS, self.listed, "GET"),
            (f"{CONCERNS}/<name>/proof", self.proof, "GET"),
            (f"{CONCERNS}/<name>/reopen", self.reopen, "POST"),
            (f"{CONCERNS}/<name>/close", self.close, "POST"),
            ("/my/record/<type_name>/<record_id>/correction", self.correction, "POST"),
            ("/my/looked/complaint", self.complaint, "POST"),
        )
        return add_views(Blueprint("patient_concerns", __name__), rows)

    def listed(self) -> Response:
        """Show what the patient has brought, with its clock and what was answered."""
        me = self._site.require()
        found = self._mine(me)
        about = {one.concern.about.what for one in found if one.concern.kind is ConcernKind.CORRECTION}
        names = names_of(self._site, me, about)
        return self._site.render("concerns.html", me, rows=[self._row(me, one, names) for one in found])

    def correction(self, type_name: str, record_id: str) -> Response:
        """Ask for a correction of a record that the patient is shown."""
        me = self._site.check_form(READ)
        opened = self._site.records_of(me).one(me.id, type_name, record_id, language())
        about: Json = {"version": int(opened.record.version), "what": f"{type_name}/{record_id}"}
        return self._open(me, ConcernKind.CORRECTION, about)

    def complaint(self) -> Response:
        """Say of a look that it was not right."""
        me, look = self._site.check_form(READ), request.form.get("look", "")
        events, _ = looked_at(self._site, me, given_of(self._site.consents(me)))
        if not any(one.name == look for one in events if one.name):
            raise NotFoundError("page.unknown")
        return self._open(me, ConcernKind.COMPLAINT, {"version": 0, "what": look})

    def reopen(self, name: str) -> Response:
        """Say that an answer does not do."""
        return self._step(name, StepKind.REOPENED, _said())

    def close(self, name: str) -> Response:
        """End it."""
        return self._step(name, StepKind.CLOSED, "")

    def proof(self, name: str) -> Response:
        """Give the receipt: the proof of the record that the concern is."""
        me = self._site.require()
        if name not in {one.id for one in self._mine(me)}:
            raise NotFoundError("concern.unknown")
        packed = self._site.records_of(me).concern_proof(name)
        return attached(packed, "application/zip", f"concern-{name[:16]}.proof.zip")

    def _mine(self, me: Patient) -> list[Shown]:
        """List the patient's concerns, the newest first; seen once this returns."""
        with self._site.records_of(me).concerning(me.id, "search") as numbers:
            found = shown_in(self._site.local.call(concerns.LIST, {"patient": me.id}, QUICK))
            numbers += [one.number for one in found]
        return found

    def _open(self, me: Patient, kind: ConcernKind, about: Json) -> Response:
        """Bring something."""
        asked: Json = {
            "about": about,
            "by": _actor(me),
            "kind": kind.value,
            "patient": me.id,
            "shared": request.form.get("shared") == "1",
            "text": _said(),
        }
        return self._changed(me, "create", concerns.OPEN, asked)

    def _step(self, name: str, kind: StepKind, text: str) -> Response:
        """Take a step of the patient's."""
        me = self._site.check_form(READ)
        asked: Json = {"by": _actor(me), "id": name, "patient": me.id, "step": kind.value, "text": text}
        return self._changed(me, "update", concerns.STEP, asked)

    def _changed(self, me: Patient, interaction: str, operation: str, asked: Json) -> Response:
        """Have the daemon change something, and lead to what is there then."""
        with self._site.records_of(me).concerning(me.id, interaction) as numbers:
            numbers.append(shown_of(self._site.local.call(operation, asked, QUICK)).number)
        return redirected(CONCERNS)

    def _row(self, me: Patient, one: Shown, names: Mapping[str, str]) -> dict[str, object]:
        """Word a concern; of a correction the record is named."""
        concern, say = one.concern, self._site.pages.say
        kinds = [step.kind for step in concern.steps]
        is_correction = concern.kind is ConcernKind.CORRECTION
        return {
            "id": one.id,
            "title": say(f"concern.{concern.kind.value}"),
            "place": f"/my/record/{concern.about.what}" if is_correction else "",
            "record": names.get(concern.about.what, ""),
            "version": concern.about.version,
            "state": say(f"concern.state.{concern.state.value}"),
            "is_waiting": one.due is not None,
            "is_overdue": one.is_overdue,
            "due": "" if one.due is None else self._site.day(one.due),
            "shared": concern.shared,
            "steps": [self._step_row(me, step) for step in concern.steps],
            "may_reopen": concern.state in ANSWERS and StepKind.REOPENED not in kinds,
            "may_close": concern.state is not StepKind.CLOSED,
            "position": one.position,
        }

    def _step_row(self, me: Patient, step: Step) -> dict[str, object]:
        """Word a step: who of the staff answered is the hospital's to say."""
        return {
            "when": self._site.moment(step.time),
            "who": self._site.organisation(me, self._site.org_id) if step.kind in ANSWERS else self._by(me, step.by),
            "what": self._site.pages.say(f"concern.step.{step.kind.value}"),
            "text": step.text,
            "version": step.version,
        }

    def _by(self, me: Patient, who: str) -> str:
        """Name who took a step of the patient's."""
        if who == _actor(me):
            return self._site.pages.say("concern.you")
        return self._site.display_of(who.removeprefix(REFERENCE)) or self._site.pages.say("family.unnamed")


def _actor(me: Patient) -> str:
    """Name who is signed in, as the audit does."""
    return REFERENCE + (me.id if me.acting is None else me.acting.own.id)


def _said() -> str:
    """Read what was typed; browsers end lines with two characters."""
    return request.form.get("text", "").replace("\r\n", "\n").strip()
