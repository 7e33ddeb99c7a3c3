"""`medchain backup`, `restore` and `key rotate`: what keeps a node for years.

Trusts `medchain.node.backup` and `medchain.node.rotation` to do it, and who guards the root key.
Source: `docs/operations.md`.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import Final

from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text
from medchain.dates import day_text
from medchain.encoding import Json, as_number, as_object
from medchain.errors import MedchainError, UnavailableError
from medchain.node.administrator import with_proof
from medchain.node.assembly import read_genesis
from medchain.node.backup import (
    FOR_EVER,
    ErasureList,
    erasures_in,
    erasures_of,
    make_backup,
    read_backup,
    restore_backup,
    unpacked,
)
from medchain.node.config import CONFIG_NAME, load_config
from medchain.node.keystore import (
    KeyUse,
    Layout,
    Unlock,
    admit_encryption_candidates,
    adopt_candidates,
    candidate_ids,
    candidate_keys,
    draw_candidates,
    drop_candidates,
    open_daemon_keys,
    open_root_file,
    unlock,
    write_private_file,
)
from medchain.node.local import LocalClient
from medchain.node.peers import Limits
from medchain.node.rotation import FULL, NO_INVOICES, ORDERED_TIMEOUT_S, ORDERS, ROTATE, USES
from medchain.node.supervisor import read_node_state

_ROTATE_LIMITS: Final = Limits(timeout_s=ORDERED_TIMEOUT_S + 5)
_RESTART_S: Final = 60.0
_RESTART_POLL_S: Final = 0.1


def _backup_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `backup` takes."""
    parser.add_argument("target", type=Path, metavar="DIR|FILE.tar", help=say(messages.BACKUP_FOLDER))


def _backup(context: Context) -> int:
    """Copy a node's state to a new folder or file."""
    config, target = context.config(), context.arguments.target
    halves = context.halves(config, messages.PASSPHRASE)
    made = make_backup(config.folder, config.org_id, halves, target, clock=context.clock)
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
        newer = _newer(context, halves)

        def complete(partial: Path) -> None:
            _place_root_key(partial, folder, context)

        done = restore_backup(source, folder, halves, clock=context.clock, newer=newer, complete=complete)
    document: Json = {
        "accounts": list[Json](done.accounts),
        "clients": list[Json](done.clients),
        "count": done.files,
        "destroyed": done.destroyed,
        "folder": str(folder),
        "patients": done.patients,
    }
    context.answer(document, [context.say(messages.RESTORE_DONE, folder=folder, count=done.files)])
    if done.is_complete:
        context.tell(messages.RESTORE_ERASED, count=done.destroyed, patients=done.patients)
    else:
        context.tell(messages.RESTORE_ERASURES)
    if not done.has_locks:
        context.tell(messages.RESTORE_LOCKS)
    if done.accounts:
        context.tell(messages.RESTORE_ACCOUNTS, count=len(done.accounts), names=" ".join(done.accounts))
    if done.clients:
        context.tell(messages.RESTORE_CLIENTS, count=len(done.clients), names=" ".join(done.clients))
    return Exit.DONE


def _newer(context: Context, halves: Unlock) -> list[ErasureList]:
    """Find a list of erasures that is newer than the backup."""
    given = context.arguments
    if given.nothing_erased:
        return [ErasureList(FOR_EVER)]
    if given.old is not None:
        return [erasures_of(given.old, halves)]
    if given.erasures is None:
        return []
    with unpacked(given.erasures, given.folder.with_name(given.folder.name + ".newer")) as source:
        return [erasures_in(source, halves, given.folder.with_name(given.folder.name + ".list"))]


def _place_root_key(partial: Path, folder: Path, context: Context) -> None:
    """Copy the root key's file to where the configuration looks for it, if that is in the node's folder."""
    wanted = load_config(partial / CONFIG_NAME, context.environment, {}).key_file.resolve()
    # The folder does not have its name yet, with which a path in its configuration may begin.
    for place in (partial.resolve(), folder.resolve()):
        if wanted.is_relative_to(place):
            target = partial / wanted.relative_to(place)
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private_file(target, context.arguments.root_key.read_bytes())


