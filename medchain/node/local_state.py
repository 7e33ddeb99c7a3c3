"""Where a node's daemon listens, and the secret of its start: `run/daemon.json`, mode 0600.

It stands by itself, so that a supervisor, which only looks whether the file is there, holds nothing of HTTP.
Keeps true: who cannot read the file cannot call. Trusts the file system's permissions.
Source: `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

from typing import Final

from medchain.encoding import Json, canonical, members, parse_canonical
from medchain.errors import UnavailableError
from medchain.node.keystore import Layout, write_private_file

STATE_NAME: Final = "daemon.json"
"""Name of the file in the folder `run`."""

_MAX_STATE_BYTES: Final = 4096
_STATE: Final = {"local": str, "peer": str, "pid": int, "secret": str}


def write_state(layout: Layout, *, pid: int, local_url: str, peer_url: str, secret: str) -> None:
    """Say where the daemon is, once it listens.

    Args:
        layout: of the node's folder.
        pid: of the daemon.
        local_url: for this node's own processes.
        peer_url: for other nodes, as bound; the ledger says what they use.
        secret: of this start.
    """
    document: Json = {"local": local_url, "peer": peer_url, "pid": pid, "secret": secret}
    write_private_file(layout.run / STATE_NAME, canonical(document))


def read_state(layout: Layout) -> dict[str, Json]:
    """Read where the daemon is.

    Returns:
        Members ``local``, ``peer``, ``pid`` and ``secret``.

    Raises:
        UnavailableError: ``daemon.not_running`` when there is no such file.
        InputError: ``encoding.*`` for a damaged one.
    """
    try:
        content = (layout.run / STATE_NAME).read_bytes()
    except OSError as error:
        raise UnavailableError("daemon.not_running") from error
    return members(parse_canonical(content, max_bytes=_MAX_STATE_BYTES), _STATE)
