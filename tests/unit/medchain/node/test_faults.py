"""Whole nodes on real files while disks are full, clocks wrong, members away or flooding."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest

from medchain.errors import MedchainError, UnavailableError
from medchain.node import assembly
from medchain.node.assembly import LedgerHealth
from medchain.node.config import Address
from medchain.node.records import NewRecord
from medchain.node.restored import Restoration
from medchain.node.witnesses import Witnesses
from medchain.ordering.receipt import Receipt
from medchain.store.outbox import ANCHOR
from medchain.web import server as server_module
from medchain.web.routing import Caller, Request, Response, Route, Router, callers, error_response
from medchain.web.server import DaemonServer
from tests.unit.medchain.ledger.world import ANXIN, COMMISSION, RENHE, ROLES, TONGJI
from tests.unit.medchain.node.federation import Federation, Patient, Site
from tests.unit.medchain.node.ledgers import Author, protocol_change
from tests.unit.medchain.store.faults import full, watched

DAY_S = 86400


class Nodes(Federation):
    """Nodes that move only when a test lets them; what one cannot do now is no error of all."""

    def start(self, org_ids=tuple(ROLES)) -> None:
        for org_id in org_ids:
            self.sites[org_id] = Site(org_id, self.folder / org_id, self)
            self.sites[org_id].start()
        self.settle(1)

    def stop(self) -> None:
        for site in self.sites.values():
            site.stop()

    def settle(self, rounds: int = 6) -> None:
        """Let every node that is up follow and cosign some times."""
        for _ in range(rounds):
            self.time += 1
            for site in self.sites.values():
                if site.org_id not in self.down:
                    for step in (
                        site.node.driver.follow_once,
                        site.node.driver.cosign_once,
                        site.node.driver.gather_once,
                        site.node.driver.outbox.step,
                    ):
                        with suppress(UnavailableError):
                            step()

    def anchor(self, org_id: str = RENHE) -> None:
        """Let a node anchor what waits, until it is final or cannot be."""
        for _ in range(3):
            with suppress(UnavailableError):
                self.sites[org_id].node.anchor.round()
            self.settle()


class Beside:
    """A timer that nobody sets, and what all who are up answer of their clocks (`agreed_clock.Clocks`)."""

    def __init__(self, nodes: Nodes) -> None:
        """Begin with clocks that nobody has set, and have each node compare its own as one that has just started."""
        self.nodes, self.set_by_s = nodes, 0
        for site in nodes.sites.values():
            site.node.driver._dating._clocks = self  # noqa: SLF001  # where no test sets clocks there is none

    def set_all(self, by_s: int) -> None:
        """Set all clocks by so much at once."""
        self.nodes.time += by_s
        self.set_by_s += by_s

    def timer(self) -> float:
        return float(self.nodes.time - self.set_by_s)

    def ahead(self) -> dict[str, float]:
        return {org_id: float(self.set_by_s) for org_id in self.nodes.sites.keys() - self.nodes.down}


@pytest.fixture
def nodes(tmp_path):
    made = Nodes(tmp_path)
    made.start()
    yield made
    made.stop()


@contextmanager
def full_disk(store) -> Iterator[None]:
    """Refuse every write to a node's file, as a full disk does."""
    engine = store._database.engine  # noqa: SLF001  # the file below the store

    def before(statement: str) -> None:
        if statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
            raise full()

    with watched(engine, before):
        yield


def test_a_node_whose_disk_is_full_says_that_it_is_not_ready(nodes, monkeypatch):
    hospital = nodes.sites[RENHE]
    nodes.settle()
    restoration = Restoration(hospital.folder, RENHE, hospital.ledger, nodes.clock, lambda: False)
    outside = Witnesses.of((), hospital.replica, hospital.ledger.final, nodes.clock)
    driver = hospital.node.driver
    health = LedgerHealth(hospital.ledger, driver, restoration, outside, hospital.records, hospital.folder)
    assert (health.health().ready, health.health().reasons) == (True, ())
    free = {"bytes": assembly.MIN_FREE_BYTES - 1}
    monkeypatch.setattr(assembly.shutil, "disk_usage", lambda _: SimpleNamespace(free=free["bytes"]))
    assert (health.health().ready, health.health().reasons) == (False, ("store.full",))
    # Nothing has to be restarted.
    free["bytes"] += 1
    assert health.health().ready