def _rotate_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `key rotate` takes."""
    uses = sorted(USES)
    parser.add_argument("use", choices=uses, metavar="USE", help=f"{say(messages.ROTATE_USE)}: {', '.join(uses)}")


def _rotate(context: Context) -> int:
    """Exchange the keys of one use on the ledger, then in the node; again after a crash goes on where it stopped."""
    config, use = context.config(), context.arguments.use
    halves = context.halves(config, messages.PASSPHRASE)
    is_new = draw_candidates(config.folder, USES[use], halves)
    try:
        document = _exchange_all(context, config.folder, halves)
    except (MedchainError, OSError, KeyboardInterrupt) as error:
        code = error.code if isinstance(error, MedchainError) else ""
        if code == FULL or (is_new and code in {NO_INVOICES, ORDERS}):
            # Nobody has them, and they would keep keys of all other uses from being exchanged. Where there is no room
            # that is so of those too that an earlier call has drawn.
            drop_candidates(config.folder)
        else:
            context.tell(messages.ROTATE_AGAIN, use=use)
        raise
    lines = [context.say(messages.ROTATE_DONE, **document)]
    if "from" in document:
        lines.append(context.say(messages.ROTATE_BEGINS, day=day_text(as_number(document["from"]))))
    context.answer(document, lines)
    context.tell(messages.ROTATE_BACKUP)
    return Exit.DONE


def _exchange_all(context: Context, folder: Path, halves: Unlock) -> dict[str, Json]:
    """Have the ledger list the keys that wait, and the node use them; returns what is answered."""
    uses = USES[context.arguments.use]
    genesis, _ = read_genesis(Layout(folder))
    if KeyUse.ENCRYPTION in uses:
        admit_encryption_candidates(folder)
        # Also where it was there before: whoever was killed here has not had it opened.
        start_anew(folder, uses, context)
    keys, listed = candidate_keys(folder, genesis.ledger, halves), candidate_ids(folder)
    answer = _exchange(folder, keys, halves, context)
    adopt_candidates(folder, listed)
    start_anew(folder, uses, context)
    if KeyUse.AUTHENTICATION in uses:
        # Until now the old key counted too, so that no call was refused. Now it goes.
        answer = _exchange(folder, keys, halves, context)
    return {**answer, "keys": list[Json](listed), "use": context.arguments.use}


def _exchange(folder: Path, keys: list[Json], halves: Unlock, context: Context) -> dict[str, Json]:
    """Have the ledger list keys; returns the organisation's version that does, see `KeyRotation.exchange`."""
    key = bytes(open_daemon_keys(folder, halves).administrator)
    with closing(LocalClient(folder)) as local:
        answer = local.call(ROTATE, with_proof(key, ROTATE, {"keys": keys}, context.clock()), _ROTATE_LIMITS)
    return as_object(answer)


def start_anew(folder: Path, uses: Collection[KeyUse], context: Context) -> None:
    """End the processes that hold keys of these uses; the supervisor starts them with the keystore as it is now."""
    layout = Layout(folder)
    context.tell(messages.ROTATE_RESTART)
    holders = {"daemon", "web"} if KeyUse.AUTHENTICATION in uses else {"daemon"}
    before = {name: _pid(row) for name, row in _processes(layout).items() if name in holders}
    for pid in before.values():
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _RESTART_S
    while time.monotonic() < deadline:
        time.sleep(_RESTART_POLL_S)
        now = {name: _pid(row) for name, row in _processes(layout).items()}
        if all(now.get(name) not in {None, pid} for name, pid in before.items()) and _answers(folder):
            return
    raise UnavailableError("node.not_restarted", folder=str(folder))


def _processes(layout: Layout) -> dict[str, Json]:
    """Read which processes a node has; raises `UnavailableError` ``node.not_running``."""
    found = read_node_state(layout)["processes"]
    return found if isinstance(found, dict) else {}


def _pid(row: Json) -> int | None:
    """Read a process' number."""
    pid = row.get("pid") if isinstance(row, dict) else None
    return pid if isinstance(pid, int) else None


def _answers(folder: Path) -> bool:
    """Tell whether the daemon answers."""
    try:
        with closing(LocalClient(folder)) as local:
            local.call("status", {})
    except UnavailableError:
        return False
    return True


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
    Command(("key", "rotate"), messages.ROTATE_SUMMARY, messages.ROTATE_EXAMPLES, _rotate, _rotate_arguments),
)
"""The commands of this file."""
