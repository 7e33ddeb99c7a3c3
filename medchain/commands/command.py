"""What a command is, and what it is given: arguments, language, streams, clock, environment.

Keeps true: every word that a person reads exists in Chinese and English; what others wrote is shown, and no terminal
obeys it; an answer goes to standard output, whole, as lines or as one JSON document; everything else goes to standard
error. A passphrase comes from the environment or the terminal, never from an argument, which other users of the machine
can read. Trusts the roof to turn errors into exit codes (`medchain.cli`).
Source: `docs/commands.md`.
"""

from __future__ import annotations

import argparse
import getpass
import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from medchain.counted import filled
from medchain.encoding import Json, canonical
from medchain.errors import InputError
from medchain.node.clock import Clock
from medchain.node.config import NodeConfig, load_config
from medchain.node.keystore import PASSPHRASE_VARIABLE, Unlock, open_root_file, unlock

LANGUAGES: Final = ("zh", "en")
"""Languages that every text has."""

_EPOCH: Final = date(1970, 1, 1).toordinal()
_LAYOUT: Final = "\n\t"
_YES: Final = frozenset({"yes", "是"})

CONFIG_ENVIRONMENT: Final = "MEDCHAIN_CONFIG"
"""Environment variable that names the configuration where `--config` does not."""


class Exit(IntEnum):
    """Exit codes; `docs/commands.md` explains them."""

    DONE = 0
    REFUSED = 1
    INPUT = 2
    STALE = 3
    NOT_FOUND = 4
    DENIED = 5
    CONFLICT = 6
    UNAVAILABLE = 7
    INTERNAL = 8
    INTERRUPTED = 130


class Text(NamedTuple):
    """A text in both languages."""

    zh: str
    en: str

    def in_language(self, language: str) -> str:
        """Return it in a language of `LANGUAGES`."""
        return self.zh if language == "zh" else self.en


def instant(seconds: int) -> str:
    """Write a time, Unix seconds, as people read it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def visible(text: str, keep: str = "") -> str:
    """Write a text so that a terminal shows it and obeys none of it.

    Names of files, reasons and purposes come from others. A control or format character among them would move the
    cursor, colour, reverse or overwrite what we say.

    Args:
        text: anything.
        keep: characters that stay.

    Returns:
        The text, such characters and line ends as a backslash, ``u`` and their number.
    """
    if text.isprintable():
        return text
    return "".join(f"\\u{ord(char):04x}" if _is_obeyed(char) and char not in keep else char for char in text)


def json_text(document: Json) -> str:
    """Write a document as one line; of names of files that are no text, each odd byte as a backslash and its number."""
    return canonical(_as_text(document)).decode("utf-8") + "\n"


def _as_text(value: Json) -> Json:
    """Make texts of what the system gave as names, which may hold any bytes."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case list():
            return [_as_text(item) for item in value]
        case dict():
            return {name: _as_text(item) for name, item in value.items()}
        case _:
            return value


def _is_obeyed(char: str) -> bool:
    """Tell whether a terminal may do something else than show a character."""
    category = unicodedata.category(char)
    return category[0] == "C" or category in ("Zl", "Zp")


@dataclass(frozen=True, slots=True)
class Context:
    """What a command is given.

    Attributes:
        arguments: as `Command.arguments` declared them, and ``json``, ``lang``.
        language: of `LANGUAGES`.
        as_json: whether the answer is one JSON document.
        out: for the answer.
        err: for progress, warnings and errors.
        clock: gives Unix seconds.
        environment: variables of the process.
        read_secret: asks a person for a passphrase.
        read_line: reads what a person types.
    """

    arguments: argparse.Namespace
    language: str
    as_json: bool
    out: TextIO
    err: TextIO
    clock: Clock
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    read_secret: Callable[[str], str] = getpass.getpass
    read_line: Callable[[], str] = lambda: input()  # noqa: PLW0108  # looked up when it is called

    def say(self, text: Text, /, **fields: object) -> str:
        """Word a text in the chosen language; what stands in its fields is shown, never obeyed."""
        shown = {name: visible(value) if isinstance(value, str) else value for name, value in fields.items()}
        return filled(text.in_language(self.language), shown)

    def answer(self, document: Json, lines: Iterable[str]) -> None:
        """Write the answer: the document with `--json`, else the lines."""
        if self.as_json:
            self.out.write(json_text(document))
        else:
            self.out.writelines(f"{visible(line, _LAYOUT)}\n" for line in lines)
        self.out.flush()

    def tell(self, text: Text, /, **fields: object) -> None:
        """Tell the person at the terminal something beside the answer."""
        self.err.write(self.say(text, **fields) + "\n")
        self.err.flush()

    def confirm(self, question: Text, /, **fields: object) -> bool:
        """Ask a person for a plain yes, at the terminal; raises `InputError` ``confirm.missing`` where nobody is."""
        self.err.write(self.say(question, **fields) + " ")
        self.err.flush()
        try:
            return self.read_line().strip().lower() in _YES
        except (EOFError, OSError) as error:
            raise InputError("confirm.missing") from error

    def config_path(self) -> Path:
        """Name the configuration: `--config`, then MEDCHAIN_CONFIG, then ``node.toml`` here."""
        given: str | None = self.arguments.config
        return Path(given or self.environment.get(CONFIG_ENVIRONMENT) or "node.toml")

    def config(self) -> NodeConfig:
        """Read the configuration; raises `InputError` ``config.invalid``."""
        return load_config(self.config_path(), self.environment, {})

    def passphrase(self, prompt: Text) -> str:
        """Get a passphrase from the environment or the terminal; raises `InputError` ``passphrase.missing``."""
        given = self.environment.get(PASSPHRASE_VARIABLE)
        if given is not None:
            return given
        try:
            return self.read_secret(self.say(prompt) + ": ")
        except (EOFError, OSError) as error:
            raise InputError("passphrase.missing", variable=PASSPHRASE_VARIABLE) from error

    def halves(self, config: NodeConfig, prompt: Text) -> Unlock:
        """Open the root key of a node; errors as `medchain.node.keystore.open_root_file`."""
        passphrase = self.passphrase(prompt) if config.key_source == "passphrase" else None
        return unlock(open_root_file(config.key_file, passphrase))


@dataclass(frozen=True, slots=True)
class Command:
    """A command.

    Attributes:
        path: its words, such as ``("node", "run")``.
        summary: one line.
        examples: whole commands with a word on each, that teach it.
        run: does it and gives the exit code.
        arguments: declares its arguments; the function words help in the chosen language.
        needs_config: whether it takes `--config`.
    """

    path: tuple[str, ...]
    summary: Text
    examples: Text
    run: Callable[[Context], int]
    arguments: Callable[[argparse.ArgumentParser, Callable[[Text], str]], None] = lambda _parser, _say: None
    needs_config: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """A word under which commands stand.

    Attributes:
        name: the word.
        summary: one line.
    """

    name: str
    summary: Text
