"""`medchain claims reserve`, `settle`, `release`, `reverse`, `refund`: what insurers and hospitals do with an invoice.

Keeps true: invoices stand in a file, never among the arguments, which other users of the machine can read; what is for
ever is asked for once more. Trusts the daemon.
Source: `docs/commands.md`, `docs/spec/claim-deed.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from medchain.claims.batch import read_table
from medchain.claims.deeds import REFUND, REVERSE
from medchain.claims.money_words import money_text
from medchain.claims.wishes import RELEASE, RESERVE, SETTLE
from medchain.commands import claim_texts as texts
from medchain.commands.claims import content_of
from medchain.commands.command import Command, Context, Exit, Text
from medchain.encoding import Json, as_list, as_object, digest
from medchain.errors import InputError
from medchain.ledger.invoice import amount_of
from medchain.ledger.kinds.shares import MAX_RESERVED_DAYS
from medchain.node.local import LocalClient
from medchain.node.peers import Limits

_DEED: Final = Limits(timeout_s=180.0, max_bytes=4096)
_DAYS: Final = 7


def _row_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare which invoice is meant."""
    parser.add_argument("--csv", required=True, type=Path, metavar="FILE", help=say(texts.CSV))
    parser.add_argument("--row", type=int, default=1, metavar="N", help=say(texts.ROW))


def _claim_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare which invoice and which claim of the insurer's are meant."""
    _row_arguments(parser, say)
    parser.add_argument("--claim", required=True, type=Path, metavar="FILE", help=say(texts.CLAIM))


def _settle_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `claims settle` takes."""
    _claim_arguments(parser, say)
    parser.add_argument("--amount", default="", metavar="AMOUNT", help=say(texts.AMOUNT))


def _reserve_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `claims reserve` takes."""
    _settle_arguments(parser, say)
    days = range(MAX_RESERVED_DAYS + 1)
    parser.add_argument("--days", type=int, default=_DAYS, choices=days, metavar="N", help=say(texts.DAYS))


def _reverse_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `claims reverse` takes."""
    _row_arguments(parser, say)
    parser.add_argument("--yes", action="store_true", help=say(texts.YES))


def _refund_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `claims refund` takes."""
    _row_arguments(parser, say)
    parser.add_argument("--amount", required=True, metavar="AMOUNT", help=say(texts.REFUNDED))


def _reserve(context: Context) -> int:
    """Reserve a part of an invoice."""
    given = context.arguments
    return _fulfil(context, RESERVE, {"amount": given.amount, "days": given.days})


def _settle(context: Context) -> int:
    """Settle what was reserved."""
    return _fulfil(context, SETTLE, {"amount": context.arguments.amount})


def _release(context: Context) -> int:
    """Give a part up."""
    return _fulfil(context, RELEASE, {})


def _fulfil(context: Context, operation: str, more: Mapping[str, Json]) -> int:
    """Have the hospital do it for this insurer's claim, and tell what the ledger has."""
    claim = digest("medchain/insurer-claim/v1", content_of(context.arguments.claim))
    told = _called(context, operation, {"claim": claim.hex(), **more})
    words = {name: context.say(texts.STATES[str(told[name])]) for name in ("state", "status")}
    # Of a part that is given up nothing is left: a sum would say nothing.
    if operation != RELEASE:
        amount = amount_of(str(told["amount"]), str(told["currency"]))
        words["state"] += f" {money_text(amount, context.language)}"
    words["deed"] = words.pop("state")
    lines = [context.say(texts.FULFILLED, **{**told, **words})]
    differs = [context.say(texts.DIFFERENCES[str(one)]) for one in as_list(told["differs"])]
    if differs:
        lines.append(context.say(texts.OTHERWISE, differs=context.say(texts.BETWEEN).join(differs)))
    context.answer(told, lines)
    return Exit.DONE


def _reverse(context: Context) -> int:
    """Take an invoice back, after a plain yes."""
    if not context.arguments.yes and not context.confirm(texts.CONFIRM):
        context.tell(texts.DROPPED)
        return Exit.REFUSED
    return _own(context, REVERSE, {})


def _refund(context: Context) -> int:
    """Lower an invoice's total."""
    return _own(context, REFUND, {"amount": context.arguments.amount})


def _own(context: Context, operation: str, more: Mapping[str, Json]) -> int:
    """Do what a hospital does with its own invoice."""
    told = _called(context, operation, more)
    context.answer(told, [context.say(texts.DONE, **told)])
    return Exit.DONE


def _called(context: Context, operation: str, more: Mapping[str, Json]) -> dict[str, Json]:
    """Have the daemon do something with the invoice that is meant."""
    table, number = read_table(content_of(context.arguments.csv)), context.arguments.row
    row = table.rows[number - 1] if 0 < number <= len(table.rows) else ""
    if isinstance(row, str):
        raise InputError("claim.row", row=number)
    with closing(LocalClient(context.config().folder)) as client:
        return as_object(client.call(operation, {"row": row.to_json(), **more}, _DEED))


COMMANDS: Final = (
    Command(("claims", "reserve"), texts.RESERVE_SUMMARY, texts.RESERVE_EXAMPLES, _reserve, _reserve_arguments),
    Command(("claims", "settle"), texts.SETTLE_SUMMARY, texts.SETTLE_EXAMPLES, _settle, _settle_arguments),
    Command(("claims", "release"), texts.RELEASE_SUMMARY, texts.RELEASE_EXAMPLES, _release, _claim_arguments),
    Command(("claims", "reverse"), texts.REVERSE_SUMMARY, texts.REVERSE_EXAMPLES, _reverse, _reverse_arguments),
    Command(("claims", "refund"), texts.REFUND_SUMMARY, texts.REFUND_EXAMPLES, _refund, _refund_arguments),
)
"""The commands of this file."""
