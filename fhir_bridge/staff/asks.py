"""The staff's page of asks: a clinician or the desk asks a patient for a permission, and sees what was asked and came.

Keeps true: who asks is the session's person, or nobody but the organisation; what is asked for is named kinds, a
purpose, a reason and a time; whether a patient is somewhere, or has said no, is told to nobody. Trusts the daemon to
bring the ask, and the custodian to show it to its patient.
Source: `docs/spec/smart.md` 34; `docs/spec/ask.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import Blueprint, Response, request
from werkzeug.datastructures import MultiDict

from consent.web.kinds import KINDS, kinds_of
from consent.web.offer import choices_of
from consent.web.site import QUICK, SLOW, organisation_name
from fhir_bridge.staff.counter import Counter
from fhir_bridge.staff.paper import LONGEST_DAYS, PURPOSES
from medchain.encoding import Json, as_number, as_object, as_objects
from medchain.errors import InputError
from medchain.ledger.kinds.content import ANY_TYPE, short_text
from medchain.node import asking
from medchain.store.accounts import Role
from medchain.web.deeds import Kind, by
from medchain.web.pages import redirected
from medchain.web.session import SignedIn

ASKS: Final = "/asks"
"""Where the staff asks patients of other organisations."""

ASKING: Final = (Role.CLINICIAN, Role.DESK)
"""Who asks."""


class AskPages:
    """The page of one node."""

    __slots__ = ("_counter", "_pages", "_site")

    def __init__(self, counter: Counter) -> None:
        """Use what the pages of the desk share."""
        self._counter = counter
        self._pages = counter.site.pages
        self._site = counter.site.pages.site

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        return self._counter.blueprint("asks", ((ASKS, self.show, "GET"), (ASKS, self.ask, "POST")))

    def show(self) -> Response:
        """Show what was asked, and an empty form."""
        return self._show(self._site.require(*ASKING), MultiDict({"days": "30", "named": "person"}))

    def ask(self) -> Response:
        """Ask a patient; when this answers, the custodian has it."""
        me = self._counter.check_form(*ASKING)
        try:
            wish = self._wish(me, request.form)
        except InputError as error:
            return self._show(me, request.form, error)
        with self._site.deeds.doing(by(me.account, Kind.ASK)):
            self._counter.site.local.call(asking.SEND, wish, SLOW)
        return redirected(ASKS)

    def _wish(self, me: SignedIn, given: MultiDict[str, str]) -> dict[str, Json]:
        """Read what is asked for; raises `InputError` ``asks.*``, ``content.*``."""
        kinds = set(given.getlist("kind"))
        if given.get("custodian", "") not in self._counter.others():
            raise InputError("asks.custodian")
        if given.get("purpose", "") not in PURPOSES:
            raise InputError("paper.purpose")
        if not kinds or not kinds <= KINDS.keys():
            raise InputError("asks.kinds")
        if given.get("days", "") not in {str(one) for one in _days()}:
            raise InputError("asks.days")
        return {
            "custodian": given["custodian"],
            "days": int(given["days"]),
            "patient": short_text(given.get("patient", "").strip()),
            "person": me.account.display if given.get("named") == "person" else "",
            "purpose": given["purpose"],
            "reason": short_text(given.get("reason", "").strip()),
            "resource_types": [*sorted(name for kind in kinds for name in KINDS[kind])],
        }

    def _show(self, me: SignedIn, given: MultiDict[str, str], problem: InputError | None = None) -> Response:
        """Show what was asked, and a form."""
        say, names, chosen = self._pages.say, self._counter.organisations(), given.getlist("kind")
        sent = _rows(self._counter.site.local.call(asking.SENT, {}, QUICK), "asks")
        grants = _rows(self._counter.site.local.call("grants.received", {}, QUICK), "grants")
        return self._pages.render(
            "staff/asks.html",
            200 if problem is None else 400,
            given=given,
            problem="" if problem is None else self._pages.say_or(f"error.{problem.code}", problem.code),
            custodians=self._counter.others(),
            purposes=[(code, self._counter.site.purpose(code)) for code in PURPOSES],
            kinds=[(kind, say(f"kind.{kind}"), kind in chosen) for kind in KINDS],
            days=[(str(one), say("ask.days", days=one)) for one in _days()],
            sent=[self._sent(row, names) for row in sent],
            received=[self._received(row, names) for row in grants if row.get("in_force") is True],
            form=self._counter.form(me),
        )

    def _sent(self, row: Mapping[str, Json], names: Json) -> dict[str, object]:
        """Word what was asked, and whether it can still be answered."""
        site, until = self._counter.site, as_number(row.get("until"))
        return {
            "custodian": organisation_name(names, str(row.get("custodian"))),
            "patient": str(row.get("patient")),
            "person": str(row.get("person")),
            "purpose": site.purpose(str(row.get("purpose"))),
            "reason": str(row.get("reason")),
            "kinds": self._kinds(row.get("resource_types")),
            "days": row.get("days"),
            "created": site.moment(as_number(row.get("created"))),
            "until": site.day(until),
            "is_waiting": until > self._site.clock(),
        }

    def _received(self, row: Mapping[str, Json], names: Json) -> dict[str, object]:
        """Word a permission in force under which this organisation may read."""
        types = row.get("resource_types")
        end = as_object(row.get("period")).get("end")
        return {
            "custodian": organisation_name(names, str(row.get("custodian"))),
            "purpose": self._counter.site.purpose(str(row.get("purpose"))),
            "kinds": [] if types == [ANY_TYPE] else self._kinds(types),
            "until": self._counter.site.day(end) if isinstance(end, int) else "",
        }

    def _kinds(self, types: Json) -> list[str]:
        """Word the kinds of some FHIR types."""
        rows = [str(one) for one in types] if isinstance(types, list) else []
        return [self._pages.say(f"kind.{kind}") for kind in kinds_of(rows)]


def _days() -> list[int]:
    """List for how long a permission can be asked for."""
    return choices_of({"days": LONGEST_DAYS, "resource_types": [ANY_TYPE]})[1]


def _rows(answer: Json, name: str) -> list[dict[str, Json]]:
    """Read rows of the daemon's."""
    return as_objects(as_object(answer).get(name))
