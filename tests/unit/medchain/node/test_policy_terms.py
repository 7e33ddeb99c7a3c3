"""The terms of the policy, as processes without a ledger know them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Event, Timer

import pytest

from medchain.errors import AccessDeniedError, UnavailableError
from medchain.node import policy_terms
from medchain.node.policy_terms import TERMS, PolicyTerms
from medchain.node.remembered import Ages
from tests.waiting import eventually

FOUNDED = {"majority_years": 18}
LONG_S = 60.0
OFTEN = Ages(fresh_s=0.001, old_s=LONG_S, patience_s=0.05)


@dataclass
class Daemon:
    """Tells the terms, or raises; hangs until it is let go on."""

    terms: object = field(default_factory=lambda: {"majority_years": 20})
    asked: int = 0
    goes_on: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        """Begin as one that answers."""
        self.goes_on.set()

    def call(self, operation, document, _limits=None):
        assert (operation, document) == (TERMS, {})
        self.asked += 1
        assert self.goes_on.wait(LONG_S)
        if isinstance(self.terms, Exception):
            raise self.terms
        return self.terms


@pytest.fixture(autouse=True)
def _first_answers_may_take_long(monkeypatch):
    """On a busy machine; where there is none nobody waits for it."""
    monkeypatch.setattr(policy_terms, "FIRST_S", LONG_S)


def test_the_daemon_is_asked_once_in_a_while_and_its_last_word_counts_while_it_is_away() -> None:
    daemon = Daemon()
    terms = PolicyTerms(daemon, FOUNDED, OFTEN)
    assert terms.majority_years() == 20
    daemon.terms = {"majority_years": 16}
    assert eventually(lambda: terms.majority_years() == 16)
    for error in (UnavailableError("daemon.not_running"), AccessDeniedError("local_auth.secret")):
        daemon.terms, asked = error, daemon.asked
        assert eventually(lambda asked=asked: terms.majority_years() == 16 and daemon.asked > asked + 1)
        assert terms.majority_years() == 16
    daemon.terms = {"majority_years": 21}
    assert eventually(lambda: terms.majority_years() == 21)


def test_it_is_not_asked_more_often_than_that() -> None:
    daemon = Daemon()
    terms = PolicyTerms(daemon, FOUNDED)
    assert [terms.majority_years() for _ in range(9)] == [20] * 9
    assert daemon.asked == 1


def test_nobody_waits_for_a_daemon_that_hangs() -> None:
    """The event loop of a web worker is one of those who ask."""
    daemon = Daemon()
    terms = PolicyTerms(daemon, FOUNDED, OFTEN)
    assert terms.majority_years() == 20
    daemon.goes_on.clear()
    asked = daemon.asked
    assert eventually(lambda: terms.majority_years() == 20 and daemon.asked > asked)
    began = time.monotonic()
    assert [terms.majority_years() for _ in range(99)] == [20] * 99
    # Ninety-nine times its patience would be five seconds.
    assert time.monotonic() - began < 4
    daemon.goes_on.set()


def test_before_the_first_answer_can_have_come_who_needs_it_waits() -> None:
    """The genesis may have been changed long ago, and a label is for ever."""
    daemon = Daemon()
    daemon.goes_on.clear()
    terms = PolicyTerms(daemon, FOUNDED)
    Timer(0.05, daemon.goes_on.set).start()
    assert terms.majority_years() == 20


def test_before_the_daemon_has_said_anything_the_genesis_counts(monkeypatch) -> None:
    daemon = Daemon(UnavailableError("daemon.not_running"))
    assert PolicyTerms(daemon, FOUNDED).majority_years() == 18
    monkeypatch.setattr(policy_terms, "FIRST_S", 0.01)
    daemon = Daemon()
    daemon.goes_on.clear()
    terms = PolicyTerms(daemon, FOUNDED)
    assert terms.majority_years() == 18
    daemon.goes_on.set()
    assert eventually(lambda: terms.majority_years() == 20)


@pytest.mark.parametrize("told", [{}, {"recovery_days": 7}, [], {"majority_years": "18"}])
def test_where_the_policy_does_not_say_nobody_is_known_to_be_of_age(told) -> None:
    assert PolicyTerms(Daemon(told), FOUNDED).majority_years() == 100
