"""The application of a web worker over a node that was made with the command line."""

from __future__ import annotations

import gc
import json
import os
import threading

import pytest

from medchain.app import open_worker
from medchain.errors import UnavailableError
from medchain.node.config import load_config
from medchain.node.fork_server import ForkServer
from medchain.node.keystore import open_root_file, unlock
from medchain.web.handover import CONFIG_VARIABLE, Handed, hand_over, take
from medchain.web.workers import JOBS


@pytest.fixture
def app(node, monkeypatch):
    halves = unlock(open_root_file(node.parent / "keys" / "root.key", None))
    monkeypatch.setenv(CONFIG_VARIABLE, str(node))
    forks = ForkServer.spawned(JOBS, str(node))
    hand_over(Handed(halves.web, forks, None))
    (node.parent / "run").mkdir(exist_ok=True)
    (node.parent / "logs").mkdir(exist_ok=True)
    # A worker has its process for itself, with its log, its garbage and its end: this one is that of all tests.
    monkeypatch.setattr("medchain.app.begin", lambda _log_name: (take(), load_config(node, os.environ, {})))
    monkeypatch.setattr("medchain.app.settle", lambda: None)
    made = open_worker().app
    yield made
    made.extensions["medchain-opened"].close()
    forks.close()


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


def test_what_goes_on_in_a_worker_ends_before_what_it_opened_is_closed(app):
    syncing = [thread for thread in threading.enumerate() if thread.name == "audit-sync"]
    assert all(thread.is_alive() for thread in syncing)
    app.extensions["medchain-opened"].close()
    assert not all(thread.is_alive() for thread in syncing)
