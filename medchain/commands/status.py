"""`medchain status`: how a node is.

Source: `docs/commands.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Final

from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, instant
from medchain.encoding import Json, as_object, as_objects
from medchain.errors import InputError, UnavailableError
from medchain.node.awaited import Lacking, read_awaited
from medchain.node.keystore import Layout
from medchain.node.local import LocalClient
from medchain.node.supervisor import read_node_state
from medchain.ordering.agreed_clock import AHEAD
from medchain.ordering.clock_doubt import CLOCK


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


COMMANDS: Final = (Command(("status",), messages.STATUS_SUMMARY, messages.STATUS_EXAMPLES, _status),)
"""The commands of this file."""
