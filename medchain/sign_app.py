"""The roof over the page on which patients sign: an application of its own, with nothing else in it.

A roof beside `medchain/app.py`, because what is served at the signing origin must share no page, session or route with
the portal, and needs no FHIR server. Keeps true: every view declares its callers, or the application is not built; the
worker ends with its parent. Trusts the blueprints of the floors below.
Source: `docs/architecture.md`, `docs/adr/0050-patients-sign-at-an-origin-of-its-own.md`.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import Final

from flask import Flask

from consent.web.sign_pages import SIGN_ASSETS, SigningParts, SigningSite, mount_signing
from consent.web.words import PATIENT_WORDS
from fhir_bridge.audit import JournalAudit
from fhir_bridge.deeds import KeptDeeds
from fhir_bridge.smart.origins import public_origins
from medchain.ledger.genesis import Genesis
from medchain.node.assembly import WebNode, open_web_node, read_genesis
from medchain.node.clock import system_clock
from medchain.node.config import load_config, time_zone
from medchain.node.garbage import settle
from medchain.node.keystore import Layout, Unlock
from medchain.node.log import log_uncaught, open_log
from medchain.web.deeds import Deeds
from medchain.web.gateway import Environ, Gateway, Start
from medchain.web.handover import end_with_parent, take
from medchain.web.pages import LANGUAGES, Pages, pages_blueprint, read_asset, remember_language
from medchain.web.service import check_callers, prepare
from medchain.web.signed import Signed
from medchain.web.workers import CONFIG_VARIABLE

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
    organisation = genesis.members.organisations.get(node.config.org_id)
    given = {} if organisation is None else organisation.name
    names = [str(given.get(one) or next(iter(given.values()), node.config.org_id)) for one in LANGUAGES]
    site = SigningSite(
        org_id=node.config.org_id,
        name=(names[0], names[1]),
        origins=(node.config.sign_origin,),
        accounts=node.records.accounts,
        signed=Signed(node.keys.records),
        use_once=lambda name, until: node.records.use_once(name, until, now=node.clock()),
        clock=node.clock,
        is_proxied=node.config.web_proxy,
        deeds=deeds,
    )
    pages = Pages(site, PATIENT_WORDS)
    pages.assets |= {name: read_asset("consent.web", name) for name in SIGN_ASSETS}
    zone, portal = time_zone(node.config.time_zone), public_origins(node, genesis)[0]
    app.register_blueprint(pages_blueprint(pages))
    mount_signing(app, SigningParts(pages, node.local, node.records.is_used, genesis, zone, portal))
    remember_language(app)
    check_callers(app)
    return app


def worker_gateway() -> Gateway:
    """Make what a granian worker calls, from what `medchain.web.workers` left for it.

    Returns:
        The door of the application.

    Raises:
        MedchainError: the node cannot be opened.
    """
    halves = Unlock(take().half, None)
    config = load_config(Path(os.environ[CONFIG_VARIABLE]), os.environ, {})
    layout = Layout(config.folder)
    open_log(layout.logs, "sign", config.log_level)
    log_uncaught()
    Thread(target=end_with_parent, args=(os.getppid(),), name="parent-watch", daemon=True).start()
    opened = ExitStack()
    node = opened.enter_context(open_web_node(config, halves, system_clock))
    genesis, _ = read_genesis(layout)
    audit = JournalAudit(config.folder, node.keys.records, node.clock, is_proxied=config.web_proxy)
    deeds = KeptDeeds(audit, node.clock)
    audit.telling(deeds.tell)
    app = create_app(node, genesis, deeds)
    # Held by the application: a generator that nobody holds is closed, and the files with it.
    app.extensions["medchain-opened"] = opened
    settle()
    return Gateway(_Whole(app), _THREADS)
