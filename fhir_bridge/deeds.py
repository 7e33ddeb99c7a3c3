"""Keeps sign-ins, tokens and changes of clients and accounts on the audit's journal, as requests are kept.

Keeps true: a deed is on the journal before it is done, and how it ended before the answer leaves; what dies in between
has an event of unknown outcome. Refusals that changed nothing, which strangers can cause as often as they like, are
kept one by one up to `KEPT_ALONE` of a kind in `WINDOW_S`, and the rest as one with their number. Trusts
`fhir_bridge.audit`.
Source: `docs/spec/audit.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from threading import Lock
from typing import Final, NamedTuple

from fhir_bridge.audit import COUNT, JournalAudit
from fhir_bridge.outcome import status_of
from fhir_bridge.rest.ask import Ask, Trail, new_request_id
from fhir_bridge.rest.core import Auditor
from fhir_bridge.smart.access import Access
from medchain.errors import MedchainError
from medchain.node.assembly import WebNode
from medchain.node.clock import Clock
from medchain.web.deeds import COMMAND, Attempt, Deed, Ending, Kind

WINDOW_S: Final = 900
"""So long refusals of a kind are gathered, in seconds; the longest lock of who fails again and again."""

KEPT_ALONE: Final = 5
"""So many refusals of a kind are kept one by one in that time: as many as lock nobody."""

_FAILED: Final = 500
_FIRST_ERROR: Final = 400


class _Refusal(NamedTuple):
    """What refusals of a kind have in common."""

    deed: Deed
    status: int


class KeptDeeds:
    """Keeps deeds on an audit. Threads may share it."""

    __slots__ = ("_audit", "_clock", "_fields", "_lock", "_refusals", "_since")

    def __init__(self, audit: Auditor, clock: Clock, fields: Callable[[], Mapping[str, str]] = dict) -> None:
        """Use an audit.

        Args:
            audit: where deeds are kept.
            clock: gives Unix seconds.
            fields: gives those of the request that is answered, for the address that it came from.
        """
        self._fields = fields
        self._audit = audit
        self._clock = clock
        self._lock = Lock()
        self._refusals: Counter[_Refusal] = Counter()
        self._since = 0

    @contextmanager
    def doing(self, deed: Deed) -> Iterator[Ending]:
        """Keep a deed before it is done, and how it ended; raises `UnavailableError` ``store.full``, ``store.io``."""
        ask, ending = _ask(deed, self._fields()), Ending(_FAILED)
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

    @contextmanager
    def attempted(self, deed: Deed) -> Iterator[Attempt]:
        """Keep a deed from when it begins to change something; one that changes nothing is a refusal, or not kept."""
        ask, is_begun = _ask(deed, self._fields()), False

        def begin() -> None:
            nonlocal is_begun
            if not is_begun:
                self._audit.begin(ask)
                is_begun = True

        attempt, status = Attempt(begin), _FAILED
        try:
            yield attempt
            status = attempt.status
        except MedchainError as error:
            status = status_of(error)
            raise
        finally:
            if is_begun:
                self._audit.note(ask, status)
            elif _FIRST_ERROR <= status < _FAILED:
                self.refused(deed, status)

    def refused(self, deed: Deed, status: int) -> None:
        """Keep a deed that was refused, alone or as one more of its kind; raises as `doing`."""
        self.tell()
        one = _Refusal(deed, status)
        with self._lock:
            if not self._refusals:
                self._since = self._clock()
            self._refusals[one] += 1
            is_alone = self._refusals[one] <= KEPT_ALONE
        if is_alone:
            self._audit.note(_ask(deed, self._fields()), status)

    def tell(self) -> None:
        """Keep how many refusals were not kept one by one, once their time is over; raises as `doing`."""
        with self._lock:
            if not self._refusals or self._clock() - self._since < WINDOW_S:
                return
            gathered, self._refusals = self._refusals, Counter()
        for one, number in gathered.items():
            if number > KEPT_ALONE:
                self._audit.note(_ask(one.deed, {}, number - KEPT_ALONE), one.status)


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
        KeptDeeds(audit, node.clock).doing(Deed(kind, COMMAND, subject=subject)),
    ):
        yield


def _ask(deed: Deed, fields: Mapping[str, str], number: int = 0) -> Ask:
    """Write a deed as the audit takes it; `number` is how many like it are told of at once, from wherever."""
    access = Access(deed.client, (), user=deed.user, role=deed.role)
    trail = Trail(deed.kind.value, query=f"{COUNT}{number}" if number else "")
    ask = Ask("POST", "", fields=fields, access=access, request_id=new_request_id(), trail=trail)
    ask.id = deed.subject
    return ask
