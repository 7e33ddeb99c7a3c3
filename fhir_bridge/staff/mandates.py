"""The page of legal bases other than consent: a regulator's desk enters and ends them, a custodian's grants.

Keeps true: the desk of a regulator enters, of a custodian grants, and of who entered stops; an auditor sees them all
without whose records they are about. Trusts the daemon for what the kind's check lets pass, and each desk for having
read the paper.
Source: `docs/spec/smart.md` 35; `docs/spec/mandate.md`.
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
from medchain.encoding import Json, as_list, as_number, as_object, as_objects, unhex
from medchain.errors import AccessDeniedError, InputError
from medchain.ledger.kinds.content import ANY_TYPE, DAY_S, short_text
from medchain.ledger.kinds.mandate import ISSUER, PURPOSES
from medchain.ledger.transaction import HASH_BYTES
from medchain.store.accounts import Role
from medchain.web.deeds import Kind, by
from medchain.web.pages import redirected
from medchain.web.session import SignedIn

MANDATES: Final = "/mandates"
"""Where legal bases are listed and entered."""

SEEING: Final = (Role.AUDITOR, Role.DESK)
"""Who sees them."""

_LONGEST_DAYS: Final = 365
_TEXTS: Final = ("patient", "authority", "reference", "scope")


class MandatePages:
    """The pages of one node."""

    __slots__ = ("_counter", "_pages", "_site")

    def __init__(self, counter: Counter) -> None:
        """Use what the pages of the desk share."""
        self._counter = counter
        self._pages = counter.site.pages
        self._site = counter.site.pages.site

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            (MANDATES, self.show, "GET"),
            (MANDATES, self.enter, "POST"),
            (f"{MANDATES}/<key>/grant", self.grant, "POST"),
            (f"{MANDATES}/<key>/stop", self.stop, "POST"),
        )
        return self._counter.blueprint("mandates", rows)

    def show(self) -> Response:
        """List legal bases, and an empty form where this organisation may enter one."""
        return self._show(self._site.require(*SEEING), MultiDict({"days": "30"}))

    def enter(self) -> Response:
        """Enter a legal basis; final when the page answers."""
        me = self._counter.check_form()
        if not self._may_enter(me, self._counter.organisations()):
            raise AccessDeniedError("mandate.issuer")
        try:
            terms = self._terms(request.form)
        except InputError as error:
            return self._show(me, request.form, error)
        with self._site.deeds.doing(by(me.account, Kind.MANDATE)):
            self._counter.site.local.call("mandate.issue", terms, SLOW)
        return redirected(MANDATES)

    def grant(self, key: str) -> Response:
        """Let the recipient read what a legal basis names; final when the page answers."""
        return self._done(key, Kind.MANDATE_GRANT, "grant.give", "consent")

    def stop(self, key: str) -> Response:
        """End a legal basis that this organisation entered; it binds when the page answers."""
        return self._done(key, Kind.MANDATE_STOP, "mandate.stop", "object")

    def _done(self, key: str, kind: Kind, operation: str, member: str) -> Response:
        """Have the daemon do something with a legal basis."""
        me = self._counter.check_form()
        mandate = unhex(key, HASH_BYTES).hex()
        with self._site.deeds.doing(by(me.account, kind, subject=mandate)):
            self._counter.site.local.call(operation, {member: mandate}, SLOW)
        return redirected(MANDATES)

    def _may_enter(self, me: SignedIn, organisations: Json) -> bool:
        """Tell whether somebody enters legal bases: the desk of a regulator does."""
        row = as_object(organisations).get(self._site.org_id)
        return me.account.role is Role.DESK and isinstance(row, dict) and row.get("role") == ISSUER

    def _terms(self, given: MultiDict[str, str]) -> dict[str, Json]:
        """Read a legal basis; raises `InputError` ``mandates.*``, ``content.*``."""
        others, kinds = self._counter.others(), set(given.getlist("kind"))
        recipients = {*others, self._site.org_id}
        kind, _, purpose = given.get("basis", "").partition("/")
        if given.get("custodian", "") not in others or given.get("recipient", "") not in recipients:
            raise InputError("mandates.parties")
        if given["custodian"] == given["recipient"]:
            raise InputError("mandates.parties")
        if purpose not in PURPOSES.get(kind, ()):
            raise InputError("mandates.basis")
        if not kinds or not kinds <= KINDS.keys():
            raise InputError("asks.kinds")
        if given.get("days", "") not in {str(one) for one in _days()}:
            raise InputError("asks.days")
        said, now = {name: short_text(given.get(name, "").strip()) for name in _TEXTS}, self._site.clock()
        basis: Json = {"kind": kind, **{name: said[name] for name in _TEXTS[1:]}}
        return {
            "basis": basis,
            "custodian": given["custodian"],
            "patient": said["patient"],
            "period": {"end": now + int(given["days"]) * DAY_S, "start": now},
            "purpose": purpose,
            "recipient": given["recipient"],
            "resource_types": [*sorted(name for one in kinds for name in KINDS[one])],
        }

    def _show(self, me: SignedIn, given: MultiDict[str, str], problem: InputError | None = None) -> Response:
        """Show legal bases, and a form where this organisation may enter one."""
        say, site, names = self._pages.say, self._counter.site, self._counter.organisations()
        answer = site.local.call("mandate.list", {}, QUICK)
        rows = as_objects(as_object(answer).get("mandates"))
        others, chosen = self._counter.others(), given.getlist("kind")
        return self._pages.render(
            "staff/mandates.html",
            200 if problem is None else 400,
            given=given,
            problem="" if problem is None else self._pages.say_or(f"error.{problem.code}", problem.code),
            rows=[self._row(me, row, names) for row in rows],
            may_enter=self._may_enter(me, names),
            custodians=others.items(),
            recipients={**others, self._site.org_id: organisation_name(names, self._site.org_id)}.items(),
            bases=[
                (f"{kind}/{code}", f"{say(f'law.{kind}')} · {site.purpose(code)}")
                for kind, codes in PURPOSES.items()
                for code in sorted(codes)
            ],
            kinds=[(kind, say(f"kind.{kind}"), kind in chosen) for kind in KINDS],
            days=[(str(one), say("ask.days", days=one)) for one in _days()],
            form=self._counter.form(me),
        )

    def _row(self, me: SignedIn, row: Mapping[str, Json], names: Json) -> dict[str, object]:
        """Word a legal basis, and what this person may do with it."""
        content, site, own = as_object(row.get("content")), self._counter.site, self._site.org_id
        basis, types, end = as_object(content.get("basis")), as_list(content.get("resource_types")), _end(content)
        is_desk, is_in_force = me.account.role is Role.DESK, row.get("in_force") is True
        is_granted = row.get("granted") is True
        return {
            "key": str(row.get("key")),
            "kind": self._pages.say_or(f"law.{basis.get('kind')}", str(basis.get("kind"))),
            "authority": str(basis.get("authority")),
            "reference": str(basis.get("reference")),
            "scope": str(basis.get("scope")),
            "creator": organisation_name(names, str(row.get("creator"))),
            "custodian": organisation_name(names, str(content.get("custodian"))),
            "recipient": organisation_name(names, str(content.get("recipient"))),
            "patient": str(content.get("patient")) if is_desk else "",
            "purpose": site.purpose(str(content.get("purpose"))),
            "kinds": [self._pages.say(f"kind.{kind}") for kind in kinds_of(map(str, types))],
            "until": site.day(end),
            "releases": row.get("releases"),
            "is_in_force": is_in_force,
            "is_granted": is_granted,
            "may_grant": is_desk and is_in_force and not is_granted and content.get("custodian") == own,
            "may_stop": is_desk and is_in_force and row.get("creator") == own,
        }


def _days() -> list[int]:
    """List for how long a legal basis can be entered."""
    return choices_of({"days": _LONGEST_DAYS, "resource_types": [ANY_TYPE]})[1]


def _end(content: Mapping[str, Json]) -> int:
    """Read the end of a legal basis; it has one."""
    return as_number(as_object(content.get("period")).get("end"))
