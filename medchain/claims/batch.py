"""Batches: invoices as rows of a table that an insurer's desk keeps, and what came of each beside it.

Keeps true: a row is asked for as it is written; what cannot be read is said in its own place and stops no other row; no
cell of a report is taken for a formula by who opens it. Pure. Trusts nothing that is read.
Source: RFC 4180; `docs/spec/claim-question.md` 15.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from medchain.errors import InputError
from medchain.ledger.claim_question import AskedRow, read_row
from medchain.ledger.invoice import Scope

MAX_ROWS: Final = 100_000
"""Most invoices of one table."""

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "issuer": ("issuer", "开票单位代码"),
    "code": ("code", "票据代码"),
    "number": ("number", "票据号码"),
    "date": ("date", "开票日期"),
    "check_code": ("check_code", "校验码"),
    "amount": ("amount", "金额"),
    "currency": ("currency", "币种"),
    "line": ("line", "行号"),
}
"""Member of a row → names of its column."""

REPORT: Final = ("meaning", "finding", "hospital", "claim_id", "differs", "reason")
"""Columns that a report adds; the first in words, under a name in the reader's language."""

CURRENCY: Final = "CNY"
"""Currency of amounts where no column says one."""

_REQUIRED: Final = ("issuer", "number", "date", "check_code")
# Spreadsheets of East Asia take the wide forms, too.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  # the wide forms
_GROUPED: Final = re.compile(r"-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")
_LINE: Final = re.compile(r"[0-9]{1,4}")
_ENCODINGS: Final = ("utf-8-sig", "gb18030")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of invoices.

    Attributes:
        header: names of its columns, as written.
        cells: of each row, as many as there are columns.
        rows: what is asked for of each; the code of what is wrong with it where it cannot be asked for.
    """

    header: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    rows: tuple[AskedRow | str, ...]


def read_table(data: bytes) -> Table:
    """Read a table.

    Args:
        data: CSV with a header, in UTF-8 or, as spreadsheets in China write it, GB 18030.

    Returns:
        The table.

    Raises:
        InputError: ``claim.csv`` for what is none, or has another number of cells in a row; ``claim.csv_column`` where
            a column is missing or there twice; ``claim.csv_rows`` for none, or too many.
    """
    try:
        lines = [tuple(line) for line in csv.reader(io.StringIO(_decoded(data), newline=""), strict=True) if line]
    except csv.Error as error:
        raise InputError("claim.csv") from error
    if not lines:
        raise InputError("claim.csv_rows", most=MAX_ROWS)
    header, cells = lines[0], tuple(lines[1:])
    if not 0 < len(cells) <= MAX_ROWS:
        raise InputError("claim.csv_rows", most=MAX_ROWS)
    if any(len(row) != len(header) for row in cells):
        raise InputError("claim.csv")
    places = _places(header)
    return Table(header, cells, tuple(_row(row, places) for row in cells))


def column_name(member: str, language: str) -> str:
    """Name a column as a table's header has it.

    Args:
        member: one of `COLUMNS`.
        language: ``zh`` or ``en``.
    """
    english, chinese = COLUMNS[member]
    return chinese if language == "zh" else english


def write_report(table: Table, found: Sequence[Mapping[str, str]], meaning: str, more: Sequence[str] = ()) -> str:
    """Write a table again, with what came of each row beside it.

    Args:
        table: as it was read.
        found: what came of each row, by the names of `REPORT`.
        meaning: name of the column that says it in words.
        more: names of further columns, which stand at the end.

    Returns:
        CSV.
    """
    made = io.StringIO(newline="")
    writer = csv.writer(made)
    writer.writerow(map(_plain, (*table.header, meaning, *REPORT[1:], *more)))
    for cells, row in zip(table.cells, found, strict=True):
        writer.writerow(map(_plain, (*cells, *(row[name] for name in (*REPORT, *more)))))
    return made.getvalue()


def plain_amount(text: str) -> str:
    """Write an amount without marks of thousands; a comma that is none stays, and is refused: 9,50 is not 950."""
    told = text.strip()
    return told.replace(",", "") if _GROUPED.fullmatch(told) else told


def _decoded(data: bytes) -> str:
    """Read text in the first encoding that it can be in."""
    for encoding in _ENCODINGS:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError("claim.csv")


def _places(header: Sequence[str]) -> dict[str, int]:
    """Find the columns of a header."""
    found: dict[str, int] = {}
    for place, name in enumerate(header):
        member = next((one for one, names in COLUMNS.items() if name.strip().lower() in names), None)
        if member in found:
            raise InputError("claim.csv_column", column=member)
        if member is not None:
            found[member] = place
    missing = next((name for name in _REQUIRED if name not in found), None)
    if missing is not None:
        raise InputError("claim.csv_column", column=missing)
    return found


def _row(cells: Sequence[str], places: Mapping[str, int]) -> AskedRow | str:
    """Read what is asked for; the code of what is wrong where it cannot be."""
    told = {name: cells[places[name]].strip() if name in places else "" for name in COLUMNS}
    line, amount = told.pop("line"), plain_amount(told["amount"])
    if line and not _LINE.fullmatch(line):
        return "invoice.line"
    currency = (told["currency"] or CURRENCY) if amount else ""
    scope = Scope.ITEM if line else Scope.INVOICE
    try:
        return read_row({**told, "amount": amount, "currency": currency, "line": int(line or 0), "scope": scope.value})
    except InputError as error:
        return error.code


def _plain(cell: str) -> str:
    """Write a cell that a spreadsheet takes for text."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
