"""The orderer: everybody is answered, whatever fails; nothing grows without bound; a receipt is for what is on disk."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from medchain.errors import InputError, UnavailableError, VerificationError
from medchain.ordering.backoff import FIRST_S, LAST_S, backoff_s
from medchain.ordering.block import accepted_id
from medchain.ordering.feed import Feed
from medchain.ordering.orderer import Orderer, OrdererLimits
from medchain.ordering.receipt import Receipt, Refused, verify_receipt
from medchain.store.faults import corrupt
from tests.consortium import Consortium, MemoryReplica, log_signer
from tests.waiting import eventually

NOW = 1_796_083_300


class Failing(MemoryReplica):
    """A replica whose disk fails when told to, before or after the block was kept."""

    before: Exception | None = None
    after: Exception | None = None
    gate: threading.Event | None = None
    damaged: bytes | None = None

    def hold(self) -> threading.Semaphore:
        """Have blocks wait at a gate; returns what counts those that have come to it."""
        self.gate, self.came = threading.Event(), threading.Semaphore(0)
        return self.came

    def propose(self, leaves, time, *, takeover=False):
        if self.gate is not None:
            self.came.release()
            self.gate.wait(60)
        if self.damaged in leaves:
            raise corrupt("map_page", "ab")
        error, self.before = self.before, None
        if error is not None:
            raise error
        proposal = super().propose(leaves, time, takeover=takeover)
        error, self.after = self.after, None
        if error is not None:
            raise error
        return proposal


@pytest.fixture
def consortium():
    with Consortium(2) as made:
        yield made


@pytest.fixture
def replica(consortium):
    return Failing(consortium.genesis, log_signer("org-0"))


@pytest.fixture
def make(replica):
    made = []

    def build(org_id: str = "org-0", on_block=lambda _block, _ids: None, **limits: float) -> Orderer:
        orderer = Orderer(
            replica,
            org_id,
            log_signer(org_id),
            lambda: NOW,
            pen=threading.Lock(),
            feed=Feed(replica),
            on_block=on_block,
            limits=OrdererLimits(**{"window_s": 0, **limits}),
        )
        orderer.start()
        made.append(orderer)
        return orderer

    yield build
    for orderer in made:
        orderer.stop()


def test_a_disk_that_failed_and_kept_nothing_fails_the_caller_and_the_next_try_works(consortium, make, replica):
    orderer, leaf = make(), consortium.anchor("org-1")
    replica.before = UnavailableError("store.full")
    with pytest.raises(UnavailableError, match=r"store\.full"):
        orderer.submit([leaf])
    assert replica.height == 0
    assert orderer.submit([leaf])[0].height_at_most == 1


def test_a_disk_that_failed_but_kept_the_block_gives_a_receipt_for_it_at_the_next_try(consortium, make, replica):
    orderer, leaf = make(), consortium.anchor("org-1")
    replica.after = UnavailableError("store.unknown")
    with pytest.raises(UnavailableError, match=r"store\.unknown"):
        orderer.submit([leaf])
    assert replica.height == 1
    assert orderer.submit([leaf])[0].height_at_most == 1
    assert replica.height == 1


def test_a_corrupt_store_ends_ordering_and_leaves_nobody_waiting(consortium, make, replica):
    orderer = make()
    replica.hold()
    replica.before = VerificationError("store.corrupt")
    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(orderer.submit, [consortium.anchor("org-1")]) for _ in range(4)]
        replica.gate.set()
        for caller in callers:
            with pytest.raises(UnavailableError, match=r"ordering\.failed"):
                caller.result(60)
    with pytest.raises(UnavailableError, match=r"ordering\.failed"):
        orderer.submit([consortium.anchor("org-1")])
    assert orderer.failure.fields == {"reason": "store.corrupt"}


def test_a_damaged_page_stops_what_names_it_and_nothing_else(consortium, replica, make):
    orderer, raised = make(), []
    orderer._raise_alarm = raised.append  # noqa: SLF001  # what the driver gives
    leaves = [consortium.anchor("org-1") for _ in range(7)]
    replica.damaged = leaves[4]
    with pytest.raises(UnavailableError, match=r"ordering\.failed reason=store\.corrupt"):
        orderer.submit(leaves)
    assert [replica.transaction_height(accepted_id(leaf)) is None for leaf in leaves] == [n == 4 for n in range(7)]
    assert [(alarm.code, alarm.fields["key"], alarm.latched) for alarm in raised] == [("store.corrupt", "ab", True)]
    # However often it is submitted again.
    with pytest.raises(UnavailableError, match=r"ordering\.failed reason=store\.corrupt"):
        orderer.submit([leaves[4]])
    assert orderer.failure is None
    assert orderer.submit([consortium.anchor("org-1")])[0].height_at_most == replica.height


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_that_nobody_foresaw_leaves_nobody_waiting(consortium, make, replica):
    orderer = make()
    replica.before = RuntimeError("a bug")
    with pytest.raises(UnavailableError, match=r"ordering\.failed"):
        orderer.submit([consortium.anchor("org-1")])


def test_a_queue_that_is_full_refuses_a_batch_as_a_whole_and_loses_nothing(consortium, make, replica):
    orderer, came = make(max_waiting=4), replica.hold()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(orderer.submit, [consortium.anchor("org-1")])
        assert came.acquire(timeout=60)
        second = pool.submit(orderer.submit, [consortium.anchor("org-1") for _ in range(4)])
        assert eventually(lambda: orderer.waiting == 4)
        with pytest.raises(UnavailableError, match=r"ordering\.full") as error:
            orderer.submit([consortium.anchor("org-1")])
        assert error.value.retry_after_s == 1
        replica.gate.set()
        assert len(first.result(60)) + len(second.result(60)) == 5
    assert replica.height == 2


def test_a_queue_is_bounded_in_bytes_too(consortium, make):
    with pytest.raises(UnavailableError, match=r"ordering\.full"):
        make(max_waiting_bytes=10).submit([consortium.anchor("org-1")])


@pytest.mark.parametrize("count", [0, 4097])
def test_no_envelope_and_more_than_a_block_holds_are_refused(make, count):
    with pytest.raises(InputError, match=r"block\.frame"):
        make().submit([b"x"] * count)


def test_a_stop_orders_what_was_accepted(consortium, make, replica):
    orderer, came = make(), replica.hold()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(orderer.submit, [consortium.anchor("org-1")])
        assert came.acquire(timeout=60)
        second = pool.submit(orderer.submit, [consortium.anchor("org-1")])
        assert eventually(lambda: orderer.waiting == 1)
        stopping = pool.submit(orderer.stop)
        replica.gate.set()
        stopping.result(60)
        assert all(isinstance(accepted.result(60)[0], Receipt) for accepted in (first, second))
    with pytest.raises(UnavailableError, match=r"ordering\.stopped"):
        orderer.submit([consortium.anchor("org-1")])


def test_whoever_does_not_hold_the_role_orders_nothing(consortium, make, replica):
    with pytest.raises(UnavailableError, match=r"ordering\.not_orderer"):
        make("org-1").submit([consortium.anchor("org-1")])
    assert replica.height == 0


def test_a_watcher_whose_disk_fails_does_not_end_ordering(consortium, make):
    def watch(_block, _ids):
        raise UnavailableError("store.full")

    orderer = make(on_block=watch)
    assert orderer.submit([consortium.anchor("org-1")])[0].height_at_most == 1
    assert orderer.submit([consortium.anchor("org-1")])[0].height_at_most == 2


def test_a_batch_of_more_than_a_block_of_bytes_is_spread_over_blocks(consortium, make, replica):
    leaves = [consortium.anchor("org-1", 380) for _ in range(40)]
    assert sum(map(len, leaves)) > 2 * 1024 * 1024
    outcomes = make().submit(leaves)
    assert {outcome.height_at_most for outcome in outcomes} == {1, 2}
    assert replica.height == 2
    for outcome, leaf in zip(outcomes, leaves, strict=True):
        verify_receipt(outcome, replica.ledger, log_signer("org-0").public, accepted_id(leaf))
        assert replica.transaction_height(accepted_id(leaf)) == outcome.height_at_most


def test_what_came_into_one_block_has_one_receipt_and_callers_have_their_own(consortium, make, replica):
    orderer, came = make(window_s=0.05, busy_s=60), replica.hold()
    batches = [[consortium.anchor("org-1") for _ in range(3)] for _ in range(2)]
    with ThreadPoolExecutor(3) as pool:
        before = pool.submit(orderer.submit, [consortium.anchor("org-1")])
        assert came.acquire(timeout=60)
        # Both wait while the block before them is made, however long a thread takes to begin.
        behind = [pool.submit(orderer.submit, [*batch, batch[0]]) for batch in batches]
        assert eventually(lambda: orderer.waiting == 8)
        replica.gate.set()
        before.result(60)
        answers = [batch.result(60) for batch in behind]
    assert replica.height == 2
    for outcomes, batch in zip(answers, batches, strict=True):
        assert {id(outcome) for outcome in outcomes} == {id(outcomes[0])}
        assert outcomes[0].ids == tuple(sorted(map(accepted_id, batch)))


def test_who_comes_alone_waits_for_nobody(consortium, make):
    began = time.monotonic()
    make(window_s=60, busy_s=0).submit([consortium.anchor("org-1")])
    assert time.monotonic() - began < 60


def test_what_is_no_envelope_is_refused_with_its_code(make):
    assert make().submit([b"\xff" * 70_000]) == [Refused("transaction.too_large")]


def test_back_off_grows_to_its_bound_and_is_never_the_same_for_all():
    assert backoff_s(0) == 0
    assert backoff_s(1, lambda _bound: 0) == FIRST_S / 2
    assert backoff_s(1, lambda bound: bound - 1) == pytest.approx(FIRST_S, rel=0.01)
    assert backoff_s(10**9, lambda bound: bound - 1) == pytest.approx(LAST_S, rel=0.01)
    assert backoff_s(3, lambda _bound: 0) == 4 * backoff_s(1, lambda _bound: 0)
