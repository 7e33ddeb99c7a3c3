"""`medchain proposals`: what members propose to change, in words, and this organisation's decision on it.

Keeps true: what is shown was computed by this node from the bytes that it would sign; a decision names the whole id of
what was shown, and is made by a person's yes, or by `--yes`. What comes from other members is shown with everything
that does not print written out, since a terminal would obey it. Trusts the node's own daemon.
Source: `docs/spec/proposal.md`, `docs/commands.md`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final

from fhir_bridge.references import instant
from medchain.commands import messages
from medchain.commands import proposal_texts as texts
from medchain.commands.command import Command, Context, Exit, Text, visible
from medchain.encoding import Json, as_number, as_object, as_objects, canonical, unbase64
from medchain.errors import ConflictError, UnavailableError
from medchain.node.administrator import with_proof
from medchain.node.keystore import open_daemon_keys
from medchain.node.local import LocalClient
from medchain.node.member_changes import Wish, wish_json
from medchain.node.proposal import Choice
from medchain.node.proposal_desk import DECIDE, LIST, PROPOSE, SHOW
from medchain.node.proposal_view import ACCEPTED, OPEN

MAX_WAIT_S: Final = 3600
"""Longest wait for the ledger."""

_POLL_S: Final = 0.5
_SHORT: Final = 8


def propose(context: Context, wish: Wish, life_s: int | None) -> int:
    """Have the node propose something, and tell what it is.

    Args:
        context: with the arguments ``reason`` and ``wait``.
        wish: what is to change.
        life_s: for how long it may be accepted, None for the usual time.

    Returns:
        The exit code.

    Raises:
        MedchainError: as the node's operation.
    """
    document: dict[str, Json] = {"reason": context.arguments.reason, "wish": wish_json(wish)}
    if life_s is not None:
        document["life_s"] = life_s
    made = _ask_as_administrator(context, PROPOSE, document)
    return _finish(context, made)


def wait_argument(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare `--wait`."""
    parser.add_argument("--wait", type=int, default=0, metavar="SECONDS", help=say(texts.WAIT))


def lines_of(context: Context, found: dict[str, Json]) -> list[str]:
    """Word a proposal."""
    return list(_lines(context, found))


def _list_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `proposals list` takes."""
    parser.add_argument("--all", action="store_true", help=say(texts.LIST_ALL))


def _list(context: Context) -> int:
    """List proposals."""
    answer = _ask(context, LIST, {})
    rows = answer["proposals"] if isinstance(answer["proposals"], list) else []
    every = [row for row in rows if isinstance(row, dict)]
    wanted = [row for row in every if context.arguments.all or row["state"] == OPEN]
    lines = [line for row in wanted for line in _lines(context, row)]
    context.answer({"proposals": list[Json](wanted)}, lines or [context.say(texts.NONE)])
    return Exit.DONE


def _show_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `proposals show` takes."""
    parser.add_argument("id", metavar="ID", help=say(texts.ID))
    parser.add_argument("--bytes", action="store_true", help=say(texts.SHOW_BYTES))


def _show(context: Context) -> int:
    """Show a proposal."""
    found = _ask(context, SHOW, {"id": context.arguments.id})
    lines = _lines(context, found)
    if context.arguments.bytes:
        lines = iter([visible(unbase64(found["payload"]).decode("utf-8"))])
    context.answer(found, lines)
    return Exit.DONE


def _decide_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what decisions take."""
    parser.add_argument("id", metavar="ID", help=say(texts.ID))


def _approve_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `proposals approve` takes."""
    _decide_arguments(parser, say)
    parser.add_argument("--yes", action="store_true", help=say(texts.YES))
    wait_argument(parser, say)


def _approve(context: Context) -> int:
    """Approve a proposal, after a plain yes to what is shown."""
    found = _ask(context, SHOW, {"id": context.arguments.id})
    if not context.arguments.yes:
        context.err.writelines(f"{line}\n" for line in _lines(context, found))
        if not context.confirm(texts.APPROVE_ASK):
            context.tell(texts.NOT_DECIDED)
            return Exit.INTERRUPTED
    return _finish(context, _decided(context, found, Choice.APPROVE))


