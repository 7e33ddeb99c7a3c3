"""Puts the FHIR floor of a web worker together and hangs it into the application.

Keeps true: the numbers of what is final come from the daemon and are remembered for a moment only; while the daemon is
away nothing is called final. Trusts the daemon of this node.
Source: `docs/architecture.md`.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from typing import Final

from flask import Blueprint, Flask, has_request_context, request

from consent.web.pages import PATIENT_ASSETS, patient_blueprints
from consent.web.site import PatientSite
from fhir_bridge.audit import JournalAudit
from fhir_bridge.audit_job import AuditDrain
from fhir_bridge.browse.pages import BrowsePages
from fhir_bridge.claims_desk.ground import is_of_claims
from fhir_bridge.claims_desk.mount import claims_blueprints
from fhir_bridge.deeds import KeptDeeds
from fhir_bridge.labelling import label_sets
from fhir_bridge.patient_records import RecordsOfPatients
from fhir_bridge.rest.ask import Ask, Trail, new_request_id
from fhir_bridge.rest.core import Auditor, Core, NoAudit
from fhir_bridge.rest.front import PREFIX, Front
from fhir_bridge.rest.turns import Turns
from fhir_bridge.search.service import open_search
from fhir_bridge.smart.mount import make_parts, mount_smart
from fhir_bridge.smart.oauth import Parts
from fhir_bridge.smart.origins import api_bases
from fhir_bridge.smart.patients import Patients, Seen
from fhir_bridge.staff.asks import AskPages
from fhir_bridge.staff.attesting import Attested, Attesting
from fhir_bridge.staff.concerns import ConcernAnswers, ConcernDesk
from fhir_bridge.staff.contacts import ContactPages
from fhir_bridge.staff.counter import Counter
from fhir_bridge.staff.desk import DeskPages
from fhir_bridge.staff.emergencies import EmergencyPages, Ward
from fhir_bridge.staff.guardians import Appointment, GuardianPages, Guardians
from fhir_bridge.staff.mandates import MandatePages
from fhir_bridge.staff.other_hospitals import OtherHospitalPages, Outside
from fhir_bridge.staff.oversight import OversightPages
from fhir_bridge.staff.paper import PaperConsent, PaperEnrolment, PaperPages
from fhir_bridge.staff.permissions import PaperWithdrawal, PermissionPages
from fhir_bridge.staff.proposed import ProposedPages, SecondHand
from fhir_bridge.staff.recoveries import RecoveryPages
from fhir_bridge.staff.restorations import RestorationPages
from fhir_bridge.validation.check import Mode
from medchain.claims.cases import CaseClient
from medchain.errors import UnavailableError
from medchain.ledger.genesis import Genesis
from medchain.node.assembly import WebNode
from medchain.node.emergency import EmergencyDesk
from medchain.node.exchange_client import ExchangeClient
from medchain.node.jobs import JobPool
from medchain.node.peers import Limits
from medchain.node.policy_terms import PolicyTerms
from medchain.node.proofs import RecordTracer, opening_of, record_proof
from medchain.node.records import RecordService
from medchain.node.remembered import Ages, Remembered
from medchain.web.pages import Pages, read_asset

# A daemon that is well answers in a few milliseconds.
_AGES: Final = Ages(fresh_s=0.2, old_s=5.0, patience_s=0.05)
_LIMITS: Final = Limits(timeout_s=2.0)


def mount(
    app: Flask, node: WebNode, genesis: Genesis, jobs: JobPool | None = None, turns: Turns | None = None
) -> Front:
    """Register the FHIR API and the authorisation server.

    Args:
        app: prepared by `medchain.web.service.prepare`.
        node: opened records, keys and the way to the daemon.
        genesis: of the ledger.
        jobs: worker processes for large transactions; None does without.
        turns: of the threads of this process; None for turns of its own.

    Returns:
        What answers every request: the API, or the application for what lies elsewhere.
    """
    parts = make_parts(node, genesis)
    audit = JournalAudit(node.config.folder, node.keys.records, node.clock, is_proxied=node.config.web_proxy)
    core = make_core(node, genesis, parts, jobs=jobs, audit=audit)
    patients = Patients(core.service, core.search, seen_by(audit), core.enforcement.sight)
    deeds = KeptDeeds(audit, node.clock, request_fields)
    audit.telling(deeds.tell)
    pages = mount_smart(app, node, genesis, parts, patients, deeds)
    app.register_blueprint(BrowsePages(pages, core).blueprint())
    desk = EmergencyDesk(node.config.org_id, node.records, core.service, node.clock, secrets.token_bytes)
    # Whom consents keep from somebody is found by who is about to break the glass.
    ward = Ward(pages, desk, Patients(core.service, core.search, seen_by(audit)), node.records, node.local)
    app.register_blueprint(EmergencyPages(ward).blueprint())
    app.register_blueprint(OtherHospitalPages(Outside(pages, desk, core, node.local)).blueprint())
    app.register_blueprint(OversightPages(pages, node.local).blueprint())
    app.register_blueprint(ConcernAnswers(ConcernDesk(pages, node.local, node.records, audit)).blueprint())
    site = patient_site(node, genesis, pages, core)
    counter = Counter(site, core)
    for blueprint in (*desk_blueprints(counter), *claims_blueprints(counter)):
        app.register_blueprint(blueprint)
    for blueprint in patient_blueprints(site):
        app.register_blueprint(blueprint)
    # An application's own attribute: what the front does not answer goes on to the views.
    bodies = max(1, node.config.web_threads // 2)
    front = Front(core, app.wsgi_app, bodies=bodies, turns=turns, takes_files=is_of_claims)
    app.wsgi_app = front  # type: ignore[method-assign, assignment]  # as Flask says
    return front


def desk_blueprints(counter: Counter) -> tuple[Blueprint, ...]:
    """Make the pages of the desk, and those that it shares with clinicians and auditors."""
    attesting = Attesting(counter.site.pages.site)
    recoveries, consent, guardians = RecoveryPages(counter, attesting), PaperConsent(counter), Guardians(counter)
    appointment, restorations = Appointment(counter, guardians), RestorationPages(counter, attesting)
    contacts = ContactPages(counter, attesting)
    hands: dict[Attested, SecondHand] = {
        Attested.CHILD: appointment,
        Attested.CONSENT: consent,
        Attested.CONTACT: contacts,
        Attested.CONTACT_GONE: contacts,
        Attested.DEATH: appointment,
        Attested.DISPUTE: appointment,
        Attested.ENROLMENT: PaperEnrolment(counter),
        Attested.GUARDIANSHIP: appointment,
        Attested.RECOVERY: recoveries,
        Attested.RESTORATION: restorations,
        Attested.WITHDRAWAL: PaperWithdrawal(counter),
    }
    pages = (
        DeskPages(counter, attesting),
        recoveries,
        restorations,
        contacts,
        PaperPages(counter, attesting, consent),
        GuardianPages(counter, attesting, guardians),
        PermissionPages(counter, attesting),
        AskPages(counter),
        MandatePages(counter),
        ProposedPages(counter, attesting, hands),
    )
    return tuple(one.blueprint() for one in pages)


def patient_site(node: WebNode, genesis: Genesis, pages: Pages, core: Core) -> PatientSite:
    """Put together what the patient's pages are made from."""
    pages.assets |= {name: read_asset("consent.web", name) for name in PATIENT_ASSETS}
    return PatientSite(
        pages=pages,
        local=node.local,
        records=RecordsOfPatients(core),
        links=node.records,
        token=core.service.patient_token,
        genesis=genesis,
        api=core.base_url,
        sign_origin=node.config.sign_origin,
    )


