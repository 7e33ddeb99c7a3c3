"""How a web worker gets its half of the root key, and the ways to other processes: over the fork.

An environment variable is inherited by every program that is started, and shown by the system to whoever may look at
the process. Keeps true: the half is in no environment, argument or file; a worker takes it once and forgets it; the
parent keeps it for the workers that it starts anew. Trusts that workers are forked, which `medchain.web.workers`
demands.
Source: `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from socket import socket
from threading import Thread
from typing import Final, NamedTuple

from medchain.crypto.keywrap import SecretBytes
from medchain.errors import UnavailableError
from medchain.node.config import NodeConfig, load_config
from medchain.node.fork_server import ForkServer
from medchain.node.keystore import Layout
from medchain.node.log import log_uncaught, open_log


class Handed(NamedTuple):
    """What a worker gets.

    Attributes:
        half: the web half of the root key.
        forks: forks the processes that do large transactions; None for a worker that does none.
        asking: the way to who stores single writes, for `medchain.store.handing.WriterDoor`; None for a worker without.
    """

    half: SecretBytes
    forks: ForkServer | None
    asking: socket | None


CONFIG_VARIABLE: Final = "MEDCHAIN_CONFIG"
"""Environment variable by which workers find the configuration."""

_HELD: Final[list[Handed]] = []
_PARENT_CHECK_S: Final = 1.0


def hand_over(handed: Handed) -> None:
    """Hold it for the workers that this process will fork."""
    _HELD[:] = [handed]


def take() -> Handed:
    """Take it, once in each process; raises `UnavailableError` ``web.no_key`` where there is nothing."""
    if not _HELD:
        raise UnavailableError("web.no_key")
    return _HELD.pop()


def begin(log_name: Callable[[Path], str]) -> tuple[Handed, NodeConfig]:
    """Begin a worker's process: take what was handed over, open its log, and have it end with its parent.

    Args:
        log_name: names its log, given the folder of what runs.

    Returns:
        What was handed over, and the node's configuration.

    Raises:
        MedchainError: ``web.no_key``, or the configuration cannot be read.
    """
    handed = take()
    config = load_config(Path(os.environ[CONFIG_VARIABLE]), os.environ, {})
    layout = Layout(config.folder)
    open_log(layout.logs, log_name(layout.run), config.log_level)
    log_uncaught()
    Thread(target=_end_with_parent, args=(os.getppid(),), name="parent-watch", daemon=True).start()
    return handed, config


def _end_with_parent(parent: int) -> None:
    """End this process once its parent is gone: nobody would stop or replace it any more."""
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_S)
    os.kill(os.getpid(), signal.SIGKILL)
