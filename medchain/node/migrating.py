"""Has the node's files made, or brought up to date, by a process that ends, before the daemon opens them.

What migrates is loaded for that and stays: 10 MiB of the daemon's memory for as long as it ran, of a node that was made
or updated at its start. Keeps true: nothing is decided here. Whoever opens a file after this looks at it himself, does
what was not done, and tells what is wrong with it. Trusts that the only other thread here is in no library.
Source: `docs/spec/store.md`; fork(2).
"""

from __future__ import annotations

import os

from medchain.errors import MedchainError
from medchain.node.config import NodeConfig
from medchain.node.fork_server import exit_with
from medchain.node.keystore import Layout, Unlock, open_daemon_keys, open_web_keys
from medchain.store.engine import FileKind, is_current, open_database


def migrate_apart(config: NodeConfig, halves: Unlock) -> None:
    """Migrate what needs it, in a process forked from this one; returns when that has ended, however it did.

    Called before this process has opened a file of the node or started a thread that does: of a lock that another
    thread holds at a fork, nobody lets go in the process that was forked.

    Args:
        config: of the node.
        halves: both halves of the root key.

    Raises:
        NotFoundError: ``keystore.missing``.
        VerificationError: ``keys.unwrap``, ``store.corrupt``.
    """
    layout = Layout(config.folder)
    files = (
        (layout.records, open_web_keys(config.folder, halves).records_database, FileKind.RECORDS),
        (layout.ledger, open_daemon_keys(config.folder, halves).ledger_database, FileKind.LEDGER),
    )
    behind = [one for one in files if not is_current(*one)]
    if not behind:
        return

    def migrate() -> int:
        try:
            for path, key, kind in behind:
                open_database(path, key, kind=kind).close()
        except MedchainError:
            # Told by who opens it next.
            return 1
        return 0

    try:
        pid = os.fork()
    except OSError:
        return
    if pid == 0:
        exit_with(migrate)
    os.waitpid(pid, 0)