def request_fields() -> Mapping[str, str]:
    """Give the fields of the request that a page is answering; none outside of one."""
    return request.environ if has_request_context() else {}


def seen_by(audit: Auditor) -> Callable[[Seen], None]:
    """Keep what people see of patients on pages as the searches that they are."""

    def seen(one: Seen) -> None:
        trail = Trail("search", list(one.numbers), one.query)
        ask = Ask("GET", "", fields=request_fields(), access=one.access, request_id=new_request_id(), trail=trail)
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
    searches = open_search(node, genesis.ledger, api_bases(node, genesis))
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
        final_size=Remembered(lambda: _final_size(node), 0, _AGES),
        majority_years=PolicyTerms(node.local, genesis.members.policy.terms).majority_years,
        prove=lambda stored: record_proof(node.local, node.config.org_id, stored, opening_of(service, stored)),
        tracer=RecordTracer(node.config.org_id, genesis.ledger, node.local, service),
        mode=Mode(node.config.fhir_validation),
        jobs=jobs,
        audit=NoAudit() if audit is None else audit,
        catch_up=drain.catch_up,
        waiting=threading.BoundedSemaphore(max(1, node.config.web_threads // 2)),
        label_sets=label_sets(node.config.folder),
        others=ExchangeClient(node.local),
        cases=CaseClient(node.local),
    )


def _final_size(node: WebNode) -> int:
    """Ask the daemon how much is final; nothing while it cannot be asked."""
    try:
        answer = node.local.call("status", {}, _LIMITS)
    except UnavailableError:
        return 0
    size = answer.get("final_size") if isinstance(answer, dict) else None
    return size if isinstance(size, int) else 0
