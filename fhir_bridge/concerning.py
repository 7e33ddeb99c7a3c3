"""Keeps on the audit who saw, opened or answered concerns, which no FHIR interaction has.

Keeps true: a change is on the journal before it is made, what was seen before it is shown. Trusts callers for who it is
and which versions they were.
Source: `docs/spec/concern.md` 6; `docs/spec/audit.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fhir_bridge.outcome import status_of
from fhir_bridge.rest.ask import Ask, Trail, new_request_id
from fhir_bridge.rest.core import Auditor
from fhir_bridge.smart.access import Access
from medchain.errors import MedchainError
from medchain.store.records import CONCERN

SEARCH: Final = "search"
"""Interaction of who sees them; any other changes one."""

_DONE: Final = 200
_FAILED: Final = 500


@contextmanager
def concerning(audit: Auditor, access: Access, interaction: str) -> Iterator[list[int]]:
    """Keep what is seen, or done, of concerns, and how it ended.

    Args:
        audit: where it is kept.
        access: who sees or does it.
        interaction: `SEARCH`, ``create`` or ``update``.

    Yields:
        A list for the numbers of the versions that were seen or made.

    Raises:
        UnavailableError: ``store.full``, ``store.io``; nothing may be shown or changed then.
    """
    ask = Ask("POST", "", fields={}, access=access, request_id=new_request_id(), trail=Trail(interaction))
    ask.type = CONCERN
    if interaction != SEARCH:
        audit.begin(ask)
    status = _FAILED
    try:
        yield ask.trail.numbers
        status = _DONE
    except MedchainError as error:
        status = status_of(error)
        raise
    finally:
        audit.note(ask, status)
