"""The page of oversight: what is late or not told, alarms, which members and witnesses cosign, who endorses whom.

Keeps true: nothing on the page or in its export names a patient: of an emergency only listed members are passed on;
what others wrote is text, in a table too. Trusts the session for who it is, and the daemon for what it holds.
Source: `docs/spec/smart.md` 28; `docs/spec/consent.md` 11; OWASP, CSV injection.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Final

from flask import Blueprint, Response

from consent.web.site import organisation_name
from fhir_bridge.staff.emergencies import Local
from medchain.encoding import Json, as_number, as_object, as_objects, canonical
from medchain.node.awaited import AWAITED_S, Lacking, read_awaited
from medchain.node.concerns import REPORTED
from medchain.node.endorsed import ENDORSED
from medchain.node.missing import MISSING
from medchain.node.peers import Limits
from medchain.node.roll_call import LATE_S, ROLL_CALL
from medchain.node.witnesses import RENEW_S, WITNESSES
from medchain.store.accounts import Role
from medchain.web.pages import Pages, add_views, attached

_FIELDS: Final = (
    "key",
    "owner",
    "custodian",
    "recipient",
    "count",
    "staff",
    "reason",
    "time",
    "due",
    "overdue",
    "objection",
    "review",
    "final",
    "position",
)
_MISSING: Final = ("answer", "custodian", "key", "silent", "since", "version")
_CONCERN: Final = (
    "custodian",
    "id",
    "kind",
    "state",
    "opened",
    "since",
    "changed",
    "due",
    "overdue",
    "heard",
    "position",
    "texts",
    "version",
)
_MEMBER: Final = ("late", "name", "org_id", "role", "size", "time")
_WITNESS: Final = ("code", "keys", "name", "size", "time", "url")
_ENDORSED: Final = ("count", "creator", "endorser", "kind")
_ALARM: Final = ("id", "code", "subject", "first", "last", "count", "height", "fields")
_LIMITS: Final = Limits(timeout_s=10.0, max_bytes=64 << 20)
_WITNESS_LATE_S: Final = 2 * RENEW_S
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class OversightPages:
    """The pages of one node."""

    __slots__ = ("_local", "_pages")

    def __init__(self, pages: Pages, local: Local) -> None:
        """Prepare; `local` calls the daemon."""
        self._pages = pages
        self._local = local

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            ("/oversight", self.page, "GET"),
            ("/oversight/evidence.json", self.as_json, "GET"),
            ("/oversight/evidence.csv", self.as_csv, "GET"),
        )
        return self._pages.guard(add_views(Blueprint("oversight", __name__, template_folder="templates"), rows))

    def page(self) -> Response:
        """Show what is late first, then what this node has seen of other members."""
        rows, status = self._emergencies(), self._status()
        since, lacking = read_awaited(status)
        now = self._pages.site.clock()
        is_late = now - since > AWAITED_S
        untold, missing = self._missing()
        final, members = self._cosigned()
        witnesses = self._witnesses()
        days, endorsed = self._endorsed()
        concerns = self._concerns()
        late = [row for row in rows if row["overdue"]]
        # Of who is a member no more the id is all that is known.
        named: dict[str, Json] = {str(row["org_id"]): row for row in members}
        return self._pages.render(
            "staff/oversight.html",
            organisation=partial(organisation_name, named),
            late=[{**self._shown(row), "between": self._between(row, named)} for row in late],
            late_objections=sum(row["objection"] is not None for row in late),
            waiting=sum(row["review"] is None for row in rows),
            total=len(rows),
            lacking=[self._shown_lacking(one, named) for one in lacking] if is_late else [],
            lacking_since=self._time(since),
            untold=untold,
            missing=[row | {"since": self._time(row["since"])} for row in missing],
            concerns=[self._shown_concern(row) for row in concerns if row["overdue"]],
            concerns_waiting=sum(row["due"] is not None for row in concerns),
            members=[row | {"time": self._time(row["time"])} for row in members],
            final=final,
            minutes=LATE_S // 60,
            witnesses=[self._shown_witness(row, now) for row in witnesses],
            days=days,
            endorsed=groupby(endorsed, key=itemgetter("endorser")),
            alarms=[
                {
                    **row,
                    "said": self._meaning("alarm", row["code"]),
                    **{name: self._time(row[name]) for name in ("first", "last")},
                }
                for row in _alarms(status)
            ],
        )

    def as_json(self) -> Response:
        """Give all of it as a file that a program reads."""
        rows: list[Json] = [*self._emergencies()]
        status = self._status()
        alarms: list[Json] = [*_alarms(status)]
        missing: list[Json] = [*self._missing()[1]]
        told: list[Json] = [*self._concerns()]
        final, cosigned = self._cosigned()
        members: list[Json] = [*cosigned]
        witnesses: list[Json] = [*self._witnesses()]
        days, endorsed = self._endorsed()
        endorsements: list[Json] = [*endorsed]
        document: Json = {
            "alarms": alarms,
            "awaited": as_object(status).get("awaited"),
            "concerns": told,
            "days": days,
            "emergencies": rows,
            "endorsements": endorsements,
            "final": final,
            "members": members,
            "missing": missing,
            "time": self._pages.site.clock(),
            "witnesses": witnesses,
        }
        return attached(canonical(document), "application/json", "evidence.json")

    def as_csv(self) -> Response:
        """Give the emergencies as a table (RFC 4180)."""
        written = io.StringIO()
        table = csv.writer(written)
        table.writerow(_FIELDS)
        table.writerows([_cell(row[name]) for name in _FIELDS] for row in self._emergencies())
        return attached(written.getvalue().encode("utf-8"), "text/csv; charset=utf-8", "evidence.csv")

    def _emergencies(self) -> list[dict[str, Json]]:
        """List the emergencies that this node holds, those that are due first at the top."""
        self._pages.site.require(Role.AUDITOR)
        return _rows(self._local.call("emergency.list", {}, _LIMITS), "emergencies", _FIELDS)

    def _between(self, row: Mapping[str, Json], named: Json) -> str:
        """Say which other organisation has a part in an emergency; empty where none has."""
        custodian, recipient = str(row["custodian"]), str(row["recipient"])
        if custodian == recipient:
            return ""
        if row["owner"] == custodian:
            given = organisation_name(named, recipient)
            return self._pages.say("oversight.given", organisation=given, count=row["count"])
        return self._pages.say("reviews.asked", organisation=organisation_name(named, custodian))

    def _missing(self) -> tuple[int, list[dict[str, Json]]]:
        """Tell how many versions of emergencies this node was not given in time, and list them."""
        answer = self._local.call(MISSING, {}, _LIMITS)
        return as_number(as_object(answer).get("count")), _rows(answer, "missing", _MISSING)

    def _concerns(self) -> list[dict[str, Json]]:
        """List what custodians tell of their patients' corrections and complaints, what is due first at the top."""
        return _rows(self._local.call(REPORTED, {}, _LIMITS), "concerns", _CONCERN)

    def _status(self) -> Json:
        """Tell how the node is: its alarms, and what its newest blocks wait for."""
        return self._local.call("status", {}, _LIMITS)

    def _cosigned(self) -> tuple[Json, list[dict[str, Json]]]:
        """Tell up to where the ledger is final, and of each member what it cosigned last, those that are late first."""
        answer = self._local.call(ROLL_CALL, {}, _LIMITS)
        return as_object(answer).get("final"), _rows(answer, "members", _MEMBER)

    def _witnesses(self) -> list[dict[str, Json]]:
        """Tell of each outside witness that this node asks what it has cosigned for it last, and what is amiss."""
        return _rows(self._local.call(WITNESSES, {}, _LIMITS), "witnesses", _WITNESS)

    def _endorsed(self) -> tuple[Json, list[dict[str, Json]]]:
        """Tell over how many days, and how many transactions of whom and of what kind each member endorsed in them."""
        answer = self._local.call(ENDORSED, {}, _LIMITS)
        return as_object(answer).get("days"), _rows(answer, "rows", _ENDORSED)

    def _shown(self, row: Mapping[str, Json]) -> dict[str, str]:
        """Show an emergency that is late."""
        objection = row["objection"]
        return {
            "owner": str(row["owner"]),
            "staff": str(row["staff"]),
            "reason": str(row["reason"]),
            "time": self._time(row["time"]),
            "due": self._time(row["due"]),
            "objection": str(objection.get("reason", "")) if isinstance(objection, dict) else "",
        }

    def _shown_lacking(self, one: Lacking, named: Json) -> dict[str, object]:
        """Show whose cosignatures a set of members lacks."""

        def names(org_ids: Sequence[str]) -> str:
            return self._pages.say("patient.comma").join(organisation_name(named, org_id) for org_id in org_ids)

        return {"needed": one.needed, "missing": names(one.missing), "leaving": names(one.leaving)}

    def _shown_concern(self, row: Mapping[str, Json]) -> dict[str, object]:
        """Show a correction or complaint that is late."""
        texts = row["texts"]
        return {
            "custodian": row["custodian"],
            "kind": row["kind"],
            "opened": self._time(row["opened"]),
            "due": self._time(row["due"]),
            "position": row["position"],
            "texts": [text for text in texts if text] if isinstance(texts, list) else [],
        }

    def _shown_witness(self, row: Mapping[str, Json], now: int) -> dict[str, object]:
        """Show an outside witness; one that has not been asked yet is not late."""
        time = as_number(row["time"])
        state = "amiss" if row["code"] else "late" if 0 < time < now - _WITNESS_LATE_S else ""
        return {
            **row,
            "state": state,
            "said": self._meaning("witness", row["code"]),
            "count": (now - time) // 60,
            "time": self._time(time) if time else "",
        }

    def _meaning(self, table: str, code: Json) -> str:
        """Say what a code means, or what all of its area do; empty for one that nothing is known of."""
        area = str(code).partition(".")[0]
        return self._pages.say_or(f"{table}.{code}", self._pages.say_or(f"{table}.{area}", ""))

    def _time(self, value: Json) -> str:
        """Show a time of the daemon's."""
        return self._pages.moment(value) if isinstance(value, int) else ""


def _alarms(status: Json) -> list[dict[str, Json]]:
    """List the alarms that nobody has acknowledged."""
    return _rows(status, "alarms", _ALARM)


def _rows(answer: Json, name: str, fields: Sequence[str]) -> list[dict[str, Json]]:
    """Read rows of the daemon's, the named members alone."""
    rows = as_objects(as_object(answer).get(name))
    return [{field: row.get(field) for field in fields} for row in rows]


def _cell(value: Json) -> str:
    """Write a cell; what a spreadsheet would take for a formula is text."""
    text = value if isinstance(value, str) else canonical(value).decode("utf-8")
    return f"'{text}" if text.startswith(_FORMULA) else text
