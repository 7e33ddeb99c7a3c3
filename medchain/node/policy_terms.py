"""The terms of the policy in force, for processes that hold no ledger.

Keeps true: the daemon's word counts, asked for anew once in a while beside whatever this process does; while it is
away, or says nothing, what it said last, and before that what the ledger was founded with. Nobody waits for it but who
needs a term before the first answer can have come. Trusts the daemon of this node.
Source: `docs/spec/subject.md` 9.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Event, Thread
from typing import Final

from medchain.encoding import Json
from medchain.errors import MedchainError
from medchain.ledger.kinds.subject import MAJORITY_YEARS
from medchain.ledger.policy import MAX_TERM
from medchain.node.exchange_client import Local
from medchain.node.log import Log
from medchain.node.peers import Limits

TERMS: Final = "policy.terms"
"""Local operation: the terms of the policy in force, by name."""

PERIOD_S: Final = 60.0
"""How often they are asked for, in seconds."""

FIRST_S: Final = 2.0
"""So long after it has begun a process waits for the first answer where it needs one, in seconds."""

_LIMITS: Final = Limits(timeout_s=2.0)
_LOG: Final = Log("terms")


class PolicyTerms:
    """Knows the terms. Threads may share it; a process that is forked has to make its own."""

    __slots__ = ("_first", "_local", "_period_s", "_terms", "_until")

    def __init__(self, local: Local, founded: Mapping[str, int], period_s: float = PERIOD_S) -> None:
        """Know those of the genesis, and ask for those in force.

        Args:
            local: the daemon.
            founded: terms of the policy that the ledger was founded with.
            period_s: how often it is asked, in seconds.
        """
        self._local = local
        self._terms = dict(founded)
        self._period_s = period_s
        self._first = Event()
        self._until = time.monotonic() + FIRST_S
        Thread(target=self._follow, name="policy-terms", daemon=True).start()

    def majority_years(self) -> int:
        """Tell at which age a person decides alone; where the policy does not say, nobody is known to be of age."""
        # Terms of the genesis may have been changed long ago: who labels a record by them labels it for ever.
        if not self._first.is_set():
            self._first.wait(max(0.0, self._until - time.monotonic()))
        return self._terms.get(MAJORITY_YEARS, MAX_TERM)

    def _follow(self) -> None:
        """Ask again and again, for as long as this process lives."""
        while True:
            try:
                self._terms = _read(self._local.call(TERMS, {}, _LIMITS))
            except MedchainError as error:
                _LOG.info("terms.unasked", code=error.code)
            self._first.set()
            time.sleep(self._period_s)


def _read(answer: Json) -> dict[str, int]:
    """Read what the daemon answered."""
    rows = answer.items() if isinstance(answer, dict) else ()
    return {name: value for name, value in rows if isinstance(value, int)}