def create(nodes: Nodes, name: str, org_id: str = RENHE) -> None:
    content = b'{"resourceType":"Observation","id":"%s"}' % name.encode()
    nodes.sites[org_id].service.create(NewRecord("Observation", name, content, f"patient {name}"))


def roots(nodes: Nodes) -> set[bytes]:
    return {site.replica.root for site in nodes.sites.values()}


def final(nodes: Nodes, org_id: str = RENHE) -> int:
    found = nodes.sites[org_id].ledger.final()
    return 0 if found is None else found.size


def test_a_record_that_finds_the_disk_full_is_refused_with_503_and_stored_once_there_is_room(nodes):
    hospital = nodes.sites[RENHE]
    with full_disk(hospital.records), pytest.raises(UnavailableError) as caught:
        create(nodes, "o1")
    answer = error_response(caught.value, "request")
    assert (caught.value.code, answer.status) == ("store.full", 503)
    assert "Retry-After" in answer.headers
    assert (hospital.records.count(), hospital.records.pending_count()) == (0, 0)
    create(nodes, "o1")
    nodes.anchor()
    assert (hospital.records.count(), hospital.records.pending_count()) == (1, 0)


def test_a_full_disk_while_the_outbox_is_marked_anchors_nothing_twice(nodes):
    hospital = nodes.sites[RENHE]
    create(nodes, "o1")
    hospital.node.anchor.round()
    nodes.settle()
    with full_disk(hospital.records), pytest.raises(UnavailableError, match=r"store\.full"):
        hospital.node.anchor.round()
    height = hospital.replica.height
    nodes.anchor()
    assert hospital.records.pending_count() == 0
    assert hospital.replica.height == height == 1


def test_a_follower_whose_disk_is_full_falls_behind_and_comes_back_to_the_same_root(nodes):
    with full_disk(nodes.sites[ANXIN].ledger):
        create(nodes, "o1")
        nodes.anchor()
        assert final(nodes) == nodes.sites[RENHE].replica.size == 4
        assert nodes.sites[ANXIN].replica.height == 0
    nodes.settle()
    assert nodes.sites[ANXIN].replica.height == 1
    assert len(roots(nodes)) == 1
    assert nodes.sites[ANXIN].node.driver.health().alarms == ()


def test_an_orderer_whose_disk_is_full_says_so_and_orders_once_there_is_room(nodes):
    leaf = Author(replica=nodes.sites[RENHE].replica).anchor(1).leaf
    with full_disk(nodes.sites[COMMISSION].ledger), pytest.raises(UnavailableError) as caught:
        nodes.sites[RENHE].node.driver.submit([leaf])
    assert caught.value.code == "store.full"
    nodes.settle()
    assert nodes.sites[COMMISSION].replica.height == 0
    nodes.sites[RENHE].node.driver.submit([leaf])
    nodes.settle()
    assert final(nodes) == 4
    assert len(roots(nodes)) == 1


def test_a_node_whose_clock_is_a_day_slow_says_so_and_cosigns_nothing_until_it_is_right(nodes):
    driver = nodes.sites[ANXIN].node.driver
    for part in (driver.follower, driver.cosigner):
        part._clock = lambda: nodes.time - DAY_S  # noqa: SLF001  # this node's clock alone
    nodes.settle(2)
    create(nodes, "o1")
    nodes.anchor()
    assert final(nodes) == 4
    assert [alarm.code for alarm in driver.health().alarms] == ["block.time"]
    assert not driver.is_caught_up
    assert driver.cosigner.vouched.floor == 0
    for part in (driver.follower, driver.cosigner):
        part._clock = nodes.clock  # noqa: SLF001  # set right again
    nodes.settle()
    assert driver.health().alarms == ()
    assert driver.cosigner.vouched.floor == 4
    assert len(roots(nodes)) == 1


