"""The application of a web worker over a node that was made with the command line."""

from __future__ import annotations

import gc
import json
import logging
import os

import pytest

from medchain.app import open_worker
from medchain.errors import UnavailableError
from medchain.node.fork_server import ForkServer
from medchain.node.keystore import open_root_file, unlock
from medchain.web.handover import CONFIG_VARIABLE, Handed, hand_over, take
from medchain.web.workers import JOBS


@pytest.fixture
def app(node, monkeypatch):
    halves = unlock(open_root_file(node.parent / "keys" / "root.key", None))
    monkeypatch.setenv(CONFIG_VARIABLE, str(node))
    forks = ForkServer.spawned(JOBS)
    hand_over(Handed(halves.web, forks, None))
    (node.parent / "run").mkdir(exist_ok=True)
    (node.parent / "logs").mkdir(exist_ok=True)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    made = open_worker().app
    yield made
    made.extensions["medchain-opened"].close()
    forks.close()
    for handler in [handler for handler in root.handlers if handler not in before[0]]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(before[1])


def test_a_worker_keeps_open_what_it_opened(app, run, node):
    gc.collect()
    token = run("token", "issue", "--scope", "system/*.cru", "--config", node).out.strip()
    headers = {"Authorization": f"Bearer {token}"}
    made = app.test_client().post("/fhir/Patient", json={"resourceType": "Patient"}, headers=headers)
    assert made.status_code == 201
    assert made.headers["Medchain-Anchored"] == "pending"
    assert app.test_client().get(made.headers["Location"], headers=headers).data == made.data


def test_a_worker_forgets_the_key_it_was_handed(app, node):
    assert app is not None
    with pytest.raises(UnavailableError):
        take()
    key = bytes(unlock(open_root_file(node.parent / "keys" / "root.key", None)).web).hex()
    assert key not in os.environ.values()


def test_a_client_is_told_the_portals_address_for_tokens(app):
    document = json.loads(app.test_client().get("/.well-known/smart-configuration").data)
    assert document["token_endpoint"] == "http://renhe-hospital.example/token"


def test_a_proof_waits_for_the_daemon(app, run, node):
    token = run("token", "issue", "--scope", "system/*.cru", "--config", node).out.strip()
    headers = {"Authorization": f"Bearer {token}"}
    made = app.test_client().post("/fhir/Patient", json={"resourceType": "Patient"}, headers=headers)
    place = made.headers["Location"].split("/_history")[0]
    answer = app.test_client().get(f"{place}/$proof", headers=headers)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
