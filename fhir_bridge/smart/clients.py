"""The clients of a node: systems that may ask for tokens, each with its public key and what it may do.

They stand in one file of the node's folder, written by the command line and read at each request for a token, so that a
client that was removed gets no further one. Keeps true: the file is replaced whole; no secret is in it. Trusts the file
system's permissions.
Source: SMART Backend Services; RFC 7523.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fhir_bridge.smart.scopes import Scope, parse_scopes, scopes_text
from medchain.crypto.es384 import parse_public_jwk
from medchain.encoding import Json, canonical, members, parse_canonical
from medchain.errors import InputError
from medchain.node.keystore import write_private_file

CLIENTS_NAME: Final = "clients.json"
"""Name of the file in a node's folder."""

_TYPE: Final = "medchain/clients/v1"
_MAX_BYTES: Final = 1 << 20
_CLIENT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Client:
    """A client.

    Attributes:
        id: name by which it calls itself.
        jwk: its ES384 public key.
        scopes: the most that it may ask for.
    """

    id: str
    jwk: Mapping[str, Json]
    scopes: tuple[Scope, ...]


def make_client(client_id: str, jwk: Json, scopes: str) -> Client:
    """Check what makes a client; raises `InputError` ``client.id``, ``es384.public``, ``scope.malformed``."""
    if _CLIENT_ID.fullmatch(client_id) is None:
        raise InputError("client.id")
    parse_public_jwk(jwk)
    if not isinstance(jwk, dict):
        raise InputError("es384.public")
    return Client(client_id, jwk, parse_scopes(scopes))


def read_clients(folder: Path) -> dict[str, Client]:
    """Read a node's clients; raises `InputError` for a damaged file.

    Args:
        folder: the node's folder.

    Returns:
        Client id → client; none where there is no file.
    """
    try:
        content = (folder / CLIENTS_NAME).read_bytes()
    except FileNotFoundError:
        return {}
    top = members(parse_canonical(content, max_bytes=_MAX_BYTES), {"clients": list, "type": str})
    rows = top["clients"]
    if top["type"] != _TYPE or not isinstance(rows, list):
        raise InputError("client.file")
    read = [members(row, {"id": str, "jwk": dict, "scopes": str}) for row in rows]
    made = [make_client(str(row["id"]), row["jwk"], str(row["scopes"])) for row in read]
    return {client.id: client for client in made}


def write_clients(folder: Path, clients: Mapping[str, Client]) -> None:
    """Write a node's clients, all of them."""
    rows: list[Json] = [
        {"id": client.id, "jwk": dict(client.jwk), "scopes": scopes_text(client.scopes)}
        for _, client in sorted(clients.items())
    ]
    write_private_file(folder / CLIENTS_NAME, canonical({"clients": rows, "type": _TYPE}))
