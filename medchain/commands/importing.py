"""`medchain import`: brings files of FHIR content into the node.

Keeps true: every entry is stored, or was there already, or is reported as refused with its reason; nothing is stored
twice, however often an import is interrupted and begun again: before a unit is stored, the journal says durably what it
will make, and afterwards that it was made, so that what lies between is found out by looking. A file whose conditional
references are not there yet waits until the others are in. The journal and the list of refusals hold no content. Trusts
`RecordService.create_many` to store all or none.
Source: `docs/commands.md`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from fhir_bridge.bundle import Plan, collect
from fhir_bridge.references import Resolver
from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text
from medchain.commands.import_files import Unit, find_files, units
from medchain.encoding import Json, canonical, members, parse_canonical
from medchain.errors import ConflictError, InputError, MedchainError
from medchain.node.assembly import open_web_node, read_genesis
from medchain.node.clock import Clock
from medchain.node.keystore import Layout
from medchain.node.records import RecordService
from medchain.store.records import RecordStore

JOURNAL_NAME: Final = "import.journal"
"""Name of the journal in a node's folder."""

_WAITS_FOR: Final = "reference.not_found"
_BAR_CHARS: Final = 24
_MAX_LINE: Final = 1 << 20


@dataclass(slots=True)
class Tally:
    """What an import has come to.

    Attributes:
        entries: read.
        stored: new record versions.
        present: there already.
        rejected: refused.
        skipped: files that an earlier import has finished.
    """

    entries: int = 0
    stored: int = 0
    present: int = 0
    rejected: int = 0
    skipped: int = 0

    def document(self) -> dict[str, Json]:
        """Write it."""
        return {
            "entries": self.entries,
            "present": self.present,
            "rejected": self.rejected,
            "skipped": self.skipped,
            "stored": self.stored,
        }


