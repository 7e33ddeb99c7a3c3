"""Puts the authorisation server of a web worker together and hangs it into the application.

Keeps true: addresses come from the ledger and the configuration, never from a request; whether an organisation is a
member is asked of the daemon, anew every second, and no answer means no. Trusts the daemon of this node.
Source: `docs/spec/smart.md`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from flask import Flask

from consent.web.words import PATIENT_WORDS
from fhir_bridge.browse.words import BROWSE_WORDS
from fhir_bridge.claims_desk.words import CLAIM_WORDS
from fhir_bridge.references import API
from fhir_bridge.smart.assertions import AssertionCheck, ClientKeys
from fhir_bridge.smart.authorisation import parse_authorisation
from fhir_bridge.smart.client_pages import client_blueprint
from fhir_bridge.smart.clients import ClientBook
from fhir_bridge.smart.discovery import STYLE, TOKEN
from fhir_bridge.smart.endpoints import oauth_blueprint
from fhir_bridge.smart.fetch import Fetcher, RemoteKeys
from fhir_bridge.smart.keys import SigningKeys
from fhir_bridge.smart.oauth import Issuer, Parts, SmartServer
from fhir_bridge.smart.origins import OwnOrigins, own_names, public_origins
from fhir_bridge.smart.pages import AuthorisePages
from fhir_bridge.smart.patients import Patients
from fhir_bridge.smart.proofs import ProofCheck
from fhir_bridge.smart.provider import Provider, RelyingParty, read_provider
from fhir_bridge.smart.server import TokenServer
from fhir_bridge.smart.words import SMART_WORDS
from fhir_bridge.staff.words import STAFF_WORDS
from medchain.crypto.es384 import ES384, public_jwk
from medchain.crypto.signing import key_id
from medchain.encoding import Json, members, unbase64
from medchain.errors import MedchainError
from medchain.ledger.genesis import Genesis
from medchain.node.assembly import WebNode
from medchain.node.config import time_zone
from medchain.node.directory import MEMBER_KEYS
from medchain.node.peers import Limits
from medchain.store.authorisations import Grant
from medchain.web.deeds import Deeds
from medchain.web.pages import Pages, pages_blueprint, remember_reading
from medchain.web.session import Site
from medchain.web.sign_in import Floor, sign_in_blueprint
from medchain.web.signed import Signed
from medchain.web.verify_page import verify_blueprint

_LIMITS: Final = Limits(timeout_s=2.0)
_REMEMBER_S: Final = 1.0
_MAX_MEMBERS: Final = 1024


def make_parts(node: WebNode, genesis: Genesis) -> Parts:
    """Make what the authorisation server works with.

    Args:
        node: opened records, keys and the way to the daemon.
        genesis: of the ledger.

    Returns:
        The parts.
    """
    own = OwnOrigins(node, genesis)
    origins = own()
    accounts, clock = node.records.accounts, node.clock
    clients, keys = ClientBook(accounts), SigningKeys(accounts, node.keys.records, clock)
    of_member = remembered(lambda org_id: member_keys(node, org_id))
    used = partial(_used_once, node)
    fetched = RemoteKeys(Fetcher(private=node.config.peer_private, ca=node.config.peer_ca).json)
    tokens = TokenServer(
        node=node.config.org_id,
        accounts=accounts,
        keys=keys,
        clients=clients,
        member_counts=lambda org_id: bool(of_member(org_id)),
        proofs=ProofCheck(lambda: (*origins, *own()), used, clock),
        clock=clock,
    )
    assertions = AssertionCheck(
        lambda: [address for origin in (*origins, *own()) for address in (origin + TOKEN, origin)],
        # Who asks for a token is looked up at this moment: a member that was suspended gets none any more.
        ClientKeys(lambda org_id: member_keys(node, org_id), fetched.keys),
        used,
        clock,
    )
    issuer = Issuer(origins[0], origins[0] + API, origins[0] + STYLE)
    return Parts(issuer, accounts, clients, keys, tokens, assertions, clock)


def mount_smart(app: Flask, node: WebNode, genesis: Genesis, parts: Parts, patients: Patients, deeds: Deeds) -> Pages:
    """Register the endpoints and the pages.

    Args:
        app: prepared by `medchain.web.service.prepare`.
        node: opened records, keys and the way to the daemon.
        genesis: of the ledger.
        parts: from `make_parts`.
        patients: finds the patient of a launch.
        deeds: keeps sign-ins, tokens and changes of clients and accounts.

    Returns:
        What renders the pages, for those of others.
    """
    site = Site(
        org_id=node.config.org_id,
        name=own_names(node, genesis),
        origins=public_origins(node, genesis),
        accounts=parts.accounts,
        signed=Signed(node.keys.records),
        use_once=partial(_used_once, node),
        clock=node.clock,
        is_proxied=node.config.web_proxy,
        deeds=deeds,
        zone=time_zone(node.config.time_zone),
    )
    fetcher = Fetcher(private=node.config.peer_private, ca=node.config.peer_ca)
    path = node.config.login_provider
    provider = None if path is None else read_provider(path, fetcher)
    return register(app, site, parts, patients, fetcher, provider)


def _used_once(node: WebNode, name: str, until: int) -> bool:
    """Tell whether something is used for the first time, and remember it until a time (Unix seconds)."""
    return node.records.use_once(name, until, now=node.clock())


def register(
    app: Flask, site: Site, parts: Parts, patients: Patients, fetcher: Fetcher, provider: Provider | None = None
) -> Pages:
    """Register the endpoints and the pages of a site; arguments as their modules say, answer as `mount_smart`."""
    words = {**SMART_WORDS, **BROWSE_WORDS, **PATIENT_WORDS, **STAFF_WORDS, **CLAIM_WORDS}
    server, pages = SmartServer(parts), Pages(site, words)
    authorise = AuthorisePages(pages, server, patients)
    has_provider = provider is not None
    floor = Floor(
        authorise.application,
        lambda grant: _described(parts, grant),
        parts.tokens.forget,
        has_provider,
        authorise.since,
    )
    if provider is not None:
        app.register_blueprint(RelyingParty(provider, pages, parts, fetcher, authorise.since).blueprint())
    app.register_blueprint(oauth_blueprint(server, site.place, site.deeds))
    app.register_blueprint(pages_blueprint(pages))
    app.register_blueprint(verify_blueprint())
    app.register_blueprint(sign_in_blueprint(pages, floor))
    app.register_blueprint(authorise.blueprint())
    app.register_blueprint(client_blueprint(pages, parts, fetcher))
    remember_reading(app)
    return pages


def _described(parts: Parts, grant: Grant) -> tuple[str, str]:
    """Tell a person what was authorised."""
    client = parts.clients.find(grant.client)
    return (client.name or client.id) if client is not None else grant.client, parse_authorisation(grant.document).text


def member_keys(node: WebNode, org_id: str) -> list[Mapping[str, Json]]:
    """Ask the daemon for the authentication keys that the ledger lists for a member now.

    Args:
        node: whose daemon.
        org_id: the member.

    Returns:
        Public keys; none for one that is not active, and none while the daemon cannot be asked.
    """
    try:
        answer = members(node.local.call(MEMBER_KEYS, {"org_id": org_id}, _LIMITS), {"keys": list, "origins": list})
        rows = answer["keys"]
        points = [unbase64(row, max_bytes=1024) for row in rows] if isinstance(rows, list) else []
        return [{**public_jwk(point), "kid": key_id(ES384, point)} for point in points]
    except MedchainError:
        return []


def remembered(
    ask: Callable[[str], Sequence[Mapping[str, Json]]], monotonic: Callable[[], float] = time.monotonic
) -> Callable[[str], Sequence[Mapping[str, Json]]]:
    """Ask about one organisation at most every second."""
    kept: dict[str, tuple[float, Sequence[Mapping[str, Json]]]] = {}

    def answer(org_id: str) -> Sequence[Mapping[str, Json]]:
        now = monotonic()
        held = kept.get(org_id)
        if held is None or now - held[0] >= _REMEMBER_S:
            if len(kept) >= _MAX_MEMBERS:
                kept.clear()
            held = kept[org_id] = (now, ask(org_id))
        return held[1]

    return answer
