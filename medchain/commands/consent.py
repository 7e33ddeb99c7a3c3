"""`medchain consent decide`: decides cases from a file, line for line, as a node decides.

Keeps true: each line that is not blank gets exactly one line, in its place; a line that cannot be read is denied and
says why, and does not end the run. Trusts `consent.cases` for the decisions.
Source: `docs/commands.md`; `docs/spec/consent.md`, "Cases".
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from datetime import tzinfo
from pathlib import Path
from typing import Final

import orjson

from consent.cases import rule_case
from medchain.commands import consent_texts as texts
from medchain.commands.command import Command, Context, Exit, Text
from medchain.encoding import Json
from medchain.errors import InputError, NotFoundError
from medchain.node.config import time_zone

MAX_CASE_BYTES: Final = 16 << 20
"""Longest line that is read."""

_TOKEN: Final = re.compile(rb'"((?:[^"\\]|\\.)*+)"(\s*:\s*("(?:[^"\\]|\\.)*+"|-?[0-9]+))?|[{}\[\]]', re.DOTALL)


def _arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare file and time zone."""
    parser.add_argument("--cases", type=Path, required=True, metavar="FILE", help=say(texts.DECIDE_CASES))
    parser.add_argument("--tz", default="UTC", metavar="ZONE", help=say(texts.DECIDE_ZONE))


def _decide(context: Context) -> int:
    """Decide each case of a file."""
    zone = _zone(context.arguments.tz)
    path: Path = context.arguments.cases
    count = errors = 0
    for line in _lines(path):
        answer = _answer(line, zone)
        context.out.write(orjson.dumps(answer).decode("utf-8") + "\n")
        count += 1
        errors += "error" in answer
    context.out.flush()
    context.tell(texts.DECIDE_DONE, count=count, errors=errors)
    return Exit.REFUSED if errors else Exit.DONE


def _zone(name: str) -> tzinfo:
    """Find a time zone."""
    try:
        return time_zone(name)
    except InputError as error:
        raise InputError("call.zone", zone=name) from error


def _lines(path: Path) -> Iterator[bytes]:
    """Read a file's lines, none longer than is allowed and one byte."""
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_CASE_BYTES + 1):
                rest = line
                while not rest.endswith(b"\n") and (rest := file.readline(MAX_CASE_BYTES)):
                    pass
                if line.strip():
                    yield line
    except FileNotFoundError as error:
        raise NotFoundError("file.missing", path=str(path)) from error


def _answer(line: bytes, zone: tzinfo) -> dict[str, Json]:
    """Decide one line."""
    case: object = None
    try:
        case = _parsed(line)
        ruled = rule_case(case, zone=zone)
    except InputError as error:
        name = case.get("id") if isinstance(case, dict) else _id_in(line)
        denied: dict[str, Json] = {"id": name, "decision": "deny", "basis": "implicit", "path": "", "obligations": []}
        member = error.fields.get("member")
        return denied | {"error": error.code} | ({} if member is None else {"member": str(member)})
    found = ruled.to_json()
    name = case.get("id") if isinstance(case, dict) else None
    return {"id": name, **{member: found[member] for member in ("decision", "basis", "path", "obligations")}}


def _parsed(line: bytes) -> object:
    """Parse a line."""
    if len(line) > MAX_CASE_BYTES:
        raise InputError("case.too_large")
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InputError("case.not_json") from error


def _id_in(line: bytes) -> str | int | None:
    """Find the id in a line that is nested deeper than any parser goes, so that its answer can be told apart."""
    depth = 0
    for token in _TOKEN.finditer(line):
        mark = token[0]
        if mark in (b"{", b"["):
            depth += 1
        elif mark in (b"}", b"]"):
            depth -= 1
        elif depth == 1 and token[1] == b"id" and token[3] is not None:
            try:
                found = orjson.loads(token[3])
            except orjson.JSONDecodeError:
                return None
            return found if isinstance(found, str | int) else None
    return None


COMMANDS: Final = (
    Command(
        ("consent", "decide"), texts.DECIDE_SUMMARY, texts.DECIDE_EXAMPLES, _decide, _arguments, needs_config=False
    ),
)
"""The commands of this file."""
