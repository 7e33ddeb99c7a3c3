"""`medchain client …`: which applications and systems may call the node, how each shows who it is, what it may do.

Keeps true: only public keys are taken; who is disabled or removed can do nothing from then on. Trusts whoever can open
the root key: that is the operator.
Source: `docs/commands.md`, `docs/spec/smart.md`; SMART App Launch 2.2.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import orjson

from fhir_bridge.deeds import command
from fhir_bridge.smart.clients import (
    Client,
    Right,
    check_client,
    check_jwk,
    client_document,
    client_members,
    parse_client,
)
from fhir_bridge.smart.fetch import Fetcher
from fhir_bridge.smart.scopes import parse_scopes, scopes_text
from medchain.commands import client_texts as texts
from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text
from medchain.encoding import Json
from medchain.errors import InputError, NotFoundError
from medchain.node.assembly import WebNode, open_web_node
from medchain.web.deeds import Kind

_MAX_JWK_BYTES: Final = 16 * 1024

Say = Callable[[Text], str]


@contextmanager
def opened(context: Context) -> Iterator[WebNode]:
    """Open the node's records, running or not."""
    config = context.config()
    with open_web_node(config, context.halves(config, messages.PASSPHRASE), context.clock) as node:
        yield node


def _add_arguments(parser: argparse.ArgumentParser, say: Say) -> None:
    """Declare what `client add` takes."""
    parser.add_argument("client", help=say(texts.CLIENT_ID))
    parser.add_argument("--name", default="", metavar="NAME", help=say(texts.CLIENT_NAME))
    keys = parser.add_mutually_exclusive_group()
    keys.add_argument("--jwk", type=Path, action="append", default=[], metavar="FILE", help=say(texts.CLIENT_JWK))
    keys.add_argument("--jwks-uri", default="", metavar="URL", help=say(texts.CLIENT_JWKS_URI))
    keys.add_argument("--member", default="", metavar="ORG", help=say(texts.CLIENT_MEMBER))
    parser.add_argument("--scope", action="append", required=True, metavar="SCOPE", help=say(texts.CLIENT_SCOPE))
    parser.add_argument("--redirect", action="append", default=[], metavar="URL", help=say(texts.CLIENT_REDIRECT))
    parser.add_argument("--launch-uri", default="", metavar="URL", help=say(texts.CLIENT_LAUNCH))
    rights = [right.value for right in Right]
    parser.add_argument("--right", action="append", default=[], choices=rights, help=say(texts.CLIENT_RIGHT))
    parser.add_argument("--dpop", action="store_true", help=say(texts.CLIENT_DPOP))


def _add(context: Context) -> int:
    """Register a client."""
    given = context.arguments
    if given.jwks_uri:
        Fetcher(private=context.config().peer_private).check_url(given.jwks_uri)
    client = check_client(
        Client(
            given.client,
            parse_scopes(" ".join(given.scope)),
            name=given.name,
            jwks=tuple(map(_read_jwk, given.jwk)),
            jwks_uri=given.jwks_uri,
            member=given.member,
            redirects=tuple(given.redirect),
            launch_uri=given.launch_uri,
            rights=frozenset(map(Right, given.right)),
            is_bound=given.dpop,
        )
    )
    with opened(context) as node, command(node, Kind.CLIENT, client.id):
        node.records.accounts.put_client(client.id, client_document(client), context.clock())
    scopes = scopes_text(client.scopes)
    document: Json = {"client": client.id, "scopes": scopes}
    context.answer(document, [context.say(texts.CLIENT_ADDED, client=client.id, scopes=scopes)])
    return Exit.DONE


def _read_jwk(path: Path) -> dict[str, Json]:
    """Read a public key; what names it beside the key itself is left out, a private part is refused."""
    try:
        with path.open("rb") as file:
            jwk = orjson.loads(file.read(_MAX_JWK_BYTES))
    except OSError as error:
        raise NotFoundError("file.missing", path=str(path)) from error
    except orjson.JSONDecodeError as error:
        raise InputError("client.jwk", path=str(path)) from error
    return check_jwk(jwk)


def _list(context: Context) -> int:
    """List the clients."""
    with opened(context) as node:
        found = [(parse_client(row), row.disabled) for row in node.records.accounts.clients()]
    rows: list[Json] = []
    lines: list[str] = []
    for client, disabled in found:
        scopes = scopes_text(client.scopes)
        rows.append({"client": client.id, "scopes": scopes} | ({} if disabled is None else {"disabled": disabled}))
        state = "" if disabled is None else context.say(texts.CLIENT_DISABLED)
        lines.append(context.say(texts.CLIENT_ROW, client=client.id, scopes=scopes, state=state))
    context.answer({"clients": rows}, lines or [context.say(texts.CLIENT_NONE)])
    return Exit.DONE


def _client_argument(parser: argparse.ArgumentParser, say: Say) -> None:
    """Declare what commands on one client take."""
    parser.add_argument("client", help=say(texts.CLIENT_ID))


def _found(node: WebNode, name: str) -> tuple[Client, int | None]:
    """Find a client, disabled or not; raises `NotFoundError` ``client.unknown``."""
    row = node.records.accounts.client(name)
    if row is None:
        raise NotFoundError("client.unknown", client=name)
    return parse_client(row), row.disabled