def test_a_node_whose_clock_is_a_day_fast_follows_and_says_so_and_cosigns_nothing_until_it_is_right(nodes):
    driver = nodes.sites[ANXIN].node.driver
    parts = driver.follower, driver.cosigner, driver._doubt  # noqa: SLF001  # all that ask this node's clock
    for part in parts:
        part._clock = lambda: nodes.time + DAY_S  # noqa: SLF001  # this node's clock alone
    nodes.settle(2)
    create(nodes, "o1")
    nodes.anchor()
    assert final(nodes) == 4
    assert len(roots(nodes)) == 1
    (alarm,) = driver.health().alarms
    assert (alarm.code, alarm.fields["time"]) == ("ordering.clock", nodes.sites[ANXIN].replica.time)
    assert DAY_S <= alarm.fields["now"] - alarm.fields["time"] < DAY_S + 60
    assert driver.is_caught_up
    assert driver.cosigner.vouched.floor == 0
    for part in parts:
        part._clock = nodes.clock  # noqa: SLF001  # set right again
    nodes.settle()
    assert driver.health().alarms == ()
    assert driver.cosigner.vouched.floor == 4


@pytest.mark.parametrize("by_s", [DAY_S, -DAY_S])
def test_an_orderer_whose_clock_moves_by_a_day_orders_nothing_by_it_and_goes_on_when_it_is_right(nodes, by_s):
    """One block that is dated so would be refused by all, and everything after it."""
    create(nodes, "o1")
    nodes.anchor()
    nodes.time += 1000
    nodes.settle()
    driver, _ = nodes.sites[COMMISSION].node.driver, Beside(nodes)
    parts = driver._dating, driver.cosigner, driver._doubt  # noqa: SLF001  # all that ask this node's clock
    nodes.settle(1)
    for part in parts:
        part._clock = lambda: nodes.time + by_s  # noqa: SLF001  # this node's clock alone
    create(nodes, "o2")
    with pytest.raises(UnavailableError) as caught:
        nodes.sites[RENHE].node.anchor.round()
    assert (caught.value.code, dict(caught.value.fields)) == ("ordering.clock", {"now": nodes.time + by_s})
    nodes.anchor()
    assert {site.replica.height for site in nodes.sites.values()} == {1}
    assert [alarm.code for alarm in driver.health().alarms] == ["ordering.clock"]
    for part in parts:
        part._clock = nodes.clock  # noqa: SLF001  # set right again
    nodes.anchor()
    assert {site.replica.height for site in nodes.sites.values()} == {2}
    assert final(nodes) == nodes.sites[RENHE].replica.size
    assert all(site.node.driver.health().alarms == () for site in nodes.sites.values())


@pytest.mark.parametrize("by_s", [DAY_S, -DAY_S])
def test_an_orderer_that_is_started_with_a_clock_a_day_off_orders_and_cosigns_nothing_until_it_is_right(nodes, by_s):
    driver, _ = nodes.sites[COMMISSION].node.driver, Beside(nodes)
    parts = driver._dating, driver.cosigner, driver._doubt  # noqa: SLF001  # all that ask this node's clock
    for part in parts:
        part._clock = lambda: nodes.time + by_s  # noqa: SLF001  # this node's clock alone
    create(nodes, "o1")
    with pytest.raises(UnavailableError) as caught:
        nodes.sites[RENHE].node.anchor.round()
    assert caught.value.code == "ordering.clock"
    nodes.anchor()
    assert {site.replica.height for site in nodes.sites.values()} == {0}
    assert [alarm.code for alarm in driver.health().alarms] == ["ordering.clock"]
    for part in parts:
        part._clock = nodes.clock  # noqa: SLF001  # set right again
    nodes.anchor()
    assert final(nodes) == 4
    assert len(roots(nodes)) == 1
    assert all(site.node.driver.health().alarms == () for site in nodes.sites.values())


