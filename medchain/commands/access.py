"""`medchain token …`: a token for trials, and new keys for those that sign tokens.

Keeps true: a token is written to standard output and nowhere else. Trusts whoever can open the root key: that is the
operator.
Source: `docs/commands.md`; SMART App Launch 2.2.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from fhir_bridge.deeds import command
from fhir_bridge.smart.clients import parse_client
from fhir_bridge.smart.keys import ACCESS, IDENTITY
from fhir_bridge.smart.mount import make_parts
from fhir_bridge.smart.scopes import parse_scopes, scopes_text
from fhir_bridge.smart.server import TOKEN_SECONDS
from medchain.commands import client_texts, messages
from medchain.commands.client import opened
from medchain.commands.command import Command, Context, Exit, Text
from medchain.encoding import Json
from medchain.errors import ConflictError
from medchain.node.assembly import read_genesis
from medchain.node.keystore import Layout
from medchain.web.deeds import Kind


def _token_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `token issue` takes."""
    parser.add_argument("--scope", action="append", required=True, metavar="SCOPE", help=say(client_texts.CLIENT_SCOPE))
    parser.add_argument("--client", default="operator", metavar="NAME", help=say(messages.TOKEN_CLIENT))
    parser.add_argument(
        "--seconds", type=int, default=TOKEN_SECONDS, metavar="SECONDS", help=say(messages.TOKEN_SECONDS)
    )


def _issue(context: Context) -> int:
    """Issue a token.

    Raises:
        ConflictError: ``client.disabled`` for a client that may do nothing; ``client.bound`` for one that must bind its
            tokens, which it alone can ask for.
    """
    given = context.arguments
    scopes = parse_scopes(" ".join(given.scope))
    genesis, _ = read_genesis(Layout(context.config().folder))
    with opened(context) as node:
        row = node.records.accounts.client(given.client)
        if row is not None and row.disabled is not None:
            raise ConflictError("client.disabled", client=given.client)
        if row is not None and parse_client(row).is_bound:
            raise ConflictError("client.bound", client=given.client)
        with command(node, Kind.TOKEN, given.client):
            token = make_parts(node, genesis).tokens.issue(given.client, scopes, given.seconds)
    document: Json = {"access_token": token, "expires_in": given.seconds, "scope": scopes_text(scopes)}
    context.answer(document, [token])
    return Exit.DONE


def _rotate(context: Context) -> int:
    """Make new signing keys; the ones before stay published until nothing that they signed counts."""
    genesis, _ = read_genesis(Layout(context.config().folder))
    with opened(context) as node:
        keys = make_parts(node, genesis).keys
        kids = [keys.rotate(algorithm).kid for algorithm in (ACCESS, IDENTITY)]
    context.answer({"kids": list[Json](kids)}, [context.say(client_texts.ROTATED, kids=" ".join(kids))])
    return Exit.DONE


COMMANDS: Final = (
    Command(("token", "issue"), messages.TOKEN_SUMMARY, messages.TOKEN_EXAMPLES, _issue, _token_arguments),
    Command(("token", "rotate"), client_texts.ROTATE_SUMMARY, client_texts.ROTATE_EXAMPLES, _rotate),
)
"""The commands of this file."""
