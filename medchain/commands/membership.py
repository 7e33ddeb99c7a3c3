"""`medchain org list`, `org show` and `policy show`: members and rules in force, from this node's copy of the ledger.

Keeps true: the ledger file is read and never changed. Trusts the replica, which verified what it stored.
Source: `docs/spec/genesis.md`, `docs/spec/endorsement.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final

from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text
from medchain.dates import day_text
from medchain.encoding import Json, canonical
from medchain.errors import NotFoundError
from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.issuers import Invoices, invoices_content
from medchain.ledger.members import Members, Organisation
from medchain.node.assembly import read_genesis
from medchain.node.config import NodeConfig
from medchain.node.keystore import Layout, Unlock, open_daemon_keys
from medchain.store.engine import FileKind, open_database
from medchain.store.ledger import LedgerStore


def members_in_force(config: NodeConfig, halves: Callable[[], Unlock], *, final: bool = False) -> Members:
    """Read the members in force; those of the genesis before the node ran for the first time.

    Args:
        config: of the node.
        halves: opens the root key; asked only where there is a ledger.
        final: whether those at the newest final block end are asked for, and not those after the newest block.

    Raises:
        MedchainError: what cannot be opened or read.
    """
    layout = Layout(config.folder)
    genesis, _ = read_genesis(layout)
    if not layout.ledger.exists():
        return genesis.members
    keys = open_daemon_keys(config.folder, halves())
    database = open_database(layout.ledger, keys.ledger_database, kind=FileKind.LEDGER, migrate=False)
    with closing(LedgerStore(database)) as store:
        if store.head.height < 0:
            return genesis.members
        return store.final_members() if final else store.members


def _members(context: Context, *, final: bool = False) -> Members:
    """Read the members in force."""
    config = context.config()
    return members_in_force(config, lambda: context.halves(config, messages.PASSPHRASE), final=final)


def _list(context: Context) -> int:
    """List the members."""
    organisations = sorted(_members(context).organisations.values(), key=lambda item: item.org_id)
    rows: list[Json] = [
        {"org_id": item.org_id, "role": item.role, "status": item.status, "url": item.url} for item in organisations
    ]
    context.answer({"organisations": rows}, [_row(context, item) for item in organisations])
    return Exit.DONE


def _row(context: Context, organisation: Organisation) -> str:
    """Word one member."""
    return context.say(
        messages.ORG_ROW,
        org_id=organisation.org_id,
        name=organisation.name.get(context.language, ""),
        role=organisation.role,
        status=organisation.status,
        url=organisation.url,
    )


def _show_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `org show` takes."""
    parser.add_argument("org_id", metavar="ORG", help=say(messages.ORG_ID))


def _show(context: Context) -> int:
    """Show a member."""
    found = _members(context).organisations.get(context.arguments.org_id)
    if found is None:
        raise NotFoundError("organisation.unknown", org_id=context.arguments.org_id)
    keys: list[Json] = [{"id": key.id, "use": key.use} for key in found.keys]
    document: Json = {
        "control": found.control,
        "invoices": None if found.invoices is None else invoices_content(found.invoices, {}),
        "keys": keys,
        "name": dict(found.name),
        "org_id": found.org_id,
        "origins": list[Json](found.origins),
        "role": found.role,
        "status": found.status,
        "url": found.url,
    }
    lines = [
        _row(context, found),
        context.say(messages.ORG_CONTROL, control=found.control),
        *(context.say(messages.ORG_KEY, use=key.use, key=key.id) for key in found.keys),
        *_invoice_lines(context, found.invoices),
    ]
    context.answer(document, lines)
    return Exit.DONE


def _invoice_lines(context: Context, invoices: Invoices | None) -> Iterator[str]:
    """Word which invoices a member issues."""
    if invoices is None:
        return
    yield context.say(messages.ORG_ISSUERS, issuers=", ".join(invoices.issuers))
    for one in invoices.generations:
        yield context.say(messages.ORG_INVOICE_KEY, day=day_text(one.from_day), key=one.id)


def _policy_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `policy show` takes."""
    parser.add_argument("--trusted", action="store_true", help=say(messages.POLICY_TRUSTED))


def _policy(context: Context) -> int:
    """Show the endorsement policy, or the trusted policy of checkpoints."""
    if context.arguments.trusted:
        genesis, _ = read_genesis(Layout(context.config().folder))
        text = trusted_policy_text(_members(context, final=True), genesis.origin)
        context.answer({"policy": text}, text.splitlines())
        return Exit.DONE
    content = _members(context).policy.content
    rules = content["rules"]
    listed = sorted(rules.items()) if isinstance(rules, dict) else []
    lines = [
        context.say(messages.POLICY_ROW, rule=rule, expression=canonical(expression).decode())
        for rule, expression in listed
    ]
    context.answer(dict(content), lines)
    return Exit.DONE


COMMANDS: Final = (
    Command(("org", "list"), messages.ORG_LIST_SUMMARY, messages.ORG_LIST_EXAMPLES, _list),
    Command(("org", "show"), messages.ORG_SHOW_SUMMARY, messages.ORG_SHOW_EXAMPLES, _show, _show_arguments),
    Command(
        ("policy", "show"), messages.POLICY_SHOW_SUMMARY, messages.POLICY_SHOW_EXAMPLES, _policy, _policy_arguments
    ),
)
"""The commands of this file."""
