"""`medchain claims check`: whether invoices are genuine, and claimed; `stand-in`: what to try e-invoices with.

Keeps true: invoices stand in a file, never among the arguments, which other users of the machine can read; each row has
its answer, whatever becomes of the others. Trusts the daemon.
Source: `docs/commands.md`, `docs/spec/claim-question.md` 15.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Final

from medchain.claims.asking import CHECK, MAX_CHECKED
from medchain.claims.batch import Table, read_table, write_report
from medchain.claims.check_words import einvoice_of, meaning_of
from medchain.claims.checks import MALFORMED
from medchain.claims.einvoice import EINVOICE
from medchain.claims.einvoice_stand_in import StandIn, stand_in_server
from medchain.commands import claim_texts as texts
from medchain.commands.command import Command, Context, Exit, Text, instant
from medchain.commands.new_file import write_new
from medchain.encoding import Json, as_list, as_number, as_object, as_objects
from medchain.errors import InputError
from medchain.ledger.claim_question import AskedRow
from medchain.node.config import is_loopback, parse_address
from medchain.node.local import LocalClient
from medchain.node.peers import Limits

MAX_BYTES: Final = 64 << 20
"""Largest table."""

_CHECK: Final = Limits(timeout_s=600.0, max_bytes=16 << 20)


def _check_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `claims check` takes."""
    parser.add_argument("--csv", required=True, type=Path, metavar="FILE", help=say(texts.CSV))
    parser.add_argument("--out", type=Path, metavar="FILE", help=say(texts.OUT))


def _check(context: Context) -> int:
    """Ask for all rows, and write what came of each."""
    table = read_table(content_of(context.arguments.csv))
    with closing(LocalClient(context.config().folder)) as client:
        found, final = _asked(context, client, table)
    rows = [_worded(context, row) for row in found]
    more = (EINVOICE,) if any(EINVOICE in row for row in found) else ()
    report = write_report(table, rows, context.say(texts.MEANING), more)
    document: Json = {"final_size": final.get("final_size"), "rows": [*found], "time": final.get("time")}
    if context.arguments.out is None:
        context.answer(document, report.split("\r\n")[:-1])
    else:
        # With a mark at its beginning, by which spreadsheets know the encoding.
        write_new(context.arguments.out, report.encode("utf-8-sig"))
        context.answer(document, [])
    if not context.as_json:
        _summarise(context, found, final)
    return Exit.DONE


def content_of(path: Path) -> bytes:
    """Read a file of bounded size; raises `InputError` ``claim.csv``."""
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InputError("claim.csv")
    return content


def _asked(context: Context, client: LocalClient, table: Table) -> tuple[list[dict[str, Json]], dict[str, Json]]:
    """Ask part by part; returns what came of each row, and how far the ledger was final at the end."""
    found: dict[int, dict[str, Json]] = {}
    final: dict[str, Json] = {}
    places = [place for place, row in enumerate(table.rows) if isinstance(row, AskedRow)]
    for start in range(0, len(places), MAX_CHECKED):
        part = places[start : start + MAX_CHECKED]
        rows: list[Json] = [row.to_json() for place in part if isinstance(row := table.rows[place], AskedRow)]
        final = as_object(client.call(CHECK, {"rows": rows}, _CHECK))
        found |= zip(part, as_objects(final.get("checked")), strict=True)
        _show(context, start + len(part), len(places))
    for place, row in enumerate(table.rows):
        if isinstance(row, str):
            found[place] = {"finding": MALFORMED, "reason": row}
    return [found[place] for place in range(len(table.rows))], final


def _show(context: Context, done: int, total: int) -> None:
    """Show how far it is, on a terminal only."""
    if not context.as_json and context.err.isatty():
        context.tell(texts.PROGRESS, done=done, all=total)


def _worded(context: Context, row: Mapping[str, Json]) -> dict[str, str]:
    """Word what came of a row."""
    differs = [str(one) for one in as_list(row.get("differs"))]
    meaning = meaning_of(str(row["finding"]), differs, context.language)
    said = einvoice_of(as_object(row.get(EINVOICE)), context.language)
    named = {name: str(row.get(name) or "") for name in ("claim_id", "finding", "hospital", "reason")}
    return {**named, "differs": " ".join(differs), EINVOICE: said, "meaning": meaning}


def _summarise(context: Context, found: Sequence[Mapping[str, Json]], final: Mapping[str, Json]) -> None:
    """Say how many rows came to what."""
    counted = Counter(str(row["finding"]) for row in found)
    counts = context.say(texts.BETWEEN).join(
        f"{context.say(texts.FINDINGS[finding])} {number}" for finding, number in sorted(counted.items())
    )
    time, size = as_number(final.get("time")), as_number(final.get("final_size"))
    context.tell(texts.SUMMARY, all=len(found), counts=counts, time=instant(time), size=size)
    if any(as_object(row.get(EINVOICE)).get("stand_in") for row in found):
        context.tell(texts.STAND_IN)


def _stand_in_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `claims stand-in` takes."""
    parser.add_argument("--csv", required=True, type=Path, metavar="FILE", help=say(texts.STAND_IN_CSV))
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help=say(texts.LISTEN))
    parser.add_argument("--token", type=Path, metavar="FILE", help=say(texts.TOKEN))


def _stand_in(context: Context) -> int:
    """Answer as a service for electronic invoices would, from a table, until told to stop."""
    given = context.arguments
    try:
        address = parse_address(given.listen)
    except ValueError as error:
        raise InputError("einvoice.listen") from error
    if not is_loopback(address.host):
        # It is nobody's service: on another machine somebody could take it for one.
        raise InputError("einvoice.listen")
    token = given.token.read_text(encoding="ascii").strip() if given.token is not None else ""
    stand_in = StandIn(read_table(content_of(given.csv)))
    with closing_server(stand_in_server(address.host, address.port, stand_in, token)) as server:
        url = f"http://{address.host}:{server.server_address[1]}/"
        context.answer({"stand_in": True, "url": url}, [context.say(texts.STANDS_IN, url=url)])
        context.out.flush()
        server.serve_forever()
    return Exit.DONE


@contextmanager
def closing_server(server: ThreadingHTTPServer) -> Iterator[ThreadingHTTPServer]:
    """Run a server until Ctrl-C, and close it."""
    try:
        with suppress(KeyboardInterrupt):
            yield server
    finally:
        server.server_close()


COMMANDS: Final = (
    Command(("claims", "check"), texts.CHECK_SUMMARY, texts.CHECK_EXAMPLES, _check, _check_arguments),
    Command(("claims", "stand-in"), texts.STAND_IN_SUMMARY, texts.STAND_IN_EXAMPLES, _stand_in, _stand_in_arguments),
)
"""The commands of this file."""
