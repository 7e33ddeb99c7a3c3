"""`medchain org issuers`: an organisation asks the members to list issuer codes of its invoices.

Keeps true: a code is proposed by the organisation whose it is to be, with a key for the ids of its invoices that its
node holds and opens already; nothing counts before the members have approved it. Trusts the node's own daemon.
Source: `docs/spec/genesis.md` 10 to 12, `docs/commands.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

from medchain.commands import messages
from medchain.commands import proposal_texts as texts
from medchain.commands.command import Command, Context, Text
from medchain.commands.founding import first_invoices
from medchain.commands.keeping import start_anew
from medchain.commands.proposals import propose
from medchain.commands.proposing import days_of, with_days
from medchain.encoding import base64_text
from medchain.ledger.issuers import invoices_content
from medchain.node.assembly import read_genesis
from medchain.node.keystore import (
    KeyUse,
    Layout,
    Unlock,
    add_vrf_key,
    open_daemon_keys,
    vrf_possession,
    vrf_publics,
    write_private_file,
)
from medchain.node.member_changes import Wish

_BEGUN: Final = "vrf.begun"


def _arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `org issuers` takes."""
    parser.add_argument("codes", nargs="+", metavar="CODE", help=say(texts.ISSUERS_CODES))
    with_days(parser, say)


def _issuers(context: Context) -> int:
    """Propose issuer codes of the own invoices."""
    config = context.config()
    folder, halves = config.folder, context.halves(config, messages.PASSPHRASE)
    _hold_key(folder, halves, context)
    genesis, _ = read_genesis(Layout(folder))
    asked = first_invoices(context.arguments.codes, folder)
    (key,) = asked.generations
    proof = vrf_possession(config.org_id, genesis.ledger, open_daemon_keys(folder, halves), key.public)
    content = invoices_content(asked, {key.id: base64_text(proof)})
    return propose(context, Wish("issuers", content=content), days_of(context))


def _hold_key(folder: Path, halves: Unlock, context: Context) -> None:
    """Give a node of before there were such keys one: it must hold it when the first invoice is asked for."""
    begun = Layout(folder).keystore.with_name(_BEGUN)
    if not vrf_publics(folder):
        # Whoever is killed before the node has taken it in goes on from here when the same is asked again.
        write_private_file(begun, b"")
        add_vrf_key(folder, halves)
    if begun.exists():
        start_anew(folder, [KeyUse.VRF], context)
        begun.unlink()


COMMANDS: Final = (Command(("org", "issuers"), texts.ISSUERS_SUMMARY, texts.ISSUERS_EXAMPLES, _issuers, _arguments),)
"""The commands of this file."""