def _reject(context: Context) -> int:
    """Reject a proposal."""
    found = _decided(context, _ask(context, SHOW, {"id": context.arguments.id}), Choice.REJECT)
    context.answer(found, _lines(context, found))
    return Exit.DONE


def _withdraw(context: Context) -> int:
    """Take an own proposal back."""
    found = _decided(context, _ask(context, SHOW, {"id": context.arguments.id}), Choice.WITHDRAW)
    context.answer(found, _lines(context, found))
    return Exit.DONE


def _decided(context: Context, found: dict[str, Json], choice: Choice) -> dict[str, Json]:
    """Decide on exactly what was shown."""
    return _ask_as_administrator(context, DECIDE, {"decision": choice.value, "id": found["id"]})


def _finish(context: Context, found: dict[str, Json]) -> int:
    """Wait, if that was asked for, until the ledger has it for good; then tell how it stands."""
    deadline = time.monotonic() + min(context.arguments.wait, MAX_WAIT_S)
    while context.arguments.wait and not found["final"]:
        if found["state"] not in (OPEN, ACCEPTED):
            raise ConflictError(f"proposal.{found['state']}", reason=str(found["code"]))  # noqa: EM102  # a state's code
        if time.monotonic() > deadline:
            raise UnavailableError("proposal.waiting", waiting=str(found["waiting"] or found["state"]))
        time.sleep(_POLL_S)
        found = _ask(context, SHOW, {"id": found["id"]})
    context.answer(found, _lines(context, found))
    return Exit.DONE


def _ask(context: Context, operation: str, document: dict[str, Json]) -> dict[str, Json]:
    """Ask the node's daemon."""
    with closing(LocalClient(context.config().folder)) as local:
        answer = local.call(operation, document)
    return as_object(answer)


def _ask_as_administrator(context: Context, operation: str, document: dict[str, Json]) -> dict[str, Json]:
    """Ask for what only who can open the daemon's half of the root key may ask."""
    config = context.config()
    keys = open_daemon_keys(config.folder, context.halves(config, messages.PASSPHRASE))
    return _ask(context, operation, with_proof(bytes(keys.administrator), operation, document, context.clock()))


def _lines(context: Context, found: dict[str, Json]) -> Iterator[str]:
    """Word a proposal, line by line."""
    say, creator = context.say, visible(str(found["creator"]))
    state = say(texts.STATES[str(found["state"])])
    made, until = instant(as_number(found["time"])), instant(as_number(found["until"]))
    yield say(texts.HEAD, id=str(found["id"])[:_SHORT], state=state, creator=creator, time=made, until=until)
    if found["reason"]:
        yield say(texts.REASON_LINE, creator=creator, reason=visible(str(found["reason"])))
    if found["way"] == "take-over":
        yield say(texts.TAKE_OVER)
    for row in as_objects(found["changes"]):
        yield _change(context, row)
    for row in as_objects(found["rules"]):
        yield say(texts.RULE_LINE, rule=visible(str(row["rule"])), words=_words(context, row["expression"]))
    yield from _signatures(context, found)


def _signatures(context: Context, found: dict[str, Json]) -> Iterator[str]:
    """Tell who has approved, who is missing, and how it stands."""
    say = context.say
    approved, missing, rejected = (_names(found[name]) for name in ("approved", "missing", "rejected"))
    yield say(texts.SIGNATURES, have=len(approved), need=len(approved) + len(missing), names=", ".join(approved))
    if found["satisfied"]:
        yield say(texts.ENOUGH)
    elif missing:
        yield say(texts.ENOUGH_WITH, names=", ".join(missing))
    if rejected:
        yield say(texts.REJECTED_BY, names=", ".join(rejected))
    if found["own"] is not None:
        yield say(texts.OWN_DECISION, decision=say(texts.DECISIONS[str(found["own"])]))
    if found["code"] is not None:
        yield say(texts.OVERTAKEN_BY, code=visible(str(found["code"])))
    if found["waiting"] is not None and found["state"] == OPEN:
        yield say(texts.WAITING, code=visible(str(found["waiting"])))
    if found["position"] is not None:
        yield say(texts.PLACED_FINAL if found["final"] else texts.PLACED, position=found["position"])


