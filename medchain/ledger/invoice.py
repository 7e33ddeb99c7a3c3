"""Which invoice is meant, spelled in one way; how the id of its claims follows from it; exact amounts of money.

An invoice is on paper, in an electronic file and in what people type: with other spaces, hyphens, full-width digits and
dates. Keeps true: every form of one invoice is spelled the same, and what cannot be is refused, so that its issuer's
verifiable random function gives it one id; an amount is a whole number of its currency's smallest unit, never a float.
Pure. Trusts nothing that is read.
Source: `docs/spec/claim.md` 1–4; Unicode Standard Annex 15 (NFKC); ISO 4217; FHIR R4 Money.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from medchain.dates import day_text
from medchain.encoding import Json, digest, digest_input
from medchain.errors import InputError
from medchain.ledger.transaction import ID_BYTES

MAX_LINE: Final = 9999
"""Highest number of an item line."""

MAX_MINOR: Final = 10**15
"""Largest amount in minor units."""

MAX_TEXT: Final = 200
"""Longest text that is looked at."""

_CODE: Final = re.compile(r"[0-9A-Z]{1,32}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_DECIMAL: Final = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,9}))?")
_DATE: Final = re.compile(
    r"([0-9]{4})(?:([0-9]{2})([0-9]{2})|([-/.年])([0-9]{1,2})([-/.月])([0-9]{1,2})日?)(?:T[0-9:.]{1,18}(?:Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
_EPOCH: Final = date(1970, 1, 1).toordinal()
_LAST_DAY: Final = date.max.toordinal() - _EPOCH
_PARTED: Final = frozenset({("-", "-"), ("/", "/"), (".", "."), ("年", "月")})
# Latin, punctuation, numbers in circles, what Chinese and wide writing has, parts of dates: hardly any is added there.
# Whoever has a newer Unicode knows more characters elsewhere, some of them digits, and would spell otherwise.
_WRITTEN: Final = re.compile(
    r"[\x00-\xff\u2000-\u206f\u2100-\u214f\u2460-\u24ff\u2f00-\u2fd5\u3000-\u303f"
    r"\u30fb\u5e74\u65e5\u6708\ufe30-\ufe6f\ufeff\uff00-\uffef]*"
)
# Categories of Unicode: separators, punctuation, and characters that are not seen.
_BETWEEN: Final = ("Z", "P", "Cc", "Cf")
_USUAL_EXPONENT: Final = 2
_EXPONENTS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI"), 0),
    **dict.fromkeys(("VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
_MEMBERS: Final = ("code", "date", "issuer", "line", "number", "scope")


class Scope(StrEnum):
    """Of what an id is."""

    ENCOUNTER = "encounter"
    """A visit or stay, by its number and first day."""
    INVOICE = "invoice"
    """A whole invoice."""
    ITEM = "item"
    """One line of an invoice."""


@dataclass(frozen=True, slots=True)
class InvoiceFields:
    """What names an invoice, an item of it, or a visit; spelled in the one way.

    Attributes:
        scope: which of these.
        issuer: code of who issued it, such as a hospital's code in the register of invoices.
        code: invoice code; empty for a visit, and for an issuer whose invoices have none.
        number: invoice number, or that of the visit.
        day: its date, or the first day of the visit; days since 1970-01-01.
        line: number of the item's line, from 1; 0 but for an item.
    """

    scope: Scope
    issuer: str
    code: str
    number: str
    day: int
    line: int

    @property
    def date(self) -> str:
        """The day as ``YYYY-MM-DD``."""
        return day_text(self.day)

    @property
    def alpha(self) -> bytes:
        """What the issuer's verifiable random function is computed of."""
        texts = (self.scope, self.issuer, self.code, self.number, self.date, str(self.line))
        return digest_input("medchain/invoice/v1", *(text.encode("ascii") for text in texts))

    def to_content(self) -> dict[str, Json]:
        """Write the fields, as bodies and questions have them."""
        return {
            "code": self.code,
            "date": self.date,
            "issuer": self.issuer,
            "line": self.line,
            "number": self.number,
            "scope": self.scope.value,
        }


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount of money.

    Attributes:
        minor: in the smallest unit of its currency, such as fen; not negative.
        currency: ISO 4217 code.
    """

    minor: int
    currency: str

    @property
    def text(self) -> str:
        """The amount as a decimal with all digits of its currency, such as ``1234.50``."""
        exponent = exponent_of(self.currency)
        whole, part = divmod(self.minor, 10**exponent)
        return f"{whole}.{part:0{exponent}}" if exponent else str(whole)


def claim_id(beta: bytes) -> bytes:
    """Derive the object id of an invoice's claims.

    Args:
        beta: output of the issuer's verifiable random function over `InvoiceFields.alpha`, 64 bytes.

    Returns:
        16 bytes.
    """
    return digest("medchain/claim-id/v1", beta)[:ID_BYTES]


def spelled(text: str, member: str) -> str:
    """Spell a code or number in the one way: compatible forms made one, upper case, what stands between dropped.

    Args:
        text: as it stands somewhere: ``a 1234-5678`` is ``A12345678``, ``沪A 1234`` has no such spelling.
        member: what it is, for the error.

    Returns:
        1 to 32 of ``0-9A-Z``.

    Raises:
        InputError: ``invoice.MEMBER`` for what cannot be spelled so.
    """
    if not _is_written(text):
        raise InputError("invoice." + member)
    kept = "".join(one for one in unicodedata.normalize("NFKC", text) if not _is_between(one))
    # Of letters beyond ASCII upper case makes others, such as I of the dotless one: two writings would be one.
    made = kept.upper() if kept.isascii() else ""
    if _CODE.fullmatch(made) is None:
        raise InputError("invoice." + member)
    return made


def day_of(text: str) -> int:
    """Read the date of an invoice, however it is written.

    Args:
        text: ``2025-09-25``, ``2025/9/25``, ``2025.9.25``, ``20250925`` or ``2025年9月25日``, in any width of digits;
            of a FHIR dateTime the day that is written.

    Returns:
        Days since 1970-01-01.

    Raises:
        InputError: ``invoice.date``.
    """
    match = _DATE.fullmatch("".join(unicodedata.normalize("NFKC", text).split())) if _is_written(text) else None
    if match is None:
        raise InputError("invoice.date")
    year, month, day, first, parted_month, second, parted_day, *_ = match.groups()
    if first is not None and (first, second) not in _PARTED:
        raise InputError("invoice.date")
    try:
        found = date(int(year), int(month or parted_month), int(day or parted_day)).toordinal() - _EPOCH
    except ValueError as error:
        raise InputError("invoice.date") from error
    if found < 0:
        raise InputError("invoice.date")
    return found


def invoice_of(scope: Scope, issuer: str, code: str, number: str, day: int, line: int = 0) -> InvoiceFields:
    """Spell what names an invoice.

    Args:
        scope: of what.
        issuer: code of who issued it, as written.
        code: invoice code, as written; empty where there is none.
        number: its number, as written.
        day: from `day_of`.
        line: of an item its line, else 0.

    Returns:
        The fields.

    Raises:
        InputError: ``invoice.issuer``, ``.code``, ``.number``, ``.date``, ``.line``.
    """
    if scope is Scope.ENCOUNTER and code:
        # It would be a second id of one visit.
        raise InputError("invoice.code")
    if not 0 <= day <= _LAST_DAY:
        raise InputError("invoice.date")
    if not (1 <= line <= MAX_LINE if scope is Scope.ITEM else line == 0):
        raise InputError("invoice.line")
    return InvoiceFields(
        scope, spelled(issuer, "issuer"), spelled(code, "code") if code else "", spelled(number, "number"), day, line
    )


def read_invoice(content: Mapping[str, Json]) -> InvoiceFields:
    """Read fields that must be spelled in the one way already, from `InvoiceFields.to_content` among others.

    Raises:
        InputError: ``invoice.*`` for another spelling, ``invoice.malformed`` for another form.
    """
    told = {name: content.get(name) for name in _MEMBERS}
    texts = {name: value for name, value in told.items() if type(value) is str}
    line = told["line"]
    if texts.keys() != set(_MEMBERS) - {"line"} or type(line) is not int or texts["scope"] not in [*Scope]:
        raise InputError("invoice.malformed")
    made = invoice_of(
        Scope(texts["scope"]), texts["issuer"], texts["code"], texts["number"], day_of(texts["date"]), line
    )
    if made.to_content() != told:
        raise InputError("invoice.spelling")
    return made


def amount_of(value: str, currency: str) -> Amount:
    """Read an amount exactly.

    Args:
        value: the digits as they were received, such as FHIR's ``"1234.50"``.
        currency: ISO 4217 code.

    Returns:
        The amount.

    Raises:
        InputError: ``invoice.currency``, ``invoice.amount`` for what is negative, has more digits than the currency, or
            is beyond `MAX_MINOR`.
    """
    exponent = exponent_of(currency)
    match = _DECIMAL.fullmatch(value)
    if match is None:
        raise InputError("invoice.amount")
    whole, part = match.group(1), (match.group(2) or "").rstrip("0")
    if len(part) > exponent:
        raise InputError("invoice.amount")
    return Amount(checked_minor(int(whole + part.ljust(exponent, "0"))), currency)


def checked_minor(value: Json) -> int:
    """Take an amount in minor units; raises `InputError` ``invoice.amount`` for what is none."""
    if type(value) is not int or not 0 <= value <= MAX_MINOR:
        raise InputError("invoice.amount")
    return value


def exponent_of(currency: Json) -> int:
    """Return how many decimal digits a currency has (ISO 4217); raises `InputError` ``invoice.currency``."""
    if type(currency) is not str or _CURRENCY.fullmatch(currency) is None:
        raise InputError("invoice.currency")
    return _EXPONENTS.get(currency, _USUAL_EXPONENT)


def _is_written(text: str) -> bool:
    """Tell whether a text is short enough, and of characters that every reader takes for the same."""
    return len(text) <= MAX_TEXT and _WRITTEN.fullmatch(text) is not None


def _is_between(character: str) -> bool:
    """Tell whether a character stands between others and says nothing."""
    return unicodedata.category(character).startswith(_BETWEEN)
