"""`medchain mandate issue`, `list`, `grant` and `stop`: legal bases other than consent.

Keeps true: a basis is entered at a regulator's node and granted at the custodian's, two organisations with two people
who have read the paper. Trusts the daemon.
Source: `docs/commands.md`, `docs/spec/mandate.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Final

from medchain.commands import mandate_texts as texts
from medchain.commands.command import Command, Context, Exit, Text, instant
from medchain.encoding import Json, as_object, as_objects, members
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.kinds.mandate import MAX_DAYS, PURPOSES
from medchain.node.clock import system_clock
from medchain.node.local import LocalClient
from medchain.node.peers import Limits

_LIST: Final = Limits(timeout_s=30.0, max_bytes=64 << 20)
_SUBMIT: Final = Limits(timeout_s=90.0, max_bytes=4096)


def _issue_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `mandate issue` takes."""
    parser.add_argument("--custodian", required=True, metavar="ORG", help=say(texts.CUSTODIAN))
    parser.add_argument("--patient", required=True, metavar="ID", help=say(texts.PATIENT))
    parser.add_argument("--recipient", required=True, metavar="ORG", help=say(texts.RECIPIENT))
    parser.add_argument("--basis", required=True, choices=sorted(PURPOSES), help=say(texts.BASIS))
    parser.add_argument("--authority", required=True, metavar="NAME", help=say(texts.AUTHORITY))
    parser.add_argument("--reference", required=True, metavar="TEXT", help=say(texts.REFERENCE))
    parser.add_argument("--scope", required=True, metavar="TEXT", help=say(texts.SCOPE))
    parser.add_argument("--purpose", required=True, metavar="CODE", help=say(texts.PURPOSE))
    parser.add_argument("--type", required=True, action="append", metavar="TYPE", help=say(texts.TYPE))
    parser.add_argument(
        "--days", required=True, type=int, choices=range(1, MAX_DAYS + 1), metavar="N", help=say(texts.DAYS)
    )


def _issue(context: Context) -> int:
    """Enter a basis."""
    given, now = context.arguments, system_clock()
    basis: Json = {
        "authority": given.authority,
        "kind": given.basis,
        "reference": given.reference,
        "scope": given.scope,
    }
    asked: dict[str, Json] = {
        "basis": basis,
        "custodian": given.custodian,
        "patient": given.patient,
        "period": {"end": now + given.days * DAY_S, "start": now},
        "purpose": given.purpose,
        "recipient": given.recipient,
        "resource_types": [*sorted(set(given.type))],
    }
    with closing(LocalClient(context.config().folder)) as client:
        done = client.call("mandate.issue", asked, _SUBMIT)
    told = members(done, {"key": str, "position": int}, {"endorser": str})
    context.answer(done, [context.say(texts.ISSUED, **{"endorser": "", **told})])
    return Exit.DONE


def _list(context: Context) -> int:
    """List bases."""
    with closing(LocalClient(context.config().folder)) as client:
        found = members(client.call("mandate.list", {}, _LIST), {"mandates": list})["mandates"]
    rows = as_objects(found)
    context.answer({"mandates": [*rows]}, [_line(context, row) for row in rows] or [context.say(texts.NONE)])
    return Exit.DONE


def _line(context: Context, row: Mapping[str, Json]) -> str:
    """Word one basis."""
    content = row["content"] if isinstance(row["content"], dict) else {}
    basis = content.get("basis")
    end = as_object(content.get("period")).get("end")
    state = texts.OVER if not row["in_force"] else texts.GRANTED if row["granted"] else texts.IN_FORCE
    named = {name: content.get(name) for name in ("custodian", "purpose", "recipient")}
    told = {name: basis.get(name) for name in ("authority", "kind", "reference")} if isinstance(basis, dict) else {}
    when = instant(end) if isinstance(end, int) else ""
    return context.say(texts.ROW, key=row["key"], end=when, state=context.say(state), **named, **told)


def _key_argument(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare the key that `mandate grant` and `mandate stop` take."""
    parser.add_argument("object", metavar="KEY", help=say(texts.KEY))


def _grant(context: Context) -> int:
    """Let the recipient read."""
    with closing(LocalClient(context.config().folder)) as client:
        done = client.call("grant.give", {"consent": context.arguments.object}, _SUBMIT)
    key = done.get("key") if isinstance(done, dict) else ""
    context.answer(done, [context.say(texts.GRANT_DONE, key=key)])
    return Exit.DONE


def _stop(context: Context) -> int:
    """End a basis."""
    with closing(LocalClient(context.config().folder)) as client:
        done = client.call("mandate.stop", {"object": context.arguments.object}, _SUBMIT)
    context.answer(done, [context.say(texts.STOP_DONE)])
    return Exit.DONE


COMMANDS: Final = (
    Command(("mandate", "issue"), texts.ISSUE_SUMMARY, texts.ISSUE_EXAMPLES, _issue, _issue_arguments),
    Command(("mandate", "list"), texts.LIST_SUMMARY, texts.LIST_EXAMPLES, _list),
    Command(("mandate", "grant"), texts.GRANT_SUMMARY, texts.GRANT_EXAMPLES, _grant, _key_argument),
    Command(("mandate", "stop"), texts.STOP_SUMMARY, texts.STOP_EXAMPLES, _stop, _key_argument),
)
"""The commands of this file."""
