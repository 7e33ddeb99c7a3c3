"""`medchain subject`, against a real server with whole nodes' operations."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from medchain.crypto.assertion import encode_credential_key
from medchain.encoding import base64_text
from medchain.node.assembly import LocalOperations
from medchain.node.config import Address
from medchain.node.keystore import Layout
from medchain.node.local_state import write_state
from medchain.web.peer import local_routes
from medchain.web.routing import Router
from medchain.web.server import DaemonServer
from tests.unit.medchain.node.desks import phone_of, running_desks
from tests.unit.medchain.node.federation import RENHE, TONGJI
from tests.unit.medchain.node.test_subject_changes import STAFF, Someone, consent, delegate, end


@pytest.fixture(scope="module")
def desks(tmp_path_factory):
    with running_desks(tmp_path_factory.mktemp("desks")) as running:
        # Both nodes have their writing threads before a test counts them.
        announced(running, Someone(running, "first", custodians=[TONGJI]), "first-2")
        yield running


@contextmanager
def served(desks, node, org_id: str = RENHE):
    """Have a node's operations answered where its configuration says."""
    layout = Layout(node.parent)
    layout.create()
    operations = LocalOperations(desks.local(org_id).operations)
    server = DaemonServer(Address("127.0.0.1", 0), Router("local", local_routes(operations), local_secret="s" * 64))
    server.start()
    url = f"http://127.0.0.1:{server.address.port}"
    write_state(layout, pid=1, local_url=url, peer_url=url, secret="s" * 64)
    try:
        yield
    finally:
        server.stop(5)


def announced(desks, patient: Someone, name: str) -> str:
    """Have another hospital announce other passkeys."""
    phone = phone_of(name)
    row = {
        "credential_id": base64_text(phone.credential_id),
        "public_key": base64_text(encode_credential_key(phone.credential)),
    }
    asked = {"credentials": [row], "method": "identity-card", "staff": STAFF, "subject": patient.key}
    key = desks.local(TONGJI).call("recovery.announce", asked)["key"]
    desks.everywhere(key, 1)
    return key


def test_a_subject_is_shown_with_who_may_act_and_what_is_under_way(run, node, desks):
    patient, helper = Someone(desks, "shown", custodians=[TONGJI]), Someone(desks, "shown-helper")
    patient.change("name-delegate", delegate=delegate(helper, "helper"))
    words = ("subject", "show", patient.key, "--config", node)
    with served(desks, node):
        out = run(*words, "--lang", "en").out
        assert f"{patient.key}\n  version 2, decides alone; enrolled by {RENHE}" in out
        assert f"custodians {RENHE}, {TONGJI}" in out
        assert f"delegate {helper.key} (helper): consent, read, stop; until 2036-" in out
        assert out.rstrip().endswith("in force")
        assert "受托人" in run(*words, "--lang", "zh").out
        end(desks, patient.show()["delegates"][0]["delegate"]["delegation"], patient)
        assert "; ended" in run(*words, "--lang", "en").out
        assert run(*words, "--json").document == patient.show()
        assert run("subject", "show", "00" * 32, "--config", node).code == 4
        assert run("subject", "show", "x", "--config", node).code == 2


def test_a_recovery_is_listed_until_it_is_cancelled_and_nothing_without_a_yes(run, node, desks, monkeypatch):
    patient = Someone(desks, "recovered", custodians=[TONGJI])
    words = ("subject", "recoveries", patient.key, "--config", node)
    with served(desks, node):
        assert "No recovery is under way." in run(*words, "--lang", "en").out
        key = announced(desks, patient, "recovered-2")
        assert run(*words, "--json").document == {"recoveries": patient.show()["recoveries"], "subject": patient.key}
        listed = run(*words, "--lang", "en").out
        assert f"recovery {key}" in listed
        assert f"other passkeys in the place of all; announced by {TONGJI}" in listed
        cancel = ("subject", "cancel", key, "--config", node)
        refused = run(*cancel, "--json")
        assert (refused.code, "confirm.missing" in refused.err) == (2, True)
        monkeypatch.setattr("builtins.input", lambda: "no")
        left = run(*cancel, "--lang", "en")
        assert (left.code, "Nothing was cancelled." in left.err, left.out) == (130, True, "")
        assert key in run(*words).out
        monkeypatch.setattr("builtins.input", lambda: "yes")
        assert "is cancelled" in run(*cancel, "--lang", "en").out
        assert "No recovery is under way." in run(*words, "--lang", "en").out
        again = run(*cancel, "--yes")
        assert (again.code, "stop.repeated" in again.err) == (6, True)


def test_what_is_no_recovery_is_not_cancelled(run, node, desks):
    patient = Someone(desks, "permits")
    given = consent(desks, patient)["key"]
    with served(desks, node):
        for key in (given, patient.key, "00" * 32):
            refused = run("subject", "cancel", key, "--yes", "--config", node)
            assert (refused.code, "recovery.unknown" in refused.err) == (4, True)
    assert not desks.federation.sites[RENHE].node.stops.is_stopped(bytes.fromhex(given))
