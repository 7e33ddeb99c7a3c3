"""The pages of disputes: an insurer's desk asks a hospital about a claim, the hospital's desk answers, both see all.

Keeps true: a hospital sees what is addressed to it and nothing else of a claim; a text is shown as it was written, and
never as markup; what is overdue says so in words. Trusts the daemon for which step may follow.
Source: `docs/spec/claim-dispute.md`, `docs/spec/smart.md` 36.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import Blueprint, Response, request

from consent.web.site import SLOW
from fhir_bridge.claims_desk.ground import CLAIMS, Ground, Standing
from medchain.claims import disputes
from medchain.claims.dispute import MAX_DAYS, StepKind
from medchain.encoding import Json, as_list, as_number, as_object, as_objects
from medchain.errors import InputError
from medchain.ledger.kinds.content import DAY_S
from medchain.record_types import record_text
from medchain.web.pages import Pages, language, redirected

DISPUTES: Final = f"{CLAIMS}/disputes"
"""Address of the list."""

DAYS: Final = (1, 3, 7, 14, 30, MAX_DAYS)
"""Days to answer that are offered."""

USUAL_DAYS: Final = 7
"""Those that are chosen already."""

_TAB: Final = "disputes"
_SHORT: Final = 120


class DisputePages:
    """The pages of one node."""

    __slots__ = ("_ground",)

    def __init__(self, ground: Ground) -> None:
        """Use what the pages share."""
        self._ground = ground

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            (DISPUTES, self.list, "GET"),
            (f"{DISPUTES}/<name>", self.show, "GET"),
            (f"{DISPUTES}/<name>", self.say, "POST"),
        )
        return self._ground.blueprint("claim-disputes", rows)

    def list(self) -> Response:
        """List all: those that wait for an answer by this organisation, or by the other side, first."""
        standing = self._ground.seen_by(insurer=False)
        with self._ground.viewing(standing):
            answer = self._ground.call(disputes.LIST, {})
        rows = [self._row(standing, one) for one in as_objects(answer.get("disputes"))]
        rows.sort(key=lambda one: (one["state"] == StepKind.CLOSE, one["due_at"] is None, one["due_at"] or 0))
        counts = {"count": as_number(answer.get("all")), "overdue": as_number(answer.get("overdue"))}
        return self._ground.render(standing, "claims/disputes.html", _TAB, rows=rows, counts=counts)

    def show(self, name: str) -> Response:
        """Show one, with all that was said."""
        return self._show(self._ground.seen_by(insurer=False), name)

    def say(self, name: str) -> Response:
        """Answer, ask again or close; kept when this answers, and brought then or later."""
        standing = self._ground.done_by(insurer=False)
        text, step = written("text"), request.form.get("step", "")
        if step not in steps_of(standing, self._found(name)) or (not text and step != StepKind.CLOSE):
            return self._show(standing, name, self._problem("text" if not text else "step"))
        said: Json = {
            "by": standing.author,
            "days": read_days() if step == StepKind.QUESTION else 0,
            "id": name,
            "step": step,
            "text": text,
        }
        with self._ground.handling(standing, name):
            self._ground.call(disputes.STEP, said, SLOW)
        return redirected(f"{DISPUTES}/{name}")

    def _found(self, name: str) -> dict[str, Json]:
        """Ask the daemon for one; raises `NotFoundError` ``dispute.unknown``, `InputError` for what is no id."""
        return self._ground.call(disputes.SHOW, {"id": name})

    def _problem(self, what: str) -> str:
        """Say what is wrong with a form."""
        return self._ground.pages.say(f"claims.dispute.problem.{what}")

    def _show(self, standing: Standing, name: str, problem: str = "") -> Response:
        """Show one, and a form."""
        with self._ground.viewing(standing, name):
            found = self._found(name)
        return self._ground.render(
            standing,
            "claims/dispute.html",
            _TAB,
            400 if problem else 200,
            one=self._row(standing, found),
            steps=[self._step(standing, one) for one in as_objects(found.get("steps"))],
            records=[(str(one), record_text(str(one), language())) for one in as_list(found.get("records"))],
            may_say=steps_of(standing, found) if standing.may_act else (),
            days=days_offered(self._ground),
            given=request.form,
            usual=str(USUAL_DAYS),
            problem=problem,
        )

    def _row(self, standing: Standing, found: Mapping[str, Json]) -> dict[str, Json]:
        """Word a dispute in short."""
        pages, steps = self._ground.pages, as_objects(found.get("steps"))
        other = found.get("hospital") if standing.is_insurer else found.get("insurer")
        due = found.get("due")
        last = as_object(steps[-1])
        return {
            "id": str(found.get("id")),
            "claim": str(found.get("claim")),
            "other": standing.name(str(other)),
            "state": str(found.get("state")),
            "is_overdue": found.get("overdue") is True,
            **delivery(pages, last),
            "due_at": due,
            "due": pages.moment(due) if isinstance(due, int) else "",
            "days": (due - pages.site.clock()) // DAY_S if isinstance(due, int) else 0,
            "opened": pages.moment(as_number(steps[0].get("time"))),
            "text": _shortened(str(steps[0].get("text"))),
            "count": len(steps),
            "is_ours": last.get("given_up") is True
            or (found.get("state") == StepKind.QUESTION) is not standing.is_insurer,
        }

    def _step(self, standing: Standing, step: Mapping[str, Json]) -> dict[str, object]:
        """Word a step."""
        pages, heard = self._ground.pages, step.get("heard")
        return {
            "what": pages.say(f"claims.dispute.step.{step.get('step')}"),
            "who": standing.name(str(step.get("sender"))),
            "by": self._ground.person(str(step.get("by") or "")),
            "text": str(step.get("text")),
            "time": pages.moment(as_number(step.get("time"))),
            **delivery(pages, step),
            "heard": pages.moment(heard) if isinstance(heard, int) else "",
            "days": as_number(step.get("days")),
            "hash": str(step.get("hash")),
        }


def delivery(pages: Pages, step: Mapping[str, Json]) -> dict[str, Json]:
    """Word whether the other side has a step, and why it does not take it: nobody can ask anew for a hospital's answer.

    Args:
        pages: of the node.
        step: as the daemon tells it.
    """
    code = step.get("refusal")
    why = pages.say_or(f"claims.dispute.refusal.{code}", pages.say("claims.dispute.refusal.other")) if code else ""
    is_given_up, of = step.get("given_up") is True, ".answer" if step.get("step") == StepKind.ANSWER else ""
    said = pages.say(f"claims.dispute.{'given_up' if is_given_up else 'refused'}{of}", why=why) if why else ""
    return {"is_heard": step.get("heard") is not None, "is_given_up": is_given_up, "refusal": said}


def steps_of(standing: Standing, found: Mapping[str, Json]) -> tuple[str, ...]:
    """Tell which steps this side may take now.

    Args:
        standing: whose side it is.
        found: the dispute, as the daemon tells it.
    """
    match found.get("state"):
        case StepKind.QUESTION:
            return (StepKind.CLOSE.value,) if standing.is_insurer else (StepKind.ANSWER.value,)
        case StepKind.ANSWER:
            return (StepKind.QUESTION.value, StepKind.CLOSE.value) if standing.is_insurer else ()
        case _:
            return ()


def days_offered(ground: Ground) -> list[tuple[str, str]]:
    """List the days to answer that can be chosen."""
    return [(str(one), ground.pages.say("ask.days", days=one)) for one in DAYS]


def read_days() -> int:
    """Read the days that a form asks for; raises `InputError` ``asks.days``."""
    chosen = request.form.get("days", "")
    if chosen not in {str(one) for one in DAYS}:
        raise InputError("asks.days")
    return int(chosen)


def written(name: str) -> str:
    """Read a text of several lines from a form."""
    return request.form.get(name, "").replace("\r\n", "\n").strip()


def _shortened(text: str) -> str:
    """Write the beginning of a text."""
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"
