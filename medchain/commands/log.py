"""`medchain log mirror`: copies the log to a folder; and `medchain log witnesses`: how it is with outside witnesses.

Keeps true: a mirror has the tree of C2SP tlog-tiles, every tile of it computed again from the entries before one is
put into its place, and writes the checkpoint last, so that it never claims more than is there; what a mirror had
before is the beginning of what it has after. Trusts the node whose log it is for the signatures, unless it is given a
policy: then the log is one that a quorum of its members has cosigned, and whose end names them. Trusts no file that it
finds in the folder.
Source: C2SP tlog-tiles; `docs/spec/log.md` 2, 21 to 25.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from medchain.commands import messages, witnessing_texts
from medchain.commands.checking import read_policy
from medchain.commands.command import Command, Context, Exit, Text, instant
from medchain.commands.new_file import write_new
from medchain.encoding import Json, members
from medchain.errors import InputError, VerificationError
from medchain.ledger.lineage import is_named, members_policy
from medchain.ledger.machine import parse_state_leaf
from medchain.node.keystore import write_private_file
from medchain.node.local import LocalClient
from medchain.node.witness_file import MAX_FILE_BYTES, log_lines, parse_logs
from medchain.node.witnesses import WITNESSES
from medchain.tlog.checkpoint import Checkpoint, parse_checkpoint
from medchain.tlog.merkle import HASH_BYTES, Frontier, leaf_hash
from medchain.tlog.note import VerifierKey, parse_note, parse_vkey
from medchain.tlog.policy import Policy
from medchain.tlog.tiles import TILE_HEIGHT, TILE_WIDTH, entries_path, parse_entry_bundle, tile_path, tiles_for_append

_CHECKPOINT: Final = "checkpoint"
_TOP: Final = {"log": dict, "witnesses": list}


def _mirror_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `log mirror` takes."""
    parser.add_argument("folder", type=Path, metavar="DIR", help=say(messages.MIRROR_FOLDER))
    parser.add_argument("--policy", type=Path, metavar="FILE", help=say(messages.MIRROR_POLICY))


def _mirror(context: Context) -> int:
    """Copy the final log to a folder."""
    folder: Path = context.arguments.folder
    trusted = _trusted(context.arguments.policy)
    before = _mirrored(folder)
    mirror = _Mirror(folder)
    with closing(LocalClient(context.config().folder)) as client:
        note = client.get("/log/checkpoint")
        checkpoint = parse_checkpoint(parse_note(note).text)
        if before is not None and (before.origin != checkpoint.origin or before.size > checkpoint.size):
            raise VerificationError("log.older", size=checkpoint.size)
        if trusted is not None:
            trusted.check(note)
        replaced = _checked(client, mirror, checkpoint, before)
    if trusted is not None and not _is_of(trusted, mirror, checkpoint.size):
        mirror.drop()
        raise VerificationError("log.other_policy", size=checkpoint.size)
    fetched = mirror.enter(_names(checkpoint.size))
    write_private_file(folder / _CHECKPOINT, note)
    size = checkpoint.size
    document: Json = {"fetched": fetched, "folder": str(folder), "replaced": [*replaced], "size": size}
    lines = [context.say(messages.MIRROR_REPLACED, path=name) for name in replaced]
    context.answer(document, [*lines, context.say(messages.MIRROR_DONE, folder=folder, size=size, fetched=fetched)])
    return Exit.DONE


def _trusted(path: Path | None) -> Policy | None:
    """Read the policy that a log is held to, where one is given; raises also for one that names no members."""
    if path is None:
        return None
    policy = Policy.parse(read_policy(path).encode())
    members_policy(policy)
    return policy


def _is_of(policy: Policy, mirror: _Mirror, size: int) -> bool:
    """Tell whether the end of a log names the members of a policy: a quorum of others is none."""
    newest = [_entries(mirror, index, width)[-1] for index, width in [*_row(size)][-1:]]
    try:
        return any(is_named(policy, parse_state_leaf(leaf).policy) for leaf in newest)
    except InputError:
        return False


