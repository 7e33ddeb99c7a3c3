"""`medchain claims counter`: settles a claim while the patient waits: asks, waits for the tap, judges, reserves, pays.

Keeps true: nothing is reserved or paid on a verdict that is not green, while a dispute about the claim is open, or
where a service for electronic invoices doubts its invoice; the claim stands in a file or is a record here, never among
the arguments. Trusts the daemon.
Source: `docs/commands.md`, `docs/spec/claim-case.md`.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from medchain.claims.case_content import GREEN, Status, is_doubted
from medchain.claims.cases import Case, CaseClient
from medchain.claims.counter import WAIT_S, Counter, Done, Step, Wanted
from medchain.commands import counter_texts as texts
from medchain.commands.claims import content_of
from medchain.commands.command import Command, Context, Exit, Text
from medchain.encoding import Json
from medchain.ledger.one_claim import MAX_DAYS
from medchain.node.local import LocalClient

_DAYS: Final = 7
_STORED: Final = re.compile(r"(?:Claim|ExplanationOfBenefit)/[A-Za-z0-9\-.]{1,64}")


def _arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `claims counter` takes."""
    parser.add_argument("claim", metavar="CLAIM", help=say(texts.CLAIM))
    parser.add_argument("--reason", required=True, metavar="TEXT", help=say(texts.REASON))
    parser.add_argument("--person", default="", metavar="NAME", help=say(texts.PERSON))
    parser.add_argument("--hospital", default="", metavar="ORG", help=say(texts.HOSPITAL))
    days = range(1, MAX_DAYS + 1)
    parser.add_argument("--days", type=int, default=_DAYS, choices=days, metavar="N", help=say(texts.DAYS))
    parser.add_argument("--wait", type=int, default=WAIT_S, metavar="SECONDS", help=say(texts.WAIT))
    parser.add_argument("--again", action="store_true", help=say(texts.AGAIN))


def _counter(context: Context) -> int:
    """Settle a claim, as far as it can be without a person's look."""
    given = context.arguments
    wanted = Wanted(given.reason, given.person, given.hospital, given.days, given.wait, given.again)

    def tell(step: Step, seconds: float) -> None:
        context.tell(texts.STEPS[step.value], seconds=f"{seconds:.1f}")

    with closing(LocalClient(context.config().folder)) as client:
        case = _opened(CaseClient(client), given.claim)
        done = Counter(client, time.monotonic, time.sleep, tell).settle(str(case["id"]), wanted)
    context.answer(_document(done), [_said(context, done)])
    return Exit.DONE if done.is_settled else Exit.REFUSED


def _opened(cases: CaseClient, claim: str) -> Case:
    """Open the case of a claim that is a record here, or stands in a file."""
    return cases.open(claim) if _STORED.fullmatch(claim) else cases.take(content_of(Path(claim)))


def _document(done: Done) -> Json:
    """Write what came of it."""
    steps: list[Json] = [{"milliseconds": round(seconds * 1000), "step": step.value} for step, seconds in done.steps]
    names = ("colour", "disputed", "id", "number", "status")
    return {**{name: done.case[name] for name in names}, "steps": steps}


def _said(context: Context, done: Done) -> str:
    """Say what came of it in a line."""
    if done.is_settled:
        return context.say(texts.SETTLED, seconds=f"{done.seconds:.1f}")
    case = done.case
    if case["disputed"]:
        why = texts.DISPUTED
    elif case["status"] == Status.REFUSED:
        why = texts.REFUSED
    else:
        why = texts.DOUBTED if case["colour"] == GREEN and is_doubted(case) else texts.OPEN
    return context.say(why, case=str(case["id"]))


COMMANDS: Final = (Command(("claims", "counter"), texts.SUMMARY, texts.EXAMPLES, _counter, _arguments),)
"""The commands of this file."""
