"""A node's records in a temporary folder, and the FHIR API over them, with a clock that stands still."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from fhir_bridge.audit import JournalAudit
from fhir_bridge.audit_job import AuditDrain
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.front import Front
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.service import SearchService
from fhir_bridge.smart.assertions import AssertionCheck, ClientKeys
from fhir_bridge.smart.clients import ClientBook
from fhir_bridge.smart.endpoints import oauth_blueprint
from fhir_bridge.smart.keys import SigningKeys
from fhir_bridge.smart.oauth import Issuer, Parts, SmartServer
from fhir_bridge.smart.proofs import ProofCheck
from fhir_bridge.smart.scopes import parse_scopes
from fhir_bridge.smart.server import TokenServer
from medchain.claims.cases import CaseClient
from medchain.node.records import RecordService
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore
from medchain.web.service import check_callers, prepare

NOW = 1_796_083_200
NODE = "renhe-hospital"
ORIGIN = "http://127.0.0.1:41000"
BASE_URL = f"{ORIGIN}/fhir"
TOKEN_URL = f"{ORIGIN}/token"


def seed(name: str) -> bytes:
    return sha256(name.encode()).digest()


class Insurer:
    """The daemon of an insurer whose evidence is still being gathered."""

    def call(self, operation: str, document: Any, limits: Any = None) -> Any:  # noqa: ANN401, ARG002  # any JSON
        return {"claim": "", "id": "07" * 16, "progress": None, "status": "gathering", "verdict": None}


@dataclass
class Server:
    """The API of one node, with its parts."""

    folder: Path
    store: RecordStore
    service: RecordService
    tokens: TokenServer
    app: Flask
    client: FlaskClient
    core: Core
    front: Front
    time: list[int]
    parts: Parts
    final: list[int] = field(default_factory=lambda: [0])
    member_keys: dict[str, list] = field(default_factory=dict)
    remote_keys: dict[str, list] = field(default_factory=dict)

    def call(self, method: str, path: str, body: Any = None, *, scope: str = "system/*.cruds", **headers: str):  # noqa: ANN401  # any JSON
        """Call with a token."""
        token = self.tokens.issue("test", parse_scopes(scope))
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        kind = {} if data is None else {"Content-Type": "application/fhir+json"}
        return self.client.open(
            path, method=method, data=data, headers={"Authorization": f"Bearer {token}"} | kind | named
        )

    def drain(self) -> int:
        """Make AuditEvents of all that happened, and count them."""
        drain = AuditDrain(self.folder, seed("records"), self.store, self.service, self.core.clock, NODE)
        taken = sum(iter(drain.take, 0))
        drain.catch_up()
        return taken

    def anchor_all(self, position: int) -> None:
        """Mark everything that waits as ordered at a position."""
        self.store.mark_ordered([intent.id for intent in self.store.pending(1000)], position)


@pytest.fixture
def server(tmp_path) -> Iterator[Server]:
    yield from opened(tmp_path)


def opened(folder: Path) -> Iterator[Server]:
    """Open a node in a folder, which may have been one before."""
    key, time, final = seed("records"), [NOW], [0]
    database = open_database(folder / "records.db", seed("file"), kind=FileKind.RECORDS)
    audit = JournalAudit(folder, key, lambda: time[0])
    with closing(RecordStore(database)) as store, closing(audit):
        index = SearchIndex(store, bases=frozenset({BASE_URL}))
        search = SearchService(store, index, key, seed("ledger"), lambda: time[0])
        service = RecordService(store, seed("ledger"), key, lambda: time[0], index=search.index)
        member_keys: dict[str, list] = {}
        remote_keys: dict[str, list] = {}
        parts = smart_parts(store, key, lambda: time[0], member_keys, remote_keys)
        tokens = parts.tokens
        core = Core(
            service=service,
            search=search,
            store=store,
            records_key=key,
            tokens=tokens,
            base_url=BASE_URL,
            token_url=TOKEN_URL,
            clock=lambda: time[0],
            final_size=lambda: final[0],
            majority_years=lambda: 18,
            prove=lambda stored: {"entry.bin": stored.object_id, "version": str(stored.version).encode()},
            audit=audit,
            catch_up=AuditDrain(folder, key, store, service, lambda: time[0], NODE).catch_up,
            cases=CaseClient(Insurer()),
        )
        app = Flask("test", static_folder=None)
        prepare(app)
        app.register_blueprint(oauth_blueprint(SmartServer(parts), lambda: "203.0.113.7"))
        check_callers(app)
        front = app.wsgi_app = Front(core, app.wsgi_app)
        with closing(core.kept):
            yield Server(
                folder,
                store,
                service,
                tokens,
                app,
                app.test_client(),
                core,
                front,
                time,
                parts,
                final,
                member_keys,
                remote_keys,
            )


def smart_parts(store, key, clock, member_keys, remote_keys) -> Parts:
    """Make what the authorisation server works with, with keys of others from dictionaries."""
    accounts = store.accounts
    clients, keys = ClientBook(accounts), SigningKeys(accounts, key, clock)

    def used(jti: str, until: int) -> bool:
        return store.use_once(jti, until, now=clock())

    tokens = TokenServer(
        node=NODE,
        accounts=accounts,
        keys=keys,
        clients=clients,
        member_counts=lambda org_id: bool(member_keys.get(org_id)),
        proofs=ProofCheck(lambda: (ORIGIN,), used, clock),
        clock=clock,
    )
    assertions = AssertionCheck(
        lambda: (TOKEN_URL,),
        ClientKeys(lambda org_id: member_keys.get(org_id, []), lambda url, _kid: remote_keys.get(url, [])),
        used,
        clock,
    )
    issuer = Issuer(ORIGIN, f"{ORIGIN}/fhir", f"{ORIGIN}/auth/style-1.json")
    return Parts(issuer, accounts, clients, keys, tokens, assertions, clock)