def _change(context: Context, row: dict[str, Json]) -> str:
    """Word one difference."""
    name, _, rest = str(row["field"]).partition(".")
    word = texts.FIELDS.get(name)
    field = visible(str(row["field"])) if word is None else f"{context.say(word)} {visible(str(rest))}".strip()
    subject = texts.SUBJECTS.get(str(row["subject"]))
    return context.say(
        texts.CHANGE_LINE,
        subject=visible(str(row["subject"])) if subject is None else context.say(subject),
        field=field,
        before=_value(context, name, row["before"]),
        after=_value(context, name, row["after"]),
    )


def _value(context: Context, field: str, value: Json) -> str:
    """Word a value."""
    if value is None:
        return context.say(texts.NOTHING)
    word = texts.STATUSES.get(str(value)) if field == "status" else None
    return visible(str(value)) if word is None else context.say(word)


def _words(context: Context, expression: Json) -> str:
    """Word a policy's expression; one that is malformed is shown as it is."""
    if isinstance(expression, str):
        return _leaf_words(context, expression)
    if isinstance(expression, dict) and len(expression) == 1:
        ((operator, operand),) = expression.items()
        match operator, operand:
            case (("and" | "or"), list(parts)):
                joint = context.say(texts.AND if operator == "and" else texts.OR)
                return "(" + f" {joint} ".join(_words(context, part) for part in parts) + ")"
            case "out_of", [count, list(parts)]:
                listed = "; ".join(_words(context, part) for part in parts)
                return context.say(texts.OUT_OF, count=count, parts=listed)
            case "fraction", [numerator, denominator, str(whom)]:
                of = _whom(context, whom)
                return context.say(texts.FRACTION, numerator=numerator, denominator=denominator, whom=of)
            case "majority", str(whom):
                return context.say(texts.MAJORITY, whom=_whom(context, whom))
            case _:
                """Shown as it is."""
    return visible(canonical(expression).decode("utf-8"))


def _leaf_words(context: Context, text: str) -> str:
    """Word who must sign."""
    what, _, name = text.partition(":")
    if what == "role" and name in texts.ROLES:
        return context.say(texts.ROLES[name])
    known = {"creator": texts.CREATOR, "independent": texts.INDEPENDENT}.get(text)
    return visible(name or text) if known is None else context.say(known)


def _whom(context: Context, text: str) -> str:
    """Word of whom a share is taken."""
    return context.say(texts.MEMBERS) if text == "member" else context.say(texts.ALL_OF_ROLE, role=visible(text[5:]))


def _names(value: Json) -> list[str]:
    """Narrow a list of names."""
    return [visible(str(item)) for item in value] if isinstance(value, list) else []


COMMANDS: Final = (
    Command(("proposals", "list"), texts.LIST_SUMMARY, texts.LIST_EXAMPLES, _list, _list_arguments),
    Command(("proposals", "show"), texts.SHOW_SUMMARY, texts.SHOW_EXAMPLES, _show, _show_arguments),
    Command(("proposals", "approve"), texts.APPROVE_SUMMARY, texts.APPROVE_EXAMPLES, _approve, _approve_arguments),
    Command(("proposals", "reject"), texts.REJECT_SUMMARY, texts.REJECT_EXAMPLES, _reject, _decide_arguments),
    Command(("proposals", "withdraw"), texts.WITHDRAW_SUMMARY, texts.WITHDRAW_EXAMPLES, _withdraw, _decide_arguments),
)
"""The commands of this file."""