def _show(context: Context) -> int:
    """Show a client."""
    with opened(context) as node:
        client, disabled = _found(node, context.arguments.client)
    kind = "PKCE"
    if client.member or client.jwks_uri:
        kind = client.member or client.jwks_uri
    elif client.jwks:
        kind = f"JWK x {len(client.jwks)}"
    if client.is_bound:
        kind += ", DPoP"
    state = context.say(texts.CLIENT_ACTIVE if disabled is None else texts.CLIENT_CLOSED)
    shown = {"name": client.name, "scopes": scopes_text(client.scopes), "kind": kind, "launch": client.launch_uri}
    document: Json = {"client": client.id, "disabled": disabled, **client_members(client)}
    redirects = " ".join(client.redirects)
    text = context.say(texts.CLIENT_SHOWN, client=client.id, redirects=redirects, state=state, **shown)
    context.answer(document, [text])
    return Exit.DONE


def _switch(context: Context, now: int | None, told: Text) -> int:
    """Disable a client, or let it in again."""
    name = context.arguments.client
    with opened(context) as node, command(node, Kind.CLIENT, name):
        node.records.accounts.disable_client(name, now)
    context.answer({"client": name}, [context.say(told, client=name)])
    return Exit.DONE


def _confirm_arguments(parser: argparse.ArgumentParser, say: Say) -> None:
    """Declare what `client confirm` takes."""
    parser.add_argument("clients", nargs="*", metavar="ID", help=say(texts.CLIENT_ID))


def _confirm(context: Context) -> int:
    """Let clients in that a restore shut; without an id: list those that wait."""
    names = context.arguments.clients
    with opened(context) as node:
        if not names:
            waiting = node.records.accounts.unconfirmed_clients()
            context.answer({"clients": list[Json](waiting)}, waiting or [context.say(texts.CONFIRM_NONE)])
            return Exit.DONE
        for name in names:
            _found(node, name)
            with command(node, Kind.CLIENT, name):
                node.records.accounts.confirm_client(name)
    context.answer({"clients": list[Json](names)}, [context.say(texts.CLIENT_ENABLED, client=name) for name in names])
    return Exit.DONE


def _rotate_arguments(parser: argparse.ArgumentParser, say: Say) -> None:
    """Declare what `client rotate` takes."""
    _client_argument(parser, say)
    parser.add_argument("--jwk", type=Path, required=True, metavar="FILE", help=say(texts.CLIENT_JWK))
    parser.add_argument("--keep", action="store_true", help=say(texts.CLIENT_KEEP))


def _rotate(context: Context) -> int:
    """Put another key in the place of a client's; raises `InputError` ``client.keys`` for one without keys here."""
    name, jwk = context.arguments.client, _read_jwk(context.arguments.jwk)
    with opened(context) as node:
        client, _ = _found(node, name)
        if not client.jwks:
            raise InputError("client.keys")
        kept = client.jwks if context.arguments.keep else ()
        changed = check_client(replace(client, jwks=(jwk, *(one for one in kept if one != jwk))))
        with command(node, Kind.CLIENT, name):
            node.records.accounts.put_client(name, client_document(changed), context.clock(), replace=True)
    count = len(changed.jwks)
    context.answer({"client": name, "keys": count}, [context.say(texts.CLIENT_ROTATED, client=name, count=count)])
    return Exit.DONE


def _remove(context: Context) -> int:
    """Remove a client."""
    name = context.arguments.client
    with opened(context) as node, command(node, Kind.CLIENT, name):
        node.records.accounts.drop_client(name, context.clock())
    context.answer({"client": name}, [context.say(texts.CLIENT_REMOVED, client=name)])
    return Exit.DONE


COMMANDS: Final = (
    Command(("client", "add"), texts.CLIENT_ADD_SUMMARY, texts.CLIENT_ADD_EXAMPLES, _add, _add_arguments),
    Command(("client", "list"), texts.CLIENT_LIST_SUMMARY, texts.CLIENT_LIST_EXAMPLES, _list),
    Command(("client", "show"), texts.CLIENT_SHOW_SUMMARY, texts.CLIENT_SHOW_EXAMPLES, _show, _client_argument),
    Command(
        ("client", "confirm"),
        texts.CLIENT_CONFIRM_SUMMARY,
        texts.CLIENT_CONFIRM_EXAMPLES,
        _confirm,
        _confirm_arguments,
    ),
    Command(
        ("client", "disable"),
        texts.CLIENT_DISABLE_SUMMARY,
        texts.CLIENT_DISABLE_EXAMPLES,
        lambda context: _switch(context, context.clock(), texts.CLIENT_DISABLED_NOW),
        _client_argument,
    ),
    Command(
        ("client", "enable"),
        texts.CLIENT_ENABLE_SUMMARY,
        texts.CLIENT_ENABLE_EXAMPLES,
        lambda context: _switch(context, None, texts.CLIENT_ENABLED),
        _client_argument,
    ),
    Command(
        ("client", "rotate"), texts.CLIENT_ROTATE_SUMMARY, texts.CLIENT_ROTATE_EXAMPLES, _rotate, _rotate_arguments
    ),
    Command(("client", "remove"), texts.CLIENT_REMOVE_SUMMARY, texts.CLIENT_REMOVE_EXAMPLES, _remove, _client_argument),
)
"""The commands of this file."""
