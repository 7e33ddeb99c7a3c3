"""Checks the signatures of a block's transactions on all processors that are free.

libsodium leaves the interpreter to other threads while it checks, which is half of what a block costs. Threads take
some envelopes each until none is left, the caller with them: where no processor is free, it does nearly all by itself.
What this node has signed itself is signed again and compared, which costs less than half of a check.
Keeps true: what is said to hold was checked by `medchain.ledger.machine.is_signed`, under the members given; a
signature that was made again goes nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from medchain.crypto.signing import Ed25519Signer, ed25519_verify
from medchain.ledger.machine import Verify, is_signed
from medchain.ledger.members import Members
from medchain.ledger.transaction import Envelope

MOST_THREADS: Final = 4
"""How many threads check at once, the caller included; what they do between two checks is done by one at a time."""

WORTH_SHARING: Final = 32
"""How many envelopes are worth waking other threads for: fewer are checked as the machine comes to them."""

_AT_ONCE: Final = 8


class SignatureChecks:
    """Threads that check signatures beside each other (`medchain.ledger.machine.Checks`)."""

    def __init__(self, threads: int | None = None, *, own: Ed25519Signer | None = None) -> None:
        """Prepare; threads start when they are needed first.

        Args:
            threads: how many, the caller included; None for as many as there are processors for this process, up to
                `MOST_THREADS`.
            own: this organisation's ledger key; None for who has none.
        """
        self._verify = ed25519_verify if own is None else _verify_with(own)
        processors = len(os.sched_getaffinity(0))
        self._helpers = (min(processors, MOST_THREADS) if threads is None else threads) - 1
        self._pool = ThreadPoolExecutor(max(self._helpers, 1), thread_name_prefix="checks")

    def __call__(self, members: Members, envelopes: Sequence[Envelope]) -> Sequence[bool]:
        """Check the signatures of envelopes.

        Args:
            members: whose keys count.
            envelopes: any number.

        Returns:
            Of each whether its signatures hold; all False where too few are given to be worth it.
        """
        holds = [False] * len(envelopes)
        if self._helpers < 1 or len(envelopes) < WORTH_SHARING:
            return holds
        starts = iter(range(0, len(envelopes), _AT_ONCE))

        def check() -> None:
            """Take some, check them, and take more; `next` of a range is one step, which no two threads share."""
            for start in starts:
                part = envelopes[start : start + _AT_ONCE]
                holds[start : start + len(part)] = [is_signed(members, envelope, self._verify) for envelope in part]

        helpers = [self._pool.submit(check) for _ in range(self._helpers)]
        check()
        for helper in helpers:
            # One that has not begun has nothing to do any more.
            if not helper.cancel():
                helper.result()
        return holds


def _verify_with(own: Ed25519Signer) -> Verify:
    """Tell what `ed25519_verify` tells, sooner of what one's own key has signed."""

    def verify(public: bytes, message: bytes, signature: bytes) -> bool:
        is_own = public == own.public and own.has_signed(message, signature)
        return is_own or ed25519_verify(public, message, signature)

    return verify
