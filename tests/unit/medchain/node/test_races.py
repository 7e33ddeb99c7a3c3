"""Withdrawals race requests: nothing is entered after a stop, and nothing leaves without an entry.

A thousand attempts here, ten thousand in `make soak`. The order that counts is the ledger's: positions of its leaves.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace

import pytest

from medchain.errors import MedchainError, UnavailableError
from medchain.ledger.disclosures import verify_disclosures
from medchain.ledger.object import STOPPED
from medchain.ledger.request import access_key
from medchain.node.exchange import Received
from tests.unit.medchain.ledger.world import seed
from tests.unit.medchain.node.exchanges import ANXIN, RENHE, Exchange, Federation, observation, together
from tests.waiting import eventually

AT_ONCE = 50
ROUNDS = 20
LATEST_S = 0.25


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    federation = Federation(tmp_path_factory.mktemp("federation"))
    federation.start()
    made = Exchange(federation)
    made.open()
    made.store(observation(1))
    ended = threading.Event()
    thread = threading.Thread(target=deliver, args=(made, ended))
    thread.start()
    yield made
    ended.set()
    thread.join()
    federation.stop()


def deliver(exchange: Exchange, ended: threading.Event) -> None:
    """Offer bodies again to who did not take them, as a node does every second."""
    while not ended.wait(0.1):
        exchange.federation.sites[RENHE].node.deliveries.round()


def unheard(what: str, *arguments: object) -> object:
    """Lose what members push to each other: of a stop, all but who made it hear from the ledger alone."""
    if what == "push":
        raise UnavailableError("peer.unreachable")
    return arguments[-1]


def race(exchange: Exchange, luck: bytes) -> Counter:
    """Have fifty requests meet one withdrawal; returns how many were answered and how the others were refused."""
    site = exchange.federation.sites[RENHE]
    consent = site.node.submitter.submit(exchange.patient.consent()).key
    here = replace(exchange, consent=consent, custodians={}, askers={}, sent=[], entries=[])
    here.grant = here.give()
    asker, _ = here.asker(), here.custodian()
    signed = [asker.prepare(here.wish()) for _ in range(AT_ONCE)]
    stopper = exchange.federation.sites[(RENHE, ANXIN)[luck[0] % 2]].node
    target, is_heard = (consent, here.grant)[luck[1] % 2], luck[2] % 2 == 0

    # Who stops needs the body: one that was a block behind as it was offered gets it later.
    assert eventually(lambda: stopper.judge.shelf.head(target) is not None)

    def withdraw() -> None:
        time.sleep(LATEST_S * luck[3] / 255)
        if is_heard:
            stopper.stops.stop(target)
            return
        # Members send each other bodies on the same way: it breaks only while the stop is told.
        exchange.federation.tamper = unheard
        try:
            stopper.stops.stop(target)
        finally:
            exchange.federation.tamper = lambda *arguments: arguments[-1]

    found = together(*(lambda one=one: asker.fetch(one) for one in signed), withdraw)
    deadline = time.monotonic() + 60
    while not (stopped := stopped_at(here)):
        stopper.driver.outbox.step()
        assert time.monotonic() < deadline, "the withdrawal was never ordered"
        exchange.federation.wait()
    judge(here, signed, found[:-1], stopped)
    return Counter(type(one).__name__ if isinstance(one, Received) else one.code for one in found[:-1])


def stopped_at(here: Exchange) -> int:
    """Return the position of the withdrawal on the custodian's ledger, 0 before it is ordered."""
    ledger = here.federation.sites[RENHE].ledger
    records = [ledger.record(key) for key in (here.consent, here.grant)]
    return min((record.since for record in records if record.status == STOPPED), default=0)


def judge(here: Exchange, signed, found, stopped: int) -> None:
    """Compare what came with what the ledger says, whoever asks."""
    site = here.federation.sites[RENHE]
    records = sorted(site.ledger.history(access_key(here.grant, RENHE)), key=lambda record: record.version)
    assert all(record.since < stopped for record in records), "an access entry was accepted after the withdrawal"
    bodies = [site.node.shelf.at(record.key, record.version) for record in records]
    listed = verify_disclosures(here.grant, RENHE, records, bodies).listed
    entered = {one.access.request_hash: one for one in listed}
    for request, one in zip(signed, found, strict=True):
        if isinstance(one, Received):
            entry = entered[request.request.hash]
            assert (entry.version, entry.position) == (one.access.version, one.access.since)
    # After the withdrawal is ordered nothing more is given, to whoever asks.
    with pytest.raises(MedchainError):
        here.asker().request_release(here.wish())


@pytest.mark.parametrize("rounds", [ROUNDS, pytest.param(10 * ROUNDS, marks=pytest.mark.slow)])
def test_no_entry_is_accepted_after_a_withdrawal_and_nothing_leaves_without_one(exchange, rounds):
    threads = threading.active_count()
    met = sum((race(exchange, seed("race", rounds, number)) for number in range(rounds)), Counter())
    assert met.total() == AT_ONCE * rounds
    # Both sides of the race were met, or it was none.
    assert met["Received"] > 0
    assert met["release.nothing"] > 0
    # One that is sent again after the node was too busy may have been refused, and so used up, meanwhile.
    late = {"release.busy", "release.not_final", "release.replayed", "submit.not_final"}
    assert met.keys() <= late | {"Received", "release.nothing"}, met
    assert threading.active_count() <= threads + 2
