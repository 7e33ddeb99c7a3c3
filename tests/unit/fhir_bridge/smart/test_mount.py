"""Where a node's addresses come from: the ledger of now, and the configuration."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fhir_bridge.smart import origins
from fhir_bridge.smart.mount import member_keys
from fhir_bridge.smart.origins import OwnOrigins
from medchain.errors import UnavailableError
from medchain.node.config import Address
from medchain.node.directory import MembersDirectory
from tests.unit.medchain.ledger.world import RENHE, genesis, key, organisation

LISTEN = "http://127.0.0.1:41000"


class Local:
    """A daemon's answers, from its own directory of members."""

    def __init__(self, snapshot) -> None:
        """Answer from a snapshot."""
        self.snapshot, self.is_away = snapshot, False

    def call(self, _operation, document, _limits):
        if self.is_away:
            raise UnavailableError("daemon.not_running")
        return MembersDirectory(lambda: self.snapshot).member_keys(document)


@pytest.fixture
def node():
    config = SimpleNamespace(
        org_id=RENHE, web_tls=None, web_listen=Address("127.0.0.1", 41000), web_origin="", folder=None
    )
    return SimpleNamespace(config=config, local=Local(genesis().members))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(origins, "_REMEMBER_S", 0.0)


def moved(org_id, origin, **changes: object):
    return genesis().members.with_organisation(organisation(org_id, "hospital", origins=(origin,), **changes))


def test_an_organisation_that_has_moved_is_known_by_its_origins_of_now(node):
    own = OwnOrigins(node, genesis())
    assert own() == (f"https://{RENHE}.example", LISTEN)
    node.local.snapshot = moved(RENHE, "https://new.example")
    assert own() == ("https://new.example", LISTEN)
    # While its daemon starts anew, it goes by what it was told last.
    node.local.is_away = True
    assert own() == ("https://new.example", LISTEN)
    node.config.web_origin = "https://chosen.example"
    assert own()[0] == "https://chosen.example"


def test_who_joined_after_the_genesis_has_origins_as_well(node):
    node.config.org_id = "newcomer-hospital"
    own = OwnOrigins(node, genesis())
    assert own() == (LISTEN,)
    node.local.snapshot = moved("newcomer-hospital", "https://newcomer.example")
    assert own() == ("https://newcomer.example", LISTEN)


def test_a_suspended_member_has_no_keys_but_serves_its_own_people(node):
    assert [row["kid"] for row in member_keys(node, RENHE)] == [key(RENHE, "authentication").id]
    node.local.snapshot = moved(RENHE, "https://new.example", status="suspended")
    assert member_keys(node, RENHE) == []
    assert OwnOrigins(node, genesis())() == ("https://new.example", LISTEN)