class _Mirror:
    """The files of a mirror, and beside them those that are not checked yet.

    What waits when a call is interrupted is used by the next one, and checked with the rest.
    """

    __slots__ = ("_folder", "_waiting")

    def __init__(self, folder: Path) -> None:
        """Use a folder, which need not be there."""
        self._folder = folder
        self._waiting = folder / ".unchecked"

    def has(self, name: str) -> bool:
        """Tell whether a file is there, checked or not."""
        return (self._waiting / name).is_file() or (self._folder / name).is_file()

    def read(self, name: str) -> bytes:
        """Read a file, the one that waits first."""
        waiting = self._waiting / name
        return (waiting if waiting.is_file() else self._folder / name).read_bytes()

    def wait(self, name: str, content: bytes) -> None:
        """Keep a file that is not checked yet."""
        path = self._waiting / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.new")
        beside.write_bytes(content)
        beside.replace(path)

    def enter(self, names: Iterable[str]) -> int:
        """Put what waits into its place, all of it being checked; returns how many files that were."""
        count = 0
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            waiting, path = self._waiting / name, self._folder / name
            if waiting.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_private_file(path, waiting.read_bytes())
                # One after the other: a disk that has no room for all of them twice has it for all of them.
                waiting.unlink()
                count += 1
        self.drop()
        return count

    def drop(self) -> None:
        """Forget what waits."""
        shutil.rmtree(self._waiting, ignore_errors=True)


def _checked(client: LocalClient, mirror: _Mirror, checkpoint: Checkpoint, before: Checkpoint | None) -> list[str]:
    """Fetch what is not there, and check all; a file that was found and is wrong is fetched again.

    Returns:
        Names of the files of the mirror that were wrong; the right ones wait in their place.

    Raises:
        VerificationError: as `_check`, with files that the node has just given; ``log.mirror_damaged`` if those that
            the mirror had do not fit its own checkpoint either.
    """
    given = {name for name in _names(checkpoint.size) if not mirror.has(name)}
    for name in sorted(given):
        mirror.wait(name, client.get(f"/log/{name}"))
    try:
        _check(mirror, checkpoint, before)
    except VerificationError:
        # A wrong tile tells of itself or of the entries below it: all that was found here is compared.
        found = (name for name in _names(checkpoint.size) if name not in given)
        replaced = [name for name in found if _renew(client, mirror, name)]
    else:
        return []
    try:
        _check(mirror, checkpoint, before)
    except VerificationError:
        mirror.drop()
        if before is not None:
            _check_own(mirror, before)
        raise
    return replaced


def _renew(client: LocalClient, mirror: _Mirror, name: str) -> bool:
    """Fetch a file again; tells whether the one that was there is another."""
    content = client.get(f"/log/{name}")
    if mirror.read(name) == content:
        return False
    mirror.wait(name, content)
    return True


def _mirrored(folder: Path) -> Checkpoint | None:
    """Read the checkpoint that a mirror has, if it has one."""
    try:
        return parse_checkpoint(parse_note((folder / _CHECKPOINT).read_bytes()).text)
    except FileNotFoundError:
        return None


def _check_own(mirror: _Mirror, before: Checkpoint) -> None:
    """Check a mirror against its own checkpoint, so that nobody else is blamed for what happened to its files.

    Raises:
        VerificationError: ``log.mirror_damaged``.
    """
    try:
        _check(mirror, before, None)
    except (OSError, VerificationError) as error:
        path = error.fields.get("path") if isinstance(error, VerificationError) else error.filename
        raise VerificationError("log.mirror_damaged", path=str(path or _CHECKPOINT)) from error


def _check(mirror: _Mirror, checkpoint: Checkpoint, before: Checkpoint | None) -> None:
    """Compute tiles and root from the entries of a mirror.

    Raises:
        VerificationError: ``log.tile`` for a file that is another than its place in the tree gives, ``log.root`` if
            the entries have another root than the checkpoint, ``log.rewritten`` if they do not begin with what the
            mirror had before.
    """
    frontier, source = Frontier.empty(), _Edge()
    for index, width in _row(checkpoint.size):
        start = index * TILE_WIDTH
        hashes = [leaf_hash(leaf) for leaf in _entries(mirror, index, width)]
        ends_here = before is not None and start < before.size <= start + width
        if before is not None and ends_here and frontier.append(hashes[: before.size - start]).root() != before.root:
            raise VerificationError("log.rewritten", size=before.size)
        frontier = frontier.append(hashes)
        for (level, number), tile in tiles_for_append(start, hashes, source).items():
            source.tiles[level] = tile
            if len(tile) == TILE_WIDTH * HASH_BYTES:
                _compare(mirror, level, number, tile)
    for level, tile in sorted(source.tiles.items()):
        number, width = divmod(checkpoint.size >> TILE_HEIGHT * level, TILE_WIDTH)
        if width:
            _compare(mirror, level, number, tile)
    if frontier.root() != checkpoint.root:
        raise VerificationError("log.root", size=checkpoint.size)


