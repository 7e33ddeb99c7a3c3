"""The parser of the command line: `argparse`, its own words in the reader's language too.

Keeps true: a wrong call is told in the language of the help, beside the usage of the very command that was called, and
with `--json` as a document. Trusts `argparse` for the grammar; a mistake that is not in `messages.WRONG_CALLS` is told
in its English.
Source: `docs/commands.md`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final, NoReturn

from medchain.commands import messages
from medchain.commands.command import Exit, Text, json_text
from medchain.encoding import Json

_FIELD: Final = re.compile(r"\\\{(\w+)\\\}")
_HEADINGS: Final = {"positional arguments": messages.POSITIONALS, "options": messages.OPTIONS}


class Parser(argparse.ArgumentParser):
    """A parser that speaks the reader's language."""

    def __init__(self, prog: str, *, language: str, as_json: bool, description: str, epilog: str | None = None) -> None:
        """Prepare.

        Args:
            prog: words of the call up to here.
            language: of `medchain.commands.command.LANGUAGES`.
            as_json: whether mistakes are told as documents.
            description: what the help begins with.
            epilog: what it ends with.
        """
        formatter = partial(_Formatter, language=language)
        # An abbreviation that is clear today is not once there is another option: scripts must not begin to rely on it.
        super().__init__(
            prog,
            description=description,
            epilog=epilog,
            formatter_class=formatter,
            add_help=False,
            allow_abbrev=False,
        )
        self._language = language
        self._as_json = as_json
        help_text = messages.HELP_HELP.in_language(language)
        self.add_argument("-h", "--help", action="help", default=argparse.SUPPRESS, help=help_text)

    def parse_words(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse a call; what is left over is told by the parser of the command that was called.

        Args:
            words: after the program's name.

        Returns:
            What was found; ``parser`` is that of the command.

        Raises:
            SystemExit: a wrong call, or help was given.
        """
        found, left = self.parse_known_args(words)
        if left:
            found.parser.error(f"unrecognized arguments: {' '.join(left)}")
        return found

    def error(self, message: str) -> NoReturn:
        """Tell a wrong call and leave.

        Args:
            message: of `argparse`, in English.
        """
        said = _in_language(message, self._language)
        if self._as_json:
            fields: Json = {"call": self.prog, "mistake": message}
            sys.stderr.write(json_text({"code": "call.usage", "fields": fields}))
        else:
            mistake = messages.MISTAKE.in_language(self._language).format(call=self.prog, mistake=said)
            sys.stderr.write(f"{self.format_usage()}{mistake}\n")
        raise SystemExit(int(Exit.INPUT))


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Words usage and headings in the reader's language."""

    def __init__(self, prog: str, language: str) -> None:
        super().__init__(prog)
        self._language = language
        self._usage = messages.USAGE.in_language(language) + " "

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None = None,
    ) -> None:
        super().add_usage(usage, actions, groups, self._usage if prefix is None else prefix)

    def start_section(self, heading: str | None) -> None:
        text = _HEADINGS.get(heading or "")
        super().start_section(heading if text is None else text.in_language(self._language))


def _in_language(message: str, language: str) -> str:
    """Word a mistake of `argparse` in a language."""
    for text in messages.WRONG_CALLS:
        found = re.fullmatch(_pattern(text), message, re.DOTALL)
        if found:
            return text.in_language(language).format(**found.groupdict())
    return message


def _pattern(text: Text) -> str:
    """Make the pattern of a mistake out of its English text; a field takes as much as the rest of it leaves."""
    return _FIELD.sub(r"(?P<\1>.+?)", re.escape(text.en))
