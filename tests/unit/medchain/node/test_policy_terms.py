"""The terms of the policy, as processes without a ledger know them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from medchain.errors import UnavailableError
from medchain.node.policy_terms import TERMS, PolicyTerms


@dataclass
class Daemon:
    """Tells the terms, while it is there."""

    terms: object = field(default_factory=lambda: {"majority_years": 20})
    asked: int = 0

    def call(self, operation, document, _limits=None):
        assert (operation, document) == (TERMS, {})
        self.asked += 1
        if self.terms is None:
            raise UnavailableError("daemon.not_running")
        return self.terms


def test_the_daemon_is_asked_once_a_minute_and_its_last_word_counts_while_it_is_away() -> None:
    daemon, now = Daemon(), [1000.0]
    terms = PolicyTerms(daemon, {"majority_years": 18}, lambda: now[0])
    assert (terms.majority_years(), terms.majority_years(), daemon.asked) == (20, 20, 1)
    daemon.terms, now[0] = {"majority_years": 16}, 1059.0
    assert (terms.majority_years(), daemon.asked) == (20, 1)
    now[0] = 1060.0
    assert (terms.majority_years(), daemon.asked) == (16, 2)
    daemon.terms, now[0] = None, 1120.0
    assert (terms.majority_years(), terms.majority_years(), daemon.asked) == (16, 16, 3)


def test_before_the_daemon_has_said_anything_the_genesis_counts() -> None:
    daemon = Daemon()
    daemon.terms = None
    assert PolicyTerms(daemon, {"majority_years": 18}).majority_years() == 18


@pytest.mark.parametrize("told", [{}, {"recovery_days": 7}, [], {"majority_years": "18"}])
def test_where_the_policy_does_not_say_nobody_is_known_to_be_of_age(told) -> None:
    daemon = Daemon()
    daemon.terms = told
    assert PolicyTerms(daemon, {"majority_years": 18}).majority_years() == 100
