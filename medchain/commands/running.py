"""`medchain node run` and `config check`.

Trusts `medchain.node.supervisor` to run the node and `medchain.node.config` to explain mistakes.
Source: `docs/commands.md`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Final

from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text
from medchain.encoding import Json
from medchain.errors import InputError
from medchain.node.config import explain
from medchain.node.supervisor import run_node


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
    Command(("config", "check"), messages.CHECK_SUMMARY, messages.CHECK_EXAMPLES, _check),
)
"""The commands of this file."""
