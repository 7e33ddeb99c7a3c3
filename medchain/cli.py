"""The roof: the command line `medchain`.

Keeps true: an error of our tree becomes one line with its code, in the reader's language, and the exit code of its
class; nobody is shown a traceback; a call loads what its command needs and no more. Trusts the commands of
`medchain.commands.registry`.
Source: `docs/commands.md`.
"""

from __future__ import annotations

import errno
import os
import resource
import sys
from argparse import SUPPRESS
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper
from typing import Any, Final, TextIO

from medchain.commands import error_texts, messages
from medchain.commands.command import LANGUAGES, Command, Context, Exit, Text, json_text, visible
from medchain.commands.parsing import Parser
from medchain.commands.registry import ALONE, GROUPS, load_commands
from medchain.encoding import Json
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    MedchainError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.node.clock import system_clock
from medchain.node.config import explain

OTHERS: Final = 0o077
"""Rights that nobody but its owner gets to a file (umask(2))."""

_EXITS: Final[Mapping[type[MedchainError], Exit]] = {
    VerificationError: Exit.REFUSED,
    InputError: Exit.INPUT,
    NotFoundError: Exit.NOT_FOUND,
    AccessDeniedError: Exit.DENIED,
    ConflictError: Exit.CONFLICT,
    UnavailableError: Exit.UNAVAILABLE,
}
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_CHINESE_LOCALES: Final = ("zh", "chinese")


