"""`medchain client …` and `medchain token issue`: which systems may call the node, and a token for trials.

Keeps true: only public keys are taken; a token is written to standard output and nowhere else. Trusts whoever can open
the root key: that is the operator.
Source: `docs/commands.md`; SMART App Launch 2.2.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson

from fhir_bridge.mount import make_tokens, token_addresses
from fhir_bridge.smart.clients import make_client, read_clients, write_clients
from fhir_bridge.smart.scopes import parse_scopes, scopes_text
from fhir_bridge.smart.server import TOKEN_SECONDS
from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text
from medchain.encoding import Json
from medchain.errors import ConflictError, InputError, NotFoundError
from medchain.node.assembly import open_web_node, read_genesis
from medchain.node.keystore import Layout

_MAX_JWK_BYTES: Final = 16 * 1024
_JWK_MEMBERS: Final = ("crv", "kty", "x", "y")
_PRIVATE: Final = ("d", "k", "p", "q")


def _add_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `client add` takes."""
    parser.add_argument("client", help=say(messages.CLIENT_ID))
    parser.add_argument("--jwk", type=Path, required=True, metavar="FILE", help=say(messages.CLIENT_JWK))
    parser.add_argument("--scope", action="append", required=True, metavar="SCOPE", help=say(messages.CLIENT_SCOPE))


def _add(context: Context) -> int:
    """Register a client."""
    given, folder = context.arguments, context.config().folder
    clients = read_clients(folder)
    if given.client in clients:
        raise ConflictError("client.exists", client=given.client)
    client = make_client(given.client, _read_jwk(given.jwk), " ".join(given.scope))
    write_clients(folder, clients | {client.id: client})
    scopes = scopes_text(client.scopes)
    document: Json = {"client": client.id, "scopes": scopes}
    context.answer(document, [context.say(messages.CLIENT_ADDED, client=client.id, scopes=scopes)])
    return Exit.DONE


def _read_jwk(path: Path) -> Json:
    """Read a public key; what names it beside the key itself (kid, alg, use) is left out, a private part is refused."""
    try:
        with path.open("rb") as file:
            jwk = orjson.loads(file.read(_MAX_JWK_BYTES))
    except OSError as error:
        raise NotFoundError("file.missing", path=str(path)) from error
    except orjson.JSONDecodeError as error:
        raise InputError("client.jwk", path=str(path)) from error
    if not isinstance(jwk, dict) or any(name in jwk for name in _PRIVATE):
        raise InputError("client.jwk", path=str(path))
    return {name: jwk[name] for name in _JWK_MEMBERS if name in jwk}


def _list(context: Context) -> int:
    """List the clients."""
    clients = read_clients(context.config().folder)
    rows: list[Json] = [{"client": name, "scopes": scopes_text(client.scopes)} for name, client in clients.items()]
    lines = [
        context.say(messages.CLIENT_ROW, client=name, scopes=scopes_text(client.scopes))
        for name, client in clients.items()
    ]
    context.answer({"clients": rows}, lines or [context.say(messages.CLIENT_NONE)])
    return Exit.DONE


def _client_argument(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `client remove` takes."""
    parser.add_argument("client", help=say(messages.CLIENT_ID))


def _remove(context: Context) -> int:
    """Remove a client."""
    name, folder = context.arguments.client, context.config().folder
    clients = read_clients(folder)
    if name not in clients:
        raise NotFoundError("client.unknown", client=name)
    write_clients(folder, {other: client for other, client in clients.items() if other != name})
    context.answer({"client": name}, [context.say(messages.CLIENT_REMOVED, client=name)])
    return Exit.DONE


def _token_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `token issue` takes."""
    parser.add_argument("--scope", action="append", required=True, metavar="SCOPE", help=say(messages.CLIENT_SCOPE))
    parser.add_argument("--client", default="operator", metavar="NAME", help=say(messages.TOKEN_CLIENT))
    parser.add_argument(
        "--seconds", type=int, default=TOKEN_SECONDS, metavar="SECONDS", help=say(messages.TOKEN_SECONDS)
    )


def _issue(context: Context) -> int:
    """Issue a token."""
    given, config = context.arguments, context.config()
    scopes = parse_scopes(" ".join(given.scope))
    genesis, _ = read_genesis(Layout(config.folder))
    with open_web_node(config, context.halves(config, messages.PASSPHRASE), context.clock) as node:
        tokens = make_tokens(node, token_addresses(config, genesis))
        token = tokens.issue(given.client, scopes, given.seconds)
    document: Json = {"access_token": token, "expires_in": given.seconds, "scope": scopes_text(scopes)}
    context.answer(document, [token])
    return Exit.DONE


COMMANDS: Final = (
    Command(("client", "add"), messages.CLIENT_ADD_SUMMARY, messages.CLIENT_ADD_EXAMPLES, _add, _add_arguments),
    Command(("client", "list"), messages.CLIENT_LIST_SUMMARY, messages.CLIENT_LIST_EXAMPLES, _list),
    Command(
        ("client", "remove"),
        messages.CLIENT_REMOVE_SUMMARY,
        messages.CLIENT_REMOVE_EXAMPLES,
        _remove,
        _client_argument,
    ),
    Command(("token", "issue"), messages.TOKEN_SUMMARY, messages.TOKEN_EXAMPLES, _issue, _token_arguments),
)
"""The commands of this file."""