class Journal:
    """What was begun and what was done, line by line; a line that a crash cut is not counted."""

    def __init__(self, path: Path) -> None:
        """Read what is there and open it for more."""
        self._begun: dict[str, tuple[str, str, int]] = {}
        self._done: set[str] = set()
        content = path.read_bytes() if path.exists() else b""
        whole, _, _ = content.rpartition(b"\n")
        for line in whole.splitlines():
            self._take(members(parse_canonical(line, max_bytes=_MAX_LINE), {"first": list, "state": str, "unit": str}))
        self._file: IO[bytes] = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
        self._file.truncate(len(whole) + 1 if whole else 0)
        self._file.seek(0, os.SEEK_END)

    def is_done(self, unit: str) -> bool:
        """Tell whether a unit, or with its digest alone a file, was finished."""
        return unit in self._done

    def begun(self, unit: str) -> tuple[str, str, int] | None:
        """Return the first record that a unit was to make, if it was begun: type, id, version."""
        return self._begun.get(unit)

    def begin(self, unit: str, first: tuple[str, str, int]) -> None:
        """Say durably what will be made."""
        self._write(unit, "begun", [*first])

    def finish(self, unit: str) -> None:
        """Say durably that it was made."""
        self._write(unit, "done", [])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, unit: str, state: str, first: list[Json]) -> None:
        """Append a line."""
        row: dict[str, Json] = {"first": first, "state": state, "unit": unit}
        self._file.write(canonical(row) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._take(row)

    def _take(self, row: dict[str, Json]) -> None:
        """Remember a line."""
        unit, first = str(row["unit"]), row["first"]
        if row["state"] == "done":
            self._done.add(unit)
        elif isinstance(first, list) and isinstance(first[2], int):
            self._begun[unit] = (str(first[0]), str(first[1]), first[2])


@dataclass(slots=True)
class Importer:
    """An import under way.

    Attributes:
        service: stores records.
        store: the same records, sealed.
        resolver: ids and identifiers.
        journal: what is done.
        clock: gives Unix seconds.
        refuse: is told file, number of the entry (0 for the file) and reason of each refusal.
        tally: what it has come to.
    """

    service: RecordService
    store: RecordStore
    resolver: Resolver
    journal: Journal
    clock: Clock
    refuse: Callable[[Path, int, MedchainError], None]
    tally: Tally = field(default_factory=Tally)

    def run(self, files: Sequence[Path], progress: Callable[[int], None]) -> None:
        """Import files, those that wait for others at the end.

        Args:
            files: in order.
            progress: is told how many files are done.
        """
        waiting: list[Path] = []
        for path in files:
            if not self._file(path, may_wait=True):
                waiting.append(path)
            progress(len(files) - len(waiting))
        for number, path in enumerate(waiting, 1):
            self._file(path, may_wait=False)
            progress(len(files) - len(waiting) + number)

    def _file(self, path: Path, *, may_wait: bool) -> bool:
        """Import one file; tells whether it is finished."""
        count = fresh = 0
        try:
            for unit in units(path):
                count += 1
                if self.journal.is_done(unit.name):
                    continue
                fresh += 1
                if not self._unit(path, unit, may_wait=may_wait):
                    return False
        except InputError as error:
            self._refused(path, 0, error)
            return True
        if count and not fresh:
            self.tally.skipped += 1
        return True

    def _unit(self, path: Path, unit: Unit, *, may_wait: bool) -> bool:
        """Import one unit; tells whether it is finished, and not waiting for other files."""
        made = self.journal.begun(unit.name)
        if made is not None and self._is_there(made):
            # It was stored, and the import ended before it could say so.
            self._count(path, unit, present=len(unit.numbers))
            self.journal.finish(unit.name)
            return True
        try:
            plan = collect(unit.bundle, self.resolver, self.clock())
        except (InputError, ConflictError) as error:
            self._all_refused(path, unit, error)
            return True
        if may_wait and any(item.error.code == _WAITS_FOR for item in plan.refused):
            return False
        self._store(path, unit, plan)
        return True

    def _store(self, path: Path, unit: Unit, plan: Plan) -> None:
        """Store what was planned."""
        if plan.records:
            first = plan.records[0]
            self.journal.begin(unit.name, (first.type, first.id, first.version))
            try:
                self.service.create_many(plan.records)
            except ConflictError as error:
                self._all_refused(path, unit, error)
                return
        self._count(path, unit, stored=len(plan.records), present=len(plan.entries) - len(plan.records))
        for item in plan.refused:
            self._refused(path, unit.numbers[item.index], item.error)
        self.journal.finish(unit.name)

    def _is_there(self, made: tuple[str, str, int]) -> bool:
        """Tell whether a record version is there."""
        return self.store.get(*made) is not None

    def _count(self, path: Path, unit: Unit, *, stored: int = 0, present: int = 0) -> None:
        """Count a unit's entries."""
        self.tally.stored += stored
        self.tally.present += present
        self.tally.entries += stored + present
        for number, error in unit.refused:
            self._refused(path, number, error)

    def _all_refused(self, path: Path, unit: Unit, error: MedchainError) -> None:
        """Refuse a whole unit, entry by entry."""
        self._count(path, unit)
        for number in unit.numbers or (0,):
            self._refused(path, number, error)

    def _refused(self, path: Path, number: int, error: MedchainError) -> None:
        """Count and report a refusal."""
        self.tally.entries += 1
        self.tally.rejected += 1
        self.refuse(path, number, error)


def _arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `import` takes."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help=say(messages.IMPORT_PATHS))
    parser.add_argument("--journal", type=Path, metavar="FILE", help=say(messages.IMPORT_JOURNAL))
    parser.add_argument("--rejected", type=Path, metavar="FILE", help=say(messages.IMPORT_REJECTED))


def _import(context: Context) -> int:
    """Import files."""
    given, config = context.arguments, context.config()
    files = find_files(given.paths)
    genesis, _ = read_genesis(Layout(config.folder))
    halves = context.halves(config, messages.PASSPHRASE)
    journal = Journal(given.journal or config.folder / JOURNAL_NAME)
    try:
        with open_web_node(config, halves, context.clock) as node, _refusals(context, given.rejected) as refuse:
            service = RecordService(node.records, genesis.ledger, node.keys.records, context.clock)
            resolver = Resolver(service, node.records, node.keys.records)
            importer = Importer(service, node.records, resolver, journal, context.clock, refuse)
            importer.run(files, lambda done: _show(context, importer.tally, done, len(files)))
    finally:
        journal.close()
    tally = importer.tally
    context.answer(tally.document(), [context.say(messages.IMPORT_DONE, **tally.document())])
    return Exit.REFUSED if tally.rejected else Exit.DONE


@contextmanager
def _refusals(context: Context, path: Path | None) -> Iterator[Callable[[Path, int, MedchainError], None]]:
    """Report refusals: to a file of canonical lines, else to the terminal."""
    file = None if path is None else path.open("wb")

    def refuse(source: Path, number: int, error: MedchainError) -> None:
        if file is not None:
            fields: Json = dict[str, Json](error.fields)
            row: Json = {"code": error.code, "entry": number, "fields": fields, "file": str(source)}
            file.write(canonical(row) + b"\n")
            return
        detail = " ".join(f"{name}={value}" for name, value in error.fields.items())
        context.tell(messages.IMPORT_REFUSED, file=source.name, entry=number, code=error.code, detail=detail)

    try:
        yield refuse
    finally:
        if file is not None:
            file.close()


def _show(context: Context, tally: Tally, done: int, total: int) -> None:
    """Show a progress bar, on a terminal only."""
    if context.as_json or not context.err.isatty():
        return
    full = _BAR_CHARS * done // total
    bar = "#" * full + "-" * (_BAR_CHARS - full)
    fields = {"bar": bar, "done": done, "total": total, "stored": tally.stored, "rejected": tally.rejected}
    end = "\n" if done == total else ""
    context.err.write("\r\x1b[K" + context.say(messages.IMPORT_PROGRESS, **fields) + end)
    context.err.flush()


COMMANDS: Final = (Command(("import",), messages.IMPORT_SUMMARY, messages.IMPORT_EXAMPLES, _import, _arguments),)
"""The command of this file."""
