"""Tables of invoices, and reports (docs/spec/claim-question.md, 15)."""

from __future__ import annotations

import csv
import io

import pytest

from medchain.claims import batch
from medchain.claims.batch import plain_amount, read_table, write_report
from medchain.errors import InputError
from medchain.ledger.invoice import Scope
from tests.unit.medchain.claims.questions import row

TABLE = """issuer,code,number,date,check_code,amount,remark
99010001,99060225,1774778511,2025-09-06,rha0jt,"8,422.80",first
99010001,99060225,1774778511,2025-09-06,,8422.80,=1+1
"""


def test_a_table_is_read_row_by_row_and_a_bad_row_stops_no_other():
    table = read_table(TABLE.encode())
    assert table.rows == (row(), "invoice.check_code")
    assert table.header[-1] == "remark"


def test_spreadsheets_in_chinese_are_read_in_both_encodings():
    text = "开票单位代码,票据代码,票据号码,开票日期,校验码,金额,行号\n"
    text += "99010001,99060225,1774778511,2025年9月6日,rha0jt,,3\n"
    expected = row(date="2025年9月6日", amount="", currency="", scope=Scope.ITEM, line=3)
    for data in (text.encode("utf-8-sig"), text.encode("gb18030")):
        assert read_table(data).rows == (expected,)


def test_another_currency_is_that_of_its_column():
    data = b"issuer,number,date,check_code,amount,currency\n99010001,1,2025-09-06,rha0jt,5.00,HKD\n"
    [read] = read_table(data).rows
    assert (read.currency, read.code) == ("HKD", "")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "claim.csv_rows"),
        (b"issuer,number,date,check_code\n", "claim.csv_rows"),
        (b"issuer,number,date\n1,2,3\n", "claim.csv_column"),
        (b"issuer,number,date,check_code,number\n1,2,3,4,5\n", "claim.csv_column"),
        (b"issuer,number,date,check_code\n1,2,3\n", "claim.csv"),
        (b'issuer,number,date,check_code\n1,2,3,"4\n', "claim.csv"),
        (b"\xff\xff\xff", "claim.csv"),
    ],
)
def test_what_is_no_table_is_refused(data, code):
    with pytest.raises(InputError) as refused:
        read_table(data)
    assert refused.value.code == code


def test_too_many_rows_are_refused(monkeypatch):
    monkeypatch.setattr(batch, "MAX_ROWS", 1)
    with pytest.raises(InputError, match=r"claim\.csv_rows"):
        read_table(TABLE.encode())


@pytest.mark.parametrize("line", ["x", "-1", "1" * 5000, "\uff11"])
def test_a_line_that_is_no_number_is_a_bad_row(line):
    data = f"issuer,number,date,check_code,line\n99010001,1,2025-09-06,rha0jt,{line}\n"
    assert read_table(data.encode()).rows == ("invoice.line",)


def test_a_report_is_the_table_with_what_came_of_each_row_and_no_formula():
    table = read_table(TABLE.encode())
    found = {"claim_id": "", "differs": "", "finding": "free", "hospital": "renhe", "meaning": "free", "reason": ""}
    written = write_report(table, [found, found | {"finding": "malformed", "reason": "-x"}], "meaning")
    rows = list(csv.reader(io.StringIO(written)))
    assert rows[0] == [*table.header, "meaning", "finding", "hospital", "claim_id", "differs", "reason"]
    assert rows[1] == [*table.cells[0], "free", "free", "renhe", "", "", ""]
    assert (rows[2][6], rows[2][-1]) == ("'=1+1", "'-x")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1,234.50", "1234.50"),
        (" 12,345,678 ", "12345678"),
        ("8422.80", "8422.80"),
        # A comma that is no mark of thousands is left, so that the amount is refused and not a hundred times as much.
        ("9,50", "9,50"),
        ("1,2345", "1,2345"),
        (",500", ",500"),
        ("1234,567", "1234,567"),
    ],
)
def test_marks_of_thousands_are_left_out_and_other_commas_are_not(written, read):
    assert plain_amount(written) == read


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠a"])  # noqa: RUF001  # the wide forms
def test_attack_no_cell_of_a_report_is_a_formula(cell):
    quoted = f'"{cell}"'
    table = read_table(f"issuer,number,date,check_code,remark\n99010001,1,2025-09-06,rha0jt,{quoted}\n".encode())
    assert table.cells[0][-1] == cell
    found = dict.fromkeys(("claim_id", "differs", "finding", "hospital", "meaning", "reason"), cell)
    rows = list(csv.reader(io.StringIO(write_report(table, [found], cell), newline="")))
    assert [one for row in rows for one in row if one.startswith(cell)] == []
    assert rows[1].count(f"'{cell}") == 7
