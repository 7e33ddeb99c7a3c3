"""Releases between organisations, over whole nodes with real files: what leaves, when, to whom, and what never does."""

from __future__ import annotations

import pytest

from tests.unit.medchain.node.exchanges import ANXIN, RENHE, Exchange, Federation, observation


@pytest.fixture
def exchange(tmp_path):
    federation = Federation(tmp_path)
    federation.start()
    made = Exchange(federation)
    made.open()
    yield made
    federation.stop()


def test_granted_records_arrive_whole_and_the_access_is_final_on_both_ledgers(exchange):
    exchange.store(observation(1), observation(2))
    received = exchange.asker().request_release(exchange.wish())
    assert [row.content for row in received.records] == [observation(1), observation(2)]
    assert received.following is None
    for org_id in (RENHE, ANXIN):
        store = exchange.federation.sites[org_id].ledger
        assert store.record(received.access.key) == received.access
        assert received.access.since < store.final().size
