"""`medchain alarm list` and `alarm acknowledge`: what somebody must look at, and that somebody has.

Keeps true: an alarm goes from the node's status only by a person's word, which is kept with it. Trusts whoever can open
the root key: that is the operator.
Source: `docs/commands.md`, `docs/operations.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text, instant
from medchain.encoding import Json
from medchain.errors import InputError
from medchain.node.alarms import alarm_json
from medchain.node.assembly import open_web_node
from medchain.store.records import RecordStore

MAX_NOTE: Final = 500
"""Longest note."""


@contextmanager
def _records(context: Context) -> Iterator[RecordStore]:
    """Open the node's records."""
    config = context.config()
    with open_web_node(config, context.halves(config, messages.PASSPHRASE), context.clock) as node:
        yield node.records


def _list_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `alarm list` takes."""
    parser.add_argument("--acknowledged", action="store_true", help=say(messages.ALARM_ACKNOWLEDGED_HELP))


def _list(context: Context) -> int:
    """List alarms."""
    with _records(context) as records:
        rows = records.alarms(acknowledged=context.arguments.acknowledged)
    lines = [
        context.say(
            messages.ALARM_ROW,
            id=row.id,
            code=row.code,
            subject=row.subject,
            height=row.height,
            first=instant(row.first),
            count=row.count,
            fields=row.fields.decode("utf-8"),
        )
        for row in rows
    ]
    document: Json = {"alarms": [alarm_json(row) for row in rows]}
    context.answer(document, lines or [context.say(messages.ALARM_NONE)])
    return Exit.DONE


def _acknowledge_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `alarm acknowledge` takes."""
    parser.add_argument("id", type=int, help=say(messages.ALARM_ID))
    parser.add_argument("--note", required=True, metavar="TEXT", help=say(messages.ALARM_NOTE))


def _acknowledge(context: Context) -> int:
    """Acknowledge an alarm."""
    note = str(context.arguments.note).strip()
    if not 0 < len(note) <= MAX_NOTE:
        raise InputError("alarm.note", limit=MAX_NOTE)
    with _records(context) as records:
        records.acknowledge(context.arguments.id, note, context.clock())
    context.answer({"id": context.arguments.id}, [context.say(messages.ALARM_DONE, id=context.arguments.id)])
    return Exit.DONE


COMMANDS: Final = (
    Command(("alarm", "list"), messages.ALARM_LIST_SUMMARY, messages.ALARM_LIST_EXAMPLES, _list, _list_arguments),
    Command(
        ("alarm", "acknowledge"),
        messages.ALARM_ACK_SUMMARY,
        messages.ALARM_ACK_EXAMPLES,
        _acknowledge,
        _acknowledge_arguments,
    ),
)
"""The commands of this file."""
