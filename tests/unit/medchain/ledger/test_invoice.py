"""What names an invoice has one spelling, whatever it is written on; amounts are exact."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medchain.errors import InputError
from medchain.ledger.invoice import (
    MAX_LINE,
    MAX_MINOR,
    Amount,
    InvoiceFields,
    Scope,
    amount_of,
    checked_minor,
    claim_id,
    day_of,
    exponent_of,
    invoice_of,
    read_invoice,
    spelled,
)

DAY = (date(2025, 9, 25) - date(1970, 1, 1)).days
INVOICE = InvoiceFields(Scope.INVOICE, "12990100MB0001", "99060125", "1774778511", DAY, 0)


def wide(text: str) -> str:
    """Write in full-width forms, as Chinese keyboards do."""
    return "".join(chr(ord(one) + 0xFEE0) for one in text)


def tagged(*fields: bytes) -> bytes:
    """Put together what a tagged digest hashes, by hand (`docs/spec/encoding.md`)."""
    return b"".join(len(field).to_bytes(8, "big") + field for field in fields)


# The one spelling


@pytest.mark.parametrize(
    "written",
    [
        "1774778511",
        wide("1774778511"),
        " 1774 7785 11 ",
        "1774-7785-11",
        "1774\N{FULLWIDTH HYPHEN-MINUS}778511",
        "1774\N{EN DASH}778511",
        "1774.778.511",
        "1774/778511",
        "1774\N{MIDDLE DOT}778511",
        "1774\N{KATAKANA MIDDLE DOT}778511",
        "1774\N{IDEOGRAPHIC SPACE}778511\t",
        "\N{ZERO WIDTH NO-BREAK SPACE}1774\N{ZERO WIDTH SPACE}778511",
        "(1774)778511",
        "\N{CIRCLED DIGIT ONE}77" + wide("4778511"),
    ],
)
def test_every_way_of_writing_a_number_is_one(written):
    assert spelled(written, "number") == "1774778511"


def test_letters_are_upper_case_in_any_width():
    assert spelled("\N{FULLWIDTH LATIN SMALL LETTER A}b-\N{KELVIN SIGN}9", "code") == "ABK9"


@pytest.mark.parametrize(
    "written",
    [
        "",
        "  -- ",
        "沪A1234",
        "1774+778511",
        "9" * 33,
        "-" * 199 + "12",
        "\N{LATIN SMALL LETTER DOTLESS I}1",
        "stra\N{LATIN SMALL LETTER SHARP S}e",
        "\N{CYRILLIC CAPITAL LETTER A}1",
        "\N{ARABIC-INDIC DIGIT ONE}2",
        "1\N{COMBINING ACUTE ACCENT}",
        "\N{MATHEMATICAL DOUBLE-STRUCK DIGIT ONE}2",
        # Digits, and punctuation, since Unicode 16: readers before it know none of them.
        "1\U0001ccf1",
        "1\u1b4e2",
    ],
)
def test_what_is_no_code_is_refused(written):
    with pytest.raises(InputError, match=r"^invoice\.number"):
        spelled(written, "number")


@given(st.text(max_size=40))
def test_the_one_spelling_is_its_own_and_that_of_what_is_pasted_with_blanks(text):
    try:
        made = spelled(text, "code")
    except InputError:
        return
    assert spelled(made, "code") == spelled(f" {made.lower()} - ", "code") == made


@pytest.mark.parametrize(
    "written",
    [
        "2025-09-25",
        "2025-9-25",
        "20250925",
        "2025/9/25",
        "2025.09.25",
        "2025年9月25日",
        "2025年09月25",
        f" {wide('2025')} 年 {wide('9')} 月 {wide('25')} 日 ",
        "2025-09-25T23:59:59.999+08:00",
        "2025-09-25T00:00:00Z",
        "2025-09-25T08:00",
    ],
)
def test_every_way_of_writing_a_day_is_one(written):
    assert day_of(written) == DAY


@pytest.mark.parametrize(
    "written",
    [
        "",
        "2025-09",
        "2025-02-29",
        "2025-13-01",
        "20251301",
        "25-09-2025",
        "2025-09/25",
        "2025年9-25",
        "1969-12-31",
        "0000-01-01",
        "2025-09-25 later",
        "2025-09-25T",
        "2025925",
        "2025-09-25" + " " * 999 + "x",
        "202\U0001ccf5-09-25",
    ],
)
def test_what_is_no_day_is_refused(written):
    with pytest.raises(InputError, match=r"^invoice\.date"):
        day_of(written)


def test_the_fields_are_those_of_the_page():
    made = invoice_of(Scope.INVOICE, "12990100mb 0001", "9906 0125", wide("1774778511"), day_of("2025年9月25日"))
    assert made == INVOICE
    assert made.to_content() == {
        "code": "99060125",
        "date": "2025-09-25",
        "issuer": "12990100MB0001",
        "line": 0,
        "number": "1774778511",
        "scope": "invoice",
    }
    assert read_invoice({**made.to_content(), "total": 5}) == made


def test_alpha_is_that_of_the_page():
    fields = (b"invoice", b"12990100MB0001", b"99060125", b"1774778511", b"2025-09-25", b"0")
    assert INVOICE.alpha == tagged(b"medchain/invoice/v1", *fields)


def test_each_field_alone_makes_another_alpha():
    changes = [
        {"scope": Scope.ENCOUNTER},
        {"issuer": "1"},
        {"code": "9906012"},
        {"number": "51774778511"},
        {"day": DAY + 1},
        {"line": 1},
    ]
    assert len({INVOICE.alpha, *(replace(INVOICE, **change).alpha for change in changes)}) == len(changes) + 1


def test_fields_cannot_slide_into_each_other():
    one = replace(INVOICE, code="99060125", number="1774778511")
    assert one.alpha != replace(INVOICE, code="990601251", number="774778511").alpha


def test_the_claim_id_is_that_of_the_page():
    beta = bytes(range(64))
    assert claim_id(beta) == hashlib.sha256(tagged(b"medchain/claim-id/v1", beta)).digest()[:16]


@pytest.mark.parametrize(
    ("changes", "member"),
    [
        ({"issuer": ""}, "issuer"),
        ({"code": "?"}, "code"),
        ({"number": ""}, "number"),
        ({"line": 1}, "line"),
        ({"scope": Scope.ITEM}, "line"),
        ({"scope": Scope.ITEM, "line": MAX_LINE + 1}, "line"),
        ({"scope": Scope.ITEM, "line": -1}, "line"),
        ({"scope": Scope.ENCOUNTER}, "code"),
        ({"day": -1}, "date"),
        ({"day": 3_000_000}, "date"),
    ],
)
def test_what_names_nothing_is_refused(changes, member):
    told = {"scope": Scope.INVOICE, "issuer": "1", "code": "2", "number": "3", "day": DAY, "line": 0} | changes
    with pytest.raises(InputError, match=rf"^invoice\.{member}$"):
        invoice_of(**told)


def test_an_item_has_its_line_and_a_visit_no_code():
    item = invoice_of(Scope.ITEM, "1", "2", "3", DAY, 12)
    visit = invoice_of(Scope.ENCOUNTER, "1", "", "ZY2025-001", DAY)
    assert (item.line, visit.code, visit.number) == (12, "", "ZY2025001")
    assert read_invoice(item.to_content()) == item
    assert read_invoice(visit.to_content()) == visit


def test_an_invoice_may_have_no_code():
    made = invoice_of(Scope.INVOICE, "1", "", "3", DAY)
    assert read_invoice(made.to_content()) == made


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"code": "9906-0125"}, "spelling"),
        ({"issuer": "12990100mb0001"}, "spelling"),
        ({"number": wide("1")}, "spelling"),
        ({"date": "2025/09/25"}, "spelling"),
        ({"date": "2025-09-25T00:00:00Z"}, "spelling"),
        ({"line": True}, "malformed"),
        ({"line": None}, "malformed"),
        ({"code": None}, "malformed"),
        ({"scope": "receipt"}, "malformed"),
        ({"scope": 3}, "malformed"),
        ({"number": 1774778511}, "malformed"),
        ({"line": 1}, "line"),
        ({"date": "today"}, "date"),
    ],
)
def test_attack_a_second_spelling_is_no_second_id(changes, code):
    with pytest.raises(InputError, match=rf"^invoice\.{code}$"):
        read_invoice({**INVOICE.to_content(), **changes})


def test_fields_that_lack_a_member_are_refused():
    for name in INVOICE.to_content():
        content = INVOICE.to_content()
        del content[name]
        with pytest.raises(InputError, match=r"^invoice\.malformed$"):
            read_invoice(content)


# Amounts


@pytest.mark.parametrize(
    ("value", "currency", "minor", "text"),
    [
        ("1234.50", "CNY", 123450, "1234.50"),
        ("1234.5", "CNY", 123450, "1234.50"),
        ("1234", "CNY", 123400, "1234.00"),
        ("0.07", "CNY", 7, "0.07"),
        ("12.500", "CNY", 1250, "12.50"),
        ("0", "CNY", 0, "0.00"),
        ("1500", "JPY", 1500, "1500"),
        ("1500.00", "JPY", 1500, "1500"),
        ("1.234", "KWD", 1234, "1.234"),
        ("1.2345", "CLF", 12345, "1.2345"),
    ],
)
def test_an_amount_is_read_to_the_last_digit(value, currency, minor, text):
    amount = amount_of(value, currency)
    assert amount == Amount(minor, currency)
    assert amount.text == text
    assert amount_of(amount.text, currency) == amount


@pytest.mark.parametrize(
    ("value", "currency"),
    [
        ("1.005", "CNY"),
        ("1.5", "JPY"),
        ("-1", "CNY"),
        ("1e3", "CNY"),
        ("1,000", "CNY"),
        (".5", "CNY"),
        ("1.", "CNY"),
        ("", "CNY"),
        ("NaN", "CNY"),
        ("\N{FULLWIDTH DIGIT ONE}", "CNY"),
        ("1" * 16, "CNY"),
        ("9" * 15, "CNY"),
    ],
)
def test_what_is_no_amount_of_its_currency_is_refused(value, currency):
    with pytest.raises(InputError, match=r"^invoice\.amount$"):
        amount_of(value, currency)


@pytest.mark.parametrize("currency", ["", "cny", "RMB1", "¥", None, 156])
def test_what_is_no_currency_is_refused(currency):
    with pytest.raises(InputError, match=r"^invoice\.currency$"):
        exponent_of(currency)


@pytest.mark.parametrize("value", [-1, MAX_MINOR + 1, 1.0, "1", True, None])
def test_what_is_no_number_of_minor_units_is_refused(value):
    with pytest.raises(InputError, match=r"^invoice\.amount$"):
        checked_minor(value)


def test_the_largest_amount_is_one():
    assert checked_minor(MAX_MINOR) == MAX_MINOR
    assert amount_of("0", "CNY").minor == checked_minor(0)
