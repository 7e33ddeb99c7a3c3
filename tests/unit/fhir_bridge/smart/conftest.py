"""The authorisation server with its pages, in memory but for the records file, and a browser's part played by hand."""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from fhir_bridge.browse.pages import BrowsePages
from fhir_bridge.deeds import KeptDeeds
from fhir_bridge.mount import request_fields, seen_by
from fhir_bridge.smart.clients import Client, check_client, client_document
from fhir_bridge.smart.fetch import Fetcher
from fhir_bridge.smart.mount import register
from fhir_bridge.smart.patients import Patients
from fhir_bridge.smart.scopes import parse_scopes
from medchain.store.accounts import Account, Role
from medchain.web.service import check_callers, prepare
from medchain.web.session import Site
from medchain.web.signed import Signed

NOW = 1_796_083_200
ORIGIN = "https://fhir.renhe.example"
BACK = "https://app.example/cb"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
PUBLIC = Client(
    "growth",
    parse_scopes("patient/*.cruds user/*.cruds"),
    name="生长曲线",
    redirects=(BACK, "http://127.0.0.1/cb"),
    launch_uri="https://app.example/launch",
)


@dataclass
class World:
    """A node's authorisation server, and who plays with it."""

    server: Any
    site: Site
    app: Flask
    browser: FlaskClient
    accounts: dict[Role, Account] = field(default_factory=dict)

    @property
    def parts(self) -> Any:  # noqa: ANN401  # the fixture's
        return self.server.parts

    @property
    def store(self) -> Any:  # noqa: ANN401  # the fixture's
        return self.server.store.accounts

    @property
    def time(self) -> list[int]:
        return self.server.time

    def sign_in(self, role: Role = Role.CLINICIAN, browser: FlaskClient | None = None) -> str:
        """Put a session into a browser, as signing in does."""
        now = self.time[0]
        secret = self.store.begin_session(self.accounts[role].id, "passkey", now, now + 8 * 3600, None)
        (browser or self.browser).set_cookie(self.site.cookie, secret, domain="fhir.renhe.example", secure=True)
        return secret

    def get(self, path: str, **headers: str):
        return self.browser.get(path, base_url=ORIGIN, headers=headers)

    def post(self, path: str, form: dict, origin: str | None = ORIGIN):
        headers = {} if origin is None else {"Origin": origin}
        return self.browser.post(path, base_url=ORIGIN, data=form, headers=headers)

    def request(self, **changes: str | None) -> dict[str, str]:
        """What a good application asks for."""
        asked = {
            "response_type": "code",
            "client_id": "growth",
            "redirect_uri": BACK,
            "scope": "launch/patient openid fhirUser offline_access patient/*.rs",
            "state": "s" * 22,
            "aud": f"{ORIGIN}/fhir",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        } | changes
        return {name: value for name, value in asked.items() if value is not None}

    def begin(self, **changes: str | None) -> str:
        """Ask, and follow to the page of the decision; returns the signed request."""
        answer = self.get("/auth/authorize?" + urlencode(self.request(**changes)))
        assert answer.status_code == 200, answer.headers.get("Location")
        return re.search(r'url=/auth/consent\?request=([A-Za-z0-9_-]+)"', answer.text)[1]

    def csrf(self, page: str) -> str:
        return re.search(r'name="csrf" value="([^"]+)"', page)[1]

    def decide(self, signed: str, step: str = "allow", **form: Any):  # noqa: ANN401  # a form's
        page = self.get(f"/auth/consent?request={signed}").text
        scopes = re.findall(r'name="scope" value="([^"]+)"', page)
        given = {"csrf": self.csrf(page), "request": signed, "step": step, "scope": scopes, "offline": "yes"} | form
        return self.post("/auth/consent", {name: value for name, value in given.items() if value is not None})

    def code(self, **changes: str | None) -> str:
        """Have a code given to the application."""
        answer = self.decide(self.begin(**changes), patient="p1")
        assert answer.status_code == 303, answer.text
        return back(answer)["code"]

    def turn_in(self, code: str, **changes: str | None):
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": BACK,
            "client_id": "growth",
            "code_verifier": VERIFIER,
        } | changes
        return self.token(form)

    def refresh(self, token: str, **changes: str | None):
        return self.token({"grant_type": "refresh_token", "refresh_token": token, "client_id": "growth"} | changes)

    def token(self, form: dict):
        return self.app.test_client().post(
            "/token", base_url=ORIGIN, data={name: value for name, value in form.items() if value is not None}
        )


def back(answer) -> dict[str, str]:
    """Read what an application is told at its own address."""
    address = answer.headers["Location"]
    assert address.startswith((BACK, "http://127.0.0.1")), address
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


@pytest.fixture
def world(server, monkeypatch) -> World:
    from fhir_bridge.smart import clients, oauth  # noqa: PLC0415  # replaced below
    from fhir_bridge.smart import server as tokens  # noqa: PLC0415  # as above

    monkeypatch.setattr(tokens, "LOOK_AGAIN_S", 0)
    monkeypatch.setattr(clients, "LOOK_AGAIN_S", 0)
    issuer = oauth.Issuer(ORIGIN, f"{ORIGIN}/fhir", f"{ORIGIN}/auth/style-1.json")
    server.parts = oauth.Parts(
        issuer,
        server.parts.accounts,
        server.parts.clients,
        server.parts.keys,
        server.parts.tokens,
        server.parts.assertions,
        server.parts.clock,
    )
    site = Site(
        org_id="renhe-hospital",
        name=("仁和医院", "Renhe Hospital"),
        origins=(ORIGIN,),
        accounts=server.store.accounts,
        signed=Signed(b"k" * 32),
        use_once=lambda name, until: server.store.use_once(name, until, now=server.time[0]),
        clock=lambda: server.time[0],
        deeds=KeptDeeds(server.core.audit, lambda: server.time[0], request_fields),
    )
    app = Flask("test-pages", static_folder=None)
    prepare(app)
    core = server.core
    patients = Patients(server.service, core.search, seen_by(core.audit), core.enforcement.sight)
    pages = register(app, site, server.parts, patients, Fetcher())
    app.register_blueprint(BrowsePages(pages, core).blueprint())
    check_callers(app)
    world = World(server, site, app, app.test_client())
    for role in Role:
        reference = "Practitioner/17" if role is Role.CLINICIAN else ""
        made = Account(secrets.token_hex(16), role.value, f"{role.value} Wang", role, reference, None, None, NOW)
        world.store.put_account(made)
        world.accounts[role] = made
    world.store.put_client("growth", client_document(check_client(PUBLIC)), NOW)
    patient = {"resourceType": "Patient", "id": "p1", "name": [{"family": "王", "given": ["芳"]}]}
    patient |= {"birthDate": "1980-01-02", "identifier": [{"system": "urn:mrn", "value": "MRN-1"}]}
    assert server.call("PUT", "/fhir/Patient/p1", patient).status_code == 201
    encounter = {"resourceType": "Encounter", "id": "e1", "status": "finished", "subject": {"reference": "Patient/p1"}}
    encounter["class"] = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
    assert server.call("PUT", "/fhir/Encounter/e1", encounter).status_code == 201
    return world
