"""`medchain claims verdict`: has a claim judged, and tells what was found of it.

Keeps true: the invoice stands in a file, never among the arguments, which other users of the machine can read; nothing
is told by colour alone. Trusts the daemon, which keeps the case.
Source: `docs/commands.md`, `docs/spec/claim-case.md`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from medchain.claims.batch import read_table
from medchain.claims.cases import CaseClient
from medchain.claims.verdict_words import names_in
from medchain.commands import case_texts as texts
from medchain.commands import claim_texts
from medchain.commands.claim_lines import claim_lines
from medchain.commands.claims import content_of
from medchain.commands.command import Command, Context, Exit, Text
from medchain.commands.new_file import write_new
from medchain.encoding import Json, as_number, as_object, canonical
from medchain.errors import InputError
from medchain.ledger.evidence.verdict import parse_verdict
from medchain.ledger.listed import MEMBERS_FILE, names_of
from medchain.node.local import LocalClient
from medchain.node.packed import unpack_bundle

_STORED: Final = re.compile(r"(?:Claim|ExplanationOfBenefit)/[A-Za-z0-9.-]{1,64}")
_GATHERING: Final = "gathering"


def _arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `claims verdict` takes."""
    parser.add_argument("claim", metavar="CLAIM", help=say(texts.CLAIM))
    parser.add_argument("--csv", type=Path, metavar="FILE", help=say(claim_texts.CSV))
    parser.add_argument("--row", type=int, default=1, metavar="N", help=say(claim_texts.ROW))
    parser.add_argument("--hospital", metavar="ORG", help=say(texts.HOSPITAL))
    parser.add_argument("--start", metavar="DAY", help=say(texts.START))
    parser.add_argument("--end", metavar="DAY", help=say(texts.END))
    parser.add_argument("--waiting", type=int, metavar="DAYS", help=say(texts.WAITING))
    parser.add_argument("--fresh", action="store_true", help=say(texts.FRESH))
    parser.add_argument("--out", type=Path, metavar="FILE", help=say(texts.OUT))


def _verdict(context: Context) -> int:
    """Have a claim judged."""
    given = context.arguments
    with closing(LocalClient(context.config().folder)) as local:
        cases = CaseClient(local)
        if _STORED.fullmatch(given.claim) and not Path(given.claim).is_file():
            case = cases.open(given.claim, _given(context))
        else:
            case = cases.take(content_of(Path(given.claim)), _given(context))
        case_id = str(case["id"])
        case = cases.judge(case_id, is_fresh=given.fresh)
        while case["status"] == _GATHERING:
            _show(context, as_object(case["progress"]))
            case = cases.judge(case_id)
        packed = cases.bundle(case_id)
    if given.out is not None:
        write_new(given.out, packed)
    names = names_of(unpack_bundle(packed)[MEMBERS_FILE])
    verdict, name = parse_verdict(canonical(case["verdict"])), names_in(names, context.language)
    failures = as_object(case["failures"])
    missing = [
        context.say(texts.FAILURE, hospital=name(org_id), code=str(code)) for org_id, code in sorted(failures.items())
    ]
    document: Json = {"case": case_id, "failures": failures, "verdict": case["verdict"]}
    context.answer(document, [*claim_lines(context, verdict, names), *missing])
    return Exit.DONE


def _given(context: Context) -> dict[str, Json]:
    """Read what the insurer holds beside the claim."""
    given = context.arguments
    found: dict[str, Json] = {} if given.hospital is None else {"hospital": given.hospital}
    if given.start or given.end or given.waiting is not None:
        found["policy"] = {"end": given.end, "start": given.start, "waiting_days": given.waiting or 0}
    if given.csv is not None:
        rows = read_table(content_of(given.csv)).rows
        row = rows[given.row - 1] if 0 < given.row <= len(rows) else ""
        if isinstance(row, str):
            raise InputError("claim.row", row=given.row)
        found["row"] = row.to_json()
    return found


def _show(context: Context, progress: dict[str, Json]) -> None:
    """Show how far it is, on a terminal only."""
    if not context.as_json and context.err.isatty():
        context.tell(texts.PROGRESS, done=as_number(progress["done"]), all=as_number(progress["of"]))


COMMANDS: Final = (Command(("claims", "verdict"), texts.VERDICT_SUMMARY, texts.VERDICT_EXAMPLES, _verdict, _arguments),)
"""The commands of this file."""
