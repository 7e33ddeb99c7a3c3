"""`medchain emergency list` and `review`: emergencies that somebody must review, those that are due first.

Keeps true: what is listed is what this node holds of each; a regulator's node does not hold whose records they were.
Trusts the daemon.
Source: `docs/commands.md`, `docs/spec/consent.md` 11.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Final

from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text, instant
from medchain.encoding import Json, as_objects, members
from medchain.node.local import LocalClient
from medchain.node.peers import Limits

_LIST: Final = Limits(timeout_s=30.0, max_bytes=64 << 20)
_REVIEW: Final = Limits(timeout_s=60.0, max_bytes=4096)


def _list_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `emergency list` takes."""
    parser.add_argument("--all", action="store_true", help=say(messages.EMERGENCY_ALL))


def _list(context: Context) -> int:
    """List emergencies."""
    with closing(LocalClient(context.config().folder)) as client:
        found = members(client.call("emergency.list", {}, _LIST), {"emergencies": list, "time": int})["emergencies"]
    rows = as_objects(found)
    shown = [row for row in rows if context.arguments.all or row.get("review") is None]
    lines = [_line(context, row) for row in shown]
    context.answer({"emergencies": [*shown]}, lines or [context.say(messages.EMERGENCY_NONE)])
    return Exit.DONE


def _line(context: Context, row: Mapping[str, Json]) -> str:
    """Word one emergency."""
    if row.get("review") is not None:
        state = messages.EMERGENCY_REVIEWED
    elif row.get("overdue"):
        state = messages.EMERGENCY_OVERDUE
    else:
        state = messages.EMERGENCY_OPEN
    times = {name: instant(value) for name in ("due", "time") if isinstance(value := row[name], int)}
    named = {name: row[name] for name in ("key", "owner", "reason", "staff")}
    objected = "" if row.get("objection") is None else context.say(messages.EMERGENCY_OBJECTED)
    told = context.say(messages.EMERGENCY_ROW, **named, **times, state=context.say(state))
    return told + _between(context, row) + objected


def _between(context: Context, row: Mapping[str, Json]) -> str:
    """Say which other organisation has a part in an emergency; empty where none has."""
    custodian, recipient = str(row["custodian"]), str(row["recipient"])
    if custodian == recipient:
        return ""
    if row["owner"] == custodian:
        return context.say(messages.EMERGENCY_GIVEN, organisation=recipient, count=row["count"])
    return context.say(messages.EMERGENCY_ASKED, organisation=custodian)


def _review_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `emergency review` takes."""
    parser.add_argument("object", metavar="KEY", help=say(messages.EMERGENCY_KEY))
    parser.add_argument("--by", required=True, metavar="NAME", help=say(messages.EMERGENCY_BY))
    parser.add_argument("--finding", required=True, metavar="CODE", help=say(messages.EMERGENCY_FINDING))


def _review(context: Context) -> int:
    """Record a review."""
    given = context.arguments
    asked: dict[str, Json] = {"by": given.by, "finding": given.finding, "object": given.object}
    with closing(LocalClient(context.config().folder)) as client:
        done = client.call("emergency.review", asked, _REVIEW)
    context.answer(done, [context.say(messages.EMERGENCY_DONE, key=given.object, finding=given.finding)])
    return Exit.DONE


COMMANDS: Final = (
    Command(
        ("emergency", "list"),
        messages.EMERGENCY_LIST_SUMMARY,
        messages.EMERGENCY_LIST_EXAMPLES,
        _list,
        _list_arguments,
    ),
    Command(
        ("emergency", "review"),
        messages.EMERGENCY_REVIEW_SUMMARY,
        messages.EMERGENCY_REVIEW_EXAMPLES,
        _review,
        _review_arguments,
    ),
)
"""The commands of this file."""