class _Edge:
    """The tile at the right edge of each level, as `tiles_for_append` asks for them."""

    __slots__ = ("tiles",)

    def __init__(self) -> None:
        self.tiles: dict[int, bytes] = {}

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Return the tile at the edge of a level."""
        del index, width
        return self.tiles[level]


def _entries(mirror: _Mirror, index: int, width: int) -> list[bytes]:
    """Read an entry bundle of the mirror."""
    name = entries_path(index, width)
    try:
        return parse_entry_bundle(mirror.read(name), width)
    except InputError as error:
        raise VerificationError("log.tile", path=name) from error


def _compare(mirror: _Mirror, level: int, index: int, tile: bytes) -> None:
    """Compare a tile of the mirror with what it must be."""
    name = tile_path(level, index, len(tile) // HASH_BYTES)
    if mirror.read(name) != tile:
        raise VerificationError("log.tile", path=name)


def _names(size: int) -> Iterator[str]:
    """Name the files of a log: entry bundles, then the tiles of each level."""
    for index, width in _row(size):
        yield entries_path(index, width)
    level = 0
    while size >> TILE_HEIGHT * level:
        for index, width in _row(size >> TILE_HEIGHT * level):
            yield tile_path(level, index, width)
        level += 1


def _row(count: int) -> Iterator[tuple[int, int]]:
    """Number the tiles of a level, the partial one last."""
    full, rest = divmod(count, TILE_WIDTH)
    yield from ((index, TILE_WIDTH) for index in range(full))
    if rest:
        yield full, rest


def _witnesses_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `log witnesses` takes."""
    parser.add_argument("--out", type=Path, metavar="FILE", help=say(witnessing_texts.LOGS_OUT))


def _witnesses(context: Context) -> int:
    """Tell what outside witnesses have cosigned, and what they must know of this log."""
    out: Path | None = context.arguments.out
    with closing(LocalClient(context.config().folder)) as client:
        answer = client.call(WITNESSES, {})
    if out is not None:
        _write_keys(out, [parse_vkey(str(row["key"])) for row in _log_of(answer).keys])
    context.answer(answer, _witness_lines(context, answer))
    if out is not None:
        context.tell(witnessing_texts.LOGS_WRITTEN, path=out)
    return Exit.DONE


def _write_keys(path: Path, keys: Sequence[VerifierKey]) -> None:
    """Write a list for a witness, in the place of an older one of this log; any other file is somebody's."""
    write = write_private_file if _has_keys_of(path, {key.name for key in keys}) else write_new
    write(path, log_lines(keys).encode())


def _has_keys_of(path: Path, names: Container[str]) -> bool:
    """Tell whether a file is a list as it is written here, with nothing else in it, of these logs alone."""
    try:
        with path.open("rb") as file:
            found = file.read(MAX_FILE_BYTES + 1)
        keys = parse_logs(found)
    except (InputError, OSError):
        return False
    return bool(keys) and log_lines(keys).encode() == found and all(key.name in names for key in keys)


def _witness_lines(context: Context, answer: Json) -> Iterator[str]:
    """Word the answer: the log and its keys, then each witness."""
    log = _log_of(answer)
    yield context.say(messages.WITNESSES_ORIGIN, origin=log.origin)
    for row in log.keys:
        text = messages.WITNESSES_ORDERER if row["org_id"] == log.orderer else messages.WITNESSES_MEMBER
        yield context.say(text, **row)
    row_members = {"code": str, "keys": list, "name": str, "size": int, "time": int, "url": str}
    rows = _rows(members(answer, _TOP)["witnesses"], row_members)
    for row in rows:
        text = messages.WITNESSES_AMISS if row["code"] else messages.WITNESSES_ROW
        time = row["time"]
        yield context.say(text, **{**row, "time": instant(time) if isinstance(time, int) and time else "-"})
    if not rows:
        yield context.say(messages.WITNESSES_NONE)


class _LogKeys(NamedTuple):
    """What a witness must know of the log: its origin, who orders it, and its keys with whose they are."""

    origin: str
    orderer: str
    keys: list[dict[str, Json]]


def _log_of(answer: Json) -> _LogKeys:
    """Read what is told of the log."""
    log = members(members(answer, _TOP)["log"], {"keys": list, "orderer": str, "origin": str})
    return _LogKeys(str(log["origin"]), str(log["orderer"]), _rows(log["keys"], {"key": str, "org_id": str}))


def _rows(value: Json, row: Mapping[str, type]) -> list[dict[str, Json]]:
    """Read a list of documents."""
    return [members(item, row) for item in value] if isinstance(value, list) else []


COMMANDS: Final = (
    Command(("log", "mirror"), messages.MIRROR_SUMMARY, messages.MIRROR_EXAMPLES, _mirror, _mirror_arguments),
    Command(
        ("log", "witnesses"),
        messages.WITNESSES_SUMMARY,
        messages.WITNESSES_EXAMPLES,
        _witnesses,
        _witnesses_arguments,
    ),
)
"""The commands of this file."""
