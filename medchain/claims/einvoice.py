"""Whether an electronic medical invoice is one, asked of a service beside the consortium: interface, and one over HTTP.

The finance ministry's receipts (财政电子票据) are checked by code, number, check code, date and amount. No public
specification of how a machine asks for that was found, so the form here is ours: who has access to a service puts a
translation beside the node (`docs/adr/0082-an-e-invoice-check-has-our-own-form.md`). Keeps true: where none is
configured nothing is said; nothing but those five leaves, and no patient; a service that hangs, redirects, floods or
answers in another form is one that does not answer; what a stand-in says is never taken for the ministry's, and outside
of a demo never taken at all; the token is in no log and no error. Trusts the service for what it says.
Source: `docs/spec/einvoice.md`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from medchain.encoding import Json, canonical, members, parse_canonical
from medchain.errors import InputError, MedchainError, UnavailableError
from medchain.ledger.claim_question import AskedRow
from medchain.ledger.invoice import Scope
from medchain.node.config import EInvoiceService
from medchain.node.log import Log
from medchain.node.peer_auth import PeerRequest
from medchain.node.peers import HttpPool, Limits, tls_context

CHECK_TYPE: Final = "medchain/e-invoice-check/v1"
"""Type of what is asked."""

CHECKED_TYPE: Final = "medchain/e-invoice-checked/v1"
"""Type of what is answered."""

EINVOICE: Final = "einvoice"
"""Column, and member of a row, in which a service answers; there only where one is asked."""

LIMITS: Final = Limits(timeout_s=10.0, max_bytes=4096)
"""Time for one call, and size of its answer."""

BUDGET_S: Final = 240.0
"""Time for all calls of one batch; what is not asked by then is told as not answered."""

AT_ONCE: Final = 4
"""How many calls are made beside each other."""

MAX_FAILURES: Final = 5
"""After so many calls of a batch in vain no further one is made."""

_NAME: Final = "e-invoice"
_ASKED: Final = ("amount", "check_code", "code", "currency", "date", "number")
_MAX_TOKEN_BYTES: Final = 4096
_LOG: Final = Log("einvoice")


class Said(StrEnum):
    """What is said of an invoice."""

    GENUINE = "genuine"
    """It was issued, with this check code, date and amount."""
    OTHERWISE = "otherwise"
    """One of that code and number was issued, with another check code, date or amount."""
    REVERSED = "reversed"
    """It was issued, and taken back."""
    UNKNOWN = "unknown"
    """None of that code and number was issued."""
    UNREACHABLE = "unreachable"
    """The service does not answer, or not in its form."""
    NOT_ASKED = "not_asked"
    """It has no code or no amount, is a line of an invoice, or a copy on paper: it cannot be asked for."""


ANSWERS: Final = frozenset({Said.GENUINE, Said.OTHERWISE, Said.REVERSED, Said.UNKNOWN})
"""What a service itself can say."""

DOUBTED: Final = frozenset({Said.OTHERWISE.value, Said.REVERSED.value, Said.UNKNOWN.value})
"""What it says of those that somebody should look at."""


@dataclass(frozen=True, slots=True)
class EInvoiceAnswer:
    """What came of one invoice.

    Attributes:
        said: in one word.
        is_stand_in: whether a stand-in said it, and no service of the ministry's.
    """

    said: Said
    is_stand_in: bool = False

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {"answer": self.said.value, "stand_in": self.is_stand_in}


class EInvoices(Protocol):
    """Tells whether invoices are genuine."""

    def check(self, rows: Sequence[AskedRow]) -> list[EInvoiceAnswer]:
        """Ask for invoices; never raises: what is not known is said in its place."""
        ...


class HttpEInvoices:
    """Asks a service over HTTP. Threads may share it."""

    __slots__ = ("_clock", "_may_stand_in", "_pool", "_target", "_token")

    def __init__(
        self, service: EInvoiceService, *, may_stand_in: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            service: where it is.
            may_stand_in: whether this ledger is a demo, where a stand-in may answer.
            clock: gives seconds that only grow.
        """
        parts = urlsplit(service.url)
        context = tls_context(service.authorities) if parts.scheme == "https" else None
        self._pool = HttpPool(f"{parts.scheme}://{parts.netloc}", _NAME, context)
        self._target = parts.path or "/"
        self._token = service.token
        self._may_stand_in = may_stand_in
        self._clock = clock

    def check(self, rows: Sequence[AskedRow]) -> list[EInvoiceAnswer]:
        """Ask for invoices, several at once.

        Args:
            rows: what is held of each.

        Returns:
            What came of each, in order.
        """
        try:
            headers = self._headers()
        except UnavailableError as error:
            _LOG.warning("einvoice.failed", code=error.code)
            return [EInvoiceAnswer(Said.UNREACHABLE if _is_askable(row) else Said.NOT_ASKED) for row in rows]
        until, failures = self._clock() + BUDGET_S, list[str]()

        def one(row: AskedRow) -> EInvoiceAnswer:
            if not _is_askable(row):
                return EInvoiceAnswer(Said.NOT_ASKED)
            if len(failures) >= MAX_FAILURES or self._clock() >= until:
                return EInvoiceAnswer(Said.UNREACHABLE)
            try:
                return self._asked(row, headers)
            except MedchainError as error:
                failures.append(error.code)
                # What it calls its refusal is its own text: no more of it than that there was one.
                _LOG.warning(
                    "einvoice.failed", code=error.code if error.code.startswith("peer.") else "einvoice.refused"
                )
                return EInvoiceAnswer(Said.UNREACHABLE)

        with ThreadPoolExecutor(AT_ONCE) as callers:
            return list(callers.map(one, rows))

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()

    def _headers(self) -> dict[str, str]:
        """Say who asks; the token is read anew for each batch, so that a new one needs no restart."""
        headers = {"Content-Type": "application/json"}
        return headers if self._token is None else {**headers, "Authorization": f"Bearer {_token_in(self._token)}"}

    def _asked(self, row: AskedRow, headers: Mapping[str, str]) -> EInvoiceAnswer:
        """Ask for one; raises what the call does, `InputError` for an answer of another form."""
        answer = self._pool.request(PeerRequest("POST", self._target, check_document(row)), headers, LIMITS)
        found = read_answer(answer.body)
        if found.is_stand_in and not self._may_stand_in:
            # Of a real ledger nobody may believe that the ministry was asked.
            raise InputError("einvoice.stand_in")
        return found


def check_document(row: AskedRow) -> bytes:
    """Write what is asked for an invoice."""
    held = row.to_json()
    return canonical({**{name: held[name] for name in _ASKED}, "type": CHECK_TYPE})


def read_answer(document: bytes) -> EInvoiceAnswer:
    """Read an answer strictly; raises `InputError`."""
    top = members(
        parse_canonical(document, max_bytes=LIMITS.max_bytes), {"answer": str, "type": str}, {"stand_in": bool}
    )
    if top["type"] != CHECKED_TYPE or top["answer"] not in ANSWERS:
        raise InputError("einvoice.answer")
    return EInvoiceAnswer(Said(str(top["answer"])), top.get("stand_in") is True)


def _is_askable(row: AskedRow) -> bool:
    """Tell whether a row says all that such a check needs."""
    return row.scope is Scope.INVOICE and bool(row.code) and bool(row.amount)


def _token_in(path: Path) -> str:
    """Read the token; raises `UnavailableError` ``einvoice.token`` for what is none."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_TOKEN_BYTES + 1).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UnavailableError("einvoice.token") from error
    if not 0 < len(text) <= _MAX_TOKEN_BYTES or not text.isprintable() or " " in text:
        raise UnavailableError("einvoice.token")
    return text
