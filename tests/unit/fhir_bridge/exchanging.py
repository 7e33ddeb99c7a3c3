"""An insurer's FHIR API over whole nodes in one process, and a patient of the hospital who lets it read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fhir_bridge.audit import JournalAudit
from fhir_bridge.audit_job import AuditDrain
from fhir_bridge.rest.ask import Ask, Reply
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.front import Front
from fhir_bridge.rest.routes import answer
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.service import SearchService
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import parse_scopes
from medchain.crypto.authenticator import SoftwareAuthenticator
from medchain.encoding import Json
from medchain.node.exchange_client import ExchangeClient
from medchain.node.records import NewRecord, RecordService
from medchain.web.service import prepare
from tests.unit.fhir_bridge.conftest import smart_parts
from tests.unit.medchain.ledger.world import genesis, seed
from tests.unit.medchain.node.desks import Desks, phone_of, running_desks
from tests.unit.medchain.node.federation import ANXIN, NOW, RENHE

BASE = "https://insurer.example/fhir"


@dataclass(frozen=True)
class Tracer:
    """Whose node it is; nothing is traced."""

    org_id: str
    ledger: bytes = genesis().ledger

    def trace(self, stored: object) -> object:
        raise AssertionError(stored)


@dataclass
class Insurer:
    """The API of one organisation's node, and its callers."""

    desks: Desks
    org_id: str
    core: Core
    client: FlaskClient
    local: Any
    drain: AuditDrain

    def get(
        self, path: str, *, scope: str = "system/*.rs", purpose: str = "HPAYMT", method: str = "GET", **more: object
    ):
        """Call with a token of a system of the insurer's own."""
        token = self.core.tokens.issue("claims", parse_scopes(scope))
        headers = {"Authorization": f"Bearer {token}"} | ({"Purpose-Of-Use": purpose} if purpose else {})
        return self.client.open(f"/fhir/{path}", method=method, headers=headers, **more)

    def ask(self, path: str, access: Access) -> Reply:
        """Call as somebody whom a token's document would describe."""
        place, _, query = path.partition("?")
        access = replace(access, asked_for="HPAYMT")
        return answer(self.core, Ask("GET", place, query, fields={}, access=access, request_id="0123456789abcdef"))

    def found(self, path: str, **more: object) -> list[dict]:
        """Search, and return what matches."""
        answer = self.get(path, **more)
        assert answer.status_code == 200, answer.data
        return [one["resource"] for one in rows(answer) if one["search"]["mode"] == "match"]

    def events(self) -> list[dict]:
        """Return the AuditEvents of what happened."""
        while self.drain.take():
            pass
        self.drain.catch_up()
        found = self.core.store.by_patient(self.core.service.patient_token(""), ("AuditEvent",), limit=1000)
        return [json.loads(self.core.service.open(one).content) for one in found]


@dataclass
class Case:
    """A patient of the hospital, her records there, and what she permits the insurer."""

    desks: Desks
    name: str
    phone: SoftwareAuthenticator = field(init=False)
    subject: str = ""
    consent: str = ""
    grant: str = ""

    def __post_init__(self) -> None:
        """Enrol her."""
        self.phone = phone_of(self.name)
        self.subject = self.desks.enrol(self.phone, self.name)

    def permit(self, *types: str, **changes: Json) -> str:
        """Have her permit types of records; returns the grant."""
        self.consent = self.desks.consent(self.phone, self.subject, resource_types=sorted(types), **changes)
        given = self.desks.local(RENHE).call("grant.give", {"consent": self.consent})
        self.grant = str(given["key"])
        self.desks.everywhere(self.grant, 1)
        return self.grant

    def store(self, *resources: dict) -> None:
        """Store records at the hospital, and wait until they are final on every ledger."""
        site = self.desks.federation.sites[RENHE]
        made = [NewRecord(one["resourceType"], one["id"], json.dumps(one).encode(), self.name) for one in resources]
        site.service.create_many(made)
        for _ in range(5000):
            site.node.anchor.round()
            if not site.records.pending(1, kind="anchor"):
                return
            time.sleep(0.01)
        raise AssertionError("never final")

    def patient(self) -> dict:
        return {"resourceType": "Patient", "id": self.name, "gender": "female"}

    def observation(self, number: int, code: str = "718-7", **more: object) -> dict:
        return {
            "resourceType": "Observation",
            "id": f"{self.name}-o{number}",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
            "subject": {"reference": f"Patient/{self.name}"},
            "effectiveDateTime": "2026-11-20T08:00:00Z",
            **more,
        }


def rows(answer: TestResponse) -> list[dict]:
    """Return the entries of a Bundle."""
    return json.loads(answer.data).get("entry", [])


def code_of(answer: TestResponse) -> str:
    """Return the code of a refusal."""
    return json.loads(answer.data)["issue"][0]["details"]["coding"][0]["code"]


def released(desks: Desks, grant: str) -> list[dict]:
    """Return what the hospital's ledger says was released under a grant."""
    found = desks.local(RENHE).call("grants.received", {})["grants"]
    everything = desks.local(ANXIN).call("grants.received", {})["grants"]
    return next(row["accesses"] for row in [*found, *everything] if row["key"] == grant)


@contextmanager
def api_of(desks: Desks, org_id: str) -> Iterator[Insurer]:
    """Put the FHIR API over an organisation's node."""
    site, clock, key = desks.federation.sites[org_id], desks.federation.clock, seed(org_id, "records")
    audit = JournalAudit(site.folder, key, clock)
    with closing(audit):
        index = SearchIndex(site.records, bases=frozenset({BASE}))
        search = SearchService(site.records, index, key, genesis().ledger, clock)
        service = RecordService(site.records, genesis().ledger, key, clock, index=index)
        parts = smart_parts(site.records, key, clock, {}, {})
        drain = AuditDrain(site.folder, key, site.records, service, clock, org_id)
        local = desks.local(org_id)
        members = {"member.keys": lambda _document: {"keys": [], "origins": ["https://renhe.example"]}}
        local.operations.update(members)
        core = Core(
            service=service,
            search=search,
            store=site.records,
            records_key=key,
            tokens=parts.tokens,
            base_url=BASE,
            token_url="https://insurer.example/token",
            clock=clock,
            final_size=lambda: site.ledger.final().size,
            majority_years=lambda: 18,
            prove=lambda stored: {"entry.bin": stored.object_id},
            tracer=Tracer(org_id),
            audit=audit,
            catch_up=drain.catch_up,
            others=ExchangeClient(local),
        )
        app = Flask(f"test-{org_id}", static_folder=None)
        prepare(app)
        app.wsgi_app = Front(core, app.wsgi_app)
        yield Insurer(desks, org_id, core, app.test_client(), local, drain)


@contextmanager
def exchanging(folder: Path) -> Iterator[Insurer]:
    """Run the nodes and the insurer's API."""
    with running_desks(folder) as desks, api_of(desks, ANXIN) as insurer:
        yield insurer


__all__ = ["ANXIN", "BASE", "NOW", "RENHE", "Case", "Insurer", "code_of", "exchanging", "released", "rows"]
