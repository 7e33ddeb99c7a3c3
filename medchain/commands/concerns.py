"""`medchain concern list`: corrections and complaints that wait for an answer, what is due first at the top.

Keeps true: neither what was said nor whose it is is printed; who answers reads that on the node's page, on the audit.
Trusts the daemon.
Source: `docs/commands.md`, `docs/spec/concern.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Final

from medchain.commands import concern_texts as texts
from medchain.commands.command import Command, Context, Exit, Text, instant
from medchain.encoding import Json, as_object, as_objects
from medchain.node.concern import ConcernKind
from medchain.node.concerns import REPORTED, WAITING
from medchain.node.local import LocalClient
from medchain.node.peers import Limits

_LIST: Final = Limits(timeout_s=30.0, max_bytes=64 << 20)
_SHOWN: Final = ("custodian", "due", "id", "kind", "overdue", "position", "state", "version")


def _list_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `concern list` takes."""
    parser.add_argument("--told", action="store_true", help=say(texts.TOLD))


def _list(context: Context) -> int:
    """List what waits: of this organisation, or what custodians have told it."""
    config = context.config()
    asked: Json = {} if context.arguments.told else {"kinds": [kind.value for kind in ConcernKind]}
    with closing(LocalClient(config.folder)) as client:
        answer = client.call(REPORTED if context.arguments.told else WAITING, asked, _LIST)
    rows = as_objects(as_object(answer).get("concerns"))
    shown = [
        {name: row.get(name, config.org_id if name == "custodian" else None) for name in _SHOWN}
        for row in rows
        if row.get("due") is not None
    ]
    context.answer({"concerns": [*shown]}, [_line(context, row) for row in shown] or [context.say(texts.NONE)])
    return Exit.DONE


def _line(context: Context, row: Mapping[str, Json]) -> str:
    """Word one."""
    state = texts.OVERDUE if row["overdue"] else texts.WAITING
    due = row["due"] if isinstance(row["due"], int) else 0
    kind = context.say(texts.KINDS[str(row["kind"])])
    named = {name: row[name] for name in ("custodian", "id")}
    return context.say(texts.ROW, **named, kind=kind, due=instant(due), state=context.say(state))


COMMANDS: Final = (Command(("concern", "list"), texts.LIST_SUMMARY, texts.LIST_EXAMPLES, _list, _list_arguments),)
"""The commands of this file."""
