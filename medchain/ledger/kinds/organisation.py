"""Kind organisation: a member: names, address, keys, role and status.

Its content is public and stands in the transaction; what it does to the members, the machine itself sees to
(`medchain.ledger.machine`, `medchain.ledger.members`). Source: `docs/spec/genesis.md`.
"""

from __future__ import annotations

from typing import Final

from medchain.ledger.kind import Kind, no_sealed_body
from medchain.ledger.object import ACTIVE

KIND: Final = Kind(
    name="organisation",
    number=1,
    transitions={None: frozenset({ACTIVE}), ACTIVE: frozenset({ACTIVE})},
    check=no_sealed_body,
    public_body=True,
)
"""Versions follow one another for ever; it never ends."""
