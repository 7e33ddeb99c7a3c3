"""The terms of the policy in force, for processes that hold no ledger.

Keeps true: the daemon's word counts, asked for anew once in a while; while it is away, what it said last, and before
that what the ledger was founded with. Trusts the daemon of this node.
Source: `docs/spec/subject.md` 9.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from medchain.encoding import Json
from medchain.errors import UnavailableError
from medchain.ledger.kinds.subject import MAJORITY_YEARS
from medchain.ledger.policy import MAX_TERM
from medchain.node.exchange_client import Local
from medchain.node.peers import Limits

TERMS: Final = "policy.terms"
"""Local operation: the terms of the policy in force, by name."""

_REMEMBER_S: Final = 60.0
_LIMITS: Final = Limits(timeout_s=2.0)


class PolicyTerms:
    """Knows the terms. Threads may share it."""

    __slots__ = ("_asked", "_local", "_monotonic", "_terms")

    def __init__(
        self, local: Local, founded: Mapping[str, int], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Know those of the genesis.

        Args:
            local: the daemon.
            founded: terms of the policy that the ledger was founded with.
            monotonic: gives seconds.
        """
        self._local = local
        self._terms = dict(founded)
        self._monotonic = monotonic
        self._asked = monotonic() - _REMEMBER_S

    def majority_years(self) -> int:
        """Tell at which age a person decides alone; where the policy does not say, nobody is known to be of age."""
        return self._now().get(MAJORITY_YEARS, MAX_TERM)

    def _now(self) -> Mapping[str, int]:
        """Ask for them, unless that was a moment ago."""
        if self._monotonic() - self._asked >= _REMEMBER_S:
            self._asked = self._monotonic()
            try:
                self._terms = _read(self._local.call(TERMS, {}, _LIMITS))
            except UnavailableError:
                return self._terms
        return self._terms


def _read(answer: Json) -> dict[str, int]:
    """Read what the daemon answered."""
    rows = answer.items() if isinstance(answer, dict) else ()
    return {name: value for name, value in rows if isinstance(value, int)}
