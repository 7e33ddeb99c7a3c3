"""The page of the duplicate check: one invoice by a form, many by a table, and a report when they are done.

Keeps true: what stands on an invoice is in no address; a table is worked through in the daemon, so that whoever brought
it may leave and come back; it is shown to nobody else. Works without scripts; where one runs, the page of a table that
is not done yet looks again by itself. Trusts the daemon for what came of each row.
Source: `docs/spec/claim-question.md` 15, `docs/spec/smart.md` 36.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import Blueprint, Response, request

from fhir_bridge.claims_desk.ground import CLAIMS, Ground, Standing
from medchain.claims import checks
from medchain.claims.asking import CHECK, Finding
from medchain.claims.batch import CURRENCY, plain_amount, read_table, write_report
from medchain.claims.check_words import einvoice_of, meaning_of
from medchain.claims.einvoice import DOUBTED, EINVOICE
from medchain.encoding import Json, as_list, as_number, as_object, as_objects, base64_text, unbase64
from medchain.errors import InputError
from medchain.ledger.claim_question import read_row
from medchain.ledger.invoice import Scope
from medchain.node.peers import Limits
from medchain.web.pages import attached, language, redirected

PLACE: Final = f"{CLAIMS}/check"
"""Address of the page."""

FIELDS: Final = ("issuer", "code", "number", "date", "check_code", "amount")
"""What a form asks for, as it stands on an invoice."""

OPTIONAL: Final = frozenset({"code", "amount"})
"""What of it need not be there."""

MOST_SHOWN: Final = 100
"""Most rows of a table that the page shows; the report has them all."""

AGAIN_S: Final = 2
"""After how many seconds a script looks again while a table is not done."""

GOOD: Final = frozenset({Finding.FREE.value})
"""Findings after which nothing is to be looked at."""

UNCERTAIN: Final = frozenset({"outside", "unreachable", "stopped", "refused", "malformed"})
"""Findings after which it is not known."""

_TAB: Final = "check"
_WAITS: Final = Limits(timeout_s=60.0, max_bytes=1 << 20)
_REPORT: Final = Limits(timeout_s=60.0, max_bytes=64 << 20)


class CheckPages:
    """The pages of one node."""

    __slots__ = ("_ground",)

    def __init__(self, ground: Ground) -> None:
        """Use what the pages share."""
        self._ground = ground

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            (PLACE, self.begin, "GET"),
            (f"{PLACE}/one", self.again, "GET"),
            (f"{PLACE}/one", self.one, "POST"),
            (f"{PLACE}/table", self.again, "GET"),
            (f"{PLACE}/table", self.table, "POST"),
            (f"{PLACE}/<name>", self.batch, "GET"),
            (f"{PLACE}/<name>/report", self.report, "GET"),
        )
        return self._ground.blueprint("claim-check", rows)

    def begin(self) -> Response:
        """Show empty forms, and the tables of this person."""
        return self._show(self._ground.seen_by(insurer=True))

    def again(self) -> Response:
        """Show empty forms, where a reader has changed the language of an answer."""
        self._ground.seen_by(insurer=True)
        return redirected(PLACE)

    def one(self) -> Response:
        """Ask for one invoice."""
        standing = self._ground.done_by(insurer=True)
        try:
            row = read_typed({name: request.form.get(name, "") for name in FIELDS})
        except InputError as error:
            return self._show(standing, problem=error)
        with self._ground.handling(standing):
            answer = self._ground.call(CHECK, {"rows": [row]}, _WAITS)
        [checked] = as_objects(answer.get("checked"))
        return self._show(standing, found={**self._worded(standing, checked), **self._final(answer)})

    def table(self) -> Response:
        """Take a table; it is worked through while the browser shows how far that is."""
        standing = self._ground.done_by(insurer=True)
        try:
            data = _brought()
        except InputError as error:
            return self._show(standing, problem=error)
        with self._ground.handling(standing):
            began = self._ground.call(checks.BEGIN, {"by": standing.me.account.id, "csv": base64_text(data)}, _WAITS)
        return redirected(f"{PLACE}/{began.get('id')}")

    def batch(self, name: str) -> Response:
        """Show how far a table is, or what came of it."""
        standing = self._ground.seen_by(insurer=True)
        asked: Json = {"by": standing.me.account.id, "id": name}
        shown = self._ground.call(checks.SHOW, asked)
        rows: list[dict[str, object]] = []
        if shown.get("is_waiting") is not True:
            with self._ground.viewing(standing):
                rows = self._rows(standing, self._ground.call(checks.REPORT, asked, _REPORT))
        return self._ground.render(
            standing,
            "claims/batch.html",
            _TAB,
            one=self._batch(shown),
            rows=rows[:MOST_SHOWN],
            more=max(0, len(rows) - MOST_SHOWN),
            again=AGAIN_S,
        )

    def report(self, name: str) -> Response:
        """Give the table again, with what came of each row, as a file."""
        standing = self._ground.seen_by(insurer=True)
        with self._ground.viewing(standing):
            answer = self._ground.call(checks.REPORT, {"by": standing.me.account.id, "id": name}, _REPORT)
        rows = [self._reported(one) for one in as_objects(answer.get("found"))]
        meaning = self._ground.pages.say("claims.check.meaning")
        more = (EINVOICE,) if any(one[EINVOICE] for one in rows) else ()
        report = write_report(read_table(unbase64(answer["csv"])), rows, meaning, more)
        # With a mark at its beginning, by which spreadsheets know the encoding.
        return attached(report.encode("utf-8-sig"), "text/csv; charset=utf-8", f"claims-{name[:8]}.csv")

    def _rows(self, standing: Standing, answer: Mapping[str, Json]) -> list[dict[str, object]]:
        """Word those rows that somebody should look at, with what was asked for."""
        table = read_table(unbase64(answer["csv"]))
        rows = []
        found = as_objects(answer.get("found"))
        for place, (cells, checked) in enumerate(zip(table.cells, found, strict=True), 1):
            if checked.get("finding") not in GOOD or checked.get("differs") or _is_doubted(checked):
                rows.append(
                    {"place": place, "cells": " · ".join(filter(None, cells)), **self._worded(standing, checked)}
                )
        return rows

    def _reported(self, checked: Mapping[str, Json]) -> dict[str, str]:
        """Write what came of a row for the report."""
        differs = [str(one) for one in as_list(checked.get("differs"))]
        named = {name: str(checked.get(name) or "") for name in ("claim_id", "finding", "hospital", "reason")}
        meaning = meaning_of(str(checked.get("finding")), differs, language())
        said = einvoice_of(as_object(checked.get(EINVOICE)), language())
        return {**named, "differs": " ".join(differs), EINVOICE: said, "meaning": meaning}

    def _worded(self, standing: Standing, checked: Mapping[str, Json]) -> dict[str, object]:
        """Word what came of a row."""
        differs, finding = [str(one) for one in as_list(checked.get("differs"))], str(checked.get("finding"))
        hospital, reason = str(checked.get("hospital") or ""), str(checked.get("reason") or "")
        said = einvoice_of(as_object(checked.get(EINVOICE)), language())
        return {
            "colour": _colour(finding, differs),
            "meaning": meaning_of(finding, differs, language()),
            # Beside what the ledger says, not in it: the two may differ, and one colour would be of neither.
            "einvoice": said,
            "is_doubted": _is_doubted(checked),
            "hospital": standing.name(hospital) if hospital else "",
            "claim_id": str(checked.get("claim_id") or ""),
            "reason": self._ground.pages.say_or(f"error.{reason}", reason) if finding == checks.MALFORMED else "",
        }

    def _batch(self, shown: Mapping[str, Json]) -> dict[str, object]:
        """Word how far a table is."""
        pages, counts = self._ground.pages, as_object(shown.get("counts"))
        return {
            "id": str(shown.get("id")),
            "all": as_number(shown.get("all")),
            "done": as_number(shown.get("done")),
            "is_waiting": shown.get("is_waiting") is True,
            "failed": str(shown.get("failed") or ""),
            "created": pages.moment(as_number(shown.get("created"))),
            "counts": [
                (_colour(name, ()), meaning_of(name, (), language()), as_number(number))
                for name, number in sorted(counts.items(), key=lambda one: (one[0] not in GOOD, one[0]))
            ],
            **self._final({"final_size": shown.get("final_size"), "time": shown.get("time")}),
        }

    def _final(self, answer: Mapping[str, Json]) -> dict[str, object]:
        """Word how far the ledger was final."""
        time = as_number(answer.get("time"))
        return {"size": as_number(answer.get("final_size")), "as_of": self._ground.pages.moment(time) if time else ""}

    def _show(
        self, standing: Standing, *, found: Mapping[str, object] | None = None, problem: InputError | None = None
    ) -> Response:
        """Show the forms."""
        batches = as_objects(self._ground.call(checks.LIST, {"by": standing.me.account.id}).get("batches"))
        return self._ground.render(
            standing,
            "claims/check.html",
            _TAB,
            200 if problem is None else 400,
            fields=[(name, name in OPTIONAL) for name in FIELDS],
            given=request.form,
            found=found,
            problem="" if problem is None else self._ground.problem(problem),
            batches=[self._batch(one) for one in batches],
        )


def read_typed(typed: Mapping[str, str]) -> dict[str, Json]:
    """Read what is typed of an invoice.

    Args:
        typed: of each of `FIELDS`.

    Returns:
        What can be asked for (`docs/spec/claim-question.md` 2).

    Raises:
        InputError: ``invoice.*``, ``claim.malformed``.
    """
    told: dict[str, Json] = {name: text.strip() for name, text in typed.items()}
    missing = next((name for name in FIELDS if name not in OPTIONAL and not told[name]), None)
    if missing is not None:
        code = f"invoice.{missing}"
        raise InputError(code)
    amount = plain_amount(str(told["amount"]))
    row: Json = {
        **told,
        "amount": amount,
        "currency": CURRENCY if amount else "",
        "line": 0,
        "scope": Scope.INVOICE.value,
    }
    return read_row(row).to_json()


def _brought() -> bytes:
    """Read the table that a form brings; raises `InputError` ``claim.csv*``."""
    brought = request.files.get("table")
    data = b"" if brought is None else brought.stream.read(checks.MAX_TABLE_BYTES + 1)
    if len(data) > checks.MAX_TABLE_BYTES:
        raise InputError("claim.csv_size")
    read_table(data)
    return data


def _is_doubted(checked: Mapping[str, Json]) -> bool:
    """Tell whether a service for electronic invoices says that one is not what it should be."""
    return as_object(checked.get(EINVOICE)).get("answer") in DOUBTED


def _colour(finding: str, differs: object) -> str:
    """Tell how good a finding is, in a verdict's colours."""
    if finding in GOOD:
        return "amber" if differs else "green"
    return "amber" if finding in UNCERTAIN else "red"
