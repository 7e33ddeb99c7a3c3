"""The roof over the page on which patients sign: an application of its own, with nothing else in it.

A roof beside `medchain/app.py`, because what is served at the signing origin must share no page, session or route with
the portal, and needs no FHIR server. Keeps true: every view declares its callers, or the application is not built; the
worker ends with its parent. Trusts the blueprints of the floors below.
Source: `docs/architecture.md`, `docs/adr/0050-patients-sign-at-an-origin-of-its-own.md`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from contextlib import ExitStack
from typing import Final

from flask import Flask

from consent.web.sign_pages import SIGN_ASSETS, SigningParts, SigningSite, mount_signing
from consent.web.words import PATIENT_WORDS
from fhir_bridge.audit import JournalAudit
from fhir_bridge.deeds import KeptDeeds
from fhir_bridge.smart.origins import own_names, public_origins
from medchain.ledger.genesis import Genesis
from medchain.node.assembly import WebNode, open_web_node, read_genesis
from medchain.node.clock import system_clock
from medchain.node.config import time_zone
from medchain.node.garbage import settle
from medchain.node.keystore import Layout, Unlock
from medchain.store.steps import Steps
from medchain.web.deeds import Deeds
from medchain.web.gateway import Environ, Gateway, Start
from medchain.web.handover import begin
from medchain.web.pages import Pages, pages_blueprint, read_asset, remember_reading
from medchain.web.service import check_callers, prepare
from medchain.web.signed import Signed

_THREADS: Final = 4


class _Whole:
    """The application behind the door: small bodies only, and a thread for each request."""

    def __init__(self, app: Flask) -> None:
        """Stand before an application."""
        self._app = app

    def __call__(self, environ: Environ, start: Start, /) -> Iterable[bytes]:
        """Answer."""
        answer: Iterable[bytes] = self._app(environ, start)
        return answer

    def takes_large(self, _environ: Environ, /) -> bool:
        """Tell that no body is large."""
        return False

    def kind_of(self, _environ: Environ, /) -> Hashable:
        """Tell that no request is known to be quick."""
        return None

    def in_steps(self, environ: Environ, start: Start, /) -> Steps[Iterable[bytes]]:
        """Answer in one step."""
        yield from ()
        return self(environ, start)


def create_app(node: WebNode, genesis: Genesis, deeds: Deeds) -> Flask:
    """Put the application together.

    Args:
        node: opened records, keys and the way to the daemon.
        genesis: of the ledger.
        deeds: keeps changes of accounts.

    Returns:
        The application.
    """
    app = Flask("medchain-sign", static_folder=None)
    prepare(app)
    site = SigningSite(
        org_id=node.config.org_id,
        name=own_names(node, genesis),
        origins=(node.config.sign_origin,),
        accounts=node.records.accounts,
        signed=Signed(node.keys.records),
        use_once=lambda name, until: node.records.use_once(name, until, now=node.clock()),
        clock=node.clock,
        is_proxied=node.config.web_proxy,
        deeds=deeds,
        zone=time_zone(node.config.time_zone),
    )
    pages = Pages(site, PATIENT_WORDS)
    pages.assets |= {name: read_asset("consent.web", name) for name in SIGN_ASSETS}
    app.register_blueprint(pages_blueprint(pages))
    mount_signing(app, SigningParts(pages, node.local, genesis, public_origins(node, genesis)[0]))
    remember_reading(app)
    check_callers(app)
    return app


def worker_gateway() -> Gateway:
    """Make what a granian worker calls, from what `medchain.web.workers` left for it.

    Returns:
        The door of the application.

    Raises:
        MedchainError: the node cannot be opened.
    """
    handed, config = begin(lambda _run: "sign")
    opened = ExitStack()
    node = opened.enter_context(open_web_node(config, Unlock(handed.half, None), system_clock))
    genesis, _ = read_genesis(Layout(config.folder))
    audit = JournalAudit(config.folder, node.keys.records, node.clock, is_proxied=config.web_proxy)
    deeds = KeptDeeds(audit, node.clock)
    audit.telling(deeds.tell)
    app = create_app(node, genesis, deeds)
    # Held by the application: a generator that nobody holds is closed, and the files with it.
    app.extensions["medchain-opened"] = opened
    settle()
    return Gateway(_Whole(app), _THREADS)
