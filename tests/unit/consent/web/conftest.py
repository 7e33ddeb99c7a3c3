"""The patient's pages over whole nodes in one process: real ledger, real records, a browser's part played by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, fields, replace
from functools import partial
from hashlib import sha256
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from consent.web.codes import give_code
from consent.web.pages import PATIENT_ASSETS, patient_blueprints
from consent.web.sign_in import account_of
from consent.web.sign_pages import SIGN_ASSETS, SigningParts, SigningSite, mount_signing
from consent.web.site import PatientSite
from consent.web.words import PATIENT_WORDS
from fhir_bridge.audit import JournalAudit
from fhir_bridge.audit_job import AuditDrain
from fhir_bridge.disclosures import KeptDisclosures
from fhir_bridge.patient_records import RecordsOfPatients
from fhir_bridge.rest.core import Core
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.service import SearchService
from medchain.crypto.assertion import encode_credential_key
from medchain.crypto.authenticator import SoftwareAuthenticator
from medchain.encoding import base64url, unbase64url
from medchain.node.proofs import (
    PROVE,
    PROVE_DISCLOSURES,
    TRACE,
    RecordTracer,
    opening_of,
    prove_disclosures,
    prove_object,
    record_proof,
    trace_record,
)
from medchain.node.records import RecordService
from medchain.store.accounts import Passkey
from medchain.web.pages import Pages, pages_blueprint, read_asset, remember_reading
from medchain.web.service import check_callers, prepare
from medchain.web.session import Site
from medchain.web.sign_in import Floor, sign_in_blueprint
from medchain.web.signed import Signed
from tests.unit.fhir_bridge.conftest import Server
from tests.unit.medchain.ledger.world import genesis, seed
from tests.unit.medchain.node.desks import Desks, Local, phone_of, running_desks
from tests.unit.medchain.node.federation import ANXIN, ORIGIN, RENHE, Federation

KEY = seed(RENHE, "records")
PORTAL = "https://renhe.consent.example"
_PLACES = count(1)


@dataclass
class Browser:
    """A patient's browser, with a phone."""

    client: FlaskClient
    phone: SoftwareAuthenticator
    sign: FlaskClient

    def get(self, path: str, **headers: str):
        return self.client.get(path, base_url=PORTAL, headers=headers)

    def text(self, path: str, status: int = 200) -> str:
        answer = self.get(path)
        assert answer.status_code == status, answer.text[:2000]
        return answer.text

    def post(self, path: str, form: dict[str, Any], origin: str = PORTAL):
        return self.client.post(path, base_url=PORTAL, data=form, headers={"Origin": origin})

    def send(self, path: str, document: object, **headers: str):
        named = {"Origin": PORTAL, "Sec-Fetch-Site": "same-origin"} | headers
        return self.client.post(path, base_url=PORTAL, json=document, headers=named)

    def csrf(self, path: str = "/my") -> str:
        return re.search(r'name="csrf" value="([^"]+)"', self.text(path))[1]

    def answered(self, begun: dict[str, Any], phone: SoftwareAuthenticator | None = None, origin: str = PORTAL):
        """Answer a challenge as the script of the page does."""
        signed = (phone or self.phone).sign(unbase64url(begun["challenge"], max_bytes=4096), origin)
        return {
            "begun": begun["begun"],
            "credential": base64url(signed.credential_id),
            "client_data": base64url(signed.client_data_json),
            "authenticator_data": base64url(signed.authenticator_data),
            "signature": base64url(signed.signature),
        }

    def sign_in(self, phone: SoftwareAuthenticator | None = None, origin: str = PORTAL, **changes: str):
        begun = json.loads(self.send("/my/sign-in/begin", {}).data)
        return self.send("/my/sign-in/finish", self.answered(begun, phone, origin) | {"request": ""} | changes)

    def enrol(self, code: str, begun: dict[str, Any] | None = None):
        """Make a passkey and enrol it."""
        begun = begun or json.loads(self.send("/my/enrol/begin", {"code": code}).data)
        return self.send("/my/enrol/finish", created(begun, self.phone) | {"code": code})

    def led(self, answer):
        """Follow the portal to where something is signed, and open it; gives the answer, the portal's if it refuses."""
        place = json.loads(answer.data).get("next", "") if answer.is_json else answer.headers.get("Location", "")
        if not place.startswith(ORIGIN):
            return answer
        return self.at_sign("/sign/begin", {"ticket": urlsplit(place).fragment})

    def at_sign(self, path: str, document: object, origin: str = ORIGIN):
        named = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
        return self.sign.post(path, base_url=ORIGIN, json=document, headers=named)

    def signed(self, opened, phone: SoftwareAuthenticator | None = None, origin: str = ORIGIN):
        """Sign what was opened as the script of the page does; gives the answer, the one before if it was refused."""
        if opened.status_code != 200:
            return opened
        return self.at_sign("/sign/finish", self.answered(json.loads(opened.data), phone, origin))

    def step(self, path: str, phone: SoftwareAuthenticator | None = None, **asked: object):
        """Have something drafted and sign it; gives the last answer."""
        return self.signed(self.led(self.post(path, {"csrf": self.csrf(), **asked})), phone)

    def agree(self, ask: str, csrf: str = "", **changes: object):
        """Have a permission drafted, and open what is to be signed."""
        form = {"days": "30", "kind": ["diagnoses", "tests"], "sensitive": [], "step": "sign"} | changes
        return self.led(self.post(f"/my/asks/{ask}", {"csrf": csrf or self.csrf()} | form))