def test_a_clock_that_is_a_day_off_at_the_orderer_cosigns_nothing_however_idle_the_ledger(nodes):
    create(nodes, "o1")
    nodes.anchor()
    driver, _ = nodes.sites[COMMISSION].node.driver, Beside(nodes)
    nodes.settle(1)
    for part in (driver._dating, driver.cosigner, driver._doubt):  # noqa: SLF001  # all that ask this node's clock
        part._clock = lambda: nodes.time + DAY_S  # noqa: SLF001  # this node's clock alone
    lines = driver.cosigner.own_note
    nodes.time += 60
    nodes.settle(2)
    assert driver.cosigner.own_note == lines


def test_an_orderer_that_starts_while_more_than_may_lie_are_away_waits_for_them(nodes):
    """Nothing could be final without them either."""
    Beside(nodes)
    nodes.down = {RENHE, TONGJI, ANXIN}
    create(nodes, "o1")
    with pytest.raises(UnavailableError, match=r"ordering\.clock"):
        nodes.sites[COMMISSION].node.driver.order([Author(replica=nodes.sites[RENHE].replica).anchor(1).leaf])
    nodes.down = {RENHE, TONGJI}
    nodes.sites[COMMISSION].node.driver.order([Author(replica=nodes.sites[RENHE].replica).anchor(1).leaf])
    assert nodes.sites[COMMISSION].replica.height == 1


def test_where_all_clocks_were_a_day_fast_and_are_set_right_all_say_so_and_go_on_by_themselves(nodes):
    """Whatever is ordered before that time all would refuse, since no block is dated before the one before it."""
    beside = Beside(nodes)
    beside.set_all(DAY_S)
    nodes.settle(1)
    create(nodes, "o1")
    nodes.anchor()
    assert final(nodes) == 4
    beside.set_all(-DAY_S)
    nodes.settle()
    create(nodes, "o2")
    with pytest.raises(UnavailableError) as caught:
        nodes.sites[RENHE].node.anchor.round()
    assert caught.value.code == "ordering.ahead"
    assert [[alarm.code for alarm in site.node.driver.health().alarms] for site in nodes.sites.values()] == [
        ["ordering.ahead"] for _ in nodes.sites
    ]
    nodes.anchor()
    assert {site.replica.height for site in nodes.sites.values()} == {1}
    nodes.time += DAY_S
    nodes.anchor()
    assert {site.replica.height for site in nodes.sites.values()} == {2}
    assert final(nodes) == nodes.sites[RENHE].replica.size
    assert all(site.node.driver.health().alarms == () for site in nodes.sites.values())


def test_where_all_clocks_were_fast_and_nothing_was_ordered_meanwhile_ordering_goes_on_at_once(nodes):
    create(nodes, "o1")
    nodes.anchor()
    beside = Beside(nodes)
    nodes.settle(1)
    beside.set_all(DAY_S)
    nodes.settle(1)
    beside.set_all(-DAY_S)
    nodes.settle(1)
    create(nodes, "o2")
    nodes.anchor()
    assert {site.replica.height for site in nodes.sites.values()} == {2}
    assert final(nodes) == nodes.sites[RENHE].replica.size


def test_with_three_of_five_away_records_are_stored_and_read_and_what_needs_a_quorum_waits(nodes):
    hospital = nodes.sites[RENHE]
    nodes.down = {org_id for org_id in ROLES if org_id not in {RENHE, COMMISSION}}
    create(nodes, "o1")
    nodes.anchor()
    assert hospital.service.read("Observation", "o1").content.startswith(b'{"resourceType"')
    # Ordered, but no quorum has cosigned it: it stays in the outbox.
    assert (hospital.replica.height, final(nodes), hospital.records.pending_count()) == (1, 0, 1)
    with pytest.raises(UnavailableError) as caught:
        hospital.node.submitter.submit(Patient(nodes).subject(), timeout_s=0.1)
    assert caught.value.code in {"submit.no_endorser", "submit.not_final"}
    nodes.down = set()
    nodes.settle()
    nodes.anchor()
    assert final(nodes) >= 4
    assert hospital.records.pending(9, kind=ANCHOR) == []


