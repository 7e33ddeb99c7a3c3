"""Kind state: the entries that the machine itself writes at the end of a block.

No transaction may be of this kind; it stands in the registry so that its name and number are never used for another.
Source: `docs/spec/transaction.md`, rule 10.
"""

from __future__ import annotations

from typing import Final

from medchain.ledger.kind import Kind, no_sealed_body

KIND: Final = Kind(name="state", number=13, transitions={}, check=no_sealed_body)
"""No status can be reached, so the machine refuses every change of this kind."""
