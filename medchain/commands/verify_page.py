"""`medchain verify-page`: writes verify.html, which verifies evidence offline in a browser.

Keeps true: the file is the one that nodes serve; one that is there already is left as it is.
Source: ADR 0084.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text
from medchain.commands.new_file import write_new
from medchain.encoding import Json
from medchain.web.verify_page import verify_page


def _page_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `verify-page` takes."""
    parser.add_argument("file", type=Path, metavar="FILE", help=say(messages.PAGE_FILE))


def _write_page(context: Context) -> int:
    """Write verify.html."""
    path, page = context.arguments.file, verify_page()
    write_new(path, page)
    told: dict[str, Json] = {"file": str(path), "sha256": sha256(page).hexdigest(), "size": len(page)}
    context.answer(told, [context.say(messages.PAGE_WRITTEN, **told)])
    return Exit.DONE


COMMANDS: Final = (
    Command(
        ("verify-page",),
        messages.PAGE_SUMMARY,
        messages.PAGE_EXAMPLES,
        _write_page,
        _page_arguments,
        needs_config=False,
    ),
)
"""The commands of this file."""
