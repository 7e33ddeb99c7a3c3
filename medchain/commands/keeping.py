"""`medchain backup` and `restore`: a node's state without its root key, and back.

Keeps true: each database is copied in one consistent state while the node runs, records after the ledger, so that no
record is older than its anchor; a backup appears whole or not at all and has digests of its files; it opens nothing
without the root key. A restored node is marked: it cosigns nothing until it has caught up, and keys that were destroyed
since are destroyed again where the old records file can still be read. Trusts who guards the root key.
Source: `docs/spec/store.md` 11, `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from contextlib import closing
from hashlib import file_digest
from pathlib import Path
from typing import Final

from fhir_bridge.smart.clients import CLIENTS_NAME
from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text
from medchain.commands.importing import JOURNAL_NAME
from medchain.encoding import Json, canonical, members, parse_canonical
from medchain.errors import ConflictError, InputError, NotFoundError, VerificationError
from medchain.node.config import CONFIG_NAME, NodeConfig, load_config
from medchain.node.keystore import Layout, Unlock, open_daemon_keys, open_web_keys, write_private_file
from medchain.node.ledger_driver import RESTORED_NAME, VOUCHED_NAME
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore

MANIFEST_NAME: Final = "backup.json"
"""Name of the list of a backup's files."""

_TYPE: Final = "medchain/backup/v1"
_MAX_MANIFEST_BYTES: Final = 1 << 20
_KEYSTORE: Final = "keys/keystore.json"
_PLAIN: Final = (
    CONFIG_NAME,
    _KEYSTORE,
    "genesis.json",
    "genesis.signatures.json",
    "member.json",
    CLIENTS_NAME,
    JOURNAL_NAME,
    VOUCHED_NAME,
)
_DATABASES: Final = ("ledger.db", "records.db")
_ROOT_KEY: Final = "keys/root.key"


def _backup_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `backup` takes."""
    parser.add_argument("folder", type=Path, metavar="DIR", help=say(messages.BACKUP_FOLDER))


def _backup(context: Context) -> int:
    """Copy a node's state to a new folder."""
    config, target = context.config(), context.arguments.folder
    if target.exists():
        raise ConflictError("file.exists", path=str(target))
    halves = context.halves(config, messages.PASSPHRASE)
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "keys").mkdir(parents=True, mode=0o700)
    partial.chmod(0o700)
    for name in _PLAIN:
        if (config.folder / name).is_file():
            write_private_file(partial / name, (config.folder / name).read_bytes())
    _copy_databases(config, halves, partial)
    _copy_blobs(Layout(config.folder).blobs, partial / "blobs")
    files = _digests(partial)
    manifest: Json = {"files": dict[str, Json](files), "org_id": config.org_id, "time": context.clock(), "type": _TYPE}
    write_private_file(partial / MANIFEST_NAME, canonical(manifest))
    partial.rename(target)
    document: Json = {"count": len(files), "folder": str(target)}
    context.answer(document, [context.say(messages.BACKUP_DONE, folder=target, count=len(files))])
    return Exit.DONE


def _copy_databases(config: NodeConfig, halves: Unlock, target: Path) -> None:
    """Copy both databases, each in one state, the ledger first."""
    layout = Layout(config.folder)
    ledger_key = open_daemon_keys(config.folder, halves).ledger_database
    records_key = open_web_keys(config.folder, halves).records_database
    for path, key, kind in (
        (layout.ledger, ledger_key, FileKind.LEDGER),
        (layout.records, records_key, FileKind.RECORDS),
    ):
        if path.exists():
            with closing(open_database(path, key, kind=kind, migrate=False)) as database:
                database.backup(target / path.name)


def _copy_blobs(source: Path, target: Path) -> None:
    """Copy sealed binaries; they never change once they are there."""
    if source.is_dir() and any(source.iterdir()):
        shutil.copytree(source, target)


