"""`medchain attest types`, `make`, `step`, `list`, `show` and `prove`: statements of registered types.

Keeps true: a ticket is shown once, to who made the statement. Trusts the daemon.
Source: `docs/commands.md`, `docs/spec/attest.md`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Final

from medchain.commands import attest_texts as texts
from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text, instant
from medchain.commands.founding import read_file
from medchain.commands.new_file import write_new
from medchain.encoding import Json, as_list, as_number, as_object, as_objects, canonical, members
from medchain.errors import InputError
from medchain.ledger.kinds.content import DAY_S
from medchain.node.clock import system_clock
from medchain.node.local import LocalClient
from medchain.node.peers import Limits
from medchain.node.proofs import proof_files, zip_bundle

_READ: Final = Limits(timeout_s=60.0, max_bytes=64 << 20)
_SUBMIT: Final = Limits(timeout_s=120.0, max_bytes=4096)
_MAX_DAYS: Final = 3660
_WHOLE: Final = re.compile(r"0|-?[1-9][0-9]{0,14}")


def _call(context: Context, operation: str, document: Json, limits: Limits) -> dict[str, Json]:
    """Have the daemon do something."""
    with closing(LocalClient(context.config().folder)) as client:
        return as_object(client.call(operation, document, limits))


def _types(context: Context) -> int:
    """List the registered types."""
    done = _call(context, "attest.types", {}, _READ)
    rows = [
        line for name, one in as_object(done["types"]).items() for line in _type_lines(context, name, as_object(one))
    ]
    context.answer(done, rows or [context.say(texts.NO_TYPES)])
    return Exit.DONE


def _type_lines(context: Context, name: str, one: Mapping[str, Json]) -> Iterator[str]:
    """Word one type."""
    made, said = _joined(one["by"]), _joined(one["fields"])
    yield context.say(texts.TYPE_ROW, type=name, makers=made, fields=said, state=one["state"])
    for step, row in as_object(one["steps"]).items():
        told = as_object(row)
        by, states, sets = (_joined(told[part]) for part in ("by", "from", "sets"))
        yield context.say(texts.STEP_ROW, step=step, by=by, states=states, state=told["to"], sets=sets or "-")


def _joined(names: Json) -> str:
    """Write names beside each other."""
    return ", ".join(str(name) for name in as_list(names))


def _say_argument(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what a step says."""
    parser.add_argument("--say", action="append", default=[], metavar="FIELD=VALUE", help=say(texts.SAY))


def _make_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `attest make` takes."""
    parser.add_argument("type", metavar="TYPE", help=say(texts.TYPE))
    parser.add_argument("--name", required=True, metavar="TEXT", help=say(texts.NAME))
    parser.add_argument("--file", required=True, type=Path, metavar="FILE", help=say(texts.FILE))
    _say_argument(parser, say)
    parser.add_argument("--party", action="append", default=[], metavar="ORG", help=say(texts.PARTY))
    parser.add_argument("--days", type=int, choices=range(1, _MAX_DAYS + 1), metavar="N", help=say(texts.DAYS))
    parser.add_argument("--ticket", action="store_true", help=say(texts.TICKET_WANTED))


def _make(context: Context) -> int:
    """Make a statement."""
    given = context.arguments
    digest: Json = {"sha256": sha256(read_file(given.file)).hexdigest()}
    asked: dict[str, Json] = {
        "parties": [*sorted(set(given.party))],
        "predicate": _said(given.say),
        "subject": [{"digest": digest, "name": given.name}],
        "ticket": given.ticket,
        "type": given.type,
    }
    if given.days is not None:
        asked["until"] = system_clock() + given.days * DAY_S
    done = _call(context, "attest.make", asked, _SUBMIT)
    told = members(done, {"key": str, "position": int, "ticket": str}, {"endorser": str})
    lines = [context.say(texts.MADE, **{"endorser": "", **told})]
    context.answer(done, [*lines, *([context.say(texts.TICKET_MADE, **told)] if told["ticket"] else [])])
    return Exit.DONE


def _said(words: Sequence[str]) -> dict[str, Json]:
    """Read what is said; raises `InputError` ``attest.fields`` for what names no field, or one twice."""
    rows = [word.partition("=") for word in words]
    values: dict[str, Json] = {name: int(text) if _WHOLE.fullmatch(text) else text for name, _, text in rows}
    if len(values) != len(rows) or not all(name and sign for name, sign, _ in rows):
        raise InputError("attest.fields")
    return values


def _key_argument(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare a statement."""
    parser.add_argument("object", metavar="KEY", help=say(texts.KEY))


