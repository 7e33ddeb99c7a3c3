"""The `launch` parameter of an EHR launch: what the record system knows when it opens an application.

Keeps true: a launch is good once, for one application, for five minutes, and, where the record system names the
person, for that person only. Trusts the record system for patient and encounter.
Source: SMART App Launch 2.2 §2.0.7 (EHR launch), §3.0.3; `docs/spec/smart.md`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from fhir_bridge.smart.clients import Client
from fhir_bridge.smart.oauth import Parts
from medchain.encoding import Json, canonical, members, parse_canonical
from medchain.errors import InputError
from medchain.store.accounts import AccountStore

LAUNCH_SECONDS: Final = 300
"""How long a launch may wait for its application."""

_KIND: Final = "launch"
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_INTENT: Final = re.compile(r"[A-Za-z0-9._:/-]{1,128}")
_MAX_BYTES: Final = 4096
_TEXTS: Final = ("account", "client", "encounter", "intent", "patient")


@dataclass(frozen=True, slots=True)
class Launch:
    """A launch.

    Attributes:
        client: the application.
        patient: id of the patient whose record is open; empty for none.
        encounter: id of the encounter; empty for none.
        account: id of the account of who opens it; empty for whoever signs in.
        intent: what it is opened for; empty for nothing in particular.
        banner: whether the application must show whose record it is.
    """

    client: str
    patient: str = ""
    encounter: str = ""
    account: str = ""
    intent: str = ""
    banner: bool = False


def read_launch(document: Json, find: Callable[[str], Client | None], accounts: AccountStore) -> Launch:
    """Read what the record system asks for.

    Args:
        document: ``{"client":…,"patient":…,"encounter":…,"user":…,"intent":…,"need_patient_banner":…}``, all but the
            first may be absent; ``user`` is the name of an account.
        find: finds a client.
        accounts: finds an account.

    Returns:
        The launch.

    Raises:
        InputError: ``launch.document``, ``launch.client``, ``launch.user``.
    """
    if not isinstance(document, dict) or not set(document) <= {*_TEXTS, "user", "need_patient_banner"} - {"account"}:
        raise InputError("launch.document")
    texts = {name: document.get(name, "") for name in ("client", "encounter", "intent", "patient", "user")}
    banner = document.get("need_patient_banner", False)
    found = {name: value for name, value in texts.items() if isinstance(value, str)}
    ids = (found.get("patient", ""), found.get("encounter", ""))
    is_formed = len(found) == len(texts) and isinstance(banner, bool)
    if not is_formed or any(one and _ID.fullmatch(one) is None for one in ids):
        raise InputError("launch.document")
    if found["intent"] and _INTENT.fullmatch(found["intent"]) is None:
        raise InputError("launch.document")
    client = find(found["client"])
    if client is None or not client.launch_uri:
        raise InputError("launch.client")
    account = accounts.account_named(found["user"]) if found["user"] else None
    if found["user"] and account is None:
        raise InputError("launch.user")
    owner = "" if account is None else account.id
    return Launch(client.id, found["patient"], found["encounter"], owner, found["intent"], bool(banner))


def put_launch(parts: Parts, launch: Launch) -> tuple[str, str]:
    """Keep a launch; returns the parameter, and the address to open (its application's, with ``iss``)."""
    now = parts.clock()
    document: Json = {name: getattr(launch, name) for name in (*_TEXTS, "banner")}
    secret = parts.accounts.put_ticket(_KIND, canonical(document), now + LAUNCH_SECONDS, now)
    client = parts.clients.find(launch.client)
    address = "" if client is None else client.launch_uri
    joint = "&" if "?" in address else "?"
    return secret, address + joint + urlencode({"iss": parts.issuer.fhir, "launch": secret})


def see_launch(parts: Parts, secret: str) -> Launch | None:
    """Return a launch that waits, and leave it."""
    return _read(parts.accounts.see_ticket(_KIND, secret, parts.clock()))


def take_launch(parts: Parts, secret: str) -> Launch | None:
    """Use up a launch; None for one that was used, ended or never was."""
    return _read(parts.accounts.take_ticket(_KIND, secret, parts.clock()))


def _read(document: bytes | None) -> Launch | None:
    """Read a launch as it is kept."""
    if document is None:
        return None
    kinds: dict[str, type] = {**dict.fromkeys(_TEXTS, str), "banner": bool}
    given = members(parse_canonical(document, max_bytes=_MAX_BYTES), kinds)
    texts = {name: str(given[name]) for name in _TEXTS}
    return Launch(**texts, banner=given["banner"] is True)
