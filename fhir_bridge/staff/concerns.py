"""The page on which staff answer what patients bring: corrections asked for, and complaints about looks.

Keeps true: a clinician answers corrections and sees no complaint, an auditor answers complaints; a correction is
accepted once the record has a version that corrects it; what is seen and done is on the audit, the latter before it is
done; whose it is is in no address. Trusts the session for who it is, and the daemon for which step may follow.
Source: `docs/spec/concern.md` 6; `docs/spec/smart.md` 33.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from flask import Blueprint, Response, request

from fhir_bridge.browse.reading import access_of
from fhir_bridge.browse.wording import type_in
from fhir_bridge.concerning import SEARCH, concerning
from fhir_bridge.rest.core import Auditor
from fhir_bridge.staff.emergencies import Local
from medchain.encoding import Json
from medchain.ledger.kinds.content import DAY_S
from medchain.node import concerns
from medchain.node.concern import ConcernKind, Shown, StepKind, shown_in, shown_of
from medchain.node.peers import Limits
from medchain.store.accounts import Role
from medchain.web.pages import Pages, add_views, redirected
from medchain.web.session import SignedIn

PLACE: Final = "/concerns"
"""Address of the page."""

ANSWERED_BY: Final[Mapping[Role, ConcernKind]] = {
    Role.CLINICIAN: ConcernKind.CORRECTION,
    Role.AUDITOR: ConcernKind.COMPLAINT,
}
"""Who answers what: a clinician can read the record; an auditor is none of those who are complained about."""

_EVENT: Final = "AuditEvent/"
_LIST: Final = Limits(timeout_s=10.0, max_bytes=64 << 20)
_STEP: Final = Limits(timeout_s=15.0)


class Versions(Protocol):
    """Knows the newest version of a record; `medchain.store.records.RecordStore`."""

    def newest_version(self, type_name: str, record_id: str) -> int:
        """Return the number of a record's newest version, 0 for none."""
        ...


@dataclass(frozen=True, slots=True)
class ConcernDesk:
    """What the page is made from.

    Attributes:
        pages: renders it.
        local: the daemon.
        versions: tells whether a record was corrected.
        audit: keeps who saw and answered what.
    """

    pages: Pages
    local: Local
    versions: Versions
    audit: Auditor


class ConcernAnswers:
    """The page of one node."""

    __slots__ = ("_desk", "_pages", "_site")

    def __init__(self, desk: ConcernDesk) -> None:
        """Use what the page is made from."""
        self._desk = desk
        self._pages = desk.pages
        self._site = desk.pages.site

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        blueprint = Blueprint("concerns", __name__, template_folder="templates")
        return self._pages.guard(add_views(blueprint, ((PLACE, self.waiting, "GET"), (PLACE, self.answer, "POST"))))

    def waiting(self) -> Response:
        """List what this person may answer, what is due first at the top."""
        me = self._site.require(*ANSWERED_BY)
        kinds: Json = [_kind(me).value]
        with concerning(self._desk.audit, access_of(me), SEARCH) as numbers:
            found = shown_in(self._desk.local.call(concerns.WAITING, {"kinds": kinds}, _LIST))
            numbers += [one.number for one in found]
        rows = [self._row(one) for one in found]
        overdue = sum(one.is_overdue for one in found)
        return self._pages.render("staff/concerns.html", kind=_kind(me).value, rows=rows, overdue=overdue)

    def answer(self) -> Response:
        """Answer one."""
        me = self._site.check_form(*ANSWERED_BY)
        access = access_of(me)
        asked: Json = {
            "by": access.user,
            "id": request.form.get("id", ""),
            "kinds": [_kind(me).value],
            "step": request.form.get("step", ""),
            "text": request.form.get("text", "").replace("\r\n", "\n").strip(),
        }
        with concerning(self._desk.audit, access, "update") as numbers:
            numbers.append(shown_of(self._desk.local.call(concerns.ANSWER, asked, _STEP)).number)
        return redirected(PLACE)

    def _row(self, one: Shown) -> dict[str, object]:
        """Show one that waits: what was said so far, what it is about, by when."""
        concern, due = one.concern, one.due or 0
        is_correction = concern.kind is ConcernKind.CORRECTION
        newest = self._desk.versions.newest_version(*concern.about.record) if is_correction else 0
        is_read = is_correction or concern.about.what.startswith(_EVENT)
        return {
            "id": one.id,
            "what": self._about(concern.about.what),
            "place": f"/browse/{concern.about.what}" if is_read else "",
            "version": concern.about.version,
            "newest": newest,
            "may_accept": not is_correction or newest > concern.about.version,
            "steps": [
                {"what": self._said(step.kind), "when": self._pages.moment(step.time), "text": step.text}
                for step in concern.steps
            ],
            "due": self._pages.moment(due),
            "days": (due - self._site.clock()) // DAY_S,
            "overdue": one.is_overdue,
        }

    def _about(self, what: str) -> str:
        """Say what it is about: a record or an event by its type, a disclosure by its entry, a refusal as one."""
        kind, _, name = what.partition("/")
        if kind == "entry":
            return self._pages.say("answers.about.entry", position=name)
        return self._pages.say("answers.about.refusal") if kind == "refusal" else f"{type_in(kind)} {name}"

    def _said(self, kind: StepKind) -> str:
        """Word a step."""
        return self._pages.say(f"answers.step.{kind.value}")


def _kind(me: SignedIn) -> ConcernKind:
    """Tell what somebody answers."""
    return ANSWERED_BY[me.account.role]
