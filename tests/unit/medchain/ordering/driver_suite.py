"""What every ordering driver must do: a driver's tests subclass `DriverSuite` and give the fixture ``cluster``."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest

from medchain.errors import UnavailableError
from medchain.ordering.block import accepted_id
from medchain.ordering.driver import OrderingDriver, Replica
from medchain.ordering.receipt import Receipt, Refused
from tests.waiting import PATIENCE_S, eventually


class Cluster(Protocol):
    """Some members with a driver each, all of them started."""

    drivers: Mapping[str, OrderingDriver]
    replicas: Mapping[str, Replica]

    def anchor(self, org_id: str) -> bytes:
        """Make a fresh envelope that the ledger accepts."""

    def fresh_replica(self) -> Replica:
        """Make a replica at height 0."""


class DriverSuite:
    """The tests."""

    @staticmethod
    def level(cluster: Cluster) -> None:
        """Wait until all members have the same ledger."""
        assert eventually(lambda: len({(replica.size, replica.root) for replica in cluster.replicas.values()}) == 1)

    def test_what_any_member_submits_is_in_every_ledger_in_the_same_order(self, cluster):
        leaves = [cluster.anchor(name) for name in cluster.drivers]
        for name, leaf in zip(cluster.drivers, leaves, strict=True):
            [receipt] = cluster.drivers[name].submit([leaf])
            assert isinstance(receipt, Receipt)
            assert receipt.ids == (accepted_id(leaf),)
        assert eventually(lambda: all(r.transaction_height(accepted_id(leaves[-1])) for r in cluster.replicas.values()))
        self.level(cluster)
        orders = [
            [leaf for block in driver.blocks(1) for leaf in block.transactions] for driver in cluster.drivers.values()
        ]
        assert orders == [leaves] * len(leaves)

    def test_each_envelope_of_a_batch_has_its_own_outcome_in_order(self, cluster):
        name, driver = next(iter(cluster.drivers.items()))
        good = [cluster.anchor(name), cluster.anchor(name)]
        outcomes = driver.submit([good[0], b"{}", good[1]])
        assert [type(outcome) for outcome in outcomes] == [Receipt, Refused, Receipt]
        assert outcomes[1].code == "transaction.malformed"

    def test_the_same_envelope_again_changes_nothing_and_gets_a_receipt(self, cluster):
        name, driver = next(iter(cluster.drivers.items()))
        leaf = cluster.anchor(name)
        [first] = driver.submit([leaf])
        [again] = driver.submit([leaf])
        assert again.height_at_most <= first.height_at_most
        self.level(cluster)
        assert [leaf for block in driver.blocks(1) for leaf in block.transactions] == [leaf]

    def test_of_many_submitted_at_once_each_is_in_a_block_by_its_receipts_height(self, cluster):
        names = [name for name in cluster.drivers for _ in range(20)]
        leaves = [cluster.anchor(name) for name in names]
        with ThreadPoolExecutor(16) as pool:
            given = list(
                pool.map(lambda pair: cluster.drivers[pair[0]].submit([pair[1]])[0], zip(names, leaves, strict=True))
            )
        self.level(cluster)
        for replica in cluster.replicas.values():
            for receipt, leaf in zip(given, leaves, strict=True):
                assert eventually(lambda r=replica, leaf=leaf: r.transaction_height(accepted_id(leaf)) is not None)
                assert replica.transaction_height(accepted_id(leaf)) <= receipt.height_at_most

    def test_a_replica_from_zero_reaches_the_same_root_from_the_blocks(self, cluster):
        name, driver = next(iter(cluster.drivers.items()))
        for _ in range(5):
            driver.submit([cluster.anchor(name)])
        self.level(cluster)
        fresh = cluster.fresh_replica()
        while blocks := driver.blocks(fresh.height + 1):
            for block in blocks:
                fresh.apply(block)
        assert (fresh.size, fresh.root) == (cluster.replicas[name].size, cluster.replicas[name].root)

    def test_whoever_waits_for_a_block_is_woken_by_it(self, cluster):
        name, driver = next(iter(cluster.drivers.items()))
        leaf = cluster.anchor(name)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(driver.blocks, driver.height() + 1, PATIENCE_S)
            driver.submit([leaf])
            assert [block.transactions for block in waiting.result()] == [(leaf,)]

    def test_nobody_waits_longer_than_asked(self, cluster):
        driver = next(iter(cluster.drivers.values()))
        assert driver.blocks(driver.height() + 1, 0.01) == []

    def test_health_tells_role_height_and_that_nothing_is_wrong(self, cluster):
        name, driver = next(iter(cluster.drivers.items()))
        driver.submit([cluster.anchor(name)])
        self.level(cluster)
        for member in cluster.drivers.values():
            assert eventually(lambda member=member: member.health().caught_up)
            health = member.health()
            assert (health.height, health.alarms, health.waiting) == (member.height(), (), 0)

    def test_after_a_stop_nothing_is_accepted(self, cluster):
        name, driver = next(iter(cluster.drivers.items()))
        driver.submit([cluster.anchor(name)])
        for member in cluster.drivers.values():
            member.stop()
        with pytest.raises(UnavailableError):
            driver.submit([cluster.anchor(name)])
