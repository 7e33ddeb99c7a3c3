"""Puts the FHIR floor of a web worker together and hangs it into the application.

Keeps true: the numbers of what is final come from the daemon and are remembered for a moment only; while the daemon is
away nothing is called final. Trusts the daemon of this node.
Source: `docs/architecture.md`.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import Final

from flask import Flask

from fhir_bridge.audit import JournalAudit
from fhir_bridge.audit_job import AuditDrain
from fhir_bridge.browse.pages import BrowsePages
from fhir_bridge.deeds import KeptDeeds
from fhir_bridge.rest.ask import Ask, Trail
from fhir_bridge.rest.core import Auditor, Core, NoAudit
from fhir_bridge.rest.front import PREFIX, Front
from fhir_bridge.search.service import open_search
from fhir_bridge.smart.mount import make_parts, mount_smart
from fhir_bridge.smart.oauth import Parts
from fhir_bridge.smart.patients import Patients, Seen
from fhir_bridge.validation.check import Mode
from medchain.errors import UnavailableError
from medchain.ledger.genesis import Genesis
from medchain.node.assembly import WebNode
from medchain.node.jobs import JobPool
from medchain.node.peers import Limits
from medchain.node.proofs import RecordTracer, opening_of, record_proof
from medchain.node.records import RecordService

_REMEMBER_S: Final = 0.2
_LIMITS: Final = Limits(timeout_s=2.0)


def mount(app: Flask, node: WebNode, genesis: Genesis, jobs: JobPool | None = None) -> None:
    """Register the FHIR API and the authorisation server.

    Args:
        app: prepared by `medchain.web.service.prepare`.
        node: opened records, keys and the way to the daemon.
        genesis: of the ledger.
        jobs: worker processes for large transactions; None does without.
    """
    parts = make_parts(node, genesis)
    audit = JournalAudit(node.config.folder, node.keys.records, node.clock)
    core = make_core(node, genesis, parts, jobs=jobs, audit=audit)
    patients = Patients(core.service, core.search, seen_by(audit))
    pages = mount_smart(app, node, genesis, parts, patients, KeptDeeds(audit))
    app.register_blueprint(BrowsePages(pages, core).blueprint())
    # An application's own attribute: what the front does not answer goes on to the views.
    app.wsgi_app = Front(core, app.wsgi_app, bodies=max(1, node.config.web_threads // 2))  # type: ignore[method-assign, assignment]  # as Flask says


def seen_by(audit: Auditor) -> Callable[[Seen], None]:
    """Keep what people see of patients on pages as the searches that they are."""

    def seen(one: Seen) -> None:
        trail = Trail("search", list(one.numbers), one.query)
        ask = Ask("GET", "", fields={}, access=one.access, request_id=secrets.token_hex(8), trail=trail)
        ask.type = "Patient"
        audit.note(ask, 200)

    return seen


def make_core(
    node: WebNode, genesis: Genesis, parts: Parts, *, jobs: JobPool | None = None, audit: Auditor | None = None
) -> Core:
    """Make what the REST server works on.

    Args:
        node: opened records, keys and the way to the daemon.
        genesis: of the ledger.
        parts: of the authorisation server.
        jobs: worker processes for large transactions; None does without.
        audit: keeps who did what; None where the caller does.
    """
    searches = open_search(node, genesis.ledger)
    service = RecordService(node.records, genesis.ledger, node.keys.records, node.clock, index=searches.index)
    drain = AuditDrain(node.config.folder, node.keys.records, node.records, service, node.clock, node.config.org_id)
    return Core(
        service=service,
        search=searches,
        store=node.records,
        records_key=node.keys.records,
        tokens=parts.tokens,
        base_url=parts.issuer.origin + PREFIX,
        token_url=f"{parts.issuer.origin}/token",
        clock=node.clock,
        final_size=_remembered(lambda: _final_size(node)),
        prove=lambda stored: record_proof(node.local, node.config.org_id, stored, opening_of(service, stored)),
        tracer=RecordTracer(node.config.org_id, genesis.ledger, node.local, service),
        mode=Mode(node.config.fhir_validation),
        jobs=jobs,
        audit=NoAudit() if audit is None else audit,
        catch_up=drain.catch_up,
        waiting=threading.BoundedSemaphore(max(1, node.config.web_threads // 2)),
    )


def _final_size(node: WebNode) -> int:
    """Ask the daemon how much is final; nothing while it cannot be asked."""
    try:
        answer = node.local.call("status", {}, _LIMITS)
    except UnavailableError:
        return 0
    size = answer.get("final_size") if isinstance(answer, dict) else None
    return size if isinstance(size, int) else 0


def _remembered(ask: Callable[[], int]) -> Callable[[], int]:
    """Ask at most every `_REMEMBER_S` seconds; what is final stays final, so an old number is only too small."""
    kept = (-_REMEMBER_S, 0)

    def answer() -> int:
        nonlocal kept
        now = time.monotonic()
        if now - kept[0] >= _REMEMBER_S:
            kept = (now, ask())
        return kept[1]

    return answer
