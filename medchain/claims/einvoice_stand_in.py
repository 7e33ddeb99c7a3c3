"""A stand-in for a service that checks electronic medical invoices, for tests and demonstrations.

It answers from a table as a service would, and says with each answer that it is a stand-in: nothing that it says comes
from the ministry. Keeps true: no answer of its lacks that word; it listens on this machine alone. Trusts its table.
Source: `docs/spec/einvoice.md` 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from medchain.claims.batch import Table
from medchain.claims.einvoice import CHECK_TYPE, CHECKED_TYPE, Said
from medchain.encoding import canonical, members, parse_canonical
from medchain.errors import InputError
from medchain.ledger.claim_question import AskedRow
from medchain.ledger.invoice import Amount, amount_of, day_of, spelled

STATE: Final = "state"
"""Column of a table in which ``reversed`` says that an invoice was taken back."""

MAX_BYTES: Final = 4096
"""Largest question."""

_QUESTION: Final = dict.fromkeys(("amount", "check_code", "code", "currency", "date", "number", "type"), str)


@dataclass(frozen=True, slots=True)
class _Issued:
    """An invoice of the table: its spelled check code, day, amount, and whether it was taken back."""

    check_code: str
    day: int
    amount: Amount | None
    is_reversed: bool


class StandIn:
    """Answers from a table. Threads may share it."""

    __slots__ = ("_issued",)

    def __init__(self, table: Table) -> None:
        """Take the invoices of a table; rows that cannot be read are none."""
        states = table.header.index(STATE) if STATE in table.header else None
        self._issued: Mapping[tuple[str, str], _Issued] = {
            (row.fields.code, row.fields.number): _Issued(
                spelled(row.check_code, "check_code"),
                row.fields.day,
                row.money,
                states is not None and cells[states].strip() == Said.REVERSED,
            )
            for row, cells in zip(table.rows, table.cells, strict=True)
            if isinstance(row, AskedRow)
        }

    def answer(self, document: bytes) -> bytes:
        """Answer a question; raises `InputError` for what is none."""
        top = members(parse_canonical(document, max_bytes=MAX_BYTES), _QUESTION)
        if top["type"] != CHECK_TYPE:
            raise InputError("einvoice.question")
        code, number, check = (spelled(str(top[name]), name) for name in ("code", "number", "check_code"))
        asked = (check, day_of(str(top["date"])), amount_of(str(top["amount"]), str(top["currency"])))
        found = self._issued.get((code, number))
        if found is None:
            said = Said.UNKNOWN
        elif asked != (found.check_code, found.day, found.amount):
            said = Said.OTHERWISE
        else:
            said = Said.REVERSED if found.is_reversed else Said.GENUINE
        return canonical({"answer": said.value, "stand_in": True, "type": CHECKED_TYPE})


def stand_in_server(host: str, port: int, stand_in: StandIn, token: str = "") -> ThreadingHTTPServer:
    """Make a server that answers with a stand-in; who calls runs and closes it.

    Args:
        host: an address of this machine alone.
        port: 0 for any.
        stand_in: answers.
        token: who asks must show it; empty for nobody.
    """

    class Handler(BaseHTTPRequestHandler):
        """Answers one question."""

        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_POST(self) -> None:
            """Answer."""
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > MAX_BYTES:
                self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"")
                return
            document = self.rfile.read(int(length))
            if token and self.headers.get("Authorization") != f"Bearer {token}":
                self._send(HTTPStatus.UNAUTHORIZED, b"")
                return
            try:
                self._send(HTTPStatus.OK, stand_in.answer(document))
            except InputError:
                self._send(HTTPStatus.BAD_REQUEST, b"")

        def log_message(self, *_given: object) -> None:
            """Log nothing: what is asked for is somebody's invoice."""

        def _send(self, status: HTTPStatus, body: bytes) -> None:
            """Send an answer."""
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return ThreadingHTTPServer((host, port), Handler)