def code_of(answer) -> str:
    """Read the code of a refusal, from a page or an answer to a script."""
    if answer.is_json:
        return json.loads(answer.data).get("code", "")
    found = re.search(r'data-code="([a-z_.]+)"', answer.text)
    return "" if found is None else found[1]


def created(begun: dict[str, Any], phone: SoftwareAuthenticator, origin: str = PORTAL) -> dict[str, Any]:
    """Make a passkey, as a browser does (WebAuthn Level 3 §6.5.1)."""
    client = {"type": "webauthn.create", "challenge": begun["challenge"], "origin": origin, "crossOrigin": False}
    name, key = phone.credential_id, encode_credential_key(phone.credential)
    data = sha256(phone.rp_id.encode()).digest() + bytes([0x45]) + bytes(4 + 16)
    data += len(name).to_bytes(2, "big") + name + key
    return {
        "begun": begun["begun"],
        "client_data": base64url(json.dumps(client).encode()),
        "authenticator_data": base64url(data),
    }


@dataclass
class World:
    """The nodes, the hospital's pages, and who plays with them."""

    desks: Desks
    server: Server
    site: PatientSite
    local: Local
    app: Flask
    sign_app: Flask
    subjects: dict[str, str] = field(default_factory=dict)

    @property
    def time(self) -> int:
        return self.desks.federation.time

    def browser(self, name: str) -> Browser:
        client = self.app.test_client()
        # Each from a place of its own, or one that fails would have all others wait.
        number = next(_PLACES)
        client.environ_base["REMOTE_ADDR"] = f"198.51.{number >> 8}.{number & 255}"
        return Browser(client, phone_of(name), self.sign_app.test_client())

    def code(self, patient: str) -> str:
        return give_code(self.site.pages.site.accounts, patient, "identity-card", self.time)

    def patient(self, name: str) -> Browser:
        """Return the browser of an enrolled patient who is signed in."""
        browser = self.browser(name)
        if name not in self.subjects:
            self.subjects[name] = self.desks.enrol(browser.phone, name)
            account = account_of(self.site.pages.site.accounts, name, f"王{name}", self.time)
            public = encode_credential_key(browser.phone.credential)
            passkey = Passkey(browser.phone.credential_id, account.id, public, self.time, None)
            self.site.pages.site.accounts.put_passkey(passkey)
        assert browser.sign_in().status_code == 200
        return browser

    def ask(self, patient: str, **changes: object) -> str:
        """Have the insurer ask; returns the ask's id."""
        wish = {
            "custodian": RENHE,
            "days": 30,
            "patient": patient,
            "person": "王晓梅",
            "purpose": "HPAYMT",
            "reason": "核对三月的住院理赔",
            "resource_types": ["Condition", "Observation"],
        }
        return str(self.desks.local(ANXIN).call("ask.send", wish | changes)["id"])

    def give(self, browser: Browser, ask: str, **changes: object) -> str:
        """Have a patient agree; returns the consent's map key."""
        done = browser.signed(browser.agree(ask, **changes))
        assert done.status_code == 200, done.text
        return re.fullmatch(PORTAL + r"/my/access/([0-9a-f]{64})\?new=1", json.loads(done.data)["next"])[1]

    def read(self, consent: str, types: tuple[str, ...] = ("Condition", "Observation")):
        """Have the insurer read under a consent; raises how it is refused."""
        grants = self.desks.local(ANXIN).call("grants.received", {})["grants"]
        grant = next(row["key"] for row in grants if row["consent"] == consent)
        asked = {"custodian": RENHE, "grant": grant, "purpose": "HPAYMT", "resource_types": sorted(types)}
        return self.desks.local(ANXIN).call("request", asked)


