"""`medchain node run`, `status` and `config check`.

Trusts `medchain.node.supervisor` to run the node and `medchain.node.config` to explain mistakes.
Source: `docs/commands.md`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Final

from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text, instant
from medchain.encoding import Json, as_object, as_objects
from medchain.errors import InputError, UnavailableError
from medchain.node.awaited import Lacking, read_awaited
from medchain.node.config import explain
from medchain.node.keystore import Layout
from medchain.node.local import LocalClient
from medchain.node.supervisor import read_node_state, run_node
from medchain.ordering.agreed_clock import AHEAD
from medchain.ordering.clock_doubt import CLOCK


def _run_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `node run` takes."""
    parser.add_argument("--end-with-stdin", action="store_true", help=say(messages.RUN_END_WITH_STDIN))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help=say(messages.SET_HELP))


def _run(context: Context) -> int:
    """Run a node until it is told to stop."""
    flags = dict(_flag(text) for text in context.arguments.set)
    config = context.config()
    passphrase = context.passphrase(messages.PASSPHRASE) if config.key_source == "passphrase" else None
    context.tell(messages.RUN_STARTING, org_id=config.org_id, web=f"{config.web_listen.host}:{config.web_listen.port}")
    parent = sys.stdin.fileno() if context.arguments.end_with_stdin else None
    return run_node(context.config_path(), flags, passphrase, parent)


def _flag(text: str) -> tuple[str, str]:
    """Split ``name=value``."""
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError("call.setting", setting=text)
    return name, value


def _status(context: Context) -> int:
    """Tell how a node is."""
    config = context.config()
    try:
        processes: Json = read_node_state(Layout(config.folder))["processes"]
    except UnavailableError as error:
        raise UnavailableError("node.not_running", folder=str(config.folder)) from error
    with closing(LocalClient(config.folder)) as client:
        health = client.call("status", {})
    if not isinstance(health, dict):
        raise InputError("encoding.members", member="status")
    ready = health.get("ready") is True
    state = context.say(messages.STATUS_READY if ready else messages.STATUS_NOT_READY)
    lines = [
        context.say(messages.STATUS_NODE, org_id=config.org_id, state=state),
        context.say(messages.STATUS_LEDGER, **{name: health.get(name) for name in ("height", "size", "final_size")}),
    ]
    reasons = health.get("reasons")
    if isinstance(reasons, list) and reasons:
        lines.append(context.say(messages.STATUS_REASONS, reasons=", ".join(str(reason) for reason in reasons)))
    lines += clock_lines(context, health)
    lines += lacking_lines(context, *read_awaited(health))
    lines += _alarms(context, health.get("alarms"))
    if isinstance(processes, dict):
        for name, row in processes.items():
            fields = as_object(row)
            pid, restarts = fields.get("pid"), fields.get("restarts")
            text = messages.STATUS_PROCESS if pid else messages.STATUS_NO_PROCESS
            lines.append(context.say(text, name=name, pid=pid, restarts=restarts))
    context.answer({"health": health, "org_id": config.org_id, "processes": processes}, lines)
    return Exit.DONE if ready else Exit.UNAVAILABLE


def lacking_lines(context: Context, since: int, sets: Sequence[Lacking]) -> list[str]:
    """Word what blocks wait for that are not final.

    Args:
        context: of the command.
        since: when the first of them was made, Unix seconds.
        sets: what each set of members lacks.
    """
    lines = []
    for item in sets:
        fields = {"since": instant(since), "needed": item.needed, "missing": ", ".join(item.missing)}
        lines.append(context.say(messages.STATUS_AWAITED, **fields))
        if item.leaving:
            lines.append(context.say(messages.STATUS_LEAVING, leaving=", ".join(item.leaving)))
    return lines


def clock_lines(context: Context, health: Mapping[str, Json]) -> list[str]:
    """Word why nothing is ordered, where that is a clock's doing.

    Args:
        context: of the command.
        health: what the daemon tells.
    """
    reasons, newest = health.get("reasons"), health.get("time")
    found = set(map(str, reasons)) if isinstance(reasons, list) else set()
    lines = [context.say(messages.STATUS_CLOCK)] if CLOCK in found else []
    if AHEAD in found and isinstance(newest, int):
        lines.append(context.say(messages.STATUS_AHEAD, time=instant(newest)))
    return lines


def _alarms(context: Context, rows: Json) -> list[str]:
    """Word the alarms that nobody has acknowledged."""
    names = ("id", "code", "subject", "height", "count")
    found = as_objects(rows)
    return [context.say(messages.STATUS_ALARM, **{name: row.get(name) for name in names}) for row in found]


def _check(context: Context) -> int:
    """Tell everything that is wrong with a configuration."""
    problems = explain(context.config_path(), context.environment)
    document: Json = {
        "problems": [
            {
                "code": problem.code,
                "fatal": problem.fatal,
                "setting": problem.setting,
                "text": problem.zh if context.language == "zh" else problem.en,
            }
            for problem in problems
        ]
    }
    lines = [
        context.say(
            messages.CHECK_FATAL if problem.fatal else messages.CHECK_WARNING,
            text=problem.zh if context.language == "zh" else problem.en,
        )
        for problem in problems
    ]
    context.answer(document, lines or [context.say(messages.CHECK_GOOD, file=context.config_path())])
    return Exit.INPUT if any(problem.fatal for problem in problems) else Exit.DONE


COMMANDS: Final = (
    Command(("node", "run"), messages.RUN_SUMMARY, messages.RUN_EXAMPLES, _run, _run_arguments),
    Command(("status",), messages.STATUS_SUMMARY, messages.STATUS_EXAMPLES, _status),
    Command(("config", "check"), messages.CHECK_SUMMARY, messages.CHECK_EXAMPLES, _check),
)
"""The commands of this file."""
