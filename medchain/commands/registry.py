"""All commands, in the order of the help. A new one needs one line here.

Keeps true: a call loads the modules of its own command alone; `verify` loads no web framework. Trusts the table: a
test compares it with what the modules hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from medchain.commands import (
    attest_texts,
    claim_texts,
    client_texts,
    concern_texts,
    consent_texts,
    mandate_texts,
    messages,
    proposal_texts,
    witnessing_texts,
)
from medchain.commands.command import Command, Group

GROUPS: Final = (
    Group("join", messages.JOIN_GROUP),
    Group("node", messages.NODE_GROUP),
    Group("config", messages.CONFIG_GROUP),
    Group("alarm", messages.ALARM_GROUP),
    Group("record", messages.RECORD_GROUP),
    Group("emergency", messages.EMERGENCY_GROUP),
    Group("concern", concern_texts.CONCERN_GROUP),
    Group("subject", messages.SUBJECT_GROUP),
    Group("consent", consent_texts.CONSENT_GROUP),
    Group("mandate", mandate_texts.MANDATE_GROUP),
    Group("attest", attest_texts.ATTEST_GROUP),
    Group("claims", claim_texts.CLAIM_GROUP),
    Group("org", messages.ORG_GROUP),
    Group("policy", messages.POLICY_GROUP),
    Group("orderer", proposal_texts.ORDERER_GROUP),
    Group("protocol", proposal_texts.PROTOCOL_GROUP),
    Group("proposals", proposal_texts.PROPOSALS_GROUP),
    Group("key", messages.KEY_GROUP),
    Group("log", messages.LOG_GROUP),
    Group("witness", witnessing_texts.WITNESS_GROUP),
    Group("client", messages.CLIENT_GROUP),
    Group("account", client_texts.ACCOUNT_GROUP),
    Group("token", messages.TOKEN_GROUP),
)
"""Words under which commands stand."""

MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "demo": ("demo",),
    "init": ("founding",),
    "join": ("founding", "joining"),
    "node": ("running",),
    "config": ("running",),
    "status": ("status",),
    "alarm": ("alarming",),
    "client": ("client",),
    "account": ("account",),
    "token": ("access",),
    "import": ("importing",),
    "record": ("records", "erasing"),
    "emergency": ("emergencies",),
    "concern": ("concerns",),
    "subject": ("subjects",),
    "consent": ("consent",),
    "mandate": ("mandates",),
    "attest": ("attests",),
    "claims": ("claims", "claim_deeds", "claim_verdict", "claim_counter"),
    "verify": ("checking",),
    "verify-page": ("verify_page",),
    "log": ("log",),
    "witness": ("witnessing",),
    "org": ("membership", "proposing", "issuing"),
    "policy": ("membership", "proposing"),
    "orderer": ("proposing",),
    "protocol": ("proposing",),
    "proposals": ("proposals",),
    "key": ("keeping",),
    "backup": ("keeping",),
    "restore": ("keeping",),
    "doctor": ("doctor",),
}
"""First word of a command → modules of this package that hold the commands that begin with it."""


ALONE: Final[Mapping[str, str]] = {"proposals": "list"}
"""Word that may stand alone → the command that it then means."""


def load_commands(word: str | None = None) -> tuple[Command, ...]:
    """Load commands.

    Args:
        word: the first word of those that are wanted; None, or a word that begins none, for all.

    Returns:
        Them, in the order of the help.
    """
    names = MODULES.get(word or "") or tuple(dict.fromkeys(name for row in MODULES.values() for name in row))
    found: list[Command] = []
    for name in names:
        found += import_module(f"medchain.commands.{name}").COMMANDS
    return tuple(command for command in found if word not in MODULES or command.path[0] == word)
