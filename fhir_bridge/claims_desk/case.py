"""The page of one claim: its verdict with the evidence as graph and table, and what the desk does with it.

Keeps true: what is shown of the verdict follows from it alone; who does something is on the audit before it is done,
and each form counts once; nothing is said to be reserved or paid before this node's own ledger has it. Trusts the
daemon for the case.
Source: `docs/spec/claim-case.md`, `docs/spec/claim-verdict.md`, `docs/spec/smart.md` 36.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from flask import Blueprint, Response, request

from consent.web.site import SLOW
from fhir_bridge.claims_desk.before import hospitals_of, insured, is_of_nobody, next_step, outlook
from fhir_bridge.claims_desk.cases import CASES, amount_text, case_row
from fhir_bridge.claims_desk.check import AGAIN_S, FIELDS, OPTIONAL
from fhir_bridge.claims_desk.disputes import DISPUTES, USUAL_DAYS, days_offered, delivery, read_days, written
from fhir_bridge.claims_desk.graph import NODE_HEIGHT, NODE_WIDTH, Node, drawn, graph_of
from fhir_bridge.claims_desk.ground import Ground, Standing
from fhir_bridge.claims_desk.history import history, part_of
from fhir_bridge.claims_desk.terms import read_terms, typed_terms
from fhir_bridge.claims_desk.verdict_view import shown_finding, shown_lines
from medchain.claims import disputes
from medchain.claims.batch import plain_amount
from medchain.claims.cases import Case, CaseClient
from medchain.claims.check_words import einvoice_of
from medchain.claims.verdict_words import COLOURS
from medchain.encoding import Json, as_list, as_number, as_object, as_objects, canonical
from medchain.errors import AccessDeniedError, InputError
from medchain.ledger.evidence.verdict import ClaimVerdict, parse_verdict
from medchain.ledger.kinds.content import short_text
from medchain.node.asking import WAITS_S
from medchain.record_types import record_text
from medchain.web.pages import LANGUAGES, attached, language, redirected

ASK_DAYS: Final = (1, 3, 7, 14, 30)
"""Days for which a permission for one claim can be asked for."""

RESERVE_DAYS: Final = (1, 3, 7, 14, 30)
"""Days for which a part can be reserved."""

JUDGED_S: Final = 3
"""How long who has a claim judged waits for it, in seconds; after that its page shows how far it is."""

MAX_NOTE: Final = 2000
"""Longest note, in characters."""

_TAB: Final = "cases"
_PAID: Final = frozenset({"reserved", "settled"})
_SAID: Final[Mapping[Json, str]] = {
    True: "claims.rule.yes",
    False: "claims.rule.no",
    None: "claims.rule.unknown",
}
_MAX_DIGITS: Final = 15
# What begins the code of why somebody did not answer at all.
_UNHEARD: Final = "peer."


class CasePage:
    """The page of one node."""

    __slots__ = ("_cases", "_ground")

    def __init__(self, ground: Ground) -> None:
        """Use what the pages share."""
        self._ground = ground
        self._cases = CaseClient(ground.counter.site.local)

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        place = f"{CASES}/<name>"
        rows = [(place, self.show, "GET"), (f"{place}/bundle", self.bundle, "GET")]
        rows += [
            (f"{place}/{deed.__name__}", deed, "POST")
            for deed in (
                self.judge,
                self.ask,
                self.terms,
                self.reserve,
                self.settle,
                self.release,
                self.refuse,
                self.note,
                self.dispute,
                self.drop,
            )
        ]
        return self._ground.blueprint("claim-case", rows)

    def show(self, name: str) -> Response:
        """Show a claim, its verdict, and what can be done."""
        return self._shown(self._ground.seen_by(insurer=True), name)

    def _shown(self, standing: Standing, name: str, problem: str = "") -> Response:
        """Show it, perhaps with what is wrong with a form that was sent, and what was typed there."""
        with self._ground.viewing(standing, name):
            case = self._cases.show(name)
        said = self._ground.call(disputes.LIST, {"claim": case["digest"]})
        shown_disputes = [(_opened_at(one), self._dispute(one)) for one in as_objects(said.get("disputes"))]
        verdict, pages, held = verdict_of(case), self._ground.pages, as_object(case.get("row"))
        askable = self._askable(standing, case)
        return self._ground.render(
            standing,
            "claims/case.html",
            _TAB,
            400 if problem else 200,
            problem=problem,
            given=request.form if problem else typed_terms(case),
            invoice=[(name, name in OPTIONAL) for name in FIELDS],
            next=next_step(str(case.get("status")), can_ask=bool(askable)),
            outlook=outlook(case, language(), standing.name) if verdict is None else [],
            insured=insured(case, pages),
            held=held,
            einvoice=self._einvoice(case),
            invoice_said=" · ".join(
                filter(None, (str(held.get("number", "")), pages.dated(str(held.get("date", "")))))
            ),
            one=case_row(self._ground, standing, case),
            cited=[
                (standing.name(org_id), [record_text(str(one), language()) for one in as_list(rows)])
                for org_id, rows in sorted(as_object(case.get("cited")).items())
            ],
            outside=[record_text(str(one), language()) for one in as_list(case.get("outside"))],
            verdict=None if verdict is None else self._verdict(standing, case, verdict),
            may=self._may(case),
            seen=as_number(case.get("judged_at") or 0),
            progress=self._progress(case),
            again=AGAIN_S,
            failed=self._failed(case),
            stated=self._stated(standing, case),
            unasked=self._unasked(case),
            failures=self._failures(standing, case),
            asks=[self._ask_row(standing, one) for one in as_objects(case.get("asks"))],
            part=part_of(pages, case),
            events=history(pages, standing, case, shown_disputes),
            notes=[self._note_row(one) for one in as_objects(case.get("notes"))],
            hospitals=self._asked_hospitals(standing, case),
            askable=askable,
            ask_days=[(str(one), pages.say("ask.days", days=one)) for one in ASK_DAYS],
            reserve_days=[(str(one), pages.say("ask.days", days=one)) for one in RESERVE_DAYS],
            answer_days=days_offered(self._ground),
            usual=str(USUAL_DAYS),
        )

    def bundle(self, name: str) -> Response:
        """Give the evidence as a file, which anybody can check offline; the claim is in it, so not to auditors."""
        standing = self._ground.seen_by(insurer=True)
        if not standing.may_act:
            raise AccessDeniedError("session.role")
        with self._ground.viewing(standing, name):
            packed = self._cases.bundle(name)
        return attached(packed, "application/zip", f"claim-{name[:8]}.proof.zip")

    def judge(self, name: str) -> Response:
        """Have the evidence gathered; where that takes longer the page of the claim shows how far it is."""
        standing = self._ground.done_by(insurer=True)
        return self._done(standing, name, lambda: self._cases.judge(name, JUDGED_S, is_fresh=True))

    def ask(self, name: str) -> Response:
        """Ask the patient for a permission for exactly this claim."""
        standing = self._ground.done_by(insurer=True)
        days, reason = _chosen("days", ASK_DAYS), short_text(request.form.get("reason", "").strip())
        hospital, person = request.form.get("hospital", ""), standing.me.account.display
        return self._done(standing, name, lambda: self._cases.ask(name, days, reason, person=person, hospital=hospital))

    def terms(self, name: str) -> Response:
        """Keep another policy or invoice with the claim; what is found to be wrong is said beside what was typed."""
        standing = self._ground.done_by(insurer=True)
        try:
            given: Mapping[str, Json] = read_terms()._asdict()
        except InputError as error:
            return self._shown(standing, name, self._ground.problem(error))
        return self._done(standing, name, lambda: self._kept(name, given))

    def _kept(self, name: str, given: Mapping[str, Json]) -> Case:
        """Keep them; an invoice of which nothing was changed stays as it is, with what the form does not show."""
        before = typed_terms(self._cases.show(name))
        is_same = all(
            request.form.get(field, "").strip() == typed for field, typed in before.items() if "invoice" in field
        )
        is_brought = bool(request.files.get("invoice_table"))
        return self._cases.give(name, {"policy": given["policy"]} if is_same and not is_brought else given)

    def reserve(self, name: str) -> Response:
        """Reserve a part of the invoice; final when the page answers."""
        standing, days = self._ground.done_by(insurer=True), _chosen("days", RESERVE_DAYS)
        return self._done(standing, name, lambda: self._cases.reserve(name, _amount(), days, seen=_seen()))

    def settle(self, name: str) -> Response:
        """Note on the ledger what is paid; final when the page answers."""
        standing = self._ground.done_by(insurer=True)
        return self._done(standing, name, lambda: self._cases.settle(name, _amount(), seen=_seen()))

    def release(self, name: str) -> Response:
        """Give up what was reserved; final when the page answers."""
        return self._done(self._ground.done_by(insurer=True), name, lambda: self._cases.release(name))

    def refuse(self, name: str) -> Response:
        """Note that this insurer does not pay, and why."""
        standing, reason = self._ground.done_by(insurer=True), _note()
        return self._done(standing, name, lambda: self._cases.refuse(name, standing.author, reason))

    def note(self, name: str) -> Response:
        """Add a note."""
        standing, text = self._ground.done_by(insurer=True), _note()
        return self._done(standing, name, lambda: self._cases.note(name, standing.author, text))

    def drop(self, name: str) -> Response:
        """Destroy a case with its evidence, and show the list; not while a part is reserved for it."""
        standing = self._ground.done_by(insurer=True)
        with self._ground.handling(standing, name):
            self._cases.delete(name)
        return redirected(CASES)

    def dispute(self, name: str) -> Response:
        """Ask the hospital about the claim, on the record, and go to the dispute."""
        standing = self._ground.done_by(insurer=True)
        case, days, text = self._cases.show(name), read_days(), _note()
        hospital = request.form.get("hospital", "")
        if hospital not in dict(self._asked_hospitals(standing, case)):
            raise InputError("dispute.hospital")
        asked: Json = {
            "by": standing.author,
            "claim": case["digest"],
            "days": days,
            "hospital": hospital,
            "text": text,
        }
        with self._ground.handling(standing, name):
            opened = self._ground.call(disputes.OPEN, asked, SLOW)
        return redirected(f"{DISPUTES}/{opened['id']}")

    def _done(self, standing: Standing, name: str, deed: Callable[[], Case]) -> Response:
        """Do something with a case, and show it."""
        with self._ground.handling(standing, name):
            deed()
        return redirected(f"{CASES}/{name}")

    def _verdict(self, standing: Standing, case: Mapping[str, Json], verdict: ClaimVerdict) -> dict[str, object]:
        """Show a verdict with its graph."""
        at, pages = LANGUAGES.index(language()), self._ground.pages
        graph = graph_of(verdict, as_object(case.get("cited")))
        titles = {node.key: self._title(standing, case, node) for node in graph.nodes}
        return {
            "colour": verdict.colour.value,
            "word": COLOURS[verdict.colour.value][at],
            "as_of": pages.moment(verdict.time),
            "position": verdict.position,
            "lines": shown_lines(verdict.findings, language(), standing.name, pages.site.zone),
            "is_before": is_of_nobody(verdict),
            "picture": drawn(graph, titles),
            "size": (NODE_WIDTH, NODE_HEIGHT),
            "nodes": [
                {
                    "key": node.key,
                    "lane": node.lane,
                    "kind": node.kind,
                    "title": titles[node.key],
                    "colour": node.colour.value,
                    "word": COLOURS[node.colour.value][at],
                    "known": [shown_finding(one, language(), standing.name, pages.site.zone) for one in node.findings]
                    if node.kind != "verdict"
                    else [],
                }
                for node in graph.nodes
            ],
        }

    def _einvoice(self, case: Mapping[str, Json]) -> str:
        """Word what a service for electronic invoices said, and when; empty where none was asked."""
        told = as_object(case.get("einvoice"))
        return f"{einvoice_of(told, language())} · {self._ground.pages.moment(as_number(told['time']))}" if told else ""

    def _progress(self, case: Mapping[str, Json]) -> dict[str, Json] | None:
        """Tell how far the gathering of evidence is; None where none is under way."""
        told = case.get("progress")
        return (
            {"done": as_number(told.get("done")), "of": as_number(told.get("of"))} if isinstance(told, dict) else None
        )

    def _stated(self, standing: Standing, case: Mapping[str, Json]) -> list[tuple[str, str, str]]:
        """Word what hospitals said of what the policies ask: who, of what, and what."""
        pages, found = self._ground.pages, list[tuple[str, str, str]]()
        for org_id, rows in sorted(as_object(case.get("stated")).items()):
            for one in as_objects(rows):
                arguments: dict[str, str | int] = {
                    name: value if isinstance(value, int) else str(value)
                    for name, value in as_object(one["arguments"]).items()
                }
                about = str(arguments.get("encounter") or arguments.get("reference") or "")
                arguments["record"] = record_text(about, language()) if about else ""
                arguments["day"] = pages.dated(str(arguments.get("day", "")))
                arguments["count"] = arguments.get("days", 0)
                asked = pages.say(f"claims.rule.{one['name']}", **arguments)
                found.append((standing.name(org_id), asked, pages.say(_SAID[one["value"]])))
        return found

    def _unasked(self, case: Mapping[str, Json]) -> list[str]:
        """Word what the policies ask, and of which the claim cites nothing."""
        return [self._ground.pages.say(f"claims.rule.unasked.{name}") for name in as_list(case.get("unasked"))]

    def _failed(self, case: Mapping[str, Json]) -> str:
        """Word why the last judgement came to nothing; empty where it did not."""
        code = case.get("failed")
        why = self._ground.pages.say_or(f"error.{code}", str(code))
        return "" if code is None else self._ground.pages.say("claims.judge.failed", why=why)

    def _failures(self, standing: Standing, case: Mapping[str, Json]) -> dict[str, list[tuple[str, str]]]:
        """Word which hospitals told nothing, and why: those that did not answer apart from those that did."""
        pages, failed = self._ground.pages, as_object(case.get("failures"))
        found: dict[str, list[tuple[str, str]]] = {"told": [], "unheard": []}
        for org_id, code in sorted(failed.items()):
            is_unheard = str(code).startswith(_UNHEARD)
            other = pages.say("claims.failure.peer.other" if is_unheard else "claims.failure.other")
            why = pages.say_or(f"claims.failure.{code}", other)
            found["unheard" if is_unheard else "told"].append((standing.name(org_id), why))
        return found

    def _title(self, standing: Standing, case: Mapping[str, Json], node: Node) -> str:
        """Name a node."""
        cited = as_list(as_object(case.get("cited")).get(node.hospital))
        named = standing.name(node.hospital) if node.hospital else ""
        amount, number = amount_text(case.get("amount")), str(case.get("number"))
        said = {"amount": amount, "count": len(cited), "hospital": named, "number": number}
        return self._ground.pages.say(f"claims.node.{node.kind}", **said)

    def _may(self, case: Mapping[str, Json]) -> dict[str, bool]:
        """Tell what can be done with a case in its state."""
        status, has_invoice = str(case.get("status")), case.get("row") is not None
        return {
            "judge": status != "gathering",
            "bundle": case.get("verdict") is not None,
            "ask": status not in {*_PAID, "refused", "gathering"},
            "terms": status != "gathering",
            "reserve": has_invoice and status not in {*_PAID, "gathering", "refused"},
            "settle": has_invoice and status == "reserved",
            "release": has_invoice and (status in _PAID or _is_held(case)),
            "refuse": status not in {*_PAID, "refused"},
            "drop": status not in {"reserved", "gathering"},
        }

    def _asked_hospitals(self, standing: Standing, case: Mapping[str, Json]) -> list[tuple[str, str]]:
        """List the hospitals that can be asked about a claim."""
        others = self._ground.counter.others()
        named = {*as_object(case.get("cited")), str(case.get("hospital") or "")}
        return [(org_id, standing.name(org_id)) for org_id in sorted(named) if org_id in others]

    def _askable(self, standing: Standing, case: Mapping[str, Json]) -> list[tuple[str, str]]:
        """List the hospitals whose patient can be asked."""
        others = self._ground.counter.others()
        return [(org_id, standing.name(org_id)) for org_id in hospitals_of(case) if org_id in others]

    def _ask_row(self, standing: Standing, ask: Mapping[str, Json]) -> dict[str, object]:
        """Word that the patient was asked."""
        pages, time = self._ground.pages, as_number(ask.get("time"))
        return {
            "hospital": standing.name(str(ask.get("hospital"))),
            "time": pages.moment(time),
            "until": pages.moment(time + WAITS_S),
            "is_over": pages.site.clock() > time + WAITS_S,
            "count": as_number(ask.get("cited")),
        }

    def _note_row(self, note: Mapping[str, Json]) -> dict[str, str]:
        """Word a note."""
        ground = self._ground
        return {
            "by": ground.person(str(note.get("by"))),
            "text": str(note.get("text")),
            "time": ground.pages.moment(as_number(note.get("time"))),
        }

    def _dispute(self, found: Mapping[str, Json]) -> dict[str, object]:
        """Word a dispute about a claim in short."""
        due, steps = found.get("due"), as_objects(found.get("steps"))
        return {
            "id": str(found.get("id")),
            "opened": self._ground.pages.moment(_opened_at(found)),
            "state": str(found.get("state")),
            "text": str(steps[0].get("text")),
            **delivery(self._ground.pages, steps[-1]),
            "is_overdue": found.get("overdue") is True,
            "due": self._ground.pages.moment(due) if isinstance(due, int) else "",
        }


def verdict_of(case: Mapping[str, Json]) -> ClaimVerdict | None:
    """Read the verdict of a case; None before the first; raises `InputError` for what is none."""
    found = case.get("verdict")
    return None if found is None else parse_verdict(canonical(found))


def _is_held(case: Mapping[str, Json]) -> bool:
    """Tell whether a part was reserved for what a person refused at the same moment: it can be given up."""
    deeds = as_objects(case.get("deeds"))
    return case.get("status") == "refused" and bool(deeds) and deeds[-1].get("action") == "reserve"


def _opened_at(dispute: Mapping[str, Json]) -> int:
    """Tell when a dispute was opened, Unix seconds."""
    return as_number(as_objects(dispute.get("steps"))[0].get("time"))


def _chosen(name: str, offered: tuple[int, ...]) -> int:
    """Read a number of days that was offered; raises `InputError` ``asks.days``."""
    chosen = request.form.get(name, "")
    if chosen not in {str(one) for one in offered}:
        raise InputError("asks.days")
    return int(chosen)


def _amount() -> str:
    """Read an amount from a form; empty for what is claimed."""
    return plain_amount(request.form.get("amount", ""))


def _seen() -> int:
    """Read when the verdict was made that stood on the page, Unix seconds; 0 for none.

    Raises:
        InputError: ``case.seen``.
    """
    text = request.form.get("seen", "")
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise InputError("case.seen")
    return int(text)


def _note() -> str:
    """Read a text of a case; raises `InputError` ``case.note``."""
    text = written("text")
    if not 0 < len(text) <= MAX_NOTE:
        raise InputError("case.note")
    return text
