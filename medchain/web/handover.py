"""How the web half of the root key gets from the workers' parent into each worker: in memory, over the fork.

An environment variable is inherited by every program that is started, and shown by the system to whoever may look at
the process. Keeps true: the half is in no environment, argument or file; a worker takes it once and forgets it; the
parent keeps it for the workers that it starts anew. Trusts that workers are forked, which `medchain.web.workers`
demands.
Source: `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

from typing import Final

from medchain.crypto.keywrap import SecretBytes
from medchain.errors import UnavailableError

_HELD: Final[list[SecretBytes]] = []


def hand_over(half: SecretBytes) -> None:
    """Hold the half for the workers that this process will fork."""
    _HELD[:] = [half]


def take() -> SecretBytes:
    """Take the half, once in each process; raises `UnavailableError` ``web.no_key`` where there is none."""
    if not _HELD:
        raise UnavailableError("web.no_key")
    return _HELD.pop()