def main(
    arguments: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Run a command.

    Args:
        arguments: words after the program's name; None for those of the process.
        environment: variables; None for those of the process.
        out: where the answer goes; None for standard output.
        err: where the rest goes; None for standard error.

    Returns:
        The exit code, see `medchain.commands.command.Exit`.
    """
    words = _whole(list(sys.argv[1:] if arguments is None else arguments))
    variables = dict(os.environ if environment is None else environment)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # Whatever the locale: a document is UTF-8 (RFC 8259 §8.1), and a word that it cannot write ends no command.
            stream.reconfigure(encoding="utf-8" if "--json" in words else None, errors="backslashreplace")
    out, err = out or sys.stdout, err or sys.stderr
    language = _language(words, variables)
    try:
        parsed = make_parser(language, load_commands(_first(words)), as_json="--json" in words).parse_words(words)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else Exit.INPUT
    context = Context(parsed, language, bool(parsed.json), out, err, system_clock, variables)
    command: Command = parsed.command
    return run(command, context)


def run(command: Command, context: Context) -> int:
    """Run one command and turn what it raises into an exit code; what it writes is its owner's alone.

    Proof bundles hold records in clear, and a node's processes, which inherit this, write logs and receipts. Nor does
    a process that crashes leave its memory on the disk, with keys and records.

    Args:
        command: which.
        context: what it is given.

    Returns:
        Its exit code.
    """
    before, cores = os.umask(OTHERS), resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, cores[1]))
    try:
        return command.run(context)
    except MedchainError as error:
        _report(context, error)
        return exit_of(error)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has seen enough; what is still buffered must not fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except OSError as error:
        _report_io(context, error)
        return Exit.UNAVAILABLE
    except Exception as error:  # noqa: BLE001  # the outermost handler
        _report_line(context, "internal", messages.INTERNAL, {"error": type(error).__name__, "place": _place(error)})
        return Exit.INTERNAL
    finally:
        os.umask(before)
        resource.setrlimit(resource.RLIMIT_CORE, cores)


def exit_of(error: MedchainError) -> Exit:
    """Choose the exit code of an error."""
    return next((code for kind, code in _EXITS.items() if isinstance(error, kind)), Exit.INTERNAL)


def make_parser(language: str, commands: Sequence[Command], *, as_json: bool = False) -> Parser:
    """Make the parser of some commands.

    Args:
        language: of the help.
        commands: which.
        as_json: whether wrong calls are told as documents.

    Returns:
        The parser; a parsed namespace holds the `Command` as ``command``.
    """

    def say(text: Text) -> str:
        return text.in_language(language)

    # `Any`: what differs in type is passed on as it is.
    common: dict[str, Any] = {"language": language, "as_json": as_json}
    top = Parser("medchain", description=say(messages.TOP_SUMMARY), epilog=say(messages.TOP_EXAMPLES), **common)
    top.add_argument("--lang", choices=LANGUAGES, help=say(messages.LANG_HELP))
    word = say(messages.COMMAND_WORD)
    # `Any`: argparse keeps the type of its sub-parsers private.
    places: dict[tuple[str, ...], Any] = {(): top.add_subparsers(metavar=word, required=True)}
    used = {command.path[0] for command in commands}
    for group in GROUPS:
        if group.name in used:
            summary = say(group.summary)
            parser = places[()].add_parser(group.name, help=summary, description=summary, **common)
            places[group.name,] = parser.add_subparsers(metavar=word, required=True)
    for command in commands:
        parser = places[command.path[:-1]].add_parser(
            command.path[-1],
            help=say(command.summary),
            description=say(command.summary),
            epilog=f"{say(messages.EXAMPLES)}:\n{_indented(say(command.examples))}",
            **common,
        )
        _common(parser, command, say)
        command.arguments(parser, say)
        parser.set_defaults(command=command, parser=parser)
    return top


def _common(parser: Parser, command: Command, say: Callable[[Text], str]) -> None:
    """Declare what every command takes."""
    parser.add_argument("--json", action="store_true", help=say(messages.JSON_HELP))
    # No default: it must not overwrite the one that stands before the command.
    parser.add_argument("--lang", choices=LANGUAGES, default=SUPPRESS, help=say(messages.LANG_HELP))
    if command.needs_config:
        parser.add_argument("--config", metavar="FILE", help=say(messages.CONFIG_HELP))


def _language(words: Sequence[str], environment: Mapping[str, str]) -> str:
    """Choose the language before arguments are parsed, since help and mistakes need it as well."""
    for index, word in enumerate(words):
        given = word.partition("=")[2] if word.startswith("--lang=") else ""
        if word == "--lang" and index + 1 < len(words):
            given = words[index + 1]
        if given in LANGUAGES:
            return given
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if environment.get(name):
            return "zh" if environment[name].lower().startswith(_CHINESE_LOCALES) else "en"
    return "en"


def _first(words: Sequence[str]) -> str | None:
    """Find the word that begins the command; None where there is none."""
    rest = [word for index, word in enumerate(words) if not (index and words[index - 1] == "--lang")]
    return next((word for word in rest if not word.startswith("-")), None)


def _whole(words: list[str]) -> list[str]:
    """Put the command behind a word that stands alone, see `ALONE`."""
    first = _first(words)
    if first is not None and first in ALONE:
        at = words.index(first) + 1
        following = words[at] if at < len(words) else "--"
        if following.startswith("-") and following not in ("-h", "--help"):
            return [*words[:at], ALONE[first], *words[at:]]
    return words


def _report(context: Context, error: MedchainError) -> None:
    """Tell of one of our errors; the mistakes of a configuration that was named are told one by one."""
    if error.code == "config.invalid" and context.arguments.command.needs_config and not context.as_json:
        given = dict(text.partition("=")[::2] for text in getattr(context.arguments, "set", []))
        for problem in explain(context.config_path(), context.environment, given):
            context.err.write(f"{problem.zh if context.language == 'zh' else problem.en} ({problem.code})\n")
        return
    fields = {name: "" if value is None else value for name, value in error.fields.items()}
    text = error_texts.ERRORS.get(error.code)
    if text is None or not _has_all(text, fields):
        # The node's own daemon passes on the code of an error and nothing else.
        text = next(
            (text for kind, text in error_texts.ERROR_KINDS.items() if isinstance(error, kind)), messages.INTERNAL
        )
    _report_line(context, error.code, text, fields)


def _report_io(context: Context, error: OSError) -> None:
    """Tell of one of the system's errors with files."""
    if error.errno in _NO_ROOM:
        _report(context, UnavailableError("store.full", path=_path(error)))
        return
    _report_line(context, "system.io", messages.SYSTEM_IO, {"reason": error.strerror or "", "path": _path(error)})


def _report_line(context: Context, code: str, text: Text, fields: Mapping[str, int | str]) -> None:
    """Write an error as one line, or as one document with `--json`."""
    if context.as_json:
        context.err.write(json_text({"code": code, "fields": dict[str, Json](fields)}))
        return
    detail = " ".join(f"{name}={visible(str(value))}" for name, value in fields.items() if f"{{{name}}}" not in text.en)
    context.err.write(f"{context.say(text, **fields)} ({code}{' ' if detail else ''}{detail})\n")


def _has_all(text: Text, fields: Mapping[str, int | str]) -> bool:
    """Tell whether a text can be worded with these fields."""
    try:
        text.en.format(**fields)
        text.zh.format(**fields)
    except (KeyError, IndexError):
        return False
    return True


def _path(error: OSError) -> str:
    """Name the file of an error of the system."""
    return str(error.filename or "")


def _place(error: Exception) -> str:
    """Name where an error came from: the innermost file and line, for a report to the authors."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None:
        return ""
    return f"{os.path.basename(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno}"  # noqa: PTH119  # a name, no path


def _indented(text: str) -> str:
    """Set examples off."""
    return "\n".join(f"  {line}" for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
