"""All commands, in the order of the help. A new one needs one line here."""

from __future__ import annotations

from typing import Final

from medchain.commands import (
    access,
    alarming,
    checking,
    demo,
    doctor,
    erasing,
    founding,
    importing,
    keeping,
    log,
    membership,
    messages,
    records,
    running,
)
from medchain.commands.command import Command, Group

GROUPS: Final = (
    Group("join", messages.JOIN_GROUP),
    Group("node", messages.NODE_GROUP),
    Group("config", messages.CONFIG_GROUP),
    Group("alarm", messages.ALARM_GROUP),
    Group("record", messages.RECORD_GROUP),
    Group("org", messages.ORG_GROUP),
    Group("policy", messages.POLICY_GROUP),
    Group("key", messages.KEY_GROUP),
    Group("log", messages.LOG_GROUP),
    Group("client", messages.CLIENT_GROUP),
    Group("token", messages.TOKEN_GROUP),
)
"""Words under which commands stand."""

COMMANDS: Final[tuple[Command, ...]] = (
    *demo.COMMANDS,
    *founding.COMMANDS,
    *running.COMMANDS,
    *alarming.COMMANDS,
    *access.COMMANDS,
    *importing.COMMANDS,
    *records.COMMANDS,
    *erasing.COMMANDS,
    *checking.COMMANDS,
    *log.COMMANDS,
    *membership.COMMANDS,
    *keeping.COMMANDS,
    *doctor.COMMANDS,
)
"""Every command."""
