"""Bodies on their way: receivers that are down, hang or refuse, beside receivers that do not."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from unittest.mock import Mock

import pytest

from consent.directive import ConsentDecision
from medchain.errors import ConflictError, UnavailableError, VerificationError
from medchain.node import deliver
from medchain.node.deliver import Deliveries, deliver_kind
from medchain.node.endorse import Judge
from medchain.node.sealed_body import OpenedBody
from tests.unit.medchain.node.federation import ANXIN, NOW, RENHE, TONGJI, Federation, Patient

DAY_S = 86_400


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    made = Federation(tmp_path_factory.mktemp("federation"))
    made.start()
    yield made
    made.stop()


class Ways:
    """The ways to others, with what went over them."""

    def __init__(self) -> None:
        """All are up."""
        self.failing: dict[str, Exception] = {}
        self.tried: list[str] = []
        self.taken: list[str] = []
        self.now = 0.0

    def push(self, org_id: str, _document: bytes) -> None:
        self.tried.append(org_id)
        if org_id in self.failing:
            raise self.failing[org_id]
        self.taken.append(org_id)


@pytest.fixture
def site(shared):
    site = shared.sites[RENHE]
    shared.time = NOW
    for org_id in (ANXIN, TONGJI):
        waiting = site.records.pending(10_000, kind=deliver_kind(org_id))
        site.records.drop_intents([intent.id for intent in waiting])
    return site


@pytest.fixture
def ways():
    return Ways()


def made(site, ways) -> Deliveries:
    judge = Judge(RENHE, site.replica, site.node.shelf, ConsentDecision(), site.federation.clock)
    return Deliveries(judge, site.records, ways.push, timer=lambda: ways.now)


@pytest.fixture
def deliveries(site, ways):
    return made(site, ways)


@pytest.fixture
def item(site, shared):
    """A body that is on the ledger."""
    patient = Patient(shared)
    done = site.node.submitter.submit(patient.subject())
    return OpenedBody(done.key, 1, site.node.shelf.at(done.key, 1))


def waiting(site, org_id: str) -> int:
    return len(site.records.pending(10_000, kind=deliver_kind(org_id)))


def test_a_party_that_is_down_with_many_bodies_waiting_holds_up_nobody_else(site, deliveries, ways, item):
    ways.failing[ANXIN] = UnavailableError("peer.unreachable")
    for _ in range(300):
        deliveries.offer(ANXIN, b"payload", [item])
    ways.failing[TONGJI] = UnavailableError("peer.unreachable")
    deliveries.offer(TONGJI, b"payload", [item])
    del ways.failing[TONGJI]
    ways.now += 1.0
    deliveries.round()
    assert ways.taken == [TONGJI]
    assert (waiting(site, ANXIN), waiting(site, TONGJI)) == (300, 0)


def test_who_does_not_answer_is_asked_once_and_left_alone_longer_each_time(deliveries, ways, item):
    ways.failing[ANXIN] = UnavailableError("peer.timeout")
    for _ in range(5):
        deliveries.offer(ANXIN, b"payload", [item])
    # The first offer found it down; the others did not wait for it.
    assert ways.tried == [ANXIN]
    tries = []
    while ways.now < 2000:
        ways.now += 1.0
        before = len(ways.tried)
        deliveries.round()
        tries += [ways.now] * (len(ways.tried) - before)
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert gaps[:4] == [2.0, 4.0, 8.0, 16.0]
    assert max(gaps) == deliver.LONGEST_REST_S


def test_who_asks_for_a_longer_rest_gets_it_within_bounds(deliveries, ways, item):
    ways.failing[ANXIN] = UnavailableError("body.quota", retry_after_s=60)
    deliveries.offer(ANXIN, b"payload", [item])
    ways.now = 59.0
    deliveries.round()
    assert len(ways.tried) == 1
    ways.now = 60.0
    ways.failing[ANXIN] = UnavailableError("body.quota", retry_after_s=10**9)
    deliveries.round()
    ways.now += deliver.LONGEST_REST_S
    deliveries.round()
    assert len(ways.tried) == 3


def test_all_that_waits_arrives_once_the_receiver_is_there_again_over_a_restart_too(site, deliveries, ways, item):
    ways.failing[ANXIN] = UnavailableError("peer.unreachable")
    for _ in range(100):
        deliveries.offer(ANXIN, b"payload", [item])
    ways.failing.clear()
    again = made(site, ways)
    left = [again.round() for _ in range(5)]
    # Each round takes some, and tells how many it has not got to: who waits for none to be left waits for all.
    assert left == [68, 36, 4, 0, 0]
    assert (ways.taken, waiting(site, ANXIN)) == ([ANXIN] * 100, 0)


def test_a_body_that_is_refused_does_not_keep_the_next_ones_back(site, deliveries, ways, item, monkeypatch):
    monkeypatch.setattr(deliver, "PER_ROUND", 2)
    ways.failing[ANXIN] = VerificationError("body.conflict")
    for _ in range(4):
        deliveries.offer(ANXIN, b"payload", [item])
    refused = {intent.id for intent in site.records.pending(9, kind=deliver_kind(ANXIN))[:2]}
    tried: list[int] = []
    original = deliveries._send_again  # noqa: SLF001  # the step in which the fault happens

    def send(org_id, intent):
        tried.append(intent.id)
        ways.failing = {ANXIN: VerificationError("body.conflict")} if intent.id in refused else {}
        return original(org_id, intent)

    monkeypatch.setattr(Deliveries, "_send_again", lambda _self, org_id, intent: send(org_id, intent))
    deliveries.round()
    deliveries.round()
    assert {intent.id for intent in site.records.pending(9, kind=deliver_kind(ANXIN))} == refused
    assert len(tried) == 4


def test_a_round_that_goes_on_behind_what_was_not_taken_counts_it(site, deliveries, ways, item):
    ways.failing[ANXIN] = UnavailableError("peer.unreachable")
    for _ in range(2):
        deliveries.offer(ANXIN, b"payload", [item])
    # The first of them finds it down once more, and the next round begins with the second.
    ways.now += 1.0
    assert deliveries.round() == 2
    ways.failing.clear()
    ways.now += 10.0
    assert [deliveries.round(), deliveries.round()] == [1, 0]
    assert (ways.taken, waiting(site, ANXIN)) == ([ANXIN] * 2, 0)


def test_who_was_to_be_given_one_attempts_body_is_given_no_others(site, shared, deliveries, monkeypatch):
    """Such as a hospital that was down when the patient was to be linked to it, and was then linked to another."""
    patient = Patient(shared)
    first, second = patient.subject(), patient.subject()
    kept = [OpenedBody(patient.key, 1, draft.body) for draft in (first, second)]
    sent: list[tuple[str, OpenedBody]] = []

    def send(_deliveries, org_id, _payload, rows):
        sent.extend((org_id, one) for one in rows)

    monkeypatch.setattr(Deliveries, "_send", send)
    for org_id, item in zip((ANXIN, TONGJI), kept, strict=True):
        site.node.shelf.keep(item.object, 1, item.body)
        deliveries.keep(org_id, item)
    # The first may still be ordered, and is no longer the newest.
    assert deliveries.round() == 1
    assert sent == [(TONGJI, kept[1])]
    deliveries.keep(TONGJI, kept[1])
    site.node.submitter.submit(first)
    assert deliveries.round() == 0
    assert sent[1:] == [(ANXIN, kept[0])]


def test_a_party_that_refuses_for_ever_does_not_fill_the_disk_for_ever(shared, site, deliveries, ways, item):
    ways.failing[ANXIN] = VerificationError("body.conflict")
    deliveries.offer(ANXIN, b"payload", [item])
    assert deliveries.round() == 1
    shared.time = NOW + 30 * DAY_S
    assert deliveries.round() == 0
    assert waiting(site, ANXIN) == 0


def test_who_lacks_the_blocks_for_what_a_document_asks_is_asked_however_long_that_takes(shared, deliveries, ways, item):
    """A suspended member gets none; one that refuses a body, or a document for another reason, is given up."""
    ways.failing = {ANXIN: ConflictError("body.erasure"), TONGJI: VerificationError("body.creator")}
    deliveries.keep(ANXIN, item)
    for org_id in (ANXIN, TONGJI):
        deliveries.tell(org_id, {"type": "medchain/some-request/v1"})
    assert deliveries.round() == 3
    shared.time = NOW + 400 * DAY_S
    assert deliveries.round() == 1
    ways.failing.clear()
    assert deliveries.round() == 0
    assert ways.taken == [ANXIN]


def test_a_document_is_told_until_it_is_taken(site, deliveries, ways):
    ways.failing[ANXIN] = UnavailableError("peer.unreachable")
    deliveries.tell(ANXIN, {"type": "medchain/some-notice/v1"})
    assert deliveries.round() == 1
    ways.failing.clear()
    ways.now += 10
    assert made(site, ways).round() == 0
    assert (ways.taken, waiting(site, ANXIN)) == ([ANXIN], 0)


def test_a_kind_names_its_receiver_within_what_the_column_holds():
    names = {deliver_kind(f"{'a' * 39}{number}") for number in range(10)}
    assert len(names) == 10
    assert max(map(len, names)) <= 32


def test_a_member_that_asks_again_twice_at_once_has_each_document_waiting_once(site, ways):
    # Two readers at once wait for each other a moment, so that they are really two.
    meeting, pending = threading.Barrier(2), site.records.pending

    def slowly(limit: int, *, after: int, kind: str):
        found = pending(limit, after=after, kind=kind)
        with suppress(threading.BrokenBarrierError):
            meeting.wait(0.5)
        return found

    records = Mock(wraps=site.records, pending=slowly)
    judge = Judge(RENHE, site.replica, site.node.shelf, ConsentDecision(), site.federation.clock)
    deliveries = Deliveries(judge, records, ways.push, timer=lambda: ways.now)
    documents = [{"number": number, "type": "again"} for number in range(3)]
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda _: deliveries.tell_again(ANXIN, documents), range(2)))
    assert (sorted(told), waiting(site, ANXIN)) == ([0, 3], 3)
