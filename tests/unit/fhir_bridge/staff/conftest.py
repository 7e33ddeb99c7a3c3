"""The staff's pages over whole nodes in one process: real ledger, real records, real reviews."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from consent.web.pages import PATIENT_ASSETS, patient_blueprints
from consent.web.site import PatientSite
from consent.web.words import PATIENT_WORDS
from fhir_bridge.audit import JournalAudit
from fhir_bridge.audit_job import AuditDrain
from fhir_bridge.browse.pages import BrowsePages
from fhir_bridge.browse.words import BROWSE_WORDS
from fhir_bridge.claims_desk.mount import claims_blueprints
from fhir_bridge.claims_desk.words import CLAIM_WORDS
from fhir_bridge.deeds import KeptDeeds
from fhir_bridge.mount import desk_blueprints, seen_by
from fhir_bridge.patient_records import RecordsOfPatients
from fhir_bridge.rest.core import Core
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.service import SearchService
from fhir_bridge.smart.patients import Patients
from fhir_bridge.staff.concerns import ConcernAnswers, ConcernDesk
from fhir_bridge.staff.counter import Counter
from fhir_bridge.staff.emergencies import EmergencyPages, Ward
from fhir_bridge.staff.other_hospitals import OtherHospitalPages, Outside
from fhir_bridge.staff.oversight import OversightPages
from fhir_bridge.staff.words import STAFF_WORDS
from medchain.node.emergency import EmergencyDesk
from medchain.node.exchange_client import ExchangeClient
from medchain.node.policy_terms import PolicyTerms
from medchain.node.records import NewRecord, RecordService
from medchain.node.witnesses import WITNESSES
from medchain.store.accounts import Account, Role
from medchain.web.pages import Pages, pages_blueprint, read_asset, remember_reading
from medchain.web.service import check_callers, prepare
from medchain.web.session import Site
from medchain.web.sign_in import Floor, sign_in_blueprint
from medchain.web.signed import Signed
from tests.unit.fhir_bridge.exchanging import Tracer
from tests.unit.medchain.ledger.world import fresh, genesis, seed
from tests.unit.medchain.node.desks import Desks, Local, running_desks
from tests.unit.medchain.node.federation import ORIGIN, RENHE, TONGJI

HOST = ORIGIN.removeprefix("https://")


@dataclass
class Browser:
    """The browser of somebody of the staff."""

    client: FlaskClient

    def get(self, path: str):
        return self.client.get(path, base_url=ORIGIN)

    def post(self, path: str, form: dict[str, Any], origin: str | None = ORIGIN):
        return self.client.post(path, base_url=ORIGIN, data=form, headers={} if origin is None else {"Origin": origin})

    def csrf(self, path: str) -> str:
        return re.search(r'name="csrf" value="([^"]+)"', self.get(path).text)[1]


@dataclass
class World:
    """The nodes, the pages of one of them, and its staff."""

    desks: Desks
    core: Core
    site: Site
    desk: EmergencyDesk
    app: Flask
    local: Local
    patients: PatientSite

    def patient(self, name: str, born: str = "1958-03-04") -> str:
        """Store a patient with a record; returns the id."""
        identifier = [{"system": "urn:mrn", "value": f"MRN-{name}"}]
        row = {"resourceType": "Patient", "id": name, "name": [{"text": f"王{name}"}], "identifier": identifier}
        row |= {"birthDate": born}
        seen = {"resourceType": "Observation", "id": f"{name}-o", "status": "final", "code": {"text": "血糖"}}
        seen |= {"subject": {"reference": f"Patient/{name}"}}
        for one in (row, seen):
            content = json.dumps(one, ensure_ascii=False).encode()
            self.core.service.create(NewRecord(one["resourceType"], one["id"], content, name))
        return name

    def session(self, role: Role, person: str | None = None) -> str:
        """Begin a session of somebody new; whoever is at the desk is some Practitioner, where nobody else is named."""
        now, account = self.site.clock(), secrets.token_hex(16)
        if person is None:
            person = f"Practitioner/{account}" if role is Role.DESK else ""
        self.site.accounts.put_account(Account(account, account, "李医生", role, person, None, None, now))
        return self.site.accounts.begin_session(account, "passkey", now, now + 8 * 3600, None)

    def staff(self, role: Role = Role.CLINICIAN, person: str | None = None) -> Browser:
        """Sign somebody new in, as `session`."""
        client, secret = self.app.test_client(), self.session(role, person)
        client.set_cookie(self.site.cookie, secret, domain=HOST, secure=True)
        return Browser(client)

    def settle(self) -> None:
        """Bring what was declared to the ledger, everywhere."""
        book = self.desks.nodes[self.site.org_id].emergencies
        while book.round():
            self.desks.federation.wait()


def opened(desks: Desks, org_id: str, stack: ExitStack, origin: str = ORIGIN) -> World:
    """Put an organisation's pages over its node."""
    site, clock, key = desks.federation.sites[org_id], desks.federation.clock, seed(org_id, "records")
    audit = JournalAudit(site.folder, key, clock)
    stack.callback(audit.close)
    search = SearchService(
        site.records, SearchIndex(site.records, bases=frozenset({f"{origin}/fhir"})), key, genesis().ledger, clock
    )
    service = RecordService(site.records, genesis().ledger, key, clock, index=search.index)
    local = desks.local(org_id)
    local.operations.update({"member.keys": lambda _document: {"keys": [], "origins": ["https://renhe.example"]}})
    local.operations[WITNESSES] = lambda _document: {"log": {}, "witnesses": []}
    core = Core(
        service=service,
        search=search,
        store=site.records,
        records_key=key,
        tokens=None,
        base_url=f"{origin}/fhir",
        token_url=f"{origin}/token",
        clock=clock,
        final_size=lambda: site.ledger.final().size,
        majority_years=PolicyTerms(local, {}).majority_years,
        prove=lambda stored: {"entry.bin": stored.object_id},
        audit=audit,
        catch_up=AuditDrain(site.folder, key, site.records, service, clock, org_id).catch_up,
        tracer=Tracer(org_id),
        others=ExchangeClient(local),
    )
    web = Site(
        org_id=org_id,
        name=("仁和医院", "Renhe Hospital"),
        origins=(origin,),
        accounts=site.records.accounts,
        signed=Signed(b"k" * 32),
        use_once=lambda name, until: site.records.use_once(name, until, now=clock()),
        clock=clock,
        deeds=KeptDeeds(audit, clock),
    )
    pages = Pages(web, {**BROWSE_WORDS, **PATIENT_WORDS, **STAFF_WORDS, **CLAIM_WORDS})
    pages.assets |= {name: read_asset("consent.web", name) for name in PATIENT_ASSETS}
    desk = EmergencyDesk(org_id, site.records, service, clock, fresh)
    ward = Ward(pages, desk, Patients(service, search, seen_by(audit)), site.records, local)
    app = Flask("test-staff", static_folder=None)
    prepare(app)
    app.register_blueprint(pages_blueprint(pages))
    app.register_blueprint(sign_in_blueprint(pages, Floor(lambda _: "", lambda _: ("", ""), lambda: None)))
    app.register_blueprint(BrowsePages(pages, core).blueprint())
    app.register_blueprint(EmergencyPages(ward).blueprint())
    app.register_blueprint(OtherHospitalPages(Outside(pages, desk, core, local)).blueprint())
    app.register_blueprint(OversightPages(pages, local).blueprint())
    app.register_blueprint(ConcernAnswers(ConcernDesk(pages, local, site.records, audit)).blueprint())
    patients = PatientSite(
        pages, local, RecordsOfPatients(core), site.records, service.patient_token, genesis(), "/fhir"
    )
    counter = Counter(patients, core)
    for blueprint in (*desk_blueprints(counter), *claims_blueprints(counter), *patient_blueprints(patients)):
        app.register_blueprint(blueprint)
    remember_reading(app)
    check_callers(app)
    return World(desks, core, web, desk, app, local, patients)


@pytest.fixture(scope="module")
def desks(tmp_path_factory) -> Iterator[Desks]:
    with running_desks(tmp_path_factory.mktemp("staff")) as made:
        yield made


@pytest.fixture(scope="module")
def abroad(desks) -> Iterator[World]:
    """The pages of another hospital."""
    with ExitStack() as stack:
        yield opened(desks, TONGJI, stack)


@pytest.fixture(scope="module")
def world(desks) -> Iterator[World]:
    with ExitStack() as stack:
        yield opened(desks, RENHE, stack)