def made(desks: Desks) -> Iterator[World]:
    """Put the hospital's pages over its node."""
    site, clock = desks.federation.sites[RENHE], desks.federation.clock
    folder = site.folder
    audit = JournalAudit(folder, KEY, clock)
    local = desks.local()
    local.operations[PROVE] = partial(prove_object, site.replica)
    local.operations[PROVE_DISCLOSURES] = partial(prove_disclosures, site.replica, site.node.shelf)
    local.operations[TRACE] = partial(trace_record, site.replica)
    with closing(audit):
        index = SearchIndex(site.records, bases=frozenset({f"{PORTAL}/fhir"}))
        search = SearchService(site.records, index, KEY, genesis().ledger, clock)
        service = RecordService(site.records, genesis().ledger, KEY, clock, index=search.index)
        core = Core(
            service=service,
            search=search,
            store=site.records,
            records_key=KEY,
            tokens=None,
            base_url=f"{PORTAL}/fhir",
            token_url=f"{PORTAL}/token",
            clock=clock,
            final_size=lambda: site.ledger.final().size,
            majority_years=lambda: 18,
            tracer=RecordTracer(RENHE, genesis().ledger, local, service),
            prove=lambda stored: record_proof(local, RENHE, stored, opening_of(service, stored)),
            audit=audit,
            catch_up=AuditDrain(folder, KEY, site.records, service, clock, RENHE).catch_up,
        )
        web = Site(
            org_id=RENHE,
            name=("仁和医院", "Renhe Hospital"),
            origins=(PORTAL,),
            accounts=site.records.accounts,
            signed=Signed(b"k" * 32),
            use_once=lambda name, until: site.records.use_once(name, until, now=clock()),
            clock=clock,
        )
        pages = Pages(web, PATIENT_WORDS)
        pages.assets |= {name: read_asset("consent.web", name) for name in PATIENT_ASSETS}
        patients = PatientSite(
            pages, local, RecordsOfPatients(core), site.records, service.patient_token, genesis(), "/fhir", ORIGIN
        )
        signing = Pages(SigningSite(**{one.name: getattr(web, one.name) for one in fields(web)}), PATIENT_WORDS)
        signing.site = replace(signing.site, origins=(ORIGIN,))
        signing.assets |= {name: read_asset("consent.web", name) for name in SIGN_ASSETS}
        sign_app = Flask("test-sign", static_folder=None)
        prepare(sign_app)
        sign_app.register_blueprint(pages_blueprint(signing))
        mount_signing(sign_app, SigningParts(signing, local, genesis(), PORTAL))
        remember_reading(sign_app)
        check_callers(sign_app)
        app = Flask("test-patient", static_folder=None)
        prepare(app)
        app.register_blueprint(pages_blueprint(pages))
        app.register_blueprint(sign_in_blueprint(pages, Floor(lambda _: "", lambda _: ("", ""), lambda: None)))
        for blueprint in patient_blueprints(patients):
            app.register_blueprint(blueprint)
        remember_reading(app)
        check_callers(app)
        yield World(desks, core, patients, local, app, sign_app)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    with ExitStack() as stack:

        def disclosing(federation: Federation, org_id: str) -> KeptDisclosures:
            site = federation.sites[org_id]
            audit = stack.enter_context(closing(JournalAudit(site.folder, seed(org_id, "records"), federation.clock)))
            return KeptDisclosures(audit, org_id, lambda: site.ledger.members, site.records)

        yield from made(stack.enter_context(running_desks(tmp_path_factory.mktemp("pages"), disclosing)))
