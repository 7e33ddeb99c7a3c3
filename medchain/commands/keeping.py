"""`medchain backup` and `restore`: a node's state without its root key, and back.

Trusts `medchain.node.backup` for both, and who guards the root key. Source: `docs/operations.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fhir_bridge.smart.clients import CLIENTS_NAME
from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text
from medchain.commands.importing import JOURNAL_NAME
from medchain.encoding import Json
from medchain.node.backup import (
    FOR_EVER,
    check_tag,
    erasures_of,
    make_backup,
    read_backup,
    restore_backup,
    unpacked,
)
from medchain.node.config import CONFIG_NAME, load_config
from medchain.node.keystore import Unlock, open_root_file, unlock, write_private_file
from medchain.store.records import Erasure

_OWN_FILES: Final = (CLIENTS_NAME, JOURNAL_NAME)


def _backup_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `backup` takes."""
    parser.add_argument("target", type=Path, metavar="DIR|FILE.tar", help=say(messages.BACKUP_FOLDER))


def _backup(context: Context) -> int:
    """Copy a node's state to a new folder or file."""
    config, target = context.config(), context.arguments.target
    halves = context.halves(config, messages.PASSPHRASE)
    made = make_backup(config.folder, config.org_id, halves, target, clock=context.clock, more=_OWN_FILES)
    document: Json = {
        "count": len(made.files),
        "folder": str(target),
        "height": made.height,
        "ledger": None if made.ledger is None else made.ledger.hex(),
        "size": made.size,
    }
    context.answer(document, [context.say(messages.BACKUP_DONE, folder=target, count=len(made.files))])
    return Exit.DONE


def _restore_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `restore` takes."""
    parser.add_argument("backup", type=Path, metavar="BACKUP", help=say(messages.RESTORE_BACKUP))
    parser.add_argument("folder", type=Path, metavar="DIR", help=say(messages.RESTORE_FOLDER))
    parser.add_argument("--root-key", type=Path, required=True, metavar="FILE", help=say(messages.RESTORE_ROOT))
    newer = parser.add_mutually_exclusive_group()
    newer.add_argument("--old", type=Path, metavar="DIR", help=say(messages.RESTORE_OLD))
    newer.add_argument("--erasures", type=Path, metavar="BACKUP", help=say(messages.RESTORE_NEWER))
    newer.add_argument("--nothing-erased", action="store_true", help=say(messages.RESTORE_NOTHING))


def _restore(context: Context) -> int:
    """Make a node's folder from a backup."""
    given, folder = context.arguments, context.arguments.folder
    with unpacked(given.backup, folder.with_name(folder.name + ".unpacked")) as source:
        read_backup(source)
        config = load_config(source / CONFIG_NAME, context.environment, {})
        passphrase = context.passphrase(messages.PASSPHRASE) if config.key_source == "passphrase" else None
        halves = unlock(open_root_file(given.root_key, passphrase))
        done = restore_backup(source, folder, halves, clock=context.clock, newer=_newer(context, halves))
    _place_root_key(folder, context)
    document: Json = {"count": done.files, "destroyed": done.destroyed, "folder": str(folder)}
    context.answer(document, [context.say(messages.RESTORE_DONE, folder=folder, count=done.files)])
    if done.is_complete:
        context.tell(messages.RESTORE_ERASED, count=done.destroyed)
    else:
        context.tell(messages.RESTORE_ERASURES)
    return Exit.DONE


def _newer(context: Context, halves: Unlock) -> list[tuple[int, list[Erasure]]]:
    """Find a list of erasures that is newer than the backup."""
    given = context.arguments
    if given.nothing_erased:
        return [(FOR_EVER, [])]
    if given.old is not None:
        # What runs no more erases no more: its list is whole for ever.
        return [(FOR_EVER, erasures_of(given.old, halves))]
    if given.erasures is None:
        return []
    with unpacked(given.erasures, given.folder.with_name(given.folder.name + ".newer")) as source:
        manifest, tag = read_backup(source)
        check_tag(manifest, tag, halves)
        return [(manifest.time, list(manifest.erasures))]


def _place_root_key(folder: Path, context: Context) -> None:
    """Copy the root key's file to where the configuration looks for it, if that is in the node's folder."""
    target = load_config(folder / CONFIG_NAME, context.environment, {}).key_file
    if target.resolve().is_relative_to(folder.resolve()):
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private_file(target, context.arguments.root_key.read_bytes())


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
