"""`medchain subject show`, `recoveries` and `cancel`: a patient's subject, and recoveries that are under way.

Keeps true: nothing is cancelled before a person has said yes, or `--yes`; what is cancelled here is a recovery and no
other object, in this organisation's own name. Contacts are in `--json` alone. Trusts the daemon, and whoever may run a
command on this machine.
Source: `docs/commands.md`, `docs/spec/subject.md` 8, 13.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Final

from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text, instant
from medchain.encoding import Json, as_list, as_object, as_objects
from medchain.errors import InputError, NotFoundError
from medchain.ledger.kinds.content import DAY_S
from medchain.node.local import LocalClient
from medchain.node.peers import Limits

_SHOW: Final = Limits(timeout_s=30.0, max_bytes=16 << 20)
_CANCEL: Final = Limits(timeout_s=60.0, max_bytes=4096)
_RECOVERY: Final = "recovery"


def _subject_argument(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare whom it is about."""
    parser.add_argument("subject", metavar="KEY", help=say(messages.SUBJECT_KEY))


def _cancel_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `subject cancel` takes."""
    parser.add_argument(_RECOVERY, metavar="RECOVERY", help=say(messages.SUBJECT_RECOVERY_KEY))
    parser.add_argument("--yes", action="store_true", help=say(messages.SUBJECT_CANCEL_YES))


def _asked(context: Context) -> dict[str, Json]:
    """Ask the daemon what is known of a subject."""
    with closing(LocalClient(context.config().folder)) as client:
        answer = client.call("subject.show", {"subject": context.arguments.subject}, _SHOW)
    return as_object(answer)


def _show(context: Context) -> int:
    """Show a subject."""
    found = _asked(context)
    context.answer(found, [*_lines(context, found)])
    return Exit.DONE


def _lines(context: Context, found: Mapping[str, Json]) -> Iterator[str]:
    """Word a subject."""
    standing = found.get("standing")
    if isinstance(standing, dict):
        state = messages.SUBJECT_DEAD if standing.get("state") == "dead" else messages.SUBJECT_INCAPABLE
    else:
        state = messages.SUBJECT_MINOR if found.get("minor") is True else messages.SUBJECT_ABLE
    custodians = ", ".join(str(one) for one in as_list(found.get("custodians")))
    fields = {"custodians": custodians, "enroller": found.get("enroller"), "version": found.get("version")}
    yield context.say(messages.SUBJECT_HEAD, key=context.arguments.subject, state=context.say(state), **fields)
    for row in as_objects(found.get("passkeys")):
        yield context.say(messages.SUBJECT_PASSKEY, since=_instant(row.get("since")))
    for row in as_objects(found.get("delegates")):
        yield _delegate(context, row)
    yield from _recoveries_of(context, found)


def _delegate(context: Context, row: Mapping[str, Json]) -> str:
    """Word who may act for the person."""
    ended = row.get("ended")
    told: Mapping[str, Json] = as_object(row.get("delegate"))
    if isinstance(ended, dict):
        state = messages.SUBJECT_ENDED
    else:
        state = messages.SUBJECT_IN_FORCE if row.get("in_force") is True else messages.SUBJECT_NOT_IN_FORCE
    until = told.get("until")
    day = instant(until * DAY_S)[:10] if isinstance(until, int) else ""
    may = ", ".join(str(one) for one in as_list(told.get("may")))
    named = {"role": told.get("role"), "subject": told.get("subject")}
    return context.say(messages.SUBJECT_DELEGATE, **named, may=may, until=day, state=context.say(state))


def _recoveries(context: Context) -> int:
    """List a subject's recoveries that are under way."""
    found = _asked(context)
    lines = [*_recoveries_of(context, found)]
    answer: Json = {"recoveries": as_list(found.get("recoveries")), "subject": context.arguments.subject}
    context.answer(answer, lines or [context.say(messages.SUBJECT_NO_RECOVERY)])
    return Exit.DONE


def _recoveries_of(context: Context, found: Mapping[str, Json]) -> Iterator[str]:
    """Word the recoveries that are under way."""
    for row in as_objects(found.get("recoveries")):
        is_passkeys = row.get("operation") == "replace"
        what = messages.SUBJECT_REPLACE if is_passkeys else messages.SUBJECT_GUARDIANSHIP
        times = {name: _instant(row.get(name)) for name in ("announced", "carry_out_from")}
        named = {name: row.get(name) for name in ("by", "key", "method")}
        yield context.say(messages.SUBJECT_RECOVERY, **named, **times, what=context.say(what))


def _cancel(context: Context) -> int:
    """Stop a recovery in this organisation's name."""
    key: str = context.arguments.recovery
    with closing(LocalClient(context.config().folder)) as client:
        known = client.call("object", {"object": key}, _SHOW)
        record = as_object(known).get("record")
        if not isinstance(record, dict) or record.get("kind") != _RECOVERY:
            raise NotFoundError("recovery.unknown")
        if not context.arguments.yes and not _is_meant(context):
            context.tell(messages.SUBJECT_CANCEL_LEFT)
            return Exit.INTERRUPTED
        done = client.call("stop", {"object": key}, _CANCEL)
    context.answer(done, [context.say(messages.SUBJECT_CANCELLED, key=key)])
    return Exit.DONE


def _is_meant(context: Context) -> bool:
    """Ask whether it is meant."""
    if context.as_json:
        raise InputError("confirm.missing")
    return context.confirm(messages.SUBJECT_CANCEL_ASK)


def _instant(value: Json) -> str:
    """Write a time as people read it; nothing for what is none."""
    return instant(value) if isinstance(value, int) else ""


COMMANDS: Final = (
    Command(
        ("subject", "show"), messages.SUBJECT_SHOW_SUMMARY, messages.SUBJECT_SHOW_EXAMPLES, _show, _subject_argument
    ),
    Command(
        ("subject", "recoveries"),
        messages.SUBJECT_RECOVERIES_SUMMARY,
        messages.SUBJECT_RECOVERIES_EXAMPLES,
        _recoveries,
        _subject_argument,
    ),
    Command(
        ("subject", "cancel"),
        messages.SUBJECT_CANCEL_SUMMARY,
        messages.SUBJECT_CANCEL_EXAMPLES,
        _cancel,
        _cancel_arguments,
    ),
)
"""The commands of this file."""
