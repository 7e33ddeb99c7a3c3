"""What an insurer holds beside a claim, as forms ask for it: when the customer is insured, and which invoice it is.

Keeps true: what is wrong is said of the field that it is in, and nothing of the form is kept then; an invoice stands in
a form or a table, in no address. Trusts nothing that is typed or brought.
Source: `docs/spec/claim-case.md` 2; `docs/spec/claim-question.md` 15.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Final, NamedTuple

from flask import request
from werkzeug.datastructures import FileStorage, MultiDict

from fhir_bridge.claims_desk.check import FIELDS, read_typed
from medchain.claims import checks
from medchain.claims.batch import read_table
from medchain.encoding import Json, as_object
from medchain.errors import InputError
from medchain.ledger.claim_question import AskedRow
from medchain.ledger.evidence.document import MAX_WAITING_DAYS

_POLICY: Final = ("policy_start", "policy_end", "policy_waiting")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER: Final = re.compile(r"[0-9]{1,6}")


class Brought(NamedTuple):
    """What a form holds beside a claim.

    Attributes:
        policy: `docs/spec/claim-case.md` 2; None where nothing is said of it.
        row: the invoice; None where there is none.
    """

    policy: Json
    row: Json

    def said(self) -> dict[str, Json]:
        """Return only what is said, as `medchain.claims.cases.CaseClient.take` takes it."""
        return {name: one for name, one in self._asdict().items() if one is not None}


def read_terms() -> Brought:
    """Read policy and invoice from the form that is sent.

    Raises:
        InputError: ``case.policy_start .policy_end .policy_order .policy_waiting .policy_waits`` for the policy;
            ``invoice.*``, ``claim.malformed`` for what is typed of an invoice, ``claim.csv*``, ``claim.row`` for a
            table, ``case.invoice_twice`` for both.
    """
    form, table = request.form, request.files.get("invoice_table")
    return Brought(_policy(form), _invoice(form, table))


def typed_terms(case: Mapping[str, Json]) -> dict[str, str]:
    """Write what is kept with a case into the fields of the form."""
    policy, row = as_object(case.get("policy")), as_object(case.get("row"))
    waiting = policy.get("waiting_days")
    typed = {name: str(policy.get(name.partition("_")[2]) or "") for name in _POLICY[:2]}
    typed["policy_waiting"] = str(waiting) if waiting else ""
    return typed | {f"invoice_{name}": str(row.get(name, "")) for name in FIELDS}


def _policy(form: MultiDict[str, str]) -> Json:
    """Read when the customer is insured."""
    start, end, waiting = (form.get(name, "").strip() for name in _POLICY)
    if not (start or end or waiting):
        return None
    for code, day in (("case.policy_start", start), ("case.policy_end", end)):
        if day and not _is_day(day):
            raise InputError(code)
    # Days as they are written sort as they follow.
    if start and end and end < start:
        raise InputError("case.policy_order")
    if waiting and (_NUMBER.fullmatch(waiting) is None or int(waiting) > MAX_WAITING_DAYS):
        raise InputError("case.policy_waiting", limit=MAX_WAITING_DAYS)
    if int(waiting or 0) and not start:
        raise InputError("case.policy_waits")
    return {"end": end or None, "start": start or None, "waiting_days": int(waiting or 0)}


def _is_day(text: str) -> bool:
    """Tell whether a text is a day of the calendar."""
    try:
        return _DAY.fullmatch(text) is not None and date.fromisoformat(text) is not None
    except ValueError:
        return False


def _invoice(form: MultiDict[str, str], table: FileStorage | None) -> Json:
    """Read the invoice, from what is typed or from a table."""
    typed = {name: form.get(f"invoice_{name}", "").strip() for name in FIELDS}
    data = b"" if table is None else table.stream.read(checks.MAX_TABLE_BYTES + 1)
    if data:
        if any(typed.values()):
            raise InputError("case.invoice_twice")
        return _of_table(data, form.get("invoice_row", "").strip()).to_json()
    return read_typed(typed) if any(typed.values()) else None


def _of_table(data: bytes, chosen: str) -> AskedRow:
    """Read one row of a table; which, must be said where there are several."""
    if len(data) > checks.MAX_TABLE_BYTES:
        raise InputError("claim.csv_size")
    rows = read_table(data).rows
    place = int(chosen) if _NUMBER.fullmatch(chosen) else 0
    if not chosen and len(rows) == 1:
        place = 1
    if not 0 < place <= len(rows):
        raise InputError("claim.row", rows=len(rows))
    row = rows[place - 1]
    if isinstance(row, str):
        raise InputError(row)
    return row
