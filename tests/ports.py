"""Ports for the servers that tests start, several test processes beside each other."""

from __future__ import annotations

from pathlib import Path

from medchain.commands.demo_ports import Ports, take_ports

_TAKEN: list[Ports] = []


def free_ports(count: int, place: Path) -> range:
    """Take ports that no other test has, nor a demo, until this process ends."""
    taken = take_ports(count, str(place))
    _TAKEN.append(taken)
    return taken.row