def _digests(folder: Path) -> dict[str, str]:
    """List a folder's files with their digests."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = file_digest(file, "sha256").hexdigest()
    return found


def _restore_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `restore` takes."""
    parser.add_argument("backup", type=Path, metavar="BACKUP", help=say(messages.RESTORE_BACKUP))
    parser.add_argument("folder", type=Path, metavar="DIR", help=say(messages.RESTORE_FOLDER))
    parser.add_argument("--root-key", type=Path, required=True, metavar="FILE", help=say(messages.RESTORE_ROOT))
    parser.add_argument("--old", type=Path, metavar="DIR", help=say(messages.RESTORE_OLD))


def _restore(context: Context) -> int:
    """Make a node's folder from a backup."""
    given, folder = context.arguments, context.arguments.folder
    if folder.exists():
        raise ConflictError("file.exists", path=str(folder))
    files = _check_backup(given.backup)
    layout = Layout(folder)
    layout.create()
    # First of all, so that a restore that was cut short leaves no node that thinks that it is up to date.
    write_private_file(folder / RESTORED_NAME, b"")
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copyfile(given.backup / name, path)
        path.chmod(0o600)
    _take_root_key(given.root_key, folder / _ROOT_KEY)
    config = load_config(folder / CONFIG_NAME, context.environment, {})
    halves = context.halves(config, messages.PASSPHRASE)
    destroyed = _adopt(config, halves, given.old)
    document: Json = {"count": len(files), "destroyed": destroyed, "folder": str(folder)}
    context.answer(document, [context.say(messages.RESTORE_DONE, folder=folder, count=len(files))])
    context.tell(messages.RESTORE_ERASED if given.old else messages.RESTORE_ERASURES, count=destroyed)
    return Exit.DONE


def _check_backup(backup: Path) -> dict[str, Json]:
    """Compare a backup's files with their digests."""
    try:
        content = (backup / MANIFEST_NAME).read_bytes()
    except OSError as error:
        raise NotFoundError("file.missing", path=str(backup / MANIFEST_NAME)) from error
    shape = {"files": dict, "org_id": str, "time": int, "type": str}
    top = members(parse_canonical(content, max_bytes=_MAX_MANIFEST_BYTES), shape)
    files = top["files"]
    if top["type"] != _TYPE or not isinstance(files, dict) or CONFIG_NAME not in files or _KEYSTORE not in files:
        raise InputError("backup.manifest")
    found = _digests(backup)
    found.pop(MANIFEST_NAME, None)
    if found != files:
        changed = sorted(found.items() ^ files.items())
        raise VerificationError("backup.changed", path=str(changed[0][0]))
    return files


def _take_root_key(source: Path, target: Path) -> None:
    """Copy the root key's file."""
    try:
        content = source.read_bytes()
    except OSError as error:
        raise NotFoundError("keystore.no_root_key", path=str(source)) from error
    write_private_file(target, content)


def _adopt(config: NodeConfig, halves: Unlock, old: Path | None) -> int:
    """Open both databases once as restored ones; tells how many keys were destroyed again."""
    layout = Layout(config.folder)
    ledger_key = open_daemon_keys(config.folder, halves).ledger_database
    records_key = open_web_keys(config.folder, halves).records_database
    if layout.ledger.exists():
        open_database(layout.ledger, ledger_key, kind=FileKind.LEDGER, adopt=True).close()
    if not layout.records.exists():
        return 0
    opened = open_database(layout.records, records_key, kind=FileKind.RECORDS, adopt=True)
    with closing(RecordStore(opened)) as records:
        if old is None:
            return 0
        former = open_database(Layout(old).records, records_key, kind=FileKind.RECORDS, migrate=False)
        with closing(RecordStore(former)) as source:
            return records.replay_erasures(source.erasures())


COMMANDS: Final = (
    Command(("backup",), messages.BACKUP_SUMMARY, messages.BACKUP_EXAMPLES, _backup, _backup_arguments),
    Command(
        ("restore",),
        messages.RESTORE_SUMMARY,
        messages.RESTORE_EXAMPLES,
        _restore,
        _restore_arguments,
        needs_config=False,
    ),
)
"""The commands of this file."""