def test_without_the_orderer_records_are_stored_and_read_and_wait(nodes):
    hospital = nodes.sites[RENHE]
    nodes.down = {COMMISSION}
    create(nodes, "o1")
    nodes.anchor()
    assert hospital.service.read("Observation", "o1").content
    assert (hospital.replica.height, hospital.records.pending_count()) == (0, 1)
    nodes.down = set()
    nodes.anchor()
    assert hospital.records.pending_count() == 0


def test_a_lost_orderer_is_replaced_and_anchoring_goes_on_under_the_new_one(nodes):
    hospital = nodes.sites[RENHE]
    create(nodes, "o1")
    nodes.anchor()
    assert final(nodes) == 4
    nodes.down = {COMMISSION}
    author = Author(replica=hospital.replica)
    agreed = protocol_change(author, TONGJI, TONGJI)
    nodes.sites[TONGJI].node.driver.takeover(agreed.leaf)
    nodes.settle()
    create(nodes, "o2")
    nodes.anchor()
    assert hospital.replica.members.protocol.orderer == TONGJI
    assert hospital.records.pending_count() == 0
    # Who was lost comes back, and follows.
    nodes.down = set()
    nodes.settle()
    assert len(roots(nodes)) == 1
    assert nodes.sites[COMMISSION].node.driver.health().role == "follower"


def test_a_storm_of_duplicates_is_one_entry_and_everybody_is_answered(nodes):
    leaf = Author(replica=nodes.sites[RENHE].replica).anchor(1).leaf
    heights: list[int] = []
    refused: list[str] = []

    def storm() -> None:
        for _ in range(10):
            try:
                outcomes = nodes.sites[COMMISSION].node.driver.order([leaf] * 20)
            except MedchainError as error:
                refused.append(error.code)
            else:
                heights.extend(item.height_at_most for item in outcomes if isinstance(item, Receipt))

    threads = [threading.Thread(target=storm) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(refused) <= {"ordering.full"}
    assert len(heights) + 20 * len(refused) == 6 * 10 * 20
    assert set(heights) == {1}
    nodes.settle()
    assert {site.replica.size for site in nodes.sites.values()} == {4}


@callers(Caller.PUBLIC)
def much(_request: Request) -> Response:
    """Answer more than the system's buffers take."""
    return Response(bytes(32 << 20))


def test_a_follower_that_never_reads_is_left_and_holds_up_nobody(monkeypatch):
    monkeypatch.setattr(server_module, "SEND_S", 2)
    monkeypatch.setattr(server_module, "STOP_POLL_S", 0.01)
    server = DaemonServer(Address("127.0.0.1", 0), Router("peer", [Route("blocks", "GET", "/blocks", much)]))
    server.start()
    deaf = [socket.create_connection(server.address, 60) for _ in range(8)]
    for connection in deaf:
        connection.sendall(b"GET /blocks HTTP/1.1\r\n\r\n")
    for connection in deaf:
        # Its answer is on the way, and its time runs: a peek takes nothing out.
        assert connection.recv(1, socket.MSG_PEEK) == b"H"
    # Who reads may be slow on a machine that has much to do.
    monkeypatch.setattr(server_module, "SEND_S", 60)
    with socket.create_connection(server.address, 60) as reader:
        reader.sendall(b"GET /blocks HTTP/1.1\r\nConnection: close\r\n\r\n")
        size = 0
        while chunk := reader.recv(1 << 20):
            size += len(chunk)
    assert size > 32 << 20
    # Nothing is under way any more although nobody has read: a stop has nothing to wait for.
    assert server.stop(60)
    for connection in deaf:
        connection.close()