def _step_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `attest step` takes."""
    _key_argument(parser, say)
    parser.add_argument("step", metavar="STEP", help=say(texts.STEP))
    _say_argument(parser, say)
    parser.add_argument("--ticket", default="", metavar="TICKET", help=say(texts.TICKET))


def _step(context: Context) -> int:
    """Take a step."""
    given = context.arguments
    asked: Json = {"object": given.object, "step": given.step, "ticket": given.ticket, "values": _said(given.say)}
    done = _call(context, "attest.step", asked, _SUBMIT)
    context.answer(done, [context.say(texts.STEPPED, **members(done, {"key": str, "position": int, "version": int}))])
    return Exit.DONE


def _list(context: Context) -> int:
    """List statements."""
    rows = as_objects(_call(context, "attest.list", {}, _READ)["attests"])
    context.answer({"attests": [*rows]}, [_line(context, row) for row in rows] or [context.say(texts.NONE)])
    return Exit.DONE


def _line(context: Context, row: Mapping[str, Json]) -> str:
    """Word one statement."""
    said = as_object(row["statement"])
    first = as_objects(said["subject"])[0]
    status = context.say(texts.STATUSES[str(row["status"])])
    told = {name: row[name] for name in ("creator", "key", "state", "version")}
    return context.say(texts.ROW, type=said["predicateType"], name=first["name"], status=status, **told)


def _show_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `attest show` takes."""
    _key_argument(parser, say)
    parser.add_argument("--ticket", default="", metavar="TICKET", help=say(texts.TICKET))


def _show(context: Context) -> int:
    """Show a statement."""
    given = context.arguments
    done = _call(context, "attest.show", {"object": given.object, "ticket": given.ticket}, _READ)
    said = as_object(as_object(done["statement"])["predicate"])
    values = {name: value if isinstance(value, str) else canonical(value).decode() for name, value in said.items()}
    lines = [_line(context, done)]
    lines += [context.say(texts.SAID, field=name, value=value) for name, value in values.items()]
    for row in as_objects(done["steps"]):
        lines.append(context.say(texts.TAKEN, **{**row, "time": instant(as_number(row["time"]))}))
    context.answer(done, lines)
    return Exit.DONE


def _prove_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `attest prove` takes."""
    _key_argument(parser, say)
    parser.add_argument("--field", action="append", default=[], metavar="NAME", help=say(texts.FIELD))
    parser.add_argument("--out", type=Path, default=Path("proof.zip"), metavar="FILE", help=say(messages.OUT_FILE))


def _prove(context: Context) -> int:
    """Write a statement's proof bundle."""
    given = context.arguments
    asked: dict[str, Json] = {"object": given.object}
    if given.field:
        asked["fields"] = [*sorted(set(given.field))]
    files = proof_files(_call(context, "attest.prove", asked, _READ))
    write_new(given.out, zip_bundle(files))
    told: dict[str, Json] = {"count": len(files), "file": str(given.out)}
    context.answer(told, [context.say(messages.RECORD_PROVED, **told)])
    return Exit.DONE


COMMANDS: Final = (
    Command(("attest", "types"), texts.TYPES_SUMMARY, texts.TYPES_EXAMPLES, _types),
    Command(("attest", "make"), texts.MAKE_SUMMARY, texts.MAKE_EXAMPLES, _make, _make_arguments),
    Command(("attest", "step"), texts.STEP_SUMMARY, texts.STEP_EXAMPLES, _step, _step_arguments),
    Command(("attest", "list"), texts.LIST_SUMMARY, texts.LIST_EXAMPLES, _list),
    Command(("attest", "show"), texts.SHOW_SUMMARY, texts.SHOW_EXAMPLES, _show, _show_arguments),
    Command(("attest", "prove"), texts.PROVE_SUMMARY, texts.PROVE_EXAMPLES, _prove, _prove_arguments),
)
"""The commands of this file."""
