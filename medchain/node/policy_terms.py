"""The terms of the policy in force, for processes that hold no ledger.

Keeps true: the daemon's word counts, asked for anew where one is needed and the last is old; while it is away, or says
nothing, what it said last, and before that what the ledger was founded with. Nobody waits for it for longer than a
moment but who needs a term before the first answer can have come. Trusts the daemon of this node.
Source: `docs/spec/subject.md` 9.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from medchain.encoding import Json
from medchain.errors import MedchainError
from medchain.ledger.kinds.subject import MAJORITY_YEARS
from medchain.ledger.policy import MAX_TERM
from medchain.node.exchange_client import Local
from medchain.node.log import Log
from medchain.node.peers import Limits
from medchain.node.remembered import Ages, Remembered

TERMS: Final = "policy.terms"
"""Local operation: the terms of the policy in force, by name."""

AGES: Final = Ages(fresh_s=60.0, old_s=120.0, patience_s=0.5)
"""How old an answer may be. The event loop of a web worker is one of those who need one, but by an old term somebody is
labelled for ever: so one of them waits for what a busy daemon needs, once in a minute at most.
"""

FIRST_S: Final = 2.0
"""So long after it has begun a process waits for the first answer where it needs one, in seconds."""

_LIMITS: Final = Limits(timeout_s=2.0)
_LOG: Final = Log("terms")


class PolicyTerms:
    """Knows the terms. Threads may share it; a process that is forked has to make its own."""

    __slots__ = ("_local", "_terms", "_until")

    def __init__(self, local: Local, founded: Mapping[str, int], ages: Ages = AGES) -> None:
        """Know those of the genesis, and ask for those in force.

        Args:
            local: the daemon.
            founded: terms of the policy that the ledger was founded with.
            ages: how old an answer may be.
        """
        self._local = local
        self._until = time.monotonic() + FIRST_S
        self._terms = Remembered(self._ask, dict(founded), ages)
        self._terms()

    def majority_years(self) -> int:
        """Tell at which age a person decides alone; where the policy does not say, nobody is known to be of age."""
        # Terms of the genesis may have been changed long ago: who labels a record by them labels it for ever.
        self._terms.wait_for_first(max(0.0, self._until - time.monotonic()))
        return self._terms().get(MAJORITY_YEARS, MAX_TERM)

    def _ask(self) -> dict[str, int]:
        """Ask the daemon.

        Raises:
            MedchainError: it is away, or says nothing.
        """
        try:
            return _read(self._local.call(TERMS, {}, _LIMITS))
        except MedchainError as error:
            _LOG.info("terms.unasked", code=error.code)
            raise


def _read(answer: Json) -> dict[str, int]:
    """Read what the daemon answered."""
    rows = answer.items() if isinstance(answer, dict) else ()
    return {name: value for name, value in rows if isinstance(value, int)}
