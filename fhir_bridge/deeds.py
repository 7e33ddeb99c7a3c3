"""Keeps sign-ins, tokens and changes of clients and accounts on the audit's journal, as requests are kept.

Keeps true: a deed is on the journal before it is done, and how it ended before the answer leaves; what dies in between
has an event of unknown outcome. Trusts `fhir_bridge.audit`.
Source: `docs/spec/audit.md`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager

from fhir_bridge.audit import JournalAudit
from fhir_bridge.outcome import status_of
from fhir_bridge.rest.ask import Ask, Trail
from fhir_bridge.rest.core import Auditor
from fhir_bridge.smart.access import Access
from medchain.errors import MedchainError
from medchain.node.assembly import WebNode
from medchain.web.deeds import COMMAND, Deed, Ending, Kind

_FAILED = 500


class KeptDeeds:
    """Keeps deeds on an audit. Threads may share it."""

    __slots__ = ("_audit",)

    def __init__(self, audit: Auditor) -> None:
        """Use an audit."""
        self._audit = audit

    @contextmanager
    def doing(self, deed: Deed) -> Iterator[Ending]:
        """Keep a deed before it is done, and how it ended; raises `UnavailableError` ``journal.io``."""
        ask, ending = _ask(deed), Ending(_FAILED)
        self._audit.begin(ask)
        try:
            done = Ending()
            yield done
            ending = done
        except MedchainError as error:
            ending = Ending(status_of(error))
            raise
        finally:
            self._audit.note(ask, ending.status)

    def refused(self, deed: Deed, status: int) -> None:
        """Keep a deed that was refused; raises as `doing`."""
        self._audit.note(_ask(deed), status)


@contextmanager
def command(node: WebNode, kind: Kind, subject: str) -> Iterator[None]:
    """Keep what a command does, on a journal of its own; raises as `KeptDeeds.doing`.

    Args:
        node: opened.
        kind: what is done.
        subject: id of the client or account that it is done to.
    """
    with (
        closing(JournalAudit(node.config.folder, node.keys.records, node.clock)) as audit,
        KeptDeeds(audit).doing(Deed(kind, COMMAND, subject=subject)),
    ):
        yield


def _ask(deed: Deed) -> Ask:
    """Write a deed as the audit takes it."""
    access = Access(deed.client, (), user=deed.user, role=deed.role)
    trail = Trail(deed.kind.value)
    ask = Ask("POST", "", fields={}, access=access, request_id=secrets.token_hex(8), trail=trail)
    ask.id = deed.subject
    return ask
