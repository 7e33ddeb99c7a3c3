"""Commands that propose what members change together: on members, the policy, who orders, the protocol.

Keeps true: each makes one proposal, which changes nothing until enough members have approved it. Trusts the node's own
daemon.
Source: `docs/spec/proposal.md`, `docs/commands.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson

from medchain.commands import messages
from medchain.commands import proposal_texts as texts
from medchain.commands.command import Command, Context, Text
from medchain.commands.founding import read_file
from medchain.commands.membership import members_in_force
from medchain.commands.proposals import propose, wait_argument
from medchain.encoding import Json, as_object
from medchain.errors import InputError
from medchain.node.member_changes import TAKE_OVER, Wish

_DAY_S: Final = 86_400
_HOUR_S: Final = 3600
_Say = Callable[[Text], str]


def _proposing(parser: argparse.ArgumentParser, say: _Say) -> None:
    """Declare what every proposal takes."""
    parser.add_argument("--reason", default="", metavar="TEXT", help=say(texts.REASON))
    wait_argument(parser, say)


def with_days(parser: argparse.ArgumentParser, say: _Say) -> None:
    """Declare what proposals take that are open for days."""
    _proposing(parser, say)
    parser.add_argument("--days", type=int, metavar="N", help=say(texts.DAYS))


def _with_quorum(parser: argparse.ArgumentParser, say: _Say) -> None:
    """Declare what changes of members take besides."""
    with_days(parser, say)
    parser.add_argument("--quorum", type=int, metavar="K", help=say(texts.QUORUM))
    parser.add_argument("--orderer", metavar="ORG", help=say(texts.NEW_ORDERER))


def _about_member(parser: argparse.ArgumentParser, say: _Say) -> None:
    """Declare what changes of one member take."""
    parser.add_argument("org_id", metavar="ORG", help=say(texts.ORG))
    _with_quorum(parser, say)


def _admission_arguments(parser: argparse.ArgumentParser, say: _Say) -> None:
    """Declare what `org admit` and `org rotate` take."""
    parser.add_argument("file", type=Path, metavar="ADMISSION.json", help=say(texts.ADMISSION_FILE))
    _with_quorum(parser, say)


def _policy_arguments(parser: argparse.ArgumentParser, say: _Say) -> None:
    """Declare what `policy propose` takes."""
    parser.add_argument("file", type=Path, metavar="POLICY.json", help=say(texts.POLICY_FILE))
    with_days(parser, say)


def _predicate_arguments(parser: argparse.ArgumentParser, say: _Say) -> None:
    """Declare what `policy register` takes."""
    parser.add_argument("uri", metavar="URI", help=say(texts.PREDICATE_URI))
    parser.add_argument("file", type=Path, metavar="TYPE.json", help=say(texts.PREDICATE_FILE))
    with_days(parser, say)


def _handover_arguments(parser: argparse.ArgumentParser, say: _Say) -> None:
    """Declare what `orderer hand-over` takes."""
    parser.add_argument("org_id", metavar="ORG", help=say(texts.ORG))
    with_days(parser, say)


def _takeover_arguments(parser: argparse.ArgumentParser, say: _Say) -> None:
    """Declare what `orderer take-over` takes."""
    _proposing(parser, say)
    parser.add_argument("--hours", type=int, metavar="N", help=say(texts.HOURS))


def _protocol_arguments(parser: argparse.ArgumentParser, say: _Say) -> None:
    """Declare what `protocol propose` takes."""
    with_days(parser, say)
    parser.add_argument("--quorum", type=int, metavar="K", help=say(texts.QUORUM))
    parser.add_argument("--version", type=int, metavar="N", help=say(texts.PROTOCOL_VERSION))


def _member(operation: str) -> Callable[[Context], int]:
    """Make the command that proposes a change of one member."""

    def run(context: Context) -> int:
        given = context.arguments
        wish = Wish(operation, given.org_id, orderer=given.orderer, quorum=given.quorum)
        return propose(context, wish, days_of(context))

    return run


def _admission(operation: str) -> Callable[[Context], int]:
    """Make the command that proposes what an admission file says."""

    def run(context: Context) -> int:
        given = context.arguments
        wish = Wish(operation, content=_document(given.file), orderer=given.orderer, quorum=given.quorum)
        return propose(context, wish, days_of(context))

    return run


def _policy(context: Context) -> int:
    """Propose another policy."""
    return propose(context, Wish("policy", content=_document(context.arguments.file)), days_of(context))


def _predicate(context: Context) -> int:
    """Propose the policy in force with one type of statements added, or put in the place of what it says of it now."""
    config = context.config()
    content = members_in_force(config, lambda: context.halves(config, messages.PASSPHRASE)).policy.content
    given = context.arguments
    predicates = {**as_object(content.get("predicates")), given.uri: _document(given.file)}
    return propose(context, Wish("policy", content={**content, "predicates": predicates}), days_of(context))


def _handover(context: Context) -> int:
    """Propose that another member orders."""
    return propose(context, Wish("hand-over", context.arguments.org_id), days_of(context))


def _takeover(context: Context) -> int:
    """Propose to order in the place of who is lost."""
    hours: int | None = context.arguments.hours
    return propose(context, Wish(TAKE_OVER), None if hours is None else hours * _HOUR_S)


def _protocol(context: Context) -> int:
    """Propose other rules."""
    given = context.arguments
    return propose(context, Wish("protocol", protocol=given.version, quorum=given.quorum), days_of(context))


def days_of(context: Context) -> int | None:
    """Return for how long a proposal may be accepted."""
    days: int | None = context.arguments.days
    return None if days is None else days * _DAY_S


def _document(path: Path) -> Json:
    """Read a JSON document that a person may have edited: its spelling does not matter here."""
    try:
        found: Json = orjson.loads(read_file(path))
    except orjson.JSONDecodeError as error:
        raise InputError("file.json", path=str(path)) from error
    return found


COMMANDS: Final = (
    Command(("org", "suspend"), texts.SUSPEND_SUMMARY, texts.SUSPEND_EXAMPLES, _member("suspend"), _about_member),
    Command(
        ("org", "reinstate"), texts.REINSTATE_SUMMARY, texts.REINSTATE_EXAMPLES, _member("reinstate"), _about_member
    ),
    Command(("org", "remove"), texts.REMOVE_SUMMARY, texts.REMOVE_EXAMPLES, _member("remove"), _about_member),
    Command(("org", "admit"), texts.ADMIT_SUMMARY, texts.ADMIT_EXAMPLES, _admission("admit"), _admission_arguments),
    Command(("org", "rotate"), texts.ROTATE_SUMMARY, texts.ROTATE_EXAMPLES, _admission("rotate"), _admission_arguments),
    Command(("policy", "propose"), texts.POLICY_SUMMARY, texts.POLICY_EXAMPLES, _policy, _policy_arguments),
    Command(
        ("policy", "register"), texts.PREDICATE_SUMMARY, texts.PREDICATE_EXAMPLES, _predicate, _predicate_arguments
    ),
    Command(("orderer", "hand-over"), texts.HANDOVER_SUMMARY, texts.HANDOVER_EXAMPLES, _handover, _handover_arguments),
    Command(("orderer", "take-over"), texts.TAKEOVER_SUMMARY, texts.TAKEOVER_EXAMPLES, _takeover, _takeover_arguments),
    Command(("protocol", "propose"), texts.PROTOCOL_SUMMARY, texts.PROTOCOL_EXAMPLES, _protocol, _protocol_arguments),
)
"""The commands of this file."""
