"""Ports of this machine for programs that start together, such as the demo's nodes.

A port that was free when somebody looked can be another's when a program binds it, and two demos that begin together
look at the same ports. So ports are taken by rows, and a row belongs to the process that holds the name of a Unix
socket in Linux's abstract namespace: one process at a time can have it, the system takes it back however that process
ends, and it reaches as far as the ports themselves do, the network namespace. Keeps true: two processes that use this
module never choose the same ports. Trusts other programs to keep out of the range.
Source: unix(7), abstract sockets.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from typing import Final

from medchain.encoding import digest
from medchain.errors import ConflictError

ROW_PORTS: Final = 20
"""Ports of one row."""

# Below the range from which systems take ports for outgoing connections, so that a port is still free next time.
_FIRST_PORT: Final = 21000
_LAST_PORT: Final = 31000


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports that are ours.

    Attributes:
        row: all of one row, each free when they were taken.
        hold: as long as it is open, nobody else who asks here gets them.
    """

    row: range
    hold: socket.socket

    def close(self) -> None:
        """Give them back."""
        self.hold.close()


def take_ports(count: int, place: str) -> Ports:
    """Take free ports.

    Args:
        count: how many are needed, at most `ROW_PORTS`.
        place: names who asks, such as a folder. Each has a row of its own to look at first, so that what it has
            chosen once is seldom another's while its programs do not run.

    Returns:
        The ports; they may be bound at once.

    Raises:
        ConflictError: ``demo.no_ports``.
    """
    rows = range(_FIRST_PORT, _LAST_PORT, ROW_PORTS)
    start = int.from_bytes(digest("medchain/demo-ports/v1", place.encode("utf-8", "surrogateescape"))[:8], "big")
    for turn in range(len(rows)):
        first = rows[(start + turn) % len(rows)]
        hold = _hold(first)
        if hold is None:
            continue
        row = range(first, first + count)
        if all(is_free(port) for port in row):
            return Ports(row, hold)
        hold.close()
    raise ConflictError("demo.no_ports")


def take_again(port: int) -> Ports | None:
    """Take the row of a port that was chosen before; None while another process has it, or for one of no row."""
    if not _FIRST_PORT <= port < _LAST_PORT:
        return None
    row = row_of(port)
    hold = _hold(row.start)
    return None if hold is None else Ports(row, hold)


def row_of(port: int) -> range:
    """List the ports of a port's row."""
    first = port - (port - _FIRST_PORT) % ROW_PORTS
    return range(first, first + ROW_PORTS)


def is_free(port: int) -> bool:
    """Tell whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        # As servers do: a connection of an earlier run that lingers does not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _hold(first: int) -> socket.socket | None:
    """Take a row's name; None while another has it."""
    hold = socket.socket(socket.AF_UNIX)
    try:
        hold.bind(f"\0medchain-ports-{first}")
    except OSError as error:
        hold.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return hold
