"""All commands, in the order of the help. A new one needs one line here."""

from __future__ import annotations

from typing import Final

from medchain.commands import (
    access,
    checking,
    demo,
    founding,
    importing,
    messages,
    running,
)
from medchain.commands.command import Command, Group

GROUPS: Final = (
    Group("join", messages.JOIN_GROUP),
    Group("node", messages.NODE_GROUP),
    Group("config", messages.CONFIG_GROUP),
    Group("log", messages.LOG_GROUP),
    Group("client", messages.CLIENT_GROUP),
    Group("token", messages.TOKEN_GROUP),
)
"""Words under which commands stand."""

COMMANDS: Final[tuple[Command, ...]] = (
    *demo.COMMANDS,
    *founding.COMMANDS,
    *running.COMMANDS,
    *access.COMMANDS,
    *importing.COMMANDS,
    *checking.COMMANDS,
)
"""Every command."""
