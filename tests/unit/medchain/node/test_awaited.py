"""What blocks wait for that are not final, as a node tells its own workers and command line."""

from __future__ import annotations

from medchain.ledger.transaction import Change
from medchain.node.awaited import Lacking, awaited, read_awaited
from medchain.ordering.cosign import Awaited
from tests.unit.medchain.ledger.world import ROLES, World, rows, sign
from tests.unit.medchain.node.federation import ANXIN, COMMISSION, NOW, RENHE, TONGJI
from tests.waiting import eventually


class Lines:
    """Tells what it is told to."""

    def __init__(self, *sets: Awaited) -> None:
        """Have these lack something."""
        self.sets = [*sets]

    def awaited(self) -> list[Awaited]:
        return self.sets


def test_nothing_is_awaited_while_all_is_final_nor_before_the_first_block(federation):
    site = federation.sites[COMMISSION]
    assert awaited(site.ledger, site.node.driver.cosigner) is None
    assert read_awaited({"awaited": None}) == (0, [])
    assert read_awaited({}) == (0, [])


def test_who_is_down_is_named_until_it_is_back(federation):
    """Four of five are needed."""
    site = federation.sites[COMMISSION]
    federation.down |= {ANXIN, TONGJI}
    try:
        federation.sites[RENHE].node.driver.submit([_anchor(federation)])
        assert eventually(lambda: awaited(site.ledger, site.node.driver.cosigner) == _told(1, ANXIN, TONGJI))
    finally:
        federation.down.clear()
    assert read_awaited({"awaited": _told(1, ANXIN, TONGJI)}) == (NOW, [Lacking(1, (ANXIN, TONGJI), ())])
    assert eventually(lambda: awaited(site.ledger, site.node.driver.cosigner) is None)


def test_whose_suspension_waits_is_named(federation):
    """The ledger's newest members are all of them here: of a set with one more, that one leaves."""
    site = federation.sites[COMMISSION]
    federation.down |= {ANXIN, TONGJI}
    try:
        federation.sites[RENHE].node.driver.submit([_anchor(federation)])
        assert eventually(lambda: site.ledger.head.size > site.ledger.final().size)
        lacks = Awaited(frozenset({*ROLES, "gone-hospital"}), frozenset({ANXIN, "gone-hospital"}), 1)
        told = awaited(site.ledger, Lines(lacks))
    finally:
        federation.down.clear()
    assert read_awaited({"awaited": told})[1] == [Lacking(1, (ANXIN, "gone-hospital"), ("gone-hospital",))]


def _told(needed: int, *missing: str) -> dict:
    return {"sets": [{"leaving": [], "missing": [*missing], "needed": needed}], "since": NOW}


def _anchor(federation) -> bytes:
    """Make a record's anchor."""
    ledger = federation.sites[RENHE].ledger
    world = World(members=ledger.members, height=ledger.head.height + 1, time=federation.time)
    return sign(world.transaction(RENHE, Change("record", "active", rows(1)), until=None)).leaf
