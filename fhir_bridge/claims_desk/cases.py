"""The insurer's work list: its claims with their verdicts, found by state, colour, hospital and number, and new ones.

Keeps true: a number that was typed, and a claim that was brought, is in no address; a claim that is stored here is
opened for who may read it alone. Works without scripts; a script moves the focus along the rows. Trusts the daemon for
the cases.
Source: `docs/spec/claim-case.md`, `docs/spec/smart.md` 36.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from fhir_bridge.browse.reading import Reading, RefusedError, access_of
from fhir_bridge.claims_desk.check import FIELDS, OPTIONAL
from fhir_bridge.claims_desk.ground import CLAIMS, Ground, Standing
from fhir_bridge.claims_desk.terms import read_terms
from medchain.claims.cases import CaseClient
from medchain.claims.money_words import money_text
from medchain.encoding import Json, as_number, as_object
from medchain.errors import InputError, MedchainError
from medchain.ledger.evidence.document import MAX_CLAIM_BYTES
from medchain.ledger.invoice import Amount
from medchain.ledger.kinds.content import DAY_S
from medchain.web.pages import language, redirected

CASES: Final = f"{CLAIMS}/cases"
"""Address of the list."""

STATUSES: Final = ("new", "asked", "permitted", "judged", "reserved", "settled", "refused")
"""States by which cases are found."""

COLOURS: Final = ("red", "amber", "green")
"""Colours by which they are."""

ORDERS: Final = ("-created", "created", "-amount", "amount", "-colour", "colour", "number", "-number")
"""Orders in which they are listed."""

SHOWN: Final = 25
"""Cases of one page."""

SCRIPT: Final = "claims.js"
"""The script that moves the focus along the rows."""

_TAB: Final = "cases"
_REFERENCE: Final = re.compile(r"(Claim|ExplanationOfBenefit)/[A-Za-z0-9\-.]{1,64}")
_NUMBER: Final = 64
_MAX_PAGE: Final = 100_000


class CasePages:
    """The work list of one node."""

    __slots__ = ("_cases", "_ground")

    def __init__(self, ground: Ground) -> None:
        """Use what the pages share."""
        self._ground = ground
        self._cases = CaseClient(ground.counter.site.local)

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            (CASES, self.list, "GET"),
            (f"{CASES}/find", self.again, "GET"),
            (f"{CASES}/find", self.find, "POST"),
            (f"{CASES}/open", self.again, "GET"),
            (f"{CASES}/open", self.open, "POST"),
        )
        return self._ground.blueprint("claim-cases", rows)

    def list(self) -> Response:
        """List claims, as the address says."""
        return self._show(self._ground.seen_by(insurer=True))

    def again(self) -> Response:
        """Show the list, where a reader has changed the language of what was found."""
        self._ground.seen_by(insurer=True)
        return redirected(CASES)

    def find(self) -> Response:
        """Find claims by how their numbers begin."""
        return self._show(self._ground.asked_by(insurer=True), request.form.get("number", "").strip()[:_NUMBER])

    def open(self) -> Response:
        """Open a claim that is stored here, or one that is brought, and go to it; nobody is asked for it yet."""
        standing = self._ground.done_by(insurer=True)
        try:
            with self._ground.handling(standing):
                case = self._opened(standing)
        except MedchainError as error:
            otherwise = self._ground.pages.say("claims.open.problem")
            return self._show(standing, problem=self._ground.problem(error, otherwise))
        except RefusedError as error:
            return self._show(standing, problem=error.text, status=error.status)
        return redirected(f"{CASES}/{case['id']}")

    def _opened(self, standing: Standing) -> dict[str, Json]:
        """Open what a form names or brings."""
        reference, brought = request.form.get("reference", "").strip(), request.files.get("file")
        pasted, given = request.form.get("content", "").strip().encode("utf-8"), read_terms().said()
        content = pasted or (b"" if brought is None else brought.stream.read(MAX_CLAIM_BYTES + 1))
        if content:
            if len(content) > MAX_CLAIM_BYTES:
                raise InputError("request.too_large", limit=MAX_CLAIM_BYTES)
            return self._cases.take(content, given)
        if _REFERENCE.fullmatch(reference) is None:
            raise InputError("case.claim")
        # As a client's request: on the audit, and not for who may not read it.
        Reading(self._ground.counter.core, access_of(standing.me), language()).resource(reference)
        return self._cases.open(reference, given)

    def _show(self, standing: Standing, number: str = "", problem: str = "", status: int = 400) -> Response:
        """Show the list, or with its status what is wrong with a form."""
        asked = request.args
        chosen = {name: asked.get(name, "") for name in ("status", "colour", "hospital", "order")}
        page = min(max(1, asked.get("page", 1, type=int)), _MAX_PAGE)
        wanted: dict[str, Json] = {"order": chosen["order"] if chosen["order"] in ORDERS else ORDERS[0]}
        if chosen["status"] in STATUSES:
            wanted["statuses"] = [chosen["status"]]
        if chosen["colour"] in COLOURS:
            wanted["colours"] = [chosen["colour"]]
        hospitals = standing.hospitals
        if chosen["hospital"] in hospitals:
            wanted["hospital"] = chosen["hospital"]
        if number:
            wanted["number"] = number
        with self._ground.viewing(standing):
            found = self._cases.list(wanted, SHOWN, (page - 1) * SHOWN)
            if not found.cases and found.total:
                # Beyond the last, which there was before claims were deleted or judged otherwise.
                page = -(-found.total // SHOWN)
                found = self._cases.list(wanted, SHOWN, (page - 1) * SHOWN)
        return self._ground.render(
            standing,
            "claims/cases.html",
            _TAB,
            status if problem else 200,
            rows=[self._row(standing, one) for one in found.cases],
            total=found.total,
            first=(page - 1) * SHOWN + 1,
            last=(page - 1) * SHOWN + len(found.cases),
            earlier=_address(chosen, page - 1) if page > 1 else "",
            later=_address(chosen, page + 1) if page * SHOWN < found.total and not number else "",
            here=_address(chosen, page, joined="&"),
            chosen=chosen,
            number=number,
            problem=problem,
            given=request.form if problem else {},
            invoice=[(name, name in OPTIONAL) for name in FIELDS],
            statuses=STATUSES,
            colours=COLOURS,
            hospitals=hospitals.items(),
            orders=ORDERS,
            sorts={
                name: _address({**chosen, "order": _turned(name, str(wanted["order"]))}, 1)
                for name in ("number", "amount", "created", "colour")
            },
            order=wanted["order"],
        )

    def _row(self, standing: Standing, case: Mapping[str, Json]) -> dict[str, object]:
        """Word a case in short."""
        return case_row(self._ground, standing, case)


def case_row(ground: Ground, standing: Standing, case: Mapping[str, Json]) -> dict[str, object]:
    """Word a case in short.

    Args:
        ground: what the pages share.
        standing: who looks.
        case: as it is listed.
    """
    pages, hospital, created = ground.pages, case.get("hospital"), as_number(case.get("created"))
    judged = case.get("judged_at")
    return {
        "id": str(case.get("id")),
        "number": str(case.get("number")) or str(case.get("digest"))[:12],
        "digest": str(case.get("digest")),
        "claim": str(case.get("claim")),
        "colour": str(case.get("colour")),
        "status": str(case.get("status")),
        "is_disputed": case.get("disputed") is True,
        "hospital": standing.name(str(hospital)) if hospital else "",
        "amount": amount_text(case.get("amount")),
        "created": pages.moment(created),
        "days": max(0, (pages.site.clock() - created) // DAY_S),
        "judged": pages.moment(judged) if isinstance(judged, int) else "",
    }


def amount_text(amount: Json) -> str:
    """Write an amount as the reader does; empty for none."""
    told = as_object(amount)
    if not told:
        return ""
    return money_text(Amount(as_number(told.get("minor")), str(told.get("currency"))), language())


def _address(chosen: Mapping[str, str], page: int, *, joined: str = "") -> str:
    """Write the address of a page of the list; nothing of it names a person.

    Args:
        chosen: how the list is narrowed and sorted.
        page: from 1.
        joined: what ends an address to which more is added; then also without anything before it.
    """
    told = {name: value for name, value in chosen.items() if value}
    query = urlencode({**told, "page": page} if page > 1 else told)
    if joined:
        return f"{CASES}?{query}{joined}" if query else f"{CASES}?"
    return f"{CASES}?{query}" if query else CASES


def _turned(name: str, order: str) -> str:
    """Tell in which order a click on a column puts the list."""
    if order.removeprefix("-") != name:
        return name if name == "number" else f"-{name}"
    return name if order.startswith("-") else f"-{name}"
