"""`medchain import`: brings files of FHIR content into the node.

Keeps true: every entry is stored, or was there already, or is reported as refused with its reason; nothing is stored
twice, however often an import is interrupted and begun again. A file whose conditional references are not there yet
waits until others are in. Much content is taken by worker processes, each file by one of them, so that its memory is
bounded and given back. The list of refusals holds no content. Trusts `medchain.commands.import_job` for a file.
Source: `docs/commands.md`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text, json_text
from medchain.commands.import_files import find_files
from medchain.commands.import_job import MODULE, FileImporter, Outcome, read_outcome
from medchain.encoding import Json
from medchain.errors import MedchainError
from medchain.node.assembly import open_web_node, read_genesis
from medchain.node.config import NodeConfig
from medchain.node.fork_server import ForkServer
from medchain.node.jobs import JobPool
from medchain.node.keystore import Layout, Unlock

MUCH_BYTES: Final = 8 << 20
"""How many bytes of files are worth worker processes."""

_BAR_CHARS: Final = 24


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


class Taker(Protocol):
    """Imports one file, see `FileImporter.take`."""

    def __call__(self, path: Path, *, may_wait: bool) -> Outcome:
        """Import it."""
        ...


@dataclass(slots=True)
class Importer:
    """An import under way.

    Attributes:
        take: imports one file; several at once where there is more than one worker.
        workers: how many files are taken at once.
        refuse: is told file, number of the entry (0 for the file) and reason of each refusal.
        tally: what it has come to.
    """

    take: Taker
    workers: int
    refuse: Callable[[Path, int, MedchainError], None]
    tally: Tally = field(default_factory=Tally)

    def run(self, files: Sequence[Path], progress: Callable[[int], None]) -> None:
        """Import files, those that wait for others once something else was stored, and at the end in any case.

        Args:
            files: in order.
            progress: is told how many files are done.

        Raises:
            MedchainError: what stopped it; files under way are finished first.
        """
        queue, waiting = deque(files), deque[Path]()
        with ThreadPoolExecutor(self.workers, "import") as executor:
            under_way: dict[Future[Outcome], Path] = {}
            may_wait = True
            while queue or waiting or under_way:
                if not queue and not under_way:
                    # Nothing more comes: what is still missing is told, entry by entry.
                    queue, waiting, may_wait = waiting, deque[Path](), False
                while queue and len(under_way) < self.workers:
                    path = queue.popleft()
                    under_way[executor.submit(self.take, path, may_wait=may_wait)] = path
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    path, outcome = under_way.pop(future), future.result()
                    self._count(path, outcome)
                    if outcome.waits:
                        waiting.append(path)
                    elif outcome.stored and waiting:
                        queue.appendleft(waiting.popleft())
                    progress(len(files) - len(queue) - len(waiting) - len(under_way))

    def _count(self, path: Path, outcome: Outcome) -> None:
        """Count what came of a file."""
        self.tally.stored += outcome.stored
        self.tally.present += outcome.present
        self.tally.skipped += outcome.is_skipped
        self.tally.rejected += len(outcome.refused)
        self.tally.entries += outcome.stored + outcome.present + len(outcome.refused)
        for number, error in sorted(outcome.refused, key=lambda item: item[0]):
            self.refuse(path, number, error)


def _arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `import` takes."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help=say(messages.IMPORT_PATHS))
    parser.add_argument("--workers", type=int, metavar="N", help=say(messages.IMPORT_WORKERS))
    parser.add_argument("--rejected", type=Path, metavar="FILE", help=say(messages.IMPORT_REJECTED))


def _import(context: Context) -> int:
    """Import files."""
    given, config = context.arguments, context.config()
    files = find_files(given.paths)
    halves = context.halves(config, messages.PASSPHRASE)
    workers = _workers(files) if given.workers is None else given.workers
    began = time.monotonic()
    with _taker(context, config, halves, workers) as take, _refusals(context, given.rejected) as refuse:
        importer = Importer(take, max(workers, 1), refuse)
        importer.run(files, lambda done: _show(context, importer.tally, done, len(files)))
    tally, seconds = importer.tally, max(time.monotonic() - began, 0.001)
    lines = [context.say(messages.IMPORT_DONE, **tally.document())]
    if tally.stored:
        lines.append(context.say(messages.IMPORT_RATE, seconds=seconds, rate=tally.stored / seconds))
    context.answer(tally.document(), lines)
    return Exit.REFUSED if tally.rejected else Exit.DONE


def _workers(files: Sequence[Path]) -> int:
    """Choose how many worker processes are worth their start; 0 for none."""
    total = sum(path.stat().st_size * (12 if path.suffix in {".gz", ".xz"} else 1) for path in files)
    return 0 if total < MUCH_BYTES else min(os.cpu_count() or 1, len(files), 8)


@contextmanager
def _taker(context: Context, config: NodeConfig, halves: Unlock, workers: int) -> Iterator[Taker]:
    """Give what imports one file: this process, or worker processes."""
    layout = Layout(config.folder)
    if workers <= 0:
        genesis, _ = read_genesis(layout)
        with open_web_node(config, halves, context.clock) as node:
            yield FileImporter(node, genesis).take
        return
    secret = bytes(halves.web).hex().encode()
    with closing(ForkServer.spawned(MODULE, str(context.config_path()))) as server:
        pool = JobPool(server, secret, workers, config.folder)

        def take(path: Path, *, may_wait: bool) -> Outcome:
            # A name is bytes, which may be no text.
            asked: Json = {"may_wait": may_wait, "path": os.fsencode(path.resolve()).hex()}
            return read_outcome(pool.run(asked).document)

        yield take


@contextmanager
def _refusals(context: Context, path: Path | None) -> Iterator[Callable[[Path, int, MedchainError], None]]:
    """Report refusals: to a file of documents, a line each, else to the terminal, as documents with `--json`."""
    file = None if path is None else path.open("wb")

    def refuse(source: Path, number: int, error: MedchainError) -> None:
        fields: Json = dict[str, Json](error.fields)
        row = json_text({"code": error.code, "entry": number, "fields": fields, "file": str(source)})
        if file is not None:
            file.write(row.encode())
            return
        if context.as_json:
            context.err.write(row)
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
